//! Parses addresses from users, selects those worth dialing, and orders this node's own addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use libp2p::{Multiaddr, multiaddr::Protocol};

use super::peer::{from_libp2p, to_libp2p};
use crate::{
    peers::{host_group, site_group},
    primitives::PeerId,
    wire::address::HostPort,
};

/// Bytes of a host's name: the limit of DNS.
const MAX_NAME_BYTES: usize = 253;

/// The reason why a text is not an address to dial or to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// The text is not an address in any form.
    #[error(
        "'{0}' is not an address: write host:port (as 192.168.1.7:8891) or a multiaddr (as \
         /ip4/192.168.1.7/tcp/8891)"
    )]
    Malformed(String),
    /// The text is a multiaddr of a transport that the node does not have.
    #[error(
        "'{0}' cannot be used: the node speaks /tcp/PORT and /udp/PORT/quic-v1 over /ip4, /ip6 \
         and /dns alone"
    )]
    Transport(String),
    /// The `/p2p/` part of the multiaddr is the id of a key that is not ed25519.
    #[error("'{0}' names a peer whose key is not ed25519: ids of friends begin with 12D3KooW")]
    NotEd25519(String),
    /// The address to listen on is a name, or has a `/p2p/` part.
    #[error(
        "'{0}' cannot be listened on: give an IP address of this machine, or 0.0.0.0 for all of \
         them"
    )]
    NotLocal(String),
}

/// Parses an address to dial: a multiaddr, or `host:port` or `[v6]:port`, which stand for TCP.
pub(super) fn parse(text: &str) -> Result<Multiaddr, AddressError> {
    let shown = || text.chars().take(120).collect::<String>();
    let address = if text.starts_with('/') {
        text.parse::<Multiaddr>().map_err(|_| AddressError::Malformed(shown()))?
    } else {
        HostPort::parse(text)
            .filter(|parsed| match parsed {
                HostPort::Socket(_) => true,
                HostPort::Name { host, .. } => host.len() <= MAX_NAME_BYTES,
            })
            .and_then(|parsed| parsed.to_multiaddr().parse::<Multiaddr>().ok())
            .ok_or_else(|| AddressError::Malformed(shown()))?
    };
    let (transport, peer) = split_peer(&address);
    if peer == Some(Err(())) {
        return Err(AddressError::NotEd25519(shown()));
    }
    if is_transport(&transport) || split_relay(&transport).is_some() {
        Ok(address)
    } else {
        Err(AddressError::Transport(shown()))
    }
}

/// Parses an address to listen on.
pub(super) fn parse_listen(text: &str) -> Result<Multiaddr, AddressError> {
    let address = parse(text)?;
    if socket(&address).is_none() || peer_of(&address).is_some() || is_relayed(&address) {
        return Err(AddressError::NotLocal(text.chars().take(120).collect()));
    }
    Ok(address)
}

/// True if the node has the transport: a host, then TCP or QUIC, and no further part.
pub(super) fn is_transport(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let host = matches!(
        parts.next(),
        Some(
            Protocol::Ip4(_)
                | Protocol::Ip6(_)
                | Protocol::Dns(_)
                | Protocol::Dns4(_)
                | Protocol::Dns6(_)
        )
    );
    let port = match parts.next() {
        Some(Protocol::Tcp(_)) => true,
        Some(Protocol::Udp(_)) => matches!(parts.next(), Some(Protocol::QuicV1)),
        _ => false,
    };
    host && port && parts.next().is_none()
}

/// Splits `/p2p/` from the end of an address. Returns the peer it names, or `Err` if the peer's key
/// is not ed25519.
fn split_peer(address: &Multiaddr) -> (Multiaddr, Option<Result<PeerId, ()>>) {
    let mut transport = address.clone();
    match transport.iter().last() {
        Some(Protocol::P2p(peer)) => {
            transport.pop();
            (transport, Some(from_libp2p(&peer).ok_or(())))
        }
        _ => (transport, None),
    }
}

/// Returns the peer that the address names in `/p2p/`.
pub(super) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    split_peer(address).1.and_then(Result::ok)
}

/// Returns the address without `/p2p/`.
pub(super) fn without_peer(address: &Multiaddr) -> Multiaddr {
    split_peer(address).0
}

/// Returns the address with `/p2p/` and the peer's id at its end.
pub(super) fn with_peer(address: &Multiaddr, peer: &PeerId) -> Multiaddr {
    match to_libp2p(peer) {
        Some(id) => without_peer(address).with(Protocol::P2p(id)),
        None => address.clone(),
    }
}

/// Returns the IP address. Returns none for a name.
pub(super) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(IpAddr::V4(ip)),
        Some(Protocol::Ip6(ip)) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

/// Returns the group of an operator's addresses to which a connection's far end belongs: the
/// peer's, or its relay's. Peers without an IP address share one group.
pub(crate) fn site_of(address: &str) -> IpAddr {
    let address = address.parse::<Multiaddr>();
    address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| network(&address))
}

/// Returns the IP address and port, and true for UDP. Returns none for a name.
pub(super) fn socket(address: &Multiaddr) -> Option<(SocketAddr, bool)> {
    let ip = ip(address)?;
    match address.iter().nth(1) {
        Some(Protocol::Tcp(port)) => Some((SocketAddr::new(ip, port), false)),
        Some(Protocol::Udp(port)) => Some((SocketAddr::new(ip, port), true)),
        _ => None,
    }
}

/// True if the peer is reached through a relay. All other parts of the address are then the
/// relay's.
pub(super) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::P2pCircuit))
}

/// Splits a relayed address into the address of the relay and the relay's id.
pub(super) fn split_relay(address: &Multiaddr) -> Option<(Multiaddr, PeerId)> {
    let mut relay = without_peer(address);
    match relay.pop() {
        Some(Protocol::P2pCircuit) => {}
        _ => return None,
    }
    let id = peer_of(&relay)?;
    Some((without_peer(&relay), id)).filter(|(address, _)| is_transport(address))
}

/// Returns the address at which a node is reached through a relay.
pub(super) fn through(relay_at: &Multiaddr, relay: &PeerId) -> Multiaddr {
    with_peer(relay_at, relay).with(Protocol::P2pCircuit)
}

/// Returns the address of the machine at the far end of a connection: of the peer, or of its relay.
/// If the peer opened a relayed connection, the far end has no address; the near end has the
/// relay's.
pub(super) fn far_end(remote: &Multiaddr, local: &Multiaddr) -> Multiaddr {
    without_peer(if is_relayed(local) { local } else { remote })
}

/// True if the address looks reachable from anywhere: a public one. Addresses for documentation and
/// of providers count, since a machine in such a network has no others.
pub(super) fn is_far(address: &Multiaddr) -> bool {
    matches!(scope(address), Scope::Public | Scope::Documentation | Scope::Shared | Scope::Name)
}

/// True if the address is the name `localhost`.
pub(super) fn is_this_machine(address: &Multiaddr) -> bool {
    matches!(
        address.iter().next(),
        Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name))
            if name.eq_ignore_ascii_case("localhost")
    )
}

/// True if the address is a loopback or private one: of this machine, or of its local network. A
/// peer behind a relay is never nearby, wherever its relay is.
pub(super) fn is_nearby(address: &Multiaddr) -> bool {
    !is_relayed(address)
        && ip(address).is_some_and(|ip| match ip {
            IpAddr::V4(ip) => is_private_v4(ip),
            IpAddr::V6(ip) => is_private_v6(ip) || ip.is_unicast_link_local(),
        })
}

/// True if an IPv6 address lies in the same /64 as one of this machine's own addresses, so that it
/// is on a network of this machine. Loopback and link-local addresses do not count.
pub(super) fn is_on_link<'a>(found: Ipv6Addr, own: impl Iterator<Item = &'a Multiaddr>) -> bool {
    let prefix = |ip: Ipv6Addr| ip.to_bits() >> 64;
    let is_wide = |ip: Ipv6Addr| !ip.is_loopback() && !ip.is_unicast_link_local();
    let mut own = own.filter_map(|address| match ip(address) {
        Some(IpAddr::V6(ip)) => Some(ip),
        _ => None,
    });
    is_wide(found) && own.any(|ip| is_wide(ip) && prefix(ip) == prefix(found))
}

/// The region in which an address means one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// This machine.
    Loopback,
    /// A private network: RFC 1918 and unique local addresses.
    Private,
    /// One link: 169.254.0.0/16.
    Link,
    /// The network of one provider, or of an overlay: 100.64.0.0/10.
    Shared,
    /// Networks for documentation and measurements, which appear only in test set-ups.
    Documentation,
    /// The internet.
    Public,
    /// A name, which a resolver turns into any address.
    Name,
    /// No machine: unspecified, multicast, reserved and translated addresses.
    Nowhere,
}

/// Returns the scope of an address.
pub(super) fn scope(address: &Multiaddr) -> Scope {
    match ip(address).map(|ip| ip.to_canonical()) {
        None => Scope::Name,
        Some(IpAddr::V4(ip)) => scope_v4(ip),
        Some(IpAddr::V6(ip)) => scope_v6(ip),
    }
}

fn scope_v4(ip: Ipv4Addr) -> Scope {
    match ip.octets() {
        [127, ..] => Scope::Loopback,
        [100, second, ..] if second & 0xc0 == 64 => Scope::Shared,
        [198, 18 | 19, ..] => Scope::Documentation,
        [0 | 224..=255, ..] | [192, 0, 0, _] => Scope::Nowhere,
        _ if ip.is_private() => Scope::Private,
        _ if ip.is_link_local() => Scope::Link,
        _ if ip.is_documentation() => Scope::Documentation,
        _ => Scope::Public,
    }
}

fn scope_v6(ip: Ipv6Addr) -> Scope {
    match ip.segments() {
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Scope::Documentation,
        // Teredo and 6to4 hide an IPv4 address, which may be of any scope.
        [0x2001, 0, ..] | [0x2002, ..] => Scope::Nowhere,
        [first, ..] if first & 0xe000 == 0x2000 => Scope::Public,
        _ if ip.is_loopback() => Scope::Loopback,
        _ if ip.is_unique_local() => Scope::Private,
        // Link-local addresses lose their interface on the wire, and 64:ff9b::/96 hides an IPv4
        // address. Nothing else is assigned.
        _ => Scope::Nowhere,
    }
}

/// True if a told address may be dialed.
///
/// The teller is connected from addresses of the scopes `teller`. An address that is not public
/// means another machine here than at the teller, unless the teller is at such an address itself.
/// Names are resolved only if they are a friend's own.
///
/// # Security
///
/// A stranger could otherwise make this node connect to services of its own machine or network, or
/// query any name server.
pub(super) fn may_be_told(
    address: &Multiaddr,
    teller: &[Scope],
    of_friend: bool,
    private_only: bool,
) -> bool {
    let there = match scope(address) {
        Scope::Public => true,
        Scope::Name => of_friend,
        Scope::Nowhere => false,
        near => teller.contains(&near),
    };
    there && is_dialable(address, private_only)
}

/// One machine to dial, as the budgets of dials count it: an IPv4 address, an IPv6 network of 64
/// bits, or a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Target {
    Ip(IpAddr),
    Name(String),
}

/// Returns the machine at an address.
pub(super) fn target(address: &Multiaddr) -> Target {
    match ip(address) {
        Some(ip) => Target::Ip(host_group(ip)),
        None => Target::Name(
            address.iter().next().map(|part| part.to_string().to_lowercase()).unwrap_or_default(),
        ),
    }
}

/// Returns the group of an operator's addresses to which the address belongs.
pub(super) fn network(address: &Multiaddr) -> IpAddr {
    ip(address).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), site_group)
}

/// True if an address from another peer is worth dialing.
///
/// Unspecified, multicast and IPv6 link-local addresses are never dialed: link-local ones lose
/// their interface on the wire. With `private_only`, neither public addresses nor names are dialed.
pub(super) fn is_dialable(address: &Multiaddr, private_only: bool) -> bool {
    if !is_transport(&without_peer(address)) && split_relay(address).is_none() {
        return false;
    }
    match ip(address) {
        Some(IpAddr::V4(ip)) => {
            !ip.is_unspecified()
                && !ip.is_multicast()
                && !ip.is_broadcast()
                && (!private_only || is_private_v4(ip))
        }
        Some(IpAddr::V6(ip)) => {
            !ip.is_unspecified()
                && !ip.is_multicast()
                && !ip.is_unicast_link_local()
                && (!private_only || is_private_v6(ip))
        }
        None => !private_only,
    }
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    ip.is_private() || ip.is_loopback() || ip.is_link_local()
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    ip.is_loopback() || ip.is_unique_local() || ip.to_ipv4_mapped().is_some_and(is_private_v4)
}

/// Returns the rank of an address among those to offer. Addresses with the widest reach come first,
/// and TCP before QUIC.
fn rank(address: &Multiaddr) -> (u8, bool) {
    let scope = match ip(address) {
        Some(IpAddr::V4(ip)) if ip.is_loopback() => 4,
        Some(IpAddr::V6(ip)) if ip.is_loopback() => 5,
        Some(IpAddr::V4(ip)) if ip.is_link_local() => 3,
        Some(IpAddr::V6(ip)) if is_private_v6(ip) => 2,
        Some(IpAddr::V6(_)) => 1,
        Some(IpAddr::V4(_)) | None => 0,
    };
    let quic = address.iter().any(|part| matches!(part, Protocol::QuicV1));
    (scope, quic)
}

/// Returns the node's addresses to offer to others: the external ones, then those it listens on.
/// Without `near`, addresses that only its own network reaches are left out.
///
/// Unspecified and link-local addresses are never offered. Loopback ones are offered only if there
/// are no others.
pub(super) fn offered(
    listening: impl Iterator<Item = Multiaddr>,
    external: &[Multiaddr],
    near: bool,
) -> Vec<Multiaddr> {
    let listening = listening.filter(|address| near || is_far(address));
    let mut own: Vec<_> = listening.filter(|address| is_dialable(address, false)).collect();
    own.sort_by_key(rank);
    own.dedup();
    let reaches = |address: &Multiaddr| !ip(address).is_some_and(|ip| ip.is_loopback());
    if own.iter().any(reaches) {
        own.retain(reaches);
    }
    own.retain(|address| !external.contains(address));
    external.iter().cloned().chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";

    fn multiaddr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn users_may_write_sockets_names_and_multiaddrs() {
        for (text, expected) in [
            ("127.0.0.1:8891", "/ip4/127.0.0.1/tcp/8891"),
            ("[::1]:8891", "/ip6/::1/tcp/8891"),
            ("friend.example:8891", "/dns/friend.example/tcp/8891"),
            ("/ip4/10.0.0.1/udp/8891/quic-v1", "/ip4/10.0.0.1/udp/8891/quic-v1"),
            ("/dns4/friend.example/tcp/1", "/dns4/friend.example/tcp/1"),
        ] {
            assert_eq!(parse(text).unwrap(), multiaddr(expected), "{text}");
        }
        let full = format!("/ip4/10.0.0.1/tcp/8891/p2p/{PEER}");
        assert_eq!(peer_of(&parse(&full).unwrap()).unwrap().to_string(), PEER);
    }

    #[test]
    fn only_neighbours_of_own_addresses_are_on_link() {
        let own: Vec<Multiaddr> =
            ["/ip4/10.0.0.1/tcp/1", "/ip6/::1/tcp/1", "/ip6/fe80::1/tcp/1", "/ip6/fd00::1/tcp/1"]
                .map(|text| text.parse().unwrap())
                .into();
        for (found, is_near) in [
            ("fd00::2", true),
            ("fd00:0:0:1::2", false),
            ("2001:4860::8888", false),
            ("fe80::2", false),
            ("::1", false),
        ] {
            assert_eq!(is_on_link(found.parse().unwrap(), own.iter()), is_near, "{found}");
        }
    }

    #[test]
    fn what_cannot_be_dialed_is_named() {
        for text in
            ["", "8891", "host:", ":8891", "host:99999", "a b:1", "/ip4/1.2.3/tcp/1", "/nonsense"]
        {
            assert!(matches!(parse(text), Err(AddressError::Malformed(_))), "{text}");
        }
        for text in ["/ip4/1.2.3.4/udp/5", "/ip4/1.2.3.4", "/ip4/1.2.3.4/tcp/5/ws", "/memory/7"] {
            assert!(matches!(parse(text), Err(AddressError::Transport(_))), "{text}");
        }
        let rsa = "/ip4/1.2.3.4/tcp/5/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN";
        assert!(matches!(parse(rsa), Err(AddressError::NotEd25519(_))));
        assert!(matches!(parse_listen("friend.example:1"), Err(AddressError::NotLocal(_))));
    }

    #[test]
    fn a_private_network_dials_private_addresses_alone() {
        for (text, anywhere, private) in [
            ("/ip4/192.168.1.2/tcp/1", true, true),
            ("/ip4/127.0.0.1/udp/1/quic-v1", true, true),
            ("/ip4/169.254.1.1/tcp/1", true, true),
            ("/ip6/fd00::1/tcp/1", true, true),
            ("/ip6/::ffff:10.0.0.1/tcp/1", true, true),
            ("/ip4/8.8.8.8/tcp/1", true, false),
            ("/ip6/2001:db8::1/tcp/1", true, false),
            ("/dns/friend.example/tcp/1", true, false),
            ("/ip6/fe80::1/tcp/1", false, false),
            ("/ip4/0.0.0.0/tcp/1", false, false),
            ("/ip4/224.0.0.251/udp/1/quic-v1", false, false),
            ("/memory/7", false, false),
        ] {
            assert_eq!(is_dialable(&multiaddr(text), false), anywhere, "{text}");
            assert_eq!(is_dialable(&multiaddr(text), true), private, "{text}");
        }
    }

    #[test]
    fn near_addresses_are_believed_only_from_a_teller_that_is_there() {
        use Scope::{Documentation, Link, Loopback, Private, Public, Shared};
        for (text, near) in [
            ("/ip4/127.0.0.1/tcp/1", Loopback),
            ("/ip6/::1/tcp/1", Loopback),
            ("/ip6/::ffff:127.0.0.1/tcp/1", Loopback),
            ("/ip4/10.0.0.1/tcp/1", Private),
            ("/ip4/172.31.0.1/tcp/1", Private),
            ("/ip6/fd00::1/tcp/1", Private),
            ("/ip4/169.254.1.1/tcp/1", Link),
            ("/ip4/100.64.0.1/tcp/1", Shared),
            ("/ip4/198.51.100.1/tcp/1", Documentation),
            ("/ip4/198.19.0.1/tcp/1", Documentation),
            ("/ip6/2001:db8::1/tcp/1", Documentation),
        ] {
            let address = multiaddr(text);
            assert_eq!(scope(&address), near, "{text}");
            for teller in [Loopback, Private, Link, Shared, Documentation, Public] {
                let believed = may_be_told(&address, &[teller], true, false);
                assert_eq!(believed, teller == near, "{text} from {teller:?}");
            }
        }
        for text in [
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/0.1.2.3/tcp/1",
            "/ip4/224.0.0.251/tcp/1",
            "/ip4/255.255.255.255/tcp/1",
            "/ip4/240.0.0.1/tcp/1",
            "/ip6/::/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip6/ff02::1/tcp/1",
            "/ip6/64:ff9b::7f00:1/tcp/1",
            "/ip6/2002:7f00:1::1/tcp/1",
            "/ip6/2001:0:7f00:1::1/tcp/1",
        ] {
            assert_eq!(scope(&multiaddr(text)), Scope::Nowhere, "{text}");
            assert!(!may_be_told(&multiaddr(text), &[Scope::Nowhere, Public], true, false));
        }
        let (public, name) = (multiaddr("/ip4/8.8.8.8/tcp/1"), multiaddr("/dns/a.example/tcp/1"));
        assert!(may_be_told(&public, &[], false, false));
        assert!(!may_be_told(&public, &[Public], true, true));
        assert!(may_be_told(&name, &[], true, false));
        assert!(!may_be_told(&name, &[Public], false, false));
    }

    #[test]
    fn machines_and_networks_are_told_apart() {
        let of = |text: &str| target(&multiaddr(text));
        assert_eq!(of("/ip4/8.8.8.8/tcp/1"), of("/ip6/::ffff:8.8.8.8/udp/2/quic-v1"));
        assert_ne!(of("/ip4/8.8.8.8/tcp/1"), of("/ip4/8.8.8.9/tcp/1"));
        assert_eq!(of("/ip6/2a00:1:2:3::1/tcp/1"), of("/ip6/2a00:1:2:3:4::2/tcp/1"));
        assert_ne!(of("/ip6/2a00:1:2:3::1/tcp/1"), of("/ip6/2a00:1:2:4::1/tcp/1"));
        assert_eq!(of("/dns/A.example/tcp/1"), of("/dns/a.example/tcp/2"));
        let of = |text: &str| network(&multiaddr(text));
        assert_eq!(of("/ip4/8.8.8.8/tcp/1"), of("/ip4/8.8.8.9/tcp/1"));
        assert_ne!(of("/ip4/8.8.8.8/tcp/1"), of("/ip4/8.8.9.8/tcp/1"));
        assert_eq!(of("/ip6/2a00:1:2:3::1/tcp/1"), of("/ip6/2a00:1:2:4::1/tcp/1"));
    }

    #[test]
    fn the_farthest_reaching_addresses_are_offered_first() {
        let listening = [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/192.168.1.2/udp/1/quic-v1",
            "/ip6/fe80::1/tcp/1",
            "/ip6/2001:db8::1/tcp/1",
            "/ip4/192.168.1.2/tcp/1",
        ];
        let external = [multiaddr("/dns/friend.example/tcp/1")];
        let texts: Vec<_> = offered(listening.iter().map(|text| multiaddr(text)), &external, true)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            texts,
            [
                "/dns/friend.example/tcp/1",
                "/ip4/192.168.1.2/tcp/1",
                "/ip4/192.168.1.2/udp/1/quic-v1",
                "/ip6/2001:db8::1/tcp/1"
            ]
        );
        let alone = offered([multiaddr("/ip4/127.0.0.1/tcp/1")].into_iter(), &[], true);
        assert_eq!(alone, [multiaddr("/ip4/127.0.0.1/tcp/1")]);
        let far = offered(listening.iter().map(|text| multiaddr(text)), &[], false);
        assert_eq!(
            far,
            [multiaddr("/ip6/2001:db8::1/tcp/1")],
            "private ones are not offered far away"
        );
    }

    #[test]
    fn a_relayed_address_is_the_relays_and_is_never_nearby() {
        let relay_at = multiaddr("/ip4/10.0.0.1/tcp/1");
        let relay = PEER.parse::<PeerId>().unwrap();
        let relayed = through(&relay_at, &relay);
        assert_eq!(relayed.to_string(), format!("/ip4/10.0.0.1/tcp/1/p2p/{PEER}/p2p-circuit"));
        let whole = with_peer(&relayed, &relay);
        for address in [&relayed, &whole] {
            assert_eq!(split_relay(address), Some((relay_at.clone(), relay)));
            assert!(is_relayed(address) && !is_nearby(address) && is_dialable(address, false));
            assert!(parse(&address.to_string()).is_ok());
            assert!(parse_listen(&address.to_string()).is_err());
        }
        assert_eq!(without_peer(&whole), relayed);
        let from = multiaddr(&format!("/p2p/{PEER}"));
        assert_eq!(far_end(&from, &relayed), relayed);
        assert_eq!(far_end(&whole, &relay_at), relayed);
        for text in ["/p2p-circuit", "/ip4/10.0.0.1/tcp/1/p2p-circuit", "/dns/a/p2p/b/p2p-circuit"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        let double = format!("{relayed}/p2p/{PEER}/p2p-circuit");
        assert!(parse(&double).is_err() && !is_dialable(&multiaddr(&double), false));
    }
}
