//! Peers that the user forgets, and peers that the user blocks.
//!
//! `forget` makes a peer a stranger again and removes its profile, its addresses and its waiting
//! lines. The chat with it stays, under the name that it had. The peer may come back like any
//! stranger.
//!
//! `block-friend` silences a person. The node rejects the peer's lines, profile, goodbyes and
//! connections, whoever forwards them. What the node knows about the peer stays, so that
//! `unblock-friend` can restore everything. A ban by command, in contrast, is about a misbehaving
//! node, and removes it from the friends.

use std::collections::BTreeMap;

use redb::ReadableTable as _;

use super::{
    Friends, ResolveError, StoreFault,
    chat::LineState,
    errors::FindError,
    former::Former,
    profiles::Presence,
    resolve::{Asked, ask, shown},
    store::Store,
};
use crate::primitives::{FriendName, PeerId, PublicKey, UnixMillis};

/// The most blocked peers. Each one is a row and needs a command of the user.
pub(crate) const MAX_BLOCKED: usize = 1_024;

/// Reads the blocked peers with the time of each block and the name at that time.
pub(super) fn load(store: &Store) -> Result<BTreeMap<PeerId, Former>, StoreFault> {
    store.view(|tables| {
        let mut blocked = BTreeMap::new();
        for row in tables.blocked.iter()? {
            let (peer, row) = row?;
            let (since, name) = row.value();
            let former = Former { since, name: FriendName::of_any(name) };
            blocked.insert(PeerId(PublicKey(*peer.value())), former);
        }
        Ok(blocked)
    })
}

impl Friends {
    /// True if the user blocked the peer.
    pub(super) fn is_blocked(&self, peer: &PeerId) -> bool {
        self.blocked.contains_key(peer)
    }

    /// Returns the blocked peers.
    #[must_use]
    pub(crate) fn blocked(&self) -> Vec<PeerId> {
        self.blocked.keys().copied().collect()
    }

    /// Forgets the peer named by a text. Returns the peer, and the label that it had.
    pub(crate) fn forget(
        &mut self,
        text: &str,
        now: UnixMillis,
    ) -> Result<(PeerId, String), FindError> {
        let peer = self.find(text, true)?;
        let label = self.full_label(&peer);
        if self.is_blocked(&peer) {
            return Err(ResolveError::Blocked(label).into());
        }
        self.settle_all(peer)?;
        self.drop_profile(&peer, now)?;
        self.strangers.remove(&peer);
        self.disown(peer)?;
        self.hush(&peer);
        Ok((peer, label))
    }

    /// Blocks the peer named by a text. Returns the peer, and the label that it had.
    pub(crate) fn block(
        &mut self,
        text: &str,
        now: UnixMillis,
    ) -> Result<(PeerId, String), FindError> {
        let peer = self.resolve_anybody(text)?;
        let label = self.full_label(&peer);
        if self.is_blocked(&peer) {
            return Ok((peer, label));
        }
        if self.blocked.len() >= MAX_BLOCKED {
            return Err(ResolveError::TooManyBlocked(MAX_BLOCKED).into());
        }
        if self.is_online(&peer) {
            self.seen(&peer, now)?;
        }
        let name = self.name_of(&peer).cloned().unwrap_or_else(|| FriendName::of_any(""));
        let requests = self.take_requests(&peer);
        self.drop_kept_of(&peer)?;
        self.store.write(|tables| {
            for order in requests.keys() {
                tables.requests.remove(order)?;
            }
            let row = (now, name.as_str());
            Ok::<_, StoreFault>(tables.blocked.insert(&peer.0.0, row).map(drop)?)
        })?;
        self.blocked.insert(peer, Former { since: now, name });
        self.trust.withdraw(&peer);
        self.hush(&peer);
        Ok((peer, label))
    }

    /// Lifts the block of the peer named by a text. Returns the peer, and its label from now on.
    pub(crate) fn unblock(&mut self, text: &str) -> Result<(PeerId, String), FindError> {
        let peer = self.find_blocked(text)?;
        self.store
            .write(|tables| Ok::<_, StoreFault>(tables.blocked.remove(&peer.0.0).map(drop)?))?;
        self.blocked.remove(&peer);
        self.restore_trust();
        Ok((peer, self.full_label(&peer)))
    }

    fn find_blocked(&self, text: &str) -> Result<PeerId, ResolveError> {
        let found: Vec<PeerId> = match ask(text)? {
            Asked::Peer(peer) => self.blocked.keys().filter(|key| **key == peer).copied().collect(),
            Asked::Name { name, suffix } => {
                let bears = |peer: &&PeerId| {
                    self.name_of(peer).is_some_and(|borne| borne.is_like(&name))
                        && Asked::fits(suffix.as_ref(), peer)
                };
                self.blocked.keys().filter(bears).copied().collect()
            }
        };
        match found[..] {
            [] => Err(ResolveError::NotBlocked(shown(text))),
            [peer] => Ok(peer),
            _ => Err(ResolveError::Ambiguous {
                name: shown(text),
                candidates: self.candidates(&found, 0),
            }),
        }
    }

    /// Restores the levels of trust from the tables, without the blocked peers.
    pub(super) fn restore_trust(&self) {
        for (peer, standing) in &self.people {
            if self.is_blocked(peer) {
                continue;
            }
            if standing.accepted {
                self.trust.accept(*peer);
            } else if standing.nearby {
                self.trust.met_nearby(*peer);
            }
        }
        // After all friends are known, since only a friend vouches.
        for (peer, known) in &self.known {
            if let Some(voucher) = known.voucher
                && !self.is_blocked(peer)
            {
                self.trust.vouch(&voucher, *peer);
            }
        }
    }

    /// Removes the lines that wait for a peer from the outbox, as refused.
    fn settle_all(&mut self, peer: PeerId) -> Result<(), StoreFault> {
        let limit = usize::try_from(super::MAX_OUTBOX_PER_FRIEND).unwrap_or(usize::MAX);
        for sent in self.outbox_for(&peer, limit)? {
            self.settle(peer, sent.id, LineState::Refused)?;
        }
        Ok(())
    }

    /// Marks a peer as not joined, without an event.
    fn hush(&mut self, peer: &PeerId) {
        if let Some(presence) = self.presence.get_mut(peer) {
            *presence = Presence::Connected;
        }
    }
}
