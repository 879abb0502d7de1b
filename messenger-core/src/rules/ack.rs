//! `ack`: what a session's client has processed. Answered once the store knows it.

use super::rule::Rule;
use crate::connection_state::{ConnectionState, Login};
use messenger_proto::{Ack, ErrorCode, Failure};

impl Rule for Ack {
    async fn carry_out(self, connection: &ConnectionState, login: &Login) -> Result<(), Failure> {
        let shared = &*connection.shared;
        let is_known = connection.has_given(login, self.seq);
        if !is_known && self.seq > shared.storage.newest(login.user()).await? {
            let text = "seq is beyond the newest message";
            return Err(Failure::new(ErrorCode::InvalidData, text));
        }
        let (watermarks, device) = (&shared.watermarks, &login.device);
        watermarks.delivered(device, self.seq, 0);
        Ok(watermarks.flush_moved_with(&shared.storage, device).await?)
    }
}
