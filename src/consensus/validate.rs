//! The checks of transactions and blocks, except the lookup of coins, which
//! [`chain`](crate::chain) does.
//!
//! The caller connects a block in four steps:
//! 1. [`check_block`] checks the form.
//! 2. [`check_coins`] checks each transaction in order, with the coins that its inputs name. A
//!    transaction can therefore spend only outputs of earlier ones.
//! 3. [`check_coinbase_value`] checks the coinbase against the fees.
//! 4. [`verify_signatures`](super::verify_signatures) verifies the transactions whose signatures
//!    were not verified before.

use std::{collections::HashSet, sync::Arc};

use super::{
    BlockError, COINBASE_MATURITY, CheckedHeader, Coin, MAX_BLOCK_BYTES, MAX_TRANSACTION_BYTES,
    SUBSIDY, TransactionError,
};
use crate::primitives::{
    Amount, Block, Height, LeafHash, MAX_MEMO_BYTES, Transaction, TransactionKind, TxId, TxInput,
    merkle_root,
};

/// The most inputs for which comparing all pairs is faster than filling a set.
const FEW_INPUTS: usize = 8;

/// A block with a checked header and the right form, whose coins and signatures are unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedBlock {
    block: Arc<Block>,
    txids: Vec<TxId>,
    leaves: Vec<LeafHash>,
}

impl CheckedBlock {
    #[must_use]
    pub fn height(&self) -> Height {
        self.block.header.height
    }

    /// Iterates over the transactions and their ids, in order.
    pub fn transactions(&self) -> impl Iterator<Item = (&Transaction, TxId)> {
        self.block.transactions.iter().zip(self.txids.iter().copied())
    }

    /// Returns the block, and the ids and merkle leaves of its transactions in order.
    #[must_use]
    pub(crate) fn into_parts(self) -> (Arc<Block>, Vec<TxId>, Vec<LeafHash>) {
        (self.block, self.txids, self.leaves)
    }
}

/// Checks a block's form: its size, its coinbase, and the form of every transaction.
///
/// The first check is that the body belongs to the checked header. Any later error therefore
/// condemns the header too, see [`BlockError::condemns_header`].
pub fn check_block(block: Arc<Block>, header: &CheckedHeader) -> Result<CheckedBlock, BlockError> {
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
    check_coinbase(coinbase, block.header.height)
        .map_err(|error| BlockError::Transaction { index: 0, error })?;
    for (index, transaction) in (1..).zip(rest) {
        check_transaction(transaction).map_err(|error| BlockError::Transaction { index, error })?;
    }
    let txids = block.transactions.iter().map(Transaction::txid).collect();
    Ok(CheckedBlock { block, txids, leaves })
}

/// Checks the form of a trade or note: all that needs no coins and no verified signatures.
pub(crate) fn check_transaction(transaction: &Transaction) -> Result<(), TransactionError> {
    check_sizes(transaction)?;
    match transaction.kind() {
        TransactionKind::Coinbase => Err(TransactionError::StrayCoinbase),
        TransactionKind::Note => check_note(transaction),
        TransactionKind::Trade => {
            check_outputs(transaction)?;
            check_no_input_twice(&transaction.inputs)
        }
    }
}

fn check_no_input_twice(inputs: &[TxInput]) -> Result<(), TransactionError> {
    let twice = if inputs.len() <= FEW_INPUTS {
        let is_known =
            |at: usize, outpoint| inputs.iter().take(at).any(|before| before.outpoint == outpoint);
        inputs
            .iter()
            .enumerate()
            .find(|(at, input)| is_known(*at, input.outpoint))
            .map(|(_, input)| input)
    } else {
        let mut seen = HashSet::with_capacity(inputs.len());
        inputs.iter().find(|input| !seen.insert(input.outpoint))
    };
    twice.map_or(Ok(()), |input| Err(TransactionError::DuplicateInput { outpoint: input.outpoint }))
}

/// Checks the form of the first transaction of a block of `height`.
pub(super) fn check_coinbase(
    transaction: &Transaction,
    height: Height,
) -> Result<(), TransactionError> {
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

/// Checks that there are outputs and that none is zero, and returns their sum.
pub(super) fn check_outputs(transaction: &Transaction) -> Result<Amount, TransactionError> {
    if transaction.outputs.is_empty() {
        return Err(TransactionError::NoOutputs);
    }
    if let Some(index) = transaction.outputs.iter().position(|output| output.value == Amount::ZERO)
    {
        return Err(TransactionError::ZeroOutput { index });
    }
    sum_of_outputs(transaction)
}

fn sum_of_outputs(transaction: &Transaction) -> Result<Amount, TransactionError> {
    let values = transaction.outputs.iter().map(|output| output.value);
    Amount::checked_sum(values).ok_or(TransactionError::OutputsOverflow)
}

/// Checks the value and maturity of a trade's inputs, and returns its fee: inputs minus outputs.
///
/// `coins` are the unspent coins that the inputs name, in order. `spend_height` is the height of
/// the block that contains the trade or could contain it. A note has no coins and no fee.
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
    let young =
        |coin: &Coin| coin.coinbase && spend_height < coin.height.saturating_add(COINBASE_MATURITY);
    if let Some((input, coin)) = coins.iter().enumerate().find(|(_, coin)| young(coin)) {
        return Err(TransactionError::ImmatureCoinbase { input, height: coin.height });
    }
    let inputs = Amount::checked_sum(coins.iter().map(|coin| coin.value))
        .ok_or(TransactionError::InputsOverflow)?;
    let outputs = sum_of_outputs(transaction)?;
    inputs.checked_sub(outputs).ok_or(TransactionError::Overspent { inputs, outputs })
}

/// Checks that a coinbase pays at most the subsidy plus the block's fees.
pub fn check_coinbase_value(coinbase: &Transaction, fees: Amount) -> Result<(), BlockError> {
    let claimed =
        sum_of_outputs(coinbase).map_err(|error| BlockError::Transaction { index: 0, error })?;
    let allowed = SUBSIDY.checked_add(fees).ok_or(BlockError::FeesOverflow)?;
    if claimed > allowed {
        return Err(BlockError::CoinbaseValue { claimed, allowed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        consensus::{
            Blame, HeaderWindow, Network,
            testing::{
                checked, coinbase, hash, key, mine, network, next_block, note, outpoint, owner,
                signed,
            },
        },
        primitives::{Owner, TxInput, TxOutput, coinbase_memo},
    };

    fn to(units: u64) -> TxOutput {
        TxOutput { value: Amount::from_units(units), owner: owner(&key(2)) }
    }

    fn trade(outputs: Vec<TxOutput>) -> Transaction {
        signed(&hash(0), &[(&key(1), outpoint(1, 0))], outputs, b"")
    }

    fn coin(units: u64) -> Coin {
        Coin { value: Amount::from_units(units), height: 5, coinbase: false }
    }

    #[test]
    fn trades_and_notes_of_the_right_form_pass() {
        assert_eq!(check_transaction(&trade(vec![to(1)])), Ok(()));
        assert_eq!(check_transaction(&note(&hash(0), &key(1), 0, b"x")), Ok(()));
        assert_eq!(
            check_transaction(&note(&hash(0), &key(1), u32::MAX, &[0xff; MAX_MEMO_BYTES])),
            Ok(())
        );
    }

    #[test]
    fn a_transaction_of_the_wrong_form_is_refused_by_cause() {
        use TransactionError as E;
        let zero = trade(vec![to(1), to(0)]);
        let many = trade(vec![to(1); 4_000]);
        let over = trade(vec![to(u64::MAX), to(1)]);
        let twice = signed(
            &hash(0),
            &[(&key(1), outpoint(1, 0)), (&key(2), outpoint(1, 0))],
            vec![to(1)],
            b"",
        );
        let memo = Transaction { memo: vec![0; MAX_MEMO_BYTES + 1], ..trade(vec![to(1)]) };
        let stamp = note(&hash(0), &key(1), 3, b"x");
        let stamp_and_coin = Transaction {
            inputs: [&stamp.inputs[..], &trade(vec![]).inputs].concat(),
            ..stamp.clone()
        };
        let two_stamps = Transaction { inputs: vec![stamp.inputs[0]; 2], ..stamp.clone() };
        for (transaction, expected) in [
            (coinbase(1, Owner::ZERO, SUBSIDY), E::StrayCoinbase),
            (trade(vec![]), E::NoOutputs),
            (zero, E::ZeroOutput { index: 1 }),
            (over, E::OutputsOverflow),
            (twice, E::DuplicateInput { outpoint: outpoint(1, 0) }),
            (many.clone(), E::TooLarge(many.encoded_len())),
            (memo, E::MemoTooLong(MAX_MEMO_BYTES + 1)),
            (stamp_and_coin, E::StampWithInputs(2)),
            (two_stamps, E::StampWithInputs(2)),
            (Transaction { outputs: vec![to(1)], ..stamp.clone() }, E::NoteWithOutputs(1)),
            (Transaction { memo: vec![], ..stamp }, E::EmptyNote),
        ] {
            assert_eq!(check_transaction(&transaction), Err(expected));
            assert_eq!(expected.blame(), Blame::Peer);
        }
    }

    #[test]
    fn the_largest_transaction_passes_and_one_byte_more_does_not() {
        let empty = Transaction { outputs: vec![], ..trade(vec![]) };
        let outputs = (MAX_TRANSACTION_BYTES - empty.encoded_len()) / TxOutput::BYTES;
        let memo = MAX_TRANSACTION_BYTES - empty.encoded_len() - outputs * TxOutput::BYTES;
        let full = Transaction { outputs: vec![to(1); outputs], memo: vec![1; memo], ..empty };
        assert_eq!(full.encoded_len(), MAX_TRANSACTION_BYTES);
        assert_eq!(check_transaction(&full), Ok(()));
        let over = Transaction { memo: vec![1; memo + 1], ..full };
        assert_eq!(
            check_transaction(&over),
            Err(TransactionError::TooLarge(MAX_TRANSACTION_BYTES + 1))
        );
    }

    #[test]
    fn a_fee_is_the_inputs_minus_the_outputs() {
        let fee = |coins: &[Coin], outputs| check_coins(&trade(outputs), coins, 6);
        assert_eq!(fee(&[coin(10)], vec![to(4), to(5)]), Ok(Amount::from_units(1)));
        assert_eq!(fee(&[coin(9)], vec![to(4), to(5)]), Ok(Amount::ZERO));
        let short = TransactionError::Overspent {
            inputs: Amount::from_units(8),
            outputs: Amount::from_units(9),
        };
        assert_eq!(fee(&[coin(8)], vec![to(4), to(5)]), Err(short));
        assert_eq!(check_coins(&note(&hash(0), &key(1), 0, b"x"), &[], 6), Ok(Amount::ZERO));
    }

    #[test]
    fn a_wrong_number_of_coins_is_our_own_fault() {
        let error = check_coins(&trade(vec![to(1)]), &[], 6).expect_err("no coin");
        assert_eq!(error, TransactionError::CoinCount { inputs: 1, coins: 0 });
        assert_eq!(error.blame(), Blame::Ours);
        assert!(!BlockError::Transaction { index: 1, error }.condemns_header());
    }

    #[test]
    fn inputs_that_overflow_are_refused() {
        let two = signed(
            &hash(0),
            &[(&key(1), outpoint(1, 0)), (&key(1), outpoint(2, 0))],
            vec![to(1)],
            b"",
        );
        assert_eq!(
            check_coins(&two, &[coin(u64::MAX), coin(1)], 6),
            Err(TransactionError::InputsOverflow)
        );
    }

    #[test]
    fn a_coinbase_is_spent_one_block_later_at_the_earliest() {
        let young = Coin { coinbase: true, ..coin(9) };
        let spend = |height| check_coins(&trade(vec![to(9)]), &[young], height);
        assert_eq!(spend(5), Err(TransactionError::ImmatureCoinbase { input: 0, height: 5 }));
        assert_eq!(spend(6), Ok(Amount::ZERO));
        assert_eq!(
            check_coins(&trade(vec![to(9)]), &[coin(9)], 5),
            Ok(Amount::ZERO),
            "others at once"
        );
    }

    #[test]
    fn a_coinbase_pays_the_subsidy_and_the_fees_at_most() {
        let pays = |value, fees| check_coinbase_value(&coinbase(1, Owner::ZERO, value), fees);
        let fee = Amount::from_units(7);
        let earned = SUBSIDY.saturating_add(fee);
        assert_eq!(pays(earned, fee), Ok(()));
        assert_eq!(pays(Amount::from_units(1), Amount::ZERO), Ok(()));
        let error = BlockError::CoinbaseValue { claimed: earned, allowed: SUBSIDY };
        assert_eq!(pays(earned, Amount::ZERO), Err(error));
        assert!(error.condemns_header());
        assert_eq!(pays(SUBSIDY, Amount::from_units(u64::MAX)), Err(BlockError::FeesOverflow));
    }

    struct Setup {
        network: Network,
        window: HeaderWindow,
    }

    impl Setup {
        fn new() -> Self {
            let network = network(0);
            let window = HeaderWindow::genesis(&network);
            Self { network, window }
        }

        fn block(&self, rest: Vec<Transaction>) -> Block {
            next_block(&self.network, &self.window, rest)
        }

        /// Checks a block whose transactions were changed before it was mined.
        fn changed(
            &self,
            change: impl FnOnce(&mut Vec<Transaction>),
        ) -> Result<CheckedBlock, BlockError> {
            let mut block = self.block(vec![]);
            change(&mut block.transactions);
            block.header.merkle_root = block.computed_merkle_root();
            mine(&mut block);
            let header = checked(&self.network, &self.window, &block);
            check_block(Arc::new(block), &header)
        }
    }

    #[test]
    fn a_block_of_the_right_form_is_checked_with_its_ids() {
        let setup = Setup::new();
        let block =
            setup.block(vec![trade(vec![to(1)]), note(&setup.network.id, &key(3), 1, b"hello")]);
        let header = checked(&setup.network, &setup.window, &block);
        let found = check_block(Arc::new(block.clone()), &header).expect("a valid block");
        assert_eq!(found.height(), 1);
        assert_eq!(found.transactions().count(), 3);
        let (whole, txids, leaves) = found.into_parts();
        assert_eq!(*whole, block);
        assert_eq!(txids, block.transactions.iter().map(Transaction::txid).collect::<Vec<_>>());
        assert_eq!(leaves, block.leaves());
    }

    #[test]
    fn a_body_of_another_header_does_not_condemn_the_header() {
        let setup = Setup::new();
        let block = setup.block(vec![]);
        let header = checked(&setup.network, &setup.window, &block);

        let mut other = block.clone();
        other.header.nonce += 1;
        let error = check_block(Arc::new(other), &header).expect_err("another header");
        assert!(
            matches!(error, BlockError::WrongHeader { expected, .. } if expected == header.hash())
        );
        assert!(!error.condemns_header());

        let mut other = block;
        other.transactions.push(trade(vec![to(1)]));
        let error = check_block(Arc::new(other), &header).expect_err("another body");
        assert!(matches!(error, BlockError::WrongMerkleRoot { .. }));
        assert!(!error.condemns_header());
    }

    #[test]
    fn a_changed_signature_in_a_body_does_not_condemn_the_header() {
        let setup = Setup::new();
        let mut block = setup.block(vec![trade(vec![to(1)])]);
        let header = checked(&setup.network, &setup.window, &block);
        let input: &mut TxInput = &mut block.transactions[1].inputs[0];
        input.signature.0[0] ^= 1;
        let error = check_block(Arc::new(block), &header).expect_err("another leaf");
        assert!(
            matches!(error, BlockError::WrongMerkleRoot { .. }),
            "the leaf is over signatures too"
        );
    }

    type Change = Box<dyn FnOnce(&mut Vec<Transaction>)>;

    #[test]
    fn a_body_of_the_wrong_form_condemns_its_header() {
        use TransactionError as E;
        let setup = Setup::new();
        let at = |index, error| BlockError::Transaction { index, error };
        let second = coinbase(1, Owner::ZERO, SUBSIDY);
        let cases: Vec<(BlockError, Change)> = vec![
            (BlockError::Empty, Box::new(Vec::clear)),
            (at(0, E::NotCoinbase(1)), Box::new(|all| all[0] = trade(vec![to(1)]))),
            (at(0, E::NoOutputs), Box::new(|all| all[0].outputs.clear())),
            (
                at(0, E::ZeroOutput { index: 0 }),
                Box::new(|all| all[0].outputs[0].value = Amount::ZERO),
            ),
            (
                at(0, E::CoinbaseHeight { expected: 1, found: Some(2) }),
                Box::new(|all| all[0].memo = coinbase_memo(2, b"")),
            ),
            (
                at(0, E::CoinbaseHeight { expected: 1, found: None }),
                Box::new(|all| all[0].memo = vec![1, 0, 0]),
            ),
            (
                at(0, E::MemoTooLong(1_025)),
                Box::new(|all| all[0].memo = coinbase_memo(1, &[0; 1_021])),
            ),
            (at(1, E::StrayCoinbase), Box::new(|all| all.push(second))),
            (at(2, E::NoOutputs), Box::new(|all| all.extend([trade(vec![to(1)]), trade(vec![])]))),
        ];
        for (expected, change) in cases {
            assert_eq!(setup.changed(change), Err(expected));
            assert!(expected.condemns_header());
        }
    }

    #[test]
    fn a_block_over_two_mebibytes_is_refused() {
        let setup = Setup::new();
        let large = trade(vec![to(1); 3_500]);
        let count = MAX_BLOCK_BYTES / large.encoded_len();
        assert!(setup.changed(|all| all.extend(vec![large.clone(); count])).is_ok());
        let error =
            setup.changed(|all| all.extend(vec![large.clone(); count + 1])).expect_err("too large");
        assert!(matches!(error, BlockError::TooLarge(bytes) if bytes > MAX_BLOCK_BYTES));
        assert!(error.condemns_header());
    }
}
