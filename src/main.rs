//! The `friendchain` binary.

use std::process::ExitCode;

/// The allocator. It reuses freed memory across threads. The system's allocator needed a quarter
/// more memory while full blocks were connected.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    friendchain::cli::main(std::env::args_os())
}
