//! Clients that know nothing newer than TLS 1.1 are told so. The TLS library answers most of them that the handshake
//! has failed, which does not tell their people what to do.

use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A record with the beginning of a client's first message: the kind of record, a version that means nothing, a
/// length; the kind of message, a length, the newest version that the client knows.
const BEGINNING: usize = 11;

/// A record of a handshake.
const HANDSHAKE: u8 = 22;

/// A client's first message.
const CLIENT_HELLO: u8 = 1;

/// How TLS 1.2 is written; newer clients write it here as well.
const OLDEST: u16 = 0x0303;

/// A fatal alert, `protocol_version`, in a record that the oldest of them read.
const ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 70];

/// How many bytes of the client's first message are read before the connection is closed, so that its system does not throw
/// away the alert.
const READ: u64 = 16 * 1024;

/// Fails when the client is too old, and has told it so. Nothing is taken from the stream otherwise. A beginning that
/// comes in pieces is left to the TLS library.
pub(super) async fn turn_away(stream: &mut TcpStream) -> io::Result<()> {
    let mut beginning = [0; BEGINNING];
    let read = stream.peek(&mut beginning).await?;
    if read < BEGINNING || !is_too_old(beginning) {
        return Ok(());
    }
    stream.write_all(&ALERT).await?;
    stream.shutdown().await?;
    // However that ends.
    let _ = stream.take(READ).read_to_end(&mut Vec::new()).await;
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "the client knows nothing newer than TLS 1.1",
    ))
}

fn is_too_old(beginning: [u8; BEGINNING]) -> bool {
    let [record, .., message, _, _, _, major, minor] = beginning;
    record == HANDSHAKE && message == CLIENT_HELLO && u16::from_be_bytes([major, minor]) < OLDEST
}
