//! Checks of names, and harmless display of text that peers send.

use super::{Address, PeerId};

/// The longest name, in characters.
pub(crate) const MAX_NAME_CHARS: usize = 32;

/// A reason for which a text may not be a friend's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty or only white space.
    #[error("a name may not be empty")]
    Empty,
    /// The name has more than 32 characters.
    #[error("'{0}' is too long for a name: {MAX_NAME_CHARS} characters at most")]
    TooLong(String),
    /// The name has a `#`, white space, or a control or formatting character.
    #[error("'{0}' may not be a name: names hold no '#', no spaces and no control characters")]
    Character(String),
    /// The name looks like an address or a peer id.
    #[error("'{0}' may not be a name: it reads as an address or a peer id")]
    Misleading(String),
}

/// Checks that `name` may be a friend's name.
pub(crate) fn check_name(name: &str) -> Result<(), NameError> {
    let shown = || printable(&name.chars().take(48).collect::<String>());
    if name.trim().is_empty() {
        return Err(NameError::Empty);
    }
    if name.chars().count() > MAX_NAME_CHARS {
        return Err(NameError::TooLong(shown()));
    }
    if name.chars().any(|c| c == '#' || c.is_whitespace() || !is_printable(c)) {
        return Err(NameError::Character(shown()));
    }
    if Address::looks_like(name) || PeerId::looks_like(name) {
        return Err(NameError::Misleading(shown()));
    }
    Ok(())
}

/// True if a character is no control character, bidirectional override or invisible mark.
pub(crate) fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
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
/// A byte order mark is left by editors, and a zero-width space by chat programs.
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
    fn names_of_any_script_pass_and_misleading_names_do_not() {
        for name in ["yzw", "李雷", "Zoë", "a-b_c.d"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in
            ["", "  ", "a b", "a#b", "a\nb", "\u{1b}[31m", "fc1xyz", "12D3KooWabc", "a\u{202e}b"]
        {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert!(check_name(&"x".repeat(33)).is_err());
    }
}
