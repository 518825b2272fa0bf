//! Tests of the header tree without a chain: choice, bounds and withheld headers.

use super::{bounds::DROPPED_AT_ONCE, *};
use crate::primitives::MerkleRoot;

/// Returns a header without proof of work, which the tree does not check.
fn header(previous: BlockHash, height: Height, nonce: u64) -> Header {
    Header { previous, merkle_root: MerkleRoot::ZERO, height, time: 0, bits: 0, nonce }
}

fn tree() -> HeaderTree {
    let header = header(BlockHash::ZERO, 0, 0);
    let status = Status::Connected;
    HeaderTree::new(&HeaderRecord {
        header,
        work: Work::from(1),
        status,
        on_best_headers: true,
        connected_at: 0,
    })
}

/// Adds a branch of `count` headers above `from`, each with `work`. Returns its last node.
fn grow(tree: &mut HeaderTree, from: NodeId, count: usize, nonce: u64, work: u64) -> NodeId {
    (0..count).fold(from, |parent, _| {
        let node = *tree.node(parent);
        let header = header(node.hash, node.height + 1, nonce);
        let id = tree.add(parent, header.hash(), header, Work::from(work));
        if tree.is_new_best(id) {
            tree.set_best(id);
        }
        id
    })
}

#[test]
fn the_best_header_is_the_end_of_the_heaviest_valid_branch() {
    let mut tree = tree();
    let genesis = tree.tip();
    let long = grow(&mut tree, genesis, 5, 1, 2);
    assert_eq!(tree.best(), long);
    let heavy = grow(&mut tree, genesis, 2, 2, 9);
    assert_eq!(tree.best(), heavy);
    assert!(tree.node(heavy).on_best && !tree.node(long).on_best);
    assert_eq!(tree.loose, 5);

    let first = tree.node(heavy).parent.expect("a parent");
    let marked = tree.invalidate(first);
    assert_eq!(marked, [first, heavy]);
    assert_eq!(tree.find_best(), long);
    let changed = tree.set_best(long);
    assert_eq!((changed.len(), tree.loose), (7, 2));
    assert_eq!(tree.id(&tree.node(long).hash), Some(long));
}

#[test]
fn too_many_side_headers_lose_the_branches_with_the_least_work() {
    let mut tree = tree();
    let genesis = tree.tip();
    let best = grow(&mut tree, genesis, 10, 1, u64::from(u32::MAX));
    let weak = grow(&mut tree, genesis, 3, 2, 1);
    let strong = grow(&mut tree, genesis, 3, 3, 1_000);
    let weak_hash = tree.node(weak).hash;
    grow(&mut tree, strong, MAX_SIDE_HEADERS - 6, 4, 1);
    assert_eq!(tree.drop_excess(None), Vec::<BlockKey>::new());
    let last = grow(&mut tree, genesis, 1, 5, 1);
    let last_hash = tree.node(last).hash;
    let dropped = tree.drop_excess(None);
    assert!(tree.loose <= MAX_SIDE_HEADERS && dropped.len() >= DROPPED_AT_ONCE);
    assert_eq!((tree.id(&weak_hash), tree.id(&last_hash)), (None, None));
    assert_eq!(tree.best(), best);
    let strong_hash = tree.node(strong).hash;
    assert_eq!(tree.id(&strong_hash), Some(strong), "a branch is dropped from its end");
}

#[test]
fn a_path_leaves_the_old_branch_and_joins_the_new_one() {
    let mut tree = tree();
    let genesis = tree.tip();
    let a = grow(&mut tree, genesis, 1, 1, 1);
    let b = grow(&mut tree, a, 1, 1, 1);
    for id in [a, b] {
        tree.set_stored(id);
        tree.push_connected(id, 7);
    }
    let c = grow(&mut tree, a, 2, 2, 1);
    let middle = tree.node(c).parent.expect("a parent");
    assert_eq!(tree.path_to(c), (vec![b], vec![middle, c]));
    assert_eq!(tree.path_to(b), (vec![], vec![]));
    tree.pop_connected();
    assert_eq!((tree.tip(), tree.node(b).status), (a, Status::Stored));
}

#[test]
fn what_is_withheld_leaves_the_choice_with_all_above_it_until_its_body_comes() {
    let mut tree = tree();
    let genesis = tree.tip();
    let ours = grow(&mut tree, genesis, 2, 1, 1);
    let theirs = grow(&mut tree, genesis, 5, 2, 1);
    let middle = tree.ancestor_at(theirs, 3).expect("an ancestor");
    let root = tree.ancestor_at(theirs, 1).expect("an ancestor");
    tree.withhold(middle);
    assert_eq!(tree.node(tree.find_best()).height, 2, "what is below it may still win");
    tree.withhold(root);
    assert_eq!(tree.find_best(), ours);
    tree.set_best(ours);
    let more = grow(&mut tree, theirs, 3, 2, 1);
    assert_eq!(tree.best(), ours, "nor does what comes above it later");
    assert!(!tree.release(middle), "a body below is missing still");
    assert_eq!(tree.find_best(), ours);
    assert!(tree.release(root));
    assert_eq!(tree.find_best(), more);
}

#[test]
fn withheld_headers_give_way_first_and_do_not_come_back_as_the_best() {
    let mut tree = tree();
    let genesis = tree.tip();
    let honest = grow(&mut tree, genesis, 3, 1, 1);
    let bodiless = grow(&mut tree, genesis, MAX_SIDE_HEADERS + 10, 2, 9);
    let root = tree.ancestor_at(bodiless, 1).expect("an ancestor");
    let first = *tree.recent(root).unwrap_or(&header(tree.node(genesis).hash, 1, 2));
    tree.withhold(root);
    let best = tree.find_best();
    tree.set_best(best);
    assert_eq!(best, honest);
    let dropped = tree.drop_excess(None);
    assert!(dropped.len() >= DROPPED_AT_ONCE && tree.loose <= MAX_SIDE_HEADERS);
    assert_eq!(tree.id(&tree.node(honest).hash), Some(honest), "of less work, and kept");
    // All of them are dropped, and the first one arrives again.
    for id in tree.branch(root).into_iter().rev() {
        tree.remove_end(id);
    }
    assert!(tree.loose == 0 && tree.shown == 0);
    let again = tree.add(genesis, first.hash(), first, Work::from(9_999));
    assert!(!tree.is_new_best(again));
}

#[test]
fn the_best_chain_and_shown_branches_are_bounded_and_not_dropped() {
    let mut tree = tree();
    let genesis = tree.tip();
    let limit = MAX_HEADERS_AHEAD - MAX_SIDE_HEADERS;
    let best = grow(&mut tree, genesis, limit - 20, 1, 5);
    let shown = grow(&mut tree, genesis, 20, 2, 1);
    assert!(tree.make_room(best));
    tree.set_shown(shown);
    assert_eq!((tree.loose, tree.shown), (20, 20));
    assert_eq!(tree.excess_ahead(), 0);
    // Of the shown branches, only the latest keeps its status.
    assert!(tree.make_room(best), "the other gives way");
    assert_eq!(tree.shown, 0);
    tree.set_shown(shown);
    assert!(!tree.make_room(shown));
    let next = grow(&mut tree, best, 1, 1, 5);
    assert_eq!(tree.excess_ahead(), 1);
    assert_eq!(tree.cut_best(tree.node(next).height - 1, 10).len(), 1);
    assert_eq!((tree.best(), tree.excess_ahead()), (best, 0));
    // Droppable headers have their own share, and are dropped before the shown ones.
    let side = grow(&mut tree, genesis, MAX_SIDE_HEADERS + 1, 3, 2);
    let side = tree.node(side).hash;
    assert!(!tree.drop_excess(None).is_empty());
    assert_eq!(tree.id(&side), None);
    assert_eq!(tree.id(&tree.node(shown).hash), Some(shown));
}
