//! Answers about who can reach this node, which addresses it tries, and who mines for it.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::Service;
use crate::{
    consensus::{Invite, Network},
    net::{DialCause, MappedBy, ReachSnapshot, ReachWay, RouterState},
    node::router::{Attempt, Failure, LiveStatus, RouterHandle},
    primitives::{MiningMode, PeerId, printable},
    rpc::{
        RpcError,
        types::{
            FriendView, InviteText, PathName, Reach, ReachName, ReachView, RouterName, Submitted,
            TryFailure, TryView, TxStateName,
        },
    },
};

/// The longest wait of `invite` for the node's addresses.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(10);

/// Time for which loopback must stay the only address. A busy machine reports its interfaces late.
const SETTLING: Duration = Duration::from_secs(1);

/// Interval of the checks.
const CHECK_EVERY: Duration = Duration::from_millis(50);

impl Service {
    /// Makes an invite. Waits until a running node knows its addresses.
    pub(super) async fn make_invite(&self) -> Result<InviteText, RpcError> {
        let chain = self.chain()?;
        let addresses = match &self.router {
            Some(router) => settled_addresses(router).await?,
            None => Vec::new(),
        };
        let checkpoint = chain.handle.invite_checkpoint().await?;
        let network = Network::clone(&chain.handle.summary().network);
        let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let reach = addresses.iter().map(|address| reach_of(address)).max();
        let invite = Invite::new(network, checkpoint, addresses)?.to_text();
        Ok(InviteText { invite, addresses: count, reach: reach.unwrap_or(Reach::Nobody) })
    }

    /// Adds to a submitted trade whether anybody mines it, as far as this node knows.
    pub(super) async fn say_who_mines(&self, sent: Submitted) -> Submitted {
        if sent.state != TxStateName::Mempool || self.mining != MiningMode::Off {
            return sent;
        }
        let miners = match &self.router {
            // A stopping node cannot say, and the user sees that it stops.
            Some(router) => router.status().await.map_or(1, |status| status.miners),
            None => 0,
        };
        Submitted { nobody_mines: miners == 0, ..sent }
    }
}

impl Service {
    /// Returns how others reach this node, if it runs and knows.
    pub(super) async fn reach_of(&self, live: Option<&LiveStatus>) -> Option<ReachView> {
        let reach = live.and_then(|live| live.reach.as_ref())?;
        Some(self.reach_view(reach).await)
    }

    /// Returns how others reach this node, and what to do about it.
    async fn reach_view(&self, reach: &ReachSnapshot) -> ReachView {
        let mut through = Vec::new();
        for relay in &reach.relays {
            let friend = match &self.friends {
                Some(friends) => friends.friend(*relay).await.ok().flatten(),
                None => None,
            };
            through.push(friend.map_or_else(|| relay.to_string(), |it| printable(&it.name)));
        }
        let way = match reach.way {
            ReachWay::Public => ReachName::Public,
            ReachWay::Mapped => ReachName::Mapped,
            ReachWay::Relayed => ReachName::Relayed,
            ReachWay::Lan => ReachName::Lan,
            ReachWay::Nowhere => ReachName::Nowhere,
        };
        let router = reach.router.map(router_name);
        let advice = match (way, router) {
            (ReachName::Nowhere, Some(RouterName::Asking)) => None,
            (ReachName::Nowhere, Some(RouterName::NotPublic)) => Some(
                "your router has no public address, so a port forwarded on it reaches nobody: ask \
                 your provider for one, or make a friend of somebody whom others can reach: his \
                 node relays for friends",
            ),
            (ReachName::Relayed, Some(RouterName::NotPublic)) => Some(
                "for direct connections in any case, ask your provider for a public address: your \
                 router has none, so a port forwarded on it reaches nobody",
            ),
            (ReachName::Nowhere, _) => Some(
                "forward this node's port on the router and start with --external HOST:PORT, or \
                 make a friend of somebody whom others can reach: his node relays for friends",
            ),
            (ReachName::Relayed, _) => Some(
                "for direct connections in any case, forward this node's port on the router, and \
                 start with --external HOST:PORT",
            ),
            _ => None,
        };
        ReachView {
            way,
            through,
            addresses: reach.addresses.clone(),
            relays: reach.relaying,
            router,
            advice: unproven(&reach.unproven).or(advice.map(str::to_owned)),
        }
    }
}

/// Returns what to do about the user's addresses at which no friend has reached the node.
fn unproven(addresses: &[String]) -> Option<String> {
    let mut shown: Vec<String> = addresses.iter().map(|it| host_port(it)).collect();
    shown.dedup();
    (!shown.is_empty()).then(|| {
        format!(
            "nobody has reached {} yet: a friend tests it once he is connected; if that does not \
             help, check --external, and that the router forwards the port to this node",
            shown.join(" and ")
        )
    })
}

/// Returns a multiaddr of an IP address as the user writes it.
fn host_port(address: &str) -> String {
    let mut parts = address.split('/').skip(1);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("ip4"), Some(host), Some(_), Some(port)) => format!("{host}:{port}"),
        (Some("ip6"), Some(host), Some(_), Some(port)) => format!("[{host}]:{port}"),
        _ => address.to_owned(),
    }
}

/// Returns the router's answer in the form of the RPC.
const fn router_name(router: RouterState) -> RouterName {
    match router {
        RouterState::Asking => RouterName::Asking,
        RouterState::Mapped(MappedBy::Pcp) => RouterName::Pcp,
        RouterState::Mapped(MappedBy::NatPmp) => RouterName::NatPmp,
        RouterState::Mapped(MappedBy::Upnp) => RouterName::Upnp,
        RouterState::Silent => RouterName::None,
        RouterState::Refused => RouterName::Refused,
        RouterState::NotPublic => RouterName::NotPublic,
    }
}

/// Adds the way to each connected friend, and the reason why each other one is not reached.
pub(super) fn add_paths(friends: &mut [FriendView], live: &LiveStatus) {
    let names: HashMap<PeerId, String> =
        friends.iter().map(|friend| (friend.peer_id, friend.name.clone())).collect();
    for friend in friends {
        if friend.online {
            let relay = live.paths.get(&friend.peer_id);
            friend.path = Some(relay.map_or(PathName::Direct, |_| PathName::Relayed));
            friend.through = relay.copied().flatten().and_then(|it| names.get(&it).cloned());
        } else {
            let attempt = live.attempts.iter().find(|it| it.peer == Some(friend.peer_id));
            let failed = attempt.filter(|attempt| attempt.failure.is_some());
            friend.why = failed.map(|attempt| try_view(attempt.clone()).words());
        }
    }
}

/// Waits until the node listens beyond this machine if it ever will, or until the time is over.
async fn settled_addresses(router: &RouterHandle) -> Result<Vec<String>, RpcError> {
    let began = Instant::now();
    let mut seen: (usize, Instant) = (0, began);
    loop {
        let addresses = router.invite_addresses().await?;
        if addresses.len() != seen.0 {
            seen = (addresses.len(), Instant::now());
        }
        let is_settled = addresses.iter().any(|address| reach_of(address) > Reach::ThisMachine)
            || (!addresses.is_empty() && seen.1.elapsed() >= SETTLING);
        if is_settled || began.elapsed() >= ADDRESS_PATIENCE {
            return Ok(addresses);
        }
        sleep(CHECK_EVERY).await;
    }
}

/// Returns the farthest machines that can use a multiaddr. A name may lead anywhere.
fn reach_of(address: &str) -> Reach {
    let mut parts = address.split('/').skip(1);
    let host = match (parts.next(), parts.next()) {
        (Some("ip4" | "ip6"), Some(host)) => host.parse::<IpAddr>().ok(),
        _ => None,
    };
    match host.map(|host| host.to_canonical()) {
        Some(host) if host.is_loopback() => Reach::ThisMachine,
        Some(IpAddr::V4(host)) if is_local_v4(host) => Reach::Lan,
        Some(IpAddr::V6(host)) if is_local_v6(host) => Reach::Lan,
        _ => Reach::Internet,
    }
}

/// True for private, link-local and shared addresses (RFC 1918, 3927, 6598).
const fn is_local_v4(host: Ipv4Addr) -> bool {
    let [first, second, ..] = host.octets();
    host.is_private() || host.is_link_local() || (first == 100 && second & 0xc0 == 64)
}

const fn is_local_v6(host: Ipv6Addr) -> bool {
    host.is_unique_local() || host.is_unicast_link_local()
}

/// Returns an attempt in the form of the RPC.
pub(super) fn try_view(attempt: Attempt) -> TryView {
    let Attempt { address, peer, failure, failures, .. } = attempt;
    let reason = failure.as_ref().map(|(_, reason)| printable(reason)).filter(|it| !it.is_empty());
    let failure = failure.map(|(failure, _)| match failure {
        Failure::OtherNetwork => TryFailure::OtherNetwork,
        Failure::Dial(cause) => match cause {
            DialCause::Refused => TryFailure::Refused,
            DialCause::TimedOut => TryFailure::TimedOut,
            DialCause::NoHost => TryFailure::NoHost,
            DialCause::NoRoute => TryFailure::NoRoute,
            DialCause::NameNotFound => TryFailure::NameNotFound,
            DialCause::WrongPeer => TryFailure::WrongPeer,
            DialCause::SameIdentity => TryFailure::SameIdentity,
            DialCause::Denied => TryFailure::Denied,
            DialCause::Other => TryFailure::Other,
        },
    });
    TryView { address, peer_id: peer, failure, reason, failures }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_nobody_has_reached_is_named() {
        assert_eq!(unproven(&[]), None);
        let both = ["/ip4/9.9.9.9/tcp/8891", "/ip6/2a00::1/udp/8891/quic-v1"].map(str::to_owned);
        let advice = unproven(&both).expect("advice");
        let wanted = "nobody has reached 9.9.9.9:8891 and [2a00::1]:8891 yet: ";
        assert!(advice.starts_with(wanted), "{advice}");
    }

    #[test]
    fn an_address_shows_how_far_it_reaches() {
        for (address, reach) in [
            ("/ip4/127.0.0.1/tcp/1", Reach::ThisMachine),
            ("/ip6/::1/tcp/1", Reach::ThisMachine),
            ("/ip4/192.168.1.7/tcp/1/p2p/x", Reach::Lan),
            ("/ip4/100.64.0.1/udp/1/quic-v1", Reach::Lan),
            ("/ip6/fd00::1/tcp/1", Reach::Lan),
            ("/ip4/100.128.0.1/tcp/1", Reach::Internet),
            ("/ip6/2001:db8::1/tcp/1", Reach::Internet),
            ("/dns/yzw.example/tcp/1", Reach::Internet),
        ] {
            assert_eq!(reach_of(address), reach, "{address}");
        }
        assert!(Reach::Internet > Reach::Lan && Reach::ThisMachine > Reach::Nobody);
    }
}
