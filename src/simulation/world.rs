//! The simulated network: its nodes, the queue of events, and the virtual clock.

use std::{collections::BTreeMap, sync::Arc};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use super::{
    faults::Plan,
    figures::Figures,
    history::History,
    liars::Manner,
    links::{Line, Links},
    node::{Node, Run, peer},
    queue::{Event, Message, Packet, Queue, Reply},
};
use crate::{
    chain::{api::Tip, errors::ChainFault},
    primitives::{FIRST_MOMENT, Moment, PeerId, UnixMillis},
    relay::RelayEvent,
    sync::{Phase, SyncEvent},
};

/// The interval of a node's ticks, in µs, as in the router.
pub(super) const TICK_US: u64 = 250_000;
/// The pause before a node dials a lost neighbour again, in µs.
const REDIAL_US: std::ops::Range<u64> = 1_000_000..6_000_000;
/// The frame of a message beyond its payload, in bytes: multiplexer, encryption and packets.
const FRAME_BYTES: usize = 80;

/// The delays of a node, in µs.
#[expect(clippy::struct_field_names, reason = "the end of each name is its unit")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delays {
    /// The time of a read or a check beside the chain thread.
    pub(crate) read_us: u64,
    /// The time of a commit on the disk.
    pub(crate) commit_us: u64,
    /// The time without a byte of its answer after which a request has failed.
    pub(crate) request_us: u64,
    /// The longest time for which a miner keeps a template.
    pub(crate) template_us: u64,
    /// The interval of ticks.
    pub(crate) tick_us: u64,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            read_us: 300,
            commit_us: 3_000,
            request_us: 20_000_000,
            template_us: 1_000_000,
            tick_us: TICK_US,
        }
    }
}

/// The network.
pub(crate) struct World {
    pub(super) history: History,
    pub(super) seed: u64,
    /// The time since the start, in µs.
    pub(super) now: u64,
    pub(super) base: Instant,
    pub(super) nodes: Vec<Node>,
    pub(super) links: Links,
    pub(super) queue: Queue,
    pub(super) rng: StdRng,
    pub(super) delays: Delays,
    pub(super) figures: Figures,
    pub(super) plan: Plan,
    /// Faults of the program that the run has found, as sentences.
    pub(super) violations: Vec<String>,
    /// A hash of all events so far, which is the same for the same seed.
    pub(super) course: u64,
    /// The mean time between two payments, in µs; 0 for none.
    pub(super) pay_every_us: u64,
    /// True if nodes publish nothing, and get data only by requests.
    pub(super) without_gossip: bool,
    /// The share of the payments that a node does not take from gossip.
    pub(super) unheard: f64,
    /// Old announcements, for liars.
    pub(super) stale: Vec<Arc<Packet>>,
    /// The side of each node while the network is split.
    pub(super) sides: BTreeMap<usize, u8>,
}

impl World {
    pub(crate) fn new(history: History, seed: u64) -> Self {
        Self {
            history,
            seed,
            now: 0,
            base: Instant::now(),
            nodes: Vec::new(),
            links: Links::default(),
            queue: Queue::default(),
            rng: StdRng::seed_from_u64(seed),
            delays: Delays::default(),
            figures: Figures::default(),
            plan: Plan::default(),
            violations: Vec::new(),
            course: 0xcbf2_9ce4_8422_2325,
            pay_every_us: 0,
            without_gossip: false,
            unheard: 0.0,
            stale: Vec::new(),
            sides: BTreeMap::new(),
        }
    }

    /// Adds a node that has the blocks of a history, and starts it.
    pub(crate) fn add(&mut self, history: &History, manner: Manner) -> usize {
        let number = self.nodes.len();
        self.nodes.push(Node::new(number, history, manner, self.seed));
        self.links.add_node();
        self.start(number);
        if manner.acts() {
            self.push(1_000_000, Event::Lie { node: number });
        }
        number
    }

    /// Starts a node, and lets it dial its neighbours.
    pub(super) fn start(&mut self, node: usize) {
        let (moment, now) = (self.moment(), self.now);
        if let Err(reason) = self.nodes[node].start(&self.history, self.seed, (moment, now)) {
            return self.violation(format!("node {node} does not start: {reason}"));
        }
        let epoch = self.nodes[node].epoch;
        let first = self.rng.random_range(0..self.delays.tick_us);
        self.push(first, Event::Tick { node, epoch });
        let entries = self.run(node).map(|run| run.chain.mempool()).unwrap_or_default();
        for entry in entries {
            self.trade_added(node, entry);
        }
        for (a, b) in self.links.pairs() {
            if a == node || b == node {
                self.push(100_000, Event::Dial { a, b });
            }
        }
        self.steer(node);
    }

    /// Adds a link, and opens its connection.
    pub(crate) fn connect(&mut self, a: usize, b: usize, line: Line) {
        self.links.add(a, b, line);
        self.links.want(a, b, true);
        self.push(0, Event::Dial { a, b });
    }

    /// Ends a connection for good.
    #[cfg(test)]
    pub(crate) fn disconnect(&mut self, a: usize, b: usize) {
        self.links.want(a, b, false);
        self.cut(a, b);
    }

    /// Makes `other` a friend of `node`.
    pub(crate) fn befriend(&mut self, node: usize, other: usize) {
        self.nodes[node].trust.accept(peer(other));
    }

    pub(super) const fn moment(&self) -> Moment {
        FIRST_MOMENT + self.now / 1_000
    }

    /// Returns the true wall time.
    pub(super) const fn true_wall(&self) -> UnixMillis {
        self.history.start + self.now / 1_000
    }

    /// Returns the time of a node's wall clock.
    pub(super) fn wall(&self, node: usize) -> UnixMillis {
        self.true_wall().saturating_add_signed(self.nodes[node].skew_ms)
    }

    pub(super) fn run(&mut self, node: usize) -> Option<&mut Run> {
        self.nodes.get_mut(node)?.run.as_deref_mut()
    }

    pub(super) fn push(&mut self, delay_us: u64, event: Event) {
        self.queue.push(self.now + delay_us, event);
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers make it")]
    pub(super) fn violation(&mut self, text: String) {
        let seconds = self.now / 1_000_000;
        self.violations.push(format!("after {seconds} s: {text}"));
    }

    /// Records a fault of a node's chain, which ends its run.
    pub(super) fn fault(&mut self, node: usize, fault: &ChainFault) {
        self.violation(format!("the chain of node {node} failed: {fault}"));
        self.stop(node);
    }

    /// Ends a node's run at once, like a kill.
    pub(super) fn stop(&mut self, node: usize) {
        if self.nodes[node].run.take().is_none() {
            return;
        }
        self.nodes[node].epoch += 1;
        for other in self.links.neighbours(node) {
            self.cut(node, other);
        }
    }

    /// Sends a message of a node.
    pub(super) fn send(&mut self, from: usize, to: usize, message: Message, bytes: usize) -> bool {
        let bytes = bytes + FRAME_BYTES;
        let sent = &mut self.nodes[from].sent;
        let count = match &message {
            Message::Hello { .. } | Message::HelloReply { .. } => &mut sent.hello,
            Message::Ask { .. } => &mut sent.requests,
            Message::Answer { .. } => &mut sent.answers,
            Message::Gossip(_) => &mut sent.gossip,
        };
        let (now, queue, rng) = (self.now, &mut self.queue, &mut self.rng);
        let is_sent = self.links.send((from, to), (message, bytes), now, queue, rng);
        if is_sent {
            *count += bytes as u64;
        }
        is_sent
    }

    /// Breaks a connection. Both ends detect it at once, and dial again later.
    pub(super) fn cut(&mut self, a: usize, b: usize) {
        if !self.links.is_up(a, b) {
            return;
        }
        self.links.close(a, b);
        for (node, other) in [(a, b), (b, a)] {
            self.peer_gone(node, other);
        }
        let pause = self.rng.random_range(REDIAL_US);
        self.push(pause, Event::Dial { a, b });
    }

    fn dial(&mut self, a: usize, b: usize) {
        if self.links.is_up(a, b) || !self.links.is_wanted(a, b) {
            return;
        }
        let now = self.now;
        let is_refused = |node: usize, other: usize| {
            self.nodes[node].refused.get(&other).is_some_and(|until| now < *until)
        };
        let is_down = self.nodes[a].run.is_none() || self.nodes[b].run.is_none();
        let is_split = self.sides.get(&a).copied() != self.sides.get(&b).copied();
        if is_refused(a, b) || is_refused(b, a) || is_down || is_split {
            let pause = self.rng.random_range(REDIAL_US);
            return self.push(pause, Event::Dial { a, b });
        }
        self.links.open(a, b);
        self.hello(a, b);
        self.hello(b, a);
    }

    /// Runs the next event. Returns false if there is none up to a time in µs.
    pub(super) fn step(&mut self, until: u64) -> bool {
        if self.queue.next_time().is_none_or(|at| at > until) {
            self.now = until;
            return false;
        }
        let Some((at, event)) = self.queue.pop() else { return false };
        self.now = at.max(self.now);
        self.note(&event);
        self.play(event);
        true
    }

    fn play(&mut self, event: Event) {
        let is_now = |world: &Self, node: usize, epoch: u64| world.nodes[node].epoch == epoch;
        match event {
            Event::Tick { node, epoch } if is_now(self, node, epoch) => self.tick(node),
            Event::Arrive { from, to, connection, message }
                if self.links.connection(from, to) == Some(connection) =>
            {
                self.arrive(from, to, message);
            }
            Event::Grow { from, to, connection, id, bytes }
                if self.links.connection(from, to) == Some(connection) =>
            {
                self.grow(to, id, bytes);
            }
            Event::Later { node, epoch, reply } if is_now(self, node, epoch) => {
                self.reply(node, *reply);
            }
            Event::Settle { node, epoch } if is_now(self, node, epoch) => self.settle(node),
            Event::Durable { node, epoch, batch } if is_now(self, node, epoch) => {
                self.durable(node, *batch);
            }
            Event::Expire { node, epoch, id } if is_now(self, node, epoch) => {
                self.expire(node, id);
            }
            Event::Mine { node, epoch, turn } if is_now(self, node, epoch) => {
                self.mine_event(node, turn);
            }
            Event::Pay => self.pay(),
            Event::Lie { node } => self.lie(node),
            Event::Dial { a, b } => self.dial(a, b),
            Event::Start { node } if self.nodes[node].run.is_none() => self.start(node),
            Event::Fault(fault) => self.play_fault(fault),
            // The event is meant for a run that has ended.
            _ => {}
        }
    }

    /// Folds an event into the hash of the course.
    fn note(&mut self, event: &Event) {
        let mut fold = |number: u64| {
            self.course = (self.course ^ number).wrapping_mul(0x0000_0100_0000_01b3);
        };
        fold(self.now);
        match event {
            Event::Arrive { from, to, .. } => {
                fold(*from as u64);
                fold(*to as u64);
            }
            Event::Tick { node, .. } | Event::Settle { node, .. } => fold(*node as u64),
            _ => fold(7),
        }
    }

    /// Runs for some virtual time.
    pub(crate) fn run_for(&mut self, ms: u64) {
        let until = self.now + ms * 1_000;
        while self.step(until) {}
    }

    /// Runs until a condition holds, which is checked after each event. Returns the time that it
    /// took in ms; `None` if it took longer than the limit.
    pub(crate) fn run_until(
        &mut self,
        limit_ms: u64,
        holds: impl Fn(&Self) -> bool,
    ) -> Option<u64> {
        let (start, until) = (self.now, self.now + limit_ms * 1_000);
        loop {
            if holds(self) {
                return Some((self.now - start) / 1_000);
            }
            if !self.step(until) {
                return None;
            }
        }
    }

    pub(crate) fn phase(&self, node: usize) -> Option<Phase> {
        self.nodes[node].phase()
    }

    /// Returns the durable tip of a node that is up.
    pub(crate) fn tip(&self, node: usize) -> Option<Tip> {
        self.nodes[node].run.as_ref().map(|run| run.summary.tip)
    }

    /// Handles the end of a peer's connection to a node.
    fn peer_gone(&mut self, node: usize, other: usize) {
        let Some(run) = self.run(node) else { return };
        let lost: Vec<u64> =
            run.asked.iter().filter(|(_, (peer, _))| *peer == other).map(|(id, _)| *id).collect();
        for id in lost {
            self.fail_request(node, id, crate::wire::RequestFailure::Disconnected);
        }
        let peer: PeerId = peer(other);
        self.sync(node, SyncEvent::PeerGone { peer });
        self.relay(node, RelayEvent::PeerGone { peer });
    }

    /// Hands a reply to its machine.
    pub(super) fn reply(&mut self, node: usize, reply: Reply) {
        match reply {
            Reply::Sync(event) => self.sync(node, event),
            Reply::Relay(event) => self.relay(node, event),
            Reply::Acknowledged(txid) => self.nodes[node].acknowledged.push(txid),
        }
    }
}
