//! The wallet's own payments: which transactions are payments, and the list from the best chain.
//!
//! [`payment`] interprets one transaction for the wallet; change is not a payment. [`History`]
//! keeps the newest payments of the chain with the balance after each. It reads the chain page by
//! page through `ChainReader::wallet_scan`, and removes the payments that a reorg undoes.

use std::collections::{HashSet, VecDeque};

use crate::{
    chain::MinedTransaction,
    primitives::{
        Amount, BlockHash, Height, Owner, Transaction, TransactionKind, TxId, UnixMillis,
    },
};

/// The most payments that are kept, and the most rewards: 20,000 of each, at most 50 MB with the
/// longest memos. Rewards have a limit of their own, so that they push no payment out.
const MAX_KEPT: usize = 20_000;

/// The most other parties of a payment that are kept. More than one is rare.
const MAX_PARTIES: usize = 4;

/// The direction of a payment, from the view of the wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    In,
    Out,
    /// The coinbase of a block.
    Reward,
    /// A transfer from own coins to own addresses only.
    Own,
}

/// A transaction from the view of the wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payment {
    pub(crate) direction: Direction,
    /// The coins that changed hands, without fee and change.
    pub(crate) amount: Amount,
    /// The part of the fee that the wallet paid.
    pub(crate) fee: Amount,
    /// The owners at the other end, at most [`MAX_PARTIES`].
    pub(crate) parties: Vec<Owner>,
    /// The memo as printable text; empty if there is none.
    pub(crate) memo: String,
    /// The sum of the own coins that the transaction creates.
    pub(crate) gained: Amount,
    /// The sum of the own coins that the transaction spends.
    pub(crate) lost: Amount,
}

/// Returns the payment that a transaction is for the wallet of `owners`; `None` if it moves no own
/// coin. `spent` returns the value of the coin that an input spends, by the input's position.
pub(crate) fn payment(
    transaction: &Transaction,
    owners: &HashSet<Owner>,
    mut spent: impl FnMut(usize) -> Option<Amount>,
) -> Option<Payment> {
    if transaction.kind() == TransactionKind::Note {
        return None;
    }
    let (mut gained, mut foreign, mut payees) = (Amount::ZERO, Amount::ZERO, Vec::new());
    for output in &transaction.outputs {
        if owners.contains(&output.owner) {
            gained = gained.saturating_add(output.value);
        } else {
            foreign = foreign.saturating_add(output.value);
            add_party(&mut payees, output.owner);
        }
    }
    let (mut lost, mut has_own, mut payers) = (Amount::ZERO, false, Vec::new());
    for (at, input) in transaction.inputs.iter().enumerate() {
        let owner = input.public_key.owner();
        if owners.contains(&owner) {
            has_own = true;
            lost = lost.saturating_add(spent(at).unwrap_or_default());
        } else {
            add_party(&mut payers, owner);
        }
    }
    if gained == Amount::ZERO && !has_own {
        return None;
    }
    let gain = gained.checked_sub(lost).unwrap_or_default();
    let loss = lost.checked_sub(gained).unwrap_or_default();
    let mut fee = Amount::ZERO;
    let (direction, amount, parties) = if transaction.kind() == TransactionKind::Coinbase {
        (Direction::Reward, gained, Vec::new())
    } else if !has_own {
        (Direction::In, gained, payers)
    } else if payers.is_empty() {
        fee = loss.checked_sub(foreign).unwrap_or_default();
        match transaction.outputs.first() {
            // The payment comes before the change.
            Some(first) if payees.is_empty() => (Direction::Own, first.value, Vec::new()),
            _ => (Direction::Out, foreign, payees),
        }
    } else if gain >= loss {
        // Somebody else signed too. Nobody can tell who paid the fee, so the difference counts.
        (Direction::In, gain, payers)
    } else {
        (Direction::Out, loss, payees)
    };
    let memo = match direction {
        Direction::Reward => String::new(),
        _ => transaction.memo_text(),
    };
    Some(Payment { direction, amount, fee, parties, memo, gained, lost })
}

fn add_party(parties: &mut Vec<Owner>, owner: Owner) {
    if parties.len() < MAX_PARTIES && !parties.contains(&owner) {
        parties.push(owner);
    }
}

/// A payment in a block of the best chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MinedPayment {
    pub(crate) txid: TxId,
    pub(crate) payment: Payment,
    pub(crate) block: BlockHash,
    pub(crate) height: Height,
    pub(crate) time: UnixMillis,
    position: u32,
    /// The wallet's confirmed coins after the payment.
    pub(crate) balance: Amount,
}

impl MinedPayment {
    const fn place(&self) -> (Height, u32) {
        (self.height, self.position)
    }
}

/// The newest payments of a wallet on the best chain.
#[derive(Debug, Default)]
pub(crate) struct History {
    owners: HashSet<Owner>,
    /// The last block that was read.
    upto: Option<(Height, BlockHash)>,
    payments: VecDeque<MinedPayment>,
    rewards: VecDeque<MinedPayment>,
    /// The confirmed coins at `upto`.
    balance: Amount,
    /// The number of older payments that were dropped.
    dropped: u64,
}

impl History {
    /// Sets the wallet's owners. A change starts the history again.
    pub(crate) fn set_owners(&mut self, owners: HashSet<Owner>) {
        if self.owners != owners {
            *self = Self { owners, ..Self::default() };
        }
    }

    pub(crate) const fn owners(&self) -> &HashSet<Owner> {
        &self.owners
    }

    /// Returns the block after which the next page begins.
    pub(crate) const fn upto(&self) -> Option<(Height, BlockHash)> {
        self.upto
    }

    /// Returns the number of older payments that are no longer kept.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds a page of the chain.
    pub(crate) fn take(&mut self, found: Vec<MinedTransaction>, upto: Option<(Height, BlockHash)>) {
        for mined in found {
            let value = |at: usize| mined.spent.get(at).map(|coin| coin.value);
            let Some(payment) = payment(&mined.transaction, &self.owners, value) else { continue };
            let after = self.balance.saturating_add(payment.gained);
            self.balance = after.checked_sub(payment.lost).unwrap_or_default();
            let kept = match payment.direction {
                Direction::Reward => &mut self.rewards,
                _ => &mut self.payments,
            };
            kept.push_back(MinedPayment {
                txid: mined.txid,
                payment,
                block: mined.block,
                height: mined.height,
                time: mined.time,
                position: mined.position,
                balance: self.balance,
            });
            if kept.len() > MAX_KEPT {
                kept.pop_front();
                self.dropped = self.dropped.saturating_add(1);
            }
        }
        self.upto = upto.or(self.upto);
    }

    /// Removes everything above a block, because of a reorg.
    pub(crate) fn rewind(&mut self, fork: (Height, BlockHash)) {
        for kept in [&mut self.payments, &mut self.rewards] {
            while kept.back().is_some_and(|last| last.height > fork.0) {
                kept.pop_back();
            }
        }
        let last = self.newest().next().map(|last| last.balance);
        if let Some(balance) = last {
            (self.balance, self.upto) = (balance, Some(fork));
        } else if self.dropped == 0 {
            (self.balance, self.upto) = (Amount::ZERO, Some(fork));
        } else {
            // The balance at that block is not known any more.
            *self = Self { owners: std::mem::take(&mut self.owners), ..Self::default() };
        }
    }

    /// Iterates over payments and rewards, newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &MinedPayment> {
        let mut payments = self.payments.iter().rev().peekable();
        let mut rewards = self.rewards.iter().rev().peekable();
        std::iter::from_fn(move || {
            let of = |next: Option<&&MinedPayment>| next.map(|next| next.place());
            if of(payments.peek()) > of(rewards.peek()) { payments.next() } else { rewards.next() }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chain::{
            ChainReader, WalletScan,
            testing::{Branch, TestChain, coin_of, genesis_coin, key, network, owner, pay},
        },
        primitives::Amount,
    };

    fn of(owners: &[Owner]) -> HashSet<Owner> {
        owners.iter().copied().collect()
    }

    fn read(history: &mut History, reader: &ChainReader) {
        loop {
            match reader.wallet_scan(history.upto(), history.owners()).expect("it reads") {
                WalletScan::Left { fork } => history.rewind(fork),
                WalletScan::Page { found, upto, tip } => {
                    history.take(found, upto);
                    if history.upto().is_some_and(|(height, _)| height >= tip) {
                        return;
                    }
                }
            }
        }
    }

    fn rows(history: &History) -> Vec<(Direction, u64, u64, u64)> {
        let row = |mined: &MinedPayment| {
            let Payment { direction, amount, fee, .. } = &mined.payment;
            (*direction, amount.units(), fee.units(), mined.balance.units())
        };
        history.newest().map(row).collect()
    }

    #[test]
    fn change_is_no_payment_and_a_payment_to_oneself_costs_its_fee_alone() {
        let network = network();
        let (yzw, own, friend) = (owner(&key(1)), owner(&key(2)), owner(&key(3)));
        let coin = genesis_coin(&network);
        let value = |_| Some(Amount::from_coins(100));
        let paid = pay(&network, &key(1), coin, &[(friend, 10), (yzw, 9_999_999_985)]);
        let sent = payment(&paid, &of(&[yzw]), value).expect("a payment");
        assert_eq!(
            (sent.direction, sent.amount.units(), sent.fee.units()),
            (Direction::Out, 10, 5)
        );
        assert_eq!(sent.parties, [friend]);
        let received = payment(&paid, &of(&[friend]), |_| None).expect("a payment");
        assert_eq!((received.direction, received.amount.units()), (Direction::In, 10));
        assert_eq!((received.fee, received.parties), (Amount::ZERO, vec![yzw]));
        let moved = pay(&network, &key(1), coin, &[(own, 40), (yzw, 9_999_999_957)]);
        let moved = payment(&moved, &of(&[yzw, own]), value).expect("a payment");
        assert_eq!(
            (moved.direction, moved.amount.units(), moved.fee.units()),
            (Direction::Own, 40, 3)
        );
        assert_eq!(payment(&paid, &of(&[own]), |_| None), None, "it is nothing to others");
    }

    #[test]
    fn the_history_follows_the_chain_and_a_reorg_takes_back_what_it_undid() {
        let network = network();
        let (yzw, friend) = (owner(&key(1)), owner(&key(3)));
        let mut test = TestChain::of(&network);
        let reader = test.chain.reader();
        let trade =
            pay(&network, &key(1), genesis_coin(&network), &[(friend, 10), (yzw, 9_999_999_985)]);
        let mut branch = Branch::new(&network, 1);
        let mut other = branch.fork(2);
        let blocks = [branch.next(std::slice::from_ref(&trade)), branch.next(&[])];
        test.connect(&blocks);
        test.chain.commit().expect("a commit");
        let mut history = History::default();
        history.set_owners(of(&[friend]));
        read(&mut history, &reader);
        assert_eq!(rows(&history), [(Direction::In, 10, 0, 10)]);
        assert_eq!(history.newest().next().map(|row| row.txid), Some(trade.txid()));
        let balance = test.chain.balance(friend).expect("a balance");
        assert_eq!((balance.confirmed.units(), balance.settled.units()), (10, 0));

        for block in other.extend(3) {
            test.block(&block).expect("accepted");
        }
        test.chain.commit().expect("a commit");
        read(&mut history, &reader);
        assert_eq!(rows(&history), [], "the other branch has no such payment");
        let mined = test.mine(yzw);
        test.chain.commit().expect("a commit");
        read(&mut history, &reader);
        assert_eq!(rows(&history), [(Direction::In, 10, 0, 10)], "{mined:?}");
        let whole = history.upto();
        history.set_owners(of(&[friend, yzw]));
        read(&mut history, &reader);
        assert_eq!(history.upto(), whole);
        let held = [friend, yzw].map(|owner| test.chain.balance(owner).expect("a balance"));
        let newest = history.newest().next().expect("a row").balance;
        let confirmed: Amount = held.iter().map(|balance| balance.confirmed).sum();
        assert_eq!(newest, confirmed, "the balance after the newest is the balance");
        assert_eq!(
            reader
                .coin(&crate::consensus::CoinKey { owner: friend, outpoint: coin_of(&trade, 0) })
                .map(|coin| coin.value.units()),
            Some(10)
        );
    }
}
