//! `accept` checks new headers and blocks for [`Chain`] and stores, holds or refuses them.

use std::sync::Arc;

use super::{
    activate::Activation,
    api::{BlockAccepted, HeaderContext, HeadersAccepted, Origin, Tip},
    coins::Body,
    errors::{AcceptBlockError, AcceptHeadersError, Blame, ChainFault},
    header_tree::NodeId,
    orphans::{EarlyHeader, OrphanBlock},
    precheck::Incoming,
    state::Chain,
    store::{
        Status,
        tables::{block_key, split_block_key},
    },
};
use crate::{
    consensus::{BlockError, CheckedHeader, HeaderError, Work, check_hashed_header},
    primitives::{Block, BlockHash, Header, PeerId, UnixMillis},
    telemetry::events,
};

/// The reason why a header could not be added.
enum Unfit {
    Rule(HeaderError),
    TooLittleWork,
    Fault(ChainFault),
}

impl From<ChainFault> for Unfit {
    fn from(fault: ChainFault) -> Self {
        Self::Fault(fault)
    }
}

impl Unfit {
    fn of_header(self, hash: BlockHash) -> AcceptHeadersError {
        match self {
            Self::Rule(error) => AcceptHeadersError::Header { hash, error },
            Self::TooLittleWork => AcceptHeadersError::TooLittleWork { hash },
            Self::Fault(fault) => AcceptHeadersError::Fault(fault),
        }
    }

    fn of_block(self, hash: BlockHash) -> AcceptBlockError {
        match self {
            Self::Rule(error) => AcceptBlockError::Header { hash, error },
            Self::TooLittleWork => AcceptBlockError::TooLittleWork { hash },
            Self::Fault(fault) => AcceptBlockError::Fault(fault),
        }
    }
}

impl Origin {
    /// Returns the peer; `None` for a local origin.
    #[must_use]
    pub const fn peer(&self) -> Option<PeerId> {
        match self {
            Self::Local => None,
            Self::Peer(peer) => Some(*peer),
        }
    }
}

impl Chain {
    /// Checks headers, parents first, and stores them. Headers before the first refused one stay
    /// stored. If the refused one is only ahead of our clock, it is held as an early header and
    /// tried again when it is due.
    ///
    /// # Errors
    /// See [`AcceptHeadersError`].
    pub fn accept_headers(
        &mut self,
        headers: &[Header],
        origin: Origin,
        now: UnixMillis,
    ) -> Result<HeadersAccepted, AcceptHeadersError> {
        self.accept_shown_headers(headers, origin, None, now)
    }

    /// Does the same as [`Chain::accept_headers`] for a branch whose cumulative work was shown
    /// before, up to `shown`.
    ///
    /// # Errors
    /// See [`AcceptHeadersError`].
    pub fn accept_shown_headers(
        &mut self,
        headers: &[Header],
        origin: Origin,
        _shown: Option<Work>,
        now: UnixMillis,
    ) -> Result<HeadersAccepted, AcceptHeadersError> {
        let (mut new, mut last) = (0usize, self.tip().hash);
        // The previous header of this batch is almost always the parent of the next one.
        let mut before = None;
        for header in headers {
            let hash = header.hash();
            last = hash;
            if let Some(id) = self.tree.id(&hash) {
                if self.tree.node(id).status == Status::Invalid {
                    return Err(AcceptHeadersError::InvalidBranch { hash });
                }
                continue;
            }
            let previous = header.previous;
            let parent = before.take().filter(|(before, _)| *before == previous).map(|(_, id)| id);
            let parent = parent.or_else(|| self.tree.id(&previous));
            let parent = parent.ok_or(AcceptHeadersError::UnknownParent { hash, previous })?;
            if self.tree.node(parent).status == Status::Invalid {
                return Err(AcceptHeadersError::InvalidBranch { hash });
            }
            let checked = self.check(parent, header, hash, now).map_err(|unfit| {
                if let Unfit::Rule(HeaderError::TooFarAhead { due, .. }) = unfit {
                    self.early.hold(EarlyHeader {
                        header: *header,
                        block: None,
                        hash,
                        origin,
                        due,
                    });
                }
                unfit.of_header(hash)
            })?;
            let id = self.add(parent, &checked).map_err(|unfit| unfit.of_header(hash))?;
            before = Some((hash, id));
            new = new.saturating_add(1);
        }
        Ok(HeadersAccepted { new, last, best_header: self.best_header() })
    }

    /// Returns a known header with the window for its children; `None` if it is unknown or invalid.
    ///
    /// # Errors
    /// Fails if the file is damaged.
    pub fn header_context(
        &mut self,
        hash: &BlockHash,
    ) -> Result<Option<HeaderContext>, ChainFault> {
        let Some(id) = self.tree.id(hash) else { return Ok(None) };
        if self.tree.node(id).status == Status::Invalid {
            return Ok(None);
        }
        let window = self.window_after(id)?;
        self.window = Some(window.clone());
        Ok(Some(HeaderContext { tip: self.tip_at(id), window }))
    }

    /// Takes a header and its descendants out of the choice of the best header until its body
    /// comes. Returns the best header afterwards.
    ///
    /// # Errors
    /// Fails if the disk fails.
    pub fn withhold(&mut self, _hash: &BlockHash) -> Result<Tip, ChainFault> {
        Ok(self.best_header())
    }

    /// Checks work, time and difficulty of a header on the tip, without storing it.
    ///
    /// # Errors
    /// See [`AcceptHeadersError`]. A header on any other parent gives
    /// [`AcceptHeadersError::UnknownParent`].
    pub fn check_on_tip(
        &mut self,
        header: &Header,
        now: UnixMillis,
    ) -> Result<(), AcceptHeadersError> {
        let (hash, previous) = (header.hash(), header.previous);
        if previous != self.tip().hash {
            return Err(AcceptHeadersError::UnknownParent { hash, previous });
        }
        self.check(self.tree.tip(), header, hash, now)
            .map(drop)
            .map_err(|unfit| unfit.of_header(hash))
    }

    /// Checks that a header with the hash `hash` is a valid child of `parent`.
    fn check(
        &mut self,
        parent: NodeId,
        header: &Header,
        hash: BlockHash,
        now: UnixMillis,
    ) -> Result<CheckedHeader, Unfit> {
        let mut window = self.window_after(parent)?;
        let checked = check_hashed_header(header, hash, &self.network, &window, now);
        if let Ok(checked) = &checked {
            window.push(checked);
        }
        self.window = Some(window);
        checked.map_err(Unfit::Rule)
    }

    /// Adds a checked header to the tree and the overlay.
    fn add(&mut self, parent: NodeId, checked: &CheckedHeader) -> Result<NodeId, Unfit> {
        let hash = checked.hash();
        let id = self.tree.add(parent, hash, *checked.header(), checked.work());
        if self.tree.node(id).beats(self.tree.node(self.tree.best())) {
            if self.tree.extend_best(id) {
                self.save_header(id, *checked.header());
                self.overlay.set_best_header(block_key(checked.header().height, &hash));
            } else {
                // Also saves the header, since it joins the best header chain.
                self.set_best_header(id)?;
            }
        } else {
            self.save_header(id, *checked.header());
        }
        let dropped = self.tree.drop_excess();
        for key in &dropped {
            self.overlay.remove_header(*key);
            self.overlay.remove_block(*key);
            self.orphans.remove(&split_block_key(key).1);
        }
        if dropped.contains(&block_key(checked.header().height, &hash)) {
            Err(Unfit::TooLittleWork)
        } else {
            Ok(id)
        }
    }

    /// Makes a header the best one, in the tree and the overlay.
    pub(super) fn set_best_header(&mut self, id: NodeId) -> Result<(), ChainFault> {
        for changed in self.tree.set_best(id) {
            self.save(changed)?;
        }
        self.overlay.set_best_header(self.tree.node(id).key());
        Ok(())
    }

    /// Checks a block completely. Then connects it, stores it on a side branch, or holds it as an
    /// orphan block.
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

    /// Returns the header of a block that workers should check before its turn: one whose header
    /// was accepted, is on the best header chain, and has no body yet.
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
        let is_on_best = known.is_some_and(|id| self.tree.node(id).on_best);
        let work = self.tree.node(parent).work.saturating_add(checked.work());
        if !is_on_best && work < self.tree.least_side_work() {
            return Err(AcceptBlockError::TooLittleWork { hash });
        }
        let bytes = incoming.block.encoded_len();
        let body = match incoming.body(&checked) {
            Ok(body) => body,
            Err(error) => return Err(self.refuse_form(parent, &checked, known, error)),
        };
        let id = match known {
            Some(id) => id,
            None => self.add(parent, &checked).map_err(|unfit| unfit.of_block(hash))?,
        };
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
    /// A peer still has its block when it is due, and sync requests it then. A block of our own
    /// exists nowhere else.
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

    /// Refuses a body that breaks a rule of form. Marks the header invalid too, but only if the
    /// header commits to exactly this body.
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
                None => self.add(parent, checked),
            };
            match id {
                Ok(id) => {
                    if let Err(fault) = self.invalidate(id) {
                        return fault.into();
                    }
                }
                Err(Unfit::Fault(fault)) => return fault.into(),
                // The header was not stored, so there is no node to mark.
                Err(Unfit::Rule(_) | Unfit::TooLittleWork) => {}
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
            return self.bound_side_bodies(id, body.block.encoded_len());
        }
        match self.activate(id, Some(body), now)? {
            Activation::Done => Ok(BlockAccepted::Connected),
            Activation::TooDeep | Activation::TooLarge { .. } => Ok(BlockAccepted::SideBranch),
            Activation::Damaged => Ok(BlockAccepted::Waiting),
            Activation::Invalid { block, error } if block == id => {
                Err(AcceptBlockError::Body { hash: node.hash, error })
            }
            Activation::Invalid { block, error } => {
                let below = self.tree.node(block).hash;
                refused(below, Origin::Local, &AcceptBlockError::Body { hash: below, error });
                Err(AcceptBlockError::InvalidBranch { hash: node.hash })
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
