//! Errors of the chain: one enum per operation, one cause per variant, and whose fault it is.

use std::path::PathBuf;

use super::mempool::FeeRate;
pub use crate::consensus::Blame;
use crate::{
    consensus::{BlockError, HeaderError, TransactionError},
    primitives::{Amount, BlockHash, Height, NetworkId, OutPoint, TxId, count_of_blocks},
};

/// Returns the number of blocks with its verb: `1 block is`.
fn missing_blocks(count: Height) -> String {
    format!("{} {}", count_of_blocks(count.into()), if count == 1 { "is" } else { "are" })
}

/// A failure of the disk, or a file with content that this program did not write. The chain thread
/// stops.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// Reading or writing failed.
    #[error(
        "the chain's file could not be read or written: {0}; check the disk's free space and \
         health, then start again"
    )]
    Disk(String),
    /// The file is damaged.
    #[error(
        "the chain's file is damaged: {0}; run verify-chain, then reindex, or fetch the chain anew"
    )]
    Corrupt(String),
    /// The chain was opened read-only.
    #[error("the data folder is read-only: its chain can be read, and nothing can be added to it")]
    ReadOnly,
    /// The chain thread has ended, by a fault or at shutdown.
    #[error("the chain is closed")]
    Closed,
    /// The caller of a long check went away, so the check stopped.
    #[error("the check was given up before its end")]
    Cancelled,
}

impl ChainFault {
    /// Returns the stable name of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Disk(_) => "disk",
            Self::Corrupt(_) => "corrupt",
            Self::ReadOnly => "read_only",
            Self::Closed => "closed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl From<redb::StorageError> for ChainFault {
    fn from(error: redb::StorageError) -> Self {
        match error {
            redb::StorageError::Corrupted(reason) => Self::Corrupt(reason),
            redb::StorageError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Self::Corrupt("it ends too early".to_owned())
            }
            other => Self::Disk(other.to_string()),
        }
    }
}

impl From<redb::TableError> for ChainFault {
    fn from(error: redb::TableError) -> Self {
        match error {
            redb::TableError::Storage(error) => error.into(),
            other => Self::Corrupt(other.to_string()),
        }
    }
}

impl From<redb::TransactionError> for ChainFault {
    fn from(error: redb::TransactionError) -> Self {
        match error {
            redb::TransactionError::Storage(error) => error.into(),
            other => Self::Disk(other.to_string()),
        }
    }
}

impl From<redb::CommitError> for ChainFault {
    fn from(error: redb::CommitError) -> Self {
        match error {
            redb::CommitError::Storage(error) => error.into(),
            other => Self::Disk(other.to_string()),
        }
    }
}

impl From<redb::SetDurabilityError> for ChainFault {
    fn from(error: redb::SetDurabilityError) -> Self {
        Self::Disk(error.to_string())
    }
}

/// Reasons why a chain could not be created or opened. The disk is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error(
        "there is no chain at {}: make one with create-blockchain, or join one with an invite",
        path.display()
    )]
    NoChain { path: PathBuf },
    /// A file is in the way of a new chain.
    #[error(
        "there is a chain at {} already: leave it first, or choose another data folder",
        path.display()
    )]
    Exists { path: PathBuf },
    /// Another process has the file open.
    #[error(
        "the chain at {} is open in another node: stop that one, or choose another data folder",
        path.display()
    )]
    Locked { path: PathBuf },
    /// The file is not a chain.
    #[error("{} is not a friendchain chain: choose another data folder, or run leave-chain, which \
         keeps the file, and join again by a friend's invite", path.display())]
    NotAChain { path: PathBuf },
    /// A later version of the program wrote the file.
    #[error("the chain at {} has schema {found}, and this program reads up to {known}: use a \
         newer friendchain", path.display())]
    NewerSchema {
        path: PathBuf,
        found: u32,
        /// The newest schema that this program reads.
        known: u32,
    },
    /// The file holds another chain than the caller wants.
    #[error("the chain at {} is {found}, not {wanted}: leave it first, or choose another data \
         folder", path.display())]
    OtherNetwork { path: PathBuf, found: NetworkId, wanted: NetworkId },
    #[error("the chain at {} is damaged: {reason}; run reindex, which makes it anew from its \
         blocks, or leave-chain, which keeps the file, and join again by a friend's invite",
         path.display())]
    Corrupt { path: PathBuf, reason: String },
    /// No block of the damaged file can be read.
    #[error("nothing can be saved from the chain at {}: {reason}; run leave-chain, which keeps \
         the file, and join again by a friend's invite", path.display())]
    Lost { path: PathBuf, reason: String },
    /// The disk refuses.
    #[error("the chain at {} could not be read or written: {reason}", path.display())]
    Disk { path: PathBuf, reason: String },
}

/// Reasons why headers were rejected. The headers of the batch before the rejected one are kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptHeadersError {
    /// The parent is unknown: earlier headers must come first.
    #[error("the parent {previous} of header {hash} is not known")]
    UnknownParent { hash: BlockHash, previous: BlockHash },
    /// The header breaks a rule.
    #[error("header {hash}: {error}")]
    Header { hash: BlockHash, error: HeaderError },
    /// The header, or one below it, belongs to a block that was found invalid.
    #[error("header {hash} is on a branch with an invalid block")]
    InvalidBranch { hash: BlockHash },
    /// The branch cannot win: it has less work than our tip without the tip's last 144 blocks.
    #[error("header {hash} is on a branch with too little work to be kept")]
    TooLittleWork { hash: BlockHash },
    /// The number of headers beyond the connected chain is at its limit.
    #[error("header {hash} lies too far beyond the blocks that are here: their bodies come first")]
    TooFarBeyondTip { hash: BlockHash },
    #[error(transparent)]
    Fault(#[from] ChainFault),
}

impl AcceptHeadersError {
    /// Returns whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::UnknownParent { .. }
            | Self::TooLittleWork { .. }
            | Self::TooFarBeyondTip { .. } => Blame::Nobody,
            Self::Header { error, .. } => error.blame(),
            Self::InvalidBranch { .. } => Blame::Peer,
            Self::Fault(_) => Blame::Ours,
        }
    }

    /// Returns the stable name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownParent { .. } => "unknown_parent",
            Self::Header { error, .. } => error.code(),
            Self::InvalidBranch { .. } => "invalid_branch",
            Self::TooLittleWork { .. } => "too_little_work",
            Self::TooFarBeyondTip { .. } => "too_far_beyond_tip",
            Self::Fault(fault) => fault.code(),
        }
    }
}

/// Reasons why a block was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptBlockError {
    /// The parent's header is unknown: headers must come first.
    #[error("the parent {previous} of block {hash} is not known")]
    UnknownParent { hash: BlockHash, previous: BlockHash },
    /// The header breaks a rule.
    #[error("block {hash}: {error}")]
    Header { hash: BlockHash, error: HeaderError },
    /// The body does not belong to the header, or breaks a rule of form, coins or signatures.
    #[error("block {hash}: {error}")]
    Body { hash: BlockHash, error: BlockError },
    /// The block, or a block below it, is known to be invalid.
    #[error("block {hash} is on a branch with an invalid block")]
    InvalidBranch { hash: BlockHash },
    /// A stored block below this one turned out to be invalid when the chain tried to connect the
    /// branch.
    #[error("the branch rests on block {below}, which is invalid: {error}")]
    InvalidBelow { below: BlockHash, error: BlockError },
    /// The number of orphan blocks is at its limit.
    #[error("block {hash} came before its parent, and too many blocks wait already")]
    TooManyWaiting { hash: BlockHash },
    /// The block is on a side branch with too little work to be worth its disk space.
    #[error("block {hash} is on a branch with too little work to be kept")]
    TooLittleWork { hash: BlockHash },
    #[error(transparent)]
    Fault(#[from] ChainFault),
}

impl AcceptBlockError {
    /// Returns whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::UnknownParent { .. }
            | Self::TooManyWaiting { .. }
            | Self::TooLittleWork { .. } => Blame::Nobody,
            Self::Header { error, .. } => error.blame(),
            Self::Body { error, .. } => error.blame(),
            Self::InvalidBranch { .. } | Self::InvalidBelow { .. } => Blame::Peer,
            Self::Fault(_) => Blame::Ours,
        }
    }

    /// Returns the stable name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownParent { .. } => "unknown_parent",
            Self::Header { error, .. } => error.code(),
            Self::Body { error, .. } => error.code(),
            Self::InvalidBranch { .. } | Self::InvalidBelow { .. } => "invalid_branch",
            Self::TooManyWaiting { .. } => "too_many_waiting",
            Self::TooLittleWork { .. } => "too_little_work",
            Self::Fault(fault) => fault.code(),
        }
    }
}

/// Reasons why `accept-branch` did not switch. The chain is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptBranchError {
    /// No other branch has more work than ours.
    #[error(
        "the chain is not diverged: no other branch has more work than the one that ends at {tip}"
    )]
    NotDiverged { tip: BlockHash },
    /// The block is in no branch that this node knows.
    #[error("no block {hash} is known here: the other branch ends at {theirs}, as status says")]
    UnknownBlock {
        hash: BlockHash,
        /// The last block of the other branch.
        theirs: BlockHash,
    },
    /// The block is on our own best chain.
    #[error(
        "block {hash} is on our own branch: give one of the other branch, which ends at {theirs}"
    )]
    OwnBranch {
        hash: BlockHash,
        /// The last block of the other branch.
        theirs: BlockHash,
    },
    /// The block, or a block below it, is known to be invalid.
    #[error("block {hash} is on a branch with an invalid block: nobody can take it")]
    InvalidBranch { hash: BlockHash },
    /// The block is on a third branch, which has no more work than ours.
    #[error(
        "the branch of block {hash} has no more work than ours: the one that has ends at {theirs}"
    )]
    LessWork {
        hash: BlockHash,
        /// The last block of the branch with more work.
        theirs: BlockHash,
    },
    /// Bodies of the branch are missing, and the stored part has no more work than ours.
    #[error(
        "of the branch of {hash}, {} not here yet: wait until status says that all of it is",
        missing_blocks(*.missing)
    )]
    Incomplete { hash: BlockHash, missing: Height },
    /// The reorg would need more memory than `--cache-mib` allows.
    #[error(
        "taking the branch of block {hash} needs about {needs_mib} MiB of memory: start the node \
         again with --cache-mib {needs_mib}, then try again"
    )]
    TooLarge { hash: BlockHash, needs_mib: usize },
    /// A block of the branch breaks a rule; the branch is now marked invalid.
    #[error("the branch of {hash} is not valid, and is given up: block {block}: {error}")]
    Broken {
        hash: BlockHash,
        /// The block that breaks the rule.
        block: BlockHash,
        error: Box<BlockError>,
    },
    /// A stored block of the branch is damaged, and will be fetched again.
    #[error(
        "a stored block of the branch of {hash} is damaged and is fetched again: try again once \
         it is here"
    )]
    Damaged { hash: BlockHash },
    #[error(transparent)]
    Fault(#[from] ChainFault),
}

impl AcceptBranchError {
    /// Returns the stable name of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotDiverged { .. } => "not_diverged",
            Self::UnknownBlock { .. } => "unknown_block",
            Self::OwnBranch { .. } => "own_branch",
            Self::InvalidBranch { .. } | Self::Broken { .. } => "invalid_branch",
            Self::LessWork { .. } => "less_work",
            Self::Incomplete { .. } => "branch_incomplete",
            Self::TooLarge { .. } => "reorganisation_too_large",
            Self::Damaged { .. } => "branch_damaged",
            Self::Fault(fault) => fault.code(),
        }
    }
}

/// Returns the end of a conflict's sentence: the fee that would replace the earlier transaction.
fn to_replace(needs: Option<Amount>) -> String {
    needs.map_or_else(String::new, |fee| format!("; to replace it, pay a fee of {fee} at least"))
}

/// Reasons why a trade or note was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptTradeError {
    /// The transaction breaks a rule of form, coins or signatures. A missing coin may still arrive,
    /// so that case blames nobody.
    #[error("trade {txid}: {error}")]
    Transaction { txid: TxId, error: TransactionError },
    #[error("trade {txid} waits already")]
    Known { txid: TxId },
    /// The transaction is on the chain already.
    #[error("trade {txid} is in block {height} already")]
    Mined { txid: TxId, height: Height },
    /// An earlier mempool entry spends the same coin or stamp, and is not replaced.
    #[error(
        "trade {txid} spends {}:{}, which the waiting trade {by} spends{}",
        outpoint.txid, outpoint.index, to_replace(*needs)
    )]
    Conflict {
        txid: TxId,
        outpoint: OutPoint,
        by: TxId,
        /// The fee that would replace the earlier entries; `None` if no fee can, as with notes.
        needs: Option<Amount>,
    },
    /// The trade would replace too many mempool entries.
    #[error(
        "trade {txid} would replace more than {limit} waiting trades, with those that rest on \
         them; wait for the next block"
    )]
    TooManyReplaced {
        txid: TxId,
        /// The number of entries that would leave; the count stops above the limit.
        replaced: usize,
        limit: usize,
    },
    /// The trade would replace an entry on which it depends.
    #[error(
        "trade {txid} spends an output of {parent}, which it would replace, or which rests on \
         what it would replace"
    )]
    ReplacesParent { txid: TxId, parent: TxId },
    /// The trade depends on too many mempool entries.
    #[error(
        "trade {txid} rests on {ancestors} waiting trades: {limit} at most; wait for the next block"
    )]
    TooLongChain { txid: TxId, ancestors: usize, limit: usize },
    /// Too many mempool entries would depend on one of the trade's ancestors.
    #[error(
        "trade {txid} would be the {descendants}th to rest on the waiting trade {ancestor}: \
         {limit} at most; wait for the next block"
    )]
    TooManyDescendants {
        txid: TxId,
        ancestor: TxId,
        /// Entries that would depend on the ancestor, this trade included.
        descendants: usize,
        limit: usize,
    },
    /// The trade and the mempool entries connected with it have too many bytes together.
    #[error(
        "trade {txid} and the waiting trades connected with it have {bytes} bytes: {limit} at \
         most; wait for the next block"
    )]
    TooLargePackage {
        txid: TxId,
        /// Their length together.
        bytes: usize,
        limit: usize,
    },
    /// The mempool is full, or was recently, and the trade pays less than the floor.
    #[error(
        "trade {txid} pays {} units for each 1,000 bytes, and at the moment {} are asked, since \
         the mempool is full; pay a \
         higher fee, or wait",
        rate.units(), floor.units()
    )]
    BelowFloor {
        txid: TxId,
        /// The lower of two rates: the trade's own, and its package's.
        rate: FeeRate,
        floor: FeeRate,
    },
    /// The sending peer exceeds its share of free transactions.
    #[error(
        "trade {txid} pays next to nothing, and whoever sent it sends many such; pay a fee, or wait"
    )]
    TooManyFree { txid: TxId },
    /// A peer sent a trade of this node's own that is void, which is final.
    #[error("trade {txid} was made here and is void: only resend takes it up again")]
    Void { txid: TxId },
    #[error(transparent)]
    Fault(#[from] ChainFault),
}

impl AcceptTradeError {
    /// Returns whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Transaction { error, .. } => error.blame(),
            Self::Known { .. }
            | Self::Mined { .. }
            | Self::Conflict { .. }
            | Self::TooManyReplaced { .. }
            | Self::ReplacesParent { .. }
            | Self::TooLongChain { .. }
            | Self::TooManyDescendants { .. }
            | Self::TooLargePackage { .. }
            | Self::BelowFloor { .. }
            | Self::TooManyFree { .. }
            | Self::Void { .. } => Blame::Nobody,
            Self::Fault(_) => Blame::Ours,
        }
    }

    /// Returns the stable name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Transaction { error, .. } => error.code(),
            Self::Known { .. } => "known",
            Self::Void { .. } => "void",
            Self::Mined { .. } => "mined",
            Self::Conflict { .. } => "conflict",
            Self::TooLongChain { .. } => "too_long_chain",
            Self::TooManyReplaced { .. } => "too_many_replaced",
            Self::ReplacesParent { .. } => "replaces_parent",
            Self::TooManyDescendants { .. } => "too_many_descendants",
            Self::TooLargePackage { .. } => "too_large_package",
            Self::BelowFloor { .. } => "fee_too_low",
            Self::TooManyFree { .. } => "too_many_free",
            Self::Fault(fault) => fault.code(),
        }
    }
}
