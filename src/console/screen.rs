//! The output of a console. Each write appears as a whole, above the line that is being typed.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rustyline::ExternalPrinter;

use super::{
    backlog::{Backlog, Flow},
    resize::{Drawn, Size},
};
use crate::commands::bar::above_bar;

/// The longest wait for the last output before a console ends.
const FLUSH_PATIENCE: Duration = Duration::from_millis(500);
/// The time in which the line editor draws the text that it received.
const DRAWING: Duration = Duration::from_millis(40);

/// If more bytes than this wait for the terminal, the next command has to wait.
const MUCH: usize = 1_048_576;

/// The writer of a console's answers and events.
pub(super) enum Screen {
    Pipe,
    /// A terminal without a line editor, with the prompt that it shows now.
    Plain(Mutex<Option<String>>),
    /// A terminal with a line editor. A separate thread passes it the text.
    Editor(Arc<Gate>),
}

impl Screen {
    /// Returns the screen of a terminal without a line editor.
    pub(super) const fn plain() -> Self {
        Self::Plain(Mutex::new(None))
    }

    /// Returns the screen of a line editor with its printer and its line.
    pub(super) fn editor(
        gate: Arc<Gate>,
        printer: impl ExternalPrinter + Send + 'static,
        drawn: Drawn,
    ) -> io::Result<Self> {
        gate.lock().drawn = drawn.clone();
        let shared = Arc::clone(&gate);
        thread::Builder::new()
            .name("console-output".to_owned())
            .spawn(move || print_all(&shared, printer, &drawn))?;
        Ok(Self::Editor(gate))
    }

    /// Writes lines, at any time, broken as their flow says. A newline is added if the last line
    /// has none.
    pub(super) fn print(&self, flow: Flow, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let newline = if text.ends_with('\n') { "" } else { "\n" };
        match self {
            Self::Pipe => above_bar(|| write(&format!("{text}{newline}"))),
            Self::Plain(prompt) => {
                let text = flow.for_stdout(text);
                let prompt = prompt.lock().unwrap_or_else(PoisonError::into_inner);
                match prompt.as_deref() {
                    None => write(&format!("{text}{newline}")),
                    Some(prompt) => write(&format!("\n{text}{newline}{prompt}")),
                }
            }
            Self::Editor(gate) => {
                gate.lock().push(flow, text);
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

    /// True if the line editor reads a line.
    #[cfg(unix)]
    pub(super) fn is_editing(&self) -> bool {
        matches!(self, Self::Editor(gate) if gate.lock().reading)
    }

    /// Leaves the rows below the typed line to the shell, after a sentence if there is one. Nothing
    /// is shown until [`Screen::come_back`].
    #[cfg(unix)]
    pub(super) fn leave(&self, sentence: &str) {
        let mut text = "\n".to_owned();
        if let Self::Editor(gate) = self {
            let mut state = gate.lock();
            state.holder = Holder::Shell;
            // The cursor may be in an upper row of the line.
            let below = state.drawn.rows(Size::of_stdout().columns).saturating_sub(1);
            text = if below > 0 { format!("\u{1b}[{below}B\n") } else { text };
        }
        if !sentence.is_empty() {
            text.push_str(sentence);
            text.push('\n');
        }
        // Fails if the terminal is gone.
        let _ = write(&text);
    }

    /// Draws the prompt and the typed line again, below the rows of the shell.
    #[cfg(unix)]
    pub(super) fn come_back(&self) {
        match self {
            Self::Pipe => {}
            Self::Plain(prompt) => {
                let prompt = prompt.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = prompt.as_deref().map(write);
            }
            Self::Editor(gate) => {
                let mut state = gate.lock();
                // The editor clears as many rows as its line had.
                let rows = state.drawn.rows(Size::of_stdout().columns).saturating_sub(1);
                let _ = write(&"\n".repeat(rows));
                state.holder = Holder::ConsoleAgain;
                gate.changed.notify_all();
            }
        }
    }

    /// True if much output still waits for the terminal.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Editor(gate) if gate.lock().bytes > MUCH)
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

/// The holder of the terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Holder {
    #[default]
    Console,
    /// The process is suspended.
    #[cfg_attr(not(unix), expect(dead_code))]
    Shell,
    /// The console again. The editor must draw its line, although nothing waits.
    #[cfg_attr(not(unix), expect(dead_code))]
    ConsoleAgain,
}

#[derive(Default)]
struct State {
    waiting: Vec<(Flow, String)>,
    /// The length of the waiting texts.
    bytes: usize,
    reading: bool,
    printing: bool,
    holder: Holder,
    /// The line as the editor has drawn it.
    drawn: Drawn,
    /// True once the console has ended.
    closed: bool,
}

impl State {
    /// True if the editor may draw.
    fn is_open(&self) -> bool {
        self.reading && self.holder != Holder::Shell
    }

    /// True if the editor has something to draw.
    fn is_due(&self) -> bool {
        self.holder == Holder::ConsoleAgain || !self.waiting.is_empty()
    }

    fn push(&mut self, flow: Flow, text: &str) {
        self.bytes = self.bytes.saturating_add(text.len());
        self.waiting.push((flow, text.to_owned()));
    }
}

impl Gate {
    /// Sets whether the line editor is reading a line.
    pub(super) fn set_reading(&self, reading: bool) {
        self.lock().reading = reading;
        self.changed.notify_all();
    }

    /// Records the line that the user has typed, which stays on the screen.
    pub(super) fn typed(&self, line: &str) {
        self.lock().push(Flow::Typed, line);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A text that leaves the cursor where it is: up, and down again. The editor ends a text without a
/// newline with one.
const NOTHING: &str = "\u{1b}[A\n";

/// Interval of the checks for a new size of the window.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// Passes all text to the line editor, one piece at a time. The printer blocks while the editor
/// does not read, so this runs on a thread of its own. Ends with the terminal.
fn print_all(gate: &Gate, mut printer: impl ExternalPrinter, drawn: &Drawn) {
    let mut backlog = Backlog::default();
    let mut last = Size::default();
    loop {
        let idle = |state: &mut State| !state.is_due() || !state.is_open();
        let waited = gate.changed.wait_timeout_while(gate.lock(), LOOK_EVERY, idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return;
        }
        if !state.is_open() {
            continue;
        }
        let waiting = std::mem::take(&mut state.waiting);
        let redraw = std::mem::take(&mut state.holder) == Holder::ConsoleAgain;
        state.bytes = 0;
        state.printing = true;
        drop(state);
        if redraw {
            backlog.mix();
        }
        let size = Size::of_stdout();
        let mut text = String::new();
        // While the user drags the border, the size differs each time.
        let is_still = size == std::mem::replace(&mut last, size);
        let is_torn = is_still && drawn.take_torn();
        if is_torn || (is_still && backlog.is_stale(size)) {
            text = backlog.redraw(size, drawn.rows(size.columns));
        }
        for (flow, line) in waiting {
            text.push_str(&backlog.add(flow, &line, size));
        }
        if redraw && text.is_empty() {
            text.push_str(NOTHING);
        }
        if text.is_empty() {
            gate.lock().printing = false;
            gate.changed.notify_all();
            continue;
        }
        let printed = printer.print(text);
        gate.lock().printing = false;
        gate.changed.notify_all();
        if printed.is_err() {
            return;
        }
    }
}
