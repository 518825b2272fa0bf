//! Tests of coin selection and building.

use proptest::prelude::*;

use super::*;
use crate::{
    consensus::{Coin, check_transaction},
    primitives::Height,
};

const HEIGHT: Height = 20;

fn key() -> PublicKey {
    PublicKey([7; 32])
}

fn keys() -> Keys {
    [key(), other_key()].map(|key| (key.owner(), key)).into()
}

fn other_key() -> PublicKey {
    PublicKey([8; 32])
}

fn coin(name: u8, value: u64, height: Height, coinbase: bool) -> OwnedCoin {
    OwnedCoin {
        owner: key().owner(),
        outpoint: OutPoint { txid: TxId([name; 32]), index: 0 },
        coin: Coin { value: Amount::from_units(value), height, coinbase },
    }
}

fn spendable(confirmed: Vec<OwnedCoin>, pending: Vec<OwnedCoin>) -> Spendable {
    let total = confirmed.iter().map(|owned| owned.coin.value).sum();
    Spendable { confirmed, pending, total, height: HEIGHT, ..Spendable::default() }
}

fn order(amount: u64, fee: u64) -> Order {
    let output = TxOutput { value: Amount::from_units(amount), owner: Owner([1; 20]) };
    Order { outputs: vec![output], fee: Amount::from_units(fee), ..Order::default() }
}

fn send(spendable: &Spendable, amount: u64, fee: u64) -> Result<BuiltTrade, BuildError> {
    build_trade(spendable, &keys(), &order(amount, fee))
}

fn spent(trade: &BuiltTrade) -> Vec<u8> {
    trade.transaction.inputs.iter().map(|input| input.outpoint.txid.0[0]).collect()
}

#[test]
fn change_goes_back_to_the_sender() {
    let trade = send(&spendable(vec![coin(1, 100, 3, true)], vec![]), 10, 1).unwrap();
    let outputs: Vec<_> =
        trade.transaction.outputs.iter().map(|o| (o.owner, o.value.units())).collect();
    assert_eq!(outputs, [(Owner([1; 20]), 10), (key().owner(), 89)]);
    let exact = send(&spendable(vec![coin(1, 11, 3, true)], vec![]), 10, 1).unwrap();
    assert_eq!(exact.transaction.outputs.len(), 1);
}

#[test]
fn a_higher_fee_comes_from_the_change_and_then_from_more_coins() {
    let units = Amount::from_units;
    let coins = spendable(vec![coin(1, 100, 3, true)], vec![]);
    let sent = send(&coins, 10, 1).unwrap().transaction;
    let rest = spendable(vec![coin(2, 50, 3, true)], vec![coin(3, 1_000, 21, false)]);
    let raised = |fee| raise_fee(&sent, units(1), units(fee), &rest, &keys());
    let outputs = |trade: &BuiltTrade| -> Vec<_> {
        trade
            .transaction
            .outputs
            .iter()
            .map(|output| (output.owner, output.value.units()))
            .collect()
    };
    let (to, me) = (Owner([1; 20]), key().owner());
    assert_eq!(outputs(&raised(9).unwrap()), [(to, 10), (me, 81)]);
    assert_eq!(outputs(&raised(90).unwrap()), [(to, 10)], "all of the change");
    let with_more = raised(95).unwrap();
    assert_eq!((spent(&with_more), outputs(&with_more)), (vec![1, 2], vec![(to, 10), (me, 45)]));
    assert_eq!(outputs(&raised(140).unwrap()), [(to, 10)], "all there is");
    assert!(matches!(raised(141), Err(BuildError::NotEnough { needs, .. }) if needs == units(51)));
    assert_eq!(raised(1), Err(BuildError::FeeNotRaised { before: units(1), fee: units(1) }));
    let note = build_note(key(), "x", 1).unwrap();
    assert_eq!(raise_fee(&note, units(0), units(5), &rest, &keys()), Err(BuildError::NoteWithFee));
}

#[test]
fn the_surest_coins_are_spent_first_and_young_rewards_last() {
    let coins = spendable(
        vec![coin(4, 100, 16, true), coin(2, 100, 19, false), coin(1, 100, 15, true)],
        vec![coin(3, 100, 21, false)],
    );
    let built = |amount| send(&coins, amount, 0).unwrap();
    assert_eq!(spent(&built(100)), [1]);
    assert_eq!(spent(&built(200)), [1, 2]);
    assert_eq!(spent(&built(300)), [1, 2, 3]);
    assert_eq!(spent(&built(400)), [1, 2, 3, 4]);
    assert_eq!((built(200).rests_on.len(), built(200).rests_on_young_rewards), (0, false));
    assert_eq!((built(300).rests_on.len(), built(300).rests_on_young_rewards), (1, false));
    assert!(built(400).rests_on_young_rewards);
    let mut genesis = spendable(vec![coin(1, 100, 0, true)], vec![]);
    genesis.height = 1;
    assert!(!send(&genesis, 100, 0).unwrap().rests_on_young_rewards, "no reorg removes genesis");
}

#[test]
fn a_small_payment_leaves_large_coins_whole() {
    let coins = spendable(
        vec![coin(1, 1_000, 3, false), coin(2, 30, 3, false), coin(3, 20, 3, false)],
        vec![],
    );
    assert_eq!(spent(&send(&coins, 25, 0).unwrap()), [2]);
    assert_eq!(spent(&send(&coins, 1_010, 0).unwrap()), [1, 3]);
}

#[test]
fn too_little_says_what_there_is_and_what_waits() {
    let coins =
        spendable(vec![coin(1, 5_000_000_000, 3, true)], vec![coin(2, 1_000_000_000, 21, false)]);
    let error = send(&coins, 9_000_000_000, 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the wallet has 60 (10 of it waits to be mined), and this needs 90: send less, wait for \
         more, or mine some"
    );
    let nothing = send(&spendable(vec![], vec![]), 10, 0).unwrap_err();
    assert_eq!(
        nothing.to_string(),
        "the wallet has 0, and this needs 0.0000001: mine a block with mine, or ask a friend for \
         some"
    );
}

#[test]
fn amounts_that_make_no_sense_are_refused() {
    let coins = spendable(vec![coin(1, 100, 3, true)], vec![]);
    assert_eq!(send(&coins, 0, 1), Err(BuildError::ZeroAmount));
    assert!(matches!(send(&coins, u64::MAX, 1), Err(BuildError::TooLarge { .. })));
    let memo = vec![b'x'; MAX_MEMO_BYTES + 1];
    let long = build_trade(&coins, &keys(), &Order { memo, ..order(1, 0) });
    assert_eq!(long, Err(BuildError::TextTooLong(1_025)));
}

#[test]
fn many_small_coins_fit_as_far_as_a_trade_can_hold_them_and_the_error_says_how_far_that_is() {
    let dust = |count: u32| -> Vec<OwnedCoin> {
        (0..count)
            .map(|index| OwnedCoin {
                outpoint: OutPoint { txid: TxId([1; 32]), index },
                ..coin(1, 10, 3, false)
            })
            .collect()
    };
    let coins = spendable(dust(2_000), vec![]);
    let Err(BuildError::TooManyCoins { most, .. }) = send(&coins, 15_000, 5) else {
        panic!("2,000 inputs do not fit");
    };
    let built = send(&coins, most.units(), 5).unwrap();
    assert!(built.transaction.encoded_len() <= MAX_TRANSACTION_BYTES);
    assert_eq!(built.transaction.inputs.len(), most_inputs(0, 2));
    assert!(matches!(send(&coins, most.units() + 1, 5), Err(BuildError::TooManyCoins { .. })));
    // A large coin that is less safe is better than no trade.
    let rich = spendable([dust(2_000), vec![coin(9, 100_000, 20, true)]].concat(), vec![]);
    assert!(send(&rich, 15_000, 5).unwrap().rests_on_young_rewards);
}

#[test]
fn a_note_needs_a_text_that_fits_and_spends_no_coin() {
    assert_eq!(build_note(key(), "", 1), Err(BuildError::EmptyNote));
    assert_eq!(build_note(key(), &"é".repeat(513), 1), Err(BuildError::TextTooLong(1_026)));
    let note = build_note(key(), "GoodMorning!", 9).unwrap();
    assert_eq!(note.kind(), crate::primitives::TransactionKind::Note);
    assert!(note.outputs.is_empty());
}

proptest! {
    #[test]
    fn what_goes_in_comes_out_and_no_coin_is_spent_twice(
        values in prop::collection::vec(
            (1_u64..10_000, 0_u32..=HEIGHT, any::<bool>(), any::<bool>()),
            0..40,
        ),
        amount in 1_u64..100_000,
        fee in 0_u64..100,
    ) {
        let mut coins = spendable(vec![], vec![]);
        let mut has = 0;
        for (name, (value, height, coinbase, pending)) in (1_u8..).zip(values) {
            has += value;
            let list = if pending { &mut coins.pending } else { &mut coins.confirmed };
            list.push(coin(name, value, height, coinbase && !pending));
        }
        coins.total = coins.confirmed.iter().map(|owned| owned.coin.value).sum();
        match send(&coins, amount, fee) {
            Err(error) => {
                let refused = matches!(error, BuildError::NotEnough { .. });
                prop_assert!(refused && has < amount + fee);
            }
            Ok(trade) => {
                let mut names = spent(&trade);
                names.sort_unstable();
                names.dedup();
                prop_assert_eq!(names.len(), trade.transaction.inputs.len());
                let all: Vec<_> = coins.confirmed.iter().chain(&coins.pending).collect();
                let value_in: u64 = names
                    .iter()
                    .filter_map(|name| {
                        all.iter().find(|owned| owned.outpoint.txid.0[0] == *name)
                    })
                    .map(|owned| owned.coin.value.units())
                    .sum();
                let outputs = trade.transaction.outputs.iter();
                let value_out: u64 = outputs.map(|output| output.value.units()).sum();
                prop_assert_eq!(value_in, value_out + fee);
                prop_assert_eq!(check_transaction(&trade.transaction), Ok(()));
            }
        }
    }
}

#[test]
fn a_payment_takes_coins_of_several_addresses_and_the_first_one_gets_the_change() {
    let theirs = OwnedCoin { owner: other_key().owner(), ..coin(2, 60, 3, false) };
    let coins = spendable(vec![coin(1, 50, 3, false), theirs], vec![]);
    let built = send(&coins, 100, 1).unwrap();
    let payers: Vec<_> = built.transaction.inputs.iter().map(|input| input.public_key).collect();
    assert_eq!(payers, [other_key(), key()]);
    assert_eq!(built.payer, other_key().owner());
    let change = built.transaction.outputs[1];
    assert_eq!((change.owner, change.value.units()), (other_key().owner(), 9));
}

#[test]
fn what_others_sent_is_spent_unmined_only_when_that_is_allowed_and_last() {
    let coins = Spendable {
        unsure: vec![coin(9, 1_000, 21, false)],
        ..spendable(vec![coin(1, 100, 20, true)], vec![])
    };
    let error = send(&coins, 500, 0).unwrap_err();
    assert!(error.to_string().contains("0.00001 more is on its way from others"), "{error}");
    let allowed = Order { unconfirmed: true, ..order(500, 0) };
    let built = build_trade(&coins, &keys(), &allowed).unwrap();
    assert_eq!((spent(&built), built.rests_on), (vec![1, 9], vec![TxId([9; 32])]));
    let little = Order { unconfirmed: true, ..order(50, 0) };
    assert_eq!(spent(&build_trade(&coins, &keys(), &little).unwrap()), [1]);
}

#[test]
fn a_cancelled_payment_goes_back_to_the_wallet_less_its_fee() {
    let units = Amount::from_units;
    let coins = spendable(vec![coin(1, 100, 3, true)], vec![]);
    let sent = send(&coins, 60, 1).unwrap().transaction;
    let rest = spendable(vec![coin(2, 500, 3, true)], vec![]);
    let cancel = |fee| build_cancel(&sent, units(1), units(fee), &rest, &keys()).unwrap();
    let outputs = |trade: &BuiltTrade| -> Vec<_> {
        trade.transaction.outputs.iter().map(|out| (out.owner, out.value.units())).collect()
    };
    assert_eq!((spent(&cancel(30)), outputs(&cancel(30))), (vec![1], vec![(key().owner(), 70)]));
    assert_eq!(outputs(&cancel(99)), [(key().owner(), 1)]);
    let dear = cancel(300);
    assert_eq!((spent(&dear), outputs(&dear)), (vec![1, 2], vec![(key().owner(), 300)]));
    let strangers = Keys::from([(other_key().owner(), other_key())]);
    let error = build_cancel(&sent, units(1), units(30), &rest, &strangers).unwrap_err();
    assert_eq!(error, BuildError::NotOurs(Address(key().owner())));
}

#[test]
fn a_tied_coin_is_spent_whatever_else_there_is() {
    let coins = spendable(vec![coin(1, 1_000, 3, false), coin(2, 7, 20, true)], vec![]);
    let tie = Some(coin(2, 7, 20, true));
    let built = build_trade(&coins, &keys(), &Order { tie, ..order(100, 0) }).unwrap();
    assert_eq!(spent(&built), [2, 1]);
    let small = build_trade(&coins, &keys(), &Order { tie, ..order(5, 0) }).unwrap();
    assert_eq!(spent(&small), [2]);
}
