//! What logins look like, computed anew when the tables for that have changed.

use crate::calls::Calls;
use crate::params::Params;
use crate::row::Columns;
use messenger_core::lookalikes::{skeleton, version};
use messenger_core::storage::StorageError;

/// How many users are changed in a transaction.
const PAGE: usize = 1000;

/// Sees to it that all logins have their skeletons. One that was interrupted is done again.
pub(crate) async fn keep_up(calls: &Calls) -> Result<(), StorageError> {
    let select = "SELECT value FROM about WHERE name = 'skeletons'";
    let done = calls.read(select, Params::new()).await?;
    if let Some(done) = done.first()
        && done.text(0)? == version()
    {
        return Ok(());
    }
    let mut after = String::new();
    loop {
        let select = "SELECT login FROM users WHERE login > $1 ORDER BY login LIMIT $2";
        let params = Params::new().text(&after).number(PAGE);
        let rows = calls.read(select, params).await?;
        let logins = rows.iter().map(|row| row.text(0));
        let logins: Vec<String> = logins.collect::<Result<_, _>>()?;
        let Some(last) = logins.last() else {
            break;
        };
        let skeletons: Vec<String> = logins.iter().map(|login| skeleton(login)).collect();
        let update = "UPDATE users SET skeleton = new.skeleton
                      FROM unnest($1, $2) AS new (login, skeleton) WHERE users.login = new.login";
        let params = Params::new()
            .texts(logins.iter().map(String::as_str))
            .texts(skeletons.iter().map(String::as_str));
        calls.write(update, params).await?;
        after.clone_from(last);
    }
    let set = "INSERT INTO about (name, value) VALUES ('skeletons', $1)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    let version = version();
    calls.write(set, Params::new().text(&version)).await?;
    Ok(())
}
