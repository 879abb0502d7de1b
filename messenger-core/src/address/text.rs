//! What stands around an address: what nobody sees, and what a vCard writes before it.

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;
use quoted_printable::ParseMode;
use std::borrow::Cow;

/// The address alone, without invisible characters, without the name and the parameters that a vCard
/// writes before it (`TEL;VALUE=uri:tel:…`), and decoded if it is quoted-printable.
pub(super) fn bare(text: &str) -> String {
    let (parameters, value) = split_vcard(text);
    let value = if is_quoted_printable(parameters, value) {
        match quoted_printable::decode(value, ParseMode::Robust) {
            Ok(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
            Err(_) => Cow::Borrowed(value),
        }
    } else {
        Cow::Borrowed(value)
    };
    let invisible = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let is_seen = |c: &char| *c == '\n' || !(c.is_control() || invisible.contains(*c));
    let seen: String = value.chars().filter(is_seen).collect();
    seen.trim().to_owned()
}

/// What stands before the value of a vCard's line, and the value; of any other text, all is value.
fn split_vcard(text: &str) -> (&str, &str) {
    let Some((before, value)) = text.split_once(':') else {
        return ("", text);
    };
    let name = before.split(';').next().unwrap_or_default().trim();
    // `item1.TEL` belongs to a group.
    let name = name.rsplit('.').next().unwrap_or_default();
    let is_property = name.eq_ignore_ascii_case("TEL") || name.eq_ignore_ascii_case("EMAIL");
    // `TEL:…` is a property; `tel:…` may be a URI as well, and means the same.
    if is_property {
        (before, value)
    } else {
        ("", text)
    }
}

/// True when the parameters say so, or the value cannot be meant otherwise.
fn is_quoted_printable(parameters: &str, value: &str) -> bool {
    if parameters.to_ascii_uppercase().contains("QUOTED-PRINTABLE") {
        return true;
    }
    let is_code = |code: &str| match code.as_bytes() {
        [first, second, ..] => [first, second]
            .iter()
            .all(|c| c.is_ascii_digit() || matches!(c, b'A'..=b'F')),
        _ => false,
    };
    let mut codes = value.split('=').skip(1).peekable();
    // `;ext=12` is a parameter of a telephone's URI.
    let may_be = codes.peek().is_some() && !value.contains(['@', ';']);
    may_be && codes.all(is_code)
}
