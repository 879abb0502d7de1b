//! Notices on their way between nodes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking

use messenger_core::clock::Timestamp;
use messenger_core::notifier::{ConnectionId, Notice};
use messenger_core::proto::{Attachment, Message, SharedMessage, UserId};
use messenger_core::storage::{SessionKey, UserNumber};
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    proptest::string::string_regex("(.|\n|\0){0,70}").unwrap()
}

fn message() -> impl Strategy<Value = SharedMessage> {
    (text(), text(), text(), any::<u64>(), text(), text(), text()).prop_map(
        |(from, nick, body, time, mime, data, id)| {
            let message = Message::new(id.as_str(), from.as_str(), "bob", time)
                .nick(nick)
                .body(body.as_str())
                .attach(Attachment::new(mime, data.as_str()));
            message.into()
        },
    )
}

fn notice() -> impl Strategy<Value = Notice> {
    let place = (any::<u64>(), any::<u64>());
    prop_oneof![
        (any::<u64>(), place, proptest::option::of(message())).prop_map(
            |(to, (seq, accepted), message)| {
                Notice::Inbox {
                    to: UserNumber(to),
                    seq,
                    accepted: Timestamp::from_micros(accepted),
                    message,
                }
            }
        ),
        (any::<u64>(), place, message()).prop_map(|(from, (engine, number), message)| {
            Notice::Copy {
                from: UserNumber(from),
                origin: ConnectionId::new(engine, number),
                message,
            }
        }),
        any::<[u8; 32]>().prop_map(|key| Notice::SessionEnded(SessionKey(key))),
        Just(Notice::UserDeleted),
        Just(Notice::Resync),
    ]
}

fn messages_equal(one: Option<&SharedMessage>, other: Option<&SharedMessage>) -> bool {
    one.map(|message| &**message) == other.map(|message| &**message)
}

fn equal(one: &Notice, other: &Notice) -> bool {
    match (one, other) {
        (
            Notice::Inbox {
                to,
                seq,
                accepted,
                message,
            },
            Notice::Inbox {
                to: whose,
                seq: place,
                accepted: at,
                message: carried,
            },
        ) => {
            (to, seq, accepted) == (whose, place, at)
                && messages_equal(message.as_ref(), carried.as_ref())
        }
        (
            Notice::Copy {
                from,
                origin,
                message,
            },
            Notice::Copy {
                from: whose,
                origin: connection,
                message: copy,
            },
        ) => (from, origin) == (whose, connection) && messages_equal(Some(message), Some(copy)),
        (Notice::SessionEnded(one), Notice::SessionEnded(other)) => one == other,
        (Notice::UserDeleted, Notice::UserDeleted) | (Notice::Resync, Notice::Resync) => true,
        _ => false,
    }
}

proptest! {
    #[test]
    fn what_one_node_encodes_another_decodes(user in text(), notice in notice()) {
        let user = UserId::from(user);
        let (told, decoded) = Notice::decode(&notice.encode(&user)).unwrap();
        prop_assert_eq!(told, user);
        prop_assert!(equal(&notice, &decoded), "{:?} became {:?}", notice, decoded);
    }

    #[test]
    fn what_is_torn_is_no_notice(
        notice in notice(),
        cut in any::<prop::sample::Index>(),
        change in 1_u8..,
    ) {
        let whole = notice.encode(&"ann".into());
        let at = cut.index(whole.len());
        prop_assert!(Notice::decode(&whole[..at]).is_none());
        prop_assert!(Notice::decode(&whole[at + 1..]).is_none());
        let mut changed = whole.clone();
        changed[at] ^= change;
        prop_assert!(Notice::decode(&changed).is_none());
        let twice = [&whole[..], &whole[..]].concat();
        prop_assert!(Notice::decode(&twice).is_none());
    }

    #[test]
    fn any_bytes_are_a_look_at_the_most(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        version in 0_u8..4,
        kind in 0_u8..8,
    ) {
        prop_assert!(Notice::decode(&bytes).is_none());
        // As if they were meant: after a user's name, and with the right sum.
        let mut meant = vec![version, 3, 0, 0, 0, 0, 0, 0, 0];
        meant.extend_from_slice(b"ann");
        meant.push(kind);
        meant.extend_from_slice(&bytes);
        let (user, _) = Notice::decode(&summed(meant)).unwrap();
        prop_assert_eq!(user.as_str(), "ann");
    }
}

fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
    use sha2::Digest;
    let sum = sha2::Sha256::digest(&bytes);
    bytes.extend_from_slice(&sum[..8]);
    bytes
}

/// Notices of another version, and kinds that are added to this one.
#[test]
fn what_is_not_known_is_a_look_of_the_one_it_is_for() {
    let bytes = Notice::UserDeleted.encode(&"ann".into());
    let body = bytes.len() - 8;
    for (place, value) in [(0, 1), (0, 3), (0, 255), (body - 1, 77)] {
        let mut other = bytes[..body].to_vec();
        other[place] = value;
        let (user, notice) = Notice::decode(&summed(other)).unwrap();
        assert_eq!(user.as_str(), "ann");
        assert!(matches!(notice, Notice::Resync), "{notice:?}");
    }
    let mut longer = bytes[..body].to_vec();
    longer.push(0);
    let (_, notice) = Notice::decode(&summed(longer)).unwrap();
    assert!(matches!(notice, Notice::Resync), "{notice:?}");
}

/// A length that promises more than there is, to have memory set aside for it.
#[test]
fn a_length_beyond_the_end_is_no_notice() {
    let mut bytes = vec![2];
    bytes.extend_from_slice(&u64::MAX.to_le_bytes());
    bytes.extend_from_slice(b"ann");
    assert!(Notice::decode(&summed(bytes)).is_none());
}

#[test]
fn a_large_message_is_read_from_the_store_and_a_large_copy_carried() {
    let message = SharedMessage::from(Message::default().body("x".repeat(4097)));
    let stored = Notice::Inbox {
        to: UserNumber(1),
        seq: 7,
        accepted: Timestamp::default(),
        message: Some(message.clone()),
    };
    let bytes = stored.encode(&"ann".into());
    assert!(bytes.len() < 100, "{} bytes", bytes.len());
    let (_, decoded) = Notice::decode(&bytes).unwrap();
    let place = matches!(
        decoded,
        Notice::Inbox {
            seq: 7,
            message: None,
            ..
        }
    );
    assert!(place, "{decoded:?}");
    let copy = Notice::Copy {
        from: UserNumber(1),
        origin: ConnectionId::new(1, 2),
        message,
    };
    let (_, decoded) = Notice::decode(&copy.encode(&"ann".into())).unwrap();
    assert!(equal(&copy, &decoded));
}
