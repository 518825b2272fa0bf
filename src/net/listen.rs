//! Making the swarm, and listening: what can go wrong at the start, said in the user's words.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use libp2p::{Multiaddr, Swarm, SwarmBuilder, dns, noise, tcp, yamux};

use super::{
    NetError, address::socket, behaviour::Behaviour, identity::Identity, limits::IDLE_TIME,
};

/// The swarm with all transports: TCP with Noise and yamux, QUIC, and names for both.
pub(super) fn build_swarm(
    identity: &Identity,
    behaviour: Behaviour,
) -> Result<Swarm<Behaviour>, NetError> {
    let failed = |part: &'static str| move |reason: String| NetError::Setup { part, reason };
    let transports = || {
        SwarmBuilder::with_existing_identity(identity.keypair())
            .with_tokio()
            .with_tcp(
                tcp::Config::default().nodelay(true),
                noise::Config::new,
                yamux::Config::default,
            )
            .map(|builder| builder.with_quic_config(|config| config))
            .map_err(|error| failed("Noise")(error.to_string()))
    };
    // The builder's type differs with each resolver, so its end is written once as a macro.
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
            // Without the system's resolver names cannot be dialed; numbers still can.
            tracing::debug!(%error, "no name resolver");
            let nowhere = dns::ResolverConfig::from_parts(None, Vec::new(), Vec::new());
            finish!(transports()?.with_dns_config(nowhere, dns::ResolverOpts::default()))
        }
    }
}

/// Listens on all addresses. Those of IPv6 are left out where the system has none.
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

/// libp2p sets `SO_REUSEPORT`, with which two programs listen on one port and each gets some of the
/// connections. So try without.
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

/// The innermost error: the transports wrap it several times.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
