//! The people whom the user chose: accepted peers, peers written to, and, on the network `lan`,
//! those met nearby.
//!
//! [`Trust`](crate::peers::Trust) knows the level of each peer while the node runs. The table
//! `people_1` stores the reasons for the level, so that it survives a restart.

use std::collections::BTreeMap;

use redb::ReadableTable as _;

use super::store::{Store, StoreFault, Tables};
use crate::primitives::{PeerId, PublicKey, UnixMillis};

/// A row of the table `people_1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Standing {
    /// Time since when the peer is a friend; otherwise the time of the row's first writing.
    pub(super) since: UnixMillis,
    /// True if the peer was met at a private address on the network `lan`.
    pub(super) nearby: bool,
    /// True if the user ever wrote to the peer.
    pub(super) written: bool,
    /// True if the user accepted the peer: by command, by an address, or by an invite.
    pub(super) accepted: bool,
}

impl Standing {
    pub(super) const NEARBY: Self =
        Self { since: 0, nearby: true, written: false, accepted: false };
    pub(super) const WRITTEN: Self =
        Self { since: 0, nearby: false, written: true, accepted: false };
    pub(super) const ACCEPTED: Self =
        Self { since: 0, nearby: false, written: false, accepted: true };

    /// True if the user chose the peer, so that its data is never evicted for another's.
    pub(super) const fn is_chosen(self) -> bool {
        self.written || self.accepted
    }

    /// True if the row makes the peer a friend.
    pub(super) const fn is_friend(self) -> bool {
        self.nearby || self.accepted
    }

    pub(super) const fn with(self, other: Self) -> Self {
        Self {
            since: self.since,
            nearby: self.nearby || other.nearby,
            written: self.written || other.written,
            accepted: self.accepted || other.accepted,
        }
    }
}

/// Reads all rows from the disk.
pub(super) fn load(store: &Store) -> Result<BTreeMap<PeerId, Standing>, StoreFault> {
    store.view(|tables| {
        let mut people = BTreeMap::new();
        for row in tables.people.iter()? {
            let (peer, row) = row?;
            let (since, nearby, written, accepted) = row.value();
            let standing = Standing { since, nearby, written, accepted };
            people.insert(PeerId(PublicKey(*peer.value())), standing);
        }
        Ok(people)
    })
}

/// True if the table lists the peer as chosen by the user.
pub(super) fn is_chosen_in(people: &BTreeMap<PeerId, Standing>, peer: &PeerId) -> bool {
    people.get(peer).is_some_and(|standing| standing.is_chosen())
}

pub(super) fn put(
    tables: &mut Tables<'_>,
    peer: &PeerId,
    standing: Standing,
) -> Result<(), StoreFault> {
    let Standing { since, nearby, written, accepted } = standing;
    tables.people.insert(&peer.0.0, (since, nearby, written, accepted))?;
    Ok(())
}
