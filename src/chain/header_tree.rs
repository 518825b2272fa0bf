//! `header_tree` keeps the header tree in memory for [`Chain`](super::Chain): height, parent, work
//! and status of every header, and complete headers near the tip.
//!
//! [`Chain`](super::Chain) owns the tree and writes its changes to the headers table. Readers share
//! only the map from hash to height, as a hint for lookups on disk.
//!
//! # Invariants
//! - A node's parent is in the tree. If the node has a body, so has its parent.
//! - All descendants of an invalid node are invalid.
//! - The connected nodes form a chain from genesis, and so do the nodes with `on_best`.
//! - The last node with `on_best` is the header with the most work that is not invalid. On equal
//!   work, the lower hash wins.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use super::{
    key_map::KeyMap,
    store::{
        Status,
        tables::{BlockKey, HeaderRecord, block_key},
    },
};
use crate::{
    consensus::{Target, Work, is_better},
    primitives::{BlockHash, Header, Height, UnixMillis},
};

/// Minimum number of recent heights whose complete headers stay in memory.
///
/// At most twice as many headers (4 MB) are kept. They cover the nodes whose status still changes.
/// Older headers are read from disk when their record must be rewritten.
const WHOLE_HEADERS: Height = 20_000;

/// Maximum number of headers off the best header chain: 7 MB of disk that an attacker can fill by
/// doing their work.
pub(crate) const MAX_SIDE_HEADERS: usize = 50_000;

/// Depth below our tip, in blocks, whose work a side branch must reach for its bodies to be stored.
///
/// An attacker who wants to fill the disk must therefore do as much work as for blocks that could
/// still win.
const SIDE_DEPTH: Height = 144;

/// Maximum size of all bodies off the best chain, in bytes: 128 full blocks.
pub(crate) const MAX_SIDE_BYTES: usize = 256 * 1024 * 1024;

/// Number of headers dropped at once when [`MAX_SIDE_HEADERS`] is exceeded, so that the search for
/// them is rare.
const DROPPED_AT_ONCE: usize = MAX_SIDE_HEADERS / 10;

/// The index of a node in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(u32);

/// One header in the tree, with its status.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) hash: BlockHash,
    /// `None` only for the genesis.
    pub(crate) parent: Option<NodeId>,
    pub(crate) height: Height,
    /// The header's time; the difficulty rule needs it together with `bits`.
    pub(crate) time: UnixMillis,
    pub(crate) bits: u32,
    pub(crate) work: Work,
    pub(crate) status: Status,
    pub(crate) on_best: bool,
    pub(crate) connected_at: UnixMillis,
    children: u32,
}

impl Node {
    pub(crate) fn key(&self) -> BlockKey {
        block_key(self.height, &self.hash)
    }

    /// True if the chain that ends at this node is better than the one that ends at `other`: more
    /// work, or equal work and the better draw.
    pub(crate) fn beats(&self, other: &Self) -> bool {
        is_better((self.work, &self.hash), (other.work, &other.hash))
    }
}

/// The map from a hash to its node and height. Readers share it as a hint for lookups on disk.
pub(crate) type HashIndex = Arc<RwLock<KeyMap<BlockHash, (NodeId, Height)>>>;

#[derive(Debug)]
pub(crate) struct HeaderTree {
    nodes: Vec<Node>,
    /// Slots of `nodes` whose header was dropped.
    free: Vec<NodeId>,
    index: HashIndex,
    /// Complete headers of recent heights.
    recent: KeyMap<NodeId, Header>,
    /// The last node of the best header chain.
    best: NodeId,
    /// Connected nodes by height.
    connected: Vec<NodeId>,
    /// Number of nodes off the best header chain.
    side: usize,
}

impl HeaderTree {
    /// Creates a tree that contains only the genesis.
    pub(crate) fn new(genesis: &HeaderRecord) -> Self {
        let hash = genesis.header.hash();
        let id = NodeId(0);
        let node = Node {
            hash,
            parent: None,
            height: 0,
            time: genesis.header.time,
            bits: genesis.header.bits,
            work: genesis.work,
            status: Status::Connected,
            on_best: true,
            connected_at: genesis.connected_at,
            children: 0,
        };
        Self {
            nodes: vec![node],
            free: Vec::new(),
            index: Arc::new(RwLock::new(KeyMap::from_iter([(hash, (id, 0))]))),
            recent: KeyMap::from_iter([(id, genesis.header)]),
            best: id,
            connected: vec![id],
            side: 0,
        }
    }

    /// Adds a node without adding it to the index.
    fn grow(&mut self, parent: NodeId, hash: BlockHash, record: &HeaderRecord) -> NodeId {
        let node = Node {
            hash,
            parent: Some(parent),
            height: record.header.height,
            time: record.header.time,
            bits: record.header.bits,
            work: record.work,
            status: record.status,
            on_best: record.on_best_headers,
            connected_at: record.connected_at,
            children: 0,
        };
        let id = if let Some(id) = self.free.pop() {
            *self.node_mut(id) = node;
            id
        } else {
            let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
            self.nodes.push(node);
            id
        };
        let above = self.node_mut(parent);
        above.children = above.children.saturating_add(1);
        id
    }

    /// Stores a complete header until it is no longer recent.
    fn remember(&mut self, id: NodeId, header: Header) {
        self.recent.insert(id, header);
        let limit = usize::try_from(WHOLE_HEADERS).unwrap_or(usize::MAX);
        if self.recent.len() > limit.saturating_mul(2) {
            let lowest = self.node(self.best).height.saturating_sub(WHOLE_HEADERS);
            self.recent.retain(|_, header| header.height >= lowest);
        }
    }

    /// Adds a checked header whose own work is `work`.
    pub(crate) fn add(
        &mut self,
        parent: NodeId,
        hash: BlockHash,
        header: Header,
        work: Work,
    ) -> NodeId {
        let record = HeaderRecord {
            header,
            work: self.node(parent).work.saturating_add(work),
            status: Status::HeaderOnly,
            on_best_headers: false,
            connected_at: 0,
        };
        self.side = self.side.saturating_add(1);
        let id = self.grow(parent, hash, &record);
        self.index
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(hash, (id, header.height));
        self.remember(id, header);
        id
    }

    /// Moves this tree's index into `index`, the map that readers already share.
    pub(crate) fn with_index(mut self, index: HashIndex) -> Self {
        let own = std::mem::take(&mut *self.index.write().unwrap_or_else(PoisonError::into_inner));
        *index.write().unwrap_or_else(PoisonError::into_inner) = own;
        self.index = index;
        self
    }

    pub(crate) const fn index(&self) -> &HashIndex {
        &self.index
    }

    /// Returns the node of a hash.
    pub(crate) fn id(&self, hash: &BlockHash) -> Option<NodeId> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).get(hash).map(|(id, _)| *id)
    }

    /// Returns the node of an id. Only this tree creates ids, and every id has a node.
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    /// Returns a complete header if it is still in memory.
    pub(crate) fn recent(&self, id: NodeId) -> Option<&Header> {
        self.recent.get(&id)
    }

    /// Returns the header with the most work that is not invalid.
    pub(crate) const fn best(&self) -> NodeId {
        self.best
    }

    pub(crate) fn tip(&self) -> NodeId {
        self.connected.last().copied().unwrap_or(NodeId(0))
    }

    /// Returns the connected nodes by height.
    pub(crate) fn connected(&self) -> &[NodeId] {
        &self.connected
    }

    /// Returns the connected node at a height.
    pub(crate) fn connected_at(&self, height: Height) -> Option<NodeId> {
        self.connected.get(usize::try_from(height).ok()?).copied()
    }

    /// Returns the cumulative work that a block off the best header chain needs to be stored.
    pub(crate) fn least_side_work(&self) -> Work {
        let height = self.node(self.tip()).height.saturating_sub(SIDE_DEPTH);
        self.connected_at(height).map_or(Work::ZERO, |id| self.node(id).work)
    }

    /// Returns the nodes with stored bodies that are on neither best chain, of blocks or headers.
    ///
    /// The order is that of deletion: descendants before ancestors, otherwise the least work first.
    pub(crate) fn side_bodies(&self) -> Vec<NodeId> {
        let is_side = |node: &Node| node.status == Status::Stored && !node.on_best;
        let mut above: KeyMap<NodeId, usize> = KeyMap::default();
        let side = || self.live().filter(|(_, node)| is_side(node));
        for parent in side().filter_map(|(_, node)| node.parent) {
            let count = above.entry(parent).or_default();
            *count = count.saturating_add(1);
        }
        let ends = side().filter(|(id, _)| !above.contains_key(id));
        let mut ends: BinaryHeap<_> = ends.map(|(id, node)| Reverse((node.work, id))).collect();
        let mut order = Vec::new();
        while let Some(Reverse((_, id))) = ends.pop() {
            order.push(id);
            let Some(parent) = self.node(id).parent.filter(|parent| is_side(self.node(*parent)))
            else {
                continue;
            };
            let Some(count) = above.get_mut(&parent) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                ends.push(Reverse((self.node(parent).work, parent)));
            }
        }
        order
    }

    /// Iterates over a node and its ancestors, from the node back to genesis.
    pub(crate) fn ancestors(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        std::iter::successors(Some(id), |id| self.node(*id).parent)
    }

    /// Returns the steps that make `id` the tip: the nodes to disconnect, highest first, and the
    /// nodes to connect, lowest first.
    pub(crate) fn path_to(&self, id: NodeId) -> (Vec<NodeId>, Vec<NodeId>) {
        let is_off = |id: &NodeId| self.node(*id).status != Status::Connected;
        let mut connect: Vec<_> = self.ancestors(id).take_while(is_off).collect();
        connect.reverse();
        let fork = connect.first().and_then(|first| self.node(*first).parent).unwrap_or(id);
        let kept = usize::try_from(self.node(fork).height).unwrap_or(usize::MAX).saturating_add(1);
        let disconnect = self.connected.iter().skip(kept).rev().copied().collect();
        (disconnect, connect)
    }

    pub(crate) fn set_stored(&mut self, id: NodeId) {
        self.node_mut(id).status = Status::Stored;
    }

    /// Removes the tip from the connected chain.
    pub(crate) fn pop_connected(&mut self) {
        if let Some(id) = self.connected.pop() {
            let node = self.node_mut(id);
            node.status = Status::Stored;
            node.connected_at = 0;
        }
    }

    /// Appends a child of the tip to the connected chain.
    pub(crate) fn push_connected(&mut self, id: NodeId, now: UnixMillis) {
        let node = self.node_mut(id);
        node.status = Status::Connected;
        node.connected_at = now;
        self.connected.push(id);
    }

    /// Marks a node and its descendants invalid and returns them. None of them may be connected.
    pub(crate) fn invalidate(&mut self, id: NodeId) -> Vec<NodeId> {
        let marked = self.branch(id);
        for id in &marked {
            self.node_mut(*id).status = Status::Invalid;
        }
        marked
    }

    /// Marks the stored bodies of a node and its descendants as missing and returns the changed
    /// nodes. None of them may be connected.
    pub(crate) fn forget_bodies(&mut self, id: NodeId) -> Vec<NodeId> {
        let mut marked = self.branch(id);
        marked.retain(|id| self.node(*id).status == Status::Stored);
        for id in &marked {
            self.node_mut(*id).status = Status::HeaderOnly;
        }
        marked
    }

    /// Returns the time at which the most recent block was connected, in unix ms.
    pub(crate) fn last_connection(&self) -> UnixMillis {
        self.live().map(|(_, node)| node.connected_at).max().unwrap_or(0)
    }

    /// Returns a node and its descendants, parents first.
    fn branch(&self, id: NodeId) -> Vec<NodeId> {
        let mut branch = vec![id];
        let mut seen = HashSet::from([id]);
        let height = self.node(id).height;
        let mut above: Vec<_> =
            self.live().filter(|(_, node)| node.height > height).map(|(id, _)| id).collect();
        above.sort_unstable_by_key(|id| self.node(*id).height);
        for id in above {
            if self.node(id).parent.is_some_and(|parent| seen.contains(&parent)) {
                seen.insert(id);
                branch.push(id);
            }
        }
        branch
    }

    /// Iterates over all nodes that are in use, with their ids.
    fn live(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        let free: HashSet<_> = self.free.iter().copied().collect();
        (0u32..).map(NodeId).zip(&self.nodes).filter(move |(id, _)| !free.contains(id))
    }

    /// Searches all nodes for the valid header with the most work.
    pub(crate) fn find_best(&self) -> NodeId {
        let valid = self.live().filter(|(_, node)| node.status != Status::Invalid);
        valid.fold(
            self.tip(),
            |best, (id, node)| if node.beats(self.node(best)) { id } else { best },
        )
    }

    /// Searches all nodes for the stored or connected one with the most work.
    pub(crate) fn find_best_stored(&self) -> NodeId {
        let stored = self.live().filter(|(_, node)| node.status.has_body());
        stored.fold(
            self.tip(),
            |best, (id, node)| if node.beats(self.node(best)) { id } else { best },
        )
    }

    /// Searches for the best node with a body and a connection time. It is the tip, except while
    /// the chain is being rebuilt.
    pub(crate) fn find_best_once_connected(&self) -> NodeId {
        let connected =
            self.live().filter(|(_, node)| node.status.has_body() && node.connected_at > 0);
        self.best_of(connected.map(|(id, _)| id)).unwrap_or_else(|| self.tip())
    }

    /// Returns the best node with a body among a node and its descendants.
    pub(crate) fn best_stored_above(&self, id: NodeId) -> Option<NodeId> {
        self.best_of(self.branch(id).into_iter().filter(|id| self.node(*id).status.has_body()))
    }

    /// Returns the best valid node among a valid node and its descendants.
    pub(crate) fn best_above(&self, id: NodeId) -> NodeId {
        self.best_of(
            self.branch(id).into_iter().filter(|id| self.node(*id).status != Status::Invalid),
        )
        .unwrap_or(id)
    }

    fn best_of(&self, nodes: impl Iterator<Item = NodeId>) -> Option<NodeId> {
        nodes.reduce(|best, id| if self.node(id).beats(self.node(best)) { id } else { best })
    }

    /// Makes `id` the best header if it is a child of the current one; returns false otherwise.
    /// This is the fast path of [`HeaderTree::set_best`].
    pub(crate) fn extend_best(&mut self, id: NodeId) -> bool {
        let extends = self.node(id).parent == Some(self.best);
        if extends {
            self.node_mut(id).on_best = true;
            self.side = self.side.saturating_sub(1);
            self.best = id;
        }
        extends
    }

    /// Makes `id` the end of the best header chain and returns the nodes whose `on_best` changed.
    pub(crate) fn set_best(&mut self, id: NodeId) -> Vec<NodeId> {
        let joining: Vec<_> = self.ancestors(id).take_while(|id| !self.node(*id).on_best).collect();
        let fork = joining.last().map_or(Some(id), |last| self.node(*last).parent);
        let leaving: Vec<_> =
            self.ancestors(self.best).take_while(|id| Some(*id) != fork).collect();
        for id in &joining {
            self.node_mut(*id).on_best = true;
        }
        for id in &leaving {
            self.node_mut(*id).on_best = false;
        }
        self.side = self.side.saturating_add(leaving.len()).saturating_sub(joining.len());
        self.best = id;
        [leaving, joining].concat()
    }

    /// Searches for a node with an inconsistent record; one exists only if the file is damaged.
    ///
    /// A record is inconsistent if its work is not the sum of its parent's work and its own, if it
    /// is valid on an invalid parent, or if its `on_best` is wrong.
    pub(crate) fn misfit(&self) -> Option<NodeId> {
        let best: HashSet<_> = self.ancestors(self.best).collect();
        let is_true = |id: NodeId, node: &Node| {
            let is_valid = node.status != Status::Invalid;
            let follows = node.parent.is_none_or(|parent| {
                let (parent, target) = (self.node(parent), Target::from_compact(node.bits));
                let adds_up = target
                    .is_ok_and(|target| node.work == parent.work.saturating_add(target.work()));
                adds_up && (parent.status != Status::Invalid || !is_valid)
            });
            let beats_best = is_valid && node.beats(self.node(self.best));
            follows && !beats_best && node.on_best == best.contains(&id)
        };
        self.live().find(|(id, node)| !is_true(*id, node)).map(|(id, _)| id)
    }

    /// Drops headers from the ends of the branches with the least work if there are more than
    /// [`MAX_SIDE_HEADERS`]. Returns the keys of the dropped headers.
    pub(crate) fn drop_excess(&mut self) -> Vec<BlockKey> {
        if self.side <= MAX_SIDE_HEADERS {
            return Vec::new();
        }
        let wanted = MAX_SIDE_HEADERS.saturating_sub(DROPPED_AT_ONCE);
        let droppable =
            |node: &Node| node.children == 0 && !node.on_best && node.status != Status::Connected;
        let leaves = self.live().filter(|(_, node)| droppable(node));
        let mut leaves: BinaryHeap<_> = leaves.map(|(id, node)| Reverse((node.work, id))).collect();
        let mut dropped = Vec::new();
        while self.side > wanted {
            let Some(Reverse((_, id))) = leaves.pop() else { break };
            let node = *self.node(id);
            dropped.push(node.key());
            self.index.write().unwrap_or_else(PoisonError::into_inner).remove(&node.hash);
            self.recent.remove(&id);
            self.free.push(id);
            self.side = self.side.saturating_sub(1);
            if let Some(parent) = node.parent {
                let above = self.node_mut(parent);
                above.children = above.children.saturating_sub(1);
                let above = *self.node(parent);
                if droppable(&above) {
                    leaves.push(Reverse((above.work, parent)));
                }
            }
        }
        dropped
    }
}

/// A builder that creates the tree from stored headers, parents first.
///
/// The nodes are added to the index in one separate loop. The processor can then overlap the cache
/// misses of the large table, which halves the time.
#[derive(Debug)]
pub(crate) struct TreeLoader {
    tree: HeaderTree,
    /// Number of nodes that are already in the index.
    indexed: usize,
    /// The lowest height whose complete headers stay in memory.
    whole_from: Height,
}

impl TreeLoader {
    /// Starts with the genesis. `best` is the expected height of the best header, `count` the
    /// expected number of headers.
    pub(crate) fn new(genesis: &HeaderRecord, best: Height, count: usize) -> Self {
        let mut tree = HeaderTree::new(genesis);
        tree.nodes.reserve(count);
        tree.index.write().unwrap_or_else(PoisonError::into_inner).reserve(count);
        Self { tree, indexed: 1, whole_from: best.saturating_sub(WHOLE_HEADERS) }
    }

    /// Adds a stored header; `None` if its parent is unknown.
    pub(crate) fn add(&mut self, hash: BlockHash, record: &HeaderRecord) -> Option<()> {
        let previous = &record.header.previous;
        let last = NodeId(u32::try_from(self.tree.nodes.len()).ok()?.checked_sub(1)?);
        // The parent is almost always the header added last.
        let parent = if self.tree.node(last).hash == *previous {
            last
        } else {
            self.index();
            self.tree.id(previous)?
        };
        let id = self.tree.grow(parent, hash, record);
        if record.header.height >= self.whole_from {
            self.tree.remember(id, record.header);
        }
        if record.status == Status::Connected {
            self.tree.connected.push(id);
        }
        if record.on_best_headers {
            self.tree.best = id;
        } else {
            self.tree.side = self.tree.side.saturating_add(1);
        }
        Some(())
    }

    /// Adds the nodes to the index that are not in it yet.
    fn index(&mut self) {
        let HeaderTree { nodes, index, .. } = &self.tree;
        let new = (0u32..).map(NodeId).zip(nodes).skip(self.indexed);
        let mut index = index.write().unwrap_or_else(PoisonError::into_inner);
        index.extend(new.map(|(id, node)| (node.hash, (id, node.height))));
        self.indexed = nodes.len();
    }

    pub(crate) fn finish(mut self) -> HeaderTree {
        self.index();
        self.tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            if tree.node(id).beats(tree.node(tree.best())) {
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
        assert_eq!(tree.side, 5);

        let first = tree.node(heavy).parent.expect("a parent");
        let marked = tree.invalidate(first);
        assert_eq!(marked, [first, heavy]);
        assert_eq!(tree.find_best(), long);
        let changed = tree.set_best(long);
        assert_eq!((changed.len(), tree.side), (7, 2));
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
        assert_eq!(tree.drop_excess(), Vec::<BlockKey>::new());
        let last = grow(&mut tree, genesis, 1, 5, 1);
        let last_hash = tree.node(last).hash;
        let dropped = tree.drop_excess();
        assert!(tree.side <= MAX_SIDE_HEADERS && dropped.len() >= DROPPED_AT_ONCE);
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
}
