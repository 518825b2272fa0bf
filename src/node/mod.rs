//! Composition: what starts, in which order, and stops.
//!
//! [`compose`] puts the parts together, for a node or for one command on a folder; the `router` is
//! the node's task; the `service` answers commands. Everything else here is what those need.

mod blocks_won;
mod clock;
pub mod compose;
pub mod config;
pub mod host;
mod keyring;
mod metrics;
mod process;
mod proofs;
mod refusals;
mod router;
mod service;
mod setup;

pub use compose::Composition;
pub use proofs::verify_without_chain;
