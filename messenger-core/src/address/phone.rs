//! Phone numbers, as libphonenumber reads them.

use rlibphonenumber::{
    NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, Region,
};

/// What stands between several numbers in one field; so do letters.
const SEPARATORS: [char; 6] = [',', ';', '/', '|', '&', '\n'];

/// The keys of the numbers in a text: each in E.164. What is no number is compared by its digits; that
/// has no plus, so it equals no number.
pub(super) fn keys(text: &str, region: Region) -> Vec<String> {
    let whole = parse(text, region);
    let alone = |number: &&PhoneNumber| has_possible_length(number) && !hides_another(number);
    if let Some(number) = whole.as_ref().filter(alone) {
        return vec![e164(number)];
    }
    let pieces = text.split(|c: char| c.is_alphabetic() || SEPARATORS.contains(&c));
    let numbers = pieces.filter_map(|piece| parse(piece, region));
    let several: Vec<_> = numbers
        .filter(has_possible_length)
        .map(|number| e164(&number))
        .collect();
    if !several.is_empty() {
        return several;
    }
    if let Some(number) = whole {
        return vec![e164(&number)];
    }
    let digits = PHONE_NUMBER_UTIL.normalize_digits_only(text);
    if digits.is_empty() {
        Vec::new()
    } else {
        vec![digits]
    }
}

fn parse(text: &str, region: Region) -> Option<PhoneNumber> {
    PHONE_NUMBER_UTIL.parse(text, Some(region)).ok()
}

fn has_possible_length(number: &PhoneNumber) -> bool {
    let length = PHONE_NUMBER_UTIL.is_possible_number_with_reason(number);
    matches!(length, Ok(NumberLengthType::IsPossible))
}

/// True when what was read as an extension (behind a semicolon, say) is as long as a number.
fn hides_another(number: &PhoneNumber) -> bool {
    const LONGEST_EXTENSION: usize = 6;
    number.extension().len() > LONGEST_EXTENSION
}

fn e164(number: &PhoneNumber) -> String {
    let text = PHONE_NUMBER_UTIL.format(number, PhoneNumberFormat::E164);
    text.into_owned()
}
