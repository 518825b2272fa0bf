//! The mempool holds trades and notes that wait for a block, with their conflicts, ancestors and
//! order.
//!
//! [`Chain`](super::Chain) owns it. The chain looks up coins, verifies signatures, and writes
//! entries to the mempool table; this module does no I/O. `check.rs` decides on admission,
//! `select.rs` fills a block, `fees.rs` defines fee rates, and `free.rs` limits the free trades of
//! each peer.
//!
//! # Invariants
//! - No two entries spend one coin or use one stamp.
//! - Every input is on the chain, or is an output of an entry admitted earlier (a lower sequence).
//! - The signatures of every entry were verified.
//! - An entry's package is the sum over the entry and all its ancestors in the mempool.
//! - Above [`MAX_MEMPOOL_BYTES`], only this node's own entries and their ancestors remain.
//!
//! # Policy
//! Consensus limits what a block may hold. Policy limits what waits here, and each node chooses its
//! own. Either the trade's fee or a limit on the peer that sent it bounds its cost to the node.
//! - *Order*: by the fee rate of a trade or of its package (the trade and its ancestors), whichever
//!   is lower; then first come. A full mempool evicts from the end of this order. [`Floor`] then
//!   rejects trades that pay no more than the evicted one.
//! - *Free* trades pay less than [`PAYING_RATE`]. A fee of one unit does not bypass the limits on
//!   free trades.
//! - *Packages* of ancestors and of descendants are bounded, in number and in bytes. A walk over
//!   them is therefore cheap, and an attacker cannot raise the price of a replacement at will
//!   (pinning).
//! - *Replacement*: see `check.rs`. The same rules allow the replacement of this node's own trades.
//!   Only the holder of a coin's keys can sign two trades that spend it, so the owner decided anew,
//!   perhaps on another machine. Every miner prefers the trade that pays more; keeping the first
//!   would only hide that from the owner.
//! - *Own trades* have no other limit: they and their ancestors neither expire nor get evicted.

mod check;
mod fees;
mod free;
mod select;
#[cfg(any(test, fuzzing))]
mod testing;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use super::{api::MempoolEntry, key_map::KeyMap};
use crate::{
    consensus::{self, Coin, CoinKey},
    primitives::{
        Height, LeafHash, Transaction, TransactionKind, TxId, TxInput, TxOutput, UnixMillis,
    },
};

pub(crate) use check::{Candidate, Rules};
use fees::Package;
pub use fees::{BlockFees, FLOOR_HALF_LIFE_MS, FeeRate, Floor, PAYING_RATE, estimate};
pub(crate) use free::Payer;
use free::{FREE_SHARE, FreeAllowances};

/// Upper bound on the memory of all mempool entries, in bytes: about 37,000 usual trades, which
/// fill 18 blocks of 2,000.
pub const MAX_MEMPOOL_BYTES: usize = 64 * 1024 * 1024;

/// Maximum number of ancestors, and of descendants, of a peer's trade, the trade included.
pub const MAX_CHAIN: usize = 25;

/// Like [`MAX_CHAIN`], for trades made on this node. The limit is higher so that a user can send
/// many trades from one coin between two blocks.
pub const MAX_LOCAL_CHAIN: usize = 100;

/// Maximum bytes of a peer's trade with its ancestors, or with its descendants: one trade of full
/// length and a small one.
pub const MAX_PACKAGE_BYTES: usize = 101_000;

/// Like [`MAX_PACKAGE_BYTES`], for trades made on this node.
pub const MAX_LOCAL_PACKAGE_BYTES: usize = 404_000;

/// Maximum number of entries that one trade may replace, descendants of the conflicting entries
/// included.
pub const MAX_REPLACED: usize = 100;

/// Lifetime of a peer's free trade, in ms: 3 days, which is longer than a weekend with all miners
/// off. The node that made the trade announces it again for as long as it wants it.
pub const FREE_EXPIRY_MS: u64 = 3 * 24 * 3_600 * 1_000;

/// Lifetime of a peer's paying trade, in ms: 14 days.
pub const PAYING_EXPIRY_MS: u64 = 14 * 24 * 3_600 * 1_000;

/// Maximum bytes of free trades and notes in a block that this node makes. Policy, not consensus.
pub const FREE_BYTES_PER_BLOCK: usize = 64 * 1024;

const _: () =
    assert!(MAX_CHAIN <= MAX_LOCAL_CHAIN && FREE_BYTES_PER_BLOCK < consensus::MAX_BLOCK_BYTES);
const _: () = assert!(consensus::MAX_TRANSACTION_BYTES < MAX_PACKAGE_BYTES);
const _: () =
    assert!(MAX_LOCAL_CHAIN <= MAX_REPLACED && MAX_PACKAGE_BYTES < MAX_LOCAL_PACKAGE_BYTES);

/// Memory of an entry without its lists, in bytes: the entry, its keys in the maps, and allocator
/// overhead.
const ENTRY_MEMORY: usize = 1_100;
/// Memory of each input, in bytes: the input, its coin, and the coin's key, which is also a map
/// key.
const INPUT_MEMORY: usize = size_of::<TxInput>()
    + size_of::<Option<Coin>>()
    + 2 * size_of::<CoinKey>()
    + 2 * size_of::<TxId>();

/// An entry's position in the mining order: the lower of its own and its package's fee rate, then
/// first come. Ranks are unique, because sequences are.
pub(crate) type Rank = (FeeRate, Reverse<u64>);

/// One waiting transaction.
#[derive(Debug, Clone)]
#[allow(clippy::struct_field_names, reason = "the part that the api shows")]
pub(crate) struct Entry {
    pub(crate) entry: MempoolEntry,
    pub(crate) leaf: LeafHash,
    /// Order of admission; parents have lower sequences than their children.
    pub(crate) sequence: u64,
    parents: Vec<TxId>,
    children: Vec<TxId>,
    keys: Vec<CoinKey>,
    /// Sum over the entry and all its ancestors.
    package: Package,
    rank: Rank,
    /// The payer whose share of free trades this entry uses. `None` for entries loaded at startup.
    pub(crate) charged: Option<Payer>,
}

impl Entry {
    fn alone(&self) -> Package {
        Package::one(self.entry.fee, self.entry.bytes)
    }

    fn rank_in(&self, package: &Package) -> Rank {
        (self.alone().rate().min(package.rate()), Reverse(self.sequence))
    }

    /// True if eviction may remove the entry: it has no children and is not this node's own.
    fn is_evictable(&self) -> bool {
        self.children.is_empty() && !self.entry.local
    }
}

/// The entry that spends a coin or uses a stamp.
#[derive(Debug, Clone, Copy)]
struct Spend {
    by: TxId,
    /// The coin, if it was on the chain at admission. It stays valid while the entry waits: a chain
    /// change that affects the coin removes the entry or checks it again.
    coin: Option<Coin>,
}

/// All waiting transactions, with the indices over them.
#[derive(Debug)]
pub(crate) struct Mempool {
    entries: KeyMap<TxId, Entry>,
    /// The spender of each coin and the user of each stamp.
    spends: KeyMap<CoinKey, Spend>,
    ranks: BTreeSet<Rank>,
    /// The subset of `ranks` that eviction may remove.
    evictable: BTreeSet<Rank>,
    /// Expiry times, each with the sequence of the expiring entry.
    expiries: BTreeSet<(UnixMillis, u64)>,
    order: BTreeMap<u64, TxId>,
    memory: usize,
    max_memory: usize,
    floor: Floor,
    free: FreeAllowances,
    next_sequence: u64,
    changes: u64,
}

impl Default for Mempool {
    fn default() -> Self {
        Self {
            entries: KeyMap::default(),
            spends: KeyMap::default(),
            ranks: BTreeSet::new(),
            evictable: BTreeSet::new(),
            expiries: BTreeSet::new(),
            order: BTreeMap::new(),
            memory: 0,
            max_memory: MAX_MEMPOOL_BYTES,
            floor: Floor::default(),
            free: FreeAllowances::default(),
            next_sequence: 0,
            changes: 0,
        }
    }
}

/// Estimates the memory of a waiting transaction, in bytes.
///
/// The result is 4 to 7 times the encoded length of a trade, and 10 times that of a short note.
/// Measured against the allocator, the error is below 20 %. The true value jumps when a map
/// doubles.
fn memory_of(transaction: &Transaction) -> usize {
    let inputs = transaction.inputs.len().saturating_mul(INPUT_MEMORY);
    let outputs = transaction.outputs.len().saturating_mul(size_of::<TxOutput>());
    ENTRY_MEMORY
        .saturating_add(inputs)
        .saturating_add(outputs)
        .saturating_add(transaction.memo.len())
}

/// Returns the expiry time of a transaction that was added at `added`.
fn expiry(rate: FeeRate, added: UnixMillis) -> UnixMillis {
    added.saturating_add(if rate.is_free() { FREE_EXPIRY_MS } else { PAYING_EXPIRY_MS })
}

impl Mempool {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the memory that the entries take, in bytes.
    pub(crate) const fn memory(&self) -> usize {
        self.memory
    }

    /// Returns the minimum fee rate for trades from peers.
    pub(crate) const fn floor(&self) -> Floor {
        self.floor
    }

    /// Returns a counter that changes with every admission, adoption and removal.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Sets a lower bound for the sequence of the next admission.
    pub(crate) fn continue_from(&mut self, sequence: u64) {
        self.next_sequence = self.next_sequence.max(sequence);
    }

    pub(crate) fn get(&self, txid: &TxId) -> Option<&Entry> {
        self.entries.get(txid)
    }

    /// Iterates over the leaf hashes and transactions of all entries, in no particular order.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = (&LeafHash, &Arc<Transaction>)> {
        self.entries.values().map(|waiting| (&waiting.leaf, &waiting.entry.transaction))
    }

    /// Iterates over all entries, parents first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.order.values().filter_map(|txid| self.entries.get(txid))
    }

    /// Iterates over the ids of all entries, parents first.
    pub(crate) fn ids(&self) -> impl Iterator<Item = TxId> {
        self.order.values().copied()
    }

    /// Returns the entry with this rank.
    fn at(&self, (_, Reverse(sequence)): &Rank) -> Option<TxId> {
        self.order.get(sequence).copied()
    }

    /// Returns the entry that spends a coin or uses a stamp.
    pub(crate) fn spender(&self, key: &CoinKey) -> Option<TxId> {
        self.spends.get(key).map(|spend| spend.by)
    }

    /// Returns a chain coin that an entry spends, so that the miner need not read it again. The
    /// coin is valid as of the last block or reorg that the chain applied to the mempool.
    pub(crate) fn spent_coin(&self, key: &CoinKey) -> Option<Coin> {
        self.spends.get(key)?.coin
    }

    /// Returns the output of an entry, as a coin of the next block.
    pub(crate) fn output(&self, key: &CoinKey, height: Height) -> Option<Coin> {
        let parent = self.entries.get(&key.outpoint.txid)?;
        let output =
            parent.entry.transaction.outputs.get(usize::try_from(key.outpoint.index).ok()?)?;
        (output.owner == key.owner).then_some(Coin { value: output.value, height, coinbase: false })
    }

    /// Returns true if a payer may send a free trade of this many bytes, and counts it if so.
    pub(crate) fn allow_free(
        &mut self,
        payer: Payer,
        transaction: &Transaction,
        bytes: usize,
        now: UnixMillis,
    ) -> bool {
        let waiting = self.free.waiting().get(&payer).copied().unwrap_or(0);
        let has_share =
            waiting.saturating_add(memory_of(transaction)) <= self.max_memory / FREE_SHARE;
        (has_share || self.memory <= self.max_memory / 2) && self.free.take(payer, bytes, now)
    }

    // Admission

    /// Inserts a transaction that passed [`Mempool::check`]. The caller has verified the signatures
    /// and removed the conflicting entries.
    pub(crate) fn insert(&mut self, mut entry: MempoolEntry, leaf: LeafHash, candidate: Candidate) {
        let Candidate { fee, parents, spends, package, .. } = candidate;
        let txid = entry.txid;
        entry.fee = fee;
        let sequence = self.next_sequence;
        self.next_sequence = self.next_sequence.saturating_add(1);
        self.changes = self.changes.wrapping_add(1);
        self.memory = self.memory.saturating_add(memory_of(&entry.transaction));
        let keys = spends.iter().map(|(key, _)| *key).collect();
        self.spends.extend(spends.into_iter().map(|(key, coin)| (key, Spend { by: txid, coin })));
        self.order.insert(sequence, txid);
        for parent in &parents {
            if let Some(parent) = self.entries.get_mut(parent) {
                self.evictable.remove(&parent.rank);
                parent.children.push(txid);
            }
        }
        entry.expires = (!entry.local).then(|| expiry(FeeRate::of(fee, entry.bytes), entry.added));
        self.expiries.extend(entry.expires.map(|at| (at, sequence)));
        let rank = (FeeRate::ZERO, Reverse(sequence));
        let mut waiting = Entry {
            entry,
            leaf,
            sequence,
            parents,
            children: Vec::new(),
            keys,
            package,
            rank,
            charged: None,
        };
        waiting.rank = waiting.rank_in(&package);
        self.ranks.insert(waiting.rank);
        if waiting.is_evictable() {
            self.evictable.insert(waiting.rank);
        }
        self.entries.insert(txid, waiting);
    }

    /// Charges an entry to a payer's share of free trades, until the entry leaves or becomes this
    /// node's own.
    pub(crate) fn charge(&mut self, txid: &TxId, payer: Payer) {
        let Some(waiting) = self.entries.get_mut(txid).filter(|waiting| !waiting.entry.local)
        else {
            return;
        };
        waiting.charged = Some(payer);
        self.free.came(payer, memory_of(&waiting.entry.transaction));
    }

    /// Makes an entry this node's own. Returns false if it is absent or already was.
    pub(crate) fn adopt(&mut self, txid: &TxId) -> bool {
        let Some(waiting) = self.entries.get_mut(txid).filter(|waiting| !waiting.entry.local)
        else {
            return false;
        };
        self.evictable.remove(&waiting.rank);
        waiting.entry.local = true;
        if let Some(payer) = waiting.charged.take() {
            self.free.left(payer, memory_of(&waiting.entry.transaction));
        }
        if let Some(at) = waiting.entry.expires.take() {
            self.expiries.remove(&(at, waiting.sequence));
        }
        self.changes = self.changes.wrapping_add(1);
        true
    }

    // Removal

    /// Removes one entry but keeps its descendants: for mined transactions.
    pub(crate) fn remove(&mut self, txid: &TxId) -> Option<Entry> {
        if self.entries.get(txid).is_some_and(|waiting| !waiting.children.is_empty()) {
            for descendant in
                self.descendants([*txid], usize::MAX).into_iter().filter(|found| found != txid)
            {
                self.leave_package(&descendant, txid);
            }
        }
        let waiting = self.entries.remove(txid)?;
        for parent in &waiting.parents {
            if let Some(parent) = self.entries.get_mut(parent) {
                parent.children.retain(|child| child != txid);
                if parent.is_evictable() {
                    self.evictable.insert(parent.rank);
                }
            }
        }
        for child in &waiting.children {
            if let Some(child) = self.entries.get_mut(child) {
                child.parents.retain(|parent| parent != txid);
            }
        }
        self.ranks.remove(&waiting.rank);
        self.evictable.remove(&waiting.rank);
        if let Some(at) = waiting.entry.expires {
            self.expiries.remove(&(at, waiting.sequence));
        }
        self.order.remove(&waiting.sequence);
        for key in &waiting.keys {
            self.spends.remove(key);
        }
        if let Some(payer) = waiting.charged {
            self.free.left(payer, memory_of(&waiting.entry.transaction));
        }
        self.memory = self.memory.saturating_sub(memory_of(&waiting.entry.transaction));
        self.changes = self.changes.wrapping_add(1);
        Some(waiting)
    }

    /// Subtracts a leaving ancestor from an entry's package and updates the entry's rank.
    fn leave_package(&mut self, txid: &TxId, leaving: &TxId) {
        let Some(left) = self.entries.get(leaving).map(Entry::alone) else { return };
        let Some(waiting) = self.entries.get_mut(txid) else { return };
        let before = waiting.rank;
        waiting.package.subtract(left);
        let after = waiting.rank_in(&waiting.package);
        waiting.rank = after;
        for ranks in [&mut self.ranks, &mut self.evictable] {
            if ranks.remove(&before) {
                ranks.insert(after);
            }
        }
    }

    /// Removes entries with all their descendants, and returns them in order of admission.
    pub(crate) fn remove_with_descendants(
        &mut self,
        txids: impl IntoIterator<Item = TxId>,
    ) -> Vec<Entry> {
        let found = self.descendants(txids, usize::MAX);
        let mut leaving: Vec<_> =
            found.iter().filter_map(|txid| Some((self.get(txid)?.sequence, *txid))).collect();
        leaving.sort_unstable();
        // Children go first, so that no removal has to update another entry's package.
        let mut left: Vec<_> =
            leaving.iter().rev().filter_map(|(_, txid)| self.remove(txid)).collect();
        left.reverse();
        left
    }

    /// Removes all entries, and returns them in order of admission.
    pub(crate) fn take_all(&mut self) -> Vec<Entry> {
        let Self { max_memory, floor, next_sequence, changes, .. } = *self;
        let changes = changes.wrapping_add(1);
        let free = std::mem::take(&mut self.free);
        let rest = Self { max_memory, floor, free, next_sequence, changes, ..Self::default() };
        let mut all = std::mem::replace(self, rest);
        let left: Vec<_> = all.order.values().filter_map(|txid| all.entries.remove(txid)).collect();
        for (payer, waiting) in left.iter().filter_map(|waiting| Some((waiting.charged?, waiting)))
        {
            self.free.left(payer, memory_of(&waiting.entry.transaction));
        }
        left
    }

    /// Removes expired entries with all their descendants. An entry with a descendant of this
    /// node's own gets its full lifetime again instead.
    pub(crate) fn expire(&mut self, now: UnixMillis) -> Vec<Entry> {
        let mut left = Vec::new();
        while let Some((at, sequence)) = self.expiries.first().copied().filter(|(at, _)| *at <= now)
        {
            self.expiries.remove(&(at, sequence));
            let Some(txid) = self.order.get(&sequence).copied() else { continue };
            let resting = self.descendants([txid], usize::MAX);
            if !resting.iter().filter_map(|txid| self.get(txid)).any(|waiting| waiting.entry.local)
            {
                left.extend(self.remove_with_descendants([txid]));
            } else if let Some(waiting) = self.entries.get_mut(&txid) {
                let rate = FeeRate::of(waiting.entry.fee, waiting.entry.bytes);
                let at = expiry(rate, now);
                waiting.entry.expires = Some(at);
                self.expiries.insert((at, sequence));
            }
        }
        left
    }

    /// Returns the time of the next expiry.
    pub(crate) fn next_expiry(&self) -> Option<UnixMillis> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Evicts from the end of the mining order until the rest fits, and raises the floor above the
    /// evicted rates. Only this node's own entries and their ancestors can then exceed the memory
    /// limit.
    pub(crate) fn evict(&mut self, now: UnixMillis) -> Vec<Entry> {
        let mut left = Vec::new();
        while self.memory > self.max_memory
            && let Some(rank) = self.evictable.first().copied()
            && let Some(txid) = self.at(&rank)
        {
            self.floor.raise(rank.0.plus(FeeRate::from_units(PAYING_RATE)), now);
            left.extend(self.remove(&txid));
        }
        left
    }

    /// Adapts the floor and the token buckets to a jump of the wall clock by `by` ms. Entries
    /// expire by wall time, because their times are stored.
    pub(crate) fn clock_moved(&mut self, by: i64) {
        self.floor.clock_moved(by);
        self.free.clock_moved(by);
    }

    /// Returns the rate that a new trade must exceed when the mempool is full.
    ///
    /// This is the lowest rate among evictable entries that the trade does not replace. `None`
    /// means that there is room once the replaced entries are gone.
    pub(crate) fn price_of_room(
        &self,
        transaction: &Transaction,
        candidate: &Candidate,
    ) -> Option<FeeRate> {
        let replaced = candidate.replaced.iter().filter_map(|txid| self.get(txid));
        let freed: usize = replaced.map(|waiting| memory_of(&waiting.entry.transaction)).sum();
        let needed = self.memory.saturating_sub(freed).saturating_add(memory_of(transaction));
        let stays =
            |rank: &&Rank| self.at(rank).is_none_or(|txid| !candidate.replaced.contains(&txid));
        let lowest =
            || self.evictable.iter().find(stays).map_or(FeeRate::UNPAYABLE, |(rate, _)| *rate);
        (needed > self.max_memory).then(lowest)
    }

    /// Raises the floor after a peer's trade found no room at this price, and returns the new
    /// minimum rate. Other trades that pay no more are then rejected without further checks.
    pub(crate) fn refuse_room(&mut self, price: FeeRate, now: UnixMillis) -> FeeRate {
        let asked = price.plus(FeeRate::from_units(PAYING_RATE));
        // If all entries are this node's own, only the next block makes room; no fee can.
        if asked != FeeRate::UNPAYABLE {
            self.floor.raise(asked, now);
        }
        asked
    }

    // Ancestors and descendants

    /// Returns the given entries and all their ancestors; stops soon after `limit` entries.
    fn ancestors(&self, txids: &[TxId], limit: usize) -> HashSet<TxId> {
        self.closure(txids.iter().copied(), limit, |waiting| &waiting.parents)
    }

    /// Returns the given entries and all their descendants; stops soon after `limit` entries.
    fn descendants(&self, txids: impl IntoIterator<Item = TxId>, limit: usize) -> HashSet<TxId> {
        self.closure(txids, limit, |waiting| &waiting.children)
    }

    fn closure(
        &self,
        txids: impl IntoIterator<Item = TxId>,
        limit: usize,
        next: impl Fn(&Entry) -> &Vec<TxId>,
    ) -> HashSet<TxId> {
        let mut found = HashSet::new();
        let mut open: Vec<_> = txids.into_iter().collect();
        while let Some(txid) = open.pop() {
            if found.len() > limit {
                break;
            }
            if found.insert(txid) {
                open.extend(
                    self.entries
                        .get(&txid)
                        .into_iter()
                        .flat_map(|waiting| next(waiting).iter().copied()),
                );
            }
        }
        found
    }
}

/// Returns true for a note: a transaction with a stamp and no fee.
fn is_note(transaction: &Transaction) -> bool {
    transaction.kind() == TransactionKind::Note
}
