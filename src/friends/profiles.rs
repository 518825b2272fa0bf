//! Profiles of friends: storing them, signing our own, the answer to Explore, and the list of
//! friends.

use std::collections::{BTreeMap, HashMap};

use redb::ReadableTable as _;

use super::{
    Friends, FriendsEvent, OwnProfileError, ProfileError,
    known_addresses::{check_address, strip_peer},
    resolve::unique_digits,
    store::{META_SEQUENCE, NAMES, PROFILES, Store, StoreFault, Tables},
};
use crate::{
    primitives::{Address, BlockHash, NetworkId, Owner, PeerId, PublicKey, UnixMillis, check_name},
    wire::{
        SignedProfile, codec,
        limits::{MAX_ADDRESSES, MAX_FRIENDS_REQUEST_BYTES, MAX_PROFILES},
    },
};

/// The most profiles held, about 5 MB. A full table evicts the friend that was online least
/// recently, among those who are offline now and whom we never wrote to.
pub(crate) const MAX_PROFILES_KEPT: usize = 10_000;
/// The most that a profile's sequence, a time, may be ahead of our clock, in ms: a day. A profile
/// signed further ahead would win over each one that its peer signs after its clock is corrected.
pub(crate) const MAX_AHEAD_MS: u64 = 24 * 60 * 60 * 1_000;
/// The most names remembered for one peer. A further name evicts the oldest.
pub(crate) const MAX_NAMES: usize = 8;

/// The result of [`Friends::keep_profile`] for a profile without fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProfileReceipt {
    /// Stored; no profile of this peer was held.
    New,
    /// Stored in place of an older one.
    Updated,
    /// Held already.
    Known,
    /// Not stored, since a newer one is held.
    Old,
    /// Our own profile, back from a peer.
    Own,
}

/// A friend as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FriendInfo {
    pub(crate) name: String,
    /// The first hex digits of its key, at least 4, that no other friend of this name shares.
    pub(crate) suffix: String,
    pub(crate) peer_id: PeerId,
    /// True if it is connected and has not published a goodbye.
    pub(crate) online: bool,
    /// The payment address of its profile.
    pub(crate) address: Option<Address>,
    /// Time of the last connection; `None` if the profile came from others only.
    pub(crate) last_seen: Option<UnixMillis>,
    /// The addresses to dial, from its profile.
    pub(crate) addresses: Vec<String>,
}

/// The state of a connected peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// `Joined` was not emitted yet, since no profile is held.
    Connected,
    /// `Joined` was emitted.
    Joined,
    /// The friend published a goodbye, and `Left` was emitted; the connection is still open.
    SaidGoodbye,
}

/// A friend's row of the table `profiles_1`, and its rows of `names_1`.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) profile: SignedProfile,
    /// The network that the profile is signed for.
    pub(super) network: NetworkId,
    /// Time of the last connection; 0 if there was none.
    pub(super) last_seen: UnixMillis,
    /// True if we ever wrote to this friend. The table never evicts such a friend.
    pub(super) talked: bool,
    /// The names that the friend has had, and when we first saw each; at most [`MAX_NAMES`].
    pub(super) names: Vec<(String, UnixMillis)>,
}

/// Reads all profiles from the disk.
pub(super) fn load(store: &Store) -> Result<BTreeMap<PeerId, Known>, StoreFault> {
    let transaction = store.read()?;
    let mut known = BTreeMap::new();
    for row in transaction.open_table(PROFILES)?.iter()? {
        let (peer, row) = row?;
        let (network, last_seen, talked, bytes) = row.value();
        let profile = codec::decode(bytes, MAX_FRIENDS_REQUEST_BYTES)
            .map_err(|error| StoreFault::Damaged { table: "profiles", error })?;
        let network = BlockHash(*network);
        known.insert(
            PeerId(PublicKey(*peer.value())),
            Known { profile, network, last_seen, talked, names: Vec::new() },
        );
    }
    for row in transaction.open_table(NAMES)?.iter()? {
        let (key, since) = row?;
        let (peer, name) = key.value();
        if let Some(known) = known.get_mut(&PeerId(PublicKey(*peer))) {
            known.names.push((name.to_owned(), since.value()));
        }
    }
    Ok(known)
}

pub(super) fn put(tables: &mut Tables<'_>, known: &Known) -> Result<(), StoreFault> {
    let bytes = codec::encode(&known.profile);
    let row = (&known.network.0, known.last_seen, known.talked, &bytes[..]);
    tables.profiles.insert(&known.profile.peer.0.0, row)?;
    Ok(())
}

fn remove(tables: &mut Tables<'_>, peer: &PeerId, known: &Known) -> Result<(), StoreFault> {
    tables.profiles.remove(&peer.0.0)?;
    for (name, _) in &known.names {
        tables.names.remove((&peer.0.0, name.as_str()))?;
    }
    tables.quits.remove(&peer.0.0)?;
    Ok(())
}

impl Friends {
    /// Signs our own profile. The node calls this at its start, and when a part of the profile
    /// changes. Returns the present profile if no part has changed.
    ///
    /// `addresses` are multiaddrs. The profile lists them without `/p2p/`, without duplicates, and
    /// at most 8 of them.
    ///
    /// Each run signs at least one profile, so that its sequence is later than any goodbye of the
    /// run before.
    pub(crate) fn set_own_profile(
        &mut self,
        name: &str,
        addresses: &[String],
        payment: Option<Owner>,
        now: UnixMillis,
    ) -> Result<SignedProfile, OwnProfileError> {
        check_name(name)?;
        let mut listed: Vec<String> = Vec::new();
        for address in addresses {
            let address = strip_peer(address);
            check_address(address)?;
            if listed.len() < MAX_ADDRESSES && !listed.iter().any(|known| known == address) {
                listed.push(address.to_owned());
            }
        }
        if let Some(own) = &self.own
            && (own.name == name && own.addresses == listed && own.payment == payment)
        {
            return Ok(own.clone());
        }
        let Self { me, network, signer, store, .. } = self;
        let own = store.write(|tables| {
            let last = tables
                .meta
                .get(META_SEQUENCE)
                .map_err(StoreFault::from)?
                .map_or(0, |last| last.value());
            // Others refuse a sequence this far ahead, from a time when this clock was wrong.
            let last = if last > now.saturating_add(MAX_AHEAD_MS) { 0 } else { last };
            let sequence = now.max(last.saturating_add(1));
            let own = SignedProfile::sign(network, *me, name, listed, payment, sequence, signer)?;
            tables.meta.insert(META_SEQUENCE, sequence).map_err(StoreFault::from)?;
            Ok::<_, OwnProfileError>(own)
        })?;
        self.own = Some(own.clone());
        Ok(own)
    }

    /// Returns our own profile; `None` before the first [`Self::set_own_profile`].
    #[must_use]
    pub(crate) const fn own_profile(&self) -> Option<&SignedProfile> {
        self.own.as_ref()
    }

    /// Stores a profile from the network, if its peer signed it, it obeys the rules, and it is
    /// newer than the one we hold.
    pub(crate) fn keep_profile(
        &mut self,
        profile: SignedProfile,
        now: UnixMillis,
    ) -> Result<ProfileReceipt, ProfileError> {
        let peer = profile.peer;
        if peer == self.me {
            return Ok(ProfileReceipt::Own);
        }
        let held = self.known.get(&peer);
        if let Some(held) = held.filter(|held| held.network == self.network) {
            if held.profile == profile {
                return Ok(ProfileReceipt::Known);
            }
            if held.profile.sequence >= profile.sequence {
                return Ok(ProfileReceipt::Old);
            }
        }
        profile.verify(&self.network)?;
        check_name(&profile.name)?;
        profile.addresses.iter().try_for_each(|address| check_address(address))?;
        let ahead_ms = profile.sequence.saturating_sub(now);
        if ahead_ms > MAX_AHEAD_MS {
            return Err(ProfileError::TooFarAhead { ahead_ms });
        }
        let evicted = if held.is_none() { self.to_evict()? } else { None };
        let mut known = held.cloned().unwrap_or(Known {
            profile: profile.clone(),
            network: self.network,
            last_seen: 0,
            talked: false,
            names: Vec::new(),
        });
        let kept = if held.is_some() { ProfileReceipt::Updated } else { ProfileReceipt::New };
        let old_name = std::mem::replace(&mut known.profile, profile).name;
        known.network = self.network;
        if self.presence.contains_key(&peer) {
            known.last_seen = known.last_seen.max(now);
        }
        let forgotten_name = known.remember_name(now);
        self.store.write(|tables| {
            if let Some((peer, known)) = &evicted {
                remove(tables, peer, known)?;
            }
            if let Some(name) = &forgotten_name {
                tables.names.remove((&peer.0.0, name.as_str()))?;
            }
            for (name, since) in &known.names {
                tables.names.insert((&peer.0.0, name.as_str()), since)?;
            }
            put(tables, &known)
        })?;
        if let Some((evicted, _)) = evicted {
            self.known.remove(&evicted);
        }
        let new_name = known.profile.name.clone();
        self.known.insert(peer, known);
        if old_name != new_name {
            self.emit(FriendsEvent::Renamed { peer, old: old_name, new: new_name });
        }
        self.join(&peer);
        Ok(kept)
    }

    /// Returns the friend to evict for one more profile; `None` while the table has room.
    fn to_evict(&self) -> Result<Option<(PeerId, Known)>, ProfileError> {
        if self.known.len() < MAX_PROFILES_KEPT {
            return Ok(None);
        }
        self.known
            .iter()
            .filter(|(peer, known)| !known.talked && !self.presence.contains_key(*peer))
            .min_by_key(|(_, known)| known.last_seen)
            .map(|(peer, known)| Some((*peer, known.clone())))
            .ok_or(ProfileError::Full { limit: MAX_PROFILES_KEPT })
    }

    /// Returns the answer to Explore, at most 64 profiles of this network: our own, then the
    /// friends online, then the others, the most recently seen first.
    #[must_use]
    pub(crate) fn explore_answer(&self) -> Vec<SignedProfile> {
        let mut others: Vec<_> =
            self.known.values().filter(|known| known.network == self.network).collect();
        others.sort_by_key(|known| {
            std::cmp::Reverse((self.is_online(&known.profile.peer), known.last_seen))
        });
        let others = others.into_iter().map(|known| known.profile.clone());
        self.own.iter().cloned().chain(others).take(MAX_PROFILES).collect()
    }

    /// Returns all friends, sorted by name, then by key.
    #[must_use]
    pub(crate) fn list(&self) -> Vec<FriendInfo> {
        let mut of_name: HashMap<&str, Vec<PeerId>> = HashMap::new();
        for (peer, known) in &self.known {
            of_name.entry(&known.profile.name).or_default().push(*peer);
        }
        let mut list: Vec<_> = self
            .known
            .iter()
            .map(|(peer, known)| {
                let namesakes =
                    of_name.get(known.profile.name.as_str()).map_or(&[][..], Vec::as_slice);
                self.info(known, unique_digits(peer, namesakes))
            })
            .collect();
        list.sort_by(|one, other| (&one.name, one.peer_id).cmp(&(&other.name, other.peer_id)));
        list
    }

    fn info(&self, known: &Known, digits: usize) -> FriendInfo {
        let SignedProfile { peer, name, addresses, payment, .. } = &known.profile;
        FriendInfo {
            name: name.clone(),
            suffix: peer.suffix(digits),
            peer_id: *peer,
            online: self.is_online(peer),
            address: payment.map(Address),
            last_seen: (known.last_seen > 0).then_some(known.last_seen),
            addresses: addresses.clone(),
        }
    }

    #[must_use]
    pub(crate) fn friend(&self, peer: &PeerId) -> Option<FriendInfo> {
        let known = self.known.get(peer)?;
        let namesakes: Vec<_> = self.namesakes(&known.profile.name).collect();
        Some(self.info(known, unique_digits(peer, &namesakes)))
    }
}

impl Known {
    /// Adds the profile's name to `names`; returns the name that it evicts, if any.
    fn remember_name(&mut self, now: UnixMillis) -> Option<String> {
        let name = &self.profile.name;
        if self.names.iter().any(|(borne, _)| borne == name) {
            return None;
        }
        let oldest =
            self.names.iter().enumerate().min_by_key(|(_, (_, since))| *since).map(|(at, _)| at);
        let forgotten =
            oldest.filter(|_| self.names.len() >= MAX_NAMES).map(|at| self.names.swap_remove(at).0);
        self.names.push((name.clone(), now));
        forgotten
    }
}
