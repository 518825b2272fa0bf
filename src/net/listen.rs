//! Builds the swarm and makes it listen, and turns failures into sentences for the user.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder,
    core::{ConnectedPoint, Negotiated, Transport, muxing::StreamMuxerBox, upgrade::Version},
    dns, identity, noise, quic, relay, tcp,
};

use super::{
    NetError,
    address::socket,
    behaviour::Behaviour,
    copies::OwnCalls,
    dial_cause::Shown,
    guard::Guarded,
    handshakes::bounded,
    identity::Identity,
    limits::{
        CONNECT_TIME, EVENTS_PER_CONNECTION, IDLE_TIME, QUIC_STREAMS, QUIC_WINDOW,
        STRANGER_STREAMS, STREAM_WINDOW,
    },
    lingering::Lingering,
    mux::{Muxer, Yamux},
    peer::from_libp2p,
    pool::Pool,
};
use crate::peers::Trust;

/// A connection over a socket of the kind `S`.
type Secured<S> = Guarded<Muxer<Negotiated<noise::Output<Negotiated<S>>>>>;

/// Adds Noise and yamux to a transport of plain sockets: TCP, or circuits through a relay. `pool`
/// bounds the bytes that the connections hold. `calls` counts callers with this node's own key.
fn secured<T, S>(
    transport: T,
    keypair: &identity::Keypair,
    pool: &Pool,
    calls: OwnCalls,
) -> Result<
    impl Transport<
        Output = (PeerId, Secured<S>),
        Error: Send + Sync + 'static,
        Dial: Send,
        ListenerUpgrade: Send,
    > + Send
    + Unpin
    + use<T, S>
    + 'static,
    noise::Error,
>
where
    T: Transport<Output = S, Error: Send + Sync + 'static, Dial: Send, ListenerUpgrade: Send>
        + Send
        + Unpin
        + 'static,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (multiplexed, watched) = (pool.clone(), pool.clone());
    let me = keypair.public().to_peer_id();
    let yamux = move |peer: &PeerId, end: &ConnectedPoint| {
        if *peer == me && end.is_listener() {
            calls.note();
        }
        let peer = from_libp2p(peer);
        Yamux { pool: multiplexed.clone(), peer }
    };
    Ok(transport
        .map_err(Shown)
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex_ext(yamux)
        .map(move |(peer, connection), _| {
            let share = watched.share(from_libp2p(&peer));
            (peer, Guarded::new(connection, share))
        }))
}

/// Builds QUIC, with small windows and few streams. `pool` bounds the bytes of the connections.
fn quic_transport(
    keypair: &identity::Keypair,
    pool: &Pool,
) -> impl Transport<
    Output = (PeerId, Guarded<Lingering<quic::Connection>>),
    Error: Send + Sync + 'static,
    Dial: Send,
    ListenerUpgrade: Send,
> + Send
+ Unpin
+ use<>
+ 'static {
    let mut settings = quic::Config::new(keypair);
    settings.max_concurrent_stream_limit = QUIC_STREAMS;
    settings.max_stream_data = STREAM_WINDOW;
    settings.max_connection_data = QUIC_WINDOW;
    let watched = pool.clone();
    quic::tokio::Transport::new(settings).map_err(Shown).map(move |(peer, connection), _| {
        let share = watched.share(from_libp2p(&peer));
        (peer, Guarded::new(Lingering::new(connection), share))
    })
}

/// Builds the swarm with all transports: TCP with Noise and yamux, QUIC, DNS for both, and circuits
/// through relays. `trust` decides how many bytes the connections may hold.
pub(super) fn build_swarm(
    identity: &Identity,
    trust: Trust,
    calls: &OwnCalls,
    behaviour: impl FnOnce(relay::client::Behaviour) -> Result<Behaviour, NetError>,
) -> Result<Swarm<Behaviour>, NetError> {
    let failed = |part: &'static str| move |reason: String| NetError::Setup { part, reason };
    let pool = Pool::new(trust);
    let transports = |circuits| {
        let keypair = identity.keypair();
        let noise = |error: noise::Error| failed("Noise")(error.to_string());
        let circuits = secured(circuits, &keypair, &pool, calls.clone()).map_err(noise)?;
        let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
        let tcp = secured(tcp, &keypair, &pool, calls.clone()).map_err(noise)?;
        let quic = quic_transport(&keypair, &pool);
        let tcp = tcp.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
        let quic = quic.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
        let circuits = circuits.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
        let either = tcp.or_transport(quic).map(|either, _| either.into_inner());
        let either = circuits.or_transport(either).map(|either, _| either.into_inner()).boxed();
        let Ok(builder) = SwarmBuilder::with_existing_identity(keypair)
            .with_tokio()
            .with_other_transport(|_| bounded(either));
        Ok::<_, NetError>(builder)
    };
    // The type of the builder depends on the resolver, so a function cannot finish both.
    macro_rules! finish {
        ($builder:expr, $behaviour:expr) => {{
            let behaviour = $behaviour;
            Ok($builder
                .with_behaviour(|_| behaviour)
                .map_err(|error| failed("behaviour")(error.to_string()))?
                .with_swarm_config(|config| {
                    config
                        // The name of the protocol travels with the first message, which
                        // saves a round trip for each request.
                        .with_substream_upgrade_protocol_override(Version::V1Lazy)
                        .with_idle_connection_timeout(IDLE_TIME)
                        .with_max_negotiating_inbound_streams(STRANGER_STREAMS)
                        .with_per_connection_event_buffer_size(EVENTS_PER_CONNECTION)
                })
                .with_connection_timeout(CONNECT_TIME)
                .build())
        }};
    }
    let me = identity.keypair().public().to_peer_id();
    let (circuits, client) = relay::client::new(me);
    match transports(circuits)?.with_dns() {
        Ok(builder) => finish!(builder, behaviour(client)?),
        Err(error) => {
            // Without the system's resolver, names cannot be dialed. IP addresses still can.
            tracing::debug!(%error, "no name resolver");
            let nowhere = dns::ResolverConfig::from_parts(None, Vec::new(), Vec::new());
            let (circuits, client) = relay::client::new(me);
            let builder =
                transports(circuits)?.with_dns_config(nowhere, dns::ResolverOpts::default());
            finish!(builder, behaviour(client)?)
        }
    }
}

/// Listens on all addresses. Skips IPv6 addresses if the system has no IPv6.
pub(super) fn listen(
    swarm: &mut Swarm<Behaviour>,
    addresses: &[Multiaddr],
) -> Result<(), NetError> {
    for address in addresses {
        check_free(address)?;
    }
    let mut listening = false;
    for address in addresses {
        match swarm.listen_on(address.clone()) {
            Ok(_) => listening = true,
            Err(error) => {
                let reason = root_cause(&error);
                let v6 = socket(address).is_some_and(|(socket, _)| socket.is_ipv6());
                if !v6 {
                    return Err(NetError::Listen { address: address.to_string(), reason });
                }
                tracing::debug!(%address, reason, "cannot listen at an IPv6 address");
            }
        }
    }
    if listening { Ok(()) } else { Err(NetError::NowhereToListen) }
}

/// Checks that no other program listens on a port. libp2p sets `SO_REUSEPORT`, with which two
/// programs could listen on one port and share its connections.
fn check_free(address: &Multiaddr) -> Result<(), NetError> {
    let Some((socket, udp)) = socket(address) else { return Ok(()) };
    if socket.port() == 0 {
        return Ok(());
    }
    let bind = |socket: SocketAddr| {
        if udp { UdpSocket::bind(socket).map(drop) } else { TcpListener::bind(socket).map(drop) }
    };
    match bind(socket) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(NetError::AddressInUse { address: address.to_string(), port: socket.port() })
        }
        Err(error) if !socket.is_ipv6() => {
            Err(NetError::Listen { address: address.to_string(), reason: error.to_string() })
        }
        _ => Ok(()),
    }
}

/// Returns the text of the innermost error. The transports wrap errors several times.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        pin::Pin,
        task::{Context, Poll, Waker},
        time::Duration,
    };

    use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
    use libp2p::core::{
        Endpoint,
        muxing::{StreamMuxer, StreamMuxerExt as _},
        transport::{Boxed, DialOpts, ListenerId, PortUse, TransportEvent},
    };

    use super::*;

    type Connection = Guarded<Lingering<quic::Connection>>;
    type Stream = <Connection as StreamMuxer>::Substream;

    /// The two ends of a connection over QUIC. Their transports must live as long.
    struct Pair {
        /// The end of the peer that dialed.
        theirs: Connection,
        ours: Connection,
        _transports: [Boxed<(PeerId, Connection)>; 2],
    }

    impl Pair {
        async fn connect() -> Self {
            let pool = Pool::new(Trust::default());
            let transport = || quic_transport(&Identity::generate().keypair(), &pool).boxed();
            let (mut dialing, mut listening) = (transport(), transport());
            let anywhere = "/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap();
            listening.listen_on(ListenerId::next(), anywhere).unwrap();
            let TransportEvent::NewAddress { listen_addr, .. } = listening.select_next_some().await
            else {
                panic!("no address");
            };
            let how = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
            let dial = dialing.dial(listen_addr, how).unwrap();
            let accept = async {
                loop {
                    if let TransportEvent::Incoming { upgrade, .. } =
                        listening.select_next_some().await
                    {
                        return upgrade.await.unwrap();
                    }
                }
            };
            let (dialed, (_, ours)) = soon(async { tokio::join!(dial, accept) }).await;
            Self { theirs: dialed.unwrap().1, ours, _transports: [dialing, listening] }
        }

        /// Opens a stream of the peer, or begins to wait for one.
        fn open(&mut self) -> Poll<Stream> {
            let mut cx = Context::from_waker(Waker::noop());
            self.theirs.poll_outbound_unpin(&mut cx).map(Result::unwrap)
        }

        /// Returns the next stream that the peer has opened and used.
        async fn accept(&mut self) -> Stream {
            soon(poll_fn(|cx| self.ours.poll_inbound_unpin(cx))).await.unwrap()
        }

        /// Sends a byte each way over a stream of the peer, the first that is still unused, and
        /// ends it.
        async fn end(&mut self, mut theirs: Stream) {
            let mut byte = [0];
            soon(theirs.write_all(b"/")).await.unwrap();
            let mut ours = self.accept().await;
            soon(ours.read_exact(&mut byte)).await.unwrap();
            soon(ours.write_all(b"/")).await.unwrap();
            soon(theirs.read_exact(&mut byte)).await.unwrap();
            let (here, there) = soon(async { tokio::join!(ours.close(), theirs.close()) }).await;
            here.and(there).unwrap();
            assert_eq!(soon(ours.read(&mut byte)).await.unwrap(), 0);
            assert_eq!(soon(theirs.read(&mut byte)).await.unwrap(), 0);
        }
    }

    async fn soon<T>(wanted: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_mins(1), wanted).await.expect("before the deadline")
    }

    #[tokio::test]
    async fn streams_over_quic_beyond_the_bound_wait_until_one_ends() {
        let mut pair = Pair::connect().await;
        let mut streams = Vec::new();
        while let Poll::Ready(stream) = pair.open() {
            streams.push(stream);
            assert!(streams.len() <= QUIC_STREAMS as usize);
        }
        assert_eq!(streams.len(), QUIC_STREAMS as usize);
        // QUIC tells the peer of new room once an eighth of its streams have ended.
        let ended = streams.len() / 8 + 1;
        for stream in streams.drain(..ended) {
            pair.end(stream).await;
        }
        for _ in 0..ended {
            let stream = soon(poll_fn(|cx| pair.theirs.poll_outbound_unpin(cx))).await;
            streams.push(stream.unwrap());
        }
        assert!(pair.open().is_pending(), "the others have not ended");
    }

    #[tokio::test]
    async fn a_peer_that_fills_the_window_over_quic_waits_until_it_is_read() {
        let mut pair = Pair::connect().await;
        let mut cx = Context::from_waker(Waker::noop());
        let part = vec![b'/'; 10_000];
        let (mut streams, mut sent) = (Vec::new(), 0);
        for _ in 0..4 {
            let Poll::Ready(mut stream) = pair.open() else { panic!("few streams are allowed") };
            while let Poll::Ready(written) = Pin::new(&mut stream).poll_write(&mut cx, &part) {
                sent += written.unwrap();
                assert!(sent <= QUIC_WINDOW as usize);
            }
            streams.push(stream);
        }
        assert_eq!(sent, QUIC_WINDOW as usize);
        let mut here = pair.accept().await;
        let mut read = vec![0; STREAM_WINDOW as usize];
        soon(here.read_exact(&mut read)).await.unwrap();
        let last = streams.last_mut().unwrap();
        soon(last.write_all(&part)).await.unwrap();
    }
}
