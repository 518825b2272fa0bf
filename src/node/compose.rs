//! Starts and stops a whole node, or opens a folder for one command.
//!
//! A node starts from the bottom up: metrics listener, chain, wallet, friends, network, router,
//! RPC. It stops from the top down, and [`RunningNode::finished`] ends once both files are closed.

use std::{net::SocketAddr, num::NonZeroUsize, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use jsonrpsee::server::Methods;
use prometheus_client::registry::Registry;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{
    blocking::blocking,
    clock::{moment, moment_with_sleep, now},
    config::{NodeConfig, RelayMode, only_this_machine},
    keyring::Keyring,
    metrics::{Listener, Liveness, Monitor, Watched},
    open::{ChainOutput, OpenChain, adopt_lan, open_chain, open_friends},
    parts::{ChainParts, OpenFiles},
    recovery::Recovery,
    router::{self, Ended, Parts, Router},
    service::{
        BlocksWon, OwnName, PaidParts, PaidSender, PaidTask, Payments, Service, UnseenPayments,
        Unusable, announce_payments, console_event,
    },
    settings::{Key, Layers, read_settings},
};
use crate::{
    chain::store,
    consensus::Network,
    datadir::{
        CHAIN_FILE, DataDir, FRIENDS_FILE, FolderLock, IDENTITY_FILE, PAYMENTS_FILE, RECOVERY_FILE,
        WALLET_FILE,
    },
    friends::{AddressSource, FriendsHandle},
    miner::{self, MinerConfig},
    net::{self, CommandError, Identity, NetConfig, NetEvent, NetHandle, Told},
    peers::{Peers, Trust},
    primitives::{Address, MiningMode, printable},
    rpc::{
        Client, EventFeed, FriendchainApiServer, ProgressBoard, RpcError, serve,
        types::ConsoleEvent,
    },
    telemetry::{
        events,
        metrics::{EventMetrics, StoreMetrics},
    },
};

/// The store's cache when a folder is opened for one command, in MiB.
const COMMAND_CACHE_MIB: u32 = 64;

/// Maximum number of peers from earlier runs whose addresses the network dials again.
const KNOWN_PEERS: usize = 256;

/// A folder that is open for one command.
pub(crate) struct OpenedFolder {
    /// Calls the service in this process.
    pub(crate) client: Client,
    /// Closes the folder after the last call. When it is done, everything is on disk and the
    /// folder's lock is free.
    pub(crate) close: BoxFuture<'static, ()>,
}

/// A node that runs in this process.
pub(crate) struct RunningNode {
    /// Calls the service in this process. Its `stop` ends the node.
    pub(crate) client: Client,
    pub(crate) liveness: Liveness,
    /// Ends when the node has ended, by a command or by a failure.
    pub(crate) finished: BoxFuture<'static, Result<(), RpcError>>,
}

/// Opens a folder on which no node runs, for one command: the chain (if there is one), the wallet
/// and the friends, but no network. Methods that need a network answer [`RpcError::not_running`];
/// those that need a chain, and find none, [`RpcError::no_chain`].
pub(crate) async fn open(folder: FolderLock) -> Result<OpenedFolder, RpcError> {
    let datadir = folder.folder().clone();
    let read_only = folder.is_read_only();
    let identity = command_identity(&datadir, read_only)?;
    let mut files = OpenFiles { chain: None, friends: None, threads: Vec::new() };
    let mut unusable = Unusable::default();
    let mut drained = None;
    if store::exists(&datadir.file(CHAIN_FILE)) {
        let miner =
            MinerConfig { mode: MiningMode::Off, owner: None, threads: miner::default_threads() };
        match open_chain(&datadir, COMMAND_CACHE_MIB, miner, read_only).await {
            Ok(OpenChain { parts, output, thread, .. }) => {
                drained = Some(tokio::spawn(drain(output)));
                files.threads.push(thread);
                files.chain = Some(parts);
            }
            // No error here: the command may be the one that repairs the file.
            Err(error) => unusable.chain = Some(error.into()),
        }
    }
    let kept = read_settings(&datadir).ok().and_then(|mut kept| kept.remove(&Key::Name));
    let mut own_name = kept.and_then(|name| name.as_text().map(str::to_owned));
    // Chat and friends outlive the chain. Without a usable one, the next start may be on `lan`.
    let chain = files.chain.as_ref().map(|chain| chain.handle.summary().network.id);
    if chain.is_some() || datadir.file(FRIENDS_FILE).exists() {
        let lan = Network::lan().id;
        let network = chain.unwrap_or(lan);
        // Without a network, nobody can be met. Peers met in earlier runs keep their level.
        let trust = Trust::new([], network == lan);
        match open_friends(&datadir, &identity, network, trust, read_only).await {
            Ok((friends, thread)) => {
                own_name = friends.own_name().await?.or(own_name);
                files.threads.push(thread);
                files.friends = Some(friends);
            }
            Err(error) => unusable.friends = Some(error),
        }
    }
    let keyring = Keyring::new(datadir.file(WALLET_FILE));
    let service = Service {
        name: OwnName::new(own_name.unwrap_or_default()),
        peer_id: identity.peer_id(),
        recovery: Recovery::new(datadir.file(RECOVERY_FILE), keyring.clone()),
        keyring,
        chain: files.chain.clone(),
        friends: files.friends.clone(),
        unusable,
        router: None,
        feed: EventFeed::default(),
        progress: ProgressBoard::default(),
        miner_address: None,
        mining: MiningMode::Off,
        metrics: None,
        blocks_won: BlocksWon::default(),
        layers: None,
        payments: Payments::default(),
        unseen: None,
        datadir,
    };
    let close = async move {
        files.close().await;
        if let Some(drained) = drained {
            drained.abort();
        }
        drop(folder);
    };
    Ok(OpenedFolder { client: Client::local(service.into_rpc()), close: close.boxed() })
}

/// Loads the folder's identity, or creates it. On a read-only folder a new one is not stored.
fn command_identity(datadir: &DataDir, read_only: bool) -> Result<Identity, RpcError> {
    let path = datadir.file(IDENTITY_FILE);
    match Identity::load(&path) {
        Err(error) if read_only && error.is_absent() => Ok(Identity::generate()),
        Err(error) if error.is_absent() => Ok(Identity::load_or_create(&path)?),
        identity => Ok(identity?),
    }
}

/// Drops the events that a node would handle, so that their senders never wait.
async fn drain(mut output: ChainOutput) {
    loop {
        let open = tokio::select! {
            event = output.events.recv() => event.is_some(),
            header = output.solved.recv() => header.is_some(),
        };
        if !open {
            return;
        }
    }
}

/// Starts a node with its HTTP server and `node.json`. Returns once the node serves commands.
/// `config` was made from `layers`, which `config show` lists.
pub(crate) async fn start(
    folder: FolderLock,
    config: NodeConfig,
    layers: Layers,
) -> Result<RunningNode, RpcError> {
    let datadir = folder.folder().clone();
    // This comes first, so that a port in use fails before any work is done, and health checks get
    // an answer while the chain opens.
    let listener = match config.metrics {
        Some(address) => Some(Listener::start(address).await?),
        None => None,
    };
    let identity = Identity::load_or_create(&datadir.file(IDENTITY_FILE))?;
    adopt_lan(&datadir).await?;
    let keyring = Keyring::new(datadir.file(WALLET_FILE));
    let miner_address = open_wallet(&keyring, &config).await?;
    let miner = MinerConfig {
        // The router sets the configured mode once the chain has caught up.
        mode: MiningMode::Off,
        owner: miner_address.map(|address| address.0),
        threads: config.threads.map_or_else(miner::default_threads, NonZeroUsize::get),
    };
    let chain = open_chain(&datadir, config.cache_mib, miner, false).await?;
    let network = chain.parts.handle.summary().network;
    // On the built-in network, peers on the same local network are friends.
    let trust = Trust::new([], network.id == Network::lan().id && config.lan_friends);
    let (friends, friends_thread) =
        open_friends(&datadir, &identity, network.id, trust.clone(), false).await?;
    let files = OpenFiles {
        chain: Some(chain.parts.clone()),
        friends: Some(friends.clone()),
        threads: vec![chain.thread, friends_thread],
    };
    let miner_address = match pay_friend(&config, &chain.parts, &friends).await {
        Ok(friend) => friend.or(miner_address),
        Err(error) => {
            files.close().await;
            return Err(error);
        }
    };
    let base = Base {
        datadir,
        identity,
        keyring,
        miner_address,
        mining: config.mining,
        network,
        chain: chain.parts.clone(),
        store_metrics: chain.metrics,
        friends,
        trust,
        layers,
    };
    match start_upper(&folder, config, &base, chain.output, listener).await {
        Ok(upper) => {
            let (client, liveness) = (upper.client.clone(), upper.liveness.clone());
            let finished = finish(folder, chain.parts, files, upper).boxed();
            Ok(RunningNode { client, liveness, finished })
        }
        Err(error) => {
            files.close().await;
            Err(error)
        }
    }
}

/// Makes the miner pay the friend that the configuration names, if it names one.
async fn pay_friend(
    config: &NodeConfig,
    chain: &ChainParts,
    friends: &FriendsHandle,
) -> Result<Option<Address>, RpcError> {
    let Some(name) = &config.miner_friend else { return Ok(None) };
    let (_, owner) = friends.resolve_to_pay(name.clone()).await?;
    chain.miner.set_owner(Some(owner)).await?;
    Ok(Some(Address(owner)))
}

/// The parts of a node below its network.
struct Base {
    datadir: DataDir,
    identity: Identity,
    keyring: Keyring,
    /// The address that is paid for blocks mined here, if any.
    miner_address: Option<Address>,
    /// The mode of the miner once the chain has caught up with the peers.
    mining: MiningMode,
    network: Arc<Network>,
    chain: ChainParts,
    store_metrics: StoreMetrics,
    friends: FriendsHandle,
    /// The levels of trust, shared by friends, network and router.
    trust: Trust,
    layers: Layers,
}

/// The running parts of a node from its network up.
struct Upper {
    client: Client,
    liveness: Liveness,
    feed: EventFeed,
    router_task: JoinHandle<Ended>,
    paid_task: PaidTask,
    rpc: RunningRpc,
    /// Serves health and metrics until it is dropped.
    listener: Option<Listener>,
}

/// Starts the network, the router and the RPC, then shows the node in the metrics.
async fn start_upper(
    folder: &FolderLock,
    config: NodeConfig,
    base: &Base,
    output: ChainOutput,
    listener: Option<Listener>,
) -> Result<Upper, RpcError> {
    let name = node_name(&config, &base.friends).await?;
    events::set_node_name(&name);
    let (mut registry, event_metrics) = (Registry::default(), router::event_metrics());
    base.store_metrics.register(&mut registry);
    event_metrics.register(&mut registry);
    let networking = start_networking(&config, base, &mut registry).await?;
    let net = networking.net.clone();
    let feed = EventFeed::default();
    let unseen = UnseenPayments::new(
        base.datadir.file(PAYMENTS_FILE),
        base.chain.handle.summary().network.id,
    );
    let (paid, paid_task) = watch_payments(base, &feed, unseen.clone());
    let parts = router_parts(base, &name, networking, output, (&feed, paid), event_metrics).await?;
    let (router, router_task) = Router::spawn(parts);

    let metrics_address = listener.as_ref().map(|listener| listener.address);
    let recovery = Recovery::new(base.datadir.file(RECOVERY_FILE), base.keyring.clone());
    // The task ends with the chain.
    tokio::spawn(recovery.clone().watch(base.chain.handle.clone()));
    let service = Service {
        datadir: base.datadir.clone(),
        name: OwnName::new(name.clone()),
        peer_id: base.identity.peer_id(),
        keyring: base.keyring.clone(),
        recovery,
        chain: Some(base.chain.clone()),
        friends: Some(base.friends.clone()),
        unusable: Unusable::default(),
        router: Some(router.clone()),
        feed: feed.clone(),
        progress: ProgressBoard::default(),
        miner_address: base.miner_address,
        mining: base.mining,
        metrics: metrics_address,
        blocks_won: BlocksWon::default(),
        layers: Some(base.layers.clone()),
        payments: Payments::default(),
        unseen: Some(unseen),
    };
    let methods = Methods::from(service.into_rpc());
    let rpc = match start_rpc(folder, config.rpc, methods.clone(), metrics_address).await {
        Ok(rpc) => rpc,
        Err(error) => {
            router.stop();
            // The caller needs the RPC's error, not the router's.
            let _ = router_task.await;
            return Err(error);
        }
    };
    let liveness = Liveness { chain: base.chain.handle.clone(), net, router };
    if let Some(listener) = &listener {
        listener.show(monitor(base, &name, liveness.clone(), registry));
    }
    emit_started(base, rpc.address, metrics_address);
    let client = Client::local(methods);
    Ok(Upper { client, liveness, feed, router_task, paid_task, rpc, listener })
}

/// Starts the task that announces incoming payments on consoles.
fn watch_payments(base: &Base, feed: &EventFeed, unseen: UnseenPayments) -> (PaidSender, PaidTask) {
    announce_payments(PaidParts {
        chain: base.chain.handle.clone(),
        friends: base.friends.clone(),
        keyring: base.keyring.clone(),
        datadir: base.datadir.clone(),
        feed: feed.clone(),
        unseen,
    })
}

/// Returns the node's name: the given one, else the folder's, else the default.
async fn node_name(config: &NodeConfig, friends: &FriendsHandle) -> Result<String, RpcError> {
    let name = match (&config.name, &config.kept_name) {
        (None, Some(kept)) => friends.set_own_name(kept.clone()).await?,
        (given, _) => friends.start_named(given.clone(), config.default_name.clone()).await?,
    };
    Ok(name)
}

/// The running network, and the scores of its peers.
struct Networking {
    net: NetHandle,
    events: mpsc::Receiver<NetEvent>,
    peers: Peers,
    /// Multiaddrs from the user, with `/p2p/` where the peer is known.
    tried: Vec<String>,
}

/// Starts the network with the bans and the known addresses of earlier runs.
async fn start_networking(
    config: &NodeConfig,
    base: &Base,
    registry: &mut Registry,
) -> Result<Networking, RpcError> {
    let peers = Peers::new(base.friends.bans(now()).await?, now(), moment());
    let mut net_config = NetConfig::new(base.identity.clone(), base.network.id);
    net_config.listen.clone_from(&config.listen);
    net_config.peers.clone_from(&config.peers);
    net_config.meeting_place.clone_from(&config.meeting_place);
    net_config.mdns = config.mdns;
    let is_lan = base.network.id == Network::lan().id;
    net_config.external.clone_from(&config.external);
    net_config.private_only = config.private_only.unwrap_or(is_lan);
    net_config.port_mapping =
        config.port_mapping.unwrap_or(!is_lan) && !only_this_machine(&config.listen);
    let relay = config.relay.unwrap_or(if is_lan { RelayMode::Off } else { RelayMode::Friends });
    net_config.relays = relay == RelayMode::Friends;
    net_config.trust = base.trust.clone();
    let (net, events) = net::spawn(net_config, registry)?;
    for peer in peers.banned(moment()).chain(base.friends.blocked().await?) {
        until_taken(|| net.ban(peer)).await?;
    }
    let mut tried = config.peers.clone();
    for known in base.friends.known_peers(KNOWN_PEERS).await? {
        let told = if known.source >= AddressSource::Invite { Told::ByUser } else { Told::Before };
        // Unproven addresses of peers that are no friends are left out.
        let kept =
            if base.trust.is_friend(&known.peer) { known.addresses.len() } else { known.proven };
        let addresses = known.addresses.get(..kept).unwrap_or_default();
        if told == Told::ByUser {
            tried.extend(addresses.iter().map(|address| format!("{address}/p2p/{}", known.peer)));
        }
        until_taken(|| net.add_known(known.peer, addresses, told)).await?;
    }
    Ok(Networking { net, events, peers, tried })
}

/// Repeats a command until the network's queue takes it.
async fn until_taken(
    mut command: impl FnMut() -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    loop {
        match command() {
            Err(CommandError::Busy) => tokio::task::yield_now().await,
            other => return other,
        }
    }
}

async fn router_parts(
    base: &Base,
    name: &str,
    networking: Networking,
    output: ChainOutput,
    (feed, paid): (&EventFeed, PaidSender),
    metrics: EventMetrics,
) -> Result<Parts, RpcError> {
    let (keyring, feed, reader) = (base.keyring.clone(), feed.clone(), base.chain.reader.clone());
    Ok(Parts {
        network: base.network.clone(),
        me: base.identity.peer_id(),
        name: name.to_owned(),
        net: networking.net,
        net_events: networking.events,
        peers: networking.peers,
        trust: base.trust.clone(),
        blocked: base.friends.blocked().await?.into_iter().collect(),
        mempool: base.chain.handle.mempool().await?,
        chain: base.chain.handle.clone(),
        reader: base.chain.reader.clone(),
        miner: base.chain.miner.clone(),
        chain_events: output.events,
        solved: output.solved,
        friends: base.friends.clone(),
        payment_address: Arc::new(move || {
            let keyring = keyring.clone();
            async move { keyring.first_address().await }.boxed()
        }),
        news: Box::new(move |news| feed.push(console_event(news))),
        trades: Box::new(move |news| paid.offer(&news)),
        min_work: blocking(move || reader.min_work()).await?,
        mining: base.mining,
        metrics,
        tried: networking.tried,
    })
}

/// The running HTTP server.
struct RunningRpc {
    address: SocketAddr,
    task: JoinHandle<()>,
    /// Stops the server, by a message or by being dropped.
    stop: oneshot::Sender<()>,
}

/// Starts the HTTP server, and writes its address to `node.json`.
async fn start_rpc(
    folder: &FolderLock,
    address: SocketAddr,
    methods: Methods,
    metrics_address: Option<SocketAddr>,
) -> Result<RunningRpc, RpcError> {
    let token = folder.new_token()?;
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move {
        // An error means that the sender was dropped.
        let _ = stopped.await;
    };
    let server = serve(address, methods, &token, shutdown).await?;
    folder.write_node_file(server.address, metrics_address)?;
    Ok(RunningRpc { address: server.address, task: server.task, stop })
}

fn monitor(base: &Base, name: &str, liveness: Liveness, registry: Registry) -> Monitor {
    let watched = Watched {
        liveness,
        miner: base.chain.miner.clone(),
        datadir: base.datadir.clone(),
        name: printable(name),
    };
    Monitor::new(watched, registry)
}

fn emit_started(base: &Base, rpc: SocketAddr, metrics: Option<SocketAddr>) {
    events::NodeStarted {
        peer_id: base.identity.peer_id(),
        network: base.network.id,
        height: base.chain.handle.summary().tip.height,
        version: env!("CARGO_PKG_VERSION"),
        rpc: rpc.to_string(),
        metrics: metrics.map(|address| address.to_string()),
    }
    .emit();
}

/// Waits for the end of the router, then stops everything else and closes the folder.
async fn finish(
    folder: FolderLock,
    chain: ChainParts,
    files: OpenFiles,
    upper: Upper,
) -> Result<(), RpcError> {
    let ended = upper.router_task.await;
    drop(upper.paid_task);
    upper.feed.push(ConsoleEvent::Stopping);
    drop(upper.listener);
    // An error means that the server has already ended.
    let _ = upper.rpc.stop.send(());
    let _ = upper.rpc.task.await;
    let height = chain.handle.summary().tip.height;
    files.close().await;
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
}

/// Opens the wallet if there is one, or creates it if the configuration needs one. Returns the
/// address that is paid for blocks mined here.
async fn open_wallet(keyring: &Keyring, config: &NodeConfig) -> Result<Option<Address>, RpcError> {
    let is_paid = config.miner.is_some() || config.miner_friend.is_some();
    let needed = config.make_wallet || (config.mining != MiningMode::Off && !is_paid);
    let wallet = if needed {
        Some(keyring.open_or_create().await?)
    } else {
        keyring.open_if_there().await?
    };
    let first = wallet.as_ref().map(|wallet| wallet.first_address());
    if let (Some(passphrase), Some(mut wallet)) = (config.passphrase.clone(), wallet)
        && wallet.is_locked(moment_with_sleep())
    {
        wallet.unlock(passphrase, None).await?;
    }
    Ok(config.miner.or(first))
}
