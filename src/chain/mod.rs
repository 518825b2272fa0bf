//! The state machine of the ledger: header tree, coins, mempool, and the thread that owns them.
//!
//! [`Chain`] is a plain struct: blocks, headers and trades in, events out; no clock, any redb backend, and no threads but
//! those that it waits for. [`spawn`] puts it on a thread, which alone writes `chain.redb`, and gives a [`ChainHandle`]; reads that need
//! no decision go through a [`ChainReader`]. The miner and the wallet live here too, beside what they use.
//!
//! ```text
//! accept_headers ─► HeaderTree ─┐
//! accept_block ───► check ─► store ─► activate ─► ledger ─► Overlay ─► commit ─► events
//! accept_trade ───► Mempool ────┘                 (child layer)        (redb)
//! ```

mod accept;
mod activate;
pub mod api;
mod audit;
pub mod errors;
mod hashing;
mod ledger;
mod mempool;
pub mod miner;
mod overlay;
mod pool;
mod prepare;
mod reader;
mod state;
pub mod store;
mod template;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod thread;
mod tree;
mod verified;
mod waiting;
pub mod wallet;

pub use api::*;
pub use errors::{AcceptBlockError, AcceptHeadersError, AcceptTradeError, Blame, ChainFault, OpenError};
pub use mempool::{FREE_BYTES_PER_BLOCK, MAX_CHAIN, MAX_LOCAL_CHAIN, MAX_MEMPOOL_BYTES};
pub use reader::ChainReader;
pub use state::{Chain, ChainOptions};
pub use store::Status;
pub use thread::{ChainHandle, Clock, spawn};
