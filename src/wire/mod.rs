//! What peers say to each other: message types, their limits, what is signed in them, and the
//! codec.
//!
//! Envelopes are canonical CBOR arrays; what is hashed or signed (headers, blocks, trades,
//! profiles, lines) travels in them as byte strings of, or is signed over, the fixed layouts of
//! [`primitives::encoding`](crate::primitives::encoding). `proto/` documents all of it for other
//! implementations.

mod array;
mod bounds;
pub mod codec;
mod failure;
pub mod limits;
mod messages;
mod signing;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod vectors;
mod verdict;

pub use bounds::Bounded;
pub use codec::{CodecError, Protocol, Topic};
pub(crate) use failure::RequestFailure;
pub use messages::*;
pub use signing::{MessageId, MessageIdError, VerifyError};
pub use verdict::Verdict;
