//! The events that the relay handles, the actions that it emits, and their types.

use std::sync::Arc;

use crate::{
    chain::api::{BlockAccepted, HeadersAccepted, Rebuilt, Refused, Tip},
    peers::{Offence, Trust},
    primitives::{
        Block, BlockHash, Header, Height, Moment, PeerId, SHORT_ID_BYTES, Transaction, TxId,
    },
    wire::{BlockGossip, RequestFailure, SyncRequest, SyncResponse, Topic, TradeGossip, Verdict},
};

/// A message to publish, on the topic of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Announcement {
    /// A message on the topic `blocks`.
    Block(BlockGossip),
    /// A message on the topic `trades`.
    Trade(TradeGossip),
}

/// An input to the relay. `M` is the network layer's id of a gossip message, which the relay only
/// returns.
#[derive(Debug, Clone)]
pub(crate) enum RelayEvent<M> {
    /// Our miner has solved a block. The chain has not accepted it yet.
    Solved { header: Box<Header> },
    /// The best chain changed.
    TipChanged {
        /// The new tip.
        tip: Tip,
        /// The best header. It differs from the tip while bodies are missing.
        best_header: Tip,
        /// The newly connected blocks, oldest first.
        connected: Vec<(BlockHash, Height)>,
        /// The transactions that they mined.
        mined: Vec<TxId>,
    },
    /// The reply to [`RelayAction::FetchBlock`].
    BlockLoaded {
        hash: BlockHash,
        /// The block; `None` if it is no longer stored.
        block: Option<Arc<Block>>,
    },
    /// A gossip message on the topic `blocks`.
    BlockGossip {
        /// The peer that forwarded the message.
        peer: PeerId,
        message: M,
        gossip: BlockGossip,
    },
    /// A gossip message on the topic `trades`.
    TradeGossip {
        /// The peer that forwarded the message.
        peer: PeerId,
        message: M,
        gossip: TradeGossip,
    },
    /// The reply to [`RelayAction::CheckSolved`].
    SolvedChecked {
        hash: BlockHash,
        /// An error if the header's work, bits or time are wrong on our tip.
        result: Result<(), Refused>,
    },
    /// The reply to [`RelayAction::AcceptHeader`].
    HeaderDone { hash: BlockHash, result: Result<HeadersAccepted, Refused> },
    /// The reply to [`RelayAction::Rebuild`].
    Rebuilt { hash: BlockHash, rebuilt: Rebuilt },
    /// The reply to [`RelayAction::AcceptBlock`].
    BlockDone { hash: BlockHash, result: Result<BlockAccepted, Refused> },
    /// The reply to [`RelayAction::AcceptTrades`].
    TradesDone {
        id: u64,
        /// The result of each transaction, in their order.
        results: Vec<Result<(), Refused>>,
    },
    /// A trade entered the mempool. At start, the node also sends one for each mempool entry.
    TradeAdded {
        txid: TxId,
        transaction: Arc<Transaction>,
        /// The time at which the trade entered.
        added: Moment,
        /// True if the trade was made on this node.
        local: bool,
        /// True if the trade pays less than the mempool's paying rate.
        free: bool,
    },
    /// A trade left the mempool without being mined.
    TradeGone { txid: TxId },
    /// A request has ended.
    Response {
        /// The id of the [`RelayAction::Request`].
        id: u64,
        result: Result<SyncResponse, RequestFailure>,
    },
    /// Sync found that a peer has proven itself.
    Proven { peer: PeerId },
    /// The last connection to a peer went down.
    PeerGone { peer: PeerId },
    /// Time has passed. The node sends about four ticks a second.
    Tick,
}

/// An output of the relay. `M` is as in [`RelayEvent`].
#[derive(Debug, Clone)]
pub(crate) enum RelayAction<M> {
    /// Publish a message.
    Publish { announcement: Announcement },
    /// Give the verdict on a gossip message. Each message gets exactly one.
    Verdict { message: M, verdict: Verdict },
    /// Check a header on the tip without storing it.
    CheckSolved {
        /// A header whose parent is the tip, as far as the relay knows.
        header: Box<Header>,
    },
    /// Pause mining for a moment: the chain accepted a body of a branch better than its tip.
    SuspendMining,
    /// Tell sync that a peer delivered a block that this node lacked.
    Delivered { peer: PeerId },
    /// Hand a header to the chain.
    AcceptHeader {
        /// The peer that announced it.
        peer: PeerId,
        header: Box<Header>,
    },
    /// Rebuild a block from the mempool.
    Rebuild {
        hash: BlockHash,
        header: Box<Header>,
        coinbase: Box<Transaction>,
        /// The short ids of the other transactions, in order.
        short_ids: Vec<[u8; SHORT_ID_BYTES]>,
    },
    /// Send a request to a peer. Exactly one [`RelayEvent::Response`] answers it.
    Request {
        peer: PeerId,
        /// A unique id, for which [`owns_request`](super::owns_request) holds.
        id: u64,
        request: SyncRequest,
    },
    /// Hand a block to the chain.
    AcceptBlock {
        /// The peer that sent its last part, or else its announcer.
        peer: PeerId,
        /// A block with a correct merkle root. Nothing else has been checked.
        block: Box<Block>,
    },
    /// Hand trades to the chain, one after the other. Exactly one [`RelayEvent::TradesDone`]
    /// answers.
    AcceptTrades {
        id: u64,
        /// The peer that forwarded them.
        peer: PeerId,
        /// Decoded trades. Nothing else has been checked.
        transactions: Vec<Transaction>,
    },
    /// Read a block from the store.
    FetchBlock { hash: BlockHash },
    /// Send our Status to a peer that seems to be ahead. Sync gets the peer's Status in reply.
    AskStatus { peer: PeerId },
    /// Refuse a peer's gossip on a topic for some time, before gossipsub remembers it. The same
    /// messages may still come from others.
    Mute { peer: PeerId, topic: Topic, ms: u64 },
    /// Charge a peer with an offence.
    Penalise {
        peer: PeerId,
        offence: Offence,
        /// The fault that was found, as a sentence.
        reason: String,
    },
}

/// The configuration of a relay.
#[derive(Debug, Clone)]
pub(crate) struct RelayConfig {
    /// The network's block spacing, in ms. Announcement intervals depend on it.
    pub(crate) spacing_ms: u64,
    /// The chain's tip at the start.
    pub(crate) tip: Tip,
    /// The levels of trust. Friends come first where room is short.
    pub(crate) trust: Trust,
    /// The seed of the times at which trades are announced. It must be secret.
    pub(crate) seed: u64,
}
