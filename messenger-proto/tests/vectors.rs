//! The vectors in `vectors/`, which other implementations can use too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use bytes::{Bytes, BytesMut};
use messenger_proto::{
    Attachment, BadRequest, Braces, CodecError, EvMessage, Event, Inbound, Message, Outbound,
    OutboundError, ParseError, Request, Response, ServerCodec, Split, SplitError, Splitter,
};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;
use tokio_util::codec::Decoder;

#[derive(Debug, Deserialize)]
struct FrameVector {
    name: String,
    frame: Option<String>,
    hex: Option<String>,
    canonical: Option<String>,
    unreadable: Option<String>,
    fault: Option<Fault>,
    broken: Option<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Fault {
    action: String,
    field: String,
}

#[derive(Debug, Deserialize)]
struct StreamVector {
    name: String,
    stream: String,
    limit: usize,
    frames: Vec<String>,
    error: Option<String>,
}

fn load<T: for<'de> Deserialize<'de>>(file: &str) -> Vec<T> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vectors")
        .join(file);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

impl FrameVector {
    fn bytes(&self) -> Bytes {
        if let Some(frame) = &self.frame {
            return frame.clone().into();
        }
        let hex = self.hex.as_deref().unwrap();
        let bytes = (0..hex.len()).step_by(2);
        bytes
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }
}

/// What became of a frame, in the terms of the vectors.
#[derive(Debug, PartialEq)]
enum Outcome {
    Canonical(String),
    Fault(Fault),
    Broken(String),
}

impl Outcome {
    fn expected(vector: FrameVector) -> Self {
        match (vector.canonical, vector.fault, vector.broken) {
            (Some(canonical), None, None) => Self::Canonical(canonical),
            (None, Some(fault), None) => Self::Fault(fault),
            (None, None, Some(broken)) => Self::Broken(broken),
            _ => panic!("{}: exactly one outcome", vector.name),
        }
    }
}

fn text(out: &BytesMut) -> String {
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn requests() {
    for vector in load::<FrameVector>("requests.json") {
        let name = vector.name.clone();
        let outcome = match Inbound::decode(vector.bytes()) {
            Ok(Ok(inbound)) => {
                let mut out = BytesMut::new();
                inbound.encode(&mut out, Braces::Escaped);
                let unreadable = inbound.credentials.check().err();
                assert_eq!(unreadable.is_some(), vector.unreadable.is_some(), "{name}");
                if let Some((failure, field)) = unreadable.zip(vector.unreadable.as_ref()) {
                    assert_eq!(failure.code.number(), 3);
                    assert!(failure.text.contains(field), "{name}: {}", failure.text);
                }
                Outcome::Canonical(text(&out))
            }
            Ok(Err(bad)) => {
                let field = match &bad {
                    BadRequest::Data { field, .. } | BadRequest::Repeated { field, .. } => {
                        field.clone()
                    }
                    _ => String::new(),
                };
                let response = bad.response();
                let failure = response.failure().unwrap();
                assert_eq!(failure.code.number(), 3);
                assert!(failure.text.contains(&field), "{name}: {}", failure.text);
                let action = response.action().to_owned();
                Outcome::Fault(Fault { action, field })
            }
            Err(ParseError::Utf8) => Outcome::Broken("utf8".into()),
            Err(_) => Outcome::Broken("json".into()),
        };
        assert_eq!(outcome, Outcome::expected(vector), "{name}");
    }
}

#[test]
fn responses() {
    for vector in load::<FrameVector>("responses.json") {
        let name = vector.name.clone();
        let outcome = match Outbound::decode(vector.bytes()) {
            Ok(outbound) => {
                let mut out = BytesMut::new();
                outbound.encode(&mut out, Braces::Escaped);
                Outcome::Canonical(text(&out))
            }
            Err(OutboundError::Utf8) => Outcome::Broken("utf8".into()),
            Err(OutboundError::Status(_)) => Outcome::Broken("status".into()),
            Err(_) => Outcome::Broken("json".into()),
        };
        assert_eq!(outcome, Outcome::expected(vector), "{name}");
    }
}

#[test]
fn every_action_has_a_request_a_success_and_a_failure() {
    let actions: BTreeSet<_> = Request::NAMES.iter().map(ToString::to_string).collect();
    let requests = load::<FrameVector>("requests.json");
    let requests = requests
        .iter()
        .map(|vector| Inbound::decode(vector.bytes()));
    let asked =
        requests.filter_map(|inbound| Some(inbound.ok()?.ok()?.request.action().to_owned()));
    assert_eq!(asked.collect::<BTreeSet<_>>(), actions);

    let responses = load::<FrameVector>("responses.json");
    let responses = responses
        .iter()
        .map(|vector| Outbound::decode(vector.bytes()));
    let responses: Vec<_> = responses
        .filter_map(|outbound| match outbound {
            Ok(Outbound::Response(Response::Unknown { .. })) => None,
            Ok(Outbound::Response(response)) => Some(response),
            _ => None,
        })
        .collect();
    for failed in [false, true] {
        let answers = responses
            .iter()
            .filter(|answer| answer.failure().is_some() == failed);
        let answered: BTreeSet<_> = answers.map(|answer| answer.action().to_owned()).collect();
        assert_eq!(answered, actions, "failed: {failed}");
    }
}

/// They are moved many times for a message.
#[test]
fn what_is_moved_for_every_message_is_small() {
    assert!(size_of::<Response>() <= 64, "{}", size_of::<Response>());
    assert!(size_of::<Outbound>() <= 64, "{}", size_of::<Outbound>());
}

#[test]
fn streams() {
    for vector in load::<StreamVector>("streams.json") {
        let mut splitter = Splitter::new(vector.limit);
        let mut rest = vector.stream.as_bytes();
        let mut frames = Vec::new();
        let error = loop {
            match splitter.split(rest) {
                Ok(Split::Frame(place)) => {
                    frames.push(String::from_utf8(rest[place.clone()].to_vec()).unwrap());
                    rest = &rest[place.end..];
                }
                Ok(Split::Partial { .. }) => break None,
                Err(error) => {
                    break Some(match error {
                        SplitError::StrayByte => "stray",
                        SplitError::NotJson => "json",
                        SplitError::TooDeep => "deep",
                        SplitError::TooLong { .. } => "long",
                        other => panic!("{other}"),
                    });
                }
            }
        };
        assert_eq!(frames, vector.frames, "{}", vector.name);
        assert_eq!(error, vector.error.as_deref(), "{}", vector.name);
    }
}

/// Depth is counted over objects and lists, the frame's own braces included.
#[test]
fn nesting_of_128_levels_is_a_frame_and_129_break_the_stream() {
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
        BytesMut::from(format!(r#"{{"action":"dance","data":{open}{close}}}"#).as_str())
    };
    let mut codec = ServerCodec::default();
    assert!(matches!(codec.decode(&mut nested(128)), Ok(Some(Err(_)))));
    let mut codec = ServerCodec::default();
    let broken = codec.decode(&mut nested(129));
    assert!(matches!(
        broken,
        Err(CodecError::Split(SplitError::TooDeep))
    ));
}

/// Some keys are remembered, to see whether one comes again, and not all: a frame may be full of them.
#[test]
fn keys_that_nobody_asks_for_are_no_fault_however_many() {
    let others = |count: usize| {
        (0..count)
            .map(|at| format!(r#""x{at}":0,"#))
            .collect::<String>()
    };
    let read = |fields: &str| {
        let frame = format!(r#"{{{fields}"action":"addcontact","data":{{{fields}"uid":"bob"}}}}"#);
        Inbound::decode(frame.into()).unwrap()
    };
    let many = others(100_000);
    let read_of_many = read(&many).unwrap();
    assert_eq!(read_of_many.request.action(), "addcontact");
    // The first are remembered, and those asked for never read twice.
    assert!(read(&format!(r#"{many}"x63":0,"#)).is_err());
    assert!(read(&format!(r#"{many}"x99":0,"#)).is_ok());
    let twice = read(&format!(r#"{many}"action":"logout","#));
    assert!(matches!(twice, Err(BadRequest::Repeated { field, .. }) if field == "action"));
}

#[test]
fn a_key_without_a_name_that_stands_twice_is_named_in_quotes() {
    for frame in [
        r#"{"action":"contactlist","":1,"":2,"data":{}}"#,
        r#"{"action":"contactlist","data":{"":1,"":2}}"#,
    ] {
        let bad = Inbound::decode(frame.into()).unwrap().unwrap_err();
        assert_eq!(bad.to_string(), r#""" is there twice"#);
    }
}

#[test]
fn a_message_is_written_anew_for_other_braces() {
    let message = Message::default().body("{}");
    let event = EvMessage::new(Some(1), message);
    let write = |braces| {
        let mut out = BytesMut::new();
        event.encode(&mut out, braces);
        text(&out)
    };
    assert!(write(Braces::Escaped).contains(r#""body":"\u007b\u007d""#));
    assert!(write(Braces::Plain).contains(r#""body":"{}""#));
}

/// Long text that needs no escape is not copied, and is written in the same way.
#[test]
fn a_long_message_is_written_in_pieces() {
    let long = "A".repeat(10_000);
    for (body, data) in [
        (long.clone(), "short".to_owned()),
        ("short".to_owned(), long.clone()),
        (long.clone(), long.clone()),
        (format!("{long}}}\n"), format!("\"{long}")),
    ] {
        let message = Message::default()
            .body(body)
            .attach(Attachment::new("", data));
        let event = EvMessage::new(Some(7), message);
        let mut whole = BytesMut::new();
        event.encode(&mut whole, Braces::Escaped);
        let mut shared = 0;
        let mut out = BytesMut::new();
        event.encode_pieces(&mut out, Braces::Escaped, |out, piece| {
            shared += piece.len();
            out.extend_from_slice(piece);
        });
        assert_eq!(whole, out);
        assert!(whole.len() - shared < 4096, "little is copied");
        let decoded = Outbound::decode(whole.freeze()).unwrap();
        assert_eq!(decoded, Outbound::Event(Event::Message(event)));
    }
}
