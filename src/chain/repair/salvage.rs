//! Salvage rebuilds a chain from the readable blocks of a damaged file.
//!
//! `reindex` calls it if the file does not open or cannot be repaired in place, while no node runs
//! on the folder. The damaged file is only read, and kept under another name. The new chain is
//! built beside it: every readable block is checked as if a peer had sent it. The new file replaces
//! the old one when it is complete.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    mem::ManuallyDrop,
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{ReadOnlyDatabase, ReadableDatabase as _, TableDefinition, Value};

use crate::{
    chain::{
        api::{ChainAudit, Origin},
        errors::{AcceptBlockError, ChainFault, OpenError},
        load::true_name,
        state::{Chain, ChainOptions},
        store::{
            self, contained,
            reader::stored_block,
            tables::{
                BLOCKS, BlockKey, HEADERS, HeaderRecord, MEMPOOL, META, META_CHECKPOINT,
                META_GENESIS, META_MIN_WORK, MempoolRecord, OWN, OwnRecord, Status,
                split_block_key, stored,
            },
        },
    },
    consensus::{Checkpoint, Network, Work},
    primitives::{Block, Height, Transaction, TxId, UnixMillis, encoding::from_bytes},
    storage::{
        contain, copy_private, frozen::Commit, leaves, make_private, real_place, take_place,
    },
};

/// The result of a salvage.
#[derive(Debug)]
pub struct Salvaged {
    /// Audit of the whole new chain. `ok` is always false, since the file was damaged; `problem`
    /// describes the loss.
    pub audit: ChainAudit,
    /// Path of the damaged file.
    pub backup: PathBuf,
}

/// Rebuilds the chain at `path` from the blocks in the damaged file there. No other process may
/// have the file open for writing.
///
/// `progress` receives the current height and the goal. After a crash in the middle, the damaged
/// file is still in place.
///
/// # Errors
/// [`OpenError::Lost`] if even the genesis is unreadable; the file is then unchanged.
pub fn salvage(
    path: &Path,
    options: ChainOptions,
    now: UnixMillis,
    progress: &mut dyn FnMut(Height, Height),
) -> Result<Salvaged, OpenError> {
    let lost = |reason: String| OpenError::Lost { path: path.to_owned(), reason };
    let failed =
        |error: io::Error| OpenError::Disk { path: path.to_owned(), reason: error.to_string() };
    // If `path` is a link, both files are at its target.
    let path = &real_place(path).map_err(failed)?;
    let old = Old::open(path, options.page_mib()).map_err(|error| match error {
        OpenError::Corrupt { reason, .. } => {
            lost(format!("the database in it does not open any more ({reason})"))
        }
        other => other,
    })?;
    let network = old.network().ok_or_else(|| lost("its genesis cannot be read".to_owned()))?;

    let unfinished = path.with_extension("redb-rebuilt");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let fault = |fault| OpenError::from_fault(&unfinished, fault);
    drop(store::create(&unfinished, &network, old.checkpoint().as_ref(), options.page_mib())?);
    let mut chain = Chain::open(&unfinished, options)?;
    let goal = old.copy_blocks(&mut chain, now, progress).map_err(fault)?;
    old.copy_trades(&mut chain, now).map_err(fault)?;
    let mut audit = chain.verify(&mut |_, _| true).map_err(fault)?;
    drop(chain);

    let backup = path.with_file_name(format!("chain-damaged-{now}.redb"));
    // The backup gets its name before the rename, so that `path` exists at every moment.
    fs::hard_link(path, &backup).or_else(|_| copy_private(path, &backup)).map_err(failed)?;
    // The damaged file may belong to another user. Its mode does not matter for the new one.
    let _ = make_private(&backup);
    take_place(&unfinished, path).map_err(failed)?;
    let above = if goal > audit.height {
        format!(
            "; what was above, up to height {goal}, is damaged and is fetched again from friends \
             when the node runs"
        )
    } else {
        String::new()
    };
    audit.ok = false;
    audit.problem = Some(format!(
        "the file was damaged: it is made anew from its blocks up to height {}{above}; the \
         damaged file is kept as {}",
        audit.height,
        backup.display()
    ));
    Ok(Salvaged { audit, backup })
}

/// The damaged database, read as far as possible.
struct Old {
    path: PathBuf,
    /// The last commit, then the one before it, as far as they open. They are never closed, because
    /// closing reads them too.
    commits: Vec<ManuallyDrop<ReadOnlyDatabase>>,
    /// The whole blocks in the file's leaf pages: position and length. Trees may have lost them.
    leaves: BTreeMap<BlockKey, (u64, usize)>,
}

impl Old {
    /// Opens the commits that open, and finds the blocks in the leaf pages.
    ///
    /// # Errors
    /// The error of the last commit, if neither opens and there are no blocks.
    fn open(path: &Path, cache_mib: usize) -> Result<Self, OpenError> {
        let open = |commit| contained(path, || store::damaged_database(path, commit, cache_mib));
        let mut leaves = BTreeMap::new();
        let scanned = leaves::scan(path, |key: &BlockKey, at, bytes| {
            if !leaves.contains_key(key) && stored_block(bytes, &split_block_key(key).1).is_ok() {
                leaves.insert(*key, (at, bytes.len()));
            }
        });
        scanned.map_err(|error| OpenError::Disk {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let commits = match (open(Commit::Last), open(Commit::Previous)) {
            (Err(error), Err(_)) if leaves.is_empty() => return Err(error),
            (last, previous) => last.into_iter().chain(previous).map(ManuallyDrop::new),
        };
        Ok(Self { path: path.to_owned(), commits: commits.collect(), leaves })
    }

    /// Reads a value from the newest commit in which that value is whole.
    fn first<T>(&self, read: impl Fn(&ReadOnlyDatabase) -> Option<T>) -> Option<T> {
        self.commits.iter().find_map(|commit| contain(|| read(commit)).ok().flatten())
    }

    /// Reads one value of the meta table.
    fn meta(&self, name: &'static str) -> Option<Vec<u8>> {
        self.first(|commit| {
            let table = commit.begin_read().ok()?.open_table(META).ok()?;
            table.get(name).ok()?.map(|value| value.value().to_vec())
        })
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        let work = self.meta(META_MIN_WORK)?.try_into().ok().map(Work::from_be_bytes)?;
        let (height, hash) = split_block_key(&self.meta(META_CHECKPOINT)?.try_into().ok()?);
        Some(Checkpoint { height, hash, work })
    }

    /// Reads the network from the meta table, or else from the first block, whose work proves that
    /// it is the genesis.
    fn network(&self) -> Option<Network> {
        let of_meta = self.meta(META_GENESIS).and_then(|bytes| from_bytes::<Block>(&bytes).ok());
        of_meta.and_then(|genesis| Network::from_genesis(genesis).ok()).or_else(|| {
            let first = self.block_keys().into_iter().next()?;
            Network::from_genesis(self.block(&first)?).ok()
        })
    }

    /// Reads the entries of a table from both ends, each up to the first damage. If both commits
    /// have an entry, the newer one wins.
    fn values<K, V, T>(
        &self,
        table: TableDefinition<'static, &'static K, V>,
        take: impl Fn(&K, V::SelfType<'_>) -> T,
    ) -> BTreeMap<K, T>
    where
        &'static K: for<'a> redb::Key<SelfType<'a> = &'a K> + 'static,
        K: Ord + Clone + 'static,
        V: Value + 'static,
    {
        let mut found = BTreeMap::new();
        let reads = self.commits.iter().flat_map(|commit| [(commit, false), (commit, true)]);
        for (commit, backwards) in reads {
            // Entries that were read before a panic are kept.
            let _ = contain(|| {
                let table = commit.begin_read().ok()?.open_table(table).ok()?;
                let mut range = table.range::<&K>(..).ok()?;
                let mut last: Option<K> = None;
                while let Some(Ok((key, value))) =
                    if backwards { range.next_back() } else { range.next() }
                {
                    let key = key.value();
                    // A damaged tree may contain a cycle.
                    let goes_on = last
                        .as_ref()
                        .is_none_or(|last| if backwards { key < last } else { key > last });
                    if !goes_on {
                        break;
                    }
                    last = Some(key.clone());
                    if !found.contains_key(key) {
                        found.insert(key.clone(), take(key, value.value()));
                    }
                }
                Some(())
            });
        }
        found
    }

    /// Feeds every readable block to the new chain: the old best chain first, then the others, each
    /// lowest first. Returns the greatest height in the old file.
    fn copy_blocks(
        &self,
        chain: &mut Chain,
        now: UnixMillis,
        progress: &mut dyn FnMut(Height, Height),
    ) -> Result<Height, ChainFault> {
        let connected = self.values(HEADERS, |_, bytes| {
            HeaderRecord::from_bytes(bytes).is_ok_and(|record| record.status == Status::Connected)
        });
        let is_connected = |key: &BlockKey| connected.get(key) == Some(&true);
        let (best, others): (Vec<_>, Vec<_>) =
            self.block_keys().into_iter().partition(is_connected);
        let goal = best.iter().chain(&others).map(|key| split_block_key(key).0).max().unwrap_or(0);
        for key in best.into_iter().chain(others) {
            let (height, _) = split_block_key(&key);
            let Some(block) = self.block(&key) else { continue };
            // No block is settled in the new file, so a better chain from friends may undo it all.
            let time = block.header.time.max(now);
            match chain.accept_block(block, Origin::Local, time) {
                Err(AcceptBlockError::Fault(fault)) => return Err(fault),
                Ok(_) | Err(_) => progress(height, goal),
            }
            if chain.is_full() {
                chain.commit()?;
            }
        }
        chain.commit()?;
        Ok(goal)
    }

    /// Returns the keys of the blocks in the trees and in the leaf pages.
    fn block_keys(&self) -> BTreeSet<BlockKey> {
        let of_trees = self.values(BLOCKS, |_, _| ()).into_keys();
        of_trees.chain(self.leaves.keys().copied()).collect()
    }

    /// Reads a whole block from a tree or from a leaf page.
    fn block(&self, key: &BlockKey) -> Option<Block> {
        let hash = split_block_key(key).1;
        let of_tree = self.first(|commit| {
            let table = commit.begin_read().ok()?.open_table(BLOCKS).ok()?;
            stored_block(table.get(key).ok()??.value(), &hash).ok()
        });
        of_tree.or_else(|| {
            let (at, length) = *self.leaves.get(key)?;
            stored_block(&leaves::read(&self.path, at, length)?, &hash).ok()
        })
    }

    /// Copies this node's own trades to the new chain; peers send their trades again. A damaged own
    /// record is replaced by its copy in the mempool or on the chain.
    fn copy_trades(&self, chain: &mut Chain, now: UnixMillis) -> Result<(), ChainFault> {
        let network = Arc::clone(chain.network());
        let named =
            |record: OwnRecord| Some((true_name(&record.transaction, &network.id)?, record));
        let waiting =
            self.values(MEMPOOL, |_, bytes| stored::<MempoolRecord>("a waiting trade", bytes).ok());
        let local =
            waiting.into_values().flatten().filter(|record| record.local).filter_map(|record| {
                let transaction = Transaction::clone(&record.transaction);
                named(OwnRecord { added: record.added, void: String::new(), transaction })
            });
        let mut whole: BTreeMap<_, _> = local.collect();
        for (key, record) in
            self.values(OWN, |_, bytes| stored::<OwnRecord>("an own trade", bytes).ok())
        {
            if let Some((txid, record)) = record.and_then(named) {
                whole.insert(txid, record);
            } else if let Some(record) = chain.other_copy(TxId(key))? {
                whole.insert(TxId(key), record);
            }
        }
        // A record in a leaf page is genuine if its key is the id of its transaction.
        let scanned = leaves::scan(&self.path, |key: &[u8; 32], _, bytes| {
            let record = stored::<OwnRecord>("an own trade", bytes).ok().and_then(named);
            if let Some((txid, record)) = record.filter(|(txid, _)| txid.0 == *key) {
                whole.entry(txid).or_insert(record);
            }
        });
        scanned.map_err(|error| ChainFault::Disk(error.to_string()))?;
        chain.adopt_own(whole, now)?;
        chain.commit()
    }
}

impl Chain {
    /// Adopts own trades from another chain of the same network. Unmined ones enter the mempool or
    /// become void.
    fn adopt_own(
        &mut self,
        records: BTreeMap<TxId, OwnRecord>,
        now: UnixMillis,
    ) -> Result<(), ChainFault> {
        let mut open = Vec::new();
        for (txid, record) in records {
            self.own.load(txid, !record.void.is_empty());
            self.overlay.put_own(txid, &record);
            if record.void.is_empty() && self.overlay.location(&txid)?.is_none() {
                open.push((txid, record));
            }
        }
        let why = "it was saved from a damaged file, and an input of it is not there";
        self.readmit_own(open, why, now)?;
        self.settle_mempool(now)
    }
}
