//! Which characters there are, for names: RFC 8264, sections 8 and 9.

use super::NFKC;
use icu_properties::props::{
    DefaultIgnorableCodePoint, GeneralCategory as Category, HangulSyllableType, JoinControl,
    NoncharacterCodePoint,
};
use icu_properties::{CodePointMapData, CodePointSetData};

/// What a character is for names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// In every name: letters, digits, what is ASCII and seen.
    Letter,
    /// In a nick: spaces, symbols, punctuation, and what is another form of something.
    Other,
    /// Where [`context`](super::context) allows it.
    Contextual,
    /// In none.
    Never,
}

pub(super) fn class(c: char) -> Class {
    if let Some(class) = exception(c) {
        return class;
    }
    let category = CodePointMapData::<Category>::new().get(c);
    if category == Category::Unassigned {
        Class::Never
    } else if c.is_ascii_graphic() {
        Class::Letter
    } else if CodePointSetData::new::<JoinControl>().contains(c) {
        Class::Contextual
    } else if is_never(c, category) {
        Class::Never
    } else if has_another_form(c) {
        Class::Other
    } else {
        by_category(category)
    }
}

/// RFC 8264, 9.6.
fn exception(c: char) -> Option<Class> {
    Some(match c {
        'ß' | 'ς' | '\u{6fd}' | '\u{6fe}' | '\u{f0b}' | '\u{3007}' => Class::Letter,
        '\u{b7}' | '\u{375}' | '\u{5f3}' | '\u{5f4}' | '\u{30fb}' => Class::Contextual,
        '\u{660}'..='\u{669}' | '\u{6f0}'..='\u{6f9}' => Class::Contextual,
        '\u{640}' | '\u{7fa}' | '\u{302e}' | '\u{302f}' => Class::Never,
        '\u{3031}'..='\u{3035}' | '\u{303b}' => Class::Never,
        _ => return None,
    })
}

/// What is not seen. Unicode has no word for those beside the ignorable ones: a filler, joiners that show only what
/// they join, and symbols that are blank.
pub(super) fn is_invisible(c: char) -> bool {
    let is_blank = matches!(
        c,
        '\u{2800}' | '\u{2d7f}' | '\u{fffc}' | '\u{1107f}' | '\u{16fe4}' | '\u{1d159}'
    );
    is_blank || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// The letters of which old Hangul syllables consist, what is not seen, and what is no character.
fn is_never(c: char, category: Category) -> bool {
    let syllable = CodePointMapData::<HangulSyllableType>::new().get(c);
    matches!(
        syllable,
        HangulSyllableType::LeadingJamo
            | HangulSyllableType::VowelJamo
            | HangulSyllableType::TrailingJamo
    ) || is_invisible(c)
        || CodePointSetData::new::<NoncharacterCodePoint>().contains(c)
        || category == Category::Control
}

fn has_another_form(c: char) -> bool {
    !NFKC.is_normalized(c.encode_utf8(&mut [0; 4]))
}

fn by_category(category: Category) -> Class {
    match category {
        Category::LowercaseLetter
        | Category::UppercaseLetter
        | Category::OtherLetter
        | Category::DecimalNumber
        | Category::ModifierLetter
        | Category::NonspacingMark
        | Category::SpacingMark => Class::Letter,
        Category::TitlecaseLetter
        | Category::LetterNumber
        | Category::OtherNumber
        | Category::EnclosingMark
        | Category::SpaceSeparator
        | Category::MathSymbol
        | Category::CurrencySymbol
        | Category::ModifierSymbol
        | Category::OtherSymbol
        | Category::ConnectorPunctuation
        | Category::DashPunctuation
        | Category::OpenPunctuation
        | Category::ClosePunctuation
        | Category::InitialPunctuation
        | Category::FinalPunctuation
        | Category::OtherPunctuation => Class::Other,
        _ => Class::Never,
    }
}
