//! The messages between peers: their types, limits, signatures, and codec.
//!
//! Messages are canonical CBOR arrays. Data that is hashed or signed has one of the fixed layouts
//! of [`primitives::encoding`](crate::primitives::encoding): headers, blocks and transactions
//! travel as byte strings, and profiles, lines and goodbyes are signed over such a layout. `proto/`
//! documents the messages for other implementations.

pub(crate) mod address;
mod alive;
mod array;
mod bounds;
pub(crate) mod codec;
mod codec_error;
mod failure;
mod gossip_id;
pub(crate) mod limits;
mod messages;
mod sealing;
mod signing;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod vectors;
mod verdict;

pub(crate) use alive::{alive_topic, probe};
#[cfg(any(test, fuzzing))]
pub(crate) use bounds::Bounded;
pub use codec::{Protocol, Topic};
pub use codec_error::CodecError;
pub(crate) use failure::RequestFailure;
pub(crate) use gossip_id::gossip_id;
pub use messages::*;
#[cfg(test)]
pub(crate) use sealing::SIZES as SEALED_SIZES;
pub use sealing::{OpenError, SealError, Secret, agree};
pub use signing::{MessageId, MessageIdError, VerifyError};
pub use verdict::Verdict;
