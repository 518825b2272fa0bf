//! The progress bar on the terminal, and a way to print above it.

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
