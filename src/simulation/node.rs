//! A simulated node: the chain, the machines and the miner of a run, and the state between runs.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use rand::{SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use super::{
    history::{self, History, Lottery},
    liars::{Forged, Manner},
    queue::{Packet, Reply},
};
use crate::{
    chain::{
        Chain, ChainReader,
        api::{ChainSummary, Template},
    },
    consensus::Work,
    miner::policy::Policy,
    peers::{Peers, Trust},
    primitives::{BlockHash, MiningMode, Moment, Owner, PeerId, PublicKey, TxId},
    relay::{Relay, RelayConfig},
    storage::crash::CrashDisk,
    sync::{Phase, Sync, SyncConfig, SyncReport},
};

/// The time for which a gossip message is remembered, in µs: the default of gossipsub.
const REMEMBERED_US: u64 = 60_000_000;

/// Returns the peer id of a node.
pub(crate) fn peer(node: usize) -> PeerId {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&(node as u64).to_le_bytes());
    PeerId(PublicKey(key))
}

/// Returns the node of a peer. Returns a number beyond all nodes for an invented peer.
pub(super) fn node_of(peer: PeerId) -> usize {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&peer.0.0[..8]);
    usize::try_from(u64::from_le_bytes(bytes)).unwrap_or(usize::MAX)
}

/// A gossip message that a node has seen.
#[derive(Debug)]
pub(super) struct Seen {
    /// The message, until its verdict.
    pub(super) packet: Option<Arc<Packet>>,
    /// The peers that sent it.
    pub(super) had_by: Vec<usize>,
}

/// The gossip of one run: messages seen, by their ids.
#[derive(Debug, Default)]
pub(super) struct Gossiping {
    pub(super) seen: BTreeMap<[u8; 20], Seen>,
    /// The message ids by the numbers that the relay uses.
    pub(super) numbers: BTreeMap<u64, [u8; 20]>,
    order: VecDeque<(u64, [u8; 20])>,
    next: u64,
}

impl Gossiping {
    /// Remembers a new message, and returns its number. Forgets old ones.
    pub(super) fn insert(&mut self, id: [u8; 20], seen: Seen, now: u64) -> u64 {
        while let Some((at, old)) = self.order.front().copied()
            && at.saturating_add(REMEMBERED_US) < now
        {
            self.order.pop_front();
            self.seen.remove(&old);
        }
        self.order.push_back((now, id));
        self.seen.insert(id, seen);
        self.next += 1;
        self.numbers.insert(self.next, id);
        self.next
    }
}

/// A miner in the simulation: the real policy, with a lottery instead of threads.
#[derive(Debug)]
pub(super) struct Miner {
    /// The hashes per ms.
    pub(super) power: f64,
    pub(super) lottery: Lottery,
    pub(super) rng: StdRng,
}

/// The miner's state of one run.
#[derive(Debug)]
pub(super) struct Mining {
    pub(super) policy: Policy,
    pub(super) tip: BlockHash,
    pub(super) caught_up: bool,
    pub(super) current: Option<Template>,
    /// The time up to which the search is counted, in µs; `None` while the miner rests.
    pub(super) counted: Option<u64>,
    /// The number of the only valid wake-up.
    pub(super) turn: u64,
}

/// One run of a node: from its start to a crash.
pub(super) struct Run {
    pub(super) chain: Chain,
    pub(super) reader: ChainReader,
    pub(super) sync: Sync,
    pub(super) relay: Relay<u64>,
    pub(super) gossip: Gossiping,
    /// The topics on which peers are muted, and until when in µs.
    pub(super) muted: BTreeMap<(usize, &'static str), u64>,
    pub(super) mining: Mining,
    /// The last durable snapshot.
    pub(super) summary: ChainSummary,
    /// Requests in flight by id, with their peers and times in µs.
    pub(super) asked: BTreeMap<u64, (usize, u64)>,
    pub(super) next_hello: u64,
    /// Replies that wait for the next commit.
    pub(super) replies: Vec<Reply>,
    /// True if the end of this moment is in the queue.
    pub(super) settling: bool,
    /// True while a commit is being written.
    pub(super) storing: bool,
    /// The last commit, in µs.
    pub(super) saved: u64,
    /// The last housekeeping, and the last attempt to join a refused branch, in µs.
    pub(super) kept_house: u64,
    /// The time since which peers on our branch have been connected, in µs.
    pub(super) attended: Option<u64>,
    pub(super) reports: Vec<(u64, SyncReport)>,
    /// Progress of a sync that has not ended: its heights, and the time of the last change in µs.
    pub(super) progress: ((u32, u32), u64),
}

/// The bytes that a node sent, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) hello: u64,
    pub(crate) requests: u64,
    pub(crate) answers: u64,
    pub(crate) gossip: u64,
}

impl Sent {
    pub(crate) fn all(&self) -> u64 {
        self.hello + self.requests + self.answers + self.gossip
    }
}

/// A node with all its runs.
pub(crate) struct Node {
    pub(super) manner: Manner,
    pub(super) run: Option<Box<Run>>,
    pub(super) epoch: u64,
    pub(super) disk: CrashDisk,
    /// The wall clock minus the true time, in ms.
    pub(super) skew_ms: i64,
    pub(super) trust: Trust,
    pub(super) scores: Peers,
    pub(super) miner: Miner,
    pub(super) owner: Owner,
    pub(super) wallet: usize,
    /// Peers that are not dialed and whose connections are refused until these times, in µs.
    pub(super) refused: BTreeMap<usize, u64>,
    pub(super) sent: Sent,
    /// Blocks that this node mined.
    pub(super) mined: Vec<BlockHash>,
    /// Payments that this node acknowledged to its user.
    pub(super) acknowledged: Vec<TxId>,
    /// The branch that a liar forged.
    pub(super) forged: Option<Forged>,
    /// The bodies that were handed to its chain.
    pub(super) bodies: u64,
    /// True if the next commit is the last of the run.
    pub(super) crashes: bool,
}

impl Node {
    pub(super) fn new(number: usize, history: &History, manner: Manner, seed: u64) -> Self {
        let own = seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            manner,
            run: None,
            epoch: 0,
            disk: CrashDisk::quiet(history.file.clone()),
            skew_ms: 0,
            trust: Trust::default(),
            scores: Peers::default(),
            miner: Miner {
                power: 0.0,
                lottery: Lottery::new(own),
                rng: StdRng::seed_from_u64(own ^ 1),
            },
            owner: history::owner_of(&history::wallet_key(number)),
            wallet: number,
            refused: BTreeMap::new(),
            sent: Sent::default(),
            mined: Vec::new(),
            acknowledged: Vec::new(),
            forged: None,
            bodies: 0,
            crashes: false,
        }
    }

    /// Starts a run with the chain on the disk.
    pub(super) fn start(
        &mut self,
        history: &History,
        seed: u64,
        (moment, now): (Moment, u64),
    ) -> Result<(), String> {
        self.epoch += 1;
        let secret = seed ^ self.epoch.rotate_left(32) ^ self.wallet as u64;
        let chain = history::open(&self.disk, &history.network, secret)?;
        let (reader, summary) = (chain.reader(), chain.summary());
        let sync = Sync::new(SyncConfig {
            min_work: Work::ZERO,
            tip: summary.tip,
            best_header: summary.best_header,
            diverged: summary.diverged.is_some(),
            trust: self.trust.clone(),
            secret,
            now: moment,
        });
        let spacing_ms = history.network.params.spacing_ms;
        let relay = Relay::new(RelayConfig {
            spacing_ms,
            tip: summary.tip,
            trust: self.trust.clone(),
            seed: secret,
        });
        let mode = if self.miner.power > 0.0 { MiningMode::Always } else { MiningMode::Off };
        let mining = Mining {
            policy: Policy::new(mode, spacing_ms),
            tip: summary.tip.hash,
            caught_up: summary.tip.hash == summary.best_header.hash,
            current: None,
            counted: None,
            turn: 0,
        };
        let heights = (summary.tip.height, summary.best_header.height);
        self.run = Some(Box::new(Run {
            chain,
            reader,
            sync,
            relay,
            gossip: Gossiping::default(),
            muted: BTreeMap::new(),
            mining,
            summary,
            asked: BTreeMap::new(),
            next_hello: 0,
            replies: Vec::new(),
            settling: false,
            storing: false,
            saved: now,
            kept_house: now,
            attended: None,
            reports: Vec::new(),
            progress: (heights, now),
        }));
        Ok(())
    }

    pub(super) fn is_honest(&self) -> bool {
        self.manner == Manner::Honest
    }

    pub(crate) fn phase(&self) -> Option<Phase> {
        self.run.as_ref().map(|run| run.sync.progress().phase)
    }
}

/// Returns the tokio instant for a virtual time in µs.
pub(super) fn instant(base: Instant, now: u64) -> Instant {
    base.checked_add(Duration::from_micros(now)).unwrap_or(base)
}
