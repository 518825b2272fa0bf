//! Tests of peers that claim, announce or boast, and do not deliver.

use super::*;
use crate::{
    peers::MAX_CONNECTED,
    sync::{Obstacle, SyncEvent},
};

/// Returns a world with a node and a proven honest peer at the same tip.
fn pair(seed: u64) -> (World, usize, usize) {
    let mut world = world_at(long(), seed);
    let node = world.add(history(), Manner::Honest);
    let honest = world.join(node, history(), Manner::Honest);
    world.until(10_000, |world| world.is_synced(node));
    world.mine_at(honest);
    world.until(10_000, |world| world.has_tip_of(node, honest) && confirmed(world, node) == 1);
    (world, node, honest)
}

fn confirmed(world: &World, node: usize) -> usize {
    world.nodes[node].run.as_ref().map_or(0, |run| run.sync.progress().confirmed)
}

#[test]
fn no_lying_peer_stops_a_sync_and_no_honest_one_is_blamed() {
    for (seed, manner) in (0..).zip(Manner::LIARS) {
        let mut world = world_at(long(), seed);
        let newcomer = world.add(&nothing(), Manner::Honest);
        for _ in 0..3 {
            let liar = world.join(newcomer, history(), manner);
            if manner == Manner::Invalid {
                world.make_forged(liar, 5);
            }
        }
        let honest = world.join(newcomer, history(), Manner::Honest);
        world.until(200_000, |world| world.has_tip_of(newcomer, honest));
        world.until(200_000, |world| world.is_synced(newcomer));
        // Requests to silent peers end.
        world.run_for(2 * REQUEST_TIMEOUT_MS);
        assert!(
            !world.is_ever_charged(newcomer, honest),
            "{manner:?}: {:?}",
            world.figures.charges
        );
        let caught = world.figures.charges.iter().any(|charge| charge.0 == newcomer);
        let is_harmless = matches!(
            manner,
            // Requests to a mute peer are cancelled once another peer has answered.
            Manner::Mute
                | Manner::Withholding
                | Manner::Busy
                | Manner::Selfish
                | Manner::Stale
                | Manner::Orphans
                | Manner::Cheap
        );
        assert!(caught || is_harmless, "{manner:?} goes unnoticed");
        assert_eq!(world.violations, Vec::<String>::new(), "{manner:?}");
    }
}

#[test]
fn all_lies_at_once_do_not_stop_a_sync() {
    for seed in 0..3 {
        let mut world = world_at(long(), seed);
        let newcomer = world.add(&nothing(), Manner::Honest);
        for manner in Manner::LIARS {
            let liar = world.join(newcomer, history(), manner);
            if manner == Manner::Invalid {
                world.make_forged(liar, 5);
            }
        }
        for _ in 0..2 {
            let honest = world.add(history(), Manner::Honest);
            world.connect(newcomer, honest, Line { loss: 10.0, ..HOME });
        }
        let honest = world.nodes.len() - 1;
        world.until(600_000, |world| world.has_tip_of(newcomer, honest));
        for other in [honest - 1, honest] {
            let charges = world.figures.charges.iter();
            let of_honest: Vec<_> = charges
                .filter(|charge| charge.1 == other && charge.2 != Offence::Timeout)
                .collect();
            assert!(of_honest.is_empty(), "{of_honest:?}");
        }
    }
}

#[test]
fn a_branch_with_an_invalid_block_is_left_and_its_sender_blamed() {
    let mut world = world_at(long(), 5);
    let newcomer = world.add(&nothing(), Manner::Honest);
    let liar = world.join(newcomer, history(), Manner::Invalid);
    world.make_forged(liar, 60);
    let honest = world.join(newcomer, &longer(history(), 20, 1), Manner::Honest);
    // The honest node learns of the same branch, and does not take it.
    world.connect(honest, liar, HOME);
    world.until(200_000, |world| {
        world.has_tip_of(newcomer, honest)
            && world.is_charged(newcomer, liar, Offence::InvalidBlock)
    });
    world.run_for(60_000);
    assert_eq!(world.tip(newcomer).map(|tip| tip.height), Some(90));
    assert!(!world.is_ever_charged(newcomer, honest), "{:?}", world.figures.charges);
}

#[test]
fn silent_claimants_do_not_slow_a_sync_by_more_than_half() {
    let time = |claimants: usize| {
        let mut world = world_at(long(), 20);
        let newcomer = world.add(&nothing(), Manner::Honest);
        for _ in 0..claimants {
            world.join(newcomer, history(), Manner::Silent);
        }
        let honest = world.add(long(), Manner::Honest);
        world.connect(newcomer, honest, Line { bytes_per_ms: 10.0, ..HOME });
        world.until(120_000, |world| world.has_tip_of(newcomer, honest))
    };
    let (alone, beside) = (time(0), time(24));
    assert!(beside <= 2 * alone, "{beside} ms beside 24 silent peers, {alone} ms without");
}

#[test]
fn many_silent_peers_do_not_use_up_all_requests() {
    let mut world = world_at(long(), 14);
    let newcomer = world.add(&nothing(), Manner::Honest);
    let honest = world.join(newcomer, long(), Manner::Honest);
    for _ in 0..8 {
        world.join(newcomer, long(), Manner::Mute);
    }
    let took = world.until(60_000, |world| world.has_tip_of(newcomer, honest));
    assert!(took < REQUEST_TIMEOUT_MS, "{took} ms");
}

#[test]
fn the_claims_of_strangers_count_for_nothing_beside_a_proven_peer() {
    let (mut world, node, _) = pair(21);
    for manner in [Manner::Silent, Manner::Boasting, Manner::Silent] {
        world.join(node, history(), manner);
        for _ in 0..80 {
            world.run_for(250);
            assert_eq!(world.phase(node), Some(Phase::Synced), "{manner:?}");
        }
    }
}

#[test]
fn a_lone_claimant_that_fails_leaves_the_node_stalled_and_not_syncing() {
    let mut world = world_at(history(), 22);
    let node = world.add(history(), Manner::Honest);
    world.join(node, history(), Manner::Boasting);
    world.until(STALL_MS, |world| world.phase(node) == Some(Phase::Syncing));
    world.until(STALL_MS, |world| world.phase(node) == Some(Phase::Stalled));
    world.run_for(3 * STALL_MS);
    assert_eq!(world.phase(node), Some(Phase::Stalled));
    let progress = world.run(node).expect("a node that is up").sync.progress();
    assert_eq!((progress.obstacle, progress.confirmed), (Some(Obstacle::Headers), 0));
}

#[test]
fn headers_whose_bodies_nobody_has_are_left_aside_and_their_announcer_dropped() {
    let bodiless = longer(history(), 100, 9);
    let (mut world, node, honest) = pair(23);
    let liar = world.join(node, &bodiless, Manner::Withholding);
    world.until(5_000, |world| world.phase(node) == Some(Phase::Syncing));
    world.until(STALL_MS + 5_000, |world| world.is_synced(node));
    assert!(world.is_charged(node, liar, Offence::EmptyPromise));
    assert!(!world.links.is_up(node, liar), "it is disconnected");
    world.mine_at(honest);
    world.until(10_000, |world| world.has_tip_of(node, honest));
    // The same headers come again after a restart, and the node comes to rest again.
    world.stop(node);
    world.nodes[node].refused.clear();
    world.start(node);
    world.until(STALL_MS + 60_000, |world| world.is_synced(node) && world.has_tip_of(node, honest));
    world.run_for(10 * STALL_MS);
    assert!(world.is_synced(node) && world.has_tip_of(node, honest));
    assert!(!world.is_ever_charged(node, honest));
    // A late peer has the bodies after all.
    let late = world.join(node, &bodiless, Manner::Honest);
    world.until(180_000, |world| world.has_tip_of(node, late));
    assert!(!world.is_ever_charged(node, late), "{:?}", world.figures.charges);
}

#[test]
fn a_node_whose_only_peer_withholds_drops_it_and_recovers_with_another() {
    let mut world = world_at(history(), 10);
    let newcomer = world.add(&nothing(), Manner::Honest);
    let withholding = world.join(newcomer, history(), Manner::Withholding);
    world.until(2 * STALL_MS, |world| world.phase(newcomer) == Some(Phase::Alone));
    assert!(!world.links.is_up(newcomer, withholding));
    let honest = world.join(newcomer, history(), Manner::Honest);
    world.until(60_000, |world| world.is_synced(newcomer));
    world.disconnect(newcomer, honest);
    assert_eq!(world.phase(newcomer), Some(Phase::Alone));
}

/// Returns a branch at genesis with the least work that the rules allow.
fn cheap(blocks: usize) -> History {
    longer(&nothing(), blocks, 99)
}

#[test]
fn a_branch_of_little_work_is_not_stored_and_not_fetched_again_and_again() {
    let mut world = world_at(long(), 24);
    let node = world.add(long(), Manner::Honest);
    let honest = world.join(node, long(), Manner::Honest);
    world.until(10_000, |world| world.is_synced(node));
    let handed = world.figures.headers.0;
    let liar = world.join(node, &cheap(300), Manner::Cheap);
    world.until(60_000, |world| world.is_charged(node, liar, Offence::EmptyPromise));
    world.run_for(10 * STALL_MS);
    let (stored, counted) = world.figures.headers;
    assert!(counted >= 300, "{counted} headers were counted");
    assert!(counted <= 5 * 300, "{counted} headers were counted");
    assert!(stored <= handed + 64, "the chain sees the first answer of a stranger alone");
    assert!(world.is_synced(node) && world.has_tip_of(node, honest));
}

#[test]
fn a_friends_branch_that_cannot_win_is_told() {
    let mut world = world_at(long(), 26);
    let node = world.add(long(), Manner::Honest);
    world.join(node, long(), Manner::Honest);
    world.until(10_000, |world| world.is_synced(node));
    let friend = world.add(&cheap(200), Manner::Cheap);
    world.befriend(node, friend);
    world.connect(node, friend, HOME);
    world.until(60_000, |world| world.phase(node) == Some(Phase::Stalled));
    let progress = world.run(node).expect("a node that is up").sync.progress();
    assert_eq!(progress.obstacle, Some(Obstacle::Branch));
}

#[test]
fn idle_identities_do_not_lock_out_an_honest_peer() {
    let mut world = world_at(long(), 28);
    let newcomer = world.add(&nothing(), Manner::Honest);
    let status = Box::new(world.true_status(newcomer).expect("a node that is up"));
    for number in 0..MAX_CONNECTED + 70 {
        let (peer, status) = (peer(1_000_000 + number), status.clone());
        world.sync(newcomer, SyncEvent::PeerStatus { peer, status });
    }
    let known = world.run(newcomer).expect("a node that is up").sync.known_peers();
    assert_eq!(known, MAX_CONNECTED);
    let honest = world.join(newcomer, history(), Manner::Honest);
    world.until(30_000, |world| world.has_tip_of(newcomer, honest));
}
