//! Tests of random histories of trades that chain, conflict and replace, with blocks, branches,
//! time and a full mempool. Checks the mempool after each step.

use std::collections::BTreeSet;

use proptest::{prelude::*, test_runner::TestRunner};

use crate::{
    chain::{
        ChainEvent, FREE_EXPIRY_MS, Origin, TxState,
        testing::{
            Branch, PEER, TestChain, coin_of, genesis_coin, key, network, note, owner, pay, seal,
            signed,
        },
    },
    consensus::SUBSIDY,
    primitives::{Amount, Block, OutPoint, Transaction, TxId, TxOutput},
};

/// Memory limit of the mempool: small enough that histories fill it.
const ROOM: usize = 24 * 1_024;

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    /// A trade that spends coins that ever existed, spent or not. It pays two owners and a fee.
    Trade {
        coins: Vec<prop::sample::Index>,
        fee: u64,
        local: bool,
    },
    Note {
        stamp: u32,
        local: bool,
    },
    /// A block on the tip with the waiting trades.
    Mine,
    /// A peer's block on the tip with some trades that wait or waited.
    Theirs {
        picked: Vec<prop::sample::Index>,
    },
    /// A branch from this many blocks back, one block longer than the chain.
    Branch {
        back: usize,
        picked: Vec<prop::sample::Index>,
    },
    Wait {
        ms: u64,
    },
    /// A commit, then a restart.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let picked = || prop::collection::vec(any::<prop::sample::Index>(), 0..6);
    let fee = prop_oneof![2 => Just(0), 3 => 1..2_000_u64, 1 => 2_000..100_000_u64];
    prop_oneof![
        16 => (
            prop::collection::vec(any::<prop::sample::Index>(), 1..4),
            fee,
            prop::bool::weighted(0.2),
        )
            .prop_map(|(coins, fee, local)| Step::Trade { coins, fee, local }),
        2 => (0..6u32, any::<bool>()).prop_map(|(stamp, local)| Step::Note { stamp, local }),
        1 => Just(Step::Mine),
        2 => picked().prop_map(|picked| Step::Theirs { picked }),
        1 => (1..4usize, picked()).prop_map(|(back, picked)| Step::Branch { back, picked }),
        1 => (1..FREE_EXPIRY_MS).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Restart),
    ]
}

/// A chain, and every transaction seen so far.
struct History {
    chain: TestChain,
    blocks: Vec<Block>,
    trades: Vec<Transaction>,
    own: BTreeSet<TxId>,
    salt: u8,
    /// The waiting trades according to the events.
    told: BTreeSet<TxId>,
}

impl History {
    fn new() -> Self {
        let mut chain = TestChain::new();
        chain.chain.mempool.shrink(ROOM);
        let (blocks, trades, own, told) =
            (Vec::new(), Vec::new(), BTreeSet::new(), BTreeSet::new());
        let mut history = Self { chain, blocks, trades, own, salt: 0, told };
        let outputs = [(owner(&key(1)), 1_000_000_000); 10];
        let split = pay(&network(), &key(1), genesis_coin(&network()), &outputs);
        history.chain.trade(&split, PEER).expect("good");
        history.trades.push(split);
        history.play(Step::Mine);
        history
    }

    /// Returns the outputs of a transaction that was seen.
    fn coins(&self) -> Vec<(OutPoint, TxOutput)> {
        let outputs = self.trades.iter().flat_map(|trade| {
            (0..).zip(&trade.outputs).map(|(index, output)| (coin_of(trade, index), *output))
        });
        outputs.collect()
    }

    fn offer(&mut self, trade: Transaction, local: bool) {
        let origin = if local { Origin::Local } else { PEER };
        // Expired trades leave, even if the new one is rejected.
        self.chain.chain.due(self.chain.now).expect("a disk");
        let before: BTreeSet<_> =
            self.chain.chain.mempool().iter().map(|entry| entry.txid).collect();
        match self.chain.trade(&trade, origin) {
            Ok(txid) => {
                if local {
                    self.own.insert(txid);
                }
                assert!(self.chain.chain.mempool().iter().any(|entry| entry.txid == txid));
            }
            // A rejected trade changes nothing, except for entries that found no room beside it.
            Err(error) if error.code() != "fee_too_low" => {
                assert_eq!(
                    self.chain
                        .chain
                        .mempool()
                        .iter()
                        .map(|entry| entry.txid)
                        .collect::<BTreeSet<_>>(),
                    before
                );
            }
            Err(_) => {}
        }
        self.trades.push(trade);
    }

    /// Connects `count` blocks of a peer that fork off `back` blocks before the tip. The first one
    /// holds those of the picked trades that fit.
    fn theirs(&mut self, back: usize, count: usize, picked: &[prop::sample::Index]) {
        let mut wanted: Vec<_> = picked.iter().map(|pick| pick.get(&self.trades).clone()).collect();
        let mut theirs = self.replay(back);
        let mut branch = Branch::new(&network(), 0);
        for height in 1..=theirs.chain.tip().height {
            branch.push(self.block_at(height));
        }
        let mut made = Vec::new();
        while made.len() < count {
            self.salt = self.salt.wrapping_add(1);
            let mut block = branch.draft(&wanted, SUBSIDY);
            block.transactions[0].memo.push(self.salt);
            seal(&mut block);
            // Only a chain can tell which trades connect. They are left out one by one until the
            // block is valid.
            if theirs.block(&block).is_ok() {
                branch.push(&block);
                made.push(block);
                wanted.clear();
            } else {
                wanted.pop().expect("an empty block is good");
            }
        }
        for block in made {
            self.chain.block(&block).expect("a good block");
            self.blocks.push(block);
        }
    }

    fn block_at(&self, height: u32) -> &Block {
        let hash = self.chain.chain.hash_at(height).expect("connected");
        self.blocks.iter().find(|block| block.hash() == hash).expect("known")
    }

    /// Returns another chain with the same blocks, up to `back` blocks before the tip.
    fn replay(&self, back: usize) -> TestChain {
        let mut replay = TestChain::new();
        replay.now = self.chain.now;
        let height =
            self.chain.chain.tip().height.saturating_sub(u32::try_from(back).expect("small"));
        for height in 1..=height {
            replay.connect(std::slice::from_ref(self.block_at(height)));
        }
        replay
    }

    fn play(&mut self, step: Step) {
        self.chain.now += 60_000;
        match step {
            Step::Trade { coins, fee, local } => {
                let all = self.coins();
                let chosen: std::collections::BTreeMap<_, _> =
                    coins.iter().map(|pick| *pick.get(&all)).collect();
                let value: u64 = chosen.values().map(|output| output.value.units()).sum();
                let Some(rest) = value.checked_sub(fee).filter(|rest| *rest > 1) else { return };
                let me = key(1);
                let inputs: Vec<_> = chosen.keys().map(|coin| (&me, *coin)).collect();
                let output =
                    |units| TxOutput { value: Amount::from_units(units), owner: owner(&me) };
                let trade = signed(
                    &network().id,
                    &inputs,
                    vec![output(rest / 2), output(rest - rest / 2)],
                    b"",
                );
                self.offer(trade, local);
            }
            Step::Note { stamp, local } => {
                let text = note(&network().id, &key(5), stamp, &[b'x'; 600]);
                self.offer(text, local);
            }
            Step::Mine => {
                let block = self.chain.mine(owner(&key(9)));
                self.blocks.push(block);
            }
            Step::Theirs { picked } => {
                self.theirs(0, 1, &picked);
            }
            Step::Branch { back, picked } => {
                self.theirs(back, back + 1, &picked);
            }
            Step::Wait { ms } => {
                self.chain.now += ms;
                self.chain.chain.due(self.chain.now).expect("a disk");
            }
            Step::Restart => {
                self.chain.chain.commit().expect("a commit");
                let before = self.chain.chain.mempool();
                let chain = std::mem::replace(&mut self.chain, TestChain::new());
                self.listen_to(chain);
                let after = self.chain.chain.mempool();
                assert_eq!(
                    after.iter().map(|entry| entry.txid).collect::<Vec<_>>(),
                    before.iter().map(|entry| entry.txid).collect::<Vec<_>>()
                );
                assert!(
                    after.iter().zip(&before).all(|(after, before)| after.added == before.added)
                );
                // The chain thread does this at once.
                self.chain.chain.due(self.chain.now).expect("a disk");
            }
        }
    }

    fn listen_to(&mut self, mut chain: TestChain) {
        self.told = told(std::mem::take(&mut self.told), chain.events());
        self.chain = chain.reopen();
        self.chain.chain.mempool.shrink(ROOM);
    }

    /// Checks the invariants after a step.
    fn check(&mut self) {
        self.chain.chain.assert_consistent_mempool();
        self.told = told(std::mem::take(&mut self.told), self.chain.events());
        let waiting: BTreeSet<_> =
            self.chain.chain.mempool().iter().map(|entry| entry.txid).collect();
        assert!(
            self.told.is_subset(&waiting),
            "what left was told of: {:?}",
            self.told.difference(&waiting)
        );
        for entry in self.chain.chain.mempool() {
            assert_eq!(entry.local, self.own.contains(&entry.txid));
            assert!(entry.expires.is_none_or(|at| at > self.chain.now));
        }
        for txid in &self.own {
            let state = self
                .chain
                .chain
                .transaction(*txid)
                .expect("a disk")
                .expect("own trades are never forgotten")
                .state;
            assert_eq!(state == TxState::Mempool, waiting.contains(txid));
        }
        // The next template connects.
        let template =
            self.chain.chain.template(owner(&key(9)), self.chain.now).expect("a template").block;
        let mut block = template;
        crate::chain::testing::mine(&mut block);
        self.replay(0).connect(&[block]);
    }
}

/// Returns the waiting trades after these events.
fn told(mut waits: BTreeSet<TxId>, events: Vec<ChainEvent>) -> BTreeSet<TxId> {
    for event in events {
        match event {
            ChainEvent::TradeAccepted { entry, .. } => {
                waits.insert(entry.txid);
            }
            ChainEvent::TradeDropped { txid, .. } | ChainEvent::TradeVoid { txid, .. } => {
                waits.remove(&txid);
            }
            ChainEvent::TipChanged { mined, .. } => waits.retain(|txid| !mined.contains(txid)),
            ChainEvent::VoidMined { .. } | ChainEvent::Failed(_) => {}
        }
    }
    waits
}

/// Number of histories in a usual run; `FRIENDCHAIN_POLICY_HISTORIES` changes it.
const HISTORIES: u32 = 24;

#[test]
fn the_mempool_agrees_with_itself_and_with_the_chain() {
    let wanted = std::env::var("FRIENDCHAIN_POLICY_HISTORIES").ok();
    let cases = wanted.map_or(HISTORIES, |wanted| {
        wanted.parse().expect("FRIENDCHAIN_POLICY_HISTORIES is a number")
    });
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let played = TestRunner::new(config).run(&prop::collection::vec(step(), 1..60), |steps| {
        let mut history = History::new();
        for step in steps {
            history.play(step);
            history.check();
        }
        Ok(())
    });
    played.unwrap_or_else(|failure| panic!("{failure}"));
    println!("bar mempool-histories: {cases} (bar ≥ {HISTORIES}) ok");
}
