//! Commands that need the wallet's keys: creating wallets, and writing notes.

use super::Service;
use crate::{
    chain::api::Origin,
    node::{blocking::blocking, clock::moment_with_sleep},
    primitives::{Owner, Transaction, TxId},
    rpc::{
        RpcError,
        types::{CreateWallet, Secret, Submitted, WalletCreated, WriteNote},
    },
    wallet::{self, RecoveryPhrase},
};

/// Returns the error for a passphrase that an existing wallet does not have. `what` is what the
/// command does without it.
fn no_passphrase(what: &str) -> RpcError {
    let sentence = format!(
        "the wallet here has no passphrase: leave --passphrase-file out {what}; change-passphrase \
         sets a passphrase"
    );
    RpcError::new("no_passphrase", sentence)
}

impl Service {
    /// Creates a wallet, or one more address of the existing wallet.
    pub(super) async fn make_wallet(
        &self,
        request: CreateWallet,
    ) -> Result<WalletCreated, RpcError> {
        if let Some(phrase) = request.recovery_phrase {
            return self.recover_wallet(phrase, request.passphrase).await;
        }
        if self.keyring.open_if_there().await?.is_some() {
            let given = request.passphrase.is_some();
            let mut wallet = self.keyring.open_with(request.passphrase).await?;
            if given && !wallet.has_passphrase() {
                return Err(no_passphrase("for one more address"));
            }
            let address = wallet.new_address(moment_with_sleep())?;
            return Ok(WalletCreated { address, recovery_phrase: None, recovered: None });
        }
        let passphrase = request.passphrase;
        let mut wallet = self
            .keyring
            .make(move |path| wallet::Wallet::create(path, passphrase.as_ref().map(Secret::expose)))
            .await?;
        let phrase = wallet.recovery_phrase(moment_with_sleep())?;
        if wallet.has_passphrase() {
            wallet.lock()?;
        }
        let recovery_phrase = Some(Secret::new(phrase.reveal().to_string()));
        Ok(WalletCreated { address: wallet.first_address(), recovery_phrase, recovered: None })
    }

    /// Restores a wallet from its recovery phrase, with all addresses up to the last one that ever
    /// had coins on the chain. The search continues at each new block, since the chain may come
    /// later.
    async fn recover_wallet(
        &self,
        phrase: Secret,
        passphrase: Option<Secret>,
    ) -> Result<WalletCreated, RpcError> {
        let phrase = RecoveryPhrase::parse(phrase.expose())?;
        let reader = self.chain.as_ref().map(|chain| chain.reader.clone());
        let task = self.progress.begin("recover", None);
        let progress = move |done, total| task.update(done, Some(total));
        // Rejected before the search replaces that of another wallet.
        if let Some(wallet) = self.keyring.open_if_there().await? {
            wallet.check_phrase(&phrase)?;
            match passphrase.clone() {
                Some(_) if !wallet.has_passphrase() => {
                    return Err(no_passphrase("to look for its addresses again"));
                }
                Some(given) => {
                    blocking(move || wallet.check_passphrase(given.expose())).await??;
                }
                None => {}
            }
        }
        let used = self.recovery.begin(phrase.clone(), reader, progress).await?;
        let make = move |path: &std::path::Path| {
            wallet::Wallet::recover(path, phrase, used, passphrase.as_ref().map(Secret::expose))
        };
        let mut wallet = self.keyring.make(make).await?;
        if wallet.has_passphrase() {
            wallet.lock()?;
        }
        let recovered = u32::try_from(wallet.addresses().len()).ok();
        Ok(WalletCreated { address: wallet.first_address(), recovery_phrase: None, recovered })
    }

    /// Writes a note on the chain, and mines for it.
    pub(super) async fn write_note(&self, request: WriteNote) -> Result<Submitted, RpcError> {
        let chain = self.chain()?;
        let network = chain.handle.summary().network.id;
        let (txid, author) = {
            let mut wallet = self.keyring.open_with(request.passphrase).await?;
            let author = wallet.first_address().0;
            let note = wallet.note(&author, &request.text, &network, moment_with_sleep())?;
            (self.submit(note).await?, author)
        };
        let owner = self.miner_address.map_or(author, |address| address.0);
        let submitted = Submitted::waits(txid, false);
        // Without a running node, mining ends with this command.
        if request.wait || self.router.is_none() {
            return self.mined(submitted, owner).await;
        }
        let miner = chain.miner.clone();
        tokio::spawn(async move {
            if let Err(error) = miner.mine_until(txid, owner).await {
                tracing::debug!(%txid, %error, "mining for a note ended early");
            }
        });
        Ok(submitted)
    }

    /// Returns the owner who gets the reward if the command names none.
    pub(super) async fn reward_owner(&self) -> Result<Owner, RpcError> {
        match self.miner_address {
            Some(address) => Ok(address.0),
            None => Ok(self.keyring.open().await?.first_address().0),
        }
    }

    /// Submits an own note. It is durable when this returns.
    async fn submit(&self, transaction: Transaction) -> Result<TxId, RpcError> {
        Ok(self.chain()?.handle.accept_trade(transaction, Origin::Local).await?)
    }
}
