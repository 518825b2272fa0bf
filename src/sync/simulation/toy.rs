//! A minimal chain for sync: a tree of headers of work 1, bodies, and a memo that makes a block
//! invalid.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::OnceLock,
};

use serde_bytes::ByteBuf;

use crate::{
    chain::api::{BlockAccepted, HeaderContext, HeadersAccepted, RefusalCause, Refused, Tip},
    consensus::{Blame, HeaderWindow, Work, is_better, testing::network},
    primitives::{
        Block, BlockHash, Encode, Header, Height, MerkleRoot, OutPoint, PublicKey, Signature,
        Transaction, TxId, TxInput, coinbase_memo,
    },
    wire::{Item, ItemId, SyncRequest, SyncResponse, limits::MAX_INV_HEADERS},
};

/// The end of a coinbase's memo that makes its block invalid.
const INVALID: &[u8] = b"invalid";

#[derive(Debug, Clone)]
pub(super) struct ToyChain {
    headers: HashMap<BlockHash, Header>,
    bodies: HashMap<BlockHash, Block>,
    invalid: HashSet<BlockHash>,
    /// The best chain: a hash for each height.
    best: Vec<BlockHash>,
    best_headers: Vec<BlockHash>,
    pub(super) mempool: BTreeMap<TxId, Transaction>,
    /// True if the chain also accepts invalid blocks.
    pub(super) believes_everything: bool,
    /// The height up to which blocks are abandoned only with the user's consent.
    pub(super) settled: Height,
    /// The cumulative work of each header's branch.
    work: HashMap<BlockHash, u64>,
    /// Headers without a body that are left aside.
    withheld: HashSet<BlockHash>,
    /// The maximum number of headers beyond the tip.
    pub(super) max_ahead: u32,
}

/// The work of a header: a thousandth of the usual one if its bits are not 0.
const fn work_of(header: &Header) -> u64 {
    if header.bits == 0 { 1_000 } else { 1 }
}

/// The depth below the tip whose work a branch must have, in blocks.
const SIDE_DEPTH: usize = 144;

pub(super) fn block_with(previous: BlockHash, height: Height, salt: u64, memo: &[u8]) -> Block {
    let memo = coinbase_memo(height, &[&salt.to_le_bytes(), memo].concat());
    let coinbase = Transaction { inputs: vec![], outputs: vec![], memo };
    let header =
        Header { previous, merkle_root: MerkleRoot::ZERO, height, time: 0, bits: 0, nonce: salt };
    let mut block = Block { header, transactions: vec![coinbase] };
    block.header.merkle_root = block.computed_merkle_root();
    block
}

pub(super) fn block(previous: BlockHash, height: Height, salt: u64) -> Block {
    block_with(previous, height, salt, b"")
}

/// Makes a note that differs for each number.
pub(super) fn trade(number: u32) -> Transaction {
    let outpoint = OutPoint { txid: TxId::ZERO, index: number };
    let input = TxInput { outpoint, public_key: PublicKey([1; 32]), signature: Signature([2; 64]) };
    Transaction { inputs: vec![input], outputs: vec![], memo: b"hello".to_vec() }
}

fn refused(cause: RefusalCause) -> Refused {
    Refused { blame: Blame::Peer, cause, code: "toy", reason: "toy".into() }
}

fn nobodys(cause: RefusalCause) -> Refused {
    Refused { blame: Blame::Nobody, ..refused(cause) }
}

/// Returns a difficulty window, which the toy chain does not read.
fn window() -> HeaderWindow {
    static WINDOW: OnceLock<HeaderWindow> = OnceLock::new();
    WINDOW.get_or_init(|| HeaderWindow::genesis(&network(10_000))).clone()
}

/// Checks headers without storing them, as the node does.
pub(super) fn check_branch(mut context: HeaderContext, headers: &[Header]) -> HeaderContext {
    for header in headers {
        assert_eq!(header.previous, context.tip.hash, "sync sends headers in order");
        let work = context.tip.work.saturating_add(Work::from(work_of(header)));
        context.tip = Tip { hash: header.hash(), height: header.height, work, time: 0 };
    }
    context
}

impl Default for ToyChain {
    fn default() -> Self {
        let genesis = block(BlockHash::ZERO, 0, 0);
        let hash = genesis.hash();
        Self {
            work: HashMap::from([(hash, 1_000)]),
            withheld: HashSet::new(),
            max_ahead: 262_144,
            headers: HashMap::from([(hash, genesis.header)]),
            bodies: HashMap::from([(hash, genesis)]),
            invalid: HashSet::new(),
            best: vec![hash],
            best_headers: vec![hash],
            mempool: BTreeMap::new(),
            believes_everything: false,
            settled: 0,
        }
    }
}

impl ToyChain {
    pub(super) fn of_length(length: u32, salt: u64) -> Self {
        let mut chain = Self::default();
        chain.extend(length, salt);
        chain
    }

    pub(super) fn extend(&mut self, length: u32, salt: u64) {
        for _ in 0..length {
            let tip = self.tip();
            self.insert(block(tip.hash, tip.height + 1, salt));
        }
    }

    /// Extends the chain by blocks of little work.
    pub(super) fn extend_cheaply(&mut self, length: u32, salt: u64) {
        for _ in 0..length {
            let tip = self.tip();
            let mut block = block(tip.hash, tip.height + 1, salt);
            block.header.bits = 1;
            self.insert(block);
        }
    }

    pub(super) fn extend_with_invalid(&mut self) {
        let tip = self.tip();
        self.insert(block_with(tip.hash, tip.height + 1, 0, INVALID));
    }

    fn insert(&mut self, block: Block) {
        let hash = block.hash();
        self.count_work(hash, &block.header);
        self.headers.insert(hash, block.header);
        self.bodies.insert(hash, block);
        self.best.push(hash);
        self.best_headers.push(hash);
    }

    /// Stores the blocks of another chain without connecting them.
    pub(super) fn store_aside(&mut self, other: &Self) {
        for (hash, block) in &other.bodies {
            self.work.insert(*hash, other.work[hash]);
            self.headers.insert(*hash, block.header);
            self.bodies.insert(*hash, block.clone());
        }
    }

    /// Returns the block of the best chain at a height.
    pub(super) fn at(&self, height: u32) -> (BlockHash, Height) {
        (self.best[height as usize], height)
    }

    fn tip_of(&self, chain: &[BlockHash]) -> Tip {
        self.tip_at(*chain.last().expect("genesis"))
    }

    fn tip_at(&self, hash: BlockHash) -> Tip {
        let work = Work::from(self.work[&hash]);
        Tip { hash, height: self.headers[&hash].height, work, time: 0 }
    }

    fn count_work(&mut self, hash: BlockHash, header: &Header) {
        let work = self.work[&header.previous] + work_of(header);
        self.work.insert(hash, work);
    }

    /// Returns the number of known headers.
    pub(super) fn known(&self) -> usize {
        self.headers.len()
    }

    /// Returns a known header as the start of a walk without storing.
    pub(super) fn context(&self, hash: BlockHash) -> Option<HeaderContext> {
        let known = self.headers.contains_key(&hash) && !self.is_invalid(hash);
        known.then(|| HeaderContext { tip: self.tip_at(hash), window: window() })
    }

    /// Leaves a header without a body aside.
    pub(super) fn withhold(&mut self, hash: BlockHash) {
        if self.headers.contains_key(&hash) && !self.bodies.contains_key(&hash) {
            self.withheld.insert(hash);
            self.choose_best_headers();
        }
    }

    /// Forgets which headers are left aside, as a restart does.
    pub(super) fn forget_withheld(&mut self) {
        self.withheld.clear();
        self.choose_best_headers();
    }

    fn is_withheld(&self, mut hash: BlockHash) -> bool {
        while !self.withheld.is_empty() && !self.bodies.contains_key(&hash) {
            if self.withheld.contains(&hash) {
                return true;
            }
            hash = self.headers[&hash].previous;
        }
        false
    }

    pub(super) fn tip(&self) -> Tip {
        self.tip_of(&self.best)
    }

    pub(super) fn best_header(&self) -> Tip {
        self.tip_of(&self.best_headers)
    }

    /// Returns the chain that ends at `to`, genesis first.
    fn path(&self, to: BlockHash, chain: &[BlockHash]) -> Vec<BlockHash> {
        let mut tail = Vec::new();
        let mut at = to;
        loop {
            let header = &self.headers[&at];
            if chain.get(header.height as usize) == Some(&at) {
                let mut path = chain[..=header.height as usize].to_vec();
                path.extend(tail.iter().rev());
                return path;
            }
            tail.push(at);
            at = header.previous;
        }
    }

    fn improves(&self, hash: BlockHash, chain: &[BlockHash]) -> bool {
        let best = chain.last().expect("genesis");
        let work = |hash: &BlockHash| Work::from(self.work[hash]);
        is_better((work(&hash), &hash), (work(best), best))
    }

    /// Makes the chain that ends at `to` from one that it may extend.
    fn extended(&self, to: BlockHash, mut chain: Vec<BlockHash>) -> Vec<BlockHash> {
        if chain.last() == Some(&self.headers[&to].previous) {
            chain.push(to);
            chain
        } else {
            self.path(to, &chain)
        }
    }

    fn is_invalid(&self, mut hash: BlockHash) -> bool {
        while !self.invalid.is_empty() && hash != BlockHash::ZERO {
            if self.invalid.contains(&hash) {
                return true;
            }
            hash = self.headers[&hash].previous;
        }
        false
    }

    pub(super) fn accept_headers(
        &mut self,
        headers: &[Header],
        shown: Option<Work>,
    ) -> Result<HeadersAccepted, Refused> {
        let mut new = 0;
        let known = headers.first().and_then(|header| self.work.get(&header.previous));
        let sum = known.map(|work| work + headers.iter().map(work_of).sum::<u64>());
        let shown = sum.map(Work::from).max(shown);
        let least = self.best[self.best.len().saturating_sub(SIDE_DEPTH + 1)];
        let stored = headers.iter().all(|header| self.headers.contains_key(&header.hash()));
        if !stored && shown.is_some_and(|shown| shown < Work::from(self.work[&least])) {
            return Err(nobodys(RefusalCause::TooLittleWork));
        }
        for header in headers {
            let hash = header.hash();
            if !self.headers.contains_key(&header.previous) {
                return Err(nobodys(RefusalCause::Other));
            }
            if self.is_invalid(header.previous) || self.invalid.contains(&hash) {
                return Err(refused(RefusalCause::InvalidBranch));
            }
            if header.height > self.tip().height.saturating_add(self.max_ahead) {
                return Err(nobodys(RefusalCause::TooFarBeyondTip));
            }
            if self.headers.insert(hash, *header).is_none() {
                self.count_work(hash, header);
                new += 1;
            }
            if self.improves(hash, &self.best_headers) && !self.is_withheld(hash) {
                let chain = std::mem::take(&mut self.best_headers);
                self.best_headers = self.extended(hash, chain);
            }
        }
        let last = headers.last().map_or(BlockHash::ZERO, Header::hash);
        Ok(HeadersAccepted { new, last, best_header: self.best_header() })
    }

    pub(super) fn accept_block(&mut self, block: Block) -> Result<BlockAccepted, Refused> {
        let hash = block.hash();
        assert!(
            self.headers.contains_key(&hash),
            "sync hands over blocks whose headers were taken"
        );
        if block.computed_merkle_root() != block.header.merkle_root {
            return Err(refused(RefusalCause::WrongMerkleRoot));
        }
        if self.is_invalid(hash) {
            return Err(refused(RefusalCause::InvalidBranch));
        }
        if self.bodies.contains_key(&hash) {
            return Ok(BlockAccepted::Known);
        }
        if !self.believes_everything && block.transactions[0].memo.ends_with(INVALID) {
            self.invalid.insert(hash);
            self.choose_best_headers();
            return Err(refused(RefusalCause::Other));
        }
        assert!(self.bodies.contains_key(&block.header.previous), "sync hands over parents first");
        self.bodies.insert(hash, block);
        if self.withheld.remove(&hash) {
            self.choose_best_headers();
        }
        if self.improves(hash, &self.best) {
            let path = self.extended(hash, self.best.clone());
            if self.may_take(&path) {
                self.best = path;
                return Ok(BlockAccepted::Connected);
            }
        }
        Ok(BlockAccepted::SideBranch)
    }

    /// Returns true if a chain can be taken without the user's consent.
    fn may_take(&self, path: &[BlockHash]) -> bool {
        let settled = self.best.iter().take(self.settled as usize + 1);
        settled.zip(path).all(|(ours, theirs)| ours == theirs)
    }

    /// Returns true if the best headers are on a branch that needs the user's consent.
    pub(super) fn is_diverged(&self) -> bool {
        !self.may_take(&self.best_headers)
    }

    /// Takes the other branch, as the user can.
    pub(super) fn accept_branch(&mut self) {
        assert!(
            self.best_headers.iter().all(|hash| self.bodies.contains_key(hash)),
            "all of it is here"
        );
        self.best = self.best_headers.clone();
    }

    /// Mines the next block on the node's own branch.
    pub(super) fn mine(&mut self, salt: u64) {
        let tip = self.tip();
        let block = block(tip.hash, tip.height + 1, salt);
        self.accept_headers(&[block.header], None).expect("a good header");
        assert_eq!(self.accept_block(block), Ok(BlockAccepted::Connected));
    }

    fn choose_best_headers(&mut self) {
        self.best_headers = self.best.clone();
        let mut candidates: Vec<BlockHash> = self
            .headers
            .keys()
            .copied()
            .filter(|hash| !self.is_invalid(*hash) && !self.is_withheld(*hash))
            .collect();
        candidates.sort_unstable();
        for hash in candidates {
            if self.improves(hash, &self.best_headers) {
                self.best_headers = self.path(hash, &self.best_headers);
            }
        }
    }

    pub(super) fn locator(&self) -> Vec<BlockHash> {
        let (mut hashes, mut step, mut at) = (Vec::new(), 1, self.best_headers.len() - 1);
        while at > 0 {
            hashes.push(self.best_headers[at]);
            if hashes.len() >= 10 {
                step *= 2;
            }
            at = at.saturating_sub(step);
        }
        hashes.push(self.best_headers[0]);
        hashes
    }

    pub(super) fn missing(&self, limit: usize) -> Vec<(BlockHash, Height)> {
        let missing = |hash: &&BlockHash| !self.bodies.contains_key(*hash);
        let mut found: Vec<BlockHash> = self.best_headers.iter().filter(missing).copied().collect();
        let mut tip = self.tip().hash;
        while self.is_diverged()
            && let Some(next) = self.headers.values().find(|header| header.previous == tip)
        {
            tip = next.hash();
            found.push(tip);
        }
        found.truncate(limit);
        found.iter().map(|hash| (*hash, self.headers[hash].height)).collect()
    }

    fn item(&self, id: &ItemId) -> Item {
        match id {
            ItemId::Block(hash) => self
                .bodies
                .get(hash)
                .map_or(Item::NotFound, |b| Item::Block(ByteBuf::from(b.to_bytes()))),
            ItemId::Trade(txid) => self
                .mempool
                .get(txid)
                .map_or(Item::NotFound, |t| Item::Trade(ByteBuf::from(t.to_bytes()))),
        }
    }

    /// Returns the response of an honest node.
    pub(super) fn answer(&self, request: &SyncRequest) -> SyncResponse {
        match request {
            SyncRequest::GetBlocks(ask) => {
                let on_best = |hash: &&BlockHash| {
                    self.headers
                        .get(hash)
                        .is_some_and(|header| self.best.get(header.height as usize) == Some(*hash))
                };
                let Some(known) = ask.locator.iter().find(on_best) else {
                    return SyncResponse::NotFound;
                };
                let limit = (ask.limit as usize).min(MAX_INV_HEADERS);
                let start = self.headers[known].height as usize + 1 + ask.skip as usize;
                let after = self.best.iter().skip(start).take(limit);
                SyncResponse::Inv(ByteBuf::from(
                    after.flat_map(|hash| self.headers[hash].to_bytes()).collect::<Vec<u8>>(),
                ))
            }
            SyncRequest::GetMempool => {
                SyncResponse::MempoolIds(self.mempool.keys().copied().collect())
            }
            SyncRequest::GetData(ids) => {
                SyncResponse::Data(ids.iter().map(|id| self.item(id)).collect())
            }
            SyncRequest::GetRange(ask) => {
                let above = self.headers.get(&ask.first).map(|header| header.height as usize);
                let bodies: Vec<u8> = above
                    .filter(|height| self.best.get(*height) == Some(&ask.first))
                    .into_iter()
                    .flat_map(|height| &self.best[height..])
                    .take(ask.count as usize)
                    .flat_map(|hash| self.bodies[hash].to_bytes())
                    .collect();
                match self.bodies.get(&ask.first) {
                    Some(block) if bodies.is_empty() => {
                        SyncResponse::Blocks(ByteBuf::from(block.to_bytes()))
                    }
                    Some(_) => SyncResponse::Blocks(ByteBuf::from(bodies)),
                    None => SyncResponse::NotFound,
                }
            }
            SyncRequest::GetBlockTrades(_) => SyncResponse::NotFound,
        }
    }
}
