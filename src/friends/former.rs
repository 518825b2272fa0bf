//! Names of peers whose profile was removed, so that the chat with them keeps its names.

use std::collections::BTreeMap;

use redb::ReadableTable as _;

use super::{
    Friends, StoreFault,
    profiles::{self, Known},
    store::Store,
};
use crate::{
    peers::Level,
    primitives::{FriendName, PeerId, PublicKey, UnixMillis},
};

/// The most names kept of peers without a profile. A further one evicts the oldest.
pub(crate) const MAX_FORMER: usize = 10_000;

/// A name that a peer had.
#[derive(Debug, Clone)]
pub(super) struct Former {
    /// Time at which the row was written.
    pub(super) since: UnixMillis,
    pub(super) name: FriendName,
}

/// Reads the former names from the disk.
pub(super) fn load(store: &Store) -> Result<BTreeMap<PeerId, Former>, StoreFault> {
    store.view(|tables| {
        let mut all = BTreeMap::new();
        for row in tables.former.iter()? {
            let (peer, row) = row?;
            let (since, name) = row.value();
            let former = Former { since, name: FriendName::of_any(name) };
            all.insert(PeerId(PublicKey(*peer.value())), former);
        }
        Ok(all)
    })
}

impl Friends {
    /// Drops the profiles of peers that are no friends and were gone for 30 days: neither seen here
    /// nor signed again. Their names are then free.
    pub(super) fn drop_ghosts(&mut self, now: UnixMillis) -> Result<(), StoreFault> {
        let is_ghost = |(peer, known): &(&PeerId, &Known)| {
            let last = known.last_seen.max(known.profile.sequence);
            !Known::is_fresh(last, now)
                && self.level(peer) < Level::Friend
                && !self.is_chosen(peer)
                && !self.is_blocked(peer)
                && !self.presence.contains_key(*peer)
        };
        let ghosts: Vec<PeerId> = self.known.iter().filter(is_ghost).map(|(id, _)| *id).collect();
        ghosts.iter().try_for_each(|ghost| self.drop_profile(ghost, now))
    }

    /// Removes a peer's profile and names. If the history has lines with the peer, its name stays.
    pub(super) fn drop_profile(
        &mut self,
        peer: &PeerId,
        now: UnixMillis,
    ) -> Result<(), StoreFault> {
        let Some(known) = self.known.get(peer).cloned() else { return Ok(()) };
        let is_kept = self.lines.has(peer);
        let is_full = self.former.len() >= MAX_FORMER;
        let oldest = self.former.iter().min_by_key(|(_, former)| former.since);
        let oldest = oldest.map(|(peer, _)| *peer).filter(|_| is_kept && is_full);
        self.store.write(|tables| {
            profiles::remove(tables, peer)?;
            if let Some(oldest) = oldest {
                tables.former.remove(&oldest.0.0)?;
            }
            if is_kept {
                tables.former.insert(&peer.0.0, (now, known.name.as_str()))?;
            }
            Ok::<_, StoreFault>(())
        })?;
        self.known.remove(peer);
        self.payees.remove(peer);
        self.trust.forget(peer);
        if let Some(oldest) = oldest {
            self.former.remove(&oldest);
        }
        if is_kept {
            self.former.insert(*peer, Former { since: now, name: known.name });
        }
        Ok(())
    }
}
