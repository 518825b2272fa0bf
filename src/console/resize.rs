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
}

impl Drawn {
    /// Begins a line after a prompt.
    pub(super) fn begin(&self, prompt: &str) {
        *self.lock() = State { prompt: prompt.to_owned(), typed: String::new() };
    }

    /// Records that the editor draws the line, which shows this text.
    pub(super) fn draw(&self, typed: &str) {
        typed.clone_into(&mut self.lock().typed);
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
