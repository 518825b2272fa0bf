//! Tests of peers that claim, announce or boast, and do not deliver.

use super::{
    Manner, Network, Phase, REQUEST_TIMEOUT_MS, STALL_MS, SyncEvent, ToyChain, network::peer,
};
use crate::{
    peers::{MAX_CONNECTED, Offence},
    sync::{Obstacle, WITHHOLD_MS},
};

/// Returns a network with a node and an honest peer at the same tip, which has proven itself.
fn pair(seed: u64, length: u32) -> (Network, usize, usize, ToyChain) {
    let mut network = Network::new(seed);
    let chain = ToyChain::of_length(length, 0);
    let node = network.add(ToyChain::of_length(length - 1, 0), Manner::Honest);
    let honest = network.add(chain.clone(), Manner::Honest);
    network.connect(node, honest);
    network.run_until(10_000, |n| n.phase(node) == Phase::Synced && n.confirmed(node) == 1);
    (network, node, honest, chain)
}

#[test]
fn silent_claimants_do_not_slow_a_sync_by_more_than_half() {
    let chain = ToyChain::of_length(5_000, 0);
    let time = |claimants: usize| {
        let mut network = Network::new(20);
        let newcomer = network.add(ToyChain::default(), Manner::Honest);
        for _ in 0..claimants {
            let silent = network.add(chain.clone(), Manner::Silent);
            network.connect(newcomer, silent);
        }
        let honest = network.add(chain.clone(), Manner::Honest);
        network.connect(newcomer, honest);
        network.run_until(120_000, |n| n.tip(newcomer) == chain.tip().hash)
    };
    let (alone, beside) = (time(0), time(24));
    assert!(beside <= alone + alone / 2, "{beside} ms beside 24 silent peers, {alone} ms without");
}

#[test]
fn the_claims_of_strangers_count_for_nothing_beside_a_proven_peer() {
    let (mut network, node, _, chain) = pair(21, 50);
    for manner in [Manner::Silent, Manner::Boasting, Manner::Silent] {
        let liar = network.add(chain.clone(), manner);
        network.connect(node, liar);
        for _ in 0..80 {
            network.run_for(250);
            assert_eq!(network.phase(node), Phase::Synced, "{manner:?}");
        }
    }
}

#[test]
fn a_lone_claimant_that_fails_leaves_the_node_stalled_and_not_syncing() {
    let mut network = Network::new(22);
    let node = network.add(ToyChain::of_length(20, 0), Manner::Honest);
    let silent = network.add(ToyChain::default(), Manner::Silent);
    network.connect(node, silent);
    network.run_until(STALL_MS, |n| n.phase(node) == Phase::Syncing);
    network.run_until(STALL_MS, |n| n.phase(node) == Phase::Stalled);
    network.run_for(10 * STALL_MS);
    assert_eq!(network.phase(node), Phase::Stalled);
    let progress = network.nodes[node].sync.progress();
    assert_eq!((progress.obstacle, progress.confirmed), (Some(Obstacle::Headers), 0));
}

#[test]
fn headers_whose_bodies_nobody_has_are_left_aside_and_their_announcer_dropped() {
    let (mut network, node, honest, chain) = pair(23, 100);
    let mut bodiless = chain.clone();
    bodiless.extend(3_000, 9);
    let liar = network.add(bodiless.clone(), Manner::Withholding);
    network.connect(node, liar);
    network.run_until(5_000, |n| n.phase(node) == Phase::Syncing);
    network.run_until(WITHHOLD_MS + 5_000, |n| n.phase(node) == Phase::Synced);
    assert!(network.penalties.contains(&(node, liar, Offence::EmptyPromise)));
    assert_eq!(network.dropped, [(node, liar)]);
    network.nodes[honest].chain.extend(1, 1);
    network.summarise(honest);
    let tip = network.tip(honest);
    network.run_until(10_000, |n| n.tip(node) == tip);
    // The same headers come again, after a restart too, and the node comes to rest again.
    network.restart(node);
    network.connect(node, liar);
    network.run_until(WITHHOLD_MS + 60_000, |n| n.phase(node) == Phase::Synced);
    network.run_for(20 * STALL_MS);
    assert_eq!((network.phase(node), network.tip(node)), (Phase::Synced, tip));
    assert!(!network.penalties.iter().any(|(by, of, _)| (*by, *of) == (node, honest)));
    // Somebody has the bodies after all.
    let late = network.add(bodiless.clone(), Manner::Honest);
    network.connect(node, late);
    network.run_until(120_000, |n| n.tip(node) == bodiless.tip().hash);
    assert!(!network.penalties.iter().any(|(_, of, _)| *of == late), "{:?}", network.penalties);
}

#[test]
fn a_branch_of_little_work_is_not_stored_and_not_fetched_again_and_again() {
    let (mut network, node, _, _) = pair(24, 3_000);
    let known = network.nodes[node].chain.known();
    let mut cheap = ToyChain::default();
    cheap.extend_cheaply(6_000, 5);
    // It would sync to the better branch itself, and serve that one from then on.
    cheap.settled = 6_000;
    let liar = network.add(cheap, Manner::Boasting);
    network.connect(node, liar);
    network.run_until(60_000, |n| n.penalties.contains(&(node, liar, Offence::EmptyPromise)));
    assert_eq!(network.nodes[node].chain.known(), known, "no header of it is stored");
    assert!(
        network.headers_counted >= 6_000,
        "{}: {:?}",
        network.headers_counted,
        network.penalties
    );
    network.run_for(10 * STALL_MS);
    assert!(network.headers_counted <= 5 * 6_000, "{}", network.headers_counted);
    assert_eq!(network.phase(node), Phase::Synced);
    assert_eq!(network.nodes[node].chain.known(), known);
}

#[test]
fn two_halves_far_apart_meet_by_a_walk_without_storing() {
    let mut network = Network::new(25);
    let (mut left, mut right) = (ToyChain::default(), ToyChain::default());
    left.extend(6_000, 1);
    right.extend(6_050, 2);
    let (a, b) = (network.add(left, Manner::Honest), network.add(right.clone(), Manner::Honest));
    network.connect(a, b);
    network.run_until(200_000, |n| n.tip(a) == right.tip().hash);
    network.run_until(30_000, |n| n.phase(a) == Phase::Synced && n.phase(b) == Phase::Synced);
    assert!(network.headers_counted >= 6_000, "it was counted first");
    assert!(network.penalties.is_empty(), "{:?}", network.penalties);
    network.run_for(2_000);
    network.assert_at_rest(a);
}

#[test]
fn a_friends_branch_that_cannot_win_is_told() {
    let (mut network, node, _, _) = pair(26, 2_500);
    let mut cheap = ToyChain::default();
    cheap.extend_cheaply(3_000, 5);
    let friend = network.add(cheap, Manner::Boasting);
    network.befriend(node, friend);
    network.connect(node, friend);
    network.run_until(60_000, |n| n.phase(node) == Phase::Stalled);
    let progress = network.nodes[node].sync.progress();
    assert_eq!(progress.obstacle, Some(Obstacle::Branch));
}

#[test]
fn headers_too_far_beyond_the_tip_wait_until_bodies_are_connected() {
    let mut network = Network::new(27);
    let mut newcomer_chain = ToyChain::default();
    newcomer_chain.max_ahead = 2_500;
    let chain = ToyChain::of_length(6_000, 0);
    let newcomer = network.add(newcomer_chain, Manner::Honest);
    let server = network.add(chain.clone(), Manner::Honest);
    network.connect(newcomer, server);
    network.run_until(120_000, |n| n.tip(newcomer) == chain.tip().hash);
    assert!(network.headers_handed < 3 * 6_000, "{}", network.headers_handed);
    assert!(network.penalties.is_empty());
}

#[test]
fn idle_identities_do_not_lock_out_an_honest_peer() {
    let mut network = Network::new(28);
    let chain = ToyChain::of_length(300, 0);
    let newcomer = network.add(ToyChain::default(), Manner::Honest);
    let idle = network.add(ToyChain::default(), Manner::Mute);
    let status = network.status(idle);
    for number in 0..MAX_CONNECTED + 70 {
        let status = Box::new(status.clone());
        let peer = peer(1_000_000 + number);
        let event = SyncEvent::PeerStatus { peer, status };
        // Nothing is sent to these peers, which do not exist.
        network.nodes[newcomer].sync.handle(event, network.now);
    }
    assert_eq!(network.nodes[newcomer].sync.peers.len(), MAX_CONNECTED);
    let honest = network.add(chain.clone(), Manner::Honest);
    let status = Box::new(network.status(honest));
    network.connect(newcomer, honest);
    network.feed(newcomer, SyncEvent::PeerStatus { peer: peer(honest), status });
    assert!(network.nodes[newcomer].sync.peers.contains_key(&peer(honest)));
    network.run_until(30_000, |n| n.tip(newcomer) == chain.tip().hash);
}

#[test]
fn after_waking_nobody_is_charged_and_everything_is_asked_for_again() {
    let mut network = Network::new(29);
    let chain = ToyChain::of_length(500, 0);
    let newcomer = network.add(ToyChain::default(), Manner::Honest);
    let server = network.add(chain.clone(), Manner::Honest);
    network.connect(newcomer, server);
    network.run_until(10_000, |n| !n.nodes[newcomer].sync.requests.is_empty());
    network.now += 10 * REQUEST_TIMEOUT_MS;
    network.feed(newcomer, SyncEvent::Woke);
    network.run_until(60_000, |n| n.tip(newcomer) == chain.tip().hash);
    assert!(network.penalties.is_empty(), "{:?}", network.penalties);
}
