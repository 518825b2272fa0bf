//! The decision when to mine: modes, the random wait for other owners' trades, and the pause after
//! a solved header. Time and randomness are arguments.

use std::time::Duration;

use rand::{Rng, RngExt};
use tokio::time::Instant;

use crate::{
    chain::api::Template,
    primitives::{BlockHash, MiningMode},
};

/// The longest pause after a solved header.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// A pause is at most this part of the spacing.
const PAUSE_PART: u32 = 5;
/// On a chain without spacing, how long others' trades may wait for one of several idle miners:
/// long enough that one is usually first.
const WAIT_WITHOUT_SPACING: Duration = Duration::from_millis(500);

/// The policy's verdict on a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing, until something changes.
    Rest,
    /// Nothing until then.
    Wait(Instant),
    Mine,
}

/// The state behind the decisions.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) mode: MiningMode,
    spacing: Duration,
    /// Drawn when others' trades were first seen waiting on this tip.
    others_due: Option<Instant>,
    /// The parent that a solved header was heard of for, and until when to let its block arrive.
    pause: Option<(BlockHash, Instant)>,
}

impl Policy {
    pub(super) const fn new(mode: MiningMode, spacing_ms: u64) -> Self {
        Self { mode, spacing: Duration::from_millis(spacing_ms), others_due: None, pause: None }
    }

    /// The chain has another tip: waits begin anew, and what was paused for has come.
    pub(super) const fn tip_changed(&mut self) {
        self.others_due = None;
        self.pause = None;
    }

    /// Somebody has solved a block on `parent`, our tip. Once for each tip: whoever sends headers
    /// without their blocks gains one short pause.
    pub(super) fn pause(&mut self, parent: BlockHash, duration: Duration, now: Instant) {
        if self.pause.is_none() {
            let duration = duration.min(MAX_PAUSE).min(self.spacing / PAUSE_PART);
            self.pause = now.checked_add(duration).map(|until| (parent, until));
        }
    }

    /// Returns the end of the pause on `tip`, if mining on it is paused.
    pub(super) fn paused(&self, tip: BlockHash, now: Instant) -> Option<Instant> {
        self.pause.filter(|(parent, until)| *parent == tip && now < *until).map(|(_, until)| until)
    }

    /// Decides whether to mine `template` in the current mode.
    pub(super) fn decide(
        &mut self,
        template: &Template,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Decision {
        match self.mode {
            MiningMode::Off => Decision::Rest,
            MiningMode::Always => Decision::Mine,
            MiningMode::OnDemand if template.has_local => Decision::Mine,
            MiningMode::OnDemand if !template.has_trades => {
                self.others_due = None;
                Decision::Rest
            }
            MiningMode::OnDemand => {
                let longest =
                    if self.spacing.is_zero() { WAIT_WITHOUT_SPACING } else { self.spacing };
                let due = *self.others_due.get_or_insert_with(|| {
                    let wait = longest.mul_f64(rng.random_range(0.0..1.0));
                    now.checked_add(wait).unwrap_or(now)
                });
                if now >= due { Decision::Mine } else { Decision::Wait(due) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::primitives::{Block, Header, MerkleRoot};

    const TIP: BlockHash = BlockHash([1; 32]);
    const SPACING: Duration = Duration::from_secs(10);

    fn template(has_local: bool, has_trades: bool) -> Template {
        let header = Header {
            previous: TIP,
            merkle_root: MerkleRoot::ZERO,
            height: 1,
            time: 0,
            bits: 0,
            nonce: 0,
        };
        Template {
            block: Block { header, transactions: vec![] },
            generation: 0,
            has_local,
            has_trades,
        }
    }

    fn decisions(mode: MiningMode) -> [Decision; 3] {
        let (mut policy, mut rng) = (Policy::new(mode, 10_000), StdRng::seed_from_u64(1));
        let now = Instant::now();
        [template(false, false), template(false, true), template(true, true)]
            .map(|t| policy.decide(&t, now, &mut rng))
    }

    #[test]
    fn each_mode_mines_what_it_says() {
        use Decision::{Mine, Rest, Wait};
        assert_eq!(decisions(MiningMode::Off), [Rest; 3]);
        assert_eq!(decisions(MiningMode::Always), [Mine; 3]);
        assert!(matches!(decisions(MiningMode::OnDemand), [Rest, Wait(_), Mine]));
    }

    #[test]
    fn the_wait_for_others_trades_is_drawn_once_a_tip_and_within_the_spacing() {
        let (start, others) = (Instant::now(), template(false, true));
        let mut dues = Vec::new();
        for seed in 0..50 {
            let (mut policy, mut rng) =
                (Policy::new(MiningMode::OnDemand, 10_000), StdRng::seed_from_u64(seed));
            let Decision::Wait(due) = policy.decide(&others, start, &mut rng) else { continue };
            assert!(due < start + SPACING);
            assert_eq!(policy.decide(&others, start, &mut rng), Decision::Wait(due), "drawn once");
            assert_eq!(policy.decide(&others, due, &mut rng), Decision::Mine);
            policy.tip_changed();
            assert_ne!(policy.decide(&others, start, &mut rng), Decision::Wait(due), "drawn anew");
            dues.push(due);
        }
        dues.dedup();
        assert!(dues.len() > 40, "several nodes wait differently");
    }

    #[test]
    fn a_pause_is_short_and_comes_once_for_each_tip() {
        let now = Instant::now();
        let mut policy = Policy::new(MiningMode::Always, 5_000);
        policy.pause(TIP, Duration::from_mins(1), now);
        let until = now + Duration::from_secs(1);
        assert_eq!(policy.paused(TIP, now), Some(until), "a fifth of the spacing");
        assert_eq!(policy.paused(BlockHash([2; 32]), now), None);
        assert_eq!(policy.paused(TIP, until), None);
        policy.pause(TIP, Duration::from_mins(1), until);
        assert_eq!(policy.paused(TIP, until), None, "the second one changes nothing");
        policy.tip_changed();
        policy.pause(BlockHash([2; 32]), Duration::from_millis(300), until);
        assert_eq!(
            policy.paused(BlockHash([2; 32]), until),
            Some(until + Duration::from_millis(300))
        );
    }

    #[test]
    fn a_chain_without_spacing_never_pauses() {
        let now = Instant::now();
        let mut policy = Policy::new(MiningMode::Always, 0);
        policy.pause(TIP, Duration::from_secs(1), now);
        assert_eq!(policy.paused(TIP, now), None);
    }
}
