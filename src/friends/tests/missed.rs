//! Tests of missed lines, the order of an author's lines, the search, and unread lines.

use std::slice::from_ref;

use super::*;
use crate::{
    friends::{chat::MAX_TIME_APART_MS, conversations::KEPT_MS},
    wire::LineIds,
};

const HOUR: u64 = 60 * MINUTE;

/// Returns the ids and lines that a peer of this level sends to a newcomer that has none.
fn told(friends: &Friends, to: &Key) -> (Vec<MessageId>, Vec<SignedLine>) {
    let LineIds { ids, .. } = friends.line_ids(&to.peer, 0, NOW).unwrap();
    let ids: Vec<_> = ids.as_chunks::<16>().0.iter().map(|id| MessageId(*id)).collect();
    let lines = friends.lines(&to.peer, &ids, NOW).unwrap();
    (ids, lines)
}

fn answer(lines: &[SignedLine]) -> Answer {
    let asked = lines.iter().map(|line| line.id(&NETWORK)).collect();
    Answer { asked, lines: lines.to_vec(), their_clock: NOW }
}

fn node(seed: u32) -> Friends {
    Friends::in_memory(Key::new(seed).config(NETWORK)).unwrap()
}

#[test]
fn who_comes_back_gets_what_it_missed_from_any_friend_once_and_in_order() {
    let (mut ann, mut bob) = (node(1), node(2));
    let (yjf, a, b) = (Key::new(3), Key::new(1), Key::new(2));
    for (friends, other) in [(&mut ann, &b), (&mut bob, &a)] {
        friends.befriend(other.profile("other", NOW), NOW).unwrap();
        friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    }
    // Ann receives yjf's lines, whose clock is set back in between. Bob receives only the last one.
    let lines = [(NOW - 9, 1), (NOW - MAX_TIME_APART_MS, 2), (NOW - 7, 3)]
        .map(|(time, counter)| yjf.line(None, &format!("line {counter}"), time, counter));
    for line in &lines {
        ann.receive_broadcast(line.clone(), NOW).unwrap();
    }
    ann.broadcast("and mine", NOW).unwrap();
    ann.direct(b.peer, "not for all", NOW).unwrap();
    bob.receive_broadcast(lines[2].clone(), NOW).unwrap();

    let (ids, all) = told(&ann, &b);
    assert_eq!((ids.len(), all.len()), (4, 4), "no direct line is told");
    let wanted = bob.unknown_lines(ids).unwrap();
    assert_eq!(wanted.len(), 3);
    let lines = ann.lines(&b.peer, &wanted, NOW).unwrap();
    let got = Answer { asked: wanted, lines, their_clock: NOW };
    let receipt = bob.receive_missed(got.clone(), NOW + HOUR).unwrap();
    assert_eq!(receipt, Missed { stored: 3, is_cut: false });
    let again = bob.receive_missed(got, NOW + HOUR).unwrap();
    assert_eq!(again, Missed::default(), "each once");
    let history = bob.history(None, 10).unwrap();
    assert_eq!(texts(&history), ["line 1", "line 2", "line 3", "and mine"]);
    assert_eq!(texts(&bob.history(None, 2).unwrap()), ["line 3", "and mine"]);
    assert_eq!(texts(&bob.history(Some(&yjf.peer), 10).unwrap()), ["line 1", "line 2", "line 3"]);
    assert_eq!(told(&bob, &a).0.len(), 4, "and tells it to others");
}

#[test]
fn direct_lines_and_lines_to_all_of_one_author_are_listed_in_the_order_written() {
    let (mut friends, yjf, sr) = (friends(), Key::new(1), Key::new(2));
    for key in [&yjf, &sr] {
        friends.befriend(key.profile("friend", NOW), NOW).unwrap();
    }
    let me = Some(friends.me);
    for (counter, text) in [(1, "one"), (3, "five")] {
        friends.receive_direct(yjf.peer, yjf.line(me, text, NOW, counter), NOW).unwrap();
    }
    friends.receive_direct(sr.peer, sr.line(me, "six", NOW, 1), NOW).unwrap();
    friends.receive_broadcast(yjf.line(None, "two to all", NOW, 2), NOW).unwrap();
    let all = friends.history(None, 10).unwrap();
    assert_eq!(texts(&all), ["one", "two to all", "six", "five"]);
    let with = friends.history(Some(&yjf.peer), 10).unwrap();
    assert_eq!(texts(&with), ["one", "two to all", "five"]);
}

#[test]
fn a_list_is_told_in_pages_and_to_nobody_unknown() {
    let (mut friends, yjf, stranger) = (friends(), Key::new(1), Key::new(2));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    friends.begin_batch();
    for _ in 0..1_030 {
        friends.broadcast("x", NOW).unwrap();
    }
    friends.commit_batch();
    let mut place = 0;
    let mut counts = Vec::new();
    loop {
        let page = friends.line_ids(&yjf.peer, place, NOW).unwrap();
        if page.next == place {
            assert!(page.ids.is_empty());
            break;
        }
        counts.push(page.ids.len() / 16);
        place = page.next;
    }
    assert_eq!(counts, [1_024, 6]);
    let page = friends.line_ids(&stranger.peer, 0, NOW).unwrap();
    assert_eq!((page.ids.len(), page.next), (0, 0));
    let ids = [told(&friends, &yjf).0[0]];
    assert!(friends.lines(&stranger.peer, &ids, NOW).unwrap().is_empty());
    assert!(told(&friends, &yjf).0.len() > 1);
    let late = friends.line_ids(&yjf.peer, 0, NOW + KEPT_MS + 1).unwrap();
    assert!(late.ids.is_empty(), "after 30 days no longer");
}

#[test]
fn a_peer_that_tells_what_no_honest_one_would_is_charged() {
    let (mut friends, yjf, sr) = (friends(), Key::new(1), Key::new(2));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    let (one, two) = (yjf.line(None, "one", NOW, 1), yjf.line(None, "two", NOW, 2));
    let forged = SignedLine { author: sr.peer, ..one.clone() };
    let direct = yjf.line(Some(friends.me), "psst", NOW, 3);
    let old = yjf.line(None, "old", NOW - 32 * 24 * HOUR, 4);
    let future = yjf.line(None, "soon", NOW + HOUR, 5);
    let blank = yjf.line(None, " ", NOW, 6);
    let twice = Answer { lines: vec![one.clone(), one.clone()], ..answer(from_ref(&one)) };
    let turned = Answer { lines: vec![two.clone(), one.clone()], ..answer(&[one.clone(), two]) };
    let unasked = Answer { asked: vec![], ..answer(from_ref(&one)) };
    for (answer, offence) in [
        (answer(&[forged]), Offence::BadSignature),
        (answer(&[direct]), Offence::NotTheAuthor),
        (answer(&[old]), Offence::WrongAnswer),
        (answer(&[future]), Offence::WrongAnswer),
        (answer(&[blank]), Offence::InvalidText),
        (twice, Offence::WrongAnswer),
        (turned, Offence::WrongAnswer),
        (unasked, Offence::WrongAnswer),
    ] {
        let error = friends.receive_missed(answer, NOW).unwrap_err();
        assert_eq!(error.offence(), Some(offence), "{error}");
    }
    // If our own clock is wrong, nobody is at fault.
    for now in [NOW + 2 * KEPT_MS, NOW - HOUR] {
        let receipt = friends.receive_missed(answer(&[yjf.line(None, "x", NOW, 7)]), now).unwrap();
        assert_eq!(receipt, Missed::default());
    }
}

#[test]
fn missed_lines_of_strangers_and_banned_authors_follow_the_rules_of_gossip() {
    let (mut friends, yjf, stranger) = (friends(), Key::new(1), Key::new(2));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    let lines: Vec<_> = (0..9).map(|n| stranger.line(None, &format!("buy {n}"), NOW, n)).collect();
    assert_eq!(friends.receive_missed(answer(&lines), NOW).unwrap().stored, 0);
    assert_eq!(texts(&friends.requests(10)), ["buy 0", "buy 1", "buy 2", "buy 3", "buy 4"]);
    assert!(told(&friends, &yjf).0.is_empty(), "nothing of a stranger is passed on");
    friends.receive_broadcast(yjf.line(None, "before", NOW, 1), NOW).unwrap();
    friends.keep_ban(Ban { peer: yjf.peer, term: BanTerm::Forever }).unwrap();
    let line = yjf.line(None, "during", NOW, 2);
    assert_eq!(friends.receive_missed(answer(&[line]), NOW).unwrap(), Missed::default());
    let sr = Key::new(3);
    friends.befriend(sr.profile("sr", NOW), NOW).unwrap();
    assert!(told(&friends, &sr).0.is_empty());
    assert_eq!(texts(&friends.history(None, 10).unwrap()), ["before"]);
}

#[test]
fn missed_lines_push_no_other_line_out() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    friends.receive_broadcast(yjf.line(None, "new", NOW, 9), NOW).unwrap();
    friends.lines.fill(conversations::Conversation { with: yjf.peer, is_direct: false });
    let line = yjf.line(None, "old", NOW, 1);
    assert_eq!(friends.receive_missed(answer(&[line]), NOW).unwrap(), Missed::default());
    assert_eq!(texts(&friends.history(None, 10).unwrap()), ["new"]);
}

#[test]
fn own_lines_keep_their_order_though_the_clock_is_set_back_or_the_file_is_lost() {
    let mut friends = friends();
    let counters: Vec<_> = [NOW, NOW - HOUR, NOW + 5, NOW + 5]
        .map(|now| friends.broadcast("x", now).unwrap().line.counter)
        .to_vec();
    assert!(counters.is_sorted_by(|one, other| one < other), "{counters:?}");
    let mut anew = Friends::in_memory(Key::new(0).config(NETWORK)).unwrap();
    let next = anew.broadcast("x", NOW + MINUTE).unwrap().line.counter;
    assert!(next > counters[3], "a new file counts on");
}

#[test]
fn a_text_is_kept_and_passed_on_as_written() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    let text = "👩\u{200d}🚀 می\u{200c}خواهم\n\tnext \u{202e}line\u{1b}[31m";
    friends.receive_direct(yjf.peer, yjf.line(Some(friends.me), text, NOW, 1), NOW).unwrap();
    friends.broadcast(text, NOW).unwrap();
    assert_eq!(texts(&friends.history(None, 10).unwrap()), [text, text]);
    assert_eq!(told(&friends, &yjf).1[0].text, text);
}

#[test]
fn a_search_finds_lines_in_any_case_and_goes_on_where_it_ended() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    friends.begin_batch();
    friends.broadcast("first TEA", NOW).unwrap();
    for _ in 0..2_500 {
        friends.broadcast("x", NOW).unwrap();
    }
    friends.direct(yjf.peer, "Tea, at five?", NOW).unwrap();
    friends.broadcast("last tea", NOW).unwrap();
    friends.commit_batch();
    let found = friends.search(None, "tEa", u64::MAX, 10).unwrap();
    assert_eq!(texts(&found.records), ["last tea", "Tea, at five?"]);
    let rest = friends.search(None, "tea", found.before.unwrap(), 10).unwrap();
    assert_eq!((texts(&rest.records), rest.before), (vec!["first TEA"], None));
    let one = friends.search(None, "tea", u64::MAX, 1).unwrap();
    let next = friends.search(None, "tea", one.before.unwrap(), 1).unwrap();
    assert_eq!(texts(&next.records), ["Tea, at five?"]);
    let with = friends.search(Some(&yjf.peer), "tea", u64::MAX, 10).unwrap();
    assert_eq!((texts(&with.records), with.before), (vec!["Tea, at five?"], None));
}

#[test]
fn received_lines_are_unread_until_they_are_marked_also_in_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("friends.redb");
    let (me, yjf, sr) = (Key::new(0), Key::new(1), Key::new(2));
    let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
    for (key, name) in [(&yjf, "yjf"), (&sr, "sr")] {
        friends.befriend(key.profile(name, NOW), NOW).unwrap();
    }
    friends.broadcast("mine", NOW).unwrap();
    friends.receive_broadcast(yjf.line(None, "to all", NOW, 1), NOW).unwrap();
    friends.receive_direct(sr.peer, sr.line(Some(me.peer), "psst", NOW, 1), NOW).unwrap();
    assert_eq!(friends.unread(None).unwrap(), 2);
    assert_eq!(friends.unread(Some(&yjf.peer)).unwrap(), 1);
    assert_eq!(friends.mark_read().unwrap(), 2);
    drop(friends);
    let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
    assert_eq!((friends.unread(None).unwrap(), friends.mark_read().unwrap()), (0, 0));
    friends.trust.accept(yjf.peer);
    friends.receive_missed(answer(&[yjf.line(None, "late", NOW, 0)]), NOW).unwrap();
    assert_eq!(friends.unread(Some(&yjf.peer)).unwrap(), 1);
    assert_eq!(texts(&friends.history(Some(&yjf.peer), 10).unwrap()), ["late", "to all"]);
}
