//! Property test: every message gets exactly one verdict, for any order of events.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    chain::api::BlockAccepted,
    wire::{Item, RequestFailure, SyncResponse},
};

/// Makes one step of the property test: an event about one of a few blocks, trades and peers.
fn event(kind: u8, which: u32, from: u8, message: u32, last_id: u64) -> RelayEvent<u32> {
    let previous = if which % 5 == 4 { BlockHash([9; 32]) } else { tip().hash };
    let block = block(previous, 11, which % 6);
    let trade = if which.is_multiple_of(3) {
        spend(OutPoint { txid: note(which + 1).txid(), index: 0 }, b"")
    } else {
        note(which)
    };
    let hash = block.hash();
    let (txid, peer) = (trade.txid(), peer(from % 4));
    let verdict = || match which % 4 {
        0 => Err(refused(Blame::Peer, RefusalCause::Other)),
        1 => Err(refused(Blame::Nobody, RefusalCause::MissingCoin)),
        _ => Ok(()),
    };
    let response = || match which % 7 {
        0 => Err(RequestFailure::TimedOut),
        1 => Ok(SyncResponse::NotYet),
        2 => Ok(SyncResponse::Data(vec![Item::Block(ByteBuf::from(block.to_bytes()))])),
        3 => Ok(SyncResponse::BlockTrades(vec![ByteBuf::from(note(0).to_bytes())])),
        4 => Ok(SyncResponse::Busy),
        5 => Ok(SyncResponse::Data(vec![Item::NotFound])),
        _ => Ok(SyncResponse::Inv(ByteBuf::new())),
    };
    match kind {
        0 => RelayEvent::BlockGossip { peer, message, gossip: solved(&block) },
        1 | 2 => RelayEvent::BlockGossip { peer, message, gossip: compact(&block) },
        3 => RelayEvent::TradeGossip { peer, message, gossip: announcement(&trade, message) },
        4 => {
            let gossip = announcements_of(&[&trade, &note(which)], message);
            RelayEvent::TradeGossip { peer, message, gossip }
        }
        5 => RelayEvent::SolvedChecked { hash, result: verdict() },
        6 => header_taken(&block),
        7 => RelayEvent::HeaderDone {
            hash,
            result: Err(refused(Blame::Nobody, RefusalCause::Other)),
        },
        8 => RelayEvent::Rebuilt { hash, rebuilt: missing(&block, &[1]) },
        9 => RelayEvent::Rebuilt { hash, rebuilt: Rebuilt::Block(Box::new(block)) },
        10 => RelayEvent::Response { id: last_id, result: response() },
        11 => RelayEvent::BlockDone { hash, result: verdict().map(|()| BlockAccepted::Connected) },
        12 => RelayEvent::TradesDone {
            id: u64::from(which % 8),
            results: vec![verdict(); usize::from(from % 3)],
        },
        13 => RelayEvent::TradeAdded {
            txid,
            transaction: Arc::new(trade),
            added: START,
            local: which.is_multiple_of(2),
            free: which.is_multiple_of(4),
        },
        14 => RelayEvent::PeerGone { peer },
        15 => connected(&block),
        _ => RelayEvent::Tick,
    }
}

proptest! {
    #[test]
    fn every_message_gets_exactly_one_verdict(
        steps in prop::collection::vec((0u8..18, 0u32..30, any::<u8>(), 0u64..2_000), 0..150)
    ) {
        let mut relay = relay();
        let mut now = START;
        let mut last_id = 0;
        let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
        let mut take = |actions: Vec<RelayAction<u32>>, seen: &mut BTreeMap<u32, usize>| {
            for action in actions {
                match action {
                    RelayAction::Verdict { message, .. } => *seen.entry(message).or_default() += 1,
                    RelayAction::Request { id, .. } => {
                        assert!(owns_request(id) && id >= last_id);
                        last_id = id;
                    }
                    _ => {}
                }
            }
            last_id
        };
        let mut id = 0;
        for (message, (kind, which, from, pause)) in (0u32..).zip(steps) {
            now += pause;
            if kind <= 4 {
                seen.entry(message).or_default();
            }
            let actions = relay.handle(event(kind, which, from, message, id), now);
            id = take(actions, &mut seen);
        }
        let actions = relay.handle(RelayEvent::Tick, now + VERDICT_MS);
        take(actions, &mut seen);
        prop_assert!(seen.values().all(|verdicts| *verdicts == 1), "{seen:?}");
    }
}
