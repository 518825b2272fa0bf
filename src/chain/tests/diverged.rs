//! Tests of branches that a node does not switch to by itself, and of a person's choice.

use crate::{
    chain::{
        AcceptBranchError, BlockAccepted, ChainEvent, Divergence, DivergenceReason, Origin,
        TxState,
        attended::{Attended, SETTLED_AFTER},
        testing::{
            Branch, Disk, NOW, PEER, TestChain, genesis_coin, key, network, open, owner, pay,
        },
    },
    consensus::{Blame, Checkpoint, SUBSIDY, Work},
    primitives::{Amount, Block, BlockHash, Header},
};

/// A chain that had the blocks `ours` for 72 hours of attended time, after `shared` blocks; and the
/// blocks of both branches.
struct Scene {
    chain: TestChain,
    shared: Vec<Block>,
    ours: Vec<Block>,
    our_branch: Branch,
    theirs: Vec<Block>,
    their_branch: Branch,
}

impl Scene {
    fn new(shared: usize, ours: usize, theirs: usize) -> Self {
        let mut chain = TestChain::new();
        let mut our_branch = Branch::new(&network(), 0);
        let shared = our_branch.extend(shared);
        let mut their_branch = our_branch.fork(1);
        let (ours, theirs) = (our_branch.extend(ours), their_branch.extend(theirs));
        chain.connect(&shared);
        chain.connect(&ours);
        chain.chain.attend(SETTLED_AFTER);
        Self { chain, shared, ours, our_branch, theirs, their_branch }
    }

    fn diverged(&self) -> Option<Divergence> {
        self.chain.chain.divergence()
    }

    /// Receives the blocks of the other branch, and checks that no switch happens.
    fn refuse(&mut self) {
        for block in &self.theirs {
            assert_eq!(
                self.chain.block(block),
                Ok(BlockAccepted::SideBranch),
                "height {}",
                block.header.height
            );
        }
    }

    fn accept(&mut self, hash: BlockHash) -> Result<BlockHash, AcceptBranchError> {
        self.chain.chain.accept_branch(hash, self.chain.now).map(|tip| tip.hash)
    }

    fn our_tip(&self) -> BlockHash {
        self.ours.last().expect("a block").hash()
    }

    fn their_tip(&self) -> BlockHash {
        self.theirs.last().expect("a block").hash()
    }
}

#[test]
fn a_branch_that_would_undo_old_blocks_is_named_and_not_taken() {
    let mut scene = Scene::new(2, 7, 9);
    assert_eq!(scene.diverged(), None);
    let connected = scene.chain.now;
    scene.refuse();
    let found = scene.diverged().expect("diverged");
    assert_eq!((found.fork, found.fork_height), (scene.shared[1].hash(), 2));
    assert_eq!((found.ours.hash, found.ours.height), (scene.our_tip(), 9));
    assert_eq!((found.theirs.hash, found.theirs.height), (scene.their_tip(), 11));
    assert_eq!(found.reason, DivergenceReason::Settled);
    assert!(found.theirs.work > found.ours.work);
    assert_eq!((found.since, found.missing, found.needs_mib), (connected, 0, None));
    assert_eq!(scene.chain.tip(), scene.our_tip());

    let (hash, ours) = (scene.chain.hash(), scene.our_tip());
    scene.chain.chain.commit().expect("a commit");
    let mut chain = scene.chain.reopen();
    assert_eq!(chain.chain.divergence(), Some(found), "it follows from what is stored");
    assert_eq!((chain.tip(), chain.hash()), (ours, hash));
    chain.chain.reconsider(chain.now).expect("a disk");
    assert_eq!(chain.tip(), ours);
}

#[test]
fn headers_alone_show_it_and_say_how_much_is_missing() {
    let mut scene = Scene::new(0, 7, 9);
    let headers: Vec<Header> = scene.theirs.iter().map(|block| block.header).collect();
    scene.chain.chain.accept_headers(&headers, PEER, scene.chain.now).expect("good headers");
    assert_eq!(scene.diverged().expect("diverged").missing, 9);
    let tip = scene.their_tip();
    assert_eq!(scene.accept(tip), Err(AcceptBranchError::Incomplete { hash: tip, missing: 9 }));
    for block in &scene.theirs[..8] {
        scene.chain.block(block).expect("stored");
    }
    assert_eq!(scene.diverged().expect("diverged").missing, 1);
    // The stored part is better than ours already. The rest connects when it arrives.
    assert_eq!(scene.accept(tip), Ok(scene.theirs[7].hash()));
    scene.chain.connect(&scene.theirs[8..]);
}

#[test]
fn the_node_goes_on_with_its_own_branch_and_is_done_when_that_wins() {
    let mut scene = Scene::new(1, 7, 9);
    scene.refuse();
    let third = scene.our_branch.next(&[]);
    scene.chain.connect(std::slice::from_ref(&third));
    let mined = scene.chain.mine(owner(&key(9)));
    assert_eq!(mined.header.previous, third.hash());
    // Both branches have the same number of blocks, so there is nothing to choose.
    assert_eq!(scene.diverged(), None);
    scene.chain.mine(owner(&key(9)));
    assert_eq!(scene.diverged(), None);
    assert_eq!(scene.chain.chain.best_header(), scene.chain.chain.tip());
    assert_eq!(scene.accept(scene.their_tip()).map_err(|error| error.code()), Err("not_diverged"));
}

#[test]
fn a_person_takes_the_other_branch_by_any_of_its_blocks() {
    for by in 0..8 {
        let mut scene = Scene::new(1, 7, 8);
        scene.refuse();
        let hash = scene.theirs[by].hash();
        assert_eq!(scene.accept(hash), Ok(scene.their_tip()));
        assert_eq!((scene.chain.tip(), scene.diverged()), (scene.their_tip(), None));
        assert_eq!(scene.chain.supply(), Amount::from_coins(1_000));

        let told = scene.chain.events();
        let changes: Vec<_> = told
            .iter()
            .filter(|event| {
                matches!(event, ChainEvent::TipChanged { disconnected, .. }
                    if disconnected.len() == 7)
            })
            .collect();
        assert_eq!(changes.len(), 1, "{told:?}");
        let mut chain = scene.chain.reopen();
        assert_eq!((chain.tip(), chain.chain.divergence()), (scene.theirs[7].hash(), None));
        // It was connected just now, so a branch with more work replaces it.
        chain.connect(&scene.their_branch.extend(1));
    }
}

#[test]
fn trades_of_the_branch_that_is_left_wait_again_or_are_void() {
    let network = network();
    let coin = genesis_coin(&network);
    let mut chain = TestChain::new();
    let mut theirs = Branch::new(&network, 1);
    let kept = pay(&network, &key(1), coin, &[(owner(&key(2)), 10_000_000_000)]);
    chain.trade(&kept, Origin::Local).expect("good");
    let first = chain.mine(owner(&key(7)));
    let reward = crate::chain::testing::coin_of(&first.transactions[0], 0);
    let lost = pay(&network, &key(7), reward, &[(owner(&key(2)), 10_000_000_000)]);
    chain.trade(&lost, Origin::Local).expect("good");
    for _ in 0..6 {
        chain.mine(owner(&key(7)));
    }
    chain.chain.attend(SETTLED_AFTER);
    let branch = theirs.extend(8);
    for block in &branch {
        assert_eq!(chain.block(block), Ok(BlockAccepted::SideBranch));
    }
    chain.chain.accept_branch(branch[0].hash(), chain.now).expect("taken");
    let mut state = |txid| chain.chain.transaction(txid).expect("a disk").expect("known").state;
    assert_eq!(state(kept.txid()), TxState::Mempool);
    assert!(matches!(state(lost.txid()), TxState::Void { .. }));
}

#[test]
fn what_cannot_be_accepted_says_why_and_changes_nothing() {
    let mut scene = Scene::new(1, 7, 9);
    let weak = Branch::new(&network(), 3).next(&[]);
    let unknown = BlockHash([7; 32]);
    let before = scene.chain.tip();
    let not_diverged = AcceptBranchError::NotDiverged { tip: before };
    assert_eq!(scene.accept(unknown), Err(not_diverged.clone()));
    assert_eq!(scene.accept(before), Err(not_diverged));
    scene.refuse();
    scene.chain.block(&weak).expect("a third branch");
    let theirs = scene.their_tip();
    assert_eq!(
        scene.accept(unknown),
        Err(AcceptBranchError::UnknownBlock { hash: unknown, theirs })
    );
    for hash in [before, scene.shared[0].hash(), network().id] {
        assert_eq!(scene.accept(hash), Err(AcceptBranchError::OwnBranch { hash, theirs }));
    }
    let hash = weak.hash();
    assert_eq!(scene.accept(hash), Err(AcceptBranchError::LessWork { hash, theirs }));
    assert_eq!(scene.chain.tip(), before);
    scene.accept(theirs).expect("and it can still be taken");
}

#[test]
fn a_branch_that_proves_invalid_when_it_is_accepted_is_given_up() {
    let mut scene = Scene::new(1, 7, 7);
    let bad = scene.their_branch.draft(&[], Amount::from_units(SUBSIDY.units() + 1));
    scene.their_branch.push(&bad);
    scene.theirs.push(bad.clone());
    scene.theirs.extend(scene.their_branch.extend(2));
    scene.refuse();
    let before = (scene.chain.tip(), scene.chain.hash());
    let hash = scene.their_tip();
    let error = scene.accept(hash).expect_err("invalid");
    assert!(
        matches!(&error, AcceptBranchError::Broken { block, .. } if *block == bad.hash()),
        "{error}"
    );
    assert_eq!((scene.chain.tip(), scene.chain.hash()), before);
    // The rest of the branch is as long as ours.
    assert_eq!(scene.diverged(), None);
    assert_eq!(scene.chain.chain.best_header().hash, before.0);
    assert_eq!(scene.accept(hash), Err(AcceptBranchError::InvalidBranch { hash }));
}

#[test]
fn the_clock_and_days_without_company_settle_nothing() {
    let mut chain = TestChain::new();
    let mut ours = Branch::new(&network(), 0);
    let theirs = ours.fork(1).extend(12);
    chain.connect(&ours.extend(10));
    chain.now += 10 * SETTLED_AFTER;
    chain.chain.attend(SETTLED_AFTER - 1);
    for block in &theirs {
        chain.block(block).expect("good");
    }
    assert_eq!(chain.tip(), theirs[11].hash());
    assert_eq!(chain.chain.divergence(), None);
    // The new branch needs 72 hours of its own.
    chain.chain.attend(1);
    for block in ours.extend(4) {
        chain.block(&block).expect("good");
    }
    assert_eq!(chain.chain.tip().height, 14);
}

#[test]
fn six_settled_blocks_are_left_by_themselves_and_seven_are_not() {
    for (count, is_left) in [(6, true), (7, false)] {
        let mut scene = Scene::new(3, count, count + 2);
        for block in &scene.theirs {
            scene.chain.block(block).expect("good");
        }
        assert_eq!(scene.chain.tip() == scene.their_tip(), is_left);
        assert_eq!(scene.diverged().is_none(), is_left);
    }
}

#[test]
fn blocks_that_are_outweighed_a_hundred_times_are_left_by_themselves() {
    let mut scene = Scene::new(0, 8, 801);
    let headers: Vec<Header> = scene.theirs.iter().map(|block| block.header).collect();
    scene.chain.chain.accept_headers(&headers, PEER, scene.chain.now).expect("good headers");
    for block in &scene.theirs[..800] {
        assert_eq!(scene.chain.block(block), Ok(BlockAccepted::SideBranch));
    }
    assert_eq!(scene.chain.tip(), scene.our_tip());
    assert_eq!(scene.chain.block(&scene.theirs[800]), Ok(BlockAccepted::Connected));
    assert_eq!((scene.chain.tip(), scene.diverged()), (scene.their_tip(), None));
}

/// Returns a chain that was joined with an invite whose checkpoint is this block.
fn joined(checkpoint: &Block, work: Work) -> TestChain {
    let disk = Disk::default();
    let network = network();
    let checkpoint = Checkpoint { height: checkpoint.header.height, hash: checkpoint.hash(), work };
    let mut chain = open(&disk, &network);
    chain.checkpoint = Some(checkpoint);
    TestChain { chain, disk, now: NOW }
}

/// Returns the cumulative work up to a height if every block has the least difficulty.
fn work_at(height: u64) -> Work {
    network().genesis_work().saturating_mul(height + 1)
}

#[test]
fn a_branch_without_the_checkpoint_is_told_and_never_taken_by_itself() {
    let mut right = Branch::new(&network(), 0);
    let mut wrong = right.fork(1);
    let (right, wrong) = (right.extend(4), wrong.extend(8));
    let mut chain = joined(&right[2], work_at(3));
    // Below the checkpoint's height, nothing shows that they are wrong.
    chain.connect(&wrong[..2]);
    assert_eq!(chain.block(&wrong[2]), Ok(BlockAccepted::SideBranch));
    for block in &wrong[3..] {
        assert_eq!(chain.block(block), Ok(BlockAccepted::SideBranch));
    }
    let found = chain.chain.divergence().expect("it is told");
    assert_eq!(found.reason, DivergenceReason::Checkpoint);
    assert_eq!((found.ours.height, found.theirs.height, found.missing), (2, 8, 0));
    // The chain of the invite wins even with less work than claimed.
    for block in &right {
        chain.block(block).expect("good");
    }
    assert_eq!(chain.tip(), right[3].hash());
    assert_eq!(chain.chain.divergence().expect("still").ours.height, 4);
    // A person may choose the other branch, and the chain then continues on it.
    let hash = wrong[7].hash();
    chain.chain.accept_branch(hash, chain.now).expect("taken");
    assert_eq!((chain.tip(), chain.chain.divergence()), (hash, None));
    let now = chain.now;
    chain.chain.reindex(now, &mut |_, _| true).expect("a reindex");
    assert_eq!(chain.tip(), hash, "a reindex keeps what a person chose");
}

#[test]
fn headers_without_the_checkpoint_and_its_work_are_not_kept() {
    let mut right = Branch::new(&network(), 0);
    let wrong: Vec<Header> = right.fork(1).extend(8).iter().map(|block| block.header).collect();
    let right = right.extend(4);
    let mut chain = joined(&right[2], work_at(1_000));
    let (headers, now) = (&wrong[..], chain.now);
    let error = chain.chain.accept_headers(headers, PEER, now).expect_err("deceit");
    assert_eq!((error.code(), error.blame()), ("too_little_work", Blame::Nobody));
    assert_eq!(chain.chain.best_header().height, 0);
    chain.connect(&right);
}

#[test]
fn a_reorganisation_beyond_the_memory_there_is_waits_for_more_of_it() {
    let mut scene = Scene::new(0, 17, 19);
    scene.chain.chain.attended = Attended::default();
    scene.chain.chain.reorganisation_mib = 0;
    for block in &scene.theirs {
        scene.chain.block(block).expect("good");
    }
    assert_eq!(scene.chain.tip(), scene.our_tip());
    assert_eq!(scene.diverged().expect("refused").needs_mib, Some(1));
    let hash = scene.their_tip();
    let error = scene.accept(hash).expect_err("too large");
    assert_eq!(error, AcceptBranchError::TooLarge { hash, needs_mib: 1 });
    assert!(error.to_string().contains("--cache-mib 1"), "{error}");
    scene.chain.mine(owner(&key(9)));
    assert_eq!(scene.diverged().expect("it is no smaller now").needs_mib, Some(1));

    scene.chain.chain.reorganisation_mib = 1;
    scene.chain.chain.reconsider(scene.chain.now).expect("a disk");
    assert_eq!((scene.chain.tip(), scene.diverged()), (scene.their_tip(), None));
}

#[test]
fn a_reindex_keeps_to_the_branch_that_was_connected() {
    let mut scene = Scene::new(2, 7, 9);
    scene.refuse();
    let (hash, found) = (scene.chain.hash(), scene.diverged());
    assert!(found.is_some());
    let now = scene.chain.now;
    scene.chain.chain.reindex(now, &mut |_, _| true).expect("a reindex");
    assert_eq!((scene.chain.tip(), scene.diverged()), (scene.our_tip(), found));
    assert_eq!(scene.chain.hash(), hash);
}
