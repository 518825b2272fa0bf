//! Opens the files of a folder: the chain with its thread and miner, and the friends' file.

use std::thread::JoinHandle;

use tokio::sync::mpsc;

use super::{
    blocking::blocking,
    clock::{moment, system},
    parts::ChainParts,
};
use crate::{
    chain::{self, Chain, ChainOptions, OpenError, api::ChainEvent, store},
    consensus::{Checkpoint, Network},
    datadir::{CHAIN_FILE, DataDir, FRIENDS_FILE},
    friends::{self, Friends, FriendsConfig, FriendsHandle},
    miner::{self, MinerConfig},
    net::Identity,
    peers::Trust,
    primitives::{Header, NetworkId},
    rpc::RpcError,
    telemetry::metrics::StoreMetrics,
};

/// Chain events that may queue for the router: more than a sync window's blocks.
const CHAIN_EVENTS: usize = 1_024;

/// Solved headers that may queue for the router. The miner drops further ones.
const SOLVED: usize = 16;

/// The store's cache while a chain's file is created, in MiB: one block passes through it.
const CREATE_CACHE_MIB: usize = 16;

/// The channels that a chain's thread and miner send on. The owner must receive from both, since
/// the chain thread blocks while its queue is full.
pub(crate) struct ChainOutput {
    pub(crate) events: mpsc::Receiver<ChainEvent>,
    /// Headers that the miner has solved.
    pub(crate) solved: mpsc::Receiver<Header>,
}

/// An open chain with its thread and its miner.
pub(crate) struct OpenChain {
    pub(crate) parts: ChainParts,
    pub(crate) output: ChainOutput,
    pub(crate) thread: JoinHandle<()>,
    pub(crate) metrics: StoreMetrics,
}

/// The reason why a folder's chain could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenChainError {
    /// The file was rejected.
    #[error(transparent)]
    File(#[from] OpenError),
    /// A thread failed, or could not be started.
    #[error(transparent)]
    Thread(RpcError),
}

impl OpenChainError {
    /// True if the file's content is at fault, so that a reindex may repair it.
    pub(crate) const fn is_bad_file(&self) -> bool {
        matches!(
            self,
            Self::File(
                OpenError::NotAChain { .. } | OpenError::Corrupt { .. } | OpenError::Lost { .. }
            )
        )
    }
}

/// Opens a folder's chain, and starts its thread and a miner on it.
pub(crate) async fn open_chain(
    folder: &DataDir,
    cache_mib: u32,
    miner: MinerConfig,
    read_only: bool,
) -> Result<OpenChain, OpenChainError> {
    let thread_failed = |cause| OpenChainError::Thread(RpcError::no_threads(cause));
    let path = folder.file(CHAIN_FILE);
    let options = ChainOptions {
        cache_mib: usize::try_from(cache_mib).unwrap_or(usize::MAX),
        ..ChainOptions::default()
    };
    let open = if read_only { Chain::open_frozen } else { Chain::open };
    let chain = blocking(move || open(&path, options)).await.map_err(OpenChainError::Thread)??;
    let metrics = chain.metrics();
    let (event_sender, events) = mpsc::channel(CHAIN_EVENTS);
    let (handle, thread) = chain::spawn(chain, system(), event_sender).map_err(thread_failed)?;
    let (solved_sender, solved) = mpsc::channel(SOLVED);
    let miner = miner::spawn(handle.clone(), miner, Some(solved_sender)).map_err(thread_failed)?;
    let parts = ChainParts { reader: handle.reader().clone(), handle, miner };
    Ok(OpenChain { parts, output: ChainOutput { events, solved }, thread, metrics })
}

/// Opens a folder's friends file, and starts its thread. Friends of earlier runs are added to
/// `trust`.
pub(crate) async fn open_friends(
    folder: &DataDir,
    identity: &Identity,
    network: NetworkId,
    trust: Trust,
    read_only: bool,
) -> Result<(FriendsHandle, JoinHandle<()>), RpcError> {
    let path = folder.file(FRIENDS_FILE);
    let (signing, agreeing) = (identity.clone(), identity.clone());
    let config = FriendsConfig {
        me: identity.peer_id(),
        network,
        signer: Box::new(move |message| signing.sign(message)),
        agree: Box::new(move |theirs| agreeing.agree(theirs)),
        trust,
        clock: Box::new(moment),
    };
    let open = if read_only { Friends::open_frozen } else { Friends::open };
    let friends = blocking(move || open(&path, config)).await??;
    friends::spawn(friends).map_err(RpcError::no_threads)
}

/// Creates the chain's file with its genesis. `checkpoint` is from an invite.
pub(crate) async fn create_chain(
    folder: &DataDir,
    network: Network,
    checkpoint: Option<Checkpoint>,
) -> Result<(), RpcError> {
    let path = folder.file(CHAIN_FILE);
    blocking(move || {
        store::create(&path, &network, checkpoint.as_ref(), CREATE_CACHE_MIB).map(drop)
    })
    .await??;
    Ok(())
}

/// Creates the built-in network's chain in a folder without a chain.
pub(crate) async fn adopt_lan(folder: &DataDir) -> Result<(), RpcError> {
    if store::exists(&folder.file(CHAIN_FILE)) {
        return Ok(());
    }
    create_chain(folder, Network::lan(), None).await
}
