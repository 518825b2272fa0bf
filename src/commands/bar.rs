//! The progress bar on the terminal, and output around it or a console's prompt.

use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;

/// The bar on the terminal, if any. There is one terminal for each process.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Sets the bar that [`above_bar`] hides while it prints.
pub(super) fn set_bar(bar: Option<ProgressBar>) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

/// Runs `write`, which prints to the terminal, with the bar hidden.
pub(crate) fn above_bar<T>(write: impl FnOnce() -> T) -> T {
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Output that would tear a console's prompt.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stray<'a> {
    /// A whole line of the log, with its newline.
    Log(&'a [u8]),
    /// A line about the progress of long work.
    Progress(&'a str),
}

/// A function that takes stray output for a console and returns true if it did. It must not log.
type Taker = Box<dyn FnMut(Stray<'_>) -> bool + Send>;

/// The console on the terminal, if any. There is one terminal for each process.
static CONSOLE: Mutex<Option<Taker>> = Mutex::new(None);

/// Sets or removes the console that receives all stray output.
pub(crate) fn set_console(taker: Option<Taker>) {
    *CONSOLE.lock().unwrap_or_else(PoisonError::into_inner) = taker;
}

/// Passes output to the console on the terminal. Returns false if there is none to take it.
pub(crate) fn taken_by_console(stray: Stray<'_>) -> bool {
    let mut console = CONSOLE.lock().unwrap_or_else(PoisonError::into_inner);
    console.as_mut().is_some_and(|take| take(stray))
}
