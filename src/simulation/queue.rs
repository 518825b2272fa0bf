//! The queue of events in virtual time, and the messages that travel between nodes.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    sync::Arc,
};

use super::faults::Fault;
use crate::{
    chain::api::{ChainEvent, ChainSummary},
    relay::RelayEvent,
    sync::SyncEvent,
    wire::{Gossip, Status, SyncRequest, SyncResponse},
};

/// A gossip message on its way. All its receivers share it.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) id: [u8; 20],
    pub(super) gossip: Gossip,
    /// The size of the payload.
    pub(super) bytes: usize,
}

/// A message between two nodes.
#[derive(Debug, Clone)]
pub(super) enum Message {
    Hello { id: u64, status: Box<Status> },
    HelloReply { id: u64, status: Box<Status> },
    Ask { id: u64, request: Box<SyncRequest> },
    Answer { id: u64, response: Arc<SyncResponse> },
    Gossip(Arc<Packet>),
}

/// A reply of the chain or the disk to a machine.
#[derive(Debug)]
pub(super) enum Reply {
    Sync(SyncEvent),
    Relay(RelayEvent<u64>),
    /// A payment of the node's user is durable.
    Acknowledged(crate::primitives::TxId),
}

/// The replies and events of one commit.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) replies: Vec<Reply>,
    pub(super) events: Vec<ChainEvent>,
    pub(super) summary: ChainSummary,
}

/// An event of the simulation. `epoch` is the run of the node for which the event is meant. Events
/// of a run that a crash ended are dropped.
#[derive(Debug)]
pub(super) enum Event {
    Tick {
        node: usize,
        epoch: u64,
    },
    /// The arrival of a message, on the connection with this number.
    Arrive {
        from: usize,
        to: usize,
        connection: u64,
        message: Message,
    },
    /// More of a long answer has arrived: `bytes` of it so far.
    Grow {
        from: usize,
        to: usize,
        connection: u64,
        id: u64,
        bytes: usize,
    },
    /// A reply that needs no commit.
    Later {
        node: usize,
        epoch: u64,
        reply: Box<Reply>,
    },
    /// The chain has executed the commands of this moment.
    Settle {
        node: usize,
        epoch: u64,
    },
    /// A commit is on the disk.
    Durable {
        node: usize,
        epoch: u64,
        batch: Box<Batch>,
    },
    /// A request has waited for too long.
    Expire {
        node: usize,
        epoch: u64,
        id: u64,
    },
    /// The miner has found a block, or checks its template again.
    Mine {
        node: usize,
        epoch: u64,
        turn: u64,
    },
    /// A user pays another.
    Pay,
    /// A liar acts.
    Lie {
        node: usize,
    },
    Dial {
        a: usize,
        b: usize,
    },
    Start {
        node: usize,
    },
    Fault(Fault),
}

#[derive(Debug)]
struct Entry {
    at: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// Events in the order of their times. Events of one time keep the order in which they were pushed.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    pushed: u64,
}

impl Queue {
    /// Adds an event at a time in µs.
    pub(super) fn push(&mut self, at: u64, event: Event) {
        self.pushed += 1;
        self.heap.push(Reverse(Entry { at, number: self.pushed, event }));
    }

    /// Returns the time of the next event.
    pub(super) fn next_time(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    pub(super) fn pop(&mut self) -> Option<(u64, Event)> {
        self.heap.pop().map(|Reverse(Entry { at, event, .. })| (at, event))
    }
}
