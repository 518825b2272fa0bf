//! Public keys, signatures, owners and addresses. Secret keys live in the wallet and in the node's
//! identity alone.

use std::{fmt, str::FromStr};

use bech32::{Bech32m, Hrp};
use data_encoding::HEXLOWER;

use super::{
    encoding::{deserialize_id, serialize_id},
    sha256,
};

/// What every address begins with, on every network: a wallet comes before a chain.
pub const ADDRESS_PREFIX: &str = "fc";

/// The prefix, the separator, 32 letters for 20 bytes, and a checksum of 6.
const ADDRESS_CHARS: usize = 41;

/// An ed25519 public key as it stands on the wire; not yet known to be a point of the curve.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// An ed25519 signature as it stands on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 64]);

/// Who may spend a coin: the first 20 bytes of SHA-256 of a public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub [u8; 20]);

/// An owner as people write it: bech32m with the prefix `fc`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub Owner);

impl PublicKey {
    /// The owner that this key speaks for.
    #[must_use]
    pub fn owner(&self) -> Owner {
        let digest = sha256(&[&self.0]);
        let mut owner = [0; 20];
        owner.copy_from_slice(&digest[..20]);
        Owner(owner)
    }
}

impl Owner {
    /// The owner that nobody is: coins paid to it are gone.
    pub const ZERO: Self = Self([0; 20]);
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It has the form of an address, but a letter is wrong.
    #[error(
        "'{0}' is not an address: its checksum does not fit, so a letter is wrong; copy it again"
    )]
    Checksum(String),
    /// It does not have the form of an address.
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
    /// Whether a text claims to be an address: friends' names may not.
    #[must_use]
    pub fn looks_like(text: &str) -> bool {
        text.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("fc1"))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use bech32::primitives::decode::CheckedHrpstring;
        let shown = || text.chars().take(90).collect::<String>();
        // Too short or too long, it is not even a mistyped one.
        let has_form = Self::looks_like(text) && text.len() == ADDRESS_CHARS;
        let checked = CheckedHrpstring::new::<Bech32m>(text).map_err(|_| {
            if has_form {
                AddressError::Checksum(shown())
            } else {
                AddressError::Malformed(shown())
            }
        })?;
        let bytes: Vec<u8> = checked.byte_iter().collect();
        // A letter more would hold only padding: the same owner in a second writing.
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
