//! Frames as no browser writes them.

use super::support::websocket::{
    CLOSE, CONTINUATION, Ended, FIN, PING, PONG, TEXT, WebSocket, frame,
};
use super::{message, start};
use messenger_core::testing::SeededEntropy;
use messenger_server::Transport;

/// Cuts a message into frames, at places that the seed decides, with pings, pongs and empty fragments between them.
fn in_fragments(text: &str, random: &SeededEntropy) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    let mut opcode = TEXT;
    let below = |most: usize| usize::try_from(random.next() % (most as u64)).unwrap();
    while !rest.is_empty() {
        let most = match below(3) {
            0 => 2,
            1 => 40,
            _ => rest.len() + 1,
        };
        let (payload, behind) = rest.split_at(below(most).min(rest.len()));
        bytes.extend(frame(opcode, payload));
        (rest, opcode) = (behind, CONTINUATION);
        match below(8) {
            0 => bytes.extend(frame(FIN | PING, &rest[..rest.len().min(125)])),
            1 => bytes.extend(frame(FIN | PONG, b"")),
            _ => {}
        }
    }
    bytes.extend(frame(FIN | opcode, b""));
    bytes
}

#[tokio::test]
async fn fragmentation_never_changes_what_arrives() {
    let (_server, address) = start(Transport::default()).await;
    let seed = std::env::var("WEBSOCKET_SEED").ok();
    let seed = seed
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(u64::from(std::process::id()));
    println!("repeat with WEBSOCKET_SEED={seed}");
    let random = SeededEntropy::new(seed);
    let mut ann = WebSocket::log_in(address, "ann").await;
    for round in 0..100_usize {
        // Some in one write, in pieces of any size.
        let bodies: Vec<_> = (0..5)
            .map(|number| format!("{round} {number} é😀 {}", "x".repeat(round * number * 7)))
            .collect();
        let frames: Vec<_> = bodies
            .iter()
            .flat_map(|body| in_fragments(&message("ann", body), &random))
            .collect();
        let pieces = 1 + usize::try_from(random.next() % 2000).unwrap();
        for piece in frames.chunks(pieces) {
            ann.send_bytes(piece).await;
            tokio::task::yield_now().await;
        }
        let mut arrived = Vec::new();
        while arrived.len() < bodies.len() {
            let object = ann.object().await;
            match object["action"].as_str().unwrap() {
                "message" => assert_eq!(object["data"]["status"], 0),
                _ => arrived.push(object["data"]["body"].as_str().unwrap().to_owned()),
            }
        }
        assert_eq!(arrived, bodies);
    }
}

#[tokio::test]
async fn a_message_may_come_in_fragments_of_a_byte() {
    let (_server, address) = start(Transport::default()).await;
    let mut ann = WebSocket::log_in(address, "ann").await;
    let text = message("ann", &"é".repeat(20_000));
    let mut frames = Vec::new();
    let mut opcode = TEXT;
    for byte in text.as_bytes() {
        frames.extend(frame(opcode, &[*byte]));
        opcode = CONTINUATION;
    }
    frames.extend(frame(FIN | CONTINUATION, b""));
    ann.send_bytes(&frames).await;
    assert_eq!(ann.object().await["data"]["status"], 0);
    assert_eq!(ann.object().await["data"]["body"], "é".repeat(20_000));
}

#[tokio::test]
async fn a_ping_is_answered_with_what_it_says() {
    let (_server, address) = start(Transport::default()).await;
    let mut ann = WebSocket::log_in(address, "ann").await;
    for said in [b"".as_slice(), b"are you there?", &[b'x'; 125]] {
        ann.send_frame(FIN | PING, said).await;
        assert_eq!(ann.next_frame().await, Some((FIN | PONG, said.to_vec())));
    }
    // A pong that nobody has asked for is none of our business.
    ann.send_frame(FIN | PONG, b"unasked").await;
    ann.send(r#"{"action":"contactlist","data":{}}"#).await;
    assert_eq!(ann.object().await["action"], "contactlist");
}

#[tokio::test]
async fn frames_that_are_against_the_rules_end_the_connection() {
    let (_server, address) = start(Transport::default()).await;
    let request = br#"{"action":"logout","data":{}}"#;
    let unmasked = [[FIN | TEXT, 29].as_slice(), request].concat();
    let long_ping = frame(FIN | PING, &[b'x'; 126]);
    let ping_in_fragments = frame(PING, b"x");
    let within = [frame(TEXT, b"{"), frame(FIN | TEXT, request)].concat();
    let huge = [
        FIN | TEXT,
        0xff,
        0xff,
        0xff,
        0xff,
        0xff,
        0xff,
        0xff,
        0xff,
        0xff,
    ];
    let huge = [huge.as_slice(), &[0; 4]].concat();
    let half_a_code = frame(FIN | CLOSE, &[3]);
    for (bytes, code) in [
        (unmasked, 1002),
        (long_ping, 1002),
        (ping_in_fragments, 1002),
        (within, 1002),
        (half_a_code, 1002),
        (huge, 1009),
    ] {
        let mut socket = WebSocket::log_in(address, "ann").await;
        socket.send_bytes(&bytes).await;
        assert_eq!(socket.object().await["data"]["status"], 3, "{bytes:?}");
        assert_eq!(socket.ended().await, Ended::Closed(code), "{bytes:?}");
    }
}
