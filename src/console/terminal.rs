//! The terminal of a console: its kind, its mode, and the log beside it.

use std::{
    fs::OpenOptions,
    io::{self, IsTerminal, Write},
    path::Path,
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

/// The earlier mode of the terminal, which is restored on drop.
///
/// While a console runs, the terminal neither echoes nor waits for whole lines, not even between
/// two lines of the editor. Keys typed then are neither lost nor shown twice.
pub(super) struct Mode {
    /// True if the cursor is after a prompt. The console's end then begins a new line.
    pub(super) prompt_is_shown: bool,
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

impl Mode {
    /// Sets the mode of standard input. If that fails, the terminal keeps its mode.
    #[cfg(unix)]
    pub(super) fn set() -> Self {
        use rustix::termios::{
            InputModes, LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr,
        };
        let input = io::stdin();
        let Ok(before) = tcgetattr(&input) else {
            return Self { prompt_is_shown: false, before: None };
        };
        let mut quiet = before.clone();
        quiet.input_modes &= !(InputModes::ICRNL | InputModes::IXON);
        quiet.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        let set = tcsetattr(&input, OptionalActions::Drain, &quiet);
        Self { prompt_is_shown: false, before: set.is_ok().then_some(before) }
    }

    #[cfg(not(unix))]
    pub(super) fn set() -> Self {
        Self { prompt_is_shown: false }
    }
}

impl Drop for Mode {
    fn drop(&mut self) {
        if self.prompt_is_shown {
            // Fails if the terminal is gone.
            let _ = writeln!(io::stdout());
        }
        #[cfg(unix)]
        if let Some(before) = &self.before {
            use rustix::termios::{OptionalActions, tcsetattr};
            // Fails if the terminal is gone, which then needs no mode.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Hides typed text on a terminal without a line editor. The earlier mode is restored on drop.
pub(super) struct Quiet {
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

impl Quiet {
    /// Sets the mode of standard input. Only the end of a line is still echoed. If that fails, the
    /// terminal keeps its mode.
    #[cfg(unix)]
    pub(super) fn set() -> Self {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
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
        if let Some(before) = &self.before {
            use rustix::termios::{OptionalActions, tcsetattr};
            // Fails if the terminal is gone, which then needs no mode.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
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
