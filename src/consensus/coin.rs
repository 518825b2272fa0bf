//! Coins, and the keys under which the store keeps them.

use crate::primitives::{
    Amount, Height, OutPoint, Owner, Transaction, TransactionKind, TxId, TxInput,
};

/// Length of an encoded [`CoinKey`]: owner, txid and index.
pub(crate) const COIN_KEY_BYTES: usize = 20 + 32 + 4;

/// An unspent output, or the permanent entry of a used stamp.
///
/// A note adds the entry for its stamp, so that the stamp cannot be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Coin {
    /// The value: at least one unit, and 0 for the entry of a stamp.
    pub value: Amount,
    /// The height of the block that created it.
    pub height: Height,
    /// True if a coinbase created it.
    pub coinbase: bool,
}

/// The key of a coin. The keys of one owner are adjacent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoinKey {
    pub owner: Owner,
    /// The output that created the coin. The entry of a stamp has a zero txid.
    pub outpoint: OutPoint,
}

impl Coin {
    /// Returns the entry that a note adds for its stamp.
    #[must_use]
    pub(crate) const fn stamp(height: Height) -> Self {
        Self { value: Amount::ZERO, height, coinbase: false }
    }

    /// True if this is the entry of a stamp and not a coin.
    #[must_use]
    pub(crate) fn is_stamp(&self) -> bool {
        self.value == Amount::ZERO
    }
}

impl CoinKey {
    /// Returns the key of the coin that an input spends, or of the entry of its stamp.
    #[must_use]
    pub(crate) fn of_input(input: &TxInput) -> Self {
        Self { owner: input.public_key.owner(), outpoint: input.outpoint }
    }

    /// Encodes the key as owner ‖ txid ‖ index, with the index big-endian.
    ///
    /// The encodings sort as the keys do, so the coins of one owner are adjacent in the store.
    #[must_use]
    pub(crate) fn to_bytes(&self) -> [u8; COIN_KEY_BYTES] {
        let mut bytes = [0; COIN_KEY_BYTES];
        let (owner, outpoint) = bytes.split_at_mut(20);
        let (txid, index) = outpoint.split_at_mut(32);
        owner.copy_from_slice(&self.owner.0);
        txid.copy_from_slice(&self.outpoint.txid.0);
        index.copy_from_slice(&self.outpoint.index.to_be_bytes());
        bytes
    }

    /// Decodes the output of [`to_bytes`](Self::to_bytes).
    #[must_use]
    pub(crate) fn from_bytes(bytes: &[u8; COIN_KEY_BYTES]) -> Self {
        let (mut owner, mut txid, mut index) = ([0; 20], [0; 32], [0; 4]);
        let (head, outpoint) = bytes.split_at(20);
        let (middle, tail) = outpoint.split_at(32);
        owner.copy_from_slice(head);
        txid.copy_from_slice(middle);
        index.copy_from_slice(tail);
        let outpoint = OutPoint { txid: TxId(txid), index: u32::from_be_bytes(index) };
        Self { owner: Owner(owner), outpoint }
    }

    /// Returns the lowest and the highest possible key of an owner's coins. The entries of stamps
    /// sort before them.
    #[must_use]
    pub(crate) const fn coins(owner: Owner) -> (Self, Self) {
        let mut lowest = [0; 32];
        lowest[31] = 1;
        (
            Self { owner, outpoint: OutPoint { txid: TxId(lowest), index: 0 } },
            Self { owner, outpoint: OutPoint { txid: TxId([0xff; 32]), index: u32::MAX } },
        )
    }
}

/// Returns the keys of the coins that a trade spends. Coinbases and notes spend none.
pub fn spent_coins(transaction: &Transaction) -> impl Iterator<Item = CoinKey> {
    let inputs = match transaction.kind() {
        TransactionKind::Trade => transaction.inputs.as_slice(),
        TransactionKind::Coinbase | TransactionKind::Note => &[],
    };
    inputs.iter().map(CoinKey::of_input)
}

/// Returns the coins that a transaction adds in a block of `height`.
///
/// These are its outputs, or the entry of a note's stamp.
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
    fn a_note_spends_nothing_and_creates_the_entry_of_its_stamp() {
        let note = note(&hash(0), &key(4), 7, b"hello");
        assert_eq!(spent_coins(&note).count(), 0);

        let created: Vec<_> = created_coins(&note, note.txid(), 3).collect();
        let stamp =
            CoinKey { owner: owner(&key(4)), outpoint: OutPoint { txid: TxId::ZERO, index: 7 } };
        assert_eq!(created, [(stamp, Coin::stamp(3))]);
        assert!(created[0].1.is_stamp());
    }

    #[test]
    fn a_trade_spends_its_inputs_and_creates_its_outputs_in_order() {
        let to = |value| TxOutput { value: Amount::from_units(value), owner: owner(&key(2)) };
        let trade = signed(&hash(0), &[(&key(1), outpoint(9, 4))], vec![to(5), to(6)], b"");
        let spent: Vec<_> = spent_coins(&trade).collect();
        assert_eq!(spent, [CoinKey { owner: owner(&key(1)), outpoint: outpoint(9, 4) }]);

        let txid = trade.txid();
        let created: Vec<_> = created_coins(&trade, txid, 3).collect();
        let coin_key =
            |index| CoinKey { owner: owner(&key(2)), outpoint: OutPoint { txid, index } };
        let coin = |value| Coin { value: Amount::from_units(value), height: 3, coinbase: false };
        assert_eq!(created, [(coin_key(0), coin(5)), (coin_key(1), coin(6))]);
    }

    #[test]
    fn a_coinbase_spends_nothing_and_marks_the_coins_it_creates() {
        let coinbase = coinbase(8, Owner::ZERO, Amount::from_coins(1));
        assert_eq!(spent_coins(&coinbase).count(), 0);
        assert!(
            created_coins(&coinbase, coinbase.txid(), 8)
                .all(|(_, coin)| coin.coinbase && coin.height == 8)
        );
    }

    proptest! {
        #[test]
        fn keys_sort_as_their_bytes_and_are_in_their_owners_range(
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
            let (low, high) = CoinKey::coins(a.owner);
            prop_assert_eq!((low..=high).contains(&a), !a.outpoint.is_stamp());
            let outpoint = OutPoint { txid: TxId::ZERO, index: a.outpoint.index };
            let stamp = CoinKey { outpoint, ..a };
            prop_assert!(stamp < low, "stamps sort before the coins");
            let is_coin = b.owner == a.owner && !b.outpoint.is_stamp();
            prop_assert_eq!((low..=high).contains(&b), is_coin);
        }
    }
}
