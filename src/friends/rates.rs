//! How fast authors may write: a budget of lines each, refilled with time.

use std::collections::HashMap;

use crate::primitives::{PeerId, UnixMillis};

/// Lines that a friend may send at once: a whole outbox, when it comes back.
const FRIEND_BURST: u64 = super::MAX_OUTBOX_PER_FRIEND;
/// The time in which a friend earns another line, in ms.
const FRIEND_EARNS_MS: u64 = 200;
/// Lines that all authors without a profile may send at once, together: keys cost nothing.
const STRANGERS_BURST: u64 = 100;
/// The time in which strangers earn another line, in ms.
const STRANGERS_EARN_MS: u64 = 1_000;
/// Budgets held; beyond it the full ones are forgotten, which changes nothing for them.
const MAX_BUDGETS: usize = super::MAX_PROFILES_KEPT;

/// Time saved up, in ms, and when it was counted.
#[derive(Debug, Clone, Copy)]
struct Budget {
    saved_ms: u64,
    at: UnixMillis,
}

/// The budgets; that of strangers under no key.
#[derive(Debug, Default)]
pub(super) struct Rates {
    budgets: HashMap<Option<PeerId>, Budget>,
}

impl Rates {
    /// Takes one line from an author's budget, or from the strangers' when there is no friend;
    /// whether there was one.
    pub(super) fn take(&mut self, friend: Option<PeerId>, now: UnixMillis) -> bool {
        let (burst, earns_ms) = match friend {
            Some(_) => (FRIEND_BURST, FRIEND_EARNS_MS),
            None => (STRANGERS_BURST, STRANGERS_EARN_MS),
        };
        let full = burst.saturating_mul(earns_ms);
        if self.budgets.len() >= MAX_BUDGETS && !self.budgets.contains_key(&friend) {
            let full = FRIEND_BURST * FRIEND_EARNS_MS;
            self.budgets.retain(|_, budget| {
                budget.saved_ms.saturating_add(now.saturating_sub(budget.at)) < full
            });
        }
        let budget = self.budgets.entry(friend).or_insert(Budget { saved_ms: full, at: now });
        budget.saved_ms = budget.saved_ms.saturating_add(now.saturating_sub(budget.at)).min(full);
        budget.at = now;
        match budget.saved_ms.checked_sub(earns_ms) {
            Some(left) => {
                budget.saved_ms = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::PublicKey;

    #[test]
    fn a_friend_may_empty_an_outbox_at_once_and_then_five_lines_a_second() {
        let mut rates = Rates::default();
        let friend = Some(PeerId(PublicKey([1; 32])));
        assert_eq!((0..2_000).filter(|_| rates.take(friend, 1_000_000)).count(), 1_000);
        assert_eq!((0..50).filter(|_| rates.take(friend, 1_001_000)).count(), 5);
        assert!(
            rates.take(Some(PeerId(PublicKey([2; 32]))), 1_001_000),
            "another friend has its own budget"
        );
    }

    #[test]
    fn strangers_share_one_budget() {
        let mut rates = Rates::default();
        assert_eq!((0..2_000).filter(|_| rates.take(None, 1_000_000)).count(), 100);
    }
}
