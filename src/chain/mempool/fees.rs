//! Fee rates, packages of dependent trades, and the floor below which the mempool rejects trades.

use crate::primitives::{Amount, UnixMillis};

/// The fee rate at which a trade counts as paying, in units per 1,000 bytes. A replacement must
/// also pay this much more than what it replaces, and so must the first trade after an eviction.
pub const PAYING_RATE: u64 = 1_000;

/// Half-life of the floor, in ms: 10 minutes, longer than blocks take to empty a full mempool.
pub const FLOOR_HALF_LIFE_MS: u64 = 10 * 60 * 1_000;

/// A fee rate, in units per 1,000 bytes, rounded down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FeeRate(u64);

impl FeeRate {
    pub const ZERO: Self = Self(0);

    /// A rate above every possible fee.
    pub(super) const UNPAYABLE: Self = Self(u64::MAX);

    #[must_use]
    pub const fn from_units(units: u64) -> Self {
        Self(units)
    }

    /// Returns the rate of a fee for a transaction of `bytes` bytes.
    #[must_use]
    pub fn of(fee: Amount, bytes: usize) -> Self {
        Package { count: 1, bytes, fee: fee.units().into() }.rate()
    }

    /// Returns the rate in units per 1,000 bytes.
    #[must_use]
    pub const fn units(self) -> u64 {
        self.0
    }

    /// Returns the sum, saturating at the maximum.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Returns the fee for `bytes` bytes at this rate, rounded up.
    #[must_use]
    pub fn fee(self, bytes: usize) -> Amount {
        let units = u128::from(self.0).saturating_mul(count(bytes)).div_ceil(1_000);
        Amount::from_units(u64::try_from(units).unwrap_or(u64::MAX))
    }

    /// True if the rate is so low that the limits on free trades apply.
    #[must_use]
    pub const fn is_free(self) -> bool {
        self.0 < PAYING_RATE
    }
}

fn count(bytes: usize) -> u128 {
    u128::try_from(bytes).unwrap_or(u128::MAX)
}

/// Several trades taken together: their number, total length and total fee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Package {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
    pub(crate) fee: u128,
}

impl Package {
    pub(crate) fn one(fee: Amount, bytes: usize) -> Self {
        Self { count: 1, bytes, fee: fee.units().into() }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.fee = self.fee.saturating_add(other.fee);
    }

    pub(crate) fn subtract(&mut self, other: Self) {
        self.count = self.count.saturating_sub(other.count);
        self.bytes = self.bytes.saturating_sub(other.bytes);
        self.fee = self.fee.saturating_sub(other.fee);
    }

    pub(crate) fn rate(&self) -> FeeRate {
        let rate = self.fee.saturating_mul(1_000).checked_div(count(self.bytes.max(1)));
        FeeRate(rate.and_then(|rate| u64::try_from(rate).ok()).unwrap_or(u64::MAX))
    }
}

/// The minimum fee rate for trades from peers.
///
/// It is normally zero. After an eviction from a full mempool it exceeds the rate of the evicted
/// trade, then halves every [`FLOOR_HALF_LIFE_MS`].
///
/// # Security
/// Without the floor, a peer could send evicted trades again at once, and make the network check
/// and relay them for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Floor {
    rate: FeeRate,
    at: UnixMillis,
}

impl Floor {
    /// Returns the rate at a time. The rate falls linearly between two halvings, and drops to zero
    /// below half of [`PAYING_RATE`].
    #[must_use]
    pub fn at(&self, now: UnixMillis) -> FeeRate {
        if self.rate == FeeRate::ZERO {
            return FeeRate::ZERO;
        }
        let elapsed = now.saturating_sub(self.at);
        let halvings = u32::try_from(elapsed / FLOOR_HALF_LIFE_MS).unwrap_or(u32::MAX);
        let from = u128::from(self.rate.0.checked_shr(halvings).unwrap_or(0));
        let fallen = from.saturating_mul(u128::from(elapsed % FLOOR_HALF_LIFE_MS))
            / u128::from(2 * FLOOR_HALF_LIFE_MS);
        let rate = u64::try_from(from.saturating_sub(fallen)).unwrap_or(u64::MAX);
        if rate < PAYING_RATE / 2 { FeeRate::ZERO } else { FeeRate(rate) }
    }

    /// Moves the floor with the wall clock, so that a jump neither ends nor prolongs it.
    pub(super) const fn clock_moved(&mut self, by: i64) {
        self.at = self.at.saturating_add_signed(by);
    }

    /// Raises the floor to at least `rate`; never lowers it.
    pub(super) fn raise(&mut self, rate: FeeRate, now: UnixMillis) {
        if rate > self.at(now) {
            *self = Self { rate, at: now };
        }
    }
}

/// A recent block, as an input of [`estimate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockFees {
    /// Encoded length of the block.
    pub bytes: usize,
    /// The lowest rate of its trades that pay; `None` if none pays.
    pub lowest: Option<FeeRate>,
}

/// Returns the rate that should bring a trade into the next block.
///
/// `waiting` holds the rate and bytes of each mempool entry, `floor` is the rate that peers demand,
/// and `capacity` is the room of a block in bytes. The estimate is never below [`PAYING_RATE`], so
/// that the limits on free trades do not apply. It exceeds the rate down to which waiting trades
/// fill a block. If most of the recent blocks were nearly full, it also exceeds the median of their
/// lowest rates.
#[must_use]
pub fn estimate(
    mut waiting: Vec<(FeeRate, usize)>,
    floor: FeeRate,
    recent: &[BlockFees],
    capacity: usize,
) -> FeeRate {
    let step = FeeRate(PAYING_RATE);
    let mut rate = step.max(if floor == FeeRate::ZERO { floor } else { floor.plus(step) });
    waiting.sort_unstable_by(|one, other| other.cmp(one));
    let mut bytes = 0_usize;
    let crowded = waiting.iter().find(|(_, length)| {
        bytes = bytes.saturating_add(*length);
        bytes >= capacity
    });
    if let Some((last, _)) = crowded {
        rate = rate.max(last.plus(step));
    }
    let full = recent.iter().filter(|block| block.bytes >= capacity / 10 * 9);
    let mut lowest: Vec<_> = full.filter_map(|block| block.lowest).collect();
    if lowest.len().saturating_mul(2) > recent.len() {
        lowest.sort_unstable();
        if let Some(median) = lowest.get(lowest.len() / 2) {
            rate = rate.max(median.plus(step));
        }
    }
    rate
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rate_and_its_fee_belong_together() {
        let rate = FeeRate::of(Amount::from_units(333), 1_000);
        assert_eq!((rate.units(), rate.fee(1_000).units(), rate.fee(1).units()), (333, 333, 1));
        assert!(
            rate.is_free()
                && FeeRate::of(Amount::from_units(250), 250) == FeeRate::from_units(PAYING_RATE)
        );
        assert_eq!(FeeRate::of(Amount::from_units(u64::MAX), 0).units(), u64::MAX);
    }

    #[test]
    fn the_estimate_follows_the_crowd_and_costs_next_to_nothing_without_one() {
        let estimate = |waiting, floor, recent: &[BlockFees]| {
            estimate(waiting, FeeRate(floor), recent, 1_000).units()
        };
        assert_eq!(estimate(vec![], 0, &[]), PAYING_RATE);
        assert_eq!(estimate(vec![(FeeRate(90_000), 900)], 0, &[]), PAYING_RATE, "there is room");
        let crowd = vec![(FeeRate(5_000), 500), (FeeRate(90_000), 500), (FeeRate(1), 900)];
        assert_eq!(estimate(crowd, 0, &[]), 6_000);
        assert_eq!(estimate(vec![], 7_000, &[]), 8_000);
        let block = |bytes, lowest| BlockFees { bytes, lowest: Some(FeeRate(lowest)) };
        let full = [block(950, 9_000), block(1_000, 3_000), block(10, 1)];
        assert_eq!(estimate(vec![], 0, &full), 10_000);
        assert_eq!(estimate(vec![], 0, &full[1..]), PAYING_RATE, "half of them had room");
    }

    #[test]
    fn the_floor_halves_and_ends() {
        let mut floor = Floor::default();
        floor.raise(FeeRate(8_000), 1_000);
        let after = |half_lives: u64| floor.at(1_000 + half_lives * FLOOR_HALF_LIFE_MS / 2).units();
        assert_eq!([0, 1, 2, 3, 4].map(after), [8_000, 6_000, 4_000, 3_000, 2_000]);
        assert_eq!((after(8), after(9), after(1_000)), (500, 0, 0));
        assert_eq!(floor.at(0), FeeRate(8_000), "a clock that went back");
        let mut moved = floor;
        moved.clock_moved(-1_000);
        assert_eq!(moved.at(FLOOR_HALF_LIFE_MS), FeeRate(4_000), "the clock was set back");
        let mut raised = floor;
        raised.raise(FeeRate(3_000), 1_000);
        assert_eq!(raised, floor, "never lowered");
    }

    proptest! {
        #[test]
        fn what_a_rate_costs_pays_that_rate(
            rate in 0..u64::from(u32::MAX),
            bytes in 1..100_000_usize,
        ) {
            prop_assert!(FeeRate::of(FeeRate(rate).fee(bytes), bytes) >= FeeRate(rate));
        }

        #[test]
        fn the_floor_only_falls(
            rate: u64,
            at in 0..1_u64 << 50,
            times in prop::collection::vec(0..1_u64 << 40, 2),
        ) {
            let mut floor = Floor::default();
            floor.raise(FeeRate(rate), at);
            let (first, second) = (times[0].min(times[1]), times[0].max(times[1]));
            prop_assert!(floor.at(at + first) >= floor.at(at + second));
        }
    }
}
