//! The loader builds the header tree from the headers of a file.

use std::sync::PoisonError;

use super::{HeaderTree, NodeId, WHOLE_HEADERS};
use crate::{
    chain::store::{Status, tables::HeaderRecord},
    primitives::{BlockHash, Height},
};

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
            self.tree.follow_best(id);
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
