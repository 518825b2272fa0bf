//! A node and its peers: hello, requests and answers, gossip, charges and bans.

use std::sync::Arc;

use rand::RngExt as _;

use super::{
    liars::Answered,
    node::{Seen, node_of, peer},
    queue::{Event, Message, Packet},
    world::World,
};
use crate::{
    node::router::serve,
    peers::{BAN_MS, Offence},
    primitives::PeerId,
    relay::RelayEvent,
    sync::SyncEvent,
    wire::{
        FEATURE_MINES, Gossip, HelloRequest, ItemId, PROTOCOL_VERSION, Request, RequestFailure,
        Response, Status, SyncRequest, SyncResponse, Verdict, gossip_id, limits::MAX_MEMPOOL_IDS,
    },
};

impl World {
    pub(super) fn true_status(&self, node: usize) -> Option<Status> {
        let run = self.nodes[node].run.as_ref()?;
        let summary = &run.summary;
        Some(Status {
            version: PROTOCOL_VERSION,
            features: if self.nodes[node].miner.power > 0.0 { FEATURE_MINES } else { 0 },
            network: self.history.network.id,
            tip: summary.tip.hash,
            height: summary.tip.height,
            work: summary.tip.work.to_be_bytes().to_vec().into(),
            time: self.wall(node),
            mempool: u32::try_from(summary.mempool).unwrap_or(u32::MAX),
        })
    }

    fn status(&self, node: usize) -> Option<Status> {
        let mut status = self.true_status(node)?;
        if let Some(forged) = &self.nodes[node].forged {
            forged.claim(&mut status);
        }
        Some(self.nodes[node].manner.status(status))
    }

    /// Sends a node's Status, which asks for the other node's.
    pub(super) fn hello(&mut self, node: usize, to: usize) {
        let Some(status) = self.status(node) else { return };
        let now = self.now;
        let Some(run) = self.run(node) else { return };
        run.next_hello += 1;
        let id = run.next_hello;
        run.asked.insert(id, (to, now));
        let request = Request::Hello(HelloRequest::Status(status.clone()));
        let bytes = request.encode().map_or(0, |bytes| bytes.len());
        if self.send(node, to, Message::Hello { id, status: Box::new(status) }, bytes) {
            let epoch = self.nodes[node].epoch;
            self.push(self.delays.request_us, Event::Expire { node, epoch, id });
        } else {
            if let Some(run) = self.run(node) {
                run.asked.remove(&id);
            }
            self.sync(node, SyncEvent::StatusFailed { peer: peer(to) });
        }
    }

    pub(super) fn arrive(&mut self, from: usize, to: usize, message: Message) {
        match message {
            Message::Hello { id, status } => {
                if let Some(ours) = self.status(to) {
                    let ours = Box::new(ours);
                    self.send(to, from, Message::HelloReply { id, status: ours }, 150);
                }
                self.hears_status(to, from, status);
            }
            Message::HelloReply { id, status } => {
                if self.is_answered(to, from, id) {
                    self.hears_status(to, from, status);
                }
            }
            Message::Ask { id, request } => self.serve(to, from, id, &request),
            Message::Answer { id, response } => {
                if self.is_answered(to, from, id) {
                    let reply = Self::ended(id, Ok(Arc::unwrap_or_clone(response)));
                    self.reply(to, reply);
                }
            }
            Message::Gossip(packet) => self.gossiped(to, from, packet),
        }
    }

    fn hears_status(&mut self, node: usize, from: usize, status: Box<Status>) {
        if !self.nodes[node].manner.is_deaf() {
            self.sync(node, SyncEvent::PeerStatus { peer: peer(from), status });
        }
    }

    /// Removes a request of the node. Returns true if it was open.
    fn is_answered(&mut self, node: usize, from: usize, id: u64) -> bool {
        let Some(run) = self.run(node) else { return false };
        if run.asked.get(&id).is_some_and(|(asked, _)| *asked == from) {
            run.asked.remove(&id);
            return true;
        }
        false
    }

    /// Answers a request.
    fn serve(&mut self, node: usize, asker: usize, id: u64, request: &SyncRequest) {
        let Some(honest) = self.answer(node, request) else { return };
        let response = match self.lie_about(node, request, honest) {
            Answered::Nothing => return,
            Answered::With(response) => response,
            Answered::Garbled => {
                // The network cannot decode it, charges the peer, and ends the request.
                let failure = RequestFailure::Malformed("garbage".to_owned());
                self.penalise(asker, peer(node), Offence::Malformed, "garbage");
                return self.fail_request(asker, id, failure);
            }
        };
        let response = Response::Sync(response);
        let bytes = response.encode().map_or(0, |bytes| bytes.len());
        let Response::Sync(response) = response else { return };
        self.send(node, asker, Message::Answer { id, response: Arc::new(response) }, bytes);
    }

    /// Returns the true answer to a request, by the functions of the router.
    pub(super) fn answer(&mut self, node: usize, request: &SyncRequest) -> Option<SyncResponse> {
        let run = self.run(node)?;
        Some(match request {
            SyncRequest::GetBlocks(request) => serve::inv(&run.reader, request).0,
            SyncRequest::GetMempool => {
                SyncResponse::MempoolIds(run.chain.mempool_ids(MAX_MEMPOOL_IDS))
            }
            SyncRequest::GetData(items) => {
                let id_of = |item: &ItemId| match item {
                    ItemId::Trade(txid) => Some(*txid),
                    ItemId::Block(_) => None,
                };
                let ids: Vec<_> = items.iter().filter_map(id_of).collect();
                let trades = run.chain.waiting_trades(&ids);
                serve::data(&run.reader, items, &trades).0
            }
            SyncRequest::GetRange(request) => serve::range(&run.reader, request).0,
            SyncRequest::GetBlockTrades(request) => serve::block_trades(&run.reader, request),
        })
    }

    // Gossip

    /// Publishes a node's own message to all neighbours, as gossipsub does.
    pub(super) fn publish(&mut self, node: usize, gossip: Gossip) {
        if self.without_gossip
            || !self.nodes[node].manner.publishes(&gossip, &self.nodes[node].mined)
        {
            return;
        }
        let Ok(payload) = gossip.encode() else { return };
        let id = gossip_id(gossip.topic().code(), &payload);
        let now = self.now;
        let Some(run) = self.run(node) else { return };
        if run.gossip.seen.contains_key(&id) {
            return;
        }
        run.gossip.insert(id, Seen { packet: None, had_by: Vec::new() }, now);
        let packet = Arc::new(Packet { id, gossip, bytes: payload.len() });
        self.keep_stale(&packet);
        for other in self.links.neighbours(node) {
            let message = Message::Gossip(Arc::clone(&packet));
            self.send(node, other, message, packet.bytes);
        }
    }

    /// Handles a message from a neighbour. Drops a message that was seen before.
    #[expect(clippy::needless_pass_by_value, reason = "as it leaves the queue")]
    fn gossiped(&mut self, node: usize, from: usize, packet: Arc<Packet>) {
        let now = self.now;
        if self.nodes[node].manner.is_deaf() {
            return;
        }
        let Some(run) = self.run(node) else { return };
        let muted = run.muted.get(&(from, packet.gossip.topic().code()));
        if muted.is_some_and(|until| *until > now) {
            return;
        }
        if let Some(seen) = run.gossip.seen.get_mut(&packet.id) {
            seen.had_by.push(from);
            return;
        }
        let gossip = packet.gossip.clone();
        let seen = Seen { packet: Some(Arc::clone(&packet)), had_by: vec![from] };
        let message = run.gossip.insert(packet.id, seen, now);
        let is_payment = matches!(gossip, Gossip::Trade(_));
        if is_payment && self.unheard > 0.0 && self.rng.random_bool(self.unheard) {
            // The node forwards it, so that a smaller share of the others lacks it.
            return self.verdict(node, message, Verdict::Accept);
        }
        let peer = peer(from);
        match gossip {
            Gossip::Block(gossip) => {
                self.relay(node, RelayEvent::BlockGossip { peer, message, gossip });
            }
            Gossip::Trade(gossip) => {
                self.relay(node, RelayEvent::TradeGossip { peer, message, gossip });
            }
            Gossip::Chat(_) => {}
        }
    }

    /// Forwards an accepted message to the mesh.
    pub(super) fn verdict(&mut self, node: usize, message: u64, verdict: Verdict) {
        let Some(run) = self.run(node) else { return };
        let Some(id) = run.gossip.numbers.remove(&message) else { return };
        let Some(seen) = run.gossip.seen.get_mut(&id) else { return };
        let Some(packet) = seen.packet.take() else { return };
        if verdict != Verdict::Accept {
            return;
        }
        let had_by = std::mem::take(&mut seen.had_by);
        for other in self.links.neighbours(node) {
            if self.links.is_mesh(node, other) && !had_by.contains(&other) {
                let message = Message::Gossip(Arc::clone(&packet));
                self.send(node, other, message, packet.bytes);
            }
        }
    }

    // Charges

    pub(super) fn penalise(&mut self, node: usize, of: PeerId, offence: Offence, reason: &str) {
        let (now, other) = (self.moment(), node_of(of));
        self.figures.charges.push((node, other, offence));
        if self.nodes[node].scores.penalise(of, offence, reason, now).banned {
            self.figures.bans.push((node, other, format!("{}: {reason}", offence.code())));
            self.refuse(node, of, BAN_MS * 1_000);
        }
    }

    /// Disconnects a peer, and refuses it for some time.
    pub(super) fn refuse(&mut self, node: usize, of: PeerId, for_us: u64) {
        let (until, other) = (self.now + for_us, node_of(of));
        self.nodes[node].refused.insert(other, until);
        self.cut(node, other);
    }
}
