//! Limits of counts and lengths, message by message. [`codec`](super::codec) checks them in all
//! messages that it decodes or encodes.

use super::{
    codec_error::CodecError,
    limits::{
        LINE_ID_BYTES, MAX_ADDRESS_BYTES, MAX_ADDRESSES, MAX_BLOCK_BYTES, MAX_BLOCK_TRADES,
        MAX_GET_DATA, MAX_GET_LINES, MAX_GOSSIP_TRADES, MAX_INV_HEADERS, MAX_LINE_BYTES,
        MAX_LINE_IDS, MAX_LOCATOR, MAX_MEMPOOL_IDS, MAX_NAME_BYTES, MAX_PROFILES, MAX_RANGE_BLOCKS,
        MAX_RANGE_BYTES, MAX_SEALED_BYTES, MAX_SHORT_IDS, MAX_TRANSACTION_BYTES,
    },
    messages::{
        BlockGossip, ChatGossip, ChatRequest, ChatResponse, CompactBlock, FriendsRequest,
        FriendsResponse, GetRange, HelloRequest, HelloResponse, Item, LineIds, SealedLine,
        SignedLine, SignedProfile, SignedQuit, Status, SyncRequest, SyncResponse,
        TradeAnnouncement, TradeGossip,
    },
};
use crate::primitives::{HEADER_BYTES, SHORT_ID_BYTES};

/// The size of the cumulative work in a Status, in bytes.
const WORK_BYTES: usize = 32;

/// A message type with limits on its counts and lengths, beyond the limit on its bytes.
pub(crate) trait Bounded {
    /// The maximum number of CBOR items in a message: numbers, strings, arrays, and their content.
    /// It is checked before anything is allocated, since an item of one byte can take dozens in
    /// memory.
    const MAX_ITEMS: usize;

    /// Checks every count and length against its limit.
    fn check_bounds(&self) -> Result<(), CodecError>;
}

pub(super) const fn at_most(
    what: &'static str,
    count: usize,
    limit: usize,
) -> Result<(), CodecError> {
    if count > limit { Err(CodecError::OverLimit { what, count, limit }) } else { Ok(()) }
}

const fn exactly(what: &'static str, length: usize, unit: usize) -> Result<(), CodecError> {
    if length == unit { Ok(()) } else { Err(CodecError::WrongLength { what, length, unit }) }
}

const fn parts_of(what: &'static str, length: usize, unit: usize) -> Result<(), CodecError> {
    if length.is_multiple_of(unit) {
        Ok(())
    } else {
        Err(CodecError::WrongLength { what, length, unit })
    }
}

/// The maximum number of items of a message whose arrays have a fixed, small number of fields.
const FLAT_ITEMS: usize = 32;
/// The maximum number of items of one profile: its array, its fields, its addresses.
const PROFILE_ITEMS: usize = 8 + MAX_ADDRESSES;
/// The number of items of one line: its array and its fields.
const LINE_ITEMS: usize = 7;

impl Bounded for Status {
    const MAX_ITEMS: usize = FLAT_ITEMS;

    fn check_bounds(&self) -> Result<(), CodecError> {
        exactly("work", self.work.len(), WORK_BYTES)
    }
}

impl Bounded for SignedProfile {
    const MAX_ITEMS: usize = PROFILE_ITEMS;

    fn check_bounds(&self) -> Result<(), CodecError> {
        at_most("bytes of a name", self.name.len(), MAX_NAME_BYTES)?;
        at_most("addresses of a profile", self.addresses.len(), MAX_ADDRESSES)?;
        self.addresses.iter().try_for_each(|address| {
            at_most("bytes of an address", address.len(), MAX_ADDRESS_BYTES)
        })
    }
}

impl Bounded for SignedLine {
    const MAX_ITEMS: usize = FLAT_ITEMS;

    fn check_bounds(&self) -> Result<(), CodecError> {
        at_most("bytes of a line", self.text.len(), MAX_LINE_BYTES)
    }
}

impl Bounded for SealedLine {
    const MAX_ITEMS: usize = FLAT_ITEMS;

    fn check_bounds(&self) -> Result<(), CodecError> {
        let length = self.sealed.len();
        at_most("bytes of a sealed line", length, MAX_SEALED_BYTES)?;
        if Self::may_have(length) {
            return Ok(());
        }
        Err(CodecError::WrongLength { what: "a sealed line", length, unit: MAX_SEALED_BYTES })
    }
}

impl Bounded for SignedQuit {
    const MAX_ITEMS: usize = FLAT_ITEMS;

    fn check_bounds(&self) -> Result<(), CodecError> {
        Ok(())
    }
}

impl Bounded for HelloRequest {
    const MAX_ITEMS: usize = FLAT_ITEMS;

    fn check_bounds(&self) -> Result<(), CodecError> {
        let Self::Status(status) = self;
        status.check_bounds()
    }
}

impl Bounded for HelloResponse {
    const MAX_ITEMS: usize = FLAT_ITEMS;

    fn check_bounds(&self) -> Result<(), CodecError> {
        match self {
            Self::Status(status) => status.check_bounds(),
            Self::WrongNetwork(_) | Self::Busy => Ok(()),
        }
    }
}

impl Bounded for FriendsRequest {
    const MAX_ITEMS: usize = 2 + PROFILE_ITEMS;

    fn check_bounds(&self) -> Result<(), CodecError> {
        match self {
            Self::Explore => Ok(()),
            Self::Introduce(profile) => profile.check_bounds(),
        }
    }
}

impl Bounded for FriendsResponse {
    const MAX_ITEMS: usize = 3 + MAX_PROFILES * PROFILE_ITEMS;

    fn check_bounds(&self) -> Result<(), CodecError> {
        match self {
            Self::Profiles(profiles) => {
                at_most("profiles", profiles.len(), MAX_PROFILES)?;
                profiles.iter().try_for_each(Bounded::check_bounds)
            }
            Self::Welcome | Self::Refused(_) | Self::Busy => Ok(()),
        }
    }
}

impl Bounded for ChatRequest {
    const MAX_ITEMS: usize = FLAT_ITEMS;

    fn check_bounds(&self) -> Result<(), CodecError> {
        match self {
            Self::Direct(line) => line.check_bounds(),
            Self::GetLineIds(_) => Ok(()),
            Self::GetLines(ids) if ids.is_empty() => {
                Err(CodecError::Empty { what: "ids in GetLines" })
            }
            Self::GetLines(ids) => check_line_ids(ids, MAX_GET_LINES),
            Self::Sealed(line) => line.check_bounds(),
        }
    }
}

impl Bounded for ChatResponse {
    const MAX_ITEMS: usize = 3 + MAX_GET_LINES * LINE_ITEMS;

    fn check_bounds(&self) -> Result<(), CodecError> {
        match self {
            Self::LineIds(LineIds { ids, next: _ }) => check_line_ids(ids, MAX_LINE_IDS),
            Self::Lines(lines) => {
                at_most("lines", lines.len(), MAX_GET_LINES)?;
                lines.iter().try_for_each(Bounded::check_bounds)
            }
            Self::Delivered | Self::Refused(_) | Self::Busy => Ok(()),
        }
    }
}

fn check_line_ids(ids: &[u8], limit: usize) -> Result<(), CodecError> {
    parts_of("ids of lines", ids.len(), LINE_ID_BYTES)?;
    at_most("ids of lines", ids.len() / LINE_ID_BYTES, limit)
}

impl Bounded for SyncRequest {
    const MAX_ITEMS: usize = FLAT_ITEMS + MAX_BLOCK_TRADES;

    fn check_bounds(&self) -> Result<(), CodecError> {
        match self {
            Self::GetBlocks(get) => {
                at_most("hashes in a locator", get.locator.len(), MAX_LOCATOR)?;
                at_most(
                    "headers asked for",
                    usize::try_from(get.limit).unwrap_or(usize::MAX),
                    MAX_INV_HEADERS,
                )
            }
            Self::GetMempool => Ok(()),
            Self::GetRange(GetRange { first: _, count, bytes }) => {
                let (count, bytes) = (usize::try_from(*count), usize::try_from(*bytes));
                let (count, bytes) = (count.unwrap_or(usize::MAX), bytes.unwrap_or(usize::MAX));
                at_most("blocks asked for", count, MAX_RANGE_BLOCKS)?;
                at_most("bytes asked for", bytes, MAX_RANGE_BYTES)
            }
            Self::GetData(ids) if ids.is_empty() => {
                Err(CodecError::Empty { what: "ids in GetData" })
            }
            Self::GetData(ids) => at_most("ids in GetData", ids.len(), MAX_GET_DATA),
            Self::GetBlockTrades(get) => {
                at_most("positions", get.positions.len(), MAX_BLOCK_TRADES)?;
                if get.positions.is_sorted_by(|earlier, later| earlier < later) {
                    Ok(())
                } else {
                    Err(CodecError::NotAscending { what: "positions" })
                }
            }
        }
    }
}

impl Bounded for SyncResponse {
    const MAX_ITEMS: usize = FLAT_ITEMS + MAX_BLOCK_TRADES;

    fn check_bounds(&self) -> Result<(), CodecError> {
        match self {
            Self::Inv(headers) => {
                parts_of("headers", headers.len(), HEADER_BYTES)?;
                at_most("headers", headers.len() / HEADER_BYTES, MAX_INV_HEADERS)
            }
            Self::MempoolIds(ids) => at_most("mempool ids", ids.len(), MAX_MEMPOOL_IDS),
            Self::Data(items) => {
                at_most("items", items.len(), MAX_GET_DATA)?;
                items.iter().try_for_each(|item| match item {
                    Item::Block(bytes) => at_most("bytes of a block", bytes.len(), MAX_BLOCK_BYTES),
                    Item::Trade(bytes) => {
                        at_most("bytes of a trade", bytes.len(), MAX_TRANSACTION_BYTES)
                    }
                    Item::NotFound => Ok(()),
                })
            }
            Self::BlockTrades(trades) => {
                at_most("trades", trades.len(), MAX_BLOCK_TRADES)?;
                trades.iter().try_for_each(|trade| {
                    at_most("bytes of a trade", trade.len(), MAX_TRANSACTION_BYTES)
                })
            }
            Self::Blocks(bytes) => at_most("bytes of blocks", bytes.len(), MAX_RANGE_BYTES),
            Self::NotYet | Self::NotFound | Self::Refused(_) | Self::Busy => Ok(()),
        }
    }
}

impl Bounded for ChatGossip {
    const MAX_ITEMS: usize = FLAT_ITEMS;

    fn check_bounds(&self) -> Result<(), CodecError> {
        match self {
            Self::Line(line) => line.check_bounds(),
            Self::Quit(quit) => quit.check_bounds(),
        }
    }
}

impl Bounded for TradeGossip {
    const MAX_ITEMS: usize = FLAT_ITEMS + MAX_GOSSIP_TRADES;

    fn check_bounds(&self) -> Result<(), CodecError> {
        let Self::Trades(TradeAnnouncement { transactions, round: _ }) = self;
        if transactions.is_empty() {
            return Err(CodecError::Empty { what: "trades in an announcement" });
        }
        at_most("trades in an announcement", transactions.len(), MAX_GOSSIP_TRADES)?;
        transactions.iter().try_for_each(|transaction| {
            at_most("bytes of a trade", transaction.len(), MAX_TRANSACTION_BYTES)
        })
    }
}

impl Bounded for BlockGossip {
    const MAX_ITEMS: usize = FLAT_ITEMS;

    fn check_bounds(&self) -> Result<(), CodecError> {
        match self {
            Self::Solved(header) => exactly("a header", header.len(), HEADER_BYTES),
            Self::Compact(CompactBlock { header, coinbase, short_ids }) => {
                exactly("a header", header.len(), HEADER_BYTES)?;
                at_most("bytes of a coinbase", coinbase.len(), MAX_TRANSACTION_BYTES)?;
                parts_of("short ids", short_ids.len(), SHORT_ID_BYTES)?;
                at_most("short ids", short_ids.len() / SHORT_ID_BYTES, MAX_SHORT_IDS)
            }
        }
    }
}
