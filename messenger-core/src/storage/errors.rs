//! How a [`Storage`](super::Storage) fails.

use std::sync::Arc;

/// The store failed. Nothing was done, unless that [is unknown](Self::is_unknown).
#[derive(Clone, Debug, thiserror::Error)]
#[error("the store failed{}", if *.is_unknown { ", and may have done it" } else { "" })]
pub struct StorageError {
    #[source]
    cause: Arc<dyn std::error::Error + Send + Sync>,
    is_unknown: bool,
}

impl StorageError {
    /// Wraps the cause. Nothing was done.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            cause: Arc::from(cause.into()),
            is_unknown: false,
        }
    }

    /// Wraps the cause. The call may have been done or not, or may still be: its answer was lost on the way.
    pub fn unknown(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            is_unknown: true,
            ..Self::new(cause)
        }
    }

    /// True when it is not known whether the call was done.
    pub fn is_unknown(&self) -> bool {
        self.is_unknown
    }
}

/// Why an account was not created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateAccountError {
    /// Somebody has this login: with an account, or as a user whose account is kept elsewhere.
    #[error("the login is taken")]
    LoginTaken,
    /// An account has this nick.
    #[error("the nick is taken")]
    NickTaken,
    /// A user's login looks like this one.
    #[error("the login looks like another one")]
    Lookalike,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a contact was not added, in the order in which it is tested.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddContactError {
    /// There is no such user.
    #[error("there is no such user")]
    NoSuchUser,
    /// The user is a contact already.
    #[error("the user is a contact already")]
    AlreadyThere,
    /// There are as many contacts as there may be.
    #[error("the contact list is full")]
    Full,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a session did not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenSessionError {
    /// There is no such user.
    #[error("there is no such user")]
    NoSuchUser,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a message was not appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// There is no such recipient.
    #[error("there is no such user")]
    NoSuchUser,
    /// The sender is no more, though another may have the id.
    #[error("the sender is no user any more")]
    NoSuchSender,
    /// The inbox is full of messages that are delivered to no session of the recipient's yet.
    #[error("the inbox is full")]
    InboxFull,
    /// The sender has sent the recipient something else under the same `mid`.
    #[error("the mid was used for another message")]
    MidReused,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
