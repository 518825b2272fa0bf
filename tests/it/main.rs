//! Runs real processes of the built binary on loopback, driven as a user drives them.
//!
//! Tests await conditions with a generous deadline and never sleep for a guess. A failed test
//! prints the tail of every node's log and output. Tests that need tools which a machine may lack
//! (network namespaces, tmux, Prometheus) are skipped only if an environment variable says so; see
//! `support::tools`.

mod chat_room;
mod clock;
mod coins;
mod commands;
mod console;
mod copies;
mod crash;
mod damage;
mod discovery;
mod diverged;
mod errors;
mod folders;
mod go_story;
mod hostile_blocks;
mod hostile_messages;
mod joining;
mod logs;
mod looking;
#[cfg(target_os = "linux")]
mod mapping;
mod metrics;
mod names;
mod observe;
mod partition;
mod payments;
mod proofs;
#[cfg(target_os = "linux")]
mod service;
mod support;
mod suspend;
mod sync_resume;
mod talking;
mod terminal;
