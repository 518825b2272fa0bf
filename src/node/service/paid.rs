//! Announces incoming payments on consoles, and offers once to write down the recovery phrase.
//!
//! A payment is announced twice: when it waits, and when it is mined. If it is replaced, dropped or
//! undone by a reorg, that is announced too. Payments from before the start are not announced, but
//! counted for the next console. After a sync, many payments get one line together.

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::{
    names::{AddressBook, address_book},
    received::{Incoming, received_since},
    told::{AllTold, Told, coins_of},
    unseen::UnseenPayments,
};
use crate::{
    chain::{
        ChainHandle, ChainSummary,
        api::{DropReason, Origin, TxState},
    },
    datadir::{DataDir, PHRASE_FILE},
    friends::FriendsHandle,
    node::{blocking::blocking, keyring::Keyring, router::TradeNews},
    primitives::{Amount, BlockHash, Height, Owner, Transaction, TxId},
    rpc::{
        EventFeed,
        types::{Coins, ConsoleEvent, PaymentLoss},
    },
    storage::write_private,
    wallet::history::{Direction, Payment, payment},
};

/// Changes of the mempool that may queue for the task. Payments of further ones are announced only
/// once they are mined.
const QUEUE: usize = 1_024;

/// Payments of one batch of blocks that get a line each. If there are more, they share one line.
const MAX_LINES: usize = 3;

/// Interval at which the task checks whether a console can show the offer.
const OFFER_EVERY: Duration = Duration::from_secs(5);

const OFFER: &str = "your wallet holds coins now: write down its recovery phrase, the only copy \
     that survives a broken disk; type recovery-phrase where nobody looks over your shoulder";

/// A change of the mempool.
#[derive(Debug)]
enum Change {
    Accepted(TxId, Arc<Transaction>),
    Dropped(TxId, DropReason),
}

/// Passes changes of the mempool on to the task. It never waits.
#[derive(Debug, Clone)]
pub(crate) struct PaidSender(mpsc::Sender<Change>);

impl PaidSender {
    /// Passes on a trade of a peer that entered or left the mempool. Own trades are skipped.
    pub(crate) fn offer(&self, news: &TradeNews<'_>) {
        let change = match news {
            TradeNews::Accepted { origin: Origin::Local, .. } => return,
            TradeNews::Accepted { entry, .. } => {
                Change::Accepted(entry.txid, Arc::clone(&entry.transaction))
            }
            TradeNews::Dropped { txid, reason } => Change::Dropped(*txid, *reason),
        };
        // If the queue is full, a payment is announced when it is mined.
        let _ = self.0.try_send(change);
    }
}

/// The parts that the task uses.
pub(crate) struct PaidParts {
    pub(crate) chain: ChainHandle,
    pub(crate) friends: FriendsHandle,
    pub(crate) keyring: Keyring,
    pub(crate) datadir: DataDir,
    pub(crate) feed: EventFeed,
    pub(crate) unseen: UnseenPayments,
}

/// The task, which ends when this is dropped.
pub(crate) struct PaidTask(JoinHandle<()>);

impl Drop for PaidTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts the task.
pub(crate) fn announce_payments(parts: PaidParts) -> (PaidSender, PaidTask) {
    let (sender, changes) = mpsc::channel(QUEUE);
    let tip = parts.chain.summary().tip;
    let announcer = Announcer {
        upto: (tip.height, tip.hash),
        told: AllTold::default(),
        offer: Offer::Unknown,
        parts,
    };
    (PaidSender(sender), PaidTask(tokio::spawn(announcer.run(changes))))
}

/// The offer to write down the recovery phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offer {
    /// The node does not know yet whether the wallet holds coins.
    Unknown,
    /// The wallet holds coins, and no console was there for the offer.
    Due,
    Made,
}

struct Announcer {
    parts: PaidParts,
    /// The last block that was read.
    upto: (Height, BlockHash),
    told: AllTold,
    offer: Offer,
}

impl Announcer {
    async fn run(mut self, mut changes: mpsc::Receiver<Change>) {
        let mut summaries: watch::Receiver<ChainSummary> = self.parts.chain.watch();
        let mut ticks = interval(OFFER_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let owners = self.owners().await.into_iter().collect();
        self.parts.unseen.begin(self.parts.chain.reader().clone(), owners, self.upto).await;
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Some(Change::Accepted(txid, trade)) => self.on_trade(txid, &trade).await,
                    Some(Change::Dropped(txid, reason)) => self.on_dropped(txid, reason).await,
                    None => return,
                },
                changed = summaries.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let tip = summaries.borrow_and_update().tip;
                    if (tip.height, tip.hash) != self.upto {
                        self.on_blocks().await;
                    }
                }
                _ = ticks.tick(), if self.offer != Offer::Made => self.offer_phrase().await,
            }
        }
    }

    async fn owners(&self) -> Vec<Owner> {
        let wallet = self.parts.keyring.open_if_there().await.ok().flatten();
        let addresses = wallet.map(|wallet| wallet.addresses()).unwrap_or_default();
        addresses.into_iter().map(|address| address.0).collect()
    }

    async fn on_trade(&mut self, txid: TxId, trade: &Transaction) {
        let owners = self.owners().await;
        let set: HashSet<Owner> = owners.iter().copied().collect();
        if let Some(payment) = paid_by_others(trade, &set)
            && self.told.is_new(&txid, None)
        {
            let book = address_book(Some(&self.parts.friends), owners).await;
            let coins = coins_of(trade);
            let event = self.tell(&book, Incoming { txid, payment, coins, height: None });
            self.parts.feed.push(event);
        }
    }

    /// Announces that an announced payment left the mempool without being mined.
    async fn on_dropped(&mut self, txid: TxId, reason: DropReason) {
        let by_blocks = matches!(reason, DropReason::Conflict | DropReason::Reorganised);
        if by_blocks && self.told.waiting(&txid).is_some() {
            // The new blocks may hold a replacement that pays this wallet too.
            self.on_blocks().await;
        }
        let Some(told) = self.told.waiting(&txid).cloned() else { return };
        if reason == DropReason::Replaced {
            let owners = self.owners().await.into_iter().collect();
            let waiting = self.parts.chain.mempool().await.unwrap_or_default();
            let mut trades = waiting.iter().map(|entry| &entry.transaction);
            // `on_trade` announces a replacement that pays this wallet too.
            if trades.any(|by| told.conflicts(by) && paid_by_others(by, &owners).is_some()) {
                return;
            }
        }
        self.told.set_gone(&txid);
        self.parts.feed.push(lost(txid, told, PaymentLoss::from(reason)));
    }

    async fn on_blocks(&mut self) {
        let owners = self.owners().await;
        let set: HashSet<Owner> = owners.iter().copied().collect();
        let (reader, from) = (self.parts.chain.reader().clone(), self.upto);
        let Ok(news) = blocking(move || received_since(&reader, from, &set)).await else { return };
        self.upto = news.upto;
        if self.offer == Offer::Unknown {
            self.offer_phrase().await;
        }
        let undone = news.fork.map(|fork| self.told.above(fork)).unwrap_or_default();
        let mined: HashSet<TxId> = news.payments.iter().map(|payment| payment.txid).collect();
        let (new, known): (Vec<_>, Vec<_>) = news
            .payments
            .into_iter()
            .partition(|payment| self.told.is_new(&payment.txid, payment.height));
        for payment in known {
            self.told.set_place(&payment.txid, payment.height);
        }
        // A console that shows them then finds them counted.
        self.parts.unseen.add(new.len(), self.upto);
        self.on_undone(undone.into_iter().filter(|txid| !mined.contains(txid)).collect()).await;
        if new.is_empty() {
            return;
        }
        let book = address_book(Some(&self.parts.friends), owners).await;
        let payments = u32::try_from(new.len()).unwrap_or(u32::MAX);
        let is_many = new.len() > MAX_LINES;
        let amount = Coins(new.iter().map(|incoming| incoming.payment.amount).sum());
        for incoming in new {
            let event = self.tell(&book, incoming);
            if !is_many {
                self.parts.feed.push(event);
            }
        }
        if is_many {
            self.parts.feed.push(ConsoleEvent::PaidMany { payments, amount });
        }
    }

    /// Announces that a reorg removed the blocks of announced payments, and that the new branch
    /// does not contain them.
    async fn on_undone(&mut self, undone: Vec<TxId>) {
        let many = undone.len() > MAX_LINES;
        if many {
            let text = format!("{} payments to you are no longer in a block", undone.len());
            self.parts.feed.push(ConsoleEvent::Notice { text });
        }
        for txid in undone {
            let info = self.parts.chain.transaction(txid).await.ok().flatten();
            let (told, loss) = match info.map(|info| info.state) {
                // The next blocks that are read contain it.
                Some(TxState::Mined { .. }) => continue,
                Some(TxState::Mempool) => (self.told.set_place(&txid, None), PaymentLoss::Unmined),
                Some(TxState::Void { .. }) | None => {
                    (self.told.set_gone(&txid), PaymentLoss::Undone)
                }
            };
            if let Some(told) = told.filter(|_| !many) {
                self.parts.feed.push(lost(txid, told, loss));
            }
        }
    }

    /// Remembers a payment that is announced, and returns its event.
    fn tell(&mut self, book: &AddressBook, incoming: Incoming) -> ConsoleEvent {
        let Incoming { txid, payment, coins, height } = incoming;
        let replaced = self.told.replaced_by(&txid, &coins);
        let from = book.one_of(&payment.parties).map(str::to_owned);
        self.told.insert(txid, Told::new(from.clone(), payment.amount, coins, height));
        ConsoleEvent::Paid {
            txid,
            from,
            amount: Coins(payment.amount),
            memo: Some(payment.memo).filter(|memo| !memo.is_empty()),
            height,
            replaces: replaced.map(|told| Coins(told.amount)),
        }
    }

    /// Offers to write down the recovery phrase once the wallet holds coins and a console is there.
    /// A file records the wallet for which this was done.
    async fn offer_phrase(&mut self) {
        let owners = self.owners().await;
        let Some(first) = owners.first().copied() else { return };
        let path = self.parts.datadir.file(PHRASE_FILE);
        if self.offer == Offer::Unknown {
            let known = path.clone();
            let Ok(is_made) = blocking(move || is_noted(&known, first)).await else { return };
            self.offer = if is_made {
                Offer::Made
            } else {
                let Ok(funds) = self.parts.chain.funds(owners).await else { return };
                if funds.whole.confirmed == Amount::ZERO {
                    return;
                }
                Offer::Due
            };
        }
        if self.offer == Offer::Due && self.parts.feed.is_read() {
            self.offer = Offer::Made;
            self.parts.feed.push(ConsoleEvent::Notice { text: OFFER.to_owned() });
            // If the file cannot be written, the next start offers it again.
            let _ = blocking(move || note_offer(&path, first)).await;
        }
    }
}

fn is_noted(path: &Path, first: Owner) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.trim() == first.to_string())
}

/// Records that the user got the offer for the wallet with this first owner.
pub(super) fn note_offer(path: &Path, first: Owner) {
    if let Err(error) = write_private(path, format!("{first}\n").as_bytes()) {
        tracing::debug!(%error, "the offer of the phrase is not remembered");
    }
}

/// Returns the payment that a trade of others is for the wallet of `owners`.
fn paid_by_others(trade: &Transaction, owners: &HashSet<Owner>) -> Option<Payment> {
    // The inputs' values do not matter: a trade with an own input is our own.
    let payment = payment(trade, owners, |_| None)?;
    let is_own = trade.inputs.iter().any(|input| owners.contains(&input.public_key.owner()));
    (payment.direction == Direction::In && payment.lost == Amount::ZERO && !is_own)
        .then_some(payment)
}

fn lost(txid: TxId, told: Told, loss: PaymentLoss) -> ConsoleEvent {
    ConsoleEvent::PaymentLost { txid, from: told.from, amount: Coins(told.amount), loss }
}

impl From<DropReason> for PaymentLoss {
    fn from(reason: DropReason) -> Self {
        match reason {
            DropReason::Replaced => Self::Replaced,
            DropReason::Conflict => Self::Spent,
            DropReason::Evicted => Self::Evicted,
            DropReason::Expired => Self::Expired,
            DropReason::Reorganised => Self::NoCoins,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::testing::{Branch, TestChain, genesis_coin, key, network, owner, pay};

    #[test]
    fn a_payment_is_announced_once_although_a_reorg_mines_it_again() {
        let network = network();
        let (yzw, friend) = (owner(&key(1)), owner(&key(3)));
        let trade =
            pay(&network, &key(1), genesis_coin(&network), &[(friend, 10), (yzw, 9_999_999_990)]);
        let mut test = TestChain::of(&network);
        let mut branch = Branch::new(&network, 1);
        let mut other = branch.fork(2);
        test.connect(&[branch.next(std::slice::from_ref(&trade))]);
        test.chain.commit().expect("a commit");
        let (reader, owners) = (test.chain.reader(), HashSet::from([friend]));
        let genesis = (0, network.genesis.hash());
        let mut told = AllTold::default();
        let first = received_since(&reader, genesis, &owners);
        assert_eq!((first.payments.len(), first.fork), (1, None));
        let txid = trade.txid();
        assert!(told.is_new(&txid, Some(1)));
        let amount = first.payments[0].payment.amount;
        told.insert(txid, Told::new(None, amount, coins_of(&trade), Some(1)));
        for block in [other.next(&[]), other.next(std::slice::from_ref(&trade))] {
            test.block(&block).expect("accepted");
        }
        test.chain.commit().expect("a commit");
        let again = received_since(&reader, first.upto, &owners);
        let mined: Vec<_> =
            again.payments.iter().map(|payment| (payment.txid, payment.height)).collect();
        assert_eq!((mined, again.fork), (vec![(txid, Some(2))], Some(0)));
        assert!(!told.is_new(&txid, Some(2)));
        assert_eq!(told.above(0), [txid], "its first block left the chain");
        let own = received_since(&reader, genesis, &HashSet::from([friend, yzw]));
        assert!(own.payments.is_empty(), "one's own trade pays nobody");
    }
}
