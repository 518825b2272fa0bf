//! The search for a nonce: SHA-256d over the 92 bytes of a header, with as few steps as possible.
//!
//! The header fills one block of 64 bytes and 28 bytes of a second, in which the nonce lies. The
//! state after the first block (the midstate) is the same for all nonces, so that each costs two
//! compressions instead of three. The miner's threads call [`NonceSearch::find`], which uses the
//! widest code that the processor has: `lanes.rs` or `portable.rs`. Both find the same nonce, and
//! `portable.rs` hashes each nonce found once more.

#[cfg(target_arch = "x86_64")]
mod lanes;
mod portable;

use std::ops::RangeInclusive;

use crate::{
    consensus::Target,
    primitives::{HEADER_BYTES, Header},
};

/// The state that SHA-256 begins with (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
/// A block of SHA-256, in bytes.
const BLOCK: usize = 64;
/// The index of the nonce's low word in the header's second block; the high word follows.
const NONCE_WORD: usize = (HEADER_BYTES - 8 - BLOCK) / 4;
/// The index of the first word after the header in that block.
const END_WORD: usize = (HEADER_BYTES - BLOCK) / 4;
/// The header's length in bits, as in SHA-256's padding.
#[allow(clippy::cast_possible_truncation)] // 736
const HEADER_BITS: u32 = HEADER_BYTES as u32 * 8;

const _: () = assert!(HEADER_BYTES.is_multiple_of(4), "the nonce is two words");
const _: () = assert!(
    HEADER_BYTES > BLOCK + 8 && HEADER_BYTES <= 2 * BLOCK - 9,
    "the nonce is in the second block"
);

/// A header prepared for the search: everything but the nonce is fixed.
#[derive(Debug, Clone)]
pub struct NonceSearch {
    /// SHA-256's state after the header's first 64 bytes.
    midstate: [u32; 8],
    /// The rest of the header and SHA-256's padding, without the nonce's words.
    second: [u32; 16],
    /// The target in SHA-256's words, most significant first.
    target: [u32; 8],
}

impl NonceSearch {
    /// Prepares the search for a nonce with which `header` meets `target`.
    #[must_use]
    pub fn new(header: &Header, target: &Target) -> Self {
        let bytes = header.to_array();
        let mut first = [0; BLOCK];
        first.copy_from_slice(&bytes[..BLOCK]);
        let mut second = [0; 16];
        read(&mut second[..END_WORD], &bytes[BLOCK..]);
        (second[END_WORD], second[15]) = (1 << 31, HEADER_BITS);
        let mut words = [0; 8];
        read(&mut words, &target.to_be_bytes());
        Self { midstate: portable::compressed(INITIAL, &first), second, target: words }
    }

    /// Returns the first of `nonces` that meets the target.
    #[must_use]
    pub fn find(&self, nonces: RangeInclusive<u64>) -> Option<u64> {
        #[cfg(target_arch = "x86_64")]
        if let Some(token) = lanes::token() {
            return lanes::find(token, self, nonces);
        }
        portable::find(self, nonces)
    }

    /// Does the same as [`Self::find`], with code that runs on every processor.
    #[must_use]
    pub fn find_portable(&self, nonces: RangeInclusive<u64>) -> Option<u64> {
        portable::find(self, nonces)
    }

    /// Returns the number of nonces that this processor tries at once.
    #[must_use]
    pub fn lanes() -> u64 {
        #[cfg(target_arch = "x86_64")]
        if lanes::token().is_some() {
            return lanes::LANES;
        }
        1
    }
}

/// Returns a nonce as its two words in the header's second block: little-endian bytes, big-endian
/// words.
#[allow(clippy::cast_possible_truncation)] // its two halves
const fn nonce_words(nonce: u64) -> [u32; 2] {
    let swapped = nonce.swap_bytes();
    [(swapped >> 32) as u32, swapped as u32]
}

/// Reads big-endian words from bytes.
fn read(words: &mut [u32], bytes: &[u8]) {
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::primitives::{BlockHash, MerkleRoot};

    fn any_header() -> impl Strategy<Value = Header> {
        any::<([u8; 32], [u8; 32], u32, u64, u32)>().prop_map(
            |(previous, root, height, time, bits)| Header {
                previous: BlockHash(previous),
                merkle_root: MerkleRoot(root),
                height,
                time,
                bits,
                nonce: 0,
            },
        )
    }

    /// Generates ranges anywhere, and at the ends of all nonces, of those that share a high word,
    /// and of a group of lanes.
    fn any_range() -> impl Strategy<Value = RangeInclusive<u64>> {
        let near = |place: u64| (place.saturating_sub(100))..=place.saturating_add(100);
        let start = prop_oneof![
            any::<u64>(),
            near(0),
            near(u64::MAX),
            (0..=u64::from(u32::MAX)).prop_flat_map(move |high| near(high << 32))
        ];
        (start, 0u64..200).prop_map(|(start, length)| start..=start.saturating_add(length))
    }

    /// Returns the results of both ways to search.
    fn found(search: &NonceSearch, nonces: &RangeInclusive<u64>) -> [Option<u64>; 2] {
        [search.find(nonces.clone()), search.find_portable(nonces.clone())]
    }

    fn hash_words(header: &Header) -> [u32; 8] {
        let mut words = [0; 8];
        read(&mut words, &header.hash().0);
        words
    }

    proptest! {
        #[test]
        fn the_search_hashes_as_the_header_does(header in any_header(), nonce: u64) {
            let search = NonceSearch::new(&header, &Target::ONE);
            let expected = hash_words(&Header { nonce, ..header });
            prop_assert_eq!(portable::Hasher::new(&search).hash(nonce), expected);
        }

        #[test]
        fn the_first_nonce_that_meets_the_target_is_found_and_no_other(
            header in any_header(), nonces in any_range(), bits in 0x1f00_8000_u32..=0x2000_ffff,
        ) {
            let Ok(target) = Target::from_compact(bits) else { return Ok(()); };
            let meets = |nonce: u64| target.is_met_by(&Header { nonce, ..header }.hash());
            let expected = nonces.clone().find(|nonce| meets(*nonce));
            prop_assert_eq!(found(&NonceSearch::new(&header, &target), &nonces), [expected; 2]);
        }

        #[test]
        fn every_word_of_the_hash_counts(
            header in any_header(),
            nonces in any_range(),
            word in 0usize..8,
        ) {
            let hash = |nonce: u64| hash_words(&Header { nonce, ..header });
            let best = nonces.clone().map(|nonce| (hash(nonce), nonce)).min();
            let Some((best, nonce)) = best else { return Ok(()); };
            let mut search = NonceSearch::new(&header, &Target::ONE);
            search.target = best;
            prop_assert_eq!(found(&search, &nonces), [Some(nonce); 2]);
            if best[word] > 0 {
                search.target[word] -= 1;
                prop_assert_eq!(found(&search, &nonces), [None; 2]);
            }
        }
    }

    #[test]
    fn the_last_nonce_of_all_is_searched_too_and_an_empty_range_is_not() {
        let easiest = Target::from_compact(0x207f_ffff).unwrap();
        let (previous, merkle_root) = (BlockHash::ZERO, MerkleRoot::ZERO);
        let header = Header { previous, merkle_root, height: 0, time: 0, bits: 0, nonce: 0 };
        let meets = |nonce: &u64| easiest.is_met_by(&Header { nonce: *nonce, ..header }.hash());
        let search = NonceSearch::new(&header, &easiest);
        let last = (u64::MAX - 100..=u64::MAX).rev().find(meets).unwrap();
        assert_eq!(found(&search, &(last..=u64::MAX)), [Some(last); 2]);
        assert_eq!(
            found(&NonceSearch::new(&header, &Target::ONE), &(u64::MAX..=u64::MAX)),
            [None; 2]
        );
        #[expect(clippy::reversed_empty_ranges, reason = "what is tested")]
        let empty = 100..=1;
        assert_eq!(found(&search, &empty), [None; 2]);
    }
}
