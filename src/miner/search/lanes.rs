//! Tries sixteen nonces at once, on processors with AVX-512.
//!
//! Each 32-bit word of SHA-256 is a vector of sixteen lanes, one for each of sixteen neighbouring
//! nonces, which differ in one byte of one word. Two optimisations of the compiler make this cheap.
//! Most words of both messages are the same for all nonces: the header's other fields, and padding.
//! With everything unrolled, the compiler moves their rounds and their part of the schedule out of
//! the loop. It also omits all steps that only the unused words of the hash need. A lane whose
//! first word is small enough is only a candidate: the caller hashes it again.

// Intrinsics have to be inlined into the one function that has the processor's features; words bear
// SHA-256's names.
#![allow(
    clippy::inline_always,
    clippy::many_single_char_names,
    clippy::large_types_passed_by_value
)]
#![allow(clippy::manual_range_contains)] // of constants, in an unrolled loop

use std::{arch::x86_64::__m512i, array, hint::black_box, ops::RangeInclusive};

use pulp::{NullaryFnOnce, x86::V4};

use super::{INITIAL, NONCE_WORD, NonceSearch, nonce_words, portable::Hasher};

/// SHA-256's round constants (FIPS 180-4, 4.2.2).
#[rustfmt::skip]
const ROUND_CONSTANTS: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5,
    0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3,
    0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc,
    0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7,
    0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13,
    0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3,
    0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5,
    0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208,
    0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// The number of nonces that are tried at once.
pub(super) const LANES: u64 = 16;

/// The lead of the message schedule over the rounds, in words. At most 15, since a word is used
/// before it is replaced.
const AHEAD: usize = 8;

/// The number of groups of sixteen nonces that share the nonce's high word, less one.
const LOW_GROUPS: u64 = (1 << 32) / LANES - 1;

/// Returns the proof that the processor has AVX-512; `None` if it has not.
///
/// Also `None` in a build without the compiler's optimisations, in which each intrinsic is a call:
/// the portable search is several times faster there. Tests use the lanes in any build.
pub(super) fn token() -> Option<V4> {
    if cfg!(debug_assertions) && !cfg!(test) { None } else { V4::try_new() }
}

/// Returns the first of `nonces` that meets the target.
pub(super) fn find(token: V4, search: &NonceSearch, nonces: RangeInclusive<u64>) -> Option<u64> {
    let mut hasher = Hasher::new(search);
    let last = nonces.end() / LANES;
    let mut next = nonces.start() / LANES;
    while next <= last {
        let groups = next..=last.min(next | LOW_GROUPS);
        next = groups.end() + 1;
        if let Some((group, candidates)) = token.vectorize(Scan { token, search, groups }) {
            let lanes = (0..LANES).filter(|lane| candidates >> lane & 1 == 1);
            let found = lanes
                .map(|lane| group * LANES + lane)
                .find(|nonce| nonces.contains(nonce) && hasher.meets(*nonce));
            if found.is_some() {
                return found;
            }
            next = group + 1;
        }
    }
    None
}

/// A scan of groups of sixteen nonces with one high word. It ends at the first group with a
/// candidate, and returns that group with a bit for each lane.
struct Scan<'a> {
    token: V4,
    search: &'a NonceSearch,
    groups: RangeInclusive<u64>,
}

impl NullaryFnOnce for Scan<'_> {
    type Output = Option<(u64, u16)>;

    #[inline(always)]
    fn call(self) -> Self::Output {
        let Self { token, search, groups } = self;
        let lanes = Lanes(token);
        let midstate = search.midstate.map(|word| lanes.all(word));
        let initial = INITIAL.map(|word| lanes.all(word));
        let mut header = search.second.map(|word| lanes.all(word));
        let [low, high] = [NONCE_WORD, NONCE_WORD + 1];
        header[high] = lanes.all(nonce_words(groups.start() * LANES)[1]);
        let target = lanes.all(search.target[0]);
        let numbers: __m512i =
            pulp::cast(array::from_fn::<u32, 16, _>(|lane| nonce_words(lane as u64)[0]));
        // If the compiler knew the constants, it would add them last, and the next round would
        // wait.
        let constants = black_box(&ROUND_CONSTANTS);
        let mut outer = [lanes.all(0); 16];
        (outer[8], outer[15]) = (lanes.all(1 << 31), lanes.all(256));
        for group in groups {
            header[low] = lanes.add(lanes.all(nonce_words(group * LANES)[0]), numbers);
            let inner = lanes.compress(midstate, header, constants);
            outer[..8].copy_from_slice(&inner);
            let hash = lanes.compress(initial, outer, constants);
            let candidates = token.avx512f._mm512_cmple_epu32_mask(hash[0], target);
            if candidates != 0 {
                return Some((group, candidates));
            }
        }
        None
    }
}

/// SHA-256 (FIPS 180-4, 4.1.2 and 6.2.2) in sixteen lanes.
#[derive(Clone, Copy)]
struct Lanes(V4);

impl Lanes {
    /// Returns the same word in all lanes.
    #[inline(always)]
    fn all(self, word: u32) -> __m512i {
        self.0.avx512f._mm512_set1_epi32(word.cast_signed())
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        self.0.avx512f._mm512_add_epi32(a, b)
    }

    #[inline(always)]
    fn rotated<const BY: i32>(self, a: __m512i) -> __m512i {
        self.0.avx512f._mm512_ror_epi32::<BY>(a)
    }

    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        self.0.avx512f._mm512_ternarylogic_epi32::<0b1001_0110>(a, b, c)
    }

    /// Returns the bits of `b` where `a` has ones, and those of `c` elsewhere.
    #[inline(always)]
    fn choose(self, a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        self.0.avx512f._mm512_ternarylogic_epi32::<0b1100_1010>(a, b, c)
    }

    #[inline(always)]
    fn majority(self, a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        self.0.avx512f._mm512_ternarylogic_epi32::<0b1110_1000>(a, b, c)
    }

    /// Returns Σ₀ for (2, 13, 22), Σ₁ for (6, 11, 25).
    #[inline(always)]
    fn sum<const A: i32, const B: i32, const C: i32>(self, a: __m512i) -> __m512i {
        self.xor(self.rotated::<A>(a), self.rotated::<B>(a), self.rotated::<C>(a))
    }

    /// Returns σ₀ for (7, 18, 3), σ₁ for (17, 19, 10).
    #[inline(always)]
    fn mix<const A: i32, const B: i32, const SHIFT: u32>(self, a: __m512i) -> __m512i {
        self.xor(
            self.rotated::<A>(a),
            self.rotated::<B>(a),
            self.0.avx512f._mm512_srli_epi32::<SHIFT>(a),
        )
    }

    /// Returns the word of the schedule that replaces the one sixteen before it.
    #[inline(always)]
    fn scheduled(self, words: &[__m512i; 16], at: usize) -> __m512i {
        let [w1, w9, w14] = [1, 9, 14].map(|after| words[(at + after) % 16]);
        let old = self.add(words[at], self.mix::<7, 18, 3>(w1));
        self.add(self.add(old, w9), self.mix::<17, 19, 10>(w14))
    }

    /// Runs one round: the state's words move on by one place. Values that the next round needs
    /// first are computed first.
    #[inline(always)]
    fn round(
        self,
        [a, b, c, d, e, f, g, h]: [__m512i; 8],
        word: __m512i,
        constant: u32,
    ) -> [__m512i; 8] {
        let sum1 = self.sum::<6, 11, 25>(e);
        let chosen = self.choose(e, f, g);
        let majority = self.majority(a, b, c);
        let fixed = self.add(word, self.all(constant));
        let t1 = self.add(self.add(self.add(h, fixed), chosen), sum1);
        let t2 = self.add(self.sum::<2, 13, 22>(a), majority);
        [self.add(t1, t2), a, b, c, self.add(d, t1), e, f, g]
    }

    /// Runs SHA-256's compression function. It is unrolled, since only then the compiler knows
    /// which words are constant. The schedule runs half a turn ahead of the rounds, which never
    /// wait for it.
    #[inline(always)]
    fn compress(
        self,
        state: [__m512i; 8],
        mut words: [__m512i; 16],
        constants: &[u32; 64],
    ) -> [__m512i; 8] {
        let mut now = state;
        macro_rules! rounds {
            ($start:literal: $($at:literal)*) => {
                $(
                    let ahead: usize = $start + $at + AHEAD;
                    if ahead >= 16 && ahead < 64 {
                        words[ahead % 16] = self.scheduled(&words, ahead % 16);
                    }
                    now = self.round(now, words[$at], constants[$start + $at]);
                )*
            };
        }
        rounds!(0: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        rounds!(16: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        rounds!(32: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        rounds!(48: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        array::from_fn(|word| self.add(state[word], now[word]))
    }
}
