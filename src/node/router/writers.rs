//! Notices about people who wrote, but are no friends.
//!
//! A line may arrive before its author: friends pass on what a node missed. On the network `lan`
//! the author becomes a friend on its first connection, and the line moves to the chat. The notice
//! therefore waits a moment.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{News, Router};
use crate::{friends::FriendsEvent, primitives::PeerId};

/// The wait before a notice: at the start, nodes of one LAN find each other within 3 s.
const WAIT: Duration = Duration::from_secs(5);

/// The authors of lines in the box of requests that the user has not been told of yet. The friends
/// thread limits their rate.
#[derive(Debug, Default)]
pub(super) struct Writers(BTreeMap<PeerId, (String, Instant)>);

impl Writers {
    /// Records a line. Several lines of one author get one notice.
    fn wrote(&mut self, peer: PeerId, name: String, now: Instant) {
        self.0.entry(peer).or_insert((name, now + WAIT));
    }

    /// Takes the authors out whose wait is over. Returns those that are still no friends.
    fn due(&mut self, now: Instant, is_friend: impl Fn(&PeerId) -> bool) -> Vec<(PeerId, String)> {
        let due = self.0.extract_if(.., |_, (_, at)| *at <= now);
        due.filter(|(peer, _)| !is_friend(peer)).map(|(peer, (name, _))| (peer, name)).collect()
    }
}

impl Router {
    /// Keeps the event of a line from somebody who is no friend. Returns any other event.
    pub(super) fn hold_request(&mut self, event: FriendsEvent) -> Option<FriendsEvent> {
        match event {
            FriendsEvent::Requested { peer, name } => {
                self.writers.wrote(peer, name, Instant::now());
                None
            }
            other => Some(other),
        }
    }

    /// Publishes the notices whose wait is over.
    pub(super) fn publish_requests(&mut self) {
        let Self { writers, trust, .. } = self;
        for (peer, name) in writers.due(Instant::now(), |peer| trust.is_friend(peer)) {
            self.publish_news(News::Friend(FriendsEvent::Requested { peer, name }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::PublicKey;

    #[test]
    fn a_writer_is_told_of_once_and_not_if_it_is_a_friend_by_then() {
        let (yjf, sr) = (PeerId(PublicKey([1; 32])), PeerId(PublicKey([2; 32])));
        let (mut writers, now) = (Writers::default(), Instant::now());
        for peer in [yjf, sr, sr] {
            writers.wrote(peer, "name".to_owned(), now);
        }
        assert_eq!(writers.due(now, |_| false), [], "yjf may be met in a moment");
        let told = writers.due(now + WAIT, |peer| *peer == yjf);
        assert_eq!(told, [(sr, "name".to_owned())]);
        assert_eq!(writers.due(now + WAIT, |_| false), []);
    }
}
