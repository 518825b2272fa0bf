//! Tests of waiting trades and notes: which are admitted, which error rejects the others, and the
//! order.

use crate::{
    chain::{
        AcceptTradeError, Blame, ChainEvent, MAX_CHAIN, MAX_LOCAL_CHAIN, Origin, Rebuilt, TxState,
        testing::{PEER, TestChain, coin_of, genesis_coin, key, network, note, owner, pay, signed},
    },
    consensus::SUBSIDY,
    primitives::{Amount, OutPoint, Transaction, TxId, TxOutput, leaf_hash, short_id},
};

fn refusal(chain: &mut TestChain, trade: &Transaction) -> (&'static str, Blame) {
    let error = chain.trade(trade, PEER).expect_err("a refusal");
    (error.code(), error.blame())
}

#[test]
fn every_refusal_has_its_name() {
    let network = network();
    let mut chain = TestChain::new();
    let coin = genesis_coin(&network);
    let all = [(owner(&key(2)), 10_000_000_000)];
    let good = pay(&network, &key(1), coin, &all);
    let mut forged = good.clone();
    forged.inputs[0].signature.0[0] ^= 1;
    assert_eq!(refusal(&mut chain, &forged), ("bad_signature", Blame::Peer));
    let theft = pay(&network, &key(2), coin, &all);
    assert_eq!(refusal(&mut chain, &theft), ("missing_coin", Blame::Nobody));
    let inflation = pay(&network, &key(1), coin, &[(owner(&key(2)), 10_000_000_001)]);
    assert_eq!(refusal(&mut chain, &inflation), ("overspent", Blame::Peer));
    let double =
        signed(&network.id, &[(&key(1), coin), (&key(1), coin)], good.outputs.clone(), b"");
    assert_eq!(refusal(&mut chain, &double), ("duplicate_input", Blame::Peer));
    let mut coinbase = network.genesis.transactions[0].clone();
    coinbase.memo.push(1);
    assert_eq!(refusal(&mut chain, &coinbase), ("stray_coinbase", Blame::Peer));
    let nothing = signed(&network.id, &[(&key(1), coin)], vec![], b"");
    assert_eq!(refusal(&mut chain, &nothing), ("no_outputs", Blame::Peer));

    assert_eq!(chain.trade(&good, PEER), Ok(good.txid()));
    assert_eq!(refusal(&mut chain, &good), ("known", Blame::Nobody));
    let rival = pay(&network, &key(1), coin, &[(owner(&key(3)), 10_000_000_000)]);
    assert_eq!(refusal(&mut chain, &rival), ("conflict", Blame::Nobody));
    let stamp = note(&network.id, &key(5), 7, b"one");
    chain.trade(&stamp, PEER).expect("good");
    assert_eq!(
        refusal(&mut chain, &note(&network.id, &key(5), 7, b"two")),
        ("conflict", Blame::Nobody)
    );

    chain.mine(owner(&key(9)));
    assert_eq!(refusal(&mut chain, &good), ("mined", Blame::Nobody));
    assert_eq!(refusal(&mut chain, &rival), ("missing_coin", Blame::Nobody));
    assert_eq!(
        refusal(&mut chain, &note(&network.id, &key(5), 7, b"two")),
        ("stamp_used", Blame::Nobody)
    );
    assert_eq!(chain.supply(), Amount::from_coins(200));
}

#[test]
fn many_sends_in_a_row_spend_their_own_change() {
    let network = network();
    let mut chain = TestChain::new();
    let me = key(1);
    for sent in 1..=40u64 {
        let spendable = chain.chain.spendable(owner(&me)).expect("a disk");
        let coin =
            spendable.confirmed.iter().chain(&spendable.pending).next().copied().expect("change");
        let rest = coin.coin.value.units() - 10;
        let trade = pay(&network, &me, coin.outpoint, &[(owner(&key(2)), 10), (owner(&me), rest)]);
        assert_eq!(chain.trade(&trade, Origin::Local), Ok(trade.txid()), "send {sent}");
    }
    let balance = chain.chain.balance(owner(&me)).expect("a disk");
    assert_eq!((balance.pending_in, balance.pending_out), (Amount::ZERO, Amount::from_units(400)));
    let theirs = chain.chain.balance(owner(&key(2))).expect("a disk");
    assert_eq!((theirs.confirmed, theirs.pending_in), (Amount::ZERO, Amount::from_units(400)));
    let block = chain.mine(owner(&key(9)));
    assert_eq!(block.transactions.len(), 41);
    assert_eq!(chain.balance(owner(&key(2))), Amount::from_units(400));
}

#[test]
fn chains_of_waiting_trades_are_bounded() {
    let network = network();
    for (origin, limit) in [(PEER, MAX_CHAIN), (Origin::Local, MAX_LOCAL_CHAIN)] {
        let mut chain = TestChain::new();
        let mut coin = genesis_coin(&network);
        for position in 1..=limit + 1 {
            let trade = pay(&network, &key(1), coin, &[(owner(&key(1)), 10_000_000_000)]);
            coin = coin_of(&trade, 0);
            match chain.trade(&trade, origin) {
                Ok(_) => assert!(position <= limit),
                Err(error) => {
                    assert_eq!((error.code(), position), ("too_long_chain", limit + 1));
                }
            }
        }
    }
}

#[test]
fn what_trades_take_until_they_are_written_is_counted() {
    let network = network();
    let mut chain = TestChain::new();
    let long = pay(&network, &key(1), genesis_coin(&network), &vec![(owner(&key(2)), 1); 3_000]);
    chain.trade(&long, Origin::Local).expect("good");
    // Once in the mempool, and once among own trades.
    assert!(chain.chain.overlay.cost() > 2 * long.encoded_len());
    chain.chain.commit().expect("a commit");
    assert_eq!(chain.chain.overlay.cost(), 0);
}

#[test]
fn a_self_send_creates_nothing() {
    let network = network();
    let mut chain = TestChain::new();
    let trade = pay(&network, &key(1), genesis_coin(&network), &[(owner(&key(1)), 10_000_000_000)]);
    chain.trade(&trade, Origin::Local).expect("good");
    chain.mine(owner(&key(9)));
    assert_eq!(chain.balance(owner(&key(1))), Amount::from_coins(100));
    assert_eq!(chain.supply(), Amount::from_coins(200));
}

#[test]
fn a_template_takes_the_best_payers_first_and_parents_before_children() {
    let network = network();
    let mut chain = TestChain::new();
    let split: Vec<_> = (0..4).map(|_| (owner(&key(1)), 2_500_000_000)).collect();
    let split = pay(&network, &key(1), genesis_coin(&network), &split);
    chain.trade(&split, PEER).expect("good");
    let paying = |index: u32, fee: u64| {
        pay(&network, &key(1), coin_of(&split, index), &[(owner(&key(2)), 2_500_000_000 - fee)])
    };
    let trades = [paying(0, 0), paying(1, 500), paying(2, 9_000), paying(3, 20)];
    for trade in &trades {
        chain.trade(trade, PEER).expect("good");
    }
    let template = chain.chain.template(owner(&key(9)), chain.now).expect("a template");
    assert!(template.has_trades && !template.has_local);
    let order: Vec<_> = template.block.transactions[1..].iter().map(Transaction::txid).collect();
    let expected = [&split, &trades[2], &trades[1], &trades[3], &trades[0]].map(Transaction::txid);
    assert_eq!(order, expected);
    assert_eq!(template.block.transactions[0].outputs[0].value.units(), SUBSIDY.units() + 9_520);
    let again = chain.chain.template(owner(&key(9)), chain.now + 1_000).expect("a template");
    assert_eq!(again.generation, template.generation);
    assert_eq!(again.block.transactions, template.block.transactions);
    assert_eq!(again.block.header.time, template.block.header.time + 1_000);
    chain.mine(owner(&key(9)));
    assert_eq!(chain.supply(), Amount::from_coins(200));
}

#[test]
fn notes_are_bounded_in_a_template_and_all_land() {
    let network = network();
    let mut chain = TestChain::new();
    for index in 0..100 {
        chain.trade(&note(&network.id, &key(5), index, &[b'x'; 1_000]), PEER).expect("good");
    }
    let first = chain.mine(owner(&key(9)));
    assert!(first.encoded_len() < 66 * 1024 && first.transactions.len() > 50);
    chain.mine(owner(&key(9)));
    assert_eq!(chain.chain.mempool(), vec![]);
}

#[test]
fn own_trades_are_kept_through_a_restart_and_others_mostly() {
    let network = network();
    let mut chain = TestChain::new();
    let own = pay(&network, &key(1), genesis_coin(&network), &[(owner(&key(2)), 10_000_000_000)]);
    let child = pay(&network, &key(2), coin_of(&own, 0), &[(owner(&key(3)), 10_000_000_000)]);
    chain.trade(&own, Origin::Local).expect("good");
    assert!(chain.chain.is_awaited(), "an own trade is durable before the answer");
    chain.chain.commit().expect("a commit");
    chain.trade(&child, PEER).expect("good");
    assert!(!chain.chain.is_awaited(), "another's need not be");
    assert!(matches!(
        chain.chain.drain_events().last(),
        Some(ChainEvent::TradeAccepted { origin: PEER, .. })
    ));
    chain.chain.commit().expect("a commit");
    let mut chain = chain.reopen();
    let waiting: Vec<_> =
        chain.chain.mempool().iter().map(|entry| (entry.txid, entry.local)).collect();
    assert_eq!(waiting, [(own.txid(), true), (child.txid(), false)]);
    assert_eq!(chain.trade(&own, Origin::Local), Ok(own.txid()), "sent twice, it is there once");
    assert_eq!(chain.trade(&child, Origin::Local), Ok(child.txid()));
    assert!(chain.chain.mempool().iter().all(|entry| entry.local), "and becomes our own");
    let state = chain.chain.transaction(child.txid()).expect("a disk").expect("known").state;
    assert_eq!(state, TxState::Mempool);
}

#[test]
fn a_mined_rival_removes_the_others_trade_without_a_word() {
    let network = network();
    let mut chain = TestChain::new();
    let mut branch = crate::chain::testing::Branch::new(&network, 0);
    let coin = genesis_coin(&network);
    let waiting = pay(&network, &key(1), coin, &[(owner(&key(2)), 10_000_000_000)]);
    let rival = pay(&network, &key(1), coin, &[(owner(&key(3)), 10_000_000_000)]);
    chain.trade(&waiting, PEER).expect("good");
    chain.events();
    chain.connect(&[branch.next(&[rival])]);
    assert_eq!(chain.chain.mempool(), vec![]);
    assert!(!chain.events().iter().any(|event| matches!(event, ChainEvent::TradeVoid { .. })));
    assert_eq!(chain.chain.transaction(waiting.txid()), Ok(None));
}

#[test]
fn a_compact_block_is_made_whole_from_what_waits() {
    let network = network();
    let mut chain = TestChain::new();
    let first = pay(&network, &key(1), genesis_coin(&network), &[(owner(&key(2)), 10_000_000_000)]);
    let second = note(&network.id, &key(5), 1, b"hello");
    let unseen = note(&network.id, &key(6), 1, b"never heard");
    chain.trade(&first, PEER).expect("good");
    chain.trade(&second, PEER).expect("good");
    let branch = crate::chain::testing::Branch::new(&network, 0);
    let ids = |block: &crate::primitives::Block| -> Vec<_> {
        let hash = block.hash();
        block.transactions[1..]
            .iter()
            .map(|transaction| short_id(&hash, &leaf_hash(transaction)))
            .collect()
    };
    let whole = branch.draft(&[first.clone(), second.clone()], SUBSIDY);
    let rebuilt = chain.chain.rebuild(whole.header, whole.transactions[0].clone(), &ids(&whole));
    assert!(matches!(rebuilt, Rebuilt::Block(block) if *block == whole));

    let partly = branch.draft(&[first, unseen, second], SUBSIDY);
    match chain.chain.rebuild(partly.header, partly.transactions[0].clone(), &ids(&partly)) {
        Rebuilt::Missing { found, positions } => {
            assert_eq!(positions, [2]);
            assert_eq!(
                found.iter().map(Option::is_some).collect::<Vec<_>>(),
                [true, true, false, true]
            );
        }
        Rebuilt::Block(_) => panic!("one was missing"),
    }
    let junk = chain.chain.rebuild(whole.header, partly.transactions[0].clone(), &ids(&whole)[..1]);
    assert!(matches!(junk, Rebuilt::Missing { positions, .. } if positions == [1]));
}

#[test]
fn an_unknown_parent_is_nobodys_fault() {
    let network = network();
    let mut chain = TestChain::new();
    let coin = OutPoint { txid: TxId([1; 32]), index: 0 };
    let orphan = signed(
        &network.id,
        &[(&key(1), coin)],
        vec![TxOutput { value: Amount::from_units(1), owner: owner(&key(1)) }],
        b"",
    );
    let error = chain.trade(&orphan, PEER).expect_err("refused");
    assert!(matches!(error, AcceptTradeError::Transaction { .. }));
    assert_eq!((error.code(), error.blame()), ("missing_coin", Blame::Nobody));
}
