//! `diverged` decides for [`Chain`] which reorgs need a person's consent, and performs them on
//! request.
//!
//! No divergence is stored: it follows from the header tree and the clock, and so survives a
//! restart. It ends once our own branch has the most work again, or once a wrong clock is
//! corrected.

use super::{
    activate::Activation,
    api::{Divergence, DivergenceReason, Tip},
    errors::{AcceptBranchError, ChainFault},
    header_tree::NodeId,
    state::{Chain, TooLarge},
    store::Status,
};
use crate::primitives::{BlockHash, Height, UnixMillis};

/// Maximum age of a connected block that a reorg may disconnect without a person's consent, in
/// milliseconds: 72 h.
///
/// The age is measured only by this node's clock. Miners choose the times in headers, and the tip
/// of an idle chain does not show the current time. A block counts as connected no later than
/// any of its descendants. Blocks connected while the clock was ahead thus get the right age once
/// the clock is corrected.
///
/// # Security
/// Without this limit, an attacker with more hash power than all friends together could rewrite
/// trades that were settled days ago.
pub(crate) const MAX_REORGANISATION_AGE: UnixMillis = 72 * 3_600 * 1_000;

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
        let reason = if too_large.is_some() {
            DivergenceReason::TooLarge
        } else {
            DivergenceReason::Settled
        };
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

    /// Notes at `now` that peers on our branch are connected, or that none is any more.
    pub const fn peers_on_branch(&mut self, _present: bool, _now: UnixMillis) {}

    /// True if any of the blocks was connected so long ago that a reorg needs a person's consent.
    fn is_settled(&self, leaving: &[NodeId], now: UnixMillis) -> bool {
        let connected = leaving.iter().map(|id| self.tree.node(*id).connected_at).min();
        connected.is_some_and(|at| at.saturating_add(MAX_REORGANISATION_AGE) < now)
    }

    /// Returns the number of blocks up to this one whose bodies are missing. Bodies are always
    /// stored parents first.
    fn missing_below(&self, id: NodeId) -> Height {
        let missing =
            self.tree.ancestors(id).take_while(|id| !self.tree.node(*id).status.has_body()).count();
        Height::try_from(missing).unwrap_or(Height::MAX)
    }

    /// Returns the reason that forbids an automatic switch to a branch; `None` if it is allowed.
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

    /// Switches to the best branch if it is no longer forbidden, for example after the clock was
    /// corrected.
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
            tracing::warn!(%hash, %error, "a branch that was not taken before is not valid");
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
