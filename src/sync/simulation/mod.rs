//! Tests of sync machines in a simulated network.
//!
//! Time is virtual. One seed decides delays, losses, silence and lies, so that each run can be
//! repeated.

mod diverged;
mod doubt;
mod network;
mod toy;

use network::{Manner, Network, Node, TICK_MS, peer};
use proptest::prelude::*;
use serde_bytes::ByteBuf;
use toy::{ToyChain, trade};

use super::{Phase, REQUEST_TIMEOUT_MS, STALL_MS, SyncEvent, SyncOutcome};
use crate::{
    chain::api::{BlockAccepted, RefusalCause, Refused},
    consensus::{Blame, wins_tie},
    peers::Offence,
    primitives::TxId,
    wire::{RequestFailure, SyncResponse},
};

#[test]
fn a_node_behind_by_5000_blocks_fetches_them_once_from_several_peers() {
    let mut network = Network::new(1);
    let chain = ToyChain::of_length(5_000, 0);
    let newcomer = network.add(ToyChain::default(), Manner::Honest);
    for _ in 0..4 {
        let server = network.add(chain.clone(), Manner::Honest);
        network.connect(newcomer, server);
    }
    let took = network.run_until(60_000, |n| n.phase(newcomer) == Phase::Synced);
    assert_eq!(network.tip(newcomer), chain.tip().hash);
    assert_eq!(network.nodes[newcomer].bodies_received, 5_000);
    assert!(network.penalties.is_empty(), "{:?}", network.penalties);
    assert!(took < 20_000, "{took} ms");
    network.run_for(1_000);
    network.assert_at_rest(newcomer);
}

#[test]
fn with_lost_answers_it_still_finishes() {
    for seed in 0..8 {
        let mut network = Network::new(seed);
        network.loss = 50;
        let chain = ToyChain::of_length(700, 0);
        let newcomer = network.add(ToyChain::default(), Manner::Honest);
        for _ in 0..3 {
            let server = network.add(chain.clone(), Manner::Honest);
            network.connect(newcomer, server);
        }
        network.run_until(600_000, |n| n.phase(newcomer) == Phase::Synced);
        assert_eq!(network.tip(newcomer), chain.tip().hash);
        assert!(network.penalties.iter().all(|(.., offence)| *offence == Offence::Timeout));
    }
}

#[test]
fn no_lying_peer_stops_it() {
    let manners = [
        Manner::Silent,
        Manner::Boasting,
        Manner::Garbage,
        Manner::WrongBlock,
        Manner::Withholding,
        Manner::LooseHeaders,
        Manner::Busy,
        Manner::Confused,
    ];
    for (seed, manner) in (0..).zip(manners) {
        let mut network = Network::new(seed);
        let chain = ToyChain::of_length(600, 0);
        let newcomer = network.add(ToyChain::default(), Manner::Honest);
        for _ in 0..3 {
            let liar = network.add(chain.clone(), manner);
            network.connect(newcomer, liar);
        }
        let honest = network.add(chain.clone(), Manner::Honest);
        network.connect(newcomer, honest);
        network.run_until(200_000, |n| n.tip(newcomer) == chain.tip().hash);
        network.run_until(200_000, |n| n.phase(newcomer) == Phase::Synced);
        // Requests to silent peers end.
        network.run_for(2 * REQUEST_TIMEOUT_MS);
        let blamed: Vec<_> =
            network.penalties.iter().filter(|p| p.0 == newcomer && p.1 == honest).collect();
        assert!(blamed.is_empty(), "{manner:?}: {blamed:?}");
        let caught = network.penalties.iter().any(|p| p.0 == newcomer);
        assert_eq!(caught, !matches!(manner, Manner::Withholding | Manner::Busy), "{manner:?}");
    }
}

#[test]
fn all_lies_at_once_do_not_stop_it() {
    for seed in 0..6 {
        let mut network = Network::new(seed);
        network.loss = 20;
        let chain = ToyChain::of_length(400, 0);
        let newcomer = network.add(ToyChain::default(), Manner::Honest);
        for manner in
            [Manner::Silent, Manner::Garbage, Manner::Withholding, Manner::Busy, Manner::Confused]
        {
            let liar = network.add(chain.clone(), manner);
            network.connect(newcomer, liar);
        }
        for _ in 0..2 {
            let honest = network.add(chain.clone(), Manner::Honest);
            network.connect(newcomer, honest);
        }
        network.run_until(600_000, |n| n.tip(newcomer) == chain.tip().hash);
    }
}

#[test]
fn a_silent_peer_costs_patience_not_a_time_out() {
    let mut network = Network::new(3);
    let chain = ToyChain::of_length(300, 0);
    let newcomer = network.add(ToyChain::default(), Manner::Honest);
    let silent = network.add(chain.clone(), Manner::Silent);
    let honest = network.add(chain.clone(), Manner::Honest);
    network.connect(newcomer, silent);
    network.run_for(200);
    network.connect(newcomer, honest);
    let took = network.run_until(60_000, |n| n.tip(newcomer) == chain.tip().hash);
    assert!(took < REQUEST_TIMEOUT_MS, "{took} ms");
}

#[test]
fn after_sleep_nobody_is_charged_for_what_did_not_come() {
    for woke in [false, true] {
        let mut network = Network::new(3);
        let newcomer = network.add(ToyChain::default(), Manner::Honest);
        let silent = network.add(ToyChain::of_length(300, 0), Manner::Silent);
        network.connect(newcomer, silent);
        network.run_for(REQUEST_TIMEOUT_MS - 2_000);
        if woke {
            network.feed(newcomer, SyncEvent::Woke);
        }
        network.run_for(4_000);
        assert_eq!(network.penalties.is_empty(), woke, "{:?}", network.penalties);
    }
}

#[test]
fn after_a_restart_in_the_middle_only_the_rest_is_fetched() {
    let mut network = Network::new(4);
    let chain = ToyChain::of_length(2_000, 0);
    let newcomer = network.add(ToyChain::default(), Manner::Honest);
    for _ in 0..2 {
        let server = network.add(chain.clone(), Manner::Honest);
        network.connect(newcomer, server);
    }
    network.run_until(60_000, |n| n.nodes[newcomer].chain.tip().height >= 700);
    network.restart(newcomer);
    network.run_until(60_000, |n| n.phase(newcomer) == Phase::Synced);
    assert_eq!(network.tip(newcomer), chain.tip().hash);
    assert_eq!(network.nodes[newcomer].bodies_received, 2_000);
}

#[test]
fn two_halves_that_meet_agree_on_the_chain_with_more_work() {
    for seed in 0..4 {
        let mut network = Network::new(seed);
        let common = ToyChain::of_length(50, 0);
        let (mut left, mut right) = (common.clone(), common);
        left.extend(120, 1);
        right.extend(90, 2);
        let nodes: Vec<usize> = (0..6)
            .map(|i| network.add(if i < 3 { left.clone() } else { right.clone() }, Manner::Honest))
            .collect();
        for pair in nodes.windows(2) {
            network.connect(pair[0], pair[1]);
        }
        network.run_until(120_000, |n| nodes.iter().all(|node| n.tip(*node) == left.tip().hash));
        network.run_until(60_000, |n| nodes.iter().all(|node| n.phase(*node) == Phase::Synced));
        assert!(network.penalties.is_empty());
    }
}

#[test]
fn two_halves_with_equal_work_agree_by_the_draw() {
    let mut network = Network::new(9);
    let (mut left, mut right) = (ToyChain::default(), ToyChain::default());
    left.extend(40, 1);
    right.extend(40, 2);
    let (l, r) = (left.tip().hash, right.tip().hash);
    let lower = if wins_tie(&l, &r) { l } else { r };
    let (a, b) = (network.add(left, Manner::Honest), network.add(right, Manner::Honest));
    network.connect(a, b);
    network.run_until(60_000, |n| n.tip(a) == lower && n.tip(b) == lower);
}

#[test]
fn a_branch_with_an_invalid_block_is_left_and_its_sender_blamed_once() {
    let mut network = Network::new(5);
    let common = ToyChain::of_length(30, 0);
    let (mut good, mut bad) = (common.clone(), common.clone());
    good.extend(20, 1);
    bad.extend(10, 2);
    bad.extend_with_invalid();
    bad.extend(60, 2);
    bad.believes_everything = true;
    let newcomer = network.add(common, Manner::Honest);
    let liar = network.add(bad, Manner::Honest);
    let honest = network.add(good.clone(), Manner::Honest);
    network.connect(newcomer, liar);
    network.connect(newcomer, honest);
    network.run_until(200_000, |n| n.tip(newcomer) == good.tip().hash);
    assert!(network.penalties.contains(&(newcomer, liar, Offence::InvalidBlock)));
    assert!(!network.penalties.iter().any(|p| p.0 == newcomer && p.1 == honest));
}

#[test]
fn who_had_an_invalid_block_stored_aside_is_not_blamed_for_it() {
    let mut network = Network::new(13);
    let common = ToyChain::of_length(30, 0);
    let (mut good, mut bad) = (common.clone(), common.clone());
    good.extend(20, 1);
    bad.extend(10, 2);
    bad.extend_with_invalid();
    bad.extend(60, 2);
    good.store_aside(&bad);
    let newcomer = network.add(common, Manner::Honest);
    let liar = network.add(bad, Manner::Withholding);
    let honest = network.add(good.clone(), Manner::Honest);
    network.connect(newcomer, liar);
    network.connect(newcomer, honest);
    network.run_until(200_000, |n| n.tip(newcomer) == good.tip().hash && !n.penalties.is_empty());
    network.run_for(60_000);
    assert!(network.penalties.contains(&(newcomer, liar, Offence::InvalidBlock)));
    assert!(
        !network.penalties.iter().any(|p| p.0 == newcomer && p.1 == honest),
        "{:?}",
        network.penalties
    );
}

#[test]
fn many_silent_peers_do_not_use_up_all_requests() {
    let mut network = Network::new(14);
    let chain = ToyChain::of_length(800, 0);
    let newcomer = network.add(ToyChain::default(), Manner::Honest);
    let honest = network.add(chain.clone(), Manner::Honest);
    network.connect(newcomer, honest);
    for _ in 0..8 {
        let mute = network.add(chain.clone(), Manner::Mute);
        network.connect(newcomer, mute);
    }
    let took = network.run_until(60_000, |n| n.tip(newcomer) == chain.tip().hash);
    assert!(took < REQUEST_TIMEOUT_MS, "{took} ms");
}

#[test]
fn news_reach_the_neighbours_without_gossip() {
    let mut network = Network::new(6);
    let chain = ToyChain::of_length(10, 0);
    let nodes: Vec<usize> = (0..5).map(|_| network.add(chain.clone(), Manner::Honest)).collect();
    for pair in nodes.windows(2) {
        network.connect(pair[0], pair[1]);
    }
    network.run_until(20_000, |n| nodes.iter().all(|node| n.phase(*node) == Phase::Synced));
    network.nodes[0].chain.extend(1, 7);
    network.summarise(0);
    let tip = network.tip(0);
    network.run_until(30_000, |n| nodes.iter().all(|node| n.tip(*node) == tip));
    // A moment later each node knows that its neighbours have the block.
    let knows = |node: &Node| {
        node.sync.peers.values().all(|peer| peer.claim.is_some_and(|claim| claim.tip == tip))
    };
    network.run_until(5_000, |n| n.nodes.iter().all(knows));
}

#[test]
fn waiting_trades_are_fetched_after_hello_and_by_the_users_wish() {
    let mut network = Network::new(7);
    let chain = ToyChain::of_length(5, 0);
    let mut full = chain.clone();
    for number in 0..200 {
        let trade = trade(number);
        full.mempool.insert(trade.txid(), trade);
    }
    let (a, b) = (network.add(chain, Manner::Honest), network.add(full, Manner::Honest));
    network.connect(a, b);
    network.run_until(20_000, |n| n.nodes[a].chain.mempool.len() == 200);
    network.run_for(1_000);
    let late = trade(1_000);
    network.nodes[b].chain.mempool.insert(late.txid(), late);
    network.feed(a, SyncEvent::SyncNow { ticket: 42, peer: None });
    network.run_until(20_000, |n| !n.nodes[a].reports.is_empty());
    let (ticket, report) = &network.nodes[a].reports[0];
    assert_eq!(
        (*ticket, report.outcome, report.asked, report.answered),
        (42, SyncOutcome::UpToDate, 1, 1)
    );
    assert_eq!((report.trades, report.height), (1, 5));
    assert_eq!(network.nodes[a].chain.mempool.len(), 201);
}

#[test]
fn the_users_sync_ends_when_the_blocks_are_here_or_nobody_answers() {
    let mut network = Network::new(8);
    let chain = ToyChain::of_length(300, 0);
    let newcomer = network.add(ToyChain::default(), Manner::Honest);
    network.feed(newcomer, SyncEvent::SyncNow { ticket: 1, peer: None });
    assert_eq!(
        network.nodes[newcomer].reports.pop().map(|(_, r)| r.outcome),
        Some(SyncOutcome::NoPeers)
    );
    assert_eq!(network.phase(newcomer), Phase::Alone);
    let server = network.add(chain.clone(), Manner::Honest);
    network.connect(newcomer, server);
    network.run_until(5_000, |n| n.phase(newcomer) == Phase::Syncing);
    network.feed(newcomer, SyncEvent::SyncNow { ticket: 2, peer: Some(peer(server)) });
    network.run_until(60_000, |n| !n.nodes[newcomer].reports.is_empty());
    let (_, report) = network.nodes[newcomer].reports.pop().expect("a report");
    assert_eq!(
        (report.outcome, report.blocks, report.tip),
        (SyncOutcome::UpToDate, 300, chain.tip().hash)
    );
}

#[test]
fn a_node_whose_only_peer_withholds_drops_it_and_recovers_with_another() {
    let mut network = Network::new(10);
    let chain = ToyChain::of_length(100, 0);
    let newcomer = network.add(ToyChain::default(), Manner::Honest);
    let withholding = network.add(chain.clone(), Manner::Withholding);
    network.connect(newcomer, withholding);
    network.run_until(STALL_MS * 2, |n| n.phase(newcomer) == Phase::Alone);
    assert_eq!(network.dropped, [(newcomer, withholding)]);
    let honest = network.add(chain.clone(), Manner::Honest);
    network.connect(newcomer, honest);
    network.run_until(60_000, |n| n.phase(newcomer) == Phase::Synced);
    network.disconnect(newcomer, honest);
    assert_eq!(network.phase(newcomer), Phase::Alone);
}

#[test]
fn a_peer_that_says_nothing_for_minutes_is_forgotten() {
    let mut network = Network::new(12);
    let node = network.add(ToyChain::default(), Manner::Honest);
    let status = Box::new(network.status(node));
    network.feed(node, SyncEvent::PeerStatus { peer: peer(node), status });
    assert_eq!(network.phase(node), Phase::Synced);
    network.run_for(super::SILENT_MS + 1_000);
    assert_eq!(network.phase(node), Phase::Alone);
}

proptest! {
    #[test]
    fn events_out_of_place_break_nothing(
        steps in prop::collection::vec((0u8..19, 0u32..40, 0usize..3), 0..120),
    ) {
        let mut network = Network::new(0);
        let chain = ToyChain::of_length(40, 0);
        let node = network.add(ToyChain::default(), Manner::Honest);
        let servers: Vec<usize> =
            (0..3).map(|_| network.add(chain.clone(), Manner::Honest)).collect();
        for server in &servers {
            network.connect(node, *server);
        }
        let refused = |blame| Refused {
            blame,
            cause: RefusalCause::Other,
            code: "test",
            reason: String::new(),
        };
        for (kind, number, from) in steps {
            let peer = peer(from + 1);
            let (hash, height) = chain.at(number);
            let id = super::REQUEST_SPACE + u64::from(number);
            let event = match kind {
                0 => SyncEvent::PeerStatus { peer, status: Box::new(network.status(1)) },
                1 => SyncEvent::StatusFailed { peer },
                2 => SyncEvent::PeerGone { peer },
                3 => SyncEvent::Response { id, result: Err(RequestFailure::TimedOut) },
                4 => SyncEvent::Response { id, result: Ok(SyncResponse::Busy) },
                5 => {
                    let bytes = ByteBuf::from(vec![0; from]);
                    SyncEvent::Response { id, result: Ok(SyncResponse::Blocks(bytes)) }
                }
                6 => SyncEvent::Locator { peer, hashes: vec![hash] },
                7 => SyncEvent::Missing { read: u64::from(number), blocks: vec![(hash, height)] },
                8 => SyncEvent::HeadersDone {
                    peer,
                    walk: id,
                    result: Err(refused(Blame::Nobody)),
                },
                9 => SyncEvent::BlocksDone { results: vec![(hash, Err(refused(Blame::Nobody)))] },
                10 => SyncEvent::BlocksDone { results: vec![(hash, Ok(BlockAccepted::Waiting))] },
                11 => SyncEvent::UnknownTrades { peer, ids: vec![TxId::ZERO] },
                12 => SyncEvent::SyncNow { ticket: 1, peer: Some(peer) },
                13 => SyncEvent::HeaderContext { peer, context: None },
                14 => SyncEvent::HeaderContext {
                    peer,
                    context: chain.context(hash).map(Box::new),
                },
                15 => SyncEvent::HeadersChecked { peer, result: Err(refused(Blame::Nobody)) },
                16 => SyncEvent::Delivered { peer },
                17 => SyncEvent::Woke,
                _ => {
                    let headers = ByteBuf::from(vec![0; 92]);
                    SyncEvent::Response { id, result: Ok(SyncResponse::Inv(headers)) }
                }
            };
            network.feed(node, event);
            network.run_for(50);
        }
        // The penalised peers have disconnected. The node must still hold its invariants, and no
        // request may outlive its timeout.
        network.run_for(REQUEST_TIMEOUT_MS + 1_000);
        let limit = network.now - REQUEST_TIMEOUT_MS - 2 * TICK_MS;
        let requests = &network.nodes[node].sync.requests;
        prop_assert!(requests.values().all(|request| request.since > limit));
    }
}

#[test]
fn one_seed_gives_one_course_of_events() {
    let run = || {
        let mut network = Network::new(11);
        network.loss = 30;
        let chain = ToyChain::of_length(200, 0);
        let newcomer = network.add(ToyChain::default(), Manner::Honest);
        for manner in [Manner::Honest, Manner::Garbage, Manner::Honest] {
            let server = network.add(chain.clone(), manner);
            network.connect(newcomer, server);
        }
        let took = network.run_until(300_000, |n| n.phase(newcomer) == Phase::Synced);
        (took, network.request_ids.len(), network.penalties.len())
    };
    assert_eq!(run(), run());
}
