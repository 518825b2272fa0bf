//! `purse` computes what a wallet has and what it can spend, without the chain thread. It reads a
//! snapshot of the coins table and the mempool's entries.
//!
//! An owner may have millions of coins, since anybody can send dust. A scan therefore streams over
//! them and keeps a bounded number. Stamps sort before the coins and are skipped.
//!
//! The snapshot may be a block ahead of the mempool's entries. Entries that are mined in the
//! snapshot are left out, so that nothing counts twice.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    api::{Balance, Funds, MempoolEntry, OwnedCoin, SpendQuery, Spendable, is_settled},
    errors::ChainFault,
    store::tables::{META_TIP, ReadTables, coin_from_bytes, split_block_key, tx_key},
};
use crate::{
    consensus::{COIN_KEY_BYTES, Coin, CoinKey, MAX_TRANSACTION_BYTES},
    primitives::{Amount, Height, OutPoint, Owner, TransactionKind, TxId, TxInput},
};

/// Coins of one kind that a scan keeps. The largest transaction can spend only a fraction of them,
/// and all coins of an ordinary wallet fit.
const KEPT: usize = 4_096;

/// Upper bound of a transaction's inputs. A search may end once that many coins are enough.
const MOST_INPUTS: usize = MAX_TRANSACTION_BYTES / TxInput::BYTES;

/// Number of coins after which a search may end if it has found enough: 0.2 s of reading.
const ENOUGH_SEEN: usize = 262_144;

/// The kinds of mined coins by risk, safest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Settled,
    Young,
    YoungReward,
}

impl Kind {
    fn of(coin: &Coin, tip: Height) -> Self {
        match coin.coinbase {
            _ if is_settled(coin, tip) => Self::Settled,
            false => Self::Young,
            true => Self::YoungReward,
        }
    }
}

/// The largest coins of one kind, and the smallest one that suffices alone.
#[derive(Debug, Default)]
struct Largest {
    kept: BTreeSet<(Amount, OutPoint, Owner, Height)>,
    least: Option<(Amount, OutPoint, Owner, Height)>,
}

impl Largest {
    fn see(&mut self, coin: &OwnedCoin, needs: Amount) {
        let row = (coin.coin.value, coin.outpoint, coin.owner, coin.coin.height);
        if row.0 >= needs && self.least.is_none_or(|least| row < least) {
            self.least = Some(row);
        }
        self.kept.insert(row);
        if self.kept.len() > KEPT {
            self.kept.pop_first();
        }
    }

    /// True if the largest coins that fit into one transaction are worth `needs`.
    fn suffice(&self, needs: Amount) -> bool {
        self.kept.iter().rev().take(MOST_INPUTS).map(|row| row.0).sum::<Amount>() >= needs
    }

    fn into_coins(mut self, coinbase: bool) -> impl Iterator<Item = OwnedCoin> {
        self.kept.extend(self.least);
        self.kept.into_iter().map(move |(value, outpoint, owner, height)| OwnedCoin {
            owner,
            outpoint,
            coin: Coin { value, height, coinbase },
        })
    }
}

/// Calls `see` with each coin of an owner until it returns false. Stamps are skipped as a range.
fn each_coin(
    tables: &ReadTables,
    owner: Owner,
    mut see: impl FnMut(OwnedCoin) -> bool,
) -> Result<(), ChainFault> {
    let (first, last) = CoinKey::coins(owner);
    let (first, last) = (first.to_bytes(), last.to_bytes());
    for entry in tables.coins.range::<&[u8; COIN_KEY_BYTES]>(&first..=&last)? {
        let (key, value) = entry?;
        let coin = coin_from_bytes(value.value())?;
        let outpoint = CoinKey::from_bytes(key.value()).outpoint;
        if !see(OwnedCoin { owner, outpoint, coin }) {
            return Ok(());
        }
    }
    Ok(())
}

fn tip_height(tables: &ReadTables) -> Result<Height, ChainFault> {
    Ok(split_block_key(&tables.meta_key(META_TIP)?).0)
}

fn is_mined(tables: &ReadTables, txid: &TxId) -> Result<bool, ChainFault> {
    Ok(tables.tx_index.get(tx_key(txid))?.is_some())
}

/// Returns every outpoint that the mempool spends.
fn spent_by(waiting: &[MempoolEntry]) -> HashSet<OutPoint> {
    let trades = waiting.iter().filter(|entry| entry.transaction.kind() == TransactionKind::Trade);
    trades.flat_map(|entry| entry.transaction.inputs.iter().map(|input| input.outpoint)).collect()
}

/// Returns the balance of several owners together.
pub(super) fn funds(
    tables: &ReadTables,
    owners: &[Owner],
    waiting: &[MempoolEntry],
) -> Result<Funds, ChainFault> {
    let height = tip_height(tables)?;
    let mine: HashSet<Owner> = owners.iter().copied().collect();
    let spent = spent_by(waiting);
    // The value of each coin of ours that the mempool makes or spends.
    let mut ours: HashMap<OutPoint, Amount> = HashMap::new();
    for entry in waiting {
        for (index, output) in (0_u32..).zip(&entry.transaction.outputs) {
            if mine.contains(&output.owner) {
                ours.insert(OutPoint { txid: entry.txid, index }, output.value);
            }
        }
    }
    let mut funds = Funds { whole: Balance { height, ..Balance::default() }, ..Funds::default() };
    let mut seen: HashMap<Owner, Amount> = HashMap::new();
    for owner in owners {
        if let Some(sum) = seen.get(owner) {
            funds.each.push(*sum);
            continue;
        }
        let (mut sum, mut settled) = (Amount::ZERO, Amount::ZERO);
        each_coin(tables, *owner, |found| {
            sum = sum.saturating_add(found.coin.value);
            if is_settled(&found.coin, height) {
                settled = settled.saturating_add(found.coin.value);
            }
            if !spent.is_empty() && spent.contains(&found.outpoint) {
                ours.insert(found.outpoint, found.coin.value);
            }
            true
        })?;
        seen.insert(*owner, sum);
        funds.each.push(sum);
        funds.whole.confirmed = funds.whole.confirmed.saturating_add(sum);
        funds.whole.settled = funds.whole.settled.saturating_add(settled);
    }
    add_pending(tables, &mine, waiting, &ours, &mut funds.whole)?;
    Ok(funds)
}

/// Adds the net gain or loss of each mempool entry.
fn add_pending(
    tables: &ReadTables,
    mine: &HashSet<Owner>,
    waiting: &[MempoolEntry],
    ours: &HashMap<OutPoint, Amount>,
    whole: &mut Balance,
) -> Result<(), ChainFault> {
    for entry in waiting {
        let outputs = entry.transaction.outputs.iter();
        let gained: Amount =
            outputs.filter(|output| mine.contains(&output.owner)).map(|output| output.value).sum();
        let inputs = entry.transaction.inputs.iter();
        let lost: Amount = inputs.filter_map(|input| ours.get(&input.outpoint)).copied().sum();
        let touches = gained > Amount::ZERO || lost > Amount::ZERO;
        if touches && !is_mined(tables, &entry.txid)? {
            let (added, taken) = (gained.checked_sub(lost), lost.checked_sub(gained));
            whole.pending_in = whole.pending_in.saturating_add(added.unwrap_or_default());
            whole.pending_out = whole.pending_out.saturating_add(taken.unwrap_or_default());
        }
    }
    Ok(())
}

/// Returns the coins that a wallet can spend next.
pub(super) fn spendable(
    tables: &ReadTables,
    query: &SpendQuery,
    waiting: &[MempoolEntry],
) -> Result<Spendable, ChainFault> {
    let height = tip_height(tables)?;
    let spent = spent_by(waiting);
    let mut found = Spendable { height, ..Spendable::default() };
    let list = match &query.from {
        Some(owner) => std::slice::from_ref(owner),
        None => &query.wallet,
    };
    let payers: HashSet<Owner> = list.iter().copied().collect();
    let [mut settled, mut young, mut rewards] = [(); 3].map(|()| Largest::default());
    let (mut seen, mut enough) = (0_usize, false);
    for owner in list {
        each_coin(tables, *owner, |coin| {
            seen = seen.saturating_add(1);
            if !spent.contains(&coin.outpoint) {
                found.total = found.total.saturating_add(coin.coin.value);
                let kind = match Kind::of(&coin.coin, height) {
                    Kind::Settled => &mut settled,
                    Kind::Young => &mut young,
                    Kind::YoungReward => &mut rewards,
                };
                kind.see(&coin, query.needs);
            }
            if seen.is_multiple_of(ENOUGH_SEEN) {
                enough = settled.suffice(query.needs);
            }
            !enough
        })?;
        if enough {
            break;
        }
    }
    // Only kinds of young coins depend on whether a coin is a reward.
    let mined = settled.into_coins(false).chain(young.into_coins(false));
    found.confirmed = mined.chain(rewards.into_coins(true)).collect();
    add_waiting(tables, query, &payers, waiting, &spent, &mut found)?;
    Ok(found)
}

/// Adds the unspent outputs of mempool entries: own change, and payments of others.
fn add_waiting(
    tables: &ReadTables,
    query: &SpendQuery,
    payers: &HashSet<Owner>,
    waiting: &[MempoolEntry],
    spent: &HashSet<OutPoint>,
    found: &mut Spendable,
) -> Result<(), ChainFault> {
    let pays = |entry: &MempoolEntry| {
        entry.transaction.outputs.iter().any(|output| payers.contains(&output.owner))
    };
    let paying: Vec<_> = waiting.iter().filter(|entry| pays(entry)).collect();
    if paying.is_empty() {
        return Ok(());
    }
    let own = own_entries(query, waiting, &paying);
    let next = found.height.saturating_add(1);
    for entry in paying {
        if is_mined(tables, &entry.txid)? {
            continue;
        }
        for (index, output) in (0_u32..).zip(&entry.transaction.outputs) {
            let outpoint = OutPoint { txid: entry.txid, index };
            if payers.contains(&output.owner) && !spent.contains(&outpoint) {
                let coin = Coin { value: output.value, height: next, coinbase: false };
                let coin = OwnedCoin { owner: output.owner, outpoint, coin };
                let is_own = own.contains(&entry.txid);
                if is_own { found.pending.push(coin) } else { found.unsure.push(coin) }
            }
        }
    }
    Ok(())
}

/// Returns the mempool entries that depend on the wallet's own coins alone: each input, and each
/// unmined ancestor's input, belongs to the wallet. Checks only `paying` and its ancestors.
fn own_entries(
    query: &SpendQuery,
    waiting: &[MempoolEntry],
    paying: &[&MempoolEntry],
) -> HashSet<TxId> {
    let by_id: HashMap<TxId, &MempoolEntry> =
        waiting.iter().map(|entry| (entry.txid, entry)).collect();
    let mut wanted = HashSet::new();
    let mut open: Vec<_> = paying.iter().map(|entry| entry.txid).collect();
    while let Some(txid) = open.pop() {
        if let Some(entry) = by_id.get(&txid)
            && wanted.insert(txid)
        {
            open.extend(entry.transaction.inputs.iter().map(|input| input.outpoint.txid));
        }
    }
    let wallet: HashSet<Owner> = query.wallet.iter().copied().collect();
    let mut own = HashSet::new();
    // Parents come first.
    for entry in waiting.iter().filter(|entry| wanted.contains(&entry.txid)) {
        let is_own = entry.transaction.inputs.iter().all(|input| {
            let parent = &input.outpoint.txid;
            (!by_id.contains_key(parent) || own.contains(parent))
                && wallet.contains(&input.public_key.owner())
        });
        if is_own {
            own.insert(entry.txid);
        }
    }
    own
}

#[cfg(test)]
mod tests;
