//! What the server sends unasked: the welcome and messages.

use crate::attachment::Attachment;
use crate::write::{Escapes, digits, escaped, is_clean, key, object};
use crate::{MessageId, PrivateText, UserId};
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// From this many bytes of body and attachment on, receivers share the encoded bytes of a message.
/// Below it, copying them is cheaper than a piece of its own.
const SHARED_FROM: usize = 4 * 1024;

/// What stands around the texts in a message's frame up to its id, in bytes.
const BESIDE_TEXT: usize = 115;

/// Up to so many bytes of text a message is kept together with its encoding.
const KEPT_WHOLE: usize = 160;

/// What the server sends unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The first frame of every connection.
    Welcome(Welcome),
    /// A message for this user, or the sender's own copy of one.
    Message(EvMessage),
}

/// The greeting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Welcome {
    /// Text for a person.
    pub message: ByteString,
    /// The server's time, in whole seconds since the Unix epoch.
    pub time: u64,
}

impl Welcome {
    /// This greeting at this time.
    pub fn new(message: impl Into<ByteString>, time: u64) -> Self {
        Self {
            message: message.into(),
            time,
        }
    }
}

/// A message as it stands in an inbox (`ev_message`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EvMessage {
    /// Its sequence number in the recipient's inbox, from 1; `None` on the sender's own copy.
    pub seq: Option<u64>,
    /// The message, shared by all who are given it.
    pub message: SharedMessage,
}

impl EvMessage {
    /// A message with its sequence number in the recipient's inbox, or the sender's copy of one.
    pub fn new(seq: Option<u64>, message: impl Into<SharedMessage>) -> Self {
        Self {
            seq,
            message: message.into(),
        }
    }
}

/// A message, the same for all who are given it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The sender.
    pub from: UserId,
    /// The sender's nick.
    pub nick: ByteString,
    /// The text, empty when there is only an attachment.
    pub body: PrivateText,
    /// When the server accepted it, in whole seconds since the Unix epoch.
    pub time: u64,
    /// The attachment, empty when there is none.
    pub attach: Attachment,
    /// The recipient.
    pub to: UserId,
    /// Its id, the same in every copy.
    pub id: MessageId,
}

/// A [`Message`] that is cheap to clone and remembers its encoding.
#[derive(Clone)]
pub struct SharedMessage(Arc<Shared>);

struct Shared {
    message: Message,
    head: OnceLock<(Escapes, Head)>,
}

/// A frame without its last bytes. Long text that is written as it is stands in it as the message has
/// it.
struct Head {
    /// What is long enough to be shared.
    before: Vec<Bytes>,
    last: Bytes,
}

impl From<Message> for SharedMessage {
    #[inline]
    fn from(message: Message) -> Self {
        let head = OnceLock::new();
        Self(Arc::new(Shared { message, head }))
    }
}

impl SharedMessage {
    /// The message for whoever keeps it: without its encoding, which would take as much memory again, unless it is so short
    /// that a copy would cost more.
    pub fn to_kept(&self) -> Self {
        let Message {
            from, nick, to, id, ..
        } = &**self;
        let names = [from.as_str(), nick, to.as_str(), id.as_str()];
        let bytes = names.map(str::len).iter().sum::<usize>() + self.size();
        match bytes <= KEPT_WHOLE {
            true => self.clone(),
            false => Self::from((**self).clone()),
        }
    }

    /// The frame without its last bytes, encoded once; `None` when that was done with other escapes.
    fn head(&self, escapes: Escapes) -> Option<&Head> {
        let encode = || (escapes, Head::of(self, escapes));
        let (kept, head) = self.0.head.get_or_init(encode);
        (*kept == escapes).then_some(head)
    }
}

impl Head {
    fn of(message: &Message, escapes: Escapes) -> Self {
        Self::of_plain(message, escapes).unwrap_or_else(|| Self::of_any(message, escapes))
    }

    /// Most messages are short and have nothing to be escaped: these are put together in one step.
    fn of_plain(message: &Message, escapes: Escapes) -> Option<Self> {
        let Message {
            from,
            nick,
            body,
            time,
            attach,
            to,
            id,
        } = message;
        let (from, body, data) = (from.as_str(), body.as_str(), attach.data.as_str());
        let (to, id) = (to.as_str(), id.as_str());
        let texts = [from, nick, body, &attach.mime, data, to, id];
        let is_plain = |text: &&str| text.is_empty() || is_clean(text, escapes);
        if message.size() >= SHARED_FROM || !texts.iter().all(is_plain) {
            return None;
        }
        let mut digits = itoa::Buffer::new();
        let time = digits.format(*time);
        let text = texts.map(str::len).iter().sum::<usize>() + time.len();
        // As long as it gets to be: more would be one allocation more when it is shared.
        let mut frame = Vec::with_capacity(text + BESIDE_TEXT);
        let mut put = |before: &'static str, text: &str| {
            frame.extend_from_slice(before.as_bytes());
            frame.extend_from_slice(text.as_bytes());
        };
        put(r#"{"action":"ev_message","data":{"from":""#, from);
        put(r#"","nick":""#, nick);
        put(r#"","body":""#, body);
        put(r#"","time":"#, time);
        put(r#","attach":{"mime":""#, &attach.mime);
        put(r#"","data":""#, data);
        put(r#""},"to":""#, to);
        put(r#"","id":""#, id);
        put(r#"""#, "");
        let before = Vec::new();
        Some(Self {
            before,
            last: frame.into(),
        })
    }

    fn of_any(message: &Message, escapes: Escapes) -> Self {
        let mut head = Pieces {
            done: Vec::new(),
            out: BytesMut::with_capacity(message.size().min(SHARED_FROM) + 256),
            escapes,
        };
        // Keys are written together with what stands around them.
        head.text(
            r#"{"action":"ev_message","data":{"from":""#,
            message.from.as_str(),
        );
        head.text(r#"","nick":""#, &message.nick);
        head.shared_text(r#"","body":""#, &message.body);
        head.raw(r#"","time":"#);
        digits(&mut head.out, message.time);
        head.text(r#","attach":{"mime":""#, &message.attach.mime);
        head.shared_text(r#"","data":""#, &message.attach.data);
        head.text(r#""},"to":""#, message.to.as_str());
        head.text(r#"","id":""#, message.id.as_str());
        head.raw(r#"""#);
        head.end()
    }
}

/// A head being written.
struct Pieces {
    done: Vec<Bytes>,
    out: BytesMut,
    escapes: Escapes,
}

impl Pieces {
    /// Writes this as it is.
    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Writes what stands `before` a text as it is, and the text with its escapes.
    fn text(&mut self, before: &str, text: &str) {
        self.raw(before);
        escaped(&mut self.out, text, self.escapes);
    }

    /// The same; a long text that needs no escapes is a piece of its own.
    fn shared_text(&mut self, before: &str, text: &PrivateText) {
        if text.as_str().len() < SHARED_FROM || !is_clean(text.as_str(), self.escapes) {
            return self.text(before, text.as_str());
        }
        self.raw(before);
        self.done.push(self.out.split().freeze());
        self.done.push(text.as_text().as_bytes().clone());
    }

    fn end(mut self) -> Head {
        if self.out.len() >= SHARED_FROM {
            self.done.push(self.out.split().freeze());
        }
        Head {
            before: self.done,
            last: self.out.freeze(),
        }
    }
}

impl Deref for SharedMessage {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.0.message
    }
}

impl fmt::Debug for SharedMessage {
    /// Shows the message, whose body shows its length; the encoding has the body in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl PartialEq for SharedMessage {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SharedMessage {}

impl Message {
    /// A message of this user to that one, without text or attachment, accepted at this time.
    pub fn new(
        id: impl Into<MessageId>,
        from: impl Into<UserId>,
        to: impl Into<UserId>,
        time: u64,
    ) -> Self {
        Self {
            id: id.into(),
            from: from.into(),
            to: to.into(),
            time,
            ..Self::default()
        }
    }

    /// With the sender's nick.
    pub fn nick(mut self, nick: impl Into<ByteString>) -> Self {
        self.nick = nick.into();
        self
    }

    /// With this text.
    pub fn body(mut self, body: impl Into<PrivateText>) -> Self {
        self.body = body.into();
        self
    }

    /// With this attachment.
    #[inline]
    pub fn attach(mut self, attach: Attachment) -> Self {
        self.attach = attach;
        self
    }

    /// The bytes of body and attachment.
    pub fn size(&self) -> usize {
        self.body.as_str().len() + self.attach.mime.len() + self.attach.data.as_str().len()
    }
}

impl EvMessage {
    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut BytesMut, escapes: impl Into<Escapes>) {
        let escapes = escapes.into();
        self.encode_pieces(out, escapes, |out, piece| out.extend_from_slice(piece));
    }

    /// Appends the frame to `out`, except for long pieces, which all who are given the message share: each
    /// of them goes to `share`, and belongs right behind what is in `out` by then.
    pub fn encode_pieces(
        &self,
        out: &mut BytesMut,
        escapes: impl Into<Escapes>,
        mut share: impl FnMut(&mut BytesMut, &Bytes),
    ) {
        let escapes = escapes.into();
        let mut append = |head: &Head| {
            for piece in &head.before {
                share(out, piece);
            }
            out.extend_from_slice(&head.last);
        };
        match self.message.head(escapes) {
            Some(head) => append(head),
            None => append(&Head::of(&self.message, escapes)),
        }
        if let Some(seq) = self.seq {
            out.extend_from_slice(br#","seq":"#);
            digits(out, seq);
        }
        out.extend_from_slice(b"}}");
    }
}

impl Welcome {
    fn encode(&self, out: &mut BytesMut, escapes: Escapes) {
        object(out, escapes, |frame| {
            frame.text(key!("action"), "welcome");
            frame.text(key!("message"), &self.message);
            frame.number(key!("time"), self.time);
        });
    }
}

impl Event {
    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut BytesMut, escapes: impl Into<Escapes>) {
        let escapes = escapes.into();
        match self {
            Self::Welcome(welcome) => welcome.encode(out, escapes),
            Self::Message(message) => message.encode(out, escapes),
        }
    }
}
