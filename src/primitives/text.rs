//! Names and other text that peers send and people read.

use super::{Address, PeerId};

/// The longest name, in characters.
pub const MAX_NAME_CHARS: usize = 32;

/// Why a text may not be a friend's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing in it, or only spaces.
    #[error("a name may not be empty")]
    Empty,
    /// Over the limit.
    #[error("'{0}' is too long for a name: {MAX_NAME_CHARS} characters at most")]
    TooLong(String),
    /// A `#`, white space, or a control or formatting character.
    #[error("'{0}' may not be a name: names hold no '#', no spaces and no control characters")]
    Character(String),
    /// It reads as an address or a peer id.
    #[error("'{0}' may not be a name: it reads as an address or a peer id")]
    Misleading(String),
}

/// Whether `name` may be a friend's name.
pub fn check_name(name: &str) -> Result<(), NameError> {
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

/// Whether a character only shows itself: no control, no bidirectional override, no invisible mark.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A text that cannot move a terminal's cursor, colour it, or turn its direction: offenders become
/// U+FFFD.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_printable(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_script_pass_and_tricks_do_not() {
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
