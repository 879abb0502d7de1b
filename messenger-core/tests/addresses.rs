//! Who is found by an address book's entry: tables of what address books hold, beside the plain form.
//!
//! Every folder named in `MORE_CASES` may hold further tables, of the same names.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking

use messenger_core::proto::{Auth, ErrorCode, Failure, Import, ImportEntry, Register, SetUserInfo};
use messenger_core::{Connection, Engine, Policy};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What this test sets and looks for.
#[derive(Clone, Copy)]
enum Field {
    Email,
    Phone,
}

/// A table's rows, `\u` and `\x` escapes read.
fn table(name: &str) -> Vec<Vec<String>> {
    let ours = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/addresses");
    let more = std::env::var_os("MORE_CASES").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&more).collect();
    let texts = [ours].into_iter().chain(folders).filter_map(|folder| {
        let path = folder.join(name);
        path.exists()
            .then(|| std::fs::read_to_string(path).unwrap())
    });
    let lines: Vec<_> = texts
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let rows = lines.iter().filter(|line| !line.starts_with('#'));
    let rows: Vec<_> = rows
        .map(|line| line.split('\t').map(unescaped).collect())
        .collect();
    assert!(!rows.is_empty(), "{name}");
    rows
}

fn unescaped(text: &str) -> String {
    let mut pieces = text.split('\\');
    let mut whole = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let digits = if piece.starts_with('x') { 2 } else { 4 };
        let (code, rest) = piece[1..].split_at(digits);
        let code = u32::from_str_radix(code, 16).unwrap();
        whole.push(char::from_u32(code).unwrap());
        whole.push_str(rest);
    }
    whole
}

/// An engine of a region, with users made as they are needed.
struct Town {
    engine: Engine,
    people: usize,
}

impl Town {
    fn of(region: &str) -> Self {
        let mut policy = Policy::default();
        policy.region = region.parse().unwrap();
        policy.rates = None;
        policy.passwords.memory_kib = 8;
        policy.passwords.passes = 1;
        let engine = Engine::builder().policy(policy).build().unwrap();
        Self { engine, people: 0 }
    }

    /// Somebody new, logged in.
    async fn person(&mut self) -> Connection {
        self.people += 1;
        let login = format!("user{}", self.people);
        let session = self.engine.connect();
        let register = Register::new(login.clone(), "secret", login.clone());
        session.call(register).await.unwrap();
        let auth = Auth::new(login, "secret");
        session.call(auth).await.unwrap();
        session
    }

    /// Whether somebody who sets `own` is found by an entry that holds `held`. `None` when `own` cannot be
    /// set.
    async fn is_found(&mut self, field: Field, own: &str, held: &str) -> Option<bool> {
        let person = self.person().await;
        let set = match field {
            Field::Email => SetUserInfo::new().email(own),
            Field::Phone => SetUserInfo::new().phone(own),
        };
        person.call(set).await.ok()?;
        let found = person.call(import([entry(field, held)])).await.unwrap();
        let clear = SetUserInfo::new().email("").phone("");
        person.call(clear).await.unwrap();
        Some(!found.is_empty())
    }
}

fn import(contacts: impl Into<Vec<ImportEntry>>) -> Import {
    Import::new(contacts)
}

fn entry(field: Field, text: &str) -> ImportEntry {
    let mut entry = ImportEntry::new("1");
    match field {
        Field::Email => entry.email = text.into(),
        Field::Phone => entry.phone = text.into(),
    }
    entry
}

#[tokio::test]
async fn phones_mean_what_libphonenumber_reads() {
    let mut towns = HashMap::new();
    let mut wrong = Vec::new();
    for row in table("phones.tsv") {
        let [region, form, plain, is_same] = &row[..] else {
            panic!("{row:?}");
        };
        let town = towns
            .entry(region.clone())
            .or_insert_with(|| Town::of(region));
        let expected = is_same == "same";
        for (own, held) in [(plain, form), (form, plain)] {
            let found = town.is_found(Field::Phone, own, held).await;
            if found.unwrap_or(expected) != expected {
                wrong.push((region.clone(), own.clone(), held.clone()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn numbers_are_those_that_libphonenumber_reads() {
    let mut towns = HashMap::new();
    let mut wrong = Vec::new();
    for row in table("numbers.tsv") {
        let [region, form, number] = &row[..] else {
            panic!("{row:?}");
        };
        let regions: &[&str] = match region.as_str() {
            "-" => &["RU", "US", "DE"],
            region => &[region],
        };
        for region in regions {
            let town = towns
                .entry((*region).to_owned())
                .or_insert_with(|| Town::of(region));
            if town.is_found(Field::Phone, number, form).await != Some(true) {
                wrong.push((region.to_string(), form.clone(), number.clone()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_number_with_its_plus_is_the_same_everywhere() {
    for region in ["RU", "US", "BR", "IT", "IN", "GB"] {
        let mut town = Town::of(region);
        for row in table("numbers.tsv") {
            let (number, others) = (&row[2], ["+79161234567", "+7121234567", "+353861829353"]);
            assert_eq!(
                town.is_found(Field::Phone, number, number).await,
                Some(true)
            );
            for other in others.into_iter().filter(|other| other != number) {
                let found = town.is_found(Field::Phone, other, number).await;
                assert_eq!(found, Some(false), "{region}: {other} by {number}");
            }
        }
    }
}

#[tokio::test]
async fn a_field_may_hold_more_than_a_number() {
    for row in table("fields.tsv") {
        let [region, held, plain, is_same] = &row[..] else {
            panic!("{row:?}");
        };
        let found = Town::of(region).is_found(Field::Phone, plain, held).await;
        assert_eq!(found, Some(is_same == "same"), "{row:?}");
    }
}

#[tokio::test]
async fn emails_are_compared_as_people_mean_them() {
    let mut town = Town::of("RU");
    for row in table("emails.tsv") {
        let [form, plain, is_same] = &row[..] else {
            panic!("{row:?}");
        };
        let found = town.is_found(Field::Email, plain, form).await;
        assert_eq!(found, Some(is_same == "same"), "{row:?}");
        // Of several addresses the first is one's own.
        if !form.contains("bob@") {
            let found = town.is_found(Field::Email, form, plain).await;
            assert_eq!(found, Some(is_same == "same"), "{row:?}, turned round");
        }
    }
}

#[tokio::test]
async fn one_bad_entry_refuses_nothing() {
    let mut town = Town::of("RU");
    let person = town.person().await;
    let set = SetUserInfo::new()
        .email("ann@example.org")
        .phone("+79161234567");
    person.call(set).await.unwrap();
    let long = "9".repeat(100_000);
    let bad = [
        entry(Field::Phone, &long),
        entry(Field::Phone, "\0\u{202e}+++;;==="),
        entry(Field::Email, &format!("{long}@example.org")),
        entry(Field::Email, "@@@;<<>>mailto:"),
        entry(Field::Email, "ann@example.org").phone(long.as_str()),
        entry(Field::Phone, "8 916 123 45 67").email(long.as_str()),
    ];
    let found = person.call(import(bad)).await.unwrap();
    assert_eq!(found.len(), 2, "by what could be read: {found:?}");
    let over = SetUserInfo::new().phone(long.as_str());
    let refused: Result<_, Failure> = person.call(over).await;
    assert_eq!(
        refused.unwrap_err().code,
        ErrorCode::InvalidData,
        "one's own"
    );
}

#[tokio::test]
async fn a_field_is_read_as_a_few_addresses_at_most() {
    let mut town = Town::of("RU");
    let person = town.person().await;
    for (own, expected) in [("d@x.org", true), ("e@x.org", false)] {
        let set = SetUserInfo::new().email(own);
        person.call(set).await.unwrap();
        let held = entry(Field::Email, "a@x.org, b@x.org, c@x.org, d@x.org, e@x.org");
        let found = person.call(import([held])).await.unwrap();
        assert_eq!(!found.is_empty(), expected, "{own}");
    }
}

/// Unoptimised this takes several times as long; the bound is for what would be noticed.
#[tokio::test]
async fn a_large_foreign_address_book_is_read_quickly() {
    let mut town = Town::of("RU");
    let person = town.person().await;
    let numbers: Vec<_> = table("numbers.tsv")
        .into_iter()
        .map(|row| row[1].clone())
        .collect();
    let entries: Vec<_> = numbers
        .iter()
        .cycle()
        .take(5000)
        .map(|number| entry(Field::Phone, number))
        .collect();
    let began = Instant::now();
    person.call(import(entries)).await.unwrap();
    let took = began.elapsed();
    println!("5,000 entries of {} regions: {took:?}", numbers.len());
    assert!(took < Duration::from_secs(5), "{took:?}");
}
