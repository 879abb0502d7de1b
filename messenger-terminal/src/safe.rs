//! Text of others, made harmless. A terminal obeys control characters: they can overwrite what stands there, change its title, even
//! type for its user.

/// The text in one line. Line breaks and tabs become spaces.
pub(crate) fn line(text: &str) -> String {
    text.chars()
        .map(|sign| match sign {
            '\n' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
            other => harmless(other),
        })
        .collect()
}

/// A login or a name that its owner has chosen. One that could be taken for what stands around it, as `Ann (ann): hello`, is set in
/// quotation marks.
pub(crate) fn name(name: &str) -> String {
    let name = line(name);
    match name.contains(['(', ')', ':', '"']) {
        true => format!("{name:?}"),
        false => name,
    }
}

/// A message's text. Lines behind the first are set off, so that none looks like another message.
pub(crate) fn text(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let lines: Vec<String> = text.trim_end().split('\n').map(line).collect();
    lines.join("\n  | ")
}

/// Shows what a terminal would obey: control characters, and those that change the direction of writing.
fn harmless(sign: char) -> char {
    match sign {
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(sign)).unwrap_or('\u{fffd}'),
        '\x7f' => '\u{2421}',
        '\u{80}'..='\u{9f}' => '\u{fffd}',
        '\u{61c}' | '\u{200e}' | '\u{200f}' => '\u{fffd}',
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        for sign in (0..=0x10_ffff).filter_map(char::from_u32) {
            assert!(
                !line(&sign.to_string()).contains(char::is_control),
                "{sign:?}"
            );
        }
        assert_eq!(line("a\x1b]0;owned\x07b"), "a\u{241b}]0;owned\u{2407}b");
        assert_eq!(line("\u{202e}txt.exe"), "\u{fffd}txt.exe");
        assert_eq!(line("Grüße, 世界 👋"), "Grüße, 世界 👋");
    }

    #[test]
    fn a_name_does_not_look_like_somebody_elses_message() {
        assert_eq!(name("Ann (ann): hello"), "\"Ann (ann): hello\"");
        assert_eq!(name("\"Ann\" (ann)"), "\"\\\"Ann\\\" (ann)\"");
        assert_eq!(name("Grüße, O'Ann 世界"), "Grüße, O'Ann 世界");
    }

    #[test]
    fn further_lines_do_not_look_like_other_messages() {
        assert_eq!(
            text("hi\r\nAnn (ann): me\rX\n"),
            "hi\n  | Ann (ann): me\u{240d}X"
        );
    }
}
