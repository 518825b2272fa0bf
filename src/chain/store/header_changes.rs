//! Header changes that are not yet on the disk.
//!
//! Each [`Layer`](super::layer::Layer) owns one. While a node catches up, headers arrive in key
//! order, hundreds of thousands between two commits. They form one ascending run that is appended
//! to the table. This is several times faster than one tree descent for each header. A map holds
//! all other changes. A key is in the run or in the map, never in both.

use std::{collections::BTreeMap, ops::Bound};

use redb::{CursorError, ReadableTable as _, Table};

use super::tables::{BlockKey, HeaderBytes};
use crate::chain::errors::ChainFault;

/// Header records by key; `None` is a removal.
#[derive(Debug, Default)]
pub(in crate::chain) struct HeaderChanges {
    run: Vec<(BlockKey, Option<HeaderBytes>)>,
    /// Keys that arrived after a higher one.
    others: BTreeMap<BlockKey, Option<HeaderBytes>>,
}

impl HeaderChanges {
    /// The number of changed headers.
    pub(in crate::chain) fn len(&self) -> usize {
        self.run.len().saturating_add(self.others.len())
    }

    /// Returns the change of a header, if there is one.
    pub(in crate::chain) fn get(&self, key: &BlockKey) -> Option<&Option<HeaderBytes>> {
        match self.run.binary_search_by(|(known, _)| known.cmp(key)) {
            Ok(at) => self.run.get(at).map(|(_, record)| record),
            Err(_) => self.others.get(key),
        }
    }

    /// Sets or removes a header.
    pub(in crate::chain) fn set(&mut self, key: BlockKey, record: Option<HeaderBytes>) {
        if self.run.last().is_none_or(|(last, _)| *last < key) {
            self.others.remove(&key);
            self.run.push((key, record));
            return;
        }
        let place = self.run.binary_search_by(|(known, _)| known.cmp(&key)).ok();
        match place.and_then(|at| self.run.get_mut(at)) {
            Some((_, known)) => *known = record,
            None => drop(self.others.insert(key, record)),
        }
    }

    /// Merges newer changes into these.
    pub(in crate::chain) fn merge(&mut self, other: Self) {
        for (key, record) in other.others.into_iter().chain(other.run) {
            self.set(key, record);
        }
    }

    /// Writes all changes to the table.
    pub(in crate::chain) fn write(
        &self,
        table: &mut Table<'_, &'static BlockKey, &'static HeaderBytes>,
    ) -> Result<(), ChainFault> {
        let last = table.last()?.map(|(key, _)| *key.value());
        let beyond = self.run.partition_point(|(key, _)| last.is_some_and(|last| *key <= last));
        let (among, after) = self.run.split_at_checked(beyond).unwrap_or((&self.run, &[]));

        // The table has no keys in this range, so removals are skipped.
        let mut appended =
            after.iter().filter_map(|(key, record)| record.as_ref().map(|record| (key, record)));
        let mut cursor = table.upper_bound_mut(Bound::<&BlockKey>::Unbounded)?;
        appended.try_for_each(|(key, record)| cursor.insert_before(key, record)).map_err(
            |error| match error {
                CursorError::Storage(error) => ChainFault::from(error),
                other => ChainFault::Corrupt(format!("its headers are out of order: {other}")),
            },
        )?;
        cursor.close()?;

        for (key, record) in
            self.others.iter().chain(among.iter().map(|(key, record)| (key, record)))
        {
            match record {
                Some(record) => drop(table.insert(key, record)?),
                None => drop(table.remove(key)?),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redb::{Database, ReadableDatabase as _, backends::InMemoryBackend};

    use super::*;
    use crate::chain::store::tables::HEADERS;

    fn key(number: u8) -> BlockKey {
        [number; 36]
    }

    fn written(database: &Database) -> BTreeMap<BlockKey, HeaderBytes> {
        let table =
            database.begin_read().expect("a transaction").open_table(HEADERS).expect("the table");
        let entry = |entry: Result<(redb::AccessGuard<'_, _>, redb::AccessGuard<'_, _>), _>| {
            let (key, record): (
                redb::AccessGuard<'_, &BlockKey>,
                redb::AccessGuard<'_, &HeaderBytes>,
            ) = entry.expect("an entry");
            (*key.value(), *record.value())
        };
        table.iter().expect("entries").map(entry).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn changes_in_any_order_are_read_back_and_written_as_a_map_would(
            batches in prop::collection::vec(
                (any::<bool>(), prop::collection::vec((any::<u8>(), any::<Option<u8>>()), 0..60)),
                1..6,
            ),
        ) {
            let backend = InMemoryBackend::new();
            let database = Database::builder().create_with_backend(backend).expect("a database");
            let mut expected = BTreeMap::new();
            for (ascending, mut batch) in batches {
                if ascending {
                    batch.sort_by_key(|(number, _)| *number);
                }
                let (mut changes, mut child, mut plain) = Default::default();
                for (position, (number, record)) in batch.iter().enumerate() {
                    let record = record.map(|byte| [byte; size_of::<HeaderBytes>()]);
                    // The second half arrives through a child layer.
                    let layer: &mut HeaderChanges =
                        if position < batch.len() / 2 { &mut changes } else { &mut child };
                    layer.set(key(*number), record);
                    prop_assert_eq!(layer.get(&key(*number)), Some(&record));
                    BTreeMap::insert(&mut plain, key(*number), record);
                }
                changes.merge(child);
                prop_assert_eq!(changes.len(), plain.len());
                for number in 0..=u8::MAX {
                    prop_assert_eq!(changes.get(&key(number)), plain.get(&key(number)));
                }
                let transaction = database.begin_write().expect("a transaction");
                let mut table = transaction.open_table(HEADERS).expect("the table");
                changes.write(&mut table).expect("written");
                drop(table);
                transaction.commit().expect("committed");
                for (key, record) in plain {
                    match record {
                        Some(record) => drop(expected.insert(key, record)),
                        None => drop(expected.remove(&key)),
                    }
                }
                prop_assert_eq!(written(&database), expected.clone());
            }
        }
    }
}
