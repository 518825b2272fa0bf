//! The relay, driven event by event.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use serde_bytes::ByteBuf;

use super::*;
use crate::{
    chain::api::{BlockAccepted, HeadersAccepted, Rebuilt, Refused, Tip},
    consensus::{Blame, Work},
    peers::Offence,
    primitives::{
        Amount, Block, BlockHash, Encode, Header, MerkleRoot, OutPoint, Owner, PeerId, PublicKey,
        Signature, Transaction, TxId, TxInput, TxOutput, UnixMillis, coinbase_memo, leaf_hash,
        short_id,
    },
    wire::{
        BlockGossip, CompactBlock, Item, ItemId, RequestFailure, SyncRequest, SyncResponse,
        TradeAnnouncement, TradeGossip, Verdict,
    },
};

const SPACING_MS: u64 = 10_000;
const START: UnixMillis = 1_000_000;

fn peer(number: u8) -> PeerId {
    PeerId(PublicKey([number; 32]))
}

fn tip() -> Tip {
    Tip { hash: BlockHash([0xaa; 32]), height: 10, work: Work::ZERO, time: 0 }
}

fn relay() -> Relay<u32> {
    Relay::new(RelayConfig { spacing_ms: SPACING_MS, tip: tip() })
}

fn note(number: u32) -> Transaction {
    spend(OutPoint { txid: TxId::ZERO, index: number }, b"hi")
}

fn spend(outpoint: OutPoint, memo: &[u8]) -> Transaction {
    let input = TxInput { outpoint, public_key: PublicKey([1; 32]), signature: Signature([2; 64]) };
    let coin = TxOutput { value: Amount::from_coins(1), owner: Owner([3; 20]) };
    let outputs = if outpoint.is_stamp() { vec![] } else { vec![coin] };
    Transaction { inputs: vec![input], outputs, memo: memo.to_vec() }
}

fn block(previous: BlockHash, height: u32, trades: u32) -> Block {
    let coinbase =
        Transaction { inputs: vec![], outputs: vec![], memo: coinbase_memo(height, b"") };
    let header =
        Header { previous, merkle_root: MerkleRoot::ZERO, height, time: 0, bits: 0, nonce: 0 };
    let mut block = Block { header, transactions: vec![coinbase] };
    block.transactions.extend((0..trades).map(note));
    block.header.merkle_root = block.computed_merkle_root();
    block
}

fn next_block(trades: u32) -> Block {
    block(tip().hash, tip().height + 1, trades)
}

fn solved(block: &Block) -> BlockGossip {
    BlockGossip::Solved(ByteBuf::from(block.header.to_bytes()))
}

fn compact(block: &Block) -> BlockGossip {
    let hash = block.hash();
    let short_ids: Vec<u8> =
        block.transactions[1..].iter().flat_map(|tx| short_id(&hash, &leaf_hash(tx))).collect();
    BlockGossip::Compact(CompactBlock {
        header: ByteBuf::from(block.header.to_bytes()),
        coinbase: ByteBuf::from(block.transactions[0].to_bytes()),
        short_ids: ByteBuf::from(short_ids),
    })
}

fn announcement(transaction: &Transaction, round: u32) -> TradeGossip {
    TradeGossip::Trade(TradeAnnouncement {
        transaction: ByteBuf::from(transaction.to_bytes()),
        round,
    })
}

fn refused(blame: Blame, code: &'static str) -> Refused {
    Refused { blame, code, reason: "a test".into() }
}

fn header_taken(block: &Block) -> RelayEvent<u32> {
    let accepted = HeadersAccepted { new: 1, last: block.hash(), best_header: tip() };
    RelayEvent::HeaderDone { hash: block.hash(), result: Ok(accepted) }
}

/// Gossip of a compact block by peer 1 as message 1, up to the mempool's answer.
fn announced(relay: &mut Relay<u32>, block: &Block, rebuilt: Rebuilt) -> Vec<RelayAction<u32>> {
    let gossip = RelayEvent::BlockGossip { peer: peer(1), message: 1, gossip: compact(block) };
    assert!(matches!(relay.handle(gossip, START)[..], [RelayAction::AcceptHeader { .. }]));
    let actions = relay.handle(header_taken(block), START);
    assert!(matches!(
        actions[..],
        [
            RelayAction::Rebuild { .. },
            RelayAction::Verdict { message: 1, verdict: Verdict::Accept }
        ]
    ));
    relay.handle(RelayEvent::Rebuilt { hash: block.hash(), rebuilt }, START)
}

/// What the mempool gives when it lacks these positions.
fn missing(block: &Block, positions: &[u32]) -> Rebuilt {
    let found = block.transactions.iter().zip(0u32..).map(|(tx, position)| {
        (position > 0 && !positions.contains(&position)).then(|| Arc::new(tx.clone()))
    });
    Rebuilt::Missing { found: found.collect(), positions: positions.to_vec() }
}

fn request(actions: &[RelayAction<u32>]) -> (PeerId, u64, SyncRequest) {
    let requests: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            RelayAction::Request { peer, id, request } => Some((*peer, *id, request.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(requests.len(), 1, "{actions:?}");
    requests[0].clone()
}

fn verdicts(actions: &[RelayAction<u32>]) -> Vec<(u32, Verdict)> {
    actions
        .iter()
        .filter_map(|action| match action {
            RelayAction::Verdict { message, verdict } => Some((*message, *verdict)),
            _ => None,
        })
        .collect()
}

fn penalties(actions: &[RelayAction<u32>]) -> Vec<(PeerId, Offence)> {
    actions
        .iter()
        .filter_map(|action| match action {
            RelayAction::Penalise { peer, offence, .. } => Some((*peer, *offence)),
            _ => None,
        })
        .collect()
}

fn asks(actions: &[RelayAction<u32>]) -> Vec<PeerId> {
    actions
        .iter()
        .filter_map(|action| match action {
            RelayAction::AskStatus { peer } => Some(*peer),
            _ => None,
        })
        .collect()
}

fn published(actions: &[RelayAction<u32>]) -> Vec<Announcement> {
    actions
        .iter()
        .filter_map(|action| match action {
            RelayAction::Publish { announcement } => Some(announcement.clone()),
            _ => None,
        })
        .collect()
}

fn hands_over(actions: &[RelayAction<u32>], whole: &Block) -> bool {
    actions
        .iter()
        .any(|action| matches!(action, RelayAction::AcceptBlock { block, .. } if **block == *whole))
}

fn connected(block: &Block) -> RelayEvent<u32> {
    let tip = Tip { hash: block.hash(), height: block.header.height, ..tip() };
    RelayEvent::TipChanged {
        tip,
        best_header: tip,
        connected: vec![(block.hash(), block.header.height)],
        mined: block.transactions.iter().map(Transaction::txid).collect(),
    }
}

#[test]
fn a_long_trade_counts_for_as_many_as_it_has_thousand_bytes() {
    let mut relay = relay();
    let mut asked = 0;
    for number in 0..u32::try_from(TRADE_RATE.burst).expect("a small rate") {
        let mut trade = spend(OutPoint { txid: TxId([7; 32]), index: number }, b"");
        trade.outputs = vec![trade.outputs[0]; 400];
        assert_eq!(trade.encoded_len().div_ceil(1_000), 12);
        let gossip = announcement(&trade, 0);
        let actions =
            relay.handle(RelayEvent::TradeGossip { peer: peer(1), message: number, gossip }, START);
        if let Some(RelayAction::AcceptTrade { .. }) = actions.first() {
            asked += 1;
            let txid = trade.txid();
            relay.handle(RelayEvent::TradeDone { txid, result: Ok(()) }, START);
        }
    }
    assert_eq!(asked, TRADE_RATE.burst / 12);
}

#[test]
fn our_block_is_told_of_by_its_header_and_then_in_compact_form() {
    let (mut relay, block) = (relay(), next_block(3));
    let actions = relay.handle(RelayEvent::Solved { header: Box::new(block.header) }, START);
    assert_eq!(published(&actions), [Announcement::Block(solved(&block))]);
    let actions = relay.handle(connected(&block), START);
    assert!(matches!(actions[..], [RelayAction::FetchBlock { hash }] if hash == block.hash()));
    let loaded =
        RelayEvent::BlockLoaded { hash: block.hash(), block: Some(Arc::new(block.clone())) };
    assert_eq!(
        published(&relay.handle(loaded.clone(), START)),
        [Announcement::Block(compact(&block))]
    );
    assert!(relay.handle(loaded, START).is_empty(), "nobody asked for it");
}

#[test]
fn a_tip_that_came_by_gossip_is_not_published_again_and_one_that_came_by_sync_is() {
    let (mut relay, block) = (relay(), next_block(0));
    announced(&mut relay, &block, Rebuilt::Block(Box::new(block.clone())));
    assert!(relay.handle(connected(&block), START).is_empty());
    let later = self::block(block.hash(), 12, 0);
    assert!(matches!(relay.handle(connected(&later), START)[..], [RelayAction::FetchBlock { .. }]));
}

#[test]
fn while_bodies_are_to_come_no_tip_is_published() {
    let (mut relay, block) = (relay(), next_block(0));
    let RelayEvent::TipChanged { tip, connected, mined, .. } = connected(&block) else {
        unreachable!("that is what it makes");
    };
    let best_header = Tip { hash: BlockHash([0xbb; 32]), ..tip };
    assert!(
        relay
            .handle(RelayEvent::TipChanged { tip, best_header, connected, mined }, START)
            .is_empty()
    );
}

#[test]
fn a_solved_header_on_our_tip_goes_on_after_its_check_and_pauses_the_miners_once() {
    let mut relay = relay();
    for (message, trades) in [(1, 0), (2, 1)] {
        let block = next_block(trades);
        let gossip = RelayEvent::BlockGossip { peer: peer(1), message, gossip: solved(&block) };
        let actions = relay.handle(gossip, START);
        assert!(matches!(actions[..], [RelayAction::CheckSolved { .. }]));
        let actions =
            relay.handle(RelayEvent::SolvedChecked { hash: block.hash(), result: Ok(()) }, START);
        assert_eq!(verdicts(&actions), [(message, Verdict::Accept)]);
        let paused = actions
            .iter()
            .any(|a| matches!(a, RelayAction::PauseMining { parent, ms: 2_000 } if *parent == tip().hash));
        assert_eq!(paused, message == 1);
    }
}

#[test]
fn a_solved_header_without_work_is_rejected_and_one_from_the_future_ignored() {
    for (blame, verdict, offences) in [
        (Blame::Peer, Verdict::Reject, vec![(peer(1), Offence::InvalidHeader)]),
        (Blame::Nobody, Verdict::Ignore, vec![]),
    ] {
        let (mut relay, block) = (relay(), next_block(0));
        relay.handle(
            RelayEvent::BlockGossip { peer: peer(1), message: 1, gossip: solved(&block) },
            START,
        );
        let result = Err(refused(blame, "test"));
        let actions = relay.handle(RelayEvent::SolvedChecked { hash: block.hash(), result }, START);
        assert_eq!(verdicts(&actions), [(1, verdict)]);
        assert_eq!(penalties(&actions), offences);
    }
}

#[test]
fn a_header_ahead_of_our_tip_is_ignored_and_its_bearer_asked_once() {
    let mut relay = relay();
    let ahead = block(BlockHash([5; 32]), 15, 0);
    let gossip =
        |message| RelayEvent::BlockGossip { peer: peer(1), message, gossip: solved(&ahead) };
    let actions = relay.handle(gossip(1), START);
    assert_eq!((verdicts(&actions), asks(&actions)), (vec![(1, Verdict::Ignore)], vec![peer(1)]));
    assert!(asks(&relay.handle(gossip(2), START + ASK_MS - 1)).is_empty());
    let old = block(BlockHash([6; 32]), 4, 0);
    let actions = relay
        .handle(RelayEvent::BlockGossip { peer: peer(2), message: 3, gossip: solved(&old) }, START);
    assert_eq!((verdicts(&actions), asks(&actions)), (vec![(3, Verdict::Ignore)], vec![]));
}

#[test]
fn a_solved_header_whose_block_does_not_come_makes_us_ask() {
    let (mut relay, block) = (relay(), next_block(0));
    relay.handle(
        RelayEvent::BlockGossip { peer: peer(1), message: 1, gossip: solved(&block) },
        START,
    );
    relay.handle(RelayEvent::SolvedChecked { hash: block.hash(), result: Ok(()) }, START);
    assert!(relay.handle(RelayEvent::Tick, START + SOLVED_MS - 1).is_empty());
    assert_eq!(asks(&relay.handle(RelayEvent::Tick, START + SOLVED_MS)), [peer(1)]);
}

#[test]
fn a_compact_block_goes_on_after_its_header_and_is_rebuilt_from_the_mempool() {
    let (mut relay, block) = (relay(), next_block(3));
    let actions = announced(&mut relay, &block, Rebuilt::Block(Box::new(block.clone())));
    assert!(hands_over(&actions, &block));
    let again = RelayEvent::BlockGossip { peer: peer(2), message: 2, gossip: compact(&block) };
    assert_eq!(verdicts(&relay.handle(again, START)), [(2, Verdict::Ignore)]);
    let done = RelayEvent::BlockDone { hash: block.hash(), result: Ok(BlockAccepted::Connected) };
    assert!(relay.handle(done, START).is_empty());
}

#[test]
fn missing_parts_are_asked_of_the_announcers_one_after_the_other() {
    let (mut relay, block) = (relay(), next_block(3));
    let actions = announced(&mut relay, &block, missing(&block, &[1, 3]));
    let (asked, id, what) = request(&actions);
    assert_eq!(asked, peer(1));
    assert!(matches!(what, SyncRequest::GetBlockTrades(ask) if ask.positions == [1, 3]));
    relay.handle(
        RelayEvent::BlockGossip { peer: peer(2), message: 2, gossip: compact(&block) },
        START,
    );
    let (asked, second, _) = request(
        &relay.handle(RelayEvent::Response { id, result: Ok(SyncResponse::NotYet) }, START),
    );
    assert_eq!(asked, peer(2));
    // Both were asked: after a pause, the first again.
    let result = Err(RequestFailure::TimedOut);
    assert!(relay.handle(RelayEvent::Response { id: second, result }, START).is_empty());
    assert!(relay.handle(RelayEvent::Tick, START + RETRY_MS).is_empty());
    let (asked, third, _) = request(&relay.handle(RelayEvent::Tick, START + RETRY_MS * 4));
    assert_eq!(asked, peer(1));
    let parts = [1, 3]
        .map(|position: usize| ByteBuf::from(block.transactions[position].to_bytes()))
        .to_vec();
    let late = RelayEvent::Response { id, result: Ok(SyncResponse::BlockTrades(parts.clone())) };
    assert!(relay.handle(late, START).is_empty(), "that request is over");
    let answer = RelayEvent::Response { id: third, result: Ok(SyncResponse::BlockTrades(parts)) };
    assert!(hands_over(&relay.handle(answer, START), &block));
}

#[test]
fn a_mempool_that_counts_without_the_coinbase_is_understood() {
    let (mut relay, block) = (relay(), next_block(2));
    let Rebuilt::Missing { found, positions } = missing(&block, &[2]) else {
        unreachable!("that is what it makes");
    };
    let rebuilt = Rebuilt::Missing { found: found[1..].to_vec(), positions };
    let (_, id, _) = request(&announced(&mut relay, &block, rebuilt));
    let parts = vec![ByteBuf::from(block.transactions[2].to_bytes())];
    let answer = RelayEvent::Response { id, result: Ok(SyncResponse::BlockTrades(parts)) };
    assert!(hands_over(&relay.handle(answer, START), &block));
}

#[test]
fn parts_that_do_not_fit_lead_to_the_whole_block_without_a_penalty() {
    let (mut relay, block) = (relay(), next_block(2));
    let (_, id, _) = request(&announced(&mut relay, &block, missing(&block, &[1])));
    let other = vec![ByteBuf::from(note(99).to_bytes())];
    let actions = relay
        .handle(RelayEvent::Response { id, result: Ok(SyncResponse::BlockTrades(other)) }, START);
    assert!(penalties(&actions).is_empty());
    let (_, id, what) = request(&actions);
    assert_eq!(what, SyncRequest::GetData(vec![ItemId::Block(block.hash())]));
    let whole = vec![Item::Block(ByteBuf::from(block.to_bytes()))];
    let answer = RelayEvent::Response { id, result: Ok(SyncResponse::Data(whole)) };
    assert!(hands_over(&relay.handle(answer, START), &block));
}

#[test]
fn a_wrong_rebuild_leads_to_the_whole_block() {
    let (mut relay, block) = (relay(), next_block(2));
    let mut wrong = block.clone();
    wrong.transactions[1] = note(50);
    let (_, _, what) = request(&announced(&mut relay, &block, Rebuilt::Block(Box::new(wrong))));
    assert_eq!(what, SyncRequest::GetData(vec![ItemId::Block(block.hash())]));
}

#[test]
fn who_answers_with_garbage_is_penalised_and_the_block_is_left_to_sync() {
    let block = next_block(1);
    let mut foreign = block.clone();
    foreign.transactions[1] = note(7);
    let answers = [
        (SyncResponse::Data(vec![Item::Block(ByteBuf::from(vec![1, 2, 3]))]), Offence::Malformed),
        (
            SyncResponse::Data(vec![Item::Block(ByteBuf::from(foreign.to_bytes()))]),
            Offence::WrongAnswer,
        ),
        (SyncResponse::Data(vec![]), Offence::WrongAnswer),
        (SyncResponse::Inv(ByteBuf::new()), Offence::WrongAnswer),
    ];
    for (answer, offence) in answers {
        let mut relay = relay();
        let rebuilt = Rebuilt::Missing { found: vec![], positions: vec![] };
        let (_, id, _) = request(&announced(&mut relay, &block, rebuilt));
        let actions = relay.handle(RelayEvent::Response { id, result: Ok(answer) }, START);
        assert_eq!(penalties(&actions), [(peer(1), offence)]);
        assert!(actions.iter().all(|action| !matches!(action, RelayAction::Request { .. })));
    }
}

#[test]
fn a_block_that_nobody_completes_is_given_up_and_its_announcers_asked() {
    let (mut relay, block) = (relay(), next_block(1));
    let mut actions = announced(&mut relay, &block, missing(&block, &[1]));
    let mut requests = 0;
    let mut now = START;
    while asks(&actions).is_empty() {
        now += 250;
        assert!(now < START + 2 * BLOCK_MS);
        let id = actions.iter().find_map(|action| match action {
            RelayAction::Request { id, .. } => Some(*id),
            _ => None,
        });
        actions = match id {
            Some(id) => {
                requests += 1;
                relay.handle(RelayEvent::Response { id, result: Ok(SyncResponse::NotFound) }, now)
            }
            None => relay.handle(RelayEvent::Tick, now),
        };
    }
    assert_eq!(requests, MAX_TRIES);
}

#[test]
fn an_unknown_parent_is_nobodys_fault_and_makes_us_ask() {
    let (mut relay, block) = (relay(), block(BlockHash([5; 32]), 15, 0));
    relay.handle(
        RelayEvent::BlockGossip { peer: peer(1), message: 1, gossip: compact(&block) },
        START,
    );
    let result = Err(refused(Blame::Nobody, "unknown_parent"));
    let actions = relay.handle(RelayEvent::HeaderDone { hash: block.hash(), result }, START);
    assert_eq!(verdicts(&actions), [(1, Verdict::Ignore)]);
    assert_eq!(asks(&actions), [peer(1)]);
    assert!(penalties(&actions).is_empty());
}

#[test]
fn an_invalid_block_costs_its_server_much_and_its_announcer_little() {
    let block = next_block(1);
    let result = Err(refused(Blame::Peer, "missing_coin"));
    let done = RelayEvent::BlockDone { hash: block.hash(), result };

    let mut by_announcement = relay();
    announced(&mut by_announcement, &block, Rebuilt::Block(Box::new(block.clone())));
    assert_eq!(
        penalties(&by_announcement.handle(done.clone(), START)),
        [(peer(1), Offence::EmptyPromise)]
    );

    let mut by_body = relay();
    let (_, id, _) = request(&announced(&mut by_body, &block, missing(&block, &[1])));
    let parts = vec![ByteBuf::from(block.transactions[1].to_bytes())];
    by_body
        .handle(RelayEvent::Response { id, result: Ok(SyncResponse::BlockTrades(parts)) }, START);
    assert_eq!(penalties(&by_body.handle(done, START)), [(peer(1), Offence::InvalidBlock)]);
}

#[test]
fn what_cannot_be_read_is_rejected() {
    let mut relay = relay();
    let BlockGossip::Compact(good) = compact(&next_block(1)) else {
        unreachable!("that is what it makes");
    };
    let cases = [
        BlockGossip::Solved(ByteBuf::from(vec![0; 91])),
        BlockGossip::Compact(CompactBlock { short_ids: ByteBuf::from(vec![0; 7]), ..good.clone() }),
        BlockGossip::Compact(CompactBlock {
            coinbase: ByteBuf::from(note(1).to_bytes()),
            ..good.clone()
        }),
        BlockGossip::Compact(CompactBlock { coinbase: ByteBuf::new(), ..good }),
    ];
    for (message, gossip) in (0..).zip(cases) {
        let actions =
            relay.handle(RelayEvent::BlockGossip { peer: peer(1), message, gossip }, START);
        assert_eq!(verdicts(&actions), [(message, Verdict::Reject)]);
        assert_eq!(penalties(&actions), [(peer(1), Offence::Malformed)]);
    }
    let coinbase = next_block(0).transactions.remove(0);
    let gossip = announcement(&coinbase, 0);
    let actions =
        relay.handle(RelayEvent::TradeGossip { peer: peer(1), message: 9, gossip }, START);
    assert_eq!(verdicts(&actions), [(9, Verdict::Reject)]);
}

#[test]
fn a_trade_goes_on_by_the_chains_word() {
    let cases = [
        (Ok(()), Verdict::Accept, vec![]),
        (Err(refused(Blame::Nobody, "conflict")), Verdict::Ignore, vec![]),
        (Err(refused(Blame::Ours, "disk")), Verdict::Ignore, vec![]),
        (
            Err(refused(Blame::Peer, "bad_signature")),
            Verdict::Reject,
            vec![(peer(1), Offence::InvalidTrade)],
        ),
    ];
    for (result, verdict, offences) in cases {
        let (mut relay, trade) = (relay(), note(1));
        let gossip =
            RelayEvent::TradeGossip { peer: peer(1), message: 1, gossip: announcement(&trade, 0) };
        assert!(matches!(relay.handle(gossip, START)[..], [RelayAction::AcceptTrade { .. }]));
        let again =
            RelayEvent::TradeGossip { peer: peer(2), message: 2, gossip: announcement(&trade, 1) };
        assert_eq!(verdicts(&relay.handle(again, START)), [(2, Verdict::Ignore)]);
        let actions = relay.handle(RelayEvent::TradeDone { txid: trade.txid(), result }, START);
        assert_eq!((verdicts(&actions), penalties(&actions)), (vec![(1, verdict)], offences));
    }
}

#[test]
fn a_trade_announced_again_goes_on_but_not_at_will() {
    let (mut relay, trade) = (relay(), note(1));
    let interval = SPACING_MS * ANNOUNCE_SPACINGS;
    let gossip = |message| RelayEvent::TradeGossip {
        peer: peer(1),
        message,
        gossip: announcement(&trade, message),
    };
    relay.handle(gossip(0), START);
    relay.handle(RelayEvent::TradeDone { txid: trade.txid(), result: Ok(()) }, START);
    assert_eq!(verdicts(&relay.handle(gossip(1), START + interval)), [(1, Verdict::Accept)]);
    assert_eq!(verdicts(&relay.handle(gossip(2), START + interval + 1)), [(2, Verdict::Ignore)]);
    let mut block = next_block(0);
    block.transactions.push(trade.clone());
    relay.handle(connected(&block), START + interval);
    assert_eq!(verdicts(&relay.handle(gossip(3), START + 3 * interval)), [(3, Verdict::Ignore)]);
}

#[test]
fn own_trades_are_announced_again_in_rising_rounds_until_they_are_mined() {
    let (mut relay, trade) = (relay(), note(1));
    let interval = SPACING_MS * ANNOUNCE_SPACINGS;
    let added = |local| RelayEvent::TradeAdded {
        txid: trade.txid(),
        transaction: Arc::new(trade.clone()),
        added: START,
        local,
    };
    let mut heard = published(&relay.handle(added(true), START));
    assert!(published(&relay.handle(added(true), START)).is_empty(), "told twice, announced once");
    for step in 1..=(3 * interval + interval / 5) / 250 {
        heard.extend(published(&relay.handle(RelayEvent::Tick, START + step * 250)));
    }
    let rounds: Vec<Announcement> =
        (0..4).map(|round| Announcement::Trade(announcement(&trade, round))).collect();
    assert_eq!(heard, rounds);
    let mut block = next_block(0);
    block.transactions.push(trade.clone());
    relay.handle(connected(&block), START + 4 * interval);
    assert!(published(&relay.handle(RelayEvent::Tick, START + 9 * interval)).is_empty());
}

#[test]
fn more_own_trades_than_can_be_told_in_a_round_hold_up_neither_new_ones_nor_one_another() {
    let mut relay = relay();
    let added = |trade: &Transaction, added| RelayEvent::TradeAdded {
        txid: trade.txid(),
        transaction: Arc::new(trade.clone()),
        added,
        local: true,
    };
    let trades: Vec<_> = (0..1_000).map(note).collect();
    for trade in &trades {
        relay.handle(added(trade, START), START);
    }
    let interval = SPACING_MS * ANNOUNCE_SPACINGS;
    let mut now = START;
    while now < START + 10 * interval {
        now += 250;
        relay.handle(RelayEvent::Tick, now);
    }
    // All but ten are mined: nobody is told of these any more.
    let mut block = next_block(0);
    block.transactions.extend_from_slice(&trades[10..]);
    relay.handle(connected(&block), now);
    let latest = note(1_000);
    let mut heard = published(&relay.handle(added(&latest, now), now));
    for _ in 0..8 {
        now += 250;
        heard.extend(published(&relay.handle(RelayEvent::Tick, now)));
    }
    let told = |trade: &Transaction| {
        let bytes = trade.to_bytes();
        let of = |heard: &&Announcement| match heard {
            Announcement::Trade(TradeGossip::Trade(told)) => told.transaction == bytes,
            Announcement::Block(_) => false,
        };
        heard.iter().filter(of).count()
    };
    assert_eq!(told(&latest), 1, "what is new comes first");
    assert!(
        trades[..10].iter().all(|trade| told(trade) <= 1)
            && trades[10..].iter().all(|trade| told(trade) == 0)
    );
}

#[test]
fn after_a_restart_an_own_trade_goes_on_with_a_later_round() {
    let (mut relay, trade) = (relay(), note(1));
    let now = START + SPACING_MS * ANNOUNCE_SPACINGS * 7;
    let event = RelayEvent::TradeAdded {
        txid: trade.txid(),
        transaction: Arc::new(trade.clone()),
        added: START,
        local: true,
    };
    assert_eq!(
        published(&relay.handle(event, now)),
        [Announcement::Trade(announcement(&trade, 7))]
    );
}

#[test]
fn a_trade_from_a_peers_mempool_is_published_and_one_from_gossip_is_not() {
    let mut relay = relay();
    let (fetched, gossiped) = (note(1), note(2));
    let added = |trade: &Transaction| RelayEvent::TradeAdded {
        txid: trade.txid(),
        transaction: Arc::new(trade.clone()),
        added: START,
        local: false,
    };
    let gossip =
        RelayEvent::TradeGossip { peer: peer(1), message: 1, gossip: announcement(&gossiped, 0) };
    relay.handle(gossip, START);
    assert!(published(&relay.handle(added(&gossiped), START)).is_empty());
    assert_eq!(
        published(&relay.handle(added(&fetched), START)),
        [Announcement::Trade(announcement(&fetched, 0))]
    );
}

#[test]
fn a_trade_before_its_parent_waits_for_it() {
    let mut relay = relay();
    let parent = note(1);
    let child = spend(OutPoint { txid: parent.txid(), index: 0 }, b"");
    let gossip =
        RelayEvent::TradeGossip { peer: peer(1), message: 1, gossip: announcement(&child, 0) };
    relay.handle(gossip, START);
    let result = Err(refused(Blame::Nobody, "missing_coin"));
    assert!(relay.handle(RelayEvent::TradeDone { txid: child.txid(), result }, START).is_empty());
    let added = RelayEvent::TradeAdded {
        txid: parent.txid(),
        transaction: Arc::new(parent),
        added: START,
        local: false,
    };
    let actions = relay.handle(added, START + 1_000);
    assert!(actions.iter().any(
        |a| matches!(a, RelayAction::AcceptTrade { transaction, .. } if **transaction == child)
    ));
    let actions =
        relay.handle(RelayEvent::TradeDone { txid: child.txid(), result: Ok(()) }, START + 1_000);
    assert_eq!(verdicts(&actions), [(1, Verdict::Accept)]);
}

#[test]
fn a_flood_of_notes_is_ignored_beyond_the_rate_and_costs_others_nothing() {
    let mut relay = relay();
    let mut accepted = 0;
    for number in 0..2 * u32::try_from(NOTE_RATE.burst).expect("a small rate") {
        let gossip = announcement(&note(number), 0);
        let actions =
            relay.handle(RelayEvent::TradeGossip { peer: peer(1), message: number, gossip }, START);
        accepted += u64::from(
            actions.iter().any(|action| matches!(action, RelayAction::AcceptTrade { .. })),
        );
    }
    assert_eq!(accepted, NOTE_RATE.burst);
    let gossip = announcement(&note(9_999), 0);
    let actions =
        relay.handle(RelayEvent::TradeGossip { peer: peer(2), message: 9_999, gossip }, START);
    assert!(matches!(actions[..], [RelayAction::AcceptTrade { .. }]));
}

/// One step of the property test: what happens, and to which of a few blocks, trades and peers.
fn event(kind: u8, which: u32, from: u8, message: u32, last_id: u64) -> RelayEvent<u32> {
    let previous = if which % 5 == 4 { BlockHash([9; 32]) } else { tip().hash };
    let block = block(previous, 11, which % 6);
    let trade = if which.is_multiple_of(3) {
        spend(OutPoint { txid: note(which + 1).txid(), index: 0 }, b"")
    } else {
        note(which)
    };
    let hash = block.hash();
    let (txid, peer) = (trade.txid(), peer(from % 4));
    let verdict = || match which % 4 {
        0 => Err(refused(Blame::Peer, "test")),
        1 => Err(refused(Blame::Nobody, "missing_coin")),
        _ => Ok(()),
    };
    let response = || match which % 7 {
        0 => Err(RequestFailure::TimedOut),
        1 => Ok(SyncResponse::NotYet),
        2 => Ok(SyncResponse::Data(vec![Item::Block(ByteBuf::from(block.to_bytes()))])),
        3 => Ok(SyncResponse::BlockTrades(vec![ByteBuf::from(note(0).to_bytes())])),
        4 => Ok(SyncResponse::Busy),
        5 => Ok(SyncResponse::Data(vec![Item::NotFound])),
        _ => Ok(SyncResponse::Inv(ByteBuf::new())),
    };
    match kind {
        0 => RelayEvent::BlockGossip { peer, message, gossip: solved(&block) },
        1 | 2 => RelayEvent::BlockGossip { peer, message, gossip: compact(&block) },
        3 | 4 => RelayEvent::TradeGossip { peer, message, gossip: announcement(&trade, message) },
        5 => RelayEvent::SolvedChecked { hash, result: verdict() },
        6 => header_taken(&block),
        7 => RelayEvent::HeaderDone { hash, result: Err(refused(Blame::Nobody, "unknown_parent")) },
        8 => RelayEvent::Rebuilt { hash, rebuilt: missing(&block, &[1]) },
        9 => RelayEvent::Rebuilt { hash, rebuilt: Rebuilt::Block(Box::new(block)) },
        10 => RelayEvent::Response { id: last_id, result: response() },
        11 => RelayEvent::BlockDone { hash, result: verdict().map(|()| BlockAccepted::Connected) },
        12 => RelayEvent::TradeDone { txid, result: verdict() },
        13 => RelayEvent::TradeAdded {
            txid,
            transaction: Arc::new(trade),
            added: START,
            local: which.is_multiple_of(2),
        },
        14 => RelayEvent::PeerGone { peer },
        15 => connected(&block),
        _ => RelayEvent::Tick,
    }
}

proptest! {
    #[test]
    fn every_message_gets_exactly_one_verdict(
        steps in prop::collection::vec((0u8..18, 0u32..30, any::<u8>(), 0u64..2_000), 0..150)
    ) {
        let mut relay = relay();
        let mut now = START;
        let mut last_id = 0;
        let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
        let mut take = |actions: Vec<RelayAction<u32>>, seen: &mut BTreeMap<u32, usize>| {
            for action in actions {
                match action {
                    RelayAction::Verdict { message, .. } => *seen.entry(message).or_default() += 1,
                    RelayAction::Request { id, .. } => {
                        assert!(owns_request(id) && id >= last_id);
                        last_id = id;
                    }
                    _ => {}
                }
            }
            last_id
        };
        let mut id = 0;
        for (message, (kind, which, from, pause)) in (0u32..).zip(steps) {
            now += pause;
            if kind <= 4 {
                seen.entry(message).or_default();
            }
            let actions = relay.handle(event(kind, which, from, message, id), now);
            id = take(actions, &mut seen);
        }
        let actions = relay.handle(RelayEvent::Tick, now + VERDICT_MS);
        take(actions, &mut seen);
        prop_assert!(seen.values().all(|verdicts| *verdicts == 1), "{seen:?}");
    }
}
