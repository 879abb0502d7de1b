//! Every frame shown in PROTOCOL.md is one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use bytes::{Bytes, BytesMut};
use messenger_proto::{Braces, Inbound, Outbound, Request};
use std::collections::BTreeSet;

#[test]
fn every_frame_shown_is_one() {
    let text = include_str!("../../PROTOCOL.md");
    let mut asked = BTreeSet::new();
    let mut answered = BTreeSet::new();
    for line in text.lines() {
        if let Some(frame) = line.strip_prefix("C: ") {
            let inbound = Inbound::decode(Bytes::from(frame)).unwrap();
            asked.insert(inbound.expect(frame).request.action());
        }
        if let Some(frame) = line.strip_prefix("S: ") {
            let outbound = Outbound::decode(Bytes::from(frame)).expect(frame);
            let mut encoded = BytesMut::new();
            outbound.encode(&mut encoded, Braces::Escaped);
            assert_eq!(encoded, frame);
            if let Outbound::Response(response) = outbound {
                answered.insert(response.action().to_owned());
            }
        }
    }
    let actions: BTreeSet<_> = Request::NAMES.iter().copied().collect();
    assert_eq!(asked, actions);
    let actions = actions.into_iter().map(str::to_owned);
    assert_eq!(answered, actions.collect());
}
