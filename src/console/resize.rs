//! The line in the editor, and the rows that a change of the window's width leaves of it.
//!
//! When the window becomes narrower, the terminal breaks the line into more rows, but the line
//! editor clears only as many rows as it had before. When the window becomes wider, the editor
//! clears more rows than the line has.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use terminal_size::{Height, Width, terminal_size_of};
use unicode_width::UnicodeWidthStr as _;

use crate::commands::look::width_of;

/// The columns and rows of the terminal; 0 if they are unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Size {
    /// Returns the size of the terminal at standard output.
    pub(super) fn of_stdout() -> Self {
        let (Width(columns), Height(rows)) =
            terminal_size_of(io::stdout()).unwrap_or((Width(0), Height(0)));
        Self { columns: columns.into(), rows: rows.into() }
    }

    /// Returns the width to which text is fitted.
    pub(super) fn text_width(self) -> usize {
        let columns = u16::try_from(self.columns).unwrap_or(u16::MAX);
        width_of(Some((Width(columns), Height(0))))
    }
}

/// The line as last drawn by the editor, shared by the editor and the screen.
#[derive(Debug, Clone, Default)]
pub(super) struct Drawn(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    prompt: String,
    /// The typed text as it is shown.
    typed: String,
    /// The columns of the terminal when the editor drew the line.
    columns: usize,
    /// Rows above the line that remain of an earlier drawing. Negative if the editor has cleared
    /// rows above the line.
    above: isize,
    /// True if the editor may have printed rows of its own, such as a list of completions.
    has_lists: bool,
}

impl Drawn {
    /// Begins a line after a prompt.
    pub(super) fn begin(&self, prompt: &str) {
        let mut state = self.lock();
        let has_lists = state.has_lists;
        *state = State { prompt: prompt.to_owned(), has_lists, ..State::default() };
    }

    /// Records that the editor draws the line, which shows this text.
    pub(super) fn draw(&self, typed: &str) {
        self.lock().draw(typed, Size::of_stdout().columns);
    }

    /// Records that the editor may list completions below the line.
    pub(super) fn lists(&self) {
        self.lock().has_lists = true;
    }

    /// Returns the line as it is shown, with its prompt.
    pub(super) fn line(&self) -> String {
        let state = self.lock();
        format!("{}{}", state.prompt, state.typed)
    }

    /// Returns the line's rows on a screen of this width, the rows above it that remain of an
    /// earlier drawing, and whether the screen has no rows of the editor's own. The caller clears
    /// the rows above.
    pub(super) fn take(&self, columns: usize) -> (usize, isize, bool) {
        let mut state = self.lock();
        let rows = state.width().checked_div(columns).unwrap_or_default();
        (rows.saturating_add(1), std::mem::take(&mut state.above), !state.has_lists)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn width(&self) -> usize {
        self.prompt.width().saturating_add(self.typed.width())
    }

    fn draw(&mut self, typed: &str, columns: usize) {
        if columns != self.columns {
            // The line is unchanged, so the editor draws it because the window changed.
            let rows = |columns: usize| {
                let rows = self.width().checked_div(columns)?;
                isize::try_from(rows).ok()
            };
            if let (Some(now), Some(before)) = (rows(columns), rows(self.columns)) {
                self.above = self.above.saturating_add(now.saturating_sub(before));
            }
        }
        self.columns = columns;
        typed.clone_into(&mut self.typed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrower_window_leaves_rows_of_the_line_and_a_wider_one_loses_rows_above_it() {
        let mut state = State { prompt: "yzw> ".to_owned(), ..State::default() };
        let line = "x".repeat(74);
        state.draw("", 80);
        state.draw(&line, 80);
        assert_eq!(state.above, 0, "typing leaves nothing");
        state.draw(&line, 40);
        state.draw(&line, 20);
        assert_eq!(state.above, 3, "one row at 40 columns, and two more at 20");
        state.above = 0;
        state.draw(&line, 100);
        assert_eq!(state.above, -3);
    }
}
