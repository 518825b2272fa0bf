//! Why a header, block, transaction, signature or genesis is invalid, and whose fault that is.

use super::{
    COINBASE_MATURITY, CompactError, MAX_BLOCK_BYTES, MAX_GENESIS_BYTES, MAX_TRANSACTION_BYTES,
    ParamsError, SUBSIDY, Target,
};
use crate::primitives::{
    Amount, BlockHash, Height, MAX_MEMO_BYTES, MerkleRoot, NetworkId, OutPoint, PublicKey,
    UnixMillis,
};

/// Whose fault an error is: picks the gossip verdict, the penalty, the log level and the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// Of whoever sent it: no honest node would.
    Peer,
    /// Of this node: its disk, its code or its settings.
    Ours,
    /// Of nobody: an honest node can send this.
    Nobody,
}

/// Why a header is not the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It names another parent than the one it was checked against.
    #[error("the header's parent is {found}, not {expected}")]
    WrongParent {
        /// The block it was checked against.
        expected: BlockHash,
        /// What it says.
        found: BlockHash,
    },
    /// Its height is not its parent's plus one.
    #[error("the header says height {found} on a parent of height {parent}")]
    WrongHeight {
        /// The parent's.
        parent: Height,
        /// What it says.
        found: Height,
    },
    /// Its time does not exceed the median of its last 11 ancestors.
    #[error("the header's time {time} is too old: {earliest} at the earliest")]
    TimeTooOld {
        /// What it says.
        time: UnixMillis,
        /// What it could say.
        earliest: UnixMillis,
    },
    /// Its target is not the one that its ancestors and its time demand.
    #[error("the header's bits are {found:08x}, not {expected:08x}")]
    WrongBits {
        /// What they must be.
        expected: u32,
        /// What it says.
        found: u32,
    },
    /// Its hash does not meet its target.
    #[error("the header's hash {hash} does not meet its target {target}")]
    NotEnoughWork {
        /// Its hash.
        hash: BlockHash,
        /// Its target.
        target: Target,
    },
    /// All else is right, but its time lies too far ahead of our clock: hold it, and try again at
    /// `due`.
    #[error("the header's time {time} lies {} ms ahead of the clock, too far by {} ms", time.saturating_sub(*now), due.saturating_sub(*now))]
    TooFarAhead {
        /// What it says.
        time: UnixMillis,
        /// Our clock.
        now: UnixMillis,
        /// When it can be accepted.
        due: UnixMillis,
    },
    /// Its bits are no target at all; only for headers that claim to have been checked before.
    #[error(transparent)]
    Bits(CompactError),
}

impl HeaderError {
    /// Whose fault it is.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::TooFarAhead { .. } => Blame::Nobody,
            _ => Blame::Peer,
        }
    }

    /// A stable name for logs, metrics and answers.
    #[must_use]
    pub const fn code(&self) -> &'static str {
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

/// Why a signature is invalid, whatever way it is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The public key is not the canonical encoding of a number.
    #[error("the public key is not canonically encoded")]
    KeyNotCanonical,
    /// The public key is one of the eight points for which anyone can sign.
    #[error("the public key is a point of small order")]
    KeySmallOrder,
    /// The signature's point R is not the canonical encoding of a number.
    #[error("the signature's R is not canonically encoded")]
    RNotCanonical,
    /// The signature's number s is not below the order of the group.
    #[error("the signature's s is not below the group's order")]
    STooLarge,
    /// The equation does not hold: another key, another message, or no point of the curve.
    #[error("the signature does not fit the key and the message")]
    Mismatch,
}

impl SignatureError {
    /// A stable name for test vectors, logs and answers.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::KeyNotCanonical => "key_not_canonical",
            Self::KeySmallOrder => "key_small_order",
            Self::RNotCanonical => "r_not_canonical",
            Self::STooLarge => "s_too_large",
            Self::Mismatch => "mismatch",
        }
    }
}

/// Why a transaction is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// Its encoding is over the limit.
    #[error("the transaction has {0} bytes: {MAX_TRANSACTION_BYTES} at most")]
    TooLarge(usize),
    /// Its memo is over the limit.
    #[error("the memo has {0} bytes: {MAX_MEMO_BYTES} at most")]
    MemoTooLong(usize),
    /// It has no inputs, but is not the first of a block.
    #[error("a transaction without inputs is a coinbase, and stands only first in a block")]
    StrayCoinbase,
    /// The first transaction of a block has inputs.
    #[error("the first transaction of a block must be a coinbase, but it has {0} inputs")]
    NotCoinbase(usize),
    /// The coinbase's memo does not begin with the block's height.
    #[error("the coinbase's memo must begin with the height {expected}; it begins with {}", found.map_or_else(|| "fewer than 4 bytes".to_owned(), |height| height.to_string()))]
    CoinbaseHeight {
        /// The block's height.
        expected: Height,
        /// What the memo says; `None` when it is shorter than 4 bytes.
        found: Option<Height>,
    },
    /// It has no outputs, and is not a note.
    #[error("the transaction pays nobody: it needs an output")]
    NoOutputs,
    /// An output is worth nothing.
    #[error("output {index} is worth nothing: one unit at least")]
    ZeroOutput {
        /// Which.
        index: usize,
    },
    /// The outputs add up to more than 64 bits hold.
    #[error("the outputs add up to more than there can be")]
    OutputsOverflow,
    /// Two inputs name one coin.
    #[error("the coin {}:{} is spent twice by one transaction", outpoint.txid, outpoint.index)]
    DuplicateInput {
        /// The coin.
        outpoint: OutPoint,
    },
    /// A stamp stands beside other inputs.
    #[error("a stamp must be the only input; there are {0}")]
    StampWithInputs(usize),
    /// A note pays.
    #[error("a note has no coins to pay with, but it has {0} outputs")]
    NoteWithOutputs(usize),
    /// A note says nothing.
    #[error("a note needs a text")]
    EmptyNote,
    /// An input's signature is invalid.
    #[error("the signature of input {input}, by the key {public_key}, is invalid: {reason}")]
    Signature {
        /// Which input.
        input: usize,
        /// By whom it claims to be.
        public_key: PublicKey,
        /// What is wrong with it.
        reason: SignatureError,
    },
    /// An input names a coin that is not there: spent, never made, on another branch, or somebody
    /// else's.
    #[error("input {input} spends the coin {}:{}, which the key's owner does not have", outpoint.txid, outpoint.index)]
    MissingCoin {
        /// Which input.
        input: usize,
        /// The coin.
        outpoint: OutPoint,
    },
    /// A note's stamp is on the chain already.
    #[error("the stamp {index} of this key has been used already")]
    StampUsed {
        /// The stamp's number.
        index: u32,
    },
    /// An input spends a coinbase of the same block.
    #[error(
        "input {input} spends the coinbase of height {height}, which can be spent \
         {COINBASE_MATURITY} block later"
    )]
    ImmatureCoinbase {
        /// Which input.
        input: usize,
        /// The coinbase's.
        height: Height,
    },
    /// The inputs add up to more than 64 bits hold.
    #[error("the inputs add up to more than there can be")]
    InputsOverflow,
    /// It pays out more than it spends.
    #[error("the outputs pay {outputs} coins, the inputs only {inputs}")]
    Overspent {
        /// Sum of the inputs.
        inputs: Amount,
        /// Sum of the outputs.
        outputs: Amount,
    },
    /// The caller did not bring one coin for each input.
    #[error("{coins} coins were looked up for {inputs} inputs")]
    CoinCount {
        /// How many inputs there are.
        inputs: usize,
        /// How many coins were given.
        coins: usize,
    },
}

impl TransactionError {
    /// Whose fault it is when the transaction comes by itself, outside a block.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            // On the sender's branch, or a moment ago, all was well.
            Self::MissingCoin { .. } | Self::StampUsed { .. } | Self::ImmatureCoinbase { .. } => {
                Blame::Nobody
            }
            Self::CoinCount { .. } => Blame::Ours,
            _ => Blame::Peer,
        }
    }

    /// A stable name for logs, metrics and answers.
    #[must_use]
    pub const fn code(&self) -> &'static str {
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

/// Why a block is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// It is the body of another header.
    #[error("the block's header hashes to {found}, not {expected}")]
    WrongHeader {
        /// The header that was checked.
        expected: BlockHash,
        /// The block's.
        found: BlockHash,
    },
    /// Its transactions are not the ones that the header names.
    #[error("the transactions' merkle root is {found}; the header says {expected}")]
    WrongMerkleRoot {
        /// In the header.
        expected: MerkleRoot,
        /// Of the transactions.
        found: MerkleRoot,
    },
    /// Its encoding is over the limit.
    #[error("the block has {0} bytes: {MAX_BLOCK_BYTES} at most")]
    TooLarge(usize),
    /// It has no transactions.
    #[error("the block has no transactions: a coinbase must be the first")]
    Empty,
    /// One of its transactions is invalid, in itself or in this place.
    #[error("transaction {index} of the block is invalid: {error}")]
    Transaction {
        /// Its position.
        index: usize,
        /// Why.
        error: TransactionError,
    },
    /// The fees add up to more than 64 bits hold.
    #[error("the fees add up to more than there can be")]
    FeesOverflow,
    /// The coinbase pays more than the block earns.
    #[error("the coinbase pays {claimed} coins: {allowed} at most")]
    CoinbaseValue {
        /// What it pays.
        claimed: Amount,
        /// The subsidy and the fees.
        allowed: Amount,
    },
}

impl BlockError {
    /// Whose fault it is.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Transaction { error: TransactionError::CoinCount { .. }, .. } => Blame::Ours,
            _ => Blame::Peer,
        }
    }

    /// Whether the header, too, is invalid for ever, since this is the one body that it names.
    #[must_use]
    pub const fn condemns_header(&self) -> bool {
        !matches!(self, Self::WrongHeader { .. } | Self::WrongMerkleRoot { .. })
            && matches!(self.blame(), Blame::Peer)
    }

    /// A stable name for logs, metrics and answers: a transaction's own where one is at fault.
    #[must_use]
    pub const fn code(&self) -> &'static str {
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

/// Why a block is no genesis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// It has a parent or a height.
    #[error(
        "a genesis has height 0 and no parent; this block has height {height} and the parent \
         {previous}"
    )]
    NotFirst {
        /// What it says.
        height: Height,
        /// What it says.
        previous: BlockHash,
    },
    /// Its encoding is over the limit.
    #[error("the genesis has {0} bytes: {MAX_GENESIS_BYTES} at most")]
    TooLarge(usize),
    /// It holds other transactions than one coinbase.
    #[error("a genesis holds one coinbase and nothing else; this one holds {0} transactions")]
    TransactionCount(usize),
    /// Its transaction does not have the form of a coinbase.
    #[error("the genesis's coinbase is invalid: {0}")]
    Coinbase(#[from] TransactionError),
    /// It mints too much.
    #[error("the genesis mints {0} coins: {SUBSIDY} at most")]
    Value(Amount),
    /// Its memo does not hold parameters.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// Its transaction is not the one that the header names.
    #[error("the genesis's merkle root is {found}; its header says {expected}")]
    WrongMerkleRoot {
        /// In the header.
        expected: MerkleRoot,
        /// Of the transaction.
        found: MerkleRoot,
    },
    /// Its target is not the floor.
    #[error("the genesis's bits are {found:08x}; the floor in its memo is {expected:08x}")]
    WrongBits {
        /// The floor.
        expected: u32,
        /// What it says.
        found: u32,
    },
    /// Its hash does not meet the floor.
    #[error("the genesis's hash {hash} does not meet its target {target}")]
    NotEnoughWork {
        /// Its hash.
        hash: NetworkId,
        /// The floor.
        target: Target,
    },
}

impl GenesisError {
    /// A stable name for logs and answers.
    #[must_use]
    pub const fn code(&self) -> &'static str {
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
