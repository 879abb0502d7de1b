//! Deployed clients of earlier years live a day beside one of today, on a server that serves both.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod first_frame;
mod server;
mod silence;
#[path = "../support/mod.rs"]
mod support;
mod wire;

use first_frame::FirstFrame;
use messenger_client::proto::{Attachment, SendMessage, SetUserInfo};
use messenger_client::{Client, Events};
use messenger_proto::{Split, Splitter};
use serde_json::{Value, json};
use server::{Restartable, pass, send_all};
use silence::{Silence, field};
use std::time::Duration;
use support::SOON;
use tokio::time::timeout;

const FLAGS: [&str; 2] = ["--legacy-clients", "on"];

/// What their frames are apart.
const GAP: Duration = Duration::from_millis(25);

/// Texts with what breaks such clients.
fn texts(name: &str, count: usize) -> Vec<String> {
    let numbers = 1..=count;
    numbers
        .map(|number| format!("{name} {number}: }}{{ é😀 \n\t:-}} \\\""))
        .collect()
}

/// The bodies of the next messages for a client of today.
async fn bodies(events: &mut Events, count: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    while bodies.len() < count {
        let event = timeout(SOON, events.next_message()).await.unwrap().unwrap();
        if event.seq.is_some() {
            bodies.push(event.message.body.as_str().to_owned());
        }
    }
    bodies
}

/// How many bytes each picture of a list has.
fn pictures(answer: &Value) -> Vec<usize> {
    let list = answer["list"].as_array().unwrap().iter();
    list.map(|contact| field(contact, "picture").as_str().unwrap().len())
        .collect()
}

async fn join_modern(server: &Restartable, login: &str) -> (Client, Events) {
    let (client, events) = server.connect_modern().await;
    client.register(login, &pass(), login).await.unwrap();
    client.auth_with_ack(login, &pass()).await.unwrap();
    (client, events)
}

#[tokio::test]
async fn they_live_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let server = Restartable::start(folder.path(), &FLAGS);
    let (modern, mut events) = server.connect_modern().await;
    modern.register("max", &pass(), "Max").await.unwrap();
    let session = modern.auth_with_ack("max", &pass()).await.unwrap();
    let mut ann = FirstFrame::connect(server.connect()).await;
    assert!(ann.sign_up("ann", "Анна 😀").await);
    let mut bob = Silence::connect(server.connect()).await;
    assert!(bob.sign_up("bob", "Боб {}").await);

    // They talk, each with both others.
    for (number, text) in texts("talk", 3).iter().enumerate() {
        ann.send("bob", text).await;
        assert_eq!(&bob.receive().await, text);
        // Line breaks stand in its strings as they are.
        let text = format!("{number}:\nnext é line");
        bob.send("ann", &text).await;
        assert_eq!(ann.receive().await, text);
        bob.send("max", &text).await;
        ann.send("max", &text).await;
        assert_eq!(bodies(&mut events, 2).await, [text.clone(), text]);
    }

    // However its reads cut a text, no character is cut in two.
    for text in ["é".repeat(3000), format!("x{}", "é".repeat(3000))] {
        bob.send("ann", &text).await;
        assert_eq!(ann.receive().await, text);
    }

    // Profiles: what their users left alone stays.
    let profile = json!({"email": "ann@example.org", "phone": "+7 916 123-45-67", "user_status": "",
        "picture": "A".repeat(300 * 1024)});
    assert_eq!(ann.ask("setuserinfo", profile).await["status"], 0);
    let change = json!({"email": "", "phone": "", "user_status": "here"});
    assert_eq!(ann.ask("setuserinfo", change).await["status"], 0);
    let info = bob.ask("userinfo", r#""user":"ann""#).await;
    assert_eq!(field(&info, "email"), "ann@example.org");
    assert_eq!(field(&info, "phone"), "+7 916 123-45-67");
    assert_eq!(field(&info, "user_status"), "here");
    let picture = format!(
        r#""picture":"{}","email":"","phone":"""#,
        "B".repeat(500 * 1024)
    );
    assert_eq!(bob.ask("setuserinfo", &picture).await["status"], 0);
    let picture = SetUserInfo::new().picture("C".repeat(400 * 1024));
    modern.set_user_info(picture).await.unwrap();

    // Lists, whose pictures are as many as they can read.
    join_modern(&server, "eve").await;
    for uid in ["bob", "max", "eve"] {
        let added = ann.ask("addcontact", json!({"uid": uid})).await;
        assert_eq!(added["status"], 0, "{added}");
    }
    let list = ann.ask("contactlist", json!({})).await;
    assert_eq!(pictures(&list), [500 * 1024, 0, 0]);
    let import = r#""contacts":[{"myid":"1","name":"A","phone":"8 916 123 45 67","email":""}]"#;
    assert_eq!(pictures(&bob.ask("import", import).await), [300 * 1024]);
    for uid in ["ann", "bob"] {
        modern.add_contact(uid).await.unwrap();
    }
    let list = modern.contact_list().await.unwrap();
    let all: usize = list.iter().map(|contact| contact.card.picture.len()).sum();
    assert_eq!(all, 800 * 1024, "a client of today loses nothing");

    // Bursts, with something large among them.
    let burst = texts("burst", 20);
    for to in ["ann", "bob"] {
        send_all(&modern, to, &burst).await;
        let file = Attachment::new("image/png", "iVBO".repeat(5000));
        modern
            .send_message(SendMessage::new(to, "file").attach(file))
            .await
            .unwrap();
        send_all(&modern, to, &burst).await;
    }
    for expected in burst.iter().chain([&"file".to_owned()]).chain(&burst) {
        assert_eq!(&ann.receive().await, expected);
        assert_eq!(&bob.receive().await, expected);
    }
    assert_eq!(ann.flood(40).await, 40);

    // They go, and come back for what has waited.
    drop(ann);
    let waiting = texts("waiting", 20);
    send_all(&modern, "ann", &waiting).await;
    let mut ann = FirstFrame::connect(server.connect()).await;
    assert_eq!(ann.log_in("ann").await, 0);
    for expected in &waiting {
        assert_eq!(&ann.receive().await, expected);
    }

    // Another account: on the connection that is there first, then on a fresh one.
    assert!(!ann.sign_up("ann2", "Ann 2").await);
    let mut ann = FirstFrame::connect(server.connect()).await;
    assert_eq!(ann.log_in("ann2").await, 7);
    assert!(ann.sign_up("ann2", "Ann 2").await);
    assert!(!bob.sign_up("bob2", "Bob 2").await);
    let mut bob = Silence::connect(server.connect()).await;
    assert!(bob.sign_up("bob2", "Bob 2").await);
    ann.send("bob2", "hello").await;
    assert_eq!(bob.receive().await, "hello");
    send_all(&modern, "ann", &waiting).await;
    send_all(&modern, "bob", &waiting).await;

    // The server is started again; the first accounts get what has waited meanwhile.
    drop((ann, bob));
    modern.ack(6).await.unwrap();
    server.stop().await;
    drop((modern, events));
    let server = Restartable::start(folder.path(), &FLAGS);
    let (modern, mut events) = server.connect_modern().await;
    modern
        .resume_and_ack(&session.uid, &session.sid, 6)
        .await
        .unwrap();
    let mut ann = FirstFrame::connect(server.connect()).await;
    assert_eq!(ann.log_in("ann").await, 0);
    let mut bob = Silence::connect(server.connect()).await;
    assert_eq!(bob.log_in("bob").await, 0);
    for expected in &waiting {
        assert_eq!(&ann.receive().await, expected);
        assert_eq!(&bob.receive().await, expected);
    }
    bob.send("max", "good night").await;
    ann.send("max", "good night").await;
    let last = bodies(&mut events, 2).await;
    assert_eq!(last, ["good night", "good night"], "and nothing twice");
    server.stop().await;
}

/// The frames of a write.
fn frames(bytes: &[u8]) -> usize {
    let mut splitter = Splitter::new(usize::MAX);
    let (mut rest, mut frames) = (bytes, 0);
    while let Split::Frame(place) = splitter.split(rest).unwrap() {
        rest = &rest[place.end..];
        frames += 1;
    }
    assert!(rest.is_empty(), "a part of a frame");
    frames
}

/// Has messages wait for `ann`, and gives what she then gets at once when she logs in with these fields more.
async fn writes_of_a_backlog(flags: &[&str], features: &str) -> Vec<(Duration, usize)> {
    let folder = tempfile::tempdir().unwrap();
    let server = Restartable::start(folder.path(), flags);
    let (max, _events) = join_modern(&server, "max").await;
    drop(join_modern(&server, "ann").await);
    send_all(&max, "ann", &texts("waiting", 20)).await;
    let mut wire = server.connect();
    let began = wire.write().await.unwrap();
    wire.send(&format!(
        r#"{{"action":"auth","data":{{"login":"ann","pass":"secret"{features}}}}}"#
    ));
    let (mut writes, mut before, mut left) = (Vec::new(), began.at, 21);
    while left > 0 {
        let write = wire.write().await.unwrap();
        assert!(write.bytes.is_ascii() || flags.is_empty());
        let count = frames(&write.bytes);
        writes.push((write.at - before, count));
        before = write.at;
        left -= count;
    }
    writes
}

#[tokio::test]
async fn frames_come_alone_and_apart_to_a_client_that_asks_for_no_feature() {
    for (gap, frames) in writes_of_a_backlog(&FLAGS, "").await {
        assert_eq!(frames, 1);
        assert!(gap >= GAP, "{gap:?}");
    }
}

#[tokio::test]
async fn frames_come_together_to_any_other_and_without_the_setting() {
    let features = r#","features":["ack"]"#;
    for (flags, features) in [
        (&FLAGS[..], features),
        (&FLAGS[..], r#","features":["later","ack"]"#),
        (&[][..], ""),
        (&["--legacy-clients", "on", "--frame-gap", "0"][..], ""),
    ] {
        let writes = writes_of_a_backlog(flags, features).await;
        assert!(writes.iter().any(|(_, frames)| *frames > 1), "{flags:?}");
    }
}

#[tokio::test]
async fn what_waits_for_them_is_bounded_because_no_more_is_read_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let server = Restartable::start(folder.path(), &FLAGS);
    let mut wire = server.connect();
    for _ in 0..1000 {
        wire.send(r#"{"action":"dance","data":{}}"#);
    }
    for answered in 0..20 {
        wire.write().await.unwrap();
        let taken = wire.taken();
        assert!(taken <= answered + 2, "{taken} taken, {answered} answered");
    }
}

/// The stand-ins are as weak as what they stand for.
#[tokio::test]
async fn without_the_setting_they_lose_messages() {
    let folder = tempfile::tempdir().unwrap();
    let server = Restartable::start(folder.path(), &[]);
    let (max, _events) = join_modern(&server, "max").await;
    drop(join_modern(&server, "ann").await);
    send_all(&max, "ann", &texts("waiting", 20)).await;
    let mut ann = FirstFrame::connect(server.connect()).await;
    assert_eq!(ann.log_in("ann").await, 0);
    max.send("ann", "last").await.unwrap();
    let mut received = 0;
    while ann.receive().await != "last" {
        received += 1;
    }
    assert!(received < 20, "{received} of 20");
}
