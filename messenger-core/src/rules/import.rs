//! `import`: which people of an address book are users.

use super::rule::Rule;
use super::{check, pictures};
use crate::address::AddressRule;
use crate::connection_state::{ConnectionState, Login};
use crate::shared::Shared;
use crate::storage::{FindLimits, Lookup};
use messenger_proto::{Contact, ErrorCode, Failure, Import, ImportEntry};

/// More phone numbers than these are understood in the background: one takes some microseconds.
const FEW: usize = 8;

impl Rule for Import {
    async fn carry_out(
        self,
        connection: &ConnectionState,
        login: &Login,
    ) -> Result<Vec<Contact>, Failure> {
        let shared = &*connection.shared;
        let limits = &shared.policy.limits;
        if self.contacts.len() > limits.import_entries {
            let most = limits.import_entries;
            let text = format!("contacts has more than the limit of {most} entries");
            return Err(Failure::new(ErrorCode::InvalidData, text));
        }
        for entry in &self.contacts {
            check::at_most_chars("myid", &entry.myid, limits.myid)?;
        }
        if let Some(limiters) = &shared.limiters {
            let (user, entries) = (login.user(), self.contacts.len());
            limiters.import(&shared.storage, user, entries).await?;
        }
        let entries = lookups(shared, self.contacts).await?;
        let bounds = FindLimits {
            matches: limits.import_matches,
            bytes: limits.list_bytes,
            remembered: limits.remembered_ids,
        };
        let storage = &shared.storage;
        let owner = login.owner();
        let mut found = storage.find_users(&owner, entries, bounds).await?;
        pictures::bound(&mut found, login, limits);
        Ok(found)
    }
}

/// How to find the people; those that there is nothing to find by are left out.
async fn lookups(shared: &Shared, contacts: Vec<ImportEntry>) -> Result<Vec<Lookup>, Failure> {
    let rule = shared.address_rule().await?.clone();
    let are_few = contacts.len() <= FEW;
    let work = move || {
        let lookups = contacts
            .into_iter()
            .filter_map(|entry| lookup(entry, &rule));
        lookups.collect()
    };
    if are_few {
        return Ok(work());
    }
    Ok(shared.imports.run(work).await?)
}

/// How to find the person; `None` when there is nothing to find them by, or nothing that can be read.
fn lookup(entry: ImportEntry, rule: &AddressRule) -> Option<Lookup> {
    let emails = rule.emails(&entry.email);
    let phones = rule.phones(&entry.phone);
    (!emails.is_empty() || !phones.is_empty()).then_some(Lookup {
        myid: entry.myid,
        emails,
        phones,
    })
}
