//! Replies to the node's commands: status, peers, addresses, sync and bans.

use tokio::sync::oneshot;

use super::{
    LiveStatus, Router,
    handle::{NodeCommand, PeerRow, PeerTable},
};
use crate::{
    node::clock::{moment, now},
    peers::{Ban, BanTerm},
    primitives::{PeerId, printable},
    sync::{SyncEvent, SyncReport},
    wire::limits::MAX_ADDRESSES,
};

impl Router {
    pub(super) fn on_command(&mut self, command: NodeCommand) {
        match command {
            NodeCommand::Status { reply } => self.reply_status(reply),
            NodeCommand::Peers { reply } => self.reply_peers(reply),
            NodeCommand::InviteAddresses { reply } => self.reply_addresses(reply),
            NodeCommand::Chat { friend, text, reply } => self.chat(friend, text, reply),
            NodeCommand::Broadcast { text, reply } => self.broadcast(text, reply),
            NodeCommand::Sync { peer, reply } => {
                self.next_ticket = self.next_ticket.wrapping_add(1);
                self.syncs.insert(self.next_ticket, reply);
                self.sync(SyncEvent::SyncNow { ticket: self.next_ticket, peer });
            }
            NodeCommand::Ban { peer, banned, reply } => {
                self.set_banned(peer, banned);
                // An error here and below means that the caller no longer waits.
                let _ = reply.send(());
            }
            NodeCommand::Rename { name, reply } => self.rename(name, reply),
            NodeCommand::Block { peer, blocked, reply } => self.set_blocked(peer, blocked, reply),
            NodeCommand::Befriended { peer } => self.befriended(peer),
            // The run loop ends at this command.
            NodeCommand::Stop => {}
        }
    }

    fn reply_status(&self, reply: oneshot::Sender<LiveStatus>) {
        let _ = reply.send(LiveStatus {
            progress: self.sync.progress(),
            peers: u32::try_from(self.connected.len()).unwrap_or(u32::MAX),
            kept_lines: self.friends.kept(),
            listen: self.reach.listening(),
            reach: self.reach.now.clone(),
            paths: self.reach.paths(),
            clock_offset_ms: self.clock_offset(),
            copy: self.copy.clone(),
            attempts: self.attempts.list(),
            miners: self.miners(),
        });
    }

    fn reply_peers(&self, reply: oneshot::Sender<PeerTable>) {
        let mut connected: Vec<PeerRow> = self
            .connected
            .iter()
            .map(|(peer, state)| PeerRow {
                peer: *peer,
                name: None,
                address: state.address.clone(),
                inbound: state.inbound,
                score: self.peers.score(peer, moment()),
                height: state.status.as_ref().map(|status| status.height),
                connected_at: state.since,
                relay: self.reach.relay_of(peer),
            })
            .collect();
        connected.sort_by_key(|row| (row.connected_at, row.peer));
        let banned = self.peers.banned(moment()).collect();
        let friends = self.friends.clone();
        self.spawn_work(async move {
            for row in &mut connected {
                let friend = friends.friend(row.peer).await.ok().flatten();
                row.name = friend.map(|friend| printable(&friend.name));
            }
            let _ = reply.send(PeerTable { connected, banned });
            None
        });
    }

    /// Replies with the addresses at which others can reach this node. Loopback addresses are
    /// included only if there are no others.
    fn reply_addresses(&self, reply: oneshot::Sender<Vec<String>>) {
        let (net, me) = (self.net.clone(), self.me);
        self.spawn_work(async move {
            let addresses = net.addresses().await.unwrap_or_default();
            let beyond: Vec<&String> =
                addresses.iter().filter(|address| !is_loopback(address)).collect();
            let best = if beyond.is_empty() { addresses.iter().collect() } else { beyond };
            let best =
                best.into_iter().take(MAX_ADDRESSES).map(|address| format!("{address}/p2p/{me}"));
            let _ = reply.send(best.collect());
            None
        });
    }

    pub(super) fn finish_sync(&mut self, ticket: u64, report: SyncReport) {
        if let Some(reply) = self.syncs.remove(&ticket) {
            let _ = reply.send(report);
        }
    }

    fn set_banned(&mut self, peer: PeerId, banned: bool) {
        if banned {
            self.trust.withdraw(&peer);
            self.peers.ban(peer);
            self.enforce_ban(Ban { peer, term: BanTerm::Forever });
            self.lift_others();
        } else {
            self.peers.unban(&peer);
            self.lift_ban(peer);
        }
    }

    /// Returns our clock less the median of the connected friends' clocks, in ms. Strangers have no
    /// say, since many of them cost nothing.
    fn clock_offset(&self) -> Option<i64> {
        let friends = self.connected.iter().filter(|(peer, _)| self.trust.is_friend(peer));
        let mut clocks: Vec<i64> = friends.filter_map(|(_, state)| state.clock).collect();
        clocks.sort_unstable();
        let median = *clocks.get(clocks.len() / 2)?;
        let ours = i128::from(now()).saturating_sub(i128::from(moment()));
        i64::try_from(ours.saturating_sub(i128::from(median))).ok()
    }
}

fn is_loopback(address: &str) -> bool {
    address.starts_with("/ip4/127.") || address.starts_with("/ip6/::1/")
}
