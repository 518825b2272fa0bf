//! Peers say how far their chain is, and we say how far ours is.

use std::time::Duration;

use super::{Purpose, Router};
use crate::{
    node::clock::now,
    primitives::{NetworkId, PeerId},
    sync::SyncEvent,
    telemetry::events,
    wire::{HelloRequest, PROTOCOL_VERSION, Request, Status},
};

/// A peer of another network is not dialed again for this long.
const WRONG_NETWORK_PAUSE: Duration = Duration::from_mins(10);

impl Router {
    pub(super) fn our_status(&self) -> Status {
        let summary = self.ledger.chain.summary();
        Status {
            version: PROTOCOL_VERSION,
            features: 0,
            network: self.network.id,
            tip: summary.tip.hash,
            height: summary.tip.height,
            work: summary.tip.work.to_be_bytes().to_vec().into(),
            time: now(),
            mempool: u32::try_from(summary.mempool).unwrap_or(u32::MAX),
        }
    }

    pub(super) fn say_hello(&mut self, peer: PeerId) {
        let request = Request::Hello(HelloRequest::Status(self.our_status()));
        self.ask(peer, Purpose::Hello, &request);
    }

    /// A peer's Status, asked for or not; false when it is of another network, and leaves.
    pub(super) fn on_status(&mut self, peer: PeerId, status: Status) -> bool {
        if status.network != self.network.id {
            self.wrong_network(peer, status.network);
            return false;
        }
        let offset = i128::from(status.time).saturating_sub(i128::from(now()));
        let clock_offset_ms = i64::try_from(offset).unwrap_or(i64::MAX);
        let Some(state) = self.connected.get_mut(&peer) else { return true };
        let first = state.status.is_none();
        let news = state.status.as_ref().is_none_or(|before| before.tip != status.tip);
        state.clock_offset_ms = Some(clock_offset_ms);
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
        if first {
            self.introduce(peer);
        }
        self.sync(SyncEvent::PeerStatus { peer, status: Box::new(status) });
        true
    }

    pub(super) fn wrong_network(&mut self, peer: PeerId, network: NetworkId) {
        // Once is enough, whatever else it sends until it is gone.
        let Some(state) = self.connected.get_mut(&peer).filter(|state| !state.foreign) else {
            return;
        };
        state.foreign = true;
        events::WrongNetwork { peer, network }.emit();
        self.leave(peer, WRONG_NETWORK_PAUSE);
    }
}
