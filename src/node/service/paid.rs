//! Announces incoming payments on consoles, and offers once to write down the recovery phrase.
//!
//! A payment is announced twice: when it waits, and when it is mined. Payments from before the
//! start are not announced. After a sync, many payments get one line together.

use std::{
    collections::{HashSet, VecDeque},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::names::{AddressBook, address_book};
use crate::{
    chain::{
        ChainHandle, ChainReader, ChainSummary, WalletScan,
        api::{MempoolEntry, Origin},
    },
    datadir::{DataDir, PHRASE_FILE},
    friends::FriendsHandle,
    node::{blocking::blocking, keyring::Keyring},
    primitives::{Amount, BlockHash, Height, Owner, Transaction, TxId},
    rpc::{
        EventFeed,
        types::{Coins, ConsoleEvent},
    },
    storage::write_private,
    wallet::history::{Direction, Payment, payment},
};

/// Trades that may queue for the task. Further ones are announced only once they are mined.
const QUEUE: usize = 1_024;

/// Payments of one batch of blocks that get a line each. If there are more, they share one line.
const MAX_LINES: usize = 3;

/// Announcements that are remembered, so that a reorg repeats none: some hours of payments.
const MAX_ANNOUNCED: usize = 4_096;

/// Interval at which the task checks whether a console can show the offer.
const OFFER_EVERY: Duration = Duration::from_secs(5);

const OFFER: &str = "your wallet holds coins now: write down its recovery phrase, the only copy \
     that survives a broken disk; type recovery-phrase where nobody looks over your shoulder";

/// Passes accepted trades on to the task. It never waits.
#[derive(Debug, Clone)]
pub(crate) struct PaidSender(mpsc::Sender<(TxId, Arc<Transaction>)>);

impl PaidSender {
    /// Passes on a trade that entered the mempool. Own trades are skipped.
    pub(crate) fn offer(&self, entry: &MempoolEntry, origin: Origin) {
        if origin != Origin::Local {
            // If the queue is full, the payment is announced when it is mined.
            let _ = self.0.try_send((entry.txid, Arc::clone(&entry.transaction)));
        }
    }
}

/// The parts that the task uses.
pub(crate) struct PaidParts {
    pub(crate) chain: ChainHandle,
    pub(crate) friends: FriendsHandle,
    pub(crate) keyring: Keyring,
    pub(crate) datadir: DataDir,
    pub(crate) feed: EventFeed,
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
    let (sender, trades) = mpsc::channel(QUEUE);
    let tip = parts.chain.summary().tip;
    let announcer = Announcer {
        upto: (tip.height, tip.hash),
        announced: Announced::default(),
        offer: Offer::Unknown,
        parts,
    };
    (PaidSender(sender), PaidTask(tokio::spawn(announcer.run(trades))))
}

/// The payments that were announced, the oldest first.
#[derive(Debug, Default)]
struct Announced {
    order: VecDeque<(TxId, bool)>,
    all: HashSet<(TxId, bool)>,
}

impl Announced {
    /// Returns true at the first call for this payment and state.
    fn is_new(&mut self, txid: TxId, mined: bool) -> bool {
        if !self.all.insert((txid, mined)) {
            return false;
        }
        self.order.push_back((txid, mined));
        if self.order.len() > MAX_ANNOUNCED
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
        true
    }
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
    announced: Announced,
    offer: Offer,
}

impl Announcer {
    async fn run(mut self, mut trades: mpsc::Receiver<(TxId, Arc<Transaction>)>) {
        let mut summaries: watch::Receiver<ChainSummary> = self.parts.chain.watch();
        let mut ticks = interval(OFFER_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                trade = trades.recv() => match trade {
                    Some((txid, trade)) => self.on_trade(txid, &trade).await,
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
        // The inputs' values do not matter: a trade with an own input is our own.
        let Some(payment) = payment(trade, &set, |_| None) else { return };
        if payment.direction == Direction::In
            && payment.lost == Amount::ZERO
            && !trade.inputs.iter().any(|input| set.contains(&input.public_key.owner()))
            && self.announced.is_new(txid, false)
        {
            let book = address_book(Some(&self.parts.friends), owners).await;
            self.parts.feed.push(paid(&book, txid, payment, None));
        }
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
        let mut received = news.received;
        received.retain(|(txid, ..)| self.announced.is_new(*txid, true));
        if received.is_empty() {
            return;
        }
        if received.len() > MAX_LINES {
            let sum: Amount = received.iter().map(|(_, payment, _)| payment.amount).sum();
            let count = received.len();
            let text =
                format!("{count} payments to you came in, {sum} in all: payments lists them");
            self.parts.feed.push(ConsoleEvent::Notice { text });
            return;
        }
        let book = address_book(Some(&self.parts.friends), owners).await;
        for (txid, payment, height) in received {
            self.parts.feed.push(paid(&book, txid, payment, Some(height)));
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

/// The payments of new blocks.
struct Received {
    /// The first [`MAX_ANNOUNCED`] of them.
    received: Vec<(TxId, Payment, Height)>,
    upto: (Height, BlockHash),
}

/// Reads the blocks after `from`, for payments from others.
fn received_since(
    reader: &ChainReader,
    from: (Height, BlockHash),
    owners: &HashSet<Owner>,
) -> Received {
    let mut news = Received { received: Vec::new(), upto: from };
    loop {
        match reader.wallet_scan(Some(news.upto), owners) {
            Some(WalletScan::Left { fork }) => news.upto = fork,
            Some(WalletScan::Page { found, upto: Some(upto), .. }) => {
                news.upto = upto;
                for mined in found {
                    let value = |at: usize| mined.spent.get(at).map(|coin| coin.value);
                    let Some(payment) = payment(&mined.transaction, owners, value) else {
                        continue;
                    };
                    let has_room = news.received.len() < MAX_ANNOUNCED;
                    if payment.direction == Direction::In && has_room {
                        news.received.push((mined.txid, payment, mined.height));
                    }
                }
            }
            Some(WalletScan::Page { upto: None, .. }) | None => return news,
        }
    }
}

fn paid(book: &AddressBook, txid: TxId, payment: Payment, height: Option<Height>) -> ConsoleEvent {
    ConsoleEvent::Paid {
        txid,
        from: book.one_of(&payment.parties).map(str::to_owned),
        amount: Coins(payment.amount),
        memo: Some(payment.memo).filter(|memo| !memo.is_empty()),
        height,
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
        let mut announced = Announced::default();
        let first = received_since(&reader, genesis, &owners);
        assert_eq!(first.received.len(), 1);
        assert!(announced.is_new(trade.txid(), false) && announced.is_new(trade.txid(), true));
        for block in [other.next(&[]), other.next(std::slice::from_ref(&trade))] {
            test.block(&block).expect("accepted");
        }
        test.chain.commit().expect("a commit");
        let again = received_since(&reader, first.upto, &owners);
        let again: Vec<_> =
            again.received.iter().map(|(txid, _, height)| (*txid, *height)).collect();
        assert_eq!(again, [(trade.txid(), 2)]);
        assert!(!announced.is_new(trade.txid(), true));
        let own = received_since(&reader, genesis, &HashSet::from([friend, yzw]));
        assert!(own.received.is_empty(), "one's own trade pays nobody");
    }
}
