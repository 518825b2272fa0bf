//! Tests of stored records: each value has one encoding, and decodes from it.

use std::sync::Arc;

use proptest::{collection::vec, prelude::*};

use crate::{
    chain::{
        Status,
        store::tables::{
            HeaderRecord, MempoolRecord, OwnRecord, Undo, coin_from_bytes, coin_to_bytes,
        },
        testing::{key, note},
    },
    consensus::{Coin, Work, testing::hash},
    primitives::{Amount, Decode, Encode, Header, MerkleRoot, encoding::from_bytes},
};

fn coins() -> impl Strategy<Value = Coin> {
    any::<(u64, u32, bool)>().prop_map(|(units, height, coinbase)| Coin {
        value: Amount::from_units(units),
        height,
        coinbase,
    })
}

fn header_records() -> impl Strategy<Value = HeaderRecord> {
    let statuses = prop_oneof![
        Just(Status::HeaderOnly),
        Just(Status::Stored),
        Just(Status::Connected),
        Just(Status::Invalid)
    ];
    (any::<(u64, u32, u64, bool, u64)>(), statuses).prop_map(
        |((nonce, height, work, on_best_headers, connected_at), status)| HeaderRecord {
            header: Header {
                previous: hash(3),
                merkle_root: MerkleRoot([4; 32]),
                height,
                time: work,
                bits: height,
                nonce,
            },
            work: Work::from(work),
            status,
            on_best_headers,
            connected_at,
        },
    )
}

/// Checks that a value decodes from its bytes and from no part of them. Changed bytes decode to
/// another value or to none.
fn one_encoding<T: Encode + Decode + PartialEq + std::fmt::Debug>(
    value: &T,
    cut: usize,
    (at, change): (usize, u8),
) -> Result<(), TestCaseError> {
    let bytes = value.to_bytes();
    prop_assert_eq!(&from_bytes::<T>(&bytes).expect("its own bytes"), value);
    if bytes.is_empty() {
        return Ok(());
    }
    // A cut record may be valid, but is never the same value.
    if let Ok(read) = from_bytes::<T>(&bytes[..cut % bytes.len()]) {
        prop_assert_ne!(&read, value);
    }
    let mut changed = bytes;
    let at = at % changed.len();
    changed[at] ^= change;
    if let Ok(read) = from_bytes::<T>(&changed) {
        prop_assert_eq!(read.to_bytes(), changed);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn undo_records_have_one_encoding(
        spent in vec(vec(coins(), 0..4), 0..6),
        cut: usize,
        change: (usize, u8),
    ) {
        one_encoding(&Undo { spent }, cut, change)?;
    }

    #[test]
    fn waiting_records_have_one_encoding(
        sequence: u64, added: u64, local: bool, stamp: u32, cut: usize, change: (usize, u8),
    ) {
        let transaction = note(&hash(1), &key(1), stamp, b"words");
        let transaction = Arc::new(transaction);
        one_encoding(&MempoolRecord { sequence, added, local, transaction }, cut, change)?;
    }

    #[test]
    fn own_records_have_one_encoding(
        added: u64,
        void in ".{0,20}",
        stamp: u32,
        cut: usize,
        change: (usize, u8),
    ) {
        let transaction = note(&hash(1), &key(1), stamp, b"words");
        one_encoding(&OwnRecord { added, void, transaction }, cut, change)?;
    }

    #[test]
    fn header_records_have_one_encoding(record in header_records(), at: usize, change: u8) {
        let mut bytes = record.to_bytes();
        prop_assert_eq!(HeaderRecord::from_bytes(&bytes).expect("its own bytes"), record);
        let at = at % bytes.len();
        bytes[at] ^= change;
        if let Ok(read) = HeaderRecord::from_bytes(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes);
        }
    }

    #[test]
    fn coins_have_one_encoding(coin in coins(), at: usize, change: u8) {
        let mut bytes = coin_to_bytes(&coin);
        prop_assert_eq!(coin_from_bytes(&bytes).expect("its own bytes"), coin);
        let at = at % bytes.len();
        bytes[at] ^= change;
        if let Ok(read) = coin_from_bytes(&bytes) {
            prop_assert_eq!(coin_to_bytes(&read), bytes);
        }
    }
}

#[test]
fn a_flag_is_0_or_1() {
    let record = MempoolRecord {
        sequence: 1,
        added: 2,
        local: true,
        transaction: Arc::new(note(&hash(1), &key(1), 7, b"x")),
    };
    let mut bytes = record.to_bytes();
    for flag in 2..=u8::MAX {
        bytes[16] = flag;
        assert!(from_bytes::<MempoolRecord>(&bytes).is_err(), "{flag}");
    }
    let mut bytes =
        coin_to_bytes(&Coin { value: Amount::from_coins(1), height: 2, coinbase: true });
    for flag in 2..=u8::MAX {
        bytes[12] = flag;
        assert!(coin_from_bytes(&bytes).is_err(), "{flag}");
    }
}
