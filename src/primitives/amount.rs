//! Amounts of coins, counted in units.
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

use std::{fmt, iter::Sum, str::FromStr};

/// The number of units in one coin.
const UNITS_PER_COIN: u64 = 100_000_000;

/// The most decimals of an amount in coins.
const DECIMALS: usize = 8;

/// A number of units; 100,000,000 units are one coin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(u64);

/// The reason why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The text does not have the form `12` or `12.5`.
    #[error("'{0}' is not an amount: write coins as 10 or 0.25")]
    Malformed(String),
    /// The text has more than 8 decimals.
    #[error("'{0}' has more than 8 decimals: the smallest amount is 0.00000001")]
    TooFine(String),
    /// The number of units does not fit into 64 bits.
    #[error("'{0}' is more coins than there can be")]
    TooLarge(String),
}

impl Amount {
    pub const ZERO: Self = Self(0);

    #[must_use]
    pub const fn from_units(units: u64) -> Self {
        Self(units)
    }

    /// Returns an amount of whole coins. Even the largest `u32` of coins fits.
    #[must_use]
    pub const fn from_coins(coins: u32) -> Self {
        Self((coins as u64).saturating_mul(UNITS_PER_COIN))
    }

    #[must_use]
    pub const fn units(self) -> u64 {
        self.0
    }

    /// Returns the sum, or `None` if it does not fit into 64 bits.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// Returns the difference, or `None` if it is below zero.
    #[must_use]
    pub(crate) fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// Returns the sum of all amounts, or `None` if it does not fit into 64 bits.
    pub(crate) fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }

    /// Returns the sum, capped at 64 bits, for figures that are only shown.
    #[must_use]
    pub(crate) const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Amount {
    /// Sums with a cap at 64 bits, for figures that are only shown.
    ///
    /// Rules use [`Amount::checked_sum`].
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::saturating_add)
    }
}

impl fmt::Display for Amount {
    /// Writes coins as a decimal number without trailing zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (coins, units) = (self.0 / UNITS_PER_COIN, self.0 % UNITS_PER_COIN);
        if units == 0 {
            return f.pad(&coins.to_string());
        }
        let text = format!("{coins}.{units:08}");
        f.pad(text.trim_end_matches('0'))
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown = || text.chars().take(40).collect::<String>();
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(AmountError::Malformed(shown()));
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > DECIMALS {
            return Err(AmountError::TooFine(shown()));
        }
        let units = format!("{fraction:0<DECIMALS$}").parse::<u64>().ok();
        whole
            .parse::<u64>()
            .ok()
            .and_then(|coins| coins.checked_mul(UNITS_PER_COIN))
            .and_then(|coins| coins.checked_add(units?))
            .map(Self)
            .ok_or_else(|| AmountError::TooLarge(shown()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coins_are_shown_without_trailing_zeros_and_parse_back() {
        for (units, text) in [
            (0, "0"),
            (1, "0.00000001"),
            (25_000_000, "0.25"),
            (19_000_000_000, "190"),
            (u64::MAX, "184467440737.09551615"),
        ] {
            assert_eq!(Amount::from_units(units).to_string(), text);
            assert_eq!(text.parse(), Ok(Amount::from_units(units)));
        }
        assert_eq!("10.50".parse(), Ok(Amount::from_units(1_050_000_000)));
    }

    #[test]
    fn a_text_that_is_no_amount_is_refused_by_cause() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "٣", "1.2.3"] {
            assert!(matches!(text.parse::<Amount>(), Err(AmountError::Malformed(_))), "{text}");
        }
        assert!(matches!("0.000000001".parse::<Amount>(), Err(AmountError::TooFine(_))));
        assert!(matches!("184467440737.09551616".parse::<Amount>(), Err(AmountError::TooLarge(_))));
    }
}
