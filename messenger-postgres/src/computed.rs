//! What is computed of users: what their logins look like, and the keys of their addresses by which they are found.
//!
//! The rules for that change with versions of libraries and with settings. `about` says by which rule all was computed last; a server
//! of another one looks at all users, and changes what is otherwise. Meanwhile, and as long as an upgrade lasts, servers of
//! the rule before may write what is right by theirs. So the database notes whoever's was written by anyone (`unchecked.sql`),
//! and servers of the rule that holds now look at those again.
//!
//! It is what stands there that is compared, not who wrote it: so it does not matter which versions write, or know of this.

use crate::calls::Calls;
use crate::params::Params;
use crate::row::Columns;
use crate::text::unescape;
use messenger_core::AddressRule;
use messenger_core::lookalikes::{skeleton, version};
use messenger_core::storage::StorageError;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Row;

/// How many users are read, and then written, at once.
const PAGE: usize = 500;

/// How long a server leaves what one of another rule has made of what it had finished, the second time. (The first time it
/// does it again at once.) Twice as long each further time.
const SECOND_PAUSE: Duration = Duration::from_hours(1);

/// How long at the most.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);

/// A user: what is computed, and of what.
struct User {
    number: u64,
    login: String,
    email: String,
    phone: String,
    skeleton: String,
    email_key: Option<String>,
    phone_key: Option<String>,
}

impl User {
    /// Those whose logins are behind this one. All are gone through, whoever has an address: so a page has an end.
    async fn behind(calls: &Calls, login: &str) -> Result<Vec<Self>, StorageError> {
        let params = Params::new().text(login).number(PAGE);
        Self::select(
            calls,
            "users WHERE login > $1 ORDER BY login LIMIT $2",
            params,
        )
        .await
    }

    /// Those of these numbers who are there.
    async fn numbered(calls: &Calls, numbers: &[u64]) -> Result<Vec<Self>, StorageError> {
        let params = Params::new().numbers(numbers.iter().copied());
        Self::select(calls, "users_v1($1)", params).await
    }

    async fn select(
        calls: &Calls,
        from: &str,
        params: Params<'_>,
    ) -> Result<Vec<Self>, StorageError> {
        let columns = "no, login, email, phone, skeleton, email_key, phone_key";
        let rows = calls
            .read(&format!("SELECT {columns} FROM {from}"), params)
            .await?;
        rows.iter().map(Self::read).collect()
    }

    fn read(row: &Row) -> Result<Self, StorageError> {
        let key = |column| -> Result<Option<String>, StorageError> {
            Ok(row.value::<Option<String>>(column)?.map(unescape))
        };
        Ok(Self {
            number: row.number(0)?,
            login: row.text(1)?,
            email: row.text(2)?,
            phone: row.text(3)?,
            skeleton: row.text(4)?,
            email_key: key(5)?,
            phone_key: key(6)?,
        })
    }
}

/// Something that is computed of every user.
#[derive(Clone, Copy)]
enum Computed<'a> {
    Skeletons,
    Keys(&'a AddressRule),
}

/// When a server may compute again what it had finished: servers of different rules that stay side by side would change all
/// users for ever, each what the other has done.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// By the rules that were finished.
    of_rules: Mutex<HashMap<String, Turn>>,
}

#[derive(Debug)]
struct Turn {
    next: Instant,
    pause: Duration,
}

impl Turns {
    fn of_rules(&self) -> MutexGuard<'_, HashMap<String, Turn>> {
        self.of_rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All is computed by this rule.
    fn finish(&self, rule: &str, now: Instant) {
        let turn = Turn {
            next: now,
            pause: Duration::ZERO,
        };
        self.of_rules().entry(rule.to_owned()).or_insert(turn);
    }

    /// Whether what was computed by another rule may be computed by this one now.
    fn has_come(&self, rule: &str, now: Instant) -> bool {
        let turns = self.of_rules();
        turns.get(rule).is_none_or(|turn| now >= turn.next)
    }

    /// What was computed by another rule is computed by this one from now on.
    fn take(&self, rule: &str, now: Instant) {
        if let Some(turn) = self.of_rules().get_mut(rule) {
            turn.pause = (turn.pause * 2).clamp(SECOND_PAUSE, LONGEST_PAUSE);
            turn.next = now + turn.pause;
        }
    }
}

/// Sees to it that all logins have their skeletons.
pub(crate) async fn keep_up_skeletons(calls: &Calls) -> Result<(), StorageError> {
    let finished = Computed::Skeletons.keep_up(calls, &Turns::default()).await;
    finished.map(drop)
}

/// Sees to it that all users have their skeletons and the keys of this rule, unless it is another server's turn.
pub(crate) async fn keep_up(
    calls: &Calls,
    rule: &AddressRule,
    turns: &Turns,
) -> Result<(), StorageError> {
    for computed in [Computed::Skeletons, Computed::Keys(rule)] {
        if !computed.keep_up(calls, turns).await? {
            return Ok(());
        }
    }
    check(calls, rule).await
}

impl Computed<'_> {
    /// Under which name `about` says by which rule it was computed.
    fn name(self) -> &'static str {
        match self {
            Self::Skeletons => "skeletons",
            Self::Keys(_) => "address rule",
        }
    }

    fn rule(self) -> String {
        match self {
            Self::Skeletons => version(),
            Self::Keys(rule) => rule.name(),
        }
    }

    /// Sees to it that all users have what this rule computes, and tells whether they have. One that was interrupted is done
    /// again.
    async fn keep_up(self, calls: &Calls, turns: &Turns) -> Result<bool, StorageError> {
        let (name, rule) = (self.name(), self.rule());
        let select = "SELECT value FROM about WHERE name = $1";
        let done = calls.read(select, Params::new().text(name)).await?;
        let done = done.first().map(|done| done.text(0)).transpose()?;
        if done.as_deref() == Some(&*rule) {
            turns.finish(&rule, Instant::now());
            return Ok(true);
        }
        let under_way = format!("{rule}, under way");
        let other = done.filter(|done| *done != under_way);
        if other.is_some() && !turns.has_come(&rule, Instant::now()) {
            return Ok(false);
        }
        // From now on nobody takes what the rule before computes for right.
        let begin = "INSERT INTO about (name, value) VALUES ($1, $2)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        let params = Params::new().text(name).text(&under_way);
        calls.write(begin, params).await?;
        if let Some(other) = other {
            turns.take(&rule, Instant::now());
            tracing::warn!(
                "{name}: all users are gone through, by {rule} after {other}; servers of both that stay side by side undo each \
                 other's work"
            );
        }
        let mut after = String::new();
        loop {
            let mut page = User::behind(calls, &after).await?;
            let Some(last) = page.last() else {
                break;
            };
            after.clone_from(&last.login);
            // As everywhere, their rows are locked in this order, so that nobody waits in a circle.
            page.sort_unstable_by_key(|user| user.number);
            self.put_right(calls, &page).await?;
        }
        // Unless one of another rule has begun: then that one changes what was done here.
        let end = "UPDATE about SET value = $3 WHERE name = $1 AND value = $2";
        let params = Params::new().text(name).text(&under_way).text(&rule);
        calls.write(end, params).await?;
        turns.finish(&rule, Instant::now());
        Ok(true)
    }

    /// Changes what these users have otherwise.
    async fn put_right(self, calls: &Calls, users: &[User]) -> Result<(), StorageError> {
        match self {
            Self::Skeletons => set_skeletons(calls, users).await,
            Self::Keys(rule) => set_keys(calls, users, rule).await,
        }
    }
}

async fn set_skeletons(calls: &Calls, users: &[User]) -> Result<(), StorageError> {
    let computed = users.iter().map(|user| (user, skeleton(&user.login)));
    let others: Vec<_> = computed
        .filter(|(user, skeleton)| user.skeleton != *skeleton)
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    let params = Params::new()
        .numbers(others.iter().map(|(user, _)| user.number))
        .texts(others.iter().map(|(_, skeleton)| skeleton.as_str()));
    let set = "SELECT FROM set_skeletons_v1($1, $2)";
    calls.write(set, params).await.map(drop)
}

/// Stores the keys of addresses that are still the same.
async fn set_keys(calls: &Calls, users: &[User], rule: &AddressRule) -> Result<(), StorageError> {
    let computed = users
        .iter()
        .map(|user| (user, rule.email(&user.email), rule.phone(&user.phone)));
    let others: Vec<_> = computed
        .filter(|(user, email, phone)| user.email_key != *email || user.phone_key != *phone)
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    let params = Params::new()
        .numbers(others.iter().map(|(user, ..)| user.number))
        .texts(others.iter().map(|(user, ..)| user.email.as_str()))
        .texts(others.iter().map(|(user, ..)| user.phone.as_str()))
        .optional_texts(others.iter().map(|(_, email, _)| email.as_deref()))
        .optional_texts(others.iter().map(|(.., phone)| phone.as_deref()));
    let set = "SELECT FROM set_keys_v1($1, $2, $3, $4, $5)";
    calls.write(set, params).await.map(drop)
}

/// Looks at whoever's was written since they were last looked at. (Whoever is changed here is looked at once more, the next time.)
async fn check(calls: &Calls, rule: &AddressRule) -> Result<(), StorageError> {
    let all = [Computed::Skeletons, Computed::Keys(rule)];
    let [by_skeletons, by_keys] = all.map(Computed::rule);
    let mut after = 0;
    loop {
        let select =
            "SELECT user_no, number FROM unchecked WHERE user_no > $1 ORDER BY user_no LIMIT $2";
        let params = Params::new().number(after).number(PAGE);
        let notes = calls.read(select, params).await?;
        let notes = notes.iter().map(|row| Ok((row.number(0)?, row.number(1)?)));
        let (users, numbers): (Vec<u64>, Vec<u64>) = notes.collect::<Result<_, StorageError>>()?;
        let Some(last) = users.last() else {
            return Ok(());
        };
        after = *last;
        let written = User::numbered(calls, &users).await?;
        for computed in all {
            computed.put_right(calls, &written).await?;
        }
        let params = Params::new()
            .numbers(users.into_iter())
            .numbers(numbers.into_iter())
            .text(&by_skeletons)
            .text(&by_keys);
        let set = "SELECT FROM set_checked_v1($1, $2, $3, $4)";
        calls.write(set, params).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_rule_undoes_again_and_again_is_done_less_and_less_often() {
        let begun = Instant::now();
        let turns = Turns::default();
        let takes = |after| {
            let has_come = turns.has_come("own", begun + after);
            if has_come {
                turns.take("own", begun + after);
            }
            has_come
        };
        assert!(takes(Duration::ZERO), "at the start");
        turns.finish("own", begun);
        // As often as the engine asks.
        let halves = (1..=200).map(|half| Duration::from_mins(30) * half);
        let taken = halves.filter(|after| takes(*after));
        let hours: Vec<_> = taken.map(|after| after.as_secs_f64() / 3600.0).collect();
        assert_eq!(hours, [0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 55.5, 79.5]);
        assert!(turns.has_come("other", begun), "each for itself");
    }
}
