//! Tests of the addresses to dial.

use super::*;
use crate::friends::known_addresses::{MAX_ADDRESSES_PER_PEER, MAX_BOOK_ADDRESSES};

#[test]
fn the_address_book_is_bounded_and_what_a_user_gave_stays() {
    let mut friends = friends();
    let given = Key::new(1).peer;
    friends
        .add_addresses(given, &["/dns4/home.example/tcp/1".to_owned()], AddressSource::Command, NOW)
        .unwrap();
    for seed in 0..u32::try_from(MAX_BOOK_ADDRESSES).unwrap() / 16 + 8 {
        let mut key = [9; 32];
        key[..4].copy_from_slice(&seed.to_be_bytes());
        let addresses: Vec<_> = (1..=20).map(|port| format!("/ip4/10.0.0.1/tcp/{port}")).collect();
        friends
            .add_addresses(PeerId(PublicKey(key)), &addresses, AddressSource::Discovered, NOW + 1)
            .unwrap();
    }
    let peers = friends.known_peers(usize::MAX).unwrap();
    assert!(peers.iter().any(|peer| peer.peer == given));
    let count: usize = peers.iter().map(|peer| peer.addresses.len()).sum();
    assert_eq!(count, usize::try_from(MAX_BOOK_ADDRESSES).unwrap());
    assert!(peers.iter().all(|peer| peer.addresses.len() <= MAX_ADDRESSES_PER_PEER));
}

#[test]
fn the_address_that_worked_last_is_dialed_first() {
    let (mut friends, one, other) = (friends(), Key::new(1).peer, Key::new(2).peer);
    let addresses =
        ["/ip4/10.0.0.1/tcp/1".to_owned(), "/ip4/10.0.0.1/tcp/2".to_owned(), "junk".to_owned()];
    friends.add_addresses(one, &addresses, AddressSource::Profile, NOW).unwrap();
    friends.add_addresses(other, &addresses[..1], AddressSource::Invite, NOW).unwrap();
    friends.touch_address(one, &format!("/ip4/10.0.0.1/tcp/2/p2p/{one}"), NOW + 1).unwrap();
    let peers = friends.known_peers(10).unwrap();
    assert_eq!((peers[0].peer, peers[1].peer), (one, other));
    assert_eq!(peers[0].addresses, ["/ip4/10.0.0.1/tcp/2", "/ip4/10.0.0.1/tcp/1"]);
    assert_eq!((peers[0].last_seen, peers[1].last_seen), (Some(NOW + 1), None));
    assert_eq!((peers[0].proven, peers[1].proven), (1, 1), "told addresses count for less");
    assert_eq!(friends.known_peers(1).unwrap().len(), 1);
}

#[test]
fn an_address_is_told_from_the_peer_behind_it() {
    let peer = Key::new(1).peer;
    assert_eq!(
        split_address(&format!("/ip4/10.0.0.1/tcp/1/p2p/{peer}")),
        Ok(("/ip4/10.0.0.1/tcp/1", Some(peer)))
    );
    assert_eq!(split_address("/ip4/10.0.0.1/tcp/1"), Ok(("/ip4/10.0.0.1/tcp/1", None)));
    assert!(split_address("/ip4/10.0.0.1/tcp/1/p2p/nobody").is_err());
    assert!(split_address("10.0.0.1:1").is_err());
}
