//! The slow and obvious ledger: a list of headers and blocks that came, from which coins, work and
//! the tip are worked out anew whenever they are asked for.
//!
//! What it must remember beside the list: which blocks wait for a parent or for the clock, and
//! which were found to break a rule; a block beside the best chain is only looked into once it
//! would be the tip.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use super::{
    pool::Pool,
    rules::{self, HeaderFault, Params, Purse, Wide},
};
use crate::{
    consensus::{Network, verify_signature},
    primitives::{Block, BlockHash, Header, Height, LeafHash, Transaction, TxId, UnixMillis},
};

/// What was worked out before. Each is worked out from the whole list, once: a block's hash names
/// all that is below it.
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

/// What the table says, or what is worked out now.
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
    /// Bodies of which all ancestors' bodies are here too.
    bodies: BTreeMap<BlockHash, Arc<Block>>,
    /// Found to break a rule, or above such a block.
    condemned: BTreeSet<BlockHash>,
    /// Bodies whose parent's body is not here, as they came.
    waiting: Vec<Arc<Block>>,
    /// Headers ahead of the clock, and the blocks of our own, by the time when they are due.
    held: Vec<(UnixMillis, Header, Option<Arc<Block>>)>,
    tip: BlockHash,
}

/// Whether a verdict keeps the block.
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
        }
    }

    /// What a restart leaves: all but what was in memory alone.
    pub(super) fn restarted(&self) -> Self {
        Self { waiting: Vec::new(), held: Vec::new(), ..self.clone() }
    }

    // What follows from the list

    /// The headers from genesis up to one that is known.
    pub(super) fn headers_to(&self, hash: &BlockHash) -> Vec<Header> {
        let parent = |header: &Header| self.headers.get(&header.previous).copied();
        let mut headers: Vec<_> =
            std::iter::successors(self.headers.get(hash).copied(), parent).collect();
        headers.reverse();
        headers
    }

    /// The blocks from genesis up to one that is stored.
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

    /// The coins after a stored block, or the first block from genesis on that breaks a rule, and
    /// which.
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

    /// Most work first; of equals, the lower hash.
    fn ranked<'a>(&self, hashes: impl Iterator<Item = &'a BlockHash>) -> Vec<BlockHash> {
        let mut hashes: Vec<_> = hashes.map(|hash| (self.work_to(hash), *hash)).collect();
        hashes.sort_by(|(work, hash), (other_work, other)| {
            other_work.cmp(work).then(hash.cmp(other))
        });
        hashes.into_iter().map(|(_, hash)| hash).collect()
    }

    /// The tip as the design defines it, found among everything that is stored.
    pub(super) fn best_valid(&self) -> BlockHash {
        let ranked = self.ranked(self.bodies.keys());
        ranked.into_iter().find(|hash| self.coins_to(hash).is_ok()).expect("the genesis is valid")
    }

    /// Whether it is stored and no block down to genesis breaks a rule.
    pub(super) fn is_valid(&self, hash: &BlockHash) -> bool {
        self.bodies.contains_key(hash) && self.coins_to(hash).is_ok()
    }

    pub(super) fn best_header(&self) -> BlockHash {
        self.ranked(self.headers.keys().filter(|hash| !self.condemned.contains(hash)))[0]
    }

    pub(super) const fn tip(&self) -> BlockHash {
        self.tip
    }

    /// The best chain, genesis first.
    pub(super) fn chain(&self) -> Vec<Arc<Block>> {
        self.blocks_to(&self.tip)
    }

    /// The coins on the best chain.
    pub(super) fn coins(&self) -> Rc<Purse> {
        self.coins_to(&self.tip).expect("the best chain is valid")
    }

    /// Where a transaction is on the best chain.
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

    /// A header comes: whether it is new, or what is wrong.
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

    /// Headers come: how many were new, or what is wrong with the first bad one.
    pub(super) fn accept_headers(
        &mut self,
        headers: &[Header],
        now: UnixMillis,
    ) -> Result<usize, &'static str> {
        let mut new = 0;
        for header in headers {
            match self.take_header(header, now) {
                Ok(is_new) => {
                    self.headers.insert(header.hash(), *header);
                    new += usize::from(is_new);
                }
                Err(HeaderFault::Rule(code)) => return Err(code),
                Err(HeaderFault::Early(due)) => {
                    self.hold(due, header, None);
                    return Err("header_too_far_ahead");
                }
            }
        }
        Ok(new)
    }

    /// A block comes: what becomes of it.
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
        if let Some(code) = rules::block_fault(block) {
            // Another body may fit the header; but if this is the one, none does.
            if code != "wrong_merkle_root" {
                self.headers.insert(hash, block.header);
                self.condemn(&hash);
            }
            return code;
        }
        self.headers.insert(hash, block.header);
        if !self.bodies.contains_key(&parent) {
            self.waiting.push(Arc::clone(block));
            return "waiting";
        }
        let verdict = self.store(block, now);
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
                    .filter(|child| is_kept(self.store(child, now)))
                    .map(|child| child.hash()),
            );
        }
        verdict
    }

    /// What is ahead of the clock is held, once.
    fn hold(&mut self, due: UnixMillis, header: &Header, block: Option<&Arc<Block>>) {
        match self.held.iter_mut().find(|(_, known, _)| known == header) {
            Some((.., known)) => *known = known.take().or(block.cloned()),
            None => self.held.push((due, *header, block.cloned())),
        }
        self.held.sort_by_key(|(due, ..)| *due);
    }

    /// The clock goes on: what was held comes again.
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

    /// Takes a block on whose parent is stored; makes it the tip if it is better and all the way to
    /// it is valid.
    fn store(&mut self, block: &Arc<Block>, now: UnixMillis) -> &'static str {
        let hash = block.hash();
        if self.condemned.contains(&hash) {
            return "invalid_branch";
        }
        self.bodies.insert(hash, Arc::clone(block));
        if self.ranked([hash, self.tip].iter())[0] != hash {
            return "side_branch";
        }
        match self.coins_to(&hash) {
            Ok(_) => {
                let (old, new) = (self.chain(), self.blocks_to(&hash));
                self.tip = hash;
                let shared =
                    old.iter().zip(&new).take_while(|(old, new)| old.hash() == new.hash()).count();
                self.pool_after(&old[shared..], &new[shared..], now);
                "connected"
            }
            Err((at, code)) => {
                self.condemn(&at);
                if at == hash { code } else { "invalid_branch" }
            }
        }
    }

    /// A block breaks a rule: it and all above it are bad for ever.
    fn condemn(&mut self, hash: &BlockHash) {
        let is_above =
            |other: &BlockHash| self.headers_to(other).iter().any(|header| header.hash() == *hash);
        let above: Vec<_> = self.headers.keys().filter(|other| is_above(other)).copied().collect();
        self.bodies.retain(|hash, _| !above.contains(hash));
        self.condemned.extend(above);
    }
}
