//! The rules that all nodes must agree on, as pure functions: what is a network, a header, a block,
//! a transaction, a signature, a coin, and how hard the next block is.
//!
//! Called by [`chain`](crate::chain) with what it has stored, and by whoever needs a rule's number.
//! Nothing here does I/O, reads a clock, or keeps state. Invariants:
//! - Trust is a type: a [`Network`], a [`CheckedHeader`], a [`CheckedBlock`] and an [`Invite`]
//!   exist only once checked.
//! - Every verdict is a function of its arguments alone. [`verify_signatures`] gives the same one
//!   however signatures are grouped and over however many threads.
//! - All arithmetic on values that came from outside is checked, and nothing panics.
//! - Every error holds the offending value, a stable [`code`](HeaderError::code), and whom to
//!   [`Blame`].
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

mod coin;
mod difficulty;
mod errors;
mod header;
mod invite;
#[cfg(test)]
mod lints;
mod network;
mod params;
mod pow;
mod proof;
mod signature;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code, reason = "fuzz targets use a part of it"))]
pub(crate) mod testing;
mod validate;
#[cfg(test)]
mod vectors;

pub use coin::{COIN_KEY_BYTES, Coin, CoinKey, created_coins, spent_coins};
pub use difficulty::{
    HeaderWindow, LWMA_BLOCKS, MEDIAN_BLOCKS, WINDOW_BLOCKS, WindowError, min_time, next_bits,
};
pub use errors::{Blame, BlockError, GenesisError, HeaderError, SignatureError, TransactionError};
pub(crate) use header::check_hashed_header;
pub use header::{CheckedHeader, check_header};
pub use invite::{
    Checkpoint, INVITE_PREFIX, Invite, InviteError, MAX_INVITE_ADDRESS_BYTES, MAX_INVITE_ADDRESSES,
    MAX_INVITE_CHARS,
};
pub use network::Network;
pub use params::{
    COINBASE_MATURITY, ChainParams, DEFAULT_FLOOR_BITS, DEFAULT_SPACING_MS, MAX_BLOCK_BYTES,
    MAX_CHAIN_NAME_BYTES, MAX_FLOOR_BITS, MAX_GENESIS_BYTES, MAX_SPACING_MS, MAX_TRANSACTION_BYTES,
    MIN_FLOOR_BITS, ParamsError, SUBSIDY,
};
pub use pow::{CompactError, Target, Work, WorkParseError};
pub use proof::{
    MAX_PROOF_BYTES, MAX_PROOF_CHARS, MAX_PROOF_STEPS, PROOF_PREFIX, Proof, ProofError,
};
pub use signature::{verify_signature, verify_signatures};
pub use validate::{
    CheckedBlock, check_block, check_coinbase_value, check_coins, check_transaction,
};
