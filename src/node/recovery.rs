//! Searches the chain for the addresses of a restored wallet, in stored blocks and in later ones.
//!
//! The blocks are read in parts from snapshots, on a blocking thread and without the chain thread.
//! One pass over the blocks searches for all addresses, with about 100 bytes of memory for each.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::{Mutex, MutexGuard};

use super::{blocking::blocking, clock::moment_with_sleep, keyring::Keyring};
use crate::{
    chain::{ChainFault, ChainHandle, ChainReader},
    primitives::{BlockHash, Height},
    rpc::RpcError,
    wallet::{AHEAD, RecoveryPhrase, Search},
};

/// Blocks that are read from one snapshot, which pins pages of the file meanwhile.
const BLOCKS_AT_ONCE: usize = 256;

/// Blocks after which the search's progress is stored. After a crash, at most these are read again.
const BLOCKS_UNSAVED: Height = 10_000;

/// The search of a data folder. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Recovery {
    path: PathBuf,
    keyring: Keyring,
    state: Arc<Mutex<State>>,
}

/// The state of the search.
#[derive(Debug, Default)]
enum State {
    /// The file has not been read yet.
    #[default]
    Unread,
    /// There is no restored wallet here.
    Absent,
    Searching {
        search: Box<Search>,
        /// The height of the progress in the file.
        saved: Height,
    },
}

impl Recovery {
    /// Creates the search with its file at `path`, which may not exist.
    #[must_use]
    pub(crate) fn new(path: PathBuf, keyring: Keyring) -> Self {
        Self { path, keyring, state: Arc::default() }
    }

    /// Searches the chain for the addresses of a phrase, stores the search, and returns the number
    /// of addresses up to the last one found. `progress` gets the blocks done and in total.
    pub(crate) async fn begin(
        &self,
        phrase: RecoveryPhrase,
        reader: Option<ChainReader>,
        progress: impl Fn(u64, u64) + Send + 'static,
    ) -> Result<u32, RpcError> {
        let mut state = self.state.lock().await;
        let path = self.path.clone();
        let found = blocking(move || {
            let keys = phrase.public_keys(usize::try_from(AHEAD).unwrap_or(usize::MAX));
            let mut search = Search::new(keys);
            while let Some(reader) = &reader {
                walk(&mut search, reader, &progress)?;
                let Some(count) = search.wants_keys(0) else { break };
                search.set_keys(phrase.public_keys(count));
            }
            search.write(&path)?;
            Ok::<_, RpcError>(search)
        });
        let search = found.await??;
        let count = u32::try_from(search.found().len()).unwrap_or(u32::MAX);
        *state = State::from(search);
        Ok(count)
    }

    /// Searches the blocks that came since the last call, and adds what it finds to the wallet.
    /// Does nothing without a restored wallet.
    pub(crate) async fn go_on(&self, reader: &ChainReader) -> Result<(), RpcError> {
        let mut state = self.state.lock().await;
        if matches!(*state, State::Unread) {
            let path = self.path.clone();
            *state = match blocking(move || Search::read(&path)).await?? {
                Some(search) => State::from(search),
                None => State::Absent,
            };
        }
        loop {
            self.search(&mut state, reader).await?;
            if !self.extend(&mut state).await? {
                return Ok(());
            }
        }
    }

    /// Does the same as [`Self::go_on`] in a task: an unlocked wallet can derive further keys.
    pub(crate) fn go_on_unlocked(&self, reader: ChainReader) {
        let recovery = self.clone();
        tokio::spawn(async move { recovery.go_on_or_warn(&reader).await });
    }

    async fn go_on_or_warn(&self, reader: &ChainReader) {
        if let Err(error) = self.go_on(reader).await {
            tracing::warn!(%error, "the search for a restored wallet's addresses failed");
        }
    }

    /// Searches new blocks, and adds the addresses found to the wallet.
    async fn search(
        &self,
        state: &mut MutexGuard<'_, State>,
        reader: &ChainReader,
    ) -> Result<(), RpcError> {
        let State::Searching { search, saved } = &mut **state else { return Ok(()) };
        let (mut walked, reader) = (search.clone(), reader.clone());
        let walked = blocking(move || walk(&mut walked, &reader, &|_, _| {}).map(|()| walked));
        let walked = walked.await??;
        let is_longer = walked.found().len() > search.found().len();
        let height = walked.scanned().map_or(0, |(height, _)| height);
        if is_longer && let Some(mut wallet) = self.keyring.open_if_there().await? {
            wallet.add_found(walked.found())?;
        }
        *search = walked;
        if is_longer || height.abs_diff(*saved) >= BLOCKS_UNSAVED {
            self.store(search).await?;
            *saved = height;
        }
        Ok(())
    }

    /// Derives more keys if too few are left beyond the last address in use. Returns true if it
    /// did. While the wallet is locked, it returns false, and the next call tries again.
    async fn extend(&self, state: &mut MutexGuard<'_, State>) -> Result<bool, RpcError> {
        let State::Searching { search, .. } = &mut **state else { return Ok(false) };
        let Some(mut wallet) = self.keyring.open_if_there().await? else { return Ok(false) };
        let Some(count) = search.wants_keys(wallet.addresses().len()) else { return Ok(false) };
        let keys = blocking(move || wallet.keys_ahead(count, moment_with_sleep())).await?;
        let Ok(keys) = keys else { return Ok(false) };
        search.set_keys(keys);
        self.store(search).await?;
        Ok(true)
    }

    async fn store(&self, search: &Search) -> Result<(), RpcError> {
        let (search, path) = (search.clone(), self.path.clone());
        Ok(blocking(move || search.write(&path)).await??)
    }

    /// Continues the search at each new block, until the chain is closed.
    pub(crate) async fn watch(self, chain: ChainHandle) {
        let mut summary = chain.watch();
        let mut seen = None;
        loop {
            let tip = summary.borrow_and_update().tip.hash;
            if seen.replace(tip) != Some(tip) {
                self.go_on_or_warn(chain.reader()).await;
            }
            if summary.changed().await.is_err() || chain.is_closed() {
                return;
            }
        }
    }
}

/// Searches the best chain from the last block searched to the tip.
fn walk(
    search: &mut Search,
    reader: &ChainReader,
    progress: &dyn Fn(u64, u64),
) -> Result<(), ChainFault> {
    let positions = search.positions();
    let mut next = match last_shared(search, reader) {
        Some((height, _)) => height.saturating_add(1),
        None => 0,
    };
    loop {
        let mut last: Option<(Height, BlockHash)> = None;
        let tip = reader.each_block(next, BLOCKS_AT_ONCE, &mut |height, hash, block| {
            search.see(block, &positions);
            last = Some((height, hash));
        })?;
        let Some((height, hash)) = last else { return Ok(()) };
        search.set_scanned(Some((height, hash)));
        progress(u64::from(height), u64::from(tip));
        next = height.saturating_add(1);
    }
}

/// Returns the last searched block that is on the best chain: a reorg may have removed some.
fn last_shared(search: &Search, reader: &ChainReader) -> Option<(Height, BlockHash)> {
    let (_, mut hash) = search.scanned()?;
    loop {
        // An unknown block belongs to another chain, which this folder had before.
        let (header, is_on_best_chain) = reader.header(&hash)?;
        if is_on_best_chain {
            return Some((header.height, hash));
        }
        hash = header.previous;
    }
}

impl From<Search> for State {
    fn from(search: Search) -> Self {
        let saved = search.scanned().map_or(0, |(height, _)| height);
        Self::Searching { search: Box::new(search), saved }
    }
}
