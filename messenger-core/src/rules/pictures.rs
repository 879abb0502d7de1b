//! How many bytes of pictures go into a list of users.

use crate::connection_state::Login;
use crate::policy::Limits;
use messenger_proto::{ByteString, Contact};

/// Leaves out the pictures that do not fit. A client that asks for features reads lists of any length.
pub(super) fn bound(list: &mut [Contact], login: &Login, limits: &Limits) {
    if login.has_features() {
        return;
    }
    let mut room = limits.list_pictures;
    for contact in list {
        match room.checked_sub(contact.card.picture.len()) {
            Some(rest) => room = rest,
            None => contact.card.picture = ByteString::new(),
        }
    }
}
