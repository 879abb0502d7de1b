//! What an embedder does whose users are its own, as calls on the engine.

use crate::authenticator::Identity;
use crate::connection::Connection;
use crate::engine::Engine;
use crate::rules::{self, SessionKind};
use crate::storage::StorageError;
use messenger_proto::{Failure, UserId};

/// # For embedders with their own users
impl Engine {
    /// A connection that is authenticated as this user, without a password: the caller has authenticated
    /// them itself, by a cookie or a token. The user need not be known here yet; one who has an account in
    /// this store is given with that account's nick.
    ///
    /// ```
    /// use messenger_core::authenticator::Identity;
    /// use messenger_core::proto::SendMessage;
    /// use messenger_core::{Engine, SessionKind};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let engine = Engine::builder().build()?;
    /// let mut bot = engine
    ///     .connect_as("bot".into(), Identity::new("Bot"), SessionKind::Lasting)
    ///     .await?;
    ///
    /// // In a web handler, for the request's user.
    /// let session = SessionKind::Ephemeral { after: None };
    /// let ann = engine.connect_as("ann".into(), Identity::new("Ann"), session).await?;
    /// ann.call(SendMessage::new("bot", "hello")).await?;
    ///
    /// assert_eq!(bot.next_message().await?.message.from.as_str(), "ann");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As `auth` fails when the password is right: the id is empty or longer than a login may be, the store failed.
    ///
    /// # Cancel safety
    /// When the future is dropped, nobody is connected, but the store may know the user already. With
    /// [`SessionKind::Lasting`] a session may also have begun to which nobody can come back, and the user's least recently
    /// used one may have ended for it; its connections may then learn of that by the next
    /// [look](crate::storage::Storage::looked_at_every) only. With [`SessionKind::Ephemeral`] no session is left.
    pub async fn connect_as(
        &self,
        user: UserId,
        identity: Identity,
        session: SessionKind,
    ) -> Result<Connection, Failure> {
        let connection = self.connect();
        connection.become_user(user, identity, session).await?;
        Ok(connection)
    }

    /// Tells of a user whose account is kept elsewhere, or of what has changed there: others find them
    /// by it from now on. [`connect_as`](Self::connect_as) and a log-in do the same.
    ///
    /// # Errors
    /// The store failed; some of it may be known.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open how much of it is known. Doing it again tells the rest.
    pub async fn upsert_user(
        &self,
        user: &UserId,
        identity: &Identity,
    ) -> Result<(), StorageError> {
        let upserted = rules::upsert(&self.shared, user, identity).await;
        upserted.map(drop)
    }
}
