//! Tests of chat lines, the outbox and the history.

use proptest::prelude::*;

use super::*;
use crate::friends::chat::MAX_TIME_APART_MS;

#[test]
fn a_direct_line_waits_in_the_outbox_until_it_is_delivered() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    let first = friends.direct(yjf.peer, "Good morning to you", NOW).unwrap();
    let second = friends.direct(yjf.peer, "Good morning to you", NOW).unwrap();
    assert_ne!(first.id, second.id, "the same words in the same millisecond are two lines");
    first.line.verify(&NETWORK).unwrap();
    assert_eq!(friends.outbox_for(&yjf.peer, 10).unwrap(), [first.clone(), second.clone()]);
    assert_eq!(friends.outbox_for(&yjf.peer, 1).unwrap(), std::slice::from_ref(&first));
    assert_eq!(friends.outbox_peers().unwrap(), [yjf.peer]);

    let mut events = friends.events.subscribe();
    assert!(
        !friends.delivered(Key::new(2).peer, first.id).unwrap(),
        "only the receiver can confirm it"
    );
    assert!(friends.delivered(yjf.peer, first.id).unwrap());
    assert!(!friends.delivered(yjf.peer, first.id).unwrap());
    assert!(
        !friends.refused(yjf.peer, second.id, Refusal::RateLimited).unwrap(),
        "this may be retried"
    );
    assert!(friends.refused(yjf.peer, second.id, Refusal::Invalid).unwrap());
    assert_eq!(friends.outbox_for(&yjf.peer, 10).unwrap(), []);
    let states: Vec<_> =
        friends.history(Some(&yjf.peer), 10).unwrap().iter().map(|line| line.state).collect();
    assert_eq!(states, [LineState::Delivered, LineState::Refused]);
    assert!(
        matches!(events.try_recv().unwrap(), FriendsEvent::Delivered { id, .. } if id == first.id)
    );
    assert!(
        matches!(events.try_recv().unwrap(), FriendsEvent::Refused { id, .. } if id == second.id)
    );
}

#[test]
fn a_line_that_may_not_be_sent_says_why() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    assert_eq!(friends.direct(yjf.peer, " \t", NOW).unwrap_err().code(), "empty_line");
    assert_eq!(friends.broadcast("", NOW).unwrap_err().code(), "empty_line");
    assert_eq!(
        friends.direct(yjf.peer, &"x".repeat(4_097), NOW).unwrap_err().code(),
        "line_too_long"
    );
    assert_eq!(friends.direct(friends.me, "x", NOW).unwrap_err().code(), "note_to_self");
    assert_eq!(friends.history(None, 10).unwrap(), []);
}

#[test]
fn the_outbox_is_bounded_for_each_friend() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    for _ in 0..MAX_OUTBOX_PER_FRIEND {
        friends.direct(yjf.peer, "x", NOW).unwrap();
    }
    assert_eq!(friends.direct(yjf.peer, "x", NOW).unwrap_err().code(), "outbox_full");
    friends.direct(Key::new(2).peer, "x", NOW).unwrap();
}

#[test]
fn a_direct_line_that_came_is_kept_once_and_whole() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    let text = "  all of it, with \u{1b}[31mcolours and  two spaces ";
    // The author's clock is a year behind, which does not matter for a direct line.
    let line = yjf.line(Some(friends.me), text, NOW - 365 * 24 * 60 * MINUTE, 0);
    let receipt = friends.receive_direct(yjf.peer, line.clone(), NOW).unwrap();
    assert!(
        matches!(receipt, Receipt::New(record) if record.text == text && record.from_name == "yjf")
    );
    assert_eq!(friends.receive_direct(yjf.peer, line, NOW).unwrap(), Receipt::Known);
    let history = friends.history(Some(&yjf.peer), 10).unwrap();
    assert_eq!(texts(&history), [text]);
    assert_eq!((history[0].received, history[0].to_name.as_deref()), (NOW, Some("yzw")));
}

#[test]
fn a_direct_line_that_is_not_the_senders_or_not_ours_is_refused() {
    let (mut friends, yjf, sr) = (friends(), Key::new(1), Key::new(2));
    let me = friends.me;
    let refused = |result: Result<Receipt, ReceiveError>| {
        let error = result.unwrap_err();
        (error.refusal().unwrap(), error.offence())
    };
    let line = yjf.line(Some(me), "hello", NOW, 0);
    assert_eq!(
        refused(friends.receive_direct(sr.peer, line.clone(), NOW)),
        (Refusal::NotYours, Some(Offence::NotTheAuthor))
    );
    let to_sr = yjf.line(Some(sr.peer), "hello", NOW, 0);
    assert_eq!(
        refused(friends.receive_direct(yjf.peer, to_sr.clone(), NOW)),
        (Refusal::NotMine, Some(Offence::NotTheAuthor))
    );
    assert_eq!(
        refused(friends.receive_broadcast(to_sr, NOW)),
        (Refusal::NotMine, Some(Offence::NotTheAuthor))
    );
    let to_all = yjf.line(None, "hello", NOW, 0);
    assert_eq!(
        refused(friends.receive_direct(yjf.peer, to_all, NOW)),
        (Refusal::NotMine, Some(Offence::NotTheAuthor))
    );
    let forged = SignedLine { text: "bye".to_owned(), ..line };
    assert_eq!(
        refused(friends.receive_direct(yjf.peer, forged, NOW)),
        (Refusal::BadSignature, Some(Offence::BadSignature))
    );
    let empty = yjf.line(Some(me), "\n", NOW, 0);
    assert_eq!(
        refused(friends.receive_direct(yjf.peer, empty, NOW)),
        (Refusal::Invalid, Some(Offence::InvalidText))
    );
    assert_eq!(friends.history(None, 10).unwrap(), []);
}

#[test]
fn a_line_to_all_is_kept_once_and_only_while_it_is_fresh() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    let line = yjf.line(None, "hello all", NOW, 0);
    assert!(matches!(
        friends.receive_broadcast(line.clone(), NOW + MINUTE).unwrap(),
        Receipt::New(_)
    ));
    assert_eq!(friends.receive_broadcast(line, NOW + MINUTE).unwrap(), Receipt::Known);
    for time in [NOW - MAX_TIME_APART_MS - 1, NOW + MAX_TIME_APART_MS + 1] {
        let error = friends.receive_broadcast(yjf.line(None, "late", time, 1), NOW).unwrap_err();
        assert!(matches!(error, ReceiveError::Stale { .. }), "{error:?}");
        assert_eq!(error.offence(), None);
    }
    let ours = friends.broadcast("hello", NOW).unwrap();
    assert_eq!(
        friends.receive_broadcast(ours.line, NOW).unwrap(),
        Receipt::Known,
        "our own, come back"
    );
    assert_eq!(texts(&friends.history(None, 10).unwrap()), ["hello all", "hello"]);
    assert_eq!(texts(&friends.history(Some(&yjf.peer), 10).unwrap()), ["hello all"]);
    assert_eq!(texts(&friends.history(None, 1).unwrap()), ["hello"], "the last ones");
}

#[test]
fn strangers_who_flood_are_ignored_and_friends_are_still_heard() {
    let (mut friends, yjf, stranger) = (friends(), Key::new(1), Key::new(2));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    let refused = (0..150)
        .filter_map(|counter| {
            friends.receive_broadcast(stranger.line(None, "buy", NOW, counter), NOW).err()
        })
        .map(|error| (error.refusal(), error.offence()));
    assert_eq!(refused.collect::<Vec<_>>(), [(Some(Refusal::RateLimited), None); 50]);
    assert!(friends.receive_broadcast(yjf.line(None, "hello", NOW, 0), NOW).is_ok());
}

#[test]
fn an_author_that_uses_up_the_strangers_rate_does_not_silence_other_strangers() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    let (loud, quiet, by) = (Key::new(2), Key::new(3), [Key::new(4), Key::new(5)]);
    let forwarded = (0..150)
        .filter(|counter| {
            let line = loud.line(None, "buy", NOW, *counter);
            friends.hear_line(by[0].peer, line, NOW).unwrap()
        })
        .count();
    assert_eq!(forwarded, 110, "the loud one is bounded too");
    let line = quiet.line(None, "hello", NOW, 0);
    assert!(!friends.hear_line(by[0].peer, line.clone(), NOW).unwrap());
    assert!(friends.hear_line(by[1].peer, line, NOW).unwrap());
    assert!(friends.hear_quit(by[1].peer, &quiet.quit(NOW), NOW).unwrap());
    assert!(friends.requests(1_000).iter().all(|kept| kept.text != "hello"), "it is not kept");
    let forged = SignedLine { text: "bye".to_owned(), ..quiet.line(None, "hello", NOW, 1) };
    assert!(friends.hear_line(by[1].peer, forged, NOW).is_err());
    // An introduced peer has no part in the strangers' rate, and no second one.
    let sr = Key::new(6);
    friends.keep_profile(sr.profile("sr", NOW), yjf.peer, NOW).unwrap();
    let many = (0..60).filter_map(|counter| {
        friends.hear_line(by[1].peer, sr.line(None, "hi", NOW, counter), NOW).ok()
    });
    assert_eq!(many.count(), 50);
}

#[test]
fn what_the_history_drops_leaves_nothing_behind_and_still_waits_in_the_outbox() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    let first = friends.direct(yjf.peer, "one", NOW).unwrap();
    friends.receive_direct(yjf.peer, yjf.line(Some(friends.me), "two", NOW, 0), NOW).unwrap();
    let Friends { store, lines, .. } = &mut friends;
    let conversation = conversations::Conversation { with: yjf.peer, is_direct: true };
    store.write(|tables| lines.drop_oldest(tables, conversation)).unwrap();
    assert_eq!(texts(&friends.history(Some(&yjf.peer), 10).unwrap()), ["two"]);
    assert_eq!(texts(&friends.history(None, 10).unwrap()), ["two"]);
    assert_eq!(friends.outbox_for(&yjf.peer, 10).unwrap(), std::slice::from_ref(&first));
    assert!(friends.delivered(yjf.peer, first.id).unwrap());
    assert_eq!(friends.outbox_peers().unwrap(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Runs two nodes through any mix of writing, delivering, redelivering and lost replies. Each
    /// line arrives once and in order, and the outbox is empty at the end.
    #[test]
    fn every_line_lands_exactly_once(steps in proptest::collection::vec(0..4_u8, 1..40)) {
        let (one, other) = (Key::new(0), Key::new(1));
        let mut sender = Friends::in_memory(one.config(NETWORK)).unwrap();
        let mut receiver = Friends::in_memory(other.config(NETWORK)).unwrap();
        receiver.trust.accept(one.peer);
        let mut written = 0;
        let deliver = |sender: &mut Friends, receiver: &mut Friends, answered: bool| {
            for SentLine { id, line } in sender.outbox_for(&other.peer, 2).unwrap() {
                receiver.receive_direct(one.peer, line, NOW).unwrap();
                if answered {
                    sender.delivered(other.peer, id).unwrap();
                }
            }
        };
        for step in steps {
            match step {
                0 | 1 => {
                    sender.direct(other.peer, &format!("line {written}"), NOW).unwrap();
                    written += 1;
                }
                2 => deliver(&mut sender, &mut receiver, false),
                _ => deliver(&mut sender, &mut receiver, true),
            }
        }
        while !sender.outbox_peers().unwrap().is_empty() {
            deliver(&mut sender, &mut receiver, true);
        }
        let history = receiver.history(Some(&one.peer), 100).unwrap();
        let expected: Vec<_> = (0..written).map(|number| format!("line {number}")).collect();
        prop_assert_eq!(texts(&history), expected);
        let ids: HashSet<_> = history.iter().map(|record| record.id).collect();
        prop_assert_eq!(ids.len(), written);
    }
}
