//! The terminal of a console: its kind, its mode, and the log beside it.

#[cfg(unix)]
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{
    fs::OpenOptions,
    io::{self, IsTerminal, Write},
    path::Path,
};

#[cfg(unix)]
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

use crate::{
    commands::bar::{Stray, set_console},
    datadir::DataDir,
};

/// The kind of a console's input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A terminal with a line editor.
    Editor,
    /// A terminal that cannot move its cursor: it has a prompt and lines, but no editing.
    Plain,
    /// A pipe or a file.
    Pipe,
}

/// Terminals without escape sequences.
const DUMB: [&str; 5] = ["", "dumb", "emacs", "cons25", "unknown"];

impl Kind {
    /// Returns the kind for this process's standard input and output.
    pub(super) fn of_process() -> Self {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Self::Pipe;
        }
        match std::env::var("TERM") {
            Ok(term) if DUMB.iter().any(|dumb| term.eq_ignore_ascii_case(dumb)) => Self::Plain,
            // Windows has no such variable.
            Err(_) if cfg!(unix) => Self::Plain,
            _ => Self::Editor,
        }
    }
}

/// The mode of a console's terminal. The earlier one is restored on drop.
///
/// While a console runs, the terminal neither echoes nor waits for whole lines, not even between
/// two lines of the editor. Keys typed then are neither lost nor shown twice.
pub(super) struct Mode {
    /// True if the cursor is after a prompt. The console's end then begins a new line.
    pub(super) prompt_is_shown: bool,
    modes: Modes,
}

impl Mode {
    /// Sets the mode of standard input. If that fails, the terminal keeps its mode.
    pub(super) fn set(modes: &Modes) -> Self {
        modes.begin();
        Self { prompt_is_shown: false, modes: modes.clone() }
    }
}

impl Drop for Mode {
    fn drop(&mut self) {
        if self.prompt_is_shown {
            // Fails if the terminal is gone.
            let _ = writeln!(io::stdout());
        }
        self.modes.set_shells();
    }
}

/// The modes of a terminal, shared by the console and its line editor.
#[derive(Clone, Default)]
pub(super) struct Modes {
    #[cfg(unix)]
    saved: Arc<Mutex<Saved>>,
}

/// The modes that are set in turn. `None` for those that the terminal never had.
#[cfg(unix)]
#[derive(Default)]
struct Saved {
    /// The mode before the console.
    shells: Option<Termios>,
    /// The console's mode between two lines.
    between: Option<Termios>,
    /// The mode while the editor reads a line.
    editing: Option<Termios>,
}

/// The code of a key that does not exist.
#[cfg(unix)]
const NO_KEY: u8 = if cfg!(target_os = "linux") { 0 } else { 0xff };

#[cfg(unix)]
impl Modes {
    /// Sets the console's mode. If that fails, the terminal keeps its mode.
    fn begin(&self) {
        let Ok(before) = tcgetattr(io::stdin()) else { return };
        let mut quiet = before.clone();
        quiet.input_modes &= !(InputModes::ICRNL | InputModes::IXON);
        quiet.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        if tcsetattr(io::stdin(), OptionalActions::Drain, &quiet).is_ok() {
            let (shells, between) = (Some(before), Some(quiet));
            *self.lock() = Saved { shells, between, editing: None };
        }
    }

    /// Lets Ctrl-Z suspend the whole job while the editor reads a line. The other keys stay the
    /// editor's: its own mode leaves none of them to the terminal. The editor calls this before
    /// each drawing.
    pub(super) fn edit(&self) {
        let Ok(mut mode) = tcgetattr(io::stdin()) else { return };
        if mode.local_modes.intersects(LocalModes::ICANON | LocalModes::ISIG) {
            return;
        }
        // NOFLSH: the keys typed before Ctrl-Z are not lost.
        mode.local_modes |= LocalModes::ISIG | LocalModes::NOFLSH;
        mode.special_codes[SpecialCodeIndex::VINTR] = NO_KEY;
        mode.special_codes[SpecialCodeIndex::VQUIT] = NO_KEY;
        if tcsetattr(io::stdin(), OptionalActions::Now, &mode).is_ok() {
            self.lock().editing = Some(mode);
        }
    }

    /// Sets the mode from before the console.
    pub(super) fn set_shells(&self) {
        set(self.lock().shells.clone().as_ref());
    }

    /// Sets the console's mode again.
    pub(super) fn set_consoles(&self, is_editing: bool) {
        let saved = self.lock();
        let editing = saved.editing.as_ref().filter(|_| is_editing);
        let mode = editing.or(saved.between.as_ref()).cloned();
        drop(saved);
        set(mode.as_ref());
    }

    fn lock(&self) -> MutexGuard<'_, Saved> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(unix)]
fn set(mode: Option<&Termios>) {
    if let Some(mode) = mode {
        // Fails if the terminal is gone, which then needs no mode.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, mode);
    }
}

#[cfg(not(unix))]
impl Modes {
    #[expect(clippy::unused_self)]
    const fn begin(&self) {}

    #[expect(clippy::unused_self)]
    pub(super) const fn edit(&self) {}

    #[expect(clippy::unused_self)]
    const fn set_shells(&self) {}
}

/// Hides typed text on a terminal without a line editor. The earlier mode is restored on drop.
pub(super) struct Quiet {
    #[cfg(unix)]
    before: Option<Termios>,
}

impl Quiet {
    /// Sets the mode of standard input. Only the end of a line is still echoed. If that fails, the
    /// terminal keeps its mode.
    #[cfg(unix)]
    pub(super) fn set() -> Self {
        let input = io::stdin();
        let Ok(before) = tcgetattr(&input) else { return Self { before: None } };
        let mut quiet = before.clone();
        quiet.local_modes &= !LocalModes::ECHO;
        quiet.local_modes |= LocalModes::ECHONL;
        let set = tcsetattr(&input, OptionalActions::Now, &quiet);
        Self { before: set.is_ok().then_some(before) }
    }

    #[cfg(not(unix))]
    pub(super) fn set() -> Self {
        Self {}
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        #[cfg(unix)]
        set(self.before.as_ref());
    }
}

/// The log file of a node whose console has the terminal.
const LOG_FILE: &str = "console.log";

/// The largest log of a console, in bytes. A longer one is started again.
const MAX_LOG_BYTES: u64 = 1_048_576;

/// Sends logs to a file of the data folder while the terminal, to which they would go, has a
/// console. This lasts until the process ends.
pub(crate) fn logs_aside(folder: &DataDir) {
    if Kind::of_process() != Kind::Pipe {
        logs_and_progress_aside(folder, |_| {});
    }
}

/// Does the same as [`logs_aside`], with a function that shows lines about progress.
pub(super) fn logs_and_progress_aside(folder: &DataDir, progress: impl Fn(&str) + Send + 'static) {
    let path = folder.file(LOG_FILE);
    let torn = io::stderr().is_terminal();
    set_console(Some(Box::new(move |stray| match stray {
        Stray::Log(line) if torn => {
            // If the log cannot be written, the node must still run.
            let _ = append(&path, line);
            true
        }
        Stray::Log(_) => false,
        Stray::Progress(line) => {
            progress(line);
            true
        }
    })));
}

fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    if file.metadata()?.len() > MAX_LOG_BYTES {
        file.set_len(0)?;
    }
    file.write_all(line)
}
