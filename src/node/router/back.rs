//! One notice after this machine has slept, instead of one for each friend.

use std::time::Duration;

use tokio::time::Instant;

use super::{News, Router};
use crate::friends::FriendsEvent;

/// Time after a wake in which friends reconnect before the notice is published.
const SETTLING: Duration = Duration::from_secs(3);
/// The shortest sleep that gets a notice. Connections survive a shorter one.
const MIN_AWAY: Duration = Duration::from_secs(20);
/// The longest time from a wake to its notice.
const MAX_SETTLING: Duration = Duration::from_secs(12);

/// A wake whose notice is not published yet.
#[derive(Debug)]
pub(super) struct Back {
    /// The time for which the machine slept, in ms.
    away_ms: u64,
    since: Instant,
    /// Number of friends who were connected before.
    before: usize,
    /// Number of chat lines that have arrived since the wake.
    lines: u32,
}

impl Router {
    /// Ends time-outs that ran during the sleep, without a penalty for any peer. `away` is the time
    /// slept; zero if only the network has changed.
    pub(super) fn woke(&mut self, away: Duration) {
        self.sync(crate::sync::SyncEvent::Woke);
        self.ask_all_missed();
        if away < MIN_AWAY {
            return;
        }
        let away_ms = u64::try_from(away.as_millis()).unwrap_or(u64::MAX);
        let (since, before) = (Instant::now(), self.friends_here());
        // The network and the router's tick both notice the same sleep.
        let back = self.back.get_or_insert(Back { away_ms, since, before, lines: 0 });
        back.away_ms = back.away_ms.max(away_ms);
        back.since = since;
    }

    /// Counts an event of a friend after a wake. Returns true if the wake's notice covers the
    /// event.
    pub(super) fn is_part_of_wake(&mut self, event: &FriendsEvent) -> bool {
        let Some(back) = &mut self.back else { return false };
        match event {
            FriendsEvent::Joined { .. } | FriendsEvent::Left { .. } => true,
            FriendsEvent::Received(_) => {
                back.lines = back.lines.saturating_add(1);
                false
            }
            _ => false,
        }
    }

    /// Publishes the notice once friends are here again and their missed lines have arrived.
    pub(super) fn publish_back(&mut self) {
        let Some(back) = &self.back else { return };
        let (elapsed, friends) = (back.since.elapsed(), self.friends_here());
        let is_settled = friends >= back.before && !self.is_catching_up();
        if elapsed < SETTLING || (elapsed < MAX_SETTLING && !is_settled) {
            return;
        }
        let (away_ms, lines) = (back.away_ms, back.lines);
        self.back = None;
        let friends = u32::try_from(friends).unwrap_or(u32::MAX);
        self.publish_news(News::Back { away_ms, friends, lines });
    }

    /// Returns the number of friends who are connected and on this chain.
    fn friends_here(&self) -> usize {
        let here = self.connected.iter().filter(|(_, state)| state.status.is_some());
        here.filter(|(peer, _)| self.trust.is_friend(peer)).count()
    }
}
