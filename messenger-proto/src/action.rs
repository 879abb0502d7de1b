//! The actions: one file each, holding the request, what it is answered with, and both on the wire.

// Not made by the table, because rustfmt finds files by these lines.
mod ack;
mod addcontact;
mod auth;
mod contactlist;
mod delcontact;
mod import;
mod logout;
pub(crate) mod message;
mod register;
mod setuserinfo;
mod table;
mod userinfo;

use crate::fields::Fields;
use crate::read::FrameBytes;
use crate::write::{Escapes, Object};
use crate::{Card, Contact, Failure, Inbound, Profile, UserId};
use bytes::BytesMut;
use bytestring::ByteString;
use serde::de::{Deserializer, Error};
use std::fmt;
use table::{actions, held, hold, release};

actions! {
    /// A new account.
    register: Register => inline (),
    /// A login.
    auth: Auth => boxed AuthAccepted,
    /// The end of the session.
    logout: Logout => inline (),
    /// Somebody's profile.
    userinfo: UserInfo => boxed Profile,
    /// The caller's contacts.
    contactlist: ContactList => inline Vec<Contact>,
    /// One contact more.
    addcontact: AddContact => boxed Card,
    /// One contact fewer.
    delcontact: DelContact => inline UserId,
    /// A message to another user.
    message: SendMessage => inline MessageAccepted,
    /// An address book to find users by.
    import: Import => inline Vec<Contact>,
    /// A change to the caller's profile.
    setuserinfo: SetUserInfo => inline (),
    /// What the caller has processed.
    ack: Ack => inline (),
}

/// What a client can ask for. Implemented by the request structs, so that a caller gets the result
/// that belongs to what it asked.
///
/// # Examples
/// ```
/// use messenger_proto::{Action, DelContact, Failure, Logout, Request, Response};
///
/// /// Asks whoever answers requests.
/// fn ask<A: Action>(action: A, answer: fn(Request) -> Response) -> Result<A::Accepted, Failure> {
///     A::result(answer(action.into())).expect("an answer to this action")
/// }
///
/// let deleted = ask(DelContact::new("bob"), |_| DelContact::response(Ok("bob".into())));
/// assert_eq!(deleted?.as_str(), "bob");
/// assert_eq!(Logout::NAME, "logout");
/// # Ok::<(), Failure>(())
/// ```
pub trait Action: Into<Request> + Send {
    /// The name on the wire.
    const NAME: &'static str;

    /// What success brings.
    type Accepted: fmt::Debug + Send;

    /// The response with this result.
    fn response(result: Result<Self::Accepted, Failure>) -> Response;

    /// The response of a request that was not carried out.
    fn fail(failure: Failure) -> Response {
        Self::response(Err(failure))
    }

    /// The result in a response to this action.
    ///
    /// # Errors
    /// Gives the response back when it answers another action.
    #[allow(clippy::result_large_err)] // the response is handed back, not reported
    fn result(response: Response) -> Result<Result<Self::Accepted, Failure>, Response>;
}
