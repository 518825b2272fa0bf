//! Tests of a node whose friends have a better branch that it takes only with the user's consent.

use super::{Manner, Network, Phase, STALL_MS, SyncEvent, SyncOutcome, ToyChain};

/// Connects a node that keeps its 70 blocks with a friend that has 90, of which 50 are the same.
fn torn(seed: u64) -> (Network, usize, usize) {
    let mut network = Network::new(seed);
    let common = ToyChain::of_length(50, 0);
    let (mut ours, mut theirs) = (common.clone(), common);
    ours.extend(20, 1);
    ours.settled = 60;
    theirs.extend(40, 2);
    let node = network.add(ours, Manner::Honest);
    let friend = network.add(theirs, Manner::Honest);
    network.connect(node, friend);
    (network, node, friend)
}

/// Returns true if the other branch is stored completely.
fn has_all(network: &Network, node: usize) -> bool {
    network.phase(node) == Phase::Diverged && network.nodes[node].chain.missing(1).is_empty()
}

#[test]
fn the_other_branch_is_fetched_once_and_then_all_is_quiet() {
    for seed in 0..4 {
        let (mut network, node, _) = torn(seed);
        let tip = network.tip(node);
        network.run_until(60_000, |n| has_all(n, node));
        network.run_for(2_000);
        let requests = network.request_ids.len();
        network.run_for(20 * STALL_MS);
        assert_eq!((network.tip(node), network.phase(node)), (tip, Phase::Diverged));
        assert_eq!(network.nodes[node].bodies_received, 40);
        assert_eq!(network.request_ids.len(), requests, "nothing is asked for again");
        assert!(network.penalties.is_empty(), "{:?}", network.penalties);
        network.assert_at_rest(node);
    }
}

#[test]
fn new_blocks_of_both_branches_are_kept_up_with() {
    let (mut network, node, friend) = torn(5);
    let ally = network.add(network.nodes[node].chain.clone(), Manner::Honest);
    network.connect(node, ally);
    network.run_until(60_000, |n| has_all(n, node));
    for round in 0..3 {
        network.nodes[friend].chain.mine(2);
        network.nodes[ally].chain.mine(1);
        for miner in [friend, ally] {
            network.summarise(miner);
        }
        let (theirs, ours) = (network.tip(friend), network.tip(ally));
        network.run_until(120_000, |n| {
            n.tip(node) == ours && n.nodes[node].chain.best_header().hash == theirs
        });
        network.run_until(60_000, |n| has_all(n, node));
        assert_eq!(network.nodes[node].bodies_received, 42 + 2 * round);
    }
    assert!(network.penalties.is_empty(), "{:?}", network.penalties);
}

#[test]
fn a_node_that_was_away_catches_up_with_its_own_branch() {
    let (mut network, node, _) = torn(6);
    network.run_until(60_000, |n| has_all(n, node));
    let mut ahead = network.nodes[node].chain.clone();
    for _ in 0..15 {
        ahead.mine(1);
    }
    let ally = network.add(ahead, Manner::Honest);
    network.restart(node);
    network.connect(node, ally);
    assert_eq!(network.phase(node), Phase::Starting);
    network.run_until(1_000, |n| n.phase(node) == Phase::Diverged);
    let ours = network.tip(ally);
    network.run_until(60_000, |n| n.tip(node) == ours && has_all(n, node));
}

#[test]
fn it_ends_when_our_branch_wins_or_a_person_says_so() {
    let (mut network, node, friend) = torn(7);
    network.run_until(60_000, |n| has_all(n, node));
    for _ in 0..21 {
        network.nodes[node].chain.mine(1);
        network.summarise(node);
    }
    network.run_until(60_000, |n| n.phase(node) == Phase::Synced);
    // The friend has settled no blocks, so it takes the better branch by itself.
    let ours = network.tip(node);
    network.run_until(60_000, |n| n.tip(friend) == ours);

    let (mut network, node, friend) = torn(8);
    network.run_until(60_000, |n| has_all(n, node));
    network.nodes[node].chain.accept_branch();
    network.summarise(node);
    let theirs = network.tip(friend);
    network.run_until(60_000, |n| n.tip(node) == theirs && n.phase(node) == Phase::Synced);
    network.run_for(2_000);
    network.assert_at_rest(node);
}

#[test]
fn a_users_sync_ends_and_says_that_there_is_a_choice() {
    let (mut network, node, _) = torn(9);
    network.run_until(60_000, |n| n.phase(node) == Phase::Diverged);
    network.feed(node, SyncEvent::SyncNow { ticket: 1, peer: None });
    network.run_until(60_000, |n| !n.nodes[node].reports.is_empty());
    assert_eq!(network.nodes[node].reports[0].1.outcome, SyncOutcome::Diverged);
    assert!(has_all(&network, node));
}
