//! Requests and replies about the wallet's payments: balance, history, fees and names.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    chain::TxStateName,
    values::{Coins, Secret, Units},
};
use crate::primitives::{Address, Amount, BlockHash, Height, TxId, UnixMillis};

/// The reply of `balance`: the whole wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WalletBalance {
    /// All coins on the best chain, recent block rewards included.
    pub confirmed: Coins,
    pub confirmed_units: Units,
    /// The part of `confirmed` that is at least 6 blocks deep. Reorgs among friends are usually
    /// shorter.
    pub settled: Coins,
    pub settled_units: Units,
    /// The coins that mempool entries would add, without change.
    pub pending_in: Coins,
    pub pending_in_units: Units,
    /// The coins that mempool entries would spend, without change.
    pub pending_out: Coins,
    pub pending_out_units: Units,
    /// The height of the tip at which the balance was read.
    pub height: Height,
}

impl WalletBalance {
    #[must_use]
    pub(crate) const fn new(
        (confirmed, settled): (Amount, Amount),
        (pending_in, pending_out): (Amount, Amount),
        height: Height,
    ) -> Self {
        Self {
            confirmed: Coins(confirmed),
            confirmed_units: Units(confirmed),
            settled: Coins(settled),
            settled_units: Units(settled),
            pending_in: Coins(pending_in),
            pending_in_units: Units(pending_in),
            pending_out: Coins(pending_out),
            pending_out_units: Units(pending_out),
            height,
        }
    }
}

/// The reply of `payments_seen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PaymentsSeen {
    /// The number of payments that no console has shown before.
    pub payments: u32,
}

/// The request of `payments`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PaymentsRequest {
    /// The most payments in the reply, capped by the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only payments from or to this friend or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// True to leave out block rewards.
    #[serde(default)]
    pub without_rewards: bool,
    /// Only payments older than this one: the last of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<TxId>,
}

/// The direction of a payment, from the view of the wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PaymentDirection {
    In,
    Out,
    /// The reward of a block.
    Reward,
    /// Between the wallet's own addresses.
    Own,
}

impl fmt::Display for PaymentDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Reward => "reward",
            Self::Own => "own",
        })
    }
}

/// A payment of the wallet. Fields without a value are null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PaymentView {
    pub txid: TxId,
    pub direction: PaymentDirection,
    /// The name of the friend at the other end, else the address; null for rewards.
    pub with: Option<String>,
    /// The address at the other end; null for rewards.
    pub address: Option<Address>,
    /// The coins that changed hands, without fee and change.
    pub amount: Coins,
    pub amount_units: Units,
    /// The fee that the wallet paid.
    pub fee: Coins,
    pub fee_units: Units,
    /// The text as its author wrote it.
    pub memo: Option<String>,
    pub state: TxStateName,
    /// The number of blocks from its block to the tip, both included; 0 without a block.
    pub confirmations: u32,
    /// The time of its block, else of its entry into the mempool, in unix ms.
    pub time: UnixMillis,
    pub block: Option<BlockHash>,
    pub height: Option<Height>,
    /// The coins of the wallet after it; null for a void payment.
    pub balance: Option<Coins>,
    pub balance_units: Option<Units>,
    /// The reason why a void payment is void, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The reply of `payments`, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PaymentList {
    pub payments: Vec<PaymentView>,
    /// The number of older payments that the node does not keep in memory.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub older: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The request of `change_passphrase`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChangePassphrase {
    /// Needed if the wallet has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Secret>,
    /// `None` removes the passphrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Secret>,
}

/// The reply of `change_passphrase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PassphraseChanged {
    /// True if the wallet has a passphrase now, and is locked.
    pub locked: bool,
}

/// The reply of `wallet_state`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WalletState {
    pub exists: bool,
    pub has_passphrase: bool,
    /// True if the passphrase is needed before the wallet can sign.
    pub locked: bool,
}

/// The reply of `names`: addresses with known owners.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownNames {
    /// The wallet's own addresses.
    pub own: Vec<Address>,
    /// Payment addresses that exactly one friend claims, with the friend's name.
    pub friends: Vec<(Address, String)>,
}
