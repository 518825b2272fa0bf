//! `key_map` provides fast maps for keys that are already hashes: coins, transactions, leaves.
//!
//! The standard library's hasher costs more than the look-up itself. foldhash mixes the bytes with
//! secret seeds of this process, so that no peer can choose keys that collide. No stored or sent
//! data depends on the hasher.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

/// A map over keys of one fixed length.
pub(crate) type KeyMap<K, V> = HashMap<K, V, RandomState>;

/// A set of keys of one fixed length.
pub(crate) type KeySet<K> = HashSet<K, RandomState>;
