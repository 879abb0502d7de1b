//! As much of the protocol of NATS as the load tool needs: <https://docs.nats.io/reference/reference-protocols/nats-protocol>.
//!
//! NATS core acknowledges nothing to a sender, so recipients do: each message names a subject of its sender, and is
//! answered there with nothing. That is the least there can be.

use crate::Failed;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use memchr::memchr;
use std::fmt::Write;

/// How every message to a recipient begins, and every answer to a sender; their numbers follow.
const TO_RECIPIENT: &[u8] = b"MSG m.";
const TO_SENDER: &[u8] = b"MSG a.";

/// What stands behind each line, and behind each payload.
const END: &[u8] = b"\r\n";

/// Queues that this user is there, for messages and for answers. The next frame tells that the server knows.
pub(crate) fn put_hello(out: &mut BytesMut, user: u32) {
    let connect = r#"CONNECT {"verbose":false,"pedantic":false}"#;
    // Memory grows.
    let _ = write!(
        out,
        "{connect}\r\nSUB m.{user} 1\r\nSUB a.{user} 2\r\nPING\r\n"
    );
}

/// Queues a message of these parts, which is to be answered.
pub(crate) fn put_message(out: &mut BytesMut, to: u32, from: u32, parts: [&[u8]; 2]) {
    let length = parts[0].len() + parts[1].len();
    let _ = write!(out, "PUB m.{to} a.{from} {length}\r\n");
    for part in parts {
        out.put_slice(part);
    }
    out.put_slice(END);
}

/// The next message with the line before it, if it is whole, or the answer to the hello. Queues what the server or a
/// sender is to be answered.
pub(crate) fn take_frame(
    received: &mut BytesMut,
    out: &mut BytesMut,
) -> Result<Option<Bytes>, Failed> {
    while let Some(end) = memchr(b'\n', received) {
        let line = &received[..=end];
        let mut length = line.len();
        if line.starts_with(b"MSG ") {
            let (answer_to, payload) = read_head(line).ok_or("a line of NATS is strange")?;
            length += payload + END.len();
            if received.len() < length {
                return Ok(None);
            }
            if let Some(subject) = answer_to {
                out.put_slice(b"PUB ");
                out.put_slice(subject);
                out.put_slice(b" 0\r\n\r\n");
            }
            return Ok(Some(received.split_to(length).freeze()));
        }
        if line.starts_with(b"PONG") {
            return Ok(Some(received.split_to(length).freeze()));
        }
        if line.starts_with(b"PING") {
            out.put_slice(b"PONG\r\n");
        } else if line.starts_with(b"-ERR") {
            return Err(String::from_utf8_lossy(line).into());
        }
        received.advance(length);
    }
    Ok(None)
}

/// Where a message is to be answered, if it is, and how long its payload is, out of the line before it:
/// `MSG subject sid [answer-to] length`.
fn read_head(line: &[u8]) -> Option<(Option<&[u8]>, usize)> {
    let mut words = line.strip_suffix(END)?.split(|byte| *byte == b' ').skip(3);
    let (first, second) = (words.next()?, words.next());
    let (answer_to, length) = match second {
        Some(length) => (Some(first), length),
        None => (None, first),
    };
    let length = std::str::from_utf8(length).ok()?.parse().ok()?;
    Some((answer_to, length))
}

/// What a recipient was sent; nothing if it is any other frame.
pub(crate) fn payload(frame: &[u8]) -> Option<&[u8]> {
    if !frame.starts_with(TO_RECIPIENT) {
        return None;
    }
    frame.get(memchr(b'\n', frame)? + 1..)
}

/// True for the answer to a message.
pub(crate) fn is_answer(frame: &[u8]) -> bool {
    frame.starts_with(TO_SENDER)
}
