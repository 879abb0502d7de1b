//! What an operator does, as calls on the engine.

use crate::engine::Engine;
use crate::notifier::Notice;
use crate::passwords::PasswordError;
use crate::shared::Shared;
use crate::storage::{PageLimits, SessionKey, SessionRecord, StorageError, UserData};
use crate::watermarks::ephemeral_key;
use messenger_proto::{Message, Password, UserId};

/// How much of an inbox is read at once.
const PAGE: PageLimits = PageLimits::new(1024, 1024 * 1024);

/// All that is kept of a user. The hash of the password and the sessions' secrets are not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserExport {
    /// The user.
    pub user: UserId,
    /// All but the messages.
    pub data: UserData,
    /// The messages kept, oldest first, with their sequence numbers.
    pub inbox: Vec<(u64, Message)>,
}

/// Why a password was not reset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResetPasswordError {
    /// It is longer than a `pass` may be: nobody could log in with it.
    #[error("the password is longer than the {most} bytes that a log-in may send")]
    TooLong {
        /// The [longest](crate::policy::Limits::pass), in bytes.
        most: usize,
    },
    /// Too many passwords wait to be hashed; try later.
    #[error("too many passwords wait to be hashed, try later")]
    Busy,
    /// It could not be hashed.
    #[error("the password could not be hashed")]
    Hash(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// # For operators
impl Engine {
    /// The users behind `after` in the order of their ids, at most `limit` of them.
    ///
    /// # Errors
    /// The store failed.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn users(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StorageError> {
        self.shared.storage.users(after, limit).await
    }

    /// All that is kept of a user but the messages; `None` when there is no such user.
    ///
    /// # Errors
    /// The store failed.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn user(&self, user: &UserId) -> Result<Option<UserData>, StorageError> {
        self.shared.storage.user_data(user).await
    }

    /// All that is kept of a user; `None` when there is no such user. It is held in memory: as much as
    /// an inbox may have.
    ///
    /// # Errors
    /// The store failed.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn export_user(&self, user: &UserId) -> Result<Option<UserExport>, StorageError> {
        let storage = &self.shared.storage;
        let Some(data) = storage.user_data(user).await? else {
            return Ok(None);
        };
        let mut inbox = Vec::new();
        let mut after = 0;
        loop {
            let page = storage.inbox(user, after, PAGE).await?;
            let Some((last, _)) = page.last() else {
                break;
            };
            after = *last;
            inbox.extend(page);
        }
        Ok(Some(UserExport {
            user: user.clone(),
            data,
            inbox,
        }))
    }

    /// Deletes all that is kept of a user, and the user from the contacts of others; ends the user's
    /// connections. What the user has sent stays with those it was sent to. False when there is no
    /// such user. It takes as long as the store takes, which may be long for somebody of whom very much is kept.
    ///
    /// # Errors
    /// The store failed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the user was deleted, and if so, whether their connections were
    /// told: await it to its end.
    pub async fn delete_user(&self, user: &UserId) -> Result<bool, StorageError> {
        let existed = self.shared.storage.delete_user(user).await?;
        if existed {
            self.shared.notifier.notify(user, Notice::UserDeleted);
        }
        Ok(existed)
    }

    /// Gives an account another password and ends all sessions of the user: whoever has the old
    /// password is out. `pass` is what the user's client sends: some send the password, some its
    /// [MD5](Password::md5_of). False when no account with this login is kept here.
    ///
    /// # Errors
    /// See [`ResetPasswordError`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the password is the new one and which sessions have ended. Doing
    /// it again ends all of them.
    pub async fn reset_password(
        &self,
        user: &UserId,
        pass: &Password,
    ) -> Result<bool, ResetPasswordError> {
        let shared = &self.shared;
        if !shared.storage.has_accounts() {
            return Ok(false);
        }
        let most = shared.policy.limits.pass;
        if pass.as_str().len() > most {
            return Err(ResetPasswordError::TooLong { most });
        }
        let pass_hash = shared.passwords.hash(pass).await?;
        if !shared.storage.set_password(user, pass_hash).await? {
            return Ok(false);
        }
        self.end_sessions(user).await?;
        Ok(true)
    }

    /// The user's sessions, the most recently used first; `None` when there is no such user.
    ///
    /// # Errors
    /// The store failed.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn sessions(
        &self,
        user: &UserId,
    ) -> Result<Option<Vec<(SessionKey, SessionRecord)>>, StorageError> {
        let shared = &self.shared;
        let expired_before = shared.out_of_date(shared.policy.session_lifetime);
        let data = shared.storage.user_data(user).await?;
        Ok(data.map(|UserData { mut sessions, .. }| {
            sessions.retain(|(_, record)| record.used >= expired_before);
            sessions.sort_unstable_by_key(|(key, record)| (std::cmp::Reverse(record.used), *key));
            sessions
        }))
    }

    /// Ends a session and its connections; one that is not there is no error.
    ///
    /// # Errors
    /// The store failed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the session has ended and whether its connections know. Doing it
    /// again is no error.
    pub async fn end_session(&self, user: &UserId, key: &SessionKey) -> Result<(), StorageError> {
        let Shared {
            storage,
            watermarks,
            ..
        } = &*self.shared;
        // The user's next session begins behind what this one was given.
        watermarks.flush_moved_of(storage, user).await?;
        storage.end_session(user, key).await?;
        self.tell_ended(user, *key);
        Ok(())
    }

    /// Ends all sessions of a user, those of [`connect_as`](Self::connect_as) included, and closes their
    /// connections: the user was banned, say, or has another password elsewhere. It is no error when there
    /// are none.
    ///
    /// Nobody is kept from logging in again: that is the [`Authenticator`](crate::authenticator::Authenticator)'s
    /// part, and comes first.
    ///
    /// # Errors
    /// The store failed; some sessions may have ended.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open which sessions have ended, and whether their connections know. Doing it again ends
    /// all that are left.
    pub async fn end_sessions(&self, user: &UserId) -> Result<(), StorageError> {
        self.shared.storage.end_ephemeral(user).await?;
        self.tell_ended(user, ephemeral_key(user));
        // Also those that this engine's policy takes for expired: another's may not.
        let data = self.shared.storage.user_data(user).await?;
        for (key, _) in data.into_iter().flat_map(|data| data.sessions) {
            self.end_session(user, &key).await?;
        }
        Ok(())
    }

    fn tell_ended(&self, user: &UserId, key: SessionKey) {
        self.shared.notifier.notify(user, Notice::SessionEnded(key));
    }
}

impl From<PasswordError> for ResetPasswordError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Busy,
            other => Self::Hash(Box::new(other)),
        }
    }
}
