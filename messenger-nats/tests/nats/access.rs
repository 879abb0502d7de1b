//! Who is let in, and to whom a node talks.

use crate::credentials::Vouching;
use crate::support::{hears, node, pair, trouble, until};
use messenger_nats::{ConnectError, NatsNotifier};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::fs;
use std::path::PathBuf;
use testing_servers::Nats;

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let nats = Nats::start(&["--user", "ann", "--pass", "a/b?c"]);
    let with = |user: &str| format!("nats://{user}@127.0.0.1:{}?prefix=chat", nats.port());
    pair(&with("ann:a%2Fb%3Fc")).await;
    let refused = node(&with("ann:wrong")).await;
    until("it is told", || {
        trouble(&refused).contains("authorization violation")
    })
    .await;
    let shown = format!("{refused:?} {}", trouble(&refused));
    assert!(
        !shown.contains("wrong") && !shown.contains("ann"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_token_lets_a_node_in() {
    let nats = Nats::start(&["--auth", "s3cret"]);
    pair(&format!("nats://s3cret@127.0.0.1:{}", nats.port())).await;
    let refused = node(&format!("nats://wrong@127.0.0.1:{}", nats.port())).await;
    until("it is told", || {
        trouble(&refused).contains("authorization violation")
    })
    .await;
}

#[tokio::test]
async fn credentials_let_a_node_in() {
    let server = Vouching::start();
    let with = |file: PathBuf| format!("{}?creds={}", server.nats.url(), file.display());
    pair(&with(server.user())).await;
    let refused = node(&with(server.stranger())).await;
    until("it is told", || {
        trouble(&refused).contains("authorization violation")
    })
    .await;
    let nowhere = with("/nowhere/user.creds".into()).parse().unwrap();
    let nowhere = NatsNotifier::connect(nowhere).await;
    assert!(matches!(nowhere, Err(ConnectError::Credentials(_))));
}

#[tokio::test]
async fn a_user_who_may_not_listen_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("nats.conf");
    let rules = r#"authorization { users = [
        { user: ann, password: secret, permissions: { publish: "messenger.>", subscribe: "other.>" } }
    ] }"#;
    fs::write(&config, rules).unwrap();
    let nats = Nats::start(&["--config", config.to_str().unwrap()]);
    let deaf = node(&format!("nats://ann:secret@127.0.0.1:{}", nats.port())).await;
    until("it is told", || {
        trouble(&deaf).contains("Permissions Violation")
    })
    .await;
}

#[tokio::test]
async fn only_a_server_with_the_right_certificate_is_talked_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (cert_file, key_file) = (path("cert.pem"), path("key.pem"));
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(&cert_file, cert.pem()).unwrap();
    fs::write(&key_file, signing_key.serialize_pem()).unwrap();
    let nats = Nats::start(&["--tls", "--tlscert", &cert_file, "--tlskey", &key_file]);
    let trusting = format!("tls://127.0.0.1:{}?ca={cert_file}", nats.port());
    let (one, other) = pair(&trusting).await;
    for distrustful in [format!("tls://127.0.0.1:{}", nats.port()), nats.url()] {
        let node = node(&distrustful).await;
        until("it is refused", || trouble(&node).contains("IO error")).await;
    }
    hears(&one, &other).await;
    // A server without TLS is not talked to in the clear.
    let plain = Nats::start(&[]);
    let node = node(&format!("tls://127.0.0.1:{}?ca={cert_file}", plain.port())).await;
    until("it is refused", || {
        let trouble = trouble(&node);
        !trouble.is_empty() && !trouble.contains("not connected yet")
    })
    .await;
}

#[tokio::test]
async fn certificates_that_are_not_there_are_told_at_once() {
    let url = "tls://127.0.0.1?ca=/nowhere/cert.pem";
    let refused = NatsNotifier::connect(url.parse().unwrap()).await;
    assert!(matches!(refused, Err(ConnectError::Certificates(_))));
}
