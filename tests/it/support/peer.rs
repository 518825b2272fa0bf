//! Runs a foreign peer: plain libp2p, with a codec of raw bytes and answers that the test chooses.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as blocking},
    thread,
    time::Duration,
};

use friendchain::{
    consensus::Target,
    primitives::{Block, BlockHash, Encode, Header, NetworkId, PeerId},
    wire::{
        self, GetRange, HelloRequest, HelloResponse, Item, ItemId, Protocol, Request, Response,
        Status, SyncRequest, SyncResponse, Topic,
    },
};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, StreamProtocol, Swarm, gossipsub, identify,
    identity::Keypair,
    noise, request_response,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use serde_bytes::ByteBuf;
use tokio::sync::mpsc;

use super::{Node, eventually, forge::now, holds};

/// The most bytes of a message that the peer reads, beyond every limit of the protocol.
const READ_LIMIT: u64 = 16 * 1024 * 1024;

/// A function that answers requests: from protocol and bytes to the bytes of the answer. With
/// `None` the peer closes the stream without an answer.
pub(crate) type Responder = Box<dyn FnMut(Protocol, &[u8]) -> Option<Vec<u8>> + Send>;

/// A codec that passes bytes unchanged, up to the end of the stream.
#[derive(Clone, Default)]
struct RawCodec;

impl request_response::Codec for RawCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_to_end(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_to_end(io).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await
    }
}

async fn read_to_end<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io.take(READ_LIMIT).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

type Raw = request_response::Behaviour<RawCodec>;
type RawEvent = request_response::Event<Vec<u8>, Vec<u8>>;

#[derive(NetworkBehaviour)]
struct Behaviour {
    hello: Raw,
    friends: Raw,
    chat: Raw,
    sync: Raw,
    gossip: gossipsub::Behaviour,
    identify: identify::Behaviour,
}

impl Behaviour {
    const fn raw(&mut self, protocol: Protocol) -> &mut Raw {
        match protocol {
            Protocol::Hello => &mut self.hello,
            Protocol::Friends => &mut self.friends,
            Protocol::Chat => &mut self.chat,
            Protocol::Sync => &mut self.sync,
        }
    }
}

/// An order of the test to the peer's thread.
enum Order {
    Ask(Protocol, Vec<u8>, blocking::Sender<Result<Vec<u8>, String>>),
    Publish(Topic, Vec<u8>, blocking::Sender<Result<(), String>>),
}

/// The observations of the peer's thread.
#[derive(Default)]
struct Seen {
    connected: bool,
    ever_connected: bool,
    requests: Vec<(Protocol, Vec<u8>)>,
}

/// A connected peer; gone when dropped.
pub(crate) struct TestPeer {
    pub(crate) id: PeerId,
    pub(crate) keypair: Keypair,
    orders: mpsc::UnboundedSender<Order>,
    seen: Arc<Mutex<Seen>>,
}

impl TestPeer {
    /// Connects to a node with a new identity.
    #[track_caller]
    pub(crate) fn connect(node: &Node, network: NetworkId, responder: Responder) -> Self {
        let keypair = Keypair::generate_ed25519();
        let theirs = keypair.public().to_peer_id();
        let id = PeerId::from_multihash(&theirs.to_bytes()).expect("an ed25519 key");
        let (orders, inbox) = mpsc::unbounded_channel();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let address: Multiaddr = node.address.parse().expect("a multiaddr");
        let (keys, sight) = (keypair.clone(), Arc::clone(&seen));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(run(keys, network, address, inbox, sight, responder));
        });
        let peer = Self { id, keypair, orders, seen };
        eventually("the test's peer connects", || {
            holds(peer.look(|seen| seen.ever_connected), "not yet")
        });
        peer
    }

    /// Connects, and sends the status of the branch that the peer serves.
    #[track_caller]
    pub(crate) fn serving(node: &Node, network: NetworkId, branch: &Branch) -> Self {
        let peer = Self::connect(node, network, branch.responder());
        // A node that disconnects at once logs its reason, which the test checks.
        let _ = peer.ask(&Request::Hello(HelloRequest::Status(branch.status())));
        peer
    }

    fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a request, and returns the bytes of the node's answer.
    pub(crate) fn ask(&self, request: &Request) -> Result<Vec<u8>, String> {
        self.ask_bytes(request.protocol(), request.encode().map_err(|error| error.to_string())?)
    }

    /// Sends any bytes as a request.
    pub(crate) fn ask_bytes(&self, protocol: Protocol, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        let (reply, answer) = blocking::channel();
        let gone = "the peer's thread has ended".to_owned();
        self.orders.send(Order::Ask(protocol, bytes, reply)).map_err(|_| gone)?;
        answer.recv_timeout(Duration::from_secs(30)).map_err(|error| error.to_string())?
    }

    /// Publishes any bytes, as soon as the node subscribes to the topic.
    #[track_caller]
    pub(crate) fn publish(&self, topic: Topic, bytes: &[u8]) {
        eventually("the gossip is published", || {
            let (reply, answer) = blocking::channel();
            let order = Order::Publish(topic, bytes.to_vec(), reply);
            self.orders.send(order).map_err(|_| "the peer's thread has ended".to_owned())?;
            answer.recv_timeout(Duration::from_secs(10)).map_err(|error| error.to_string())?
        });
    }

    /// Returns the requests that the node sent on a protocol.
    pub(crate) fn requests(&self, protocol: Protocol) -> Vec<Vec<u8>> {
        let of = |seen: &Seen| {
            seen.requests
                .iter()
                .filter(|(on, _)| *on == protocol)
                .map(|(_, bytes)| bytes.clone())
                .collect()
        };
        self.look(of)
    }

    /// Waits until the node has disconnected.
    #[track_caller]
    pub(crate) fn await_dropped(&self) {
        eventually("the node drops the peer", || {
            holds(!self.look(|seen| seen.connected), "still connected")
        });
    }

    /// Signs the bytes of a profile or line.
    pub(crate) fn sign(&self, message: &[u8]) -> friendchain::primitives::Signature {
        let bytes = self.keypair.sign(message).expect("ed25519 signs");
        friendchain::primitives::Signature(bytes.try_into().expect("64 bytes"))
    }
}

fn swarm(keypair: Keypair, network: &NetworkId) -> Swarm<Behaviour> {
    let raw = |protocol: Protocol| {
        let id =
            StreamProtocol::try_from_owned(protocol.id(network)).expect("it begins with a slash");
        let config =
            request_response::Config::default().with_request_timeout(Duration::from_secs(20));
        request_response::Behaviour::new([(id, request_response::ProtocolSupport::Full)], config)
    };
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Permissive)
        .max_transmit_size(8 * 1024 * 1024)
        .flood_publish(true)
        .heartbeat_interval(Duration::from_millis(300))
        .build()
        .expect("a configuration");
    let mut gossip =
        gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Signed(keypair.clone()), config)
            .expect("gossipsub");
    for topic in Topic::ALL {
        gossip.subscribe(&gossipsub::IdentTopic::new(topic.name(network))).expect("subscribed");
    }
    let about = identify::Config::new("/friendchain-test-peer/1".to_owned(), keypair.public());
    let behaviour = Behaviour {
        hello: raw(Protocol::Hello),
        friends: raw(Protocol::Friends),
        chat: raw(Protocol::Chat),
        sync: raw(Protocol::Sync),
        gossip,
        identify: identify::Behaviour::new(about),
    };
    libp2p::SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .expect("TCP")
        .with_behaviour(|_| behaviour)
        .expect("a behaviour")
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_mins(10)))
        .build()
}

/// The replies that the test awaits, by protocol and request.
type Replies = HashMap<
    (Protocol, request_response::OutboundRequestId),
    blocking::Sender<Result<Vec<u8>, String>>,
>;

/// The state of the peer's thread.
struct Driver {
    swarm: Swarm<Behaviour>,
    network: NetworkId,
    seen: Arc<Mutex<Seen>>,
    responder: Responder,
    replies: Replies,
}

/// Runs the peer's thread until the test drops the peer.
async fn run(
    keypair: Keypair,
    network: NetworkId,
    address: Multiaddr,
    mut inbox: mpsc::UnboundedReceiver<Order>,
    seen: Arc<Mutex<Seen>>,
    responder: Responder,
) {
    let mut swarm = swarm(keypair, &network);
    swarm.dial(address).expect("dialed");
    let mut driver = Driver { swarm, network, seen, responder, replies: Replies::new() };
    loop {
        tokio::select! {
            order = inbox.recv() => match order {
                None => return,
                Some(order) => driver.obey(order),
            },
            event = driver.swarm.select_next_some() => driver.handle(event),
        }
    }
}

impl Driver {
    fn obey(&mut self, order: Order) {
        match order {
            Order::Ask(protocol, bytes, reply) => {
                let Some(peer) = self.swarm.connected_peers().next().copied() else {
                    let _ = reply.send(Err("not connected".to_owned()));
                    return;
                };
                let id = self.swarm.behaviour_mut().raw(protocol).send_request(&peer, bytes);
                self.replies.insert((protocol, id), reply);
            }
            Order::Publish(topic, bytes, reply) => {
                let topic = gossipsub::IdentTopic::new(topic.name(&self.network));
                let result = self.swarm.behaviour_mut().gossip.publish(topic, bytes);
                let _ = reply.send(result.map(|_| ()).map_err(|error| error.to_string()));
            }
        }
    }

    fn handle(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { .. } => {
                let mut seen = self.seen();
                (seen.connected, seen.ever_connected) = (true, true);
            }
            SwarmEvent::ConnectionClosed { num_established: 0, .. } => {
                self.seen().connected = false;
            }
            SwarmEvent::Behaviour(event) => match event {
                BehaviourEvent::Hello(event) => self.handle_raw(Protocol::Hello, event),
                BehaviourEvent::Friends(event) => self.handle_raw(Protocol::Friends, event),
                BehaviourEvent::Chat(event) => self.handle_raw(Protocol::Chat, event),
                BehaviourEvent::Sync(event) => self.handle_raw(Protocol::Sync, event),
                BehaviourEvent::Gossip(_) | BehaviourEvent::Identify(_) => {}
            },
            _ => {}
        }
    }

    fn handle_raw(&mut self, protocol: Protocol, event: RawEvent) {
        use request_response::Message;
        match event {
            RawEvent::Message { message: Message::Request { request, channel, .. }, .. } => {
                let answer = (self.responder)(protocol, &request);
                self.seen().requests.push((protocol, request));
                if let Some(bytes) = answer {
                    let _ = self.swarm.behaviour_mut().raw(protocol).send_response(channel, bytes);
                }
            }
            RawEvent::Message { message: Message::Response { request_id, response }, .. } => {
                if let Some(reply) = self.replies.remove(&(protocol, request_id)) {
                    let _ = reply.send(Ok(response));
                }
            }
            RawEvent::OutboundFailure { request_id, error, .. } => {
                if let Some(reply) = self.replies.remove(&(protocol, request_id)) {
                    let _ = reply.send(Err(error.to_string()));
                }
            }
            _ => {}
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A chain as a peer serves it: the headers, and for each hash a body, which may be a wrong one.
#[derive(Clone)]
pub(crate) struct Branch {
    /// All headers, genesis first.
    pub(crate) headers: Vec<Header>,
    pub(crate) bodies: HashMap<BlockHash, Block>,
}

impl Branch {
    /// Returns the chain of the genesis block and these blocks.
    pub(crate) fn new(genesis: &Block, blocks: &[Block]) -> Self {
        let all = || std::iter::once(genesis).chain(blocks);
        Self {
            headers: all().map(|block| block.header).collect(),
            bodies: all().map(|block| (block.hash(), block.clone())).collect(),
        }
    }

    fn tip(&self) -> &Header {
        self.headers.last().expect("a genesis at least")
    }

    /// Returns the status that the peer sends.
    pub(crate) fn status(&self) -> Status {
        let mut work = friendchain::consensus::Work::ZERO;
        for header in &self.headers {
            let target = Target::from_compact(header.bits).expect("a target");
            work = work.checked_add(target.work()).expect("little work");
        }
        Status {
            version: wire::PROTOCOL_VERSION,
            features: 0,
            network: self.headers[0].hash(),
            tip: self.tip().hash(),
            height: self.tip().height,
            work: ByteBuf::from(work.to_be_bytes().to_vec()),
            time: now(),
            mempool: 0,
        }
    }

    /// Returns the honest answer to a request.
    pub(crate) fn answer(&self, protocol: Protocol, bytes: &[u8]) -> Option<Response> {
        match protocol.decode_request(bytes).ok()? {
            Request::Hello(HelloRequest::Status(_)) => {
                Some(Response::Hello(HelloResponse::Status(self.status())))
            }
            Request::Sync(request) => Some(Response::Sync(self.sync_answer(&request))),
            Request::Friends(_) => Some(Response::Friends(wire::FriendsResponse::Busy)),
            Request::Chat(_) => Some(Response::Chat(wire::ChatResponse::Busy)),
        }
    }

    /// Returns the block `first` and those above it, as far as there are bodies.
    fn range(&self, ask: &GetRange) -> SyncResponse {
        let start = self.headers.iter().position(|header| header.hash() == ask.first);
        let above = start.map_or(&[][..], |start| &self.headers[start..]);
        let bodies: Vec<u8> = above
            .iter()
            .take(ask.count as usize)
            .map_while(|header| self.bodies.get(&header.hash()))
            .flat_map(Encode::to_bytes)
            .collect();
        if bodies.is_empty() {
            return SyncResponse::NotFound;
        }
        SyncResponse::Blocks(ByteBuf::from(bodies))
    }

    fn sync_answer(&self, request: &SyncRequest) -> SyncResponse {
        match request {
            SyncRequest::GetBlocks(ask) => {
                let known = |header: &Header| ask.locator.contains(&header.hash());
                let after = self.headers.iter().rposition(known).map_or(0, |at| at + 1);
                let after = after.saturating_add(ask.skip as usize).min(self.headers.len());
                let bytes =
                    self.headers[after..].iter().flat_map(Header::to_array).collect::<Vec<_>>();
                SyncResponse::Inv(ByteBuf::from(bytes))
            }
            SyncRequest::GetMempool => SyncResponse::MempoolIds(Vec::new()),
            SyncRequest::GetData(ids) => {
                let item = |id: &ItemId| match id {
                    ItemId::Block(hash) => self.bodies.get(hash).map_or(Item::NotFound, |block| {
                        Item::Block(ByteBuf::from(block.to_bytes()))
                    }),
                    ItemId::Trade(_) => Item::NotFound,
                };
                SyncResponse::Data(ids.iter().map(item).collect())
            }
            SyncRequest::GetRange(ask) => self.range(ask),
            SyncRequest::GetBlockTrades(ask) => {
                let Some(block) = self.bodies.get(&ask.block) else {
                    return SyncResponse::NotFound;
                };
                let trade = |at: &u32| {
                    let transaction = block.transactions.get(usize::try_from(*at).ok()?)?;
                    Some(ByteBuf::from(transaction.to_bytes()))
                };
                SyncResponse::BlockTrades(ask.positions.iter().filter_map(trade).collect())
            }
        }
    }

    /// Returns a responder that answers honestly for this branch.
    pub(crate) fn responder(&self) -> Responder {
        let branch = self.clone();
        Box::new(move |protocol, bytes| branch.answer(protocol, bytes)?.encode().ok())
    }

    /// Returns a responder that answers honestly, except where `lie` returns an answer.
    pub(crate) fn responder_but(
        &self,
        mut lie: impl FnMut(&Request) -> Option<Vec<u8>> + Send + 'static,
    ) -> Responder {
        let branch = self.clone();
        Box::new(move |protocol, bytes| {
            let request = protocol.decode_request(bytes).ok()?;
            lie(&request).or_else(|| branch.answer(protocol, bytes)?.encode().ok())
        })
    }
}
