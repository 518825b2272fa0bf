//! Limits of messages. `proto/README.md` documents each one. Relations between them are asserted at
//! compile time.

use crate::{
    consensus::{MAX_INVITE_ADDRESS_BYTES, MAX_INVITE_ADDRESSES},
    primitives::{HEADER_BYTES, SHORT_ID_BYTES},
};

pub(crate) use crate::consensus::{MAX_BLOCK_BYTES, MAX_TRANSACTION_BYTES};

/// The maximum number of headers in one Inv: 184 kB.
pub(crate) const MAX_INV_HEADERS: usize = 2_000;
/// The maximum number of hashes in a locator. Ten steps of one and then doubling steps reach back
/// over 4 billion blocks with 42 hashes.
pub(crate) const MAX_LOCATOR: usize = 64;
/// The maximum number of ids in one `GetData`, and of items in its answer.
pub(crate) const MAX_GET_DATA: usize = 128;
/// The maximum number of ids in one answer to `GetMempool`: 340 kB.
pub(crate) const MAX_MEMPOOL_IDS: usize = 10_000;
/// The size of items in bytes beyond which an answer to `GetData` gets no further item. An answer
/// always has one item.
pub(crate) const GET_DATA_BUDGET: usize = 2 * 1024 * 1024;
/// The maximum number of blocks in one `GetRange`, and in its answer.
pub(crate) const MAX_RANGE_BLOCKS: usize = 2_000;
/// The maximum size of the blocks in one answer to `GetRange`, in bytes. The largest block fits.
pub(crate) const MAX_RANGE_BYTES: usize = MAX_BLOCK_BYTES;
/// The size of the smallest transaction in bytes: 10 bytes of frame and one input of 132.
const MIN_TRADE_BYTES: usize = 142;
/// The maximum number of positions in one `GetBlockTrades`. No block has more transactions.
pub(crate) const MAX_BLOCK_TRADES: usize = MAX_BLOCK_BYTES / MIN_TRADE_BYTES;

/// The maximum number of profiles in one answer to Explore.
pub(crate) const MAX_PROFILES: usize = 64;
/// The maximum number of addresses in a profile or an invite.
pub(crate) const MAX_ADDRESSES: usize = 8;
/// The maximum length of one address, a multiaddr as text, in bytes.
pub(crate) const MAX_ADDRESS_BYTES: usize = 256;
/// The maximum length of a name in bytes: 32 characters of up to 4 bytes.
pub(crate) const MAX_NAME_BYTES: usize = 128;
/// The maximum length of a chat line in bytes.
pub(crate) const MAX_LINE_BYTES: usize = 4_096;

/// The size of the id of a line in bytes.
pub(crate) const LINE_ID_BYTES: usize = 16;
/// The maximum number of ids in one answer to `GetLineIds`: 16 KiB.
pub(crate) const MAX_LINE_IDS: usize = 1_024;
/// The maximum number of ids in one `GetLines`, and of lines in its answer.
pub(crate) const MAX_GET_LINES: usize = 32;

/// The size of a sealed line beside its content, in bytes: version, ephemeral key and tag.
pub(crate) const SEAL_BYTES: usize = 49;
/// The maximum size of a sealed line, in bytes: the largest content, and its seal.
pub(crate) const MAX_SEALED_BYTES: usize = 4_657;

/// The maximum size of a request or response on `hello`, in bytes.
pub(crate) const MAX_HELLO_BYTES: usize = 1_024;
/// The maximum size of a request on `friends`, in bytes: one profile.
pub(crate) const MAX_FRIENDS_REQUEST_BYTES: usize = 4_096;
/// The maximum size of a response on `friends`, in bytes: `MAX_PROFILES` profiles.
pub(crate) const MAX_FRIENDS_RESPONSE_BYTES: usize = 256 * 1024;
/// The maximum size of a request on `chat`, in bytes: one line, sealed or not.
pub(crate) const MAX_CHAT_REQUEST_BYTES: usize = 8_192;
/// The maximum size of a response on `chat`, in bytes: `MAX_GET_LINES` lines.
pub(crate) const MAX_CHAT_RESPONSE_BYTES: usize = 160 * 1024;
/// The maximum size of a request on `sync`, in bytes: ids and positions.
pub(crate) const MAX_SYNC_REQUEST_BYTES: usize = 256 * 1024;
/// The maximum size of a response on `sync`, in bytes: the budget, one block over it, and a frame.
pub(crate) const MAX_SYNC_RESPONSE_BYTES: usize = GET_DATA_BUDGET + MAX_BLOCK_BYTES + 64 * 1024;
/// The maximum size of a gossip payload, in bytes. The limit of gossipsub is 16 KiB larger, since
/// it counts the frame too.
pub(crate) const MAX_GOSSIP_BYTES: usize = 1024 * 1024;
/// The maximum number of transactions in one announcement of trades.
pub(crate) const MAX_GOSSIP_TRADES: usize = 256;
/// The maximum size of a payload on the topic `trades`, in bytes: the largest transaction, or as
/// many bytes of small ones, each with its head, and a frame.
pub(crate) const MAX_TRADES_BYTES: usize = MAX_TRANSACTION_BYTES + MAX_GOSSIP_TRADES * 5 + 64;
/// The maximum number of short ids in a compact block, one for each transaction of a block.
pub(crate) const MAX_SHORT_IDS: usize = MAX_BLOCK_TRADES;
/// The maximum size of a probe on the topic `alive`, in bytes. Probes have 48; the rest is room for
/// other versions.
pub(crate) const MAX_PROBE_BYTES: usize = 128;

const _: () = {
    assert!(MAX_INV_HEADERS * HEADER_BYTES + 1_024 <= MAX_SYNC_RESPONSE_BYTES);
    assert!(MAX_RANGE_BYTES + 64 <= MAX_SYNC_RESPONSE_BYTES);
    assert!(MAX_MEMPOOL_IDS * 34 + 1_024 <= MAX_SYNC_RESPONSE_BYTES);
    assert!(MAX_GET_DATA * 36 + 1_024 <= MAX_SYNC_REQUEST_BYTES);
    assert!(MAX_BLOCK_TRADES * 5 + 1_024 <= MAX_SYNC_REQUEST_BYTES);
    assert!(MAX_LOCATOR * 34 + 1_024 <= MAX_SYNC_REQUEST_BYTES);
    assert!(MAX_SHORT_IDS * SHORT_ID_BYTES + MAX_TRANSACTION_BYTES + 1_024 <= MAX_GOSSIP_BYTES);
    assert!(
        MAX_NAME_BYTES + MAX_ADDRESSES * (MAX_ADDRESS_BYTES + 3) + 256 <= MAX_FRIENDS_REQUEST_BYTES
    );
    assert!(MAX_PROFILES * (MAX_FRIENDS_REQUEST_BYTES - 512) <= MAX_FRIENDS_RESPONSE_BYTES);
    assert!(MAX_LINE_BYTES + 512 <= MAX_CHAT_REQUEST_BYTES);
    assert!(MAX_SEALED_BYTES + 512 <= MAX_CHAT_REQUEST_BYTES);
    assert!(MAX_GET_LINES * LINE_ID_BYTES + 512 <= MAX_CHAT_REQUEST_BYTES);
    assert!(MAX_LINE_IDS * LINE_ID_BYTES + 512 <= MAX_CHAT_RESPONSE_BYTES);
    assert!(MAX_GET_LINES * (MAX_LINE_BYTES + 512) <= MAX_CHAT_RESPONSE_BYTES);
    assert!(MAX_ADDRESSES == MAX_INVITE_ADDRESSES && MAX_ADDRESS_BYTES == MAX_INVITE_ADDRESS_BYTES);
};
