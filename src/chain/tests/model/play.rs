//! `play` gives one history to the chain and the model, step by step, and compares them after each.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::{
    forge::{Flaw, Forge, Luck, TradeFlaw},
    ledger::Model,
    rules::{Money, Purse},
};
use crate::{
    chain::{
        BlockAccepted, Chain, ChainEvent, ChainOptions, Origin, TxState,
        coins::Coins as _,
        store::Store,
        testing::{Disk, NOW, PEER, mine},
    },
    consensus::{Coin, CoinKey, Network},
    primitives::{Amount, Block, BlockHash, OutPoint, Owner, Transaction, TxId, UnixMillis},
};

/// Settings of the chain, and the times of its commits. None of them may change a result.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keeping {
    pub(super) threads: usize,
    pub(super) cache_mib: usize,
    /// True if every step is committed at once; otherwise the history decides.
    pub(super) commit_always: bool,
    /// True if a restart may lose uncommitted changes. The result then depends on the commits.
    pub(super) crashes: bool,
}

/// The record of a history.
#[derive(Debug, Default, Clone)]
pub(super) struct Report {
    pub(super) steps: u64,
    /// The number of times that each verdict was given, by name.
    pub(super) verdicts: BTreeMap<&'static str, u64>,
    /// Verdicts and tips in order.
    pub(super) transcript: Vec<String>,
    pub(super) deepest_reorganisation: usize,
    /// Every block that was made.
    pub(super) blocks: Vec<Arc<Block>>,
}

/// A difference between chain and model, as a sentence.
pub(super) type Difference = String;

#[expect(clippy::needless_pass_by_value, reason = "what is compared is mostly made for it")]
fn same<T: PartialEq + Debug>(what: &str, engine: T, model: T) -> Result<(), Difference> {
    if engine == model {
        Ok(())
    } else {
        Err(format!("{what}: the engine says {engine:?}, the model {model:?}"))
    }
}

struct World {
    engine: Option<Chain>,
    disk: Disk,
    network: Network,
    keeping: Keeping,
    model: Model,
    /// The model as of the last commit.
    durable: Model,
    forge: Forge,
    now: UnixMillis,
    /// The best chain according to the chain's events.
    told: Vec<BlockHash>,
    /// The key of every coin that ever existed.
    places: BTreeSet<(Owner, TxId, u32)>,
    report: Report,
}

fn options(keeping: Keeping) -> ChainOptions {
    ChainOptions { cache_mib: keeping.cache_mib, threads: keeping.threads, nonce_seed: 1 }
}

fn key_of((owner, txid, index): &(Owner, TxId, u32)) -> CoinKey {
    CoinKey { owner: *owner, outpoint: OutPoint { txid: *txid, index: *index } }
}

fn money_of(coin: Coin) -> Money {
    Money { units: coin.value.units(), height: coin.height, coinbase: coin.coinbase }
}

/// Returns the expected hash over the coins table.
fn coins_hash(purse: &Purse) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for ((owner, txid, index), money) in purse {
        hasher.update(owner.0);
        hasher.update(txid.0);
        hasher.update(index.to_be_bytes());
        hasher.update(money.units.to_le_bytes());
        hasher.update(money.height.to_le_bytes());
        hasher.update([u8::from(money.coinbase)]);
    }
    hasher.finalize().into()
}

impl World {
    fn new(network: &Network, keeping: Keeping) -> Self {
        let model = Model::new(network);
        let forge = Forge::new(network, model.params);
        let disk = Disk::default();
        let mut world = Self {
            engine: None,
            disk,
            network: network.clone(),
            keeping,
            durable: model.clone(),
            model,
            forge,
            now: NOW - 1_000_000_000 + 1_000,
            told: vec![network.id],
            places: BTreeSet::new(),
            report: Report::default(),
        };
        world.open();
        world
    }

    fn open(&mut self) {
        let store = Store::on_backend(self.disk.open(), &self.network, 4).expect("a store");
        self.engine = Some(Chain::on_store(store, options(self.keeping)).expect("a chain"));
    }

    fn engine(&mut self) -> &mut Chain {
        self.engine.as_mut().expect("open")
    }

    fn verdict(
        &mut self,
        what: &str,
        engine: &'static str,
        model: &'static str,
    ) -> Result<(), Difference> {
        *self.report.verdicts.entry(model).or_default() += 1;
        self.report.transcript.push(format!("{what} {model}"));
        same(what, engine, model)
    }

    // Steps

    fn give_block(&mut self, block: &Arc<Block>) -> Result<(), Difference> {
        self.give_block_of(block, false)
    }

    fn give_block_of(&mut self, block: &Arc<Block>, local: bool) -> Result<(), Difference> {
        let (now, origin) = (self.now, if local { Origin::Local } else { PEER });
        let before = self.model.chain();
        let engine = match self.engine().accept_block(Block::clone(block), origin, now) {
            Ok(BlockAccepted::Connected) => "connected",
            Ok(BlockAccepted::SideBranch) => "side_branch",
            Ok(BlockAccepted::Waiting) => "waiting",
            Ok(BlockAccepted::Known) => "known",
            Err(error) => error.code(),
        };
        let model = self.model.accept_block(block, local, now);
        let after = self.model.chain();
        let kept =
            before.iter().zip(&after).take_while(|(old, new)| old.hash() == new.hash()).count();
        self.report.deepest_reorganisation =
            self.report.deepest_reorganisation.max(before.len() - kept);
        self.verdict(&format!("block {}", block.hash()), engine, model)?;
        self.settle()
    }

    fn give_headers(&mut self, blocks: &[Arc<Block>]) -> Result<(), Difference> {
        let now = self.now;
        let headers: Vec<_> = blocks.iter().map(|block| block.header).collect();
        let engine = self.engine().accept_headers(&headers, PEER, now);
        let model = self.model.accept_headers(&headers, now);
        if let Ok(accepted) = &engine {
            same("the best header", accepted.best_header.hash, self.model.best_header())?;
        }
        let engine = engine.map(|accepted| accepted.new).map_err(|error| error.code());
        *self.report.verdicts.entry(model.err().unwrap_or("headers")).or_default() += 1;
        same("headers", engine, model)?;
        self.settle()
    }

    fn give_trade(&mut self, trade: &Arc<Transaction>, local: bool) -> Result<(), Difference> {
        let (now, origin) = (self.now, if local { Origin::Local } else { PEER });
        let engine = self.engine().accept_trade(Transaction::clone(trade), origin, now);
        let model = self.model.accept_trade(trade, local);
        let engine = engine.map_or_else(|error| error.code(), |_| "accepted");
        self.verdict(&format!("trade {}", trade.txid()), engine, model)?;
        self.settle()
    }

    fn mine_template(&mut self, luck: &mut Luck) -> Result<(), Difference> {
        let now = self.now;
        let owner = luck.owner();
        let mut block =
            self.engine().template(owner, now).map_err(|fault| fault.to_string())?.block;
        mine(&mut block);
        let block = self.forge.keep(block);
        self.give_block(&block)
    }

    /// Grows a branch anywhere. Its blocks arrive in some order, all or some of them, now or later.
    fn grow(&mut self, luck: &mut Luck, flaw: Option<Flaw>) -> Result<(), Difference> {
        let tip = self.model.tip();
        let mut parent = if luck.chance(50) {
            tip
        } else if luck.chance(80) {
            let chain = self.model.chain();
            chain[chain.len() - 1 - luck.index(chain.len().min(6))].hash()
        } else {
            luck.pick(&self.forge.made).expect("the genesis").hash()
        };
        let longest = if luck.chance(20) { 9 } else { 3 };
        let length = 1 + luck.index(longest);
        let (bad_one, is_fast, is_early) = (luck.index(length), luck.chance(30), luck.chance(15));
        let mut branch = Vec::new();
        for number in 0..length {
            let spacing = self.network.params.spacing_ms.max(1_000);
            let longest = match (is_fast, is_early) {
                (true, _) => spacing / 10,
                (false, true) => spacing + 2 * self.model.params.future_limit(),
                (false, false) => 2 * spacing,
            };
            let after = luck.below(longest);
            let flaw = flaw.filter(|_| number == bad_one);
            let Some(block) = self.forge.block(luck, &parent, after, flaw) else { break };
            parent = block.hash();
            branch.push(block);
        }
        match luck.below(8) {
            0 => return Ok(()),
            1 | 2 => self.give_headers(&branch)?,
            3 => luck.shuffle(&mut branch),
            4 => branch.reverse(),
            5 => {
                self.give_headers(&branch)?;
                luck.shuffle(&mut branch);
            }
            6 => {
                self.give_headers(&branch)?;
                branch.reverse();
                branch.pop();
            }
            _ => {}
        }
        for block in &branch {
            self.give_block(block)?;
            if luck.chance(10) {
                self.give_block(block)?;
            }
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<(), Difference> {
        self.engine = None;
        self.open();
        self.model = self.durable.restarted();
        // Changes that were never committed were never announced.
        let chain: Vec<_> = self.model.chain().iter().map(|block| block.hash()).collect();
        same("the chain as it was told before the restart", &self.told, &chain)?;
        self.settle()?;
        self.compare_coins()
    }

    /// Checks that a commit makes changes durable and announces them.
    fn commit(&mut self) -> Result<(), Difference> {
        self.engine().commit().map_err(|fault| fault.to_string())?;
        self.settle()
    }

    fn step(&mut self, luck: &mut Luck) -> Result<(), Difference> {
        self.report.steps += 1;
        if luck.chance(70) {
            self.now += luck.below(3 * self.network.params.spacing_ms.max(1_000));
        }
        match luck.below(100) {
            0..20 => self.give_a_new_trade(luck)?,
            20..26 => {
                let known = luck.pick(&self.forge.trades).cloned();
                if let Some(trade) = known {
                    self.give_trade(&trade, luck.chance(40))?;
                }
            }
            26..30 => self.give_a_replacement(luck)?,
            30 => {
                let (mut purse, local) = (self.model.coins_after_pool(), luck.chance(30));
                for trade in self.forge.chain_of_trades(luck, &mut purse) {
                    self.give_trade(&Arc::new(trade), local)?;
                }
            }
            31..37 => {
                let flaw = *luck.pick(&TradeFlaw::all()).expect("some");
                let purse = self.model.coins();
                if let Some(trade) = self.forge.flawed_trade(luck, &purse, flaw) {
                    self.give_trade(&Arc::new(trade), luck.chance(20))?;
                }
            }
            37..46 => self.mine_template(luck)?,
            46..60 => self.grow(luck, None)?,
            60..70 => {
                let flaw = *luck.pick(&Flaw::all()).expect("some");
                // The largest blocks are slow to make, and many of them prove no more than a few.
                let flaw = if flaw == Flaw::TooLarge && luck.chance(50) {
                    Flaw::GreedyCoinbase
                } else {
                    flaw
                };
                self.grow(luck, Some(flaw))?;
            }
            70..80 => {
                for _ in 0..=luck.below(4) {
                    let block = Arc::clone(luck.pick(&self.forge.made).expect("the genesis"));
                    self.give_block_of(&block, luck.chance(30))?;
                }
            }
            80..83 => {
                let last = self.forge.made.len();
                let blocks = self.forge.made[last.saturating_sub(1 + luck.index(6))..].to_vec();
                self.give_headers(&blocks)?;
            }
            83..87 => self.take_what_is_due()?,
            87..94 => self.commit()?,
            94..98 => {
                if !self.keeping.crashes || luck.chance(50) {
                    self.commit()?;
                }
                self.restart()?;
            }
            98 => self.compare_all()?,
            _ => self.reindex()?,
        }
        Ok(())
    }

    fn reindex(&mut self) -> Result<(), Difference> {
        let now = self.now;
        self.commit()?;
        let audit =
            self.engine().reindex(now, &mut |_, _| true).map_err(|fault| fault.to_string())?;
        same("what a reindex finds", (audit.ok, audit.problem), (true, None))?;
        self.settle()?;
        Ok(())
    }

    fn take_what_is_due(&mut self) -> Result<(), Difference> {
        let now = self.now;
        // Trades expire days later.
        let next = self.engine().next_due().filter(|due| *due < now + 24 * 3_600_000);
        same("what is due next", next, self.model.next_due())?;
        self.engine().due(now).map_err(|fault| fault.to_string())?;
        self.model.due(now);
        self.settle()?;
        Ok(())
    }

    fn give_a_replacement(&mut self, luck: &mut Luck) -> Result<(), Difference> {
        let purse = self.model.coins();
        let rival = luck.pick(&self.model.pool.entries).map(|entry| Arc::clone(&entry.transaction));
        let local = luck.chance(40);
        if let Some(trade) = rival.and_then(|rival| self.forge.replacement(luck, &purse, &rival)) {
            self.forge.trades.push(Arc::new(trade.clone()));
            self.give_trade(&Arc::new(trade), local)?;
        }
        Ok(())
    }

    fn give_a_new_trade(&mut self, luck: &mut Luck) -> Result<(), Difference> {
        let local = luck.chance(40);
        let purse = if luck.chance(70) {
            self.model.coins_after_pool()
        } else {
            Purse::clone(&self.model.coins())
        };
        let trade = if luck.chance(75) {
            self.forge.trade(luck, &purse)
        } else {
            Some(self.forge.note(luck))
        };
        if let Some(trade) = trade {
            self.forge.trades.push(Arc::new(trade.clone()));
            self.give_trade(&Arc::new(trade), local)?;
        }
        Ok(())
    }

    /// Ends the history: every block that was ever made arrives, and the clock is past all of them.
    fn end(&mut self) -> Result<(), Difference> {
        self.now += 24 * 3_600_000;
        let now = self.now;
        self.engine().due(now).map_err(|fault| fault.to_string())?;
        self.model.due(now);
        self.settle()?;
        let mut all = self.forge.made.clone();
        all.sort_by_key(|block| block.header.height);
        for block in &all {
            self.give_block(block)?;
        }
        self.compare_all()?;

        // In any order of arrival, the tip is the best of all blocks that break no rule.
        let mut plain = Model::new(&self.network);
        plain.known = self.model.known.clone();
        for block in &all {
            plain.accept_block(block, false, now);
        }
        let tip = self.model.tip();
        // Cheap blocks are kept or not, depending on the order of arrival.
        let is_cheap = |block: &Arc<Block>| {
            block.header.height > 0
                && plain.knows(&block.header.previous)
                && plain.is_cheap(&block.header)
        };
        if all.iter().any(is_cheap) {
            self.conclude();
            return Ok(());
        }
        same("that the blocks alone lead to the tip", plain.is_best_valid(&tip), true)?;
        self.conclude();
        Ok(())
    }

    fn conclude(&mut self) {
        self.report.blocks.clone_from(&self.forge.made);
        self.report.transcript.push(format!("ends at {}", self.model.tip()));
    }

    // Comparisons

    /// Compares everything that can be compared without a commit, after each step.
    fn settle(&mut self) -> Result<(), Difference> {
        if self.keeping.commit_always {
            self.engine().commit().map_err(|fault| fault.to_string())?;
        }
        if !self.engine().is_changed() {
            self.durable = self.model.clone();
        }
        self.hear()?;
        let chain = self.model.chain();
        let is_best = self.model.is_best_valid(&self.model.tip());
        same("that the tip is the best of what is stored", is_best, true)?;
        let tip = chain.last().expect("the genesis");
        let (hash, work) = (tip.hash(), self.model.work_to(&tip.hash()));
        let said = self.engine().tip();
        same(
            "the tip",
            (said.hash, said.height, said.time),
            (hash, tip.header.height, tip.header.time),
        )?;
        same("its work", said.work.to_be_bytes().to_vec(), work.to_be_bytes_vec()[8..].to_vec())?;
        same("the best header", self.engine().best_header().hash, self.model.best_header())?;
        for (height, block) in (0..).zip(&chain) {
            same("the block at a height", self.engine().hash_at(height), Some(block.hash()))?;
        }
        same("what is above the tip", self.engine().hash_at(tip.header.height + 1), None)?;
        self.compare_mempool()
    }

    /// Checks that the events report durable changes, completely and in order.
    fn hear(&mut self) -> Result<(), Difference> {
        for event in self.engine().drain_events() {
            if let ChainEvent::TipChanged { tip, disconnected, connected, .. } = event {
                for left in disconnected {
                    same("a block that left", Some(left), self.told.pop())?;
                }
                self.told.extend(connected.iter().map(|(hash, _)| *hash));
                same("the tip that is told", Some(&tip.hash), self.told.last())?;
            }
        }
        if !self.engine().is_awaited() {
            let chain: Vec<_> = self.model.chain().iter().map(|block| block.hash()).collect();
            same("the chain as it is told", &self.told, &chain)?;
        }
        Ok(())
    }

    fn compare_mempool(&mut self) -> Result<(), Difference> {
        self.engine().assert_consistent_mempool();
        let engine = self.engine().mempool();
        let engine: Vec<_> =
            engine.iter().map(|entry| (entry.txid, entry.fee.units(), entry.local)).collect();
        let model: Vec<_> = self
            .model
            .pool
            .entries
            .iter()
            .map(|entry| (entry.txid, entry.fee, entry.local))
            .collect();
        same("the mempool", engine, model)?;
        // Panics unless the order is valid.
        self.model.coins_after_pool();
        let own: Vec<_> = self.model.pool.own.iter().map(|(txid, own)| (*txid, own.void)).collect();
        for (txid, void) in own {
            let info = self.engine().transaction(txid).map_err(|fault| fault.to_string())?;
            let engine = info.map(|info| match info.state {
                TxState::Mempool => ("mempool", None),
                TxState::Mined { block, height } => ("mined", Some((block, height))),
                TxState::Void { .. } => ("void", None),
            });
            let model = match self.model.place(&txid) {
                Some(place) => ("mined", Some(place)),
                None if void => ("void", None),
                None => ("mempool", None),
            };
            same(&format!("the own trade {txid}"), engine, Some(model))?;
        }
        Ok(())
    }

    /// Compares every key that holds a coin or ever did, without a commit.
    fn compare_coins(&mut self) -> Result<(), Difference> {
        let purse = self.model.coins();
        self.places.extend(purse.keys().copied());
        let places: Vec<_> = self.places.iter().copied().collect();
        for place in places {
            let coin =
                self.engine().overlay.coin(&key_of(&place)).map_err(|fault| fault.to_string())?;
            same(&format!("the coin {place:?}"), coin.map(money_of), purse.get(&place).copied())?;
        }
        Ok(())
    }

    /// Compares everything that can be queried, on the disk.
    fn compare_all(&mut self) -> Result<(), Difference> {
        self.compare_coins()?;
        self.commit()?;
        let purse = self.model.coins();
        let audit = self.engine().verify(&mut |_, _| true).map_err(|fault| fault.to_string())?;
        same("what an audit finds", (audit.ok, audit.problem), (true, None))?;
        same("the coins' hash", audit.coins_hash, coins_hash(&purse))?;
        let supply: u64 = purse.values().map(|money| money.units).sum();
        same("the supply", audit.supply, Amount::from_units(supply))?;
        let minted = 10_000_000_000 * (u64::from(audit.height) + 1);
        if supply > minted {
            return Err(format!(
                "there are {supply} units, and only {minted} were ever to be made"
            ));
        }
        same(
            "how many coins",
            audit.coins,
            purse.values().filter(|money| money.units > 0).count().try_into().expect("few"),
        )?;
        let owners: BTreeSet<_> = self.places.iter().map(|(owner, _, _)| *owner).collect();
        for owner in owners {
            let coins = purse.iter().filter(|((whose, _, _), _)| *whose == owner);
            let units = coins.map(|(_, money)| money.units).sum();
            let balance = self.engine().balance(owner).map_err(|fault| fault.to_string())?;
            same("a balance", balance.confirmed, Amount::from_units(units))?;
        }
        let reader = self.engine().reader();
        for block in self.model.chain() {
            let read = reader.block_at(block.header.height).map(|info| info.block);
            same("a block as it is read", read.as_ref(), Some(&block))?;
        }
        Ok(())
    }
}

/// Plays the steps of a history. Returns the difference between chain and model, if any. `at`
/// reports which step is being played.
pub(super) fn play(
    network: &Network,
    keeping: Keeping,
    steps: &[u64],
    at: &Cell<usize>,
) -> Result<Report, Difference> {
    let mut world = World::new(network, keeping);
    for (number, seed) in steps.iter().enumerate() {
        at.set(number);
        world.step(&mut Luck(*seed))?;
    }
    at.set(steps.len());
    world.end()?;
    Ok(world.report)
}
