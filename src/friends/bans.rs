//! Bans. A banned peer is also ignored as the author of lines and profiles that others forward.

use std::collections::BTreeMap;

use redb::ReadableTable as _;

use super::{
    Friends, StoreFault,
    store::{Store, Tables},
};
use crate::{
    peers::{Ban, BanTerm},
    primitives::{PeerId, PublicKey, UnixMillis},
};

/// The most bans kept. A further one lifts the ban that ends first, never one by command.
pub(super) const MAX_BANS_KEPT: usize = 4_096;

/// Reads all bans from the disk: each peer, and the end of its ban.
pub(super) fn load(store: &Store) -> Result<BTreeMap<PeerId, UnixMillis>, StoreFault> {
    store.view(read)
}

fn read(tables: &Tables<'_>) -> Result<BTreeMap<PeerId, UnixMillis>, StoreFault> {
    let mut bans = BTreeMap::new();
    for row in tables.bans.iter()? {
        let (peer, end) = row?;
        bans.insert(PeerId(PublicKey(*peer.value())), end.value());
    }
    Ok(bans)
}

const fn end_of(term: BanTerm) -> UnixMillis {
    match term {
        BanTerm::Until(end) => end,
        BanTerm::Forever => u64::MAX,
    }
}

impl Friends {
    /// True if the peer is banned or blocked, and is therefore ignored.
    pub(super) fn is_banned(&self, peer: &PeerId, now: UnixMillis) -> bool {
        self.is_blocked(peer) || self.banned.get(peer).is_some_and(|end| now < *end)
    }

    /// Stores a ban, so that it survives restarts. A ban by command also withdraws the trust in the
    /// peer.
    pub(crate) fn keep_ban(&mut self, ban: Ban) -> Result<(), StoreFault> {
        let Ban { peer, term } = ban;
        let end = end_of(term);
        let is_full = self.banned.len() >= MAX_BANS_KEPT && !self.banned.contains_key(&peer);
        let first = self.banned.iter().filter(|(_, end)| **end != u64::MAX);
        let lifted = first.min_by_key(|(_, end)| **end).map(|(peer, _)| *peer);
        let lifted = lifted.filter(|_| is_full);
        self.store.write(|tables| {
            if let Some(lifted) = lifted {
                tables.bans.remove(&lifted.0.0)?;
            }
            Ok::<_, StoreFault>(tables.bans.insert(&peer.0.0, end).map(drop)?)
        })?;
        if let Some(lifted) = lifted {
            self.banned.remove(&lifted);
        }
        self.banned.insert(peer, end);
        if term == BanTerm::Forever { self.disown(peer) } else { Ok(()) }
    }

    /// Deletes a ban that a user lifted or that has ended.
    pub(crate) fn forget_ban(&mut self, peer: PeerId) -> Result<(), StoreFault> {
        self.banned.remove(&peer);
        self.store.write(|tables| Ok(tables.bans.remove(&peer.0.0).map(drop)?))
    }

    /// Returns the bans in force, and deletes those that have ended.
    pub(crate) fn bans(&mut self, now: UnixMillis) -> Result<Vec<Ban>, StoreFault> {
        self.banned = self.store.write(|tables| {
            tables.bans.retain(|_, end| now < end)?;
            read(tables)
        })?;
        let ban = |(peer, end): (&PeerId, &UnixMillis)| Ban {
            peer: *peer,
            term: if *end == u64::MAX { BanTerm::Forever } else { BanTerm::Until(*end) },
        };
        Ok(self.banned.iter().map(ban).collect())
    }
}
