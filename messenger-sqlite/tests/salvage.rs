//! What can be read of a damaged store is saved, and is a store.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking

mod support;

use messenger_core::proto::{Ack, AddContact, Auth, ContactList, Register};
use messenger_core::storage::Storage;
use messenger_core::{Connection, Engine};
use messenger_sqlite::{
    SalvageError, Salvaged, SalvagedTable, SqliteStorage, back_up, check, salvage,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::{engine, join, send};
use tempfile::TempDir;
use tokio::time::timeout;

const USERS: usize = 300;
const MESSAGES: usize = 600;
const PAGE: usize = 4096;

/// Until then everything has happened.
const DEADLINE: Duration = Duration::from_secs(60);

/// A closed store: ann, many whom she has as contacts and sent a message, and bob, whose inbox has numbered messages of hers.
async fn begin() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let engine = engine(&path);
    let ann = join(&engine, "ann").await;
    let bob = join(&engine, "bob").await;
    for number in 0..USERS {
        let login = format!("user{number:03}");
        let register = Register::new(login.as_str(), "secret", format!("nick {number:03}"));
        engine.connect().call(register).await.unwrap();
        ann.call(AddContact::new(login.as_str())).await.unwrap();
        send(&ann, &login, format!("message 1 to {login}"), 1).await;
    }
    for number in 1..=MESSAGES {
        let body = format!("message {number} {}", "x".repeat(number % 300));
        send(&ann, "bob", body, number).await;
    }
    bob.call(Ack::new(5)).await.unwrap();
    close(&path, engine, vec![ann, bob]).await;
    (folder, path)
}

/// Waits until the store is closed; the engine's work in the background ends with it.
async fn close(path: &Path, engine: Engine, connections: Vec<Connection>) {
    drop((engine, connections));
    let lock = fs::File::open(format!("{}.lock", path.display())).unwrap();
    let begun = Instant::now();
    while lock.try_lock().is_err() {
        assert!(begun.elapsed() < DEADLINE, "still open");
        tokio::task::yield_now().await;
    }
}

/// Damages the pages of a table or an index that these of its leaves are.
fn damage(path: &Path, name: &str, leaves: impl Fn(usize, usize) -> bool) -> usize {
    let file = rusqlite::Connection::open(path).unwrap();
    let select = "SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = 'leaf' ORDER BY path";
    let mut select = file.prepare(select).unwrap();
    let pages = select
        .query_map([name], |row| row.get::<_, u32>(0))
        .unwrap();
    let pages: Vec<_> = pages
        .map(|page| usize::try_from(page.unwrap()).unwrap())
        .collect();
    drop(select);
    file.close().unwrap();
    let mut bytes = fs::read(path).unwrap();
    let mut damaged = 0;
    for (number, page) in pages.iter().enumerate() {
        if leaves(number, pages.len()) {
            let begin = (page - 1) * PAGE;
            for byte in &mut bytes[begin..begin + PAGE] {
                *byte ^= 0xff;
            }
            damaged += 1;
        }
    }
    fs::write(path, bytes).unwrap();
    damaged
}

fn table<'a>(saved: &'a Salvaged, name: &str) -> &'a SalvagedTable {
    saved
        .tables
        .iter()
        .find(|table| table.name == name)
        .unwrap()
}

async fn log_in(engine: &Engine, login: &str) -> Connection {
    let connection = engine.connect();
    let auth = Auth::new(login, "secret").ack();
    connection.call(auth).await.unwrap();
    connection
}

/// What waits for bob, by number.
async fn inbox(bob: &mut Connection, count: u64) -> BTreeMap<u64, String> {
    let mut inbox = BTreeMap::new();
    for _ in 0..count {
        let event = timeout(DEADLINE, bob.next_message())
            .await
            .unwrap()
            .unwrap();
        let body = event.message.body.as_str().to_owned();
        assert!(inbox.insert(event.seq.unwrap(), body).is_none());
    }
    inbox
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_around_damaged_pages_are_saved() {
    let (folder, path) = begin().await;
    let damaged = damage(&path, "messages", |leaf, of| {
        [of / 3, of / 2, of * 2 / 3].contains(&leaf)
    });
    assert_eq!(damaged, 3);
    check(&path).unwrap_err();
    let before = fs::read(&path).unwrap();
    let to = folder.path().join("saved.db");
    let saved = salvage(&path, &to).unwrap();
    assert!(fs::read(&path).unwrap() == before, "it was changed");
    check(&to).unwrap();
    let messages = table(&saved, "messages");
    // Five were delivered.
    let all = u64::try_from(USERS + MESSAGES).unwrap() - 5;
    let lost = all - messages.saved;
    assert_eq!(messages.lost, Some(lost), "{saved}");
    // Fifteen pages are between the damaged ones.
    assert!(lost > 3 && lost < 100, "{saved}");
    for name in ["users", "contacts", "sessions", "mids"] {
        assert_eq!(table(&saved, name).lost, Some(0), "{saved}");
    }

    let engine = engine(&to);
    let mut bob = log_in(&engine, "bob").await;
    let bobs = u64::try_from(MESSAGES).unwrap() - 5 - lost;
    let inbox = inbox(&mut bob, bobs).await;
    for (seq, body) in &inbox {
        assert!(
            body.starts_with(&format!("message {seq} ")),
            "{seq}: {body}"
        );
    }
    // Those behind the last damage are among them, and numbers go on behind all there were.
    let last = u64::try_from(MESSAGES).unwrap();
    assert!(inbox.contains_key(&last) && inbox.contains_key(&6));
    send(&bob, "bob", "a note".to_owned(), 1).await;
    let note = timeout(DEADLINE, bob.next_message())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(note.seq, Some(last + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_lost_users_nothing_is_kept_for_the_next_of_that_name() {
    let (folder, path) = begin().await;
    damage(&path, "users", |leaf, of| leaf == of / 2);
    let to = folder.path().join("saved.db");
    let saved = salvage(&path, &to).unwrap();
    let lost = table(&saved, "users").lost.unwrap();
    assert!(lost > 0 && lost < 100, "{saved}");
    for name in ["contacts", "messages", "mids"] {
        assert_eq!(table(&saved, name).lost, Some(lost), "{saved}");
    }
    check(&to).unwrap();
    let engine = engine(&to);
    let ann = log_in(&engine, "ann").await;
    let contacts = ann.call(ContactList::new()).await.unwrap();
    assert_eq!(
        u64::try_from(contacts.len()).unwrap() + lost,
        u64::try_from(USERS).unwrap()
    );
}

/// Tables whose rows have no numbers are read from both ends, and by user.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_mids_around_damaged_pages_are_saved() {
    let (folder, path) = begin().await;
    let damaged = damage(&path, "mids", |leaf, of| [of - 6, of - 2].contains(&leaf));
    assert_eq!(damaged, 2);
    let to = folder.path().join("saved.db");
    let saved = salvage(&path, &to).unwrap();
    let mids = table(&saved, "mids");
    let lost = u64::try_from(USERS + MESSAGES).unwrap() - mids.saved;
    assert_eq!(mids.lost, Some(lost), "{saved}");
    // Three pages are between the two.
    assert!(lost > 2 && lost < 150, "{saved}");
    assert_eq!(table(&saved, "messages").lost, Some(0), "{saved}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_counters_are_lost_goes_on_behind_its_messages() {
    let (folder, path) = begin().await;
    assert!(damage(&path, "inboxes", |_, _| true) > 0);
    let to = folder.path().join("saved.db");
    salvage(&path, &to).unwrap();
    let engine = engine(&to);
    let mut bob = log_in(&engine, "bob").await;
    let all = u64::try_from(MESSAGES).unwrap();
    let waiting = inbox(&mut bob, all - 5).await;
    assert_eq!(waiting.keys().min(), Some(&6));
    send(&bob, "bob", "a note".to_owned(), 1).await;
    let note = timeout(DEADLINE, bob.next_message())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(note.seq, Some(all + 1));
}

/// Nor is any sequence number of the lost store: what is saved of a copy counts as a copy.
#[tokio::test(flavor = "multi_thread")]
async fn no_users_number_is_given_again_also_where_a_copy_is_saved() {
    let (folder, path) = begin().await;
    let number = async |store: &SqliteStorage, user: &str| {
        store.user_number(&user.into()).await.unwrap().unwrap()
    };
    let store = SqliteStorage::open(&path).unwrap();
    let bob = number(&store, "bob").await;
    let gone = "gone".into();
    store.upsert_external_user(&gone, "Gone").await.unwrap();
    let last = number(&store, "gone").await;
    store.delete_user(&gone).await.unwrap();
    drop(store);
    let copy = folder.path().join("copy.db");
    back_up(&path, &copy).unwrap();
    check(&copy).unwrap();
    assert_eq!(damage(&copy, "messages", |leaf, of| leaf == of / 2), 1);
    let to = folder.path().join("saved.db");
    salvage(&copy, &to).unwrap();
    check(&to).unwrap();
    let saved = SqliteStorage::open(&to).unwrap();
    assert!(saved.lost_up_to() > u64::try_from(MESSAGES).unwrap());
    assert_eq!(number(&saved, "bob").await, bob);
    saved
        .upsert_external_user(&"new".into(), "New")
        .await
        .unwrap();
    assert!(number(&saved, "new").await > last);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_whose_numbers_are_damaged_are_given_others() {
    let (folder, path) = begin().await;
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(
        "UPDATE users SET number = -7 WHERE login = 'user001';
         UPDATE users SET number = 9223372036854775807 WHERE login = 'user002';
         UPDATE sqlite_sequence SET seq = 9223372036854775807;",
    )
    .unwrap();
    drop(file);
    let to = folder.path().join("saved.db");
    let saved = salvage(&path, &to).unwrap();
    assert_eq!(table(&saved, "users").lost, Some(0), "{saved}");
    let saved = SqliteStorage::open(&to).unwrap();
    saved
        .upsert_external_user(&"new".into(), "New")
        .await
        .unwrap();
    let users = saved.users(None, usize::MAX).await.unwrap();
    let mut numbers = BTreeSet::new();
    for user in &users {
        numbers.insert(saved.user_number(user).await.unwrap().unwrap().0);
    }
    assert_eq!(numbers.len(), users.len(), "each has its own");
    assert!(*numbers.first().unwrap() > 0 && *numbers.last().unwrap() < 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_can_be_read_nothing_is_made() {
    let (folder, path) = begin().await;
    let to = folder.path().join("saved.db");
    let mut bytes = fs::read(&path).unwrap();
    bytes[..PAGE].fill(0);
    fs::write(&path, bytes).unwrap();
    let error = salvage(&path, &to).unwrap_err();
    assert!(matches!(error, SalvageError::Nothing { .. }), "{error}");
    assert!(!to.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_uses_is_left_and_what_is_there_is_kept() {
    let (folder, path) = begin().await;
    let to = folder.path().join("saved.db");
    let server = engine(&path);
    let error = salvage(&path, &to).unwrap_err();
    assert!(matches!(error, SalvageError::Open(_)), "{error}");
    assert!(!to.exists());
    close(&path, server, Vec::new()).await;
    fs::write(&to, "mine").unwrap();
    let error = salvage(&path, &to).unwrap_err();
    assert!(matches!(error, SalvageError::Exists { .. }), "{error}");
    assert_eq!(fs::read(&to).unwrap(), b"mine");
}

/// Such as by a disk that was full while it was copied.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_store_that_was_cut_off_the_rest_is_saved() {
    let (folder, path) = begin().await;
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - PAGE - PAGE / 2]).unwrap();
    check(&path).unwrap_err();
    let to = folder.path().join("saved.db");
    let saved = salvage(&path, &to).unwrap();
    check(&to).unwrap();
    let users = u64::try_from(USERS).unwrap();
    let messages = table(&saved, "messages").saved;
    assert!(table(&saved, "users").saved > users / 2, "{saved}");
    assert!(messages > users, "{saved}");
    assert_eq!(
        fs::read(&path).unwrap().len(),
        bytes.len() - PAGE - PAGE / 2
    );
    let mut rest = fs::read_dir(folder.path()).unwrap();
    let is_left = rest.any(|file| file.unwrap().path().to_string_lossy().contains("partial"));
    assert!(!is_left, "the copy that was read is gone");
}

/// Whatever the damage is: what is made is sound, and otherwise nothing is.
#[tokio::test(flavor = "multi_thread")]
async fn any_damage_ends_in_a_sound_store_or_in_none() {
    let (folder, path) = begin().await;
    let sound = fs::read(&path).unwrap();
    let mut random: usize = 11;
    let mut below = |end: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % end
    };
    let mut saved = 0;
    for round in 0..60 {
        let mut bytes = sound.clone();
        for _ in 0..=below(40) {
            let at = below(bytes.len());
            let length = (1 + below(64)).min(bytes.len() - at);
            let byte = u8::try_from(below(256)).unwrap();
            bytes[at..at + length].fill(byte);
        }
        if round % 10 == 0 {
            bytes.truncate(bytes.len() / 3 * 2);
        }
        fs::write(&path, bytes).unwrap();
        let to = folder.path().join(format!("{round}.db"));
        if salvage(&path, &to).is_ok() {
            saved += 1;
            check(&to).unwrap();
            drop(engine(&to));
        } else {
            assert!(!to.exists());
        }
    }
    assert!(saved > 20, "only {saved}");
}
