//! The state machine of the ledger: header tree, coins, mempool, and the thread that owns them.

pub mod api;
