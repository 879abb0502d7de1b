//! Stores that break a promise.

use async_trait::async_trait;
use messenger_core::AddressRule;
use messenger_core::clock::Timestamp;
use messenger_core::proto::{Card, Contact, Message, Profile, UserId};
use messenger_core::storage::{
    Account, Accounts, AddContactError, AppendError, Appended, CreateAccountError, Expiry,
    FindLimits, Lookup, MemoryStorage, NewMessage, NewSession, OpenSessionError, OpenedSession,
    PageLimits, ProfileChange, SessionKey, SessionRecord, Storage, StorageError, UserData,
    Watermark,
};
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use tokio::task::yield_now;

macro_rules! faults {
    ($($fault:ident,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Fault {
            None,
            $($fault,)*
        }

        impl Fault {
            pub(crate) const ALL: &[Self] = &[$(Self::$fault,)*];
        }
    };
}

faults![
    AppendsWaitBeforeTheirPlace,
    AppendsGetOnOnlyWhenPolled,
    DroppedAppendsLeaveAGap,
    AppendNowAppendsAndDeniesIt,
    NumbersHaveGaps,
    NumbersBecomeVisibleOutOfOrder,
    NewestGoesBack,
    PagesAreUnordered,
    PagesHaveOneMore,
    PagesStopBeforeTheFirst,
    InboxesHoldOneMore,
    InboxesAreNeverFullByBytes,
    SweepsDropWhatIsYoung,
    SweepsDropNothing,
    SweepsLeaveSessionsInTheFuture,
    MidsAreTheSendersOnly,
    MidsOfOneRecipientAreSharedBySenders,
    MidsSwallowWhatIsDifferent,
    MidsDoNotCompareAttachments,
    MidsOfRacingAppendsAreStoredTwice,
    MidsAreTakenByFailures,
    MidsAreNeverForgotten,
    MidsOutliveTheirUsers,
    RepeatedMidsAreAnsweredWithTheirOwnId,
    AdvanceMovesBack,
    AdvanceGoesBeyondTheNewest,
    AdvanceStopsAtAnEndedSession,
    AdvanceForgetsTheLastUse,
    SessionsForgetThatTheyAcknowledge,
    SessionsAreLostWhenOthersEnd,
    SessionsBeginBehindTheNewest,
    SessionsBeginAtTheBeginning,
    OverTheLimitTheNewestSessionEnds,
    ExpiredSessionsCount,
    SetPasswordAlwaysSaysTrue,
    LoginsAreCompared,
    RacingRegistrationsSucceed,
    ProfileChangesForgetAField,
    ProfileChangesClearWhatIsAbsent,
    ContactsAreSorted,
    ContactsAreRefusedInAnotherOrder,
    UsersAreFoundTwice,
    UsersAreFoundBeyondTheBytes,
    UsersAreRememberedWithoutLimit,
    RekeyDoesNothing,
    UsersAreListedFromTheOneAfter,
    DeletedUsersLeaveTheirInbox,
    DeletedUsersStayInContacts,
];

pub(crate) struct Broken {
    inner: MemoryStorage,
    fault: Fault,
    state: Mutex<State>,
    lock: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    watermarks: HashMap<(UserId, SessionKey), Watermark>,
    mids: HashMap<String, (Appended, [u8; 32])>,
    inboxes: HashMap<UserId, Vec<(u64, Message)>>,
    /// Places that are not visible yet.
    hidden: HashSet<u64>,
    contacts: HashMap<UserId, Vec<Contact>>,
    deleted: HashSet<UserId>,
}

impl Broken {
    pub(crate) fn new(fault: Fault) -> Self {
        Self {
            inner: MemoryStorage::new(),
            fault,
            state: Mutex::default(),
            lock: tokio::sync::Mutex::new(()),
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// A memory of `mid`s beside the store's, under a key of its own.
    async fn append_by(&self, key: String, new: NewMessage) -> Result<Appended, AppendError> {
        if let Some((first, _)) = self.state.lock().unwrap().mids.get(&key) {
            return Ok(first.clone());
        }
        let first = Appended::Duplicate {
            id: new.message.id.clone(),
            time: new.message.time,
        };
        let digest = new.digest();
        let appended = self.inner.append(new).await?;
        let mids = &mut self.state.lock().unwrap().mids;
        mids.insert(key, (first, digest));
        Ok(appended)
    }

    async fn append_with_mid(
        &self,
        mid: String,
        mut new: NewMessage,
    ) -> Result<Appended, AppendError> {
        let (from, to) = (new.message.from.clone(), new.message.to.clone());
        match self.fault {
            Fault::MidsAreTheSendersOnly => self.append_by(format!("{from} {mid}"), new).await,
            Fault::MidsOfOneRecipientAreSharedBySenders => {
                self.append_by(format!("{to} {mid}"), new).await
            }
            Fault::MidsSwallowWhatIsDifferent => {
                let key = format!("{from}\n{to}\n{mid}");
                let is_out =
                    new.mid_forgotten_before > Timestamp::from_micros(1_700_000_001_000_000);
                if is_out {
                    return self.inner.append(new).await;
                }
                self.append_by(key, new).await
            }
            Fault::MidsDoNotCompareAttachments => {
                let mut message = (*new.message).clone();
                message.attach = Default::default();
                let without = NewMessage {
                    message: message.into(),
                    ..new.clone()
                };
                let key = format!("{from}\n{to}\n{mid}");
                let digest = without.digest();
                let first = self.state.lock().unwrap().mids.get(&key).cloned();
                if let Some((first, of_first)) = first
                    && of_first == digest
                    && new.mid_forgotten_before <= Timestamp::from_micros(1_700_000_001_000_000)
                {
                    return Ok(first);
                }
                let id = new.message.id.clone();
                let time = new.message.time;
                let appended = self.inner.append(new).await?;
                if let Appended::Stored { .. } = appended {
                    let first = Appended::Duplicate { id, time };
                    self.state.lock().unwrap().mids.insert(key, (first, digest));
                }
                Ok(appended)
            }
            Fault::MidsOfRacingAppendsAreStoredTwice => {
                let key = format!("{from}\n{to}\n{mid}");
                let is_known = self.state.lock().unwrap().mids.contains_key(&key);
                if is_known {
                    return self.inner.append(new).await;
                }
                // Looked, and not found: whoever looks meanwhile does not find it either.
                yield_now().await;
                let again = self.state.lock().unwrap().mids.contains_key(&key);
                if again {
                    new.mid = None;
                    return self.inner.append(new).await;
                }
                let digest = new.digest();
                let appended = self.inner.append(new).await?;
                let mids = &mut self.state.lock().unwrap().mids;
                mids.insert(key, (appended.clone(), digest));
                Ok(appended)
            }
            Fault::MidsAreTakenByFailures => {
                let key = format!("{from}\n{to}\n{mid}");
                let first = Appended::Duplicate {
                    id: new.message.id.clone(),
                    time: new.message.time,
                };
                let taken = self.state.lock().unwrap().mids.get(&key).cloned();
                if let Some((first, _)) = taken {
                    return Ok(first);
                }
                let digest = new.digest();
                let appended = self.inner.append(new).await;
                if appended.is_err() {
                    let mids = &mut self.state.lock().unwrap().mids;
                    mids.insert(key, (first, digest));
                }
                appended
            }
            Fault::MidsAreNeverForgotten => {
                new.mid_forgotten_before = Timestamp::default();
                self.inner.append(new).await
            }
            Fault::MidsOutliveTheirUsers => {
                let was = self.state.lock().unwrap().deleted.contains(&from);
                if was {
                    let (id, time) = (new.message.id.clone(), new.message.time);
                    return Ok(Appended::Duplicate { id, time });
                }
                self.inner.append(new).await
            }
            Fault::RepeatedMidsAreAnsweredWithTheirOwnId => {
                let (id, time) = (new.message.id.clone(), new.message.time);
                match self.inner.append(new).await? {
                    Appended::Duplicate { .. } => Ok(Appended::Duplicate { id, time }),
                    stored => Ok(stored),
                }
            }
            _ => self.inner.append(new).await,
        }
    }
}

#[async_trait]
impl Accounts for Broken {
    async fn create_account(&self, account: Account) -> Result<(), CreateAccountError> {
        if self.is(Fault::RacingRegistrationsSucceed) {
            let known = self.inner.account(account.login.as_str()).await?;
            yield_now().await;
            return match (known, self.inner.create_account(account).await) {
                (None, Err(CreateAccountError::LoginTaken)) => Ok(()),
                (_, created) => created,
            };
        }
        self.inner.create_account(account).await
    }

    async fn account(&self, login: &str) -> Result<Option<Account>, StorageError> {
        let login = match self.fault {
            Fault::LoginsAreCompared => login.to_lowercase(),
            _ => login.to_owned(),
        };
        self.inner.account(&login).await
    }

    async fn set_password(&self, login: &UserId, pass_hash: String) -> Result<bool, StorageError> {
        let set = self.inner.set_password(login, pass_hash).await?;
        Ok(set || self.is(Fault::SetPasswordAlwaysSaysTrue))
    }
}

#[async_trait]
impl Storage for Broken {
    fn accounts(&self) -> Option<&dyn Accounts> {
        Some(self)
    }

    async fn users(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StorageError> {
        let mut users = self.inner.users(after, limit).await?;
        if self.is(Fault::UsersAreListedFromTheOneAfter) {
            users.splice(0..0, after.cloned());
            users.truncate(limit);
        }
        Ok(users)
    }

    async fn user_data(&self, user: &UserId) -> Result<Option<UserData>, StorageError> {
        let data = self.inner.user_data(user).await?;
        let contacts = self.contacts(user).await?;
        Ok(data.map(|data| UserData { contacts, ..data }))
    }

    async fn delete_user(&self, user: &UserId) -> Result<bool, StorageError> {
        let all = PageLimits::new(usize::MAX, usize::MAX);
        let left = self.inner.inbox(user, 0, all).await?;
        let mut contacts = Vec::new();
        for owner in self.inner.users(None, usize::MAX).await? {
            let of_owner = self.inner.contacts(&owner).await?;
            contacts.push((owner, of_owner));
        }
        {
            let mut state = self.state.lock().unwrap();
            state.inboxes.entry(user.clone()).or_insert(left);
            state.contacts.extend(contacts);
            state.deleted.insert(user.clone());
            state.mids.clear();
        }
        self.inner.delete_user(user).await
    }

    async fn upsert_external_user(&self, user: &UserId, nick: &str) -> Result<(), StorageError> {
        self.inner.upsert_external_user(user, nick).await
    }

    async fn profile(&self, user: &UserId) -> Result<Option<Profile>, StorageError> {
        self.inner.profile(user).await
    }

    async fn change_profile(
        &self,
        user: &UserId,
        mut change: ProfileChange,
    ) -> Result<(), StorageError> {
        match self.fault {
            Fault::ProfileChangesForgetAField => change.picture = None,
            Fault::ProfileChangesClearWhatIsAbsent => {
                change.phone = Some(change.phone.unwrap_or_default());
            }
            _ => {}
        }
        self.inner.change_profile(user, change).await
    }

    async fn contacts(&self, owner: &UserId) -> Result<Vec<Contact>, StorageError> {
        let mut contacts = self.inner.contacts(owner).await?;
        if self.is(Fault::ContactsAreSorted) {
            contacts.sort_by(|one, other| one.card.uid.cmp(&other.card.uid));
        }
        if self.is(Fault::DeletedUsersStayInContacts) {
            let state = self.state.lock().unwrap();
            let before = state.contacts.get(owner).into_iter().flatten();
            contacts.extend(before.cloned());
        }
        Ok(contacts)
    }

    async fn add_contact(
        &self,
        owner: &UserId,
        uid: &UserId,
        limit: usize,
    ) -> Result<Card, AddContactError> {
        let count = self.inner.contacts(owner).await?.len();
        if self.is(Fault::ContactsAreRefusedInAnotherOrder) && count >= limit {
            return Err(AddContactError::Full);
        }
        self.inner.add_contact(owner, uid, limit).await
    }

    async fn remove_contact(&self, owner: &UserId, uid: &UserId) -> Result<(), StorageError> {
        self.inner.remove_contact(owner, uid).await
    }

    async fn find_users(
        &self,
        owner: &UserId,
        entries: Vec<Lookup>,
        mut limits: FindLimits,
    ) -> Result<Vec<Contact>, StorageError> {
        match self.fault {
            Fault::UsersAreFoundBeyondTheBytes => limits.bytes = usize::MAX,
            Fault::UsersAreRememberedWithoutLimit => limits.remembered = usize::MAX,
            _ => {}
        }
        if !self.is(Fault::UsersAreFoundTwice) {
            return self.inner.find_users(owner, entries, limits).await;
        }
        // By the email, and then by the phone.
        let entries = entries.into_iter().flat_map(|entry| {
            let by_email = Lookup {
                phones: Vec::new(),
                ..entry.clone()
            };
            let by_phone = Lookup {
                emails: Vec::new(),
                ..entry
            };
            [by_email, by_phone]
        });
        let entries = entries.collect();
        self.inner.find_users(owner, entries, limits).await
    }

    async fn rekey(&self, rule: &AddressRule) -> Result<(), StorageError> {
        match self.fault {
            Fault::RekeyDoesNothing => Ok(()),
            _ => self.inner.rekey(rule).await,
        }
    }

    async fn open_session(&self, mut new: NewSession) -> Result<OpenedSession, OpenSessionError> {
        if self.is(Fault::ExpiredSessionsCount) {
            new.expired_before = Timestamp::default();
            new.limit = 8;
        }
        let mut ended = Vec::new();
        if self.is(Fault::OverTheLimitTheNewestSessionEnds)
            && let Some(data) = self.inner.user_data(&new.user).await?
            && data.sessions.len() >= new.limit
        {
            let newest = data.sessions.iter().max_by_key(|(_, record)| record.used);
            let (key, _) = newest.unwrap();
            self.inner.end_session(&new.user, key).await?;
            ended.push(*key);
        }
        let (user, key) = (new.user.clone(), new.key);
        let mut opened = self.inner.open_session(new).await?;
        opened.ended.extend(ended);
        let newest = self.inner.newest(&user).await?;
        opened.delivered_up_to = match self.fault {
            Fault::SessionsBeginBehindTheNewest => newest,
            Fault::SessionsBeginAtTheBeginning => 0,
            _ => return Ok(opened),
        };
        let mark = Watermark {
            user,
            session: key,
            delivered_up_to: opened.delivered_up_to,
            used: Timestamp::default(),
        };
        self.inner.advance(vec![mark]).await?;
        Ok(opened)
    }

    async fn session(
        &self,
        user: &UserId,
        key: &SessionKey,
    ) -> Result<Option<SessionRecord>, StorageError> {
        let Some(mut record) = self.inner.session(user, key).await? else {
            return Ok(None);
        };
        let state = self.state.lock().unwrap();
        if let Some(mark) = state.watermarks.get(&(user.clone(), *key)) {
            match self.fault {
                Fault::AdvanceMovesBack => {
                    record.delivered_up_to = mark.delivered_up_to.min(record.delivered_up_to);
                }
                Fault::AdvanceGoesBeyondTheNewest => {
                    record.delivered_up_to = record.delivered_up_to.max(mark.delivered_up_to);
                }
                _ => {}
            }
        }
        record.ack &= !self.is(Fault::SessionsForgetThatTheyAcknowledge);
        Ok(Some(record))
    }

    async fn end_session(&self, user: &UserId, key: &SessionKey) -> Result<(), StorageError> {
        let data = self.inner.user_data(user).await?;
        for (other, _) in data.map(|data| data.sessions).unwrap_or_default() {
            if self.is(Fault::SessionsAreLostWhenOthersEnd) {
                self.inner.end_session(user, &other).await?;
            }
        }
        self.inner.end_session(user, key).await
    }

    async fn advance(&self, mut watermarks: Vec<Watermark>) -> Result<(), StorageError> {
        for mark in &watermarks {
            let key = (mark.user.clone(), mark.session);
            self.state
                .lock()
                .unwrap()
                .watermarks
                .insert(key, mark.clone());
        }
        match self.fault {
            Fault::AdvanceForgetsTheLastUse => {
                for mark in &mut watermarks {
                    mark.used = Timestamp::default();
                }
            }
            Fault::AdvanceStopsAtAnEndedSession => {
                for mark in watermarks {
                    let session = self.inner.session(&mark.user, &mark.session).await?;
                    if session.is_none() {
                        break;
                    }
                    self.inner.advance(vec![mark]).await?;
                }
                return Ok(());
            }
            _ => {}
        }
        self.inner.advance(watermarks).await
    }

    async fn append(&self, mut new: NewMessage) -> Result<Appended, AppendError> {
        if let Some(mid) = &new.mid {
            let mid = mid.to_string();
            return self.append_with_mid(mid, new).await;
        }
        match self.fault {
            Fault::AppendsWaitBeforeTheirPlace => {
                yield_now().await;
                self.inner.append(new).await
            }
            Fault::AppendsGetOnOnlyWhenPolled => {
                // In order, and the next one waits for whoever polls this one.
                let _turn = self.lock.lock().await;
                yield_now().await;
                self.inner.append(new).await
            }
            Fault::DroppedAppendsLeaveAGap => {
                let mut lost = Lost {
                    storage: self,
                    to: new.message.to.clone(),
                    is_over: false,
                };
                let appended = self.inner.append(new).await;
                yield_now().await;
                lost.is_over = true;
                appended
            }
            Fault::NumbersHaveGaps => match self.inner.append(new).await? {
                Appended::Stored { seq } => Ok(Appended::Stored { seq: seq * 2 }),
                duplicate => Ok(duplicate),
            },
            Fault::NumbersBecomeVisibleOutOfOrder => {
                let place = {
                    let mut state = self.state.lock().unwrap();
                    match self.inner.append_now(&new).unwrap()? {
                        Appended::Stored { seq } => {
                            state.hidden.insert(seq);
                            seq
                        }
                        duplicate => return Ok(duplicate),
                    }
                };
                // Whoever appends and reads meanwhile sees what comes behind it.
                let _hidden = Hidden(self, place);
                for _ in 0..place % 3 * 10 {
                    yield_now().await;
                }
                Ok(Appended::Stored { seq: place })
            }
            Fault::InboxesHoldOneMore => {
                new.limits.messages = new.limits.messages.saturating_add(1);
                self.inner.append(new).await
            }
            Fault::InboxesAreNeverFullByBytes => {
                new.limits.bytes = u64::MAX;
                self.inner.append(new).await
            }
            _ => self.inner.append(new).await,
        }
    }

    fn append_now(&self, new: &NewMessage) -> Option<Result<Appended, AppendError>> {
        match self.fault {
            Fault::None => self.inner.append_now(new),
            Fault::AppendNowAppendsAndDeniesIt => {
                let _ = self.inner.append_now(new);
                None
            }
            _ => None,
        }
    }

    async fn inbox(
        &self,
        user: &UserId,
        after: u64,
        mut page: PageLimits,
    ) -> Result<Vec<(u64, Message)>, StorageError> {
        match self.fault {
            Fault::PagesHaveOneMore => page.messages = page.messages.saturating_add(1),
            Fault::PagesStopBeforeTheFirst if page.bytes == 1 => return Ok(Vec::new()),
            _ => {}
        }
        let mut found = self.inner.inbox(user, after, page).await?;
        let state = self.state.lock().unwrap();
        match self.fault {
            Fault::PagesAreUnordered => found.reverse(),
            Fault::NumbersHaveGaps => {
                for (seq, _) in &mut found {
                    *seq *= 2;
                }
            }
            Fault::NumbersBecomeVisibleOutOfOrder => {
                found.retain(|(seq, _)| !state.hidden.contains(seq));
            }
            Fault::DeletedUsersLeaveTheirInbox if found.is_empty() => {
                found = state.inboxes.get(user).cloned().unwrap_or_default();
            }
            Fault::DroppedAppendsLeaveAGap => {
                let lost = state.inboxes.get(user).map_or(&[][..], Vec::as_slice);
                found.retain(|(seq, _)| !lost.iter().any(|(lost, _)| lost == seq));
            }
            _ => {}
        }
        Ok(found)
    }

    async fn newest(&self, user: &UserId) -> Result<u64, StorageError> {
        if self.is(Fault::NewestGoesBack) {
            let all = PageLimits::new(usize::MAX, usize::MAX);
            let kept = self.inner.inbox(user, 0, all).await?;
            return Ok(kept.last().map_or(0, |(seq, _)| *seq));
        }
        self.inner.newest(user).await
    }

    async fn purge_expired(&self, mut old: Expiry) -> Result<bool, StorageError> {
        match self.fault {
            Fault::SweepsDropNothing => return Ok(false),
            Fault::SweepsDropWhatIsYoung => {
                old.messages_before = old.messages_before.after(std::time::Duration::from_secs(5));
            }
            Fault::SweepsLeaveSessionsInTheFuture => {
                old.now = Timestamp::from_micros(u64::MAX);
            }
            _ => {}
        }
        self.inner.purge_expired(old).await
    }
}

/// A place that is not visible while this lives.
struct Hidden<'a>(&'a Broken, u64);

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        let Self(storage, place) = self;
        storage.state.lock().unwrap().hidden.remove(place);
    }
}

/// Loses the newest message when it is dropped before it is over, and leaves its number used.
struct Lost<'a> {
    storage: &'a Broken,
    to: UserId,
    is_over: bool,
}

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let newest = futures_util::FutureExt::now_or_never(self.storage.inner.newest(&self.to));
        let newest = newest.unwrap().unwrap();
        let mut state = self.storage.state.lock().unwrap();
        let lost = state.inboxes.entry(self.to.clone()).or_default();
        lost.push((newest, Message::default()));
    }
}
