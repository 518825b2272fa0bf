//! The way in which others reach the node, and the way to each peer, for `status` and `friends`.

use std::collections::HashMap;

use super::Router;
use crate::{
    net::{ReachSnapshot, ReachWay},
    primitives::{PeerId, UnixMillis},
    telemetry::{events, metrics::EventMetrics},
    wire::SignedProfile,
};

/// The network's last report.
#[derive(Debug, Default)]
pub(super) struct ReachState {
    /// `None` until the network has reported how others reach the node.
    pub(super) now: Option<ReachSnapshot>,
    /// The peers behind relays, and the relay of each if it is known.
    paths: HashMap<PeerId, Option<PeerId>>,
    /// The sequence of the profile of each connected friend.
    sequences: HashMap<PeerId, UnixMillis>,
}

impl ReachState {
    /// Returns the multiaddrs on which the node accepts connections.
    pub(super) fn listening(&self) -> Vec<String> {
        self.now.as_ref().map(|reach| reach.listening.clone()).unwrap_or_default()
    }

    /// Returns the peers behind relays, and the relay of each.
    pub(super) fn paths(&self) -> HashMap<PeerId, Option<PeerId>> {
        self.paths.clone()
    }

    /// Returns the relay of a peer behind one, if it is known.
    pub(super) fn relay_of(&self, peer: &PeerId) -> Option<PeerId> {
        self.paths.get(peer).copied().flatten()
    }

    /// Removes a peer that has disconnected.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        self.paths.remove(peer);
        self.sequences.remove(peer);
    }

    /// True if a connected friend's profile differs from the last one.
    pub(super) fn is_new(&mut self, profile: &SignedProfile) -> bool {
        self.sequences.insert(profile.peer, profile.sequence) != Some(profile.sequence)
    }
}

/// Returns the name of a way in logs, metrics and replies.
const fn way_name(way: ReachWay) -> &'static str {
    match way {
        ReachWay::Public => "public",
        ReachWay::Mapped => "mapped",
        ReachWay::Relayed => "relayed",
        ReachWay::Lan => "lan",
        ReachWay::Nowhere => "nowhere",
    }
}

const WAYS: [ReachWay; 5] =
    [ReachWay::Public, ReachWay::Mapped, ReachWay::Relayed, ReachWay::Lan, ReachWay::Nowhere];

/// Creates the series of this file at zero, so that the first event of a kind shows as an increase.
pub(super) fn count_from_zero(metrics: &EventMetrics) {
    for what in ["reserved", "refused", "circuit", "circuit_refused", "circuit_closed"] {
        drop(metrics.relay_requests.get_or_create(&[("what", what)]));
    }
    for outcome in ["direct", "failed"] {
        drop(metrics.hole_punches.get_or_create(&[("outcome", outcome)]));
    }
    for way in WAYS {
        drop(metrics.reach.get_or_create(&[("way", way_name(way))]));
    }
}

impl Router {
    /// Stores how others reach the node now, and signs the profile with its addresses.
    pub(super) fn on_reach(&mut self, reach: ReachSnapshot) {
        if self.reach.now.as_ref().is_none_or(|before| before.way != reach.way) {
            events::ReachChanged { way: way_name(reach.way) }.emit();
            for way in WAYS {
                let is_so = i64::from(way == reach.way);
                self.metrics.reach.get_or_create(&[("way", way_name(way))]).set(is_so);
            }
        }
        self.reach.now = Some(reach);
        self.sign_profile();
    }

    /// Stores the way to a connected peer.
    pub(super) fn path_changed(&mut self, peer: PeerId, relay: Option<PeerId>, address: String) {
        events::PeerPath { peer, relay }.emit();
        let relayed = address.contains("/p2p-circuit");
        if relayed {
            self.reach.paths.insert(peer, relay);
        } else {
            self.reach.paths.remove(&peer);
        }
        if let Some(state) = self.connected.get_mut(&peer) {
            state.address = address;
        }
        self.metrics.relayed_peers.set(i64::try_from(self.reach.paths.len()).unwrap_or(i64::MAX));
    }

    pub(super) fn on_relaying(&mut self, peer: PeerId, what: &'static str) {
        events::Relaying { peer, what }.emit();
        self.metrics.relay_requests.get_or_create(&[("what", what)]).inc();
    }

    pub(super) fn on_punched(&mut self, peer: PeerId, direct: bool) {
        events::HolePunched { peer, direct }.emit();
        let outcome = if direct { "direct" } else { "failed" };
        self.metrics.hole_punches.get_or_create(&[("outcome", outcome)]).inc();
    }
}
