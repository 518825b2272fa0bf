//! Makes text of others harmless where it is shown. Stored text and JSON stay as written.

use std::fmt::Write as _;

/// The beginning of each further line of a text, so that it does not look like a separate message.
pub(crate) const INDENT: &str = "    ";

/// True if a character moves the cursor, changes a terminal's state, or overrides the direction of
/// the text around it. Joiners, direction marks and the tags of emoji do not.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}')
}

/// Returns the text as a person reads it. Further lines are indented, tabs stay, and characters
/// that could harm a terminal become U+FFFD.
#[must_use]
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, line) in text.split('\n').enumerate() {
        if at > 0 {
            out.push('\n');
            out.push_str(INDENT);
        }
        let line = line.strip_suffix('\r').unwrap_or(line);
        out.extend(line.chars().map(|c| match c {
            '\t' => '\t',
            harmful if is_harmful(harmful) => char::REPLACEMENT_CHARACTER,
            harmless => harmless,
        }));
    }
    out
}

/// Returns a JSON document in which characters that could harm a terminal are escaped. JSON
/// contains such characters only in strings, so the value stays the same.
#[must_use]
pub(crate) fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_harmful(c) {
            // None of them is beyond U+FFFF.
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_any_script_is_shown_as_written() {
        for text in [
            "👩\u{200d}🚀\u{fe0f}",
            "می\u{200c}خواهم",
            "a\tb",
            "\u{200f}שלום\u{200e}",
            "🏴\u{e0067}\u{e0062}\u{e007f}",
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn a_further_line_is_indented_and_looks_like_nobodys() {
        assert_eq!(shown("one\ntwo\r\n\nyjf: I owe you"), "one\n    two\n    \n    yjf: I owe you");
    }

    #[test]
    fn what_could_harm_a_terminal_is_replaced_when_shown_and_escaped_in_json() {
        let text = "\u{1b}[2J\u{9b}31m\u{202e}x\u{2066}y\u{2069}\ra\u{8}\u{85}\u{2028}\u{7f}";
        let line = shown(text);
        assert!(!line.chars().any(is_harmful), "{line:?}");
        assert_eq!(line.chars().count(), text.chars().count());
        let json = serde_json::to_string(text).expect("JSON");
        let safe = escaped(&json);
        assert!(!safe.chars().any(is_harmful), "{safe:?}");
        assert_eq!(serde_json::from_str::<String>(&safe).expect("JSON"), text);
    }
}
