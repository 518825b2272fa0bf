//! `headers` checks new headers for [`Chain`], and stores those of branches that can still win.
//!
//! A branch is kept if it has at least the tip's work less that of 144 blocks. Unless the branch is
//! better than the tip, each of its blocks must also pay its full price: the target of a block that
//! is not late.
//!
//! # Security
//! Headers cost their sender work, and this node memory and disk. The first rule makes a stored
//! header cost as much as a block that could still win. The second rule is needed because the
//! target doubles for late blocks: without it, a block long after its parent would be nearly free.

use super::{
    api::{HeaderContext, HeadersAccepted, Origin, Tip},
    errors::{AcceptBlockError, AcceptHeadersError, ChainFault},
    header_tree::NodeId,
    orphans::EarlyHeader,
    state::Chain,
    store::{
        Status,
        tables::{BlockKey, block_key, split_block_key},
    },
};
use crate::{
    consensus::{
        CheckedHeader, HeaderError, HeaderWindow, Network, Work, check_hashed_header, is_better,
        pays_full_price,
    },
    primitives::{BlockHash, Header, Height, PeerId, UnixMillis},
};

/// Number of headers above a withheld one that are kept. They need not be downloaded again if the
/// body arrives.
pub(super) const WITHHELD_KEPT: Height = 2_000;

/// Number of headers that are cut from the best header chain per commit: 7 MB of changes.
const CUT_AT_ONCE: usize = 40_000;

/// The reason why a header could not be added.
pub(super) enum Unfit {
    Rule(HeaderError),
    TooLittleWork,
    TooFarBeyondTip,
    Fault(ChainFault),
}

impl From<ChainFault> for Unfit {
    fn from(fault: ChainFault) -> Self {
        Self::Fault(fault)
    }
}

impl Unfit {
    pub(super) fn of_header(self, hash: BlockHash) -> AcceptHeadersError {
        match self {
            Self::Rule(error) => AcceptHeadersError::Header { hash, error },
            Self::TooLittleWork => AcceptHeadersError::TooLittleWork { hash },
            Self::TooFarBeyondTip => AcceptHeadersError::TooFarBeyondTip { hash },
            Self::Fault(fault) => AcceptHeadersError::Fault(fault),
        }
    }

    pub(super) fn of_block(self, hash: BlockHash) -> AcceptBlockError {
        match self {
            Self::Rule(error) => AcceptBlockError::Header { hash, error },
            Self::TooLittleWork => AcceptBlockError::TooLittleWork { hash },
            Self::TooFarBeyondTip => AcceptBlockError::TooManyWaiting { hash },
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
            Self::Peer(peer) | Self::Stranger(peer) => Some(*peer),
        }
    }
}

/// New headers in a row that were checked and are not stored yet.
struct Run {
    /// The known parent of the first header.
    parent: NodeId,
    /// The window for the first header.
    start: HeaderWindow,
    headers: Vec<CheckedHeader>,
    /// The cumulative work up to the last of them.
    work: Work,
    /// The window for the next header.
    window: HeaderWindow,
}

impl Run {
    /// True if a header follows the last one of the run.
    fn goes_on_with(&self, header: &Header) -> bool {
        self.headers.last().is_some_and(|last| last.hash() == header.previous)
    }

    /// Checks the next header and adds it.
    fn push(
        &mut self,
        (header, hash): (&Header, BlockHash),
        network: &Network,
        now: UnixMillis,
    ) -> Result<(), HeaderError> {
        let checked = check_hashed_header(header, hash, network, &self.window, now)?;
        self.window.push(&checked);
        self.work = self.work.saturating_add(checked.work());
        self.headers.push(checked);
        Ok(())
    }

    /// The number of leading headers that pay their full price. Only a branch that does not win
    /// needs it, and it takes as long as the check of the difficulty.
    fn paid(&self, network: &Network) -> usize {
        let mut window = self.start.clone();
        let pays = |checked: &&CheckedHeader| {
            let pays = pays_full_price(network, &window, checked);
            window.push(checked);
            pays
        };
        self.headers.iter().take_while(pays).count()
    }
}

impl Chain {
    /// Checks headers, parents first, and stores them. Headers before the first rejected one stay
    /// stored. If the rejected one is only ahead of our clock, it is held as an early header and
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

    /// Does the same as [`Chain::accept_headers`] for a branch that a walk has shown to have the
    /// cumulative work `shown`.
    ///
    /// # Errors
    /// See [`AcceptHeadersError`].
    pub fn accept_shown_headers(
        &mut self,
        headers: &[Header],
        origin: Origin,
        shown: Option<Work>,
        now: UnixMillis,
    ) -> Result<HeadersAccepted, AcceptHeadersError> {
        let (mut new, mut last) = (0usize, self.tip().hash);
        let mut run: Option<Run> = None;
        for header in headers {
            let hash = header.hash();
            last = hash;
            if !run.as_ref().is_some_and(|run| run.goes_on_with(header)) {
                new = new.saturating_add(self.keep_run(run.take(), shown)?);
                if !self.is_new(&hash)? {
                    continue;
                }
            }
            let mut open = match run.take() {
                Some(run) => run,
                None => self.begin_run(header, hash)?,
            };
            let pushed = open.push((header, hash), &self.network, now);
            run = Some(open);
            if let Err(error) = pushed {
                self.keep_run(run, shown)?;
                if let HeaderError::TooFarAhead { due, .. } = error {
                    let (header, block) = (*header, None);
                    self.early.hold(EarlyHeader { header, block, hash, origin, due });
                }
                return Err(AcceptHeadersError::Header { hash, error });
            }
        }
        new = new.saturating_add(self.keep_run(run, shown)?);
        let wants_body = self.tree.id(&last).is_some_and(|id| self.wants_body(id));
        Ok(HeadersAccepted { new, last, wants_body, best_header: self.best_header() })
    }

    /// True if a known header has no body, and a body would be stored.
    fn wants_body(&self, id: NodeId) -> bool {
        let node = self.tree.node(id);
        let can_win = node.on_best
            || self.tree.is_held_winner(id)
            || node.work >= self.tree.least_side_work();
        node.status == Status::HeaderOnly && can_win && !self.orphans.contains(&node.hash)
    }

    /// True if a header is not known yet; an error if it is invalid.
    fn is_new(&self, hash: &BlockHash) -> Result<bool, AcceptHeadersError> {
        match self.tree.id(hash).map(|id| self.tree.node(id).status) {
            Some(Status::Invalid) => Err(AcceptHeadersError::InvalidBranch { hash: *hash }),
            known => Ok(known.is_none()),
        }
    }

    /// Begins a run with the header `hash`, which follows a known one.
    fn begin_run(&mut self, header: &Header, hash: BlockHash) -> Result<Run, AcceptHeadersError> {
        let previous = header.previous;
        let parent = self.tree.id(&previous);
        let parent = parent.ok_or(AcceptHeadersError::UnknownParent { hash, previous })?;
        let node = *self.tree.node(parent);
        if node.status == Status::Invalid {
            return Err(AcceptHeadersError::InvalidBranch { hash });
        }
        let window = self.window_after(parent)?;
        let start = window.clone();
        Ok(Run { parent, start, headers: Vec::new(), work: node.work, window })
    }

    /// Stores a run if its branch is worth keeping. Returns the number of headers.
    fn keep_run(
        &mut self,
        run: Option<Run>,
        shown: Option<Work>,
    ) -> Result<usize, AcceptHeadersError> {
        let Some(run) = run else { return Ok(0) };
        let Some(last) = run.headers.last().map(CheckedHeader::hash) else {
            self.window = Some(run.window);
            return Ok(0);
        };
        let (parent, work) = (run.parent, run.work);
        let tip = *self.tree.node(self.tree.tip());
        let is_shown = shown.is_some_and(|shown| shown > tip.work);
        let most = shown.map_or(work, |shown| shown.max(work));
        let wins = is_shown || is_better((work, &last), (tip.work, &tip.hash));
        let names = run.headers.iter().map(|checked| (checked.header().height, checked.hash()));
        if most < self.tree.least_side_work() || self.is_below_checkpoint_work(parent, names, most)
        {
            return Err(AcceptHeadersError::TooLittleWork { hash: last });
        }
        let kept = if wins { run.headers.len() } else { run.paid(&self.network) };
        let mut id = parent;
        for checked in run.headers.iter().take(kept) {
            let added = self.add(id, checked, is_shown);
            id = added.map_err(|unfit| unfit.of_header(checked.hash()))?;
        }
        if let Some(cheap) = run.headers.get(kept) {
            return Err(AcceptHeadersError::TooLittleWork { hash: cheap.hash() });
        }
        self.window = Some(run.window);
        Ok(kept)
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
    /// arrives. Returns the best header afterwards.
    ///
    /// Keeps only the first headers above it. Does nothing if the header is unknown or invalid, or
    /// has a body.
    ///
    /// # Errors
    /// Fails if the disk fails.
    pub fn withhold(&mut self, hash: &BlockHash) -> Result<Tip, ChainFault> {
        let Some(id) = self.tree.id(hash) else { return Ok(self.best_header()) };
        let node = *self.tree.node(id);
        if node.status != Status::HeaderOnly || self.orphans.contains(hash) {
            return Ok(self.best_header());
        }
        tracing::debug!(%hash, height = node.height, "no peer delivers the body of this header");
        if node.on_best {
            self.cut_best_header(node.height.saturating_add(WITHHELD_KEPT))?;
        }
        self.tree.withhold(id);
        self.choose_best_header()?;
        self.drop_excess(None);
        Ok(self.best_header())
    }

    /// Drops headers from the end of the best header chain, down to a height. Commits in between,
    /// so that the changes take little memory.
    fn cut_best_header(&mut self, height: Height) -> Result<(), ChainFault> {
        loop {
            let dropped = self.tree.cut_best(height, CUT_AT_ONCE);
            if dropped.is_empty() {
                return Ok(());
            }
            for key in &dropped {
                self.overlay.remove_header(*key);
                self.orphans.remove(&split_block_key(key).1);
            }
            self.overlay.set_best_header(self.tree.node(self.tree.best()).key());
            self.commit()?;
        }
    }

    /// Applies the bounds to a tree from a file, and selects its best header.
    ///
    /// Headers that were withheld in the last run count again: peers may deliver their bodies now.
    pub(super) fn bound_headers(&mut self) -> Result<(), ChainFault> {
        let excess = Height::try_from(self.tree.excess_ahead()).unwrap_or(Height::MAX);
        if excess > 0 {
            let height = self.tree.node(self.tree.best()).height.saturating_sub(excess);
            self.cut_best_header(height)?;
        }
        self.drop_excess(None);
        self.choose_best_header()
    }

    /// Searches for the best header and sets it.
    pub(super) fn choose_best_header(&mut self) -> Result<(), ChainFault> {
        let best = self.tree.find_best();
        if best == self.tree.best() { Ok(()) } else { self.set_best_header(best) }
    }

    /// Sets the tip as the best header if the best header was rejected in favour of the tip.
    pub(super) fn settle_best_header(&mut self) -> Result<(), ChainFault> {
        if self.tree.is_best_refused() { self.set_best_header(self.tree.tip()) } else { Ok(()) }
    }

    /// Sets the best header in the tree and the overlay.
    pub(super) fn set_best_header(&mut self, id: NodeId) -> Result<(), ChainFault> {
        for changed in self.tree.set_best(id) {
            self.save(changed)?;
        }
        self.overlay.set_best_header(self.tree.node(id).key());
        Ok(())
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
    pub(super) fn check(
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

    /// True if a checked header beside the best header chain is worth the disk space of its body.
    pub(super) fn is_worth_keeping(
        &mut self,
        parent: NodeId,
        checked: &CheckedHeader,
    ) -> Result<bool, ChainFault> {
        let (tip, below) = (*self.tree.node(self.tree.tip()), *self.tree.node(parent));
        let (work, hash) = (below.work.saturating_add(checked.work()), checked.hash());
        let name = (checked.header().height, hash);
        if work < self.tree.least_side_work()
            || self.is_below_checkpoint_work(parent, [name].into_iter(), work)
        {
            return Ok(false);
        }
        if is_better((work, &hash), (tip.work, &tip.hash)) {
            return Ok(true);
        }
        let window = self.window_after(parent)?;
        let pays = pays_full_price(&self.network, &window, checked);
        self.window = Some(window);
        Ok(pays)
    }

    /// Adds the checked header of a block whose body is about to be stored. The bounds never drop
    /// this header at once.
    pub(super) fn add_of_block(
        &mut self,
        parent: NodeId,
        checked: &CheckedHeader,
    ) -> Result<NodeId, Unfit> {
        if !self.tree.node(parent).status.has_body() {
            return self.add(parent, checked, false);
        }
        self.add_node(parent, checked, |chain, id| chain.drop_excess(Some(id)))
    }

    /// Adds a checked header to the tree and the overlay. `is_shown` is true for a branch that was
    /// shown to have more work than the tip.
    fn add(
        &mut self,
        parent: NodeId,
        checked: &CheckedHeader,
        is_shown: bool,
    ) -> Result<NodeId, Unfit> {
        let is_kept = is_shown || parent == self.tree.best();
        if is_kept && !self.tree.make_room(parent) {
            let most = self.tree.most_ahead;
            tracing::debug!(most, "too many headers are known whose bodies are not here");
            return Err(Unfit::TooFarBeyondTip);
        }
        self.add_node(parent, checked, |chain, id| {
            if is_shown {
                chain.tree.set_shown(id);
            }
            chain.drop_excess(None)
        })
    }

    /// Adds a checked header to the tree and the overlay, and calls `bound`, which drops headers.
    fn add_node(
        &mut self,
        parent: NodeId,
        checked: &CheckedHeader,
        bound: impl FnOnce(&mut Self, NodeId) -> Vec<BlockKey>,
    ) -> Result<NodeId, Unfit> {
        let hash = checked.hash();
        let key = block_key(checked.header().height, &hash);
        let id = self.tree.add(parent, hash, *checked.header(), checked.work());
        if self.tree.is_new_best(id) {
            if self.tree.extend_best(id) {
                self.save_header(id, *checked.header());
                self.overlay.set_best_header(key);
            } else {
                // Also saves the header, since it joins the best header chain.
                self.set_best_header(id)?;
            }
        } else {
            self.save_header(id, *checked.header());
        }
        if bound(self, id).contains(&key) { Err(Unfit::TooLittleWork) } else { Ok(id) }
    }

    /// Drops headers beyond the bounds, but not `kept`. Returns their keys.
    fn drop_excess(&mut self, kept: Option<NodeId>) -> Vec<BlockKey> {
        let dropped = self.tree.drop_excess(kept);
        for key in &dropped {
            self.overlay.remove_header(*key);
            self.overlay.remove_block(*key);
            self.orphans.remove(&split_block_key(key).1);
        }
        dropped
    }
}
