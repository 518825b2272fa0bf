//! The difficulty rule: a linearly weighted moving average (LWMA) over the last 60 blocks.
//!
//! The module also keeps the window of ancestors that this rule and the median-time rule need.
//!
//! T is the spacing in ms, F the limit on a block's lead over the clock, N = 60, and
//! K = T · 1830, where 1830 = 1 + 2 + … + 60. The rule:
//! - Blocks before genesis count as blocks with the floor as target, one T apart. The window
//!   therefore always has N blocks, and the time m₀ before the first of them.
//! - In order i = 1…N: mᵢ = max(timeᵢ, mᵢ₋₁ + 1), sᵢ = min(mᵢ − mᵢ₋₁, 6T).
//! - L = max(Σ i·sᵢ, K/10); next target = ⌊Σ ⌊targetᵢ/60⌋ / K⌋ · L, never easier than the floor.
//! - A new block is late if its time is more than F + 12T after its parent's. Its target then
//!   doubles for each 6T begun beyond that, up to the floor. The chain therefore does not stall
//!   when a strong miner leaves.
//! - The result is rounded down to the compact form and is at least 1. The rounding makes the
//!   target harder by less than one part in 32,768.
//! - With a spacing of 0 every target is the floor.
//!
//! The average is zawy12's LWMA-1 (<https://github.com/zawy12/difficulty-algorithms/issues/3>).
//! Here each target is divided before the sum, so that no sum overflows 256 bits.

#[cfg(test)]
mod figures;

use std::{cmp::Reverse, collections::VecDeque};

use ruint::aliases::U256;

use super::{ChainParams, CheckedHeader, CompactError, MAX_SPACING_MS, Network, Target};
use crate::primitives::{BlockHash, Header, Height, UnixMillis};

/// The number of blocks that the average covers, called N in the rule.
const LWMA_BLOCKS: usize = 60;

/// The most ancestors in a window: N, and one more for the time before the first of them.
pub(crate) const WINDOW_BLOCKS: usize = LWMA_BLOCKS + 1;

/// The most ancestors whose median time bounds the next block's time from below.
const MEDIAN_BLOCKS: usize = 11;

/// The sum of all weights: 1 + 2 + … + N.
const WEIGHTS: u64 = 1_830;

/// The cap on one block's solve time, in spacings; also the delay for each doubling.
const LONGEST_SPACINGS: u64 = 6;

/// The delay beyond F after which the target doubles, in spacings.
const LATE_SPACINGS: u64 = 12;

const _: () = assert!(WEIGHTS == (LWMA_BLOCKS * (LWMA_BLOCKS + 1) / 2) as u64);
const _: () =
    assert!(MAX_SPACING_MS < u64::MAX / LONGEST_SPACINGS / WEIGHTS, "a weighted sum of times fits");

/// The data of one ancestor that the rules use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ancestor {
    time: UnixMillis,
    /// The value ⌊target / 60⌋, computed once.
    share: U256,
}

impl Ancestor {
    fn new(time: UnixMillis, target: Target) -> Self {
        let share = target.number().checked_div(U256::from(LWMA_BLOCKS)).unwrap_or(U256::ZERO);
        Self { time, share }
    }
}

/// The last ancestors of the next block, the parent last.
///
/// A window has 61 ancestors, or all of them down to genesis if there are fewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderWindow {
    parent: BlockHash,
    parent_height: Height,
    ancestors: VecDeque<Ancestor>,
    /// The running sum Σ ⌊targetᵢ/60⌋ over the last 60 ancestors.
    shares: U256,
}

/// The reason why ancestors do not form a window.
///
/// The fault is always this node's: only checked headers become ancestors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// The number of ancestors does not fit the parent's height.
    #[error("a window up to height {height} takes {expected} ancestors, not {found}")]
    Count {
        /// The height of the parent.
        height: Height,
        /// The right number: 61, or all down to genesis if there are fewer.
        expected: usize,
        /// The number passed, after cutting it to at most 61.
        found: usize,
    },
    /// The bits of an ancestor encode no target.
    #[error(transparent)]
    Bits(#[from] CompactError),
}

impl HeaderWindow {
    /// Returns the window for the block after genesis.
    #[must_use]
    pub fn genesis(network: &Network) -> Self {
        let mut window = Self::empty(network.id, 0);
        window.advance(Ancestor::new(network.genesis.header.time, network.floor()));
        window
    }

    /// Returns the window for the block after `parent`.
    ///
    /// `ancestors` are times and bits in ascending order, the parent's last: all down to genesis,
    /// or at least the last 61. The caller passes only headers that were checked before.
    pub(crate) fn new(
        parent: BlockHash,
        parent_height: Height,
        ancestors: impl IntoIterator<Item = (UnixMillis, u32)>,
    ) -> Result<Self, WindowError> {
        let mut window = Self::empty(parent, parent_height);
        for (time, bits) in ancestors {
            window.advance(Ancestor::new(time, Target::from_compact(bits)?));
        }
        let all = usize::try_from(parent_height).unwrap_or(usize::MAX).saturating_add(1);
        let (expected, found) = (all.min(WINDOW_BLOCKS), window.ancestors.len());
        if found != expected {
            return Err(WindowError::Count { height: parent_height, expected, found });
        }
        Ok(window)
    }

    /// Returns a window without any ancestor; the caller adds them.
    fn empty(parent: BlockHash, parent_height: Height) -> Self {
        let ancestors = VecDeque::with_capacity(WINDOW_BLOCKS.saturating_add(1));
        Self { parent, parent_height, ancestors, shares: U256::ZERO }
    }

    /// Appends an ancestor, and drops the oldest if there are more than 61.
    fn advance(&mut self, ancestor: Ancestor) {
        self.ancestors.push_back(ancestor);
        // No overflow: 60 shares, each a sixtieth of a target.
        self.shares = self.shares.wrapping_add(ancestor.share);
        let beyond = self.ancestors.len().checked_sub(WINDOW_BLOCKS);
        if let Some(left) = beyond.and_then(|beyond| self.ancestors.get(beyond)) {
            self.shares = self.shares.wrapping_sub(left.share);
        }
        if self.ancestors.len() > WINDOW_BLOCKS {
            self.ancestors.pop_front();
        }
    }

    /// Returns the window for the block after the last of `headers`.
    ///
    /// The headers are in ascending order: all down to genesis, or at least the last 61.
    pub fn from_headers(headers: &[Header]) -> Result<Self, WindowError> {
        let Some(parent) = headers.last() else {
            return Err(WindowError::Count { height: 0, expected: 1, found: 0 });
        };
        Self::new(
            parent.hash(),
            parent.height,
            headers.iter().map(|header| (header.time, header.bits)),
        )
    }

    /// Advances the window by one block, which becomes the parent.
    ///
    /// The caller passes only a header that was checked against this window.
    pub fn push(&mut self, header: &CheckedHeader) {
        debug_assert_eq!(header.header().previous, self.parent);
        self.parent = header.hash();
        self.parent_height = header.header().height;
        self.advance(Ancestor::new(header.header().time, header.target()));
    }

    /// Returns the hash of the parent.
    #[must_use]
    pub const fn parent(&self) -> BlockHash {
        self.parent
    }

    #[must_use]
    pub const fn parent_height(&self) -> Height {
        self.parent_height
    }

    #[must_use]
    pub fn parent_time(&self) -> UnixMillis {
        self.ancestors.back().map_or(0, |ancestor| ancestor.time)
    }

    /// Returns the median time of the last 11 blocks. For an even number, the later middle one.
    #[must_use]
    pub(crate) fn median_time(&self) -> UnixMillis {
        let mut times = [0; MEDIAN_BLOCKS];
        let last = self.ancestors.iter().rev();
        let count =
            times.iter_mut().zip(last).map(|(time, ancestor)| *time = ancestor.time).count();
        let times = times.get_mut(..count).unwrap_or_default();
        // The latest block is first, so the times almost always descend already.
        if !times.is_sorted_by(|later, earlier| later >= earlier) {
            times.sort_unstable_by_key(|time| Reverse(*time));
        }
        times.len().checked_sub(1).and_then(|last| times.get(last / 2)).copied().unwrap_or(0)
    }
}

/// Returns the earliest time of the next block: 1 ms after the median of the last 11.
#[must_use]
pub fn min_time(window: &HeaderWindow) -> UnixMillis {
    window.median_time().saturating_add(1)
}

/// Returns the bits that the next block must have if its time is `time`.
#[must_use]
pub fn next_bits(network: &Network, window: &HeaderWindow, time: UnixMillis) -> u32 {
    next_target(&network.params, network.floor(), window, time).to_compact()
}

/// Returns the target that the next block must have if its time is `time`.
///
/// The target has an exact compact form.
pub(super) fn next_target(
    params: &ChainParams,
    floor: Target,
    window: &HeaderWindow,
    time: UnixMillis,
) -> Target {
    let spacing = params.spacing_ms;
    if spacing == 0 {
        return floor;
    }
    let average = average_target(spacing, floor, window).min(floor.number());
    let doublings = doublings(params, window.parent_time(), time);
    let doubled = average.saturating_shl(doublings).min(floor.number());
    Target::rounded(doubled)
}

/// True if a header pays the full price: its hash meets the target without any doubling for a late
/// block. `window` is the one that the header was checked against.
///
/// Beside the best chain, nodes keep a cheaper header only if its branch wins.
#[must_use]
pub(crate) fn pays_full_price(
    network: &Network,
    window: &HeaderWindow,
    checked: &CheckedHeader,
) -> bool {
    let (params, parent_time) = (&network.params, window.parent_time());
    if params.spacing_ms == 0 || doublings(params, parent_time, checked.header().time) == 0 {
        return true;
    }
    next_target(params, network.floor(), window, parent_time).is_met_by(&checked.hash())
}

/// Returns ⌊Σ ⌊targetᵢ/60⌋ / K⌋ · L, which can still be easier than the floor.
fn average_target(spacing: u64, floor: Target, window: &HeaderWindow) -> U256 {
    let (weighted, shares) =
        full_sums(spacing, window).unwrap_or_else(|| sums(spacing, floor, window));
    debug_assert_eq!((weighted, shares), sums(spacing, floor, window));
    // No overflow: `MAX_SPACING_MS` bounds the product; see the assertion above.
    let k = spacing.saturating_mul(WEIGHTS);
    let l = weighted.max(k / 10);
    // No overflow: at most 6 times the easiest floor, which has 8 leading zero bits.
    shares.checked_div(U256::from(k)).unwrap_or(U256::ZERO).saturating_mul(U256::from(l))
}

/// Returns Σ i·sᵢ and Σ ⌊targetᵢ/60⌋, computed exactly as the rule defines them.
fn sums(spacing: u64, floor: Target, window: &HeaderWindow) -> (u64, U256) {
    let t = i128::from(spacing);
    let longest = t.saturating_mul(i128::from(LONGEST_SPACINGS));
    let missing = WINDOW_BLOCKS.saturating_sub(window.ancestors.len());
    let genesis_time = i128::from(window.ancestors.front().map_or(0, |ancestor| ancestor.time));
    let floor_share = Ancestor::new(0, floor).share;
    // Signed and 128 bits wide: the blocks before a genesis of 1970 have negative times.
    let before_genesis = (1..=missing).rev().map(|back| {
        let back = i128::try_from(back).unwrap_or(i128::MAX);
        (genesis_time.saturating_sub(t.saturating_mul(back)), floor_share)
    });
    let real = window.ancestors.iter().map(|ancestor| (i128::from(ancestor.time), ancestor.share));
    let mut blocks = before_genesis.chain(real);

    let mut previous = blocks.next().map_or(0, |(time, _)| time);
    let (mut weight, mut weighted, mut shares) = (0u64, 0u64, U256::ZERO);
    blocks.for_each(|(time, share)| {
        weight = weight.saturating_add(1);
        let monotone = time.max(previous.saturating_add(1));
        let taken = u64::try_from(monotone.saturating_sub(previous).min(longest)).unwrap_or(0);
        weighted = weighted.saturating_add(taken.saturating_mul(weight));
        // No overflow: 60 shares, each a sixtieth of a target.
        shares = shares.wrapping_add(share);
        previous = monotone;
    });
    (weighted, shares)
}

/// Computes [`sums`] faster for a full window whose times are not close to the end of 64 bits.
///
/// Returns `None` for any other window.
fn full_sums(spacing: u64, window: &HeaderWindow) -> Option<(u64, U256)> {
    const LAST: UnixMillis = u64::MAX - WINDOW_BLOCKS as u64;
    if window.ancestors.len() != WINDOW_BLOCKS {
        return None;
    }
    let longest = spacing.saturating_mul(LONGEST_SPACINGS);
    let (older, newer) = window.ancestors.as_slices();
    let mut times = older.iter().chain(newer).map(|ancestor| ancestor.time);
    let first = times.next()?;
    let (mut previous, mut latest, mut weight, mut weighted) = (first, first, 0u64, 0u64);
    times.for_each(|time| {
        latest = latest.max(time);
        weight = weight.wrapping_add(1);
        let monotone = time.max(previous.wrapping_add(1));
        let taken = monotone.wrapping_sub(previous).min(longest);
        // No overflow: 60 weighted steps of at most 6 spacings; see the assertion above.
        weighted = weighted.wrapping_add(taken.wrapping_mul(weight));
        previous = monotone;
    });
    (latest <= LAST).then_some((weighted, window.shares))
}

/// Returns the number of doublings for a block at `time` after a parent at `parent_time`.
fn doublings(params: &ChainParams, parent_time: UnixMillis, time: UnixMillis) -> usize {
    let patience =
        params.future_limit_ms().saturating_add(params.spacing_ms.saturating_mul(LATE_SPACINGS));
    let late = time.saturating_sub(parent_time).saturating_sub(patience);
    let step = params.spacing_ms.saturating_mul(LONGEST_SPACINGS).max(1);
    usize::try_from(late.div_ceil(step)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::consensus::{
        Work,
        testing::{hash, network},
    };

    const T: u64 = 10_000;
    /// The delay without doubling for that T: F plus 12T.
    const PATIENCE: u64 = 240_000;

    fn params(spacing_ms: u64, floor_bits: u8) -> ChainParams {
        ChainParams::new("test", spacing_ms, floor_bits).expect("params")
    }

    /// Returns a window of ancestors that are `spacing` apart and all have `target`.
    fn even(count: u32, spacing: u64, target: Target) -> HeaderWindow {
        let times = (0..count).map(|i| (1_000_000 + u64::from(i) * spacing, target.to_compact()));
        HeaderWindow::new(hash(1), count - 1, times).expect("a window")
    }

    fn next(params: &ChainParams, window: &HeaderWindow, after: u64) -> Target {
        next_target(params, params.floor(), window, window.parent_time() + after)
    }

    fn ratio(a: Target, b: Target) -> f64 {
        b.work().to_f64() / a.work().to_f64()
    }

    #[test]
    fn blocks_on_time_keep_the_target() {
        let (params, target) = (params(T, 8), Target::with_zero_bits(30));
        for count in [61, 100] {
            let found = ratio(next(&params, &even(count, T, target), T), target);
            assert!((found - 1.0).abs() < 1e-4, "{found}");
        }
    }

    #[test]
    fn blocks_at_half_the_spacing_halve_the_target_and_late_ones_raise_it() {
        let (params, target) = (params(T, 8), Target::with_zero_bits(30));
        for (spacing, expected) in
            [(T / 2, 0.5), (T * 2, 2.0), (T * 6, 6.0), (T * 50, 6.0), (0, 0.1), (T / 100, 0.1)]
        {
            let found = ratio(next(&params, &even(61, spacing, target), T), target);
            assert!((found / expected - 1.0).abs() < 1e-3, "{spacing} ms: {found}");
        }
    }

    #[test]
    fn no_target_is_easier_than_the_floor() {
        let params = params(T, 20);
        let floor = params.floor();
        for window in [
            even(1, T, floor),
            even(61, 100 * T, floor),
            even(61, 6 * T, Target::with_zero_bits(21)),
        ] {
            for after in [0, T, PATIENCE * 1_000, u64::MAX / 2] {
                assert!(next(&params, &window, after) <= floor);
            }
        }
        assert_eq!(next(&params, &even(61, 100 * T, floor), T), floor);
    }

    #[test]
    fn a_new_chain_begins_at_the_floor_as_if_sixty_blocks_came_before() {
        let params = params(T, 20);
        let first = next(&params, &even(1, T, params.floor()), T);
        assert!(ratio(first, params.floor()) > 0.999, "{first}");
        // One block without delay, after 60 virtual ones on time, has the weight 60 of 1,830.
        let second = next(&params, &even(2, 0, params.floor()), T);
        let found = ratio(second, params.floor());
        assert!((found - (1.0 - 60.0 / 1_830.0)).abs() < 1e-3, "{found}");
    }

    #[test]
    fn a_late_block_is_easier_by_two_for_each_six_spacings_begun() {
        let (params, target) = (params(T, 8), Target::with_zero_bits(30));
        let window = even(61, T, target);
        let base = next(&params, &window, 0);
        let doubled = |after| ratio(next(&params, &window, after), base).log2();
        for (after, expected) in [
            (PATIENCE, 0.0),
            (PATIENCE + 1, 1.0),
            (PATIENCE + 6 * T, 1.0),
            (PATIENCE + 6 * T + 1, 2.0),
            (PATIENCE + 60 * T, 10.0),
        ] {
            let found: f64 = doubled(after);
            assert!((found - expected).abs() < 1e-4, "{after}: {found}");
        }
        assert_eq!(next(&params, &window, PATIENCE + 6 * T * 300), params.floor());
    }

    #[test]
    fn spacing_zero_keeps_the_floor() {
        let params = params(0, 8);
        let window = even(61, 0, Target::with_zero_bits(30));
        for after in [0, 1, 1 << 40] {
            assert_eq!(next(&params, &window, after), params.floor());
        }
    }

    #[test]
    fn a_time_before_the_last_counts_as_one_millisecond() {
        let (params, target) = (params(T, 8), Target::with_zero_bits(30).to_compact());
        let jumping =
            (0..61u64).map(|i| (if i % 2 == 0 { 1_000_000 + i * T } else { 1_000_000 }, target));
        let window = HeaderWindow::new(hash(1), 60, jumping).expect("a window");
        let found = ratio(next(&params, &window, T), Target::with_zero_bits(30));
        assert!((found - 1.0).abs() < 0.02, "{found}: the jumps forward make up for it");
    }

    #[test]
    fn extreme_times_and_targets_neither_panic_nor_give_zero() {
        for spacing in [1, T, crate::consensus::MAX_SPACING_MS] {
            let params = params(spacing, 8);
            for target in [Target::ONE, params.floor()] {
                for times in [[0, u64::MAX], [u64::MAX, 0], [u64::MAX, u64::MAX], [0, 0]] {
                    let ancestors = (0..61).map(|i| (times[i % 2], target.to_compact()));
                    let window = HeaderWindow::new(hash(1), 60, ancestors).expect("a window");
                    for time in [0, 1, u64::MAX] {
                        let next = next_target(&params, params.floor(), &window, time);
                        assert!(next >= Target::ONE && next <= params.floor());
                        assert_eq!(Target::from_compact(next.to_compact()), Ok(next));
                    }
                    assert!(min_time(&window) > 0);
                }
            }
        }
    }

    #[test]
    fn the_earliest_time_is_just_after_the_median_of_eleven() {
        let bits = Target::with_zero_bits(8).to_compact();
        let window = |times: &[u64]| {
            let height = u32::try_from(times.len()).expect("few") - 1;
            HeaderWindow::new(hash(1), height, times.iter().map(|time| (*time, bits)))
                .expect("a window")
        };
        assert_eq!(min_time(&window(&[50])), 51);
        assert_eq!(min_time(&window(&[50, 60])), 61);
        assert_eq!(min_time(&window(&[50, 70, 60])), 61);
        assert_eq!(min_time(&window(&[1, 2, 11, 3, 10, 4, 9, 5, 8, 6, 7])), 7);
        assert_eq!(min_time(&window(&[100, 100, 1, 2, 11, 3, 10, 4, 9, 5, 8, 6, 7])), 7);
    }

    proptest! {
        #[test]
        fn the_fast_sums_equal_those_of_the_rule(
            spacing in prop_oneof![Just(1), 1..=100_000u64, Just(crate::consensus::MAX_SPACING_MS)],
            start in prop_oneof![Just(0), 0..=1u64 << 50, u64::MAX - 200..=u64::MAX],
            steps in prop::collection::vec((prop_oneof![
                Just(0), Just(1), -50..=50i64, 0..=20_000i64, -1_000_000..=1_000_000i64,
                any::<i64>(),
            ], 8u8..=200), 0..150),
        ) {
            let floor = Target::with_zero_bits(8);
            let mut window = HeaderWindow::empty(hash(1), 0);
            let mut time = start;
            window.advance(Ancestor::new(time, floor));
            for (step, zero_bits) in steps {
                time = time.saturating_add_signed(step);
                window.advance(Ancestor::new(time, Target::with_zero_bits(zero_bits)));
                prop_assert!(window.ancestors.len() <= WINDOW_BLOCKS);
                let quick = full_sums(spacing, &window);
                prop_assert!(quick.is_none_or(|quick| quick == sums(spacing, floor, &window)));
                let usual = window.ancestors.len() == WINDOW_BLOCKS
                    && window.ancestors.iter().all(|ancestor| ancestor.time < u64::MAX / 2);
                prop_assert!(!usual || quick.is_some());
            }
        }
    }

    #[test]
    fn a_window_of_another_length_is_refused() {
        let network = network(T);
        assert_eq!(
            HeaderWindow::from_headers(&[network.genesis.header]),
            Ok(HeaderWindow::genesis(&network))
        );
        assert!(HeaderWindow::from_headers(&[]).is_err());
        let bits = network.genesis.header.bits;
        let count =
            |height, count| HeaderWindow::new(hash(1), height, (0..count).map(|i| (i, bits)));
        assert_eq!(count(5, 5), Err(WindowError::Count { height: 5, expected: 6, found: 5 }));
        assert_eq!(count(5, 7), Err(WindowError::Count { height: 5, expected: 6, found: 7 }));
        assert!(count(5, 6).is_ok() && count(500, 61).is_ok() && count(500, 90).is_ok());
        assert!(matches!(HeaderWindow::new(hash(1), 0, [(1, 0)]), Err(WindowError::Bits(_))));
    }

    /// A miner on a simulated clock that draws its solve times from a seeded generator.
    ///
    /// The miner updates time and bits each second.
    struct Simulation {
        params: ChainParams,
        window: HeaderWindow,
        now: u64,
        seed: u64,
    }

    impl Simulation {
        fn uniform(&mut self) -> f64 {
            // xorshift64*: random enough for this, and the same on every platform.
            self.seed ^= self.seed >> 12;
            self.seed ^= self.seed << 25;
            self.seed ^= self.seed >> 27;
            let bits = self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
            (bits as f64 + 1.0) / (1u64 << 53) as f64
        }

        /// Mines one block at `rate` hashes per second. Returns the time it took, in ms.
        fn mine(&mut self, rate: f64) -> u64 {
            let start = self.now;
            let mut luck = -self.uniform().ln();
            let target = loop {
                let time = self.now.max(min_time(&self.window));
                let target = next_target(&self.params, self.params.floor(), &self.window, time);
                let hashes: Work = target.work();
                let per_second = rate / hashes.to_f64();
                if luck < per_second {
                    let rest = Duration::from_secs_f64(luck / per_second);
                    self.now += u64::try_from(rest.as_millis()).expect("under a second");
                    break target;
                }
                luck -= per_second;
                self.now += 1_000;
            };
            let time = self.now.max(min_time(&self.window));
            self.window.advance(Ancestor::new(time, target));
            self.now - start
        }

        fn mine_many(&mut self, blocks: u32, rate: f64) -> Vec<u64> {
            (0..blocks).map(|_| self.mine(rate)).collect()
        }
    }

    fn mean(times: &[u64]) -> f64 {
        times.iter().sum::<u64>() as f64 / times.len() as f64
    }

    #[test]
    fn the_chain_finds_its_spacing_again_when_hash_power_falls_to_a_thousandth_and_rises_again() {
        for seed in 1..=5 {
            let params = params(T, 16);
            let window = even(1, T, params.floor());
            let now = window.parent_time();
            let mut chain = Simulation { params, window, now, seed };
            let (strong, weak) = (1e9, 1e6);

            chain.mine_many(300, strong);
            let settled = mean(&chain.mine_many(200, strong)) / T as f64;
            assert!((0.8..1.25).contains(&settled), "seed {seed}: {settled}");

            let fall = chain.mine_many(150, weak);
            let longest = fall.iter().max().copied().unwrap_or_default();
            assert!(longest < 40 * 60_000, "seed {seed}: one block took {} s", longest / 1_000);
            let stuck = fall.iter().take(20).sum::<u64>();
            assert!(stuck < 4 * 3_600_000, "seed {seed}: twenty blocks took {} s", stuck / 1_000);
            let settled = mean(&chain.mine_many(200, weak)) / T as f64;
            assert!((0.8..1.25).contains(&settled), "seed {seed}, weak: {settled}");

            let rise = chain.mine_many(200, strong);
            assert!(mean(&rise) < 2.0 * T as f64, "seed {seed}, rising: {}", mean(&rise));
            let settled = mean(&chain.mine_many(200, strong)) / T as f64;
            assert!((0.8..1.25).contains(&settled), "seed {seed}, strong again: {settled}");
        }
    }
}
