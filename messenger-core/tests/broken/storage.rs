//! Stores that break a promise.

use async_trait::async_trait;
use messenger_core::AddressRule;
use messenger_core::clock::Timestamp;
use messenger_core::lookalikes::skeleton;
use messenger_core::policy::Rate;
use messenger_core::proto::{Card, Contact, Message, Profile, UserId};
use messenger_core::storage::{
    Account, Accounts, AddContactError, AppendError, Appended, Budgets, CreateAccountError, Expiry,
    FindLimits, Look, Lookup, MemoryStorage, NewMessage, NewSession, OpenSessionError,
    OpenedSession, Owner, PURGE_EVERY, PageLimits, ProfileChange, ResumedSession, Seen, SessionKey,
    SessionRecord, SharedLimit, Storage, StorageError, UserData, UserNumber, Watermark,
};
use messenger_core::testing::FaultyStorage;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
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
    AppendNowGoesOnBehindNobody,
    NumbersHaveGaps,
    NumbersBecomeVisibleOutOfOrder,
    NewestGoesBack,
    PagesAreUnordered,
    PagesHaveOneMore,
    PagesStopBeforeTheFirst,
    InboxesHoldOneMore,
    InboxesAreNeverFullByBytes,
    FullInboxesDropTheOldestOfAnybody,
    DroppedMessagesAreNotTold,
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
    LooksFindEndedSessions,
    LooksFindEndedEphemeralSessions,
    LooksFindTheNextUser,
    LooksLeaveOutWhatHasEnded,
    LooksAreAnsweredInAnotherOrder,
    LooksTellOnlyWhatIsKept,
    ResumedSessionsHaveNoNick,
    ResumedSessionsAreAnyUsers,
    EndedSessionsAreGivenTheirInbox,
    TheGoneAreGivenTheNextsInbox,
    BudgetsAreEverybodys,
    BudgetsOfAllLimitsAreOne,
    BudgetsGrowWithTime,
    BudgetsAreTakenFromInPart,
    BudgetsAreNotGivenBack,
    BudgetsAreGivenMoreThanTheyHold,
    BudgetsWaitForTheClock,
    BudgetsAreReadBeforeTheyAreWritten,
    SetPasswordAlwaysSaysTrue,
    LoginsAreCompared,
    RacingRegistrationsSucceed,
    LookalikesPass,
    RacingLookalikesPass,
    LookalikesOfAdoptedUsersPass,
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
    TheGoneChangeTheNextsProfile,
    TheGoneAddToTheNextsContacts,
    TheGoneRemoveTheNextsContacts,
    TheGoneRememberForTheNext,
    TheGoneBeginSessionsOfTheNext,
    TheGoneSend,
    TheGoneSendWithMids,
    UserNumbersAreGivenAgain,
];

pub(crate) struct Broken {
    inner: MemoryStorage,
    /// For the budgets.
    far: FaultyStorage,
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
    /// By messages' ids.
    senders: HashMap<String, UserId>,
    first_taken: Option<Timestamp>,
    /// How many take from a budget right now.
    taking: u32,
    given_back: HashSet<String>,
}

impl Broken {
    pub(crate) fn new(fault: Fault) -> Self {
        Self {
            inner: MemoryStorage::new(),
            far: FaultyStorage::new(Arc::new(MemoryStorage::new())).far_away(),
            fault,
            state: Mutex::default(),
            lock: tokio::sync::Mutex::new(()),
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Whoever has the id now, whoever was meant, for a store that forgets to look in one place.
    async fn unchecked(&self, fault: Fault, owner: &Owner) -> Result<Owner, StorageError> {
        let mut owner = owner.clone();
        if (self.is(fault) || self.is(Fault::UserNumbersAreGivenAgain))
            && let Some(number) = self.inner.user_number(&owner.user).await?
        {
            owner.number = number;
        }
        Ok(owner)
    }

    /// A memory of `mid`s beside the store's, under a key of its own.
    async fn append_by(&self, key: String, new: NewMessage) -> Result<Appended, AppendError> {
        if let Some((first, _)) = self.state.lock().unwrap().mids.get(&key) {
            return Ok(first.clone());
        }
        let first = Appended::duplicate(new.message.id.clone(), new.message.time);
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
                let without = NewMessage::new(message, new.now);
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
                    let first = Appended::duplicate(id, time);
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
                let first = Appended::duplicate(new.message.id.clone(), new.message.time);
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
                    return Ok(Appended::duplicate(id, time));
                }
                self.inner.append(new).await
            }
            Fault::TheGoneSendWithMids => {
                new.sender = None;
                self.inner.append(new).await
            }
            Fault::RepeatedMidsAreAnsweredWithTheirOwnId => {
                let (id, time) = (new.message.id.clone(), new.message.time);
                match self.inner.append(new).await? {
                    Appended::Duplicate { .. } => Ok(Appended::duplicate(id, time)),
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

    async fn create_distinct_account(&self, account: Account) -> Result<(), CreateAccountError> {
        match self.fault {
            Fault::LookalikesPass => self.inner.create_account(account).await,
            Fault::RacingLookalikesPass => {
                let wanted = skeleton(account.login.as_str());
                let users = self.inner.users(None, usize::MAX).await?;
                yield_now().await;
                if users.iter().any(|user| skeleton(user.as_str()) == wanted) {
                    return Err(CreateAccountError::Lookalike);
                }
                self.inner.create_account(account).await
            }
            Fault::LookalikesOfAdoptedUsersPass => {
                let created = self.inner.create_distinct_account(account.clone()).await;
                let Err(CreateAccountError::Lookalike) = created else {
                    return created;
                };
                let wanted = skeleton(account.login.as_str());
                for user in self.inner.users(None, usize::MAX).await? {
                    let has_account = self.inner.account(user.as_str()).await?.is_some();
                    if has_account && skeleton(user.as_str()) == wanted {
                        return Err(CreateAccountError::Lookalike);
                    }
                }
                self.inner.create_account(account).await
            }
            _ => self.inner.create_distinct_account(account).await,
        }
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
impl Budgets for Broken {
    async fn take(
        &self,
        mut limit: SharedLimit,
        mut key: &str,
        count: u32,
        rate: Rate,
        mut now: Timestamp,
    ) -> Result<bool, StorageError> {
        let budgets = self.far.budgets().unwrap();
        match self.fault {
            Fault::BudgetsAreEverybodys => key = "",
            Fault::BudgetsOfAllLimitsAreOne => limit = SharedLimit::Import,
            Fault::BudgetsGrowWithTime => {
                let mut state = self.state.lock().unwrap();
                let first = *state.first_taken.get_or_insert(now);
                let minutes = now.since(first).as_secs() / 60;
                if minutes > 2 {
                    return Ok(u64::from(count) <= minutes);
                }
            }
            Fault::BudgetsAreTakenFromInPart if count > rate.burst => {
                budgets.take(limit, key, 1, rate, now).await?;
                return Ok(false);
            }
            Fault::BudgetsAreGivenMoreThanTheyHold
                if self.state.lock().unwrap().given_back.remove(key) =>
            {
                return Ok(true);
            }
            Fault::BudgetsWaitForTheClock => {
                let mut state = self.state.lock().unwrap();
                let first = state.first_taken.get_or_insert(now);
                now = now.max(*first);
                *first = now;
            }
            Fault::BudgetsAreReadBeforeTheyAreWritten => {
                self.state.lock().unwrap().taking += 1;
                yield_now().await;
                let mut state = self.state.lock().unwrap();
                let is_race = state.taking > 1;
                state.taking -= 1;
                if is_race {
                    return Ok(true);
                }
            }
            _ => {}
        }
        budgets.take(limit, key, count, rate, now).await
    }

    async fn give_back(
        &self,
        limit: SharedLimit,
        key: &str,
        rate: Rate,
    ) -> Result<(), StorageError> {
        match self.fault {
            Fault::BudgetsAreNotGivenBack => return Ok(()),
            Fault::BudgetsAreGivenMoreThanTheyHold => {
                self.state.lock().unwrap().given_back.insert(key.to_owned());
            }
            _ => {}
        }
        let budgets = self.far.budgets().unwrap();
        budgets.give_back(limit, key, rate).await
    }
}

#[async_trait]
impl Storage for Broken {
    fn budgets(&self) -> Option<&dyn Budgets> {
        Some(self)
    }

    fn accounts(&self) -> Option<&dyn Accounts> {
        Some(self)
    }

    async fn user_number(&self, user: &UserId) -> Result<Option<UserNumber>, StorageError> {
        let number = self.inner.user_number(user).await?;
        Ok(match self.fault {
            Fault::UserNumbersAreGivenAgain => number.map(|_| UserNumber(1)),
            _ => number,
        })
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
        Ok(data.map(|data| data.contacts(contacts)))
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
        owner: &Owner,
        mut change: ProfileChange,
    ) -> Result<(), StorageError> {
        match self.fault {
            Fault::ProfileChangesForgetAField => change.picture = None,
            Fault::ProfileChangesClearWhatIsAbsent => {
                change.phone = Some(change.phone.unwrap_or_default());
            }
            _ => {}
        }
        let owner = self.unchecked(Fault::TheGoneChangeTheNextsProfile, owner);
        self.inner.change_profile(&owner.await?, change).await
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
        owner: &Owner,
        uid: &UserId,
        limit: usize,
    ) -> Result<Card, AddContactError> {
        let count = self.inner.contacts(&owner.user).await?.len();
        if self.is(Fault::ContactsAreRefusedInAnotherOrder) && count >= limit {
            return Err(AddContactError::Full);
        }
        let owner = self.unchecked(Fault::TheGoneAddToTheNextsContacts, owner);
        self.inner.add_contact(&owner.await?, uid, limit).await
    }

    async fn remove_contact(&self, owner: &Owner, uid: &UserId) -> Result<(), StorageError> {
        let owner = self.unchecked(Fault::TheGoneRemoveTheNextsContacts, owner);
        self.inner.remove_contact(&owner.await?, uid).await
    }

    async fn find_users(
        &self,
        owner: &Owner,
        entries: Vec<Lookup>,
        mut limits: FindLimits,
    ) -> Result<Vec<Contact>, StorageError> {
        let owner = &self
            .unchecked(Fault::TheGoneRememberForTheNext, owner)
            .await?;
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
            let by_email = entry.clone().phones(Vec::new());
            [by_email, entry.emails(Vec::new())]
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
        new.owner = self
            .unchecked(Fault::TheGoneBeginSessionsOfTheNext, &new.owner)
            .await?;
        if self.is(Fault::ExpiredSessionsCount) {
            new.expired_before = Timestamp::default();
            new.limit = 8;
        }
        let mut ended = Vec::new();
        if self.is(Fault::OverTheLimitTheNewestSessionEnds)
            && let Some(data) = self.inner.user_data(&new.owner.user).await?
            && data.sessions.len() >= new.limit
        {
            let newest = data.sessions.iter().max_by_key(|(_, record)| record.used);
            let (key, _) = newest.unwrap();
            self.inner.end_session(&new.owner.user, key).await?;
            ended.push(*key);
        }
        let (user, key) = (new.owner.user.clone(), new.key);
        let mut opened = self.inner.open_session(new).await?;
        opened.ended.extend(ended);
        let newest = self.inner.newest(&user).await?;
        opened.delivered_up_to = match self.fault {
            Fault::SessionsBeginBehindTheNewest => newest,
            Fault::SessionsBeginAtTheBeginning => 0,
            _ => return Ok(opened),
        };
        let mark = Watermark::new(user, key, opened.delivered_up_to, Timestamp::default());
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

    async fn resume(
        &self,
        user: &UserId,
        key: &SessionKey,
    ) -> Result<Option<ResumedSession>, StorageError> {
        let user = match self.fault {
            Fault::ResumedSessionsAreAnyUsers => &"ann".into(),
            _ => user,
        };
        let mut resumed = self.inner.resume(user, key).await?;
        if let Some(resumed) = &mut resumed
            && self.is(Fault::ResumedSessionsHaveNoNick)
        {
            resumed.nick = "".into();
        }
        Ok(resumed)
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

    async fn end_ephemeral(&self, user: &UserId) -> Result<(), StorageError> {
        self.inner.end_ephemeral(user).await
    }

    async fn ephemeral_ended(&self, user: &UserId) -> Result<u64, StorageError> {
        self.inner.ephemeral_ended(user).await
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
                Appended::Stored {
                    seq,
                    recipient,
                    dropped,
                    ..
                } => Ok(Appended::stored(seq * 2, recipient).dropped(dropped)),
                duplicate => Ok(duplicate),
            },
            Fault::NumbersBecomeVisibleOutOfOrder => {
                let (appended, seq) = {
                    let mut state = self.state.lock().unwrap();
                    let appended = self.inner.append_now(&[&new]).unwrap().remove(0)?;
                    let Some(seq) = appended.seq() else {
                        return Ok(appended);
                    };
                    state.hidden.insert(seq);
                    (appended, seq)
                };
                // Whoever appends and reads meanwhile sees what comes behind it.
                let _hidden = Hidden(self, seq);
                for _ in 0..seq % 3 * 10 {
                    yield_now().await;
                }
                Ok(appended)
            }
            Fault::FullInboxesDropTheOldestOfAnybody => {
                // As if one had sent all of it.
                let mut message = (*new.message).clone();
                let from = std::mem::replace(&mut message.from, "anybody".into());
                let id = message.id.as_str().to_owned();
                self.state.lock().unwrap().senders.insert(id, from);
                new.message = message.into();
                self.inner.append(new).await
            }
            Fault::DroppedMessagesAreNotTold => match self.inner.append(new).await? {
                Appended::Stored { seq, recipient, .. } => Ok(Appended::stored(seq, recipient)),
                duplicate => Ok(duplicate),
            },
            Fault::TheGoneSend | Fault::UserNumbersAreGivenAgain => {
                new.sender = None;
                self.inner.append(new).await
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

    fn append_now(&self, new: &[&NewMessage]) -> Option<Vec<Result<Appended, AppendError>>> {
        match self.fault {
            Fault::None => self.inner.append_now(new),
            Fault::AppendNowGoesOnBehindNobody => {
                let each = new.iter().map(|new| self.inner.append_now(&[new]).unwrap());
                Some(each.flatten().collect())
            }
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
            Fault::FullInboxesDropTheOldestOfAnybody => {
                for (_, message) in &mut found {
                    let from = state.senders.get(message.id.as_str());
                    message.from = from.cloned().unwrap_or_default();
                }
            }
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

    async fn inbox_for(
        &self,
        look: &Look,
        after: u64,
        page: PageLimits,
    ) -> Result<Option<Vec<(u64, Message)>>, StorageError> {
        if self.is(Fault::EndedSessionsAreGivenTheirInbox) {
            let inbox = self.inner.inbox(&look.owner.user, after, page).await?;
            return Ok(Some(inbox));
        }
        let mut look = look.clone();
        look.owner = self
            .unchecked(Fault::TheGoneAreGivenTheNextsInbox, &look.owner)
            .await?;
        self.inner.inbox_for(&look, after, page).await
    }

    async fn look(&self, mut looks: Vec<Look>) -> Result<Vec<Seen>, StorageError> {
        if self.is(Fault::LooksFindEndedSessions) {
            for look in &mut looks {
                look.session = None;
            }
        }
        if self.is(Fault::LooksFindEndedEphemeralSessions) {
            for look in &mut looks {
                look.ephemeral_ended = self.inner.ephemeral_ended(&look.owner.user).await?;
            }
        }
        for look in &mut looks {
            look.owner = self
                .unchecked(Fault::LooksFindTheNextUser, &look.owner)
                .await?;
        }
        let mut seen = self.inner.look(looks.clone()).await?;
        match self.fault {
            Fault::LooksLeaveOutWhatHasEnded => seen.retain(|seen| *seen != Seen::Ended),
            Fault::LooksAreAnsweredInAnotherOrder => seen.reverse(),
            Fault::LooksTellOnlyWhatIsKept => {
                for (look, seen) in looks.iter().zip(&mut seen) {
                    if let Seen::There { newest } = seen {
                        let all = PageLimits::new(usize::MAX, usize::MAX);
                        let kept = self.inner.inbox(&look.owner.user, 0, all).await?;
                        *newest = kept.last().map_or(0, |(seq, _)| *seq);
                    }
                }
            }
            _ => {}
        }
        Ok(seen)
    }

    async fn newest(&self, user: &UserId) -> Result<u64, StorageError> {
        if self.is(Fault::NewestGoesBack) {
            let all = PageLimits::new(usize::MAX, usize::MAX);
            let kept = self.inner.inbox(user, 0, all).await?;
            return Ok(kept.last().map_or(0, |(seq, _)| *seq));
        }
        self.inner.newest(user).await
    }

    async fn purge_expired(&self, mut old: Expiry) -> Result<Duration, StorageError> {
        match self.fault {
            Fault::SweepsDropNothing => return Ok(PURGE_EVERY),
            Fault::SweepsDropWhatIsYoung => {
                old.messages_before = old.messages_before.after(Duration::from_secs(5));
            }
            Fault::SweepsLeaveSessionsInTheFuture => {
                old.now = Timestamp::from_micros(u64::MAX);
            }
            _ => {}
        }
        self.inner.purge_expired(old).await
    }
}

/// A sequence number that is not visible while this lives.
struct Hidden<'a>(&'a Broken, u64);

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        let Self(storage, seq) = self;
        storage.state.lock().unwrap().hidden.remove(seq);
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
