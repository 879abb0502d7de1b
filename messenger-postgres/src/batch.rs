//! A batch of messages, as `append_v1` takes it and tells what became of it.
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

/// It waits for no inbox that another has locked.
pub(crate) const APPEND: &str = "SELECT nos, bases, kinds, seqs, dropped, ids, times FROM append_v1(
    $1, $2, $3, false, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)";

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
        let messages = || new().map(|new| &*new.message);
        let senders = new().filter_map(|new| new.sender);
        let senders: BTreeSet<UserNumber> = senders.collect();
        let with_mids = new().any(|new| new.mid.is_some());
        let mids = || new().filter(move |_| with_mids);
        lane.texts(recipients().map(|recipient| recipient.login))
            .numbers(recipients().map(|recipient| recipient.messages))
            .numbers(recipients().map(|recipient| recipient.bytes))
            .numbers(recipients().map(|recipient| recipient.time))
            .numbers(recipients().map(|recipient| recipient.most))
            .numbers(recipients().map(|recipient| recipient.most_bytes))
            .numbers(senders.into_iter().map(|UserNumber(number)| number))
            .small_numbers(self.places.iter().map(|(recipient, _)| *recipient))
            .small_numbers(self.places.iter().map(|(_, place)| *place))
            .optional_numbers(new().map(|new| new.sender.map(|UserNumber(number)| number)))
            .texts(messages().map(|message| message.from.as_str()))
            .texts(messages().map(|message| &*message.nick))
            .texts(messages().map(|message| message.id.as_str()))
            .numbers(messages().map(|message| message.time))
            .texts(messages().map(|message| message.body.as_str()))
            .texts(messages().map(|message| &*message.attach.mime))
            .texts(messages().map(|message| message.attach.data.as_str()))
            .numbers(messages().map(Message::size))
            .optional_texts(mids().map(|new| new.mid.as_deref()))
            .optional_bytes(mids().map(|new| new.mid.as_ref().map(|_| new.digest())))
            .times(mids().map(|new| new.mid_forgotten_before))
            .times(mids().map(|new| new.now))
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
                (0.., _) => Ok(Some(Ok(Appended::Stored {
                    seq: unsigned(base) + *place as u64,
                    recipient,
                    dropped: 0,
                }))),
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
            Some(0) => Ok(Appended::Stored {
                seq: number(&self.seqs),
                recipient,
                dropped: number(&self.dropped),
            }),
            Some(1) => {
                let id = self.ids.get(n).cloned().flatten().unwrap_or_default();
                let time = self.times.get(n).copied().flatten();
                Ok(Appended::Duplicate {
                    id: unescape(id).into(),
                    time: time.map_or(0, unsigned),
                })
            }
            Some(2) => Err(AppendError::NoSuchUser),
            Some(3) => Err(AppendError::NoSuchSender),
            Some(4) => Err(AppendError::InboxFull),
            Some(5) => Err(AppendError::MidReused),
            other => return Err(StorageError::new(format!("a message came to {other:?}"))),
        })
    }
}
