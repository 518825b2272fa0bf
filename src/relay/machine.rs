//! The relay machine: its state, and the dispatch of events.

use std::collections::HashMap;

use super::{
    ANNOUNCE_SPACINGS, ASK_MS, BLOCK_RATE, DOUBTFUL_SHARE, MAX_LOADING, MIN_ANNOUNCE_MS, NOTE_RATE,
    PROVEN_MS, REQUEST_SPACE, RelayAction, RelayConfig, RelayEvent, TRADE_RATE, blocks::Blocks,
    bounded::Recent, trades::Trades,
};
use crate::{
    chain::api::Tip,
    peers::{MAX_CONNECTED, Offence, Trust},
    primitives::{BlockHash, Bucket, Moment, PeerId, Rate},
    wire::{SyncRequest, Topic, Verdict},
};

/// The token buckets of one peer, and the last time that it was asked for its Status.
#[derive(Debug)]
pub(super) struct Allowance {
    pub(super) blocks: Bucket,
    pub(super) trades: Bucket,
    pub(super) notes: Bucket,
    asked: Option<Moment>,
    /// The last gossip or request of the peer.
    seen: Moment,
    /// True if the peer delivered a header or block that this node lacked.
    proven: bool,
    /// The last [`RelayAction::Delivered`] for it.
    told: Option<Moment>,
    /// True since its last disconnection. Its buckets stay, so that a reconnection fills none.
    is_gone: bool,
}

/// The token buckets that all peers share which are not trusted.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) trades: Bucket,
    pub(super) notes: Bucket,
}

impl Shared {
    fn new() -> Self {
        let rate = |rate: Rate| Rate {
            burst: rate.burst.saturating_mul(DOUBTFUL_SHARE),
            per_second: rate.per_second.saturating_mul(DOUBTFUL_SHARE),
        };
        Self { trades: Bucket::new(rate(TRADE_RATE), 0), notes: Bucket::new(rate(NOTE_RATE), 0) }
    }
}

/// The state machine that spreads new blocks and trades. See the [module](super). `M` is the id of
/// a gossip message.
#[derive(Debug)]
pub(crate) struct Relay<M> {
    pub(super) tip: Tip,
    /// The best header at the last change of the tip.
    pub(super) best_header: Tip,
    trust: Trust,
    pub(super) blocks: Blocks<M>,
    pub(super) trades: Trades<M>,
    /// Blocks that are being read from the store for publishing.
    pub(super) loading: Recent<BlockHash>,
    peers: HashMap<PeerId, Allowance>,
    pub(super) shared: Shared,
    next_id: u64,
    pub(super) out: Vec<RelayAction<M>>,
}

impl<M: Copy> Relay<M> {
    /// Makes a relay that knows only the tip.
    #[must_use]
    pub(crate) fn new(config: RelayConfig) -> Self {
        let RelayConfig { spacing_ms, tip, trust, seed } = config;
        Self {
            tip,
            best_header: tip,
            trust,
            blocks: Blocks::new(),
            trades: Trades::new(
                spacing_ms.saturating_mul(ANNOUNCE_SPACINGS).max(MIN_ANNOUNCE_MS),
                seed,
            ),
            loading: Recent::new(MAX_LOADING),
            peers: HashMap::new(),
            shared: Shared::new(),
            next_id: REQUEST_SPACE,
            out: Vec::new(),
        }
    }

    /// Handles one event at the time `now`. Returns the actions to carry out, in order.
    pub(crate) fn handle(&mut self, event: RelayEvent<M>, now: Moment) -> Vec<RelayAction<M>> {
        match event {
            RelayEvent::Solved { header } => self.on_own_solved(&header),
            RelayEvent::TipChanged { tip, best_header, connected, mined } => {
                self.tip = tip;
                self.best_header = best_header;
                self.on_connected(&connected, best_header.hash == tip.hash);
                self.on_mined(&mined);
            }
            RelayEvent::BlockLoaded { hash, block } => self.on_block_loaded(hash, block.as_deref()),
            RelayEvent::BlockGossip { peer, message, gossip } => {
                self.on_block_gossip(peer, message, &gossip, now);
            }
            RelayEvent::TradeGossip { peer, message, gossip } => {
                self.on_trade_gossip(peer, message, &gossip, now);
            }
            RelayEvent::SolvedChecked { hash, result } => self.on_solved_checked(hash, result),
            RelayEvent::HeaderDone { hash, result } => self.on_header_done(hash, &result, now),
            RelayEvent::Rebuilt { hash, rebuilt } => self.on_rebuilt(hash, rebuilt, now),
            RelayEvent::BlockDone { hash, result } => self.on_block_done(hash, result, now),
            RelayEvent::TradesDone { id, results } => self.on_trades_done(id, results, now),
            RelayEvent::TradeAdded { txid, transaction, added, local, free } => {
                self.on_trade_added(txid, transaction, added, (local, free), now);
            }
            RelayEvent::TradeGone { txid } => self.trades.forget(&txid),
            RelayEvent::Response { id, result } => self.on_response(id, result, now),
            RelayEvent::Proven { peer } => {
                if let Some(allowance) = self.allowance(peer, now) {
                    allowance.proven = true;
                }
            }
            RelayEvent::PeerGone { peer } => {
                if let Some(allowance) = self.peers.get_mut(&peer) {
                    (allowance.is_gone, allowance.proven, allowance.told) = (true, false, None);
                }
                self.on_peer_gone(peer, now);
            }
            RelayEvent::Tick => {
                self.tick_blocks(now);
                self.tick_trades(now);
            }
        }
        self.publish_trades(now);
        std::mem::take(&mut self.out)
    }

    /// Returns a peer's token buckets. If there are too many peers, the relay forgets one that is
    /// gone, or else one that is neither proven nor a friend: the one that has been silent for
    /// longest. `None` if there is no such peer.
    pub(super) fn allowance(&mut self, peer: PeerId, now: Moment) -> Option<&mut Allowance> {
        if self.peers.len() >= MAX_CONNECTED && !self.peers.contains_key(&peer) {
            let idle = self
                .peers
                .iter()
                .filter(|(id, allowance)| {
                    allowance.is_gone || (!allowance.proven && !self.trust.is_friend(id))
                })
                .min_by_key(|(id, allowance)| (!allowance.is_gone, allowance.seen, **id))
                .map(|(id, _)| *id)?;
            self.peers.remove(&idle);
        }
        let allowance = self.peers.entry(peer).or_insert_with(|| Allowance {
            blocks: Bucket::new(BLOCK_RATE, now),
            trades: Bucket::new(TRADE_RATE, now),
            notes: Bucket::new(NOTE_RATE, now),
            asked: None,
            seen: now,
            proven: false,
            told: None,
            is_gone: false,
        });
        (allowance.seen, allowance.is_gone) = (now, false);
        Some(allowance)
    }

    /// Returns true if the peer is a friend, or delivered a header or block that this node lacked.
    pub(super) fn is_trusted(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|allowance| allowance.proven) || self.trust.is_friend(peer)
    }

    /// Records that a peer delivered a block that this node lacked. Sync gets this at most once per
    /// [`PROVEN_MS`].
    pub(super) fn delivered(&mut self, peer: PeerId, now: Moment) {
        if let Some(allowance) = self.allowance(peer, now)
            && allowance.told.is_none_or(|at| now.saturating_sub(at) >= PROVEN_MS)
        {
            (allowance.told, allowance.proven) = (Some(now), true);
            self.out.push(RelayAction::Delivered { peer });
        }
    }

    /// Asks a peer for its Status, at most once per [`ASK_MS`].
    pub(super) fn ask_status(&mut self, peer: PeerId, now: Moment) {
        let Some(allowance) = self.allowance(peer, now) else {
            return;
        };
        if allowance.asked.is_none_or(|at| now.saturating_sub(at) >= ASK_MS) {
            allowance.asked = Some(now);
            self.out.push(RelayAction::AskStatus { peer });
        }
    }

    pub(super) fn request(&mut self, peer: PeerId, request: SyncRequest) -> u64 {
        let id = self.next_id;
        self.next_id = self.next_id.saturating_add(1);
        self.out.push(RelayAction::Request { peer, id, request });
        id
    }

    pub(super) fn verdict(&mut self, message: M, verdict: Verdict) {
        self.out.push(RelayAction::Verdict { message, verdict });
    }

    /// Mutes a peer that has used up its room or its rate, or is about to.
    ///
    /// # Security
    /// An ignored message is lost, since gossipsub accepts no copy of it from others. A hostile
    /// peer could use up its rate, and then be the first to forward what others say.
    pub(super) fn mute(&mut self, peer: PeerId, topic: Topic, ms: u64) {
        self.out.push(RelayAction::Mute { peer, topic, ms });
    }

    pub(super) fn penalise(&mut self, peer: PeerId, offence: Offence, reason: String) {
        self.out.push(RelayAction::Penalise { peer, offence, reason });
    }
}
