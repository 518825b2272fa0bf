//! `signature_cache` remembers trades with verified signatures, so that [`Chain`](super::Chain) and
//! the workers of `precheck` do not verify them twice.
//!
//! A leaf covers everything that the verdict depends on, except the network, which never changes.
//! Entries therefore never become stale.

use std::sync::{Arc, PoisonError, RwLock};

use super::key_map::KeySet;
use crate::primitives::LeafHash;

/// Minimum number of leaves remembered when full; the maximum is twice as many, 32 bytes each. Both
/// exceed what fits in the mempool.
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

    /// True if a trade's signatures are known to be valid.
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
