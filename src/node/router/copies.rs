//! Warns of another node with our identity: at once, then at long intervals, and once more when it
//! has ended.

use std::time::Duration;

use super::{News, Router};
use crate::{node::clock::now, primitives::UnixMillis, telemetry::events};

/// The time after which the warning of a copy is repeated.
const TELL_AGAIN: Duration = Duration::from_mins(10);

/// The time after which a copy that was not seen again counts as ended. A copy that runs is seen
/// every 2 minutes: the network dials it, or it calls, or friends report it.
pub(crate) const ENDED_AFTER: Duration = Duration::from_mins(10);

/// Interval at which friends are asked for profiles again. A copy may have signed the one of ours.
pub(super) const EXPLORE_EVERY: Duration = Duration::from_mins(1);

/// A node with our identity, as last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) seen: UnixMillis,
    /// The copy's address; `None` if friends reported it.
    pub(crate) address: Option<String>,
    told: UnixMillis,
}

impl Copy {
    fn is_old(&self, now: UnixMillis) -> bool {
        u128::from(now.saturating_sub(self.seen)) >= ENDED_AFTER.as_millis()
    }
}

impl Router {
    /// Records that another node with our identity runs.
    pub(super) fn copy_seen(&mut self, address: Option<String>) {
        let seen = now();
        let before = self.copy.take();
        let told = before
            .as_ref()
            .map(|copy| copy.told)
            .filter(|told| u128::from(seen.saturating_sub(*told)) < TELL_AGAIN.as_millis());
        if told.is_none() {
            events::CopyRuns { address: address.clone() }.emit();
            self.publish_news(News::CopyRuns { address: address.clone() });
        }
        let address = address.or_else(|| before.and_then(|copy| copy.address));
        self.copy = Some(Copy { seen, address, told: told.unwrap_or(seen) });
    }

    /// Takes the warning of a copy back, once. `address` is the one at which a dial found that the
    /// copy has ended.
    pub(super) fn copy_ended(&mut self, address: Option<String>) {
        if self.copy.take().is_some() {
            events::CopyEnded { address: address.clone() }.emit();
            self.publish_news(News::CopyEnded { address });
        }
    }

    /// Takes the warning back if the copy was not seen for [`ENDED_AFTER`].
    pub(super) fn forget_old_copy(&mut self) {
        if self.copy.as_ref().is_some_and(|copy| copy.is_old(now())) {
            self.copy_ended(None);
        }
    }

    /// Handles a profile of ours that a friend has and this node did not sign. Ours is signed
    /// again, so that the copy learns of this node in the same way.
    pub(super) fn copy_signed(&mut self) {
        self.copy_seen(None);
        self.profile = None;
        self.sign_profile();
    }

    /// Marks friends to be asked again for profiles, each after [`EXPLORE_EVERY`].
    pub(super) fn explore_old(&mut self) {
        for (peer, state) in &mut self.connected {
            let is_old = state.explored.is_some_and(|at| at.elapsed() >= EXPLORE_EVERY);
            if is_old && self.trust.is_friend(peer) {
                state.ask_again.get_or_insert(Duration::ZERO);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_old_once_it_was_not_seen_for_ten_minutes() {
        let copy = Copy { seen: 1_000_000, address: None, told: 0 };
        assert!(!copy.is_old(1_000_000 + 599_999) && copy.is_old(1_000_000 + 600_000));
        assert!(!copy.is_old(0), "a clock that was set back");
    }
}
