//! What the relay is told, what it asks for, and the types in both.

use std::sync::Arc;

use crate::{
    chain::api::{BlockAccepted, HeadersAccepted, Rebuilt, Refused, Tip},
    peers::Offence,
    primitives::{Block, BlockHash, Header, Height, PeerId, Transaction, TxId, UnixMillis},
    wire::{BlockGossip, RequestFailure, SyncRequest, SyncResponse, TradeGossip, Verdict},
};

/// What is published on the topics that the relay feeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    /// On the topic `blocks`.
    Block(BlockGossip),
    /// On the topic `trades`.
    Trade(TradeGossip),
}

/// What the relay is told. `M` is the network layer's name for a gossip message, which the relay
/// only hands back.
#[derive(Debug, Clone)]
pub enum RelayEvent<M> {
    /// Our miner has solved a block; the chain has not accepted it yet.
    Solved {
        /// Its header.
        header: Box<Header>,
    },
    /// The best chain changed.
    TipChanged {
        /// The new tip.
        tip: Tip,
        /// The best header: the tip itself unless bodies are still to come.
        best_header: Tip,
        /// Blocks that joined, oldest first.
        connected: Vec<(BlockHash, Height)>,
        /// Transactions that they mined.
        mined: Vec<TxId>,
    },
    /// The answer to [`RelayAction::FetchBlock`].
    BlockLoaded {
        /// Which.
        hash: BlockHash,
        /// It, if it is still stored.
        block: Option<Arc<Block>>,
    },
    /// Gossip on the topic `blocks`.
    BlockGossip {
        /// Who passed it on.
        peer: PeerId,
        /// Which message.
        message: M,
        /// What it says.
        gossip: BlockGossip,
    },
    /// Gossip on the topic `trades`.
    TradeGossip {
        /// Who passed it on.
        peer: PeerId,
        /// Which message.
        message: M,
        /// What it says.
        gossip: TradeGossip,
    },
    /// The answer to [`RelayAction::CheckSolved`].
    SolvedChecked {
        /// Of the header.
        hash: BlockHash,
        /// Whether its proof of work, bits and time are right on our tip.
        result: Result<(), Refused>,
    },
    /// The answer to [`RelayAction::AcceptHeader`].
    HeaderDone {
        /// Of the header.
        hash: BlockHash,
        /// What the chain said.
        result: Result<HeadersAccepted, Refused>,
    },
    /// The answer to [`RelayAction::Rebuild`].
    Rebuilt {
        /// Of the block.
        hash: BlockHash,
        /// What the mempool gave.
        rebuilt: Rebuilt,
    },
    /// The answer to [`RelayAction::AcceptBlock`].
    BlockDone {
        /// Which.
        hash: BlockHash,
        /// What the chain said.
        result: Result<BlockAccepted, Refused>,
    },
    /// The answer to [`RelayAction::AcceptTrade`].
    TradeDone {
        /// Which.
        txid: TxId,
        /// What the chain said.
        result: Result<(), Refused>,
    },
    /// A trade entered the mempool, from wherever; at start, also each that is there already.
    TradeAdded {
        /// Its id.
        txid: TxId,
        /// It.
        transaction: Arc<Transaction>,
        /// When it entered.
        added: UnixMillis,
        /// Whether it was made on this node.
        local: bool,
    },
    /// A trade left the mempool without being mined.
    TradeGone {
        /// Its id.
        txid: TxId,
    },
    /// A request has ended.
    Response {
        /// As in [`RelayAction::Request`].
        id: u64,
        /// What came of it.
        result: Result<SyncResponse, RequestFailure>,
    },
    /// The last connection to a peer is down.
    PeerGone {
        /// Who.
        peer: PeerId,
    },
    /// Time has passed; about four times a second.
    Tick,
}

/// What the relay asks for. `M` as in [`RelayEvent`].
#[derive(Debug, Clone)]
pub enum RelayAction<M> {
    /// Publish.
    Publish {
        /// What, on the topic of its kind.
        announcement: Announcement,
    },
    /// The verdict on a message; exactly one each.
    Verdict {
        /// Which.
        message: M,
        /// What to do with it.
        verdict: Verdict,
    },
    /// Check a header on the tip without storing it.
    CheckSolved {
        /// Its parent is the tip, as far as the relay knows.
        header: Box<Header>,
    },
    /// Let the miners rest: somebody has solved a child of this block, and its body is on the way.
    PauseMining {
        /// The tip that the pause is about: void when it changes.
        parent: BlockHash,
        /// For how long, in ms.
        ms: u64,
    },
    /// Hand a header to the chain.
    AcceptHeader {
        /// From whom.
        peer: PeerId,
        /// It.
        header: Box<Header>,
    },
    /// Rebuild a block from the mempool.
    Rebuild {
        /// Its name.
        hash: BlockHash,
        /// Its header.
        header: Box<Header>,
        /// Its coinbase.
        coinbase: Box<Transaction>,
        /// Short ids of the rest, in order.
        short_ids: Vec<[u8; 6]>,
    },
    /// Ask a peer; answered by exactly one [`RelayEvent::Response`].
    Request {
        /// Whom.
        peer: PeerId,
        /// Never used twice; [`owns_request`](super::owns_request) holds for it.
        id: u64,
        /// What.
        request: SyncRequest,
    },
    /// Hand a block to the chain.
    AcceptBlock {
        /// Who announced it or sent its last part.
        peer: PeerId,
        /// Its merkle root is right; nothing else is checked.
        block: Box<Block>,
    },
    /// Hand a trade to the chain.
    AcceptTrade {
        /// From whom.
        peer: PeerId,
        /// Decoded; nothing else is checked.
        transaction: Box<Transaction>,
    },
    /// Read a block from the store.
    FetchBlock {
        /// Which.
        hash: BlockHash,
    },
    /// Say hello again to a peer that seems to be ahead, so that sync learns how far it is.
    AskStatus {
        /// To whom.
        peer: PeerId,
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
}

/// What a relay is made with.
#[derive(Debug, Clone, Copy)]
pub struct RelayConfig {
    /// The network's spacing in ms: pauses and announcements are measured by it.
    pub spacing_ms: u64,
    /// The chain's tip at the start.
    pub tip: Tip,
}
