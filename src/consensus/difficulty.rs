//! How hard the next block is: a linearly weighted moving average (LWMA) over the last 60 blocks,
//! and the window of ancestors that it and the rule on times look at.
//!
//! The rule, with T = the spacing in ms, N = 60, K = T · 1830 (1830 = 1 + 2 + … + 60):
//! - Blocks before genesis count as floor blocks, one T apart, so the window always holds N blocks
//!   and the time before the first of them, m₀.
//! - In order i = 1…N: mᵢ = max(timeᵢ, mᵢ₋₁ + 1), sᵢ = min(mᵢ − mᵢ₋₁, 6T).
//! - L = max(Σ i·sᵢ, K/10); next target = ⌊Σ ⌊targetᵢ/60⌋ / K⌋ · L, never easier than the floor.
//! - When the new block's time lies more than F + 12T after its parent's, the target doubles for
//!   each 6T begun beyond that, never easier than the floor: a chain does not stick when its strong
//!   miner leaves.
//! - What results is cut to the compact form, which makes it harder by less than one part in
//!   32,768, and is at least 1.
//! - A spacing of 0 keeps the floor for ever.
//!
//! The average is zawy12's LWMA-1 (<https://github.com/zawy12/difficulty-algorithms/issues/3>) with
//! the sum of targets divided first, so that nothing overflows 256 bits.

#[cfg(test)]
mod figures;

use std::{cmp::Reverse, collections::VecDeque};

use ruint::aliases::U256;

use super::{ChainParams, CheckedHeader, CompactError, MAX_SPACING_MS, Network, Target};
use crate::primitives::{BlockHash, Header, Height, UnixMillis};

/// N: how many blocks the average is over.
pub const LWMA_BLOCKS: usize = 60;

/// How many ancestors a window holds: those, and one more for the time before them.
pub const WINDOW_BLOCKS: usize = LWMA_BLOCKS + 1;

/// How many ancestors the rule on times takes the median of.
pub const MEDIAN_BLOCKS: usize = 11;

/// 1 + 2 + … + N.
const WEIGHTS: u64 = 1_830;

/// The longest that one block's time counts for, in spacings; also what each doubling takes.
const LONGEST_SPACINGS: u64 = 6;

/// How many spacings beyond F a block may be late before its target doubles.
const LATE_SPACINGS: u64 = 12;

const _: () = assert!(WEIGHTS == (LWMA_BLOCKS * (LWMA_BLOCKS + 1) / 2) as u64);
const _: () =
    assert!(MAX_SPACING_MS < u64::MAX / LONGEST_SPACINGS / WEIGHTS, "a weighted sum of times fits");

/// What the rules need of one ancestor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ancestor {
    time: UnixMillis,
    /// ⌊target / 60⌋, computed once.
    share: U256,
}

impl Ancestor {
    fn new(time: UnixMillis, target: Target) -> Self {
        let share = target.number().checked_div(U256::from(LWMA_BLOCKS)).unwrap_or(U256::ZERO);
        Self { time, share }
    }
}

/// The last ancestors of a block to be: at most 61, down to genesis if it is nearer, the parent
/// last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderWindow {
    parent: BlockHash,
    parent_height: Height,
    ancestors: VecDeque<Ancestor>,
    /// Σ ⌊targetᵢ/60⌋ of the last 60 of them: moved on with them, not summed anew for each block.
    shares: U256,
}

/// Why ancestors do not make a window. Always our own mistake: a peer's header never makes one
/// unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Too few, or more than there are.
    #[error("a window up to height {height} takes {expected} ancestors, not {found}")]
    Count {
        /// Of the parent.
        height: Height,
        /// 61, or down to genesis.
        expected: usize,
        /// How many were given; more than 61 are cut to 61 first.
        found: usize,
    },
    /// An ancestor's bits are no target.
    #[error(transparent)]
    Bits(#[from] CompactError),
}

impl HeaderWindow {
    /// The window for the block after genesis.
    #[must_use]
    pub fn genesis(network: &Network) -> Self {
        let mut window = Self::empty(network.id, 0);
        window.advance(Ancestor::new(network.genesis.header.time, network.floor()));
        window
    }

    /// The window for the block after `parent`: the times and bits of its ancestors in ascending
    /// order, its own last.
    ///
    /// All down to genesis, or the last 61; of more, the last 61 are taken. They must have been
    /// checked before.
    pub fn new(
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

    /// Without the ancestors that it needs.
    fn empty(parent: BlockHash, parent_height: Height) -> Self {
        let ancestors = VecDeque::with_capacity(WINDOW_BLOCKS.saturating_add(1));
        Self { parent, parent_height, ancestors, shares: U256::ZERO }
    }

    /// Takes in one more ancestor, the oldest of too many goes.
    fn advance(&mut self, ancestor: Ancestor) {
        self.ancestors.push_back(ancestor);
        // Sixty shares, each a sixtieth of a target: they fit.
        self.shares = self.shares.wrapping_add(ancestor.share);
        let beyond = self.ancestors.len().checked_sub(WINDOW_BLOCKS);
        if let Some(left) = beyond.and_then(|beyond| self.ancestors.get(beyond)) {
            self.shares = self.shares.wrapping_sub(left.share);
        }
        if self.ancestors.len() > WINDOW_BLOCKS {
            self.ancestors.pop_front();
        }
    }

    /// The window after the last of `headers`, ascending: all down to genesis, or at least the last
    /// 61.
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

    /// Moves on by one block: `header` is the parent from now on. It must have been checked against
    /// this window.
    pub fn push(&mut self, header: &CheckedHeader) {
        debug_assert_eq!(header.header().previous, self.parent);
        self.parent = header.hash();
        self.parent_height = header.header().height;
        self.advance(Ancestor::new(header.header().time, header.target()));
    }

    /// The hash of the parent.
    #[must_use]
    pub const fn parent(&self) -> BlockHash {
        self.parent
    }

    /// The height of the parent.
    #[must_use]
    pub const fn parent_height(&self) -> Height {
        self.parent_height
    }

    /// The time of the parent.
    #[must_use]
    pub fn parent_time(&self) -> UnixMillis {
        self.ancestors.back().map_or(0, |ancestor| ancestor.time)
    }

    /// The median of the times of the last 11 blocks; of fewer, the later of the middle two.
    #[must_use]
    pub fn median_time(&self) -> UnixMillis {
        let mut times = [0; MEDIAN_BLOCKS];
        let last = self.ancestors.iter().rev();
        let count =
            times.iter_mut().zip(last).map(|(time, ancestor)| *time = ancestor.time).count();
        let times = times.get_mut(..count).unwrap_or_default();
        // The last first: they almost always descend already.
        if !times.is_sorted_by(|later, earlier| later >= earlier) {
            times.sort_unstable_by_key(|time| Reverse(*time));
        }
        // Of an even number the later of the middle two.
        times.len().checked_sub(1).and_then(|last| times.get(last / 2)).copied().unwrap_or(0)
    }
}

/// The earliest time that the next block may have: one millisecond after the median of the last 11.
#[must_use]
pub fn min_time(window: &HeaderWindow) -> UnixMillis {
    window.median_time().saturating_add(1)
}

/// The bits that the next block must have when its time is `time`.
#[must_use]
pub fn next_bits(network: &Network, window: &HeaderWindow, time: UnixMillis) -> u32 {
    next_target(&network.params, network.floor(), window, time).to_compact()
}

/// The target that the next block must have when its time is `time`; it has an exact compact form.
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

/// ⌊Σ ⌊targetᵢ/60⌋ / K⌋ · L, not yet limited by the floor.
fn average_target(spacing: u64, floor: Target, window: &HeaderWindow) -> U256 {
    let (weighted, shares) =
        full_sums(spacing, window).unwrap_or_else(|| sums(spacing, floor, window));
    debug_assert_eq!((weighted, shares), sums(spacing, floor, window));
    // A spacing that is not absurd makes this fit; see the assertion above.
    let k = spacing.saturating_mul(WEIGHTS);
    let l = weighted.max(k / 10);
    // At most 6 times the easiest floor, which has 8 zero bits: it fits.
    shares.checked_div(U256::from(k)).unwrap_or(U256::ZERO).saturating_mul(U256::from(l))
}

/// Σ i·sᵢ and Σ ⌊targetᵢ/60⌋, as the rule says them.
fn sums(spacing: u64, floor: Target, window: &HeaderWindow) -> (u64, U256) {
    let t = i128::from(spacing);
    let longest = t.saturating_mul(i128::from(LONGEST_SPACINGS));
    let missing = WINDOW_BLOCKS.saturating_sub(window.ancestors.len());
    let genesis_time = i128::from(window.ancestors.front().map_or(0, |ancestor| ancestor.time));
    let floor_share = Ancestor::new(0, floor).share;
    // Signed and wide: a genesis of the year 1970 has ancestors before it.
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
        // Sixty shares, each a sixtieth of a target: they fit.
        shares = shares.wrapping_add(share);
        previous = monotone;
    });
    (weighted, shares)
}

/// [`sums`], quicker: of a window without blocks before genesis, and of times that 64 bits count on
/// from. `None` of others.
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
        // Sixty steps of six of the longest spacing fit, weighted; see the assertion above.
        weighted = weighted.wrapping_add(taken.wrapping_mul(weight));
        previous = monotone;
    });
    (latest <= LAST).then_some((weighted, window.shares))
}

/// How often the target doubles for a block at `time` after a parent at `parent_time`.
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
    /// F for that T, and the 12T beyond it.
    const PATIENCE: u64 = 240_000;

    fn params(spacing_ms: u64, floor_bits: u8) -> ChainParams {
        ChainParams::new("test", spacing_ms, floor_bits).expect("params")
    }

    /// A window of ancestors `spacing` apart that all had `target`.
    fn even(count: u32, spacing: u64, target: Target) -> HeaderWindow {
        let times = (0..count).map(|i| (1_000_000 + u64::from(i) * spacing, target.to_compact()));
        HeaderWindow::new(hash(1), count - 1, times).expect("a window")
    }

    fn next(params: &ChainParams, window: &HeaderWindow, after: u64) -> Target {
        next_target(params, params.floor(), window, window.parent_time() + after)
    }

    fn ratio(a: Target, b: Target) -> f64 {
        b.work().as_f64() / a.work().as_f64()
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
        // One block at once, after sixty virtual ones on time, weighs 60 of 1,830.
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
    fn spacing_zero_is_the_floor_for_ever() {
        let params = params(0, 8);
        let window = even(61, 0, Target::with_zero_bits(30));
        for after in [0, 1, 1 << 40] {
            assert_eq!(next(&params, &window, after), params.floor());
        }
    }

    #[test]
    fn times_that_run_backwards_count_a_millisecond() {
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
        fn the_quick_sums_are_those_of_the_rule(
            spacing in prop_oneof![Just(1), 1..=100_000u64, Just(crate::consensus::MAX_SPACING_MS)],
            start in prop_oneof![Just(0), 0..=1u64 << 50, u64::MAX - 200..=u64::MAX],
            steps in prop::collection::vec((prop_oneof![
                Just(0), Just(1), -50..=50i64, 0..=20_000i64, -1_000_000..=1_000_000i64, any::<i64>(),
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

    /// Miners with a hash rate, drawing solve times from a seeded generator; each refreshes time
    /// and bits every second.
    struct Simulation {
        params: ChainParams,
        window: HeaderWindow,
        now: u64,
        seed: u64,
    }

    impl Simulation {
        fn uniform(&mut self) -> f64 {
            // xorshift64*: good enough to draw luck from, and the same everywhere.
            self.seed ^= self.seed >> 12;
            self.seed ^= self.seed << 25;
            self.seed ^= self.seed >> 27;
            let bits = self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
            (bits as f64 + 1.0) / (1u64 << 53) as f64
        }

        /// Mines one block at `rate` hashes a second; gives how long it took, in ms.
        fn mine(&mut self, rate: f64) -> u64 {
            let start = self.now;
            let mut luck = -self.uniform().ln();
            let target = loop {
                let time = self.now.max(min_time(&self.window));
                let target = next_target(&self.params, self.params.floor(), &self.window, time);
                let hashes: Work = target.work();
                let per_second = rate / hashes.as_f64();
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
