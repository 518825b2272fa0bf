//! An attacker: any number of identities, each a connection of libp2p's TCP, Noise and yamux.
//!
//! The attacker implements all protocols above yamux by hand. An identity thus costs little, and
//! may break off, stay silent, or lie at any byte.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::Poll,
    time::Duration,
};

use friendchain::{
    primitives::{NetworkId, PeerId, Signature},
    wire::{HelloRequest, Protocol, Request, Response, Status, Topic},
};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{
    Multiaddr,
    core::{
        muxing::StreamMuxerExt,
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
    },
    identity::Keypair,
    noise,
    tcp::tokio::TcpStream,
    yamux,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    bytes::{
        STOP, accept, agree, framed, identify, publications, read_frame, select, subscriptions,
    },
    script::{FarEnd, Script},
};

pub(crate) type Secure = noise::Output<TcpStream>;
pub(crate) type Muxer = yamux::Muxer<Secure>;
pub(crate) type Substream = yamux::Stream;

/// The longest wait for an action that a live node does at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// The maximum size of an answer that an identity reads, in bytes.
const READ_LIMIT: u64 = 16 << 20;

/// A node under attack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) network: NetworkId,
}

impl Target {
    /// Returns the tag that the network's protocols end in.
    pub(crate) fn tag(&self) -> String {
        self.network.to_string().chars().take(8).collect()
    }

    /// Returns the name of Kademlia's protocol.
    pub(crate) fn kad(&self) -> String {
        format!("/friendchain/kad/1/{}", self.tag())
    }
}

/// The address that an identity connects from. All of 127/8 belongs to this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    /// The address at which the victim dials.
    Home,
    /// All identities share an address.
    One,
    /// Each identity has an address in a /24 of its own.
    Many,
}

impl Source {
    fn next(self) -> Ipv4Addr {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        match self {
            Self::Home => Ipv4Addr::LOCALHOST,
            Self::One => Ipv4Addr::new(127, 66, 6, 6),
            Self::Many => {
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                let [_, _, high, low] = number.to_be_bytes();
                Ipv4Addr::new(127, 70 + high % 100, low, 1 + high % 250)
            }
        }
    }
}

/// Opens a socket to an address.
pub(crate) async fn socket(to: SocketAddr, source: Source) -> io::Result<tokio::net::TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(source.next()), 0))?;
    let stream = timeout(PATIENCE, socket.connect(to)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Opens a connection up to Noise. Yamux is agreed on but not started.
pub(crate) async fn secure(keys: &Keypair, to: SocketAddr, source: Source) -> io::Result<Secure> {
    let mut stream = TcpStream(socket(to, source).await?);
    let work = async {
        select(&mut stream, "/noise").await?;
        let config = noise::Config::new(keys).map_err(io::Error::other)?;
        let (_, mut io) =
            config.upgrade_outbound(stream, "/noise").await.map_err(io::Error::other)?;
        select(&mut io, "/yamux/1.0.0").await?;
        Ok(io)
    };
    timeout(PATIENCE, work).await?
}

type Opened = oneshot::Sender<Substream>;

/// A connected identity; disconnected when dropped.
pub(crate) struct Actor {
    pub(crate) id: PeerId,
    pub(crate) keys: Keypair,
    pub(crate) network: NetworkId,
    opens: mpsc::UnboundedSender<Opened>,
    alive: Arc<AtomicBool>,
    driver: JoinHandle<()>,
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Returns the peer id of an identity.
pub(crate) fn id_of(keys: &Keypair) -> PeerId {
    let theirs = keys.public().to_peer_id();
    PeerId::from_multihash(&theirs.to_bytes()).expect("an ed25519 key")
}

/// Signs with an identity.
pub(crate) fn sign(keys: &Keypair, message: &[u8]) -> Signature {
    let bytes = keys.sign(message).expect("ed25519 signs");
    Signature(bytes.try_into().expect("64 bytes"))
}

impl Actor {
    /// Connects a new identity, which sends nothing by itself and answers by the script.
    pub(crate) async fn connect(
        target: Target,
        source: Source,
        script: &Arc<Script>,
    ) -> io::Result<Self> {
        Self::connect_as(Keypair::generate_ed25519(), target, source, script).await
    }

    /// Connects with given keys.
    pub(crate) async fn connect_as(
        keys: Keypair,
        target: Target,
        source: Source,
        script: &Arc<Script>,
    ) -> io::Result<Self> {
        let io = secure(&keys, target.address, source).await?;
        let muxer = yamux::Config::default()
            .upgrade_outbound(io, "/yamux/1.0.0")
            .await
            .map_err(io::Error::other)?;
        Ok(Self::drive(keys, muxer, target, script))
    }

    /// Accepts a connection that the node dials.
    pub(crate) async fn accept(
        keys: Keypair,
        listener: &TcpListener,
        target: Target,
        script: &Arc<Script>,
    ) -> io::Result<Self> {
        let (stream, _) = listener.accept().await?;
        let work = async {
            let mut stream = TcpStream(stream);
            agree(&mut stream, |name| name == "/noise").await?;
            let config = noise::Config::new(&keys).map_err(io::Error::other)?;
            let (_, mut io) =
                config.upgrade_inbound(stream, "/noise").await.map_err(io::Error::other)?;
            agree(&mut io, |name| name == "/yamux/1.0.0").await?;
            yamux::Config::default()
                .upgrade_inbound(io, "/yamux/1.0.0")
                .await
                .map_err(io::Error::other)
        };
        let muxer = timeout(PATIENCE, work).await??;
        Ok(Self::drive(keys, muxer, target, script))
    }

    fn drive(keys: Keypair, muxer: Muxer, target: Target, script: &Arc<Script>) -> Self {
        let (opens, inbox) = mpsc::unbounded_channel();
        let alive = Arc::new(AtomicBool::new(true));
        let host = Host { keys: keys.clone(), target, script: Arc::clone(script) };
        let flag = Arc::clone(&alive);
        let driver = tokio::spawn(async move {
            run(muxer, inbox, Arc::new(host)).await;
            flag.store(false, Ordering::Relaxed);
        });
        Self { id: id_of(&keys), keys, network: target.network, opens, alive, driver }
    }

    /// True until the node closes the connection.
    pub(crate) fn alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// Signs with this identity's key.
    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        sign(&self.keys, message)
    }

    /// Opens a stream, and sends nothing on it.
    pub(crate) async fn bare_stream(&self) -> io::Result<Substream> {
        let (reply, answer) = oneshot::channel();
        self.opens.send(reply).map_err(|_| io::Error::other("the connection is closed"))?;
        let stream = timeout(PATIENCE, answer).await?;
        stream.map_err(|_| io::Error::other("the connection is closed"))
    }

    /// Opens a stream of a protocol.
    pub(crate) async fn stream(&self, protocol: &str) -> io::Result<Substream> {
        let mut stream = self.bare_stream().await?;
        timeout(PATIENCE, select(&mut stream, protocol)).await??;
        Ok(stream)
    }

    /// Sends a whole request, and leaves the answer unread.
    pub(crate) async fn begin(&self, protocol: Protocol, bytes: &[u8]) -> io::Result<Substream> {
        let mut stream = self.stream(&protocol.id(&self.network)).await?;
        timeout(PATIENCE, async {
            stream.write_all(bytes).await?;
            stream.close().await
        })
        .await??;
        Ok(stream)
    }

    /// Sends a request, and returns the answer's bytes.
    pub(crate) async fn ask_bytes(&self, protocol: Protocol, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let stream = self.begin(protocol, bytes).await?;
        let mut answer = Vec::new();
        timeout(PATIENCE * 2, stream.take(READ_LIMIT).read_to_end(&mut answer)).await??;
        Ok(answer)
    }

    /// Sends a request, and returns the answer.
    pub(crate) async fn ask(&self, request: &Request) -> io::Result<Response> {
        let bytes = request.encode().map_err(io::Error::other)?;
        let protocol = request.protocol();
        let answer = self.ask_bytes(protocol, &bytes).await?;
        protocol.decode_response(&answer).map_err(io::Error::other)
    }

    /// Sends a Status, and returns that of the node.
    pub(crate) async fn hello(&self, status: &Status) -> io::Result<Response> {
        self.ask(&Request::Hello(HelloRequest::Status(status.clone()))).await
    }

    /// Joins the gossip, and subscribes to all topics.
    pub(crate) async fn gossip(&self) -> io::Result<Gossip> {
        let mut stream = self.stream("/meshsub/1.1.0").await?;
        let topics: Vec<_> = Topic::ALL.iter().map(|topic| topic.name(&self.network)).collect();
        stream.write_all(&subscriptions(&topics)).await?;
        stream.flush().await?;
        Ok(Gossip { stream, network: self.network })
    }
}

/// An open stream of gossip to the node.
pub(crate) struct Gossip {
    pub(crate) stream: Substream,
    network: NetworkId,
}

impl Gossip {
    /// Publishes payloads in one frame.
    pub(crate) async fn publish(&mut self, topic: Topic, payloads: &[&[u8]]) -> io::Result<()> {
        let name = topic.name(&self.network);
        self.publish_at(&name, payloads).await
    }

    /// Publishes payloads on a topic of any name.
    pub(crate) async fn publish_at(&mut self, topic: &str, payloads: &[&[u8]]) -> io::Result<()> {
        let frame = publications(topic, payloads);
        timeout(PATIENCE, async {
            self.stream.write_all(&frame).await?;
            self.stream.flush().await
        })
        .await?
    }
}

/// The part of an identity that answers the node.
struct Host {
    keys: Keypair,
    target: Target,
    script: Arc<Script>,
}

/// Runs a connection until either side closes it.
async fn run(mut muxer: Muxer, mut opens: mpsc::UnboundedReceiver<Opened>, host: Arc<Host>) {
    let mut waiting: Vec<Opened> = Vec::new();
    poll_fn(|cx| {
        loop {
            match opens.poll_recv(cx) {
                Poll::Ready(Some(reply)) => {
                    waiting.push(reply);
                    continue;
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            match muxer.poll_inbound_unpin(cx) {
                Poll::Ready(Ok(stream)) => {
                    let host = Arc::clone(&host);
                    // A stream that breaks ends only itself.
                    tokio::spawn(async move { drop(host.serve(stream).await) });
                    continue;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            if !waiting.is_empty() {
                match muxer.poll_outbound_unpin(cx) {
                    Poll::Ready(Ok(stream)) => {
                        let _ = waiting.remove(0).send(stream);
                        continue;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            match muxer.poll_unpin(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

impl Host {
    fn protocols(&self) -> Vec<String> {
        let ours = Protocol::ALL.iter().map(|protocol| protocol.id(&self.target.network));
        let base = ["/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0", "/meshsub/1.1.0"];
        let kad = self.script.kad.is_some().then(|| self.target.kad());
        let stop = self.script.far.is_some().then(|| STOP.to_owned());
        let base = base.iter().map(|name| (*name).to_owned());
        base.chain(ours).chain(kad).chain(stop).collect()
    }

    async fn serve(&self, mut stream: Substream) -> io::Result<()> {
        let spoken = self.protocols();
        let name = agree(&mut stream, |name| spoken.iter().any(|ours| ours == name)).await?;
        match name.as_str() {
            "/ipfs/id/1.0.0" => {
                let listen: Vec<Multiaddr> = self.script.listen.clone();
                stream.write_all(&identify(&self.keys, &spoken, &listen)).await?;
                stream.close().await
            }
            "/ipfs/ping/1.0.0" => {
                let mut bytes = [0; 32];
                loop {
                    stream.read_exact(&mut bytes).await?;
                    stream.write_all(&bytes).await?;
                    stream.flush().await?;
                }
            }
            kad if kad == self.target.kad() => {
                while read_frame(&mut stream).await.is_ok() {
                    let answer =
                        self.script.kad.as_ref().map(|answer| answer()).unwrap_or_default();
                    stream.write_all(&answer).await?;
                    stream.flush().await?;
                }
                Ok(())
            }
            STOP => self.end_circuit(stream).await,
            other => {
                let ours = |protocol: &&Protocol| protocol.id(&self.target.network) == other;
                let Some(protocol) = Protocol::ALL.iter().find(ours) else {
                    return drain(stream, &self.script).await;
                };
                self.answer(*protocol, stream).await
            }
        }
    }

    /// Accepts a circuit, and serves as its far end.
    async fn end_circuit(&self, mut stream: Substream) -> io::Result<()> {
        read_frame(&mut stream).await?;
        stream.write_all(&accept()).await?;
        stream.flush().await?;
        let Some(FarEnd::Reads(ended)) = &self.script.far else {
            tokio::time::sleep(Duration::from_hours(1)).await;
            return Ok(());
        };
        let (mut bytes, mut chunk) = (0, vec![0; 64 * 1024]);
        while let Ok(read @ 1..) = stream.read(&mut chunk).await {
            bytes += read as u64;
        }
        let _ = ended.send(bytes);
        Ok(())
    }

    async fn answer(&self, protocol: Protocol, mut stream: Substream) -> io::Result<()> {
        let mut request = Vec::new();
        (&mut stream).take(READ_LIMIT).read_to_end(&mut request).await?;
        let Some(answer) = self.script.answer(protocol, &request) else {
            // A silent peer keeps the stream open.
            tokio::time::sleep(Duration::from_hours(1)).await;
            return Ok(());
        };
        stream.write_all(&answer).await?;
        stream.close().await
    }
}

/// Reads gossip, and passes it to the script if the script wants it.
async fn drain(mut stream: Substream, script: &Script) -> io::Result<()> {
    if script.deaf {
        tokio::time::sleep(Duration::from_hours(1)).await;
    }
    loop {
        let frame = read_frame(&mut stream).await?;
        if let Some(heard) = &script.heard {
            let _ = heard.send(frame);
        }
    }
}

/// Returns a frame whose announced length is never reached.
pub(crate) fn unfinished_frame(announced: usize, sent: usize) -> Vec<u8> {
    let mut bytes = framed(&vec![7; announced]);
    bytes.truncate(sent);
    bytes
}
