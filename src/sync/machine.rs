//! The sync machine: its state, and the dispatch of events.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tracing::debug;

use super::{
    BUSY_MS, DISTRUST_MS, ELSEWHERE_MS, LOCAL_TIMEOUT_MS, Phase, REQUEST_SPACE, REQUEST_TIMEOUT_MS,
    SILENT_MS, SyncAction, SyncConfig, SyncEvent,
    bodies::{BlockRef, Bodies},
    meter::Meter,
    missing::{Wait, Withheld},
    peer::{Claim, MempoolVisit, Peer},
    requests::{InFlight, Purpose},
    sites::{Site, Sites},
    ticket::Ticket,
    trades::Trades,
};
use crate::{
    chain::api::Tip,
    consensus::Work,
    peers::{Offence, Trust},
    primitives::{BlockHash, Moment, PeerId},
    wire::{Refusal, RequestFailure, Status, SyncRequest, SyncResponse},
};

/// The state of listing the missing bodies.
#[derive(Debug, Default)]
pub(super) struct MissingRead {
    /// The read in progress: its number, its start, and the best header at that time.
    pub(super) reading: Option<(u64, Moment, Tip)>,
    /// The number of reads so far.
    pub(super) reads: u64,
    /// The start of the last read.
    pub(super) last: Moment,
    /// The best header when the window was last filled: the end of the chain that it belongs to.
    pub(super) chain: Option<Tip>,
    /// The best header for which the window lists all missing bodies. Sync does not read again
    /// until the best header changes.
    pub(super) complete_for: Option<BlockHash>,
    /// True if the window may hold blocks of an abandoned chain. Sync then fetches and hands over
    /// nothing until the next read.
    pub(super) stale: bool,
}

/// The state machine that catches up with the peers. See the [module](super).
#[derive(Debug)]
pub(crate) struct Sync {
    pub(super) tip: Tip,
    pub(super) best_header: Tip,
    /// True if the best header is on a branch that the chain takes only with the user's consent.
    pub(super) diverged: bool,
    pub(super) min_work: Work,
    pub(super) trust: Trust,
    secret: u64,
    /// The number of keys for presyncs so far.
    keys: u64,
    /// The number of walks and header requests so far.
    numbers: u64,
    pub(super) peers: BTreeMap<PeerId, Peer>,
    /// The networks of strangers whose branches were counted.
    pub(super) sites: Sites,
    pub(super) requests: HashMap<u64, InFlight>,
    next_id: u64,
    pub(super) bodies: Bodies,
    pub(super) missing: MissingRead,
    /// True if sync fetches missing bodies at once. False if it first leaves them to the relay,
    /// which completes the blocks that it announced.
    pub(super) eager: bool,
    pub(super) trades: Trades,
    /// The wait for the lowest missing body.
    pub(super) wait: Option<Wait>,
    /// The block that held up the window, once a second peer was asked for it.
    pub(super) held_up: Option<BlockRef>,
    /// Headers without a body that are left aside, at most [`MAX_WITHHELD`](super::MAX_WITHHELD).
    pub(super) withheld: VecDeque<Withheld>,
    pub(super) phase: Phase,
    pub(super) started: Moment,
    /// The time since which a better chain is known.
    pub(super) behind_since: Option<Moment>,
    /// The time since which the tip differs from the best header and has not changed.
    pub(super) lag_since: Option<Moment>,
    /// The time before which no body is requested or handed over, because the chain refused one
    /// without the peer's fault.
    pub(super) bodies_from: Moment,
    /// The last progress: work gained in headers, or an accepted body of a better branch.
    pub(super) moved: Moment,
    /// The last time that all peers were asked again because of a stall.
    pub(super) stalled_at: Moment,
    /// The last change of the tip.
    pub(super) tip_moved: Moment,
    /// The time since which the peers have not been sent the tip.
    pub(super) news_since: Option<Moment>,
    pub(super) meter: Meter,
    pub(super) tickets: Vec<Ticket>,
    /// The number of blocks accepted so far, for `sync` reports.
    pub(super) blocks: u64,
    pub(super) out: Vec<SyncAction>,
}

impl Sync {
    /// Makes a machine that knows the chain and no peers.
    #[must_use]
    pub(crate) fn new(config: SyncConfig) -> Self {
        let SyncConfig { min_work, tip, best_header, diverged, trust, secret, now } = config;
        Self {
            tip,
            best_header,
            diverged,
            min_work,
            trust,
            secret,
            keys: 0,
            numbers: 0,
            peers: BTreeMap::new(),
            sites: Sites::default(),
            requests: HashMap::new(),
            next_id: REQUEST_SPACE,
            bodies: Bodies::default(),
            missing: MissingRead::default(),
            // The relay does not know the bodies that an earlier run left unfetched.
            eager: best_header.hash != tip.hash,
            trades: Trades::default(),
            wait: None,
            held_up: None,
            withheld: VecDeque::new(),
            phase: Phase::Starting,
            started: now,
            behind_since: None,
            lag_since: None,
            bodies_from: 0,
            moved: now,
            stalled_at: now,
            tip_moved: now,
            news_since: None,
            meter: Meter::new(now, tip.height),
            tickets: Vec::new(),
            blocks: 0,
            out: Vec::new(),
        }
    }

    /// Handles one event at the time `now`. Returns the actions to carry out, in order.
    pub(crate) fn handle(&mut self, event: SyncEvent, now: Moment) -> Vec<SyncAction> {
        match event {
            SyncEvent::PeerStatus { peer, status } => self.on_status(peer, &status, now),
            SyncEvent::PeerAt { peer, site } => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.site = Site::Network(site);
                }
            }
            SyncEvent::StatusFailed { peer } => self.on_status_failed(peer),
            SyncEvent::PeerGone { peer } => self.on_peer_gone(peer, now),
            SyncEvent::Response { id, result } => {
                if let Some(request) = self.requests.remove(&id) {
                    self.on_end(request, result, now);
                } else {
                    debug!(id, "a response came for a request that has ended");
                }
            }
            SyncEvent::Locator { peer, hashes } => self.on_locator(peer, hashes, now),
            SyncEvent::Missing { read, blocks } => self.on_missing(read, &blocks),
            SyncEvent::HeadersDone { peer, walk, result } => {
                self.on_headers_done(peer, walk, result, now);
            }
            SyncEvent::HeaderContext { peer, context } => {
                self.on_header_context(peer, context, now);
            }
            SyncEvent::HeadersChecked { peer, result } => {
                self.on_headers_checked(peer, result, now);
            }
            SyncEvent::Delivered { peer } => self.prove(peer, now),
            SyncEvent::Woke => self.on_woke(now),
            SyncEvent::Grows { id, bytes } => self.on_grows(id, bytes, now),
            SyncEvent::BlocksDone { results } => self.on_blocks_done(results, now),
            SyncEvent::UnknownTrades { peer, ids } => self.on_unknown_trades(peer, ids),
            SyncEvent::TradeDone { txid, result } => self.on_trade_done(txid, result),
            SyncEvent::Summary { tip, best_header, diverged } => {
                self.on_summary(tip, best_header, diverged, now);
            }
            SyncEvent::SyncNow { ticket, peer } => self.on_sync_now(ticket, peer, now),
            SyncEvent::Tick => self.on_tick(now),
        }
        self.drive(now);
        std::mem::take(&mut self.out)
    }

    /// Starts every step that can start now.
    fn drive(&mut self, now: Moment) {
        self.drive_walks(now);
        self.drive_bodies(now);
        self.drive_trades(now);
        self.drive_phase(now);
        self.drive_news(now);
        self.drive_tickets(now);
    }

    fn on_status(&mut self, id: PeerId, status: &Status, now: Moment) {
        let Ok(work) = <[u8; 32]>::try_from(status.work.as_slice()) else {
            return self.penalise(
                id,
                Offence::Malformed,
                format!("a Status with {} bytes of work", status.work.len()),
            );
        };
        if !self.make_room(&id, now) {
            debug!(peer = %id, "too many peers to sync with");
            return;
        }
        let claim =
            Claim { tip: status.tip, height: status.height, work: Work::from_be_bytes(work) };
        let peer = self.peers.entry(id).or_insert_with(|| Peer::new(id, now));
        if peer.claim.is_none_or(|old| old.tip != claim.tip) {
            // A peer with a new tip may have other blocks than before.
            peer.lacks.clear();
        }
        peer.claim = Some(claim);
        peer.claimed_at = now;
        if status.mempool == 0 {
            peer.mempool = MempoolVisit::Done;
        }
        self.ticket_answered(id);
    }

    fn on_status_failed(&mut self, id: PeerId) {
        self.ticket_unanswered(id);
    }

    /// Ends all requests without charging a peer, so that sync sends them again.
    fn on_woke(&mut self, now: Moment) {
        for (_, request) in std::mem::take(&mut self.requests) {
            self.drain(&request);
            self.release(request.peer, request.purpose);
        }
        for peer in self.peers.values_mut() {
            peer.claimed_at = now;
            (peer.headers_from, peer.data_from) = (0, 0);
        }
        self.wait = None;
        self.moved = now;
        // What ended with the connections says nothing about the branches of their networks.
        self.sites.clear();
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in peers {
            self.send_status(id, now);
        }
    }

    pub(super) fn on_peer_gone(&mut self, id: PeerId, now: Moment) {
        let over: Vec<u64> =
            self.requests.iter().filter(|(_, r)| r.peer == id).map(|(number, _)| *number).collect();
        for number in over {
            if let Some(request) = self.requests.remove(&number) {
                self.on_end(request, Err(RequestFailure::Disconnected), now);
            }
        }
        self.peers.remove(&id);
        self.trades.peer_gone(id);
        self.ticket_unanswered(id);
    }

    fn on_summary(&mut self, tip: Tip, best_header: Tip, diverged: bool, now: Moment) {
        if diverged != self.diverged {
            self.diverged = diverged;
            self.missing.complete_for = None;
            self.moved = now;
        }
        if tip.hash != self.tip.hash {
            if self.best_header.hash != self.tip.hash {
                self.moved = now;
            }
            self.tip = tip;
            self.tip_moved = now;
            self.lag_since = None;
            self.news_since.get_or_insert(now);
        }
        self.set_best_header(best_header, now);
    }

    /// Stores the chain's best header, and clears the window if it is the tip.
    pub(super) fn set_best_header(&mut self, best_header: Tip, now: Moment) {
        if best_header.hash != self.best_header.hash {
            if self.has_other_branch() {
                // The relay completes new blocks of the other branch, as it does on our own.
                self.eager = false;
                self.lag_since = None;
            }
            self.best_header = best_header;
        }
        if self.best_header.hash == self.tip.hash {
            self.bodies.clear();
            self.missing.stale = false;
            self.eager = false;
            self.lag_since = None;
        } else {
            self.lag_since.get_or_insert(now);
        }
    }

    fn on_tick(&mut self, now: Moment) {
        let late: Vec<u64> = self
            .requests
            .iter()
            .filter(|(_, request)| now.saturating_sub(request.moved) >= REQUEST_TIMEOUT_MS)
            .map(|(number, _)| *number)
            .collect();
        for number in late {
            if let Some(request) = self.requests.remove(&number) {
                self.on_end(request, Err(RequestFailure::TimedOut), now);
            }
        }
        let silent = |peer: &Peer| now.saturating_sub(peer.claimed_at) >= SILENT_MS;
        let gone: Vec<PeerId> =
            self.peers.iter().filter(|(_, peer)| silent(peer)).map(|(id, _)| *id).collect();
        for id in gone {
            debug!(peer = %id, "a peer is forgotten: it has sent no Status for too long");
            self.on_peer_gone(id, now);
        }
        let before = now.saturating_sub(LOCAL_TIMEOUT_MS);
        self.end_lost_walks(before, now);
        self.end_lost_bodies(before);
        self.trades.end_lost(before);
        self.tick_withheld(now);
    }

    /// Handles the end of a request.
    fn on_end(
        &mut self,
        request: InFlight,
        result: Result<SyncResponse, RequestFailure>,
        now: Moment,
    ) {
        self.drain(&request);
        let InFlight { peer, purpose, since, .. } = request;
        let took = now.saturating_sub(since);
        match (purpose, result) {
            (Purpose::Headers(number), Ok(SyncResponse::Inv(bytes))) => {
                self.on_inv(peer, number, &bytes, now);
            }
            (Purpose::Bodies(asked), Ok(SyncResponse::Blocks(bytes))) => {
                self.on_bodies(peer, &asked, &bytes, took, now);
            }
            (Purpose::Probe(block), Ok(SyncResponse::Blocks(bytes))) => {
                self.on_probed(peer, block, &bytes, now);
            }
            (Purpose::Probe(block), Ok(SyncResponse::NotYet | SyncResponse::NotFound)) => {
                self.on_probe_denied(peer, block, now);
            }
            (Purpose::MempoolIds, Ok(SyncResponse::MempoolIds(ids))) => {
                self.on_mempool_ids(peer, ids, now);
            }
            (Purpose::Trades(asked), Ok(SyncResponse::Data(items))) => {
                self.on_trades(peer, &asked, &items, now);
            }
            (purpose, Ok(response)) => {
                self.pause_after(peer, &purpose, &response, now);
                self.release(peer, purpose);
            }
            (purpose, Err(failure)) => {
                debug!(%peer, %failure, "a request failed");
                let at_least = match failure {
                    RequestFailure::TimedOut | RequestFailure::Disconnected => 0,
                    RequestFailure::Unsupported | RequestFailure::Malformed(_) => DISTRUST_MS,
                };
                if failure == RequestFailure::TimedOut {
                    if let (Purpose::Bodies(_), Some(peer)) = (&purpose, self.peers.get_mut(&peer))
                    {
                        peer.unanswered = true;
                        peer.denials = peer.denials.saturating_add(1);
                        peer.pipe.failed();
                    }
                    self.penalise(peer, Offence::Timeout, failure.to_string());
                }
                self.back_off(peer, now, at_least);
                self.release(peer, purpose);
            }
        }
    }

    /// Resets the state of a failed request, so that its data can be requested again.
    pub(super) fn release(&mut self, peer: PeerId, purpose: Purpose) {
        match purpose {
            Purpose::Headers(_) => self.end_walk(peer),
            Purpose::Bodies(asked) => self.bodies.release(&asked),
            Purpose::Probe(_) => {}
            Purpose::MempoolIds | Purpose::Trades(_) => self.abandon_visit(peer),
        }
    }

    /// Pauses requests to a peer after a response without the requested data.
    fn pause_after(&mut self, id: PeerId, purpose: &Purpose, response: &SyncResponse, now: Moment) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        match response {
            SyncResponse::Busy => {
                peer.failures = peer.failures.saturating_add(1);
                peer.headers_from = now.saturating_add(BUSY_MS);
                peer.data_from = now.saturating_add(BUSY_MS);
            }
            SyncResponse::NotYet | SyncResponse::NotFound => {
                if let Purpose::Bodies(asked) = purpose {
                    peer.data_from = now.saturating_add(ELSEWHERE_MS);
                    peer.denials = peer.denials.saturating_add(1);
                    if let Some(first) = asked.first() {
                        self.denies(id, first.hash);
                    }
                } else {
                    peer.back_off(now, 0);
                }
            }
            SyncResponse::Refused(Refusal::RateLimited) => peer.back_off(now, 0),
            SyncResponse::Refused(_) => peer.back_off(now, DISTRUST_MS),
            _ => self.distrust(
                id,
                Offence::WrongAnswer,
                "an answer of another kind than the question".into(),
                now,
            ),
        }
    }

    /// Sends a request and registers it as in flight. Returns its id.
    pub(super) fn request(
        &mut self,
        peer: PeerId,
        purpose: Purpose,
        request: SyncRequest,
        now: Moment,
    ) -> u64 {
        let id = self.next_id;
        self.next_id = self.next_id.saturating_add(1);
        let patience_ms = self.patience_with(&peer);
        let flight =
            InFlight { peer, purpose, since: now, patience_ms, expected: 0, grown: 0, moved: now };
        self.requests.insert(id, flight);
        self.out.push(SyncAction::Request { peer, id, request });
        id
    }

    /// Records that more of a response has arrived.
    fn on_grows(&mut self, id: u64, bytes: usize, now: Moment) {
        if let Some(request) = self.requests.get_mut(&id) {
            request.grown = bytes;
            request.moved = now;
        }
    }

    /// Takes a request that has ended out of its peer's pipe.
    pub(super) fn drain(&mut self, request: &InFlight) {
        if let (Purpose::Bodies(_), Some(peer)) =
            (&request.purpose, self.peers.get_mut(&request.peer))
        {
            peer.pipe.ended(request.expected);
        }
    }

    /// Returns a number for a walk or a header request, a new one each time.
    pub(super) const fn next_number(&mut self) -> u64 {
        self.numbers = self.numbers.wrapping_add(1);
        self.numbers
    }

    /// Returns a secret key for the bits of a presync, a new one each time.
    pub(super) const fn next_key(&mut self) -> (u64, u64) {
        self.keys = self.keys.wrapping_add(1);
        (self.secret.rotate_left(17) ^ self.keys, self.secret)
    }

    pub(super) fn send_status(&mut self, id: PeerId, now: Moment) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.status_sent_at = now;
        }
        self.out.push(SyncAction::SendStatus { peer: id });
    }

    pub(super) fn back_off(&mut self, id: PeerId, now: Moment, at_least_ms: u64) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.back_off(now, at_least_ms);
        }
    }

    pub(super) fn penalise(&mut self, peer: PeerId, offence: Offence, reason: String) {
        self.out.push(SyncAction::Penalise { peer, offence, reason });
    }

    /// Penalises a peer, and requests nothing from it for [`DISTRUST_MS`].
    pub(super) fn distrust(&mut self, peer: PeerId, offence: Offence, reason: String, now: Moment) {
        self.back_off(peer, now, DISTRUST_MS);
        self.penalise(peer, offence, reason);
    }
}
