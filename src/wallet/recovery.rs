//! `recovery.json`: the search for the addresses of a restored wallet that were in use.
//!
//! A phrase leads to an endless number of addresses, and only the chain shows which of them had
//! coins. The search always looks for at least the next [`GAP`] addresses after the last one found.
//! It continues as long as the file exists, since the chain may arrive after the wallet is
//! restored, and two machines may use one phrase.
//!
//! The file holds only public keys, so the search continues while the wallet is locked. Only the
//! derivation of further keys needs the secret.

use std::{collections::HashMap, fs::File, io, io::Read as _, path::Path};

use serde::{Deserialize, Serialize};

use super::{errors::WalletError, file::MAX_ADDRESSES};
use crate::{
    consensus::created_coins,
    primitives::{Block, BlockHash, Height, Owner, PublicKey, TxId},
    storage::write_private,
};

/// The number of unused addresses in a row after which the search stops looking further. The node
/// creates addresses one by one, so no user skips that many.
pub(crate) const GAP: u32 = 200;

/// Keys that are derived beyond the last address found. These are several gaps, so that few wallets
/// need the secret, and a second read of the blocks.
pub(crate) const AHEAD: u32 = 1_000;

/// The version that this program reads and writes.
const VERSION: u32 = 1;

/// The longest file that is read. It has room for all keys of a wallet.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

const _: () = assert!(MAX_ADDRESSES as u64 * 80 + 4_096 <= MAX_FILE_BYTES);
const _: () = assert!(GAP < AHEAD);

/// The state of the search, as stored in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Search {
    version: u32,
    /// The keys to search for, from the first address on.
    keys: Vec<PublicKey>,
    /// The number of addresses up to the last one found.
    used: u32,
    /// The last block that was searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scanned: Option<Scanned>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scanned {
    height: Height,
    hash: BlockHash,
}

impl Search {
    /// Starts a search for these keys of a phrase, in order.
    #[must_use]
    pub(crate) const fn new(keys: Vec<PublicKey>) -> Self {
        Self { version: VERSION, keys, used: 1, scanned: None }
    }

    /// Reads the file; `None` if there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, WalletError> {
        let failed = |source| WalletError::Io { action: "read", path: path.to_owned(), source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
        let search: Option<Self> = serde_json::from_slice(&bytes).ok();
        let sound = |search: &Self| {
            search.version == VERSION
                && (1..=MAX_ADDRESSES).contains(&search.keys.len())
                && search.used() <= search.keys.len()
        };
        search.filter(sound).map(Some).ok_or_else(|| WalletError::Unreadable {
            path: path.to_owned(),
            reason: "it is not a search for addresses as this program writes it".to_owned(),
        })
    }

    /// Replaces the file.
    pub(crate) fn write(&self, path: &Path) -> Result<(), WalletError> {
        let failed = |source| WalletError::Io { action: "write", path: path.to_owned(), source };
        let bytes = serde_json::to_vec(self).map_err(io::Error::from).map_err(failed)?;
        write_private(path, &bytes).map_err(failed)
    }

    /// Returns the keys of all addresses up to the last one found, at least one.
    #[must_use]
    pub(crate) fn found(&self) -> &[PublicKey] {
        self.keys.get(..self.used()).unwrap_or(&self.keys)
    }

    fn used(&self) -> usize {
        usize::try_from(self.used).unwrap_or(usize::MAX)
    }

    /// Returns the last block that was searched.
    #[must_use]
    pub(crate) fn scanned(&self) -> Option<(Height, BlockHash)> {
        self.scanned.map(|scanned| (scanned.height, scanned.hash))
    }

    /// Sets the last block that was searched. `None`: the search begins at the genesis.
    pub(crate) const fn set_scanned(&mut self, block: Option<(Height, BlockHash)>) {
        self.scanned = match block {
            Some((height, hash)) => Some(Scanned { height, hash }),
            None => None,
        };
    }

    /// Returns the total number of keys that the search needs; `None` if it has enough. The wallet
    /// itself has `addresses`.
    #[must_use]
    pub(crate) fn wants_keys(&self, addresses: usize) -> Option<usize> {
        let used = self.used().max(addresses);
        let count = |more: u32| used.saturating_add(usize::try_from(more).unwrap_or(usize::MAX));
        let short = self.keys.len() < count(GAP).min(MAX_ADDRESSES);
        short.then(|| count(AHEAD).min(MAX_ADDRESSES))
    }

    /// Replaces the keys by a longer list. The blocks are then searched from genesis again.
    pub(crate) fn set_keys(&mut self, keys: Vec<PublicKey>) {
        if keys.len() > self.keys.len() {
            self.keys = keys;
            self.scanned = None;
        }
    }

    /// Returns the positions of the keys by their owners, for [`Search::see`].
    #[must_use]
    pub(crate) fn positions(&self) -> HashMap<Owner, u32> {
        self.keys.iter().map(PublicKey::owner).zip(0..).collect()
    }

    /// Searches a block of the best chain. Each output and each stamp shows that its owner's
    /// address was in use.
    pub(crate) fn see(&mut self, block: &Block, positions: &HashMap<Owner, u32>) {
        for transaction in &block.transactions {
            // The ids of coins do not matter here.
            let coins = created_coins(transaction, TxId::ZERO, 0);
            for position in coins.filter_map(|(key, _)| positions.get(&key.owner)) {
                self.used = self.used.max(position.saturating_add(1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::testing::{key, network};

    fn keys(count: u8) -> Vec<PublicKey> {
        (0..count).map(|byte| PublicKey([byte; 32])).collect()
    }

    #[test]
    fn a_search_finds_the_last_address_that_a_block_pays() {
        let genesis = network(0).genesis;
        // The genesis pays `key(1)`.
        let payee = PublicKey(key(1).verifying_key().to_bytes());
        let mut search = Search::new([keys(7), vec![payee], keys(1)].concat());
        assert_eq!(search.found().len(), 1);
        let positions = search.positions();
        search.see(&genesis, &positions);
        assert_eq!(search.found().len(), 8);
        assert_eq!(search.wants_keys(1), Some(8 + AHEAD as usize));
        search.set_scanned(Some((0, genesis.hash())));
        let more = (0..=u16::from(u8::MAX)).flat_map(|_| keys(4)).collect();
        search.set_keys(more);
        assert_eq!(search.scanned(), None, "the blocks are searched for them too");
        assert_eq!(search.wants_keys(1), None);
    }

    #[test]
    fn a_search_outlives_a_restart_and_a_damaged_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recovery.json");
        assert_eq!(Search::read(&path).unwrap(), None);
        let mut search = Search::new(keys(3));
        search.set_scanned(Some((7, BlockHash([1; 32]))));
        search.write(&path).unwrap();
        assert_eq!(Search::read(&path).unwrap(), Some(search));
        for damage in ["", "{}", r#"{"version":1,"keys":[],"used":1}"#] {
            std::fs::write(&path, damage).unwrap();
            assert!(matches!(Search::read(&path), Err(WalletError::Unreadable { .. })), "{damage}");
        }
    }
}
