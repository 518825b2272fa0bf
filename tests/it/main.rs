//! Real processes of the built binary, on loopback, driven as a user drives them.
//!
//! A test awaits conditions with a generous deadline and never sleeps for a guess; when it fails,
//! the tail of every node's log and output is printed. What a test needs and a machine may lack
//! (network namespaces, tmux, Prometheus) is skipped only when an environment variable asks for it:
//! see `support::tools`.

mod chat_room;
mod commands;
mod crash;
mod damage;
mod discovery;
mod diverged;
mod errors;
mod go_story;
mod hostile_blocks;
mod hostile_messages;
mod logs;
mod metrics;
mod observe;
mod partition;
mod proofs;
#[cfg(target_os = "linux")]
mod service;
mod support;
mod sync_resume;
mod terminal;
