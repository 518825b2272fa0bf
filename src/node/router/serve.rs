//! Answers to what peers ask of the chain, from snapshots, on threads where the disk may be waited
//! for.

use std::sync::Arc;

use serde_bytes::ByteBuf;

use crate::{
    chain::{ChainReader, api::MempoolEntry},
    primitives::{Encode, Transaction},
    wire::{
        GetBlockTrades, GetBlocks, Item, ItemId, SyncResponse,
        limits::{GET_DATA_BUDGET, MAX_INV_HEADERS, MAX_MEMPOOL_IDS},
    },
};

/// The headers after the newest block of the locator that is on our best chain.
pub(super) fn inv(reader: &ChainReader, request: &GetBlocks) -> (SyncResponse, usize) {
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX).min(MAX_INV_HEADERS);
    let headers = reader.headers_after(&request.locator, limit);
    let bytes: Vec<u8> = headers.iter().flat_map(Encode::to_bytes).collect();
    (SyncResponse::Inv(ByteBuf::from(bytes)), headers.len())
}

/// Ids of the trades that wait, parents first.
pub(super) fn mempool_ids(entries: &[MempoolEntry]) -> SyncResponse {
    SyncResponse::MempoolIds(entries.iter().take(MAX_MEMPOOL_IDS).map(|entry| entry.txid).collect())
}

/// Items in the order asked, until the budget is spent; always at least one. Trades come from the
/// mempool, which only the chain thread knows: `trades` has them in the order asked.
pub(super) fn data(
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

/// Some transactions of a block.
pub(super) fn block_trades(reader: &ChainReader, request: &GetBlockTrades) -> SyncResponse {
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
