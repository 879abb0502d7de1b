//! What holds for any input.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use bytes::{Bytes, BytesMut};
use messenger_proto::{
    Ack, Action, AddContact, Attachment, Auth, AuthAccepted, Braces, ByteString, Card, ClientCodec,
    Contact, ContactList, Credentials, DelContact, ErrorCode, Escapes, EvMessage, Event, Failure,
    Import, ImportEntry, Inbound, Logout, Message, MessageAccepted, Outbound, Profile, Register,
    Request, Response, SendMessage, ServerCodec, SetUserInfo, UserInfo, Welcome,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::Union;
use tokio_util::codec::{Decoder, Encoder};

fn text() -> impl Strategy<Value = ByteString> {
    "[a-z]{0,8}|\\PC{0,40}|[\\x00-\\x7f{}\"\\\\]{0,40}".prop_map(ByteString::from)
}

fn name() -> impl Strategy<Value = String> {
    "[a-z{}\"]{1,8}"
}

fn attachment() -> impl Strategy<Value = Attachment> {
    (text(), text()).prop_map(|(mime, data)| Attachment::new(mime, data))
}

fn entry() -> impl Strategy<Value = ImportEntry> {
    (text(), text(), text(), text()).prop_map(|(myid, name, phone, email)| {
        ImportEntry::new(myid).name(name).phone(phone).email(email)
    })
}

fn request() -> impl Strategy<Value = Request> {
    let optional = || option::of(text());
    Union::new([
        (text(), text(), text())
            .prop_map(|(login, pass, nick)| Register::new(login, pass, nick).into())
            .boxed(),
        (text(), text(), any::<bool>(), any::<bool>())
            .prop_map(|(login, pass, ack, ephemeral)| {
                let mut auth = Auth::new(login, pass);
                (auth.ack, auth.ephemeral) = (ack, ephemeral);
                auth.into()
            })
            .boxed(),
        text().prop_map(|user| UserInfo::new(user).into()).boxed(),
        Just(Logout::new().into()).boxed(),
        Just(ContactList::new().into()).boxed(),
        text().prop_map(|uid| AddContact::new(uid).into()).boxed(),
        text().prop_map(|uid| DelContact::new(uid).into()).boxed(),
        (text(), text(), attachment(), optional())
            .prop_map(|(uid, body, attach, mid)| {
                let mut message = SendMessage::new(uid, body).attach(attach);
                message.mid = mid;
                message.into()
            })
            .boxed(),
        vec(entry(), 0..4)
            .prop_map(|contacts| Import::new(contacts).into())
            .boxed(),
        (optional(), optional(), optional(), optional())
            .prop_map(|(user_status, email, phone, picture)| {
                let mut change = SetUserInfo::new();
                change.user_status = user_status;
                change.email = email;
                change.phone = phone;
                change.picture = picture;
                change.into()
            })
            .boxed(),
        any::<u64>().prop_map(|seq| Ack::new(seq).into()).boxed(),
    ])
}

fn inbound() -> impl Strategy<Value = Inbound> {
    (request(), option::of((name(), name()))).prop_map(|(request, credentials)| {
        let has_none = matches!(request, Request::Register(_) | Request::Auth(_));
        let credentials = match credentials {
            Some((cid, sid)) if !has_none => Credentials::new(cid, sid),
            _ => Credentials::default(),
        };
        Inbound::new(request).credentials(credentials)
    })
}

fn failure() -> impl Strategy<Value = Failure> {
    (1..2000_u32, "\\PC{0,20}")
        .prop_map(|(code, text)| Failure::new(ErrorCode::from_number(code).unwrap(), text))
}

fn response_to<A: Action>(
    accepted: impl Strategy<Value = A::Accepted> + 'static,
) -> BoxedStrategy<Response> {
    let result = (accepted, option::of(failure()));
    let result = result.prop_map(|(accepted, failure)| match failure {
        Some(failure) => A::fail(failure),
        None => A::response(Ok(accepted)),
    });
    result.boxed()
}

fn card() -> impl Strategy<Value = Card> {
    (text(), text(), text(), text(), text()).prop_map(|(uid, nick, email, phone, picture)| {
        Card::new(uid, nick)
            .email(email)
            .phone(phone)
            .picture(picture)
    })
}

fn contacts() -> impl Strategy<Value = Vec<Contact>> {
    vec(
        (text(), card()).prop_map(|(myid, card)| Contact::new(card).myid(myid)),
        0..4,
    )
}

fn profile() -> impl Strategy<Value = Profile> {
    (text(), text(), text(), text(), text()).prop_map(
        |(nick, email, phone, picture, user_status)| {
            Profile::new(nick)
                .email(email)
                .phone(phone)
                .picture(picture)
                .user_status(user_status)
        },
    )
}

fn response() -> impl Strategy<Value = Response> {
    let auth =
        (text(), text(), text()).prop_map(|(sid, uid, nick)| AuthAccepted::new(sid, uid, nick));
    let message = (text(), any::<u64>()).prop_map(|(id, time)| MessageAccepted::new(id, time));
    Union::new([
        response_to::<Register>(Just(())),
        response_to::<Auth>(auth),
        response_to::<Logout>(Just(())),
        response_to::<UserInfo>(profile()),
        response_to::<ContactList>(contacts()),
        response_to::<AddContact>(card()),
        response_to::<DelContact>(text().prop_map(Into::into)),
        response_to::<SendMessage>(message),
        response_to::<Import>(contacts()),
        response_to::<SetUserInfo>(Just(())),
        response_to::<Ack>(Just(())),
        failure().prop_map(Response::unknown).boxed(),
    ])
}

fn event() -> impl Strategy<Value = Event> {
    let head = (text(), text(), text(), any::<u64>());
    let rest = (attachment(), text(), text(), option::of(any::<u64>()));
    // Some long enough to be encoded once for all.
    let padding = prop_oneof![Just(0), Just(5000)];
    let message = (head, rest, padding).prop_map(
        |((from, nick, body, time), (attach, to, id, seq), padding)| {
            let body = format!("{body}{}", "x".repeat(padding));
            let message = Message::new(id, from, to, time)
                .nick(nick)
                .body(body)
                .attach(attach);
            Event::Message(EvMessage::new(seq, message))
        },
    );
    let welcome = (text(), any::<u64>())
        .prop_map(|(message, time)| Event::Welcome(Welcome::new(message, time)));
    prop_oneof![message, welcome]
}

fn outbound() -> impl Strategy<Value = Outbound> {
    prop_oneof![
        response().prop_map(Outbound::Response),
        event().prop_map(Outbound::Event),
    ]
}

/// Decodes what arrives in chunks of these sizes, again and again.
fn decode_in_chunks<D: Decoder>(
    mut codec: D,
    bytes: &[u8],
    sizes: &[usize],
) -> Result<Vec<D::Item>, D::Error> {
    let mut received = BytesMut::new();
    let mut items = Vec::new();
    let mut rest = bytes;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let size = rest.len().min(*sizes.next().unwrap_or(&1));
        let (chunk, behind) = rest.split_at(size);
        received.extend_from_slice(chunk);
        rest = behind;
        while let Some(item) = codec.decode(&mut received)? {
            items.push(item);
        }
    }
    assert!(received.is_empty(), "whole frames were left over");
    Ok(items)
}

proptest! {
    #[test]
    fn any_requests_survive_any_chunks(
        requests in vec(inbound(), 0..6),
        sizes in vec(1..60_usize, 1..9),
        gaps in vec("[ \t\r\n\0\u{feff}]{0,3}", 6),
    ) {
        let mut bytes = BytesMut::new();
        for (request, gap) in requests.iter().zip(&gaps) {
            bytes.extend_from_slice(gap.as_bytes());
            ClientCodec::default().encode(request.clone(), &mut bytes).unwrap();
        }
        let decoded = decode_in_chunks(ServerCodec::default(), &bytes, &sizes).unwrap();
        let decoded: Vec<_> = decoded.into_iter().map(Result::unwrap).collect();
        prop_assert_eq!(decoded, requests);
    }

    #[test]
    fn anything_a_server_sends_survives_any_chunks(
        frames in vec(outbound(), 0..6),
        sizes in vec(1..60_usize, 1..9),
        plain in any::<bool>(),
        ascii_only in any::<bool>(),
    ) {
        let braces = if plain { Braces::Plain } else { Braces::Escaped };
        let mut escapes = Escapes::from(braces);
        escapes.ascii_only = ascii_only;
        let mut codec = ServerCodec::new(1 << 20, escapes);
        let mut bytes = BytesMut::new();
        for frame in &frames {
            codec.encode(frame.clone(), &mut bytes).unwrap();
        }
        prop_assert!(bytes.is_ascii() || !ascii_only);
        let decoded = decode_in_chunks(ClientCodec::default(), &bytes, &sizes).unwrap();
        prop_assert_eq!(decoded, frames);
    }

    /// A frame without a space may be read in a quicker way.
    #[test]
    fn a_space_changes_nothing(
        fields in vec(
            prop_oneof![
                20 => "\"(uid|body|mid|cid|sid)\":\"[a-zé]{0,9}\"",
                4 => Just(r#""attach":{"mime":"a","data":"b"}"#.to_owned()),
                1 => "\"(attach|x)\":(\"\"|\\[\\]|1)",
                1 => "\"body\":[{},:\\x01\"\\\\n0]{0,3}",
            ],
            0..4,
        ),
        is_torn in any::<bool>(),
        limit in 40..200_usize,
    ) {
        let fields = fields.join(",");
        let as_usual = format!(r#"{{"action":"message","data":{{"uid":"bob",{fields}}}}}"#);
        let mut as_usual = as_usual.into_bytes();
        // Half of an é is not UTF-8.
        as_usual.retain(|byte| !is_torn || *byte != 0xa9);
        let spaced = [b"{ ", as_usual.get(1..).unwrap_or_default()].concat();
        let read = |frame: &[u8]| Inbound::decode(Bytes::copy_from_slice(frame)).ok();
        prop_assert_eq!(read(&as_usual), read(&spaced));
        // And with something behind it, at the limit and around it.
        let take = |frame: &[u8], limit| {
            let mut source = BytesMut::from(&*[frame, b"{}"].concat());
            let request = ServerCodec::new(limit, Braces::Plain).decode(&mut source).ok()?;
            Some(request.map(|request| (request, source)))
        };
        prop_assert_eq!(take(&as_usual, limit), take(&spaced, limit + 1));
    }

    /// A client that writes control characters as they are is read as if it escaped them.
    #[test]
    fn control_characters_are_read_as_they_are(
        requests in vec(inbound(), 0..6),
        sizes in vec(1..60_usize, 1..9),
    ) {
        let mut bytes = BytesMut::new();
        for request in &requests {
            ClientCodec::default().encode(request.clone(), &mut bytes).unwrap();
        }
        let mut raw = String::from_utf8(bytes.to_vec()).unwrap();
        // What a writer escapes it hides behind a backslash of its own.
        raw = raw.replace("\\\\", "\\u005c");
        for (escape, character) in [("\\n", "\n"), ("\\r", "\r"), ("\\t", "\t"), ("\\u0001", "\x01"), ("\\u0000", "\0")] {
            raw = raw.replace(escape, character);
        }
        let codec = ServerCodec::default().with_control_characters();
        let decoded = decode_in_chunks(codec, raw.as_bytes(), &sizes).unwrap();
        let decoded: Vec<_> = decoded.into_iter().map(Result::unwrap).collect();
        prop_assert_eq!(decoded, requests);
    }

    /// A client that counts braces without looking at strings finds the same frames.
    #[test]
    fn counting_braces_blindly_finds_the_frames(frames in vec(outbound(), 1..6)) {
        let mut codec = ServerCodec::default();
        let mut bytes = BytesMut::new();
        let mut ends = Vec::new();
        for frame in frames {
            codec.encode(frame, &mut bytes).unwrap();
            ends.push(bytes.len());
        }
        let mut depth = 0;
        let mut found = Vec::new();
        for (index, byte) in bytes.iter().enumerate() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                found.push(index + 1);
            }
        }
        prop_assert_eq!(found, ends);
        prop_assert_eq!(bytes.last(), Some(&b'}'));
    }

    /// Whatever a peer sends: no panic, and never more kept than a frame may be long.
    #[test]
    fn no_bytes_panic_or_pile_up(
        chunks in vec(
            prop_oneof![
                vec(any::<u8>(), 0..50),
                "[{}\\[\\]\",:a-z0-9 \\\\]{0,50}".prop_map(String::into_bytes),
                Just(br#"{"action":"auth","data":{"login":"#.to_vec()),
                Just("\u{feff}".into()),
            ],
            0..20,
        ),
    ) {
        const LIMIT: usize = 100;
        let mut codec = ServerCodec::new(LIMIT, Braces::Escaped);
        let mut client = ClientCodec::new(LIMIT);
        let mut received = BytesMut::new();
        let mut received_by_client = BytesMut::new();
        'stream: for chunk in &chunks {
            received.extend_from_slice(chunk);
            loop {
                match codec.decode(&mut received) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'stream,
                }
            }
            prop_assert!(received.len() <= LIMIT);
        }
        'stream: for chunk in &chunks {
            received_by_client.extend_from_slice(chunk);
            loop {
                match client.decode(&mut received_by_client) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'stream,
                }
            }
            prop_assert!(received_by_client.len() <= LIMIT);
        }
    }
}
