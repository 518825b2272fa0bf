//! Reads the payments of others to the wallet from new blocks.

use std::collections::HashSet;

use super::told::{MAX_TOLD, coins_of};
use crate::{
    chain::{ChainReader, WalletScan},
    primitives::{BlockHash, Height, OutPoint, Owner, TxId},
    wallet::history::{Direction, Payment, payment},
};

/// A payment of others to the wallet.
pub(super) struct Incoming {
    pub(super) txid: TxId,
    pub(super) payment: Payment,
    /// The first coins that it spends.
    pub(super) coins: Vec<OutPoint>,
    /// The height of its block; `None`: it waits.
    pub(super) height: Option<Height>,
}

/// The payments of new blocks.
pub(super) struct Received {
    /// The first [`MAX_TOLD`] of them.
    pub(super) payments: Vec<Incoming>,
    pub(super) upto: (Height, BlockHash),
    /// The height of the last block that a reorg left, if there was one.
    pub(super) fork: Option<Height>,
}

/// Reads the blocks after `from`, for payments from others.
pub(super) fn received_since(
    reader: &ChainReader,
    from: (Height, BlockHash),
    owners: &HashSet<Owner>,
) -> Received {
    let mut news = Received { payments: Vec::new(), upto: from, fork: None };
    loop {
        match reader.wallet_scan(Some(news.upto), owners) {
            Some(WalletScan::Left { fork }) => {
                news.upto = fork;
                news.fork = Some(news.fork.map_or(fork.0, |before| before.min(fork.0)));
                news.payments.retain(|payment| payment.height <= Some(fork.0));
            }
            Some(WalletScan::Page { found, upto: Some(upto), .. }) => {
                news.upto = upto;
                for mined in found {
                    let value = |at: usize| mined.spent.get(at).map(|coin| coin.value);
                    let Some(payment) = payment(&mined.transaction, owners, value) else {
                        continue;
                    };
                    let has_room = news.payments.len() < MAX_TOLD;
                    if payment.direction == Direction::In && has_room {
                        let (coins, height) = (coins_of(&mined.transaction), Some(mined.height));
                        news.payments.push(Incoming { txid: mined.txid, payment, coins, height });
                    }
                }
            }
            Some(WalletScan::Page { upto: None, .. }) | None => return news,
        }
    }
}
