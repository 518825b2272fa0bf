//! Profiles of friends and of introduced peers: storing them, signing our own, and the answer to
//! Explore. Profiles of strangers stay in memory, see `strangers`.

use std::collections::BTreeMap;

use redb::ReadableTable as _;

use super::{
    Friends, FriendsEvent, OwnProfileError, ProfileError,
    known_addresses::{check_address, strip_peer},
    store::{META_SEQUENCE, OWN_GIVEN_NAME, OWN_NAME, Store, StoreFault, Tables},
};
use crate::{
    peers::Level,
    primitives::{BlockHash, FriendName, NetworkId, Owner, PeerId, PublicKey, UnixMillis},
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

/// The time for which a profile is passed on after its peer was last seen, and for which an
/// introduced peer stays in the list, in ms: 30 days. Then a group forgets a node that is gone.
pub(crate) const MAX_UNSEEN_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

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

/// A profile that a peer sent, and the result of the check.
pub(crate) type JudgedProfile = (SignedProfile, Result<ProfileReceipt, ProfileError>);

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
    /// The profile's name. An earlier version may have kept one that breaks today's rule.
    pub(super) name: FriendName,
    /// The network that the profile is signed for.
    pub(super) network: NetworkId,
    /// Time of the last connection; 0 if there was none.
    pub(super) last_seen: UnixMillis,
    /// The friend that vouched for the peer while it was a stranger.
    pub(super) voucher: Option<PeerId>,
    /// Names of the peer with the time when it last took each; at most [`MAX_NAMES`].
    pub(super) names: Vec<(FriendName, UnixMillis)>,
}

/// The voucher's key in a row without a voucher.
const NO_VOUCHER: [u8; 32] = [0; 32];

/// Reads all profiles from the disk.
pub(super) fn load(store: &Store) -> Result<BTreeMap<PeerId, Known>, StoreFault> {
    store.view(|tables| {
        let mut known = BTreeMap::new();
        for row in tables.profiles.iter()? {
            let (peer, row) = row?;
            let (network, last_seen, voucher, bytes) = row.value();
            let profile: SignedProfile = codec::decode(bytes, MAX_FRIENDS_REQUEST_BYTES)
                .map_err(|error| StoreFault::Damaged { table: "profiles", error })?;
            let network = BlockHash(*network);
            let voucher = (*voucher != NO_VOUCHER).then_some(PeerId(PublicKey(*voucher)));
            let name = FriendName::of_any(&profile.name);
            known.insert(
                PeerId(PublicKey(*peer.value())),
                Known { profile, name, network, last_seen, voucher, names: Vec::new() },
            );
        }
        for row in tables.names.iter()? {
            let (key, since) = row?;
            let (peer, name) = key.value();
            if let Some(known) = known.get_mut(&PeerId(PublicKey(*peer))) {
                known.names.push((FriendName::of_any(name), since.value()));
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

/// Reads this node's own name.
pub(super) fn load_own_name(store: &Store) -> Result<Option<FriendName>, StoreFault> {
    store.view(|tables| Ok(tables.own.get(OWN_NAME)?.map(|name| FriendName::of_any(name.value()))))
}

/// Removes all rows of a peer's profile.
pub(super) fn remove(tables: &mut Tables<'_>, peer: &PeerId) -> Result<(), StoreFault> {
    tables.profiles.remove(&peer.0.0)?;
    // No name begins with the last code point.
    let names = (&peer.0.0, "")..=(&peer.0.0, "\u{10ffff}");
    tables.names.retain_in(names, |_, _| false)?;
    tables.quits.remove(&peer.0.0)?;
    tables.payees.remove(&peer.0.0)?;
    Ok(())
}

impl Friends {
    /// Signs our own profile, unless it is unchanged. The node calls this at its start, and when a
    /// part of the profile changes. Returns the present profile.
    ///
    /// `addresses` are multiaddrs. The profile lists them without `/p2p/`, without duplicates, and
    /// at most 8 of them.
    ///
    /// Each run signs at least one profile, so that its sequence is later than any goodbye of the
    /// previous run.
    pub(crate) fn set_own_profile(
        &mut self,
        name: &str,
        addresses: &[String],
        payment: Option<Owner>,
        now: UnixMillis,
    ) -> Result<SignedProfile, OwnProfileError> {
        let own_name = FriendName::typed(name)?;
        let name = own_name.as_str();
        let mut listed: Vec<String> = Vec::new();
        for address in addresses {
            let address = strip_peer(address);
            check_address(address)?;
            if listed.len() < MAX_ADDRESSES && !listed.iter().any(|known| known == address) {
                listed.push(address.to_owned());
            }
        }
        // Others reject a profile this far ahead, which was signed while this clock was wrong.
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
            // Others reject a sequence this far ahead, which is from a time when this clock was
            // wrong.
            let last = if last > now.saturating_add(MAX_AHEAD_MS) { 0 } else { last };
            let sequence = now.max(last.saturating_add(1));
            let own = SignedProfile::sign(network, *me, name, listed, payment, sequence, signer)?;
            tables.meta.insert(META_SEQUENCE, sequence).map_err(StoreFault::from)?;
            Ok::<_, OwnProfileError>(own)
        })?;
        self.own = Some(own.clone());
        self.own_name = Some(own_name);
        Ok(own)
    }

    /// Stores this node's name for the next start. Returns it with composed accents.
    /// [`Self::set_own_profile`] puts it into the profile.
    pub(crate) fn set_own_name(&mut self, name: &str) -> Result<String, OwnProfileError> {
        let name = FriendName::typed(name)?;
        if self.own_name.as_ref() != Some(&name) {
            self.store.write(|tables| {
                Ok::<_, StoreFault>(tables.own.insert(OWN_NAME, name.as_str()).map(drop)?)
            })?;
        }
        let text = name.as_str().to_owned();
        self.own_name = Some(name);
        Ok(text)
    }

    /// Decides on this node's name at its start, and stores it: the given name, else the stored
    /// one, else the default. If the last start was given the same name, the stored one counts,
    /// since `rename` may have changed it.
    pub(crate) fn start_named(
        &mut self,
        given: Option<&str>,
        default: &str,
    ) -> Result<String, OwnProfileError> {
        let kept = self.own_name.as_ref().map(|name| name.as_str().to_owned());
        let Some(given) = given else {
            return self.set_own_name(&kept.unwrap_or_else(|| default.to_owned()));
        };
        let last = self.store.view(|tables| {
            let last = tables.own.get(OWN_GIVEN_NAME)?;
            Ok::<_, StoreFault>(last.map(|last| last.value().to_owned()))
        })?;
        if last.as_deref() == Some(given)
            && let Some(kept) = kept
        {
            return Ok(kept);
        }
        let name = self.set_own_name(given)?;
        self.store.write(|tables| {
            Ok::<_, StoreFault>(tables.own.insert(OWN_GIVEN_NAME, given).map(drop)?)
        })?;
        Ok(name)
    }

    /// Returns this node's name; `None` before it has one.
    #[must_use]
    pub(crate) fn own_name(&self) -> Option<&str> {
        self.own_name.as_ref().map(FriendName::as_str)
    }

    /// Returns the stored profile of a peer, if it is for this network.
    fn held(&self, peer: &PeerId) -> Option<&SignedProfile> {
        let known = self.known.get(peer).filter(|known| known.network == self.network);
        known.map(|known| &known.profile).or_else(|| self.strangers.get(peer))
    }

    /// Stores a profile that `by` sent, if its signature is valid, it obeys the rules, and it is
    /// newer than the stored one.
    ///
    /// A profile that a friend passes on makes its peer introduced. Profiles that others pass on
    /// are dropped unchecked. The profile of a stranger that introduces itself stays in memory.
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
        if by != peer && !by_friend {
            // Keys are free, so their holders could make this node verify any number of these.
            return Ok(ProfileReceipt::Unvouched);
        }
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
        FriendName::signed(&profile.name)?;
        profile.addresses.iter().try_for_each(|address| check_address(address))?;
        let ahead_ms = profile.sequence.saturating_sub(now);
        if ahead_ms > MAX_AHEAD_MS {
            return Err(ProfileError::TooFarAhead { ahead_ms });
        }
        if vouches && !self.trust.vouch(&by, peer) {
            return Ok(ProfileReceipt::Unvouched);
        }
        if self.level(&peer) == Level::Stranger && !self.is_chosen(&peer) {
            return self.keep_stranger(profile);
        }
        let level = self.level(&peer);
        let is_counted = by == peer && level == Level::Introduced;
        if is_counted && !self.rates.take(peer, level, (self.clock)()) {
            return Err(ProfileError::TooMany { peer });
        }
        let newest = self.strangers.remove(&peer).filter(|held| held.sequence > profile.sequence);
        let voucher = vouches.then_some(by);
        self.store_profile(newest.unwrap_or(profile), voucher, now)
    }

    /// Stores the profiles that `by` sent, up to the first one with a penalty. Returns each with
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
        if held.is_none()
            && let Some(evicted) = self.to_evict()?
        {
            self.drop_profile(&evicted, now)?;
        }
        let kept = if held.is_some() { ProfileReceipt::Updated } else { ProfileReceipt::New };
        let old_label = held.is_some().then(|| self.label(&peer));
        let mut known = held.unwrap_or_else(|| Known::new(profile.clone(), self.network));
        let old_name = known.name.clone();
        if known.network != self.network || known.profile.sequence < profile.sequence {
            known.name = FriendName::of_any(&profile.name);
            known.profile = profile;
        }
        known.network = self.network;
        known.voucher = voucher.or(known.voucher);
        if self.presence.contains_key(&peer) {
            known.last_seen = known.last_seen.max(now);
        }
        let forgotten_name = known.remember_name(&old_name, now);
        self.store.write(|tables| {
            if let Some(name) = &forgotten_name {
                tables.names.remove((&peer.0.0, name.as_str()))?;
            }
            for (name, since) in &known.names {
                tables.names.insert((&peer.0.0, name.as_str()), since)?;
            }
            tables.former.remove(&peer.0.0)?;
            put(tables, &known)
        })?;
        let is_renamed = old_name.as_str() != known.name.as_str();
        self.former.remove(&peer);
        self.known.insert(peer, known);
        if is_renamed && let Some(old) = old_label {
            let new = self.label(&peer);
            self.emit(FriendsEvent::Renamed { peer, old, new });
        }
        self.join(&peer);
        self.named(peer);
        Ok(kept)
    }

    /// Returns the peer to evict for one more profile; `None` while the table has room.
    fn to_evict(&self) -> Result<Option<PeerId>, ProfileError> {
        if self.known.len() < MAX_PROFILES_KEPT {
            return Ok(None);
        }
        self.known
            .iter()
            .filter(|(peer, _)| !self.is_chosen(peer) && !self.is_blocked(peer))
            .filter(|(peer, _)| !self.presence.contains_key(*peer))
            .min_by_key(|(peer, known)| (self.level(peer), known.last_seen))
            .map(|(peer, _)| Some(*peer))
            .ok_or(ProfileError::Full { limit: MAX_PROFILES_KEPT })
    }

    /// Returns the answer to a peer's Explore, at most 64 profiles of this network.
    ///
    /// A friend gets our own profile, then those of friends, then those of introduced peers that
    /// were here once. In each group, peers that are online come first, then the most recently
    /// seen. Anybody else gets only our own profile, since names and addresses of friends are
    /// private. A profile whose peer was not seen for 30 days is left out.
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
            .filter(|(level, online, known)| match level {
                Level::Stranger => false,
                // A friend's profile that others passed on was signed when the friend was online.
                Level::Friend if known.last_seen == 0 => {
                    Known::is_fresh(known.profile.sequence, now)
                }
                Level::Friend | Level::Introduced => {
                    *online || Known::is_fresh(known.last_seen, now)
                }
            })
            .filter(|(_, _, known)| !self.is_banned(&known.profile.peer, now))
            .collect();
        others.sort_by_key(|(level, online, known)| {
            std::cmp::Reverse((*level, *online, known.last_seen))
        });
        let others = others.into_iter().map(|(_, _, known)| known.profile.clone());
        // An earlier version may have stored a name that others reject today.
        let sound = others.filter(|profile| FriendName::signed(&profile.name).is_ok());
        own.chain(sound).take(MAX_PROFILES).collect()
    }
}

impl Known {
    /// Returns the row of a peer that was never seen.
    pub(super) fn new(profile: SignedProfile, network: NetworkId) -> Self {
        let name = FriendName::of_any(&profile.name);
        Self { profile, name, network, last_seen: 0, voucher: None, names: Vec::new() }
    }

    /// True if a time is not more than 30 days ago. 0 is no time.
    pub(super) const fn is_fresh(at: UnixMillis, now: UnixMillis) -> bool {
        at > 0 && now.saturating_sub(at) <= MAX_UNSEEN_MS
    }

    /// Returns the time since when the peer bears its name, or one like it.
    pub(super) fn named(&self) -> UnixMillis {
        let alike = self.names.iter().filter(|(borne, _)| borne.is_like(&self.name));
        alike.map(|(_, since)| *since).min().unwrap_or(UnixMillis::MAX)
    }

    /// True if the peer has or had a name like this one.
    pub(super) fn bears_or_bore(&self, name: &FriendName) -> bool {
        self.name.is_like(name) || self.names.iter().any(|(borne, _)| borne.is_like(name))
    }

    /// Adds the profile's name to `names`; returns the name that it evicts, if any.
    ///
    /// A name that the peer takes again counts from now on, since another peer may have taken it
    /// meanwhile.
    fn remember_name(&mut self, before: &FriendName, now: UnixMillis) -> Option<FriendName> {
        let Self { name, names, .. } = self;
        if !name.is_like(before) {
            let again = names.iter_mut().filter(|(borne, _)| borne.is_like(name));
            again.for_each(|(_, since)| *since = now);
        }
        if names.iter().any(|(borne, _)| borne.as_str() == name.as_str()) {
            return None;
        }
        let oldest =
            names.iter().enumerate().min_by_key(|(_, (_, since))| *since).map(|(at, _)| at);
        let forgotten =
            oldest.filter(|_| names.len() >= MAX_NAMES).map(|at| names.swap_remove(at).0);
        names.push((name.clone(), now));
        forgotten
    }
}
