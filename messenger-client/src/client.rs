//! Requests.

use crate::activity::Activity;
use crate::connection::{self, Requests};
use crate::{ClientError, ConnectionError, Events};
use messenger_proto::{
    Ack, Action, AddContact, Auth, AuthAccepted, Card, Contact, ContactList, Credentials,
    DelContact, Import, ImportEntry, Inbound, MessageAccepted, Password, Profile, Register,
    SendMessage, SessionId, SetUserInfo, UserId, UserInfo, Welcome,
};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs};

/// Sends requests over one connection. Cheap to clone; the connection ends when the last clone is
/// dropped.
///
/// A request goes out when its future is first polled. Dropping the future does not take it back.
#[derive(Clone, Debug)]
pub struct Client {
    requests: Requests,
    welcome: Arc<Welcome>,
}

/// Connects to a server over TCP and waits for its welcome.
///
/// # Errors
/// Nobody listens there, or no messenger server.
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub async fn connect(address: impl ToSocketAddrs) -> Result<(Client, Events), ConnectionError> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    over(stream).await
}

/// Speaks to a server over any stream and waits for its welcome. It spawns two tasks on the current
/// tokio runtime, which end with the connection.
///
/// # Errors
/// The stream fails, or no messenger server is at its other end.
///
/// # Cancel safety
/// Dropping the future drops the stream.
pub async fn over<S>(stream: S) -> Result<(Client, Events), ConnectionError>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (requests, events, welcome) = connection::start(stream).await?;
    let welcome = Arc::new(welcome);
    Ok((Client { requests, welcome }, events))
}

impl Client {
    /// What the server greeted with.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Carries out one action and gives the result that belongs to it.
    ///
    /// # Errors
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    /// Nothing is sent before the future is first polled. Dropping it later leaves open whether the request is
    /// carried out; its answer is thrown away, and others get theirs.
    pub async fn call<A: Action>(&self, action: A) -> Result<A::Accepted, ClientError> {
        self.call_as(Credentials::default(), action).await
    }

    /// Creates an account. It does not authenticate.
    ///
    /// # Errors
    /// Refused with 1 when the login or the nick is taken, 4 when a field is empty, 5 when the connection is
    /// authenticated: the server then closes it.
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn register(
        &self,
        login: &str,
        pass: &Password,
        nick: &str,
    ) -> Result<(), ClientError> {
        self.call(Register::new(login, pass.clone(), nick)).await
    }

    /// Begins a session. A message counts as delivered to it when the server has sent it.
    ///
    /// # Errors
    /// Refused with 7 when nobody has the login, 2 when the password is wrong.
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn auth(&self, login: &str, pass: &Password) -> Result<AuthAccepted, ClientError> {
        self.call(Auth::new(login, pass.clone())).await
    }

    /// Begins a session whose client says itself what it has processed, with [`ack`](Self::ack).
    ///
    /// # Errors
    /// As [`auth`](Self::auth).
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn auth_with_ack(
        &self,
        login: &str,
        pass: &Password,
    ) -> Result<AuthAccepted, ClientError> {
        self.call(Auth::new(login, pass.clone()).ack()).await
    }

    /// Begins a session that ends with this connection, for a service that connects to do something: it has no
    /// `sid`, ends none of the user's others, and is given the messages that come from now on, none of
    /// which counts as delivered by that.
    ///
    /// # Errors
    /// As [`auth`](Self::auth).
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn auth_ephemeral(
        &self,
        login: &str,
        pass: &Password,
    ) -> Result<AuthAccepted, ClientError> {
        self.call(Auth::new(login, pass.clone()).ephemeral()).await
    }

    /// Goes on with an earlier session on this fresh connection; what it missed follows as events.
    ///
    /// # Errors
    /// Refused with 6 when the session has ended.
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn resume(&self, cid: &UserId, sid: &SessionId) -> Result<(), ClientError> {
        // Any request resumes; this one does nothing else.
        self.resume_and_ack(cid, sid, 0).await
    }

    /// As [`resume`](Self::resume), and says in the same request what has been processed: the last
    /// acknowledgement may not have arrived, and what it covers is then not sent again.
    ///
    /// # Errors
    /// As [`resume`](Self::resume) and [`ack`](Self::ack).
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn resume_and_ack(
        &self,
        cid: &UserId,
        sid: &SessionId,
        seq: u64,
    ) -> Result<(), ClientError> {
        let credentials = Credentials::new(cid.clone(), sid.clone());
        self.call_as(credentials, Ack::new(seq)).await
    }

    /// Says that everything up to `seq` has been processed.
    ///
    /// # Errors
    /// Refused with 3 when there is no such message yet.
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn ack(&self, seq: u64) -> Result<(), ClientError> {
        self.call(Ack::new(seq)).await
    }

    /// Sends text.
    ///
    /// # Errors
    /// As [`send_message`](Self::send_message).
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn send(
        &self,
        uid: impl Into<UserId>,
        body: &str,
    ) -> Result<MessageAccepted, ClientError> {
        self.send_message(SendMessage::new(uid, body)).await
    }

    /// Sends a message. On success it is stored and will be delivered.
    ///
    /// # Errors
    /// Refused with 8 when there is no such user, 21 when their inbox is full, 4 when the message is
    /// empty.
    ///
    /// # Cancel safety
    /// As [`call`](Self::call): the message may have been stored. Sending it again with the same
    /// [`mid`](SendMessage::mid) stores nothing twice.
    pub async fn send_message(&self, message: SendMessage) -> Result<MessageAccepted, ClientError> {
        self.call(message).await
    }

    /// What a user tells of themselves.
    ///
    /// # Errors
    /// Refused with 8 when there is no such user.
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn user_info(&self, user: impl Into<UserId>) -> Result<Profile, ClientError> {
        self.call(UserInfo::new(user)).await
    }

    /// Changes the fields that are `Some`.
    ///
    /// # Errors
    /// Refused with 3 when a field is over its limit.
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn set_user_info(&self, change: SetUserInfo) -> Result<(), ClientError> {
        self.call(change).await
    }

    /// The user's contacts in the order they were added.
    ///
    /// # Errors
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn contact_list(&self) -> Result<Vec<Contact>, ClientError> {
        self.call(ContactList::new()).await
    }

    /// Adds a contact.
    ///
    /// # Errors
    /// Refused with 8 when there is no such user, 1 when they are a contact already or oneself.
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn add_contact(&self, uid: impl Into<UserId>) -> Result<Card, ClientError> {
        self.call(AddContact::new(uid)).await
    }

    /// Removes a contact; one that is not there is no error.
    ///
    /// # Errors
    /// See [`ClientError`].
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn del_contact(&self, uid: impl Into<UserId>) -> Result<UserId, ClientError> {
        self.call(DelContact::new(uid)).await
    }

    /// Finds users by an address book.
    ///
    /// # Errors
    /// Refused with 3 when there are too many entries, or a field is over its limit.
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn import(&self, contacts: Vec<ImportEntry>) -> Result<Vec<Contact>, ClientError> {
        self.call(Import::new(contacts)).await
    }

    /// Ends the connection for all clones. Requests that wait for their answers fail with [`ClientError::Closed`].
    pub fn close(&self) {
        self.requests.close();
    }

    /// Waits for the end of the connection, from whichever side.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn closed(&self) {
        self.requests.closed().await;
    }

    pub(crate) fn activity(&self) -> &Activity {
        self.requests.activity()
    }

    async fn call_as<A: Action>(
        &self,
        credentials: Credentials,
        action: A,
    ) -> Result<A::Accepted, ClientError> {
        let request = action.into();
        let inbound = Inbound::new(request).credentials(credentials);
        let response = self.requests.call(inbound).await?;
        match A::result(response) {
            Ok(result) => Ok(result?),
            Err(other) => Err(match other.failure() {
                Some(failure) => ClientError::Refused(failure.clone()),
                None => ClientError::OutOfStep,
            }),
        }
    }
}
