//! Coins, and the keys under which they lie.

use crate::primitives::{Amount, Height, OutPoint, Owner, Transaction, TransactionKind, TxId, TxInput};

/// Length of a [`CoinKey`] as bytes.
pub const COIN_KEY_BYTES: usize = 20 + 32 + 4;

/// An output that has not been spent; or, with value 0, the entry that a note's stamp leaves for ever.
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

    /// owner ‖ txid ‖ index, big-endian: byte order is the order of keys, and the coins of an owner stand together.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; COIN_KEY_BYTES] {
        let mut bytes = [0; COIN_KEY_BYTES];
        let parts = self.owner.0.iter().chain(&self.outpoint.txid.0);
        for (to, from) in bytes.iter_mut().zip(parts.copied().chain(self.outpoint.index.to_be_bytes())) {
            *to = from;
        }
        bytes
    }

    /// From what [`to_bytes`](Self::to_bytes) gives.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; COIN_KEY_BYTES]) -> Self {
        let (mut owner, mut txid, mut index) = ([0; 20], [0; 32], [0; 4]);
        let fields = owner.iter_mut().chain(&mut txid).chain(&mut index);
        for (to, from) in fields.zip(bytes) {
            *to = *from;
        }
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

/// What a transaction adds to the coins in a block of `height`: its outputs, or the entry of a note's stamp.
pub fn created_coins(transaction: &Transaction, txid: TxId, height: Height) -> impl Iterator<Item = (CoinKey, Coin)> {
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
