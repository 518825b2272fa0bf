//! The rules that all nodes must agree on, as pure functions.
//!
//! They cover networks, headers, blocks, transactions, signatures, coins, and the difficulty of the
//! next block. [`chain`](crate::chain) calls them with the data that it has stored.
//!
//! # Invariants
//!
//! - No function does I/O, reads a clock, or keeps state.
//! - Trust is a type: a [`Network`], a [`CheckedHeader`], a [`CheckedBlock`] and an [`Invite`]
//!   exist only after they were checked.
//! - Every verdict depends on the arguments alone. [`verify_signatures`] returns the same verdict
//!   for every grouping of signatures and every number of threads.
//! - All arithmetic on values from outside is checked, and no function panics.
//! - Every error holds the offending value and has a stable code. The error types for data from
//!   peers name the party to [`Blame`].
#![cfg_attr(
    not(any(test, fuzzing)),
    deny(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

mod checked_header;
mod choice;
mod coin;
mod difficulty;
mod errors;
mod header;
mod invite;
#[cfg(test)]
mod lints;
mod network;
mod network_name;
mod params;
mod pow;
mod proof;
mod signature;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code, reason = "fuzz targets use only a part of it"))]
pub(crate) mod testing;
mod validate;
#[cfg(test)]
mod vectors;

pub use checked_header::CheckedHeader;
pub use choice::{is_better, wins_tie};
pub(crate) use coin::COIN_KEY_BYTES;
pub use coin::{Coin, CoinKey, created_coins, spent_coins};
pub use difficulty::{HeaderWindow, WindowError, min_time, next_bits};
pub(crate) use difficulty::{WINDOW_BLOCKS, pays_full_price};
pub use errors::{Blame, BlockError, GenesisError, HeaderError, SignatureError, TransactionError};
pub(crate) use header::check_hashed_header;
pub use header::check_header;
pub use invite::{Checkpoint, Invite, InviteError};
pub(crate) use invite::{
    INVITE_PREFIX, MAX_INVITE_ADDRESS_BYTES, MAX_INVITE_ADDRESSES, MAX_INVITE_CHARS,
};
pub use network::Network;
pub use network_name::NetworkNameError;
pub(crate) use params::{
    COINBASE_MATURITY, DEFAULT_FLOOR_BITS, DEFAULT_SPACING_MS, MAX_GENESIS_BYTES, MAX_SPACING_MS,
    MIN_FLOOR_BITS,
};
pub use params::{ChainParams, MAX_BLOCK_BYTES, MAX_TRANSACTION_BYTES, ParamsError, SUBSIDY};
#[cfg(test)]
pub(crate) use params::{MAX_CHAIN_NAME_BYTES, MAX_FLOOR_BITS};
pub use pow::{CompactError, Target, Work, WorkParseError};
#[cfg(test)]
pub(crate) use proof::MAX_PROOF_STEPS;
#[cfg(any(test, fuzzing))]
pub(crate) use proof::PROOF_PREFIX;
pub(crate) use proof::{MAX_PROOF_CHARS, Proof, ProofError};
pub use signature::{verify_signature, verify_signatures};
pub(crate) use validate::check_transaction;
pub use validate::{CheckedBlock, check_block, check_coinbase_value, check_coins};
