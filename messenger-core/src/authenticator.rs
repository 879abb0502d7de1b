//! Who a login is and whether its password is right, as a trait.

use crate::passwords::{PasswordError, Passwords};
use crate::storage::{Account, CreateAccountError, UserNumber};
use crate::timed_storage::TimedStorage;
use async_trait::async_trait;
use bytestring::ByteString;
use messenger_proto::{Password, Register, UserId};
use std::borrow::Cow;
use std::sync::Arc;

/// Knows the accounts.
///
/// The built-in one keeps them as [`Accounts`](crate::storage::Accounts) of the storage, and takes as long to
/// say that nobody has a login as that a password is wrong. An embedder whose users already exist brings its
/// own. The engine then keeps only what is its own, and learns of a user when it first needs to, or when it is
/// [told](crate::Engine::upsert_user).
///
/// **It is asked at `auth` only.** A session that has begun goes on for as long as the [policy](crate::Policy) lets it
/// live, also on a new connection by `cid` and `sid`, whatever becomes of the account meanwhile. Whoever bans a
/// user or changes a password does so in the authenticator first, and then calls
/// [`Engine::end_sessions`](crate::Engine::end_sessions), or [`delete_user`](crate::Engine::delete_user) when the user is
/// gone.
///
/// An embedder that authenticates by other means than a password (a cookie, a token) uses
/// [`Engine::connect_as`](crate::Engine::connect_as), which does not ask it.
///
/// Every implementation passes [`testing::authenticator`](crate::testing::authenticator).
///
/// # Cancel safety
/// A call may be dropped before it returns, when the client is gone. An account may then have been created or not.
///
/// # Examples
/// ```
/// use messenger_core::authenticator::{Authenticator, AuthenticatorError, Identity, Verdict};
/// use messenger_core::proto::{Auth, Password, UserId};
/// use messenger_core::{Engine, async_trait};
/// use std::sync::Arc;
///
/// /// Knows one user.
/// struct OnlyAnn;
///
/// #[async_trait]
/// impl Authenticator for OnlyAnn {
///     async fn identify(&self, login: &UserId) -> Result<Option<Identity>, AuthenticatorError> {
///         let ann = || Identity::new("Ann");
///         Ok((login.as_str() == "ann").then(ann))
///     }
///
///     async fn verify(&self, login: &UserId, pass: &Password) -> Result<Verdict, AuthenticatorError> {
///         Ok(match self.identify(login).await? {
///             None => Verdict::NoSuchLogin,
///             Some(ann) if *pass == "secret".into() => Verdict::Accepted(ann),
///             Some(_) => Verdict::WrongPass,
///         })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder().authenticator(Arc::new(OnlyAnn)).build()?;
/// let accepted = engine.connect().call(Auth::new("ann", "secret")).await?;
/// assert_eq!(accepted.nick, "Ann");
/// assert!(engine.connect().call(Auth::new("bob", "secret")).await.is_err());
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Who has this login; `None` when nobody has. The engine first asks for the login as a client has written it. If
    /// nobody has that, and it is not in the form in which new logins are kept, the engine asks again for that form.
    ///
    /// # Errors
    /// The question could not be answered.
    async fn identify(&self, login: &UserId) -> Result<Option<Identity>, AuthenticatorError>;

    /// Whether the password is the login's.
    ///
    /// # Errors
    /// The question could not be answered.
    async fn verify(&self, login: &UserId, pass: &Password) -> Result<Verdict, AuthenticatorError>;

    /// Creates an account. The fields are within their limits and not empty, and login and nick in the forms
    /// in which they are kept (RFC 8265, RFC 8266). Refuses unless implemented.
    ///
    /// # Errors
    /// See [`RegisterError`].
    async fn register(&self, register: &Register) -> Result<(), RegisterError> {
        let _ = register;
        Err(RegisterError::Refused("accounts are not made here".into()))
    }
}

/// What is known of a user elsewhere. The engine keeps it for `userinfo`, contact lists and `import`,
/// and changes what it keeps whenever it is told something else: at a log-in, or by
/// [`upsert_user`](crate::Engine::upsert_user). Fields are not held to the limits of `setuserinfo`.
///
/// What is `None` is the user's own: it stays as `setuserinfo` has left it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The name others see.
    pub nick: ByteString,
    /// The email address, by which an `import` finds the user.
    pub email: Option<ByteString>,
    /// The phone number, by which an `import` finds the user.
    pub phone: Option<ByteString>,
    /// The picture.
    pub picture: Option<ByteString>,
    /// The line about the user's state of mind.
    pub user_status: Option<ByteString>,
    /// The user's number, if the account is in the store.
    pub(crate) user_number: Option<UserNumber>,
}

impl Identity {
    /// Somebody of whom only the nick is known elsewhere.
    pub fn new(nick: impl Into<ByteString>) -> Self {
        Self {
            nick: nick.into(),
            ..Self::default()
        }
    }
}

/// Whether a password is a login's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is.
    Accepted(Identity),
    /// Nobody has this login.
    NoSuchLogin,
    /// It is not.
    WrongPass,
}

/// A question that could not be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthenticatorError {
    /// Too much is being asked; try later.
    #[error("too many passwords wait to be checked")]
    Busy,
    /// Something the authenticator needs is down.
    #[error("the authenticator failed")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why an account was not created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The login is taken.
    #[error("the login is taken")]
    LoginTaken,
    /// The nick is taken.
    #[error("the nick is taken")]
    NickTaken,
    /// Another login looks like this one.
    #[error("the login looks like another one")]
    Lookalike,
    /// It will not be created; the sentence tells the client why.
    #[error("{0}")]
    Refused(Cow<'static, str>),
    /// It could not be created.
    #[error(transparent)]
    Failed(#[from] AuthenticatorError),
}

/// Keeps the accounts in the store, passwords as Argon2id.
pub(crate) struct StoredAccounts {
    pub(crate) storage: Arc<TimedStorage>,
    pub(crate) passwords: Arc<Passwords>,
    pub(crate) refuses_lookalikes: bool,
}

#[async_trait]
impl Authenticator for StoredAccounts {
    async fn identify(&self, login: &UserId) -> Result<Option<Identity>, AuthenticatorError> {
        let account = self.storage.account(login.as_str()).await;
        let account = account.map_err(unavailable)?;
        Ok(account.map(|Account { nick, .. }| Identity::new(nick)))
    }

    async fn verify(&self, login: &UserId, pass: &Password) -> Result<Verdict, AuthenticatorError> {
        // Before the account is read, which is the same in the end: so it is the account's number, or no longer
        // anybody's.
        let user_number = self.storage.user_number(login).await.map_err(unavailable)?;
        let account = self.storage.account(login.as_str()).await;
        let Some(account) = account.map_err(unavailable)? else {
            // Takes the time of a wrong password, so that nobody learns by it which logins there are.
            self.passwords.hash(pass).await?;
            return Ok(Verdict::NoSuchLogin);
        };
        let pass_hash = account.pass_hash.clone();
        if !self.passwords.matches(pass, pass_hash).await? {
            return Ok(Verdict::WrongPass);
        }
        // That took its time: the password may have been reset meanwhile, or the user deleted.
        let still = self.storage.account(login.as_str()).await;
        match still.map_err(unavailable)? {
            Some(still) if still == account => Ok(Verdict::Accepted(Identity {
                user_number,
                ..Identity::new(account.nick)
            })),
            Some(_) => Ok(Verdict::WrongPass),
            None => Ok(Verdict::NoSuchLogin),
        }
    }

    async fn register(&self, register: &Register) -> Result<(), RegisterError> {
        let login = UserId::from(&*register.login);
        // Spares the hash; the store settles a race.
        if self.identify(&login).await?.is_some() {
            return Err(RegisterError::LoginTaken);
        }
        let pass_hash = self.passwords.hash(&register.pass).await;
        let account = Account {
            login,
            nick: register.nick.clone(),
            pass_hash: pass_hash.map_err(AuthenticatorError::from)?,
        };
        let created = if self.refuses_lookalikes {
            self.storage.create_distinct_account(account).await
        } else {
            self.storage.create_account(account).await
        };
        match created {
            Ok(()) => Ok(()),
            Err(CreateAccountError::LoginTaken) => Err(RegisterError::LoginTaken),
            Err(CreateAccountError::NickTaken) => Err(RegisterError::NickTaken),
            Err(CreateAccountError::Lookalike) => Err(RegisterError::Lookalike),
            Err(CreateAccountError::Storage(error)) => Err(unavailable(error).into()),
        }
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> AuthenticatorError {
    AuthenticatorError::Unavailable(Box::new(error))
}

impl From<PasswordError> for AuthenticatorError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Busy,
            other => unavailable(other),
        }
    }
}
