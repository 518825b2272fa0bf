//! The format of text for people: screen width, short ids, and line breaks between words.
//!
//! A [`Look`] belongs to the running command: all its output has the same one. JSON has none.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use terminal_size::{Width, terminal_size_of};
use unicode_width::UnicodeWidthStr as _;

use super::columns::{WIDEST, most_columns, split_at_columns, split_first};
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
    if most_columns(text) <= width {
        return text.to_owned();
    }
    let (cut, _) = split_at_columns(text, width.saturating_sub(1));
    format!("{}{ELLIPSIS}", cut.trim_end())
}

/// Breaks a text into lines of at most `width` columns, between words. A word that is wider than a
/// line is broken where the line ends.
pub(crate) fn lines(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    let width = width.max(1);
    for word in text.split(' ') {
        let gap = usize::from(!line.is_empty());
        let needed = most_columns(&line).saturating_add(gap).saturating_add(most_columns(word));
        if needed <= width {
            line.extend(std::iter::repeat_n(' ', gap));
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        let mut rest = word;
        while most_columns(rest) > width {
            let (part, after) = split_at_columns(rest, width);
            let (part, after) = if part.is_empty() { split_first(rest) } else { (part, after) };
            lines.push(part.to_owned());
            rest = after;
        }
        rest.clone_into(&mut line);
    }
    lines.push(line);
    lines
}

/// Writes a head and a text. Further lines are indented to the text's column.
pub(crate) fn write_hanging(out: &mut dyn Write, head: &str, text: &str) -> io::Result<()> {
    let look = Look::current();
    let indent = head.width();
    if look.full || indent.saturating_add(most_columns(text)) <= look.width {
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

/// The treatment of words that are wider than a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LongWords {
    /// The terminal breaks them, so that a link or an invite can be copied.
    Whole,
    /// They are broken where the line ends.
    Broken,
}

/// Returns an answer whose lines are broken between words, if standard output is a terminal.
/// Further rows follow [`INDENT`], and a wide word stays whole.
pub(super) fn hanging_answer(text: &str) -> String {
    let look = Look::current();
    if look.breaks_sentences && !look.full {
        hung(text, look.width, LongWords::Whole)
    } else {
        text.to_owned()
    }
}

/// Returns a text of others whose lines are broken between words, if standard output is a terminal.
/// Further rows follow [`INDENT`].
///
/// A word wider than a line is broken where the line ends. If the terminal broke it, its rest would
/// begin in the first column and could imitate a line of somebody else.
pub(crate) fn hanging(text: &str) -> String {
    let look = Look::current();
    if look.breaks_sentences { hanging_at_width(text, look.width) } else { text.to_owned() }
}

/// Does the same as [`hanging`], for a screen of `width` columns.
pub(crate) fn hanging_at_width(text: &str, width: usize) -> String {
    hung(text, width.max(INDENT.len().saturating_add(WIDEST)), LongWords::Broken)
}

/// Breaks the lines of a text between words. Further rows follow [`INDENT`].
fn hung(text: &str, width: usize, long: LongWords) -> String {
    let mut out = String::new();
    let mut column: usize = 0;
    for (at, line) in text.split('\n').enumerate() {
        if at > 0 {
            out.push('\n');
            column = 0;
        }
        for (at, word) in line.split(' ').enumerate() {
            let gap = usize::from(at > 0);
            let end = column.saturating_add(gap).saturating_add(most_columns(word));
            // A break right after the indent would gain nothing.
            if gap > 0 && end > width && column > INDENT.len() {
                column = begin_row(&mut out);
            } else {
                out.extend(std::iter::repeat_n(' ', gap));
                column = column.saturating_add(gap);
            }
            column = match long {
                LongWords::Broken => push_broken(&mut out, word, column, width),
                LongWords::Whole => {
                    out.push_str(word);
                    column.saturating_add(most_columns(word))
                }
            };
        }
    }
    out
}

/// Begins a further row. Returns the column after its indent.
fn begin_row(out: &mut String) -> usize {
    out.push('\n');
    out.push_str(INDENT);
    INDENT.len()
}

/// Appends a word after `column` columns, broken where a row ends. Returns the column after it.
fn push_broken(out: &mut String, word: &str, mut column: usize, width: usize) -> usize {
    let mut rest = word;
    while column.saturating_add(most_columns(rest)) > width {
        let (part, after) = split_at_columns(rest, width.saturating_sub(column));
        let is_full = column > INDENT.len() || !part.is_empty();
        let (part, after) = if is_full { (part, after) } else { split_first(rest) };
        out.push_str(part);
        column = begin_row(out);
        rest = after;
    }
    out.push_str(rest);
    column.saturating_add(most_columns(rest))
}

/// Does the same as [`broken`], for a screen of `width` columns.
pub(crate) fn broken_at_width(text: &str, width: usize) -> String {
    let mut out = Vec::new();
    for line in text.split('\n') {
        let bare = line.trim_start_matches(' ');
        let indent = line.get(..line.len().saturating_sub(bare.len())).unwrap_or_default();
        if most_columns(line) <= width || indent.len() >= width {
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
    use crate::commands::columns::STYLE;

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
    fn a_chat_line_is_broken_between_words_and_a_long_word_where_the_row_ends() {
        let after = |head, text: &str, width, long| {
            let head = "x".repeat(head);
            let shown = hung(&format!("{head}{text}"), width, long);
            shown.strip_prefix(&head).expect("the head comes first").to_owned()
        };
        let told = |head, text: &str, width| after(head, text, width, LongWords::Broken);
        assert_eq!(told(11, "one two three", 15), "one\n    two three");
        assert_eq!(told(3, "a\n    b c d e f g", 11), "a\n    b c d e\n    f g");
        let link = "x".repeat(30);
        let text = format!("see {link} there");
        let (start, end) = link.split_at(16);
        assert_eq!(told(6, &text, 20), format!("see\n    {start}\n    {end}\n    there"));
        let whole = format!("see\n    {link}\n    there");
        assert_eq!(after(6, &text, 20, LongWords::Whole), whole, "an invite can be copied");
        assert_eq!(told(5, "  as  it is", 20), "  as  it is");
        assert_eq!(told(5, "a\tb c", 15), "a\tb\n    c");
        assert_eq!(told(5, "李雷 李雷 李雷", 15), "李雷 李雷\n    李雷");
        let styled = format!("{STYLE}2m09:30{STYLE}0m {STYLE}1;38;5;33m李雷{STYLE}0m: one two");
        assert_eq!(hanging_at_width(&styled, 16), styled.replace(" two", "\n    two"));
    }

    /// Blanks that end no word, and characters that terminals show with different widths.
    const FILLERS: [char; 12] = [
        'm', '李', '\u{a0}', '\u{2007}', '\u{202f}', '\u{2800}', '\u{3164}', '\u{ffa0}',
        '\u{115f}', '\u{ad}', '\u{200b}', '\t',
    ];

    #[test]
    fn no_text_begins_a_row_in_the_first_column() {
        let lie = "02:01\u{a0}dee:\u{a0}pay\u{a0}bob\u{a0}50";
        for width in [6, 20, 40, 80] {
            for filler in FILLERS {
                for count in 0..2 * width {
                    let run: String = std::iter::repeat_n(filler, count).collect();
                    let shown = hanging_at_width(&format!("02:00 eve: {run}{lie}"), width);
                    let mut rows = shown.lines();
                    let first = rows.next().expect("a row");
                    assert!(first.starts_with("02:00 "[..width.min(6)].trim_end()), "{shown}");
                    assert!(rows.all(|row| row.starts_with(INDENT)), "{shown}");
                    let fits = |row: &str| filler == '\t' || most_columns(row) <= width;
                    assert!(shown.lines().all(fits), "{width} columns, {filler:?}:\n{shown}");
                    let letters = |text: &str| text.replace([' ', '\n'], "");
                    assert_eq!(letters(&shown), letters(&format!("02:00 eve: {run}{lie}")));
                }
            }
        }
    }

    #[test]
    fn a_style_is_never_cut_in_two() {
        let styled = format!("{STYLE}2m{}{STYLE}0m", "x".repeat(90));
        let shown = hanging_at_width(&styled, 40);
        assert!(shown.starts_with(&format!("{STYLE}2m{}\n    x", "x".repeat(40))), "{shown:?}");
        assert!(shown.ends_with(&format!("x{STYLE}0m")), "{shown:?}");
        assert_eq!(shown.lines().count(), 3);
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
