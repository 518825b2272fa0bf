//! Commands, replies and events of the chain thread: the types that cross its channels.

use std::{fmt, sync::Arc};

use tokio::sync::{mpsc, oneshot};

use super::{
    errors::{
        AcceptBlockError, AcceptBranchError, AcceptHeadersError, AcceptTradeError, ChainFault,
    },
    mempool::{FeeRate, Floor},
};
use crate::{
    consensus::{Blame, BlockError, Coin, HeaderWindow, Network, TransactionError, Work},
    primitives::{
        Amount, Block, BlockHash, Header, Height, OutPoint, Owner, PeerId, SHORT_ID_BYTES,
        Transaction, TxId, UnixMillis,
    },
};

/// Depth in blocks from which a coin counts as settled; the coin's own block counts as 1. Reorgs
/// among friends are usually shorter.
pub const SETTLED_DEPTH: Height = 6;

/// True if a coin is at least [`SETTLED_DEPTH`] deep below the tip, or of the genesis block, which
/// no reorg removes.
pub(crate) const fn is_settled(coin: &Coin, tip: Height) -> bool {
    coin.height == 0 || tip.saturating_sub(coin.height).saturating_add(1) >= SETTLED_DEPTH
}

/// The source of a block, header or trade. It decides priority and blame, and whether this node
/// must keep the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Made on this node: mined here or submitted over RPC.
    Local,
    /// Sent by a peer.
    Peer(PeerId),
    /// Sent by a peer whose key costs nothing. Its free trades count with those of all such peers.
    Stranger(PeerId),
}

/// The last block of a chain, with its cumulative work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    pub hash: BlockHash,
    pub height: Height,
    /// Cumulative work of the chain, genesis included.
    pub work: Work,
    /// The time in the block's header.
    pub time: UnixMillis,
}

/// A known header with the data that the rules need to check its children: the start of a walk
/// that checks headers without storing them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderContext {
    /// The header, with the cumulative work of its branch.
    pub tip: Tip,
    /// The difficulty window for a child of the header.
    pub window: HeaderWindow,
}

/// The result of accepting a batch of headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadersAccepted {
    /// Number of headers that were not known before.
    pub new: usize,
    /// The last header of the batch.
    pub last: BlockHash,
    /// True if that header has no body here, and a body would be stored.
    pub wants_body: bool,
    /// The header with the most work that is known and not invalid.
    pub best_header: Tip,
}

/// The result of accepting a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockAccepted {
    /// The block is on the best chain now. A reorg may have been necessary, and orphan blocks that
    /// waited for it may have been connected as well.
    Connected,
    /// The block is stored on a branch that is not the best chain.
    SideBranch,
    /// The block waits in memory: its parent's body is missing, or its time is ahead of our clock.
    Waiting,
    /// The block was already stored.
    Known,
}

/// A refusal by the chain, reduced to the parts that sync and relay act on and log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The party at fault. Penalty and gossip verdict depend on this field alone.
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

/// The causes of a refusal that sync and relay handle differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusalCause {
    /// A block below this one is known to be invalid.
    InvalidBranch,
    /// The chain tried to connect this block's branch, and a block below it turned out to be
    /// invalid.
    InvalidBelow,
    /// The body is not the one that the header commits to.
    WrongMerkleRoot,
    /// A trade spends a coin that this node does not know. The parent trade may still arrive.
    MissingCoin,
    /// The branch cannot win: it has less work than our tip without the tip's last 144 blocks.
    TooLittleWork,
    /// The number of headers beyond the connected chain is at its limit.
    TooFarBeyondTip,
    /// Any other cause.
    Other,
}

impl From<AcceptHeadersError> for Refused {
    fn from(error: AcceptHeadersError) -> Self {
        let cause = match &error {
            AcceptHeadersError::InvalidBranch { .. } => RefusalCause::InvalidBranch,
            AcceptHeadersError::TooLittleWork { .. } => RefusalCause::TooLittleWork,
            AcceptHeadersError::TooFarBeyondTip { .. } => RefusalCause::TooFarBeyondTip,
            _ => RefusalCause::Other,
        };
        Self { blame: error.blame(), cause, code: error.code(), reason: error.to_string() }
    }
}

impl From<AcceptBlockError> for Refused {
    fn from(error: AcceptBlockError) -> Self {
        let cause = match &error {
            AcceptBlockError::InvalidBranch { .. } => RefusalCause::InvalidBranch,
            AcceptBlockError::InvalidBelow { .. } => RefusalCause::InvalidBelow,
            AcceptBlockError::Body { error: BlockError::WrongMerkleRoot { .. }, .. } => {
                RefusalCause::WrongMerkleRoot
            }
            AcceptBlockError::TooLittleWork { .. } => RefusalCause::TooLittleWork,
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
    /// True if the transaction was made on this node. Such entries never expire and are never
    /// evicted.
    pub local: bool,
    /// The time at which the mempool drops an unmined entry; `None` if it was made on this node.
    pub expires: Option<UnixMillis>,
}

impl MempoolEntry {
    #[must_use]
    pub fn rate(&self) -> FeeRate {
        FeeRate::of(self.fee, self.bytes)
    }
}

/// The reason why a trade left the mempool without being mined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// A block spent an input of the trade or of one of its unmined ancestors.
    Conflict,
    /// A trade that pays more spends an input of the trade or of one of its unmined ancestors.
    Replaced,
    /// The mempool was full, and this trade had the lowest fee rate.
    Evicted,
    /// The trade was not mined before its expiry time.
    Expired,
    /// A reorg removed a coin that the trade spends.
    Reorganised,
}

impl DropReason {
    pub const ALL: [Self; 5] =
        [Self::Conflict, Self::Replaced, Self::Evicted, Self::Expired, Self::Reorganised];

    /// Returns the stable name, for events and metrics.
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

/// A coin with its owner and its outpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnedCoin {
    pub owner: Owner,
    pub outpoint: OutPoint,
    pub coin: Coin,
}

/// A request for the coins that a wallet can spend next.
#[derive(Debug, Clone, Default)]
pub struct SpendQuery {
    /// All owners of the wallet. They decide which unmined coins are the wallet's own change.
    pub wallet: Vec<Owner>,
    /// The only owner whose coins are wanted; `None`: coins of the whole wallet.
    pub from: Option<Owner>,
    /// The sum to spend. A search among very many coins ends once it has found this sum.
    pub needs: Amount,
}

/// The coins that a wallet can spend next.
#[derive(Debug, Clone, Default)]
pub struct Spendable {
    /// Mined coins that no mempool entry spends. If there are very many, only the largest ones.
    pub confirmed: Vec<OwnedCoin>,
    /// Unspent outputs of mempool entries that depend on the wallet's own coins alone. The inputs
    /// of such an entry and of all its unmined ancestors belong to the wallet, so nobody else can
    /// void it.
    pub pending: Vec<OwnedCoin>,
    /// Unspent outputs of all other mempool entries. Their makers can replace them.
    pub unsure: Vec<OwnedCoin>,
    /// The value of all confirmed coins, including those that `confirmed` leaves out.
    pub total: Amount,
    /// Height of the tip at which these coins were read.
    pub height: Height,
}

/// The balance of an owner or of a wallet, mined and pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balance {
    /// Coins on the best chain, immature coinbases included.
    pub confirmed: Amount,
    /// The part of `confirmed` that is at least [`SETTLED_DEPTH`] deep.
    pub settled: Amount,
    /// Sum of the coins that mempool entries would add.
    pub pending_in: Amount,
    /// Sum of the coins that mempool entries would spend.
    pub pending_out: Amount,
    /// Height of the tip at which the balance was read.
    pub height: Height,
}

/// The balance of a wallet, with the mined coins of each of its owners.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Funds {
    /// The mined coins of each owner, in the order asked.
    pub each: Vec<Amount>,
    /// The balance of all owners together. A mempool entry counts with its net gain or loss, so
    /// change and payments within the wallet are not income.
    pub whole: Balance,
}

/// The state of a coin that a void transaction of our own would spend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputFate {
    /// The coin is unspent, or the stamp is unused.
    Free(OwnedCoin),
    /// Another transaction has spent the coin.
    Spent {
        by: TxId,
        transaction: Arc<Transaction>,
        /// The height of its block; `None` if it waits in the mempool.
        height: Option<Height>,
    },
    /// The coin is neither on the best chain nor in the mempool. Another branch may bring it back.
    Missing(OutPoint),
}

/// The place of a transaction: mempool, block or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxState {
    Mempool,
    /// In a block of the best chain.
    Mined {
        block: BlockHash,
        height: Height,
    },
    /// A transaction of our own that is void for good, because another transaction spent one of its
    /// inputs, or the input was lost. The node does not send it again by itself.
    Void {
        /// A sentence that names the input and the transaction that spent it.
        reason: String,
    },
}

/// A transaction with its fee and state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxInfo {
    pub transaction: Arc<Transaction>,
    pub txid: TxId,
    /// Inputs less outputs; zero for a coinbase.
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
    pub tip_height: Height,
}

/// A block to mine, complete except for the nonce.
#[derive(Debug, Clone)]
pub struct Template {
    /// The block with the coinbase first; the header already has the merkle root.
    pub block: Block,
    /// A number that changes when miners should restart with a new template.
    pub generation: u64,
    /// True if the block contains a transaction that was made on this node.
    pub has_local: bool,
    /// True if the block contains any transaction besides the coinbase.
    pub has_trades: bool,
    /// Set if the block is not yet valid anywhere, since its earliest time is too far ahead of our
    /// clock.
    pub early: Option<Early>,
    /// True if the tip is below the checkpoint of the invite. Friends would not accept such a
    /// block.
    pub below_checkpoint: bool,
}

/// The wait until our clock allows a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Early {
    /// The time by our clock at which the block is allowed, in unix ms.
    pub due: UnixMillis,
    /// The time until then, in milliseconds.
    pub ms: u64,
}

/// The result of a full check (`Verify`) or a rebuild (`Reindex`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainAudit {
    pub height: Height,
    pub tip: BlockHash,
    /// Number of coins, stamps excluded.
    pub coins: u64,
    pub supply: Amount,
    /// SHA-256 over every entry of the coins table in key order.
    pub coins_hash: [u8; 32],
    pub ok: bool,
    /// A sentence about the fault; `None` if `ok`.
    pub problem: Option<String>,
}

/// The result of rebuilding a compact block from the mempool.
#[derive(Debug, Clone)]
pub enum Rebuilt {
    /// The complete block. The chain has not accepted it yet.
    Block(Box<Block>),
    /// Some transactions are missing, or their short ids are ambiguous. The relay keeps those
    /// found.
    Missing {
        /// Transactions by position in the block: the coinbase, then those found in the mempool.
        found: Vec<Option<Arc<Transaction>>>,
        /// Positions to request, ascending. The coinbase (position 0) is never missing.
        positions: Vec<u32>,
    },
}

/// The results of a batch of blocks, in their order.
pub type BlockResults = Vec<(BlockHash, Result<BlockAccepted, AcceptBlockError>)>;

/// A command to the chain thread, with the oneshot for its reply.
#[derive(Debug)]
pub enum ChainCommand {
    /// Checks headers, parents first, and stores them.
    AcceptHeaders {
        /// At most [`MAX_INV_HEADERS`](crate::wire::limits::MAX_INV_HEADERS) headers.
        headers: Vec<Header>,
        origin: Origin,
        /// The cumulative work of the sender's branch that a presync has shown.
        shown: Option<Work>,
        reply: oneshot::Sender<Result<HeadersAccepted, AcceptHeadersError>>,
    },
    /// Reads a known header that is not invalid, with the window for its children.
    HeaderContext {
        hash: BlockHash,
        /// Carries `None` if the header is unknown or invalid.
        reply: oneshot::Sender<Option<HeaderContext>>,
    },
    /// Withholds a header whose body no peer delivers. The header and its descendants leave the
    /// choice of the best header until the body arrives.
    Withhold {
        hash: BlockHash,
        /// Carries the best header afterwards.
        reply: oneshot::Sender<Tip>,
    },
    /// Reports whether peers on our branch are connected.
    PeersOnBranch(bool),
    /// Checks a block completely, then connects or stores it.
    AcceptBlock {
        block: Box<Block>,
        origin: Origin,
        /// Sent after the commit.
        reply: oneshot::Sender<Result<BlockAccepted, AcceptBlockError>>,
    },
    /// Does the same for several blocks, parents first.
    AcceptBlocks {
        blocks: Vec<(Box<Block>, Origin)>,
        /// Carries one result for each block, in their order. Sent after the commit.
        reply: oneshot::Sender<BlockResults>,
    },
    /// Lists blocks of the best header chain that have no body, lowest first.
    MissingBodies {
        /// The maximum number of blocks in the reply.
        limit: usize,
        /// Sent at once, with blocks that this thread has not executed yet.
        reply: oneshot::Sender<Vec<(BlockHash, Height)>>,
    },
    /// Switches to the other branch of a diverged chain.
    AcceptBranch {
        /// Any block of that branch.
        hash: BlockHash,
        /// Carries the new tip; sent after the commit.
        reply: oneshot::Sender<Result<Tip, AcceptBranchError>>,
    },
    /// Checks a trade or note and adds it to the mempool.
    AcceptTrade {
        transaction: Box<Transaction>,
        origin: Origin,
        /// Sent after the commit if the trade is local, without waiting for it otherwise.
        reply: oneshot::Sender<Result<TxId, AcceptTradeError>>,
    },
    /// Builds a block to mine.
    Template { owner: Owner, reply: oneshot::Sender<Template> },
    /// Checks work, time and difficulty of a header on the tip, without storing it.
    CheckHeader { header: Box<Header>, reply: oneshot::Sender<Result<(), AcceptHeadersError>> },
    /// Filters ids for trades that are in neither the mempool nor the chain.
    UnknownTrades {
        /// At most [`MAX_MEMPOOL_IDS`](crate::wire::limits::MAX_MEMPOOL_IDS) ids.
        ids: Vec<TxId>,
        /// Carries the unknown ids in the order of `ids`.
        reply: oneshot::Sender<Result<Vec<TxId>, ChainFault>>,
    },
    /// Fetches trades from the mempool by id.
    WaitingTrades {
        /// At most [`MAX_GET_DATA`](crate::wire::limits::MAX_GET_DATA) ids.
        ids: Vec<TxId>,
        /// Carries one element for each id, in the order of `ids`.
        reply: oneshot::Sender<Vec<Option<Arc<Transaction>>>>,
    },
    /// Commits, sends all pending replies, and ends the thread.
    ShutDown {
        /// Sent once everything is durable.
        reply: oneshot::Sender<()>,
    },
    /// Rebuilds a compact block from the mempool.
    Rebuild {
        header: Box<Header>,
        coinbase: Box<Transaction>,
        /// Short ids of all transactions except the coinbase, in block order.
        short_ids: Vec<[u8; SHORT_ID_BYTES]>,
        reply: oneshot::Sender<Rebuilt>,
    },
    /// Lists all mempool entries, parents first.
    Mempool { reply: oneshot::Sender<Vec<MempoolEntry>> },
    /// Lists the ids of mempool entries, parents first.
    MempoolIds {
        /// The maximum number of ids in the reply.
        limit: usize,
        reply: oneshot::Sender<Vec<TxId>>,
    },
    /// Looks up one transaction and its state; `None` if unknown.
    Transaction { txid: TxId, reply: oneshot::Sender<Result<Option<TxInfo>, ChainFault>> },
    /// Checks everything from genesis.
    Verify {
        /// Heights done and heights in total. Updates are dropped while the channel is full.
        progress: mpsc::Sender<(Height, Height)>,
        reply: oneshot::Sender<Result<ChainAudit, ChainFault>>,
    },
    /// Rebuilds coins, undo data and indexes from the blocks.
    Reindex {
        progress: mpsc::Sender<(Height, Height)>,
        /// In the reply, `ok` is true if the old tables agreed with the rebuilt ones.
        reply: oneshot::Sender<Result<ChainAudit, ChainFault>>,
    },
}

/// An event that the chain thread emits, always after the commit.
#[derive(Debug, Clone)]
pub enum ChainEvent {
    /// The best chain changed.
    TipChanged {
        tip: Tip,
        /// Blocks that left the best chain, newest first.
        disconnected: Vec<BlockHash>,
        /// Blocks that joined the best chain, oldest first.
        connected: Vec<(BlockHash, Height)>,
        /// Ids of the transactions in the connected blocks.
        mined: Vec<TxId>,
    },
    /// A trade or note entered the mempool.
    TradeAccepted { entry: MempoolEntry, origin: Origin },
    /// A trade of our own can never be mined any more.
    TradeVoid {
        txid: TxId,
        /// A sentence for the user.
        reason: String,
    },
    /// A trade of our own that was reported as void is in a block after all: somebody else mined
    /// it.
    VoidMined { txid: TxId, block: BlockHash, height: Height },
    /// A peer's trade left the mempool without being mined. The chain does not keep it.
    TradeDropped { txid: TxId, reason: DropReason },
    /// The chain thread has stopped, for example because the disk failed. The node must stop too.
    Failed(ChainFault),
}

/// A snapshot of the chain's state, readable without a command to the chain thread.
#[derive(Debug, Clone)]
pub struct ChainSummary {
    pub network: Arc<Network>,
    /// The durable tip.
    pub tip: Tip,
    /// The header with the most work.
    pub best_header: Tip,
    /// The two branches if a person has to choose between them.
    pub diverged: Option<Divergence>,
    /// Number of mempool entries.
    pub mempool: usize,
    /// A counter that changes with every entry that joins or leaves the mempool.
    pub mempool_changes: u64,
    /// Memory of the mempool entries, in bytes: at most
    /// [`MAX_MEMPOOL_BYTES`](super::MAX_MEMPOOL_BYTES), not counting our own trades.
    pub mempool_bytes: usize,
    /// The fee rate that a peer's trade must pay at least.
    pub floor: Floor,
}

/// The reason why the node does not switch to a branch with more work by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DivergenceReason {
    /// The switch would undo settled blocks.
    Settled,
    /// The branch leaves out the block that this chain's invite names.
    Checkpoint,
    /// The reorg needs more memory than the node may use.
    TooLarge,
}

impl DivergenceReason {
    /// Returns the stable name, for scripts.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Checkpoint => "checkpoint",
            Self::TooLarge => "too_large",
        }
    }
}

/// Two branches that a person has to choose between. The other branch has more work, but the node
/// does not switch to it automatically.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Divergence {
    pub reason: DivergenceReason,
    /// The last block that both branches have.
    pub fork: BlockHash,
    pub fork_height: Height,
    /// The time at which this node connected its first block above the fork, in unix ms by its
    /// own clock.
    pub since: UnixMillis,
    /// The tip of our branch.
    pub ours: Tip,
    /// The tip of the other branch.
    pub theirs: Tip,
    /// Number of blocks of the other branch that this node does not have yet. The switch is
    /// possible only at 0.
    pub missing: Height,
    /// The memory that the reorg would need, in MiB; set only if the size and not the depth of the
    /// branch forbids it.
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
