//! Sync catches up with peers that claim a better chain: headers, then bodies, then mempool trades.
//!
//! [`Sync`] is a state machine without sockets, disk or clock. The router task owns it, feeds it
//! every [`SyncEvent`] with the time, and carries out each [`SyncAction`] in order. A later event
//! answers an action that needs the disk or the chain thread.
//!
//! # Steps
//! 1. A peer's Status claims a better chain than our best header. Sync starts a *walk* with that
//!    peer: it reads our locator, requests headers from the peer and hands them to the chain, until
//!    they reach the claimed tip. A branch that forks off far below our tip is walked twice, first
//!    without storing its headers: see `presync`.
//! 2. Sync fetches the bodies that the best header chain lacks. The lowest of them form a *window*.
//!    It is requested in ranges from all peers whose claim is high enough, and handed to the chain
//!    parents first. The size of a range follows the time of the peer's answers: see `pipe`. A
//!    second peer is asked for a range that holds up the window. A header whose body no peer
//!    delivers is withheld from the choice of the best header: see `withheld`.
//! 3. Once no peer claims a better chain, sync asks each new peer once for the ids of its mempool,
//!    and fetches the trades that are unknown here.
//!
//! # Trust
//! A claim decides which peer to ask, and nothing else. A peer is *proven* once it delivered valid
//! headers or blocks that this node lacked. A trade proves nothing, since a payment to oneself
//! costs next to nothing. Proven peers are asked first, then friends. Bodies are asked first of
//! peers that deliver them, then of friends. A peer that has delivered nothing is asked for one
//! block at a time, even if it is a friend. The claims of strangers count for the phase only until
//! they are tested, and only while no trusted peer is connected.
//!
//! # Invariants
//! - Every request ends exactly once: by a response, a failure, a timeout, or the peer's
//!   disconnection. A response to a request that has ended is ignored.
//! - A body is buffered or handed over only if sync requested it. Both are bounded in count and
//!   bytes.
//! - A peer that stops sending can delay a step by at most [`REQUEST_TIMEOUT_MS`]. After each
//!   failure it is asked less often.
//! - While the chain is diverged, sync fetches the bodies of the other branch once, so that the
//!   user can switch to it. It keeps following our own branch meanwhile.
//! - Sync persists nothing. After a restart the chain lists the missing bodies.

mod api;
mod bodies;
mod fetch;
mod headers;
mod items;
mod machine;
mod meter;
mod missing;
mod peer;
mod phase;
mod pipe;
mod presync;
mod ranks;
mod requests;
mod sites;
#[cfg(test)]
mod soundness;
#[cfg(test)]
mod tests;
mod ticket;
mod trades;
mod twice;
mod visits;
mod withheld;

pub(crate) use api::{
    Obstacle, Phase, Progress, SyncAction, SyncConfig, SyncEvent, SyncOutcome, SyncReport,
};
pub(crate) use machine::Sync;
pub(crate) use presync::check_branch;

use crate::wire::limits::{MAX_GET_DATA, MAX_RANGE_BYTES};

/// The first of sync's 2⁵⁶ request ids. The top byte of an id names the machine that made it.
const REQUEST_SPACE: u64 = 1 << 56;

/// The time without a byte after which a request to a peer has failed, in ms. The network fails it
/// 5 s earlier, and passes on the whole blocks that have arrived.
const REQUEST_TIMEOUT_MS: u64 = 25_000;
/// The age at which a request to a trusted peer that has not answered yet counts as late, in ms.
/// Sync then asks a second peer for the same headers, or for the bodies that hold up the window.
const PATIENCE_MS: u64 = 3_000;
/// The least age at which a request is late to a peer that has answered before, in ms. Scheduling
/// delays on a busy machine are as long.
const LEAST_PATIENCE_MS: u64 = 300;
/// The same age for a peer that is not trusted, in ms. It is short, since many such peers may be
/// silent, and each delays the next one's turn.
const DOUBT_PATIENCE_MS: u64 = 150;
/// The timeout of a local read or of a reply from the chain, in ms. It passes only if the node has
/// a fault; the step is then repeated.
const LOCAL_TIMEOUT_MS: u64 = 120_000;
/// The first back-off after a timeout or refusal, in ms. It doubles with each consecutive failure.
const BACK_OFF_MS: u64 = 5_000;
/// The maximum number of times that [`BACK_OFF_MS`] doubles: 5 s become 160 s.
const MAX_DOUBLINGS: u32 = 5;
/// The back-off after a message that only a faulty or lying peer sends, in ms.
const DISTRUST_MS: u64 = 60_000;
/// The back-off after a Busy response, in ms. The same pause follows a refusal by the chain that is
/// not the peer's fault.
const BUSY_MS: u64 = 1_000;
/// The pause of body requests after a response with none of the requested bodies, in ms. Such a
/// peer is probably on another branch.
const ELSEWHERE_MS: u64 = 10_000;
/// The number of consecutive failures after which sync no longer retries a mempool visit. Gossip
/// brings the trades too.
const MAX_VISIT_FAILURES: u32 = 3;

/// The maximum number of concurrent header walks. While no walk gains anything, sync doubles their
/// number, up to this maximum.
const MAX_WALKS: usize = 32;
/// The maximum number of headers in the first request of a walk with a peer that is not trusted.
const FIRST_HEADERS: u32 = 64;

/// The maximum number of headers above the fork in a presync. The chain stores no more headers
/// beyond its tip.
const MAX_PRESYNC_HEADERS: u32 = 262_144;
/// The maximum number of concurrent presyncs with peers that are not trusted, each of another
/// network. Three share the rate of [`DOUBT_PAUSE_MS`], and the longest branch still ends within
/// [`MAX_DOUBT_MS`].
const MAX_DOUBTFUL_PRESYNCS: usize = 3;
/// The maximum time of the first pass of such a presync, in ms, so that the next peer gets its
/// turn.
const MAX_DOUBT_MS: u64 = 180_000;
/// The pause between two batches of such a presync, in ms, times the number of these. It bounds the
/// batches of all to 0.75 MB/s.
const DOUBT_PAUSE_MS: u64 = 250;
/// The first back-off after a branch that cannot win, in ms. It doubles with each further one.
const HOPELESS_MS: u64 = 60_000;
/// The maximum number of times that [`HOPELESS_MS`] doubles: a minute becomes 64 minutes.
const MAX_HOPELESS_DOUBLINGS: u32 = 6;
/// The number of blocks by which the tip must rise before sync resumes a walk that ran too far
/// beyond it.
const CATCH_UP_BLOCKS: u32 = 4_096;
/// The number of headers at the end of a branch in which the second pass may differ from the first.
/// A reorg of the peer explains such a difference.
const REORG_BLOCKS: u32 = 144;

/// The time in which a peer must deliver the lowest missing body, in ms. After it, the header is
/// withheld. It counts only while a peer was asked. The second half has 60 ticks, in each of which
/// one more trusted peer is asked.
const WITHHOLD_MS: u64 = 30_000;
/// The maximum number of withheld headers that sync remembers, so that it can request their bodies.
const MAX_WITHHELD: usize = 64;
/// The first pause between two requests for the body of a withheld header, in ms. It doubles.
const PROBE_MS: u64 = 30_000;
/// The maximum number of times that [`PROBE_MS`] doubles: 30 s become 32 minutes.
const MAX_PROBE_DOUBLINGS: u32 = 6;
/// The maximum number of remembered first headers of a peer's walks, and of best headers that they
/// led to.
const MAX_BRANCHES: usize = 8;
/// The minimum time between two reports that a peer has proven itself, in ms.
const PROVEN_MS: u64 = 60_000;

/// The maximum number of wanted bodies that are not handed to the chain: about four of the longest
/// ranges.
const WINDOW: usize = 8_192;
/// The maximum number of body requests in flight to one peer. They share its limit of bytes.
const MAX_REQUESTS_PER_PEER: usize = 4;
/// The number of body requests in flight to a proven peer, however slow it is.
const MIN_REQUESTS_PER_PEER: usize = 2;
/// The maximum number of body requests in flight, late ones excluded. It bounds the responses in
/// flight to 32 MiB.
const MAX_BODY_REQUESTS: usize = 16;
/// The maximum number of body requests in flight to peers that are not proven, while a proven peer
/// can be asked. Each is for one block.
const MAX_DOUBTFUL_REQUESTS: usize = 2;
/// The number of body requests in flight to peers that are not proven, late ones included, at which
/// such peers get no further one.
const MAX_OPEN_REQUESTS: usize = 32;
/// The maximum size of buffered bodies and expected responses, in bytes. The lowest wanted body is
/// fetched even beyond it.
const MAX_BUFFERED_BYTES: usize = 32 * 1024 * 1024;
/// The maximum number of blocks that are handed to the chain and await its reply.
const MAX_HANDED: usize = 8_192;
/// The maximum number of blocks that are handed over together. The chain's queue has room for many
/// of these, so that it never waits for the router.
const MAX_HANDOVER: usize = 256;
/// The size of handed-over blocks at which sync stops handing over more, in bytes. The chain can
/// write one batch of full blocks while it connects the next.
const MAX_HANDED_BYTES: usize = 48 * 1024 * 1024;
/// The time that the relay has to complete the blocks that it announced, in ms. After it, sync
/// fetches their bodies.
const RELAY_GRACE_MS: u64 = 2_000;

/// The maximum number of trades in one request.
const MAX_TRADE_BATCH: usize = 64;
/// The maximum number of header requests in flight in one walk: enough for 200,000 headers a second
/// at 40 ms.
const MAX_HEADER_REQUESTS: usize = 4;
/// The maximum number of header requests in flight and batches at the chain in one walk.
const MAX_HEADER_BATCHES: usize = 6;
/// The number of times that a peer may hold up the window before it is disconnected, if it is no
/// friend.
const MAX_STALLS: u32 = 2;

/// The maximum time in [`Phase::Starting`], in ms.
const START_MS: u64 = 10_000;
/// The time without progress after which sync is stalled, in ms. While it is stalled, sync asks all
/// peers again at this interval.
const STALL_MS: u64 = 30_000;
/// The lag up to which a synced node stays in [`Phase::Synced`], in blocks. New blocks take a
/// moment to arrive.
const LAG_BLOCKS: u32 = 2;
/// The time for which a lag of [`LAG_BLOCKS`] is tolerated, in ms.
const LAG_MS: u64 = 2_000;
/// The interval at which progress is logged, in ms.
const PROGRESS_MS: u64 = 2_000;
/// The number of blocks after which progress is logged early, so that a fast sync is logged too.
const PROGRESS_BLOCKS: u64 = 1_000;
/// The delay between a new tip and our Status to the peers, in ms. Most peers get the block by
/// gossip within it.
const NEWS_MS: u64 = 1_000;
/// The same delay in [`Phase::Syncing`], in ms.
const NEWS_SYNCING_MS: u64 = 10_000;
/// The age of the last Status exchange after which sync sends our Status again, in ms. Status
/// messages can get lost.
const REFRESH_MS: u64 = 60_000;
/// The age of a peer's last Status at which sync forgets the peer, in ms. Its disconnection was
/// missed.
const SILENT_MS: u64 = 5 * REFRESH_MS;
/// The time that a user's `sync` command waits for replies to our Status, in ms.
const STATUS_TIMEOUT_MS: u64 = 10_000;
/// The maximum number of concurrent `sync` commands.
const MAX_TICKETS: usize = 64;

const _: () = {
    assert!(MAX_TRADE_BATCH <= MAX_GET_DATA);
    assert!(MAX_BODY_REQUESTS * MAX_RANGE_BYTES <= 32 * 1024 * 1024);
    assert!(REQUEST_TIMEOUT_MS / PATIENCE_MS < MAX_WALKS as u64);
    assert!(PATIENCE_MS < REQUEST_TIMEOUT_MS && REQUEST_TIMEOUT_MS < STALL_MS);
};

/// Returns true if sync made this request id.
#[must_use]
pub(crate) const fn owns_request(id: u64) -> bool {
    id >> 56 == REQUEST_SPACE >> 56
}
