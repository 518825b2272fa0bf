//! The number of payments that came in while no console was open, with a mark in a file.
//!
//! The file has one line: the chain's id, and height and hash of the last block whose payments a
//! console has shown or counted. The task that announces payments counts those of later blocks.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use tokio::sync::watch;

use super::received::received_since;
use crate::{
    chain::ChainReader,
    node::blocking::blocking,
    primitives::{BlockHash, Height, NetworkId, Owner},
    storage::write_private,
};

/// The last block that was counted.
type Block = (Height, BlockHash);

/// The count and its file. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct UnseenPayments {
    path: PathBuf,
    network: NetworkId,
    /// `None` until the blocks since the mark have been counted.
    counted: Arc<watch::Sender<Option<Counted>>>,
}

#[derive(Debug, Clone, Copy)]
struct Counted {
    payments: u32,
    upto: Block,
}

impl UnseenPayments {
    #[must_use]
    pub(crate) fn new(path: PathBuf, network: NetworkId) -> Self {
        Self { path, network, counted: Arc::new(watch::Sender::new(None)) }
    }

    /// Counts the payments of the blocks between the mark and `tip`. Without a mark, it sets one.
    pub(super) async fn begin(&self, reader: ChainReader, owners: HashSet<Owner>, tip: Block) {
        let this = self.clone();
        let begun = blocking(move || match this.mark() {
            Some(mark) => {
                let since = received_since(&reader, mark, &owners).payments;
                // Those above the tip are announced.
                since.iter().filter(|payment| payment.height <= Some(tip.0)).count()
            }
            None => 0,
        });
        let payments = count(begun.await.unwrap_or_default());
        if payments == 0 {
            self.set_mark(tip).await;
        }
        self.counted.send_replace(Some(Counted { payments, upto: tip }));
    }

    /// Adds the payments of further blocks, up to `upto`. Call it before they are announced.
    pub(super) fn add(&self, payments: usize, upto: Block) {
        self.counted.send_modify(|counted| {
            if let Some(counted) = counted {
                counted.payments = counted.payments.saturating_add(count(payments));
                counted.upto = upto;
            }
        });
    }

    /// Returns the number of payments since the last call, which a console is about to show.
    pub(super) async fn take(&self) -> u32 {
        // The channel cannot close while `self` holds the sender.
        let _ = self.counted.subscribe().wait_for(Option::is_some).await;
        let mut taken = None;
        self.counted.send_modify(|counted| {
            taken = *counted;
            if let Some(counted) = counted {
                counted.payments = 0;
            }
        });
        let Some(Counted { payments, upto }) = taken else { return 0 };
        if payments > 0 {
            self.set_mark(upto).await;
        }
        payments
    }

    /// Returns the mark. `None` without one, or if the folder was on another chain then.
    fn mark(&self) -> Option<Block> {
        let text = std::fs::read_to_string(&self.path).ok()?;
        let mut words = text.split_whitespace();
        let network: NetworkId = words.next()?.parse().ok()?;
        let block = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (network == self.network).then_some(block)
    }

    /// Writes the mark. If that fails, the next start counts some payments again.
    async fn set_mark(&self, (height, hash): Block) {
        let (path, line) = (self.path.clone(), format!("{} {height} {hash}\n", self.network));
        let written = blocking(move || write_private(&path, line.as_bytes())).await;
        if !matches!(written, Ok(Ok(()))) {
            tracing::debug!("the mark of seen payments was not written");
        }
    }
}

fn count(payments: usize) -> u32 {
    u32::try_from(payments).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::testing::{Branch, TestChain, genesis_coin, key, network, owner, pay};

    #[tokio::test]
    async fn payments_since_the_last_console_are_counted_once_also_after_a_restart() {
        let network = network();
        let payee = owner(&key(3));
        let trade = pay(&network, &key(1), genesis_coin(&network), &[(payee, 10)]);
        let mut test = TestChain::of(&network);
        let mut branch = Branch::new(&network, 1);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mark");
        let (reader, owners) = (test.chain.reader(), HashSet::from([payee]));
        let genesis = (0, network.genesis.hash());
        let open = |id| UnseenPayments::new(path.clone(), id);
        open(network.id).begin(reader.clone(), owners.clone(), genesis).await;
        let block = branch.next(&[trade]);
        let tip = (1, block.hash());
        test.connect(&[block]);
        test.chain.commit().expect("a commit");

        let unseen = open(network.id);
        unseen.begin(reader.clone(), owners.clone(), tip).await;
        unseen.add(2, tip);
        assert_eq!((unseen.take().await, unseen.take().await), (3, 0));
        let again = open(network.id);
        again.begin(reader.clone(), owners.clone(), tip).await;
        assert_eq!(again.take().await, 0);
        let elsewhere = open(BlockHash([1; 32]));
        elsewhere.begin(reader, owners, genesis).await;
        assert_eq!(elsewhere.take().await, 0, "the mark belongs to another chain");
    }
}
