//! Tests of the turns that strangers get with branches of little work.

use std::net::IpAddr;

use super::*;
use crate::primitives::{Header, MerkleRoot};

/// Connects a stranger of a network that claims this height, and has the chain refuse its first
/// headers. Returns true if its branch is counted now.
fn is_counted(sync: &mut Sync, number: u8, network: u8, height: Height, now: Moment) -> bool {
    let id = peer(number);
    sync.handle(status(id, height, 0), now);
    let site = IpAddr::from([192, 0, network, 0]);
    sync.handle(SyncEvent::PeerAt { peer: id, site }, now);
    let actions = sync.handle(SyncEvent::Locator { peer: id, hashes: vec![hash(1)] }, now);
    let is_walk = |request: &SyncRequest| matches!(request, SyncRequest::GetBlocks(_));
    let [walk] = asked(&actions, is_walk)[..] else { panic!("no walk of {number}") };
    assert_eq!(walk.0, id);
    let (previous, merkle_root) = (hash(1), MerkleRoot::ZERO);
    let header = Header { previous, merkle_root, height: 2, time: 0, bits: 0, nonce: 0 };
    let actions = refuse_walk(sync, walk, &header, now);
    actions.iter().any(|action| matches!(action, SyncAction::HeaderContext { .. }))
}

#[test]
fn each_network_of_strangers_has_one_branch_counted_at_once() {
    let mut sync = machine(&[]);
    let counted = [(1, 1), (2, 1), (3, 2), (4, 3), (5, 4)].map(|(number, network)| {
        let now = NOW + u64::from(number) * 1_000;
        is_counted(&mut sync, number, network, 1_000 + Height::from(number), now)
    });
    assert_eq!(counted, [true, false, true, true, false], "and three are counted in all");
}

#[test]
fn new_keys_of_one_network_leave_turns_to_others() {
    let mut sync = machine(&[]);
    let (mut now, mut turns) = (NOW, 0);
    for number in 1..100 {
        now += 2 * HOPELESS_MS;
        let height = 1_000 + Height::from(number);
        turns += usize::from(is_counted(&mut sync, number, 1, height, now));
        sync.handle(SyncEvent::PeerGone { peer: peer(number) }, now);
    }
    // The pauses take 1, 2, 4, 8, 16, 32, 64 and 64 minutes.
    assert_eq!(turns, 9, "in 198 minutes");
    assert!(is_counted(&mut sync, 200, 2, 5_000, now), "another network has its turn");
}
