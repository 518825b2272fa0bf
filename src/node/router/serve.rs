//! Responds to peers' requests. Those on `sync` read snapshots of the chain, on blocking threads.
//!
//! The network has counted each request against its peer's budget. Before the peer's hello, only
//! hello is served.

use std::{sync::Arc, time::Duration};

use serde_bytes::ByteBuf;
use tokio::{sync::Semaphore, task::spawn_blocking, time::Instant};

use super::{Done, Router, network::log_unsent, turns::Turn};
use crate::{
    chain::{ChainHandle, ChainReader},
    net::ReplyId,
    primitives::{Encode, PeerId, Transaction},
    telemetry::events,
    wire::{
        ChatResponse, FriendsRequest, FriendsResponse, GetBlockTrades, GetBlocks, GetRange,
        HelloRequest, HelloResponse, Item, ItemId, Request, Response, SyncRequest, SyncResponse,
        limits::{GET_DATA_BUDGET, MAX_INV_HEADERS, MAX_MEMPOOL_IDS},
    },
};

/// Requests of a peer that wait for its hello. They may arrive before it on streams of their own.
/// Further ones get Busy.
pub(super) const MAX_BEFORE_HELLO: usize = 8;
/// Time for which these requests wait, in ms. Then they get Busy.
const BEFORE_HELLO_MS: u64 = 5_000;
/// Time for which a request on `sync` waits for its turn, in ms. After that, its sender has timed
/// out.
const TURN_MS: u64 = 20_000;

/// A request of a peer, and the time of its arrival.
#[derive(Debug)]
pub(super) struct Arrived<T> {
    reply: ReplyId,
    request: T,
    at: Instant,
}

impl<T> Arrived<T> {
    fn waits_for(&self, limit_ms: u64) -> bool {
        self.at.elapsed() < Duration::from_millis(limit_ms)
    }
}

impl Router {
    pub(super) fn on_request(&mut self, peer: PeerId, reply: ReplyId, request: Request) {
        let Some(state) = self.connected.get_mut(&peer) else {
            return self.respond(reply, &busy(&request));
        };
        if state.status.is_none() && !matches!(request, Request::Hello(_)) {
            if state.foreign || state.before_hello.len() >= MAX_BEFORE_HELLO {
                return self.respond(reply, &busy(&request));
            }
            return state.before_hello.push(Arrived { reply, request, at: Instant::now() });
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
            Request::Sync(request) => self.queue(peer, reply, request),
        }
    }

    /// Handles the requests of a peer that arrived before its hello.
    pub(super) fn serve_after_hello(&mut self, peer: PeerId) {
        let Some(state) = self.connected.get_mut(&peer) else { return };
        for Arrived { reply, request, .. } in std::mem::take(&mut state.before_hello) {
            self.on_request(peer, reply, request);
        }
    }

    /// Answers Busy to requests that have waited for too long.
    pub(super) fn expire_requests(&mut self) {
        let mut late = Vec::new();
        for state in self.connected.values_mut() {
            let waits = |arrived: &mut Arrived<Request>| !arrived.waits_for(BEFORE_HELLO_MS);
            late.extend(state.before_hello.extract_if(.., waits));
        }
        for Arrived { reply, request, .. } in late {
            self.respond(reply, &busy(&request));
        }
        for Arrived { reply, .. } in self.turns.expire(|arrived| !arrived.waits_for(TURN_MS)) {
            self.respond(reply, &Response::Sync(SyncResponse::Busy));
        }
    }

    /// Queues a request on `sync` for its peer's turn.
    fn queue(&mut self, peer: PeerId, reply: ReplyId, request: SyncRequest) {
        let arrived = Arrived { reply, request, at: Instant::now() };
        let is_friend = self.trust.is_friend(&peer);
        if let Some(crowded_out) = self.turns.push(peer, is_friend, arrived) {
            self.respond(crowded_out.reply, &Response::Sync(SyncResponse::Busy));
        }
        self.serve_next();
    }

    /// Records that a request on `sync` was served, and serves those whose turn has come.
    pub(super) fn served(&mut self, peer: PeerId, of_friend: bool) {
        self.turns.done(&peer, of_friend);
        self.serve_next();
    }

    fn serve_next(&mut self) {
        while let Some(turn) = self.turns.next() {
            self.serve(turn);
        }
    }

    /// Responds to a request on `sync`, or with Busy if the chain is busy.
    fn serve(&mut self, turn: Turn<Arrived<SyncRequest>>) {
        let Turn { peer, of_friend, request: Arrived { reply, request, .. } } = turn;
        let (chain, net) = (self.chain.clone(), self.net.clone());
        if chain.busy() {
            self.turns.done(&peer, of_friend);
            return self.respond(reply, &Response::Sync(SyncResponse::Busy));
        }
        let reader = self.reader.clone();
        let serving = Arc::clone(if of_friend { &self.serving_friends } else { &self.serving });
        self.spawn_work(async move {
            if let Some(response) = sync_response(peer, request, &chain, reader, &serving).await {
                log_unsent(net.respond(reply, &Response::Sync(response)));
            }
            Some(Done::Served { peer, of_friend })
        });
    }
}

/// Returns the response to a request on `sync`. `serving` has the permits for reads of the disk.
async fn sync_response(
    peer: PeerId,
    request: SyncRequest,
    chain: &ChainHandle,
    reader: ChainReader,
    serving: &Semaphore,
) -> Option<SyncResponse> {
    let busy = SyncResponse::Busy;
    // Acquired after the chain has replied, so that only disk reads hold a permit.
    let disk = async || serving.acquire().await.ok();
    Some(match request {
        SyncRequest::GetBlocks(request) => {
            let _permit = disk().await?;
            let (response, count) =
                spawn_blocking(move || inv(&reader, &request)).await.unwrap_or((busy, 0));
            if count > 0 {
                events::HeadersServed { peer, message: "getblocks", count }.emit();
            }
            response
        }
        SyncRequest::GetMempool => {
            chain.mempool_ids(MAX_MEMPOOL_IDS).await.map_or(busy, SyncResponse::MempoolIds)
        }
        SyncRequest::GetData(items) => {
            let trades = waiting_trades(chain, &items).await;
            let _permit = disk().await?;
            let read = spawn_blocking(move || data(&reader, &items, &trades)).await;
            let (response, count) = read.unwrap_or((busy, 0));
            if count > 0 {
                events::BlocksServed { peer, message: "getdata", count }.emit();
            }
            response
        }
        SyncRequest::GetRange(request) => {
            let _permit = disk().await?;
            let read = spawn_blocking(move || range(&reader, &request)).await;
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
    })
}

/// Returns Busy on the protocol of a request.
const fn busy(request: &Request) -> Response {
    match request {
        Request::Hello(_) => Response::Hello(HelloResponse::Busy),
        Request::Friends(_) => Response::Friends(FriendsResponse::Busy),
        Request::Chat(_) => Response::Chat(ChatResponse::Busy),
        Request::Sync(_) => Response::Sync(SyncResponse::Busy),
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
pub(crate) fn inv(reader: &ChainReader, request: &GetBlocks) -> (SyncResponse, usize) {
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX).min(MAX_INV_HEADERS);
    let headers = reader.headers_after(&request.locator, request.skip, limit);
    let bytes: Vec<u8> = headers.iter().flat_map(Encode::to_bytes).collect();
    (SyncResponse::Inv(ByteBuf::from(bytes)), headers.len())
}

/// Returns a block and those above it, and their number.
pub(crate) fn range(reader: &ChainReader, request: &GetRange) -> (SyncResponse, usize) {
    let most = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
    let (count, bytes) = (most(request.count), most(request.bytes));
    match reader.blocks_from(&request.first, count, bytes) {
        (bytes, blocks) if blocks > 0 => (SyncResponse::Blocks(ByteBuf::from(bytes)), blocks),
        _ if reader.header(&request.first).is_some() => (SyncResponse::NotYet, 0),
        _ => (SyncResponse::NotFound, 0),
    }
}

/// Returns items in the order of the request until the byte budget is spent, but at least one, and
/// the number of blocks among them. `trades` are the mempool's transactions for the trades in
/// `items`, in the same order.
pub(crate) fn data(
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
pub(crate) fn block_trades(reader: &ChainReader, request: &GetBlockTrades) -> SyncResponse {
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
