//! `ack`: what a session's client has processed.

use crate::engine::Shared;
use crate::session::Login;
use messenger_proto::{Ack, ErrorCode, Failure};

pub(super) async fn ack(shared: &Shared, login: &Login, request: &Ack) -> Result<(), Failure> {
    if request.seq > shared.storage.newest(login.user()).await? {
        let text = "seq is beyond the newest message";
        return Err(Failure::new(ErrorCode::InvalidData, text));
    }
    shared.marks.given(&login.device, request.seq);
    Ok(())
}
