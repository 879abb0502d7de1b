//! A message that a moderator looks at before it is stored.

use super::storing::{self, Blocking};
use crate::connection_state::ConnectionState;
use crate::moderator::{Moderator, ModeratorError};
use crate::reply::{Reply, Started};
use crate::storage::{NewMessage, StorageError};
use crate::timed_storage::{self, Kind};
use messenger_proto::SharedMessage;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A look at a message.
type Review = Pin<Box<dyn Future<Output = Result<(), ModeratorError>> + Send>>;

/// Starts a message with a look at it. With an answer at once it goes on as any other does; while it waits for one,
/// so do those behind it.
pub(super) fn start(
    connection: &Arc<ConnectionState>,
    moderator: &Arc<dyn Moderator>,
    new: NewMessage,
    is_only: bool,
) -> Started {
    let mut review = review(Arc::clone(moderator), new.message.clone());
    // Polled again, by whoever is to be woken, when it is not ready.
    let polled = review
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    match polled {
        Poll::Ready(Ok(())) => storing::store(connection, new, is_only),
        Poll::Ready(Err(error)) => Started::Done(storing::refuse(connection, error.into())),
        Poll::Pending => {
            let waiting = wait(Blocking::begin(connection), review, new);
            Started::Pending(Box::pin(timed_storage::together(waiting)))
        }
    }
}

fn review(moderator: Arc<dyn Moderator>, message: SharedMessage) -> Review {
    Box::pin(async move { moderator.review(&message).await })
}

/// Carries out a message whose review takes time: with the store's, no more than a request may wait.
async fn wait(blocking: Blocking, review: Review, new: NewMessage) -> Reply {
    let connection = blocking.connection();
    let reviewed = async { Ok::<_, StorageError>(review.await) };
    let in_time = connection
        .shared
        .storage
        .in_time(Kind::Read, reviewed)
        .await;
    let late = |_| {
        Err(ModeratorError::Unavailable(
            "it has not answered in time".into(),
        ))
    };
    if let Err(error) = in_time.unwrap_or_else(late) {
        return storing::refuse(connection, error.into());
    }
    match storing::store(connection, new, false) {
        Started::Done(reply) => reply,
        Started::Pending(stored) => stored.await,
    }
}
