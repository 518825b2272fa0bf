//! Holds one function for each fuzz target. It takes any bytes and panics if an invariant does not
//! hold.
//!
//! The module is compiled for `cargo fuzz` (`--cfg fuzzing`) and for tests, never into the program.
//! `fuzz/README.md` describes how to run the targets. `cargo test` runs the same functions on the
//! stored inputs, so that no finding returns unseen and no nightly toolchain is needed.
#![allow(clippy::missing_panics_doc, reason = "a panic reports a finding")]

mod blocks;
mod choices;
mod headers;
mod layouts;
mod stored;
#[cfg(test)]
mod tests;
mod texts;
mod wire;

pub use blocks::accept_block;
pub use headers::accept_headers;
pub use layouts::consensus_layouts;
pub use stored::stored_records;
pub use texts::texts;
pub use wire::wire_messages;
