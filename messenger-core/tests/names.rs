//! Which logins and nicks there may be, and how a login finds its user.

#![allow(clippy::panic, clippy::unwrap_used)] // a test fails by panicking

use messenger_core::authenticator::Identity;
use messenger_core::proto::{
    Ack, AddContact, Auth, ContactList, Credentials, DelContact, Failure, Inbound, Register,
    Request, Response, SendMessage, SessionId, UserInfo,
};
use messenger_core::{Connection, Engine, Policy, SessionKind};

/// Logins that there may be, and how they are kept.
const LOGINS: [(&str, &str); 26] = [
    ("ann", "ann"),
    ("Ann", "Ann"), // case is kept
    ("ann@example.org", "ann@example.org"),
    ("+7-916-123-45-67", "+7-916-123-45-67"),
    ("<[{|}]>~`\"\\", "<[{|}]>~`\"\\"),
    ("fußball", "fußball"),
    ("π", "π"),
    ("Σίσυφος", "Σίσυφος"),
    ("Анна", "Анна"),
    ("安娜", "安娜"),
    ("جمال", "جمال"),
    ("אנה7", "אנה7"),
    ("jose\u{301}", "jos\u{e9}"),             // accents are composed
    ("a\u{323}\u{307}", "\u{1ea1}\u{307}"),   // in their order
    ("\u{1100}\u{1161}\u{11a8}", "\u{ac01}"), // and so are Hangul syllables
    ("\u{212b}ngstrom", "\u{c5}ngstrom"),
    ("ann lee", "ann lee"),
    ("ann\u{3000}lee", "ann lee"),
    ("אנה לי", "אנה לי"),
    ("Ａｎｎ７", "Ann7"), // full width
    ("ｱﾝﾅ", "アンナ"),    // half width
    ("col·lega", "col·lega"),
    ("ジョン・スミス", "ジョン・スミス"),
    ("क्\u{200d}ष", "क्\u{200d}ष"), // seen: it changes the letter before it
    ("نامه\u{200c}ای", "نامه\u{200c}ای"),
    ("\u{10d0}\u{1c90}", "\u{10d0}\u{1c90}"), // a letter of Unicode 11
];

/// Logins that there may not be, and what the refusal says.
const NO_LOGINS: [(&str, &str); 42] = [
    ("a\u{7}", "control"),
    ("a\nb", "control"),
    ("a\u{85}b", "control"),
    (" ann", "begin or end with a space"),
    ("ann\u{a0}", "begin or end with a space"),
    (
        "ann\u{a0}lee",
        "must not contain spaces other than U+0020, as U+00A0",
    ),
    (
        "ann\u{2003}lee",
        "must not contain spaces other than U+0020, as U+2003",
    ),
    ("אנה ann", "must not mix directions"),
    ("a\u{200b}nn", "invisible characters, as U+200B"),
    ("a\u{200d}nn", "invisible characters, as U+200D"),
    ("a\u{200c}nn", "invisible characters, as U+200C"),
    ("a\u{2060}nn", "invisible characters, as U+2060"),
    ("\u{feff}ann", "invisible characters, as U+FEFF"),
    ("an\u{ad}n", "invisible characters, as U+00AD"),
    ("ann\u{fe0f}", "invisible characters, as U+FE0F"),
    ("ann\u{3164}", "invisible characters, as U+3164"),
    ("ann\u{ffa0}", "invisible characters, as U+1160"),
    ("ann\u{e0041}", "invisible characters, as U+E0041"),
    ("ann\u{16fe4}", "invisible characters, as U+16FE4"), // a filler
    ("a\u{2d7f}nn", "invisible characters, as U+2D7F"),   // joiners
    ("a\u{1107f}nn", "invisible characters, as U+1107F"),
    ("ann\u{2800}", "invisible characters, as U+2800"),
    ("a\u{202e}nn", "direction of writing, as U+202E"),
    ("a\u{200f}nn", "direction of writing, as U+200F"),
    ("a\u{2066}nn", "direction of writing, as U+2066"),
    ("a\u{61c}nn", "direction of writing, as U+061C"),
    ("אנהann", "must not mix directions"),
    ("annאנה", "must not mix directions"),
    ("7אנה", "must not mix directions"),
    ("אנה-", "must not mix directions"),
    ("א\u{661}7", "must not mix directions"),
    ("henry\u{2163}", "must not contain U+2163"),
    ("♚", "must not contain U+265A"),
    ("ann🙂", "must not contain U+1F642"),
    ("ﬁona", "must not contain U+FB01"),
    ("ann²", "must not contain U+00B2"),
    ("a·b", "U+00B7 where it stands"),
    ("ann・lee", "U+30FB where it stands"),
    ("\u{661}\u{6f1}", "U+0661 where it stands"),
    ("ان\u{640}ا", "U+0640"),
    ("ann\u{e000}", "U+E000"),
    ("ann\u{378}", "U+0378"),
];

/// Nicks that there may be, and how they are kept.
const NICKS: [(&str, &str); 14] = [
    ("Ann", "Ann"),
    ("Ann Lee", "Ann Lee"),
    ("Ann  Lee", "Ann Lee"),
    ("Ann\u{a0}\u{2003}Lee", "Ann Lee"),
    ("Анна Ли", "Анна Ли"),
    ("Jose\u{301}", "Jos\u{e9}"),
    ("Henry \u{2163}", "Henry IV"),
    ("ﬁona²", "fiona2"),
    ("Ａｎｎ", "Ann"),
    ("♚ Ann 🙂🤗", "♚ Ann 🙂🤗"),
    ("\"Ann\", <the> {only}!", "\"Ann\", <the> {only}!"),
    ("a\u{a8}", "a \u{308}"),
    ("Ann אנה", "Ann אנה"),
    ("ジョン・スミス", "ジョン・スミス"),
];

/// Nicks that there may not be, and what the refusal says.
const NO_NICKS: [(&str, &str); 18] = [
    ("Ann\u{7}", "control"),
    ("Ann ", "begin or end with a space"),
    ("\u{3000}Ann", "begin or end with a space"),
    ("A\u{200b}nn", "invisible characters, as U+200B"),
    ("\u{16fe4}", "invisible characters, as U+16FE4"),
    ("A\u{2d7f}nn", "invisible characters, as U+2D7F"),
    ("A\u{1107f}nn", "invisible characters, as U+1107F"),
    ("\u{2800}", "invisible characters, as U+2800"), // a braille pattern without dots
    ("Ann\u{2800}Lee", "invisible characters, as U+2800"),
    ("\u{1d159}", "invisible characters, as U+1D159"), // a note without a head
    ("Ann\u{fffc}", "invisible characters, as U+FFFC"), // the place of an object
    ("Ann\u{2764}\u{fe0f}", "invisible characters, as U+FE0F"),
    ("A\u{202e}nn", "direction of writing, as U+202E"),
    ("A\u{200e}nn", "direction of writing, as U+200E"),
    ("Ann·Lee", "U+00B7 where it stands"),
    ("Ann\u{e000}", "U+E000"),
    ("Ann\u{fdd0}", "U+FDD0"),
    ("Ann\u{378}", "U+0378"),
];

/// Logins of which the second is taken when the first is.
const SAME: [(&str, &str); 5] = [
    ("jos\u{e9}", "jose\u{301}"),
    ("jose\u{301}", "jos\u{e9}"),
    ("Ann", "Ａｎｎ"),
    ("アンナ", "ｱﾝﾅ"),
    ("\u{c5}ke", "\u{212b}ke"),
];

fn engine() -> Engine {
    let mut policy = Policy::default();
    policy.passwords.memory_kib = 8;
    policy.passwords.passes = 1;
    policy.rates = None;
    Engine::builder().policy(policy).build().unwrap()
}

async fn register(engine: &Engine, login: &str, nick: &str) -> Result<(), Failure> {
    let register = Register::new(login.to_owned(), "secret", nick.to_owned());
    engine.connect().call(register).await
}

/// Logs in, and gives the connection, its secret and the login that the server knows.
async fn log_in(engine: &Engine, login: &str) -> Result<(Connection, SessionId, String), Failure> {
    let connection = engine.connect();
    let auth = Auth::new(login.to_owned(), "secret");
    let accepted = connection.call(auth).await?;
    Ok((connection, accepted.sid, accepted.uid.to_string()))
}

fn code<T>(result: Result<T, Failure>) -> u32 {
    result.err().map_or(0, |failure| failure.code.number())
}

#[tokio::test]
async fn a_new_login_is_kept_in_its_form_and_found_by_what_was_written() {
    for (login, kept) in LOGINS {
        let engine = engine();
        register(&engine, login, "Ann").await.unwrap();
        for written in [login, kept] {
            let (.., uid) = log_in(&engine, written).await.unwrap();
            assert_eq!(uid, kept, "{written}");
        }
        assert_eq!(engine.users(None, 9).await.unwrap(), [kept.into()]);
    }
}

#[tokio::test]
async fn what_is_no_login_is_refused_with_its_reason() {
    let engine = engine();
    for (login, reason) in NO_LOGINS {
        let refused = register(&engine, login, "Ann").await.unwrap_err();
        assert_eq!(refused.code.number(), 3, "{login:?}");
        let text = &refused.text;
        assert!(
            text.starts_with("login ") && text.contains(reason),
            "{login:?}: {text}"
        );
    }
}

#[tokio::test]
async fn a_new_nick_is_kept_in_its_form() {
    for (nick, kept) in NICKS {
        let engine = engine();
        register(&engine, "ann", nick).await.unwrap();
        let (ann, ..) = log_in(&engine, "ann").await.unwrap();
        let profile = ann.call(UserInfo::new("ann")).await.unwrap();
        assert_eq!(profile.nick, kept, "{nick}");
        for again in [nick, kept] {
            assert_eq!(code(register(&engine, "bob", again).await), 1, "{again}");
        }
    }
}

#[tokio::test]
async fn what_is_no_nick_is_refused_with_its_reason() {
    let engine = engine();
    for (nick, reason) in NO_NICKS {
        let refused = register(&engine, "ann", nick).await.unwrap_err();
        assert_eq!(refused.code.number(), 3, "{nick:?}");
        let text = &refused.text;
        assert!(
            text.starts_with("nick ") && text.contains(reason),
            "{nick:?}: {text}"
        );
    }
}

#[tokio::test]
async fn a_login_is_taken_however_it_is_written() {
    for (login, other) in SAME {
        let engine = engine();
        register(&engine, login, "Ann").await.unwrap();
        let taken = register(&engine, other, "Other").await.unwrap_err();
        assert_eq!(taken.code.number(), 1, "{other}");
        assert!(taken.text.contains("login"), "{}", taken.text);
    }
}

/// The characters of which one is composed are counted.
#[tokio::test]
async fn a_login_is_no_longer_than_the_limit_when_it_is_kept() {
    let engine = engine();
    // One that normalisation takes apart for good.
    let nukta = "\u{958}".repeat(33);
    let refused = register(&engine, &nukta, "Ann").await.unwrap_err();
    assert!(
        refused
            .text
            .starts_with("login is longer than the limit of 64")
    );
    register(&engine, &"\u{958}".repeat(32), "Ann")
        .await
        .unwrap();
}

#[tokio::test]
async fn every_action_finds_a_user_by_what_was_written() {
    const COMPOSED: &str = "jos\u{e9}";
    const WRITTEN: &str = "jose\u{301}";
    let engine = engine();
    register(&engine, COMPOSED, "Jos\u{e9}").await.unwrap();
    register(&engine, "ann", "Ann").await.unwrap();
    let (ann, ..) = log_in(&engine, "ann").await.unwrap();
    let (mut jose, sid, _) = log_in(&engine, WRITTEN).await.unwrap();

    let profile = ann.call(UserInfo::new(WRITTEN)).await.unwrap();
    assert_eq!(profile.nick, "Jos\u{e9}");
    let card = ann.call(AddContact::new(WRITTEN)).await.unwrap();
    assert_eq!(card.uid.as_str(), COMPOSED);
    assert_eq!(code(ann.call(AddContact::new(COMPOSED)).await), 1);
    assert_eq!(code(jose.call(AddContact::new(WRITTEN)).await), 1);

    ann.call(SendMessage::new(WRITTEN, "hello")).await.unwrap();
    let event = jose.next_message().await.unwrap();
    assert_eq!(event.message.to.as_str(), COMPOSED);
    assert_eq!(event.message.body.as_str(), "hello");
    // To oneself, which arrives once.
    jose.call(SendMessage::new(WRITTEN, "note")).await.unwrap();
    assert_eq!(jose.next_message().await.unwrap().seq, Some(2));
    let nobody = ann.call(SendMessage::new("rene\u{301}", "hello")).await;
    assert_eq!(code(nobody), 8);

    let deleted = ann.call(DelContact::new(WRITTEN)).await.unwrap();
    assert_eq!(deleted.as_str(), COMPOSED);
    assert!(ann.call(ContactList::new()).await.unwrap().is_empty());

    let inbound =
        Inbound::new(Request::Ack(Ack::new(1))).credentials(Credentials::new(WRITTEN, sid));
    let resumed = engine.connect().handle(inbound).await.response;
    assert!(matches!(resumed, Response::Ack(Ok(()))), "{resumed:?}");
}

/// Nor is a text as long as a frame looked at.
#[tokio::test]
async fn what_is_longer_than_any_login_is_looked_for_as_it_is() {
    let engine = engine();
    let (syllable, letters) = ("\u{ac01}", "\u{1100}\u{1161}\u{11a8}");
    for count in [28, 29] {
        let nick = format!("{count}");
        let login = syllable.repeat(count);
        register(&engine, &login, &nick).await.unwrap();
    }
    register(&engine, "ann", "Ann").await.unwrap();
    let (ann, ..) = log_in(&engine, "ann").await.unwrap();
    // 252 bytes, and 261: the limit is 64 characters, or 256 bytes.
    for (count, expected) in [(28, 0), (29, 8)] {
        let written = letters.repeat(count);
        let asked = ann.call(UserInfo::new(written.as_str())).await;
        assert_eq!(code(asked), expected);
        let sent = ann.call(SendMessage::new(written.as_str(), "hello")).await;
        assert_eq!(code(sent), expected);
    }
}

/// Ids that an embedder gives are as they are, and found as they are, whatever else there is.
#[tokio::test]
async fn an_embedders_ids_are_its_own() {
    let engine = engine();
    register(&engine, "ann", "Ann").await.unwrap();
    let (ann, ..) = log_in(&engine, "ann").await.unwrap();
    for user in ["jose\u{301}", "an id\u{200b} ♚", "ａｎｎ"] {
        let connected = engine.connect_as(user.into(), Identity::new(user), SessionKind::Lasting);
        let mut connection = connected.await.unwrap();
        ann.call(SendMessage::new(user, "hello")).await.unwrap();
        let event = connection.next_message().await.unwrap();
        assert_eq!(event.message.to.as_str(), user);
        assert_eq!(ann.call(UserInfo::new(user)).await.unwrap().nick, user);
        let card = ann.call(AddContact::new(user)).await.unwrap();
        assert_eq!(card.uid.as_str(), user);
    }
    // It is taken in its composed form too.
    assert_eq!(code(register(&engine, "jos\u{e9}", "Jos\u{e9}").await), 1);
}

/// Failures with any spelling of a login count together.
#[tokio::test]
async fn a_login_has_one_budget_of_failures_however_it_is_written() {
    let mut policy = Policy::default();
    policy.passwords.memory_kib = 8;
    policy.passwords.passes = 1;
    let engine = Engine::builder().policy(policy).build().unwrap();
    // Five characters, each composed or not.
    let spelling = |bits: u32| {
        let letters = (0..5).map(|bit| {
            if bits >> bit & 1 == 1 {
                "e\u{301}"
            } else {
                "\u{e9}"
            }
        });
        letters.collect::<String>()
    };
    let mut refused = 0;
    for bits in 0..32 {
        let auth = Auth::new(spelling(bits), "wrong");
        match code(engine.connect().call(auth).await) {
            7 => {}
            20 => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert!(refused > 20, "{refused}");
}

#[tokio::test]
async fn lookalikes_are_refused_when_the_policy_says_so() {
    for refuse_lookalikes in [false, true] {
        let mut policy = Policy::default();
        policy.rates = None;
        policy.passwords.memory_kib = 8;
        policy.passwords.passes = 1;
        policy.refuse_lookalikes = refuse_lookalikes;
        let engine = Engine::builder().policy(policy).build().unwrap();
        register(&engine, "mary", "Mary").await.unwrap();
        register(&engine, "anna", "Anna").await.unwrap();
        let known = engine.connect_as("eve".into(), Identity::new("Eve"), SessionKind::Lasting);
        known.await.unwrap();
        // In Cyrillic letters; with other Latin ones; like an embedder's user.
        for (number, lookalike) in ["аnna", "rnary", "еve"].into_iter().enumerate() {
            let registered = register(&engine, lookalike, &format!("Nick {number}")).await;
            let expected = u32::from(refuse_lookalikes);
            if let Err(failure) = &registered {
                assert!(failure.text.contains("login"), "{}", failure.text);
            }
            assert_eq!(code(registered), expected, "{lookalike}");
        }
        register(&engine, "annа-maria", "Another").await.unwrap();
    }
}
