//! The Bidi Rule: a login is written in one direction. RFC 5893, section 2.

use icu_properties::CodePointMapData;
use icu_properties::props::BidiClass as Bidi;

/// True unless what is written from right to left is mixed with other things such that their order is not plain.
pub(super) fn is_one(login: &str) -> bool {
    let classes = CodePointMapData::<Bidi>::new();
    let classes: Vec<Bidi> = login.chars().map(|c| classes.get(c)).collect();
    let has = |wanted: &[Bidi]| classes.iter().any(|class| wanted.contains(class));
    if !has(&[Bidi::RightToLeft, Bidi::ArabicLetter, Bidi::ArabicNumber]) {
        return true;
    }
    let consists_of = |allowed: &[Bidi]| {
        let mut classes = classes.iter();
        classes.all(|class| allowed.contains(class) || ANYWHERE.contains(class))
    };
    let mut from_the_end = classes.iter().rev();
    let last = from_the_end.find(|class| **class != Bidi::NonspacingMark);
    let ends_with = |allowed: &[Bidi]| last.is_some_and(|class| allowed.contains(class));
    match classes.first() {
        Some(&Bidi::RightToLeft | &Bidi::ArabicLetter) => {
            consists_of(&RIGHT_TO_LEFT)
                && ends_with(&RIGHT_TO_LEFT)
                && !(has(&[Bidi::EuropeanNumber]) && has(&[Bidi::ArabicNumber]))
        }
        // Nothing that goes from right to left may follow.
        _ => false,
    }
}

const RIGHT_TO_LEFT: [Bidi; 4] = [
    Bidi::RightToLeft,
    Bidi::ArabicLetter,
    Bidi::ArabicNumber,
    Bidi::EuropeanNumber,
];

const ANYWHERE: [Bidi; 6] = [
    Bidi::EuropeanSeparator,
    Bidi::CommonSeparator,
    Bidi::EuropeanTerminator,
    Bidi::OtherNeutral,
    Bidi::BoundaryNeutral,
    Bidi::NonspacingMark,
];
