//! The two tasks of a connection: one writes, one reads, so that neither waits for the other.

use crate::activity::Activity;
use crate::events::{self, Events, Sink};
use crate::{ClientError, ConnectionError, EventsEnded};
use bytes::{Buf, BytesMut};
use messenger_proto::{Braces, ClientCodec, Event, Inbound, Outbound, Response, UserId, Welcome};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::codec::Decoder;
use tokio_util::sync::CancellationToken;

/// How much room there is for what arrives, in bytes.
const READ_AT_ONCE: usize = 16 * 1024;

/// Requests are written once they have so many bytes, or none is left.
const WRITTEN_AT_ONCE: usize = 64 * 1024;

/// How many requests may wait for their answers.
pub(crate) const UNANSWERED: usize = 65_536;

/// Takes requests, in the order of the calls.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    queue: mpsc::UnboundedSender<Request>,
    unanswered: Arc<Semaphore>,
    /// Told when nobody reads answers any more. (A request that is queued at that very moment is
    /// dropped only with the queue, so waiting for its answer alone could take for ever.)
    ended: CancellationToken,
    /// Ends the connection from this side.
    closing: CancellationToken,
    activity: Arc<Activity>,
}

#[derive(Debug)]
struct Request {
    inbound: Inbound,
    answer: Answer,
}

/// Where the answer to a request goes.
#[derive(Debug)]
struct Answer {
    action: &'static str,
    /// Whose session it resumes, if it succeeds.
    user: UserId,
    reply: oneshot::Sender<Response>,
    _permit: OwnedSemaphorePermit,
}

impl Requests {
    /// Queues a request when first polled, so that requests go out in that order, and waits for the
    /// answer.
    pub(crate) async fn call(&self, inbound: Inbound) -> Result<Response, ClientError> {
        let answer = self.send(inbound)?;
        tokio::select! {
            biased;
            answer = answer => answer.map_err(|_| ClientError::Closed),
            () = self.ended.cancelled() => Err(ClientError::Closed),
        }
    }

    /// Ends the connection, whatever is under way.
    pub(crate) fn close(&self) {
        self.closing.cancel();
    }

    /// Waits for the end of the connection.
    pub(crate) async fn closed(&self) {
        self.ended.cancelled().await;
    }

    pub(crate) fn activity(&self) -> &Activity {
        &self.activity
    }

    fn send(&self, inbound: Inbound) -> Result<oneshot::Receiver<Response>, ClientError> {
        let permit = Arc::clone(&self.unanswered).try_acquire_owned();
        let permit = permit.map_err(|_| ClientError::TooMany { limit: UNANSWERED })?;
        let (reply, received) = oneshot::channel();
        let answer = Answer {
            action: inbound.request.action(),
            user: inbound.credentials.cid.clone(),
            reply,
            _permit: permit,
        };
        let sent = self.queue.send(Request { inbound, answer });
        sent.map_err(|_| ClientError::Closed)?;
        Ok(received)
    }
}

/// Frames as they arrive.
struct Frames<S> {
    stream: ReadHalf<S>,
    codec: ClientCodec,
    received: BytesMut,
    activity: Arc<Activity>,
}

impl<S: AsyncRead> Frames<S> {
    /// The next frame; `None` at the end of the stream.
    async fn next(&mut self) -> Result<Option<Outbound>, ConnectionError> {
        loop {
            if let Some(frame) = self.codec.decode(&mut self.received)? {
                return Ok(Some(frame));
            }
            self.received.reserve(READ_AT_ONCE);
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Ok(None);
            }
            self.activity.moved();
        }
    }
}

/// Waits for the welcome and starts the tasks.
pub(crate) async fn start<S>(stream: S) -> Result<(Requests, Events, Welcome), ConnectionError>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (stream, writer) = tokio::io::split(stream);
    let mut frames = Frames {
        stream,
        codec: ClientCodec::default(),
        received: BytesMut::new(),
        activity: Arc::default(),
    };
    let welcome = match frames.next().await {
        Ok(Some(Outbound::Event(Event::Welcome(welcome)))) => welcome,
        Err(ConnectionError::Io(error)) => return Err(error.into()),
        Ok(None) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        Ok(Some(_)) | Err(_) => return Err(ConnectionError::NotAMessenger),
    };
    // Both are bounded by the permits that requests hold.
    let (queue, queued) = mpsc::unbounded_channel();
    let (written, unanswered) = mpsc::unbounded_channel();
    let (sink, events) = events::channel();
    let requests = Requests {
        queue,
        unanswered: Arc::new(Semaphore::new(UNANSWERED)),
        ended: CancellationToken::new(),
        closing: CancellationToken::new(),
        activity: Arc::clone(&frames.activity),
    };
    let writing = write(
        writer,
        queued,
        written,
        sink.clone(),
        Arc::clone(&frames.activity),
    );
    let ended = requests.ended.clone();
    tokio::spawn(async move { ended.run_until_cancelled(writing).await });
    let ended = requests.ended.clone().drop_guard();
    let closing = requests.closing.clone();
    tokio::spawn(async move {
        let reading = read(frames, unanswered, sink.clone());
        if closing.run_until_cancelled(reading).await.is_none() {
            sink.end(EventsEnded::ClientDropped);
        }
        drop(ended);
    });
    Ok((requests, events, welcome))
}

/// Writes requests, together when several are there. Ends when there will be no more.
async fn write<S: AsyncWrite>(
    mut stream: WriteHalf<S>,
    mut queued: mpsc::UnboundedReceiver<Request>,
    written: mpsc::UnboundedSender<Answer>,
    sink: Sink,
    activity: Arc<Activity>,
) {
    let mut out = BytesMut::new();
    while let Some(Request { inbound, answer }) = queued.recv().await {
        // What goes wrong here, the reader sees too.
        if written.send(answer).is_err() {
            return;
        }
        inbound.encode(&mut out, Braces::Plain);
        let is_due = queued.is_empty() || out.len() >= WRITTEN_AT_ONCE;
        if is_due && send(&mut stream, &mut out, &activity).await.is_err() {
            return;
        }
    }
    sink.end(EventsEnded::ClientDropped);
    let _ = stream.shutdown().await;
}

async fn send<S: AsyncWrite>(
    stream: &mut WriteHalf<S>,
    out: &mut BytesMut,
    activity: &Activity,
) -> io::Result<()> {
    while out.has_remaining() {
        activity.set_unwritten(out.remaining());
        if stream.write_buf(out).await? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        activity.moved();
    }
    activity.set_unwritten(0);
    // The stream may have a buffer of its own.
    stream.flush().await
}

/// Reads answers and events until the connection ends.
async fn read<S: AsyncRead>(
    mut frames: Frames<S>,
    mut unanswered: mpsc::UnboundedReceiver<Answer>,
    sink: Sink,
) {
    let mut next = None;
    loop {
        let taken = match frames.next().await {
            Ok(None) => return sink.end(EventsEnded::Closed),
            Ok(Some(Outbound::Event(Event::Message(event)))) => sink.message(event),
            Ok(Some(Outbound::Response(response))) => {
                next = answer(next, response, &mut unanswered, &sink);
                Ok(())
            }
            Ok(Some(_)) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = taken {
            return sink.end(error.into());
        }
    }
}

/// Notes whose events follow.
fn note_user(answer: Option<&Answer>, response: &Response, sink: &Sink) {
    if let Response::Auth(Ok(accepted)) = response {
        sink.user(accepted.uid.clone());
    } else if let Some(answer) = answer
        && response.failure().is_none()
        && !answer.user.is_empty()
    {
        sink.user(answer.user.clone());
    }
}

/// Gives an answer to the request it belongs to. A request whose answer has not come is given back.
fn answer(
    next: Option<Answer>,
    response: Response,
    unanswered: &mut mpsc::UnboundedReceiver<Answer>,
    sink: &Sink,
) -> Option<Answer> {
    let next = next.or_else(|| unanswered.try_recv().ok());
    note_user(next.as_ref(), &response, sink);
    let next = next?;
    let to_any = matches!(response, Response::Unknown { .. });
    if next.action == response.action() || to_any {
        // Whoever asked may have given up waiting.
        let _ = next.reply.send(response);
        return None;
    }
    // Unasked: the `auth` reply that some servers send behind the one to `register`.
    Some(next)
}
