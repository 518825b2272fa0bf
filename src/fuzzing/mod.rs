//! What the fuzz targets run: for each of them one function from any bytes, which panics when
//! something that must hold does not.
//!
//! Compiled for `cargo fuzz` (`--cfg fuzzing`) and for tests, never into the program.
//! `fuzz/README.md` says how the targets are run; `cargo test` plays their kept inputs through the
//! same functions, so that what was found once stays found without a nightly toolchain.
#![allow(clippy::missing_panics_doc, reason = "a panic is how a finding is told")]

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
