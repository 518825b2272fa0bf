//! The `rpc` module connects the command line to the node by JSON-RPC on loopback.
//!
//! One trait, in `api`, declares the methods for both ends. The node serves them over HTTP; the
//! command line is the client.

pub(crate) mod api;
pub(crate) mod client;
pub(crate) mod error;
pub(crate) mod feed;
mod places;
pub(crate) mod server;
pub(crate) mod types;

pub(crate) use api::{FriendchainApiClient, FriendchainApiServer};
pub(crate) use client::Client;
pub(crate) use error::RpcError;
pub(crate) use feed::{EventFeed, ProgressBoard, ProgressGuard};
pub(crate) use server::{check_rpc, serve};
