//! A test of events that no machine expects.

use proptest::prelude::*;
use serde_bytes::ByteBuf;

use super::*;
use crate::{
    chain::api::{BlockAccepted, RefusalCause, Refused},
    consensus::Blame,
    primitives::TxId,
    sync::SyncEvent,
    wire::{RequestFailure, SyncResponse},
};

/// The first id of a request of sync.
const REQUESTS: u64 = 1 << 56;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn events_out_of_place_break_nothing(
        steps in prop::collection::vec((0u8..19, 1u32..40, 0usize..3), 0..60),
    ) {
        let mut world = world_at(long(), 0);
        let node = world.add(&nothing(), Manner::Honest);
        for _ in 0..3 {
            world.join(node, history(), Manner::Honest);
        }
        let refused = |blame| Refused {
            blame,
            cause: RefusalCause::Other,
            code: "test",
            reason: String::new(),
        };
        for (kind, number, from) in steps {
            let sender = peer(from + 1);
            let height = number;
            let run = world.run(from + 1).expect("a node that is up");
            let hash = run.chain.hash_at(height).expect("a block");
            let context = run.chain.header_context(&hash).expect("a header").map(Box::new);
            let peer = sender;
            let id = REQUESTS + u64::from(number);
            let event = match kind {
                0 => {
                    let status = world.true_status(1).expect("a node that is up");
                    SyncEvent::PeerStatus { peer, status: Box::new(status) }
                }
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
                8 => {
                    let result = Err(refused(Blame::Nobody));
                    SyncEvent::HeadersDone { peer, walk: u64::from(number), result }
                }
                9 => {
                    SyncEvent::BlocksDone { results: vec![(hash, Err(refused(Blame::Nobody)))] }
                }
                10 => SyncEvent::BlocksDone { results: vec![(hash, Ok(BlockAccepted::Waiting))] },
                11 => SyncEvent::UnknownTrades { peer, ids: vec![TxId::ZERO] },
                12 => SyncEvent::SyncNow { ticket: 1, peer: Some(peer) },
                13 => SyncEvent::HeaderContext { peer, context: None },
                14 => SyncEvent::HeaderContext { peer, context },
                15 => SyncEvent::HeadersChecked { peer, result: Err(refused(Blame::Nobody)) },
                16 => SyncEvent::Delivered { peer },
                17 => SyncEvent::Woke,
                _ => {
                    let headers = ByteBuf::from(vec![0; 92]);
                    SyncEvent::Response { id, result: Ok(SyncResponse::Inv(headers)) }
                }
            };
            world.sync(node, event);
            world.run_for(50);
        }
        // The machines still keep their invariants, and no request outlives its time-out.
        world.run_for(30_000);
        let moment = world.moment();
        let oldest = world.run(node).expect("a node that is up").sync.oldest_request(moment);
        prop_assert!(oldest.is_none_or(|age| age < 30_000), "{oldest:?}");
    }
}
