//! Quick hashing of keys that are hashes themselves, or as good as: coins, transactions, leaves.
//!
//! Whoever makes trades can choose parts of such keys, so they are mixed with numbers that this
//! process alone knows: 64 bits at a time are folded by a 128-bit product, as wyhash does. Nothing
//! stored or sent depends on it.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, Hasher},
};

/// A map over keys of one fixed length.
pub(crate) type KeyMap<K, V> = HashMap<K, V, Mixing>;

/// A set of keys of one fixed length.
pub(crate) type KeySet<K> = HashSet<K, Mixing>;

/// Builds hashers with one pair of secrets, random for each map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mixing {
    start: u64,
    factor: u64,
}

impl Default for Mixing {
    fn default() -> Self {
        let [start, factor]: [u64; 2] = rand::random();
        Self { start, factor: factor | 1 }
    }
}

impl BuildHasher for Mixing {
    type Hasher = Mixer;

    fn build_hasher(&self) -> Mixer {
        Mixer { state: self.start, factor: self.factor }
    }
}

/// Folds words into 64 bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mixer {
    state: u64,
    factor: u64,
}

impl Mixer {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.state ^ word).wrapping_mul(u128::from(self.factor));
        let [low, high] = [product, product >> 64]
            .map(|half| u64::try_from(half & u128::from(u64::MAX)).unwrap_or(0));
        self.state = low ^ high.rotate_left(23);
    }
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        let mut last = *self;
        last.mix(0x9e37_79b9_7f4a_7c15);
        last.state
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(rest) {
                *to = *from;
            }
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.mix(u64::from(number));
    }

    /// Lengths: the same for all keys of a map.
    fn write_usize(&mut self, _length: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        consensus::CoinKey,
        primitives::{OutPoint, Owner, TxId},
    };

    #[test]
    fn keys_that_differ_in_one_bit_anywhere_are_spread_and_two_maps_do_not_agree() {
        let (one, other) = (Mixing::default(), Mixing::default());
        let base =
            CoinKey { owner: Owner([7; 20]), outpoint: OutPoint { txid: TxId([9; 32]), index: 5 } };
        let bytes = base.to_bytes();
        let keys = (0..bytes.len() * 8).map(|bit| {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            CoinKey::from_bytes(&changed)
        });
        let keys: Vec<_> = keys.chain([base]).collect();
        let full: HashSet<_> = keys.iter().map(|key| one.hash_one(key)).collect();
        assert_eq!(full.len(), keys.len());
        // The bits that a table looks at: the lowest for the place, the highest for the tag.
        let low: HashSet<_> = full.iter().map(|hash| hash % 4_096).collect();
        let high: HashSet<_> = full.iter().map(|hash| hash >> 57).collect();
        assert!(low.len() > 380 && high.len() > 100, "{} {}", low.len(), high.len());
        assert!(keys.iter().all(|key| one.hash_one(key) != other.hash_one(key)));
    }
}
