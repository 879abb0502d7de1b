//! The actions: one file each, holding the request, what it is answered with, and both on the wire.

mod ack;
mod addcontact;
mod auth;
mod contactlist;
mod delcontact;
mod import;
pub(crate) mod message;
mod register;
mod setuserinfo;
mod userinfo;

pub use ack::Ack;
pub use addcontact::AddContact;
pub use auth::{Auth, AuthAccepted};
pub use contactlist::ContactList;
pub use delcontact::DelContact;
pub use import::{Import, ImportEntry};
pub(crate) use message::AttachmentData;
pub use message::{Attachment, MessageAccepted, SendMessage};
pub use register::Register;
pub use setuserinfo::SetUserInfo;
pub use userinfo::UserInfo;

use crate::read::Owner;
use crate::write::Object;
use crate::{Credentials, Failure, Request, Response};
use serde::Deserialize;
use std::fmt;

/// What a client can ask for. Implemented by the request structs, so that a caller gets the result
/// that belongs to what it asked.
pub trait Action: Into<Request> + Send {
    /// The name on the wire.
    const NAME: &'static str;

    /// What success brings.
    type Accepted: fmt::Debug + Send;

    /// The result in a response to this action.
    ///
    /// # Errors
    /// Gives the response back when it answers another action.
    #[allow(clippy::result_large_err)] // the response is handed back, not reported
    fn result(response: Response) -> Result<Result<Self::Accepted, Failure>, Response>;
}

/// How an action stands on the wire.
pub(crate) trait Wire: Action {
    /// The request's `data` as a client sends it.
    type Data<'a>: Deserialize<'a>;
    /// The success's `data` as a server sends it.
    type AcceptedData<'a>: Deserialize<'a>;

    fn read(data: Self::Data<'_>, frame: Owner<'_>) -> (Credentials, Self);
    fn write(&self, data: &mut Object<'_>);
    fn read_accepted(data: Self::AcceptedData<'_>, frame: Owner<'_>) -> Self::Accepted;
    /// Writes what follows `status` and `error`. A failure carries the same fields, empty: a
    /// deployed client throws on a missing one.
    fn write_accepted(accepted: Option<&Self::Accepted>, data: &mut Object<'_>);
}
