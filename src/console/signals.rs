//! Listens for SIGINT, SIGTERM and SIGHUP, which end a process cleanly.
//!
//! A closed terminal sends SIGHUP. A process that should outlive its terminal, for example under
//! nohup, ignores that signal from its start, and this module keeps it so.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A listener for the signals. From its creation on it misses none, not even while the node starts.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(unix)]
    terminate: Signal,
    /// `None` if the process ignored SIGHUP when it started.
    #[cfg(unix)]
    hangup: Option<Signal>,
}

/// The signal that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// SIGINT, which is also Ctrl-C.
    Interrupt,
    /// SIGTERM, or the terminal is gone.
    Terminate,
}

impl Signals {
    /// Starts to listen. From now on the signals no longer end the process by themselves.
    pub(crate) fn listen() -> io::Result<Self> {
        #[cfg(unix)]
        return Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: (!is_ignored(SignalKind::hangup().as_raw_value()))
                .then(|| signal(SignalKind::hangup()))
                .transpose()?,
        });
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) -> Ending {
        #[cfg(unix)]
        {
            let hung_up = async {
                match &mut self.hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.interrupt.recv() => Ending::Interrupt,
                _ = self.terminate.recv() => Ending::Terminate,
                _ = hung_up => Ending::Terminate,
            }
        }
        #[cfg(not(unix))]
        {
            // If no handler can be installed, the system ends the process itself.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            Ending::Interrupt
        }
    }

    /// Waits for a signal of either kind.
    pub(crate) async fn any(&mut self) {
        self.next().await;
    }
}

/// True if this process ignored a signal at its start, where the system reports it. A process that
/// already listens for the signal does not ignore it.
#[cfg(unix)]
pub(super) fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Bit 0 is signal 1.
    let bit = u32::try_from(signal).ok().and_then(|signal| signal.checked_sub(1));
    let bit = bit.and_then(|bit| 1_u64.checked_shl(bit)).unwrap_or_default();
    mask.is_some_and(|mask| mask & bit != 0)
}
