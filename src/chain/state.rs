//! [`Chain`]: the ledger as a plain struct. Everything that changes it goes through here, on one
//! thread.
//!
//! Called by the chain thread (and by tests and simulations directly). The verbs are in `accept.rs`
//! (headers and blocks), `activate.rs` (which branch is the best one), `pool.rs` (trades),
//! `template.rs` and `audit.rs`, what can be asked in `queries.rs`. Invariants:
//! - after each call, tree, overlay and mempool agree; when a call gives a [`ChainFault`], nothing
//!   can be said of them and the chain must be dropped;
//! - what happened is told by [`Chain::drain_events`] only once it is durable.

use std::{path::Path, sync::Arc};

use super::{
    announcements::Announcements,
    api::{ChainEvent, ChainSummary, Template, Tip},
    errors::{ChainFault, OpenError},
    header_tree::{HeaderTree, NodeId},
    mempool::Mempool,
    orphans::{EarlyHeaders, OrphanBlocks},
    own::OwnTransactions,
    signature_cache::SignatureCache,
    store::{Store, contained, overlay::Overlay, reader::ChainReader, tables::HeaderRecord},
};
use crate::{
    consensus::{HeaderWindow, Network, WINDOW_BLOCKS},
    primitives::{BlockHash, Header, Height, Owner, UnixMillis},
    telemetry::metrics::StoreMetrics,
};

/// Changes are committed at the latest when they take about this many bytes of memory and half of
/// the cache, but no more than [`MAX_GATHERED`]. The more, the less a commit costs for each block:
/// most of it is pages of the coins table, which are written once for all changes on them.
const MIN_GATHERED: usize = 28 * 1024 * 1024;

/// Changes are committed at the latest when they are of this many headers, 9 MB of pages. Each is
/// written once however many there are, and more pages than half of a small cache would be written,
/// read back and written again.
const HEADERS_GATHERED: usize = 50_000;

/// Changes are committed at the latest when they take about this many bytes of memory: some 28 full
/// blocks. All but their bodies are kept while they are being written.
const MAX_GATHERED: usize = 60 * 1024 * 1024;

/// Reorganisations may take this much memory however small the cache is, in MiB: 72 hours of blocks
/// of a few kilobytes, one every 10 seconds, both ways.
pub(super) const MIN_REORGANISATION_MIB: usize = 512;

/// How a chain is kept; none of it changes what is valid.
#[derive(Debug, Clone)]
pub struct ChainOptions {
    /// Memory, in MiB: three eighths for the database's pages, about half for changes. Those being
    /// written, and blocks that wait, come on top.
    pub cache_mib: usize,
    /// Threads that verify signatures.
    pub threads: usize,
    /// Makes this node's coinbases differ from others' with the same owner.
    pub nonce_seed: u64,
}

impl ChainOptions {
    /// What the database may keep of its pages in memory, in MiB: it goes beyond it while it
    /// writes.
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

/// A branch that was refused for its size.
#[derive(Debug, Clone, Copy)]
pub(super) struct TooLarge {
    pub(super) branch: BlockHash,
    pub(super) needs_mib: usize,
}

/// What a template was made from; while it stays, only time and bits of the template change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TemplateKey {
    pub(super) owner: Owner,
    pub(super) tip: BlockHash,
    pub(super) mempool: u64,
}

/// Bodies stored beside the best chain, as far as they are counted.
#[derive(Debug)]
pub(super) struct SideBodies {
    /// An upper bound of their bytes; `usize::MAX` until they are counted.
    pub(super) bytes: usize,
    /// The most bytes that may be stored.
    pub(super) max_bytes: usize,
}

/// The ledger. See the module.
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
    /// The difficulty window of the last header that was checked, moved on.
    pub(super) window: Option<HeaderWindow>,
    /// The last template and what it was made from.
    pub(super) template: Option<(TemplateKey, Template)>,
    pub(super) generation: u64,
    /// A branch that was not taken for its size.
    pub(super) too_large: Option<TooLarge>,
    /// How much memory a reorganisation may take, in MiB.
    pub(super) reorganisation_mib: usize,
    pub(super) side_bodies: SideBodies,
    /// While stored blocks are connected again: nothing is told, the mempool is left alone.
    pub(super) rebuilding: bool,
    pub(super) announcements: Announcements,
}

impl Chain {
    /// Makes a chain in a file and opens it.
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

    /// Opens the chain in a file to be read alone: the file stays as it is, and what would change
    /// it is [`ChainFault::ReadOnly`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_frozen(path: &Path, options: ChainOptions) -> Result<Self, OpenError> {
        let store = super::store::open_frozen(path, options.page_mib())?;
        let mut chain = Self::from_store(store, options, path)?;
        chain.overlay.seal();
        Ok(chain)
    }

    /// Takes up the chain in an open store: reads all headers, the waiting and the own trades.
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

    /// The end of the best chain. May be ahead of the disk until the next [`Chain::commit`].
    #[must_use]
    pub fn tip(&self) -> Tip {
        self.tip_at(self.tree.tip())
    }

    /// The header with the most work that is not known to be invalid.
    #[must_use]
    pub fn best_header(&self) -> Tip {
        self.tip_at(self.tree.best())
    }

    /// The block of the best chain at a height.
    #[must_use]
    pub fn hash_at(&self, height: Height) -> Option<BlockHash> {
        self.tree.connected_at(height).map(|id| self.tree.node(id).hash)
    }

    /// What everybody may know, at a time.
    #[must_use]
    pub fn summary(&self, now: UnixMillis) -> ChainSummary {
        ChainSummary {
            network: Arc::clone(&self.network),
            tip: self.tip(),
            best_header: self.best_header(),
            diverged: self.divergence(now),
            mempool: self.mempool.len(),
            mempool_changes: self.mempool.changes(),
            mempool_bytes: self.mempool.memory(),
            floor: self.mempool.floor(),
        }
    }

    /// A reader of what is committed. It does not keep the file open.
    #[must_use]
    pub fn reader(&self) -> ChainReader {
        ChainReader::new(self.overlay.store(), Arc::clone(self.tree.index()))
    }

    /// What its store counts.
    #[must_use]
    pub fn metrics(&self) -> StoreMetrics {
        self.overlay.store().metrics().clone()
    }

    fn tip_at(&self, id: NodeId) -> Tip {
        let node = self.tree.node(id);
        Tip { hash: node.hash, height: node.height, work: node.work, time: node.time }
    }

    /// The header of a node, from memory or disk.
    pub(super) fn header_of(&mut self, id: NodeId) -> Result<Header, ChainFault> {
        if let Some(header) = self.tree.recent(id) {
            return Ok(*header);
        }
        let record = self.overlay.header(&self.tree.node(id).key())?;
        record
            .map(|record| record.header)
            .ok_or_else(|| ChainFault::Corrupt("a header is missing".into()))
    }

    /// Writes what the tree knows of a node to the headers table.
    pub(super) fn save(&mut self, id: NodeId) -> Result<(), ChainFault> {
        let header = self.header_of(id)?;
        self.save_header(id, header);
        Ok(())
    }

    /// [`Chain::save`] for a caller that has the node's header at hand.
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

    /// The difficulty window for a child of `parent`.
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

    /// Whether replies and events have to wait for a [`Chain::commit`].
    #[must_use]
    pub const fn is_awaited(&self) -> bool {
        self.overlay.is_awaited()
    }

    /// Whether a commit would write anything.
    #[must_use]
    pub const fn is_changed(&self) -> bool {
        self.overlay.is_changed()
    }

    /// Whether so much has gathered that it should be committed now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let share = self.options.cache_mib.saturating_mul(1 << 20) / 2;
        self.overlay.changed_headers() >= HEADERS_GATHERED
            || self.overlay.cost() >= MIN_GATHERED.saturating_add(share).min(MAX_GATHERED)
    }

    /// Makes everything durable; only then is it logged and told.
    ///
    /// # Errors
    /// When the disk fails; the chain must then be dropped.
    pub fn commit(&mut self) -> Result<(), ChainFault> {
        self.finish_storing()?;
        self.overlay.commit()?;
        self.release();
        Ok(())
    }

    /// Begins to make everything durable on another thread, which calls `done` at the end; until
    /// [`finish_storing`](Self::finish_storing), none of it is told. Waits for what was begun
    /// before.
    pub(super) fn begin_storing(
        &mut self,
        done: impl FnOnce() + Send + 'static,
    ) -> Result<(), ChainFault> {
        self.finish_storing()?;
        self.announcements.begin_writing();
        self.overlay.begin_writing(done)
    }

    /// Whether [`finish_storing`](Self::finish_storing) would have to wait.
    pub(super) fn is_storing(&self) -> bool {
        self.overlay.is_busy()
    }

    /// Waits until what [`begin_storing`](Self::begin_storing) began is durable; then it can be
    /// told.
    pub(super) fn finish_storing(&mut self) -> Result<(), ChainFault> {
        self.overlay.finish_writing()?;
        self.release();
        Ok(())
    }

    /// Tells what is durable, and what needs no commit when nothing that does is before it.
    pub(super) fn release(&mut self) {
        if self.overlay.is_writing() {
            return;
        }
        self.announcements.written();
        if !self.overlay.is_awaited() {
            self.announcements.release_staged();
        }
    }

    /// What happened and is durable, in order. Nothing is told twice.
    pub fn drain_events(&mut self) -> Vec<ChainEvent> {
        self.release();
        self.announcements.take_ready()
    }
}
