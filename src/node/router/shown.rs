//! What people are shown of all this: the consoles' events, and the answers about peers, addresses
//! and clocks.

use tokio::sync::oneshot;

use super::{Done, Router};
use crate::{
    chain::{ChainReader, Divergence, Tip},
    friends::{Departure, FriendsEvent},
    node::clock::now,
    primitives::{BlockHash, Height, Transaction, TransactionKind, TxId, printable},
    rpc::types::{ConsoleEvent, PeerList, PeerView},
    telemetry::events,
    wire::limits::MAX_ADDRESSES,
};

/// A friend's clock further off than this is worth a word: well above what NTP and the network
/// explain.
const CLOCK_OFFSET_MS: u64 = 60_000;

impl Router {
    /// Tells consoles of blocks: one alone with its notes, many as a number.
    pub(super) fn show_connected(&mut self, connected: &[(BlockHash, Height)], mined: &[TxId]) {
        let Some(&(hash, height)) = connected.last() else { return };
        let own = mined.iter().filter(|txid| self.own_trades.remove(txid)).copied();
        let own: Vec<_> =
            own.map(|txid| ConsoleEvent::TradeMined { txid, block: hash, height }).collect();
        let count = u32::try_from(connected.len()).unwrap_or(u32::MAX);
        let reader = self.ledger.reader.clone();
        self.spawn_work(async move {
            let notes = if count == 1 {
                tokio::task::spawn_blocking(move || notes_of(&reader, &hash))
                    .await
                    .unwrap_or_default()
            } else {
                Vec::new()
            };
            let block = ConsoleEvent::BlockConnected { hash, height, count, notes };
            Some(Done::Console([vec![block], own].concat()))
        });
    }

    /// Tells operator and consoles that there are two branches to choose between, and that there no
    /// longer are: once each, however many blocks the branches grow by.
    pub(super) fn show_divergence(&mut self, found: Option<Divergence>) {
        let fork = found.map(|found| found.fork);
        let before = std::mem::replace(&mut self.fork, fork);
        if before == fork {
            return;
        }
        if let Some(found) = found {
            let Divergence { fork_height, ours, theirs, .. } = found;
            let (tip, height, branch, branch_height) =
                (ours.hash, ours.height, theirs.hash, theirs.height);
            events::Diverged { tip, height, branch, branch_height, fork_height }.emit();
            self.feed.push(ConsoleEvent::Diverged {
                tip,
                height,
                branch,
                branch_height,
                fork_height,
            });
        } else {
            let Tip { hash, height, .. } = self.ledger.chain.summary().tip;
            events::Reunited { tip: hash, height }.emit();
            self.feed.push(ConsoleEvent::Reunited { tip: hash, height });
        }
    }

    /// What friends do, for the consoles.
    pub(super) fn show_friends(&mut self, event: FriendsEvent) {
        let shown = match event {
            FriendsEvent::Joined { peer, name } => {
                ConsoleEvent::FriendJoined { name: printable(&name), peer_id: peer }
            }
            FriendsEvent::Left { peer, name, how } => ConsoleEvent::FriendLeft {
                name: printable(&name),
                peer_id: peer,
                quit: how == Departure::Quit,
            },
            FriendsEvent::Renamed { old, new, .. } => {
                ConsoleEvent::Notice { text: printable(&format!("{old} is called {new} now")) }
            }
            FriendsEvent::Received(record) => ConsoleEvent::Chat {
                from: printable(&record.from_name),
                text: printable(&record.text),
                direct: record.to.is_some(),
                time: record.time,
            },
            FriendsEvent::Delivered { id, .. } if self.awaited.remove(&id) => return,
            FriendsEvent::Delivered { id, name, .. } => {
                ConsoleEvent::ChatDelivered { to: printable(&name), id: id.to_string() }
            }
            FriendsEvent::Refused { name, why, .. } => ConsoleEvent::Notice {
                text: printable(&format!(
                    "{name} refuses your line ({why:?}): it is not sent again"
                )),
            },
        };
        self.feed.push(shown);
    }

    pub(super) fn tell_peers(&self, reply: oneshot::Sender<PeerList>) {
        let mut peers: Vec<PeerView> = self
            .connected
            .iter()
            .map(|(peer, state)| PeerView {
                peer_id: *peer,
                name: None,
                address: state.address.clone(),
                inbound: state.inbound,
                score: self.peers.score(peer, now()),
                height: state.status.as_ref().map(|status| status.height),
                connected_at: Some(state.since),
            })
            .collect();
        peers.sort_by_key(|peer| (peer.connected_at, peer.peer_id));
        let banned = self.peers.bans(now()).map(|ban| ban.peer).collect();
        let friends = self.friends.clone();
        self.spawn_work(async move {
            for peer in &mut peers {
                let friend = friends.friend(peer.peer_id).await.ok().flatten();
                peer.name = friend.map(|friend| printable(&friend.name));
            }
            // Whoever asked may have gone.
            let _ = reply.send(PeerList { peers, banned });
            None
        });
    }

    /// Where others can reach this node: not loopback, unless there is nothing else.
    pub(super) fn tell_addresses(&self, reply: oneshot::Sender<Vec<String>>) {
        let (net, me) = (self.net.clone(), self.identity.peer_id());
        self.spawn_work(async move {
            let addresses = net.addresses().await.unwrap_or_default();
            let beyond: Vec<&String> =
                addresses.iter().filter(|address| !is_loopback(address)).collect();
            let best = if beyond.is_empty() { addresses.iter().collect() } else { beyond };
            let best =
                best.into_iter().take(MAX_ADDRESSES).map(|address| format!("{address}/p2p/{me}"));
            // Whoever asked may have gone.
            let _ = reply.send(best.collect());
            None
        });
    }

    /// Our clock less the median of our friends', in ms.
    pub(super) fn clock_offset(&self) -> Option<i64> {
        let mut offsets: Vec<i64> =
            self.connected.values().filter_map(|state| state.clock_offset_ms).collect();
        offsets.sort_unstable();
        let median = *offsets.get(offsets.len() / 2)?;
        Some(median.saturating_neg())
    }
}

/// Whether a clock's offset, in ms, is worth a word.
pub(in crate::node) const fn is_far_off(offset: i64) -> bool {
    offset.unsigned_abs() >= CLOCK_OFFSET_MS
}

fn is_loopback(address: &str) -> bool {
    address.starts_with("/ip4/127.") || address.starts_with("/ip6/::1/")
}

/// The texts of a block's notes, printable.
fn notes_of(reader: &ChainReader, hash: &BlockHash) -> Vec<String> {
    let Some(info) = reader.block(hash) else { return Vec::new() };
    let notes = info
        .block
        .transactions
        .iter()
        .filter(|transaction| transaction.kind() == TransactionKind::Note);
    notes.map(Transaction::memo_text).collect()
}
