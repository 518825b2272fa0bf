//! Decides when to mine: by the mode, after a random wait for other owners' trades, and after a
//! rest while a better branch arrives. Time and randomness are arguments.
//!
//! # Security
//! The miner builds on the best connected tip, whatever chains and headers peers send. Only the
//! body of a better branch makes it rest for a moment: that body cost as much work as a block of
//! ours. A miner who withholds bodies therefore stops no other miner.

use std::time::Duration;

use rand::{Rng, RngExt};
use tokio::time::Instant;

use crate::{chain::api::Template, primitives::MiningMode};

/// The longest rest after the body of a better branch. Sync fetches the next body in that time.
const MAX_REST: Duration = Duration::from_secs(2);
/// The divisor of the spacing that bounds a rest. The bodies of a miner with a quarter of all work
/// then cost the others at most a twentieth of their time.
const REST_PART: u32 = 5;
/// The longest wait before the wall clock is read again, since it may have been set.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// The longest wait for others' trades on a chain without spacing: long enough that one of several
/// idle miners is usually first.
const WAIT_WITHOUT_SPACING: Duration = Duration::from_millis(500);

/// The policy's verdict on a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Do not mine until something changes.
    Rest,
    /// Do not mine before this time.
    Wait(Instant),
    Mine,
}

/// The state behind the decisions.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) mode: MiningMode,
    spacing: Duration,
    /// The time to mine others' trades, drawn when they were first seen waiting on this tip.
    others_due: Option<Instant>,
    /// The end of the rest for a better branch.
    suspended: Option<Instant>,
}

impl Policy {
    pub(crate) const fn new(mode: MiningMode, spacing_ms: u64) -> Self {
        Self { mode, spacing: Duration::from_millis(spacing_ms), others_due: None, suspended: None }
    }

    /// Handles a change of the tip: waits begin anew.
    pub(crate) const fn tip_changed(&mut self) {
        self.others_due = None;
    }

    /// Handles the body of a branch better than the tip: more of them may follow.
    pub(crate) fn suspend(&mut self, now: Instant) {
        let rest = MAX_REST.min(self.spacing / REST_PART);
        self.suspended = now.checked_add(rest);
    }

    /// Handles that the tip is the best header: there is no better branch.
    pub(crate) const fn caught_up(&mut self) {
        self.suspended = None;
    }

    /// Returns the end of the rest, if mining rests for a better branch.
    pub(crate) fn suspended(&self, now: Instant) -> Option<Instant> {
        self.suspended.filter(|until| now < *until)
    }

    /// Returns the decision for a template whose block no node would accept at present, even if a
    /// user asked for it. `None` for any other template.
    pub(crate) fn hindered(template: &Template, now: Instant) -> Option<Decision> {
        if template.below_checkpoint {
            return Some(Decision::Rest);
        }
        let wait = Duration::from_millis(template.early?.ms).min(MAX_WAIT);
        Some(now.checked_add(wait).map_or(Decision::Rest, Decision::Wait))
    }

    /// Decides whether to mine `template` in the current mode.
    pub(crate) fn decide(
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
    use crate::{
        chain::api::Early,
        primitives::{Block, BlockHash, Header, MerkleRoot},
    };

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
            early: None,
            below_checkpoint: false,
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
            assert_ne!(policy.decide(&others, start, &mut rng), Decision::Wait(due), "redrawn");
            dues.push(due);
        }
        dues.dedup();
        assert!(dues.len() > 40, "several nodes wait differently");
    }

    #[test]
    fn a_rest_is_short_and_begins_anew_with_each_body() {
        let now = Instant::now();
        let mut policy = Policy::new(MiningMode::Always, 5_000);
        policy.suspend(now);
        let rest = Duration::from_secs(1);
        assert_eq!(policy.suspended(now), Some(now + rest), "a fifth of the spacing");
        assert_eq!(policy.suspended(now + rest), None);
        policy.suspend(now + rest / 2);
        assert_eq!(policy.suspended(now + rest), Some(now + rest * 3 / 2));
        policy.tip_changed();
        assert!(policy.suspended(now + rest).is_some(), "more of the branch may follow");
        policy.caught_up();
        assert_eq!(policy.suspended(now + rest), None);
        let mut slow = Policy::new(MiningMode::Always, 600_000);
        slow.suspend(now);
        assert_eq!(slow.suspended(now), Some(now + MAX_REST));
    }

    #[test]
    fn a_chain_without_spacing_never_rests() {
        let now = Instant::now();
        let mut policy = Policy::new(MiningMode::Always, 0);
        policy.suspend(now);
        assert_eq!(policy.suspended(now), None);
    }

    #[test]
    fn a_block_ahead_of_the_clock_waits_and_one_below_the_checkpoint_rests() {
        let now = Instant::now();
        let early = |ms| Some(Early { due: 5_000 + ms, ms });
        let mut template = template(true, true);
        assert_eq!(Policy::hindered(&template, now), None);
        template.early = early(300);
        let due = now + Duration::from_millis(300);
        assert_eq!(Policy::hindered(&template, now), Some(Decision::Wait(due)));
        template.early = early(3_600_000);
        assert_eq!(Policy::hindered(&template, now), Some(Decision::Wait(now + MAX_WAIT)));
        template.below_checkpoint = true;
        assert_eq!(Policy::hindered(&template, now), Some(Decision::Rest));
    }

    #[test]
    fn a_miner_with_a_quarter_of_the_work_costs_the_others_a_twentieth_at_most() {
        // The attacker publishes all headers at once, and the bodies one by one, each when it
        // disturbs most: never within the rest of the one before.
        let mut rng = StdRng::seed_from_u64(7);
        let start = Instant::now();
        let (mut policy, mut now, mut rested) =
            (Policy::new(MiningMode::Always, 10_000), start, Duration::ZERO);
        for _ in 0..20_000 {
            let spacings: f64 = -rng.random_range(f64::MIN_POSITIVE..1.0).ln();
            now += SPACING.mul_f64(spacings);
            let is_his = rng.random_bool(0.25);
            let rest = policy.suspended(now).map_or(Duration::ZERO, |until| until - now);
            if is_his {
                policy.suspend(now);
                rested += Duration::from_secs(2).saturating_sub(rest);
            }
        }
        let share = 1.0 - rested.as_secs_f64() / (now - start).as_secs_f64();
        assert!(share > 0.9, "the others keep {share} of their rate");
    }
}
