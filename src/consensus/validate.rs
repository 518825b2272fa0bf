//! Transactions and blocks: everything but the coins' whereabouts, which [`chain`](crate::chain) looks up.
//!
//! A block is connected in four steps: [`check_block`] (form), then for each transaction in order [`check_coins`] with
//! the coins that its inputs name, so that children stand after parents, then [`check_coinbase_value`] with the fees,
//! and [`verify_signatures`](super::verify_signatures) for those transactions whose signatures were not verified before.

use std::collections::HashSet;

use super::{
    BlockError, COINBASE_MATURITY, CheckedHeader, Coin, MAX_BLOCK_BYTES, MAX_TRANSACTION_BYTES, SUBSIDY,
    TransactionError,
};
use crate::primitives::{
    Amount, Block, BlockHash, Height, LeafHash, MAX_MEMO_BYTES, Transaction, TransactionKind, TxId, merkle_root,
};

/// A block whose work is done and whose form is right; its coins and signatures are not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedBlock {
    block: Block,
    hash: BlockHash,
    txids: Vec<TxId>,
    leaves: Vec<LeafHash>,
}

impl CheckedBlock {
    /// It.
    #[must_use]
    pub const fn block(&self) -> &Block {
        &self.block
    }

    /// Its name.
    #[must_use]
    pub const fn hash(&self) -> BlockHash {
        self.hash
    }

    /// Its height.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.block.header.height
    }

    /// The ids of its transactions, in order.
    #[must_use]
    pub fn txids(&self) -> &[TxId] {
        &self.txids
    }

    /// The merkle leaves of its transactions, in order.
    #[must_use]
    pub fn leaves(&self) -> &[LeafHash] {
        &self.leaves
    }

    /// Its transactions, each with its id, in order.
    pub fn transactions(&self) -> impl Iterator<Item = (&Transaction, TxId)> {
        self.block.transactions.iter().zip(self.txids.iter().copied())
    }

    /// The block alone.
    #[must_use]
    pub fn into_block(self) -> Block {
        self.block
    }
}

/// Checks a block's form: that its transactions are those of the checked header, its size, its coinbase, and the form of
/// every transaction.
///
/// Whether the body is the header's own comes first: any later error is for ever the header's too, see
/// [`BlockError::condemns_header`].
pub fn check_block(block: Block, header: &CheckedHeader) -> Result<CheckedBlock, BlockError> {
    if block.header != *header.header() {
        return Err(BlockError::WrongHeader { expected: header.hash(), found: block.hash() });
    }
    let leaves = block.leaves();
    let found = merkle_root(&leaves);
    if found != block.header.merkle_root {
        return Err(BlockError::WrongMerkleRoot { expected: block.header.merkle_root, found });
    }
    let bytes = block.encoded_len();
    if bytes > MAX_BLOCK_BYTES {
        return Err(BlockError::TooLarge(bytes));
    }
    let Some((coinbase, rest)) = block.transactions.split_first() else {
        return Err(BlockError::Empty);
    };
    check_coinbase(coinbase, block.header.height).map_err(|error| BlockError::Transaction { index: 0, error })?;
    for (index, transaction) in (1..).zip(rest) {
        check_transaction(transaction).map_err(|error| BlockError::Transaction { index, error })?;
    }
    let txids = block.transactions.iter().map(Transaction::txid).collect();
    Ok(CheckedBlock { hash: header.hash(), txids, leaves, block })
}

/// Checks the form of a trade or note: everything that can be said without coins and signatures.
pub fn check_transaction(transaction: &Transaction) -> Result<(), TransactionError> {
    check_sizes(transaction)?;
    match transaction.kind() {
        TransactionKind::Coinbase => Err(TransactionError::StrayCoinbase),
        TransactionKind::Note => check_note(transaction),
        TransactionKind::Trade => {
            check_outputs(transaction)?;
            let mut seen = HashSet::with_capacity(transaction.inputs.len());
            match transaction.inputs.iter().find(|input| !seen.insert(input.outpoint)) {
                Some(input) => Err(TransactionError::DuplicateInput { outpoint: input.outpoint }),
                None => Ok(()),
            }
        }
    }
}

/// Checks the form of the first transaction of a block of `height`.
pub(super) fn check_coinbase(transaction: &Transaction, height: Height) -> Result<(), TransactionError> {
    check_sizes(transaction)?;
    if !transaction.inputs.is_empty() {
        return Err(TransactionError::NotCoinbase(transaction.inputs.len()));
    }
    let found = transaction.memo.first_chunk().map(|bytes| Height::from_le_bytes(*bytes));
    if found != Some(height) {
        return Err(TransactionError::CoinbaseHeight { expected: height, found });
    }
    check_outputs(transaction).map(|_| ())
}

fn check_sizes(transaction: &Transaction) -> Result<(), TransactionError> {
    let bytes = transaction.encoded_len();
    if bytes > MAX_TRANSACTION_BYTES {
        return Err(TransactionError::TooLarge(bytes));
    }
    if transaction.memo.len() > MAX_MEMO_BYTES {
        return Err(TransactionError::MemoTooLong(transaction.memo.len()));
    }
    Ok(())
}

fn check_note(note: &Transaction) -> Result<(), TransactionError> {
    if note.inputs.len() != 1 {
        return Err(TransactionError::StampWithInputs(note.inputs.len()));
    }
    if !note.outputs.is_empty() {
        return Err(TransactionError::NoteWithOutputs(note.outputs.len()));
    }
    if note.memo.is_empty() {
        return Err(TransactionError::EmptyNote);
    }
    Ok(())
}

/// At least one output, each worth something; gives their sum.
pub(super) fn check_outputs(transaction: &Transaction) -> Result<Amount, TransactionError> {
    if transaction.outputs.is_empty() {
        return Err(TransactionError::NoOutputs);
    }
    if let Some(index) = transaction.outputs.iter().position(|output| output.value == Amount::ZERO) {
        return Err(TransactionError::ZeroOutput { index });
    }
    sum_of_outputs(transaction)
}

fn sum_of_outputs(transaction: &Transaction) -> Result<Amount, TransactionError> {
    let values = transaction.outputs.iter().map(|output| output.value);
    Amount::checked_sum(values).ok_or(TransactionError::OutputsOverflow)
}

/// Checks what a trade's inputs are worth, and gives its fee: inputs less outputs.
///
/// `coins` are those that its inputs name, in order, all unspent; `spend_height` is that of the block it is in, or would
/// be in. A note has no coins and no fee.
pub fn check_coins(
    transaction: &Transaction,
    coins: &[Coin],
    spend_height: Height,
) -> Result<Amount, TransactionError> {
    let expected = match transaction.kind() {
        TransactionKind::Trade => transaction.inputs.len(),
        TransactionKind::Coinbase => return Err(TransactionError::StrayCoinbase),
        TransactionKind::Note => 0,
    };
    if coins.len() != expected {
        return Err(TransactionError::CoinCount { inputs: expected, coins: coins.len() });
    }
    let young = |coin: &Coin| coin.coinbase && spend_height < coin.height.saturating_add(COINBASE_MATURITY);
    if let Some((input, coin)) = coins.iter().enumerate().find(|(_, coin)| young(coin)) {
        return Err(TransactionError::ImmatureCoinbase { input, height: coin.height });
    }
    let inputs = Amount::checked_sum(coins.iter().map(|coin| coin.value)).ok_or(TransactionError::InputsOverflow)?;
    let outputs = sum_of_outputs(transaction)?;
    inputs.checked_sub(outputs).ok_or(TransactionError::Overspent { inputs, outputs })
}

/// Checks that a block's coinbase pays no more than the subsidy and the block's fees.
pub fn check_coinbase_value(coinbase: &Transaction, fees: Amount) -> Result<(), BlockError> {
    let claimed = sum_of_outputs(coinbase).map_err(|error| BlockError::Transaction { index: 0, error })?;
    let allowed = SUBSIDY.checked_add(fees).ok_or(BlockError::FeesOverflow)?;
    if claimed > allowed {
        return Err(BlockError::CoinbaseValue { claimed, allowed });
    }
    Ok(())
}
