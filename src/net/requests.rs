//! Bookkeeping of the node's requests and of its unread responses, without libp2p.
//!
//! # Invariants
//! - Each request of the node ends exactly once.
//! - The responses that peers have yet to read are bounded for each peer and in total.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::OwnedPermit;

use super::{
    arrival::Arrival,
    event::{NetEvent, RequestError},
    limits::{
        MAX_IN_FLIGHT_PER_PEER, MAX_SENDING, MAX_SENDING_PER_PEER, MAX_SENDING_STRANGER,
        MAX_SENDING_STRANGERS, MAX_SYNC_IN_FLIGHT, MAX_WAITING_PER_PEER, MAX_WAITING_TIME,
        SMALL_RESPONSE,
    },
    metrics::Meter,
};
use crate::{
    primitives::PeerId,
    wire::{Protocol, Response},
};

/// The right to end one request. It holds the slot of the response in the node's queue of events.
///
/// A ticket that is dropped ends its request as shut down, so that each request ends.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) peer: PeerId,
    id: u64,
    slot: Option<OwnedPermit<NetEvent>>,
    meter: Meter,
    /// The bytes of the answer that have arrived.
    pub(super) arrival: Arrival,
    /// The number of bytes that the node was told of.
    told: usize,
}

impl Ticket {
    pub(super) fn new(peer: PeerId, id: u64, slot: OwnedPermit<NetEvent>, meter: Meter) -> Self {
        Self { peer, id, slot: Some(slot), meter, arrival: Arrival::default(), told: 0 }
    }

    pub(super) fn end(mut self, result: Result<Response, RequestError>) {
        self.send(result);
    }

    fn send(&mut self, result: Result<Response, RequestError>) {
        if let Some(slot) = self.slot.take() {
            self.meter.ended(&result);
            slot.send(NetEvent::ResponseReceived { peer: self.peer, id: self.id, result });
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.send(Err(RequestError::ShutDown));
    }
}

/// A request of the node that is not sent yet.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) ticket: Ticket,
    pub(super) protocol: Protocol,
    pub(super) bytes: Vec<u8>,
    queued: Instant,
}

impl Job {
    pub(super) fn new(ticket: Ticket, protocol: Protocol, bytes: Vec<u8>, now: Instant) -> Self {
        Self { ticket, protocol, bytes, queued: now }
    }
}

#[derive(Debug, Default)]
struct Lane {
    in_flight: usize,
    /// The number of these on `sync`.
    on_sync: usize,
    waiting: VecDeque<Job>,
}

/// The node's requests to peers. `Key` is the transport's name of a request in flight.
#[derive(Debug)]
pub(super) struct Outbound<Key> {
    lanes: HashMap<PeerId, Lane>,
    flying: HashMap<Key, (Ticket, Instant)>,
}

impl<Key: Hash + Eq + Copy> Outbound<Key> {
    pub(super) fn new() -> Self {
        Self { lanes: HashMap::new(), flying: HashMap::new() }
    }

    /// Queues a request, or ends it if too many wait for its peer.
    pub(super) fn push(&mut self, job: Job) {
        let lane = self.lanes.entry(job.ticket.peer).or_default();
        if lane.waiting.len() >= MAX_WAITING_PER_PEER {
            let peer = job.ticket.peer;
            job.ticket.end(Err(RequestError::TooMany(peer)));
        } else {
            lane.waiting.push_back(job);
        }
    }

    /// Returns the next request to the peer if one may be sent now. The caller sends it and calls
    /// [`Outbound::sent`]. Without `may_sync`, requests on `sync` wait.
    pub(super) fn next(&mut self, peer: &PeerId, may_sync: bool) -> Option<Job> {
        let lane = self.lanes.get_mut(peer)?;
        if lane.in_flight >= MAX_IN_FLIGHT_PER_PEER {
            return None;
        }
        let sync_may = may_sync && lane.on_sync < MAX_SYNC_IN_FLIGHT;
        let place = lane.waiting.iter().position(|job| sync_may || job.protocol != Protocol::Sync);
        let job = place.and_then(|place| lane.waiting.remove(place));
        match &job {
            Some(job) => {
                lane.in_flight = lane.in_flight.saturating_add(1);
                if job.protocol == Protocol::Sync {
                    lane.on_sync = lane.on_sync.saturating_add(1);
                }
            }
            None if lane.in_flight == 0 && lane.waiting.is_empty() => {
                self.lanes.remove(peer);
            }
            None => {}
        }
        job
    }

    pub(super) fn sent(&mut self, key: Key, ticket: Ticket, now: Instant) {
        self.flying.insert(key, (ticket, now));
    }

    /// True if requests to the peer are in flight.
    pub(super) fn is_busy(&self, peer: &PeerId) -> bool {
        self.lanes.get(peer).is_some_and(|lane| lane.in_flight > 0)
    }

    /// Returns the answers that have grown since the last call: id of the request, and bytes so
    /// far.
    pub(super) fn growing(&mut self) -> Vec<(u64, usize)> {
        let mut growing = Vec::new();
        for (ticket, _) in self.flying.values_mut() {
            let bytes = ticket.arrival.len();
            if bytes > ticket.told {
                ticket.told = bytes;
                growing.push((ticket.id, bytes));
            }
        }
        growing
    }

    /// Records that a request has ended on the wire. Returns its ticket if it had not ended before.
    pub(super) fn landed(&mut self, key: Key) -> Option<Ticket> {
        let (ticket, _) = self.flying.remove(&key)?;
        if let Some(lane) = self.lanes.get_mut(&ticket.peer) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
            if ticket.meter.protocol() == Protocol::Sync {
                lane.on_sync = lane.on_sync.saturating_sub(1);
            }
        }
        Some(ticket)
    }

    /// Ends the queued requests to a peer that is gone. The transport ends those in flight.
    pub(super) fn disconnected(&mut self, peer: &PeerId) {
        let Some(lane) = self.lanes.get_mut(peer) else { return };
        for job in std::mem::take(&mut lane.waiting) {
            job.ticket.end(Err(RequestError::Disconnected(*peer)));
        }
        if lane.in_flight == 0 {
            self.lanes.remove(peer);
        }
    }

    /// Ends the requests to these peers, as if the peers had disconnected. Their connections are
    /// dead, or the machine slept, so that time-outs mean nothing.
    pub(super) fn end(&mut self, is_lost: impl Fn(&PeerId) -> bool) {
        let peers: Vec<PeerId> = self.lanes.keys().filter(|peer| is_lost(peer)).copied().collect();
        for peer in &peers {
            self.disconnected(peer);
            self.lanes.remove(peer);
        }
        for (_, (ticket, _)) in self.flying.extract_if(|_, (ticket, _)| is_lost(&ticket.peer)) {
            let peer = ticket.peer;
            ticket.end(Err(RequestError::Disconnected(peer)));
        }
    }

    /// Ends the requests that were queued for too long, and those in flight for longer than
    /// `flight_limit`. The latter guards against a fault of the transport.
    pub(super) fn expire(&mut self, now: Instant, flight_limit: Duration) {
        for lane in self.lanes.values_mut() {
            // The queue is in order of time, oldest first.
            while lane
                .waiting
                .front()
                .is_some_and(|job| now.duration_since(job.queued) >= MAX_WAITING_TIME)
            {
                if let Some(job) = lane.waiting.pop_front() {
                    let peer = job.ticket.peer;
                    job.ticket.end(Err(RequestError::TimedOut { peer, limit: MAX_WAITING_TIME }));
                }
            }
        }
        let late: Vec<Key> = self
            .flying
            .iter()
            .filter(|(_, (_, since))| now.duration_since(*since) >= flight_limit)
            .map(|(key, _)| *key)
            .collect();
        for key in late {
            if let Some(ticket) = self.landed(key) {
                let peer = ticket.peer;
                ticket.end(Err(RequestError::TimedOut { peer, limit: flight_limit }));
            }
        }
    }
}

/// The responses that the transport holds until the peer reads them. They are bounded, since a peer
/// that does not read could otherwise fill the memory.
#[derive(Debug)]
pub(super) struct Sending<Key> {
    answers: HashMap<Key, (PeerId, usize, bool)>,
    per_peer: HashMap<PeerId, (usize, usize)>,
    bytes: usize,
    /// Bytes to peers that are no friends.
    strangers: usize,
}

impl<Key: Hash + Eq> Sending<Key> {
    pub(super) fn new() -> Self {
        Self { answers: HashMap::new(), per_peer: HashMap::new(), bytes: 0, strangers: 0 }
    }

    /// True if one more response of this size may be sent. The first one to a friend, and a small
    /// first one to any peer, always may.
    pub(super) fn has_room(&self, peer: &PeerId, size: usize, is_friend: bool) -> bool {
        let of_peer = self.per_peer.get(peer).map(|(_, bytes)| bytes.saturating_add(size));
        if of_peer.is_none() && (is_friend || size <= SMALL_RESPONSE) {
            return true;
        }
        let of_peer = of_peer.unwrap_or(size);
        let in_all = self.bytes.saturating_add(size) <= MAX_SENDING;
        if is_friend {
            return in_all && of_peer <= MAX_SENDING_PER_PEER;
        }
        let strangers = self.strangers.saturating_add(size);
        in_all && of_peer <= MAX_SENDING_STRANGER && strangers <= MAX_SENDING_STRANGERS
    }

    pub(super) fn begun(&mut self, key: Key, peer: PeerId, size: usize, is_friend: bool) {
        self.answers.insert(key, (peer, size, is_friend));
        if !is_friend {
            self.strangers = self.strangers.saturating_add(size);
        }
        let (count, bytes) = self.per_peer.entry(peer).or_default();
        *count = count.saturating_add(1);
        *bytes = bytes.saturating_add(size);
        self.bytes = self.bytes.saturating_add(size);
    }

    /// Records that a response was sent or has failed. Returns its peer if it was known.
    pub(super) fn ended(&mut self, key: &Key) -> Option<PeerId> {
        let (peer, size, is_friend) = self.answers.remove(key)?;
        if !is_friend {
            self.strangers = self.strangers.saturating_sub(size);
        }
        self.bytes = self.bytes.saturating_sub(size);
        if let Some((count, bytes)) = self.per_peer.get_mut(&peer) {
            *count = count.saturating_sub(1);
            *bytes = bytes.saturating_sub(size);
            if *count == 0 {
                self.per_peer.remove(&peer);
            }
        }
        Some(peer)
    }

    pub(super) fn is_sending(&self, peer: &PeerId) -> bool {
        self.per_peer.contains_key(peer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::sync::mpsc;

    use super::*;
    use crate::{primitives::PublicKey, telemetry::metrics::NetMetrics};

    fn peer(number: u8) -> PeerId {
        PeerId(PublicKey([number; 32]))
    }

    fn job(events: &mpsc::Sender<NetEvent>, to: u8, id: u64, now: Instant) -> Job {
        let slot = events.clone().try_reserve_owned().unwrap();
        let meter = Meter::new(NetMetrics::default(), Protocol::Sync);
        Job::new(Ticket::new(peer(to), id, slot, meter), Protocol::Sync, Vec::new(), now)
    }

    fn ended(receiver: &mut mpsc::Receiver<NetEvent>) -> Vec<(u64, Option<RequestError>)> {
        let mut ends = Vec::new();
        while let Ok(NetEvent::ResponseReceived { id, result, .. }) = receiver.try_recv() {
            ends.push((id, result.err()));
        }
        ends
    }

    #[test]
    fn no_more_than_the_limit_is_on_its_way_to_one_peer() {
        let (events, mut receiver) = mpsc::channel(2_000);
        let now = Instant::now();
        let mut outbound = Outbound::new();
        let total = MAX_WAITING_PER_PEER as u64 + 10;
        for id in 0..total {
            outbound.push(job(&events, 1, id, now));
        }
        assert_eq!(ended(&mut receiver).len(), 10, "the queue is bounded");
        let mut key = 0_u64;
        while let Some(job) = outbound.next(&peer(1), true) {
            outbound.sent(key, job.ticket, now);
            key += 1;
        }
        assert_eq!(key, MAX_SYNC_IN_FLIGHT as u64);
        outbound.landed(0).unwrap().end(Err(RequestError::Unsupported(peer(1))));
        assert!(outbound.next(&peer(1), true).is_some(), "an ended request makes room");
        assert!(outbound.landed(0).is_none(), "a request ends once");
    }

    #[test]
    fn a_peer_that_leaves_ends_what_waits_for_it() {
        let (events, mut receiver) = mpsc::channel(16);
        let now = Instant::now();
        let mut outbound = Outbound::<u64>::new();
        outbound.push(job(&events, 1, 1, now));
        outbound.push(job(&events, 2, 2, now));
        outbound.disconnected(&peer(1));
        assert_eq!(ended(&mut receiver), [(1, Some(RequestError::Disconnected(peer(1))))]);
    }

    #[test]
    fn after_sleep_no_request_times_out() {
        let (events, mut receiver) = mpsc::channel(16);
        let now = Instant::now();
        let mut outbound = Outbound::<u64>::new();
        outbound.push(job(&events, 1, 1, now));
        outbound.push(job(&events, 1, 2, now));
        let flying = outbound.next(&peer(1), true).unwrap();
        outbound.sent(1, flying.ticket, now);
        outbound.push(job(&events, 2, 3, now));
        let other = outbound.next(&peer(2), true).unwrap();
        outbound.sent(2, other.ticket, now);
        outbound.end(|lost| *lost == peer(1));
        assert!(outbound.is_busy(&peer(2)) && !outbound.is_busy(&peer(1)));
        let landed = outbound.landed(2).expect("it still waits for its answer");
        assert_eq!(landed.id, 3);
        outbound.expire(now + Duration::from_hours(1), Duration::from_mins(1));
        let ends = ended(&mut receiver);
        assert_eq!(ends.len(), 2);
        assert!(ends.iter().all(|(_, it)| matches!(it, Some(RequestError::Disconnected(_)))));
        assert!(outbound.landed(1).is_none());
    }

    #[test]
    fn what_waits_too_long_times_out() {
        let (events, mut receiver) = mpsc::channel(16);
        let now = Instant::now();
        let mut outbound = Outbound::<u64>::new();
        outbound.push(job(&events, 1, 1, now));
        outbound.push(job(&events, 1, 2, now));
        let flying = outbound.next(&peer(1), true).unwrap();
        outbound.sent(1, flying.ticket, now);
        outbound.expire(now, Duration::from_mins(1));
        assert!(ended(&mut receiver).is_empty());
        outbound.expire(now + Duration::from_secs(61), Duration::from_mins(1));
        assert!(
            ended(&mut receiver)
                .iter()
                .all(|(_, error)| matches!(error, Some(RequestError::TimedOut { .. }))),
            "one for each"
        );
    }

    #[test]
    fn answers_that_strangers_do_not_read_are_bounded_in_all() {
        let mut sending = Sending::new();
        let block = 2 << 20;
        let mut sent = 0;
        for number in 0..200_u8 {
            while sending.has_room(&peer(number), block, false) {
                sending.begun(sent, peer(number), block, false);
                sent += 1;
            }
        }
        assert_eq!(sent * block, MAX_SENDING_STRANGERS);
        assert!(sending.has_room(&peer(201), SMALL_RESPONSE, false), "any peer gets Busy");
        assert!(sending.has_room(&peer(202), 2 * block, true), "a friend is served");
        for key in 0..sent {
            sending.ended(&key);
        }
        assert_eq!((sending.strangers, sending.bytes), (0, 0));
    }

    #[test]
    fn what_one_peer_and_all_peers_do_not_read_is_bounded_by_level() {
        let part = 1 << 20;
        for (is_friend, of_one) in [(false, MAX_SENDING_STRANGER), (true, MAX_SENDING_PER_PEER)] {
            let (mut sending, mut sent) = (Sending::new(), 0);
            while sending.has_room(&peer(1), part, is_friend) {
                sending.begun(sent, peer(1), part, is_friend);
                sent += 1;
            }
            assert_eq!(sent * part, of_one);
        }
        let (mut sending, mut sent) = (Sending::new(), 0);
        for number in 0..8 {
            // Their first answers are always sent.
            sending.begun(sent, peer(number), part, true);
            sent += 1;
        }
        for number in 0..8 {
            while sending.has_room(&peer(number), part, true) {
                sending.begun(sent, peer(number), part, true);
                sent += 1;
            }
        }
        assert_eq!(sent * part, MAX_SENDING, "friends' answers too");
    }

    #[test]
    fn a_peer_that_does_not_read_is_not_sent_more_and_others_are() {
        let mut sending = Sending::new();
        assert!(sending.has_room(&peer(1), MAX_SENDING_PER_PEER * 2, true), "the first may always");
        sending.begun(1, peer(1), MAX_SENDING_PER_PEER, true);
        assert!(!sending.has_room(&peer(1), 1, true));
        assert!(sending.has_room(&peer(2), 1, false));
        assert_eq!(sending.ended(&1), Some(peer(1)));
        assert_eq!(sending.ended(&1), None);
        assert!(
            !sending.is_sending(&peer(1))
                && sending.has_room(&peer(1), 1, true)
                && sending.bytes == 0
        );
    }

    proptest! {
        #[test]
        fn every_request_ends_exactly_once(
            steps in proptest::collection::vec((0..5_u8, 0..3_u8), 1..200),
        ) {
            let (events, mut receiver) = mpsc::channel(1_000);
            let start = Instant::now();
            let mut outbound = Outbound::new();
            let (mut ids, mut keys, mut elapsed) = (0_u64, 0_u64, 0_u64);
            let mut ends = Vec::new();
            for (step, to) in steps {
                let now = start + Duration::from_secs(elapsed);
                match step {
                    0 => {
                        outbound.push(job(&events, to, ids, now));
                        ids += 1;
                    }
                    1 => {
                        while let Some(job) = outbound.next(&peer(to), true) {
                            outbound.sent(keys, job.ticket, now);
                            keys += 1;
                        }
                    }
                    2 => {
                        if let Some(ticket) = outbound.landed(keys / 2) {
                            ticket.end(Err(RequestError::Unsupported(peer(to))));
                        }
                    }
                    3 => outbound.disconnected(&peer(to)),
                    _ => {
                        elapsed += 7;
                        outbound.expire(now, Duration::from_secs(45));
                    }
                }
                ends.extend(ended(&mut receiver));
            }
            drop(outbound);
            ends.extend(ended(&mut receiver));
            let mut ended_ids: Vec<_> = ends.iter().map(|(id, _)| *id).collect();
            ended_ids.sort_unstable();
            prop_assert_eq!(ended_ids, (0..ids).collect::<Vec<_>>());
        }
    }
}
