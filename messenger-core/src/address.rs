//! Email addresses and phone numbers in the form in which they are compared.

use phonenumber::Mode;
use phonenumber::country::Id;
use std::fmt;
use std::str::FromStr;

/// A country, for phone numbers written without its code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Region(Id);

impl Default for Region {
    /// Russia, where the protocol's clients are from.
    fn default() -> Self {
        Self(Id::RU)
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_ref())
    }
}

/// The text names no country.
#[derive(Debug, thiserror::Error)]
#[error("not a two-letter country code such as RU")]
pub struct UnknownRegion;

impl FromStr for Region {
    type Err = UnknownRegion;

    /// Reads a two-letter ISO 3166 country code.
    fn from_str(code: &str) -> Result<Self, UnknownRegion> {
        code.parse().map(Self).map_err(|_| UnknownRegion)
    }
}

/// The form in which email addresses are compared; `None` when there is nothing to compare.
pub(crate) fn email_key(email: &str) -> Option<String> {
    let email = email.trim();
    (!email.is_empty()).then(|| email.to_ascii_lowercase())
}

/// The form in which phone numbers are compared: E.164, or the bare digits of what is no phone
/// number; `None` when there is not even a digit.
pub(crate) fn phone_key(phone: &str, region: Region) -> Option<String> {
    if let Ok(number) = phonenumber::parse(Some(region.0), phone) {
        return Some(number.format().mode(Mode::E164).to_string());
    }
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    (!digits.is_empty()).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn notations_of_one_number_are_equal() {
        let key = |phone: &str| phone_key(phone, Region::default());
        for phone in ["+7 916 123-45-67", "8 (916) 123 45 67", "916 123-45-67"] {
            assert_eq!(key(phone).as_deref(), Some("+79161234567"), "{phone}");
        }
        assert_eq!(key("no number"), None);
        assert_eq!(key(""), None);
        let germany = "DE".parse().unwrap();
        let key = phone_key("0171 2345678", germany);
        assert_eq!(key.as_deref(), Some("+491712345678"));
    }

    #[test]
    fn email_is_trimmed_and_lowered() {
        assert_eq!(
            email_key(" Ann@Example.ORG "),
            Some("ann@example.org".into())
        );
        assert_eq!(email_key("  "), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}|[-+0-9() x;=]{0,40}") {
            let _ = phone_key(&text, Region::default());
        }
    }
}
