//! Contacts and finding users.

use crate::fault::{Fault, refused};
use crate::sql::{integer, is_there};
use messenger_core::proto::{ByteString, Card, Contact, UserId};
use messenger_core::storage::{AddContactError, CONTACT_PICTURES, FindLimits, Lookup, Owner};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;

/// Reads a card from the columns login, nick, email, phone, picture.
fn card(row: &Row<'_>) -> rusqlite::Result<Card> {
    Ok(card_without_picture(row)?.picture(row.get::<_, String>(4)?))
}

fn card_without_picture(row: &Row<'_>) -> rusqlite::Result<Card> {
    let text = |index| row.get::<_, String>(index);
    Ok(Card::new(text(0)?, text(1)?)
        .email(text(2)?)
        .phone(text(3)?))
}

pub(super) fn list(connection: &Connection, owner: &UserId) -> rusqlite::Result<Vec<Contact>> {
    let mut select = connection.prepare_cached(
        "SELECT login, nick, email, phone, picture, coalesce(myid, '')
         FROM contacts JOIN users ON login = contact
         LEFT JOIN myids ON myids.owner = contacts.owner AND user = contact
         WHERE contacts.owner = ?1 ORDER BY contacts.number",
    )?;
    let mut pictures = 0;
    let contacts = select.query_map([owner.as_str()], |row| {
        let card = match pictures < CONTACT_PICTURES {
            true => card(row)?,
            false => card_without_picture(row)?,
        };
        pictures += card.picture.len();
        Ok(Contact::new(card).myid(row.get::<_, String>(5)?))
    })?;
    contacts.collect()
}

pub(super) fn add(
    connection: &Connection,
    owner: &Owner,
    uid: &UserId,
    limit: usize,
) -> Result<Card, Fault<AddContactError>> {
    let mut select = connection
        .prepare_cached("SELECT login, nick, email, phone, picture FROM users WHERE login = ?1")?;
    let Some(card) = select.query_row([uid.as_str()], card).optional()? else {
        return refused(AddContactError::NoSuchUser);
    };
    if !is_there(connection, owner)? {
        return refused(AddContactError::NoSuchUser);
    }
    let owner = &owner.user;
    let pair = [owner.as_str(), uid.as_str()];
    let mut there =
        connection.prepare_cached("SELECT 1 FROM contacts WHERE owner = ?1 AND contact = ?2")?;
    if there.exists(pair)? {
        return refused(AddContactError::AlreadyThere);
    }
    let mut count = connection.prepare_cached("SELECT count(*) FROM contacts WHERE owner = ?1")?;
    if count.query_row([owner.as_str()], |row| row.get::<_, i64>(0))? >= integer(limit) {
        return refused(AddContactError::Full);
    }
    let mut insert =
        connection.prepare_cached("INSERT INTO contacts (owner, contact) VALUES (?1, ?2)")?;
    insert.execute(pair)?;
    Ok(card)
}

pub(super) fn remove(connection: &Connection, owner: &Owner, uid: &UserId) -> rusqlite::Result<()> {
    if !is_there(connection, owner)? {
        return Ok(());
    }
    let mut delete =
        connection.prepare_cached("DELETE FROM contacts WHERE owner = ?1 AND contact = ?2")?;
    delete
        .execute([owner.user.as_str(), uid.as_str()])
        .map(drop)
}

pub(super) fn find(
    connection: &Connection,
    entries: &[Lookup],
    limits: FindLimits,
) -> rusqlite::Result<Vec<Contact>> {
    let mut select = connection.prepare_cached(
        "SELECT login, nick, email, phone, picture FROM users
         WHERE email_key = ?1 OR phone_key = ?2 ORDER BY login LIMIT ?3",
    )?;
    let mut found = Vec::new();
    let mut bytes = 0;
    for Lookup {
        myid,
        emails,
        phones,
        ..
    } in entries
    {
        let mut users = BTreeMap::new();
        for number in 0..emails.len().max(phones.len()) {
            let (email, phone) = (emails.get(number), phones.get(number));
            let mut rows = select.query(params![email, phone, integer(limits.matches)])?;
            while let Some(row) = rows.next()? {
                let card = card(row)?;
                users.insert(card.uid.clone(), card);
            }
        }
        for card in users.into_values().take(limits.matches) {
            let myid = myid.clone();
            let contact = Contact::new(card).myid(myid);
            bytes += contact.encoded_len();
            if bytes > limits.bytes {
                return Ok(found);
            }
            found.push(contact);
        }
    }
    Ok(found)
}

/// Remembers under which of the owner's ids users were found.
pub(super) fn remember(
    connection: &Connection,
    owner: &Owner,
    known_as: &[(UserId, ByteString)],
    limit: usize,
) -> rusqlite::Result<()> {
    if !is_there(connection, owner)? {
        return Ok(());
    }
    let mut count = connection.prepare_cached("SELECT count(*) FROM myids WHERE owner = ?1")?;
    let mut update =
        connection.prepare_cached("UPDATE myids SET myid = ?3 WHERE owner = ?1 AND user = ?2")?;
    let mut insert =
        connection.prepare_cached("INSERT INTO myids (owner, user, myid) VALUES (?1, ?2, ?3)")?;
    let owner = owner.user.as_str();
    let mut remembered: i64 = count.query_row([owner], |row| row.get(0))?;
    for (user, myid) in known_as {
        let row = [owner, user.as_str(), myid];
        if update.execute(row)? == 0 && remembered < integer(limit) {
            remembered += integer(insert.execute(row)?);
        }
    }
    Ok(())
}
