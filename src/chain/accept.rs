//! `accept` checks new blocks for [`Chain`], and then stores, holds or rejects them.

use std::sync::Arc;

use super::{
    activate::Activation,
    api::{BlockAccepted, Origin},
    coins::Body,
    errors::{AcceptBlockError, AcceptHeadersError, Blame, ChainFault},
    header_tree::NodeId,
    headers::Unfit,
    orphans::{EarlyHeader, OrphanBlock},
    precheck::Incoming,
    state::Chain,
    store::Status,
};
use crate::{
    consensus::{BlockError, CheckedHeader, HeaderError},
    primitives::{Block, BlockHash, UnixMillis},
    telemetry::events,
};

impl Chain {
    /// Checks a block completely. Then connects it, stores it on a side branch, or holds it until
    /// its parent or its time comes.
    ///
    /// # Errors
    /// See [`AcceptBlockError`]. A missing parent body is no error if the parent's header is known.
    pub fn accept_block(
        &mut self,
        block: Block,
        origin: Origin,
        now: UnixMillis,
    ) -> Result<BlockAccepted, AcceptBlockError> {
        self.accept_incoming(Incoming::new(Arc::new(block)), origin, now)
    }

    /// Does the same as [`Chain::accept_block`] for a block that workers may have checked already.
    pub(super) fn accept_incoming(
        &mut self,
        incoming: Incoming,
        origin: Origin,
        now: UnixMillis,
    ) -> Result<BlockAccepted, AcceptBlockError> {
        let hash = incoming.hash;
        let result = self.take_block(incoming, origin, now);
        if let Err(error) = &result
            && error.blame() == Blame::Peer
        {
            refused(hash, origin, error);
        }
        result
    }

    /// Returns the header of a block that workers should check before its turn. Such a header was
    /// accepted, is on the best header chain, and has no body yet.
    pub(super) fn wanted_ahead(&self, incoming: &Incoming) -> Option<CheckedHeader> {
        let node = self.tree.node(self.tree.id(&incoming.hash)?);
        let wanted = node.status == Status::HeaderOnly && node.on_best;
        wanted.then(|| CheckedHeader::from_store(incoming.block.header).ok()).flatten()
    }

    fn take_block(
        &mut self,
        incoming: Incoming,
        origin: Origin,
        now: UnixMillis,
    ) -> Result<BlockAccepted, AcceptBlockError> {
        let hash = incoming.hash;
        let known = self.tree.id(&hash);
        match known.map(|id| self.tree.node(id).status) {
            Some(Status::Stored | Status::Connected) => return Ok(BlockAccepted::Known),
            Some(Status::Invalid) => return Err(AcceptBlockError::InvalidBranch { hash }),
            Some(Status::HeaderOnly) | None => {}
        }
        if self.orphans.contains(&hash) || self.early.holds_block(&hash) {
            return Ok(BlockAccepted::Waiting);
        }
        let header = incoming.block.header;
        let previous = header.previous;
        let parent =
            self.tree.id(&previous).ok_or(AcceptBlockError::UnknownParent { hash, previous })?;
        if self.tree.node(parent).status == Status::Invalid {
            return Err(AcceptBlockError::InvalidBranch { hash });
        }
        let checked = match known {
            // The header was checked on arrival. The current clock must not change that verdict.
            Some(_) => CheckedHeader::from_store(header)
                .map_err(|error| AcceptBlockError::Header { hash, error })?,
            None => match self.check(parent, &header, hash, now) {
                Ok(checked) => checked,
                Err(Unfit::Rule(error @ HeaderError::TooFarAhead { due, .. })) => {
                    return self.hold_early(incoming, origin, due, error);
                }
                Err(unfit) => return Err(unfit.of_block(hash)),
            },
        };
        let is_wanted =
            known.is_some_and(|id| self.tree.node(id).on_best || self.tree.is_held_winner(id));
        if !is_wanted && !self.is_worth_keeping(parent, &checked)? {
            return Err(AcceptBlockError::TooLittleWork { hash });
        }
        let bytes = incoming.block.encoded_len();
        let body = match incoming.body(&checked) {
            Ok(body) => body,
            Err(error) => return Err(self.refuse_form(parent, &checked, known, error)),
        };
        let id = match known {
            Some(id) => id,
            None => self.add_of_block(parent, &checked).map_err(|unfit| unfit.of_block(hash))?,
        };
        if self.tree.release(id) {
            self.choose_best_header()?;
        }
        if !self.tree.node(parent).status.has_body() {
            return self.hold_orphan(OrphanBlock { body, hash, origin, bytes });
        }
        let accepted = self.store_block(id, body, now);
        if accepted.is_ok() {
            self.take_waiters(hash, now)?;
        }
        accepted
    }

    /// Holds the header of a block that is ahead of our clock, and the block too if it is ours.
    ///
    /// A block of our own exists nowhere else, so it is held too. Sync can request a peer's block
    /// again once it is due.
    fn hold_early(
        &mut self,
        incoming: Incoming,
        origin: Origin,
        due: UnixMillis,
        error: HeaderError,
    ) -> Result<BlockAccepted, AcceptBlockError> {
        let (hash, header) = (incoming.hash, incoming.block.header);
        let is_ours = origin == Origin::Local;
        let block = is_ours.then_some(incoming.block);
        self.early.hold(EarlyHeader { header, block, hash, origin, due });
        if is_ours { Ok(BlockAccepted::Waiting) } else { Err(Unfit::Rule(error).of_block(hash)) }
    }

    /// Holds a block until its parent's body arrives. If there is no room, orphan blocks off the
    /// best header chain are dropped first.
    fn hold_orphan(&mut self, orphan: OrphanBlock) -> Result<BlockAccepted, AcceptBlockError> {
        let hash = orphan.hash;
        if !self.orphans.has_room(orphan.bytes) {
            let tree = &self.tree;
            self.orphans.retain(|hash| tree.id(hash).is_some_and(|id| tree.node(id).on_best));
        }
        if self.orphans.insert(orphan) {
            Ok(BlockAccepted::Waiting)
        } else {
            Err(AcceptBlockError::TooManyWaiting { hash })
        }
    }

    /// Rejects a body that breaks a rule of form. Also marks the header invalid if the header
    /// commits to exactly this body.
    fn refuse_form(
        &mut self,
        parent: NodeId,
        checked: &CheckedHeader,
        known: Option<NodeId>,
        error: BlockError,
    ) -> AcceptBlockError {
        let hash = checked.hash();
        if error.condemns_header() {
            let id = match known {
                Some(id) => Ok(id),
                None => self.add_of_block(parent, checked),
            };
            match id {
                Ok(id) => {
                    if let Err(fault) = self.invalidate(id) {
                        return fault.into();
                    }
                }
                Err(Unfit::Fault(fault)) => return fault.into(),
                // The header was not stored, so there is no node to mark.
                Err(_) => {}
            }
        }
        AcceptBlockError::Body { hash, error }
    }

    /// Stores a block whose parent is stored, and connects it if its branch becomes the best chain.
    fn store_block(
        &mut self,
        id: NodeId,
        body: Body,
        now: UnixMillis,
    ) -> Result<BlockAccepted, AcceptBlockError> {
        let node = *self.tree.node(id);
        if node.status == Status::Invalid {
            return Err(AcceptBlockError::InvalidBranch { hash: node.hash });
        }
        self.overlay.put_block(node.key(), &body.block);
        self.tree.set_stored(id);
        self.save(id)?;
        if !node.beats(self.tree.node(self.tree.tip())) {
            self.settle_best_header()?;
            return self.bound_side_bodies(id, body.block.encoded_len());
        }
        let activation = self.activate(id, Some(body), now)?;
        self.settle_best_header()?;
        match activation {
            Activation::Done => Ok(BlockAccepted::Connected),
            Activation::TooDeep | Activation::NoCheckpoint | Activation::TooLarge { .. } => {
                Ok(BlockAccepted::SideBranch)
            }
            Activation::Damaged => Ok(BlockAccepted::Waiting),
            Activation::Invalid { block, error } if block == id => {
                Err(AcceptBlockError::Body { hash: node.hash, error })
            }
            Activation::Invalid { block, error } => {
                let below = self.tree.node(block).hash;
                let of_below = AcceptBlockError::Body { hash: below, error };
                refused(below, Origin::Local, &of_below);
                Err(AcceptBlockError::InvalidBelow { below, error })
            }
        }
    }

    /// Accounts for a stored side-branch body of `bytes`, and deletes those with the least work if
    /// the limit is exceeded.
    fn bound_side_bodies(
        &mut self,
        id: NodeId,
        bytes: usize,
    ) -> Result<BlockAccepted, AcceptBlockError> {
        self.side_bodies.bytes = self.side_bodies.bytes.saturating_add(bytes);
        if self.side_bodies.bytes > self.side_bodies.max_bytes {
            // The count is only an upper bound: not yet counted, or outdated by reorgs.
            let ends_first = self.tree.side_bodies();
            let mut bytes = Vec::with_capacity(ends_first.len());
            for id in &ends_first {
                bytes.push(self.overlay.block_len(&self.tree.node(*id).key())?);
            }
            self.side_bodies.bytes = bytes.iter().sum();
            let goal = self.side_bodies.max_bytes / 4 * 3;
            for (id, bytes) in ends_first.into_iter().zip(bytes) {
                if self.side_bodies.bytes <= goal {
                    break;
                }
                self.forget_bodies(id)?;
                self.side_bodies.bytes = self.side_bodies.bytes.saturating_sub(bytes);
            }
        }
        let node = self.tree.node(id);
        let is_kept = node.status.has_body();
        if is_kept {
            Ok(BlockAccepted::SideBranch)
        } else {
            Err(AcceptBlockError::TooLittleWork { hash: node.hash })
        }
    }

    /// Stores the orphan blocks that waited for `parent`, and recursively those that waited for
    /// them.
    fn take_waiters(&mut self, parent: BlockHash, now: UnixMillis) -> Result<(), ChainFault> {
        let mut open = vec![parent];
        while let Some(parent) = open.pop() {
            for waiter in self.orphans.take_children(&parent) {
                let OrphanBlock { body, hash, origin, .. } = waiter;
                // The header may have been dropped meanwhile, with its branch.
                let Some(id) = self.tree.id(&hash) else { continue };
                match self.store_block(id, body, now) {
                    Ok(_) => open.push(hash),
                    Err(AcceptBlockError::Fault(fault)) => return Err(fault),
                    Err(error) => refused(hash, origin, &error),
                }
            }
        }
        Ok(())
    }

    /// Returns the time at which [`Chain::due`] next has work.
    #[must_use]
    pub fn next_due(&self) -> Option<UnixMillis> {
        if self.overlay.is_sealed() {
            return None;
        }
        self.early.next_due().into_iter().chain(self.mempool.next_expiry()).min()
    }

    /// Retries early headers and blocks that are due, and drops expired trades. Does nothing if the
    /// chain is read-only.
    ///
    /// # Errors
    /// Fails if the disk fails.
    pub fn due(&mut self, now: UnixMillis) -> Result<(), ChainFault> {
        if self.overlay.is_sealed() {
            return Ok(());
        }
        self.expire_trades(now)?;
        for EarlyHeader { header, block, origin, .. } in self.early.take_due(now) {
            if let Err(AcceptHeadersError::Fault(fault)) =
                self.accept_headers(&[header], origin, now)
            {
                return Err(fault);
            }
            if let Some(block) = block
                && let Err(AcceptBlockError::Fault(fault)) =
                    self.accept_incoming(Incoming::new(block), origin, now)
            {
                return Err(fault);
            }
        }
        Ok(())
    }
}

/// Emits the log event for a refused block.
pub(super) fn refused(hash: BlockHash, origin: Origin, error: &AcceptBlockError) {
    events::BlockRefused {
        hash,
        peer: origin.peer(),
        code: error.code(),
        reason: error.to_string(),
    }
    .emit();
}
