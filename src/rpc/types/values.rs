//! Amounts, targets and secrets in their JSON form.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroize;

use crate::primitives::{Amount, AmountError};

/// An amount as decimal coins: `"0.25"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Coins(pub Amount);

/// An amount as units: `"25000000"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Units(pub Amount);

/// A difference of amounts, as decimal coins: `"-10"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct SignedCoins(i128);

/// A difference of amounts, as units: `"-1000000000"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct SignedUnits(i128);

impl SignedCoins {
    /// Returns `added` less `taken`.
    #[must_use]
    pub(crate) fn difference(added: Amount, taken: Amount) -> Self {
        Self(i128::from(added.units()).saturating_sub(i128::from(taken.units())))
    }

    /// Returns the same difference in units.
    #[must_use]
    pub(crate) const fn units(self) -> SignedUnits {
        SignedUnits(self.0)
    }

    #[must_use]
    pub(crate) const fn is_zero(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub(crate) const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Returns the absolute value, capped at the largest amount.
    #[must_use]
    pub(crate) fn magnitude(self) -> Amount {
        Amount::from_units(u64::try_from(self.0.unsigned_abs()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Coins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Coins {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.units().to_string())
    }
}

impl FromStr for Units {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Amount::from_units).map(Self)
    }
}

impl fmt::Display for SignedCoins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}{}", if self.is_negative() { "-" } else { "" }, self.magnitude()))
    }
}

impl FromStr for SignedCoins {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (sign, magnitude) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let units = i128::from(magnitude.parse::<Amount>()?.units());
        Ok(Self(units.saturating_mul(sign)))
    }
}

impl fmt::Display for SignedUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl FromStr for SignedUnits {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Implements serde for types by their `Display` and `FromStr`.
macro_rules! serde_as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

/// The text of [`FeeChoice::Auto`].
const AUTO: &str = "auto";

/// The fee that a payment offers: `"0.001"` or `"auto"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FeeChoice {
    /// Exactly this amount.
    Units(Amount),
    /// The node's estimate for the next block.
    Auto,
}

impl Default for FeeChoice {
    fn default() -> Self {
        Self::Units(Amount::ZERO)
    }
}

impl fmt::Display for FeeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Units(amount) => amount.fmt(f),
            Self::Auto => f.pad(AUTO),
        }
    }
}

impl FromStr for FeeChoice {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case(AUTO) { Ok(Self::Auto) } else { text.parse().map(Self::Units) }
    }
}

serde_as_text!(Coins, Units, SignedCoins, SignedUnits, FeeChoice);

/// A compact target, as 8 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Bits(pub u32);

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:08x}", self.0))
    }
}

impl FromStr for Bits {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u32::from_str_radix(text, 16).map(Self)
    }
}

serde_as_text!(Bits);

/// A passphrase or recovery phrase. It is wiped on drop, and `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    #[must_use]
    pub(crate) const fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the secret text.
    #[must_use]
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fee_is_an_amount_or_auto() {
        let parsed = |text: &str| text.parse::<FeeChoice>();
        assert_eq!(parsed("Auto"), Ok(FeeChoice::Auto));
        assert_eq!(parsed("0.25"), Ok(FeeChoice::Units(Amount::from_units(25_000_000))));
        assert!(parsed("much").is_err());
        for fee in [FeeChoice::Auto, FeeChoice::default()] {
            let text = serde_json::to_string(&fee).expect("JSON");
            assert_eq!(serde_json::from_str::<FeeChoice>(&text).expect("it reads back"), fee);
        }
    }
}
