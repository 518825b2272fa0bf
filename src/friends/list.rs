//! The list of friends: its members, and the data shown for each.

use super::{
    Friends,
    profiles::Known,
    resolve::{Called, MIN_SUFFIX_DIGITS},
};
use crate::{
    peers::Level,
    primitives::{Address, PeerId, UnixMillis},
    wire::SignedProfile,
};

/// A friend as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FriendInfo {
    /// The text that names only this peer, see [`Friends::label`].
    pub(crate) name: String,
    /// The first hex digits of the peer's key, at least 4, that no other friend of this name
    /// shares.
    pub(crate) suffix: String,
    pub(crate) peer_id: PeerId,
    pub(crate) level: Level,
    /// True if the user blocked the peer.
    pub(crate) blocked: bool,
    /// True if the peer is connected and has not published a goodbye.
    pub(crate) online: bool,
    /// The payment address in the peer's profile.
    pub(crate) address: Option<Address>,
    /// Time of the last connection; `None` if the profile came from others only.
    pub(crate) last_seen: Option<UnixMillis>,
    /// The addresses to dial, from its profile.
    pub(crate) addresses: Vec<String>,
}

impl Friends {
    /// True if the list shows the peer: a friend, or an introduced peer that was here in the last
    /// 30 days or that the user chose.
    fn is_listed(&self, peer: &PeerId, known: &Known, now: UnixMillis) -> bool {
        match self.level(peer) {
            Level::Friend => true,
            Level::Introduced => {
                self.is_online(peer)
                    || Known::is_fresh(known.last_seen, now)
                    || self.is_chosen(peer)
            }
            Level::Stranger => false,
        }
    }

    /// Returns the listed peers and the blocked ones, sorted by name, then by key.
    #[must_use]
    pub(crate) fn list(&self, now: UnixMillis) -> Vec<FriendInfo> {
        let index = self.index();
        let listed = self.known.iter().filter(|(peer, known)| self.is_listed(peer, known, now));
        let listed = listed.map(|(peer, known)| {
            let called = self.called(peer, &known.name, &index);
            self.info(&known.profile, known.last_seen, called)
        });
        let mut list: Vec<_> = listed.chain(self.list_blocked()).collect();
        list.sort_by(|one, other| (&one.name, one.peer_id).cmp(&(&other.name, other.peer_id)));
        list
    }

    fn list_blocked(&self) -> impl Iterator<Item = FriendInfo> {
        self.blocked.keys().map(|peer| {
            self.friend(peer).unwrap_or_else(|| FriendInfo {
                name: self.full_label(peer),
                suffix: peer.suffix(MIN_SUFFIX_DIGITS),
                peer_id: *peer,
                level: self.level(peer),
                blocked: true,
                online: false,
                address: None,
                last_seen: None,
                addresses: Vec::new(),
            })
        })
    }

    fn info(&self, profile: &SignedProfile, last_seen: UnixMillis, called: Called) -> FriendInfo {
        let SignedProfile { peer, addresses, payment, .. } = profile;
        FriendInfo {
            name: called.label,
            suffix: peer.suffix(called.digits),
            peer_id: *peer,
            level: self.level(peer),
            blocked: self.is_blocked(peer),
            online: self.is_online(peer) && !self.is_blocked(peer),
            address: payment.map(Address),
            last_seen: (last_seen > 0).then_some(last_seen),
            addresses: addresses.clone(),
        }
    }

    /// Returns the list's data for a peer at any level whose profile this node has.
    #[must_use]
    pub(crate) fn friend(&self, peer: &PeerId) -> Option<FriendInfo> {
        let known = self.known.get(peer);
        let profile = known.map(|known| &known.profile).or_else(|| self.strangers.get(peer))?;
        let digits = self.name_of(peer).map_or(0, |name| self.digits(peer, name));
        let last_seen = known.map_or(0, |known| known.last_seen);
        Some(self.info(profile, last_seen, Called { label: self.label(peer), digits }))
    }
}
