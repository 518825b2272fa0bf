//! Hints are told addresses that no connection has proven.
//!
//! The network dials a hint once. After a failure it waits for an hour or more, longer each time,
//! and forgets the hint after some failures. A hint becomes a proven address when a connection to
//! it shows the key of the peer. Hints of friends and of mDNS have shorter waits: see [`Class`].
//!
//! # Security
//! A told address costs its teller nothing. Without these bounds a peer could make the node connect
//! to any machine, thousands of times:
//! - Each teller has a bounded number of untried hints, and a rate. Strangers in one network count
//!   as one teller.
//! - Each machine gets a few dials an hour, over all tellers and all ids that were named for it.
//! - Each class of hints has its own table and its own rate, so that strangers' hints never take
//!   the room of a friend's. The answers of walks do not show their tellers, who thus share one
//!   account. What walks tell about friends is a class of its own, which fakes do not use up.
//!
//! A dial that reaches the right peer is free: its tokens go back. Honest peers thus find each
//! other quickly, and only wrong addresses use up a budget.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    time::{Duration, Instant},
};

use libp2p::Multiaddr;

use super::is_through;
use crate::{
    net::{
        address::{Target, target},
        limits::{
            FRIEND_DIALS_PER_HOUR, FRIEND_HINTS, FRIEND_HINTS_PER_HOUR, FRIEND_TARGET_DIALS,
            INTRODUCED_HINTS, INTRODUCED_HINTS_PER_HOUR, MAX_HINT_ACCOUNTS, MAX_HINTS,
            MAX_HINTS_DIALING, MAX_TARGET_DIALING, NEARBY_DIALS_PER_HOUR, NEARBY_TARGET_DIALS,
            STRANGER_DIALS_PER_HOUR, STRANGER_HINTS, STRANGER_HINTS_PER_HOUR,
            STRANGER_TARGET_DIALS,
        },
    },
    primitives::{Bucket, Moment, PeerId, Rate},
};

/// The tokens of one act in a bucket with an hourly rate. The bucket gains one token a second for
/// each act an hour.
const ACT: u64 = 3_600;
/// The longest wait before another dial of a hint.
const LONGEST_WAIT: Duration = Duration::from_hours(72);

/// The party whose hints count against one budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::net) enum Teller {
    /// All strangers that are connected from one network.
    Network(IpAddr),
    /// An introduced peer or a friend.
    Peer(PeerId),
    /// The walks through Kademlia, whose answers do not show who told an address.
    Walk,
    /// A machine that announced the address by mDNS.
    Nearby(IpAddr),
}

/// The class of a hint, which decides its budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) enum Class {
    /// Told by a stranger.
    Stranger,
    /// Told by an introduced peer, or by a friend about another peer.
    Introduced,
    /// Told by a walk about a friend. The teller may be any peer.
    Sought,
    /// An announcement on the local network.
    Nearby,
    /// Told by a friend about itself.
    Friend,
}

/// The budgets of a class.
struct Allowance {
    /// Untried hints of one teller.
    untried: usize,
    /// Hints that one teller may add in an hour, and at once.
    told: u64,
    /// Failed dials to one machine in an hour, and at once.
    target: u64,
    /// Failed dials of the whole class in an hour.
    dials: u64,
    /// The wait after the first failure. It grows fourfold with each further one.
    first_wait: Duration,
    /// The longest wait.
    longest_wait: Duration,
    /// Failures after which the hint is forgotten.
    tries: u32,
}

impl Class {
    const ALL: [Self; 5] =
        [Self::Friend, Self::Nearby, Self::Introduced, Self::Sought, Self::Stranger];

    const fn allowance(self) -> Allowance {
        match self {
            Self::Stranger | Self::Sought => Allowance {
                untried: STRANGER_HINTS,
                told: STRANGER_HINTS_PER_HOUR,
                target: STRANGER_TARGET_DIALS,
                dials: STRANGER_DIALS_PER_HOUR,
                first_wait: Duration::from_hours(1),
                longest_wait: LONGEST_WAIT,
                tries: 5,
            },
            Self::Introduced => Allowance {
                untried: INTRODUCED_HINTS,
                told: INTRODUCED_HINTS_PER_HOUR,
                target: STRANGER_TARGET_DIALS,
                dials: STRANGER_DIALS_PER_HOUR,
                first_wait: Duration::from_hours(1),
                longest_wait: LONGEST_WAIT,
                tries: 5,
            },
            Self::Nearby => Allowance {
                untried: INTRODUCED_HINTS,
                told: INTRODUCED_HINTS_PER_HOUR,
                target: NEARBY_TARGET_DIALS,
                dials: NEARBY_DIALS_PER_HOUR,
                first_wait: Duration::from_secs(15),
                longest_wait: Duration::from_hours(1),
                tries: 8,
            },
            Self::Friend => Allowance {
                untried: FRIEND_HINTS,
                told: FRIEND_HINTS_PER_HOUR,
                target: FRIEND_TARGET_DIALS,
                dials: FRIEND_DIALS_PER_HOUR,
                first_wait: Duration::from_mins(1),
                longest_wait: Duration::from_hours(24),
                tries: 24,
            },
        }
    }
}

/// A told address.
#[derive(Debug)]
struct Hint {
    peer: PeerId,
    address: Multiaddr,
    teller: Teller,
    failures: u32,
    next: Instant,
    dialing: bool,
}

impl Hint {
    const fn is_untried(&self) -> bool {
        self.failures == 0
    }
}

/// Token buckets by key. Full ones are dropped, so that only those in use take room.
#[derive(Debug)]
struct Accounts<K>(HashMap<K, Bucket>);

impl<K: Eq + Hash> Accounts<K> {
    /// Takes one act from the key's bucket. Returns false if it has none, or if there are too many
    /// buckets in use.
    fn take(&mut self, key: K, per_hour: u64, now: Moment) -> bool {
        if self.0.len() >= MAX_HINT_ACCOUNTS && !self.0.contains_key(&key) {
            self.0.retain(|_, bucket| !bucket.is_full(now));
            if self.0.len() >= MAX_HINT_ACCOUNTS {
                return false;
            }
        }
        self.0.entry(key).or_insert_with(|| hourly(per_hour, now)).take(ACT, now)
    }

    fn give(&mut self, key: &K) {
        if let Some(bucket) = self.0.get_mut(key) {
            bucket.give(ACT);
        }
    }
}

/// Returns a bucket that holds an hour's acts, and refills within an hour.
const fn hourly(acts: u64, now: Moment) -> Bucket {
    Bucket::new(Rate { burst: acts.saturating_mul(ACT), per_second: acts }, now)
}

/// The hints of one class, with their budgets.
#[derive(Debug)]
struct Ledger {
    class: Class,
    hints: Vec<Hint>,
    tellers: Accounts<Teller>,
    targets: Accounts<Target>,
    dials: Bucket,
}

impl Ledger {
    fn find(&mut self, peer: &PeerId, address: &Multiaddr) -> Option<&mut Hint> {
        self.hints.iter_mut().find(|hint| hint.peer == *peer && hint.address == *address)
    }

    fn add(
        &mut self,
        peer: PeerId,
        address: &Multiaddr,
        teller: Teller,
        first: Instant,
        now: Moment,
    ) -> bool {
        if self.find(&peer, address).is_some() {
            return false;
        }
        let allowance = self.class.allowance();
        let untried =
            self.hints.iter().filter(|hint| hint.is_untried() && hint.teller == teller).count();
        if untried >= allowance.untried
            || (self.hints.len() >= MAX_HINTS && !self.hints.iter().any(is_evictable))
            || !self.tellers.take(teller, allowance.told, now)
        {
            return false;
        }
        if self.hints.len() >= MAX_HINTS {
            let worst = (0..)
                .zip(&self.hints)
                .filter(|(_, hint)| is_evictable(hint))
                .max_by_key(|(_, hint)| hint.failures)
                .map(|(at, _)| at);
            if let Some(at) = worst {
                self.hints.swap_remove(at);
            }
        }
        let hint = Hint {
            peer,
            address: address.clone(),
            teller,
            failures: 0,
            next: first,
            dialing: false,
        };
        self.hints.push(hint);
        true
    }

    /// Returns the hints to dial now, at most `room`.
    fn due(
        &mut self,
        now: Instant,
        moment: Moment,
        room: usize,
        wanted: impl Fn(&PeerId) -> bool,
    ) -> Vec<(PeerId, Multiaddr)> {
        let allowance = self.class.allowance();
        let mut busy: HashMap<Target, usize> = HashMap::new();
        let mut dialing: Vec<PeerId> = Vec::new();
        for hint in self.hints.iter().filter(|hint| hint.dialing) {
            dialing.push(hint.peer);
            let count = busy.entry(target(&hint.address)).or_default();
            *count = count.saturating_add(1);
        }
        let mut ready: Vec<&mut Hint> =
            self.hints.iter_mut().filter(|hint| !hint.dialing && hint.next <= now).collect();
        ready.sort_by_key(|hint| (hint.failures, hint.next));
        let mut dials = Vec::new();
        for hint in ready {
            if dials.len() >= room || dialing.len() >= MAX_HINTS_DIALING {
                break;
            }
            // Dials one address after the other: once one answers, the others need no dial.
            if self.class != Class::Friend && dialing.contains(&hint.peer) {
                continue;
            }
            let machine = target(&hint.address);
            let there = busy.get(&machine).copied().unwrap_or_default();
            if there >= MAX_TARGET_DIALING
                || !wanted(&hint.peer)
                || !self.targets.take(machine.clone(), allowance.target, moment)
            {
                continue;
            }
            if !self.dials.take(ACT, moment) {
                self.targets.give(&machine);
                break;
            }
            busy.insert(machine, there.saturating_add(1));
            dialing.push(hint.peer);
            hint.dialing = true;
            dials.push((hint.peer, hint.address.clone()));
        }
        dials
    }

    /// Counts a failed dial. Its tokens stay spent.
    fn failed(&mut self, peer: &PeerId, address: &Multiaddr, now: Instant) {
        let Allowance { first_wait, longest_wait, tries, .. } = self.class.allowance();
        let Some(hint) = self.find(peer, address) else { return };
        let fourfold = 4_u32.saturating_pow(hint.failures);
        hint.dialing = false;
        hint.failures = hint.failures.saturating_add(1);
        hint.next = now + first_wait.saturating_mul(fourfold).min(longest_wait);
        if hint.failures >= tries {
            self.hints.retain(|hint| hint.peer != *peer || hint.address != *address);
        }
    }

    /// Forgets the hints of a peer that has connected, through this address if the node dialed it.
    ///
    /// # Security
    /// Only the dial that reached the peer is free. A peer that connects by itself refunds no dial
    /// that was made in its name.
    fn proven(&mut self, peer: &PeerId, through: Option<&Multiaddr>) {
        let Self { class, hints, tellers, targets, dials } = self;
        hints.retain(|hint| {
            if hint.peer != *peer {
                return true;
            }
            let reached = through.is_some_and(|through| {
                *through == hint.address
                    || (*class == Class::Friend && target(through) == target(&hint.address))
            });
            if hint.dialing && reached {
                targets.give(&target(&hint.address));
                dials.give(ACT);
            }
            if reached || (hint.is_untried() && !hint.dialing) {
                tellers.give(&hint.teller);
            }
            false
        });
    }
}

/// True if a new hint may take the place of this one.
const fn is_evictable(hint: &Hint) -> bool {
    !hint.is_untried() && !hint.dialing
}

/// All hints.
#[derive(Debug)]
pub(super) struct Hints {
    epoch: Instant,
    ledgers: Vec<Ledger>,
}

impl Hints {
    pub(super) fn new(epoch: Instant) -> Self {
        let ledger = |class: Class| Ledger {
            class,
            hints: Vec::new(),
            tellers: Accounts(HashMap::new()),
            targets: Accounts(HashMap::new()),
            dials: hourly(class.allowance().dials, 0),
        };
        Self { epoch, ledgers: Class::ALL.map(ledger).into() }
    }

    fn moment(&self, now: Instant) -> Moment {
        let since = now.saturating_duration_since(self.epoch);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Adds a hint that may be dialed from `first` on. Returns true if it is new and within its
    /// teller's budget.
    pub(super) fn add(
        &mut self,
        class: Class,
        (peer, address): (PeerId, &Multiaddr),
        teller: Teller,
        first: Instant,
        now: Instant,
    ) -> bool {
        let moment = self.moment(now);
        let held = |ledger: &mut Ledger| ledger.find(&peer, address).is_some();
        let rank = |class: Class| Class::ALL.iter().position(|other| *other == class);
        let better = rank(class);
        // A hint of a lower class adds nothing.
        if self.ledgers.iter_mut().any(|ledger| rank(ledger.class) <= better && held(ledger)) {
            return false;
        }
        let Some(ledger) = self.ledgers.iter_mut().find(|ledger| ledger.class == class) else {
            return false;
        };
        ledger.add(peer, address, teller, first, moment)
    }

    /// Returns the hints for wanted peers to dial now, in the order of their classes.
    pub(super) fn due(
        &mut self,
        now: Instant,
        room: usize,
        wanted: impl Fn(&PeerId) -> bool,
    ) -> Vec<(PeerId, Multiaddr)> {
        let moment = self.moment(now);
        let mut dials = Vec::new();
        for ledger in &mut self.ledgers {
            let left = room.saturating_sub(dials.len());
            dials.extend(ledger.due(now, moment, left, &wanted));
        }
        dials
    }

    pub(super) fn failed(&mut self, peer: &PeerId, address: &Multiaddr, now: Instant) {
        for ledger in &mut self.ledgers {
            if ledger.find(peer, address).is_some_and(|hint| hint.dialing) {
                ledger.failed(peer, address, now);
            }
        }
    }

    pub(super) fn proven(&mut self, peer: &PeerId, through: Option<&Multiaddr>) {
        for ledger in &mut self.ledgers {
            ledger.proven(peer, through);
        }
    }

    /// Forgets the hint of an mDNS record that has ended.
    pub(super) fn expired(&mut self, peer: &PeerId, address: &Multiaddr) {
        for ledger in self.ledgers.iter_mut().filter(|ledger| ledger.class == Class::Nearby) {
            ledger
                .hints
                .retain(|hint| hint.dialing || hint.peer != *peer || hint.address != *address);
        }
    }

    /// Makes all hints of friends and of the local network due.
    pub(super) fn wake(&mut self, now: Instant) {
        let near = |ledger: &&mut Ledger| matches!(ledger.class, Class::Friend | Class::Nearby);
        for hint in self.ledgers.iter_mut().filter(near).flat_map(|ledger| &mut ledger.hints) {
            hint.next = hint.next.min(now);
        }
    }

    /// Makes the hints of friends due that lead through this relay.
    pub(super) fn relay_connected(&mut self, relay: &PeerId, now: Instant) {
        let friends = self.ledgers.iter_mut().filter(|ledger| ledger.class == Class::Friend);
        for hint in friends.flat_map(|ledger| &mut ledger.hints) {
            if is_through(&hint.address, relay) {
                (hint.failures, hint.next) = (0, hint.next.min(now));
            }
        }
    }

    /// Returns the hints for a peer, tried or not.
    #[cfg(test)]
    pub(super) fn of(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let all = self.ledgers.iter().flat_map(|ledger| &ledger.hints);
        all.filter(|hint| hint.peer == *peer).map(|hint| hint.address.clone()).collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ledgers.iter().map(|ledger| ledger.hints.len()).sum()
    }
}
