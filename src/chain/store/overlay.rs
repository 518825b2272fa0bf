//! Layers of uncommitted changes over the store. A layer is committed as a whole or dropped as a
//! whole.
//!
//! [`Chain`](crate::chain::Chain) alone owns the overlay. A read checks the child layer (while one
//! is open), the base layer, the written layer and one snapshot of the store, in this order. The
//! chain connects a block, or performs a reorg, in a child layer. It merges the layer into the base
//! if everything is valid, and drops it otherwise.
//!
//! A commit turns the base layer into the written layer and writes it, sorted, in one durable
//! transaction. It runs at once, or on a separate thread while a new base collects changes. Only
//! one commit runs at a time, and the snapshot includes at least every commit before it. After the
//! commit, the written layer serves as a cache: its coins stay until the next commit replaces them.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use super::{
    Store,
    layer::{Bodies, Layer},
    tables::{
        BlockKey, HeaderRecord, MempoolRecord, OwnRecord, ReadTables, TxLocation, Undo,
        coin_from_bytes, stored, tx_key,
    },
};
use crate::{
    chain::{coins::Coins, errors::ChainFault},
    consensus::{Coin, CoinKey},
    primitives::{Block, Encode, TxId},
    storage::contain,
};

/// The thread of a commit, or its result where the system started no thread.
#[derive(Debug)]
enum Writer {
    Thread(JoinHandle<Result<(), ChainFault>>),
    Done(Result<(), ChainFault>),
}

/// A commit that runs on its own thread.
#[derive(Debug)]
struct Writing {
    writer: Writer,
    /// Set before the thread calls `done`.
    ended: Arc<AtomicBool>,
}

impl Writing {
    /// Waits for the end of the commit.
    fn join(self) -> Result<(), ChainFault> {
        match self.writer {
            Writer::Done(result) => result,
            Writer::Thread(thread) => {
                let panicked = |_| ChainFault::Disk("the storing thread panicked".into());
                thread.join().map_err(panicked)?
            }
        }
    }
}

/// The store, with the changes that are not yet on the disk.
#[derive(Debug)]
pub(crate) struct Overlay {
    store: Store,
    snapshot: Option<ReadTables>,
    /// The layer that is being written, or was written last.
    written: Arc<Layer>,
    writing: Option<Writing>,
    /// True if the last write did not reach the disk.
    failed: bool,
    base: Layer,
    child: Option<Layer>,
    /// True if a reply or an event depends on changes in the base, and must not precede their
    /// commit.
    awaited: bool,
    /// True if the base holds any change.
    changed: bool,
}

impl Overlay {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            snapshot: None,
            written: Arc::default(),
            writing: None,
            failed: false,
            base: Layer::default(),
            child: None,
            awaited: false,
            changed: false,
        }
    }

    /// Drops uncommitted changes and closes the file.
    pub(crate) fn close(self) -> Result<(), ChainFault> {
        let store = self.store.clone();
        drop(self);
        store.close()
    }

    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    /// Makes every later commit of a change fail.
    pub(crate) const fn seal(&mut self) {
        self.store.seal();
    }

    /// True if changes can no longer be committed.
    pub(crate) const fn is_sealed(&self) -> bool {
        self.store.is_sealed()
    }

    /// True if replies and events have to wait for a commit.
    pub(crate) const fn is_awaited(&self) -> bool {
        self.awaited
    }

    /// True if there are changes to commit.
    pub(crate) const fn is_changed(&self) -> bool {
        self.changed
    }

    /// The estimated memory of the uncommitted changes, in bytes.
    pub(crate) fn cost(&self) -> usize {
        self.base.cost()
    }

    /// The number of headers among the uncommitted changes.
    pub(crate) fn changed_headers(&self) -> usize {
        self.base.headers.len()
    }

    /// Opens a child layer for the changes that follow. [`Overlay::merge_child`] keeps them, and
    /// [`Overlay::drop_child`] discards them.
    pub(crate) fn begin_child(&mut self) {
        self.child = Some(Layer::default());
    }

    pub(crate) fn merge_child(&mut self) {
        if let Some(child) = self.child.take() {
            self.base.merge(child);
            self.touch();
        }
    }

    pub(crate) fn drop_child(&mut self) {
        self.child = None;
    }

    fn touch(&mut self) {
        self.changed = true;
        self.awaited = true;
    }

    fn top(&mut self) -> &mut Layer {
        self.changed = true;
        self.awaited = true;
        self.child.as_mut().unwrap_or(&mut self.base)
    }

    /// Iterates over all layers, the uppermost first.
    fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.child.iter().chain([&self.base, &*self.written])
    }

    /// Returns a snapshot of the store, opened on first use and dropped after each commit. It may
    /// lack the layer that is being written.
    fn tables(&mut self) -> Result<&ReadTables, ChainFault> {
        if self.snapshot.is_none() {
            self.snapshot = Some(self.store.read()?);
        }
        self.snapshot.as_ref().ok_or(ChainFault::Closed)
    }

    /// Writes all changes in one durable transaction.
    pub(crate) fn commit(&mut self) -> Result<(), ChainFault> {
        self.finish_writing()?;
        if self.changed {
            let bodies = self.freeze();
            self.written.write(bodies, &self.store)?;
            self.after_writing();
        }
        Ok(())
    }

    /// Starts to write all changes in one durable transaction, on another thread, which then calls
    /// `done`. [`Overlay::finish_writing`] returns the result.
    pub(crate) fn begin_writing(
        &mut self,
        done: impl FnOnce() + Send + 'static,
    ) -> Result<(), ChainFault> {
        self.finish_writing()?;
        let bodies = self.freeze();
        let (store, layer, ended) =
            (self.store.clone(), Arc::clone(&self.written), Arc::new(AtomicBool::new(false)));
        let ending = Arc::clone(&ended);
        let write = move || {
            let written = contain(|| layer.write(bodies, &store));
            let result = written.unwrap_or_else(|reason| Err(ChainFault::Corrupt(reason)));
            // Dropped before `done`, which may take the layer back or reopen the file.
            drop((layer, store));
            ending.store(true, Ordering::Release);
            done();
            result
        };
        let write = Arc::new(Mutex::new(Some(write)));
        let take =
            |write: &Mutex<Option<_>>| write.lock().unwrap_or_else(PoisonError::into_inner).take();
        let for_thread = Arc::clone(&write);
        let run = move || take(&for_thread).map_or(Ok(()), |write| write());
        let writer = match thread::Builder::new().name("storing".into()).spawn(run) {
            Ok(thread) => Writer::Thread(thread),
            // The system gives no thread, so the commit runs on this one.
            Err(_) => Writer::Done(take(&write).map_or(Ok(()), |write| write())),
        };
        self.writing = Some(Writing { writer, ended });
        Ok(())
    }

    /// True from [`Overlay::begin_writing`] until a [`Overlay::finish_writing`] succeeds.
    pub(crate) const fn is_writing(&self) -> bool {
        self.writing.is_some() || self.failed
    }

    /// True if [`Overlay::finish_writing`] would have to wait.
    pub(crate) fn is_busy(&self) -> bool {
        self.writing.as_ref().is_some_and(|writing| !writing.ended.load(Ordering::Acquire))
    }

    /// Waits until the write in progress is on the disk; returns at once if there is none.
    pub(crate) fn finish_writing(&mut self) -> Result<(), ChainFault> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        // Stays set unless the write succeeds, so that no reply reports a failed write as durable.
        self.failed = true;
        writing.join()?;
        self.failed = false;
        self.after_writing();
        Ok(())
    }

    /// Turns the base into the written layer, without its bodies: they are large and seldom read
    /// again.
    fn freeze(&mut self) -> Bodies {
        debug_assert!(self.child.is_none(), "a child layer is merged or dropped before a commit");
        let mut layer = std::mem::take(&mut self.base);
        let bodies = std::mem::take(&mut layer.blocks);
        self.written = Arc::new(layer);
        self.changed = false;
        self.awaited = false;
        bodies
    }

    fn after_writing(&mut self) {
        self.snapshot = None;
        match Arc::get_mut(&mut self.written) {
            Some(written) => written.keep_coins(),
            None => self.written = Arc::default(),
        }
    }

    /// Resets coins, undo records and index to the genesis, which becomes the tip; bodies stay
    /// stored.
    pub(crate) fn reset(&mut self) -> Result<(), ChainFault> {
        debug_assert!(!self.changed && self.writing.is_none(), "a reset follows a commit");
        self.snapshot = None;
        self.written = Arc::default();
        self.store.reset()
    }

    // Headers

    pub(crate) fn header(&mut self, key: &BlockKey) -> Result<Option<HeaderRecord>, ChainFault> {
        let changed = self.layers().find_map(|layer| layer.headers.get(key)).copied();
        match changed {
            Some(known) => Ok(known.map(|bytes| HeaderRecord::from_bytes(&bytes)).transpose()?),
            None => Ok(self.tables()?.header(key)?),
        }
    }

    pub(crate) fn put_header(&mut self, key: BlockKey, record: HeaderRecord) {
        self.top().headers.set(key, Some(record.to_bytes()));
    }

    pub(crate) fn remove_header(&mut self, key: BlockKey) {
        self.top().headers.set(key, None);
    }

    pub(crate) fn set_best_header(&mut self, key: BlockKey) {
        self.top().best_header = Some(key);
    }

    /// Sets the record of attended time. No reply waits for it.
    pub(crate) fn set_attended(&mut self, record: Vec<u8>) {
        let awaited = self.awaited;
        self.top().attended = Some(record);
        self.awaited = awaited;
    }

    pub(crate) fn set_tip(&mut self, key: BlockKey) {
        self.top().tip = Some(key);
    }

    // Bodies

    /// Returns a stored block; a missing body is corruption.
    pub(crate) fn block(&mut self, key: &BlockKey) -> Result<Block, ChainFault> {
        let missing = || ChainFault::Corrupt("a stored block's body is missing".into());
        if let Some(known) = self.layers().find_map(|layer| layer.blocks.get(key)) {
            return Ok(stored("a block", known.as_ref().ok_or_else(missing)?)?);
        }
        // The block may be in the layer that is being written, which keeps no bodies.
        self.finish_writing()?;
        let bytes = self.tables()?.blocks.get(key)?.ok_or_else(missing)?;
        Ok(stored("a block", bytes.value())?)
    }

    /// Returns the length of a stored block in bytes; 0 if it is missing.
    pub(crate) fn block_len(&mut self, key: &BlockKey) -> Result<usize, ChainFault> {
        if let Some(known) = self.layers().find_map(|layer| layer.blocks.get(key)) {
            return Ok(known.as_ref().map_or(0, Vec::len));
        }
        // The block may be in the layer that is being written, which keeps no bodies.
        self.finish_writing()?;
        Ok(self.tables()?.blocks.get(key)?.map_or(0, |bytes| bytes.value().len()))
    }

    pub(crate) fn put_block(&mut self, key: BlockKey, block: &Block) {
        let layer = self.top();
        let bytes = layer.count(block.to_bytes());
        layer.blocks.insert(key, Some(bytes));
    }

    pub(crate) fn remove_block(&mut self, key: BlockKey) {
        self.top().blocks.insert(key, None);
    }

    /// Returns the undo record of a connected block; a missing one is corruption.
    pub(crate) fn undo(&mut self, key: &BlockKey) -> Result<Undo, ChainFault> {
        let missing = || ChainFault::Corrupt("a connected block's undo record is missing".into());
        if let Some(known) = self.layers().find_map(|layer| layer.undo.get(key)) {
            return Ok(stored("an undo record", known.as_ref().ok_or_else(missing)?)?);
        }
        let bytes = self.tables()?.undo.get(key)?.ok_or_else(missing)?;
        Ok(stored("an undo record", bytes.value())?)
    }

    pub(crate) fn put_undo(&mut self, key: BlockKey, undo: &Undo) {
        let layer = self.top();
        let bytes = layer.count(undo.to_bytes());
        layer.undo.insert(key, Some(bytes));
    }

    pub(crate) fn remove_undo(&mut self, key: BlockKey) {
        self.top().undo.insert(key, None);
    }

    // Transactions

    /// Returns height and position of a mined transaction.
    pub(crate) fn location(&mut self, txid: &TxId) -> Result<Option<TxLocation>, ChainFault> {
        let changed = self.layers().find_map(|layer| layer.tx_index.get(txid)).copied();
        match changed {
            Some(known) => Ok(known),
            None => Ok(self
                .tables()?
                .tx_index
                .get(tx_key(txid))?
                .map(|bytes| TxLocation::from_bytes(*bytes.value()))),
        }
    }

    pub(crate) fn put_location(&mut self, txid: TxId, location: Option<TxLocation>) {
        self.top().tx_index.insert(txid, location);
    }

    /// Stores a mempool entry. A crash may lose a peer's entry, since no reply promises that it is
    /// durable.
    pub(crate) fn put_waiting(&mut self, txid: TxId, record: &MempoolRecord) {
        let awaited = self.awaited || record.local;
        let layer = self.top();
        let bytes = layer.count(record.to_bytes());
        layer.waiting.insert(txid, Some(bytes));
        self.awaited = awaited;
    }

    pub(crate) fn remove_waiting(&mut self, txid: TxId) {
        let awaited = self.awaited;
        self.top().waiting.insert(txid, None);
        self.awaited = awaited;
    }

    pub(crate) fn own(&mut self, txid: &TxId) -> Result<Option<OwnRecord>, ChainFault> {
        if let Some(known) = self.layers().find_map(|layer| layer.own.get(txid)) {
            return Ok(known.as_ref().map(|bytes| stored("an own trade", bytes)).transpose()?);
        }
        let record = self.tables()?.own.get(tx_key(txid))?;
        Ok(record.map(|bytes| stored("an own trade", bytes.value())).transpose()?)
    }

    pub(crate) fn put_own(&mut self, txid: TxId, record: &OwnRecord) {
        let layer = self.top();
        let bytes = layer.count(record.to_bytes());
        layer.own.insert(txid, Some(bytes));
    }

    pub(crate) fn remove_own(&mut self, txid: TxId) {
        self.top().own.insert(txid, None);
    }
}

impl Overlay {
    /// Returns the coin under a key. Unless the child layer changed the coin, a value from
    /// `remembered` is used without a lookup. The caller keeps `remembered` in line with all other
    /// layers.
    pub(crate) fn coin_or(
        &mut self,
        key: &CoinKey,
        remembered: impl FnOnce() -> Option<Coin>,
    ) -> Result<Option<Coin>, ChainFault> {
        if let Some(changed) = self.child.as_ref().and_then(|child| child.coins.get(key)) {
            return Ok(*changed);
        }
        if let Some(coin) = remembered() {
            return Ok(Some(coin));
        }
        if let Some(changed) = self.base.coins.get(key).or_else(|| self.written.coins.get(key)) {
            return Ok(*changed);
        }
        let stored = self.tables()?.coins.get(&key.to_bytes())?;
        Ok(stored.map(|bytes| coin_from_bytes(bytes.value())).transpose()?)
    }

    /// Reserves room for changes to this many coins.
    pub(crate) fn reserve(&mut self, coins: usize) {
        self.top().coins.reserve(coins);
    }
}

impl Coins for Overlay {
    fn coin(&mut self, key: &CoinKey) -> Result<Option<Coin>, ChainFault> {
        self.coin_or(key, || None)
    }

    fn set_coin(&mut self, key: CoinKey, coin: Option<Coin>) {
        self.top().coins.insert(key, coin);
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        if let Some(writing) = self.writing.take() {
            // No caller is left to receive the result. The thread's end releases the file.
            let _ = writing.join();
        }
    }
}
