//! Tests that compare the documents in `proto/` with the code: golden bytes of every message, the
//! CDDL, and the pages.
//!
//! The tests generate `proto/vectors/wire.json` and compare it with the file. With
//! `FRIENDCHAIN_BLESS=1` in the environment they write the file. Use that to add messages, never to
//! change one.

mod answers;
mod examples;
mod layouts;
mod names;
mod page;
mod readme;
mod requests;
mod storage;
mod verdicts;

use std::{collections::BTreeMap, path::PathBuf};

use data_encoding::HEXLOWER;
use proptest::prelude::*;
use serde_json::{Value, json};

use self::examples::{
    Channel, EPHEMERAL, Example, FRIENDS, Message, World, agreer, friend, signer,
};
use super::{
    CodecError, Protocol, SignedLine, Topic, alive_topic, codec, gossip_id, probe,
    testing::{gossip, request, response},
};
use crate::{
    consensus::testing::GENESIS_TIME,
    friends::{Friends, FriendsConfig, ReceiveError},
    peers::{Offence, Trust},
    primitives::{Encode, NetworkId, SHORT_ID_BYTES, leaf_hash, sha256, short_id},
};

fn hex(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(bytes.as_ref())
}

/// Returns the bytes in a field of a vector.
fn bytes(vector: &Value, field: &str) -> Vec<u8> {
    HEXLOWER.decode(vector[field].as_str().expect("text").as_bytes()).expect("hex")
}

/// Returns the content of the file, which must equal `made`. When blessing, writes `made` first.
fn golden(file: &str, made: &Value) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("proto/vectors").join(file);
    if std::env::var_os("FRIENDCHAIN_BLESS").is_some() {
        let text = serde_json::to_string_pretty(made).expect("JSON") + "\n";
        std::fs::write(&path, text).expect("the vectors can be written");
    }
    let text = std::fs::read_to_string(&path).expect("the vectors exist");
    let frozen: Value = serde_json::from_str(&text).expect("the vectors are JSON");
    assert!(&frozen == made, "{file} differs from the code: the messages have changed");
    frozen
}

/// Returns CBOR's diagnostic notation (RFC 8949, section 8) of the first item. It reads the bytes
/// without the codec, as a second opinion.
fn diagnostic(bytes: &mut &[u8]) -> String {
    let (&first, rest) = bytes.split_first().expect("an item");
    let width = match first & 0x1f {
        0..=23 => 0,
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => panic!("not canonical"),
    };
    let (number, rest) = rest.split_at(width);
    *bytes = rest;
    let argument = number.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let argument = if width == 0 { u64::from(first & 0x1f) } else { argument };
    let mut string = || {
        let (string, rest) = bytes.split_at(usize::try_from(argument).expect("short"));
        *bytes = rest;
        string.to_vec()
    };
    match first >> 5 {
        0 => argument.to_string(),
        2 => format!("h'{}'", hex(string())),
        3 => format!("{:?}", String::from_utf8(string()).expect("UTF-8")),
        4 => {
            format!("[{}]", (0..argument).map(|_| diagnostic(bytes)).collect::<Vec<_>>().join(", "))
        }
        7 if first == 0xf6 => "null".to_owned(),
        _ => panic!("{first:#04x} begins no item of a message"),
    }
}

fn message_vector(network: &NetworkId, (says, message): &Example) -> Value {
    let (channel, encoded) = (message.channel(), message.encode());
    let mut rest = &encoded[..];
    let diagnostic = diagnostic(&mut rest);
    assert!(rest.is_empty(), "{says}: bytes follow the item");
    let mut vector = json!({
        "direction": channel.direction(), "message": message.name(), "says": says,
        "diagnostic": diagnostic, "bytes": hex(&encoded),
    });
    match channel {
        Channel::Gossip(topic) => {
            vector["topic"] = channel.name().into();
            vector["gossip_id"] = id_of(&topic.name(network), &encoded).into();
        }
        Channel::Request(_) | Channel::Response(_) => vector["protocol"] = channel.name().into(),
    }
    vector
}

fn signed_vectors(world: &World) -> Vec<Value> {
    let network = &world.network.id;
    let (profile, bare, quit) = (world.profile(0), world.profile(1), world.quit());
    let (direct, to_all) = (world.line(true), world.line(false));
    for verified in [profile.verify(network), bare.verify(network), quit.verify(network)] {
        verified.expect("its own signature is valid");
    }
    let vector = |kind: &str,
                  signer: usize,
                  message: Vec<u8>,
                  signature: crate::primitives::Signature,
                  id| {
        json!({
            "kind": kind, "signer": FRIENDS[signer].0, "signing_bytes": hex(message),
            "signature": signature, "message_id": id,
        })
    };
    let no_id = None::<String>;
    vec![
        vector("profile", 0, profile.signing_bytes(network), profile.signature, no_id.clone()),
        vector("profile", 1, bare.signing_bytes(network), bare.signature, no_id),
        vector(
            "line",
            0,
            direct.signing_bytes(network),
            direct.signature,
            Some(direct.id(network).to_string()),
        ),
        vector(
            "line",
            0,
            to_all.signing_bytes(network),
            to_all.signature,
            Some(to_all.id(network).to_string()),
        ),
        vector(
            "quit",
            0,
            quit.signing_bytes(network),
            quit.signature,
            Some(quit.id(network).to_string()),
        ),
    ]
}

/// Returns the vector of bytes that do not decode on the channel.
fn refused(channel: Channel, why: &str, bytes: &[u8]) -> Value {
    let error = channel.decode(bytes).expect_err(why);
    // A stream without a byte ends in `net::codec`, before the codec of messages.
    let is_silent = bytes.is_empty() && !matches!(channel, Channel::Gossip(_));
    let points = if is_silent { 0 } else { Offence::from(&error).weight() };
    json!({
        "on": channel.name(), "direction": channel.direction(), "why": why, "code": error.code(),
        "points": points, "bytes": hex(bytes),
    })
}

/// Returns the id of a gossip message, as the README defines it.
fn id_of(topic: &str, payload: &[u8]) -> String {
    let id = hex(&sha256(&[topic.as_bytes(), &[0], payload])[..20]);
    assert_eq!(id, hex(gossip_id(topic, payload)));
    id
}

/// Returns the vector of a probe on the topic `alive`.
fn probe_vector(network: &NetworkId) -> Value {
    let nanoseconds = u128::from(GENESIS_TIME + 5_000) * 1_000_000;
    let payload = probe(&friend(0), nanoseconds);
    json!({
        "publisher": FRIENDS[0].0, "nanoseconds": nanoseconds.to_string(), "bytes": hex(payload),
        "topic": "alive", "gossip_id": id_of(&alive_topic(network), &payload),
    })
}

/// Returns the vector of a sealed line, which its receiver opens.
fn sealed_vector(world: &World) -> Value {
    let (line, sealed) = (world.line(true), world.sealed());
    assert_eq!(sealed.open(&world.network.id, &agreer(1)), Ok(line.clone()));
    json!({
        "author": FRIENDS[0].0, "receiver": FRIENDS[1].0, "ephemeral_secret": hex(EPHEMERAL),
        "shared_secret": hex(*agreer(1)(sealed.sealed[1..33].try_into().expect("a key"))),
        "line": hex(codec::encode(&line)), "box": hex(&sealed.sealed),
    })
}

/// Returns texts of chat lines, each with the receiver's verdict on whether it is blank.
fn blank_vectors(world: &World) -> Vec<Value> {
    let sign = signer(1);
    let config = FriendsConfig {
        me: friend(1),
        network: world.network.id,
        signer: Box::new(move |b| sign(b)),
        agree: Box::new(agreer(1)),
        trust: Trust::default(),
        clock: Box::new(|| 1_000),
    };
    let mut receiver = Friends::in_memory(config).expect("a store");
    let texts = [
        "",
        " ",
        "\t\r\n",
        "\u{85}",
        "\u{a0}",
        "\u{1680}",
        "\u{2028}",
        "\u{3000}",
        " \u{85}\u{3000} ",
        "\u{feff}",
        "\u{200b}",
        "\u{2060}",
        "\u{180e}",
        "\u{0}",
        "\u{85}\u{feff}",
        " a ",
    ];
    let mut is_blank = |text: &str, counter| {
        let (network, time) = (&world.network.id, GENESIS_TIME);
        let line = SignedLine::sign(network, friend(0), None, time, counter, text, &signer(0));
        let received = receiver.receive_broadcast(line.expect("short"), time);
        matches!(received, Err(ReceiveError::Empty { .. }))
    };
    let vector = |(text, counter): (&str, u64)| {
        let code_points: Vec<_> = text.chars().map(|c| format!("U+{:04X}", u32::from(c))).collect();
        json!({ "text": text, "code_points": code_points, "blank": is_blank(text, counter) })
    };
    texts.into_iter().zip(0..).map(vector).collect()
}

fn refused_vectors(world: &World) -> Vec<Value> {
    let (hello, friends) = (Channel::Request(Protocol::Hello), Channel::Request(Protocol::Friends));
    let (sync, inv) = (Channel::Request(Protocol::Sync), Channel::Response(Protocol::Sync));
    let blocks = Channel::Gossip(Topic::Blocks);
    let locator = |count: usize| {
        let hashes = [&[0x58, 0x20][..], &[7; 32]].concat().repeat(count);
        [&[0x82, 0x00, 0x83, 0x98, u8::try_from(count).expect("few")][..], &hashes, &[0x01, 0x00]]
            .concat()
    };
    sync.decode(&locator(64)).expect("a locator of 64 is within the limit");
    let status = Message::encode(&world.messages()[0].1);
    let short_work = {
        let at =
            status.windows(4).position(|window| window == [0x58, 0x20, 0, 0]).expect("the work");
        [&status[..at], &[0x58, 0x1f], &status[at + 3..]].concat()
    };
    vec![
        refused(friends, "nothing", &[]),
        refused(friends, "a byte behind the message", &[0x81, 0x00, 0x00]),
        refused(friends, "an unknown number", &[0x81, 0x09]),
        refused(friends, "a body where there is none", &[0x82, 0x00, 0x00]),
        refused(friends, "no body where there is one", &[0x81, 0x01]),
        refused(friends, "a number not in its shortest form", &[0x81, 0x18, 0x00]),
        refused(friends, "a length not in its shortest form", &[0x98, 0x01, 0x00]),
        refused(friends, "an indefinite length", &[0x9f, 0x00, 0xff]),
        refused(friends, "a map", &[0xa1, 0x00, 0x00]),
        refused(friends, "a tag", &[0xc0, 0x81, 0x00]),
        refused(friends, "a float", &[0x81, 0xf9, 0x00, 0x00]),
        refused(hello, "a work of 31 bytes", &short_work),
        refused(hello, "a Status that is cut", &status[..status.len() - 1]),
        refused(sync, "a locator of 65 hashes", &locator(65)),
        refused(sync, "a limit of 2,001", &[0x82, 0x00, 0x82, 0x80, 0x19, 0x07, 0xd1]),
        refused(sync, "positions that do not ascend", &{
            [&[0x82, 0x03, 0x82, 0x58, 0x20][..], &[7; 32], &[0x82, 0x02, 0x02]].concat()
        }),
        refused(inv, "headers of 91 bytes", &[&[0x82, 0x00, 0x58, 0x5b][..], &[1; 91]].concat()),
        refused(inv, "an unknown refusal", &[0x82, 0x06, 0x81, 0x07]),
        refused(
            blocks,
            "a header of 93 bytes",
            &[&[0x82, 0x00, 0x58, 0x5d][..], &[1; 93]].concat(),
        ),
    ]
}

const ABOUT: &str = "Every message on the network `test` of networks.json, its first block, and \
                     three friends. Bytes are hex.";

#[test]
fn messages_are_frozen() {
    let world = World::new();
    let network = &world.network.id;
    let messages = world.messages();
    let peers = FRIENDS.iter().enumerate().map(|(number, (name, seed))| {
        let peer = friend(number);
        json!({
            "name": name, "seed": hex([*seed; 32]), "public_key": peer.0, "peer_id": peer,
            "multihash": hex(peer.to_multihash()),
        })
    });
    let protocols: BTreeMap<_, _> =
        Protocol::ALL.into_iter().map(|each| (each.code(), each.id(network))).collect();
    let topics: BTreeMap<_, _> = Topic::ALL
        .into_iter()
        .map(|each| (each.code(), each.name(network)))
        .chain([("alive", alive_topic(network))])
        .collect();
    let short_ids = world.block.transactions[1..].iter().map(|transaction| {
        let (block, leaf) = (world.header.hash(), leaf_hash(transaction));
        json!({ "block": block, "leaf": leaf, "short_id": hex(short_id(&block, &leaf)) })
    });
    let made = json!({
        "about": ABOUT,
        "network_id": network,
        "protocols": protocols,
        "topics": topics,
        "friends": peers.collect::<Vec<_>>(),
        "block": { "hash": world.header.hash(), "bytes": hex(world.block.to_bytes()) },
        "messages": messages
            .iter()
            .map(|example| message_vector(network, example))
            .collect::<Vec<_>>(),
        "signed": signed_vectors(&world),
        "sealed": sealed_vector(&world),
        "short_ids": short_ids.collect::<Vec<_>>(),
        "refused": refused_vectors(&world),
        "probe": probe_vector(network),
        "blank": blank_vectors(&world),
    });
    let frozen = golden("wire.json", &made);

    for (vector, (says, message)) in
        frozen["messages"].as_array().expect("a list").iter().zip(&messages)
    {
        let encoded = bytes(vector, "bytes");
        assert_eq!(message.channel().decode(&encoded).as_ref(), Ok(message), "{says}");
        assert_eq!(message.encode(), encoded, "{says}");
    }
}

/// Validates bytes against the CDDL of `proto/`.
fn in_cddl(channel: Channel, bytes: &[u8]) -> Result<(), String> {
    let (cddl, rule) = channel.rule();
    cddl_cat::validate_cbor_bytes(rule, cddl, bytes)
        .map_err(|error| format!("{rule}: {error}: {}", hex(bytes)))
}

#[test]
fn every_frozen_message_is_in_the_cddl_of_its_channel_alone() {
    let messages = World::new().messages();
    for (says, message) in &messages {
        in_cddl(message.channel(), &message.encode()).expect(says);
    }
    for channel in Channel::all() {
        assert!(
            messages.iter().any(|(_, message)| message.channel() == channel),
            "{channel:?} has an example"
        );
        for bytes in [&[0x80][..], &[0x81, 0x18, 0x63], &[0x00], &[0xa0], &[0x82, 0x00, 0x00]] {
            assert!(in_cddl(channel, bytes).is_err(), "{channel:?}: {bytes:x?}");
        }
    }
}

/// Returns an array of `count` equal items, given in hex.
fn repeated(item: &str, count: usize) -> Vec<u8> {
    let head = [&[0x9a][..], &u32::try_from(count).expect("few").to_be_bytes()].concat();
    [head, HEXLOWER.decode(item.as_bytes()).expect("hex").repeat(count)].concat()
}

/// Returns a string of a major type, with a head of 5 bytes.
fn string(major: u8, length: usize) -> Vec<u8> {
    let length_bytes = u32::try_from(length).expect("short").to_be_bytes();
    [&[major << 5 | 0x1a][..], &length_bytes, &vec![b'x'; length]].concat()
}

#[test]
fn limits_of_the_cddl_are_the_codecs() {
    // Each limit is tried with the allowed number of items, or with one more.
    let hash = format!("5820{}", "07".repeat(32));
    let (sync, data) = (Channel::Request(Protocol::Sync), Channel::Response(Protocol::Sync));
    let (blocks, chat) = (Channel::Gossip(Topic::Blocks), Channel::Gossip(Topic::Chat));
    let (asked, told) = (Channel::Request(Protocol::Chat), Channel::Response(Protocol::Chat));
    let (trades, block) = (super::limits::MAX_BLOCK_TRADES, super::limits::MAX_BLOCK_BYTES);
    let item = |kind: u8, length| [&[0x81, 0x82, kind][..], &string(2, length)].concat();
    let compact = |ids: usize| {
        [&[0x83][..], &string(2, 92), &string(2, 0), &string(2, ids * SHORT_ID_BYTES)].concat()
    };
    let line = |length| {
        let (author, signature) = (string(2, 32), string(2, 64));
        [&[0x86][..], &author, &[0xf6, 0, 0], &string(3, length), &signature].concat()
    };
    let sealed = |length| [&[0x82][..], &string(2, 32), &string(2, length)].concat();
    let cases = [
        (sync, 2, repeated(&format!("8200{hash}"), 129), false),
        (data, 1, repeated(&hash, 10_001), false),
        (data, 1, repeated(&hash, 10_000), true),
        (data, 2, repeated("8102", 129), false),
        (data, 3, repeated("40", trades + 1), false),
        (data, 3, repeated("40", trades), true),
        (data, 0, string(2, 184_000), true),
        (data, 0, string(2, 184_092), false),
        (data, 2, item(0, block + 1), false),
        (data, 2, item(0, block), true),
        (data, 2, item(1, 100_001), false),
        (data, 2, item(1, 100_000), true),
        (blocks, 1, compact(trades + 1), false),
        (blocks, 1, compact(trades), true),
        (asked, 2, string(2, 528), false),
        (asked, 2, string(2, 512), true),
        (asked, 3, sealed(4_657), true),
        (asked, 3, sealed(305), true),
        (asked, 3, sealed(306), false),
        (asked, 3, sealed(4_658), false),
        (told, 3, [&[0x82][..], &string(2, 16_400), &[0]].concat(), false),
        (told, 3, [&[0x82][..], &string(2, 16_384), &[0]].concat(), true),
        (told, 4, [&[0x98, 33][..], &line(1).repeat(33)].concat(), false),
        (told, 4, [&[0x98, 32][..], &line(1).repeat(32)].concat(), true),
        (chat, 0, line(4_097), false),
        (chat, 0, line(4_096), true),
    ];
    for (at, (channel, number, body, allowed)) in cases.into_iter().enumerate() {
        let bytes = [&[0x82, number][..], &body].concat();
        assert_eq!(in_cddl(channel, &bytes).is_ok(), allowed, "case {at}, CDDL");
        // The heads here are longer than needed, which only the codec refuses.
        let verdict = channel.decode(&bytes);
        let within = matches!(verdict, Ok(_) | Err(CodecError::NotCanonical));
        assert!(within || !allowed, "case {at}, codec: {verdict:?}");
        assert!(verdict.is_err() || allowed, "case {at}, codec");
    }
}

#[test]
fn a_probe_is_in_the_cddl_as_a_byte_string() {
    let (cddl, _) = Channel::Gossip(Topic::Chat).rule();
    let payload = probe(&friend(0), 1);
    for (length, allowed) in [(payload.len(), true), (128, true), (129, false)] {
        let found = cddl_cat::validate_cbor_bytes("alive-probe", cddl, &string(2, length));
        assert_eq!(found.is_ok(), allowed, "{length} bytes");
    }
    assert_eq!(super::limits::MAX_PROBE_BYTES, 128);
}

#[test]
fn a_damaged_message_is_refused_or_another_one_that_the_cddl_knows() {
    for (says, message) in World::new().messages() {
        let (channel, whole) = (message.channel(), message.encode());
        for end in 0..whole.len() {
            assert!(channel.decode(&whole[..end]).is_err(), "{says}, cut at {end}");
        }
        assert!(channel.decode(&[&whole[..], &[0]].concat()).is_err(), "{says}, longer");
        for at in 0..whole.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut damaged = whole.clone();
                damaged[at] ^= flip;
                let Ok(other) = channel.decode(&damaged) else { continue };
                assert_ne!(other, message, "{says}, damaged at {at}");
                assert_eq!(other.encode(), damaged, "{says}, damaged at {at}");
                if at < 8 || at % 64 == 0 {
                    in_cddl(channel, &damaged).expect(says);
                }
            }
        }
    }
}

#[test]
fn a_rule_of_one_name_reads_alike_in_every_file() {
    let mut rules = BTreeMap::new();
    let mut files: Vec<&str> = Channel::all().map(|channel| channel.rule().0).collect();
    files.dedup();
    for file in files {
        let lines = file.lines().map(|line| line.split(';').next().unwrap_or_default());
        let text = lines.collect::<Vec<_>>().join("\n");
        for rule in text.split("\n\n").flat_map(|part| {
            let starts =
                part.lines().filter(|line| line.contains(" = ") || line.ends_with(" =")).count();
            if starts > 1 {
                part.lines().map(str::to_owned).collect()
            } else {
                vec![part.to_owned()]
            }
        }) {
            let Some((name, body)) = rule.split_once('=') else { continue };
            let body: String = body.split_whitespace().collect();
            let known = rules.entry(name.trim().to_owned()).or_insert_with(|| body.clone());
            assert_eq!(*known, body, "{name}");
        }
    }
    assert!(rules.len() > 20 && rules.contains_key("signed-line"), "{:?}", rules.keys());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_request_is_in_the_cddl(request in request()) {
        let message = Message::Request(request);
        prop_assert_eq!(in_cddl(message.channel(), &message.encode()), Ok(()));
    }

    #[test]
    fn any_response_is_in_the_cddl(response in response()) {
        let message = Message::Response(response);
        prop_assert_eq!(in_cddl(message.channel(), &message.encode()), Ok(()));
    }

    #[test]
    fn any_gossip_is_in_the_cddl(gossip in gossip()) {
        let message = Message::Gossip(gossip);
        prop_assert_eq!(in_cddl(message.channel(), &message.encode()), Ok(()));
    }

    /// The codec accepts nothing that the CDDL does not allow.
    #[test]
    fn a_damaged_message_that_passes_is_in_the_cddl(
        number in any::<prop::sample::Index>(),
        changes in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..4),
    ) {
        let messages = World::new().messages();
        let (_, message) = &messages[number.index(messages.len())];
        let mut damaged = message.encode();
        for (at, byte) in changes {
            let at = at.index(damaged.len());
            damaged[at] = byte;
        }
        if message.channel().decode(&damaged).is_ok() {
            prop_assert_eq!(in_cddl(message.channel(), &damaged), Ok(()));
        }
    }
}
