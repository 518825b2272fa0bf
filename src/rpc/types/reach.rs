//! Replies about who can reach a node, which addresses it tries, and backups.

use serde::{Deserialize, Serialize};

use crate::primitives::PeerId;

/// The farthest machines that can use an invite, by its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reach {
    /// The invite holds no address.
    Nobody,
    /// This machine only: the addresses are loopback ones.
    ThisMachine,
    /// The local network.
    Lan,
    /// Any machine, if no firewall is between.
    Internet,
}

/// The kind of failure at an address that the node tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TryFailure {
    Refused,
    TimedOut,
    NoHost,
    NoRoute,
    NameNotFound,
    WrongPeer,
    SameIdentity,
    OtherNetwork,
    /// The peer is banned here, or friends have all places.
    Denied,
    Other,
}

/// An address that the node tries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TryView {
    /// The multiaddr, without the peer's id.
    pub address: String,
    /// The expected peer, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<PeerId>,
    /// The last failure; left out before the first outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<TryFailure>,
    /// The failure in the words of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The number of failures in a row.
    pub failures: u32,
}

impl TryView {
    /// Returns the address as people write it: `192.168.1.7:8891`.
    pub(crate) fn place(&self) -> String {
        let parts: Vec<&str> = self.address.split('/').skip(1).collect();
        match parts.as_slice() {
            ["ip6", host, "tcp", port] => format!("[{host}]:{port}"),
            [_, host, "tcp", port] => format!("{host}:{port}"),
            _ => self.address.clone(),
        }
    }

    /// Returns the failure in words.
    pub(crate) fn words(&self) -> String {
        let Some(failure) = self.failure else { return "no answer yet".to_owned() };
        let words = match failure {
            TryFailure::Refused => "refused: no node listens there now",
            TryFailure::TimedOut => "timed out: that machine is off, or a firewall is between",
            TryFailure::NoHost => "no answer: that machine is off, or this one has no network",
            TryFailure::NoRoute => "no way there: check this machine's network",
            TryFailure::NameNotFound => "name not found: check its spelling, and the name server",
            TryFailure::WrongPeer => "somebody else is there: ask your friend for a new address",
            TryFailure::SameIdentity => "that is this node itself, or a copy of its folder",
            TryFailure::OtherNetwork => {
                "that node is on another chain: join its chain by an invite"
            }
            TryFailure::Denied => "not dialed: that peer is banned here, or has no place",
            TryFailure::Other => return self.reason.clone().unwrap_or_else(|| "failed".to_owned()),
        };
        words.to_owned()
    }
}

/// The farthest way in which others reach a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReachName {
    /// Anybody reaches it.
    Public,
    /// The router maps a port to it.
    Mapped,
    /// Friends relay for it.
    Relayed,
    /// The local network only, as the node's settings demand.
    Lan,
    /// Nobody outside of its network.
    Nowhere,
}

/// The protocol by which the router maps a port, or the reason why it maps none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RouterName {
    /// No answer yet.
    Asking,
    Pcp,
    NatPmp,
    Upnp,
    /// No router answers.
    None,
    /// The router maps no port.
    Refused,
    /// The router has no public address itself.
    NotPublic,
}

/// The way in which others reach a running node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReachView {
    pub way: ReachName,
    /// The names of the friends that relay for it.
    #[serde(default)]
    pub through: Vec<String>,
    /// The multiaddrs that it sends to others, the best first.
    pub addresses: Vec<String>,
    /// True if it relays for friends.
    #[serde(default)]
    pub relays: bool,
    /// The router's answer to the request for a mapped port; left out if the node does not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<RouterName>,
    /// A sentence on what to do, if there is anything to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl ReachView {
    /// Returns the way in words.
    pub(crate) fn words(&self) -> String {
        match self.way {
            ReachName::Public if self.relays => "anybody; this node relays for friends".to_owned(),
            ReachName::Public => "anybody".to_owned(),
            ReachName::Mapped => {
                let by = match self.router {
                    Some(RouterName::Pcp) => " (PCP)",
                    Some(RouterName::NatPmp) => " (NAT-PMP)",
                    Some(RouterName::Upnp) => " (UPnP)",
                    _ => "",
                };
                format!("anybody, by a port that the router maps{by}")
            }
            ReachName::Relayed => format!("friends, through {}", self.through.join(" and ")),
            ReachName::Lan => "nodes of the local network".to_owned(),
            ReachName::Nowhere => "nobody outside of this network".to_owned(),
        }
    }
}

/// The way to a friend that is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PathName {
    Direct,
    Relayed,
}

/// The reply of `backup`: a finished file in the data folder, which the caller moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BackupMade {
    /// The path of the file, as the node sees it.
    pub path: String,
    pub bytes: u64,
    /// The names of the parts in it.
    pub parts: Vec<String>,
}

/// The answer of the commands `backup` and `restore`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BackupFile {
    pub file: String,
    pub bytes: u64,
    /// The names of the parts in it.
    pub parts: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_as_people_write_them() {
        let place = |address: &str| {
            let address = address.to_owned();
            TryView { address, peer_id: None, failure: None, reason: None, failures: 0 }.place()
        };
        assert_eq!(place("/ip4/127.0.0.1/tcp/8891"), "127.0.0.1:8891");
        assert_eq!(place("/ip6/::1/tcp/1"), "[::1]:1");
        assert_eq!(place("/dns/yzw.example/tcp/8891"), "yzw.example:8891");
        assert_eq!(place("/ip4/1.2.3.4/udp/5/quic-v1"), "/ip4/1.2.3.4/udp/5/quic-v1");
    }
}
