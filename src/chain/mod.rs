//! The state machine of the ledger: header tree, coins, mempool, and the thread that owns them.
//!
//! [`Chain`] is a plain struct: blocks, headers and trades in, events out; no clock, any redb
//! backend, and no threads but those that it waits for. [`spawn`] puts it on a thread, which alone
//! writes `chain.redb`, and gives a [`ChainHandle`]; reads that need no decision go through a
//! [`ChainReader`]. The miner and the wallet live here too, beside what they use.
//!
//! ```text
//! accept_headers ─► HeaderTree ─┐
//! accept_block ───► check ─► store ─► activate ─► ledger ─► Overlay ─► commit ─► events
//! accept_trade ───► Mempool ────┘                 (child layer)        (redb)
//! ```

mod accept;
mod activate;
mod announcements;
pub mod api;
mod coins;
mod compact;
mod diverged;
pub mod errors;
mod handle;
mod header_tree;
mod key_map;
mod load;
mod mempool;
mod orphans;
mod own;
mod precheck;
mod queries;
pub mod repair;
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
    FLOOR_HALF_LIFE_MS, FREE_BYTES_PER_BLOCK, FREE_EXPIRY_MS, FeeRate, Floor, MAX_CHAIN,
    MAX_LOCAL_CHAIN, MAX_LOCAL_PACKAGE_BYTES, MAX_MEMPOOL_BYTES, MAX_PACKAGE_BYTES, MAX_REPLACED,
    PAYING_EXPIRY_MS, PAYING_RATE,
};
pub use state::{Chain, ChainOptions};
pub use store::Status;
pub use store::reader::ChainReader;
pub use thread::{Clock, spawn};
