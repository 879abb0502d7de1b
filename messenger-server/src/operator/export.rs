//! All that is kept of a user, as JSON.

use super::CommandError;
use messenger_core::UserExport;
use messenger_core::storage::UserData;
use serde_json::{Value, json};
use std::io::Write;

/// Writes one object. Times are seconds since 1970; pictures and attachments are base64.
pub(super) fn write(export: &UserExport, out: &mut impl Write) -> Result<(), CommandError> {
    let UserExport {
        user, data, inbox, ..
    } = export;
    let UserData { profile, .. } = data;
    let object = json!({
        "login": user.as_str(),
        "nick": &*profile.nick,
        "email": &*profile.email,
        "phone": &*profile.phone,
        "user_status": &*profile.user_status,
        "picture": &*profile.picture,
        "contacts": contacts(data),
        "remembered": remembered(data),
        "sessions": sessions(data),
        "messages_received": data.newest,
        "inbox": inbox.iter().map(|(seq, message)| json!({
            "seq": seq,
            "id": message.id.as_str(),
            "from": message.from.as_str(),
            "nick": &*message.nick,
            "time": message.time,
            "body": message.body.as_str(),
            "attach": {"mime": &*message.attach.mime, "data": message.attach.data.as_str()},
        })).collect::<Vec<_>>(),
    });
    serde_json::to_writer_pretty(&mut *out, &object)
        .map_err(|error| CommandError::Output(error.into()))?;
    Ok(writeln!(out)?)
}

fn contacts(data: &UserData) -> Vec<Value> {
    let contacts = data.contacts.iter();
    contacts
        .map(|contact| json!({"uid": contact.card.uid.as_str(), "myid": &*contact.myid}))
        .collect()
}

fn remembered(data: &UserData) -> Vec<Value> {
    let remembered = data.remembered.iter();
    remembered
        .map(|(user, myid)| json!({"uid": user.as_str(), "myid": &**myid}))
        .collect()
}

fn sessions(data: &UserData) -> Vec<Value> {
    let sessions = data.sessions.iter();
    sessions
        .map(|(key, record)| {
            json!({
                "id": key.to_string(),
                "used": record.used.as_secs(),
                "given": record.delivered_up_to,
                "acknowledges": record.ack,
            })
        })
        .collect()
}
