//! Gossipsub for the topics of this network only.
//!
//! Gossipsub accepts messages on any topic. It keeps those on foreign topics in its cache for 30
//! heartbeats, without an event. [`OwnTopics`] refuses them before they are stored, and [`Gossip`]
//! emits an event with their sender. No honest peer sends them: gossip goes only to subscribers.
//! Messages for which their sender has no room are refused in the same way.

use std::{
    collections::VecDeque,
    io,
    ops::{Deref, DerefMut},
    task::{Context, Poll},
    time::Instant,
};

use libp2p::{
    PeerId,
    gossipsub::{self, DataTransform, Message, RawMessage, TopicHash, WhitelistSubscriptionFilter},
    swarm::{
        ConnectionId, FromSwarm, NetworkBehaviour, THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};

use super::{
    gossip_door::{Frame, SharedDoor, Way},
    pass_on::pass_on_connections,
    peer::from_libp2p,
};

/// Gossipsub with this network's topics, ids and filter.
pub(super) type Gossipsub = gossipsub::Behaviour<OwnTopics, WhitelistSubscriptionFilter>;

/// The topic of the empty message that stands for a refused one.
const REFUSED: &str = "refused";

/// The check of each message at the [door](super::gossip_door), before gossipsub remembers it.
#[derive(Debug)]
pub(super) struct OwnTopics {
    door: SharedDoor,
}

impl OwnTopics {
    /// Makes a check of messages at this door.
    pub(super) const fn new(door: SharedDoor) -> Self {
        Self { door }
    }
}

impl DataTransform for OwnTopics {
    fn inbound_transform(&self, message: RawMessage) -> io::Result<Message> {
        let RawMessage { source, data, sequence_number, topic, .. } = message;
        match self.door.lock().way(&topic, data.len(), Instant::now()) {
            Way::In => Ok(Message { source, data, sequence_number, topic }),
            // An error would count as a rejected message. To gossipsub, all refused messages are
            // one, on a topic without subscribers: it keeps at most one of them.
            Way::Refused => {
                let topic = TopicHash::from_raw(REFUSED);
                Ok(Message { source: None, data: Vec::new(), sequence_number: None, topic })
            }
            Way::Foreign => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "no topic of this network"))
            }
        }
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
    /// The door refused messages of these sizes, in one frame of a peer.
    Refused { peer: PeerId, sizes: Vec<usize> },
}

/// Gossipsub, with an event for each frame of which messages were refused.
pub(super) struct Gossip {
    inner: Gossipsub,
    door: SharedDoor,
    /// Events that are not emitted yet. The swarm takes each one before the next frame is handled.
    events: VecDeque<GossipEvent>,
}

impl Gossip {
    /// Wraps gossipsub. The door is that of its [`OwnTopics`].
    pub(super) fn new(inner: Gossipsub, door: SharedDoor) -> Self {
        Self { inner, door, events: VecDeque::new() }
    }

    /// Returns the door.
    pub(super) const fn door(&self) -> &SharedDoor {
        &self.door
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
        self.door.lock().begin(from_libp2p(&peer));
        self.inner.on_connection_handler_event(peer, id, event);
        let Frame { foreign, refused, .. } = self.door.lock().end();
        if foreign > 0 {
            self.events.push_back(GossipEvent::ForeignTopic { peer, messages: foreign });
        }
        if !refused.is_empty() {
            self.events.push_back(GossipEvent::Refused { peer, sizes: refused });
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(event));
        }
        self.inner.poll(cx).map(|event| event.map_out(GossipEvent::Gossipsub))
    }
}
