//! Our own profile, received from a peer. If it is later than ours, another node signs in our name.

use super::{
    Friends, ProfileError, ProfileReceipt,
    profiles::MAX_AHEAD_MS,
    store::{META_SEQUENCE, StoreFault},
};
use crate::{primitives::UnixMillis, wire::SignedProfile};

impl Friends {
    /// Handles a profile of our own key. If it is later than our last one, a copy of this folder
    /// signed it after our start. The next [`Friends::set_own_profile`] then signs a later one
    /// still.
    ///
    /// # Errors
    /// The signature is not ours.
    pub(super) fn own_profile_back(
        &mut self,
        profile: &SignedProfile,
        now: UnixMillis,
    ) -> Result<ProfileReceipt, ProfileError> {
        let is_later = self.own.as_ref().is_some_and(|own| own.sequence < profile.sequence);
        if !is_later || profile.sequence > now.saturating_add(MAX_AHEAD_MS) {
            return Ok(ProfileReceipt::Own);
        }
        profile.verify(&self.network)?;
        self.store.write(|tables| {
            tables.meta.insert(META_SEQUENCE, profile.sequence).map_err(StoreFault::from)?;
            Ok::<_, StoreFault>(())
        })?;
        self.own = None;
        Ok(ProfileReceipt::OfCopy)
    }
}
