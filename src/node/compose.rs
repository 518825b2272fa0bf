//! What starts, in which order, and stops: a whole node, or a folder for one command.
//!
//! A node starts from the bottom up (chain, wallet, friends, network, miners, router, RPC), so that
//! whatever speaks finds what it speaks to; it stops from the top down, and whoever waits for its
//! end waits until both files are closed.

use std::{sync::Arc, thread::JoinHandle};

use futures::{FutureExt, future::BoxFuture};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot};

use super::{
    blocks_won::BlocksWon,
    clock::{now, system},
    config::NodeConfig,
    host::{Host, OpenedFolder, RunningNode},
    keyring::{Keyring, blocking},
    metrics::{self, Listener, Monitor, Watched},
    router::{Ended, Parts, Router, RouterHandle},
    service::{Ledger, Service, Unusable},
};
use crate::{
    chain::{self, Chain, ChainOptions, api::ChainEvent, store},
    consensus::Network,
    datadir::{CHAIN_FILE, DataDir, FRIENDS_FILE, FolderLock, IDENTITY_FILE, WALLET_FILE},
    friends::{self, Friends, FriendsConfig, FriendsHandle},
    miner::{self, MinerConfig, MiningMode},
    net::{self, CommandError, Identity, NetConfig},
    peers::Peers,
    primitives::{Address, Header, NetworkId, printable},
    rpc::{
        Client, EventFeed, FriendchainApiServer, ProgressBoard, RpcError, serve,
        types::{ConsoleEvent, MineMode},
    },
    telemetry::{events, metrics::StoreMetrics},
};

/// The chain's events that wait for the router: more than a window of sync.
const CHAIN_EVENTS: usize = 1_024;

/// Solved headers that wait for the router.
const SOLVED: usize = 16;

/// Memory of the store's cache when a folder is opened for one command, in MiB.
const COMMAND_CACHE_MIB: u32 = 64;

/// Addresses from the last run that are dialed again.
const KNOWN_PEERS: usize = 256;

/// The composition of this program.
#[derive(Debug, Clone, Copy, Default)]
pub struct Composition;

impl Host for Composition {
    fn open(&self, folder: FolderLock) -> BoxFuture<'_, Result<OpenedFolder, RpcError>> {
        open(folder).boxed()
    }

    fn start(
        &self,
        folder: FolderLock,
        config: NodeConfig,
    ) -> BoxFuture<'_, Result<RunningNode, RpcError>> {
        start(folder, config).boxed()
    }
}

/// A chain that is open, and what ends with it.
struct OpenChain {
    ledger: Ledger,
    events: mpsc::Receiver<ChainEvent>,
    solved: mpsc::Receiver<Header>,
    thread: JoinHandle<()>,
    metrics: StoreMetrics,
}

/// What the miners are to do.
struct Mining {
    mode: MiningMode,
    owner: Option<Address>,
    threads: usize,
}

async fn open_chain(
    folder: &DataDir,
    cache_mib: u32,
    mining: Mining,
    read_only: bool,
) -> Result<OpenChain, RpcError> {
    let path = folder.file(CHAIN_FILE);
    let options = ChainOptions {
        cache_mib: usize::try_from(cache_mib).unwrap_or(usize::MAX),
        ..ChainOptions::default()
    };
    let open = if read_only { Chain::open_frozen } else { Chain::open };
    let chain = blocking(move || open(&path, options)).await??;
    let metrics = chain.metrics();
    let (events, event_queue) = mpsc::channel(CHAIN_EVENTS);
    let (chain, thread) = chain::spawn(chain, system(), events).map_err(RpcError::internal)?;
    let (solved, solved_queue) = mpsc::channel(SOLVED);
    let config = MinerConfig {
        mode: mining.mode,
        owner: mining.owner.map(|address| address.0),
        threads: mining.threads,
    };
    let miner = miner::spawn(chain.clone(), config, Some(solved)).map_err(RpcError::internal)?;
    let ledger = Ledger { reader: chain.reader().clone(), chain, miner };
    Ok(OpenChain { ledger, events: event_queue, solved: solved_queue, thread, metrics })
}

pub(super) async fn open_friends(
    folder: &DataDir,
    identity: &Identity,
    network: NetworkId,
    read_only: bool,
) -> Result<(FriendsHandle, JoinHandle<()>), RpcError> {
    let path = folder.file(FRIENDS_FILE);
    let signing = identity.clone();
    let config = FriendsConfig {
        me: identity.peer_id(),
        network,
        signer: Box::new(move |message| signing.sign(message)),
    };
    let open = if read_only { Friends::open_frozen } else { Friends::open };
    let friends = blocking(move || open(&path, config)).await??;
    friends::spawn(friends).map_err(RpcError::internal)
}

/// Opens a folder on which no node runs, for one command.
async fn open(folder: FolderLock) -> Result<OpenedFolder, RpcError> {
    let datadir = folder.folder().clone();
    let read_only = folder.is_read_only();
    let identity = Identity::load(&datadir.file(IDENTITY_FILE));
    let identity = match identity {
        Err(error) if read_only && error.is_absent() => Identity::generate(),
        Err(error) if error.is_absent() => Identity::load_or_create(&datadir.file(IDENTITY_FILE))?,
        identity => identity?,
    };
    let keyring = Keyring::new(datadir.file(WALLET_FILE));
    let (mut ledger, mut book, mut threads, mut own_name) = (None, None, Vec::new(), None);
    let mut events = None;
    let mut unusable = Unusable::default();
    if store::exists(&datadir.file(CHAIN_FILE)) {
        let mining =
            Mining { mode: MiningMode::Off, owner: None, threads: miner::default_threads() };
        // What cannot be opened is told by the commands that need it; others may be what mends it.
        match open_chain(&datadir, COMMAND_CACHE_MIB, mining, read_only).await {
            Ok(chain) => {
                threads.push(chain.thread);
                events = Some((chain.events, chain.solved));
                ledger = Some(chain.ledger);
            }
            Err(error) => unusable.chain = Some(error),
        }
    }
    if let Some(ledger) = &ledger {
        let network = ledger.chain.summary().network.id;
        match open_friends(&datadir, &identity, network, read_only).await {
            Ok((friends, thread)) => {
                own_name = friends.own_profile().await?.map(|profile| profile.name);
                threads.push(thread);
                book = Some(friends);
            }
            Err(error) => unusable.friends = Some(error),
        }
    }
    // Nobody reads them here, but whoever sends must not wait.
    let drain = tokio::spawn(async move {
        if let Some((mut events, mut solved)) = events {
            while tokio::select! { event = events.recv() => event.is_some(), header = solved.recv() => header.is_some() }
            {
            }
        }
    });
    let service = Service {
        name: own_name.unwrap_or_default(),
        peer_id: identity.peer_id(),
        keyring,
        ledger: ledger.clone(),
        friends: book.clone(),
        unusable,
        router: None,
        feed: EventFeed::default(),
        progress: ProgressBoard::default(),
        miner_address: None,
        mining: MineMode::Off,
        metrics: None,
        blocks_won: BlocksWon::default(),
        datadir,
    };
    let close = async move {
        close_parts(ledger, book, threads).await;
        drain.abort();
        drop(folder);
    };
    Ok(OpenedFolder { client: Client::local(service.into_rpc()), close: close.boxed() })
}

/// Stops what has threads, and waits until they have closed their files.
async fn close_parts(
    ledger: Option<Ledger>,
    friends: Option<FriendsHandle>,
    threads: Vec<JoinHandle<()>>,
) {
    if let Some(ledger) = ledger {
        ledger.miner.stop().await;
        ledger.chain.shut_down().await;
    }
    if let Some(friends) = friends {
        friends.shut_down().await;
    }
    let joined = blocking(move || threads.into_iter().all(|thread| thread.join().is_ok())).await;
    if !matches!(joined, Ok(true)) {
        tracing::error!("a thread panicked: please report it");
    }
}

/// Starts a node.
async fn start(folder: FolderLock, config: NodeConfig) -> Result<RunningNode, RpcError> {
    let datadir = folder.folder().clone();
    // First, so that a port that is in use costs nothing but a sentence, and that whoever watches
    // is answered meanwhile.
    let watch = match config.metrics {
        Some(address) => Some(Listener::start(address).await?),
        None => None,
    };
    let identity = Identity::load_or_create(&datadir.file(IDENTITY_FILE))?;
    adopt_lan(&datadir).await?;

    let keyring = Keyring::new(datadir.file(WALLET_FILE));
    let miner_address = open_wallet(&keyring, &config).await?;
    let mining = Mining {
        // Until the router finds that there is nothing to catch up with.
        mode: MiningMode::Off,
        owner: miner_address,
        threads: config.threads.map_or_else(miner::default_threads, std::num::NonZeroUsize::get),
    };
    let chain = open_chain(&datadir, config.cache_mib, mining, false).await?;
    let network = chain.ledger.chain.summary().network;
    let (book, friends_thread) = open_friends(&datadir, &identity, network.id, false).await?;
    let threads = vec![chain.thread, friends_thread];
    let ledger = chain.ledger;

    let started = start_upper(
        &folder,
        config,
        identity,
        keyring,
        miner_address,
        UpperFloors {
            network,
            ledger: ledger.clone(),
            chain_events: chain.events,
            solved: chain.solved,
            friends: book.clone(),
            store_metrics: chain.metrics,
            watch,
        },
    );
    let upper = match started.await {
        Ok(upper) => upper,
        Err(error) => {
            close_parts(Some(ledger), Some(book), threads).await;
            return Err(error);
        }
    };
    let finished = async move {
        let ended = upper.router_task.await;
        upper.feed.push(ConsoleEvent::Stopping);
        drop(upper.watch);
        // The server has ended by itself.
        let _ = upper.stop_rpc.send(());
        let _ = upper.rpc_task.await;
        let height = ledger.chain.summary().tip.height;
        close_parts(Some(ledger), Some(book), threads).await;
        if let Err(error) = folder.remove_node_file() {
            tracing::warn!(%error, "node.json could not be removed");
        }
        drop(folder);
        events::emit_suppressed();
        match ended {
            Ok(Ended::Stopped) => {
                events::NodeStopped { height }.emit();
                Ok(())
            }
            Ok(Ended::Failed(reason)) => {
                Err(RpcError::new("node_failed", format!("the node has ended: {reason}")))
            }
            Err(panic) => {
                Err(RpcError::internal(format!("the node task failed, please report it: {panic}")))
            }
        }
    };
    Ok(RunningNode { client: upper.client, finished: finished.boxed() })
}

/// What the upper floors stand on.
struct UpperFloors {
    network: Arc<Network>,
    ledger: Ledger,
    chain_events: mpsc::Receiver<ChainEvent>,
    solved: mpsc::Receiver<Header>,
    friends: FriendsHandle,
    store_metrics: StoreMetrics,
    watch: Option<Listener>,
}

/// Network, router, RPC and metrics, running.
struct Upper {
    client: Client,
    feed: EventFeed,
    router_task: tokio::task::JoinHandle<Ended>,
    stop_rpc: oneshot::Sender<()>,
    rpc_task: tokio::task::JoinHandle<()>,
    watch: Option<Listener>,
}

async fn start_upper(
    folder: &FolderLock,
    config: NodeConfig,
    identity: Identity,
    keyring: Keyring,
    miner_address: Option<Address>,
    base: UpperFloors,
) -> Result<Upper, RpcError> {
    let UpperFloors { network, ledger, chain_events, solved, friends, store_metrics, watch } = base;
    let name = match config.name {
        Some(name) => name,
        None => friends.own_profile().await?.map_or(config.default_name, |profile| profile.name),
    };
    events::set_node_name(&name);
    let peers = Peers::new(friends.bans(now()).await?);

    let mut net_config = NetConfig::new(identity.clone(), network.id);
    net_config.listen = config.listen;
    net_config.peers = config.peers;
    net_config.mdns = config.mdns;
    net_config.private_only = config.private_only.unwrap_or(network.id == Network::lan().id);
    let (mut registry, event_metrics) = (Registry::default(), metrics::counted());
    store_metrics.register(&mut registry);
    event_metrics.register(&mut registry);
    let (net, net_events) = net::spawn(net_config, &mut registry)?;
    for ban in peers.bans(now()) {
        until_taken(|| net.ban(ban.peer)).await?;
    }
    for known in friends.known_peers(KNOWN_PEERS).await? {
        until_taken(|| net.add_known(known.peer, &known.addresses)).await?;
    }

    let feed = EventFeed::default();
    let mempool = ledger.chain.mempool().await?;
    let reader = ledger.reader.clone();
    let min_work = blocking(move || reader.min_work()).await?;
    let peer_id = identity.peer_id();
    let parts = Parts {
        network: network.clone(),
        identity,
        name: name.clone(),
        net: net.clone(),
        net_events,
        ledger: ledger.clone(),
        chain_events,
        solved,
        friends: friends.clone(),
        keyring: keyring.clone(),
        feed: feed.clone(),
        peers,
        min_work,
        mempool,
        mining: match config.mining {
            MineMode::Off => MiningMode::Off,
            MineMode::OnDemand => MiningMode::OnDemand,
            MineMode::Always => MiningMode::Always,
        },
        metrics: event_metrics,
    };
    let (router, router_task) = Router::spawn(parts);
    let height = ledger.chain.summary().tip.height;
    let watched = Watched {
        ledger: ledger.clone(),
        net,
        router: router.clone(),
        datadir: folder.folder().clone(),
        name: printable(&name),
    };
    let metrics_address = watch.as_ref().map(|listener| listener.address);
    let service = Service {
        datadir: folder.folder().clone(),
        name,
        peer_id,
        keyring,
        ledger: Some(ledger),
        friends: Some(friends),
        unusable: Unusable::default(),
        router: Some(router.clone()),
        feed: feed.clone(),
        progress: ProgressBoard::default(),
        miner_address,
        mining: config.mining,
        metrics: metrics_address,
        blocks_won: BlocksWon::default(),
    };
    let methods = service.into_rpc();
    let (stop_rpc, rpc_stopped) = oneshot::channel();
    let token = folder.new_token()?;
    let stop = async move {
        // A dropped sender means the end as well.
        let _ = rpc_stopped.await;
    };
    let served = match serve(config.rpc, methods.clone(), &token, stop).await {
        Ok(served) => served,
        Err(error) => return end_router(&router, router_task, error).await,
    };
    if let Err(error) = folder.write_node_file(served.address, metrics_address) {
        return end_router(&router, router_task, error.into()).await;
    }
    if let Some(listener) = &watch {
        listener.show(Monitor::new(watched, registry));
    }
    events::NodeStarted {
        peer_id,
        network: network.id,
        height,
        version: env!("CARGO_PKG_VERSION"),
        rpc: served.address.to_string(),
        metrics: metrics_address.map(|address| address.to_string()),
    }
    .emit();
    Ok(Upper {
        client: Client::local(methods),
        feed,
        router_task,
        stop_rpc,
        rpc_task: served.task,
        watch,
    })
}

/// Gives the network what it must not miss: its queue may be shorter than what there is to give.
async fn until_taken(
    mut give: impl FnMut() -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    loop {
        match give() {
            Err(CommandError::Busy) => tokio::task::yield_now().await,
            other => return other,
        }
    }
}

/// The node cannot start after all.
async fn end_router(
    router: &RouterHandle,
    task: tokio::task::JoinHandle<Ended>,
    error: RpcError,
) -> Result<Upper, RpcError> {
    router.stop();
    // However it ends, what is told is why the node did not start.
    let _ = task.await;
    Err(error)
}

/// A folder without a chain takes up the built-in network.
async fn adopt_lan(folder: &DataDir) -> Result<(), RpcError> {
    if store::exists(&folder.file(CHAIN_FILE)) {
        return Ok(());
    }
    super::setup::create_chain(folder, Network::lan(), None).await
}

/// Opens the wallet as the configuration says; gives who is paid for blocks mined here.
async fn open_wallet(keyring: &Keyring, config: &NodeConfig) -> Result<Option<Address>, RpcError> {
    let needed = config.make_wallet || (config.mining != MineMode::Off && config.miner.is_none());
    let wallet = if needed {
        Some(keyring.open_or_create().await?)
    } else {
        keyring.open_if_there().await?
    };
    let first = wallet.as_ref().map(|wallet| wallet.first_address());
    if let (Some(passphrase), Some(mut wallet)) = (config.passphrase.clone(), wallet)
        && wallet.is_locked(now())
    {
        wallet.unlock(passphrase, None).await?;
    }
    Ok(config.miner.or(first))
}
