//! Trades whose signatures were verified before: when they came to the mempool, or with a block.
//!
//! A leaf is over everything that a verdict on signatures depends on but the network, which never
//! changes, so what is here stays true for ever. Filled by [`Chain`](super::Chain); read also by
//! the threads that look at blocks ahead.

use std::sync::{Arc, PoisonError, RwLock};

use super::key_map::KeySet;
use crate::primitives::LeafHash;

/// So many are remembered at least, and twice as many at most: more than fit in the mempool. 32
/// bytes each.
const GENERATION: usize = 1 << 18;

/// The leaves of verified trades. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct SignatureCache(Arc<RwLock<Generations>>);

#[derive(Debug, Default)]
struct Generations {
    young: KeySet<LeafHash>,
    old: KeySet<LeafHash>,
}

impl SignatureCache {
    /// Remembers a trade whose signatures are valid.
    pub(crate) fn insert(&self, leaf: LeafHash) {
        let mut generations = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if generations.young.len() >= GENERATION {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(leaf);
    }

    /// Whether a trade's signatures are known to be valid.
    pub(crate) fn knows(&self, leaf: &LeafHash) -> bool {
        let generations = self.0.read().unwrap_or_else(PoisonError::into_inner);
        generations.young.contains(leaf) || generations.old.contains(leaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(number: usize) -> LeafHash {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        LeafHash(bytes)
    }

    #[test]
    fn the_last_ones_are_remembered_and_the_first_forgotten() {
        let verified = SignatureCache::default();
        for number in 0..=GENERATION * 2 {
            verified.insert(leaf(number));
        }
        assert!(!verified.knows(&leaf(0)) && !verified.knows(&leaf(usize::MAX)));
        assert!((GENERATION..=GENERATION * 2).all(|number| verified.knows(&leaf(number))));
    }
}
