//! The format of text for people: screen width, short ids, and line breaks between words.
//!
//! A [`Look`] belongs to the running command: all its output has the same one. JSON has none.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use terminal_size::{Width, terminal_size_of};
use unicode_width::UnicodeWidthStr;

use crate::primitives::INDENT;

/// Columns of output that is not a terminal, and of a terminal that does not report its width.
const DEFAULT_WIDTH: usize = 80;

/// The narrowest screen that tables are fitted to, in columns. A narrower one has no room for two
/// columns.
const MIN_WIDTH: usize = 40;

/// Characters of a short id. A block's hash begins with zeros, so fewer would identify little.
const SHORT_ID_CHARS: usize = 12;

/// Characters of a short address: the prefix `fc1` and 9 more.
const SHORT_ADDRESS_CHARS: usize = 12;

/// Columns by which the lines after a long head are indented.
const LONG_HEAD_INDENT: usize = 2;

/// The end of a text that was cut.
const ELLIPSIS: char = '…';

tokio::task_local! {
    /// The look of the command in this task.
    static LOOK: Look;
}

/// The look of a command's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Columns of the screen.
    pub(crate) width: usize,
    /// True to show ids and columns in full at any width.
    pub(crate) full: bool,
    /// True if sentences are broken into lines. Programs expect a sentence on one line.
    pub(crate) breaks_sentences: bool,
}

impl Look {
    /// Returns the look for standard output.
    pub(crate) fn of_stdout() -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let size = is_terminal.then(|| terminal_size_of(&stdout)).flatten();
        Self { width: width_of(size), full: false, breaks_sentences: is_terminal }
    }

    /// Returns the look of the running command.
    pub(crate) fn current() -> Self {
        LOOK.try_with(|look| *look).unwrap_or_else(|_| Self::of_stdout())
    }

    /// Runs a command with this look.
    pub(crate) async fn scope<T>(self, command: impl Future<Output = T>) -> T {
        LOOK.scope(self, command).await
    }

    #[cfg(test)]
    pub(super) fn with<T>(self, run: impl FnOnce() -> T) -> T {
        LOOK.sync_scope(self, run)
    }
}

/// Returns the width to which text is fitted on a terminal of this size.
pub(crate) fn width_of(size: Option<(Width, terminal_size::Height)>) -> usize {
    // Some terminals report 0 columns because they do not know the number.
    let columns = size.map(|(Width(columns), _)| usize::from(columns)).filter(|width| *width > 0);
    columns.unwrap_or(DEFAULT_WIDTH).max(MIN_WIDTH)
}

/// Returns the first characters of an id, or the whole id if the user asked for it.
pub(crate) fn short(id: impl Display) -> String {
    let id = id.to_string();
    if Look::current().full { id } else { short_text(&id) }
}

/// Returns the first characters of an id.
pub(crate) fn short_text(id: &str) -> String {
    id.chars().take(SHORT_ID_CHARS).collect()
}

/// Characters of a whole hash, and of a whole peer id with its usual beginning.
const HASH_CHARS: usize = 64;
const PEER_ID_CHARS: usize = 52;
const PEER_ID_START: &str = "12D3KooW";

/// Returns a sentence with its whole ids cut to short ones. Ids whose short forms are the same stay
/// whole.
pub(crate) fn with_short_ids(sentence: &str) -> String {
    let is_end = |c: char| !c.is_ascii_alphanumeric();
    let whole: Vec<&str> = sentence.split(is_end).filter(|word| is_whole_id(word)).collect();
    let is_like_another =
        |id: &str| whole.iter().any(|other| *other != id && short_text(other) == short_text(id));
    let mut out = String::with_capacity(sentence.len());
    for part in sentence.split_inclusive(is_end) {
        let word = part.trim_end_matches(is_end);
        if is_whole_id(word) && !is_like_another(word) {
            out.push_str(&short_text(word));
            out.push_str(part.get(word.len()..).unwrap_or_default());
        } else {
            out.push_str(part);
        }
    }
    out
}

/// True for a hash and for a peer id. Addresses are shorter or begin differently.
pub(super) fn is_whole_id(text: &str) -> bool {
    (text.len() == HASH_CHARS && text.bytes().all(|digit| digit.is_ascii_hexdigit()))
        || (text.len() == PEER_ID_CHARS && text.starts_with(PEER_ID_START))
}

/// Returns the first characters of an address, with a mark for the rest.
pub(super) fn short_address(address: impl Display) -> String {
    let start: String = address.to_string().chars().take(SHORT_ADDRESS_CHARS).collect();
    format!("{start}{ELLIPSIS}")
}

/// Returns a text that is at most `width` columns wide. A longer text loses its end.
pub(crate) fn fitted(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(1);
    let ends = text.char_indices().map(|(at, c)| at.saturating_add(c.len_utf8()));
    // A character without a width of its own stays with the letter before it.
    let cut = ends
        .filter_map(|end| text.get(..end))
        .take_while(|start| start.width() <= room)
        .last()
        .unwrap_or_default();
    format!("{}{ELLIPSIS}", cut.trim_end())
}

/// Breaks a text into lines of at most `width` columns, between words. A word that is wider than a
/// line is broken where the line ends.
pub(crate) fn lines(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    let width = width.max(1);
    for word in text.split(' ') {
        let gap = usize::from(!line.is_empty());
        if line.width().saturating_add(gap).saturating_add(word.width()) <= width {
            line.extend(std::iter::repeat_n(' ', gap));
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        let mut rest = word;
        while rest.width() > width {
            let end = broken_at(rest, width);
            lines.push(rest.get(..end).unwrap_or_default().to_owned());
            rest = rest.get(end..).unwrap_or_default();
        }
        rest.clone_into(&mut line);
    }
    lines.push(line);
    lines
}

/// Returns the length in bytes of the longest start of a word that fits, at least one character.
fn broken_at(word: &str, room: usize) -> usize {
    let ends = word.char_indices().map(|(at, c)| at.saturating_add(c.len_utf8()));
    let fitting = ends.take_while(|end| word.get(..*end).is_some_and(|part| part.width() <= room));
    let first = word.chars().next().map_or(1, char::len_utf8);
    fitting.last().unwrap_or(first)
}

/// Writes a head and a text. Further lines are indented to the text's column.
pub(crate) fn write_hanging(out: &mut dyn Write, head: &str, text: &str) -> io::Result<()> {
    let look = Look::current();
    let indent = head.width();
    if look.full || indent.saturating_add(text.width()) <= look.width {
        return writeln!(out, "{head}{text}");
    }
    // A long head leaves no room for the text beside it, so both are broken together.
    let is_long = indent > look.width / 2;
    let (mut start, indent, text) = if is_long {
        (String::new(), LONG_HEAD_INDENT, format!("{head}{text}"))
    } else {
        (head.to_owned(), indent, text.to_owned())
    };
    for line in lines(&text, look.width.saturating_sub(indent)) {
        writeln!(out, "{}", format!("{start}{line}").trim_end())?;
        start = " ".repeat(indent);
    }
    Ok(())
}

/// Writes a sentence. On a terminal it is broken between words.
pub(crate) fn write_sentence(out: &mut dyn Write, sentence: &str) -> io::Result<()> {
    let look = Look::current();
    if !look.breaks_sentences {
        return writeln!(out, "{sentence}");
    }
    lines(sentence, look.width).iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// Returns a text whose wide lines are broken between words, if standard output is a terminal.
/// Each part of a line keeps its indent.
pub(crate) fn broken(text: &str) -> String {
    let look = Look::current();
    if !look.breaks_sentences {
        return text.to_owned();
    }
    broken_at_width(text, look.width)
}

/// Returns a text whose lines are broken between words, if standard output is a terminal. The first
/// line follows a head of `head` columns, and the further ones follow [`INDENT`].
///
/// A word wider than a line stays whole: the terminal breaks it, and a link can still be copied.
pub(crate) fn hanging(head: usize, text: &str) -> String {
    let look = Look::current();
    if look.breaks_sentences && !look.full {
        hanging_at_width(head, text, look.width)
    } else {
        text.to_owned()
    }
}

/// Does the same as [`hanging`], for a screen of `width` columns.
pub(crate) fn hanging_at_width(head: usize, text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut column = head;
    for (at, line) in text.split('\n').enumerate() {
        if at > 0 {
            out.push('\n');
            column = 0;
        }
        for (at, word) in line.split(' ').enumerate() {
            let gap = usize::from(at > 0);
            let end = column.saturating_add(gap).saturating_add(columns(word));
            // A break right after the indent would gain nothing.
            if gap > 0 && end > width && column > INDENT.len() {
                out.push('\n');
                out.push_str(INDENT);
                column = INDENT.len().saturating_add(columns(word));
            } else {
                out.extend(std::iter::repeat_n(' ', gap));
                column = end;
            }
            out.push_str(word);
        }
    }
    out
}

/// The columns from one tab stop of a terminal to the next.
const TAB: usize = 8;

/// The beginning of a sequence that styles text. It ends with an `m`.
pub(crate) const STYLE: &str = "\u{1b}[";

/// Returns the most columns that a text needs, wherever its tabs begin. Sequences that style it
/// need none.
pub(crate) fn columns(text: &str) -> usize {
    let tabs = text.matches('\t').count();
    let mut parts = text.split(STYLE);
    let first = parts.next().map_or(0, UnicodeWidthStr::width);
    let rest = parts.map(|part| part.split_once('m').map_or(0, |(_, shown)| shown.width()));
    rest.fold(first, usize::saturating_add).saturating_add(tabs.saturating_mul(TAB))
}

/// Does the same as [`broken`], for a screen of `width` columns.
pub(crate) fn broken_at_width(text: &str, width: usize) -> String {
    let mut out = Vec::new();
    for line in text.split('\n') {
        let bare = line.trim_start_matches(' ');
        let indent = line.get(..line.len().saturating_sub(bare.len())).unwrap_or_default();
        if line.width() <= width || indent.len() >= width {
            out.push(line.to_owned());
        } else {
            let parts = lines(bare, width.saturating_sub(indent.len()));
            out.extend(parts.into_iter().map(|part| format!("{indent}{part}")));
        }
    }
    out.join("\n")
}

/// Formats an error sentence for a terminal: with short ids, and broken between words. Elsewhere it
/// keeps whole ids on one line.
pub(crate) fn refusal(sentence: &str) -> String {
    let look = Look::current();
    if !look.breaks_sentences {
        return sentence.to_owned();
    }
    broken_at_width(&with_short_ids(sentence), look.width)
}

/// Formats a sentence for standard error: with short ids and broken between words if it is a
/// terminal.
pub(super) fn sentence_for_stderr(sentence: &str) -> String {
    let stderr = io::stderr();
    if !stderr.is_terminal() {
        return sentence.to_owned();
    }
    lines(&with_short_ids(sentence), width_of(terminal_size_of(&stderr))).join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Look = Look { width: 40, full: false, breaks_sentences: true };

    fn written(look: Look, head: &str, text: &str) -> String {
        let mut out = Vec::new();
        look.with(|| write_hanging(&mut out, head, text)).expect("written");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn wide_lines_are_broken_between_words_and_keep_their_indent() {
        assert_eq!(broken_at_width("one two three", 8), "one two\nthree");
        assert_eq!(broken_at_width("a\n    one two three", 12), "a\n    one two\n    three");
        assert_eq!(broken_at_width("  as it is", 12), "  as it is");
    }

    #[test]
    fn a_chat_line_is_broken_between_words_and_a_link_stays_whole() {
        assert_eq!(hanging_at_width(11, "one two three", 15), "one\n    two three");
        assert_eq!(hanging_at_width(3, "a\n    b c d e f g", 11), "a\n    b c d e\n    f g");
        let link = "x".repeat(30);
        let text = format!("see {link} there");
        assert_eq!(hanging_at_width(6, &text, 20), format!("see\n    {link}\n    there"));
        assert_eq!(hanging_at_width(30, "two words", 20), "two\n    words");
        assert_eq!(hanging_at_width(5, "  as  it is", 20), "  as  it is");
        assert_eq!(hanging_at_width(5, "a\tb c", 12), "a\tb\n    c");
        assert_eq!(hanging_at_width(5, "李雷 李雷 李雷", 15), "李雷 李雷\n    李雷");
        let styled = format!("{STYLE}2m09:30{STYLE}0m {STYLE}1;38;5;33m李雷{STYLE}0m: one two");
        assert_eq!(columns(&styled), "09:30 李雷: one two".width());
        assert_eq!(hanging_at_width(0, &styled, 16), styled.replace(" two", "\n    two"));
    }

    #[test]
    fn ids_are_short_unless_all_is_asked_for() {
        let id = "ab".repeat(32);
        assert_eq!(LOOK.with(|| short(&id)), "abababababab");
        assert_eq!(Look { full: true, ..LOOK }.with(|| short(&id)), id);
    }

    #[test]
    fn a_sentence_has_short_ids_as_long_as_they_differ() {
        let (one, other) = ("ab".repeat(32), format!("{}cd", "ab".repeat(31)));
        let peer = format!("12D3KooW{}", "x".repeat(44));
        let said = with_short_ids(&format!("no trade {one}: '{peer}' is fc1{one}"));
        assert_eq!(said, format!("no trade abababababab: '12D3KooWxxxx' is fc1{one}"));
        let both = format!("'abab' is {one} or {other}");
        assert_eq!(with_short_ids(&both), both);
        assert_eq!(with_short_ids("早上好, no id"), "早上好, no id");
    }

    #[test]
    fn lines_end_at_words_and_never_inside_them() {
        let text = "one two three four five six seven eight nine ten eleven";
        let shown = written(LOOK, "memo  ", text);
        assert!(shown.lines().all(|line| line.width() <= 40), "{shown}");
        assert_eq!(shown.split_whitespace().skip(1).collect::<Vec<_>>().join(" "), text);
        assert!(shown.lines().skip(1).all(|line| line.starts_with("      ")), "{shown}");
    }

    #[test]
    fn a_word_wider_than_the_screen_is_broken_and_nothing_is_lost() {
        for word in ["x".repeat(100), "李".repeat(60), "e\u{301}".repeat(90)] {
            let shown = written(LOOK, "memo ", &word);
            assert!(shown.lines().all(|line| line.width() <= 40), "{shown}");
            let letters = shown.trim_start_matches("memo ").replace([' ', '\n'], "");
            assert_eq!(letters, word);
        }
    }

    #[test]
    fn a_cut_text_keeps_whole_letters() {
        assert_eq!(fitted("yzw", 3), "yzw");
        assert_eq!(fitted("a name", 5), "a na…");
        assert_eq!(fitted("李雷李雷", 6), "李雷…");
        assert_eq!(fitted("李雷李雷", 5), "李雷…");
        assert_eq!(fitted("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}…");
    }

    #[test]
    fn a_long_head_leaves_room_for_the_text() {
        let shown = written(LOOK, &format!("{} to {}: ", "x".repeat(32), "y".repeat(32)), "hello");
        assert!(shown.contains("hello"), "{shown}");
        assert!(shown.lines().all(|line| line.width() <= 40), "{shown}");
    }
}
