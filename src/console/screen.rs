//! The output of a console. Each write is whole, and goes above the line that is being typed.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rustyline::ExternalPrinter;
use unicode_width::UnicodeWidthStr as _;

use crate::commands::bar::above_bar;

/// The longest wait for the last output before a console ends.
const FLUSH_PATIENCE: Duration = Duration::from_millis(500);
/// The time in which the line editor draws what it was handed.
const DRAWING: Duration = Duration::from_millis(40);

/// Output that waits above this many bytes holds back the next command.
const MUCH: usize = 1_048_576;

/// The writer of a console's answers and events.
pub(super) enum Screen {
    Pipe,
    /// A terminal without a line editor, with the prompt that is on it now.
    Plain(Mutex<Option<String>>),
    /// A terminal with a line editor. A thread of its own hands it the text.
    Editor(Arc<Gate>),
}

impl Screen {
    /// Returns the screen of a terminal without a line editor.
    pub(super) const fn plain() -> Self {
        Self::Plain(Mutex::new(None))
    }

    /// Returns the screen of a line editor, whose printer this is. `typed_width` returns the
    /// columns of the line that is being typed.
    pub(super) fn editor(
        gate: Arc<Gate>,
        printer: impl ExternalPrinter + Send + 'static,
        typed_width: impl Fn() -> usize + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::clone(&gate);
        thread::Builder::new()
            .name("console-output".to_owned())
            .spawn(move || print_all(&shared, printer, typed_width))?;
        Ok(Self::Editor(gate))
    }

    /// Writes lines, at any time. A newline is added if the last line has none.
    pub(super) fn print(&self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let newline = if text.ends_with('\n') { "" } else { "\n" };
        match self {
            Self::Pipe => above_bar(|| write(&format!("{text}{newline}"))),
            Self::Plain(prompt) => {
                let prompt = prompt.lock().unwrap_or_else(PoisonError::into_inner);
                match prompt.as_deref() {
                    None => write(&format!("{text}{newline}")),
                    Some(prompt) => write(&format!("\n{text}{newline}{prompt}")),
                }
            }
            Self::Editor(gate) => {
                let mut state = gate.lock();
                state.waiting.push_str(text);
                state.waiting.push_str(newline);
                gate.changed.notify_all();
                Ok(())
            }
        }
    }

    /// Shows or removes the prompt of a terminal that has no line editor.
    pub(super) fn prompt(&self, text: Option<&str>) -> io::Result<()> {
        let Self::Plain(prompt) = self else { return Ok(()) };
        let mut prompt = prompt.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = prompt.is_some();
        *prompt = text.map(str::to_owned);
        match text {
            Some(text) if !shown => write(text),
            _ => Ok(()),
        }
    }

    /// True if much output still waits for the terminal.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Editor(gate) if gate.lock().waiting.len() > MUCH)
    }

    /// Waits a moment until everything is on the terminal. The line editor must be reading.
    pub(super) fn flush(&self) {
        let Self::Editor(gate) = self else { return };
        let state = gate.lock();
        let pending = |state: &mut State| state.printing || !state.waiting.is_empty();
        drop(gate.changed.wait_timeout_while(state, FLUSH_PATIENCE, pending));
        thread::sleep(DRAWING);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Self::Editor(gate) = self {
            gate.lock().closed = true;
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The text that waits for the line editor, which prints only while it reads a line.
#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: String,
    reading: bool,
    printing: bool,
    /// True once the console has ended.
    closed: bool,
    /// The columns that the prompt takes.
    prompt_width: usize,
}

impl Gate {
    /// Says that the line editor begins to read a line behind a prompt.
    pub(super) fn begin_reading(&self, prompt: &str) {
        let mut state = self.lock();
        (state.reading, state.prompt_width) = (true, prompt.width());
        self.changed.notify_all();
    }

    /// Says that the line editor does not read at the moment.
    pub(super) fn end_reading(&self) {
        self.lock().reading = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The interval at which the width of the terminal is looked at.
const WIDTH_EVERY: Duration = Duration::from_millis(150);

/// Hands all text to the line editor, one piece at a time. The printer blocks while the editor does
/// not read, so that this has a thread of its own. Ends with the terminal.
fn print_all(gate: &Gate, mut printer: impl ExternalPrinter, typed_width: impl Fn() -> usize) {
    let mut columns = terminal_columns();
    loop {
        let idle = |state: &mut State| state.waiting.is_empty() || !state.reading;
        let waited = gate.changed.wait_timeout_while(gate.lock(), WIDTH_EVERY, idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return;
        }
        if !state.reading {
            continue;
        }
        let before = std::mem::replace(&mut columns, terminal_columns());
        let width = state.prompt_width.saturating_add(typed_width());
        let mut text = stale_rows(width, before, columns).map(erase_above).unwrap_or_default();
        text.push_str(&std::mem::take(&mut state.waiting));
        if text.is_empty() {
            continue;
        }
        state.printing = true;
        drop(state);
        let printed = printer.print(text);
        gate.lock().printing = false;
        gate.changed.notify_all();
        if printed.is_err() {
            return;
        }
    }
}

/// Returns the columns of the terminal, 0 if they are unknown.
fn terminal_columns() -> usize {
    #[cfg(unix)]
    return rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col.into());
    #[cfg(not(unix))]
    0
}

/// Returns the rows above the prompt that a narrower window leaves of the line being typed.
///
/// The terminal breaks the line into more rows. The line editor draws it anew, and takes away only
/// as many rows as the line had before.
fn stale_rows(width: usize, before: usize, after: usize) -> Option<usize> {
    let rows = |columns: usize| width.checked_div(columns);
    rows(after)?.checked_sub(rows(before)?).filter(|rows| *rows > 0)
}

/// Returns the text that takes rows above the prompt away. The line editor ends it with a newline.
fn erase_above(rows: usize) -> String {
    format!("\u{1b}[{}A\u{1b}[J\n", rows.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrower_window_leaves_rows_of_the_line_and_a_wider_one_none() {
        assert_eq!(stale_rows(79, 80, 40), Some(1));
        assert_eq!(stale_rows(79, 80, 20), Some(3));
        assert_eq!(stale_rows(79, 40, 80), None);
        assert_eq!(stale_rows(10, 80, 40), None);
        assert_eq!(stale_rows(10, 0, 40), None, "an unknown width");
    }
}
