//! `turns` decides whose request on `sync` is served next.
//!
//! Friends and all others each have a queue and slots of their own, so that a friend never waits
//! behind a stranger. Within a queue, peers take turns. The module has no I/O and no clock.

use std::collections::{HashMap, VecDeque};

use crate::primitives::PeerId;

/// Requests on `sync` that are served at once, for friends and for all others each.
pub(super) const SERVED_AT_ONCE: usize = 32;
/// Requests on `sync` of one peer that are served at once. Its further ones wait for a turn.
pub(super) const SERVED_PER_PEER: usize = 8;
/// Requests on `sync` that wait for a turn; friends and all others have this many each. Above it,
/// the last request of the peer with the most requests gets Busy.
pub(super) const MAX_QUEUED: usize = 256;

/// A request that may be served now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn<T> {
    pub(super) peer: PeerId,
    /// True if the request was in the queue of friends. [`Turns::done`] needs it.
    pub(super) of_friend: bool,
    pub(super) request: T,
}

/// One queue, in which peers take turns.
#[derive(Debug)]
struct Queue<T> {
    waiting: HashMap<PeerId, VecDeque<T>>,
    /// The peers that wait, in the order of their turns.
    order: VecDeque<PeerId>,
    queued: usize,
    /// The requests of each peer that are being served.
    serving: HashMap<PeerId, usize>,
    served: usize,
}

impl<T> Queue<T> {
    fn new() -> Self {
        Self {
            waiting: HashMap::new(),
            order: VecDeque::new(),
            queued: 0,
            serving: HashMap::new(),
            served: 0,
        }
    }

    fn waits(&self, peer: &PeerId) -> usize {
        self.waiting.get(peer).map_or(0, VecDeque::len)
    }

    /// Queues a request. Returns the one that has no room instead.
    fn push(&mut self, peer: PeerId, request: T) -> Option<T> {
        let mut crowded_out = None;
        if self.queued >= MAX_QUEUED {
            let most = self.waiting.iter().max_by_key(|(_, all)| all.len()).map(|(peer, _)| *peer);
            let longest =
                most.filter(|most| self.waits(most) > self.waits(&peer).saturating_add(1));
            let Some(longest) = longest else { return Some(request) };
            crowded_out = self.waiting.get_mut(&longest).and_then(VecDeque::pop_back);
            self.queued = self.queued.saturating_sub(1);
        }
        let line = self.waiting.entry(peer).or_default();
        if line.is_empty() {
            self.order.push_back(peer);
        }
        line.push_back(request);
        self.queued = self.queued.saturating_add(1);
        crowded_out
    }

    fn next(&mut self) -> Option<(PeerId, T)> {
        if self.served >= SERVED_AT_ONCE {
            return None;
        }
        let may = |peer: &PeerId| self.serving.get(peer).is_none_or(|all| *all < SERVED_PER_PEER);
        let at = self.order.iter().position(may)?;
        let peer = self.order.remove(at)?;
        let line = self.waiting.get_mut(&peer)?;
        let request = line.pop_front()?;
        if line.is_empty() {
            self.waiting.remove(&peer);
        } else {
            self.order.push_back(peer);
        }
        self.queued = self.queued.saturating_sub(1);
        self.served = self.served.saturating_add(1);
        let serving = self.serving.entry(peer).or_default();
        *serving = serving.saturating_add(1);
        Some((peer, request))
    }

    fn done(&mut self, peer: &PeerId) {
        self.served = self.served.saturating_sub(1);
        if let Some(serving) = self.serving.get_mut(peer) {
            *serving = serving.saturating_sub(1);
            if *serving == 0 {
                self.serving.remove(peer);
            }
        }
    }

    fn gone(&mut self, peer: &PeerId) {
        if let Some(line) = self.waiting.remove(peer) {
            self.queued = self.queued.saturating_sub(line.len());
            self.order.retain(|other| other != peer);
        }
    }

    /// Removes the requests for which `is_late` is true.
    fn expire(&mut self, is_late: &dyn Fn(&T) -> bool) -> Vec<T> {
        let mut late = Vec::new();
        for line in self.waiting.values_mut() {
            // The queue is in order of time, oldest first.
            while line.front().is_some_and(is_late) {
                late.extend(line.pop_front());
            }
        }
        self.queued = self.queued.saturating_sub(late.len());
        self.waiting.retain(|_, line| !line.is_empty());
        let waiting = &self.waiting;
        self.order.retain(|peer| waiting.contains_key(peer));
        late
    }
}

/// The requests that wait, and the number of those that are being served.
#[derive(Debug)]
pub(super) struct Turns<T> {
    friends: Queue<T>,
    others: Queue<T>,
}

impl<T> Turns<T> {
    pub(super) fn new() -> Self {
        Self { friends: Queue::new(), others: Queue::new() }
    }

    /// Queues a request. If there is no room, returns the request that is dropped, which may be
    /// another.
    pub(super) fn push(&mut self, peer: PeerId, is_friend: bool, request: T) -> Option<T> {
        if is_friend { self.friends.push(peer, request) } else { self.others.push(peer, request) }
    }

    /// Returns the next request that may be served now. Each needs [`Turns::done`] at its end.
    pub(super) fn next(&mut self) -> Option<Turn<T>> {
        let turn = |of_friend| move |(peer, request)| Turn { peer, of_friend, request };
        self.friends.next().map(turn(true)).or_else(|| self.others.next().map(turn(false)))
    }

    /// Records that a request was served.
    pub(super) fn done(&mut self, peer: &PeerId, of_friend: bool) {
        if of_friend { self.friends.done(peer) } else { self.others.done(peer) }
    }

    /// Removes the waiting requests of a disconnected peer.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        self.friends.gone(peer);
        self.others.gone(peer);
    }

    /// Removes and returns the waiting requests for which `is_late` is true.
    pub(super) fn expire(&mut self, is_late: impl Fn(&T) -> bool) -> Vec<T> {
        let mut late = self.friends.expire(&is_late);
        late.extend(self.others.expire(&is_late));
        late
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::primitives::PublicKey;

    fn peer(number: u8) -> PeerId {
        PeerId(PublicKey([number; 32]))
    }

    #[test]
    fn one_peer_does_not_hold_every_slot() {
        let mut turns = Turns::new();
        for number in 0..64 {
            assert_eq!(turns.push(peer(1), false, number), None);
        }
        let mut served = 0;
        while turns.next().is_some() {
            served += 1;
        }
        assert_eq!(served, SERVED_PER_PEER);
        turns.push(peer(2), false, 99);
        assert_eq!(turns.next().map(|turn| turn.peer), Some(peer(2)), "others are served");
        turns.done(&peer(1), false);
        assert_eq!(turns.next().map(|turn| turn.request), Some(8), "in order");
    }

    #[test]
    fn peers_take_turns() {
        let mut turns = Turns::new();
        for number in 0..3 {
            turns.push(peer(1), false, number);
        }
        turns.push(peer(2), false, 10);
        turns.push(peer(3), false, 20);
        let order: Vec<_> = std::iter::from_fn(|| turns.next()).map(|turn| turn.request).collect();
        assert_eq!(order, [0, 10, 20, 1, 2]);
    }

    #[test]
    fn a_friend_is_served_though_strangers_hold_all_their_slots() {
        let mut turns = Turns::new();
        for number in 0..20 {
            for _ in 0..20 {
                turns.push(peer(number), false, 0);
            }
        }
        let strangers = std::iter::from_fn(|| turns.next()).count();
        assert_eq!(strangers, SERVED_AT_ONCE);
        assert_eq!(turns.push(peer(99), true, 7), None);
        assert_eq!(turns.next(), Some(Turn { peer: peer(99), of_friend: true, request: 7 }));
        turns.done(&peer(99), true);
        assert_eq!(turns.friends.served, 0);
    }

    #[test]
    fn the_longest_line_gives_way() {
        let mut turns = Turns::new();
        let refused =
            (0..MAX_QUEUED + 10).filter(|number| turns.push(peer(1), false, *number).is_some());
        assert_eq!(refused.count(), 10);
        let crowded_out = turns.push(peer(2), false, 1_000);
        assert_eq!(crowded_out, Some(MAX_QUEUED - 1), "the last of the longest line");
        assert_eq!(turns.others.queued, MAX_QUEUED);
    }

    #[test]
    fn late_requests_and_those_of_absent_peers_leave() {
        let mut turns = Turns::new();
        for number in 0..4 {
            turns.push(peer(1), false, number);
            turns.push(peer(2), true, number + 10);
        }
        assert_eq!(turns.expire(|request| *request < 2), [0, 1]);
        turns.gone(&peer(2));
        assert_eq!((turns.others.queued, turns.friends.queued), (2, 0));
        let left: Vec<_> = std::iter::from_fn(|| turns.next()).map(|turn| turn.request).collect();
        assert_eq!(left, [2, 3]);
    }

    proptest! {
        #[test]
        fn counts_are_right_and_everybody_gets_a_turn(
            steps in proptest::collection::vec((0..4_u8, 0..6_u8), 1..500),
        ) {
            let mut queue = Queue::new();
            let mut serving = Vec::new();
            for (step, who) in steps {
                match step {
                    0 | 1 => drop(queue.push(peer(who), who)),
                    2 => serving.extend(queue.next()),
                    _ if who == 0 => queue.gone(&peer(1)),
                    _ => if let Some((peer, _)) = serving.pop() {
                        queue.done(&peer);
                    },
                }
                let waiting: usize = queue.waiting.values().map(VecDeque::len).sum();
                prop_assert_eq!(queue.queued, waiting);
                prop_assert_eq!(queue.served, serving.len());
                prop_assert_eq!(queue.order.len(), queue.waiting.len());
                prop_assert!(queue.queued <= MAX_QUEUED && queue.served <= SERVED_AT_ONCE);
            }
        }
    }
}
