//! Maps over keys that are hashes already: coins, transactions, leaves.
//!
//! The standard library's hasher costs more than the look-up itself. foldhash mixes the bytes with
//! seeds that this process alone knows, so that no peer can choose keys that collide. Nothing
//! stored or sent depends on it.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

/// A map over keys of one fixed length.
pub(crate) type KeyMap<K, V> = HashMap<K, V, RandomState>;

/// A set of keys of one fixed length.
pub(crate) type KeySet<K> = HashSet<K, RandomState>;
