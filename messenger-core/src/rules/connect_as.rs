//! A connection whose user the embedder has authenticated itself.

use super::{begin_session, check};
use crate::authenticator::Identity;
use crate::connection_state::ConnectionState;
use messenger_proto::{Failure, UserId};

/// Through which session [`Engine::connect_as`](crate::Engine::connect_as) connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionKind {
    /// One that ends with its connection and is kept nowhere: for a web handler. A client asks for one
    /// by the feature `ephemeral` in `auth`, then without `after`.
    ///
    /// - It counts among no limit of sessions and ends none; how many there are at once is the
    ///   embedder's to bound. It has no `sid`, so nobody can come back to it.
    /// - It is given what stands in the inbox with a [`seq`](messenger_proto::EvMessage::seq) above `after`, oldest
    ///   first; without `after`, what comes from now on.
    /// - Nothing that it is given, or acknowledges, counts as delivered: that still waits for the user's
    ///   lasting sessions, in a full inbox too. The other way round, what is delivered to all lasting sessions
    ///   may be gone: an inbox is no history. With no lasting session an inbox fills up, until its
    ///   messages are too old.
    /// - All of a user's send as fast as one session may.
    /// - It ends with [`end_sessions`](crate::Engine::end_sessions) and with its user. A connection on another
    ///   node that misses the notice goes on only with a store that does not
    ///   [count](crate::storage::Storage::ephemeral_ended).
    Ephemeral {
        /// The highest sequence number not to be given; one beyond the newest message is taken for that.
        after: Option<u64>,
    },
    /// One as `auth` gives it: it counts among the user's sessions, may end the least recently used one, and
    /// what it is given counts as delivered. For a bot, or a device of the embedder's.
    Lasting,
}

/// Authenticates a fresh connection as this user.
pub(crate) async fn connect_as(
    connection: &ConnectionState,
    user: UserId,
    identity: Identity,
    session: SessionKind,
) -> Result<(), Failure> {
    let limits = &connection.shared.policy.limits;
    check::not_empty("login", user.as_str())?;
    check::at_most_chars("login", user.as_str(), limits.name)?;
    match session {
        SessionKind::Lasting => {
            let accepted = begin_session::lasting(connection, user, identity, false, None).await;
            accepted.map(drop)
        }
        SessionKind::Ephemeral { after } => {
            begin_session::ephemeral(connection, user, identity, after, None).await
        }
    }
}
