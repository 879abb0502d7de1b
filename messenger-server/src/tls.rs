//! TLS: a certificate and its key, which may change while the server runs.

use parking_lot::RwLock;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
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
    paths: Option<Paths>,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Paths {
    certificates: PathBuf,
    key: PathBuf,
}

struct Current {
    config: Arc<ServerConfig>,
    /// What the files held.
    files: Files,
}

/// Read from the files.
#[derive(Default, PartialEq, Eq)]
struct Files {
    certificates: Vec<u8>,
    key: Vec<u8>,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read; does it exist, and may this user read it?", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not PEM, or has no certificate or no key in it.
    #[error("{} holds no {what} in PEM format", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Certificate and key do not belong together, or are of a kind that is not known.
    #[error("the certificate in {} cannot be used; is the key the one that belongs to it?", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("paths", &self.0.paths)
            .finish_non_exhaustive()
    }
}

impl From<Arc<ServerConfig>> for Tls {
    /// Uses a configuration as it is. A certificate that changes is the affair of its
    /// [resolver](rustls::server::ResolvesServerCert).
    fn from(config: Arc<ServerConfig>) -> Self {
        let files = Files::default();
        Self(Arc::new(Shared {
            paths: None,
            current: RwLock::new(Current { config, files }),
        }))
    }
}

impl Tls {
    /// Reads a certificate chain (the server's own first) and its key.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        let paths = Paths {
            certificates: certificates.to_owned(),
            key: key.to_owned(),
        };
        let files = Files::read(&paths)?;
        let config = files.config(&paths)?;
        Ok(Self(Arc::new(Shared {
            paths: Some(paths),
            current: RwLock::new(Current { config, files }),
        })))
    }

    /// Reads the files again, and uses what they hold for connections to come. False when nothing has
    /// changed, or there are none.
    ///
    /// # Errors
    /// See [`TlsError`]; the certificate in use stays in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let Some(paths) = &self.0.paths else {
            return Ok(false);
        };
        let files = Files::read(paths)?;
        if files == self.0.current.read().files {
            return Ok(false);
        }
        let config = files.config(paths)?;
        *self.0.current.write() = Current { config, files };
        Ok(true)
    }

    /// [Reloads](Self::reload) whenever the files have changed, which it looks for every 2 seconds and when
    /// `told` completes (a signal, say; it is dropped and called again with every look). It goes on until it is
    /// dropped. A certificate that cannot be used is logged once, or
    /// again when told; the one in use stays.
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

    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.0.current.read().config);
        TlsAcceptor::from(config).accept(stream).await
    }
}

impl Files {
    fn read(Paths { certificates, key }: &Paths) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| TlsError::Read {
                path: path.to_owned(),
                source,
            })
        };
        Ok(Self {
            certificates: read(certificates)?,
            key: read(key)?,
        })
    }

    fn config(&self, Paths { certificates, key }: &Paths) -> Result<Arc<ServerConfig>, TlsError> {
        let chain = CertificateDer::pem_slice_iter(&self.certificates);
        let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|source| {
            let path = certificates.clone();
            let what = "certificate";
            let source = source.into();
            TlsError::Pem { path, what, source }
        })?;
        let secret = PrivateKeyDer::from_pem_slice(&self.key).map_err(|source| {
            let path = key.clone();
            let what = "private key";
            let source = source.into();
            TlsError::Pem { path, what, source }
        })?;
        let unusable = |source: rustls::Error| TlsError::Unusable {
            path: certificates.clone(),
            source: source.into(),
        };
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .map_err(unusable)?;
        Ok(Arc::new(config))
    }
}
