//! Warns of another node with our identity: at once, and then at long intervals.

use std::time::Duration;

use super::{News, Router};
use crate::{node::clock::now, primitives::UnixMillis, telemetry::events};

/// The time after which the warning of a copy is repeated.
const TELL_AGAIN: Duration = Duration::from_mins(10);

/// The time for which `status` names a copy after it was seen.
const SHOWN: Duration = Duration::from_mins(30);

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

    /// Returns the copy, if it was seen recently.
    pub(super) fn copy(&self) -> Option<Copy> {
        let is_recent =
            |copy: &&Copy| u128::from(now().saturating_sub(copy.seen)) < SHOWN.as_millis();
        self.copy.as_ref().filter(is_recent).cloned()
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
