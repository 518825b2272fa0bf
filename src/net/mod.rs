//! The network: the only user of libp2p.
//!
//! One task owns the swarm ([`spawn`] starts it). The node speaks to it through a [`NetHandle`] and
//! hears of it through [`NetEvent`]s, both bounded. What it keeps to:
//! - It never waits for the node, never touches the disk, never validates a block.
//! - Every request that it takes ends exactly once: an answer, a typed failure or a time-out.
//! - When the node falls behind (half of the queue of events is full), peers' requests are answered
//!   Busy and gossip is ignored; who comes and goes is never lost, since the swarm waits for room
//!   then.
//! - Whatever a peer sends, the task goes on. What breaks a rule of the wire is told as
//!   [`NetEvent::Misbehaved`].
//!
//! It dials by itself: addresses that the user named, friends ([`NetHandle::add_known`]), and whom
//! mDNS and Kademlia find, with exponential back-off; it dials them again when they are lost. Which
//! peers are welcome is the node's decision ([`NetHandle::disconnect`], [`NetHandle::ban`]).
//!
//! Gossip bears libp2p's signature, for clients whose libraries demand one, and is taken with or
//! without; the payloads prove themselves.

mod address;
mod behaviour;
mod codec;
mod discovery;
mod event;
mod gate;
mod gossip;
mod handle;
mod identity;
mod limits;
mod listen;
mod metrics;
mod peer;
mod requests;
mod swarm;
mod swarm_events;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

pub(crate) use address::AddressError;
pub(crate) use event::{
    CommandError, ConnectionSnapshot, GossipId, NetError, NetEvent, NetOffence, PeerSnapshot,
    ReplyId, RequestError, Verdict,
};
pub(crate) use handle::NetHandle;
pub(crate) use identity::{Identity, IdentityError};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};

use crate::primitives::NetworkId;

/// How the network is to run.
#[derive(Debug, Clone)]
pub(crate) struct NetConfig {
    /// Who the node is.
    pub identity: Identity,
    /// Which chain it speaks of: part of the names of protocols and topics.
    pub network: NetworkId,
    /// Where to accept connections: multiaddrs of this machine, see [`NetConfig::listen_on_port`].
    /// Port 0 is any free one. IPv6 addresses are left out where there is no IPv6.
    pub listen: Vec<String>,
    /// Addresses at which the node can be reached from elsewhere (a forwarded port, a name),
    /// offered before its own.
    pub external: Vec<String>,
    /// Addresses to dial, with or without `/p2p/`, multiaddrs or `host:port`; again and again until
    /// connected.
    pub peers: Vec<String>,
    /// Whether to find peers on the local network.
    pub mdns: bool,
    /// Whether to leave out public addresses of those that others tell of. `peers` are dialed
    /// wherever they lead.
    pub private_only: bool,
    /// Peers that the network found by itself (not friends, not named by the user) are dialed while
    /// fewer than this many are connected.
    pub target_peers: usize,
    tuning: Tuning,
}

/// Times and sizes that only tests change.
#[derive(Debug, Clone)]
struct Tuning {
    ping_interval: Duration,
    max_ping_failures: u32,
    probe_interval: Duration,
    hearing: gossip::HearingTimes,
    back_off: discovery::BackOff,
    walk_interval: Duration,
    max_gossip_frame: usize,
    event_queue: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        let probe_interval = Duration::from_secs(15);
        Self {
            // A vanished machine is noticed within 40 s.
            ping_interval: Duration::from_secs(10),
            max_ping_failures: limits::MAX_PING_FAILURES,
            probe_interval,
            hearing: gossip::HearingTimes {
                // Four probes: one may be lost in a full queue.
                silence: probe_interval * 4,
                subscribe: Duration::from_secs(30),
                between_cures: Duration::from_mins(1),
            },
            back_off: discovery::BackOff {
                first: Duration::from_secs(1),
                longest: Duration::from_mins(1),
            },
            walk_interval: Duration::from_mins(5),
            max_gossip_frame: behaviour::MAX_GOSSIP_FRAME,
            event_queue: limits::EVENT_QUEUE,
        }
    }
}

impl NetConfig {
    /// All interfaces, any free port, mDNS, public addresses too.
    #[must_use]
    pub(crate) fn new(identity: Identity, network: NetworkId) -> Self {
        Self {
            identity,
            network,
            listen: Self::listen_on_port(0),
            external: Vec::new(),
            peers: Vec::new(),
            mdns: true,
            private_only: false,
            target_peers: 48,
            tuning: Tuning::default(),
        }
    }

    /// All interfaces, IPv4 and IPv6, TCP and QUIC, on one port.
    #[must_use]
    pub(crate) fn listen_on_port(port: u16) -> Vec<String> {
        [
            format!("/ip4/0.0.0.0/tcp/{port}"),
            format!("/ip4/0.0.0.0/udp/{port}/quic-v1"),
            format!("/ip6/::/tcp/{port}"),
            format!("/ip6/::/udp/{port}/quic-v1"),
        ]
        .into()
    }
}

/// Checks an address as a user writes it, multiaddr or `host:port`, and gives it as a multiaddr.
///
/// # Errors
/// A sentence for the user: what is wrong with which text.
pub(crate) fn check_address(text: &str) -> Result<String, AddressError> {
    address::parse(text).map(|address| address.to_string())
}

/// Starts the network; must be called within a tokio runtime. It listens when this returns. What it
/// measures, libp2p's own included, is added to `registry`.
///
/// # Errors
/// An address of the configuration is malformed, or in use, or cannot be listened on.
pub(crate) fn spawn(
    config: NetConfig,
    registry: &mut Registry,
) -> Result<(NetHandle, mpsc::Receiver<NetEvent>), NetError> {
    let me = config.identity.peer_id();
    let (commands, command_queue) = mpsc::channel(limits::COMMAND_QUEUE);
    let (answers, answer_queue) = mpsc::channel(limits::ANSWER_QUEUE);
    let (events, event_queue) = mpsc::channel(config.tuning.event_queue);
    let (cancel, cancelled) = watch::channel(false);
    let (end, ended) = watch::channel(false);
    let metrics = metrics::counted();
    metrics.register(registry);
    let handle = NetHandle {
        me,
        commands,
        answers,
        events: events.downgrade(),
        cancel: Arc::new(cancel),
        ended,
        metrics: metrics.clone(),
    };
    let network =
        swarm::Network::new(config, registry, metrics, events, command_queue, answer_queue)?;
    tokio::spawn(async move {
        Box::pin(network.run(cancelled)).await;
        end.send_replace(true);
    });
    Ok((handle, event_queue))
}
