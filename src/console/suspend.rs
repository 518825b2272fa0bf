//! Suspends the process at Ctrl-Z, and brings the console back after `fg`.
//!
//! The terminal turns Ctrl-Z into SIGTSTP for the whole foreground job, and this module receives
//! it. The shell gets the terminal back in its own mode, below the line that is being typed. When
//! the process continues, the console sets its mode again, and draws the prompt and the line below
//! the shell's rows. A process that was stopped in another way, such as by SIGSTOP, gets the same.
//!
//! The process stops by SIGTTIN, whose default action it keeps. The system ignores that signal if
//! no shell could continue the process, as it ignores SIGTSTP then. SIGSTOP would stop for ever.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
#[cfg(unix)]
use std::{io, time::Duration};

use super::{screen::Screen, terminal::Modes};

/// The terminal of the console that runs now.
#[cfg_attr(not(unix), expect(dead_code))]
pub(super) struct Attached {
    pub(super) screen: Arc<Screen>,
    pub(super) modes: Modes,
    /// True if the node stands still with the console.
    pub(super) owns_node: bool,
}

type Shared = Arc<Mutex<Option<Attached>>>;

/// A console's place in the suspender. Once it is dropped, Ctrl-Z no longer touches the terminal.
pub(super) struct Attachment(Shared);

impl Drop for Attachment {
    fn drop(&mut self) {
        *lock(&self.0) = None;
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, Option<Attached>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The receiver of the signals, for all consoles of a process.
#[derive(Default)]
pub(super) struct Suspender {
    console: Shared,
    #[cfg(unix)]
    listens: bool,
}

impl Suspender {
    /// Starts to handle the signals for a console. Without signals, Ctrl-Z does what the system
    /// does by default.
    pub(super) fn attach(&mut self, console: Attached) -> Attachment {
        *lock(&self.console) = Some(console);
        #[cfg(unix)]
        if !self.listens {
            self.listens = true;
            if let Err(error) = listen(&self.console) {
                tracing::debug!(%error, "Ctrl-Z is not handled");
            }
        }
        Attachment(Arc::clone(&self.console))
    }
}

/// The longest wait for the system to stop the process. It takes microseconds, and never happens if
/// no shell could continue the process.
#[cfg(unix)]
const STOPPING: Duration = Duration::from_millis(500);

/// Starts the task that receives the signals until the process ends.
#[cfg(unix)]
fn listen(shared: &Shared) -> io::Result<()> {
    use rustix::process::{Signal, getpid, kill_process};
    use tokio::{
        signal::unix::{SignalKind, signal},
        time::timeout,
    };

    if super::signals::is_ignored(Signal::TSTP.as_raw()) {
        return Ok(());
    }
    let mut suspended = signal(SignalKind::from_raw(Signal::TSTP.as_raw()))?;
    let mut continued = signal(SignalKind::from_raw(Signal::CONT.as_raw()))?;
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = suspended.recv() => {
                    with(&shared, Attached::leave);
                    // Without the signal, the process goes on.
                    let _ = kill_process(getpid(), Signal::TTIN);
                    // A process that did not stop comes back too.
                    let _ = timeout(STOPPING, continued.recv()).await;
                }
                _ = continued.recv() => {}
            }
            with(&shared, Attached::come_back);
        }
    });
    Ok(())
}

#[cfg(unix)]
fn with(shared: &Shared, act: impl FnOnce(&Attached)) {
    if let Some(console) = lock(shared).as_ref() {
        act(console);
    }
}

#[cfg(unix)]
impl Attached {
    /// Leaves the terminal to the shell.
    fn leave(&self) {
        self.screen.leave(if self.owns_node { "* the node stands still until fg" } else { "" });
        self.modes.set_shells();
    }

    /// Takes the terminal again. In the background, the system stops the process at the change of
    /// the mode, and continues it here after `fg`.
    fn come_back(&self) {
        use rustix::process::{Signal, getpid, kill_process};

        self.modes.set_consoles(self.screen.is_editing());
        // Only the foreground job is told of a new size, which the line editor has thus missed.
        let _ = kill_process(getpid(), Signal::WINCH);
        self.screen.come_back();
    }
}
