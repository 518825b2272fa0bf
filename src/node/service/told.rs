//! The payments that consoles were told about, and what has become of them.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::primitives::{Amount, Height, OutPoint, Transaction, TxId};

/// Payments that are remembered, so that a reorg announces none twice: some hours of them.
pub(super) const MAX_TOLD: usize = 4_096;

/// The coins of a payment that are remembered: 4,096 × 16 × 36 bytes = 2.3 MiB.
const MAX_COINS: usize = 16;

/// A payment that consoles were told about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// The payer's name, if it is known.
    pub(super) from: Option<String>,
    pub(super) amount: Amount,
    /// The first coins that it spends.
    coins: Vec<OutPoint>,
    state: State,
}

/// Returns the first coins that a transaction spends. A wallet's replacement spends the same ones.
pub(super) fn coins_of(transaction: &Transaction) -> Vec<OutPoint> {
    transaction.inputs.iter().take(MAX_COINS).map(|input| input.outpoint).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Mined(Height),
    /// It left the mempool, or its block left the chain. It is announced again if it comes back.
    Gone,
}

impl Told {
    /// `height` is that of the payment's block; `None`: it waits.
    pub(super) fn new(
        from: Option<String>,
        amount: Amount,
        coins: Vec<OutPoint>,
        height: Option<Height>,
    ) -> Self {
        Self { from, amount, coins, state: height.map_or(State::Waiting, State::Mined) }
    }

    /// True if the transaction spends one of the payment's coins.
    pub(super) fn conflicts(&self, transaction: &Transaction) -> bool {
        transaction.inputs.iter().any(|input| self.coins.contains(&input.outpoint))
    }
}

/// The announced payments, the oldest first.
#[derive(Debug, Default)]
pub(super) struct AllTold {
    order: VecDeque<TxId>,
    all: HashMap<TxId, Told>,
}

impl AllTold {
    /// True if consoles do not know yet that the payment waits, or that it is in a block.
    pub(super) fn is_new(&self, txid: &TxId, height: Option<Height>) -> bool {
        self.all.get(txid).is_none_or(|told| match told.state {
            State::Gone => true,
            State::Waiting => height.is_some(),
            State::Mined(_) => false,
        })
    }

    /// Stores an announced payment in its present state. Beyond [`MAX_TOLD`] the oldest is dropped.
    pub(super) fn insert(&mut self, txid: TxId, told: Told) {
        if self.all.insert(txid, told).is_none() {
            self.order.push_back(txid);
        }
        if self.order.len() > MAX_TOLD
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
    }

    /// Returns the announced payment whose place in the mempool another one takes, since it spends
    /// a coin of it.
    pub(super) fn replaced_by(&mut self, txid: &TxId, coins: &[OutPoint]) -> Option<Told> {
        let spent: HashSet<&OutPoint> = coins.iter().collect();
        let waits = |told: &Told| {
            told.state == State::Waiting && told.coins.iter().any(|coin| spent.contains(coin))
        };
        let mut all = self.all.iter_mut();
        let (_, told) = all.find(|(other, told)| *other != txid && waits(told))?;
        told.state = State::Gone;
        Some(told.clone())
    }

    /// Returns an announced payment that waits, by the last announcement.
    pub(super) fn waiting(&self, txid: &TxId) -> Option<&Told> {
        self.all.get(txid).filter(|told| told.state == State::Waiting)
    }

    /// Returns the announced payments of blocks above a height.
    pub(super) fn above(&self, fork: Height) -> Vec<TxId> {
        let is_above = |txid: &&TxId| {
            let state = self.all.get(*txid).map(|told| told.state);
            matches!(state, Some(State::Mined(height)) if height > fork)
        };
        self.order.iter().filter(is_above).copied().collect()
    }

    /// Records that a payment waits again, or is in a block at another height.
    pub(super) fn set_place(&mut self, txid: &TxId, height: Option<Height>) -> Option<Told> {
        self.set(txid, height.map_or(State::Waiting, State::Mined))
    }

    /// Records that a payment is neither in the mempool nor in a block.
    pub(super) fn set_gone(&mut self, txid: &TxId) -> Option<Told> {
        self.set(txid, State::Gone)
    }

    fn set(&mut self, txid: &TxId, state: State) -> Option<Told> {
        let told = self.all.get_mut(txid)?;
        told.state = state;
        Some(told.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::testing::{genesis_coin, key, network, owner, pay};

    fn trade(amount: u64) -> Transaction {
        let network = network();
        pay(&network, &key(1), genesis_coin(&network), &[(owner(&key(3)), amount)])
    }

    fn told(trade: &Transaction, height: Option<Height>) -> Told {
        Told::new(None, Amount::from_units(7), coins_of(trade), height)
    }

    #[test]
    fn a_replacement_is_recognised_by_the_coins_of_the_payment_that_it_replaces() {
        let (first, second) = (trade(7), trade(8));
        let mut all = AllTold::default();
        all.insert(first.txid(), told(&first, None));
        assert_eq!(all.replaced_by(&first.txid(), &coins_of(&first)), None, "not by itself");
        assert!(told(&first, None).conflicts(&second));
        let coins = coins_of(&second);
        let replaced = all.replaced_by(&second.txid(), &coins).expect("the first");
        assert_eq!(replaced.amount, Amount::from_units(7));
        assert_eq!(all.replaced_by(&second.txid(), &coins), None, "once");
        assert!(all.is_new(&first.txid(), None), "it may come back");
    }

    #[test]
    fn a_payment_is_new_once_while_it_waits_and_once_in_a_block() {
        let trade = trade(7);
        let txid = trade.txid();
        let mut all = AllTold::default();
        assert!(all.is_new(&txid, None));
        all.insert(txid, told(&trade, None));
        assert!(!all.is_new(&txid, None) && all.is_new(&txid, Some(5)));
        all.insert(txid, told(&trade, Some(5)));
        assert!(!all.is_new(&txid, Some(5)) && !all.is_new(&txid, None));
        assert_eq!((all.above(4), all.above(5)), (vec![txid], vec![]));
        all.set_place(&txid, None);
        assert!(!all.is_new(&txid, None) && all.is_new(&txid, Some(6)));
    }

    #[test]
    fn the_oldest_payments_are_forgotten() {
        let trade = trade(7);
        let mut all = AllTold::default();
        let id = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
            TxId(bytes)
        };
        for number in 0..=MAX_TOLD {
            all.insert(id(number), told(&trade, None));
        }
        assert!(all.is_new(&id(0), None) && !all.is_new(&id(1), None));
        assert_eq!((all.order.len(), all.all.len()), (MAX_TOLD, MAX_TOLD));
    }
}
