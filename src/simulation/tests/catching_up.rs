//! Tests of nodes that catch up with their peers.

use super::*;
use crate::{
    consensus::wins_tie,
    sync::{SyncEvent, SyncOutcome},
};

#[test]
fn a_node_that_is_behind_fetches_each_block_once_from_several_peers() {
    let mut world = world_at(long(), 1);
    let newcomer = world.add(&nothing(), Manner::Honest);
    for _ in 0..4 {
        world.join(newcomer, long(), Manner::Honest);
    }
    let took = world.until(60_000, |world| world.has_tip_of(newcomer, 1));
    world.until(10_000, |world| world.is_synced(newcomer));
    assert_eq!(world.nodes[newcomer].bodies, 600);
    assert!(world.figures.charges.is_empty(), "{:?}", world.figures.charges);
    assert!(took < 20_000, "{took} ms");
    world.run_for(5_000);
    world.assert_at_rest(newcomer);
}

#[test]
fn with_losses_and_broken_connections_it_still_finishes() {
    for seed in 0..4 {
        let mut world = world_at(long(), seed);
        let newcomer = world.add(&nothing(), Manner::Honest);
        for _ in 0..3 {
            let server = world.add(long(), Manner::Honest);
            world.connect(newcomer, server, Line { loss: 50.0, ..HOME });
        }
        for other in 1..4 {
            world.run_for(700);
            world.cut(newcomer, other);
        }
        world.until(600_000, |world| world.is_synced(newcomer) && world.has_tip_of(newcomer, 1));
        let mut charges = world.figures.charges.iter();
        assert!(charges.all(|charge| charge.2 == Offence::Timeout), "{:?}", world.figures.charges);
    }
}

#[test]
fn a_silent_peer_costs_patience_not_a_time_out() {
    let mut world = world_at(long(), 3);
    let newcomer = world.add(&nothing(), Manner::Honest);
    world.join(newcomer, long(), Manner::Silent);
    world.run_for(200);
    let honest = world.join(newcomer, long(), Manner::Honest);
    let took = world.until(60_000, |world| world.has_tip_of(newcomer, honest));
    assert!(took < REQUEST_TIMEOUT_MS, "{took} ms");
}

#[test]
fn after_sleep_nobody_is_charged_for_what_did_not_come() {
    for woke in [false, true] {
        let mut world = world_at(long(), 3);
        let newcomer = world.add(&nothing(), Manner::Honest);
        world.join(newcomer, long(), Manner::Silent);
        world.run_for(REQUEST_TIMEOUT_MS - 2_000);
        if woke {
            world.sync(newcomer, SyncEvent::Woke);
        }
        world.run_for(4_000);
        let is_charged = world.is_ever_charged(newcomer, 1);
        assert_eq!(is_charged, !woke, "{:?}", world.figures.charges);
    }
}

#[test]
fn after_waking_everything_is_asked_for_again() {
    let mut world = world_at(long(), 29);
    let newcomer = world.add(&nothing(), Manner::Honest);
    let server = world.join(newcomer, long(), Manner::Honest);
    world.run_for(60);
    assert!(!world.has_tip_of(newcomer, server));
    world.links.stall(newcomer, server, world.now + 300_000_000);
    world.run_for(10_000);
    world.cut(newcomer, server);
    world.sync(newcomer, SyncEvent::Woke);
    world.links.stall(newcomer, server, 0);
    world.until(60_000, |world| world.has_tip_of(newcomer, server));
    assert!(world.figures.charges.is_empty(), "{:?}", world.figures.charges);
}

#[test]
fn after_a_restart_in_the_middle_only_the_rest_is_fetched() {
    let mut world = world_at(long(), 4);
    let newcomer = world.add(&nothing(), Manner::Honest);
    for _ in 0..2 {
        let server = world.add(long(), Manner::Honest);
        world.connect(newcomer, server, Line { bytes_per_ms: 20.0, ..HOME });
    }
    let height = |world: &World| world.tip(newcomer).map_or(0, |tip| tip.height);
    world.until(60_000, |world| height(world) >= 200);
    let before = height(&world);
    assert!(before < 500, "{before}");
    world.stop(newcomer);
    world.start(newcomer);
    world.until(120_000, |world| world.is_synced(newcomer) && world.has_tip_of(newcomer, 1));
    let bodies = world.nodes[newcomer].bodies;
    // Only blocks in flight, or not durable yet, are fetched again.
    assert!(bodies < 600 + 200, "{bodies} bodies, {before} before");
}

#[test]
fn a_sync_that_loses_power_at_any_write_finishes() {
    for seed in 0..4 {
        let mut world = world_at(long(), seed);
        let newcomer = world.add(&nothing(), Manner::Honest);
        let server = world.add(long(), Manner::Honest);
        world.connect(newcomer, server, Line { bytes_per_ms: 50.0, ..HOME });
        for _ in 0..4 {
            world.run_for(600);
            world.nodes[newcomer].crashes = true;
        }
        world.until(600_000, |world| world.has_tip_of(newcomer, server));
        assert!(world.figures.crashes > 0);
        assert_eq!(world.violations, Vec::<String>::new());
    }
}

#[test]
fn two_halves_that_meet_agree_on_the_chain_with_more_work() {
    let (left, right) = (longer(history(), 60, 1), longer(history(), 40, 2));
    for seed in 0..2 {
        let mut world = world_at(&left, seed);
        for node in 0..6 {
            world.add(if node < 3 { &left } else { &right }, Manner::Honest);
        }
        for node in 0..5 {
            world.connect(node, node + 1, HOME);
        }
        world.until(120_000, |world| (0..6).all(|node| world.has_tip_of(node, 0)));
        world.until(60_000, |world| (0..6).all(|node| world.is_synced(node)));
        assert!(world.figures.charges.is_empty(), "{:?}", world.figures.charges);
        assert_eq!(world.tip(0).map(|tip| tip.height), Some(130));
    }
}

#[test]
fn two_halves_with_equal_work_agree_by_the_draw() {
    let (left, right) = (longer(history(), 1, 1), longer(history(), 1, 2));
    let mut world = world_at(&left, 9);
    let (a, b) = (world.add(&left, Manner::Honest), world.add(&right, Manner::Honest));
    let tip = |world: &World, node| world.tip(node).expect("a node that is up");
    let (l, r) = (tip(&world, a), tip(&world, b));
    assert!(l.work == r.work && l.hash != r.hash);
    let winner = if wins_tie(&l.hash, &r.hash) { l } else { r };
    world.connect(a, b, HOME);
    world.until(60_000, |world| tip(world, a) == winner && tip(world, b) == winner);
}

/// The branches are longer than one answer of headers. To mine them takes half a minute without
/// optimisation, so `tests/long-run.sh simulation` runs this test.
#[test]
#[ignore = "long: tests/long-run.sh simulation"]
fn two_halves_far_apart_meet_by_a_walk_without_storing() {
    let (left, right) = (longer(history(), 2_600, 1), longer(history(), 2_650, 2));
    let mut world = world_at(&right, 25);
    let (a, b) = (world.add(&left, Manner::Honest), world.add(&right, Manner::Honest));
    world.connect(a, b, HOME);
    let most = |world: &World| {
        let tips = [a, b].map(|node| world.tip(node).expect("a node that is up"));
        tips.into_iter().max_by_key(|tip| tip.work)
    };
    let best = most(&world);
    world.until(200_000, |world| world.tip(a) == best && world.tip(b) == best);
    world.until(30_000, |world| world.is_synced(a) && world.is_synced(b));
    assert!(world.figures.headers.1 >= 2_000, "{:?} headers were counted", world.figures.headers);
    assert!(world.figures.charges.is_empty(), "{:?}", world.figures.charges);
    world.run_for(2_000);
    world.assert_at_rest(a);
}

#[test]
fn news_reach_the_neighbours_without_gossip() {
    let mut world = world_at(history(), 6);
    world.without_gossip = true;
    for _ in 0..5 {
        world.add(history(), Manner::Honest);
    }
    for node in 0..4 {
        world.connect(node, node + 1, HOME);
    }
    world.until(20_000, |world| (0..5).all(|node| world.is_synced(node)));
    world.mine_at(0);
    let height = world.tip(0).map(|tip| tip.height);
    assert_eq!(height, Some(71));
    world.until(30_000, |world| (0..5).all(|node| world.has_tip_of(node, 0)));
}

#[test]
fn waiting_trades_are_fetched_after_hello_and_by_the_users_wish() {
    let mut world = world_at(history(), 7);
    world.without_gossip = true;
    let (a, b) = (world.add(history(), Manner::Honest), world.add(history(), Manner::Honest));
    let waiting = |world: &World, node: usize| {
        world.nodes[node].run.as_ref().map_or(0, |run| run.summary.mempool)
    };
    for _ in 0..8 {
        world.pay_from(b, a);
        world.run_for(50);
    }
    let before = waiting(&world, b);
    assert!(before >= 4, "{before}");
    world.connect(a, b, HOME);
    world.until(20_000, |world| waiting(world, a) == before);
    world.run_for(1_000);
    while waiting(&world, b) == before {
        world.pay_from(b, a);
        world.run_for(50);
    }
    world.sync(a, SyncEvent::SyncNow { ticket: 42, peer: None });
    world.until(20_000, |world| {
        world.nodes[a].run.as_ref().is_some_and(|run| !run.reports.is_empty())
    });
    let (ticket, report) = world.run(a).expect("a node that is up").reports[0].clone();
    let expected = (42, SyncOutcome::UpToDate, 1, 1);
    assert_eq!((ticket, report.outcome, report.asked, report.answered), expected);
    assert_eq!((report.trades, report.height), (1, 70));
    assert_eq!(waiting(&world, a), before + 1);
}

#[test]
fn the_users_sync_ends_when_the_blocks_are_here_or_nobody_answers() {
    let mut world = world_at(history(), 8);
    let newcomer = world.add(&nothing(), Manner::Honest);
    world.sync(newcomer, SyncEvent::SyncNow { ticket: 1, peer: None });
    let report = |world: &mut World| world.run(newcomer).expect("a node that is up").reports.pop();
    assert_eq!(report(&mut world).map(|(_, report)| report.outcome), Some(SyncOutcome::NoPeers));
    assert_eq!(world.phase(newcomer), Some(Phase::Alone));
    let server = world.join(newcomer, history(), Manner::Honest);
    world.until(5_000, |world| world.phase(newcomer) == Some(Phase::Syncing));
    world.sync(newcomer, SyncEvent::SyncNow { ticket: 2, peer: Some(peer(server)) });
    world.until(60_000, |world| {
        world.nodes[newcomer].run.as_ref().is_some_and(|run| !run.reports.is_empty())
    });
    let (_, found) = report(&mut world).expect("a report");
    let tip = world.tip(server).map(|tip| tip.hash);
    assert_eq!((found.outcome, found.blocks), (SyncOutcome::UpToDate, 70));
    assert_eq!(Some(found.tip), tip);
}

#[test]
fn a_peer_that_says_nothing_for_minutes_is_forgotten() {
    let mut world = world_at(history(), 12);
    let node = world.add(history(), Manner::Honest);
    let status = Box::new(world.true_status(node).expect("a node that is up"));
    world.sync(node, SyncEvent::PeerStatus { peer: peer(900), status });
    assert_eq!(world.phase(node), Some(Phase::Synced));
    world.run_for(5 * 60_000 + 1_000);
    assert_eq!(world.phase(node), Some(Phase::Alone));
}
