//! Builds the swarm and makes it listen, and turns failures into sentences for the user.

use std::{
    error::Error,
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use libp2p::{
    Multiaddr, Swarm, SwarmBuilder, Transport,
    core::{muxing::StreamMuxerBox, upgrade::Version},
    dns, identity, noise, quic, tcp, yamux,
};

use super::{
    NetError,
    address::socket,
    behaviour::Behaviour,
    handshakes::{Bounded, bounded},
    identity::Identity,
    limits::IDLE_TIME,
};

/// Builds the swarm with all transports: TCP with Noise and yamux, QUIC, and DNS for both.
pub(super) fn build_swarm(
    identity: &Identity,
    behaviour: Behaviour,
) -> Result<Swarm<Behaviour>, NetError> {
    let failed = |part: &'static str| move |reason: String| NetError::Setup { part, reason };
    let transports = || {
        SwarmBuilder::with_existing_identity(identity.keypair())
            .with_tokio()
            .with_other_transport(transport)
            .map_err(|error| failed("Noise")(error.to_string()))
    };
    // The type of the builder depends on the resolver, so a function cannot hold the common end.
    macro_rules! finish {
        ($builder:expr) => {
            Ok($builder
                .with_behaviour(|_| behaviour)
                .map_err(|error| failed("behaviour")(error.to_string()))?
                .with_swarm_config(|config| {
                    config
                        .with_idle_connection_timeout(IDLE_TIME)
                        .with_per_connection_event_buffer_size(32)
                })
                .build())
        };
    }
    match transports()?.with_dns() {
        Ok(builder) => finish!(builder),
        Err(error) => {
            // Without the system's resolver, names cannot be dialed. IP addresses still can.
            tracing::debug!(%error, "no name resolver");
            let nowhere = dns::ResolverConfig::from_parts(None, Vec::new(), Vec::new());
            finish!(transports()?.with_dns_config(nowhere, dns::ResolverOpts::default()))
        }
    }
}

/// Returns TCP with Noise and yamux, and QUIC, with bounded handshakes.
fn transport(keypair: &identity::Keypair) -> Result<Bounded, Box<dyn Error + Send + Sync>> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let quic = quic::tokio::Transport::new(quic::Config::new(keypair))
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    Ok(bounded(tcp.or_transport(quic).map(|either, _| either.into_inner()).boxed()))
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
                tracing::debug!(%address, reason, "not listening there");
            }
        }
    }
    if listening { Ok(()) } else { Err(NetError::NowhereToListen) }
}

/// Checks that no other program listens on a port. libp2p sets `SO_REUSEPORT`, with which two
/// programs could listen on one port and each would get some of the connections.
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
