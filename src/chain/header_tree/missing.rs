//! The bodies that the best header chain lacks, read from the tree.

use super::{HeaderTree, NodeId};
use crate::{
    chain::store::Status,
    primitives::{BlockHash, Height},
};

impl HeaderTree {
    /// Lists blocks of the best header chain that have no body, lowest first, at most `limit`. If
    /// the tip is on another branch, the blocks above the tip follow.
    ///
    /// Orphan blocks, whose parents have no body yet, count as missing.
    pub(crate) fn missing_bodies(&self, limit: usize) -> Vec<(BlockHash, Height)> {
        let lacks_body = |id: &NodeId| self.node(*id).status == Status::HeaderOnly;
        // Bodies are stored parents first, so one height separates stored from missing ones.
        let first = self.best_chain.partition_point(|id| self.node(*id).status.has_body());
        let mut missing: Vec<NodeId> =
            self.best_chain.iter().skip(first).copied().filter(lacks_body).take(limit).collect();
        let tip = self.tip();
        if missing.len() < limit && !self.node(tip).on_best {
            let above = self.branch(tip).into_iter().skip(1).filter(lacks_body);
            missing.extend(above.take(limit.saturating_sub(missing.len())));
        }
        let place = |id: NodeId| (self.node(id).hash, self.node(id).height);
        missing.into_iter().map(place).collect()
    }

    /// Makes `best_chain` end at `id`, which is on the best header chain.
    pub(super) fn follow_best(&mut self, id: NodeId) {
        let place = |id: NodeId| usize::try_from(self.node(id).height).unwrap_or(usize::MAX);
        let is_joining = |id: &NodeId| self.best_chain.get(place(*id)) != Some(id);
        let joining: Vec<NodeId> = self.ancestors(id).take_while(is_joining).collect();
        let kept = joining.last().map_or(place(id).saturating_add(1), |lowest| place(*lowest));
        self.best_chain.truncate(kept);
        self.best_chain.extend(joining.into_iter().rev());
    }
}
