//! What a node is told at its start. Flags go before environment variables, those before defaults;
//! the command line reads both and fills this in.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
};

use crate::{
    datadir::NodeId,
    primitives::{Address, NameError, check_name},
    rpc::{
        RpcError,
        types::{MineMode, Secret},
    },
};

/// Where the chat room's friends meet when no peer is named: the first of the seed's five.
pub const MEETING_PLACE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8_891);

/// The memory for the coins' cache and the store's, in MiB, when nothing is said.
pub const DEFAULT_CACHE_MIB: u32 = 128;

/// The least cache, in MiB: below it the store thrashes.
pub const MIN_CACHE_MIB: u32 = 16;

/// The most cache, in MiB: more would only be a slip of the finger.
pub const MAX_CACHE_MIB: u32 = 65_536;

/// Everything that a node is told at its start.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// What it calls itself, when said: else the name it had, else [`NodeConfig::default_name`].
    pub name: Option<String>,
    /// For a node that never had a name.
    pub default_name: String,
    /// Where it accepts connections: multiaddrs.
    pub listen: Vec<String>,
    /// Whom it dials: multiaddrs, with or without `/p2p/…`.
    pub peers: Vec<String>,
    /// When it mines by itself.
    pub mining: MineMode,
    /// Who is paid; none: the wallet's first address.
    pub miner: Option<Address>,
    /// Miner threads; none: one fewer than there are processors, at least one.
    pub threads: Option<NonZeroUsize>,
    /// Where the RPC listens: loopback only; port 0 lets the system choose.
    pub rpc: SocketAddr,
    /// Where health and metrics are shown, to whoever can reach it; none: nowhere. Port 0 lets the
    /// system choose.
    pub metrics: Option<SocketAddr>,
    /// Whether friends on the LAN are looked for with mDNS.
    pub mdns: bool,
    /// Memory for caches, in MiB, [`MIN_CACHE_MIB`] to [`MAX_CACHE_MIB`].
    pub cache_mib: u32,
    /// Opens the wallet at start.
    pub passphrase: Option<Secret>,
    /// Whether only private addresses are dialed; none: only on the built-in network.
    pub private_only: Option<bool>,
    /// Whether a wallet is made when there is none: nothing of it is shown.
    pub make_wallet: bool,
}

impl NodeConfig {
    /// A node that listens on a port of the system's choosing, and does nothing by itself.
    #[must_use]
    pub fn new(default_name: String) -> Self {
        Self {
            name: None,
            default_name,
            listen: listen_anywhere(0),
            peers: Vec::new(),
            mining: MineMode::Off,
            miner: None,
            threads: None,
            rpc: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            metrics: None,
            mdns: true,
            cache_mib: DEFAULT_CACHE_MIB,
            passphrase: None,
            private_only: None,
            make_wallet: false,
        }
    }
}

/// The multiaddrs of all interfaces at a port, over TCP and QUIC.
#[must_use]
pub fn listen_anywhere(port: u16) -> Vec<String> {
    listen_at(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

/// The multiaddrs of one interface at a port, over TCP and QUIC.
#[must_use]
pub fn listen_at(ip: IpAddr, port: u16) -> Vec<String> {
    let host = host_part(ip);
    vec![format!("{host}/tcp/{port}"), format!("{host}/udp/{port}/quic-v1")]
}

fn host_part(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("/ip4/{ip}"),
        IpAddr::V6(ip) => format!("/ip6/{ip}"),
    }
}

/// The multiaddrs that a `--listen` stands for: a multiaddr itself, an `IP:PORT`, or a port.
pub fn parse_listen(text: &str) -> Result<Vec<String>, RpcError> {
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

/// The multiaddr that a `--peer` stands for: a multiaddr itself, an `IP:PORT` or a `HOST:PORT`.
pub fn parse_peer(text: &str) -> Result<String, RpcError> {
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(peer_at(address));
    }
    let host_and_port = text.rsplit_once(':').filter(|(host, port)| {
        let host_letters =
            host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
        !host.is_empty() && host_letters && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    match host_and_port {
        Some((host, port)) => Ok(format!("/dns/{host}/tcp/{port}")),
        None => Err(RpcError::new(
            "bad_peer_address",
            format!(
                "'{text}' is not a peer's address: write 192.168.1.5:3000, a host's name and \
                 port, or a multiaddr"
            ),
        )),
    }
}

/// The multiaddr of a peer over TCP, its identity not known.
#[must_use]
pub fn peer_at(address: SocketAddr) -> String {
    format!("{}/tcp/{}", host_part(address.ip()), address.port())
}

/// An address for the RPC, which [`check_rpc`] has yet to allow.
pub fn parse_rpc(text: &str) -> Result<SocketAddr, RpcError> {
    text.parse().map_err(|_| {
        RpcError::new(
            "bad_rpc_address",
            format!("'{text}' is not an address: write one like 127.0.0.1:8545"),
        )
    })
}

/// An address for health and metrics: any of this machine's.
pub fn parse_metrics(text: &str) -> Result<SocketAddr, RpcError> {
    text.parse().map_err(|_| {
        let sentence = format!(
            "'{text}' is not an address: write one like 127.0.0.1:9101, or 0.0.0.0:9101 for all"
        );
        RpcError::new("bad_metrics_address", sentence)
    })
}

/// Refuses an address for the RPC that other machines could reach: its token travels in the clear.
pub fn check_rpc(address: SocketAddr) -> Result<(), RpcError> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    let sentence = format!(
        "the RPC does not listen on {address}, since other machines could reach it there: use \
         127.0.0.1, and a tunnel \
         (ssh -L) from elsewhere"
    );
    Err(RpcError::new("rpc_not_loopback", sentence))
}

/// A friend's name as an error sentence for people.
pub fn checked_name(name: &str) -> Result<String, RpcError> {
    check_name(name).map_err(|error: NameError| RpcError::new("bad_name", error.to_string()))?;
    Ok(name.to_owned())
}

/// The name of a node that was given none: its id, else the user's name on this machine, else
/// `friend`.
#[must_use]
pub fn default_name(id: Option<&NodeId>) -> String {
    let user = || std::env::var("USER").or_else(|_| std::env::var("USERNAME")).ok();
    let candidates = [id.map(ToString::to_string), user()];
    candidates
        .into_iter()
        .flatten()
        .find(|name| check_name(name).is_ok())
        .unwrap_or_else(|| "friend".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_the_forms_that_people_write() {
        assert_eq!(
            parse_listen("3000").expect("a port"),
            ["/ip4/0.0.0.0/tcp/3000", "/ip4/0.0.0.0/udp/3000/quic-v1"]
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
    fn the_rpc_is_for_this_machine_alone() {
        let allowed = |text| check_rpc(parse_rpc(text).expect("an address"));
        assert!(allowed("127.0.0.1:0").is_ok());
        assert!(allowed("[::1]:8545").is_ok());
        assert_eq!(allowed("0.0.0.0:8545").expect_err("refused").code, "rpc_not_loopback");
        assert_eq!(parse_rpc("8545").expect_err("refused").code, "bad_rpc_address");
    }

    #[test]
    fn a_node_is_called_by_its_id_unless_that_may_not_be_a_name() {
        let id = "yzw".parse().expect("an id");
        assert_eq!(default_name(Some(&id)), "yzw");
    }
}
