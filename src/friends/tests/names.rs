//! Tests of names that look alike, of the plain name's holder, and of forgetting and blocking.

use super::*;
use crate::friends::{
    former::{self, MAX_FORMER},
    profiles::MAX_UNSEEN_MS,
};

const DAY: u64 = 24 * 60 * MINUTE;

/// Receives a profile that a peer sends of itself.
fn comes(friends: &mut Friends, key: &Key, name: &str, now: UnixMillis) {
    friends.online(key.peer, now).unwrap();
    friends.keep_profile(key.profile(name, now), key.peer, now).unwrap();
}

/// Receives a profile that a friend passes on.
fn tells(friends: &mut Friends, by: &Key, of: &Key, name: &str, now: UnixMillis) {
    friends.keep_profile(of.profile(name, now), by.peer, now).unwrap();
}

fn suffixed(name: &str, key: &Key) -> String {
    format!("{name}#{}", key.peer.suffix(4))
}

fn labels(friends: &Friends, now: UnixMillis) -> Vec<String> {
    friends.list(now).into_iter().map(|info| info.name).collect()
}

#[test]
fn a_name_that_looks_alike_is_the_same_name_everywhere() {
    for fake in ["уzw2", "YZW2", "yzw２"] {
        let (mut friends, one, thief) = (friends(), Key::new(1), Key::new(2));
        friends.befriend(one.profile("yzw2", NOW), NOW).unwrap();
        friends.befriend(thief.profile(fake, NOW), NOW + 1).unwrap();
        assert_eq!(friends.label(&one.peer), "yzw2");
        assert_eq!(friends.label(&thief.peer), suffixed(fake, &thief), "{fake}");
        assert_eq!(friends.resolve("yzw2"), Ok(one.peer));
        assert_eq!(friends.resolve(fake).unwrap_err().code(), "ambiguous_friend", "{fake}");
        assert_eq!(friends.resolve_to_pay("yzw2").unwrap_err().code(), "suffix_too_short");
        assert_eq!(friends.resolve(&suffixed("yzw2", &thief)), Ok(thief.peer));
    }
}

#[test]
fn a_friend_with_our_own_name_always_has_a_suffix() {
    for name in ["yzw", "YZW", "уzw"] {
        let (mut friends, one) = (friends(), Key::new(1));
        friends.befriend(one.profile(name, NOW), NOW).unwrap();
        assert_eq!(labels(&friends, NOW), [suffixed(name, &one)]);
        let error = friends.resolve("yzw").unwrap_err();
        assert_eq!(error.code(), "note_to_self");
        assert!(error.to_string().contains(&suffixed(name, &one)), "{error}");
        assert_eq!(friends.resolve(&suffixed(name, &one)), Ok(one.peer));
    }
}

#[test]
fn a_profile_with_a_hidden_character_is_refused_and_charged_to_nobody() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    for name in ["yj\u{ad}f", "yjf\u{fe0f}", "Zoe\u{308}", "\u{3164}", "y\u{200d}jf"] {
        let error = friends.befriend(yjf.profile(name, NOW), NOW).unwrap_err();
        assert!(matches!(error, ProfileError::Name(_)), "{name:?}: {error:?}");
        assert_eq!((error.offence(), error.refusal()), (None, Some(Refusal::Invalid)));
    }
    friends.befriend(yjf.profile("ශ්\u{200d}රී", NOW), NOW).unwrap();
    assert_eq!(friends.resolve("ශ්\u{200d}රී"), Ok(yjf.peer));
}

#[test]
fn presence_is_told_of_the_key_it_belongs_to() {
    let (mut friends, one, other, mine) = (friends(), Key::new(1), Key::new(2), Key::new(3));
    friends.befriend(one.profile("yjf", NOW), NOW).unwrap();
    friends.befriend(other.profile("yjf", NOW), NOW + 1).unwrap();
    friends.befriend(mine.profile("yzw", NOW), NOW + 1).unwrap();
    let mut events = friends.events.subscribe();
    for (key, name) in [
        (&one, "yjf".to_owned()),
        (&other, suffixed("yjf", &other)),
        (&mine, suffixed("yzw", &mine)),
    ] {
        friends.online(key.peer, NOW + 2).unwrap();
        friends.offline(key.peer, Departure::Lost, NOW + 3).unwrap();
        let peer = key.peer;
        assert_eq!(events.try_recv().unwrap(), FriendsEvent::Joined { peer, name: name.clone() });
        let how = Departure::Lost;
        assert_eq!(events.try_recv().unwrap(), FriendsEvent::Left { peer, name, how });
    }
    friends.online(friends.me, NOW + 4).unwrap();
    assert!(events.try_recv().is_err(), "nobody meets himself");
}

#[test]
fn the_friend_known_first_keeps_the_plain_name_after_a_restart_and_whoever_returns_to_it_does_not()
{
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("friends.redb");
    let (me, one, other) = (Key::new(0), Key::new(2), Key::new(1));
    {
        let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
        friends.befriend(other.profile("yjf", NOW), NOW).unwrap();
        friends.befriend(other.profile("sr", NOW + 1), NOW + 1).unwrap();
        friends.befriend(one.profile("yjf", NOW), NOW + 2).unwrap();
        let mut events = friends.events.subscribe();
        friends.befriend(other.profile("yjf", NOW + 3), NOW + 3).unwrap();
        let (old, new) = ("sr".to_owned(), suffixed("yjf", &other));
        let renamed = FriendsEvent::Renamed { peer: other.peer, old, new };
        assert_eq!(events.try_recv().unwrap(), renamed);
    }
    let friends = Friends::open(&path, me.config(NETWORK)).unwrap();
    assert_eq!(friends.resolve("yjf"), Ok(one.peer));
    assert_eq!(friends.label(&other.peer), suffixed("yjf", &other));
}

#[test]
fn an_introduced_namesake_who_becomes_a_friend_later_does_not_take_the_plain_name() {
    let (mut friends, voucher, one, later) = (friends(), Key::new(1), Key::new(2), Key::new(3));
    friends.befriend(voucher.profile("sr", NOW), NOW).unwrap();
    tells(&mut friends, &voucher, &later, "yjf", NOW);
    friends.online(later.peer, NOW).unwrap();
    assert_eq!(friends.label(&later.peer), "yjf", "nobody else is called so");
    friends.befriend(one.profile("yjf", NOW), NOW + 5).unwrap();
    assert_eq!(friends.label(&one.peer), "yjf", "a friend comes before who is introduced");
    friends.accept(&suffixed("yjf", &later), NOW + 9).unwrap();
    assert_eq!(friends.label(&one.peer), "yjf");
    assert_eq!(friends.label(&later.peer), suffixed("yjf", &later));
}

#[test]
fn a_shared_name_is_confirmed_once_and_the_confirmation_belongs_to_the_key_and_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("friends.redb");
    let (me, one, thief) = (Key::new(0), Key::new(1), Key::new(2));
    {
        let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
        friends.befriend(one.profile("yjf", NOW), NOW).unwrap();
        friends.befriend(thief.profile("yjf", NOW), NOW + 1).unwrap();
        let error = friends.resolve_to_pay("yjf").unwrap_err();
        for key in [&one, &thief] {
            let named = format!("yjf#{}", key.peer.suffix(8));
            assert!(error.to_string().contains(&named), "{error}");
        }
        let asked = friends.payee("yjf").unwrap();
        assert_eq!((asked.peer, asked.candidates.len()), (one.peer, 2));
        let paid = friends.resolve_to_pay(&asked.candidates[0]).unwrap();
        assert_eq!(paid.0, one.peer);
        assert_eq!(friends.payee("yjf").unwrap().candidates, Vec::<String>::new());
    }
    let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
    assert_eq!(friends.resolve_to_pay("yjf").unwrap().0, one.peer, "it is asked once");
    assert!(friends.resolve_to_pay(&suffixed("yjf", &thief)).is_err(), "not of the other");
    friends.befriend(one.profile("fang", NOW + 2), NOW + 2).unwrap();
    assert_eq!(friends.resolve("yjf"), Ok(thief.peer));
    assert_eq!(friends.resolve_to_pay("yjf").unwrap_err().code(), "suffix_too_short");
}

#[test]
fn who_was_not_seen_for_thirty_days_is_neither_passed_on_nor_listed_unless_a_friend() {
    let (mut friends, voucher, ghost, away) = (friends(), Key::new(1), Key::new(2), Key::new(3));
    friends.befriend(voucher.profile("sr", NOW), NOW).unwrap();
    friends.befriend(away.profile("hjs", NOW), NOW).unwrap();
    tells(&mut friends, &voucher, &ghost, "xzq", NOW);
    friends.online(ghost.peer, NOW).unwrap();
    let line = ghost.line(None, "boo", NOW, 0);
    friends.direct(ghost.peer, "who is there?", NOW).unwrap();
    friends.receive_broadcast(line, NOW).unwrap();
    friends.people.remove(&ghost.peer);
    for key in [&ghost, &away] {
        friends.online(key.peer, NOW).unwrap();
        friends.offline(key.peer, Departure::Lost, NOW + DAY).unwrap();
    }
    friends.online(voucher.peer, NOW + DAY).unwrap();
    let told = |friends: &Friends, now: UnixMillis| -> Vec<String> {
        let answer = friends.explore_answer(&voucher.peer, now);
        answer.into_iter().map(|profile| profile.name).collect()
    };
    let last = NOW + DAY + MAX_UNSEEN_MS;
    assert_eq!(told(&friends, last), ["yzw", "sr", "hjs", "xzq"]);
    assert_eq!(labels(&friends, last), ["hjs", "sr", "xzq"]);
    assert_eq!(told(&friends, last + 1), ["yzw", "sr"]);
    assert_eq!(labels(&friends, last + 1), ["hjs", "sr"], "a friend stays in the list");
    let names: Vec<_> = friends.history(None, 10).unwrap();
    assert_eq!(names[1].from_name, "xzq", "the chat keeps its names");

    friends.keep_friends(&[], last + 1).unwrap();
    assert!(friends.friend(&ghost.peer).is_none() && friends.friend(&away.peer).is_some());
    let names: Vec<_> = friends.history(None, 10).unwrap();
    assert_eq!(names[1].from_name, suffixed("xzq", &ghost), "also without the profile");
    tells(&mut friends, &voucher, &Key::new(4), "xzq", last + 1);
    assert_eq!(friends.label(&Key::new(4).peer), "xzq", "the name is free");
}

#[test]
fn of_too_many_names_without_a_profile_the_oldest_is_forgotten() {
    let (mut friends, ghost) = (friends(), Key::new(1));
    friends.befriend(ghost.profile("xzq", NOW), NOW).unwrap();
    friends.direct(ghost.peer, "who is there?", NOW).unwrap();
    let of = |number: usize| {
        let mut key = [9; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        PeerId(PublicKey(key))
    };
    // The oldest is neither the first nor the last in the order of keys.
    let since = |number: usize| if number == 77 { NOW - 1 } else { NOW };
    let fill = friends.store.write(|tables| {
        for number in 0..MAX_FORMER {
            tables.former.insert(&of(number).0.0, (since(number), "sr"))?;
        }
        Ok::<_, StoreFault>(())
    });
    fill.unwrap();
    friends.former = former::load(&friends.store).unwrap();
    assert!(friends.former.contains_key(&of(77)));
    friends.drop_profile(&ghost.peer, NOW + 1).unwrap();
    for former in [&friends.former, &former::load(&friends.store).unwrap()] {
        assert_eq!(former.len(), MAX_FORMER);
        assert!(former.contains_key(&ghost.peer) && !former.contains_key(&of(77)));
    }
}

#[test]
fn whoever_is_forgotten_leaves_the_list_and_frees_the_name_and_the_chat_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("friends.redb");
    let (me, ghost, other) = (Key::new(0), Key::new(1), Key::new(2));
    {
        let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
        friends.befriend(ghost.profile("yjf", NOW), NOW).unwrap();
        friends.befriend(other.profile("yjf", NOW), NOW + 1).unwrap();
        friends.touch_address(ghost.peer, "/ip4/10.0.0.2/tcp/1", NOW).unwrap();
        friends.direct(ghost.peer, "hello?", NOW).unwrap();
        let mut events = friends.events.subscribe();
        assert_eq!(friends.forget("yjf", NOW).unwrap(), (ghost.peer, "yjf".to_owned()));
        assert!(events.try_recv().is_err());
        assert_eq!(friends.forget("nobody", NOW).unwrap_err().code(), "unknown_friend");
        assert_eq!(friends.forget("yjf", NOW).unwrap().0, other.peer);
        friends.befriend(other.profile("yjf", NOW + 2), NOW + 2).unwrap();
    }
    let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
    assert_eq!(labels(&friends, NOW), ["yjf"]);
    assert_eq!(friends.resolve("yjf"), Ok(other.peer));
    assert_eq!(friends.outbox_for(&ghost.peer, 9).unwrap(), []);
    assert_eq!(friends.known_peers(9).unwrap(), []);
    let history = friends.history(Some(&ghost.peer), 9).unwrap();
    assert_eq!(texts(&history), ["hello?"]);
    assert_eq!(history[0].to_name, Some(suffixed("yjf", &ghost)), "under the name it had");
    assert_eq!(friends.resolve(&suffixed("yjf", &ghost)), Ok(ghost.peer));
    comes(&mut friends, &ghost, "yjf", NOW + 3);
    assert_eq!(labels(&friends, NOW + 3), ["yjf"], "a stranger that comes again is no friend");
}

#[test]
fn whoever_is_blocked_is_not_heard_and_is_what_it_was_when_the_block_is_lifted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("friends.redb");
    let (me, pest, told) = (Key::new(0), Key::new(1), Key::new(2));
    let label = suffixed("yjf", &pest);
    {
        let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
        friends.befriend(pest.profile("yjf", NOW), NOW).unwrap();
        tells(&mut friends, &pest, &told, "sr", NOW);
        friends.online(pest.peer, NOW).unwrap();
        friends.direct(pest.peer, "stop it", NOW).unwrap();
        let mut events = friends.events.subscribe();
        assert_eq!(friends.block("yjf", NOW).unwrap(), (pest.peer, "yjf".to_owned()));
        assert_eq!(friends.block(&label, NOW).unwrap().0, pest.peer, "twice is once");
        friends.offline(pest.peer, Departure::Lost, NOW).unwrap();
        assert!(events.try_recv().is_err(), "the user knows");
        let seen = |friends: &Friends| friends.friend(&pest.peer).unwrap().last_seen;
        friends.unblock("yjf").unwrap();
        friends.online(pest.peer, NOW).unwrap();
        friends.block("yjf", NOW + 5 * MINUTE).unwrap();
        assert_eq!(seen(&friends), Some(NOW + 5 * MINUTE), "the peer was here until the block");
        friends.offline(pest.peer, Departure::Lost, NOW + 9 * MINUTE).unwrap();
        assert_eq!(seen(&friends), Some(NOW + 5 * MINUTE));
    }
    let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
    assert_eq!(friends.blocked(), [pest.peer]);
    assert_eq!(friends.level(&pest.peer), Level::Stranger);
    assert_eq!(friends.level(&told.peer), Level::Stranger, "its introductions count no more");
    let list = friends.list(NOW);
    assert_eq!((list[0].name.as_str(), list[0].blocked, list.len()), (label.as_str(), true, 1));
    let line = pest.line(Some(me.peer), "hey", NOW, 1);
    let error = friends.receive_direct(pest.peer, line, NOW).unwrap_err();
    assert!(matches!(error, ReceiveError::Banned { .. }));
    assert_eq!((error.offence(), error.refusal()), (None, None), "its author learns nothing");
    assert!(friends.receive_broadcast(pest.line(None, "hey", NOW, 2), NOW).is_err());
    assert!(friends.receive_quit(&pest.quit(NOW + 5), NOW + 5).is_err());
    assert!(friends.keep_profile(pest.profile("new", NOW + 9), pest.peer, NOW).is_err());
    assert_eq!(friends.accept(&label, NOW).unwrap_err().code(), "blocked");
    assert_eq!(friends.forget(&label, NOW).unwrap_err().code(), "blocked");
    let sent = friends.direct(pest.peer, "hello", NOW).unwrap_err();
    assert_eq!(sent.code(), "blocked");
    friends
        .add_addresses(pest.peer, &["/ip4/1.2.3.4/tcp/1".to_owned()], AddressSource::Invite, NOW)
        .unwrap();
    assert_eq!(friends.level(&pest.peer), Level::Stranger, "an address does not lift it");

    assert_eq!(friends.unblock("sr").unwrap_err().code(), "not_blocked");
    assert_eq!(friends.unblock("YJF").unwrap(), (pest.peer, "yjf".to_owned()));
    assert_eq!(friends.level(&pest.peer), Level::Friend);
    assert_eq!(friends.level(&told.peer), Level::Introduced);
    assert_eq!(texts(&friends.history(Some(&pest.peer), 9).unwrap()), ["stop it"]);
    assert_eq!(friends.outbox_for(&pest.peer, 9).unwrap().len(), 1, "what waited still waits");
    assert_eq!(friends.blocked(), []);
}

#[test]
fn a_peer_that_was_never_seen_can_be_blocked_by_its_id() {
    let (mut friends, pest) = (friends(), Key::new(1));
    let id = pest.peer.to_string();
    assert_eq!(friends.block(&id, NOW).unwrap(), (pest.peer, id.clone()));
    assert_eq!(labels(&friends, NOW), std::slice::from_ref(&id));
    assert!(friends.keep_profile(pest.profile("yjf", NOW), pest.peer, NOW).is_err());
    assert_eq!(friends.unblock(&id).unwrap().0, pest.peer);
    assert_eq!(friends.block("yzw", NOW).unwrap_err().code(), "note_to_self");
}

#[test]
fn our_own_name_is_kept_for_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("friends.redb");
    let me = Key::new(0);
    {
        let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
        assert_eq!(friends.own_name(), None);
        assert_eq!(friends.set_own_name("Zoe\u{308}").unwrap(), "Zoë");
        assert_eq!(friends.set_own_name("a b").unwrap_err().code(), "bad_name");
    }
    let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
    assert_eq!(friends.own_name(), Some("Zoë"));
    assert_eq!(friends.label(&me.peer), "Zoë", "the history names us before the start, too");
    let mut start = |given: Option<&str>| friends.start_named(given, "default").unwrap();
    assert_eq!(start(None), "Zoë");
    assert_eq!(start(Some("yzw")), "yzw");
    assert_eq!(start(None), "yzw");
    friends.set_own_name("Zora").unwrap();
    let mut start = |given: Option<&str>| friends.start_named(given, "default").unwrap();
    assert_eq!(start(Some("yzw")), "Zora", "the same name again does not undo a rename");
    assert_eq!(start(Some("yjf")), "yjf");
}

#[test]
fn a_stored_name_that_breaks_todays_rule_is_shown_harmlessly_and_not_passed_on() {
    let (mut friends, yjf, asker) = (friends(), Key::new(1), Key::new(2));
    friends.befriend(asker.profile("sr", NOW), NOW).unwrap();
    friends.trust.accept(yjf.peer);
    friends.store_profile(yjf.profile("yj\u{ad}f", NOW), None, NOW).unwrap();
    assert_eq!(friends.label(&yjf.peer), "yj\u{fffd}f");
    assert_eq!(friends.resolve("yjf"), Ok(yjf.peer), "it looks like that");
    let told = friends.explore_answer(&asker.peer, NOW);
    assert_eq!(told.iter().map(|profile| profile.name.as_str()).collect::<Vec<_>>(), ["yzw", "sr"]);
}
