//! A layer holds changes to the tables, and writes them sorted in one durable transaction.
//!
//! [`Overlay`](super::overlay::Overlay) owns the layers and defines their order.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    thread,
};

use redb::{ReadableTableMetadata, Table, Value};

use super::{
    Store,
    header_changes::HeaderChanges,
    tables::{
        BlockKey, CoinTable, META_ATTENDED, META_BEST_HEADER, META_TIP, TxLocation, coin_to_bytes,
        tx_key,
    },
};
use crate::{
    chain::{errors::ChainFault, key_map::KeyMap},
    consensus::{Coin, CoinKey},
    primitives::TxId,
    storage::contain,
};

/// Estimated memory of one changed coin, in bytes: key, value and map overhead.
const COIN_COST: usize = 160;
/// Estimated memory of an index entry, a header, or a record without its bytes.
const ENTRY_COST: usize = 120;

/// Canonical bytes of blocks; `None` is a removal.
pub(in crate::chain) type Bodies = BTreeMap<BlockKey, Option<Vec<u8>>>;

/// Changes to all tables; `None` is a removal.
#[derive(Debug, Default)]
pub(in crate::chain) struct Layer {
    pub(in crate::chain) headers: HeaderChanges,
    pub(in crate::chain) blocks: Bodies,
    pub(in crate::chain) undo: BTreeMap<BlockKey, Option<Vec<u8>>>,
    pub(in crate::chain) coins: KeyMap<CoinKey, Option<Coin>>,
    pub(in crate::chain) tx_index: KeyMap<TxId, Option<TxLocation>>,
    pub(in crate::chain) waiting: KeyMap<TxId, Option<Vec<u8>>>,
    pub(in crate::chain) own: KeyMap<TxId, Option<Vec<u8>>>,
    pub(in crate::chain) tip: Option<BlockKey>,
    pub(in crate::chain) best_header: Option<BlockKey>,
    pub(in crate::chain) attended: Option<Vec<u8>>,
    /// Total length of bodies, undo records, mempool entries and own trades.
    record_bytes: usize,
}

impl Layer {
    /// Merges newer changes into these.
    pub(in crate::chain) fn merge(&mut self, other: Self) {
        self.headers.merge(other.headers);
        self.blocks.extend(other.blocks);
        self.undo.extend(other.undo);
        self.coins.extend(other.coins);
        self.tx_index.extend(other.tx_index);
        self.waiting.extend(other.waiting);
        self.own.extend(other.own);
        self.tip = other.tip.or(self.tip);
        self.best_header = other.best_header.or(self.best_header);
        self.attended = other.attended.or(self.attended.take());
        self.record_bytes = self.record_bytes.saturating_add(other.record_bytes);
    }

    /// Writes all changes and the bodies in one durable transaction, sorted.
    ///
    /// Each body is dropped once it is written. Many coins are written on a second thread, since
    /// they take about as long as everything else.
    pub(in crate::chain) fn write(&self, bodies: Bodies, store: &Store) -> Result<(), ChainFault> {
        store.write(|tables| {
            let mut coins = || write_coins(&mut tables.coins, &self.coins);
            let rest = || {
                write_bytes(&mut tables.blocks, bodies)?;
                self.headers.write(&mut tables.headers)?;
                write_bytes(
                    &mut tables.undo,
                    self.undo.iter().map(|(key, bytes)| (*key, bytes.as_ref())),
                )?;
                write_index(&mut tables.tx_index, &self.tx_index)?;
                write_trades(&mut tables.mempool, &self.waiting)?;
                write_trades(&mut tables.own, &self.own)?;
                for (name, key) in [(META_TIP, &self.tip), (META_BEST_HEADER, &self.best_header)] {
                    if let Some(key) = key {
                        tables.meta.insert(name, key.as_slice())?;
                    }
                }
                if let Some(attended) = &self.attended {
                    tables.meta.insert(META_ATTENDED, attended.as_slice())?;
                }
                Ok(())
            };
            if self.coins.len() < MANY_COINS {
                coins().and_then(|()| rest())
            } else {
                side_by_side(coins, rest)
            }
        })
    }

    /// Drops everything except the coins, which are likely to be read again.
    pub(in crate::chain) fn keep_coins(&mut self) {
        *self = Self {
            coins: std::mem::take(&mut self.coins),
            tx_index: std::mem::take(&mut self.tx_index),
            ..Self::default()
        };
    }

    /// The estimated memory of the layer, in bytes.
    pub(in crate::chain) fn cost(&self) -> usize {
        let entries = [
            self.tx_index.len(),
            self.headers.len(),
            self.undo.len(),
            self.waiting.len(),
            self.own.len(),
        ];
        let entries: usize = entries.into_iter().sum();
        (self.coins.len().saturating_mul(COIN_COST))
            .saturating_add(entries.saturating_mul(ENTRY_COST))
            .saturating_add(self.record_bytes)
    }

    /// Adds a record's length to `record_bytes`, and returns the record.
    pub(in crate::chain) fn count(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        self.record_bytes = self.record_bytes.saturating_add(bytes.len());
        bytes
    }
}

/// Number of coin changes in one run. Each run first removes coins in one pass, then inserts new
/// ones while its pages are cached.
const RUN: usize = 512;

/// Maximum number of table entries for each removed one at which a single pass is used. A pass
/// visits every entry between the first and the last; beyond this number, one tree descent for each
/// is faster.
const MAX_VISITED: u64 = 32;

/// Number of changed coins from which a second thread is worth its start: those of about two full
/// blocks.
const MANY_COINS: usize = 16_384;

/// Writes changed coins in key order.
fn write_coins(
    table: &mut CoinTable<'_>,
    changes: &KeyMap<CoinKey, Option<Coin>>,
) -> Result<(), ChainFault> {
    let prefix =
        |key: &CoinKey| key.owner.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let changes = sorted(changes, prefix);
    let is_dense = is_dense(table, changes.iter().filter(|(_, _, coin)| coin.is_none()).count())?;
    for run in changes.chunks(RUN) {
        let removals = run.iter().filter(|(_, _, coin)| coin.is_none());
        let removals: Vec<_> = removals.map(|(_, key, _)| key.to_bytes()).collect();
        remove_sorted(table, &removals, is_dense)?;
        for (_, key, coin) in run {
            if let Some(coin) = coin {
                table.insert(&key.to_bytes(), &coin_to_bytes(coin))?;
            }
        }
    }
    Ok(())
}

/// Writes changed bodies or undo records in key order.
fn write_bytes(
    table: &mut Table<'_, &'static BlockKey, &'static [u8]>,
    changes: impl IntoIterator<Item = (BlockKey, Option<impl AsRef<[u8]>>)>,
) -> Result<(), ChainFault> {
    for (key, bytes) in changes {
        match bytes {
            Some(bytes) => drop(table.insert(&key, bytes.as_ref())?),
            None => drop(table.remove(&key)?),
        }
    }
    Ok(())
}

/// Writes the changed positions of transactions in the order of their ids.
fn write_index(
    table: &mut Table<'_, &'static [u8; 32], &'static [u8; 8]>,
    changes: &KeyMap<TxId, Option<TxLocation>>,
) -> Result<(), ChainFault> {
    for (_, txid, location) in sorted(changes, id_prefix) {
        match location {
            Some(location) => drop(table.insert(tx_key(txid), &location.to_bytes())?),
            None => drop(table.remove(tx_key(txid))?),
        }
    }
    Ok(())
}

/// Removes the trades that left, then inserts new ones, in the order of their ids.
fn write_trades(
    table: &mut Table<'_, &'static [u8; 32], &'static [u8]>,
    changes: &KeyMap<TxId, Option<Vec<u8>>>,
) -> Result<(), ChainFault> {
    let changes = sorted(changes, id_prefix);
    let removals = changes.iter().filter(|(_, _, bytes)| bytes.is_none());
    let removals: Vec<_> = removals.map(|(_, txid, _)| *tx_key(txid)).collect();
    let is_dense = is_dense(table, removals.len())?;
    remove_sorted(table, &removals, is_dense)?;
    for (_, txid, bytes) in changes {
        if let Some(bytes) = bytes {
            table.insert(tx_key(txid), bytes.as_slice())?;
        }
    }
    Ok(())
}

/// Runs both closures, the first on a separate thread.
fn side_by_side(
    first: impl FnOnce() -> Result<(), ChainFault> + Send,
    second: impl FnOnce() -> Result<(), ChainFault>,
) -> Result<(), ChainFault> {
    let first = Mutex::new(Some(first));
    let run = || {
        let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        contain(|| first.map_or(Ok(()), |first| first()))
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("storing".into()).spawn_scoped(scope, run);
        let second = second();
        let first = match thread {
            Ok(thread) => thread.join().unwrap_or_else(|_| Err("a storing thread panicked".into())),
            // The system gives no thread, so one runs after the other.
            Err(_) => run(),
        };
        first.unwrap_or_else(|reason| Err(ChainFault::Corrupt(reason))).and(second)
    })
}

/// Returns true if the removals are dense enough that one pass over the table is faster.
fn is_dense(table: &impl ReadableTableMetadata, removed: usize) -> Result<bool, ChainFault> {
    Ok(u64::try_from(removed).unwrap_or(u64::MAX).saturating_mul(MAX_VISITED) >= table.len()?)
}

/// Removes the given keys, which must be sorted. Dense keys are removed in one pass from the first
/// to the last.
fn remove_sorted<const N: usize, V: Value>(
    table: &mut Table<'_, &'static [u8; N], V>,
    keys: &[[u8; N]],
    is_dense: bool,
) -> Result<(), ChainFault> {
    match keys {
        [first, .., last] if is_dense => {
            let mut keys = keys.iter().peekable();
            table.retain_in::<&[u8; N], _>(first..=last, |key, _| {
                while keys.next_if(|removal| *removal < key).is_some() {}
                keys.peek() != Some(&key)
            })?;
        }
        _ => {
            for key in keys {
                table.remove(key)?;
            }
        }
    }
    Ok(())
}

/// Sorts the entries of a map by key. `prefix` returns the first bytes of a key, which decide most
/// comparisons.
fn sorted<K: Ord, V>(entries: &KeyMap<K, V>, prefix: impl Fn(&K) -> u64) -> Vec<(u64, &K, &V)> {
    let mut entries: Vec<_> =
        entries.iter().map(|(key, value)| (prefix(key), key, value)).collect();
    entries
        .sort_unstable_by(|(a, a_key, _), (b, b_key, _)| a.cmp(b).then_with(|| a_key.cmp(b_key)));
    entries
}

/// Returns the first 8 bytes of a transaction id.
fn id_prefix(txid: &TxId) -> u64 {
    txid.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use redb::{ReadableTableMetadata as _, backends::InMemoryBackend};

    use super::*;
    use crate::{
        chain::{store::tables::coin_from_bytes, testing::network},
        primitives::{Amount, OutPoint, Owner},
    };

    fn key(number: usize) -> CoinKey {
        let bytes =
            u64::try_from(number).expect("small").wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        let (mut owner, mut txid) = ([1; 20], [2; 32]);
        owner[..8].copy_from_slice(&bytes);
        txid[..8].copy_from_slice(&bytes);
        CoinKey { owner: Owner(owner), outpoint: OutPoint { txid: TxId(txid), index: 3 } }
    }

    #[test]
    fn coins_that_are_written_beside_the_rest_are_all_there_and_all_go() {
        let network = network();
        let store = Store::on_backend(InMemoryBackend::new(), &network, 8).expect("a store");
        let before = store.read().expect("tables").coins.len().expect("a length");
        let coin = |number: u32| Coin {
            value: Amount::from_units(u64::from(number) + 1),
            height: number,
            coinbase: false,
        };
        let numbers = || (0u32..).take(2 * MANY_COINS);
        let mut layer = Layer { tip: Some([7; 36]), ..Layer::default() };
        for number in numbers() {
            let key = key(number as usize);
            layer.coins.insert(key, Some(coin(number)));
            layer
                .tx_index
                .insert(key.outpoint.txid, Some(TxLocation { height: number, position: 0 }));
        }
        layer.write(Bodies::new(), &store).expect("written");
        let tables = store.read().expect("tables");
        for number in numbers() {
            let stored = tables
                .coins
                .get(&key(number as usize).to_bytes())
                .expect("a table")
                .expect("there");
            assert_eq!(coin_from_bytes(stored.value()).expect("a coin"), coin(number));
        }
        assert_eq!(tables.tx_index.len().expect("a length"), 1 + 2 * MANY_COINS as u64);
        assert_eq!(tables.meta_key(META_TIP).expect("a tip"), [7; 36]);

        let mut gone = Layer::default();
        for number in numbers() {
            gone.coins.insert(key(number as usize), None);
        }
        gone.write(Bodies::new(), &store).expect("written");
        assert_eq!(store.read().expect("tables").coins.len().expect("a length"), before);
    }
}
