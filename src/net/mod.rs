//! Connects the node to its peers. This module is the only user of libp2p.
//!
//! One task owns the swarm; [`spawn`] starts it. The node sends commands through a [`NetHandle`]
//! and receives [`NetEvent`]s, both over bounded channels.
//!
//! # Invariants
//! - The swarm task never blocks on the node, never touches the disk, and never validates a block.
//! - Each accepted request ends exactly once: with a response, a typed failure or a time-out.
//! - The node falls behind when its queue of events is half full. Then the task answers peers'
//!   requests with Busy and ignores gossip. Events about connections are never lost: the task stops
//!   polling the swarm until there is room for them.
//! - No message of a peer ends the task. It reports each broken rule of a protocol as
//!   [`NetEvent::Misbehaved`].
//!
//! # Dialing
//! The task dials addresses from the user, proven ones, and told ones: those that peers, Kademlia
//! or mDNS named. A told address is a hint: it is dialed once, then less and less often, within
//! budgets (`address_book.rs`). No dial starts without the address book (`dial_gate.rs`).
//!
//! When the machine wakes, or its addresses change, the task dials all known peers anew
//! (`wake.rs`). The node decides which peers may stay ([`NetHandle::disconnect`],
//! [`NetHandle::ban`]).
//!
//! # Memory
//! All memory that peers can make the task hold is bounded (`limits.rs`). `mux.rs` counts the
//! unread bytes of each TCP connection, and `guard.rs` unfinished gossip frames. `pool.rs` bounds
//! the sum for strangers.
//!
//! # Gossip
//! The node gives a verdict on each message. Rejected messages lower the sender's score inside
//! gossipsub, which then drops what the sender publishes (`gossip_score.rs`).

mod address;
mod address_book;
mod arrival;
mod behaviour;
mod codec;
mod copies;
mod dial_cause;
mod dial_gate;
mod event;
mod gate;
mod gossip;
mod gossip_door;
mod gossip_score;
mod guard;
mod guest;
mod handle;
mod handshakes;
mod identify;
mod identity;
mod inbound;
mod limits;
mod lingering;
mod listen;
mod mapping;
mod meter;
mod metrics;
mod mux;
mod nearby;
mod own_circuit;
mod own_topics;
mod pass_on;
mod peer;
mod pool;
mod probe;
mod relaying;
mod requests;
mod swarm;
#[cfg(test)]
mod tests;
mod wake;
mod walk;

use std::{sync::Arc, time::Duration};

pub(crate) use address::{AddressError, site_of};
pub(crate) use dial_cause::DialCause;
pub(crate) use event::{
    CommandError, ConnectionSnapshot, GossipId, MappedBy, NetError, NetEvent, NetOffence,
    PeerSnapshot, ReachSnapshot, ReachWay, ReplyId, RequestError, RouterState,
};
pub(crate) use handle::{NetHandle, Told};
pub(crate) use identity::{Identity, IdentityError};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};

use crate::peers::Trust;
use crate::primitives::NetworkId;
pub(crate) use crate::wire::Verdict;

/// The settings of the network.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the user's")]
pub(crate) struct NetConfig {
    pub(crate) identity: Identity,
    /// The id of the chain's network, which is part of the names of protocols and topics.
    pub(crate) network: NetworkId,
    /// The multiaddrs of this machine at which to accept connections. Port 0 stands for any free
    /// port. IPv6 addresses are skipped if the machine has no IPv6.
    pub(crate) listen: Vec<String>,
    /// Addresses at which the node can be reached from outside: a forwarded port, or a name. They
    /// are offered before the addresses that the node listens on.
    pub(crate) external: Vec<String>,
    /// Addresses to dial until they are connected: multiaddrs with or without `/p2p/`, or
    /// `host:port`.
    pub(crate) peers: Vec<String>,
    /// One more address to dial until it is connected. A peer there is no friend for that reason.
    pub(crate) meeting_place: Option<String>,
    /// True if mDNS finds peers on the local network.
    pub(crate) mdns: bool,
    /// True if public addresses from other peers are not dialed. The addresses in `peers` are
    /// always dialed.
    pub(crate) private_only: bool,
    /// True to relay for friends once others can reach this node.
    pub(crate) relays: bool,
    /// True to ask the router for a mapped port.
    pub(crate) port_mapping: bool,
    /// The number of connected peers from which on discovered peers are no longer dialed. Friends
    /// and addresses from the user are still dialed.
    pub(crate) target_peers: usize,
    /// The levels of trust, which decide places and budgets.
    pub(crate) trust: Trust,
    tuning: Tuning,
}

/// Times and sizes that only tests change.
#[derive(Debug, Clone)]
struct Tuning {
    ping_interval: Duration,
    /// The time for the answer to a ping.
    ping_time: Duration,
    max_ping_failures: u32,
    hello_time: Duration,
    /// The time for which several connections to one peer stand beside each other.
    spare_time: Duration,
    probe_interval: Duration,
    liveness: gossip::LivenessTimes,
    back_off: address_book::BackOff,
    /// The time from the start to the first walk.
    first_walk: Duration,
    walk_interval: Duration,
    max_gossip_frame: usize,
    /// The memory of the whole program at which no further connection is made.
    max_process_bytes: usize,
    event_queue: usize,
    /// The time in which a relay has to grant a reservation or a circuit.
    reserve_time: Duration,
    /// The time from a failed test of a relay to the next.
    retest_time: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        let probe_interval = Duration::from_secs(30);
        Self {
            // A machine that vanishes is detected within 50 s. Pings are most of an idle node's
            // traffic.
            ping_interval: limits::PING_INTERVAL,
            ping_time: limits::PING_TIME,
            max_ping_failures: limits::MAX_PING_FAILURES,
            hello_time: Duration::from_millis(limits::HELLO_MS),
            spare_time: limits::SPARE_TIME,
            probe_interval,
            liveness: gossip::LivenessTimes {
                // Four probes, since one may be lost in a full queue.
                silence: probe_interval * 4,
                subscribe: Duration::from_secs(30),
                between_reconnections: Duration::from_mins(1),
            },
            back_off: address_book::BackOff {
                first: Duration::from_secs(1),
                longest: Duration::from_mins(1),
            },
            first_walk: Duration::ZERO,
            walk_interval: Duration::from_mins(5),
            max_gossip_frame: limits::MAX_GOSSIP_FRAME,
            max_process_bytes: limits::MAX_PROCESS_BYTES,
            event_queue: limits::EVENT_QUEUE,
            reserve_time: limits::RESERVE_TIME,
            retest_time: limits::RETEST_TIME,
        }
    }
}

impl NetConfig {
    /// Returns settings for all interfaces, any free port, mDNS, and public addresses.
    #[must_use]
    pub(crate) fn new(identity: Identity, network: NetworkId) -> Self {
        Self {
            identity,
            network,
            listen: Self::listen_on_port(0),
            external: Vec::new(),
            peers: Vec::new(),
            meeting_place: None,
            mdns: true,
            private_only: false,
            relays: false,
            port_mapping: false,
            target_peers: 48,
            trust: Trust::default(),
            tuning: Tuning::default(),
        }
    }

    /// Returns the multiaddrs of all interfaces on one port: IPv4 and IPv6, TCP and QUIC.
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

/// Checks an address from a user, and returns it as a multiaddr.
#[cfg(any(test, fuzzing))]
pub(crate) fn check_address(text: &str) -> Result<String, AddressError> {
    address::parse(text).map(|address| address.to_string())
}

/// Starts the network within a tokio runtime. The network listens when this function returns. The
/// metrics, including those of libp2p, are added to `registry`.
///
/// # Errors
/// An address of the settings is malformed, is in use, or cannot be listened on.
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
