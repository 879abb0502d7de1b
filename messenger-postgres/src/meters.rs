//! What is counted, through the `metrics` facade.

use metrics::Counter;

/// A process has one recorder, and may have several stores.
pub(crate) fn connects() -> Counter {
    metrics::counter!("messenger_postgres_connects_total")
}

/// Of messages, as they go to the database.
pub(crate) fn batches() -> Counter {
    metrics::counter!("messenger_postgres_batches_total")
}

/// Calls that were made again.
pub(crate) fn repeats() -> Counter {
    metrics::counter!("messenger_postgres_repeats_total")
}

/// Times that the database was found to have lost what it had stored.
pub(crate) fn losses() -> Counter {
    metrics::counter!("messenger_postgres_losses_total")
}

/// Has the recorder tell of what has not happened yet, or its first time would look like none.
pub(crate) fn begin() {
    for counter in [connects(), batches(), repeats(), losses()] {
        counter.increment(0);
    }
}
