//! Tests a branch with more work that would undo settled blocks: a node had them for 72 hours of
//! attended time.
//!
//! The library makes the folders. It gets the time of each block and the attended hours as
//! arguments, so the folders equal those of a node that ran for a hundred hours.

use friendchain::{
    chain::{BlockAccepted, Chain, ChainOptions, Origin},
    consensus::{ChainParams, Network},
    primitives::{Address, Block, Header, Owner},
};
use serde_json::Value;

use crate::support::{
    Folder, Node, TestNet,
    chain::{await_one_tip, number, text},
    eventually,
    forge::{Forge, commit, mine, now},
    holds,
};

const HOUR: u64 = 3_600 * 1_000;

/// A fork: two shared blocks, seven blocks of ours that some nodes connected a hundred hours ago,
/// and ten of theirs that others connect now.
struct Story {
    forge: Forge,
    long_ago: u64,
    shared: Vec<Block>,
    ours: Vec<Block>,
    theirs: Vec<Block>,
}

impl Story {
    /// Makes the chain in the folder, with a genesis that pays `payee`, and puts the folder on our
    /// branch.
    fn new(folder: &Folder, payee: &str) -> Self {
        let long_ago = now() - 100 * HOUR;
        let owner: Owner = payee.parse::<Address>().expect("an address").0;
        let params = ChainParams::new("settled", 0, 8).expect("parameters");
        let mut genesis =
            Network::genesis_to_mine(&params, owner, long_ago - 100 * HOUR).expect("parameters");
        mine(&mut genesis);
        let network = Network::from_genesis(genesis).expect("a genesis");
        Chain::create(&folder.path().join("chain.redb"), &network, ChainOptions::default())
            .expect("a chain");
        let forge = Forge::of(folder);
        let shared = old_blocks(&forge, &network.genesis.header, 2, 0);
        let fork = shared[1].header;
        let (ours, theirs) = (old_blocks(&forge, &fork, 7, 1), old_blocks(&forge, &fork, 10, 2));
        let story = Self { forge, long_ago, shared, ours, theirs };
        story.give_ours(folder);
        story
    }

    /// Connects the shared blocks and ours in a folder, long ago, and lets them settle.
    fn give_ours(&self, folder: &Folder) {
        feed(
            folder,
            &[&self.shared[..], &self.ours].concat(),
            self.long_ago,
            &BlockAccepted::Connected,
        );
        let path = folder.path().join("chain.redb");
        let mut chain = Chain::open(&path, ChainOptions::default()).expect("a chain");
        chain.attend(72 * HOUR);
        chain.commit().expect("a commit");
    }

    /// Connects the shared blocks and theirs in a folder, now.
    fn give_theirs(&self, folder: &Folder) {
        feed(folder, &[&self.shared[..], &self.theirs].concat(), now(), &BlockAccepted::Connected);
    }

    fn our_tip(&self) -> String {
        self.ours[6].hash().to_string()
    }

    fn their_tip(&self) -> String {
        self.theirs[9].hash().to_string()
    }
}

/// Makes blocks a second apart, long ago. The salt makes branches differ.
fn old_blocks(forge: &Forge, parent: &Header, count: usize, salt: u8) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for _ in 0..count {
        let parent = blocks.last().map_or(*parent, |block| block.header);
        let mut block = forge.unmined(&parent, crate::support::forge::SUBSIDY, Vec::new());
        block.transactions[0].memo.push(salt);
        block.header.time = parent.time + 1_000;
        commit(&mut block);
        mine(&mut block);
        blocks.push(block);
    }
    blocks
}

/// Connects blocks at a given time in a folder on which no node runs.
fn feed(folder: &Folder, blocks: &[Block], at: u64, expected: &BlockAccepted) {
    let mut chain =
        Chain::open(&folder.path().join("chain.redb"), ChainOptions::default()).expect("a chain");
    for block in blocks {
        let accepted = chain.accept_block(block.clone(), Origin::Local, at).expect("a good block");
        assert_eq!(&accepted, expected, "height {}", block.header.height);
    }
    chain.commit().expect("a commit");
}

/// Waits until a node is diverged and has all blocks of the other branch up to `theirs`.
#[track_caller]
fn await_diverged(node: &Node, theirs: &str) -> Value {
    eventually("the node is diverged, and has all of the other branch", || {
        let status = node.status();
        let branch = &status["diverged"];
        let whole = branch["theirs"]["tip"] == *theirs && branch["missing"] == 0;
        holds(status["phase"] == "diverged" && whole, &status)?;
        Ok(status)
    })
}

/// Checks that a diverged node's status describes both branches, for programs and for people.
fn assert_divergence_reported(story: &Story, node: &Node) {
    let status = await_diverged(node, &story.their_tip());
    let branch = &status["diverged"];
    assert_eq!(
        (&status["tip"], number(&status["height"])),
        (&branch["ours"]["tip"], 9),
        "{status}"
    );
    assert_eq!(branch["ours"]["tip"], story.our_tip(), "{status}");
    assert_eq!(
        (number(&branch["theirs"]["height"]), number(&branch["fork_height"])),
        (12, 2),
        "{status}"
    );
    assert_eq!(branch["fork"], story.shared[1].hash().to_string(), "{status}");
    assert_eq!(number(&branch["since"]), story.long_ago, "{status}");
    let spoken = node.folder.run(["status"]).done().stdout;
    for part in [
        "diverged",
        &story.our_tip(),
        &story.their_tip(),
        &format!("accept-branch {}", story.their_tip()),
    ] {
        assert!(spoken.contains(part), "{part} in {spoken}");
    }
}

/// Checks that a node refuses to accept blocks of its own branch and unknown ones.
fn assert_bad_branches_refused(story: &Story, folder: &Folder) {
    for (block, expected) in [
        (story.our_tip(), "own_branch"),
        (story.forge.network.to_string(), "own_branch"),
        ("ab".repeat(32), "unknown_block"),
    ] {
        let (code, message) = folder.refused(&["accept-branch", &block]);
        assert_eq!(code, expected, "{message}");
    }
}

#[test]
fn a_diverged_node_says_so_goes_on_and_takes_the_other_branch_when_told() {
    let net = TestNet::new();
    let (a, b) = (net.folder("yzw"), net.folder("yjf"));
    let yzw = a.new_address();
    let story = Story::new(&a, &yzw);
    b.join(&a);
    story.give_theirs(&b);
    assert_eq!((a.tip(), b.tip()), ((9, story.our_tip()), (12, story.their_tip())));
    let (code, message) = a.refused(&["accept-branch", &story.their_tip()]);
    assert_eq!(code, "not_diverged", "{message}");

    let one = a.start(&[]);
    let two = b.start_with_peers(&[&one]);
    assert_divergence_reported(&story, &one);
    eventually("the other node is synced", || {
        let status = two.status();
        holds(status["phase"] == "synced" && status["height"] == 12, &status)
    });

    // Both branches grow, and the node also stores new blocks of the other branch. It logs the
    // divergence only once.
    let newest = b.mine(3, Some(&yzw)).pop().expect("a block");
    await_diverged(&one, &newest);
    let trade = a.send(&yzw, &Forge::address(), "10");
    a.mine(1, Some(&yzw));
    assert_eq!(a.json(["tx", &trade])["state"], "mined");
    assert_eq!((a.tip().0, b.tip().0), (10, 15));
    assert_eq!(one.events_since(0, |event| event["event"] == "diverged").len(), 1);
    let (code, message) = a.refused(&["sync"]);
    assert_eq!(code, "diverged", "{message}");

    assert_bad_branches_refused(&story, &a);

    // The divergence follows from the stored blocks. It survives a restart, and is known while no
    // node runs.
    one.stop();
    let status = a.json(["status"]);
    assert_eq!(
        (&status["phase"], &status["diverged"]["theirs"]["tip"]),
        (&"diverged".into(), &newest.as_str().into())
    );
    let one = a.start_with_peers(&[&two]);
    await_diverged(&one, &newest);

    // Any block of the other branch identifies it.
    let accepted = a.json(["accept-branch", &story.theirs[2].hash().to_string()]);
    assert_eq!(accepted["tip"], newest, "{accepted}");
    assert_eq!(await_one_tip(&[&a, &b], 15), (15, newest));
    one.await_event("reunited", |event| event["height"] == 15);
    eventually("the node is synced", || {
        let status = one.status();
        holds(status["phase"] == "synced" && status["diverged"].is_null(), &status)
    });
    assert_eq!(a.refused(&["accept-branch", &story.their_tip()]).0, "not_diverged");

    // The trade that the other branch lacks returns to the mempool and is mined.
    assert_eq!(a.json(["tx", &trade])["state"], "mempool");
    a.mine(1, Some(&yzw));
    assert_eq!(await_one_tip(&[&a, &b], 16).0, 16);
    assert_eq!((a.count_of(&trade), b.count_of(&trade)), (1, 1));
    assert_eq!(a.assert_sound()["coins_hash"], b.assert_sound()["coins_hash"]);
}

#[test]
fn where_no_node_runs_the_folder_itself_takes_the_branch() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let story = Story::new(&folder, &folder.new_address());
    feed(&folder, &story.theirs, now(), &BlockAccepted::SideBranch);
    let status = folder.json(["status"]);
    assert_eq!(
        (&status["phase"], &status["running"]),
        (&"diverged".into(), &false.into()),
        "{status}"
    );
    let accepted = folder.json(["accept-branch", &story.their_tip()]);
    assert_eq!(accepted["tip"], story.their_tip(), "{accepted}");
    assert_eq!(folder.tip(), (12, story.their_tip()));
    assert_eq!(folder.json(["status"])["phase"], "alone");
    folder.assert_sound();
}

#[test]
fn friends_who_all_refuse_a_branch_keep_one_chain_of_their_own() {
    let net = TestNet::new();
    let [a, b, stranger] = ["yzw", "yjf", "stranger"].map(|id| net.folder(id));
    let yzw = a.new_address();
    let story = Story::new(&a, &yzw);
    for folder in [&b, &stranger] {
        folder.join(&a);
    }
    story.give_ours(&b);
    story.give_theirs(&stranger);
    let strong = stranger.start(&[]);
    let one = a.start_with_peers(&[&strong]);
    let two = b.start_with_peers(&[&strong, &one]);
    for node in [&one, &two] {
        await_diverged(node, &story.their_tip());
    }

    // A block that one of them mines reaches the other at once.
    a.mine(1, Some(&yzw));
    let (_, tip) = await_one_tip(&[&a, &b], 10);
    assert_ne!(tip, strong.status()["tip"]);
    // A friend who was away catches up.
    two.stop();
    a.mine(1, Some(&yzw));
    let two = b.start_with_peers(&[&strong, &one]);
    assert_eq!(await_one_tip(&[&a, &b], 11).0, 11);
    assert_eq!(two.status()["phase"], "diverged");

    // Once their own branch has the most work, the stranger follows it, since it has no settled
    // blocks yet.
    a.mine(2, Some(&yzw));
    assert_eq!(await_one_tip(&[&a, &b, &stranger], 13).0, 13);
    eventually("nobody is diverged", || {
        let phases = [&one, &two].map(|node| text(&node.status()["phase"]));
        holds(phases.iter().all(|phase| phase == "synced"), phases)
    });
}
