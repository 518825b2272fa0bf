//! The codec encodes and decodes messages. No other file uses `serde_cbor`.
//!
//! `net` uses it for every request, response and gossip payload, `friends` for records on disk.
//!
//! # Invariants
//! - [`decode`] accepts only the canonical encoding of a value. The encoding is within its limit of
//!   bytes, and the value is within the limits of counts and lengths of its type.
//! - [`decode`] accepts all bytes that [`encode_checked`] returns.

use serde::{Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;

use super::{
    bounds::{Bounded, at_most},
    codec_error::CodecError,
    limits::{
        GET_DATA_BUDGET, MAX_BLOCK_BYTES, MAX_BLOCK_TRADES, MAX_CHAT_REQUEST_BYTES,
        MAX_CHAT_RESPONSE_BYTES, MAX_FRIENDS_REQUEST_BYTES, MAX_FRIENDS_RESPONSE_BYTES,
        MAX_GET_DATA, MAX_GOSSIP_BYTES, MAX_HELLO_BYTES, MAX_SYNC_REQUEST_BYTES,
        MAX_SYNC_RESPONSE_BYTES, MAX_TRADES_BYTES,
    },
    messages::{Gossip, Request, Response, SyncResponse},
};
use crate::primitives::{Block, Decode, NetworkId, encoding::Reader};

/// The head of an array of two: the number of a variant, and its content.
const ARRAY_OF_2: u8 = 0x82;
/// The number of [`SyncResponse::Blocks`].
const BLOCKS: u8 = 8;

/// The maximum nesting of arrays. The deepest message, an answer of profiles with addresses, has 5.
const MAX_DEPTH: usize = 8;

/// Encodes a value of any size. Use [`encode_checked`] for bytes that peers must accept.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let bytes = serde_cbor::to_vec(value);
    // serde_cbor fails only on I/O errors and on values of unknown length. Neither occurs here.
    debug_assert!(bytes.is_ok());
    bytes.unwrap_or_default()
}

/// Encodes a value after checking its limits.
fn encode_checked<T: Serialize + Bounded>(value: &T, limit: usize) -> Result<Vec<u8>, CodecError> {
    value.check_bounds()?;
    let bytes = encode(value);
    at_most_bytes(bytes.len(), limit)?;
    Ok(bytes)
}

/// Decodes a value. `bytes` must be its canonical encoding, and within its limits.
pub(crate) fn decode<T: Serialize + DeserializeOwned + Bounded>(
    bytes: &[u8],
    limit: usize,
) -> Result<T, CodecError> {
    at_most_bytes(bytes.len(), limit)?;
    scan(bytes, T::MAX_ITEMS)?;
    let value: T = serde_cbor::from_slice(bytes)
        .map_err(|error| CodecError::Malformed { reason: error.to_string() })?;
    if encode(&value) != bytes {
        return Err(CodecError::NotCanonical);
    }
    value.check_bounds()?;
    Ok(value)
}

const fn at_most_bytes(size: usize, limit: usize) -> Result<(), CodecError> {
    if size > limit { Err(CodecError::TooLarge { size, limit }) } else { Ok(()) }
}

/// Checks, without allocating, that the bytes are one item of the subset of CBOR in our messages.
///
/// Nothing may follow the item. It has at most `max_items` items in all and `MAX_DEPTH` levels.
fn scan(bytes: &[u8], max_items: usize) -> Result<(), CodecError> {
    let malformed = |reason: &str| CodecError::Malformed { reason: reason.to_owned() };
    let mut rest = bytes;
    let mut items = 0_usize;
    // The number of items that each open array still expects.
    let mut open = [0_u64; MAX_DEPTH];
    let mut depth = 0_usize;
    loop {
        items = items.saturating_add(1);
        at_most("items in the message", items, max_items)?;
        let (major, argument, after) = head(rest)?;
        rest = after;
        match major {
            0 | 7 => {}
            2 | 3 => {
                let length = usize::try_from(argument).unwrap_or(usize::MAX);
                let (_, after) = rest
                    .split_at_checked(length)
                    .ok_or_else(|| malformed("the bytes end inside a string"))?;
                rest = after;
            }
            4 if argument == 0 => {}
            4 => {
                let slot =
                    open.get_mut(depth).ok_or_else(|| malformed("arrays are nested too deep"))?;
                // The count goes down with each item that is complete.
                *slot = argument;
                depth = depth.saturating_add(1);
                continue;
            }
            _ => return Err(malformed("messages hold numbers, strings, arrays and null alone")),
        }
        // The item is complete, and perhaps the arrays around it.
        loop {
            let Some(left) = depth.checked_sub(1).and_then(|top| open.get_mut(top)) else {
                return if rest.is_empty() {
                    Ok(())
                } else {
                    Err(malformed("bytes are left over"))
                };
            };
            *left = left.saturating_sub(1);
            if *left > 0 {
                break;
            }
            depth = depth.saturating_sub(1);
        }
    }
}

/// Returns the major type and the argument of the next item, and the bytes after its head.
///
/// Numbers must have their shortest form. Null is the only simple value.
fn head(bytes: &[u8]) -> Result<(u8, u64, &[u8]), CodecError> {
    let short = || CodecError::Malformed { reason: "the bytes end inside an item".to_owned() };
    let (first, rest) = bytes.split_first().ok_or_else(short)?;
    let (major, low) = (first >> 5, first & 0x1f);
    if major == 7 {
        return match low {
            22 => Ok((7, 22, rest)),
            _ => Err(CodecError::Malformed {
                reason: "of the simple values only null is used".to_owned(),
            }),
        };
    }
    let (argument, least, rest) = match low {
        0..=23 => (u64::from(low), 0, rest),
        24 => rest
            .split_first_chunk::<1>()
            .map(|(n, r)| (u64::from(n[0]), 24, r))
            .ok_or_else(short)?,
        25 => rest
            .split_first_chunk()
            .map(|(n, r)| (u64::from(u16::from_be_bytes(*n)), 1 << 8, r))
            .ok_or_else(short)?,
        26 => rest
            .split_first_chunk()
            .map(|(n, r)| (u64::from(u32::from_be_bytes(*n)), 1 << 16, r))
            .ok_or_else(short)?,
        27 => rest
            .split_first_chunk()
            .map(|(n, r)| (u64::from_be_bytes(*n), 1 << 32, r))
            .ok_or_else(short)?,
        31 => return Err(CodecError::NotCanonical),
        _ => return Err(CodecError::Malformed { reason: format!("{first:#04x} begins no item") }),
    };
    if argument < least { Err(CodecError::NotCanonical) } else { Ok((major, argument, rest)) }
}

/// Returns the first 8 hex digits of a network's id, which end the ids of protocols and topics.
pub(super) fn network_tag(network: &NetworkId) -> String {
    network.to_string().chars().take(8).collect()
}

/// A request-response protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Exchange of Status. Its id is the same on every network, so that a peer of another network
    /// gets `WrongNetwork`.
    Hello,
    /// Exchange of profiles.
    Friends,
    /// Delivery of direct lines, sealed or not, and exchange of lines to all that a peer missed.
    Chat,
    /// Exchange of headers, blocks, and transactions.
    Sync,
}

impl Protocol {
    pub const ALL: [Self; 4] = [Self::Hello, Self::Friends, Self::Chat, Self::Sync];

    /// Returns the short name, for metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Friends => "friends",
            Self::Chat => "chat",
            Self::Sync => "sync",
        }
    }

    /// Returns the id that peers negotiate. All but that of `hello` end in the network's tag.
    #[must_use]
    pub fn id(self, network: &NetworkId) -> String {
        match self {
            Self::Hello => "/friendchain/hello/1".to_owned(),
            Self::Friends => format!("/friendchain/friends/1/{}", network_tag(network)),
            Self::Chat => format!("/friendchain/chat/3/{}", network_tag(network)),
            Self::Sync => format!("/friendchain/sync/2/{}", network_tag(network)),
        }
    }

    /// Returns the maximum size of a request in bytes.
    #[must_use]
    pub const fn max_request_bytes(self) -> usize {
        match self {
            Self::Hello => MAX_HELLO_BYTES,
            Self::Friends => MAX_FRIENDS_REQUEST_BYTES,
            Self::Chat => MAX_CHAT_REQUEST_BYTES,
            Self::Sync => MAX_SYNC_REQUEST_BYTES,
        }
    }

    /// Returns the maximum size of a response in bytes.
    #[must_use]
    pub const fn max_response_bytes(self) -> usize {
        match self {
            Self::Hello => MAX_HELLO_BYTES,
            Self::Friends => MAX_FRIENDS_RESPONSE_BYTES,
            Self::Chat => MAX_CHAT_RESPONSE_BYTES,
            Self::Sync => MAX_SYNC_RESPONSE_BYTES,
        }
    }

    /// Decodes a request that arrived on this protocol.
    pub fn decode_request(self, bytes: &[u8]) -> Result<Request, CodecError> {
        let limit = self.max_request_bytes();
        match self {
            Self::Hello => decode(bytes, limit).map(Request::Hello),
            Self::Friends => decode(bytes, limit).map(Request::Friends),
            Self::Chat => decode(bytes, limit).map(Request::Chat),
            Self::Sync => decode(bytes, limit).map(Request::Sync),
        }
    }

    /// Decodes the whole blocks of an answer of which only a part arrived. Returns `None` if there
    /// are none.
    pub fn decode_part(self, bytes: &[u8]) -> Option<Response> {
        let (Self::Sync, Some((&[ARRAY_OF_2, BLOCKS], rest))) = (self, bytes.split_first_chunk())
        else {
            return None;
        };
        let (2, _, blocks) = head(rest).ok()? else { return None };
        let mut reader = Reader::new(blocks);
        let mut whole = 0;
        while reader.remaining() > 0 && Block::decode(&mut reader).is_ok() {
            whole = blocks.len().saturating_sub(reader.remaining());
        }
        let whole = blocks.get(..whole).filter(|blocks| !blocks.is_empty())?;
        Some(Response::Sync(SyncResponse::Blocks(ByteBuf::from(whole))))
    }

    /// Decodes a response that arrived on this protocol.
    pub fn decode_response(self, bytes: &[u8]) -> Result<Response, CodecError> {
        let limit = self.max_response_bytes();
        match self {
            Self::Hello => decode(bytes, limit).map(Response::Hello),
            Self::Friends => decode(bytes, limit).map(Response::Friends),
            Self::Chat => decode(bytes, limit).map(Response::Chat),
            Self::Sync => decode(bytes, limit).map(Response::Sync),
        }
    }
}

impl Request {
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        match self {
            Self::Hello(_) => Protocol::Hello,
            Self::Friends(_) => Protocol::Friends,
            Self::Chat(_) => Protocol::Chat,
            Self::Sync(_) => Protocol::Sync,
        }
    }

    /// Encodes the request.
    ///
    /// # Errors
    /// Fails if the request is over a limit, since the peer would refuse it.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let limit = self.protocol().max_request_bytes();
        match self {
            Self::Hello(request) => encode_checked(request, limit),
            Self::Friends(request) => encode_checked(request, limit),
            Self::Chat(request) => encode_checked(request, limit),
            Self::Sync(request) => encode_checked(request, limit),
        }
    }
}

impl Response {
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        match self {
            Self::Hello(_) => Protocol::Hello,
            Self::Friends(_) => Protocol::Friends,
            Self::Chat(_) => Protocol::Chat,
            Self::Sync(_) => Protocol::Sync,
        }
    }

    /// Encodes the response.
    ///
    /// # Errors
    /// Fails if the response is over a limit, since the peer would refuse it.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let limit = self.protocol().max_response_bytes();
        match self {
            Self::Hello(response) => encode_checked(response, limit),
            Self::Friends(response) => encode_checked(response, limit),
            Self::Chat(response) => encode_checked(response, limit),
            Self::Sync(response) => encode_checked(response, limit),
        }
    }
}

/// A gossip topic with messages in CBOR. The topic `alive` is separate: see
/// [`alive_topic`](super::alive_topic).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// Lines to all, and goodbyes.
    Chat,
    /// Trades and notes to be mined.
    Trades,
    /// Solved headers and compact blocks.
    Blocks,
}

impl Topic {
    pub const ALL: [Self; 3] = [Self::Chat, Self::Trades, Self::Blocks];

    /// Returns the name of gossipsub's topic, such as `/friendchain/topic/blocks/2/` and the
    /// network's tag.
    #[must_use]
    pub fn name(self, network: &NetworkId) -> String {
        let version = match self {
            Self::Chat => 1,
            Self::Trades | Self::Blocks => 2,
        };
        format!("/friendchain/topic/{}/{version}/{}", self.code(), network_tag(network))
    }

    /// Returns the short name, which is a part of the full one.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Trades => "trades",
            Self::Blocks => "blocks",
        }
    }

    /// Returns the maximum size of a payload in bytes.
    #[must_use]
    pub const fn max_bytes(self) -> usize {
        match self {
            Self::Chat => MAX_CHAT_REQUEST_BYTES,
            Self::Trades => MAX_TRADES_BYTES,
            Self::Blocks => MAX_GOSSIP_BYTES,
        }
    }

    /// Decodes a payload that arrived on this topic.
    pub fn decode(self, bytes: &[u8]) -> Result<Gossip, CodecError> {
        let limit = self.max_bytes();
        match self {
            Self::Chat => decode(bytes, limit).map(Gossip::Chat),
            Self::Trades => decode(bytes, limit).map(Gossip::Trade),
            Self::Blocks => decode(bytes, limit).map(Gossip::Block),
        }
    }
}

impl Gossip {
    #[must_use]
    pub const fn topic(&self) -> Topic {
        match self {
            Self::Chat(_) => Topic::Chat,
            Self::Trade(_) => Topic::Trades,
            Self::Block(_) => Topic::Blocks,
        }
    }

    /// Encodes the payload.
    ///
    /// # Errors
    /// Fails if the message is over a limit, since peers would reject it.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let limit = self.topic().max_bytes();
        match self {
            Self::Chat(gossip) => encode_checked(gossip, limit),
            Self::Trade(gossip) => encode_checked(gossip, limit),
            Self::Block(gossip) => encode_checked(gossip, limit),
        }
    }
}

const _: () = {
    assert!(MAX_CHAT_REQUEST_BYTES <= MAX_GOSSIP_BYTES && MAX_TRADES_BYTES <= MAX_GOSSIP_BYTES);
    // A block's transactions, each with a head of at most 5 bytes, fit an answer to GetBlockTrades.
    assert!(MAX_BLOCK_BYTES + MAX_BLOCK_TRADES * 5 + 64 <= MAX_SYNC_RESPONSE_BYTES);
    assert!(GET_DATA_BUDGET + MAX_BLOCK_BYTES + MAX_GET_DATA * 8 + 64 <= MAX_SYNC_RESPONSE_BYTES);
};

#[cfg(test)]
mod tests;
