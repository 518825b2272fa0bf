//! JSON-RPC on loopback: one trait for both ends, mounted in the node's one HTTP server; the command line is its client.

pub mod api;
pub mod error;
pub mod types;

pub use api::{FriendchainApiClient, FriendchainApiServer};
pub use error::RpcError;
