//! The one wallet of a data folder, as the service uses it: opened when first needed, one user at a
//! time.
//!
//! The lock is held over a whole send, from reading the coins to handing in the trade, so that two
//! sends at once never pick the same coin.

use std::{
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};

use super::clock::now;
use crate::{
    primitives::Address,
    rpc::{RpcError, types::Secret},
    wallet::{UnlockError, Wallet, WalletError},
};

/// The wallet of a folder. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Keyring {
    path: PathBuf,
    wallet: Arc<Mutex<Option<Wallet>>>,
}

/// The wallet, opened, for one user alone.
pub(super) struct OpenWallet {
    wallet: OwnedMappedMutexGuard<Option<Wallet>, Wallet>,
    /// It was unlocked for this user alone, and is locked again after it.
    lock_after: bool,
}

impl Keyring {
    /// Of the wallet file at `path`, which need not be there yet.
    #[must_use]
    pub(super) fn new(path: PathBuf) -> Self {
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
        wallet.expire(now());
        Ok(OpenWallet {
            wallet: OwnedMutexGuard::map(guard, |slot| slot.insert(wallet)),
            lock_after: false,
        })
    }

    /// The wallet.
    ///
    /// # Errors
    /// There is none, or it does not read.
    pub(super) async fn open(&self) -> Result<OpenWallet, RpcError> {
        Ok(self.open_by(Wallet::open).await?)
    }

    /// The wallet, made without a word if there is none.
    pub(super) async fn open_or_create(&self) -> Result<OpenWallet, RpcError> {
        Ok(self.open_by(Wallet::open_or_create).await?)
    }

    /// The wallet, if there is one; an error if it does not read.
    pub(super) async fn open_if_there(&self) -> Result<Option<OpenWallet>, RpcError> {
        match self.open_by(Wallet::open).await {
            Ok(wallet) => Ok(Some(wallet)),
            Err(WalletError::Missing(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The wallet, opened with a passphrase for this user alone when it is locked and one is given.
    pub(super) async fn open_with(
        &self,
        passphrase: Option<Secret>,
    ) -> Result<OpenWallet, RpcError> {
        let mut wallet = self.open().await?;
        match passphrase {
            Some(passphrase) if wallet.is_locked(now()) => {
                // Before it is open: whoever gives up in the middle leaves it locked too.
                wallet.lock_after = true;
                wallet.unlock(passphrase, None).await
            }
            _ => Ok(wallet),
        }
    }

    /// Puts a wallet just made in place of none, or of the one that was opened.
    pub(super) async fn make(
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

    /// Where coins for this node go: the wallet's first address.
    pub(super) async fn first_address(&self) -> Option<Address> {
        let wallet = self.open_if_there().await.ok()??;
        Some(wallet.first_address())
    }
}

impl OpenWallet {
    /// Opens the secret until a time, or until locked. Deriving the key takes a good part of a
    /// second, on a thread of its own.
    pub(super) async fn unlock(
        mut self,
        passphrase: Secret,
        until: Option<u64>,
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
            // It had a passphrase a moment ago, and having none is all that could be wrong.
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

/// Runs what takes long or touches the disk on a thread where that is allowed.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RpcError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| {
        // What panicked has said so on stderr.
        RpcError::internal(
            "the command failed inside: the data folder is damaged, or it is a fault of the \
             program; keep a copy of the \
             folder, see what verify-chain says, and leave-chain and join again if the chain is \
             damaged",
        )
    })
}
