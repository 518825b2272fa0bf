//! What sync is told, what it asks for, and the types in both.

use std::fmt;

use crate::{
    chain::api::{BlockAccepted, HeadersAccepted, Refused, Tip},
    consensus::Work,
    peers::Offence,
    primitives::{Block, BlockHash, Header, Height, PeerId, Transaction, TxId, UnixMillis},
    wire::{RequestFailure, Status, SyncRequest, SyncResponse},
};

/// How far this node is, as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Just started: no peer has said how far it is.
    Starting,
    /// A peer has a better chain, and it is being fetched.
    Syncing,
    /// No peer claims a better chain than ours.
    Synced,
    /// A peer claims a better chain, and nothing has moved for a while.
    Stalled,
    /// No peer is connected.
    Alone,
    /// A better branch forks off too deep to be followed without a person's word; our own goes on
    /// meanwhile.
    Diverged,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Starting, Self::Syncing, Self::Synced, Self::Stalled, Self::Alone, Self::Diverged];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
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

/// How far this node is, in numbers: for `status`, bars and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The word for it.
    pub phase: Phase,
    /// Of the tip.
    pub height: Height,
    /// Of the best header.
    pub best_header_height: Height,
    /// Over the last interval of two seconds or more; 0 when not syncing.
    pub blocks_per_second: u64,
    /// At that rate; `None` when it is 0.
    pub seconds_left: Option<u64>,
}

/// What came of a user's `sync`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncReport {
    /// Whether everything that the asked peers have is here now.
    pub outcome: SyncOutcome,
    /// How many peers were asked.
    pub asked: usize,
    /// How many of them answered.
    pub answered: usize,
    /// How many blocks came since the command.
    pub blocks: u64,
    /// How many trades came since the command.
    pub trades: u64,
    /// Of the tip now.
    pub height: Height,
    /// The tip now.
    pub tip: BlockHash,
}

/// How a user's `sync` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncOutcome {
    /// Nothing is left to fetch.
    UpToDate,
    /// Nobody was there to ask.
    NoPeers,
    /// None of the peers answered.
    NoAnswer,
    /// A better chain is claimed, but nothing has moved for a while.
    Stalled,
    /// All is here, and a person has to choose between two branches.
    Diverged,
    /// Too many `sync` commands are under way.
    Busy,
}

/// What sync is told.
#[derive(Debug, Clone)]
pub enum SyncEvent {
    /// A peer said how far it is: its hello, or its answer to ours.
    PeerStatus {
        /// Who.
        peer: PeerId,
        /// What it said; of our network.
        status: Box<Status>,
    },
    /// A [`SyncAction::SendStatus`] came to nothing.
    StatusFailed {
        /// Who did not answer.
        peer: PeerId,
    },
    /// The last connection to a peer is down.
    PeerGone {
        /// Who.
        peer: PeerId,
    },
    /// A request has ended.
    Response {
        /// As in [`SyncAction::Request`].
        id: u64,
        /// What came of it.
        result: Result<SyncResponse, RequestFailure>,
    },
    /// The answer to [`SyncAction::FetchLocator`]; empty when it could not be read.
    Locator {
        /// For the walk with this peer.
        peer: PeerId,
        /// Of the best header chain, newest first.
        hashes: Vec<BlockHash>,
    },
    /// The answer to [`SyncAction::FetchMissing`].
    Missing {
        /// As in the action.
        read: u64,
        /// Blocks of the best header chain without a stored body, lowest first.
        blocks: Vec<(BlockHash, Height)>,
    },
    /// The answer to [`SyncAction::AcceptHeaders`].
    HeadersDone {
        /// Whose headers.
        peer: PeerId,
        /// What the chain said.
        result: Result<HeadersAccepted, Refused>,
    },
    /// The answer to [`SyncAction::AcceptBlock`].
    BlockDone {
        /// Which.
        hash: BlockHash,
        /// What the chain said.
        result: Result<BlockAccepted, Refused>,
    },
    /// The answer to [`SyncAction::FilterTrades`].
    UnknownTrades {
        /// Whose.
        peer: PeerId,
        /// Those of the ids that are neither in the mempool nor on the chain, in the order given.
        ids: Vec<TxId>,
    },
    /// The answer to [`SyncAction::AcceptTrade`].
    TradeDone {
        /// Which.
        txid: TxId,
        /// What the chain said.
        result: Result<(), Refused>,
    },
    /// The chain's durable state moved.
    Summary {
        /// The best connected block.
        tip: Tip,
        /// The best header.
        best_header: Tip,
        /// Whether it is on a branch that is not taken without a person's word.
        diverged: bool,
    },
    /// The user's `sync`.
    SyncNow {
        /// Names the command in [`SyncAction::SyncDone`].
        ticket: u64,
        /// Whom to ask; all when none.
        peer: Option<PeerId>,
    },
    /// Time has passed; about four times a second.
    Tick,
}

/// What sync asks for.
#[derive(Debug, Clone)]
pub enum SyncAction {
    /// Ask a peer; answered by exactly one [`SyncEvent::Response`], which may come too late to
    /// matter.
    Request {
        /// Whom.
        peer: PeerId,
        /// Never used twice; [`owns_request`](super::owns_request) holds for it.
        id: u64,
        /// What.
        request: SyncRequest,
    },
    /// Say hello (again): our Status, for the peer's. Answered by `PeerStatus` or `StatusFailed`.
    SendStatus {
        /// To whom.
        peer: PeerId,
    },
    /// Read our locator from the store.
    FetchLocator {
        /// Returned in the answer.
        peer: PeerId,
    },
    /// Read which bodies are missing.
    FetchMissing {
        /// Returned in the answer.
        read: u64,
        /// How many at most.
        limit: usize,
    },
    /// Ask the chain which of these trades are new.
    FilterTrades {
        /// Returned in the answer.
        peer: PeerId,
        /// At most [`MAX_MEMPOOL_IDS`](crate::wire::limits::MAX_MEMPOOL_IDS).
        ids: Vec<TxId>,
    },
    /// Hand headers to the chain.
    AcceptHeaders {
        /// From whom.
        peer: PeerId,
        /// Each the parent of the next.
        headers: Vec<Header>,
    },
    /// Hand a block to the chain.
    AcceptBlock {
        /// From whom.
        peer: PeerId,
        /// Decoded, and with the hash that was asked for; nothing else is checked.
        block: Box<Block>,
    },
    /// Hand a trade to the chain.
    AcceptTrade {
        /// From whom.
        peer: PeerId,
        /// Decoded, and with the id that was asked for; nothing else is checked.
        transaction: Box<Transaction>,
    },
    /// Lower a peer's score.
    Penalise {
        /// Whose.
        peer: PeerId,
        /// For what.
        offence: Offence,
        /// What was wrong, as a sentence.
        reason: String,
    },
    /// The user's `sync` has ended.
    SyncDone {
        /// As in [`SyncEvent::SyncNow`].
        ticket: u64,
        /// What came of it.
        report: SyncReport,
    },
    /// The phase changed.
    PhaseChanged {
        /// To this.
        phase: Phase,
    },
}

/// What a sync machine is made with.
#[derive(Debug, Clone, Copy)]
pub struct SyncConfig {
    /// The work of the invite's checkpoint, or zero: with less than this the node is not synced,
    /// whatever its peers say.
    pub min_work: Work,
    /// The chain's tip at the start.
    pub tip: Tip,
    /// The chain's best header at the start.
    pub best_header: Tip,
    /// Whether it is on a branch that is not taken without a person's word.
    pub diverged: bool,
    /// The time at the start.
    pub now: UnixMillis,
}
