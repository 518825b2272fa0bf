//! Commands that need the wallet's keys: creating wallets, paying, and writing notes.

use super::{Service, fees::Fees, unknown_transaction};
use crate::{
    chain::api::{MempoolEntry, Origin, TxState},
    node::{blocking::blocking, clock::moment_with_sleep},
    primitives::{Address, Amount, Owner, Transaction, TxId},
    rpc::{
        RpcError,
        types::{
            Coins, CreateWallet, RaiseFee, Secret, SendTrade, Submitted, TxStateName, Units,
            WalletCreated, WriteNote,
        },
    },
    wallet::{self, BuildError, RECOVERY_SCAN, RecoveryPhrase},
};

impl Service {
    /// Creates a wallet, or one more address of the wallet that exists.
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
                return Err(RpcError::new(
                    "no_passphrase",
                    "the wallet here has no passphrase: leave --passphrase-file out for one more \
                     address; change-passphrase sets a passphrase",
                ));
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

    /// Restores a wallet from its recovery phrase. Scans the first 1,000 addresses, and restores
    /// all up to the last one that has coins on the chain.
    async fn recover_wallet(
        &self,
        phrase: Secret,
        passphrase: Option<Secret>,
    ) -> Result<WalletCreated, RpcError> {
        let phrase = RecoveryPhrase::parse(phrase.expose())?;
        let mut used = 1;
        if let Some(chain) = &self.chain {
            let (reader, owners) = (chain.reader.clone(), phrase.owners());
            used = blocking(move || {
                let known = (1_u32..)
                    .zip(owners.take(RECOVERY_SCAN.try_into().unwrap_or(usize::MAX)))
                    .filter(|(_, owner)| reader.has_coins(*owner));
                known.map(|(count, _)| count).last().unwrap_or(1)
            })
            .await?;
        }
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

    /// Pays an address or a friend.
    pub(super) async fn pay(&self, request: SendTrade) -> Result<Submitted, RpcError> {
        let chain = self.chain()?;
        let to = self.payee(&request.to).await?;
        let network = chain.handle.summary().network.id;
        let amount = request.amount.0;
        let fees = Fees::new(chain, request.fee, request.force, amount).await?;
        let (submitted, from) = {
            let mut wallet = self.keyring.open_with(request.passphrase).await?;
            let memo = request.memo.unwrap_or_default();
            let owners = match request.from {
                Some(from) => vec![from.0],
                None => wallet.addresses().into_iter().map(|address| address.0).collect(),
            };
            let mut poorest = None;
            let mut found = None;
            for from in owners {
                let key =
                    wallet.public_key(&from).ok_or(wallet::SignError::NotOurs(Address(from)))?;
                let spendable = chain.handle.spendable(from).await?;
                let mut reason = None;
                let built = fees.build(|fee| {
                    wallet::build_trade(&spendable, key, to, amount, fee, memo.as_bytes())
                        .inspect_err(|error| reason = Some(*error))
                });
                match (built, reason) {
                    (Err(error), Some(BuildError::NotEnough { .. })) => {
                        poorest.get_or_insert(error);
                    }
                    (built, _) => {
                        found = Some((built?, from));
                        break;
                    }
                }
            }
            let Some(((built, fee), from)) = found else {
                let none = || RpcError::new("no_wallet", "the wallet has no address");
                return Err(poorest.unwrap_or_else(none));
            };
            let mut transaction = built.transaction;
            wallet.sign(&mut transaction, &network, moment_with_sleep())?;
            // Submitted while the wallet is held, so that the next send sees these coins as spent.
            let submitted = Submitted {
                fee: Coins(fee),
                fee_units: Units(fee),
                rests_on_unconfirmed: built.rests_on_pending,
                ..Submitted::waits(self.submit(transaction).await?, built.rests_on_young_rewards)
            };
            (submitted, from)
        };
        if request.mine { self.mined(submitted, from).await } else { Ok(submitted) }
    }

    /// Replaces an own trade in the mempool by the same trade with a higher fee.
    pub(super) async fn pay_more(&self, request: RaiseFee) -> Result<Submitted, RpcError> {
        let chain = self.chain()?;
        let replaced = self.transaction_id(&request.txid).await?;
        let info = chain
            .handle
            .transaction(replaced)
            .await?
            .ok_or_else(|| unknown_transaction(replaced))?;
        match info.state {
            TxState::Mempool => {}
            TxState::Mined { height, .. } => {
                return Err(RpcError::new(
                    "mined",
                    format!("trade {replaced} is in block {height} already"),
                ));
            }
            TxState::Void { reason } => {
                return Err(RpcError::new(
                    "void",
                    format!("trade {replaced} can no longer be mined: {reason}"),
                ));
            }
        }
        let network = chain.handle.summary().network.id;
        let from =
            info.transaction.inputs.first().map_or(Owner::ZERO, |input| input.public_key.owner());
        let amount = info.transaction.outputs.first().map_or(Amount::ZERO, |paid| paid.value);
        let fees = Fees::new(chain, request.fee, request.force, amount).await?;
        let (txid, young, also_void, fee) = {
            let mut wallet = self.keyring.open_with(request.passphrase).await?;
            wallet.public_key(&from).ok_or(wallet::SignError::NotOurs(Address(from)))?;
            let spendable = chain.handle.spendable(from).await?;
            let (built, fee) = fees.raise(info.fee, |fee| {
                wallet::raise_fee(&info.transaction, info.fee, fee, &spendable)
            })?;
            let mut transaction = built.transaction;
            wallet.sign(&mut transaction, &network, moment_with_sleep())?;
            let also_void = descendants_of(replaced, &chain.handle.mempool().await?);
            (self.submit(transaction).await?, built.rests_on_young_rewards, also_void, fee)
        };
        let submitted = Submitted {
            replaces: Some(replaced),
            also_void,
            fee: Coins(fee),
            fee_units: Units(fee),
            ..Submitted::waits(txid, young)
        };
        if request.mine { self.mined(submitted, from).await } else { Ok(submitted) }
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
        // Without a running node all mining ends with this command.
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

    /// Returns the owner that is paid for a block if the command names none.
    pub(super) async fn reward_owner(&self) -> Result<Owner, RpcError> {
        match self.miner_address {
            Some(address) => Ok(address.0),
            None => Ok(self.keyring.open().await?.first_address().0),
        }
    }

    /// Resolves `to`, which is an address or a friend's name.
    pub(super) async fn payee(&self, to: &str) -> Result<Owner, RpcError> {
        let to = to.trim();
        if Address::looks_like(to) || to.starts_with('1') {
            return Ok(to.parse::<Address>()?.0);
        }
        match &self.friends {
            Some(friends) => Ok(friends.resolve_to_pay(to.to_owned()).await?.1),
            None => self.friends_handle().map(|_| Owner::ZERO),
        }
    }

    /// Submits an own trade or note. It is durable when this returns.
    async fn submit(&self, transaction: Transaction) -> Result<TxId, RpcError> {
        Ok(self.chain()?.handle.accept_trade(transaction, Origin::Local).await?)
    }

    /// Mines until the submitted transaction is in a block, which another miner may find.
    async fn mined(&self, submitted: Submitted, owner: Owner) -> Result<Submitted, RpcError> {
        let mined = self.chain()?.miner.mine_until(submitted.txid, owner).await?;
        Ok(Submitted { block: Some(mined.block), state: TxStateName::Mined, ..submitted })
    }
}

/// Returns the mempool's descendants of a trade: they spend its outputs, or each other's.
fn descendants_of(trade: TxId, mempool: &[MempoolEntry]) -> Vec<TxId> {
    let mut found = vec![trade];
    for entry in mempool {
        // Parents come first.
        if entry.transaction.inputs.iter().any(|input| found.contains(&input.outpoint.txid)) {
            found.push(entry.txid);
        }
    }
    found.split_off(1)
}
