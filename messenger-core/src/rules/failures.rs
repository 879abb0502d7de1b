//! Errors as the client sees them. The cause goes to the log, a sentence to the client.

use crate::authenticator::{AuthenticatorError, RegisterError};
use crate::background::NoThread;
use crate::entropy::NoEntropy;
use crate::moderator::ModeratorError;
use crate::rates::{Denied, TooMany};
use crate::storage::{AddContactError, AppendError, StorageError};
use messenger_proto::{ErrorCode, Failure};

const UNKNOWN: &str =
    "Temporarily unavailable, and not known whether it was done: try again, a message with its mid";

pub(crate) fn need_auth() -> Failure {
    Failure::new(ErrorCode::NeedAuth, "Authenticate first")
}

pub(super) fn authenticated_already() -> Failure {
    let text = "This connection is authenticated already";
    Failure::new(ErrorCode::AlreadyRegistered, text)
}

pub(super) fn empty(field: &str) -> Failure {
    Failure::new(ErrorCode::EmptyField, format!("{field} must not be empty"))
}

pub(super) fn over_limit(field: &str, limit: usize, unit: &str) -> Failure {
    let text = format!("{field} is longer than the limit of {limit} {unit}");
    Failure::new(ErrorCode::InvalidData, text)
}

/// A password was right, and its account is gone or another's.
pub(super) fn no_such_login() -> Failure {
    Failure::new(ErrorCode::NeedRegister, "No account has this login")
}

pub(super) fn no_such_user() -> Failure {
    Failure::new(ErrorCode::UserNotFound, "There is no such user")
}

/// A newer protocol library has an action this engine does not know.
pub(super) fn not_here(action: &str) -> Failure {
    let text = format!("The action {action} is not available");
    Failure::new(ErrorCode::InvalidData, text)
}

/// Logs the cause; the client learns only that it may try again.
fn unavailable(cause: &(dyn std::error::Error + 'static)) -> Failure {
    tracing::error!(error = cause, "a request could not be carried out");
    Failure::new(ErrorCode::Unavailable, "Temporarily unavailable, try later")
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        let failure = unavailable(&error);
        match error.is_unknown() {
            true => Self::new(failure.code, UNKNOWN),
            false => failure,
        }
    }
}

impl From<TooMany> for Failure {
    fn from(TooMany(reason): TooMany) -> Self {
        Self::new(ErrorCode::TooManyRequests, reason)
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::TooMany(too_many) => too_many.into(),
            Denied::Storage(error) => error.into(),
        }
    }
}

impl From<NoThread> for Failure {
    fn from(error: NoThread) -> Self {
        unavailable(&error)
    }
}

impl From<NoEntropy> for Failure {
    fn from(error: NoEntropy) -> Self {
        unavailable(&error)
    }
}

impl From<AuthenticatorError> for Failure {
    fn from(error: AuthenticatorError) -> Self {
        match error {
            AuthenticatorError::Busy => TooMany("Too many logins, try later").into(),
            AuthenticatorError::Unavailable(ref cause) => {
                let failure = unavailable(&error);
                let cause = cause.downcast_ref::<StorageError>();
                match cause.is_some_and(StorageError::is_unknown) {
                    true => Self::new(failure.code, UNKNOWN),
                    false => failure,
                }
            }
        }
    }
}

impl From<ModeratorError> for Failure {
    fn from(error: ModeratorError) -> Self {
        match error {
            ModeratorError::Refused(text) => Self::new(ErrorCode::InvalidData, text),
            ModeratorError::Unavailable(_) => unavailable(&error),
        }
    }
}

impl From<RegisterError> for Failure {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::LoginTaken => Self::new(ErrorCode::AlreadyExists, "The login is taken"),
            RegisterError::NickTaken => Self::new(ErrorCode::AlreadyExists, "The nick is taken"),
            RegisterError::Lookalike => {
                let text = "The login looks like one that is taken";
                Self::new(ErrorCode::AlreadyExists, text)
            }
            RegisterError::Refused(text) => Self::new(ErrorCode::InvalidData, text),
            RegisterError::Failed(error) => error.into(),
        }
    }
}

impl From<AddContactError> for Failure {
    fn from(error: AddContactError) -> Self {
        match error {
            AddContactError::NoSuchUser => no_such_user(),
            AddContactError::AlreadyThere => {
                Self::new(ErrorCode::AlreadyExists, "The user is a contact already")
            }
            AddContactError::Full => {
                let text = "The contact list is full: contacts are at their limit";
                Self::new(ErrorCode::InvalidData, text)
            }
            AddContactError::Storage(error) => error.into(),
        }
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::NoSuchUser => no_such_user(),
            AppendError::NoSuchSender => need_auth(),
            AppendError::InboxFull => {
                Self::new(ErrorCode::InboxFull, "The recipient's inbox is full")
            }
            AppendError::MidReused => {
                let text = "mid was used for another message to this user";
                Self::new(ErrorCode::InvalidData, text)
            }
            AppendError::Storage(error) => error.into(),
        }
    }
}
