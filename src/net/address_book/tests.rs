//! Tests of the address book: proven addresses, the user's, and the budgets of hints.

mod bounds;
mod friends;

use std::collections::HashMap;

use super::*;
use crate::{
    net::limits::{
        FRIEND_DIALS_PER_HOUR, FRIEND_HINTS, FRIEND_HINTS_PER_HOUR, FRIEND_TARGET_DIALS,
        INTRODUCED_HINTS, INTRODUCED_HINTS_PER_HOUR, MAX_HINT_ACCOUNTS, MAX_HINTS,
        MAX_HINTS_DIALING, MAX_TARGET_DIALING, NEARBY_DIALS_PER_HOUR, NEARBY_TARGET_DIALS,
        STRANGER_DIALS_PER_HOUR, STRANGER_HINTS, STRANGER_HINTS_PER_HOUR, STRANGER_TARGET_DIALS,
    },
    primitives::PublicKey,
};

const BACK_OFF: BackOff =
    BackOff { first: Duration::from_secs(1), longest: Duration::from_mins(1) };
const HOUR: Duration = Duration::from_hours(1);

fn peer(number: u8) -> PeerId {
    PeerId(PublicKey([number; 32]))
}

/// Returns one of many peers. Their ids are higher than those of `peer`.
fn fake(number: usize) -> PeerId {
    let mut key = [0xff; 32];
    key[8..16].copy_from_slice(&number.to_be_bytes());
    PeerId(PublicKey(key))
}

fn address(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

fn port(ip: &str, port: usize) -> Multiaddr {
    address(&format!("/ip4/{ip}/tcp/{}", 1 + port % 60_000))
}

fn book() -> AddressBook {
    book_with(&[])
}

/// Returns a book whose user has accepted these peers.
fn book_with(friends: &[PeerId]) -> AddressBook {
    let trust = Trust::new(friends.iter().copied(), false);
    AddressBook::new(peer(0), false, BACK_OFF, trust, 7)
}

fn due(book: &mut AddressBook, now: Instant) -> Vec<Dial> {
    book.due(now, false, |_| true)
}

fn word(teller: PeerId, from: &str, own: bool) -> Word {
    Word::of(teller, std::iter::once(&address(from)), own)
}

/// Returns the origin of a hint by a stranger in a network of its own.
fn strangers(number: usize) -> Word {
    word(fake(number), &format!("/ip4/5.{}.{}.1/tcp/1", number / 250 % 250, number % 250), false)
}

/// Fails every dial for a while, and counts the dials of each address.
fn fail_for(book: &mut AddressBook, from: Instant, time: Duration) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    let mut now = from;
    while now < from + time {
        for dial in due(book, now) {
            if let Dial::Hint(_, address) = &dial {
                let ip = address.iter().next().unwrap().to_string();
                *counts.entry(ip).or_default() += 1;
            }
            book.failed(&dial, now);
        }
        now += Duration::from_millis(500);
    }
    counts
}

#[test]
fn the_users_wait_doubles_up_to_a_minute_and_goes_on_for_ever() {
    let mut now = Instant::now();
    let mut book = book();
    book.add_proven(peer(1), &address("/ip4/10.0.0.1/tcp/1"), true, now);
    for failures in 1..200_u32 {
        let dials = due(&mut book, now);
        assert_eq!(dials.len(), 1);
        assert!(due(&mut book, now + HOUR).is_empty(), "one dial at a time");
        book.failed(&dials[0], now);
        let wait = book.peers[&peer(1)].next - now;
        let base = Duration::from_secs(1 << failures.min(10)).min(BACK_OFF.longest);
        assert!(wait >= base && wait <= base.mul_f64(1.25), "{failures}: {wait:?}");
        now += wait;
    }
}

#[test]
fn a_met_peer_is_forgotten_in_the_end_and_a_friend_never() {
    let mut now = Instant::now();
    let mut book = book_with(&[peer(2)]);
    for number in [1, 2] {
        book.add_proven(peer(number), &address("/ip4/8.8.8.8/tcp/1"), false, now);
    }
    let mut waits = Vec::new();
    for _ in 0..100 {
        for dial in due(&mut book, now) {
            book.failed(&dial, now);
        }
        waits.push(book.peers[&peer(2)].next - now);
        now += Duration::from_hours(40);
    }
    assert!(!book.peers.contains_key(&peer(1)));
    assert!(waits[..60].iter().all(|wait| *wait <= BACK_OFF.longest.mul_f64(1.25)), "{waits:?}");
    assert!(waits[99] >= LONGEST_BACK_OFF, "a friend's back-off grows to a day: {waits:?}");
}

#[test]
fn a_seed_is_dialed_until_it_is_connected_and_again_when_it_is_lost() {
    let now = Instant::now();
    let later = now + HOUR;
    let mut book = book();
    let seed = address("/ip4/8.8.8.8/tcp/1");
    book.add_seed(seed.clone(), now);
    book.add_seed(seed.clone(), now);
    assert_eq!(due(&mut book, now), [Dial::Seed(seed.clone())]);
    book.failed(&Dial::Seed(seed.clone()), now);
    assert!(due(&mut book, now).is_empty());
    assert_eq!(due(&mut book, later), [Dial::Seed(seed.clone())]);
    book.seed_answered(&seed, peer(1));
    book.connected(peer(1), Some(&seed), later);
    assert!(due(&mut book, later + HOUR).is_empty());
    book.disconnected(&peer(1), later + HOUR);
    assert!(due(&mut book, later + HOUR).is_empty(), "not at once");
    assert_eq!(due(&mut book, later + HOUR + Duration::from_secs(2)), [Dial::Seed(seed)]);
}

#[test]
fn only_a_seed_of_the_user_names_its_peer() {
    let (now, mut book) = (Instant::now(), book());
    let (seed, place) = (address("/ip4/10.0.0.1/tcp/1"), address("/ip4/127.0.0.1/tcp/8891"));
    book.add_seed(seed.clone(), now);
    book.add_meeting_place(place.clone(), now);
    book.seed_answered(&seed, peer(1));
    book.seed_answered(&place, peer(2));
    assert_eq!((book.is_named(peer(1)), book.is_named(peer(2))), (true, false));
}

#[test]
fn a_peer_that_hangs_up_again_and_again_is_dialed_less_and_less() {
    let mut now = Instant::now();
    let start = now;
    let mut book = book();
    let at = address("/ip4/8.8.8.8/tcp/1");
    book.connected(peer(1), Some(&at), now);
    let mut dials = 0;
    while now < start + HOUR {
        book.disconnected(&peer(1), now);
        while due(&mut book, now).is_empty() && now < start + HOUR {
            now += Duration::from_secs(1);
        }
        dials += 1;
        book.connected(peer(1), Some(&at), now);
    }
    assert!(dials < 20, "{dials}");
}

#[test]
fn a_peer_that_is_shut_out_is_not_dialed_until_then() {
    let now = Instant::now();
    let mut book = book();
    book.add_proven(peer(1), &address("/ip4/10.0.0.1/tcp/1"), true, now);
    book.shut(&peer(1), now + Duration::from_mins(10));
    assert!(due(&mut book, now + Duration::from_secs(599)).is_empty());
    assert_eq!(due(&mut book, now + Duration::from_mins(10)).len(), 1);
    for number in 0..2 * MAX_KNOWN_PEERS {
        book.shut(&fake(number), now + HOUR);
    }
    assert_eq!(book.shut.len(), MAX_KNOWN_PEERS);
}

#[test]
fn proven_addresses_are_bounded_and_one_network_takes_no_others_room() {
    let now = Instant::now();
    let mut book = book_with(&[peer(1), peer(2)]);
    for number in 0..2 * MAX_KNOWN_PER_NETWORK {
        book.add_proven(fake(number), &port("9.9.9.9", number), false, now);
    }
    assert_eq!(book.peers.len(), MAX_KNOWN_PER_NETWORK);
    book.add_proven(peer(1), &address("/ip4/9.9.9.9/tcp/1"), false, now);
    for number in 0..2 * MAX_KNOWN_PEERS {
        let ip = format!("5.{}.{}.1", number / 250, number % 250);
        book.add_proven(fake(number), &port(&ip, 1), false, now);
    }
    assert_eq!(book.peers.len(), MAX_KNOWN_PEERS);
    assert!(book.peers.contains_key(&peer(1)), "a friend is never evicted");
    assert!(book.add_proven(peer(2), &address("/ip4/9.9.9.9/tcp/1"), false, now));
    assert!(book.add_proven(peer(3), &address("/ip4/9.9.9.9/tcp/1"), true, now));
    for number in 1..20 {
        book.add_proven(peer(3), &port("10.0.0.1", number), false, now);
    }
    let addresses = &book.peers[&peer(3)].addresses;
    assert_eq!(addresses.len(), MAX_KNOWN_ADDRESSES);
    assert!(addresses[0].1, "the user's address stays");
}

#[test]
fn a_friend_is_dialed_before_all_that_strangers_have_proven() {
    let (friend, away) = (peer(200), peer(201));
    for seed in 0..20 {
        let trust = Trust::new([friend, away], false);
        let mut book = AddressBook::new(peer(0), false, BACK_OFF, trust, seed);
        let mut now = Instant::now();
        // Strangers in many networks were met, and are mute now.
        for number in 0..500 {
            let there = port(&format!("5.{}.{}.1", number / 250, number % 250), number);
            assert!(book.add_proven(fake(number), &there, false, now));
        }
        book.add_proven(friend, &port("9.9.9.9", 1), false, now);
        book.add_hint(away, &port("9.9.8.9", 1), &word(away, "/ip4/9.9.8.8/tcp/1", true), now);
        now += Duration::from_secs(5);
        let first = due(&mut book, now);
        assert!(matches!(first[0], Dial::Peer(one, _) if one == friend));
        assert!(matches!(first[1], Dial::Hint(one, _) if one == away));
        let mut dialing = first.len() - 2;
        for _ in 0..100 {
            dialing += due(&mut book, now).len();
        }
        assert_eq!(dialing, MAX_MET_DIALING, "the other slots are for friends");
    }
}

#[test]
fn of_two_that_meet_the_lower_dials_first() {
    let now = Instant::now();
    for (me, other, at_once) in [(1, 2, true), (2, 1, false)] {
        let mut book = AddressBook::new(peer(me), false, BACK_OFF, Trust::default(), 7);
        book.add_hint(peer(other), &address("/ip4/8.8.8.8/tcp/1"), &strangers(1), now);
        assert_eq!(!due(&mut book, now).is_empty(), at_once);
        assert_eq!(due(&mut book, now + Duration::from_secs(2)).is_empty(), at_once);
    }
}

#[test]
fn the_node_does_not_dial_itself() {
    let (mut book, at) = (book(), address("/ip4/8.8.8.8/tcp/1"));
    assert!(!book.add_hint(peer(0), &at, &strangers(1), Instant::now()));
    assert!(!book.add_proven(peer(0), &at, true, Instant::now()));
}

#[test]
fn a_told_address_is_dialed_once_then_hours_apart_and_is_forgotten() {
    let start = Instant::now();
    let mut book = book();
    let at = address("/ip4/8.8.8.8/tcp/1");
    assert!(book.add_hint(peer(1), &at, &strangers(1), start));
    assert!(!book.add_hint(peer(1), &at, &strangers(2), start), "it is held already");
    let mut times = Vec::new();
    for minute in 0..60 * 24 * 14_u32 {
        let before = start + Duration::from_mins(minute.into());
        let now = before + Duration::from_secs(30);
        book.add_hint(peer(1), &at, &strangers(1), before);
        for dial in due(&mut book, now) {
            assert_eq!(dial, Dial::Hint(peer(1), at.clone()));
            book.failed(&dial, now);
            times.push(minute / 60);
        }
        if times.len() == 5 {
            break;
        }
    }
    assert_eq!(times, [0, 1, 5, 21, 85]);
    assert_eq!(book.hints.len(), 0);
}

#[test]
fn one_victim_gets_a_handful_of_dials_over_all_tellers_and_ids() {
    let now = Instant::now();
    let mut book = book();
    for number in 0..4_000 {
        book.add_hint(fake(number), &port("8.8.8.8", number), &strangers(number), now);
    }
    assert!(book.hints.len() <= MAX_HINTS);
    let at_once = due(&mut book, now);
    assert_eq!(at_once.len(), MAX_TARGET_DIALING);
    for dial in &at_once {
        book.failed(dial, now);
    }
    let counts = fail_for(&mut book, now, HOUR);
    let victims = counts["/ip4/8.8.8.8"] as u64 + at_once.len() as u64;
    assert!(victims <= 2 * STRANGER_TARGET_DIALS, "{victims}");
}

#[test]
fn a_teller_has_a_budget_and_strangers_of_one_network_share_it() {
    let now = Instant::now();
    let mut book = book();
    let held = (0..100)
        .filter(|number| {
            let teller = word(fake(1_000 + number), &format!("/ip4/5.5.5.{number}/tcp/1"), false);
            book.add_hint(fake(*number), &port(&format!("8.8.{number}.1"), 1), &teller, now)
        })
        .count();
    assert_eq!(held, STRANGER_HINTS);
    // Tried hints make room for others, until the hour's budget is used up.
    let tried = fail_for(&mut book, now, Duration::from_secs(10)).len();
    assert_eq!(tried, STRANGER_HINTS);
    let later = now + Duration::from_secs(10);
    let more = (100..200)
        .filter(|number| {
            let teller = word(fake(*number), "/ip4/5.5.5.5/tcp/1", false);
            book.add_hint(fake(*number), &port(&format!("8.9.{number}.1"), 1), &teller, later)
        })
        .count();
    assert_eq!(more, STRANGER_HINTS);
    fail_for(&mut book, later, Duration::from_secs(10));
    let teller = word(fake(7), "/ip4/5.5.5.5/tcp/1", false);
    let last = later + Duration::from_secs(20);
    assert!(!book.add_hint(fake(9_999), &port("8.7.7.7", 1), &teller, last), "the budget is spent");
    assert_eq!(STRANGER_HINTS_PER_HOUR, 2 * STRANGER_HINTS as u64);
    assert!(book.add_hint(fake(9_999), &port("8.7.7.7", 1), &teller, last + HOUR));
}

/// The budgets of each class: untried hints, hints an hour, failed dials of one machine an hour,
/// and failed dials of the class an hour.
const CLASSES: [(Class, usize, u64, u64, u64); 4] = [
    (
        Class::Stranger,
        STRANGER_HINTS,
        STRANGER_HINTS_PER_HOUR,
        STRANGER_TARGET_DIALS,
        STRANGER_DIALS_PER_HOUR,
    ),
    (
        Class::Introduced,
        INTRODUCED_HINTS,
        INTRODUCED_HINTS_PER_HOUR,
        STRANGER_TARGET_DIALS,
        STRANGER_DIALS_PER_HOUR,
    ),
    (
        Class::Nearby,
        INTRODUCED_HINTS,
        INTRODUCED_HINTS_PER_HOUR,
        NEARBY_TARGET_DIALS,
        NEARBY_DIALS_PER_HOUR,
    ),
    (
        Class::Friend,
        FRIEND_HINTS,
        FRIEND_HINTS_PER_HOUR,
        FRIEND_TARGET_DIALS,
        FRIEND_DIALS_PER_HOUR,
    ),
];

/// Returns the address of one of many machines.
fn machine(number: usize) -> Multiaddr {
    port(&format!("8.{}.{}.{}", number / 62_500, number / 250 % 250, 1 + number % 250), 1)
}

#[test]
fn each_class_of_hints_has_its_budgets() {
    for (class, untried, told, target, dials) in CLASSES {
        let start = Instant::now();
        let mut hints = Hints::new(start);
        let teller = Teller::Peer(peer(1));
        let mut number = 0;
        let mut add = |hints: &mut Hints, teller, at: Option<&Multiaddr>, now| {
            number += 1;
            let address = at.cloned().unwrap_or_else(|| machine(number));
            hints.add(class, (fake(number), &address), teller, now, now)
        };
        let fill = |hints: &mut Hints, add: &mut dyn FnMut(&mut Hints) -> bool| {
            let mut added = 0;
            while add(hints) {
                added += 1;
            }
            added
        };
        let first = fill(&mut hints, &mut |hints| add(hints, teller, None, start));
        assert_eq!(first, untried, "{class:?}");
        // Tried ones make room, until the hour's budget is used up.
        let mut added = first;
        for _ in 0..100 {
            for (peer, address) in hints.due(start, 100, |_| true) {
                hints.failed(&peer, &address, start);
            }
            added += fill(&mut hints, &mut |hints| add(hints, teller, None, start));
        }
        assert_eq!(added as u64, told, "{class:?}");

        // Many tellers name one machine.
        let (mut hints, mut at_one) = (Hints::new(start), 0);
        let one = machine(0);
        for other in 0..200 {
            add(&mut hints, Teller::Peer(fake(other)), Some(&one), start);
        }
        for _ in 0..200 {
            for (peer, address) in hints.due(start, 100, |_| true) {
                at_one += 1;
                hints.failed(&peer, &address, start);
            }
        }
        assert_eq!(at_one, target, "{class:?}");

        // Many tellers name many machines.
        let (mut hints, mut in_all) = (Hints::new(start), 0);
        for other in 0..2_000 {
            add(&mut hints, Teller::Peer(fake(other)), None, start);
            let due = hints.due(start, 100, |_| true);
            assert!(due.len() <= MAX_HINTS_DIALING);
            in_all += due.len() as u64;
            for (peer, address) in due {
                hints.failed(&peer, &address, start);
            }
        }
        assert_eq!(in_all, dials.min(MAX_HINT_ACCOUNTS as u64), "{class:?}");
    }
}

#[test]
fn few_hints_are_dialed_at_once_and_few_budgets_are_remembered() {
    let start = Instant::now();
    let mut hints = Hints::new(start);
    let add = |hints: &mut Hints, number: usize, now| {
        let teller = Teller::Peer(fake(number));
        hints.add(Class::Friend, (fake(number), &machine(number)), teller, now, now)
    };
    for number in 0..100 {
        assert!(add(&mut hints, number, start));
    }
    let mut dialing = 0;
    for _ in 0..10 {
        dialing += hints.due(start, 100, |_| true).len();
    }
    assert_eq!(dialing, MAX_HINTS_DIALING);
    let mut hints = Hints::new(start);
    let told = (0..2 * MAX_HINT_ACCOUNTS).filter(|number| {
        let added = add(&mut hints, *number, start);
        for (peer, address) in hints.due(start, 100, |_| true) {
            hints.failed(&peer, &address, start);
        }
        added
    });
    assert_eq!(told.count(), MAX_HINT_ACCOUNTS, "further tellers wait");
    assert!(add(&mut hints, 9_999, start + HOUR));
}

#[test]
fn honest_peers_at_one_machine_are_all_found_since_a_hit_is_free() {
    let mut now = Instant::now();
    let mut book = book_with(&[peer(1)]);
    let teller = word(peer(1), "/ip4/127.0.0.1/tcp/1", false);
    for number in 0..INTRODUCED_HINTS {
        assert!(book.add_hint(fake(number), &port("127.0.0.1", number), &teller, now));
    }
    let mut found = 0;
    for _ in 0..INTRODUCED_HINTS {
        for dial in due(&mut book, now) {
            let Dial::Hint(peer, address) = dial else { panic!("only hints") };
            book.connected(peer, Some(&address), now);
            found += 1;
        }
        now += Duration::from_millis(250);
    }
    assert_eq!(found, INTRODUCED_HINTS);
}

#[test]
fn a_peer_that_comes_by_itself_pays_for_what_was_dialed_in_its_name() {
    let start = Instant::now();
    let mut book = book();
    let mut dials = 0;
    for round in 0..500_u64 {
        let now = start + Duration::from_secs(round);
        book.add_hint(peer(1), &port("8.8.8.8", 5), &strangers(1), now);
        dials += due(&mut book, now).len() as u64;
        book.connected(peer(1), None, now);
        book.disconnected(&peer(1), now);
    }
    assert!(dials <= STRANGER_TARGET_DIALS + 1, "{dials}");
}

#[test]
fn a_thousand_fakes_do_not_keep_a_friends_new_address_out() {
    let now = Instant::now();
    let friend = peer(1);
    let mut book = book_with(&[friend]);
    for number in 0..4_096 {
        // Some at the friend's own machine, to use up its budget there.
        let ip = if number % 2 == 0 { "8.8.8.8".into() } else { format!("9.{}.1.1", number % 250) };
        book.add_hint(fake(number), &port(&ip, number), &strangers(number), now);
    }
    fail_for(&mut book, now, Duration::from_mins(5));
    let later = now + Duration::from_mins(5);
    let new = address("/ip4/8.8.8.8/tcp/7");
    // A stranger passes on the friend's signed profile.
    let relayed = word(fake(1), "/ip4/5.0.1.1/tcp/1", true);
    assert!(book.add_hint(friend, &new, &relayed, later));
    assert!(due(&mut book, later).contains(&Dial::Hint(friend, new)));
}

#[test]
fn a_friend_behind_a_relay_is_dialed_anew_once_the_relay_is_connected() {
    let now = Instant::now();
    let relay = "12D3KooWHfnDXw8PZCCj45KJHEEwrEuWFvdYKhGo2bPxAVVdxVkS";
    let relayed = address(&format!("/ip4/5.0.1.1/tcp/1/p2p/{relay}/p2p-circuit"));
    let (friend, (_, relay), other) = (peer(1), split_relay(&relayed).unwrap(), peer(3));
    let mut book = book_with(&[friend]);
    assert!(book.add_hint(friend, &relayed, &word(friend, "/ip4/5.0.1.2/tcp/1", true), now));
    let dial = Dial::Hint(friend, relayed);
    assert_eq!(due(&mut book, now).len(), 1);
    book.failed(&dial, now);
    book.relay_connected(&other, now);
    assert!(due(&mut book, now).is_empty());
    book.relay_connected(&relay, now);
    assert_eq!(due(&mut book, now), [dial]);
}

#[test]
fn near_addresses_and_names_are_dialed_only_by_the_rules() {
    let now = Instant::now();
    let mut book = book_with(&[peer(1)]);
    let (near, far) = ("/ip4/10.1.1.1/tcp/1", "/ip4/9.9.9.9/tcp/1");
    for (number, told, from, own, taken) in [
        (10, "/ip4/127.0.0.1/tcp/1", far, false, false),
        (11, "/ip4/127.0.0.1/tcp/1", near, false, false),
        (12, "/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2", false, true),
        (13, near, "/ip4/127.0.0.1/tcp/2", false, false),
        (14, near, "/ip4/192.168.1.1/tcp/2", true, true),
        (15, "/ip4/169.254.1.1/tcp/1", near, false, false),
        (16, "/ip4/100.64.0.1/tcp/1", far, false, false),
        (17, "/dns/victim.example/tcp/1", far, true, false),
        (18, "/ip6/::ffff:127.0.0.1/tcp/1", far, true, false),
        (1, "/dns/friend.example/tcp/1", far, false, false),
        (1, "/dns/friend.example/tcp/1", far, true, true),
    ] {
        let word = word(peer(99), from, own);
        assert_eq!(book.add_hint(peer(number), &address(told), &word, now), taken, "{told}");
    }
    // A friend's hint about another peer resolves no name either.
    let friends = word(peer(1), far, false);
    assert!(!book.add_hint(peer(20), &address("/dns/victim.example/tcp/1"), &friends, now));
    let private = Trust::default();
    let mut book = AddressBook::new(peer(0), true, BACK_OFF, private, 7);
    assert!(!book.add_hint(peer(1), &address(far), &word(peer(2), near, true), now));
    assert!(book.add_hint(peer(1), &address(near), &word(peer(2), near, true), now));
}

#[test]
fn a_peers_own_announcement_is_a_hint_once_it_is_gone() {
    let now = Instant::now();
    let mut book = book();
    let from = "/ip4/9.9.9.9/tcp/40000";
    book.connected(peer(1), None, now);
    let announced = [
        address("/ip4/9.9.9.9/tcp/7"),
        address("/ip4/127.0.0.1/tcp/7"),
        address("/dns/victim.example/tcp/7"),
    ];
    book.announced(&peer(1), &announced, word(peer(1), from, true));
    assert!(due(&mut book, now).is_empty(), "it is connected");
    book.disconnected(&peer(1), now + HOUR);
    assert_eq!(book.hints.of(&peer(1)), announced[..1]);
}

#[test]
fn a_hint_that_is_reached_becomes_proven() {
    let now = Instant::now();
    let mut book = book();
    let at = address("/ip4/8.8.8.8/tcp/1");
    book.add_hint(peer(1), &at, &strangers(1), now);
    assert_eq!(due(&mut book, now), [Dial::Hint(peer(1), at.clone())]);
    book.connected(peer(1), Some(&at), now);
    assert_eq!(book.hints.len(), 0);
    book.disconnected(&peer(1), now + HOUR);
    let dials = due(&mut book, now + HOUR + Duration::from_secs(2));
    assert_eq!(dials, [Dial::Peer(peer(1), vec![at])]);
}

#[test]
fn a_machine_that_announces_by_mdns_has_a_budget_of_its_own() {
    let now = Instant::now();
    let mut book = book();
    let at = |number| port("192.168.1.9", number);
    let word = |at: &Multiaddr| Word::of_nearby(at, "192.168.1.9".parse().unwrap());
    let held = (0..500).filter(|n| book.add_hint(fake(*n), &at(*n), &word(&at(*n)), now)).count();
    assert_eq!(held, INTRODUCED_HINTS);
    book.expired(&fake(0), &at(0));
    assert_eq!(book.hints.len(), INTRODUCED_HINTS - 1);
    let other = port("192.168.1.10", 1);
    let machine = "192.168.1.10".parse().unwrap();
    assert!(book.add_hint(peer(1), &other, &Word::of_nearby(&other, machine), now));
    let v6 = (600..999).filter(|n| {
        let (at, host) = (format!("/ip6/fd00::{n}/tcp/1"), format!("fd00::{n}"));
        let word = Word::of_nearby(&address(&at), host.parse().unwrap());
        book.add_hint(fake(*n), &address(&at), &word, now)
    });
    assert_eq!(v6.count(), INTRODUCED_HINTS, "all machines of one /64 share a budget");
}

#[test]
fn after_a_wake_everybody_known_is_dialed_at_once_and_no_strangers_hint() {
    let mut now = Instant::now();
    let mut book = book_with(&[peer(3)]);
    let seed = address("/ip4/8.8.8.8/tcp/1");
    book.add_seed(seed.clone(), now);
    book.add_proven(peer(1), &address("/ip4/10.0.0.1/tcp/1"), true, now);
    book.add_proven(peer(2), &address("/ip4/9.9.9.1/tcp/1"), false, now);
    book.add_hint(
        peer(3),
        &address("/ip4/9.9.9.2/tcp/1"),
        &word(peer(3), "/ip4/9.9.9.2/tcp/5", true),
        now,
    );
    book.add_hint(peer(4), &address("/ip4/9.9.9.3/tcp/1"), &strangers(1), now);
    for _ in 0..8 {
        for dial in due(&mut book, now) {
            book.failed(&dial, now);
        }
        now += Duration::from_mins(2);
    }
    now += Duration::from_millis(1);
    for dial in due(&mut book, now) {
        book.failed(&dial, now);
    }
    assert!(due(&mut book, now).is_empty());
    book.wake(now);
    let dials = due(&mut book, now);
    assert_eq!(dials.len(), 4, "{dials:?}");
    assert!(!dials.iter().any(|dial| matches!(dial, Dial::Hint(who, _) if *who == peer(4))));
}
