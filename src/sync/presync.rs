//! Presync: a first walk through a branch that is not stored yet, as in Bitcoin Core.
//!
//! A branch that forks off far below our tip is first counted: its headers are checked and dropped.
//! Sync keeps their total work, and one secret bit for every [`PERIOD`] headers. Once the branch
//! has shown more work than ours, it is fetched again. The bits then prove that it is the same
//! branch, and its headers go to the chain.
//!
//! # Security
//! A branch of little work therefore costs this node no disk, and [`MAX_BITS`] of memory. A peer
//! that sends another branch the second time has to guess [`DEPTH`] bits in a row.

use std::{collections::VecDeque, hash::Hasher};

use siphasher::sip::SipHasher24;

use super::MAX_PRESYNC_HEADERS;
use crate::{
    chain::{
        api::{HeaderContext, Tip},
        errors::AcceptHeadersError,
    },
    consensus::{Network, Work, check_hashed_header},
    primitives::{BlockHash, Header, Height, UnixMillis},
};

/// The number of headers for each secret bit. A larger number takes less memory for bits, and more
/// for headers that wait.
const PERIOD: u32 = 64;
/// The number of bits that must agree above a header before it goes to the chain: one guess in 16
/// million is right.
const DEPTH: u32 = 24;
/// The maximum number of bits of one walk: 512 bytes.
const MAX_BITS: usize = (MAX_PRESYNC_HEADERS / PERIOD) as usize;

/// Checks headers on their parent without storing them, and returns the context of their children.
///
/// # Errors
/// Fails at the first header that breaks a rule.
pub(crate) fn check_branch(
    network: &Network,
    mut context: HeaderContext,
    headers: &[Header],
    now: UnixMillis,
) -> Result<HeaderContext, AcceptHeadersError> {
    for header in headers {
        let hash = header.hash();
        let checked = check_hashed_header(header, hash, network, &context.window, now)
            .map_err(|error| AcceptHeadersError::Header { hash, error })?;
        let work = context.tip.work.saturating_add(checked.work());
        context.tip = Tip { hash, height: header.height, work, time: header.time };
        context.window.push(&checked);
    }
    Ok(context)
}

/// The result of comparing headers with the first pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Redone {
    /// These headers may go to the chain. More of the branch has to come before the others may.
    Proven(Vec<Header>),
    /// These headers may go to the chain, and the branch has been fetched again up to where the
    /// first pass ended.
    Whole(Vec<Header>),
    /// The branch differs from that of the first pass, at this height or below.
    Other(Height),
}

/// The state of one walk through a branch that is not stored.
#[derive(Debug, Clone)]
pub(super) struct Presync {
    /// The block where the branch leaves the known headers.
    pub(super) fork: Tip,
    /// The last header that was counted, with the window for the next one.
    pub(super) counted: HeaderContext,
    /// True in the second pass.
    pub(super) redoing: bool,
    key: (u64, u64),
    bits: VecDeque<bool>,
    /// Headers of the second pass that wait for bits above them, lowest first.
    waiting: VecDeque<Header>,
}

impl Presync {
    /// Starts the first pass at `fork`. The key must be secret, and differ between walks.
    pub(super) fn new(fork: HeaderContext, key: (u64, u64)) -> Self {
        Self {
            fork: fork.tip,
            counted: fork,
            redoing: false,
            key,
            bits: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Returns the work that the branch has shown so far.
    pub(super) const fn shown(&self) -> Work {
        self.counted.tip.work
    }

    /// Returns true if [`MAX_PRESYNC_HEADERS`] headers are counted.
    pub(super) fn is_too_long(&self) -> bool {
        self.counted.tip.height.saturating_sub(self.fork.height) >= MAX_PRESYNC_HEADERS
    }

    /// Takes headers of the first pass, and the context after them.
    pub(super) fn count(&mut self, headers: &[Header], after: HeaderContext) {
        for header in headers {
            if self.has_bit(header.height) && self.bits.len() < MAX_BITS {
                self.bits.push_back(self.bit(&header.hash()));
            }
        }
        self.counted = after;
    }

    /// Compares headers of the second pass with the first one.
    pub(super) fn redo(&mut self, headers: Vec<Header>) -> Redone {
        let end = self.counted.tip;
        for header in headers {
            let hash = header.hash();
            let other = header.height == end.height && hash != end.hash;
            let agrees = header.height > end.height
                || !self.has_bit(header.height)
                || self.bits.pop_front() == Some(self.bit(&hash));
            if other || !agrees {
                return Redone::Other(header.height);
            }
            self.waiting.push_back(header);
        }
        let reached = self.waiting.back().map_or(0, |last| last.height);
        if reached >= end.height {
            return Redone::Whole(self.waiting.drain(..).collect());
        }
        let depth = PERIOD.saturating_mul(DEPTH);
        let ready = self
            .waiting
            .iter()
            .take_while(|header| header.height.saturating_add(depth) <= reached)
            .count();
        Redone::Proven(self.waiting.drain(..ready).collect())
    }

    /// Returns true if the first pass keeps a bit of the header at this height.
    fn has_bit(&self, height: Height) -> bool {
        let above = u64::from(height.saturating_sub(self.fork.height));
        above.checked_rem(u64::from(PERIOD)) == self.key.0.checked_rem(u64::from(PERIOD))
    }

    /// Returns the secret bit of a header.
    fn bit(&self, hash: &BlockHash) -> bool {
        let mut hasher = SipHasher24::new_with_keys(self.key.0, self.key.1);
        hasher.write(&hash.0);
        hasher.finish() & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        consensus::{
            HeaderWindow,
            testing::{network, next_block},
        },
        primitives::MerkleRoot,
    };

    fn context(height: Height, work: u64) -> HeaderContext {
        let network = network(10_000);
        let tip = Tip { hash: BlockHash([1; 32]), height, work: Work::from(work), time: 0 };
        HeaderContext { tip, window: HeaderWindow::genesis(&network) }
    }

    fn branch(length: u32, salt: u64) -> Vec<Header> {
        let mut previous = BlockHash([1; 32]);
        (1..=length)
            .map(|height| {
                let merkle_root = MerkleRoot::ZERO;
                let header =
                    Header { previous, merkle_root, height, time: 0, bits: 0, nonce: salt };
                previous = header.hash();
                header
            })
            .collect()
    }

    /// Returns a walk that has counted these headers.
    fn counted(headers: &[Header]) -> Presync {
        let mut presync = Presync::new(context(0, 1), (7, 9));
        for batch in headers.chunks(500) {
            let last = batch.last().expect("a header");
            let mut after = context(last.height, u64::from(last.height) + 1);
            after.tip.hash = last.hash();
            presync.count(batch, after);
        }
        presync.redoing = true;
        presync
    }

    #[test]
    fn the_same_branch_goes_to_the_chain_in_order_and_whole() {
        let headers = branch(5_000, 1);
        let mut presync = counted(&headers);
        assert_eq!(presync.shown(), Work::from(5_001));
        let mut handed = Vec::new();
        for batch in headers.chunks(2_000) {
            match presync.redo(batch.to_vec()) {
                Redone::Proven(proven) => {
                    handed.extend(proven);
                    let waiting = presync.waiting.len();
                    assert!(waiting <= (PERIOD * DEPTH) as usize, "{waiting} headers wait");
                }
                Redone::Whole(rest) => handed.extend(rest),
                Redone::Other(height) => panic!("the branch at {height} is the same"),
            }
        }
        assert_eq!(handed, headers);
    }

    #[test]
    fn another_branch_the_second_time_is_found_out_before_any_header_is_handed_over() {
        let (shown, sent) = (branch(5_000, 1), branch(5_000, 2));
        let mut presync = counted(&shown);
        let mut batches = sent.chunks(500);
        let found = loop {
            match presync.redo(batches.next().expect("it is found out").to_vec()) {
                Redone::Proven(proven) => assert!(proven.is_empty()),
                other => break other,
            }
        };
        assert!(matches!(found, Redone::Other(_)), "{found:?}");
        let mut shorter = counted(&shown);
        let mut forked = shown.clone();
        forked.last_mut().expect("a header").nonce = 3;
        assert_eq!(shorter.redo(forked), Redone::Other(5_000), "the last header is compared too");
    }

    #[test]
    fn the_bits_of_the_longest_walk_are_bounded() {
        let presync = Presync::new(context(0, 1), (7, 9));
        let bits = (1..=MAX_PRESYNC_HEADERS).filter(|height| presync.has_bit(*height)).count();
        assert!(bits <= MAX_BITS);
    }

    #[test]
    fn headers_are_checked_by_the_rules_and_their_work_adds_up() {
        let network = network(10_000);
        let genesis = Tip { hash: network.id, height: 0, work: Work::from(5), time: 0 };
        let window = HeaderWindow::genesis(&network);
        let block = next_block(&network, &window, vec![]);
        let now = block.header.time;
        let start = HeaderContext { tip: genesis, window };
        let after = check_branch(&network, start.clone(), &[block.header], now).expect("valid");
        assert_eq!((after.tip.hash, after.tip.height), (block.hash(), 1));
        assert!(after.tip.work > genesis.work);
        let lazy = Header { bits: block.header.bits - 1, ..block.header };
        assert!(check_branch(&network, start, &[lazy], now).is_err());
    }
}
