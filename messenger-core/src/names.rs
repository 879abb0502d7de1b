//! Logins and nicks of new accounts, by PRECIS (RFC 8264): which there may be, and the form in which they are kept.
//!
//! The rules are built from ICU4X's tables, which the engine has for addresses. The crate for them, `precis-profiles`, knows
//! the characters of Unicode 6.3 only: no emoji of the last ten years in a nick.

mod characters;
mod context;
mod direction;

use characters::{Class, class, is_invisible};
use icu_normalizer::{ComposingNormalizer, ComposingNormalizerBorrowed, DecomposingNormalizer};
use icu_properties::props::{BidiControl, EastAsianWidth, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};
use std::borrow::Cow;

const NFC: ComposingNormalizerBorrowed<'static> = ComposingNormalizer::new_nfc();
const NFKC: ComposingNormalizerBorrowed<'static> = ComposingNormalizer::new_nfkc();

/// Why a text is no login or no nick, as the end of a sentence that begins with the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    #[error("must not contain control characters")]
    Control,
    #[error("must not begin or end with a space")]
    SpaceAround,
    #[error("must not contain spaces other than U+0020, as U+{0:04X}")]
    Space(u32),
    #[error("must not contain characters that change the direction of writing, as U+{0:04X}")]
    DirectionControl(u32),
    #[error("must not contain invisible characters, as U+{0:04X}")]
    Invisible(u32),
    #[error("must not contain U+{0:04X}: no letter, digit or ASCII character")]
    Character(u32),
    #[error("must not contain U+{0:04X}, which is no character of a name")]
    NoText(u32),
    #[error("must not contain U+{0:04X} where it stands")]
    Context(u32),
    #[error("must not mix directions of writing")]
    MixedDirections,
}

/// The form in which a new login is kept: RFC 8265, a username whose parts, between spaces, are UsernameCasePreserved. All
/// of them are written in one direction.
pub(crate) fn login(text: &str) -> Result<String, NameError> {
    check_edges(text)?;
    let login = composed(text);
    check(&login, Class::Letter)?;
    if !direction::is_one(&login.replace(' ', "")) {
        return Err(NameError::MixedDirections);
    }
    Ok(login.into_owned())
}

/// The form in which a new nick is kept: RFC 8266, Nickname. What looks the same but for spaces or compatibility forms
/// is the same; case is kept.
pub(crate) fn nick(text: &str) -> Result<String, NameError> {
    check_edges(text)?;
    // A second time, for the spaces that normalisation makes; a third changes nothing.
    let nick = normal_nick(&normal_nick(text));
    check(&nick, Class::Other)?;
    Ok(nick)
}

/// The form in which a login that is written like this would be kept. `None` when it is written so already, as
/// every ASCII one is, or with more bytes than `most` characters can have: what names a user may be as long as a frame.
pub(crate) fn other_spelling(login: &str, most: usize) -> Option<String> {
    if login.len() > most.saturating_mul(4) {
        return None;
    }
    match composed(login) {
        Cow::Owned(composed) if composed != login => Some(composed),
        _ => None,
    }
}

/// The form of a login in which its accents stand alone.
pub(crate) fn decomposed(login: &str) -> Cow<'_, str> {
    DecomposingNormalizer::new_nfd().normalize(login)
}

/// Full-width and half-width letters as usual ones, and accents composed.
fn composed(login: &str) -> Cow<'_, str> {
    if login.is_ascii() {
        return Cow::Borrowed(login);
    }
    let widths = CodePointMapData::<EastAsianWidth>::new();
    let is_other_width = |c: &char| {
        let width = widths.get(*c);
        width == EastAsianWidth::Fullwidth || width == EastAsianWidth::Halfwidth
    };
    if NFC.is_normalized(login) && !login.chars().any(|c| is_other_width(&c)) {
        return Cow::Borrowed(login);
    }
    let mut usual = String::with_capacity(login.len());
    for c in login.chars() {
        if is_other_width(&c) {
            usual.push_str(&NFKC.normalize(c.encode_utf8(&mut [0; 4])));
        } else {
            usual.push(c);
        }
    }
    Cow::Owned(NFC.normalize(&usual).into_owned())
}

fn normal_nick(text: &str) -> String {
    let categories = CodePointMapData::<GeneralCategory>::new();
    let is_space = |c| categories.get(c) == GeneralCategory::SpaceSeparator;
    let words: Vec<_> = text
        .split(is_space)
        .filter(|word| !word.is_empty())
        .collect();
    NFKC.normalize(&words.join(" ")).into_owned()
}

fn check_edges(text: &str) -> Result<(), NameError> {
    if text.chars().any(char::is_control) {
        return Err(NameError::Control);
    }
    if text.trim().len() != text.len() {
        return Err(NameError::SpaceAround);
    }
    Ok(())
}

/// Whether each character may stand where it does, in a text of this class.
fn check(text: &str, most: Class) -> Result<(), NameError> {
    let characters: Vec<char> = text.chars().collect();
    for (place, &c) in characters.iter().enumerate() {
        let number = u32::from(c);
        match class(c) {
            Class::Letter => {}
            Class::Other if most == Class::Other => {}
            Class::Other if c == ' ' => {}
            Class::Other if c.is_whitespace() => return Err(NameError::Space(number)),
            Class::Other => return Err(NameError::Character(number)),
            Class::Contextual if context::allows(&characters, place) => {}
            _ if CodePointSetData::new::<BidiControl>().contains(c) => {
                return Err(NameError::DirectionControl(number));
            }
            _ if is_invisible(c) => return Err(NameError::Invisible(number)),
            Class::Contextual => return Err(NameError::Context(number)),
            Class::Never => return Err(NameError::NoText(number)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_kept_is_kept_as_it_is(text in "\\PC{0,12}|[a-zé \u{a8}\u{2002}\u{3000}Ａｶ\u{301}]{0,12}") {
            if let Ok(login) = login(&text) {
                prop_assert_eq!(super::login(&login), Ok(login.clone()));
                prop_assert_eq!(other_spelling(&login, 64), None);
            }
            if let Ok(nick) = nick(&text) {
                prop_assert_eq!(super::nick(&nick), Ok(nick));
            }
        }
    }
}
