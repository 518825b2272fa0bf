//! Why the chain refuses: one enum per operation, one cause per variant, and whose fault it is.

use std::path::PathBuf;

use super::mempool::FeeRate;
pub use crate::consensus::Blame;
use crate::{
    consensus::{BlockError, HeaderError, TransactionError},
    primitives::{Amount, BlockHash, Height, NetworkId, OutPoint, TxId},
};

/// The disk failed, or holds what we did not write: the chain thread stops.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// Reading or writing failed.
    #[error(
        "the chain's file could not be read or written: {0}; check the disk's free space and \
         health, then start again"
    )]
    Disk(String),
    /// What was read is not what was written.
    #[error(
        "the chain's file is damaged: {0}; run verify-chain, then reindex, or fetch the chain anew"
    )]
    Corrupt(String),
    /// The chain was opened to be read alone.
    #[error("the data folder is read-only: its chain can be read, and nothing can be added to it")]
    ReadOnly,
    /// The chain thread has ended, by a fault or at shutdown.
    #[error("the chain is closed")]
    Closed,
    /// Whoever asked for a long check went away, so it was given up.
    #[error("the check was given up before its end")]
    Cancelled,
}

impl ChainFault {
    /// The stable name of the error.
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

/// Why a chain could not be made or opened. Nothing was changed on the disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No file.
    #[error("there is no chain at {}: make one with create-blockchain, or join one with an invite", path.display())]
    NoChain {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file is in the way of a new chain.
    #[error("there is a chain at {} already: leave it first, or choose another data folder", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// Another process has it open.
    #[error("the chain at {} is open in another node: stop that one, or choose another data folder", path.display())]
    Locked {
        /// Where.
        path: PathBuf,
    },
    /// Something else is in the file.
    #[error("{} is not a friendchain chain: choose another data folder, or run leave-chain, which \
         keeps the file, and join again by a friend's invite", path.display())]
    NotAChain {
        /// Where.
        path: PathBuf,
    },
    /// A later version of the program wrote it.
    #[error("the chain at {} has schema {found}, and this program reads up to {known}: use a \
         newer friendchain", path.display())]
    NewerSchema {
        /// Where.
        path: PathBuf,
        /// What the file says.
        found: u32,
        /// What this program knows.
        known: u32,
    },
    /// It holds another chain than wanted.
    #[error("the chain at {} is {found}, not {wanted}: leave it first, or choose another data \
         folder", path.display())]
    OtherNetwork {
        /// Where.
        path: PathBuf,
        /// Which chain it is.
        found: NetworkId,
        /// Which was wanted.
        wanted: NetworkId,
    },
    /// It is damaged.
    #[error("the chain at {} is damaged: {reason}; run reindex, which makes it anew from its \
         blocks, or leave-chain, which keeps the file, and join again by a friend's invite", path.display())]
    Corrupt {
        /// Where.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// It is damaged so that none of its blocks can be read.
    #[error("nothing can be saved from the chain at {}: {reason}; run leave-chain, which keeps \
         the file, and join again by a friend's invite", path.display())]
    Lost {
        /// Where.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The disk refuses.
    #[error("the chain at {} could not be read or written: {reason}", path.display())]
    Disk {
        /// Where.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
}

/// Why headers were refused. Those of the batch before the refused one were kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptHeadersError {
    /// The parent is not known: headers before it have to come first.
    #[error("the parent {previous} of header {hash} is not known")]
    UnknownParent {
        /// The header.
        hash: BlockHash,
        /// Its parent.
        previous: BlockHash,
    },
    /// The header breaks a rule.
    #[error("header {hash}: {error}")]
    Header {
        /// The header.
        hash: BlockHash,
        /// The rule.
        error: HeaderError,
    },
    /// The header, or one below it, belongs to a block that was found invalid.
    #[error("header {hash} is on a branch with an invalid block")]
    InvalidBranch {
        /// The header.
        hash: BlockHash,
    },
    /// Too many headers beside the best chain are held, and this branch has the least work.
    #[error("header {hash} has too little work for one more branch")]
    TooLittleWork {
        /// The header.
        hash: BlockHash,
    },
    /// Ours.
    #[error(transparent)]
    Fault(#[from] ChainFault),
}

impl AcceptHeadersError {
    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::UnknownParent { .. } | Self::TooLittleWork { .. } => Blame::Nobody,
            Self::Header { error, .. } => error.blame(),
            Self::InvalidBranch { .. } => Blame::Peer,
            Self::Fault(_) => Blame::Ours,
        }
    }

    /// The stable name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownParent { .. } => "unknown_parent",
            Self::Header { error, .. } => error.code(),
            Self::InvalidBranch { .. } => "invalid_branch",
            Self::TooLittleWork { .. } => "too_little_work",
            Self::Fault(fault) => fault.code(),
        }
    }
}

/// Why a block was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptBlockError {
    /// Its parent's header is not known: headers have to come first.
    #[error("the parent {previous} of block {hash} is not known")]
    UnknownParent {
        /// The block.
        hash: BlockHash,
        /// Its parent.
        previous: BlockHash,
    },
    /// Its header breaks a rule.
    #[error("block {hash}: {error}")]
    Header {
        /// The block.
        hash: BlockHash,
        /// The rule.
        error: HeaderError,
    },
    /// Its body is not the one that the header promises, or breaks a rule of form, coins or
    /// signatures.
    #[error("block {hash}: {error}")]
    Body {
        /// The block.
        hash: BlockHash,
        /// The rule.
        error: BlockError,
    },
    /// It, or a block below it, is known to be invalid.
    #[error("block {hash} is on a branch with an invalid block")]
    InvalidBranch {
        /// The block.
        hash: BlockHash,
    },
    /// Too many blocks wait for their parents already.
    #[error("block {hash} came before its parent, and too many blocks wait already")]
    TooManyWaiting {
        /// The block.
        hash: BlockHash,
    },
    /// It is beside the best chain, and its branch has too little work to be worth its place.
    #[error("block {hash} is on a branch with too little work to be kept")]
    TooLittleWork {
        /// The block.
        hash: BlockHash,
    },
    /// Ours.
    #[error(transparent)]
    Fault(#[from] ChainFault),
}

impl AcceptBlockError {
    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::UnknownParent { .. }
            | Self::TooManyWaiting { .. }
            | Self::TooLittleWork { .. } => Blame::Nobody,
            Self::Header { error, .. } => error.blame(),
            Self::Body { error, .. } => error.blame(),
            Self::InvalidBranch { .. } => Blame::Peer,
            Self::Fault(_) => Blame::Ours,
        }
    }

    /// The stable name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownParent { .. } => "unknown_parent",
            Self::Header { error, .. } => error.code(),
            Self::Body { error, .. } => error.code(),
            Self::InvalidBranch { .. } => "invalid_branch",
            Self::TooManyWaiting { .. } => "too_many_waiting",
            Self::TooLittleWork { .. } => "too_little_work",
            Self::Fault(fault) => fault.code(),
        }
    }
}

/// Why another branch was not taken. The chain is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptBranchError {
    /// There is nothing to choose.
    #[error(
        "the chain is not diverged: no other branch has more work than the one that ends at {tip}"
    )]
    NotDiverged {
        /// Our tip.
        tip: BlockHash,
    },
    /// Nobody has told of such a block.
    #[error("no block {hash} is known here: the other branch ends at {theirs}, as status says")]
    UnknownBlock {
        /// What was asked for.
        hash: BlockHash,
        /// The end of the other branch.
        theirs: BlockHash,
    },
    /// It is on the best chain.
    #[error(
        "block {hash} is on our own branch: give one of the other branch, which ends at {theirs}"
    )]
    OwnBranch {
        /// What was asked for.
        hash: BlockHash,
        /// The end of the other branch.
        theirs: BlockHash,
    },
    /// It, or a block below it, is known to be invalid.
    #[error("block {hash} is on a branch with an invalid block: nobody can take it")]
    InvalidBranch {
        /// What was asked for.
        hash: BlockHash,
    },
    /// It is on a third branch, which has no more work than ours.
    #[error(
        "the branch of block {hash} has no more work than ours: the one that has ends at {theirs}"
    )]
    LessWork {
        /// What was asked for.
        hash: BlockHash,
        /// The end of the branch with more work.
        theirs: BlockHash,
    },
    /// So much of it has yet to come that it would not be better than ours.
    #[error(
        "{missing} blocks of the branch of {hash} are not here yet: wait until status says that \
         all of it is"
    )]
    Incomplete {
        /// What was asked for.
        hash: BlockHash,
        /// How many.
        missing: Height,
    },
    /// It takes more memory than there may be.
    #[error(
        "taking the branch of block {hash} needs about {needs_mib} MiB of memory: start the node \
         again with --cache-mib {needs_mib}, then try again"
    )]
    TooLarge {
        /// What was asked for.
        hash: BlockHash,
        /// How much.
        needs_mib: usize,
    },
    /// A block of it breaks a rule: the branch is marked invalid.
    #[error("the branch of {hash} is not valid, and is given up: block {block}: {error}")]
    Broken {
        /// What was asked for.
        hash: BlockHash,
        /// Which block of it.
        block: BlockHash,
        /// The rule.
        error: Box<BlockError>,
    },
    /// A stored block of it is damaged, and will be fetched again.
    #[error(
        "a stored block of the branch of {hash} is damaged and is fetched again: try again once \
         it is here"
    )]
    Damaged {
        /// What was asked for.
        hash: BlockHash,
    },
    /// Ours.
    #[error(transparent)]
    Fault(#[from] ChainFault),
}

impl AcceptBranchError {
    /// The stable name of the error.
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

/// What it would take to replace the first of two rivals.
fn to_replace(needs: Option<Amount>) -> String {
    needs.map_or_else(String::new, |fee| format!("; to replace it, pay a fee of {fee} at least"))
}

/// Why a trade or note was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptTradeError {
    /// It breaks a rule of form, coins or signatures. A missing coin may have yet to come: then it
    /// is nobody's fault.
    #[error("trade {txid}: {error}")]
    Transaction {
        /// Which.
        txid: TxId,
        /// The rule.
        error: TransactionError,
    },
    /// It waits already.
    #[error("trade {txid} waits already")]
    Known {
        /// Which.
        txid: TxId,
    },
    /// It is on the chain already.
    #[error("trade {txid} is in block {height} already")]
    Mined {
        /// Which.
        txid: TxId,
        /// Of the block.
        height: Height,
    },
    /// Another waiting trade, which was here first, spends the same coin or stamp, and is not
    /// replaced.
    #[error(
        "trade {txid} spends {}:{}, which the waiting trade {by} spends{}",
        outpoint.txid, outpoint.index, to_replace(*needs)
    )]
    Conflict {
        /// The latecomer.
        txid: TxId,
        /// The coin.
        outpoint: OutPoint,
        /// The first.
        by: TxId,
        /// The fee that would replace all that has to leave; none for a note, which nothing
        /// replaces.
        needs: Option<Amount>,
    },
    /// It would replace too many.
    #[error(
        "trade {txid} would replace more than {limit} waiting trades, with those that rest on \
         them; wait for the next block"
    )]
    TooManyReplaced {
        /// Which.
        txid: TxId,
        /// How many were found: no more were looked at.
        replaced: usize,
        /// The limit.
        limit: usize,
    },
    /// It would replace what it spends.
    #[error(
        "trade {txid} spends an output of {parent}, which it would replace, or which rests on \
         what it would replace"
    )]
    ReplacesParent {
        /// Which.
        txid: TxId,
        /// What it spends.
        parent: TxId,
    },
    /// It rests on too many trades that wait themselves.
    #[error(
        "trade {txid} rests on {ancestors} waiting trades: {limit} at most; wait for the next block"
    )]
    TooLongChain {
        /// Which.
        txid: TxId,
        /// How many.
        ancestors: usize,
        /// The limit.
        limit: usize,
    },
    /// Too much rests on one of those that it rests on.
    #[error(
        "trade {txid} would be the {descendants}th to rest on the waiting trade {ancestor}: \
         {limit} at most; wait for the next block"
    )]
    TooManyDescendants {
        /// Which.
        txid: TxId,
        /// What it rests on.
        ancestor: TxId,
        /// How many would rest on that, itself included.
        descendants: usize,
        /// The limit.
        limit: usize,
    },
    /// It and the waiting trades that it rests on, or that rest on one of these, are too long
    /// together.
    #[error(
        "trade {txid} and the waiting trades connected with it have {bytes} bytes: {limit} at \
         most; wait for the next block"
    )]
    TooLargePackage {
        /// Which.
        txid: TxId,
        /// How long they are together.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The mempool is full, or was a moment ago, and it pays no more than what had to leave.
    #[error(
        "trade {txid} pays {} units for each 1,000 bytes, and at the moment {} are asked, since \
         the mempool is full; pay a \
         higher fee, or wait",
        rate.units(), floor.units()
    )]
    BelowFloor {
        /// Which.
        txid: TxId,
        /// What it pays: its own rate, or that of all it rests on, whichever is lower.
        rate: FeeRate,
        /// What it would have to pay.
        floor: FeeRate,
    },
    /// Its sender brings too many trades without a fee.
    #[error(
        "trade {txid} pays next to nothing, and whoever sent it sends many such; pay a fee, or wait"
    )]
    TooManyFree {
        /// Which.
        txid: TxId,
    },
    /// Ours.
    #[error(transparent)]
    Fault(#[from] ChainFault),
}

impl AcceptTradeError {
    /// Whose fault it is.
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
            | Self::TooManyFree { .. } => Blame::Nobody,
            Self::Fault(_) => Blame::Ours,
        }
    }

    /// The stable name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Transaction { error, .. } => error.code(),
            Self::Known { .. } => "known",
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
