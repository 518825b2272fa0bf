//! The `friendchain` binary.

use std::process::ExitCode;

/// Gives freed memory back however many threads took and freed it: the system's keeps it for each
/// thread by itself, which took a quarter more while full blocks were connected.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    friendchain::cli::main(std::env::args_os())
}
