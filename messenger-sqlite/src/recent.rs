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
pub(crate) struct Recent(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    inboxes: HashMap<UserId, Inbox>,
    /// The number of the newest row whose messages were told of.
    row: i64,
}

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
    owner: Option<UserNumber>,
    messages: Vec<(i64, SharedMessage)>,
    /// What came in later rows is not among it.
    pub(crate) row: i64,
}

impl Recent {
    /// To be called once that is committed, with the number of the newest row.
    pub(crate) fn change(&self, row: i64, changes: impl IntoIterator<Item = Change>) {
        let mut known = self.lock();
        known.row = row;
        let inboxes = &mut known.inboxes;
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
        row: i64,
        inboxes: impl Iterator<Item = (&'a UserId, UserNumber, &'a VecDeque<Arrival>)>,
    ) {
        let anew = inboxes.map(|(user, owner, arrived)| {
            let messages = arrived.iter().map(|one| (one.seq, one.message.clone()));
            let messages = messages.collect();
            (user.clone(), Inbox { owner, messages })
        });
        let inboxes = anew.collect();
        *self.lock() = Known { inboxes, row };
    }

    /// So many behind a sequence number at the most.
    pub(crate) fn of(&self, user: &UserId, after: i64, most: usize) -> Found {
        let known = self.lock();
        let row = known.row;
        let Some(inbox) = known.inboxes.get(user) else {
            return Found {
                owner: None,
                messages: Vec::new(),
                row,
            };
        };
        let from = inbox.messages.partition_point(|(seq, _)| *seq <= after);
        Found {
            owner: Some(inbox.owner),
            messages: inbox.messages.range(from..).take(most).cloned().collect(),
            row,
        }
    }

    /// The number of the newest row whose messages were told of.
    pub(crate) fn row(&self) -> i64 {
        self.lock().row
    }

    /// The sequence number of the newest for somebody, and for whom it is.
    pub(crate) fn newest(&self, user: &UserId) -> Option<(UserNumber, i64)> {
        let known = self.lock();
        let inbox = known.inboxes.get(user)?;
        let (seq, _) = inbox.messages.back()?;
        Some((inbox.owner, *seq))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    /// Them, while they are the user's, and not those of another one who had the login before.
    pub(crate) fn of(
        self,
        connection: &Connection,
        user: &UserId,
    ) -> rusqlite::Result<Vec<(i64, SharedMessage)>> {
        if self.messages.is_empty() || user_number(connection, user)? != self.owner {
            return Ok(Vec::new());
        }
        Ok(self.messages)
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").finish_non_exhaustive()
    }
}
