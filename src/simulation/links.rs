//! The links between nodes: delay, bandwidth, loss, and connections that break.
//!
//! A link carries at most one connection. Messages of a connection arrive in order, as on TCP. A
//! lost packet delays its message, and all later ones, by a retransmission. A stalled link delivers
//! all messages at the end of the stall, as TCP does after a blackout.

use std::collections::BTreeMap;

use rand::{RngExt, rngs::StdRng};

use super::queue::{Event, Message, Queue};

/// The payload of one packet, in bytes.
const PACKET_BYTES: usize = 1_400;
/// The wait for a retransmission beyond a round trip, in µs.
const RETRANSMISSION_US: u64 = 200_000;
/// The interval at which the receiver of a long answer sees it grow, in µs.
const GROWS_US: u64 = 500_000;
/// The number of neighbours in the gossip mesh that a node wants, and its maximum: the settings of
/// `net`.
const MESH: (usize, usize) = (4, 8);

/// The properties of a link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    /// The delay one way, in µs.
    pub(crate) delay_us: u64,
    /// The bandwidth of each direction, in bytes per ms.
    pub(crate) bytes_per_ms: f64,
    /// The number of lost packets in a thousand.
    pub(crate) loss: f64,
}

/// One link, between a lower and a higher node.
#[derive(Debug)]
struct Link {
    line: Line,
    /// The number of the connection; `None` if none is open.
    connection: Option<u64>,
    /// True if the nodes dial each other again after a break.
    wanted: bool,
    /// True if the connection belongs to the gossip mesh.
    mesh: bool,
    /// The factor by which the link is slower than its [`Line`].
    slower: f64,
    /// The end of a blackout.
    stalled_until: u64,
    /// The time at which each direction has sent all messages so far.
    free_at: [u64; 2],
    /// The last arrival of each direction.
    last: [u64; 2],
}

/// All links.
#[derive(Debug, Default)]
pub(super) struct Links {
    all: BTreeMap<(usize, usize), Link>,
    neighbours: Vec<Vec<usize>>,
    connections: u64,
}

const fn pair(a: usize, b: usize) -> (usize, usize) {
    if a < b { (a, b) } else { (b, a) }
}

impl Links {
    pub(super) fn add_node(&mut self) {
        self.neighbours.push(Vec::new());
    }

    /// Adds a link without a connection. Its ends dial each other if it is `wanted`.
    pub(super) fn add(&mut self, a: usize, b: usize, line: Line) {
        let link = Link {
            line,
            connection: None,
            wanted: true,
            mesh: false,
            slower: 1.0,
            stalled_until: 0,
            free_at: [0; 2],
            last: [0; 2],
        };
        self.all.entry(pair(a, b)).or_insert(link);
    }

    pub(super) fn has(&self, a: usize, b: usize) -> bool {
        self.all.contains_key(&pair(a, b))
    }

    pub(super) fn is_up(&self, a: usize, b: usize) -> bool {
        self.connection(a, b).is_some()
    }

    pub(super) fn is_wanted(&self, a: usize, b: usize) -> bool {
        self.all.get(&pair(a, b)).is_some_and(|link| link.wanted)
    }

    /// Sets whether the ends of a link dial each other again.
    pub(super) fn want(&mut self, a: usize, b: usize, wanted: bool) {
        if let Some(link) = self.all.get_mut(&pair(a, b)) {
            link.wanted = wanted;
        }
    }

    pub(super) fn connection(&self, a: usize, b: usize) -> Option<u64> {
        self.all.get(&pair(a, b)).and_then(|link| link.connection)
    }

    /// Returns all pairs of nodes that have a link.
    pub(super) fn pairs(&self) -> Vec<(usize, usize)> {
        self.all.keys().copied().collect()
    }

    /// Returns the nodes to which a node has a connection, by number.
    pub(super) fn neighbours(&self, node: usize) -> Vec<usize> {
        self.neighbours[node].clone()
    }

    pub(super) fn is_mesh(&self, a: usize, b: usize) -> bool {
        self.all.get(&pair(a, b)).is_some_and(|link| link.mesh)
    }

    fn mesh_of(&self, node: usize) -> usize {
        self.neighbours[node].iter().filter(|other| self.is_mesh(node, **other)).count()
    }

    /// Opens a connection.
    pub(super) fn open(&mut self, a: usize, b: usize) {
        let (mine, theirs) = (self.mesh_of(a), self.mesh_of(b));
        let mesh = mine.min(theirs) < MESH.0 && mine.max(theirs) < MESH.1;
        self.connections += 1;
        let number = self.connections;
        let Some(link) = self.all.get_mut(&pair(a, b)) else { return };
        link.connection = Some(number);
        link.mesh = mesh;
        link.free_at = [0; 2];
        link.last = [0; 2];
        for (node, other) in [(a, b), (b, a)] {
            self.neighbours[node].push(other);
            self.neighbours[node].sort_unstable();
        }
    }

    /// Closes a connection. Messages on their way are lost.
    pub(super) fn close(&mut self, a: usize, b: usize) {
        if let Some(link) = self.all.get_mut(&pair(a, b)) {
            link.connection = None;
            link.mesh = false;
        }
        for (node, other) in [(a, b), (b, a)] {
            self.neighbours[node].retain(|neighbour| *neighbour != other);
        }
        for node in [a, b] {
            self.fill_mesh(node);
        }
    }

    /// Adds neighbours to the mesh of a node that lost some.
    fn fill_mesh(&mut self, node: usize) {
        for other in self.neighbours(node) {
            if self.mesh_of(node) >= MESH.0 {
                return;
            }
            if self.mesh_of(other) < MESH.1
                && let Some(link) = self.all.get_mut(&pair(node, other))
            {
                link.mesh = true;
            }
        }
    }

    /// Makes a link slower by a factor; 1 is the speed of its line.
    pub(super) fn slow(&mut self, a: usize, b: usize, factor: f64) {
        if let Some(link) = self.all.get_mut(&pair(a, b)) {
            link.slower = factor;
        }
    }

    /// Delays all messages of a link until a time.
    pub(super) fn stall(&mut self, a: usize, b: usize, until: u64) {
        if let Some(link) = self.all.get_mut(&pair(a, b)) {
            link.stalled_until = until;
        }
    }

    /// Sends a message, which arrives later. Returns false if there is no connection.
    pub(super) fn send(
        &mut self,
        (from, to): (usize, usize),
        (message, bytes): (Message, usize),
        now: u64,
        queue: &mut Queue,
        rng: &mut StdRng,
    ) -> bool {
        let Some(link) = self.all.get_mut(&pair(from, to)) else { return false };
        let Some(connection) = link.connection else { return false };
        let direction = usize::from(from > to);
        let sending = (bytes as f64 / link.line.bytes_per_ms * link.slower * 1_000.0) as u64;
        let free_at = now.max(link.free_at[direction]) + sending;
        link.free_at[direction] = free_at;
        let delay = (link.line.delay_us as f64 * link.slower.sqrt()) as u64;
        let mut arrival = free_at + delay + rng.random_range(0..=delay / 20);
        let packets = bytes.div_ceil(PACKET_BYTES).max(1);
        let arrives =
            (1.0 - link.line.loss / 1_000.0).powi(i32::try_from(packets).unwrap_or(i32::MAX));
        while link.line.loss > 0.0 && !rng.random_bool(arrives.max(0.1)) {
            arrival += 2 * delay + RETRANSMISSION_US;
        }
        if now < link.stalled_until {
            arrival = arrival.max(link.stalled_until + 2 * delay);
        }
        if let Message::Answer { id, .. } = &message
            && now >= link.stalled_until
        {
            // Answers share a connection, so that each of them grows from its start on.
            let (id, begin, span) = (*id, now + delay, free_at - now);
            for passed in (GROWS_US..span).step_by(GROWS_US as usize) {
                let bytes = (bytes as f64 * passed as f64 / span as f64) as usize;
                queue.push(begin + passed, Event::Grow { from, to, connection, id, bytes });
            }
        }
        arrival = arrival.max(link.last[direction]);
        link.last[direction] = arrival;
        queue.push(arrival, Event::Arrive { from, to, connection, message });
        true
    }
}
