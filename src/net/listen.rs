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
