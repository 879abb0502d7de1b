//! `ack`: what a session's client has processed. Answered once the store knows it.

use super::rule::Rule;
use super::still_there;
use crate::connection_state::{ConnectionState, Login};
use crate::shared::Shared;
use crate::storage::PageLimits;
use messenger_proto::{Ack, ErrorCode, Failure};

/// The first message above a sequence number.
const FIRST: PageLimits = PageLimits::new(1, 1);

impl Rule for Ack {
    const LOOKS_BEHIND: bool = false;

    async fn carry_out(self, connection: &ConnectionState, login: &Login) -> Result<(), Failure> {
        let shared = &*connection.shared;
        if (1..=shared.storage.lost_up_to()).contains(&self.seq) {
            let is_there = is_there(shared, login, self.seq).await?;
            still_there(connection, login).await?;
            // Without the message it is of the store that was lost, or of what every session has had.
            return match is_there {
                true => cover(shared, login, self.seq).await,
                false => Ok(()),
            };
        }
        // What this connection was given need not be looked for: clients acknowledge often.
        if !connection.has_given(login, self.seq) {
            let newest = shared.storage.newest(login.user()).await?;
            still_there(connection, login).await?;
            if self.seq > newest {
                let text = "seq is beyond the newest message";
                return Err(Failure::new(ErrorCode::InvalidData, text));
            }
        }
        cover(shared, login, self.seq).await
    }
}

/// Everything up to here is processed.
async fn cover(shared: &Shared, login: &Login, seq: u64) -> Result<(), Failure> {
    let (watermarks, device) = (&shared.watermarks, &login.device);
    watermarks.delivered(device, seq, 0);
    Ok(watermarks.flush_moved_with(&shared.storage, device).await?)
}

/// True when the inbox has a message of this number.
async fn is_there(shared: &Shared, login: &Login, seq: u64) -> Result<bool, Failure> {
    let behind = seq.saturating_sub(1);
    let found = shared.storage.inbox(login.user(), behind, FIRST).await?;
    Ok(found.first().is_some_and(|(found, _)| *found == seq))
}
