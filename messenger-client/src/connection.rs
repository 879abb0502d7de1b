//! The two tasks of a connection: one writes, one reads, so that neither waits for the other.

use crate::ConnectionError;
use crate::events::{self, Events, Sink};
use futures_util::{SinkExt, StreamExt};
use messenger_proto::{ClientCodec, CodecError, Event, Inbound, Outbound, Response, Welcome};
use std::io;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::codec::{FramedRead, FramedWrite};

/// Requests that wait to be written.
const QUEUED: usize = 64;

/// Requests that wait for their answers.
const UNANSWERED: usize = 4096;

/// A request and where its answer goes.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) inbound: Inbound,
    pub(crate) reply: oneshot::Sender<Response>,
}

/// A request that was written.
struct Unanswered {
    action: &'static str,
    reply: oneshot::Sender<Response>,
}

type Writer<S> = FramedWrite<WriteHalf<S>, ClientCodec>;
type Reader<S> = FramedRead<ReadHalf<S>, ClientCodec>;

/// Waits for the welcome and starts the tasks.
pub(crate) async fn start<S>(
    stream: S,
) -> Result<(mpsc::Sender<Request>, Events, Welcome), ConnectionError>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, writer) = tokio::io::split(stream);
    let mut reader = FramedRead::new(reader, ClientCodec::default());
    let writer = FramedWrite::new(writer, ClientCodec::default());
    let welcome = match reader.next().await {
        Some(Ok(Outbound::Event(Event::Welcome(welcome)))) => welcome,
        Some(Err(CodecError::Io(error))) => return Err(error.into()),
        Some(_) => return Err(ConnectionError::NotAMessenger),
        None => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    };
    let (requests, queued) = mpsc::channel(QUEUED);
    let (written, unanswered) = mpsc::channel(UNANSWERED);
    let (sink, events) = events::channel();
    tokio::spawn(write(writer, queued, written));
    tokio::spawn(read(reader, unanswered, sink));
    Ok((requests, events, welcome))
}

/// Writes requests, together when several are there. Ends when there will be no more, or when
/// nobody reads the answers.
async fn write<S: AsyncWrite>(
    mut writer: Writer<S>,
    mut queued: mpsc::Receiver<Request>,
    written: mpsc::Sender<Unanswered>,
) {
    while let Some(Request { inbound, reply }) = queued.recv().await {
        let action = inbound.request.action();
        if written.send(Unanswered { action, reply }).await.is_err() {
            return;
        }
        // What went wrong, the reader sees too.
        if writer.feed(inbound).await.is_err() {
            return;
        }
        if queued.is_empty() && writer.flush().await.is_err() {
            return;
        }
    }
    let _ = writer.close().await;
}

/// Reads answers and events until the connection ends.
async fn read<S: AsyncRead>(
    mut reader: Reader<S>,
    mut unanswered: mpsc::Receiver<Unanswered>,
    sink: Sink,
) {
    let mut next = None;
    while let Some(frame) = reader.next().await {
        let taken = match frame {
            Ok(Outbound::Event(Event::Message(event))) => sink.message(event),
            Ok(Outbound::Response(response)) => {
                note_user(&response, &sink);
                next = answer(next, response, &mut unanswered);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(CodecError::Io(error)) => Err(error.into()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = taken {
            return sink.error(error);
        }
    }
}

fn note_user(response: &Response, sink: &Sink) {
    if let Response::Auth(Ok(accepted)) = response {
        sink.user(accepted.uid.clone());
    }
}

/// Gives an answer to the request it belongs to. A request whose answer has not come is given back.
fn answer(
    next: Option<Unanswered>,
    response: Response,
    unanswered: &mut mpsc::Receiver<Unanswered>,
) -> Option<Unanswered> {
    let next = next.or_else(|| unanswered.try_recv().ok())?;
    let to_any = matches!(response, Response::Unknown { .. });
    if next.action == response.action() || to_any {
        // Whoever asked may have given up waiting.
        let _ = next.reply.send(response);
        return None;
    }
    // Unasked: the `auth` reply that some servers send behind the one to `register`.
    Some(next)
}
