//! `ack`: what a session's client has processed. Answered once the store knows it.

use crate::session::{Connection, Login};
use messenger_proto::{Ack, ErrorCode, Failure};

pub(super) async fn ack(
    connection: &Connection,
    login: &Login,
    request: &Ack,
) -> Result<(), Failure> {
    let shared = &*connection.shared;
    let is_known = connection.has_given(login, request.seq);
    if !is_known && request.seq > shared.storage.newest(login.user()).await? {
        let text = "seq is beyond the newest message";
        return Err(Failure::new(ErrorCode::InvalidData, text));
    }
    shared.marks.given(&login.device, request.seq, 0);
    Ok(shared.flush_places().await?)
}
