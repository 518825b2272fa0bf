//! The limit of the bytes in flight from one peer.
//!
//! The limit follows the time that answers take, as in LEDBAT: it grows while they take less than
//! [`TARGET_MS`], and shrinks once they take twice as long. A fast peer at any distance is thus
//! asked for more than its bandwidth-delay product, and a slow line for one block at a time. A rule
//! that estimates bandwidth and delay separately, as BBR does, needs a finer clock: on a LAN, one
//! tick is most of an answer's time.

use super::{MAX_REQUESTS_PER_PEER, MIN_REQUESTS_PER_PEER};
use crate::{primitives::Moment, wire::limits::MAX_RANGE_BYTES};

/// The limit for a peer that has delivered nothing yet, in bytes: four small requests.
const FIRST_LIMIT: usize = 64 * 1024;
/// The highest limit, in bytes: four of the largest answers. It is more than the bandwidth-delay
/// product of 100 MB/s at 80 ms.
const MAX_LIMIT: usize = MAX_REQUESTS_PER_PEER * MAX_RANGE_BYTES;
/// The time of an answer up to which the limit grows, in ms. A queue of half a second hides the
/// pauses of a busy machine, and keeps requests for headers short.
const TARGET_MS: u64 = 500;
/// A request is late once it takes longer than this many of the peer's average answers.
const PATIENT_ANSWERS: u64 = 3;

/// The body requests in flight to one peer, and the limit of their bytes.
#[derive(Debug)]
pub(super) struct Pipe {
    limit: usize,
    /// The expected bytes of all requests in flight.
    expected: usize,
    /// The number of requests in flight.
    requests: usize,
    /// The moving average of the time of an answer, in ms; 0 before the first one.
    answer_ms: u64,
}

impl Pipe {
    pub(super) const fn new() -> Self {
        Self { limit: FIRST_LIMIT, expected: 0, requests: 0, answer_ms: 0 }
    }

    pub(super) const fn requests(&self) -> usize {
        self.requests
    }

    /// Returns true if one more request may be sent. A peer that has not delivered gets one at a
    /// time. The others get two, so that the line is not idle between them, and more up to the
    /// limit of bytes.
    pub(super) const fn has_room(&self, has_delivered: bool) -> bool {
        self.requests == 0
            || (has_delivered
                && self.requests < MAX_REQUESTS_PER_PEER
                && (self.requests < MIN_REQUESTS_PER_PEER || self.expected < self.limit))
    }

    /// Returns the bytes to ask for in one request. The answer has at least one block, however
    /// large.
    pub(super) const fn request_bytes(&self) -> usize {
        let share = self.limit / MAX_REQUESTS_PER_PEER;
        if share < MAX_RANGE_BYTES { share } else { MAX_RANGE_BYTES }
    }

    pub(super) const fn sent(&mut self, expected: usize) {
        self.requests = self.requests.saturating_add(1);
        self.expected = self.expected.saturating_add(expected);
    }

    /// Records the end of a request, whatever its result.
    pub(super) const fn ended(&mut self, expected: usize) {
        self.requests = self.requests.saturating_sub(1);
        self.expected = self.expected.saturating_sub(expected);
    }

    /// Adapts the limit to an answer of this size that took this long.
    pub(super) fn answered(&mut self, bytes: usize, took_ms: u64) {
        if took_ms <= TARGET_MS {
            // Doubles with each limit's worth of answers.
            self.limit = self.limit.saturating_add(bytes).min(MAX_LIMIT);
        } else if took_ms > 2 * TARGET_MS {
            self.limit = self.limit / 4 * 3;
        }
        self.answer_ms = match self.answer_ms {
            0 => took_ms.max(1),
            old => old.saturating_mul(3).saturating_add(took_ms).div_ceil(4),
        };
    }

    /// Halves the limit after a request that failed.
    pub(super) const fn failed(&mut self) {
        self.limit /= 2;
    }

    /// Returns the moving average of the time of an answer, in ms. It is the maximum before the
    /// first one, so that peers that have answered come first.
    pub(super) const fn answer_ms(&self) -> u64 {
        if self.answer_ms == 0 { u64::MAX } else { self.answer_ms }
    }

    /// Returns the age at which a request is late, in ms: [`PATIENT_ANSWERS`] of the peer's
    /// answers, but at least `least`. Returns `most` if the peer has not answered yet.
    pub(super) fn patience_ms(&self, least: Moment, most: Moment) -> u64 {
        match self.answer_ms {
            0 => most,
            answer => answer.saturating_mul(PATIENT_ANSWERS).max(least),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays answers of a line of `rate` bytes a second and `delay` ms, with blocks of `block`.
    fn play(rate: usize, delay: u64, block: usize) -> Pipe {
        let mut pipe = Pipe::new();
        for _ in 0..100 {
            let request = pipe.request_bytes().max(block);
            let all = request * MAX_REQUESTS_PER_PEER.min((pipe.limit / request).max(2));
            let took = delay + (all * 1_000 / rate) as u64;
            pipe.answered(request, took);
        }
        pipe
    }

    #[test]
    fn a_fast_line_is_filled_at_any_distance() {
        for delay in [1_u32, 40, 200] {
            let pipe = play(12_500_000, delay.into(), 500);
            let product = 12_500_000 / 1_000 * delay as usize;
            assert!(pipe.limit > product, "{delay} ms: {} bytes of {product}", pipe.limit);
        }
    }

    #[test]
    fn a_slow_line_gets_one_block_a_request_and_two_requests() {
        let pipe = play(40_000, 40, 64 * 1024);
        assert!(pipe.request_bytes() < 64 * 1024, "{}", pipe.request_bytes());
        let mut pipe = pipe;
        let mut requests = 0;
        while pipe.has_room(true) {
            pipe.sent(64 * 1024);
            requests += 1;
        }
        assert_eq!(requests, MIN_REQUESTS_PER_PEER);
    }

    #[test]
    fn who_has_delivered_nothing_gets_one_request() {
        let mut pipe = Pipe::new();
        assert!(pipe.has_room(false));
        pipe.sent(100);
        assert!(!pipe.has_room(false) && pipe.has_room(true));
        pipe.ended(100);
        assert!(pipe.has_room(false));
    }

    #[test]
    fn a_size_that_failed_is_halved_and_lateness_follows_the_peers_own_answers() {
        let mut pipe = Pipe::new();
        let before = pipe.request_bytes();
        pipe.failed();
        assert_eq!(pipe.request_bytes(), before / 2);
        assert_eq!(pipe.patience_ms(200, 3_000), 3_000);
        pipe.answered(1_000, 2_000);
        assert_eq!(pipe.patience_ms(200, 3_000), 6_000, "a slow line is not late");
    }
}
