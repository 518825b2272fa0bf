//! Runs commands for the command line and the console: what each asks of the node, and how its
//! answer reads.

pub mod outcome;
pub mod prepare;
pub mod progress;
mod proof_file;
pub mod run;
pub mod secrets;
pub(crate) mod table;
pub mod text;
