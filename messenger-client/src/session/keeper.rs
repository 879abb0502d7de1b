//! The task that writes to the store: one thing after the other, whoever asked and has gone since.

use super::desk::Desk;
use crate::StateStore;
use bytes::{Bytes, BytesMut};
use messenger_proto::{Ack, Braces, Credentials, Inbound, Request, SendMessage, SessionId, UserId};
use std::io;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// The name of the session's own entry.
const SESSION: &str = "session";

/// The names of messages begin so; their numbers follow.
const MESSAGE: &str = "message-";

/// Told when something is in the store, or could not be written.
type Done = oneshot::Sender<Result<(), Arc<io::Error>>>;

/// Who the session is, and how far it is. It is kept as the request that resumes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) uid: UserId,
    /// Empty before the first log-in.
    pub(crate) sid: SessionId,
    /// The sequence number of the last message that the application has processed.
    pub(crate) processed: u64,
}

/// What an earlier run has left.
#[derive(Debug, Default)]
pub(crate) struct Left {
    pub(crate) record: Option<Record>,
    /// By number: the message, and its length as a frame.
    pub(crate) messages: Vec<(u64, SendMessage, usize)>,
}

/// An entry of the store that is none.
#[derive(Debug)]
pub(crate) struct Unreadable(pub(crate) String);

#[derive(Debug)]
enum Work {
    Record(Bytes, Done),
    Keep(u64, Bytes, Done),
    Forget(u64),
    ForgetRecord,
    /// Lets go of the store.
    Close(Done),
}

/// Takes what is to be written, in order. It is bounded by what the outbox holds, and by an application that processes one
/// message after the other.
#[derive(Debug)]
pub(crate) struct Keeper(mpsc::UnboundedSender<Work>);

impl Record {
    fn encode(&self) -> Bytes {
        let credentials = Credentials::new(self.uid.clone(), self.sid.clone());
        encode(&Inbound::new(Ack::new(self.processed)).credentials(credentials))
    }
}

pub(crate) fn encode(inbound: &Inbound) -> Bytes {
    let mut frame = BytesMut::new();
    inbound.encode(&mut frame, Braces::Plain);
    frame.freeze()
}

impl Left {
    pub(crate) fn read(entries: Vec<(String, Bytes)>) -> Result<Self, Unreadable> {
        let mut left = Self::default();
        for (name, value) in entries {
            left.read_entry(&name, value).ok_or(Unreadable(name))?;
        }
        left.messages.sort_by_key(|(number, ..)| *number);
        Ok(left)
    }

    fn read_entry(&mut self, name: &str, value: Bytes) -> Option<()> {
        let length = value.len();
        let Inbound {
            credentials,
            request,
            ..
        } = Inbound::decode(value).ok()?.ok()?;
        match (name.strip_prefix(MESSAGE), request) {
            (Some(number), Request::SendMessage(message)) => {
                self.messages.push((number.parse().ok()?, message, length));
            }
            (None, Request::Ack(ack)) if name == SESSION => {
                self.record = Some(Record {
                    uid: credentials.cid,
                    sid: credentials.sid,
                    processed: ack.seq,
                });
            }
            _ => return None,
        }
        Some(())
    }
}

impl Keeper {
    /// Starts the task, which ends when this is dropped or closed.
    pub(crate) fn start(store: Box<dyn StateStore>, desk: Arc<Desk>) -> Self {
        let (sender, work) = mpsc::unbounded_channel();
        tokio::spawn(keep(store, work, desk));
        Self(sender)
    }

    pub(crate) fn record(&self, record: &Record) -> oneshot::Receiver<Result<(), Arc<io::Error>>> {
        let (done, kept) = oneshot::channel();
        self.order(Work::Record(record.encode(), done));
        kept
    }

    pub(crate) fn keep(
        &self,
        number: u64,
        frame: Bytes,
    ) -> oneshot::Receiver<Result<(), Arc<io::Error>>> {
        let (done, kept) = oneshot::channel();
        self.order(Work::Keep(number, frame, done));
        kept
    }

    pub(crate) fn forget(&self, number: u64) {
        self.order(Work::Forget(number));
    }

    pub(crate) fn forget_record(&self) {
        self.order(Work::ForgetRecord);
    }

    pub(crate) fn close(&self) -> oneshot::Receiver<Result<(), Arc<io::Error>>> {
        let (done, closed) = oneshot::channel();
        self.order(Work::Close(done));
        closed
    }

    fn order(&self, work: Work) {
        // Behind `close` nothing is kept; whoever waits is told, because the other end of `done` is gone.
        let _ = self.0.send(work);
    }
}

async fn keep(
    mut store: Box<dyn StateStore>,
    mut work: mpsc::UnboundedReceiver<Work>,
    desk: Arc<Desk>,
) {
    while let Some(work) = work.recv().await {
        let (result, done) = match work {
            Work::Record(frame, done) => (store.put(SESSION, frame).await, Some(done)),
            Work::Keep(number, frame, done) => {
                let kept = store.put(&name(number), frame).await;
                desk.kept(number, kept.is_ok());
                let kept = kept.map_err(Arc::new);
                let _ = done.send(kept);
                continue;
            }
            Work::Forget(number) => (store.delete(&name(number)).await, None),
            Work::ForgetRecord => (store.delete(SESSION).await, None),
            Work::Close(done) => {
                drop(store);
                let _ = done.send(Ok(()));
                return;
            }
        };
        let result = result.map_err(Arc::new);
        if let Err(error) = &result {
            desk.fail(Arc::clone(error));
        }
        if let Some(done) = done {
            // Whoever asked may have gone.
            let _ = done.send(result);
        }
    }
}

fn name(number: u64) -> String {
    format!("{MESSAGE}{number:020}")
}
