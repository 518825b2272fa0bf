//! Catching up: headers first, then bodies from several peers at once, then the trades that wait.
//!
//! [`Sync`] is a state machine without sockets, disk or clock. The node task owns it, feeds it
//! every [`SyncEvent`] together with the time, and carries out each [`SyncAction`] in order; what
//! needs the disk (locators, missing bodies) or the chain thread comes back later as another event.
//! Nothing else may call it.
//!
//! # What it does
//! 1. A peer's Status claims a better chain than our best header: a *walk* with it begins. Our
//!    locator is read, headers are asked for, checked for following each other, and handed to the
//!    chain, until they reach the claim.
//! 2. The bodies that the best header chain lacks are fetched: a *window* of the lowest of them, in
//!    batches, from every peer that is far enough, and handed to the chain parents first. A batch
//!    that holds up the window is asked of a second peer.
//! 3. Nothing better is claimed: each new peer is asked once which trades wait, and the new ones
//!    are fetched.
//!
//! # Invariants
//! - Every request ends exactly once: by its response, its failure, its time-out, or its peer's
//!   going. An answer to a request that is over is ignored.
//! - A body is buffered or handed over only when it was asked for; how many may be so at once is
//!   bounded in count and bytes.
//! - No peer can hold the others up for longer than [a time-out](REQUEST_TIMEOUT_MS) at a step, and
//!   less often each time.
//! - While the chain is diverged, the bodies of the branch that is not taken are fetched once, so
//!   that it can be, and our own branch is kept up with.
//! - After a restart nothing is remembered and nothing needs to be: the store says which bodies are
//!   missing.

mod api;
mod bodies;
mod fetch;
mod headers;
mod machine;
mod meter;
mod peer;
mod phase;
mod requests;
#[cfg(test)]
mod simulation;
mod ticket;
mod trades;
mod visits;

pub use api::{Phase, Progress, SyncAction, SyncConfig, SyncEvent, SyncOutcome, SyncReport};
pub use machine::Sync;

use crate::wire::limits::{GET_DATA_BUDGET, MAX_BLOCK_BYTES, MAX_GET_DATA};

/// Sync's request ids lie in this range of 2⁵⁶, so that a response finds its machine by its number.
const REQUEST_SPACE: u64 = 1 << 56;

/// How long a request may take, in ms: the largest response over a megabit a second and then some.
pub const REQUEST_TIMEOUT_MS: u64 = 20_000;
/// After this long without an answer a second peer is asked for the same headers, or for the bodies
/// that hold up the window, in ms.
const PATIENCE_MS: u64 = 3_000;
/// How long a local read or the chain may take before it is asked again, in ms; it answers unless
/// something is broken.
const LOCAL_TIMEOUT_MS: u64 = 120_000;
/// The first pause after a time-out or refusal, in ms; it doubles with each further one in a row.
const BACK_OFF_MS: u64 = 5_000;
/// How often the pause doubles at most: 5 s become 160 s.
const MAX_DOUBLINGS: u32 = 5;
/// The pause after something that only a broken or lying peer sends, in ms.
const DISTRUST_MS: u64 = 60_000;
/// The pause after an answer of Busy, in ms.
const BUSY_MS: u64 = 1_000;
/// The pause for bodies after an answer without any of those asked for, in ms: the peer is on
/// another branch.
const ELSEWHERE_MS: u64 = 10_000;
/// Failures in a row after which a peer is no longer asked for its waiting trades; gossip brings
/// them too.
const MAX_VISIT_FAILURES: u32 = 3;

/// Peers that are kept track of; the network layer allows fewer connections.
const MAX_PEERS: usize = 256;
/// Header walks at once: another begins only when all of them have kept us waiting, so there are
/// hardly more before the first one times out.
const MAX_WALKS: usize = 8;

/// Bodies that are wanted at once, beyond the connected tip: 32 requests of 16.
const WINDOW: usize = 512;
/// Blocks in one request.
const MAX_BATCH: usize = 16;
/// Body requests in flight to one peer; more than a few do not make one connection faster.
const MAX_REQUESTS_PER_PEER: usize = 2;
/// Body requests in flight to all peers, but for those that keep us waiting: at most 32 MiB of
/// answers on the way.
const MAX_BODY_REQUESTS: usize = 8;
/// Bodies that wait for their parents, or to be asked for, in bytes. The lowest one wanted is
/// fetched even beyond it.
const MAX_BUFFERED_BYTES: usize = 32 * 1024 * 1024;
/// Blocks handed to the chain and not yet answered.
const MAX_HANDED: usize = 128;
/// The same, in bytes; one block is handed over even beyond it. Enough for the chain to write one
/// batch of full blocks while it connects the next.
const MAX_HANDED_BYTES: usize = 48 * 1024 * 1024;
/// How long an accepted block is not asked for again although the store still lists it, in ms: its
/// commit may be on the way.
const SETTLE_MS: u64 = 30_000;
/// Accepted blocks that are remembered so.
const MAX_SETTLING: usize = 4_096;
/// The least time between two reads of the missing bodies, in ms, unless the last one is known to
/// be stale.
const MISSING_INTERVAL_MS: u64 = 100;
/// How long the relay has to bring the bodies of headers that it announced, before sync fetches
/// them, in ms.
const RELAY_GRACE_MS: u64 = 2_000;

/// Trades in one request.
const MAX_TRADE_BATCH: usize = 64;

/// How long a node may call itself starting without a peer, in ms.
const START_MS: u64 = 10_000;
/// Without progress for this long although behind, sync is stalled; then everything is asked again
/// so often, in ms.
const STALL_MS: u64 = 30_000;
/// A synced node that lags no more than this many blocks for no more than [`LAG_MS`] is still
/// synced: blocks take a moment.
const LAG_BLOCKS: u32 = 2;
/// See [`LAG_BLOCKS`].
const LAG_MS: u64 = 2_000;
/// How often progress is logged, in ms.
const PROGRESS_MS: u64 = 2_000;
/// After so many blocks it is logged before its time: a quick sync is to be seen too.
const PROGRESS_BLOCKS: u64 = 1_000;
/// How long after a new tip the peers are told, in ms: by gossip most have it by then.
const NEWS_MS: u64 = 1_000;
/// The same while syncing.
const NEWS_SYNCING_MS: u64 = 10_000;
/// A peer that has said nothing for so long is asked again, in ms: news get lost.
const REFRESH_MS: u64 = 60_000;
/// A peer that has not answered for so long is forgotten, in ms: it went unnoticed.
const SILENT_MS: u64 = 5 * REFRESH_MS;
/// How long a user's `sync` waits for the peers' answers to our Status, in ms.
const STATUS_TIMEOUT_MS: u64 = 10_000;
/// `sync` commands at once.
const MAX_TICKETS: usize = 64;

const _: () = {
    assert!(MAX_BATCH <= MAX_GET_DATA && MAX_TRADE_BATCH <= MAX_GET_DATA);
    assert!(MAX_BODY_REQUESTS * (GET_DATA_BUDGET + MAX_BLOCK_BYTES) <= 32 * 1024 * 1024);
    assert!(REQUEST_TIMEOUT_MS / PATIENCE_MS < MAX_WALKS as u64);
    assert!(PATIENCE_MS < REQUEST_TIMEOUT_MS && REQUEST_TIMEOUT_MS < STALL_MS);
};

/// Whether a request id is of sync's making.
#[must_use]
pub const fn owns_request(id: u64) -> bool {
    id >> 56 == REQUEST_SPACE >> 56
}
