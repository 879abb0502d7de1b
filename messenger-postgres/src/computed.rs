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
use tokio_postgres::Row;

/// How many users are read, and then written, at once.
const PAGE: usize = 500;

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

/// Sees to it that all logins have their skeletons.
pub(crate) async fn keep_up_skeletons(calls: &Calls) -> Result<(), StorageError> {
    Computed::Skeletons.keep_up(calls).await
}

/// Sees to it that all users have their skeletons and the keys of this rule.
pub(crate) async fn keep_up(calls: &Calls, rule: &AddressRule) -> Result<(), StorageError> {
    Computed::Skeletons.keep_up(calls).await?;
    Computed::Keys(rule).keep_up(calls).await?;
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

    /// Sees to it that all users have what this rule computes. One that was interrupted is done again.
    async fn keep_up(self, calls: &Calls) -> Result<(), StorageError> {
        let (name, rule) = (self.name(), self.rule());
        let select = "SELECT value FROM about WHERE name = $1";
        let done = calls.read(select, Params::new().text(name)).await?;
        if let Some(done) = done.first()
            && done.text(0)? == rule
        {
            return Ok(());
        }
        // From now on nobody takes what the rule before computes for right.
        let under_way = format!("{rule}, under way");
        let begin = "INSERT INTO about (name, value) VALUES ($1, $2)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        let params = Params::new().text(name).text(&under_way);
        calls.write(begin, params).await?;
        let mut after = String::new();
        loop {
            let page = User::behind(calls, &after).await?;
            let Some(last) = page.last() else {
                break;
            };
            self.put_right(calls, &page).await?;
            after.clone_from(&last.login);
        }
        // Unless one of another rule has begun: then that one changes what was done here.
        let end = "UPDATE about SET value = $3 WHERE name = $1 AND value = $2";
        let params = Params::new().text(name).text(&under_way).text(&rule);
        calls.write(end, params).await.map(drop)
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
