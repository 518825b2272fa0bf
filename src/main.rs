//! The `friendchain` binary.

use std::process::ExitCode;

/// Returns freed memory to the system, no matter which thread freed it. The system's allocator keeps
/// it for each thread, and used a quarter more memory while connecting full blocks.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    friendchain::cli::main(&friendchain::node::Composition, std::env::args_os())
}
