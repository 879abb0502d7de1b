//! Sessions and their places.

use crate::calls::Calls;
use crate::params::Params;
use crate::row::{Columns, session_key};
use messenger_core::proto::UserId;
use messenger_core::storage::{
    Look, NewSession, OpenSessionError, OpenedSession, ResumedSession, Seen, SessionKey,
    SessionRecord, StorageError, UserNumber, Watermark,
};

pub(super) async fn open(
    calls: &Calls,
    new: &NewSession,
) -> Result<OpenedSession, OpenSessionError> {
    let UserNumber(number) = new.owner.number;
    let params = Params::new()
        .number(number)
        .optional_key(Some(&new.key))
        .flag(new.ack)
        .time(new.now)
        .time(new.expired_before)
        .number(new.limit.saturating_sub(1));
    let open = "SELECT place, ended FROM open_session_v1($1, $2, $3, $4, $5, $6)";
    let answer = calls.write(open, params).await?;
    let Some(row) = answer.first() else {
        return Err(OpenSessionError::NoSuchUser);
    };
    let ended: Vec<&[u8]> = row.value(1)?;
    let ended = ended.into_iter().map(session_key);
    let ended = ended.collect::<Result<_, _>>()?;
    Ok(OpenedSession::new(row.number(0)?, ended))
}

pub(super) async fn resume(
    calls: &Calls,
    user: &UserId,
    key: &SessionKey,
) -> Result<Option<ResumedSession>, StorageError> {
    let select = "SELECT u.no, s.given, s.ack, s.used_us, u.nick
        FROM users u JOIN sessions s ON s.user_no = u.no WHERE u.login = $1 AND s.key = $2";
    let params = Params::new().text(user.as_str()).optional_key(Some(key));
    let rows = calls.read(select, params).await?;
    let resumed = rows
        .first()
        .map(|row| Ok(ResumedSession::new(record(row, 0)?, row.text(4)?)));
    resumed.transpose()
}

/// Reads a record from the columns no, given, ack, used_us, the first of which has this number.
pub(super) fn record(row: &impl Columns, first: usize) -> Result<SessionRecord, StorageError> {
    Ok(SessionRecord::new(
        UserNumber(row.number(first)?),
        row.number(first + 1)?,
        row.value(first + 2)?,
        row.time(first + 3)?,
    ))
}

pub(super) async fn end(
    calls: &Calls,
    user: &UserId,
    key: &SessionKey,
) -> Result<(), StorageError> {
    let params = Params::new().text(user.as_str()).optional_key(Some(key));
    let end = "SELECT FROM end_session_v1($1, $2)";
    calls.write(end, params).await.map(drop)
}

pub(super) async fn advance(calls: &Calls, marks: &[Watermark]) -> Result<(), StorageError> {
    let params = Params::new()
        .texts(marks.iter().map(|mark| mark.user.as_str()))
        .optional_bytes(marks.iter().map(|mark| Some(mark.session.0)))
        .numbers(marks.iter().map(|mark| mark.delivered_up_to))
        .times(marks.iter().map(|mark| mark.used));
    let advance = "SELECT FROM advance_v1($1, $2, $3, $4)";
    calls.write(advance, params).await.map(drop)
}

pub(super) async fn look(calls: &Calls, looks: &[Look]) -> Result<Vec<Seen>, StorageError> {
    let select = "SELECT CASE WHEN l.key IS NULL OR s.key IS NOT NULL THEN i.newest END
        FROM unnest($1, $2) WITH ORDINALITY AS l (no, key, n)
        LEFT JOIN inboxes i ON i.user_no = l.no
        LEFT JOIN sessions s ON s.user_no = l.no AND s.key = l.key
        ORDER BY l.n";
    let sessions = looks.iter().map(|look| look.session.as_ref());
    let params = Params::new()
        .numbers(looks.iter().map(|look| look.owner.number.0))
        .optional_bytes(sessions.map(|session| session.map(|SessionKey(key)| *key)));
    let rows = calls.read(select, params).await?;
    let seen = rows.iter().map(|row| {
        Ok(match row.value::<Option<i64>>(0)? {
            Some(_) => Seen::There {
                newest: row.number(0)?,
            },
            None => Seen::Ended,
        })
    });
    seen.collect()
}
