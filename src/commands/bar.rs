//! The progress bar on the terminal, ways to print above it, and the console that has the terminal.

use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;

/// The bar that is on the terminal now, if any. There is one terminal for each process.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Sets the bar that [`above_bar`] must not tear.
pub(super) fn set_bar(bar: Option<ProgressBar>) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

/// Runs `write`, which prints to the terminal, with the bar taken off the screen meanwhile.
pub(crate) fn above_bar<T>(write: impl FnOnce() -> T) -> T {
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Output that would tear the prompt of a console which has the terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stray<'a> {
    /// A whole line of the log, with its newline.
    Log(&'a [u8]),
    /// A line about the progress of long work.
    Progress(&'a str),
}

/// The function that takes stray output while a console has the terminal, and tells whether it did.
/// It must not log.
type Taker = Box<dyn FnMut(Stray<'_>) -> bool + Send>;

/// The console that has the terminal, if any. There is one terminal for each process.
static CONSOLE: Mutex<Option<Taker>> = Mutex::new(None);

/// Sets or removes the console that gets all stray output.
pub(crate) fn set_console(taker: Option<Taker>) {
    *CONSOLE.lock().unwrap_or_else(PoisonError::into_inner) = taker;
}

/// Hands output to the console that has the terminal. Returns false if nobody takes it.
pub(crate) fn taken_by_console(stray: Stray<'_>) -> bool {
    let mut console = CONSOLE.lock().unwrap_or_else(PoisonError::into_inner);
    console.as_mut().is_some_and(|take| take(stray))
}
