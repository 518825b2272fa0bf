//! The relay spreads new solved headers, compact blocks, and trades.
//!
//! [`Relay`] is a state machine without sockets, disk or clock, like `Sync`. The router task owns
//! it. The task feeds it every [`RelayEvent`] with the time, and carries out each [`RelayAction`]
//! in order. Sync catches up with chains that peers claim; the relay handles new blocks and trades.
//! Sync fetches a block that the relay cannot complete.
//!
//! # Messages
//! - *Solved*: a header. The relay publishes the header of a block that our miner solved at once. A
//!   header from gossip is checked on our tip before it is forwarded. It has no effect on mining:
//!   only a body proves that a block can be built on.
//! - *Compact*: a block as header, coinbase and short ids. The relay publishes our own block once
//!   it is on the best chain, and also a new tip that did not come by gossip. After the check of
//!   its header, the chain rebuilds the block from the mempool. The relay requests missing
//!   transactions from up to [`MAX_ASKED`] announcers at once, and the whole block if that fails. A
//!   failed rebuild is not penalised: short ids may collide, and a peer forwards an announcement
//!   before it has seen the body. The header proves nothing about the rest of the message. The
//!   first one from a trusted peer is forwarded once its header is checked. Any other one is
//!   forwarded once the complete block shows that it is true. Messages that differ under one header
//!   are completed side by side, so that a wrong one does not hold up the true one.
//! - *Trades*: one trade, or many that a node announces for the first time. A message is forwarded
//!   once the chain accepts all of its trades. If it accepts only some, the node announces these
//!   itself. Every node that has a trade announces it again at random times until it is mined, its
//!   maker like all others. A node that hears an announcement postpones its own. Each repetition
//!   has a random `round`, since gossip would not spread the same bytes again.
//!
//! # Invariants
//! - Every gossip message gets exactly one verdict, within [`VERDICT_MS`].
//! - Every map is bounded by a named constant. An entry beyond the bound is ignored. Sync or the
//!   next announcement brings it.
//! - One peer cannot exhaust a shared bound: gossip beyond a peer's rate is ignored, and a peer has
//!   a share of the incomplete blocks and of the orphans. Trusted peers take the places of others.
//! - A peer is muted before its messages are ignored for want of its own room, since an ignored
//!   message is lost from all peers.
//! - A rate outlives the connection, and peers that are not trusted share one. A note proves
//!   nothing about its sender, since it costs nothing.
//! - A header that the chain refuses for want of work is not forwarded, and its sender not charged.

mod api;
mod block_gossip;
mod blocks;
mod bounded;
mod compact;
mod completion;
mod machine;
mod outgoing;
mod schedule;
#[cfg(test)]
mod tests;
mod trade_gossip;
mod trades;

pub(crate) use api::{Announcement, RelayAction, RelayConfig, RelayEvent};
pub(crate) use machine::Relay;

use crate::primitives::Rate;

/// The first of the relay's 2⁵⁶ request ids. The top byte of an id names the machine that made it.
const REQUEST_SPACE: u64 = 2 << 56;

/// The maximum time until a message gets its verdict, in ms. The network ignores a message that has
/// none after 28 s.
const VERDICT_MS: u64 = 4_000;

/// The rate of headers and compact blocks from one peer. Only the miners of test chains exceed it.
const BLOCK_RATE: Rate = Rate { burst: 512, per_second: 64 };
/// The rate of trades from one peer, forwarded ones included. A trade takes one token for each
/// 1,000 bytes or part of them, so the rate matches what blocks can hold. The chain limits trades
/// without a fee further.
const TRADE_RATE: Rate = Rate { burst: 2_000, per_second: 200 };
/// The rate of notes from one peer. It is lower than [`TRADE_RATE`], since notes are free.
const NOTE_RATE: Rate = Rate { burst: 200, per_second: 20 };
/// The part of [`TRADE_RATE`] and [`NOTE_RATE`] that all peers share which are not trusted: as much
/// as eight peers.
const DOUBTFUL_SHARE: u64 = 8;
/// The rate at which this node publishes new trades that pay a fee. It counts as [`TRADE_RATE`].
/// With [`PUBLISH_FREE_RATE`] it is about half of what peers accept from one sender.
const PUBLISH_RATE: Rate = Rate { burst: 500, per_second: 100 };
/// The rate at which this node publishes new trades without a fee. With the notes, it stays below
/// the 1 MiB and the 13 kB/s of free transactions that a mempool takes from one peer.
const PUBLISH_FREE_RATE: Rate = Rate { burst: 500, per_second: 8 };
/// The rate at which this node publishes new notes: half of the burst that peers accept, and a
/// quarter of their rate.
const PUBLISH_NOTE_RATE: Rate = Rate { burst: 100, per_second: 5 };
/// The size of the trades in one published message, in bytes: 0.8 s of a line of 40 kB/s. A longer
/// trade goes alone.
const MAX_BATCH_BYTES: usize = 32 * 1_024;
/// The rate at which this node repeats trades of its mempool. All nodes repeat, and one neighbour
/// may forward the announcements of all of them.
const REPEAT_RATE: Rate = Rate { burst: 20, per_second: 2 };

/// The maximum number of solved headers being checked, and of those whose blocks are awaited.
const MAX_SOLVED: usize = 64;
/// The maximum number of claims about announced blocks that are being completed.
const MAX_PENDING_BLOCKS: usize = 16;
/// The maximum number of these about one block. At most one of them is true, and the others cost
/// their senders nothing.
const MAX_BLOCK_CLAIMS: usize = 8;
/// The maximum number of these that one peer announced first, if it is not trusted.
const MAX_PENDING_UNPROVEN: usize = 2;
/// The maximum number of these that one friend or proven peer announced first.
const MAX_PENDING_PROVEN: usize = 8;
/// The maximum number of remembered blocks for each kind: announced, ours, and connected.
const MAX_RECENT_BLOCKS: usize = 1_024;
/// The maximum number of remembered announcers of one block.
const MAX_SOURCES: usize = 8;
/// The maximum number of blocks being read from the store for publishing.
const MAX_LOADING: usize = 64;
/// The maximum number of trades that the chain has not replied for.
const MAX_PENDING_TRADES: usize = 1_024;
/// The maximum size of the trades that the chain has not replied for, in bytes.
const MAX_PENDING_TRADE_BYTES: usize = 8 * 1024 * 1024;
/// The divisor of both for peers that are not trusted. A quarter leaves half of the chain's queue
/// free, so that the chain is not busy for others.
const DOUBTFUL_PART: usize = 4;
/// The maximum number of trades that arrived before their parents: at most 6 MB.
const MAX_ORPHANS: usize = 64;
/// The maximum number of mempool entries that are announced repeatedly. An own trade takes the
/// place of another one.
const MAX_SCHEDULED: usize = 10_000;
/// The maximum number of trades in the queue for publishing.
const MAX_OUTGOING: usize = 10_000;
/// The maximum number of remembered trades for each kind: in the mempool, mined, and from gossip.
const MAX_RECENT_TRADES: usize = 20_000;

/// The maximum number of requests for one block's parts or body, over all announcers.
const MAX_TRIES: usize = 6;
/// The maximum number of announcers that are asked for one block's parts or body at once. A silent
/// peer thus delays no block that others have.
const MAX_ASKED: usize = 3;
/// The timeout of a request for parts or a body, in ms. Then the next announcer is asked.
const REQUEST_MS: u64 = 5_000;
/// The unit of the pause after all announcers were asked, in ms. The pause doubles with each
/// request.
const RETRY_MS: u64 = 250;
/// The time after which an incomplete block is left to sync, in ms.
const BLOCK_MS: u64 = 30_000;
/// The time for which a peer without room for its gossip is muted, in ms. Most blocks are complete,
/// and most trades checked, within this time.
const MUTE_MS: u64 = 1_000;
/// The time to wait for the block of a solved header, in ms. Then the relay asks the peer that
/// forwarded the header for its Status.
const SOLVED_MS: u64 = 3_000;
/// The minimum time between two requests for a peer's Status, in ms.
const ASK_MS: u64 = 2_000;
/// The minimum time between two reports that a peer delivered something, in ms.
const PROVEN_MS: u64 = 60_000;
/// The time for which a trade is kept that arrived before its parents, in ms.
const ORPHAN_MS: u64 = 60_000;
/// The unit of the time between two announcements of a trade, in spacings. The time is random, 0.75
/// to 2.25 units.
const ANNOUNCE_SPACINGS: u64 = 6;
/// The minimum of that unit, in ms. It matters for fast chains.
const MIN_ANNOUNCE_MS: u64 = 10_000;
/// The maximum random delay of a trade's first announcement, in ms.
const FIRST_DELAY_MS: u64 = 100;

/// Returns true if the relay made this request id.
#[must_use]
pub(crate) const fn owns_request(id: u64) -> bool {
    id >> 56 == REQUEST_SPACE >> 56
}
