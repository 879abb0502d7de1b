//! What an operator should know of a certificate that can be used: until when clients accept it, and whether they find
//! their way through its chain.

use crate::Tls;
use crate::dates::for_people;
use messenger_core::clock::{Clock, SystemClock, Timestamp};
use metrics::gauge;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_SERVER_AUTH};
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectAltName};
use x509_cert::time::Time;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long before its end a certificate should have been renewed: so long,
const SOON: Duration = DAY.saturating_mul(14);

/// or this part of its life, if that is less.
const SOON_PART: u32 = 3;

/// How often [`watch`] looks.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(60);

/// How often it says the same.
const SAID_EVERY: Duration = DAY;

/// When the certificate expires, in seconds since 1970.
pub(crate) const EXPIRY: &str = "messenger_certificate_expiry_timestamp_seconds";

/// What is to be done about a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Concern {
    /// Clients refuse it.
    #[error(
        "the certificate (--tls-cert) expired on {}, and clients refuse it; renew it",
        for_people(*at)
    )]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// Clients refuse it for now.
    #[error(
        "the certificate (--tls-cert) is not valid before {}, and clients refuse it; is the clock right?",
        for_people(*until)
    )]
    NotYet {
        /// How long.
        until: Timestamp,
    },
    /// Clients refuse it, as they look for the server's name only there.
    #[error(
        "the certificate (--tls-cert) names no server (it has no subjectAltName), and clients refuse it; have it made anew with the server's name there"
    )]
    Nameless,
    /// Clients refuse it.
    #[error(
        "the certificate (--tls-cert) is not for servers (its extendedKeyUsage lacks serverAuth), and clients refuse it; have it made anew for a server"
    )]
    NotForServers,
    /// Some clients refuse it.
    #[error(
        "the certificates (--tls-cert) are in disorder, and some clients refuse that; each must be followed by the one that issued it"
    )]
    Disorder,
    /// It should have been renewed.
    #[error(
        "the certificate (--tls-cert) expires on {}; renew it, and see why that was not done",
        for_people(*at)
    )]
    Soon {
        /// When.
        at: Timestamp,
    },
}

impl Concern {
    /// Whether every client refuses the certificate.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Disorder | Self::Soon { .. })
    }
}

/// What is most to be done about a certificate now, if anything. One that is not understood is none.
pub fn concern(tls: &Tls) -> Option<Concern> {
    Chain::read(&tls.chain())?.concern(SystemClock.now())
}

/// Tells the recorder of metrics when the certificate expires, and logs what is to be done about it, once a day. It goes
/// on until it is dropped.
pub async fn watch(tls: Tls) {
    let mut looks = interval(LOOKED_AT_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = None;
    loop {
        looks.tick().await;
        let Some(chain) = Chain::read(&tls.chain()) else {
            continue;
        };
        #[expect(clippy::cast_precision_loss)] // far from 2^53
        gauge!(EXPIRY).set(chain.valid_until().as_secs() as f64);
        let concern = chain.concern(SystemClock.now());
        let is_said = said.as_ref().is_some_and(|(last, when): &(_, Instant)| {
            *last == concern && when.elapsed() < SAID_EVERY
        });
        if !is_said {
            match &concern {
                Some(concern) if concern.is_fatal() => tracing::error!("{concern}"),
                Some(concern) => tracing::warn!("{concern}"),
                None => {}
            }
            said = Some((concern, Instant::now()));
        }
    }
}

/// A server's certificate, and those behind it.
struct Chain {
    own: Certificate,
    others: Vec<Certificate>,
}

impl Chain {
    fn read(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let mut chain = chain.iter().map(|der| Certificate::from_der(der).ok());
        Some(Self {
            own: chain.next()??,
            others: chain.collect::<Option<_>>()?,
        })
    }

    fn all(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.own).chain(&self.others)
    }

    /// When the first of them expires.
    fn valid_until(&self) -> Timestamp {
        let others = self.others.iter().map(end);
        others.fold(end(&self.own), Timestamp::min)
    }

    /// When the last of them begins.
    fn valid_from(&self) -> Timestamp {
        let others = self.others.iter().map(beginning);
        others.fold(beginning(&self.own), Timestamp::max)
    }

    fn is_in_order(&self) -> bool {
        self.all()
            .zip(&self.others)
            .all(|(one, next)| one.tbs_certificate().issuer() == next.tbs_certificate().subject())
    }

    fn has_name(&self) -> bool {
        let names = self.own.tbs_certificate().get_extension();
        // One that is not understood is no concern.
        names.map_or(true, |names: Option<(bool, SubjectAltName)>| {
            names.is_some_and(|(_, SubjectAltName(names))| !names.is_empty())
        })
    }

    fn is_for_servers(&self) -> bool {
        let uses = self.own.tbs_certificate().get_extension();
        // Without it a certificate is for everything.
        let Ok(Some((_, ExtendedKeyUsage(uses)))) = uses else {
            return true;
        };
        uses.contains(&ID_KP_SERVER_AUTH) || uses.contains(&ANY_EXTENDED_KEY_USAGE)
    }

    fn concern(&self, now: Timestamp) -> Option<Concern> {
        let (from, until) = (self.valid_from(), self.valid_until());
        let part_of_life = until.since(from) / SOON_PART;
        if now >= until {
            Some(Concern::Expired { at: until })
        } else if now < from {
            Some(Concern::NotYet { until: from })
        } else if !self.has_name() {
            Some(Concern::Nameless)
        } else if !self.is_for_servers() {
            Some(Concern::NotForServers)
        } else if !self.is_in_order() {
            Some(Concern::Disorder)
        } else if until.since(now) < SOON.min(part_of_life) {
            Some(Concern::Soon { at: until })
        } else {
            None
        }
    }
}

fn beginning(certificate: &Certificate) -> Timestamp {
    moment(certificate.tbs_certificate().validity().not_before)
}

fn end(certificate: &Certificate) -> Timestamp {
    moment(certificate.tbs_certificate().validity().not_after)
}

fn moment(time: Time) -> Timestamp {
    let micros = time.to_unix_duration().as_micros();
    Timestamp::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}
