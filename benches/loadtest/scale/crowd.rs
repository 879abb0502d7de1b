//! Who is in a store, and what it keeps for them.

use crate::Failed;
use crate::wire::User;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use messenger_client::proto::{Message, UserId};
use messenger_core::Engine;
use messenger_core::authenticator::Identity;
use messenger_core::clock::{Clock, SystemClock, Timestamp};
use messenger_core::policy::InboxLimits;
use messenger_core::storage::{
    Account, Address, NewMessage, NewSession, Owner, ProfileChange, SessionKey, Storage,
};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How many calls are handed to the store at once: as many as it writes in one transaction, and those that come next.
const AT_ONCE: usize = 4096;

/// Whose list of contacts is long.
pub(super) const OWNERS: usize = 5;

/// Whose inbox is long.
pub(super) const LONG: usize = 2;

/// How many of those who have to catch up there are for each round.
pub(super) const LATE: usize = 5;

/// One message in so many has a `mid`.
const MIDS: usize = 10;

/// What the crowd did is spread over so much time: everything still counts.
pub(super) const AGE: Duration = Duration::from_secs(29 * 24 * 60 * 60);

/// How many of everything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// All accounts; those that are measured are scattered among them.
    pub(super) accounts: usize,
    /// Of the crowd.
    pub(super) messages: usize,
    /// Of each of the [`OWNERS`].
    pub(super) contacts: usize,
    /// What waits in the inbox of each of the [`LONG`].
    pub(super) long_inbox: usize,
    /// What waits for each of the [`LATE`].
    pub(super) backlog: usize,
    /// How many of each thing are measured in a round.
    pub(super) samples: usize,
    pub(super) rounds: usize,
}

/// Somebody, by a number. Those that are measured have the first ones.
pub(super) type Person = usize;

impl Sizes {
    /// Owners of long lists, then who has a long inbox, then who is late, then who has nothing.
    pub(super) fn measured(&self) -> usize {
        OWNERS + LONG + LATE * self.rounds + self.plain()
    }

    /// How many have nothing in their inbox: for each round a log-in and a message.
    fn plain(&self) -> usize {
        self.samples * self.rounds
    }

    pub(super) fn owner(&self, number: usize) -> Person {
        number % OWNERS
    }

    pub(super) fn with_long_inbox(&self, number: usize) -> Person {
        OWNERS + number % LONG
    }

    pub(super) fn late(&self, round: usize, number: usize) -> Person {
        OWNERS + LONG + round * LATE + number
    }

    pub(super) fn with_nothing(&self, round: usize, number: usize) -> Person {
        OWNERS + LONG + self.rounds * LATE + round * self.samples + number
    }

    /// Anybody, in no order; the first ones are different people.
    pub(super) fn anybody(&self, number: usize) -> Person {
        number * (self.accounts / self.contacts) % self.accounts
    }

    /// All in the order in which they come, so that who is measured is scattered.
    fn in_order(&self) -> impl Iterator<Item = Person> + use<> {
        let (measured, accounts) = (self.measured(), self.accounts);
        let stride = accounts / measured;
        (0..accounts).map(move |number| match number % stride {
            0 if number / stride < measured => number / stride,
            _ => measured + number - (number / stride + 1).min(measured),
        })
    }
}

/// Numbers that follow each other become different ones that do not.
fn scramble(number: usize) -> u64 {
    (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn scrambled_below(number: usize, end: usize) -> usize {
    usize::try_from(scramble(number) >> 32).unwrap_or_default() % end.max(1)
}

/// Logins do not tell who came first.
pub(super) fn login(person: Person) -> String {
    format!("u{:016x}", scramble(person))
}

pub(super) fn phone(person: Person) -> String {
    format!("+4930{:07}", 1_000_000 + person)
}

fn email(person: Person) -> String {
    format!("somebody-{person}@example.org")
}

/// Somebody's session.
pub(super) fn user(person: Person) -> User {
    User {
        number: u32::try_from(person).unwrap_or_default(),
        login: login(person),
        sid: format!("session-{person}"),
    }
}

/// Fills an empty store.
pub(super) async fn fill(store: &Arc<dyn Storage>, sizes: Sizes) -> Result<(), Failed> {
    // A store that has had an engine need not compute the keys of addresses when the server starts.
    let engine = Engine::builder().storage(Arc::clone(store)).build()?;
    let mut first = Identity::new("First");
    first.email = Some("first@example.org".into());
    engine.upsert_user(&"first".into(), &first).await?;
    let (now, pass_hash) = (SystemClock.now(), cheap_hash()?);
    all(sizes.in_order(), |person| {
        join(
            Arc::clone(store),
            person,
            pass_hash.clone(),
            used(person, sizes, now),
        )
    })
    .await?;
    let contacts = (0..OWNERS)
        .flat_map(|owner| (0..sizes.contacts).map(move |number| (owner, sizes.anybody(number))));
    all(contacts, |(owner, other)| {
        add_contact(Arc::clone(store), owner, other, sizes.contacts)
    })
    .await?;
    let (measured, crowd) = (sizes.measured(), sizes.accounts - sizes.measured());
    let of_crowd = (0..sizes.messages.min(crowd * sizes.messages))
        .map(|number| measured + scrambled_below(number, crowd));
    let long = (0..LONG).map(|number| (sizes.with_long_inbox(number), sizes.long_inbox));
    let late = (0..sizes.rounds * LATE).map(|number| (sizes.late(0, number), sizes.backlog));
    let of_measured = long
        .chain(late)
        .flat_map(|(to, count)| std::iter::repeat_n(to, count));
    all(of_crowd.chain(of_measured).enumerate(), |(number, to)| {
        // The oldest first.
        let share = sizes.messages.saturating_sub(number) as f64 / sizes.messages.max(1) as f64;
        append(
            Arc::clone(store),
            number,
            to,
            now.before(AGE.mul_f64(share)),
        )
    })
    .await
}

/// When somebody's session was used: those that are measured are there now.
fn used(person: Person, sizes: Sizes, now: Timestamp) -> Timestamp {
    match person < sizes.measured() {
        true => now,
        false => now.before(AGE.mul_f64(scrambled_below(person, 1000) as f64 / 1000.0)),
    }
}

/// The hash of everybody's password, which costs next to nothing to compare: what a log-in costs beside is measured.
fn cheap_hash() -> Result<String, Failed> {
    let params = Params::new(8, 1, 1, None).map_err(|error| error.to_string())?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let pass = User::pass();
    let hash = argon2.hash_password_with_salt(pass.as_str().as_bytes(), &[7; 16]);
    Ok(hash.map_err(|error| error.to_string())?.to_string())
}

/// Does this for all of them, many at once.
async fn all<T, F>(
    those: impl Iterator<Item = T>,
    mut each: impl FnMut(T) -> F,
) -> Result<(), Failed>
where
    F: Future<Output = Result<(), Failed>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let mut done = 0_u32;
    for one in those {
        if tasks.len() == AT_ONCE
            && let Some(result) = tasks.join_next().await
        {
            result??;
            done += 1;
            if done.is_multiple_of(100_000) {
                eprintln!("{done} are done");
            }
        }
        tasks.spawn(each(one));
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    Ok(())
}

/// Somebody registers, tells how they are found, and begins a session.
async fn join(
    store: Arc<dyn Storage>,
    person: Person,
    pass_hash: String,
    used: Timestamp,
) -> Result<(), Failed> {
    let login = login(person);
    let account = Account::new(login.as_str(), format!("Somebody {person}"), pass_hash);
    let accounts = store.accounts().ok_or("the store keeps no accounts")?;
    accounts.create_account(account).await?;
    let owner = owner(&store, person).await?;
    // They are written as they are compared.
    let [email, phone] =
        [email(person), phone(person)].map(|text| Address::new(text.clone(), Some(text)));
    let change = ProfileChange::new().email(email).phone(phone);
    store.change_profile(&owner, change).await?;
    let key = SessionKey(Sha256::digest(user(person).sid).into());
    store
        .open_session(NewSession::new(owner, key, used))
        .await?;
    Ok(())
}

async fn owner(store: &Arc<dyn Storage>, person: Person) -> Result<Owner, Failed> {
    let user = UserId::from(login(person));
    let number = store.user_number(&user).await?;
    Ok(Owner::new(user, number.ok_or("somebody is not there")?))
}

async fn add_contact(
    store: Arc<dyn Storage>,
    of: Person,
    other: Person,
    limit: usize,
) -> Result<(), Failed> {
    let owner = owner(&store, of).await?;
    store
        .add_contact(&owner, &login(other).into(), limit)
        .await?;
    Ok(())
}

async fn append(
    store: Arc<dyn Storage>,
    number: usize,
    to: Person,
    time: Timestamp,
) -> Result<(), Failed> {
    let from = login(number % OWNERS);
    let message = Message::new(format!("message-{number}"), from, login(to), time.as_secs())
        .body("x".repeat(100));
    let message = NewMessage::new(message, time).limits(InboxLimits::new(u64::MAX, u64::MAX));
    let message = match number.is_multiple_of(MIDS) {
        true => message.mid(number.to_string()),
        false => message,
    };
    store.append(message).await?;
    Ok(())
}
