//! Whose a connection is.

use crate::clock::Timestamp;
use crate::meters::Meters;
use crate::notifier::{ConnectionId, Mailbox, Notice, Subscription};
use crate::online::{Entry, Online};
use crate::rates::Budget;
use crate::shared::Shared;
use crate::storage::Owner;
use crate::watermarks::{Device, Watermarks};
use bytestring::ByteString;
use messenger_proto::UserId;
use std::sync::Arc;

/// Whose a connection is, and through which of the user's sessions.
#[derive(Debug)]
pub(crate) struct Login {
    /// Tells the logins of a connection apart.
    pub(crate) number: u64,
    pub(crate) nick: ByteString,
    /// Its client says itself what it has processed.
    pub(crate) ack: bool,
    pub(crate) device: Arc<Device>,
    /// What the session may still send, on this connection or any other.
    pub(crate) budget: Arc<Budget>,
    pub(crate) mailbox: Mailbox,
    /// The session's watermark when the connection began.
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
    /// Its client says itself what it has processed.
    pub(crate) ack: bool,
}

impl Login {
    /// Subscribes the connection to what concerns its user.
    pub(crate) fn begin(shared: &Shared, connection: ConnectionId, who: Identified) -> Arc<Self> {
        let device = Arc::new(who.device);
        let budget = shared.policy.limits.mailbox_bytes;
        let mailbox = Mailbox::new(connection, device.user_number, device.key, budget);
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

    /// In whose name things are done.
    pub(crate) fn owner(&self) -> Owner {
        self.device.owner()
    }

    /// True when its client has asked for a feature that this engine knows: it is none of those that were there
    /// before features were.
    pub(crate) fn has_features(&self) -> bool {
        self.ack || self.device.is_ephemeral
    }

    /// Ends this connection's part in a session that is not there any more.
    pub(crate) fn end(&self) {
        self.mailbox.deliver(Notice::SessionEnded(self.device.key));
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
