//! The network's own counters, and those metrics of libp2p whose number of series is bounded.
//!
//! Two kinds of libp2p's metrics are left out: bandwidth, whose labels are the addresses of all
//! dials, and addresses that peers invent. The codec counts the bytes of requests, and gossipsub
//! those of each topic.

use std::time::Instant;

use libp2p::{
    Multiaddr, identify,
    metrics::{Metrics, Recorder},
    swarm::SwarmEvent,
};
use prometheus_client::registry::Registry;

use super::{
    address::{is_transport, without_peer},
    behaviour::BehaviourEvent,
    event::RequestError,
    own_topics::GossipEvent,
    walk::WalkEvent,
};
use crate::{
    telemetry::metrics::NetMetrics,
    wire::{Protocol, Response, Topic, Verdict},
};

/// Label of the outcome of a request that got its response.
const ANSWERED: &str = "answered";

/// All verdicts, for the labels of their counters.
const VERDICTS: [Verdict; 3] = [Verdict::Accept, Verdict::Ignore, Verdict::Reject];

/// Returns the label of a verdict.
pub(super) const fn verdict_code(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accept => "accept",
        Verdict::Ignore => "ignore",
        Verdict::Reject => "reject",
    }
}

/// Returns the counters with each series at zero, so that the first event of a kind shows as a
/// rise.
pub(super) fn counted() -> NetMetrics {
    let metrics = NetMetrics::default();
    for protocol in Protocol::ALL.map(Protocol::code) {
        for outcome in [ANSWERED].into_iter().chain(RequestError::CODES) {
            drop(metrics.requests.get_or_create(&[("protocol", protocol), ("outcome", outcome)]));
        }
        for outcome in [ANSWERED, "busy", "rate_limited", "malformed", "unanswered"] {
            drop(
                metrics
                    .requests_served
                    .get_or_create(&[("protocol", protocol), ("outcome", outcome)]),
            );
        }
        drop(metrics.request_duration.get_or_create(&[("protocol", protocol)]));
        for direction in ["inbound", "outbound"] {
            metrics.message(protocol, direction, 0);
        }
    }
    for topic in Topic::ALL.map(Topic::code) {
        for verdict in VERDICTS.map(verdict_code) {
            drop(metrics.gossip_verdicts.get_or_create(&[("topic", topic), ("verdict", verdict)]));
        }
    }
    metrics
}

/// A stopwatch for one request of this node, which records the outcome at its end.
#[derive(Debug)]
pub(super) struct Meter {
    metrics: NetMetrics,
    protocol: Protocol,
    asked: Instant,
}

impl Meter {
    pub(super) fn new(metrics: NetMetrics, protocol: Protocol) -> Self {
        Self { metrics, protocol, asked: Instant::now() }
    }

    pub(super) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(super) fn ended(&self, result: &Result<Response, RequestError>) {
        let outcome = result.as_ref().map_or_else(RequestError::code, |_| ANSWERED);
        self.metrics.request_ended(self.protocol.code(), outcome, self.asked.elapsed());
    }
}

/// The metrics that libp2p provides.
pub(super) struct Libp2pMetrics(Metrics);

impl Libp2pMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self(Metrics::new(registry))
    }

    /// Records an event before the network handles it.
    pub(super) fn record(
        &self,
        event: &SwarmEvent<BehaviourEvent>,
        is_connected: impl FnOnce(&libp2p::PeerId) -> bool,
    ) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.0.record(event),
            SwarmEvent::Behaviour(BehaviourEvent::Kad(WalkEvent::Kad(event))) => {
                self.0.record(&**event);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(GossipEvent::Gossipsub(event))) => {
                self.0.record(event);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => {
                self.record_identify(event, is_connected);
            }
            SwarmEvent::Behaviour(_) => {}
            // libp2p keeps a series for each stack of protocols in an address, and never drops it.
            // Only addresses of this node's transports are recorded, so that peers cannot add more.
            SwarmEvent::NewExternalAddrCandidate { address } if !is_plain(address) => {}
            SwarmEvent::ConnectionEstablished { endpoint, .. }
                if !is_plain(endpoint.get_remote_address()) => {}
            other => self.0.record(other),
        }
    }

    fn record_identify(
        &self,
        event: &identify::Event,
        is_connected: impl FnOnce(&libp2p::PeerId) -> bool,
    ) {
        let identify::Event::Received { connection_id, peer_id, info } = event else {
            return self.0.record(event);
        };
        // libp2p drops the entry when the peer disconnects, so an entry that is made later would
        // stay.
        if !is_connected(peer_id) {
            return;
        }
        let observed = Some(&info.observed_addr).filter(|address| is_plain(address));
        self.0.record(&identify::Event::Received {
            connection_id: *connection_id,
            peer_id: *peer_id,
            info: identify::Info {
                public_key: info.public_key.clone(),
                protocol_version: String::new(),
                agent_version: String::new(),
                listen_addrs: info
                    .listen_addrs
                    .iter()
                    .filter(|address| is_plain(address))
                    .cloned()
                    .collect(),
                protocols: info.protocols.clone(),
                observed_addr: observed.cloned().unwrap_or_else(Multiaddr::empty),
                signed_peer_record: None,
            },
        });
    }
}

/// True if the address is a host and one of this node's transports. Such addresses make few series.
fn is_plain(address: &Multiaddr) -> bool {
    is_transport(&without_peer(address))
}

#[cfg(test)]
mod tests {
    use libp2p::{identity::Keypair, multiaddr::Protocol as Part, swarm::ConnectionId};
    use prometheus_client::encoding::text;

    use super::*;
    use crate::primitives::{PeerId, PublicKey};

    fn page(registry: &Registry) -> String {
        let mut page = String::new();
        text::encode(&mut page, registry).unwrap();
        page
    }

    /// Returns an address whose stack of protocols is new for each number.
    fn invented(number: usize) -> Multiaddr {
        (0..number).fold(Multiaddr::empty().with(Part::Tcp(1)), |address, _| {
            address.with(Part::Ws("/".into()))
        })
    }

    fn identified(peer: libp2p::PeerId, address: Multiaddr) -> SwarmEvent<BehaviourEvent> {
        let info = identify::Info {
            public_key: Keypair::generate_ed25519().public(),
            protocol_version: "one".to_owned(),
            agent_version: "another".to_owned(),
            listen_addrs: vec![address.clone()],
            protocols: Vec::new(),
            observed_addr: address,
            signed_peer_record: None,
        };
        let connection_id = ConnectionId::new_unchecked(1);
        SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
            connection_id,
            peer_id: peer,
            info,
        }))
    }

    #[test]
    fn what_a_peer_invents_makes_no_series() {
        let mut registry = Registry::default();
        let metrics = Libp2pMetrics::new(&mut registry);
        let peer = libp2p::PeerId::random();
        let plain: Multiaddr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        metrics.record(&SwarmEvent::NewExternalAddrCandidate { address: plain.clone() }, |_| true);
        metrics.record(&identified(peer, plain), |_| true);
        assert!(page(&registry).contains("listen_address=\"/ip4/tcp\""));
        metrics.record(&identified(peer, invented(1)), |_| true);
        let before = page(&registry).lines().count();
        for number in 2..50 {
            metrics.record(
                &SwarmEvent::NewExternalAddrCandidate { address: invented(number) },
                |_| true,
            );
            metrics.record(&identified(peer, invented(number)), |_| true);
        }
        let after = page(&registry);
        assert_eq!(after.lines().count(), before);
        assert!(!after.contains("/ws") && !after.contains("another"), "{after}");
    }

    #[test]
    fn who_has_gone_is_not_kept() {
        let mut registry = Registry::default();
        let metrics = Libp2pMetrics::new(&mut registry);
        let address: Multiaddr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        metrics.record(&identified(libp2p::PeerId::random(), address), |_| false);
        assert!(!page(&registry).contains("listen_address="));
    }

    #[test]
    fn a_request_counts_once_at_its_end() {
        let (mut registry, metrics) = (Registry::default(), counted());
        metrics.register(&mut registry);
        let before = page(&registry).lines().count();
        let nobody = PeerId(PublicKey([1; 32]));
        Meter::new(metrics.clone(), Protocol::Sync).ended(&Err(RequestError::NotConnected(nobody)));
        let after = page(&registry);
        assert!(
            after.contains(
                "friendchain_requests_total{protocol=\"sync\",outcome=\"not_connected\"} 1\n"
            ),
            "{after}"
        );
        assert!(
            after.contains("friendchain_request_duration_seconds_count{protocol=\"sync\"} 1\n"),
            "{after}"
        );
        assert_eq!(after.lines().count(), before, "every series was there");
    }
}
