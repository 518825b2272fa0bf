//! `forge` makes trades, notes and blocks on any branch for random histories: valid ones, and ones
//! that break each rule.

use std::{collections::BTreeMap, sync::Arc};

use ed25519_dalek::SigningKey;

use super::rules::{self, Params, Purse};
use crate::{
    chain::testing::{key, mine, note, owner, signed},
    consensus::{Network, testing::crafted},
    primitives::{
        Amount, Block, BlockHash, Header, MerkleRoot, OutPoint, Owner, Transaction, TxId, TxInput,
        TxOutput, UnixMillis, coinbase_memo,
    },
};

/// The number of participants. The first one owns the genesis coin.
const PEOPLE: u8 = 5;

const SUBSIDY: u64 = 10_000_000_000;

/// Pseudo-random numbers that are the same on every machine (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Luck(pub(super) u64);

impl Luck {
    pub(super) const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    pub(super) const fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(u64::try_from(length).expect("small"))).expect("small")
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.index(of.len())) }
    }

    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            list.swap(end, self.index(end + 1));
        }
    }

    fn person(&mut self) -> SigningKey {
        key(u8::try_from(1 + self.below(PEOPLE.into())).expect("small"))
    }

    pub(super) fn owner(&mut self) -> Owner {
        owner(&self.person())
    }
}

/// Returns the key of an owner, if the owner is a participant.
fn key_of(whose: Owner) -> Option<SigningKey> {
    (1..=PEOPLE).map(key).find(|key| owner(key) == whose)
}

/// The body of a block before it is assembled.
struct Draft {
    coinbase: Transaction,
    trades: Vec<Transaction>,
    /// The coins after the trades.
    after: Purse,
    height: u32,
    claimed: u64,
    fees: u64,
}

impl Draft {
    fn insert(&mut self, luck: &mut Luck, trade: Transaction) {
        let at = luck.index(self.trades.len() + 1);
        self.trades.insert(at, trade);
    }
}

/// A way to break a rule for a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TradeFlaw {
    TooLarge,
    LongMemo,
    Coinbase,
    NoOutputs,
    ZeroOutput,
    Overflow,
    SameCoinTwice,
    StampAndCoin,
    NoteThatPays,
    EmptyNote,
    /// A crafted signature of this number; some are valid.
    Crafted(usize),
    OthersSignature,
    OtherNetwork,
    NoSuchCoin,
    SpentCoin,
    OthersCoin,
    UsedStamp,
    Overspent,
}

/// A way to break a rule for a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    Trade(TradeFlaw),
    Height,
    OldTime,
    Bits,
    NoWork,
    OtherBody,
    TooLarge,
    Empty,
    NoCoinbase,
    CoinbaseOfOtherHeight,
    CoinbaseWithoutHeight,
    CoinbaseWithoutOutputs,
    CoinbaseOfNothing,
    CoinbaseWithLongMemo,
    CoinbaseOverflow,
    GreedyCoinbase,
    SpendsOwnCoinbase,
    ChildBeforeParent,
    DoubleSpend,
    SameStampTwice,
}

impl TradeFlaw {
    pub(super) fn all() -> Vec<Self> {
        let plain = [
            Self::TooLarge,
            Self::LongMemo,
            Self::Coinbase,
            Self::NoOutputs,
            Self::ZeroOutput,
            Self::Overflow,
            Self::SameCoinTwice,
            Self::StampAndCoin,
            Self::NoteThatPays,
            Self::EmptyNote,
            Self::OthersSignature,
            Self::OtherNetwork,
            Self::NoSuchCoin,
            Self::SpentCoin,
            Self::OthersCoin,
            Self::UsedStamp,
            Self::Overspent,
        ];
        plain.into_iter().chain((0..crafted::CRAFTS.len()).map(Self::Crafted)).collect()
    }
}

impl Flaw {
    pub(super) fn all() -> Vec<Self> {
        let plain = [
            Self::Height,
            Self::OldTime,
            Self::Bits,
            Self::NoWork,
            Self::OtherBody,
            Self::TooLarge,
            Self::Empty,
            Self::NoCoinbase,
            Self::CoinbaseOfOtherHeight,
            Self::CoinbaseWithoutHeight,
            Self::CoinbaseWithoutOutputs,
            Self::CoinbaseOfNothing,
            Self::CoinbaseWithLongMemo,
            Self::CoinbaseOverflow,
            Self::GreedyCoinbase,
            Self::SpendsOwnCoinbase,
            Self::ChildBeforeParent,
            Self::DoubleSpend,
            Self::SameStampTwice,
        ];
        plain.into_iter().chain(TradeFlaw::all().into_iter().map(Self::Trade)).collect()
    }
}

/// Every block and trade that was ever made.
#[derive(Debug)]
pub(super) struct Forge {
    pub(super) network: Network,
    params: Params,
    blocks: BTreeMap<BlockHash, Arc<Block>>,
    /// The blocks in the order in which they were made.
    pub(super) made: Vec<Arc<Block>>,
    pub(super) trades: Vec<Arc<Transaction>>,
    /// Makes every coinbase unique.
    salt: u32,
}

fn to(owner: Owner, units: u64) -> TxOutput {
    TxOutput { value: Amount::from_units(units), owner }
}

/// Returns the coins of a purse that participants own, with their keys.
fn spendable(purse: &Purse) -> Vec<(SigningKey, OutPoint, u64)> {
    let keys: Vec<_> = (1..=PEOPLE).map(key).collect();
    let coins = purse.iter().filter(|(_, money)| money.units > 0);
    coins
        .filter_map(|((whose, txid, index), money)| {
            let key = keys.iter().find(|key| owner(key) == *whose)?;
            Some((key.clone(), OutPoint { txid: *txid, index: *index }, money.units))
        })
        .collect()
}

impl Forge {
    pub(super) fn new(network: &Network, params: Params) -> Self {
        let genesis = Arc::new(network.genesis.clone());
        Self {
            network: network.clone(),
            params,
            blocks: BTreeMap::from([(network.id, Arc::clone(&genesis))]),
            made: vec![genesis],
            trades: Vec::new(),
            salt: 0,
        }
    }

    /// Keeps a block, made here or from a template.
    pub(super) fn keep(&mut self, block: Block) -> Arc<Block> {
        let block = Arc::new(block);
        self.blocks.insert(block.hash(), Arc::clone(&block));
        self.made.push(Arc::clone(&block));
        block
    }

    fn chain_to(&self, hash: &BlockHash) -> Vec<Arc<Block>> {
        let parent = |block: &Arc<Block>| self.blocks.get(&block.header.previous).cloned();
        let mut blocks: Vec<_> =
            std::iter::successors(self.blocks.get(hash).cloned(), parent).collect();
        blocks.reverse();
        blocks
    }

    /// Returns the coins after a block. An invalid block changes no coins.
    fn purse_after(&self, hash: &BlockHash) -> Purse {
        let mut purse = Purse::new();
        for block in self.chain_to(hash) {
            let mut next = purse.clone();
            if rules::connect(&mut next, &block).is_ok() {
                purse = next;
            }
        }
        purse
    }

    // Trades

    pub(super) fn trade(&self, luck: &mut Luck, purse: &Purse) -> Option<Transaction> {
        let mut coins = spendable(purse);
        luck.shuffle(&mut coins);
        coins.truncate(1 + luck.index(3));
        if coins.is_empty() {
            return None;
        }
        let sum: u64 = coins.iter().map(|(_, _, units)| units).sum();
        let fee = if luck.chance(50) { 0 } else { luck.below(sum.min(100_000)) };
        let (mut rest, mut outputs) = (sum - fee, Vec::new());
        for _ in 0..luck.below(3) {
            let units = 1 + luck.below(rest);
            if units < rest {
                outputs.push(to(luck.owner(), units));
                rest -= units;
            }
        }
        outputs.push(to(luck.owner(), rest));
        let inputs: Vec<_> = coins.iter().map(|(key, coin, _)| (key, *coin)).collect();
        let memo = if luck.chance(20) { b"for the tea".to_vec() } else { vec![] };
        Some(signed(&self.network.id, &inputs, outputs, &memo))
    }

    /// Returns a trade that spends a coin of another trade, and perhaps more coins. Its fee may be
    /// too low.
    pub(super) fn replacement(
        &self,
        luck: &mut Luck,
        purse: &Purse,
        rival: &Transaction,
    ) -> Option<Transaction> {
        let contested = rules::places(rival);
        let mut with_rival = purse.clone();
        with_rival.retain(|place, _| contested.contains(place) || luck.chance(10));
        let coins = spendable(&with_rival);
        let sum: u64 = coins.iter().map(|(_, _, units)| units).sum();
        let fee = luck.below(sum.clamp(1, 200_000));
        let inputs: Vec<_> = coins.iter().map(|(key, coin, _)| (key, *coin)).collect();
        let fits = !inputs.is_empty() && sum > fee;
        fits.then(|| signed(&self.network.id, &inputs, vec![to(luck.owner(), sum - fee)], b""))
    }

    /// Returns trades that depend on one another: about as many as the limits allow.
    pub(super) fn chain_of_trades(&self, luck: &mut Luck, purse: &mut Purse) -> Vec<Transaction> {
        let mut chain = Vec::new();
        for _ in 0..20 + luck.below(12) {
            let Some(trade) = self.trade(luck, purse) else { break };
            *purse = rules::made(&trade, 0).into_iter().collect();
            chain.push(trade);
        }
        chain
    }

    pub(super) fn note(&self, luck: &mut Luck) -> Transaction {
        let stamp = u32::try_from(luck.below(40)).expect("small");
        note(&self.network.id, &luck.person(), stamp, format!("words {}", luck.below(3)).as_bytes())
    }

    /// Returns a trade or note with this flaw, if the coins allow one.
    pub(super) fn flawed_trade(
        &self,
        luck: &mut Luck,
        purse: &Purse,
        flaw: TradeFlaw,
    ) -> Option<Transaction> {
        let network = &self.network.id;
        let coins = spendable(purse);
        let (key, coin, units) = luck.pick(&coins)?.clone();
        let mine = owner(&key);
        let plain = |outputs| signed(network, &[(&key, coin)], outputs, b"");
        let stamp = note(network, &key, 1_000, b"words");
        Some(match flaw {
            TradeFlaw::TooLarge => plain(vec![to(mine, 1); 3_600]),
            TradeFlaw::LongMemo => {
                signed(network, &[(&key, coin)], vec![to(mine, units)], &[b'x'; 1_025])
            }
            TradeFlaw::Coinbase => Transaction {
                inputs: vec![],
                outputs: vec![to(mine, 1)],
                memo: coinbase_memo(u32::try_from(luck.below(50)).expect("small"), b""),
            },
            TradeFlaw::NoOutputs => plain(vec![]),
            TradeFlaw::ZeroOutput => plain(vec![to(mine, 1), to(mine, 0)]),
            TradeFlaw::Overflow => plain(vec![to(mine, u64::MAX), to(mine, 1)]),
            TradeFlaw::SameCoinTwice => {
                signed(network, &[(&key, coin), (&key, coin)], vec![to(mine, units)], b"")
            }
            TradeFlaw::StampAndCoin => {
                let inputs = [(&key, OutPoint { txid: TxId::ZERO, index: 7 }), (&key, coin)];
                signed(network, &inputs, vec![], b"words")
            }
            TradeFlaw::NoteThatPays => signed(
                network,
                &[(&key, OutPoint { txid: TxId::ZERO, index: 7 })],
                vec![to(mine, 1)],
                b"words",
            ),
            TradeFlaw::EmptyNote => note(network, &key, 7, b""),
            TradeFlaw::Crafted(number) => crafted::transaction(network, crafted::CRAFTS[number]).0,
            TradeFlaw::OthersSignature => {
                let mut trade = plain(vec![to(mine, units)]);
                trade.inputs[0].signature = stamp.inputs[0].signature;
                trade
            }
            TradeFlaw::OtherNetwork => {
                signed(&BlockHash([7; 32]), &[(&key, coin)], vec![to(mine, units)], b"")
            }
            TradeFlaw::NoSuchCoin => {
                let txid =
                    TxId(std::array::from_fn(|_| u8::try_from(luck.below(256)).expect("a byte")));
                signed(network, &[(&key, OutPoint { txid, index: 0 })], vec![to(mine, 1)], b"")
            }
            TradeFlaw::SpentCoin => self.trade_of_a_spent_coin(luck, purse, mine)?,
            TradeFlaw::OthersCoin => {
                signed(network, &[(&self::key(77), coin)], vec![to(mine, units)], b"")
            }
            TradeFlaw::UsedStamp => self.note_with_a_used_stamp(luck, purse)?,
            TradeFlaw::Overspent => {
                plain(vec![to(mine, units), to(luck.owner(), 1 + luck.below(units))])
            }
        })
    }

    fn trade_of_a_spent_coin(
        &self,
        luck: &mut Luck,
        purse: &Purse,
        mine: Owner,
    ) -> Option<Transaction> {
        let is_spent = |trade: &&Arc<Transaction>| {
            rules::places(trade).iter().all(|at| !purse.contains_key(at))
        };
        let spent: Vec<_> = self.trades.iter().filter(is_spent).collect();
        let input: TxInput = *luck.pick(&spent)?.inputs.first()?;
        let key = key_of(input.public_key.owner())?;
        let inputs = [(&key, input.outpoint)];
        Some(signed(&self.network.id, &inputs, vec![to(mine, 1)], b"once more"))
    }

    fn note_with_a_used_stamp(&self, luck: &mut Luck, purse: &Purse) -> Option<Transaction> {
        let stamps: Vec<_> =
            purse.iter().filter(|(_, money)| money.units == 0).map(|(place, _)| *place).collect();
        let (whose, _, index) = *luck.pick(&stamps)?;
        Some(note(&self.network.id, &key_of(whose)?, index, b"other words"))
    }

    // Blocks

    /// Returns trades and notes for a block, some new and some known, parents first, and their
    /// fees.
    fn body(&mut self, luck: &mut Luck, purse: &mut Purse) -> (Vec<Transaction>, u64) {
        let (mut chosen, mut fees) = (Vec::new(), 0);
        for _ in 0..luck.below(6) {
            let candidate = match luck.below(4) {
                0 => self.trade(luck, purse),
                1 => Some(self.note(luck)),
                _ => luck.pick(&self.trades).map(|trade| Transaction::clone(trade)),
            };
            let Some(candidate) = candidate else { continue };
            let mut next = purse.clone();
            if let Ok(fee) = rules::spend(&mut next, &candidate, 0) {
                *purse = next;
                fees += fee;
                self.trades.push(Arc::new(candidate.clone()));
                chosen.push(candidate);
            }
        }
        (chosen, fees)
    }

    fn coinbase(&mut self, luck: &mut Luck, height: u32, units: u64) -> Transaction {
        self.salt += 1;
        let outputs = if luck.chance(20) {
            vec![to(luck.owner(), units / 2), to(luck.owner(), units - units / 2)]
        } else {
            vec![to(luck.owner(), units)]
        };
        Transaction {
            inputs: vec![],
            outputs,
            memo: coinbase_memo(height, &self.salt.to_le_bytes()),
        }
    }

    /// Breaks the rule that `flaw` names, if it concerns the body. `None` if it cannot be broken
    /// here.
    fn spoil(&mut self, luck: &mut Luck, flaw: Option<Flaw>, draft: &mut Draft) -> Option<()> {
        match flaw {
            // At the end of the block, the trade finds the coins that it was made for.
            Some(Flaw::Trade(flaw)) => {
                let trade = self.flawed_trade(luck, &draft.after, flaw)?;
                draft.trades.push(trade);
            }
            Some(Flaw::TooLarge) => {
                let (key, coin, _) = spendable(&draft.after).into_iter().next()?;
                let large =
                    signed(&self.network.id, &[(&key, coin)], vec![to(owner(&key), 1); 3_500], b"");
                draft.trades = vec![large; 22];
            }
            Some(Flaw::SpendsOwnCoinbase) => {
                draft.coinbase.outputs = vec![to(owner(&key(1)), draft.claimed)];
                let coin = OutPoint { txid: draft.coinbase.txid(), index: 0 };
                let child = signed(
                    &self.network.id,
                    &[(&key(1), coin)],
                    vec![to(luck.owner(), draft.claimed)],
                    b"",
                );
                draft.insert(luck, child);
            }
            Some(Flaw::ChildBeforeParent) => {
                let parent = self.trade(luck, &draft.after)?;
                let mut with_parent = Purse::new();
                with_parent.extend(rules::made(&parent, draft.height));
                let child = self.trade(luck, &with_parent)?;
                draft.trades.extend([child, parent]);
            }
            Some(Flaw::DoubleSpend) => {
                let (key, coin, units) = luck.pick(&spendable(&draft.after))?.clone();
                for memo in [b"one", b"two"] {
                    let trade = signed(
                        &self.network.id,
                        &[(&key, coin)],
                        vec![to(luck.owner(), units)],
                        memo,
                    );
                    draft.insert(luck, trade);
                }
            }
            Some(Flaw::SameStampTwice) => {
                let key = luck.person();
                for words in [b"one", b"two"] {
                    draft.insert(luck, note(&self.network.id, &key, 2_000, words));
                }
            }
            Some(Flaw::CoinbaseOfOtherHeight) => {
                draft.coinbase.memo = coinbase_memo(draft.height + 1, &self.salt.to_le_bytes());
            }
            Some(Flaw::CoinbaseWithoutHeight) => {
                draft.coinbase.memo = draft.height.to_le_bytes()[..3].to_vec();
            }
            Some(Flaw::CoinbaseWithoutOutputs) => draft.coinbase.outputs.clear(),
            Some(Flaw::CoinbaseOfNothing) => draft.coinbase.outputs[0].value = Amount::ZERO,
            Some(Flaw::CoinbaseWithLongMemo) => draft.coinbase.memo.resize(1_025, 0),
            Some(Flaw::CoinbaseOverflow) => draft.coinbase.outputs.push(to(luck.owner(), u64::MAX)),
            Some(Flaw::GreedyCoinbase) => {
                draft.coinbase.outputs =
                    vec![to(luck.owner(), SUBSIDY + draft.fees + 1 + luck.below(SUBSIDY))];
            }
            _ => {}
        }
        Some(())
    }

    /// Returns a block on any block that was made, at a time after its parent. Without `flaw`, it
    /// breaks no rule by itself.
    pub(super) fn block(
        &mut self,
        luck: &mut Luck,
        parent: &BlockHash,
        after: UnixMillis,
        flaw: Option<Flaw>,
    ) -> Option<Arc<Block>> {
        let headers: Vec<Header> = self.chain_to(parent).iter().map(|block| block.header).collect();
        let height = headers.last()?.height + 1;
        let purse = self.purse_after(parent);
        let mut after_body = purse.clone();
        let (trades, fees) = self.body(luck, &mut after_body);
        let claimed = if luck.chance(10) { 1 + luck.below(SUBSIDY) } else { SUBSIDY + fees };
        let coinbase = self.coinbase(luck, height, claimed);
        let mut draft = Draft { coinbase, trades, after: after_body, height, claimed, fees };
        self.spoil(luck, flaw, &mut draft)?;
        let Draft { coinbase, mut trades, .. } = draft;
        let mut transactions = vec![coinbase];
        transactions.append(&mut trades);
        match flaw {
            Some(Flaw::Empty) => transactions.clear(),
            Some(Flaw::NoCoinbase) => transactions[0] = self.note(luck),
            _ => {}
        }
        let earliest = Params::earliest(&headers);
        let time = match flaw {
            Some(Flaw::OldTime) => earliest - 1 - luck.below(1_000),
            _ => earliest.max(headers.last()?.time + after),
        };
        let height = if flaw == Some(Flaw::Height) { height + 1 } else { height };
        let bits = self.params.next_bits(&headers, time);
        // More difficult than required, so that its work is still sufficient.
        let bits = if flaw == Some(Flaw::Bits) { bits - 1 } else { bits };
        let header = Header {
            previous: *parent,
            merkle_root: MerkleRoot::ZERO,
            height,
            time,
            bits,
            nonce: luck.number() >> 1,
        };
        let mut block = Block { header, transactions };
        block.header.merkle_root = block.computed_merkle_root();
        mine(&mut block);
        if flaw == Some(Flaw::NoWork) {
            while block.hash().0[0] < 16 {
                block.header.nonce += 1;
            }
        }
        let good = self.keep(block);
        if flaw != Some(Flaw::OtherBody) {
            return Some(good);
        }
        // The header is valid: its own body may arrive later.
        let mut other = Block::clone(&good);
        other.transactions[0].memo.push(b'?');
        Some(Arc::new(other))
    }
}
