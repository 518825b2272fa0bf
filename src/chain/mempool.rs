//! Trades and notes that wait for a block: which conflict, which rest on which, and which go first.
//!
//! Owned by [`Chain`](super::Chain), which brings the coins of the chain, verifies signatures, and writes entries to the
//! mempool table. Nothing here does I/O. Invariants:
//! - no two entries spend one coin or use one stamp;
//! - every input is on the chain or an output of an entry that was admitted earlier (a lower sequence);
//! - the signatures of every entry were verified.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{
    api::MempoolEntry,
    errors::{AcceptTradeError, ChainFault},
};
use crate::{
    consensus::{self, Coin, CoinKey, TransactionError},
    primitives::{Amount, Height, LeafHash, OutPoint, Transaction, TransactionKind, TxId},
};

/// All waiting transactions, in encoded bytes: half a minute of full blocks.
pub const MAX_MEMPOOL_BYTES: usize = 64 * 1024 * 1024;

/// How many waiting trades one of a peer's may rest on, itself included.
pub const MAX_CHAIN: usize = 25;

/// The same for trades made on this node, so that many can be sent from one coin between two blocks.
pub const MAX_LOCAL_CHAIN: usize = 100;

/// Trades without a fee, and notes, in one block that this node makes, in bytes. Policy, not consensus.
pub const FREE_BYTES_PER_BLOCK: usize = 64 * 1024;

/// A template gives up looking for what still fits after this many that did not.
const MAX_MISFITS: usize = 1_000;

const _: () = assert!(MAX_CHAIN <= MAX_LOCAL_CHAIN && FREE_BYTES_PER_BLOCK < consensus::MAX_BLOCK_BYTES);

/// Where an entry stands among those that pay: units of fee for each 1,000 bytes, then first come.
type Rank = (u64, Reverse<u64>);

/// One waiting transaction.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) entry: MempoolEntry,
    pub(crate) leaf: LeafHash,
    /// Order of admission: parents have lower ones.
    pub(crate) sequence: u64,
    parents: Vec<TxId>,
    keys: Vec<CoinKey>,
}

impl Waiting {
    fn rank(&self) -> Rank {
        (fee_rate(self.entry.fee, self.entry.bytes), Reverse(self.sequence))
    }
}

/// What the checks against chain and mempool found; the signatures are still to be verified.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    fee: Amount,
    parents: Vec<TxId>,
    keys: Vec<CoinKey>,
}

/// The waiting transactions.
#[derive(Debug, Default)]
pub(crate) struct Mempool {
    entries: HashMap<TxId, Waiting>,
    /// Which entry spends a coin or uses a stamp.
    spends: HashMap<CoinKey, TxId>,
    ranks: BTreeSet<(Rank, TxId)>,
    order: BTreeMap<u64, TxId>,
    leaves: HashMap<LeafHash, TxId>,
    bytes: usize,
    next_sequence: u64,
    changes: u64,
}

fn fee_rate(fee: Amount, bytes: usize) -> u64 {
    let bytes = u128::try_from(bytes.max(1)).unwrap_or(u128::MAX);
    let rate = u128::from(fee.units()).saturating_mul(1_000).checked_div(bytes);
    rate.and_then(|rate| u64::try_from(rate).ok()).unwrap_or(u64::MAX)
}

impl Mempool {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Changes with every admission and removal.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// The next admission gets at least this sequence.
    pub(crate) fn continue_from(&mut self, sequence: u64) {
        self.next_sequence = self.next_sequence.max(sequence);
    }

    pub(crate) fn get(&self, txid: &TxId) -> Option<&Waiting> {
        self.entries.get(txid)
    }

    /// The leaves of all entries and their transactions.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = (&LeafHash, &Arc<Transaction>)> {
        self.leaves.iter().filter_map(|(leaf, txid)| Some((leaf, &self.entries.get(txid)?.entry.transaction)))
    }

    /// All entries, parents first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Waiting> {
        self.order.values().filter_map(|txid| self.entries.get(txid))
    }

    /// Which entry spends a coin or uses a stamp.
    pub(crate) fn spender(&self, key: &CoinKey) -> Option<TxId> {
        self.spends.get(key).copied()
    }

    /// The output of an entry, as a coin of the next block.
    pub(crate) fn output(&self, key: &CoinKey, height: Height) -> Option<Coin> {
        let parent = self.entries.get(&key.outpoint.txid)?;
        let output = parent.entry.transaction.outputs.get(usize::try_from(key.outpoint.index).ok()?)?;
        (output.owner == key.owner).then_some(Coin { value: output.value, height, coinbase: false })
    }

    /// Checks everything but signatures and room: form, conflicts, coins, and how much it rests on.
    ///
    /// `coin` looks a place up on the chain; `limit` is how many waiting trades it may rest on, itself included.
    pub(crate) fn check(
        &self,
        transaction: &Transaction,
        txid: TxId,
        next_height: Height,
        limit: usize,
        mut coin: impl FnMut(&CoinKey) -> Result<Option<Coin>, ChainFault>,
    ) -> Result<Candidate, AcceptTradeError> {
        let broken = |error| AcceptTradeError::Transaction { txid, error };
        consensus::check_transaction(transaction).map_err(broken)?;
        if self.entries.contains_key(&txid) {
            return Err(AcceptTradeError::Known { txid });
        }
        let keys: Vec<_> = transaction.inputs.iter().map(CoinKey::of_input).collect();
        let is_note = transaction.kind() == TransactionKind::Note;
        let (mut spent, mut parents) = (Vec::new(), Vec::new());
        for (input, key) in keys.iter().enumerate() {
            let outpoint = key.outpoint;
            if let Some(by) = self.spender(key) {
                return Err(AcceptTradeError::Conflict { txid, outpoint, by });
            }
            if is_note {
                if coin(key)?.is_some() {
                    return Err(broken(TransactionError::StampUsed { index: outpoint.index }));
                }
                continue;
            }
            if let Some(pending) = self.output(key, next_height) {
                spent.push(pending);
                parents.push(outpoint.txid);
                continue;
            }
            spent.push(coin(key)?.ok_or_else(|| broken(TransactionError::MissingCoin { input, outpoint }))?);
        }
        let fee = consensus::check_coins(transaction, &spent, next_height).map_err(broken)?;
        parents.sort_unstable();
        parents.dedup();
        let ancestors = self.ancestors(&parents, limit).len().saturating_add(1);
        if ancestors > limit {
            return Err(AcceptTradeError::TooLongChain { txid, ancestors, limit });
        }
        Ok(Candidate { fee, parents, keys })
    }

    /// The waiting trades that something with these parents rests on; not many more than `limit` are looked at.
    fn ancestors(&self, parents: &[TxId], limit: usize) -> HashSet<TxId> {
        let mut found = HashSet::new();
        let mut open = parents.to_vec();
        while let Some(txid) = open.pop() {
            if found.len() > limit {
                break;
            }
            if found.insert(txid) {
                open.extend(self.entries.get(&txid).into_iter().flat_map(|waiting| waiting.parents.iter().copied()));
            }
        }
        found
    }

    /// What has to leave for a newcomer of that fee and length: those that pay least for their length and that nothing
    /// rests on, never this node's own. `None` when only better ones are left.
    pub(crate) fn room_for(&self, candidate: &Candidate, bytes: usize, max_bytes: usize) -> Option<Vec<TxId>> {
        let rate = fee_rate(candidate.fee, bytes);
        let mut excess = self.bytes.saturating_add(bytes).saturating_sub(max_bytes);
        let mut leaving = Vec::new();
        let mut ranks = self.ranks.iter();
        while excess > 0 {
            let ((lowest, _), txid) = ranks.next()?;
            if *lowest >= rate {
                return None;
            }
            let Some(waiting) = self.entries.get(txid) else { continue };
            let is_free = self.children(waiting).next().is_none() && !candidate.parents.contains(txid);
            if is_free && !waiting.entry.local {
                excess = excess.saturating_sub(waiting.entry.bytes);
                leaving.push(*txid);
            }
        }
        Some(leaving)
    }

    /// Takes in what [`Mempool::check`] passed and whose signatures are verified.
    pub(crate) fn insert(&mut self, mut entry: MempoolEntry, leaf: LeafHash, candidate: Candidate) -> &Waiting {
        let txid = entry.txid;
        entry.fee = candidate.fee;
        let sequence = self.next_sequence;
        self.next_sequence = self.next_sequence.saturating_add(1);
        self.changes = self.changes.wrapping_add(1);
        self.bytes = self.bytes.saturating_add(entry.bytes);
        self.spends.extend(candidate.keys.iter().map(|key| (*key, txid)));
        self.leaves.insert(leaf, txid);
        self.order.insert(sequence, txid);
        let waiting = Waiting { entry, leaf, sequence, parents: candidate.parents, keys: candidate.keys };
        self.ranks.insert((waiting.rank(), txid));
        self.entries.entry(txid).insert_entry(waiting).into_mut()
    }

    /// Makes an entry this node's own; whether it was not before.
    pub(crate) fn adopt(&mut self, txid: &TxId) -> bool {
        self.entries.get_mut(txid).is_some_and(|waiting| !std::mem::replace(&mut waiting.entry.local, true))
    }

    /// Takes out one entry, leaving those that rest on it: for what was mined.
    pub(crate) fn remove(&mut self, txid: &TxId) -> Option<Waiting> {
        let waiting = self.entries.remove(txid)?;
        for child in self.children(&waiting).collect::<Vec<_>>() {
            if let Some(child) = self.entries.get_mut(&child) {
                child.parents.retain(|parent| parent != txid);
            }
        }
        self.ranks.remove(&(waiting.rank(), *txid));
        self.order.remove(&waiting.sequence);
        self.leaves.remove(&waiting.leaf);
        for key in &waiting.keys {
            self.spends.remove(key);
        }
        self.bytes = self.bytes.saturating_sub(waiting.entry.bytes);
        self.changes = self.changes.wrapping_add(1);
        Some(waiting)
    }

    /// Takes out an entry and all that rests on it, in the order of their admission.
    pub(crate) fn remove_with_descendants(&mut self, txid: &TxId) -> Vec<Waiting> {
        let mut found = BTreeMap::new();
        let mut open = vec![*txid];
        while let Some(txid) = open.pop() {
            let Some(waiting) = self.entries.get(&txid) else { continue };
            if found.insert(waiting.sequence, txid).is_none() {
                open.extend(self.children(waiting));
            }
        }
        found.values().filter_map(|txid| self.remove(txid)).collect()
    }

    /// Takes out everything, in the order of admission.
    pub(crate) fn take_all(&mut self) -> Vec<Waiting> {
        let changes = self.changes.wrapping_add(1);
        let next_sequence = self.next_sequence;
        let mut all = std::mem::take(self);
        self.changes = changes;
        self.next_sequence = next_sequence;
        all.order.values().filter_map(|txid| all.entries.remove(txid)).collect()
    }

    /// The entries that spend an output of this one.
    fn children<'a>(&'a self, waiting: &'a Waiting) -> impl Iterator<Item = TxId> + 'a {
        let txid = waiting.entry.txid;
        (0u32..).zip(&waiting.entry.transaction.outputs).filter_map(move |(index, output)| {
            self.spender(&CoinKey { owner: output.owner, outpoint: OutPoint { txid, index } })
        })
    }

    /// What the next block should hold, parents first: by fee for each byte, at most `bytes` long, and at most
    /// [`FREE_BYTES_PER_BLOCK`] of it without a fee.
    pub(crate) fn select(&self, bytes: usize) -> Vec<&Waiting> {
        let (mut room, mut free_room) = (bytes, FREE_BYTES_PER_BLOCK);
        let mut chosen: Vec<&Waiting> = Vec::new();
        let mut included = HashSet::new();
        let mut misfits = 0usize;
        for (_, txid) in self.ranks.iter().rev() {
            if included.contains(txid) {
                continue;
            }
            let mut package: Vec<_> = self.ancestors(&[*txid], usize::MAX).into_iter().collect();
            package.retain(|txid| !included.contains(txid));
            let mut package: Vec<_> = package.iter().filter_map(|txid| self.entries.get(txid)).collect();
            package.sort_unstable_by_key(|waiting| waiting.sequence);
            let length: usize = package.iter().map(|waiting| waiting.entry.bytes).sum();
            let unpaid = package.iter().filter(|waiting| waiting.entry.fee == Amount::ZERO);
            let free: usize = unpaid.map(|waiting| waiting.entry.bytes).sum();
            if length > room || free > free_room {
                misfits = misfits.saturating_add(1);
                if misfits > MAX_MISFITS {
                    break;
                }
                continue;
            }
            room = room.saturating_sub(length);
            free_room = free_room.saturating_sub(free);
            included.extend(package.iter().map(|waiting| waiting.entry.txid));
            chosen.extend(package);
        }
        chosen
    }
}
