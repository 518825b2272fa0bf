//! Composes a node from its parts: starts them, connects them, and stops them.
//!
//! - `compose`: starts a node with [`start`], or opens a folder for one command with [`open()`].
//! - `router`: the task between network, chain, miner, friends and commands.
//! - `service`: the implementation of the RPC.
//! - `settings`: `friendchain.toml`, and the order of precedence.
//! - `metrics`: health checks and metrics over HTTP.

mod blocking;
mod clock;
mod compose;
pub(crate) mod config;
mod keyring;
mod metrics;
mod open;
mod parts;
mod recovery;
mod refusals;
pub(crate) mod router;
mod service;
pub(crate) mod settings;

pub(crate) use compose::{OpenedFolder, RunningNode, open, start};
pub(crate) use metrics::Liveness;
pub(crate) use service::{move_to, restore, verify_without_chain};
