//! JSON-RPC on loopback: one trait for both ends, mounted in the node's one HTTP server; the
//! command line is its client.

pub(crate) mod api;
pub(crate) mod client;
pub(crate) mod error;
pub(crate) mod feed;
pub(crate) mod server;
pub(crate) mod types;

pub(crate) use api::{FriendchainApiClient, FriendchainApiServer};
pub(crate) use client::Client;
pub(crate) use error::RpcError;
pub(crate) use feed::{EventFeed, ProgressBoard, ProgressGuard};
pub(crate) use server::{check_rpc, serve};
