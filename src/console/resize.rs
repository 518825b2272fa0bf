//! The size of the terminal, and the line in the editor.

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

    /// Returns the columns of the screen, or the usual number if the terminal reports none.
    pub(super) fn width(self) -> usize {
        if self.columns == 0 { self.text_width() } else { self.columns }
    }

    /// Returns the width to which the text of commands is fitted.
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
    /// The columns of the screen at the last drawing; 0 before the first one.
    columns: usize,
    /// True if the screen had another width at the drawing before. The editor does not know how
    /// the terminal has broken the line anew, and may have cleared other rows than its own.
    is_torn: bool,
}

impl Drawn {
    /// Begins a line after a prompt.
    pub(super) fn begin(&self, prompt: &str) {
        let mut state = self.lock();
        prompt.clone_into(&mut state.prompt);
        state.typed.clear();
    }

    /// Records that the editor draws the line, which shows this text, on a screen of this width.
    pub(super) fn draw(&self, typed: &str, columns: usize) {
        let mut state = self.lock();
        typed.clone_into(&mut state.typed);
        let before = std::mem::replace(&mut state.columns, columns);
        state.is_torn |= before != 0 && before != columns;
    }

    /// True if the width has changed between two drawings, since the last call.
    pub(super) fn take_torn(&self) -> bool {
        std::mem::take(&mut self.lock().is_torn)
    }

    /// Returns the line as it is shown, with its prompt.
    pub(super) fn line(&self) -> String {
        let state = self.lock();
        format!("{}{}", state.prompt, state.typed)
    }

    /// Returns the line's rows on a screen of this width.
    pub(super) fn rows(&self, columns: usize) -> usize {
        self.line().width().checked_div(columns).unwrap_or_default().saturating_add(1)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_width_that_changes_and_changes_back_tears_the_screen_once() {
        let drawn = Drawn::default();
        drawn.begin("yzw> ");
        for columns in [80, 80] {
            drawn.draw("hello", columns);
            assert!(!drawn.take_torn());
        }
        drawn.draw("hello", 120);
        drawn.draw("hello", 80);
        assert!(drawn.take_torn() && !drawn.take_torn());
        drawn.begin("yzw> ");
        drawn.draw("", 80);
        assert!(!drawn.take_torn(), "a new line is no change");
    }
}
