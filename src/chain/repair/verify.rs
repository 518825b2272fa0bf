//! `verify` checks the whole chain from genesis, and `reindex` rebuilds its tables from the blocks.

use std::{collections::HashMap, sync::Arc};

use redb::{ReadableTable as _, ReadableTableMetadata as _};
use sha2::{Digest, Sha256};

use crate::{
    chain::{
        api::ChainAudit,
        coins::{self, Body, Refusal},
        errors::ChainFault,
        header_tree::{Node, NodeId},
        load::{is_whole, load_tree},
        state::Chain,
        store::{
            Status,
            reader::stored_block,
            tables::{
                MempoolRecord, OwnRecord, ReadTables, TxLocation, Undo, block_key, coin_from_bytes,
                coin_to_bytes, split_block_key, stored, tx_key,
            },
        },
    },
    consensus::{CheckedHeader, Coin, CoinKey, HeaderWindow, Work, check_block, check_header},
    primitives::{Amount, Height, NetworkId, Transaction, TxId, UnixMillis},
    storage::contain,
};

/// Totals over the coins table.
struct CoinsSummary {
    coins: u64,
    supply: Amount,
    hash: [u8; 32],
}

/// The reason why an audit stopped early.
enum Finding {
    /// An inconsistency, described in a sentence.
    Problem(String),
    /// A disk failure, or a cancelled audit.
    Fault(ChainFault),
}

impl<E: Into<ChainFault>> From<E> for Finding {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

fn summarise(tables: &ReadTables) -> Result<CoinsSummary, ChainFault> {
    let (mut coins, mut supply, mut hasher) = (0u64, Amount::ZERO, Sha256::new());
    for entry in tables.coins.iter()? {
        let (key, value) = entry?;
        hasher.update(key.value());
        hasher.update(value.value());
        let coin = coin_from_bytes(value.value())?;
        coins = coins.saturating_add(u64::from(!coin.is_stamp()));
        supply = supply.saturating_add(coin.value);
    }
    Ok(CoinsSummary { coins, supply, hash: hasher.finalize().into() })
}

impl Chain {
    /// Returns the SHA-256 over all entries of the coins table in key order. Two chains with the
    /// same tip have the same hash.
    ///
    /// # Errors
    /// A disk failure.
    pub fn coins_hash(&mut self) -> Result<[u8; 32], ChainFault> {
        self.commit()?;
        Ok(summarise(&self.overlay.store().read()?)?.hash)
    }

    /// Checks everything from genesis: headers, bodies, signatures, coins, undo records and index.
    ///
    /// `progress` receives the current height and the goal, and returns false to cancel.
    ///
    /// # Errors
    /// A disk failure or a cancellation. An inconsistency is not an error; the audit reports it.
    pub fn verify(
        &mut self,
        progress: &mut dyn FnMut(Height, Height) -> bool,
    ) -> Result<ChainAudit, ChainFault> {
        self.commit()?;
        let tables = self.overlay.store().read()?;
        let (mut summary, mut problem) = (None, None);
        // Reading damaged pages may panic. The closure changes nothing, so the panic leaves no
        // broken state.
        let checked = contain(|| {
            summary = Some(summarise(&tables)?);
            let mut coins = self.walk(&tables, progress)?;
            compare(&tables, &mut coins)?;
            self.check_tree()?;
            self.check_side_branches(&tables)?;
            check_trades(&tables, &self.network.id)?;
            Ok(())
        });
        match checked {
            Ok(Ok(())) => {}
            Ok(Err(Finding::Problem(found))) => problem = Some(found),
            Err(reason) | Ok(Err(Finding::Fault(ChainFault::Corrupt(reason)))) => {
                problem = Some(reason);
            }
            Ok(Err(Finding::Fault(fault))) => return Err(fault),
        }
        let problem = problem.map(|found| format!("{found}; reindex mends what can be mended"));
        Ok(self.audit(summary.as_ref(), problem))
    }

    fn audit(&self, summary: Option<&CoinsSummary>, problem: Option<String>) -> ChainAudit {
        let tip = self.tip();
        let nothing = CoinsSummary { coins: 0, supply: Amount::ZERO, hash: [0; 32] };
        let summary = summary.unwrap_or(&nothing);
        ChainAudit {
            height: tip.height,
            tip: tip.hash,
            coins: summary.coins,
            supply: summary.supply,
            coins_hash: summary.hash,
            ok: problem.is_none(),
            problem,
        }
    }

    /// Connects the best chain again in a separate map, and returns the resulting coins.
    fn walk(
        &self,
        tables: &ReadTables,
        progress: &mut dyn FnMut(Height, Height) -> bool,
    ) -> Result<HashMap<CoinKey, Coin>, Finding> {
        let tip = self.tip().height;
        let mut coins = HashMap::new();
        let (mut window, mut work) = self.first_window(tables)?;
        let mut transactions = 0u64;
        for height in 0..=tip {
            let missing = || Finding::Problem(format!("block {height} is not in the tree"));
            let node = *self.tree.node(self.tree.connected_at(height).ok_or_else(missing)?);
            let key = node.key();
            let problem = |what: &str| problem(&node, what);
            let bytes = tables.blocks.get(&key)?.ok_or_else(|| problem("has no body"))?;
            let block = match stored_block(bytes.value(), &node.hash) {
                Err(ChainFault::Corrupt(_)) => return Err(problem("has a damaged body")),
                block => block?,
            };
            let body = if height == 0 {
                Body::from_store(block)
            } else {
                let checked = self.checked_header(tables, &node, &mut window, &mut work)?;
                let checked = check_block(Arc::new(block), &checked)
                    .map_err(|error| problem(&error.to_string()))?;
                Body::from_checked(checked)
            };
            let undo =
                coins::connect(&mut coins, &self.network, &body, self.options.threads, |_| false);
            let undo = undo.map_err(|refusal| match refusal {
                Refusal::Rule(error) => problem(&error.to_string()),
                Refusal::Fault(fault) => Finding::Fault(fault),
            })?;
            let kept = tables.undo.get(&key)?.ok_or_else(|| problem("has no undo record"))?;
            if stored::<Undo>("an undo record", kept.value())? != undo {
                return Err(problem("has a wrong undo record"));
            }
            transactions = transactions.saturating_add(body.txids.len() as u64);
            for (position, txid) in (0u32..).zip(&body.txids) {
                let location = tables
                    .tx_index
                    .get(tx_key(txid))?
                    .map(|bytes| TxLocation::from_bytes(*bytes.value()));
                if location != Some(TxLocation { height, position }) {
                    return Err(problem(&format!(
                        "has transaction {txid}, which the index does not know"
                    )));
                }
            }
            if !progress(height, tip) {
                return Err(Finding::Fault(ChainFault::Cancelled));
            }
        }
        let entries = tables.tx_index.len()?;
        if entries != transactions {
            let what = format!(
                "the index has {entries} entries, and the blocks have {transactions} transactions"
            );
            return Err(Finding::Problem(what));
        }
        Ok(coins)
    }

    /// Returns the header window and the work at genesis.
    fn first_window(&self, tables: &ReadTables) -> Result<(HeaderWindow, Work), Finding> {
        let work = self.network.genesis_work();
        let record = tables.header(&block_key(0, &self.network.id))?;
        if record.is_some_and(|record| record.work == work) {
            Ok((HeaderWindow::genesis(&self.network), work))
        } else {
            Err(Finding::Problem("the genesis has another work than stored".to_owned()))
        }
    }

    /// Checks the stored header of a block on the best chain against its predecessors.
    fn checked_header(
        &self,
        tables: &ReadTables,
        node: &Node,
        window: &mut HeaderWindow,
        work: &mut Work,
    ) -> Result<CheckedHeader, Finding> {
        let record = tables.header(&node.key())?.ok_or_else(|| problem(node, "has no header"))?;
        // The header's own time is the earliest clock that accepts it.
        let checked = check_header(&record.header, &self.network, window, record.header.time)
            .map_err(|error| problem(node, &error.to_string()))?;
        window.push(&checked);
        *work = work.saturating_add(checked.work());
        if *work == record.work {
            Ok(checked)
        } else {
            Err(problem(node, "has another cumulative work than stored"))
        }
    }

    /// Checks the headers of the best chain. A reindex relies on them.
    fn check_headers(&self, tables: &ReadTables) -> Result<(), Finding> {
        let (mut window, mut work) = self.first_window(tables)?;
        let above = self.tree.connected().iter().skip(1);
        for id in above {
            self.checked_header(tables, self.tree.node(*id), &mut window, &mut work)?;
        }
        Ok(())
    }

    /// Checks the stored header records beside and above the best chain.
    fn check_tree(&self) -> Result<(), Finding> {
        let misfit =
            self.tree.misfit().map(|id| problem(self.tree.node(id), "has a damaged header record"));
        misfit.map_or(Ok(()), Err)
    }

    /// Checks that stored blocks beside the best chain match their hashes.
    fn check_side_branches(&self, tables: &ReadTables) -> Result<(), Finding> {
        match self.damaged_side_block(tables)? {
            Some(id) => Err(problem(self.tree.node(id), "has a damaged body")),
            None => Ok(()),
        }
    }

    /// Finds a stored block beside the best chain that does not match its hash.
    fn damaged_side_block(&self, tables: &ReadTables) -> Result<Option<NodeId>, ChainFault> {
        let mut last = None;
        for entry in tables.blocks.iter()? {
            let (key, bytes) = entry?;
            // A lookup of a key that is out of order is unreliable: the result changes with its
            // neighbours.
            if last.replace(*key.value()) >= Some(*key.value()) {
                return Err(ChainFault::Corrupt("the stored blocks are out of order".into()));
            }
            let (_, hash) = split_block_key(key.value());
            let Some(id) =
                self.tree.id(&hash).filter(|id| self.tree.node(*id).status == Status::Stored)
            else {
                continue;
            };
            match stored_block(bytes.value(), &hash) {
                Err(ChainFault::Corrupt(_)) => return Ok(Some(id)),
                block => drop(block?),
            }
        }
        Ok(None)
    }

    /// Rebuilds coins, undo records and index from the stored blocks. `ok` is true if the old coins
    /// were correct.
    ///
    /// The work is committed in parts. After a crash in the middle, the next opening of the chain
    /// continues it.
    ///
    /// # Errors
    /// A disk failure, or [`ChainFault::Corrupt`] if the damage cannot be repaired in place.
    pub fn reindex(
        &mut self,
        now: UnixMillis,
        progress: &mut dyn FnMut(Height, Height) -> bool,
    ) -> Result<ChainAudit, ChainFault> {
        self.commit()?;
        if let Err(Finding::Problem(problem)) = self.check_tree() {
            return Err(ChainFault::Corrupt(problem));
        }
        let before = (self.tip(), hash_if_readable(&self.overlay.store().read()?));
        self.overlay.reset()?;
        self.tree = {
            let tables = self.overlay.store().read()?;
            let index = std::sync::Arc::clone(self.tree.index());
            load_tree(&tables, &self.network)?.with_index(index)
        };
        self.window = None;
        self.template = None;
        // The genesis is not connected again, so its body is written here.
        let genesis = block_key(0, &self.network.id);
        self.overlay.put_block(genesis, &self.network.genesis);
        self.catch_up(now, progress)?;
        self.bound_headers()?;
        self.commit()?;
        while let Some(id) = {
            let tables = self.overlay.store().read()?;
            self.damaged_side_block(&tables)?
        } {
            self.forget_bodies(id)?;
            self.commit()?;
        }
        self.recheck_mempool()?;
        self.commit()?;
        let lost = self.mend_trades(now)?;
        self.commit()?;
        let tables = self.overlay.store().read()?;
        let summary = summarise(&tables)?;
        // Some damage cannot be repaired in place, such as keys that are out of order.
        match self.check_headers(&tables).and_then(|()| check_trades(&tables, &self.network.id)) {
            Ok(()) => {}
            Err(Finding::Problem(problem)) => return Err(ChainFault::Corrupt(problem)),
            Err(Finding::Fault(fault)) => return Err(fault),
        }
        let forgotten = lost.map(|txid| {
            format!(
                "the own trade {txid} was damaged, and there is no other copy of \
                 it: it is forgotten"
            )
        });
        let tip = self.tip();
        let problem = if tip.hash != before.0.hash {
            let (height, was) = (tip.height.saturating_add(1), before.0.height);
            Some(format!(
                "the stored blocks lead to {} at height {}, not to {} at height {was}: from \
                 height {height} on they were \
                 damaged, and are fetched again from friends when the node runs",
                tip.hash, tip.height, before.0.hash
            ))
        } else if Some(summary.hash) != before.1 {
            Some("the old coins were not those that the blocks lead to; they are now".to_owned())
        } else {
            forgotten
        };
        Ok(self.audit(Some(&summary), problem))
    }

    /// Repairs the tables of mempool entries and own trades.
    ///
    /// Records of trades that left the mempool are removed. Damaged own records are rewritten from
    /// the mempool or the chain. An own trade that is neither waiting, mined nor void is admitted
    /// again. A damaged own trade without another copy is removed, and its id is returned.
    ///
    /// The caller has rechecked the mempool and committed everything.
    fn mend_trades(&mut self, now: UnixMillis) -> Result<Option<TxId>, ChainFault> {
        let tables = self.overlay.store().read()?;
        for entry in tables.mempool.iter()? {
            let txid = TxId(*entry?.0.value());
            match self.mempool.get(&txid).map(|waiting| waiting.entry.local) {
                None => self.overlay.remove_waiting(txid),
                Some(true) if tables.own.get(tx_key(&txid))?.is_none() => {
                    if let Some(record) = self.other_copy(txid)? {
                        self.overlay.put_own(txid, &record);
                    }
                }
                Some(_) => {}
            }
        }
        let (mut lost, mut astray) = (None, Vec::new());
        for entry in tables.own.iter()? {
            let (key, value) = entry?;
            let txid = TxId(*key.value());
            let record = stored::<OwnRecord>("an own trade", value.value()).ok();
            let whole =
                record.filter(|record| is_whole(txid, &record.transaction, &self.network.id));
            let record = if let Some(record) = whole {
                record
            } else if let Some(record) = self.other_copy(txid)? {
                self.overlay.put_own(txid, &record);
                record
            } else {
                self.own.remove(&txid);
                self.overlay.remove_own(txid);
                lost = Some(txid);
                continue;
            };
            let is_astray = record.void.is_empty()
                && self.mempool.get(&txid).is_none()
                && self.overlay.location(&txid)?.is_none();
            self.own.load(txid, !record.void.is_empty());
            if is_astray {
                astray.push((txid, record));
            }
        }
        self.readmit_own(astray, "it was lost by damage, and an input of it is gone", now)?;
        Ok(lost)
    }

    /// Reconstructs the record of an own trade from the mempool or the chain.
    pub(in crate::chain) fn other_copy(
        &mut self,
        txid: TxId,
    ) -> Result<Option<OwnRecord>, ChainFault> {
        let void = String::new();
        if let Some(waiting) = self.mempool.get(&txid) {
            let transaction = Transaction::clone(&waiting.entry.transaction);
            return Ok(Some(OwnRecord { added: waiting.entry.added, void, transaction }));
        }
        let Some(location) = self.overlay.location(&txid)? else { return Ok(None) };
        let transaction = Transaction::clone(&self.mined_transaction(txid, location)?.transaction);
        let added = self.tree.connected_at(location.height).map_or(0, |id| self.tree.node(id).time);
        Ok(Some(OwnRecord { added, void, transaction }))
    }
}

/// Returns the hash of the coins table, if all of it is readable.
fn hash_if_readable(tables: &ReadTables) -> Option<[u8; 32]> {
    contain(|| summarise(tables)).ok()?.ok().map(|summary| summary.hash)
}

fn problem(node: &Node, what: &str) -> Finding {
    Finding::Problem(format!("block {} at height {} {what}", node.hash, node.height))
}

/// Checks that stored mempool entries and own trades decode and match their ids. Each own trade
/// must be waiting, mined or void.
fn check_trades(tables: &ReadTables, network: &NetworkId) -> Result<(), Finding> {
    let check = |txid: TxId, transaction: &Transaction| {
        let damaged = || Finding::Problem(format!("the stored trade {txid} is damaged"));
        if is_whole(txid, transaction, network) { Ok(()) } else { Err(damaged()) }
    };
    for entry in tables.mempool.iter()? {
        let (key, value) = entry?;
        let (txid, record) =
            (TxId(*key.value()), stored::<MempoolRecord>("a waiting trade", value.value())?);
        check(txid, &record.transaction)?;
        if record.local && tables.own.get(tx_key(&txid))?.is_none() {
            return Err(Finding::Problem(format!(
                "the own trade {txid} waits, and is not among the own ones"
            )));
        }
    }
    for entry in tables.own.iter()? {
        let (key, value) = entry?;
        let (txid, record) =
            (TxId(*key.value()), stored::<OwnRecord>("an own trade", value.value())?);
        check(txid, &record.transaction)?;
        let key = tx_key(&txid);
        if record.void.is_empty()
            && tables.mempool.get(key)?.is_none()
            && tables.tx_index.get(key)?.is_none()
        {
            return Err(Finding::Problem(format!(
                "the own trade {txid} neither waits nor is mined nor void"
            )));
        }
    }
    Ok(())
}

/// Compares the coins table with the coins that the blocks produce.
fn compare(tables: &ReadTables, coins: &mut HashMap<CoinKey, Coin>) -> Result<(), Finding> {
    let name = |key: &CoinKey| format!("{}:{}", key.outpoint.txid, key.outpoint.index);
    for entry in tables.coins.iter()? {
        let (key, value) = entry?;
        let key = CoinKey::from_bytes(key.value());
        if coins.remove(&key).as_ref().map(coin_to_bytes) != Some(*value.value()) {
            let what =
                format!("the coin {} is stored, but the blocks do not lead to it", name(&key));
            return Err(Finding::Problem(what));
        }
    }
    match coins.keys().next() {
        Some(key) => {
            let what = format!("the blocks lead to the coin {}, which is not stored", name(key));
            Err(Finding::Problem(what))
        }
        None => Ok(()),
    }
}
