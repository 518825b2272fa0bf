//! Tests of trades and notes.

use super::*;

#[test]
fn a_long_trade_counts_for_as_many_as_it_has_thousand_bytes() {
    let mut relay = relay();
    let mut asked = 0;
    for number in 0..u32::try_from(TRADE_RATE.burst).expect("a small rate") {
        let mut trade = spend(OutPoint { txid: TxId([7; 32]), index: number }, b"");
        trade.outputs = vec![trade.outputs[0]; 400];
        assert_eq!(trade.encoded_len().div_ceil(1_000), 12);
        let gossip = announcement(&trade, 0);
        let actions =
            relay.handle(RelayEvent::TradeGossip { peer: peer(1), message: number, gossip }, START);
        if let Some(RelayAction::AcceptTrade { .. }) = actions.first() {
            asked += 1;
            let txid = trade.txid();
            relay.handle(RelayEvent::TradeDone { txid, result: Ok(()) }, START);
        }
    }
    assert_eq!(asked, TRADE_RATE.burst / 12);
}

#[test]
fn a_trade_goes_on_by_the_chains_word() {
    let cases = [
        (Ok(()), Verdict::Accept, vec![]),
        (Err(refused(Blame::Nobody, RefusalCause::Other)), Verdict::Ignore, vec![]),
        (Err(refused(Blame::Ours, RefusalCause::Other)), Verdict::Ignore, vec![]),
        (
            Err(refused(Blame::Peer, RefusalCause::Other)),
            Verdict::Reject,
            vec![(peer(1), Offence::InvalidTrade)],
        ),
    ];
    for (result, verdict, offences) in cases {
        let (mut relay, trade) = (relay(), note(1));
        let gossip =
            RelayEvent::TradeGossip { peer: peer(1), message: 1, gossip: announcement(&trade, 0) };
        assert!(matches!(relay.handle(gossip, START)[..], [RelayAction::AcceptTrade { .. }]));
        let again =
            RelayEvent::TradeGossip { peer: peer(2), message: 2, gossip: announcement(&trade, 1) };
        assert_eq!(verdicts(&relay.handle(again, START)), [(2, Verdict::Ignore)]);
        let actions = relay.handle(RelayEvent::TradeDone { txid: trade.txid(), result }, START);
        assert_eq!((verdicts(&actions), penalties(&actions)), (vec![(1, verdict)], offences));
    }
}

#[test]
fn a_trade_announced_again_goes_on_but_not_at_will() {
    let (mut relay, trade) = (relay(), note(1));
    let interval = SPACING_MS * ANNOUNCE_SPACINGS;
    let gossip = |message| RelayEvent::TradeGossip {
        peer: peer(1),
        message,
        gossip: announcement(&trade, message),
    };
    relay.handle(gossip(0), START);
    relay.handle(RelayEvent::TradeDone { txid: trade.txid(), result: Ok(()) }, START);
    assert_eq!(verdicts(&relay.handle(gossip(1), START + interval)), [(1, Verdict::Accept)]);
    assert_eq!(verdicts(&relay.handle(gossip(2), START + interval + 1)), [(2, Verdict::Ignore)]);
    let mut block = next_block(0);
    block.transactions.push(trade.clone());
    relay.handle(connected(&block), START + interval);
    assert_eq!(verdicts(&relay.handle(gossip(3), START + 3 * interval)), [(3, Verdict::Ignore)]);
}

#[test]
fn own_trades_are_announced_again_in_rising_rounds_until_they_are_mined() {
    let (mut relay, trade) = (relay(), note(1));
    let interval = SPACING_MS * ANNOUNCE_SPACINGS;
    let added = |local| RelayEvent::TradeAdded {
        txid: trade.txid(),
        transaction: Arc::new(trade.clone()),
        added: START,
        local,
    };
    let mut heard = published(&relay.handle(added(true), START));
    assert!(published(&relay.handle(added(true), START)).is_empty(), "added twice, announced once");
    for step in 1..=(3 * interval + interval / 5) / 250 {
        heard.extend(published(&relay.handle(RelayEvent::Tick, START + step * 250)));
    }
    let rounds: Vec<Announcement> =
        (0..4).map(|round| Announcement::Trade(announcement(&trade, round))).collect();
    assert_eq!(heard, rounds);
    let mut block = next_block(0);
    block.transactions.push(trade.clone());
    relay.handle(connected(&block), START + 4 * interval);
    assert!(published(&relay.handle(RelayEvent::Tick, START + 9 * interval)).is_empty());
}

#[test]
fn more_own_trades_than_fit_in_a_round_delay_neither_new_ones_nor_each_other() {
    let mut relay = relay();
    let added = |trade: &Transaction, added| RelayEvent::TradeAdded {
        txid: trade.txid(),
        transaction: Arc::new(trade.clone()),
        added,
        local: true,
    };
    let trades: Vec<_> = (0..1_000).map(note).collect();
    for trade in &trades {
        relay.handle(added(trade, START), START);
    }
    let interval = SPACING_MS * ANNOUNCE_SPACINGS;
    let mut now = START;
    while now < START + 10 * interval {
        now += 250;
        relay.handle(RelayEvent::Tick, now);
    }
    // All but ten are mined, and are not announced any more.
    let mut block = next_block(0);
    block.transactions.extend_from_slice(&trades[10..]);
    relay.handle(connected(&block), now);
    let latest = note(1_000);
    let mut heard = published(&relay.handle(added(&latest, now), now));
    for _ in 0..8 {
        now += 250;
        heard.extend(published(&relay.handle(RelayEvent::Tick, now)));
    }
    let announced = |trade: &Transaction| {
        let bytes = trade.to_bytes();
        let of = |heard: &&Announcement| match heard {
            Announcement::Trade(TradeGossip::Trade(trade)) => trade.transaction == bytes,
            Announcement::Block(_) => false,
        };
        heard.iter().filter(of).count()
    };
    assert_eq!(announced(&latest), 1, "what is new comes first");
    assert!(
        trades[..10].iter().all(|trade| announced(trade) <= 1)
            && trades[10..].iter().all(|trade| announced(trade) == 0)
    );
}

#[test]
fn after_a_restart_an_own_trade_goes_on_with_a_later_round() {
    let (mut relay, trade) = (relay(), note(1));
    let now = START + SPACING_MS * ANNOUNCE_SPACINGS * 7;
    let event = RelayEvent::TradeAdded {
        txid: trade.txid(),
        transaction: Arc::new(trade.clone()),
        added: START,
        local: true,
    };
    assert_eq!(
        published(&relay.handle(event, now)),
        [Announcement::Trade(announcement(&trade, 7))]
    );
}

#[test]
fn a_trade_from_a_peers_mempool_is_published_and_one_from_gossip_is_not() {
    let mut relay = relay();
    let (fetched, gossiped) = (note(1), note(2));
    let added = |trade: &Transaction| RelayEvent::TradeAdded {
        txid: trade.txid(),
        transaction: Arc::new(trade.clone()),
        added: START,
        local: false,
    };
    let gossip =
        RelayEvent::TradeGossip { peer: peer(1), message: 1, gossip: announcement(&gossiped, 0) };
    relay.handle(gossip, START);
    assert!(published(&relay.handle(added(&gossiped), START)).is_empty());
    assert_eq!(
        published(&relay.handle(added(&fetched), START)),
        [Announcement::Trade(announcement(&fetched, 0))]
    );
}

#[test]
fn a_trade_before_its_parent_waits_for_it() {
    let mut relay = relay();
    let parent = note(1);
    let child = spend(OutPoint { txid: parent.txid(), index: 0 }, b"");
    let gossip =
        RelayEvent::TradeGossip { peer: peer(1), message: 1, gossip: announcement(&child, 0) };
    relay.handle(gossip, START);
    let result = Err(refused(Blame::Nobody, RefusalCause::MissingCoin));
    assert!(relay.handle(RelayEvent::TradeDone { txid: child.txid(), result }, START).is_empty());
    let added = RelayEvent::TradeAdded {
        txid: parent.txid(),
        transaction: Arc::new(parent),
        added: START,
        local: false,
    };
    let actions = relay.handle(added, START + 1_000);
    assert!(actions.iter().any(
        |a| matches!(a, RelayAction::AcceptTrade { transaction, .. } if **transaction == child)
    ));
    let actions =
        relay.handle(RelayEvent::TradeDone { txid: child.txid(), result: Ok(()) }, START + 1_000);
    assert_eq!(verdicts(&actions), [(1, Verdict::Accept)]);
}

#[test]
fn a_flood_of_notes_is_ignored_beyond_the_rate_and_costs_others_nothing() {
    let mut relay = relay();
    let mut accepted = 0;
    for number in 0..2 * u32::try_from(NOTE_RATE.burst).expect("a small rate") {
        let gossip = announcement(&note(number), 0);
        let actions =
            relay.handle(RelayEvent::TradeGossip { peer: peer(1), message: number, gossip }, START);
        accepted += u64::from(
            actions.iter().any(|action| matches!(action, RelayAction::AcceptTrade { .. })),
        );
    }
    assert_eq!(accepted, NOTE_RATE.burst);
    let gossip = announcement(&note(9_999), 0);
    let actions =
        relay.handle(RelayEvent::TradeGossip { peer: peer(2), message: 9_999, gossip }, START);
    assert!(matches!(actions[..], [RelayAction::AcceptTrade { .. }]));
}
