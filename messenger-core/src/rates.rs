//! Rate limits: below every transport, so that an embedder's clients are held to them too.

mod limiter;

use crate::clock::Clock;
use crate::policy::{Rate, Rates};
use crate::storage::SessionKey;
use limiter::{Held, Limiter};
use messenger_proto::{Failure, UserId};
use std::net::IpAddr;
use std::sync::Arc;

/// The limits in force.
#[derive(Debug)]
pub(crate) struct Limiters {
    exempt_loopback: bool,
    failed_auth_login: Limiter,
    failed_auth_address: Limiter,
    registrations: Limiter,
    messages: Limiter,
    import: Limiter,
}

impl Limiters {
    pub(crate) fn new(rates: &Rates, clock: &Arc<dyn Clock>) -> Self {
        let limiter = |name: &'static str, reason: &'static str, rate: Rate| {
            Limiter::new(name, reason, rate, Arc::clone(clock))
        };
        Self {
            exempt_loopback: rates.exempt_loopback,
            failed_auth_login: limiter(
                "failed_auth_login",
                "Too many failed attempts with this login, try later",
                rates.failed_auth_login,
            ),
            failed_auth_address: limiter(
                "failed_auth_address",
                "Too many failed attempts from your address, try later",
                rates.failed_auth_address,
            ),
            registrations: limiter(
                "registrations",
                "Too many registrations from your address, try later",
                rates.registrations,
            ),
            messages: limiter("messages", "Too many messages, try later", rates.messages),
            import: limiter(
                "import",
                "Too many entries imported, try later",
                rates.import,
            ),
        }
    }

    /// Counts an attempt to authenticate as a failed one, until it is known to be none: counted only
    /// afterwards, a thousand at once would pass.
    pub(crate) fn attempt(
        &self,
        login: &str,
        peer: Option<IpAddr>,
    ) -> Result<Attempt<'_>, Failure> {
        // Whoever is over the limit of its address must not fill the table of logins.
        let address = self.network(peer);
        let address = address.map(|network| self.failed_auth_address.take(&network, 1));
        let address = address.transpose()?;
        match self.failed_auth_login.take(&login, 1) {
            Ok(login) => Ok(Attempt { login, address }),
            Err(failure) => {
                if let Some(address) = address {
                    address.give_back();
                }
                Err(failure)
            }
        }
    }

    pub(crate) fn registration(&self, peer: Option<IpAddr>) -> Result<(), Failure> {
        let network = self.network(peer);
        let taken = network.map(|network| self.registrations.take(&network, 1));
        taken.transpose().map(drop)
    }

    pub(crate) fn message(&self, session: &SessionKey) -> Result<(), Failure> {
        self.messages.take(session, 1).map(drop)
    }

    pub(crate) fn import(&self, user: &UserId, entries: usize) -> Result<(), Failure> {
        self.import.take(user, entries).map(drop)
    }

    /// Forgets those whose budget is whole again.
    pub(crate) fn forget_idle(&self) {
        self.failed_auth_login.forget_idle();
        self.failed_auth_address.forget_idle();
        self.registrations.forget_idle();
        self.messages.forget_idle();
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

/// An attempt to authenticate, counted as failed.
#[must_use]
pub(crate) struct Attempt<'a> {
    login: Held<'a>,
    address: Option<Held<'a>>,
}

impl Attempt<'_> {
    /// It succeeded, or nobody could tell.
    pub(crate) fn has_not_failed(self) {
        self.login.give_back();
        if let Some(address) = self.address {
            address.give_back();
        }
    }
}
