//! Tests of branches: the most work wins, a reorg takes all blocks or none, and can be reversed.

use crate::{
    chain::{
        AcceptTradeError, BlockAccepted, ChainEvent, Origin, TxState,
        testing::{
            Branch, PEER, TestChain, coin_of, genesis_coin, key, network, note, owner, pay, signed,
        },
    },
    consensus::{SUBSIDY, wins_tie},
    primitives::{Amount, Block, Transaction, TxOutput},
};

#[test]
fn the_branch_with_more_work_wins_and_is_told_whole() {
    let mut chain = TestChain::new();
    let mut ours = Branch::new(&network(), 0);
    let mut theirs = ours.fork(1);
    let (old, new) = (ours.extend(2), theirs.extend(3));
    chain.connect(&old);
    chain.events();
    assert!(chain.block(&new[0]).is_ok());
    chain.block(&new[1]).expect("an equal branch");
    assert_eq!(chain.block(&new[2]), Ok(BlockAccepted::Connected));
    assert_eq!(chain.tip(), new[2].hash());

    let (mut here, mut height) = (vec![old[0].hash(), old[1].hash()], 2);
    for event in chain.events() {
        if let ChainEvent::TipChanged { tip, disconnected, connected, .. } = event {
            for left in disconnected {
                assert_eq!(here.pop(), Some(left), "newest first");
            }
            here.extend(connected.iter().map(|(hash, _)| *hash));
            assert_eq!(here.last(), Some(&tip.hash));
            height = tip.height;
        }
    }
    assert_eq!((here, height), (new.iter().map(Block::hash).collect(), 3));
}

#[test]
fn between_equals_the_draw_decides_whatever_came_first() {
    let a = Branch::new(&network(), 0).next(&[]);
    let b = Branch::new(&network(), 1).next(&[]);
    let winner = if wins_tie(&a.hash(), &b.hash()) { a.hash() } else { b.hash() };
    for order in [[&a, &b], [&b, &a]] {
        let mut chain = TestChain::new();
        for block in order {
            chain.block(block).expect("a good block");
        }
        assert_eq!(chain.tip(), winner);
        assert_eq!(chain.chain.best_header().hash, winner);
    }
}

#[test]
fn a_better_branch_that_proves_invalid_changes_nothing() {
    let network = network();
    let mut chain = TestChain::new();
    let mut ours = Branch::new(&network, 0);
    let mut theirs = ours.fork(1);
    let trade = pay(&network, &key(1), genesis_coin(&network), &[(owner(&key(2)), 10_000_000_000)]);
    chain.connect(&[ours.next(&[trade]), ours.next(&[]), ours.next(&[])]);
    let before = (chain.tip(), chain.hash());

    let good = theirs.extend(2);
    let bad = theirs.draft(&[], Amount::from_units(SUBSIDY.units() + 1));
    theirs.push(&bad);
    let last = theirs.next(&[]);
    chain.block(&good[0]).expect("stored");
    chain.block(&good[1]).expect("stored");
    // With equal work: if it wins the draw, the fault is found at once.
    let outcome = chain.block(&bad);
    let error = match outcome {
        Ok(BlockAccepted::SideBranch) => chain.block(&last).expect_err("invalid"),
        other => other.expect_err("invalid"),
    };
    assert!(matches!(error.code(), "invalid_branch" | "coinbase_value"), "{error}");
    assert_eq!((chain.tip(), chain.hash()), before);
    assert_eq!(chain.chain.best_header().hash, before.0);
    assert_eq!(chain.supply(), Amount::from_coins(400));

    let mut chain = chain.reopen();
    assert_eq!((chain.tip(), chain.hash()), before);
    chain.connect(&[ours.next(&[])]);
}

#[test]
fn what_a_reorganisation_drops_waits_again_and_is_mined_again() {
    let network = network();
    let mut chain = TestChain::new();
    let ours = Branch::new(&network, 0);
    let mut theirs = ours.fork(1);
    let trade = pay(&network, &key(1), genesis_coin(&network), &[(owner(&key(2)), 10_000_000_000)]);
    let child = pay(&network, &key(2), coin_of(&trade, 0), &[(owner(&key(3)), 10_000_000_000)]);
    let stamp = note(&network.id, &key(5), 7, b"hello");
    chain.trade(&trade, Origin::Local).expect("good");
    chain.trade(&stamp, Origin::Local).expect("good");
    chain.mine(owner(&key(9)));
    chain.trade(&child, Origin::Local).expect("good");
    assert_eq!(chain.balance(owner(&key(2))), Amount::from_coins(100));

    for block in theirs.extend(2) {
        chain.block(&block).expect("good");
    }
    assert_eq!(chain.chain.tip().height, 2);
    assert_eq!(chain.balance(owner(&key(2))), Amount::ZERO);
    let waiting: Vec<_> =
        chain.chain.mempool().iter().map(|entry| (entry.txid, entry.local)).collect();
    assert_eq!(waiting.len(), 3);
    assert!(waiting.iter().all(|(_, local)| *local));

    chain.chain.commit().expect("a commit");
    let mut chain = chain.reopen();
    assert_eq!(chain.chain.mempool().len(), 3, "in an order that can be taken up again");
    chain.mine(owner(&key(9)));
    assert_eq!(chain.chain.mempool().len(), 0);
    assert_eq!(chain.balance(owner(&key(3))), Amount::from_coins(100));
    assert_eq!(chain.supply(), Amount::from_coins(400));
}

#[test]
fn an_own_trade_whose_coin_was_gone_once_stays_void_and_is_sent_again_by_its_user_alone() {
    let network = network();
    let mut chain = TestChain::new();
    let base = Branch::new(&network, 0);
    let coin = genesis_coin(&network);
    let own = pay(&network, &key(1), coin, &[(owner(&key(2)), 10_000_000_000)]);
    let child = pay(&network, &key(2), coin_of(&own, 0), &[(owner(&key(4)), 10_000_000_000)]);
    chain.trade(&own, Origin::Local).expect("good");
    chain.trade(&child, Origin::Local).expect("good");
    chain.events();

    // The rival also spends a reward of its own branch, so it cannot return to the mempool on
    // another.
    let mut theirs = base.fork(1);
    let first = theirs.next(&[]);
    let reward = coin_of(&first.transactions[0], 0);
    let outputs = vec![TxOutput { value: Amount::from_coins(200), owner: owner(&key(3)) }];
    let rival = signed(&network.id, &[(&key(1), coin), (&key(1), reward)], outputs, b"");
    chain.connect(&[first, theirs.next(&[rival])]);
    let void = |chain: &mut TestChain, txid| match chain
        .chain
        .transaction(txid)
        .expect("a disk")
        .expect("known")
        .state
    {
        TxState::Void { reason } => reason,
        other => panic!("{other:?}"),
    };
    assert!(void(&mut chain, own.txid()).contains("was spent by"));
    assert!(void(&mut chain, child.txid()).contains("rests on"));
    let voids = chain
        .events()
        .into_iter()
        .filter(|event| matches!(event, ChainEvent::TradeVoid { .. }))
        .count();
    assert_eq!(voids, 2);
    let mut chain = chain.reopen();
    assert!(void(&mut chain, own.txid()).contains("was spent by"), "also after a restart");

    // A third branch, on which both would be valid again.
    let mut others = base.fork(2);
    for block in others.extend(3) {
        chain.block(&block).expect("good");
    }
    assert_eq!(chain.chain.tip().height, 3);
    assert_eq!(chain.chain.mempool(), vec![], "void is final");
    let error = chain.trade(&own, PEER).expect_err("a peer does not bring it back");
    assert_eq!(error, AcceptTradeError::Void { txid: own.txid() });
    assert_eq!(chain.chain.unknown_trades(vec![own.txid()]), Ok(vec![]), "nor is it asked for");
    assert!(void(&mut chain, own.txid()).contains("was spent by"));
    chain.trade(&own, Origin::Local).expect("sent again");
    let mempool = chain.chain.mempool();
    assert!(mempool.iter().any(|entry| entry.txid == own.txid() && entry.local), "{mempool:?}");
    chain.mine(owner(&key(9)));
    let state = chain.chain.transaction(own.txid()).expect("a disk").expect("known").state;
    assert!(matches!(state, TxState::Mined { height: 4, .. }));
    assert!(void(&mut chain, child.txid()).contains("rests on"));
    assert_eq!(chain.supply(), Amount::from_coins(500));
}

#[test]
fn a_void_trade_that_somebody_else_mines_is_mined_and_void_again_when_its_block_leaves() {
    let network = network();
    let mut chain = TestChain::new();
    let coin = genesis_coin(&network);
    let slow = pay(&network, &key(1), coin, &[(owner(&key(2)), 10_000_000_000)]);
    let fast = pay(&network, &key(1), coin, &[(owner(&key(3)), 9_999_000_000)]);
    chain.trade(&slow, Origin::Local).expect("good");
    chain.trade(&fast, Origin::Local).expect("it pays more");
    chain.events();
    let base = Branch::new(&network, 0);
    let block = base.fork(1).next(std::slice::from_ref(&slow));
    chain.connect(std::slice::from_ref(&block));
    let told = chain.events();
    let is_told = |event: &ChainEvent| match event {
        ChainEvent::VoidMined { txid, height, .. } => (*txid, *height) == (slow.txid(), 1),
        _ => false,
    };
    assert!(told.iter().any(is_told), "{told:?}");
    let state = |chain: &mut TestChain, trade: &Transaction| {
        chain.chain.transaction(trade.txid()).expect("a disk").expect("known").state
    };
    assert!(matches!(state(&mut chain, &slow), TxState::Mined { height: 1, .. }));
    assert!(matches!(state(&mut chain, &fast), TxState::Void { .. }));

    for block in base.fork(2).extend(2) {
        chain.block(&block).expect("good");
    }
    assert!(matches!(state(&mut chain, &slow), TxState::Void { .. }));
    assert!(matches!(state(&mut chain, &fast), TxState::Void { .. }));
    assert_eq!(chain.chain.mempool(), vec![]);
    let audit = chain.chain.verify(&mut |_, _| true).expect("a disk");
    assert!(audit.ok, "{:?}", audit.problem);
}

#[test]
fn a_trade_that_rests_on_a_lost_reward_is_void() {
    let network = network();
    let mut chain = TestChain::new();
    let base = Branch::new(&network, 0);
    let mut ours = base.fork(1);
    let block = ours.next(&[]);
    chain.connect(std::slice::from_ref(&block));
    let reward = coin_of(&block.transactions[0], 0);
    let trade = signed(
        &network.id,
        &[(&key(1), reward)],
        vec![TxOutput { value: SUBSIDY, owner: owner(&key(2)) }],
        b"young money",
    );
    chain.trade(&trade, Origin::Local).expect("good");
    for block in base.fork(2).extend(2) {
        chain.block(&block).expect("good");
    }
    let state = chain.chain.transaction(trade.txid()).expect("a disk").expect("known").state;
    assert!(
        matches!(&state, TxState::Void { reason } if reason.contains("not on the best chain")),
        "{state:?}"
    );
    assert_eq!(chain.chain.mempool(), vec![]);
}

#[test]
fn of_three_equals_one_stays_and_tip_and_best_header_agree() {
    let blocks: Vec<Block> = (0..40).map(|salt| Branch::new(&network(), salt).next(&[])).collect();
    let wins = |a: usize, b: usize| wins_tie(&blocks[a].hash(), &blocks[b].hash());
    let mut circles =
        (0..40).flat_map(|a| (0..a).flat_map(move |b| (0..b).map(move |c| [a, b, c])));
    let circle =
        circles.find(|[a, b, c]| wins(*a, *b) == wins(*b, *c) && wins(*b, *c) == wins(*c, *a));
    let circle = circle.expect("a circle among forty");
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let mut chain = TestChain::new();
        let headers: Vec<_> = order.iter().map(|at| blocks[circle[*at]].header).collect();
        for header in &headers {
            chain.chain.accept_headers(&[*header], PEER, chain.now).expect("good");
        }
        for at in order.iter().rev() {
            chain.block(&blocks[circle[*at]]).expect("good");
        }
        let tip = chain.tip();
        assert_eq!(chain.chain.best_header().hash, tip);
        for at in order {
            chain.block(&blocks[circle[at]]).expect("known");
            assert_eq!(chain.tip(), tip, "nothing goes in circles");
        }
        chain.chain.commit().expect("a commit");
        let chain = chain.reopen();
        assert_eq!((chain.tip(), chain.chain.best_header().hash), (tip, tip));
    }
}
