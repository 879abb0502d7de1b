//! Connections to a database over a network.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use futures_util::future::join_all;
use messenger_core::storage::Storage;
use messenger_postgres::{ConnectError, PostgresStorage};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::net::TcpListener;
use std::path::PathBuf;
use tempfile::TempDir;
use testing_servers::{DEADLINE, Postgres};
use tokio::time::timeout;

/// A server that is known by a certificate for this name.
struct Server {
    postgres: Postgres,
    folder: TempDir,
}

impl Server {
    async fn called(name: &str) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([name.to_owned()]).unwrap();
        let postgres = Postgres::start_with_tls(&cert.pem(), &signing_key.serialize_pem()).await;
        let folder = tempfile::tempdir().unwrap();
        let server = Self { postgres, folder };
        std::fs::write(server.certificate(), cert.pem()).unwrap();
        server
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn url(&self, options: &str) -> String {
        let port = self.postgres.port();
        format!("postgres://messenger@127.0.0.1:{port}/postgres?{options}")
    }

    fn trusting(&self) -> String {
        format!(
            "sslmode=require&sslrootcert={}",
            self.certificate().display()
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_server_that_is_meant_is_talked_to() {
    let server = Server::called("127.0.0.1").await;
    let storage = PostgresStorage::connect(&server.url(&server.trusting()))
        .await
        .unwrap();
    storage.check().await.unwrap();
    let client = server.postgres.client("postgres").await;
    let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                     WHERE ssl AND application_name = 'messenger'";
    let count: i64 = client.query_one(encrypted, &[]).await.unwrap().get(0);
    assert!(count > 0, "connections are encrypted");

    // Nobody known has signed its certificate.
    refused(&server.url("sslmode=verify-full")).await;
    // It is for another host.
    let other = Server::called("other.example").await;
    refused(&other.url(&other.trusting())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_keeps_nobody_from_the_next() {
    let postgres = Postgres::start().await;
    // The system takes connections, and nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let database = postgres.database().await;
    let url = database.replacen('@', &format!("@{address},"), 1);
    let storage = timeout(DEADLINE, PostgresStorage::connect(&url)).await;
    let storage = storage.unwrap().unwrap();
    // Together they need all connections.
    let checks = join_all((0..100).map(|_| storage.check())).await;
    assert!(checks.iter().all(Result::is_ok), "{checks:?}");

    silent.set_nonblocking(true).unwrap();
    let asked = std::iter::from_fn(|| silent.accept().ok()).count();
    // Once, unless the other was too slow on a busy machine.
    assert!((1..4).contains(&asked), "it was asked {asked} times");
}

#[tokio::test]
async fn certificates_that_cannot_be_read_are_told() {
    for file in ["/nowhere/ca.pem", "/etc/passwd"] {
        let url = format!("postgres://messenger@127.0.0.1:1/x?sslmode=require&sslrootcert={file}");
        let refused = PostgresStorage::connect(&url).await.unwrap_err();
        assert!(
            matches!(refused, ConnectError::Certificates { .. }),
            "{refused}"
        );
    }
}

async fn refused(url: &str) {
    let refused = PostgresStorage::connect(url).await.unwrap_err();
    let ConnectError::Connect(cause) = &refused else {
        panic!("{refused}");
    };
    let why = format!("{cause:?}");
    assert!(why.contains("InvalidCertificate"), "{why}");
}
