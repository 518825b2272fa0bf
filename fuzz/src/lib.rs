//! Runs fuzz targets under a memory limit, with an allocator that counts.

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Runs a target. Panics if it takes more memory than `base` bytes plus `per_byte` for each byte of
/// its input. A decoder that trusts a claimed length would take more.
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

/// Defines the libFuzzer entry of a target with its memory limits.
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
