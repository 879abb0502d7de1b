//! What is shown unasked.

use super::Chat;
use crate::screen::Screen;
use crate::{because, files, safe};
use bytesize::ByteSize;
use messenger_client::proto::{EvMessage, MessageAccepted, UserId};
use messenger_client::{ConnectionState, SendError, SessionEvent};

impl Chat {
    pub(super) fn show_event(&mut self, event: SessionEvent, screen: &Screen) {
        match event {
            SessionEvent::Message(message) => self.show_message(&message, screen),
            SessionEvent::Refused(refused) => {
                let to = safe::line(refused.message.uid.as_str());
                let text = safe::text(refused.message.body.as_str());
                let why = safe::line(&refused.failure.text);
                let sentence = format!("Not delivered to {to}: {why}. It was: {text}");
                screen.show(self.paint.trouble(sentence));
            }
            _ => {}
        }
    }

    fn show_message(&mut self, event: &EvMessage, screen: &Screen) {
        let message = &event.message;
        let is_own = message.from == self.login && event.seq.is_none();
        if is_own && self.was_typed_here(&message.to, message.body.as_str()) {
            return;
        }
        let name = if is_own {
            format!("you to {}", safe::name(message.to.as_str()))
        } else {
            self.note_unread(&message.from);
            let from = safe::name(message.from.as_str());
            format!("{} ({from})", safe::name(&message.nick))
        };
        let (mime, file) = files::parts(&message.attach.mime);
        let body = match message.body.as_str() {
            "" => safe::line(file.unwrap_or_default()),
            body => safe::text(body),
        };
        let mut text = format!("{}: {body}", self.paint.name(name));
        if !message.attach.is_empty() {
            let number = self.received.keep(message);
            let mime = safe::line(mime);
            let size = ByteSize(message.attach.data.as_str().len() as u64 / 4 * 3);
            let note = format!("[{mime}, {size}; /save {number}]");
            if !body.is_empty() {
                text.push(' ');
            }
            text.push_str(&self.paint.new_thing(note));
        }
        screen.show(text);
    }

    fn note_unread(&mut self, from: &UserId) {
        if self.peer.as_ref() != Some(from) && *from != self.login {
            self.unread.came_from(from);
        }
    }

    /// Whether an own copy is of what stands on the screen already.
    fn was_typed_here(&mut self, to: &UserId, body: &str) -> bool {
        let is_it = |(recipient, text): &(UserId, String)| recipient == to && text == body;
        let place = self.typed_here.iter().position(is_it);
        place.is_some_and(|place| self.typed_here.remove(place).is_some())
    }

    pub(super) fn show_outcome(
        &self,
        to: &UserId,
        outcome: Result<MessageAccepted, SendError>,
        screen: &Screen,
    ) {
        let Err(error) = outcome else { return };
        let sentence = format!(
            "Not delivered to {}: {}.",
            safe::line(to.as_str()),
            because(&error)
        );
        screen.show(self.paint.trouble(sentence));
    }

    pub(super) fn show_state(&mut self, state: ConnectionState, screen: &Screen) {
        match state {
            ConnectionState::Online if !self.is_online => {
                self.is_online = true;
                screen.show(self.paint.note("Connected again."));
            }
            ConnectionState::Offline { why, .. } if self.is_online => {
                self.is_online = false;
                let sentence = format!(
                    "The connection is lost ({}). It is tried again.",
                    because(&why)
                );
                screen.show(self.paint.note(sentence));
            }
            _ => {}
        }
    }
}
