//! Carries out the actions of the sync and relay machines, and returns the results to them.

use std::sync::Arc;

use tokio::{sync::oneshot, task::spawn_blocking};

use super::{Done, Router, network::log_unsent};
use crate::{
    chain::{
        ChainHandle,
        api::{BlockAccepted, ChainCommand, Origin, Refused},
        errors::{AcceptBlockError, ChainFault},
    },
    net::GossipId,
    primitives::{Block, MiningMode, PeerId, Transaction},
    relay::{Announcement, RelayAction, RelayEvent},
    sync::{self, Phase, SyncAction, SyncEvent},
    wire::{Gossip, Request, RequestFailure, SyncRequest},
};

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
            SyncAction::FetchMissing { read, limit } => {
                let reader = self.reader.clone();
                self.spawn_work(async move {
                    let blocks = spawn_blocking(move || reader.missing_bodies(limit))
                        .await
                        .unwrap_or_default();
                    Some(Done::Sync(SyncEvent::Missing { read, blocks }))
                });
            }
            SyncAction::FilterTrades { peer, ids } => self.spawn_work(async move {
                let ids = chain.unknown_trades(ids).await.unwrap_or_default();
                Some(Done::Sync(SyncEvent::UnknownTrades { peer, ids }))
            }),
            SyncAction::AcceptHeaders { peer, headers } => self.spawn_work(async move {
                let result = chain.accept_headers(headers, Origin::Peer(peer), None).await;
                Some(Done::Sync(SyncEvent::HeadersDone {
                    peer,
                    result: result.map_err(Into::into),
                }))
            }),
            SyncAction::AcceptBlock { peer, block } => {
                let hash = block.hash();
                let result = accept_block(chain, peer, block);
                self.spawn_work(async move {
                    Some(Done::Sync(SyncEvent::BlockDone { hash, result: result.await }))
                });
            }
            SyncAction::AcceptTrade { peer, transaction } => {
                let txid = transaction.txid();
                self.spawn_work(async move {
                    let result = accept_trade(&chain, peer, transaction).await;
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
            // No header suspends mining.
            RelayAction::PauseMining { .. } => {}
            RelayAction::AcceptHeader { peer, header } => {
                let hash = header.hash();
                self.spawn_work(async move {
                    let (headers, origin) = (vec![*header], Origin::Peer(peer));
                    let result = chain.accept_headers(headers, origin, None).await;
                    Some(Done::Relay(RelayEvent::HeaderDone {
                        hash,
                        result: result.map_err(Into::into),
                    }))
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
            RelayAction::AcceptTrade { peer, transaction } => {
                let txid = transaction.txid();
                self.spawn_work(async move {
                    let result = accept_trade(&chain, peer, transaction).await;
                    Some(Done::Relay(RelayEvent::TradeDone { txid, result }))
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
            RelayAction::Penalise { peer, offence, reason } => {
                self.penalise(peer, offence, &reason);
            }
        }
    }

    /// Sets the miner's mode for the present phase: it rests while a better chain arrives.
    pub(super) fn apply_mining_mode(&self) {
        let mode = match self.sync.progress().phase {
            Phase::Starting | Phase::Syncing => MiningMode::Off,
            Phase::Synced | Phase::Stalled | Phase::Alone | Phase::Diverged => self.mining,
        };
        let miner = self.miner.clone();
        self.spawn_work(async move {
            if let Err(error) = miner.set_mode(mode).await {
                tracing::debug!(%error, "the miner's mode was not changed");
            }
            None
        });
    }

    /// Sends a machine's request. One that cannot be sent now fails at once.
    fn request_sync(&mut self, peer: PeerId, id: u64, request: SyncRequest) {
        if let Err(error) = self.net.request(peer, id, &Request::Sync(request)) {
            tracing::debug!(%peer, %error, "a request was not sent");
            self.spawn_work(async move {
                // A limit of our own, not a time-out of the peer.
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

/// Gives a block to the chain thread before it returns, so that blocks arrive there in the order
/// of the calls. The future waits for the result.
fn accept_block(
    chain: ChainHandle,
    peer: PeerId,
    block: Box<Block>,
) -> impl Future<Output = Result<BlockAccepted, Refused>> + Send + 'static {
    let (reply, answer) = oneshot::channel();
    let command = ChainCommand::AcceptBlock { block, origin: Origin::Peer(peer), reply };
    let full = chain.try_send(command).err();
    async move {
        if let Some(command) = full {
            chain.send(*command).await.map_err(AcceptBlockError::Fault)?;
        }
        Ok(answer.await.map_err(|_| AcceptBlockError::Fault(ChainFault::Closed))??)
    }
}

async fn accept_trade(
    chain: &ChainHandle,
    peer: PeerId,
    transaction: Box<Transaction>,
) -> Result<(), Refused> {
    chain.accept_trade(*transaction, Origin::Peer(peer)).await.map(drop).map_err(Into::into)
}
