//! Whose a connection is.

use crate::clock::Timestamp;
use crate::meters::Meters;
use crate::notifier::{ConnectionId, Mailbox, Subscription};
use crate::online::{Entry, Online};
use crate::rates::Budget;
use crate::shared::Shared;
use crate::watermarks::{Device, Watermarks};
use bytestring::ByteString;
use messenger_proto::{SessionId, UserId};
use std::sync::Arc;

/// Whose a connection is, and through which of the user's sessions.
#[derive(Debug)]
pub(crate) struct Login {
    /// Tells the logins of a connection apart.
    pub(crate) number: u64,
    pub(crate) nick: ByteString,
    pub(crate) sid: SessionId,
    /// Its client says itself what it has processed.
    pub(crate) ack: bool,
    pub(crate) device: Arc<Device>,
    /// What the session may still send, on this connection or any other.
    pub(crate) budget: Arc<Budget>,
    pub(crate) mailbox: Mailbox,
    /// The session's place in the inbox when the connection began.
    pub(crate) start: u64,
    pub(crate) entry: Arc<Entry>,
    watermarks: Arc<Watermarks>,
    online: Arc<Online>,
    meters: Arc<Meters>,
    subscription: Subscription,
}

/// A session that a connection becomes part of.
pub(crate) struct Identified {
    pub(crate) device: Device,
    pub(crate) nick: ByteString,
    /// Empty when nobody can come back to it.
    pub(crate) sid: SessionId,
    /// Its client says itself what it has processed.
    pub(crate) ack: bool,
}

impl Login {
    /// Subscribes the connection to what concerns its user.
    pub(crate) fn begin(shared: &Shared, connection: ConnectionId, who: Identified) -> Arc<Self> {
        let device = Arc::new(who.device);
        let mailbox = Mailbox::new(connection, device.key, shared.policy.limits.mailbox_bytes);
        let subscription = shared.notifier.subscribe(&device.user, mailbox.clone());
        let limiters = shared.limiters.as_ref();
        let budget = limiters.map(|limiters| limiters.messages_of(&device.key, shared.steady()));
        let number = shared.next_login();
        let entry = Arc::new(Entry::new(Arc::clone(&device), mailbox.clone()));
        shared.online.insert(number, Arc::clone(&entry));
        shared.meters.sessions.increment(1);
        Arc::new(Self {
            number,
            nick: who.nick,
            sid: who.sid,
            ack: who.ack,
            start: device.delivered_up_to(),
            device,
            budget: budget.unwrap_or_default(),
            mailbox,
            entry,
            watermarks: Arc::clone(&shared.watermarks),
            online: Arc::clone(&shared.online),
            meters: Arc::clone(&shared.meters),
            subscription,
        })
    }

    pub(crate) fn user(&self) -> &UserId {
        &self.device.user
    }

    /// True when it is known that the user is connected nowhere else.
    pub(crate) fn is_only(&self) -> bool {
        self.subscription.is_only()
    }

    pub(crate) fn touch(&self, now: Timestamp) {
        self.watermarks.used(&self.device, now);
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.online.remove(self.number);
        self.meters.sessions.decrement(1);
    }
}
