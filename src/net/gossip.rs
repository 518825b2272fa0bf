//! Gossip state that gossipsub leaves to its user. It has no sockets and no clock.
//!
//! - [`UnheardGossip`] stores messages that the node published before any peer subscribed.
//! - [`PendingVerdicts`] bounds the messages that wait for the node's verdict.
//! - [`GossipLiveness`] detects peers whose gossip no longer arrives.
//!
//! Gossipsub can lose one direction of a connection for good without an error: a framing error
//! closes the receiver's stream, and the sender goes on writing into it. Each node therefore
//! publishes a small probe on the topic `alive` at a fixed interval. Probes are never forwarded. A
//! peer that is subscribed to `alive` sends probes itself, so a long silence of such a peer means
//! that its gossip is lost. Other programs need not subscribe to `alive`; their silence means
//! nothing.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::{
    event::GossipId,
    limits::{
        MAX_PENDING_BYTES, MAX_PENDING_VERDICTS, MAX_RECONNECTIONS, MAX_UNHEARD, MAX_UNHEARD_BYTES,
        PENDING_SHARE, STRANGERS_SHARE, UNHEARD_TIME, VERDICT_TIME,
    },
};
use crate::{
    primitives::{PeerId, doubled},
    wire::Topic,
};

/// A published payload that has reached no peer yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnheardMessage {
    pub(super) topic: Topic,
    pub(super) payload: Vec<u8>,
    since: Instant,
}

/// Published payloads that wait for the first subscriber. Above its limits, the oldest are dropped.
#[derive(Debug, Default)]
pub(super) struct UnheardGossip {
    messages: VecDeque<UnheardMessage>,
    bytes: usize,
}

impl UnheardGossip {
    pub(super) fn push(&mut self, topic: Topic, payload: Vec<u8>, since: Instant) {
        self.bytes = self.bytes.saturating_add(payload.len());
        self.messages.push_back(UnheardMessage { topic, payload, since });
        while self.messages.len() > MAX_UNHEARD || self.bytes > MAX_UNHEARD_BYTES {
            self.pop();
        }
    }

    fn pop(&mut self) -> Option<UnheardMessage> {
        let message = self.messages.pop_front()?;
        self.bytes = self.bytes.saturating_sub(message.payload.len());
        Some(message)
    }

    /// Removes and returns the messages on one topic, in the order of publication. Drops messages
    /// at the front that are too old.
    pub(super) fn take(&mut self, topic: Topic, now: Instant) -> Vec<UnheardMessage> {
        let is_old = |message: &UnheardMessage| now.duration_since(message.since) >= UNHEARD_TIME;
        while self.messages.front().is_some_and(is_old) {
            self.pop();
        }
        let (taken, rest): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.messages)
            .into_iter()
            .partition(|message| message.topic == topic);
        self.bytes = rest.iter().map(|message| message.payload.len()).sum();
        self.messages = rest;
        taken.into()
    }

    /// Stores a message again that could not be sent. The message keeps its age.
    pub(super) fn put_back(&mut self, message: UnheardMessage) {
        self.push(message.topic, message.payload, message.since);
    }

    /// Returns the topics on which messages wait.
    pub(super) fn topics(&self) -> Vec<Topic> {
        Topic::ALL
            .into_iter()
            .filter(|topic| self.messages.iter().any(|message| message.topic == *topic))
            .collect()
    }
}

/// Messages, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    count: usize,
    bytes: usize,
}

impl Amount {
    /// Returns the sum with one more message of this size.
    pub(super) const fn and(self, bytes: usize) -> Self {
        Self { count: self.count.saturating_add(1), bytes: self.bytes.saturating_add(bytes) }
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    const fn without(self, bytes: usize) -> Self {
        Self { count: self.count.saturating_sub(1), bytes: self.bytes.saturating_sub(bytes) }
    }

    /// True if this is at most the part `1 / share` of the limits on all messages.
    fn fits(self, share: usize) -> bool {
        let part = |limit: usize| limit.checked_div(share).unwrap_or(limit);
        self.count <= part(MAX_PENDING_VERDICTS) && self.bytes <= part(MAX_PENDING_BYTES)
    }
}

/// A message that waits for the node's verdict.
#[derive(Debug)]
struct Waiting {
    topic: Topic,
    size: usize,
    since: Instant,
    is_friends: bool,
}

/// Received messages that wait for the node's verdict.
#[derive(Debug, Default)]
pub(super) struct PendingVerdicts {
    messages: HashMap<GossipId, Waiting>,
    per_peer: HashMap<PeerId, Amount>,
    /// Messages of peers that are no friends.
    strangers: Amount,
    all: Amount,
}

impl PendingVerdicts {
    /// True if there is room for this much more from a peer.
    pub(super) fn has_room(&self, peer: &PeerId, more: Amount, is_friend: bool) -> bool {
        let of_peer = self.per_peer.get(peer).copied().unwrap_or_default();
        self.all.plus(more).fits(1)
            && of_peer.plus(more).fits(PENDING_SHARE)
            && (is_friend || self.strangers.plus(more).fits(STRANGERS_SHARE))
    }

    /// Counts a message until its verdict. Returns false if it would exceed the limit of all
    /// messages, of its peer, or of all peers that are no friends. `is_friends` is true if the peer
    /// that forwarded it is a friend.
    pub(super) fn admit(
        &mut self,
        message: GossipId,
        topic: Topic,
        size: usize,
        is_friends: bool,
        now: Instant,
    ) -> bool {
        if self.messages.contains_key(&message) {
            return true;
        }
        let one = Amount::default().and(size);
        if !self.has_room(&message.source, one, is_friends) {
            return false;
        }
        let of_peer = self.per_peer.get(&message.source).copied().unwrap_or_default().plus(one);
        let strangers = if is_friends { self.strangers } else { self.strangers.plus(one) };
        let all = self.all.plus(one);
        self.messages.insert(message, Waiting { topic, size, since: now, is_friends });
        self.per_peer.insert(message.source, of_peer);
        (self.strangers, self.all) = (strangers, all);
        true
    }

    /// Removes a message whose verdict is known, and returns its topic. Returns `None` if the
    /// message has expired or had its verdict before.
    pub(super) fn decide(&mut self, message: &GossipId) -> Option<Topic> {
        let Waiting { topic, size, is_friends, .. } = self.messages.remove(message)?;
        self.all = self.all.without(size);
        if !is_friends {
            self.strangers = self.strangers.without(size);
        }
        if let Some(of_peer) = self.per_peer.get_mut(&message.source) {
            *of_peer = of_peer.without(size);
            if of_peer.count == 0 {
                self.per_peer.remove(&message.source);
            }
        }
        Some(topic)
    }

    /// Removes and returns the messages whose verdict is late. They count as ignored.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(GossipId, Topic)> {
        let late: Vec<_> = self
            .messages
            .iter()
            .filter(|(_, waiting)| now.duration_since(waiting.since) >= VERDICT_TIME)
            .map(|(message, waiting)| (*message, waiting.topic))
            .collect();
        for (message, _) in &late {
            self.decide(message);
        }
        late
    }
}

/// The times after which a silent peer is reconnected.
#[derive(Debug, Clone, Copy)]
pub(super) struct LivenessTimes {
    /// A peer that sends probes is silent if no gossip arrives from it for this long.
    pub(super) silence: Duration,
    /// A peer of this network is silent if it has no subscription for this long.
    pub(super) subscribe: Duration,
    /// The minimum time between two reconnections of one peer. It doubles with each reconnection in
    /// a row that does not help, up to 64 times the value.
    pub(super) between_reconnections: Duration,
}

#[derive(Debug)]
struct PeerLiveness {
    /// The time at which the peer first announced this network's protocols.
    same_network_since: Option<Instant>,
    /// True once the peer has subscribed to any topic of this network.
    subscribed: bool,
    /// The time of the last message, or of the subscription to probes if that is later. `None` if
    /// the peer is not subscribed to probes.
    silent_since: Option<Instant>,
}

/// The liveness of the gossip of each connected peer.
#[derive(Debug)]
pub(super) struct GossipLiveness {
    times: LivenessTimes,
    peers: HashMap<PeerId, PeerLiveness>,
    /// The time of a peer's last reconnection, and the number of reconnections in a row that did
    /// not help. An entry outlives the connection.
    reconnections: HashMap<PeerId, (Instant, u32)>,
}

impl GossipLiveness {
    pub(super) fn new(times: LivenessTimes) -> Self {
        Self { times, peers: HashMap::new(), reconnections: HashMap::new() }
    }

    pub(super) fn connected(&mut self, peer: PeerId) {
        let liveness =
            PeerLiveness { same_network_since: None, subscribed: false, silent_since: None };
        self.peers.insert(peer, liveness);
    }

    pub(super) fn disconnected(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
    }

    /// Records that the peer announced this network's protocols.
    pub(super) fn same_network(&mut self, peer: &PeerId, now: Instant) {
        if let Some(liveness) = self.peers.get_mut(peer) {
            liveness.same_network_since.get_or_insert(now);
        }
    }

    /// Records that the peer subscribed to a topic of this network.
    pub(super) fn subscribed(&mut self, peer: &PeerId) {
        if let Some(liveness) = self.peers.get_mut(peer) {
            liveness.subscribed = true;
        }
    }

    /// Records that the peer subscribed to probes, so that it sends probes itself.
    pub(super) fn subscribed_to_probes(&mut self, peer: &PeerId, now: Instant) {
        if let Some(liveness) = self.peers.get_mut(peer) {
            liveness.subscribed = true;
            liveness.silent_since = Some(now);
        }
    }

    pub(super) fn unsubscribed_from_probes(&mut self, peer: &PeerId) {
        if let Some(liveness) = self.peers.get_mut(peer) {
            liveness.silent_since = None;
        }
    }

    /// Records a gossip message from the peer.
    pub(super) fn received(&mut self, peer: &PeerId, now: Instant) {
        let since = self.peers.get_mut(peer).and_then(|liveness| liveness.silent_since.as_mut());
        if let Some(since) = since {
            *since = now;
            self.reconnections.remove(peer);
        }
    }

    /// Returns true if the peer may be reconnected now, and then counts the reconnection.
    pub(super) fn should_reconnect(&mut self, peer: &PeerId, now: Instant) -> bool {
        if !self.peers.contains_key(peer) {
            return false;
        }
        let (last, failures) = self
            .reconnections
            .get(peer)
            .copied()
            .map_or((None, 0), |(last, count)| (Some(last), count));
        let pause = doubled(self.times.between_reconnections, failures.min(6), Duration::MAX);
        if last.is_some_and(|last| now.duration_since(last) < pause) {
            return false;
        }
        if self.reconnections.len() >= MAX_RECONNECTIONS
            && let Some(oldest) =
                self.reconnections.iter().min_by_key(|(_, (at, _))| *at).map(|(peer, _)| *peer)
        {
            self.reconnections.remove(&oldest);
        }
        self.reconnections.insert(*peer, (now, failures.saturating_add(1)));
        true
    }

    /// Returns the peers to reconnect, because none of their gossip arrives.
    ///
    /// Gossipsub drops the gossip of a graylisted peer, so the silence of such a peer proves
    /// nothing. It is measured anew from the end of the graylisting.
    pub(super) fn silent(
        &mut self,
        now: Instant,
        is_graylisted: impl Fn(&PeerId) -> bool,
    ) -> Vec<PeerId> {
        let LivenessTimes { silence, subscribe, .. } = self.times;
        let is_over = |since: Option<Instant>, limit| {
            since.is_some_and(|since| now.duration_since(since) >= limit)
        };
        let mut silent = Vec::new();
        for (peer, liveness) in &mut self.peers {
            if let Some(since) = &mut liveness.silent_since
                && is_graylisted(peer)
            {
                *since = now;
            }
            let unsubscribed =
                !liveness.subscribed && is_over(liveness.same_network_since, subscribe);
            if unsubscribed || is_over(liveness.silent_since, silence) {
                silent.push(*peer);
            }
        }
        // Reconnections of peers that have been away for long no longer matter.
        self.reconnections
            .retain(|_, (last, _)| now.duration_since(*last) < Duration::from_hours(2));
        silent.into_iter().filter(|peer| self.should_reconnect(peer, now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::PublicKey;

    fn peer(number: u8) -> PeerId {
        PeerId(PublicKey([number; 32]))
    }

    fn message(number: u8, source: u8) -> GossipId {
        GossipId { id: [number; 20], source: peer(source) }
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn what_nobody_heard_is_kept_in_order_and_by_topic() {
        let now = Instant::now();
        let mut unheard = UnheardGossip::default();
        unheard.push(Topic::Chat, vec![1], now);
        unheard.push(Topic::Blocks, vec![2], now);
        unheard.push(Topic::Chat, vec![3], now);
        assert_eq!(unheard.topics(), [Topic::Chat, Topic::Blocks]);
        let taken: Vec<_> =
            unheard.take(Topic::Chat, now).into_iter().map(|message| message.payload).collect();
        assert_eq!(taken, [vec![1], vec![3]]);
        assert!(unheard.take(Topic::Chat, now).is_empty());
        assert!(unheard.take(Topic::Blocks, now + UNHEARD_TIME).is_empty(), "old news is dropped");
    }

    #[test]
    fn the_oldest_kept_messages_go_first() {
        let now = Instant::now();
        let mut unheard = UnheardGossip::default();
        for number in 0..=MAX_UNHEARD {
            unheard.push(Topic::Chat, vec![u8::try_from(number).unwrap()], now);
        }
        unheard.push(Topic::Chat, vec![0; MAX_UNHEARD_BYTES - 1], now);
        let taken = unheard.take(Topic::Chat, now);
        assert_eq!(taken.len(), 2);
        assert_eq!(taken[0].payload, [u8::try_from(MAX_UNHEARD).unwrap()]);
    }

    #[test]
    fn one_peer_gets_its_share_of_what_waits_for_a_verdict() {
        let now = Instant::now();
        let mut pending = PendingVerdicts::default();
        let big = MAX_PENDING_BYTES / PENDING_SHARE;
        assert!(pending.admit(message(1, 1), Topic::Chat, big, true, now));
        assert!(!pending.admit(message(2, 1), Topic::Chat, 1, true, now));
        assert!(pending.admit(message(2, 2), Topic::Blocks, big, true, now));
        assert_eq!(pending.decide(&message(1, 1)), Some(Topic::Chat));
        assert_eq!(pending.decide(&message(1, 1)), None);
        assert!(pending.admit(message(3, 1), Topic::Chat, big, true, now));
    }

    #[test]
    fn strangers_together_leave_half_of_what_waits_to_friends() {
        let now = Instant::now();
        let mut pending = PendingVerdicts::default();
        let big = MAX_PENDING_BYTES / PENDING_SHARE;
        assert!(pending.admit(message(1, 1), Topic::Chat, big, false, now));
        assert!(pending.admit(message(2, 2), Topic::Chat, big, false, now));
        assert!(!pending.admit(message(3, 3), Topic::Chat, 1, false, now));
        assert!(pending.admit(message(3, 3), Topic::Chat, big, true, now));
        assert!(pending.admit(message(4, 4), Topic::Chat, big, true, now));
        pending.decide(&message(1, 1));
        assert!(pending.admit(message(5, 5), Topic::Chat, 1, false, now));
    }

    #[test]
    fn messages_without_a_verdict_are_bounded_in_number_too() {
        let now = Instant::now();
        let mut pending = PendingVerdicts::default();
        let mut admitted = |source: u8, is_friend| {
            let ids = (0..=u16::try_from(MAX_PENDING_VERDICTS).unwrap()).map(|number| {
                let mut id = [source; 20];
                id[..2].copy_from_slice(&number.to_be_bytes());
                GossipId { id, source: peer(source) }
            });
            ids.filter(|id| pending.admit(*id, Topic::Chat, 1, is_friend, now)).count()
        };
        let strangers: usize = (1..10).map(|source| admitted(source, false)).sum();
        assert_eq!(strangers, MAX_PENDING_VERDICTS / STRANGERS_SHARE);
        assert_eq!(admitted(100, true), MAX_PENDING_VERDICTS / PENDING_SHARE);
        let friends: usize = (101..110).map(|source| admitted(source, true)).sum();
        assert_eq!(friends, MAX_PENDING_VERDICTS / PENDING_SHARE, "all together");
    }

    #[test]
    fn a_late_verdict_counts_as_none() {
        let now = Instant::now();
        let mut pending = PendingVerdicts::default();
        pending.admit(message(1, 1), Topic::Trades, 10, false, now);
        assert!(pending.expire(now).is_empty());
        assert_eq!(pending.expire(now + VERDICT_TIME), [(message(1, 1), Topic::Trades)]);
        assert!(pending.per_peer.is_empty());
        assert_eq!((pending.all, pending.strangers), Default::default());
    }

    fn liveness() -> GossipLiveness {
        GossipLiveness::new(LivenessTimes {
            silence: seconds(60),
            subscribe: seconds(30),
            between_reconnections: seconds(60),
        })
    }

    #[test]
    fn a_probing_peer_that_falls_silent_is_deaf() {
        let now = Instant::now();
        let mut liveness = liveness();
        liveness.connected(peer(1));
        liveness.subscribed_to_probes(&peer(1), now);
        liveness.received(&peer(1), now + seconds(50));
        assert!(liveness.silent(now + seconds(100), |_| false).is_empty());
        assert_eq!(liveness.silent(now + seconds(110), |_| false), [peer(1)]);
        assert!(
            liveness.silent(now + seconds(111), |_| false).is_empty(),
            "one reconnection at a time"
        );
        assert_eq!(
            liveness.silent(now + seconds(231), |_| false),
            [peer(1)],
            "and the next after twice as long"
        );
    }

    #[test]
    fn a_peer_of_this_network_that_never_listens_is_deaf_and_others_are_not() {
        let now = Instant::now();
        let mut liveness = liveness();
        (1..=3).for_each(|number| liveness.connected(peer(number)));
        liveness.same_network(&peer(1), now);
        liveness.same_network(&peer(2), now);
        liveness.subscribed(&peer(2));
        assert_eq!(liveness.silent(now + seconds(3_000), |_| false), [peer(1)]);
    }

    #[test]
    fn another_program_without_probes_is_never_deaf_by_silence() {
        let now = Instant::now();
        let mut liveness = liveness();
        liveness.connected(peer(1));
        liveness.same_network(&peer(1), now);
        liveness.subscribed(&peer(1));
        assert!(liveness.silent(now + seconds(100_000), |_| false).is_empty());
    }

    #[test]
    fn the_silence_of_a_graylisted_peer_proves_nothing() {
        let now = Instant::now();
        let mut liveness = liveness();
        liveness.connected(peer(1));
        liveness.subscribed_to_probes(&peer(1), now);
        assert!(liveness.silent(now + seconds(100), |_| true).is_empty());
        assert!(liveness.silent(now + seconds(159), |_| false).is_empty(), "starts again");
        assert_eq!(liveness.silent(now + seconds(160), |_| false), [peer(1)]);
    }
}
