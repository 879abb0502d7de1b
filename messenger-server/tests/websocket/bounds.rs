//! What a connection over WebSocket is held to.

use super::support::websocket::{CONTINUATION, Ended, FIN, PING, PONG, TEXT, WebSocket, frame};
use super::support::{SOON, TestServer};
use super::{listen, message, start};
use messenger_core::Policy;
use messenger_server::Transport;
use messenger_server::websocket::Origins;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const MIB: usize = 1024 * 1024;

/// The beginning of a message with a large attachment.
fn half_a_message(length: usize) -> Vec<u8> {
    let begin = r#"{"action":"message","data":{"uid":"ann","attach":{"mime":"x","data":""#;
    frame(TEXT, format!("{begin}{}", "A".repeat(length)).as_bytes())
}

#[tokio::test]
async fn a_silent_client_is_asked_and_given_up_when_it_does_not_answer() {
    let mut transport = Transport::default();
    transport.keepalive = Duration::from_secs(1);
    transport.write_stall = Duration::from_secs(2);
    let (_server, address) = start(transport).await;
    let mut lively = WebSocket::log_in(address, "lively").await;
    let mut gone = WebSocket::log_in(address, "gone").await;
    // Whoever answers stays for longer than whoever does not is waited for.
    let answering = async {
        loop {
            let (first, payload) = lively.next_frame().await.expect("it answers");
            assert_eq!((first, payload.len()), (FIN | PING, 0));
            lively.send_frame(FIN | PONG, b"").await;
        }
    };
    let given_up = async {
        let mut asked = 0;
        while let Some((first, _)) = gone.next_frame().await {
            assert_eq!(first, FIN | PING);
            asked += 1;
        }
        asked
    };
    tokio::select! {
        () = answering => unreachable!("it goes on"),
        asked = given_up => assert_eq!(asked, 1),
    }
    lively.send(r#"{"action":"contactlist","data":{}}"#).await;
    assert_eq!(lively.object().await["action"], "contactlist");
}

#[tokio::test]
async fn what_is_unsent_is_bounded_and_waits_for_a_reader_that_stops() {
    let (server, address) = start(Transport::default()).await;
    let (bob, _) = server.log_in("bob").await;
    drop(bob);
    let mut ann = WebSocket::log_in(address, "ann").await;
    // Far more than the systems' buffers and the server's share hold.
    let message = frame(FIN | TEXT, message("bob", &"x".repeat(60_000)).as_bytes());
    let stuck = async {
        for _ in 0..2000 {
            ann.stream.write_all(&message).await.unwrap();
        }
    };
    let pushed_through = timeout(Duration::from_secs(2), stuck).await;
    assert!(
        pushed_through.is_err(),
        "the server took 120 MB for a client that reads nothing"
    );
    // It goes on as soon as the client reads.
    assert_eq!(ann.object().await["data"]["status"], 0);
}

#[tokio::test]
async fn a_reader_that_stops_is_given_up_and_misses_nothing() {
    let patience = Duration::from_millis(200);
    let mut transport = Transport::default();
    transport.write_stall = patience;
    let (server, address) = start(transport).await;
    let (mut ann, _) = server.log_in("ann").await;
    let mut deaf = WebSocket::connect(address).await;
    assert_eq!(deaf.object().await["action"], "welcome");
    deaf.authenticate("deaf").await;
    let long = "x".repeat(60_000);
    for number in 0..500 {
        ann.send(&message("deaf", &format!("{number} {long}")))
            .await;
        assert_eq!(ann.frame().await["data"]["status"], 0);
        ann.frame().await;
    }
    // It comes to an end, in the middle of a message.
    let mut chunk = vec![0; MIB];
    let end = async { while matches!(deaf.stream.read(&mut chunk).await, Ok(1..)) {} };
    let full = Instant::now();
    while full.elapsed() < 2 * patience {
        ann.probe().await;
    }
    timeout(SOON, end).await.expect("to be disconnected");
    let (mut again, _) = server.log_in("deaf").await;
    let next = again.frame().await;
    assert_eq!(next["action"], "ev_message", "what was not taken waits");
}

#[tokio::test]
async fn partial_messages_share_one_budget() {
    let mut transport = Transport::default();
    transport.partial_frames = 48 * MIB;
    let (_server, address) = start(transport).await;
    let mut holders = Vec::new();
    for number in 0..5 {
        let mut socket = WebSocket::log_in(address, &format!("holder{number}")).await;
        let half = half_a_message(15 * MIB);
        // As much as is taken: the later ones have to wait until the first stand still.
        holders.push(tokio::spawn(async move {
            let _ = socket.stream.write_all(&half).await;
            socket
        }));
    }
    let mut ann = WebSocket::log_in(address, "ann").await;
    for _ in 0..3 {
        ann.send_bytes(&half_a_message(10 * MIB)).await;
        ann.send_frame(FIN | CONTINUATION, br#""}}}"#).await;
        assert_eq!(ann.object().await["data"]["status"], 0);
        assert_eq!(ann.object().await["action"], "ev_message");
    }
    // Those that had to give way were told so.
    let mut told = 0;
    for holder in holders {
        let mut socket = timeout(SOON, holder).await.unwrap().unwrap();
        let first = timeout(Duration::from_millis(200), socket.object()).await;
        if let Ok(object) = first {
            assert_eq!(object["data"]["status"], 20);
            assert_eq!(socket.ended().await, Ended::Closed(1013));
            told += 1;
        }
    }
    assert!(told >= 2, "only {told}");
}

/// Fragments of nothing hold nothing, and do not keep others waiting.
#[tokio::test]
async fn fragments_without_end_keep_nobody_waiting() {
    let (_server, address) = start(Transport::default()).await;
    let mut ann = WebSocket::log_in(address, "ann").await;
    let mut flood = WebSocket::log_in(address, "flood").await;
    flood.send_frame(TEXT, b"").await;
    let empty = frame(CONTINUATION, b"").repeat(10_000);
    let flooding = tokio::spawn(async move {
        for _ in 0..50 {
            flood.send_bytes(&empty).await;
        }
        flood
    });
    for _ in 0..20 {
        ann.send(r#"{"action":"contactlist","data":{}}"#).await;
        assert_eq!(ann.object().await["action"], "contactlist");
    }
    let mut flood = timeout(SOON, flooding).await.unwrap().unwrap();
    let request = br#"{"action":"contactlist","data":{}}"#;
    flood.send_frame(FIN | CONTINUATION, request).await;
    assert_eq!(flood.object().await["action"], "contactlist");
}

#[tokio::test]
async fn connections_over_the_limit_are_turned_away() {
    let mut transport = Transport::default();
    transport.connections = 2;
    let server = TestServer::start(Policy::default(), transport).await;
    let address = listen(&server, Origins::SameHost).await;
    let _tcp = server.connect().await;
    let first = WebSocket::connect(address).await;
    let mut third = tokio::net::TcpStream::connect(address).await.unwrap();
    let read = timeout(SOON, third.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "turned away");
    drop(first);
    let taken = async {
        loop {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            if super::support::websocket::ask(&mut stream, "/", "")
                .await
                .contains(" 101 ")
            {
                return;
            }
        }
    };
    timeout(SOON, taken)
        .await
        .expect("the place to be given back");
}
