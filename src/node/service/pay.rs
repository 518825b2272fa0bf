//! Commands that pay, replace a payment or repeat it: send, raise-fee, cancel, resend.
//!
//! The wallet is held from reading the coins until the chain has accepted the trade, so that two
//! payments at once never spend the same coins.

use super::{
    Service, fees::Fees, mining::watched, names::not_a_payee, unknown_transaction,
    voided::descendants_of,
};
use crate::{
    chain::{
        FeeRate, PAYING_RATE,
        api::{InputFate, Origin, SpendQuery, Spendable, TxInfo, TxState},
        errors::AcceptTradeError,
    },
    node::{blocking::blocking, clock::moment_with_sleep, keyring::OpenWallet},
    primitives::{Address, Amount, Owner, Transaction, TransactionKind, TxId, TxOutput, trimmed},
    rpc::{
        RpcError,
        types::{Cancel, Coins, RaiseFee, Resend, SendTrade, Submitted, TxStateName},
    },
    wallet::{self, BuiltTrade, Keys, Order, Plan, ResendError},
};

/// Attempts to cancel, each with the fee that the chain then asks for.
const CANCEL_ATTEMPTS: u32 = 3;

/// The largest fee that `cancel` pays without `--fee`, as a fraction of what comes back. A payee
/// could raise the price by a costly trade that spends the payment.
const CANCEL_SHARE: u64 = 10;

/// A fee that `cancel` always pays without `--fee`, in multiples of the least fee for its length.
const CANCEL_FEES: u64 = 100;

impl Service {
    /// Pays an address or a friend, from all addresses of the wallet unless one is named.
    pub(super) async fn pay(&self, request: SendTrade) -> Result<Submitted, RpcError> {
        let chain = self.chain()?;
        let to = self.payee(&request.to).await?;
        let amount = request.amount.0;
        let fees = Fees::new(chain, request.fee, request.force, amount).await?;
        let (submitted, payer) = {
            let mut wallet = self.keyring.open_with(request.passphrase).await?;
            let keys = wallet.keys();
            let from = request.from.map(|address| address.0);
            if let Some(address) = request.from.filter(|from| !keys.contains_key(&from.0)) {
                return Err(wallet::SignError::NotOurs(address).into());
            }
            let order = Order {
                outputs: vec![TxOutput { value: amount, owner: to }],
                fee: Amount::ZERO,
                memo: request.memo.unwrap_or_default().into_bytes(),
                from,
                tie: None,
                unconfirmed: request.unconfirmed,
            };
            let needs = amount.saturating_add(fees.most());
            let spendable = self.spendable(&keys, from, needs).await?;
            let build =
                |fee| wallet::build_trade(&spendable, &keys, &Order { fee, ..order.clone() });
            let (built, fee) = fees.build(build)?;
            let payer = built.payer;
            (self.sign_and_submit(&mut wallet, &built, fee).await?, payer)
        };
        if request.mine { self.mined(submitted, payer).await } else { Ok(submitted) }
    }

    /// Replaces an own trade in the mempool by the same trade with a higher fee.
    pub(super) async fn pay_more(&self, request: RaiseFee) -> Result<Submitted, RpcError> {
        let replaced = self.transaction_id(&request.txid).await?;
        let info = self.waiting(replaced).await?;
        let amount = info.transaction.outputs.first().map_or(Amount::ZERO, |paid| paid.value);
        let fees = Fees::new(self.chain()?, request.fee, request.force, amount).await?;
        let (submitted, payer) = {
            let mut wallet = self.keyring.open_with(request.passphrase).await?;
            let keys = wallet.keys();
            let needs = info.fee.saturating_add(fees.most());
            let spendable = self.spendable(&keys, None, needs).await?;
            let (built, fee) = fees.raise(info.fee, |fee| {
                wallet::raise_fee(&info.transaction, info.fee, fee, &spendable, &keys)
            })?;
            let mempool = self.chain()?.handle.mempool().await?;
            let also_void = descendants_of(replaced, &mempool);
            if !(request.force || request.voids) {
                let owners = keys.keys().copied().collect();
                self.check_voided(replaced, &also_void, &mempool, owners).await?;
            }
            let payer = built.payer;
            let sent = self.sign_and_submit(&mut wallet, &built, fee).await?;
            (replacing(sent, replaced, also_void), payer)
        };
        if request.mine { self.mined(submitted, payer).await } else { Ok(submitted) }
    }

    /// Replaces an own trade in the mempool by one that pays its coins back to the wallet.
    pub(super) async fn cancel_payment(&self, request: Cancel) -> Result<Submitted, RpcError> {
        let txid = self.transaction_id(&request.txid).await?;
        let info = self.waiting(txid).await?;
        let trade = &info.transaction;
        if trade.kind() == TransactionKind::Note {
            return Err(RpcError::new(
                "note",
                format!("{txid} is a note: it spends no coins, so nothing can take its place"),
            ));
        }
        let mut wallet = self.keyring.open_with(request.passphrase).await?;
        let keys = wallet.keys();
        let mempool = self.chain()?.handle.mempool().await?;
        let also_void = descendants_of(txid, &mempool);
        if !request.voids {
            let owners = keys.keys().copied().collect();
            self.check_voided(txid, &also_void, &mempool, owners).await?;
        }
        let resting = mempool.iter().filter(|entry| also_void.contains(&entry.txid));
        let lost = resting.map(|entry| entry.fee).sum::<Amount>().saturating_add(info.fee);
        let mut fee = request.fee.map_or_else(|| least_fee(trade, info.fee, lost), |fee| fee.0);
        for _ in 0..CANCEL_ATTEMPTS {
            let spendable = self.spendable(&keys, None, fee).await?;
            let built = wallet::build_cancel(trade, info.fee, fee, &spendable, &keys)?;
            if request.fee.is_none() {
                check_cancel_fee(txid, fee, &built.transaction)?;
            }
            match self.try_submit(&mut wallet, &built).await? {
                Ok(new) => {
                    let sent = submitted(new, &built, fee);
                    return Ok(replacing(sent, txid, also_void));
                }
                Err(AcceptTradeError::Conflict { needs: Some(needs), .. })
                    if request.fee.is_none() && needs > fee =>
                {
                    fee = needs;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(RpcError::new(
            "busy",
            format!("what rests on {txid} changes all the time: try cancel again, or give --fee"),
        ))
    }

    /// Sends a void trade of the wallet again.
    pub(super) async fn send_again(&self, request: Resend) -> Result<Submitted, RpcError> {
        let txid = self.transaction_id(&request.txid).await?;
        let info = self.known(txid).await?;
        match info.state {
            TxState::Void { .. } => {}
            TxState::Mempool => {
                let own = self.own_owners().await?;
                return Err(waits_already(txid, &info.transaction, &own));
            }
            TxState::Mined { height, .. } => return Err(mined_already(txid, height)),
        }
        let trade = info.transaction;
        let mut wallet = self.keyring.open_with(request.passphrase).await?;
        let keys = wallet.keys();
        let given: Amount = trade.outputs.iter().map(|output| output.value).sum();
        let paid = trade.outputs.first().map_or(Amount::ZERO, |paid| paid.value);
        let fees = Fees::to_resend(self.chain()?, request.fee, paid).await?;
        let needs = given.saturating_add(fees.most());
        let spendable = self.spendable(&keys, None, needs).await?;
        if !request.force {
            self.check_not_paid_since(txid, wallet::payments(&trade, &keys), &trade.memo).await?;
        }
        let fates = self.fates(&trade).await?;
        match wallet::plan_resend(txid, &trade, &fates, &spendable, &keys, request.force)? {
            Plan::Same => {
                let fee = fee_of(&trade, &fates);
                let accepted =
                    self.chain()?.handle.accept_trade(Transaction::clone(&trade), Origin::Local);
                Ok(Submitted { fee: Coins(fee), ..Submitted::waits(accepted.await?, false) })
            }
            Plan::Anew(order) => {
                let build =
                    |fee| wallet::build_trade(&spendable, &keys, &Order { fee, ..order.clone() });
                let (built, fee) = fees.build(build)?;
                let sent = self.sign_and_submit(&mut wallet, &built, fee).await?;
                Ok(Submitted { replaces: Some(txid), ..sent })
            }
        }
    }

    /// Resolves `to`, which is an address or a friend's name.
    async fn payee(&self, to: &str) -> Result<Owner, RpcError> {
        let to = self.friend(trimmed(to)).await?;
        if Address::looks_like(&to) {
            return Ok(to.parse::<Address>()?.0);
        }
        match self.friends_handle()?.resolve_to_pay(to.clone()).await {
            Ok((_, owner)) => Ok(owner),
            Err(error) => Err(not_a_payee(&to, error)),
        }
    }

    /// Returns a known transaction and its state.
    async fn known(&self, txid: TxId) -> Result<TxInfo, RpcError> {
        let info = self.chain()?.handle.transaction(txid).await?;
        info.ok_or_else(|| unknown_transaction(txid))
    }

    /// Returns a transaction that waits in the mempool; fails for any other.
    async fn waiting(&self, txid: TxId) -> Result<TxInfo, RpcError> {
        let info = self.known(txid).await?;
        match &info.state {
            TxState::Mempool => Ok(info),
            TxState::Mined { height, .. } => Err(mined_already(txid, *height)),
            TxState::Void { reason } => Err(RpcError::new(
                "void",
                format!("trade {txid} is void: {reason}; resend {txid} sends it again"),
            )),
        }
    }

    async fn spendable(
        &self,
        keys: &Keys,
        from: Option<Owner>,
        needs: Amount,
    ) -> Result<Spendable, RpcError> {
        let mut owners: Vec<Owner> = keys.keys().copied().collect();
        owners.sort_unstable();
        let query = SpendQuery { wallet: owners, from, needs };
        Ok(self.chain()?.handle.spendable(query).await?)
    }

    /// Fails if a later transaction makes the same payment.
    async fn check_not_paid_since(
        &self,
        txid: TxId,
        payments: Vec<TxOutput>,
        memo: &[u8],
    ) -> Result<(), RpcError> {
        let (reader, memo) = (self.chain()?.reader.clone(), memo.to_vec());
        let since = blocking(move || reader.paid_since(&txid, &payments, &memo)).await??;
        since.map_or(Ok(()), |by| Err(ResendError::PaidSince { txid, by }.into()))
    }

    async fn fates(&self, trade: &Transaction) -> Result<Vec<InputFate>, RpcError> {
        let chain = self.chain()?;
        let waiting = chain.handle.mempool().await?;
        let (reader, trade) = (chain.reader.clone(), trade.clone());
        Ok(blocking(move || reader.input_fates(&trade, &waiting)).await??)
    }

    /// Signs a built trade and submits it. It is durable when this returns.
    async fn sign_and_submit(
        &self,
        wallet: &mut OpenWallet,
        built: &BuiltTrade,
        fee: Amount,
    ) -> Result<Submitted, RpcError> {
        let txid = self.try_submit(wallet, built).await??;
        Ok(submitted(txid, built, fee))
    }

    async fn try_submit(
        &self,
        wallet: &mut OpenWallet,
        built: &BuiltTrade,
    ) -> Result<Result<TxId, AcceptTradeError>, RpcError> {
        let chain = self.chain()?;
        let network = chain.handle.summary().network.id;
        let mut transaction = built.transaction.clone();
        wallet.sign(&mut transaction, &network, moment_with_sleep())?;
        Ok(chain.handle.accept_trade(transaction, Origin::Local).await)
    }

    /// Mines until the submitted transaction is in a block, which another miner may find.
    pub(super) async fn mined(
        &self,
        submitted: Submitted,
        owner: Owner,
    ) -> Result<Submitted, RpcError> {
        let (miner, task) = (&self.chain()?.miner, self.progress.begin("wait", None));
        let mined = watched(miner, &task, miner.mine_until(submitted.txid, owner)).await?;
        Ok(Submitted { block: Some(mined.block), state: TxStateName::Mined, ..submitted })
    }
}

fn mined_already(txid: TxId, height: u32) -> RpcError {
    RpcError::new("mined", format!("trade {txid} is in block {height} already"))
}

/// Returns the error for a transaction that cannot be sent again, since it waits. Only the owners
/// of all its inputs can replace it.
fn waits_already(txid: TxId, waiting: &Transaction, own: &[Owner]) -> RpcError {
    let is_own = waiting.inputs.iter().all(|input| own.contains(&input.public_key.owner()));
    let next = match waiting.kind() {
        TransactionKind::Note => "the next block can hold it",
        _ if is_own => "raise-fee hurries it, cancel takes it back",
        _ => "it is not yours, so only its payer can hurry it or take it back",
    };
    RpcError::new("waiting", format!("{txid} waits to be mined: {next}"))
}

fn submitted(txid: TxId, built: &BuiltTrade, fee: Amount) -> Submitted {
    Submitted {
        fee: Coins(fee),
        rests_on_unconfirmed: !built.rests_on.is_empty(),
        rests_on: built.rests_on.clone(),
        ..Submitted::waits(txid, built.rests_on_young_rewards)
    }
}

fn replacing(sent: Submitted, replaced: TxId, also_void: Vec<TxId>) -> Submitted {
    Submitted { replaces: Some(replaced), also_void: Some(also_void), ..sent }
}

/// Returns the fee with which a trade of the same inputs and one output replaces `trade`. `own` is
/// the fee of `trade`, and `lost` the sum of the fees that leave. The rules are in
/// `chain/mempool/check.rs`.
fn least_fee(trade: &Transaction, own: Amount, lost: Amount) -> Amount {
    let output = TxOutput { value: Amount::ZERO, owner: Owner::ZERO };
    let bare =
        Transaction { inputs: trade.inputs.clone(), outputs: vec![output], memo: Vec::new() };
    let bytes = bare.encoded_len();
    let relayed = lost.saturating_add(FeeRate::from_units(PAYING_RATE).fee(bytes));
    let rate = FeeRate::of(own, trade.encoded_len()).plus(FeeRate::from_units(1));
    relayed.max(rate.fee(bytes))
}

/// Rejects a fee that the user did not choose and that takes a large part of what comes back.
fn check_cancel_fee(txid: TxId, fee: Amount, cancel: &Transaction) -> Result<(), RpcError> {
    let back: Amount = cancel.outputs.iter().map(|output| output.value).sum();
    let usual = FeeRate::from_units(PAYING_RATE).fee(cancel.encoded_len()).units();
    let most = (back.units() / CANCEL_SHARE).max(usual.saturating_mul(CANCEL_FEES));
    if fee.units() <= most {
        return Ok(());
    }
    Err(RpcError::new(
        "fee_too_high",
        format!(
            "to cancel {txid} takes a fee of {fee}, since what rests on it pays much: cancel \
             {txid} --fee {fee} does it all the same"
        ),
    ))
}

/// Returns the fee of a trade whose inputs are all unspent.
fn fee_of(trade: &Transaction, fates: &[InputFate]) -> Amount {
    let taken: Amount = fates
        .iter()
        .filter_map(|fate| match fate {
            InputFate::Free(coin) => Some(coin.coin.value),
            _ => None,
        })
        .sum();
    let given: Amount = trade.outputs.iter().map(|output| output.value).sum();
    taken.checked_sub(given).unwrap_or_default()
}
