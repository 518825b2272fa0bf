//! Tests of the README's statements on layouts and on details of the protocol.

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;

use super::{
    examples::{EPHEMERAL, World, friend},
    page::{number, says, source, table},
};
use crate::{
    chain::testing::{TestChain, genesis_coin, key, network, owner, pay},
    consensus::{Checkpoint, INVITE_PREFIX, Invite, PROOF_PREFIX, Proof, Work, testing::mine},
    primitives::{Block, BlockHash, Encode, sha256d},
    wire::{GetBlocks, HelloRequest, Protocol, Request, SyncRequest, limits, probe},
};

/// Evaluates a sum such as `37 + g`, in which letters stand for lengths.
fn sum(text: &str, lengths: &BTreeMap<&str, usize>) -> usize {
    let product = |text: &str| {
        text.split(" * ")
            .map(|factor| {
                lengths
                    .get(factor)
                    .copied()
                    .unwrap_or_else(|| usize::try_from(number(factor)).expect("a length"))
            })
            .product::<usize>()
    };
    text.split(" + ").map(product).sum()
}

/// Cuts bytes into the fields of a layout table, and returns each with its description.
fn fields(
    rows: &[Vec<String>],
    lengths: &BTreeMap<&str, usize>,
    bytes: &[u8],
) -> Vec<(String, Vec<u8>)> {
    let mut end = 0;
    let mut found = Vec::new();
    for row in rows {
        let (offset, length) = (sum(&row[0], lengths), sum(&row[1], lengths));
        assert_eq!(offset, end, "{row:?} begins where the field before it ends");
        end = offset + length;
        found.push((row[2].clone(), bytes[offset..end].to_vec()));
    }
    assert_eq!(end, bytes.len(), "the table covers all bytes");
    found
}

fn payload(text: &str, prefix: &str) -> Vec<u8> {
    let encoded = text.strip_prefix(prefix).expect("the prefix");
    BASE64URL_NOPAD.decode(encoded.as_bytes()).expect("base64url")
}

fn checksum(bytes: &[u8]) -> Vec<u8> {
    sha256d(&[&bytes[..bytes.len() - 4]])[..4].to_vec()
}

/// Panics unless each field's description begins as expected, and its bytes are as expected.
fn assert_fields(found: &[(String, Vec<u8>)], expected: &[(&str, Vec<u8>)]) {
    assert_eq!(found.len(), expected.len());
    for ((description, bytes), (begins, value)) in found.iter().zip(expected) {
        assert!(description.starts_with(begins), "'{description}' begins with '{begins}'");
        assert_eq!(bytes, value, "{description}");
    }
}

#[test]
fn an_invite_has_the_layout_of_its_table() {
    let world = World::new();
    let genesis = world.network.genesis.to_bytes();
    let hash = BlockHash([5; 32]);
    let work = Work::from_be_bytes([1; 32]);
    let checkpoint = Checkpoint { height: 0x0102_0304, hash, work };
    let address = format!("/ip4/10.0.0.1/tcp/8891/p2p/{}", friend(0));
    let addresses = vec![address.clone(), address.clone()];
    let invite = Invite::new(world.network.clone(), checkpoint, addresses).expect("an invite");
    let bytes = payload(&invite.to_text(), INVITE_PREFIX);
    let length = u16::try_from(address.len()).expect("short").to_le_bytes();
    let list = [&length[..], address.as_bytes()].concat().repeat(2);
    let lengths = BTreeMap::from([("g", genesis.len()), ("a", list.len())]);
    let found = fields(&table(&["invite at", "bytes"]), &lengths, &bytes);
    let expected = [
        ("version u8 = 1", vec![1]),
        ("the genesis block", genesis),
        ("height of the checkpoint, u32", vec![4, 3, 2, 1]),
        ("hash of the checkpoint", hash.0.to_vec()),
        ("work of the chain", vec![1; 32]),
        ("count of addresses u8, at most 8", vec![2]),
        ("for each address: length u16, text", list),
        ("the first 4 bytes of SHA-256d", checksum(&bytes)),
    ];
    assert_fields(&found, &expected);
    assert_eq!(limits::MAX_ADDRESSES, 8);
}

#[test]
fn a_proof_has_the_layout_of_its_table() {
    let world = World::new();
    let network = world.network.id;
    // With four transactions, the third has a step to the right and one to the left.
    let mut block: Block = world.block.clone();
    block.transactions.push(world.waiting.clone());
    block.header.merkle_root = block.computed_merkle_root();
    mine(&mut block);
    let proof = Proof::of_block(network, &block, 2).expect("a proof");
    let bytes = payload(&proof.to_text(), PROOF_PREFIX);
    let transaction = block.transactions[2].to_bytes();
    let lengths = BTreeMap::from([("t", transaction.len()), ("s", 2)]);
    let leaves = block.leaves();
    let node = |left: &[u8], right: &[u8]| sha256d(&[&[1], left, right]);
    let siblings = [leaves[3].0, node(&leaves[0].0, &leaves[1].0)].concat();
    let found = fields(&table(&["proof at", "bytes"]), &lengths, &bytes);
    let expected = [
        ("version u8 = 1", vec![1]),
        ("network id", network.0.to_vec()),
        ("the header", block.header.to_bytes()),
        ("the transaction", transaction),
        ("count of steps u8, at most 14", vec![2]),
        ("sides u16", vec![0b10, 0]),
        ("for each step, from the leaf up", siblings),
        ("the first 4 bytes of SHA-256d", checksum(&bytes)),
    ];
    assert_fields(&found, &expected);
}

#[test]
fn a_sealed_line_has_the_layout_of_its_tables() {
    let world = World::new();
    let sealed = world.sealed().sealed;
    let size = sealed.len() - limits::SEAL_BYTES;
    let lengths = BTreeMap::from([("c", size)]);
    let found = fields(&table(&["sealed at", "bytes"]), &lengths, &sealed);
    let public = x25519_dalek::x25519(EPHEMERAL, x25519_dalek::X25519_BASEPOINT_BYTES);
    let expected = [
        ("version u8 = 1", vec![1]),
        ("ephemeral public key", public.to_vec()),
        ("the content", sealed[33..33 + size].to_vec()),
        ("tag of Poly1305", sealed[33 + size..].to_vec()),
    ];
    assert_fields(&found, &expected);
    says("*c* is the size of the content: the smallest of 256, 512, 1,024, 2,048 and 4,608");
    assert_eq!(crate::wire::SEALED_SIZES, [256, 512, 1_024, 2_048, 4_608]);
    assert_eq!(size, 256);
}

#[test]
fn a_probe_has_the_layout_of_its_table() {
    let payload = probe(&friend(0), 0x0102);
    let (_, rest) = super::page::README.split_once("A probe is 48 bytes").expect("its place");
    let rows = super::page::table_in(rest, &["offset", "bytes", "field"]);
    let found = fields(&rows, &BTreeMap::new(), &payload);
    let time = [&[0; 14][..], &[1, 2]].concat();
    let expected =
        [("the public key", friend(0).0.0.to_vec()), ("the publisher's time in nanoseconds", time)];
    assert_fields(&found, &expected);
}

#[test]
fn get_blocks_with_limit_0_brings_no_headers() {
    says("`limit` may be 0. The answer is then an empty Inv, which says nothing.");
    let get = GetBlocks { locator: vec![], limit: 0, skip: 0 };
    let request = Request::Sync(SyncRequest::GetBlocks(get));
    let bytes = request.encode().expect("within the limits");
    assert_eq!(Protocol::Sync.decode_request(&bytes), Ok(request));
    let mut chain = TestChain::new();
    chain.mine(owner(&key(1)));
    chain.chain.commit().expect("a commit");
    let reader = chain.chain.reader();
    assert_eq!(reader.headers_after(&[], 0, 0), []);
    assert_eq!(reader.headers_after(&[], 0, 2_000).len(), 1, "an empty locator is the genesis");
}

#[test]
fn the_coins_of_the_genesis_can_be_spent_in_block_1() {
    says(
        "The outputs of the genesis are coins like those of any other coinbase. They can be \
          spent from block 1 on.",
    );
    let network = network();
    let mut chain = TestChain::new();
    let all = [(owner(&key(2)), 10_000_000_000)];
    let trade = pay(&network, &key(1), genesis_coin(&network), &all);
    chain.trade(&trade, crate::chain::testing::PEER).expect("accepted");
    let block = chain.mine(owner(&key(3)));
    assert_eq!((block.header.height, block.transactions.len()), (1, 2));
}

#[test]
fn the_protocol_version_of_identify_is_not_read() {
    says("It does not read the `protocolVersion` of others, so you may send any.");
    let net = source("net");
    assert!(net.contains("info.protocols") && net.contains("info.listen_addrs"));
    assert!(!net.contains("info.protocol_version"));
}

#[test]
fn a_peer_has_to_subscribe_and_a_subscriber_of_alive_to_publish() {
    says("has not subscribed to any topic 30 seconds after identify");
    says("Each node publishes a probe on it every 30 seconds.");
    says("that has sent it no gossip on any topic for 2 minutes");
    let net = source("net/mod.rs");
    for setting in [
        "let probe_interval = Duration::from_secs(30);",
        "silence: probe_interval * 4,",
        "subscribe: Duration::from_secs(30),",
    ] {
        assert!(net.contains(setting), "{setting}");
    }
}

#[test]
fn an_answer_on_sync_has_one_deadline_within_the_life_of_its_stream() {
    says("**An answer on `sync` must not stand still for 20 seconds** (`ANSWER_TIME`).");
    let row = |name: &str| {
        let rows = table(&["protocol", "id"]);
        number(&rows.iter().find(|row| row[0] == name).expect("a protocol")[4])
    };
    let rows = table(&["constant", "value", "unit", "meaning"]);
    let deadline = rows.iter().find(|row| row[0] == "REQUEST_TIMEOUT_MS").expect("a row");
    assert!(source("net/limits.rs").contains("ANSWER_TIME: Duration = Duration::from_secs(20)"));
    assert!(number(&deadline[1]) > 20_000, "the network fails a request before sync does");
    assert!(row("sync") * 1_000 > number(&deadline[1]));
    assert!([row("hello"), row("friends"), row("chat")].iter().all(|stream| *stream == 10));
}

#[test]
fn the_version_of_status_and_unknown_features_are_not_read() {
    says("Receivers do not read `version`, and ignore bits that they do not know.");
    let status = World::new().messages().into_iter().find_map(|(_, message)| match message {
        super::examples::Message::Request(Request::Hello(HelloRequest::Status(status))) => {
            Some(status)
        }
        _ => None,
    });
    let mut status = status.expect("a Status");
    (status.version, status.features) = (7, u64::MAX);
    let request = Request::Hello(HelloRequest::Status(status));
    let bytes = request.encode().expect("within the limits");
    assert_eq!(Protocol::Hello.decode_request(&bytes), Ok(request));
    let readers = [source("node/router"), source("sync")].concat();
    assert!(!readers.contains("status.version"));
    assert_eq!(readers.matches("status.features").count(), 1);
    assert!(readers.contains("status.features & FEATURE_MINES"));
}
