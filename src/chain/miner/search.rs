//! The search for a nonce: SHA-256d over the 92 bytes of a header, as few SHA-256 blocks as possible.
//!
//! The header fills one block of 64 bytes and 28 bytes of a second, in which the nonce lies. The state after the first
//! block (the midstate) is the same for all nonces, so that each costs two compressions instead of three.

use std::ops::RangeInclusive;

use sha2::block_api::compress256;

use crate::{
    consensus::Target,
    primitives::{HEADER_BYTES, Header},
};

/// The state that SHA-256 begins with (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// A block of SHA-256, in bytes.
const BLOCK: usize = 64;
/// Where the nonce lies in the header's second block.
const NONCE: usize = HEADER_BYTES - 8 - BLOCK;
/// Where the header ends in its second block.
const END: usize = HEADER_BYTES - BLOCK;

const _: () = assert!(HEADER_BYTES > BLOCK + 8 && HEADER_BYTES <= 2 * BLOCK - 9, "the nonce is in the second block");

/// A header made ready to be searched: everything but the nonce is fixed.
#[derive(Debug, Clone)]
pub struct Search {
    /// SHA-256's state after the header's first 64 bytes.
    midstate: [u32; 8],
    /// The rest of the header and SHA-256's padding; the nonce's bytes are overwritten.
    second: [u8; BLOCK],
    /// The target as SHA-256 gives its words: compared from the first on.
    target: [u32; 8],
}

impl Search {
    /// Prepares the search for a nonce with which `header` meets `target`.
    #[must_use]
    pub fn new(header: &Header, target: &Target) -> Self {
        let bytes = header.to_array();
        let (mut first, mut second) = ([0; BLOCK], [0; BLOCK]);
        first.copy_from_slice(&bytes[..BLOCK]);
        second[..END].copy_from_slice(&bytes[BLOCK..]);
        pad(&mut second, END, HEADER_BYTES);
        let mut midstate = INITIAL;
        compress256(&mut midstate, &[first]);
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(target.to_be_bytes().as_chunks::<4>().0) {
            *word = u32::from_be_bytes(*bytes);
        }
        Self { midstate, second, target: words }
    }

    /// The first of `nonces` that meets the target.
    #[must_use]
    pub fn find(&self, nonces: RangeInclusive<u64>) -> Option<u64> {
        let mut second = self.second;
        let mut outer = [0; BLOCK];
        pad(&mut outer, 32, 32);
        for nonce in nonces {
            second[NONCE..END].copy_from_slice(&nonce.to_le_bytes());
            let hash = finish(self.midstate, &second, &mut outer);
            if hash <= self.target {
                return Some(nonce);
            }
        }
        None
    }
}

/// The words of SHA-256d, big-endian number first, from the midstate and the last block of the inner hash.
///
/// `outer` is the one block of the outer hash: padded, its first 32 bytes are overwritten.
fn finish(midstate: [u32; 8], second: &[u8; BLOCK], outer: &mut [u8; BLOCK]) -> [u32; 8] {
    let mut inner = midstate;
    compress256(&mut inner, std::slice::from_ref(second));
    for (bytes, word) in outer.as_chunks_mut::<4>().0.iter_mut().zip(inner) {
        *bytes = word.to_be_bytes();
    }
    let mut hash = INITIAL;
    compress256(&mut hash, std::slice::from_ref(outer));
    hash
}

/// SHA-256's padding of a last block whose message ends at `end`, of `length` bytes in all.
fn pad(block: &mut [u8; BLOCK], end: usize, length: usize) {
    block[end] = 0x80;
    block[BLOCK - 8..].copy_from_slice(&(length as u64 * 8).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::primitives::{BlockHash, MerkleRoot};

    fn header(previous: [u8; 32], root: [u8; 32], height: u32, time: u64, bits: u32, nonce: u64) -> Header {
        Header { previous: BlockHash(previous), merkle_root: MerkleRoot(root), height, time, bits, nonce }
    }

    proptest! {
        #[test]
        fn the_search_hashes_as_the_header_does(
            previous: [u8; 32], root: [u8; 32], height: u32, time: u64, bits: u32, nonce: u64,
        ) {
            let header = header(previous, root, height, time, bits, nonce);
            let search = Search::new(&Header { nonce: 0, ..header }, &Target::ONE);
            let (mut second, mut outer) = (search.second, [0; BLOCK]);
            second[NONCE..END].copy_from_slice(&nonce.to_le_bytes());
            pad(&mut outer, 32, 32);
            let words = finish(search.midstate, &second, &mut outer);
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            prop_assert_eq!(bytes, header.hash().0.to_vec());
        }

        #[test]
        fn the_search_finds_the_first_nonce_that_meets_the_target_and_no_other(
            previous: [u8; 32], root: [u8; 32], start in 0..u64::MAX - 5_000, zeros in 0x1f00_00ff_u32..=0x1f00_ffff,
        ) {
            let Ok(target) = Target::from_compact(zeros) else { return Ok(()); };
            let header = header(previous, root, 1, 2, zeros, 0);
            let range = start..=start + 2_000;
            let expected = range.clone().find(|nonce| target.is_met_by(&Header { nonce: *nonce, ..header }.hash()));
            prop_assert_eq!(Search::new(&header, &target).find(range), expected);
        }
    }

    #[test]
    fn the_last_nonce_of_all_is_searched_too() {
        let easiest = Target::from_compact(0x207f_ffff).unwrap();
        let header = header([0; 32], [0; 32], 0, 0, 0, 0);
        let nonces = u64::MAX - 64..=u64::MAX;
        assert!(Search::new(&header, &easiest).find(nonces).is_some());
        assert_eq!(Search::new(&header, &Target::ONE).find(u64::MAX..=u64::MAX), None);
    }
}
