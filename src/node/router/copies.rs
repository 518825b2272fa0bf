//! Another node with our identity: it is told loudly, and then seldom.

use std::time::Duration;

use super::{News, Router};
use crate::{node::clock::now, primitives::UnixMillis, telemetry::events};

/// The time after which a copy that is still there is told again.
const TELL_AGAIN: Duration = Duration::from_mins(10);

/// The time for which the status names a copy after it was seen.
const SHOWN: Duration = Duration::from_mins(30);

/// The age at which a friend is asked for profiles again. Our own among them may be a copy's.
pub(super) const EXPLORE_EVERY: Duration = Duration::from_mins(1);

/// A node with our identity, as it was seen last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) seen: UnixMillis,
    /// Its address; none if friends told of it.
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

    /// Returns the copy that was seen lately.
    pub(super) fn copy(&self) -> Option<Copy> {
        let is_recent =
            |copy: &&Copy| u128::from(now().saturating_sub(copy.seen)) < SHOWN.as_millis();
        self.copy.as_ref().filter(is_recent).cloned()
    }

    /// A friend holds a profile of ours that this node did not sign. Ours is signed anew, so that
    /// the copy learns of this node in the same way.
    pub(super) fn copy_signed(&mut self) {
        self.copy_seen(None);
        self.profile = None;
        self.sign_profile();
    }

    /// Asks friends again for the profiles that they know, each once in a while.
    pub(super) fn explore_old(&mut self) {
        for (peer, state) in &mut self.connected {
            let is_old = state.explored.is_some_and(|at| at.elapsed() >= EXPLORE_EVERY);
            if is_old && self.trust.is_friend(peer) {
                state.ask_again.get_or_insert(Duration::ZERO);
            }
        }
    }
}
