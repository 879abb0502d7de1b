//! Inboxes, as they are read.

use crate::calls::Calls;
use crate::params::Params;
use crate::row::Columns;
use messenger_core::proto::{Attachment, Message, UserId};
use messenger_core::storage::{Look, PageLimits, StorageError, UserNumber};
use tokio_postgres::Row;

pub(super) async fn read(
    calls: &Calls,
    user: &UserId,
    after: u64,
    page: PageLimits,
) -> Result<Vec<(u64, Message)>, StorageError> {
    let select = "SELECT p.* FROM users u CROSS JOIN LATERAL inbox_v1(u.no, $2, $3, $4) p
                  WHERE u.login = $1 ORDER BY p.seq";
    let params = Params::new()
        .text(user.as_str())
        .number(after)
        .number(page.messages)
        .number(page.bytes);
    let rows = calls.read(select, params).await?;
    rows.iter().map(|row| message(row, user)).collect()
}

/// The page, if the session is there, or if none is named, its user.
pub(super) async fn read_for(
    calls: &Calls,
    look: &Look,
    after: u64,
    page: PageLimits,
) -> Result<Option<Vec<(u64, Message)>>, StorageError> {
    // A row without a message says that there is none.
    let select = "SELECT p.* FROM (SELECT 1) one LEFT JOIN inbox_v1($1, $2, $3, $4) p ON true
                  WHERE CASE WHEN $5 IS NULL
                      THEN EXISTS (SELECT FROM users u WHERE u.no = $1 AND u.ephemeral_ended = $6)
                      ELSE EXISTS (SELECT FROM sessions s WHERE s.user_no = $1 AND s.key = $5)
                  END ORDER BY p.seq";
    let UserNumber(number) = look.owner.number;
    let params = Params::new()
        .number(number)
        .number(after)
        .number(page.messages)
        .number(page.bytes)
        .optional_key(look.session.as_ref())
        .number(look.ephemeral_ended);
    let rows = calls.read(select, params).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let mut messages = Vec::with_capacity(rows.len());
    for row in &rows {
        if row.value::<Option<i64>>(0)?.is_some() {
            messages.push(message(row, &look.owner.user)?);
        }
    }
    Ok(Some(messages))
}

/// Reads a message from the columns seq, id, sender, nick, time, body, mime, attachment.
fn message(row: &Row, recipient: &UserId) -> Result<(u64, Message), StorageError> {
    let message = Message::new(
        row.text(1)?,
        row.text(2)?,
        recipient.clone(),
        row.number(4)?,
    )
    .nick(row.text(3)?)
    .body(row.text(5)?)
    .attach(Attachment::new(row.text(6)?, row.text(7)?));
    Ok((row.number(0)?, message))
}

pub(super) async fn newest(calls: &Calls, user: &UserId) -> Result<u64, StorageError> {
    let select = "SELECT newest FROM inboxes JOIN users ON no = user_no WHERE login = $1";
    let rows = calls
        .read(select, Params::new().text(user.as_str()))
        .await?;
    rows.first().map_or(Ok(0), |row| row.number(0))
}
