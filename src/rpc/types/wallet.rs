//! Requests and replies of the commands about the wallet.

use serde::{Deserialize, Serialize};

use super::values::{Coins, Secret, Units};
use crate::primitives::{Address, Amount};

/// The request of `create_wallet`: a new wallet, or one more address in an existing wallet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CreateWallet {
    /// The passphrase that encrypts a new wallet, or unlocks an existing one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
    /// The words from which to restore a wallet. The node searches the chain for its addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_phrase: Option<Secret>,
}

/// The reply of `create_wallet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WalletCreated {
    /// The new address; after a recovery, the first address of the wallet.
    pub address: Address,
    /// Present only for a new wallet. The command line shows it once, on a terminal, and never
    /// prints it as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_phrase: Option<Secret>,
    /// The number of addresses in the wallet after a recovery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<u32>,
}

/// The reply of `unlock` and `lock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LockState {
    pub unlocked: bool,
}

/// An address of the wallet with its balance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AddressBalance {
    pub address: Address,
    /// The confirmed balance; 0 without a chain.
    pub balance: Coins,
    pub balance_units: Units,
}

impl AddressBalance {
    #[must_use]
    pub(crate) const fn new(address: Address, balance: Amount) -> Self {
        Self { address, balance: Coins(balance), balance_units: Units(balance) }
    }
}

/// The reply of `list_addresses`, in order of creation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AddressList {
    pub addresses: Vec<AddressBalance>,
}

/// The reply of `account`, for the console's command `la`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// The wallet's addresses, in order of creation.
    pub addresses: Vec<AddressBalance>,
    /// The number of blocks of the best chain whose reward goes to one of the addresses.
    pub blocks_won: u64,
}
