//! `import`: which people of an address book are users.

use super::check;
use crate::address::{email_key, phone_key};
use crate::engine::Shared;
use crate::session::Login;
use crate::storage::{FindLimits, Lookup};
use messenger_proto::{Contact, ErrorCode, Failure, Import, ImportEntry};

/// After so many phone numbers the task lets others run.
const PARSED_AT_ONCE: usize = 256;

pub(super) async fn import(
    shared: &Shared,
    login: &Login,
    request: Import,
) -> Result<Vec<Contact>, Failure> {
    let limits = &shared.policy.limits;
    if request.contacts.len() > limits.import_entries {
        let most = limits.import_entries;
        let text = format!("contacts has more than the limit of {most} entries");
        return Err(Failure::new(ErrorCode::InvalidData, text));
    }
    for entry in &request.contacts {
        check::at_most_chars("myid", &entry.myid, limits.myid)?;
        check::at_most_chars("phone", &entry.phone, limits.phone)?;
        check::at_most_chars("email", &entry.email, limits.email)?;
    }
    if let Some(limiters) = &shared.limiters {
        limiters.import(login.user(), request.contacts.len())?;
    }
    let mut entries = Vec::with_capacity(request.contacts.len());
    for (index, entry) in request.contacts.into_iter().enumerate() {
        if index % PARSED_AT_ONCE == PARSED_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        entries.extend(lookup(shared, entry));
    }
    let limits = FindLimits {
        matches: limits.import_matches,
        bytes: limits.list_bytes,
        remembered: limits.remembered_ids,
    };
    let storage = &shared.storage;
    Ok(storage.find_users(login.user(), entries, limits).await?)
}

/// How to find the person; `None` when there is nothing to find them by.
fn lookup(shared: &Shared, entry: ImportEntry) -> Option<Lookup> {
    let email = email_key(&entry.email);
    let phone = phone_key(&entry.phone, shared.policy.region);
    (email.is_some() || phone.is_some()).then_some(Lookup {
        myid: entry.myid,
        email,
        phone,
    })
}
