//! `chain` keeps the ledger for the node: header tree, coins, mempool, and the thread that owns
//! them.
//!
//! [`Chain`] is a plain struct that takes blocks, headers and trades and returns events. It reads
//! no clock and works on any redb backend. Between two calls, only the thread that writes a commit
//! may run. [`spawn`] moves the struct to the chain thread, the only writer of `chain.redb`, and
//! returns a [`ChainHandle`]. Reads of committed data go through a [`ChainReader`], without the
//! chain thread.
//!
//! ```text
//! accept_headers ─► HeaderTree ─┐
//! accept_block ───► check ─► store ─► activate ─► coins ─► Overlay ─► commit ─► events
//! accept_trade ───► Mempool ────┘                 (child layer)       (redb)
//! ```

mod accept;
mod activate;
mod announcements;
pub mod api;
mod attended;
mod coins;
mod compact;
mod diverged;
pub mod errors;
mod fates;
mod handle;
mod header_tree;
mod headers;
mod jumps;
mod key_map;
mod load;
mod mempool;
mod orphans;
mod own;
mod precheck;
mod purse;
mod queries;
pub mod repair;
mod replies;
mod signature_cache;
mod state;
pub mod store;
mod template;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code, unused_imports, reason = "fuzz targets use a part of it"))]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod thread;
mod transactions;

pub use api::*;
pub use errors::{
    AcceptBlockError, AcceptBranchError, AcceptHeadersError, AcceptTradeError, Blame, ChainFault,
    OpenError,
};
pub use handle::ChainHandle;
pub use mempool::{
    BlockFees, FLOOR_HALF_LIFE_MS, FREE_BYTES_PER_BLOCK, FREE_EXPIRY_MS, FeeRate, Floor, MAX_CHAIN,
    MAX_LOCAL_CHAIN, MAX_LOCAL_PACKAGE_BYTES, MAX_MEMPOOL_BYTES, MAX_PACKAGE_BYTES, MAX_REPLACED,
    PAYING_EXPIRY_MS, PAYING_RATE, estimate,
};
pub use state::{Chain, ChainOptions};
pub use store::Status;
pub use store::reader::ChainReader;
pub(crate) use store::reader::wallet_scan::{
    MinedTransaction, VoidTransaction, WalletScan, touches,
};
pub use thread::{Clock, spawn};
