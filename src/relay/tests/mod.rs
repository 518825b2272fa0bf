//! Tests that drive the relay event by event.

mod blocks;
mod properties;
mod trades;

use std::sync::Arc;

use serde_bytes::ByteBuf;

use super::*;
use crate::{
    chain::api::{HeadersAccepted, Rebuilt, RefusalCause, Refused, Tip},
    consensus::{Blame, Work},
    peers::{Offence, Trust},
    primitives::{
        Amount, Block, BlockHash, Encode, Header, MerkleRoot, Moment, OutPoint, Owner, PeerId,
        PublicKey, Signature, Transaction, TxId, TxInput, TxOutput, coinbase_memo, leaf_hash,
        short_id,
    },
    wire::{
        BlockGossip, CompactBlock, SyncRequest, Topic, TradeAnnouncement, TradeGossip, Verdict,
    },
};

const SPACING_MS: u64 = 10_000;
const START: Moment = 1_000_000;

fn peer(number: u8) -> PeerId {
    PeerId(PublicKey([number; 32]))
}

fn tip() -> Tip {
    Tip { hash: BlockHash([0xaa; 32]), height: 10, work: Work::ZERO, time: 0 }
}

fn relay() -> Relay<u32> {
    relay_with(Trust::default())
}

fn relay_with(trust: Trust) -> Relay<u32> {
    Relay::new(RelayConfig { spacing_ms: SPACING_MS, tip: tip(), trust, seed: 7 })
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
    announcements_of(&[transaction], round)
}

/// Returns one message of these transactions.
fn announcements_of(transactions: &[&Transaction], round: u32) -> TradeGossip {
    let bytes = |transaction: &&Transaction| ByteBuf::from(transaction.to_bytes());
    let transactions = transactions.iter().map(bytes).collect();
    TradeGossip::Trades(TradeAnnouncement { transactions, round })
}

/// Returns the id of the check that the actions ask of the chain, and its trades.
fn check(actions: &[RelayAction<u32>]) -> Option<(u64, Vec<Transaction>)> {
    actions.iter().find_map(|action| match action {
        RelayAction::AcceptTrades { id, transactions, .. } => Some((*id, transactions.clone())),
        _ => None,
    })
}

/// Answers the check that the actions ask of the chain, with one result for each trade.
fn checked(
    relay: &mut Relay<u32>,
    actions: &[RelayAction<u32>],
    results: &[Result<(), Refused>],
    now: Moment,
) -> Vec<RelayAction<u32>> {
    let (id, transactions) = check(actions).expect("a check");
    assert_eq!(transactions.len(), results.len());
    relay.handle(RelayEvent::TradesDone { id, results: results.to_vec() }, now)
}

fn refused(blame: Blame, cause: RefusalCause) -> Refused {
    Refused { blame, cause, code: "test", reason: "a test".into() }
}

fn header_taken(block: &Block) -> RelayEvent<u32> {
    header_known(block, true)
}

/// Returns the chain's reply for an acceptable header, which may have its body already.
fn header_known(block: &Block, wants_body: bool) -> RelayEvent<u32> {
    let (hash, new) = (block.hash(), usize::from(wants_body));
    let accepted = HeadersAccepted { new, last: hash, wants_body, best_header: tip() };
    RelayEvent::HeaderDone { hash, result: Ok(accepted) }
}

/// Announces a compact block by peer 1 as message 1, up to the result of the rebuild. The peer is
/// trusted, so the message is forwarded at once.
fn announced(relay: &mut Relay<u32>, block: &Block, rebuilt: Rebuilt) -> Vec<RelayAction<u32>> {
    relay.handle(RelayEvent::Proven { peer: peer(1) }, START);
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

/// Returns the result of a rebuild that lacks these positions.
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

fn mutes(actions: &[RelayAction<u32>]) -> Vec<(PeerId, Topic)> {
    actions
        .iter()
        .filter_map(|action| match action {
            RelayAction::Mute { peer, topic, .. } => Some((*peer, *topic)),
            _ => None,
        })
        .collect()
}

fn suspends(actions: &[RelayAction<u32>]) -> bool {
    actions.iter().any(|action| matches!(action, RelayAction::SuspendMining))
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
