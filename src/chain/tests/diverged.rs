//! Branches that a node does not take by itself, and what a person may do about them.

use crate::{
    chain::{
        AcceptBranchError, BlockAccepted, ChainEvent, Divergence, Origin, TxState,
        diverged::MAX_REORGANISATION_AGE,
        testing::{Branch, PEER, TestChain, genesis_coin, key, network, owner, pay},
    },
    consensus::SUBSIDY,
    primitives::{Amount, Block, BlockHash, Header},
};

/// A chain that connected `ours` long ago, after `shared` blocks; and what both branches are.
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
        chain.now += MAX_REORGANISATION_AGE + 1;
        Self { chain, shared, ours, our_branch, theirs, their_branch }
    }

    fn diverged(&self) -> Option<Divergence> {
        self.chain.chain.divergence(self.chain.now)
    }

    /// Their blocks come, and none is taken.
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
    let mut scene = Scene::new(2, 2, 4);
    assert_eq!(scene.diverged(), None);
    let connected = scene.chain.now - MAX_REORGANISATION_AGE - 1;
    scene.refuse();
    let found = scene.diverged().expect("diverged");
    assert_eq!((found.fork, found.fork_height), (scene.shared[1].hash(), 2));
    assert_eq!((found.ours.hash, found.ours.height), (scene.our_tip(), 4));
    assert_eq!((found.theirs.hash, found.theirs.height), (scene.their_tip(), 6));
    assert!(found.theirs.work > found.ours.work);
    assert_eq!((found.since, found.missing, found.needs_mib), (connected, 0, None));
    assert_eq!(scene.chain.tip(), scene.our_tip());

    let (hash, ours) = (scene.chain.hash(), scene.our_tip());
    scene.chain.chain.commit().expect("a commit");
    let mut chain = scene.chain.reopen();
    assert_eq!(chain.chain.divergence(chain.now), Some(found), "it follows from what is stored");
    assert_eq!((chain.tip(), chain.hash()), (ours, hash));
    chain.chain.reconsider(chain.now).expect("a disk");
    assert_eq!(chain.tip(), ours);
}

#[test]
fn headers_alone_show_it_and_say_how_much_is_missing() {
    let mut scene = Scene::new(0, 2, 4);
    let headers: Vec<Header> = scene.theirs.iter().map(|block| block.header).collect();
    scene.chain.chain.accept_headers(&headers, PEER, scene.chain.now).expect("good headers");
    assert_eq!(scene.diverged().expect("diverged").missing, 4);
    let tip = scene.their_tip();
    assert_eq!(scene.accept(tip), Err(AcceptBranchError::Incomplete { hash: tip, missing: 4 }));
    for block in &scene.theirs[..3] {
        scene.chain.block(block).expect("stored");
    }
    assert_eq!(scene.diverged().expect("diverged").missing, 1);
    // What is here is better than ours already; the rest joins when it comes.
    assert_eq!(scene.accept(tip), Ok(scene.theirs[2].hash()));
    scene.chain.connect(&scene.theirs[3..]);
}

#[test]
fn the_node_goes_on_with_its_own_branch_and_is_done_when_that_wins() {
    let mut scene = Scene::new(1, 2, 4);
    scene.refuse();
    let third = scene.our_branch.next(&[]);
    scene.chain.connect(std::slice::from_ref(&third));
    let mined = scene.chain.mine(owner(&key(9)));
    assert_eq!(mined.header.previous, third.hash());
    let found = scene.diverged();
    // As many blocks: the lower hash has won.
    assert_eq!(found.is_some(), scene.their_tip() < mined.hash());
    scene.chain.mine(owner(&key(9)));
    assert_eq!(scene.diverged(), None);
    assert_eq!(scene.chain.chain.best_header(), scene.chain.chain.tip());
    assert_eq!(scene.accept(scene.their_tip()).map_err(|error| error.code()), Err("not_diverged"));
}

#[test]
fn a_person_takes_the_other_branch_by_any_of_its_blocks() {
    for by in 0..4 {
        let mut scene = Scene::new(1, 3, 4);
        scene.refuse();
        let hash = scene.theirs[by].hash();
        assert_eq!(scene.accept(hash), Ok(scene.their_tip()));
        assert_eq!((scene.chain.tip(), scene.diverged()), (scene.their_tip(), None));
        assert_eq!(scene.chain.supply(), Amount::from_coins(600));

        let told = scene.chain.events();
        let changes: Vec<_> = told
            .iter()
            .filter(|event| {
                matches!(event, ChainEvent::TipChanged { disconnected, .. }
                    if disconnected.len() == 3)
            })
            .collect();
        assert_eq!(changes.len(), 1, "{told:?}");
        let mut chain = scene.chain.reopen();
        assert_eq!(
            (chain.tip(), chain.chain.divergence(chain.now)),
            (scene.theirs[3].hash(), None)
        );
        // It was connected just now, so it is left again for more work.
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
    chain.mine(owner(&key(7)));
    chain.now += MAX_REORGANISATION_AGE + 1;
    let branch = theirs.extend(3);
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
    let mut scene = Scene::new(1, 3, 5);
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
    let mut scene = Scene::new(1, 2, 2);
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
    // What is left of the branch is as long as ours: at most the lower hash makes it better.
    let left = scene.diverged();
    assert_eq!(left.is_some(), scene.theirs[1].hash() < before.0);
    assert_eq!(scene.accept(hash), Err(AcceptBranchError::InvalidBranch { hash }));
}

#[test]
fn a_clock_that_was_ahead_forbids_nothing_once_it_is_right() {
    let mut scene = Scene::new(1, 2, 4);
    let right = scene.chain.now - MAX_REORGANISATION_AGE;
    scene.refuse();
    assert!(scene.diverged().is_some());
    scene.chain.now = right;
    assert_eq!(scene.diverged(), None);
    scene.chain.chain.reconsider(right).expect("a disk");
    assert_eq!(scene.chain.tip(), scene.their_tip());
}

#[test]
fn what_was_connected_while_the_clock_was_ahead_is_settled_in_time() {
    let mut chain = TestChain::new();
    let mut ours = Branch::new(&network(), 0);
    let theirs = ours.fork(1).extend(4);
    let right = chain.now;
    chain.now += 10 * MAX_REORGANISATION_AGE;
    chain.connect(&ours.extend(1));
    chain.now = right;
    chain.connect(&ours.extend(1));
    chain.now = right + MAX_REORGANISATION_AGE + 1;
    for block in &theirs {
        assert_eq!(chain.block(block), Ok(BlockAccepted::SideBranch));
    }
    assert!(chain.chain.divergence(chain.now).is_some());
}

#[test]
fn young_blocks_are_left_by_themselves() {
    let mut scene = Scene::new(3, 2, 4);
    scene.chain.now -= 1;
    for block in &scene.theirs {
        scene.chain.block(block).expect("good");
    }
    assert_eq!((scene.chain.tip(), scene.diverged()), (scene.their_tip(), None));
}

#[test]
fn a_reorganisation_beyond_the_memory_there_is_waits_for_more_of_it() {
    let mut scene = Scene::new(0, 17, 19);
    scene.chain.now -= MAX_REORGANISATION_AGE;
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
    let mut scene = Scene::new(2, 2, 4);
    scene.refuse();
    let (hash, found) = (scene.chain.hash(), scene.diverged());
    assert!(found.is_some());
    let now = scene.chain.now;
    scene.chain.chain.reindex(now, &mut |_, _| true).expect("a reindex");
    assert_eq!((scene.chain.tip(), scene.diverged()), (scene.our_tip(), found));
    assert_eq!(scene.chain.hash(), hash);
}
