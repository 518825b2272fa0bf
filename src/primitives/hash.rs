//! SHA-256d, and a type for each kind of hash.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// Returns the SHA-256 of the concatenated parts.
#[must_use]
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Returns the SHA-256 of the SHA-256 of the concatenated parts, the chain's hash function.
#[must_use]
pub(crate) fn sha256d(parts: &[&[u8]]) -> [u8; 32] {
    Sha256::digest(sha256(parts)).into()
}

/// The error for a text that is not a hash, with its first 80 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a hash: 64 hex digits are")]
pub struct HashParseError(pub String);

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The hash of 32 zero bytes.
            pub const ZERO: Self = Self([0; 32]);

            /// Returns the bytes in the order in which text shows them.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = HashParseError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let bytes = HEXLOWER.decode(text.to_ascii_lowercase().as_bytes()).ok();
                bytes
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(Self)
                    .ok_or_else(|| HashParseError(text.chars().take(80).collect()))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::primitives::encoding::serialize_id(&self.0, self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::primitives::encoding::deserialize_id(deserializer).map(Self)
            }
        }
    };
}

hash_type!(
    /// The SHA-256d of a block's header, compared with the target as a big-endian number.
    BlockHash
);
hash_type!(
    /// The SHA-256d of a transaction without its signatures.
    TxId
);
hash_type!(
    /// The SHA-256d of 0x00 and a whole transaction, signatures included: a leaf of the merkle
    /// tree.
    LeafHash
);
hash_type!(
    /// The root of the merkle tree over a block's transactions.
    MerkleRoot
);

/// The hash of a chain's genesis block, which identifies the network.
pub type NetworkId = BlockHash;
