//! Friends as the node uses them: profiles, names, presence, chat, restarts.

mod crash;

use std::{collections::HashSet, fmt::Write as _};

use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;

use super::*;
use crate::{
    consensus::Blame,
    primitives::{BlockHash, Owner},
    wire::{SignedLine, SignedQuit},
};

const NETWORK: NetworkId = BlockHash([7; 32]);
const OTHER_NETWORK: NetworkId = BlockHash([8; 32]);
const NOW: UnixMillis = 1_700_000_000_000;
const MINUTE: u64 = 60_000;

struct Key {
    peer: PeerId,
    key: SigningKey,
}

impl Key {
    fn new(seed: u32) -> Self {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&seed.to_le_bytes());
        let key = SigningKey::from_bytes(&bytes);
        Self { peer: PeerId(PublicKey(key.verifying_key().to_bytes())), key }
    }

    fn sign(&self, bytes: &[u8]) -> Signature {
        Signature(self.key.sign(bytes).to_bytes())
    }

    fn config(&self, network: NetworkId) -> FriendsConfig {
        let key = self.key.clone();
        FriendsConfig {
            me: self.peer,
            network,
            signer: Box::new(move |bytes| Signature(key.sign(bytes).to_bytes())),
        }
    }

    fn profile(&self, name: &str, sequence: UnixMillis) -> SignedProfile {
        let payment = Some(self.peer.0.owner());
        let addresses = vec!["/ip4/10.0.0.1/tcp/8891".to_owned()];
        SignedProfile::sign(&NETWORK, self.peer, name, addresses, payment, sequence, &|bytes| {
            self.sign(bytes)
        })
        .unwrap()
    }

    fn line(&self, to: Option<PeerId>, text: &str, time: UnixMillis, counter: u64) -> SignedLine {
        SignedLine::sign(&NETWORK, self.peer, to, time, counter, text, &|bytes| self.sign(bytes))
            .unwrap()
    }

    fn quit(&self, time: UnixMillis) -> SignedQuit {
        SignedQuit::sign(&NETWORK, self.peer, time, 0, &|bytes| self.sign(bytes))
    }
}

/// Our node, called yzw, whose key is 0.
fn friends() -> Friends {
    let mut friends = Friends::in_memory(Key::new(0).config(NETWORK)).unwrap();
    friends.set_own_profile("yzw", &[], None, NOW).unwrap();
    friends
}

/// Keys whose ids begin with the same 4 hex digits.
fn keys_of_one_suffix() -> (Key, Key) {
    let mut seen = HashMap::new();
    for seed in 100.. {
        if let Some(other) = seen.insert(Key::new(seed).peer.suffix(4), seed) {
            return (Key::new(other), Key::new(seed));
        }
    }
    unreachable!()
}

fn texts(records: &[ChatRecord]) -> Vec<&str> {
    records.iter().map(|record| record.text.as_str()).collect()
}

#[test]
fn a_profile_is_kept_when_new_or_newer_and_else_left() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    let profile = yjf.profile("yjf", NOW);
    assert_eq!(friends.keep_profile(profile.clone(), NOW).unwrap(), ProfileReceipt::New);
    assert_eq!(friends.keep_profile(profile, NOW).unwrap(), ProfileReceipt::Known);
    assert_eq!(
        friends.keep_profile(yjf.profile("old", NOW - 1), NOW).unwrap(),
        ProfileReceipt::Old
    );
    assert_eq!(
        friends.keep_profile(yjf.profile("fang", NOW + 1), NOW).unwrap(),
        ProfileReceipt::Updated
    );
    assert_eq!(friends.friend(&yjf.peer).unwrap().name, "fang");
    assert_eq!(
        friends.keep_profile(Key::new(0).profile("me", NOW + 9), NOW).unwrap(),
        ProfileReceipt::Own
    );
}

#[test]
fn a_bad_profile_is_refused_by_name_and_blame() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    let forged = SignedProfile { name: "sr".to_owned(), ..yjf.profile("yjf", NOW) };
    let error = friends.keep_profile(forged, NOW).unwrap_err();
    assert_eq!((error.code(), error.blame()), ("bad_signature", Blame::Peer));
    assert_eq!(error.refusal(), Some(Refusal::BadSignature));

    let error = friends.keep_profile(yjf.profile("a b", NOW), NOW).unwrap_err();
    assert_eq!((error.code(), error.blame()), ("bad_name", Blame::Peer));

    for address in ["10.0.0.1:80", "", "/", "/ip4/10.0.0.1/tcp/1/p2p/12D3KooW", "/ip4/\u{1b}[2J"] {
        let addresses = vec![address.to_owned()];
        let profile =
            SignedProfile::sign(&NETWORK, yjf.peer, "yjf", addresses, None, NOW, &|bytes| {
                yjf.sign(bytes)
            })
            .unwrap();
        assert_eq!(
            friends.keep_profile(profile, NOW).unwrap_err().code(),
            "bad_address",
            "{address}"
        );
    }

    let error = friends.keep_profile(yjf.profile("yjf", NOW + MAX_AHEAD_MS + 1), NOW).unwrap_err();
    assert_eq!((error.code(), error.blame()), ("too_far_ahead", Blame::Nobody));
    assert_eq!(friends.list(), []);
}

#[test]
fn our_own_profile_counts_up_and_is_signed_anew_only_when_it_changes() {
    let mut friends = Friends::in_memory(Key::new(0).config(NETWORK)).unwrap();
    let listen = ["/ip4/10.0.0.1/tcp/1/p2p/12D3KooWx".to_owned(), "/ip4/10.0.0.1/tcp/1".to_owned()];
    let first = friends.set_own_profile("yzw", &listen, None, NOW).unwrap();
    first.verify(&NETWORK).unwrap();
    assert_eq!(
        first.addresses,
        ["/ip4/10.0.0.1/tcp/1"],
        "the peer id is taken off, and the double"
    );
    assert_eq!(friends.set_own_profile("yzw", &listen, None, NOW + 5).unwrap(), first);
    let second = friends.set_own_profile("yzw", &listen, Some(Owner([1; 20])), NOW - 5).unwrap();
    assert_eq!(second.sequence, NOW + 1, "a clock that went back does not make it older");
    assert!(friends.set_own_profile("fc1", &[], None, NOW).is_err());
}

#[test]
fn joining_is_told_once_when_both_connection_and_profile_are_there() {
    for profile_first in [true, false] {
        let (mut friends, yjf) = (friends(), Key::new(1));
        let mut events = friends.subscribe();
        if profile_first {
            friends.keep_profile(yjf.profile("yjf", NOW), NOW).unwrap();
        }
        friends.online(yjf.peer, NOW).unwrap();
        friends.online(yjf.peer, NOW).unwrap();
        friends.keep_profile(yjf.profile("yjf", NOW), NOW).unwrap();
        friends.keep_profile(yjf.profile("yjf", NOW + 1), NOW).unwrap();
        friends.offline(yjf.peer, Departure::Lost, NOW + MINUTE).unwrap();
        friends.offline(yjf.peer, Departure::Lost, NOW + MINUTE).unwrap();

        let (peer, name) = (yjf.peer, "yjf".to_owned());
        assert_eq!(events.try_recv().unwrap(), FriendsEvent::Joined { peer, name: name.clone() });
        assert_eq!(
            events.try_recv().unwrap(),
            FriendsEvent::Left { peer, name, how: Departure::Lost }
        );
        assert!(events.try_recv().is_err());
        let info = friends.friend(&yjf.peer).unwrap();
        assert_eq!((info.online, info.last_seen), (false, Some(NOW + MINUTE)));
    }
}

#[test]
fn a_goodbye_shows_a_friend_as_gone_once_and_an_old_one_does_not() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    friends.keep_profile(yjf.profile("yjf", NOW), NOW).unwrap();
    friends.online(yjf.peer, NOW).unwrap();
    let mut events = friends.subscribe();
    let quit = yjf.quit(NOW + 5);
    assert_eq!(
        friends.receive_quit(&yjf.quit(NOW - 1), NOW + 5).unwrap(),
        QuitReceipt::Known,
        "of an earlier run"
    );
    assert!(friends.is_online(&yjf.peer));
    assert_eq!(friends.receive_quit(&quit, NOW + 5).unwrap(), QuitReceipt::New);
    assert!(!friends.is_online(&yjf.peer));
    friends.offline(yjf.peer, Departure::Lost, NOW + 6).unwrap();
    assert!(matches!(events.try_recv().unwrap(), FriendsEvent::Left { how: Departure::Quit, .. }));
    assert!(events.try_recv().is_err(), "the broken connection is not told as well");

    friends.online(yjf.peer, NOW + 10).unwrap();
    assert_eq!(friends.receive_quit(&quit, NOW + 10).unwrap(), QuitReceipt::Known);
    assert!(friends.is_online(&yjf.peer), "the same goodbye again changes nothing");

    let forged = SignedQuit { author: yjf.peer, ..Key::new(2).quit(NOW + 20) };
    assert_eq!(friends.receive_quit(&forged, NOW + 20).unwrap_err().blame(), Blame::Peer);
}

#[test]
fn a_name_finds_its_friend_and_errors_say_what_to_type() {
    let (mut friends, one, other) = (friends(), Key::new(1), Key::new(2));
    friends.keep_profile(one.profile("yjf", NOW), NOW).unwrap();
    assert_eq!(friends.resolve("yjf"), Ok(one.peer));
    assert_eq!(friends.resolve(&one.peer.to_string()), Ok(one.peer));
    assert_eq!(friends.resolve("sr"), Err(ResolveError::Unknown("sr".to_owned())));
    assert_eq!(friends.resolve(&other.peer.to_string()).unwrap_err().code(), "unknown_friend");
    assert_eq!(friends.resolve("12D3KooWx").unwrap_err().code(), "bad_peer_id");
    assert_eq!(friends.resolve("yzw"), Err(ResolveError::NoteToSelf("yzw".to_owned())));
    assert_eq!(friends.resolve(&friends.me().to_string()).unwrap_err().code(), "note_to_self");

    friends.keep_profile(other.profile("yjf", NOW), NOW).unwrap();
    let mut candidates = [&one, &other].map(|key| format!("yjf#{}", key.peer.suffix(4)));
    candidates.sort_unstable();
    let error = ResolveError::Ambiguous { name: "yjf".to_owned(), candidates: candidates.to_vec() };
    assert_eq!(friends.resolve("yjf"), Err(error));
    assert_eq!(friends.resolve(&format!("yjf#{}", one.peer.suffix(4))), Ok(one.peer));
    assert_eq!(
        friends.resolve(&format!("yjf#{}", other.peer.suffix(64).to_uppercase())),
        Ok(other.peer)
    );
    for text in ["yjf#", "yjf#12", "yjf#zzzz", "yjf#00000000", "#", ""] {
        assert_eq!(friends.resolve(text).unwrap_err().code(), "unknown_friend", "{text}");
    }
}

#[test]
fn suffixes_grow_until_they_tell_friends_apart() {
    let (mut friends, (one, other)) = (friends(), keys_of_one_suffix());
    friends.keep_profile(one.profile("sr", NOW), NOW).unwrap();
    assert_eq!(friends.list()[0].suffix, one.peer.suffix(4));
    assert_eq!(friends.label(&one.peer), "sr");
    friends.keep_profile(other.profile("sr", NOW), NOW).unwrap();
    for info in friends.list() {
        assert!(info.suffix.len() > 4);
        assert_eq!(friends.resolve(&format!("sr#{}", info.suffix)), Ok(info.peer_id));
        assert_eq!(friends.label(&info.peer_id), format!("sr#{}", info.suffix));
    }
    assert_eq!(
        friends.resolve(&format!("sr#{}", one.peer.suffix(4))).unwrap_err().code(),
        "ambiguous_friend"
    );
}

#[test]
fn paying_takes_eight_digits_once_two_friends_ever_shared_a_name() {
    let (mut friends, one, thief) = (friends(), Key::new(1), Key::new(2));
    friends.keep_profile(one.profile("yjf", NOW), NOW).unwrap();
    let paid = (one.peer, one.peer.0.owner());
    assert_eq!(friends.resolve_to_pay("yjf"), Ok(paid));

    // The friend takes another name, and somebody else takes the old one.
    friends.keep_profile(one.profile("fang", NOW + 1), NOW).unwrap();
    friends.keep_profile(thief.profile("yjf", NOW), NOW).unwrap();
    assert_eq!(friends.resolve("yjf"), Ok(thief.peer));
    assert_eq!(friends.resolve_to_pay("yjf").unwrap_err().code(), "suffix_too_short");
    let short = format!("yjf#{}", thief.peer.suffix(7));
    assert_eq!(friends.resolve_to_pay(&short).unwrap_err().code(), "suffix_too_short");
    assert_eq!(
        friends.resolve_to_pay(&format!("yjf#{}", thief.peer.suffix(8))).unwrap().0,
        thief.peer
    );
    assert_eq!(friends.resolve_to_pay("fang"), Ok(paid));
    assert_eq!(friends.resolve_to_pay(&one.peer.to_string()), Ok(paid));
}

#[test]
fn a_friend_without_a_wallet_cannot_be_paid() {
    let (mut friends, key) = (friends(), Key::new(1));
    let profile = SignedProfile::sign(&NETWORK, key.peer, "yjf", Vec::new(), None, NOW, &|bytes| {
        key.sign(bytes)
    })
    .unwrap();
    friends.keep_profile(profile, NOW).unwrap();
    assert_eq!(friends.resolve_to_pay("yjf"), Err(ResolveError::NoWallet("yjf".to_owned())));
}

#[test]
fn explore_tells_of_us_first_then_of_those_here_and_of_64_at_most() {
    let mut friends = friends();
    for seed in 1..=80 {
        friends.keep_profile(Key::new(seed).profile(&format!("f{seed}"), NOW), NOW).unwrap();
    }
    friends.online(Key::new(77).peer, NOW).unwrap();
    friends.online(Key::new(5).peer, NOW).unwrap();
    friends.offline(Key::new(5).peer, Departure::Lost, NOW + 1).unwrap();
    let answer = friends.explore_answer();
    let names: Vec<_> = answer.iter().take(3).map(|profile| profile.name.as_str()).collect();
    assert_eq!(names, ["yzw", "f77", "f5"]);
    assert_eq!(answer.len(), 64);
    crate::wire::Response::Friends(crate::wire::FriendsResponse::Profiles(answer))
        .encode()
        .unwrap();
}

#[test]
fn a_direct_line_waits_in_the_outbox_until_it_is_delivered() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    friends.keep_profile(yjf.profile("yjf", NOW), NOW).unwrap();
    let first = friends.direct(yjf.peer, "Good morning to you", NOW).unwrap();
    let second = friends.direct(yjf.peer, "Good morning to you", NOW).unwrap();
    assert_ne!(first.id, second.id, "the same words in the same millisecond are two lines");
    first.line.verify(&NETWORK).unwrap();
    assert_eq!(friends.outbox_for(&yjf.peer, 10).unwrap(), [first.clone(), second.clone()]);
    assert_eq!(friends.outbox_for(&yjf.peer, 1).unwrap(), std::slice::from_ref(&first));
    assert_eq!(friends.outbox_peers().unwrap(), [yjf.peer]);

    let mut events = friends.subscribe();
    assert!(
        !friends.delivered(Key::new(2).peer, first.id).unwrap(),
        "another's word for it does not count"
    );
    assert!(friends.delivered(yjf.peer, first.id).unwrap());
    assert!(!friends.delivered(yjf.peer, first.id).unwrap());
    assert!(!friends.refused(yjf.peer, second.id, Refusal::RateLimited).unwrap(), "that may pass");
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
    assert_eq!(friends.direct(friends.me(), "x", NOW).unwrap_err().code(), "note_to_self");
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
    friends.keep_profile(yjf.profile("yjf", NOW), NOW).unwrap();
    let text = "  all of it, with \u{1b}[31mcolours and  two spaces ";
    // Its author's clock is a year off: a direct line is taken all the same.
    let line = yjf.line(Some(friends.me()), text, NOW - 365 * 24 * 60 * MINUTE, 0);
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
    let me = friends.me();
    let code = |result: Result<Receipt, ReceiveError>| {
        let error = result.unwrap_err();
        (error.code(), error.blame())
    };
    let line = yjf.line(Some(me), "hello", NOW, 0);
    assert_eq!(
        code(friends.receive_direct(sr.peer, line.clone(), NOW)),
        ("not_the_author", Blame::Peer)
    );
    let to_sr = yjf.line(Some(sr.peer), "hello", NOW, 0);
    assert_eq!(
        code(friends.receive_direct(yjf.peer, to_sr.clone(), NOW)),
        ("wrong_addressee", Blame::Peer)
    );
    assert_eq!(code(friends.receive_broadcast(to_sr, NOW)), ("wrong_addressee", Blame::Peer));
    let to_all = yjf.line(None, "hello", NOW, 0);
    assert_eq!(
        code(friends.receive_direct(yjf.peer, to_all, NOW)),
        ("wrong_addressee", Blame::Peer)
    );
    let forged = SignedLine { text: "bye".to_owned(), ..line };
    assert_eq!(code(friends.receive_direct(yjf.peer, forged, NOW)), ("bad_signature", Blame::Peer));
    let empty = yjf.line(Some(me), "\n", NOW, 0);
    assert_eq!(code(friends.receive_direct(yjf.peer, empty, NOW)), ("empty_line", Blame::Peer));
    assert_eq!(friends.history(None, 10).unwrap(), []);
}

#[test]
fn a_line_to_all_is_kept_once_and_only_while_it_is_fresh() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    friends.keep_profile(yjf.profile("yjf", NOW), NOW).unwrap();
    let line = yjf.line(None, "hello all", NOW, 0);
    assert!(matches!(
        friends.receive_broadcast(line.clone(), NOW + MINUTE).unwrap(),
        Receipt::New(_)
    ));
    assert_eq!(friends.receive_broadcast(line, NOW + MINUTE).unwrap(), Receipt::Known);
    for time in [NOW - MAX_TIME_APART_MS - 1, NOW + MAX_TIME_APART_MS + 1] {
        let error = friends.receive_broadcast(yjf.line(None, "late", time, 1), NOW).unwrap_err();
        assert_eq!((error.code(), error.blame()), ("stale_line", Blame::Nobody));
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
    friends.keep_profile(yjf.profile("yjf", NOW), NOW).unwrap();
    let refused = (0..150)
        .filter_map(|counter| {
            friends.receive_broadcast(stranger.line(None, "buy", NOW, counter), NOW).err()
        })
        .map(|error| (error.code(), error.blame()));
    assert_eq!(refused.collect::<Vec<_>>(), [("too_many_lines", Blame::Nobody); 50]);
    assert!(friends.receive_broadcast(yjf.line(None, "hello", NOW, 0), NOW).is_ok());
}

#[test]
fn everything_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("friends.redb");
    let (me, yjf) = (Key::new(0), Key::new(1));
    let (own, sent, came, quit, ban) = {
        let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
        let own = friends.set_own_profile("yzw", &[], None, NOW).unwrap();
        friends.keep_profile(yjf.profile("yjf", NOW), NOW).unwrap();
        friends.keep_profile(yjf.profile("fang", NOW + 1), NOW).unwrap();
        friends.online(yjf.peer, NOW).unwrap();
        let sent = friends.direct(yjf.peer, "are you there?", NOW).unwrap();
        let came = yjf.line(Some(me.peer), "yes", NOW, 0);
        friends.receive_direct(yjf.peer, came.clone(), NOW).unwrap();
        let quit = yjf.quit(NOW + 5);
        friends.receive_quit(&quit, NOW + 5).unwrap();
        friends.touch_address(yjf.peer, "/ip4/10.0.0.2/tcp/1", NOW).unwrap();
        let ban = Ban { peer: Key::new(3).peer, term: BanTerm::Until(NOW + MINUTE) };
        friends.keep_ban(ban).unwrap();
        (own, sent, came, quit, ban)
    };

    let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
    assert!(friends.set_own_profile("yzw", &[], None, NOW).unwrap().sequence > own.sequence);
    let info = friends.friend(&yjf.peer).unwrap();
    assert_eq!((info.name.as_str(), info.online, info.last_seen), ("fang", false, Some(NOW)));
    friends.keep_profile(Key::new(2).profile("yjf", NOW), NOW).unwrap();
    assert_eq!(
        friends.resolve_to_pay("yjf").unwrap_err().code(),
        "suffix_too_short",
        "former names are known"
    );
    assert_eq!(friends.outbox_for(&yjf.peer, 10).unwrap(), std::slice::from_ref(&sent));
    assert_eq!(texts(&friends.history(Some(&yjf.peer), 10).unwrap()), ["are you there?", "yes"]);
    assert_eq!(friends.receive_direct(yjf.peer, came, NOW).unwrap(), Receipt::Known);
    assert_eq!(friends.receive_quit(&quit, NOW + 5).unwrap(), QuitReceipt::Known);
    let again = friends.direct(yjf.peer, "are you there?", NOW).unwrap();
    assert_ne!(again.id, sent.id, "the counter goes on");
    assert_eq!(friends.known_peers(10).unwrap()[0].addresses, ["/ip4/10.0.0.2/tcp/1"]);
    assert_eq!(friends.bans(NOW).unwrap(), [ban]);
    assert_eq!(friends.bans(NOW + MINUTE).unwrap(), []);
}

#[test]
fn on_another_chain_friends_stay_but_what_was_signed_for_the_first_is_not_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("friends.redb");
    let (me, yjf) = (Key::new(0), Key::new(1));
    {
        let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
        friends.keep_profile(yjf.profile("yjf", NOW), NOW).unwrap();
        friends.direct(yjf.peer, "hello", NOW).unwrap();
    }
    let mut friends = Friends::open(&path, me.config(OTHER_NETWORK)).unwrap();
    assert_eq!(friends.resolve("yjf"), Ok(yjf.peer));
    assert_eq!(texts(&friends.history(None, 10).unwrap()), ["hello"]);
    assert_eq!(friends.explore_answer(), []);
    assert_eq!(friends.outbox_for(&yjf.peer, 10).unwrap(), []);
    let there =
        SignedProfile::sign(&OTHER_NETWORK, yjf.peer, "yjf", Vec::new(), None, NOW - 1, &|bytes| {
            yjf.sign(bytes)
        });
    assert_eq!(friends.keep_profile(there.unwrap(), NOW).unwrap(), ProfileReceipt::Updated);
    assert_eq!(friends.explore_answer().len(), 1);
}

#[test]
fn a_full_table_of_profiles_forgets_whom_it_never_saw_before_friends() {
    let (mut friends, talked, here) = (friends(), Key::new(1), Key::new(2));
    for key in [&talked, &here] {
        friends.keep_profile(key.profile("yjf", NOW), NOW).unwrap();
    }
    friends.direct(talked.peer, "hello", NOW).unwrap();
    friends.online(here.peer, NOW).unwrap();
    let filler = |number: usize, last_seen: UnixMillis| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        let peer = PeerId(PublicKey(key));
        let profile = SignedProfile { peer, ..Key::new(3).profile("sr", NOW) };
        (peer, Known { profile, network: NETWORK, last_seen, talked: false, names: Vec::new() })
    };
    friends.known.extend((2..MAX_PROFILES_KEPT).map(|number| filler(number, NOW + 1)));
    let (never_seen, known) = filler(9, 0);
    friends.known.insert(never_seen, known);
    assert_eq!(
        friends.keep_profile(Key::new(4).profile("hjs", NOW), NOW).unwrap(),
        ProfileReceipt::New
    );
    assert_eq!(friends.known.len(), MAX_PROFILES_KEPT);
    assert!(friends.friend(&never_seen).is_none());

    for known in friends.known.values_mut() {
        known.talked = true;
    }
    let error = friends.keep_profile(Key::new(5).profile("xzq", NOW), NOW).unwrap_err();
    assert_eq!(
        (error.code(), error.blame(), error.refusal()),
        ("profiles_full", Blame::Nobody, None)
    );
}

#[test]
fn what_the_history_drops_leaves_nothing_behind_and_still_waits_in_the_outbox() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    let first = friends.direct(yjf.peer, "one", NOW).unwrap();
    friends.receive_direct(yjf.peer, yjf.line(Some(friends.me()), "two", NOW, 0), NOW).unwrap();
    let me = friends.me();
    friends.store.write(|tables| chat::drop_oldest(tables, me)).unwrap();
    assert_eq!(texts(&friends.history(Some(&yjf.peer), 10).unwrap()), ["two"]);
    assert_eq!(texts(&friends.history(None, 10).unwrap()), ["two"]);
    assert_eq!(friends.outbox_for(&yjf.peer, 10).unwrap(), std::slice::from_ref(&first));
    assert!(friends.delivered(yjf.peer, first.id).unwrap());
    assert_eq!(friends.outbox_peers().unwrap(), []);
}

#[test]
fn the_address_book_is_bounded_and_what_a_user_gave_stays() {
    let mut friends = friends();
    let given = Key::new(1).peer;
    friends
        .add_addresses(given, &["/dns4/home.example/tcp/1".to_owned()], AddressSource::Command, NOW)
        .unwrap();
    for seed in 0..u32::try_from(MAX_BOOK_ADDRESSES).unwrap() / 16 + 8 {
        let mut key = [9; 32];
        key[..4].copy_from_slice(&seed.to_be_bytes());
        let addresses: Vec<_> = (1..=20).map(|port| format!("/ip4/10.0.0.1/tcp/{port}")).collect();
        friends
            .add_addresses(PeerId(PublicKey(key)), &addresses, AddressSource::Discovered, NOW + 1)
            .unwrap();
    }
    let peers = friends.known_peers(usize::MAX).unwrap();
    assert!(peers.iter().any(|peer| peer.peer == given));
    let count: usize = peers.iter().map(|peer| peer.addresses.len()).sum();
    assert_eq!(count, usize::try_from(MAX_BOOK_ADDRESSES).unwrap());
    assert!(peers.iter().all(|peer| peer.addresses.len() <= MAX_ADDRESSES_PER_PEER));
}

#[test]
fn the_address_that_worked_last_is_dialed_first() {
    let (mut friends, one, other) = (friends(), Key::new(1).peer, Key::new(2).peer);
    let addresses =
        ["/ip4/10.0.0.1/tcp/1".to_owned(), "/ip4/10.0.0.1/tcp/2".to_owned(), "junk".to_owned()];
    friends.add_addresses(one, &addresses, AddressSource::Profile, NOW).unwrap();
    friends.add_addresses(other, &addresses[..1], AddressSource::Invite, NOW).unwrap();
    friends.touch_address(one, &format!("/ip4/10.0.0.1/tcp/2/p2p/{one}"), NOW + 1).unwrap();
    let peers = friends.known_peers(10).unwrap();
    assert_eq!((peers[0].peer, peers[1].peer), (one, other));
    assert_eq!(peers[0].addresses, ["/ip4/10.0.0.1/tcp/2", "/ip4/10.0.0.1/tcp/1"]);
    assert_eq!((peers[0].last_seen, peers[1].last_seen), (Some(NOW + 1), None));
    friends.forget_addresses(one).unwrap();
    assert_eq!(friends.known_peers(10).unwrap().len(), 1);
}

#[test]
fn an_address_is_told_from_the_peer_behind_it() {
    let peer = Key::new(1).peer;
    assert_eq!(
        split_address(&format!("/ip4/10.0.0.1/tcp/1/p2p/{peer}")),
        Ok(("/ip4/10.0.0.1/tcp/1", Some(peer)))
    );
    assert_eq!(split_address("/ip4/10.0.0.1/tcp/1"), Ok(("/ip4/10.0.0.1/tcp/1", None)));
    assert!(split_address("/ip4/10.0.0.1/tcp/1/p2p/nobody").is_err());
    assert!(split_address("10.0.0.1:1").is_err());
}

#[tokio::test]
async fn the_handle_answers_and_says_when_the_thread_has_ended() {
    let (handle, thread) = spawn(friends()).unwrap();
    let mut events = handle.subscribe();
    let yjf = Key::new(1);
    assert_eq!(
        handle.keep_profile(yjf.profile("yjf", NOW), NOW).await.unwrap(),
        ProfileReceipt::New
    );
    handle.online(yjf.peer, NOW).await.unwrap();
    assert!(
        matches!(events.recv().await.unwrap(), FriendsEvent::Joined { peer, .. } if peer == yjf.peer)
    );
    assert_eq!(handle.resolve("nobody".to_owned()).await.unwrap_err().code(), "unknown_friend");
    assert!(!handle.is_busy());
    drop(handle);
    thread.join().unwrap();
}

#[test]
fn sentences_name_the_value_and_what_to_do() {
    let mut shown = String::new();
    for error in [
        ResolveError::Unknown("sr".to_owned()),
        ResolveError::Ambiguous {
            name: "sr".to_owned(),
            candidates: vec!["sr#1234".to_owned(), "sr#5678".to_owned()],
        },
    ] {
        writeln!(shown, "{error}").unwrap();
    }
    assert_eq!(
        shown,
        "no friend is called 'sr': `friends` lists them\n'sr' could be any of sr#1234, sr#5678: \
         say which\n"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Two nodes, any mix of writing, delivering, redelivering and lost answers: each line arrives
    /// once, in order, and nothing is left waiting at the end.
    #[test]
    fn every_line_lands_exactly_once(steps in proptest::collection::vec(0..4_u8, 1..40)) {
        let (one, other) = (Key::new(0), Key::new(1));
        let mut sender = Friends::in_memory(one.config(NETWORK)).unwrap();
        let mut receiver = Friends::in_memory(other.config(NETWORK)).unwrap();
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
