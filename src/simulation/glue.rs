//! The connection between the machines, the chain and the network: the work of a node's router and
//! chain thread, in virtual time.
//!
//! This is the only file that knows all actions of sync and relay. Commands to the chain are
//! executed at once. Their replies wait for the end of the moment, and for the commit if there is
//! one, as on the chain thread.

use std::sync::Arc;

use super::{
    node::{node_of, peer},
    queue::{Batch, Event, Message, Reply},
    world::World,
};
use crate::{
    chain::{
        api::{BlockAccepted, ChainEvent, MempoolEntry, Origin, Refused},
        errors::{AcceptBlockError, AcceptHeadersError, AcceptTradeError},
    },
    consensus::Work,
    primitives::{Block, BlockHash, Header, PeerId, Transaction},
    relay::{self, Announcement, RelayAction, RelayEvent},
    sync::{self, Phase, SyncAction, SyncEvent, check_branch},
    wire::{Gossip, Request, RequestFailure, SyncRequest},
};

/// The time from a command to the chain to the end of its moment, in µs. Further commands within it
/// share the commit.
const MOMENT_US: u64 = 200;
/// The pause before a peer that announced blocks and did not deliver them is dialed again, in µs.
const WITHHOLDER_PAUSE_US: u64 = 600_000_000;
/// The age at which changes are committed whose commit no reply waits for, in µs.
const IDLE_US: u64 = 2_000_000;
/// The interval of housekeeping, in µs.
const HOUSE_US: u64 = 30_000_000;

impl World {
    pub(super) fn sync(&mut self, node: usize, event: SyncEvent) {
        let now = self.moment();
        let Some(run) = self.run(node) else { return };
        let actions = run.sync.handle(event, now);
        #[cfg(test)]
        run.sync.assert_sound(now);
        for action in actions {
            self.sync_action(node, action);
        }
    }

    pub(super) fn relay(&mut self, node: usize, event: RelayEvent<u64>) {
        let now = self.moment();
        let Some(run) = self.run(node) else { return };
        for action in run.relay.handle(event, now) {
            self.relay_action(node, action);
        }
    }

    fn sync_action(&mut self, node: usize, action: SyncAction) {
        match action {
            SyncAction::Request { peer, id, request } => self.ask(node, peer, id, request),
            SyncAction::SendStatus { peer } => self.hello(node, node_of(peer)),
            SyncAction::FetchLocator { peer } => {
                let Some(run) = self.run(node) else { return };
                let hashes = run.reader.locator();
                self.later(node, Reply::Sync(SyncEvent::Locator { peer, hashes }));
            }
            SyncAction::FetchMissing { read, limit } => {
                let Some(run) = self.run(node) else { return };
                let blocks = run.chain.missing_bodies(limit);
                self.later(node, Reply::Sync(SyncEvent::Missing { read, blocks }));
            }
            SyncAction::FilterTrades { peer, ids } => {
                let Some(run) = self.run(node) else { return };
                let ids = run.chain.unknown_trades(ids).unwrap_or_default();
                self.hold(node, Reply::Sync(SyncEvent::UnknownTrades { peer, ids }));
            }
            SyncAction::AcceptHeaders { peer, walk, headers, shown } => {
                let Some(result) = self.accept_headers(node, peer, &headers, shown) else { return };
                let result = result.map_err(Into::into);
                self.hold(node, Reply::Sync(SyncEvent::HeadersDone { peer, walk, result }));
            }
            SyncAction::HeaderContext { peer, hash } => {
                let Some(run) = self.run(node) else { return };
                let context = run.chain.header_context(&hash).ok().flatten().map(Box::new);
                self.hold(node, Reply::Sync(SyncEvent::HeaderContext { peer, context }));
            }
            SyncAction::CheckHeaders { peer, context, headers } => {
                let wall = self.wall(node);
                self.figures.headers.1 += headers.len();
                let result = check_branch(&self.history.network, *context, &headers, wall);
                let result = result.map(Box::new).map_err(Into::into);
                self.later(node, Reply::Sync(SyncEvent::HeadersChecked { peer, result }));
            }
            SyncAction::Withhold { hash } => {
                let Some(run) = self.run(node) else { return };
                if let Err(fault) = run.chain.withhold(&hash) {
                    return self.fault(node, &fault);
                }
                self.figures.withheld += 1;
                self.settle_soon(node);
            }
            SyncAction::SuspendMining => self.suspend_mining(node),
            SyncAction::Proven { peer } => self.relay(node, RelayEvent::Proven { peer }),
            SyncAction::Disconnect { peer } => self.refuse(node, peer, WITHHOLDER_PAUSE_US),
            SyncAction::AcceptBlocks { blocks } => {
                if let Some(results) = self.accept_blocks(node, blocks) {
                    self.hold(node, Reply::Sync(SyncEvent::BlocksDone { results }));
                }
            }
            SyncAction::AcceptTrade { peer, transaction } => {
                let txid = transaction.txid();
                let Some(result) = self.accept_trade(node, peer, *transaction) else { return };
                self.hold(node, Reply::Sync(SyncEvent::TradeDone { txid, result }));
            }
            SyncAction::Penalise { peer, offence, reason } => {
                self.penalise(node, peer, offence, &reason);
            }
            SyncAction::SyncDone { ticket, report } => {
                let Some(run) = self.run(node) else { return };
                run.reports.push((ticket, report));
            }
            // Miners mine in every phase but the first, which lasts some seconds.
            SyncAction::PhaseChanged { .. } => self.phase_changed(node),
        }
    }

    fn phase_changed(&mut self, node: usize) {
        if self.phase(node) == Some(Phase::Synced) {
            self.figures.synced(node, self.now);
        }
        self.steer(node);
    }

    fn relay_action(&mut self, node: usize, action: RelayAction<u64>) {
        match action {
            RelayAction::Publish { announcement } => {
                let gossip = match announcement {
                    Announcement::Block(gossip) => Gossip::Block(gossip),
                    Announcement::Trade(gossip) => Gossip::Trade(gossip),
                };
                self.publish(node, gossip);
            }
            RelayAction::Verdict { message, verdict } => self.verdict(node, message, verdict),
            RelayAction::CheckSolved { header } => {
                let (wall, hash) = (self.wall(node), header.hash());
                let Some(run) = self.run(node) else { return };
                let result = run.chain.check_on_tip(&header, wall).map_err(Into::into);
                self.hold(node, Reply::Relay(RelayEvent::SolvedChecked { hash, result }));
            }
            RelayAction::SuspendMining => self.suspend_mining(node),
            RelayAction::Delivered { peer } => self.sync(node, SyncEvent::Delivered { peer }),
            RelayAction::AcceptHeader { peer, header } => {
                let hash = header.hash();
                let Some(result) = self.accept_headers(node, peer, &[*header], None) else {
                    return;
                };
                let result = result.map_err(Into::into);
                self.hold(node, Reply::Relay(RelayEvent::HeaderDone { hash, result }));
            }
            RelayAction::Rebuild { hash, header, coinbase, short_ids } => {
                let Some(run) = self.run(node) else { return };
                let rebuilt = run.chain.rebuild(*header, *coinbase, &short_ids);
                self.hold(node, Reply::Relay(RelayEvent::Rebuilt { hash, rebuilt }));
            }
            RelayAction::Request { peer, id, request } => self.ask(node, peer, id, request),
            RelayAction::AcceptBlock { peer, block } => {
                let hash = block.hash();
                let Some(result) = self.accept_block(node, peer, *block) else { return };
                let result = result.map_err(Into::into);
                self.hold(node, Reply::Relay(RelayEvent::BlockDone { hash, result }));
            }
            RelayAction::AcceptTrades { id, peer, transactions } => {
                let mut results = Vec::new();
                for transaction in transactions {
                    let Some(result) = self.accept_trade(node, peer, transaction) else { return };
                    results.push(result);
                }
                self.hold(node, Reply::Relay(RelayEvent::TradesDone { id, results }));
            }
            RelayAction::FetchBlock { hash } => {
                let Some(run) = self.run(node) else { return };
                let block = run.reader.stored_block(&hash).map(Arc::new);
                self.later(node, Reply::Relay(RelayEvent::BlockLoaded { hash, block }));
            }
            RelayAction::AskStatus { peer } => self.hello(node, node_of(peer)),
            RelayAction::Mute { peer, topic, ms } => {
                let until = self.now + ms * 1_000;
                let Some(run) = self.run(node) else { return };
                run.muted.insert((node_of(peer), topic.code()), until);
            }
            RelayAction::Penalise { peer, offence, reason } => {
                self.penalise(node, peer, offence, &reason);
            }
        }
    }

    fn accept_headers(
        &mut self,
        node: usize,
        from: PeerId,
        headers: &[Header],
        shown: Option<Work>,
    ) -> Option<Result<crate::chain::api::HeadersAccepted, AcceptHeadersError>> {
        let wall = self.wall(node);
        let origin = Origin::Peer(from);
        self.figures.headers.0 += headers.len();
        let result = self.run(node)?.chain.accept_shown_headers(headers, origin, shown, wall);
        if let Err(AcceptHeadersError::Fault(fault)) = &result {
            self.fault(node, fault);
            return None;
        }
        Some(result)
    }

    fn accept_blocks(
        &mut self,
        node: usize,
        blocks: Vec<(PeerId, Box<Block>)>,
    ) -> Option<Vec<(BlockHash, Result<BlockAccepted, Refused>)>> {
        let mut results = Vec::new();
        for (peer, block) in blocks {
            let hash = block.hash();
            results.push((hash, self.accept_block(node, peer, *block)?.map_err(Into::into)));
        }
        Some(results)
    }

    fn accept_block(
        &mut self,
        node: usize,
        from: PeerId,
        block: Block,
    ) -> Option<Result<BlockAccepted, AcceptBlockError>> {
        let wall = self.wall(node);
        self.nodes[node].bodies += 1;
        let result = self.run(node)?.chain.accept_block(block, Origin::Peer(from), wall);
        if let Err(AcceptBlockError::Fault(fault)) = &result {
            self.fault(node, fault);
            return None;
        }
        Some(result)
    }

    fn accept_trade(
        &mut self,
        node: usize,
        from: PeerId,
        transaction: Transaction,
    ) -> Option<Result<(), Refused>> {
        let wall = self.wall(node);
        let result = self.run(node)?.chain.accept_trade(transaction, Origin::Peer(from), wall);
        if let Err(AcceptTradeError::Fault(fault)) = &result {
            self.fault(node, fault);
            return None;
        }
        Some(result.map(drop).map_err(Into::into))
    }

    // Replies and commits

    /// Delays a reply of the chain until its moment ends.
    pub(super) fn hold(&mut self, node: usize, reply: Reply) {
        if let Some(run) = self.run(node) {
            run.replies.push(reply);
        }
        self.settle_soon(node);
    }

    pub(super) fn settle_soon(&mut self, node: usize) {
        let epoch = self.nodes[node].epoch;
        if let Some(run) = self.run(node)
            && !run.settling
        {
            run.settling = true;
            self.push(MOMENT_US, Event::Settle { node, epoch });
        }
    }

    /// Replies after a read beside the chain thread.
    fn later(&mut self, node: usize, reply: Reply) {
        let (epoch, reply) = (self.nodes[node].epoch, Box::new(reply));
        self.push(self.delays.read_us, Event::Later { node, epoch, reply });
    }

    /// Ends a moment: starts a commit if anything waits for one.
    pub(super) fn settle(&mut self, node: usize) {
        let (now, crashes) = (self.now, self.nodes[node].crashes);
        let Some(run) = self.run(node) else { return };
        run.settling = false;
        if run.storing {
            return;
        }
        let commits = run.chain.is_awaited() || run.chain.is_full();
        let idles = run.chain.is_changed() && now.saturating_sub(run.saved) >= IDLE_US;
        if !commits && !idles {
            let batch = Self::batch(run);
            return self.deliver(node, batch);
        }
        if crashes {
            return self.crash(node);
        }
        if let Err(fault) = run.chain.commit() {
            return self.fault(node, &fault);
        }
        run.saved = now;
        run.storing = true;
        let batch = Box::new(Self::batch(run));
        let epoch = self.nodes[node].epoch;
        self.push(self.delays.commit_us, Event::Durable { node, epoch, batch });
    }

    fn batch(run: &mut super::node::Run) -> Batch {
        Batch {
            replies: std::mem::take(&mut run.replies),
            events: run.chain.drain_events(),
            summary: run.chain.summary(),
        }
    }

    /// Ends a commit.
    pub(super) fn durable(&mut self, node: usize, batch: Batch) {
        let Some(run) = self.run(node) else { return };
        run.storing = false;
        if !run.replies.is_empty() {
            self.settle_soon(node);
        }
        self.deliver(node, batch);
    }

    /// Publishes a snapshot and sends replies and events, as the chain thread does.
    fn deliver(&mut self, node: usize, batch: Batch) {
        let Batch { replies, events, summary } = batch;
        let Some(run) = self.run(node) else { return };
        run.summary = summary.clone();
        for reply in replies {
            self.reply(node, reply);
        }
        for event in events {
            self.on_chain(node, event);
        }
        let (tip, best_header) = (summary.tip, summary.best_header);
        let diverged = summary.diverged.is_some();
        self.sync(node, SyncEvent::Summary { tip, best_header, diverged });
        self.chain_changed(node);
    }

    fn on_chain(&mut self, node: usize, event: ChainEvent) {
        match event {
            ChainEvent::TipChanged { tip, connected, mined, .. } => {
                self.figures.connected(node, &connected, self.now);
                let Some(run) = self.run(node) else { return };
                let diverged = run.summary.diverged.is_some();
                let best_header = if diverged { tip } else { run.summary.best_header };
                self.relay(node, RelayEvent::TipChanged { tip, best_header, connected, mined });
            }
            ChainEvent::TradeAccepted { entry, .. } => {
                if !entry.local {
                    self.figures.heard(&entry.txid, node, self.now);
                }
                self.trade_added(node, entry);
            }
            ChainEvent::TradeVoid { txid, .. } | ChainEvent::TradeDropped { txid, .. } => {
                self.relay(node, RelayEvent::TradeGone { txid });
            }
            ChainEvent::VoidMined { .. } => {}
            ChainEvent::Failed(fault) => self.fault(node, &fault),
        }
    }

    pub(super) fn trade_added(&mut self, node: usize, entry: MempoolEntry) {
        let age = self.wall(node).saturating_sub(entry.added);
        let added = self.moment().saturating_sub(age);
        let free = entry.rate().is_free();
        let MempoolEntry { txid, transaction, local, .. } = entry;
        self.relay(node, RelayEvent::TradeAdded { txid, transaction, added, local, free });
    }

    // Time

    pub(super) fn tick(&mut self, node: usize) {
        self.sync(node, SyncEvent::Tick);
        self.relay(node, RelayEvent::Tick);
        let (now, wall) = (self.now, self.wall(node));
        let Some(run) = self.run(node) else { return };
        let mut outcome = Ok(());
        if run.chain.next_due().is_some_and(|due| due <= wall) {
            outcome = run.chain.due(wall);
        }
        let keeps_house = now.saturating_sub(run.kept_house) >= HOUSE_US;
        if keeps_house {
            run.kept_house = now;
            let is_on_branch = run.sync.progress().confirmed > 0;
            if let Some(since) = std::mem::replace(&mut run.attended, is_on_branch.then_some(now)) {
                run.chain.attend(now.saturating_sub(since) / 1_000);
            }
            if run.chain.is_off_best() && outcome.is_ok() {
                outcome = run.chain.reconsider(wall);
            }
        }
        let is_changed = run.chain.is_changed();
        if let Err(fault) = outcome {
            return self.fault(node, &fault);
        }
        if is_changed {
            self.settle_soon(node);
        }
        self.watch_progress(node);
        let epoch = self.nodes[node].epoch;
        self.push(self.delays.tick_us, Event::Tick { node, epoch });
    }

    // Requests

    /// Sends a machine's request. A request that cannot be sent fails at once.
    fn ask(&mut self, node: usize, to: PeerId, id: u64, request: SyncRequest) {
        let to = node_of(to);
        let bytes = Request::Sync(request.clone()).encode().map_or(0, |bytes| bytes.len());
        let message = Message::Ask { id, request: Box::new(request) };
        self.figures.relay_requests += u64::from(relay::owns_request(id));
        let now = self.now;
        if let Some(run) = self.run(node) {
            run.asked.insert(id, (to, now));
        }
        if self.send(node, to, message, bytes) {
            let epoch = self.nodes[node].epoch;
            self.push(self.delays.request_us, Event::Expire { node, epoch, id });
        } else {
            if let Some(run) = self.run(node) {
                run.asked.remove(&id);
            }
            let reply = Self::ended(id, Err(RequestFailure::Disconnected));
            self.later(node, reply);
        }
    }

    /// Returns the event that ends a request.
    pub(super) fn ended(
        id: u64,
        result: Result<crate::wire::SyncResponse, RequestFailure>,
    ) -> Reply {
        if sync::owns_request(id) {
            Reply::Sync(SyncEvent::Response { id, result })
        } else {
            debug_assert!(relay::owns_request(id), "a request of neither machine");
            Reply::Relay(RelayEvent::Response { id, result })
        }
    }

    /// Reports to sync that more bytes of an answer have arrived.
    pub(super) fn grow(&mut self, node: usize, id: u64, bytes: usize) {
        let now = self.now;
        let Some(asked) = self.run(node).and_then(|run| run.asked.get_mut(&id)) else { return };
        asked.1 = now;
        if sync::owns_request(id) {
            self.sync(node, SyncEvent::Grows { id, bytes });
        }
    }

    /// Ends a request whose answer has brought no byte for too long.
    pub(super) fn expire(&mut self, node: usize, id: u64) {
        let (now, patience) = (self.now, self.delays.request_us);
        let Some((_, at)) = self.run(node).and_then(|run| run.asked.get(&id)) else { return };
        let left = (at + patience).saturating_sub(now);
        if left > 0 {
            let epoch = self.nodes[node].epoch;
            return self.push(left, Event::Expire { node, epoch, id });
        }
        self.fail_request(node, id, RequestFailure::TimedOut);
    }

    /// Ends a request without an answer.
    pub(super) fn fail_request(&mut self, node: usize, id: u64, failure: RequestFailure) {
        let Some((to, _)) = self.run(node).and_then(|run| run.asked.remove(&id)) else { return };
        if id >> 56 == 0 {
            return self.sync(node, SyncEvent::StatusFailed { peer: peer(to) });
        }
        let reply = Self::ended(id, Err(failure));
        self.reply(node, reply);
    }
}
