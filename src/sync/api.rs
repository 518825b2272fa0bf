//! The events that sync handles, the actions that it emits, and their types.

use std::{fmt, net::IpAddr};

use crate::{
    chain::api::{BlockAccepted, HeaderContext, HeadersAccepted, Refused, Tip},
    consensus::Work,
    peers::{Offence, Trust},
    primitives::{Block, BlockHash, Header, Height, Moment, PeerId, Transaction, TxId},
    wire::{RequestFailure, Status, SyncRequest, SyncResponse},
};

/// The state of synchronisation, as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// The node has just started, and no peer has sent its Status.
    Starting,
    /// A better chain is known, and sync is fetching it.
    Syncing,
    /// No better chain is known. [`Progress::confirmed`] says how many peers confirm that.
    Synced,
    /// A peer claims a better chain, but sync cannot fetch it: [`Progress::obstacle`] says why.
    Stalled,
    /// No peer is connected.
    Alone,
    /// A better branch forks off too deep to be taken without the user's consent. The node keeps
    /// following its own branch.
    Diverged,
}

impl Phase {
    /// All phases, for metrics.
    pub(crate) const ALL: [Self; 6] =
        [Self::Starting, Self::Syncing, Self::Synced, Self::Stalled, Self::Alone, Self::Diverged];

    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Syncing => "syncing",
            Self::Synced => "synced",
            Self::Stalled => "stalled",
            Self::Alone => "alone",
            Self::Diverged => "diverged",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The reason why sync cannot fetch the better chain that a peer claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Obstacle {
    /// No peer sends the headers of the chain that it claims.
    Headers,
    /// No peer sends the bodies of headers that are known to be valid.
    Bodies,
    /// A friend's branch forks off too far below our tip, or has less work than claimed.
    Branch,
}

impl Obstacle {
    /// Returns the obstacle as a clause, for `status`.
    #[must_use]
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Headers => "a better chain is claimed, but nobody sends its headers",
            Self::Bodies => "a better chain is claimed, but nobody sends its blocks",
            Self::Branch => {
                "a friend's branch leaves ours too far below, or has less work than claimed"
            }
        }
    }
}

/// The state of synchronisation in numbers, for `status`, progress bars and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) phase: Phase,
    /// The tip's height.
    pub(crate) height: Height,
    pub(crate) best_header_height: Height,
    /// The height at which the sync is complete: the highest claim that counts.
    pub(crate) target_height: Height,
    /// The rate over the last interval of at least 2 s; 0 unless syncing.
    pub(crate) blocks_per_second: u64,
    /// The time left at that rate; `None` if the rate is 0.
    pub(crate) seconds_left: Option<u64>,
    /// The number of connected friends and proven peers that claim no better chain than ours. A
    /// proven peer delivered valid headers or blocks that this node lacked.
    pub(crate) confirmed: usize,
    /// True if there is any friend, connected or not.
    pub(crate) has_friends: bool,
    /// The reason for [`Phase::Stalled`]; `None` in other phases.
    pub(crate) obstacle: Option<Obstacle>,
}

/// The result of a user's `sync` command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyncReport {
    pub(crate) outcome: SyncOutcome,
    /// The number of peers that were asked for their Status.
    pub(crate) asked: usize,
    /// The number of peers that replied.
    pub(crate) answered: usize,
    /// The number of blocks accepted since the command.
    pub(crate) blocks: u64,
    /// The number of trades accepted since the command.
    pub(crate) trades: u64,
    /// The tip's height at the end.
    pub(crate) height: Height,
    /// The tip at the end.
    pub(crate) tip: BlockHash,
}

/// The outcome of a user's `sync` command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SyncOutcome {
    /// Nothing is left to fetch.
    UpToDate,
    /// No peer was connected.
    NoPeers,
    /// None of the peers replied.
    NoAnswer,
    /// A peer claims a better chain, and there has been no progress for 30 s.
    Stalled,
    /// Both branches are stored, and the user has to choose one.
    Diverged,
    /// Too many `sync` commands are under way.
    Busy,
}

/// An input to the sync machine.
#[derive(Debug, Clone)]
pub(crate) enum SyncEvent {
    /// A peer sent its Status: in its own hello, or in reply to ours.
    PeerStatus {
        peer: PeerId,
        /// The Status, already checked to be of our network.
        status: Box<Status>,
    },
    /// A peer's address belongs to this network, as in [`site_group`](crate::peers::site_group).
    /// The node sends it after the peer's Status. A peer behind a relay belongs to the relay's.
    PeerAt { peer: PeerId, site: IpAddr },
    /// A [`SyncAction::SendStatus`] got no reply.
    StatusFailed { peer: PeerId },
    /// The last connection to a peer went down.
    PeerGone { peer: PeerId },
    /// A request has ended.
    Response {
        /// The id of the [`SyncAction::Request`].
        id: u64,
        result: Result<SyncResponse, RequestFailure>,
    },
    /// The reply to [`SyncAction::FetchLocator`].
    Locator {
        /// The peer of the walk that needs the locator.
        peer: PeerId,
        /// Blocks of the best header chain, newest first. Empty if the locator could not be read.
        hashes: Vec<BlockHash>,
    },
    /// The reply to [`SyncAction::FetchMissing`].
    Missing {
        /// The number of the read.
        read: u64,
        /// Blocks of the best header chain without a stored body, lowest first.
        blocks: Vec<(BlockHash, Height)>,
    },
    /// The reply to [`SyncAction::AcceptHeaders`].
    HeadersDone {
        /// The peer that sent the headers.
        peer: PeerId,
        /// The number of the walk.
        walk: u64,
        result: Result<HeadersAccepted, Refused>,
    },
    /// The reply to [`SyncAction::HeaderContext`].
    HeaderContext {
        peer: PeerId,
        /// `None` if the header is unknown or invalid, or could not be read.
        context: Option<Box<HeaderContext>>,
    },
    /// The reply to [`SyncAction::CheckHeaders`].
    HeadersChecked {
        peer: PeerId,
        /// The context after the last header.
        result: Result<Box<HeaderContext>, Refused>,
    },
    /// The relay found that a peer delivered a block that this node lacked.
    Delivered { peer: PeerId },
    /// The machine has woken from sleep, or its network has changed. Sync repeats all requests, and
    /// charges no peer for them.
    Woke,
    /// More bytes of an incomplete response have arrived.
    Grows {
        /// The id of the [`SyncAction::Request`].
        id: u64,
        /// The bytes so far.
        bytes: usize,
    },
    /// The reply to [`SyncAction::AcceptBlocks`], in its order.
    BlocksDone { results: Vec<(BlockHash, Result<BlockAccepted, Refused>)> },
    /// The reply to [`SyncAction::FilterTrades`].
    UnknownTrades {
        peer: PeerId,
        /// The ids that are neither in the mempool nor on the chain, in the order given.
        ids: Vec<TxId>,
    },
    /// The reply to [`SyncAction::AcceptTrade`].
    TradeDone { txid: TxId, result: Result<(), Refused> },
    /// The chain's durable state changed.
    Summary {
        /// The best connected block.
        tip: Tip,
        best_header: Tip,
        /// True if the best header is on a branch that the chain takes only with the user's
        /// consent.
        diverged: bool,
    },
    /// The user gave a `sync` command.
    SyncNow {
        /// The id of the command, returned in [`SyncAction::SyncDone`].
        ticket: u64,
        /// The peer to ask; all peers if `None`.
        peer: Option<PeerId>,
    },
    /// Time has passed. The node sends about four ticks a second.
    Tick,
}

/// An output of the sync machine.
#[derive(Debug, Clone)]
pub(crate) enum SyncAction {
    /// Send a request to a peer. Exactly one [`SyncEvent::Response`] answers it, possibly after
    /// sync has given the request up.
    Request {
        peer: PeerId,
        /// A unique id, for which [`owns_request`](super::owns_request) holds.
        id: u64,
        request: SyncRequest,
    },
    /// Send our Status to a peer, which replies with its own. The answer is `PeerStatus` or
    /// `StatusFailed`.
    SendStatus { peer: PeerId },
    /// Read our locator from the store.
    FetchLocator {
        /// The peer to return in the reply.
        peer: PeerId,
    },
    /// List the bodies that the best header chain lacks.
    FetchMissing {
        /// The number to return in the reply.
        read: u64,
        /// The maximum number of blocks in the reply.
        limit: usize,
    },
    /// Ask the chain which of these trades are new.
    FilterTrades {
        /// The peer to return in the reply.
        peer: PeerId,
        /// At most [`MAX_MEMPOOL_IDS`](crate::wire::limits::MAX_MEMPOOL_IDS) ids.
        ids: Vec<TxId>,
    },
    /// Hand headers to the chain.
    AcceptHeaders {
        /// The peer that sent them.
        peer: PeerId,
        /// The number of the walk, to return in the reply.
        walk: u64,
        /// Headers of which each is the parent of the next.
        headers: Vec<Header>,
        /// The work that the sender's branch has shown in a presync.
        shown: Option<Work>,
    },
    /// Read a known header with the window for its children.
    HeaderContext {
        /// The peer to return in the reply.
        peer: PeerId,
        hash: BlockHash,
    },
    /// Check headers without storing them, by [`check_branch`](super::check_branch).
    CheckHeaders {
        /// The peer that sent them.
        peer: PeerId,
        /// The context of the first header.
        context: Box<HeaderContext>,
        headers: Vec<Header>,
    },
    /// Take a header out of the choice of the best header until its body comes.
    Withhold { hash: BlockHash },
    /// Pause mining for a moment: the chain accepted a body of a branch better than its tip.
    SuspendMining,
    /// A peer has delivered valid headers or blocks that this node lacked. Repeated at most once a
    /// minute for each peer.
    Proven { peer: PeerId },
    /// Disconnect a stranger that announced blocks and did not deliver them.
    Disconnect { peer: PeerId },
    /// Hand blocks to the chain, parents first.
    AcceptBlocks {
        /// At most [`MAX_HANDOVER`](super::MAX_HANDOVER) decoded blocks with the requested hashes,
        /// each with the peer that sent it. Nothing else has been checked.
        blocks: Vec<(PeerId, Box<Block>)>,
    },
    /// Hand a trade to the chain.
    AcceptTrade {
        /// The peer that sent it.
        peer: PeerId,
        /// A decoded trade with the requested id. Nothing else has been checked.
        transaction: Box<Transaction>,
    },
    /// Charge a peer with an offence.
    Penalise {
        peer: PeerId,
        offence: Offence,
        /// The fault that was found, as a sentence.
        reason: String,
    },
    /// A user's `sync` command has ended.
    SyncDone {
        /// The id from [`SyncEvent::SyncNow`].
        ticket: u64,
        report: SyncReport,
    },
    /// The phase changed to `phase`.
    PhaseChanged { phase: Phase },
}

/// The configuration of a sync machine.
#[derive(Debug, Clone)]
pub(crate) struct SyncConfig {
    /// The work of the invite's checkpoint, or zero. With less work than this the node is not
    /// synced, whatever its peers claim.
    pub(crate) min_work: Work,
    /// The chain's tip at the start.
    pub(crate) tip: Tip,
    /// The chain's best header at the start.
    pub(crate) best_header: Tip,
    /// True if the best header is on a branch that the chain takes only with the user's consent.
    pub(crate) diverged: bool,
    /// The levels of trust. Friends are asked first.
    pub(crate) trust: Trust,
    /// A secret random number, from which the bits of each presync are derived.
    pub(crate) secret: u64,
    /// The time at the start.
    pub(crate) now: Moment,
}
