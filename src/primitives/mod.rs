//! The vocabulary that every floor above speaks: hashes, keys, amounts, trades, blocks, and their
//! one canonical encoding.
//!
//! Nothing here does I/O, knows the time, or decides what is valid: that is
//! [`consensus`](crate::consensus).

mod amount;
mod block;
pub mod encoding;
mod hash;
mod keys;
mod merkle;
mod mining_mode;
mod peer_id;
mod rate;
mod short_id;
mod text;
mod transaction;

pub use amount::{Amount, AmountError, UNITS_PER_COIN};
pub use block::{Block, HEADER_BYTES, Header};
pub use encoding::{Decode, DecodeError, Encode};
pub use hash::{BlockHash, HashParseError, LeafHash, MerkleRoot, NetworkId, TxId, sha256, sha256d};
pub use keys::{ADDRESS_PREFIX, Address, AddressError, Owner, PublicKey, Signature};
pub use merkle::{leaf_hash, merkle_branch, merkle_root, root_of_branch};
pub use mining_mode::MiningMode;
pub use peer_id::{PeerId, PeerIdError};
pub use rate::{Bucket, Rate};
pub use short_id::{SHORT_ID_BYTES, short_id};
pub use text::{MAX_NAME_CHARS, NameError, check_name, printable};
pub use transaction::{
    MAX_MEMO_BYTES, OutPoint, Transaction, TransactionKind, TxInput, TxOutput, coinbase_memo,
};

/// A block's distance from genesis, which is 0.
pub type Height = u32;

/// Milliseconds since the unix epoch.
pub type UnixMillis = u64;
