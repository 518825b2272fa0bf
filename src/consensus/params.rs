//! Limits that are the same on every chain, and the parameters that each genesis sets.

use super::{NetworkNameError, Target, network_name::check_network_name};
use crate::primitives::{Amount, DecodeError, Height, coinbase_memo, encoding::Reader, printable};

/// The largest encoded block, in bytes: a slow uplink still sends it within a spacing.
pub const MAX_BLOCK_BYTES: usize = 2 * 1024 * 1024;

/// The largest encoded transaction, in bytes: over 700 inputs, and 20 of them fit in one block.
pub const MAX_TRANSACTION_BYTES: usize = 100_000;

/// The largest encoded genesis block, in bytes: every invite holds it whole, as text.
pub(crate) const MAX_GENESIS_BYTES: usize = 4_096;

/// The most coins that a block may mint beyond its fees, and that a genesis may mint.
pub const SUBSIDY: Amount = Amount::from_coins(100);

/// The number of blocks after which a coinbase can be spent.
///
/// It is 1, so that the first block of a new chain can already spend the genesis.
pub(crate) const COINBASE_MATURITY: Height = 1;

/// The longest name of a chain, in bytes.
pub(crate) const MAX_CHAIN_NAME_BYTES: usize = 32;

/// The longest spacing, in milliseconds: one day.
pub(crate) const MAX_SPACING_MS: u64 = 86_400_000;

/// The easiest floor, in leading zero bits.
pub(crate) const MIN_FLOOR_BITS: u8 = 8;

/// The hardest floor, in leading zero bits: the genesis itself has to meet it.
pub(crate) const MAX_FLOOR_BITS: u8 = 40;

/// The default spacing of a new chain, in milliseconds.
pub(crate) const DEFAULT_SPACING_MS: u64 = 10_000;

/// The default floor of a new chain, in leading zero bits.
pub(crate) const DEFAULT_FLOOR_BITS: u8 = 22;

/// The lowest and the highest limit on a block's lead over the clock, in milliseconds.
///
/// Friends' clocks differ by seconds whatever the spacing, and no spacing justifies more than
/// minutes.
const FUTURE_LIMIT_RANGE_MS: (u64, u64) = (10_000, 120_000);

const _: () = {
    assert!(MAX_GENESIS_BYTES < MAX_TRANSACTION_BYTES && MAX_TRANSACTION_BYTES < MAX_BLOCK_BYTES);
    // The genesis's memo stores the spacing as u32, and 12 or 1,830 spacings fit into u64.
    assert!(MAX_SPACING_MS <= u32::MAX as u64);
};

/// The parameters that the creator of a chain chose.
///
/// The memo of the genesis holds them, so they are part of the network id. Its layout: height
/// u32 = 0, length of the name u8, the name in UTF-8, spacing u32 in milliseconds, floor u8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainParams {
    /// The chain's name: 1 to 32 bytes, by a frozen rule.
    pub name: String,
    /// The intended time between blocks, in milliseconds. With 0 every target is the floor.
    pub spacing_ms: u64,
    /// The easiest target of the chain, as a number of leading zero bits from 8 to 40.
    pub floor_bits: u8,
}

/// The reason why parameters are not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// The name breaks a rule for names.
    #[error("the chain's name does not do: {0}")]
    Name(#[from] NetworkNameError),
    /// The name is too long.
    #[error(
        "the chain's name '{}' has {bytes} bytes: {MAX_CHAIN_NAME_BYTES} at most",
        printable(name)
    )]
    NameTooLong {
        /// The first 32 characters of the name.
        name: String,
        /// The length of the whole name in UTF-8.
        bytes: usize,
    },
    /// The spacing is over a day.
    #[error("a spacing of {0} ms is too long: a day ({MAX_SPACING_MS} ms) at most, or 0 for none")]
    Spacing(u64),
    /// The floor is out of range.
    #[error("a floor of {0} bits is out of range: {MIN_FLOOR_BITS} to {MAX_FLOOR_BITS}")]
    Floor(u8),
    /// The genesis's memo does not have the right layout.
    #[error("the genesis's memo does not hold the chain's parameters: {0}")]
    Layout(#[from] DecodeError),
    /// The genesis's memo holds a height other than 0.
    #[error("the genesis's memo says height {0}: a genesis has height 0")]
    Height(Height),
    /// The name in the genesis's memo is not UTF-8.
    #[error("the chain's name in the genesis's memo is not UTF-8")]
    NameNotUtf8,
}

impl ChainParams {
    /// Checks parameters and returns them.
    pub fn new(name: &str, spacing_ms: u64, floor_bits: u8) -> Result<Self, ParamsError> {
        let params = Self { name: name.to_owned(), spacing_ms, floor_bits };
        params.check()?;
        Ok(params)
    }

    /// Checks that every parameter is in its range.
    pub(crate) fn check(&self) -> Result<(), ParamsError> {
        if self.name.len() > MAX_CHAIN_NAME_BYTES {
            let name = self.name.chars().take(MAX_CHAIN_NAME_BYTES).collect();
            return Err(ParamsError::NameTooLong { name, bytes: self.name.len() });
        }
        check_network_name(&self.name)?;
        if self.spacing_ms > MAX_SPACING_MS {
            return Err(ParamsError::Spacing(self.spacing_ms));
        }
        if !(MIN_FLOOR_BITS..=MAX_FLOOR_BITS).contains(&self.floor_bits) {
            return Err(ParamsError::Floor(self.floor_bits));
        }
        Ok(())
    }

    /// Returns the memo of a genesis with these parameters.
    pub(crate) fn genesis_memo(&self) -> Result<Vec<u8>, ParamsError> {
        self.check()?;
        let name_len = u8::try_from(self.name.len()).unwrap_or(u8::MAX);
        let spacing =
            u32::try_from(self.spacing_ms).map_err(|_| ParamsError::Spacing(self.spacing_ms))?;
        let rest = [&[name_len], self.name.as_bytes(), &spacing.to_le_bytes(), &[self.floor_bits]]
            .concat();
        Ok(coinbase_memo(0, &rest))
    }

    /// Reads and checks the parameters in the memo of a genesis.
    pub(crate) fn from_genesis_memo(memo: &[u8]) -> Result<Self, ParamsError> {
        let mut reader = Reader::new(memo);
        match reader.u32()? {
            0 => {}
            height => return Err(ParamsError::Height(height)),
        }
        let count = usize::from(reader.u8()?);
        if count > MAX_CHAIN_NAME_BYTES {
            return Err(DecodeError::TooMany {
                what: "name bytes",
                count,
                limit: MAX_CHAIN_NAME_BYTES,
            }
            .into());
        }
        let name =
            std::str::from_utf8(reader.take(count)?).map_err(|_| ParamsError::NameNotUtf8)?;
        let spacing_ms = u64::from(reader.u32()?);
        let floor_bits = reader.u8()?;
        reader.finish()?;
        Self::new(name, spacing_ms, floor_bits)
    }

    /// Returns the easiest target that a block of the chain may have.
    ///
    /// It is the largest target with a compact form whose hashes all have `floor_bits` leading zero
    /// bits.
    #[must_use]
    pub(crate) fn floor(&self) -> Target {
        Target::with_zero_bits(self.floor_bits)
    }

    /// Returns F: the limit on a block's lead over the clock, in milliseconds.
    #[must_use]
    pub(crate) fn future_limit_ms(&self) -> u64 {
        let (least, most) = FUTURE_LIMIT_RANGE_MS;
        self.spacing_ms.saturating_mul(12).clamp(least, most)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_memo_out_of_range_is_refused_by_cause() {
        let error = |memo: &[u8]| ChainParams::from_genesis_memo(memo).expect_err("out of range");
        let memo = |height: u32, name: &[u8], spacing: u32, floor: u8| {
            let length = u8::try_from(name.len()).expect("short");
            [&height.to_le_bytes()[..], &[length], name, &spacing.to_le_bytes(), &[floor]].concat()
        };
        assert!(ChainParams::from_genesis_memo(&memo(0, b"friends", 10_000, 22)).is_ok());

        assert_eq!(error(&memo(1, b"friends", 10_000, 22)), ParamsError::Height(1));
        assert!(matches!(
            error(&memo(0, b"", 10_000, 22)),
            ParamsError::Name(NetworkNameError::Empty)
        ));
        assert!(matches!(
            error(&memo(0, b"a b", 10_000, 22)),
            ParamsError::Name(NetworkNameError::Character { code_point: 0x20, .. })
        ));
        assert!(matches!(error(&memo(0, &[0xff], 10_000, 22)), ParamsError::NameNotUtf8));
        assert!(matches!(
            error(&memo(0, &[b'a'; 33], 10_000, 22)),
            ParamsError::Layout(DecodeError::TooMany { .. })
        ));
        assert_eq!(error(&memo(0, b"friends", 86_400_001, 22)), ParamsError::Spacing(86_400_001));
        assert_eq!(error(&memo(0, b"friends", 0, 7)), ParamsError::Floor(7));
        assert_eq!(error(&memo(0, b"friends", 0, 41)), ParamsError::Floor(41));
        assert!(matches!(error(b""), ParamsError::Layout(DecodeError::Truncated { .. })));
        let long = [memo(0, b"friends", 0, 8), vec![0]].concat();
        assert_eq!(error(&long), ParamsError::Layout(DecodeError::Trailing { extra: 1 }));
    }

    #[test]
    fn parameters_that_cannot_be_stored_are_refused() {
        assert!(matches!(
            ChainParams::new(&"李".repeat(11), 0, 8),
            Err(ParamsError::NameTooLong { bytes: 33, .. })
        ));
        let unchecked = ChainParams { name: "x".to_owned(), spacing_ms: 1 << 40, floor_bits: 8 };
        assert_eq!(unchecked.genesis_memo(), Err(ParamsError::Spacing(1 << 40)));
    }

    #[test]
    fn the_clock_may_differ_by_twelve_spacings_within_reason() {
        let limit = |spacing_ms| {
            ChainParams { name: "x".to_owned(), spacing_ms, floor_bits: 8 }.future_limit_ms()
        };
        let limits = [0, 100, 1_000, 5_000, 10_000, 600_000].map(limit);
        assert_eq!(limits, [10_000, 10_000, 12_000, 60_000, 120_000, 120_000]);
    }

    proptest! {
        #[test]
        fn parameters_have_one_memo(
            name in "[a-zé李]{1,10}",
            spacing_ms in 0..=MAX_SPACING_MS,
            floor_bits in 8u8..=40,
        ) {
            let params = ChainParams::new(&name, spacing_ms, floor_bits);
            prop_assert!(params.is_ok());
            let params = params.expect("just checked");
            let memo = params.genesis_memo().expect("checked parameters");
            prop_assert_eq!(ChainParams::from_genesis_memo(&memo), Ok(params));
        }

        #[test]
        fn a_memo_that_is_read_is_written_alike(
            memo in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let memo = [&[0; 4][..], &memo].concat();
            if let Ok(params) = ChainParams::from_genesis_memo(&memo) {
                prop_assert_eq!(params.genesis_memo(), Ok(memo));
            }
        }
    }
}
