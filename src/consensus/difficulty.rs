//! How hard the next block is: a linearly weighted moving average (LWMA) over the last 60 blocks, and the window of
//! ancestors that it and the rule on times look at.
//!
//! The rule, with T = the spacing in ms, N = 60, K = T · 1830 (1830 = 1 + 2 + … + 60):
//! - Blocks before genesis count as floor blocks, one T apart, so the window always holds N blocks and the time before
//!   the first of them, m₀.
//! - In order i = 1…N: mᵢ = max(timeᵢ, mᵢ₋₁ + 1), sᵢ = min(mᵢ − mᵢ₋₁, 6T).
//! - L = max(Σ i·sᵢ, K/10); next target = ⌊Σ ⌊targetᵢ/60⌋ / K⌋ · L, never easier than the floor.
//! - When the new block's time lies more than F + 12T after its parent's, the target doubles for each 6T begun beyond
//!   that, never easier than the floor: a chain does not stick when its strong miner leaves.
//! - What results is cut to the compact form, which makes it harder by less than one part in 32,768, and is at least 1.
//! - A spacing of 0 keeps the floor for ever.
//!
//! The average is zawy12's LWMA-1 (<https://github.com/zawy12/difficulty-algorithms/issues/3>) with the sum of targets
//! divided first, so that nothing overflows 256 bits.

use std::collections::VecDeque;

use ruint::aliases::U256;

use super::{ChainParams, CheckedHeader, CompactError, Network, Target};
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

const _: () = assert!(WEIGHTS as usize == LWMA_BLOCKS * (LWMA_BLOCKS + 1) / 2);

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

/// The last ancestors of a block to be: at most 61, down to genesis if it is nearer, the parent last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderWindow {
    parent: BlockHash,
    parent_height: Height,
    ancestors: VecDeque<Ancestor>,
}

/// Why ancestors do not make a window. Always our own mistake: a peer's header never makes one unchecked.
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
        Self {
            parent: network.id,
            parent_height: 0,
            ancestors: VecDeque::from([Ancestor::new(network.genesis.header.time, network.floor())]),
        }
    }

    /// The window for the block after `parent`: the times and bits of its ancestors in ascending order, its own last.
    ///
    /// All down to genesis, or the last 61; of more, the last 61 are taken. They must have been checked before.
    pub fn new(
        parent: BlockHash,
        parent_height: Height,
        ancestors: impl IntoIterator<Item = (UnixMillis, u32)>,
    ) -> Result<Self, WindowError> {
        let mut kept = VecDeque::with_capacity(WINDOW_BLOCKS.saturating_add(1));
        for (time, bits) in ancestors {
            kept.push_back(Ancestor::new(time, Target::from_compact(bits)?));
            if kept.len() > WINDOW_BLOCKS {
                kept.pop_front();
            }
        }
        let all = usize::try_from(parent_height).unwrap_or(usize::MAX).saturating_add(1);
        let expected = all.min(WINDOW_BLOCKS);
        if kept.len() != expected {
            return Err(WindowError::Count { height: parent_height, expected, found: kept.len() });
        }
        Ok(Self { parent, parent_height, ancestors: kept })
    }

    /// The window after the last of `headers`, ascending: all down to genesis, or at least the last 61.
    pub fn from_headers(headers: &[Header]) -> Result<Self, WindowError> {
        let Some(parent) = headers.last() else {
            return Err(WindowError::Count { height: 0, expected: 1, found: 0 });
        };
        Self::new(parent.hash(), parent.height, headers.iter().map(|header| (header.time, header.bits)))
    }

    /// Moves on by one block: `header` is the parent from now on. It must have been checked against this window.
    pub fn push(&mut self, header: &CheckedHeader) {
        debug_assert_eq!(header.header().previous, self.parent);
        self.parent = header.hash();
        self.parent_height = header.header().height;
        self.ancestors.push_back(Ancestor::new(header.header().time, header.target()));
        if self.ancestors.len() > WINDOW_BLOCKS {
            self.ancestors.pop_front();
        }
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
        let mut times: Vec<_> = self.ancestors.iter().rev().take(MEDIAN_BLOCKS).map(|ancestor| ancestor.time).collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or(0)
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
pub(super) fn next_target(params: &ChainParams, floor: Target, window: &HeaderWindow, time: UnixMillis) -> Target {
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
    let (mut weighted, mut shares) = (0i128, U256::ZERO);
    for (weight, (time, share)) in (1i128..).zip(blocks) {
        let monotone = time.max(previous.saturating_add(1));
        let taken = monotone.saturating_sub(previous).min(longest);
        weighted = weighted.saturating_add(taken.saturating_mul(weight));
        shares = shares.saturating_add(share);
        previous = monotone;
    }
    let k = t.saturating_mul(i128::from(WEIGHTS));
    let l = weighted.max(k / 10);
    let number = |value: i128| U256::from(u128::try_from(value).unwrap_or(0));
    // At most 6 times the easiest floor, which has 8 zero bits: it fits.
    shares.checked_div(number(k)).unwrap_or(U256::ZERO).saturating_mul(number(l))
}

/// How often the target doubles for a block at `time` after a parent at `parent_time`.
fn doublings(params: &ChainParams, parent_time: UnixMillis, time: UnixMillis) -> usize {
    let patience = params.future_limit_ms().saturating_add(params.spacing_ms.saturating_mul(LATE_SPACINGS));
    let late = time.saturating_sub(parent_time).saturating_sub(patience);
    let step = params.spacing_ms.saturating_mul(LONGEST_SPACINGS).max(1);
    usize::try_from(late.div_ceil(step)).unwrap_or(usize::MAX)
}
