//! The users of the simulated nodes, who pay each other.

use ed25519_dalek::Signer as _;
use rand::RngExt;

use super::{
    history::{owner_of, wallet_key},
    queue::{Event, Reply},
    world::World,
};
use crate::{
    chain::{
        api::{Origin, OwnedCoin},
        errors::AcceptTradeError,
    },
    primitives::{Amount, NetworkId, Owner, PublicKey, Signature, Transaction, TxInput, TxOutput},
};

/// The fee of a payment, well above the rate at which it counts as paying.
const FEE: Amount = Amount::from_units(100_000);

/// Returns a signed payment of half a coin to `to`; the rest goes back to the payer.
pub(super) fn payment(
    network: &NetworkId,
    payer: usize,
    coin: &OwnedCoin,
    to: Owner,
) -> Transaction {
    let key = wallet_key(payer);
    let value = coin.coin.value.units();
    let paid = Amount::from_units(value / 2);
    let change = Amount::from_units((value - value / 2).saturating_sub(FEE.units()));
    let public_key = PublicKey(key.verifying_key().to_bytes());
    let input = TxInput { outpoint: coin.outpoint, public_key, signature: Signature([0; 64]) };
    let outputs = vec![
        TxOutput { value: paid, owner: to },
        TxOutput { value: change, owner: owner_of(&key) },
    ];
    let mut transaction = Transaction { inputs: vec![input], outputs, memo: Vec::new() };
    let message = Transaction::signing_message(network, &transaction.txid());
    transaction.inputs[0].signature = Signature(key.sign(&message).to_bytes());
    transaction
}

impl World {
    /// Lets users pay from now on, one payment in `ms` on average.
    pub(crate) fn pay_every(&mut self, ms: u64) {
        let started = self.pay_every_us > 0;
        self.pay_every_us = ms * 1_000;
        if !started && ms > 0 {
            self.push(0, Event::Pay);
        }
    }

    pub(super) fn pay(&mut self) {
        if self.pay_every_us == 0 {
            return;
        }
        let wait = -self.rng.random_range(f64::MIN_POSITIVE..1.0).ln() * self.pay_every_us as f64;
        self.push(wait as u64, Event::Pay);
        let node = self.rng.random_range(0..self.nodes.len());
        let other = self.rng.random_range(0..self.nodes.len());
        if self.nodes[node].is_honest() {
            self.pay_from(node, other);
        }
    }

    /// Pays from a node's wallet, if it has a large enough coin.
    pub(super) fn pay_from(&mut self, node: usize, to: usize) {
        let (wall, network) = (self.wall(node), self.history.network.id);
        let wallet = self.nodes[node].wallet;
        let owner = owner_of(&wallet_key(wallet));
        let to = owner_of(&wallet_key(self.nodes[to].wallet));
        let Some(run) = self.run(node) else { return };
        let coins = match run.chain.spendable(owner) {
            Ok(spendable) => spendable.confirmed,
            Err(fault) => return self.fault(node, &fault),
        };
        let coins: Vec<_> =
            coins.into_iter().filter(|coin| coin.coin.value > FEE.saturating_add(FEE)).collect();
        self.settle_soon(node);
        if coins.is_empty() {
            return;
        }
        let coin = coins[self.rng.random_range(0..coins.len())];
        let transaction = payment(&network, wallet, &coin, to);
        let Some(run) = self.run(node) else { return };
        match run.chain.accept_trade(transaction, Origin::Local, wall) {
            Ok(txid) => {
                self.figures.paid(txid, self.now);
                self.hold(node, Reply::Acknowledged(txid));
            }
            Err(AcceptTradeError::Fault(fault)) => self.fault(node, &fault),
            // Another node with the same wallet was faster, or the tip is older than the coin.
            Err(_) => self.figures.refused_payments += 1,
        }
    }
}
