//! Measures text in columns of a terminal.
//!
//! Terminals do not agree on the width of every character. A row must fit on each of them: a
//! terminal that breaks a row itself continues it in the first column, where a stranger's text
//! could imitate a line of somebody else.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The columns from one tab stop of a terminal to the next.
const TAB: usize = 8;

/// The columns of the widest character, without tabs.
pub(super) const WIDEST: usize = 2;

/// The beginning of a sequence that styles text. It ends with an `m`.
pub(crate) const STYLE: &str = "\u{1b}[";

/// Returns the columns of a text on most terminals. A tab counts as its widest form, and sequences
/// that style the text need no columns.
pub(crate) fn columns(text: &str) -> usize {
    let tabs = text.matches('\t').count();
    let mut parts = text.split(STYLE);
    let first = parts.next().map_or(0, UnicodeWidthStr::width);
    let rest = parts.map(|part| part.split_once('m').map_or(0, |(_, shown)| shown.width()));
    rest.fold(first, usize::saturating_add).saturating_add(tabs.saturating_mul(TAB))
}

/// Returns the most columns that any terminal may need for a text.
pub(crate) fn most_columns(text: &str) -> usize {
    cells(text).fold(0, |sum, (_, columns)| sum.saturating_add(columns))
}

/// Splits a text after the longest start that fits into `room` columns. The start may be empty.
pub(super) fn split_at_columns(text: &str, room: usize) -> (&str, &str) {
    let mut used: usize = 0;
    let mut end = 0;
    for (after, columns) in cells(text) {
        used = used.saturating_add(columns);
        if used > room {
            break;
        }
        end = after;
    }
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Splits a text after its first character.
pub(super) fn split_first(text: &str) -> (&str, &str) {
    let end = text.chars().next().map_or(0, char::len_utf8);
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Iterates over the characters: the byte after each, and its columns. Characters of a sequence
/// that styles text need none.
fn cells(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut in_style = false;
    text.char_indices().map(move |(at, c)| {
        in_style |= text.get(at..).is_some_and(|rest| rest.starts_with(STYLE));
        let columns = if in_style { 0 } else { most_columns_of(c) };
        in_style &= c != 'm';
        (at.saturating_add(c.len_utf8()), columns)
    })
}

/// Returns the most columns that a terminal may need for a character.
fn most_columns_of(c: char) -> usize {
    let usual = UnicodeWidthChar::width(c).unwrap_or(1);
    let most = match c {
        '\t' => TAB,
        // Marks that some terminals show as a blank, and selectors that make a sign wide.
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2060}'..='\u{2064}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}' => 1,
        // A filler of Hangul, letters of flags, and emoji that older or newer terminals know.
        '\u{3164}' | '\u{1f000}'..='\u{1faff}' => WIDEST,
        _ => 0,
    };
    usual.max(most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_never_measured_narrower_than_the_widest_terminal_shows_it() {
        for (text, most) in [
            ("yzw", 3),
            ("李雷", 4),
            ("e\u{301}", 1),
            ("می\u{200c}خواهم", 7),
            ("\u{2764}\u{fe0f}", 2),
            ("👩\u{200d}🚀", 4),
            ("\u{1f1e9}\u{1f1ea}", 4),
            ("\u{3164}\u{ffa0}\u{ad}\u{200b}", 5),
            ("a\tb", 10),
        ] {
            assert_eq!(most_columns(text), most, "{text:?}");
        }
        let styled = format!("{STYLE}2m09:30{STYLE}0m {STYLE}1;38;5;33m李雷{STYLE}0m: one two");
        assert_eq!(columns(&styled), "09:30 李雷: one two".width());
        assert_eq!(most_columns(&styled), columns(&styled));
    }

    #[test]
    fn a_text_is_split_where_the_room_ends() {
        assert_eq!(split_at_columns("yzw", 2), ("yz", "w"));
        assert_eq!(split_at_columns("李雷", 3), ("李", "雷"));
        assert_eq!(split_at_columns("李雷", 1), ("", "李雷"));
        assert_eq!(split_at_columns("e\u{301}x", 1), ("e\u{301}", "x"));
        assert_eq!(split_first("李雷"), ("李", "雷"));
    }

    proptest! {
        #[test]
        fn the_most_columns_are_at_least_the_usual_ones(text in "[^\u{1b}]*") {
            prop_assert!(most_columns(&text) >= text.width());
        }
    }
}
