//! Tests of peers that prove themselves and then keep bodies from this node.

use super::*;
use crate::primitives::{
    Amount, Encode, OutPoint, Owner, Signature, Transaction, TxInput, TxOutput,
};

/// Returns a machine that lacks the bodies up to this height, and has one friend.
fn lacking(friend: PeerId, height: Height) -> Sync {
    let mut sync = machine(&[friend]);
    sync.eager = true;
    let (own, best_header) = (tip(10), tip(height));
    sync.handle(SyncEvent::Summary { tip: own, best_header, diverged: false }, NOW);
    sync
}

/// Lists the missing bodies up to this height. Returns the actions.
fn list_missing(sync: &mut Sync, height: Height, now: Moment) -> Vec<SyncAction> {
    let (read, ..) = sync.missing.reading.expect("a read");
    let blocks = (11..=height).map(|height| (hash(height), height)).collect();
    sync.handle(SyncEvent::Missing { read, blocks }, now)
}

/// Connects peers that claim this height and have proven themselves.
fn prove(sync: &mut Sync, peers: impl IntoIterator<Item = PeerId>, height: Height) {
    for id in peers {
        sync.handle(status(id, height, 0), NOW);
        sync.handle(SyncEvent::Delivered { peer: id }, NOW);
    }
}

#[test]
fn a_friend_is_asked_for_a_body_before_peers_that_have_delivered_none() {
    let friend = peer(200);
    let mut sync = lacking(friend, 11);
    prove(&mut sync, (0..12).map(peer), 11);
    sync.handle(status(friend, 11, 0), NOW);
    let actions = list_missing(&mut sync, 11, NOW);
    assert_eq!(asked(&actions, is_for_bodies).first().map(|(id, _)| *id), Some(friend));
}

#[test]
fn a_friend_is_asked_before_a_header_is_withheld_however_many_others_deny_the_body() {
    let friend = peer(200);
    let mut sync = lacking(friend, 11);
    prove(&mut sync, (0..16).map(peer), 11);
    sync.handle(status(friend, 11, 0), NOW);
    for liar in sync.peers.iter_mut().filter(|(id, _)| **id != friend).map(|(_, liar)| liar) {
        liar.gave_body = true;
    }
    let mut actions = list_missing(&mut sync, 11, NOW);
    let mut open: Vec<(Moment, u64)> = Vec::new();
    for now in (NOW..NOW + WITHHOLD_MS).step_by(250) {
        actions.extend(sync.handle(SyncEvent::Tick, now));
        for (_, id) in open.extract_if(.., |(due, _)| *due <= now) {
            let result = Ok(SyncResponse::NotYet);
            actions.extend(sync.handle(SyncEvent::Response { id, result }, now));
        }
        sync.assert_sound(now);
        let requests = asked(&actions, is_for_bodies);
        if requests.iter().any(|(id, _)| *id == friend) {
            assert!(now > NOW, "the others come first");
            return;
        }
        open.extend(requests.iter().map(|(_, id)| (now + PATIENCE_MS - 100, *id)));
        actions.clear();
    }
    panic!("the friend was not asked");
}

#[test]
fn silent_proven_peers_take_no_slot_of_a_friend() {
    let (friend, height) = (peer(200), 5_000);
    let mut sync = lacking(friend, height);
    prove(&mut sync, (0..64).map(peer), height);
    list_missing(&mut sync, height, NOW);
    let mut now = NOW;
    for _ in 0..4 {
        now += PATIENCE_MS;
        sync.handle(SyncEvent::Tick, now);
    }
    assert!(sync.requests.len() >= MAX_OPEN_REQUESTS);
    let actions = sync.handle(status(friend, height, 0), now);
    assert_eq!(asked(&actions, is_for_bodies).first().map(|(id, _)| *id), Some(friend));
    sync.assert_sound(now);
}

#[test]
fn a_peer_that_denies_a_body_comes_behind_those_that_deliver() {
    let friend = peer(200);
    let mut sync = lacking(friend, 11);
    prove(&mut sync, [peer(1)], 11);
    sync.peers.get_mut(&peer(1)).expect("a peer").gave_body = true;
    let actions = list_missing(&mut sync, 11, NOW);
    let [(liar, id)] = asked(&actions, is_for_bodies)[..] else { panic!("{actions:?}") };
    let rank = |sync: &Sync| sync.body_rank(&liar, &sync.peers[&liar]);
    assert_eq!(rank(&sync), ranks::BodyRank::Delivers);
    sync.handle(SyncEvent::Response { id, result: Ok(SyncResponse::NotYet) }, NOW);
    assert_eq!(rank(&sync), ranks::BodyRank::Proven);
}

#[test]
fn a_trade_of_a_peers_mempool_proves_nothing() {
    let stranger = peer(1);
    let outpoint = OutPoint { txid: TxId([7; 32]), index: 0 };
    let input = TxInput { outpoint, public_key: PublicKey([1; 32]), signature: Signature([2; 64]) };
    let output = TxOutput { value: Amount::from_coins(1), owner: Owner([3; 20]) };
    let trade = Transaction { inputs: vec![input], outputs: vec![output], memo: Vec::new() };
    let txid = trade.txid();
    let mut sync = machine(&[]);
    let visit = asked(&sync.handle(status(stranger, 10, 1), NOW), is_visit);
    let answer = |id, response| SyncEvent::Response { id, result: Ok(response) };
    sync.handle(answer(visit[0].1, SyncResponse::MempoolIds(vec![txid])), NOW);
    let actions = sync.handle(SyncEvent::UnknownTrades { peer: stranger, ids: vec![txid] }, NOW);
    let wanted = asked(&actions, |request| matches!(request, SyncRequest::GetData(_)));
    let item = Item::Trade(trade.to_bytes().into());
    let actions = sync.handle(answer(wanted[0].1, SyncResponse::Data(vec![item])), NOW);
    assert!(actions.iter().any(|action| matches!(action, SyncAction::AcceptTrade { .. })));
    let actions = sync.handle(SyncEvent::TradeDone { txid, result: Ok(()) }, NOW);
    assert!(!actions.iter().any(|action| matches!(action, SyncAction::Proven { .. })));
    assert!(!sync.trusts(&stranger));
}
