//! `load` reads a [`Chain`] from its file.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use redb::{ReadableTable as _, ReadableTableMetadata as _};

use super::{
    announcements::Announcements,
    attended::Attended,
    errors::ChainFault,
    header_tree::{HeaderTree, MAX_SIDE_BYTES, TreeLoader},
    mempool::Mempool,
    orphans::{EarlyHeaders, OrphanBlocks},
    own::OwnTransactions,
    signature_cache::SignatureCache,
    state::{Chain, ChainOptions, MIN_REORGANISATION_MIB, SideBodies},
    store::{
        Store,
        overlay::Overlay,
        tables::{
            HeaderRecord, META_ATTENDED, META_BEST_HEADER, META_CHECKPOINT, META_MIN_WORK,
            META_TIP, MempoolRecord, OwnRecord, ReadTables, split_block_key, stored, tx_key,
        },
    },
};
use crate::{
    consensus::{Checkpoint, Network, Work, verify_signatures},
    primitives::{BlockHash, Header, NetworkId, Transaction, TxId},
};

/// Headers in one batch for the hashing thread while a chain is opened: half a megabyte.
const HASHED_TOGETHER: usize = 4_096;

/// Maximum number of batches that are read ahead of the hashing: 4 × 0.5 MB = 2 MB.
const BATCHES_READ: usize = 4;

/// Maximum number of headers for which memory is reserved up front (1 GB), since a damaged file may
/// report any number.
const MAX_RESERVED: usize = 5_000_000;

impl Chain {
    /// Reads all headers, the stored mempool and this node's own trades.
    pub(super) fn load(store: Store, options: ChainOptions) -> Result<Self, ChainFault> {
        let network = Arc::clone(store.network());
        let tables = store.read()?;
        let tree = load_tree(&tables, &network)?;
        let best = (tree.node(tree.best()).key(), tree.node(tree.tip()).key());
        if best != (tables.meta_key(META_BEST_HEADER)?, tables.meta_key(META_TIP)?) {
            return Err(ChainFault::Corrupt("its tip is not the end of its chain".into()));
        }

        let checkpoint = load_checkpoint(&tables)?;
        let attended = tables.meta.get(META_ATTENDED)?;
        let attended = attended.map(|row| Attended::from_bytes(row.value())).unwrap_or_default();
        let mut waiting = Vec::new();
        for entry in tables.mempool.iter()? {
            let (key, value) = entry?;
            waiting.push((
                TxId(*key.value()),
                stored::<MempoolRecord>("a waiting trade", value.value())?,
            ));
        }
        waiting.sort_by_key(|(_, record)| record.sequence);
        let damaged = mend_damaged(&mut waiting, &tables, &network, options.threads)?;
        let mut own = OwnTransactions::default();
        for entry in tables.own.iter()? {
            let (key, value) = entry?;
            let record: OwnRecord = stored("an own trade", value.value())?;
            own.load(TxId(*key.value()), !record.void.is_empty());
        }
        drop(tables);

        let mut chain = Self {
            network,
            reorganisation_mib: options.cache_mib.max(MIN_REORGANISATION_MIB),
            options,
            overlay: Overlay::new(store),
            tree,
            mempool: Mempool::default(),
            verified: SignatureCache::default(),
            own,
            orphans: OrphanBlocks::default(),
            early: EarlyHeaders::default(),
            window: None,
            template: None,
            generation: 0,
            checkpoint,
            attended,
            too_large: None,
            side_bodies: SideBodies { bytes: usize::MAX, max_bytes: MAX_SIDE_BYTES },
            rebuilding: false,
            announcements: Announcements::default(),
        };
        // A crash during a reindex leaves stored blocks unconnected. Blocks that connect for the
        // first time get the last time at which this node is known to have run. An earlier time
        // would make a later reorg appear to disconnect old blocks.
        let now = chain.tree.last_connection();
        chain.catch_up(now, &mut |_, _| true)?;
        chain.bound_headers()?;
        chain.restore_mempool(waiting)?;
        for txid in damaged {
            chain.overlay.remove_waiting(txid);
            chain.keep(txid, now);
        }
        chain.commit()?;
        // No receiver exists yet, so these events are dropped.
        chain.announcements.take_ready();
        Ok(chain)
    }
}

/// Returns the id of a stored trade if its signatures are valid. The trade is then intact, even
/// under a wrong key.
pub(super) fn true_name(transaction: &Transaction, network: &NetworkId) -> Option<TxId> {
    let txid = transaction.txid();
    verify_signatures(network, &[(transaction, txid)], 1).is_ok().then_some(txid)
}

/// True if a stored trade has the id `txid` and valid signatures.
pub(super) fn is_whole(txid: TxId, transaction: &Transaction, network: &NetworkId) -> bool {
    true_name(transaction, network) == Some(txid)
}

/// Replaces damaged mempool entries by their copies in the table of own trades, and removes those
/// without a copy. Returns the ids of both.
///
/// An entry is damaged if its id or its signatures are wrong. Restored entries count as verified,
/// so a damaged one would invalidate every block that is mined with it.
fn mend_damaged(
    waiting: &mut Vec<(TxId, MempoolRecord)>,
    tables: &ReadTables,
    network: &Network,
    threads: usize,
) -> Result<Vec<TxId>, ChainFault> {
    let (mut sound, mut damaged) = (0usize, Vec::new());
    loop {
        let rest = waiting.iter().skip(sound);
        let named: Vec<_> =
            rest.clone().map(|(txid, record)| (&*record.transaction, *txid)).collect();
        let misnamed = rest.take_while(|(txid, record)| record.transaction.txid() == *txid).count();
        let forged =
            verify_signatures(&network.id, &named, threads).err().map(|(position, _)| position);
        let position = forged.unwrap_or(named.len()).min(misnamed);
        sound = sound.saturating_add(position);
        let Some((txid, record)) = waiting.get_mut(sound) else { return Ok(damaged) };
        tracing::warn!(%txid, "a stored trade is damaged");
        damaged.push(*txid);
        let own = tables.own.get(tx_key(txid))?;
        let own =
            own.map(|bytes| stored::<OwnRecord>("an own trade", bytes.value())).transpose()?;
        match own
            .filter(|own| own.void.is_empty() && is_whole(*txid, &own.transaction, &network.id))
        {
            Some(own) => {
                record.transaction = Arc::new(own.transaction);
                sound = sound.saturating_add(1);
            }
            None => drop(waiting.remove(sound)),
        }
    }
}

/// Reads the checkpoint that the chain was joined with.
fn load_checkpoint(tables: &ReadTables) -> Result<Option<Checkpoint>, ChainFault> {
    let Some(row) = tables.meta.get(META_CHECKPOINT)? else { return Ok(None) };
    let work = tables.meta.get(META_MIN_WORK)?;
    let work = work.and_then(|work| work.value().try_into().ok()).map(Work::from_be_bytes);
    let (Ok(key), Some(work)) = (row.value().try_into(), work) else {
        return Err(ChainFault::Corrupt("its checkpoint does not read back".into()));
    };
    let (height, hash) = split_block_key(&key);
    Ok(Some(Checkpoint { height, hash, work }))
}

/// Builds the header tree from the stored headers.
pub(super) fn load_tree(tables: &ReadTables, network: &Network) -> Result<HeaderTree, ChainFault> {
    let corrupt = |what: &str| ChainFault::Corrupt(what.to_owned());
    let (best, _) = split_block_key(&tables.meta_key(META_BEST_HEADER)?);
    let count = usize::try_from(tables.headers.len()?).unwrap_or(usize::MAX).min(MAX_RESERVED);
    let mut records = tables.headers.iter()?.map(|entry| {
        let (key, value) = entry?;
        let (_, hash) = split_block_key(key.value());
        Ok::<_, ChainFault>((hash, HeaderRecord::from_bytes(value.value())?))
    });
    let (hash, genesis) = records.next().ok_or_else(|| corrupt("it has no headers"))??;
    if hash != network.id || genesis.header.hash() != hash {
        return Err(corrupt("its first header is not the genesis"));
    }
    // Hashing takes as long as reading, so a second thread does it.
    thread::scope(|scope| {
        let (batches, read) = mpsc::sync_channel::<Vec<(BlockHash, Header)>>(BATCHES_READ);
        let hash_all = move || read.iter().flatten().all(|(hash, header)| header.hash() == hash);
        // If the system gives no thread, this one hashes too.
        let hashing = thread::Builder::new().spawn_scoped(scope, hash_all).ok();
        let is_wrong =
            |hash: &BlockHash, header: &Header| hashing.is_none() && header.hash() != *hash;
        let mut loader = TreeLoader::new(&genesis, best, count);
        let mut batch = Vec::with_capacity(HASHED_TOGETHER);
        for record in records {
            let (hash, record) = record?;
            loader.add(hash, &record).ok_or_else(|| corrupt("a header's parent is missing"))?;
            if is_wrong(&hash, &record.header) {
                return Err(corrupt("a header is not the one of its hash"));
            }
            batch.push((hash, record.header));
            if batch.len() == HASHED_TOGETHER {
                // The receiver is dropped once a header is wrong.
                let _ = batches
                    .send(std::mem::replace(&mut batch, Vec::with_capacity(HASHED_TOGETHER)));
            }
        }
        let _ = batches.send(batch);
        drop(batches);
        let tree = loader.finish();
        if hashing.is_none_or(|hashing| hashing.join().unwrap_or(false)) {
            Ok(tree)
        } else {
            Err(corrupt("a header is not the one of its hash"))
        }
    })
}
