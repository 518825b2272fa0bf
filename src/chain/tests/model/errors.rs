//! Tests that each error of the chain can be caused, or that a reason is given why it cannot.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    forge::{Flaw, Forge, Luck, TradeFlaw},
    ledger::Model,
    rules::Purse,
};
use crate::{
    chain::{
        AcceptBlockError, AcceptHeadersError, AcceptTradeError,
        testing::{NOW, PEER, TestChain},
    },
    consensus::{BlockError, HeaderError, SignatureError, TransactionError},
    primitives::{Block, OutPoint, Transaction, TxId},
};

/// Verdicts that the histories of `cargo test` must have met at least once.
pub(super) const MET_IN_HISTORIES: &[&str] = &[
    "connected",
    "side_branch",
    "waiting",
    "known",
    "accepted",
    "headers",
    "unknown_parent",
    "invalid_branch",
    "header_wrong_height",
    "header_time_too_old",
    "header_wrong_bits",
    "header_not_enough_work",
    "header_too_far_ahead",
    "wrong_merkle_root",
    "block_too_large",
    "block_empty",
    "coinbase_value",
    "coinbase_height",
    "not_a_coinbase",
    "stray_coinbase",
    "transaction_too_large",
    "memo_too_long",
    "no_outputs",
    "zero_output",
    "outputs_overflow",
    "duplicate_input",
    "stamp_with_inputs",
    "note_with_outputs",
    "empty_note",
    "bad_signature",
    "missing_coin",
    "stamp_used",
    "overspent",
    "mined",
    "conflict",
    "too_long_chain",
    "too_many_descendants",
];

/// The answer to the question whether somebody outside can cause an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// A [`Flaw`] causes it.
    Made,
    /// Nobody can cause it, for this reason.
    Never(&'static str),
}

use Reach::{Made, Never};

/// Lists for an error enum which variants can be caused. A new variant does not compile until it is
/// listed.
macro_rules! reach {
    ($one:ident, $all:ident, $error:ident { $($variant:ident => $reach:expr,)* }) => {
        fn $one(error: &$error) -> (&'static str, Reach) {
            match error {
                $($error::$variant { .. } => (stringify!($variant), $reach),)*
            }
        }

        fn $all() -> Vec<(&'static str, Reach)> {
            vec![$((stringify!($variant), $reach)),*]
        }
    };
}

reach!(header_reach, all_headers, HeaderError {
    WrongParent => Never("the chain looks the parent up by the name that the header gives"),
    WrongHeight => Made,
    TimeTooOld => Made,
    WrongBits => Made,
    NotEnoughWork => Made,
    TooFarAhead => Made,
    Bits => Never("of a stored header alone; one from outside has other bits than expected"),
});

reach!(block_reach, all_blocks, BlockError {
    WrongHeader => Never("the chain checks the header of that very block"),
    WrongMerkleRoot => Made,
    TooLarge => Made,
    Empty => Made,
    Transaction => Made,
    FeesOverflow => Never("it takes more units than 1.8 billion blocks mint"),
    CoinbaseValue => Made,
});

reach!(transaction_reach, all_transactions, TransactionError {
    TooLarge => Made,
    MemoTooLong => Made,
    StrayCoinbase => Made,
    NotCoinbase => Made,
    CoinbaseHeight => Made,
    NoOutputs => Made,
    ZeroOutput => Made,
    OutputsOverflow => Made,
    DuplicateInput => Made,
    StampWithInputs => Made,
    NoteWithOutputs => Made,
    EmptyNote => Made,
    Signature => Made,
    MissingCoin => Made,
    StampUsed => Made,
    ImmatureCoinbase => Never("a coinbase joins the coins after the trades of its block: for them \
         it is missing"),
    InputsOverflow => Never("it takes more units than 1.8 billion blocks mint"),
    Overspent => Made,
    CoinCount => Never("the chain looks up one coin for each input"),
});

reach!(signature_reach, all_signatures, SignatureError {
    KeyNotCanonical => Made,
    KeySmallOrder => Made,
    RNotCanonical => Made,
    STooLarge => Made,
    Mismatch => Made,
});

/// The variants that were met.
#[derive(Debug, Default)]
struct Met(BTreeSet<&'static str>);

impl Met {
    fn note(&mut self, (name, reach): (&'static str, Reach)) {
        assert_eq!(reach, Made, "{name} was said to be out of reach");
        self.0.insert(name);
    }

    fn header(&mut self, error: &HeaderError) {
        self.note(header_reach(error));
    }

    fn block(&mut self, error: &BlockError) {
        self.note(block_reach(error));
        if let BlockError::Transaction { error, .. } = error {
            self.transaction(error);
        }
    }

    fn transaction(&mut self, error: &TransactionError) {
        self.note(transaction_reach(error));
        if let TransactionError::Signature { reason, .. } = error {
            self.note(signature_reach(reason));
        }
    }
}

/// Returns a chain of a few blocks with trades and notes, and its model.
fn start(luck: &mut Luck) -> (TestChain, Model, Forge) {
    let mut chain = TestChain::new();
    let network = chain.chain.network().as_ref().clone();
    let mut model = Model::new(&network);
    let mut forge = Forge::new(&network, model.params);
    for _ in 0..8 {
        let tip = model.tip();
        let block = forge.block(luck, &tip, 1_000, None).expect("a block");
        assert_eq!(model.accept_block(&block, false, NOW), "connected");
        chain.connect(&[Block::clone(&block)]);
    }
    (chain, model, forge)
}

#[test]
fn every_rule_that_can_be_broken_is_broken_by_someone_and_named_alike() {
    let mut met = Met::default();
    for flaw in Flaw::all() {
        let mut luck = Luck(7);
        let (mut chain, mut model, mut forge) = start(&mut luck);
        let tip = model.tip();
        let made = (0..50).find_map(|_| forge.block(&mut luck, &tip, 1_000, Some(flaw)));
        let block = made.unwrap_or_else(|| panic!("no block with {flaw:?}"));
        let verdict = model.accept_block(&block, false, NOW);
        let found = chain.block(&block);
        if verdict == "connected" {
            assert!(matches!(flaw, Flaw::Trade(TradeFlaw::Crafted(_))), "{flaw:?} breaks no rule");
            assert!(found.is_ok(), "{flaw:?}: {found:?}");
            continue;
        }
        let error = found.expect_err("a broken rule");
        assert_eq!(error.code(), verdict, "{flaw:?}");
        match &error {
            AcceptBlockError::Header { error, .. } => met.header(error),
            AcceptBlockError::Body { error, .. } => met.block(error),
            other => panic!("{flaw:?}: {other}"),
        }
        assert_eq!(chain.tip(), tip);
    }
    // The same trades outside of a block.
    for flaw in TradeFlaw::all() {
        let mut luck = Luck(7);
        let (mut chain, mut model, forge) = start(&mut luck);
        let purse = Purse::clone(&model.coins());
        let made = (0..50).find_map(|_| forge.flawed_trade(&mut luck, &purse, flaw));
        let trade = made.unwrap_or_else(|| panic!("no trade with {flaw:?}"));
        let verdict = model.accept_trade(&Arc::new(trade.clone()), false);
        let found = chain.trade(&trade, PEER);
        assert_eq!(
            found.as_ref().map_or_else(AcceptTradeError::code, |_| "accepted"),
            verdict,
            "{flaw:?}"
        );
        if let Err(AcceptTradeError::Transaction { error, .. }) = found {
            met.transaction(&error);
        }
    }
    let mut luck = Luck(7);
    let (mut chain, model, mut forge) = start(&mut luck);
    let early = forge.block(&mut luck, &model.tip(), 1_000_000, None).expect("a block");
    let now = early.header.time - 20_000;
    match chain.chain.accept_headers(&[early.header], PEER, now) {
        Err(AcceptHeadersError::Header { error, .. }) => met.header(&error),
        other => panic!("{other:?}"),
    }

    let all = [all_headers(), all_blocks(), all_transactions(), all_signatures()].concat();
    for (name, reach) in all {
        match reach {
            Made => assert!(met.0.contains(name), "nobody breaks {name}"),
            Never(why) => assert!(!met.0.contains(name) && !why.is_empty()),
        }
    }
}

#[test]
fn what_nobody_can_cause_is_not_caused_by_the_nearest_attempts() {
    let mut luck = Luck(7);
    let (mut chain, model, mut forge) = start(&mut luck);
    // A stamp's entry is not a coin, so no trade can spend it.
    let mut trade = forge.trade(&mut luck, &model.coins()).expect("coins");
    trade.inputs[0].outpoint = OutPoint { txid: TxId([0; 32]), index: 0 };
    trade.inputs.truncate(1);
    assert_eq!(chain.trade(&trade, PEER).expect_err("refused").code(), "note_with_outputs");
    // The reward of the next block does not exist yet.
    let next = forge.block(&mut luck, &model.tip(), 1_000, None).expect("a block");
    let early = OutPoint { txid: next.transactions[0].txid(), index: 0 };
    let spender = Transaction {
        inputs: vec![crate::primitives::TxInput { outpoint: early, ..trade.inputs[0] }],
        ..trade
    };
    assert_eq!(chain.trade(&spender, PEER).expect_err("refused").code(), "missing_coin");
}
