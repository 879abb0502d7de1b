//! Which own copies the application has seen.

use crate::limits::COPIES_REMEMBERED;
use messenger_proto::MessageId;
use std::collections::{HashSet, VecDeque};

/// The newest of them. A message that is sent again, because its answer was lost, brings its own copy once more.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    seen: HashSet<MessageId>,
    in_order: VecDeque<MessageId>,
}

impl Copies {
    /// True when it is seen for the first time.
    pub(crate) fn is_new(&mut self, id: &MessageId) -> bool {
        if !self.seen.insert(id.clone()) {
            return false;
        }
        self.in_order.push_back(id.clone());
        if self.in_order.len() > COPIES_REMEMBERED
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}
