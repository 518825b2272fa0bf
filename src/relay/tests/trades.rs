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
        if check(&actions).is_some() {
            asked += 1;
            checked(&mut relay, &actions, &[Ok(())], START);
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
        let asked = relay.handle(gossip, START);
        assert!(matches!(asked[..], [RelayAction::AcceptTrades { .. }]));
        let again =
            RelayEvent::TradeGossip { peer: peer(2), message: 2, gossip: announcement(&trade, 1) };
        assert_eq!(verdicts(&relay.handle(again, START)), [(2, Verdict::Ignore)]);
        let actions = checked(&mut relay, &asked, &[result], START);
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
    let asked = relay.handle(gossip(0), START);
    checked(&mut relay, &asked, &[Ok(())], START);
    assert_eq!(verdicts(&relay.handle(gossip(1), START + interval)), [(1, Verdict::Accept)]);
    assert_eq!(verdicts(&relay.handle(gossip(2), START + interval + 1)), [(2, Verdict::Ignore)]);
    let mut block = next_block(0);
    block.transactions.push(trade.clone());
    relay.handle(connected(&block), START + interval);
    assert_eq!(verdicts(&relay.handle(gossip(3), START + 3 * interval)), [(3, Verdict::Ignore)]);
}

fn added(trade: &Transaction, at: Moment, local: bool) -> RelayEvent<u32> {
    let transaction = Arc::new(trade.clone());
    RelayEvent::TradeAdded { txid: trade.txid(), transaction, added: at, local, free: true }
}

/// Ticks up to a time, and returns the rounds in which the trade was announced, with their times.
fn announcements(
    relay: &mut Relay<u32>,
    trade: &Transaction,
    from: Moment,
    to: Moment,
) -> Vec<(Moment, u32)> {
    let mut heard = Vec::new();
    let mut now = from;
    while now < to {
        now += 250;
        for announcement in published(&relay.handle(RelayEvent::Tick, now)) {
            match announcement {
                Announcement::Trade(TradeGossip::Trades(found))
                    if found.transactions.iter().any(|bytes| *bytes == trade.to_bytes()) =>
                {
                    heard.push((now, found.round));
                }
                _ => {}
            }
        }
    }
    heard
}

#[test]
fn everybody_who_has_a_trade_announces_it_at_random_times_until_it_is_mined() {
    let interval = SPACING_MS * ANNOUNCE_SPACINGS;
    let trade = note(1);
    let mut times = std::collections::BTreeSet::new();
    for (seed, local) in [(1, true), (2, true), (3, false), (4, false)] {
        let mut relay = Relay::new(RelayConfig {
            spacing_ms: SPACING_MS,
            tip: tip(),
            seed,
            trust: Trust::default(),
        });
        if !local {
            let gossip = announcement(&trade, 0);
            let asked =
                relay.handle(RelayEvent::TradeGossip { peer: peer(1), message: 1, gossip }, START);
            checked(&mut relay, &asked, &[Ok(())], START);
        }
        assert!(published(&relay.handle(added(&trade, START, local), START)).is_empty());
        relay.handle(added(&trade, START, local), START);
        let end = START + 20 * interval;
        let mut heard = announcements(&mut relay, &trade, START, end);
        if local {
            let (at, round) = heard.remove(0);
            assert!(round == 0 && at <= START + FIRST_DELAY_MS + 250, "the first one comes soon");
        }
        assert!((8..=27).contains(&heard.len()), "{heard:?}");
        for pair in heard.windows(2) {
            let pause = pair[1].0 - pair[0].0;
            assert!((interval * 3 / 4 - 250..=interval * 9 / 4 + 250).contains(&pause));
        }
        let rounds: std::collections::BTreeSet<_> = heard.iter().map(|(_, round)| *round).collect();
        assert!(rounds.len() == heard.len() && !rounds.contains(&0), "each is a new message");
        times.extend(heard.first().map(|(at, _)| *at));
        let mut block = next_block(0);
        block.transactions.push(trade.clone());
        relay.handle(connected(&block), end);
        assert!(announcements(&mut relay, &trade, end, end + 5 * interval).is_empty());
    }
    assert!(times.len() > 1, "each node has its own times");
}

#[test]
fn who_hears_an_announcement_waits_with_his_own() {
    let (mut relay, trade) = (relay(), note(1));
    let interval = SPACING_MS * ANNOUNCE_SPACINGS;
    relay.handle(added(&trade, START, true), START);
    let mut now = START;
    for message in 1..20 {
        let heard = announcements(&mut relay, &trade, now, now + interval / 2);
        assert!(heard.iter().all(|(_, round)| *round == 0), "{heard:?}");
        now += interval / 2;
        let gossip = announcement(&trade, message);
        relay.handle(RelayEvent::TradeGossip { peer: peer(1), message, gossip }, now);
    }
}

#[test]
fn a_known_trade_with_other_signatures_is_not_forwarded_and_delays_no_announcement() {
    let (trade, mut forged) = (note(1), note(1));
    forged.inputs[0].signature = Signature([0; 64]);
    assert_eq!(forged.txid(), trade.txid());
    let gossip = |message, trade| RelayEvent::TradeGossip {
        peer: peer(1),
        message,
        gossip: announcement(trade, message),
    };
    for came_by_gossip in [false, true] {
        let mut relay = relay();
        if came_by_gossip {
            let asked = relay.handle(gossip(1, &trade), START);
            checked(&mut relay, &asked, &[Ok(())], START);
        } else {
            relay.handle(added(&trade, START, true), START);
        }
        let now = START + SPACING_MS * ANNOUNCE_SPACINGS;
        let actions = relay.handle(gossip(2, &forged), now);
        assert_eq!(verdicts(&actions), [(2, Verdict::Ignore)]);
        // The true trade is still due.
        assert_eq!(verdicts(&relay.handle(gossip(3, &trade), now)), [(3, Verdict::Accept)]);
    }
}

#[test]
fn repeated_trades_delay_no_new_ones_and_are_slow() {
    let mut relay = relay();
    let trades: Vec<_> = (0..1_000).map(note).collect();
    for trade in &trades {
        relay.handle(added(trade, START, true), START);
    }
    let interval = SPACING_MS * ANNOUNCE_SPACINGS;
    let mut now = START;
    let mut count = 0_u64;
    while now < START + 10 * interval {
        now += 250;
        for announcement in published(&relay.handle(RelayEvent::Tick, now)) {
            let Announcement::Trade(TradeGossip::Trades(found)) = announcement else { continue };
            assert!(found.round == 0 || found.transactions.len() == 1, "each has its own time");
            count += found.transactions.len() as u64;
        }
    }
    let most = 1_000 + REPEAT_RATE.burst + REPEAT_RATE.per_second * 10 * interval / 1_000;
    assert!(count > 1_500 && count <= most, "{count} of {most}");
    // All but ten are mined, and are not announced any more.
    let mut block = next_block(0);
    block.transactions.extend_from_slice(&trades[10..]);
    relay.handle(connected(&block), now);
    let latest = note(1_000);
    relay.handle(added(&latest, now, true), now);
    let heard = announcements(&mut relay, &latest, now, now + 2_000);
    assert_eq!(heard.iter().map(|(_, round)| *round).collect::<Vec<_>>(), [0], "news come first");
    assert!(announcements(&mut relay, &trades[500], now + 2_000, now + interval).is_empty());
}

#[test]
fn after_a_restart_all_trades_are_announced_within_an_interval() {
    let trade = note(1);
    let interval = SPACING_MS * ANNOUNCE_SPACINGS;
    for local in [true, false] {
        let mut relay = relay();
        let now = START + 7 * interval;
        assert!(published(&relay.handle(added(&trade, START, local), now)).is_empty());
        let heard = announcements(&mut relay, &trade, now, now + interval + 250);
        assert!(!heard.is_empty() && heard.iter().all(|(_, round)| *round > 0), "{heard:?}");
    }
}

#[test]
fn a_trade_from_a_peers_mempool_is_published_at_once_and_one_from_gossip_is_not() {
    let mut relay = relay();
    let (fetched, gossiped) = (note(1), note(2));
    let gossip =
        RelayEvent::TradeGossip { peer: peer(1), message: 1, gossip: announcement(&gossiped, 0) };
    relay.handle(gossip, START);
    relay.handle(added(&gossiped, START, false), START);
    relay.handle(added(&fetched, START, false), START);
    let soon = START + FIRST_DELAY_MS + 250;
    let mut heard = Vec::new();
    for now in (START..=soon).step_by(50) {
        heard.extend(published(&relay.handle(RelayEvent::Tick, now)));
    }
    assert_eq!(heard, [Announcement::Trade(announcement(&fetched, 0))]);
}

#[test]
fn a_trade_before_its_parent_waits_for_it() {
    let mut relay = relay();
    let parent = note(1);
    let child = spend(OutPoint { txid: parent.txid(), index: 0 }, b"");
    let gossip =
        RelayEvent::TradeGossip { peer: peer(1), message: 1, gossip: announcement(&child, 0) };
    let asked = relay.handle(gossip, START);
    let result = Err(refused(Blame::Nobody, RefusalCause::MissingCoin));
    assert!(checked(&mut relay, &asked, &[result], START).is_empty());
    let added = RelayEvent::TradeAdded {
        txid: parent.txid(),
        transaction: Arc::new(parent),
        added: START,
        local: false,
        free: true,
    };
    let actions = relay.handle(added, START + 1_000);
    assert_eq!(check(&actions).map(|(_, trades)| trades), Some(vec![child]));
    let actions = checked(&mut relay, &actions, &[Ok(())], START + 1_000);
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
        accepted += u64::from(check(&actions).is_some());
    }
    assert_eq!(accepted, NOTE_RATE.burst);
    let gossip = announcement(&note(9_999), 0);
    let actions =
        relay.handle(RelayEvent::TradeGossip { peer: peer(2), message: 9_999, gossip }, START);
    assert!(matches!(actions[..], [RelayAction::AcceptTrades { .. }]));
}

#[test]
fn a_burst_leaves_in_a_few_messages_within_one_tick() {
    let mut relay = relay();
    let coin = |index| OutPoint { txid: TxId([7; 32]), index };
    let trades: Vec<_> = (0..300).map(|number| spend(coin(number), b"")).collect();
    for trade in &trades {
        relay.handle(added(trade, START, true), START);
    }
    let actions = relay.handle(RelayEvent::Tick, START + FIRST_DELAY_MS);
    let messages = published(&actions);
    assert!(messages.len() <= 4, "{} messages", messages.len());
    let mut found = std::collections::BTreeSet::new();
    for message in &messages {
        let Announcement::Trade(TradeGossip::Trades(message)) = message else { panic!("a block") };
        assert_eq!(message.round, 0);
        found.extend(message.transactions.iter().map(|bytes| bytes.to_vec()));
    }
    assert_eq!(found, trades.iter().map(Transaction::to_bytes).collect());
}

#[test]
fn many_trades_of_one_message_go_on_together_if_all_are_new_and_valid() {
    let (mut relay, trades) = (relay(), [note(1), note(2), note(3)]);
    let all: Vec<_> = trades.iter().collect();
    let gossip = |message, round| RelayEvent::TradeGossip {
        peer: peer(1),
        message,
        gossip: announcements_of(&all, round),
    };
    let asked = relay.handle(gossip(1, 0), START);
    assert_eq!(check(&asked).map(|(_, asked)| asked), Some(trades.to_vec()));
    let actions = checked(&mut relay, &asked, &[Ok(()), Ok(()), Ok(())], START);
    assert_eq!(verdicts(&actions), [(1, Verdict::Accept)]);
    for trade in &trades {
        relay.handle(added(trade, START, false), START);
    }
    let heard = announcements(&mut relay, &trades[0], START, START + 1_000);
    assert!(heard.is_empty(), "gossip spreads them");
    // The same trades again are forwarded only once they are due.
    assert_eq!(verdicts(&relay.handle(gossip(2, 1), START + 1)), [(2, Verdict::Ignore)]);
    let interval = SPACING_MS * ANNOUNCE_SPACINGS;
    assert_eq!(verdicts(&relay.handle(gossip(3, 2), START + interval)), [(3, Verdict::Accept)]);
}

#[test]
fn a_message_that_carries_what_nobody_wants_stays_here_and_the_rest_is_announced() {
    let nobody = || Err(refused(Blame::Nobody, RefusalCause::Other));
    let lost = || Err(refused(Blame::Nobody, RefusalCause::MissingCoin));
    let wrong = || Err(refused(Blame::Peer, RefusalCause::Other));
    let cases = [
        (nobody(), Verdict::Ignore, vec![]),
        (lost(), Verdict::Ignore, vec![]),
        (wrong(), Verdict::Reject, vec![(peer(1), Offence::InvalidTrade)]),
    ];
    for (result, verdict, offences) in cases {
        for added_first in [false, true] {
            let (mut relay, good, bad) = (relay(), note(1), note(2));
            let gossip = announcements_of(&[&good, &bad], 0);
            let event = RelayEvent::TradeGossip { peer: peer(1), message: 1, gossip };
            let asked = relay.handle(event, START);
            if added_first {
                relay.handle(added(&good, START, false), START);
            }
            let actions = checked(&mut relay, &asked, &[Ok(()), result.clone()], START);
            assert_eq!(verdicts(&actions), [(1, verdict)]);
            assert_eq!(penalties(&actions), offences);
            relay.handle(added(&good, START, false), START);
            let heard = announcements(&mut relay, &good, START, START + 1_000);
            assert_eq!(heard.iter().map(|(_, round)| *round).collect::<Vec<_>>(), [0]);
        }
    }
}

#[test]
fn known_trades_do_not_ride_on_a_new_one() {
    let (mut relay, known, new) = (relay(), note(1), note(2));
    relay.handle(added(&known, START, true), START);
    let gossip = announcements_of(&[&known, &new], 0);
    let event = RelayEvent::TradeGossip { peer: peer(1), message: 1, gossip };
    let asked = relay.handle(event, START + 1);
    assert_eq!(check(&asked).map(|(_, asked)| asked), Some(vec![new]));
    let actions = checked(&mut relay, &asked, &[Ok(())], START + 1);
    assert_eq!(verdicts(&actions), [(1, Verdict::Ignore)]);
}

#[test]
fn a_message_beyond_the_peers_rate_is_ignored_as_a_whole() {
    let mut relay = relay();
    let notes: Vec<_> = (0..200).map(note).collect();
    let gossip = |message, count: usize| RelayEvent::TradeGossip {
        peer: peer(1),
        message,
        gossip: announcements_of(&notes[..count].iter().collect::<Vec<_>>(), message),
    };
    let asked = relay.handle(gossip(1, 150), START);
    assert_eq!(check(&asked).map(|(_, asked)| asked.len()), Some(150));
    assert_eq!(verdicts(&relay.handle(gossip(2, 200), START)), [(2, Verdict::Ignore)]);
}

#[test]
fn a_peer_is_muted_before_its_trades_are_ignored_and_for_no_note() {
    let mut relay = relay();
    let mut sent = 0;
    let mut send = |relay: &mut Relay<u32>, transaction: &Transaction| {
        sent += 1;
        let gossip = announcement(transaction, 0);
        let event = RelayEvent::TradeGossip { peer: peer(1), message: sent, gossip };
        let actions = relay.handle(event, START);
        if check(&actions).is_some() {
            checked(relay, &actions, &[Ok(())], START);
        }
        (check(&actions).is_some(), mutes(&actions))
    };
    for number in 0..2 * u32::try_from(NOTE_RATE.burst).expect("a small rate") {
        assert_eq!(send(&mut relay, &note(number)).1, []);
    }
    let trade = |index| spend(OutPoint { txid: TxId([7; 32]), index }, b"");
    for number in 0..u32::try_from(TRADE_RATE.burst).expect("a small rate") {
        let (is_checked, muted) = send(&mut relay, &trade(number));
        assert!(is_checked);
        let is_low = u64::from(number) >= TRADE_RATE.burst * 3 / 4;
        assert_eq!(muted, if is_low { vec![(peer(1), Topic::Trades)] } else { vec![] });
    }
}

/// Sends a note of its own from each of these peers, and returns how many reach the chain. The
/// chain takes each of them.
fn notes_taken(relay: &mut Relay<u32>, from: impl Iterator<Item = PeerId>, first: u32) -> u64 {
    let mut taken = 0;
    for (peer, number) in from.zip(first..) {
        let gossip = announcement(&note(number), 0);
        let actions =
            relay.handle(RelayEvent::TradeGossip { peer, message: number, gossip }, START);
        if check(&actions).is_some() {
            taken += 1;
            let actions = checked(relay, &actions, &[Ok(())], START);
            let proves =
                |action: &RelayAction<u32>| matches!(action, RelayAction::Delivered { .. });
            assert!(!actions.iter().any(proves), "a note costs nothing, and so proves nothing");
        }
    }
    taken
}

#[test]
fn an_accepted_trade_proves_nothing_about_its_sender() {
    let mut relay = relay();
    let trade = spend(OutPoint { txid: TxId([7; 32]), index: 0 }, b"");
    let gossip =
        RelayEvent::TradeGossip { peer: peer(1), message: 1, gossip: announcement(&trade, 0) };
    let asked = relay.handle(gossip, START);
    let actions = checked(&mut relay, &asked, &[Ok(())], START);
    assert_eq!(verdicts(&actions), [(1, Verdict::Accept)]);
    let proves = |action: &RelayAction<u32>| matches!(action, RelayAction::Delivered { .. });
    assert!(!actions.iter().any(proves), "a payment to oneself costs next to nothing");
    assert!(!relay.is_trusted(&peer(1)));
}

fn many(number: usize) -> PeerId {
    let mut key = [1; 32];
    key[..8].copy_from_slice(&number.to_le_bytes());
    PeerId(PublicKey(key))
}

#[test]
fn new_keys_and_new_connections_fill_no_bucket() {
    let friend = peer(9);
    let mut relay = relay_with(Trust::new([friend], false));
    let again = |relay: &mut Relay<u32>, first| {
        let taken = notes_taken(relay, std::iter::repeat_n(peer(1), 500), first);
        relay.handle(RelayEvent::PeerGone { peer: peer(1) }, START);
        taken
    };
    assert_eq!(again(&mut relay, 0), NOTE_RATE.burst);
    assert_eq!(again(&mut relay, 1_000), 0, "it reconnects");
    let keys = 2 * usize::try_from(DOUBTFUL_SHARE * NOTE_RATE.burst).expect("a small rate");
    let taken = notes_taken(&mut relay, (0..keys).map(many), 10_000);
    assert_eq!(taken, (DOUBTFUL_SHARE - 1) * NOTE_RATE.burst, "all keys share as much as eight");
    assert_eq!(notes_taken(&mut relay, std::iter::once(friend), 90_000), 1);
}

#[test]
fn a_stranger_fills_neither_the_orphans_nor_what_the_chain_checks() {
    let friend = peer(9);
    let mut relay = relay_with(Trust::new([friend], false));
    let lost = || Err(refused(Blame::Nobody, RefusalCause::MissingCoin));
    let orphan = |relay: &mut Relay<u32>, peer, message: u32| {
        let trade = spend(OutPoint { txid: TxId([7; 32]), index: message }, b"");
        let gossip = announcement(&trade, 0);
        let asked = relay.handle(RelayEvent::TradeGossip { peer, message, gossip }, START);
        verdicts(&checked(relay, &asked, &[lost()], START))
    };
    for number in 0..2 * u32::try_from(MAX_ORPHANS).expect("few") {
        orphan(&mut relay, peer(1), number);
        assert!(relay.trades.orphans.len() <= MAX_ORPHANS);
    }
    for (peer, message) in [(peer(2), 1_000), (friend, 1_001)] {
        let verdicts = orphan(&mut relay, peer, message);
        assert!(matches!(verdicts[..], [(one, Verdict::Ignore)] if one != message), "another's");
    }
    let mine = |peer| relay.trades.orphans.values().filter(|orphan| orphan.peer == peer).count();
    assert_eq!((mine(peer(2)), mine(friend)), (1, 1));

    // The chain does not answer.
    let trades: Vec<_> =
        (0..100).map(|index| spend(OutPoint { txid: TxId([8; 32]), index }, b"")).collect();
    let mut asked = 0;
    for (message, some) in (2_000..).zip(trades.chunks(50)) {
        let gossip = announcements_of(&some.iter().collect::<Vec<_>>(), message);
        let event = RelayEvent::TradeGossip { peer: peer(1), message, gossip };
        asked += usize::from(check(&relay.handle(event, START)).is_some());
    }
    assert_eq!(asked, 2);
    relay.trades.checking_bytes = MAX_PENDING_TRADE_BYTES / DOUBTFUL_PART;
    let late = spend(OutPoint { txid: TxId([9; 32]), index: 0 }, b"");
    let takes = |relay: &mut Relay<u32>, peer, message| {
        let gossip = announcement(&late, 0);
        check(&relay.handle(RelayEvent::TradeGossip { peer, message, gossip }, START)).is_some()
    };
    assert!(!takes(&mut relay, peer(1), 3_000));
    assert!(takes(&mut relay, friend, 3_001), "a friend's trade is checked");
}
