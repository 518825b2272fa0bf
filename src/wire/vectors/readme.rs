//! Tests that compare the README's tables, names and bytes with the code. Constants that modules
//! keep private are read from their source.

use std::collections::BTreeSet;

use data_encoding::HEXLOWER;

use super::{
    examples::{Channel, World},
    page::{README, assert_constants, constant, number, source, strings, table},
};
use crate::{
    consensus, peers,
    peers::Offence,
    primitives,
    wire::{Protocol, Refusal, Topic, alive_topic, codec, limits},
};

/// Returns the value of a constant that the table of limits may name.
fn limit(name: &str) -> i64 {
    macro_rules! named {
        ($($module:ident::{$($constant:ident),+ $(,)?}),+ $(,)?) => {
            match name {
                $($(stringify!($constant) => i64::try_from($module::$constant).expect("small"),)+)+
                _ => panic!("{name} is a limit of the code"),
            }
        };
    }
    named! {
        consensus::{
            MAX_GENESIS_BYTES, MAX_CHAIN_NAME_BYTES, MAX_SPACING_MS, MIN_FLOOR_BITS,
            MAX_FLOOR_BITS, COINBASE_MATURITY, MAX_INVITE_CHARS, MAX_PROOF_CHARS, MAX_PROOF_STEPS,
        },
        primitives::{MAX_MEMO_BYTES, HEADER_BYTES, SHORT_ID_BYTES, MAX_NAME_CHARS},
        limits::{
            MAX_BLOCK_BYTES, MAX_TRANSACTION_BYTES, MAX_INV_HEADERS, MAX_LOCATOR, MAX_GET_DATA,
            MAX_MEMPOOL_IDS, GET_DATA_BUDGET, MAX_BLOCK_TRADES, MAX_GOSSIP_TRADES, MAX_TRADES_BYTES,
            MAX_SHORT_IDS, MAX_PROFILES,
            MAX_ADDRESSES, MAX_ADDRESS_BYTES, MAX_NAME_BYTES, MAX_LINE_BYTES, MAX_HELLO_BYTES,
            SEAL_BYTES, MAX_SEALED_BYTES, MAX_RANGE_BLOCKS, MAX_RANGE_BYTES,
            MAX_FRIENDS_REQUEST_BYTES, MAX_FRIENDS_RESPONSE_BYTES, MAX_CHAT_REQUEST_BYTES,
            MAX_CHAT_RESPONSE_BYTES, LINE_ID_BYTES, MAX_LINE_IDS, MAX_GET_LINES,
            MAX_SYNC_REQUEST_BYTES, MAX_SYNC_RESPONSE_BYTES, MAX_PROBE_BYTES,
            MAX_GOSSIP_BYTES,
        },
    }
}

#[test]
fn every_limit_of_the_readme_is_the_codes_and_none_is_left_out() {
    let rows = table(&["constant", "value", "unit", "why"]);
    for row in &rows {
        assert_eq!(number(&row[1]), limit(&row[0]), "{}", row[0]);
    }
    let declared = include_str!("../limits.rs")
        .match_indices("\npub(crate) const ")
        .filter_map(|(at, head)| include_str!("../limits.rs")[at + head.len()..].split(':').next());
    for name in declared {
        assert!(rows.iter().any(|row| row[0] == name), "the README names {name}");
    }
}

#[test]
fn every_time_and_rate_of_the_readme_is_the_codes() {
    let rows = table(&["constant", "value", "unit", "meaning"]);
    assert_constants(&rows);
    let value = |name: &str| rows.iter().find(|row| row[0] == name).map(|row| number(&row[1]));
    assert_eq!(value("BAN_SCORE"), Some(peers::BAN_SCORE));
    assert_eq!(value("BAN_MS"), Some(peers::BAN_MS.cast_signed()));
}

#[test]
fn every_bound_on_what_a_node_keeps_is_the_codes() {
    assert_constants(&table(&["constant", "value", "unit", "of what"]));
}

#[test]
fn each_limit_of_a_level_is_the_codes() {
    for row in table(&["limit", "stranger", "introduced", "friend", "constants"]) {
        let levels = [("stranger", &row[1]), ("introduced", &row[2]), ("friend", &row[3])];
        for name in row[4].split(", ").map(|name| name.trim_matches('`')) {
            if let Some(name) = name.strip_suffix(".*") {
                for (field, cell) in levels {
                    assert_eq!(number(cell), constant(&format!("{name}.{field}")), "{name}");
                }
            } else {
                let value = constant(name);
                let is_told = |cell: &str| cell.replace(',', "").parse() == Ok(value);
                assert!(levels.iter().any(|(_, cell)| is_told(cell)), "{name} is {value}");
            }
        }
    }
}

fn size(channel: Channel) -> i64 {
    i64::try_from(channel.max_bytes()).expect("small")
}

#[test]
fn protocols_and_topics_of_the_readme_are_the_codes() {
    let network = World::new().network.id;
    let tag = &network.to_string()[..8];
    let protocols = table(&["protocol", "id"]);
    assert_eq!(protocols.len(), Protocol::ALL.len());
    let behaviour = source("net/behaviour.rs");
    for (row, protocol) in protocols.iter().zip(Protocol::ALL) {
        assert_eq!(row[0], Channel::Request(protocol).name());
        assert_eq!(row[1].replace("TAG", tag), protocol.id(&network));
        assert_eq!(number(&row[2]), size(Channel::Request(protocol)), "{}", row[0]);
        assert_eq!(number(&row[3]), size(Channel::Response(protocol)), "{}", row[0]);
        let waits = match number(&row[4]) {
            seconds if seconds % 60 == 0 => format!("Duration::from_mins({})", seconds / 60),
            seconds => format!("Duration::from_secs({seconds})"),
        };
        let arm = behaviour.lines().skip_while(|line| !line.contains("fn request_timeout")).take(8);
        let name = format!("Protocol::{protocol:?}");
        let mut arm = arm.skip_while(|line| !line.contains(&name));
        assert!(arm.any(|line| line.contains(&waits)), "the time-out of {}", row[0]);
    }
    let topics = table(&["topic", "gossipsub's topic"]);
    assert_eq!(topics.len(), Topic::ALL.len() + 1);
    for (row, topic) in topics.iter().zip(Topic::ALL) {
        assert_eq!(row[0], Channel::Gossip(topic).name());
        assert_eq!(row[1].replace("TAG", tag), topic.name(&network));
        assert_eq!(number(&row[2]), size(Channel::Gossip(topic)), "{}", row[0]);
    }
    let alive = topics.last().expect("a topic");
    assert_eq!(alive[0], "alive");
    assert_eq!(alive[1].replace("TAG", tag), alive_topic(&network));
    assert_eq!(number(&alive[2]), i64::try_from(limits::MAX_PROBE_BYTES).expect("small"));
    for name in ["/friendchain/kad/1/", "/friendchain/1"] {
        assert!(behaviour.contains(name) && README.contains(name), "{name}");
    }
    for row in table(&["setting", "value"]) {
        assert!(behaviour.contains(&format!(".{}({})", row[0], row[1])), "gossipsub's {}", row[0]);
    }
}

#[test]
fn messages_of_the_readme_are_the_codes() {
    let told: BTreeSet<_> = table(&["on", "direction", "number", "message"])
        .into_iter()
        .map(|row| row[..4].to_vec())
        .collect();
    let messages = World::new().messages();
    let real: BTreeSet<_> = messages
        .iter()
        .map(|(_, message)| {
            let channel = message.channel();
            // `[number]` and `[number, body]` hold their number in the second byte.
            let number = message.encode()[1].to_string();
            strings(&[channel.name(), channel.direction(), &number, message.name()])
        })
        .collect();
    assert_eq!(told, real);
    for channel in Channel::all() {
        let numbers = real
            .iter()
            .filter(|row| row[0] == channel.name() && row[1] == channel.direction())
            .count();
        let next = u8::try_from(numbers).expect("few");
        for bytes in [
            vec![0x81, next],
            vec![0x82, next, 0x00],
            vec![0x82, next, 0x40],
            vec![0x82, next, 0x80],
        ] {
            let refused = channel.decode(&bytes).expect_err("there is no further number");
            assert!(
                refused.to_string().contains("is no variant"),
                "{channel:?} {next} is missing: {refused}"
            );
        }
    }
}

#[test]
fn refusals_of_the_readme_are_the_codes() {
    let rows = table(&["number", "name", "meaning", "what to do"]);
    for (expected, row) in (0_u8..).zip(&rows) {
        assert_eq!(row[0], expected.to_string());
        let refusal = [
            Refusal::OverLimit,
            Refusal::BadSignature,
            Refusal::NotYours,
            Refusal::NotMine,
            Refusal::Stale,
            Refusal::RateLimited,
            Refusal::Invalid,
        ][usize::from(expected)];
        assert_eq!(row[1], format!("{refusal:?}"));
        assert_eq!(codec::encode(&refusal), [0x81, expected]);
    }
    let next = u8::try_from(rows.len()).expect("few");
    let refused = Channel::Response(Protocol::Chat).decode(&[0x82, 0x01, 0x81, next]);
    assert!(
        refused.is_err_and(|error| error.to_string().contains("is no variant")),
        "refusal {next} is missing"
    );
}

#[test]
fn penalties_of_the_readme_are_the_codes() {
    let told: BTreeSet<_> = table(&["offence", "points", "for"])
        .into_iter()
        .map(|row| (row[0].clone(), number(&row[1])))
        .collect();
    let real: BTreeSet<_> =
        Offence::ALL.iter().map(|offence| (offence.code().to_owned(), offence.weight())).collect();
    assert_eq!(told, real);
}

/// Returns the texts in backticks.
fn quoted() -> BTreeSet<&'static str> {
    README.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn every_code_of_the_rules_is_told_of() {
    let quoted = quoted();
    for source in [include_str!("../../consensus/errors.rs"), include_str!("../codec_error.rs")] {
        let codes: Vec<_> =
            source.match_indices("=> \"").map(|(at, head)| &source[at + head.len()..]).collect();
        assert!(codes.len() > 5);
        for code in codes.into_iter().filter_map(|rest| rest.split('"').next()) {
            let is_code = code.contains('_') || matches!(code, "malformed" | "mismatch");
            assert!(!is_code || quoted.contains(code), "the README names `{code}`");
        }
    }
}

#[test]
fn signing_tags_of_the_readme_are_the_codes() {
    let quoted = quoted();
    for source in [include_str!("../signing.rs"), include_str!("../../primitives/transaction.rs")] {
        let tags = source.match_indices("b\"friendchain/").map(|(at, _)| &source[at + 2..]);
        let tags: Vec<_> = tags.filter_map(|rest| rest.split('"').next()).collect();
        assert!(!tags.is_empty());
        for tag in tags {
            assert!(quoted.contains(tag), "the README names the tag {tag}");
        }
    }
}

#[test]
fn the_bytes_of_the_walk_are_those_of_the_vectors() {
    let messages: Vec<_> =
        World::new().messages().iter().map(|(_, message)| message.encode()).collect();
    let blocks: Vec<&str> =
        README.split("```hex\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 8);
    for block in blocks {
        let text: String = block.lines().filter_map(|line| line.split(';').next()).collect();
        let (text, is_whole) =
            text.split_once("...").map_or((text.as_str(), true), |(text, _)| (text, false));
        let digits: String = text.split_whitespace().collect();
        let bytes = HEXLOWER.decode(digits.as_bytes()).expect("hex");
        let found = messages
            .iter()
            .any(|message| if is_whole { *message == bytes } else { message.starts_with(&bytes) });
        assert!(found, "no message is {digits}");
    }
}

#[test]
fn the_readme_points_at_what_is_there() {
    let anchors: BTreeSet<String> = README
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|title| {
            title.replace(' ', "-").replace(|c: char| !(c.is_alphanumeric() || c == '-'), "")
        })
        .collect();
    for link in README.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(anchors.contains(link), "#{link} is a heading");
    }
    let proto = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let named = quoted();
    for name in named.iter().filter(|name| {
        let extension = std::path::Path::new(name).extension().and_then(std::ffi::OsStr::to_str);
        matches!(extension, Some("cddl" | "json"))
    }) {
        assert!(proto.join(name).exists() || proto.join("vectors").join(name).exists(), "{name}");
    }
    assert!(proto.join("storage.md").exists());
}
