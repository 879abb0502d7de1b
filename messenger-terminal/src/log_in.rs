//! Who sits there.

use crate::arguments::Arguments;
use crate::{Sentence, because, safe};
use messenger_client::proto::{ErrorCode, Password, UserId};
use messenger_client::{
    Builder, Client, ConnectionState, FileStore, Incoming, Session, SessionEnd, StartError,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::io::{self, IsTerminal, Write, stdin, stdout};
use std::path::PathBuf;

/// How often a password may be wrong.
const TRIES: usize = 3;

/// A session, and who it is.
type Started = (Session, Incoming, UserId);

/// Goes on with what is remembered, or asks for the password.
pub(crate) async fn log_in(arguments: &Arguments) -> Result<Started, Sentence> {
    let setup = Setup::new(arguments)?;
    if let Some(started) = setup.resume().await? {
        return Ok(started);
    }
    for _ in 0..TRIES {
        let pass = ask_password(&format!("Password of {}: ", setup.login)).await?;
        if let Some(started) = setup.begin(Password::md5_of(&pass)).await? {
            return Ok(started);
        }
        eprintln!("That is not the password of {}.", setup.login);
    }
    Err("You are not let in.".to_owned())
}

struct Setup {
    login: String,
    address: String,
    roots: Option<Vec<u8>>,
    state: Option<PathBuf>,
}

/// How the beginning of a session went.
enum Beginning {
    Online(Started),
    /// There is no connection, for this reason.
    Offline(Started, String),
    Ended(SessionEnd),
}

impl Setup {
    fn new(arguments: &Arguments) -> Result<Self, Sentence> {
        let read = |path: &PathBuf| {
            let cannot = |error| format!("Cannot read {}: {error}.", path.display());
            std::fs::read(path).map_err(cannot)
        };
        let address = arguments.address();
        Ok(Self {
            roots: arguments.ca.as_ref().map(read).transpose()?,
            state: match (&arguments.state, arguments.forget) {
                (_, true) => None,
                (Some(folder), false) => Some(folder.clone()),
                (None, false) => usual_state(&arguments.login, &address),
            },
            login: arguments.login.clone(),
            address,
        })
    }

    fn builder(&self) -> Builder {
        let builder = Client::builder().server(&self.address);
        match &self.roots {
            Some(roots) => builder.roots(roots.as_slice()),
            None => builder,
        }
    }

    /// With the folder that remembers, unless there is none to be.
    fn remembering(&self, builder: Builder) -> Result<Builder, Sentence> {
        let Some(path) = &self.state else {
            return Ok(builder);
        };
        match FileStore::open(path) {
            Ok(store) => Ok(builder.store(store)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                eprintln!("You are here in another window; this one will remember nothing.");
                Ok(builder)
            }
            Err(error) => {
                let path = path.display();
                Err(format!(
                    "Cannot use {path} to remember: {error}.\nWith --forget it goes without."
                ))
            }
        }
    }

    /// The session of last time, if it is there still.
    async fn resume(&self) -> Result<Option<Started>, Sentence> {
        let builder = self.remembering(self.builder())?;
        match self.start(builder).await? {
            None | Some(Beginning::Ended(SessionEnd::SessionEnded)) => Ok(None),
            Some(Beginning::Online(started)) => Ok(Some(started)),
            Some(Beginning::Offline(started, why)) => {
                eprintln!("There is no connection for now: {why}.");
                Ok(Some(started))
            }
            Some(Beginning::Ended(end)) => Err(format!("{}.", because(&end))),
        }
    }

    /// Another session. `None` when the password is wrong.
    async fn begin(&self, pass: Password) -> Result<Option<Started>, Sentence> {
        let start = async || {
            let builder = self
                .builder()
                .credentials(self.login.as_str(), pass.clone());
            self.start(self.remembering(builder)?).await
        };
        let mut beginning = start().await?;
        if let Some(Beginning::Ended(SessionEnd::Refused(failure))) = &beginning
            && failure.code == ErrorCode::NeedRegister
        {
            self.register(&pass).await?;
            beginning = start().await?;
        }
        match beginning {
            Some(Beginning::Online(started)) => Ok(Some(started)),
            Some(Beginning::Ended(SessionEnd::Refused(failure)))
                if failure.code == ErrorCode::InvalidPass =>
            {
                Ok(None)
            }
            Some(Beginning::Ended(end)) => Err(format!("Cannot log in: {}.", because(&end))),
            Some(Beginning::Offline(_, why)) => Err(format!(
                "Cannot reach a messenger server at {}: {why}.",
                self.address
            )),
            None => Err("Cannot log in.".to_owned()),
        }
    }

    /// `None` when there is nothing to begin with.
    async fn start(&self, builder: Builder) -> Result<Option<Beginning>, Sentence> {
        let (session, incoming) = match builder.start().await {
            Ok(started) => started,
            Err(StartError::NoCredentials) => return Ok(None),
            Err(error) => return Err(format!("{}.", because(&error))),
        };
        let mut states = session.states();
        while let Some(state) = states.next().await {
            let started = || session.uid();
            match state {
                ConnectionState::Online => {
                    let uid = started();
                    return Ok(Some(Beginning::Online((session, incoming, uid))));
                }
                ConnectionState::Offline { why, .. } => {
                    let started = (session.clone(), incoming, started());
                    return Ok(Some(Beginning::Offline(started, because(&why))));
                }
                ConnectionState::Ended { why } => {
                    // So that the next can have the folder.
                    session.close().await;
                    return Ok(Some(Beginning::Ended(why)));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    async fn register(&self, pass: &Password) -> Result<(), Sentence> {
        println!(
            "There is no {} yet; let us make an account with that password.",
            self.login
        );
        let nick = ask("The name others will see: ").await?;
        let connected = self.builder().connect().await;
        let (client, _events) = connected.map_err(|error| format!("{}.", because(&error)))?;
        let registered = client.register(&self.login, pass, &nick).await;
        registered.map_err(|error| format!("Cannot register: {}.", because(&error)))
    }
}

/// Where the system's programs keep what they remember, by user and server.
fn usual_state(login: &str, address: &str) -> Option<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
    let given = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let folder = given.filter(|path| path.is_absolute()).or_else(home)?;
    let account = format!("{login}@{address}");
    let account = utf8_percent_encode(&account, NON_ALPHANUMERIC).to_string();
    Some(folder.join("messenger").join(account))
}

async fn ask(question: &str) -> Result<String, Sentence> {
    print!("{}", safe::line(question));
    // A terminal that is gone is noticed when reading.
    let _ = stdout().flush();
    blocking(read_line).await
}

/// A password is not shown as it is typed.
async fn ask_password(question: &str) -> Result<String, Sentence> {
    if !stdin().is_terminal() {
        return ask(question).await;
    }
    let question = safe::line(question);
    blocking(move || rpassword::prompt_password(question)).await
}

fn read_line() -> io::Result<String> {
    let mut line = String::new();
    match stdin().read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
    }
}

async fn blocking(
    read: impl FnOnce() -> io::Result<String> + Send + 'static,
) -> Result<String, Sentence> {
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(io::Error::other)
        .flatten()
        .map_err(|_| "Nothing was typed.".to_owned())
}
