//! The terminal of a console: its kind, its mode, and the log that must not tear the prompt.

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
    /// A terminal that cannot move its cursor: lines and a prompt, without editing.
    Plain,
    /// A pipe or a file.
    Pipe,
}

/// Terminals that know no escape sequences.
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

/// The mode that the terminal had, which comes back on drop.
///
/// While a console lives, the terminal neither echoes nor waits for whole lines, not even between
/// two lines of the editor. Keys that come then are neither lost nor shown twice.
pub(super) struct Mode {
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

impl Mode {
    /// Sets the mode of standard input. A terminal that refuses keeps its mode.
    #[cfg(unix)]
    pub(super) fn set() -> Self {
        use rustix::termios::{
            InputModes, LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr,
        };
        let input = io::stdin();
        let Ok(before) = tcgetattr(&input) else { return Self { before: None } };
        let mut quiet = before.clone();
        quiet.input_modes &= !(InputModes::ICRNL | InputModes::IXON);
        quiet.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        let set = tcsetattr(&input, OptionalActions::Drain, &quiet);
        Self { before: set.is_ok().then_some(before) }
    }

    #[cfg(not(unix))]
    pub(super) fn set() -> Self {
        Self {}
    }
}

#[cfg(unix)]
impl Drop for Mode {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            use rustix::termios::{OptionalActions, tcsetattr};
            // Fails if the terminal is gone, which then needs no mode.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// The largest log of a console, in bytes. A longer one begins anew.
const MAX_LOG_BYTES: u64 = 1_048_576;

/// While it lives, logs that would go to the terminal go to a file of the data folder instead.
pub(crate) struct LogsAside(());

impl LogsAside {
    /// Begins, if a console will have the terminal that the log would go to.
    pub(crate) fn of(folder: &DataDir) -> Option<Self> {
        let torn = Kind::of_process() != Kind::Pipe && io::stderr().is_terminal();
        torn.then(|| Self::begin(folder, |_| {}))
    }

    /// Begins, with a function that shows the lines about progress.
    pub(super) fn begin(folder: &DataDir, progress: impl Fn(&str) + Send + 'static) -> Self {
        let path = folder.console_log_file();
        set_console(Some(Box::new(move |stray| match stray {
            // A log that cannot be written must not end the node.
            Stray::Log(line) => drop(append(&path, line)),
            Stray::Progress(line) => progress(line),
        })));
        Self(())
    }
}

impl Drop for LogsAside {
    fn drop(&mut self) {
        set_console(None);
    }
}

fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    if file.metadata()?.len() > MAX_LOG_BYTES {
        file.set_len(0)?;
    }
    file.write_all(line)
}
