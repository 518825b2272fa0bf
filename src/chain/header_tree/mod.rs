//! `header_tree` keeps the header tree in memory for [`Chain`](super::Chain): height, parent, work
//! and status of every header, and complete headers near the tip.
//!
//! [`Chain`](super::Chain) owns the tree and writes its changes to the headers table. Readers share
//! only the map from hash to height, as a hint for lookups on disk.
//!
//! `choice.rs` selects the best header and remembers the withheld ones. `bounds.rs` bounds the
//! headers that are not connected. `loader.rs` builds the tree from a file. `missing.rs` lists the
//! bodies that the best header chain lacks.
//!
//! # Invariants
//! - A node's parent is in the tree. If the node has a body, so has its parent.
//! - All descendants of an invalid node are invalid, and all of a withheld node are withheld.
//! - The connected nodes form a chain from genesis, and so do the nodes with `on_best`.
//! - The last node with `on_best` has the most work of all nodes that are neither invalid nor
//!   withheld.

mod bounds;
mod choice;
mod loader;
mod missing;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
};

pub(crate) use bounds::{MAX_HEADERS_AHEAD, MAX_SIDE_BYTES, MAX_SIDE_HEADERS};
use choice::Withheld;
pub(crate) use loader::TreeLoader;

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

/// The index of a node in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(u32);

/// One header in the tree, with its status.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent, and packed in one word")]
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
    /// True if the header or one below it is withheld from the choice of the best header.
    held: bool,
    /// True if it is on a branch that was shown to have more work than the tip.
    shown: bool,
    /// False for a slot whose header was dropped.
    in_use: bool,
    children: u32,
}

impl Node {
    fn new(hash: BlockHash, parent: Option<NodeId>, record: &HeaderRecord) -> Self {
        Self {
            hash,
            parent,
            height: record.header.height,
            time: record.header.time,
            bits: record.header.bits,
            work: record.work,
            status: record.status,
            on_best: record.on_best_headers,
            connected_at: record.connected_at,
            held: false,
            shown: false,
            in_use: true,
            children: 0,
        }
    }

    /// True if the node is neither connected nor on the best header chain.
    const fn is_loose(&self) -> bool {
        self.in_use && !self.on_best && !matches!(self.status, Status::Connected)
    }

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
    /// Nodes of the best header chain by height.
    best_chain: Vec<NodeId>,
    /// Connected nodes by height.
    connected: Vec<NodeId>,
    /// Number of nodes that are neither connected nor on the best header chain.
    loose: usize,
    /// Number of those that are on a branch that was shown to have more work than the tip.
    shown: usize,
    withheld: Withheld,
    /// Maximum number of unconnected headers that are not dropped.
    pub(crate) most_ahead: usize,
}

impl HeaderTree {
    /// Creates a tree that contains only the genesis.
    pub(crate) fn new(genesis: &HeaderRecord) -> Self {
        let hash = genesis.header.hash();
        let id = NodeId(0);
        let node = Node { height: 0, ..Node::new(hash, None, genesis) };
        let node = Node { status: Status::Connected, on_best: true, ..node };
        Self {
            nodes: vec![node],
            free: Vec::new(),
            index: Arc::new(RwLock::new(KeyMap::from_iter([(hash, (id, 0))]))),
            recent: KeyMap::from_iter([(id, genesis.header)]),
            best: id,
            best_chain: vec![id],
            connected: vec![id],
            loose: 0,
            shown: 0,
            withheld: Withheld::default(),
            most_ahead: MAX_HEADERS_AHEAD.saturating_sub(MAX_SIDE_HEADERS),
        }
    }

    /// Adds a node without adding it to the index.
    fn grow(&mut self, parent: NodeId, hash: BlockHash, record: &HeaderRecord) -> NodeId {
        let node = Node::new(hash, Some(parent), record);
        self.loose = self.loose.saturating_add(usize::from(node.is_loose()));
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
            if self.recent.len() > limit {
                // There are many branches at the same heights. The disk has their headers too.
                self.recent.clear();
            }
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
        let id = self.grow(parent, hash, &record);
        let held = self.node(parent).held || self.withheld.contains(&hash);
        self.node_mut(id).held = held;
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

    /// Changes a node, and keeps the counts of loose nodes right.
    fn change(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        let counted = |node: &Node| {
            (usize::from(node.is_loose()), usize::from(node.is_loose() && node.shown))
        };
        let node = self.node_mut(id);
        let (loose, shown) = counted(node);
        change(node);
        let (is_loose, is_shown) = counted(node);
        self.loose = self.loose.saturating_add(is_loose).saturating_sub(loose);
        self.shown = self.shown.saturating_add(is_shown).saturating_sub(shown);
    }

    /// Returns a complete header if it is still in memory.
    pub(crate) fn recent(&self, id: NodeId) -> Option<&Header> {
        self.recent.get(&id)
    }

    /// Returns the header with the most work that is neither invalid nor withheld.
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

    /// Returns the ancestor of a node at a height, or the node itself; `None` above the node.
    pub(crate) fn ancestor_at(&self, id: NodeId, height: Height) -> Option<NodeId> {
        let is_end = |id: &NodeId| {
            let node = self.node(*id);
            node.height <= height || node.status == Status::Connected
        };
        let end = self.ancestors(id).find(is_end)?;
        let end_height = self.node(end).height;
        match self.node(end).status {
            Status::Connected if end_height > height => self.connected_at(height),
            _ => (end_height == height).then_some(end),
        }
    }

    pub(crate) fn set_stored(&mut self, id: NodeId) {
        self.change(id, |node| node.status = Status::Stored);
    }

    /// Removes the tip from the connected chain.
    pub(crate) fn pop_connected(&mut self) {
        if let Some(id) = self.connected.pop() {
            self.change(id, |node| {
                node.status = Status::Stored;
                node.connected_at = 0;
            });
        }
    }

    /// Appends a child of the tip to the connected chain.
    pub(crate) fn push_connected(&mut self, id: NodeId, now: UnixMillis) {
        self.change(id, |node| {
            node.status = Status::Connected;
            node.connected_at = now;
        });
        self.connected.push(id);
    }

    /// Marks a node and its descendants invalid and returns them. None of them may be connected.
    pub(crate) fn invalidate(&mut self, id: NodeId) -> Vec<NodeId> {
        let marked = self.branch(id);
        for id in &marked {
            self.change(*id, |node| node.status = Status::Invalid);
        }
        marked
    }

    /// Marks the stored bodies of a node and its descendants as missing and returns the changed
    /// nodes. None of them may be connected.
    pub(crate) fn forget_bodies(&mut self, id: NodeId) -> Vec<NodeId> {
        let mut marked = self.branch(id);
        marked.retain(|id| self.node(*id).status == Status::Stored);
        for id in &marked {
            self.change(*id, |node| node.status = Status::HeaderOnly);
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
        (0u32..).map(NodeId).zip(&self.nodes).filter(|(_, node)| node.in_use)
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
            let beats_best = is_valid && !node.held && node.work > self.node(self.best).work;
            follows && !beats_best && node.on_best == best.contains(&id)
        };
        self.live().find(|(id, node)| !is_true(*id, node)).map(|(id, _)| id)
    }
}
