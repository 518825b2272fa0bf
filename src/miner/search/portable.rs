//! Tries one nonce at a time, on any processor, with two compressions of `sha2`. That crate uses
//! the processor's SHA instructions if there are any.

use std::ops::RangeInclusive;

use sha2::block_api::compress256;

use super::{INITIAL, NONCE_WORD, NonceSearch};

/// A block of SHA-256, in bytes.
const BLOCK: usize = 64;
/// The position of the nonce in the header's second block.
const NONCE: std::ops::Range<usize> = 4 * NONCE_WORD..4 * NONCE_WORD + 8;

/// Returns SHA-256's state after `block`.
pub(super) fn compressed(mut state: [u32; 8], block: &[u8; BLOCK]) -> [u32; 8] {
    compress256(&mut state, std::slice::from_ref(block));
    state
}

/// Writes big-endian words as bytes.
fn write(bytes: &mut [u8], words: &[u32]) {
    for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *bytes = word.to_be_bytes();
    }
}

/// Hashes one header with many nonces.
pub(super) struct Hasher<'a> {
    search: &'a NonceSearch,
    /// The header's second block, without the nonce.
    second: [u8; BLOCK],
    /// The one block of the outer hash, without the inner hash.
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

    /// Returns the words of the header's hash with that nonce.
    pub(super) fn hash(&mut self, nonce: u64) -> [u32; 8] {
        self.second[NONCE].copy_from_slice(&nonce.to_le_bytes());
        write(&mut self.outer[..32], &compressed(self.search.midstate, &self.second));
        compressed(INITIAL, &self.outer)
    }

    /// Returns true if the header's hash with that nonce meets the target.
    pub(super) fn meets(&mut self, nonce: u64) -> bool {
        self.hash(nonce) <= self.search.target
    }
}

/// Returns the first of `nonces` that meets the target.
pub(super) fn find(search: &NonceSearch, mut nonces: RangeInclusive<u64>) -> Option<u64> {
    let mut hasher = Hasher::new(search);
    nonces.find(|nonce| hasher.meets(*nonce))
}
