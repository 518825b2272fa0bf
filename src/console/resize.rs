//! Cleans up after the typed line when the window becomes narrower.
//!
//! The terminal breaks the line into more rows. The line editor redraws it, but clears only as many
//! rows as it had before. This module clears the remaining rows above.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use unicode_width::UnicodeWidthStr as _;

/// The line as last drawn by the editor, shared by the editor and the screen.
#[derive(Debug, Clone, Default)]
pub(super) struct Drawn(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    prompt_width: usize,
    /// The columns of the typed text.
    typed_width: usize,
    /// The columns of the terminal at that time.
    columns: usize,
    /// Rows above the line that remain of an earlier drawing.
    stale: usize,
}

impl Drawn {
    /// Begins a line after a prompt.
    pub(super) fn begin(&self, prompt: &str) {
        let mut state = self.lock();
        *state = State { prompt_width: prompt.width(), ..State::default() };
    }

    /// Records that the editor draws the line.
    pub(super) fn draw(&self, typed: &str) {
        self.lock().draw(typed, terminal_columns());
    }

    /// Returns a text that clears the remaining rows. The line editor prints it above its line.
    ///
    /// Each row is cleared separately: when a whole screen is cleared at once, some terminals keep
    /// its rows in their history. The text has to end with a newline, so it goes up one row more.
    pub(super) fn erase(&self) -> Option<String> {
        let rows = std::mem::take(&mut self.lock().stale);
        (rows > 0).then(|| format!("{}\u{1b}[A\n", "\u{1b}[A\r\u{1b}[K".repeat(rows)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn draw(&mut self, typed: &str, columns: usize) {
        if columns != self.columns {
            // The line is unchanged, so the editor draws it because the window changed.
            let width = self.prompt_width.saturating_add(self.typed_width);
            let rows = |columns: usize| width.checked_div(columns);
            if let (Some(now), Some(before)) = (rows(columns), rows(self.columns)) {
                self.stale = self.stale.saturating_add(now.saturating_sub(before));
            }
        }
        (self.columns, self.typed_width) = (columns, typed.width());
    }
}

/// Returns the columns of the terminal, 0 if they are unknown.
fn terminal_columns() -> usize {
    #[cfg(unix)]
    return rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col.into());
    #[cfg(not(unix))]
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrower_window_leaves_rows_of_the_line_and_a_wider_one_none() {
        let mut state = State { prompt_width: 5, ..State::default() };
        let line = "x".repeat(74);
        state.draw("", 80);
        state.draw(&line, 80);
        assert_eq!(state.stale, 0, "typing leaves nothing");
        state.draw(&line, 40);
        state.draw(&line, 20);
        assert_eq!(state.stale, 3, "one row at 40 columns, and two more at 20");
        state.draw(&line, 100);
        assert_eq!(state.stale, 3);
    }
}
