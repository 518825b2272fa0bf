//! Sends valid and invalid headers to a chain in any order.

use std::collections::HashMap;

use super::choices::Choices;
use crate::{
    chain::testing::{NOW, PEER, TestChain, network},
    consensus::{
        HeaderError, HeaderWindow, Network, Target, Work, check_header, is_better, min_time,
        next_bits,
        testing::{self, GENESIS_TIME},
    },
    primitives::{Block, BlockHash, Header, Height, MerkleRoot, Owner, UnixMillis},
};

/// The most steps of one input. More would only repeat the same situations.
const MAX_STEPS: usize = 48;

/// The most hashes, on average, that mining a header may take. Headers with harder targets stay
/// unmined.
const MAX_HASHES: u64 = 4_096;

/// A valid header's branch and work, computed by the rules alone.
#[derive(Clone)]
struct Known {
    /// The headers from genesis to this one.
    branch: Vec<Header>,
    work: Work,
}

struct Story {
    chain: TestChain,
    network: Network,
    good: HashMap<BlockHash, Known>,
    /// The best of them: each was compared with the best one before it.
    best: BlockHash,
    /// All headers in order of making, valid or not. A step may send them again or build on them.
    made: Vec<Header>,
    /// Headers ahead of the clock, with the time at which they become due.
    early: Vec<(UnixMillis, Header)>,
    salt: u64,
}

/// Runs the target. The first byte decides whether the chain has a spacing; the others are its
/// steps.
pub fn accept_headers(data: &[u8]) {
    let mut choices = Choices::new(data);
    let network = if choices.flag() { testing::network(10_000) } else { network() };
    let genesis = network.genesis.header;
    let known = Known { branch: vec![genesis], work: network.genesis_work() };
    let mut story = Story {
        chain: TestChain::of(&network),
        good: HashMap::from([(network.id, known)]),
        best: network.id,
        made: vec![genesis],
        early: Vec::new(),
        network,
        salt: 0,
    };
    story.chain.now = GENESIS_TIME + 1_000;
    for _ in 0..MAX_STEPS {
        if choices.is_empty() {
            break;
        }
        story.step(&mut choices);
    }
    story.end();
}

impl Story {
    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(8) {
            0 => {
                self.chain.now = self.chain.now.saturating_add(u64::from(choices.byte()) * 1_000);
                self.due();
            }
            1 => {
                // Send an old header again.
                let header = self.made[choices.below(self.made.len())];
                self.send(&[header]);
            }
            2 if choices.flag() => {
                self.chain.chain.commit().expect("a commit");
                let before = self.chain.chain.best_header();
                let chain = std::mem::replace(&mut self.chain, TestChain::of(&self.network));
                self.chain = chain.reopen();
                assert_eq!(self.chain.chain.best_header(), before, "opening forgot headers");
                self.early.clear();
            }
            _ => {
                let count = 1 + choices.below(4);
                let mut parent = self.parent(choices);
                let mut batch = Vec::new();
                for _ in 0..count {
                    let header = self.header(&parent, choices);
                    if self.made.len() < 256 {
                        self.made.push(header);
                    }
                    batch.push(header);
                    parent = header;
                }
                self.send(&batch);
            }
        }
    }

    /// Returns a parent for new headers, mostly the last one made.
    fn parent(&self, choices: &mut Choices<'_>) -> Header {
        let back = choices.below(8);
        let at = if back < 5 { self.made.len() - 1 } else { choices.below(self.made.len()) };
        self.made[at]
    }

    /// Makes a child of `parent` with at most a wrong time and one wrong field.
    fn header(&mut self, parent: &Header, choices: &mut Choices<'_>) -> Header {
        self.salt += 1;
        let window = self
            .good
            .get(&parent.hash())
            .and_then(|known| HeaderWindow::from_headers(&known.branch).ok());
        let spacing = self.network.params.spacing_ms.max(1_000);
        let earliest = window.as_ref().map_or(parent.time, min_time);
        let time = match choices.below(8) {
            0 => earliest,
            1 => earliest.saturating_sub(1 + u64::from(choices.byte())),
            2 => parent.time.saturating_add(spacing * u64::from(choices.byte())),
            3 => self.chain.now.saturating_add(self.network.params.future_limit_ms()),
            4 => choices.number(),
            _ => parent.time.saturating_add(spacing),
        };
        let right_bits =
            window.as_ref().map_or(parent.bits, |window| next_bits(&self.network, window, time));
        let mut root = [0; 32];
        root[..8].copy_from_slice(&self.salt.to_le_bytes());
        let mut header = Header {
            previous: parent.hash(),
            merkle_root: MerkleRoot(root),
            height: parent.height.wrapping_add(1),
            time,
            bits: right_bits,
            nonce: 0,
        };
        match choices.below(16) {
            0 => header.bits = u32::from_le_bytes(choices.array()),
            1 => header.bits = header.bits.wrapping_add(1),
            2 => header.height = Height::from_le_bytes(choices.array()),
            3 => header.previous.0[choices.below(32)] ^= choices.byte().max(1),
            4 => return header,
            _ => {}
        }
        mine_if_quick(&mut header);
        header
    }

    /// Sends headers, and expects the verdict of the rules alone.
    fn send(&mut self, batch: &[Header]) {
        let now = self.chain.now;
        let before = self.chain.chain.best_header();
        let mut new = 0;
        let mut refused = None;
        for header in batch {
            let hash = header.hash();
            if self.good.contains_key(&hash) {
                continue;
            }
            let known = match self.judge(header, now) {
                Ok(known) => known,
                Err(error) => {
                    if let Some(HeaderError::TooFarAhead { due, .. }) = error
                        && !self.early.contains(&(due, *header))
                    {
                        self.early.push((due, *header));
                    }
                    refused = Some(hash);
                    break;
                }
            };
            self.keep(hash, known);
            new += 1;
        }
        let outcome = self.chain.chain.accept_headers(batch, PEER, now);
        let best = self.best;
        match (&outcome, refused) {
            (Ok(accepted), None) => {
                assert_eq!((accepted.new, accepted.best_header.hash), (new, best));
                assert_eq!(Some(accepted.last), batch.last().map(Header::hash));
            }
            (Err(error), Some(_)) => {
                assert!(!error.to_string().is_empty() && !error.code().is_empty());
            }
            _ => panic!("the chain says {outcome:?} where the rules refuse {refused:?}"),
        }
        let after = self.chain.chain.best_header();
        assert_eq!(after.hash, best);
        assert!(after.work >= before.work, "the best header lost work");
        assert_eq!(self.chain.tip(), self.network.id, "a block connected that never came");
    }

    /// Lets the chain accept the early headers that have become due.
    fn due(&mut self) {
        let now = self.chain.now;
        self.early.sort_by_key(|(due, _)| *due);
        let count = self.early.partition_point(|(due, _)| *due <= now);
        for (_, header) in self.early.drain(..count).collect::<Vec<_>>() {
            if let Ok(known) = self.judge(&header, now) {
                self.keep(header.hash(), known);
            }
        }
        self.chain.chain.due(now).expect("a disk");
        assert_eq!(self.chain.chain.next_due(), self.early.first().map(|(due, _)| *due));
        assert_eq!(self.chain.chain.best_header().hash, self.best);
    }

    /// Checks a header by the rules alone. The error is `None` if the parent is unknown.
    fn judge(&self, header: &Header, now: UnixMillis) -> Result<Known, Option<HeaderError>> {
        let parent = self.good.get(&header.previous).ok_or(None)?;
        let window = HeaderWindow::from_headers(&parent.branch).expect("a branch from genesis");
        let checked = check_header(header, &self.network, &window, now).map_err(Some)?;
        let branch = [&parent.branch[..], &[*header]].concat();
        Ok(Known { branch, work: parent.work.saturating_add(checked.work()) })
    }

    /// Keeps a good header. It challenges the best one.
    fn keep(&mut self, hash: BlockHash, known: Known) {
        if is_better((known.work, &hash), (self.good[&self.best].work, &self.best)) {
            self.best = hash;
        }
        self.good.insert(hash, known);
    }

    fn end(&mut self) {
        let chain = &mut self.chain.chain;
        chain.commit().expect("a commit");
        let best = chain.best_header();
        assert_eq!(best.work, self.good[&best.hash].work);
        let reader = chain.reader();
        assert_eq!(
            reader.locator().first(),
            Some(&best.hash),
            "the locator begins at the best header"
        );
        for hash in self.good.keys() {
            assert!(reader.header(hash).is_some(), "an accepted header is gone");
        }
        let audit = chain.verify(&mut |_, _| true).expect("an audit");
        assert_eq!(audit.problem, None);
        let block = self.chain.chain.template(Owner::ZERO, NOW).expect("a template").block;
        let header = mined(&block);
        assert_eq!(
            self.chain.chain.check_on_tip(&header, NOW),
            Ok(()),
            "our own template breaks a rule"
        );
    }
}

fn mine_if_quick(header: &mut Header) {
    let Ok(target) = Target::from_compact(header.bits) else { return };
    if target.work() <= Work::from(MAX_HASHES) {
        while !target.is_met_by(&header.hash()) {
            header.nonce = header.nonce.wrapping_add(1);
        }
    }
}

fn mined(block: &Block) -> Header {
    let mut header = block.header;
    mine_if_quick(&mut header);
    header
}
