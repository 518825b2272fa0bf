//! Tests of what a full address book forgets.

use super::*;

#[test]
fn the_users_addresses_are_bounded() {
    let mut book = book();
    for number in 0..2 * MAX_SEEDS {
        book.add_seed(machine(number), Instant::now());
    }
    assert_eq!(book.seeds.len(), MAX_SEEDS);
}

#[test]
fn a_full_book_forgets_the_peer_with_most_failures() {
    let now = Instant::now();
    let mut book = book();
    for number in 0..MAX_KNOWN_PEERS {
        let ip = format!("5.{}.{}.1", number / 250, number % 250);
        assert!(book.add_proven(fake(number), &port(&ip, 1), false, now));
    }
    let dials = due(&mut book, now);
    let Dial::Peer(failed, _) = &dials[0] else { panic!("{dials:?}") };
    book.failed(&dials[0], now);
    assert!(book.add_proven(peer(1), &port("9.9.9.9", 1), false, now));
    assert_eq!(book.peers.len(), MAX_KNOWN_PEERS);
    assert!(book.peers.contains_key(&peer(1)) && !book.peers.contains_key(failed));
}

#[test]
fn a_full_table_of_hints_takes_another_in_place_of_a_tried_one_alone() {
    let now = Instant::now();
    let mut hints = Hints::new(now);
    let add = |hints: &mut Hints, number: usize| {
        let teller = Teller::Peer(fake(number));
        hints.add(Class::Introduced, (fake(number), &machine(number)), teller, now, now)
    };
    for number in 0..MAX_HINTS {
        assert!(add(&mut hints, number));
    }
    assert!(!add(&mut hints, MAX_HINTS), "none of the others has been tried");
    for (peer, address) in hints.due(now, 1, |_| true) {
        hints.failed(&peer, &address, now);
    }
    assert!(add(&mut hints, MAX_HINTS));
    assert_eq!(hints.len(), MAX_HINTS);
    assert!(!add(&mut hints, MAX_HINTS + 1), "the tried one has gone");
}
