//! Profiles of strangers, in memory only.

use std::collections::HashMap;

use super::{Friends, FriendsEvent, ProfileError, ProfileReceipt};
use crate::{peers::Level, primitives::PeerId, wire::SignedProfile};

/// The most profiles of strangers held, in memory: more than can be connected, about 128 kB.
pub(crate) const MAX_STRANGERS_KEPT: usize = 256;

/// The profiles that strangers signed of themselves, the latest touched last.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    profiles: HashMap<PeerId, (SignedProfile, u64)>,
    /// Counts the touches, and so orders them.
    touches: u64,
}

impl Strangers {
    pub(super) fn get(&self, peer: &PeerId) -> Option<&SignedProfile> {
        self.profiles.get(peer).map(|(profile, _)| profile)
    }

    pub(super) fn remove(&mut self, peer: &PeerId) -> Option<SignedProfile> {
        self.profiles.remove(peer).map(|(profile, _)| profile)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &SignedProfile> {
        self.profiles.values().map(|(profile, _)| profile)
    }

    /// Keeps a profile. When there is no room, the one touched longest ago goes, those of peers who
    /// are `here` last.
    fn insert(&mut self, profile: SignedProfile, here: impl Fn(&PeerId) -> bool) {
        if self.profiles.len() >= MAX_STRANGERS_KEPT && !self.profiles.contains_key(&profile.peer) {
            let oldest =
                self.profiles.iter().min_by_key(|(peer, (_, touched))| (here(peer), *touched));
            if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                self.profiles.remove(&oldest);
            }
        }
        self.touches = self.touches.saturating_add(1);
        self.profiles.insert(profile.peer, (profile, self.touches));
    }
}

impl Friends {
    /// Keeps a verified profile that a stranger sent of itself, and tells the user once.
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
        if self.rates.take_notice((self.clock)()) {
            let name = self.label(&peer);
            self.emit(FriendsEvent::Asks { peer, name });
        }
        Ok(ProfileReceipt::New)
    }
}
