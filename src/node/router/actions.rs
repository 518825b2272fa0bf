//! Carries out the actions of the sync and relay machines, and returns the results to them.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::{sync::oneshot, task::spawn_blocking};

use super::{Done, Parts, Router, network::log_unsent};
use crate::{
    chain::{
        ChainHandle, ChainSummary,
        api::{BlockAccepted, ChainCommand, HeaderContext, HeadersAccepted, Origin, Refused},
        errors::{AcceptBlockError, AcceptHeadersError, ChainFault},
    },
    consensus::Work,
    net::GossipId,
    node::clock::{moment, now},
    peers::Level,
    primitives::{Block, BlockHash, Header, MiningMode, PeerId, Transaction},
    relay::{Announcement, RelayAction, RelayEvent},
    sync::{self, Phase, Sync, SyncAction, SyncConfig, SyncEvent, check_branch},
    wire::{Gossip, Request, RequestFailure, SyncRequest},
};

/// The time for which a stranger is not dialed after it announced blocks and did not deliver them.
const WITHHOLDER_PAUSE: Duration = Duration::from_mins(10);

/// Creates the machine that catches up, at the chain's present state.
pub(super) fn new_sync(parts: &Parts, summary: &ChainSummary) -> Sync {
    Sync::new(SyncConfig {
        min_work: parts.min_work,
        tip: summary.tip,
        best_header: summary.best_header,
        diverged: summary.diverged.is_some(),
        trust: parts.trust.clone(),
        secret: rand::random(),
        now: moment(),
    })
}

impl Router {
    pub(super) fn sync_action(&mut self, action: SyncAction) {
        let chain = self.chain.clone();
        match action {
            SyncAction::Request { peer, id, request } => self.request_sync(peer, id, request),
            SyncAction::SendStatus { peer } => self.send_hello(peer),
            SyncAction::FetchLocator { peer } => {
                let reader = self.reader.clone();
                self.spawn_work(async move {
                    let hashes = spawn_blocking(move || reader.locator()).await.unwrap_or_default();
                    Some(Done::Sync(SyncEvent::Locator { peer, hashes }))
                });
            }
            SyncAction::FetchMissing { read, limit } => self.spawn_work(async move {
                let blocks = chain.missing_bodies(limit).await.unwrap_or_default();
                Some(Done::Sync(SyncEvent::Missing { read, blocks }))
            }),
            SyncAction::FilterTrades { peer, ids } => self.spawn_work(async move {
                let ids = chain.unknown_trades(ids).await.unwrap_or_default();
                Some(Done::Sync(SyncEvent::UnknownTrades { peer, ids }))
            }),
            SyncAction::AcceptHeaders { peer, walk, headers, shown } => {
                let result = accept_headers(chain, peer, headers, shown);
                self.spawn_work(async move {
                    let result = result.await;
                    Some(Done::Sync(SyncEvent::HeadersDone { peer, walk, result }))
                });
            }
            SyncAction::HeaderContext { peer, hash } => self.spawn_work(async move {
                let context = chain.header_context(hash).await.ok().flatten().map(Box::new);
                Some(Done::Sync(SyncEvent::HeaderContext { peer, context }))
            }),
            SyncAction::CheckHeaders { peer, context, headers } => {
                self.check_unstored(peer, *context, headers);
            }
            SyncAction::Withhold { hash } => self.withhold(hash),
            SyncAction::SuspendMining => self.miner.suspend(),
            SyncAction::Proven { peer } => {
                log_unsent(self.net.useful(peer));
                self.relay(RelayEvent::Proven { peer });
            }
            SyncAction::Disconnect { peer } => self.disconnect(peer, WITHHOLDER_PAUSE),
            SyncAction::AcceptBlocks { blocks } => {
                let results = accept_blocks(chain, blocks);
                self.spawn_work(async move {
                    Some(Done::Sync(SyncEvent::BlocksDone { results: results.await? }))
                });
            }
            SyncAction::AcceptTrade { peer, transaction } => {
                let (txid, origin) = (transaction.txid(), self.origin_of(peer));
                self.spawn_work(async move {
                    let result = accept_trade(&chain, origin, transaction).await;
                    Some(Done::Sync(SyncEvent::TradeDone { txid, result }))
                });
            }
            SyncAction::Penalise { peer, offence, reason } => self.penalise(peer, offence, &reason),
            SyncAction::SyncDone { ticket, report } => self.finish_sync(ticket, report),
            SyncAction::PhaseChanged { phase } => {
                tracing::debug!(?phase, "the phase has changed");
                self.apply_mining_mode();
            }
        }
    }

    /// Checks headers of a branch that is not stored, in a separate task.
    fn check_unstored(&self, peer: PeerId, context: HeaderContext, headers: Vec<Header>) {
        let network = Arc::clone(&self.network);
        self.spawn_work(async move {
            let check = move || check_branch(&network, context, &headers, now());
            let result = spawn_blocking(check).await.ok()?.map(Box::new).map_err(Into::into);
            Some(Done::Sync(SyncEvent::HeadersChecked { peer, result }))
        });
    }

    /// Withholds a header whose body no peer delivers.
    fn withhold(&self, hash: BlockHash) {
        let chain = self.chain.clone();
        self.spawn_work(async move {
            match chain.withhold(hash).await {
                Ok(best) => tracing::debug!(%hash, best = %best.hash, "a header is withheld"),
                Err(error) => tracing::debug!(%error, "a header was not withheld"),
            }
            None
        });
    }

    pub(super) fn relay_action(&mut self, action: RelayAction<GossipId>) {
        let chain = self.chain.clone();
        match action {
            RelayAction::Publish { announcement } => {
                let gossip = match announcement {
                    Announcement::Block(gossip) => Gossip::Block(gossip),
                    Announcement::Trade(gossip) => Gossip::Trade(gossip),
                };
                self.publish_gossip(&gossip);
            }
            RelayAction::Verdict { message, verdict } => {
                log_unsent(self.net.verdict(message, verdict));
            }
            RelayAction::CheckSolved { header } => {
                let hash = header.hash();
                self.spawn_work(async move {
                    let result = chain.check_header(*header).await.map_err(Into::into);
                    Some(Done::Relay(RelayEvent::SolvedChecked { hash, result }))
                });
            }
            RelayAction::SuspendMining => self.miner.suspend(),
            RelayAction::Delivered { peer } => self.sync(SyncEvent::Delivered { peer }),
            RelayAction::AcceptHeader { peer, header } => {
                let hash = header.hash();
                self.spawn_work(async move {
                    let (headers, origin) = (vec![*header], Origin::Peer(peer));
                    let result = chain.accept_headers(headers, origin, None).await;
                    let result = result.map_err(Into::into);
                    Some(Done::Relay(RelayEvent::HeaderDone { hash, result }))
                });
            }
            RelayAction::Rebuild { hash, header, coinbase, short_ids } => {
                self.spawn_work(async move {
                    let rebuilt = chain.rebuild(*header, *coinbase, short_ids).await.ok()?;
                    Some(Done::Relay(RelayEvent::Rebuilt { hash, rebuilt }))
                });
            }
            RelayAction::Request { peer, id, request } => self.request_sync(peer, id, request),
            RelayAction::AcceptBlock { peer, block } => {
                let hash = block.hash();
                let result = accept_block(chain, peer, block);
                self.spawn_work(async move {
                    Some(Done::Relay(RelayEvent::BlockDone { hash, result: result.await }))
                });
            }
            RelayAction::AcceptTrades { id, peer, transactions } => {
                let origin = self.origin_of(peer);
                self.spawn_work(async move {
                    // The commands reach the chain in order, so parents come first.
                    let accept = |transaction| accept_trade(&chain, origin, Box::new(transaction));
                    let results = join_all(transactions.into_iter().map(accept)).await;
                    Some(Done::Relay(RelayEvent::TradesDone { id, results }))
                });
            }
            RelayAction::FetchBlock { hash } => {
                let reader = self.reader.clone();
                self.spawn_work(async move {
                    let block =
                        spawn_blocking(move || reader.stored_block(&hash)).await.ok().flatten();
                    Some(Done::Relay(RelayEvent::BlockLoaded { hash, block: block.map(Arc::new) }))
                });
            }
            RelayAction::AskStatus { peer } => self.send_hello(peer),
            RelayAction::Mute { peer, topic, ms } => log_unsent(self.net.mute(peer, topic, ms)),
            RelayAction::Penalise { peer, offence, reason } => {
                self.penalise(peer, offence, &reason);
            }
        }
    }

    /// Returns the origin of a peer's trade. All strangers share one allowance of free trades.
    fn origin_of(&self, peer: PeerId) -> Origin {
        match self.trust.level(&peer) {
            Level::Stranger => Origin::Stranger(peer),
            Level::Introduced | Level::Friend => Origin::Peer(peer),
        }
    }

    /// Sets the miner's mode: the user's, once the node has started.
    ///
    /// # Security
    /// No claim and no header stops the miner, since both cost a peer little. A better branch whose
    /// bodies arrive suspends it: see [`SyncAction::SuspendMining`].
    pub(super) fn apply_mining_mode(&self) {
        let starting = self.sync.progress().phase == Phase::Starting;
        let mode = if starting { MiningMode::Off } else { self.mining };
        let miner = self.miner.clone();
        self.spawn_work(async move {
            if let Err(error) = miner.set_mode(mode).await {
                tracing::debug!(%error, "the miner's mode was not changed");
            }
            None
        });
    }

    /// Sends a machine's request. A request that cannot be sent now fails at once.
    fn request_sync(&mut self, peer: PeerId, id: u64, request: SyncRequest) {
        if let Err(error) = self.net.request(peer, id, &Request::Sync(request)) {
            tracing::debug!(%peer, %error, "a request was not sent");
            self.spawn_work(async move {
                // The limit is our own, so this is not a time-out of the peer.
                let result = Err(RequestFailure::Disconnected);
                Some(if sync::owns_request(id) {
                    Done::Sync(SyncEvent::Response { id, result })
                } else {
                    Done::Relay(RelayEvent::Response { id, result })
                })
            });
        }
    }

    /// Publishes gossip, and ignores a failure: the relay announces trades again, and sync finds
    /// blocks.
    fn publish_gossip(&self, gossip: &Gossip) {
        if let Err(error) = self.net.publish(gossip) {
            tracing::debug!(%error, "gossip was not published");
        }
    }
}

/// Sends a command to the chain thread before it returns, so that commands arrive there in the
/// order of the calls. The future waits for the reply.
fn in_order<T: Send + 'static>(
    chain: ChainHandle,
    command: impl FnOnce(oneshot::Sender<T>) -> ChainCommand,
) -> impl Future<Output = Result<T, ChainFault>> + Send + 'static {
    let (reply, answer) = oneshot::channel();
    let full = chain.try_send(command(reply)).err();
    async move {
        if let Some(command) = full {
            chain.send(*command).await?;
        }
        answer.await.map_err(|_| ChainFault::Closed)
    }
}

/// Sends headers to the chain thread, in order.
fn accept_headers(
    chain: ChainHandle,
    peer: PeerId,
    headers: Vec<Header>,
    shown: Option<Work>,
) -> impl Future<Output = Result<HeadersAccepted, Refused>> + Send + 'static {
    let origin = Origin::Peer(peer);
    let result =
        in_order(chain, move |reply| ChainCommand::AcceptHeaders { headers, origin, shown, reply });
    async move { Ok(result.await.map_err(AcceptHeadersError::Fault)??) }
}

/// Sends blocks to the chain thread, in order. The future returns no results once the chain is
/// closed, which also ends the router.
fn accept_blocks(
    chain: ChainHandle,
    blocks: Vec<(PeerId, Box<Block>)>,
) -> impl Future<Output = Option<Vec<(BlockHash, Result<BlockAccepted, Refused>)>>> + Send + 'static
{
    let blocks = blocks.into_iter().map(|(peer, block)| (block, Origin::Peer(peer))).collect();
    let results = in_order(chain, move |reply| ChainCommand::AcceptBlocks { blocks, reply });
    async move {
        let results = results.await.ok()?;
        let told = |(hash, result): (BlockHash, Result<_, AcceptBlockError>)| {
            (hash, result.map_err(Into::into))
        };
        Some(results.into_iter().map(told).collect())
    }
}

/// Sends a block to the chain thread before it returns, so that blocks arrive there in the order of
/// the calls. The future waits for the result.
fn accept_block(
    chain: ChainHandle,
    peer: PeerId,
    block: Box<Block>,
) -> impl Future<Output = Result<BlockAccepted, Refused>> + Send + 'static {
    let origin = Origin::Peer(peer);
    let result = in_order(chain, move |reply| ChainCommand::AcceptBlock { block, origin, reply });
    async move { Ok(result.await.map_err(AcceptBlockError::Fault)??) }
}

async fn accept_trade(
    chain: &ChainHandle,
    origin: Origin,
    transaction: Box<Transaction>,
) -> Result<(), Refused> {
    chain.accept_trade(*transaction, origin).await.map(drop).map_err(Into::into)
}
