//! Tests of the order of the checks of Trades, Solved and Compact, run on the relay and the chain.

use serde_bytes::ByteBuf;

use super::{
    page::{README, after, says, source, table_in},
    requests::assert_checks,
};
use crate::{
    chain::{
        api::{HeadersAccepted, RefusalCause, Refused, Tip},
        testing::{PEER, TestChain, coinbase, genesis_coin, key, network, note, owner, pay},
    },
    consensus::{Blame, Work},
    peers::Trust,
    primitives::{
        Amount, BlockHash, Encode, Header, MerkleRoot, PeerId, PublicKey, Transaction, TxId,
        UnixMillis,
    },
    relay::{Relay, RelayAction, RelayConfig, RelayEvent},
    wire::{BlockGossip, CompactBlock, TradeAnnouncement, TradeGossip, Verdict},
};

const NOW: UnixMillis = 1_000_000;
const TIP: Tip = Tip { hash: BlockHash([0xaa; 32]), height: 10, work: Work::ZERO, time: 0 };

type Outcome = [String; 2];

fn peer() -> PeerId {
    PeerId(PublicKey([1; 32]))
}

fn relay() -> Relay<u32> {
    let trust = Trust::default();
    Relay::new(RelayConfig { spacing_ms: 10_000, tip: TIP, trust, seed: 7 })
}

/// Returns the only verdict among the actions, and the points that the peer is charged.
fn outcome(actions: &[RelayAction<u32>]) -> Outcome {
    let (mut verdicts, mut points) = (Vec::new(), 0);
    for action in actions {
        match action {
            RelayAction::Verdict { verdict, .. } => verdicts.push(*verdict),
            RelayAction::Penalise { offence, .. } => points += offence.weight(),
            _ => {}
        }
    }
    match verdicts[..] {
        [Verdict::Accept] => ["accept".to_owned(), String::new()],
        [Verdict::Ignore] => ["ignore".to_owned(), points.to_string()],
        [Verdict::Reject] => ["reject".to_owned(), points.to_string()],
        _ => panic!("one verdict: {actions:?}"),
    }
}

fn refused(blame: Blame, cause: RefusalCause) -> Refused {
    Refused { blame, cause, code: "test", reason: "a test".into() }
}

fn trade_gossip(relay: &mut Relay<u32>, bytes: Vec<u8>) -> Vec<RelayAction<u32>> {
    let announcement = TradeAnnouncement { transactions: vec![ByteBuf::from(bytes)], round: 0 };
    let gossip = TradeGossip::Trades(announcement);
    relay.handle(RelayEvent::TradeGossip { peer: peer(), message: 1, gossip }, NOW)
}

/// Uses up the peer's rates of trades and notes.
fn exhaust_trades(relay: &mut Relay<u32>, a_note: &Transaction, a_trade: &Transaction) {
    for transaction in [a_note, a_trade] {
        for _ in 0..2_100 {
            trade_gossip(relay, transaction.to_bytes());
        }
    }
}

/// Returns the outcome of a trade for which the chain gives this result.
fn after_chain(trade: &Transaction, result: Result<(), Refused>) -> Outcome {
    let mut relay = relay();
    let actions = trade_gossip(&mut relay, trade.to_bytes());
    let [RelayAction::AcceptTrades { id, .. }] = actions[..] else { panic!("{actions:?}") };
    let mut actions = relay.handle(RelayEvent::TradesDone { id, results: vec![result] }, NOW);
    // A trade without its parent is kept, and gets its verdict later.
    actions.extend(relay.handle(RelayEvent::Tick, NOW + 4_000));
    outcome(&actions)
}

/// Returns the checks of a trade that the relay makes before it asks the chain.
fn relay_checks(trade: &Transaction) -> Vec<(&'static str, Outcome)> {
    let a_note = note(&BlockHash([7; 32]), &key(4), 1, b"hi");
    let mut busy = relay();
    exhaust_trades(&mut busy, &a_note, trade);
    let coinbase = coinbase(1, owner(&key(1)), Amount::from_coins(1));
    let mut pooled = relay();
    let txid = trade.txid();
    let entered = RelayEvent::TradeAdded {
        txid,
        transaction: std::sync::Arc::new(trade.clone()),
        added: NOW,
        local: false,
        free: true,
    };
    pooled.handle(entered, NOW);
    let mut mined = relay();
    let (tip, connected) = (TIP, Vec::new());
    let connect = RelayEvent::TipChanged { tip, best_header: tip, connected, mined: vec![txid] };
    mined.handle(connect, NOW);
    vec![
        ("the transaction's layout", outcome(&trade_gossip(&mut busy, vec![1]))),
        ("it is not a coinbase", outcome(&trade_gossip(&mut busy, coinbase.to_bytes()))),
        ("the sender is within its [rate]", outcome(&trade_gossip(&mut busy, trade.to_bytes()))),
        ("it is not in the mempool", outcome(&trade_gossip(&mut pooled, trade.to_bytes()))),
        ("it is not mined", outcome(&trade_gossip(&mut mined, trade.to_bytes()))),
    ]
}

fn forged(mut transaction: Transaction) -> Transaction {
    transaction.inputs.iter_mut().for_each(|input| input.signature.0[0] ^= 1);
    transaction
}

/// Each trade fails its check and has a forged signature, whose check is the last.
#[test]
fn a_trade_is_judged_by_its_first_fault() {
    let network = network();
    let (coin, all) = (genesis_coin(&network), 10_000_000_000);
    let pays = |to: u8, units| pay(&network, &key(1), coin, &[(owner(&key(to)), units)]);
    let mut chain = TestChain::new();
    chain.trade(&pays(2, all), PEER).expect("accepted");
    chain.trade(&note(&network.id, &key(4), 1, b"one"), PEER).expect("accepted");
    let judge = |chain: &mut TestChain, trade: &Transaction| {
        let result = chain.trade(trade, PEER).map(drop);
        after_chain(trade, result.map_err(Refused::from))
    };
    let mut bad_form = forged(pays(3, all));
    bad_form.outputs.clear();
    let mut unknown_coin = forged(pays(3, all));
    unknown_coin.inputs[0].outpoint.txid = TxId([9; 32]);
    let (rival_note, rival) = (note(&network.id, &key(4), 1, b"two"), pays(3, all));
    let young = forged(spending_a_reward_in_its_block());
    let checks = [
        ("its [form]", judge(&mut chain, &bad_form)),
        ("a note: no transaction in the mempool", judge(&mut chain, &forged(rival_note))),
        ("its coins exist; a note's stamp is unused", judge(&mut chain, &unknown_coin)),
        ("its coins are mature", after_chain(&young, Err(immature(&young)))),
        ("its inputs add up", judge(&mut chain, &forged(pays(3, all + 1)))),
        ("the mempool's [policy]", judge(&mut chain, &forged(rival))),
        ("its signatures are valid", judge(&mut TestChain::new(), &forged(pays(3, all)))),
    ];
    let outcomes = [relay_checks(&pays(2, all)), checks.to_vec()].concat();
    assert_checks("**Trades**", &outcomes);
    assert_eq!(judge(&mut TestChain::new(), &pays(3, all))[0], "accept");
}

fn spending_a_reward_in_its_block() -> Transaction {
    let network = network();
    pay(&network, &key(1), genesis_coin(&network), &[(owner(&key(3)), 10_000_000_000)])
}

/// Returns the refusal of a trade whose coin is a reward of the block that would hold the trade.
fn immature(trade: &Transaction) -> Refused {
    let coin = crate::consensus::Coin { value: Amount::from_coins(100), height: 5, coinbase: true };
    let error = crate::consensus::check_coins(trade, &[coin], 5).expect_err("too young");
    let txid = trade.txid();
    crate::chain::AcceptTradeError::Transaction { txid, error }.into()
}

fn header(previous: BlockHash, height: u32) -> Header {
    Header { previous, merkle_root: MerkleRoot::ZERO, height, time: 0, bits: 0, nonce: 0 }
}

fn solved(header: &[u8]) -> BlockGossip {
    BlockGossip::Solved(ByteBuf::from(header.to_vec()))
}

fn compact(header: &Header) -> BlockGossip {
    let coinbase = coinbase(header.height, owner(&key(1)), Amount::from_coins(1));
    BlockGossip::Compact(CompactBlock {
        header: ByteBuf::from(header.to_bytes()),
        coinbase: ByteBuf::from(coinbase.to_bytes()),
        short_ids: ByteBuf::new(),
    })
}

fn block_gossip(relay: &mut Relay<u32>, gossip: BlockGossip) -> Vec<RelayAction<u32>> {
    relay.handle(RelayEvent::BlockGossip { peer: peer(), message: 1, gossip }, NOW)
}

/// Returns a relay at which the peer has used up its rate of blocks.
fn exhausted() -> Relay<u32> {
    let mut relay = relay();
    for _ in 0..600 {
        block_gossip(&mut relay, solved(&[1; 92]));
    }
    relay
}

fn asks_status(actions: &[RelayAction<u32>]) -> bool {
    actions.iter().any(|action| matches!(action, RelayAction::AskStatus { .. }))
}

#[test]
fn a_solved_header_is_judged_by_its_first_fault() {
    let child = header(TIP.hash, 11);
    let bytes = child.to_bytes();
    let judge = |result: Result<(), Refused>| {
        let mut relay = relay();
        let actions = block_gossip(&mut relay, solved(&bytes));
        assert!(matches!(actions[..], [RelayAction::CheckSolved { .. }]), "{actions:?}");
        outcome(&relay.handle(RelayEvent::SolvedChecked { hash: child.hash(), result }, NOW))
    };
    let elsewhere = block_gossip(&mut relay(), solved(&header(BlockHash([1; 32]), 12).to_bytes()));
    assert!(asks_status(&elsewhere));
    let mut known = relay();
    block_gossip(&mut known, solved(&bytes));
    let outcomes = [
        ("the sender is within its [rate]", outcome(&block_gossip(&mut exhausted(), solved(&[1])))),
        ("the header's layout", outcome(&block_gossip(&mut relay(), solved(&[9; 92])))),
        ("its parent is our tip", outcome(&elsewhere)),
        ("it is not known", outcome(&block_gossip(&mut known, solved(&bytes)))),
        ("the [header rules]", judge(Err(refused(Blame::Peer, RefusalCause::Other)))),
        ("it is not ahead", judge(Err(refused(Blame::Nobody, RefusalCause::Other)))),
    ];
    assert_checks("**Solved**", &outcomes);
    assert_eq!(judge(Ok(()))[0], "accept");
}

#[test]
fn a_compact_block_is_judged_by_its_first_fault() {
    let child = header(TIP.hash, 11);
    let judge = |result: Result<HeadersAccepted, Refused>| {
        let mut relay = relay();
        relay.handle(RelayEvent::Proven { peer: peer() }, NOW);
        let actions = block_gossip(&mut relay, compact(&child));
        assert!(matches!(actions[..], [RelayAction::AcceptHeader { .. }]), "{actions:?}");
        let actions = relay.handle(RelayEvent::HeaderDone { hash: child.hash(), result }, NOW);
        (outcome(&actions), asks_status(&actions))
    };
    let unreadable = match compact(&child) {
        BlockGossip::Compact(compact) => {
            BlockGossip::Compact(CompactBlock { coinbase: ByteBuf::new(), ..compact })
        }
        BlockGossip::Solved(_) => panic!("a compact block"),
    };
    let mut known = relay();
    block_gossip(&mut known, compact(&child));
    let mut full = relay();
    for height in 100..116 {
        block_gossip(&mut full, compact(&header(TIP.hash, height)));
    }
    let last = child.hash();
    let reply = |wants_body| HeadersAccepted { new: 1, last, wants_body, best_header: TIP };
    let no_parent = judge(Err(refused(Blame::Nobody, RefusalCause::Other)));
    assert!(no_parent.1, "the sender is asked for its Status");
    let outcomes = [
        (
            "the sender is within its [rate]",
            outcome(&block_gossip(&mut exhausted(), unreadable.clone())),
        ),
        ("header and coinbase", outcome(&block_gossip(&mut relay(), unreadable))),
        ("it is not known", outcome(&block_gossip(&mut known, compact(&child)))),
        ("fewer than 16 announced", outcome(&block_gossip(&mut full, compact(&child)))),
        (
            "its branch is not known to be invalid",
            judge(Err(refused(Blame::Peer, RefusalCause::InvalidBranch))).0,
        ),
        ("its parent is known", no_parent.0.clone()),
        ("the [header rules]", judge(Err(refused(Blame::Peer, RefusalCause::Other))).0),
        ("its branch can win", judge(Err(refused(Blame::Nobody, RefusalCause::TooLittleWork))).0),
        ("it is not ahead", no_parent.0),
        ("its body is not here", judge(Ok(reply(false))).0),
    ];
    assert_checks("**Compact**", &outcomes);
    assert_eq!(judge(Ok(reply(true))).0[0], "accept");
}

#[test]
fn a_probe_is_ignored_or_rejected_and_costs_nothing() {
    says(
        "its verdict is always *ignore*, or *reject* if it has more than 128 bytes. Neither costs \
          points.",
    );
    let net = source("net/swarm/gossip.rs");
    let (_, alive) = net.split_once("if message.topic == self.names.alive {").expect("the place");
    let (alive, _) = alive.split_once("return None;").expect("its end");
    assert!(alive.contains("self.refuse(") && alive.contains("Verdict::Ignore"));
    assert!(alive.contains("MAX_PROBE_BYTES") && !alive.contains("misbehaved"));
    let checks = table_in(after(README, "**Every payload**"), &["check"]);
    assert_eq!(checks.len(), 2);
}
