//! The lines that a console has shown, which are broken anew when the window's width changes.
//!
//! A terminal breaks wide rows inside words, and never joins rows that the console has broken.
//! After a change of the width, the backlog therefore clears the rows that it knows on the screen,
//! and prints their lines again. Rows that have scrolled away stay as they are.

use std::collections::VecDeque;

use super::resize::Size;
use crate::commands::look::{broken, broken_at_width, columns, hanging, hanging_at_width};

/// The most lines that are kept: more than a tall screen has rows.
const MOST_LINES: usize = 500;

/// The way in which a text is broken into rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// The answer of a command, which was made for the screen's width.
    Answer,
    /// Wide lines are broken, and each part keeps its indent.
    Sentence,
    /// Chat and messages: further rows have an indent, and a link stays whole.
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
            Self::Talk => hanging(0, text),
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
    /// Returns the rows of the line on a screen to which text of this width fits.
    fn broken(&mut self, width: usize) -> String {
        let text = match self.flow {
            Flow::Typed => self.text.clone(),
            Flow::Answer if width >= self.made_for => self.text.clone(),
            Flow::Answer | Flow::Sentence => broken_at_width(&self.text, width),
            Flow::Talk => hanging_at_width(0, &self.text, width),
        };
        self.rows = text.split('\n').map(columns).collect();
        text
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
}

impl Backlog {
    /// Adds a text. Returns its rows, each with a newline. A typed line is on the screen already.
    pub(super) fn add(&mut self, flow: Flow, text: &str, size: Size) -> String {
        if self.drawn_at == 0 {
            self.drawn_at = size.columns;
        }
        let width = size.text_width();
        let mut out = String::new();
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            let (text, rows) = (line.to_owned(), Vec::new());
            let mut line = Line { flow, text, made_for: width, rows };
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

    /// True if the lines on the screen were broken for another width.
    pub(super) fn is_stale(&self, size: Size) -> bool {
        self.drawn_at != 0 && size.columns != 0 && size.columns != self.drawn_at
    }

    /// Returns a text that clears the lines on the screen and prints them for another width. The
    /// cursor is `above` rows below the last of them, and the prompt needs `prompt` rows.
    ///
    /// `is_alone` is false if there may be rows between them that are not in the backlog. They are
    /// then drawn again only if they fill the screen.
    pub(super) fn redraw(
        &mut self,
        size: Size,
        prompt: usize,
        above: isize,
        is_alone: bool,
    ) -> String {
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
        let (rows, shown) = if rows >= room {
            (size.rows, shown)
        } else if is_alone {
            (rows.saturating_add_signed(above), shown)
        } else {
            (0_usize.saturating_add_signed(above), 0)
        };
        // Each row is cleared separately: when a whole screen is cleared at once, some terminals
        // keep its rows in their history.
        let mut out = up(rows);
        out.push_str(&"\u{1b}[2K\u{1b}[B".repeat(rows));
        out.push_str(&up(rows));
        if shown == 0 {
            // The line editor needs a text that ends with a newline.
            out.push_str("\u{1b}[A\n");
        }
        let first = self.lines.len().saturating_sub(shown);
        for line in self.lines.range_mut(first..) {
            out.push_str(&line.broken(size.text_width()));
            out.push('\n');
        }
        out
    }
}

/// Returns a sequence that moves the cursor up, at most to the first row, and to the first column.
fn up(rows: usize) -> String {
    if rows == 0 { "\r".to_owned() } else { format!("\u{1b}[{rows}A\r") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Size = Size { columns: 80, rows: 24 };
    const NARROW: Size = Size { columns: 40, rows: 24 };
    const TEXT: &str = "09:30 yjf: a line that is long enough for two rows of forty columns";

    /// Applies what `redraw` returns to the rows of a screen. The cursor is below the last one.
    fn redrawn(mut rows: Vec<String>, text: &str) -> Vec<String> {
        let mut at = rows.len();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if let Some(sequence) = rest.strip_prefix("\u{1b}[") {
                let end = sequence.find(char::is_alphabetic).expect("a letter");
                let (number, letter) = (&sequence[..end], &sequence[end..=end]);
                rest = &sequence[end + 1..];
                match letter {
                    "A" => at = at.saturating_sub(number.parse().unwrap_or(1)),
                    "B" => at += 1,
                    "K" => rows.get_mut(at).into_iter().for_each(String::clear),
                    other => panic!("{other}"),
                }
                continue;
            }
            rest = &rest[c.len_utf8()..];
            rows.resize(rows.len().max(at + 1), String::new());
            match c {
                '\n' => at += 1,
                '\r' => {}
                c => rows[at].push(c),
            }
        }
        rows.truncate(at);
        rows
    }

    /// Returns the rows as a terminal breaks them again.
    fn reflowed(rows: &[String], columns: usize) -> Vec<String> {
        let row = |row: &String| {
            let chars: Vec<char> = row.chars().collect();
            let parts = chars.chunks(columns).map(|part| part.iter().collect());
            if chars.is_empty() { vec![String::new()] } else { parts.collect::<Vec<String>>() }
        };
        rows.iter().flat_map(row).collect()
    }

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn shown_lines_are_broken_between_words_at_each_width() {
        let mut log = Backlog::default();
        let mut rows = vec!["$ friendchain console".to_owned()];
        rows.extend(lines(&log.add(Flow::Talk, TEXT, WIDE)));
        assert_eq!(log.add(Flow::Typed, &format!("yzw> ca {}", "x ".repeat(30)), WIDE), "");
        rows.push(format!("yzw> ca {}", "x ".repeat(30)));
        rows.extend(lines(&log.add(Flow::Answer, "a table  with gaps", WIDE)));
        assert!(!log.is_stale(WIDE) && log.is_stale(NARROW));
        let before = rows.clone();
        let narrow = redrawn(reflowed(&rows, 40), &log.redraw(NARROW, 1, 0, true));
        assert_eq!(narrow[0], before[0], "what was there before the console stays");
        assert_eq!(narrow[1], "09:30 yjf: a line that is long enough");
        assert_eq!(narrow[2], "    for two rows of forty columns");
        assert_eq!(narrow.last().expect("rows"), "a table  with gaps");
        assert!(!log.is_stale(NARROW));
        // The terminal joins the row that it has broken itself, and no other.
        let typed = before[2].clone();
        let mut joined = narrow[..3].to_vec();
        joined.extend([typed, "a table  with gaps".to_owned()]);
        assert_eq!(redrawn(joined, &log.redraw(WIDE, 1, 0, true)), before);
    }

    #[test]
    fn a_full_screen_is_drawn_whole_and_no_line_of_it_is_lost() {
        let small = Size { columns: 80, rows: 4 };
        let mut log = Backlog::default();
        for number in 0..10 {
            log.add(Flow::Talk, &format!("{number} {TEXT}"), small);
        }
        let text = log.redraw(Size { columns: 40, rows: 4 }, 1, 0, false);
        assert!(text.starts_with("\u{1b}[4A\r"), "{text:?}");
        assert!(text.contains("9 09:30") && text.contains("8 09:30"), "{text:?}");
        assert!(!text.contains("7 09:30"), "it has scrolled away: {text:?}");
    }

    #[test]
    fn rows_of_others_are_not_cleared_and_leftovers_of_the_typed_line_are() {
        let mut log = Backlog::default();
        log.add(Flow::Talk, TEXT, WIDE);
        let text = log.redraw(NARROW, 1, 2, false);
        assert!(text.starts_with("\u{1b}[2A") && !text.contains("yjf"), "{text:?}");
        let text = log.redraw(WIDE, 1, -1, true);
        assert!(text.starts_with('\r') && text.ends_with("columns\n"), "{text:?}");
    }
}
