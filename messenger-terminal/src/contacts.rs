//! Whom one knows, and how many of their messages were not answered.

use messenger_client::proto::{Contact, UserId};
use std::collections::BTreeMap;

/// Of how many users is counted what came from them.
const COUNTED: usize = 1_000;

/// How many messages have come from whom since one talked to them.
#[derive(Debug, Default)]
pub(crate) struct Unread(BTreeMap<UserId, usize>);

impl Unread {
    pub(crate) fn came_from(&mut self, user: &UserId) {
        if let Some(count) = self.0.get_mut(user) {
            *count += 1;
        } else if self.0.len() < COUNTED {
            self.0.insert(user.clone(), 1);
        }
    }

    pub(crate) fn talked_to(&mut self, user: &UserId) {
        self.0.remove(user);
    }

    pub(crate) fn from(&self, user: &UserId) -> usize {
        self.0.get(user).copied().unwrap_or_default()
    }

    /// Users who are in no contact list.
    pub(crate) fn strangers(&self, contacts: &[Contact]) -> Vec<(&UserId, usize)> {
        let is_known = |user: &UserId| contacts.iter().any(|contact| contact.card.uid == *user);
        self.0
            .iter()
            .filter(|(user, _)| !is_known(user))
            .map(|(user, count)| (user, *count))
            .collect()
    }
}
