//! The door of gossip: it refuses messages before gossipsub remembers them.
//!
//! Gossipsub remembers the id of each message for a minute, and accepts no copy of it from others.
//! A message that this node drops afterwards is lost. A hostile peer could use up its room or its
//! rate, and then be the first to forward what others say. [`Door`] refuses a message for which its
//! sender has no room, so that the same message may still come from another peer.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use libp2p::gossipsub::TopicHash;

use super::gossip::{Amount, PendingVerdicts};
use crate::{peers::Trust, primitives::PeerId};

/// The state of the door, which gossipsub's filter and the network share.
#[derive(Debug)]
pub(super) struct Door {
    known: HashSet<TopicHash>,
    trust: Trust,
    /// The messages behind the door.
    pub(super) pending: PendingVerdicts,
    /// The topics on which peers are muted, and until when.
    muted: HashMap<(PeerId, TopicHash), Instant>,
    frame: Frame,
}

/// The frame of messages that gossipsub is reading.
#[derive(Debug, Default)]
pub(super) struct Frame {
    sender: Option<PeerId>,
    /// The messages that passed. Their events follow once the frame is read.
    passed: Amount,
    /// The number of messages on topics that are not this network's.
    pub(super) foreign: usize,
    /// The sizes of the messages that the door refused.
    pub(super) refused: Vec<usize>,
}

/// The decision of the door on a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Gossipsub gets the message.
    In,
    /// The sender has no room, or is muted.
    Refused,
    /// The topic is not this network's.
    Foreign,
}

/// A handle to the door.
#[derive(Debug, Clone)]
pub(super) struct SharedDoor(Arc<Mutex<Door>>);

impl SharedDoor {
    /// Makes a door for these topics.
    pub(super) fn new(known: HashSet<TopicHash>, trust: Trust) -> Self {
        let (pending, muted) = (PendingVerdicts::default(), HashMap::new());
        let frame = Frame::default();
        Self(Arc::new(Mutex::new(Door { known, trust, pending, muted, frame })))
    }

    /// Locks the door. Only the swarm task does so.
    pub(super) fn lock(&self) -> MutexGuard<'_, Door> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    /// Begins a frame of a peer.
    pub(super) fn begin(&mut self, sender: Option<PeerId>) {
        self.frame = Frame { sender, ..Frame::default() };
    }

    /// Ends a frame.
    pub(super) fn end(&mut self) -> Frame {
        std::mem::take(&mut self.frame)
    }

    /// Returns the way of the frame's next message.
    pub(super) fn way(&mut self, topic: &TopicHash, size: usize, now: Instant) -> Way {
        if !self.known.contains(topic) {
            self.frame.foreign = self.frame.foreign.saturating_add(1);
            return Way::Foreign;
        }
        let has_room = self.frame.sender.is_some_and(|peer| {
            let muted = self.muted.get(&(peer, topic.clone()));
            let is_friend = self.trust.is_friend(&peer);
            muted.is_none_or(|until| *until <= now)
                && self.pending.has_room(&peer, self.frame.passed.and(size), is_friend)
        });
        if has_room {
            self.frame.passed = self.frame.passed.and(size);
            Way::In
        } else {
            self.frame.refused.push(size);
            Way::Refused
        }
    }

    /// Mutes a peer on a topic.
    pub(super) fn mute(&mut self, peer: PeerId, topic: TopicHash, until: Instant) {
        let end = self.muted.entry((peer, topic)).or_insert(until);
        *end = until.max(*end);
    }

    /// Forgets the mutes that have ended. A reconnection ends none.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.muted.retain(|_, until| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        net::{
            event::GossipId,
            limits::{MAX_PENDING_VERDICTS, PENDING_SHARE},
        },
        primitives::PublicKey,
        wire::Topic,
    };

    fn peer(number: u8) -> PeerId {
        PeerId(PublicKey([number; 32]))
    }

    fn door() -> (Door, TopicHash) {
        let topic = TopicHash::from_raw("own");
        let door = SharedDoor::new(HashSet::from([topic.clone()]), Trust::default());
        let door = Arc::into_inner(door.0).and_then(|door| door.into_inner().ok());
        (door.expect("the only handle"), topic)
    }

    /// Sends a frame of messages of one byte, and returns how many pass.
    fn frame(door: &mut Door, sender: PeerId, topic: &TopicHash, count: usize) -> usize {
        let now = Instant::now();
        door.begin(Some(sender));
        (0..count).filter(|_| door.way(topic, 1, now) == Way::In).count()
    }

    #[test]
    fn only_messages_on_own_topics_pass_and_others_are_counted() {
        let (mut door, topic) = door();
        assert_eq!(frame(&mut door, peer(1), &topic, 1), 1);
        assert_eq!(frame(&mut door, peer(1), &TopicHash::from_raw("other"), 2), 0);
        let frame = door.end();
        assert_eq!((frame.foreign, frame.refused.len()), (2, 0));
    }

    #[test]
    fn a_muted_peer_is_refused_on_that_topic_until_its_time() {
        let (mut door, topic) = door();
        let now = Instant::now();
        door.mute(peer(1), topic.clone(), now + Duration::from_hours(1));
        door.mute(peer(1), topic.clone(), now);
        door.mute(peer(2), topic.clone(), now);
        door.sweep(now);
        assert_eq!(frame(&mut door, peer(1), &topic, 3), 0);
        assert_eq!(door.end().refused, [1, 1, 1]);
        assert_eq!(frame(&mut door, peer(2), &topic, 3), 3);
        assert_eq!(door.muted.len(), 1);
    }

    #[test]
    fn what_passes_in_one_frame_has_room_behind_the_door() {
        let (mut door, topic) = door();
        let most = MAX_PENDING_VERDICTS / PENDING_SHARE;
        assert_eq!(frame(&mut door, peer(1), &topic, most + 9), most);
        assert_eq!(door.end().refused.len(), 9);
        for number in 0..most {
            let id = GossipId { id: [u8::try_from(number).unwrap(); 20], source: peer(1) };
            assert!(door.pending.admit(id, Topic::Chat, 1, false, Instant::now()));
        }
        assert_eq!(frame(&mut door, peer(1), &topic, 1), 0);
        assert_eq!(frame(&mut door, peer(2), &topic, 1), 1, "another has its own");
    }
}
