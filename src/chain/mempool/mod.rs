//! Trades and notes that wait for a block: which conflict, which rest on which, and which go first.
//!
//! Owned by [`Chain`](super::Chain), which brings the coins of the chain, verifies signatures, and
//! writes entries to the mempool table. Nothing here does I/O. `check.rs` says what may come in,
//! `select.rs` what goes into a block, `fees.rs` what a fee is worth, `free.rs` how much a peer may
//! bring for nothing. Invariants:
//! - no two entries spend one coin or use one stamp;
//! - every input is on the chain or an output of an entry that was admitted earlier (a lower
//!   sequence);
//! - the signatures of every entry were verified;
//! - an entry's package is the sum over it and all entries that it rests on;
//! - of more than [`MAX_MEMPOOL_BYTES`], only this node's own and what these rest on stays.
//!
//! # Policy
//! Consensus says what a block may hold; this says what waits for one here. It is this node's own
//! choice, made so that what one trade costs the node is bounded by what the trade pays or by who
//! brings it:
//! - *Order*: by the fee rate of a trade or of its package (it and all it rests on), whichever is
//!   lower; then first come. What would be mined last leaves a full mempool first, and [`Floor`]
//!   then keeps it and its like from coming back.
//! - *Free* is what pays less than [`PAYING_RATE`]: a fee of one unit does not buy a way around the
//!   limits on free trades.
//! - *Packages* are bounded upward and downward, in number and bytes, so that looking at all that a
//!   trade rests on, or at all that rests on it, is cheap, and so that what has to be paid to
//!   replace a trade cannot be raised at will (pinning).
//! - *Replacement*: see `check.rs`. This node's own trades may be replaced too, by the same rules:
//!   only who holds the keys of a coin can sign two trades that spend it, so that its owner has
//!   changed its mind, on another machine perhaps, and every miner takes the trade that pays more.
//!   To hold on to the first would only hide that from its maker.
//! - *Own trades* are bounded by nothing else: they neither expire nor are evicted, nor is what
//!   they rest on.

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
        Height, LeafHash, PeerId, Transaction, TransactionKind, TxId, TxInput, TxOutput, UnixMillis,
    },
};

pub(crate) use check::{Candidate, Rules};
use fees::Package;
pub use fees::{FLOOR_HALF_LIFE_MS, FeeRate, Floor, PAYING_RATE};
use free::{FREE_SHARE, FreeAllowances};

/// Memory that all waiting transactions take, in bytes: about 37,000 usual trades, which fill
/// eighteen blocks of 2,000.
pub const MAX_MEMPOOL_BYTES: usize = 64 * 1024 * 1024;

/// How many waiting trades one of a peer's may rest on, or have rest on it, itself included.
pub const MAX_CHAIN: usize = 25;

/// The same for trades made on this node, so that many can be sent from one coin between two
/// blocks.
pub const MAX_LOCAL_CHAIN: usize = 100;

/// How long all those together may be, in bytes: one of full length and a small one.
pub const MAX_PACKAGE_BYTES: usize = 101_000;

/// The same for trades made on this node.
pub const MAX_LOCAL_PACKAGE_BYTES: usize = 404_000;

/// How many waiting trades one may replace, those that rest on what it conflicts with included.
pub const MAX_REPLACED: usize = 100;

/// A peer's free trade is forgotten after so many ms, three days: longer than friends let their
/// miners rest over a weekend. Its maker announces it again for as long as it wants it.
pub const FREE_EXPIRY_MS: u64 = 3 * 24 * 3_600 * 1_000;

/// And one that pays after so many, two weeks.
pub const PAYING_EXPIRY_MS: u64 = 14 * 24 * 3_600 * 1_000;

/// Trades without a fee, and notes, in one block that this node makes, in bytes. Policy, not
/// consensus.
pub const FREE_BYTES_PER_BLOCK: usize = 64 * 1024;

const _: () =
    assert!(MAX_CHAIN <= MAX_LOCAL_CHAIN && FREE_BYTES_PER_BLOCK < consensus::MAX_BLOCK_BYTES);
const _: () = assert!(consensus::MAX_TRANSACTION_BYTES < MAX_PACKAGE_BYTES);
const _: () =
    assert!(MAX_LOCAL_CHAIN <= MAX_REPLACED && MAX_PACKAGE_BYTES < MAX_LOCAL_PACKAGE_BYTES);

/// What an entry takes in memory beside its lists: itself, its places in the maps, and what the
/// allocator adds.
const ENTRY_MEMORY: usize = 1_100;
/// And for each input: its coin, and the coin's key, which is also the key of a map.
const INPUT_MEMORY: usize = size_of::<TxInput>()
    + size_of::<Option<Coin>>()
    + 2 * size_of::<CoinKey>()
    + 2 * size_of::<TxId>();

/// Where an entry stands: its fee rate or its package's, whichever is lower, then first come. No
/// two stand at one place.
pub(crate) type Rank = (FeeRate, Reverse<u64>);

/// One waiting transaction.
#[derive(Debug, Clone)]
#[allow(clippy::struct_field_names, reason = "the part that the api shows")]
pub(crate) struct Entry {
    pub(crate) entry: MempoolEntry,
    pub(crate) leaf: LeafHash,
    /// Order of admission: parents have lower ones.
    pub(crate) sequence: u64,
    parents: Vec<TxId>,
    children: Vec<TxId>,
    keys: Vec<CoinKey>,
    /// It and all that it rests on.
    package: Package,
    /// As its package says.
    rank: Rank,
    /// Whose share of free trades it takes up: nobody's after a start.
    pub(crate) charged: Option<PeerId>,
}

impl Entry {
    fn alone(&self) -> Package {
        Package::one(self.entry.fee, self.entry.bytes)
    }

    fn rank_in(&self, package: &Package) -> Rank {
        (self.alone().rate().min(package.rate()), Reverse(self.sequence))
    }

    /// Whether it may leave so that others have room: nothing rests on it, and it is not this
    /// node's own.
    fn is_evictable(&self) -> bool {
        self.children.is_empty() && !self.entry.local
    }
}

/// Who spends a coin or uses a stamp.
#[derive(Debug, Clone, Copy)]
struct Spend {
    by: TxId,
    /// The coin, where it was on the chain when the entry came in. Nothing takes it from there, nor
    /// changes it, while the entry waits: whoever does removes the entry, or looks at it anew.
    coin: Option<Coin>,
}

/// The waiting transactions.
#[derive(Debug)]
pub(crate) struct Mempool {
    entries: KeyMap<TxId, Entry>,
    /// What spends a coin or uses a stamp.
    spends: KeyMap<CoinKey, Spend>,
    ranks: BTreeSet<Rank>,
    /// Of these, those that may be evicted.
    evictable: BTreeSet<Rank>,
    /// When which sequences expire.
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

/// About what a waiting transaction takes in memory, in bytes: four to seven times a trade's
/// encoded length, ten times a short note's. Measured against the allocator: within a fifth of the
/// truth, which jumps whenever a map doubles.
fn memory_of(transaction: &Transaction) -> usize {
    let inputs = transaction.inputs.len().saturating_mul(INPUT_MEMORY);
    let outputs = transaction.outputs.len().saturating_mul(size_of::<TxOutput>());
    ENTRY_MEMORY
        .saturating_add(inputs)
        .saturating_add(outputs)
        .saturating_add(transaction.memo.len())
}

/// When a transaction that came at a time is forgotten.
fn expiry(rate: FeeRate, added: UnixMillis) -> UnixMillis {
    added.saturating_add(if rate.is_free() { FREE_EXPIRY_MS } else { PAYING_EXPIRY_MS })
}

impl Mempool {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Memory that the entries take, in bytes.
    pub(crate) const fn memory(&self) -> usize {
        self.memory
    }

    /// The fee rate that a peer's trade has to pay.
    pub(crate) const fn floor(&self) -> Floor {
        self.floor
    }

    /// Changes with every admission, adoption and removal.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// The next admission gets at least this sequence.
    pub(crate) fn continue_from(&mut self, sequence: u64) {
        self.next_sequence = self.next_sequence.max(sequence);
    }

    pub(crate) fn get(&self, txid: &TxId) -> Option<&Entry> {
        self.entries.get(txid)
    }

    /// The leaves of all entries and their transactions.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = (&LeafHash, &Arc<Transaction>)> {
        self.entries.values().map(|waiting| (&waiting.leaf, &waiting.entry.transaction))
    }

    /// All entries, parents first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.order.values().filter_map(|txid| self.entries.get(txid))
    }

    /// Which entry stands at a place.
    fn at(&self, (_, Reverse(sequence)): &Rank) -> Option<TxId> {
        self.order.get(sequence).copied()
    }

    /// Which entry spends a coin or uses a stamp.
    pub(crate) fn spender(&self, key: &CoinKey) -> Option<TxId> {
        self.spends.get(key).map(|spend| spend.by)
    }

    /// A coin of the chain that an entry spends, so that whoever mines that entry need not read it
    /// again. True as of the last block, or reorganisation, that the mempool was told of.
    pub(crate) fn spent_coin(&self, key: &CoinKey) -> Option<Coin> {
        self.spends.get(key)?.coin
    }

    /// The output of an entry, as a coin of the next block.
    pub(crate) fn output(&self, key: &CoinKey, height: Height) -> Option<Coin> {
        let parent = self.entries.get(&key.outpoint.txid)?;
        let output =
            parent.entry.transaction.outputs.get(usize::try_from(key.outpoint.index).ok()?)?;
        (output.owner == key.owner).then_some(Coin { value: output.value, height, coinbase: false })
    }

    /// Whether a peer may bring a trade of so many bytes for nothing; it is counted then.
    pub(crate) fn allow_free(
        &mut self,
        peer: PeerId,
        transaction: &Transaction,
        bytes: usize,
        now: UnixMillis,
    ) -> bool {
        let waiting = self.free.waiting().get(&peer).copied().unwrap_or(0);
        let has_share =
            waiting.saturating_add(memory_of(transaction)) <= self.max_memory / FREE_SHARE;
        (has_share || self.memory <= self.max_memory / 2) && self.free.take(peer, bytes, now)
    }

    // In

    /// Takes in what [`Mempool::check`] passed, whose signatures are verified, and whose rivals are
    /// removed.
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

    /// An entry takes up a peer's share of free trades for as long as it waits, or until it is this
    /// node's own.
    pub(crate) fn charge(&mut self, txid: &TxId, peer: PeerId) {
        let Some(waiting) = self.entries.get_mut(txid).filter(|waiting| !waiting.entry.local)
        else {
            return;
        };
        waiting.charged = Some(peer);
        self.free.came(peer, memory_of(&waiting.entry.transaction));
    }

    /// Makes an entry this node's own; whether it was not before.
    pub(crate) fn adopt(&mut self, txid: &TxId) -> bool {
        let Some(waiting) = self.entries.get_mut(txid).filter(|waiting| !waiting.entry.local)
        else {
            return false;
        };
        self.evictable.remove(&waiting.rank);
        waiting.entry.local = true;
        if let Some(peer) = waiting.charged.take() {
            self.free.left(peer, memory_of(&waiting.entry.transaction));
        }
        if let Some(at) = waiting.entry.expires.take() {
            self.expiries.remove(&(at, waiting.sequence));
        }
        self.changes = self.changes.wrapping_add(1);
        true
    }

    // Out

    /// Takes out one entry, leaving those that rest on it: for what was mined.
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
        if let Some(peer) = waiting.charged {
            self.free.left(peer, memory_of(&waiting.entry.transaction));
        }
        self.memory = self.memory.saturating_sub(memory_of(&waiting.entry.transaction));
        self.changes = self.changes.wrapping_add(1);
        Some(waiting)
    }

    /// An entry no longer rests on one that leaves.
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

    /// Takes out entries and all that rests on them, in the order of their admission.
    pub(crate) fn remove_with_descendants(
        &mut self,
        txids: impl IntoIterator<Item = TxId>,
    ) -> Vec<Entry> {
        let found = self.descendants(txids, usize::MAX);
        let mut leaving: Vec<_> =
            found.iter().filter_map(|txid| Some((self.get(txid)?.sequence, *txid))).collect();
        leaving.sort_unstable();
        // Children first: then nobody's package changes on the way.
        let mut left: Vec<_> =
            leaving.iter().rev().filter_map(|(_, txid)| self.remove(txid)).collect();
        left.reverse();
        left
    }

    /// Takes out everything, in the order of admission.
    pub(crate) fn take_all(&mut self) -> Vec<Entry> {
        let Self { max_memory, floor, next_sequence, changes, .. } = *self;
        let changes = changes.wrapping_add(1);
        let free = std::mem::take(&mut self.free);
        let rest = Self { max_memory, floor, free, next_sequence, changes, ..Self::default() };
        let mut all = std::mem::replace(self, rest);
        let left: Vec<_> = all.order.values().filter_map(|txid| all.entries.remove(txid)).collect();
        for (peer, waiting) in left.iter().filter_map(|waiting| Some((waiting.charged?, waiting))) {
            self.free.left(peer, memory_of(&waiting.entry.transaction));
        }
        left
    }

    /// What has expired leaves with all that rests on it, unless something of this node's own does:
    /// then it stays as long again.
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

    /// When something expires next.
    pub(crate) fn next_expiry(&self) -> Option<UnixMillis> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Lets go of what would be mined last until the rest fits, and asks more of whoever comes
    /// next. What is left over of too much is this node's own.
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

    /// What a newcomer has to exceed where there is no room for it: the lowest rate of what may be
    /// evicted, but for those that it replaces. `None` when there is room once these are gone.
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

    /// There was no room for a peer's trade at this price: no other need be looked at that pays no
    /// more. Gives what is asked from now on.
    pub(crate) fn refuse_room(&mut self, price: FeeRate, now: UnixMillis) -> FeeRate {
        let asked = price.plus(FeeRate::from_units(PAYING_RATE));
        // When all is this node's own, the next block makes room, and not a fee.
        if asked != FeeRate::UNPAYABLE {
            self.floor.raise(asked, now);
        }
        asked
    }

    // Who rests on whom

    /// These and all waiting trades that they rest on; not many more than `limit` are looked at.
    fn ancestors(&self, txids: &[TxId], limit: usize) -> HashSet<TxId> {
        self.closure(txids.iter().copied(), limit, |waiting| &waiting.parents)
    }

    /// These and all waiting trades that rest on them; not many more than `limit` are looked at.
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

/// Whether it is a note: it has a stamp, and pays nothing.
fn is_note(transaction: &Transaction) -> bool {
    transaction.kind() == TransactionKind::Note
}
