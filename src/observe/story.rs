//! Gathers the events of several nodes line by line. Times are not corrected: each is by the clock
//! of the node that logged it.

use std::{borrow::Cow, collections::HashMap};

use super::line::{Event, Fields, Line, Micros, hash};
use crate::primitives::printable;

/// A node's position in [`Story::nodes`].
pub(super) type NodeId = usize;

/// The most nodes in a story, which bounds the cost of a hostile log. Lines of further nodes count
/// as broken.
const MAX_NODES: usize = 1_000;

/// The length at which names and ids from a log are cut, in characters. A hash has 64; names are
/// shorter.
const MAX_TEXT_CHARS: usize = 100;

/// One run of a node, from its first log line to its last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    pub(super) first: Micros,
    pub(super) last: Micros,
    /// True once `node_started` was seen. Lines just before it belong to the same run.
    started: bool,
    /// True if the run ended with `node_stopped`. A killed node does not log it.
    pub(super) stopped: bool,
}

/// The time at which a node began to listen. Its start is logged a little later.
#[derive(Debug, Clone, Copy)]
struct Listening {
    since: Micros,
    /// The last line of the run before, in case that run was killed.
    last_before: Micros,
}

/// A node that wrote logs.
#[derive(Debug, Default)]
pub(super) struct NodeStory {
    pub(super) name: String,
    pub(super) peer_id: Option<String>,
    pub(super) version: Option<String>,
    pub(super) sessions: Vec<Session>,
    /// The number of connected peers after each change.
    pub(super) peers: Vec<(Micros, u32)>,
    listening: Option<Listening>,
    pub(super) warnings: u64,
    pub(super) penalties: u64,
    pub(super) height: Option<u32>,
}

/// A node, and the time at which it first saw an object.
pub(super) type Sighting = (NodeId, Micros);

/// The spread of a block, trade or chat line over the nodes.
#[derive(Debug, Default)]
pub(super) struct Journey {
    /// The node that made the object, and the time.
    pub(super) origin: Option<Sighting>,
    /// The first sighting of each node.
    pub(super) sightings: Vec<Sighting>,
}

impl NodeStory {
    /// Extends the current run to a line's time, or begins another run.
    fn extend_session(&mut self, event: Option<Event>, time: Micros) {
        let starts = event == Some(Event::NodeStarted);
        if event == Some(Event::Listening) && self.listens_since(time).is_none() {
            let last_before = self.sessions.last().map_or(time, |session| session.last);
            self.listening = Some(Listening { since: time, last_before });
        }
        let listening = self.listens_since(time);
        match self.sessions.last_mut() {
            Some(session) if starts && session.started && !session.stopped => {
                // The run before was killed. Lines since the node began to listen again belong to
                // the new run.
                session.last = listening.map_or(session.last, |listening| listening.last_before);
                self.begin(listening.map_or(time, |listening| listening.since));
            }
            Some(session) if !session.stopped => {}
            _ => self.begin(time),
        }
        if let Some(session) = self.sessions.last_mut() {
            session.started |= starts;
            session.last = session.last.max(time);
        }
    }

    fn begin(&mut self, first: Micros) {
        self.sessions.push(Session { first, last: first, started: false, stopped: false });
    }

    /// Returns the start of listening if it was at most [`START_MICROS`] before `time`.
    fn listens_since(&self, time: Micros) -> Option<Listening> {
        self.listening
            .filter(|listening| (0..=START_MICROS).contains(&time.saturating_sub(listening.since)))
    }
}

impl Journey {
    /// Returns the node and the time at which the journey began. A node may log a block as
    /// connected just before it logs it as mined, so the earlier time counts.
    pub(super) fn departure(&self) -> Option<Sighting> {
        let (node, time) = self.origin?;
        let own = self.sightings.iter().find(|(seen, _)| *seen == node);
        Some((node, own.map_or(time, |(_, first)| time.min(*first))))
    }

    fn saw(&mut self, node: NodeId, time: Micros) {
        match self.sightings.iter_mut().find(|(seen, _)| *seen == node) {
            Some((_, first)) => *first = time.min(*first),
            None => self.sightings.push((node, time)),
        }
    }
}

/// A block and the nodes that have it.
#[derive(Debug, Default)]
pub(super) struct BlockStory {
    pub(super) hash: [u8; 32],
    pub(super) height: u32,
    pub(super) previous: Option<[u8; 32]>,
    pub(super) transactions: u64,
    pub(super) journey: Journey,
    /// The nodes that have the block on their best chain, as of the last line read.
    pub(super) holders: Vec<NodeId>,
}

/// A chat line and its journey.
#[derive(Debug, Default)]
pub(super) struct ChatStory {
    pub(super) journey: Journey,
    /// The receiver's peer id; `None` for a line to all.
    pub(super) to: Option<String>,
    /// The time at which the sender knew that the receiver stored the line.
    pub(super) delivered: Option<Sighting>,
}

/// A reorg of one node: another branch became its best chain.
#[derive(Debug, Clone)]
pub(super) struct Reorganisation {
    pub(super) node: NodeId,
    pub(super) time: Micros,
    pub(super) old_tip: String,
    pub(super) new_tip: String,
    pub(super) height: u32,
    pub(super) disconnected: u64,
    pub(super) connected: u64,
}

/// The subject of a time line entry. Numbers are positions in the lists of [`Story`].
#[derive(Debug, Clone)]
pub(super) enum Happening {
    Started,
    Stopped,
    Joined(String),
    Left { name: String, said_goodbye: bool },
    Mined(usize),
    Traded(usize),
    Chatted(usize),
    Reorganised(usize),
    Stalled(u32),
    Penalised { peer: String, offence: String },
    Deaf(String),
}

/// One entry of the time line.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub(super) time: Micros,
    pub(super) node: NodeId,
    pub(super) happening: Happening,
}

/// The content of all lines read so far.
#[derive(Debug, Default)]
pub(super) struct Story {
    pub(super) nodes: Vec<NodeStory>,
    pub(super) blocks: Vec<BlockStory>,
    pub(super) trades: Vec<Journey>,
    pub(super) chats: Vec<ChatStory>,
    pub(super) reorganisations: Vec<Reorganisation>,
    pub(super) moments: Vec<Moment>,
    /// Lines that were parsed.
    pub(super) lines: u64,
    /// Lines that could not be parsed.
    pub(super) broken: u64,
    /// Lines that had been read before.
    pub(super) repeated: u64,
    pub(super) refused: u64,
    /// Events that nodes did not log, since peers caused too many of them.
    pub(super) suppressed: u64,
    /// The node by its name and the number of its log.
    by_name: HashMap<(String, usize), NodeId>,
    by_peer_id: HashMap<String, NodeId>,
    by_hash: HashMap<[u8; 32], usize>,
    by_txid: HashMap<[u8; 32], usize>,
    by_id: HashMap<String, usize>,
    trade_ids: Vec<[u8; 32]>,
    chat_ids: Vec<String>,
    /// The start of each current connection, by node and peer id.
    connected: HashMap<NodeId, HashMap<String, Micros>>,
}

/// The most time from a node's first `listening` to its `node_started`, in µs.
const START_MICROS: Micros = 1_000_000;

impl Story {
    /// Adds one line of the log with the number `log`.
    pub(super) fn add_line(&mut self, log: usize, line: &Line<'_>) {
        let (fields, time) = (&line.fields, line.time);
        // A library logged this line before the node had a name.
        if fields.node.is_empty() {
            self.lines = self.lines.saturating_add(1);
            return;
        }
        let Some(node) = self.node_of(log, fields) else {
            self.broken = self.broken.saturating_add(1);
            return;
        };
        self.lines = self.lines.saturating_add(1);
        let event = fields.event();
        let story = &mut self.nodes[node];
        story.extend_session(event, time);
        if fields.is_warning() {
            story.warnings = story.warnings.saturating_add(1);
        }
        if event.is_some_and(|event| self.apply(event, node, time, fields).is_none()) {
            self.broken = self.broken.saturating_add(1);
        }
    }

    /// Counts a line that could not be parsed.
    pub(super) const fn count_broken(&mut self) {
        self.broken = self.broken.saturating_add(1);
    }

    /// Counts a line that had been read before, from a copy of a log.
    pub(super) const fn count_repeated(&mut self) {
        self.repeated = self.repeated.saturating_add(1);
    }

    /// Returns the node that wrote a line; `None` if there are too many nodes. Nodes of one name in
    /// different logs become separate once their peer ids differ.
    fn node_of(&mut self, log: usize, fields: &Fields<'_>) -> Option<NodeId> {
        let place = (shown(&fields.node), log);
        let peer_id = fields.peer_id.as_deref().map(shown);
        let known = match &peer_id {
            Some(peer_id) => {
                let unnamed = |node: &NodeId| self.nodes[*node].peer_id.is_none();
                let by_peer_id = self.by_peer_id.get(peer_id).copied();
                by_peer_id.or_else(|| self.by_name.get(&place).copied().filter(unnamed))
            }
            None => match self.by_name.get(&place) {
                Some(node) => return Some(*node),
                // Rotated files of one node: the name decides unless peer ids differ.
                None => self.nodes.iter().position(|node| node.name == place.0),
            },
        };
        let node = match known {
            Some(node) => node,
            None if self.nodes.len() >= MAX_NODES => return None,
            None => {
                self.nodes.push(NodeStory { name: place.0.clone(), ..NodeStory::default() });
                self.nodes.len() - 1
            }
        };
        if let Some(peer_id) = peer_id {
            self.nodes[node].peer_id = Some(peer_id.clone());
            self.by_peer_id.insert(peer_id, node);
        }
        self.by_name.insert(place, node);
        Some(node)
    }

    /// Applies an event; `None` if it lacks a field that nodes always log.
    fn apply(
        &mut self,
        event: Event,
        node: NodeId,
        time: Micros,
        fields: &Fields<'_>,
    ) -> Option<()> {
        let sighting = (node, time);
        match event {
            // It begins a run, which `extend_session` has recorded.
            Event::Listening => {}
            Event::NodeStarted => self.node_started(node, time, fields),
            Event::NodeStopped => self.node_stopped(node, time),
            Event::LogSuppressed => {
                self.suppressed = self.suppressed.saturating_add(fields.count?);
            }
            Event::PeerConnected => self.peers(node, time, fields.peer.as_deref()?, true),
            Event::PeerDisconnected => self.peers(node, time, fields.peer.as_deref()?, false),
            Event::FriendJoined => {
                self.push(sighting, Happening::Joined(text_of(fields.name.as_ref())));
            }
            Event::FriendLeft => {
                let (name, said_goodbye) = (text_of(fields.name.as_ref()), fields.said_goodbye());
                self.push(sighting, Happening::Left { name, said_goodbye });
            }
            Event::BlockMined => self.block_mined(sighting, fields)?,
            Event::BlockConnected => self.block_connected(sighting, fields)?,
            Event::BlockDisconnected => {
                let block = self.block(fields)?;
                self.blocks[block].holders.retain(|holder| *holder != node);
            }
            Event::Reorganised => self.reorganised(sighting, fields)?,
            Event::TradeAccepted => self.trade_accepted(sighting, fields)?,
            Event::TradeRefused => self.refused = self.refused.saturating_add(1),
            Event::ChatSent => self.chat_sent(sighting, fields)?,
            Event::ChatReceived => {
                let chat = self.chat(fields.id.as_deref()?);
                self.chats[chat].journey.saw(node, time);
            }
            Event::ChatDelivered => {
                let chat = self.chat(fields.id.as_deref()?);
                self.chats[chat].delivered.get_or_insert(sighting);
            }
            Event::SyncStalled => self.push(sighting, Happening::Stalled(fields.height?)),
            Event::PeerPenalised => {
                let (peer, offence) =
                    (text_of(fields.peer.as_ref()), text_of(fields.offence.as_ref()));
                self.push(sighting, Happening::Penalised { peer, offence });
                self.nodes[node].penalties = self.nodes[node].penalties.saturating_add(1);
            }
            Event::GossipDeaf => {
                self.push(sighting, Happening::Deaf(text_of(fields.peer.as_ref())));
            }
        }
        Some(())
    }

    /// Appends an entry to the time line.
    fn push(&mut self, (node, time): Sighting, happening: Happening) {
        self.moments.push(Moment { time, node, happening });
    }

    fn node_started(&mut self, node: NodeId, time: Micros, fields: &Fields<'_>) {
        self.push((node, time), Happening::Started);
        // A node accepts connections a little before it logs its start. Connections from before
        // that belong to a run that was killed.
        let story = &mut self.nodes[node];
        let since =
            story.listening.map_or(time, |listening| listening.since.saturating_sub(START_MICROS));
        let connected = self.connected.entry(node).or_default();
        connected.retain(|_, at| *at >= since);
        let count = u32::try_from(connected.len()).unwrap_or(u32::MAX);
        story.version = fields.version.as_deref().map(shown);
        story.peers.push((time, count));
    }

    fn node_stopped(&mut self, node: NodeId, time: Micros) {
        self.push((node, time), Happening::Stopped);
        let story = &mut self.nodes[node];
        story.peers.push((time, 0));
        if let Some(session) = story.sessions.last_mut() {
            session.stopped = true;
        }
    }

    fn block_mined(&mut self, sighting: Sighting, fields: &Fields<'_>) -> Option<()> {
        let block = self.block(fields)?;
        let origin = &mut self.blocks[block].journey.origin;
        if origin.is_none() {
            *origin = Some(sighting);
            self.push(sighting, Happening::Mined(block));
        }
        Some(())
    }

    fn block_connected(&mut self, (node, time): Sighting, fields: &Fields<'_>) -> Option<()> {
        let block = self.block(fields)?;
        self.nodes[node].height = fields.height;
        let story = &mut self.blocks[block];
        story.journey.saw(node, time);
        if !story.holders.contains(&node) {
            story.holders.push(node);
        }
        Some(())
    }

    fn reorganised(&mut self, (node, time): Sighting, fields: &Fields<'_>) -> Option<()> {
        let reorganisation = Reorganisation {
            node,
            time,
            old_tip: text_of(fields.old_tip.as_ref()),
            new_tip: text_of(fields.new_tip.as_ref()),
            height: fields.height?,
            disconnected: fields.disconnected?,
            connected: fields.connected?,
        };
        self.push((node, time), Happening::Reorganised(self.reorganisations.len()));
        self.reorganisations.push(reorganisation);
        Some(())
    }

    fn trade_accepted(&mut self, sighting: Sighting, fields: &Fields<'_>) -> Option<()> {
        let txid = hash(fields.txid.as_deref()?)?;
        let trade = *self.by_txid.entry(txid).or_insert_with(|| {
            self.trades.push(Journey::default());
            self.trade_ids.push(txid);
            self.trades.len() - 1
        });
        let origin = &mut self.trades[trade].origin;
        if fields.local? && origin.is_none() {
            *origin = Some(sighting);
            self.push(sighting, Happening::Traded(trade));
        }
        let (node, time) = sighting;
        self.trades[trade].saw(node, time);
        Some(())
    }

    fn chat_sent(&mut self, sighting: Sighting, fields: &Fields<'_>) -> Option<()> {
        let chat = self.chat(fields.id.as_deref()?);
        let story = &mut self.chats[chat];
        if story.journey.origin.is_none() {
            story.journey.origin = Some(sighting);
            story.to = fields.to.as_deref().map(shown);
            self.push(sighting, Happening::Chatted(chat));
        }
        Some(())
    }

    /// Returns the position of the event's block, which is added if it is new.
    fn block(&mut self, fields: &Fields<'_>) -> Option<usize> {
        let name = hash(fields.hash.as_deref()?)?;
        let height = fields.height?;
        let block = *self.by_hash.entry(name).or_insert_with(|| {
            self.blocks.push(BlockStory { hash: name, height, ..BlockStory::default() });
            self.blocks.len() - 1
        });
        let story = &mut self.blocks[block];
        story.transactions = story.transactions.max(fields.transactions.unwrap_or(0));
        story.previous = story.previous.or_else(|| hash(fields.previous.as_deref()?));
        Some(block)
    }

    /// Returns the position of a chat line, which is added if it is new.
    fn chat(&mut self, id: &str) -> usize {
        if let Some(chat) = self.by_id.get(id) {
            return *chat;
        }
        self.chats.push(ChatStory::default());
        self.chat_ids.push(shown(id));
        self.by_id.insert(id.to_owned(), self.chats.len() - 1);
        self.chats.len() - 1
    }

    /// Updates the number of a node's peers after one connected or disconnected.
    fn peers(&mut self, node: NodeId, time: Micros, peer: &str, is_up: bool) {
        let connected = self.connected.entry(node).or_default();
        if is_up {
            connected.insert(peer.to_owned(), time);
        } else {
            connected.remove(peer);
        }
        let count = u32::try_from(connected.len()).unwrap_or(u32::MAX);
        self.nodes[node].peers.push((time, count));
    }

    /// Returns the id of a trade, in hex.
    pub(super) fn trade_id(&self, trade: usize) -> String {
        self.trade_ids.get(trade).map(|id| data_encoding::HEXLOWER.encode(id)).unwrap_or_default()
    }

    /// Returns the id of a chat line.
    pub(super) fn chat_id(&self, chat: usize) -> String {
        self.chat_ids.get(chat).cloned().unwrap_or_default()
    }

    /// Returns the name of a peer whose log is among the inputs; otherwise the end of its id.
    pub(super) fn peer_name(&self, peer: &str) -> String {
        let known = self.by_peer_id.get(peer);
        known.map_or_else(|| format!("…{}", tail(peer, 8)), |node| self.nodes[*node].name.clone())
    }
}

/// Makes text from a log safe to print: cut to [`MAX_TEXT_CHARS`], without control characters.
fn shown(text: &str) -> String {
    let end = text.char_indices().nth(MAX_TEXT_CHARS).map_or(text.len(), |(at, _)| at);
    printable(&text[..end])
}

/// Returns a field's text, safe to print; empty if the field is missing.
fn text_of(field: Option<&Cow<'_, str>>) -> String {
    shown(field.map(AsRef::as_ref).unwrap_or_default())
}

/// Returns the last `count` characters of a text.
pub(super) fn tail(text: &str, count: usize) -> &str {
    let start = text.char_indices().rev().nth(count.saturating_sub(1)).map_or(0, |(at, _)| at);
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::{super::line::parse, *};

    /// Builds the story of one node from times and events.
    fn story_of(events: &[(&str, &str)]) -> Story {
        let mut story = Story::default();
        for (time, event) in events {
            let start = format!(r#"{{"timestamp":"2026-01-01T00:00:{time}Z","level":"INFO""#);
            let text = format!(r#"{start},"node":"yzw","event":{event}}}"#);
            story.add_line(0, &parse(text.as_bytes()).expect("a line"));
        }
        story
    }

    #[test]
    fn peers_that_connect_while_a_node_starts_count_and_those_of_a_killed_run_do_not() {
        let peer = |event: &str, peer: &str| format!(r#""{event}","peer":"{peer}""#);
        let (one, two) = (peer("peer_connected", "one"), peer("peer_connected", "two"));
        let story = story_of(&[
            ("01", r#""listening""#),
            ("01.1", &one),
            ("01.2", r#""node_started""#),
            ("02", &two),
            // The node is killed and starts again.
            ("10", r#""listening""#),
            ("10.1", &two),
            ("10.2", r#""node_started""#),
        ]);
        let counts: Vec<_> = story.nodes[0].peers.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1, 1, 2, 2, 1]);
        assert_eq!(story.broken, 0);
    }

    #[test]
    fn what_was_not_logged_is_counted_and_a_name_cannot_reach_the_terminal() {
        let story = story_of(&[
            ("01", r#""log_suppressed","of":"trade_accepted","count":7"#),
            ("02", r#""log_suppressed","of":"peer_connected","count":5"#),
            ("03", r#""friend_joined","peer":"p","name":"\u001b[31mred""#),
        ]);
        assert_eq!((story.suppressed, story.broken), (12, 0));
        let names = story.moments.iter().filter_map(|moment| match &moment.happening {
            Happening::Joined(name) => Some(name.as_str()),
            _ => None,
        });
        assert_eq!(names.collect::<Vec<_>>(), ["\u{fffd}[31mred"]);
    }

    #[test]
    fn a_killed_node_was_not_up_until_it_listened_again() {
        let story = story_of(&[
            ("01", r#""listening""#),
            ("01.2", r#""node_started""#),
            ("05", r#""synced""#),
            // The node is killed and starts again.
            ("40", r#""listening""#),
            ("40.1", r#""listening""#),
            ("40.2", r#""peer_connected","peer":"p""#),
            ("40.3", r#""node_started""#),
            ("45", r#""synced""#),
        ]);
        let first = story.nodes[0].sessions[0].first - 1_000_000;
        let tenth = |time: Micros| (time - first) / 100_000;
        let runs: Vec<_> = story.nodes[0]
            .sessions
            .iter()
            .map(|session| (tenth(session.first), tenth(session.last)))
            .collect();
        assert_eq!(runs, [(10, 50), (400, 450)]);
    }

    #[test]
    fn what_a_node_made_counts_once_however_often_its_log_says_so() {
        let hash = "ab".repeat(32);
        let mined = format!(r#""block_mined","hash":"{hash}","height":1,"transactions":1"#);
        let sent = r#""chat_sent","id":"1""#;
        let story = story_of(&[("01", &mined), ("01", sent), ("02", &mined), ("02", sent)]);
        assert_eq!((story.moments.len(), story.blocks.len(), story.chats.len()), (2, 1, 1));
    }

    #[test]
    fn no_text_of_a_log_can_move_the_cursor_or_is_long() {
        let long = "x".repeat(1_000);
        let story = story_of(&[
            ("01", r#""node_started","peer_id":"\u001b[2J""#),
            ("02", r#""node_started","peer_id":"\u001b[2J""#),
            ("03", r#""chat_sent","id":"\u001b","to":"\u001b[31m""#),
            ("04", &format!(r#""friend_joined","name":"{long}""#)),
        ]);
        assert_eq!(story.nodes.len(), 1);
        assert_eq!(story.nodes[0].peer_id.as_deref(), Some("\u{fffd}[2J"));
        assert_eq!(story.chats[0].to.as_deref(), Some("\u{fffd}[31m"));
        assert_eq!(story.chat_id(0), "\u{fffd}");
        let Some(Happening::Joined(name)) = story.moments.last().map(|moment| &moment.happening)
        else {
            panic!("a friend")
        };
        assert_eq!(name.len(), MAX_TEXT_CHARS);
    }
}
