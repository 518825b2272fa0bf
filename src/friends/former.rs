//! Names of peers whose profile is gone, so that the chat with them keeps its names.

use std::collections::BTreeMap;

use redb::ReadableTable as _;

use super::{Friends, StoreFault, profiles, store::Store};
use crate::primitives::{FriendName, PeerId, PublicKey, UnixMillis};

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
        if let Some(oldest) = oldest {
            self.former.remove(&oldest);
        }
        if is_kept {
            self.former.insert(*peer, Former { since: now, name: known.name });
        }
        Ok(())
    }
}
