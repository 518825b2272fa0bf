//! Rate limits of chat and profiles: a token bucket for each friend and for each introduced peer,
//! and one that all strangers share.
//!
//! # Security
//! The bucket of all strangers decides whether a line is stored, and never alone whether it is
//! forwarded. One author could otherwise keep it empty on all nodes, and silence all strangers. So
//! each peer has a bucket for lines of strangers that it forwards and that are not stored.

use std::{collections::HashMap, hash::Hash};

use crate::{
    peers::Level,
    primitives::{Bucket, Moment, PeerId, Rate},
};

/// The rate of lines from one friend. The burst is a whole outbox, which a friend delivers when it
/// comes back online.
const FRIEND_RATE: Rate = Rate { burst: super::MAX_OUTBOX_PER_FRIEND, per_second: 5 };
/// The rate of lines, goodbyes, arrivals and new profiles of one introduced peer, and of lines and
/// goodbyes from one that the user wrote to.
const INTRODUCED_RATE: Rate = Rate { burst: 50, per_second: 1 };
/// The rate of missed lines to all from one author. The burst is as many lines as are kept of one
/// author.
const MISSED_RATE: Rate = Rate { burst: 5_000, per_second: 5 };
/// The rate of lines, goodbyes, profiles and stored addresses of all strangers together. Keys cost
/// nothing, so a bucket for each stranger would limit nothing.
const STRANGERS_RATE: Rate = Rate { burst: 100, per_second: 1 };
/// The rate of lines and goodbyes of strangers that are forwarded for a stranger, although they are
/// not stored. Friends and introduced peers have [`FRIEND_RATE`] and [`INTRODUCED_RATE`] for these.
const FORWARD_RATE: Rate = Rate { burst: 10, per_second: 1 };
/// The rate of notices about strangers, in seconds: three at once, then one a minute.
const NOTICE_RATE: Rate = Rate { burst: 180, per_second: 1 };
/// Tokens of [`NOTICE_RATE`] that one notice takes.
const NOTICE_TOKENS: u64 = 60;
/// Number of buckets from which on full ones are dropped. A full bucket is as good as a new one.
const MAX_BUCKETS: usize = super::MAX_PROFILES_KEPT;

/// The token buckets.
#[derive(Debug)]
pub(super) struct Rates {
    /// Buckets of friends and of introduced peers.
    buckets: HashMap<(PeerId, Level), Bucket>,
    /// Buckets for missed lines, of authors who are no strangers or whom the user wrote to.
    missed: HashMap<PeerId, Bucket>,
    /// Buckets of forwarding peers, for lines of strangers that are not stored.
    forwarded: HashMap<(PeerId, Level), Bucket>,
    strangers: Bucket,
    notices: Bucket,
}

/// Takes a token from a bucket, which is full if it is new.
fn take_from<Key: Hash + Eq>(
    buckets: &mut HashMap<Key, Bucket>,
    key: Key,
    rate: Rate,
    now: Moment,
) -> bool {
    if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(&key) {
        buckets.retain(|_, bucket| !bucket.is_full(now));
    }
    buckets.entry(key).or_insert_with(|| Bucket::new(rate, now)).take(1, now)
}

impl Rates {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            buckets: HashMap::new(),
            missed: HashMap::new(),
            forwarded: HashMap::new(),
            strangers: Bucket::new(STRANGERS_RATE, now),
            notices: Bucket::new(NOTICE_RATE, now),
        }
    }

    /// Takes one line from the peer's bucket, or from the one that strangers share. Returns true if
    /// the bucket was not empty.
    pub(super) fn take(&mut self, peer: PeerId, level: Level, now: Moment) -> bool {
        let rate = match level {
            Level::Stranger => return self.strangers.take(1, now),
            Level::Introduced => INTRODUCED_RATE,
            Level::Friend => FRIEND_RATE,
        };
        take_from(&mut self.buckets, (peer, level), rate, now)
    }

    /// Takes one line from the bucket of a forwarding peer. Returns true if a stranger's line that
    /// is not stored may be forwarded.
    pub(super) fn take_forwarded(&mut self, by: PeerId, level: Level, now: Moment) -> bool {
        let rate = match level {
            Level::Stranger => FORWARD_RATE,
            Level::Introduced => INTRODUCED_RATE,
            Level::Friend => FRIEND_RATE,
        };
        take_from(&mut self.forwarded, (by, level), rate, now)
    }

    /// Takes one missed line from its author's bucket. Returns true if the bucket was not empty.
    pub(super) fn take_missed(&mut self, author: PeerId, now: Moment) -> bool {
        take_from(&mut self.missed, author, MISSED_RATE, now)
    }

    /// Takes one notice about a stranger. Returns true if it may be shown.
    pub(super) fn take_notice(&mut self, now: Moment) -> bool {
        self.notices.take(NOTICE_TOKENS, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::PublicKey;

    fn peer(number: u8) -> PeerId {
        PeerId(PublicKey([number; 32]))
    }

    fn taken(
        rates: &mut Rates,
        peers: impl Iterator<Item = u8>,
        level: Level,
        at: Moment,
    ) -> usize {
        peers.filter(|number| rates.take(peer(*number), level, at)).count()
    }

    #[test]
    fn a_friend_may_empty_an_outbox_at_once_and_then_five_lines_a_second() {
        let mut rates = Rates::new(0);
        let one = || std::iter::repeat_n(1, 2_000);
        assert_eq!(taken(&mut rates, one(), Level::Friend, 0), 1_000);
        assert_eq!(taken(&mut rates, one(), Level::Friend, 1_000), 5);
        assert!(rates.take(peer(2), Level::Friend, 1_000), "another friend has its own budget");
    }

    #[test]
    fn an_introduction_earns_a_small_budget_of_its_own() {
        let mut rates = Rates::new(0);
        assert_eq!(taken(&mut rates, std::iter::repeat_n(1, 2_000), Level::Introduced, 0), 50);
        assert!(rates.take(peer(2), Level::Introduced, 0));
        assert!(rates.take(peer(1), Level::Friend, 0), "an accepted peer starts anew");
    }

    #[test]
    fn missed_lines_of_one_author_have_a_budget_of_their_own() {
        let mut rates = Rates::new(0);
        let mut taken = |at| (0..9_999).filter(|_| rates.take_missed(peer(1), at)).count();
        assert_eq!((taken(0), taken(1_000)), (5_000, 5));
        assert!(rates.take_missed(peer(2), 0) && rates.take(peer(1), Level::Friend, 0));
    }

    #[test]
    fn strangers_share_one_budget() {
        let mut rates = Rates::new(0);
        assert_eq!(taken(&mut rates, 0..=255, Level::Stranger, 0), 100);
        assert_eq!(taken(&mut rates, 0..=255, Level::Stranger, 3_000), 3);
    }

    #[test]
    fn each_forwarding_peer_has_a_budget_of_its_own() {
        let mut rates = Rates::new(0);
        let mut taken =
            |peer, level, at| (0..9_999).filter(|_| rates.take_forwarded(peer, level, at)).count();
        let stranger = Level::Stranger;
        assert_eq!((taken(peer(1), stranger, 0), taken(peer(1), stranger, 2_000)), (10, 2));
        assert_eq!((taken(peer(2), stranger, 0), taken(peer(3), Level::Friend, 0)), (10, 1_000));
        assert!(rates.take(peer(1), Level::Stranger, 0), "another budget than that of authors");
    }

    #[test]
    fn notices_about_strangers_are_few() {
        let mut rates = Rates::new(0);
        assert_eq!((0..10).filter(|_| rates.take_notice(0)).count(), 3);
        assert_eq!((0..10).filter(|_| rates.take_notice(120_000)).count(), 2);
    }
}
