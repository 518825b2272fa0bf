//! Tests of the notices about people who are no friends.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::*;

/// Returns our node, and its monotonic clock.
fn friends_at() -> (Friends, Arc<AtomicU64>) {
    let (mut friends, now) = (friends(), Arc::new(AtomicU64::new(1_000)));
    let clock = now.clone();
    friends.clock = Box::new(move || clock.load(Ordering::Relaxed));
    (friends, now)
}

/// Receives a line to all, with a text of its own.
fn writes(friends: &mut Friends, author: &Key, counter: u64) {
    let line = author.line(None, &format!("line {counter}"), NOW, counter);
    friends.receive_broadcast(line, NOW).unwrap();
}

#[test]
fn whoever_a_friend_introduced_is_told_of_once_with_the_friends_name() {
    let (mut friends, yjf, sr) = (friends(), Key::new(1), Key::new(2));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    let mut events = friends.events.subscribe();
    friends.keep_profile(sr.profile("sr", NOW), yjf.peer, NOW).unwrap();
    for _ in 0..2 {
        friends.online(sr.peer, NOW).unwrap();
        friends.offline(sr.peer, Departure::Lost, NOW).unwrap();
    }
    let (peer, name) = (sr.peer, "sr".to_owned());
    let joined = FriendsEvent::Joined { peer, name: name.clone() };
    assert_eq!(events.try_recv().unwrap(), joined);
    let by = Some("yjf".to_owned());
    assert_eq!(events.try_recv().unwrap(), FriendsEvent::Introduced { peer, name, by });
    assert!(matches!(events.try_recv().unwrap(), FriendsEvent::Left { .. }));
    assert_eq!(events.try_recv().unwrap(), joined, "once");
    assert!(matches!(events.try_recv().unwrap(), FriendsEvent::Left { .. }));
    friends.accept("sr", NOW).unwrap();
    friends.online(sr.peer, NOW).unwrap();
    assert_eq!(events.try_recv().unwrap(), joined);
    assert!(events.try_recv().is_err(), "a friend needs no notice");
}

#[test]
fn whoever_writes_is_told_of_once_and_not_for_each_line() {
    let ((mut friends, now), sr) = (friends_at(), Key::new(2));
    friends.keep_profile(sr.profile("sr", NOW), sr.peer, NOW).unwrap();
    let mut events = friends.events.subscribe();
    (0..3).for_each(|counter| writes(&mut friends, &sr, counter));
    let name = format!("sr#{}", sr.peer.suffix(4));
    let wrote = FriendsEvent::Requested { peer: sr.peer, name };
    assert_eq!(events.try_recv().unwrap(), wrote);
    assert!(events.try_recv().is_err());
    friends.accept("sr", NOW).unwrap();
    friends.forget("sr", NOW).unwrap();
    friends.keep_profile(sr.profile("sr", NOW), sr.peer, NOW).unwrap();
    while events.try_recv().is_ok() {}
    now.fetch_add(2 * MINUTE, Ordering::Relaxed);
    writes(&mut friends, &sr, 9);
    assert_eq!(events.try_recv().unwrap(), wrote, "a stranger again");
}

#[test]
fn the_notice_of_a_line_waits_a_while_for_its_authors_name() {
    let ((mut friends, now), sr, unknown) = (friends_at(), Key::new(2), Key::new(3));
    let mut events = friends.events.subscribe();
    for author in [&sr, &unknown] {
        writes(&mut friends, author, 0);
        writes(&mut friends, author, 1);
    }
    friends.keep_friends(&[], NOW).unwrap();
    assert!(events.try_recv().is_err(), "the names may still come");
    friends.keep_profile(sr.profile("sr", NOW), sr.peer, NOW).unwrap();
    assert!(matches!(events.try_recv().unwrap(), FriendsEvent::Asks { .. }));
    let name = format!("sr#{}", sr.peer.suffix(4));
    assert_eq!(events.try_recv().unwrap(), FriendsEvent::Requested { peer: sr.peer, name });
    now.fetch_add(2 * MINUTE, Ordering::Relaxed);
    friends.keep_friends(&[], NOW).unwrap();
    let (peer, name) = (unknown.peer, unknown.peer.to_string());
    assert_eq!(events.try_recv().unwrap(), FriendsEvent::Requested { peer, name });
    friends.keep_friends(&[], NOW).unwrap();
    assert!(events.try_recv().is_err());
}
