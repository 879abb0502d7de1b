//! Control characters that stand in strings as they are, which JSON does not allow.

use crate::simd::{first, up_to};
use crate::write::escape_unit;
use bytes::{Bytes, BytesMut};

/// The frame with the control characters in its strings escaped; `None` when there are none. It is six times as long
/// at the most.
pub(super) fn escape(frame: &[u8]) -> Option<Bytes> {
    first(frame, |bytes| up_to(bytes, 0x1f))?;
    let (mut in_string, mut is_escaped) = (false, false);
    let mut is_raw = move |byte: u8| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'"' => in_string = !in_string,
            b'\\' => is_escaped = in_string,
            // Behind a backslash it is wrong whatever it is.
            0..0x20 => return in_string,
            _ => {}
        }
        false
    };
    let mut escaped = BytesMut::new();
    let mut copied = 0;
    for (byte, at) in frame.iter().zip(0..) {
        if is_raw(*byte) {
            escaped.extend_from_slice(frame.get(copied..at)?);
            escape_unit(&mut escaped, (*byte).into());
            copied = at + 1;
        }
    }
    escaped.extend_from_slice(frame.get(copied..)?);
    (copied > 0).then(|| escaped.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_string_is_escaped_and_nothing_else() {
        let frame = b"{\n\"a\\\"\x01\": \"x\ny\\\\\r\t\0\",\r\n\"b\":1}";
        let escaped = escape(frame).unwrap();
        let wanted = "{\n\"a\\\"\\u0001\": \"x\\u000ay\\\\\\u000d\\u0009\\u0000\",\r\n\"b\":1}";
        assert_eq!(&*escaped, wanted.as_bytes());
        for clean in ["{}", "{\n\"a\": \"é\"}", "{\"a\\\n\":1}"] {
            assert_eq!(escape(clean.as_bytes()), None);
        }
    }
}
