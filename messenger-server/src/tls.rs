//! TLS: a certificate and its key, which may change while the server runs.

mod files;
mod old_clients;

pub use files::TlsError;

use files::{Files, Paths};
use parking_lot::RwLock;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::ProducesTickets;
use tokio_rustls::rustls::sign::SingleCertAndKey;
use tokio_rustls::server::TlsStream;

/// How often [`Tls::watch`] looks at the files.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(2);

/// What TLS connections are accepted with: a certificate chain and its key from PEM
/// [files](Self::load), or a configuration of the embedder's own (`Tls::from`).
///
/// Clones are one: when one [reloads](Self::reload), all have the new certificate, and connections that
/// are there keep the old one.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    /// Where it comes from; `None` when it is the embedder's own.
    source: Option<Source>,
    current: RwLock<Current>,
}

struct Source {
    paths: Paths,
    /// Clients come back with what it gave them, instead of a whole handshake: the server keeps nothing of them,
    /// however many they are. Its keys change every 6 hours, and not with the certificate.
    tickets: Arc<dyn ProducesTickets>,
}

struct Current {
    config: Arc<ServerConfig>,
    chain: Vec<CertificateDer<'static>>,
    /// What the files held.
    files: Files,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("paths", &self.0.source.as_ref().map(|source| &source.paths))
            .finish_non_exhaustive()
    }
}

impl From<Arc<ServerConfig>> for Tls {
    /// Uses a configuration as it is. A certificate that changes is the affair of its
    /// [resolver](tokio_rustls::rustls::server::ResolvesServerCert).
    fn from(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(Shared {
            source: None,
            current: RwLock::new(Current {
                config,
                chain: Vec::new(),
                files: Files::default(),
            }),
        }))
    }
}

impl Tls {
    /// Reads a certificate chain (the server's own first) and its key.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        let tickets = ring::Ticketer::new().map_err(TlsError::setup)?;
        let paths = Paths {
            certificates: certificates.to_owned(),
            key: key.to_owned(),
        };
        let files = Files::read(&paths)?;
        let source = Source { paths, tickets };
        let current = source.current(files)?;
        Ok(Self(Arc::new(Shared {
            source: Some(source),
            current: RwLock::new(current),
        })))
    }

    /// Reads the files again, and uses what they hold for connections to come. False when nothing has
    /// changed, or there are none.
    ///
    /// # Errors
    /// See [`TlsError`]; the certificate in use stays in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let Some(source) = &self.0.source else {
            return Ok(false);
        };
        let files = Files::read(&source.paths)?;
        if files == self.0.current.read().files {
            return Ok(false);
        }
        let current = source.current(files)?;
        *self.0.current.write() = current;
        Ok(true)
    }

    /// The certificates in use that were read from files, the server's own first; none of an embedder's configuration.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.0.current.read().chain.clone()
    }

    /// [Reloads](Self::reload) whenever the files have changed, which it looks for every 2 seconds and when
    /// `told` completes (a signal, say; it is dropped and called again with every look). A certificate that cannot be used
    /// is logged once, or again when told; the one in use stays. It never returns.
    ///
    /// # Cancel safety
    /// Dropping the future ends it; the certificate in use stays.
    pub async fn watch(self, mut told: impl AsyncFnMut()) {
        let mut looks = interval(LOOKED_AT_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut complaint = None;
        loop {
            let is_told = tokio::select! {
                _ = looks.tick() => false,
                () = told() => true,
            };
            match self.reload() {
                Ok(true) => {
                    complaint = None;
                    tracing::info!("the certificate was read again");
                }
                Ok(false) => complaint = None,
                Err(error) => {
                    let sentence = error.to_string();
                    if is_told || complaint.as_ref() != Some(&sentence) {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "the certificate could not be read again; the one in use stays"
                        );
                    }
                    complaint = Some(sentence);
                }
            }
        }
    }

    pub(crate) async fn accept(&self, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        old_clients::turn_away(&mut stream).await?;
        let config = Arc::clone(&self.0.current.read().config);
        TlsAcceptor::from(config).accept(stream).await
    }
}

impl Source {
    fn current(&self, files: Files) -> Result<Current, TlsError> {
        let certified = files.certified(&self.paths)?;
        let chain = certified.cert.clone();
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.ticketer = Arc::clone(&self.tickets);
        Ok(Current {
            config: Arc::new(config),
            chain,
            files,
        })
    }
}
