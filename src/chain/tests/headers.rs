//! Tests of headers without bodies: which are kept, how many, and for which the node waits.

use redb::{ReadableDatabase as _, ReadableTableMetadata as _};

use crate::{
    chain::{
        BlockAccepted,
        errors::AcceptHeadersError,
        store::tables::HEADERS,
        testing::{Branch, NOW, PEER, TestChain, mine, network, seal},
    },
    consensus::{self, Blame, HeaderWindow, Target, Work},
    primitives::{Block, BlockHash, Header, UnixMillis},
};

fn headers(blocks: &[Block]) -> Vec<Header> {
    blocks.iter().map(|block| block.header).collect()
}

fn take(chain: &mut TestChain, headers: &[Header]) -> Result<usize, AcceptHeadersError> {
    chain.chain.accept_headers(headers, PEER, chain.now).map(|accepted| accepted.new)
}

/// Returns the number of headers on the disk.
fn stored(chain: &mut TestChain) -> usize {
    chain.chain.commit().expect("a commit");
    let transaction = chain.chain.overlay.store().database().begin_read().expect("a transaction");
    let rows = transaction.open_table(HEADERS).expect("the table").len().expect("a length");
    usize::try_from(rows).expect("few")
}

/// Mines a row of headers without bodies, one millisecond apart, at the least difficulty.
fn bodiless(from: &Header, count: usize) -> Vec<Header> {
    let mut last = *from;
    let next = |_| {
        let header =
            Header { previous: last.hash(), height: last.height + 1, time: last.time + 1, ..last };
        let mut block = Block { header, transactions: vec![] };
        mine(&mut block);
        last = block.header;
        last
    };
    (0..count).map(next).collect()
}

#[test]
fn a_header_whose_body_nobody_delivers_no_longer_holds_the_node_up() {
    let mut chain = TestChain::new();
    let mut honest = Branch::new(&network(), 0);
    chain.connect(&honest.extend(3));
    let attack = honest.fork(9).extend(40);
    assert_eq!(take(&mut chain, &headers(&attack)), Ok(40));
    assert_eq!(chain.chain.best_header().height, 43);
    let best = chain.chain.withhold(&attack[0].hash()).expect("a disk");
    assert_eq!(best, chain.chain.tip(), "nothing better is on its way");
    assert_eq!(take(&mut chain, &headers(&attack)), Ok(0));
    assert_eq!(chain.chain.best_header(), chain.chain.tip());
    let audit = chain.chain.verify(&mut |_, _| true).expect("an audit");
    assert_eq!(audit.problem, None);

    // The honest chain continues, and the others' headers change nothing.
    chain.connect(&honest.extend(2));
    assert_eq!(chain.chain.best_header(), chain.chain.tip());
    // One by one, the bodies arrive.
    for block in &attack[..2] {
        chain.block(block).expect("good");
    }
    assert_eq!(chain.chain.best_header().height, 43, "they count again");
    for block in &attack[2..] {
        chain.block(block).expect("good");
    }
    assert_eq!(chain.tip(), attack[39].hash());
}

#[test]
fn a_body_is_wanted_if_it_is_missing_and_would_be_stored() {
    let mut chain = TestChain::new();
    let mut honest = Branch::new(&network(), 0);
    let (old, side) = (honest.fork(9).extend(1), honest.fork(8).extend(1));
    // A branch may lack the work of 144 blocks.
    let blocks = honest.extend(144);
    chain.connect(&blocks[..2]);
    let wants = |chain: &mut TestChain, block: &Block| {
        let accepted = chain.chain.accept_headers(&[block.header], PEER, chain.now);
        accepted.expect("good").wants_body
    };
    assert!(wants(&mut chain, &blocks[2]), "a new header");
    assert!(wants(&mut chain, &blocks[2]), "a known header");
    assert!(!wants(&mut chain, &blocks[0]), "connected");
    assert_eq!(chain.block(&blocks[3]), Ok(BlockAccepted::Waiting));
    assert!(!wants(&mut chain, &blocks[3]), "it waits for its parent");
    assert!(wants(&mut chain, &side[0]), "beside the tip");
    assert_eq!(chain.block(&side[0]), Ok(BlockAccepted::SideBranch));
    assert!(!wants(&mut chain, &side[0]), "stored on a side branch");
    assert!(wants(&mut chain, &old[0]));
    chain.connect(&blocks[2..3]);
    chain.connect(&blocks[4..]);
    assert!(wants(&mut chain, &old[0]), "it could still win");
    chain.connect(&honest.extend(2));
    assert!(!wants(&mut chain, &old[0]), "too long ago");
}

#[test]
fn after_a_restart_withheld_headers_count_until_they_are_withheld_again() {
    let mut chain = TestChain::new();
    let mut honest = Branch::new(&network(), 0);
    chain.connect(&honest.extend(3));
    let attack = honest.fork(9).extend(5);
    take(&mut chain, &headers(&attack)).expect("good");
    chain.chain.withhold(&attack[0].hash()).expect("a disk");
    chain.chain.commit().expect("a commit");
    let mut chain = chain.reopen();
    assert_eq!(chain.chain.best_header().height, 8);
    let audit = chain.chain.verify(&mut |_, _| true).expect("an audit");
    assert_eq!(audit.problem, None);
    let best = chain.chain.withhold(&attack[0].hash()).expect("a disk");
    assert_eq!(best, chain.chain.tip());
    let now = chain.now;
    chain.chain.reindex(now, &mut |_, _| true).expect("a reindex");
    assert_eq!(chain.chain.tip().height, 3);
}

#[test]
fn what_has_a_body_or_is_not_known_cannot_be_withheld() {
    let mut chain = TestChain::new();
    let mut branch = Branch::new(&network(), 0);
    let blocks = branch.extend(4);
    chain.connect(&blocks[..1]);
    take(&mut chain, &headers(&blocks)).expect("good");
    chain.block(&blocks[2]).expect("an orphan");
    for hash in [blocks[0].hash(), blocks[2].hash(), BlockHash([7; 32])] {
        assert_eq!(chain.chain.withhold(&hash).expect("a disk").height, 4);
    }
    assert_eq!(chain.chain.withhold(&blocks[3].hash()).expect("a disk").height, 3);
}

#[test]
fn endless_bodiless_headers_are_bounded_in_memory_and_on_disk_and_the_chain_goes_on() {
    let mut chain = TestChain::new();
    let mut honest = Branch::new(&network(), 0);
    chain.connect(&honest.extend(3));
    let most = 3_000;
    chain.chain.tree.most_ahead = most;
    let attack = bodiless(&honest.tip(), most + 500);
    let mut refused = None;
    for batch in attack.chunks(500) {
        if let Err(error) = take(&mut chain, batch) {
            refused = Some(error);
            break;
        }
    }
    let refused = refused.expect("there are too many");
    assert_eq!((refused.code(), refused.blame()), ("too_far_beyond_tip", Blame::Nobody));
    assert!(stored(&mut chain) <= most + 10, "no more than the bound is on the disk");
    let next = honest.extend(2);
    assert_eq!(take(&mut chain, &headers(&next[..1])), Ok(1), "our next header has room");
    chain.connect(&next);
    // A file with all of them opens. Once the first one is withheld, most of them are dropped.
    chain.chain.commit().expect("a commit");
    let mut chain = chain.reopen();
    assert_eq!(chain.chain.tip().height, 5);
    assert!(chain.chain.best_header().height > 3_000);
    chain.chain.withhold(&attack[0].hash()).expect("a disk");
    assert_eq!(chain.chain.best_header(), chain.chain.tip());
    assert!(stored(&mut chain) <= 2_010, "few of them are kept");
    chain.connect(&honest.extend(1));
    let mut chain = chain.reopen();
    assert_eq!(chain.chain.verify(&mut |_, _| true).expect("an audit").problem, None);
}

#[test]
fn a_branch_below_our_work_less_144_blocks_is_kept_only_once_it_showed_more() {
    let mut chain = TestChain::new();
    let mut ours = Branch::new(&network(), 0);
    let mut theirs = ours.fork(1);
    chain.connect(&ours.extend(200));
    let their_blocks = theirs.extend(210);
    let theirs = headers(&their_blocks);
    let low = &theirs[..50];
    let error = take(&mut chain, low).expect_err("too little work");
    assert_eq!((error.code(), error.blame()), ("too_little_work", Blame::Nobody));
    assert_eq!(stored(&mut chain), 201, "none of them is stored");
    assert_eq!(take(&mut chain, &theirs[..60]), Ok(60), "they could still win");
    let mut chain = TestChain::new();
    chain.connect(&Branch::new(&network(), 0).extend(200));
    let shown = network().genesis_work().saturating_mul(211);
    for batch in theirs.chunks(50) {
        let now = chain.now;
        let accepted = chain.chain.accept_shown_headers(batch, PEER, Some(shown), now);
        assert_eq!(accepted.map(|accepted| accepted.new), Ok(batch.len()));
    }
    assert_eq!(chain.chain.best_header().height, 210);
    // It is withheld far below the tip. Its body still ends the withholding.
    let best = chain.chain.withhold(&theirs[0].hash()).expect("a disk");
    assert_eq!(best, chain.chain.tip());
    assert_eq!(chain.block(&their_blocks[0]), Ok(BlockAccepted::SideBranch));
    assert_eq!(chain.chain.best_header().height, 210);
    for block in &their_blocks[1..] {
        chain.block(block).expect("good");
    }
    assert_eq!(chain.chain.tip().height, 210);
}

#[test]
fn a_context_is_the_start_of_a_walk() {
    let mut chain = TestChain::new();
    let mut branch = Branch::new(&network(), 0);
    let blocks = branch.extend(70);
    chain.connect(&blocks);
    assert_eq!(chain.chain.header_context(&BlockHash([1; 32])), Ok(None));
    let context = chain.chain.header_context(&blocks[64].hash()).expect("a disk").expect("known");
    assert_eq!((context.tip.height, context.tip.hash), (65, blocks[64].hash()));
    assert_eq!(context.window.parent(), blocks[64].hash());
    consensus::check_header(&blocks[65].header, chain.chain.network(), &context.window, NOW)
        .expect("the next one");
}

/// Returns a chain with a spacing: 20 blocks mined as fast as allowed, and then a day without any.
fn rested() -> (TestChain, Branch, Vec<Block>, UnixMillis) {
    let network = consensus::testing::network(10_000);
    let mut chain = TestChain::of(&network);
    let mut branch = Branch::new(&network, 0);
    let blocks: Vec<_> = (0..80)
        .map(|_| {
            let mut block = branch.draft(&[], consensus::SUBSIDY);
            block.header.time -= 9_000;
            branch.redraft(&mut block);
            branch.push(&block);
            block
        })
        .collect();
    chain.connect(&blocks);
    let later = branch.tip().time + 24 * 3_600_000;
    chain.now = later + 1_000;
    (chain, branch, blocks, later)
}

/// Returns a late block above the last one of a branch.
fn late(branch: &Branch, time: UnixMillis, salt: u8) -> Block {
    let mut block = branch.fork(salt).draft(&[], consensus::SUBSIDY);
    block.header.time = time;
    branch.redraft(&mut block);
    block
}

#[test]
fn a_cheap_late_block_beside_the_chain_is_not_stored() {
    let (mut chain, mut branch, blocks, later) = rested();
    let full: Work = chain.chain.tip().work;
    let below = {
        let mut below = Branch::new(chain.chain.network(), 0);
        blocks[..79].iter().for_each(|block| below.push(block));
        below
    };
    let window = HeaderWindow::from_headers(&below.headers).expect("a window");
    let in_time = consensus::next_bits(chain.chain.network(), &window, window.parent_time());
    let full_price = Target::from_compact(in_time).expect("a target");
    let mut late_ones = (5..).map(|salt| late(&below, later, salt));
    let cheap = late_ones.find(|block| !full_price.is_met_by(&block.hash())).expect("one");
    let outcome = chain.block(&cheap).expect_err("nearly free");
    assert_eq!((outcome.code(), outcome.blame()), ("too_little_work", Blame::Nobody));
    let error = take(&mut chain, &[cheap.header]).expect_err("nearly free");
    assert_eq!(error.code(), "too_little_work");
    assert!(chain.chain.tree.id(&cheap.hash()).is_none());
    assert_eq!(chain.chain.tip().work, full);
    // On the tip, the late block is simply the next block.
    let next = late(&branch, later, 6);
    assert_eq!(chain.block(&next), Ok(BlockAccepted::Connected));
    branch.push(&next);
}

impl Branch {
    /// Returns the last header.
    fn tip(&self) -> Header {
        *self.headers.last().expect("the genesis")
    }

    /// Sets the bits that a block's time requires, and mines it again.
    fn redraft(&self, block: &mut Block) {
        let window = consensus::HeaderWindow::from_headers(&self.headers).expect("a window");
        block.header.bits = consensus::next_bits(&self.network, &window, block.header.time);
        seal(block);
    }
}
