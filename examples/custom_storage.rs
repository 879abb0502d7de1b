//! A store of one's own: plain tables behind one lock, written for reading. Messages go through a queue to a
//! thread, as they would to a disk. It passes the suite that every store must pass: `cargo run -p examples --features testing --bin custom_storage`.

use async_trait::async_trait;
use messenger_core::AddressRule;
use messenger_core::Engine;
use messenger_core::lookalikes::skeleton;
use messenger_core::proto::{Card, Contact, Message, Profile, UserId};
use messenger_core::storage::{
    Account, Accounts, AddContactError, AppendError, Appended, BatchQueue, CreateAccountError,
    Expiry, FindLimits, Lookup, NewMessage, NewSession, OpenSessionError, OpenedSession, Overflow,
    Owner, PURGE_EVERY, PageLimits, ProfileChange, QueueLimits, SessionKey, SessionRecord, Storage,
    StorageError, UserData, UserNumber, Watermark,
};
use messenger_core::testing;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Default)]
struct Tables {
    accounts: BTreeMap<UserId, Account>,
    profiles: BTreeMap<UserId, (Profile, Keys)>,
    /// By which rule the keys were computed.
    address_rule: Option<String>,
    /// Which of those who have had an id the user is, and how many there were in all.
    numbers: BTreeMap<UserId, UserNumber>,
    users: u64,
    /// Owner and contact, in the order they were added.
    contacts: Vec<(UserId, UserId)>,
    /// Owner and user, and what the owner calls them.
    myids: BTreeMap<(UserId, UserId), String>,
    sessions: Vec<(UserId, SessionKey, SessionRecord)>,
    inboxes: BTreeMap<UserId, Inbox>,
    /// Recipient, sender and `mid`, and the message.
    mids: BTreeMap<(UserId, UserId, String), NewMessage>,
}

/// How a user is found.
#[derive(Default)]
struct Keys {
    email: Option<String>,
    phone: Option<String>,
}

#[derive(Default)]
struct Inbox {
    messages: BTreeMap<u64, Message>,
    newest: u64,
    delivered_up_to: u64,
}

impl Inbox {
    /// Drops as much of what some session was given, of the senders who have most of it. How many messages.
    fn shed(&mut self, excess: u64, weight: impl Fn(&Message) -> u64) -> u64 {
        if excess == 0 {
            return 0;
        }
        let given = self.messages.range(..=self.delivered_up_to);
        let weights = given.map(|(_, message)| (message.from.clone(), weight(message)));
        let mut overflow = Overflow::new(weights, excess);
        let (kept, given) = (self.messages.len(), self.delivered_up_to);
        self.messages
            .retain(|seq, message| *seq > given || !overflow.takes(&message.from, weight(message)));
        (kept - self.messages.len()) as u64
    }
}

struct TableStorage {
    tables: Arc<Mutex<Tables>>,
    appends: BatchQueue<NewMessage, Appended, AppendError>,
}

impl TableStorage {
    fn new() -> io::Result<Self> {
        let tables = Arc::new(Mutex::new(Tables::default()));
        let of_thread = Arc::clone(&tables);
        let append_batch = move |batch: &mut [NewMessage]| {
            let mut tables = lock(&of_thread);
            Ok(batch.iter().map(|new| tables.append(new)).collect())
        };
        Ok(Self {
            tables,
            appends: BatchQueue::on_thread("appends", QueueLimits::default(), append_batch)?,
        })
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        lock(&self.tables)
    }
}

fn lock(tables: &Mutex<Tables>) -> MutexGuard<'_, Tables> {
    // No code below panics halfway through a change.
    tables.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tables {
    fn card(&self, uid: &UserId) -> Option<Card> {
        let (profile, _) = self.profiles.get(uid)?;
        Some(
            Card::new(uid.clone(), profile.nick.clone())
                .email(profile.email.clone())
                .phone(profile.phone.clone())
                .picture(profile.picture.clone()),
        )
    }

    fn create_account(&mut self, account: Account) -> Result<(), CreateAccountError> {
        if self.profiles.contains_key(&account.login) {
            return Err(CreateAccountError::LoginTaken);
        }
        let mut accounts = self.accounts.values();
        if accounts.any(|other| other.nick == account.nick) {
            return Err(CreateAccountError::NickTaken);
        }
        let profile = Profile::new(account.nick.clone());
        self.new_number(&account.login);
        self.profiles
            .insert(account.login.clone(), (profile, Keys::default()));
        self.accounts.insert(account.login.clone(), account);
        Ok(())
    }

    fn new_number(&mut self, user: &UserId) {
        self.users += 1;
        self.numbers.insert(user.clone(), UserNumber(self.users));
    }

    fn is_there(&self, owner: &Owner) -> bool {
        self.numbers.get(&owner.user) == Some(&owner.number)
    }
    fn end_sessions(&mut self, over: impl Fn(&UserId, &SessionKey, &SessionRecord) -> bool) {
        self.sessions
            .retain(|(user, key, record)| !over(user, key, record));
    }

    /// Drops what every session of the user was given.
    fn prune(&mut self, user: &UserId) {
        let of_user = self.sessions.iter().filter(|(owner, ..)| owner == user);
        let slowest = of_user.map(|(.., record)| record.delivered_up_to).min();
        if let Some(inbox) = self.inboxes.get_mut(user) {
            let delivered_up_to = slowest.unwrap_or(inbox.delivered_up_to);
            inbox.messages.retain(|seq, _| *seq > delivered_up_to);
        }
    }

    fn append(&mut self, new: &NewMessage) -> Result<Appended, AppendError> {
        let (to, from) = (&new.message.to, &new.message.from);
        if new.sender.is_some() && new.sender.as_ref() != self.numbers.get(from) {
            return Err(AppendError::NoSuchSender);
        }
        let mid = new.mid.as_ref();
        let mid = mid.map(|mid| (to.clone(), from.clone(), mid.to_string()));
        if let Some(first) = mid.as_ref().and_then(|mid| self.mids.get(mid))
            && first.now >= new.mid_forgotten_before
        {
            if first.digest() != new.digest() {
                return Err(AppendError::MidReused);
            }
            let (id, time) = (first.message.id.clone(), first.message.time);
            return Ok(Appended::duplicate(id, time));
        }
        let recipient = self.numbers.get(to).copied();
        let recipient = recipient.ok_or(AppendError::NoSuchUser)?;
        let inbox = self.inboxes.entry(new.message.to.clone()).or_default();
        let size = |message: &Message| message.size() as u64;
        let waiting = inbox.messages.range(inbox.delivered_up_to + 1..);
        let (count, bytes) = waiting.fold((0, 0), |(count, bytes), (_, message)| {
            (count + 1, bytes + size(message))
        });
        if count >= new.limits.messages || bytes + size(&new.message) > new.limits.bytes {
            return Err(AppendError::InboxFull);
        }
        inbox.newest += 1;
        let seq = inbox.newest;
        inbox.messages.insert(seq, (*new.message).clone());
        let too_many = (inbox.messages.len() as u64).saturating_sub(new.limits.messages);
        let mut dropped = inbox.shed(too_many, |_| 1);
        let bytes: u64 = inbox.messages.values().map(size).sum();
        dropped += inbox.shed(bytes.saturating_sub(new.limits.bytes), size);
        self.mids.extend(mid.map(|mid| (mid, new.clone())));
        Ok(Appended::stored(seq, recipient).dropped(dropped))
    }
}

#[async_trait]
impl Accounts for TableStorage {
    async fn create_account(&self, account: Account) -> Result<(), CreateAccountError> {
        self.tables().create_account(account)
    }

    async fn create_distinct_account(&self, account: Account) -> Result<(), CreateAccountError> {
        let mut tables = self.tables();
        let mut others = tables.profiles.keys().map(UserId::as_str);
        let login = account.login.as_str();
        // One that keeps the skeletons need not compute all of them.
        if others.any(|other| other != login && skeleton(other) == skeleton(login)) {
            return Err(CreateAccountError::Lookalike);
        }
        tables.create_account(account)
    }

    async fn account(&self, login: &str) -> Result<Option<Account>, StorageError> {
        Ok(self.tables().accounts.get(&UserId::from(login)).cloned())
    }

    async fn set_password(&self, login: &UserId, pass_hash: String) -> Result<bool, StorageError> {
        let mut tables = self.tables();
        let account = tables.accounts.get_mut(login);
        Ok(account
            .map(|account| account.pass_hash = pass_hash)
            .is_some())
    }
}

#[async_trait]
impl Storage for TableStorage {
    fn accounts(&self) -> Option<&dyn Accounts> {
        Some(self)
    }

    async fn user_number(&self, user: &UserId) -> Result<Option<UserNumber>, StorageError> {
        Ok(self.tables().numbers.get(user).copied())
    }

    async fn users(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StorageError> {
        let tables = self.tables();
        let behind = tables.profiles.keys().filter(|user| Some(*user) > after);
        Ok(behind.take(limit).cloned().collect())
    }

    async fn user_data(&self, user: &UserId) -> Result<Option<UserData>, StorageError> {
        let contacts = self.contacts(user).await?;
        let tables = self.tables();
        let Some((profile, _)) = tables.profiles.get(user) else {
            return Ok(None);
        };
        let myids = tables.myids.iter().filter(|((owner, _), _)| owner == user);
        let sessions = tables.sessions.iter().filter(|(owner, ..)| owner == user);
        let remembered = myids.map(|((_, known), myid)| (known.clone(), myid.as_str().into()));
        let data = UserData::new(profile.clone())
            .has_account(tables.accounts.contains_key(user))
            .contacts(contacts)
            .remembered(remembered.collect())
            .sessions(sessions.map(|(_, key, record)| (*key, *record)).collect())
            .newest(tables.inboxes.get(user).map_or(0, |inbox| inbox.newest));
        Ok(Some(data))
    }

    async fn delete_user(&self, user: &UserId) -> Result<bool, StorageError> {
        let mut tables = self.tables();
        if tables.profiles.remove(user).is_none() {
            return Ok(false);
        }
        tables.accounts.remove(user);
        tables.numbers.remove(user);
        tables.inboxes.remove(user);
        tables
            .contacts
            .retain(|(owner, contact)| owner != user && contact != user);
        tables
            .myids
            .retain(|(owner, known), _| owner != user && known != user);
        tables
            .mids
            .retain(|(to, from, _), _| to != user && from != user);
        tables.end_sessions(|owner, _, _| owner == user);
        Ok(true)
    }

    async fn upsert_external_user(&self, user: &UserId, nick: &str) -> Result<(), StorageError> {
        let mut tables = self.tables();
        if !tables.numbers.contains_key(user) {
            tables.new_number(user);
        }
        let (profile, _) = tables.profiles.entry(user.clone()).or_default();
        profile.nick = nick.into();
        Ok(())
    }

    async fn profile(&self, user: &UserId) -> Result<Option<Profile>, StorageError> {
        Ok(self
            .tables()
            .profiles
            .get(user)
            .map(|(profile, _)| profile.clone()))
    }

    async fn change_profile(
        &self,
        owner: &Owner,
        change: ProfileChange,
    ) -> Result<(), StorageError> {
        let mut tables = self.tables();
        if !tables.is_there(owner) {
            return Ok(());
        }
        if let Some((profile, keys)) = tables.profiles.get_mut(&owner.user) {
            if let Some(email) = change.email {
                (profile.email, keys.email) = (email.text, email.key);
            }
            if let Some(phone) = change.phone {
                (profile.phone, keys.phone) = (phone.text, phone.key);
            }
            profile.user_status = change.user_status.unwrap_or(profile.user_status.clone());
            profile.picture = change.picture.unwrap_or(profile.picture.clone());
        }
        Ok(())
    }

    async fn contacts(&self, owner: &UserId) -> Result<Vec<Contact>, StorageError> {
        let tables = self.tables();
        let uids = tables.contacts.iter().filter(|(of, _)| of == owner);
        let contact = |(_, uid): &(UserId, UserId)| {
            let myid = tables.myids.get(&(owner.clone(), uid.clone()));
            let myid = myid.cloned().unwrap_or_default();
            Some(Contact::new(tables.card(uid)?).myid(myid))
        };
        Ok(uids.filter_map(contact).collect())
    }

    async fn add_contact(
        &self,
        owner: &Owner,
        uid: &UserId,
        limit: usize,
    ) -> Result<Card, AddContactError> {
        let mut tables = self.tables();
        if !tables.is_there(owner) {
            return Err(AddContactError::NoSuchUser);
        }
        let owner = &owner.user;
        let card = tables.card(uid).ok_or(AddContactError::NoSuchUser)?;
        let pair = (owner.clone(), uid.clone());
        if tables.contacts.contains(&pair) {
            return Err(AddContactError::AlreadyThere);
        }
        if tables.contacts.iter().filter(|(of, _)| of == owner).count() >= limit {
            return Err(AddContactError::Full);
        }
        tables.contacts.push(pair);
        Ok(card)
    }

    async fn remove_contact(&self, owner: &Owner, uid: &UserId) -> Result<(), StorageError> {
        let mut tables = self.tables();
        if tables.is_there(owner) {
            let contacts = &mut tables.contacts;
            contacts.retain(|(of, contact)| (of, contact) != (&owner.user, uid));
        }
        Ok(())
    }

    async fn find_users(
        &self,
        owner: &Owner,
        entries: Vec<Lookup>,
        limits: FindLimits,
    ) -> Result<Vec<Contact>, StorageError> {
        let mut tables = self.tables();
        let is_there = tables.is_there(owner);
        let owner = &owner.user;
        let mut found = Vec::new();
        let mut bytes = 0;
        for Lookup {
            myid,
            emails,
            phones,
            ..
        } in entries
        {
            let is_in = |key: &Option<String>, keys: &[String]| {
                key.as_ref().is_some_and(|key| keys.contains(key))
            };
            let matches = |(_, (_, keys)): &(&UserId, &(Profile, Keys))| {
                is_in(&keys.email, &emails) || is_in(&keys.phone, &phones)
            };
            let uids = tables.profiles.iter().filter(matches).take(limits.matches);
            for card in uids
                .filter_map(|(uid, _)| tables.card(uid))
                .collect::<Vec<_>>()
            {
                let known_as = (owner.clone(), card.uid.clone());
                let contact = Contact::new(card).myid(myid.clone());
                bytes += contact.encoded_len();
                if bytes > limits.bytes {
                    return Ok(found);
                }
                let of_owner = tables.myids.keys().filter(|(of, _)| of == owner).count();
                let has_room = of_owner < limits.remembered || tables.myids.contains_key(&known_as);
                if is_there && has_room {
                    tables.myids.insert(known_as, myid.to_string());
                }
                found.push(contact);
            }
        }
        Ok(found)
    }

    async fn rekey(&self, rule: &AddressRule) -> Result<(), StorageError> {
        let mut tables = self.tables();
        let before = tables.address_rule.replace(rule.name());
        if before == tables.address_rule {
            return Ok(());
        }
        for (profile, keys) in tables.profiles.values_mut() {
            keys.email = rule.email(&profile.email);
            keys.phone = rule.phone(&profile.phone);
        }
        Ok(())
    }

    async fn open_session(&self, new: NewSession) -> Result<OpenedSession, OpenSessionError> {
        let mut tables = self.tables();
        if !tables.is_there(&new.owner) {
            return Err(OpenSessionError::NoSuchUser);
        }
        let owner = new.owner.user;
        tables.end_sessions(|user, _, record| *user == owner && record.used < new.expired_before);
        let mut of_user: Vec<_> = tables
            .sessions
            .iter()
            .filter(|(user, ..)| *user == owner)
            .collect();
        of_user.sort_by_key(|(.., record)| record.used);
        let too_many = (of_user.len() + 1).saturating_sub(new.limit);
        let ended: Vec<_> = of_user
            .iter()
            .take(too_many)
            .map(|(_, key, _)| *key)
            .collect();
        tables.end_sessions(|user, key, _| *user == owner && ended.contains(key));
        let delivered_up_to = tables
            .inboxes
            .entry(owner.clone())
            .or_default()
            .delivered_up_to;
        let record = SessionRecord::new(new.owner.number, delivered_up_to, new.ack, new.now);
        tables.sessions.push((owner, new.key, record));
        Ok(OpenedSession::new(delivered_up_to, ended))
    }

    async fn session(
        &self,
        user: &UserId,
        key: &SessionKey,
    ) -> Result<Option<SessionRecord>, StorageError> {
        let tables = self.tables();
        let mut sessions = tables.sessions.iter();
        let found = sessions.find(|(of, own, _)| (of, own) == (user, key));
        Ok(found.map(|(.., record)| *record))
    }

    async fn end_session(&self, user: &UserId, key: &SessionKey) -> Result<(), StorageError> {
        self.tables()
            .end_sessions(|of, own, _| (of, own) == (user, key));
        Ok(())
    }

    async fn advance(&self, watermarks: Vec<Watermark>) -> Result<(), StorageError> {
        let mut tables = self.tables();
        let Tables {
            sessions, inboxes, ..
        } = &mut *tables;
        for mark in &watermarks {
            let of_mark = |(user, key, _): &&mut (UserId, SessionKey, SessionRecord)| {
                *user == mark.user && *key == mark.session
            };
            let inbox = inboxes.entry(mark.user.clone()).or_default();
            if let Some((.., record)) = sessions.iter_mut().find(of_mark) {
                record.delivered_up_to = record
                    .delivered_up_to
                    .max(mark.delivered_up_to.min(inbox.newest));
                record.used = record.used.max(mark.used);
                inbox.delivered_up_to = inbox.delivered_up_to.max(record.delivered_up_to);
            }
        }
        for mark in watermarks {
            tables.prune(&mark.user);
        }
        Ok(())
    }

    async fn append(&self, new: NewMessage) -> Result<Appended, AppendError> {
        let bytes = new.message.size();
        self.appends.call(new, bytes).await
    }

    async fn inbox(
        &self,
        user: &UserId,
        after: u64,
        page: PageLimits,
    ) -> Result<Vec<(u64, Message)>, StorageError> {
        let tables = self.tables();
        let mut found = Vec::new();
        let mut bytes = 0;
        let inbox = tables.inboxes.get(user).into_iter();
        for (seq, message) in
            inbox.flat_map(|inbox| inbox.messages.range(after.saturating_add(1)..))
        {
            if found.len() >= page.messages || bytes >= page.bytes {
                break;
            }
            bytes += message.size();
            found.push((*seq, message.clone()));
        }
        Ok(found)
    }

    async fn newest(&self, user: &UserId) -> Result<u64, StorageError> {
        Ok(self
            .tables()
            .inboxes
            .get(user)
            .map_or(0, |inbox| inbox.newest))
    }

    async fn purge_expired(&self, old: Expiry) -> Result<Duration, StorageError> {
        let mut tables = self.tables();
        for (_, _, record) in &mut tables.sessions {
            // A clock that was wrong may have put it into the future.
            record.used = record.used.min(old.now);
        }
        tables.end_sessions(|_, _, record| record.used < old.sessions_before);
        tables.mids.retain(|_, first| first.now >= old.mids_before);
        for inbox in tables.inboxes.values_mut() {
            let before = old.messages_before.as_secs();
            inbox.messages.retain(|_, message| message.time >= before);
        }
        for user in tables.inboxes.keys().cloned().collect::<Vec<_>>() {
            tables.prune(&user);
        }
        Ok(PURGE_EVERY)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[expect(clippy::expect_used)] // without a thread there is nothing to try
    let make = async || Arc::new(TableStorage::new().expect("a thread")) as Arc<dyn Storage>;
    testing::storage::suite(make).await;
    println!("the store passes the suite");

    let engine = Engine::builder()
        .storage(Arc::new(TableStorage::new()?))
        .build()?;
    println!("and an engine runs on it: {}", engine.welcome().message);
    Ok(())
}
