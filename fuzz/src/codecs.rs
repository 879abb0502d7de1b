//! What a codec decodes, it encodes into what decodes to the same.

use crate::chunks;
use bytes::BytesMut;
use messenger_proto::{Braces, ClientCodec, Credentials, Inbound, Outbound, ServerCodec};
use tokio_util::codec::Decoder;

const LIMIT: usize = 64 * 1024;

/// As a server that a client sends this to.
pub fn server_codec(data: &[u8]) {
    let codec = ServerCodec::new(LIMIT, Braces::Escaped);
    let requests = decode_all(codec.clone(), data);
    // Whoever reads more reads this the same.
    let with_more = decode_all(codec.with_control_characters(), data);
    assert!(with_more.starts_with(&requests));
    for request in with_more {
        // Neither may it be printed without end.
        let _ = format!("{request:?}");
        match request {
            Ok(inbound) => {
                // What cannot be read of them is written as if it were not there.
                let Credentials { cid, sid, .. } = inbound.credentials.clone();
                let inbound = inbound.credentials(Credentials::new(cid, sid));
                let mut bytes = BytesMut::new();
                inbound.encode(&mut bytes, Braces::Escaped);
                assert!(!is_braced_within_strings(&bytes));
                // A space has it read by the parser, whatever it is.
                let spaced = [b"{ ", bytes.get(1..).unwrap_or_default()].concat();
                for frame in [bytes.freeze(), spaced.into()] {
                    let again = Inbound::decode(frame);
                    assert_eq!(again.expect("JSON").expect("a request"), inbound);
                }
            }
            Err(bad) => check_outbound(&Outbound::Response(bad.response())),
        }
    }
}

/// As a client that a server sends this to.
pub fn client_codec(data: &[u8]) {
    for outbound in decode_all(ClientCodec::new(LIMIT), data) {
        let _ = format!("{outbound:?}");
        check_outbound(&outbound);
    }
}

fn check_outbound(outbound: &Outbound) {
    let mut once = BytesMut::new();
    outbound.encode(&mut once, Braces::Escaped);
    assert!(!is_braced_within_strings(&once));
    let again = Outbound::decode(once.clone().freeze()).expect("what a server sends");
    let mut twice = BytesMut::new();
    again.encode(&mut twice, Braces::Escaped);
    assert_eq!(once, twice);
}

/// What came before the stream broke or ended.
fn decode_all<D: Decoder>(mut codec: D, data: &[u8]) -> Vec<D::Item> {
    let mut items = Vec::new();
    let Some((_, chunks)) = chunks(data) else {
        return items;
    };
    let mut buffer = BytesMut::new();
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(_) => return items,
            }
        }
    }
    items
}

/// A deployed client splits by counting braces and does not look at strings.
fn is_braced_within_strings(frame: &[u8]) -> bool {
    let (mut in_string, mut escaped) = (false, false);
    frame.iter().any(|byte| {
        match (in_string, escaped, byte) {
            (true, true, _) => escaped = false,
            (true, false, b'\\') => escaped = true,
            (_, false, b'"') => in_string = !in_string,
            _ => {}
        }
        in_string && matches!(byte, b'{' | b'}')
    })
}
