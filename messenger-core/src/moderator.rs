//! Whether a message may be stored, as a trait.

use async_trait::async_trait;
use messenger_proto::Message;
use std::borrow::Cow;

/// Looks at each message before it is stored, and may refuse it: a filter of words, a scanner of attachments.
///
/// A message that is refused is not stored, nobody is given it, and its `mid` is free: the client may send another
/// message under it. One that the client sends again under its `mid` is looked at again.
///
/// **It may take time**, out of what a request may wait for the store
/// ([`storage_timeout`](crate::Policy::storage_timeout)). When that is over, the review is dropped, and the client is
/// told to try later (22). A message that has an answer at once overlaps with others as it does without a moderator. While
/// one is waited for, whatever came behind it on its connection waits too, so that a sender's messages stay in their
/// order.
///
/// The messages of an embedder's own connections are looked at like all others.
///
/// # Cancel safety
/// A review may be dropped before it returns. The message is not stored then.
///
/// # Examples
/// ```
/// use messenger_core::moderator::{Moderator, ModeratorError};
/// use messenger_core::proto::{Auth, Message, Register, SendMessage};
/// use messenger_core::{Engine, async_trait};
/// use std::sync::Arc;
///
/// /// Lets nobody shout.
/// struct Quiet;
///
/// #[async_trait]
/// impl Moderator for Quiet {
///     async fn review(&self, message: &Message) -> Result<(), ModeratorError> {
///         match message.body.as_str().ends_with('!') {
///             true => Err(ModeratorError::Refused("Do not shout".into())),
///             false => Ok(()),
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder().moderator(Arc::new(Quiet)).build()?;
/// let ann = engine.connect();
/// ann.call(Register::new("ann", "secret", "Ann")).await?;
/// ann.call(Auth::new("ann", "secret")).await?;
/// ann.call(SendMessage::new("ann", "hello")).await?;
/// let refused = ann.call(SendMessage::new("ann", "HELLO!")).await.unwrap_err();
/// assert_eq!(refused.text, "Do not shout");
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Moderator: Send + Sync + 'static {
    /// Whether this message may be stored. Its recipient is who the client has named, and may not exist.
    ///
    /// # Errors
    /// It may not, or the question could not be answered; then it is not stored either.
    async fn review(&self, message: &Message) -> Result<(), ModeratorError>;
}

/// Why a message is not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModeratorError {
    /// It may not be. The sentence tells the client why, with status 3.
    #[error("{0}")]
    Refused(Cow<'static, str>),
    /// Something the moderator needs is down: the client may try later, with status 22.
    #[error("the moderator failed")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
