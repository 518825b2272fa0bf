//! The wallet's balance and its payments: waiting, mined and void ones, newest first.
//!
//! The chain's history is read on a blocking thread and kept in memory. The next request reads only
//! new blocks.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{
    Service,
    names::{AddressBook, address_book},
};
use crate::{
    chain::{ChainFault, ChainReader, VoidTransaction, WalletScan, api::MempoolEntry, touches},
    consensus::CoinKey,
    node::blocking::blocking,
    primitives::{Address, Amount, BlockHash, Height, OutPoint, Owner, TxId, UnixMillis},
    rpc::{
        ProgressGuard, RpcError,
        types::{
            Coins, PaymentDirection, PaymentList, PaymentView, PaymentsRequest, PaymentsSeen,
            TxStateName, Units, WalletBalance,
        },
    },
    wallet::history::{Direction, History, MinedPayment, Payment, payment},
};

/// The payments in a reply if the request names no limit, and the most: 2 MB of JSON with the
/// longest memos.
const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 1_000;

/// The most void transactions that are listed, newest first.
const MAX_VOID: usize = 1_000;

/// The number of newest mined payments that are compared with the mempool, which was read first.
const COMPARED: usize = 2_000;

/// The wallet's payments on the chain so far. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Payments {
    history: Arc<Mutex<History>>,
}

impl Payments {
    /// Returns the history up to the tip.
    async fn read(
        &self,
        reader: ChainReader,
        owners: Vec<Owner>,
        task: Option<ProgressGuard>,
    ) -> Result<OwnedMutexGuard<History>, RpcError> {
        let mut history = Arc::clone(&self.history).lock_owned().await;
        blocking(move || {
            history.set_owners(owners.into_iter().collect());
            loop {
                match reader.wallet_scan(history.upto(), history.owners()) {
                    None => return Err(unreadable()),
                    Some(WalletScan::Left { fork }) => history.rewind(fork),
                    Some(WalletScan::Page { found, upto, tip }) => {
                        history.take(found, upto);
                        let height = history.upto().map_or(0, |(height, _)| height);
                        if let Some(task) = &task {
                            task.update(height.into(), Some(tip.into()));
                        }
                        if upto.is_none() || height >= tip {
                            return Ok(history);
                        }
                    }
                }
            }
        })
        .await?
        .map_err(RpcError::from)
    }
}

/// Returns the fault for a chain that cannot be read. The log has the details.
fn unreadable() -> ChainFault {
    ChainFault::Corrupt("blocks or coins do not read: the log says which".to_owned())
}

/// A payment that waits in the mempool.
pub(super) struct Waiting {
    txid: TxId,
    added: UnixMillis,
    payment: Payment,
}

/// Returns the entries of the mempool that move own coins, parents first.
pub(super) fn waiting_payments(
    entries: &[MempoolEntry],
    owners: &HashSet<Owner>,
    reader: &ChainReader,
) -> Vec<Waiting> {
    let mut made: HashMap<OutPoint, Amount> = HashMap::new();
    let mut waiting = Vec::new();
    for entry in entries.iter().filter(|entry| touches(&entry.transaction, owners)) {
        let inputs = &entry.transaction.inputs;
        let value = |at: usize| {
            let key = CoinKey::of_input(inputs.get(at)?);
            let made = made.get(&key.outpoint).copied();
            made.or_else(|| reader.coin(&key).map(|coin| coin.value))
        };
        let payment = payment(&entry.transaction, owners, value);
        for (index, output) in (0_u32..).zip(&entry.transaction.outputs) {
            if owners.contains(&output.owner) {
                made.insert(OutPoint { txid: entry.txid, index }, output.value);
            }
        }
        let (txid, added) = (entry.txid, entry.added);
        waiting.extend(payment.map(|payment| Waiting { txid, added, payment }));
    }
    waiting
}

impl Service {
    pub(super) async fn wallet_balance(&self) -> Result<WalletBalance, RpcError> {
        let owners: Vec<Owner> =
            self.keyring.open().await?.addresses().into_iter().map(|address| address.0).collect();
        let whole = self.chain()?.handle.funds(owners).await?.whole;
        let pending = (whole.pending_in, whole.pending_out);
        Ok(WalletBalance::new((whole.confirmed, whole.settled), pending, whole.height))
    }

    /// Returns the number of payments since the last call, which a console is about to show.
    pub(super) async fn mark_payments(&self) -> Result<PaymentsSeen, RpcError> {
        let unseen = self.unseen.as_ref().ok_or_else(RpcError::not_running)?;
        Ok(PaymentsSeen { payments: unseen.take().await })
    }

    pub(super) async fn payment_list(
        &self,
        request: PaymentsRequest,
    ) -> Result<PaymentList, RpcError> {
        let owners: Vec<Owner> =
            self.keyring.open().await?.addresses().into_iter().map(|address| address.0).collect();
        let chain = self.chain()?;
        let with = match &request.with {
            Some(with) => Some(
                self.find_address(with)
                    .await?
                    .ok_or_else(|| {
                        let sentence =
                            "that is neither an address nor a friend's name: friends lists them";
                        RpcError::new("bad_address", sentence)
                    })?
                    .0,
            ),
            None => None,
        };
        let book = address_book(self.friends.as_ref(), owners.clone()).await;
        // Read before the history. A trade that is mined in between is then in both, and is listed
        // once.
        let entries = chain.handle.mempool().await?;
        let task = self.progress.begin("payments", None);
        let reader = chain.reader.clone();
        let history = self.payments.read(reader.clone(), owners, Some(task)).await?;
        blocking(move || {
            let waiting = waiting_payments(&entries, history.owners(), &reader);
            let void = reader.void_transactions(MAX_VOID);
            listed(&history, waiting, void, &book, &Wanted::new(&request, with))
        })
        .await?
        .ok_or_else(|| {
            let sentence = "the chain has changed while the payments were read: try again";
            RpcError::new("reorganised", sentence)
        })
    }
}

/// The requested part of the list.
struct Wanted {
    limit: usize,
    with: Option<Owner>,
    without_rewards: bool,
    after: Option<TxId>,
}

impl Wanted {
    fn new(request: &PaymentsRequest, with: Option<Owner>) -> Self {
        let limit = request.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            with,
            without_rewards: request.without_rewards,
            after: request.after,
        }
    }

    fn takes(&self, payment: &Payment) -> bool {
        self.with.is_none_or(|with| payment.parties.contains(&with))
            && !(self.without_rewards && payment.direction == Direction::Reward)
    }
}

/// Merges waiting, mined and void payments, newest first, and cuts out the requested part. `None`
/// if the payment after which it should begin does not exist.
fn listed(
    history: &History,
    waiting: Vec<Waiting>,
    void: Vec<VoidTransaction>,
    book: &AddressBook,
    wanted: &Wanted,
) -> Option<PaymentList> {
    let tip = history.upto().map_or(0, |(height, _)| height);
    let mined: HashSet<TxId> = history.newest().take(COMPARED).map(|mined| mined.txid).collect();
    let mut balance = history.newest().next().map_or(Amount::ZERO, |mined| mined.balance);
    let mut rows = Vec::new();
    for Waiting { txid, added, payment } in waiting {
        if !mined.contains(&txid) {
            let after = balance.saturating_add(payment.gained);
            balance = after.checked_sub(payment.lost).unwrap_or_default();
            rows.push(Row { txid, time: added, balance: Some(balance), ..Row::of(payment) });
        }
    }
    rows.reverse();
    let mut void = void.into_iter().filter(|void| !mined.contains(&void.txid)).filter_map(|void| {
        let VoidTransaction { txid, transaction, added, reason } = void;
        let payment = payment(&transaction, history.owners(), |_| None)?;
        let state = State::Void(reason);
        Some(Row { txid, time: added, state, ..Row::of(payment) })
    });
    let mut void = std::iter::from_fn(|| void.next()).peekable();
    let mut mined = history.newest().peekable();
    let rest = std::iter::from_fn(|| match (void.peek(), mined.peek()) {
        (Some(void_one), Some(mined_one)) if void_one.time < mined_one.time => {
            mined.next().map(|mined| Row::mined(mined, tip))
        }
        (None, _) => mined.next().map(|mined| Row::mined(mined, tip)),
        (Some(_), _) => void.next(),
    });
    let mut rows = rows.into_iter().chain(rest);
    if let Some(after) = wanted.after {
        rows.find(|row| row.txid == after)?;
    }
    let rows = rows.filter(|row| wanted.takes(&row.payment)).take(wanted.limit);
    let payments = rows.map(|row| row.view(book)).collect();
    Some(PaymentList { payments, older: history.dropped() })
}

/// The state of a payment.
enum State {
    Waiting,
    Mined { block: BlockHash, height: Height, confirmations: u32 },
    Void(String),
}

/// One payment of the list.
struct Row {
    txid: TxId,
    time: UnixMillis,
    balance: Option<Amount>,
    state: State,
    payment: Payment,
}

impl Row {
    const fn of(payment: Payment) -> Self {
        Self { txid: TxId::ZERO, time: 0, balance: None, state: State::Waiting, payment }
    }

    fn mined(mined: &MinedPayment, tip: Height) -> Self {
        let confirmations = tip.saturating_sub(mined.height).saturating_add(1);
        let (block, height) = (mined.block, mined.height);
        Self {
            txid: mined.txid,
            time: mined.time,
            balance: Some(mined.balance),
            state: State::Mined { block, height, confirmations },
            payment: mined.payment.clone(),
        }
    }

    fn view(self, book: &AddressBook) -> PaymentView {
        let Payment { direction, amount, fee, parties, memo, .. } = self.payment;
        let (state, block, height, confirmations, reason) = match self.state {
            State::Waiting => (TxStateName::Mempool, None, None, 0, None),
            State::Mined { block, height, confirmations } => {
                (TxStateName::Mined, Some(block), Some(height), confirmations, None)
            }
            State::Void(reason) => (TxStateName::Void, None, None, 0, Some(reason)),
        };
        let named = parties.iter().find(|party| book.name(party).is_some());
        let address = named.or(parties.first()).map(|owner| Address(*owner));
        let name = book.one_of(&parties).map(str::to_owned);
        PaymentView {
            txid: self.txid,
            direction: match direction {
                Direction::In => PaymentDirection::In,
                Direction::Out => PaymentDirection::Out,
                Direction::Reward => PaymentDirection::Reward,
                Direction::Own => PaymentDirection::Own,
            },
            with: name.or_else(|| address.map(|address| address.to_string())),
            address,
            amount: Coins(amount),
            amount_units: Units(amount),
            fee: Coins(fee),
            fee_units: Units(fee),
            memo: Some(memo).filter(|memo| !memo.is_empty()),
            state,
            confirmations,
            time: self.time,
            block,
            height,
            balance: self.balance.map(Coins),
            balance_units: self.balance.map(Units),
            reason,
        }
    }
}
