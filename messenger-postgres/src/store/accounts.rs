//! Accounts and profiles.

use super::PostgresStorage;
use crate::calls::Calls;
use crate::params::Params;
use crate::row::Columns;
use async_trait::async_trait;
use messenger_core::lookalikes::skeleton;
use messenger_core::proto::{Profile, UserId};
use messenger_core::storage::{
    Account, Accounts, CreateAccountError, Owner, ProfileChange, StorageError, UserNumber,
};

#[async_trait]
impl Accounts for PostgresStorage {
    async fn create_account(&self, account: Account) -> Result<(), CreateAccountError> {
        create(&self.calls, &account, false).await
    }

    async fn create_distinct_account(&self, account: Account) -> Result<(), CreateAccountError> {
        create(&self.calls, &account, true).await
    }

    async fn account(&self, login: &str) -> Result<Option<Account>, StorageError> {
        account(&self.calls, login).await
    }

    async fn set_password(&self, login: &UserId, pass_hash: String) -> Result<bool, StorageError> {
        let update = "UPDATE users SET pass_hash = $2 WHERE login = $1 AND pass_hash IS NOT NULL RETURNING true";
        let params = Params::new().text(login.as_str()).text(&pass_hash);
        let answer = self.calls.write(update, params).await?;
        Ok(answer.first().is_some())
    }
}

async fn create(calls: &Calls, new: &Account, is_distinct: bool) -> Result<(), CreateAccountError> {
    let login = new.login.as_str();
    let skeleton = skeleton(login);
    let params = Params::new()
        .text(login)
        .text(&new.nick)
        .text(&new.pass_hash)
        .text(&skeleton)
        .flag(is_distinct);
    let answer = calls
        .write("SELECT create_account_v1($1, $2, $3, $4, $5)", params)
        .await?;
    match answer.first().map(|row| row.value(0)).transpose()? {
        Some(0_i32) => Ok(()),
        // By an attempt whose answer was lost, if the hash is the same, which is salted.
        Some(1) if answer.may_be_repeated => match account(calls, login).await? {
            Some(there) if there == *new => Ok(()),
            _ => Err(CreateAccountError::LoginTaken),
        },
        Some(1) => Err(CreateAccountError::LoginTaken),
        Some(2) => Err(CreateAccountError::NickTaken),
        Some(3) => Err(CreateAccountError::Lookalike),
        _ => Err(StorageError::unknown("an account came to nothing known").into()),
    }
}

async fn account(calls: &Calls, login: &str) -> Result<Option<Account>, StorageError> {
    let select = "SELECT nick, pass_hash FROM users WHERE login = $1 AND pass_hash IS NOT NULL";
    let rows = calls.read(select, Params::new().text(login)).await?;
    let account = rows
        .first()
        .map(|row| Ok(Account::new(login, row.text(0)?, row.text(1)?)));
    account.transpose()
}

pub(super) async fn upsert_external(
    calls: &Calls,
    user: &UserId,
    nick: &str,
) -> Result<(), StorageError> {
    let skeleton = skeleton(user.as_str());
    let params = Params::new().text(user.as_str()).text(nick).text(&skeleton);
    let upsert = "SELECT FROM upsert_external_user_v1($1, $2, $3)";
    calls.write(upsert, params).await.map(drop)
}

pub(super) async fn profile(calls: &Calls, user: &UserId) -> Result<Option<Profile>, StorageError> {
    let select = "SELECT nick, email, phone, picture, user_status FROM users WHERE login = $1";
    let rows = calls
        .read(select, Params::new().text(user.as_str()))
        .await?;
    rows.first().map(|row| read_profile(row, 0)).transpose()
}

/// Reads a profile from the columns nick, email, phone, picture, user_status, the first of which has this number.
pub(super) fn read_profile(row: &impl Columns, first: usize) -> Result<Profile, StorageError> {
    Ok(Profile::new(row.text(first)?)
        .email(row.text(first + 1)?)
        .phone(row.text(first + 2)?)
        .picture(row.text(first + 3)?)
        .user_status(row.text(first + 4)?))
}

pub(super) async fn change(
    calls: &Calls,
    owner: &Owner,
    change: &ProfileChange,
) -> Result<(), StorageError> {
    let UserNumber(number) = owner.number;
    let update = "UPDATE users SET
        email = coalesce($2, email), email_key = CASE WHEN $2 IS NULL THEN email_key ELSE $3 END,
        phone = coalesce($4, phone), phone_key = CASE WHEN $4 IS NULL THEN phone_key ELSE $5 END,
        user_status = coalesce($6, user_status), picture = coalesce($7, picture)
        WHERE no = $1";
    let (email, phone) = (change.email.as_ref(), change.phone.as_ref());
    let params = Params::new()
        .number(number)
        .optional_text(email.map(|email| &*email.text))
        .optional_text(email.and_then(|email| email.key.as_deref()))
        .optional_text(phone.map(|phone| &*phone.text))
        .optional_text(phone.and_then(|phone| phone.key.as_deref()))
        .optional_text(change.user_status.as_deref())
        .optional_text(change.picture.as_deref());
    calls.write(update, params).await.map(drop)
}
