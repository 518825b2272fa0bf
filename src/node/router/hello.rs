//! Exchanges Status with peers: network, tip and clock of each side.

use std::time::Duration;

use tokio::time::Instant;

use super::{Connected, Purpose, Router, attempts::Failure};
use crate::{
    net::site_of,
    node::clock::{moment, now},
    primitives::{MiningMode, NetworkId, PeerId},
    sync::SyncEvent,
    telemetry::events,
    wire::{FEATURE_MINES, HelloRequest, PROTOCOL_VERSION, Request, Status},
};

/// The time for which a peer of another network is not dialed again.
const WRONG_NETWORK_PAUSE: Duration = Duration::from_mins(10);

impl Router {
    pub(super) fn our_status(&self) -> Status {
        let summary = self.chain.summary();
        Status {
            version: PROTOCOL_VERSION,
            features: if self.mining == MiningMode::Off { 0 } else { FEATURE_MINES },
            network: self.network.id,
            tip: summary.tip.hash,
            height: summary.tip.height,
            work: summary.tip.work.to_be_bytes().to_vec().into(),
            time: now(),
            mempool: u32::try_from(summary.mempool).unwrap_or(u32::MAX),
        }
    }

    pub(super) fn send_hello(&mut self, peer: PeerId) {
        let request = Request::Hello(HelloRequest::Status(self.our_status()));
        self.request(peer, Purpose::Hello, &request);
    }

    /// Handles a peer's Status, whether it is a request or a response.
    pub(super) fn on_status(&mut self, peer: PeerId, status: Status) {
        if status.network != self.network.id {
            return self.wrong_network(peer, status.network);
        }
        let offset = i128::from(status.time).saturating_sub(i128::from(now()));
        let clock_offset_ms = i64::try_from(offset).unwrap_or(i64::MAX);
        let clock = i128::from(status.time).saturating_sub(i128::from(moment()));
        let Some(state) = self.connected.get_mut(&peer) else { return };
        let (first, site) = (state.status.is_none(), site_of(&state.address));
        let news = state.status.as_ref().is_none_or(|before| before.tip != status.tip);
        state.clock = Some(i64::try_from(clock).unwrap_or(i64::MAX));
        state.status = Some(status.clone());
        if news {
            events::StatusExchanged {
                peer,
                message: "version",
                height: status.height,
                tip: status.tip,
                clock_offset_ms,
            }
            .emit();
        }
        self.greeted(peer);
        if first {
            self.introduce(peer);
        }
        self.sync(SyncEvent::PeerStatus { peer, status: Box::new(status) });
        self.sync(SyncEvent::PeerAt { peer, site });
        if first {
            self.serve_after_hello(peer);
        }
    }

    /// Reports to the network that the peer has said hello, so that the connection stays. If the
    /// queue is full, the next hello or [`Router::greet_again`] repeats the report.
    fn greeted(&mut self, peer: PeerId) {
        if let Some(state) = self.connected.get_mut(&peer).filter(|state| !state.greeted) {
            state.greeted = self.net.greeted(peer).is_ok();
        }
    }

    /// Sends hello again to peers that have not answered it, since a busy peer may have replied
    /// Busy.
    pub(super) fn greet_again(&mut self) {
        self.greeting = Instant::now();
        let is_open = |state: &Connected| !state.greeted && !state.foreign;
        let open: Vec<(PeerId, bool)> = self
            .connected
            .iter()
            .filter(|(_, state)| is_open(state))
            .map(|(peer, state)| (*peer, state.status.is_some()))
            .collect();
        for (peer, has_status) in open {
            if has_status {
                self.greeted(peer);
            } else {
                self.send_hello(peer);
            }
        }
    }

    /// Disconnects a peer of another network. Later calls for the same connection do nothing.
    pub(super) fn wrong_network(&mut self, peer: PeerId, network: NetworkId) {
        // The user waits for friends alone. Anybody can name an address where another network is.
        let is_friend = self.trust.is_friend(&peer);
        let Some(state) = self.connected.get_mut(&peer).filter(|state| !state.foreign) else {
            return;
        };
        state.foreign = true;
        let dialed = (!state.inbound && is_friend).then(|| state.address.clone());
        events::WrongNetwork { peer, network }.emit();
        self.disconnect(peer, WRONG_NETWORK_PAUSE);
        if let Some(address) = dialed {
            self.no_way(&address, Some(peer), Failure::OtherNetwork, String::new());
        }
    }

    /// Returns the number of connected peers that claim to mine.
    pub(super) fn miners(&self) -> u32 {
        let all = self.connected.values().filter_map(|state| state.status.as_ref());
        let mining = all.filter(|status| status.features & FEATURE_MINES != 0);
        u32::try_from(mining.count()).unwrap_or(u32::MAX)
    }
}
