//! The router's commands about people: the node's own name, and blocked peers.

use tokio::sync::oneshot;

use super::{Router, network::log_unsent};
use crate::{node::clock::moment, primitives::PeerId};

impl Router {
    /// Adopts a new name, which is stored already, and announces it to all connected peers.
    pub(super) fn rename(&mut self, name: String, reply: oneshot::Sender<()>) {
        self.name = name;
        self.sign_profile();
        // An error means that the caller no longer waits.
        let _ = reply.send(());
    }

    /// Rejects a peer's connections from now on, or admits them again.
    pub(super) fn set_blocked(
        &mut self,
        peer: PeerId,
        is_blocked: bool,
        reply: oneshot::Sender<()>,
    ) {
        if is_blocked {
            self.blocked.insert(peer);
            log_unsent(self.net.ban(peer));
        } else {
            self.blocked.remove(&peer);
            if !self.peers.is_banned(&peer, moment()) {
                log_unsent(self.net.unban(peer));
            }
        }
        // An error means that the caller no longer waits.
        let _ = reply.send(());
    }

    /// Lifts the bans that made room for others.
    pub(super) fn lift_others(&mut self) {
        for peer in self.peers.take_lifted() {
            self.lift_ban(peer);
        }
    }

    /// Repeats blocks that a full queue may have dropped.
    pub(super) fn repeat_refusals(&self) {
        let is_refused =
            |peer: &&PeerId| self.blocked.contains(*peer) || self.peers.is_banned(peer, moment());
        for peer in self.connected.keys().filter(is_refused) {
            log_unsent(self.net.ban(*peer));
        }
    }
}
