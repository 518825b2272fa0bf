//! friendchain runs a peer-to-peer node for a group of friends: chat, coins and notes, no server.
//!
//! # A node
//! One process owns one data folder. It connects to friends with libp2p, keeps a proof-of-work
//! chain in `chain.redb` and chat in `friends.redb`, and serves commands over JSON-RPC on loopback.
//! Each piece of state has one owner; the owners talk over bounded channels:
//!
//! | owner | state | room |
//! |---|---|---|
//! | swarm task | connections, gossip mesh, routing table | [`net`] |
//! | router task | sync and relay machines, scores, presence | [`node`]`::router` |
//! | chain thread | `chain.redb`, header tree, mempool | [`chain`] |
//! | friends thread | `friends.redb` | [`friends`] |
//! | miner threads | the search for a nonce | [`miner`] |
//! | RPC server | the listener and its token | [`rpc`] |
//!
//! # The path of a block
//! A peer's block arrives in [`net`] as gossip or as an answer. The router passes it to [`relay`]
//! (new blocks) or [`sync`] (catching up). These machines make the checks that need no chain and
//! return actions, which the router carries out. [`chain`] validates the block with the rules of
//! [`consensus`], stores it, moves the tip, and emits events once the change is durable. The router
//! turns the events into announcements for peers and into lines for consoles.
//!
//! # The path of a chat line
//! A command reaches the router through [`rpc`]. The router stores the line in [`friends`], sends a
//! direct line over request-response and a line to everybody over gossip, and reports the delivery.
//! A received line is checked against the key of its author, stored, and shown.
//!
//! # The path of a command
//! [`cli`] parses the arguments, finds the node that runs on the folder (or opens the folder), and
//! calls [`commands`], which asks over [`rpc`] and prints the answer. [`node`]`::service`
//! implements the RPC.
//!
//! # Where to begin reading
//! [`primitives`] and [`consensus`] define a block. Then read [`chain`], whose page draws the path
//! of a block, and `node/router/mod.rs`, which connects everything. `ARCHITECTURE.md` has the map,
//! a list "Where is…?", and a glossary.

pub mod chain;
pub mod cli;
mod commands;
pub mod consensus;
mod console;
mod datadir;
mod friends;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod miner;
mod net;
mod node;
mod observe;
#[doc(hidden)]
pub use observe::svg;
mod peers;
pub mod primitives;
mod relay;
mod rpc;
#[doc(hidden)]
pub mod simulation;
mod storage;
mod sync;
pub mod telemetry;
mod wallet;
pub mod wire;
