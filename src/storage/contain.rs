//! Turns a panic inside a library into an error.
//!
//! redb panics on some damaged pages instead of returning an error. Callers that open or read a
//! database therefore do so inside [`contain`]. A panic then reports a damaged file and does not
//! end the process. Values that the panic left half changed must not be used again.

use std::{
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    sync::Once,
};

thread_local! {
    /// Number of nested [`contain`] calls on this thread.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// Message of the last contained panic on this thread.
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `work`, and returns its panic as an error of one line. The panic is not printed.
///
/// After an error, the values that `work` was changing are in an unknown state. Leak them rather
/// than drop them, since a destructor that panics during another panic ends the process.
///
/// # Errors
/// The message and place of the panic, if `work` panicked.
pub(crate) fn contain<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if DEPTH.get() == 0 {
                usual(info);
            } else {
                MESSAGE.set(Some(sentence(info)));
            }
        }));
    });
    DEPTH.set(DEPTH.get().saturating_add(1));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get().saturating_sub(1));
    result.map_err(|_| MESSAGE.take().unwrap_or_else(|| "it failed inside".to_owned()))
}

/// Formats a panic as `message (crate-1.2.3/file.rs:7)`.
fn sentence(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("no message").replace('\n', " ");
    match info.location() {
        Some(location) => {
            let file = location.file();
            let start = file
                .rsplit_once("/src/")
                .map_or(0, |(above, _)| above.rfind('/').map_or(0, |at| at.saturating_add(1)));
            format!("{message} ({}:{})", file.get(start..).unwrap_or(file), location.line())
        }
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_as_an_error_and_what_is_no_panic_passes() {
        assert_eq!(contain(|| 7), Ok(7));
        let empty: [u8; 0] = [];
        let index = std::hint::black_box(3);
        let error = contain(|| empty[index]).expect_err("a panic");
        assert!(error.contains("out of bounds") && error.contains("contain.rs:"), "{error}");
        // A nested call contains its own panic, and the outer call still works afterwards.
        let nested = contain(|| contain(|| panic!("inner")).expect_err("a panic"));
        assert!(nested.expect("contained").starts_with("inner"));
        assert!(contain(|| panic!("two\nlines")).expect_err("a panic").starts_with("two lines"));
    }
}
