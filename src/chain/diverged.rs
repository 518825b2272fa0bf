//! Branches that a node does not take by itself: when leaving blocks needs a person's word, and
//! what comes of it.
//!
//! Nothing of this is stored: whether the chain is diverged follows from the header tree and the
//! clock, so it holds after a restart, and ends by itself once our own branch has the most work
//! again, or the clock that said otherwise is set right. Called by [`Chain`]'s other verbs and by
//! the chain thread.

use super::{
    activate::Activation,
    api::{Divergence, Tip},
    errors::{AcceptBranchError, ChainFault},
    header_tree::NodeId,
    state::{Chain, TooLarge},
    store::Status,
};
use crate::primitives::{BlockHash, Height, UnixMillis};

/// A node does not by itself leave blocks that it connected longer ago than this, in milliseconds:
/// 72 hours.
///
/// Whoever has more hash power than all friends together could otherwise rewrite what they settled
/// days ago.
///
/// It is measured by this node's clock alone: the times in headers are the miners' words, and an
/// idle chain's tip says nothing of how late it is. A block counts as connected no later than any
/// above it, so what was connected while the clock was ahead is as old as it should be once the
/// clock is right again.
pub(crate) const MAX_REORGANISATION_AGE: UnixMillis = 72 * 3_600 * 1_000;

/// What a reorganisation takes for each byte of the blocks that leave and join: the decoded body,
/// ids and leaves, changed coins, index entries and undo records. Reckoned for trades of two coins
/// each way, not measured.
const MEMORY_PER_BODY_BYTE: usize = 4;

/// And for each block, in bytes.
const MEMORY_PER_BLOCK: usize = 1_024;

/// Bodies up to this many cannot be too large together: no need to look.
const ALWAYS_SMALL: usize = 32;

impl Chain {
    /// The branches, when the header with the most work is on one that this node does not take by
    /// itself.
    #[must_use]
    pub fn divergence(&self, now: UnixMillis) -> Option<Divergence> {
        let (tip, best) = (self.tree.tip(), self.tree.best());
        if self.tree.node(tip).on_best {
            return None;
        }
        let leaving: Vec<_> =
            self.tree.ancestors(tip).take_while(|id| !self.tree.node(*id).on_best).collect();
        let is_ahead = |branch: NodeId| {
            let node = self.tree.node(branch);
            node.on_best && node.status != Status::Connected
        };
        let too_large =
            self.too_large.filter(|refused| self.tree.id(&refused.branch).is_some_and(is_ahead));
        if !self.is_settled(&leaving, now) && too_large.is_none() {
            return None;
        }
        let first = self.tree.node(*leaving.last()?);
        let fork = self.tree.node(first.parent?);
        Some(Divergence {
            fork: fork.hash,
            fork_height: fork.height,
            since: first.connected_at,
            ours: self.tip(),
            theirs: self.best_header(),
            missing: self.missing_below(best),
            needs_mib: too_large.map(|refused| refused.needs_mib),
        })
    }

    /// Whether blocks were connected so long ago that leaving them, the last first, needs a
    /// person's word.
    fn is_settled(&self, leaving: &[NodeId], now: UnixMillis) -> bool {
        let connected = leaving.iter().map(|id| self.tree.node(*id).connected_at).min();
        connected.is_some_and(|at| at.saturating_add(MAX_REORGANISATION_AGE) < now)
    }

    /// How many blocks up to this one are not stored. Bodies are stored parents first.
    fn missing_below(&self, id: NodeId) -> Height {
        let missing =
            self.tree.ancestors(id).take_while(|id| !self.tree.node(*id).status.has_body()).count();
        Height::try_from(missing).unwrap_or(Height::MAX)
    }

    /// Why a branch is not to be taken by itself; none when it may be.
    pub(super) fn forbids(
        &mut self,
        id: NodeId,
        now: UnixMillis,
    ) -> Result<Option<Activation>, ChainFault> {
        let (disconnect, connect) = self.tree.path_to(id);
        if self.is_settled(&disconnect, now) {
            return Ok(Some(Activation::TooDeep));
        }
        self.is_too_large(id, &disconnect, &connect)
    }

    /// Whether taking a branch would take more memory than there may be; it is remembered.
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

    /// Whether there is a better branch than ours that may be there to take, and the chain may
    /// change: [`Chain::reconsider`] tells.
    #[must_use]
    pub fn is_off_best(&self) -> bool {
        !self.overlay.is_sealed() && !self.tree.node(self.tree.tip()).on_best
    }

    /// Takes the best branch after all, when what forbade it no longer does: a clock was set right.
    ///
    /// # Errors
    /// When the disk fails.
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
            tracing::warn!(%hash, %error, "a branch that was not taken before is not valid");
        }
        Ok(())
    }

    /// Takes the other branch of a diverged chain, up to its last block here: a person's word.
    /// `hash` is any of its blocks.
    ///
    /// As in any reorganisation every block is checked whole, all is done or nothing, and the
    /// trades of the blocks that leave wait again where they still can.
    ///
    /// # Errors
    /// See [`AcceptBranchError`]; but for a fault, the chain is as it was.
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
        let Some(divergence) = self.divergence(now) else {
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
            Activation::Damaged | Activation::TooDeep | Activation::TooLarge { .. } => {
                Err(AcceptBranchError::Damaged { hash })
            }
        }
    }
}
