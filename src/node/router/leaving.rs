//! `leaving` decides which mutual friends get a queued line for a friend who is away.
//!
//! The lines for one receiver go one after the other, so that each carrier gets them in the order
//! written. A line is offered at once to as many friends as it still needs. The module has no I/O
//! and no clock.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    friends::{MAX_CARRIERS, ToLeave},
    primitives::PeerId,
    wire::{MessageId, SealedLine},
};

/// Pause after a friend did not answer.
const FAILED_PAUSE: Duration = Duration::from_mins(1);
/// Pause after a friend had no room.
const FULL_PAUSE: Duration = Duration::from_mins(10);
/// Pause after a friend did not know the receiver as its friend.
const STRANGER_PAUSE: Duration = Duration::from_hours(1);
/// The most pauses that are remembered: one for each pair of friend and receiver.
const MAX_PAUSES: usize = 4_096;

/// The answer of a friend to an offered line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offered {
    /// The line is on the friend's disk.
    Taken,
    /// The friend keeps no further lines now.
    Full,
    /// The friend keeps no lines between these two peers.
    NotFriends,
    /// No answer came.
    Failed,
}

/// The next step for the lines of one receiver.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Read the lines that one of these friends could keep, and pass them to [`Leaving::read`].
    Read(Vec<PeerId>),
    /// Offer the line to these friends.
    Offer { id: MessageId, line: Box<SealedLine>, with: Vec<PeerId> },
    /// These friends keep the line.
    Left { id: MessageId, with: Vec<PeerId> },
}

/// The lines of one receiver that are being left.
#[derive(Debug)]
struct Flight {
    candidates: Vec<PeerId>,
    /// The line that is being offered.
    current: Option<MessageId>,
    /// Friends whose answer is awaited.
    awaited: HashSet<PeerId>,
    taken: Vec<PeerId>,
    next: VecDeque<ToLeave>,
    /// True if there is a reason to read again.
    again: bool,
}

/// The lines that are being left, by receiver.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    flights: HashMap<PeerId, Flight>,
    /// The end of the pause for each pair of friend and receiver.
    pauses: HashMap<(PeerId, PeerId), Instant>,
}

impl Leaving {
    /// Begins to leave the lines for a receiver with the candidates that do not pause.
    pub(super) fn call(
        &mut self,
        to: PeerId,
        mut candidates: Vec<PeerId>,
        now: Instant,
    ) -> Option<Next> {
        self.pauses.retain(|_, until| *until > now);
        candidates.retain(|carrier| !self.pauses.contains_key(&(*carrier, to)));
        // The order is fixed for a receiver and differs between receivers. So few friends carry all
        // lines of one receiver, and different friends carry those of others.
        candidates.sort_by_key(|carrier| distance(carrier, &to));
        if let Some(flight) = self.flights.get_mut(&to) {
            flight.again = true;
            flight.candidates = candidates;
            return None;
        }
        if candidates.is_empty() {
            return None;
        }
        let flight = Flight {
            candidates: candidates.clone(),
            current: None,
            awaited: HashSet::new(),
            taken: Vec::new(),
            next: VecDeque::new(),
            again: false,
        };
        self.flights.insert(to, flight);
        Some(Next::Read(candidates))
    }

    /// Takes the lines that were read.
    pub(super) fn read(&mut self, to: PeerId, lines: Vec<ToLeave>) -> Option<Next> {
        let flight = self.flights.get_mut(&to).filter(|flight| flight.current.is_none())?;
        flight.next = lines.into();
        let is_over = flight.next.is_empty() && !std::mem::take(&mut flight.again);
        if is_over || flight.candidates.is_empty() {
            self.flights.remove(&to);
            return None;
        }
        self.proceed(to)
    }

    /// Offers the next line, or reads further ones.
    fn proceed(&mut self, to: PeerId) -> Option<Next> {
        let flight = self.flights.get_mut(&to)?;
        flight.current = None;
        while let Some(ToLeave { id, sealed, with: held }) = flight.next.pop_front() {
            let lacks = MAX_CARRIERS.saturating_sub(held.len());
            let fresh = flight.candidates.iter().filter(|carrier| !held.contains(carrier));
            let with: Vec<PeerId> = fresh.take(lacks).copied().collect();
            if !with.is_empty() {
                flight.current = Some(id);
                flight.awaited = with.iter().copied().collect();
                flight.taken.clear();
                return Some(Next::Offer { id, line: Box::new(sealed), with });
            }
        }
        if flight.candidates.is_empty() {
            self.flights.remove(&to);
            return None;
        }
        Some(Next::Read(flight.candidates.clone()))
    }

    /// Records the answer of a friend. Returns the steps to take, in order.
    pub(super) fn answered(
        &mut self,
        to: PeerId,
        id: MessageId,
        carrier: PeerId,
        offered: Offered,
        now: Instant,
    ) -> Vec<Next> {
        let pause = match offered {
            Offered::Taken => None,
            Offered::Full => Some(FULL_PAUSE),
            Offered::NotFriends => Some(STRANGER_PAUSE),
            Offered::Failed => Some(FAILED_PAUSE),
        };
        if let Some(until) = pause.and_then(|pause| now.checked_add(pause))
            && self.pauses.len() < MAX_PAUSES
        {
            self.pauses.insert((carrier, to), until);
        }
        let Some(flight) = self.flights.get_mut(&to) else { return Vec::new() };
        if pause.is_some() {
            flight.candidates.retain(|candidate| *candidate != carrier);
        }
        if flight.current != Some(id) || !flight.awaited.remove(&carrier) {
            return Vec::new();
        }
        if offered == Offered::Taken {
            flight.taken.push(carrier);
        }
        if !flight.awaited.is_empty() {
            return Vec::new();
        }
        let with = std::mem::take(&mut flight.taken);
        let left = (!with.is_empty()).then_some(Next::Left { id, with });
        left.into_iter().chain(self.proceed(to)).collect()
    }

    /// Stops leaving lines for a receiver who has connected.
    pub(super) fn here(&mut self, to: &PeerId) {
        self.flights.remove(to);
    }
}

fn distance(one: &PeerId, other: &PeerId) -> Vec<u8> {
    one.0.0.iter().zip(other.0.0).map(|(one, other)| one ^ other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::PublicKey;

    const TO: PeerId = peer(0);

    const fn peer(number: u8) -> PeerId {
        PeerId(PublicKey([number; 32]))
    }

    fn line(number: u8, with: &[u8]) -> ToLeave {
        let sealed = SealedLine { to: TO, sealed: vec![number].into() };
        let with = with.iter().map(|number| peer(*number)).collect();
        ToLeave { id: MessageId([number; 16]), sealed, with }
    }

    /// Returns the number of the offered line, and the friends that it is offered to.
    fn offered(next: Option<&Next>) -> (u8, Vec<PeerId>) {
        match next {
            Some(Next::Offer { id, with, .. }) => (id.0[0], with.clone()),
            other => panic!("no offer: {other:?}"),
        }
    }

    fn peers(numbers: &[u8]) -> Vec<PeerId> {
        numbers.iter().map(|number| peer(*number)).collect()
    }

    #[test]
    fn a_line_goes_to_three_friends_at_once_and_the_next_one_after_it() {
        let (mut leaving, now) = (Leaving::default(), Instant::now());
        let read = leaving.call(TO, peers(&[4, 2, 1, 3]), now);
        assert_eq!(read, Some(Next::Read(peers(&[1, 2, 3, 4]))));
        assert_eq!(leaving.call(TO, peers(&[1, 2, 3, 4]), now), None, "it is being read");
        let offer = leaving.read(TO, vec![line(1, &[]), line(2, &[2, 9])]);
        assert_eq!(offered(offer.as_ref()), (1, peers(&[1, 2, 3])));
        let id = MessageId([1; 16]);
        for carrier in [1, 3] {
            assert_eq!(leaving.answered(TO, id, peer(carrier), Offered::Taken, now), []);
        }
        let steps = leaving.answered(TO, id, peer(2), Offered::Taken, now);
        assert_eq!(steps[0], Next::Left { id, with: peers(&[1, 3, 2]) });
        assert_eq!(offered(steps.get(1)), (2, peers(&[1])), "two keep it already");
        let steps = leaving.answered(TO, MessageId([2; 16]), peer(1), Offered::Taken, now);
        assert_eq!(steps[1], Next::Read(peers(&[1, 2, 3, 4])));
        assert_eq!(
            leaving.read(TO, vec![]),
            Some(Next::Read(peers(&[1, 2, 3, 4]))),
            "called again"
        );
        assert_eq!(leaving.read(TO, vec![]), None);
        assert!(leaving.flights.is_empty());
    }

    #[test]
    fn a_friend_who_does_not_take_a_line_is_left_out_for_a_while() {
        let (mut leaving, now) = (Leaving::default(), Instant::now());
        leaving.call(TO, peers(&[1, 2, 3, 4]), now);
        leaving.read(TO, vec![line(1, &[]), line(2, &[])]);
        let id = MessageId([1; 16]);
        leaving.answered(TO, id, peer(1), Offered::NotFriends, now);
        leaving.answered(TO, id, peer(2), Offered::Failed, now);
        let steps = leaving.answered(TO, id, peer(3), Offered::Full, now);
        assert_eq!(steps.len(), 1, "nobody has taken it");
        assert_eq!(offered(steps.first()), (2, peers(&[4])));
        assert_eq!(leaving.answered(TO, id, peer(4), Offered::Taken, now), [], "a late answer");
        leaving.here(&TO);
        let all = || peers(&[1, 2, 3]);
        let later = |minutes: u64| now + Duration::from_mins(minutes);
        let mut candidates = |minutes: u64| {
            leaving.here(&TO);
            match leaving.call(TO, all(), later(minutes)) {
                Some(Next::Read(candidates)) => candidates,
                _ => Vec::new(),
            }
        };
        assert_eq!(candidates(0), []);
        assert_eq!(candidates(2), peers(&[2]));
        assert_eq!(candidates(11), peers(&[2, 3]));
        assert_eq!(candidates(61), all());
    }

    #[test]
    fn nothing_is_left_without_friends_or_once_the_receiver_is_here() {
        let (mut leaving, now) = (Leaving::default(), Instant::now());
        assert_eq!(leaving.call(TO, vec![], now), None);
        leaving.call(TO, peers(&[1]), now);
        leaving.here(&TO);
        assert_eq!(leaving.read(TO, vec![line(1, &[])]), None);
        leaving.call(TO, peers(&[1]), now);
        leaving.read(TO, vec![line(1, &[])]);
        leaving.here(&TO);
        let late = leaving.answered(TO, MessageId([1; 16]), peer(1), Offered::Taken, now);
        assert_eq!(late, [], "the line is delivered directly");
    }
}
