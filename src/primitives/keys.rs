//! Public keys, signatures, owners and addresses.
//!
//! Only the wallet and the node's identity hold secret keys.

use std::{fmt, str::FromStr};

use bech32::{Bech32m, Hrp};
use data_encoding::HEXLOWER;

use super::{
    encoding::{deserialize_id, serialize_id},
    sha256,
};

/// The prefix of every address, on every network, since a wallet exists before its first chain.
const ADDRESS_PREFIX: &str = "fc";

/// Length of an address: prefix 2, separator 1, 32 letters for 20 bytes, checksum 6.
const ADDRESS_CHARS: usize = 41;

/// The bytes of an ed25519 public key, not yet checked to be a point of the curve.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// The bytes of an ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 64]);

/// The owner of a coin: the first 20 bytes of the SHA-256 of a public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub [u8; 20]);

/// The text form of an owner: bech32m with the prefix `fc`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub Owner);

impl PublicKey {
    /// Returns the owner whose coins this key spends.
    #[must_use]
    pub fn owner(&self) -> Owner {
        let digest = sha256(&[&self.0]);
        let mut owner = [0; 20];
        owner.copy_from_slice(&digest[..20]);
        Owner(owner)
    }
}

impl Owner {
    /// The owner without a key: coins paid to it are lost.
    pub const ZERO: Self = Self([0; 20]);
}

/// The reason why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The text has the form of an address, but a letter is wrong.
    #[error(
        "'{0}' is not an address: its checksum does not fit, so a letter is wrong; copy it again"
    )]
    Checksum(String),
    /// The text does not have the form of an address.
    #[error("'{0}' is not an address: addresses begin with 'fc1' and have 41 letters and digits")]
    Malformed(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = bech32::encode::<Bech32m>(Hrp::parse_unchecked(ADDRESS_PREFIX), &self.0.0)
            .map_err(|_| fmt::Error)?;
        f.pad(&text)
    }
}

impl Address {
    /// True if a text looks like an address. A friend's name must not.
    #[must_use]
    pub(crate) fn looks_like(text: &str) -> bool {
        text.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("fc1"))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use bech32::primitives::decode::CheckedHrpstring;
        let shown = || text.chars().take(90).collect::<String>();
        // A text of another length is not a mistyped address.
        let has_form = Self::looks_like(text) && text.len() == ADDRESS_CHARS;
        let checked = CheckedHrpstring::new::<Bech32m>(text).map_err(|_| {
            if has_form {
                AddressError::Checksum(shown())
            } else {
                AddressError::Malformed(shown())
            }
        })?;
        let bytes: Vec<u8> = checked.byte_iter().collect();
        // One more letter would hold only padding, and would give the owner a second address.
        if text.len() != ADDRESS_CHARS
            || !checked.hrp().as_str().eq_ignore_ascii_case(ADDRESS_PREFIX)
        {
            return Err(AddressError::Malformed(shown()));
        }
        let owner = bytes.try_into().map_err(|_| AddressError::Malformed(shown()))?;
        Ok(Self(Owner(owner)))
    }
}

impl From<Owner> for Address {
    fn from(owner: Owner) -> Self {
        Self(owner)
    }
}

macro_rules! hex_shown {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serialize_id(&self.0, self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize_id(deserializer).map(Self)
            }
        }
    };
}

hex_shown!(PublicKey);
hex_shown!(Signature);
hex_shown!(Owner);

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl serde::Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_id(&self.0.0, self, serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            Owner::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_round_trips_and_any_changed_letter_is_caught() {
        let address = Address(PublicKey([7; 32]).owner());
        let text = address.to_string();
        assert_eq!(text.len(), 41);
        assert_eq!(text.parse(), Ok(address));
        assert_eq!(text.to_uppercase().parse(), Ok(address));
        for at in 3..text.len() {
            let mut letters: Vec<char> = text.chars().collect();
            letters[at] = if letters[at] == 'q' { 'p' } else { 'q' };
            let wrong: String = letters.into_iter().collect();
            assert_eq!(wrong.parse::<Address>(), Err(AddressError::Checksum(wrong.clone())));
        }
        for text in ["", "yzw", "fc1", "fc1zzz", &text[..40], &format!("{text}q")] {
            assert!(matches!(text.parse::<Address>(), Err(AddressError::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn an_owner_has_one_address() {
        let hrp = Hrp::parse_unchecked(ADDRESS_PREFIX);
        for bytes in [&[7; 19][..], &[7; 21]] {
            let text = bech32::encode::<Bech32m>(hrp, bytes).expect("short");
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        let padded = {
            use bech32::{ByteIterExt, Fe32, Fe32IterExt};
            let letters = [7u8; 20].iter().copied().bytes_to_fes().chain([Fe32::Q]);
            letters.with_checksum::<Bech32m>(&hrp).chars().collect::<String>()
        };
        assert_eq!(padded.len(), 42);
        assert!(padded.parse::<Address>().is_err(), "{padded}");
    }
}
