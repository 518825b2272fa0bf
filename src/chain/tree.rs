//! The header tree in memory: every header's height, parent, work and status; whole headers near the tip.
//!
//! Owned by [`Chain`](super::Chain); what changes here is also written to the headers table by its owner. Readers share
//! the map from hash to height alone, as a hint of where to look on the disk. Invariants:
//! - a node's parent is in the tree, and has a body when the node has one;
//! - a node below an invalid one is invalid;
//! - the connected nodes are a chain from genesis, the nodes with `on_best` another, and the last of this one is the
//!   header with the most work (of equals the lower hash) that is not invalid.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use super::store::{
    Status,
    tables::{BlockKey, HeaderRecord, block_key},
};
use crate::{
    consensus::Work,
    primitives::{BlockHash, Header, Height, UnixMillis},
};

/// Whole headers are kept in memory for this many of the last heights, 2 MB: enough for every difficulty window and any
/// reorganisation that is not extraordinary.
const WHOLE_HEADERS: Height = 20_000;

/// Headers beside the best header chain, at most: 7 MB of the disk for whoever does their work.
pub(crate) const MAX_SIDE_HEADERS: usize = 50_000;

/// How many are dropped at once when there are more, so that this is seldom.
const DROPPED_AT_ONCE: usize = MAX_SIDE_HEADERS / 10;

/// Where a node is in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(u32);

/// What is known of one header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) hash: BlockHash,
    /// None for the genesis.
    pub(crate) parent: Option<NodeId>,
    pub(crate) height: Height,
    /// Cumulative.
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

    /// Whether a chain that ends here beats one that ends there: more work, or as much and the lower hash.
    pub(crate) fn beats(&self, other: &Self) -> bool {
        (self.work, Reverse(self.hash)) > (other.work, Reverse(other.hash))
    }
}

/// The shared hint: from a hash to its node and height.
pub(crate) type HashIndex = Arc<RwLock<HashMap<BlockHash, (NodeId, Height)>>>;

/// The tree.
#[derive(Debug)]
pub(crate) struct HeaderTree {
    nodes: Vec<Node>,
    free: Vec<NodeId>,
    index: HashIndex,
    recent: HashMap<NodeId, Header>,
    best: NodeId,
    /// The connected chain by height.
    connected: Vec<NodeId>,
    side: usize,
}

impl HeaderTree {
    /// A tree of the genesis alone.
    pub(crate) fn new(genesis: &HeaderRecord) -> Self {
        let hash = genesis.header.hash();
        let id = NodeId(0);
        let node = Node {
            hash,
            parent: None,
            height: 0,
            work: genesis.work,
            status: Status::Connected,
            on_best: true,
            connected_at: genesis.connected_at,
            children: 0,
        };
        Self {
            nodes: vec![node],
            free: Vec::new(),
            index: Arc::new(RwLock::new(HashMap::from([(hash, (id, 0))]))),
            recent: HashMap::from([(id, genesis.header)]),
            best: id,
            connected: vec![id],
            side: 0,
        }
    }

    /// Adds a header as it was stored; parents come first. `None` when its parent is not here.
    pub(crate) fn restore(&mut self, hash: BlockHash, record: &HeaderRecord) -> Option<NodeId> {
        let parent = self.id(&record.header.previous)?;
        let id = self.insert(parent, hash, record);
        if record.status == Status::Connected {
            self.connected.push(id);
        }
        if record.on_best_headers {
            self.best = id;
        } else {
            self.side = self.side.saturating_add(1);
        }
        Some(id)
    }

    fn insert(&mut self, parent: NodeId, hash: BlockHash, record: &HeaderRecord) -> NodeId {
        let node = Node {
            hash,
            parent: Some(parent),
            height: record.header.height,
            work: record.work,
            status: record.status,
            on_best: record.on_best_headers,
            connected_at: record.connected_at,
            children: 0,
        };
        let id = match self.free.pop() {
            Some(id) => {
                *self.node_mut(id) = node;
                id
            }
            None => {
                let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
                self.nodes.push(node);
                id
            }
        };
        let above = self.node_mut(parent);
        above.children = above.children.saturating_add(1);
        self.index.write().unwrap_or_else(PoisonError::into_inner).insert(hash, (id, node.height));
        self.remember(id, record.header);
        id
    }

    /// Keeps a header whole while it is recent.
    fn remember(&mut self, id: NodeId, header: Header) {
        self.recent.insert(id, header);
        let limit = usize::try_from(WHOLE_HEADERS).unwrap_or(usize::MAX);
        if self.recent.len() > limit.saturating_add(limit / 5) {
            let lowest = self.node(self.best).height.saturating_sub(WHOLE_HEADERS);
            self.recent.retain(|_, header| header.height >= lowest);
        }
    }

    /// Adds a checked header; its work is its parent's and `work`.
    pub(crate) fn add(&mut self, parent: NodeId, hash: BlockHash, header: Header, work: Work) -> NodeId {
        let record = HeaderRecord {
            header,
            work: self.node(parent).work.saturating_add(work),
            status: Status::HeaderOnly,
            on_best_headers: false,
            connected_at: 0,
        };
        self.side = self.side.saturating_add(1);
        self.insert(parent, hash, &record)
    }

    /// The same tree, its hint moved into the map that readers share already.
    pub(crate) fn with_index(mut self, index: HashIndex) -> Self {
        let own = std::mem::take(&mut *self.index.write().unwrap_or_else(PoisonError::into_inner));
        *index.write().unwrap_or_else(PoisonError::into_inner) = own;
        self.index = index;
        self
    }

    /// The shared hint.
    pub(crate) const fn index(&self) -> &HashIndex {
        &self.index
    }

    /// The node of a hash.
    pub(crate) fn id(&self, hash: &BlockHash) -> Option<NodeId> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).get(hash).map(|(id, _)| *id)
    }

    /// A node. Ids are made here alone and always lead to one.
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    /// A header, while it is recent.
    pub(crate) fn recent(&self, id: NodeId) -> Option<&Header> {
        self.recent.get(&id)
    }

    /// The header with the most work that is not invalid.
    pub(crate) const fn best(&self) -> NodeId {
        self.best
    }

    /// The last connected node.
    pub(crate) fn tip(&self) -> NodeId {
        self.connected.last().copied().unwrap_or(NodeId(0))
    }

    /// The connected node at a height.
    pub(crate) fn connected_at(&self, height: Height) -> Option<NodeId> {
        self.connected.get(usize::try_from(height).ok()?).copied()
    }

    /// The nodes from one up to genesis, itself first.
    pub(crate) fn ancestors(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        std::iter::successors(Some(id), |id| self.node(*id).parent)
    }

    /// What it takes to make `id` the tip: the nodes to disconnect, last first, and those to connect, first first.
    pub(crate) fn path_to(&self, id: NodeId) -> (Vec<NodeId>, Vec<NodeId>) {
        let is_off = |id: &NodeId| self.node(*id).status != Status::Connected;
        let mut connect: Vec<_> = self.ancestors(id).take_while(is_off).collect();
        connect.reverse();
        let fork = connect.first().and_then(|first| self.node(*first).parent).unwrap_or(id);
        let kept = usize::try_from(self.node(fork).height).unwrap_or(usize::MAX).saturating_add(1);
        let disconnect = self.connected.iter().skip(kept).rev().copied().collect();
        (disconnect, connect)
    }

    /// Notes that a node's body is stored.
    pub(crate) fn set_stored(&mut self, id: NodeId) {
        self.node_mut(id).status = Status::Stored;
    }

    /// Takes the tip off the connected chain.
    pub(crate) fn pop_connected(&mut self) {
        if let Some(id) = self.connected.pop() {
            let node = self.node_mut(id);
            node.status = Status::Stored;
            node.connected_at = 0;
        }
    }

    /// Puts a child of the tip on the connected chain.
    pub(crate) fn push_connected(&mut self, id: NodeId, now: UnixMillis) {
        let node = self.node_mut(id);
        node.status = Status::Connected;
        node.connected_at = now;
        self.connected.push(id);
    }

    /// Marks a node and everything above it invalid; what was marked. None of it may be connected.
    pub(crate) fn invalidate(&mut self, id: NodeId) -> Vec<NodeId> {
        let mut marked = vec![id];
        let mut seen = HashSet::from([id]);
        let height = self.node(id).height;
        let mut above: Vec<_> = self.live().filter(|(_, node)| node.height > height).map(|(id, _)| id).collect();
        above.sort_unstable_by_key(|id| self.node(*id).height);
        for id in above {
            if self.node(id).parent.is_some_and(|parent| seen.contains(&parent)) {
                seen.insert(id);
                marked.push(id);
            }
        }
        for id in &marked {
            self.node_mut(*id).status = Status::Invalid;
        }
        marked
    }

    /// All nodes with their ids.
    fn live(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        let free: HashSet<_> = self.free.iter().copied().collect();
        (0u32..).map(NodeId).zip(&self.nodes).filter(move |(id, _)| !free.contains(id))
    }

    /// The valid header with the most work, looked for among all: after some were marked invalid.
    pub(crate) fn find_best(&self) -> NodeId {
        let valid = self.live().filter(|(_, node)| node.status != Status::Invalid);
        valid.fold(self.tip(), |best, (id, node)| if node.beats(self.node(best)) { id } else { best })
    }

    /// The stored or connected node with the most work.
    pub(crate) fn find_best_stored(&self) -> NodeId {
        let stored = self.live().filter(|(_, node)| node.status.has_body());
        stored.fold(self.tip(), |best, (id, node)| if node.beats(self.node(best)) { id } else { best })
    }

    /// Makes `id` the end of the best header chain; the nodes whose `on_best` changed.
    pub(crate) fn set_best(&mut self, id: NodeId) -> Vec<NodeId> {
        let joining: Vec<_> = self.ancestors(id).take_while(|id| !self.node(*id).on_best).collect();
        let fork = joining.last().map_or(Some(id), |last| self.node(*last).parent);
        let leaving: Vec<_> = self.ancestors(self.best).take_while(|id| Some(*id) != fork).collect();
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

    /// Drops whole branches with the least work when there are too many headers beside the best chain; their keys.
    pub(crate) fn drop_excess(&mut self) -> Vec<BlockKey> {
        if self.side <= MAX_SIDE_HEADERS {
            return Vec::new();
        }
        let wanted = MAX_SIDE_HEADERS.saturating_sub(DROPPED_AT_ONCE);
        let droppable = |node: &Node| node.children == 0 && !node.on_best && node.status != Status::Connected;
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
