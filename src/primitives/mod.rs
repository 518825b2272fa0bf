//! The basic types of all other modules: hashes, keys, amounts, transactions, blocks, and their
//! canonical encoding.
//!
//! The code here does no I/O and reads no clock. [`consensus`](crate::consensus) decides which
//! values are valid.

mod amount;
mod back_off;
mod block;
mod count;
pub mod encoding;
mod hash;
mod id_prefix;
mod keys;
mod merkle;
mod mining_mode;
mod name;
mod nearest;
mod peer_id;
mod rate;
mod short_id;
mod shown;
mod text;
mod transaction;

pub use amount::{Amount, AmountError};
pub(crate) use back_off::doubled;
pub use block::{Block, HEADER_BYTES, Header};
pub(crate) use count::{count_of_blocks, counted};
pub use encoding::{Decode, DecodeError, Encode};
pub use hash::{BlockHash, HashParseError, LeafHash, MerkleRoot, NetworkId, TxId};
pub(crate) use hash::{sha256, sha256d};
pub(crate) use id_prefix::{IdPrefix, IdPrefixError, MIN_ID_CHARS};
pub use keys::{Address, AddressError, Owner, PublicKey, Signature};
pub(crate) use merkle::{leaf_hash, merkle_branch, merkle_root, root_of_branch};
pub use mining_mode::MiningMode;
#[cfg(test)]
pub(crate) use name::MAX_NAME_CHARS;
pub use name::NameError;
pub(crate) use name::{FriendName, composed, spells_word};
pub(crate) use nearest::{closest, misspelt, nearest};
pub use peer_id::{PeerId, PeerIdError};
pub use rate::{Bucket, Rate};
pub(crate) use short_id::{SHORT_ID_BYTES, short_id};
pub(crate) use shown::{INDENT, escaped, shown};
pub(crate) use text::{is_printable, printable, trimmed};
pub(crate) use transaction::MAX_MEMO_BYTES;
pub use transaction::{OutPoint, Transaction, TransactionKind, TxInput, TxOutput, coinbase_memo};

/// A block's distance from the genesis, which has height 0.
pub type Height = u32;

/// Milliseconds since the unix epoch.
pub type UnixMillis = u64;
/// A point of the monotonic clock, in milliseconds. It serves every wait, rate and deadline: a
/// change of the wall clock does not move it, and sleep of the machine does not count. The clock
/// starts at [`FIRST_MOMENT`], so that 0 is long ago.
pub type Moment = u64;
/// The moment at which the process starts: 34 years, more than any wait.
pub const FIRST_MOMENT: Moment = 1 << 40;
