//! Where a console writes: whole pieces at a time, above the line being typed when there is one.

use std::{
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use rustyline::ExternalPrinter;

use crate::cli::logging::above_bar;

/// The output of one console.
pub(crate) struct Screen {
    /// On a terminal: prints above the prompt.
    above_prompt: Option<Mutex<Box<dyn ExternalPrinter + Send>>>,
    color: bool,
}

impl Screen {
    /// A pipe, or a file.
    pub(crate) const fn plain(color: bool) -> Self {
        Self { above_prompt: None, color }
    }

    /// A terminal whose line editor gave this printer.
    pub(crate) fn terminal(printer: Box<dyn ExternalPrinter + Send>, color: bool) -> Self {
        Self { above_prompt: Some(Mutex::new(printer)), color }
    }

    /// An answer, while no line is being typed.
    pub(crate) fn answer(bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// An answer of one piece of text.
    pub(crate) fn say(text: &str) -> io::Result<()> {
        Self::answer(format!("{text}\n").as_bytes())
    }

    /// An event: it may come at any time.
    pub(crate) fn event(&self, line: &str) -> io::Result<()> {
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
