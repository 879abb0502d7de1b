//! The operator's commands, beside serving.

mod export;
#[cfg(all(feature = "postgres", feature = "sqlite"))]
mod migrate;
mod password;

use crate::certificate::{self, Concern};
use crate::dates::for_people;
use crate::settings::{Settings, SettingsError};
#[cfg(all(feature = "postgres", feature = "sqlite"))]
use crate::settings::{StoreUrl, url::Url};
use bytesize::ByteSize;
use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;
use messenger_core::proto::UserId;
use messenger_core::storage::{SessionKey, StorageError, UserData};
use messenger_core::{BuildError, Engine, ResetPasswordError};
use std::io::{self, Write};
use std::path::PathBuf;

/// Users are listed so many at a time.
const PAGE: usize = 1000;

/// What stands for every session of a user; no session is shown as anything that begins so.
const ALL: &str = "all";

/// What an operator can have done: all of it but `restored`, `salvage` and `migrate` also while a server uses the store.
/// The server notices at once, or within a second (5 on a database) that a session has ended.
#[derive(Clone, Debug, Subcommand)]
#[non_exhaustive]
pub enum Command {
    /// Say whether settings, certificate and store are sound. The store has to be there, and is left as it is.
    Check,
    /// Copy a store in a file to a new one, also while a server uses it.
    Backup {
        /// The file to make; a server can be started on it (--store sqlite:PATH).
        path: PathBuf,
    },
    /// Mark the store as an older copy of one that was lost, before a server is started on it. Copies made by `backup`
    /// need no mark.
    ///
    /// Sequence numbers then go on above those that clients may have seen.
    Restored,
    /// Save what can be read of a damaged store in a file to a new one. No server may use it meanwhile.
    Salvage {
        /// The file to make; a server can be started on it (--store sqlite:PATH).
        path: PathBuf,
    },
    /// Move all that is in a store to a database, in which there are no users yet. No server may use either meanwhile.
    ///
    /// What was moved is read again and compared before any server sees it. If it is interrupted, nothing has happened,
    /// and it is done again by the same command. No server is started on the file afterwards; on the database
    /// one may.
    #[cfg(all(feature = "postgres", feature = "sqlite"))]
    Migrate {
        /// The store: sqlite:PATH.
        #[arg(long, value_name = "URL", value_parser = Url::<StoreUrl>::new())]
        from: StoreUrl,
        /// The database: postgres://… [default: what --store says]
        #[arg(long, value_name = "URL", value_parser = Url::<StoreUrl>::new())]
        to: Option<StoreUrl>,
    },
    /// List, show, export and delete users, and reset their passwords.
    #[command(subcommand)]
    User(UserCommand),
    /// List and end a user's sessions.
    #[command(subcommand)]
    Session(SessionCommand),
}

/// What can be done with users.
#[derive(Clone, Debug, Subcommand)]
#[non_exhaustive]
pub enum UserCommand {
    /// List all logins, one a line.
    List,
    /// Show what is kept of a user.
    Show {
        /// The user.
        login: String,
    },
    /// Write all that is kept of a user as JSON.
    Export {
        /// The user.
        login: String,
    },
    /// Delete all that is kept of a user. What the user has sent stays with those it was sent to.
    Delete {
        /// The user.
        login: String,
    },
    /// Ask for a user's new password (or read it from standard input, if that is no terminal), and end the user's
    /// sessions.
    ResetPassword {
        /// The user.
        login: String,
        /// The user's client sends the MD5 of the password that is typed into it.
        #[arg(long)]
        md5: bool,
    },
}

/// What can be done with sessions.
#[derive(Clone, Debug, Subcommand)]
#[non_exhaustive]
pub enum SessionCommand {
    /// List a user's sessions, the most recently used first. Times are UTC.
    List {
        /// The user.
        login: String,
    },
    /// End a session of a user, or all: then also those that end with their connection, which are in no list.
    End {
        /// The user.
        login: String,
        /// The session as `session list` shows it, or the beginning of that; or `all`.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        session: String,
    },
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// See [`SettingsError`].
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Every client refuses the certificate.
    #[error(transparent)]
    Certificate(#[from] Concern),
    /// See [`BuildError`].
    #[error("the engine could not be built")]
    Engine(#[from] BuildError),
    /// The runtime could not be started.
    #[error("the runtime could not be started")]
    Runtime(#[source] io::Error),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The password could not be reset.
    #[error(transparent)]
    ResetPassword(#[from] ResetPasswordError),
    /// A store is not moved between these two.
    #[error(
        "a store in a file is moved to a database: --from sqlite:PATH --to postgres://HOST/NAME"
    )]
    NoSuchMove,
    /// The store could not be moved.
    #[cfg(all(feature = "postgres", feature = "sqlite"))]
    #[error(transparent)]
    Transfer(#[from] messenger_postgres::TransferError),
    /// What was read again is not what was moved.
    #[error(
        "the {table} in the database are not those of the file, so that nothing was moved; is one of the two damaged? messenger-server check --store URL"
    )]
    Differs {
        /// Which of it.
        table: String,
    },
    /// Nobody has this login.
    #[error("there is no user {0}")]
    NoSuchUser(String),
    /// None of the user's sessions begins like this.
    #[error("no session of {user} begins with {session}; see: session list {user}")]
    NoSuchSession {
        /// The user.
        user: String,
        /// What was given.
        session: String,
    },
    /// Several of the user's sessions begin like this.
    #[error(
        "several sessions of {user} begin with {session}; which? {}",
        join(found)
    )]
    SeveralSessions {
        /// The user.
        user: String,
        /// What was given.
        session: String,
        /// Those that begin with it.
        found: Vec<SessionKey>,
    },
    /// There was no password to read.
    #[error("give the new password on standard input, as one line, or run this on a terminal")]
    NoPassword,
    /// The second was not the first.
    #[error("these were two different passwords; nothing was changed")]
    PasswordsDiffer,
    /// What was asked for could not be written.
    #[error("the answer could not be written")]
    Output(#[source] io::Error),
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Command {
    /// Carries it out and writes what there is to say.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub fn run(&self, settings: &Settings, out: &mut impl Write) -> Result<(), CommandError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(CommandError::Runtime)?;
        runtime.block_on(self.carry_out(settings, out))
    }

    async fn carry_out(
        &self,
        settings: &Settings,
        out: &mut impl Write,
    ) -> Result<(), CommandError> {
        match self {
            Self::Check => check(settings, out).await,
            Self::Backup { path } => {
                settings.back_up(path)?;
                let size = ByteSize(path.metadata()?.len());
                Ok(writeln!(
                    out,
                    "copied the store to {}, {size}",
                    path.display()
                )?)
            }
            Self::Restored => {
                settings.mark_restored().await?;
                Ok(writeln!(out, "the store counts as restored")?)
            }
            Self::Salvage { path } => Ok(writeln!(out, "{}", settings.salvage(path)?)?),
            #[cfg(all(feature = "postgres", feature = "sqlite"))]
            Self::Migrate { from, to } => {
                migrate::run(from, to.as_ref().unwrap_or(&settings.store), out).await
            }
            Self::User(command) => {
                let engine = settings.engine_beside().await?.build()?;
                command.run(&engine, out).await
            }
            Self::Session(command) => {
                let engine = settings.engine_beside().await?.build()?;
                command.run(&engine, out).await
            }
        }
    }
}

async fn check(settings: &Settings, out: &mut impl Write) -> Result<(), CommandError> {
    let concerns = settings.check().await?;
    let tls = settings.listening.tls()?;
    match tls.and_then(|tls| certificate::concern(&tls)) {
        Some(concern) if concern.is_fatal() => return Err(concern.into()),
        Some(concern) => writeln!(out, "{concern}")?,
        None => {}
    }
    for concern in concerns {
        writeln!(out, "{concern}")?;
    }
    Ok(writeln!(out, "the settings and the store are sound")?)
}

impl UserCommand {
    async fn run(&self, engine: &Engine, out: &mut impl Write) -> Result<(), CommandError> {
        match self {
            Self::List => list(engine, out).await,
            Self::Show { login } => {
                let user = UserId::from(login.as_str());
                let data = engine.user(&user).await?.ok_or_else(|| no_such(login))?;
                show(&user, &data, out)
            }
            Self::Export { login } => {
                let user = UserId::from(login.as_str());
                let all = engine.export_user(&user).await?;
                export::write(&all.ok_or_else(|| no_such(login))?, out)
            }
            Self::Delete { login } => {
                let user = UserId::from(login.as_str());
                if !engine.delete_user(&user).await? {
                    return Err(no_such(login));
                }
                Ok(writeln!(out, "deleted {login}")?)
            }
            Self::ResetPassword { login, md5 } => {
                let user = UserId::from(login.as_str());
                // Before somebody types a password for nobody.
                engine.user(&user).await?.ok_or_else(|| no_such(login))?;
                let password = password::read(login, *md5)?;
                if !engine.reset_password(&user, &password).await? {
                    return Err(no_such(login));
                }
                Ok(writeln!(out, "{login} has the new password")?)
            }
        }
    }
}

impl SessionCommand {
    async fn run(&self, engine: &Engine, out: &mut impl Write) -> Result<(), CommandError> {
        let (Self::List { login } | Self::End { login, .. }) = self;
        let user = UserId::from(login.as_str());
        let sessions = engine.sessions(&user).await?;
        let sessions = sessions.ok_or_else(|| no_such(login))?;
        match self {
            Self::List { .. } => {
                for (key, record) in sessions {
                    let used = for_people(record.used);
                    let delivered = record.delivered_up_to;
                    let ack = if record.ack { ", acknowledges" } else { "" };
                    writeln!(out, "{key}  used {used}, delivered up to {delivered}{ack}")?;
                }
                Ok(())
            }
            Self::End { session, .. } => {
                let keys: Vec<_> = sessions.into_iter().map(|(key, _)| key).collect();
                if session == ALL {
                    // Also those that are in no list.
                    engine.end_sessions(&user).await?;
                    return told_ended(&keys, out);
                }
                let key = chosen(&keys, login, session)?;
                engine.end_session(&user, &key).await?;
                told_ended(&[key], out)
            }
        }
    }
}

async fn list(engine: &Engine, out: &mut impl Write) -> Result<(), CommandError> {
    let mut last = None;
    loop {
        let page = engine.users(last.as_ref(), PAGE).await?;
        for user in &page {
            writeln!(out, "{user}")?;
        }
        match page.into_iter().next_back() {
            Some(user) => last = Some(user),
            None => return Ok(()),
        }
    }
}

fn show(user: &UserId, data: &UserData, out: &mut impl Write) -> Result<(), CommandError> {
    let UserData { profile, .. } = data;
    let account = if data.has_account {
        "here"
    } else {
        "elsewhere"
    };
    for (name, value) in [
        ("login", user.to_string()),
        ("nick", profile.nick.to_string()),
        ("email", profile.email.to_string()),
        ("phone", profile.phone.to_string()),
        ("user_status", profile.user_status.to_string()),
        ("picture", format!("{} bytes", profile.picture.len())),
        ("account", account.to_owned()),
        ("contacts", data.contacts.len().to_string()),
        ("sessions", data.sessions.len().to_string()),
        ("newest message", data.newest.to_string()),
    ] {
        // A user's text must not steer the operator's terminal.
        writeln!(out, "{name}: {}", value.escape_debug())?;
    }
    Ok(())
}

/// The sessions that are meant.
fn told_ended(keys: &[SessionKey], out: &mut impl Write) -> Result<(), CommandError> {
    for key in keys {
        writeln!(out, "ended {key}")?;
    }
    Ok(())
}

fn chosen(keys: &[SessionKey], user: &str, session: &str) -> Result<SessionKey, CommandError> {
    let like = keys
        .iter()
        .filter(|key| key.to_string().starts_with(session));
    let like: Vec<_> = like.copied().collect();
    match like[..] {
        [key] => Ok(key),
        [] => Err(CommandError::NoSuchSession {
            user: user.to_owned(),
            session: session.to_owned(),
        }),
        _ => Err(CommandError::SeveralSessions {
            user: user.to_owned(),
            session: session.to_owned(),
            found: like,
        }),
    }
}

fn join(keys: &[SessionKey]) -> String {
    let keys: Vec<_> = keys.iter().map(SessionKey::to_string).collect();
    keys.join(", ")
}

fn no_such(login: &str) -> CommandError {
    CommandError::NoSuchUser(login.to_owned())
}
