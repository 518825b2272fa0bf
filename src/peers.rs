//! What peers have done wrong, and for how long that shuts them out.
//!
//! The node task owns one [`Peers`] and tells it of every offence; `friends.redb` keeps its bans.
//! No I/O, no clock: the time is passed in. A score starts at 0, falls with each [`Offence`], and
//! rises back with time; at [`BAN_SCORE`] the peer is banned for [`BAN_MS`]. A ban by command has
//! no end. A key costs nothing, so a ban stops mistakes and nuisance, not somebody who makes a new
//! key each time: that is what limits of connections, of rates and of everything stored are for.

use std::collections::HashMap;

use crate::{
    primitives::{PeerId, UnixMillis},
    telemetry::events::PeerPenalised,
    wire::{CodecError, VerifyError},
};

/// At this score, or below, a peer is banned.
pub const BAN_SCORE: i64 = -100;
/// How long a ban by score lasts: an hour, after which the score starts anew.
pub const BAN_MS: u64 = 60 * 60 * 1_000;
/// A score rises by one point in this time: from the brink of a ban to spotless takes 50 minutes.
pub const RECOVERY_MS: u64 = 30 * 1_000;
/// Peers whose scores are held; when full, the least guilty is forgotten.
pub const MAX_SCORED: usize = 4_096;
/// Bans that are held; when full, the one that ends first is lifted. Bans by command are never
/// lifted for others.
pub const MAX_BANS: usize = 4_096;

/// What a peer can do wrong. Its weight says what it costs; a ban is at 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Offence {
    /// A header without the work, the difficulty or the place that it claims: 100. It costs the
    /// sender nothing to make and us time to check, and no honest node forwards one.
    InvalidHeader,
    /// A block that breaks a rule under a valid header: 100. Honest nodes check before they serve.
    InvalidBlock,
    /// A trade or note that no chain could hold (form, signature): 25.
    InvalidTrade,
    /// A profile, line or goodbye that its author did not sign: 50. Honest nodes verify before they
    /// forward.
    BadSignature,
    /// A direct line that is not the sender's, or not for us: 25.
    NotTheAuthor,
    /// Signed text that breaks a rule of its type: an empty line, a name that may not be one: 20.
    InvalidText,
    /// Bytes that are no message, or not in canonical form: 20. A version with a fault would do it
    /// again and again.
    Malformed,
    /// A message over its limit of bytes, or with more parts than allowed: 20.
    Oversized,
    /// An answer that does not belong to its question, or parts of a block that do not fit it: 25.
    WrongAnswer,
    /// Announced or inventoried what it then does not give: 5. Reorganisations and restarts explain
    /// one, not twenty.
    EmptyPromise,
    /// No answer in time: 4. Networks lose things.
    Timeout,
    /// More messages than the rate of their kind allows: 2 each.
    Flooding,
}

impl Offence {
    /// All of them.
    pub const ALL: [Self; 12] = [
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
        Self::Flooding,
    ];

    /// The points that it costs.
    #[must_use]
    pub const fn weight(self) -> i64 {
        match self {
            Self::InvalidHeader | Self::InvalidBlock => 100,
            Self::BadSignature => 50,
            Self::InvalidTrade | Self::NotTheAuthor | Self::WrongAnswer => 25,
            Self::InvalidText | Self::Malformed | Self::Oversized => 20,
            Self::EmptyPromise => 5,
            Self::Timeout => 4,
            Self::Flooding => 2,
        }
    }

    /// Its stable name, as events log it.
    #[must_use]
    pub const fn code(self) -> &'static str {
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
            Self::Flooding => "flooding",
        }
    }
}

impl From<&CodecError> for Offence {
    /// What it is to send bytes that decode to that.
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
    /// What it is to send something signed that fails so.
    fn from(error: &VerifyError) -> Self {
        match error {
            VerifyError::Bounds(error) => error.into(),
            VerifyError::Signature { .. } => Self::BadSignature,
        }
    }
}

/// How long a ban lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BanTerm {
    /// By score: until then.
    Until(UnixMillis),
    /// By command: until `unban`.
    Forever,
}

impl BanTerm {
    /// Whether it still holds.
    #[must_use]
    pub const fn holds(self, now: UnixMillis) -> bool {
        match self {
            Self::Until(end) => now < end,
            Self::Forever => true,
        }
    }
}

/// A peer that is shut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ban {
    /// Who.
    pub peer: PeerId,
    /// For how long.
    pub term: BanTerm,
}

/// What an offence led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Penalty {
    /// The score after it.
    pub score: i64,
    /// The ban that it led to, to be kept on disk and carried out; none when the peer stays, or was
    /// banned already.
    pub banned: Option<Ban>,
}

/// A score and when it was worth that.
#[derive(Debug, Clone, Copy)]
struct Standing {
    score: i64,
    at: UnixMillis,
}

impl Standing {
    /// The score now: it rises with time, to 0 at most. A clock that went back changes nothing.
    fn score(self, now: UnixMillis) -> i64 {
        let recovered = now.saturating_sub(self.at) / RECOVERY_MS;
        self.score.saturating_add(i64::try_from(recovered).unwrap_or(i64::MAX)).min(0)
    }

    /// What is left of the time towards the next point is kept.
    fn brought_to(self, now: UnixMillis) -> Self {
        let into_point = now.saturating_sub(self.at) % RECOVERY_MS;
        Self { score: self.score(now), at: now.saturating_sub(into_point) }
    }
}

/// Scores and bans of all peers.
#[derive(Debug, Default)]
pub struct Peers {
    standings: HashMap<PeerId, Standing>,
    bans: HashMap<PeerId, BanTerm>,
}

impl Peers {
    /// With the bans that were kept on disk.
    pub fn new(bans: impl IntoIterator<Item = Ban>) -> Self {
        let mut peers = Self::default();
        for Ban { peer, term } in bans {
            peers.insert_ban(peer, term);
        }
        peers
    }

    /// The score of a peer: 0 is spotless, [`BAN_SCORE`] is out.
    #[must_use]
    pub fn score(&self, peer: &PeerId, now: UnixMillis) -> i64 {
        self.standings.get(peer).map_or(0, |standing| standing.score(now))
    }

    /// Charges an offence to a peer and logs it, `reason` saying what was found. A peer that is
    /// banned already is past caring: nothing is charged or logged.
    pub fn penalise(
        &mut self,
        peer: PeerId,
        offence: Offence,
        reason: &str,
        now: UnixMillis,
    ) -> Penalty {
        if self.is_banned(&peer, now) {
            return Penalty { score: BAN_SCORE, banned: None };
        }
        let before = self
            .standings
            .get(&peer)
            .copied()
            .unwrap_or(Standing { score: 0, at: now })
            .brought_to(now);
        let score = before.score.saturating_sub(offence.weight());
        let banned = (score <= BAN_SCORE)
            .then(|| Ban { peer, term: BanTerm::Until(now.saturating_add(BAN_MS)) });
        if let Some(Ban { peer, term }) = banned {
            self.standings.remove(&peer);
            self.insert_ban(peer, term);
        } else {
            self.insert_standing(peer, Standing { score, at: before.at }, now);
        }
        PeerPenalised {
            peer,
            offence: offence.code(),
            reason: crate::primitives::printable(&reason.chars().take(200).collect::<String>()),
            score,
            banned: banned.is_some(),
        }
        .emit();
        Penalty { score, banned }
    }

    /// Shuts a peer out until [`Self::unban`], by command.
    pub fn ban(&mut self, peer: PeerId) -> Ban {
        self.standings.remove(&peer);
        self.insert_ban(peer, BanTerm::Forever);
        Ban { peer, term: BanTerm::Forever }
    }

    /// Lets a peer in again, its score spotless; whether it was banned.
    pub fn unban(&mut self, peer: &PeerId) -> bool {
        self.standings.remove(peer);
        self.bans.remove(peer).is_some()
    }

    /// Whether a peer is shut out.
    #[must_use]
    pub fn is_banned(&self, peer: &PeerId, now: UnixMillis) -> bool {
        self.bans.get(peer).is_some_and(|term| term.holds(now))
    }

    /// Who is shut out, in no order.
    pub fn bans(&self, now: UnixMillis) -> impl Iterator<Item = Ban> {
        self.bans
            .iter()
            .filter(move |(_, term)| term.holds(now))
            .map(|(&peer, &term)| Ban { peer, term })
    }

    /// Forgets what time has healed; to be called every minute or so. Gives the peers whose bans
    /// ended, which may be dialed again.
    pub fn decay(&mut self, now: UnixMillis) -> Vec<PeerId> {
        self.standings.retain(|_, standing| standing.score(now) < 0);
        let ended: Vec<_> =
            self.bans.iter().filter(|(_, term)| !term.holds(now)).map(|(&peer, _)| peer).collect();
        for peer in &ended {
            self.bans.remove(peer);
        }
        ended
    }

    fn insert_standing(&mut self, peer: PeerId, standing: Standing, now: UnixMillis) {
        if self.standings.len() >= MAX_SCORED && !self.standings.contains_key(&peer) {
            let best =
                self.standings.iter().max_by_key(|(peer, standing)| (standing.score(now), **peer));
            if let Some(best) = best.map(|(&peer, _)| peer) {
                self.standings.remove(&best);
            }
        }
        self.standings.insert(peer, standing);
    }

    fn insert_ban(&mut self, peer: PeerId, term: BanTerm) {
        if self.bans.len() >= MAX_BANS && !self.bans.contains_key(&peer) {
            let passing = self.bans.iter().filter(|(_, term)| **term != BanTerm::Forever);
            if let Some(first) =
                passing.min_by_key(|(peer, term)| (**term, **peer)).map(|(&peer, _)| peer)
            {
                self.bans.remove(&first);
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

    const NOW: UnixMillis = 1_700_000_000_000;

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
            assert_eq!(penalty, Penalty { score: expected, banned: None });
        }
        let penalty = peers.penalise(peer(1), Offence::Malformed, "random bytes", NOW);
        assert_eq!(penalty.banned, Some(Ban { peer: peer(1), term: BanTerm::Until(NOW + BAN_MS) }));
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
        assert_eq!(peers.score(&peer(1), 0), -5, "a clock that went back heals nothing");
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
        assert!(peers.penalise(peer(1), Offence::InvalidBlock, "", NOW).banned.is_some());
        let again = peers.penalise(peer(1), Offence::InvalidBlock, "", NOW);
        assert_eq!(again.banned, None, "a ban is reported once");
    }

    #[test]
    fn a_ban_by_command_lasts_until_unban() {
        let mut peers = Peers::new([Ban { peer: peer(1), term: BanTerm::Forever }]);
        peers.ban(peer(2));
        assert_eq!(peers.decay(u64::MAX), []);
        assert!(peers.is_banned(&peer(1), u64::MAX) && peers.is_banned(&peer(2), u64::MAX));
        assert!(peers.unban(&peer(1)));
        assert!(!peers.unban(&peer(1)));
        assert!(!peers.is_banned(&peer(1), NOW));
    }

    #[test]
    fn what_is_held_is_bounded_and_bans_by_command_stay() {
        let mut peers = Peers::default();
        peers.ban(peer(0));
        for number in 1..=u32::try_from(MAX_BANS).unwrap() + 10 {
            peers.penalise(peer(number), Offence::InvalidBlock, "", NOW + u64::from(number));
            peers.penalise(peer(1_000_000 + number), Offence::Timeout, "", NOW);
        }
        assert_eq!(peers.bans(NOW).count(), MAX_BANS);
        assert!(peers.is_banned(&peer(0), NOW) && !peers.is_banned(&peer(1), NOW));
        assert!(peers.standings.len() <= MAX_SCORED);
    }

    proptest! {
        #[test]
        fn a_score_stays_between_the_ban_and_spotless(steps in proptest::collection::vec((0..200_000_u64, any::<bool>()), 1..60)) {
            let mut peers = Peers::default();
            let mut now = NOW;
            for (wait, heavy) in steps {
                now += wait;
                let offence = if heavy { Offence::BadSignature } else { Offence::Flooding };
                let penalty = peers.penalise(peer(1), offence, "", now);
                prop_assert_eq!(penalty.banned.is_some() || peers.is_banned(&peer(1), now), penalty.score <= BAN_SCORE);
                prop_assert!(peers.score(&peer(1), now) <= 0 && peers.score(&peer(1), now) > BAN_SCORE);
            }
        }
    }
}
