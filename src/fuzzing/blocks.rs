//! Sends valid and invalid blocks and trades to a small chain in any order, with branches and
//! restarts.

use std::collections::{HashMap, HashSet};

use super::choices::Choices;
use crate::{
    chain::{
        AcceptBlockError, BlockAccepted, Origin, TxState,
        testing::{Branch, PEER, TestChain, key, mine, network, note, owner, seal, signed},
    },
    consensus::{CoinKey, Network, SUBSIDY, check_transaction, created_coins, spent_coins},
    primitives::{
        Amount, Block, BlockHash, OutPoint, Owner, Transaction, TransactionKind, TxId, TxOutput,
        coinbase_memo,
    },
};

/// The most steps of one input. More would only repeat the same situations.
const MAX_STEPS: usize = 32;

/// The number of keys that trade with each other, `key(1)` to `key(KEYS)`.
const KEYS: usize = 3;

struct Story {
    chain: TestChain,
    network: Network,
    /// Every block made, valid or not, so that a step can send it again.
    blocks: Vec<Block>,
    /// The position of each block in `blocks`.
    known: HashMap<BlockHash, usize>,
    /// Blocks that are made but not sent yet.
    late: Vec<Block>,
    /// The local trades that the mempool accepted.
    own: Vec<TxId>,
    salt: u8,
}

/// Runs the target. A few bytes at a time make a step.
pub fn accept_block(data: &[u8]) {
    let mut choices = Choices::new(data);
    let network = network();
    let mut story = Story {
        chain: TestChain::new(),
        network,
        blocks: Vec::new(),
        known: HashMap::new(),
        late: Vec::new(),
        own: Vec::new(),
        salt: 0,
    };
    for _ in 0..MAX_STEPS {
        if choices.is_empty() {
            break;
        }
        story.step(&mut choices);
    }
    story.end();
}

impl Story {
    fn step(&mut self, choices: &mut Choices<'_>) {
        self.chain.now += 60_000;
        self.salt = self.salt.wrapping_add(1);
        match choices.below(12) {
            0..=2 => {
                let trade = self.trade(choices);
                self.submit(&trade, choices);
            }
            3 => {
                let stamp = u32::try_from(choices.below(4)).expect("small");
                let text = note(
                    &self.network.id,
                    &key(number(choices)),
                    stamp,
                    &[b"words", choices.take(2)].concat(),
                );
                self.submit(&text, choices);
            }
            4 | 5 => self.mine(choices),
            6 => self.send_branch(choices),
            7 => self.send_changed(choices),
            8 => {
                // Make a block now and send it later, when the chain has grown.
                let back = choices.below(2);
                let trades = self.waiting(choices);
                let block = self.branch(back).draft(&trades, SUBSIDY);
                self.late.push(block);
            }
            9 => {
                if let Some(block) = self.late.pop() {
                    self.send(block);
                } else if !self.blocks.is_empty() {
                    let block = self.blocks[choices.below(self.blocks.len())].clone();
                    self.send(block);
                }
            }
            10 => self.restart(),
            _ => self.let_time_pass(choices),
        }
        self.check_mempool();
    }

    /// Sends a branch from some blocks back, in order or in reverse after its headers.
    fn send_branch(&mut self, choices: &mut Choices<'_>) {
        let (back, length) = (choices.below(4), 1 + choices.below(4));
        let mut branch = self.branch(back);
        let mut blocks = Vec::new();
        for _ in 0..length {
            let trades = self.waiting(choices);
            let block = branch.draft(&trades, SUBSIDY);
            branch.push(&block);
            blocks.push(block);
        }
        if choices.flag() {
            let headers: Vec<_> = blocks.iter().map(|block| block.header).collect();
            let now = self.chain.now;
            self.chain.chain.accept_headers(&headers, PEER, now).expect("good headers");
            blocks.reverse();
        }
        for block in blocks {
            self.send(block);
        }
    }

    /// Does the node's periodic work, hours or days later.
    fn let_time_pass(&mut self, choices: &mut Choices<'_>) {
        self.chain.now += u64::from(choices.byte()) * 30 * 60_000;
        self.chain.chain.commit().expect("a commit");
        self.chain.chain.drain_events();
        self.chain.chain.due(self.chain.now).expect("a disk");
        if choices.flag() {
            self.accept_branch();
        }
    }

    /// Makes a trade of an owner's coins, with at times a made-up input or another fault.
    fn trade(&mut self, choices: &mut Choices<'_>) -> Transaction {
        let from = key(number(choices));
        let spendable = self.chain.chain.spendable(owner(&from)).expect("a disk");
        let waiting = spendable.pending.iter().chain(&spendable.unsure);
        let coins: Vec<_> = spendable.confirmed.iter().chain(waiting).collect();
        let taken = (1 + choices.below(3)).min(coins.len());
        let first = if coins.is_empty() { 0 } else { choices.below(coins.len()) };
        let coins: Vec<_> = coins.iter().cycle().skip(first).take(taken).collect();
        let sum: u64 = coins.iter().map(|coin| coin.coin.value.units()).sum();
        let fee = [0, 0, 1, 1_000, 1_000_000][choices.below(5)].min(sum);
        let parts = u64::try_from(1 + choices.below(4)).expect("small");
        let mut outputs: Vec<_> = (0..parts)
            .map(|_| TxOutput {
                value: Amount::from_units((sum - fee) / parts),
                owner: owner(&key(number(choices))),
            })
            .collect();
        let mut inputs: Vec<_> = coins.iter().map(|coin| (&from, coin.outpoint)).collect();
        let other = key(9);
        match choices.below(20) {
            0 => outputs[0].value = Amount::from_units(choices.number()),
            1 => outputs.clear(),
            2 => inputs.push((
                &from,
                OutPoint { txid: TxId(choices.array()), index: u32::from(choices.byte()) },
            )),
            3 => inputs.extend(inputs.first().copied()),
            4 => inputs.iter_mut().for_each(|input| input.0 = &other),
            5 => inputs.push((&from, OutPoint { txid: TxId::ZERO, index: 0 })),
            _ => {}
        }
        let memo = choices.below(8);
        let mut trade = signed(&self.network.id, &inputs, outputs, &b"for all of it"[..memo]);
        if choices.below(20) == 0
            && let Some(input) = trade.inputs.first_mut()
        {
            input.signature.0[choices.below(64)] ^= choices.byte().max(1);
        }
        trade
    }

    fn submit(&mut self, trade: &Transaction, choices: &mut Choices<'_>) {
        let local = choices.below(4) == 0;
        let before = self.chain.chain.mempool().len();
        match self.chain.trade(trade, if local { Origin::Local } else { PEER }) {
            Ok(txid) => {
                assert_eq!(check_transaction(trade), Ok(()), "a trade of no right form waits");
                if local {
                    self.own.push(txid);
                }
            }
            Err(error) => {
                assert!(!error.to_string().is_empty() && !error.code().is_empty());
                // Expired entries may have left the mempool meanwhile.
                assert!(self.chain.chain.mempool().len() <= before, "a refused trade waits");
            }
        }
    }

    /// Returns some mempool entries that could be in the next block, parents first.
    fn waiting(&self, choices: &mut Choices<'_>) -> Vec<Transaction> {
        let waiting = self.chain.chain.mempool();
        let count = choices.below(4).min(waiting.len());
        waiting.iter().take(count).map(|entry| Transaction::clone(&entry.transaction)).collect()
    }

    /// Returns the best chain without its last `back` blocks, as the start of a branch.
    fn branch(&self, back: usize) -> Branch {
        let mut branch = Branch::new(&self.network, self.salt);
        let height = usize::try_from(self.chain.chain.tip().height).expect("small");
        for height in 1..=height.saturating_sub(back) {
            branch.push(&self.block_at(height));
        }
        branch
    }

    fn block_at(&self, height: usize) -> Block {
        let hash =
            self.chain.chain.hash_at(u32::try_from(height).expect("small")).expect("connected");
        self.blocks[self.known[&hash]].clone()
    }

    /// Mines the chain's own template, which must connect.
    fn mine(&mut self, choices: &mut Choices<'_>) {
        let to = if choices.below(8) == 0 { Owner::ZERO } else { owner(&key(number(choices))) };
        let mut block = self.chain.chain.template(to, self.chain.now).expect("a template").block;
        mine(&mut block);
        let outcome = self.chain.chain.accept_block(block.clone(), Origin::Local, self.chain.now);
        self.remember(&block);
        assert!(
            matches!(outcome, Ok(BlockAccepted::Connected | BlockAccepted::Known)),
            "our own block is refused: {outcome:?}"
        );
        assert_eq!(self.chain.tip(), block.hash());
    }

    fn remember(&mut self, block: &Block) {
        if self.blocks.len() < 256 {
            self.known.insert(block.hash(), self.blocks.len());
            self.blocks.push(block.clone());
        }
    }

    fn send(&mut self, block: Block) {
        let before = self.chain.chain.tip();
        self.remember(&block);
        let outcome = self.chain.chain.accept_block(block, PEER, self.chain.now);
        let after = self.chain.chain.tip();
        assert!(after.work >= before.work, "the tip lost work: {outcome:?}");
        if let Err(error) = outcome {
            assert!(!matches!(error, AcceptBlockError::Fault(_)), "{error}");
            assert!(!error.to_string().is_empty() && !error.code().is_empty());
        }
    }

    /// Sends a valid block after one change, which is made before or after mining.
    fn send_changed(&mut self, choices: &mut Choices<'_>) {
        let back = choices.below(3);
        let trades = self.waiting(choices);
        let mut block = self.branch(back).draft(&trades, SUBSIDY);
        let (height, hash) = (block.header.height, block.hash());
        let transactions = &mut block.transactions;
        match choices.below(16) {
            0 => transactions[0].outputs[0].value = Amount::from_units(choices.number()),
            1 => {
                transactions[0].memo =
                    coinbase_memo(height.wrapping_add(u32::from(choices.byte())), &[1]);
            }
            2 => transactions[0].outputs.clear(),
            3 => transactions.truncate(choices.below(2)),
            4 => transactions.reverse(),
            5 => transactions.extend(transactions.last().cloned()),
            6 => {
                if let Some(input) =
                    transactions.last_mut().and_then(|last| last.inputs.first_mut())
                {
                    input.signature.0[choices.below(64)] ^= choices.byte().max(1);
                }
            }
            7 => {
                let trade = self.trade(choices);
                block.transactions.push(trade);
            }
            8 => {
                // Spend coins that the block before has spent.
                let spent =
                    self.blocks.iter().rev().flat_map(|block| block.transactions.iter().skip(1));
                let again = spent.take(2).cloned().collect::<Vec<_>>();
                block.transactions.extend(again);
            }
            9 => {
                let outputs =
                    vec![TxOutput { value: Amount::from_units(1), owner: Owner::ZERO }; 2];
                transactions[0].outputs.extend(outputs);
            }
            10 => block.header.time = choices.number(),
            11 => block.header.bits ^= 1 << choices.below(32),
            12 => {
                block.header.height =
                    block.header.height.wrapping_add(1 + u32::from(choices.byte()));
            }
            13 => {
                let from = key(number(choices));
                let stamp = note(&self.network.id, &from, 0, b"words");
                block.transactions.extend([stamp.clone(), stamp]);
            }
            14 => transactions[0].memo.extend(choices.take(32)),
            _ => block.header.previous.0[0] ^= choices.byte().max(1),
        }
        // Mining would take too long for targets other than the chain's.
        if choices.flag() && block.header.bits == self.network.genesis.header.bits {
            seal(&mut block);
        }
        if block.hash() == hash {
            return self.send(block);
        }
        self.send(block);
    }

    /// Accepts the other branch, as an operator would, if the chain has diverged.
    fn accept_branch(&mut self) {
        let (before, now) = (self.chain.chain.tip(), self.chain.now);
        let Some(divergence) = self.chain.chain.divergence() else {
            assert!(
                self.chain.chain.accept_branch(before.hash, now).is_err(),
                "a chain without branches took one"
            );
            return;
        };
        assert_eq!(divergence.ours.hash, before.hash);
        let theirs = divergence.theirs;
        let outcome = self.chain.chain.accept_branch(theirs.hash, now);
        match outcome {
            Ok(tip) => assert_eq!((tip.hash, self.chain.tip()), (theirs.hash, theirs.hash)),
            Err(_) => assert_eq!(self.chain.tip(), before.hash),
        }
    }

    fn restart(&mut self) {
        self.chain.chain.commit().expect("a commit");
        let (hash, tip, best) =
            (self.chain.hash(), self.chain.chain.tip(), self.chain.chain.best_header());
        let waiting: Vec<_> = self.chain.chain.mempool().iter().map(|entry| entry.txid).collect();
        let chain = std::mem::replace(&mut self.chain, TestChain::new());
        self.chain = chain.reopen();
        let chain = &mut self.chain;
        assert_eq!((chain.hash(), chain.chain.tip(), chain.chain.best_header()), (hash, tip, best));
        let kept: Vec<_> = chain.chain.mempool().iter().map(|entry| entry.txid).collect();
        assert_eq!(kept, waiting, "a restart changed the mempool");
    }

    /// Checks that no two mempool entries spend the same coin, and that each spent coin is on the
    /// chain or comes from an earlier entry.
    fn check_mempool(&mut self) {
        let mut spent: HashSet<CoinKey> = HashSet::new();
        let mut made: HashSet<CoinKey> = HashSet::new();
        let height = self.chain.chain.tip().height;
        for entry in self.chain.chain.mempool() {
            let transaction = &entry.transaction;
            assert_eq!(entry.txid, transaction.txid());
            assert_eq!(entry.bytes, transaction.encoded_len());
            for input in &transaction.inputs {
                assert!(
                    spent.insert(CoinKey::of_input(input)),
                    "two waiting trades spend one coin"
                );
            }
            for spends in spent_coins(transaction) {
                let parent = self
                    .chain
                    .chain
                    .transaction(spends.outpoint.txid)
                    .expect("a disk")
                    .expect("a parent");
                let mined = matches!(parent.state, TxState::Mined { .. });
                assert!(mined || made.contains(&spends), "a waiting trade rests on nothing");
            }
            made.extend(created_coins(transaction, entry.txid, height + 1).map(|(key, _)| key));
        }
    }

    fn end(&mut self) {
        let tip = self.chain.chain.tip();
        let supply = self.chain.supply();
        let best: Vec<_> = (1..=usize::try_from(tip.height).expect("small"))
            .map(|height| self.block_at(height))
            .collect();
        assert_eq!(Amount::from_units(supply_of(&self.network.genesis, &best)), supply);
        for txid in std::mem::take(&mut self.own) {
            assert!(
                self.chain.chain.transaction(txid).expect("a disk").is_some(),
                "an own trade is lost"
            );
        }

        // Replaying the best chain's blocks in order leads to the same coins.
        let mut replay = TestChain::new();
        replay.now = self.chain.now;
        replay.connect(&best);
        assert_eq!(replay.hash(), self.chain.hash(), "the coins depend on the way here");
        let rebuilt = self.chain.chain.reindex(self.chain.now, &mut |_, _| true).expect("a disk");
        assert!(rebuilt.ok, "{:?}", rebuilt.problem);
        assert_eq!((self.chain.hash(), self.chain.tip()), (replay.hash(), tip.hash));
    }
}

/// Returns a key's number in `1..=KEYS`.
fn number(choices: &mut Choices<'_>) -> u8 {
    u8::try_from(1 + choices.below(KEYS)).expect("small")
}

/// Returns the units that the blocks minted less those they burnt, by a ledger of unspent outputs.
fn supply_of(genesis: &Block, blocks: &[Block]) -> u64 {
    let mut coins: HashMap<(TxId, u32), u64> = HashMap::new();
    for transaction in std::iter::once(genesis).chain(blocks).flat_map(|block| &block.transactions)
    {
        if transaction.kind() == TransactionKind::Trade {
            for input in &transaction.inputs {
                let spent = coins.remove(&(input.outpoint.txid, input.outpoint.index));
                assert!(spent.is_some(), "a coin that is not there was spent");
            }
        }
        let txid = transaction.txid();
        for (index, output) in (0u32..).zip(&transaction.outputs) {
            coins.insert((txid, index), output.value.units());
        }
    }
    coins.values().sum()
}
