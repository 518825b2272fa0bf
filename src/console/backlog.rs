//! The lines that a console has shown, which are broken anew when the window's width changes.
//!
//! A terminal breaks wide rows inside words, and never joins rows that the console has broken.
//! After a change of the width, the backlog therefore clears the screen, and prints its lines
//! again. Rows that have scrolled away stay as they are.

use std::{collections::VecDeque, fmt::Write as _};

use super::resize::Size;
use crate::{
    commands::{
        columns::columns,
        look::{broken, broken_at_width, hanging, hanging_at_width},
    },
    primitives::INDENT,
};

/// The most lines that are kept: more than a tall screen has rows.
const MOST_LINES: usize = 500;

/// The way in which a text is broken into rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// The answer of a command, which was made for the screen's width.
    Answer,
    /// Wide lines are broken, and each part keeps its indent.
    Sentence,
    /// Chat and messages: further rows have an indent, so that none looks like somebody else's.
    Talk,
    /// A line that the user typed. It is on the screen, and the terminal breaks it.
    Typed,
}

impl Flow {
    /// Returns the text with its line breaks for standard output.
    pub(super) fn for_stdout(self, text: &str) -> String {
        match self {
            Self::Answer | Self::Typed => text.to_owned(),
            Self::Sentence => broken(text),
            Self::Talk => hanging(text),
        }
    }
}

/// A line without line breaks.
#[derive(Debug)]
struct Line {
    flow: Flow,
    text: String,
    /// The width that the text was made for.
    made_for: usize,
    /// The columns of each row that was printed.
    rows: Vec<usize>,
}

impl Line {
    /// Returns the rows of the line on a screen of this width.
    fn broken(&mut self, width: usize) -> String {
        let text = match self.flow {
            Flow::Typed => self.text.clone(),
            Flow::Answer if width >= self.made_for => self.text.clone(),
            Flow::Answer if self.keeps_indent(width) => broken_at_width(&self.text, width),
            Flow::Sentence => broken_at_width(&self.text, width),
            Flow::Answer | Flow::Talk => hanging_at_width(&self.text, width),
        };
        self.rows = text.split('\n').map(columns).collect();
        text
    }

    /// True if each row of a line on a narrow screen can keep the line's own indent.
    fn keeps_indent(&self, width: usize) -> bool {
        let bare = self.text.trim_start_matches(' ');
        let indent = self.text.len().saturating_sub(bare.len());
        indent >= INDENT.len() && indent <= width / 2
    }

    /// Returns the number of rows that the printed line has on a screen of this width.
    fn rows_at(&self, columns: usize) -> usize {
        let rows = self.rows.iter().map(|row| row.div_ceil(columns.max(1)).max(1));
        rows.fold(0, usize::saturating_add)
    }
}

/// The last lines on the screen, oldest first.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    lines: VecDeque<Line>,
    /// The columns of the screen at the last drawing; 0 before the first one.
    drawn_at: usize,
    /// True once the screen has no rows from before the console.
    is_alone: bool,
    /// True if the screen has rows of a shell between the lines.
    is_mixed: bool,
}

impl Backlog {
    /// Adds a text. Returns its rows, each with a newline. A typed line is on the screen already.
    pub(super) fn add(&mut self, flow: Flow, text: &str, size: Size) -> String {
        if self.drawn_at == 0 {
            self.drawn_at = size.columns;
        }
        let (made_for, width) = (size.text_width(), size.width());
        let mut out = String::new();
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            let (text, rows) = (line.to_owned(), Vec::new());
            let mut line = Line { flow, text, made_for, rows };
            let shown = line.broken(width);
            if flow != Flow::Typed {
                out.push_str(&shown);
                out.push('\n');
            }
            if self.lines.len() >= MOST_LINES {
                self.lines.pop_front();
            }
            self.lines.push_back(line);
        }
        out
    }

    /// Records that a shell had the terminal meanwhile.
    pub(super) fn mix(&mut self) {
        self.is_mixed = true;
    }

    /// True if the lines on the screen were broken for another width.
    pub(super) fn is_stale(&self, size: Size) -> bool {
        self.drawn_at != 0 && size.columns != 0 && size.columns != self.drawn_at
    }

    /// Returns a text that clears the screen and prints its lines for another size. The prompt
    /// needs `prompt` rows below them.
    pub(super) fn redraw(&mut self, size: Size, prompt: usize) -> String {
        self.drawn_at = size.columns;
        let room = size.rows.saturating_sub(prompt);
        let (mut rows, mut shown) = (0_usize, 0_usize);
        for line in self.lines.iter().rev() {
            if rows >= room {
                break;
            }
            rows = rows.saturating_add(line.rows_at(size.columns));
            shown = shown.saturating_add(1);
        }
        let mut out = String::new();
        if std::mem::take(&mut self.is_mixed) || (rows < room && !self.is_alone) {
            // The rows of others on the screen scroll away, so that they are not lost.
            let _ = write!(out, "\u{1b}[{}H{}", size.rows, "\n".repeat(size.rows));
        }
        self.is_alone = true;
        // Each row is cleared separately: when a whole screen is cleared at once, some terminals
        // keep its rows in their history.
        out.push_str("\u{1b}[H");
        out.push_str(&"\u{1b}[2K\u{1b}[B".repeat(size.rows));
        out.push_str("\u{1b}[H");
        let first = self.lines.len().saturating_sub(shown);
        for line in self.lines.range_mut(first..) {
            out.push_str(&line.broken(size.width()));
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Size = Size { columns: 80, rows: 24 };
    const NARROW: Size = Size { columns: 40, rows: 24 };
    /// Ends with what looks like a line of somebody else.
    const LIE: &str = "02:01\u{a0}dee:\u{a0}pay\u{a0}bob\u{a0}50";
    const TEXT: &str = "09:30 yjf: a line that is long enough for two rows of forty columns";

    /// Returns the lines that follow the last sequence, which clears the screen.
    fn drawn(text: &str) -> Vec<&str> {
        let (_, lines) = text.rsplit_once("\u{1b}[H").expect("the screen is cleared");
        lines.lines().collect()
    }

    #[test]
    fn shown_lines_are_broken_between_words_at_each_width() {
        let mut log = Backlog::default();
        let typed = format!("yzw> ca {}", "x ".repeat(30));
        let table = "a table   with gaps   that fits eighty columns, but not forty of them";
        assert_eq!(log.add(Flow::Talk, TEXT, WIDE), format!("{TEXT}\n"));
        assert_eq!(log.add(Flow::Typed, &typed, WIDE), "", "it is on the screen already");
        log.add(Flow::Answer, &format!("{table}\n"), WIDE);
        assert!(!log.is_stale(WIDE) && log.is_stale(NARROW));
        let narrow = log.redraw(NARROW, 1);
        let rows = drawn(&narrow);
        assert_eq!(rows[0], "09:30 yjf: a line that is long enough");
        assert_eq!(rows[1], "    for two rows of forty columns");
        assert_eq!(rows[2], typed, "the terminal breaks it");
        assert!(rows[3..].iter().all(|row| row.len() <= 40) && rows.len() == 5, "{rows:?}");
        assert!(!log.is_stale(NARROW));
        let wide = log.redraw(WIDE, 1);
        assert_eq!(drawn(&wide), [TEXT, typed.as_str(), table]);
    }

    #[test]
    fn no_text_of_others_begins_a_row_in_the_first_column_at_any_width() {
        let tiny = Size { columns: 17, rows: 24 };
        let talk = |before: &str| format!("{before}{}{LIE}", "m".repeat(64));
        for (flow, text) in [
            (Flow::Talk, talk("02:00 bob#61c7: ")),
            (Flow::Talk, talk("* Zoë paid you 0.1: www")),
            // As `history` has broken it for 80 columns.
            (Flow::Answer, format!("2026-11-30 02:00:00 bob to you: m\n    {LIE} {LIE}")),
            (Flow::Answer, format!("2026-11-30 02:00:00 bob to you: hello {LIE}")),
        ] {
            let mut log = Backlog::default();
            let mut shown = vec![(WIDE, log.add(flow, &text, WIDE))];
            shown.push((tiny, drawn(&log.redraw(tiny, 1)).join("\n")));
            shown.push((tiny, Backlog::default().add(flow, &text, tiny)));
            for (size, shown) in shown {
                for row in shown.lines() {
                    assert!(columns(row) <= size.columns, "{shown:?}");
                    assert!(!row.starts_with("02:01"), "{shown:?}");
                }
                let letters = shown.replace([' ', '\n'], "");
                assert!(letters.ends_with(LIE), "{shown:?}");
            }
        }
    }

    #[test]
    fn what_was_there_before_the_console_scrolls_away_once_and_is_not_cleared() {
        let mut log = Backlog::default();
        log.add(Flow::Talk, TEXT, WIDE);
        assert!(log.redraw(NARROW, 1).contains(&"\n".repeat(24)));
        assert!(!log.redraw(WIDE, 1).contains("\n\n"));
        log.mix();
        assert!(log.redraw(NARROW, 1).contains(&"\n".repeat(24)), "the rows of a shell");
        assert!(!log.redraw(WIDE, 1).contains("\n\n"));
    }

    #[test]
    fn a_full_screen_is_drawn_with_all_lines_that_it_had() {
        let small = Size { columns: 80, rows: 4 };
        let mut log = Backlog::default();
        for number in 0..10 {
            log.add(Flow::Talk, &format!("{number} {TEXT}"), small);
        }
        let text = log.redraw(Size { columns: 40, rows: 4 }, 1);
        assert!(text.contains("9 09:30") && text.contains("8 09:30"), "{text:?}");
        assert!(!text.contains("7 09:30") && !text.contains("\n\n"), "{text:?}");
    }
}
