//! What all targets share: an allocator that counts, and a limit of memory for each.

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Runs a target, and panics when it has taken more memory than `base` bytes and `per_byte` for
/// each byte of its input: a length that the input only claims must not be believed.
pub fn run(target: fn(&[u8]), data: &[u8], base: usize, per_byte: usize) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    target(data);
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let limit = base + per_byte * data.len();
    assert!(
        taken <= limit,
        "{taken} bytes of memory for an input of {} bytes: {limit} at most",
        data.len()
    );
}

/// The target of that name, with its limits of memory.
#[macro_export]
macro_rules! target {
    ($target:ident, $base:expr, $per_byte:expr) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::run(
            friendchain::fuzzing::$target,
            data,
            $base,
            $per_byte
        ));
    };
}
