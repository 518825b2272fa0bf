//! The parts of an open folder that several modules of the node share.

use std::thread::JoinHandle;

use super::blocking::blocking;
use crate::{
    chain::{ChainHandle, ChainReader},
    friends::FriendsHandle,
    miner::MinerHandle,
};

/// The chain thread, its snapshots, and the miner on it.
#[derive(Clone)]
pub(crate) struct ChainParts {
    pub(crate) handle: ChainHandle,
    pub(crate) reader: ChainReader,
    pub(crate) miner: MinerHandle,
}

/// Everything in threads of its own that has a file of the folder open.
pub(crate) struct OpenFiles {
    /// None if the folder has no usable chain.
    pub(crate) chain: Option<ChainParts>,
    /// None if the folder has no usable friends file.
    pub(crate) friends: Option<FriendsHandle>,
    pub(crate) threads: Vec<JoinHandle<()>>,
}

impl OpenFiles {
    /// Stops the miner and the threads, and waits until the files are closed.
    pub(crate) async fn close(self) {
        if let Some(chain) = self.chain {
            chain.miner.stop().await;
            chain.handle.shut_down().await;
        }
        if let Some(friends) = self.friends {
            friends.shut_down().await;
        }
        let threads = self.threads;
        let joined =
            blocking(move || threads.into_iter().all(|thread| thread.join().is_ok())).await;
        if !matches!(joined, Ok(true)) {
            tracing::error!("a thread panicked: please report it");
        }
    }
}
