//! As much of WebSocket as the load tool needs.

use crate::Failed;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A client's mask. This one changes nothing, which costs this program less; the server cannot know.
const MASK: u32 = 0;

/// The first byte of a text message of one frame.
const TEXT: u8 = 0x81;

/// Of a ping, and of its answer.
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// The longest head of an answer, in bytes.
const HEAD: usize = 4096;

/// Makes a WebSocket of a connection.
pub(crate) async fn upgrade(stream: &mut TcpStream) -> Result<(), Failed> {
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    // Not a byte more: the welcome is behind it.
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
        head.push(stream.read_u8().await?);
    }
    match head.starts_with(b"HTTP/1.1 101 ") {
        true => Ok(()),
        false => Err("the server makes no WebSocket of a connection".into()),
    }
}

/// Puts the header of a text message in front of what was queued from here on.
pub(crate) fn put_header(out: &mut BytesMut, begin: usize) {
    put_header_of(TEXT, out, begin);
}

fn put_header_of(first: u8, out: &mut BytesMut, begin: usize) {
    let payload = out.split_off(begin);
    out.put_u8(first);
    match payload.len() {
        length @ 0..=125 => out.put_u8(0x80 | u8::try_from(length).unwrap_or_default()),
        length => match u16::try_from(length) {
            Ok(length) => {
                out.put_u8(0x80 | 126);
                out.put_u16(length);
            }
            Err(_) => {
                out.put_u8(0x80 | 127);
                out.put_u64(length as u64);
            }
        },
    }
    out.put_u32(MASK);
    out.unsplit(payload);
}

/// The next message, if it is whole. Answers to pings are queued.
pub(crate) fn take_message(
    received: &mut BytesMut,
    out: &mut BytesMut,
) -> Result<Option<Bytes>, Failed> {
    loop {
        let mut rest = &received[..];
        let (Ok(first), Ok(second)) = (rest.try_get_u8(), rest.try_get_u8()) else {
            return Ok(None);
        };
        let length = match second {
            126 => rest.try_get_u16().map(usize::from).ok(),
            127 => rest.try_get_u64().map(usize::try_from)?.ok(),
            length => Some(usize::from(length)),
        };
        let Some(length) = length.filter(|length| *length <= rest.len()) else {
            return Ok(None);
        };
        let header = received.len() - rest.len();
        received.advance(header);
        let payload = received.split_to(length).freeze();
        match first {
            TEXT => return Ok(Some(payload)),
            PING => {
                let begin = out.len();
                out.put_slice(&payload);
                put_header_of(PONG, out, begin);
            }
            _ => return Err("the server has closed a connection, or sent a list".into()),
        }
    }
}
