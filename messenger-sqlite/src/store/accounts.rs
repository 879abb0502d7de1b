//! Accounts and profiles.

use crate::fault::{Fault, refused};
use crate::sql::{is_there, user_number};
use messenger_core::lookalikes::skeleton;
use messenger_core::proto::{Profile, UserId};
use messenger_core::storage::{Account, CreateAccountError, Owner, ProfileChange};
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

pub(super) fn create(
    connection: &Connection,
    account: &Account,
) -> Result<(), Fault<CreateAccountError>> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO users (login, nick, pass_hash, skeleton) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let login = account.login.as_str();
    match insert.execute(params![
        login,
        &*account.nick,
        account.pass_hash,
        skeleton(login)
    ]) {
        Ok(_) => Ok(()),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            refused(if user_number(connection, &account.login)?.is_some() {
                CreateAccountError::LoginTaken
            } else {
                CreateAccountError::NickTaken
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// Creates an account whose login looks like no other.
pub(super) fn create_distinct(
    connection: &Connection,
    account: &Account,
) -> Result<(), Fault<CreateAccountError>> {
    let login = account.login.as_str();
    let mut alike = connection
        .prepare_cached("SELECT 1 FROM users WHERE skeleton = ?1 AND login <> ?2 LIMIT 1")?;
    if alike.exists([skeleton(login).as_str(), login])? {
        return refused(CreateAccountError::Lookalike);
    }
    create(connection, account)
}

pub(super) fn account(connection: &Connection, login: &str) -> rusqlite::Result<Option<Account>> {
    let mut select = connection.prepare_cached(
        "SELECT nick, pass_hash FROM users WHERE login = ?1 AND pass_hash IS NOT NULL",
    )?;
    let account = select.query_row([login], |row| {
        let (nick, pass_hash): (String, String) = (row.get(0)?, row.get(1)?);
        Ok(Account::new(login, nick, pass_hash))
    });
    account.optional()
}

pub(super) fn set_password(
    connection: &Connection,
    login: &UserId,
    pass_hash: &str,
) -> rusqlite::Result<bool> {
    let mut update = connection.prepare_cached(
        "UPDATE users SET pass_hash = ?2 WHERE login = ?1 AND pass_hash IS NOT NULL",
    )?;
    Ok(update.execute([login.as_str(), pass_hash])? > 0)
}

pub(super) fn upsert_external(
    connection: &Connection,
    user: &UserId,
    nick: &str,
) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO users (login, nick, skeleton) VALUES (?1, ?2, ?3)
         ON CONFLICT (login) DO UPDATE SET nick = excluded.nick",
    )?;
    let skeleton = skeleton(user.as_str());
    upsert.execute([user.as_str(), nick, &skeleton]).map(drop)
}

pub(super) fn profile(connection: &Connection, user: &UserId) -> rusqlite::Result<Option<Profile>> {
    let mut select = connection.prepare_cached(
        "SELECT nick, email, phone, picture, user_status FROM users WHERE login = ?1",
    )?;
    let profile = select.query_row([user.as_str()], |row| {
        let text = |index| row.get::<_, String>(index);
        Ok(Profile::new(text(0)?)
            .email(text(1)?)
            .phone(text(2)?)
            .picture(text(3)?)
            .user_status(text(4)?))
    });
    profile.optional()
}

pub(super) fn change(
    connection: &Connection,
    owner: &Owner,
    change: &ProfileChange,
) -> rusqlite::Result<()> {
    if !is_there(connection, owner)? {
        return Ok(());
    }
    let user = owner.user.as_str();
    if let Some(email) = &change.email {
        let set = "UPDATE users SET email = ?2, email_key = ?3 WHERE login = ?1";
        connection
            .prepare_cached(set)?
            .execute(params![user, &*email.text, email.key])?;
    }
    if let Some(phone) = &change.phone {
        let set = "UPDATE users SET phone = ?2, phone_key = ?3 WHERE login = ?1";
        connection
            .prepare_cached(set)?
            .execute(params![user, &*phone.text, phone.key])?;
    }
    if let Some(user_status) = &change.user_status {
        let set = "UPDATE users SET user_status = ?2 WHERE login = ?1";
        connection
            .prepare_cached(set)?
            .execute([user, user_status])?;
    }
    if let Some(picture) = &change.picture {
        let set = "UPDATE users SET picture = ?2 WHERE login = ?1";
        connection.prepare_cached(set)?.execute([user, picture])?;
    }
    Ok(())
}
