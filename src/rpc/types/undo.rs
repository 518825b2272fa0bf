//! Requests of the commands that cancel a payment, or send a void one again.

use serde::{Deserialize, Serialize};

use super::values::{Coins, FeeChoice, Secret};

/// The request of `cancel`: replace a waiting payment by one to oneself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cancel {
    /// The trade's id, or its first characters.
    pub txid: String,
    /// The fee for the miner; default: the least fee that replaces the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<Coins>,
    /// Unlocks the wallet for this request only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
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
