//! Simulates the whole network in virtual time. `simulation.md` has its figures.

use std::process::ExitCode;

fn main() -> ExitCode {
    friendchain::simulation::main()
}
