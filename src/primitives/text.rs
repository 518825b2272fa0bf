//! Makes text from peers harmless for a terminal.

/// True if a character is no control character, bidirectional override or invisible mark. The two
/// joiners are printable, since scripts such as Persian and Sinhala write with them.
pub(crate) fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}')
        && !matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        && !matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Replaces every character that could change a terminal's state by U+FFFD.
///
/// The result cannot move the cursor, set colours, or reverse the direction of text.
#[must_use]
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_printable(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// Returns a typed or pasted text without white space, line breaks and invisible marks around it.
///
/// Editors leave byte order marks, and chat programs leave zero-width spaces.
#[must_use]
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_pasted_is_trimmed_on_both_sides() {
        for text in [" yzw", "yzw\r\n", "\u{feff}yzw\u{a0}", "\t\u{3000}yzw\u{200b}\0"] {
            assert_eq!(trimmed(text), "yzw", "{text:?}");
        }
        assert_eq!(trimmed("a b"), "a b");
        assert_eq!(trimmed(" \r\n"), "");
    }

    #[test]
    fn what_could_change_a_terminal_is_replaced_and_joiners_stay() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}c\n"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}");
        for text in ["می\u{200c}خواهم", "ශ්\u{200d}රී", "李雷", "Zoe\u{308}", "👩\u{200d}🚀\u{fe0f}"]
        {
            assert_eq!(printable(text), text);
        }
    }
}
