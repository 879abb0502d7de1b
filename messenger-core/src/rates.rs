//! Rate limits: below every transport, so that an embedder's clients are held to them too.

mod limiter;
pub(crate) mod quota;
mod sessions;
mod shared;
mod under_way;

pub(crate) use sessions::Budget;

use crate::clock::{Clock, Timestamp};
use crate::policy::{Rate, Rates};
use crate::storage::{SessionKey, SharedLimit, StorageError};
use crate::timed_storage::TimedStorage;
use limiter::{Held, Limiter};
use messenger_proto::UserId;
use sessions::SessionLimiter;
use shared::{SharedLimiter, Taken};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use under_way::{Begun, Key, UnderWay};

/// The most keys or sessions that a limit counts, at some 25 or 100 bytes each.
const KEYS: usize = 1_000_000;

/// A limit was reached; the sentence tells the client which.
#[derive(Debug)]
pub(crate) struct TooMany(pub(crate) &'static str);

/// Why something may not be done.
#[derive(Debug)]
pub(crate) enum Denied {
    TooMany(TooMany),
    /// The store, which counts, failed.
    Storage(StorageError),
}

impl From<TooMany> for Denied {
    fn from(too_many: TooMany) -> Self {
        Self::TooMany(too_many)
    }
}

impl From<StorageError> for Denied {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// The limits in force.
#[derive(Debug)]
pub(crate) struct Limiters {
    exempt_loopback: bool,
    failed_auth_login: SharedLimiter,
    failed_auth_address: Limiter,
    under_way: UnderWay,
    registrations: Limiter,
    messages: SessionLimiter,
    import: SharedLimiter,
}

impl Limiters {
    pub(crate) fn new(rates: &Rates, clock: &Arc<dyn Clock>) -> Self {
        let limiter = |name: &'static str, reason: &'static str, rate: Rate| {
            Limiter::new(name, reason, rate, Arc::clone(clock))
        };
        Self {
            exempt_loopback: rates.exempt_loopback,
            failed_auth_login: SharedLimiter {
                limit: SharedLimit::FailedAuthLogin,
                rate: rates.failed_auth_login,
                own: limiter(
                    "failed_auth_login",
                    "Too many failed attempts with this login, try later",
                    rates.failed_auth_login,
                ),
            },
            failed_auth_address: limiter(
                "failed_auth_address",
                "Too many failed attempts from your address, try later",
                rates.failed_auth_address,
            ),
            under_way: UnderWay::default(),
            registrations: limiter(
                "registrations",
                "Too many registrations from your address, try later",
                rates.registrations,
            ),
            messages: SessionLimiter::new(rates.messages, rates.message_bytes),
            import: SharedLimiter {
                limit: SharedLimit::Import,
                rate: rates.import,
                own: limiter(
                    "import",
                    "Too many entries imported, try later",
                    rates.import,
                ),
            },
        }
    }

    /// Counts an attempt to authenticate as a failed one, until it is known to be none: counted only
    /// afterwards, a thousand at once would pass. When there is no room because of others that are under way, it waits
    /// for what becomes of them, for as long as a request may wait beside the store.
    pub(crate) async fn attempt<'a>(
        &'a self,
        storage: &'a TimedStorage,
        login: &'a str,
        peer: Option<IpAddr>,
    ) -> Result<Attempt<'a>, Denied> {
        let mut patience = pin!(storage.patience());
        // Whoever is over the limit of its address must not fill the table of logins.
        let mut from = match self.network(peer) {
            Some(network) => Some(self.count_address(network, patience.as_mut()).await?),
            None => None,
        };
        let login = self.count_login(storage, login, patience).await?;
        let address = from.as_mut().and_then(|counted| counted.held.take());
        Ok(Attempt {
            login,
            address,
            _from: from,
        })
    }

    async fn count_address(
        &self,
        network: IpAddr,
        mut patience: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Counted<'_>, Denied> {
        let key = Key::Network(network);
        loop {
            // Looked for before, so that no end is missed.
            let next_end = self.under_way.next_end(&key);
            if let Some(held) = self.failed_auth_address.take(&network, 1) {
                return Ok(Counted {
                    held: Some(held),
                    _under_way: self.under_way.begin(key),
                });
            }
            if !ends_in_time(next_end, patience.as_mut()).await {
                return Err(self.failed_auth_address.refuse().into());
            }
        }
    }

    async fn count_login<'a>(
        &'a self,
        storage: &'a TimedStorage,
        login: &'a str,
        mut patience: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(Taken<'a>, Begun<'a>), Denied> {
        let key = Key::Login(login.to_owned());
        loop {
            let next_end = self.under_way.next_end(&key);
            if let Some(taken) = self.failed_auth_login.take(storage, login, 1).await? {
                return Ok((taken, self.under_way.begin(key)));
            }
            if !ends_in_time(next_end, patience.as_mut()).await {
                return Err(self.failed_auth_login.own.refuse().into());
            }
        }
    }

    pub(crate) fn registration(&self, peer: Option<IpAddr>) -> Result<(), TooMany> {
        match self.network(peer) {
            Some(network) if self.registrations.take(&network, 1).is_none() => {
                Err(self.registrations.refuse())
            }
            _ => Ok(()),
        }
    }

    /// What a session that has a connection now may still send.
    pub(crate) fn messages_of(&self, session: &SessionKey, now: Timestamp) -> Arc<Budget> {
        self.messages.budget(session, now)
    }

    /// Counts a message with so many bytes of text and attachment.
    #[inline]
    pub(crate) fn message(
        &self,
        budget: &Budget,
        bytes: usize,
        now: Timestamp,
    ) -> Result<(), TooMany> {
        self.messages.take(budget, bytes, now)
    }

    pub(crate) async fn import(
        &self,
        storage: &TimedStorage,
        user: &UserId,
        entries: usize,
    ) -> Result<(), Denied> {
        match self.import.take(storage, user.as_str(), entries).await? {
            Some(_) => Ok(()),
            None => Err(self.import.own.refuse().into()),
        }
    }

    /// Forgets those whose budget is whole again.
    pub(crate) fn forget_idle(&self, now: Timestamp) {
        self.failed_auth_login.forget_idle();
        self.failed_auth_address.forget_idle();
        self.registrations.forget_idle();
        self.messages.forget_idle(now);
        self.import.forget_idle();
    }

    /// What a peer is counted under; `None` when it is exempt, or is no address.
    fn network(&self, peer: Option<IpAddr>) -> Option<IpAddr> {
        let peer = peer?.to_canonical();
        let is_exempt = self.exempt_loopback && peer.is_loopback();
        (!is_exempt).then(|| network(peer))
    }
}

/// The address, or with IPv6 its network of 64 bits: all of its addresses are one customer's.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
    }
}

/// Waits for the end of an attempt. False when there is none to wait for, or not in time.
async fn ends_in_time(
    next_end: Option<impl Future<Output = ()>>,
    patience: Pin<&mut impl Future<Output = ()>>,
) -> bool {
    let Some(end) = next_end else {
        return false;
    };
    tokio::select! {
        biased;
        () = end => true,
        () = patience => false,
    }
}

/// An attempt to authenticate, counted as failed.
#[must_use]
pub(crate) struct Attempt<'a> {
    login: (Taken<'a>, Begun<'a>),
    address: Option<Held<'a>>,
    _from: Option<Counted<'a>>,
}

/// What is taken of an address while the login is waited for, and given back if that comes to nothing.
struct Counted<'a> {
    held: Option<Held<'a>>,
    _under_way: Begun<'a>,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            held.give_back();
        }
    }
}

impl Attempt<'_> {
    /// It succeeded, or nobody could tell.
    pub(crate) async fn has_not_failed(self) {
        if let Some(address) = self.address {
            address.give_back();
        }
        let (taken, _under_way) = self.login;
        taken.give_back().await;
    }
}
