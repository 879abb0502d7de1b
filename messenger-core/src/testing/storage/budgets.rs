//! Limits that hold for all servers.

use super::{at, race};
use crate::policy::Rate;
use crate::storage::{SharedLimit, Storage};
use std::sync::Arc;
use std::time::Duration;

/// Two at once, and one more in each half of a minute.
const TWO_A_MINUTE: Rate = Rate::new(2, Duration::from_secs(60));

async fn take(storage: &Arc<dyn Storage>, key: &str, count: u32, second: u64) -> bool {
    take_of(storage, SharedLimit::FailedAuthLogin, key, count, second).await
}

async fn take_of(
    storage: &Arc<dyn Storage>,
    limit: SharedLimit,
    key: &str,
    count: u32,
    second: u64,
) -> bool {
    let budgets = storage.budgets().unwrap();
    let taken = budgets.take(limit, key, count, TWO_A_MINUTE, at(second));
    taken.await.unwrap()
}

pub(super) async fn hold_so_much_in_a_time(storage: &Arc<dyn Storage>) {
    assert!(!take(storage, "ann", 3, 100).await, "over the burst");
    assert!(take(storage, "ann", 2, 100).await, "nothing was taken");
    assert!(!take(storage, "ann", 1, 129).await);
    assert!(take(storage, "ann", 1, 130).await);
    assert!(!take(storage, "ann", 2, 189).await);
    assert!(take(storage, "ann", 2, 190).await);
    assert!(!take(storage, "ann", u32::MAX, 9999).await);
    assert!(
        take(storage, "ann", 2, 9999).await,
        "it holds no more with time"
    );
    assert!(!take(storage, "ann", 1, 9999).await);
}

pub(super) async fn belong_to_a_limit_and_a_key(storage: &Arc<dyn Storage>) {
    for key in ["ann", "Ann", "", "\0"] {
        for limit in [SharedLimit::FailedAuthLogin, SharedLimit::Import] {
            assert!(
                take_of(storage, limit, key, 2, 100).await,
                "{limit:?} {key:?}"
            );
            assert!(
                !take_of(storage, limit, key, 1, 100).await,
                "{limit:?} {key:?}"
            );
        }
    }
}

pub(super) async fn are_given_back(storage: &Arc<dyn Storage>) {
    let give_back = async || {
        let budgets = storage.budgets().unwrap();
        let limit = SharedLimit::FailedAuthLogin;
        budgets.give_back(limit, "ann", TWO_A_MINUTE).await.unwrap();
    };
    give_back().await;
    assert!(!take(storage, "ann", 3, 100).await, "it holds no more");
    assert!(take(storage, "ann", 2, 100).await);
    give_back().await;
    assert!(take(storage, "ann", 1, 100).await);
    assert!(!take(storage, "ann", 1, 100).await);
}

pub(super) async fn refill_from_where_the_clock_was_set_back(storage: &Arc<dyn Storage>) {
    assert!(take(storage, "ann", 2, 7200).await);
    assert!(!take(storage, "ann", 1, 100).await);
    assert!(take(storage, "ann", 2, 160).await);
}

pub(super) async fn of_those_who_race_give_no_more_than_they_hold(storage: &Arc<dyn Storage>) {
    let takes = (0..50).map(|_| {
        let storage = Arc::clone(storage);
        async move { take(&storage, "ann", 1, 100).await }
    });
    let taken = race(takes).await;
    assert_eq!(taken.into_iter().filter(|taken| *taken).count(), 2);
}
