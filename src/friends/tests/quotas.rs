//! Tests of the quotas of conversations, the box of requests, bans, and batches.

use super::*;
use crate::friends::{
    bans::MAX_BANS_KEPT,
    blocks::MAX_BLOCKED,
    chat::MAX_OUTBOX,
    history::MAX_HISTORY,
    profiles::MAX_NAMES,
    requests::{MAX_REQUEST_LINES, MAX_REQUEST_LINES_OF_ONE},
};

/// Lets time pass, so that no token bucket is empty.
fn unhurried(friends: &mut Friends) {
    let moment = std::sync::atomic::AtomicU64::new(1_000);
    friends.clock =
        Box::new(move || moment.fetch_add(60_000, std::sync::atomic::Ordering::Relaxed));
}

fn receive(friends: &mut Friends, key: &Key, text: &str, counter: u64) -> Receipt {
    friends.receive_broadcast(key.line(None, text, NOW, counter), NOW).unwrap()
}

#[test]
fn lines_of_strangers_go_into_a_small_box_and_push_out_nothing_of_a_friends() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    unhurried(&mut friends);
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    assert!(matches!(receive(&mut friends, &yjf, "hello", 0), Receipt::New(_)));
    let first = Key::new(100);
    for counter in 0..20 {
        assert_eq!(
            receive(&mut friends, &first, &format!("buy {counter}"), counter),
            Receipt::Request
        );
    }
    assert_eq!(friends.requests(1_000).len(), MAX_REQUEST_LINES_OF_ONE);
    let direct = first.line(Some(friends.me), "me again", NOW, 99);
    assert_eq!(friends.receive_direct(first.peer, direct.clone(), NOW).unwrap(), Receipt::Request);
    assert_eq!(friends.receive_direct(first.peer, direct, NOW).unwrap(), Receipt::Known);
    for seed in 101..400 {
        receive(&mut friends, &Key::new(seed), "buy", 0);
    }
    assert_eq!(friends.requests(1_000).len(), MAX_REQUEST_LINES);
    assert_eq!(texts(&friends.history(None, MAX_HISTORY).unwrap()), ["hello"]);
    assert_eq!(texts(&friends.history(Some(&yjf.peer), 10).unwrap()), ["hello"]);
}

#[test]
fn a_direct_line_that_was_confirmed_stays_until_its_author_is_accepted() {
    let (mut friends, one) = (friends(), Key::new(1));
    unhurried(&mut friends);
    let lines: Vec<_> =
        (0..7).map(|n| one.line(Some(friends.me), &format!("line {n}"), NOW, n)).collect();
    let (kept, refused) = lines.split_at(MAX_REQUEST_LINES_OF_ONE);
    for line in kept {
        assert_eq!(friends.receive_direct(one.peer, line.clone(), NOW).unwrap(), Receipt::Request);
    }
    for line in refused {
        let error = friends.receive_direct(one.peer, line.clone(), NOW).unwrap_err();
        assert_eq!(error.refusal(), Some(Refusal::RateLimited), "its sender keeps it");
    }
    // A line to all that is not kept is not forwarded either.
    let to_all = one.line(None, "to all", NOW, 99);
    let refused_to_all = friends.receive_broadcast(to_all, NOW).unwrap_err();
    assert!(matches!(refused_to_all, ReceiveError::TooMany { .. }));
    friends.accept(&one.peer.to_string(), NOW).unwrap();
    for line in refused {
        assert!(matches!(
            friends.receive_direct(one.peer, line.clone(), NOW).unwrap(),
            Receipt::New(_)
        ));
    }
    let all: Vec<_> = lines.iter().map(|line| line.text.clone()).collect();
    assert_eq!(texts(&friends.history(Some(&one.peer), 10).unwrap()), all);
}

#[test]
fn an_introduced_peers_request_goes_after_those_of_strangers() {
    let (mut friends, yjf, sr) = (friends(), Key::new(1), Key::new(2));
    unhurried(&mut friends);
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    friends.keep_profile(sr.profile("sr", NOW), yjf.peer, NOW).unwrap();
    receive(&mut friends, &sr, "I am a friend of yjf", 0);
    for seed in 100..400 {
        receive(&mut friends, &Key::new(seed), "buy", 0);
    }
    assert_eq!(friends.requests(1_000)[0].text, "I am a friend of yjf");
}

#[test]
fn a_box_full_of_introduced_peers_requests_has_no_room_for_a_strangers() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    unhurried(&mut friends);
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    for seed in 100..120 {
        let sr = Key::new(seed);
        friends.keep_profile(sr.profile(&format!("sr{seed}"), NOW), yjf.peer, NOW).unwrap();
        for counter in 0..MAX_REQUEST_LINES_OF_ONE as u64 {
            receive(&mut friends, &sr, &format!("hello {counter}"), counter);
        }
    }
    let before = friends.requests(1_000);
    assert_eq!(before.len(), MAX_REQUEST_LINES);
    let stranger = Key::new(999);
    let line = stranger.line(Some(friends.me), "buy", NOW, 0);
    let refused = friends.receive_direct(stranger.peer, line, NOW).unwrap_err();
    assert_eq!(refused.refusal(), Some(Refusal::RateLimited));
    assert_eq!(friends.requests(1_000), before);
}

#[test]
fn requests_become_chat_once_their_author_is_accepted_or_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("friends.redb");
    let (me, one, other) = (Key::new(0), Key::new(1), Key::new(2));
    {
        let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
        receive(&mut friends, &one, "from one", 0);
        receive(&mut friends, &other, "from other", 0);
    }
    let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
    assert_eq!(texts(&friends.requests(10)), ["from one", "from other"]);
    assert_eq!(texts(&friends.requests(1)), ["from other"], "the last ones");
    assert_eq!(friends.requests(1)[0].from_name, other.peer.to_string(), "enough to accept it");
    friends.accept(&one.peer.to_string(), NOW).unwrap();
    friends.direct(other.peer, "who are you?", NOW).unwrap();
    assert_eq!(friends.requests(10), []);
    let chat = ["from one", "from other", "who are you?"];
    assert_eq!(texts(&friends.history(None, 10).unwrap()), chat);
    let answer = other.line(Some(me.peer), "sr", NOW, 1);
    let receipt = friends.receive_direct(other.peer, answer, NOW).unwrap();
    assert!(matches!(receipt, Receipt::New(_)), "an answer is no request");
    let with_other = ["from other", "who are you?", "sr"];
    assert_eq!(texts(&friends.history(Some(&other.peer), 10).unwrap()), with_other);
    drop(friends);
    let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
    assert_eq!(friends.requests(10), []);
    assert_eq!(receive(&mut friends, &one, "from one", 0), Receipt::Known);
}

#[test]
fn requests_of_a_friend_by_its_address_are_shown_once_it_is_met() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    receive(&mut friends, &yjf, "before we met", 0);
    let mut events = friends.events.subscribe();
    friends.trust.accept(yjf.peer);
    for _ in 0..2 {
        friends.keep_friends(&[yjf.peer], NOW).unwrap();
    }
    let shown = std::iter::from_fn(|| events.try_recv().ok()).filter_map(|event| match event {
        FriendsEvent::Received(record) => Some(record.text),
        _ => None,
    });
    assert_eq!(shown.collect::<Vec<_>>(), ["before we met"]);
}

#[test]
fn a_ban_silences_an_author_whoever_forwards_it() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    receive(&mut friends, &yjf, "before", 0);
    for term in [BanTerm::Until(NOW + MINUTE), BanTerm::Forever] {
        friends.keep_ban(Ban { peer: yjf.peer, term }).unwrap();
        let error = friends.receive_broadcast(yjf.line(None, "during", NOW, 1), NOW).unwrap_err();
        assert_eq!((error.offence(), error.refusal()), (None, None));
        assert!(friends.receive_quit(&yjf.quit(NOW + 5), NOW).is_err());
        let profile = yjf.profile("new", NOW + 5);
        let error = friends.keep_profile(profile, Key::new(2).peer, NOW).unwrap_err();
        assert_eq!((error.offence(), error.refusal()), (None, None));
        friends.online(yjf.peer, NOW).unwrap();
        assert!(!friends.is_online(&yjf.peer));
        assert_eq!(texts(&friends.history(None, 10).unwrap()), ["before"], "history stays");
        friends.forget_ban(yjf.peer).unwrap();
    }
    assert_eq!(receive(&mut friends, &yjf, "after", 2), Receipt::Request, "trust was withdrawn");
}

#[test]
fn a_batch_is_durable_as_a_whole_and_a_refusal_in_it_takes_back_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("friends.redb");
    let (me, yjf) = (Key::new(0), Key::new(1));
    let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    let mut events = friends.events.subscribe();
    friends.begin_batch();
    let sent = friends.direct(yjf.peer, "one", NOW).unwrap();
    assert_eq!(friends.direct(yjf.peer, " ", NOW).unwrap_err().code(), "empty_line");
    let line = yjf.line(Some(me.peer), "two", NOW, 0);
    friends.receive_direct(yjf.peer, line.clone(), NOW).unwrap();
    let again = friends.receive_direct(yjf.peer, line, NOW).unwrap();
    assert_eq!(again, Receipt::Known, "what was written before in the batch is seen");
    assert_eq!(friends.outbox_for(&yjf.peer, 10).unwrap().len(), 1);
    assert!(friends.delivered(yjf.peer, sent.id).unwrap());
    assert!(events.try_recv().is_err(), "nothing is announced before the commit");
    friends.commit_batch();
    assert!(matches!(events.try_recv().unwrap(), FriendsEvent::Sent(_)));
    assert!(matches!(events.try_recv().unwrap(), FriendsEvent::Received(_)));
    assert!(matches!(events.try_recv().unwrap(), FriendsEvent::Delivered { .. }));
    drop(friends);

    let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
    assert_eq!(texts(&friends.history(None, 10).unwrap()), ["one", "two"]);
    friends.begin_batch();
    friends.broadcast("lost", NOW).unwrap();
    drop(friends);
    let friends = Friends::open(&path, me.config(NETWORK)).unwrap();
    assert_eq!(texts(&friends.history(None, 10).unwrap()), ["one", "two"], "without a commit");
}

#[tokio::test]
async fn many_callers_at_once_share_commits_and_each_gets_its_reply() {
    let (handle, thread) = spawn(friends()).unwrap();
    let yjf = Key::new(1);
    handle.accept(yjf.peer.to_string(), NOW).await.unwrap();
    let lines = (0..200).map(|counter| {
        let text = if counter % 10 == 3 { " ".to_owned() } else { format!("line {counter}") };
        handle.direct(yjf.peer, text, NOW)
    });
    let replies = futures::future::join_all(lines).await;
    assert_eq!(replies.iter().filter(|reply| reply.is_err()).count(), 20);
    assert_eq!(handle.outbox_for(yjf.peer, 1_000).await.unwrap().len(), 180);
    handle.shut_down().await;
    assert!(handle.history(None, 10).await.is_err());
    thread.join().unwrap();
}

#[test]
fn what_the_user_and_friends_add_is_bounded_too() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    for number in 0..2 * MAX_NAMES as u64 {
        let renamed = yjf.profile(&format!("yjf{number}"), NOW + number + 1);
        friends.keep_profile(renamed, yjf.peer, NOW + number).unwrap();
        assert!(friends.known[&yjf.peer].names.len() <= MAX_NAMES);
    }
    assert_eq!(friends.known[&yjf.peer].names.len(), MAX_NAMES);

    let of = |number: usize| {
        let mut key = [9; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        PeerId(PublicKey(key))
    };
    friends.begin_batch();
    for number in 0..MAX_BLOCKED {
        friends.block(&of(number).to_string(), NOW).unwrap();
    }
    let error = friends.block(&of(MAX_BLOCKED).to_string(), NOW).unwrap_err();
    assert_eq!(error.code(), "too_many_blocked");
    let by_command = Ban { peer: yjf.peer, term: BanTerm::Forever };
    friends.keep_ban(by_command).unwrap();
    friends.ban_many((0..MAX_BANS_KEPT + 50).map(of));
    assert_eq!(friends.banned.len(), MAX_BANS_KEPT);
    assert!(friends.banned.contains_key(&yjf.peer) && !friends.banned.contains_key(&of(50)));
    assert!(friends.banned.contains_key(&of(51)), "those that end first are forgotten");
    friends.commit_batch();
    assert_eq!(crate::friends::bans::load(&friends.store).unwrap().len(), MAX_BANS_KEPT);
}

#[test]
fn the_outbox_is_bounded_over_all_friends() {
    let (mut friends, to, other) = (friends(), Key::new(1).peer, Key::new(2).peer);
    friends
        .store
        .write(|tables| {
            for order in 1..MAX_OUTBOX {
                tables.outbox.insert((&other.0.0, u64::MAX - order), (&NETWORK.0, &[][..]))?;
            }
            Ok::<_, StoreFault>(())
        })
        .unwrap();
    friends.direct(to, "there is room for one", NOW).unwrap();
    let error = friends.direct(to, "and not for two", NOW).unwrap_err();
    assert!(matches!(error, ChatError::OutboxFullForAll { limit: MAX_OUTBOX }), "{error:?}");
}

impl Friends {
    fn ban_many(&mut self, peers: impl Iterator<Item = PeerId>) {
        for (number, peer) in (1..).zip(peers) {
            self.keep_ban(Ban { peer, term: BanTerm::Until(NOW + number) }).unwrap();
        }
    }
}
