//! Tests of sealed lines: left by their author, kept by a friend, and received once.

use redb::ReadableTableMetadata as _;

use super::*;
use crate::{
    friends::{
        KeepError, KeptLine, SealedError, ToLeave,
        kept::{KEPT_SEALED_MS, MAX_KEPT, MAX_KEPT_BETWEEN, MAX_KEPT_FOR_ONE, MAX_KEPT_OF_ONE},
        sealed::MAX_SEALED_APART_MS,
    },
    wire::{OpenError, SealedLine, Secret},
};

fn node(seed: u32) -> Friends {
    Friends::in_memory(Key::new(seed).config(NETWORK)).unwrap()
}

/// Returns the node of `seed`, whose user has the others as friends.
fn node_with(seed: u32, friends: &[u32]) -> Friends {
    let mut node = node(seed);
    for other in friends {
        let other = Key::new(*other);
        node.befriend(other.profile(&format!("friend{}", other.peer.suffix(8)), NOW), NOW).unwrap();
    }
    node
}

fn seal(line: &SignedLine) -> SealedLine {
    SealedLine::seal(&NETWORK, line, &Secret::new([3; 32])).unwrap()
}

/// Returns a sealed line from one peer to another.
fn sealed(from: u32, to: u32, counter: u64) -> SealedLine {
    let to = Some(Key::new(to).peer);
    seal(&Key::new(from).line(to, &format!("line {counter}"), NOW, counter))
}

/// Fills a share of a node with copies of one box. Returns how many fit.
fn fill(node: &mut Friends, by: u32, to: u32) -> (usize, KeepError) {
    let (by, line) = (Key::new(by).peer, sealed(by, to, 1));
    node.begin_batch();
    let mut count = 0;
    let error = loop {
        match node.keep_sealed(by, &line, NOW) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    node.commit_batch();
    (count, error)
}

#[test]
fn a_line_for_who_is_away_arrives_by_mutual_friends_once_and_in_order() {
    let [a, b, c, d] = [1, 2, 3, 4].map(|seed| Key::new(seed).peer);
    let mut author = node_with(1, &[2, 3, 4]);
    let mut carriers = [(c, node_with(3, &[1, 2])), (d, node_with(4, &[1, 2]))];
    let mut receiver = node_with(2, &[1, 3, 4]);
    let texts_sent = ["one", "two", "three"];
    for text in texts_sent {
        author.direct(b, text, NOW).unwrap();
    }
    for (carrier, node) in &mut carriers {
        for ToLeave { id, sealed, with } in author.to_leave(&b, &[*carrier], 16, NOW).unwrap() {
            assert!(!with.contains(carrier));
            node.keep_sealed(a, &sealed, NOW).unwrap();
            author.left_with(b, id, &[*carrier], NOW).unwrap();
        }
        assert_eq!(node.kept.count().load(std::sync::atomic::Ordering::Relaxed), 3);
    }
    assert_eq!(author.to_leave(&b, &[c, d], 16, NOW).unwrap(), [], "both have all");
    let history = author.history(None, 10).unwrap();
    assert!(history.iter().all(|line| (line.state, line.left_with) == (LineState::Queued, 2)));

    for (carrier, node) in &mut carriers {
        let kept = node.kept_for(&b, 16).unwrap();
        assert_eq!(kept.len(), 3);
        for KeptLine { order, line } in kept {
            receiver.receive_sealed(*carrier, &line, NOW).unwrap();
            node.drop_kept(b, order).unwrap();
        }
        assert_eq!(node.kept_for(&b, 16).unwrap(), []);
    }
    assert_eq!(texts(&receiver.history(None, 10).unwrap()), texts_sent);
    // The author is back, and gets the confirmation from the receiver itself.
    for sent in author.outbox_for(&b, 16).unwrap() {
        assert_eq!(receiver.receive_direct(a, sent.line, NOW).unwrap(), Receipt::Known);
        assert!(author.delivered(b, sent.id).unwrap());
    }
    assert_eq!(texts(&receiver.history(None, 10).unwrap()), texts_sent);
    let history = author.history(None, 10).unwrap();
    assert!(history.iter().all(|line| (line.state, line.left_with) == (LineState::Delivered, 0)));
    let rows = author.store.view(|tables| Ok::<_, StoreFault>(tables.left.len()?));
    assert_eq!(rows.unwrap(), 0, "nothing is remembered of lines that arrived");
}

#[test]
fn a_line_is_left_with_three_friends_at_most_and_not_when_it_is_old() {
    let (mut author, b) = (node_with(1, &[2]), Key::new(2).peer);
    let carriers: Vec<PeerId> = (3..8).map(|seed| Key::new(seed).peer).collect();
    let id = author.direct(b, "hello", NOW).unwrap().id;
    let mut events = author.events.subscribe();
    author.left_with(b, id, &carriers[..2], NOW).unwrap();
    assert!(matches!(events.try_recv(), Ok(FriendsEvent::LeftWith { friends: 2, .. })));
    let lacking = author.to_leave(&b, &carriers, 16, NOW).unwrap();
    assert_eq!(lacking[0].with.len(), 2, "a third one may keep it");
    assert_eq!(author.to_leave(&b, &carriers[..2], 16, NOW).unwrap(), [], "they have it");
    author.left_with(b, id, &carriers[2..3], NOW).unwrap();
    assert_eq!(author.to_leave(&b, &carriers, 16, NOW).unwrap(), []);

    author.direct(b, "old", NOW).unwrap();
    let later = NOW + KEPT_SEALED_MS;
    assert_eq!(author.to_leave(&b, &carriers, 16, later).unwrap().len(), 1);
    assert_eq!(author.to_leave(&b, &carriers, 16, later + 1).unwrap(), []);
    for text in 0..20 {
        author.direct(b, &text.to_string(), NOW).unwrap();
    }
    assert_eq!(author.to_leave(&b, &carriers, 16, NOW).unwrap().len(), 16);
}

#[test]
fn nothing_is_kept_for_or_of_anybody_but_two_friends() {
    let mut carrier = node_with(3, &[1, 2]);
    let by = |seed: u32| Key::new(seed).peer;
    let refused = |carrier: &mut Friends, from: u32, to: u32| {
        let error = carrier.keep_sealed(by(from), &sealed(from, to, 1), NOW).unwrap_err();
        assert_eq!(error.refusal(), Some(Refusal::NotMine), "{from} to {to}");
    };
    refused(&mut carrier, 9, 2);
    refused(&mut carrier, 1, 9);
    carrier.keep_sealed(by(1), &sealed(1, 2, 1), NOW).unwrap();
    // A line to its own author, and a line to the carrier itself.
    refused(&mut carrier, 1, 1);
    refused(&mut carrier, 1, 3);
    carrier.keep_sealed(by(2), &sealed(2, 1, 1), NOW).unwrap();
    carrier.block(&by(1).to_string(), NOW).unwrap();
    assert_eq!(carrier.kept_for(&by(2), 16).unwrap(), [], "whoever is blocked is not helped");
    refused(&mut carrier, 1, 2);
    refused(&mut carrier, 2, 1);
    carrier.unblock(&by(1).to_string()).unwrap();
    carrier.keep_sealed(by(1), &sealed(1, 2, 1), NOW).unwrap();
    carrier.forget(&by(2).to_string(), NOW).unwrap();
    assert_eq!(carrier.kept_for(&by(2), 16).unwrap(), []);
    assert_eq!(carrier.kept.count().load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn each_share_has_a_bound_and_none_pushes_out_a_line_of_another() {
    let all: Vec<u32> = (1..24).collect();
    let mut carrier = node_with(0, &all);
    let full = |(count, error): (usize, KeepError), limit: usize, expected: usize| {
        assert_eq!(count, expected, "{error}");
        assert!(matches!(error, KeepError::Full { limit: told, .. } if told == limit), "{error}");
        assert_eq!(error.refusal(), Some(Refusal::RateLimited));
    };
    full(fill(&mut carrier, 1, 2), MAX_KEPT_BETWEEN, MAX_KEPT_BETWEEN);
    full(fill(&mut carrier, 1, 3), MAX_KEPT_BETWEEN, MAX_KEPT_BETWEEN);
    full(fill(&mut carrier, 1, 4), MAX_KEPT_OF_ONE, 0);
    // The receiver's limit: four senders fill it, and the fifth finds no room.
    for by in [3, 4, 5] {
        full(fill(&mut carrier, by, 2), MAX_KEPT_BETWEEN, MAX_KEPT_BETWEEN);
    }
    assert_eq!(MAX_KEPT_FOR_ONE, 4 * MAX_KEPT_BETWEEN);
    full(fill(&mut carrier, 6, 2), MAX_KEPT_FOR_ONE, 0);
    let of_one = carrier.kept_for(&Key::new(2).peer, 2_000).unwrap();
    assert_eq!(of_one.len(), MAX_KEPT_FOR_ONE);
    let orders: Vec<u64> = of_one.iter().map(|kept| kept.order).collect();
    assert!(orders.is_sorted());
    // The node's limit.
    let mut kept = 5 * MAX_KEPT_BETWEEN;
    'all: for by in 6..24 {
        for to in [by % 17 + 7, (by + 5) % 17 + 7] {
            if to == by {
                continue;
            }
            let (count, error) = fill(&mut carrier, by, to);
            kept += count;
            if matches!(error, KeepError::Full { limit: MAX_KEPT, .. }) {
                break 'all;
            }
        }
    }
    assert_eq!(kept, MAX_KEPT);
}

#[test]
fn a_kept_line_survives_a_restart_and_is_dropped_after_7_days() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("friends.redb");
    let b = Key::new(2).peer;
    let trust = || Trust::new([Key::new(1).peer, b], false);
    let config = || FriendsConfig { trust: trust(), ..Key::new(0).config(NETWORK) };
    let line = sealed(1, 2, 1);
    let mut carrier = Friends::open(&path, config()).unwrap();
    carrier.keep_sealed(Key::new(1).peer, &line, NOW).unwrap();
    drop(carrier);
    let mut carrier = Friends::open(&path, config()).unwrap();
    assert_eq!(carrier.kept_for(&b, 16).unwrap()[0].line, line);
    carrier.drop_old_kept(NOW + KEPT_SEALED_MS).unwrap();
    assert_eq!(carrier.kept_for(&b, 16).unwrap().len(), 1);
    carrier.drop_old_kept(NOW + KEPT_SEALED_MS + 1).unwrap();
    assert_eq!(carrier.kept_for(&b, 16).unwrap(), []);
    drop(carrier);
    assert_eq!(Friends::open(&path, config()).unwrap().kept_for(&b, 16).unwrap(), []);
}

#[test]
fn a_carrier_can_neither_change_a_line_nor_show_it_again() {
    let (mut receiver, c) = (node_with(2, &[1, 3]), Key::new(3).peer);
    let line = sealed(1, 2, 1);
    for at in [0, 1, 33, 100, line.sealed.len() - 1] {
        let mut changed = line.clone();
        changed.sealed[at] ^= 1;
        let error = receiver.receive_sealed(c, &changed, NOW).unwrap_err();
        assert!(matches!(error, SealedError::Open(_)), "byte {at}: {error:?}");
        assert_eq!(error.refusal(), Some(Refusal::Invalid));
    }
    let another = SealedLine { to: Key::new(2).peer, ..sealed(1, 3, 1) };
    let error = receiver.receive_sealed(c, &another, NOW).unwrap_err();
    assert!(matches!(error, SealedError::Open(OpenError::Closed)));
    assert!(matches!(receiver.receive_sealed(c, &line, NOW), Ok(Receipt::New(_))));
    for _ in 0..3 {
        assert_eq!(receiver.receive_sealed(c, &line, NOW).unwrap(), Receipt::Known);
    }
    // A copy that was held back until the history may have dropped the line.
    for now in [NOW + MAX_SEALED_APART_MS + 1, NOW - MAX_SEALED_APART_MS - 1] {
        let error = receiver.receive_sealed(c, &line, now).unwrap_err();
        assert_eq!(error.refusal(), Some(Refusal::Stale));
    }
    assert_eq!(texts(&receiver.history(None, 10).unwrap()), ["line 1"]);
}

#[test]
fn a_line_that_a_full_conversation_has_dropped_is_not_shown_again() {
    let (mut receiver, c) = (node_with(2, &[1, 3]), Key::new(3).peer);
    for counter in [5, 6] {
        receiver.receive_sealed(c, &sealed(1, 2, counter), NOW).unwrap();
    }
    let with = Key::new(1).peer;
    receiver.lines.fill(conversations::Conversation { with, is_direct: true });
    assert_eq!(receiver.receive_sealed(c, &sealed(1, 2, 4), NOW).unwrap(), Receipt::Known);
    let newer = receiver.receive_sealed(c, &sealed(1, 2, 7), NOW);
    assert!(matches!(newer, Ok(Receipt::New(_))));
}

#[test]
fn a_sealed_line_is_taken_from_friends_and_judged_by_its_author() {
    let (mut receiver, c) = (node_with(2, &[3, 1]), Key::new(3).peer);
    let stranger = Key::new(9);
    let error = receiver.receive_sealed(stranger.peer, &sealed(1, 2, 1), NOW).unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::NotMine), "a stranger brings nothing");
    let other = receiver.receive_sealed(c, &sealed(1, 4, 1), NOW).unwrap_err();
    assert_eq!(other.refusal(), Some(Refusal::NotMine));
    // A line in another's name. Anybody can seal.
    let forged = SignedLine {
        author: Key::new(1).peer,
        ..stranger.line(Some(Key::new(2).peer), "I", NOW, 1)
    };
    let error = receiver.receive_sealed(c, &seal(&forged), NOW).unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::BadSignature));
    // Lines of a stranger go into the box of requests. Lines that do not fit are dropped, and their
    // carrier need not keep them.
    for counter in 0..20 {
        let received = receiver.receive_sealed(c, &sealed(9, 2, counter), NOW).unwrap();
        assert_eq!(received == Receipt::Request, counter < 5, "{counter}");
    }
    assert_eq!(receiver.requests(100).len(), 5);
    // A blocked author's line is dropped, and the carrier does not learn it.
    receiver.block(&Key::new(1).peer.to_string(), NOW).unwrap();
    assert_eq!(receiver.receive_sealed(c, &sealed(1, 2, 1), NOW).unwrap(), Receipt::Known);
    assert_eq!(receiver.history(None, 10).unwrap(), []);
}
