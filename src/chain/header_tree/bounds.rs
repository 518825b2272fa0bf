//! `bounds` limits the headers that are not connected, and decides which are dropped.
//!
//! There are two shares. *Droppable* headers are neither on the best header chain nor on a branch
//! that was shown to have more work than the tip. They are dropped from the ends of their branches:
//! withheld ones first, then those with the least work. The other share holds the best header chain
//! beyond the connected blocks, and the branches that were shown to have more work. None of these
//! is dropped. When their share is full, more headers are rejected until bodies connect.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
    sync::PoisonError,
};

use super::{HeaderTree, Node, NodeId};
use crate::{
    chain::{
        key_map::KeyMap,
        store::{Status, tables::BlockKey},
    },
    consensus::Work,
    primitives::Height,
};

/// Maximum number of headers that are not connected, on all branches: about 60 MiB of memory and
/// 50 MB of disk that an attacker can fill by doing their work.
pub(crate) const MAX_HEADERS_AHEAD: usize = 262_144;

/// Maximum number of these that are neither on the best header chain nor on a branch that was shown
/// to have more work than the tip.
pub(crate) const MAX_SIDE_HEADERS: usize = 50_000;

/// Depth below our tip, in blocks, whose work a branch must reach for its headers and bodies to be
/// stored.
///
/// An attacker who wants to fill the disk must therefore do as much work as for blocks that could
/// still win.
const SIDE_DEPTH: Height = 144;

/// Maximum size of all bodies off the best chain, in bytes: 128 full blocks.
pub(crate) const MAX_SIDE_BYTES: usize = 256 * 1024 * 1024;

/// Number of headers dropped at once when [`MAX_SIDE_HEADERS`] is exceeded, so that the search for
/// them is rare.
pub(super) const DROPPED_AT_ONCE: usize = MAX_SIDE_HEADERS / 10;

/// Headers above our tip that are not dropped, on the best branch from it.
///
/// While a stranger's headers are the best ones, these are the next blocks of this node's own
/// chain.
const NEXT_HEADERS: usize = 1_000;

const _: () = assert!(MAX_SIDE_HEADERS < MAX_HEADERS_AHEAD, "both shares have room");

impl HeaderTree {
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

    /// The number of headers that are not connected and cannot be dropped.
    fn kept_ahead(&self) -> usize {
        let unconnected = self.nodes.len().saturating_sub(self.free.len());
        let unconnected = unconnected.saturating_sub(self.connected.len());
        unconnected.saturating_sub(self.droppable())
    }

    /// The number of headers that are dropped before any other.
    const fn droppable(&self) -> usize {
        self.loose.saturating_sub(self.shown)
    }

    /// The number of headers by which those that cannot be dropped exceed their share.
    pub(crate) fn excess_ahead(&self) -> usize {
        self.kept_ahead().saturating_sub(self.most_ahead)
    }

    /// Makes room for a header above `parent` that cannot be dropped. Other branches that were
    /// shown to have more work lose that status. Returns false if there is still no room.
    pub(crate) fn make_room(&mut self, parent: NodeId) -> bool {
        if self.kept_ahead() < self.most_ahead {
            return true;
        }
        let kept: HashSet<_> =
            self.ancestors(parent).take_while(|id| self.node(*id).is_loose()).collect();
        if self.shown > kept.len() {
            let others = self.live().filter(|(id, node)| node.shown && !kept.contains(id));
            for id in others.map(|(id, _)| id).collect::<Vec<_>>() {
                self.change(id, |node| node.shown = false);
            }
        }
        self.kept_ahead() < self.most_ahead
    }

    /// Exempts a node and its ancestors from being dropped: their branch was shown to have more
    /// work than the tip.
    pub(crate) fn set_shown(&mut self, id: NodeId) {
        let is_new = |id: &NodeId| {
            let node = self.node(*id);
            node.is_loose() && !node.shown && !node.held
        };
        for id in self.ancestors(id).take_while(is_new).collect::<Vec<_>>() {
            self.change(id, |node| node.shown = true);
        }
    }

    /// Drops headers from the ends of side branches if there are more than [`MAX_SIDE_HEADERS`],
    /// but not `kept`. Returns the keys of the dropped headers.
    ///
    /// Withheld headers go first, then those with the least work, and of equal work the latest.
    pub(crate) fn drop_excess(&mut self, kept: Option<NodeId>) -> Vec<BlockKey> {
        if self.droppable() <= MAX_SIDE_HEADERS {
            return Vec::new();
        }
        let wanted = MAX_SIDE_HEADERS.saturating_sub(DROPPED_AT_ONCE);
        let mut exempt = self.next_headers();
        exempt.extend(kept);
        let is_end = |id: NodeId, node: &Node| {
            node.children == 0 && node.is_loose() && !node.shown && !exempt.contains(&id)
        };
        let rank = |id: NodeId, node: &Node| Reverse((!node.held, node.work, Reverse(id)));
        let ends = self.live().filter(|(id, node)| is_end(*id, node));
        let mut ends: BinaryHeap<_> = ends.map(|(id, node)| rank(id, node)).collect();
        let mut dropped = Vec::new();
        while self.droppable() > wanted {
            let Some(Reverse((_, _, Reverse(id)))) = ends.pop() else { break };
            dropped.push(self.node(id).key());
            let parent = self.node(id).parent;
            self.remove_end(id);
            if let Some(parent) = parent.filter(|parent| is_end(*parent, self.node(*parent))) {
                ends.push(rank(parent, self.node(parent)));
            }
        }
        dropped
    }

    /// Returns the next headers above our tip on the best branch from it.
    fn next_headers(&self) -> HashSet<NodeId> {
        let tip = self.tip();
        let eligible = |id: &NodeId| {
            let node = self.node(*id);
            node.status != Status::Invalid && !node.held
        };
        let best = self.best_of(self.branch(tip).into_iter().filter(eligible)).unwrap_or(tip);
        let path: Vec<_> = self.ancestors(best).take_while(|id| *id != tip).collect();
        path.into_iter().rev().take(NEXT_HEADERS).collect()
    }

    /// Removes a node that has no children from the tree.
    pub(super) fn remove_end(&mut self, id: NodeId) {
        let node = *self.node(id);
        self.change(id, |node| node.in_use = false);
        self.index.write().unwrap_or_else(PoisonError::into_inner).remove(&node.hash);
        self.recent.remove(&id);
        self.free.push(id);
        if let Some(parent) = node.parent {
            let above = self.node_mut(parent);
            above.children = above.children.saturating_sub(1);
        }
    }

    /// Drops headers without bodies from the end of the best header chain, down to `height` and at
    /// most `count` of them. Returns the keys of the dropped headers.
    pub(crate) fn cut_best(&mut self, height: Height, count: usize) -> Vec<BlockKey> {
        let mut dropped = Vec::new();
        while dropped.len() < count {
            let (id, node) = (self.best, *self.node(self.best));
            let is_end = node.children == 0 && node.status == Status::HeaderOnly;
            let Some(parent) = node.parent.filter(|_| is_end && node.height > height) else {
                break;
            };
            dropped.push(node.key());
            self.change(id, |node| node.on_best = false);
            self.remove_end(id);
            self.best = parent;
        }
        dropped
    }
}
