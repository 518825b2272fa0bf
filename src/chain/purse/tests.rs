//! Tests of balances and spendable coins, for a wallet of `key(1)` and `key(2)`.

use super::*;
use crate::{
    chain::{
        Origin,
        api::SETTLED_DEPTH,
        testing::{PEER, TestChain, coin_of, genesis_coin, key, network, note, owner, pay},
    },
    primitives::Transaction,
};

const COIN: u64 = 100_000_000;

/// The fee of a trade of full length, in units.
const FEE: u64 = 200_000;

fn wallet() -> Vec<Owner> {
    vec![owner(&key(1)), owner(&key(2))]
}

fn look(chain: &mut TestChain, from: Option<Owner>, needs: u64) -> Spendable {
    chain.chain.commit().expect("a disk");
    let query = SpendQuery { wallet: wallet(), from, needs: Amount::from_units(needs) };
    chain.chain.reader().spendable(&query, &chain.chain.mempool()).expect("a disk")
}

fn balance(chain: &mut TestChain) -> Funds {
    chain.chain.commit().expect("a disk");
    chain.chain.reader().funds(&wallet(), &chain.chain.mempool()).expect("a disk")
}

fn outpoints(coins: &[OwnedCoin]) -> Vec<OutPoint> {
    let mut all: Vec<_> = coins.iter().map(|coin| coin.outpoint).collect();
    all.sort_unstable();
    all
}

/// Mines a genesis that pays `key(1)`, and a block that pays `key(3)`.
fn chain() -> (TestChain, Transaction) {
    let mut chain = TestChain::new();
    let block = chain.mine(owner(&key(3)));
    (chain, block.transactions[0].clone())
}

#[test]
fn own_change_can_be_spent_at_once_and_what_others_sent_is_unsure_with_all_that_rests_on_it() {
    let (mut chain, reward) = chain();
    let network = network();
    let sent = pay(
        &network,
        &key(1),
        genesis_coin(&network),
        &[(owner(&key(5)), 10 * COIN), (owner(&key(2)), 90 * COIN)],
    );
    let again = pay(
        &network,
        &key(2),
        coin_of(&sent, 1),
        &[(owner(&key(5)), 10 * COIN), (owner(&key(1)), 80 * COIN)],
    );
    let gift = pay(&network, &key(3), coin_of(&reward, 0), &[(owner(&key(2)), 100 * COIN)]);
    for (trade, origin) in [(&sent, Origin::Local), (&again, Origin::Local), (&gift, PEER)] {
        chain.trade(trade, origin).expect("good");
    }
    let found = look(&mut chain, None, 0);
    assert_eq!(found.confirmed, []);
    assert_eq!(outpoints(&found.pending), [coin_of(&again, 1)]);
    assert_eq!(outpoints(&found.unsure), [coin_of(&gift, 0)]);

    // Only this wallet signed it, but it depends on the gift.
    let onward = pay(&network, &key(2), coin_of(&gift, 0), &[(owner(&key(1)), 100 * COIN)]);
    chain.trade(&onward, Origin::Local).expect("good");
    let found = look(&mut chain, None, 0);
    assert_eq!(outpoints(&found.unsure), [coin_of(&onward, 0)]);
    assert_eq!(outpoints(&found.pending), [coin_of(&again, 1)]);
    chain.mine(owner(&key(9)));
    let found = look(&mut chain, None, 0);
    assert_eq!(found.confirmed.len(), 2);
    assert_eq!((found.pending.len(), found.unsure.len()), (0, 0));
    let one = look(&mut chain, Some(owner(&key(2))), 0);
    assert_eq!((one.confirmed.len(), one.total), (0, Amount::ZERO), "both belong to key(1)");
}

#[test]
fn a_balance_counts_no_change_as_income_and_knows_what_is_settled() {
    let (mut chain, reward) = chain();
    let network = network();
    let sent = pay(
        &network,
        &key(1),
        genesis_coin(&network),
        &[(owner(&key(5)), 10 * COIN), (owner(&key(2)), 89 * COIN)],
    );
    let gift = pay(&network, &key(3), coin_of(&reward, 0), &[(owner(&key(2)), 100 * COIN)]);
    chain.trade(&sent, Origin::Local).expect("good");
    chain.trade(&gift, PEER).expect("good");
    let funds = balance(&mut chain);
    let coins = |coins: u32| Amount::from_coins(coins);
    assert_eq!(funds.each, [coins(100), coins(0)]);
    let whole = funds.whole;
    assert_eq!((whole.pending_in, whole.pending_out), (coins(100), coins(11)), "10 and the fee");
    assert_eq!((whole.confirmed, whole.settled), (coins(100), coins(100)), "genesis is final");

    for _ in 0..SETTLED_DEPTH {
        chain.mine(owner(&key(9)));
    }
    let whole = balance(&mut chain).whole;
    assert_eq!((whole.confirmed, whole.settled), (coins(189), coins(189)));
    assert_eq!((whole.pending_in, whole.pending_out), (coins(0), coins(0)));
}

#[test]
fn an_entry_that_the_snapshot_has_as_mined_counts_once() {
    let (mut chain, _) = chain();
    let network = network();
    let sent = pay(&network, &key(1), genesis_coin(&network), &[(owner(&key(5)), 100 * COIN)]);
    chain.trade(&sent, Origin::Local).expect("good");
    let before = chain.chain.mempool();
    chain.mine(owner(&key(1)));
    chain.chain.commit().expect("a disk");
    let funds = chain.chain.reader().funds(&wallet(), &before).expect("a disk");
    assert_eq!(funds.whole.pending_out, Amount::ZERO);
    assert_eq!(funds.whole.confirmed, Amount::from_coins(100), "the reward alone");
}

#[test]
fn dust_and_stamps_of_one_owner_are_bounded_in_memory_and_the_largest_coins_are_kept() {
    let mut chain = TestChain::new();
    let network = network();
    let me = owner(&key(1));
    let mut coin = genesis_coin(&network);
    let mut rest = 100 * COIN;
    for batch in 0..3_u64 {
        // Just below the limit of a transaction's bytes.
        let mut outputs: Vec<_> = (0..3_400).map(|unit| (me, batch * 3_400 + unit + 1)).collect();
        // Free trades of this length find no room in a block, so these pay.
        rest -= outputs.iter().map(|(_, units)| units).sum::<u64>() + FEE;
        outputs.push((me, rest));
        let dust = pay(&network, &key(1), coin, &outputs);
        coin = coin_of(&dust, 3_400);
        chain.trade(&dust, Origin::Local).expect("good");
    }
    chain.trade(&note(&network.id, &key(1), 7, b"a stamp"), Origin::Local).expect("good");
    chain.mine(owner(&key(9)));
    let found = look(&mut chain, None, 12);
    assert_eq!(found.confirmed.len(), KEPT + 1, "the largest, and the least that suffices");
    let has = Amount::from_units(100 * COIN - 3 * FEE);
    assert_eq!(found.total, has);
    assert!(found.confirmed.iter().all(|coin| coin.coin.value >= Amount::from_units(12)));
    assert!(found.confirmed.iter().any(|coin| coin.coin.value == Amount::from_units(12)));
    assert!(found.confirmed.iter().any(|coin| coin.coin.value == Amount::from_units(rest)));
    assert_eq!(balance(&mut chain).whole.confirmed, has);
}
