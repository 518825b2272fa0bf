//! Coin selection and building of unsigned trades and notes. Pure functions.
//!
//! The safest coins are spent first:
//! 1. Coins at least [`SAFE_DEPTH`] deep on the chain.
//! 2. Younger coins that are not a miner's reward. After a reorg, their trade can be mined again.
//! 3. Pending outputs: the wallet's own change. They allow many sends in a row before a block.
//! 4. Young rewards. A reorg destroys them and every trade that spends them. A trade that needs one
//!    is marked as such.
//!
//! Change goes back to the sender. A trade to oneself follows the same rules.

use super::errors::BuildError;
use crate::{
    chain::api::{OwnedCoin, Spendable},
    consensus::MAX_TRANSACTION_BYTES,
    primitives::{
        Address, Amount, Height, MAX_MEMO_BYTES, OutPoint, Owner, PublicKey, Signature,
        Transaction, TxId, TxInput, TxOutput,
    },
};

/// Depth in blocks, the coin's own included, from which a coin counts as safe. Reorgs among friends
/// are shorter.
pub(crate) const SAFE_DEPTH: Height = 6;

/// An unsigned trade, with the risks that its signer should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuiltTrade {
    /// The transaction. All signatures are zeros until `Wallet::sign` fills them.
    pub transaction: Transaction,
    /// True if it spends the reward of a block less than [`SAFE_DEPTH`] deep. A reorg that removes
    /// the block makes this trade void.
    pub rests_on_young_rewards: bool,
    /// True if it spends coins that are not mined yet.
    pub rests_on_pending: bool,
}

/// The safety of a coin, safest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sureness {
    Deep,
    Young,
    Pending,
    YoungReward,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    outpoint: OutPoint,
    value: Amount,
    sureness: Sureness,
}

/// Builds a trade of `amount` from the address of the key `from` to `to`, with `fee` for the miner.
///
/// `spendable` holds the coins that `from`'s owner can spend next, as reported by the chain. Submit
/// each trade before building the next, or both would spend the same coins.
pub(crate) fn build_trade(
    spendable: &Spendable,
    from: PublicKey,
    to: Owner,
    amount: Amount,
    fee: Amount,
    memo: &[u8],
) -> Result<BuiltTrade, BuildError> {
    if memo.len() > MAX_MEMO_BYTES {
        return Err(BuildError::TextTooLong(memo.len()));
    }
    if amount == Amount::ZERO {
        return Err(BuildError::ZeroAmount);
    }
    let needs = amount.checked_add(fee).ok_or(BuildError::TooLarge { amount, fee })?;
    let candidates = candidates(spendable);
    let has: Amount = candidates.iter().map(|coin| coin.value).sum();
    let address = Address(from.owner());
    if has < needs {
        let waiting = candidates.iter().filter(|coin| coin.sureness == Sureness::Pending);
        return Err(BuildError::NotEnough {
            address,
            has,
            needs,
            pending: waiting.map(|coin| coin.value).sum(),
        });
    }
    let most_inputs = most_inputs(memo.len());
    let chosen =
        choose(candidates, needs, most_inputs).map_err(|gathered| BuildError::TooManyCoins {
            address,
            most: gathered.checked_sub(fee).unwrap_or(Amount::ZERO),
        })?;
    let total: Amount = chosen.iter().map(|coin| coin.value).sum();
    let change = total.checked_sub(needs).unwrap_or(Amount::ZERO);
    let mut outputs = vec![TxOutput { value: amount, owner: to }];
    if change > Amount::ZERO {
        outputs.push(TxOutput { value: change, owner: from.owner() });
    }
    Ok(BuiltTrade {
        rests_on_young_rewards: chosen.iter().any(|coin| coin.sureness == Sureness::YoungReward),
        rests_on_pending: chosen.iter().any(|coin| coin.sureness == Sureness::Pending),
        transaction: Transaction {
            inputs: chosen.iter().map(|coin| unsigned(coin.outpoint, from)).collect(),
            outputs,
            memo: memo.to_vec(),
        },
    })
}

/// Builds a replacement of `trade` with a higher fee. It spends the same coins and pays the same
/// recipients.
///
/// `before` is the current fee. The difference comes from the change. If the change is too small,
/// further confirmed coins of the sender are added. Pending coins are not used: they may depend on
/// the trade itself.
pub(crate) fn raise_fee(
    trade: &Transaction,
    before: Amount,
    fee: Amount,
    spendable: &Spendable,
) -> Result<BuiltTrade, BuildError> {
    let Some(from) = trade
        .inputs
        .first()
        .filter(|input| !input.outpoint.is_stamp())
        .map(|input| input.public_key)
    else {
        return Err(BuildError::NoteWithFee);
    };
    let more = fee.checked_sub(before).filter(|more| *more > Amount::ZERO);
    let more = more.ok_or(BuildError::FeeNotRaised { before, fee })?;
    let mut transaction = trade.clone();
    for input in &mut transaction.inputs {
        input.signature = Signature([0; 64]);
    }
    // `build_trade` puts the change last. A single output is not change, even if it goes to the
    // sender.
    let own = |output: &TxOutput| output.owner == from.owner();
    let change =
        transaction.outputs.iter().rposition(own).filter(|_| transaction.outputs.len() > 1);
    let has = change
        .and_then(|at| transaction.outputs.get(at))
        .map_or(Amount::ZERO, |output| output.value);
    let (mut left, mut chosen) = (has.checked_sub(more), Vec::new());
    if left.is_none() {
        let needs = more.checked_sub(has).unwrap_or(Amount::ZERO);
        let candidates = candidates(&Spendable { pending: Vec::new(), ..spendable.clone() });
        let (address, more_coins) =
            (Address(from.owner()), candidates.iter().map(|coin| coin.value).sum());
        if more_coins < needs {
            return Err(BuildError::NotEnough {
                address,
                has: more_coins,
                needs,
                pending: Amount::ZERO,
            });
        }
        let most = most_inputs(transaction.memo.len()).saturating_sub(transaction.inputs.len());
        chosen = choose(candidates, needs, most)
            .map_err(|most| BuildError::TooManyCoins { address, most })?;
        left = chosen.iter().map(|coin| coin.value).sum::<Amount>().checked_sub(needs);
    }
    transaction.inputs.extend(chosen.iter().map(|coin| unsigned(coin.outpoint, from)));
    if let Some(at) = change {
        transaction.outputs.remove(at);
    }
    if let Some(value) = left.filter(|left| *left > Amount::ZERO) {
        transaction.outputs.push(TxOutput { value, owner: from.owner() });
    }
    Ok(BuiltTrade {
        rests_on_young_rewards: chosen.iter().any(|coin| coin.sureness == Sureness::YoungReward),
        rests_on_pending: false,
        transaction,
    })
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

/// Returns the number of inputs that fit beside a memo of `memo` bytes and two outputs.
fn most_inputs(memo: usize) -> usize {
    let empty = Transaction { inputs: Vec::new(), outputs: Vec::new(), memo: Vec::new() };
    let fixed = empty.encoded_len().saturating_add(memo).saturating_add(2 * TxOutput::BYTES);
    MAX_TRANSACTION_BYTES.saturating_sub(fixed) / TxInput::BYTES
}

fn candidates(spendable: &Spendable) -> Vec<Candidate> {
    let candidate = |owned: &OwnedCoin, sureness| Candidate {
        outpoint: owned.outpoint,
        value: owned.coin.value,
        sureness,
    };
    let confirmed = spendable.confirmed.iter().map(|owned| {
        let depth = spendable.height.saturating_sub(owned.coin.height).saturating_add(1);
        let sureness = match owned.coin.coinbase {
            _ if depth >= SAFE_DEPTH => Sureness::Deep,
            false => Sureness::Young,
            true => Sureness::YoungReward,
        };
        candidate(owned, sureness)
    });
    let pending = spendable.pending.iter().map(|owned| candidate(owned, Sureness::Pending));
    // A stamp has no value and cannot be spent.
    confirmed.chain(pending).filter(|coin| coin.value > Amount::ZERO).collect()
}

/// Chooses at most `limit` coins worth at least `needs`, the safest first. The sum of all
/// candidates must be at least `needs`.
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
    candidates
        .sort_unstable_by_key(|coin| (coin.sureness, std::cmp::Reverse(coin.value), coin.outpoint));
    if let Some(chosen) = take_until(&candidates, needs, limit) {
        return Ok(chosen);
    }
    candidates
        .sort_unstable_by_key(|coin| (std::cmp::Reverse(coin.value), coin.sureness, coin.outpoint));
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::consensus::{Coin, check_transaction};

    const HEIGHT: Height = 20;

    fn key() -> PublicKey {
        PublicKey([7; 32])
    }

    fn coin(name: u8, value: u64, height: Height, coinbase: bool) -> OwnedCoin {
        OwnedCoin {
            outpoint: OutPoint { txid: TxId([name; 32]), index: 0 },
            coin: Coin { value: Amount::from_units(value), height, coinbase },
        }
    }

    fn spendable(confirmed: Vec<OwnedCoin>, pending: Vec<OwnedCoin>) -> Spendable {
        Spendable { confirmed, pending, height: HEIGHT }
    }

    fn send(spendable: &Spendable, amount: u64, fee: u64) -> Result<BuiltTrade, BuildError> {
        let units = Amount::from_units;
        build_trade(spendable, key(), Owner([1; 20]), units(amount), units(fee), b"")
    }

    fn spent(trade: &BuiltTrade) -> Vec<u8> {
        trade.transaction.inputs.iter().map(|input| input.outpoint.txid.0[0]).collect()
    }

    #[test]
    fn change_goes_back_to_the_sender() {
        let trade = send(&spendable(vec![coin(1, 100, 3, true)], vec![]), 10, 1).unwrap();
        let outputs: Vec<_> =
            trade.transaction.outputs.iter().map(|o| (o.owner, o.value.units())).collect();
        assert_eq!(outputs, [(Owner([1; 20]), 10), (key().owner(), 89)]);
        let exact = send(&spendable(vec![coin(1, 11, 3, true)], vec![]), 10, 1).unwrap();
        assert_eq!(exact.transaction.outputs.len(), 1);
    }

    #[test]
    fn a_higher_fee_comes_from_the_change_and_then_from_more_coins() {
        let units = Amount::from_units;
        let coins = spendable(vec![coin(1, 100, 3, true)], vec![]);
        let sent = send(&coins, 10, 1).unwrap().transaction;
        let rest = spendable(vec![coin(2, 50, 3, true)], vec![coin(3, 1_000, 21, false)]);
        let raised = |fee| raise_fee(&sent, units(1), units(fee), &rest);
        let outputs = |trade: &BuiltTrade| -> Vec<_> {
            trade
                .transaction
                .outputs
                .iter()
                .map(|output| (output.owner, output.value.units()))
                .collect()
        };
        let (to, me) = (Owner([1; 20]), key().owner());
        assert_eq!(outputs(&raised(9).unwrap()), [(to, 10), (me, 81)]);
        assert_eq!(outputs(&raised(90).unwrap()), [(to, 10)], "all of the change");
        let with_more = raised(95).unwrap();
        assert_eq!(
            (spent(&with_more), outputs(&with_more)),
            (vec![1, 2], vec![(to, 10), (me, 45)])
        );
        assert_eq!(outputs(&raised(140).unwrap()), [(to, 10)], "all there is");
        assert!(
            matches!(raised(141), Err(BuildError::NotEnough { needs, .. }) if needs == units(51))
        );
        assert_eq!(raised(1), Err(BuildError::FeeNotRaised { before: units(1), fee: units(1) }));
        let note = build_note(key(), "x", 1).unwrap();
        assert_eq!(raise_fee(&note, units(0), units(5), &rest), Err(BuildError::NoteWithFee));
    }

    #[test]
    fn the_surest_coins_are_spent_first_and_young_rewards_last() {
        let coins = spendable(
            vec![coin(4, 100, 16, true), coin(2, 100, 19, false), coin(1, 100, 15, true)],
            vec![coin(3, 100, 21, false)],
        );
        let built = |amount| send(&coins, amount, 0).unwrap();
        assert_eq!(spent(&built(100)), [1]);
        assert_eq!(spent(&built(200)), [1, 2]);
        assert_eq!(spent(&built(300)), [1, 2, 3]);
        assert_eq!(spent(&built(400)), [1, 2, 3, 4]);
        assert_eq!(
            (built(200).rests_on_pending, built(200).rests_on_young_rewards),
            (false, false)
        );
        assert_eq!((built(300).rests_on_pending, built(300).rests_on_young_rewards), (true, false));
        assert!(built(400).rests_on_young_rewards);
    }

    #[test]
    fn a_small_payment_leaves_large_coins_whole() {
        let coins = spendable(
            vec![coin(1, 1_000, 3, false), coin(2, 30, 3, false), coin(3, 20, 3, false)],
            vec![],
        );
        assert_eq!(spent(&send(&coins, 25, 0).unwrap()), [2]);
        assert_eq!(spent(&send(&coins, 1_010, 0).unwrap()), [1, 3]);
    }

    #[test]
    fn too_little_says_what_there_is_and_what_waits() {
        let coins = spendable(
            vec![coin(1, 5_000_000_000, 3, true)],
            vec![coin(2, 1_000_000_000, 21, false)],
        );
        let error = send(&coins, 9_000_000_000, 0).unwrap_err();
        let address = Address(key().owner());
        assert_eq!(
            error.to_string(),
            format!(
                "{address} has 60 (10 of it waits to be mined), and this needs 90: send less, or \
                 wait for more or mine it"
            )
        );
        let nothing = send(&spendable(vec![], vec![]), 10, 0).unwrap_err();
        assert_eq!(
            nothing.to_string(),
            format!(
                "{address} has 0, and this needs 0.0000001: send less, or wait for more or mine it"
            )
        );
    }

    #[test]
    fn amounts_that_make_no_sense_are_refused() {
        let coins = spendable(vec![coin(1, 100, 3, true)], vec![]);
        assert_eq!(send(&coins, 0, 1), Err(BuildError::ZeroAmount));
        assert!(matches!(send(&coins, u64::MAX, 1), Err(BuildError::TooLarge { .. })));
        let memo = vec![b'x'; MAX_MEMO_BYTES + 1];
        let long =
            build_trade(&coins, key(), Owner([1; 20]), Amount::from_units(1), Amount::ZERO, &memo);
        assert_eq!(long, Err(BuildError::TextTooLong(1_025)));
    }

    #[test]
    fn many_small_coins_fit_as_far_as_a_trade_can_hold_them_and_the_error_says_how_far_that_is() {
        let dust = |count: u32| -> Vec<OwnedCoin> {
            (0..count)
                .map(|index| OwnedCoin {
                    outpoint: OutPoint { txid: TxId([1; 32]), index },
                    ..coin(1, 10, 3, false)
                })
                .collect()
        };
        let coins = spendable(dust(2_000), vec![]);
        let Err(BuildError::TooManyCoins { most, .. }) = send(&coins, 15_000, 5) else {
            panic!("2,000 inputs do not fit");
        };
        let built = send(&coins, most.units(), 5).unwrap();
        assert!(built.transaction.encoded_len() <= MAX_TRANSACTION_BYTES);
        assert_eq!(built.transaction.inputs.len(), most_inputs(0));
        assert!(matches!(send(&coins, most.units() + 1, 5), Err(BuildError::TooManyCoins { .. })));
        // A large coin that is less sure is better than no trade.
        let rich = spendable([dust(2_000), vec![coin(9, 100_000, 20, true)]].concat(), vec![]);
        assert!(send(&rich, 15_000, 5).unwrap().rests_on_young_rewards);
    }

    #[test]
    fn a_note_needs_a_text_that_fits_and_spends_no_coin() {
        assert_eq!(build_note(key(), "", 1), Err(BuildError::EmptyNote));
        assert_eq!(build_note(key(), &"é".repeat(513), 1), Err(BuildError::TextTooLong(1_026)));
        let note = build_note(key(), "GoodMorning!", 9).unwrap();
        assert_eq!(note.kind(), crate::primitives::TransactionKind::Note);
        assert!(note.outputs.is_empty());
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_and_no_coin_is_spent_twice(
            values in prop::collection::vec(
                (1_u64..10_000, 0_u32..=HEIGHT, any::<bool>(), any::<bool>()),
                0..40,
            ),
            amount in 1_u64..100_000,
            fee in 0_u64..100,
        ) {
            let mut coins = spendable(vec![], vec![]);
            let mut has = 0;
            for (name, (value, height, coinbase, pending)) in (1_u8..).zip(values) {
                has += value;
                let list = if pending { &mut coins.pending } else { &mut coins.confirmed };
                list.push(coin(name, value, height, coinbase && !pending));
            }
            match send(&coins, amount, fee) {
                Err(error) => {
                    let refused = matches!(error, BuildError::NotEnough { .. });
                    prop_assert!(refused && has < amount + fee);
                }
                Ok(trade) => {
                    let mut names = spent(&trade);
                    names.sort_unstable();
                    names.dedup();
                    prop_assert_eq!(names.len(), trade.transaction.inputs.len());
                    let all: Vec<_> = coins.confirmed.iter().chain(&coins.pending).collect();
                    let value_in: u64 = names
                        .iter()
                        .filter_map(|name| {
                            all.iter().find(|owned| owned.outpoint.txid.0[0] == *name)
                        })
                        .map(|owned| owned.coin.value.units())
                        .sum();
                    let outputs = trade.transaction.outputs.iter();
                    let value_out: u64 = outputs.map(|output| output.value.units()).sum();
                    prop_assert_eq!(value_in, value_out + fee);
                    prop_assert_eq!(check_transaction(&trade.transaction), Ok(()));
                }
            }
        }
    }
}
