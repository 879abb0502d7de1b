//! What is in the files of a certificate and its key, and what is wrong with it.

use std::io;
use std::path::{Path, PathBuf};
use tokio_rustls::rustls::crypto::ring::sign::any_supported_type;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, CertificateError, InconsistentKeys};

/// What some editors begin a file with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Every form of an encrypted key in PEM format has this word in it.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

#[derive(Debug)]
pub(super) struct Paths {
    pub(super) certificates: PathBuf,
    pub(super) key: PathBuf,
}

/// Read from the files.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Files {
    certificates: Vec<u8>,
    key: Vec<u8>,
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

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
        source: Cause,
    },
    /// The key is encrypted.
    #[error("the key in {0} is encrypted, and there is nobody to ask for its password; take that away: openssl pkey -in {0} -out NEW", path.display())]
    EncryptedKey {
        /// Which.
        path: PathBuf,
    },
    /// The key is damaged, or of a kind that is not known.
    #[error(
        "the key in {} cannot be used; it must be RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, or Ed25519",
        path.display()
    )]
    UnknownKey {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// The certificate that the key belongs to is not the first.
    #[error("the certificates in {} are in the wrong order; the server's own must be the first", path.display())]
    WrongOrder {
        /// Which.
        path: PathBuf,
    },
    /// The key belongs to none of the certificates.
    #[error("the key in {} is not the one of the certificate in {}", key.display(), certificates.display())]
    OtherKey {
        /// The certificate's file.
        certificates: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificate is damaged, or of a kind that is not known.
    #[error("the certificate in {} cannot be used; is it damaged?", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// TLS cannot be set up at all.
    #[error("TLS cannot be set up; does the system give random numbers?")]
    Setup {
        /// Why.
        source: Cause,
    },
}

impl TlsError {
    pub(super) fn setup(source: rustls::Error) -> Self {
        Self::Setup {
            source: source.into(),
        }
    }
}

impl Files {
    pub(super) fn read(Paths { certificates, key }: &Paths) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            let bytes = std::fs::read(path).map_err(|source| TlsError::Read {
                path: path.to_owned(),
                source,
            })?;
            let text = bytes.strip_prefix(BYTE_ORDER_MARK);
            Ok(text.map(<[u8]>::to_vec).unwrap_or(bytes))
        };
        Ok(Self {
            certificates: read(certificates)?,
            key: read(key)?,
        })
    }

    /// The certificates, which belong to the key.
    pub(super) fn certified(
        &self,
        Paths { certificates, key }: &Paths,
    ) -> Result<CertifiedKey, TlsError> {
        let chain = self.chain(certificates)?;
        let signing = any_supported_type(&self.key(key)?).map_err(|source| {
            let (path, source) = (key.clone(), source.into());
            TlsError::UnknownKey { path, source }
        })?;
        let belongs = |chain| CertifiedKey::new(chain, signing.clone()).keys_match();
        match belongs(chain.clone()) {
            Ok(()) => Ok(CertifiedKey::new(chain, signing)),
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                let mut others = chain.into_iter().skip(1);
                let is_there = others.any(|other| belongs(vec![other]).is_ok());
                let certificates = certificates.clone();
                Err(match is_there {
                    true => TlsError::WrongOrder { path: certificates },
                    false => {
                        let key = key.clone();
                        TlsError::OtherKey { certificates, key }
                    }
                })
            }
            Err(source) => {
                let (path, source) = (certificates.clone(), why_unusable(source));
                Err(TlsError::Unusable { path, source })
            }
        }
    }

    fn chain(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let chain = CertificateDer::pem_slice_iter(&self.certificates);
        let chain = chain.collect::<Result<Vec<_>, _>>();
        let chain = chain.and_then(|chain| match chain.is_empty() {
            true => Err(pem::Error::NoItemsFound),
            false => Ok(chain),
        });
        chain.map_err(|error| TlsError::Pem {
            path: path.to_owned(),
            what: "certificate",
            source: told(error),
        })
    }

    fn key(&self, path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
        let path = path.to_owned();
        let mut words = self.key.windows(ENCRYPTED.len());
        if words.any(|word| word == ENCRYPTED) {
            return Err(TlsError::EncryptedKey { path });
        }
        PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| TlsError::Pem {
            path,
            what: "private key",
            source: told(error),
        })
    }
}

/// What is wrong with PEM, in words where the library gives bytes.
fn told(error: pem::Error) -> Cause {
    match error {
        pem::Error::MissingSectionEnd { .. } => "it ends amid a section: it was cut off".into(),
        pem::Error::IllegalSectionStart { .. } => "a line with BEGIN is broken".into(),
        error => error.into(),
    }
}

/// The same of a certificate: only version 3 tells what it may be used for.
fn why_unusable(error: rustls::Error) -> Cause {
    let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = &error else {
        return error.into();
    };
    match other.0.to_string().as_str() {
        "UnsupportedCertVersion" => {
            "it is of an old version of X.509; have one made of version 3".into()
        }
        _ => error.into(),
    }
}
