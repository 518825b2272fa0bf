//! What gossipsub leaves to its user: keeping what was published before anybody listened, bounding
//! what waits for a verdict, and noticing that a peer's gossip has gone deaf. No sockets and no
//! clock here.
//!
//! Gossipsub can lose a direction of a connection for good without a word: a framing error closes
//! the receiver's stream, the sender goes on writing into it. So each node publishes a small probe
//! on the topic `alive`, which is never forwarded: a peer that listens to that topic sends probes
//! itself, and when none comes from it, nothing does. Peers that do not know the topic (other
//! programs) are not judged by it.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::{
    event::GossipId,
    limits::{
        KEPT_TIME, MAX_KEPT, MAX_KEPT_BYTES, MAX_UNDECIDED, MAX_UNDECIDED_BYTES, UNDECIDED_SHARE,
        VERDICT_TIME,
    },
};
use crate::{primitives::PeerId, wire::Topic};

/// A published payload that nobody has received yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) topic: Topic,
    pub(super) payload: Vec<u8>,
    since: Instant,
}

/// Published payloads that wait for the first peer that listens; the oldest go when it is too much.
#[derive(Debug, Default)]
pub(super) struct KeptMessages {
    messages: VecDeque<Kept>,
    bytes: usize,
}

impl KeptMessages {
    pub(super) fn keep(&mut self, topic: Topic, payload: Vec<u8>, since: Instant) {
        self.bytes = self.bytes.saturating_add(payload.len());
        self.messages.push_back(Kept { topic, payload, since });
        while self.messages.len() > MAX_KEPT || self.bytes > MAX_KEPT_BYTES {
            self.pop();
        }
    }

    fn pop(&mut self) -> Option<Kept> {
        let kept = self.messages.pop_front()?;
        self.bytes = self.bytes.saturating_sub(kept.payload.len());
        Some(kept)
    }

    /// Takes out what waits on one topic and is not too old, in order.
    pub(super) fn take(&mut self, topic: Topic, now: Instant) -> Vec<Kept> {
        while self.messages.front().is_some_and(|kept| now.duration_since(kept.since) >= KEPT_TIME)
        {
            self.pop();
        }
        let (taken, rest): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.messages).into_iter().partition(|kept| kept.topic == topic);
        self.bytes = rest.iter().map(|kept| kept.payload.len()).sum();
        self.messages = rest;
        taken.into()
    }

    /// Puts back what could not be sent after all.
    pub(super) fn put_back(&mut self, kept: Kept) {
        self.keep(kept.topic, kept.payload, kept.since);
    }

    /// The topics on which something waits.
    pub(super) fn topics(&self) -> Vec<Topic> {
        Topic::ALL
            .into_iter()
            .filter(|topic| self.messages.iter().any(|kept| kept.topic == *topic))
            .collect()
    }
}

/// Received gossip that waits for the node's verdict.
#[derive(Debug, Default)]
pub(super) struct Undecided {
    messages: HashMap<GossipId, (Topic, usize, Instant)>,
    per_peer: HashMap<PeerId, (usize, usize)>,
    bytes: usize,
}

impl Undecided {
    /// Whether there is room for the message; if so it is counted until its verdict.
    pub(super) fn admit(
        &mut self,
        message: GossipId,
        topic: Topic,
        size: usize,
        now: Instant,
    ) -> bool {
        let (count, bytes) = self.per_peer.get(&message.source).copied().unwrap_or_default();
        let (count, bytes) = (count.saturating_add(1), bytes.saturating_add(size));
        let total = self.bytes.saturating_add(size);
        if self.messages.len() >= MAX_UNDECIDED
            || total > MAX_UNDECIDED_BYTES
            || count > MAX_UNDECIDED / UNDECIDED_SHARE
            || bytes > MAX_UNDECIDED_BYTES / UNDECIDED_SHARE
        {
            return false;
        }
        if self.messages.insert(message, (topic, size, now)).is_none() {
            self.per_peer.insert(message.source, (count, bytes));
            self.bytes = total;
        }
        true
    }

    /// Its verdict has come: the topic that it came on, if it was still waited for.
    pub(super) fn decide(&mut self, message: &GossipId) -> Option<Topic> {
        let (topic, size, _) = self.messages.remove(message)?;
        self.bytes = self.bytes.saturating_sub(size);
        if let Some((count, bytes)) = self.per_peer.get_mut(&message.source) {
            *count = count.saturating_sub(1);
            *bytes = bytes.saturating_sub(size);
            if *count == 0 {
                self.per_peer.remove(&message.source);
            }
        }
        Some(topic)
    }

    /// Those whose verdict did not come in time: they count as ignored.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(GossipId, Topic)> {
        let late: Vec<_> = self
            .messages
            .iter()
            .filter(|(_, (_, _, since))| now.duration_since(*since) >= VERDICT_TIME)
            .map(|(message, (topic, ..))| (*message, *topic))
            .collect();
        for (message, _) in &late {
            self.decide(message);
        }
        late
    }
}

/// When silence means deafness.
#[derive(Debug, Clone, Copy)]
pub(super) struct HearingTimes {
    /// A peer that sends probes, and of which nothing came for so long, is not heard.
    pub(super) silence: Duration,
    /// A peer of this network listens to some topic by then.
    pub(super) subscribe: Duration,
    /// Between two cures of one peer at least; doubled each time it did not help.
    pub(super) between_cures: Duration,
}

#[derive(Debug)]
struct Heard {
    /// Since when the peer is known to speak this network's protocols.
    ours_since: Option<Instant>,
    listens: bool,
    /// Since when it listens to the topic of probes, or when last something came from it.
    probes_since: Option<Instant>,
}

/// Which connected peers' gossip is alive.
#[derive(Debug)]
pub(super) struct Hearing {
    times: HearingTimes,
    peers: HashMap<PeerId, Heard>,
    /// The last cure of a peer and how many did not help; kept over the reconnection that the cure
    /// is.
    cures: HashMap<PeerId, (Instant, u32)>,
}

impl Hearing {
    pub(super) fn new(times: HearingTimes) -> Self {
        Self { times, peers: HashMap::new(), cures: HashMap::new() }
    }

    pub(super) fn connected(&mut self, peer: PeerId) {
        self.peers.insert(peer, Heard { ours_since: None, listens: false, probes_since: None });
    }

    pub(super) fn disconnected(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
    }

    /// It has said that it speaks this network's protocols.
    pub(super) fn is_ours(&mut self, peer: &PeerId, now: Instant) {
        if let Some(heard) = self.peers.get_mut(peer) {
            heard.ours_since.get_or_insert(now);
        }
    }

    pub(super) fn listens(&mut self, peer: &PeerId) {
        if let Some(heard) = self.peers.get_mut(peer) {
            heard.listens = true;
        }
    }

    pub(super) fn listens_to_probes(&mut self, peer: &PeerId, now: Instant) {
        if let Some(heard) = self.peers.get_mut(peer) {
            heard.listens = true;
            heard.probes_since = Some(now);
        }
    }

    pub(super) fn stopped_listening_to_probes(&mut self, peer: &PeerId) {
        if let Some(heard) = self.peers.get_mut(peer) {
            heard.probes_since = None;
        }
    }

    /// A gossip message came from it.
    pub(super) fn heard(&mut self, peer: &PeerId, now: Instant) {
        if let Some(since) = self.peers.get_mut(peer).and_then(|heard| heard.probes_since.as_mut())
        {
            *since = now;
            self.cures.remove(peer);
        }
    }

    /// Whether to reconnect to a peer whose gossip does not flow; if so, it counts as a cure.
    pub(super) fn should_cure(&mut self, peer: &PeerId, now: Instant) -> bool {
        if !self.peers.contains_key(peer) {
            return false;
        }
        let (last, failures) =
            self.cures.get(peer).copied().map_or((None, 0), |(last, count)| (Some(last), count));
        let pause = self
            .times
            .between_cures
            .saturating_mul(1_u32.checked_shl(failures.min(6)).unwrap_or(64));
        if last.is_some_and(|last| now.duration_since(last) < pause) {
            return false;
        }
        self.cures.insert(*peer, (now, failures.saturating_add(1)));
        true
    }

    /// The peers to reconnect to, because nothing of their gossip arrives.
    pub(super) fn deaf(&mut self, now: Instant) -> Vec<PeerId> {
        let HearingTimes { silence, subscribe, .. } = self.times;
        let over = |since: Option<Instant>, limit| {
            since.is_some_and(|since| now.duration_since(since) >= limit)
        };
        let deaf: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, heard)| {
                over(heard.probes_since, silence)
                    || (!heard.listens && over(heard.ours_since, subscribe))
            })
            .map(|(peer, _)| *peer)
            .collect();
        // Cures of peers that are away for long are history.
        self.cures.retain(|_, (last, _)| now.duration_since(*last) < Duration::from_hours(2));
        deaf.into_iter().filter(|peer| self.should_cure(peer, now)).collect()
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
        let mut kept = KeptMessages::default();
        kept.keep(Topic::Chat, vec![1], now);
        kept.keep(Topic::Blocks, vec![2], now);
        kept.keep(Topic::Chat, vec![3], now);
        assert_eq!(kept.topics(), [Topic::Chat, Topic::Blocks]);
        let taken: Vec<_> =
            kept.take(Topic::Chat, now).into_iter().map(|kept| kept.payload).collect();
        assert_eq!(taken, [vec![1], vec![3]]);
        assert!(kept.take(Topic::Chat, now).is_empty());
        assert!(kept.take(Topic::Blocks, now + KEPT_TIME).is_empty(), "old news is dropped");
    }

    #[test]
    fn the_oldest_kept_messages_go_first() {
        let now = Instant::now();
        let mut kept = KeptMessages::default();
        for number in 0..=MAX_KEPT {
            kept.keep(Topic::Chat, vec![u8::try_from(number).unwrap()], now);
        }
        kept.keep(Topic::Chat, vec![0; MAX_KEPT_BYTES - 1], now);
        let taken = kept.take(Topic::Chat, now);
        assert_eq!(taken.len(), 2);
        assert_eq!(taken[0].payload, [u8::try_from(MAX_KEPT).unwrap()]);
    }

    #[test]
    fn one_peer_gets_its_share_of_what_waits_for_a_verdict() {
        let now = Instant::now();
        let mut undecided = Undecided::default();
        let big = MAX_UNDECIDED_BYTES / UNDECIDED_SHARE;
        assert!(undecided.admit(message(1, 1), Topic::Chat, big, now));
        assert!(!undecided.admit(message(2, 1), Topic::Chat, 1, now));
        assert!(undecided.admit(message(2, 2), Topic::Blocks, big, now));
        assert_eq!(undecided.decide(&message(1, 1)), Some(Topic::Chat));
        assert_eq!(undecided.decide(&message(1, 1)), None);
        assert!(undecided.admit(message(3, 1), Topic::Chat, big, now));
    }

    #[test]
    fn a_late_verdict_counts_as_none() {
        let now = Instant::now();
        let mut undecided = Undecided::default();
        undecided.admit(message(1, 1), Topic::Trades, 10, now);
        assert!(undecided.expire(now).is_empty());
        assert_eq!(undecided.expire(now + VERDICT_TIME), [(message(1, 1), Topic::Trades)]);
        assert!(undecided.per_peer.is_empty() && undecided.bytes == 0);
    }

    fn hearing() -> Hearing {
        Hearing::new(HearingTimes {
            silence: seconds(60),
            subscribe: seconds(30),
            between_cures: seconds(60),
        })
    }

    #[test]
    fn a_probing_peer_that_falls_silent_is_deaf() {
        let now = Instant::now();
        let mut hearing = hearing();
        hearing.connected(peer(1));
        hearing.listens_to_probes(&peer(1), now);
        hearing.heard(&peer(1), now + seconds(50));
        assert!(hearing.deaf(now + seconds(100)).is_empty());
        assert_eq!(hearing.deaf(now + seconds(110)), [peer(1)]);
        assert!(hearing.deaf(now + seconds(111)).is_empty(), "one cure at a time");
        assert_eq!(hearing.deaf(now + seconds(231)), [peer(1)], "and the next after twice as long");
    }

    #[test]
    fn a_peer_of_this_network_that_never_listens_is_deaf_and_others_are_not() {
        let now = Instant::now();
        let mut hearing = hearing();
        (1..=3).for_each(|number| hearing.connected(peer(number)));
        hearing.is_ours(&peer(1), now);
        hearing.is_ours(&peer(2), now);
        hearing.listens(&peer(2));
        assert_eq!(hearing.deaf(now + seconds(3_000)), [peer(1)]);
    }

    #[test]
    fn another_program_without_probes_is_never_deaf_by_silence() {
        let now = Instant::now();
        let mut hearing = hearing();
        hearing.connected(peer(1));
        hearing.is_ours(&peer(1), now);
        hearing.listens(&peer(1));
        assert!(hearing.deaf(now + seconds(100_000)).is_empty());
    }
}
