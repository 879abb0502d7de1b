//! The keys by which users are found, computed anew.

use crate::calls::Calls;
use crate::params::Params;
use crate::row::Columns;
use messenger_core::AddressRule;
use messenger_core::storage::StorageError;

/// How many users are read, and then written, at once.
const PAGE: usize = 500;

/// Addresses of a user, as they were written.
struct Written {
    login: String,
    email: String,
    phone: String,
}

pub(super) async fn rekey(calls: &Calls, rule: &AddressRule) -> Result<(), StorageError> {
    let name = rule.name();
    let select = "SELECT value FROM about WHERE name = 'address rule'";
    let done = calls.read(select, Params::new()).await?;
    if let Some(done) = done.first()
        && done.text(0)? == name
    {
        return Ok(());
    }
    let mut after = String::new();
    loop {
        let page = read(calls, &after).await?;
        let Some(last) = page.last() else {
            break;
        };
        store(calls, rule, &page).await?;
        after.clone_from(&last.login);
    }
    let set = "INSERT INTO about (name, value) VALUES ('address rule', $1)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    calls.write(set, Params::new().text(&name)).await.map(drop)
}

/// The users behind `after` who have addresses.
async fn read(calls: &Calls, after: &str) -> Result<Vec<Written>, StorageError> {
    let select = "SELECT login, email, phone FROM users
        WHERE login > $1 AND (email <> '' OR phone <> '') ORDER BY login LIMIT $2";
    let params = Params::new().text(after).number(PAGE);
    let rows = calls.read(select, params).await?;
    let users = rows.iter().map(|row| {
        Ok(Written {
            login: row.text(0)?,
            email: row.text(1)?,
            phone: row.text(2)?,
        })
    });
    users.collect()
}

/// Stores the keys of addresses that are still the same.
async fn store(calls: &Calls, rule: &AddressRule, page: &[Written]) -> Result<(), StorageError> {
    let emails: Vec<_> = page.iter().map(|user| rule.email(&user.email)).collect();
    let phones: Vec<_> = page.iter().map(|user| rule.phone(&user.phone)).collect();
    let update = "UPDATE users u SET email_key = k.email_key, phone_key = k.phone_key
        FROM unnest($1, $2, $3, $4, $5) AS k (login, email, phone, email_key, phone_key)
        WHERE u.login = k.login AND u.email = k.email AND u.phone = k.phone";
    let params = Params::new()
        .texts(page.iter().map(|user| user.login.as_str()))
        .texts(page.iter().map(|user| user.email.as_str()))
        .texts(page.iter().map(|user| user.phone.as_str()))
        .optional_texts(emails.iter().map(Option::as_deref))
        .optional_texts(phones.iter().map(Option::as_deref));
    calls.write(update, params).await.map(drop)
}
