//! The written forms of addresses: `host:port`, and multiaddrs with or without `/p2p/`.
//!
//! This is the grammar that `net`, `friends` and the command line share. Only `net` knows which
//! transports the node has.

use std::net::{IpAddr, SocketAddr};

use super::limits::MAX_ADDRESS_BYTES;

/// A host and a port as users write them, which stand for TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostPort<'a> {
    Socket(SocketAddr),
    Name { host: &'a str, port: u16 },
}

impl<'a> HostPort<'a> {
    /// Parses `IP:PORT`, `[IPv6]:PORT` or `NAME:PORT`. A name has ASCII letters, digits, `-`, `.`
    /// and `_`, in any order and number.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        if let Ok(socket) = text.parse() {
            return Some(Self::Socket(socket));
        }
        let (host, port) = text.rsplit_once(':')?;
        let is_name = !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        Some(Self::Name { host, port: port.parse().ok()? }).filter(|_| is_name)
    }

    /// Returns the multiaddr over TCP.
    pub(crate) fn to_multiaddr(self) -> String {
        match self {
            Self::Socket(socket) => format!("{}/tcp/{}", ip_multiaddr(socket.ip()), socket.port()),
            Self::Name { host, port } => format!("/dns/{host}/tcp/{port}"),
        }
    }
}

/// Returns the part of a multiaddr that names an IP address.
pub(crate) fn ip_multiaddr(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("/ip4/{ip}"),
        IpAddr::V6(ip) => format!("/ip6/{ip}"),
    }
}

/// The end of a relayed address: the relay's id comes before it, the peer's behind it.
const CIRCUIT: &str = "/p2p-circuit";

/// Splits a multiaddr at a `/p2p/` at its end, into the address and the peer id. The id of a relay
/// stays in the address.
pub(crate) fn split_peer(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once("/p2p/") {
        Some((address, peer)) if !peer.ends_with(CIRCUIT) => (address, Some(peer)),
        _ => (text, None),
    }
}

/// Splits a relayed address into the address of the relay and the relay's id.
pub(crate) fn split_relay(text: &str) -> Option<(&str, &str)> {
    let relay = split_peer(text).0.strip_suffix(CIRCUIT)?;
    match split_peer(relay) {
        (address, Some(id)) if !address.is_empty() && !id.is_empty() => Some((address, id)),
        _ => None,
    }
}

/// True if a text has the form of a multiaddr without a peer id. Its parts may be unknown to this
/// program, since other programs may have more transports.
pub(crate) fn has_multiaddr_form(text: &str) -> bool {
    text.len() <= MAX_ADDRESS_BYTES
        && text.len() > 1
        && text.starts_with('/')
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && split_peer(text).1.is_none()
        && !split_relay(text).map_or(text, |(address, _)| address).contains("/p2p")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_become_multiaddrs() {
        for (text, expected) in [
            ("127.0.0.1:8891", Some("/ip4/127.0.0.1/tcp/8891")),
            ("[::1]:0", Some("/ip6/::1/tcp/0")),
            ("my_friend.example:1", Some("/dns/my_friend.example/tcp/1")),
            ("::1:1", None),
            ("a b:1", None),
            (":1", None),
            ("host:", None),
            ("host:65536", None),
            ("8891", None),
        ] {
            let multiaddr = HostPort::parse(text).map(HostPort::to_multiaddr);
            assert_eq!(multiaddr.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_peer_is_behind_the_last_p2p() {
        assert_eq!(split_peer("/ip4/1.2.3.4/tcp/5"), ("/ip4/1.2.3.4/tcp/5", None));
        assert_eq!(split_peer("/dns/a/p2p/b/p2p/c"), ("/dns/a/p2p/b", Some("c")));
        assert!(has_multiaddr_form("/memory/7"));
        let relayed = "/ip4/1.2.3.4/tcp/5/p2p/yzw/p2p-circuit";
        assert_eq!(split_peer(relayed), (relayed, None));
        assert_eq!(split_relay(relayed), Some(("/ip4/1.2.3.4/tcp/5", "yzw")));
        let whole = format!("{relayed}/p2p/yjf");
        assert_eq!(split_peer(&whole), (relayed, Some("yjf")));
        assert_eq!(split_relay(&whole), split_relay(relayed));
        assert!(has_multiaddr_form(relayed) && !has_multiaddr_form(&whole));
        assert!(!has_multiaddr_form("/dns/a/p2p/b/p2p-circuit/p2p/c/p2p-circuit"));
        assert!(!has_multiaddr_form("/p2p/b/p2p-circuit") && !has_multiaddr_form("/p2p-circuit"));
        for text in ["/", "host:1", "/dns/a/p2p/b", "/dns/a b", "/dns/\u{e9}"] {
            assert!(!has_multiaddr_form(text), "{text}");
        }
    }
}
