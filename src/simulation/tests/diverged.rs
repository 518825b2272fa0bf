//! Tests of a node whose friends have a better branch that needs the user's consent.

use super::*;
use crate::sync::{SyncEvent, SyncOutcome};

/// A little more than the attended time after which blocks are settled, in ms.
const SETTLED_MS: u64 = 75 * 3_600_000;

/// Connects a node that has settled 20 blocks above a fork with a friend that has 40 others.
fn torn(seed: u64) -> (World, usize, usize) {
    let theirs = longer(history(), 40, 2);
    let ours = longer(history(), 20, 1);
    let mut world = world_at(&theirs, seed);
    let node = world.add(&ours, Manner::Honest);
    let run = world.run(node).expect("a node that is up");
    for _ in 0..SETTLED_MS / 3_600_000 {
        run.chain.attend(3_600_000);
    }
    run.chain.commit().expect("a disk in memory");
    let friend = world.join(node, &theirs, Manner::Honest);
    (world, node, friend)
}

/// Returns true if the other branch is stored completely.
fn has_all(world: &World, node: usize) -> bool {
    world.phase(node) == Some(Phase::Diverged)
        && world.nodes[node].run.as_ref().is_some_and(|run| {
            run.summary.diverged.is_some_and(|divergence| divergence.missing == 0)
        })
}

#[test]
fn the_other_branch_is_fetched_once_and_then_all_is_quiet() {
    let (mut world, node, friend) = torn(1);
    let tip = world.tip(node);
    world.until(60_000, |world| has_all(world, node));
    world.run_for(2_000);
    let requests = world.nodes[node].sent.requests;
    world.run_for(10 * STALL_MS);
    assert_eq!((world.tip(node), world.phase(node)), (tip, Some(Phase::Diverged)));
    assert_eq!(world.nodes[node].bodies, 40);
    assert_eq!(world.nodes[node].sent.requests, requests, "nothing is asked for again");
    assert!(world.figures.charges.is_empty(), "{:?}", world.figures.charges);
    assert!(world.links.is_up(node, friend));
    world.assert_at_rest(node);
}

#[test]
fn new_blocks_of_both_branches_are_kept_up_with() {
    let (mut world, node, friend) = torn(5);
    let ally = world.join(node, &longer(history(), 20, 1), Manner::Honest);
    world.links.want(ally, friend, false);
    world.until(60_000, |world| has_all(world, node));
    for _ in 0..3 {
        world.run_for(10_000);
        world.mine_at(friend);
        let theirs = world.tip(friend);
        world.until(120_000, |world| {
            let best = world.nodes[node].run.as_ref().map(|run| run.summary.best_header);
            best == theirs && has_all(world, node)
        });
    }
    assert!(world.figures.charges.is_empty(), "{:?}", world.figures.charges);
}

#[test]
fn it_ends_when_a_person_says_so() {
    let (mut world, node, friend) = torn(8);
    world.until(60_000, |world| has_all(world, node));
    let (wall, theirs) = (world.wall(node), world.tip(friend).expect("a node that is up"));
    let run = world.run(node).expect("a node that is up");
    run.chain.accept_branch(theirs.hash, wall).expect("the branch is there");
    world.settle_soon(node);
    world.until(60_000, |world| world.has_tip_of(node, friend) && world.is_synced(node));
    world.run_for(2_000);
    world.assert_at_rest(node);
}

#[test]
fn it_ends_when_our_branch_wins() {
    let (mut world, node, friend) = torn(7);
    world.until(60_000, |world| has_all(world, node));
    for _ in 0..25 {
        world.run_for(10_000);
        world.mine_at(node);
    }
    // The friend has settled no blocks, so it takes the better branch without consent.
    world.until(120_000, |world| world.is_synced(node) && world.has_tip_of(node, friend));
}

#[test]
fn a_users_sync_ends_and_says_that_there_is_a_choice() {
    let (mut world, node, _) = torn(9);
    world.until(60_000, |world| world.phase(node) == Some(Phase::Diverged));
    world.sync(node, SyncEvent::SyncNow { ticket: 1, peer: None });
    world.until(60_000, |world| {
        world.nodes[node].run.as_ref().is_some_and(|run| !run.reports.is_empty())
    });
    let report = world.run(node).expect("a node that is up").reports[0].1.outcome;
    assert_eq!(report, SyncOutcome::Diverged);
    assert!(has_all(&world, node));
}

#[test]
fn a_node_that_was_away_catches_up_with_its_own_branch() {
    let (mut world, node, _) = torn(6);
    world.until(60_000, |world| has_all(world, node));
    // With this pause, the ally's blocks are not ahead of the clock.
    world.stop(node);
    world.run_for(1_200_000);
    let ally = world.join(node, &longer(&longer(history(), 20, 1), 15, 3), Manner::Honest);
    world.start(node);
    world.until(60_000, |world| world.has_tip_of(node, ally));
}
