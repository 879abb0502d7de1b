//! One user.

use super::inbox::Inbox;
use crate::clock::Timestamp;
use crate::storage::{
    AddContactError, Expiry, Look, NewSession, OpenedSession, Seen, SessionKey, SessionRecord,
    UserData, UserNumber, Watermark,
};
use bytestring::ByteString;
use messenger_proto::{Card, Profile, UserId};
use std::collections::HashMap;

#[derive(Default)]
pub(super) struct User {
    pub(super) number: UserNumber,
    pub(super) pass_hash: Option<String>,
    pub(super) profile: Profile,
    pub(super) email_key: Option<String>,
    pub(super) phone_key: Option<String>,
    pub(super) contacts: Vec<UserId>,
    /// Under which of this user's own ids an import found others.
    myids: HashMap<UserId, ByteString>,
    /// How often all ephemeral sessions were ended.
    pub(super) ephemeral_ended: u64,
    /// In the order they began.
    sessions: Vec<(SessionKey, SessionRecord)>,
    pub(super) inbox: Inbox,
}

impl User {
    pub(super) fn new(number: UserNumber, nick: ByteString, pass_hash: Option<String>) -> Self {
        let mut user = Self {
            number,
            pass_hash,
            ..Self::default()
        };
        user.profile.nick = nick;
        user
    }

    pub(super) fn card(&self, uid: &UserId) -> Card {
        Card::new(uid.clone(), self.profile.nick.clone())
            .email(self.profile.email.clone())
            .phone(self.profile.phone.clone())
            .picture(self.profile.picture.clone())
    }

    /// All but the contacts' cards, which are not kept here.
    pub(super) fn data(&self) -> UserData {
        let remembered = self.myids.iter();
        UserData {
            has_account: self.pass_hash.is_some(),
            profile: self.profile.clone(),
            contacts: Vec::new(),
            remembered: remembered
                .map(|(user, myid)| (user.clone(), myid.clone()))
                .collect(),
            sessions: self.sessions.clone(),
            newest: self.inbox.newest(),
        }
    }

    /// Another user is no more.
    pub(super) fn forget(&mut self, other: &UserId) {
        self.contacts.retain(|contact| contact != other);
        self.myids.remove(other);
    }

    pub(super) fn contacts_with_ids(&self) -> Vec<(UserId, ByteString)> {
        let contacts = self.contacts.iter();
        contacts
            .map(|uid| {
                let myid = self.myids.get(uid).cloned().unwrap_or_default();
                (uid.clone(), myid)
            })
            .collect()
    }

    pub(super) fn add_contact(&mut self, uid: UserId, limit: usize) -> Result<(), AddContactError> {
        if self.contacts.contains(&uid) {
            return Err(AddContactError::AlreadyThere);
        }
        if self.contacts.len() >= limit {
            return Err(AddContactError::Full);
        }
        self.contacts.push(uid);
        Ok(())
    }

    pub(super) fn remember(&mut self, uid: UserId, myid: ByteString, limit: usize) {
        if self.myids.len() < limit || self.myids.contains_key(&uid) {
            self.myids.insert(uid, myid);
        }
    }

    pub(super) fn open_session(&mut self, new: &NewSession) -> OpenedSession {
        self.drop_expired(new.expired_before);
        let mut ended = Vec::new();
        while self.sessions.len() >= new.limit.max(1) {
            let oldest = self.sessions.iter().min_by_key(|(_, record)| record.used);
            let Some((key, _)) = oldest.copied() else {
                break;
            };
            self.end_session(&key);
            ended.push(key);
        }
        let delivered_up_to = self.inbox.delivered_up_to();
        let record = SessionRecord {
            user_number: self.number,
            delivered_up_to,
            ack: new.ack,
            used: new.now,
        };
        self.sessions.push((new.key, record));
        OpenedSession {
            delivered_up_to,
            ended,
        }
    }

    pub(super) fn session(&self, key: &SessionKey) -> Option<&SessionRecord> {
        let mut sessions = self.sessions.iter();
        sessions.find_map(|(own, record)| (own == key).then_some(record))
    }

    /// Whether the session is there, or if none is named, whether ephemeral ones were not ended since.
    pub(super) fn see(&self, look: &Look) -> Seen {
        let is_there = match &look.session {
            Some(key) => self.session(key).is_some(),
            None => self.ephemeral_ended == look.ephemeral_ended,
        };
        if !is_there {
            return Seen::Ended;
        }
        Seen::There {
            newest: self.inbox.newest(),
        }
    }

    pub(super) fn end_session(&mut self, key: &SessionKey) {
        self.sessions.retain(|(own, _)| own != key);
    }

    pub(super) fn advance(&mut self, mark: &Watermark) {
        let newest = self.inbox.newest();
        let mut sessions = self.sessions.iter_mut();
        let Some((_, record)) = sessions.find(|(key, _)| *key == mark.session) else {
            return;
        };
        record.delivered_up_to = record.delivered_up_to.max(mark.delivered_up_to.min(newest));
        record.used = record.used.max(mark.used);
        self.inbox.advance(record.delivered_up_to);
        self.prune();
    }

    pub(super) fn purge_expired(&mut self, expiry: &Expiry) {
        for (_, record) in &mut self.sessions {
            record.used = record.used.min(expiry.now);
        }
        self.drop_expired(expiry.sessions_before);
        self.inbox.drop_older(expiry.messages_before.as_secs());
        self.prune();
    }

    fn drop_expired(&mut self, before: Timestamp) {
        self.sessions.retain(|(_, record)| record.used >= before);
    }

    /// Drops what is delivered to every session.
    fn prune(&mut self) {
        let sessions = self.sessions.iter();
        let slowest = sessions.map(|(_, record)| record.delivered_up_to).min();
        self.inbox
            .prune(slowest.unwrap_or(self.inbox.delivered_up_to()));
    }
}
