//! Where the characters may stand that not every neighbour suits: RFC 5892, appendix A.

use icu_properties::CodePointMapData;
use icu_properties::props::{CanonicalCombiningClass, JoiningType, Script};

const ARABIC_INDIC_DIGITS: std::ops::RangeInclusive<char> = '\u{660}'..='\u{669}';
const EXTENDED_ARABIC_INDIC_DIGITS: std::ops::RangeInclusive<char> = '\u{6f0}'..='\u{6f9}';

/// Whether the contextual character at this place may stand there.
pub(super) fn allows(text: &[char], place: usize) -> bool {
    let before = text.get(..place).unwrap_or_default();
    let after = text.get(place + 1..).unwrap_or_default();
    let is_in = |neighbour: Option<&char>, scripts: &[Script]| {
        neighbour.is_some_and(|c| scripts.contains(&CodePointMapData::new().get(*c)))
    };
    match text.get(place) {
        Some('\u{200c}') => follows_virama(before) || stands_between_joining(before, after),
        Some('\u{200d}') => follows_virama(before),
        Some('\u{b7}') => before.last() == Some(&'l') && after.first() == Some(&'l'),
        Some('\u{375}') => is_in(after.first(), &[Script::Greek]),
        Some('\u{5f3}' | '\u{5f4}') => is_in(before.last(), &[Script::Hebrew]),
        Some('\u{30fb}') => {
            let scripts = [Script::Hiragana, Script::Katakana, Script::Han];
            text.iter().any(|c| is_in(Some(c), &scripts))
        }
        Some(c) if ARABIC_INDIC_DIGITS.contains(c) => !text
            .iter()
            .any(|c| EXTENDED_ARABIC_INDIC_DIGITS.contains(c)),
        Some(c) if EXTENDED_ARABIC_INDIC_DIGITS.contains(c) => {
            !text.iter().any(|c| ARABIC_INDIC_DIGITS.contains(c))
        }
        _ => false,
    }
}

fn follows_virama(before: &[char]) -> bool {
    let classes = CodePointMapData::<CanonicalCombiningClass>::new();
    before
        .last()
        .is_some_and(|c| classes.get(*c) == CanonicalCombiningClass::Virama)
}

/// Between letters that would be joined without it.
fn stands_between_joining(before: &[char], after: &[char]) -> bool {
    let types = CodePointMapData::<JoiningType>::new();
    let mut before = before.iter().rev().map(|c| types.get(*c));
    let mut after = after.iter().map(|c| types.get(*c));
    let is_seen = |kind: &JoiningType| *kind != JoiningType::Transparent;
    let joins = |kind: Option<JoiningType>, side| {
        kind == Some(JoiningType::DualJoining) || kind == Some(side)
    };
    joins(before.find(is_seen), JoiningType::LeftJoining)
        && joins(after.find(is_seen), JoiningType::RightJoining)
}
