//! The golden vectors in `proto/vectors`, against which other implementations can be checked.
//!
//! No change of the code may change an existing vector. Each test computes the content of a file
//! and compares it with the file. With `FRIENDCHAIN_BLESS=1` in the environment the tests write the
//! files instead; use that only to add a vector.

use std::path::PathBuf;

use data_encoding::HEXLOWER;
use ruint::aliases::U256;
use serde_json::{Value, json};

use super::{
    ChainParams, Checkpoint, CoinKey, HeaderWindow, Invite, Network, SUBSIDY, SignatureError,
    Target, Work,
    difficulty::next_target,
    testing::{self, coinbase, crafted, hash, key, note, outpoint, owner, public_key, signed},
    verify_signature,
};
use crate::primitives::{
    Address, Amount, Block, BlockHash, Decode, DecodeError, Encode, Header, LeafHash, MerkleRoot,
    OutPoint, Owner, PublicKey, Signature, Transaction, TxId, TxOutput, coinbase_memo,
    encoding::from_bytes, leaf_hash, merkle_root,
};

const NETWORK: BlockHash = hash(0x55);

fn hex(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(bytes.as_ref())
}

fn bits(bits: u32) -> String {
    format!("{bits:08x}")
}

/// Compares a file's content with `made`, and returns it. When blessing, writes the file first.
pub(super) fn golden(file: &str, made: &Value) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("proto/vectors").join(file);
    if std::env::var_os("FRIENDCHAIN_BLESS").is_some() {
        let text = serde_json::to_string_pretty(made).expect("JSON") + "\n";
        std::fs::write(&path, text).expect("the vectors can be written");
    }
    let text = std::fs::read_to_string(&path).expect("the vectors are there");
    let frozen: Value = serde_json::from_str(&text).expect("the vectors are JSON");
    assert!(
        &frozen == made,
        "{file} no longer says what the code says: a consensus rule or a layout has changed"
    );
    frozen
}

/// Returns the bytes in a field of a vector.
fn bytes(vector: &Value, field: &str) -> Vec<u8> {
    HEXLOWER.decode(vector[field].as_str().expect("text").as_bytes()).expect("hex")
}

/// Decodes a vector's bytes, and checks that they are the one encoding of the value.
fn read<T: Decode + Encode>(vector: &Value) -> T {
    let bytes = bytes(vector, "bytes");
    let value: T = from_bytes(&bytes).expect("a valid encoding");
    assert_eq!(value.to_bytes(), bytes);
    value
}

fn header() -> Header {
    Header {
        previous: hash(0xaa),
        merkle_root: MerkleRoot([0xbb; 32]),
        height: 0x0102_0304,
        time: 0x0102_0304_0506_0708,
        bits: 0x1d00_ffff,
        nonce: 0x1112_1314_1516_1718,
    }
}

fn trade() -> Transaction {
    let to =
        |value, number| TxOutput { value: Amount::from_units(value), owner: owner(&key(number)) };
    signed(
        &NETWORK,
        &[(&key(1), outpoint(0x11, 0)), (&key(2), outpoint(0x22, 0x0102_0304))],
        vec![to(2_500_000_000, 3), to(1, 1)],
        "thanks for the tea, 李雷".as_bytes(),
    )
}

fn transactions() -> Vec<(&'static str, Transaction)> {
    let mut reward = coinbase(7, owner(&key(1)), SUBSIDY);
    reward.memo = coinbase_memo(7, b"mined on a Sunday");
    vec![
        ("coinbase", reward),
        ("coinbase", coinbase(u32::MAX, Owner::ZERO, Amount::from_units(u64::MAX))),
        ("trade", trade()),
        ("trade", signed(&NETWORK, &[(&key(4), outpoint(1, u32::MAX))], trade().outputs, b"")),
        ("note", note(&NETWORK, &key(5), 0x0a0b_0c0d, b"only the first word? no, the whole line")),
    ]
}

fn transaction_vector((kind, transaction): &(&'static str, Transaction)) -> Value {
    let input = |input: &crate::primitives::TxInput| {
        json!({
            "txid": input.outpoint.txid, "index": input.outpoint.index,
            "public_key": input.public_key, "signature": input.signature,
        })
    };
    let output = |output: &TxOutput| {
        let units = output.value.units().to_string();
        json!({ "units": units, "owner": output.owner })
    };
    json!({
        "kind": kind,
        "inputs": transaction.inputs.iter().map(input).collect::<Vec<_>>(),
        "outputs": transaction.outputs.iter().map(output).collect::<Vec<_>>(),
        "memo": hex(&transaction.memo),
        "bytes": hex(transaction.to_bytes()),
        "txid": transaction.txid(),
        "leaf": leaf_hash(transaction),
        "signing_message": hex(Transaction::signing_message(&NETWORK, &transaction.txid())),
    })
}

/// Checks that bytes are rejected with `error`, and returns their vector.
fn refused(layout: &str, why: &str, bytes: &[u8], error: DecodeError) -> Value {
    let found = match layout {
        "header" => from_bytes::<Header>(bytes).map(|_| ()),
        "block" => from_bytes::<Block>(bytes).map(|_| ()),
        _ => from_bytes::<Transaction>(bytes).map(|_| ()),
    };
    assert_eq!(found, Err(error), "{layout}: {why}");
    json!({ "layout": layout, "why": why, "bytes": hex(bytes) })
}

fn refused_layouts(block: &Block) -> Vec<Value> {
    let with = |mut bytes: Vec<u8>, at: usize, byte: u8| {
        bytes[at] = byte;
        bytes
    };
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 1].to_vec();
    let longer = |bytes: Vec<u8>| [&bytes[..], &[0]].concat();
    let wordy = Transaction { memo: vec![b'x'; 1_025], ..trade() };
    let transactions = block.transactions.len();
    vec![
        refused("header", "version 2", &with(header().to_bytes(), 0, 2), DecodeError::Version(2)),
        refused(
            "header",
            "one byte short",
            &cut(header().to_bytes()),
            DecodeError::Truncated { missing: 1 },
        ),
        refused(
            "header",
            "one byte more",
            &longer(header().to_bytes()),
            DecodeError::Trailing { extra: 1 },
        ),
        refused(
            "transaction",
            "version 0",
            &with(trade().to_bytes(), 0, 0),
            DecodeError::Version(0),
        ),
        refused(
            "transaction",
            "one byte short",
            &cut(trade().to_bytes()),
            DecodeError::Truncated { missing: 1 },
        ),
        refused(
            "transaction",
            "one byte more",
            &longer(trade().to_bytes()),
            DecodeError::Trailing { extra: 1 },
        ),
        refused(
            "transaction",
            "a memo of 1,025 bytes",
            &wordy.to_bytes(),
            DecodeError::TooMany { what: "memo bytes", count: 1_025, limit: 1_024 },
        ),
        refused(
            "block",
            "one byte more",
            &longer(block.to_bytes()),
            DecodeError::Trailing { extra: 1 },
        ),
        refused(
            "block",
            "a count of one more",
            &with(block.to_bytes(), 92, u8::try_from(transactions + 1).expect("few")),
            DecodeError::Truncated { missing: 4 },
        ),
    ]
}

/// A block of all the transactions.
fn block() -> Block {
    let transactions = transactions().into_iter().map(|(_, transaction)| transaction).collect();
    let mut block = Block { header: header(), transactions };
    block.header.merkle_root = block.computed_merkle_root();
    block
}

fn header_vector() -> Value {
    json!({
        "previous": header().previous,
        "merkle_root": header().merkle_root,
        "height": header().height,
        "time": header().time.to_string(),
        "bits": bits(header().bits),
        "nonce": header().nonce.to_string(),
        "bytes": hex(header().to_bytes()),
        "hash": header().hash(),
    })
}

fn coin_key_vector(number: u8, outpoint: OutPoint) -> Value {
    let key = CoinKey { owner: owner(&key(number)), outpoint };
    json!({
        "owner": key.owner, "txid": key.outpoint.txid, "index": key.outpoint.index,
        "bytes": hex(key.to_bytes()),
    })
}

#[test]
fn layouts_are_frozen() {
    let block = block();
    let address = |public_key: PublicKey| {
        let owner = public_key.owner();
        json!({ "public_key": public_key, "owner": owner, "address": Address(owner) })
    };
    let addresses = [1, 2, 3].map(|number| address(public_key(&key(number))));
    let coin_keys = [
        coin_key_vector(1, outpoint(0x11, 1)),
        coin_key_vector(2, outpoint(0x22, 0x0102_0304)),
        coin_key_vector(3, OutPoint { txid: TxId::ZERO, index: u32::MAX }),
    ];
    let leaves: Vec<_> = (0..9u8).map(|number| LeafHash([number; 32])).collect();
    let made = json!({
        "about": "Every fixed layout of the chain. Hashes and bytes are hex. \
                  Signatures are for the network id given.",
        "network_id": NETWORK,
        "header": header_vector(),
        "transactions": transactions().iter().map(transaction_vector).collect::<Vec<_>>(),
        "block": {
            "bytes": hex(block.to_bytes()), "hash": block.hash(),
            "merkle_root": block.header.merkle_root,
        },
        "merkle": (1..=9).map(|count| {
            json!({ "leaves": leaves[..count], "root": merkle_root(&leaves[..count]) })
        }).collect::<Vec<_>>(),
        "addresses": addresses,
        "zero_address": Address(Owner::ZERO),
        "coin_keys": coin_keys,
        "refused": refused_layouts(&block),
    });
    let frozen = golden("layouts.json", &made);

    assert_eq!(read::<Header>(&frozen["header"]), header());
    assert_eq!(read::<Block>(&frozen["block"]), block);
    for (vector, (_, transaction)) in
        frozen["transactions"].as_array().expect("a list").iter().zip(transactions())
    {
        assert_eq!(read::<Transaction>(vector), transaction);
    }
    for vector in frozen["coin_keys"].as_array().expect("a list") {
        let bytes = bytes(vector, "bytes").try_into().expect("56 bytes");
        assert_eq!(CoinKey::from_bytes(&bytes).to_bytes(), bytes);
    }
}

/// Names of networks at the edges of each rejected range.
const NETWORK_NAMES: [&str; 44] = [
    "lan",
    "李雷",
    "Zoë",
    "Zoe\u{308}",
    "a\u{ad}b",
    "a\u{61c}b",
    "\u{378}",
    "\u{e000}",
    "\u{301}",
    "FC",
    "12d3KooW",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "",
    "\0",
    " ",
    "!",
    "\"",
    "#",
    "$",
    "~",
    "\u{7f}",
    "\u{a0}",
    "\u{a1}",
    "\u{167f}",
    "\u{1680}",
    "\u{1681}",
    "\u{180e}",
    "\u{1fff}",
    "\u{2000}",
    "\u{200f}",
    "\u{2010}",
    "\u{2027}",
    "\u{2028}",
    "\u{202f}",
    "\u{2030}",
    "\u{205e}",
    "\u{205f}",
    "\u{206f}",
    "\u{2070}",
    "\u{3000}",
    "\u{feff}",
    "\u{e007f}",
    "fC1x",
    "12D3KooW",
];

#[test]
fn networks_and_invites_are_frozen() {
    let lan = Network::lan();
    let test = testing::network(1_500);
    let peer = "/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    let addresses = vec![
        format!("/ip4/192.168.1.7/udp/4001/quic-v1{peer}"),
        format!("/dns4/example.org/tcp/4001{peer}"),
    ];
    let checkpoint =
        Checkpoint { height: 1_234, hash: hash(9), work: Work::from(0x0102_0304_0506) };
    let later = Invite::new(lan.clone(), checkpoint, addresses).expect("an invite");
    let start = Checkpoint { height: 0, hash: test.id, work: test.genesis_work() };
    let first = Invite::new(test.clone(), start, vec![]).expect("an invite");
    let network = |network: &Network| {
        json!({
            "name": network.params.name,
            "spacing_ms": network.params.spacing_ms,
            "floor_bits": network.params.floor_bits,
            "memo": hex(&network.genesis.transactions[0].memo),
            "bits": bits(network.genesis.header.bits),
            "work": network.genesis_work().to_string(),
            "id": network.id,
            "bytes": hex(network.genesis.to_bytes()),
        })
    };
    let invite = |invite: &Invite| {
        json!({
            "network_id": invite.network().id,
            "height": invite.checkpoint().height,
            "hash": invite.checkpoint().hash,
            "work": invite.checkpoint().work.to_string(),
            "addresses": invite.addresses(),
            "text": invite.to_text(),
        })
    };
    let name = |name: &str| {
        let code_points: Vec<_> = name.chars().map(|c| format!("U+{:04X}", u32::from(c))).collect();
        let valid = ChainParams::new(name, 0, 8).is_ok();
        json!({ "name": name, "code_points": code_points, "valid": valid })
    };
    let made = json!({
        "about": "Genesis blocks with their parameters, the built-in network first; \
                  invites to them; and names, with the verdict of `genesis_params`.",
        "networks": [network(&lan), network(&test)],
        "invites": [invite(&later), invite(&first)],
        "names": NETWORK_NAMES.map(name).to_vec(),
    });
    let frozen = golden("networks.json", &made);

    for (vector, network) in frozen["networks"].as_array().expect("a list").iter().zip([lan, test])
    {
        assert_eq!(Network::from_genesis(read(vector)), Ok(network));
    }
    for (vector, invite) in frozen["invites"].as_array().expect("a list").iter().zip([later, first])
    {
        assert_eq!(Invite::from_text(vector["text"].as_str().expect("text")), Ok(invite));
    }
}

#[test]
fn compact_targets_are_frozen() {
    let accepted = [
        0x0101_0000,
        0x0112_0000,
        0x0200_8000,
        0x0500_9234,
        0x1d00_ffff,
        0x1e03_ffff,
        0x2000_ffff,
        0x207f_ffff,
    ]
    .map(|compact| {
        let target = Target::from_compact(compact).expect("a target");
        let work = target.work().to_string();
        json!({ "bits": bits(compact), "target": target.to_string(), "work": work })
    });
    let refused = [
        0,
        0x0080_0000,
        0x0100_3456,
        0x0112_3456,
        0x0400_0012,
        0x0500_0080,
        0x0492_3456,
        0x2101_0000,
        0xff12_3456,
    ]
    .map(|compact| {
        let error = Target::from_compact(compact).expect_err("no target");
        json!({ "bits": bits(compact), "why": error.to_string() })
    });
    let rounded = [
        U256::ZERO,
        U256::ONE,
        U256::from(0x0080_0000),
        U256::from(0x1234_5678_9abc_u64),
        U256::MAX,
    ]
    .map(|number| {
        let target = Target::rounded(number);
        json!({
            "number": format!("{number:064x}"), "target": target.to_string(),
            "bits": bits(target.to_compact()),
        })
    });
    let floors: Vec<_> = (8..=40)
        .map(|zero_bits| {
            let floor = Target::with_zero_bits(zero_bits);
            json!({ "zero_bits": zero_bits, "bits": bits(floor.to_compact()) })
        })
        .collect();
    let made = json!({
        "about": "The compact form of targets: accepted and refused, numbers cut to it, \
                  and every floor.",
        "accepted": accepted, "refused": refused, "rounded": rounded, "floors": floors,
    });
    golden("compact.json", &made);
}

/// A pseudorandom generator (an LCG of Knuth's) with the same output on every platform.
struct Luck(u64);

impl Luck {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Returns the vector of the bits of each block, from genesis on, for the given block times.
fn sequence(about: &str, spacing_ms: u64, floor_bits: u8, times: &[u64]) -> Value {
    let params = ChainParams::new("vectors", spacing_ms, floor_bits).expect("params");
    let mut blocks = vec![(times[0], params.floor().to_compact())];
    for time in &times[1..] {
        let height = u32::try_from(blocks.len() - 1).expect("few");
        let window = HeaderWindow::new(hash(0), height, blocks.clone()).expect("a window");
        blocks.push((*time, next_target(&params, params.floor(), &window, *time).to_compact()));
    }
    json!({
        "about": about, "spacing_ms": spacing_ms, "floor_bits": floor_bits,
        "times": times,
        "bits": blocks.iter().map(|(_, compact)| bits(*compact)).collect::<Vec<_>>(),
    })
}

#[test]
fn difficulty_is_frozen() {
    let start = 1_700_000_000_000u64;
    let times = |count: u64, step: &mut dyn FnMut(u64) -> i64| {
        let mut times = vec![start];
        for i in 1..count {
            times.push(times[times.len() - 1].saturating_add_signed(step(i)));
        }
        times
    };
    let mut luck = Luck(1);
    let mut signed_luck = |bound: u64| i64::try_from(luck.below(bound)).expect("small");
    let days: Vec<u64> = (0..80).map(|i| i * 50_000_000).collect();
    let made = json!({
        "about": "The bits that each block must have, from genesis on, \
                  when blocks have these times (unix milliseconds).",
        "sequences": [
            sequence("on time", 10_000, 22, &times(70, &mut |_| 10_000)),
            sequence("ten times too fast, then on time", 10_000, 22, &times(200, &mut |i| {
                if i < 130 { 1_000 } else { 10_000 }
            })),
            sequence("all at once", 10_000, 8, &times(150, &mut |_| 0)),
            sequence("erratic, backwards at times", 10_000, 16, &times(250, &mut |_| {
                signed_luck(16_000) - 2_000
            })),
            sequence("hard, then late by more and more", 10_000, 22, &times(160, &mut |i| match i {
                0..120 => 700,
                _ => 239_998 + i64::try_from(i - 120).expect("small") * 60_001,
            })),
            sequence(
                "hard, then late by the patience and a millisecond",
                1_000,
                20,
                &times(100, &mut |i| match i {
                    80 => 24_000,
                    81 => 24_001,
                    82 => 30_000,
                    83 => 30_001,
                    _ => 50,
                }),
            ),
            sequence("no spacing", 0, 8, &times(30, &mut |i| {
                i64::try_from(i).expect("small") * 1_000_000
            })),
            sequence("a millisecond apart", 1, 8, &times(90, &mut |i| i64::from(i % 3 == 0))),
            sequence("a day apart, a genesis of 1970", 86_400_000, 40, &days),
        ],
    });
    golden("difficulty.json", &made);
}

/// Returns the name of a verdict in the vectors.
const fn code(verdict: Result<(), SignatureError>) -> &'static str {
    match verdict {
        Ok(()) => "valid",
        Err(SignatureError::KeyNotCanonical) => "key_not_canonical",
        Err(SignatureError::KeySmallOrder) => "key_small_order",
        Err(SignatureError::RNotCanonical) => "r_not_canonical",
        Err(SignatureError::STooLarge) => "s_too_large",
        Err(SignatureError::Mismatch) => "mismatch",
    }
}

#[test]
fn verdicts_on_signatures_are_frozen() {
    let message = Transaction::signing_message(&NETWORK, &TxId([0x77; 32]));
    let cases: Vec<_> = crafted::cases(&message)
        .iter()
        .map(|case| {
            json!({
                "name": case.name, "public_key": case.public_key, "message": hex(&case.message),
                "signature": case.signature, "verdict": code(case.verdict),
            })
        })
        .collect();
    let small_order: Vec<_> = crafted::small_order_encodings().iter().map(hex).collect();
    let of_small_order: Vec<_> = crafted::zip_215_pairs()
        .iter()
        .map(|case| json!([case.public_key, case.signature, code(case.verdict)]))
        .collect();
    let made = json!({
        "about": "Signatures on which verifiers of ed25519 disagree, and the verdict here, \
                  alone or in any batch.",
        "signatures": cases,
        "small_order_encodings": small_order,
        "about_zip_215": "The 196 pairs of ZIP 215's own test, over the message 'Zcash': \
                          public key, signature, verdict. Its equation accepts them all; \
                          here all are invalid, since anyone can sign for such a key.",
        "zip_215": of_small_order,
    });
    let frozen = golden("signatures.json", &made);

    for vector in frozen["signatures"].as_array().expect("a list") {
        let public_key = PublicKey(bytes(vector, "public_key").try_into().expect("32 bytes"));
        let signature = Signature(bytes(vector, "signature").try_into().expect("64 bytes"));
        let found = code(verify_signature(&public_key, &bytes(vector, "message"), &signature));
        assert_eq!(vector["verdict"], found, "{}", vector["name"]);
    }
    for vector in frozen["zip_215"].as_array().expect("a list") {
        let public_key =
            PublicKey(bytes(&json!({ "it": vector[0] }), "it").try_into().expect("32 bytes"));
        let signature =
            Signature(bytes(&json!({ "it": vector[1] }), "it").try_into().expect("64 bytes"));
        assert_eq!(vector[2], code(verify_signature(&public_key, b"Zcash", &signature)));
    }
}

/// Guards against a copied vector, which would prove nothing.
#[test]
fn no_two_frozen_transactions_share_an_id() {
    let mut ids: Vec<_> =
        transactions().iter().map(|(_, transaction)| transaction.txid()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), transactions().len());
}
