//! Changes of a peer's standing: the user accepts it, writes to it or bans it, or the network `lan`
//! makes it a friend.

use super::{
    Friends, ProfileError, ResolveError, StoreFault, chat, conversations,
    requests::Request,
    standing::{self, Standing, is_chosen_in},
};
use crate::{
    peers::Level,
    primitives::{PeerId, UnixMillis},
};

/// The most peers kept only because they were met nearby. A further one evicts the one not seen for
/// longest: on a local network, keys are free.
pub(crate) const MAX_NEARBY_KEPT: usize = 512;

impl Friends {
    /// Returns the level of a peer.
    pub(super) fn level(&self, peer: &PeerId) -> Level {
        self.trust.level(peer)
    }

    /// True if the user chose the peer, by accepting it or by writing to it.
    pub(super) fn is_chosen(&self, peer: &PeerId) -> bool {
        is_chosen_in(&self.people, peer)
    }

    /// True if the peer's lines go into the chat, and not into the box of requests.
    pub(super) fn may_chat(&self, peer: &PeerId) -> bool {
        self.trust.is_friend(peer) || self.is_chosen(peer)
    }

    /// Stores the connected peers that became friends by their address: they answered at an address
    /// that the user gave or, on the network `lan`, at a private one. Also drops peers that are
    /// gone for good, and shows notices that waited for a name.
    pub(crate) fn keep_friends(
        &mut self,
        peers: &[PeerId],
        now: UnixMillis,
    ) -> Result<(), StoreFault> {
        let me = self.me;
        for peer in peers.iter().filter(|peer| **peer != me) {
            let standing = match *peer {
                peer if self.trust.is_accepted(&peer) => Standing::ACCEPTED,
                peer if self.trust.is_friend(&peer) => Standing::NEARBY,
                _ => continue,
            };
            self.promote_met(*peer, standing, now)?;
        }
        self.tell_of_nameless();
        self.drop_ghosts(now)
    }

    /// Adds to the standing of a peer that became a friend by its address. Consoles show its
    /// requests, since there is no command whose answer does.
    pub(super) fn promote_met(
        &mut self,
        peer: PeerId,
        standing: Standing,
        now: UnixMillis,
    ) -> Result<(), StoreFault> {
        for Request { id, received, line } in self.promote(peer, standing, now)? {
            self.announce_received(id, line, received);
        }
        Ok(())
    }

    /// Makes the peer named by a text a friend, at the user's wish. Returns the peer and its label.
    pub(crate) fn accept(
        &mut self,
        text: &str,
        now: UnixMillis,
    ) -> Result<(PeerId, String), super::FindError> {
        let peer = self.resolve_anybody(text)?;
        if self.is_blocked(&peer) {
            return Err(ResolveError::Blocked(self.label(&peer)).into());
        }
        if self.is_banned(&peer, now) {
            return Err(ResolveError::Banned(self.label(&peer)).into());
        }
        // Takes effect before the change is durable. Only the reply waits for the disk.
        self.trust.accept(peer);
        self.promote(peer, Standing::ACCEPTED, now)?;
        Ok((peer, self.label(&peer)))
    }

    /// Adds to a peer's standing. If it is now chosen, its profile moves to the disk and its
    /// requests move to the chat. Returns these requests.
    pub(super) fn promote(
        &mut self,
        peer: PeerId,
        standing: Standing,
        now: UnixMillis,
    ) -> Result<Vec<Request>, StoreFault> {
        let held = self.people.get(&peer).copied();
        let standing =
            held.unwrap_or(Standing { since: now, ..Standing::default() }).with(standing);
        if held == Some(standing) {
            return Ok(Vec::new());
        }
        // The friend known first keeps the plain name, and a peer counts from the time it became a
        // friend.
        let is_news = standing.is_friend() && !held.is_some_and(Standing::is_friend);
        let standing = if is_news { Standing { since: now, ..standing } } else { standing };
        let crowded_out = if held.is_none() { self.nearby_to_evict(standing) } else { None };
        let requests = self.take_requests(&peer);
        self.notices.forget(&peer);
        let Self { me, network, store, lines, people, .. } = self;
        store.write(|tables| {
            if let Some(other) = crowded_out {
                tables.people.remove(&other.0.0)?;
            }
            standing::put(tables, &peer, standing)?;
            for (order, request) in &requests {
                tables.requests.remove(order)?;
                let Request { id, received, line } = request;
                chat::insert_request(tables, network, *order, *id, *received, line)?;
                let conversation = conversations::of(*me, &request.line);
                let is_chosen = |other: &PeerId| {
                    *other == *me
                        || *other == peer && standing.is_chosen()
                        || is_chosen_in(people, other)
                };
                lines.add(tables, conversation, *order, is_chosen)?;
            }
            Ok::<_, StoreFault>(())
        })?;
        if let Some(other) = crowded_out {
            self.people.remove(&other);
        }
        self.people.insert(peer, standing);
        if let Some(profile) = self.strangers.remove(&peer)
            && let Err(ProfileError::Store(fault)) = self.store_profile(profile, None, now)
        {
            return Err(fault);
        }
        self.join(&peer);
        Ok(requests.into_values().collect())
    }

    /// Returns the peer whose row makes room for one more that was only met nearby.
    fn nearby_to_evict(&self, standing: Standing) -> Option<PeerId> {
        let passing = || self.people.iter().filter(|(_, held)| !held.is_chosen());
        if standing.is_chosen() || passing().count() < MAX_NEARBY_KEPT {
            return None;
        }
        let last_seen = |peer: &PeerId| self.known.get(peer).map_or(0, |known| known.last_seen);
        passing()
            .min_by_key(|(peer, _)| (self.presence.contains_key(*peer), last_seen(peer)))
            .map(|(peer, _)| *peer)
    }

    /// Withdraws the trust in a peer: it becomes a stranger, and its requests are dropped.
    pub(super) fn disown(&mut self, peer: PeerId) -> Result<(), StoreFault> {
        self.trust.withdraw(&peer);
        let requests = self.take_requests(&peer);
        let addresses = self.addresses_of(&peer)?;
        self.drop_kept_of(&peer)?;
        self.store.write(|tables| {
            for address in &addresses {
                tables.addresses.remove((&peer.0.0, address.as_str()))?;
            }
            for order in requests.keys() {
                tables.requests.remove(order)?;
            }
            tables.people.remove(&peer.0.0)?;
            Ok::<_, StoreFault>(())
        })?;
        self.people.remove(&peer);
        self.notices.forget(&peer);
        Ok(())
    }
}
