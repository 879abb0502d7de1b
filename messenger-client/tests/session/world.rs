//! A server that can be restarted, its store, and the way there.

use crate::network;
use messenger_client::proto::{Password, Register, UserId};
use messenger_client::{
    Builder, Client, Connect, ConnectionState, Incoming, Session, SessionEvent, Stream,
    async_trait, over,
};
use messenger_core::authenticator::{
    Authenticator, AuthenticatorError, Identity, RegisterError, Verdict,
};
use messenger_core::storage::MemoryStorage;
use messenger_core::testing::{FaultyStorage, SeededEntropy};
use messenger_core::{Engine, Policy};
use messenger_server::{Server, Transport};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Virtual, so it may be long.
pub(crate) const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// The server, and everything around it. Clones are one.
#[derive(Clone, Debug)]
pub(crate) struct World(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    storage: FaultyStorage,
    accounts: Accounts,
    /// `None` while it is down.
    server: Mutex<Option<Server>>,
    /// While it is there, connections go over a bad network.
    faults: Mutex<Option<SeededEntropy>>,
    /// Cuts the connections that there are.
    cut: Mutex<CancellationToken>,
    /// How many connections were asked for.
    connects: Mutex<usize>,
}

/// Accounts whose passwords need no hashing, which would take real time.
#[derive(Clone, Debug, Default)]
struct Accounts(Arc<Mutex<HashMap<UserId, Password>>>);

#[async_trait]
impl Authenticator for Accounts {
    async fn identify(&self, login: &UserId) -> Result<Option<Identity>, AuthenticatorError> {
        let is_there = self.0.lock().unwrap().contains_key(login);
        Ok(is_there.then(|| Identity::new(login.as_str())))
    }

    async fn verify(&self, login: &UserId, pass: &Password) -> Result<Verdict, AuthenticatorError> {
        Ok(match self.0.lock().unwrap().get(login) {
            None => Verdict::NoSuchLogin,
            Some(kept) if kept == pass => Verdict::Accepted(Identity::new(login.as_str())),
            Some(_) => Verdict::WrongPass,
        })
    }

    async fn register(&self, register: &Register) -> Result<(), RegisterError> {
        let login = UserId::from(register.login.as_ref());
        self.0.lock().unwrap().insert(login, register.pass.clone());
        Ok(())
    }
}

impl World {
    /// A server that runs, with these users, whose password is `secret`.
    pub(crate) fn new(users: &[&str]) -> Self {
        let world = Self(Arc::new(Parts {
            storage: FaultyStorage::new(Arc::new(MemoryStorage::new())),
            accounts: Accounts::default(),
            server: Mutex::default(),
            faults: Mutex::default(),
            cut: Mutex::default(),
            connects: Mutex::default(),
        }));
        for user in users {
            world.set_password(user, "secret");
        }
        world.start();
        world
    }

    /// Gives a user, new or not, a password. What is in the store of one who was there is not touched.
    pub(crate) fn set_password(&self, login: &str, pass: &str) {
        let mut accounts = self.0.accounts.0.lock().unwrap();
        accounts.insert(login.into(), pass.into());
    }

    pub(crate) fn start(&self) {
        let mut policy = Policy::default();
        policy.rates = None;
        let engine = Engine::builder()
            .storage(Arc::new(self.0.storage.clone()))
            .authenticator(Arc::new(self.0.accounts.clone()))
            .policy(policy)
            .build()
            .unwrap();
        *self.0.server.lock().unwrap() = Some(Server::new(engine, Transport::default()));
    }

    /// Stops the server; whoever connects is refused until it is started again.
    pub(crate) fn stop(&self) {
        if let Some(server) = self.0.server.lock().unwrap().take() {
            server.stop();
        }
    }

    pub(crate) fn engine(&self) -> Engine {
        let server = self.0.server.lock().unwrap();
        server
            .as_ref()
            .expect("a server that runs")
            .engine()
            .clone()
    }

    pub(crate) fn storage(&self) -> &FaultyStorage {
        &self.0.storage
    }

    pub(crate) fn set_faults(&self, entropy: Option<SeededEntropy>) {
        *self.0.faults.lock().unwrap() = entropy;
    }

    /// Cuts all connections, without a word to either end.
    pub(crate) fn cut(&self) {
        std::mem::take(&mut *self.0.cut.lock().unwrap()).cancel();
    }

    pub(crate) fn connects(&self) -> usize {
        *self.0.connects.lock().unwrap()
    }

    /// A session's builder for a user.
    pub(crate) fn device(&self, login: &str) -> Builder {
        Client::builder()
            .connect_by(self.clone())
            .credentials(login, "secret".into())
    }

    /// A session that is online.
    pub(crate) async fn online(&self, login: &str) -> (Session, Incoming) {
        let (session, incoming) = self.device(login).start().await.unwrap();
        until_online(&session).await;
        (session, incoming)
    }

    /// One connection over a good network, logged in as a user for as long as it lasts.
    pub(crate) async fn visitor(&self, login: &str) -> Client {
        let stream = self.connect().await.unwrap();
        let (client, _) = over(stream).await.unwrap();
        client
            .auth_ephemeral(login, &"secret".into())
            .await
            .unwrap();
        client
    }
}

#[async_trait]
impl Connect for World {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        *self.0.connects.lock().unwrap() += 1;
        let cut = self.0.cut.lock().unwrap().clone();
        let (client, end) = match &*self.0.faults.lock().unwrap() {
            Some(entropy) if entropy.below(8) == 0 => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Some(entropy) => network::bad(&cut, entropy),
            None => network::good(&cut),
        };
        let server = self.0.server.lock().unwrap().clone();
        let server = server.ok_or(io::ErrorKind::ConnectionRefused)?;
        tokio::spawn(server.connection(end));
        Ok(Box::new(client))
    }
}

/// Waits for what must come, in virtual time.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(LONG, what).await.expect("what never came")
}

pub(crate) async fn until_online(session: &Session) {
    until(session, |state| matches!(state, ConnectionState::Online)).await;
}

/// Waits for a state, and gives it.
pub(crate) async fn until(
    session: &Session,
    is_it: impl Fn(&ConnectionState) -> bool,
) -> ConnectionState {
    let mut states = session.states();
    loop {
        let state = soon(states.next()).await.expect("another state");
        if is_it(&state) {
            return state;
        }
    }
}

/// The body of the next message from somebody else.
pub(crate) async fn heard(incoming: &mut Incoming) -> String {
    loop {
        let SessionEvent::Message(event) = soon(incoming.next()).await.unwrap() else {
            panic!("a message was refused");
        };
        if event.seq.is_some() {
            return event.message.body.as_str().to_owned();
        }
    }
}
