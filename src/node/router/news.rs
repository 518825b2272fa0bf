//! Notices for consoles: new blocks, the state of own trades, forks, and events of friends.

use tokio::sync::broadcast::error::RecvError;

use super::{Attempt, Done, Failure, Router, attempts::Attempts};
use crate::{
    chain::{
        ChainReader, Divergence, Tip,
        api::{DropReason, MempoolEntry, Origin},
    },
    friends::FriendsEvent,
    primitives::{BlockHash, Height, PeerId, Transaction, TransactionKind, TxId},
    telemetry::events,
};

/// An event that people at a console want to see.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// Blocks joined the best chain.
    BlocksConnected {
        /// Hash of the newest one.
        hash: BlockHash,
        height: Height,
        count: u32,
        /// Texts of the block's notes; empty if `count` is above 1.
        notes: Vec<String>,
    },
    /// The node has caught up with the chain of its peers.
    Synced {
        height: Height,
        /// Number of blocks that joined the best chain meanwhile.
        blocks: u32,
    },
    /// Another branch became the best chain.
    Reorganised {
        tip: BlockHash,
        height: Height,
        /// Number of blocks that left the best chain.
        disconnected: u32,
    },
    /// A person has to choose between two branches.
    Diverged(Divergence),
    /// The chain is no longer diverged.
    Reunited {
        tip: BlockHash,
        height: Height,
    },
    /// A trade of this node's wallet was mined.
    TradeMined {
        txid: TxId,
        kind: TransactionKind,
        block: BlockHash,
        height: Height,
        /// True if the user was notified before that the trade is void.
        was_void: bool,
    },
    /// A trade can never be mined any more.
    TradeVoid {
        txid: TxId,
        kind: TransactionKind,
        reason: String,
    },
    /// Another node with our identity runs.
    CopyRuns {
        /// The copy's address; `None` if friends reported it.
        address: Option<String>,
    },
    /// The warning of a copy no longer holds.
    CopyEnded {
        /// The address at which a dial found that it has ended. `None` if it was only not seen.
        address: Option<String>,
    },
    /// An address cannot be reached, and waiting rarely helps.
    NoWay {
        attempt: Attempt,
        /// The label of the peer there, if this node knows it.
        name: Option<String>,
    },
    Friend(FriendsEvent),
    /// This machine has slept, and friends are here again.
    Back {
        away_ms: u64,
        /// Number of friends who are connected.
        friends: u32,
        /// Number of lines that have arrived since the wake.
        lines: u32,
    },
}

/// Passes notices to the consoles. The router's task calls it, so it must not block, and must keep
/// a bounded number of notices.
pub(crate) type NewsSink = Box<dyn Fn(News) + Send + Sync>;

/// A change of the mempool.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TradeNews<'a> {
    /// A trade entered the mempool.
    Accepted { entry: &'a MempoolEntry, origin: Origin },
    /// A peer's trade left it without being mined.
    Dropped { txid: TxId, reason: DropReason },
}

/// Receives each change of the mempool. The router's task calls it, so it must not block.
pub(crate) type TradeSink = Box<dyn Fn(TradeNews<'_>) + Send + Sync>;

impl Router {
    pub(super) fn publish_news(&self, news: News) {
        (self.news)(news);
    }

    /// Publishes the beginning and the end of a divergence once each, although both branches grow
    /// meanwhile.
    pub(super) fn publish_divergence(&mut self, found: Option<Divergence>) {
        let fork = found.map(|found| found.fork);
        let before = std::mem::replace(&mut self.fork, fork);
        if before == fork {
            return;
        }
        if let Some(found) = found {
            let Divergence { fork_height, ours, theirs, .. } = found;
            events::Diverged {
                tip: ours.hash,
                height: ours.height,
                branch: theirs.hash,
                branch_height: theirs.height,
                fork_height,
            }
            .emit();
            self.publish_news(News::Diverged(found));
        } else {
            let Tip { hash, height, .. } = self.chain.summary().tip;
            events::Reunited { tip: hash, height }.emit();
            self.publish_news(News::Reunited { tip: hash, height });
        }
    }

    /// Records that an address could not be reached. Notifies the user once if waiting will not
    /// help, and the address is the user's or a friend's.
    pub(super) fn no_way(
        &mut self,
        address: &str,
        peer: Option<PeerId>,
        failure: Failure,
        details: String,
    ) {
        let found = self.attempts.failed(address, peer, failure, details).cloned();
        let is_news = |attempt: &Attempt| Attempts::is_news(attempt, &self.trust);
        let Some(attempt) = found.filter(is_news).filter(|_| failure.needs_the_user()) else {
            return;
        };
        let friends = self.friends.clone();
        self.spawn_work(async move {
            let known = match attempt.peer {
                Some(peer) => friends.friend(peer).await.ok().flatten(),
                None => None,
            };
            Some(Done::News(vec![News::NoWay { attempt, name: known.map(|it| it.name) }]))
        });
    }

    pub(super) fn on_friends(&mut self, event: Result<FriendsEvent, RecvError>) {
        match event {
            Ok(event) if self.is_part_of_wake(&event) => {}
            Ok(event) => {
                if let Some(event) = self.hold_request(event) {
                    self.publish_news(News::Friend(event));
                }
            }
            Err(RecvError::Lagged(missed)) => {
                tracing::debug!(missed, "the console's feed missed some friends' events");
            }
            // The tick notices that the friends thread has ended.
            Err(RecvError::Closed) => {}
        }
    }
}

/// Returns the texts of a block's notes.
pub(super) fn notes_of(reader: &ChainReader, hash: &BlockHash) -> Vec<String> {
    let Some(info) = reader.block(hash) else { return Vec::new() };
    let notes = info
        .block
        .transactions
        .iter()
        .filter(|transaction| transaction.kind() == TransactionKind::Note);
    notes.map(Transaction::memo_text).collect()
}
