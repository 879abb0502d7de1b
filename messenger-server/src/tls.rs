//! TLS: a certificate and its key, which may change while the server runs.

use parking_lot::RwLock;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

/// A certificate chain and its key, from PEM files. Clones are one: when one
/// [reloads](Self::reload), all have the new certificate, and connections that are there keep the old one.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    certificates: PathBuf,
    key: PathBuf,
    current: RwLock<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    /// What the files held.
    files: Files,
}

/// Read from the files.
#[derive(PartialEq, Eq)]
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
        source: pem::Error,
    },
    /// Certificate and key do not belong together, or are of a kind that is not known.
    #[error("the certificate in {} cannot be used; is the key the one that belongs to it?", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("certificates", &self.0.certificates)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads a certificate chain (the server's own first) and its key.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files::read(certificates, key)?;
        let config = files.config(certificates, key)?;
        let current = Current { config, files };
        Ok(Self(Arc::new(Shared {
            certificates: certificates.to_owned(),
            key: key.to_owned(),
            current: RwLock::new(current),
        })))
    }

    /// Reads the files again, and uses what they hold for connections to come. False when nothing has
    /// changed.
    ///
    /// # Errors
    /// See [`TlsError`]; the certificate in use stays in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let Shared {
            certificates, key, ..
        } = &*self.0;
        let files = Files::read(certificates, key)?;
        if files == self.0.current.read().files {
            return Ok(false);
        }
        let config = files.config(certificates, key)?;
        *self.0.current.write() = Current { config, files };
        Ok(true)
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.0.current.read().config);
        TlsAcceptor::from(config).accept(stream).await
    }
}

impl Files {
    fn read(certificates: &Path, key: &Path) -> Result<Self, TlsError> {
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

    fn config(&self, certificates: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
        let chain = CertificateDer::pem_slice_iter(&self.certificates);
        let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|source| {
            let path = certificates.to_owned();
            let what = "certificate";
            TlsError::Pem { path, what, source }
        })?;
        let secret = PrivateKeyDer::from_pem_slice(&self.key).map_err(|source| {
            let path = key.to_owned();
            let what = "private key";
            TlsError::Pem { path, what, source }
        })?;
        let unusable = |source| TlsError::Unusable {
            path: certificates.to_owned(),
            source,
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
