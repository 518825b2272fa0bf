//! Encoding and decoding of compact blocks, and assembly of whole blocks.

use std::sync::Arc;

use serde_bytes::ByteBuf;

use crate::{
    primitives::{
        Block, Encode, HEADER_BYTES, Header, SHORT_ID_BYTES, Transaction, TransactionKind,
        encoding, leaf_hash, short_id,
    },
    wire::{
        CompactBlock,
        limits::{MAX_GOSSIP_BYTES, MAX_SHORT_IDS},
    },
};

/// The maximum framing of a compact block on the wire, in bytes: heads of arrays and byte strings.
const COMPACT_OVERHEAD: usize = 64;

/// A decoded compact block.
pub(super) struct Compact {
    pub(super) header: Header,
    pub(super) coinbase: Transaction,
    pub(super) short_ids: Vec<[u8; SHORT_ID_BYTES]>,
}

pub(super) fn read_header(bytes: &[u8]) -> Result<Header, String> {
    encoding::from_bytes(bytes)
        .map_err(|error| format!("an announced header cannot be read: {error}"))
}

pub(super) fn read_compact(compact: &CompactBlock) -> Result<Compact, String> {
    let header = read_header(&compact.header)?;
    let coinbase: Transaction = encoding::from_bytes(&compact.coinbase)
        .map_err(|error| format!("an announced coinbase cannot be read: {error}"))?;
    if coinbase.kind() != TransactionKind::Coinbase {
        return Err("what is announced as a coinbase has inputs".into());
    }
    let (short_ids, rest) = compact.short_ids.as_chunks::<SHORT_ID_BYTES>();
    if !rest.is_empty() || short_ids.len() > MAX_SHORT_IDS {
        return Err(format!("{} bytes of short ids", compact.short_ids.len()));
    }
    Ok(Compact { header, coinbase, short_ids: short_ids.to_vec() })
}

/// Encodes a block as a compact block. Returns `None` if it does not fit into a gossip message.
pub(super) fn compact(block: &Block) -> Option<CompactBlock> {
    let (coinbase, rest) = block.transactions.split_first()?;
    let hash = block.hash();
    let coinbase = coinbase.to_bytes();
    let bytes = rest.len().checked_mul(SHORT_ID_BYTES)?;
    let total = bytes
        .checked_add(coinbase.len())?
        .checked_add(HEADER_BYTES)?
        .checked_add(COMPACT_OVERHEAD)?;
    if rest.len() > MAX_SHORT_IDS || total > MAX_GOSSIP_BYTES {
        return None;
    }
    let short_ids: Vec<u8> =
        rest.iter().flat_map(|transaction| short_id(&hash, &leaf_hash(transaction))).collect();
    Some(CompactBlock {
        header: ByteBuf::from(block.header.to_bytes()),
        coinbase: ByteBuf::from(coinbase),
        short_ids: ByteBuf::from(short_ids),
    })
}

/// Assembles a block. Returns `None` if a transaction is missing, or if the merkle root differs
/// from the header's.
pub(super) fn assemble(header: Header, found: Vec<Option<Arc<Transaction>>>) -> Option<Box<Block>> {
    let transactions: Option<Vec<Transaction>> =
        found.into_iter().map(|transaction| transaction.map(Arc::unwrap_or_clone)).collect();
    let block = Block { header, transactions: transactions? };
    (block.computed_merkle_root() == header.merkle_root).then(|| Box::new(block))
}
