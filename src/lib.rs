//! friendchain: a peer-to-peer node for a group of friends.
//!
//! `ARCHITECTURE.md` is the map. Imports point down only:
//!
//! | floor | modules |
//! |---|---|
//! | 6 | [`cli`], [`console`], [`observe`] |
//! | 5 | [`node`]: composition; [`rpc`](node::rpc) |
//! | 4 | [`net`]: the only user of libp2p |
//! | 3 | [`sync`], [`relay`], `friends`, [`peers`], [`wire`] |
//! | 2 | [`chain`]: the state machine |
//! | 1 | [`consensus`]: rules as pure functions |
//! | 0 | [`primitives`] |
//!
//! [`net`] and [`chain`] never see each other; they meet in [`node`].

pub mod chain;
pub mod cli;
pub mod consensus;
pub mod console;
pub(crate) mod friends;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod net;
pub mod node;
pub mod observe;
pub mod peers;
pub mod primitives;
pub mod relay;
pub mod sync;
pub mod wire;
