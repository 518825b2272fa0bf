//! Responds to peers' requests. Those on `sync` read snapshots of the chain, on blocking threads.

use std::{sync::Arc, time::Duration};

use serde_bytes::ByteBuf;
use tokio::{task::spawn_blocking, time::Instant};

use super::{Router, network::log_unsent};
use crate::{
    chain::{ChainHandle, ChainReader, api::MempoolEntry},
    net::ReplyId,
    peers::Offence,
    primitives::{Encode, PeerId, Transaction},
    telemetry::events,
    wire::{
        FriendsRequest, FriendsResponse, GetBlockTrades, GetBlocks, HelloRequest, HelloResponse,
        Item, ItemId, Refusal, Request, Response, SyncRequest, SyncResponse,
        limits::{GET_DATA_BUDGET, MAX_INV_HEADERS, MAX_MEMPOOL_IDS},
    },
};

/// Requests on `hello` that a peer may make in a minute. An honest peer makes about a third of
/// them: one a second with its news, and one every two seconds with a question.
const MAX_HELLOS: u32 = 240;

/// Requests on `friends` that a peer may make in a minute. An honest peer makes two after its
/// hello, and one for each new profile.
const MAX_FRIENDS_REQUESTS: u32 = 30;

impl Router {
    pub(super) fn on_request(&mut self, peer: PeerId, reply: ReplyId, request: Request) {
        if self.is_flooding(&peer, &request) {
            self.respond(
                reply,
                &match request {
                    Request::Friends(_) => {
                        Response::Friends(FriendsResponse::Refused(Refusal::RateLimited))
                    }
                    _ => Response::Hello(HelloResponse::Busy),
                },
            );
            return self.penalise(
                peer,
                Offence::Flooding,
                "it says hello, introduces itself or explores too often",
            );
        }
        match request {
            Request::Hello(HelloRequest::Status(status)) => {
                let ours = if status.network == self.network.id {
                    HelloResponse::Status(self.our_status())
                } else {
                    HelloResponse::WrongNetwork(self.network.id)
                };
                self.respond(reply, &Response::Hello(ours));
                self.on_status(peer, status);
            }
            Request::Friends(FriendsRequest::Explore) => self.explore(peer, reply),
            Request::Friends(FriendsRequest::Introduce(profile)) => {
                self.on_introduction(peer, reply, profile);
            }
            Request::Chat(request) => self.chat_request(peer, reply, request),
            Request::Sync(request) => self.serve(peer, reply, request),
        }
    }

    /// Counts a request, and returns true if the peer has made too many in this minute.
    ///
    /// # Security
    /// Each of these requests costs the router a turn, and may cost a write to the disk.
    fn is_flooding(&mut self, peer: &PeerId, request: &Request) -> bool {
        let Some(state) = self.connected.get_mut(peer) else { return true };
        if state.minute.elapsed() >= Duration::from_mins(1) {
            (state.minute, state.hellos, state.friends_requests) = (Instant::now(), 0, 0);
        }
        let (count, most) = match request {
            Request::Hello(_) => (&mut state.hellos, MAX_HELLOS),
            Request::Friends(_) => (&mut state.friends_requests, MAX_FRIENDS_REQUESTS),
            Request::Chat(_) | Request::Sync(_) => return false,
        };
        *count = count.saturating_add(1);
        *count > most
    }

    /// Responds to a request on `sync`, or with Busy if the chain or the disk has no time for it.
    fn serve(&self, peer: PeerId, reply: ReplyId, request: SyncRequest) {
        let chain = self.chain.clone();
        let net = self.net.clone();
        let admitted = Arc::clone(&self.admitted).try_acquire_owned();
        let (false, Ok(admitted)) = (chain.busy(), admitted) else {
            return self.respond(reply, &Response::Sync(SyncResponse::Busy));
        };
        let (reader, serving) = (self.reader.clone(), self.serving.clone());
        self.spawn_work(async move {
            let _admitted = admitted;
            let busy = SyncResponse::Busy;
            // Acquired after the chain has replied, so that only disk reads hold a permit.
            let disk = async || serving.acquire().await.ok();
            let response = match request {
                SyncRequest::GetBlocks(request) => {
                    let _permit = disk().await?;
                    let (response, count) =
                        spawn_blocking(move || inv(&reader, &request)).await.unwrap_or((busy, 0));
                    if count > 0 {
                        events::HeadersServed { peer, message: "getblocks", count }.emit();
                    }
                    response
                }
                SyncRequest::GetMempool => match chain.mempool().await {
                    Ok(entries) => mempool_ids(&entries),
                    Err(_) => busy,
                },
                SyncRequest::GetData(items) => {
                    let trades = waiting_trades(&chain, &items).await;
                    let _permit = disk().await?;
                    let read = spawn_blocking(move || data(&reader, &items, &trades)).await;
                    let (response, count) = read.unwrap_or((busy, 0));
                    if count > 0 {
                        events::BlocksServed { peer, message: "getdata", count }.emit();
                    }
                    response
                }
                SyncRequest::GetBlockTrades(request) => {
                    let _permit = disk().await?;
                    spawn_blocking(move || block_trades(&reader, &request)).await.unwrap_or(busy)
                }
            };
            log_unsent(net.respond(reply, &Response::Sync(response)));
            None
        });
    }
}

/// Returns the mempool's transaction for each trade in `items`, in their order.
async fn waiting_trades(chain: &ChainHandle, items: &[ItemId]) -> Vec<Option<Arc<Transaction>>> {
    let id_of = |item: &ItemId| match item {
        ItemId::Trade(txid) => Some(*txid),
        ItemId::Block(_) => None,
    };
    let ids: Vec<_> = items.iter().filter_map(id_of).collect();
    if ids.is_empty() { Vec::new() } else { chain.waiting_trades(ids).await.unwrap_or_default() }
}

/// Returns the headers after the newest block of the locator that is on our best chain.
fn inv(reader: &ChainReader, request: &GetBlocks) -> (SyncResponse, usize) {
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX).min(MAX_INV_HEADERS);
    let headers = reader.headers_after(&request.locator, limit);
    let bytes: Vec<u8> = headers.iter().flat_map(Encode::to_bytes).collect();
    (SyncResponse::Inv(ByteBuf::from(bytes)), headers.len())
}

/// Returns the ids of the mempool's trades, parents first.
fn mempool_ids(entries: &[MempoolEntry]) -> SyncResponse {
    SyncResponse::MempoolIds(entries.iter().take(MAX_MEMPOOL_IDS).map(|entry| entry.txid).collect())
}

/// Returns items in the order of the request until the byte budget is spent, but at least one, and
/// the number of blocks among them. `trades` are the mempool's transactions for the trades in
/// `items`, in the same order.
fn data(
    reader: &ChainReader,
    items: &[ItemId],
    trades: &[Option<Arc<Transaction>>],
) -> (SyncResponse, usize) {
    let mut mempool = trades.iter();
    let (mut found, mut bytes, mut blocks) = (Vec::new(), 0_usize, 0_usize);
    for item in items {
        if !found.is_empty() && bytes >= GET_DATA_BUDGET {
            break;
        }
        let answer = match item {
            ItemId::Block(hash) => {
                reader.block_bytes(hash).map(|bytes| Item::Block(ByteBuf::from(bytes)))
            }
            ItemId::Trade(_) => {
                let waiting = mempool.next().and_then(Option::as_ref);
                waiting.map(|transaction| Item::Trade(ByteBuf::from(transaction.to_bytes())))
            }
        };
        if let Some(Item::Block(block)) = &answer {
            bytes = bytes.saturating_add(block.len());
            blocks = blocks.saturating_add(1);
        } else if let Some(Item::Trade(trade)) = &answer {
            bytes = bytes.saturating_add(trade.len());
        }
        found.push(answer.unwrap_or(Item::NotFound));
    }
    (SyncResponse::Data(found), blocks)
}

/// Returns the requested transactions of a block.
fn block_trades(reader: &ChainReader, request: &GetBlockTrades) -> SyncResponse {
    let Some(block) = reader.stored_block(&request.block) else {
        return match reader.header(&request.block) {
            Some(_) => SyncResponse::NotYet,
            None => SyncResponse::NotFound,
        };
    };
    let wanted = request.positions.iter().map(|position| {
        let position = usize::try_from(*position).unwrap_or(usize::MAX);
        block.transactions.get(position).map(|transaction| ByteBuf::from(transaction.to_bytes()))
    });
    wanted.collect::<Option<Vec<_>>>().map_or(SyncResponse::NotFound, SyncResponse::BlockTrades)
}
