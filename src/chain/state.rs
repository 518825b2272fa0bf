//! `state` holds the ledger as a plain struct, [`Chain`], for the chain thread and for tests.
//!
//! Every change of the ledger is a call of a [`Chain`] method, on one thread. The methods live in
//! `headers.rs`, `accept.rs` (blocks), `activate.rs` (choice of the best branch), `transactions.rs`
//! (trades), `diverged.rs`, `template.rs`, `repair/` and `queries.rs` (reads).
//!
//! # Invariants
//! - After each call, tree, overlay and mempool agree.
//! - After a [`ChainFault`], their state is undefined and the caller must drop the chain.
//! - [`Chain::drain_events`] returns only events whose cause is durable.

use std::{path::Path, sync::Arc};

use super::{
    announcements::Announcements,
    api::{ChainEvent, ChainSummary, Template, Tip},
    attended::Attended,
    errors::{ChainFault, OpenError},
    header_tree::{HeaderTree, NodeId},
    mempool::Mempool,
    orphans::{EarlyHeaders, OrphanBlocks},
    own::OwnTransactions,
    signature_cache::SignatureCache,
    store::{Store, contained, overlay::Overlay, reader::ChainReader, tables::HeaderRecord},
};
use crate::{
    consensus::{Checkpoint, HeaderWindow, Network, WINDOW_BLOCKS},
    primitives::{BlockHash, Header, Height, Owner},
    telemetry::metrics::StoreMetrics,
};

/// Uncommitted changes, in bytes of memory, that force a commit when the cache is small.
///
/// The threshold is this value plus half of the cache, at most [`MAX_GATHERED`]. Larger commits
/// cost less per block: each page of the coins table is written once for all changes on it.
const MIN_GATHERED: usize = 28 * 1024 * 1024;

/// Changed headers that force a commit: 9 MB of pages.
///
/// Larger commits cost the same per header. They would also exceed half of a small cache, and pages
/// would then be written, read back and written again.
const HEADERS_GATHERED: usize = 50_000;

/// Upper bound of the commit threshold, in bytes of memory: about 28 full blocks.
///
/// While a commit is being written, its changes stay in memory, except for the block bodies.
const MAX_GATHERED: usize = 60 * 1024 * 1024;

/// Memory that a reorg may always use, even with a small cache, in MiB.
///
/// The value suits 72 h of blocks of a few kilobytes, one every 10 s, on both branches.
pub(super) const MIN_REORGANISATION_MIB: usize = 512;

/// Resource settings of a chain. None of them affects validity.
#[derive(Debug, Clone)]
pub struct ChainOptions {
    /// Memory budget in MiB: 3/8 for the database's pages, about half for uncommitted changes.
    /// Changes that are being written and orphan blocks come on top.
    pub cache_mib: usize,
    /// Threads that verify signatures.
    pub threads: usize,
    /// Distinguishes this node's coinbases from those of other nodes that mine for the same owner.
    pub nonce_seed: u64,
}

impl ChainOptions {
    /// Returns the size of the database's page cache, in MiB. redb exceeds it during writes.
    pub(super) const fn page_mib(&self) -> usize {
        self.cache_mib / 8 * 3
    }
}

impl Default for ChainOptions {
    fn default() -> Self {
        Self {
            cache_mib: super::store::DEFAULT_CACHE_MIB,
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            nonce_seed: rand::random(),
        }
    }
}

/// A branch that the chain refused because the reorg would need too much memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct TooLarge {
    pub(super) branch: BlockHash,
    pub(super) needs_mib: usize,
}

/// The inputs of a template. While they stay equal, only the template's time and bits change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TemplateKey {
    pub(super) owner: Owner,
    pub(super) tip: BlockHash,
    pub(super) mempool: u64,
}

/// Accounting of the block bodies that are stored off the best chain.
#[derive(Debug)]
pub(super) struct SideBodies {
    /// Upper bound of their size in bytes; `usize::MAX` until they are counted.
    pub(super) bytes: usize,
    /// Limit for `bytes`.
    pub(super) max_bytes: usize,
}

/// The ledger; see the module docs for its invariants.
#[derive(Debug)]
pub struct Chain {
    pub(super) network: Arc<Network>,
    pub(super) options: ChainOptions,
    pub(super) overlay: Overlay,
    pub(super) tree: HeaderTree,
    pub(super) mempool: Mempool,
    pub(super) verified: SignatureCache,
    pub(super) own: OwnTransactions,
    pub(super) orphans: OrphanBlocks,
    pub(super) early: EarlyHeaders,
    /// The difficulty window after the last checked header, ready for a child of that header.
    pub(super) window: Option<HeaderWindow>,
    /// The last template, cached with its key.
    pub(super) template: Option<(TemplateKey, Template)>,
    pub(super) generation: u64,
    /// The checkpoint of the invite that the chain was joined with.
    pub(super) checkpoint: Option<Checkpoint>,
    /// The measure of attended time.
    pub(super) attended: Attended,
    /// The branch that was last refused because of the memory its reorg would need.
    pub(super) too_large: Option<TooLarge>,
    /// Limit for the memory of a reorg, in MiB.
    pub(super) reorganisation_mib: usize,
    pub(super) side_bodies: SideBodies,
    /// True while stored blocks are connected again. No events are emitted then, and the mempool
    /// does not change.
    pub(super) rebuilding: bool,
    pub(super) announcements: Announcements,
}

impl Chain {
    /// Creates a chain file and opens it.
    ///
    /// # Errors
    /// See [`store::create`](super::store::create).
    pub fn create(
        path: &Path,
        network: &Network,
        options: ChainOptions,
    ) -> Result<Self, OpenError> {
        Self::from_store(
            super::store::create(path, network, None, options.page_mib())?,
            options,
            path,
        )
    }

    /// Opens the chain in a file.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, options: ChainOptions) -> Result<Self, OpenError> {
        Self::from_store(super::store::open(path, options.page_mib())?, options, path)
    }

    /// Opens a chain file read-only. Calls that would change the file fail with
    /// [`ChainFault::ReadOnly`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_frozen(path: &Path, options: ChainOptions) -> Result<Self, OpenError> {
        let store = super::store::open_frozen(path, options.page_mib())?;
        let mut chain = Self::from_store(store, options, path)?;
        chain.overlay.seal();
        Ok(chain)
    }

    /// Loads the chain from an open store: all headers, the mempool, and this node's own trades.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] and [`OpenError::Disk`].
    pub fn on_store(store: Store, options: ChainOptions) -> Result<Self, OpenError> {
        Self::from_store(store, options, Path::new("chain.redb"))
    }

    fn from_store(store: Store, options: ChainOptions, path: &Path) -> Result<Self, OpenError> {
        contained(path, || {
            Self::load(store, options).map_err(|fault| OpenError::from_fault(path, fault))
        })
    }

    #[must_use]
    pub const fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// Returns the tip of the best chain. It may be ahead of the disk until the next
    /// [`Chain::commit`].
    #[must_use]
    pub fn tip(&self) -> Tip {
        self.tip_at(self.tree.tip())
    }

    /// Returns the header with the most work that is not known to be invalid.
    #[must_use]
    pub fn best_header(&self) -> Tip {
        self.tip_at(self.tree.best())
    }

    /// Returns the block of the best chain at a height.
    #[must_use]
    pub fn hash_at(&self, height: Height) -> Option<BlockHash> {
        self.tree.connected_at(height).map(|id| self.tree.node(id).hash)
    }

    /// Returns the public snapshot of the chain.
    #[must_use]
    pub fn summary(&self) -> ChainSummary {
        ChainSummary {
            network: Arc::clone(&self.network),
            tip: self.tip(),
            best_header: self.best_header(),
            diverged: self.divergence(),
            mempool: self.mempool.len(),
            mempool_changes: self.mempool.changes(),
            mempool_bytes: self.mempool.memory(),
            floor: self.mempool.floor(),
        }
    }

    /// Returns a reader of committed data. The reader does not keep the file open.
    #[must_use]
    pub fn reader(&self) -> ChainReader {
        ChainReader::new(self.overlay.store(), Arc::clone(self.tree.index()))
    }

    /// Closes the file.
    ///
    /// # Errors
    /// Fails if the last writes could not be flushed.
    pub(super) fn close(self) -> Result<(), ChainFault> {
        self.overlay.close()
    }

    /// Returns the counters of the store.
    #[must_use]
    pub fn metrics(&self) -> StoreMetrics {
        self.overlay.store().metrics().clone()
    }

    pub(super) fn tip_at(&self, id: NodeId) -> Tip {
        let node = self.tree.node(id);
        Tip { hash: node.hash, height: node.height, work: node.work, time: node.time }
    }

    /// Returns the header of a node, from memory or disk.
    pub(super) fn header_of(&mut self, id: NodeId) -> Result<Header, ChainFault> {
        if let Some(header) = self.tree.recent(id) {
            return Ok(*header);
        }
        let record = self.overlay.header(&self.tree.node(id).key())?;
        record
            .map(|record| record.header)
            .ok_or_else(|| ChainFault::Corrupt("a header is missing".into()))
    }

    /// Writes a node's current state to the headers table.
    pub(super) fn save(&mut self, id: NodeId) -> Result<(), ChainFault> {
        let header = self.header_of(id)?;
        self.save_header(id, header);
        Ok(())
    }

    /// Does the same as [`Chain::save`] for a caller that already has the node's header.
    pub(super) fn save_header(&mut self, id: NodeId, header: Header) {
        let node = self.tree.node(id);
        let record = HeaderRecord {
            header,
            work: node.work,
            status: node.status,
            on_best_headers: node.on_best,
            connected_at: node.connected_at,
        };
        self.overlay.put_header(node.key(), record);
    }

    /// Returns the difficulty window for a child of `parent`.
    pub(super) fn window_after(&mut self, parent: NodeId) -> Result<HeaderWindow, ChainFault> {
        let hash = self.tree.node(parent).hash;
        if let Some(window) = self.window.take_if(|window| window.parent() == hash) {
            return Ok(window);
        }
        let ids: Vec<_> = self.tree.ancestors(parent).take(WINDOW_BLOCKS).collect();
        let nodes = ids.into_iter().rev().map(|id| self.tree.node(id));
        let ancestors = nodes.map(|node| (node.time, node.bits));
        HeaderWindow::new(hash, self.tree.node(parent).height, ancestors)
            .map_err(|error| ChainFault::Corrupt(error.to_string()))
    }

    // Commits and events

    /// True if replies and events must wait for a [`Chain::commit`].
    #[must_use]
    pub const fn is_awaited(&self) -> bool {
        self.overlay.is_awaited()
    }

    /// True if a commit would write anything.
    #[must_use]
    pub const fn is_changed(&self) -> bool {
        self.overlay.is_changed()
    }

    /// True if the uncommitted changes have reached the size at which they should be committed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let share = self.options.cache_mib.saturating_mul(1 << 20) / 2;
        self.overlay.changed_headers() >= HEADERS_GATHERED
            || self.overlay.cost() >= MIN_GATHERED.saturating_add(share).min(MAX_GATHERED)
    }

    /// Makes all changes durable, then releases their events and log lines.
    ///
    /// # Errors
    /// Fails if the disk fails; the caller must then drop the chain.
    pub fn commit(&mut self) -> Result<(), ChainFault> {
        self.finish_storing()?;
        self.overlay.commit()?;
        self.release();
        Ok(())
    }

    /// Starts a commit on another thread, which calls `done` at the end.
    ///
    /// Events of these changes are held back until [`finish_storing`](Self::finish_storing). If an
    /// earlier commit is still being written, this call blocks until that one is durable.
    pub(super) fn begin_storing(
        &mut self,
        done: impl FnOnce() + Send + 'static,
    ) -> Result<(), ChainFault> {
        self.finish_storing()?;
        self.announcements.begin_writing();
        self.overlay.begin_writing(done)
    }

    /// True if [`finish_storing`](Self::finish_storing) would block.
    pub(super) fn is_storing(&self) -> bool {
        self.overlay.is_busy()
    }

    /// Blocks until the commit of [`begin_storing`](Self::begin_storing) is durable, then releases
    /// its events.
    pub(super) fn finish_storing(&mut self) -> Result<(), ChainFault> {
        self.overlay.finish_writing()?;
        self.release();
        Ok(())
    }

    /// Releases durable events. Events that need no commit follow unless an uncommitted change
    /// precedes them.
    pub(super) fn release(&mut self) {
        if self.overlay.is_writing() {
            return;
        }
        self.announcements.written();
        if !self.overlay.is_awaited() {
            self.announcements.release_staged();
        }
    }

    /// Returns the events whose cause is durable, in order, each exactly once.
    pub fn drain_events(&mut self) -> Vec<ChainEvent> {
        self.release();
        self.announcements.take_ready()
    }
}
