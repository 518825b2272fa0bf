//! Targets, which block hashes must meet, and work, the expected number of hashes for that.

use std::{fmt, str::FromStr};

use ruint::aliases::U256;

use crate::primitives::BlockHash;

/// The sign bit of Bitcoin's compact form, which no target has.
const COMPACT_SIGN: u32 = 0x0080_0000;

/// The highest value that a block's hash may have as a big-endian number. It is never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(U256);

/// An expected number of hashes, for one block or for a chain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Work(U256);

/// The reason why a header's `bits` are not a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompactError {
    /// The number is zero or negative.
    #[error("bits {0:08x} stand for no positive target")]
    NotPositive(u32),
    /// The number has more than 256 bits.
    #[error("bits {0:08x} stand for a target of more than 256 bits")]
    TooLarge(u32),
    /// The canonical form of the same target differs.
    #[error("bits {bits:08x} are not the canonical form of their target: {canonical:08x} is")]
    NotCanonical { bits: u32, canonical: u32 },
}

impl Target {
    /// The hardest target.
    pub const ONE: Self = Self(U256::ONE);

    /// Returns the largest target with a compact form whose hashes begin with `bits` zero bits.
    pub(super) fn with_zero_bits(bits: u8) -> Self {
        Self::rounded(U256::MAX.wrapping_shr(usize::from(bits)))
    }

    /// Returns the largest target with a compact form that does not exceed `number`.
    ///
    /// For zero that is [`Target::ONE`].
    pub(super) fn rounded(number: U256) -> Self {
        let bits = Self(number.max(U256::ONE)).to_compact();
        let (mantissa, exponent) = split_compact(bits);
        Self(expand(mantissa, exponent).unwrap_or(U256::ONE).max(U256::ONE))
    }

    /// Decodes `bits`, which must be the canonical form of a target.
    ///
    /// The form is Bitcoin's. The highest byte is the length of the number in bytes. The other
    /// three are the first bytes of the number, and the first of their bits is 0.
    pub fn from_compact(bits: u32) -> Result<Self, CompactError> {
        let (mantissa, exponent) = split_compact(bits);
        if bits & COMPACT_SIGN != 0 || mantissa == 0 {
            return Err(CompactError::NotPositive(bits));
        }
        let number = expand(mantissa, exponent).ok_or(CompactError::TooLarge(bits))?;
        if number.is_zero() {
            return Err(CompactError::NotPositive(bits));
        }
        let canonical = Self(number).to_compact();
        if canonical != bits {
            return Err(CompactError::NotCanonical { bits, canonical });
        }
        Ok(Self(number))
    }

    /// Returns the canonical compact form.
    ///
    /// Digits beyond its 23 bits are cut off, which makes the target harder.
    #[must_use]
    pub(crate) fn to_compact(&self) -> u32 {
        let mut length = self.0.byte_len();
        let shift = |bytes: usize| bytes.saturating_mul(8);
        let mut mantissa: U256 = if length <= 3 {
            self.0.wrapping_shl(shift(3usize.saturating_sub(length)))
        } else {
            self.0.wrapping_shr(shift(length.saturating_sub(3)))
        };
        if mantissa.bit(23) {
            mantissa = mantissa.wrapping_shr(8);
            length = length.saturating_add(1);
        }
        let exponent = u32::try_from(length).unwrap_or(u32::MAX);
        exponent.wrapping_shl(24) | mantissa.wrapping_to::<u32>()
    }

    /// True if the hash does not exceed the target.
    #[must_use]
    pub fn is_met_by(&self, hash: &BlockHash) -> bool {
        U256::from_be_bytes(hash.0) <= self.0
    }

    /// Returns the expected number of hashes to meet the target.
    ///
    /// It is 2²⁵⁶ / (target + 1), rounded down.
    #[must_use]
    pub fn work(&self) -> Work {
        // 2²⁵⁶ does not fit into 256 bits, but (2²⁵⁶ − 1 − t) / (t + 1) + 1 is the same.
        let above = self.0.checked_add(U256::ONE);
        Work(
            above
                .and_then(|above| (!self.0).checked_div(above))
                .map_or(U256::ONE, |q| q.saturating_add(U256::ONE)),
        )
    }

    /// Returns 32 bytes, big-endian, which compare with a hash byte by byte.
    #[must_use]
    pub(crate) fn to_be_bytes(&self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    pub(super) const fn number(self) -> U256 {
        self.0
    }
}

/// Splits `bits` into the mantissa without its sign bit, and the length in bytes.
const fn split_compact(bits: u32) -> (u32, usize) {
    (bits & 0x007f_ffff, (bits >> 24) as usize)
}

/// Returns mantissa · 256^(exponent − 3), or `None` if that does not fit into 256 bits.
fn expand(mantissa: u32, exponent: usize) -> Option<U256> {
    let mantissa = U256::from(mantissa);
    match exponent.checked_sub(3) {
        None => Some(mantissa.wrapping_shr(3usize.saturating_sub(exponent).saturating_mul(8))),
        Some(bytes) => {
            let shift = bytes.checked_mul(8)?;
            (mantissa.bit_len().checked_add(shift)? <= 256).then(|| mantissa.wrapping_shl(shift))
        }
    }
}

impl Work {
    pub const ZERO: Self = Self(U256::ZERO);

    /// Returns the sum, or `None` if it does not fit into 256 bits.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// Returns the sum, capped at 2²⁵⁶ − 1.
    #[must_use]
    pub(crate) const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Returns the difference, at least 0.
    #[must_use]
    pub(crate) const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Returns the product, capped at 2²⁵⁶ − 1.
    #[must_use]
    pub(crate) fn saturating_mul(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(U256::from(factor)))
    }

    /// Returns an approximation with 16 digits, for display and metrics.
    #[must_use]
    pub(crate) fn to_f64(self) -> f64 {
        f64::from(self.0)
    }

    /// Returns 32 bytes, big-endian.
    #[must_use]
    pub const fn to_be_bytes(&self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// Reads 32 bytes, big-endian.
    #[must_use]
    pub(crate) const fn from_be_bytes(bytes: [u8; 32]) -> Self {
        Self(U256::from_be_bytes(bytes))
    }
}

impl From<u64> for Work {
    fn from(hashes: u64) -> Self {
        Self(U256::from(hashes))
    }
}

/// The error for a text that is not an amount of work, with its first 80 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an amount of work: 1 to 64 hex digits are")]
pub struct WorkParseError(pub String);

impl FromStr for Work {
    type Err = WorkParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || WorkParseError(text.chars().take(80).collect());
        if text.is_empty() || text.len() > 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return Err(error());
        }
        U256::from_str_radix(text, 16).map(Self).map_err(|_| error())
    }
}

impl fmt::Display for Work {
    /// Writes hex digits without leading zeros, and `0` for no work.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:x}", self.0))
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Work({self})")
    }
}

impl fmt::Display for Target {
    /// Writes 64 hex digits, as for a hash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:064x}", self.0))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> U256 {
        U256::from_str_radix(text, 16).expect("hex")
    }

    #[test]
    fn bits_are_read_as_bitcoin_reads_them() {
        // Taken from Bitcoin Core's arith_uint256 tests, and from the floor of its mainnet.
        for (bits, target) in [
            (0x0112_0000, "12"),
            (0x0200_8000, "80"),
            (0x0500_9234, "92340000"),
            (0x2012_3456, "1234560000000000000000000000000000000000000000000000000000000000"),
            (0x1d00_ffff, "ffff0000000000000000000000000000000000000000000000000000"),
        ] {
            assert_eq!(Target::from_compact(bits), Ok(Target(number(target))), "{bits:08x}");
        }
    }

    #[test]
    fn bits_that_are_no_target_are_refused_by_cause() {
        for bits in
            [0, 0x0080_0000, 0x0492_3456, 0x0000_1234, 0x0100_3456, 0x0300_0000, 0x2080_0001]
        {
            assert_eq!(
                Target::from_compact(bits),
                Err(CompactError::NotPositive(bits)),
                "{bits:08x}"
            );
        }
        for bits in [0x2101_0000, 0x2200_0100, 0x2300_0001, 0xff12_3456] {
            assert!(
                matches!(
                    Target::from_compact(bits),
                    Err(CompactError::TooLarge(_) | CompactError::NotCanonical { .. })
                ),
                "{bits:08x}"
            );
        }
        assert_eq!(Target::from_compact(0xff12_3456), Err(CompactError::TooLarge(0xff12_3456)));
        for (bits, canonical) in
            [(0x0400_0012, 0x0212_0000), (0x0112_3456, 0x0112_0000), (0x0500_0080, 0x0400_8000)]
        {
            assert_eq!(
                Target::from_compact(bits),
                Err(CompactError::NotCanonical { bits, canonical })
            );
        }
    }

    #[test]
    fn the_floor_is_the_largest_target_whose_hashes_have_that_many_zero_bits() {
        for bits in 0..=255u8 {
            let floor = Target::with_zero_bits(bits);
            assert!(floor.0.leading_zeros() == usize::from(bits), "{bits}");
            assert_eq!(Target::from_compact(floor.to_compact()), Ok(floor));
            if bits <= 40 {
                let next = Target::from_compact(floor.to_compact() + 1);
                assert!(
                    next.map_or(true, |next| next.0.leading_zeros() < usize::from(bits)),
                    "{bits}"
                );
                let (work, power) = (floor.work().to_f64(), 2f64.powi(i32::from(bits)));
                assert!(work >= power && work < power * 1.000_1, "{bits}: {work}");
            }
        }
    }

    #[test]
    fn a_target_is_met_by_itself_and_by_less() {
        let target = Target::from_compact(0x1d00_ffff).expect("a target");
        assert!(target.is_met_by(&BlockHash(target.to_be_bytes())));
        assert!(target.is_met_by(&BlockHash::ZERO));
        let above = (target.0 + U256::ONE).to_be_bytes();
        assert!(!target.is_met_by(&BlockHash(above)));
    }

    #[test]
    fn work_is_the_number_of_expected_hashes() {
        assert_eq!(Target(U256::MAX).work(), Work::from(1));
        assert_eq!(Target(U256::MAX >> 1).work(), Work::from(2));
        assert_eq!(
            Target::from_compact(0x1d00_ffff).expect("a target").work(),
            Work::from(0x1_0001_0001)
        );
        assert_eq!(Target::ONE.work().to_string(), format!("8{}", "0".repeat(63)));
    }

    #[test]
    fn work_never_wraps() {
        let most = Work::from_be_bytes([0xff; 32]);
        assert_eq!(most.checked_add(Work::from(1)), None);
        assert_eq!(most.saturating_add(Work::from(1)), most);
        assert!((most.to_f64() / 2f64.powi(256) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn work_is_written_in_hex_and_read_back() {
        for (work, text) in [
            (Work::ZERO, "0"),
            (Work::from(255), "ff"),
            (Work::from_be_bytes([0xab; 32]), &"ab".repeat(32)),
        ] {
            assert_eq!(work.to_string(), text);
            assert_eq!(text.parse(), Ok(work));
        }
        for text in ["", "g", "0x1", "-1", "1_0", &"1".repeat(65)] {
            assert!(text.parse::<Work>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn bits_that_are_accepted_are_the_only_ones_of_their_target(bits: u32) {
            if let Ok(target) = Target::from_compact(bits) {
                prop_assert_eq!(target.to_compact(), bits);
            }
        }

        #[test]
        fn rounding_is_down_by_less_than_a_32768th(bytes: [u8; 32], shift in 0usize..256) {
            let number = U256::from_be_bytes(bytes) >> shift;
            let rounded = Target::rounded(number);
            prop_assert_eq!(Target::from_compact(rounded.to_compact()), Ok(rounded));
            prop_assert!(rounded.0 <= number.max(U256::ONE));
            prop_assert!(number.saturating_sub(rounded.0) <= number >> 15);
        }

        #[test]
        fn a_harder_target_is_never_less_work(a: [u8; 32], b: [u8; 32]) {
            let target = |bytes| Target::rounded(U256::from_be_bytes(bytes));
            let (a, b) = (target(a), target(b));
            prop_assert_eq!(a.work() < b.work(), a.work() != b.work() && a > b);
        }
    }
}
