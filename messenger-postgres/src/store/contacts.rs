//! Contacts and finding users.

use crate::calls::{CONFIRMATION, Calls};
use crate::params::Params;
use crate::row::Columns;
use messenger_core::proto::{Card, Contact, UserId};
use messenger_core::storage::{
    AddContactError, CONTACT_PICTURES, FindLimits, Lookup, Owner, StorageError, UserNumber,
};

/// Reads a card from the columns login, nick, email, phone, picture, the first of which has this number.
pub(super) fn card(row: &impl Columns, first: usize) -> Result<Card, StorageError> {
    Ok(Card::new(row.text(first)?, row.text(first + 1)?)
        .email(row.text(first + 2)?)
        .phone(row.text(first + 3)?)
        .picture(row.text(first + 4)?))
}

pub(super) async fn list(calls: &Calls, owner: &UserId) -> Result<Vec<Contact>, StorageError> {
    // As `find_users_v1` counts: the one that goes beyond is still read, which the engine leaves out with all behind it.
    let select = "SELECT login, nick, email, phone, CASE WHEN before <= $2 THEN picture ELSE '' END, myid FROM (
            SELECT c.number, u.login, u.nick, u.email, u.phone, u.picture, coalesce(m.myid, '') AS myid,
                sum(octet_length(u.picture)::bigint) OVER (ORDER BY c.number) - octet_length(u.picture) AS before
            FROM users o JOIN contacts c ON c.owner_no = o.no JOIN users u ON u.no = c.contact_no
            LEFT JOIN myids m ON m.owner_no = o.no AND m.user_no = u.no
            WHERE o.login = $1
        ) sized ORDER BY number";
    let params = Params::new().text(owner.as_str()).number(CONTACT_PICTURES);
    let rows = calls.read(select, params).await?;
    let contacts = rows
        .iter()
        .map(|row| Ok(Contact::new(card(row, 0)?).myid(row.text(5)?)));
    contacts.collect()
}

pub(super) async fn add(
    calls: &Calls,
    owner: &Owner,
    uid: &UserId,
    limit: usize,
) -> Result<Card, AddContactError> {
    let UserNumber(number) = owner.number;
    let params = Params::new()
        .number(number)
        .text(uid.as_str())
        .number(limit);
    let add = "SELECT login, nick, email, phone, picture, refusal FROM add_contact_v1($1, $2, $3)";
    let answer = calls.write(add, params).await?;
    let Some(row) = answer.first() else {
        return Err(AddContactError::NoSuchUser);
    };
    match row.value::<i32>(5)? {
        1 if !answer.may_be_repeated => Err(AddContactError::AlreadyThere),
        2 => Err(AddContactError::Full),
        _ => Ok(card(row, 0)?),
    }
}

pub(super) async fn remove(calls: &Calls, owner: &Owner, uid: &UserId) -> Result<(), StorageError> {
    let UserNumber(number) = owner.number;
    let delete = format!(
        "WITH removed AS (
            DELETE FROM contacts c USING users u WHERE c.owner_no = $1 AND u.login = $2 AND c.contact_no = u.no
        ) SELECT FROM {CONFIRMATION}"
    );
    let params = Params::new().number(number).text(uid.as_str());
    calls.write(&delete, params).await.map(drop)
}

pub(super) async fn find(
    calls: &Calls,
    owner: &Owner,
    entries: &[Lookup],
    limits: FindLimits,
) -> Result<Vec<Contact>, StorageError> {
    let emails = || keys(entries, |entry| &entry.emails);
    let phones = || keys(entries, |entry| &entry.phones);
    let params = Params::new()
        .numbers(emails().map(|(entry, _)| entry))
        .texts(emails().map(|(_, key)| key))
        .numbers(phones().map(|(entry, _)| entry))
        .texts(phones().map(|(_, key)| key))
        .number(limits.matches)
        .number(limits.bytes);
    let select = "SELECT login, nick, email, phone, picture, entry FROM find_users_v1($1, $2, $3, $4, $5, $6)";
    let rows = calls.read(select, params).await?;
    let mut found = Vec::new();
    let mut bytes = 0;
    for row in &rows {
        let entry = usize::try_from(row.number(5)?).ok();
        let entry = entry.and_then(|entry| entries.get(entry));
        let myid = entry.map(|entry| entry.myid.clone()).unwrap_or_default();
        let contact = Contact::new(card(row, 0)?).myid(myid);
        bytes += contact.encoded_len();
        if bytes > limits.bytes {
            break;
        }
        found.push(contact);
    }
    if !found.is_empty() {
        remember(calls, owner, &found, limits.remembered).await?;
    }
    Ok(found)
}

/// The keys of all entries, each with its entry's number.
fn keys<'a>(
    entries: &'a [Lookup],
    of_entry: impl Fn(&'a Lookup) -> &'a Vec<String>,
) -> impl Iterator<Item = (usize, &'a str)> {
    let entries = entries.iter().enumerate();
    entries.flat_map(move |(number, entry)| {
        let keys = of_entry(entry).iter();
        keys.map(move |key| (number, key.as_str()))
    })
}

/// Remembers under which of the owner's ids users were found.
async fn remember(
    calls: &Calls,
    owner: &Owner,
    found: &[Contact],
    limit: usize,
) -> Result<(), StorageError> {
    let UserNumber(number) = owner.number;
    let params = Params::new()
        .number(number)
        .texts(found.iter().map(|contact| contact.card.uid.as_str()))
        .texts(found.iter().map(|contact| &*contact.myid))
        .number(limit);
    let remember = "SELECT FROM remember_v1($1, $2, $3, $4)";
    calls.write(remember, params).await.map(drop)
}
