//! Sealed lines that this node keeps for friends who are away.
//!
//! A friend leaves a line for another friend of ours, and this node delivers it once the receiver
//! is connected. This node cannot read such a line: see [`SealedLine`].
//!
//! # Security
//! Both ends must be friends: nothing is kept for or from anybody else. The sender, the receiver
//! and all lines together have a limit. A line beyond a limit is refused, so no line pushes out
//! another.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use redb::ReadableTable as _;
use serde_bytes::ByteBuf;

use super::{
    Friends, StoreFault,
    store::{META_ORDER, Store},
};
use crate::{
    primitives::{PeerId, PublicKey, UnixMillis},
    telemetry::events::LineKept,
    wire::{Refusal, SealedLine},
};

/// The most lines that are kept for one receiver.
pub(crate) const MAX_KEPT_FOR_ONE: usize = 1_000;
/// The most lines that are kept from one sender, for all receivers.
pub(crate) const MAX_KEPT_OF_ONE: usize = 500;
/// The most lines that are kept from one sender for one receiver, so that several senders find
/// room.
pub(crate) const MAX_KEPT_BETWEEN: usize = 250;
/// The most lines that are kept in all: at most 38 MB, usually 3 MB.
pub(crate) const MAX_KEPT: usize = 8_000;
/// The time for which a line is kept, in ms: 7 days.
pub(crate) const KEPT_SEALED_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// A line that is kept for a friend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptLine {
    /// The line's order of arrival.
    pub(crate) order: u64,
    pub(crate) line: SealedLine,
}

/// The reason why a sealed line is not kept.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum KeepError {
    /// The sender or the receiver is not a friend, or both are the same peer.
    #[error("a sealed line is kept from a friend for another friend alone")]
    NotFriends,
    #[error("no further sealed line is kept: {what} has {limit}")]
    Full { what: &'static str, limit: usize },
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl KeepError {
    /// Returns the reason to send back. `None` means the reply Busy.
    #[must_use]
    pub(crate) const fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::NotFriends => Some(Refusal::NotMine),
            Self::Full { .. } => Some(Refusal::RateLimited),
            Self::Store(_) => None,
        }
    }
}

/// The sender of a kept line, and the time of its arrival.
#[derive(Debug, Clone, Copy)]
struct Deposit {
    by: PeerId,
    received: UnixMillis,
}

/// The table `kept_1` in memory, without the boxes.
#[derive(Debug, Default)]
pub(super) struct Kept {
    rows: BTreeMap<(PeerId, u64), Deposit>,
    /// The number of rows, shared with the metrics and `status`.
    count: Arc<AtomicU64>,
}

impl Kept {
    /// Reads the table from the disk.
    pub(super) fn load(store: &Store) -> Result<Self, StoreFault> {
        let rows = store.view(|tables| {
            let mut rows = BTreeMap::new();
            for row in tables.kept.iter()? {
                let (key, row) = row?;
                let ((to, order), (by, received, _)) = (key.value(), row.value());
                let deposit = Deposit { by: PeerId(PublicKey(*by)), received };
                rows.insert((PeerId(PublicKey(*to)), order), deposit);
            }
            Ok::<_, StoreFault>(rows)
        })?;
        let kept = Self { rows, count: Arc::default() };
        kept.publish();
        Ok(kept)
    }

    /// Returns the shared count of kept lines.
    pub(super) fn count(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.count)
    }

    fn publish(&self) {
        let count = u64::try_from(self.rows.len()).unwrap_or(u64::MAX);
        self.count.store(count, Ordering::Relaxed);
    }

    /// Checks that one more line keeps every bound.
    fn check_room(&self, by: &PeerId, to: &PeerId) -> Result<(), KeepError> {
        let (mut of_one, mut for_one, mut between) = (0_usize, 0_usize, 0_usize);
        for ((receiver, _), deposit) in &self.rows {
            let (is_by, is_to) = (deposit.by == *by, receiver == to);
            of_one = of_one.saturating_add(usize::from(is_by));
            for_one = for_one.saturating_add(usize::from(is_to));
            between = between.saturating_add(usize::from(is_by && is_to));
        }
        for (count, limit, what) in [
            (between, MAX_KEPT_BETWEEN, "this sender for this receiver"),
            (of_one, MAX_KEPT_OF_ONE, "this sender"),
            (for_one, MAX_KEPT_FOR_ONE, "this receiver"),
            (self.rows.len(), MAX_KEPT, "this node"),
        ] {
            if count >= limit {
                return Err(KeepError::Full { what, limit });
            }
        }
        Ok(())
    }
}

impl Friends {
    /// Keeps a sealed line that `by` leaves for another friend. It is durable when this returns.
    pub(crate) fn keep_sealed(
        &mut self,
        by: PeerId,
        line: &SealedLine,
        now: UnixMillis,
    ) -> Result<(), KeepError> {
        let to = line.to;
        let is_friend = |peer: &PeerId| self.trust.is_friend(peer) && !self.is_banned(peer, now);
        if by == to || to == self.me || !is_friend(&by) || !is_friend(&to) {
            return Err(KeepError::NotFriends);
        }
        self.drop_old_kept(now)?;
        self.kept.check_room(&by, &to)?;
        let order = self.store.write(|tables| {
            let order = tables.next(META_ORDER)?;
            tables.kept.insert((&to.0.0, order), (&by.0.0, now, &line.sealed[..]))?;
            Ok::<_, StoreFault>(order)
        })?;
        self.kept.rows.insert((to, order), Deposit { by, received: now });
        self.kept.publish();
        self.announce(move || LineKept { from: by, to }.emit());
        Ok(())
    }

    /// Returns the first `limit` lines that are kept for a friend, in order of arrival.
    pub(crate) fn kept_for(&self, to: &PeerId, limit: usize) -> Result<Vec<KeptLine>, StoreFault> {
        if !self.trust.is_friend(to) {
            return Ok(Vec::new());
        }
        self.store.view(|tables| {
            let mut lines = Vec::new();
            for row in tables.kept.range((&to.0.0, 0)..=(&to.0.0, u64::MAX))?.take(limit) {
                let (key, row) = row?;
                let sealed = ByteBuf::from(row.value().2);
                let line = SealedLine { to: *to, sealed };
                lines.push(KeptLine { order: key.value().1, line });
            }
            Ok(lines)
        })
    }

    /// Drops a kept line, since its receiver has it or refuses it for good.
    pub(crate) fn drop_kept(&mut self, to: PeerId, order: u64) -> Result<(), StoreFault> {
        self.drop_kept_rows(|receiver, number, _| *receiver == to && number == order)
    }

    /// Drops the lines that are kept for or from a peer, since it is no friend any more.
    pub(super) fn drop_kept_of(&mut self, peer: &PeerId) -> Result<(), StoreFault> {
        self.drop_kept_rows(|receiver, _, deposit| receiver == peer || deposit.by == *peer)
    }

    /// Drops the lines that were kept for [`KEPT_SEALED_MS`].
    pub(crate) fn drop_old_kept(&mut self, now: UnixMillis) -> Result<(), StoreFault> {
        self.drop_kept_rows(|_, _, deposit| deposit.received.saturating_add(KEPT_SEALED_MS) < now)
    }

    fn drop_kept_rows(
        &mut self,
        is_dropped: impl Fn(&PeerId, u64, Deposit) -> bool,
    ) -> Result<(), StoreFault> {
        let rows = self.kept.rows.iter();
        let dropped: Vec<(PeerId, u64)> = rows
            .filter(|((to, order), deposit)| is_dropped(to, *order, **deposit))
            .map(|(key, _)| *key)
            .collect();
        if dropped.is_empty() {
            return Ok(());
        }
        self.store.write(|tables| {
            for (to, order) in &dropped {
                tables.kept.remove((&to.0.0, *order))?;
            }
            Ok::<_, StoreFault>(())
        })?;
        for key in &dropped {
            self.kept.rows.remove(key);
        }
        self.kept.publish();
        Ok(())
    }
}
