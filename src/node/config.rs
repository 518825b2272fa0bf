//! The settings of a node, and the parsing of their texts.
//!
//! The command line fills them in. Flags take precedence over environment variables, those over
//! `friendchain.toml`, and the file over defaults.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
};

use clap::ValueEnum;

use crate::{
    datadir::NodeId,
    primitives::{Address, FriendName, MiningMode, NameError, trimmed},
    rpc::{RpcError, types::Secret},
    wire::address::{HostPort, ip_multiaddr},
};

/// The place that `people` dials if no peer is named: the first of a chat room's five nodes.
pub(crate) const MEETING_PLACE: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8_891);

/// The default memory for the caches of coins and database pages, in MiB.
pub(crate) const DEFAULT_CACHE_MIB: u32 = 128;

/// The smallest cache, in MiB. Below it, the database would read its pages again and again.
pub(crate) const MIN_CACHE_MIB: u32 = 16;

/// The largest cache, in MiB. A larger number is probably a typing error.
pub(crate) const MAX_CACHE_MIB: u32 = 65_536;

/// The settings of a node.
#[derive(Debug, Clone)]
pub(crate) struct NodeConfig {
    /// The node's name. `None`: the kept one, else [`NodeConfig::default_name`]. If the last start
    /// got the same name, a later `rename` stays in force.
    pub(crate) name: Option<String>,
    /// The name in the folder's settings, used if no name was given.
    pub(crate) kept_name: Option<String>,
    /// The name of a node that never had one.
    pub(crate) default_name: String,
    /// Multiaddrs on which the node accepts connections.
    pub(crate) listen: Vec<String>,
    /// Multiaddrs at which others reach the node, according to the user: a forwarded port, or a
    /// name.
    pub(crate) external: Vec<String>,
    /// Multiaddrs of the peers to dial, with or without `/p2p/…`.
    pub(crate) peers: Vec<String>,
    /// Multiaddr at which the nodes of a chat room on this machine meet. It is dialed as well, but
    /// nobody is a friend for answering there.
    pub(crate) meeting_place: Option<String>,
    pub(crate) mining: MiningMode,
    /// The address that is paid for mined blocks. None: the wallet's first one.
    pub(crate) miner: Option<Address>,
    /// The friend who is paid for mined blocks instead, as the user named it.
    pub(crate) miner_friend: Option<String>,
    /// Number of miner threads. None: one for each processor.
    pub(crate) threads: Option<NonZeroUsize>,
    /// Address of the RPC, loopback only. With port 0 the system chooses the port.
    pub(crate) rpc: SocketAddr,
    /// Address that serves health and metrics, without authentication. With port 0 the system
    /// chooses the port. None: they are not served.
    pub(crate) metrics: Option<SocketAddr>,
    /// True to discover friends on the LAN with mDNS.
    pub(crate) mdns: bool,
    /// Memory for the caches, in MiB, from [`MIN_CACHE_MIB`] to [`MAX_CACHE_MIB`].
    pub(crate) cache_mib: u32,
    /// Unlocks the wallet at the start.
    pub(crate) passphrase: Option<Secret>,
    /// True to dial only private addresses. `None`: true on the built-in network only.
    pub(crate) private_only: Option<bool>,
    /// True to ask the router for a mapped port. None: everywhere but on the built-in network.
    pub(crate) port_mapping: Option<bool>,
    /// The peers for which the node relays. `None`: friends, but nobody on the built-in network.
    pub(crate) relay: Option<RelayMode>,
    /// True if, on the built-in network, a private address makes a peer a friend.
    pub(crate) lan_friends: bool,
    /// True to create a wallet if there is none, without showing its recovery phrase.
    pub(crate) make_wallet: bool,
}

impl NodeConfig {
    /// Returns settings for a node that never mines and listens on a port that the system chooses.
    #[must_use]
    pub(crate) fn new(default_name: String) -> Self {
        Self {
            name: None,
            kept_name: None,
            default_name,
            listen: listen_anywhere(0),
            external: Vec::new(),
            peers: Vec::new(),
            meeting_place: None,
            mining: MiningMode::Off,
            miner: None,
            miner_friend: None,
            threads: None,
            rpc: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            metrics: None,
            mdns: true,
            cache_mib: DEFAULT_CACHE_MIB,
            passphrase: None,
            private_only: None,
            port_mapping: None,
            relay: None,
            lan_friends: true,
            make_wallet: false,
        }
    }
}

/// The peers for which a reachable node relays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RelayMode {
    /// For friends, within stated bytes and time
    Friends,
    /// For nobody
    Off,
}

/// Returns the multiaddrs of all interfaces at a port: IPv4 and IPv6, over TCP and QUIC. A machine
/// without IPv6 listens on IPv4 only.
#[must_use]
pub(crate) fn listen_anywhere(port: u16) -> Vec<String> {
    let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    all.map(|ip| listen_at(ip, port)).concat()
}

/// Returns the multiaddrs of one interface at a port, over TCP and QUIC.
#[must_use]
pub(crate) fn listen_at(ip: IpAddr, port: u16) -> Vec<String> {
    let host = ip_multiaddr(ip);
    vec![format!("{host}/tcp/{port}"), format!("{host}/udp/{port}/quic-v1")]
}

/// Parses a `--listen` into multiaddrs: a multiaddr itself, an `IP:PORT`, or a port.
pub(crate) fn parse_listen(text: &str) -> Result<Vec<String>, RpcError> {
    if text.starts_with('/') {
        return Ok(vec![text.to_owned()]);
    }
    if let Ok(port) = text.parse() {
        return Ok(listen_anywhere(port));
    }
    let address = text.parse::<SocketAddr>().map_err(|_| {
        RpcError::new(
            "bad_listen_address",
            format!(
                "'{text}' is not an address to listen on: write 192.168.1.5:3000, 3000 or \
                 /ip4/0.0.0.0/tcp/3000"
            ),
        )
    })?;
    Ok(listen_at(address.ip(), address.port()))
}

/// Parses a `--peer` into a multiaddr: a multiaddr itself, an `IP:PORT` or a `HOST:PORT`.
pub(crate) fn parse_peer(text: &str) -> Result<String, RpcError> {
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    // The command line accepts neither a name with port 0 nor `_`, which no host name contains.
    let is_host = |parsed: &HostPort<'_>| match parsed {
        HostPort::Socket(_) => true,
        HostPort::Name { host, port } => *port > 0 && !host.contains('_'),
    };
    match HostPort::parse(text).filter(is_host) {
        Some(parsed) => Ok(parsed.to_multiaddr()),
        None => Err(RpcError::new(
            "bad_peer_address",
            format!(
                "'{text}' is not a peer's address: write 192.168.1.5:3000, \
                 [fd00::2]:3000, a host's name and port, or a multiaddr"
            ),
        )),
    }
}

/// Parses an `--external` into multiaddrs: a multiaddr itself, or a `HOST:PORT` for both TCP and
/// QUIC.
pub(crate) fn parse_external(text: &str) -> Result<Vec<String>, RpcError> {
    if text.starts_with('/') {
        return Ok(vec![text.to_owned()]);
    }
    let tcp = parse_peer(text).map_err(|_| {
        let sentence = format!(
            "'{text}' is no address at which others reach this node: write yzw.example:8891, \
             203.0.113.7:8891 or /ip4/203.0.113.7/tcp/8891"
        );
        RpcError::new("bad_external_address", sentence)
    })?;
    let quic = tcp.replace("/tcp/", "/udp/");
    Ok(vec![tcp, format!("{quic}/quic-v1")])
}

/// Returns the multiaddr of a peer over TCP, without its identity.
#[must_use]
pub(crate) fn peer_at(address: SocketAddr) -> String {
    HostPort::Socket(address).to_multiaddr()
}

/// Parses an address for the RPC. The RPC's server then refuses all but loopback.
pub(crate) fn parse_rpc(text: &str) -> Result<SocketAddr, RpcError> {
    text.parse().map_err(|_| {
        RpcError::new(
            "bad_rpc_address",
            format!("'{text}' is not an address: write one like 127.0.0.1:8545"),
        )
    })
}

/// Parses an address of this machine for health and metrics.
pub(crate) fn parse_metrics(text: &str) -> Result<SocketAddr, RpcError> {
    text.parse().map_err(|_| {
        let sentence = format!(
            "'{text}' is not an address: write one like 127.0.0.1:9101, or 0.0.0.0:9101 for all"
        );
        RpcError::new("bad_metrics_address", sentence)
    })
}

/// Checks that a text may be a node's name, and composes its accents.
pub(crate) fn checked_name(name: &str) -> Result<String, RpcError> {
    FriendName::typed(trimmed(name))
        .map(|name| name.as_str().to_owned())
        .map_err(|error: NameError| RpcError::new("bad_name", error.to_string()))
}

/// Returns the name of a node without a given name: its id, else the user's name on this machine,
/// else `friend`.
#[must_use]
pub(crate) fn default_name(id: Option<&NodeId>) -> String {
    let user = || std::env::var("USER").or_else(|_| std::env::var("USERNAME")).ok();
    let candidates = [id.map(ToString::to_string), user()];
    candidates
        .into_iter()
        .flatten()
        .find_map(|name| checked_name(&name).ok())
        .unwrap_or_else(|| "friend".to_owned())
}

/// True if no other machine can reach any of the addresses.
pub(crate) fn only_this_machine(listen: &[String]) -> bool {
    let is_loopback = |address: &String| {
        let ip = address.split('/').nth(2).and_then(|ip| ip.parse::<IpAddr>().ok());
        ip.is_some_and(|ip| ip.is_loopback())
    };
    !listen.is_empty() && listen.iter().all(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_the_forms_that_people_write() {
        assert_eq!(
            parse_listen("3000").expect("a port"),
            [
                "/ip4/0.0.0.0/tcp/3000",
                "/ip4/0.0.0.0/udp/3000/quic-v1",
                "/ip6/::/tcp/3000",
                "/ip6/::/udp/3000/quic-v1"
            ]
        );
        assert_eq!(
            parse_external("yzw.example:1").expect("a host"),
            ["/dns/yzw.example/tcp/1", "/dns/yzw.example/udp/1/quic-v1"]
        );
        assert_eq!(
            parse_external("yzw.example").expect_err("no port").code,
            "bad_external_address"
        );
        assert_eq!(
            parse_listen("[::1]:1").expect("v6"),
            ["/ip6/::1/tcp/1", "/ip6/::1/udp/1/quic-v1"]
        );
        assert_eq!(
            parse_listen("/ip4/1.2.3.4/tcp/5").expect("a multiaddr"),
            ["/ip4/1.2.3.4/tcp/5"]
        );
        assert_eq!(parse_peer("127.0.0.1:8891").expect("v4"), "/ip4/127.0.0.1/tcp/8891");
        assert_eq!(parse_peer("yzw.example:8891").expect("a host"), "/dns/yzw.example/tcp/8891");
        for wrong in ["", "yzw", "yzw:", ":1", "yzw:0", "yzw:70000", "a b:1", "a/b:1"] {
            assert!(parse_peer(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_rpcs_address_needs_a_port() {
        assert!(parse_rpc("[::1]:8545").is_ok());
        assert_eq!(parse_rpc("8545").expect_err("refused").code, "bad_rpc_address");
    }

    #[test]
    fn a_node_is_called_by_its_id_unless_that_may_not_be_a_name() {
        let id = "yzw".parse().expect("an id");
        assert_eq!(default_name(Some(&id)), "yzw");
    }
}
