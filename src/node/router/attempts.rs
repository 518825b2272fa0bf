//! The addresses that the node tries, and the reasons why no connection was made.
//!
//! `status` shows them to a user who is alone. They are the user's own addresses, and those of
//! friends.

use std::collections::BTreeMap;

use crate::{net::DialCause, peers::Trust, primitives::PeerId, wire::address::split_peer};

/// The most addresses that are kept: more than a person reads.
const MAX_ATTEMPTS: usize = 16;

/// The reason why a dial did not lead to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The dial failed.
    Dial(DialCause),
    /// The peer there is of another network.
    OtherNetwork,
}

impl Failure {
    /// True if waiting rarely helps, so that the user has to do something.
    pub(super) const fn needs_the_user(self) -> bool {
        match self {
            Self::OtherNetwork => true,
            Self::Dial(cause) => matches!(
                cause,
                DialCause::NameNotFound | DialCause::WrongPeer | DialCause::SameIdentity
            ),
        }
    }
}

/// An address that the node tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Multiaddr without `/p2p/`.
    pub(crate) address: String,
    /// The expected peer, if it is known.
    pub(crate) peer: Option<PeerId>,
    /// True if the user gave the address: a `--peer`, or an invite's.
    pub(crate) by_user: bool,
    /// The last failure, and its details; `None` before the first outcome.
    pub(crate) failure: Option<(Failure, String)>,
    /// The number of failures in a row.
    pub(crate) failures: u32,
}

/// The attempts by address.
#[derive(Debug, Default)]
pub(super) struct Attempts(BTreeMap<String, Attempt>);

impl Attempts {
    /// Returns attempts that begin now, at these multiaddrs.
    pub(super) fn of(addresses: &[String]) -> Self {
        let mut attempts = Self::default();
        for address in addresses {
            let (address, peer) = split_peer(address);
            if let Some(attempt) = attempts.entry(address, peer.and_then(|peer| peer.parse().ok()))
            {
                attempt.by_user = true;
            }
        }
        attempts
    }

    fn entry(&mut self, address: &str, peer: Option<PeerId>) -> Option<&mut Attempt> {
        if self.0.len() >= MAX_ATTEMPTS && !self.0.contains_key(address) {
            return None;
        }
        let new = || Attempt {
            address: address.to_owned(),
            peer,
            by_user: false,
            failure: None,
            failures: 0,
        };
        Some(self.0.entry(address.to_owned()).or_insert_with(new))
    }

    /// Records a failure. Returns the attempt if this kind of failure is new for it.
    pub(super) fn failed(
        &mut self,
        address: &str,
        peer: Option<PeerId>,
        failure: Failure,
        details: String,
    ) -> Option<&Attempt> {
        let attempt = self.entry(split_peer(address).0, peer)?;
        let is_new = attempt.failure.as_ref().is_none_or(|(before, _)| *before != failure);
        attempt.peer = attempt.peer.or(peer);
        attempt.failure = Some((failure, details));
        attempt.failures = attempt.failures.saturating_add(1);
        is_new.then_some(attempt)
    }

    /// Removes an attempt that led to a connection.
    pub(super) fn answered(&mut self, address: &str, peer: &PeerId) {
        let address = split_peer(address).0;
        self.0.retain(|known, attempt| known != address && attempt.peer.as_ref() != Some(peer));
    }

    /// True if a notice about the attempt helps the user, who gave the address or knows its peer as
    /// a friend. Neighbours of other groups are nobody's business.
    pub(super) fn is_news(attempt: &Attempt, trust: &Trust) -> bool {
        attempt.by_user || attempt.peer.is_some_and(|peer| trust.is_friend(&peer))
    }

    /// Returns all attempts, by address.
    pub(super) fn list(&self) -> Vec<Attempt> {
        self.0.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::PublicKey;

    const REFUSED: Failure = Failure::Dial(DialCause::Refused);

    fn failed(attempts: &mut Attempts, address: &str, failure: Failure) -> bool {
        attempts.failed(address, None, failure, String::new()).is_some()
    }

    #[test]
    fn a_failure_is_news_once_until_it_changes() {
        let mut attempts = Attempts::of(&["/ip4/10.0.0.1/tcp/1".to_owned()]);
        assert_eq!(attempts.list()[0].failure, None);
        assert!(failed(&mut attempts, "/ip4/10.0.0.1/tcp/1", REFUSED));
        assert!(!failed(&mut attempts, "/ip4/10.0.0.1/tcp/1", REFUSED));
        let other = Failure::OtherNetwork;
        assert!(failed(&mut attempts, "/ip4/10.0.0.1/tcp/1", other));
        assert_eq!((attempts.list().len(), attempts.list()[0].failures), (1, 3));
        assert!(other.needs_the_user() && !REFUSED.needs_the_user());
    }

    #[test]
    fn only_the_users_addresses_and_friends_are_worth_a_notice() {
        let (friend, neighbour) = (PeerId(PublicKey([1; 32])), PeerId(PublicKey([2; 32])));
        let trust = Trust::new([friend], false);
        let named = "/ip4/10.0.0.1/tcp/1";
        let mut attempts = Attempts::of(&[named.to_owned()]);
        for (address, peer, is_news) in [
            (named, neighbour, true),
            ("/ip4/10.0.0.2/tcp/1", friend, true),
            ("/ip4/10.0.0.3/udp/1/quic-v1", neighbour, false),
        ] {
            let failed = attempts.failed(address, Some(peer), Failure::OtherNetwork, String::new());
            assert_eq!(Attempts::is_news(failed.unwrap(), &trust), is_news, "{address}");
        }
        assert_eq!(attempts.list().len(), 3, "status shows them all");
    }

    #[test]
    fn a_connection_ends_the_attempts_at_its_peer_and_few_are_kept() {
        let mut attempts = Attempts::default();
        let peer = PeerId(PublicKey([5; 32]));
        attempts.failed("/ip4/10.0.0.1/tcp/1", Some(peer), REFUSED, String::new());
        failed(&mut attempts, "/ip4/10.0.0.2/tcp/1", REFUSED);
        attempts.answered(&format!("/ip4/10.0.0.2/tcp/1/p2p/{peer}"), &peer);
        assert!(attempts.list().is_empty());
        for port in 0..100 {
            failed(&mut attempts, &format!("/ip4/10.0.0.1/tcp/{port}"), REFUSED);
        }
        assert_eq!(attempts.list().len(), MAX_ATTEMPTS);
    }
}
