//! The simulated network: nodes, and messages in flight between them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet},
};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use serde_bytes::ByteBuf;

use super::toy::{self, ToyChain};
use crate::{
    consensus::Work,
    peers::{Offence, Trust},
    primitives::{BlockHash, Encode, Moment, PeerId, PublicKey},
    sync::{
        MAX_BODY_REQUESTS, MAX_HANDED, MAX_REQUESTS_PER_PEER, Phase, Sync, SyncAction, SyncConfig,
        SyncEvent, SyncReport, bodies::BlockRef, owns_request, requests::Purpose,
    },
    wire::{PROTOCOL_VERSION, RequestFailure, Status, SyncRequest, SyncResponse},
};

/// The time between two ticks of a node, in ms.
pub(super) const TICK_MS: u64 = 250;

/// The way in which a node answers requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Honest,
    /// Claims much work and answers nothing.
    Silent,
    /// Sends a true Status and answers no request.
    Mute,
    /// Claims more work than its chain has.
    Boasting,
    /// Sends bytes that do not decode to a block.
    Garbage,
    /// Sends another block than the requested one.
    WrongBlock,
    /// Serves headers and no bodies.
    Withholding,
    /// Sends headers without a known parent.
    LooseHeaders,
    /// Answers every request with Busy.
    Busy,
    /// Answers each request with a response of another kind.
    Confused,
}

enum Delivery {
    Event(usize, SyncEvent),
    Ask { from: usize, to: usize, id: u64, request: SyncRequest },
    Hello { from: usize, to: usize, status: Box<Status>, reply: bool },
    Tick(usize),
}

pub(super) struct Node {
    pub(super) chain: ToyChain,
    pub(super) sync: Sync,
    manner: Manner,
    neighbours: BTreeSet<usize>,
    pub(super) trust: Trust,
    pub(super) reports: Vec<(u64, SyncReport)>,
    pub(super) bodies_received: usize,
}

pub(super) struct Network {
    pub(super) now: Moment,
    pub(super) nodes: Vec<Node>,
    queue: BinaryHeap<Reverse<(Moment, u64)>>,
    deliveries: HashMap<u64, Delivery>,
    next: u64,
    rng: StdRng,
    /// The number of lost responses per thousand.
    pub(super) loss: u32,
    delay_ms: std::ops::Range<u64>,
    pub(super) request_ids: HashSet<(usize, u64)>,
    pub(super) penalties: Vec<(usize, usize, Offence)>,
    /// Peers that a node disconnected.
    pub(super) dropped: Vec<(usize, usize)>,
    /// The number of headers that were checked without storing them.
    pub(super) headers_counted: usize,
    /// The number of headers that were handed to chains.
    pub(super) headers_handed: usize,
}

pub(super) fn peer(index: usize) -> PeerId {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&(index as u64).to_le_bytes());
    PeerId(PublicKey(key))
}

fn index(peer: PeerId) -> usize {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&peer.0.0[..8]);
    usize::try_from(u64::from_le_bytes(bytes)).expect("an index")
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: 1_000_000,
            nodes: Vec::new(),
            queue: BinaryHeap::new(),
            deliveries: HashMap::new(),
            next: 0,
            rng: StdRng::seed_from_u64(seed),
            loss: 0,
            delay_ms: 5..80,
            request_ids: HashSet::new(),
            penalties: Vec::new(),
            dropped: Vec::new(),
            headers_counted: 0,
            headers_handed: 0,
        }
    }

    pub(super) fn add(&mut self, chain: ToyChain, manner: Manner) -> usize {
        let trust = Trust::default();
        let sync = Self::machine(&chain, &trust, self.now);
        let node = self.nodes.len();
        self.nodes.push(Node {
            chain,
            sync,
            manner,
            neighbours: BTreeSet::new(),
            trust,
            reports: Vec::new(),
            bodies_received: 0,
        });
        let first = self.rng.random_range(0..TICK_MS);
        self.push(first, Delivery::Tick(node));
        node
    }

    fn machine(chain: &ToyChain, trust: &Trust, now: Moment) -> Sync {
        Sync::new(SyncConfig {
            min_work: Work::ZERO,
            tip: chain.tip(),
            best_header: chain.best_header(),
            diverged: chain.is_diverged(),
            trust: trust.clone(),
            secret: 0x5eed_5eed_5eed_5eed,
            now,
        })
    }

    /// Makes `other` a friend of `node`.
    pub(super) fn befriend(&self, node: usize, other: usize) {
        self.nodes[node].trust.accept(peer(other));
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) {
        self.nodes[a].neighbours.insert(b);
        self.nodes[b].neighbours.insert(a);
        self.hello(a, b);
    }

    pub(super) fn disconnect(&mut self, a: usize, b: usize) {
        for (node, other) in [(a, b), (b, a)] {
            self.nodes[node].neighbours.remove(&other);
            self.feed(node, SyncEvent::PeerGone { peer: peer(other) });
        }
    }

    /// Restarts a node. Its chain stays as it was, and its sync machine starts empty.
    pub(super) fn restart(&mut self, node: usize) {
        let neighbours = self.nodes[node].neighbours.clone();
        for other in &neighbours {
            self.disconnect(node, *other);
        }
        self.nodes[node].chain.forget_withheld();
        self.nodes[node].sync =
            Self::machine(&self.nodes[node].chain, &self.nodes[node].trust, self.now);
        self.request_ids.retain(|(owner, _)| *owner != node);
        self.deliveries
            .retain(|_, delivery| !matches!(delivery, Delivery::Event(to, _) if *to == node));
        for other in neighbours {
            self.connect(node, other);
        }
    }

    fn push(&mut self, delay: u64, delivery: Delivery) {
        self.next += 1;
        self.queue.push(Reverse((self.now + delay, self.next)));
        self.deliveries.insert(self.next, delivery);
    }

    fn push_remote(&mut self, delivery: Delivery) {
        let delay = self.rng.random_range(self.delay_ms.clone());
        self.push(delay, delivery);
    }

    pub(super) fn status(&self, node: usize) -> Status {
        let Node { chain, manner, .. } = &self.nodes[node];
        let tip = chain.tip();
        let (mut tip, mut height, mut work) = (tip.hash, tip.height, tip.work);
        if matches!(
            manner,
            Manner::Silent
                | Manner::Boasting
                | Manner::Busy
                | Manner::Confused
                | Manner::LooseHeaders
        ) {
            (tip, height, work) =
                (BlockHash([0xee; 32]), u32::MAX, Work::from_be_bytes([0x7f; 32]));
        }
        Status {
            version: PROTOCOL_VERSION,
            features: 0,
            network: BlockHash::ZERO,
            tip,
            height,
            work: ByteBuf::from(work.to_be_bytes()),
            time: self.now,
            mempool: u32::try_from(chain.mempool.len()).expect("a small mempool"),
        }
    }

    fn hello(&mut self, from: usize, to: usize) {
        // Some tests make peers up that do not exist.
        if to < self.nodes.len() {
            let status = Box::new(self.status(from));
            self.push_remote(Delivery::Hello { from, to, status, reply: true });
        }
    }

    pub(super) fn feed(&mut self, node: usize, event: SyncEvent) {
        let actions = self.nodes[node].sync.handle(event, self.now);
        self.check(node);
        for action in actions {
            self.act(node, action);
        }
    }

    /// Asserts what must hold after every event.
    fn check(&self, node: usize) {
        let sync = &self.nodes[node].sync;
        let mut asked: BTreeMap<BlockRef, usize> = BTreeMap::new();
        let mut of_peer: BTreeMap<PeerId, usize> = BTreeMap::new();
        for request in sync.requests.values() {
            assert!(sync.peers.contains_key(&request.peer), "a request outlives its peer");
            if let Purpose::Bodies(blocks) = &request.purpose {
                *of_peer.entry(request.peer).or_default() += 1;
                for block in blocks {
                    *asked.entry(*block).or_default() += 1;
                }
            }
        }
        for (id, peer) in &sync.peers {
            let count = of_peer.get(id).copied().unwrap_or_default();
            assert_eq!(peer.pipe.requests(), count);
            assert!(count <= MAX_REQUESTS_PER_PEER);
        }
        let fresh = sync.requests.values().filter(|request| !request.is_late(self.now));
        let bodies = fresh.filter(|request| matches!(request.purpose, Purpose::Bodies(_)));
        assert!(bodies.count() <= MAX_BODY_REQUESTS);
        for (block, requests) in sync.bodies.asked() {
            assert_eq!(
                asked.get(&block).copied().unwrap_or_default(),
                requests,
                "the number of requests for a block is wrong"
            );
        }
        assert!(sync.bodies.handed() <= MAX_HANDED);
    }

    fn act(&mut self, node: usize, action: SyncAction) {
        match action {
            SyncAction::Request { peer, id, request } => {
                assert!(
                    owns_request(id) && self.request_ids.insert((node, id)),
                    "a request id is used twice"
                );
                self.push_remote(Delivery::Ask { from: node, to: index(peer), id, request });
            }
            SyncAction::SendStatus { peer } => self.hello(node, index(peer)),
            SyncAction::FetchLocator { peer } => {
                let hashes = self.nodes[node].chain.locator();
                self.push(1, Delivery::Event(node, SyncEvent::Locator { peer, hashes }));
            }
            SyncAction::FetchMissing { read, limit } => {
                let blocks = self.nodes[node].chain.missing(limit);
                self.push(2, Delivery::Event(node, SyncEvent::Missing { read, blocks }));
            }
            SyncAction::FilterTrades { peer, ids } => {
                let mempool = &self.nodes[node].chain.mempool;
                let ids = ids.into_iter().filter(|id| !mempool.contains_key(id)).collect();
                self.push(1, Delivery::Event(node, SyncEvent::UnknownTrades { peer, ids }));
            }
            SyncAction::AcceptHeaders { peer, walk, headers, shown } => {
                self.headers_handed += headers.len();
                let result = self.nodes[node].chain.accept_headers(&headers, shown);
                self.push(1, Delivery::Event(node, SyncEvent::HeadersDone { peer, walk, result }));
                self.summarise(node);
            }
            SyncAction::HeaderContext { peer, hash } => {
                let context = self.nodes[node].chain.context(hash).map(Box::new);
                self.push(1, Delivery::Event(node, SyncEvent::HeaderContext { peer, context }));
            }
            SyncAction::CheckHeaders { peer, context, headers } => {
                self.headers_counted += headers.len();
                let result = Ok(Box::new(toy::check_branch(*context, &headers)));
                self.push(1, Delivery::Event(node, SyncEvent::HeadersChecked { peer, result }));
            }
            SyncAction::Withhold { hash } => {
                self.nodes[node].chain.withhold(hash);
                self.summarise(node);
            }
            SyncAction::Disconnect { peer } => {
                self.dropped.push((node, index(peer)));
                self.disconnect(node, index(peer));
            }
            SyncAction::AcceptBlocks { blocks } => {
                let mut results = Vec::new();
                for (_, block) in blocks {
                    self.nodes[node].bodies_received += 1;
                    let hash = block.hash();
                    results.push((hash, self.nodes[node].chain.accept_block(*block)));
                }
                self.push(2, Delivery::Event(node, SyncEvent::BlocksDone { results }));
                self.summarise(node);
            }
            SyncAction::AcceptTrade { transaction, .. } => {
                let txid = transaction.txid();
                self.nodes[node].chain.mempool.insert(txid, *transaction);
                self.push(1, Delivery::Event(node, SyncEvent::TradeDone { txid, result: Ok(()) }));
            }
            SyncAction::Penalise { peer, offence, .. } => self.charge(node, index(peer), offence),
            SyncAction::SyncDone { ticket, report } => {
                self.nodes[node].reports.push((ticket, report));
            }
            SyncAction::SuspendMining
            | SyncAction::Proven { .. }
            | SyncAction::PhaseChanged { .. } => {}
        }
    }

    fn charge(&mut self, node: usize, other: usize, offence: Offence) {
        self.penalties.push((node, other, offence));
        let of_both = |penalty: &&(usize, usize, Offence)| penalty.0 == node && penalty.1 == other;
        let score: i64 = self.penalties.iter().filter(of_both).map(|p| p.2.weight()).sum();
        if score >= 100 && self.nodes[node].neighbours.contains(&other) {
            self.disconnect(node, other);
        }
    }

    pub(super) fn summarise(&mut self, node: usize) {
        let chain = &self.nodes[node].chain;
        let (tip, best_header, diverged) = (chain.tip(), chain.best_header(), chain.is_diverged());
        let event = SyncEvent::Summary { tip, best_header, diverged };
        self.push(2, Delivery::Event(node, event));
    }

    fn answer(&mut self, node: usize, request: &SyncRequest) -> Option<SyncResponse> {
        let Node { chain, manner, .. } = &self.nodes[node];
        let honest = chain.answer(request);
        Some(match (manner, request) {
            (Manner::Silent | Manner::Mute, _) => return None,
            (Manner::Busy, _) => SyncResponse::Busy,
            (Manner::Confused, SyncRequest::GetMempool) => SyncResponse::Inv(ByteBuf::new()),
            (Manner::Confused, _) => SyncResponse::MempoolIds(Vec::new()),
            (Manner::LooseHeaders, SyncRequest::GetBlocks(_)) => {
                let header = toy::block(BlockHash([3; 32]), 77, 1).header;
                SyncResponse::Inv(ByteBuf::from(header.to_bytes()))
            }
            (Manner::Garbage, SyncRequest::GetRange(_)) => {
                let mut bytes = vec![0; 300];
                self.rng.fill_bytes(&mut bytes);
                SyncResponse::Blocks(ByteBuf::from(bytes))
            }
            (Manner::WrongBlock, SyncRequest::GetRange(_)) => {
                let other = toy::block(BlockHash([4; 32]), 5, 5).to_bytes();
                SyncResponse::Blocks(ByteBuf::from(other))
            }
            (Manner::Withholding, SyncRequest::GetRange(_)) => SyncResponse::NotFound,
            _ => honest,
        })
    }

    /// Runs until a condition holds. Panics if that takes more than `limit_ms` of virtual time.
    pub(super) fn run_until(&mut self, limit_ms: u64, condition: impl Fn(&Self) -> bool) -> u64 {
        let start = self.now;
        while !condition(self) {
            let Reverse((time, number)) = self.queue.pop().expect("ticks never end");
            self.now = self.now.max(time);
            assert!(
                self.now - start <= limit_ms,
                "not done after {limit_ms} ms: {:?}",
                self.describe()
            );
            if let Some(delivery) = self.deliveries.remove(&number) {
                self.deliver(delivery);
            }
        }
        self.now - start
    }

    pub(super) fn run_for(&mut self, ms: u64) {
        let end = self.now + ms;
        self.run_until(ms + TICK_MS, |network| network.now >= end);
    }

    fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Event(node, event) => self.feed(node, event),
            Delivery::Tick(node) => {
                self.feed(node, SyncEvent::Tick);
                self.push(TICK_MS, Delivery::Tick(node));
            }
            Delivery::Hello { from, to, status, reply } => {
                if self.nodes[to].neighbours.contains(&from) {
                    self.feed(to, SyncEvent::PeerStatus { peer: peer(from), status });
                    if reply {
                        let status = Box::new(self.status(to));
                        self.push_remote(Delivery::Hello {
                            from: to,
                            to: from,
                            status,
                            reply: false,
                        });
                    }
                }
            }
            Delivery::Ask { from, to, id, request } => {
                let lost = self.rng.random_range(0..1_000) < self.loss;
                let result = if !self.nodes[to].neighbours.contains(&from) {
                    Err(RequestFailure::Disconnected)
                } else if lost {
                    return;
                } else {
                    match self.answer(to, &request) {
                        Some(response) => Ok(response),
                        None => return,
                    }
                };
                self.push_remote(Delivery::Event(from, SyncEvent::Response { id, result }));
            }
        }
    }

    fn describe(&self) -> Vec<(u32, u32, Phase)> {
        self.nodes
            .iter()
            .map(|node| (node.chain.tip().height, node.chain.best_header().height, node.sync.phase))
            .collect()
    }

    pub(super) fn tip(&self, node: usize) -> BlockHash {
        self.nodes[node].chain.tip().hash
    }

    pub(super) fn phase(&self, node: usize) -> Phase {
        self.nodes[node].sync.progress().phase
    }

    /// Returns the number of trusted peers that confirm a node's chain.
    pub(super) fn confirmed(&self, node: usize) -> usize {
        self.nodes[node].sync.progress().confirmed
    }

    /// Asserts that no request, body or walk is left over.
    pub(super) fn assert_at_rest(&self, node: usize) {
        let sync = &self.nodes[node].sync;
        assert!(
            sync.requests.is_empty() && sync.bodies.is_empty() && sync.walks() == 0,
            "{sync:?}"
        );
    }
}
