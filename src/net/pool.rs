//! The bytes that all connections of strangers hold here.
//!
//! Each connection has bounds of its own ([`guard`](super::guard), [`mux`](super::mux)). Many
//! connections at their bounds would still hold too much. One [`Pool`] therefore counts the bytes
//! of all, and beyond its limit the stranger's connection that holds most is closed. A friend's
//! bytes are counted, but a friend's connection is never closed for them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

use super::limits::MAX_HELD_BY_STRANGERS;
use crate::{peers::Trust, primitives::PeerId};

#[derive(Debug)]
struct Holder {
    peer: Option<PeerId>,
    bytes: usize,
    evicted: bool,
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    total: usize,
    holders: HashMap<u64, Holder>,
}

/// The bytes that connections hold. It is cloneable, and all clones share one state.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    trust: Trust,
    limit: usize,
    state: Arc<Mutex<State>>,
}

impl Pool {
    /// Makes a pool of [`MAX_HELD_BY_STRANGERS`].
    pub(super) fn new(trust: Trust) -> Self {
        Self::bounded(trust, MAX_HELD_BY_STRANGERS)
    }

    /// Makes a pool of `limit` bytes.
    pub(super) fn bounded(trust: Trust, limit: usize) -> Self {
        Self { trust, limit, state: Arc::default() }
    }

    /// Returns the share of a new connection. `peer` is `None` without an ed25519 key.
    pub(super) fn share(&self, peer: Option<PeerId>) -> Share {
        let mut state = self.lock();
        let id = state.next;
        state.next = state.next.wrapping_add(1);
        state.holders.insert(id, Holder { peer, bytes: 0, evicted: false, waker: None });
        drop(state);
        Share { pool: self.clone(), id, peer }
    }

    /// Returns the bytes that all connections hold.
    #[cfg(test)]
    pub(super) fn total(&self) -> usize {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_friend(&self, peer: Option<&PeerId>) -> bool {
        peer.is_some_and(|peer| self.trust.is_friend(peer))
    }

    /// Marks the strangers' connections that hold most for closing, until the rest fits.
    fn shrink(&self, state: &mut State) {
        while state.total > self.limit {
            let most = state
                .holders
                .iter_mut()
                .filter(|(_, holder)| !holder.evicted && holder.bytes > 0)
                .filter(|(_, holder)| !self.is_friend(holder.peer.as_ref()))
                .max_by_key(|(_, holder)| holder.bytes);
            let Some((_, holder)) = most else { return };
            holder.evicted = true;
            state.total = state.total.saturating_sub(holder.bytes);
            holder.bytes = 0;
            if let Some(waker) = holder.waker.take() {
                waker.wake();
            }
        }
    }
}

/// The part of a [`Pool`] that one connection holds. Dropping it gives the bytes back.
#[derive(Debug)]
pub(super) struct Share {
    pool: Pool,
    id: u64,
    peer: Option<PeerId>,
}

impl Share {
    /// Records how many bytes the connection holds now.
    pub(super) fn hold(&self, bytes: usize) {
        let mut state = self.pool.lock();
        let State { total, holders, .. } = &mut *state;
        let Some(holder) = holders.get_mut(&self.id) else { return };
        if holder.evicted {
            return;
        }
        *total = total.saturating_sub(holder.bytes).saturating_add(bytes);
        let grew = bytes > holder.bytes;
        holder.bytes = bytes;
        if grew && *total > self.pool.limit {
            self.pool.shrink(&mut state);
        }
    }

    /// Returns true if the connection must close. Otherwise its task is woken when it must.
    pub(super) fn is_evicted(&self, cx: &Context<'_>) -> bool {
        let mut state = self.pool.lock();
        let Some(holder) = state.holders.get_mut(&self.id) else { return true };
        if !holder.evicted && !holder.waker.as_ref().is_some_and(|old| old.will_wake(cx.waker())) {
            holder.waker = Some(cx.waker().clone());
        }
        holder.evicted
    }

    /// Returns true if the peer is a friend now.
    pub(super) fn is_friend(&self) -> bool {
        self.pool.is_friend(self.peer.as_ref())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        if let Some(holder) = state.holders.remove(&self.id) {
            state.total = state.total.saturating_sub(holder.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::{net::limits::STRANGER_CONNECTION_BYTES, primitives::PublicKey};

    #[expect(clippy::unnecessary_wraps, reason = "the tested functions take an option")]
    fn peer(number: u8) -> Option<PeerId> {
        Some(PeerId(PublicKey([number; 32])))
    }

    #[test]
    fn all_strangers_together_hold_a_bounded_memory() {
        let pool = Pool::new(Trust::default());
        let shares: Vec<_> = (0..100).map(|number| pool.share(peer(number))).collect();
        for share in &shares {
            share.hold(STRANGER_CONNECTION_BYTES);
            assert!(pool.total() <= MAX_HELD_BY_STRANGERS);
        }
        assert_eq!(pool.total(), MAX_HELD_BY_STRANGERS);
    }

    #[test]
    fn the_stranger_that_holds_most_goes_first_and_a_friend_never() {
        let friend = peer(1).unwrap();
        let pool = Pool::bounded(Trust::new([friend], false), 100);
        let cx = Context::from_waker(Waker::noop());
        let (friend, small, large) =
            (pool.share(peer(1)), pool.share(peer(2)), pool.share(peer(3)));
        friend.hold(60);
        small.hold(10);
        large.hold(30);
        assert!(!large.is_evicted(&cx));
        small.hold(11);
        assert!(large.is_evicted(&cx) && !small.is_evicted(&cx) && !friend.is_evicted(&cx));
        assert_eq!(pool.total(), 71);
        friend.hold(1_000);
        assert!(small.is_evicted(&cx) && !friend.is_evicted(&cx));
        drop(friend);
        assert_eq!(pool.total(), 0);
    }
}
