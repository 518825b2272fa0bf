//! Coins, and the keys under which they lie.

use crate::primitives::{
    Amount, Height, OutPoint, Owner, Transaction, TransactionKind, TxId, TxInput,
};

/// Length of a [`CoinKey`] as bytes.
pub const COIN_KEY_BYTES: usize = 20 + 32 + 4;

/// An output that has not been spent; or, with value 0, the entry that a note's stamp leaves for
/// ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Coin {
    /// At least one unit; 0 for a stamp's entry.
    pub value: Amount,
    /// Of the block that made it.
    pub height: Height,
    /// Whether a coinbase made it.
    pub coinbase: bool,
}

/// Where a coin lies: beside the other coins of its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoinKey {
    /// Whose it is.
    pub owner: Owner,
    /// The output that made it; a zero txid for a stamp's entry.
    pub outpoint: OutPoint,
}

impl Coin {
    /// The entry that a note's stamp leaves.
    #[must_use]
    pub const fn stamp(height: Height) -> Self {
        Self { value: Amount::ZERO, height, coinbase: false }
    }

    /// Whether this is no coin but a stamp's entry.
    #[must_use]
    pub fn is_stamp(&self) -> bool {
        self.value == Amount::ZERO
    }
}

impl CoinKey {
    /// The key of the coin that an input spends, or of the entry that its stamp leaves.
    #[must_use]
    pub fn of_input(input: &TxInput) -> Self {
        Self { owner: input.public_key.owner(), outpoint: input.outpoint }
    }

    /// owner ‖ txid ‖ index, big-endian: byte order is the order of keys, and the coins of an owner
    /// stand together.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; COIN_KEY_BYTES] {
        let mut bytes = [0; COIN_KEY_BYTES];
        let (owner, place) = bytes.split_at_mut(20);
        let (txid, index) = place.split_at_mut(32);
        owner.copy_from_slice(&self.owner.0);
        txid.copy_from_slice(&self.outpoint.txid.0);
        index.copy_from_slice(&self.outpoint.index.to_be_bytes());
        bytes
    }

    /// From what [`to_bytes`](Self::to_bytes) gives.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; COIN_KEY_BYTES]) -> Self {
        let (mut owner, mut txid, mut index) = ([0; 20], [0; 32], [0; 4]);
        let (head, place) = bytes.split_at(20);
        let (middle, tail) = place.split_at(32);
        owner.copy_from_slice(head);
        txid.copy_from_slice(middle);
        index.copy_from_slice(tail);
        let outpoint = OutPoint { txid: TxId(txid), index: u32::from_be_bytes(index) };
        Self { owner: Owner(owner), outpoint }
    }

    /// The lowest and the highest key that an owner's coins can have, stamps included.
    #[must_use]
    pub const fn range(owner: Owner) -> (Self, Self) {
        (
            Self { owner, outpoint: OutPoint { txid: TxId([0; 32]), index: 0 } },
            Self { owner, outpoint: OutPoint { txid: TxId([0xff; 32]), index: u32::MAX } },
        )
    }
}

/// What a transaction takes from the coins: the keys of a trade's inputs; nothing for others.
pub fn spent_coins(transaction: &Transaction) -> impl Iterator<Item = CoinKey> {
    let inputs = match transaction.kind() {
        TransactionKind::Trade => transaction.inputs.as_slice(),
        TransactionKind::Coinbase | TransactionKind::Note => &[],
    };
    inputs.iter().map(CoinKey::of_input)
}

/// What a transaction adds to the coins in a block of `height`: its outputs, or the entry of a
/// note's stamp.
pub fn created_coins(
    transaction: &Transaction,
    txid: TxId,
    height: Height,
) -> impl Iterator<Item = (CoinKey, Coin)> {
    let kind = transaction.kind();
    let coinbase = kind == TransactionKind::Coinbase;
    let stamps = match kind {
        TransactionKind::Note => transaction.inputs.as_slice(),
        TransactionKind::Coinbase | TransactionKind::Trade => &[],
    };
    let outputs = (0u32..).zip(&transaction.outputs).map(move |(index, output)| {
        let key = CoinKey { owner: output.owner, outpoint: OutPoint { txid, index } };
        (key, Coin { value: output.value, height, coinbase })
    });
    stamps.iter().map(move |input| (CoinKey::of_input(input), Coin::stamp(height))).chain(outputs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::consensus::testing::{coinbase, hash, key, note, outpoint, owner, signed};
    use crate::primitives::TxOutput;

    #[test]
    fn a_note_takes_nothing_and_leaves_its_stamp() {
        let note = note(&hash(0), &key(4), 7, b"hello");
        assert_eq!(spent_coins(&note).count(), 0);

        let created: Vec<_> = created_coins(&note, note.txid(), 3).collect();
        let place =
            CoinKey { owner: owner(&key(4)), outpoint: OutPoint { txid: TxId::ZERO, index: 7 } };
        assert_eq!(created, [(place, Coin::stamp(3))]);
        assert!(created[0].1.is_stamp());
    }

    #[test]
    fn a_trade_takes_its_inputs_and_leaves_its_outputs_in_order() {
        let to = |value| TxOutput { value: Amount::from_units(value), owner: owner(&key(2)) };
        let trade = signed(&hash(0), &[(&key(1), outpoint(9, 4))], vec![to(5), to(6)], b"");
        let spent: Vec<_> = spent_coins(&trade).collect();
        assert_eq!(spent, [CoinKey { owner: owner(&key(1)), outpoint: outpoint(9, 4) }]);

        let txid = trade.txid();
        let created: Vec<_> = created_coins(&trade, txid, 3).collect();
        let place = |index| CoinKey { owner: owner(&key(2)), outpoint: OutPoint { txid, index } };
        let coin = |value| Coin { value: Amount::from_units(value), height: 3, coinbase: false };
        assert_eq!(created, [(place(0), coin(5)), (place(1), coin(6))]);
    }

    #[test]
    fn a_coinbase_takes_nothing_and_marks_what_it_makes() {
        let coinbase = coinbase(8, Owner::ZERO, Amount::from_coins(1));
        assert_eq!(spent_coins(&coinbase).count(), 0);
        assert!(
            created_coins(&coinbase, coinbase.txid(), 8)
                .all(|(_, coin)| coin.coinbase && coin.height == 8)
        );
    }

    proptest! {
        #[test]
        fn keys_sort_as_their_bytes_and_lie_in_their_owners_range(
            a: ([u8; 20], [u8; 32], u32), b: ([u8; 20], [u8; 32], u32), same_owner: bool,
        ) {
            let key = |(owner, txid, index): ([u8; 20], [u8; 32], u32)| {
                CoinKey { owner: Owner(owner), outpoint: OutPoint { txid: TxId(txid), index } }
            };
            let (a, mut b) = (key(a), key(b));
            if same_owner {
                b.owner = a.owner;
            }
            prop_assert_eq!(CoinKey::from_bytes(&a.to_bytes()), a);
            prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
            let (low, high) = CoinKey::range(a.owner);
            prop_assert!(low <= a && a <= high);
            prop_assert_eq!((low..=high).contains(&b), b.owner == a.owner);
        }
    }
}
