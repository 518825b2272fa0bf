//! Headers and blocks, and their encodings.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

use super::{
    BlockHash, DecodeError, Height, LeafHash, MerkleRoot, Transaction, UnixMillis,
    encoding::{Decode, Encode, Reader},
    leaf_hash, merkle_root, sha256d,
};

/// Length of an encoded header.
///
/// The nonce is in the second SHA-256 block, so a miner can reuse the midstate of the first one.
pub const HEADER_BYTES: usize = 4 + 32 + 32 + 4 + 8 + 4 + 8;

/// The smallest encoded transaction: no inputs, no outputs, an empty memo.
const MIN_TRANSACTION_BYTES: usize = 10;

/// A block header: its hash carries the proof of work and identifies the block.
///
/// Layout, 92 bytes: version u32 = 1, previous hash 32, merkle root 32, height u32, time u64, bits
/// u32, nonce u64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// The hash of the parent; zero in a genesis.
    pub previous: BlockHash,
    /// The merkle root over the block's transactions.
    pub merkle_root: MerkleRoot,
    pub height: Height,
    /// The time at which the block was mined, as the miner claims.
    pub time: UnixMillis,
    /// The target in compact form.
    pub bits: u32,
    /// The number that the miner varies to meet the target.
    pub nonce: u64,
}

impl Header {
    /// Returns the SHA-256d of the 92 encoded bytes.
    #[must_use]
    pub fn hash(&self) -> BlockHash {
        BlockHash(sha256d(&[&self.to_array()]))
    }

    /// Returns the encoding as an array.
    #[must_use]
    pub fn to_array(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&1u32.to_le_bytes());
        bytes[4..36].copy_from_slice(&self.previous.0);
        bytes[36..68].copy_from_slice(&self.merkle_root.0);
        bytes[68..72].copy_from_slice(&self.height.to_le_bytes());
        bytes[72..80].copy_from_slice(&self.time.to_le_bytes());
        bytes[80..84].copy_from_slice(&self.bits.to_le_bytes());
        bytes[84..92].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }
}

impl Encode for Header {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.to_array());
    }
}

impl Decode for Header {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.version()?;
        Ok(Self {
            previous: BlockHash(reader.array()?),
            merkle_root: MerkleRoot(reader.array()?),
            height: reader.u32()?,
            time: reader.u64()?,
            bits: reader.u32()?,
            nonce: reader.u64()?,
        })
    }
}

/// A decoded block: only its layout has been checked.
///
/// Layout: the header, count of transactions u32, then each transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub header: Header,
    /// The transactions: first the coinbase, then each one after those whose outputs it spends.
    pub transactions: Vec<Transaction>,
}

impl Block {
    /// Returns the header's hash.
    #[must_use]
    pub fn hash(&self) -> BlockHash {
        self.header.hash()
    }

    /// Returns the leaves of the merkle tree, in order.
    #[must_use]
    pub(crate) fn leaves(&self) -> Vec<LeafHash> {
        self.transactions.iter().map(leaf_hash).collect()
    }

    /// Returns the merkle root that the header must have.
    #[must_use]
    pub fn computed_merkle_root(&self) -> MerkleRoot {
        merkle_root(&self.leaves())
    }

    /// Returns the length of the encoding, in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let transactions: usize = self.transactions.iter().map(Transaction::encoded_len).sum();
        HEADER_BYTES.saturating_add(4).saturating_add(transactions)
    }
}

impl Encode for Block {
    fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.encoded_len());
        self.header.encode(out);
        out.extend(u32::try_from(self.transactions.len()).unwrap_or(u32::MAX).to_le_bytes());
        for transaction in &self.transactions {
            transaction.encode(out);
        }
    }
}

impl Decode for Block {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let header = Header::decode(reader)?;
        let count = reader.u32()?;
        let limit = reader.remaining() / MIN_TRANSACTION_BYTES;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > limit {
            return Err(DecodeError::TooMany { what: "transactions", count, limit });
        }
        let transactions =
            (0..count).map(|_| Transaction::decode(reader)).collect::<Result<_, _>>()?;
        Ok(Self { header, transactions })
    }
}
