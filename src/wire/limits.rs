//! What a message may hold at most. Each limit is documented in `proto/README.md`; relations are
//! checked at compile time.

use crate::{
    consensus::{MAX_INVITE_ADDRESS_BYTES, MAX_INVITE_ADDRESSES},
    primitives::HEADER_BYTES,
};

pub use crate::consensus::{MAX_BLOCK_BYTES, MAX_TRANSACTION_BYTES};

/// Headers in one Inv: 184 kB.
pub const MAX_INV_HEADERS: usize = 2_000;
/// Hashes in a locator: ten steps of one, then doubling, covers four thousand million blocks in 42.
pub const MAX_LOCATOR: usize = 64;
/// Ids in one `GetData`.
pub const MAX_GET_DATA: usize = 128;
/// Trade ids in one answer to `GetMempool`: 340 kB.
pub const MAX_MEMPOOL_IDS: usize = 10_000;
/// An answer to `GetData` stops growing beyond this many bytes of items; it always holds one item.
pub const GET_DATA_BUDGET: usize = 2 * 1024 * 1024;
/// The smallest trade: 10 bytes of frame and one input of 132.
const MIN_TRADE_BYTES: usize = 142;
/// Positions in one `GetBlockTrades`: no block has more trades.
pub const MAX_BLOCK_TRADES: usize = MAX_BLOCK_BYTES / MIN_TRADE_BYTES;

/// Profiles in one answer to Explore.
pub const MAX_PROFILES: usize = 64;
/// Addresses in a profile or an invite.
pub const MAX_ADDRESSES: usize = 8;
/// Length of one address (a multiaddr as text), in bytes.
pub const MAX_ADDRESS_BYTES: usize = 256;
/// Length of a name, in bytes: 32 characters of up to 4.
pub const MAX_NAME_BYTES: usize = 128;
/// Length of a chat line, in bytes.
pub const MAX_LINE_BYTES: usize = 4_096;

/// A hello request or response.
pub const MAX_HELLO_BYTES: usize = 1_024;
/// A friends request: one profile.
pub const MAX_FRIENDS_REQUEST_BYTES: usize = 4_096;
/// A friends response: `MAX_PROFILES` profiles.
pub const MAX_FRIENDS_RESPONSE_BYTES: usize = 256 * 1024;
/// A chat request: one line.
pub const MAX_CHAT_REQUEST_BYTES: usize = 8_192;
/// A chat response: a verdict.
pub const MAX_CHAT_RESPONSE_BYTES: usize = 1_024;
/// A sync request.
pub const MAX_SYNC_REQUEST_BYTES: usize = 256 * 1024;
/// A sync response: the budget, one block over it, and what frames them.
pub const MAX_SYNC_RESPONSE_BYTES: usize = GET_DATA_BUDGET + MAX_BLOCK_BYTES + 64 * 1024;
/// A gossip payload; gossipsub's own limit is 16 KiB larger, since it counts the frame too.
pub const MAX_GOSSIP_BYTES: usize = 1024 * 1024;
/// Short ids in a compact block, 6 bytes each: one for each trade that a block can hold.
pub const MAX_SHORT_IDS: usize = MAX_BLOCK_TRADES;

const _: () = {
    assert!(MAX_INV_HEADERS * HEADER_BYTES + 1_024 <= MAX_SYNC_RESPONSE_BYTES);
    assert!(MAX_MEMPOOL_IDS * 34 + 1_024 <= MAX_SYNC_RESPONSE_BYTES);
    assert!(MAX_GET_DATA * 36 + 1_024 <= MAX_SYNC_REQUEST_BYTES);
    assert!(MAX_BLOCK_TRADES * 5 + 1_024 <= MAX_SYNC_REQUEST_BYTES);
    assert!(MAX_LOCATOR * 34 + 1_024 <= MAX_SYNC_REQUEST_BYTES);
    assert!(MAX_SHORT_IDS * 6 + MAX_TRANSACTION_BYTES + 1_024 <= MAX_GOSSIP_BYTES);
    assert!(
        MAX_NAME_BYTES + MAX_ADDRESSES * (MAX_ADDRESS_BYTES + 3) + 256 <= MAX_FRIENDS_REQUEST_BYTES
    );
    assert!(MAX_PROFILES * (MAX_FRIENDS_REQUEST_BYTES - 512) <= MAX_FRIENDS_RESPONSE_BYTES);
    assert!(MAX_LINE_BYTES + 512 <= MAX_CHAT_REQUEST_BYTES);
    assert!(MAX_ADDRESSES == MAX_INVITE_ADDRESSES && MAX_ADDRESS_BYTES == MAX_INVITE_ADDRESS_BYTES);
};
