//! Notices as bytes, for a notifier across nodes.
//!
//! A version, for whom, the rest, and a sum of all that, in every version; so a node of an earlier version knows at
//! least who has to look into the store. Numbers are little-endian, and texts stand behind their lengths.

use super::{ConnectionId, Notice};
use crate::clock::Timestamp;
use crate::storage::{SessionKey, UserNumber};
use messenger_proto::{Attachment, Message, SharedMessage, UserId};
use sha2::{Digest, Sha256};

const VERSION: u8 = 2;

/// A message of more bytes is not carried along: its sequence number is, and whoever is told reads the store.
const CARRIED: usize = 4096;

/// How many bytes of a SHA-256 stand at the end.
const SUM: usize = 8;

const INBOX: u8 = 1;
const INBOX_PLACE: u8 = 2;
const COPY: u8 = 3;
const SESSION_ENDED: u8 = 4;
const USER_DELETED: u8 = 5;
const RESYNC: u8 = 6;

impl Notice {
    /// The notice for a user as bytes, to be [decoded](Self::decode) by another node: some 5 KiB at the most,
    /// but for a [copy](Self::Copy), which has all of its message.
    pub fn encode(&self, user: &UserId) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_text(&mut out, user.as_str());
        match self {
            Self::Inbox {
                to: UserNumber(to),
                seq,
                accepted,
                message,
            } => {
                let carried = message.as_ref().filter(|message| size(message) <= CARRIED);
                out.push(if carried.is_some() {
                    INBOX
                } else {
                    INBOX_PLACE
                });
                put_number(&mut out, *to);
                put_number(&mut out, *seq);
                put_number(&mut out, accepted.as_micros());
                if let Some(message) = carried {
                    put_message(&mut out, message);
                }
            }
            Self::Copy {
                from: UserNumber(from),
                origin,
                message,
            } => {
                out.push(COPY);
                put_number(&mut out, *from);
                put_number(&mut out, origin.engine);
                put_number(&mut out, origin.number);
                put_message(&mut out, message);
            }
            Self::SessionEnded(SessionKey(key)) => {
                out.push(SESSION_ENDED);
                out.extend_from_slice(key);
            }
            Self::UserDeleted => out.push(USER_DELETED),
            Self::Resync => out.push(RESYNC),
        }
        let sum = sum(&out);
        out.extend_from_slice(&sum);
        out
    }

    /// The notice that another node has encoded, and for whom. What this version does not know is a
    /// [look](Self::Resync) into the store.
    ///
    /// `None` when the bytes are no whole notice: it may have been for anybody, so that every
    /// [mailbox is to resync](super::Mailbox::resync). It takes no more memory than the bytes do.
    pub fn decode(bytes: &[u8]) -> Option<(UserId, Self)> {
        let (bytes, end) = bytes.split_last_chunk::<SUM>()?;
        if sum(bytes) != *end {
            return None;
        }
        let mut input = Input(bytes);
        let version = input.byte()?;
        let user = UserId::from(input.text()?);
        let known = match version {
            VERSION => input.notice().filter(|_| input.0.is_empty()),
            _ => None,
        };
        Some((user, known.unwrap_or(Self::Resync)))
    }
}

fn size(message: &Message) -> usize {
    let ids = [&message.from, &message.to].map(|user| user.as_str().len());
    message.size() + message.nick.len() + message.id.as_str().len() + ids.iter().sum::<usize>()
}

fn sum(bytes: &[u8]) -> [u8; SUM] {
    let mut sum = [0; SUM];
    for (byte, of_hash) in sum.iter_mut().zip(Sha256::digest(bytes)) {
        *byte = of_hash;
    }
    sum
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_message(out: &mut Vec<u8>, message: &Message) {
    put_text(out, message.from.as_str());
    put_text(out, &message.nick);
    put_text(out, message.body.as_str());
    put_number(out, message.time);
    put_text(out, &message.attach.mime);
    put_text(out, message.attach.data.as_str());
    put_text(out, message.to.as_str());
    put_text(out, message.id.as_str());
}

/// What is not yet decoded.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn notice(&mut self) -> Option<Notice> {
        Some(match self.byte()? {
            kind @ (INBOX | INBOX_PLACE) => Notice::Inbox {
                to: UserNumber(self.number()?),
                seq: self.number()?,
                accepted: Timestamp::from_micros(self.number()?),
                message: match kind {
                    INBOX => Some(self.message()?),
                    _ => None,
                },
            },
            COPY => Notice::Copy {
                from: UserNumber(self.number()?),
                origin: ConnectionId {
                    engine: self.number()?,
                    number: self.number()?,
                },
                message: self.message()?,
            },
            SESSION_ENDED => Notice::SessionEnded(SessionKey(self.bytes()?)),
            USER_DELETED => Notice::UserDeleted,
            _ => Notice::Resync,
        })
    }

    fn message(&mut self) -> Option<SharedMessage> {
        let mut message = Message::default();
        message.from = self.text()?.into();
        message.nick = self.text()?.into();
        message.body = self.text()?.into();
        message.time = self.number()?;
        message.attach = Attachment::new(self.text()?, self.text()?);
        message.to = self.text()?.into();
        message.id = self.text()?.into();
        Some(message.into())
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }
}
