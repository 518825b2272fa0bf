//! `choice` selects the best header, and remembers the headers that are withheld.
//!
//! Between headers of equal work, the draw of [`is_better`](crate::consensus::is_better) decides.
//! The draw is not transitive, so the order of comparisons matters. A new block is compared with
//! the present best once, when its header arrives, and with the tip once, when its body arrives. A
//! search keeps the present best if that is among the best. Otherwise the tip comes first, and is
//! compared with the others in the order of their hashes.
//!
//! # Security
//! A header costs its miner as much as a block, but a chain cannot grow without its body. A header
//! whose body no peer delivers is therefore withheld with its descendants until the body arrives. A
//! peer that publishes only headers cannot keep this node waiting for them.

use std::collections::{HashSet, VecDeque};

use super::{HeaderTree, Node, NodeId};
use crate::{chain::store::Status, consensus::Work, primitives::BlockHash};

/// Maximum number of withheld headers that are remembered, the lowest of each branch: 64 kB.
///
/// They are remembered after the bounds have dropped them, so that the same headers do not become
/// the best ones again.
const MAX_HELD_ROOTS: usize = 1_024;

/// The headers whose bodies no peer delivered, the latest last.
#[derive(Debug, Default)]
pub(super) struct Withheld {
    known: HashSet<BlockHash>,
    order: VecDeque<BlockHash>,
}

impl Withheld {
    pub(super) fn contains(&self, hash: &BlockHash) -> bool {
        self.known.contains(hash)
    }

    fn insert(&mut self, hash: BlockHash) {
        if self.known.insert(hash) {
            self.order.push_back(hash);
        }
        if self.order.len() > MAX_HELD_ROOTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn remove(&mut self, hash: &BlockHash) {
        if self.known.remove(hash) {
            self.order.retain(|known| known != hash);
        }
    }
}

impl HeaderTree {
    /// True if a node may be the best header.
    fn is_eligible(node: &Node) -> bool {
        node.status != Status::Invalid && !node.held
    }

    /// True if a new node becomes the best header.
    pub(crate) fn is_new_best(&self, id: NodeId) -> bool {
        let node = self.node(id);
        Self::is_eligible(node) && node.beats(self.node(self.best))
    }

    /// True if the best header is stored and has no more work than the tip, so that the tip was
    /// preferred.
    pub(crate) fn is_best_refused(&self) -> bool {
        let (best, tip) = (self.node(self.best), self.node(self.tip()));
        best.hash != tip.hash && best.work == tip.work && best.status.has_body()
    }

    /// Searches all nodes for the best header.
    pub(crate) fn find_best(&self) -> NodeId {
        let eligible = || self.live().filter(|(_, node)| Self::is_eligible(node));
        let most = eligible().map(|(_, node)| node.work).max().unwrap_or(Work::ZERO);
        let mut equals: Vec<_> =
            eligible().filter(|(_, node)| node.work == most).map(|(id, _)| id).collect();
        let tip = self.tip();
        let best = if equals.contains(&self.best) {
            self.best
        } else {
            equals.sort_unstable_by_key(|id| (*id != tip, self.node(*id).hash));
            self.best_of(equals.into_iter()).unwrap_or(tip)
        };
        let (found, ours) = (self.node(best), self.node(tip));
        if found.work == ours.work && found.status.has_body() { tip } else { best }
    }

    /// Withholds a header without a body, and its descendants, from the choice of the best header.
    pub(crate) fn withhold(&mut self, id: NodeId) {
        self.withheld.insert(self.node(id).hash);
        for id in self.branch(id) {
            self.change(id, |node| {
                node.held = true;
                node.shown = false;
            });
        }
    }

    /// True if a withheld node is on a branch with more work than the tip, so that its body is
    /// wanted.
    pub(crate) fn is_held_winner(&self, id: NodeId) -> bool {
        self.node(id).held && self.node(self.best_above(id)).work > self.node(self.tip()).work
    }

    /// Ends the withholding of a header whose body has arrived. Returns true if any node became
    /// eligible again.
    pub(crate) fn release(&mut self, id: NodeId) -> bool {
        let node = *self.node(id);
        self.withheld.remove(&node.hash);
        let is_held = |id: Option<NodeId>| id.is_some_and(|id| self.node(id).held);
        if !node.held || is_held(node.parent) {
            return false;
        }
        for id in self.branch(id) {
            let node = *self.node(id);
            let parent = node.parent.is_some_and(|parent| self.node(parent).held);
            let held = parent || self.withheld.contains(&node.hash);
            self.change(id, |node| node.held = held);
        }
        true
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

    pub(super) fn best_of(&self, nodes: impl Iterator<Item = NodeId>) -> Option<NodeId> {
        nodes.reduce(|best, id| if self.node(id).beats(self.node(best)) { id } else { best })
    }

    /// Makes `id` the best header if it is a child of the current one; returns false otherwise.
    /// This is the fast path of [`HeaderTree::set_best`].
    pub(crate) fn extend_best(&mut self, id: NodeId) -> bool {
        let extends = self.node(id).parent == Some(self.best);
        if extends {
            self.change(id, |node| node.on_best = true);
            self.best = id;
            self.best_chain.push(id);
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
            self.change(*id, |node| node.on_best = true);
        }
        for id in &leaving {
            self.change(*id, |node| node.on_best = false);
        }
        self.best = id;
        self.follow_best(id);
        [leaving, joining].concat()
    }
}
