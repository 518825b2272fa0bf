//! Profiles of strangers, in memory only.

use std::collections::HashMap;

use super::{Friends, ProfileError, ProfileReceipt};
use crate::{
    peers::Level,
    primitives::{FriendName, PeerId},
    wire::SignedProfile,
};

/// The most profiles of strangers held, in memory: more than can be connected, about 128 kB.
pub(crate) const MAX_STRANGERS_KEPT: usize = 256;

/// A stranger's profile.
#[derive(Debug)]
struct Stranger {
    profile: SignedProfile,
    name: FriendName,
    /// The number of the last touch of this profile.
    touched: u64,
}

/// Profiles that strangers sent of themselves, the latest touched last.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    profiles: HashMap<PeerId, Stranger>,
    /// The number of touches so far, which orders them.
    touches: u64,
}

impl Strangers {
    pub(super) fn get(&self, peer: &PeerId) -> Option<&SignedProfile> {
        self.profiles.get(peer).map(|held| &held.profile)
    }

    pub(super) fn remove(&mut self, peer: &PeerId) -> Option<SignedProfile> {
        self.profiles.remove(peer).map(|held| held.profile)
    }

    pub(super) fn name(&self, peer: &PeerId) -> Option<&FriendName> {
        self.profiles.get(peer).map(|held| &held.name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (PeerId, &FriendName)> {
        self.profiles.iter().map(|(peer, held)| (*peer, &held.name))
    }

    /// Stores a profile. If there is no room, the profile touched longest ago is dropped. Profiles
    /// of peers that are `here` are dropped last.
    fn insert(&mut self, profile: SignedProfile, here: impl Fn(&PeerId) -> bool) {
        if self.profiles.len() >= MAX_STRANGERS_KEPT && !self.profiles.contains_key(&profile.peer) {
            let oldest = self.profiles.iter().min_by_key(|(peer, held)| (here(peer), held.touched));
            if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                self.profiles.remove(&oldest);
            }
        }
        self.touches = self.touches.saturating_add(1);
        let (name, touched) = (FriendName::of_any(&profile.name), self.touches);
        self.profiles.insert(profile.peer, Stranger { profile, name, touched });
    }
}

impl Friends {
    /// Stores a verified profile that a stranger sent of itself, and notifies the user once.
    pub(super) fn keep_stranger(
        &mut self,
        profile: SignedProfile,
    ) -> Result<ProfileReceipt, ProfileError> {
        let peer = profile.peer;
        if !self.rates.take(peer, Level::Stranger, (self.clock)()) {
            return Err(ProfileError::TooMany { peer });
        }
        let is_new = self.strangers.get(&peer).is_none();
        let Self { strangers, presence, .. } = self;
        strangers.insert(profile, |peer| presence.contains_key(peer));
        if !is_new {
            return Ok(ProfileReceipt::Updated);
        }
        self.tell_of_stranger(peer);
        self.named(peer);
        Ok(ProfileReceipt::New)
    }
}
