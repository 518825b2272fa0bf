//! Gossipsub for the topics of this network only.
//!
//! Gossipsub accepts messages on any topic. It keeps those on foreign topics in its cache for 30
//! heartbeats, without an event. [`OwnTopics`] refuses them before they are stored, and [`Gossip`]
//! emits an event with their sender. No honest peer sends them: gossip goes only to subscribers.

use std::{
    collections::{HashSet, VecDeque},
    io,
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use libp2p::{
    PeerId,
    gossipsub::{self, DataTransform, Message, RawMessage, TopicHash, WhitelistSubscriptionFilter},
    swarm::{
        ConnectionId, FromSwarm, NetworkBehaviour, THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};

use super::pass_on::pass_on_connections;
/// Gossipsub with this network's topics, ids and filter.
pub(super) type Gossipsub = gossipsub::Behaviour<OwnTopics, WhitelistSubscriptionFilter>;

/// The check of each message's topic. It counts the messages that it refuses.
#[derive(Debug)]
pub(super) struct OwnTopics {
    known: HashSet<TopicHash>,
    refused: Arc<AtomicUsize>,
}

impl OwnTopics {
    /// Makes a check that lets these topics pass.
    pub(super) fn new(known: HashSet<TopicHash>) -> Self {
        Self { known, refused: Arc::default() }
    }

    /// Returns the counter of refused messages.
    pub(super) fn refused(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.refused)
    }
}

impl DataTransform for OwnTopics {
    fn inbound_transform(&self, message: RawMessage) -> io::Result<Message> {
        if !self.known.contains(&message.topic) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no topic of this network"));
        }
        let RawMessage { source, data, sequence_number, topic, .. } = message;
        Ok(Message { source, data, sequence_number, topic })
    }

    fn outbound_transform(&self, _: &TopicHash, data: Vec<u8>) -> io::Result<Vec<u8>> {
        Ok(data)
    }
}

/// An event of [`Gossip`].
#[derive(Debug)]
pub(super) enum GossipEvent {
    /// An event of gossipsub itself.
    Gossipsub(gossipsub::Event),
    /// A peer sent messages on topics that are not this network's, in one frame.
    ForeignTopic { peer: PeerId, messages: usize },
}

/// Gossipsub, with an event for each sender of messages on foreign topics.
pub(super) struct Gossip {
    inner: Gossipsub,
    refused: Arc<AtomicUsize>,
    /// Senders whose event is not emitted yet. The swarm takes each one before the next frame is
    /// handled.
    foreign: VecDeque<(PeerId, usize)>,
}

impl Gossip {
    /// Wraps gossipsub. `refused` is the counter of its [`OwnTopics`].
    pub(super) fn new(inner: Gossipsub, refused: Arc<AtomicUsize>) -> Self {
        Self { inner, refused, foreign: VecDeque::new() }
    }
}

impl Deref for Gossip {
    type Target = Gossipsub;

    fn deref(&self) -> &Gossipsub {
        &self.inner
    }
}

impl DerefMut for Gossip {
    fn deref_mut(&mut self) -> &mut Gossipsub {
        &mut self.inner
    }
}

impl NetworkBehaviour for Gossip {
    type ConnectionHandler = <Gossipsub as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = GossipEvent;

    pass_on_connections!();

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        // Gossipsub checks all messages of the frame before this call returns.
        self.inner.on_connection_handler_event(peer, id, event);
        let messages = self.refused.swap(0, Ordering::Relaxed);
        if messages > 0 {
            self.foreign.push_back((peer, messages));
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer, messages)) = self.foreign.pop_front() {
            let event = GossipEvent::ForeignTopic { peer, messages };
            return Poll::Ready(ToSwarm::GenerateEvent(event));
        }
        self.inner.poll(cx).map(|event| event.map_out(GossipEvent::Gossipsub))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_on_own_topics_pass_and_others_are_counted() {
        let own = TopicHash::from_raw("own");
        let topics = OwnTopics::new(HashSet::from([own.clone()]));
        let message = |topic: &TopicHash| RawMessage {
            source: None,
            data: vec![1],
            sequence_number: None,
            topic: topic.clone(),
            signature: None,
            key: None,
            validated: false,
        };
        assert_eq!(topics.inbound_transform(message(&own)).unwrap().data, [1]);
        assert!(topics.inbound_transform(message(&TopicHash::from_raw("other"))).is_err());
        assert_eq!(topics.refused().load(Ordering::Relaxed), 1);
    }
}
