//! Carrying out what the machines of sync and relay ask for, and bringing the answers back to them.

use std::{sync::Arc, time::Duration};

use super::{Done, Router, hello::log_unsent};
use crate::{
    chain::{
        ChainHandle,
        api::{BlockAccepted, ChainCommand, Origin, Refused},
        errors::{AcceptBlockError, ChainFault},
    },
    miner::MiningMode,
    net::{self, GossipId},
    node::keyring::blocking,
    primitives::{Block, PeerId, Transaction},
    relay::{Announcement, RelayAction, RelayEvent},
    sync::{self, Phase, SyncAction, SyncEvent},
    wire::{Gossip, Request, RequestFailure, SyncRequest, Verdict},
};
use tokio::sync::oneshot;

impl Router {
    pub(super) fn sync_action(&mut self, action: SyncAction) {
        let chain = self.ledger.chain.clone();
        match action {
            SyncAction::Request { peer, id, request } => self.ask_sync(peer, id, request),
            SyncAction::SendStatus { peer } => self.say_hello(peer),
            SyncAction::FetchLocator { peer } => {
                let reader = self.ledger.reader.clone();
                self.spawn_work(async move {
                    let hashes = blocking(move || reader.locator()).await.unwrap_or_default();
                    Some(Done::Sync(SyncEvent::Locator { peer, hashes }))
                });
            }
            SyncAction::FetchMissing { read, limit } => {
                let reader = self.ledger.reader.clone();
                self.spawn_work(async move {
                    let blocks =
                        blocking(move || reader.missing_bodies(limit)).await.unwrap_or_default();
                    Some(Done::Sync(SyncEvent::Missing { read, blocks }))
                });
            }
            SyncAction::FilterTrades { peer, ids } => self.spawn_work(async move {
                let ids = chain.unknown_trades(ids).await.unwrap_or_default();
                Some(Done::Sync(SyncEvent::UnknownTrades { peer, ids }))
            }),
            SyncAction::AcceptHeaders { peer, headers } => self.spawn_work(async move {
                let result = chain.accept_headers(headers, Origin::Peer(peer)).await;
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
        let chain = self.ledger.chain.clone();
        match action {
            RelayAction::Publish { announcement } => {
                let gossip = match announcement {
                    Announcement::Block(gossip) => Gossip::Block(gossip),
                    Announcement::Trade(gossip) => Gossip::Trade(gossip),
                };
                self.publish(&gossip);
            }
            RelayAction::Verdict { message, verdict } => {
                log_unsent(self.net.verdict(message, net_verdict(verdict)))
            }
            RelayAction::CheckSolved { header } => {
                let hash = header.hash();
                self.spawn_work(async move {
                    let result = chain.check_header(*header).await.map_err(Into::into);
                    Some(Done::Relay(RelayEvent::SolvedChecked { hash, result }))
                });
            }
            RelayAction::PauseMining { parent, ms } => {
                self.ledger.miner.pause(parent, Duration::from_millis(ms));
            }
            RelayAction::AcceptHeader { peer, header } => {
                let hash = header.hash();
                self.spawn_work(async move {
                    let result = chain.accept_headers(vec![*header], Origin::Peer(peer)).await;
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
                })
            }
            RelayAction::Request { peer, id, request } => self.ask_sync(peer, id, request),
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
                let reader = self.ledger.reader.clone();
                self.spawn_work(async move {
                    let block = blocking(move || reader.stored_block(&hash)).await.ok().flatten();
                    Some(Done::Relay(RelayEvent::BlockLoaded { hash, block: block.map(Arc::new) }))
                });
            }
            RelayAction::AskStatus { peer } => self.say_hello(peer),
            RelayAction::Penalise { peer, offence, reason } => {
                self.penalise(peer, offence, &reason)
            }
        }
    }

    /// While a better chain is on its way, mining on ours would be for nothing. By the phase now,
    /// whichever change it was that asked for it.
    pub(super) fn apply_mining_mode(&self) {
        let mode = match self.sync.progress().phase {
            Phase::Starting | Phase::Syncing => MiningMode::Off,
            Phase::Synced | Phase::Stalled | Phase::Alone | Phase::Diverged => self.mining,
        };
        let miner = self.ledger.miner.clone();
        self.spawn_work(async move {
            if let Err(error) = miner.set_mode(mode).await {
                tracing::debug!(%error, "the miner's mode was not changed");
            }
            None
        });
    }

    /// Asks for one of the machines; what cannot be sent now has failed.
    fn ask_sync(&mut self, peer: PeerId, id: u64, request: SyncRequest) {
        if let Err(error) = self.net.request(peer, id, &Request::Sync(request)) {
            tracing::debug!(%peer, %error, "a request was not sent");
            self.spawn_work(async move {
                // Our own limit, and not the peer's silence.
                let result = Err(RequestFailure::Disconnected);
                Some(if sync::owns_request(id) {
                    Done::Sync(SyncEvent::Response { id, result })
                } else {
                    Done::Relay(RelayEvent::Response { id, result })
                })
            });
        }
    }

    /// Publishes; what cannot leave now is not lost for good: trades are announced again, blocks
    /// are found by sync.
    fn publish(&self, gossip: &Gossip) {
        if let Err(error) = self.net.publish(gossip) {
            tracing::debug!(%error, "gossip was not published");
        }
    }
}

/// Hands a block to the chain at once, so that blocks get there in the order in which they were
/// handed over; the future waits for what comes of it.
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

const fn net_verdict(verdict: Verdict) -> net::Verdict {
    match verdict {
        Verdict::Accept => net::Verdict::Accept,
        Verdict::Ignore => net::Verdict::Ignore,
        Verdict::Reject => net::Verdict::Reject,
    }
}
