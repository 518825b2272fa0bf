//! The model is a slow and obvious ledger: a list of received headers and blocks. It computes
//! coins, work and tip from the list whenever they are needed.
//!
//! Beside the list it stores only which blocks wait for a parent or for the clock, and which break
//! a rule. It checks the coins of a side branch only when that branch would become the best one.
//! which were found to break a rule; a block beside the best chain is only looked into once it
//! would be the tip.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use sha2::{Digest as _, Sha256};

use super::{
    pool::Pool,
    rules::{self, HeaderFault, Params, Purse, Wide},
};
use crate::{
    consensus::{Network, verify_signature},
    primitives::{Block, BlockHash, Header, Height, LeafHash, Transaction, TxId, UnixMillis},
};

/// Cached results. Each is computed once from the whole list, since a block's hash determines
/// everything below it.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(Rc<KnownTables>);

type Coins = Result<Rc<Purse>, (BlockHash, &'static str)>;

#[derive(Debug, Default)]
struct KnownTables {
    signatures: RefCell<BTreeMap<LeafHash, bool>>,
    work: RefCell<BTreeMap<BlockHash, Wide>>,
    coins: RefCell<BTreeMap<BlockHash, Coins>>,
    places: RefCell<BTreeMap<BlockHash, Rc<Places>>>,
}

type Places = BTreeMap<TxId, (BlockHash, Height)>;

/// Returns the cached result, or computes it now.
fn known<K: Ord + Copy, V: Clone>(
    table: &RefCell<BTreeMap<K, V>>,
    key: &K,
    value: impl FnOnce() -> V,
) -> V {
    if let Some(value) = table.borrow().get(key) {
        return value.clone();
    }
    let value = value();
    table.borrow_mut().insert(*key, value.clone());
    value
}

#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) params: Params,
    pub(super) known: Known,
    pub(super) pool: Pool,
    headers: BTreeMap<BlockHash, Header>,
    /// Bodies all of whose ancestors' bodies are here too.
    bodies: BTreeMap<BlockHash, Arc<Block>>,
    /// Blocks that break a rule, and the blocks above them.
    condemned: BTreeSet<BlockHash>,
    /// Bodies whose parent's body is missing, in the order of arrival.
    waiting: Vec<Arc<Block>>,
    /// Headers ahead of the clock by due time, with the block if it is our own.
    held: Vec<(UnixMillis, Header, Option<Arc<Block>>)>,
    tip: BlockHash,
    /// The best header. It stays until a better one arrives.
    best: BlockHash,
}

/// True if a block with this verdict is kept.
pub(super) fn is_kept(verdict: &str) -> bool {
    matches!(verdict, "connected" | "side_branch" | "waiting" | "known")
}

impl Model {
    pub(super) fn new(network: &Network) -> Self {
        let genesis = Arc::new(network.genesis.clone());
        let params = Params {
            network: network.id,
            spacing: network.params.spacing_ms,
            floor_bits: network.params.floor_bits.into(),
        };
        Self {
            params,
            known: Known::default(),
            pool: Pool::default(),
            headers: BTreeMap::from([(network.id, genesis.header)]),
            bodies: BTreeMap::from([(network.id, genesis)]),
            condemned: BTreeSet::new(),
            waiting: Vec::new(),
            held: Vec::new(),
            tip: network.id,
            best: network.id,
        }
    }

    /// Returns the model after a restart: everything except what was only in memory.
    pub(super) fn restarted(&self) -> Self {
        Self { waiting: Vec::new(), held: Vec::new(), ..self.clone() }
    }

    // What follows from the list

    /// Returns the headers from genesis up to a known one.
    pub(super) fn headers_to(&self, hash: &BlockHash) -> Vec<Header> {
        let parent = |header: &Header| self.headers.get(&header.previous).copied();
        let mut headers: Vec<_> =
            std::iter::successors(self.headers.get(hash).copied(), parent).collect();
        headers.reverse();
        headers
    }

    /// Returns the blocks from genesis up to a stored one.
    pub(super) fn blocks_to(&self, hash: &BlockHash) -> Vec<Arc<Block>> {
        let parent = |block: &Arc<Block>| self.bodies.get(&block.header.previous).cloned();
        let mut blocks: Vec<_> =
            std::iter::successors(self.bodies.get(hash).cloned(), parent).collect();
        blocks.reverse();
        blocks
    }

    pub(super) fn work_to(&self, hash: &BlockHash) -> Wide {
        let sum = || self.headers_to(hash).iter().map(|header| rules::work_of(header.bits)).sum();
        known(&self.known.0.work, hash, sum)
    }

    pub(super) fn are_good(&self, transaction: &Transaction) -> bool {
        known(&self.known.0.signatures, &rules::leaf(transaction), || {
            let message = Transaction::signing_message(&self.params.network, &transaction.txid());
            let mut inputs = transaction.inputs.iter();
            inputs.all(|input| {
                verify_signature(&input.public_key, &message, &input.signature).is_ok()
            })
        })
    }

    /// Returns the coins after a stored block, or the first block from genesis that breaks a rule,
    /// with that rule.
    fn coins_to(&self, hash: &BlockHash) -> Coins {
        known(&self.known.0.coins, hash, || {
            let mut purse = Purse::new();
            for block in self.blocks_to(hash) {
                let broken = |code| (block.hash(), code);
                rules::connect(&mut purse, &block).map_err(broken)?;
                if !block.transactions.iter().all(|transaction| self.are_good(transaction)) {
                    return Err(broken("bad_signature"));
                }
            }
            Ok(Rc::new(purse))
        })
    }

    /// True if one branch is better than another: more work, or a better draw.
    fn beats(&self, hash: &BlockHash, other: &BlockHash) -> bool {
        let draw = |own: &BlockHash| {
            let mut pair = [hash.0, other.0];
            pair.sort_unstable();
            let text = [pair[0], pair[1], own.0].concat();
            <[u8; 32]>::from(Sha256::digest(text))
        };
        let (work, others) = (self.work_to(hash), self.work_to(other));
        work > others || work == others && draw(hash) < draw(other)
    }

    /// Returns all blocks that have the most work.
    fn heaviest<'a>(&self, hashes: impl Iterator<Item = &'a BlockHash>) -> Vec<BlockHash> {
        let hashes: Vec<_> = hashes.map(|hash| (self.work_to(hash), *hash)).collect();
        let most = hashes.iter().map(|(work, _)| *work).max();
        hashes.iter().filter(|(work, _)| Some(*work) == most).map(|(_, hash)| *hash).collect()
    }

    /// True if a block can be the tip by the rules, among everything that is stored. No valid block
    /// has more work, and no other wins the draw against all its equals.
    pub(super) fn is_best_valid(&self, tip: &BlockHash) -> bool {
        let valid = self.bodies.keys().filter(|hash| self.coins_to(hash).is_ok());
        let equals = self.heaviest(valid);
        let wins = |hash: &&BlockHash| {
            equals.iter().all(|other| other == *hash || self.beats(hash, other))
        };
        equals.contains(tip) && equals.iter().find(wins).is_none_or(|winner| winner == tip)
    }

    pub(super) fn knows(&self, hash: &BlockHash) -> bool {
        self.headers.contains_key(hash)
    }

    /// True if a block is stored, and neither it nor an ancestor breaks a rule.
    pub(super) fn is_valid(&self, hash: &BlockHash) -> bool {
        self.bodies.contains_key(hash) && self.coins_to(hash).is_ok()
    }

    pub(super) const fn best_header(&self) -> BlockHash {
        self.best
    }

    /// Adds a header, which becomes the best one if it is better.
    fn add_header(&mut self, header: &Header) {
        let hash = header.hash();
        if self.headers.insert(hash, *header).is_none() && self.beats(&hash, &self.best) {
            self.best = hash;
        }
    }

    /// Selects the best header again, since the present one may have become invalid. The tip is
    /// preferred among the best; otherwise they are compared in the order of their hashes.
    fn choose_best_header(&mut self) {
        let valid = self.headers.keys().filter(|hash| !self.condemned.contains(hash));
        let mut equals = self.heaviest(valid);
        if !equals.contains(&self.best) {
            equals.sort_unstable();
            let first = if equals.contains(&self.tip) { self.tip } else { equals[0] };
            let duel = |best, hash: &BlockHash| if self.beats(hash, &best) { *hash } else { best };
            self.best = equals.iter().fold(first, duel);
        }
        self.settle_best_header();
    }

    /// Makes the tip the best header if a stored branch with as much work was not preferred to it.
    fn settle_best_header(&mut self) {
        let is_equal = self.work_to(&self.best) == self.work_to(&self.tip);
        if is_equal && self.bodies.contains_key(&self.best) {
            self.best = self.tip;
        }
    }

    pub(super) const fn tip(&self) -> BlockHash {
        self.tip
    }

    /// Returns the best chain, genesis first.
    pub(super) fn chain(&self) -> Vec<Arc<Block>> {
        self.blocks_to(&self.tip)
    }

    /// Returns the coins on the best chain.
    pub(super) fn coins(&self) -> Rc<Purse> {
        self.coins_to(&self.tip).expect("the best chain is valid")
    }

    /// Returns the block and the height of a transaction on the best chain.
    pub(super) fn place(&self, txid: &TxId) -> Option<(BlockHash, Height)> {
        let places = known(&self.known.0.places, &self.tip, || {
            let chain = self.chain();
            let of_block = |block: &Arc<Block>| {
                let place = (block.hash(), block.header.height);
                block
                    .transactions
                    .iter()
                    .map(move |transaction| (transaction.txid(), place))
                    .collect::<Vec<_>>()
            };
            Rc::new(chain.iter().flat_map(of_block).collect())
        });
        places.get(txid).copied()
    }

    // What comes

    /// Receives a header. Returns true if it is new, or its fault.
    fn take_header(&mut self, header: &Header, now: UnixMillis) -> Result<bool, HeaderFault> {
        let hash = header.hash();
        if self.condemned.contains(&hash) {
            return Err(HeaderFault::Rule("invalid_branch"));
        }
        if self.headers.contains_key(&hash) {
            return Ok(false);
        }
        if !self.headers.contains_key(&header.previous) {
            return Err(HeaderFault::Rule("unknown_parent"));
        }
        if self.condemned.contains(&header.previous) {
            return Err(HeaderFault::Rule("invalid_branch"));
        }
        match self.params.header_fault(&self.headers_to(&header.previous), header, now) {
            Some(fault) => Err(fault),
            None => Ok(true),
        }
    }

    /// Receives headers. Returns the number of new ones, or the fault of the first bad one.
    pub(super) fn accept_headers(
        &mut self,
        headers: &[Header],
        now: UnixMillis,
    ) -> Result<usize, &'static str> {
        let (mut new, mut run) = (0, Vec::new());
        for header in headers {
            if run.last().is_none_or(|last: &Header| last.hash() != header.previous) {
                new += self.keep_run(&std::mem::take(&mut run))?;
            }
            // The checks of the run treat its earlier headers as known.
            let mut as_known = self.clone();
            as_known.headers.extend(run.iter().map(|header| (header.hash(), *header)));
            match as_known.take_header(header, now) {
                Ok(true) => run.push(*header),
                Ok(false) => {}
                Err(fault) => {
                    self.keep_run(&run)?;
                    return Err(match fault {
                        HeaderFault::Rule(code) => code,
                        HeaderFault::Early(due) => {
                            self.hold(due, header, None);
                            "header_too_far_ahead"
                        }
                    });
                }
            }
        }
        Ok(new + self.keep_run(&run)?)
    }

    /// Keeps a run of new headers: all of them if their branch wins. If it only could win later,
    /// those before the first cheap one.
    fn keep_run(&mut self, run: &[Header]) -> Result<usize, &'static str> {
        let Some(first) = run.first() else { return Ok(0) };
        let mut chain = self.headers_to(&first.previous);
        let cheap = run.iter().position(|header| {
            let is_cheap = self.params.is_cheap(&chain, header);
            chain.push(*header);
            is_cheap
        });
        let mut whole = self.clone();
        whole.headers.extend(run.iter().map(|header| (header.hash(), *header)));
        let last = run[run.len() - 1].hash();
        let kept = if whole.beats(&last, &self.tip) {
            run.len()
        } else if whole.work_to(&last) < self.least_work() {
            0
        } else {
            cheap.unwrap_or(run.len())
        };
        run[..kept].iter().for_each(|header| self.add_header(header));
        if kept == run.len() { Ok(kept) } else { Err("too_little_work") }
    }

    /// Returns the work that a branch needs to be kept: the tip's, less that of 144 blocks.
    fn least_work(&self) -> Wide {
        let chain = self.headers_to(&self.tip);
        self.work_to(&chain[chain.len().saturating_sub(145)].hash())
    }

    /// True if a header is cheaper than one that is not late. Its parent is known.
    pub(super) fn is_cheap(&self, header: &Header) -> bool {
        self.params.is_cheap(&self.headers_to(&header.previous), header)
    }

    /// True if the body of a header, known or not, is worth keeping.
    fn is_worth_keeping(&self, header: &Header) -> bool {
        let (hash, mut with) = (header.hash(), self.clone());
        with.headers.insert(hash, *header);
        let is_on_best = self.headers_to(&self.best).contains(header);
        is_on_best
            || with.beats(&hash, &self.tip)
            || with.work_to(&hash) >= self.least_work() && !self.is_cheap(header)
    }

    /// Receives a block. Returns the verdict.
    pub(super) fn accept_block(
        &mut self,
        block: &Arc<Block>,
        local: bool,
        now: UnixMillis,
    ) -> &'static str {
        let (hash, parent) = (block.hash(), block.header.previous);
        if self.bodies.contains_key(&hash) {
            return "known";
        }
        let held = self.held.iter().filter_map(|(.., block)| block.as_ref());
        let waits = self.waiting.iter().chain(held).any(|other| other.hash() == hash);
        if waits && !self.condemned.contains(&hash) {
            return "waiting";
        }
        match self.take_header(&block.header, now) {
            Ok(_) => {}
            Err(HeaderFault::Rule(code)) => return code,
            Err(HeaderFault::Early(due)) => {
                self.hold(due, &block.header, local.then_some(block));
                return if local { "waiting" } else { "header_too_far_ahead" };
            }
        }
        if !self.is_worth_keeping(&block.header) {
            return "too_little_work";
        }
        if let Some(code) = rules::block_fault(block) {
            // Another body may belong to the header. But if this body does, no other does.
            if code != "wrong_merkle_root" {
                self.add_header(&block.header);
                self.condemn(&hash);
            }
            return code;
        }
        self.add_header(&block.header);
        if !self.bodies.contains_key(&parent) {
            self.waiting.push(Arc::clone(block));
            return "waiting";
        }
        let verdict = self.store(block);
        let mut open = if is_kept(verdict) { vec![hash] } else { vec![] };
        while let Some(parent) = open.pop() {
            let waiting = std::mem::take(&mut self.waiting);
            let (children, rest) =
                waiting.into_iter().partition(|block| block.header.previous == parent);
            self.waiting = rest;
            let children: Vec<Arc<Block>> = children;
            open.extend(
                children
                    .iter()
                    .filter(|child| is_kept(self.store(child)))
                    .map(|child| child.hash()),
            );
        }
        verdict
    }

    /// Holds a header that is ahead of the clock, once.
    fn hold(&mut self, due: UnixMillis, header: &Header, block: Option<&Arc<Block>>) {
        match self.held.iter_mut().find(|(_, known, _)| known == header) {
            Some((.., known)) => *known = known.take().or(block.cloned()),
            None => self.held.push((due, *header, block.cloned())),
        }
        self.held.sort_by_key(|(due, ..)| *due);
    }

    /// Advances the clock: held headers and blocks that are due arrive again.
    pub(super) fn due(&mut self, now: UnixMillis) {
        let (due, later) =
            std::mem::take(&mut self.held).into_iter().partition(|(due, ..)| *due <= now);
        self.held = later;
        let due: Vec<_> = due;
        for (_, header, block) in due {
            let _ = self.accept_headers(&[header], now);
            block.map(|block| self.accept_block(&block, true, now));
        }
    }

    pub(super) fn next_due(&self) -> Option<UnixMillis> {
        self.held.first().map(|(due, ..)| *due)
    }

    /// Stores a block whose parent is stored. It becomes the tip if it is better and its branch is
    /// valid.
    fn store(&mut self, block: &Arc<Block>) -> &'static str {
        let hash = block.hash();
        if self.condemned.contains(&hash) {
            return "invalid_branch";
        }
        self.bodies.insert(hash, Arc::clone(block));
        let verdict = self.store_known(block);
        self.settle_best_header();
        verdict
    }

    /// Makes a stored block the tip if it is better and its branch is valid.
    fn store_known(&mut self, block: &Arc<Block>) -> &'static str {
        let hash = block.hash();
        if !self.beats(&hash, &self.tip) {
            return "side_branch";
        }
        match self.coins_to(&hash) {
            Ok(_) => {
                let (old, new) = (self.chain(), self.blocks_to(&hash));
                self.tip = hash;
                let shared =
                    old.iter().zip(&new).take_while(|(old, new)| old.hash() == new.hash()).count();
                self.pool_after(&old[shared..], &new[shared..]);
                "connected"
            }
            Err((at, code)) => {
                self.condemn(&at);
                if at == hash { code } else { "invalid_branch" }
            }
        }
    }

    /// Marks a block that breaks a rule, and all above it, as invalid for ever.
    fn condemn(&mut self, hash: &BlockHash) {
        let is_above =
            |other: &BlockHash| self.headers_to(other).iter().any(|header| header.hash() == *hash);
        let above: Vec<_> = self.headers.keys().filter(|other| is_above(other)).copied().collect();
        self.bodies.retain(|hash, _| !above.contains(hash));
        self.condemned.extend(above);
        self.choose_best_header();
    }
}
