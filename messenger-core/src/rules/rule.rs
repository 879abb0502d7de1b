//! What the engine does with an action of an authenticated client.

use crate::connection_state::{ConnectionState, Login};
use messenger_proto::{Action, Failure};

/// What the engine does with an action of an authenticated client. Each is in a file of its own, and a line
/// in the table of [`rules`](super).
pub(super) trait Rule: Action {
    /// Whether somebody looks behind it if its user is still there: what was read may be another's who has the id now,
    /// and what was to be written may be nobody's. Only what looks for itself, or ends the session, need not.
    const LOOKS_BEHIND: bool = true;

    /// Carries it out for this login of the connection.
    fn carry_out(
        self,
        connection: &ConnectionState,
        login: &Login,
    ) -> impl Future<Output = Result<Self::Accepted, Failure>> + Send;
}
