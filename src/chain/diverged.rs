//! `diverged` decides for [`Chain`] which branches need a person's consent, and switches to them on
//! request.
//!
//! A node does not switch by itself to a branch that undoes settled blocks, leaves out the
//! checkpoint of the invite, or needs too much memory. No divergence is stored: it follows from the
//! header tree and the attended time, and so survives a restart. It ends once our own branch has
//! the most work again.

use super::{
    activate::Activation,
    api::{Divergence, DivergenceReason, Tip},
    errors::{AcceptBranchError, ChainFault},
    header_tree::NodeId,
    state::{Chain, TooLarge},
    store::Status,
};
use crate::{
    consensus::Work,
    primitives::{BlockHash, Height, UnixMillis},
};

/// Number of own blocks that any reorg may undo, settled or not.
const ALWAYS_LEFT: usize = 6;

/// A reorg may undo settled blocks if the joining work is more than this many times the leaving
/// work.
///
/// A node that mined alone for days thereby returns to its friends' chain.
const OUTWEIGHED: u64 = 100;

/// Estimated memory of a reorg for each byte of the blocks that leave and join.
///
/// It covers the decoded body, ids and leaves, changed coins, index entries and undo records. The
/// value was calculated for trades with two inputs and two outputs, not measured.
const MEMORY_PER_BODY_BYTE: usize = 4;

/// Estimated fixed memory of a reorg for each block, in bytes.
const MEMORY_PER_BLOCK: usize = 1_024;

/// Number of blocks up to which a reorg is never too large, so that their sizes need not be read.
const ALWAYS_SMALL: usize = 32;

impl Chain {
    /// Returns both branches if the header with the most work is on a branch that this node does
    /// not switch to automatically.
    #[must_use]
    pub fn divergence(&self) -> Option<Divergence> {
        let (tip, best) = (self.tree.tip(), self.tree.best());
        if self.tree.node(best).work <= self.tree.node(tip).work {
            return None;
        }
        let leaving: Vec<_> =
            self.tree.ancestors(tip).take_while(|id| !self.tree.node(*id).on_best).collect();
        let is_ahead = |branch: NodeId| {
            let node = self.tree.node(branch);
            node.on_best && node.status != Status::Connected
        };
        let too_large = self
            .too_large
            .filter(|_| !leaving.is_empty())
            .filter(|refused| self.tree.id(&refused.branch).is_some_and(is_ahead));
        let reason = match self.objection(best, &leaving) {
            Some(reason) => reason,
            None if too_large.is_some() => DivergenceReason::TooLarge,
            None => return None,
        };
        let first = leaving.last().copied().unwrap_or(tip);
        let fork = leaving.last().and_then(|first| self.tree.node(*first).parent).unwrap_or(tip);
        let (first, fork) = (self.tree.node(first), self.tree.node(fork));
        Some(Divergence {
            reason,
            fork: fork.hash,
            fork_height: fork.height,
            since: first.connected_at,
            ours: self.tip(),
            theirs: self.best_header(),
            missing: self.missing_below(best),
            needs_mib: too_large.map(|refused| refused.needs_mib),
        })
    }

    /// Returns the reason against a switch to the branch that ends at `id`. `leaving` are the
    /// blocks that would leave, highest first.
    fn objection(&self, id: NodeId, leaving: &[NodeId]) -> Option<DivergenceReason> {
        let tip = self.tree.tip();
        if self.leaves_checkpoint_out(id) {
            // The checkpoint no longer binds once a person chose a branch without it.
            if !self.leaves_checkpoint_out(tip) {
                return Some(DivergenceReason::Checkpoint);
            }
        } else if self.leaves_checkpoint_out(tip) {
            return None;
        }
        self.is_settled(id, leaving).then_some(DivergenceReason::Settled)
    }

    /// True if the chain up to `id` leaves out the checkpoint of the invite, or can no longer reach
    /// it.
    fn leaves_checkpoint_out(&self, id: NodeId) -> bool {
        let Some(checkpoint) = self.checkpoint else { return false };
        let node = self.tree.node(id);
        let Some(known) = self.tree.id(&checkpoint.hash) else {
            return node.height >= checkpoint.height;
        };
        let block = self.tree.node(known);
        let are_connected = [node, block].iter().all(|node| node.status == Status::Connected);
        if are_connected || node.on_best && block.on_best {
            false
        } else if node.height >= checkpoint.height {
            self.tree.ancestor_at(id, checkpoint.height) != Some(known)
        } else {
            self.tree.ancestor_at(known, node.height) != Some(id)
        }
    }

    /// True if new headers above `parent` leave out the checkpoint and have less work than it. Such
    /// headers can only be meant to deceive.
    pub(super) fn is_below_checkpoint_work(
        &self,
        parent: NodeId,
        mut names: impl Iterator<Item = (Height, BlockHash)>,
        work: Work,
    ) -> bool {
        let Some(checkpoint) = self.checkpoint.filter(|checkpoint| work < checkpoint.work) else {
            return false;
        };
        if self.tree.node(parent).height >= checkpoint.height {
            return self.leaves_checkpoint_out(parent);
        }
        names.any(|(height, hash)| height == checkpoint.height && hash != checkpoint.hash)
    }

    /// Adds attended time in milliseconds, up to now.
    pub fn attend(&mut self, ms: u64) {
        let tip = self.tree.node(self.tree.tip()).key();
        if self.attended.pass(ms, tip) && !self.overlay.is_sealed() {
            self.overlay.set_attended(self.attended.to_bytes());
        }
    }

    /// Notes that the blocks above `fork` leave the best chain.
    pub(super) fn leave_attended(&mut self, fork: NodeId) {
        if self.attended.leave(self.tree.node(fork).key()) {
            self.overlay.set_attended(self.attended.to_bytes());
        }
    }

    /// True if a reorg to `id` needs a person's consent, since one of the leaving blocks is
    /// settled. A reorg of few blocks, or against much more work, never needs it.
    fn is_settled(&self, id: NodeId, leaving: &[NodeId]) -> bool {
        let Some(first) = leaving.last().filter(|_| leaving.len() > ALWAYS_LEFT) else {
            return false;
        };
        let first = self.tree.node(*first);
        if self.attended.settled().is_none_or(|settled| first.height > settled) {
            return false;
        }
        let fork = first.parent.map_or(Work::ZERO, |fork| self.tree.node(fork).work);
        let above = |id| self.tree.node(id).work.saturating_sub(fork);
        above(self.tree.tip()).saturating_mul(OUTWEIGHED) >= above(id)
    }

    /// Returns the number of blocks up to this one whose bodies are missing. Bodies are always
    /// stored parents first.
    fn missing_below(&self, id: NodeId) -> Height {
        let missing =
            self.tree.ancestors(id).take_while(|id| !self.tree.node(*id).status.has_body()).count();
        Height::try_from(missing).unwrap_or(Height::MAX)
    }

    /// Returns the reason that forbids an automatic switch to a branch; `None` if it is allowed.
    pub(super) fn forbids(&mut self, id: NodeId) -> Result<Option<Activation>, ChainFault> {
        let (disconnect, connect) = self.tree.path_to(id);
        // A rebuild reconnects blocks that were connected before, by consent or not.
        let again = self.rebuilding && self.tree.node(id).connected_at > 0;
        match self.objection(id, &disconnect) {
            Some(DivergenceReason::Checkpoint) if !again => Ok(Some(Activation::NoCheckpoint)),
            Some(DivergenceReason::Settled) => Ok(Some(Activation::TooDeep)),
            _ => self.is_too_large(id, &disconnect, &connect),
        }
    }

    /// Checks if a reorg would exceed the memory limit. If so, records it in `too_large`.
    fn is_too_large(
        &mut self,
        id: NodeId,
        disconnect: &[NodeId],
        connect: &[NodeId],
    ) -> Result<Option<Activation>, ChainFault> {
        let blocks = disconnect.len().saturating_add(connect.len());
        if disconnect.is_empty() || blocks <= ALWAYS_SMALL {
            return Ok(None);
        }
        let mut memory = blocks.saturating_mul(MEMORY_PER_BLOCK);
        for id in disconnect.iter().chain(connect) {
            let bytes = self.overlay.block_len(&self.tree.node(*id).key())?;
            memory = memory.saturating_add(bytes.saturating_mul(MEMORY_PER_BODY_BYTE));
        }
        let needs_mib = memory.div_ceil(1 << 20);
        if needs_mib <= self.reorganisation_mib {
            return Ok(None);
        }
        self.too_large = Some(TooLarge { branch: self.tree.node(id).hash, needs_mib });
        Ok(Some(Activation::TooLarge { needs_mib }))
    }

    /// True if the best header is off our branch and the chain is writable. Then
    /// [`Chain::reconsider`] may be able to switch.
    #[must_use]
    pub fn is_off_best(&self) -> bool {
        !self.overlay.is_sealed() && !self.tree.node(self.tree.tip()).on_best
    }

    /// Switches to the best branch if it is no longer forbidden, for example because it outweighs
    /// ours by far.
    ///
    /// # Errors
    /// Fails if the disk fails.
    pub fn reconsider(&mut self, now: UnixMillis) -> Result<(), ChainFault> {
        if !self.is_off_best() {
            return Ok(());
        }
        let stored =
            self.tree.ancestors(self.tree.best()).find(|id| self.tree.node(*id).status.has_body());
        if let Some(id) = stored
            && self.tree.node(id).beats(self.tree.node(self.tree.tip()))
            && let Activation::Invalid { block, error } = self.activate(id, None, now)?
        {
            let hash = self.tree.node(block).hash;
            tracing::warn!(%hash, %error, "a branch that needed consent before is not valid");
        }
        Ok(())
    }

    /// Switches to the other branch of a diverged chain at a person's request, up to the last
    /// block stored here. `hash` is any block of that branch.
    ///
    /// As in any reorg, every block is checked completely, and either all blocks are switched or
    /// none. Trades of disconnected blocks return to the mempool if they are still valid.
    ///
    /// # Errors
    /// See [`AcceptBranchError`]. Unless the error is a fault, the chain is unchanged.
    pub fn accept_branch(
        &mut self,
        hash: BlockHash,
        now: UnixMillis,
    ) -> Result<Tip, AcceptBranchError> {
        let id = self.tree.id(&hash);
        let status = id.map(|id| self.tree.node(id).status);
        if status == Some(Status::Invalid) {
            return Err(AcceptBranchError::InvalidBranch { hash });
        }
        let Some(divergence) = self.divergence() else {
            return Err(AcceptBranchError::NotDiverged { tip: self.tip().hash });
        };
        let theirs = divergence.theirs.hash;
        let Some(id) = id else {
            return Err(AcceptBranchError::UnknownBlock { hash, theirs });
        };
        if status == Some(Status::Connected) {
            return Err(AcceptBranchError::OwnBranch { hash, theirs });
        }
        let tip = *self.tree.node(self.tree.tip());
        let stored = |id: &NodeId| self.tree.node(*id).status.has_body();
        let end = self.tree.best_stored_above(id).or_else(|| self.tree.ancestors(id).find(stored));
        let end = match end {
            Some(end) if self.tree.node(end).beats(&tip) => end,
            _ => {
                let best = self.tree.best_above(id);
                return Err(if self.tree.node(best).beats(&tip) {
                    AcceptBranchError::Incomplete { hash, missing: self.missing_below(best) }
                } else {
                    AcceptBranchError::LessWork { hash, theirs }
                });
            }
        };
        let (disconnect, connect) = self.tree.path_to(end);
        if let Some(Activation::TooLarge { needs_mib }) =
            self.is_too_large(end, &disconnect, &connect)?
        {
            return Err(AcceptBranchError::TooLarge { hash, needs_mib });
        }
        match self.reorganise(end, None, now)? {
            Activation::Done => Ok(self.tip()),
            Activation::Invalid { block, error } => Err(AcceptBranchError::Broken {
                hash,
                block: self.tree.node(block).hash,
                error: Box::new(error),
            }),
            Activation::Damaged
            | Activation::TooDeep
            | Activation::NoCheckpoint
            | Activation::TooLarge { .. } => Err(AcceptBranchError::Damaged { hash }),
        }
    }
}
