//! Tests properties of every history: undoing is exact, and neither the settings of a chain nor the
//! order of blocks changes the result.

use std::{collections::HashMap, sync::Arc};

use super::{History, Luck, ledger::Model, play::Keeping};
use crate::{
    chain::{
        Chain, ChainOptions,
        coins::{self, Body},
        store::Store,
        testing::{Branch, Disk, NOW, PEER, TestChain, key, network, note, seal},
    },
    consensus::{Coin, CoinKey, SUBSIDY, testing::crafted},
    primitives::{Block, BlockHash, Header, UnixMillis},
};

/// A time after every block that these histories make, on any branch.
const LATER: UnixMillis = NOW + 1_000_000_000;

fn histories() -> impl Iterator<Item = History> {
    let all = std::env::var("FRIENDCHAIN_HISTORIES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(200_u64);
    (1_000_000..1_000_000 + (all / 20).max(10)).map(History::new)
}

const PLAIN: Keeping = Keeping { threads: 1, cache_mib: 16, commit_always: false, crashes: false };

#[test]
fn verdicts_and_tips_do_not_depend_on_threads_cache_or_commits() {
    for history in histories() {
        let plain =
            history.play(PLAIN).unwrap_or_else(|(_, difference)| panic!("{history}: {difference}"));
        for keeping in [
            Keeping { threads: 2, cache_mib: 1, ..PLAIN },
            Keeping { threads: 4, cache_mib: 128, commit_always: true, ..PLAIN },
        ] {
            let other = history
                .play(keeping)
                .unwrap_or_else(|(_, difference)| panic!("{history}: {difference}"));
            assert_eq!(plain.transcript, other.transcript, "history {history} with {keeping:?}");
        }
    }
}

/// Returns the blocks of a history, the hashes of the valid ones, and a model that received all of
/// them. `None` if one of them is cheap: the order of arrival decides whether it is kept.
fn blocks_of(history: &History) -> Option<(Vec<Arc<Block>>, Vec<BlockHash>, Model)> {
    let report =
        history.play(PLAIN).unwrap_or_else(|(_, difference)| panic!("{history}: {difference}"));
    let mut blocks = report.blocks;
    blocks.sort_by_key(|block| block.header.height);
    let mut model = Model::new(&history.network());
    for block in &blocks {
        model.accept_block(block, false, LATER);
    }
    let valid =
        blocks.iter().map(|block| block.hash()).filter(|hash| model.is_valid(hash)).collect();
    let is_cheap = |block: &Arc<Block>| {
        let header = &block.header;
        header.height > 0 && model.knows(&header.previous) && model.is_cheap(header)
    };
    let any_cheap = blocks.iter().any(is_cheap);
    (!any_cheap).then_some((blocks, valid, model))
}

#[test]
fn the_order_in_which_blocks_come_does_not_matter() {
    let mut played = 0;
    for history in histories() {
        let Some((blocks, valid, model)) = blocks_of(&history) else { continue };
        played += 1;
        let network = history.network();
        let mut hashes = Vec::new();
        for order in 0..4 {
            let mut luck = Luck(order);
            let mut chain = TestChain::of(&network);
            chain.now = LATER;
            let mut shuffled = blocks.clone();
            match order {
                0 => {}
                1 => shuffled.reverse(),
                _ => luck.shuffle(&mut shuffled),
            }
            if order != 2 {
                let headers: Vec<Header> = blocks.iter().map(|block| block.header).collect();
                // One by one, since a bad header ends a batch.
                for header in &headers {
                    let _ = chain.chain.accept_headers(&[*header], PEER, LATER);
                }
            }
            // Without headers, a block with an unknown parent must arrive again.
            for _ in 0..=blocks.last().map_or(0, |block| block.header.height) {
                for block in &shuffled {
                    let _ = chain.block(block);
                }
                if order != 2 {
                    break;
                }
            }
            let tip = chain.tip();
            assert!(model.is_best_valid(&tip), "history {history}, order {order}: {tip}");
            let known = |hash: &&BlockHash| {
                let block = blocks.iter().find(|block| block.hash() == **hash).expect("made");
                let verdict = chain.chain.accept_block(Block::clone(block), PEER, LATER);
                verdict != Ok(crate::chain::BlockAccepted::Known)
            };
            assert_eq!(
                valid.iter().find(known),
                None,
                "history {history}, order {order}: a good block is not taken"
            );
            hashes.push((tip, chain.hash()));
        }
        // The draw may form a circle of three equals, and any of them may be the tip.
        let same = |a: &(BlockHash, [u8; 32]), b: &(BlockHash, [u8; 32])| a.0 != b.0 || a.1 == b.1;
        assert!(hashes.windows(2).all(|pair| same(&pair[0], &pair[1])), "history {history}");
    }
    assert!(played > 5, "only {played} histories have no cheap block");
}

#[test]
fn disconnecting_undoes_connecting_exactly_over_random_blocks() {
    let mut undone = 0;
    for history in histories() {
        let Some((blocks, _, model)) = blocks_of(&history) else { continue };
        let best = model.tip();
        let network = history.network();
        let by_hash: HashMap<_, _> = blocks.iter().map(|block| (block.hash(), block)).collect();
        let mut chain: Vec<_> =
            std::iter::successors(by_hash.get(&best), |block| by_hash.get(&block.header.previous))
                .collect();
        chain.reverse();
        let mut coins: HashMap<CoinKey, Coin> = HashMap::new();
        let mut states = Vec::new();
        for block in &chain {
            let body = Body::from_store(Block::clone(block));
            let before = coins.clone();
            let undo =
                coins::connect(&mut coins, &network, &body, 1, |_| false).expect("a good block");
            states.push((before, body, undo));
        }
        while let Some((before, body, undo)) = states.pop() {
            coins::disconnect(&mut coins, &body, &undo).expect("its own undo record");
            assert_eq!(coins, before, "history {history}, height {}", body.height());
            undone += body.block.transactions.len();
        }
    }
    assert!(undone > 100, "only {undone} transactions were undone");
}

/// Opens a chain with these settings.
fn kept(disk: &Disk, cache_mib: usize, threads: usize) -> Chain {
    let store = Store::on_backend(disk.open(), &network(), 4).expect("a store");
    Chain::on_store(store, ChainOptions { cache_mib, threads, nonce_seed: 1 }).expect("a chain")
}

/// Returns a block of notes with odd signatures among hundreds of good ones.
fn block_of_notes(odd: &[(usize, usize)]) -> Block {
    let network = network();
    let mut notes: Vec<_> =
        (0..700).map(|index| note(&network.id, &key(5), index, b"words")).collect();
    for (at, craft) in odd {
        notes[*at] = crafted::transaction(&network.id, crafted::CRAFTS[*craft]).0;
    }
    let mut block = Branch::new(&network, 0).draft(&[], SUBSIDY);
    block.transactions.extend(notes);
    seal(&mut block);
    block
}

#[test]
fn a_block_of_hundreds_of_signatures_has_one_verdict_over_any_number_of_threads() {
    let crafts = crafted::CRAFTS;
    let place = |verdict: bool, skip: usize| {
        let fits = |(_, craft): &(usize, &crafted::Craft)| craft.verdict.is_ok() == verdict;
        crafts.iter().enumerate().filter(fits).nth(skip).expect("some").0
    };
    let good: Vec<_> = (0..6).map(|number| (number * 97, place(true, number))).collect();
    let mut cases = vec![block_of_notes(&good)];
    for at in [0, 255, 256, 350, 511, 699] {
        let bad = crafts.len() - 1 - at % 20;
        let bad = if crafts[bad].verdict.is_ok() { place(false, at % 5) } else { bad };
        cases.push(block_of_notes(&[(at, bad)]));
        // Of two bad signatures the first is reported, in whichever part it is.
        cases.push(block_of_notes(&[(at, bad), (600, place(false, 0)), (1, place(true, 1))]));
    }
    for block in cases {
        let verdicts: Vec<_> = [(16, 1), (16, 2), (1, 3), (128, 8)]
            .into_iter()
            .map(|(cache_mib, threads)| {
                kept(&Disk::default(), cache_mib, threads).accept_block(block.clone(), PEER, NOW)
            })
            .collect();
        assert!(verdicts.windows(2).all(|pair| pair[0] == pair[1]), "{verdicts:?}");
    }
}

#[test]
fn what_the_mempool_verified_is_not_taken_for_something_else() {
    let network = network();
    let good = note(&network.id, &key(5), 7, b"words");
    let mut forged = good.clone();
    forged.inputs[0].signature.0[40] ^= 1;
    assert_eq!(good.txid(), forged.txid(), "signatures stay out of the id");
    let mut chain = TestChain::new();
    chain.trade(&good, PEER).expect("good");
    let block = Branch::new(&network, 0).draft(&[forged], SUBSIDY);
    assert_eq!(chain.block(&block).expect_err("forged").code(), "bad_signature");
    assert_eq!(chain.chain.mempool().len(), 1);
}
