//! The whole network in one process and in virtual time.
//!
//! A [`World`](world::World) holds nodes, each with the real chain on a disk in memory, the real
//! sync and relay machines, the real mempool and the real mining policy. Only their environment is
//! modelled: the links, gossip's mesh, the clocks, the disks, and the search for nonces. One seed
//! decides everything, so that each run can be repeated.
//!
//! | file | concern |
//! |---|---|
//! | `world` | nodes, the clock, and the queue of events |
//! | `glue` | actions of sync and relay, commands to the chain, commits |
//! | `peers` | hello, requests and answers, gossip, bans |
//! | `mining`, `history` | miners in virtual time, and the chain at the start |
//! | `payments` | users who pay each other |
//! | `faults`, `liars` | crashes, partitions and clocks; nodes that lie |
//! | `checks`, `figures` | checks during and after a run, and its figures |
//! | `scenario`, `command` | whole runs by their options, and the command line |
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::missing_panics_doc,
    clippy::struct_excessive_bools,
    reason = "virtual times and figures are far below these bounds; a panic ends a test"
)]

mod checks;
mod command;
mod faults;
mod figures;
mod glue;
mod history;
mod liars;
mod links;
mod mining;
mod node;
mod payments;
mod peers;
mod plot;
mod queue;
mod scenario;
#[cfg(test)]
mod tests;
mod world;

pub use command::main;
