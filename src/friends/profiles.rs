//! Profiles: which are kept, our own, whom we tell others about, and the list of friends.

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

/// Profiles that are held: about 5 MB. When full, the one least recently seen goes, of those who
/// are not here and whom we never wrote to.
pub const MAX_PROFILES_KEPT: usize = 10_000;
/// How far ahead of our clock a profile may be signed: a day. Any further, and a wrong clock could
/// never be put right.
pub const MAX_AHEAD_MS: u64 = 24 * 60 * 60 * 1_000;
/// Names that are remembered of one peer; when it takes another, the oldest is forgotten.
pub const MAX_NAMES: usize = 8;

/// What became of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The peer was unknown.
    New,
    /// It replaces an older one.
    Updated,
    /// It is the one that is held.
    Known,
    /// A newer one is held.
    Old,
    /// It is our own.
    Own,
}

/// A friend as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FriendInfo {
    /// By its profile.
    pub name: String,
    /// As many hex digits of its key as tell it from the others of its name; at least 4.
    pub suffix: String,
    /// Its identity.
    pub peer_id: PeerId,
    /// Whether it is connected, and has not said goodbye.
    pub online: bool,
    /// Where coins for it go.
    pub address: Option<Address>,
    /// When it was last connected; none when it never was, and others told us of it.
    pub last_seen: Option<UnixMillis>,
    /// The addresses of its profile, where it may be dialed.
    pub addresses: Vec<String>,
}

/// How a connected peer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Its profile is not held yet.
    Connected,
    /// It is held, and the friend was shown as come.
    Joined,
    /// It was shown as gone, although the connection still stands.
    SaidGoodbye,
}

/// A profile and what goes with it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) profile: SignedProfile,
    /// That it is signed for.
    pub(super) network: NetworkId,
    /// 0: never.
    pub(super) last_seen: UnixMillis,
    /// Whether we ever wrote to it: such friends are not forgotten for strangers.
    pub(super) talked: bool,
    /// Every name that it bore, with since when we know; at most [`MAX_NAMES`].
    pub(super) names: Vec<(String, UnixMillis)>,
}

/// All profiles on the disk.
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

/// Writes one profile.
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
    /// Signs and holds our own profile: to be called at start, and whenever one of the parts
    /// changes. `addresses` are multiaddrs; their `/p2p/` is taken off, doubles and those beyond
    /// the eighth are left out. The same parts again give the profile that is held.
    ///
    /// The first of a run is always signed anew, later than any goodbye of the run before.
    pub fn set_own_profile(
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
            // A sequence beyond what others accept, from a time when this clock was wrong, does not
            // count.
            let last = if last > now.saturating_add(MAX_AHEAD_MS) { 0 } else { last };
            let sequence = now.max(last.saturating_add(1));
            let own = SignedProfile::sign(network, *me, name, listed, payment, sequence, signer)?;
            tables.meta.insert(META_SEQUENCE, sequence).map_err(StoreFault::from)?;
            Ok::<_, OwnProfileError>(own)
        })?;
        self.own = Some(own.clone());
        Ok(own)
    }

    /// Our own profile, once it is set.
    #[must_use]
    pub const fn own_profile(&self) -> Option<&SignedProfile> {
        self.own.as_ref()
    }

    /// Keeps a profile that came, if it is its peer's, obeys the rules, and is newer than the one
    /// held.
    pub fn keep_profile(
        &mut self,
        profile: SignedProfile,
        now: UnixMillis,
    ) -> Result<Kept, ProfileError> {
        let peer = profile.peer;
        if peer == self.me {
            return Ok(Kept::Own);
        }
        let held = self.known.get(&peer);
        if let Some(held) = held.filter(|held| held.network == self.network) {
            if held.profile == profile {
                return Ok(Kept::Known);
            }
            if held.profile.sequence >= profile.sequence {
                return Ok(Kept::Old);
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
        let kept = if held.is_some() { Kept::Updated } else { Kept::New };
        let old_name = std::mem::replace(&mut known.profile, profile).name;
        known.network = self.network;
        if self.presence.contains_key(&peer) {
            known.last_seen = known.last_seen.max(now);
        }
        let forgotten_name = known.bear_name(now);
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
            self.tell(FriendsEvent::Renamed { peer, old: old_name, new: new_name });
        }
        self.join(&peer);
        Ok(kept)
    }

    /// Whom to forget for one more profile; nobody while there is room.
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

    /// What Explore is answered: our own profile, then others of this network, those here first,
    /// then as they were seen last; 64 in all.
    #[must_use]
    pub fn explore_answer(&self) -> Vec<SignedProfile> {
        let mut others: Vec<_> =
            self.known.values().filter(|known| known.network == self.network).collect();
        others.sort_by_key(|known| {
            std::cmp::Reverse((self.is_online(&known.profile.peer), known.last_seen))
        });
        let others = others.into_iter().map(|known| known.profile.clone());
        self.own.iter().cloned().chain(others).take(MAX_PROFILES).collect()
    }

    /// All friends, by name, then by key.
    #[must_use]
    pub fn list(&self) -> Vec<FriendInfo> {
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

    /// One friend.
    #[must_use]
    pub fn friend(&self, peer: &PeerId) -> Option<FriendInfo> {
        let known = self.known.get(peer)?;
        let namesakes: Vec<_> = self.namesakes(&known.profile.name).collect();
        Some(self.info(known, unique_digits(peer, &namesakes)))
    }
}

impl Known {
    /// Adds the profile's name to those borne; gives the one that is forgotten for it.
    fn bear_name(&mut self, now: UnixMillis) -> Option<String> {
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
