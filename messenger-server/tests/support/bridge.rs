//! Carries connections over WebSocket on their way, so that tests of what holds over any transport need not know by which
//! their clients' bytes travel: each object becomes a text message, in as many fragments as pieces of it come.

use super::websocket::{CLOSE, CONTINUATION, FIN, TEXT, ask, frame, parse};
use messenger_proto::{Split, Splitter};
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Bytes on their way in either of a connection's two sockets here.
const HELD: u32 = 64 * 1024;

/// Carries what comes in by this listener to the server, which believes who is `proxied` where that comes from.
pub(crate) async fn carry(listener: TcpListener, server: SocketAddr, proxied: bool) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            // However it ends, the client finds its connection closed.
            let _ = connection(client, server, proxied).await;
        });
    }
}

async fn connection(mut client: TcpStream, server: SocketAddr, proxied: bool) -> io::Result<()> {
    // What a client does not take stays with the server: two sockets more would hold megabytes of it.
    SockRef::from(&client).set_send_buffer_size(HELD as usize)?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(HELD)?;
    let mut socket = socket.connect(server).await?;
    client.set_nodelay(true)?;
    socket.set_nodelay(true)?;
    if proxied {
        pass_header(&mut client, &mut socket).await?;
    }
    if !ask(&mut socket, "/", "").await.starts_with("HTTP/1.1 101 ") {
        return Ok(());
    }
    let (client_input, client_output) = client.into_split();
    let (server_input, server_output) = socket.into_split();
    let up = tokio::spawn(up(client_input, server_output));
    let down = down(server_input, client_output).await;
    up.abort();
    down
}

/// What a proxy tells comes before all else. A server that has lost patience closes, and says nothing before.
async fn pass_header(client: &mut TcpStream, server: &mut TcpStream) -> io::Result<()> {
    let mut header = Vec::new();
    while !is_header(&header) {
        let passed = header.len();
        tokio::select! {
            read = client.read_buf(&mut header) => if read? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            },
            closed = server.readable() => return closed.and(Err(io::ErrorKind::UnexpectedEof.into())),
        }
        server.write_all(&header[passed..]).await?;
    }
    Ok(())
}

/// Whether that is a whole header of the PROXY protocol, in either of its versions.
fn is_header(bytes: &[u8]) -> bool {
    match bytes.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n") {
        Some([_, _, high, low, rest @ ..]) => {
            rest.len() == usize::from(u16::from_be_bytes([*high, *low]))
        }
        Some(_) => false,
        None => bytes.starts_with(b"PROXY") && bytes.ends_with(b"\r\n"),
    }
}

async fn up(mut input: OwnedReadHalf, mut output: OwnedWriteHalf) -> io::Result<()> {
    let mut splitter = Splitter::new(usize::MAX);
    // What has come of an object, and how much of it is on its way.
    let (mut object, mut sent) = (Vec::new(), 0);
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let read = input.read(&mut chunk).await.unwrap_or(0);
        if read == 0 {
            break;
        }
        object.extend_from_slice(&chunk[..read]);
        let mut frames = Vec::new();
        let mut fragment = |sent: usize, payload: &[u8], fin: u8| {
            let opcode = if sent == 0 { TEXT } else { CONTINUATION };
            frames.extend(frame(fin | opcode, payload));
        };
        loop {
            match splitter.split(&object) {
                Ok(Split::Frame(place)) => {
                    fragment(sent, &object[sent..place.end], FIN);
                    object.drain(..place.end);
                    sent = 0;
                }
                Ok(Split::Partial { skip }) => {
                    object.drain(..skip);
                    if sent < object.len() {
                        fragment(sent, &object[sent..], 0);
                        sent = object.len();
                    }
                    break;
                }
                Err(_) => {
                    // Nobody can tell where it ends.
                    fragment(sent, &object[sent..], FIN);
                    object.clear();
                    sent = 0;
                    break;
                }
            }
        }
        output.write_all(&frames).await?;
    }
    output.write_all(&frame(FIN | CLOSE, &[])).await?;
    std::future::pending().await
}

async fn down(mut input: OwnedReadHalf, mut output: OwnedWriteHalf) -> io::Result<()> {
    let mut received = Vec::new();
    loop {
        while let Some((first, payload, taken)) = parse(&received) {
            received.drain(..taken);
            match first & !FIN {
                TEXT | CONTINUATION => output.write_all(&payload).await?,
                CLOSE => return output.shutdown().await,
                _ => {}
            }
        }
        received.reserve(64 * 1024);
        if input.read_buf(&mut received).await? == 0 {
            return output.shutdown().await;
        }
    }
}
