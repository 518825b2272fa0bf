//! The search for a nonce: SHA-256d over the 92 bytes of a header, with as little of it as possible.
//!
//! The header fills one block of 64 bytes and 28 bytes of a second, in which the nonce lies. The state after the first
//! block (the midstate) is the same for all nonces, so that each costs two compressions instead of three. The miner's
//! threads call [`Search::find`], which uses the widest code that the processor has: `lanes.rs` or `portable.rs`. Both
//! find the same nonce, and whatever is found was hashed by `portable.rs`.

#[cfg(target_arch = "x86_64")]
mod lanes;
mod portable;

use std::ops::RangeInclusive;

use crate::{
    consensus::Target,
    primitives::{HEADER_BYTES, Header},
};

/// The state that SHA-256 begins with (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// A block of SHA-256, in bytes.
const BLOCK: usize = 64;
/// Which word of the header's second block is the nonce's low one; the high one follows.
const NONCE_WORD: usize = (HEADER_BYTES - 8 - BLOCK) / 4;
/// Which word follows the header there.
const END_WORD: usize = (HEADER_BYTES - BLOCK) / 4;

const _: () = assert!(HEADER_BYTES.is_multiple_of(4), "the nonce is two words");
const _: () = assert!(HEADER_BYTES > BLOCK + 8 && HEADER_BYTES <= 2 * BLOCK - 9, "the nonce is in the second block");

/// A header made ready to be searched: everything but the nonce is fixed.
#[derive(Debug, Clone)]
pub struct Search {
    /// SHA-256's state after the header's first 64 bytes.
    midstate: [u32; 8],
    /// The rest of the header and SHA-256's padding; the nonce's words are put in.
    second: [u32; 16],
    /// The target as SHA-256 gives its words: compared from the first on.
    target: [u32; 8],
}

impl Search {
    /// Prepares the search for a nonce with which `header` meets `target`.
    #[must_use]
    pub fn new(header: &Header, target: &Target) -> Self {
        let bytes = header.to_array();
        let mut first = [0; BLOCK];
        first.copy_from_slice(&bytes[..BLOCK]);
        let mut second = [0; 16];
        read(&mut second[..END_WORD], &bytes[BLOCK..]);
        (second[END_WORD], second[15]) = (1 << 31, HEADER_BYTES as u32 * 8);
        let mut words = [0; 8];
        read(&mut words, &target.to_be_bytes());
        Self { midstate: portable::compressed(INITIAL, &first), second, target: words }
    }

    /// The first of `nonces` that meets the target.
    #[must_use]
    pub fn find(&self, nonces: RangeInclusive<u64>) -> Option<u64> {
        #[cfg(target_arch = "x86_64")]
        if let Some(token) = lanes::token() {
            return lanes::find(token, self, nonces);
        }
        portable::find(self, nonces)
    }

    /// The same, by the code that every processor can run.
    #[must_use]
    pub fn find_portable(&self, nonces: RangeInclusive<u64>) -> Option<u64> {
        portable::find(self, nonces)
    }

    /// How many nonces this processor tries at once.
    #[must_use]
    pub fn lanes() -> u64 {
        #[cfg(target_arch = "x86_64")]
        if lanes::token().is_some() {
            return lanes::LANES;
        }
        1
    }
}

/// Big-endian words from bytes.
fn read(words: &mut [u32], bytes: &[u8]) {
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
}
