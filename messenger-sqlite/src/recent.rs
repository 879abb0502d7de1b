//! What has just come, for those who read.

use crate::arrivals::Arrival;
use crate::sql::user_number;
use messenger_core::proto::{SharedMessage, UserId};
use messenger_core::storage::UserNumber;
use rusqlite::Connection;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The messages in `arrivals`, as they were committed last. All who have it share it.
///
/// It is to be looked at before the tables: a message that is no longer here is then found there, if it is kept.
#[derive(Clone, Default)]
pub(crate) struct Recent(Arc<Mutex<HashMap<UserId, Inbox>>>);

/// Those of an inbox.
struct Inbox {
    owner: UserNumber,
    messages: VecDeque<(i64, SharedMessage)>,
}

/// What a transaction changes in it.
#[derive(Debug)]
pub(crate) enum Change {
    /// One more has come.
    Came {
        owner: UserNumber,
        seq: i64,
        message: SharedMessage,
    },
    /// Of this inbox none is here any more up to this sequence number.
    Gone { user: UserId, up_to: i64 },
}

/// What was here for somebody, who may have been deleted since by another process.
pub(crate) struct Found {
    owner: UserNumber,
    pub(crate) messages: Vec<(i64, SharedMessage)>,
}

impl Recent {
    /// To be called once that is committed.
    pub(crate) fn change(&self, changes: impl IntoIterator<Item = Change>) {
        let mut inboxes = self.lock();
        for change in changes {
            match change {
                Change::Came {
                    owner,
                    seq,
                    message,
                } => match inboxes.get_mut(&message.to) {
                    Some(inbox) => inbox.messages.push_back((seq, message)),
                    None => {
                        // Its own text: this one may share a whole frame's bytes.
                        let user = message.to.as_str().into();
                        let messages = VecDeque::from([(seq, message)]);
                        inboxes.insert(user, Inbox { owner, messages });
                    }
                },
                Change::Gone { user, up_to } => {
                    if let Some(inbox) = inboxes.get_mut(&user) {
                        let gone = inbox.messages.partition_point(|(seq, _)| *seq <= up_to);
                        inbox.messages.drain(..gone);
                        if inbox.messages.is_empty() {
                            inboxes.remove(&user);
                        }
                    }
                }
            }
        }
    }

    /// Has these alone.
    pub(crate) fn replace<'a>(
        &self,
        inboxes: impl Iterator<Item = (&'a UserId, UserNumber, &'a VecDeque<Arrival>)>,
    ) {
        let anew = inboxes.map(|(user, owner, arrived)| {
            let messages = arrived.iter().map(|one| (one.seq, one.message.clone()));
            let messages = messages.collect();
            (user.clone(), Inbox { owner, messages })
        });
        *self.lock() = anew.collect();
    }

    /// So many behind a sequence number at the most; `None` when there are none.
    pub(crate) fn of(&self, user: &UserId, after: i64, most: usize) -> Option<Found> {
        let inboxes = self.lock();
        let inbox = inboxes.get(user)?;
        let from = inbox.messages.partition_point(|(seq, _)| *seq <= after);
        let messages: Vec<_> = inbox.messages.range(from..).take(most).cloned().collect();
        let owner = inbox.owner;
        (!messages.is_empty()).then_some(Found { owner, messages })
    }

    /// The sequence number of the newest for somebody, and for whom it is.
    pub(crate) fn newest(&self, user: &UserId) -> Option<(UserNumber, i64)> {
        let inboxes = self.lock();
        let inbox = inboxes.get(user)?;
        let (seq, _) = inbox.messages.back()?;
        Some((inbox.owner, *seq))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, Inbox>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    /// True while they are the user's, and not those of another one who had the login before.
    pub(crate) fn is_of(&self, connection: &Connection, user: &UserId) -> rusqlite::Result<bool> {
        Ok(user_number(connection, user)? == Some(self.owner))
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").finish_non_exhaustive()
    }
}
