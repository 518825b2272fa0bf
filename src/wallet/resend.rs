//! The plan for sending a void payment again without paying twice.
//!
//! The old transaction may still be mined by somebody who has it. A new one is safe if the two can
//! never both be mined. It is safe if it spends a coin of the old one, or an output of the
//! transaction that spent such a coin, or if that transaction is settled. Pure functions.

use super::build::{Keys, Order, change_of};
use crate::{
    chain::api::{InputFate, OwnedCoin, SETTLED_DEPTH, Spendable},
    primitives::{Amount, Height, OutPoint, Transaction, TransactionKind, TxId, TxOutput},
};

/// A way to send a void transaction again.
#[derive(Debug, Clone)]
pub(crate) enum Plan {
    /// The same transaction is valid again.
    Same,
    /// A new transaction for the same payees.
    Anew(Order),
}

/// Reasons why a void transaction is not sent again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResendError {
    #[error("the stamp of note {0} is used up: write its text again with note")]
    Note(TxId),
    /// The transaction that spent the coins pays the same payees at least as much.
    #[error("{by} took the place of {txid} and pays the same: nothing is left to send again")]
    AlreadyPaid { txid: TxId, by: TxId },
    /// A later transaction makes the same payments.
    #[error(
        "{by} was sent since and pays the same as {txid}: give --force if it is to be paid once \
         more"
    )]
    PaidSince { txid: TxId, by: TxId },
    /// The transaction that spent the coins may still leave the chain or the mempool.
    #[error(
        "{txid} could still be mined beside a new payment, since {by}, which took its coins, is \
         not settled: wait until {by} is {SETTLED_DEPTH} blocks deep, or give --force if you take \
         the risk of paying twice"
    )]
    NotSettled { txid: TxId, by: TxId },
    /// A coin does not exist on any branch that this node has.
    #[error(
        "{txid} could still be mined beside a new payment if its coin {}:{} came back, which is \
         not on this chain now: give --force if you take the risk of paying twice",
        coin.txid, coin.index
    )]
    CoinMayReturn { txid: TxId, coin: OutPoint },
}

/// Returns a plan for sending `trade` again. `fates` are the fates of its inputs, in their order.
pub(crate) fn plan(
    txid: TxId,
    trade: &Transaction,
    fates: &[InputFate],
    spendable: &Spendable,
    keys: &Keys,
    force: bool,
) -> Result<Plan, ResendError> {
    if fates.iter().all(|fate| matches!(fate, InputFate::Free(_))) {
        return Ok(Plan::Same);
    }
    if trade.kind() == TransactionKind::Note {
        return Err(ResendError::Note(txid));
    }
    let mut outputs = trade.outputs.clone();
    if let Some(at) = change_of(trade, keys) {
        outputs.remove(at);
    }
    for fate in fates {
        if let InputFate::Spent { by, transaction, .. } = fate
            && pays_the_same(&outputs, transaction, keys)
        {
            return Err(ResendError::AlreadyPaid { txid, by: *by });
        }
    }
    let tie = tie(fates, spendable);
    if tie.is_none() && !force && !is_settled(fates, spendable.height) {
        return Err(risk(txid, fates));
    }
    let memo = trade.memo.clone();
    Ok(Plan::Anew(Order { outputs, memo, tie, ..Order::default() }))
}

/// Returns the payments of a transaction to owners outside of the wallet.
pub(crate) fn payments(trade: &Transaction, keys: &Keys) -> Vec<TxOutput> {
    let others = trade.outputs.iter().filter(|output| !keys.contains_key(&output.owner));
    others.copied().collect()
}

/// True if a transaction pays each payee outside of the wallet at least as much as `outputs` do.
fn pays_the_same(outputs: &[TxOutput], transaction: &Transaction, keys: &Keys) -> bool {
    let paid = |outputs: &[TxOutput], to: &TxOutput| -> Amount {
        outputs.iter().filter(|output| output.owner == to.owner).map(|output| output.value).sum()
    };
    let mut others = outputs.iter().filter(|output| !keys.contains_key(&output.owner)).peekable();
    others.peek().is_some() && others.all(|to| paid(&transaction.outputs, to) >= paid(outputs, to))
}

/// Returns a coin that no transaction can spend if the old one is mined.
fn tie(fates: &[InputFate], spendable: &Spendable) -> Option<OwnedCoin> {
    let free = fates.iter().find_map(|fate| match fate {
        InputFate::Free(coin) => Some(*coin),
        _ => None,
    });
    let mine = || {
        let coins = spendable.confirmed.iter().chain(&spendable.pending).chain(&spendable.unsure);
        coins.copied()
    };
    free.map(|coin| mine().find(|own| own.outpoint == coin.outpoint).unwrap_or(coin)).or_else(
        || {
            fates.iter().find_map(|fate| match fate {
                InputFate::Spent { by, .. } => mine().find(|coin| coin.outpoint.txid == *by),
                _ => None,
            })
        },
    )
}

/// True if a transaction that spent one of the coins is too deep for a reorg.
fn is_settled(fates: &[InputFate], tip: Height) -> bool {
    fates.iter().any(|fate| match fate {
        InputFate::Spent { height: Some(height), .. } => {
            tip.saturating_sub(*height).saturating_add(1) >= SETTLED_DEPTH
        }
        _ => false,
    })
}

fn risk(txid: TxId, fates: &[InputFate]) -> ResendError {
    let spent = fates.iter().find_map(|fate| match fate {
        InputFate::Spent { by, .. } => Some(ResendError::NotSettled { txid, by: *by }),
        _ => None,
    });
    let missing = fates.iter().find_map(|fate| match fate {
        InputFate::Missing(coin) => Some(ResendError::CoinMayReturn { txid, coin: *coin }),
        _ => None,
    });
    spent.or(missing).unwrap_or(ResendError::Note(txid))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        consensus::Coin,
        primitives::{Owner, PublicKey, Signature, TxInput},
    };

    const OLD: TxId = TxId([9; 32]);
    const NEWER: TxId = TxId([8; 32]);

    fn me() -> PublicKey {
        PublicKey([7; 32])
    }

    fn keys() -> Keys {
        Keys::from([(me().owner(), me())])
    }

    fn outpoint(name: u8) -> OutPoint {
        OutPoint { txid: TxId([name; 32]), index: 0 }
    }

    fn trade(inputs: &[u8], outputs: &[(Owner, u64)]) -> Transaction {
        let input = |name: &u8| TxInput {
            outpoint: outpoint(*name),
            public_key: me(),
            signature: Signature([0; 64]),
        };
        let output = |(owner, units): &(Owner, u64)| TxOutput {
            value: Amount::from_units(*units),
            owner: *owner,
        };
        Transaction {
            inputs: inputs.iter().map(input).collect(),
            outputs: outputs.iter().map(output).collect(),
            memo: b"tea".to_vec(),
        }
    }

    fn owned(outpoint: OutPoint) -> OwnedCoin {
        let coin = Coin { value: Amount::from_units(50), height: 3, coinbase: false };
        OwnedCoin { owner: me().owner(), outpoint, coin }
    }

    fn spent(outputs: &[(Owner, u64)], height: Option<Height>) -> InputFate {
        InputFate::Spent { by: NEWER, transaction: Arc::new(trade(&[1], outputs)), height }
    }

    const PAYEE: Owner = Owner([1; 20]);

    fn old() -> Transaction {
        trade(&[1, 2], &[(PAYEE, 10), (me().owner(), 80)])
    }

    fn planned(
        fates: &[InputFate],
        coins: Vec<OwnedCoin>,
        force: bool,
    ) -> Result<Plan, ResendError> {
        let spendable = Spendable { confirmed: coins, height: 20, ..Spendable::default() };
        plan(OLD, &old(), fates, &spendable, &keys(), force)
    }

    fn tie_of(plan: Result<Plan, ResendError>) -> Option<OutPoint> {
        match plan.expect("a plan") {
            Plan::Anew(order) => {
                assert_eq!(order.outputs.len(), 1, "the change is made anew");
                assert_eq!(order.memo, b"tea");
                order.tie.map(|coin| coin.outpoint)
            }
            Plan::Same => panic!("not the same"),
        }
    }

    #[test]
    fn the_same_payment_goes_out_again_if_it_is_valid() {
        let free = [1, 2].map(|name| InputFate::Free(owned(outpoint(name))));
        assert!(matches!(planned(&free, vec![], false), Ok(Plan::Same)));
    }

    #[test]
    fn a_new_payment_shares_a_coin_with_the_old_one_where_it_can() {
        let me = me().owner();
        let fates = [spent(&[(me, 90)], None), InputFate::Free(owned(outpoint(2)))];
        assert_eq!(tie_of(planned(&fates, vec![], false)), Some(outpoint(2)));
        // Or the new trade spends an output of the transaction that took the coins.
        let fates = [spent(&[(me, 90)], None), InputFate::Missing(outpoint(2))];
        let change = OutPoint { txid: NEWER, index: 0 };
        assert_eq!(tie_of(planned(&fates, vec![owned(change)], false)), Some(change));
    }

    #[test]
    fn what_could_be_mined_twice_is_refused_unless_forced_or_settled() {
        let me = me().owner();
        let gone = InputFate::Missing(outpoint(2));
        let young = [spent(&[(me, 90)], Some(16)), gone.clone()];
        let refused = planned(&young, vec![], false).expect_err("refused");
        assert_eq!(refused, ResendError::NotSettled { txid: OLD, by: NEWER });
        assert_eq!(tie_of(planned(&young, vec![], true)), None);
        let settled = [spent(&[(me, 90)], Some(15)), gone.clone()];
        assert_eq!(tie_of(planned(&settled, vec![], false)), None);
        let lost = [gone.clone(), gone];
        let refused = planned(&lost, vec![], false).expect_err("refused");
        assert_eq!(refused, ResendError::CoinMayReturn { txid: OLD, coin: outpoint(2) });
    }

    #[test]
    fn a_payment_whose_replacement_pays_the_same_is_not_paid_again() {
        let free = InputFate::Free(owned(outpoint(2)));
        let fates = [spent(&[(PAYEE, 10), (me().owner(), 70)], Some(1)), free.clone()];
        let refused = planned(&fates, vec![], true).expect_err("refused");
        assert_eq!(refused, ResendError::AlreadyPaid { txid: OLD, by: NEWER });
        let less = [spent(&[(PAYEE, 9), (me().owner(), 70)], Some(1)), free];
        assert!(planned(&less, vec![], false).is_ok());
    }
}
