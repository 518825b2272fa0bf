//! The output of a console. Each write is whole, and goes above the line that is being typed.

use std::{
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use rustyline::ExternalPrinter;

use crate::commands::bar::above_bar;

/// The writer of a console's events.
pub(super) struct Screen {
    /// Prints above the prompt. None if the output is not a terminal.
    above_prompt: Option<Mutex<Box<dyn ExternalPrinter + Send>>>,
    color: bool,
}

impl Screen {
    /// Returns the screen for a pipe or a file.
    pub(super) const fn plain() -> Self {
        Self { above_prompt: None, color: false }
    }

    /// Returns the screen for a terminal. The printer belongs to its line editor.
    pub(super) fn terminal(printer: Box<dyn ExternalPrinter + Send>, color: bool) -> Self {
        Self { above_prompt: Some(Mutex::new(printer)), color }
    }

    /// Writes an answer. The line editor must not be reading a line meanwhile.
    pub(super) fn answer(bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// Writes one line of text, as [`Screen::answer`] does.
    pub(super) fn line(text: &str) -> io::Result<()> {
        Self::answer(format!("{text}\n").as_bytes())
    }

    /// Writes the line of an event, at any time.
    pub(super) fn event(&self, line: &str) -> io::Result<()> {
        let line =
            if self.color { format!("\u{1b}[36m{line}\u{1b}[0m\n") } else { format!("{line}\n") };
        match &self.above_prompt {
            None => above_bar(|| Self::answer(line.as_bytes())),
            Some(printer) => {
                let mut printer = printer.lock().unwrap_or_else(PoisonError::into_inner);
                above_bar(|| printer.print(line)).map_err(io::Error::other)
            }
        }
    }
}
