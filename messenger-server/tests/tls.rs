//! TLS, and the proxy's header before it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use messenger_client::Client;
use messenger_client::proto::Password;
use messenger_core::Policy;
use messenger_server::rustls::crypto::ring;
use messenger_server::rustls::pki_types::pem::PemObject;
use messenger_server::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use messenger_server::rustls::version::{TLS12, TLS13};
use messenger_server::rustls::{HandshakeKind, ServerConfig};
use messenger_server::{Tls, TlsError, Transport};
use rcgen::ExtendedKeyUsagePurpose;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use support::certificate::Files;
use support::process::Process;
use support::{SOON, TestServer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::Notify;
use tokio::time::timeout;

/// The binary, with this certificate.
fn serving_tls(files: &Files) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    command
        .args(["--listen", "127.0.0.1:0", "--store", "memory:"])
        .args(["--tls-listen", "127.0.0.1:0", "--tls-cert"])
        .arg(files.certificates())
        .arg("--tls-key")
        .arg(files.key());
    command
}

/// A server that listens for both.
async fn start(transport: Transport) -> (TestServer, Files, SocketAddr, Tls) {
    let files = Files::new();
    let tls = files.load().unwrap();
    let server = TestServer::start(Policy::default(), transport).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (serving, shown) = (server.server.clone(), tls.clone());
    tokio::spawn(async move {
        let for_ever = std::future::pending();
        serving.serve_tls(listener, shown, for_ever).await
    });
    (server, files, address, tls)
}

async fn log_in(client: &Client, login: &str) {
    let pass = Password::md5_of("secret");
    client.register(login, &pass, login).await.unwrap();
    client.auth(login, &pass).await.unwrap();
}

#[tokio::test]
async fn clients_over_tls_and_over_tcp_talk_to_each_other() {
    let (server, files, address, _) = start(Transport::default()).await;
    let (ann, _ann_events) = files.client(&address.to_string()).await;
    log_in(&ann, "ann").await;
    let (bob, mut bob_events) = messenger_client::connect(server.address).await.unwrap();
    log_in(&bob, "bob").await;
    let long = "x".repeat(60_000);
    for body in ["hello", &long] {
        ann.send("bob", body).await.unwrap();
        let event = timeout(SOON, bob_events.next_message()).await.unwrap();
        assert_eq!(event.unwrap().message.body.as_str(), body);
    }
}

#[tokio::test]
async fn openssl_talks_to_it() {
    let (_server, files, address, _) = start(Transport::default()).await;
    let certificates = files.certificates();
    let mut openssl = Command::new("openssl")
        .args(["s_client", "-quiet", "-verify_return_error", "-connect"])
        .arg(address.to_string())
        .args(["-servername", "localhost", "-CAfile"])
        .arg(&certificates)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("openssl is installed");
    let mut input = openssl.stdin.take().unwrap();
    let register = br#"{"action":"register","data":{"login":"ann","pass":"p","nick":"Ann"}}"#;
    input.write_all(register).await.unwrap();
    input.flush().await.unwrap();
    let mut output = openssl.stdout.take().unwrap();
    let answered = async {
        let mut received = Vec::new();
        while !String::from_utf8_lossy(&received).contains(r#""status":0"#) {
            let read = output.read_buf(&mut received).await.unwrap();
            assert_ne!(read, 0, "{}", String::from_utf8_lossy(&received));
        }
    };
    timeout(SOON, answered).await.expect("an answer");
}

#[tokio::test]
async fn a_certificate_is_changed_without_dropping_anybody() {
    let (_server, files, address, tls) = start(Transport::default()).await;
    let address = address.to_string();
    let (ann, mut events) = files.client(&address).await;
    log_in(&ann, "ann").await;
    assert!(!tls.reload().unwrap(), "nothing has changed");
    files.renew();
    files
        .connect(&address)
        .await
        .expect_err("still the old one");
    assert!(tls.reload().unwrap());
    files.connect(&address).await.expect("the new one");

    std::fs::write(files.key(), "no key").unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Pem { .. })));
    files.connect(&address).await.expect("the one in use stays");

    ann.send("ann", "still here").await.unwrap();
    let event = timeout(SOON, events.next_message()).await.unwrap();
    assert_eq!(event.unwrap().message.body.as_str(), "still here");
}

/// A device comes back at the cost of half a handshake, however many others came meanwhile, and whatever the
/// certificate is now.
#[tokio::test]
async fn a_device_that_was_there_needs_no_whole_handshake() {
    let (_server, files, address, tls) = start(Transport::default()).await;
    for versions in [&[&TLS13], &[&TLS12]] {
        let device = files.connector_of(versions);
        let connect = async || {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let mut stream = device.connect(name, stream).await.unwrap();
            // Tickets come behind the handshake.
            stream.read_u8().await.unwrap();
            stream.get_ref().1.handshake_kind().unwrap()
        };
        assert_eq!(connect().await, HandshakeKind::Full);
        assert_eq!(connect().await, HandshakeKind::Resumed);
        for _ in 0..300 {
            files.connect(&address.to_string()).await.unwrap();
        }
        assert_eq!(connect().await, HandshakeKind::Resumed);
        files.renew();
        assert!(tls.reload().unwrap());
        assert_eq!(connect().await, HandshakeKind::Resumed);
    }
}

#[tokio::test]
async fn a_client_that_is_too_old_is_told_so() {
    let (_server, files, address, _) = start(Transport::default()).await;
    for version in [0, 1, 2] {
        // One cipher, no compression, no extensions, as the oldest clients write it.
        let mut hello = vec![1, 0, 0, 41, 3, version];
        hello.extend_from_slice(&[7; 32]);
        hello.extend_from_slice(&[0, 0, 2, 0, 0x2f, 1, 0]);
        let record = [&[22, 3, 1, 0, 45], hello.as_slice()].concat();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&record).await.unwrap();
        let mut answer = [0; 7];
        let read = timeout(SOON, stream.read_exact(&mut answer)).await;
        read.expect("an answer").unwrap();
        // Fatal; protocol_version.
        assert_eq!((answer[0], &answer[5..]), (21, [2, 70].as_slice()));
    }
    files.client(&address.to_string()).await;
}

#[tokio::test]
async fn a_handshake_that_fails_is_logged_with_its_number_and_address() {
    let files = Files::new();
    let server = Process::spawn(serving_tls(&files)).await;
    let address = server.address_behind("listening for TLS").await;
    for _ in 0..2 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"{\"action\":\"auth\"}").await.unwrap();
        closed(&mut stream).await;
    }
    server
        .logs("a handshake failed peer=127.0.0.1 failed=2 error=")
        .await;
}

/// What `check` says, and whether it is content.
async fn check(files: &Files) -> (bool, String) {
    let mut command = serving_tls(files);
    let output = timeout(SOON, command.arg("check").output()).await;
    let output = output.unwrap().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn a_certificate_that_clients_refuse_or_soon_will_is_told() {
    let files = Files::new();
    for (from, until, is_content, sentence) in [
        (-90, -1, false, "(--tls-cert) expired on 20"),
        (1, 90, false, "not valid before 20"),
        (-87, 3, true, "expires on 20"),
        (-60, 30, true, ""),
        // It lives for a week, and is renewed a day before its end.
        (-4, 3, true, ""),
        (-6, 1, true, "expires on 20"),
    ] {
        files.renew_for(from, until);
        let (was_content, text) = check(&files).await;
        assert_eq!(was_content, is_content, "{text}");
        assert!(text.contains(sentence), "{from} to {until}: {text}");
        assert_eq!(
            text.contains("renew"),
            sentence.starts_with(['e', '(']),
            "{text}"
        );
    }
    files.renew();
    let mut chain = std::fs::read_to_string(files.certificates()).unwrap();
    chain.push_str(&openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "/dev/null",
        "-subj",
        "/CN=x",
    ]));
    std::fs::write(files.certificates(), chain).unwrap();
    let (is_content, text) = check(&files).await;
    assert!(is_content && text.contains("are in disorder"), "{text}");
}

#[tokio::test]
async fn a_certificate_without_a_name_or_for_others_than_servers_is_told() {
    let files = Files::new();
    files.renew_with(|params| params.subject_alt_names.clear());
    let (is_content, text) = check(&files).await;
    assert!(!is_content && text.contains("subjectAltName"), "{text}");
    for (usage, is_for_servers) in [
        (ExtendedKeyUsagePurpose::ClientAuth, false),
        (ExtendedKeyUsagePurpose::ServerAuth, true),
    ] {
        files.renew_with(|params| params.extended_key_usages = vec![usage]);
        let (is_content, text) = check(&files).await;
        assert_eq!(is_content, is_for_servers, "{text}");
        assert_eq!(text.contains("serverAuth"), !is_for_servers, "{text}");
    }
}

#[tokio::test]
async fn a_server_says_and_measures_when_its_certificate_expires() {
    let files = Files::new();
    files.renew_for(-90, -1);
    let mut command = serving_tls(&files);
    command.args(["--metrics-listen", "127.0.0.1:0"]);
    let server = Process::spawn(command).await;
    server.logs("(--tls-cert) expired on 20").await;
    let address = server.address_behind("metrics are told").await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut page = String::new();
    let read = timeout(SOON, stream.read_to_string(&mut page)).await;
    read.unwrap().unwrap();
    let name = "\nmessenger_certificate_expiry_timestamp_seconds ";
    let (_, expiry) = page.split_once(name).unwrap();
    let expiry: i64 = expiry.lines().next().unwrap().parse().unwrap();
    let ago = time::OffsetDateTime::now_utc().unix_timestamp() - expiry;
    let day = 24 * 60 * 60;
    assert!((day..2 * day).contains(&ago), "{ago} s ago");
}

#[tokio::test]
async fn the_binary_reads_its_certificate_again() {
    let files = Files::new();
    let server = Process::spawn(serving_tls(&files)).await;
    let address = server.address_behind("listening for TLS").await;
    let stream = files.connect(&address).await.unwrap();
    let mut before = BufReader::new(stream);
    files.renew();
    // It looks by itself, too; being told is only quicker.
    server.signal("HUP").await;
    server.logs("the certificate was read again").await;
    files.connect(&address).await.expect("the new one");
    let request = br#"{"action":"contactlist","data":{}}nonsense"#;
    before.write_all(request).await.unwrap();
    let mut rest = Vec::new();
    timeout(SOON, before.read_until(b'X', &mut rest))
        .await
        .unwrap()
        .unwrap();
    assert!(String::from_utf8_lossy(&rest).contains(r#""status":6"#));

    std::fs::write(files.certificates(), "no certificate").unwrap();
    server.logs("the one in use stays").await;
    server.signal("TERM").await;
    assert_eq!(server.ended().await, Some(0));
}

#[test]
fn what_is_wrong_with_the_files_is_told() {
    let files = Files::new();
    let own = std::fs::read(files.certificates()).unwrap();
    let key = std::fs::read_to_string(files.key()).unwrap();
    let other = Files::new();
    let others = std::fs::read(other.certificates()).unwrap();
    let load = |certificates: &[u8], key: &str| {
        std::fs::write(files.certificates(), certificates).unwrap();
        std::fs::write(files.key(), key).unwrap();
        files.load().map(drop)
    };
    let chain = [own.as_slice(), &others].concat();
    load(&chain, &key).expect("the own one is the first");
    let reversed = load(&[others.as_slice(), &own].concat(), &key);
    assert!(matches!(reversed, Err(TlsError::WrongOrder { .. })));
    let strange = load(&others, &key);
    assert!(matches!(strange, Err(TlsError::OtherKey { .. })));
    let empty = load(b"", &key);
    assert!(matches!(empty, Err(TlsError::Pem { .. })));
    let empty = load(&own, "");
    assert!(matches!(empty, Err(TlsError::Pem { .. })));
    let cut = load(
        own.strip_suffix(b"-----END CERTIFICATE-----\n")
            .unwrap_or(&own[..200]),
        &key,
    );
    let cut = std::error::Error::source(&cut.unwrap_err())
        .unwrap()
        .to_string();
    assert!(cut.contains("cut off"), "{cut}");
    // As some editors write it.
    let marked = [b"\xef\xbb\xbf", own.as_slice()].concat();
    load(&marked, &format!("\u{feff}{key}")).expect("a byte-order mark is no harm");
    std::fs::remove_file(files.key()).unwrap();
    assert!(matches!(files.load(), Err(TlsError::Read { .. })));
}

/// A new key, as openssl makes it.
fn openssl(arguments: &[&str]) -> String {
    let made = std::process::Command::new("openssl")
        .args(arguments)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{arguments:?}");
    String::from_utf8(made.stdout).unwrap()
}

#[test]
fn keys_that_cannot_be_used_are_told_apart() {
    let files = Files::new();
    let load = |key: &str| {
        std::fs::write(files.key(), key).unwrap();
        files.load().map(drop).unwrap_err()
    };
    let curve = "ec_paramgen_curve:P-256";
    for encrypted in [
        openssl(&[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            curve,
            "-aes128",
            "-pass",
            "pass:secret",
        ]),
        openssl(&[
            "genrsa",
            "-traditional",
            "-aes128",
            "-passout",
            "pass:secret",
            "2048",
        ]),
    ] {
        let error = load(&encrypted);
        assert!(matches!(error, TlsError::EncryptedKey { .. }), "{error:?}");
    }
    for unknown in [
        openssl(&[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-521",
        ]),
        openssl(&["genrsa", "1024"]),
    ] {
        let error = load(&unknown);
        assert!(matches!(error, TlsError::UnknownKey { .. }), "{error:?}");
        assert!(error.to_string().contains("RSA of 2048"), "{error}");
    }
    let another = load(&openssl(&["genrsa", "2048"]));
    assert!(matches!(another, TlsError::OtherKey { .. }), "{another:?}");
}

/// Waits until the server closes the connection.
async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut rest)).await;
    // Either way of closing is one.
    let _ = read.expect("the server closes");
}

#[tokio::test]
async fn handshakes_are_bounded_in_number_and_time() {
    let mut transport = Transport::default();
    transport.handshakes = 2;
    transport.handshake_time = Duration::from_millis(500);
    let (_server, files, address, _) = start(transport).await;
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let mut turned_away = TcpStream::connect(address).await.unwrap();
    closed(&mut turned_away).await;
    for stream in &mut silent {
        closed(stream).await;
    }
    files.client(&address.to_string()).await;
}

#[tokio::test]
async fn garbage_instead_of_a_handshake_harms_nobody() {
    let (_server, files, address, _) = start(Transport::default()).await;
    for garbage in [
        b"{\"action\":\"auth\"}".to_vec(),
        vec![0x16; 100_000],
        vec![0; 10],
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(&garbage).await;
        let _ = stream.shutdown().await;
        closed(&mut stream).await;
    }
    files.client(&address.to_string()).await;
}

#[tokio::test]
async fn a_proxy_tells_its_client_before_the_handshake() {
    let mut transport = Transport::default();
    transport.proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let (_server, files, address, _) = start(transport).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
        .await
        .unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = files.connector().connect(name, stream).await.unwrap();
    messenger_client::over(stream).await.unwrap();
}

#[tokio::test]
async fn an_embedder_brings_a_configuration_of_its_own() {
    let files = Files::new();
    let certificate = CertificateDer::from_pem_file(files.certificates()).unwrap();
    let key = PrivateKeyDer::from_pem_file(files.key()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let tls = Tls::from(Arc::new(config));
    let server = TestServer::start(Policy::default(), Transport::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (serving, own) = (server.server.clone(), tls.clone());
    tokio::spawn(async move {
        let for_ever = std::future::pending();
        serving.serve_tls(listener, own, for_ever).await
    });
    let (ann, _events) = files.client(&address).await;
    log_in(&ann, "ann").await;
    assert!(!tls.reload().unwrap(), "there is nothing to read again");
}

#[tokio::test]
async fn a_watched_certificate_is_read_again_when_told() {
    let (_server, files, address, tls) = start(Transport::default()).await;
    let address = address.to_string();
    let (told, looked) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tells, looks) = (Arc::clone(&told), Arc::clone(&looked));
    let watch = tokio::spawn(tls.watch(async move || {
        // Asked for again once it has looked.
        looks.notify_one();
        tells.notified().await;
    }));
    looked.notified().await;
    files.renew();
    told.notify_one();
    let renewed = async {
        while files.connect(&address).await.is_err() {
            looked.notified().await;
        }
    };
    timeout(SOON, renewed).await.expect("the new certificate");
    watch.abort();
}
