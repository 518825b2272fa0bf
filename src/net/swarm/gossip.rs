//! Gossip in both directions: publishing, receiving, verdicts and probes.

use std::{
    sync::MutexGuard,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use libp2p::gossipsub;

use super::Network;
use crate::{
    net::{
        behaviour::message_id,
        event::{GossipId, NetEvent, NetOffence},
        gossip_door::Door,
        metrics::verdict_code,
        own_topics::GossipEvent,
        peer::{from_libp2p, to_libp2p},
    },
    wire::{Topic, Verdict, limits::MAX_PROBE_BYTES, probe},
};

/// The number of failed sends of gossipsub to a peer after which the peer is reconnected.
const MAX_SLOW: u32 = 5;

impl Network {
    /// Publishes a message, or stores it until a peer subscribes to its topic.
    pub(super) fn publish(&mut self, topic: Topic, payload: Vec<u8>, now: Instant) {
        let Some(hash) = self.names.hash_of(topic) else { return };
        match self.swarm.behaviour_mut().gossip.publish(hash, payload.clone()) {
            Ok(_) => {}
            Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => {
                self.unheard.push(topic, payload, now);
            }
            // A duplicate was published before. If the queues to all peers are full, gossipsub
            // still offers the message's id to them.
            Err(error) => tracing::debug!(?topic, %error, "a gossip message was not published"),
        }
    }

    /// Publishes the messages that waited for a subscriber to the topic.
    pub(super) fn publish_unheard(&mut self, topic: Topic, now: Instant) {
        for message in self.unheard.take(topic, now) {
            let Some(hash) = self.names.hash_of(topic) else { return };
            let sent = self.swarm.behaviour_mut().gossip.publish(hash, message.payload.clone());
            if let Err(gossipsub::PublishError::NoPeersSubscribedToTopic) = sent {
                self.unheard.put_back(message);
            }
        }
    }

    /// Publishes a probe, which shows peers that this node's gossip reaches them.
    pub(super) fn probe(&mut self) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let payload = probe(&self.me, time);
        // An error means that no peer is subscribed.
        let _ = self.swarm.behaviour_mut().gossip.publish(self.names.alive.clone(), payload);
    }

    pub(super) fn on_gossip(&mut self, event: GossipEvent) -> Option<NetEvent> {
        match event {
            GossipEvent::Gossipsub(event) => self.on_gossipsub(event),
            GossipEvent::ForeignTopic { peer, messages } => {
                let peer = from_libp2p(&peer)?;
                tracing::debug!(%peer, messages, "gossip on foreign topics is refused");
                let reason = format!("{messages} messages are on no topic of this network");
                let offence = NetOffence::ForeignTopic;
                self.emit_if_room_for(&peer, NetEvent::Misbehaved { peer, offence, reason });
                None
            }
            GossipEvent::Refused { peer, sizes } => {
                let (peer, now) = (from_libp2p(&peer)?, Instant::now());
                tracing::debug!(%peer, messages = sizes.len(), "no room for gossip of a peer");
                self.liveness.received(&peer, now);
                for size in sizes {
                    self.is_gossip_over_budget(&peer, size, now);
                }
                None
            }
        }
    }

    /// Locks the door of gossip. The guard must not outlive the statement.
    pub(super) fn door(&self) -> MutexGuard<'_, Door> {
        self.swarm.behaviour().gossip.door().lock()
    }

    fn on_gossipsub(&mut self, event: gossipsub::Event) -> Option<NetEvent> {
        let now = Instant::now();
        match event {
            gossipsub::Event::Message { propagation_source, message, .. } => {
                self.on_gossip_message(&propagation_source, &message, now)
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                let peer = from_libp2p(&peer_id)?;
                if topic == self.names.alive {
                    self.liveness.subscribed_to_probes(&peer, now);
                    return None;
                }
                let topic = self.names.topic_of(&topic)?;
                self.liveness.subscribed(&peer);
                self.peers.get_mut(&peer)?.topics.insert(topic);
                self.publish_unheard(topic, now);
                // A peer may subscribe and unsubscribe as often as it likes.
                self.emit_if_room_for(&peer, NetEvent::Subscribed { peer, topic });
                None
            }
            gossipsub::Event::Unsubscribed { peer_id, topic } => {
                let peer = from_libp2p(&peer_id)?;
                if topic == self.names.alive {
                    self.liveness.unsubscribed_from_probes(&peer);
                } else if let Some(topic) = self.names.topic_of(&topic) {
                    self.peers.get_mut(&peer)?.topics.remove(&topic);
                }
                None
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                let peer = from_libp2p(&peer_id)?;
                let entry = self.peers.get_mut(&peer)?;
                entry.slow = entry.slow.saturating_add(1);
                if entry.slow >= MAX_SLOW && self.liveness.should_reconnect(&peer, now) {
                    self.reconnect(&peer);
                }
                None
            }
            // A peer of this network without gossipsub never subscribes, which shows as silence.
            gossipsub::Event::GossipsubNotSupported { .. } => None,
        }
    }

    fn on_gossip_message(
        &mut self,
        source: &libp2p::PeerId,
        message: &gossipsub::Message,
        now: Instant,
    ) -> Option<NetEvent> {
        let peer = from_libp2p(source)?;
        let id = GossipId { id: message_id(&message.topic, &message.data), source: peer };
        self.liveness.received(&peer, now);
        if self.is_gossip_over_budget(&peer, message.data.len(), now) {
            self.report(&id, Verdict::Ignore);
            return None;
        }
        if message.topic == self.names.alive {
            if message.data.len() > MAX_PROBE_BYTES {
                self.refuse(&id);
            } else {
                self.report(&id, Verdict::Ignore);
            }
            return None;
        }
        let Some(topic) = self.names.topic_of(&message.topic) else {
            self.report(&id, Verdict::Ignore);
            return None;
        };
        match topic.decode(&message.data) {
            Ok(gossip) => {
                let (is_friend, size) = (self.trust.is_friend(&peer), message.data.len());
                let is_admitted = self.door().pending.admit(id, topic, size, is_friend, now);
                if is_admitted {
                    return Some(NetEvent::GossipReceived { peer, message: id, gossip });
                }
                self.decided(&id, topic, Verdict::Ignore);
            }
            Err(error) => {
                self.metrics.verdict(topic.code(), verdict_code(Verdict::Reject));
                self.refuse(&id);
                self.misbehaved(peer, NetOffence::MalformedGossip, &error);
            }
        }
        None
    }

    /// Rejects a message that breaks the rules of its topic. Gossipsub then lowers the score of the
    /// peer that forwarded it. The topic is part of the id, so no other message is affected.
    fn refuse(&mut self, message: &GossipId) {
        self.report(message, Verdict::Reject);
    }

    /// Counts a verdict on a message of one of the node's topics, and reports it to gossipsub.
    pub(super) fn decided(&mut self, message: &GossipId, topic: Topic, verdict: Verdict) {
        self.metrics.verdict(topic.code(), verdict_code(verdict));
        self.report(message, verdict);
    }

    fn report(&mut self, message: &GossipId, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => gossipsub::MessageAcceptance::Accept,
            Verdict::Ignore => gossipsub::MessageAcceptance::Ignore,
            Verdict::Reject => gossipsub::MessageAcceptance::Reject,
        };
        if let Some(source) = to_libp2p(&message.source) {
            let id = gossipsub::MessageId::from(message.id.to_vec());
            self.swarm
                .behaviour_mut()
                .gossip
                .report_message_validation_result(&id, &source, acceptance);
        }
    }
}
