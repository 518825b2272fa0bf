//! The `friendchain` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    friendchain::cli::main(&friendchain::node::Composition, std::env::args_os())
}
