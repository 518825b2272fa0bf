//! A map of bounded size.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// A map of bounded size. If it is full, an insertion evicts the oldest entry.
#[derive(Debug)]
pub(super) struct Recent<K, V = ()> {
    limit: usize,
    /// The values, each with the number of its insertion.
    map: HashMap<K, (u64, V)>,
    /// The insertions, oldest first. A removed key keeps its entry until it becomes the oldest.
    order: VecDeque<(u64, K)>,
    inserted: u64,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, map: HashMap::new(), order: VecDeque::new(), inserted: 0 }
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.map.contains_key(key)
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key).map(|(_, value)| value)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if let Some(old) = self.get_mut(&key) {
            *old = value;
            return;
        }
        self.inserted = self.inserted.saturating_add(1);
        self.map.insert(key, (self.inserted, value));
        self.order.push_back((self.inserted, key));
        while self.map.len() > self.limit || self.order.len() > self.limit.saturating_mul(2) {
            let Some((number, oldest)) = self.order.pop_front() else {
                break;
            };
            if self.map.get(&oldest).is_some_and(|(current, _)| *current == number) {
                self.map.remove(&oldest);
            }
        }
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.map.remove(key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_recent_stays_and_the_size_is_bounded(
            steps in prop::collection::vec((any::<bool>(), 0u8..30), 0..300),
        ) {
            let mut recent = Recent::new(8);
            for (add, key) in steps {
                if add {
                    recent.insert(key, ());
                    prop_assert!(recent.contains(&key));
                } else {
                    recent.remove(&key);
                    prop_assert!(!recent.contains(&key));
                }
                prop_assert!(recent.map.len() <= 8 && recent.order.len() <= 16);
            }
        }
    }
}
