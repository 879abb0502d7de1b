//! The store: each call is a statement.

mod accounts;
mod budgets;
mod contacts;
mod inbox;
mod sessions;
mod users;

use crate::calls::Calls;
use crate::computed::{self, Turns};
use crate::database::Database;
use crate::error::ConnectError;
use crate::identity;
use crate::lane::{Lane, LaneRow};
use crate::link::{Open, Servers};
use crate::meters;
use crate::migrations;
use crate::params::Params;
use crate::restored::{self, LostUpTo};
use crate::row::Columns;
use crate::safety::{self, Concern};
use crate::timeouts;
use async_trait::async_trait;
use messenger_core::AddressRule;
use messenger_core::clock::Timestamp;
use messenger_core::proto::{Card, Contact, Message, Profile, UserId};
use messenger_core::storage::{
    Accounts, AddContactError, AppendError, Appended, Budgets, Expiry, FindLimits, Look, Lookup,
    NewMessage, NewSession, OpenSessionError, OpenedSession, Owner, PURGE_EVERY, PageLimits,
    ProfileChange, ResumedSession, Seen, SessionKey, SessionRecord, Storage, StorageError,
    UserData, UserNumber, Watermark,
};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// How many lanes messages go on. All of a recipient's go on the same.
const LANES: usize = 2;

/// What other servers do is told by the notifier, and seen here when it tells nothing.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(4);

/// Everything in a PostgreSQL database, which several servers may share.
///
/// Dropping it lets the messages that were handed to it be stored, as long as the process lives.
pub struct PostgresStorage {
    calls: Calls,
    lanes: Vec<Lane>,
    id: String,
    concern: Option<Concern>,
    lost_up_to: Arc<LostUpTo>,
    turns: Turns,
}

impl fmt::Debug for PostgresStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStorage").finish_non_exhaustive()
    }
}

impl PostgresStorage {
    /// [Opens](Self::open) the store in the database of this [address](Database).
    ///
    /// # Errors
    /// See [`ConnectError`], whose sentences tell an operator what to do.
    ///
    /// # Cancel safety
    /// As [`open`](Self::open).
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::open(&url.parse()?).await
    }

    /// Opens the store in this database, and makes the tables if there are none. It needs a Tokio runtime with time
    /// and I/O.
    ///
    /// # Errors
    /// See [`ConnectError`], whose sentences tell an operator what to do.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connections. The tables were made or brought up to date as a whole or not at all. What
    /// logins look like may be computed for some of them; the next who opens the store computes the rest.
    pub async fn open(database: &Database) -> Result<Self, ConnectError> {
        let servers = Arc::new(Servers::of(database)?);
        let setup = servers.connect().await.map_err(ConnectError::connect)?;
        let prepared = servers.watch(async {
            let concern = look_at(&setup).await?;
            migrations::run(&setup.client).await?;
            Ok(concern)
        });
        let concern = prepared.await.map_err(ConnectError::connect)??;
        let calls = Calls::new(&servers);
        computed::keep_up_skeletons(&calls)
            .await
            .map_err(ConnectError::prepare)?;
        if let Some(concern) = concern {
            tracing::warn!("{concern}");
        }
        Self::start(concern, &servers, calls).await
    }

    /// The same for an operator's calls, beside servers: the tables are there already, and nothing is changed.
    ///
    /// # Errors
    /// See [`ConnectError`], whose sentences tell an operator what to do.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connections. Nothing is changed.
    pub async fn open_beside(database: &Database) -> Result<Self, ConnectError> {
        let servers = Arc::new(Servers::of(database)?);
        let setup = servers.connect().await.map_err(ConnectError::connect)?;
        let prepared = servers.watch(async {
            let concern = look_at(&setup).await?;
            migrations::check(&setup.client).await?;
            Ok(concern)
        });
        let concern = prepared.await.map_err(ConnectError::connect)??;
        Self::start(concern, &servers, Calls::new(&servers)).await
    }

    async fn start(
        concern: Option<Concern>,
        servers: &Arc<Servers>,
        calls: Calls,
    ) -> Result<Self, ConnectError> {
        meters::begin();
        let id = identity::id(&calls).await.map_err(ConnectError::prepare)?;
        let lost_up_to = Arc::new(LostUpTo::default());
        lost_up_to
            .read(&calls)
            .await
            .map_err(ConnectError::prepare)?;
        let lane = |_| Lane::start(servers, Arc::clone(&lost_up_to)).map_err(ConnectError::prepare);
        Ok(Self {
            lanes: (0..LANES).map(lane).collect::<Result<_, ConnectError>>()?,
            concern,
            calls,
            id,
            lost_up_to,
            turns: Turns::default(),
        })
    }

    /// Names this store among others: the same for all servers on it, and another one once it was
    /// [restored](crate::mark_restored).
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What an operator should know of the database, as it was when the store was opened.
    pub fn concern(&self) -> Option<Concern> {
        self.concern
    }

    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// The lane of a recipient, of whose login this is a hash.
    fn lane(&self, recipient: u64) -> Option<&Lane> {
        let lanes = u64::try_from(self.lanes.len()).unwrap_or(1);
        let number = usize::try_from(recipient % lanes).unwrap_or(0);
        self.lanes.get(number)
    }
}

fn hash(user: &UserId) -> u64 {
    let mut hasher = DefaultHasher::new();
    user.hash(&mut hasher);
    hasher.finish()
}

/// Whether the database is one that a store can be in, and what an operator should know of it.
async fn look_at(setup: &Open) -> Result<Option<Concern>, ConnectError> {
    safety::check(&setup.client).await?;
    timeouts::check(&setup.client).await?;
    safety::concern(&setup.client).await
}

#[async_trait]
impl Storage for PostgresStorage {
    fn accounts(&self) -> Option<&dyn Accounts> {
        Some(self)
    }

    fn budgets(&self) -> Option<&dyn Budgets> {
        Some(self)
    }

    async fn upsert_external_user(&self, user: &UserId, nick: &str) -> Result<(), StorageError> {
        accounts::upsert_external(&self.calls, user, nick).await
    }

    async fn user_number(&self, user: &UserId) -> Result<Option<UserNumber>, StorageError> {
        users::number(&self.calls, user).await
    }

    async fn users(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StorageError> {
        users::list(&self.calls, after, limit).await
    }

    async fn user_data(&self, user: &UserId) -> Result<Option<UserData>, StorageError> {
        users::data(&self.calls, user).await
    }

    async fn delete_user(&self, user: &UserId) -> Result<bool, StorageError> {
        users::delete(&self.calls, user).await
    }

    async fn profile(&self, user: &UserId) -> Result<Option<Profile>, StorageError> {
        accounts::profile(&self.calls, user).await
    }

    async fn change_profile(
        &self,
        owner: &Owner,
        change: ProfileChange,
    ) -> Result<(), StorageError> {
        accounts::change(&self.calls, owner, &change).await
    }

    async fn contacts(&self, owner: &UserId) -> Result<Vec<Contact>, StorageError> {
        contacts::list(&self.calls, owner).await
    }

    async fn add_contact(
        &self,
        owner: &Owner,
        uid: &UserId,
        limit: usize,
    ) -> Result<Card, AddContactError> {
        contacts::add(&self.calls, owner, uid, limit).await
    }

    async fn remove_contact(&self, owner: &Owner, uid: &UserId) -> Result<(), StorageError> {
        contacts::remove(&self.calls, owner, uid).await
    }

    async fn find_users(
        &self,
        owner: &Owner,
        entries: Vec<Lookup>,
        limits: FindLimits,
    ) -> Result<Vec<Contact>, StorageError> {
        contacts::find(&self.calls, owner, &entries, limits).await
    }

    async fn rekey(&self, rule: &AddressRule) -> Result<(), StorageError> {
        computed::keep_up(&self.calls, rule, &self.turns).await
    }

    async fn open_session(&self, session: NewSession) -> Result<OpenedSession, OpenSessionError> {
        sessions::open(&self.calls, &session).await
    }

    async fn session(
        &self,
        user: &UserId,
        key: &SessionKey,
    ) -> Result<Option<SessionRecord>, StorageError> {
        let resumed = sessions::resume(&self.calls, user, key).await?;
        Ok(resumed.map(|resumed| resumed.record))
    }

    async fn resume(
        &self,
        user: &UserId,
        key: &SessionKey,
    ) -> Result<Option<ResumedSession>, StorageError> {
        sessions::resume(&self.calls, user, key).await
    }

    async fn end_session(&self, user: &UserId, key: &SessionKey) -> Result<(), StorageError> {
        sessions::end(&self.calls, user, key).await
    }

    async fn end_ephemeral(&self, user: &UserId) -> Result<(), StorageError> {
        sessions::end_ephemeral(&self.calls, user).await
    }

    async fn ephemeral_ended(&self, user: &UserId) -> Result<u64, StorageError> {
        sessions::ephemeral_ended(&self.calls, user).await
    }

    async fn advance(&self, watermarks: Vec<Watermark>) -> Result<(), StorageError> {
        sessions::advance(&self.calls, &watermarks).await
    }

    fn flush_delay(&self) -> Duration {
        Duration::from_millis(200)
    }

    async fn append(&self, message: NewMessage) -> Result<Appended, AppendError> {
        let recipient = hash(&message.message.to);
        match self.lane(recipient) {
            Some(lane) => lane.append(recipient, message).await,
            None => Err(StorageError::new("the store has no lane").into()),
        }
    }

    async fn inbox(
        &self,
        user: &UserId,
        after: u64,
        page: PageLimits,
    ) -> Result<Vec<(u64, Message)>, StorageError> {
        inbox::read(&self.calls, user, after, page).await
    }

    async fn newest(&self, user: &UserId) -> Result<u64, StorageError> {
        inbox::newest(&self.calls, user).await
    }

    fn lost_up_to(&self) -> u64 {
        self.lost_up_to.get()
    }

    async fn look(&self, looks: Vec<Look>) -> Result<Vec<Seen>, StorageError> {
        let rows: Vec<&LaneRow> = self.lanes.iter().map(Lane::row).collect();
        let answer = match sessions::look(&self.calls, &looks, &rows).await {
            Err(failure) if failure.is_loss() => {
                let marked = self.calls.write(restored::MARK, restored::now()).await?;
                self.lost_up_to.lost(&marked)?;
                rows.iter().for_each(|row| row.lose());
                sessions::look(&self.calls, &looks, &rows).await?
            }
            answer => answer?,
        };
        sessions::seen(&answer)
    }

    async fn inbox_for(
        &self,
        look: &Look,
        after: u64,
        page: PageLimits,
    ) -> Result<Option<Vec<(u64, Message)>>, StorageError> {
        inbox::read_for(&self.calls, look, after, page).await
    }

    async fn latest_use(&self) -> Result<Option<Timestamp>, StorageError> {
        sessions::latest_use(&self.calls).await
    }

    async fn purge_expired(&self, expiry: Expiry) -> Result<Duration, StorageError> {
        let params = Params::new()
            .time(expiry.now)
            .time(expiry.sessions_before)
            .number(expiry.messages_before.as_secs())
            .time(expiry.mids_before)
            .numbers(self.lanes.iter().map(|lane| lane.row().number));
        let answer = self
            .calls
            .write("SELECT purge_v2($1, $2, $3, $4, $5)", params)
            .await?;
        // Another server may have found that the database has lost something.
        self.lost_up_to.read(&self.calls).await?;
        Ok(match answer.first().map(|row| row.value(0)).transpose()? {
            Some(1_i32) => Duration::ZERO,
            _ => PURGE_EVERY,
        })
    }

    fn looked_at_every(&self) -> Duration {
        LOOKED_AT_EVERY
    }

    async fn time(&self) -> Result<Option<Timestamp>, StorageError> {
        let select = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
        let rows = self.calls.read(select, Params::new()).await?;
        let time = rows.first().map(|row| row.number(0)).transpose()?;
        Ok(time.map(Timestamp::from_micros))
    }

    async fn check(&self) -> Result<(), StorageError> {
        self.calls.read("SELECT 1", Params::new()).await.map(drop)
    }
}
