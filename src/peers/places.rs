//! Places: which peers are connected, and which one leaves when all places are taken.
//!
//! Peers that this node dialed, peers that dialed it, and friends each have places of their own.
//! Peers that are no friends are bounded for each IP address and network too. A newcomer without a
//! free place gets that of another peer, as in Bitcoin Core: the peers that are hardest to imitate
//! are protected, and the youngest of the largest network leaves. Idle identities, which cost
//! nothing, thus evict each other. The module has no I/O and no clock.

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::BuildHasher,
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{Level, MAX_CONNECTED, Trust, host_group, site_group};
use crate::primitives::PeerId;

/// Peers at once that this node dialed and that are no friends.
const OUTBOUND_PLACES: usize = 64;
/// Peers at once that dialed this node and that are no friends.
const INBOUND_PLACES: usize = 64;
/// Places that only friends get. A friend gets any other place too.
const RESERVED_PLACES: usize = 64;
/// Peers at one IPv4 address or in one /64 of IPv6, friends not counted: the machines of a
/// household or an office.
pub(crate) const PLACES_PER_ADDRESS: usize = 16;
/// Peers of one network, friends not counted: a /24 of IPv4 or a /48 of IPv6, which one person or
/// company often holds whole.
const PLACES_PER_NETWORK: usize = 32;

const _: () = assert!(OUTBOUND_PLACES + INBOUND_PLACES + RESERVED_PLACES == MAX_CONNECTED);

/// A condition on places.
type Among<'a> = &'a dyn Fn(&Place) -> bool;

/// The place of a connected peer.
#[derive(Debug, Clone, Copy)]
struct Place {
    peer: PeerId,
    /// The host at the address; `None` if the address is unknown.
    address: Option<IpAddr>,
    /// The group of the address; `None` if the address is unknown.
    network: Option<IpAddr>,
    /// True if the peer dialed.
    inbound: bool,
    since: Instant,
    /// The shortest round trip that was measured.
    round_trip: Option<Duration>,
    /// The last time that the peer delivered something that we lacked.
    useful: Option<Instant>,
}

/// The refusal of a newcomer: friends hold all places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoPlace;

/// The places of all connected peers.
#[derive(Debug)]
pub(crate) struct Places {
    trust: Trust,
    /// Orders networks by a secret hash, which no peer can predict.
    secret: RandomState,
    held: HashMap<PeerId, Place>,
}

impl Places {
    /// Starts without any peer. Levels are asked for at each decision, since they change.
    pub(crate) fn new(trust: Trust) -> Self {
        Self { trust, secret: RandomState::new(), held: HashMap::new() }
    }

    /// Gives a newcomer a place. Returns the peers that lost theirs to it. A peer that has a place
    /// keeps it.
    pub(crate) fn admit(
        &mut self,
        peer: PeerId,
        address: Option<IpAddr>,
        inbound: bool,
        now: Instant,
    ) -> Result<Vec<PeerId>, NoPlace> {
        if self.held.contains_key(&peer) {
            return Ok(Vec::new());
        }
        let address = address.map(host_group);
        let network = address.map(site_group);
        let others = self.held.values().filter(|place| !self.trust.is_friend(&place.peer));
        let mut others: Vec<Place> = others.copied().collect();
        let friends = self.held.len().saturating_sub(others.len());
        let mut evicted = Vec::new();
        if !self.trust.is_friend(&peer) {
            let most = if inbound { INBOUND_PLACES } else { OUTBOUND_PLACES };
            let known = address.is_some();
            let bounds: [(Among<'_>, usize); 3] = [
                (&|place| known && place.address == address, PLACES_PER_ADDRESS),
                (&|place| known && place.network == network, PLACES_PER_NETWORK),
                (&|place| place.inbound == inbound, most),
            ];
            for (counts, most) in bounds {
                if others.iter().filter(|place| counts(place)).count() >= most {
                    evicted.push(self.take_place(&mut others, counts)?);
                }
            }
        }
        if friends.saturating_add(others.len()) >= MAX_CONNECTED {
            // Peers that this node chose to dial leave last.
            let any_inbound = others.iter().any(|place| place.inbound);
            evicted.push(self.take_place(&mut others, &|place| place.inbound || !any_inbound)?);
        }
        for gone in &evicted {
            self.held.remove(gone);
        }
        let (round_trip, useful) = (None, None);
        let place = Place { peer, address, network, inbound, since: now, round_trip, useful };
        self.held.insert(peer, place);
        Ok(evicted)
    }

    /// Ends the place of a peer whose last connection has closed.
    pub(crate) fn leave(&mut self, peer: &PeerId) {
        self.held.remove(peer);
    }

    /// Records a measured round trip. The shortest one counts.
    pub(crate) fn answered(&mut self, peer: &PeerId, round_trip: Duration) {
        if let Some(place) = self.held.get_mut(peer) {
            let before = place.round_trip.unwrap_or(round_trip);
            place.round_trip = Some(before.min(round_trip));
        }
    }

    /// Records that a peer delivered something that we lacked.
    pub(crate) fn useful(&mut self, peer: &PeerId, now: Instant) {
        if let Some(place) = self.held.get_mut(peer) {
            place.useful = Some(now);
        }
    }

    /// Removes the first peer to leave from `others`, among those for which `counts` is true.
    fn take_place(
        &self,
        others: &mut Vec<Place>,
        counts: &dyn Fn(&Place) -> bool,
    ) -> Result<PeerId, NoPlace> {
        let among = others.iter().filter(|place| counts(place)).copied().collect();
        let victim = self.first_to_leave(among).ok_or(NoPlace)?;
        others.retain(|place| place.peer != victim);
        Ok(victim)
    }

    /// Returns the peer that loses its place. Four properties protect the others, and one attacker
    /// can hardly imitate all: a network with a low hash, a short round trip, a recent delivery, a
    /// long stay.
    fn first_to_leave(&self, mut among: Vec<Place>) -> Option<PeerId> {
        let all = among.len();
        let mut sizes: HashMap<Option<IpAddr>, usize> = HashMap::new();
        for place in &among {
            let size = sizes.entry(place.network).or_default();
            *size = size.saturating_add(1);
        }
        among.sort_by_key(|place| (self.secret.hash_one(place.network), place.since, place.peer));
        let mut networks = HashSet::new();
        protect(&mut among, all / 16, |place| networks.insert(place.network));
        among.sort_by_key(|place| (place.round_trip.unwrap_or(Duration::MAX), place.since));
        protect(&mut among, all / 8, |place| place.round_trip.is_some());
        among.sort_by_key(|place| (std::cmp::Reverse(place.useful), place.since));
        protect(&mut among, all / 4, |place| place.useful.is_some());
        among.sort_by_key(|place| place.since);
        let longest = among.len() / 2;
        protect(&mut among, longest, |_| true);
        let introduced = |place: &Place| self.trust.level(&place.peer) == Level::Introduced;
        if !among.iter().all(introduced) {
            among.retain(|place| !introduced(place));
        }
        let rank = |place: &&Place| (sizes.get(&place.network).copied(), place.since, place.peer);
        among.iter().max_by_key(rank).map(|place| place.peer)
    }
}

/// Removes the first `most` places for which `earns` is true.
fn protect(among: &mut Vec<Place>, most: usize, mut earns: impl FnMut(&Place) -> bool) {
    let mut left = most;
    among.retain(|place| {
        let protected = left > 0 && earns(place);
        left = left.saturating_sub(usize::from(protected));
        !protected
    });
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::primitives::PublicKey;

    fn peer(number: u32) -> PeerId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        PeerId(PublicKey(bytes))
    }

    /// The host `host` of the network 10.x.y.0/24 with this number.
    #[expect(clippy::unnecessary_wraps, reason = "the tested functions take an option")]
    fn address(network: u32, host: u32) -> Option<IpAddr> {
        Some(IpAddr::V4(Ipv4Addr::from((10 << 24) | (network << 8) | host)))
    }

    fn later(start: Instant, seconds: u32) -> Instant {
        start + Duration::from_secs(seconds.into())
    }

    #[test]
    fn idle_identities_of_one_address_push_out_each_other() {
        let friend = peer(9_999);
        let mut places = Places::new(Trust::new([friend], false));
        let start = Instant::now();
        // Honest peers at the same address: one of long standing, one that was useful just now.
        let honest = [peer(5_001), peer(5_002)];
        for one in honest {
            places.admit(one, address(1, 1), true, start).unwrap();
        }
        for number in 0..384 {
            let now = later(start, 10 + number);
            places.useful(&honest[1], now);
            places.admit(peer(number), address(1, 1), true, now).unwrap();
            assert!(places.held.len() <= PLACES_PER_ADDRESS);
        }
        assert!(honest.iter().all(|one| places.held.contains_key(one)));
        assert_eq!(places.admit(friend, address(1, 1), true, later(start, 999)), Ok(Vec::new()));
    }

    #[test]
    fn idle_identities_of_many_networks_leave_useful_and_old_peers_alone() {
        let mut places = Places::new(Trust::default());
        let start = Instant::now();
        let old: Vec<_> = (5_000..5_010).map(peer).collect();
        for (one, network) in old.iter().zip(7_000..) {
            places.admit(*one, address(network, 1), true, start).unwrap();
        }
        for number in 0..1_000 {
            let now = later(start, 10 + number);
            places.admit(peer(number), address(number, 1), true, now).unwrap();
        }
        assert!(old.iter().all(|one| places.held.contains_key(one)), "they were there first");
        // A newcomer becomes useful, and then stays too, however many come after it.
        let useful = peer(6_000);
        places.admit(useful, address(6_000, 1), true, later(start, 2_000)).unwrap();
        places.useful(&useful, later(start, 2_001));
        for number in 1_000..2_000 {
            let now = later(start, 2_000 + number);
            places.admit(peer(number), address(number, 1), true, now).unwrap();
        }
        assert!(places.held.contains_key(&useful));
        assert_eq!(places.held.len(), INBOUND_PLACES);
    }

    #[test]
    fn the_largest_network_gives_way_to_a_newcomer_of_another() {
        let mut places = Places::new(Trust::default());
        let start = Instant::now();
        for number in 0..32 {
            places.admit(peer(number), address(1, number), true, start).unwrap();
        }
        for number in 32..64 {
            places.admit(peer(number), address(number, 1), true, later(start, number)).unwrap();
        }
        let evicted = places.admit(peer(64), address(64, 1), true, later(start, 100)).unwrap();
        let network = |one: &PeerId| u32::from_be_bytes(one.0.0[..4].try_into().unwrap());
        assert!(evicted.iter().all(|one| network(one) < 32), "{evicted:?}");
        let evicted = places.admit(peer(65), address(1, 99), true, later(start, 101)).unwrap();
        assert_eq!(evicted.len(), 1, "31 of the network were left, and all places were taken");
    }

    #[test]
    fn networks_of_ipv6_are_bounded_and_mapped_addresses_are_ipv4() {
        let mut places = Places::new(Trust::default());
        let start = Instant::now();
        for number in 0..200_u32 {
            let text = format!("2001:db8:1:{number:x}::1");
            places.admit(peer(number), text.parse().ok(), true, start).unwrap();
        }
        assert_eq!(places.held.len(), PLACES_PER_NETWORK);
        let mut places = Places::new(Trust::default());
        for number in 0..200_u32 {
            let text = format!("2001:db8:1:1::{number:x}");
            places.admit(peer(number), text.parse().ok(), true, start).unwrap();
        }
        assert_eq!(places.held.len(), PLACES_PER_ADDRESS, "a /64 is one machine");
        let mapped = "::ffff:10.0.1.1".parse().ok();
        assert_eq!(mapped.map(site_group), address(1, 2).map(site_group));
    }

    #[test]
    fn friends_take_any_place_and_strangers_none_of_theirs() {
        let friends: Vec<_> = (10_000..10_000 + 193).map(peer).collect();
        let mut places = Places::new(Trust::new(friends.iter().copied(), false));
        let start = Instant::now();
        for number in 0..300 {
            let inbound = number % 2 == 0;
            places.admit(peer(number), address(number, 1), inbound, start).unwrap();
        }
        assert_eq!(places.held.len(), MAX_CONNECTED - RESERVED_PLACES);
        for friend in &friends[..192] {
            // All friends are at one address, where strangers would be bounded.
            assert!(places.admit(*friend, address(1, 1), true, later(start, 1)).is_ok());
        }
        assert_eq!(places.held.len(), MAX_CONNECTED);
        assert!(friends[..192].iter().all(|friend| places.held.contains_key(friend)));
        assert_eq!(places.admit(friends[192], address(1, 1), true, start), Err(NoPlace));
        assert_eq!(places.admit(peer(1), address(1, 1), false, start), Err(NoPlace));
        places.leave(&friends[0]);
        assert!(places.admit(peer(1), address(1, 1), false, start).is_ok());
    }

    #[test]
    fn a_peer_that_nobody_vouched_for_leaves_before_one_that_a_friend_introduced() {
        let (friend, introduced) = (peer(9_999), peer(0));
        let trust = Trust::new([friend], false);
        trust.vouch(&friend, introduced);
        let mut places = Places::new(trust);
        let start = Instant::now();
        for number in 1..64 {
            places.admit(peer(number), address(number, 1), true, start).unwrap();
        }
        places.admit(introduced, address(0, 1), true, later(start, 1)).unwrap();
        let evicted = places.admit(peer(64), address(64, 1), true, later(start, 2)).unwrap();
        assert!(evicted.len() == 1 && evicted != [introduced], "{evicted:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_bound_is_ever_passed(
            steps in proptest::collection::vec(
                (0..400_u32, 0..6_u32, 0..40_u32, any::<bool>()),
                1..600,
            ),
        ) {
            let mut places = Places::new(Trust::new((0..100).map(peer), false));
            let start = Instant::now();
            for (number, network, host, inbound) in steps {
                let _ = places.admit(peer(number), address(network, host), inbound, start);
                if host == 0 {
                    places.leave(&peer(number / 2));
                }
                let is_stranger = |place: &&Place| !places.trust.is_friend(&place.peer);
                let strangers: Vec<_> = places.held.values().filter(is_stranger).collect();
                let count = |counts: &dyn Fn(&Place) -> bool| {
                    strangers.iter().filter(|place| counts(place)).count()
                };
                prop_assert!(places.held.len() <= MAX_CONNECTED);
                prop_assert!(count(&|place| place.inbound) <= INBOUND_PLACES);
                prop_assert!(count(&|place| !place.inbound) <= OUTBOUND_PLACES);
                let here = address(network, host);
                prop_assert!(count(&|place| place.address == here) <= PLACES_PER_ADDRESS);
                prop_assert!(
                    count(&|place| place.network == here.map(site_group)) <= PLACES_PER_NETWORK
                );
            }
        }
    }
}
