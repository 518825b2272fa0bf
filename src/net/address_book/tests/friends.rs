//! Tests that strangers keep no address of a friend out.

use super::*;

/// Returns the peers whose hints are dialed while enough peers are connected.
fn dialed_with_enough(book: &mut AddressBook, now: Instant) -> Vec<PeerId> {
    let dials = book.due(now, true, |_| true);
    let hints = dials.iter().filter_map(|dial| match dial {
        Dial::Hint(peer, _) => Some(*peer),
        _ => None,
    });
    hints.collect()
}

#[test]
fn with_enough_peers_only_hints_about_friends_are_dialed_whoever_told_them() {
    let now = Instant::now();
    let (by_walk, nearby, by_stranger) = (peer(1), peer(2), peer(3));
    let mut book = book_with(&[by_walk, nearby, by_stranger]);
    let walk = Word::of_walk(Vec::new());
    book.add_hint(by_walk, &address("/ip4/9.9.9.1/tcp/1"), &walk, now);
    let at = address("/ip4/192.168.1.9/tcp/1");
    let mdns = Word::of_nearby(&at, "192.168.1.9".parse().unwrap());
    book.add_hint(nearby, &at, &mdns, now);
    book.add_hint(by_stranger, &address("/ip4/9.9.9.2/tcp/1"), &strangers(1), now);
    book.add_hint(peer(4), &address("/ip4/9.9.9.3/tcp/1"), &walk, now);
    book.add_hint(peer(5), &port("192.168.1.9", 2), &mdns, now);
    book.add_hint(peer(6), &address("/ip4/9.9.9.4/tcp/1"), &strangers(2), now);
    book.add_proven(peer(7), &address("/ip4/10.0.0.2/tcp/1"), true, now);
    let mut dialed = dialed_with_enough(&mut book, now);
    dialed.sort();
    assert_eq!(dialed, [by_walk, nearby, by_stranger]);
    assert!(due(&mut book, now).iter().any(|dial| matches!(dial, Dial::Hint(..))), "the others");
}

#[test]
fn fakes_in_the_answers_of_walks_do_not_keep_a_friend_out() {
    let now = Instant::now();
    let friend = peer(1);
    let mut book = book_with(&[friend]);
    let walk = Word::of_walk(Vec::new());
    for number in 0..500 {
        book.add_hint(fake(number), &port(&format!("9.{}.1.1", number % 250), number), &walk, now);
        let other = port(&format!("8.{}.1.1", number % 250), number);
        book.add_hint(fake(1_000 + number), &other, &strangers(number), now);
    }
    let failed = fail_for(&mut book, now, Duration::from_mins(5));
    let later = now + Duration::from_mins(5);
    let strangers_dials = u64::try_from(failed.values().sum::<usize>()).unwrap();
    assert!(strangers_dials >= STRANGER_DIALS_PER_HOUR, "all of their share: {strangers_dials}");
    let found = address("/ip4/7.7.7.7/tcp/1");
    assert!(book.add_hint(friend, &found, &walk, later));
    assert!(due(&mut book, later).contains(&Dial::Hint(friend, found)));
}
