//! A certificate, and clients that trust it.

use messenger_client::{Client, Events};
use messenger_server::{Tls, TlsError};
use rcgen::{CertificateParams, CertifiedKey, KeyPair, generate_simple_self_signed};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, DEFAULT_VERSIONS, RootCertStore, SupportedProtocolVersion,
};

/// Files of a certificate and its key.
pub(crate) struct Files {
    folder: TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        files.renew();
        files
    }

    /// Another certificate, with another key.
    pub(crate) fn renew(&self) {
        let made = generate_simple_self_signed(["localhost".to_owned()]);
        let CertifiedKey { cert, signing_key } = made.unwrap();
        std::fs::write(self.key(), signing_key.serialize_pem()).unwrap();
        std::fs::write(self.certificates(), cert.pem()).unwrap();
    }

    /// Another certificate, valid from and until so many days from now.
    pub(crate) fn renew_for(&self, from: i64, until: i64) {
        let days = |days| time::OffsetDateTime::now_utc() + time::Duration::days(days);
        self.renew_with(|params| {
            params.not_before = days(from);
            params.not_after = days(until);
        });
    }

    /// Another certificate, which differs from the usual.
    pub(crate) fn renew_with(&self, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(self.key(), key.serialize_pem()).unwrap();
        std::fs::write(self.certificates(), certificate.pem()).unwrap();
    }

    pub(crate) fn certificates(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    pub(crate) fn load(&self) -> Result<Tls, TlsError> {
        Tls::load(&self.certificates(), &self.key())
    }

    /// A connector that trusts what is in the file now, and nothing else.
    pub(crate) fn connector(&self) -> TlsConnector {
        self.connector_of(DEFAULT_VERSIONS)
    }

    /// The same, of these versions of TLS.
    pub(crate) fn connector_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        let own = CertificateDer::from_pem_file(self.certificates()).unwrap();
        roots.add(own).unwrap();
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }

    pub(crate) async fn connect(&self, address: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        self.connector().connect(name, stream).await
    }

    pub(crate) async fn client(&self, address: &str) -> (Client, Events) {
        let stream = self.connect(address).await.unwrap();
        messenger_client::over(stream).await.unwrap()
    }
}
