//! The client against a server over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use messenger_client::proto::{ImportEntry, Password, SendMessage, SetUserInfo};
use messenger_client::{
    Client, ClientError, ConnectionError, Event, Events, EventsEnded, connect, over,
};
use messenger_core::{Engine, Policy};
use messenger_server::{Server, Transport};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::TcpListener;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

async fn start(mut policy: Policy) -> (SocketAddr, Server) {
    policy.passwords.memory_kib = 8;
    policy.passwords.passes = 1;
    let engine = Engine::builder().policy(policy).build().unwrap();
    let server = Server::new(engine, Transport::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = server.clone();
    tokio::spawn(async move { serving.serve(listener, std::future::pending()).await });
    (address, server)
}

async fn join(address: SocketAddr, login: &str) -> (Client, Events) {
    let (client, events) = connect(address).await.unwrap();
    let pass = Password::md5_of("secret");
    client.register(login, &pass, login).await.unwrap();
    client.auth(login, &pass).await.unwrap();
    (client, events)
}

async fn body(events: &mut Events) -> String {
    let event = timeout(SOON, events.next_message()).await.unwrap().unwrap();
    event.message.body.as_str().to_owned()
}

fn failure(ended: Result<Event, EventsEnded>) -> Arc<ConnectionError> {
    match ended {
        Err(EventsEnded::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn code(result: Result<impl Sized, ClientError>) -> u32 {
    match result {
        Err(ClientError::Refused(failure)) => failure.code.number(),
        Err(other) => panic!("{other}"),
        Ok(_) => 0,
    }
}

#[tokio::test]
async fn every_action_gives_its_typed_result() {
    let (address, _server) = start(Policy::default()).await;
    let (ann, mut events) = join(address, "ann").await;
    let (bob, _) = join(address, "bob").await;
    assert!(ann.welcome().time > 0);
    let change = SetUserInfo::new().email("bob@example.org");
    bob.set_user_info(change).await.unwrap();
    assert_eq!(ann.user_info("bob").await.unwrap().email, "bob@example.org");
    let entry = ImportEntry::new("7").email("bob@example.org");
    assert_eq!(
        ann.import(vec![entry]).await.unwrap()[0].card.uid.as_str(),
        "bob"
    );
    assert_eq!(ann.add_contact("bob").await.unwrap().nick, "bob");
    assert_eq!(ann.contact_list().await.unwrap()[0].myid, "7");
    assert_eq!(ann.del_contact("bob").await.unwrap().as_str(), "bob");
    let sent = ann.send("bob", "hi").await.unwrap();
    let copy = timeout(SOON, events.next_message()).await.unwrap().unwrap();
    assert_eq!((copy.seq, &copy.message.id), (None, &sent.id));
    assert_eq!(code(ann.send("nobody", "hi").await), 8);
    assert_eq!(code(ann.auth("ann", &Password::md5_of("wrong")).await), 2);
    assert_eq!(code(ann.ack(5).await), 3);
}

#[tokio::test]
async fn requests_are_pipelined_in_the_order_they_were_made() {
    let (address, _server) = start(Policy::default()).await;
    let (ann, mut copies) = join(address, "ann").await;
    let (_bob, mut events) = join(address, "bob").await;
    let bodies: Vec<String> = (0..3000).map(|number| number.to_string()).collect();
    let sending = bodies.iter().map(|body| ann.send("bob", body));
    let sent = timeout(SOON, futures_util::future::join_all(sending))
        .await
        .unwrap();
    assert!(sent.iter().all(Result::is_ok));
    for expected in &bodies {
        assert_eq!(&body(&mut events).await, expected);
        assert_eq!(&body(&mut copies).await, expected);
    }
}

#[tokio::test]
async fn an_ephemeral_session_has_no_secret_and_ends_none() {
    let mut policy = Policy::default();
    policy.limits.sessions = 1;
    let (address, _server) = start(policy).await;
    let (ann, mut events) = join(address, "ann").await;
    let (robot, _copies) = connect(address).await.unwrap();
    let pass = Password::md5_of("secret");
    let session = robot.auth_ephemeral("ann", &pass).await.unwrap();
    assert!(session.sid.is_empty());
    robot.send("ann", "done").await.unwrap();
    assert_eq!(body(&mut events).await, "done");
    assert!(ann.contact_list().await.is_ok());
}

#[tokio::test]
async fn an_acknowledging_client_processes_every_message_once() {
    let (address, _server) = start(Policy::default()).await;
    let (ann, _copies) = join(address, "ann").await;
    let pass = Password::md5_of("secret");
    let (bob, mut events) = connect(address).await.unwrap();
    bob.register("bob", &pass, "bob").await.unwrap();
    let session = bob.auth_with_ack("bob", &pass).await.unwrap();
    for number in 1..=4 {
        ann.send("bob", &number.to_string()).await.unwrap();
    }
    for expected in ["1", "2", "3"] {
        assert_eq!(body(&mut events).await, expected);
    }
    bob.ack(1).await.unwrap();
    // The connection is lost; 2 and 3 were processed, and the server does not know.
    let processed = events.last_seq();
    drop((bob, events));
    let (bob, mut events) = connect(address).await.unwrap();
    events.skip_up_to(processed);
    bob.resume(&session.uid, &session.sid).await.unwrap();
    assert_eq!(body(&mut events).await, "4");
    let stolen = connect(address).await.unwrap().0;
    assert_eq!(code(stolen.resume(&session.uid, &"guess".into()).await), 6);
}

#[tokio::test]
async fn another_user_on_the_same_connection_begins_anew() {
    let (address, _server) = start(Policy::default()).await;
    let (ann, _copies) = join(address, "ann").await;
    let (bob, mut events) = join(address, "bob").await;
    for body in ["1", "2"] {
        ann.send("bob", body).await.unwrap();
    }
    assert_eq!(body(&mut events).await, "1");
    assert_eq!(body(&mut events).await, "2");
    let pass = Password::md5_of("secret");
    let (eve, _) = join(address, "eve").await;
    drop(eve);
    ann.send("eve", "for eve").await.unwrap();
    bob.auth("eve", &pass).await.unwrap();
    assert_eq!(body(&mut events).await, "for eve");
    // The same after a session was resumed, of which the client was told no user.
    let (max, _) = join(address, "max").await;
    let session = max.auth("max", &pass).await.unwrap();
    for body in ["1", "2"] {
        ann.send("max", body).await.unwrap();
    }
    let (client, mut events) = connect(address).await.unwrap();
    client.resume(&session.uid, &session.sid).await.unwrap();
    ann.send("max", "3").await.unwrap();
    while body(&mut events).await != "3" {}
    let (zoe, _) = connect(address).await.unwrap();
    zoe.register("zoe", &pass, "zoe").await.unwrap();
    ann.send("zoe", "for zoe").await.unwrap();
    client.auth("zoe", &pass).await.unwrap();
    assert_eq!(body(&mut events).await, "for zoe");
}

#[tokio::test]
async fn an_unasked_auth_reply_belongs_to_no_request() {
    let mut policy = Policy::default();
    policy.auth_on_register = true;
    let (address, _server) = start(policy).await;
    let (ann, _events) = connect(address).await.unwrap();
    let pass = Password::md5_of("secret");
    ann.register("ann", &pass, "Ann").await.unwrap();
    assert!(ann.contact_list().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_end_of_the_connection_is_told() {
    let (address, server) = start(Policy::default()).await;
    let (ann, mut events) = join(address, "ann").await;
    server.stop();
    for _ in 0..2 {
        let ended = timeout(SOON, events.next()).await.unwrap();
        assert!(matches!(ended, Err(EventsEnded::Closed)), "{ended:?}");
    }
    let message = SendMessage::default();
    assert!(matches!(
        ann.send_message(message).await,
        Err(ClientError::Closed)
    ));
}

#[tokio::test]
async fn what_nobody_holds_a_client_of_any_more_ends_with_that() {
    let (address, _server) = start(Policy::default()).await;
    let (ann, mut events) = join(address, "ann").await;
    drop(ann);
    let ended = timeout(SOON, events.next()).await.unwrap();
    assert!(
        matches!(ended, Err(EventsEnded::ClientDropped)),
        "{ended:?}"
    );
}

#[tokio::test]
async fn what_is_no_messenger_is_told() {
    let (client, mut server) = duplex(1024);
    server
        .write_all(b"220 mail.example.org ESMTP\r\n")
        .await
        .unwrap();
    assert!(matches!(
        over(client).await,
        Err(ConnectionError::NotAMessenger)
    ));
    let (client, server) = duplex(1024);
    drop(server);
    assert!(matches!(over(client).await, Err(ConnectionError::Io(_))));
}

#[tokio::test]
async fn a_broken_server_ends_the_connection_with_an_error() {
    let (client, mut server) = duplex(1 << 16);
    server
        .write_all(br#"{"action":"welcome","message":"","time":1}"#)
        .await
        .unwrap();
    let (client, mut events) = over(client).await.unwrap();
    let request = tokio::spawn(async move { client.contact_list().await });
    let mut sent = vec![0; 34];
    server.read_exact(&mut sent).await.unwrap();
    assert_eq!(sent, br#"{"action":"contactlist","data":{}}"#);
    server
        .write_all(br#"{"action":"contactlist","data":{"status":0,"list":7}}"#)
        .await
        .unwrap();
    let ended = timeout(SOON, events.next()).await.unwrap();
    assert!(matches!(*failure(ended), ConnectionError::Codec(_)));
    assert!(matches!(request.await.unwrap(), Err(ClientError::Closed)));
}

#[tokio::test]
async fn events_that_nobody_takes_are_bounded() {
    let (client, mut server) = duplex(1 << 20);
    server
        .write_all(br#"{"action":"welcome","message":"","time":1}"#)
        .await
        .unwrap();
    let (_client, mut events) = over(client).await.unwrap();
    let body = "x".repeat(1 << 20);
    let frame = format!(r#"{{"action":"ev_message","data":{{"from":"a","body":"{body}"}}}}"#);
    let flood = async { while server.write_all(frame.as_bytes()).await.is_ok() {} };
    timeout(SOON, flood).await.expect("the client to give up");
    let mut taken = 0;
    let ended = loop {
        match events.next().await {
            Ok(_) => taken += 1,
            ended => break ended,
        }
    };
    assert!(taken <= 64, "{taken} MiB were kept");
    assert!(matches!(*failure(ended), ConnectionError::Overrun { .. }));
}
