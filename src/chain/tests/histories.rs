//! Tests of random histories of blocks, trades, branches and restarts, with the invariants after
//! each.

use proptest::prelude::*;

use crate::{
    chain::{
        Origin,
        testing::{Branch, PEER, TestChain, key, network, note, owner, pay},
    },
    primitives::{Amount, Block, Transaction},
};

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    /// A trade that spends a share of the sender's coins.
    Trade {
        from: u8,
        to: u8,
        share: u64,
        local: bool,
    },
    Note {
        from: u8,
        stamp: u32,
    },
    /// A block on the tip with the waiting trades.
    Mine {
        owner: u8,
    },
    /// A branch of this length, from this many blocks back.
    Branch {
        back: usize,
        length: usize,
        salt: u8,
    },
    /// A commit, then a restart.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..4u8, 1..4u8, 1..100u64, any::<bool>())
            .prop_map(|(from, to, share, local)| Step::Trade { from, to, share, local }),
        1 => (1..4u8, 0..5u32).prop_map(|(from, stamp)| Step::Note { from, stamp }),
        3 => (1..4u8).prop_map(|owner| Step::Mine { owner }),
        1 => (1..4usize, 1..5usize, any::<u8>())
            .prop_map(|(back, length, salt)| Step::Branch { back, length, salt }),
        1 => Just(Step::Restart),
    ]
}

/// Returns the chain's branch, up to `back` blocks before its tip.
fn branch_at(chain: &TestChain, blocks: &[Block], back: usize, salt: u8) -> Branch {
    let mut branch = Branch::new(chain.chain.network(), salt);
    let height = usize::try_from(chain.chain.tip().height).expect("small");
    for height in 1..=height.saturating_sub(back) {
        let hash = chain.chain.hash_at(u32::try_from(height).expect("small")).expect("connected");
        branch.push(blocks.iter().find(|block| block.hash() == hash).expect("known"));
    }
    branch
}

fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let network = network();
    let mut chain = TestChain::new();
    let mut blocks: Vec<Block> = Vec::new();
    let mut own: Vec<Transaction> = Vec::new();
    for step in steps {
        // Blocks of a branch are one second apart, so none is ahead of the clock.
        chain.now += 60_000;
        match step {
            Step::Trade { from, to, share, local } => {
                let sender = key(from);
                let spendable = chain.chain.spendable(owner(&sender)).expect("a disk");
                let waiting = spendable.pending.iter().chain(&spendable.unsure);
                let Some(coin) = spendable.confirmed.iter().chain(waiting).next() else {
                    continue;
                };
                let units = coin.coin.value.units();
                let paid = (units * share / 100).max(1);
                let outputs = [(owner(&key(to)), paid), (owner(&sender), units - paid)];
                let outputs: Vec<_> = outputs.into_iter().filter(|(_, units)| *units > 0).collect();
                let trade = pay(&network, &sender, coin.outpoint, &outputs);
                let origin = if local { Origin::Local } else { PEER };
                if chain.trade(&trade, origin).is_ok() && local {
                    own.push(trade);
                }
            }
            Step::Note { from, stamp } => {
                let text = note(&network.id, &key(from), stamp, b"words");
                if chain.trade(&text, Origin::Local).is_ok() {
                    own.push(text);
                }
            }
            Step::Mine { owner: miner } => blocks.push(chain.mine(owner(&key(miner)))),
            Step::Branch { back, length, salt } => {
                let mut branch = branch_at(&chain, &blocks, back, salt);
                for block in branch.extend(length) {
                    chain.block(&block).expect("a good block");
                    blocks.push(block);
                }
            }
            Step::Restart => {
                chain.chain.commit().expect("a commit");
                let (hash, mempool, tip) = (chain.hash(), chain.chain.mempool(), chain.chain.tip());
                chain = chain.reopen();
                prop_assert_eq!(chain.hash(), hash);
                prop_assert_eq!(chain.chain.mempool(), mempool);
                prop_assert_eq!(chain.chain.tip(), tip);
            }
        }
    }
    let tip = chain.chain.tip();
    prop_assert_eq!(chain.supply(), Amount::from_coins(100 * (tip.height + 1)));
    for trade in own {
        let info = chain.chain.transaction(trade.txid()).expect("a disk");
        prop_assert!(info.is_some(), "an acknowledged trade is never lost");
    }

    // The same blocks, in the order of the best chain alone, lead to the same coins.
    let mut replay = TestChain::new();
    replay.now = chain.now;
    for height in 1..=tip.height {
        let hash = chain.chain.hash_at(height).expect("connected");
        let block = blocks.iter().find(|block| block.hash() == hash).expect("known");
        replay.connect(std::slice::from_ref(block));
    }
    prop_assert_eq!(replay.hash(), chain.hash());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn supply_and_coins_follow_from_the_best_chain_alone(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        play(steps)?;
    }
}
