//! Tests of the README's tables of wrong answers, run on the machines of sync and relay.

use std::sync::Arc;

use serde_bytes::ByteBuf;

use super::{
    examples::{agreer, friend, signer},
    page::{source, strings, table},
};
use crate::{
    chain::api::{HeadersAccepted, Rebuilt, RefusalCause, Refused, Tip},
    consensus::{
        Blame, Work,
        testing::{coinbase, key, note, owner},
    },
    friends::{Friends, FriendsConfig, MAX_AHEAD_MS},
    peers::{Offence, Trust},
    primitives::{
        Amount, Block, BlockHash, Encode, Header, MerkleRoot, PeerId, PublicKey, Signature,
        Transaction, TxId, UnixMillis, leaf_hash, short_id,
    },
    relay::{Relay, RelayAction, RelayConfig, RelayEvent},
    sync::{Sync, SyncAction, SyncConfig, SyncEvent},
    wire::{
        BlockGossip, CompactBlock, Item, Refusal, RequestFailure, SignedProfile, Status,
        SyncResponse,
    },
};

const NOW: UnixMillis = 1_700_000_000_000;

fn peer() -> PeerId {
    PeerId(PublicKey([1; 32]))
}

fn work(blocks: u8) -> Work {
    let mut bytes = [0; 32];
    bytes[31] = blocks;
    Work::from_be_bytes(bytes)
}

fn tip() -> Tip {
    Tip { hash: BlockHash([0xaa; 32]), height: 10, work: work(10), time: 0 }
}

fn header(previous: BlockHash, height: u32) -> Header {
    Header { previous, merkle_root: MerkleRoot::ZERO, height, time: 0, bits: 0, nonce: 0 }
}

fn a_note(number: u32) -> Transaction {
    note(&BlockHash([7; 32]), &key(4), number, b"hi")
}

/// Returns the child of the tip, with two notes.
fn block() -> Block {
    let minted = coinbase(11, owner(&key(1)), Amount::from_coins(1));
    let transactions = vec![minted, a_note(1), a_note(2)];
    let mut block = Block { header: header(tip().hash, 11), transactions };
    block.header.merkle_root = block.computed_merkle_root();
    block
}

fn block_tip() -> Tip {
    Tip { hash: block().hash(), height: 11, work: work(20), time: 0 }
}

fn bytes(value: &impl Encode) -> ByteBuf {
    ByteBuf::from(value.to_bytes())
}

fn inv(headers: &[Header]) -> SyncResponse {
    SyncResponse::Inv(ByteBuf::from(headers.iter().flat_map(Encode::to_bytes).collect::<Vec<_>>()))
}

fn refused(blame: Blame, cause: RefusalCause) -> Refused {
    Refused { blame, cause, code: "test", reason: "a test".into() }
}

fn broken<T>(cause: RefusalCause) -> Result<T, Refused> {
    Err(refused(Blame::Peer, cause))
}

/// A request of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Headers,
    MempoolIds,
    Bodies,
    Trades,
    Parts,
    Whole,
}

/// The machine that asked, and the id of its request.
enum Asker {
    Sync(Box<Sync>, u64),
    Relay(Box<Relay<u32>>, u64),
}

/// The offences that a peer was charged with.
type Charges = Vec<Offence>;

fn sync_charges(actions: &[SyncAction]) -> Charges {
    let charge = |action: &SyncAction| match action {
        SyncAction::Penalise { offence, .. } => Some(*offence),
        _ => None,
    };
    actions.iter().filter_map(charge).collect()
}

fn relay_charges(actions: &[RelayAction<u32>]) -> Charges {
    let charge = |action: &RelayAction<u32>| match action {
        RelayAction::Penalise { offence, .. } => Some(*offence),
        _ => None,
    };
    actions.iter().filter_map(charge).collect()
}

fn sync_request(actions: &[SyncAction]) -> u64 {
    let id = |action: &SyncAction| match action {
        SyncAction::Request { id, .. } => Some(*id),
        _ => None,
    };
    actions.iter().find_map(id).unwrap_or_else(|| panic!("a request: {actions:?}"))
}

fn relay_request(actions: &[RelayAction<u32>]) -> u64 {
    let id = |action: &RelayAction<u32>| match action {
        RelayAction::Request { id, .. } => Some(*id),
        _ => None,
    };
    actions.iter().find_map(id).unwrap_or_else(|| panic!("a request: {actions:?}"))
}

/// Makes a sync that knows a peer with this tip and a transaction in its mempool. Also returns the
/// actions of sync.
fn sync_with(claim: Tip) -> (Sync, Vec<SyncAction>) {
    let (min_work, tip) = (Work::ZERO, tip());
    let config = SyncConfig {
        min_work,
        tip,
        best_header: tip,
        diverged: false,
        trust: Trust::default(),
        secret: 1,
        now: NOW,
    };
    let mut sync = Sync::new(config);
    let status = Status {
        version: 1,
        features: 0,
        network: BlockHash([7; 32]),
        tip: claim.hash,
        height: claim.height,
        work: ByteBuf::from(claim.work.to_be_bytes()),
        time: NOW,
        mempool: 1,
    };
    let status = Box::new(status);
    let actions = sync.out_of(SyncEvent::PeerStatus { peer: peer(), status });
    (sync, actions)
}

/// Makes a sync that requests headers up to this tip.
fn sync_for_headers(claim: Tip) -> (Sync, u64) {
    let (mut sync, _) = sync_with(claim);
    let locator = SyncEvent::Locator { peer: peer(), hashes: vec![tip().hash] };
    let id = sync_request(&sync.out_of(locator));
    (sync, id)
}

trait Handles {
    /// Handles an event at the time of the tests.
    fn out_of(&mut self, event: SyncEvent) -> Vec<SyncAction>;
}

impl Handles for Sync {
    fn out_of(&mut self, event: SyncEvent) -> Vec<SyncAction> {
        self.handle(event, NOW)
    }
}

fn ask_sync(question: Question) -> (Sync, u64) {
    if question == Question::Headers {
        return sync_for_headers(block_tip());
    }
    if question == Question::Bodies {
        let (mut sync, id) = sync_for_headers(block_tip());
        sync.out_of(SyncEvent::Response { id, result: Ok(inv(&[block().header])) });
        let best_header = block_tip();
        let accepted =
            HeadersAccepted { new: 1, last: best_header.hash, wants_body: true, best_header };
        let done = SyncEvent::HeadersDone { peer: peer(), walk: 1, result: Ok(accepted) };
        let actions = sync.out_of(done);
        let read = actions.iter().find_map(|action| match action {
            SyncAction::FetchMissing { read, .. } => Some(*read),
            _ => None,
        });
        let read = read.unwrap_or_else(|| panic!("a read: {actions:?}"));
        let missing = SyncEvent::Missing { read, blocks: vec![(best_header.hash, 11)] };
        let id = sync_request(&sync.out_of(missing));
        return (sync, id);
    }
    let (mut sync, actions) = sync_with(tip());
    let id = sync_request(&actions);
    if question == Question::MempoolIds {
        return (sync, id);
    }
    let ids = vec![a_note(1).txid()];
    let result = Ok(SyncResponse::MempoolIds(ids.clone()));
    sync.out_of(SyncEvent::Response { id, result });
    let id = sync_request(&sync.out_of(SyncEvent::UnknownTrades { peer: peer(), ids }));
    (sync, id)
}

fn ask_relay(question: Question) -> (Relay<u32>, u64) {
    let trust = Trust::default();
    let config = RelayConfig { spacing_ms: 10_000, tip: tip(), trust, seed: 7 };
    let mut relay = Relay::new(config);
    let (block, hash) = (block(), block().hash());
    let ids = block.transactions[1..].iter().flat_map(|tx| short_id(&hash, &leaf_hash(tx)));
    let gossip = BlockGossip::Compact(CompactBlock {
        header: bytes(&block.header),
        coinbase: bytes(&block.transactions[0]),
        short_ids: ByteBuf::from(ids.collect::<Vec<_>>()),
    });
    relay.handle(RelayEvent::BlockGossip { peer: peer(), message: 1, gossip }, NOW);
    let accepted = HeadersAccepted { new: 1, last: hash, wants_body: true, best_header: tip() };
    relay.handle(RelayEvent::HeaderDone { hash, result: Ok(accepted) }, NOW);
    let rebuilt = if question == Question::Parts {
        let found = vec![None, Some(Arc::new(block.transactions[1].clone())), None];
        Rebuilt::Missing { found, positions: vec![2] }
    } else {
        Rebuilt::Missing { found: vec![], positions: vec![] }
    };
    let id = relay_request(&relay.handle(RelayEvent::Rebuilt { hash, rebuilt }, NOW));
    (relay, id)
}

impl Asker {
    fn new(question: Question) -> Self {
        match question {
            Question::Parts | Question::Whole => {
                let (relay, id) = ask_relay(question);
                Self::Relay(Box::new(relay), id)
            }
            _ => {
                let (sync, id) = ask_sync(question);
                Self::Sync(Box::new(sync), id)
            }
        }
    }

    fn ends(&mut self, result: Result<SyncResponse, RequestFailure>) -> Charges {
        match self {
            Self::Sync(sync, id) => {
                sync_charges(&sync.handle(SyncEvent::Response { id: *id, result }, NOW + 1))
            }
            Self::Relay(relay, id) => {
                relay_charges(&relay.handle(RelayEvent::Response { id: *id, result }, NOW + 1))
            }
        }
    }

    /// Lets the time of the request pass without an answer.
    fn times_out(&mut self) -> Charges {
        match self {
            Self::Sync(sync, _) => sync_charges(&sync.handle(SyncEvent::Tick, NOW + 25_000)),
            Self::Relay(relay, _) => relay_charges(&relay.handle(RelayEvent::Tick, NOW + 5_000)),
        }
    }

    /// Reports the chain's refusal of the completed block.
    fn block_is_refused(&mut self, cause: RefusalCause) -> Charges {
        let (hash, result) = (block().hash(), broken(cause));
        match self {
            Self::Sync(sync, _) => {
                let results = vec![(hash, result)];
                sync_charges(&sync.handle(SyncEvent::BlocksDone { results }, NOW + 2))
            }
            Self::Relay(relay, _) => {
                let event = RelayEvent::BlockDone { hash, result: broken(cause) };
                relay_charges(&relay.handle(event, NOW + 2))
            }
        }
    }
}

fn answered(question: Question, response: SyncResponse) -> Charges {
    Asker::new(question).ends(Ok(response))
}

fn points(charges: &Charges) -> String {
    charges.iter().map(|offence| offence.weight()).sum::<i64>().to_string()
}

/// Returns the points that each of these answers costs, which must be the same.
fn all_cost(question: Question, responses: Vec<SyncResponse>) -> String {
    let costs: Vec<_> =
        responses.into_iter().map(|each| points(&answered(question, each))).collect();
    assert!(costs.iter().all(|cost| *cost == costs[0]), "{question:?}: {costs:?}");
    costs[0].clone()
}

#[test]
fn an_answer_of_another_kind_costs_what_the_readme_says() {
    use SyncResponse::{BlockTrades, Blocks, Busy, Data, MempoolIds, NotFound, NotYet};
    let data = Data(vec![Item::NotFound]);
    let blocks = Blocks(bytes(&block()));
    let kinds = || {
        let (data, blocks) = (data.clone(), blocks.clone());
        [inv(&[]), MempoolIds(vec![]), data, BlockTrades(vec![]), blocks]
    };
    let row = |name: &str, right: &str, question: Question, own: usize| {
        let others = (0..).zip(kinds()).filter(|(at, _)| *at != own).map(|(_, each)| each);
        vec![
            name.to_owned(),
            right.to_owned(),
            all_cost(question, vec![Busy]),
            all_cost(question, vec![SyncResponse::Refused(Refusal::OverLimit)]),
            all_cost(question, vec![NotYet, NotFound]),
            all_cost(question, others.collect()),
            points(&Asker::new(question).times_out()),
        ]
    };
    let expected = [
        strings(&["Status", "Status, WrongNetwork", "0", "-", "-", "-", "0"]),
        strings(&["Explore", "Profiles", "0", "0", "-", "0", "0"]),
        strings(&["Introduce", "Welcome", "0", "0", "-", "0", "0"]),
        strings(&["Direct", "Delivered", "0", "0", "-", "-", "0"]),
        strings(&["Sealed", "Delivered", "0", "0", "-", "-", "0"]),
        row("GetBlocks", "Inv", Question::Headers, 0),
        row("GetMempool", "MempoolIds", Question::MempoolIds, 1),
        row("GetRange", "Blocks", Question::Bodies, 4),
        row("GetData", "Data", Question::Trades, 2),
        row("GetBlockTrades of an announced block", "BlockTrades", Question::Parts, 3),
        row("GetData of an announced block", "Data", Question::Whole, 2),
    ];
    assert_eq!(table(&["question", "right answer"]), expected);
    // The router makes the first five requests. It charges nothing for their answers, apart from
    // profiles, which have their own rows.
    let router = source("node/router");
    let (_, on_response) = router.split_once("fn on_response(").expect("the place");
    let (on_response, _) = on_response.split_once("\n    }\n").expect("its end");
    assert!(on_response.contains("Purpose::Explore") && !on_response.contains("penalise"));
}

#[test]
fn a_request_without_an_answer_costs_nothing_but_for_time() {
    for question in [Question::Headers, Question::Bodies, Question::Trades, Question::Whole] {
        let charges = Asker::new(question).ends(Err(RequestFailure::Disconnected));
        assert_eq!(charges, [], "{question:?}");
    }
    // `net` has already charged an answer that does not decode.
    let malformed = RequestFailure::Malformed("a test".to_owned());
    assert_eq!(Asker::new(Question::Headers).ends(Err(malformed)), []);
}

/// Returns the charges for an answer with a block or its parts that the chain refuses.
fn refused_body(question: Question, cause: RefusalCause) -> Charges {
    let mut asker = Asker::new(question);
    let response = match question {
        Question::Parts => SyncResponse::BlockTrades(vec![bytes(&a_note(2))]),
        Question::Bodies => SyncResponse::Blocks(bytes(&block())),
        _ => SyncResponse::Data(vec![Item::Block(bytes(&block()))]),
    };
    assert_eq!(asker.ends(Ok(response)), [], "{question:?}");
    asker.block_is_refused(cause)
}

fn wrong_invs() -> Vec<Charges> {
    let first = header(tip().hash, 11);
    let stray = answered(Question::Headers, inv(&[header(BlockHash([1; 32]), 11)]));
    let gap = answered(Question::Headers, inv(&[first, header(tip().hash, 12)]));
    assert_eq!(stray, gap);

    let far = Tip { hash: BlockHash([5; 32]), height: 30, work: work(30), time: 0 };
    let (mut sync, id) = sync_for_headers(far);
    let full = |sync: &mut Sync, id, best: Tip| {
        sync.out_of(SyncEvent::Response { id, result: Ok(inv(&[first])) });
        let accepted =
            HeadersAccepted { new: 1, last: first.hash(), wants_body: true, best_header: best };
        let walk = 1;
        let done = SyncEvent::HeadersDone { peer: peer(), walk, result: Ok(accepted) };
        sync_request(&sync.out_of(done))
    };
    let best = Tip { hash: first.hash(), height: 11, work: work(11), time: 0 };
    let id = full(&mut sync, id, best);
    let again = sync.out_of(SyncEvent::Response { id, result: Ok(inv(&[first])) });

    let mut unreadable = first.to_bytes();
    unreadable[0] = 9;
    let unreadable = SyncResponse::Inv(ByteBuf::from(unreadable));

    let (mut invalid, id) = sync_for_headers(far);
    invalid.out_of(SyncEvent::Response { id, result: Ok(inv(&[first])) });
    let result = broken(RefusalCause::Other);
    let invalid = invalid.out_of(SyncEvent::HeadersDone { peer: peer(), walk: 1, result });

    vec![
        stray,
        sync_charges(&again),
        answered(Question::Headers, unreadable),
        sync_charges(&invalid),
        answered(Question::Headers, inv(&[])),
    ]
}

fn wrong_data() -> Vec<Charges> {
    let data = |question, items: Vec<Item>| answered(question, SyncResponse::Data(items));
    let other = Block { header: header(tip().hash, 12), ..block() };
    let mut other_body = block();
    other_body.transactions.pop();
    let other_body = vec![Item::Block(bytes(&other_body))];
    let blocks = |bytes: ByteBuf| answered(Question::Bodies, SyncResponse::Blocks(bytes));
    let two = [block().to_bytes(), block().to_bytes()].concat();
    let same = |cases: Vec<Charges>| {
        assert!(cases.iter().all(|each| *each == cases[0]), "{cases:?}");
        cases[0].clone()
    };
    let item = Item::Block(bytes(&block()));
    let note = Item::Trade(bytes(&a_note(1)));
    let mut counts = vec![blocks(ByteBuf::new()), blocks(ByteBuf::from(two))];
    for question in [Question::Trades, Question::Whole] {
        counts.push(data(question, vec![]));
        counts.push(data(question, vec![Item::NotFound, Item::NotFound]));
    }
    let others = vec![
        blocks(bytes(&other)),
        data(Question::Whole, vec![note]),
        data(Question::Whole, vec![Item::Block(bytes(&other))]),
        data(Question::Trades, vec![item]),
        data(Question::Trades, vec![Item::Trade(bytes(&a_note(2)))]),
    ];
    let unreadable = vec![
        blocks(ByteBuf::from(vec![9])),
        data(Question::Whole, vec![Item::Block(ByteBuf::new())]),
        data(Question::Trades, vec![Item::Trade(ByteBuf::new())]),
    ];
    let (mut sync, id) = ask_sync(Question::Trades);
    let result = Ok(SyncResponse::Data(vec![Item::Trade(bytes(&a_note(1)))]));
    sync.out_of(SyncEvent::Response { id, result });
    let (txid, result): (TxId, _) = (a_note(1).txid(), broken(RefusalCause::Other));
    let trade = sync_charges(&sync.out_of(SyncEvent::TradeDone { txid, result }));
    vec![
        same(counts),
        same(others),
        same(unreadable),
        refused_body(Question::Bodies, RefusalCause::WrongMerkleRoot),
        data(Question::Whole, other_body),
        refused_body(Question::Bodies, RefusalCause::Other),
        refused_body(Question::Whole, RefusalCause::Other),
        trade,
    ]
}

fn wrong_parts() -> Vec<Charges> {
    let parts = |parts| answered(Question::Parts, SyncResponse::BlockTrades(parts));
    vec![
        parts(vec![]),
        parts(vec![ByteBuf::new()]),
        parts(vec![bytes(&a_note(3))]),
        refused_body(Question::Parts, RefusalCause::Other),
    ]
}

fn wrong_profiles() -> Vec<Charges> {
    let sign = signer(1);
    let network = BlockHash([7; 32]);
    let config = FriendsConfig {
        me: friend(1),
        network,
        signer: Box::new(move |bytes| sign(bytes)),
        agree: Box::new(agreer(1)),
        trust: Trust::default(),
        clock: Box::new(|| 1_000),
    };
    let mut room = Friends::in_memory(config).expect("a store");
    let mut charges = |name: &str, sequence, is_forged: bool| {
        let signer = &signer(0);
        let profile =
            SignedProfile::sign(&network, friend(0), name, vec![], None, sequence, signer);
        let mut profile = profile.expect("short");
        if is_forged {
            profile.signature = Signature([0; 64]);
        }
        let error = room.keep_profile(profile, friend(0), NOW).expect_err("wrong");
        error.offence().into_iter().collect()
    };
    vec![
        charges("yzw", NOW, true),
        charges("#", NOW, false),
        charges("yzw", NOW + MAX_AHEAD_MS + 1, false),
    ]
}

#[test]
fn a_fault_in_an_answer_costs_what_the_readme_says() {
    let charges = [wrong_invs(), wrong_data(), wrong_parts(), wrong_profiles()].concat();
    let rows = table(&["answer", "fault", "offence", "points"]);
    let counts = [("Inv", 5), ("Data", 8), ("BlockTrades", 4), ("Profiles", 3)];
    let answers = counts.into_iter().flat_map(|(name, count)| std::iter::repeat_n(name, count));
    assert_eq!(rows.len(), charges.len());
    for ((row, charges), answer) in rows.iter().zip(&charges).zip(answers) {
        let offence = charges.first().map_or("none", |offence| offence.code());
        assert!(charges.len() <= 1, "{row:?}");
        assert_eq!(row[0], answer, "{row:?}");
        assert_eq!(row[2..], strings(&[offence, &points(charges)])[..], "{row:?}");
    }
    // Each fault is named, so that a swap of two rows fails.
    let words = [
        "locator",
        "no higher",
        "layout",
        "rule",
        "claims",
        "no item",
        "another kind",
        "layout",
        "merkle root",
        "the same",
        "a block that breaks",
        "the same",
        "a trade that breaks",
        "another number",
        "layout",
        "merkle root",
        "breaks a rule",
        "signature",
        "a name",
        "24 hours",
    ];
    for (row, word) in rows.iter().zip(words) {
        assert!(row[1].contains(word), "{row:?} has '{word}'");
    }
}
