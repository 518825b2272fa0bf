//! What commands on the wallet take and answer.

use serde::{Deserialize, Serialize};

use super::values::{Coins, Secret, Units};
use crate::primitives::{Address, Amount};

/// Asks for a new wallet, or one more address of the wallet there is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CreateWallet {
    /// Encrypts a new wallet; opens the one there is when it is locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
    /// Restores a wallet from its words instead, looking through 1,000 addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_phrase: Option<Secret>,
}

/// A wallet or address was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WalletCreated {
    /// The new address; the first one after a recovery.
    pub address: Address,
    /// Only when the wallet is new: to be shown once, on a terminal. The command line never prints
    /// it as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_phrase: Option<Secret>,
    /// After a recovery: how many addresses the wallet has now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<u32>,
}

/// Whether the wallet can sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LockState {
    pub unlocked: bool,
}

/// An address of the wallet and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AddressBalance {
    pub address: Address,
    /// Confirmed coins; zero where there is no chain.
    pub balance: Coins,
    /// The same in units.
    pub balance_units: Units,
}

impl AddressBalance {
    /// An address with its confirmed coins.
    #[must_use]
    pub(crate) const fn new(address: Address, balance: Amount) -> Self {
        Self { address, balance: Coins(balance), balance_units: Units(balance) }
    }
}

/// The addresses of the wallet, in the order made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AddressList {
    pub addresses: Vec<AddressBalance>,
}

/// What the console's `la` shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// The wallet's addresses, in the order made.
    pub addresses: Vec<AddressBalance>,
    /// How many blocks of the best chain pay one of them.
    pub blocks_won: u64,
}
