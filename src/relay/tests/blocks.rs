//! Tests of solved headers and compact blocks.

use super::*;
use crate::{
    chain::api::BlockAccepted,
    wire::{Item, ItemId, RequestFailure, SyncResponse},
};

#[test]
fn our_block_is_announced_by_its_header_and_then_in_compact_form() {
    let (mut relay, block) = (relay(), next_block(3));
    let actions = relay.handle(RelayEvent::Solved { header: Box::new(block.header) }, START);
    assert_eq!(published(&actions), [Announcement::Block(solved(&block))]);
    let actions = relay.handle(connected(&block), START);
    assert!(matches!(actions[..], [RelayAction::FetchBlock { hash }] if hash == block.hash()));
    let loaded =
        RelayEvent::BlockLoaded { hash: block.hash(), block: Some(Arc::new(block.clone())) };
    assert_eq!(
        published(&relay.handle(loaded.clone(), START)),
        [Announcement::Block(compact(&block))]
    );
    assert!(relay.handle(loaded, START).is_empty(), "it was not requested");
}

#[test]
fn a_tip_that_came_by_gossip_is_not_published_again_and_one_that_came_by_sync_is() {
    let (mut relay, block) = (relay(), next_block(0));
    announced(&mut relay, &block, Rebuilt::Block(Box::new(block.clone())));
    assert!(relay.handle(connected(&block), START).is_empty());
    let later = self::block(block.hash(), 12, 0);
    assert!(matches!(relay.handle(connected(&later), START)[..], [RelayAction::FetchBlock { .. }]));
}

#[test]
fn while_bodies_are_to_come_no_tip_is_published() {
    let (mut relay, block) = (relay(), next_block(0));
    let RelayEvent::TipChanged { tip, connected, mined, .. } = connected(&block) else {
        unreachable!("`connected` makes a TipChanged");
    };
    let best_header = Tip { hash: BlockHash([0xbb; 32]), ..tip };
    assert!(
        relay
            .handle(RelayEvent::TipChanged { tip, best_header, connected, mined }, START)
            .is_empty()
    );
}

#[test]
fn a_solved_header_on_our_tip_goes_on_after_its_check_and_stops_no_miner() {
    let mut relay = relay();
    for (message, trades) in [(1, 0), (2, 1)] {
        let block = next_block(trades);
        let gossip = RelayEvent::BlockGossip { peer: peer(1), message, gossip: solved(&block) };
        let actions = relay.handle(gossip, START);
        assert!(matches!(actions[..], [RelayAction::CheckSolved { .. }]));
        let actions =
            relay.handle(RelayEvent::SolvedChecked { hash: block.hash(), result: Ok(()) }, START);
        assert_eq!(verdicts(&actions), [(message, Verdict::Accept)]);
        assert!(!suspends(&actions));
    }
}

#[test]
fn a_solved_header_without_work_is_rejected_and_one_from_the_future_ignored() {
    for (blame, verdict, offences) in [
        (Blame::Peer, Verdict::Reject, vec![(peer(1), Offence::InvalidHeader)]),
        (Blame::Nobody, Verdict::Ignore, vec![]),
    ] {
        let (mut relay, block) = (relay(), next_block(0));
        relay.handle(
            RelayEvent::BlockGossip { peer: peer(1), message: 1, gossip: solved(&block) },
            START,
        );
        let result = Err(refused(blame, RefusalCause::Other));
        let actions = relay.handle(RelayEvent::SolvedChecked { hash: block.hash(), result }, START);
        assert_eq!(verdicts(&actions), [(1, verdict)]);
        assert_eq!(penalties(&actions), offences);
    }
}

#[test]
fn a_header_ahead_of_our_tip_is_ignored_and_its_sender_asked_once() {
    let mut relay = relay();
    let ahead = block(BlockHash([5; 32]), 15, 0);
    let gossip =
        |message| RelayEvent::BlockGossip { peer: peer(1), message, gossip: solved(&ahead) };
    let actions = relay.handle(gossip(1), START);
    assert_eq!((verdicts(&actions), asks(&actions)), (vec![(1, Verdict::Ignore)], vec![peer(1)]));
    assert!(asks(&relay.handle(gossip(2), START + ASK_MS - 1)).is_empty());
    let old = block(BlockHash([6; 32]), 4, 0);
    let actions = relay
        .handle(RelayEvent::BlockGossip { peer: peer(2), message: 3, gossip: solved(&old) }, START);
    assert_eq!((verdicts(&actions), asks(&actions)), (vec![(3, Verdict::Ignore)], vec![]));
}

#[test]
fn a_solved_header_whose_block_does_not_come_makes_us_ask() {
    let (mut relay, block) = (relay(), next_block(0));
    relay.handle(
        RelayEvent::BlockGossip { peer: peer(1), message: 1, gossip: solved(&block) },
        START,
    );
    relay.handle(RelayEvent::SolvedChecked { hash: block.hash(), result: Ok(()) }, START);
    assert!(relay.handle(RelayEvent::Tick, START + SOLVED_MS - 1).is_empty());
    assert_eq!(asks(&relay.handle(RelayEvent::Tick, START + SOLVED_MS)), [peer(1)]);
}

#[test]
fn a_compact_block_goes_on_after_its_header_and_is_rebuilt_from_the_mempool() {
    let (mut relay, block) = (relay(), next_block(3));
    let actions = announced(&mut relay, &block, Rebuilt::Block(Box::new(block.clone())));
    assert!(hands_over(&actions, &block));
    let again = RelayEvent::BlockGossip { peer: peer(2), message: 2, gossip: compact(&block) };
    assert_eq!(verdicts(&relay.handle(again, START)), [(2, Verdict::Ignore)]);
    let done = RelayEvent::BlockDone { hash: block.hash(), result: Ok(BlockAccepted::Connected) };
    let actions = relay.handle(done, START);
    assert!(matches!(actions[..], [RelayAction::Delivered { peer }] if peer == self::peer(1)));
}

/// Returns a compact block with a true header, and a body that a liar made up.
fn made_up(block: &Block, number: u32) -> BlockGossip {
    let mut lie = block.clone();
    lie.transactions[0].memo = coinbase_memo(block.header.height, &number.to_be_bytes());
    compact(&lie)
}

/// Answers the chain's rebuilds: the true claim completes the block, and any other lacks all parts.
fn rebuild_all(
    relay: &mut Relay<u32>,
    mut actions: Vec<RelayAction<u32>>,
    block: &Block,
) -> Vec<RelayAction<u32>> {
    let mut answered = 0;
    while let Some(claimed) = actions[answered..].iter().find_map(|action| match action {
        RelayAction::Rebuild { coinbase, .. } => Some(coinbase.clone()),
        _ => None,
    }) {
        answered = actions.len();
        let is_true = *claimed == block.transactions[0];
        let rebuilt = if is_true {
            Rebuilt::Block(Box::new(block.clone()))
        } else {
            missing(block, &[1, 2, 3])
        };
        let event = RelayEvent::Rebuilt { hash: block.hash(), rebuilt };
        actions.extend(relay.handle(event, START));
    }
    actions
}

#[test]
fn made_up_bodies_under_a_true_header_hold_up_neither_the_true_one_nor_its_way() {
    let most = u8::try_from(MAX_BLOCK_CLAIMS).expect("few");
    for (liars, is_trusted) in [(most - 1, false), (most, true)] {
        for is_late in [false, true] {
            let (mut relay, block, honest) = (relay(), next_block(3), peer(99));
            if is_trusted {
                relay.handle(RelayEvent::Proven { peer: honest }, START);
            }
            let mut actions = Vec::new();
            for liar in 0..liars {
                let gossip = made_up(&block, liar.into());
                let (peer, message) = (peer(liar), liar.into());
                let event = RelayEvent::BlockGossip { peer, message, gossip };
                actions.extend(relay.handle(event, START));
            }
            if is_late {
                actions.extend(relay.handle(header_taken(&block), START));
            }
            let gossip = compact(&block);
            let event = RelayEvent::BlockGossip { peer: honest, message: 1_000, gossip };
            actions.extend(relay.handle(event, START));
            if !is_late {
                actions.extend(relay.handle(header_taken(&block), START));
            }
            let checks =
                |action: &&RelayAction<u32>| matches!(action, RelayAction::AcceptHeader { .. });
            assert_eq!(actions.iter().filter(checks).count(), 1);
            assert_eq!(verdicts(&actions).contains(&(1_000, Verdict::Accept)), is_trusted);
            let actions = rebuild_all(&mut relay, actions, &block);
            assert!(hands_over(&actions, &block));
            let verdicts = verdicts(&actions);
            assert_eq!(verdicts.len(), usize::from(liars) + 1);
            for (message, verdict) in verdicts {
                assert_eq!(verdict == Verdict::Accept, message == 1_000);
            }
            let result = Ok(BlockAccepted::Connected);
            relay.handle(RelayEvent::BlockDone { hash: block.hash(), result }, START);
            assert!(relay.blocks.pending.is_empty());
            assert!(relay.handle(connected(&block), START).is_empty(), "it came by gossip");
        }
    }
}

#[test]
fn a_made_up_body_is_not_forwarded_even_if_its_sender_serves_the_true_one() {
    let (mut relay, block) = (relay(), next_block(1));
    let gossip = made_up(&block, 1);
    relay.handle(RelayEvent::BlockGossip { peer: peer(1), message: 1, gossip }, START);
    assert_eq!(verdicts(&relay.handle(header_taken(&block), START)), []);
    let rebuilt = Rebuilt::Missing { found: vec![], positions: vec![] };
    let actions = relay.handle(RelayEvent::Rebuilt { hash: block.hash(), rebuilt }, START);
    let (_, id, _) = request(&actions);
    let whole = vec![Item::Block(ByteBuf::from(block.to_bytes()))];
    let answer = RelayEvent::Response { id, result: Ok(SyncResponse::Data(whole)) };
    let actions = relay.handle(answer, START);
    assert!(hands_over(&actions, &block));
    assert_eq!(verdicts(&actions), [(1, Verdict::Ignore)]);
    let actions = relay.handle(connected(&block), START);
    assert!(matches!(actions[..], [RelayAction::FetchBlock { .. }]), "we publish the true one");
}

#[test]
fn only_a_body_of_a_better_branch_lets_the_miners_rest() {
    for (leads, accepted, rests) in [
        (true, BlockAccepted::SideBranch, true),
        (true, BlockAccepted::Waiting, true),
        (true, BlockAccepted::Connected, false),
        (true, BlockAccepted::Known, false),
        (false, BlockAccepted::SideBranch, false),
    ] {
        let (mut relay, block) = (relay(), next_block(0));
        let gossip = RelayEvent::BlockGossip { peer: peer(1), message: 1, gossip: compact(&block) };
        relay.handle(gossip, START);
        let hash = block.hash();
        let best_header = if leads { Tip { hash, height: 11, ..tip() } } else { tip() };
        let taken = HeadersAccepted { new: 1, last: hash, wants_body: true, best_header };
        let actions = relay.handle(RelayEvent::HeaderDone { hash, result: Ok(taken) }, START);
        assert!(!suspends(&actions), "a header alone");
        let rebuilt = Rebuilt::Block(Box::new(block.clone()));
        relay.handle(RelayEvent::Rebuilt { hash, rebuilt }, START);
        let done = RelayEvent::BlockDone { hash, result: Ok(accepted.clone()) };
        assert_eq!(suspends(&relay.handle(done, START)), rests, "{leads} {accepted:?}");
    }
}

#[test]
fn a_block_whose_branch_cannot_win_is_neither_forwarded_nor_charged() {
    for cause in [RefusalCause::TooLittleWork, RefusalCause::TooFarBeyondTip] {
        let (mut relay, block) = (relay(), next_block(0));
        let gossip = RelayEvent::BlockGossip { peer: peer(1), message: 1, gossip: compact(&block) };
        relay.handle(gossip, START);
        let result = Err(refused(Blame::Nobody, cause));
        let actions = relay.handle(RelayEvent::HeaderDone { hash: block.hash(), result }, START);
        assert_eq!(verdicts(&actions), [(1, Verdict::Ignore)]);
        assert!(penalties(&actions).is_empty() && asks(&actions).is_empty());
    }
}

#[test]
fn a_block_that_is_stored_already_is_neither_forwarded_nor_fetched() {
    let (mut relay, block) = (relay(), next_block(3));
    let gossip = RelayEvent::BlockGossip { peer: peer(1), message: 1, gossip: compact(&block) };
    relay.handle(gossip, START);
    let actions = relay.handle(header_known(&block, false), START);
    assert!(matches!(actions[..], [RelayAction::Verdict { message: 1, verdict: Verdict::Ignore }]));
    assert!(relay.blocks.pending.is_empty());
}

#[test]
fn withheld_blocks_of_strangers_leave_room_for_a_friends_block() {
    let trust = Trust::new([peer(99)], false);
    let mut relay = relay_with(trust);
    let mut message = 0;
    let mut announce = |relay: &mut Relay<u32>, from: u8| {
        message += 1;
        let block = next_block(message);
        let gossip = RelayEvent::BlockGossip { peer: peer(from), message, gossip: compact(&block) };
        let actions = relay.handle(gossip, START + u64::from(message));
        let is_taken =
            actions.iter().any(|action| matches!(action, RelayAction::AcceptHeader { .. }));
        if !is_taken {
            assert_eq!(verdicts(&actions), [(message, Verdict::Ignore)]);
            assert_eq!(asks(&actions), [peer(from)], "for its Status");
        }
        is_taken
    };
    assert!(announce(&mut relay, 1) && announce(&mut relay, 1));
    assert!(!announce(&mut relay, 1), "the share of one stranger");
    for from in 2..=8 {
        assert!(announce(&mut relay, from) && announce(&mut relay, from));
    }
    assert!(!announce(&mut relay, 9), "all places are taken");
    for _ in 0..MAX_PENDING_PROVEN {
        assert!(announce(&mut relay, 99), "a friend gets the place of a stranger's block");
    }
    assert!(!announce(&mut relay, 99), "the share of one friend");
    relay.handle(RelayEvent::Proven { peer: peer(10) }, START);
    assert!(announce(&mut relay, 10), "a proven peer too");
}

#[test]
fn more_peers_than_may_connect_do_not_lock_out_a_new_one() {
    let mut relay = relay();
    let busy = peer(0);
    relay.handle(RelayEvent::Proven { peer: busy }, START);
    let from = |number: usize| {
        let mut key = [1; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        PeerId(PublicKey(key))
    };
    for number in 0..2 * crate::peers::MAX_CONNECTED {
        assert!(relay.allowance(from(number), START + number as u64).is_some());
    }
    assert!(relay.is_trusted(&busy));
}

#[test]
fn missing_parts_are_asked_of_three_announcers_at_once_and_the_first_answer_counts() {
    let (mut relay, block) = (relay(), next_block(3));
    let actions = announced(&mut relay, &block, missing(&block, &[1, 3]));
    let (asked, first, _) = request(&actions);
    assert_eq!(asked, peer(1));
    let announces = |from: u8| RelayEvent::BlockGossip {
        peer: peer(from),
        message: from.into(),
        gossip: compact(&block),
    };
    let (asked, _, _) = request(&relay.handle(announces(2), START));
    assert_eq!(asked, peer(2));
    let (asked, third, what) = request(&relay.handle(announces(3), START));
    assert_eq!(asked, peer(3));
    assert!(matches!(what, SyncRequest::GetBlockTrades(ask) if ask.positions == [1, 3]));
    let actions = relay.handle(announces(4), START);
    assert_eq!(verdicts(&actions), [(4, Verdict::Ignore)]);
    assert_eq!(actions.len(), 1, "three are enough");
    // One fails, and the next announcer takes its place at once.
    let busy = RelayEvent::Response { id: first, result: Ok(SyncResponse::Busy) };
    let (asked, _, _) = request(&relay.handle(busy, START));
    assert_eq!(asked, peer(4));
    let parts = [1, 3]
        .map(|position: usize| ByteBuf::from(block.transactions[position].to_bytes()))
        .to_vec();
    let answer = RelayEvent::Response { id: third, result: Ok(SyncResponse::BlockTrades(parts)) };
    assert!(hands_over(&relay.handle(answer, START), &block));
}

#[test]
fn an_announcer_that_is_silent_or_leaves_delays_no_block_that_others_have() {
    let (mut relay, block) = (relay(), next_block(3));
    announced(&mut relay, &block, missing(&block, &[1, 3]));
    let gossip = RelayEvent::BlockGossip { peer: peer(2), message: 2, gossip: compact(&block) };
    let (_, second, _) = request(&relay.handle(gossip, START));
    assert!(relay.handle(RelayEvent::PeerGone { peer: peer(1) }, START).is_empty());
    let parts = [1, 3]
        .map(|position: usize| ByteBuf::from(block.transactions[position].to_bytes()))
        .to_vec();
    let answer = RelayEvent::Response { id: second, result: Ok(SyncResponse::BlockTrades(parts)) };
    assert!(hands_over(&relay.handle(answer, START + 1), &block));
}

#[test]
fn after_all_announcers_have_failed_one_is_asked_again_after_a_pause() {
    let (mut relay, block) = (relay(), next_block(3));
    let actions = announced(&mut relay, &block, missing(&block, &[1, 3]));
    let (asked, id, what) = request(&actions);
    assert_eq!(asked, peer(1));
    assert!(matches!(what, SyncRequest::GetBlockTrades(ask) if ask.positions == [1, 3]));
    let gossip = RelayEvent::BlockGossip { peer: peer(2), message: 2, gossip: compact(&block) };
    let (asked, second, _) = request(&relay.handle(gossip, START));
    assert_eq!(asked, peer(2));
    let not_yet = RelayEvent::Response { id, result: Ok(SyncResponse::NotYet) };
    assert!(relay.handle(not_yet, START).is_empty());
    // Both were asked. After a pause the first one is asked again.
    let result = Err(RequestFailure::TimedOut);
    assert!(relay.handle(RelayEvent::Response { id: second, result }, START).is_empty());
    assert!(relay.handle(RelayEvent::Tick, START + RETRY_MS).is_empty());
    let (asked, third, _) = request(&relay.handle(RelayEvent::Tick, START + RETRY_MS * 4));
    assert_eq!(asked, peer(1));
    let parts = [1, 3]
        .map(|position: usize| ByteBuf::from(block.transactions[position].to_bytes()))
        .to_vec();
    let late = RelayEvent::Response { id, result: Ok(SyncResponse::BlockTrades(parts.clone())) };
    assert!(relay.handle(late, START).is_empty(), "that request has ended");
    let answer = RelayEvent::Response { id: third, result: Ok(SyncResponse::BlockTrades(parts)) };
    assert!(hands_over(&relay.handle(answer, START), &block));
}

#[test]
fn a_mempool_that_counts_without_the_coinbase_is_understood() {
    let (mut relay, block) = (relay(), next_block(2));
    let Rebuilt::Missing { found, positions } = missing(&block, &[2]) else {
        unreachable!("`missing` makes a Missing");
    };
    let rebuilt = Rebuilt::Missing { found: found[1..].to_vec(), positions };
    let (_, id, _) = request(&announced(&mut relay, &block, rebuilt));
    let parts = vec![ByteBuf::from(block.transactions[2].to_bytes())];
    let answer = RelayEvent::Response { id, result: Ok(SyncResponse::BlockTrades(parts)) };
    assert!(hands_over(&relay.handle(answer, START), &block));
}

#[test]
fn parts_that_do_not_fit_lead_to_the_whole_block_without_a_penalty() {
    let (mut relay, block) = (relay(), next_block(2));
    let (_, id, _) = request(&announced(&mut relay, &block, missing(&block, &[1])));
    let other = vec![ByteBuf::from(note(99).to_bytes())];
    let actions = relay
        .handle(RelayEvent::Response { id, result: Ok(SyncResponse::BlockTrades(other)) }, START);
    assert!(penalties(&actions).is_empty());
    let (_, id, what) = request(&actions);
    assert_eq!(what, SyncRequest::GetData(vec![ItemId::Block(block.hash())]));
    let whole = vec![Item::Block(ByteBuf::from(block.to_bytes()))];
    let answer = RelayEvent::Response { id, result: Ok(SyncResponse::Data(whole)) };
    assert!(hands_over(&relay.handle(answer, START), &block));
}

#[test]
fn a_wrong_rebuild_leads_to_the_whole_block() {
    let (mut relay, block) = (relay(), next_block(2));
    let mut wrong = block.clone();
    wrong.transactions[1] = note(50);
    let (_, _, what) = request(&announced(&mut relay, &block, Rebuilt::Block(Box::new(wrong))));
    assert_eq!(what, SyncRequest::GetData(vec![ItemId::Block(block.hash())]));
}

#[test]
fn who_answers_with_garbage_is_penalised_and_the_block_is_left_to_sync() {
    let block = next_block(1);
    let mut foreign = block.clone();
    foreign.transactions[1] = note(7);
    let answers = [
        (SyncResponse::Data(vec![Item::Block(ByteBuf::from(vec![1, 2, 3]))]), Offence::Malformed),
        (
            SyncResponse::Data(vec![Item::Block(ByteBuf::from(foreign.to_bytes()))]),
            Offence::WrongAnswer,
        ),
        (SyncResponse::Data(vec![]), Offence::WrongAnswer),
        (SyncResponse::Inv(ByteBuf::new()), Offence::WrongAnswer),
    ];
    for (answer, offence) in answers {
        let mut relay = relay();
        let rebuilt = Rebuilt::Missing { found: vec![], positions: vec![] };
        let (_, id, _) = request(&announced(&mut relay, &block, rebuilt));
        let actions = relay.handle(RelayEvent::Response { id, result: Ok(answer) }, START);
        assert_eq!(penalties(&actions), [(peer(1), offence)]);
        assert!(actions.iter().all(|action| !matches!(action, RelayAction::Request { .. })));
    }
}

#[test]
fn a_block_that_nobody_completes_is_given_up_and_its_announcers_asked() {
    let (mut relay, block) = (relay(), next_block(1));
    let mut actions = announced(&mut relay, &block, missing(&block, &[1]));
    let mut requests = 0;
    let mut now = START;
    while asks(&actions).is_empty() {
        now += 250;
        assert!(now < START + 2 * BLOCK_MS);
        let id = actions.iter().find_map(|action| match action {
            RelayAction::Request { id, .. } => Some(*id),
            _ => None,
        });
        actions = match id {
            Some(id) => {
                requests += 1;
                relay.handle(RelayEvent::Response { id, result: Ok(SyncResponse::NotFound) }, now)
            }
            None => relay.handle(RelayEvent::Tick, now),
        };
    }
    assert_eq!(requests, MAX_TRIES);
}

#[test]
fn an_unknown_parent_is_nobodys_fault_and_makes_us_ask() {
    let (mut relay, block) = (relay(), block(BlockHash([5; 32]), 15, 0));
    relay.handle(
        RelayEvent::BlockGossip { peer: peer(1), message: 1, gossip: compact(&block) },
        START,
    );
    let result = Err(refused(Blame::Nobody, RefusalCause::Other));
    let actions = relay.handle(RelayEvent::HeaderDone { hash: block.hash(), result }, START);
    assert_eq!(verdicts(&actions), [(1, Verdict::Ignore)]);
    assert_eq!(asks(&actions), [peer(1)]);
    assert!(penalties(&actions).is_empty());
}

/// An honest announcer checks only the header, and stores the body of a side branch without a check
/// of its coins and signatures.
#[test]
fn an_invalid_block_costs_its_announcer_and_its_server_little() {
    let block = next_block(1);
    let result = Err(refused(Blame::Peer, RefusalCause::Other));
    let done = RelayEvent::BlockDone { hash: block.hash(), result };

    let mut by_announcement = relay();
    announced(&mut by_announcement, &block, Rebuilt::Block(Box::new(block.clone())));
    assert_eq!(
        penalties(&by_announcement.handle(done.clone(), START)),
        [(peer(1), Offence::EmptyPromise)]
    );

    let mut by_body = relay();
    let (_, id, _) = request(&announced(&mut by_body, &block, missing(&block, &[1])));
    let parts = vec![ByteBuf::from(block.transactions[1].to_bytes())];
    by_body
        .handle(RelayEvent::Response { id, result: Ok(SyncResponse::BlockTrades(parts)) }, START);
    assert_eq!(penalties(&by_body.handle(done, START)), [(peer(1), Offence::EmptyPromise)]);
}

#[test]
fn what_cannot_be_read_is_rejected() {
    let mut relay = relay();
    let BlockGossip::Compact(good) = compact(&next_block(1)) else {
        unreachable!("`compact` makes a Compact");
    };
    let cases = [
        BlockGossip::Solved(ByteBuf::from(vec![0; 91])),
        BlockGossip::Compact(CompactBlock { short_ids: ByteBuf::from(vec![0; 7]), ..good.clone() }),
        BlockGossip::Compact(CompactBlock {
            coinbase: ByteBuf::from(note(1).to_bytes()),
            ..good.clone()
        }),
        BlockGossip::Compact(CompactBlock { coinbase: ByteBuf::new(), ..good }),
    ];
    for (message, gossip) in (0..).zip(cases) {
        let actions =
            relay.handle(RelayEvent::BlockGossip { peer: peer(1), message, gossip }, START);
        assert_eq!(verdicts(&actions), [(message, Verdict::Reject)]);
        assert_eq!(penalties(&actions), [(peer(1), Offence::Malformed)]);
    }
    let coinbase = next_block(0).transactions.remove(0);
    let gossip = announcement(&coinbase, 0);
    let actions =
        relay.handle(RelayEvent::TradeGossip { peer: peer(1), message: 9, gossip }, START);
    assert_eq!(verdicts(&actions), [(9, Verdict::Reject)]);
}

#[test]
fn a_flood_of_headers_is_ignored_beyond_the_rate() {
    let mut relay = relay();
    let mut send = |from: u8, number: u32, now| {
        let mut block = next_block(0);
        block.header.nonce = number.into();
        let gossip =
            RelayEvent::BlockGossip { peer: peer(from), message: number, gossip: solved(&block) };
        let asked = relay
            .handle(gossip, now)
            .iter()
            .any(|action| matches!(action, RelayAction::CheckSolved { .. }));
        let result = Err(refused(Blame::Nobody, RefusalCause::Other));
        relay.handle(RelayEvent::SolvedChecked { hash: block.hash(), result }, now);
        u64::from(asked)
    };
    let burst = u32::try_from(BLOCK_RATE.burst).expect("small");
    assert_eq!((0..2 * burst).map(|number| send(1, number, START)).sum::<u64>(), BLOCK_RATE.burst);
    let more = (2 * burst..3 * burst).map(|number| send(1, number, START + 1_000));
    assert_eq!(more.sum::<u64>(), BLOCK_RATE.per_second);
    assert_eq!(send(2, 9_999, START), 1, "others have their own");
}

#[test]
fn a_peer_is_muted_while_what_it_sent_before_still_counts() {
    let mut relay = relay();
    let mut sent = 0;
    let mut send = |relay: &mut Relay<u32>, gossip| {
        sent += 1;
        relay.handle(RelayEvent::BlockGossip { peer: peer(1), message: sent, gossip }, START)
    };
    // Old headers cost no points.
    let old = solved(&block(BlockHash([5; 32]), 1, 0));
    let burst = BLOCK_RATE.burst;
    let free = (0..burst).take_while(|_| mutes(&send(&mut relay, old.clone())).is_empty()).count();
    assert_eq!(free as u64, burst * 3 / 4);
    for _ in 0..burst / 4 - 2 {
        assert_eq!(mutes(&send(&mut relay, old.clone())), [(peer(1), Topic::Blocks)]);
    }
    let actions = send(&mut relay, compact(&next_block(0)));
    assert!(actions.iter().any(|action| matches!(action, RelayAction::AcceptHeader { .. })));
}

#[test]
fn a_stranger_whose_share_of_incomplete_blocks_is_used_up_is_muted() {
    let mut relay = relay();
    relay.handle(RelayEvent::Proven { peer: peer(9) }, START);
    let mut announce = |from: u8, trades: u32| {
        let (gossip, peer) = (compact(&next_block(trades)), peer(from));
        mutes(&relay.handle(RelayEvent::BlockGossip { peer, message: trades, gossip }, START))
    };
    assert_eq!(announce(1, 0), []);
    assert_eq!(announce(1, 1), [(peer(1), Topic::Blocks)], "before its next one is lost");
    assert_eq!(announce(9, 2), []);
    assert_eq!(announce(9, 3), []);
}

#[test]
fn few_announcers_of_a_block_are_remembered() {
    let (mut relay, block) = (relay(), next_block(3));
    announced(&mut relay, &block, missing(&block, &[1, 3]));
    for from in 2..100 {
        let gossip = RelayEvent::BlockGossip {
            peer: peer(from),
            message: from.into(),
            gossip: compact(&block),
        };
        relay.handle(gossip, START);
    }
    assert_eq!(relay.blocks.pending[&(block.hash(), 0)].sources.len(), MAX_SOURCES);
}
