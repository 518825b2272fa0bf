//! The short ids that a compact block uses for its transactions.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use super::{BlockHash, LeafHash};

/// Length of a short id, in bytes. In a mempool of 10,000 transactions, one of a block of 2,000
/// shares its id with another once in 50,000 blocks. It is then requested, as a missing one is.
pub(crate) const SHORT_ID_BYTES: usize = 5;

/// Returns the short id of a transaction in the compact form of one block.
///
/// It is the first 5 bytes of the little-endian SipHash-2-4 of the leaf hash, keyed by the first 16
/// bytes of the block's hash.
///
/// # Security
/// The key changes with each block, as in BIP 152. An attacker therefore cannot prepare
/// transactions whose short ids collide.
#[must_use]
pub(crate) fn short_id(block: &BlockHash, leaf: &LeafHash) -> [u8; SHORT_ID_BYTES] {
    let mut key = [0; 16];
    key.copy_from_slice(&block.0[..16]);
    let mut hasher = SipHasher24::new_with_key(&key);
    hasher.write(&leaf.0);
    let mut id = [0; SHORT_ID_BYTES];
    id.copy_from_slice(&hasher.finish().to_le_bytes()[..SHORT_ID_BYTES]);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_id_depends_on_block_and_leaf() {
        let (block, leaf) = (BlockHash([1; 32]), LeafHash([2; 32]));
        assert_eq!(short_id(&block, &leaf), short_id(&block, &leaf));
        assert_ne!(short_id(&block, &leaf), short_id(&BlockHash([3; 32]), &leaf));
        assert_ne!(short_id(&block, &leaf), short_id(&block, &LeafHash([3; 32])));
    }
}
