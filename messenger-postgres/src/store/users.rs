//! Users as an operator sees them.

use super::accounts::read_profile;
use super::contacts::card;
use super::sessions::record;
use crate::calls::{CONFIRMATION, Calls};
use crate::params::Params;
use crate::row::Columns;
use messenger_core::proto::{Contact, UserId};
use messenger_core::storage::{StorageError, UserData, UserNumber};

pub(super) async fn number(
    calls: &Calls,
    user: &UserId,
) -> Result<Option<UserNumber>, StorageError> {
    let select = "SELECT no FROM users WHERE login = $1";
    let rows = calls
        .read(select, Params::new().text(user.as_str()))
        .await?;
    let number = rows.first().map(|row| row.number(0).map(UserNumber));
    number.transpose()
}

pub(super) async fn list(
    calls: &Calls,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<UserId>, StorageError> {
    let select = "SELECT login FROM users WHERE login > $1 ORDER BY login LIMIT $2";
    let after = after.map_or("", UserId::as_str);
    let params = Params::new().text(after).number(limit);
    let rows = calls.read(select, params).await?;
    let users = rows.iter().map(|row| Ok(row.text(0)?.into()));
    users.collect()
}

pub(super) async fn delete(calls: &Calls, user: &UserId) -> Result<bool, StorageError> {
    let delete = format!("SELECT delete_user_v2($1) FROM {CONFIRMATION}");
    let params = Params::new().text(user.as_str());
    let answer = calls.write(&delete, params).await?;
    let was_there = answer.first().map(|row| row.value(0)).transpose()?;
    // An attempt whose answer was lost may have done it.
    Ok(was_there == Some(true) || answer.may_be_repeated)
}

/// All that is kept of a user as it was at one moment: a row of the user's own, one for each contact, one for each user
/// remembered, and one for each session.
const DATA: &str = "
    WITH me AS (SELECT * FROM users WHERE login = $1)
    SELECT 0 AS kind, nick AS a, email AS b, phone AS c, picture AS d, user_status AS e, ''::text AS f,
        no, newest AS place, pass_hash IS NOT NULL AS flag, 0::bigint AS used_us, NULL::bytea AS key
    FROM me JOIN inboxes ON user_no = no
    UNION ALL
    SELECT 1, u.login, u.nick, u.email, u.phone, u.picture, coalesce(m.myid, ''), c.number, 0, false, 0, NULL
    FROM me JOIN contacts c ON c.owner_no = me.no JOIN users u ON u.no = c.contact_no
    LEFT JOIN myids m ON m.owner_no = me.no AND m.user_no = u.no
    UNION ALL
    SELECT 2, u.login, m.myid, '', '', '', '', 0, 0, false, 0, NULL
    FROM me JOIN myids m ON m.owner_no = me.no JOIN users u ON u.no = m.user_no
    UNION ALL
    SELECT 3, '', '', '', '', '', '', me.no, s.given, s.ack, s.used_us, s.key
    FROM me JOIN sessions s ON s.user_no = me.no
    ORDER BY 1, 8";

pub(super) async fn data(calls: &Calls, user: &UserId) -> Result<Option<UserData>, StorageError> {
    let rows = calls.read(DATA, Params::new().text(user.as_str())).await?;
    let mut rows = rows.iter();
    let Some(own) = rows.next() else {
        return Ok(None);
    };
    let (mut contacts, mut remembered, mut sessions) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        match row.value::<i32>(0)? {
            1 => contacts.push(Contact::new(card(row, 1)?).myid(row.text(6)?)),
            2 => remembered.push((row.text(1)?.into(), row.text(2)?.into())),
            _ => sessions.push((row.session_key(11)?, record(row, 7)?)),
        }
    }
    let data = UserData::new(read_profile(own, 1)?)
        .has_account(own.value(9)?)
        .newest(own.number(8)?)
        .contacts(contacts)
        .remembered(remembered)
        .sessions(sessions);
    Ok(Some(data))
}
