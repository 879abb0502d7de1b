//! `logout`: the end of a session. The connection stays, unauthenticated.

use super::rule::Rule;
use crate::connection_state::{ConnectionState, Login};
use crate::notifier::Notice;
use messenger_proto::{Failure, Logout};

impl Rule for Logout {
    const LOOKS_BEHIND: bool = false;

    async fn carry_out(self, connection: &ConnectionState, login: &Login) -> Result<(), Failure> {
        let shared = &*connection.shared;
        let (user, key) = (login.user(), login.device.key);
        if login.device.is_ephemeral {
            // There is nothing else of it, and the user's others stay.
            connection.log_out();
            return Ok(());
        }
        // The user's next session begins behind what this one was given.
        shared
            .watermarks
            .flush_moved_of(&shared.storage, user)
            .await?;
        shared.storage.end_session(user, &key).await?;
        // Before it is told of the end, which would close it.
        connection.log_out();
        shared.notifier.notify(user, Notice::SessionEnded(key));
        Ok(())
    }
}
