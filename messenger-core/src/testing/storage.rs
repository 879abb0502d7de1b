//! What every [`Storage`] must do.

mod accounts;
mod budgets;
mod contacts;
mod durability;
mod inbox;
mod mids;
mod sessions;
mod users;

use crate::clock::Timestamp;
use crate::policy::InboxLimits;
use crate::storage::{
    Account, AppendError, Appended, NewMessage, NewSession, OpenedSession, Owner, PageLimits,
    SessionKey, Storage, Watermark,
};
use futures_util::future::join_all;
use messenger_proto::{Message, SharedMessage, UserId};
use std::sync::Arc;

/// Runs every case, each on an empty store made by `make`.
///
/// # Panics
/// A case fails.
pub async fn suite(make: impl AsyncFn() -> Arc<dyn Storage>) {
    macro_rules! run {
        ($($case:path,)*) => {
            $({
                let storage = make().await;
                $case(&storage).await;
            })*
        };
    }
    if make().await.accounts().is_some() {
        run![
            accounts::an_account_is_found_by_its_login,
            accounts::login_and_nick_are_each_taken_once,
            accounts::of_racing_registrations_one_succeeds,
            accounts::an_external_user_has_none,
            accounts::may_have_to_look_different,
            accounts::of_racing_lookalikes_one_succeeds,
            accounts::may_be_given_another_password,
            accounts::are_deleted_with_their_users,
        ];
    }
    if make().await.budgets().is_some() {
        run![
            budgets::hold_so_much_in_a_time,
            budgets::belong_to_a_limit_and_a_key,
            budgets::are_given_back,
            budgets::refill_from_where_the_clock_was_set_back,
            budgets::of_those_who_race_give_no_more_than_they_hold,
        ];
    }
    run![
        accounts::an_external_user_is_a_user,
        accounts::a_profile_changes_where_told,
        users::are_listed_in_the_order_of_their_ids,
        users::are_deleted_with_all_that_is_theirs,
        users::are_told_from_others_who_have_had_the_id,
        users::who_are_gone_do_nothing_in_the_name_of_the_next,
        users::are_deleted_while_they_send,
        contacts::are_listed_in_the_order_they_were_added,
        contacts::are_refused_in_the_documented_order,
        contacts::are_found_by_email_and_phone,
        contacts::are_found_by_another_rule,
        contacts::are_remembered_by_their_owners_ids,
        contacts::are_remembered_up_to_the_limit,
        contacts::are_found_up_to_the_limits,
        contacts::are_found_while_they_change,
        sessions::begin_behind_what_any_session_was_given,
        sessions::keep_their_own_places,
        sessions::over_the_limit_the_least_recently_used_ends,
        sessions::that_expired_do_not_count,
        sessions::end,
        sessions::move_together,
        sessions::are_looked_for_together,
        sessions::that_are_ephemeral_end_together,
        sessions::are_resumed,
        sessions::are_given_their_inbox_until_they_end,
        sessions::used_in_the_future_are_brought_back,
        inbox::numbers_without_a_gap,
        inbox::racing_appends_leave_no_gap,
        inbox::appends_are_numbered_in_the_order_of_their_first_polls,
        inbox::appends_get_on_without_being_polled,
        inbox::takes_messages_at_once_or_not_at_all,
        inbox::takes_many_messages_at_once_or_none,
        inbox::is_read_in_pages,
        inbox::is_full_of_what_nobody_was_given,
        inbox::is_full_by_bytes,
        inbox::drops_the_oldest_of_what_only_laggards_miss,
        inbox::drops_of_the_sender_who_has_most,
        inbox::drops_of_the_sender_who_has_most_bytes,
        inbox::keeps_what_a_session_misses_and_drops_what_is_old,
        inbox::returns_every_field,
        mids::store_once,
        mids::belong_to_sender_and_recipient,
        mids::are_refused_for_something_else,
        mids::are_forgotten,
        mids::are_not_taken_by_failures,
        mids::of_racing_appends_store_one,
    ];
}

/// Runs what a store must do that outlives its process: what was answered is there when it is opened
/// again. `open` opens one and the same store, which is empty at first; it is called only when the
/// one before was dropped.
///
/// # Panics
/// A case fails.
pub async fn durability(open: impl AsyncFn() -> Arc<dyn Storage>) {
    durability::everything_answered_is_there_again(&open).await;
    durability::appends_that_nobody_waits_for_leave_no_gap(&open).await;
}

/// Carries out calls at once, every second one in a task of its own: the others race in any case, on one thread.
async fn race<T: Send + 'static>(
    calls: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let calls = calls.into_iter().enumerate().map(async |(number, call)| {
        if number % 2 == 0 {
            return call.await;
        }
        tokio::spawn(call).await.unwrap()
    });
    join_all(calls).await
}

/// A moment, in seconds from some beginning.
fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros((1_700_000_000 + seconds) * 1_000_000)
}

fn key(number: u8) -> SessionKey {
    SessionKey([number; 32])
}

const NO_LIMIT: InboxLimits = InboxLimits::new(u64::MAX, u64::MAX);

const ALL: PageLimits = PageLimits::new(usize::MAX, usize::MAX);

/// A user, with an account if the store keeps them.
async fn create(storage: &Arc<dyn Storage>, login: &str) -> UserId {
    let (user, nick) = (UserId::from(login), format!("nick of {login}"));
    let Some(accounts) = storage.accounts() else {
        storage.upsert_external_user(&user, &nick).await.unwrap();
        return user;
    };
    let account = Account {
        login: user.clone(),
        nick: nick.into(),
        pass_hash: format!("hash of {login}"),
    };
    accounts.create_account(account).await.unwrap();
    user
}

/// In whose name the user of this id acts now.
async fn as_owner(storage: &Arc<dyn Storage>, user: &UserId) -> Owner {
    let number = storage.user_number(user).await.unwrap();
    Owner {
        user: user.clone(),
        number: number.expect("a user"),
    }
}

async fn open(storage: &Arc<dyn Storage>, user: &UserId, number: u8, now: u64) -> OpenedSession {
    let session = NewSession {
        owner: as_owner(storage, user).await,
        key: key(number),
        ack: false,
        now: at(now),
        expired_before: at(0),
        limit: 8,
    };
    storage.open_session(session).await.unwrap()
}

async fn advance(
    storage: &Arc<dyn Storage>,
    user: &UserId,
    number: u8,
    delivered_up_to: u64,
    used: u64,
) {
    let mark = Watermark {
        user: user.clone(),
        session: key(number),
        delivered_up_to,
        used: at(used),
    };
    storage.advance(vec![mark]).await.unwrap();
}

fn message_to(user: &UserId, body: &str) -> NewMessage {
    NewMessage {
        message: SharedMessage::from(
            Message::new(
                format!("id of {body}"),
                "sender",
                user.clone(),
                at(0).as_secs(),
            )
            .nick("Sender")
            .body(body),
        ),
        sender: None,
        mid: None,
        mid_forgotten_before: at(0),
        now: at(0),
        limits: NO_LIMIT,
    }
}

async fn append(
    storage: &Arc<dyn Storage>,
    user: &UserId,
    body: &str,
    limits: InboxLimits,
) -> Result<u64, AppendError> {
    let mut message = message_to(user, body);
    message.limits = limits;
    match storage.append(message).await? {
        Appended::Stored { seq, .. } => Ok(seq),
        duplicate @ Appended::Duplicate { .. } => panic!("not stored: {duplicate:?}"),
    }
}

/// The bodies in an inbox, with their sequence numbers.
async fn bodies(storage: &Arc<dyn Storage>, user: &UserId, after: u64) -> Vec<(u64, String)> {
    let messages = storage.inbox(user, after, ALL).await.unwrap().into_iter();
    messages
        .map(|(seq, message)| (seq, message.body.as_str().to_owned()))
        .collect()
}
