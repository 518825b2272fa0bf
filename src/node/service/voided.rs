//! The later payments that a replacement of a waiting trade voids: they spend its change.

use std::collections::HashSet;

use super::{Service, names::address_book};
use crate::{
    chain::api::MempoolEntry,
    primitives::{Address, Owner, TxId},
    rpc::{
        RpcError,
        types::{Coins, VoidedPayment, VoidedPayments},
    },
    wallet::history::{Direction, payment},
};

impl Service {
    /// Returns the payments to others that a replacement of the trade voids.
    pub(super) async fn payments_voided_by(&self, txid: &str) -> Result<VoidedPayments, RpcError> {
        let txid = self.transaction_id(txid).await?;
        let mempool = self.chain()?.handle.mempool().await?;
        let resting = descendants_of(txid, &mempool);
        self.payments_among(&resting, &mempool, self.own_owners().await?).await
    }

    /// Rejects a replacement that voids payments of this wallet to others.
    ///
    /// `owners` are the wallet's, since the caller holds the wallet.
    pub(super) async fn check_voided(
        &self,
        replaced: TxId,
        resting: &[TxId],
        mempool: &[MempoolEntry],
        owners: Vec<Owner>,
    ) -> Result<(), RpcError> {
        let voided = self.payments_among(resting, mempool, owners).await?;
        if voided.payments.is_empty() {
            return Ok(());
        }
        let sentence = format!(
            "what you paid later spends the change of {replaced}, and would be void: {voided}; \
             --force replaces it all the same, and resend then pays them again"
        );
        Err(RpcError::new("voids_payments", sentence))
    }

    async fn payments_among(
        &self,
        resting: &[TxId],
        mempool: &[MempoolEntry],
        owners: Vec<Owner>,
    ) -> Result<VoidedPayments, RpcError> {
        let set: HashSet<Owner> = owners.iter().copied().collect();
        let book = address_book(self.friends.as_ref(), owners).await;
        let entries = mempool.iter().filter(|entry| resting.contains(&entry.txid));
        let payments = entries.filter_map(|entry| {
            // The direction and the amount of a payment to others need no values of inputs.
            let payment = payment(&entry.transaction, &set, |_| None)?;
            let payee = payment.parties.first().filter(|_| payment.direction == Direction::Out)?;
            let name = book.one_of(&payment.parties).map(str::to_owned);
            let to = name.unwrap_or_else(|| Address(*payee).to_string());
            Some(VoidedPayment { txid: entry.txid, to, amount: Coins(payment.amount) })
        });
        Ok(VoidedPayments { payments: payments.collect() })
    }
}

/// Returns the mempool's descendants of a trade: those that spend its outputs, or each other's.
pub(super) fn descendants_of(trade: TxId, mempool: &[MempoolEntry]) -> Vec<TxId> {
    let mut found = vec![trade];
    for entry in mempool {
        // Parents come first.
        if entry.transaction.inputs.iter().any(|input| found.contains(&input.outpoint.txid)) {
            found.push(entry.txid);
        }
    }
    found.split_off(1)
}
