//! Shares the wallet of a data folder: it is opened when first needed, and one caller uses it at a
//! time.
//!
//! A payment holds the wallet from reading the coins until the chain has accepted the trade. Two
//! payments at once therefore never select the same coin.

use std::{
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};

use super::{blocking::blocking, clock::moment_with_sleep};
use crate::{
    primitives::Address,
    primitives::Moment,
    rpc::{RpcError, types::Secret},
    wallet::{UnlockError, Wallet, WalletError},
};

/// Access to a folder's wallet. Clones share the wallet.
#[derive(Debug, Clone)]
pub(crate) struct Keyring {
    path: PathBuf,
    wallet: Arc<Mutex<Option<Wallet>>>,
}

/// The open wallet, held by one caller. Other callers wait until it is dropped.
pub(crate) struct OpenWallet {
    wallet: OwnedMappedMutexGuard<Option<Wallet>, Wallet>,
    /// True if the wallet was unlocked for this caller alone. It is locked again on drop.
    lock_after: bool,
}

impl Keyring {
    /// Creates a keyring for the wallet file at `path`, which may not exist yet.
    #[must_use]
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, wallet: Arc::default() }
    }

    async fn open_by(
        &self,
        open: impl FnOnce(&Path) -> Result<Wallet, WalletError>,
    ) -> Result<OpenWallet, WalletError> {
        let mut guard = Arc::clone(&self.wallet).lock_owned().await;
        let mut wallet = match guard.take() {
            Some(wallet) => wallet,
            None => open(&self.path)?,
        };
        wallet.expire(moment_with_sleep());
        Ok(OpenWallet {
            wallet: OwnedMutexGuard::map(guard, |slot| slot.insert(wallet)),
            lock_after: false,
        })
    }

    /// Opens the wallet.
    ///
    /// # Errors
    /// There is no wallet file, or it cannot be read.
    pub(crate) async fn open(&self) -> Result<OpenWallet, RpcError> {
        Ok(self.open_by(Wallet::open).await?)
    }

    /// Opens the wallet, or creates one if there is none.
    pub(crate) async fn open_or_create(&self) -> Result<OpenWallet, RpcError> {
        Ok(self.open_by(Wallet::open_or_create).await?)
    }

    /// Opens the wallet, if there is one.
    ///
    /// # Errors
    /// The wallet file cannot be read.
    pub(crate) async fn open_if_there(&self) -> Result<Option<OpenWallet>, RpcError> {
        match self.open_by(Wallet::open).await {
            Ok(wallet) => Ok(Some(wallet)),
            Err(WalletError::Missing(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the wallet, and unlocks it for this caller alone if a passphrase is given.
    pub(crate) async fn open_with(
        &self,
        passphrase: Option<Secret>,
    ) -> Result<OpenWallet, RpcError> {
        let mut wallet = self.open().await?;
        match passphrase {
            Some(passphrase) if wallet.is_locked(moment_with_sleep()) => {
                // Set before the unlock: if the caller is cancelled meanwhile, the wallet is still
                // locked again.
                wallet.lock_after = true;
                wallet.unlock(passphrase, None).await
            }
            _ => Ok(wallet),
        }
    }

    /// Replaces the wallet, if there is one, by the one that `make` creates.
    pub(crate) async fn make(
        &self,
        make: impl FnOnce(&Path) -> Result<Wallet, WalletError> + Send + 'static,
    ) -> Result<OpenWallet, RpcError> {
        let guard = Arc::clone(&self.wallet).lock_owned().await;
        let path = self.path.clone();
        let wallet = blocking(move || make(&path)).await??;
        Ok(OpenWallet {
            wallet: OwnedMutexGuard::map(guard, |slot| slot.insert(wallet)),
            lock_after: false,
        })
    }

    /// Returns the address that receives payments to this node: the wallet's first one.
    pub(crate) async fn first_address(&self) -> Option<Address> {
        let wallet = self.open_if_there().await.ok()??;
        Some(wallet.first_address())
    }
}

impl OpenWallet {
    /// Unlocks the secret until a time, or until it is locked. The key derivation takes a large
    /// part of a second and runs on a blocking thread.
    pub(crate) async fn unlock(
        mut self,
        passphrase: Secret,
        until: Option<Moment>,
    ) -> Result<Self, RpcError> {
        let unlocked = blocking(move || {
            self.wallet.unlock(passphrase.expose(), until)?;
            Ok::<_, UnlockError>(self)
        });
        Ok(unlocked.await??)
    }
}

impl Drop for OpenWallet {
    fn drop(&mut self) {
        if self.lock_after {
            // The only error is a wallet without a passphrase, and this wallet has one.
            let _ = self.wallet.lock();
        }
    }
}

impl Deref for OpenWallet {
    type Target = Wallet;

    fn deref(&self) -> &Wallet {
        &self.wallet
    }
}

impl DerefMut for OpenWallet {
    fn deref_mut(&mut self) -> &mut Wallet {
        &mut self.wallet
    }
}
