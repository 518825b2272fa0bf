//! Tests of single blocks and headers: which connect, which wait, and which error rejects the rest.

use crate::{
    chain::{
        AcceptHeadersError, Blame, BlockAccepted, Origin,
        header_tree::MAX_SIDE_BYTES,
        orphans::MAX_EARLY_HEADERS,
        testing::{
            Branch, NOW, PEER, TestChain, coin_of, genesis_coin, key, network, note, owner, pay,
            seal, signed,
        },
    },
    consensus::{HeaderError, SUBSIDY},
    primitives::{
        Amount, Block, BlockHash, Encode, MerkleRoot, OutPoint, Transaction, TxId, coinbase_memo,
    },
};

/// Returns the code and the blame of the error that rejects a block. A rejected block changes
/// nothing.
fn refusal(chain: &mut TestChain, block: &Block) -> (&'static str, Blame) {
    let (tip, hash) = (chain.tip(), chain.hash());
    let error = chain.block(block).expect_err("a refusal");
    assert_eq!((chain.tip(), chain.hash()), (tip, hash), "{error}");
    (error.code(), error.blame())
}

#[test]
fn a_block_connects_and_pays_its_miner() {
    let mut chain = TestChain::new();
    let mut branch = Branch::new(&network(), 0);
    chain.connect(&branch.extend(3));
    assert_eq!(chain.chain.tip().height, 3);
    assert_eq!(chain.balance(owner(&key(1))), Amount::from_coins(400));
    assert_eq!(chain.supply(), Amount::from_coins(400));
    assert_eq!(chain.block(&branch.next(&[])), Ok(BlockAccepted::Connected));
}

#[test]
fn a_block_that_is_here_is_known() {
    let mut chain = TestChain::new();
    let block = Branch::new(&network(), 0).next(&[]);
    chain.connect(std::slice::from_ref(&block));
    assert_eq!(chain.block(&block), Ok(BlockAccepted::Known));
    assert_eq!(chain.block(&network().genesis), Ok(BlockAccepted::Known));
}

#[test]
fn connecting_and_reorganising_away_leaves_the_coins_as_they_were() {
    let network = network();
    let mut branch = Branch::new(&network, 0);
    let mut plain = TestChain::new();
    let mut rich = TestChain::new();
    let base = branch.extend(2);
    plain.connect(&base);
    rich.connect(&base);

    let mut other = branch.fork(1);
    let trade = pay(
        &network,
        &key(1),
        genesis_coin(&network),
        &[(owner(&key(2)), 6_000_000_000), (owner(&key(3)), 1)],
    );
    let child = pay(&network, &key(2), coin_of(&trade, 0), &[(owner(&key(4)), 6_000_000_000)]);
    let stamp = note(&network.id, &key(5), 7, b"hello");
    let side =
        other.draft(&[trade, child, stamp], Amount::from_units(SUBSIDY.units() + 3_999_999_999));
    other.push(&side);
    rich.connect(&[side]);
    assert_ne!(plain.hash(), rich.hash());

    let main = branch.extend(2);
    plain.connect(&main);
    assert_eq!(rich.block(&main[0]).map(|_| ()), Ok(()));
    assert_eq!(rich.block(&main[1]), Ok(BlockAccepted::Connected));
    assert_eq!(plain.hash(), rich.hash());
    assert_eq!(rich.supply(), Amount::from_coins(500));
}

#[test]
fn every_broken_rule_about_coins_has_its_name() {
    let network = network();
    let coin = genesis_coin(&network);
    let (mine, theirs) = (owner(&key(1)), owner(&key(2)));
    let good = pay(&network, &key(1), coin, &[(theirs, 10_000_000_000)]);
    let twice = pay(&network, &key(1), coin, &[(mine, 10_000_000_000)]);
    let theft = pay(&network, &key(2), coin, &[(theirs, 10_000_000_000)]);
    let inflation = pay(&network, &key(1), coin, &[(theirs, 10_000_000_001)]);
    let double =
        signed(&network.id, &[(&key(1), coin), (&key(1), coin)], good.outputs.clone(), b"");
    let mut forged = good.clone();
    forged.inputs[0].signature = twice.inputs[0].signature;
    let nowhere = pay(&network, &key(1), OutPoint { txid: TxId([3; 32]), index: 0 }, &[(mine, 1)]);
    let (first, again) = (note(&network.id, &key(5), 7, b"a"), note(&network.id, &key(5), 7, b"b"));
    let child = pay(&network, &key(2), coin_of(&good, 0), &[(mine, 10_000_000_000)]);
    let cases: [(&[Transaction], &str); 9] = [
        (&[good.clone(), twice], "missing_coin"),
        (&[theft], "missing_coin"),
        (&[inflation], "overspent"),
        (&[double], "duplicate_input"),
        (&[forged], "bad_signature"),
        (&[nowhere], "missing_coin"),
        (&[first, again], "stamp_used"),
        (&[child, good], "missing_coin"),
        (&[Transaction { inputs: vec![], outputs: vec![], memo: vec![] }], "stray_coinbase"),
    ];
    for (trades, code) in cases {
        let mut chain = TestChain::new();
        let block = Branch::new(&network, 0).draft(trades, SUBSIDY);
        assert_eq!(refusal(&mut chain, &block), (code, Blame::Peer));
        assert_eq!(
            refusal(&mut chain, &block),
            ("invalid_branch", Blame::Peer),
            "and it is remembered"
        );
    }
}

#[test]
fn every_broken_rule_about_the_coinbase_has_its_name() {
    let network = network();
    let branch = Branch::new(&network, 0);
    let greedy = branch.draft(&[], Amount::from_units(SUBSIDY.units() + 1));
    let mut wrong_height = branch.draft(&[], SUBSIDY);
    wrong_height.transactions[0].memo = coinbase_memo(2, b"");
    seal(&mut wrong_height);
    let mut headless = branch.draft(&[note(&network.id, &key(5), 7, b"a")], SUBSIDY);
    headless.transactions.remove(0);
    seal(&mut headless);
    let spent_at_once = {
        let coinbase = branch.draft(&[], SUBSIDY).transactions.remove(0);
        let trade =
            pay(&network, &key(1), coin_of(&coinbase, 0), &[(owner(&key(2)), 10_000_000_000)]);
        branch.draft(&[trade], SUBSIDY)
    };
    for (block, code) in [
        (greedy, "coinbase_value"),
        (wrong_height, "coinbase_height"),
        (headless, "not_a_coinbase"),
        (spent_at_once, "missing_coin"),
    ] {
        assert_eq!(refusal(&mut TestChain::new(), &block), (code, Blame::Peer));
    }
}

#[test]
fn every_broken_rule_about_the_header_has_its_name() {
    let branch = Branch::new(&network(), 0);
    let good = branch.draft(&[], SUBSIDY);
    let with = |change: fn(&mut Block)| {
        let mut block = good.clone();
        change(&mut block);
        block
    };
    let mut lazy = good.clone();
    while lazy.hash().0[0] == 0 {
        lazy.header.nonce += 1;
    }
    let mut high = good.clone();
    high.header.height = 2;
    seal(&mut high);
    for (block, code) in [
        (high, "header_wrong_height"),
        (with(|block| block.header.time = network().genesis.header.time), "header_time_too_old"),
        (with(|block| block.header.bits += 1), "header_wrong_bits"),
        (lazy, "header_not_enough_work"),
    ] {
        let mut chain = TestChain::new();
        assert_eq!(refusal(&mut chain, &block), (code, Blame::Peer));
        let error = chain.chain.accept_headers(&[block.header], PEER, NOW).expect_err("refused");
        assert_eq!((error.code(), error.blame()), (code, Blame::Peer));
    }
    let mut orphan = good;
    orphan.header.previous = BlockHash([7; 32]);
    seal(&mut orphan);
    let mut chain = TestChain::new();
    assert_eq!(refusal(&mut chain, &orphan), ("unknown_parent", Blame::Nobody));
    let error = chain.chain.accept_headers(&[orphan.header], PEER, NOW).expect_err("refused");
    assert_eq!((error.code(), error.blame()), ("unknown_parent", Blame::Nobody));
}

#[test]
fn a_wrong_body_does_not_condemn_its_header() {
    let mut chain = TestChain::new();
    let good = Branch::new(&network(), 0).next(&[]);
    let mut junk = good.clone();
    junk.transactions[0].memo.push(1);
    assert_eq!(refusal(&mut chain, &junk), ("wrong_merkle_root", Blame::Peer));
    assert_eq!(chain.block(&good), Ok(BlockAccepted::Connected));
}

#[test]
fn a_broken_body_that_fits_condemns_header_and_descendants() {
    let mut chain = TestChain::new();
    let mut branch = Branch::new(&network(), 0);
    let bad = branch.draft(&[], Amount::from_units(SUBSIDY.units() + 1));
    branch.push(&bad);
    let above = branch.extend(2);
    let headers: Vec<_> = std::iter::once(&bad).chain(&above).map(|block| block.header).collect();
    let accepted = chain.chain.accept_headers(&headers, PEER, NOW).expect("good headers");
    assert_eq!((accepted.new, accepted.best_header.height), (3, 3));

    assert_eq!(refusal(&mut chain, &bad).0, "coinbase_value");
    assert_eq!(chain.chain.best_header(), chain.chain.tip());
    assert_eq!(refusal(&mut chain, &above[0]).0, "invalid_branch");
    let error = chain.chain.accept_headers(&[above[1].header], PEER, NOW);
    assert!(matches!(error, Err(AcceptHeadersError::InvalidBranch { .. })));
    let next = branch.next(&[]);
    let error = chain.chain.accept_headers(&[next.header], PEER, NOW);
    assert!(matches!(error, Err(AcceptHeadersError::InvalidBranch { .. })));

    let mut chain = chain.reopen();
    assert!(
        chain.chain.accept_headers(&[above[0].header], PEER, NOW).is_err(),
        "not forgotten in a restart"
    );
}

#[test]
fn bodies_that_come_before_their_parents_wait_for_them() {
    let mut chain = TestChain::new();
    let mut branch = Branch::new(&network(), 0);
    let blocks = branch.extend(5);
    let headers: Vec<_> = blocks.iter().map(|block| block.header).collect();
    chain.chain.accept_headers(&headers, PEER, NOW).expect("good headers");
    for block in blocks[1..].iter().rev() {
        assert_eq!(chain.block(block), Ok(BlockAccepted::Waiting));
        assert_eq!(chain.block(block), Ok(BlockAccepted::Waiting));
    }
    assert_eq!(chain.chain.tip().height, 0);
    assert_eq!(chain.block(&blocks[0]), Ok(BlockAccepted::Connected));
    assert_eq!(chain.tip(), blocks[4].hash());
}

#[test]
fn a_waiting_body_above_a_broken_one_falls_with_it() {
    let mut chain = TestChain::new();
    let mut branch = Branch::new(&network(), 0);
    let bad = branch.draft(&[], Amount::from_units(SUBSIDY.units() + 1));
    branch.push(&bad);
    let above = branch.next(&[]);
    chain.chain.accept_headers(&[bad.header, above.header], PEER, NOW).expect("good headers");
    assert_eq!(chain.block(&above), Ok(BlockAccepted::Waiting));
    assert!(chain.chain.orphans.contains(&above.hash()));
    assert_eq!(refusal(&mut chain, &bad).0, "coinbase_value");
    assert_eq!(chain.chain.tip().height, 0);
    assert!(!chain.chain.orphans.contains(&above.hash()));
}

#[test]
fn a_body_on_a_branch_with_far_less_work_is_not_kept() {
    let mut chain = TestChain::new();
    let mut branch = Branch::new(&network(), 0);
    let mut side = branch.fork(1).extend(2);
    let shared = branch.extend(2);
    let late = branch.fork(1).extend(2);
    chain.connect(&shared);
    chain.connect(&branch.extend(145));
    side.extend(late);
    for (block, code) in side[..2].iter().zip(["too_little_work", "unknown_parent"]) {
        assert_eq!(refusal(&mut chain, block), (code, Blame::Nobody));
        let headers = chain.chain.accept_headers(&[block.header], PEER, NOW);
        assert_eq!(headers.map_err(|error| error.code()), Err(code));
    }
    assert_eq!(chain.block(&side[3]).map_err(|error| error.code()), Err("unknown_parent"));
    assert_eq!(chain.block(&side[2]), Ok(BlockAccepted::SideBranch));
    assert_eq!(chain.block(&side[3]), Ok(BlockAccepted::SideBranch));
}

#[test]
fn of_too_many_bodies_beside_the_best_chain_those_with_the_least_work_go() {
    let mut chain = TestChain::new();
    let mut ours = Branch::new(&network(), 0);
    let mut theirs = ours.fork(1);
    let low = ours.fork(2).extend(4);
    chain.connect(&ours.extend(9));
    let theirs = theirs.extend(8);
    for block in low.iter().chain(&theirs[..7]) {
        assert_eq!(chain.block(block), Ok(BlockAccepted::SideBranch));
    }
    let counted = chain.chain.side_bodies.bytes;
    chain.chain.commit().expect("a commit");
    // A restart counts them again.
    let mut chain = chain.reopen();
    assert_eq!(chain.chain.side_bodies.max_bytes, MAX_SIDE_BYTES);
    chain.chain.side_bodies.max_bytes = counted;
    let stored = |chain: &TestChain, block: &Block| {
        chain
            .chain
            .tree
            .id(&block.hash())
            .is_some_and(|id| chain.chain.tree.node(id).status.has_body())
    };
    assert_eq!(
        chain.block(&theirs[7]),
        Ok(BlockAccepted::SideBranch),
        "the most work of all beside"
    );
    // Deletion stops at three quarters of the limit, which are 8 of 11 blocks.
    assert!(
        low.iter().all(|block| !stored(&chain, block))
            && theirs.iter().all(|block| stored(&chain, block))
    );
    chain.supply();
}

#[test]
fn what_is_ahead_of_our_clock_is_held_until_it_is_due() {
    let block = Branch::new(&network(), 0).next(&[]);
    let limit = network().params.future_limit_ms();
    let early = block.header.time - limit - 1;
    for (header_came, block_came) in [
        (true, None),
        (false, Some(PEER)),
        (false, Some(Origin::Local)),
        (true, Some(Origin::Local)),
    ] {
        let mut chain = TestChain::new();
        chain.now = early;
        for _ in 0..2 {
            if header_came {
                let error = chain
                    .chain
                    .accept_headers(&[block.header], PEER, early)
                    .expect_err("too early");
                assert_eq!((error.code(), error.blame()), ("header_too_far_ahead", Blame::Nobody));
                assert!(matches!(
                    error,
                    AcceptHeadersError::Header { error: HeaderError::TooFarAhead { .. }, .. }
                ));
            }
            if let Some(origin) = block_came {
                let answer = chain
                    .chain
                    .accept_block(block.clone(), origin, early)
                    .map_err(|error| error.code());
                let is_ours = origin == Origin::Local;
                assert_eq!(
                    answer,
                    if is_ours { Ok(BlockAccepted::Waiting) } else { Err("header_too_far_ahead") }
                );
            }
            assert_eq!(chain.chain.next_due(), Some(early + 1));
        }
        chain.chain.due(early).expect("a disk");
        assert_eq!(chain.chain.best_header().height, 0);
        chain.chain.due(early + 1).expect("a disk");
        assert_eq!(chain.chain.best_header().hash, block.hash());
        assert_eq!(chain.tip() == block.hash(), block_came == Some(Origin::Local));
        assert_eq!(chain.chain.next_due(), None);
    }
}

#[test]
fn of_too_much_that_is_ahead_of_our_clock_the_last_due_gives_way() {
    let mut chain = TestChain::new();
    let first = Branch::new(&network(), 0).draft(&[], SUBSIDY);
    let delayed = |ms: usize| {
        let mut block = first.clone();
        block.header.time += u64::try_from(ms).expect("small");
        seal(&mut block);
        block.header
    };
    let headers: Vec<_> = (0..=MAX_EARLY_HEADERS).map(delayed).collect();
    let early = first.header.time - network().params.future_limit_ms() - 1;
    for number in 0..headers.len() {
        // In no particular order.
        let header = headers[number * 37 % headers.len()];
        chain.chain.accept_headers(&[header], PEER, early).expect_err("too early");
    }
    chain.chain.due(early + 1 + u64::try_from(MAX_EARLY_HEADERS).expect("small")).expect("a disk");
    let (last, others) = headers.split_last().expect("some");
    assert!(others.iter().all(|header| chain.chain.tree.id(&header.hash()).is_some()));
    assert!(chain.chain.tree.id(&last.hash()).is_none());
}

#[test]
fn what_is_committed_survives_and_what_is_not_is_fetched_again() {
    let mut chain = TestChain::new();
    let mut branch = Branch::new(&network(), 0);
    let blocks = branch.extend(6);
    chain.connect(&blocks[..3]);
    chain.chain.commit().expect("a commit");
    chain.connect(&blocks[3..]);
    let mut chain = chain.reopen();
    assert_eq!(chain.chain.tip().height, 3);
    assert_eq!(chain.balance(owner(&key(1))), Amount::from_coins(400));
    chain.connect(&blocks[3..]);
    assert_eq!(chain.supply(), Amount::from_coins(700));
}

#[test]
fn headers_are_kept_up_to_the_first_bad_one() {
    let mut chain = TestChain::new();
    let mut branch = Branch::new(&network(), 0);
    let mut headers: Vec<_> = branch.extend(4).iter().map(|block| block.header).collect();
    headers[3].merkle_root = MerkleRoot([1; 32]);
    headers[3].height = 9;
    assert!(chain.chain.accept_headers(&headers, PEER, NOW).is_err());
    assert_eq!(chain.chain.best_header().hash, headers[2].hash());
}

#[test]
fn readers_see_what_is_committed_and_no_more() {
    let mut chain = TestChain::new();
    let reader = chain.chain.reader();
    let mut branch = Branch::new(&network(), 0);
    let blocks = branch.extend(40);
    let headers: Vec<_> = blocks.iter().map(|block| block.header).collect();
    chain.chain.accept_headers(&headers, PEER, NOW).expect("good headers");
    assert_eq!(reader.locator(), vec![network().id]);
    chain.chain.commit().expect("a commit");
    let missing = chain.chain.missing_bodies(2);
    assert_eq!(missing, vec![(blocks[0].hash(), 1), (blocks[1].hash(), 2)]);
    assert_eq!(reader.headers_after(&[], 0, 9), vec![]);
    chain.connect(&blocks[..30]);
    chain.chain.commit().expect("a commit");
    assert_eq!(chain.chain.missing_bodies(1), vec![(blocks[30].hash(), 31)]);

    let locator = reader.locator();
    assert_eq!(locator.first(), Some(&blocks[39].hash()));
    assert_eq!(locator[9], blocks[30].hash());
    assert_eq!(locator.last(), Some(&network().id));
    assert!(locator.len() < 16);

    assert_eq!(reader.headers_after(&[], 0, 100), headers[..30]);
    assert_eq!(
        reader.headers_after(&[blocks[35].hash(), blocks[4].hash(), network().id], 0, 3),
        headers[5..8]
    );
    assert_eq!(reader.header(&blocks[2].hash()), Some((headers[2], true)));
    assert_eq!(reader.header(&blocks[35].hash()), Some((headers[35], false)));
    let info = reader.block(&blocks[2].hash()).expect("a block");
    assert_eq!(
        (info.hash, info.tip_height, info.fees.as_slice()),
        (blocks[2].hash(), 30, &[Amount::ZERO][..])
    );
    assert_eq!(reader.block_at(3), Some(info));
    assert_eq!(reader.block_at(31), None);
    assert_eq!(reader.block_bytes(&blocks[2].hash()), Some(blocks[2].to_bytes()));
    assert_eq!(reader.checkpoint().map(|checkpoint| checkpoint.height), Some(0));
    drop(chain);
    assert_eq!(reader.block_at(3), None, "a reader does not keep the file open");
}

#[test]
fn fees_are_told_with_the_block() {
    let network = network();
    let mut chain = TestChain::new();
    let trade = pay(&network, &key(1), genesis_coin(&network), &[(owner(&key(2)), 9_999_999_990)]);
    chain.trade(&trade, Origin::Local).expect("a good trade");
    let block = chain.mine(owner(&key(3)));
    assert_eq!(chain.balance(owner(&key(3))), Amount::from_units(SUBSIDY.units() + 10));
    let info = chain.chain.reader().block(&block.hash()).expect("a block");
    assert_eq!(info.fees, vec![Amount::ZERO, Amount::from_units(10)]);
}

#[test]
fn a_reindex_leads_to_the_same_coins() {
    let network = network();
    let mut chain = TestChain::new();
    let mut branch = Branch::new(&network, 0);
    chain.connect(&branch.extend(3));
    let trade = pay(&network, &key(1), genesis_coin(&network), &[(owner(&key(2)), 10_000_000_000)]);
    let waits = pay(&network, &key(2), coin_of(&trade, 0), &[(owner(&key(3)), 10_000_000_000)]);
    chain.connect(&[branch.next(&[trade])]);
    chain.trade(&waits, Origin::Local).expect("a good trade");
    let side = branch.fork(1).next(&[]);
    chain.connect(&branch.extend(2));
    chain.block(&side).expect("a side block");
    let before = (chain.hash(), chain.tip());
    let mut seen = Vec::new();
    let audit = chain.chain.reindex(NOW, &mut |done, goal| {
        seen.push((done, goal));
        true
    });
    let audit = audit.expect("a disk");
    assert!(audit.ok, "{:?}", audit.problem);
    assert_eq!((chain.hash(), chain.tip()), before);
    assert_eq!(seen.last(), Some(&(6, 6)));
    assert_eq!(chain.supply(), Amount::from_coins(700));
    assert_eq!(chain.chain.mempool().len(), 1);
    assert_eq!(chain.chain.reader().block_at(6).map(|info| info.hash), Some(before.1));
}

#[test]
fn an_audit_finds_a_coin_that_should_not_be() {
    let mut chain = TestChain::new();
    chain.connect(&Branch::new(&network(), 0).extend(2));
    let key = crate::consensus::CoinKey {
        owner: owner(&key(1)),
        outpoint: OutPoint { txid: TxId([1; 32]), index: 0 },
    };
    let coin = crate::consensus::Coin { value: Amount::from_coins(1), height: 1, coinbase: false };
    crate::chain::coins::Coins::set_coin(&mut chain.chain.overlay, key, Some(coin));
    let audit = chain.chain.verify(&mut |_, _| true).expect("a disk");
    assert!(!audit.ok && audit.problem.is_some_and(|problem| problem.contains("is stored")));
    let mended = chain.chain.reindex(NOW, &mut |_, _| true).expect("a disk");
    assert!(!mended.ok);
    assert_eq!(chain.supply(), Amount::from_coins(300));
}

#[test]
fn a_damaged_stored_block_is_fetched_again_and_nobody_is_blamed() {
    let network = network();
    let mut chain = TestChain::new();
    let mut branch = Branch::new(&network, 0);
    let blocks = branch.extend(6);
    chain.connect(&blocks);
    let before = (chain.hash(), chain.tip());
    let mut damaged = blocks[3].clone();
    damaged.transactions[0].memo.push(0);
    let id = chain.chain.tree.id(&blocks[3].hash()).expect("a node");
    let key = chain.chain.tree.node(id).key();
    chain.chain.overlay.put_block(key, &damaged);
    chain.chain.commit().expect("a commit");

    let audit = chain.chain.reindex(NOW, &mut |_, _| true).expect("a disk");
    assert!(!audit.ok);
    assert_eq!((audit.height, chain.chain.best_header().hash), (3, before.1));
    let missing: Vec<_> =
        chain.chain.missing_bodies(10).into_iter().map(|(hash, _)| hash).collect();
    assert_eq!(missing, blocks[3..].iter().map(Block::hash).collect::<Vec<_>>());

    chain.connect(&blocks[3..]);
    assert_eq!((chain.hash(), chain.tip()), before);
}
