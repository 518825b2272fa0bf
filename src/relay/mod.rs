//! What to tell whom, as it happens: solved headers, compact blocks, trades.
//!
//! [`Relay`] is a state machine without sockets, disk or clock, as [`Sync`](crate::sync::Sync) is;
//! the node task owns it, feeds it every [`RelayEvent`] with the time, and carries out each
//! [`RelayAction`] in order. Sync catches up with what a peer claims; the relay spreads what is
//! new. What the relay cannot complete it leaves to sync.
//!
//! # What it does
//! - *Solved*: a header that our miner has just solved is published at once; one from gossip is
//!   checked on our tip before it goes on, and lets our miners rest once for each parent, for a
//!   moment.
//! - *Compact*: a block of ours is published when it is on the best chain, and so is a new tip that
//!   came by other ways than gossip. One from gossip goes on after its header's checks alone, the
//!   first for each block; then it is rebuilt from the mempool, the missing transactions are asked
//!   of those who announced it, and if that fails the whole block is. No penalty for a rebuild that
//!   fails: short ids may collide, and who passes an announcement on has not seen the body.
//! - *Trades*: one from gossip goes on when the chain takes it. Ours are announced, and again about
//!   every six spacings until they are mined, each time with the next `round`, since the same bytes
//!   would not spread again.
//!
//! # Invariants
//! - Every gossip message gets exactly one verdict, within [`VERDICT_MS`].
//! - Every map here is bounded by a named constant; what does not fit is ignored, and sync or the
//!   next announcement brings it.
//! - One peer cannot use up what is meant for all: gossip over a peer's rate is ignored.

mod api;
mod block_gossip;
mod blocks;
mod bounded;
mod compact;
mod completion;
mod machine;
mod outgoing;
#[cfg(test)]
mod tests;
mod trade_gossip;
mod trades;

pub use api::{Announcement, RelayAction, RelayConfig, RelayEvent};
pub use machine::Relay;

use crate::primitives::Rate;

/// The relay's request ids lie in this range of 2⁵⁶, so that a response finds its machine by its
/// number.
const REQUEST_SPACE: u64 = 2 << 56;

/// The latest that a message gets its verdict, in ms: gossip keeps it for five heartbeats of a
/// second.
pub const VERDICT_MS: u64 = 4_000;

/// Headers and compact blocks from one peer: more than any miner makes, but for test chains.
const BLOCK_RATE: Rate = Rate { burst: 512, per_second: 64 };
/// Trades from one peer, forwarded ones included; one counts for as many as it has thousand bytes
/// begun, which is about what blocks can hold of them. What pays nothing is limited further, by the
/// chain.
const TRADE_RATE: Rate = Rate { burst: 2_000, per_second: 200 };
/// Notes from one peer: they cost nothing, so fewer.
const NOTE_RATE: Rate = Rate { burst: 200, per_second: 20 };
/// Trades that this node publishes: well under what others take from one peer.
const PUBLISH_RATE: Rate = Rate { burst: 100, per_second: 10 };

/// Peers with rates; the network layer allows fewer connections.
const MAX_PEERS: usize = 256;
/// Solved headers being checked, and those whose blocks are awaited.
const MAX_SOLVED: usize = 64;
/// Compact blocks under way.
const MAX_PENDING_BLOCKS: usize = 16;
/// Blocks that are remembered as announced, ours, or connected.
const MAX_RECENT_BLOCKS: usize = 1_024;
/// Announcers of one block that are remembered.
const MAX_SOURCES: usize = 8;
/// Blocks being read for publishing.
const MAX_LOADING: usize = 64;
/// Trades with the chain, not answered yet: count and bytes.
const MAX_PENDING_TRADES: usize = 1_024;
/// See [`MAX_PENDING_TRADES`].
const MAX_PENDING_TRADE_BYTES: usize = 8 * 1024 * 1024;
/// Trades that came before their parents: at most 6 MB.
const MAX_ORPHANS: usize = 64;
/// Own trades that are announced again. Beyond, they are announced once.
const MAX_OWN_TRADES: usize = 10_000;
/// Trades that wait to be published.
const MAX_OUTGOING: usize = 10_000;
/// Trades that are remembered as waiting, or as mined.
const MAX_RECENT_TRADES: usize = 20_000;

/// How often one block's parts or body are asked for, over all its announcers.
const MAX_TRIES: u32 = 6;
/// How long a request for parts or a body may take, in ms, before the next announcer is asked.
const REQUEST_MS: u64 = 5_000;
/// The pause when all announcers were asked once, in ms; it doubles.
const RETRY_MS: u64 = 250;
/// After so long a block is left to sync, in ms.
const BLOCK_MS: u64 = 30_000;
/// A solved header's block must come within this time, in ms, or whoever told of the header is
/// asked how far it is.
const SOLVED_MS: u64 = 3_000;
/// A peer is asked how far it is at most so often, in ms.
const ASK_MS: u64 = 2_000;
/// A pause of the miners is no longer than this, in ms, nor than a fifth of the spacing.
const MAX_PAUSE_MS: u64 = 2_000;
/// Trades that came before their parents are kept for so long, in ms.
const ORPHAN_MS: u64 = 60_000;
/// How many spacings lie between two announcements of an own trade, and the least time, in ms, for
/// quick chains.
const ANNOUNCE_SPACINGS: u64 = 6;
/// See [`ANNOUNCE_SPACINGS`].
const MIN_ANNOUNCE_MS: u64 = 10_000;

/// Whether a request id is of the relay's making.
#[must_use]
pub const fn owns_request(id: u64) -> bool {
    id >> 56 == REQUEST_SPACE >> 56
}
