//! One nonce at a time, on any processor: two compressions of `sha2` each, which uses what the
//! processor has for them.

use std::ops::RangeInclusive;

use sha2::block_api::compress256;

use super::{INITIAL, NONCE_WORD, NonceSearch};

/// A block of SHA-256, in bytes.
const BLOCK: usize = 64;
/// Where the nonce's bytes are in the header's second block.
const NONCE: std::ops::Range<usize> = 4 * NONCE_WORD..4 * NONCE_WORD + 8;

/// SHA-256's state after `block`.
pub(super) fn compressed(mut state: [u32; 8], block: &[u8; BLOCK]) -> [u32; 8] {
    compress256(&mut state, std::slice::from_ref(block));
    state
}

/// Big-endian words as bytes.
fn write(bytes: &mut [u8], words: &[u32]) {
    for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *bytes = word.to_be_bytes();
    }
}

/// Hashes one header again and again.
pub(super) struct Hasher<'a> {
    search: &'a NonceSearch,
    /// The header's second block; the nonce is put in.
    second: [u8; BLOCK],
    /// The one block of the outer hash; the inner one is put in.
    outer: [u8; BLOCK],
}

impl<'a> Hasher<'a> {
    pub(super) fn new(search: &'a NonceSearch) -> Self {
        let (mut second, mut outer) = ([0; BLOCK], [0; BLOCK]);
        write(&mut second, &search.second);
        outer[32] = 0x80;
        outer[BLOCK - 2] = 1; // 256 bits
        Self { search, second, outer }
    }

    /// The words of the header's hash with that nonce.
    pub(super) fn hash(&mut self, nonce: u64) -> [u32; 8] {
        self.second[NONCE].copy_from_slice(&nonce.to_le_bytes());
        write(&mut self.outer[..32], &compressed(self.search.midstate, &self.second));
        compressed(INITIAL, &self.outer)
    }

    /// Whether it meets the target.
    pub(super) fn meets(&mut self, nonce: u64) -> bool {
        self.hash(nonce) <= self.search.target
    }
}

/// The first of `nonces` that meets the target.
pub(super) fn find(search: &NonceSearch, mut nonces: RangeInclusive<u64>) -> Option<u64> {
    let mut hasher = Hasher::new(search);
    nonces.find(|nonce| hasher.meets(*nonce))
}
