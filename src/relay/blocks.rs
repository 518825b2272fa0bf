//! Solved headers and compact blocks: in from gossip, out from this node.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_bytes::ByteBuf;
use tracing::debug;

use super::{
    Announcement, BLOCK_MS, MAX_PAUSE_MS, MAX_PENDING_BLOCKS, MAX_RECENT_BLOCKS, MAX_SOLVED,
    MAX_SOURCES, MAX_TRIES, REQUEST_MS, RETRY_MS, Relay, RelayAction, SOLVED_MS, VERDICT_MS,
    bounded::Recent,
};
use crate::{
    chain::api::{BlockAccepted, HeadersAccepted, Rebuilt, Refused},
    consensus::Blame,
    peers::Offence,
    primitives::{
        Block, BlockHash, Encode, HEADER_BYTES, Header, Height, PeerId, SHORT_ID_BYTES,
        Transaction, TransactionKind, UnixMillis, encoding, leaf_hash, short_id,
    },
    telemetry::events,
    wire::{
        BlockGossip, CompactBlock, GetBlockTrades, Item, ItemId, RequestFailure, SyncRequest,
        SyncResponse, Verdict,
        limits::{MAX_GOSSIP_BYTES, MAX_SHORT_IDS},
    },
};

/// What frames a compact block's parts on the wire, at most: heads of arrays and byte strings.
const COMPACT_OVERHEAD: usize = 64;

/// A solved header whose check is under way.
#[derive(Debug)]
struct Check<M> {
    peer: PeerId,
    message: Option<M>,
    header: Header,
    since: UnixMillis,
}

/// What a block is put together from.
#[derive(Debug, Clone)]
struct Parts {
    /// Each transaction that is here, in its place, the coinbase first.
    places: Vec<Option<Arc<Transaction>>>,
    /// The places to be filled, ascending.
    missing: Vec<u32>,
}

/// Where an announced block stands.
#[derive(Debug)]
enum Stage {
    /// The chain checks its header.
    Checking,
    /// The chain looks for its transactions in the mempool.
    Rebuilding,
    /// A peer is asked for parts or for the whole.
    Asking { id: u64, peer: PeerId, since: UnixMillis },
    /// The next peer is asked at this time.
    Waiting { until: UnixMillis },
    /// The chain checks the whole. The peer, if any, has handed over a part of it.
    Accepting { from: Option<PeerId> },
}

/// A block that was announced and is not here yet.
#[derive(Debug)]
struct Pending<M> {
    header: Header,
    coinbase: Box<Transaction>,
    short_ids: Vec<[u8; SHORT_ID_BYTES]>,
    /// Who announced it, in the order in which they are asked. Never empty but when all have gone.
    sources: Vec<PeerId>,
    /// Until its verdict is given.
    message: Option<M>,
    since: UnixMillis,
    stage: Stage,
    /// What the mempool had. None once the whole block is asked for.
    parts: Option<Parts>,
    tries: u32,
}

/// What the relay knows of blocks.
#[derive(Debug)]
pub(super) struct Blocks<M> {
    checks: HashMap<BlockHash, Check<M>>,
    pending: BTreeMap<BlockHash, Pending<M>>,
    /// Solved headers that were let through: who told of them, and when.
    awaited: BTreeMap<BlockHash, (PeerId, UnixMillis)>,
    /// Solved by this node.
    own: Recent<BlockHash>,
    /// Announced by gossip, with a good header.
    announced: Recent<BlockHash>,
    connected: Recent<BlockHash>,
    /// The tip for whose child the miners were paused.
    paused: Option<BlockHash>,
}

impl<M> Blocks<M> {
    pub(super) fn new() -> Self {
        Self {
            checks: HashMap::new(),
            pending: BTreeMap::new(),
            awaited: BTreeMap::new(),
            own: Recent::new(MAX_RECENT_BLOCKS),
            announced: Recent::new(MAX_RECENT_BLOCKS),
            connected: Recent::new(MAX_RECENT_BLOCKS),
            paused: None,
        }
    }

    fn asked(&self, id: u64) -> Option<BlockHash> {
        let asks = |pending: &Pending<M>| matches!(pending.stage, Stage::Asking { id: asked, .. } if asked == id);
        self.pending.iter().find(|(_, pending)| asks(pending)).map(|(hash, _)| *hash)
    }
}

/// A compact block, decoded.
struct Compact {
    header: Header,
    coinbase: Transaction,
    short_ids: Vec<[u8; SHORT_ID_BYTES]>,
}

fn read_header(bytes: &[u8]) -> Result<Header, String> {
    encoding::from_bytes(bytes)
        .map_err(|error| format!("an announced header cannot be read: {error}"))
}

fn read_compact(compact: &CompactBlock) -> Result<Compact, String> {
    let header = read_header(&compact.header)?;
    let coinbase: Transaction = encoding::from_bytes(&compact.coinbase)
        .map_err(|error| format!("an announced coinbase cannot be read: {error}"))?;
    if coinbase.kind() != TransactionKind::Coinbase {
        return Err("what is announced as a coinbase has inputs".into());
    }
    let (short_ids, rest) = compact.short_ids.as_chunks::<SHORT_ID_BYTES>();
    if !rest.is_empty() || short_ids.len() > MAX_SHORT_IDS {
        return Err(format!("{} bytes of short ids", compact.short_ids.len()));
    }
    Ok(Compact { header, coinbase, short_ids: short_ids.to_vec() })
}

/// A block as it is announced; none when it does not fit into a message.
fn compact(block: &Block) -> Option<CompactBlock> {
    let (coinbase, rest) = block.transactions.split_first()?;
    let hash = block.hash();
    let coinbase = coinbase.to_bytes();
    let bytes = rest.len().checked_mul(SHORT_ID_BYTES)?;
    let total = bytes
        .checked_add(coinbase.len())?
        .checked_add(HEADER_BYTES)?
        .checked_add(COMPACT_OVERHEAD)?;
    if rest.len() > MAX_SHORT_IDS || total > MAX_GOSSIP_BYTES {
        return None;
    }
    let short_ids: Vec<u8> =
        rest.iter().flat_map(|transaction| short_id(&hash, &leaf_hash(transaction))).collect();
    Some(CompactBlock {
        header: ByteBuf::from(block.header.to_bytes()),
        coinbase: ByteBuf::from(coinbase),
        short_ids: ByteBuf::from(short_ids),
    })
}

/// The whole block, when every place is filled and the merkle root is the header's.
fn assemble(header: Header, places: Vec<Option<Arc<Transaction>>>) -> Option<Box<Block>> {
    let transactions: Option<Vec<Transaction>> =
        places.into_iter().map(|place| place.map(Arc::unwrap_or_clone)).collect();
    let block = Block { header, transactions: transactions? };
    (block.computed_merkle_root() == header.merkle_root).then(|| Box::new(block))
}

impl<M: Copy> Relay<M> {
    pub(super) fn on_own_solved(&mut self, header: &Header) {
        self.blocks.own.insert(header.hash(), ());
        let solved = BlockGossip::Solved(ByteBuf::from(header.to_bytes()));
        self.out.push(RelayAction::Publish { announcement: Announcement::Block(solved) });
    }

    pub(super) fn on_connected(&mut self, connected: &[(BlockHash, Height)], is_best: bool) {
        for (hash, _) in connected {
            self.blocks.connected.insert(*hash, ());
            self.blocks.awaited.remove(hash);
            let news = is_best && *hash == self.tip.hash && !self.blocks.announced.contains(hash);
            if self.blocks.own.contains(hash) || news {
                self.loading.insert(*hash, ());
                self.out.push(RelayAction::FetchBlock { hash: *hash });
            }
        }
    }

    pub(super) fn on_block_loaded(&mut self, hash: BlockHash, block: Option<&Block>) {
        let (Some(()), Some(block)) = (self.loading.remove(&hash), block) else {
            return;
        };
        let gossip = match compact(block) {
            Some(compact) => BlockGossip::Compact(compact),
            // Too large a block: peers learn of it by its header, and fetch it by sync.
            None if self.blocks.own.contains(&hash) => return,
            None => BlockGossip::Solved(ByteBuf::from(block.header.to_bytes())),
        };
        self.blocks.announced.insert(hash, ());
        self.out.push(RelayAction::Publish { announcement: Announcement::Block(gossip) });
    }

    pub(super) fn on_block_gossip(
        &mut self,
        peer: PeerId,
        message: M,
        gossip: &BlockGossip,
        now: UnixMillis,
    ) {
        let allowed =
            self.allowance(peer, now).is_some_and(|allowance| allowance.blocks.take(1, now));
        if !allowed {
            debug!(%peer, "too many blocks at once");
            return self.verdict(message, Verdict::Ignore);
        }
        let read = match gossip {
            BlockGossip::Solved(bytes) => {
                read_header(bytes).map(|header| self.on_solved(peer, message, header, now))
            }
            BlockGossip::Compact(compact) => {
                read_compact(compact).map(|compact| self.on_compact(peer, message, compact, now))
            }
        };
        if let Err(reason) = read {
            self.verdict(message, Verdict::Reject);
            self.penalise(peer, Offence::Malformed, reason);
        }
    }

    fn is_news(&self, hash: &BlockHash) -> bool {
        let blocks = &self.blocks;
        *hash != self.tip.hash
            && !blocks.own.contains(hash)
            && !blocks.announced.contains(hash)
            && !blocks.connected.contains(hash)
    }

    fn on_solved(&mut self, peer: PeerId, message: M, header: Header, now: UnixMillis) {
        let hash = header.hash();
        if header.previous != self.tip.hash {
            // Either it is old news, or the peer is ahead of us: then sync has to catch up.
            if header.height > self.tip.height && self.is_news(&hash) {
                self.ask_status(peer, now);
            }
            return self.verdict(message, Verdict::Ignore);
        }
        let blocks = &self.blocks;
        let busy = blocks.checks.len() >= MAX_SOLVED || blocks.checks.contains_key(&hash);
        if busy
            || blocks.pending.contains_key(&hash)
            || blocks.awaited.contains_key(&hash)
            || !self.is_news(&hash)
        {
            return self.verdict(message, Verdict::Ignore);
        }
        self.blocks.checks.insert(hash, Check { peer, message: Some(message), header, since: now });
        self.out.push(RelayAction::CheckSolved { header: Box::new(header) });
    }

    pub(super) fn on_solved_checked(&mut self, hash: BlockHash, result: Result<(), Refused>) {
        let Some(check) = self.blocks.checks.remove(&hash) else {
            return;
        };
        let verdict = match result {
            Ok(()) => {
                self.await_block(hash, &check);
                Verdict::Accept
            }
            Err(refused) if refused.blame == Blame::Peer => {
                self.penalise(
                    check.peer,
                    Offence::InvalidHeader,
                    format!("{}: {}", refused.code, refused.reason),
                );
                Verdict::Reject
            }
            Err(_) => Verdict::Ignore,
        };
        if let Some(message) = check.message {
            self.verdict(message, verdict);
        }
    }

    /// A child of the tip is solved: its block is on the way, and the miners may rest until then,
    /// once.
    fn await_block(&mut self, hash: BlockHash, check: &Check<M>) {
        let parent = check.header.previous;
        if parent != self.tip.hash {
            return;
        }
        if self.blocks.awaited.len() < MAX_SOLVED {
            self.blocks.awaited.insert(hash, (check.peer, check.since));
        }
        let ms = MAX_PAUSE_MS.min(self.spacing_ms / 5);
        if self.blocks.paused != Some(parent) && ms > 0 {
            self.blocks.paused = Some(parent);
            self.out.push(RelayAction::PauseMining { parent, ms });
        }
    }

    fn on_compact(&mut self, peer: PeerId, message: M, compact: Compact, now: UnixMillis) {
        let Compact { header, coinbase, short_ids } = compact;
        let hash = header.hash();
        if let Some(pending) = self.blocks.pending.get_mut(&hash) {
            if pending.sources.len() < MAX_SOURCES && !pending.sources.contains(&peer) {
                pending.sources.push(peer);
            }
            return self.verdict(message, Verdict::Ignore);
        }
        if !self.is_news(&hash) {
            return self.verdict(message, Verdict::Ignore);
        }
        if self.blocks.pending.len() >= MAX_PENDING_BLOCKS {
            self.ask_status(peer, now);
            return self.verdict(message, Verdict::Ignore);
        }
        let pending = Pending {
            header,
            coinbase: Box::new(coinbase),
            short_ids,
            sources: vec![peer],
            message: Some(message),
            since: now,
            stage: Stage::Checking,
            parts: None,
            tries: 0,
        };
        self.blocks.pending.insert(hash, pending);
        self.out.push(RelayAction::AcceptHeader { peer, header: Box::new(header) });
    }

    pub(super) fn on_header_done(
        &mut self,
        hash: BlockHash,
        result: Result<HeadersAccepted, Refused>,
        now: UnixMillis,
    ) {
        let Some(pending) = self.blocks.pending.get_mut(&hash) else {
            return;
        };
        if !matches!(pending.stage, Stage::Checking) {
            return;
        }
        let message = pending.message.take();
        let peer = pending.sources.first().copied();
        let verdict = match result {
            Ok(_) => {
                pending.stage = Stage::Rebuilding;
                self.blocks.announced.insert(hash, ());
                self.out.push(RelayAction::Rebuild {
                    hash,
                    header: Box::new(pending.header),
                    coinbase: pending.coinbase.clone(),
                    short_ids: pending.short_ids.clone(),
                });
                Verdict::Accept
            }
            Err(refused) => {
                self.blocks.pending.remove(&hash);
                match (refused.blame, peer) {
                    // Who passes it on has not seen the invalid block below it, or not yet.
                    _ if refused.code == "invalid_branch" => Verdict::Ignore,
                    (Blame::Peer, Some(peer)) => {
                        self.penalise(
                            peer,
                            Offence::InvalidHeader,
                            format!("{}: {}", refused.code, refused.reason),
                        );
                        Verdict::Reject
                    }
                    (Blame::Nobody, Some(peer)) => {
                        // Most likely its parent is not known here: the peer is ahead.
                        self.ask_status(peer, now);
                        Verdict::Ignore
                    }
                    _ => Verdict::Ignore,
                }
            }
        };
        if let Some(message) = message {
            self.verdict(message, verdict);
        }
    }

    pub(super) fn on_rebuilt(&mut self, hash: BlockHash, rebuilt: Rebuilt, now: UnixMillis) {
        let Some(pending) = self.blocks.pending.get_mut(&hash) else {
            return;
        };
        if !matches!(pending.stage, Stage::Rebuilding) {
            return;
        }
        match rebuilt {
            Rebuilt::Block(block)
                if block.hash() == hash
                    && block.computed_merkle_root() == block.header.merkle_root =>
            {
                return self.accept(hash, block, None);
            }
            // Another transaction has the same short id.
            Rebuilt::Block(_) => {}
            Rebuilt::Missing { mut found, positions } => {
                if found.len() == pending.short_ids.len() {
                    found.insert(0, None);
                }
                if let Some(place) = found.first_mut() {
                    *place = Some(Arc::new((*pending.coinbase).clone()));
                }
                let whole = pending.short_ids.len().saturating_add(1);
                let positions: Vec<u32> =
                    positions.into_iter().filter(|position| *position > 0).collect();
                if found.len() == whole && !positions.is_empty() {
                    pending.parts = Some(Parts { places: found, missing: positions });
                }
            }
        }
        self.ask_next(hash, now);
    }

    /// Asks the next announcer for what is missing; gives up after all have been asked often
    /// enough.
    fn ask_next(&mut self, hash: BlockHash, now: UnixMillis) {
        let Some(pending) = self.blocks.pending.get_mut(&hash) else {
            return;
        };
        let turn =
            usize::try_from(pending.tries).unwrap_or(usize::MAX).checked_rem(pending.sources.len());
        let source = turn.and_then(|turn| pending.sources.get(turn)).copied();
        let Some(peer) = source.filter(|_| pending.tries < MAX_TRIES) else {
            return self.give_up(hash, now);
        };
        pending.tries = pending.tries.saturating_add(1);
        let request = match &pending.parts {
            Some(Parts { missing, .. }) => SyncRequest::GetBlockTrades(GetBlockTrades {
                block: hash,
                positions: missing.clone(),
            }),
            None => SyncRequest::GetData(vec![ItemId::Block(hash)]),
        };
        events::BlocksRequested { peer, message: "getdata", count: 1 }.emit();
        let id = self.request(peer, request);
        if let Some(pending) = self.blocks.pending.get_mut(&hash) {
            pending.stage = Stage::Asking { id, peer, since: now };
        }
    }

    /// This answer was none: the next announcer at once, or after a pause when all were asked.
    fn ask_later(&mut self, hash: BlockHash, now: UnixMillis) {
        let Some(pending) = self.blocks.pending.get_mut(&hash) else {
            return;
        };
        let asked = usize::try_from(pending.tries).unwrap_or(usize::MAX);
        if asked < pending.sources.len() {
            return self.ask_next(hash, now);
        }
        let pause = RETRY_MS.saturating_mul(1 << pending.tries.min(MAX_TRIES));
        pending.stage = Stage::Waiting { until: now.saturating_add(pause) };
    }

    /// Leaves a block to sync.
    fn give_up(&mut self, hash: BlockHash, now: UnixMillis) {
        if let Some(pending) = self.blocks.pending.remove(&hash) {
            debug!(%hash, "an announced block could not be completed");
            if let Some(message) = pending.message {
                self.verdict(message, Verdict::Ignore);
            }
            for peer in pending.sources {
                self.ask_status(peer, now);
            }
        }
    }

    pub(super) fn on_response(
        &mut self,
        id: u64,
        result: Result<SyncResponse, RequestFailure>,
        now: UnixMillis,
    ) {
        let Some(hash) = self.blocks.asked(id) else {
            return debug!(id, "an answer came to a request that is over");
        };
        let Some(pending) = self.blocks.pending.get_mut(&hash) else {
            return;
        };
        let Stage::Asking { peer, .. } = pending.stage else {
            return;
        };
        match (result, pending.parts.is_some()) {
            (Ok(SyncResponse::BlockTrades(parts)), true) => self.on_parts(hash, peer, &parts, now),
            (Ok(SyncResponse::Data(items)), false) => self.on_whole(hash, peer, &items, now),
            (Ok(SyncResponse::NotYet | SyncResponse::NotFound | SyncResponse::Busy), _) => {
                self.ask_later(hash, now)
            }
            (Ok(SyncResponse::Refused(_)), _) => {
                // Perhaps it would rather send the whole.
                pending.parts = None;
                self.ask_later(hash, now);
            }
            (Ok(_), _) => {
                let reason = "an answer of another kind than the question".into();
                self.penalise(peer, Offence::WrongAnswer, reason);
                self.drop_source(hash, peer, now);
            }
            (Err(failure), _) => {
                debug!(%peer, %failure, "a request failed");
                self.ask_later(hash, now);
            }
        }
    }

    fn on_parts(&mut self, hash: BlockHash, peer: PeerId, parts: &[ByteBuf], now: UnixMillis) {
        let Some((header, Parts { mut places, missing: positions })) = self
            .blocks
            .pending
            .get_mut(&hash)
            .and_then(|pending| Some((pending.header, pending.parts.clone()?)))
        else {
            return;
        };
        if parts.len() != positions.len() {
            let reason =
                format!("{} transactions when {} were asked", parts.len(), positions.len());
            self.penalise(peer, Offence::WrongAnswer, reason);
            return self.drop_source(hash, peer, now);
        }
        for (position, bytes) in positions.iter().zip(parts) {
            let transaction = match encoding::from_bytes::<Transaction>(bytes) {
                Ok(transaction) => transaction,
                Err(error) => {
                    self.penalise(
                        peer,
                        Offence::Malformed,
                        format!("a part of the block {hash}: {error}"),
                    );
                    return self.drop_source(hash, peer, now);
                }
            };
            if let Some(place) =
                usize::try_from(*position).ok().and_then(|position| places.get_mut(position))
            {
                *place = Some(Arc::new(transaction));
            }
        }
        if let Some(block) = assemble(header, places) {
            return self.accept(hash, block, Some(peer));
        }
        // Some short id stands for another transaction: only the whole block will do.
        if let Some(pending) = self.blocks.pending.get_mut(&hash) {
            pending.parts = None;
        }
        self.ask_next(hash, now);
    }

    fn on_whole(&mut self, hash: BlockHash, peer: PeerId, items: &[Item], now: UnixMillis) {
        let fault = match items {
            [Item::NotFound] => return self.ask_later(hash, now),
            [Item::Block(bytes)] => match encoding::from_bytes::<Block>(bytes) {
                Ok(block) if block.hash() != hash => {
                    (Offence::WrongAnswer, "another block than asked".to_owned())
                }
                Ok(block) if block.computed_merkle_root() != block.header.merkle_root => {
                    (Offence::WrongAnswer, format!("a body that is not that of the block {hash}"))
                }
                Ok(block) => return self.accept(hash, Box::new(block), Some(peer)),
                Err(error) => (Offence::Malformed, format!("instead of the block {hash}: {error}")),
            },
            _ => (
                Offence::WrongAnswer,
                format!("{} items, or none that fits, for one block", items.len()),
            ),
        };
        self.penalise(peer, fault.0, fault.1);
        self.drop_source(hash, peer, now);
    }

    /// A peer lied about this block: it is not asked for it again.
    fn drop_source(&mut self, hash: BlockHash, peer: PeerId, now: UnixMillis) {
        if let Some(pending) = self.blocks.pending.get_mut(&hash) {
            pending.sources.retain(|source| *source != peer);
            self.ask_next(hash, now);
        }
    }

    fn accept(&mut self, hash: BlockHash, block: Box<Block>, from: Option<PeerId>) {
        let Some(pending) = self.blocks.pending.get_mut(&hash) else {
            return;
        };
        let Some(peer) = from.or_else(|| pending.sources.first().copied()) else {
            self.blocks.pending.remove(&hash);
            return;
        };
        pending.stage = Stage::Accepting { from };
        pending.parts = None;
        events::BlockReceived { peer: from, message: "block", hash, height: block.header.height }
            .emit();
        self.out.push(RelayAction::AcceptBlock { peer, block });
    }

    pub(super) fn on_block_done(
        &mut self,
        hash: BlockHash,
        result: Result<BlockAccepted, Refused>,
    ) {
        let is_ours = self
            .blocks
            .pending
            .get(&hash)
            .is_some_and(|pending| matches!(pending.stage, Stage::Accepting { .. }));
        let Some(pending) = is_ours.then(|| self.blocks.pending.remove(&hash)).flatten() else {
            return;
        };
        let Err(refused) = result else {
            return;
        };
        if refused.blame != Blame::Peer {
            return;
        }
        let reason = format!("{}: {}", refused.code, refused.reason);
        match pending.stage {
            // Who serves a body has it, and has it only if it is right.
            Stage::Accepting { from: Some(peer) } => {
                self.penalise(peer, Offence::InvalidBlock, reason)
            }
            // Who announces one has checked its header, as we did.
            _ => {
                if let Some(peer) = pending.sources.first() {
                    self.penalise(*peer, Offence::EmptyPromise, reason);
                }
            }
        }
    }

    pub(super) fn on_peer_gone(&mut self, peer: PeerId, now: UnixMillis) {
        let touched: Vec<BlockHash> = self
            .blocks
            .pending
            .iter()
            .filter(|(_, pending)| pending.sources.contains(&peer))
            .map(|(hash, _)| *hash)
            .collect();
        for hash in touched {
            let Some(pending) = self.blocks.pending.get_mut(&hash) else {
                continue;
            };
            pending.sources.retain(|source| *source != peer);
            if matches!(pending.stage, Stage::Asking { peer: asked, .. } if asked == peer) {
                self.ask_next(hash, now);
            }
        }
    }

    pub(super) fn tick_blocks(&mut self, now: UnixMillis) {
        self.tick_verdicts(now);
        let hashes: Vec<BlockHash> = self.blocks.pending.keys().copied().collect();
        for hash in hashes {
            let Some(pending) = self.blocks.pending.get(&hash) else {
                continue;
            };
            if now.saturating_sub(pending.since) >= BLOCK_MS {
                self.give_up(hash, now);
                continue;
            }
            match pending.stage {
                Stage::Waiting { until } if now >= until => self.ask_next(hash, now),
                Stage::Asking { since, .. } if now.saturating_sub(since) >= REQUEST_MS => {
                    self.ask_later(hash, now)
                }
                _ => {}
            }
        }
        let late: Vec<(BlockHash, PeerId)> = self
            .blocks
            .awaited
            .iter()
            .filter(|(_, (_, since))| now.saturating_sub(*since) >= SOLVED_MS)
            .map(|(hash, (peer, _))| (*hash, *peer))
            .collect();
        for (hash, peer) in late {
            self.blocks.awaited.remove(&hash);
            self.ask_status(peer, now);
        }
    }

    /// Ignores messages whose check takes too long: the chain is busy.
    fn tick_verdicts(&mut self, now: UnixMillis) {
        let late = |since: UnixMillis| now.saturating_sub(since) >= VERDICT_MS;
        let mut overdue: Vec<M> = Vec::new();
        self.blocks.checks.retain(|_, check| {
            if late(check.since) {
                overdue.extend(check.message.take());
            }
            !late(check.since)
        });
        for pending in self.blocks.pending.values_mut().filter(|pending| late(pending.since)) {
            overdue.extend(pending.message.take());
        }
        for message in overdue {
            self.verdict(message, Verdict::Ignore);
        }
    }
}
