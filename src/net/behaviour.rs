//! The libp2p protocols of a node, with their settings and the reasons for them.

use std::{
    collections::HashSet,
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr, StreamProtocol, connection_limits, dcutr,
    gossipsub::{self, IdentTopic, TopicHash},
    identify, identity, kad, memory_connection_limits, ping, relay, request_response,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
};
use prometheus_client::registry::Registry;

use super::{
    NetError, Tuning,
    arrival::Arrival,
    codec::{WireCodec, large_requests},
    dial_gate::DialGate,
    gate::Gate,
    gossip_door::SharedDoor,
    gossip_score,
    guest::{Guest, Permits, Rule},
    identify::Identify,
    limits::{
        CIRCUITS_AT_ONCE, GOSSIP_HISTORY, GOSSIP_SEND_QUEUE, MAX_CIRCUIT_BYTES, MAX_CIRCUIT_TIME,
        MAX_CIRCUITS, MAX_CIRCUITS_PER_PEER, MAX_CONNECTIONS, MAX_GOSSIP_CONTROL,
        MAX_PENDING_CONNECTIONS, MAX_RESERVATIONS, MAX_RESERVATIONS_PER_PEER, MAX_STREAMS,
        RELAY_REFILL, RESERVATION_TIME, RESERVATIONS_AT_ONCE,
    },
    mapping::Mapping,
    nearby::Nearby,
    own_circuit::{OwnCircuits, own_circuits},
    own_topics::{Gossip, Gossipsub, OwnTopics},
    peer::from_libp2p,
    probe::{Asking, DialingBack},
    relaying::Relaying,
    walk::Walk,
};
use crate::{
    peers::{MAX_CONNECTED, Trust},
    primitives::NetworkId,
    telemetry::metrics::NetMetrics,
    wire::{Protocol, Topic, alive_topic, gossip_id},
};

/// All protocols. Those that refuse connections come first, so that the others allocate nothing for
/// a refused connection.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) gate: Gate,
    pub(super) dial_gate: DialGate,
    pub(super) limits: connection_limits::Behaviour,
    /// The last resort, should all other bounds fail.
    pub(super) memory: memory_connection_limits::Behaviour,
    pub(super) identify: Identify,
    pub(super) ping: ping::Behaviour,
    pub(super) mdns: Toggle<Nearby>,
    pub(super) kad: Walk,
    pub(super) gossip: Gossip,
    pub(super) hello: request_response::Behaviour<WireCodec>,
    pub(super) friends: request_response::Behaviour<WireCodec>,
    pub(super) chat: request_response::Behaviour<WireCodec>,
    pub(super) sync: request_response::Behaviour<WireCodec>,
    /// Circuits through friends.
    pub(super) circuits: Guest<relay::client::Behaviour>,
    /// Tests of the relays.
    pub(super) own_circuits: OwnCircuits,
    /// Circuits of friends through this node.
    pub(super) relay: Relaying,
    pub(super) punch: Guest<dcutr::Behaviour>,
    pub(super) asking: Asking,
    pub(super) dialing_back: DialingBack,
    pub(super) mapping: Toggle<Mapping>,
}

/// The settings that differ between nodes and between tests.
pub(super) struct BehaviourConfig {
    pub(super) network: NetworkId,
    pub(super) mdns: bool,
    pub(super) tuning: Tuning,
    pub(super) trust: Trust,
    /// Addresses from the user at which others reach this node.
    pub(super) external: Vec<Multiaddr>,
    /// True to ask the router for a mapped port.
    pub(super) port_mapping: bool,
}

/// The names of the network's protocols and topics.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) kad: StreamProtocol,
    pub(super) sync: StreamProtocol,
    topics: Vec<(Topic, TopicHash)>,
    /// The topic of the probes that [`super::gossip`] describes.
    pub(super) alive: TopicHash,
}

/// Peers that one search of Kademlia asks at once.
const KAD_PARALLELISM: NonZeroUsize = NonZeroUsize::new(3).expect("not zero");

impl Names {
    pub(super) fn new(network: &NetworkId) -> Result<Self, NetError> {
        let tag: String = network.to_string().chars().take(8).collect();
        Ok(Self {
            kad: stream_protocol(format!("/friendchain/kad/1/{tag}"))?,
            sync: stream_protocol(Protocol::Sync.id(network))?,
            topics: Topic::ALL
                .into_iter()
                .map(|topic| (topic, TopicHash::from_raw(topic.name(network))))
                .collect(),
            alive: TopicHash::from_raw(alive_topic(network)),
        })
    }

    pub(super) fn topic_of(&self, hash: &TopicHash) -> Option<Topic> {
        self.topics.iter().find(|(_, known)| known == hash).map(|(topic, _)| *topic)
    }

    pub(super) fn hash_of(&self, topic: Topic) -> Option<TopicHash> {
        self.topics.iter().find(|(known, _)| *known == topic).map(|(_, hash)| hash.clone())
    }

    fn all_topics(&self) -> impl Iterator<Item = &TopicHash> {
        self.topics.iter().map(|(_, hash)| hash).chain([&self.alive])
    }
}

fn stream_protocol(name: String) -> Result<StreamProtocol, NetError> {
    StreamProtocol::try_from_owned(name)
        .map_err(|error| NetError::Setup { part: "a protocol name", reason: error.to_string() })
}

/// Returns the time-out of a request. Both ends use the same: a shorter one at the far end would
/// look like a broken stream here.
pub(super) const fn request_timeout(protocol: Protocol) -> Duration {
    match protocol {
        Protocol::Hello | Protocol::Friends | Protocol::Chat => Duration::from_secs(10),
        // The largest answer takes as long over the slowest line. A stalled answer ends earlier.
        Protocol::Sync => Duration::from_mins(5),
    }
}

impl Behaviour {
    pub(super) fn new(
        keypair: &identity::Keypair,
        config: &BehaviourConfig,
        names: &Names,
        circuits: relay::client::Behaviour,
        registry: &mut Registry,
        metrics: &NetMetrics,
    ) -> Result<Self, NetError> {
        let permits = Permits::default();
        let trust = config.trust.clone();
        let guest = (permits.clone(), trust.clone());
        let me = keypair.public().to_peer_id();
        let large = large_requests();
        let request_response = |protocol: Protocol| {
            let id = stream_protocol(protocol.id(&config.network))?;
            let settings = request_response::Config::default()
                .with_request_timeout(request_timeout(protocol))
                .with_max_concurrent_streams(MAX_STREAMS);
            let supported = [(id, request_response::ProtocolSupport::Full)];
            let codec = WireCodec {
                protocol,
                large: Arc::clone(&large),
                metrics: metrics.clone(),
                arrival: Arrival::default(),
            };
            Ok::<_, NetError>(request_response::Behaviour::with_codec(codec, supported, settings))
        };
        Ok(Self {
            gate: Gate::new(config.trust.clone()),
            dial_gate: DialGate::new(permits.clone()),
            // The gate and the transport bound the rest.
            limits: connection_bounds(),
            memory: memory_connection_limits::Behaviour::with_max_bytes(
                config.tuning.max_process_bytes,
            ),
            identify: Identify::new(&identify_settings(keypair), trust.clone()),
            ping: ping::Behaviour::new(
                ping::Config::new()
                    .with_interval(config.tuning.ping_interval)
                    .with_timeout(config.tuning.ping_time),
            ),
            mdns: Toggle::from(config.mdns.then(|| local_discovery(me)).flatten()),
            kad: Walk::new(kademlia(me, names)),
            gossip: gossip(config, names, registry)?,
            hello: request_response(Protocol::Hello)?,
            friends: request_response(Protocol::Friends)?,
            chat: request_response(Protocol::Chat)?,
            sync: request_response(Protocol::Sync)?,
            circuits: Guest::new(circuits, Rule::Relay, guest.0.clone(), guest.1.clone()),
            own_circuits: own_circuits(config.tuning.reserve_time),
            relay: Relaying::new(me, relay_settings(&trust)),
            punch: Guest::new(dcutr::Behaviour::new(me), Rule::Punch, guest.0, guest.1),
            asking: Asking::new(config.external.clone()),
            dialing_back: DialingBack::new(permits, trust),
            mapping: Toggle::from(config.port_mapping.then(|| Mapping::new(keypair))),
        })
    }

    /// True if gossipsub drops all messages of the peer, because of its score.
    pub(super) fn is_graylisted(&self, peer: &libp2p::PeerId) -> bool {
        self.gossip.peer_score(peer).is_some_and(|score| score < gossip_score::GRAYLIST_THRESHOLD)
    }

    pub(super) fn requests(
        &mut self,
        protocol: Protocol,
    ) -> &mut request_response::Behaviour<WireCodec> {
        match protocol {
            Protocol::Hello => &mut self.hello,
            Protocol::Friends => &mut self.friends,
            Protocol::Chat => &mut self.chat,
            Protocol::Sync => &mut self.sync,
        }
    }
}

fn connection_bounds() -> connection_limits::Behaviour {
    connection_limits::Behaviour::new(
        connection_limits::ConnectionLimits::default()
            .with_max_pending_outgoing(Some(MAX_PENDING_CONNECTIONS))
            .with_max_established(Some(MAX_CONNECTIONS)),
    )
}

/// Starts mDNS. If its thread cannot start, the node runs without mDNS.
fn local_discovery(me: libp2p::PeerId) -> Option<Nearby> {
    Nearby::start(me)
        .inspect_err(|error| tracing::debug!(%error, "no discovery on the local network"))
        .ok()
}

fn identify_settings(keypair: &identity::Keypair) -> identify::Config {
    identify::Config::new("/friendchain/1".to_owned(), keypair.public())
        .with_agent_version(concat!("friendchain/", env!("CARGO_PKG_VERSION")).to_owned())
        .with_push_listen_addr_updates(true)
        // The address book stores addresses, checked and bounded.
        .with_cache_size(0)
}

/// Returns the limits of the relay. It serves only friends: both the reserving peer and the calling
/// peer must be friends at the time of the request.
///
/// libp2p allows each peer one reservation and one circuit more than its settings say.
pub(super) fn relay_settings(trust: &Trust) -> relay::Config {
    let friends = || {
        let trust = trust.clone();
        let is_friend = move |peer: libp2p::PeerId, _: &Multiaddr, _: Instant| {
            from_libp2p(&peer).is_some_and(|peer| trust.is_friend(&peer))
        };
        Box::new(is_friend) as Box<dyn relay::RateLimiter>
    };
    let none = relay::Config {
        max_reservations: MAX_RESERVATIONS,
        max_reservations_per_peer: MAX_RESERVATIONS_PER_PEER.saturating_sub(1),
        reservation_duration: RESERVATION_TIME,
        reservation_rate_limiters: vec![friends()],
        max_circuits: MAX_CIRCUITS,
        max_circuits_per_peer: MAX_CIRCUITS_PER_PEER.saturating_sub(1),
        max_circuit_duration: MAX_CIRCUIT_TIME,
        max_circuit_bytes: MAX_CIRCUIT_BYTES,
        circuit_src_rate_limiters: vec![friends()],
    };
    let count = |count: u32| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    none.reservation_rate_per_peer(count(RESERVATIONS_AT_ONCE), RELAY_REFILL)
        .circuit_src_per_peer(count(CIRCUITS_AT_ONCE), RELAY_REFILL)
}

fn kademlia(me: libp2p::PeerId, names: &Names) -> kad::Behaviour<kad::store::MemoryStore> {
    let mut settings = kad::Config::new(names.kad.clone());
    settings
        // The network adds only peers that have announced this network's protocols.
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        // The network starts its queries itself, and stores no records of others.
        .set_periodic_bootstrap_interval(None)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        // A peer gets one request of each search, and few searches run at once. Kademlia's streams
        // thus fit into those that a peer allows a stranger.
        .set_parallelism(KAD_PARALLELISM)
        .set_query_timeout(Duration::from_secs(20));
    let mut kad = kad::Behaviour::with_config(me, kad::store::MemoryStore::new(me), settings);
    // By default Kademlia stays a client until an external address is confirmed. On a LAN this
    // never happens.
    kad.set_mode(Some(kad::Mode::Server));
    kad
}

/// Returns the id of a gossip message, which is the same whoever published or forwarded it.
pub(super) fn message_id(topic: &TopicHash, payload: &[u8]) -> [u8; 20] {
    gossip_id(topic.as_str(), payload)
}

fn gossip(
    config: &BehaviourConfig,
    names: &Names,
    registry: &mut Registry,
) -> Result<Gossip, NetError> {
    let failed = |reason: String| NetError::Setup { part: "gossip", reason };
    let settings = gossipsub::ConfigBuilder::default()
        .message_id_fn(|message| message_id(&message.topic, &message.data).to_vec().into())
        // Payloads prove themselves by a signature or by proof of work, so gossipsub's own
        // signature is needless, and would reveal the publisher. This node publishes without one,
        // and accepts messages of others with or without it.
        .validation_mode(gossipsub::ValidationMode::Permissive)
        .validate_messages()
        // Any peer can publish an unsigned message with this node's id as its source, and honest
        // peers forward it. Without this setting gossipsub would lower the score of those peers.
        .allow_self_origin(true)
        .max_transmit_size(config.tuning.max_gossip_frame)
        .max_control_message_size(MAX_GOSSIP_CONTROL)
        .history_length(GOSSIP_HISTORY)
        .history_gossip(3)
        .mesh_n(4)
        .mesh_n_low(2)
        .mesh_n_high(8)
        .mesh_outbound_min(1)
        // All peers are in the mesh of `alive`. The ids of probes would be offered to others three
        // times, though no probe is forwarded.
        .mesh_n_low_for_topic(MAX_CONNECTED, names.alive.clone())
        .mesh_n_for_topic(MAX_CONNECTED, names.alive.clone())
        .mesh_n_high_for_topic(MAX_CONNECTED, names.alive.clone())
        .heartbeat_interval(Duration::from_secs(1))
        .heartbeat_initial_delay(Duration::from_secs(1))
        .connection_handler_queue_len(GOSSIP_SEND_QUEUE)
        .build()
        .map_err(|error| failed(error.to_string()))?;
    // Subscriptions of peers to other topics are neither stored nor counted.
    let known: HashSet<TopicHash> = names.all_topics().cloned().collect();
    let measured =
        gossipsub::MetricsConfig { max_never_subscribed_topics: 0, ..Default::default() };
    let door = SharedDoor::new(known.clone(), config.trust.clone());
    let mut gossip = Gossipsub::new_with_subscription_filter_and_transform(
        gossipsub::MessageAuthenticity::Anonymous,
        settings,
        gossipsub::WhitelistSubscriptionFilter(known),
        OwnTopics::new(door.clone()),
    )
    .map_err(|reason| failed(reason.to_owned()))?
    .with_metrics(
        registry.sub_registry_with_prefix("libp2p").sub_registry_with_prefix("gossipsub"),
        measured,
    );
    gossip
        .with_peer_score(gossip_score::params(names.all_topics()), gossip_score::thresholds())
        .map_err(failed)?;
    for topic in names.all_topics() {
        gossip
            .subscribe(&IdentTopic::new(topic.as_str()))
            .map_err(|error| failed(error.to_string()))?;
    }
    Ok(Gossip::new(gossip, door))
}

#[cfg(test)]
mod tests {
    use libp2p::{
        core::{ConnectedPoint, Endpoint},
        swarm::{ConnectionId, FromSwarm, behaviour::ConnectionEstablished},
    };

    use super::*;

    #[test]
    fn connections_and_dials_are_bounded_in_all() {
        let mut bounds = connection_bounds();
        let at: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().expect("an address");
        let peer = libp2p::PeerId::random();
        let dials = (0..1_000_usize).take_while(|number| {
            let id = ConnectionId::new_unchecked(*number);
            bounds.handle_pending_outbound_connection(id, None, &[], Endpoint::Dialer).is_ok()
        });
        assert_eq!(dials.count(), usize::try_from(MAX_PENDING_CONNECTIONS).expect("few"));
        let mut bounds = connection_bounds();
        let endpoint =
            ConnectedPoint::Listener { local_addr: at.clone(), send_back_addr: at.clone() };
        let connections = (0..1_000_usize).take_while(|number| {
            let id = ConnectionId::new_unchecked(*number);
            let is_let_in =
                bounds.handle_established_inbound_connection(id, peer, &at, &at).is_ok();
            bounds.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id: peer,
                connection_id: id,
                endpoint: &endpoint,
                failed_addresses: &[],
                other_established: 0,
            }));
            is_let_in
        });
        assert_eq!(connections.count(), usize::try_from(MAX_CONNECTIONS).expect("few"));
    }

    #[test]
    fn the_relay_serves_friends_within_its_bounds() {
        let friend = crate::net::Identity::generate().peer_id();
        let settings = relay_settings(&Trust::new([friend], false));
        // libp2p grants one more to a peer than its settings say.
        assert_eq!(
            (settings.max_reservations, settings.max_reservations_per_peer + 1),
            (MAX_RESERVATIONS, MAX_RESERVATIONS_PER_PEER)
        );
        assert_eq!(
            (settings.max_circuits, settings.max_circuits_per_peer + 1),
            (MAX_CIRCUITS, MAX_CIRCUITS_PER_PEER)
        );
        assert_eq!(
            (settings.max_circuit_bytes, settings.max_circuit_duration),
            (MAX_CIRCUIT_BYTES, MAX_CIRCUIT_TIME)
        );
        assert_eq!(settings.reservation_duration, RESERVATION_TIME);
        let at: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().expect("an address");
        let friend = crate::net::peer::to_libp2p(&friend).expect("an id");
        for (mut limits, at_once) in [
            (settings.reservation_rate_limiters, RESERVATIONS_AT_ONCE),
            (settings.circuit_src_rate_limiters, CIRCUITS_AT_ONCE),
        ] {
            let start = Instant::now();
            let mut allows =
                |peer, when| limits.iter_mut().all(|limit| limit.try_next(peer, &at, when));
            assert!(!allows(libp2p::PeerId::random(), start));
            assert_eq!((0..1_000).take_while(|_| allows(friend, start)).count(), at_once as usize);
            let (early, due) = (start + RELAY_REFILL / 2, start + RELAY_REFILL);
            assert!(!allows(friend, early));
            assert!(allows(friend, due) && !allows(friend, due), "one more is due");
        }
    }
}
