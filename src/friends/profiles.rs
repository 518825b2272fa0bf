//! Profiles of friends and of introduced peers: storing them, signing our own, the answer to
//! Explore, and the list of friends. Profiles of strangers stay in memory, see `strangers`.

use std::collections::{BTreeMap, HashMap};

use redb::ReadableTable as _;

use super::{
    Friends, FriendsEvent, OwnProfileError, ProfileError,
    known_addresses::{check_address, strip_peer},
    resolve::unique_digits,
    store::{META_SEQUENCE, Store, StoreFault, Tables},
};
use crate::{
    peers::Level,
    primitives::{Address, BlockHash, NetworkId, Owner, PeerId, PublicKey, UnixMillis, check_name},
    wire::{
        SignedProfile, codec,
        limits::{MAX_ADDRESSES, MAX_FRIENDS_REQUEST_BYTES, MAX_PROFILES},
    },
};

/// The most profiles on the disk, about 5 MB. A full table evicts the peer of the lowest level that
/// was online least recently, among those who are offline now and whom the user did not choose.
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
    /// A profile of our key that a copy of this folder signed.
    OfCopy,
    /// Not kept: the sender is no friend, or has vouched for others enough.
    Unvouched,
}

/// A profile that a peer sent, and what became of it.
pub(crate) type JudgedProfile = (SignedProfile, Result<ProfileReceipt, ProfileError>);

/// A friend as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FriendInfo {
    pub(crate) name: String,
    /// The first hex digits of its key, at least 4, that no other friend of this name shares.
    pub(crate) suffix: String,
    pub(crate) peer_id: PeerId,
    pub(crate) level: Level,
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

/// A peer's row of the table `profiles_2`, and its rows of `names_1`.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) profile: SignedProfile,
    /// The network that the profile is signed for.
    pub(super) network: NetworkId,
    /// Time of the last connection; 0 if there was none.
    pub(super) last_seen: UnixMillis,
    /// The friend that vouched for the peer when it was a stranger.
    pub(super) voucher: Option<PeerId>,
    /// The names that the peer has had, and when we first saw each; at most [`MAX_NAMES`].
    pub(super) names: Vec<(String, UnixMillis)>,
}

/// The voucher's key of a row without a voucher.
const NO_VOUCHER: [u8; 32] = [0; 32];

/// Reads all profiles from the disk.
pub(super) fn load(store: &Store) -> Result<BTreeMap<PeerId, Known>, StoreFault> {
    store.view(|tables| {
        let mut known = BTreeMap::new();
        for row in tables.profiles.iter()? {
            let (peer, row) = row?;
            let (network, last_seen, voucher, bytes) = row.value();
            let profile = codec::decode(bytes, MAX_FRIENDS_REQUEST_BYTES)
                .map_err(|error| StoreFault::Damaged { table: "profiles", error })?;
            let network = BlockHash(*network);
            let voucher = (*voucher != NO_VOUCHER).then_some(PeerId(PublicKey(*voucher)));
            known.insert(
                PeerId(PublicKey(*peer.value())),
                Known { profile, network, last_seen, voucher, names: Vec::new() },
            );
        }
        for row in tables.names.iter()? {
            let (key, since) = row?;
            let (peer, name) = key.value();
            if let Some(known) = known.get_mut(&PeerId(PublicKey(*peer))) {
                known.names.push((name.to_owned(), since.value()));
            }
        }
        Ok(known)
    })
}

pub(super) fn put(tables: &mut Tables<'_>, known: &Known) -> Result<(), StoreFault> {
    let bytes = codec::encode(&known.profile);
    let voucher = known.voucher.map_or(NO_VOUCHER, |voucher| voucher.0.0);
    let row = (&known.network.0, known.last_seen, &voucher, &bytes[..]);
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
        // Others refuse a profile this far ahead, which was signed while this clock was wrong.
        if let Some(own) = &self.own
            && own.sequence <= now.saturating_add(MAX_AHEAD_MS)
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

    /// Returns the profile held of a peer, if it is of this network.
    fn held(&self, peer: &PeerId) -> Option<&SignedProfile> {
        let known = self.known.get(peer).filter(|known| known.network == self.network);
        known.map(|known| &known.profile).or_else(|| self.strangers.get(peer))
    }

    /// Keeps a profile from the network that `by` sent, if its peer signed it, it obeys the rules,
    /// and it is newer than the one held.
    ///
    /// A profile that a friend passes on makes its peer introduced. What others pass on is dropped.
    /// The profile of a stranger that introduces itself stays in memory.
    pub(crate) fn keep_profile(
        &mut self,
        profile: SignedProfile,
        by: PeerId,
        now: UnixMillis,
    ) -> Result<ProfileReceipt, ProfileError> {
        let peer = profile.peer;
        if peer == self.me {
            return self.own_profile_back(&profile, now);
        }
        if self.is_banned(&peer, now) {
            return Err(ProfileError::Banned { peer });
        }
        let by_friend = by != peer && self.trust.is_friend(&by);
        let vouches = by_friend && self.level(&peer) == Level::Stranger;
        if let Some(held) = self.held(&peer).filter(|_| !vouches) {
            if *held == profile {
                return Ok(ProfileReceipt::Known);
            }
            if held.sequence >= profile.sequence {
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
        if by != peer && !by_friend || vouches && !self.trust.vouch(&by, peer) {
            return Ok(ProfileReceipt::Unvouched);
        }
        if self.level(&peer) == Level::Stranger && !self.is_chosen(&peer) {
            return self.keep_stranger(profile);
        }
        let newest = self.strangers.remove(&peer).filter(|held| held.sequence > profile.sequence);
        let voucher = vouches.then_some(by);
        self.store_profile(newest.unwrap_or(profile), voucher, now)
    }

    /// Keeps the profiles that `by` sent, up to the first one that is charged. Returns each with
    /// its result.
    pub(crate) fn keep_profiles(
        &mut self,
        profiles: Vec<SignedProfile>,
        by: PeerId,
        now: UnixMillis,
    ) -> Vec<JudgedProfile> {
        let mut kept = Vec::new();
        for profile in profiles {
            let result = self.keep_profile(profile.clone(), by, now);
            let is_charged = result.as_ref().is_err_and(|error| error.offence().is_some());
            kept.push((profile, result));
            if is_charged {
                break;
            }
        }
        kept
    }

    /// Stores a verified profile of a peer that is no stranger, unless a newer one is held.
    pub(super) fn store_profile(
        &mut self,
        profile: SignedProfile,
        voucher: Option<PeerId>,
        now: UnixMillis,
    ) -> Result<ProfileReceipt, ProfileError> {
        let peer = profile.peer;
        let held = self.known.get(&peer).cloned();
        let evicted = if held.is_none() { self.to_evict()? } else { None };
        let kept = if held.is_some() { ProfileReceipt::Updated } else { ProfileReceipt::New };
        let mut known = held.unwrap_or(Known {
            profile: profile.clone(),
            network: self.network,
            last_seen: 0,
            voucher: None,
            names: Vec::new(),
        });
        let old_name = known.profile.name.clone();
        if known.network != self.network || known.profile.sequence < profile.sequence {
            known.profile = profile;
        }
        known.network = self.network;
        known.voucher = voucher.or(known.voucher);
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

    /// Returns the peer to evict for one more profile; `None` while the table has room.
    fn to_evict(&self) -> Result<Option<(PeerId, Known)>, ProfileError> {
        if self.known.len() < MAX_PROFILES_KEPT {
            return Ok(None);
        }
        self.known
            .iter()
            .filter(|(peer, _)| !self.is_chosen(peer) && !self.presence.contains_key(*peer))
            .min_by_key(|(peer, known)| (self.level(peer), known.last_seen))
            .map(|(peer, known)| Some((*peer, known.clone())))
            .ok_or(ProfileError::Full { limit: MAX_PROFILES_KEPT })
    }

    /// Returns the answer to Explore of a peer, at most 64 profiles of this network.
    ///
    /// A friend is told our own profile, then the friends, then the introduced peers that were here
    /// once; in each group those online first, then the most recently seen. Anybody else is told
    /// our own profile alone, since the names and addresses of friends are not ours to give away.
    #[must_use]
    pub(crate) fn explore_answer(&self, to: &PeerId, now: UnixMillis) -> Vec<SignedProfile> {
        let own = self.own.iter().cloned();
        if !self.trust.is_friend(to) {
            return own.collect();
        }
        let mut others: Vec<_> = self
            .known
            .iter()
            .filter(|(_, known)| known.network == self.network)
            .map(|(peer, known)| (self.level(peer), self.is_online(peer), known))
            .filter(|(level, _, known)| match level {
                Level::Stranger => false,
                Level::Introduced => known.last_seen > 0,
                Level::Friend => true,
            })
            .filter(|(_, _, known)| !self.is_banned(&known.profile.peer, now))
            .collect();
        others.sort_by_key(|(level, online, known)| {
            std::cmp::Reverse((*level, *online, known.last_seen))
        });
        let others = others.into_iter().map(|(_, _, known)| known.profile.clone());
        own.chain(others).take(MAX_PROFILES).collect()
    }

    /// True if the list shows the peer: a friend, or an introduced peer that was here once or that
    /// the user wrote to.
    fn is_listed(&self, peer: &PeerId, known: &Known) -> bool {
        match self.level(peer) {
            Level::Friend => true,
            Level::Introduced => known.last_seen > 0 || self.is_chosen(peer),
            Level::Stranger => false,
        }
    }

    /// Returns the friends, and the introduced peers that were met, sorted by name, then by key.
    #[must_use]
    pub(crate) fn list(&self) -> Vec<FriendInfo> {
        // For each name the friends, and everybody who is no stranger.
        let mut of_name: HashMap<&str, [Vec<PeerId>; 2]> = HashMap::new();
        for (peer, known) in &self.known {
            let level = self.level(peer);
            let [friends, all] = of_name.entry(&known.profile.name).or_default();
            if level == Level::Friend {
                friends.push(*peer);
            }
            if level >= Level::Introduced {
                all.push(*peer);
            }
        }
        let listed = self.known.iter().filter(|(peer, known)| self.is_listed(peer, known));
        let mut list: Vec<_> = listed
            .map(|(peer, known)| {
                let namesakes =
                    of_name.get(known.profile.name.as_str()).map_or(&[][..], |[friends, all]| {
                        match self.level(peer) {
                            Level::Friend => friends.as_slice(),
                            Level::Introduced | Level::Stranger => all.as_slice(),
                        }
                    });
                self.info(&known.profile, known.last_seen, unique_digits(peer, namesakes))
            })
            .collect();
        list.sort_by(|one, other| (&one.name, one.peer_id).cmp(&(&other.name, other.peer_id)));
        list
    }

    fn info(&self, profile: &SignedProfile, last_seen: UnixMillis, digits: usize) -> FriendInfo {
        let SignedProfile { peer, name, addresses, payment, .. } = profile;
        FriendInfo {
            name: name.clone(),
            suffix: peer.suffix(digits),
            peer_id: *peer,
            level: self.level(peer),
            online: self.is_online(peer),
            address: payment.map(Address),
            last_seen: (last_seen > 0).then_some(last_seen),
            addresses: addresses.clone(),
        }
    }

    /// Returns what is known of a peer whose profile is held, at any level.
    #[must_use]
    pub(crate) fn friend(&self, peer: &PeerId) -> Option<FriendInfo> {
        let known = self.known.get(peer);
        let profile = known.map(|known| &known.profile).or_else(|| self.strangers.get(peer))?;
        let namesakes = self.namesakes(&profile.name, self.level(peer));
        let last_seen = known.map_or(0, |known| known.last_seen);
        Some(self.info(profile, last_seen, unique_digits(peer, &namesakes)))
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
