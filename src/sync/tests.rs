//! Tests that drive sync event by event, where strangers and friends compete.

mod sites;
mod withholding;

use std::collections::BTreeSet;

use super::{bodies::BlockRef, *};
use crate::{
    chain::api::{HeaderContext, RefusalCause, Refused, Tip},
    consensus::{Blame, HeaderWindow, Work, testing::network},
    peers::{Offence, Trust},
    primitives::{
        Block, BlockHash, Encode, Header, Height, MerkleRoot, Moment, PeerId, PublicKey,
        Transaction, TxId, coinbase_memo,
    },
    wire::{Item, Status, SyncRequest, SyncResponse},
};

const NOW: Moment = 1_000_000;

fn peer(number: u8) -> PeerId {
    PeerId(PublicKey([number; 32]))
}

fn hash(height: Height) -> BlockHash {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&height.to_be_bytes());
    BlockHash(bytes)
}

fn tip(height: Height) -> Tip {
    let mut work = [0; 32];
    work[28..].copy_from_slice(&height.to_be_bytes());
    Tip { hash: hash(height), height, work: Work::from_be_bytes(work), time: 0 }
}

/// Returns a machine at height 10 whose user has accepted these peers.
fn machine(friends: &[PeerId]) -> Sync {
    Sync::new(SyncConfig {
        min_work: Work::ZERO,
        tip: tip(10),
        best_header: tip(10),
        diverged: false,
        trust: Trust::new(friends.iter().copied(), false),
        secret: 1,
        now: NOW,
    })
}

/// Returns the Status of a peer at this height, with transactions in its mempool.
fn status(peer: PeerId, height: Height, mempool: u32) -> SyncEvent {
    claim(peer, tip(height), mempool)
}

fn claim(peer: PeerId, tip: Tip, mempool: u32) -> SyncEvent {
    let status = Status {
        version: 1,
        features: 0,
        network: hash(0),
        tip: tip.hash,
        height: tip.height,
        work: tip.work.to_be_bytes().to_vec().into(),
        time: 0,
        mempool,
    };
    SyncEvent::PeerStatus { peer, status: Box::new(status) }
}

/// Returns the peers that are asked, each with the id of its request.
fn asked(actions: &[SyncAction], is_wanted: fn(&SyncRequest) -> bool) -> Vec<(PeerId, u64)> {
    let requests = actions.iter().filter_map(|action| match action {
        SyncAction::Request { peer, id, request } if is_wanted(request) => Some((*peer, *id)),
        _ => None,
    });
    requests.collect()
}

const fn is_for_bodies(request: &SyncRequest) -> bool {
    matches!(request, SyncRequest::GetRange(_))
}

const fn is_visit(request: &SyncRequest) -> bool {
    matches!(request, SyncRequest::GetMempool)
}

#[test]
fn silent_strangers_take_no_slot_of_a_friend_that_has_proven_nothing_yet() {
    let friend = peer(200);
    let mut sync = machine(&[friend]);
    for number in 0..64 {
        sync.handle(status(peer(number), 500, 0), NOW);
    }
    let (best_header, own) = (tip(500), tip(10));
    sync.eager = true;
    let summary = SyncEvent::Summary { tip: own, best_header, diverged: false };
    let actions = sync.handle(summary, NOW);
    let read = actions.iter().find_map(|action| match action {
        SyncAction::FetchMissing { read, .. } => Some(*read),
        _ => None,
    });
    let blocks = (11..=500).map(|height| (hash(height), height)).collect();
    let missing = SyncEvent::Missing { read: read.expect("a read"), blocks };
    let mut silent = asked(&sync.handle(missing, NOW), is_for_bodies).len();
    assert_eq!(silent, MAX_BODY_REQUESTS);
    for round in 1..20 {
        let actions = sync.handle(SyncEvent::Tick, NOW + round * DOUBT_PATIENCE_MS);
        silent += asked(&actions, is_for_bodies).len();
    }
    assert_eq!(silent, MAX_OPEN_REQUESTS, "further strangers get none");
    let later = NOW + 20 * DOUBT_PATIENCE_MS;
    let actions = sync.handle(status(friend, 500, 0), later);
    assert_eq!(asked(&actions, is_for_bodies).first().map(|(id, _)| *id), Some(friend));
    sync.assert_sound(later);
}

/// An honest peer may have stored the block on a side branch, where it checks no coins and
/// signatures.
#[test]
fn an_invalid_block_is_charged_to_peers_that_claim_it_and_not_to_its_sender() {
    let (sender, liar) = (peer(1), peer(2));
    let memo = coinbase_memo(11, b"");
    let transactions = vec![Transaction { inputs: vec![], outputs: vec![], memo }];
    let (previous, merkle_root) = (hash(10), MerkleRoot::ZERO);
    let header = Header { previous, merkle_root, height: 11, time: 0, bits: 0, nonce: 0 };
    let block = Block { header, transactions };
    let best_header = Tip { hash: block.hash(), ..tip(11) };
    for (cause, guilty) in [(RefusalCause::Other, liar), (RefusalCause::WrongMerkleRoot, sender)] {
        let mut sync = machine(&[]);
        // Its own branch has as much work.
        sync.handle(status(sender, 11, 0), NOW);
        sync.eager = true;
        let summary = SyncEvent::Summary { tip: tip(10), best_header, diverged: false };
        let actions = sync.handle(summary, NOW);
        let read = actions.iter().find_map(|action| match action {
            SyncAction::FetchMissing { read, .. } => Some(*read),
            _ => None,
        });
        let blocks = vec![(block.hash(), 11)];
        let missing = SyncEvent::Missing { read: read.expect("a read"), blocks };
        let requests = asked(&sync.handle(missing, NOW), is_for_bodies);
        let [(asked, id)] = requests[..] else { panic!("{requests:?}") };
        assert_eq!(asked, sender);
        let result = Ok(SyncResponse::Blocks(block.to_bytes().into()));
        sync.handle(SyncEvent::Response { id, result }, NOW);
        sync.handle(claim(liar, best_header, 0), NOW);
        let refused = Refused { blame: Blame::Peer, cause, code: "test", reason: String::new() };
        let results = vec![(block.hash(), Err(refused))];
        let actions = sync.handle(SyncEvent::BlocksDone { results }, NOW);
        let charges = actions.iter().filter_map(|action| match action {
            SyncAction::Penalise { peer, offence, .. } => Some((*peer, *offence)),
            _ => None,
        });
        assert_eq!(charges.collect::<Vec<_>>(), [(guilty, Offence::InvalidBlock)]);
    }
}

#[test]
fn a_friends_mempool_waits_for_no_strangers() {
    let (stranger, friend) = (peer(1), peer(200));
    let mut sync = machine(&[friend]);
    let visit = asked(&sync.handle(status(stranger, 10, 9), NOW), is_visit);
    assert!(matches!(visit[..], [(one, _)] if one == stranger));
    // It names ids that it does not have, and then takes its time.
    let ids: Vec<_> = (0..200).map(|number| TxId([number; 32])).collect();
    let answer = |id, response| SyncEvent::Response { id, result: Ok(response) };
    sync.handle(answer(visit[0].1, SyncResponse::MempoolIds(ids.clone())), NOW);
    let actions = sync.handle(SyncEvent::UnknownTrades { peer: stranger, ids }, NOW);
    let slow = asked(&actions, |request| matches!(request, SyncRequest::GetData(_)));
    assert_eq!(slow.len(), 1);
    let visit = asked(&sync.handle(status(friend, 10, 9), NOW), is_visit);
    assert!(matches!(visit[..], [(one, _)] if one == friend));
    // The late answer of the stranger does not disturb the visit.
    let late = SyncResponse::Data(vec![Item::NotFound; 64]);
    assert!(sync.handle(answer(slow[0].1, late), NOW + 1).is_empty());
    sync.handle(SyncEvent::SyncNow { ticket: 7, peer: Some(friend) }, NOW + 2);
    sync.handle(status(friend, 10, 0), NOW + 3);
    let actions = sync.handle(answer(visit[0].1, SyncResponse::MempoolIds(Vec::new())), NOW + 4);
    let done = |action: &SyncAction| matches!(action, SyncAction::SyncDone { ticket: 7, .. });
    assert!(actions.iter().any(done), "the command does not wait for the stranger");
    let again = asked(&actions, is_visit);
    assert!(matches!(again[..], [(one, _)] if one == stranger), "now it has its turn again");
}

#[test]
fn no_visit_that_others_wait_for_is_long() {
    let (slow, other) = (peer(1), peer(2));
    let mut sync = machine(&[slow, other]);
    assert_eq!(asked(&sync.handle(status(slow, 10, 9), NOW), is_visit).len(), 1);
    assert_eq!(asked(&sync.handle(status(other, 10, 9), NOW), is_visit), []);
    let mut at = NOW;
    let mut next = Vec::new();
    while next.is_empty() {
        // Bytes of the answer go on arriving.
        let id = *sync.requests.keys().next().expect("one");
        at += 10_000;
        next = asked(&sync.handle(SyncEvent::Grows { id, bytes: 1 }, at), is_visit);
        next.extend(asked(&sync.handle(status(other, 10, 9), at), is_visit));
        next.extend(asked(&sync.handle(status(slow, 10, 9), at), is_visit));
    }
    assert!(next.iter().any(|(id, _)| *id == other));
    assert_eq!(at - NOW, MAX_DOUBT_MS);
}

#[test]
fn requests_are_late_and_small_as_the_peers_rank_says() {
    let (stranger, friend) = (peer(1), peer(200));
    let mut sync = machine(&[friend]);
    for id in [stranger, friend] {
        sync.handle(status(id, 500, 0), NOW);
    }
    assert_eq!(sync.patience_with(&stranger), DOUBT_PATIENCE_MS);
    assert_eq!(sync.patience_with(&friend), PATIENCE_MS);
    let mut limits = Vec::new();
    for id in [friend, stranger] {
        let mut one = machine(&[friend]);
        one.handle(status(id, 5_000, 0), NOW);
        let located = SyncEvent::Locator { peer: id, hashes: vec![hash(10)] };
        for action in one.handle(located, NOW) {
            if let SyncAction::Request { request: SyncRequest::GetBlocks(get), .. } = action {
                limits.push(get.limit);
            }
        }
    }
    assert_eq!(limits, [2_000, FIRST_HEADERS]);
}

#[test]
fn of_too_many_withheld_headers_the_oldest_is_forgotten() {
    let mut sync = machine(&[]);
    let blocks: Vec<_> = (0..=MAX_WITHHELD)
        .map(|number| 11 + Height::try_from(number).expect("small"))
        .map(|height| BlockRef { height, hash: hash(height) })
        .collect();
    for block in &blocks {
        sync.withhold(*block, &BTreeSet::new(), NOW);
    }
    // Each peer is asked for one body at a time.
    let peers = 0..=u8::try_from(MAX_WITHHELD).expect("small");
    let mut actions: Vec<_> =
        peers.flat_map(|number| sync.handle(status(peer(number), 500, 0), NOW)).collect();
    actions.extend(sync.handle(SyncEvent::Tick, NOW + PROBE_MS));
    let probed: BTreeSet<_> = actions
        .iter()
        .filter_map(|action| match action {
            SyncAction::Request { request: SyncRequest::GetRange(range), .. } => Some(range.first),
            _ => None,
        })
        .collect();
    assert_eq!(probed, blocks[1..].iter().map(|block| block.hash).collect());
}

/// Answers a walk with one header, which the chain refuses since its branch has too little work.
/// Returns what follows.
fn refuse_walk(
    sync: &mut Sync,
    (peer, id): (PeerId, u64),
    header: &Header,
    now: Moment,
) -> Vec<SyncAction> {
    let inv = SyncResponse::Inv(header.to_bytes().into());
    let actions = sync.handle(SyncEvent::Response { id, result: Ok(inv) }, now);
    let walk = actions.iter().find_map(|action| match action {
        SyncAction::AcceptHeaders { walk, .. } => Some(*walk),
        _ => None,
    });
    let cause = RefusalCause::TooLittleWork;
    let refused = Refused { blame: Blame::Nobody, cause, code: "test", reason: "a test".into() };
    let walk = walk.expect("headers for the chain");
    sync.handle(SyncEvent::HeadersDone { peer, walk, result: Err(refused) }, now)
}

/// Counts a branch that forks at height 1, up to this number of headers. Returns true if the walk
/// goes on.
fn goes_on_after(counted: u32) -> bool {
    let (friend, fork) = (peer(200), tip(1));
    let mut sync = machine(&[friend]);
    sync.handle(status(friend, 10_000_000, 0), NOW);
    let located = SyncEvent::Locator { peer: friend, hashes: vec![fork.hash] };
    let actions = sync.handle(located, NOW);
    let context = |height: Height, hash| {
        let window = HeaderWindow::genesis(&network(10_000));
        Box::new(HeaderContext { tip: Tip { hash, height, ..fork }, window })
    };
    let merkle_root = MerkleRoot::ZERO;
    let header = Header { previous: fork.hash, merkle_root, height: 2, time: 0, bits: 0, nonce: 0 };
    let is_walk = |request: &SyncRequest| matches!(request, SyncRequest::GetBlocks(_));
    refuse_walk(&mut sync, asked(&actions, is_walk)[0], &header, NOW);
    let begin = SyncEvent::HeaderContext { peer: friend, context: Some(context(1, fork.hash)) };
    let actions = sync.handle(begin, NOW);
    let inv = SyncResponse::Inv(header.to_bytes().into());
    let (_, id) = asked(&actions, is_walk)[0];
    let actions = sync.handle(SyncEvent::Response { id, result: Ok(inv) }, NOW);
    assert!(actions.iter().any(|action| matches!(action, SyncAction::CheckHeaders { .. })));
    let result = Ok(context(1 + counted, header.hash()));
    let actions = sync.handle(SyncEvent::HeadersChecked { peer: friend, result }, NOW);
    !asked(&actions, is_walk).is_empty()
}

#[test]
fn a_branch_of_little_work_is_counted_up_to_a_bound_where_its_walk_ends() {
    assert!(goes_on_after(1) && goes_on_after(MAX_PRESYNC_HEADERS - 1));
    assert!(!goes_on_after(MAX_PRESYNC_HEADERS));
}
