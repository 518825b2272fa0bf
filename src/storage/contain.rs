//! A panic inside a library becomes an error.
//!
//! redb panics on some damaged pages instead of answering with an error. Whoever opens or reads a
//! database runs that in [`contain`]: a panic is then one more way to find that the file is
//! damaged, and not the end of the process. What the panic left half done must not be used again.

use std::{
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    sync::Once,
};

thread_local! {
    /// How many [`contain`]s this thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// What the last panic on this thread said.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `work`; its panic is told in the error, in one line, and nowhere else.
///
/// Whatever `work` was changing is in an unknown state after an error: drop it, or better, leave it
/// (a second panic in the middle of the first ends the process).
///
/// # Errors
/// When `work` panicked: what the panic said, and where.
pub(crate) fn contain<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if DEPTH.get() == 0 {
                usual(info);
            } else {
                SAID.set(Some(sentence(info)));
            }
        }));
    });
    DEPTH.set(DEPTH.get().saturating_add(1));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get().saturating_sub(1));
    result.map_err(|_| SAID.take().unwrap_or_else(|| "it failed inside".to_owned()))
}

/// `message (crate-1.2.3/file.rs:7)`.
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
        // Inside another one, and after it.
        let nested = contain(|| contain(|| panic!("inner")).expect_err("a panic"));
        assert!(nested.expect("contained").starts_with("inner"));
        assert!(contain(|| panic!("two\nlines")).expect_err("a panic").starts_with("two lines"));
    }
}
