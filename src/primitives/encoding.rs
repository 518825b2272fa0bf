//! The canonical encoding: fixed layouts, little-endian, exactly one encoding for each value.
//!
//! Hashed, signed and stored data is written with [`Encode`] and read with [`Decode`].
//! [`from_bytes`] accepts only the complete canonical encoding of a value. Golden vectors for every
//! layout are in `proto/vectors`.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

use std::fmt;

use serde::{Deserializer, Serializer, de};

/// The reason why bytes are not the encoding of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside the value.
    #[error("the bytes end {missing} short")]
    Truncated {
        /// The number of bytes that the next field lacks.
        missing: usize,
    },
    /// Bytes are left over after the value.
    #[error("{extra} bytes are left over")]
    Trailing { extra: usize },
    /// A count or length is over its limit.
    #[error("{what}: {count} is over the limit of {limit}")]
    TooMany {
        /// The name of the field.
        what: &'static str,
        /// The value of the field.
        count: usize,
        /// The highest valid value.
        limit: usize,
    },
    /// A text is not UTF-8.
    #[error("{what} is not UTF-8")]
    NotText {
        /// The name of the field.
        what: &'static str,
    },
    /// A version other than 1.
    #[error("version {0} is unknown: only 1 is")]
    Version(u32),
}

/// A value with a canonical encoding.
pub trait Encode {
    /// Appends the encoding to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// Returns the encoding in a new vector.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// A value that can be read from its canonical encoding.
pub trait Decode: Sized {
    /// Reads one value.
    ///
    /// # Security
    ///
    /// An implementation allocates only what the remaining bytes can fill, so a false count from a
    /// peer costs no memory.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// Decodes a value from its complete encoding.
pub fn from_bytes<T: Decode>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let value = T::decode(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

/// A cursor over bytes that never reads beyond their end.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[must_use]
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns the number of bytes that are left.
    #[must_use]
    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Reads the next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let Some((head, tail)) = self.rest.split_at_checked(count) else {
            return Err(DecodeError::Truncated { missing: count.saturating_sub(self.rest.len()) });
        };
        self.rest = tail;
        Ok(head)
    }

    /// Reads the next `N` bytes as an array.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((head, tail)) = self.rest.split_first_chunk::<N>() else {
            return Err(DecodeError::Truncated { missing: N.saturating_sub(self.rest.len()) });
        };
        self.rest = tail;
        Ok(*head)
    }

    /// Reads the next byte.
    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Reads a little-endian 16-bit number.
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Reads a little-endian 32-bit number.
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Reads a little-endian 64-bit number.
    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads a flag byte, which must be 0 or 1.
    pub(crate) fn flag(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError::TooMany { what, count: other.into(), limit: 1 }),
        }
    }

    /// Reads a 32-bit version, which must be 1.
    pub(crate) fn version(&mut self) -> Result<(), DecodeError> {
        match self.u32()? {
            1 => Ok(()),
            other => Err(DecodeError::Version(other)),
        }
    }

    /// Checks that no bytes are left.
    pub(crate) const fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { extra }),
        }
    }
}

/// Serializes an identifier: text in formats for people (JSON), bytes on the wire (CBOR).
pub(crate) fn serialize_id<S: Serializer>(
    bytes: &[u8],
    shown: &impl fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.collect_str(shown)
    } else {
        serializer.serialize_bytes(bytes)
    }
}

/// Deserializes an identifier of `N` bytes: hex in JSON, bytes on the wire (CBOR).
pub(crate) fn deserialize_id<'de, D: Deserializer<'de>, const N: usize>(
    deserializer: D,
) -> Result<[u8; N], D::Error> {
    struct Visitor<const N: usize>;

    impl<const N: usize> de::Visitor<'_> for Visitor<N> {
        type Value = [u8; N];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{N} bytes, or {} hex digits", N.saturating_mul(2))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(E::custom)?;
            self.visit_bytes(&bytes)
        }

        fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
            bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
        }
    }

    if deserializer.is_human_readable() {
        deserializer.deserialize_str(Visitor)
    } else {
        deserializer.deserialize_bytes(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::primitives::{
        Amount, Block, BlockHash, Header, MAX_MEMO_BYTES, MerkleRoot, OutPoint, Owner, PublicKey,
        Signature, Transaction, TxId, TxInput, TxOutput,
    };

    fn inputs() -> impl Strategy<Value = TxInput> {
        any::<([u8; 32], u32, [u8; 32], [u8; 32], [u8; 32])>().prop_map(
            |(txid, index, key, r, s)| {
                let mut signature = [0; 64];
                signature[..32].copy_from_slice(&r);
                signature[32..].copy_from_slice(&s);
                TxInput {
                    outpoint: OutPoint { txid: TxId(txid), index },
                    public_key: PublicKey(key),
                    signature: Signature(signature),
                }
            },
        )
    }

    fn outputs() -> impl Strategy<Value = TxOutput> {
        any::<(u64, [u8; 20])>().prop_map(|(units, owner)| TxOutput {
            value: Amount::from_units(units),
            owner: Owner(owner),
        })
    }

    fn transactions() -> impl Strategy<Value = Transaction> {
        (vec(inputs(), 0..4), vec(outputs(), 0..4), vec(any::<u8>(), 0..40))
            .prop_map(|(inputs, outputs, memo)| Transaction { inputs, outputs, memo })
    }

    fn headers() -> impl Strategy<Value = Header> {
        any::<([u8; 32], [u8; 32], u32, u64, u32, u64)>().prop_map(
            |(previous, merkle_root, height, time, bits, nonce)| Header {
                previous: BlockHash(previous),
                merkle_root: MerkleRoot(merkle_root),
                height,
                time,
                bits,
                nonce,
            },
        )
    }

    fn blocks() -> impl Strategy<Value = Block> {
        (headers(), vec(transactions(), 0..4))
            .prop_map(|(header, transactions)| Block { header, transactions })
    }

    /// Checks that a value decodes from exactly its bytes, not from fewer and not from more.
    fn one_encoding<T: Encode + Decode + PartialEq + fmt::Debug>(
        value: &T,
        cut: usize,
    ) -> Result<(), TestCaseError> {
        let bytes = value.to_bytes();
        let read = from_bytes::<T>(&bytes);
        prop_assert_eq!(read.as_ref(), Ok(value));
        prop_assert!(from_bytes::<T>(&bytes[..cut % bytes.len()]).is_err());
        let longer = [&bytes[..], &[0]].concat();
        prop_assert!(from_bytes::<T>(&longer).is_err());
        Ok(())
    }

    /// Checks that changed bytes are rejected, or are the encoding of another value.
    fn no_second_encoding<T: Encode + Decode + PartialEq + fmt::Debug>(
        value: &T,
        changes: &[(usize, u8)],
    ) -> Result<(), TestCaseError> {
        let mut bytes = value.to_bytes();
        for (at, change) in changes {
            let at = at % bytes.len();
            bytes[at] ^= change;
        }
        if let Ok(read) = from_bytes::<T>(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn headers_have_one_encoding(
            header in headers(), cut: usize, changes in vec(any::<(usize, u8)>(), 1..4),
        ) {
            one_encoding(&header, cut)?;
            no_second_encoding(&header, &changes)?;
        }

        #[test]
        fn transactions_have_one_encoding(
            transaction in transactions(), cut: usize, changes in vec(any::<(usize, u8)>(), 1..4),
        ) {
            prop_assert_eq!(transaction.encoded_len(), transaction.to_bytes().len());
            one_encoding(&transaction, cut)?;
            no_second_encoding(&transaction, &changes)?;
        }

        #[test]
        fn blocks_have_one_encoding(
            block in blocks(), cut: usize, changes in vec(any::<(usize, u8)>(), 1..4),
        ) {
            prop_assert_eq!(block.encoded_len(), block.to_bytes().len());
            one_encoding(&block, cut)?;
            no_second_encoding(&block, &changes)?;
        }

        #[test]
        fn the_txid_covers_everything_except_the_signatures(
            transaction in transactions(), other in inputs(),
        ) {
            let mut resigned = transaction.clone();
            for input in &mut resigned.inputs {
                input.signature = other.signature;
            }
            prop_assert_eq!(transaction.txid(), resigned.txid());
            let mut changed = transaction.clone();
            changed.memo.push(0);
            prop_assert_ne!(transaction.txid(), changed.txid());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
            let versioned = [&1u32.to_le_bytes()[..], &bytes].concat();
            for bytes in [&bytes, &versioned] {
                if let Ok(read) = from_bytes::<Transaction>(bytes) {
                    prop_assert_eq!(&read.to_bytes(), bytes);
                }
                if let Ok(read) = from_bytes::<Block>(bytes) {
                    prop_assert_eq!(&read.to_bytes(), bytes);
                }
            }
        }
    }

    #[test]
    fn a_count_that_the_bytes_cannot_hold_is_refused_before_anything_is_allocated() {
        let inputs = [&1u32.to_le_bytes()[..], &u16::MAX.to_le_bytes()].concat();
        assert!(matches!(from_bytes::<Transaction>(&inputs), Err(DecodeError::Truncated { .. })));
        let header = Header {
            previous: BlockHash::ZERO,
            merkle_root: MerkleRoot::ZERO,
            height: 0,
            time: 0,
            bits: 0,
            nonce: 0,
        };
        let block = [&header.to_bytes()[..], &u32::MAX.to_le_bytes(), &[0; 100]].concat();
        let expected =
            DecodeError::TooMany { what: "transactions", count: u32::MAX as usize, limit: 10 };
        assert_eq!(from_bytes::<Block>(&block), Err(expected));
    }

    #[test]
    fn a_memo_over_the_limit_and_an_unknown_version_are_refused() {
        let transaction =
            Transaction { inputs: vec![], outputs: vec![], memo: vec![0; MAX_MEMO_BYTES + 1] };
        assert!(matches!(
            from_bytes::<Transaction>(&transaction.to_bytes()),
            Err(DecodeError::TooMany { .. })
        ));
        for version in [0u32, 2, u32::MAX] {
            let bytes = [&version.to_le_bytes()[..], &[0; 6]].concat();
            assert_eq!(from_bytes::<Transaction>(&bytes), Err(DecodeError::Version(version)));
        }
    }
}
