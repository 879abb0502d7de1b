//! Setting up a session.

use crate::session::keeper::{Left, Record, Unreadable};
use crate::session::{Desk, Shared, Worker, keeper::Keeper};
use crate::transport::{Address, AddressError, Connect, Transport};
use crate::{
    Client, ConnectionError, Events, Incoming, MemoryStore, Session, StateStore, limits, over,
};
use messenger_proto::{Password, SessionId, UserId};
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Sets up a [`Session`]: where the server is, who one is, and where to keep what must not be forgotten.
#[derive(Default)]
#[must_use = "nothing happens before `start`"]
pub struct Builder {
    server: Option<String>,
    connector: Option<Box<dyn Connect>>,
    #[cfg(feature = "tls")]
    roots: Option<Vec<u8>>,
    credentials: Option<(UserId, Password)>,
    resumed: Option<(UserId, SessionId)>,
    processed: u64,
    store: Option<Box<dyn StateStore>>,
}

/// Why a session cannot be begun at all. (What is wrong with the server or the log-in is told by
/// [`Session::state`](crate::Session::state).)
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Neither a server's address nor a way to connect was given.
    #[error("it was not said where the server is")]
    NoServer,
    /// The address of the server is none.
    #[error("{address} is no address of a server")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        source: AddressError,
    },
    /// There are no certificates to check a server's by.
    #[error("the certificates to trust cannot be read")]
    Roots(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Neither a password nor a session was given, nor is one in the store.
    #[error("it was not said who logs in")]
    NoCredentials,
    /// The store cannot be read or written.
    #[error("the session's state cannot be read or written")]
    Store(#[source] Arc<io::Error>),
    /// An entry of the store is not what a session writes there.
    #[error("the entry {name} of the session's state makes no sense")]
    Unreadable {
        /// Its name.
        name: String,
    },
    /// The store is another user's.
    #[error("the session's state is that of {uid}")]
    OtherUser {
        /// Whose it is.
        uid: UserId,
    },
}

impl Client {
    /// Sets up a [`Session`], which outlives connections.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// Where the server is: `example.org:7788` (or `tcp://…`), `tls://example.org:7790`, `ws://example.org/ws` or
    /// `wss://example.org/ws`.
    pub fn server(mut self, address: impl Into<String>) -> Self {
        self.server = Some(address.into());
        self
    }

    /// Connects by other means than [`server`](Self::server).
    pub fn connect_by(mut self, connector: impl Connect) -> Self {
        self.connector = Some(Box::new(connector));
        self
    }

    /// Trusts these certificates (PEM) instead of the platform's.
    #[cfg(feature = "tls")]
    pub fn roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Who one is: a session is begun with this when there is none, or when it was ended.
    pub fn credentials(mut self, login: impl Into<UserId>, pass: Password) -> Self {
        self.credentials = Some((login.into(), pass));
        self
    }

    /// Goes on with a session that began elsewhere. It must acknowledge; a session in the store comes first.
    pub fn resume(mut self, uid: impl Into<UserId>, sid: impl Into<SessionId>) -> Self {
        self.resumed = Some((uid.into(), sid.into()));
        self
    }

    /// The sequence number of the last message that the application knows to have processed, if it keeps that itself. The store
    /// may know more.
    pub fn processed(mut self, seq: u64) -> Self {
        self.processed = seq;
        self
    }

    /// Keeps there what must not be forgotten. Without this a session forgets with the process.
    pub fn store(mut self, store: impl StateStore) -> Self {
        self.store = Some(Box::new(store));
        self
    }

    /// Makes one connection, to register for instance. It has nothing to do with a session.
    ///
    /// # Errors
    /// What was given makes no sense (`InvalidInput`), or as [`connect`](crate::connect).
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn connect(&self) -> Result<(Client, Events), ConnectionError> {
        let stream = match &self.connector {
            Some(connector) => connector.connect().await?,
            None => self.transport().map_err(invalid)?.connect().await?,
        };
        over(stream).await
    }

    /// Begins. The session connects by itself, and [tells](crate::Session::states) how it stands.
    ///
    /// # Errors
    /// See [`StartError`]. That the server cannot be reached is none.
    ///
    /// # Cancel safety
    /// Nothing has begun before this returns.
    pub async fn start(mut self) -> Result<(Session, Incoming), StartError> {
        let connector = match self.connector.take() {
            Some(connector) => connector,
            None => Box::new(self.transport()?),
        };
        let mut store = match self.store.take() {
            Some(store) => store,
            None => Box::new(MemoryStore::default()),
        };
        let entries = store.load().await.map_err(store_error)?;
        let left =
            Left::read(entries).map_err(|Unreadable(name)| StartError::Unreadable { name })?;
        let record = self.record(left.record)?;
        let desk = Arc::new(Desk::default());
        for (number, message, length) in left.messages {
            desk.outbox.lock().restore(number, message, length);
        }
        let keeper = Keeper::start(store, Arc::clone(&desk));
        let (sender, events) = mpsc::channel(limits::EVENTS_WAITING);
        let worker = Worker {
            connector,
            credentials: self.credentials,
            events: sender,
            received: record.processed,
            copies: Default::default(),
            shared: Arc::new(Shared::new(desk, keeper, record)),
        };
        let shared = Arc::clone(&worker.shared);
        // Whose the store is stands there before any message does.
        let kept = shared.change_record(|_| {}).await;
        kept.map_err(|end| StartError::Store(Arc::new(io::Error::other(end))))?;
        tokio::spawn(worker.run());
        let incoming = Incoming {
            shared: Arc::clone(&shared),
            events,
            at_work: None,
        };
        Ok((Session::new(shared), incoming))
    }

    /// Who the session is: what the store says, if that is the user who was given.
    fn record(&self, left: Option<Record>) -> Result<Record, StartError> {
        let given = match (&self.resumed, &self.credentials) {
            (Some((uid, sid)), _) => Some((uid, sid.clone())),
            (None, Some((login, _))) => Some((login, SessionId::default())),
            (None, None) => None,
        };
        let mut record = match (left, given) {
            (None, None) => return Err(StartError::NoCredentials),
            (None, Some((uid, sid))) => Record {
                uid: uid.clone(),
                sid,
                processed: 0,
            },
            (Some(left), Some((uid, _))) if left.uid != *uid => {
                return Err(StartError::OtherUser { uid: left.uid });
            }
            (Some(left), given) => {
                let sid = given.map(|(_, sid)| sid).unwrap_or_default();
                let sid = if left.sid.is_empty() { sid } else { left.sid };
                Record { sid, ..left }
            }
        };
        record.processed = record.processed.max(self.processed);
        Ok(record)
    }

    fn transport(&self) -> Result<Transport, StartError> {
        let given = self.server.as_deref().ok_or(StartError::NoServer)?;
        let address = Address::parse(given).map_err(|source| StartError::Address {
            address: given.to_owned(),
            source,
        })?;
        Ok(Transport {
            #[cfg(feature = "tls")]
            tls: if address.is_secure() {
                let tls = crate::transport::Tls::new(self.roots.as_deref());
                Some(tls.map_err(StartError::Roots)?)
            } else {
                None
            },
            address,
        })
    }
}

impl fmt::Debug for Builder {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = self.credentials.as_ref().map(|(login, _)| login);
        f.debug_struct("Builder")
            .field("server", &self.server)
            .field("login", &login)
            .finish_non_exhaustive()
    }
}

fn store_error(error: io::Error) -> StartError {
    StartError::Store(Arc::new(error))
}

fn invalid(error: StartError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
