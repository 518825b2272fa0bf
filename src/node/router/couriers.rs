//! `couriers` decides which queued line is sent to which friend.
//!
//! A friend gets one line at a time, in the order written. The next one leaves once the friend has
//! answered, so a friend who does not answer delays only its own lines. The module has no I/O and
//! no clock.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    friends::{KeptLine, SentLine},
    primitives::PeerId,
    wire::MessageId,
};

/// The first pause after a line that was not delivered. It doubles up to [`MAX_PAUSE`].
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two attempts at a connected friend.
const MAX_PAUSE: Duration = Duration::from_mins(1);
/// Time without an answer after which a friend counts as slow to answer.
const PROMPT: Duration = Duration::from_millis(300);

/// A line that is sent to a friend.
pub(super) trait Parcel {
    /// The id of the line in answers.
    type Id: Copy + PartialEq + std::fmt::Debug;

    fn id(&self) -> Self::Id;
}

/// A line of our own.
impl Parcel for SentLine {
    type Id = MessageId;

    fn id(&self) -> MessageId {
        self.id
    }
}

/// A sealed line of another friend.
impl Parcel for KeptLine {
    type Id = u64;

    fn id(&self) -> u64 {
        self.order
    }
}

/// The next step for a friend's lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<L> {
    Send(Box<L>),
    /// Read the lines in the outbox, and pass them to [`Couriers::read`].
    Read,
    Rest,
}

/// The lines of one friend that are on their way.
#[derive(Debug)]
struct Flight<L: Parcel> {
    /// The line that was sent and not answered yet.
    current: Option<L::Id>,
    /// The lines to send after it.
    next: VecDeque<L>,
    /// True if the outbox may hold new lines since it was read.
    again: bool,
    since: Instant,
}

/// A pause after a failure.
#[derive(Debug)]
struct Pause {
    until: Instant,
    length: Duration,
}

/// The couriers of all friends.
#[derive(Debug)]
pub(super) struct Couriers<L: Parcel> {
    flights: HashMap<PeerId, Flight<L>>,
    pauses: HashMap<PeerId, Pause>,
}

impl<L: Parcel> Default for Couriers<L> {
    fn default() -> Self {
        Self { flights: HashMap::new(), pauses: HashMap::new() }
    }
}

impl<L: Parcel> Couriers<L> {
    /// Records that the outbox may hold lines for a connected friend.
    pub(super) fn call(&mut self, peer: PeerId, now: Instant) -> Step<L> {
        if let Some(flight) = self.flights.get_mut(&peer) {
            flight.again = true;
            return Step::Rest;
        }
        if self.pauses.get(&peer).is_some_and(|pause| pause.until > now) {
            return Step::Rest;
        }
        let (current, next) = (None, VecDeque::new());
        self.flights.insert(peer, Flight { current, next, again: false, since: now });
        Step::Read
    }

    /// Receives the lines in the outbox, in order.
    pub(super) fn read(&mut self, peer: PeerId, lines: Vec<L>, now: Instant) -> Step<L> {
        let Some(flight) = self.flights.get_mut(&peer) else { return Step::Rest };
        if flight.current.is_some() {
            return Step::Rest;
        }
        flight.next = lines.into();
        if flight.next.is_empty() && !std::mem::take(&mut flight.again) {
            self.flights.remove(&peer);
            self.pauses.remove(&peer);
            return Step::Rest;
        }
        self.proceed(peer, now)
    }

    /// Records the friend's final answer: it has the line, or refuses it.
    pub(super) fn answered(&mut self, peer: PeerId, id: L::Id, now: Instant) -> Step<L> {
        self.pauses.remove(&peer);
        match self.flights.get(&peer) {
            Some(flight) if flight.current == Some(id) => self.proceed(peer, now),
            Some(_) => Step::Rest,
            // This answers an earlier attempt, which counted as failed.
            None => self.call(peer, now),
        }
    }

    fn proceed(&mut self, peer: PeerId, now: Instant) -> Step<L> {
        let Some(flight) = self.flights.get_mut(&peer) else { return Step::Rest };
        flight.since = now;
        let line = flight.next.pop_front();
        flight.current = line.as_ref().map(Parcel::id);
        line.map_or(Step::Read, |line| Step::Send(Box::new(line)))
    }

    /// Records that a line was not delivered. The friend's lines wait for a while.
    pub(super) fn failed(&mut self, peer: PeerId, id: L::Id, now: Instant) {
        if self.flights.get(&peer).is_none_or(|flight| flight.current != Some(id)) {
            return;
        }
        self.flights.remove(&peer);
        let before = self.pauses.get(&peer).map(|pause| pause.length.saturating_mul(2));
        let length = before.unwrap_or(PAUSE).min(MAX_PAUSE);
        let until = now.checked_add(length).unwrap_or(now);
        self.pauses.insert(peer, Pause { until, length });
    }

    /// Returns the friends whose pause is over, each until it is called.
    pub(super) fn due(&self, now: Instant) -> Vec<PeerId> {
        let is_due = |(peer, pause): &(&PeerId, &Pause)| {
            pause.until <= now && !self.flights.contains_key(*peer)
        };
        self.pauses.iter().filter(is_due).map(|(peer, _)| *peer).collect()
    }

    /// Drops the state of a friend who has disconnected. Its lines stay in the outbox.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        self.flights.remove(peer);
        self.pauses.remove(peer);
    }

    /// True if the friend is expected to answer at once.
    pub(super) fn is_prompt(&self, peer: &PeerId, now: Instant) -> bool {
        let waits = |flight: &Flight<L>| now.saturating_duration_since(flight.since) > PROMPT;
        !self.pauses.contains_key(peer) && !self.flights.get(peer).is_some_and(waits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        primitives::{BlockHash, PublicKey, Signature},
        wire::SignedLine,
    };

    const FRIEND: PeerId = PeerId(PublicKey([1; 32]));
    const OTHER: PeerId = PeerId(PublicKey([2; 32]));

    fn line(counter: u64) -> SentLine {
        let sign = |_: &[u8]| Signature([0; 64]);
        let network = BlockHash([7; 32]);
        let line = SignedLine::sign(&network, OTHER, Some(FRIEND), 0, counter, "hi", &sign);
        let line = line.expect("short");
        SentLine { id: line.id(&network), line }
    }

    fn sent(step: &Step<SentLine>) -> Option<MessageId> {
        match step {
            Step::Send(line) => Some(line.id),
            Step::Read | Step::Rest => None,
        }
    }

    #[test]
    fn one_line_is_on_its_way_at_a_time_and_in_order() {
        let (mut couriers, now) = (Couriers::<SentLine>::default(), Instant::now());
        let lines = [line(1), line(2), line(3)];
        assert_eq!(couriers.call(FRIEND, now), Step::Read);
        assert_eq!(couriers.call(FRIEND, now), Step::Rest, "it is being read");
        let first = couriers.read(FRIEND, lines[..2].to_vec(), now);
        assert_eq!(sent(&first), Some(lines[0].id));
        assert_eq!(couriers.call(FRIEND, now), Step::Rest, "a third line is written meanwhile");
        assert_eq!(couriers.read(FRIEND, lines.to_vec(), now), Step::Rest, "a late second reading");
        assert_eq!(couriers.answered(FRIEND, lines[1].id, now), Step::Rest, "not yet sent");
        assert_eq!(sent(&couriers.answered(FRIEND, lines[0].id, now)), Some(lines[1].id));
        assert_eq!(couriers.answered(FRIEND, lines[1].id, now), Step::Read);
        assert_eq!(sent(&couriers.read(FRIEND, vec![lines[2].clone()], now)), Some(lines[2].id));
        assert_eq!(couriers.answered(FRIEND, lines[2].id, now), Step::Read);
        assert_eq!(couriers.read(FRIEND, vec![], now), Step::Read, "one more call came meanwhile");
        assert_eq!(couriers.read(FRIEND, vec![], now), Step::Rest);
        assert_eq!(couriers.call(FRIEND, now), Step::Read);
    }

    #[test]
    fn a_friend_who_does_not_answer_is_tried_again_and_delays_nobody_else() {
        let (mut couriers, mut now) = (Couriers::<SentLine>::default(), Instant::now());
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(couriers.call(FRIEND, now), Step::Read);
            assert_eq!(sent(&couriers.read(FRIEND, vec![line(1)], now)), Some(line(1).id));
            couriers.failed(FRIEND, line(1).id, now);
            assert_eq!(couriers.call(FRIEND, now), Step::Rest);
            assert_eq!(couriers.call(OTHER, now), Step::Read);
            assert!(!couriers.is_prompt(&FRIEND, now) && couriers.is_prompt(&OTHER, now));
            couriers.gone(&OTHER);
            assert_eq!(couriers.due(now), []);
            now += Duration::from_secs(pause);
            assert_eq!(couriers.due(now), [FRIEND]);
        }
        couriers.gone(&FRIEND);
        assert_eq!(couriers.call(FRIEND, now), Step::Read, "a new connection is tried at once");
    }
}
