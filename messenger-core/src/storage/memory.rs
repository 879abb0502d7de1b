//! Everything in memory; gone with the process.

mod held;
mod inbox;
mod mids;
mod numbers;
mod user;

use super::{
    Account, Accounts, AddContactError, AppendError, Appended, CreateAccountError, Expiry,
    FindLimits, Look, Lookup, NewMessage, NewSession, OpenSessionError, OpenedSession, Owner,
    PURGE_EVERY, PageLimits, ProfileChange, Seen, SessionKey, SessionRecord, Storage, StorageError,
    UserData, UserNumber, Watermark,
};
use crate::address::AddressRule;
use crate::lookalikes::skeleton;
use async_trait::async_trait;
use bytestring::ByteString;
use dashmap::{DashMap, Entry};
use held::Held;
use inbox::Inbox;
use messenger_proto::{Card, Contact, Message, Profile, UserId};
use mids::Mids;
use numbers::Numbers;
use parking_lot::Mutex;
use std::collections::hash_map::Entry as HashEntry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use user::User;

/// How many users are looked at for what is out of date before other tasks have a turn.
const PURGED_AT_ONCE: usize = 1024;

/// Everything in memory; gone with the process.
///
/// It remembers the last 100,000 `mid`s of a user, however young the others are. What all inboxes hold together is
/// [bounded](Self::with_limit).
// Locks are taken in the order of the fields, and of users never two at once.
pub struct MemoryStorage {
    numbers: Numbers,
    names: Mutex<Names>,
    mids: Mids,
    users: DashMap<UserId, Arc<Mutex<User>>>,
    addresses: Mutex<Addresses>,
    /// By which rule all keys were computed last.
    address_rule: Mutex<Option<AddressRule>>,
    /// What all inboxes hold.
    held: Held,
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::with_limit(Self::DEFAULT_LIMIT)
    }
}

/// The inbox holds as much as is left for all others.
#[derive(Debug, thiserror::Error)]
#[error(
    "an inbox holds as many bytes as others have left of the {limit} there are for messages in memory"
)]
struct Full {
    limit: u64,
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStorage").finish_non_exhaustive()
    }
}

/// What new accounts must not have.
#[derive(Default)]
struct Names {
    nicks: HashSet<ByteString>,
    /// How many users' logins look like this.
    skeletons: HashMap<String, usize>,
}

/// Who has set which address.
#[derive(Default)]
struct Addresses {
    emails: HashMap<String, BTreeSet<UserId>>,
    phones: HashMap<String, BTreeSet<UserId>>,
}

impl MemoryStorage {
    /// How many bytes of messages a store keeps unless it is told otherwise: 1 GiB.
    pub const DEFAULT_LIMIT: u64 = 1024 * 1024 * 1024;

    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store that keeps at most so many bytes of messages, of all users together, each with a kibibyte
    /// beside its text. An inbox holds no more than is left for all others, over which messages to it are refused: so
    /// a few that are filled on purpose, and not read, leave room for everybody else. Threads count by themselves, so the
    /// bound may be passed by half a mebibyte, or by a hundredth if that is less.
    pub fn with_limit(bytes: u64) -> Self {
        Self {
            numbers: Numbers::default(),
            names: Mutex::default(),
            mids: Mids::default(),
            users: DashMap::new(),
            addresses: Mutex::default(),
            address_rule: Mutex::default(),
            held: Held::new(bytes),
        }
    }

    fn with_user<T>(&self, user: &UserId, act: impl FnOnce(&mut User) -> T) -> Option<T> {
        let user = self.users.get(user)?;
        let mut user = user.lock();
        Some(act(&mut user))
    }

    /// Does something in the name of the owner, who cannot be deleted meanwhile.
    fn with_owner<T>(&self, owner: &Owner, act: impl FnOnce(&mut User) -> T) -> Option<T> {
        let act = |user: &mut User| (user.number == owner.number).then(|| act(user));
        self.with_user(&owner.user, act).flatten()
    }

    /// As [`with_user`](Self::with_user), for what changes how much the inbox holds.
    fn with_inbox<T>(&self, user: &UserId, act: impl FnOnce(&mut User) -> T) -> Option<T> {
        self.with_user(user, |user| self.count(user, act))
    }

    fn count<T>(&self, user: &mut User, act: impl FnOnce(&mut User) -> T) -> T {
        let before = user.inbox.held();
        let done = act(user);
        self.held.change(before, user.inbox.held());
        done
    }

    fn card(&self, user: &UserId) -> Option<(UserNumber, Card)> {
        self.with_user(user, |found| (found.number, found.card(user)))
    }

    fn is_gone(&self, sender: Option<UserNumber>) -> bool {
        sender.is_some_and(|sender| self.numbers.is_gone(sender))
    }

    fn create(&self, account: Account, is_distinct: bool) -> Result<(), CreateAccountError> {
        let skeleton = skeleton(account.login.as_str());
        let mut names = self.names.lock();
        let Entry::Vacant(place) = self.users.entry(account.login) else {
            return Err(CreateAccountError::LoginTaken);
        };
        if is_distinct && names.skeletons.contains_key(&skeleton) {
            return Err(CreateAccountError::Lookalike);
        }
        if !names.nicks.insert(account.nick.clone()) {
            return Err(CreateAccountError::NickTaken);
        }
        names.add_login(skeleton);
        let number = self.numbers.next();
        let user = User::new(number, account.nick, Some(account.pass_hash));
        place.insert(Arc::new(Mutex::new(user)));
        Ok(())
    }

    /// Appends messages up to the first whose recipient there is not. Those of a run from one user to another are appended
    /// in one look at the two.
    fn append_all(&self, messages: &[&NewMessage]) -> Vec<Result<Appended, AppendError>> {
        let mut appended = Vec::with_capacity(messages.len());
        let are_between_the_same = |one: &&NewMessage, next: &&NewMessage| {
            let (one, next) = (&one.message, &next.message);
            one.to == next.to && one.from == next.from
        };
        for run in messages.chunk_by(are_between_the_same) {
            self.append_run(run, &mut appended);
            if let Some(Err(AppendError::NoSuchUser)) = appended.last() {
                break;
            }
        }
        appended
    }

    fn append_run(&self, run: &[&NewMessage], appended: &mut Vec<Result<Appended, AppendError>>) {
        let Some(Message { from, to, .. }) = run.first().map(|new| &*new.message) else {
            return;
        };
        let has_mid = |new: &&NewMessage| new.mid.is_some();
        let digests: Vec<_> = match run.iter().any(has_mid) {
            true => run
                .iter()
                .map(|new| new.mid.as_ref().map(|_| new.digest()))
                .collect(),
            false => Vec::new(),
        };
        let of_sender = (!digests.is_empty()).then(|| self.mids.of(from));
        let mut of_sender = of_sender.as_ref().map(|mids| mids.lock());
        let mut digests = digests.into_iter();
        let to_user = self.with_user(to, |user| {
            for new in run {
                let digest = digests.next().flatten();
                let mut one = || self.append_to(user, new);
                appended.push(match (&mut of_sender, &new.mid, digest) {
                    // The `mid`s may be those of the next one who has the id.
                    _ if self.is_gone(new.sender) => Err(AppendError::NoSuchSender),
                    (Some(mids), Some(mid), Some(digest)) => {
                        mids.append_once(new, mid, digest, one)
                    }
                    _ => one(),
                });
            }
        });
        if to_user.is_none() {
            let sender = run.first().and_then(|new| new.sender);
            appended.push(Err(match self.is_gone(sender) {
                true => AppendError::NoSuchSender,
                false => AppendError::NoSuchUser,
            }));
        }
    }

    fn append_to(&self, user: &mut User, new: &NewMessage) -> Result<Appended, AppendError> {
        self.count(user, |user| {
            let with_it = user.inbox.held() + inbox::held_by(&new.message);
            // Those that are appended at the same moment may each pass it by one message.
            if with_it > self.held.left() {
                let limit = self.held.limit();
                return Err(StorageError::new(Full { limit }).into());
            }
            let (seq, dropped) = user.inbox.append(new.message.to_kept(), new.limits)?;
            Ok(Appended::Stored {
                seq,
                recipient: user.number,
                dropped,
            })
        })
    }
}

/// What is delivered is dropped while the processor still has it in its caches.
const FLUSH_THRESHOLD_BYTES: usize = 256 * 1024;

#[async_trait]
impl Accounts for MemoryStorage {
    async fn create_account(&self, account: Account) -> Result<(), CreateAccountError> {
        self.create(account, false)
    }

    async fn create_distinct_account(&self, account: Account) -> Result<(), CreateAccountError> {
        self.create(account, true)
    }

    async fn account(&self, login: &str) -> Result<Option<Account>, StorageError> {
        let login = UserId::from(login);
        let account = self.with_user(&login, |user| {
            let pass_hash = user.pass_hash.clone()?;
            let nick = user.profile.nick.clone();
            Some((nick, pass_hash))
        });
        Ok(account.flatten().map(|(nick, pass_hash)| Account {
            login,
            nick,
            pass_hash,
        }))
    }

    async fn set_password(&self, login: &UserId, pass_hash: String) -> Result<bool, StorageError> {
        let set = self.with_user(login, |user| match &mut user.pass_hash {
            Some(own) => {
                *own = pass_hash;
                true
            }
            None => false,
        });
        Ok(set.unwrap_or(false))
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    fn flush_threshold_bytes(&self) -> usize {
        FLUSH_THRESHOLD_BYTES
    }

    fn accounts(&self) -> Option<&dyn Accounts> {
        Some(self)
    }

    async fn user_number(&self, user: &UserId) -> Result<Option<UserNumber>, StorageError> {
        Ok(self.with_user(user, |user| user.number))
    }

    async fn users(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StorageError> {
        let users = self.users.iter().map(|user| user.key().clone());
        let mut behind: Vec<_> = users.filter(|user| Some(user) > after).collect();
        behind.sort_unstable();
        behind.truncate(limit);
        Ok(behind)
    }

    async fn user_data(&self, user: &UserId) -> Result<Option<UserData>, StorageError> {
        let Some(data) = self.with_user(user, |user| user.data()) else {
            return Ok(None);
        };
        Ok(Some(UserData {
            contacts: self.contacts(user).await?,
            ..data
        }))
    }

    async fn delete_user(&self, id: &UserId) -> Result<bool, StorageError> {
        let mut names = self.names.lock();
        let Entry::Occupied(place) = self.users.entry(id.clone()) else {
            return Ok(false);
        };
        self.numbers.mark_gone(place.get().lock().number);
        let user = place.remove();
        self.mids.drop_user(id);
        let mut user = user.lock();
        self.count(&mut user, |user| user.inbox = Inbox::default());
        if user.pass_hash.is_some() {
            names.nicks.remove(&user.profile.nick);
        }
        names.remove_login(id);
        let mut addresses = self.addresses.lock();
        move_address(&mut addresses.emails, id, user.email_key.take(), None);
        move_address(&mut addresses.phones, id, user.phone_key.take(), None);
        drop(addresses);
        drop(user);
        for other in &self.users {
            other.lock().forget(id);
        }
        Ok(true)
    }

    async fn upsert_external_user(&self, user: &UserId, nick: &str) -> Result<(), StorageError> {
        // Whoever is deleted comes back only when everybody has forgotten them.
        let mut names = self.names.lock();
        match self.users.entry(user.clone()) {
            Entry::Occupied(known) => known.get().lock().profile.nick = nick.into(),
            Entry::Vacant(place) => {
                names.add_login(skeleton(user.as_str()));
                let new = User::new(self.numbers.next(), nick.into(), None);
                place.insert(Arc::new(Mutex::new(new)));
            }
        }
        Ok(())
    }

    async fn profile(&self, user: &UserId) -> Result<Option<Profile>, StorageError> {
        Ok(self.with_user(user, |user| user.profile.clone()))
    }

    async fn change_profile(
        &self,
        owner: &Owner,
        change: ProfileChange,
    ) -> Result<(), StorageError> {
        let id = &owner.user;
        // Held until the end: whoever is deleted meanwhile must not be found by a new address.
        let Some(user) = self.users.get(id) else {
            return Ok(());
        };
        let mut user = user.lock();
        if user.number != owner.number {
            return Ok(());
        }
        let mut addresses = self.addresses.lock();
        if let Some(email) = change.email {
            let old = std::mem::replace(&mut user.email_key, email.key);
            move_address(&mut addresses.emails, id, old, user.email_key.clone());
            user.profile.email = email.text;
        }
        if let Some(phone) = change.phone {
            let old = std::mem::replace(&mut user.phone_key, phone.key);
            move_address(&mut addresses.phones, id, old, user.phone_key.clone());
            user.profile.phone = phone.text;
        }
        if let Some(user_status) = change.user_status {
            user.profile.user_status = user_status;
        }
        if let Some(picture) = change.picture {
            user.profile.picture = picture;
        }
        Ok(())
    }

    async fn contacts(&self, owner: &UserId) -> Result<Vec<Contact>, StorageError> {
        let contacts = self.with_user(owner, |owner| owner.contacts_with_ids());
        let contacts = contacts.unwrap_or_default().into_iter();
        Ok(contacts
            .filter_map(|(uid, myid)| {
                let (_, card) = self.card(&uid)?;
                Some(Contact::new(card).myid(myid))
            })
            .collect())
    }

    async fn add_contact(
        &self,
        owner: &Owner,
        uid: &UserId,
        limit: usize,
    ) -> Result<Card, AddContactError> {
        let (number, card) = self.card(uid).ok_or(AddContactError::NoSuchUser)?;
        self.with_owner(owner, |owner| {
            // Or they would stay in the list: the owner has forgotten them already.
            if self.numbers.is_gone(number) {
                return Err(AddContactError::NoSuchUser);
            }
            owner.add_contact(uid.clone(), limit)
        })
        .ok_or(AddContactError::NoSuchUser)??;
        Ok(card)
    }

    async fn remove_contact(&self, owner: &Owner, uid: &UserId) -> Result<(), StorageError> {
        self.with_owner(owner, |owner| owner.contacts.retain(|other| other != uid));
        Ok(())
    }

    async fn find_users(
        &self,
        owner: &Owner,
        entries: Vec<Lookup>,
        limits: FindLimits,
    ) -> Result<Vec<Contact>, StorageError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        for entry in entries {
            // Not in the head of the loop, where the lock would be held to its end.
            let matching = self.addresses.lock().matching(&entry, limits.matches);
            for uid in matching {
                let Some((number, card)) = self.card(&uid) else {
                    continue;
                };
                let myid = entry.myid.clone();
                let contact = Contact::new(card).myid(myid);
                bytes += contact.encoded_len();
                if bytes > limits.bytes {
                    return Ok(found);
                }
                self.with_owner(owner, |owner| {
                    // As a contact, see above.
                    if !self.numbers.is_gone(number) {
                        owner.remember(uid, entry.myid.clone(), limits.remembered);
                    }
                });
                found.push(contact);
            }
        }
        Ok(found)
    }

    async fn rekey(&self, rule: &AddressRule) -> Result<(), StorageError> {
        let before = self.address_rule.lock().replace(rule.clone());
        if before.as_ref() == Some(rule) {
            return Ok(());
        }
        for entry in &self.users {
            let mut user = entry.lock();
            let email = rule.email(&user.profile.email);
            let phone = rule.phone(&user.profile.phone);
            let mut addresses = self.addresses.lock();
            let old = std::mem::replace(&mut user.email_key, email.clone());
            move_address(&mut addresses.emails, entry.key(), old, email);
            let old = std::mem::replace(&mut user.phone_key, phone.clone());
            move_address(&mut addresses.phones, entry.key(), old, phone);
        }
        Ok(())
    }

    async fn open_session(&self, session: NewSession) -> Result<OpenedSession, OpenSessionError> {
        self.with_owner(&session.owner, |user| user.open_session(&session))
            .ok_or(OpenSessionError::NoSuchUser)
    }

    async fn session(
        &self,
        user: &UserId,
        key: &SessionKey,
    ) -> Result<Option<SessionRecord>, StorageError> {
        let record = self.with_user(user, |user| user.session(key).copied());
        Ok(record.flatten())
    }

    async fn end_session(&self, user: &UserId, key: &SessionKey) -> Result<(), StorageError> {
        self.with_user(user, |user| user.end_session(key));
        Ok(())
    }

    async fn end_ephemeral(&self, user: &UserId) -> Result<(), StorageError> {
        self.with_user(user, |user| user.ephemeral_ended += 1);
        Ok(())
    }

    async fn ephemeral_ended(&self, user: &UserId) -> Result<u64, StorageError> {
        let ended = self.with_user(user, |user| user.ephemeral_ended);
        Ok(ended.unwrap_or_default())
    }

    async fn advance(&self, watermarks: Vec<Watermark>) -> Result<(), StorageError> {
        for mark in watermarks {
            self.with_inbox(&mark.user, |user| user.advance(&mark));
        }
        Ok(())
    }

    async fn append(&self, new: NewMessage) -> Result<Appended, AppendError> {
        let appended = self.append_all(&[&new]).pop();
        appended.unwrap_or(Err(AppendError::NoSuchUser))
    }

    fn append_now(&self, messages: &[&NewMessage]) -> Option<Vec<Result<Appended, AppendError>>> {
        Some(self.append_all(messages))
    }

    async fn inbox(
        &self,
        user: &UserId,
        after: u64,
        page: PageLimits,
    ) -> Result<Vec<(u64, Message)>, StorageError> {
        let messages = self.with_user(user, |user| user.inbox.read(after, page));
        Ok(messages.unwrap_or_default())
    }

    async fn newest(&self, user: &UserId) -> Result<u64, StorageError> {
        let newest = self.with_user(user, |user| user.inbox.newest());
        Ok(newest.unwrap_or_default())
    }

    async fn look(&self, looks: Vec<Look>) -> Result<Vec<Seen>, StorageError> {
        let see = |look: &Look| self.with_owner(&look.owner, |user| user.see(look));
        let seen = looks.iter().map(|look| see(look).unwrap_or(Seen::Ended));
        Ok(seen.collect())
    }

    async fn purge_expired(&self, expiry: Expiry) -> Result<Duration, StorageError> {
        self.mids.forget(expiry.mids_before);
        let users: Vec<_> = self.users.iter().map(|user| Arc::clone(&user)).collect();
        for part in users.chunks(PURGED_AT_ONCE) {
            for user in part {
                self.count(&mut user.lock(), |user| user.purge_expired(&expiry));
            }
            // Others have their turn on this thread.
            tokio::task::yield_now().await;
        }
        Ok(PURGE_EVERY)
    }
}

impl Names {
    fn add_login(&mut self, skeleton: String) {
        *self.skeletons.entry(skeleton).or_default() += 1;
    }

    fn remove_login(&mut self, login: &UserId) {
        let skeleton = skeleton(login.as_str());
        if let HashEntry::Occupied(mut count) = self.skeletons.entry(skeleton) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Addresses {
    /// Who has set one of the entry's addresses.
    fn matching(&self, entry: &Lookup, limit: usize) -> BTreeSet<UserId> {
        let by_email = entry.emails.iter().filter_map(|key| self.emails.get(key));
        let by_phone = entry.phones.iter().filter_map(|key| self.phones.get(key));
        let all = by_email.chain(by_phone).flatten();
        all.take(limit).cloned().collect()
    }
}

fn move_address(
    addresses: &mut HashMap<String, BTreeSet<UserId>>,
    user: &UserId,
    from: Option<String>,
    to: Option<String>,
) {
    if let Some(from) = from
        && let Some(users) = addresses.get_mut(&from)
    {
        users.remove(user);
        if users.is_empty() {
            addresses.remove(&from);
        }
    }
    if let Some(to) = to {
        addresses.entry(to).or_default().insert(user.clone());
    }
}
