//! The canonical encoding: fixed layouts, little-endian, one encoding for each value.
//!
//! What is hashed, signed or stored is written with [`Encode`] and read with [`Decode`]; [`from_bytes`] accepts nothing
//! but the whole and only encoding of a value. Golden vectors for every layout are in `proto/vectors`.

use std::fmt;

use serde::{Deserializer, Serializer, de};

/// Why bytes are not the encoding of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside the value.
    #[error("the bytes end {missing} short")]
    Truncated {
        /// How many more bytes the next field needed.
        missing: usize,
    },
    /// Bytes are left over after the value.
    #[error("{extra} bytes are left over")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// A count or length is over its limit.
    #[error("{what}: {count} is over the limit of {limit}")]
    TooMany {
        /// The field.
        what: &'static str,
        /// What it says.
        count: usize,
        /// What it may say at most.
        limit: usize,
    },
    /// A version other than 1.
    #[error("version {0} is unknown: only 1 is")]
    Version(u32),
}

/// A value with a canonical encoding.
pub trait Encode {
    /// Appends the encoding to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// The encoding on its own.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// A value that can be read from its canonical encoding.
pub trait Decode: Sized {
    /// Reads one value; nothing is allocated beyond what the bytes at hand can fill.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// The value whose whole encoding `bytes` is.
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
    /// A reader at the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let Some((head, tail)) = self.rest.split_at_checked(count) else {
            return Err(DecodeError::Truncated { missing: count.saturating_sub(self.rest.len()) });
        };
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((head, tail)) = self.rest.split_first_chunk::<N>() else {
            return Err(DecodeError::Truncated { missing: N.saturating_sub(self.rest.len()) });
        };
        self.rest = tail;
        Ok(*head)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A little-endian 16-bit number.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    /// A little-endian 32-bit number.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// A little-endian 64-bit number.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A version field, which must be 1.
    pub fn version(&mut self) -> Result<(), DecodeError> {
        match self.u32()? {
            1 => Ok(()),
            other => Err(DecodeError::Version(other)),
        }
    }

    /// Succeeds only when nothing is left.
    pub const fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { extra }),
        }
    }
}

/// Writes an identifier with serde: text where a person reads (JSON), bytes on the wire (CBOR).
pub(crate) fn serialize_id<S: Serializer>(
    bytes: &[u8],
    shown: &impl fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() { serializer.collect_str(shown) } else { serializer.serialize_bytes(bytes) }
}

/// Reads an identifier of `N` bytes: hex where a person writes (JSON), bytes on the wire (CBOR).
pub(crate) fn deserialize_id<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u8; N], D::Error> {
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
