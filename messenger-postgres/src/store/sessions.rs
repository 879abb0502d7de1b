//! Sessions and their watermarks.

use crate::calls::{Answer, CONFIRMATION, Calls, Failure};
use crate::lane::LaneRow;
use crate::params::Params;
use crate::row::{Columns, session_key, unsigned};
use messenger_core::clock::Timestamp;
use messenger_core::proto::UserId;
use messenger_core::storage::{
    Look, NewSession, OpenSessionError, OpenedSession, ResumedSession, Seen, SessionKey,
    SessionRecord, StorageError, UserNumber, Watermark,
};

/// How many sessions a statement moves.
const MOVED_AT_ONCE: usize = 1000;

/// How many, of those that take long.
const WAITED_FOR_AT_ONCE: usize = 50;

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
    let select = "SELECT no, given, ack, used_us, nick FROM resume_v1($1, $2)";
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
    let end = format!("SELECT FROM end_session_v1($1, $2), {CONFIRMATION}");
    calls.write(&end, params).await.map(drop)
}

pub(super) async fn end_ephemeral(calls: &Calls, user: &UserId) -> Result<(), StorageError> {
    // Counted twice when it is done twice, it tells the same.
    let update = "UPDATE users SET ephemeral_ended = ephemeral_ended + 1 WHERE login = $1";
    let params = Params::new().text(user.as_str());
    calls.write(update, params).await.map(drop)
}

pub(super) async fn ephemeral_ended(calls: &Calls, user: &UserId) -> Result<u64, StorageError> {
    let select = "SELECT ephemeral_ended FROM users WHERE login = $1";
    let params = Params::new().text(user.as_str());
    let rows = calls.read(select, params).await?;
    rows.first().map_or(Ok(0), |row| row.number(0))
}

/// When any session was used last, as the index by age tells: that may be six hours late.
pub(super) async fn latest_use(calls: &Calls) -> Result<Option<Timestamp>, StorageError> {
    let select = "SELECT aged_us FROM sessions ORDER BY aged_us DESC LIMIT 1";
    let rows = calls.read(select, Params::new()).await?;
    rows.first().map(|row| row.time(0)).transpose()
}

/// Those that would hold up the others are moved behind all others: they were given very many messages, or somebody else
/// has their inbox locked. Of those, one that cannot be moved keeps few others.
///
/// However many there are, each statement has its time: what is stored stays, also when that of the whole call is over.
pub(super) async fn advance(calls: &Calls, marks: &[Watermark]) -> Result<(), StorageError> {
    let mut left = Vec::new();
    for marks in marks.chunks(MOVED_AT_ONCE) {
        if advance_some(calls, marks, false).await? {
            left.extend(marks.chunks(WAITED_FOR_AT_ONCE));
        }
    }
    let mut outcome = Ok(());
    for marks in left {
        let moved = advance_some(calls, marks, true).await.map(drop);
        outcome = outcome.and(moved);
    }
    outcome
}

/// True when there are some left for a call that waits.
async fn advance_some(
    calls: &Calls,
    marks: &[Watermark],
    waits: bool,
) -> Result<bool, StorageError> {
    let params = Params::new()
        .texts(marks.iter().map(|mark| mark.user.as_str()))
        .optional_bytes(marks.iter().map(|mark| Some(mark.session.0)))
        .numbers(marks.iter().map(|mark| mark.delivered_up_to))
        .times(marks.iter().map(|mark| mark.used))
        .flag(waits);
    let advance = "SELECT advance_v2($1, $2, $3, $4, $5)";
    let answer = calls.write(advance, params).await?;
    let are_left = answer.first().map(|row| row.value(0)).transpose()?;
    // Without any session there are none.
    Ok(are_left.flatten().unwrap_or(false))
}

/// The lanes are looked for as well: whether the database still has what they were answered.
pub(super) async fn look(
    calls: &Calls,
    looks: &[Look],
    lanes: &[&LaneRow],
) -> Result<Answer, Failure> {
    let sessions = looks.iter().map(|look| look.session.as_ref());
    let params = Params::new()
        .numbers(looks.iter().map(|look| look.owner.number.0))
        .optional_bytes(sessions.map(|session| session.map(|SessionKey(key)| *key)))
        .numbers(looks.iter().map(|look| look.ephemeral_ended))
        .numbers(lanes.iter().map(|lane| lane.number))
        .numbers(lanes.iter().map(|lane| lane.answered()));
    calls
        .call("SELECT look_v1($1, $2, $3, $4, $5)", params)
        .await
}

pub(super) fn seen(answer: &Answer) -> Result<Vec<Seen>, StorageError> {
    let newest = answer.first().map(|row| row.value(0)).transpose()?;
    let newest: Vec<Option<i64>> = newest.flatten().unwrap_or_default();
    let seen = newest.into_iter().map(|newest| match newest {
        Some(newest) => Seen::There {
            newest: unsigned(newest),
        },
        None => Seen::Ended,
    });
    Ok(seen.collect())
}
