//! Requests of the commands that cancel a payment, or send a void one again.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::values::{Coins, FeeChoice, Secret};
use crate::primitives::TxId;

/// The most payments that a sentence names.
const MAX_NAMED: usize = 8;

/// The request of `cancel`: replace a waiting payment by one to oneself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cancel {
    /// The trade's id, or its first characters.
    pub txid: String,
    /// The fee for the miner; default: the least fee that replaces the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<Coins>,
    /// True to void later payments that spend the payment's change.
    #[serde(default)]
    pub voids: bool,
    /// Unlocks the wallet for this request only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
}

/// A payment that becomes void if another one is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoidedPayment {
    pub txid: TxId,
    /// The payee's name, or else an address.
    pub to: String,
    pub amount: Coins,
}

/// The reply of `voided_by`, parents first. As text: `5 to yjf, 1 to fc1…`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoidedPayments {
    pub payments: Vec<VoidedPayment>,
}

impl fmt::Display for VoidedPayments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, VoidedPayment { to, amount, .. }) in
            self.payments.iter().take(MAX_NAMED).enumerate()
        {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{amount} to {to}")?;
        }
        match self.payments.len().saturating_sub(MAX_NAMED) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

/// The request of `resend`: send a void payment again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resend {
    /// The trade's id, or its first characters.
    pub txid: String,
    /// The fee for the miner, if a new transaction is made; default 0.
    #[serde(default)]
    pub fee: FeeChoice,
    /// True to send even if the old and the new transaction could both be mined.
    #[serde(default)]
    pub force: bool,
    /// Unlocks the wallet for this request only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
}
