//! Dropping what is out of date, and what others wait for meanwhile.

use super::crowd::{self, AGE, Sizes};
use crate::Failed;
use crate::figures::Figures;
use messenger_client::proto::Message;
use messenger_core::clock::{Clock, SystemClock};
use messenger_core::storage::{Expiry, NewMessage, Storage};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is looked for.
const NOTHING: [&str; 3] = [
    "purge_us",
    "purge_longest_read_us",
    "purge_longest_append_us",
];
const SOMETHING: [&str; 3] = [
    "purge_some_us",
    "purge_some_longest_read_us",
    "purge_some_longest_append_us",
];

/// Looks for what is out of date when there is nothing, and when one hundredth of everything is.
pub(super) async fn measure(
    store: &Arc<dyn Storage>,
    sizes: Sizes,
    round: usize,
    figures: &mut Figures,
) -> Result<(), Failed> {
    let hundredths = u32::try_from(round + 1)?;
    let lifetimes = [AGE * 2, AGE / 100 * (100_u32.saturating_sub(hundredths))];
    for (lifetime, names) in lifetimes.into_iter().zip([NOTHING, SOMETHING]) {
        let times = purge(store, sizes, lifetime).await?;
        for (name, time) in names.into_iter().zip(times) {
            figures.add(name, time.as_micros() as f64);
        }
    }
    Ok(())
}

/// How long all of it takes, and the longest that a read and an append beside it take.
async fn purge(
    store: &Arc<dyn Storage>,
    sizes: Sizes,
    lifetime: Duration,
) -> Result<[Duration; 3], Failed> {
    let begun = Instant::now();
    let purging = tokio::spawn({
        let store = Arc::clone(store);
        async move {
            let expiry = Expiry::at(SystemClock.now(), lifetime, lifetime, lifetime);
            while store.purge_expired(expiry).await?.is_zero() {}
            Ok::<_, Failed>(begun.elapsed())
        }
    });
    let (mut read, mut append) = (Duration::ZERO, Duration::ZERO);
    let mut number = 0;
    while !purging.is_finished() || number < sizes.samples {
        number += 1;
        let person = crowd::login(sizes.anybody(number));
        let begun = Instant::now();
        store.profile(&person.as_str().into()).await?;
        read = read.max(begun.elapsed());
        let now = SystemClock.now();
        let message = Message::new("beside", person.as_str(), person.as_str(), now.as_secs());
        let begun = Instant::now();
        store.append(NewMessage::new(message, now)).await?;
        append = append.max(begun.elapsed());
    }
    Ok([purging.await??, read, append])
}
