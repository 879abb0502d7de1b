//! The store: each call is a function over a connection, run by the writer or a reader.

mod accounts;
mod contacts;
mod inbox;
mod mids;
mod purge;
mod rekey;
mod sessions;
mod users;

pub(crate) use users::forget_strangers;

use crate::OpenError;
use crate::disk::{Disk, Floor};
use crate::fdatasync;
use crate::file;
use crate::inboxes::{self, Inboxes};
use crate::lock::Lock;
use crate::place;
use crate::readers::Readers;
use crate::recent::Recent;
use crate::restored;
use crate::sql::{integer, unsigned, user_number};
use crate::writer::{Writer, Writing};
use async_trait::async_trait;
use messenger_core::AddressRule;
use messenger_core::clock::Timestamp;
use messenger_core::proto::{Card, Contact, Message, Profile, UserId};
use messenger_core::storage::{
    Account, Accounts, AddContactError, AppendError, Appended, CreateAccountError, Expiry,
    FindLimits, Look, Lookup, NewMessage, NewSession, OpenSessionError, OpenedSession, Owner,
    PageLimits, ProfileChange, ResumedSession, Seen, SessionKey, SessionRecord, Storage,
    StorageError, UserData, UserNumber, Watermark,
};
use mids::SentUnderMids;
use purge::Walk;
use rusqlite::Connection;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many threads read.
const READERS: usize = 2;

/// Everything in one SQLite file.
///
/// Dropping it waits for what was handed to it, and closes the file.
#[derive(Debug)]
pub struct SqliteStorage {
    // Dropped in this order: the writer closes the file when nobody reads it any more.
    readers: Readers,
    writer: Writer,
    recent: Recent,
    lost_up_to: u64,
    /// How often another process had written when that was asked last.
    seen_beside: AtomicU64,
    floor: Floor,
    walk: Mutex<Walk>,
    _lock: Option<Lock>,
}

impl SqliteStorage {
    /// Opens the store, and makes it if there is none. It blocks for as long as that takes.
    ///
    /// # Errors
    /// See [`OpenError`], whose sentences tell an operator what to do.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = &place::resolve(path.as_ref())?;
        let mut lock = Lock::take(path)?;
        let writing = file::open_for_writing(path, lock.may_begin())?;
        lock.note();
        fdatasync::tell_if_missing();
        Self::start(path, writing, Some(lock))
    }

    /// Opens a store that a server may be using meanwhile, for an operator's calls. There must be one.
    ///
    /// A server notices what is written here: at once where its own memory would be wrong, and within
    /// a second that a session has ended.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_beside(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = &place::resolve(path.as_ref())?;
        Self::start(path, file::open_beside(path)?, None)
    }

    fn start(path: &Path, writing: Connection, lock: Option<Lock>) -> Result<Self, OpenError> {
        let floor = Floor::default();
        let disk = Disk::of(path, floor.clone());
        let reading = (0..READERS).map(|_| file::open_for_reading(path));
        let lost_up_to = restored::lost_up_to(&writing);
        let lost_up_to = lost_up_to.map_err(|source| OpenError::Sqlite {
            path: path.to_owned(),
            source: source.into(),
        })?;
        let recent = Recent::default();
        let inboxes = Inboxes::new(lost_up_to, recent.clone());
        let writer = Writer::start(path, writing, inboxes, disk, lock.is_some())?;
        Ok(Self {
            readers: Readers::start(reading.collect::<Result<_, _>>()?)?,
            writer,
            recent,
            lost_up_to: unsigned(lost_up_to),
            seen_beside: AtomicU64::new(0),
            floor,
            walk: Mutex::default(),
            _lock: lock,
        })
    }

    /// Refuses messages while less than so many bytes of the file's disk are free, so that what else is written
    /// finds room: sessions, watermarks, profiles. 0, unless it is told, fills the disk. It is looked at once
    /// a second at the most, and once in 16 MiB of messages. (Systems other than Unix do not tell.)
    pub fn keep_free(&self, bytes: u64) {
        self.floor.set(bytes);
    }

    /// Writes something small that cannot be refused.
    async fn write<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&mut Writing<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let work = move |writing: &mut Writing<'_>| Ok(work(writing)?);
        self.writer.call::<T, StorageError>(0, work).await
    }
}

#[async_trait]
impl Accounts for SqliteStorage {
    async fn create_account(&self, account: Account) -> Result<(), CreateAccountError> {
        let create =
            move |writing: &mut Writing<'_>| accounts::create(writing.connection, &account);
        self.writer.call(0, create).await
    }

    async fn create_distinct_account(&self, account: Account) -> Result<(), CreateAccountError> {
        let create = move |writing: &mut Writing<'_>| {
            accounts::create_distinct(writing.connection, &account)
        };
        self.writer.call(0, create).await
    }

    async fn account(&self, login: &str) -> Result<Option<Account>, StorageError> {
        let login = login.to_owned();
        let read = move |connection: &_| accounts::account(connection, &login);
        self.readers.call(read).await
    }

    async fn set_password(&self, login: &UserId, pass_hash: String) -> Result<bool, StorageError> {
        let login = login.clone();
        self.write(move |writing| accounts::set_password(writing.connection, &login, &pass_hash))
            .await
    }
}

#[async_trait]
impl Storage for SqliteStorage {
    fn accounts(&self) -> Option<&dyn Accounts> {
        Some(self)
    }

    async fn user_number(&self, user: &UserId) -> Result<Option<UserNumber>, StorageError> {
        let user = user.clone();
        let read = move |connection: &_| user_number(connection, &user);
        self.readers.call(read).await
    }

    async fn users(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StorageError> {
        let after = after.cloned();
        let read = move |connection: &_| users::list(connection, after.as_ref(), limit);
        self.readers.call(read).await
    }

    async fn user_data(&self, user: &UserId) -> Result<Option<UserData>, StorageError> {
        let user = user.clone();
        let recent = self.recent.clone();
        let read = move |connection: &_| users::data(connection, &recent, &user);
        self.readers.call(read).await
    }

    async fn delete_user(&self, user: &UserId) -> Result<bool, StorageError> {
        let user = user.clone();
        let mut sent = SentUnderMids::by(user.clone());
        while !sent.is_whole() {
            let go_on = move |connection: &_| sent.go_on(connection);
            sent = self.readers.call(go_on).await?;
        }
        self.write(move |writing| users::delete(writing, &user, &sent))
            .await
    }

    async fn upsert_external_user(&self, user: &UserId, nick: &str) -> Result<(), StorageError> {
        let (user, nick) = (user.clone(), nick.to_owned());
        self.write(move |writing| accounts::upsert_external(writing.connection, &user, &nick))
            .await
    }

    async fn profile(&self, user: &UserId) -> Result<Option<Profile>, StorageError> {
        let user = user.clone();
        let read = move |connection: &_| accounts::profile(connection, &user);
        self.readers.call(read).await
    }

    async fn change_profile(
        &self,
        owner: &Owner,
        change: ProfileChange,
    ) -> Result<(), StorageError> {
        let owner = owner.clone();
        let bytes = change.picture.as_ref().map_or(0, |picture| picture.len());
        let change = move |writing: &mut Writing<'_>| {
            Ok(accounts::change(writing.connection, &owner, &change)?)
        };
        self.writer.call::<_, StorageError>(bytes, change).await
    }

    async fn contacts(&self, owner: &UserId) -> Result<Vec<Contact>, StorageError> {
        let owner = owner.clone();
        let read = move |connection: &_| contacts::list(connection, &owner);
        self.readers.call(read).await
    }

    async fn add_contact(
        &self,
        owner: &Owner,
        uid: &UserId,
        limit: usize,
    ) -> Result<Card, AddContactError> {
        let (owner, uid) = (owner.clone(), uid.clone());
        let add =
            move |writing: &mut Writing<'_>| contacts::add(writing.connection, &owner, &uid, limit);
        self.writer.call(0, add).await
    }

    async fn remove_contact(&self, owner: &Owner, uid: &UserId) -> Result<(), StorageError> {
        let (owner, uid) = (owner.clone(), uid.clone());
        self.write(move |writing| contacts::remove(writing.connection, &owner, &uid))
            .await
    }

    async fn find_users(
        &self,
        owner: &Owner,
        entries: Vec<Lookup>,
        limits: FindLimits,
    ) -> Result<Vec<Contact>, StorageError> {
        let read = move |connection: &_| contacts::find(connection, &entries, limits);
        let found = self.readers.call(read).await?;
        let known_as: Vec<_> = found
            .iter()
            .map(|contact| (contact.card.uid.clone(), contact.myid.clone()))
            .collect();
        if !known_as.is_empty() {
            let owner = owner.clone();
            self.write(move |writing| {
                contacts::remember(writing.connection, &owner, &known_as, limits.remembered)
            })
            .await?;
        }
        Ok(found)
    }

    async fn rekey(&self, rule: &AddressRule) -> Result<(), StorageError> {
        let name = rule.name();
        let ours = name.clone();
        if self
            .readers
            .call(move |connection: &_| rekey::is_done(connection, &ours))
            .await?
        {
            return Ok(());
        }
        let mut after = String::new();
        loop {
            let rule = rule.clone();
            let compute = move |connection: &_| rekey::compute(connection, &rule, &after);
            let page = self.readers.call(compute).await?;
            let Some(last) = rekey::last(&page) else {
                break;
            };
            after = last;
            self.write(move |writing| rekey::store(writing, &page))
                .await?;
        }
        self.write(move |writing| rekey::set_done(writing.connection, &name))
            .await
    }

    async fn open_session(&self, session: NewSession) -> Result<OpenedSession, OpenSessionError> {
        let open = move |writing: &mut Writing<'_>| sessions::open(writing, &session);
        self.writer.call(0, open).await
    }

    async fn session(
        &self,
        user: &UserId,
        key: &SessionKey,
    ) -> Result<Option<SessionRecord>, StorageError> {
        let (user, key) = (user.clone(), *key);
        let read = move |connection: &_| sessions::read(connection, &user, &key);
        self.readers.call(read).await
    }

    async fn resume(
        &self,
        user: &UserId,
        key: &SessionKey,
    ) -> Result<Option<ResumedSession>, StorageError> {
        let (user, key) = (user.clone(), *key);
        let read = move |connection: &_| sessions::resume(connection, &user, &key);
        self.readers.call(read).await
    }

    async fn end_session(&self, user: &UserId, key: &SessionKey) -> Result<(), StorageError> {
        let (user, key) = (user.clone(), *key);
        self.write(move |writing| sessions::end(writing, &user, &key))
            .await
    }

    async fn end_ephemeral(&self, user: &UserId) -> Result<(), StorageError> {
        let user = user.clone();
        self.write(move |writing| sessions::end_ephemeral(writing.connection, &user))
            .await
    }

    async fn ephemeral_ended(&self, user: &UserId) -> Result<u64, StorageError> {
        let user = user.clone();
        let read = move |connection: &_| sessions::ephemeral_ended(connection, &user);
        self.readers.call(read).await
    }

    async fn advance(&self, watermarks: Vec<Watermark>) -> Result<(), StorageError> {
        self.write(move |writing| sessions::advance(writing, &watermarks))
            .await
    }

    async fn append(&self, message: NewMessage) -> Result<Appended, AppendError> {
        self.writer.append(message, inbox::append).await
    }

    async fn inbox(
        &self,
        user: &UserId,
        after: u64,
        page: PageLimits,
    ) -> Result<Vec<(u64, Message)>, StorageError> {
        let (user, recent) = (user.clone(), self.recent.clone());
        let read = move |connection: &Connection| {
            let recent = inbox::recent(&recent, &user, after, page);
            // Both tables as they were at one moment.
            let connection = &connection.unchecked_transaction()?;
            inbox::read(connection, &user, after, page, recent)
        };
        self.readers.call(read).await
    }

    async fn inbox_for(
        &self,
        look: &Look,
        after: u64,
        page: PageLimits,
    ) -> Result<Option<Vec<(u64, Message)>>, StorageError> {
        let (look, recent) = (look.clone(), self.recent.clone());
        let read = move |connection: &Connection| {
            let user = &look.owner.user;
            let recent = inbox::recent(&recent, user, after, page);
            // The session, too.
            let connection = &connection.unchecked_transaction()?;
            match sessions::is_there(connection, &look)? {
                true => inbox::read(connection, user, after, page, recent).map(Some),
                false => Ok(None),
            }
        };
        self.readers.call(read).await
    }

    async fn look(&self, looks: Vec<Look>) -> Result<Vec<Seen>, StorageError> {
        let recent = self.recent.clone();
        let see = move |connection: &_| {
            let looks = looks.iter();
            looks.map(|look| see(connection, &recent, look)).collect()
        };
        self.readers.call(see).await
    }

    async fn newest(&self, user: &UserId) -> Result<u64, StorageError> {
        let (user, recent) = (user.clone(), self.recent.clone());
        let read = move |connection: &_| inboxes::newest(connection, recent.newest(&user), &user);
        self.readers.call(read).await
    }

    fn lost_up_to(&self) -> u64 {
        self.lost_up_to
    }

    async fn was_changed_beside(&self) -> Result<bool, StorageError> {
        // Counted, for what is rolled back, or answered too late, is asked again.
        let changed: Result<u64, StorageError> =
            self.write(|writing| Ok(writing.changed_beside)).await;
        let changed = changed?;
        Ok(self.seen_beside.swap(changed, Ordering::Relaxed) != changed)
    }

    async fn latest_use(&self) -> Result<Option<Timestamp>, StorageError> {
        self.readers.call(sessions::latest_use).await
    }

    async fn purge_expired(&self, expiry: Expiry) -> Result<Duration, StorageError> {
        // Where it is looked for.
        let before = integer(expiry.messages_before.as_secs());
        self.write(move |writing| writing.inboxes.settle_before(writing.connection, before))
            .await?;
        let walk = self
            .walk
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let find = move |connection: &_| purge::find(connection, &expiry, &walk);
        let found = self.readers.call(find).await?;
        if found.is_empty() {
            let mut walk = self.walk.lock().unwrap_or_else(PoisonError::into_inner);
            return Ok(walk.go_on(found));
        }
        self.write(move |writing| purge::drop(writing, &found, &expiry))
            .await?;
        Ok(Duration::ZERO)
    }
}

fn see(connection: &Connection, recent: &Recent, look: &Look) -> rusqlite::Result<Seen> {
    if !sessions::is_there(connection, look)? {
        return Ok(Seen::Ended);
    }
    let user = &look.owner.user;
    Ok(Seen::There {
        newest: inboxes::newest(connection, recent.newest(user), user)?,
    })
}
