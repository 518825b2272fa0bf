//! Tests of [`Friends`] as the node uses it. This file covers profiles, names, presence and
//! restarts.

mod addresses;
mod copies;
mod crash;
mod levels;
mod lines;
mod missed;
mod names;
mod notices;
mod quotas;
mod sealed;

use std::{collections::HashSet, fmt::Write as _};

use ed25519_dalek::{Signer as _, SigningKey};

use super::{profiles::MAX_AHEAD_MS, *};
use crate::{
    peers::{Ban, BanTerm, Offence},
    primitives::{BlockHash, Owner, PublicKey},
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
        let (key, agreeing) = (self.key.clone(), self.key.clone());
        FriendsConfig {
            me: self.peer,
            network,
            signer: Box::new(move |bytes| Signature(key.sign(bytes).to_bytes())),
            agree: Box::new(move |theirs| crate::wire::agree(&agreeing, theirs)),
            trust: Trust::default(),
            clock: Box::new(|| 1_000),
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

impl Friends {
    /// Makes the profile's peer a friend, and stores its profile.
    fn befriend(
        &mut self,
        profile: SignedProfile,
        now: UnixMillis,
    ) -> Result<ProfileReceipt, ProfileError> {
        let peer = profile.peer;
        self.trust.accept(peer);
        self.keep_friends(&[peer], now)?;
        self.keep_profile(profile, peer, now)
    }
}

/// Returns our node, named yzw, with the key of seed 0.
fn friends() -> Friends {
    let mut friends = Friends::in_memory(Key::new(0).config(NETWORK)).unwrap();
    friends.set_own_profile("yzw", &[], None, NOW).unwrap();
    friends
}

/// Returns two keys that begin with the same 4 hex digits.
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
    assert_eq!(friends.befriend(profile.clone(), NOW).unwrap(), ProfileReceipt::New);
    assert_eq!(friends.befriend(profile, NOW).unwrap(), ProfileReceipt::Known);
    assert_eq!(friends.befriend(yjf.profile("old", NOW - 1), NOW).unwrap(), ProfileReceipt::Old);
    assert_eq!(
        friends.befriend(yjf.profile("fang", NOW + 1), NOW).unwrap(),
        ProfileReceipt::Updated
    );
    assert_eq!(friends.friend(&yjf.peer).unwrap().name, "fang");
    assert_eq!(friends.befriend(Key::new(0).profile("me", NOW), NOW).unwrap(), ProfileReceipt::Own);
}

#[test]
fn a_bad_profile_is_refused_and_charged_to_its_sender_unless_clocks_differ() {
    let (mut friends, yjf) = (friends(), Key::new(1));
    let forged = SignedProfile { name: "sr".to_owned(), ..yjf.profile("yjf", NOW) };
    let error = friends.befriend(forged, NOW).unwrap_err();
    assert!(matches!(error, ProfileError::Forged(_)), "{error:?}");
    assert_eq!(error.offence(), Some(Offence::BadSignature));
    assert_eq!(error.refusal(), Some(Refusal::BadSignature));

    let error = friends.befriend(yjf.profile("a b", NOW), NOW).unwrap_err();
    assert!(matches!(error, ProfileError::Name(_)), "{error:?}");
    assert_eq!(error.offence(), Some(Offence::InvalidText));

    for address in ["10.0.0.1:80", "", "/", "/ip4/10.0.0.1/tcp/1/p2p/12D3KooW", "/ip4/\u{1b}[2J"] {
        let addresses = vec![address.to_owned()];
        let profile =
            SignedProfile::sign(&NETWORK, yjf.peer, "yjf", addresses, None, NOW, &|bytes| {
                yjf.sign(bytes)
            })
            .unwrap();
        let error = friends.befriend(profile, NOW).unwrap_err();
        assert!(matches!(error, ProfileError::Address(_)), "{address}: {error:?}");
        assert_eq!(error.offence(), Some(Offence::InvalidText));
    }

    let error = friends.befriend(yjf.profile("yjf", NOW + MAX_AHEAD_MS + 1), NOW).unwrap_err();
    assert!(
        matches!(error, ProfileError::TooFarAhead { ahead_ms } if ahead_ms == MAX_AHEAD_MS + 1)
    );
    assert_eq!(error.offence(), None);
    assert_eq!(friends.list(NOW), []);
}

#[test]
fn our_own_profile_counts_up_and_is_signed_anew_only_when_it_changes() {
    let mut friends = Friends::in_memory(Key::new(0).config(NETWORK)).unwrap();
    let listen = ["/ip4/10.0.0.1/tcp/1/p2p/12D3KooWx".to_owned(), "/ip4/10.0.0.1/tcp/1".to_owned()];
    let first = friends.set_own_profile("yzw", &listen, None, NOW).unwrap();
    first.verify(&NETWORK).unwrap();
    assert_eq!(first.addresses, ["/ip4/10.0.0.1/tcp/1"], "without peer id and duplicate");
    assert_eq!(friends.set_own_profile("yzw", &listen, None, NOW + 5).unwrap(), first);
    let second = friends.set_own_profile("yzw", &listen, Some(Owner([1; 20])), NOW - 5).unwrap();
    assert_eq!(second.sequence, NOW + 1, "a clock that went back does not make it older");
    assert!(friends.set_own_profile("fc1", &[], None, NOW).is_err());
}

#[test]
fn joining_is_told_once_when_both_connection_and_profile_are_there() {
    for profile_first in [true, false] {
        let (mut friends, yjf) = (friends(), Key::new(1));
        let mut events = friends.events.subscribe();
        if profile_first {
            friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
        }
        friends.online(yjf.peer, NOW).unwrap();
        friends.online(yjf.peer, NOW).unwrap();
        friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
        friends.befriend(yjf.profile("yjf", NOW + 1), NOW).unwrap();
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
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    friends.online(yjf.peer, NOW).unwrap();
    let mut events = friends.events.subscribe();
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
    assert!(events.try_recv().is_err(), "the broken connection emits no second event");

    friends.online(yjf.peer, NOW + 10).unwrap();
    assert_eq!(friends.receive_quit(&quit, NOW + 10).unwrap(), QuitReceipt::Known);
    assert!(friends.is_online(&yjf.peer), "the same goodbye again changes nothing");

    let forged = SignedQuit { author: yjf.peer, ..Key::new(2).quit(NOW + 20) };
    let error = friends.receive_quit(&forged, NOW + 20).unwrap_err();
    assert_eq!(error.offence(), Some(Offence::BadSignature));
}

#[test]
fn a_name_finds_its_friend_and_errors_say_what_to_type() {
    let (mut friends, one, other) = (friends(), Key::new(1), Key::new(2));
    friends.befriend(one.profile("yjf", NOW), NOW).unwrap();
    assert_eq!(friends.resolve("yjf"), Ok(one.peer));
    assert_eq!(friends.resolve(&one.peer.to_string()), Ok(one.peer));
    assert_eq!(friends.resolve("sr"), Err(ResolveError::Unknown("sr".to_owned())));
    assert_eq!(friends.resolve(&other.peer.to_string()).unwrap_err().code(), "unknown_friend");
    assert_eq!(friends.resolve("12D3KooWx").unwrap_err().code(), "bad_peer_id");
    let namesake =
        ResolveError::NoteToSelf { name: "yzw".to_owned(), namesakes: vec!["yzw#955d".to_owned()] };
    assert_eq!(namesake.to_string(), "'yzw' is you; the other one is yzw#955d");
    let me = ResolveError::NoteToSelf { name: "yzw".to_owned(), namesakes: Vec::new() };
    assert_eq!(friends.resolve("yzw"), Err(me));
    assert_eq!(friends.resolve(&friends.me.to_string()).unwrap_err().code(), "note_to_self");

    friends.befriend(other.profile("yjf", NOW), NOW + 1).unwrap();
    assert_eq!(friends.resolve("yjf"), Ok(one.peer), "the one known first");
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
    friends.befriend(one.profile("sr", NOW), NOW).unwrap();
    assert_eq!(friends.list(NOW)[0].suffix, one.peer.suffix(4));
    assert_eq!(friends.label(&one.peer), "sr");
    friends.befriend(other.profile("sr", NOW), NOW + 1).unwrap();
    for info in friends.list(NOW) {
        assert!(info.suffix.len() > 4);
        assert_eq!(friends.resolve(&format!("sr#{}", info.suffix)), Ok(info.peer_id));
        assert_eq!(friends.resolve(&info.name), Ok(info.peer_id));
        assert_eq!(friends.label(&info.peer_id), info.name);
    }
    assert_eq!(friends.label(&one.peer), "sr", "the one known first");
    assert_eq!(
        friends.resolve(&format!("sr#{}", one.peer.suffix(4))).unwrap_err().code(),
        "ambiguous_friend"
    );
}

#[test]
fn paying_takes_eight_digits_once_two_friends_ever_shared_a_name() {
    let (mut friends, one, thief) = (friends(), Key::new(1), Key::new(2));
    friends.befriend(one.profile("yjf", NOW), NOW).unwrap();
    let paid = (one.peer, one.peer.0.owner());
    assert_eq!(friends.resolve_to_pay("yjf").unwrap(), paid);

    // The friend takes another name, and a thief takes the old one.
    friends.befriend(one.profile("fang", NOW + 1), NOW).unwrap();
    friends.befriend(thief.profile("yjf", NOW), NOW).unwrap();
    assert_eq!(friends.resolve("yjf"), Ok(thief.peer));
    assert_eq!(friends.resolve_to_pay("yjf").unwrap_err().code(), "suffix_too_short");
    let short = format!("yjf#{}", thief.peer.suffix(7));
    assert_eq!(friends.resolve_to_pay(&short).unwrap_err().code(), "suffix_too_short");
    assert_eq!(
        friends.resolve_to_pay(&format!("yjf#{}", thief.peer.suffix(8))).unwrap().0,
        thief.peer
    );
    assert_eq!(friends.resolve_to_pay("fang").unwrap(), paid);
    assert_eq!(friends.resolve_to_pay(&one.peer.to_string()).unwrap(), paid);
}

#[test]
fn a_friend_without_a_wallet_cannot_be_paid() {
    let (mut friends, key) = (friends(), Key::new(1));
    let profile = SignedProfile::sign(&NETWORK, key.peer, "yjf", Vec::new(), None, NOW, &|bytes| {
        key.sign(bytes)
    })
    .unwrap();
    friends.befriend(profile, NOW).unwrap();
    let error = friends.resolve_to_pay("yjf").unwrap_err();
    assert!(matches!(error, FindError::Resolve(ResolveError::NoWallet(name)) if name == "yjf"));
}

#[test]
fn explore_tells_of_us_first_then_of_those_here_and_of_64_at_most() {
    let mut friends = friends();
    for seed in 1..=80 {
        friends.befriend(Key::new(seed).profile(&format!("f{seed}"), NOW), NOW).unwrap();
    }
    friends.online(Key::new(77).peer, NOW).unwrap();
    friends.online(Key::new(5).peer, NOW).unwrap();
    friends.offline(Key::new(5).peer, Departure::Lost, NOW + 1).unwrap();
    let answer = friends.explore_answer(&Key::new(1).peer, NOW);
    let names: Vec<_> = answer.iter().take(3).map(|profile| profile.name.as_str()).collect();
    assert_eq!(names, ["yzw", "f77", "f5"]);
    assert_eq!(answer.len(), 64);
    crate::wire::Response::Friends(crate::wire::FriendsResponse::Profiles(answer))
        .encode()
        .unwrap();
}

#[test]
fn everything_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("friends.redb");
    let (me, yjf) = (Key::new(0), Key::new(1));
    let (own, sent, came, quit, ban) = {
        let mut friends = Friends::open(&path, me.config(NETWORK)).unwrap();
        let own = friends.set_own_profile("yzw", &[], None, NOW).unwrap();
        friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
        friends.befriend(yjf.profile("fang", NOW + 1), NOW).unwrap();
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
    friends.befriend(Key::new(2).profile("yjf", NOW), NOW).unwrap();
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
        friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
        friends.direct(yjf.peer, "hello", NOW).unwrap();
    }
    let mut friends = Friends::open(&path, me.config(OTHER_NETWORK)).unwrap();
    assert_eq!(friends.resolve("yjf"), Ok(yjf.peer));
    assert_eq!(texts(&friends.history(None, 10).unwrap()), ["hello"]);
    let asker = Key::new(2).peer;
    friends.trust.accept(asker);
    assert_eq!(friends.explore_answer(&asker, NOW), []);
    assert_eq!(friends.outbox_for(&yjf.peer, 10).unwrap(), []);
    let there =
        SignedProfile::sign(&OTHER_NETWORK, yjf.peer, "yjf", Vec::new(), None, NOW - 1, &|bytes| {
            yjf.sign(bytes)
        });
    assert_eq!(friends.befriend(there.unwrap(), NOW).unwrap(), ProfileReceipt::Updated);
    assert_eq!(friends.explore_answer(&asker, NOW).len(), 1);
}

#[test]
fn a_full_table_of_profiles_forgets_whom_it_never_saw_before_friends() {
    let (mut friends, talked, here) = (friends(), Key::new(1), Key::new(2));
    friends.befriend(talked.profile("yjf", NOW), NOW).unwrap();
    friends.trust.vouch(&talked.peer, here.peer);
    friends.keep_profile(here.profile("yjf", NOW), here.peer, NOW).unwrap();
    friends.online(here.peer, NOW).unwrap();
    let filler = |number: usize, last_seen: UnixMillis| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        let peer = PeerId(PublicKey(key));
        let profile = SignedProfile { peer, ..Key::new(3).profile("sr", NOW) };
        (peer, Known { last_seen, ..Known::new(profile, NETWORK) })
    };
    friends.known.extend((2..MAX_PROFILES_KEPT).map(|number| filler(number, NOW + 1)));
    let (never_seen, known) = filler(9, 0);
    friends.known.insert(never_seen, known);
    assert_eq!(
        friends.befriend(Key::new(4).profile("hjs", NOW), NOW).unwrap(),
        ProfileReceipt::New
    );
    assert_eq!(friends.known.len(), MAX_PROFILES_KEPT);
    assert!(friends.friend(&never_seen).is_none());

    let all: Vec<_> = friends.known.keys().copied().collect();
    friends.people.extend(all.into_iter().map(|peer| (peer, Standing::WRITTEN)));
    let error = friends.befriend(Key::new(5).profile("xzq", NOW), NOW).unwrap_err();
    assert!(matches!(error, ProfileError::Full { limit: MAX_PROFILES_KEPT }), "{error:?}");
    assert_eq!((error.offence(), error.refusal()), (None, None));
}

#[tokio::test]
async fn the_handle_answers_and_says_when_the_thread_has_ended() {
    let (handle, thread) = spawn(friends()).unwrap();
    let mut events = handle.subscribe();
    let yjf = Key::new(1);
    handle.accept(yjf.peer.to_string(), NOW).await.unwrap();
    let receipt = handle.keep_profile(yjf.profile("yjf", NOW), yjf.peer, NOW).await.unwrap();
    assert_eq!(receipt, ProfileReceipt::New);
    handle.online(yjf.peer, NOW).await.unwrap();
    let joined = events.recv().await.unwrap();
    assert!(matches!(joined, FriendsEvent::Joined { peer, .. } if peer == yjf.peer));
    assert_eq!(handle.resolve("nobody".to_owned()).await.unwrap_err().code(), "unknown_friend");
    assert!(!handle.is_busy_for(false));
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
