//! The reasons why a header, block, transaction, signature or genesis is invalid, and the party at
//! fault.

use super::{
    COINBASE_MATURITY, CompactError, MAX_BLOCK_BYTES, MAX_GENESIS_BYTES, MAX_TRANSACTION_BYTES,
    ParamsError, SUBSIDY, Target,
};
use crate::primitives::{
    Amount, BlockHash, Height, MAX_MEMO_BYTES, MerkleRoot, NetworkId, OutPoint, PublicKey,
    UnixMillis,
};

/// The party at fault for an error.
///
/// The blame alone decides the gossip verdict, the penalty, the log level and the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The sender is at fault: no honest node sends this.
    Peer,
    /// This node is at fault: its disk, its code or its settings.
    Ours,
    /// No party is at fault: an honest node can send this.
    Nobody,
}

/// A rule that a header breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The header's parent is not the last block of the window.
    #[error("the header's parent is {found}, not {expected}")]
    WrongParent { expected: BlockHash, found: BlockHash },
    /// The height is not the parent's height plus one.
    #[error("the header says height {found} on a parent of height {parent}")]
    WrongHeight { parent: Height, found: Height },
    /// The time does not exceed the median of the last 11 ancestors.
    #[error("the header's time {time} is too old: {earliest} at the earliest")]
    TimeTooOld { time: UnixMillis, earliest: UnixMillis },
    /// The target is not the one that the ancestors and the header's time demand.
    #[error("the header's bits are {found:08x}, not {expected:08x}")]
    WrongBits { expected: u32, found: u32 },
    /// The hash does not meet the target.
    #[error("the header's hash {hash} does not meet its target {target}")]
    NotEnoughWork { hash: BlockHash, target: Target },
    /// The time is too far ahead of this node's clock, and every other check passed.
    ///
    /// The caller holds the header and checks it again at `due`.
    #[error(
        "the header's time {time} lies {} ms ahead of the clock, too far by {} ms",
        time.saturating_sub(*now),
        due.saturating_sub(*now)
    )]
    TooFarAhead {
        time: UnixMillis,
        /// The clock of this node at the time of the check.
        now: UnixMillis,
        /// The earliest time at which the header can be accepted.
        due: UnixMillis,
    },
    /// The bits of a header from this node's own database encode no target.
    #[error(transparent)]
    Bits(CompactError),
}

impl HeaderError {
    /// Returns the party at fault.
    #[must_use]
    pub(crate) const fn blame(&self) -> Blame {
        match self {
            Self::TooFarAhead { .. } => Blame::Nobody,
            _ => Blame::Peer,
        }
    }

    /// Returns a stable name for logs, metrics and replies.
    #[must_use]
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::WrongParent { .. } => "header_wrong_parent",
            Self::WrongHeight { .. } => "header_wrong_height",
            Self::TimeTooOld { .. } => "header_time_too_old",
            Self::WrongBits { .. } => "header_wrong_bits",
            Self::NotEnoughWork { .. } => "header_not_enough_work",
            Self::TooFarAhead { .. } => "header_too_far_ahead",
            Self::Bits(_) => "header_bits",
        }
    }
}

/// A rule that a signature breaks, the same whether it is verified alone or in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The public key is not the canonical encoding of a point.
    #[error("the public key is not canonically encoded")]
    KeyNotCanonical,
    /// The public key is one of the eight points for which anyone can sign.
    #[error("the public key is a point of small order")]
    KeySmallOrder,
    /// The signature's R is not the canonical encoding of a point.
    #[error("the signature's R is not canonically encoded")]
    RNotCanonical,
    /// The signature's number s is not below the order of the group.
    #[error("the signature's s is not below the group's order")]
    STooLarge,
    /// The equation does not hold. The key or the message is a different one, or the key or R is
    /// not a point of the curve.
    #[error("the signature does not fit the key and the message")]
    Mismatch,
}

/// A rule that a transaction breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// The encoding is over the limit.
    #[error("the transaction has {0} bytes: {MAX_TRANSACTION_BYTES} at most")]
    TooLarge(usize),
    /// The memo is over the limit.
    #[error("the memo has {0} bytes: {MAX_MEMO_BYTES} at most")]
    MemoTooLong(usize),
    /// The transaction has no inputs, but is not the first of a block.
    #[error("a transaction without inputs is a coinbase, and stands only first in a block")]
    StrayCoinbase,
    /// The first transaction of a block has inputs.
    #[error("the first transaction of a block must be a coinbase, but it has {0} inputs")]
    NotCoinbase(usize),
    /// The coinbase's memo does not begin with the block's height.
    #[error(
        "the coinbase's memo must begin with the height {expected}; it begins with {}",
        found.map_or_else(|| "fewer than 4 bytes".to_owned(), |height| height.to_string())
    )]
    CoinbaseHeight {
        /// The block's height.
        expected: Height,
        /// The height in the memo; `None` if the memo is shorter than 4 bytes.
        found: Option<Height>,
    },
    /// The transaction has no outputs, and is not a note.
    #[error("the transaction pays nobody: it needs an output")]
    NoOutputs,
    /// An output has the value 0.
    #[error("output {index} is worth nothing: one unit at least")]
    ZeroOutput { index: usize },
    /// The outputs add up to more than 64 bits hold.
    #[error("the outputs add up to more than there can be")]
    OutputsOverflow,
    /// Two inputs name one coin.
    #[error("the coin {}:{} is spent twice by one transaction", outpoint.txid, outpoint.index)]
    DuplicateInput { outpoint: OutPoint },
    /// A note has other inputs beside its stamp.
    #[error("a stamp must be the only input; there are {0}")]
    StampWithInputs(usize),
    /// A note has outputs.
    #[error("a note has no coins to pay with, but it has {0} outputs")]
    NoteWithOutputs(usize),
    /// A note has an empty memo.
    #[error("a note needs a text")]
    EmptyNote,
    /// An input's signature is invalid.
    #[error("the signature of input {input}, by the key {public_key}, is invalid: {reason}")]
    Signature {
        /// The index of the input.
        input: usize,
        public_key: PublicKey,
        reason: SignatureError,
    },
    /// An input names a coin that its key's owner does not have on this branch.
    ///
    /// The coin is spent, was never created, is on another branch, or belongs to another owner.
    #[error(
        "input {input} spends the coin {}:{}, which the key's owner does not have",
        outpoint.txid,
        outpoint.index
    )]
    MissingCoin {
        /// The index of the input.
        input: usize,
        outpoint: OutPoint,
    },
    /// A note's stamp is on the chain already.
    #[error("the stamp {index} of this key has been used already")]
    StampUsed { index: u32 },
    /// An input spends a coinbase of the same block.
    #[error(
        "input {input} spends the coinbase of height {height}, which can be spent \
         {COINBASE_MATURITY} block later"
    )]
    ImmatureCoinbase {
        /// The index of the input.
        input: usize,
        /// The height of the block that created the coinbase.
        height: Height,
    },
    /// The inputs add up to more than 64 bits hold.
    #[error("the inputs add up to more than there can be")]
    InputsOverflow,
    /// The outputs are worth more than the inputs.
    #[error("the outputs pay {outputs} coins, the inputs only {inputs}")]
    Overspent { inputs: Amount, outputs: Amount },
    /// The caller did not pass one coin for each input.
    #[error("{coins} coins were looked up for {inputs} inputs")]
    CoinCount { inputs: usize, coins: usize },
}

impl TransactionError {
    /// Returns the party at fault for a transaction that a peer sent outside of a block.
    #[must_use]
    pub(crate) const fn blame(&self) -> Blame {
        match self {
            // The transaction may be valid on the sender's branch, or was valid a moment ago.
            Self::MissingCoin { .. } | Self::StampUsed { .. } | Self::ImmatureCoinbase { .. } => {
                Blame::Nobody
            }
            Self::CoinCount { .. } => Blame::Ours,
            _ => Blame::Peer,
        }
    }

    /// Returns a stable name for logs, metrics and replies.
    #[must_use]
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "transaction_too_large",
            Self::MemoTooLong(_) => "memo_too_long",
            Self::StrayCoinbase => "stray_coinbase",
            Self::NotCoinbase(_) => "not_a_coinbase",
            Self::CoinbaseHeight { .. } => "coinbase_height",
            Self::NoOutputs => "no_outputs",
            Self::ZeroOutput { .. } => "zero_output",
            Self::OutputsOverflow => "outputs_overflow",
            Self::DuplicateInput { .. } => "duplicate_input",
            Self::StampWithInputs(_) => "stamp_with_inputs",
            Self::NoteWithOutputs(_) => "note_with_outputs",
            Self::EmptyNote => "empty_note",
            Self::Signature { .. } => "bad_signature",
            Self::MissingCoin { .. } => "missing_coin",
            Self::StampUsed { .. } => "stamp_used",
            Self::ImmatureCoinbase { .. } => "immature_coinbase",
            Self::InputsOverflow => "inputs_overflow",
            Self::Overspent { .. } => "overspent",
            Self::CoinCount { .. } => "coin_count",
        }
    }
}

/// A rule that a block breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The block has another header than the checked one.
    #[error("the block's header hashes to {found}, not {expected}")]
    WrongHeader {
        /// The hash of the checked header.
        expected: BlockHash,
        /// The hash of the block's own header.
        found: BlockHash,
    },
    /// The transactions do not have the merkle root in the header.
    #[error("the transactions' merkle root is {found}; the header says {expected}")]
    WrongMerkleRoot {
        /// The root in the header.
        expected: MerkleRoot,
        /// The root computed from the transactions.
        found: MerkleRoot,
    },
    /// The encoding is over the limit.
    #[error("the block has {0} bytes: {MAX_BLOCK_BYTES} at most")]
    TooLarge(usize),
    /// The block has no transactions.
    #[error("the block has no transactions: a coinbase must be the first")]
    Empty,
    /// A transaction is invalid, by itself or at this position of this block.
    #[error("transaction {index} of the block is invalid: {error}")]
    Transaction {
        /// The position in the block; the coinbase is at 0.
        index: usize,
        error: TransactionError,
    },
    /// The fees add up to more than 64 bits hold.
    #[error("the fees add up to more than there can be")]
    FeesOverflow,
    /// The coinbase pays more than the block earns.
    #[error("the coinbase pays {claimed} coins: {allowed} at most")]
    CoinbaseValue {
        /// The sum of the coinbase's outputs.
        claimed: Amount,
        /// The subsidy plus the fees.
        allowed: Amount,
    },
}

impl BlockError {
    /// Returns the party at fault.
    #[must_use]
    pub(crate) const fn blame(&self) -> Blame {
        match self {
            Self::Transaction { error: TransactionError::CoinCount { .. }, .. } => Blame::Ours,
            _ => Blame::Peer,
        }
    }

    /// True if the error makes the header invalid for good.
    ///
    /// A header commits to exactly one body, and an error in that body condemns the header. A body
    /// with another header or another merkle root does not.
    #[must_use]
    pub(crate) const fn condemns_header(&self) -> bool {
        !matches!(self, Self::WrongHeader { .. } | Self::WrongMerkleRoot { .. })
            && matches!(self.blame(), Blame::Peer)
    }

    /// Returns a stable name for logs, metrics and replies.
    ///
    /// For [`Self::Transaction`] that is the name of the transaction's own error.
    #[must_use]
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::WrongHeader { .. } => "wrong_header",
            Self::WrongMerkleRoot { .. } => "wrong_merkle_root",
            Self::TooLarge(_) => "block_too_large",
            Self::Empty => "block_empty",
            Self::Transaction { error, .. } => error.code(),
            Self::FeesOverflow => "fees_overflow",
            Self::CoinbaseValue { .. } => "coinbase_value",
        }
    }
}

/// A rule that a genesis block breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// The block has a parent, or a height other than 0.
    #[error(
        "a genesis has height 0 and no parent; this block has height {height} and the parent \
         {previous}"
    )]
    NotFirst { height: Height, previous: BlockHash },
    /// The encoding is over the limit.
    #[error("the genesis has {0} bytes: {MAX_GENESIS_BYTES} at most")]
    TooLarge(usize),
    /// The block holds other transactions than one coinbase.
    #[error("a genesis holds one coinbase and nothing else; this one holds {0} transactions")]
    TransactionCount(usize),
    /// The transaction does not have the form of a coinbase.
    #[error("the genesis's coinbase is invalid: {0}")]
    Coinbase(#[from] TransactionError),
    /// The coinbase mints more than the subsidy.
    #[error("the genesis mints {0} coins: {SUBSIDY} at most")]
    Value(Amount),
    /// The coinbase's memo does not hold valid parameters.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The coinbase does not have the merkle root in the header.
    #[error("the genesis's merkle root is {found}; its header says {expected}")]
    WrongMerkleRoot {
        /// The root in the header.
        expected: MerkleRoot,
        /// The root computed from the coinbase.
        found: MerkleRoot,
    },
    /// The target is not the floor.
    #[error("the genesis's bits are {found:08x}; the floor in its memo is {expected:08x}")]
    WrongBits {
        /// The floor in compact form.
        expected: u32,
        found: u32,
    },
    /// The hash does not meet the floor.
    #[error("the genesis's hash {hash} does not meet its target {target}")]
    NotEnoughWork { hash: NetworkId, target: Target },
}

impl GenesisError {
    /// Returns a stable name for logs and replies.
    #[must_use]
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::NotFirst { .. } => "genesis_not_first",
            Self::TooLarge(_) => "genesis_too_large",
            Self::TransactionCount(_) => "genesis_transactions",
            Self::Coinbase(_) => "genesis_coinbase",
            Self::Value(_) => "genesis_value",
            Self::Params(_) => "genesis_params",
            Self::WrongMerkleRoot { .. } => "genesis_merkle_root",
            Self::WrongBits { .. } => "genesis_bits",
            Self::NotEnoughWork { .. } => "genesis_not_enough_work",
        }
    }
}
