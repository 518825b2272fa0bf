//! Coin selection and building of unsigned trades and notes. Pure functions.
//!
//! A trade spends coins of any of the wallet's addresses. The safest coins are spent first:
//! 1. Mined coins that are settled ([`is_settled`]).
//! 2. Younger coins that are not a miner's reward. After a reorg, their trade can be mined again.
//! 3. The wallet's own change that is not mined yet. It allows many sends in a row before a block.
//! 4. Young rewards. A reorg destroys them and every trade that spends them. A trade that needs one
//!    is marked as such.
//! 5. What others have sent and is not mined yet, if the user allows it. Its sender can replace it,
//!    and every trade that spends it is then void.
//!
//! Change goes back to the address of the first coin spent. Payments therefore use up no addresses,
//! and a restored wallet finds its change at an address that it searches first.

use std::{cmp::Reverse, collections::HashMap};

use super::errors::{BuildError, Payer};
use crate::{
    chain::api::{OwnedCoin, Spendable, is_settled},
    consensus::MAX_TRANSACTION_BYTES,
    primitives::{
        Address, Amount, MAX_MEMO_BYTES, OutPoint, Owner, PublicKey, Signature, Transaction, TxId,
        TxInput, TxOutput,
    },
};

/// The wallet's public keys by their owners.
pub(crate) type Keys = HashMap<Owner, PublicKey>;

/// A payment to build: recipients, amounts, and the coins that it may use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Order {
    /// The payments, at least one.
    pub outputs: Vec<TxOutput>,
    /// The fee for the miner.
    pub fee: Amount,
    pub memo: Vec<u8>,
    /// The only address that pays; `None`: all of the wallet's.
    pub from: Option<Owner>,
    /// A coin that the trade must spend, so that no other trade that spends this coin can also be
    /// mined.
    pub tie: Option<OwnedCoin>,
    /// True if coins of others may be spent before they are mined.
    pub unconfirmed: bool,
}

/// An unsigned trade, with the risks that its signer should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuiltTrade {
    /// The transaction. All signatures are zeros until `Wallet::sign` fills them.
    pub transaction: Transaction,
    /// True if the trade spends a reward that is not settled ([`is_settled`]). A reorg that removes
    /// the reward's block makes this trade void.
    pub rests_on_young_rewards: bool,
    /// The transactions whose unmined coins the trade spends, each once.
    pub rests_on: Vec<TxId>,
    /// The owner of the first coin spent, which gets the change.
    pub payer: Owner,
}

/// The safety of a coin, safest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sureness {
    Settled,
    Young,
    OwnChange,
    YoungReward,
    Unsure,
}

impl Sureness {
    const fn is_mined(self) -> bool {
        matches!(self, Self::Settled | Self::Young | Self::YoungReward)
    }
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    owner: Owner,
    outpoint: OutPoint,
    value: Amount,
    sureness: Sureness,
}

/// Builds the trade of an order.
///
/// `spendable` holds the coins that the wallet can spend next, as reported by the chain. Submit
/// each trade before building the next, or both would spend the same coins.
pub(crate) fn build_trade(
    spendable: &Spendable,
    keys: &Keys,
    order: &Order,
) -> Result<BuiltTrade, BuildError> {
    if order.memo.len() > MAX_MEMO_BYTES {
        return Err(BuildError::TextTooLong(order.memo.len()));
    }
    if order.outputs.iter().any(|output| output.value == Amount::ZERO) {
        return Err(BuildError::ZeroAmount);
    }
    let (amount, fee) =
        (order.outputs.iter().map(|output| output.value).sum::<Amount>(), order.fee);
    let needs = amount.checked_add(fee).ok_or(BuildError::TooLarge { amount, fee })?;
    let unsure = spendable.unsure.iter().map(|owned| owned.coin.value).sum();
    let mut coins = candidates(spendable, order.unconfirmed);
    let tie = order.tie.map(|tie| tied(&mut coins, tie));
    let tied_value = tie.map_or(Amount::ZERO, |tie| tie.value);
    let pending = coins.iter().chain(&tie).filter(|coin| !coin.sureness.is_mined());
    let pending: Amount = pending.map(|coin| coin.value).sum();
    let has = spendable.total.saturating_add(pending);
    let payer = order.from.map_or(Payer::Wallet, |owner| Payer::Address(Address(owner)));
    let rest = needs.checked_sub(tied_value).unwrap_or_default();
    if has < needs {
        let more = if order.unconfirmed { Amount::ZERO } else { unsure };
        return Err(BuildError::NotEnough { payer, has, needs, pending, more });
    }
    let most = most_inputs(order.memo.len(), order.outputs.len().saturating_add(1));
    let largest = largest_owner(&coins).or(tie.map(|tie| tie.owner)).unwrap_or(Owner::ZERO);
    let mut chosen: Vec<_> = tie.into_iter().collect();
    if rest > Amount::ZERO {
        let room = most.saturating_sub(chosen.len());
        chosen.extend(choose(coins, rest, room).map_err(|gathered| BuildError::TooManyCoins {
            payer,
            gather: Address(largest),
            most: gathered.saturating_add(tied_value).checked_sub(fee).unwrap_or_default(),
        })?);
    }
    let change = sum(&chosen).checked_sub(needs).unwrap_or_default();
    let mut outputs = order.outputs.clone();
    let payer = chosen.first().map_or(Owner::ZERO, |coin| coin.owner);
    if change > Amount::ZERO {
        outputs.push(TxOutput { value: change, owner: payer });
    }
    let inputs = unsigned_inputs(&chosen, keys)?;
    let transaction = Transaction { inputs, outputs, memo: order.memo.clone() };
    Ok(built(transaction, &chosen, payer))
}

/// Builds a replacement of `trade` with a higher fee. It spends the same coins and pays the same
/// recipients.
///
/// `before` is the current fee. The difference comes from the change. If the change is too small,
/// further mined coins of the wallet are added. Unmined coins are not used: they may depend on the
/// trade itself.
pub(crate) fn raise_fee(
    trade: &Transaction,
    before: Amount,
    fee: Amount,
    spendable: &Spendable,
    keys: &Keys,
) -> Result<BuiltTrade, BuildError> {
    let payer = payer_of(trade)?;
    let more = fee.checked_sub(before).filter(|more| *more > Amount::ZERO);
    let more = more.ok_or(BuildError::FeeNotRaised { before, fee })?;
    let mut outputs = trade.outputs.clone();
    let change = change_of(trade, keys);
    let change = change.map(|at| outputs.remove(at));
    let has = change.map_or(Amount::ZERO, |output| output.value);
    let (mut left, mut chosen) = (has.checked_sub(more), Vec::new());
    if left.is_none() {
        let needs = more.checked_sub(has).unwrap_or_default();
        chosen = choose_more(trade, needs, spendable)?;
        left = sum(&chosen).checked_sub(needs);
    }
    if let Some(value) = left.filter(|left| *left > Amount::ZERO) {
        outputs.push(TxOutput { value, owner: change.map_or(payer, |output| output.owner) });
    }
    replacement(trade, &chosen, outputs, payer, keys)
}

/// Builds a replacement of `trade` that pays everything back to the wallet, less `fee`.
///
/// `before` is the current fee. Mined coins are added if the trade's own coins do not cover the new
/// fee.
pub(crate) fn build_cancel(
    trade: &Transaction,
    before: Amount,
    fee: Amount,
    spendable: &Spendable,
    keys: &Keys,
) -> Result<BuiltTrade, BuildError> {
    let payer = payer_of(trade)?;
    let given: Amount = trade.outputs.iter().map(|output| output.value).sum();
    let has = given.saturating_add(before);
    let least = fee.saturating_add(Amount::from_units(1));
    let chosen = match least.checked_sub(has) {
        Some(needs) if needs > Amount::ZERO => choose_more(trade, needs, spendable)?,
        _ => Vec::new(),
    };
    let value = has.saturating_add(sum(&chosen)).checked_sub(fee).unwrap_or_default();
    let bare = Transaction { memo: Vec::new(), ..trade.clone() };
    replacement(&bare, &chosen, vec![TxOutput { value, owner: payer }], payer, keys)
}

/// Returns the position of a trade's change: its last output to the wallet. A single output is not
/// change.
pub(crate) fn change_of(trade: &Transaction, keys: &Keys) -> Option<usize> {
    let own = |output: &TxOutput| keys.contains_key(&output.owner);
    trade.outputs.iter().rposition(own).filter(|_| trade.outputs.len() > 1)
}

/// Builds an unsigned note of `text` by the key `from`. `index` is the index of its stamp. Draw it
/// at random, so that no two notes of one key use the same stamp.
pub(crate) fn build_note(
    from: PublicKey,
    text: &str,
    index: u32,
) -> Result<Transaction, BuildError> {
    if text.is_empty() {
        return Err(BuildError::EmptyNote);
    }
    if text.len() > MAX_MEMO_BYTES {
        return Err(BuildError::TextTooLong(text.len()));
    }
    let stamp = OutPoint { txid: TxId::ZERO, index };
    Ok(Transaction {
        inputs: vec![unsigned(stamp, from)],
        outputs: Vec::new(),
        memo: text.as_bytes().to_vec(),
    })
}

const fn unsigned(outpoint: OutPoint, public_key: PublicKey) -> TxInput {
    TxInput { outpoint, public_key, signature: Signature([0; 64]) }
}

/// Returns the owner of a trade's first input, who is the payer. A note has none.
fn payer_of(trade: &Transaction) -> Result<Owner, BuildError> {
    let first = trade.inputs.first().filter(|input| !input.outpoint.is_stamp());
    first.map(|input| input.public_key.owner()).ok_or(BuildError::NoteWithFee)
}

fn unsigned_inputs(chosen: &[Candidate], keys: &Keys) -> Result<Vec<TxInput>, BuildError> {
    let input = |coin: &Candidate| {
        let key = keys.get(&coin.owner).ok_or(BuildError::NotOurs(Address(coin.owner)))?;
        Ok(unsigned(coin.outpoint, *key))
    };
    chosen.iter().map(input).collect()
}

fn built(transaction: Transaction, chosen: &[Candidate], payer: Owner) -> BuiltTrade {
    let unmined = chosen.iter().filter(|coin| !coin.sureness.is_mined());
    let mut rests_on: Vec<_> = unmined.map(|coin| coin.outpoint.txid).collect();
    rests_on.sort_unstable();
    rests_on.dedup();
    let young = chosen.iter().any(|coin| coin.sureness == Sureness::YoungReward);
    BuiltTrade { transaction, rests_on_young_rewards: young, rests_on, payer }
}

/// Builds a trade that spends the coins of `trade` and the coins `chosen`.
fn replacement(
    trade: &Transaction,
    chosen: &[Candidate],
    outputs: Vec<TxOutput>,
    payer: Owner,
    keys: &Keys,
) -> Result<BuiltTrade, BuildError> {
    let mut inputs = Vec::with_capacity(trade.inputs.len().saturating_add(chosen.len()));
    for input in &trade.inputs {
        let owner = input.public_key.owner();
        if !keys.contains_key(&owner) {
            return Err(BuildError::NotOurs(Address(owner)));
        }
        inputs.push(unsigned(input.outpoint, input.public_key));
    }
    inputs.extend(unsigned_inputs(chosen, keys)?);
    Ok(built(Transaction { inputs, outputs, memo: trade.memo.clone() }, chosen, payer))
}

/// Chooses mined coins worth `needs` that fit beside a trade's inputs.
fn choose_more(
    trade: &Transaction,
    needs: Amount,
    spendable: &Spendable,
) -> Result<Vec<Candidate>, BuildError> {
    let mut coins = candidates(spendable, false);
    coins.retain(|coin| coin.sureness.is_mined());
    let payer = Payer::Wallet;
    if spendable.total < needs {
        let (has, pending, more) = (spendable.total, Amount::ZERO, Amount::ZERO);
        return Err(BuildError::NotEnough { payer, has, needs, pending, more });
    }
    let most = most_inputs(trade.memo.len(), trade.outputs.len().saturating_add(1));
    let gather = Address(largest_owner(&coins).unwrap_or(Owner::ZERO));
    choose(coins, needs, most.saturating_sub(trade.inputs.len()))
        .map_err(|most| BuildError::TooManyCoins { payer, gather, most })
}

/// Returns the number of inputs that fit beside a memo of `memo` bytes and `outputs` outputs.
fn most_inputs(memo: usize, outputs: usize) -> usize {
    let empty = Transaction { inputs: Vec::new(), outputs: Vec::new(), memo: Vec::new() };
    let outputs = outputs.saturating_mul(TxOutput::BYTES);
    let fixed = empty.encoded_len().saturating_add(memo).saturating_add(outputs);
    MAX_TRANSACTION_BYTES.saturating_sub(fixed) / TxInput::BYTES
}

fn candidates(spendable: &Spendable, unconfirmed: bool) -> Vec<Candidate> {
    let candidate = |owned: &OwnedCoin, sureness| Candidate {
        owner: owned.owner,
        outpoint: owned.outpoint,
        value: owned.coin.value,
        sureness,
    };
    let confirmed = spendable.confirmed.iter().map(|owned| {
        let sureness = match owned.coin.coinbase {
            _ if is_settled(&owned.coin, spendable.height) => Sureness::Settled,
            false => Sureness::Young,
            true => Sureness::YoungReward,
        };
        candidate(owned, sureness)
    });
    let pending = spendable.pending.iter().map(|owned| candidate(owned, Sureness::OwnChange));
    let unsure = spendable.unsure.iter().filter(|_| unconfirmed);
    let unsure = unsure.map(|owned| candidate(owned, Sureness::Unsure));
    // A stamp has no value and cannot be spent.
    confirmed.chain(pending).chain(unsure).filter(|coin| coin.value > Amount::ZERO).collect()
}

/// Removes the tie from the candidates. If it is not among them, it is an unmined output.
fn tied(coins: &mut Vec<Candidate>, tie: OwnedCoin) -> Candidate {
    match coins.iter().position(|coin| coin.outpoint == tie.outpoint) {
        Some(at) => coins.swap_remove(at),
        None => Candidate {
            owner: tie.owner,
            outpoint: tie.outpoint,
            value: tie.coin.value,
            sureness: Sureness::Unsure,
        },
    }
}

fn sum(coins: &[Candidate]) -> Amount {
    coins.iter().map(|coin| coin.value).sum()
}

fn largest_owner(coins: &[Candidate]) -> Option<Owner> {
    coins.iter().max_by_key(|coin| (coin.value, coin.outpoint)).map(|coin| coin.owner)
}

/// Chooses at most `limit` coins worth at least `needs`, the safest first.
///
/// # Errors
/// Returns the sum of the `limit` largest coins if that is less than `needs`.
fn choose(
    mut candidates: Vec<Candidate>,
    needs: Amount,
    limit: usize,
) -> Result<Vec<Candidate>, Amount> {
    // Among equally safe coins, the largest first gives fewer inputs. The outpoint makes the choice
    // deterministic.
    candidates.sort_unstable_by_key(|coin| (coin.sureness, Reverse(coin.value), coin.outpoint));
    if let Some(chosen) = take_until(&candidates, needs, limit) {
        return Ok(chosen);
    }
    candidates.sort_unstable_by_key(|coin| (Reverse(coin.value), coin.sureness, coin.outpoint));
    take_until(&candidates, needs, limit)
        .ok_or_else(|| candidates.iter().take(limit).map(|coin| coin.value).sum())
}

/// Returns the shortest prefix of `sorted` worth `needs`. Its last coin is replaced by the smallest
/// equally safe coin that suffices, so that a small payment leaves the large coins whole.
fn take_until(sorted: &[Candidate], needs: Amount, limit: usize) -> Option<Vec<Candidate>> {
    let mut total = Amount::ZERO;
    for (index, coin) in sorted.iter().enumerate().take(limit) {
        let before = total;
        total = total.saturating_add(coin.value);
        if total >= needs {
            let rest = sorted.get(index..).unwrap_or_default();
            let enough = |other: &&Candidate| {
                other.sureness == coin.sureness && before.saturating_add(other.value) >= needs
            };
            let last = rest.iter().filter(enough).min_by_key(|other| other.value).unwrap_or(coin);
            let mut chosen = sorted.get(..index).unwrap_or_default().to_vec();
            chosen.push(*last);
            return Some(chosen);
        }
    }
    None
}

#[cfg(test)]
mod tests;
