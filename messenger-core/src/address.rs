//! Email addresses and phone numbers in the form in which they are compared.

mod email;
mod phone;
mod text;

use rlibphonenumber::PHONE_NUMBER_UTIL;
use std::fmt;
use std::str::FromStr;

/// The version of the rule by which addresses are read. Whatever changes a key changes this text: a
/// store then computes its keys anew.
const VERSION: &str = "1, rlibphonenumber 2.2.15";

/// The most addresses that one field of an address book is read as.
const MOST_IN_A_FIELD: usize = 4;

/// A country, for phone numbers written without its code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Region(rlibphonenumber::Region);

impl Default for Region {
    /// Russia, where the protocol's clients are from.
    fn default() -> Self {
        Self(rlibphonenumber::Region::RU)
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The text names no country.
#[derive(Debug, thiserror::Error)]
#[error("not a two-letter country code such as RU")]
#[non_exhaustive]
pub struct UnknownRegion;

impl FromStr for Region {
    type Err = UnknownRegion;

    /// Reads a two-letter ISO 3166 country code.
    fn from_str(code: &str) -> Result<Self, UnknownRegion> {
        let region = code.parse().map_err(|_| UnknownRegion)?;
        let has_numbers = PHONE_NUMBER_UTIL.get_country_code_for_region(region);
        has_numbers.map(|_| Self(region)).ok_or(UnknownRegion)
    }
}

/// How the keys are computed by which users are found: two addresses that mean the same have the same
/// key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRule {
    region: Region,
    most_email: usize,
    most_phone: usize,
}

impl AddressRule {
    /// The rule for phone numbers that belong to this region unless they say otherwise, where an email
    /// address and a phone number have so many characters at the most.
    pub(crate) fn new(region: Region, most_email: usize, most_phone: usize) -> Self {
        // Reading the metadata of all regions takes some milliseconds, once in a process: not those of
        // the first client.
        std::sync::LazyLock::force(&PHONE_NUMBER_UTIL);
        Self {
            region,
            most_email,
            most_phone,
        }
    }

    /// Names the rule: keys computed under the same name are the same.
    pub fn name(&self) -> String {
        format!("{VERSION}, {}", self.region)
    }

    /// The key of a user's own email address; `None` when it is no address.
    pub fn email(&self, text: &str) -> Option<String> {
        self.emails(text).into_iter().next()
    }

    /// The key of a user's own phone number; `None` when it is no number.
    pub fn phone(&self, text: &str) -> Option<String> {
        self.phones(text).into_iter().next()
    }

    /// The keys of what an address book holds as an email address; none when it is no address, or too
    /// long for one.
    pub(crate) fn emails(&self, text: &str) -> Vec<String> {
        let text = text::bare(text);
        if is_longer(&text, self.most_email) {
            return Vec::new();
        }
        email::keys(&text).take(MOST_IN_A_FIELD).collect()
    }

    /// The keys of what an address book holds as a phone number; none when it is no number, or too long
    /// for one.
    pub(crate) fn phones(&self, text: &str) -> Vec<String> {
        let text = text::bare(text);
        if is_longer(&text, self.most_phone) {
            return Vec::new();
        }
        let mut keys = phone::keys(&text, self.region.0);
        keys.truncate(MOST_IN_A_FIELD);
        keys
    }
}

fn is_longer(text: &str, most: usize) -> bool {
    text.chars().nth(most).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rule_names_the_library_that_is_used() {
        let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock");
        let lock = std::fs::read_to_string(lock).unwrap();
        let package = "name = \"rlibphonenumber\"\nversion = \"";
        let (_, after) = lock.split_once(package).unwrap();
        let version = after.split('"').next().unwrap();
        assert!(VERSION.ends_with(version), "{VERSION}: {version} is used");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}|[-+0-9() x;=:/,~доб]{0,40}|[@<>;=:A-Za-z.]{0,40}") {
            let rule = AddressRule::new(Region::default(), 254, 32);
            let _ = (rule.emails(&text), rule.phones(&text));
        }
    }
}
