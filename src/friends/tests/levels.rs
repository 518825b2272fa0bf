//! Tests of what a peer may do at each level of trust.

use super::*;
use crate::{
    friends::{people::MAX_NEARBY_KEPT, strangers::MAX_STRANGERS_KEPT},
    peers::MAX_VOUCHED,
};

/// Receives a profile that a peer sends of itself.
fn comes(friends: &mut Friends, key: &Key, name: &str) -> ProfileReceipt {
    friends.online(key.peer, NOW).unwrap();
    friends.keep_profile(key.profile(name, NOW), key.peer, NOW).unwrap()
}

/// Receives a profile that a peer passes on.
fn tells(friends: &mut Friends, by: &Key, of: &Key, name: &str) -> ProfileReceipt {
    friends.keep_profile(of.profile(name, NOW), by.peer, NOW).unwrap()
}

fn names(friends: &Friends) -> Vec<(String, Level)> {
    friends.list(NOW).into_iter().map(|info| (info.name, info.level)).collect()
}

#[test]
fn a_stranger_that_introduces_itself_asks_and_is_no_friend_until_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("friends.redb");
    let (me, yjf) = (Key::new(0), Key::new(1));
    let label = format!("yjf#{}", yjf.peer.suffix(4));
    {
        let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
        let mut events = friends.events.subscribe();
        assert_eq!(comes(&mut friends, &yjf, "yjf"), ProfileReceipt::New);
        let asks = FriendsEvent::Asks { peer: yjf.peer, name: label.clone() };
        assert_eq!(events.try_recv().unwrap(), asks);
        assert!(events.try_recv().is_err(), "a stranger does not join");
        assert_eq!(names(&friends), []);
        assert!(profiles::load(&friends.store).unwrap().is_empty(), "it is not on the disk");
        assert_eq!(friends.resolve("yjf").unwrap_err().code(), "stranger");
        assert_eq!(friends.resolve(&label), Ok(yjf.peer));

        assert_eq!(friends.accept("yjf", NOW).unwrap(), (yjf.peer, "yjf".to_owned()));
        assert!(matches!(events.try_recv().unwrap(), FriendsEvent::Joined { .. }));
    }
    let friends = Friends::open(&path, me.config(NETWORK)).unwrap();
    assert_eq!(names(&friends), [("yjf".to_owned(), Level::Friend)]);
    assert_eq!(friends.resolve("yjf"), Ok(yjf.peer));
}

#[test]
fn a_peer_id_that_was_never_seen_can_be_accepted() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    friends.accept(&yjf.peer.to_string(), NOW).unwrap();
    assert_eq!(comes(&mut friends, &yjf, "yjf"), ProfileReceipt::New);
    assert_eq!(names(&friends), [("yjf".to_owned(), Level::Friend)]);
    assert_eq!(friends.accept("nobody", NOW).unwrap_err().code(), "unknown_friend");
    assert_eq!(friends.accept("yzw", NOW).unwrap_err().code(), "note_to_self");
}

#[test]
fn what_a_friend_tells_is_introduced_and_what_a_stranger_tells_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("friends.redb");
    let (me, yjf, sr, other, told) =
        (Key::new(0), Key::new(1), Key::new(2), Key::new(3), Key::new(4));
    {
        let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
        friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
        comes(&mut friends, &other, "xzq");
        assert_eq!(tells(&mut friends, &other, &told, "hjs"), ProfileReceipt::Unvouched);
        assert!(friends.friend(&told.peer).is_none());
        assert_eq!(tells(&mut friends, &yjf, &sr, "sr"), ProfileReceipt::New);
        assert_eq!(tells(&mut friends, &sr, &told, "hjs"), ProfileReceipt::Unvouched);
        assert_eq!(friends.list(NOW).len(), 1, "who was never here is not listed");
        friends.online(sr.peer, NOW).unwrap();
        let listed = [("sr".to_owned(), Level::Introduced), ("yjf".to_owned(), Level::Friend)];
        assert_eq!(names(&friends), listed);
    }
    let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
    assert_eq!(names(&friends).len(), 2, "the introduction is kept");
    friends.keep_ban(Ban { peer: yjf.peer, term: BanTerm::Forever }).unwrap();
    assert_eq!(names(&friends), [], "the voucher is no friend any more");
}

#[test]
fn no_signature_is_checked_of_what_a_stranger_tells_of_others() {
    let (mut friends, sr, yjf, told) = (friends(), Key::new(1), Key::new(2), Key::new(3));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    let mut forged = told.profile("hjs", NOW);
    "forged".clone_into(&mut forged.name);
    let by = |friends: &mut Friends, teller: &Key| {
        friends.keep_profile(forged.clone(), teller.peer, NOW)
    };
    assert_eq!(by(&mut friends, &sr).unwrap(), ProfileReceipt::Unvouched);
    assert!(by(&mut friends, &told).is_err() && by(&mut friends, &yjf).is_err());
}

#[test]
fn a_friend_introduces_a_bounded_number() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    let kept = (100..300)
        .filter(|seed| tells(&mut friends, &yjf, &Key::new(*seed), "sr") == ProfileReceipt::New);
    assert_eq!(kept.count(), MAX_VOUCHED);
    assert_eq!(friends.known.len(), MAX_VOUCHED + 1);
}

#[test]
fn a_stranger_in_memory_that_a_friend_tells_of_is_introduced_with_its_newest_profile() {
    let (mut friends, yjf, sr) = (friends(), Key::new(1), Key::new(2));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    friends.online(sr.peer, NOW).unwrap();
    friends.keep_profile(sr.profile("newer", NOW + 5), sr.peer, NOW).unwrap();
    tells(&mut friends, &yjf, &sr, "older");
    assert_eq!(friends.friend(&sr.peer).unwrap().name, "newer");
    assert_eq!(friends.level(&sr.peer), Level::Introduced);
}

#[test]
fn strangers_are_few_and_in_memory_and_those_here_stay() {
    let mut friends = friends();
    let now = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(1_000));
    let clock = now.clone();
    friends.clock = Box::new(move || clock.load(std::sync::atomic::Ordering::Relaxed));
    let here = Key::new(1);
    comes(&mut friends, &here, "here");
    let mut refused = 0;
    for seed in 100..500 {
        let key = Key::new(seed);
        match friends.keep_profile(key.profile("yjf", NOW), key.peer, NOW) {
            Ok(_) => {}
            Err(error) => {
                assert_eq!((error.offence(), error.refusal()), (None, Some(Refusal::RateLimited)));
                refused += 1;
                now.fetch_add(1_000_000, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }
    assert!(refused > 0, "they share one budget");
    assert_eq!(friends.strangers.names().count(), MAX_STRANGERS_KEPT);
    assert!(friends.friend(&here.peer).is_some());
    assert!(friends.known.is_empty());
}

#[test]
fn a_namesake_of_a_lower_level_never_makes_a_friends_name_ambiguous() {
    let (mut friends, yjf, voucher) = (friends(), Key::new(1), Key::new(2));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    friends.befriend(voucher.profile("sr", NOW), NOW).unwrap();
    let (stranger, introduced) = (Key::new(3), Key::new(4));
    comes(&mut friends, &stranger, "yjf");
    assert_eq!(friends.resolve_to_pay("yjf").unwrap().0, yjf.peer, "a stranger's name counts not");
    tells(&mut friends, &voucher, &introduced, "yjf");
    friends.online(introduced.peer, NOW).unwrap();
    assert_eq!(friends.resolve("yjf"), Ok(yjf.peer));
    assert_eq!(friends.label(&yjf.peer), "yjf");
    let named = |key: &Key| format!("yjf#{}", key.peer.suffix(4));
    assert_eq!(friends.label(&introduced.peer), named(&introduced));
    assert_eq!(friends.label(&stranger.peer), named(&stranger));
    assert_eq!(friends.resolve(&named(&introduced)), Ok(introduced.peer));
    assert_eq!(friends.resolve(&named(&stranger)), Ok(stranger.peer));
    assert_eq!(friends.resolve_to_pay("yjf").unwrap_err().code(), "suffix_too_short");
    assert_eq!(
        friends.resolve_to_pay(&named(&stranger)).unwrap_err().code(),
        "suffix_too_short",
        "a stranger is paid by 8 digits at least"
    );
    let long = format!("yjf#{}", stranger.peer.suffix(8));
    assert_eq!(friends.resolve_to_pay(&long).unwrap().0, stranger.peer);
}

#[test]
fn explore_tells_a_stranger_of_us_alone() {
    let (mut friends, yjf, sr) = (friends(), Key::new(1), Key::new(2));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    comes(&mut friends, &Key::new(3), "stranger");
    tells(&mut friends, &yjf, &sr, "never-here");
    let told = |friends: &Friends, to: &Key| -> Vec<String> {
        friends.explore_answer(&to.peer, NOW).into_iter().map(|profile| profile.name).collect()
    };
    for asker in [&Key::new(3), &sr] {
        assert_eq!(told(&friends, asker), ["yzw"]);
    }
    assert_eq!(told(&friends, &yjf), ["yzw", "yjf"]);
    friends.online(sr.peer, NOW).unwrap();
    assert_eq!(told(&friends, &yjf), ["yzw", "yjf", "never-here"]);
    friends.keep_ban(Ban { peer: sr.peer, term: BanTerm::Until(NOW + MINUTE) }).unwrap();
    assert_eq!(told(&friends, &yjf), ["yzw", "yjf"]);
}

#[test]
fn on_the_local_network_who_is_near_is_a_friend_also_after_a_restart_unless_switched_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("friends.redb");
    let (me, yjf) = (Key::new(0), Key::new(1));
    let near = |counts| FriendsConfig { trust: Trust::new([], counts), ..me.config(NETWORK) };
    {
        let mut friends = Friends::open(&path, near(true)).unwrap();
        friends.trust.met_nearby(yjf.peer);
        friends.keep_friends(&[yjf.peer], NOW).unwrap();
        comes(&mut friends, &yjf, "yjf");
        assert_eq!(names(&friends), [("yjf".to_owned(), Level::Friend)]);
    }
    assert_eq!(names(&Friends::open(&path, near(true)).unwrap()).len(), 1);
    assert_eq!(names(&Friends::open(&path, near(false)).unwrap()), []);
}

#[test]
fn who_was_only_near_is_kept_up_to_a_bound() {
    let mut friends = friends();
    friends.trust = Trust::new([], true);
    let chosen = Key::new(1).peer;
    friends.accept(&chosen.to_string(), NOW).unwrap();
    for number in 0..=MAX_NEARBY_KEPT {
        let mut key = [7; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        let peer = PeerId(PublicKey(key));
        let profile = SignedProfile { peer, ..Key::new(3).profile("sr", NOW) };
        let last_seen = if number == 7 { NOW - 1 } else { NOW };
        friends.known.insert(peer, Known { last_seen, ..Known::new(profile, NETWORK) });
        friends.trust.met_nearby(peer);
        friends.keep_friends(&[peer], NOW).unwrap();
    }
    assert_eq!(friends.people.len(), MAX_NEARBY_KEPT + 1);
    assert!(friends.people.contains_key(&chosen));
    let seen = |peer: &PeerId| friends.known.get(peer).is_none_or(|known| known.last_seen == NOW);
    assert!(friends.people.keys().all(seen), "the one not seen for longest is forgotten");
}

#[test]
fn an_address_of_the_users_makes_a_friend_and_a_ban_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("friends.redb");
    let (me, yjf) = (Key::new(0), Key::new(1));
    let address = ["/ip4/10.0.0.1/tcp/1".to_owned()];
    {
        let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
        friends.add_addresses(yjf.peer, &address, AddressSource::Discovered, NOW).unwrap();
        assert_eq!(friends.level(&yjf.peer), Level::Stranger);
        friends.add_addresses(yjf.peer, &address, AddressSource::Invite, NOW).unwrap();
        assert_eq!(friends.level(&yjf.peer), Level::Friend);
    }
    let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
    assert_eq!(friends.level(&yjf.peer), Level::Friend);
    friends.keep_ban(Ban { peer: yjf.peer, term: BanTerm::Forever }).unwrap();
    assert_eq!(friends.accept(&yjf.peer.to_string(), NOW).unwrap_err().code(), "banned");
    drop(friends);
    let friends = Friends::open(&path, me.config(NETWORK)).unwrap();
    assert_eq!(friends.level(&yjf.peer), Level::Stranger);
    assert_eq!(friends.known_peers(10).unwrap(), []);
}

#[test]
fn a_profile_signed_too_far_ahead_is_taken_once_the_clock_is_right() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    friends.trust.accept(yjf.peer);
    let wrong = NOW - 3 * 24 * 60 * MINUTE;
    let profile = yjf.profile("yjf", NOW);
    let error = friends.keep_profile(profile.clone(), yjf.peer, wrong).unwrap_err();
    assert!(matches!(error, ProfileError::TooFarAhead { .. }));
    assert_eq!(friends.keep_profile(profile, yjf.peer, NOW).unwrap(), ProfileReceipt::New);

    // Our own profile, signed while the clock was days ahead, is signed again, since others reject
    // it.
    let own = friends.set_own_profile("yzw", &[], None, NOW + 3 * 24 * 60 * MINUTE).unwrap();
    let own = friends.set_own_profile("other", &own.addresses, None, own.sequence + 1).unwrap();
    let again = friends.set_own_profile("other", &[], None, own.sequence - 2 * MAX_AHEAD_MS);
    assert!(again.unwrap().sequence < own.sequence);
}

#[test]
fn an_introduced_peers_comings_and_new_names_count_as_lines() {
    let (mut friends, yjf, sr) = (friends(), Key::new(1), Key::new(2));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    tells(&mut friends, &yjf, &sr, "sr");
    let mut events = friends.events.subscribe();
    for _ in 0..200 {
        friends.online(sr.peer, NOW).unwrap();
        friends.offline(sr.peer, Departure::Lost, NOW).unwrap();
    }
    let news = std::iter::from_fn(|| events.try_recv().ok()).count();
    assert_eq!(news, 1 + 2 * 50, "one notice, and it joined and left as often as it may write");
    let renamed = sr.profile("other", NOW + 1);
    let refused = friends.keep_profile(renamed, sr.peer, NOW).unwrap_err();
    assert_eq!(refused.refusal(), Some(Refusal::RateLimited));
    let told = sr.profile("third", NOW + 2);
    friends.keep_profile(told, yjf.peer, NOW).unwrap();
    assert_eq!(friends.friend(&sr.peer).unwrap().name, "third", "a friend's word is not counted");
}

#[test]
fn an_introduced_peer_that_is_gone_for_good_makes_room_for_another() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    for seed in 100..100 + u32::try_from(MAX_VOUCHED).unwrap() {
        tells(&mut friends, &yjf, &Key::new(seed), "fake");
    }
    let sr = Key::new(2);
    tells(&mut friends, &yjf, &sr, "sr");
    assert_eq!(friends.level(&sr.peer), Level::Stranger, "the friend's share is used up");
    let later = NOW + 31 * 24 * 60 * MINUTE;
    friends.keep_friends(&[], later).unwrap();
    assert_eq!(friends.level(&Key::new(100).peer), Level::Stranger);
    friends.keep_profile(sr.profile("sr", later), yjf.peer, later).unwrap();
    assert_eq!(friends.level(&sr.peer), Level::Introduced);
}
