//! What a session does while it has a connection.

use super::outbox::Outcome;
use super::state::{Interruption, Stop, is_passing};
use super::worker::{Backoff, Worker, closed};
use super::{RefusedMessage, SessionEvent};
use crate::limits::SILENCE;
use crate::{Client, ClientError, Event, Events, EventsEnded, SessionEnd};
use messenger_proto::{ErrorCode, EvMessage};
use std::future::pending;
use tokio::sync::mpsc::OwnedPermit;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

#[derive(Debug)]
pub(crate) struct Online<'w> {
    worker: &'w mut Worker,
    client: Client,
    /// `None` once the application takes no events any more.
    events: Option<Events>,
    /// Room for one event more.
    room: Option<OwnedPermit<SessionEvent>>,
    /// What waits for its answer.
    answers: JoinSet<Answer>,
    ack_is_on_its_way: bool,
    /// What the server knows to be processed.
    acknowledged: u64,
    /// When something was last sent.
    sent: Instant,
    /// The server has asked to try later.
    held_until: Option<Instant>,
    backoff: Backoff,
}

#[derive(Debug)]
enum Answer {
    Ack(u64, Result<(), ClientError>),
    Message(u64, Result<messenger_proto::MessageAccepted, ClientError>),
}

impl<'w> Online<'w> {
    pub(crate) fn new(worker: &'w mut Worker, client: Client, events: Events) -> Self {
        let acknowledged = worker.shared.record.lock().processed;
        Self {
            worker,
            client,
            events: Some(events),
            room: None,
            answers: JoinSet::new(),
            ack_is_on_its_way: false,
            acknowledged,
            sent: Instant::now(),
            held_until: None,
            backoff: Backoff::new(),
        }
    }

    /// Works until the connection ends.
    pub(crate) async fn run(mut self) -> Stop {
        loop {
            if let Err(stop) = self.step().await {
                return stop;
            }
        }
    }

    async fn step(&mut self) -> Result<(), Stop> {
        if let Some(error) = self.worker.shared.desk.failure() {
            return Err(SessionEnd::Store(error).into());
        }
        self.held_until = self.held_until.filter(|held| *held > Instant::now());
        if self.held_until.is_none() {
            self.send();
        }
        if let Some(room) = self.room.take() {
            self.has_room(room);
        }
        let wake = self.next_look();
        let takes_events = self.events.is_some();
        tokio::select! {
            biased;
            Some(answer) = self.answers.join_next() => self.answered(answer),
            () = self.worker.shared.desk.changed.notified() => Ok(()),
            room = self.worker.events.clone().reserve_owned(), if takes_events && self.room.is_none() => {
                match room {
                    Ok(room) => self.has_room(room),
                    Err(_) => self.events = None,
                }
                Ok(())
            }
            event = next(&mut self.events), if self.room.is_some() => self.event(event),
            () = self.client.closed() => Err(self.why_closed().await),
            () = sleep_until(wake) => self.look(),
        }
    }

    /// Begins what can be begun: one acknowledgement, and messages.
    fn send(&mut self) {
        let processed = self.worker.shared.record.lock().processed;
        if processed > self.acknowledged && !self.ack_is_on_its_way {
            self.ack(processed);
        }
        let due = self.worker.shared.desk.outbox.lock().take_due();
        for (number, message) in due {
            let client = self.client.clone();
            self.sent = Instant::now();
            self.answers
                .spawn(async move { Answer::Message(number, client.send_message(message).await) });
        }
    }

    fn ack(&mut self, seq: u64) {
        let client = self.client.clone();
        self.ack_is_on_its_way = true;
        self.sent = Instant::now();
        self.answers
            .spawn(async move { Answer::Ack(seq, client.ack(seq).await) });
    }

    fn answered(&mut self, answer: Result<Answer, JoinError>) -> Result<(), Stop> {
        match answer {
            Ok(Answer::Ack(seq, result)) => {
                self.ack_is_on_its_way = false;
                match result {
                    Ok(()) => self.acknowledged = self.acknowledged.max(seq),
                    Err(ClientError::Refused(failure)) if is_passing(&failure) => self.hold(),
                    // Only a log-in tells what this means.
                    Err(_) => return Err(closed()),
                }
                Ok(())
            }
            Ok(Answer::Message(number, Ok(accepted))) => {
                self.backoff = Backoff::new();
                self.finished(number, Ok(accepted));
                Ok(())
            }
            Ok(Answer::Message(number, Err(ClientError::Refused(failure)))) => {
                match failure.code {
                    ErrorCode::NeedAuth => return Err(Interruption::SessionEnded.into()),
                    _ if is_passing(&failure) => {
                        self.worker.shared.desk.outbox.lock().wait(number);
                        self.hold();
                    }
                    _ => self.finished(number, Err(failure)),
                }
                Ok(())
            }
            // The connection's end tells why.
            Ok(Answer::Message(_, Err(ClientError::Closed))) => Ok(()),
            Ok(Answer::Message(..)) | Err(_) => Err(closed()),
        }
    }

    /// A message needs no more sending.
    fn finished(&self, number: u64, outcome: Outcome) {
        let shared = &self.worker.shared;
        let mut outbox = shared.desk.outbox.lock();
        let is_told = match outcome {
            Ok(accepted) => {
                outbox.accepted(number, accepted);
                true
            }
            Err(failure) => outbox.refuse(number, failure),
        };
        if is_told {
            shared.keeper.forget(number);
        }
    }

    fn hold(&mut self) {
        self.held_until = Some(Instant::now() + self.backoff.next());
    }

    /// There is room for an event: a refusal that nobody was told comes first.
    fn has_room(&mut self, room: OwnedPermit<SessionEvent>) {
        let shared = &self.worker.shared;
        let mut outbox = shared.desk.outbox.lock();
        let Some((number, message, failure)) = outbox.refused() else {
            drop(outbox);
            self.room = Some(room);
            return;
        };
        outbox.remove(number);
        room.send(SessionEvent::Refused(RefusedMessage { message, failure }));
        shared.keeper.forget(number);
    }

    fn event(&mut self, event: Result<Event, EventsEnded>) -> Result<(), Stop> {
        let Event::Message(message) = event.map_err(Interruption::Ended)?;
        if self.is_new(&message)
            && let Some(room) = self.room.take()
        {
            room.send(SessionEvent::Message(message));
        }
        Ok(())
    }

    fn is_new(&mut self, event: &EvMessage) -> bool {
        let worker = &mut self.worker;
        match event.seq {
            Some(seq) if seq <= worker.received => false,
            Some(seq) => {
                worker.received = seq;
                true
            }
            None => worker.copies.is_new(&event.message.id),
        }
    }

    /// Why the connection has ended, said behind the events that had no room. They come again.
    async fn why_closed(&mut self) -> Stop {
        let Some(mut events) = self.events.take() else {
            return closed();
        };
        loop {
            if let Err(why) = events.next().await {
                return Interruption::Ended(why).into();
            }
        }
    }

    /// When there is something to look at though nothing has come.
    fn next_look(&self) -> Instant {
        let silence = self.quiet_since() + SILENCE;
        self.held_until.map_or(silence, |held| held.min(silence))
    }

    fn quiet_since(&self) -> Instant {
        let moved = self.client.activity().last();
        if self.answers.is_empty() {
            moved
        } else {
            moved.max(self.sent)
        }
    }

    fn look(&mut self) -> Result<(), Stop> {
        if Instant::now() < self.quiet_since() + SILENCE {
            return Ok(());
        }
        if !self.answers.is_empty() {
            return Err(Interruption::Silent.into());
        }
        // It changes nothing, and is answered.
        let processed = self.worker.shared.record.lock().processed;
        self.ack(processed);
        Ok(())
    }
}

async fn next(events: &mut Option<Events>) -> Result<Event, EventsEnded> {
    match events {
        Some(events) => events.next().await,
        None => pending().await,
    }
}
