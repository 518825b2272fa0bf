//! JSON-RPC on loopback: one trait for both ends, mounted in the node's one HTTP server; the
//! command line is its client.

pub mod api;
pub mod client;
pub mod error;
pub mod feed;
pub mod server;
pub mod types;

pub use api::{FriendchainApiClient, FriendchainApiServer};
pub use client::Client;
pub use error::RpcError;
pub use feed::{EventFeed, ProgressBoard, ProgressGuard};
pub(crate) use server::check_rpc;
pub use server::serve;
