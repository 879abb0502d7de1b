//! A batch of messages, as `append_v2` takes it and tells what became of it.
//!
//! It is said once for each recipient how many messages come, and for each message which of its recipient's it is: where
//! all can be stored, the database needs to know no more to number them.

use crate::params::Params;
use crate::row::{Columns, unsigned};
use crate::text::unescape;
use messenger_core::proto::Message;
use messenger_core::storage::{AppendError, Appended, NewMessage, StorageError, UserNumber};
use std::collections::{BTreeSet, HashMap};
use tokio_postgres::Row;

pub(crate) const APPEND: &str = "SELECT nos, bases, kinds, seqs, dropped, ids, times
    FROM append_v2($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

/// What a message came to; `None` when another had its inbox locked, and nothing was done.
pub(crate) type Outcome = Option<Result<Appended, AppendError>>;

pub(crate) struct Batch<'a> {
    messages: Vec<&'a NewMessage>,
    recipients: Vec<Recipient<'a>>,
    /// For each message its recipient, and which of the recipient's it is; both count from 1.
    places: Vec<(usize, usize)>,
}

/// What comes to an inbox.
struct Recipient<'a> {
    login: &'a str,
    messages: usize,
    bytes: usize,
    /// When the first was accepted.
    time: u64,
    /// What the inbox holds.
    most: u64,
    most_bytes: u64,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(messages: impl Iterator<Item = &'a NewMessage>) -> Self {
        let mut batch = Self {
            messages: messages.collect(),
            recipients: Vec::new(),
            places: Vec::new(),
        };
        let mut known = HashMap::new();
        for new in &batch.messages {
            let login = new.message.to.as_str();
            let number = *known.entry(login).or_insert_with(|| {
                batch.recipients.push(Recipient::new(login, new));
                batch.recipients.len()
            });
            if let Some(recipient) = batch.recipients.get_mut(number - 1) {
                batch.places.push((number, recipient.add(new)));
            }
        }
        batch
    }

    /// The parameters, behind those of the lane.
    pub(crate) fn params(&self, lane: Params<'a>) -> Params<'a> {
        let recipients = || self.recipients.iter();
        let new = || self.messages.iter().copied();
        let senders = new().filter_map(|new| new.sender);
        let senders: BTreeSet<UserNumber> = senders.collect();
        let numbers = new().zip(&self.places);
        let with_mids = new().any(|new| new.mid.is_some());
        let mids = || new().filter(move |_| with_mids);
        lane.texts(recipients().map(|recipient| recipient.login))
            .numbers(recipients().flat_map(Recipient::numbers))
            .numbers(senders.into_iter().map(|UserNumber(number)| number))
            .numbers(numbers.flat_map(|(new, place)| numbers_of(new, *place)))
            .texts(new().flat_map(|new| texts_of(&new.message)))
            .optional_texts(mids().map(|new| new.mid.as_deref()))
            .optional_bytes(mids().map(|new| new.mid.as_ref().map(|_| new.digest())))
    }

    /// Reads what each came to from the columns nos, bases, kinds, seqs, dropped, ids, times.
    pub(crate) fn outcomes(&self, row: &Row) -> Result<Vec<Outcome>, StorageError> {
        let (numbers, bases): (Vec<i64>, Vec<i64>) = (row.value(0)?, row.value(1)?);
        let alone = match row.value::<Option<Vec<i16>>>(2)? {
            Some(kinds) => Some(Alone::read(kinds, row)?),
            None => None,
        };
        let outcomes = self.places.iter().enumerate().map(|(n, (number, place))| {
            let of = |values: &[i64]| values.get(number - 1).copied();
            let (Some(recipient), Some(base)) = (of(&numbers), of(&bases)) else {
                return Err(StorageError::new("the database has told of other messages"));
            };
            let recipient = UserNumber(unsigned(recipient));
            match (base, &alone) {
                (0.., _) => {
                    let seq = unsigned(base) + *place as u64;
                    Ok(Some(Ok(Appended::stored(seq, recipient))))
                }
                (-2, _) => Ok(None),
                (_, Some(alone)) => alone.outcome(n, recipient).map(Some),
                (_, None) => Err(StorageError::new(
                    "the database has told nothing of a message",
                )),
            }
        });
        outcomes.collect()
    }
}

impl<'a> Recipient<'a> {
    fn new(login: &'a str, first: &NewMessage) -> Self {
        Self {
            login,
            messages: 0,
            bytes: 0,
            time: first.message.time,
            most: u64::MAX,
            most_bytes: u64::MAX,
        }
    }

    /// Counts a message in, and says which of the recipient's it is.
    fn add(&mut self, new: &NewMessage) -> usize {
        self.messages += 1;
        self.bytes += new.message.size();
        self.most = self.most.min(new.limits.messages);
        self.most_bytes = self.most_bytes.min(new.limits.bytes);
        self.messages
    }

    /// As `coming_v2` reads them.
    fn numbers(&self) -> [u64; 5] {
        let (messages, bytes) = (self.messages as u64, self.bytes as u64);
        [messages, bytes, self.time, self.most, self.most_bytes]
    }
}

/// A message's numbers, as `messages_of_v2` reads them.
fn numbers_of(new: &NewMessage, (recipient, place): (usize, usize)) -> [u64; 7] {
    [
        recipient as u64,
        place as u64,
        // Users' numbers begin with 1.
        new.sender.map_or(0, |UserNumber(number)| number),
        new.message.size() as u64,
        new.message.time,
        new.mid_forgotten_before.as_micros(),
        new.now.as_micros(),
    ]
}

/// A message's texts, as `messages_of_v2` reads them.
fn texts_of(message: &Message) -> [&str; 6] {
    let attach = &message.attach;
    [
        message.from.as_str(),
        &message.nick,
        message.id.as_str(),
        message.body.as_str(),
        &attach.mime,
        attach.data.as_str(),
    ]
}

/// What became of messages that were looked at one by one.
struct Alone {
    kinds: Vec<i16>,
    seqs: Vec<i64>,
    dropped: Vec<i64>,
    ids: Vec<Option<String>>,
    times: Vec<Option<i64>>,
}

impl Alone {
    fn read(kinds: Vec<i16>, row: &Row) -> Result<Self, StorageError> {
        Ok(Self {
            kinds,
            seqs: row.value(3)?,
            dropped: row.value(4)?,
            ids: row.value(5)?,
            times: row.value(6)?,
        })
    }

    fn outcome(
        &self,
        n: usize,
        recipient: UserNumber,
    ) -> Result<Result<Appended, AppendError>, StorageError> {
        let number = |numbers: &[i64]| numbers.get(n).map_or(0, |number| unsigned(*number));
        Ok(match self.kinds.get(n) {
            Some(0) => {
                let stored = Appended::stored(number(&self.seqs), recipient);
                Ok(stored.dropped(number(&self.dropped)))
            }
            Some(1) => {
                let id = self.ids.get(n).cloned().flatten().unwrap_or_default();
                let time = self.times.get(n).copied().flatten();
                Ok(Appended::duplicate(unescape(id), time.map_or(0, unsigned)))
            }
            Some(2) => Err(AppendError::NoSuchUser),
            Some(3) => Err(AppendError::NoSuchSender),
            Some(4) => Err(AppendError::InboxFull),
            Some(5) => Err(AppendError::MidReused),
            other => return Err(StorageError::new(format!("a message came to {other:?}"))),
        })
    }
}
