//! Texts as PostgreSQL takes them, which cannot keep U+0000.
//!
//! It is written as U+0001 U+0001, and U+0001 as U+0001 U+0002: texts are in the same order as before.

use std::borrow::Cow;

pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', '\u{1}']) {
        return Cow::Borrowed(text);
    }
    let text = text.replace('\u{1}', "\u{1}\u{2}");
    Cow::Owned(text.replace('\0', "\u{1}\u{1}"))
}

pub(crate) fn unescape(text: String) -> String {
    if !text.contains('\u{1}') {
        return text;
    }
    let text = text.replace("\u{1}\u{1}", "\0");
    text.replace("\u{1}\u{2}", "\u{1}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_comes_back_and_keeps_its_order(
            one in "[\0\u{1}\u{2}\u{3}a]{0,8}", other in "[\0\u{1}\u{2}\u{3}a]{0,8}"
        ) {
            let (escaped, of_other) = (escape(&one), escape(&other));
            prop_assert!(!escaped.contains('\0'));
            prop_assert_eq!(escaped.cmp(&of_other), one.cmp(&other));
            prop_assert_eq!(unescape(escaped.into_owned()), one);
        }
    }
}
