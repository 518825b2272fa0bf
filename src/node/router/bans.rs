//! Lowers scores, and closes the connections of banned peers.

use super::{Router, network::log_unsent};
use crate::{
    node::clock::{moment, now},
    peers::{BAN_MS, Ban, BanTerm, Offence},
    primitives::PeerId,
};

impl Router {
    /// Lowers a peer's score. If that bans the peer, its connections are closed.
    pub(super) fn penalise(&mut self, peer: PeerId, offence: Offence, reason: &str) {
        self.metrics.peer_penalised(offence.code());
        if self.peers.penalise(peer, offence, reason, moment()).banned {
            let term = BanTerm::Until(now().saturating_add(BAN_MS));
            self.enforce_ban(Ban { peer, term });
            self.lift_others();
        }
    }

    /// Closes a banned peer's connections, and stores the ban for the next run.
    pub(super) fn enforce_ban(&self, ban: Ban) {
        log_unsent(self.net.ban(ban.peer));
        let friends = self.friends.clone();
        self.spawn_work(async move {
            if let Err(error) = friends.keep_ban(ban).await {
                tracing::warn!(%error, "a ban could not be stored");
            }
            None
        });
    }

    pub(super) fn lift_ban(&self, peer: PeerId) {
        if !self.blocked.contains(&peer) {
            log_unsent(self.net.unban(peer));
        }
        let friends = self.friends.clone();
        self.spawn_work(async move {
            if let Err(error) = friends.forget_ban(peer).await {
                tracing::warn!(%error, "the end of a ban could not be stored");
            }
            None
        });
    }
}
