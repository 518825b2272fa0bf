//! Tests of the README's table of wrong requests, and of the order of the checks of lines and
//! goodbyes. They run on `friends` itself.

use super::{
    examples::{agreer, friend, signer},
    page::{README, after, source, strings, table, table_in},
};
use crate::{
    friends::{
        Friends, FriendsConfig, MAX_AHEAD_MS, MAX_SEALED_APART_MS, MAX_TIME_APART_MS, ProfileError,
        ProfileReceipt, QuitReceipt, Receipt, ReceiveError, SealedError,
    },
    peers::{Ban, BanTerm, Offence, Trust},
    primitives::{BlockHash, NetworkId, Signature, UnixMillis},
    wire::{
        CodecError, ItemId, Protocol, Refusal, SealedLine, Secret, SignedLine, SignedProfile,
        SignedQuit, SyncRequest, Topic, codec,
    },
};

const NETWORK: NetworkId = BlockHash([7; 32]);
const NOW: UnixMillis = 1_700_000_000_000;
const FORGED: Signature = Signature([0; 64]);

/// Returns the state of friend 1, who has accepted friend 0 and receives its messages.
fn receiver() -> Friends {
    with_trust(Trust::new([friend(0)], false))
}

/// Returns the state of a receiver that has banned friend 0.
fn banned() -> Friends {
    let mut room = receiver();
    room.keep_ban(Ban { peer: friend(0), term: BanTerm::Forever }).expect("kept");
    room
}

fn with_trust(trust: Trust) -> Friends {
    let sign = signer(1);
    let config = FriendsConfig {
        me: friend(1),
        network: NETWORK,
        signer: Box::new(move |bytes| sign(bytes)),
        agree: Box::new(agreer(1)),
        trust,
        clock: Box::new(|| 1_000),
    };
    Friends::in_memory(config).expect("a store")
}

fn profile(name: &str, sequence: UnixMillis) -> SignedProfile {
    let (network, signer) = (&NETWORK, &signer(0));
    SignedProfile::sign(network, friend(0), name, vec![], None, sequence, signer).expect("short")
}

fn line(to: Option<usize>, text: &str, counter: u64) -> SignedLine {
    let (to, signer) = (to.map(friend), &signer(0));
    SignedLine::sign(&NETWORK, friend(0), to, NOW, counter, text, signer).expect("short")
}

fn quit(time: UnixMillis) -> SignedQuit {
    SignedQuit::sign(&NETWORK, friend(0), time, 0, &signer(0))
}

/// Uses up the receiver's rate of lines: 1,000 of a friend, or 100 of strangers.
fn exhaust(receiver: &mut Friends) {
    for counter in 1_000.. {
        let received = receiver.receive_broadcast(line(None, "again", counter), NOW);
        if matches!(received, Err(ReceiveError::TooMany { .. })) {
            return;
        }
    }
}

fn points(offence: Option<Offence>) -> String {
    offence.map_or(0, Offence::weight).to_string()
}

fn refused(refusal: Option<Refusal>) -> String {
    refusal.map_or_else(|| "Busy".to_owned(), |refusal| format!("Refused({refusal:?})"))
}

/// Returns the answer to Introduce, and its points.
fn introduce(receiver: &mut Friends, profile: SignedProfile) -> [String; 2] {
    match receiver.keep_profile(profile, friend(0), NOW) {
        Ok(_) => ["Welcome".to_owned(), points(None)],
        Err(error) => [refused(error.refusal()), points(error.offence())],
    }
}

/// Returns the answer to Direct, and its points.
fn direct(receiver: &mut Friends, sender: usize, line: SignedLine) -> [String; 2] {
    match receiver.receive_direct(friend(sender), line, NOW) {
        Ok(_) => ["Delivered".to_owned(), points(None)],
        Err(error) => [refused(error.refusal()), points(error.offence())],
    }
}

/// Returns a line of friend 0, sealed to a friend.
fn sealed(to: usize, text: &str) -> SealedLine {
    seal(&line(Some(to), text, 7))
}

fn seal(line: &SignedLine) -> SealedLine {
    SealedLine::seal(&NETWORK, line, &Secret::new([5; 32])).expect("a key")
}

fn damaged() -> SealedLine {
    let mut sealed = sealed(1, "a");
    sealed.sealed[50] ^= 1;
    sealed
}

fn forged_inside() -> SealedLine {
    seal(&SignedLine { signature: FORGED, ..line(Some(1), "a", 7) })
}

/// Returns the answer to Sealed with a line to another, and the points.
#[expect(clippy::needless_pass_by_value, reason = "a line is made for each call")]
fn keep(room: &mut Friends, by: usize, line: SealedLine) -> [String; 2] {
    match room.keep_sealed(friend(by), &line, NOW) {
        Ok(()) => ["Delivered".to_owned(), points(None)],
        Err(error) => [refused(error.refusal()), points(None)],
    }
}

/// Returns the state of a carrier at which friend 0 has used up its share for friend 2.
fn full() -> Friends {
    let mut room = with_trust(Trust::new([friend(0), friend(2)], false));
    while keep(&mut room, 0, sealed(2, "a"))[0] == "Delivered" {}
    room
}

/// Returns the answer to Sealed with a line to the answerer, and the points.
#[expect(clippy::needless_pass_by_value, reason = "a line is made for each call")]
fn bring(room: &mut Friends, by: usize, line: SealedLine) -> [String; 2] {
    answer_to_sealed(room.receive_sealed(friend(by), &line, NOW))
}

#[expect(clippy::needless_pass_by_value, reason = "a line is made for each call")]
fn bring_at(room: &mut Friends, line: SealedLine, now: UnixMillis) -> [String; 2] {
    answer_to_sealed(room.receive_sealed(friend(0), &line, now))
}

fn answer_to_sealed(received: Result<Receipt, SealedError>) -> [String; 2] {
    match received {
        Ok(_) => ["Delivered".to_owned(), points(None)],
        Err(error) => [refused(error.refusal()), points(None)],
    }
}

/// Returns the answer to a friend that brings a line of friend 0, whom the receiver has banned.
fn bring_banned() -> [String; 2] {
    let mut room = with_trust(Trust::new([friend(0), friend(2)], false));
    room.keep_ban(Ban { peer: friend(0), term: BanTerm::Forever }).expect("kept");
    let answer = bring(&mut room, 2, sealed(1, "a"));
    assert!(room.history(None, 10).expect("read").is_empty(), "it is dropped");
    answer
}

/// Returns the rows of Sealed. In `crowded`, nobody is a friend; in `busy`, the rate is used up.
fn sealed_rows(room: &mut Friends, busy: &mut Friends, crowded: &mut Friends) -> Vec<Vec<String>> {
    let row = |request: &str, mistake: &str, [answer, points]: [String; 2]| {
        [strings(&[request, mistake]), vec![answer, points]].concat()
    };
    let another = |mistake: &str, answer| row("Sealed to another", mistake, answer);
    let ours = |mistake: &str, answer| row("Sealed to the answerer", mistake, answer);
    vec![
        another(
            "the sender or the receiver is no friend of the answerer",
            keep(crowded, 0, sealed(2, "a")),
        ),
        another("the receiver is the sender", keep(room, 0, sealed(0, "a"))),
        another("a share is used up", keep(&mut full(), 0, sealed(2, "a"))),
        ours("the sender is no friend", bring(crowded, 0, sealed(1, "a"))),
        ours("the box does not open", bring(room, 0, damaged())),
        ours(
            "`time` is more than 8 days from the answerer's clock",
            bring_at(room, sealed(1, "a"), NOW + MAX_SEALED_APART_MS + 1),
        ),
        ours("the line's text is blank", bring(room, 0, sealed(1, " "))),
        ours("the line's signature", bring(room, 0, forged_inside())),
        ours("its author is banned", bring_banned()),
        ours("too many lines", bring(busy, 0, sealed(1, "new"))),
    ]
}

fn flooding() -> String {
    points(Some(Offence::Flooding))
}

#[test]
fn wrong_requests_have_the_answers_and_points_of_the_readme() {
    let mut room = receiver();
    let held = introduce(&mut room, profile("yzw", NOW));
    assert_eq!(held[0], "Welcome");
    let ahead = NOW + MAX_AHEAD_MS;
    let old = introduce(&mut room, profile("other", NOW));
    let forged = SignedProfile { signature: FORGED, ..profile("yzw", NOW + 1) };
    let no_ids = codec::encode(&SyncRequest::GetData(Vec::<ItemId>::new()));
    let no_ids = Protocol::Sync.decode_request(&no_ids).expect_err("no ids");
    let malformed = CodecError::NotCanonical;
    let mut busy = receiver();
    exhaust(&mut busy);
    let mut crowded = with_trust(Trust::default());
    exhaust(&mut crowded);
    let row = |request: &str, mistake: &str, [answer, points]: [String; 2]| {
        [strings(&[request, mistake]), vec![answer, points]].concat()
    };
    let none = |error: &CodecError| ["none".to_owned(), points(Some(error.into()))];
    let fixed = |answer: &str, points: String| [answer.to_owned(), points];
    let not_theirs = points(Some(Offence::NotTheAuthor));
    let first = [
        row("any", "it cannot be read or is over a limit", none(&malformed)),
        // `net::codec` has the test of this row.
        row("any", "the stream ends without a byte", fixed("none", points(None))),
        row("Status", "another network", fixed("WrongNetwork", points(None))),
        // `peers::budgets` and `net::tests::places` have the tests of these rows.
        row("any but Status", "no Status before it, or within 5 s", fixed("Busy", points(None))),
        row("Status, any on sync", "its budget is used up", fixed("Busy", points(None))),
        row(
            "Explore, Introduce, any on chat",
            "its budget is used up",
            fixed("Refused(RateLimited)", points(None)),
        ),
        row("any", "two budgets are used up", fixed("the same", flooding())),
        row(
            "Introduce",
            "the strangers' shared rate is used up",
            introduce(&mut crowded, profile("yzw", NOW)),
        ),
        row("Introduce", "the profile is not the sender's", fixed("Refused(NotYours)", not_theirs)),
        row("Introduce", "the signature", introduce(&mut room, forged)),
        row("Introduce", "the name or an address", introduce(&mut room, profile("#", NOW + 1))),
        row(
            "Introduce",
            "`sequence` more than 24 hours in the future",
            introduce(&mut room, profile("yzw", ahead + 1)),
        ),
        row("Introduce", "`sequence` not higher than that of the profile held", old),
        row("Direct", "the author is not the sender", direct(&mut room, 2, line(Some(1), "a", 0))),
        row("Direct", "the receiver is another, or null", direct(&mut room, 0, line(None, "a", 0))),
        row("Direct", "the text is blank", direct(&mut room, 0, line(Some(1), " ", 0))),
        row(
            "Direct",
            "the signature",
            direct(&mut room, 0, SignedLine { signature: FORGED, ..line(Some(1), "a", 0) }),
        ),
        row("Direct", "too many lines", direct(&mut busy, 0, line(Some(1), "a", 0))),
    ];
    let sealed = sealed_rows(&mut room, &mut busy, &mut crowded);
    let last = [
        // `layouts` has the test of this row.
        row("GetBlocks", "limit 0", fixed("Inv without headers", points(None))),
        row("GetData", "no ids", none(&no_ids)),
    ];
    let expected = [first.to_vec(), sealed, last.to_vec()].concat();
    assert_eq!(table(&["request", "mistake", "answer", "points"]), expected);
}

#[test]
fn the_router_and_the_network_give_these_answers() {
    let router = source("node/router");
    for part in [
        "Offence::Flooding",
        "FriendsResponse::Refused(Refusal::NotYours)",
        "Offence::NotTheAuthor",
        "HelloResponse::WrongNetwork(self.network.id)",
    ] {
        assert!(router.contains(part), "the router has {part}");
    }
    let budgets = "FriendsResponse::Refused(Refusal::RateLimited)";
    assert!(source("net").contains(budgets), "the network has {budgets}");
}

#[test]
fn a_profile_may_be_signed_a_day_ahead() {
    assert_eq!(MAX_AHEAD_MS, 24 * 3_600_000);
    let newest = receiver().keep_profile(profile("yzw", NOW + MAX_AHEAD_MS), friend(0), NOW);
    assert!(matches!(newest, Ok(ProfileReceipt::New)));
}

#[test]
fn an_address_that_is_none_costs_the_points_of_a_bad_name() {
    let mut profile = profile("yzw", NOW);
    profile.addresses = vec!["10.0.0.1".to_owned()];
    profile.signature = signer(0)(&profile.signing_bytes(&NETWORK));
    let error = receiver().keep_profile(profile, friend(0), NOW).expect_err("no address");
    assert!(matches!(error, ProfileError::Address(_)));
    assert_eq!(error.offence(), Some(Offence::InvalidText));
}

#[test]
fn errors_of_the_codec_are_charged_as_the_readme_says() {
    let what = "a field";
    let errors = [
        CodecError::TooLarge { size: 2, limit: 1 },
        CodecError::Malformed { reason: String::new() },
        CodecError::NotCanonical,
        CodecError::OverLimit { what, count: 2, limit: 1 },
        CodecError::WrongLength { what, length: 2, unit: 1 },
        CodecError::Empty { what },
        CodecError::NotAscending { what },
    ];
    let real: Vec<_> =
        errors.iter().map(|error| strings(&[error.code(), Offence::from(error).code()])).collect();
    let told = table(&["code", "cause", "charged as"]);
    let told: Vec<_> = told.iter().map(|row| strings(&[&row[0], &row[2]])).collect();
    assert_eq!(told, real);
    assert!(errors.iter().all(|error| Offence::from(error).weight() == 20));
}

/// Returns verdict and points of a line or goodbye, as the router derives them.
fn verdict(received: Result<bool, ReceiveError>) -> [String; 2] {
    match received.map_err(|error| error.offence()) {
        Ok(true) => strings(&["accept", ""]).try_into().expect("two"),
        Ok(false) | Err(None) => ["ignore".to_owned(), points(None)],
        Err(offence) => ["reject".to_owned(), points(offence)],
    }
}

/// Panics unless the README's list of checks has these outcomes and ends in accept.
pub(super) fn assert_checks(title: &str, outcomes: &[(&str, [String; 2])]) {
    let rows = table_in(after(README, title), &["check", "verdict if it fails", "points"]);
    let (last, checks) = rows.split_last().expect("rows");
    assert!(last[0].starts_with("accept"), "{last:?}");
    assert_eq!(checks.len(), outcomes.len(), "{title}");
    for (row, (begins, outcome)) in checks.iter().zip(outcomes) {
        assert!(row[0].starts_with(begins), "'{}' begins with '{begins}'", row[0]);
        assert_eq!(row[1..], outcome[..], "{title} {begins}");
    }
}

/// Each line fails its check and as many later checks as possible.
#[test]
fn a_line_is_judged_by_its_first_fault() {
    let old = NOW - MAX_TIME_APART_MS - 1;
    let mut room = receiver();
    let known = line(None, "known", 0);
    let judge = |room: &mut Friends, line: SignedLine| {
        verdict(room.receive_broadcast(line, NOW).map(|receipt| matches!(receipt, Receipt::New(_))))
    };
    assert_eq!(judge(&mut room, known.clone())[0], "accept");
    exhaust(&mut room);
    let forged = |line: SignedLine| SignedLine { signature: FORGED, ..line };
    let direct = SignedLine { time: old, ..forged(line(Some(2), " ", 1)) };
    let own = SignedLine { to: None, author: friend(1), ..direct.clone() };
    let stale = SignedLine { to: None, ..direct.clone() };
    let outcomes = [
        ("`to` is null", judge(&mut room, direct)),
        ("the author is not the receiver", judge(&mut room, own)),
        ("`time` is at most 10 minutes", judge(&mut room, stale)),
        ("the author is not banned", judge(&mut banned(), forged(line(None, " ", 1)))),
        ("the text is not blank", judge(&mut room, forged(line(None, " ", 1)))),
        ("the signature is valid", judge(&mut room, forged(line(None, "a", 1)))),
        ("the line is not known yet", judge(&mut room, known)),
        ("the author is within its [rate]", judge(&mut room, line(None, "a", 1))),
    ];
    assert_checks("**Line**", &outcomes);
    assert_eq!(MAX_TIME_APART_MS, 600_000);
}

#[test]
fn a_goodbye_is_judged_by_its_first_fault() {
    let mut room = receiver();
    let judge = |room: &mut Friends, quit: SignedQuit| {
        verdict(room.receive_quit(&quit, NOW).map(|receipt| receipt == QuitReceipt::New))
    };
    let forged = |quit: SignedQuit| SignedQuit { signature: FORGED, ..quit };
    let old = forged(quit(NOW - MAX_TIME_APART_MS - 1));
    room.keep_profile(profile("yzw", NOW), friend(0), NOW).expect("kept");
    let last = quit(NOW + 10);
    assert_eq!(judge(&mut room, last.clone())[0], "accept");
    let repeated = judge(&mut room, last);
    let own = SignedQuit { author: friend(1), ..old.clone() };
    let stale = judge(&mut room, old.clone());
    assert_eq!(stale, ["ignore", "0"], "a forged goodbye that is old costs nothing");
    let early = quit(NOW);
    exhaust(&mut room);
    let outcomes = [
        ("the author is not the receiver", judge(&mut room, own)),
        ("the author is not banned", judge(&mut banned(), old)),
        ("`time` is at most 10 minutes", stale),
        ("the signature is valid", judge(&mut room, forged(early.clone()))),
        ("`time` is later than `sequence`", judge(&mut room, early)),
        ("the author is within its [rate]", judge(&mut room, quit(NOW + 5))),
        ("it is later than the author's last goodbye", repeated),
    ];
    assert_checks("**Quit**", &outcomes);
    assert!(README.contains("A forged Quit that is old is ignored and costs 0, not 50."));
}

#[test]
fn a_payload_that_cannot_be_read_is_rejected_first() {
    let rows = table_in(after(README, "**Every payload**"), &["check", "verdict if it fails"]);
    let malformed = Topic::Chat.decode(&[]).expect_err("nothing");
    assert_eq!(rows[0][1..], strings(&["reject", &points(Some((&malformed).into()))])[..]);
    assert_eq!(rows[1][1..], strings(&["ignore", "0"])[..]);
    let net = source("net/swarm/gossip.rs");
    let (decode, admit) = (net.find("topic.decode(&message.data)"), net.find("pending.admit("));
    assert!(decode.is_some() && decode < admit, "a payload is decoded before room is sought");
}
