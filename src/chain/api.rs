//! What the chain is asked, what it answers, and what it tells unasked: the arrows to and from the
//! chain thread.

use std::{fmt, sync::Arc};

use tokio::sync::{mpsc, oneshot};

use super::{
    errors::{
        AcceptBlockError, AcceptBranchError, AcceptHeadersError, AcceptTradeError, ChainFault,
    },
    mempool::{FeeRate, Floor},
};
use crate::{
    consensus::{Blame, BlockError, Coin, Network, TransactionError, Work},
    primitives::{
        Amount, Block, BlockHash, Header, Height, OutPoint, Owner, PeerId, Transaction, TxId,
        UnixMillis,
    },
};

/// Where a block, header or trade came from: decides priority, blame and whether it is ours to
/// keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Made on this node (mined, submitted over RPC).
    Local,
    /// Sent by a peer.
    Peer(PeerId),
}

/// The end of the best chain, durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    pub hash: BlockHash,
    pub height: Height,
    /// Cumulative, genesis included.
    pub work: Work,
    /// The block's own time.
    pub time: UnixMillis,
}

/// What accepting headers changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadersAccepted {
    /// How many were new.
    pub new: usize,
    /// The last header of the batch.
    pub last: BlockHash,
    /// The header with the most work that is known and not invalid.
    pub best_header: Tip,
}

/// What accepting a block changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockAccepted {
    /// It is on the best chain now (possibly through a reorganisation, possibly with others that
    /// waited for it).
    Connected,
    /// It is stored on a branch with less work.
    SideBranch,
    /// Its parent's body is not here yet, or its time is ahead of our clock; it waits in memory.
    Waiting,
    /// It was here already.
    Known,
}

/// A refusal by the chain, reduced to what sync and relay decide by and log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The party at fault, which alone picks the penalty and the gossip verdict.
    pub(crate) blame: Blame,
    pub(crate) cause: RefusalCause,
    /// The error's stable name, for logs only.
    pub(crate) code: &'static str,
    /// The error as a sentence.
    pub(crate) reason: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.reason)
    }
}

/// The causes of a refusal that sync and relay handle in their own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusalCause {
    /// A block below this one is known to be invalid.
    InvalidBranch,
    /// The body is not the one that the header commits to.
    WrongMerkleRoot,
    /// A trade spends a coin that is unknown here. The parent trade may still be on its way.
    MissingCoin,
    /// Any other cause.
    Other,
}

impl From<AcceptHeadersError> for Refused {
    fn from(error: AcceptHeadersError) -> Self {
        let cause = match &error {
            AcceptHeadersError::InvalidBranch { .. } => RefusalCause::InvalidBranch,
            _ => RefusalCause::Other,
        };
        Self { blame: error.blame(), cause, code: error.code(), reason: error.to_string() }
    }
}

impl From<AcceptBlockError> for Refused {
    fn from(error: AcceptBlockError) -> Self {
        let cause = match &error {
            AcceptBlockError::InvalidBranch { .. } => RefusalCause::InvalidBranch,
            AcceptBlockError::Body { error: BlockError::WrongMerkleRoot { .. }, .. } => {
                RefusalCause::WrongMerkleRoot
            }
            _ => RefusalCause::Other,
        };
        Self { blame: error.blame(), cause, code: error.code(), reason: error.to_string() }
    }
}

impl From<AcceptTradeError> for Refused {
    fn from(error: AcceptTradeError) -> Self {
        let cause = match &error {
            AcceptTradeError::Transaction {
                error: TransactionError::MissingCoin { .. }, ..
            } => RefusalCause::MissingCoin,
            _ => RefusalCause::Other,
        };
        Self { blame: error.blame(), cause, code: error.code(), reason: error.to_string() }
    }
}

/// A transaction waiting in the mempool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MempoolEntry {
    pub transaction: Arc<Transaction>,
    pub txid: TxId,
    /// Inputs less outputs.
    pub fee: Amount,
    /// Encoded length, in bytes.
    pub bytes: usize,
    pub added: UnixMillis,
    /// Whether it was made on this node: such trades neither expire nor are evicted.
    pub local: bool,
    /// When it is forgotten, if it is not mined before; never, if it was made on this node.
    pub expires: Option<UnixMillis>,
}

impl MempoolEntry {
    /// What it pays for its length.
    #[must_use]
    pub fn rate(&self) -> FeeRate {
        FeeRate::of(self.fee, self.bytes)
    }
}

/// Why a trade left the mempool without being mined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// A block spent what it, or what it rests on, wanted to spend.
    Conflict,
    /// Another trade, which pays more, spends what it, or what it rests on, wanted to spend.
    Replaced,
    /// The mempool was full, and it paid least.
    Evicted,
    /// It waited too long.
    Expired,
    /// The best chain changed, and what it spends is not there any more.
    Reorganised,
}

impl DropReason {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Conflict, Self::Replaced, Self::Evicted, Self::Expired, Self::Reorganised];

    /// The stable name.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Replaced => "replaced",
            Self::Evicted => "evicted",
            Self::Expired => "expired",
            Self::Reorganised => "reorganised",
        }
    }
}

/// A coin and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnedCoin {
    pub outpoint: OutPoint,
    pub coin: Coin,
}

/// What an owner can spend next: the wallet's view.
#[derive(Debug, Clone, Default)]
pub struct Spendable {
    /// On the chain, unspent by the mempool, spendable in the next block.
    pub confirmed: Vec<OwnedCoin>,
    /// Outputs of waiting trades to the owner that no other waiting trade spends.
    pub pending: Vec<OwnedCoin>,
    /// Of the tip that this was read at.
    pub height: Height,
}

/// What an owner has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balance {
    /// On the best chain, young coinbases included.
    pub confirmed: Amount,
    /// What waiting trades would add.
    pub pending_in: Amount,
    /// What waiting trades would take.
    pub pending_out: Amount,
    /// Of the tip that this was read at.
    pub height: Height,
}

/// Where a transaction is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxState {
    Mempool,
    /// In a block of the best chain.
    Mined {
        block: BlockHash,
        height: Height,
    },
    /// One of our own whose input is gone for good.
    Void {
        /// Which input, and by what it was spent, as a sentence.
        reason: String,
    },
}

/// A transaction with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxInfo {
    pub transaction: Arc<Transaction>,
    pub txid: TxId,
    /// Inputs less outputs; zero in a coinbase.
    pub fee: Amount,
    pub state: TxState,
}

/// A block of the best chain with the fees of its transactions, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockInfo {
    pub hash: BlockHash,
    pub block: Arc<Block>,
    /// The fee of each transaction; zero for the coinbase.
    pub fees: Vec<Amount>,
    /// The height of the tip.
    pub tip_height: Height,
}

/// A block to mine: everything but the nonce.
#[derive(Debug, Clone)]
pub struct Template {
    /// Coinbase first; its merkle root is in the header.
    pub block: Block,
    /// Changes whenever tip or mempool change enough that miners should start anew.
    pub generation: u64,
    /// Whether it holds any transaction of this node's own.
    pub has_local: bool,
    /// Whether it holds any transaction but the coinbase.
    pub has_trades: bool,
}

/// What a whole check or rebuild found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainAudit {
    pub height: Height,
    pub tip: BlockHash,
    /// How many coins there are; stamps are not counted.
    pub coins: u64,
    pub supply: Amount,
    /// SHA-256 over every entry of the coins table in key order.
    pub coins_hash: [u8; 32],
    pub ok: bool,
    /// When it does not: what was found, as a sentence.
    pub problem: Option<String>,
}

/// The result of rebuilding a compact block from the mempool.
#[derive(Debug, Clone)]
pub enum Rebuilt {
    /// Whole; not yet accepted.
    Block(Box<Block>),
    /// These positions are missing, or ambiguous; the rest is held ready by the relay.
    Missing {
        /// By position in the block: the coinbase, then what the mempool had.
        found: Vec<Option<Arc<Transaction>>>,
        /// Positions in the block to ask for, ascending; the coinbase is 0 and never among them.
        positions: Vec<u32>,
    },
}

/// What the chain thread is asked.
#[derive(Debug)]
pub enum ChainCommand {
    /// Check headers, parents first, and store them.
    AcceptHeaders {
        /// At most [`MAX_INV_HEADERS`](crate::wire::limits::MAX_INV_HEADERS).
        headers: Vec<Header>,
        origin: Origin,
        reply: oneshot::Sender<Result<HeadersAccepted, AcceptHeadersError>>,
    },
    /// Check a block whole and connect or store it.
    AcceptBlock {
        block: Box<Block>,
        origin: Origin,
        /// What it changed; sent after the commit.
        reply: oneshot::Sender<Result<BlockAccepted, AcceptBlockError>>,
    },
    /// Take the other branch of a diverged chain.
    AcceptBranch {
        /// Any block of it.
        hash: BlockHash,
        /// The new tip; sent after the commit.
        reply: oneshot::Sender<Result<Tip, AcceptBranchError>>,
    },
    /// Check a trade or note and keep it until it is mined.
    AcceptTrade {
        transaction: Box<Transaction>,
        origin: Origin,
        /// Its id; for a local one, sent after the commit.
        reply: oneshot::Sender<Result<TxId, AcceptTradeError>>,
    },
    /// A block to mine.
    Template { owner: Owner, reply: oneshot::Sender<Template> },
    /// Check a header on the tip, its work, time and difficulty, without storing it.
    CheckHeader {
        header: Box<Header>,
        /// Whether it is right.
        reply: oneshot::Sender<Result<(), AcceptHeadersError>>,
    },
    /// Which of these trades are neither in the mempool nor on the chain.
    UnknownTrades {
        /// At most [`MAX_MEMPOOL_IDS`](crate::wire::limits::MAX_MEMPOOL_IDS).
        ids: Vec<TxId>,
        /// Those, in the order given.
        reply: oneshot::Sender<Result<Vec<TxId>, ChainFault>>,
    },
    /// Those of these trades that wait in the mempool.
    WaitingTrades {
        /// At most [`MAX_GET_DATA`](crate::wire::limits::MAX_GET_DATA).
        ids: Vec<TxId>,
        /// One for each id, in the order given.
        reply: oneshot::Sender<Vec<Option<Arc<Transaction>>>>,
    },
    /// Commit, answer what is under way, and end.
    ShutDown {
        /// Sent once everything is on disk.
        reply: oneshot::Sender<()>,
    },
    /// Rebuild a compact block from the mempool.
    Rebuild {
        header: Box<Header>,
        coinbase: Box<Transaction>,
        /// Short ids of the rest.
        short_ids: Vec<[u8; 6]>,
        /// What came of it.
        reply: oneshot::Sender<Rebuilt>,
    },
    /// What an owner can spend.
    Spendable { owner: Owner, reply: oneshot::Sender<Result<Spendable, ChainFault>> },
    /// What an owner has.
    Balance { owner: Owner, reply: oneshot::Sender<Result<Balance, ChainFault>> },
    /// All waiting trades, parents first.
    Mempool { reply: oneshot::Sender<Vec<MempoolEntry>> },
    /// One transaction and its state; `None` when unknown.
    Transaction { txid: TxId, reply: oneshot::Sender<Result<Option<TxInfo>, ChainFault>> },
    /// Check everything from genesis.
    Verify {
        /// Heights done, of all: for progress; lagging receivers miss some.
        progress: mpsc::Sender<(Height, Height)>,
        reply: oneshot::Sender<Result<ChainAudit, ChainFault>>,
    },
    /// Rebuild coins, undo and indexes from the blocks.
    Reindex {
        progress: mpsc::Sender<(Height, Height)>,
        /// What was found; `ok` says whether the old tables agreed.
        reply: oneshot::Sender<Result<ChainAudit, ChainFault>>,
    },
}

/// What the chain thread tells unasked, always after the commit.
#[derive(Debug, Clone)]
pub enum ChainEvent {
    /// The best chain changed.
    TipChanged {
        /// The new tip.
        tip: Tip,
        /// Blocks that left, newest first.
        disconnected: Vec<BlockHash>,
        /// Blocks that joined, oldest first.
        connected: Vec<(BlockHash, Height)>,
        /// Transaction ids that were mined by the connected blocks.
        mined: Vec<TxId>,
    },
    /// A trade or note entered the mempool.
    TradeAccepted { entry: MempoolEntry, origin: Origin },
    /// An own trade can never be mined any more.
    TradeVoid {
        txid: TxId,
        /// Why, as a sentence.
        reason: String,
    },
    /// A peer's trade left the mempool without being mined, and is forgotten here.
    TradeDropped { txid: TxId, reason: DropReason },
    /// The disk failed: the chain thread has stopped, and the node must.
    Failed(ChainFault),
}

/// What the snapshot answers without the chain thread: see `ChainReader`.
#[derive(Debug, Clone)]
pub struct ChainSummary {
    pub network: Arc<Network>,
    /// The durable tip.
    pub tip: Tip,
    /// The header with the most work.
    pub best_header: Tip,
    /// The branches, when a person has to choose.
    pub diverged: Option<Divergence>,
    pub mempool: usize,
    /// Changes with every trade that comes or goes.
    pub mempool_changes: u64,
    /// Memory that they take, in bytes: at most [`MAX_MEMPOOL_BYTES`](super::MAX_MEMPOOL_BYTES),
    /// but for our own.
    pub mempool_bytes: usize,
    /// The fee rate that a peer's trade has to pay.
    pub floor: Floor,
}

/// Two branches that a person has to choose between: the other has more work, and is not taken by
/// itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Divergence {
    /// The last block that both branches have.
    pub fork: BlockHash,
    pub fork_height: Height,
    /// When this node connected its first block above it, in unix ms by its own clock.
    pub since: UnixMillis,
    /// The end of our branch.
    pub ours: Tip,
    /// The end of the other one, which has more work.
    pub theirs: Tip,
    /// How many of its blocks are not here yet: it can be taken once there are none.
    pub missing: Height,
    /// When it is not its age but its size that forbids taking it: the memory it would need, in
    /// MiB.
    pub needs_mib: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::MerkleRoot;

    #[test]
    fn a_refusal_keeps_the_causes_that_sync_and_relay_decide_by() {
        let hash = BlockHash::ZERO;
        let header = Refused::from(AcceptHeadersError::InvalidBranch { hash });
        assert_eq!((header.cause, header.code), (RefusalCause::InvalidBranch, "invalid_branch"));
        let block = Refused::from(AcceptBlockError::InvalidBranch { hash });
        assert_eq!((block.cause, block.code), (RefusalCause::InvalidBranch, "invalid_branch"));
        let (expected, found) = (MerkleRoot::ZERO, MerkleRoot::ZERO);
        let error = BlockError::WrongMerkleRoot { expected, found };
        let body = Refused::from(AcceptBlockError::Body { hash, error });
        assert_eq!((body.cause, body.code), (RefusalCause::WrongMerkleRoot, "wrong_merkle_root"));
        let outpoint = OutPoint { txid: TxId::ZERO, index: 1 };
        let error = TransactionError::MissingCoin { input: 0, outpoint };
        let trade = Refused::from(AcceptTradeError::Transaction { txid: TxId::ZERO, error });
        assert_eq!((trade.cause, trade.code), (RefusalCause::MissingCoin, "missing_coin"));
        let known = Refused::from(AcceptTradeError::Known { txid: TxId::ZERO });
        assert_eq!((known.cause, known.code), (RefusalCause::Other, "known"));
    }
}
