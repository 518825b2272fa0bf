//! Scores and bans of peers.
//!
//! The router task owns one [`Peers`] and reports every offence to it; `friends.redb` stores the
//! bans. The module has no I/O and no clock: the time is an argument. A score starts at 0, falls
//! with each [`Offence`], and recovers with time. At [`BAN_SCORE`] the peer is banned for
//! [`BAN_MS`]. A ban by command has no end.
//!
//! Scores and running bans follow the monotonic clock. A ban on the disk ends at a wall time, since
//! it outlives the process; [`Peers::new`] converts it.
//!
//! # Security
//! A key costs nothing, so a ban stops faulty and annoying peers, not an attacker with a new key
//! for each connection. The limits of connections, rates and stored data guard against that.

use std::collections::HashMap;

use crate::{
    primitives::{Moment, PeerId, UnixMillis},
    telemetry::events::PeerPenalised,
    wire::{CodecError, VerifyError},
};

/// The score at or below which a peer is banned.
pub(crate) const BAN_SCORE: i64 = -100;
/// The length of a ban by score, in ms: one hour, after which the score starts at 0.
pub(crate) const BAN_MS: u64 = 60 * 60 * 1_000;
/// The time in which a score recovers by one point, in ms. From -99 to 0 it takes 50 minutes.
pub(crate) const RECOVERY_MS: u64 = 30 * 1_000;
/// The maximum number of stored scores. Beyond it, the best score is evicted.
pub(crate) const MAX_SCORED: usize = 4_096;
/// The maximum number of bans. Beyond it, the ban that ends first is lifted, but never a ban by
/// command.
pub(crate) const MAX_BANS: usize = 4_096;

/// An offence of a peer. Each variant states its weight in points; 100 points lead to a ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Offence {
    /// A header with wrong work, difficulty or position: 100. Such headers are free to make and
    /// cost us time to check, and no honest node forwards one.
    InvalidHeader,
    /// A body that is not its header's, or an invalid block that the peer claims to have connected:
    /// 100.
    InvalidBlock,
    /// A trade or note that is invalid on any chain, by its form or signature: 25.
    InvalidTrade,
    /// A profile, line or goodbye with a wrong signature: 50. Honest nodes verify before they
    /// forward.
    BadSignature,
    /// A direct line that the sender did not write, or that is not for us: 25.
    NotTheAuthor,
    /// Signed text that breaks a rule, such as an empty line or a forbidden name: 20.
    InvalidText,
    /// Bytes that do not decode or are not in canonical form: 20. A faulty version of the program
    /// would send them repeatedly.
    Malformed,
    /// A message with too many bytes or parts: 20.
    Oversized,
    /// A response that does not match its request, or parts that do not match their block: 25.
    WrongAnswer,
    /// Data that the peer announced and does not provide: 5. Reorgs and restarts explain one such
    /// case, not twenty.
    EmptyPromise,
    /// A request without a response before the timeout: 4. Networks lose messages.
    Timeout,
    /// Gossip on a topic that this network does not have, for each frame: 5. Gossip goes to
    /// subscribers only, so no honest node sends it.
    ForeignTopic,
    /// A message beyond the rate of its kind: 2.
    Flooding,
}

impl Offence {
    /// All offences, for metrics and documents.
    pub(crate) const ALL: [Self; 13] = [
        Self::InvalidHeader,
        Self::InvalidBlock,
        Self::InvalidTrade,
        Self::BadSignature,
        Self::NotTheAuthor,
        Self::InvalidText,
        Self::Malformed,
        Self::Oversized,
        Self::WrongAnswer,
        Self::EmptyPromise,
        Self::Timeout,
        Self::ForeignTopic,
        Self::Flooding,
    ];

    /// Returns the points that the offence subtracts from the score.
    #[must_use]
    pub(crate) const fn weight(self) -> i64 {
        match self {
            Self::InvalidHeader | Self::InvalidBlock => 100,
            Self::BadSignature => 50,
            Self::InvalidTrade | Self::NotTheAuthor | Self::WrongAnswer => 25,
            Self::InvalidText | Self::Malformed | Self::Oversized => 20,
            Self::EmptyPromise | Self::ForeignTopic => 5,
            Self::Timeout => 4,
            Self::Flooding => 2,
        }
    }

    /// Returns the stable name, as used in events.
    #[must_use]
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::InvalidHeader => "invalid_header",
            Self::InvalidBlock => "invalid_block",
            Self::InvalidTrade => "invalid_trade",
            Self::BadSignature => "bad_signature",
            Self::NotTheAuthor => "not_the_author",
            Self::InvalidText => "invalid_text",
            Self::Malformed => "malformed",
            Self::Oversized => "oversized",
            Self::WrongAnswer => "wrong_answer",
            Self::EmptyPromise => "empty_promise",
            Self::Timeout => "timeout",
            Self::ForeignTopic => "foreign_topic",
            Self::Flooding => "flooding",
        }
    }
}

impl From<&CodecError> for Offence {
    /// Returns the offence of sending bytes that fail to decode with this error.
    fn from(error: &CodecError) -> Self {
        match error {
            CodecError::TooLarge { .. } | CodecError::OverLimit { .. } => Self::Oversized,
            CodecError::Malformed { .. }
            | CodecError::NotCanonical
            | CodecError::WrongLength { .. }
            | CodecError::Empty { .. }
            | CodecError::NotAscending { .. } => Self::Malformed,
        }
    }
}

impl From<&VerifyError> for Offence {
    /// Returns the offence of sending a signed message that fails verification with this error.
    fn from(error: &VerifyError) -> Self {
        match error {
            VerifyError::Bounds(error) => error.into(),
            VerifyError::Signature { .. } => Self::BadSignature,
        }
    }
}

/// The term of a ban, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BanTerm {
    /// A ban by score, which ends at this time.
    Until(UnixMillis),
    /// A ban by command, which lasts until `unban`.
    Forever,
}

/// A peer with the term of its ban, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ban {
    pub(crate) peer: PeerId,
    pub(crate) term: BanTerm,
}

/// The result of charging an offence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Penalty {
    /// The score after the offence.
    pub(crate) score: i64,
    /// True if this offence banned the peer, for [`BAN_MS`] from now. The caller has to store and
    /// enforce the ban.
    pub(crate) banned: bool,
}

/// The term of a ban in this run. A ban by command is longer than any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Term {
    Until(Moment),
    Forever,
}

impl Term {
    const fn holds(self, now: Moment) -> bool {
        match self {
            Self::Until(end) => now < end,
            Self::Forever => true,
        }
    }
}

/// A score, and the time at which it had this value.
#[derive(Debug, Clone, Copy)]
struct Standing {
    score: i64,
    at: Moment,
}

impl Standing {
    /// Returns the score at `now`, recovered to at most 0.
    fn score(self, now: Moment) -> i64 {
        let recovered = now.saturating_sub(self.at) / RECOVERY_MS;
        self.score.saturating_add(i64::try_from(recovered).unwrap_or(i64::MAX)).min(0)
    }

    /// Moves the standing to `now`. The time elapsed towards the next point is kept.
    fn brought_to(self, now: Moment) -> Self {
        let into_point = now.saturating_sub(self.at) % RECOVERY_MS;
        Self { score: self.score(now), at: now.saturating_sub(into_point) }
    }
}

/// The scores and bans of all peers.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    standings: HashMap<PeerId, Standing>,
    bans: HashMap<PeerId, Term>,
    /// Peers whose bans made room for others since [`Self::take_lifted`].
    lifted: Vec<PeerId>,
}

impl Peers {
    /// Starts with the stored bans and no scores. `wall` and `now` are the present.
    ///
    /// No ban gets longer than [`BAN_MS`] because the wall clock was set back since.
    pub(crate) fn new(bans: impl IntoIterator<Item = Ban>, wall: UnixMillis, now: Moment) -> Self {
        let mut peers = Self::default();
        for Ban { peer, term } in bans {
            let term = match term {
                BanTerm::Until(end) => {
                    Term::Until(now.saturating_add(end.saturating_sub(wall).min(BAN_MS)))
                }
                BanTerm::Forever => Term::Forever,
            };
            peers.insert_ban(peer, term);
        }
        peers
    }

    /// Returns a peer's score, from 0 down to [`BAN_SCORE`].
    #[must_use]
    pub(crate) fn score(&self, peer: &PeerId, now: Moment) -> i64 {
        self.standings.get(peer).map_or(0, |standing| standing.score(now))
    }

    /// Charges a peer with an offence and emits an event with the `reason`. Does nothing if the
    /// peer is banned.
    pub(crate) fn penalise(
        &mut self,
        peer: PeerId,
        offence: Offence,
        reason: &str,
        now: Moment,
    ) -> Penalty {
        if self.is_banned(&peer, now) {
            return Penalty { score: BAN_SCORE, banned: false };
        }
        let before = self
            .standings
            .get(&peer)
            .copied()
            .unwrap_or(Standing { score: 0, at: now })
            .brought_to(now);
        let score = before.score.saturating_sub(offence.weight());
        let banned = score <= BAN_SCORE;
        if banned {
            self.standings.remove(&peer);
            self.insert_ban(peer, Term::Until(now.saturating_add(BAN_MS)));
        } else {
            self.insert_standing(peer, Standing { score, at: before.at }, now);
        }
        PeerPenalised {
            peer,
            offence: offence.code(),
            reason: crate::primitives::printable(&reason.chars().take(200).collect::<String>()),
            score,
            banned,
        }
        .emit();
        Penalty { score, banned }
    }

    /// Returns the peers whose bans made room for others since the last call. The caller has to
    /// admit them again, so that it refuses exactly the peers that are banned here.
    pub(crate) fn take_lifted(&mut self) -> Vec<PeerId> {
        std::mem::take(&mut self.lifted)
    }

    /// Bans a peer by command, until [`Self::unban`].
    pub(crate) fn ban(&mut self, peer: PeerId) {
        self.standings.remove(&peer);
        self.insert_ban(peer, Term::Forever);
    }

    /// Lifts the ban of a peer and resets its score. Returns true if it was banned.
    pub(crate) fn unban(&mut self, peer: &PeerId) -> bool {
        self.standings.remove(peer);
        self.bans.remove(peer).is_some()
    }

    /// Returns true if a peer is banned at `now`.
    #[must_use]
    pub(crate) fn is_banned(&self, peer: &PeerId, now: Moment) -> bool {
        self.bans.get(peer).is_some_and(|term| term.holds(now))
    }

    /// Returns the peers that are banned at `now`, in no order.
    pub(crate) fn banned(&self, now: Moment) -> impl Iterator<Item = PeerId> {
        self.bans.iter().filter(move |(_, term)| term.holds(now)).map(|(&peer, _)| peer)
    }

    /// Removes recovered scores and ended bans. The node calls it about once a minute. Returns the
    /// peers whose bans ended, which may be dialed again.
    pub(crate) fn decay(&mut self, now: Moment) -> Vec<PeerId> {
        self.standings.retain(|_, standing| standing.score(now) < 0);
        let ended: Vec<_> =
            self.bans.iter().filter(|(_, term)| !term.holds(now)).map(|(&peer, _)| peer).collect();
        for peer in &ended {
            self.bans.remove(peer);
        }
        ended
    }

    fn insert_standing(&mut self, peer: PeerId, standing: Standing, now: Moment) {
        if self.standings.len() >= MAX_SCORED && !self.standings.contains_key(&peer) {
            let best =
                self.standings.iter().max_by_key(|(peer, standing)| (standing.score(now), **peer));
            if let Some(best) = best.map(|(&peer, _)| peer) {
                self.standings.remove(&best);
            }
        }
        self.standings.insert(peer, standing);
    }

    fn insert_ban(&mut self, peer: PeerId, term: Term) {
        if self.bans.len() >= MAX_BANS && !self.bans.contains_key(&peer) {
            let passing = self.bans.iter().filter(|(_, term)| **term != Term::Forever);
            if let Some(first) =
                passing.min_by_key(|(peer, term)| (**term, **peer)).map(|(&peer, _)| peer)
            {
                self.bans.remove(&first);
                self.lifted.push(first);
            }
        }
        // A ban by score never shortens one by command.
        self.bans.entry(peer).and_modify(|held| *held = (*held).max(term)).or_insert(term);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::primitives::PublicKey;

    const NOW: Moment = 1_700_000_000;
    const WALL: UnixMillis = 1_700_000_000_000;

    fn peer(number: u32) -> PeerId {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        PeerId(PublicKey(key))
    }

    #[test]
    fn offences_add_up_to_a_ban_that_ends() {
        let mut peers = Peers::default();
        for expected in [-20, -40, -60, -80] {
            let penalty = peers.penalise(peer(1), Offence::Malformed, "random bytes", NOW);
            assert_eq!(penalty, Penalty { score: expected, banned: false });
        }
        let penalty = peers.penalise(peer(1), Offence::Malformed, "random bytes", NOW);
        assert!(penalty.banned);
        assert!(peers.is_banned(&peer(1), NOW + BAN_MS - 1));
        assert_eq!(peers.decay(NOW + BAN_MS - 1), []);
        assert!(!peers.is_banned(&peer(1), NOW + BAN_MS));
        assert_eq!(peers.decay(NOW + BAN_MS), [peer(1)]);
        assert_eq!(peers.score(&peer(1), NOW + BAN_MS), 0);
    }

    #[test]
    fn time_heals_a_point_each_half_minute_and_no_more_than_was_lost() {
        let mut peers = Peers::default();
        peers.penalise(peer(1), Offence::EmptyPromise, "", NOW);
        assert_eq!(peers.score(&peer(1), NOW + RECOVERY_MS - 1), -5);
        assert_eq!(peers.score(&peer(1), NOW + RECOVERY_MS), -4);
        assert_eq!(peers.score(&peer(1), NOW + 100 * RECOVERY_MS), 0);
    }

    #[test]
    fn time_towards_the_next_point_is_not_lost_by_another_offence() {
        let mut peers = Peers::default();
        peers.penalise(peer(1), Offence::Timeout, "", NOW);
        peers.penalise(peer(1), Offence::Timeout, "", NOW + RECOVERY_MS - 1);
        assert_eq!(peers.score(&peer(1), NOW + RECOVERY_MS), -7);
    }

    #[test]
    fn an_invalid_block_bans_at_once() {
        let mut peers = Peers::default();
        assert!(peers.penalise(peer(1), Offence::InvalidBlock, "", NOW).banned);
        let again = peers.penalise(peer(1), Offence::InvalidBlock, "", NOW);
        assert!(!again.banned, "a ban is reported once");
    }

    #[test]
    fn a_ban_by_command_lasts_until_unban() {
        let mut peers = Peers::new([Ban { peer: peer(1), term: BanTerm::Forever }], WALL, NOW);
        peers.ban(peer(2));
        assert_eq!(peers.decay(u64::MAX), []);
        assert!(peers.is_banned(&peer(1), u64::MAX) && peers.is_banned(&peer(2), u64::MAX));
        assert!(peers.unban(&peer(1)));
        assert!(!peers.unban(&peer(1)));
        assert!(!peers.is_banned(&peer(1), NOW));
    }

    #[test]
    fn a_stored_ban_runs_on_by_the_monotonic_clock_and_never_longer_than_a_whole_one() {
        let until = |end| BanTerm::Until(end);
        let (hour, day) = (3_600_000, 86_400_000);
        for (end, left) in [
            (WALL + 1_000, 1_000),
            // The clock was set back by three days since the ban.
            (WALL + 3 * day, BAN_MS),
            // The clock was set forward, or the ban has ended.
            (WALL - hour, 0),
        ] {
            let peers = Peers::new([Ban { peer: peer(1), term: until(end) }], WALL, NOW);
            assert!(!peers.is_banned(&peer(1), NOW + left));
            assert_eq!(peers.is_banned(&peer(1), NOW), left > 0);
            assert!(left == 0 || peers.is_banned(&peer(1), NOW + left - 1));
        }
    }

    #[test]
    fn what_is_held_is_bounded_and_bans_by_command_stay() {
        let mut peers = Peers::default();
        peers.ban(peer(0));
        let worst = peer(9_000_000);
        peers.penalise(worst, Offence::BadSignature, "", NOW);
        for number in 1..=u32::try_from(MAX_BANS).unwrap() + 10 {
            peers.penalise(peer(number), Offence::InvalidBlock, "", NOW + u64::from(number));
            peers.penalise(peer(1_000_000 + number), Offence::Timeout, "", NOW);
        }
        assert_eq!(peers.banned(NOW).count(), MAX_BANS);
        assert!(peers.is_banned(&peer(0), NOW) && !peers.is_banned(&peer(1), NOW));
        let lifted: Vec<_> = (1..=11).map(peer).collect();
        assert_eq!(peers.take_lifted(), lifted, "each of them is reported once");
        assert_eq!(peers.take_lifted(), []);
        assert_eq!(peers.standings.len(), MAX_SCORED);
        assert!(peers.score(&worst, NOW) < 0, "the one with the best score is forgotten");
    }

    proptest! {
        #[test]
        fn a_score_stays_between_the_ban_and_zero(
            steps in proptest::collection::vec((0..200_000_u64, any::<bool>()), 1..60),
        ) {
            let mut peers = Peers::default();
            let mut now = NOW;
            for (wait, heavy) in steps {
                now += wait;
                let offence = if heavy { Offence::BadSignature } else { Offence::Flooding };
                let penalty = peers.penalise(peer(1), offence, "", now);
                let banned = penalty.banned || peers.is_banned(&peer(1), now);
                prop_assert_eq!(banned, penalty.score <= BAN_SCORE);
                let score = peers.score(&peer(1), now);
                prop_assert!(score <= 0 && score > BAN_SCORE);
            }
        }
    }
}
