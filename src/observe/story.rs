//! What the logs of several nodes tell together, gathered line by line. Times are still each node's
//! own.

use std::collections::HashMap;

use super::line::{Fields, Line, Micros, hash};
use crate::primitives::printable;

/// Position of a node in [`Story::nodes`].
pub(super) type NodeId = usize;

/// More nodes than this are not told apart: a log with so many names is none of ours.
const MAX_NODES: usize = 1_000;

/// What a log calls something is cut after so many characters: a hash has 64, a name fewer.
const MAX_TEXT_CHARS: usize = 100;

/// One run of a node, from its start to the last that it said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    pub(super) first: Micros,
    pub(super) last: Micros,
    /// Whether its `node_started` was seen; what a node says before is of the same run.
    started: bool,
    /// Whether it ended by `node_stopped`; a killed node says nothing.
    pub(super) stopped: bool,
}

/// A node began to listen: it starts, as it says a little later.
#[derive(Debug, Clone, Copy)]
struct Listening {
    since: Micros,
    /// The last that its run before had said; a killed node does not say that it stops.
    last_before: Micros,
}

/// A node that wrote logs.
#[derive(Debug, Default)]
pub(super) struct NodeStory {
    pub(super) name: String,
    pub(super) peer_id: Option<String>,
    pub(super) version: Option<String>,
    pub(super) sessions: Vec<Session>,
    /// How many connected peers, at each change.
    pub(super) peers: Vec<(Micros, u32)>,
    listening: Option<Listening>,
    pub(super) warnings: u64,
    pub(super) penalties: u64,
    pub(super) height: Option<u32>,
}

/// When something first came to a node.
pub(super) type Sighting = (NodeId, Micros);

/// A block, or a trade, or a chat line, on its way.
#[derive(Debug, Default)]
pub(super) struct Journey {
    /// Where it was made.
    pub(super) origin: Option<Sighting>,
    /// Where it came to, the first time each.
    pub(super) sightings: Vec<Sighting>,
}

impl NodeStory {
    /// Its run goes on, or another one begins.
    fn speaks(&mut self, event: &str, time: Micros) {
        let starts = event == "node_started";
        if event == "listening" && self.listens_since(time).is_none() {
            let last_before = self.sessions.last().map_or(time, |session| session.last);
            self.listening = Some(Listening { since: time, last_before });
        }
        let listening = self.listens_since(time);
        match self.sessions.last_mut() {
            Some(session) if starts && session.started && !session.stopped => {
                // It was killed. What it said since it listens again is of the run that begins.
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

    /// That it began to listen, if that was a little before.
    fn listens_since(&self, time: Micros) -> Option<Listening> {
        self.listening
            .filter(|listening| (0..=START).contains(&time.saturating_sub(listening.since)))
    }
}

impl Journey {
    /// Where and when it set out. A maker may log that it made it just after it shows it to others.
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

/// A block.
#[derive(Debug, Default)]
pub(super) struct BlockStory {
    pub(super) hash: [u8; 32],
    pub(super) height: u32,
    pub(super) previous: Option<[u8; 32]>,
    pub(super) transactions: u64,
    pub(super) journey: Journey,
    /// Who has it on its best chain now.
    pub(super) holders: Vec<NodeId>,
}

/// A chat line.
#[derive(Debug, Default)]
pub(super) struct ChatStory {
    pub(super) journey: Journey,
    /// The receiver's peer id; none for a line to all.
    pub(super) to: Option<String>,
    /// When the sender knew that it was kept.
    pub(super) delivered: Option<Sighting>,
}

/// Another branch became a node's best chain.
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

/// What a time line tells.
#[derive(Debug, Clone)]
pub(super) enum What {
    Started,
    Stopped,
    Joined(String),
    Left(String, String),
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
    pub(super) what: What,
}

/// Everything that was read.
#[derive(Debug, Default)]
pub(super) struct Story {
    pub(super) nodes: Vec<NodeStory>,
    pub(super) blocks: Vec<BlockStory>,
    pub(super) trades: Vec<Journey>,
    pub(super) chats: Vec<ChatStory>,
    pub(super) reorganisations: Vec<Reorganisation>,
    pub(super) moments: Vec<Moment>,
    /// Lines that were understood.
    pub(super) lines: u64,
    /// Lines that were not.
    pub(super) broken: u64,
    /// Lines that had been read already.
    pub(super) repeated: u64,
    /// Trades refused.
    pub(super) refused: u64,
    /// Events that nodes did not log, since peers brought them about too often.
    pub(super) suppressed: u64,
    by_name: HashMap<(String, usize), NodeId>,
    by_peer_id: HashMap<String, NodeId>,
    by_hash: HashMap<[u8; 32], usize>,
    by_txid: HashMap<[u8; 32], usize>,
    by_id: HashMap<String, usize>,
    trade_ids: Vec<[u8; 32]>,
    chat_ids: Vec<String>,
    /// Of the current connections, by node and peer, since when.
    connected: HashMap<NodeId, HashMap<String, Micros>>,
}

/// A node that starts has begun to listen at all its addresses within so long, in µs.
const START: Micros = 1_000_000;

impl Story {
    /// Takes up one line of the log with that number.
    pub(super) fn take(&mut self, log: usize, line: &Line<'_>) {
        let (fields, time) = (&line.fields, line.time);
        // A library's line before the node has a name.
        if fields.node.is_empty() {
            self.lines = self.lines.saturating_add(1);
            return;
        }
        let Some(node) = self.node_of(log, fields) else {
            self.broken = self.broken.saturating_add(1);
            return;
        };
        self.lines = self.lines.saturating_add(1);
        let event = fields.event.as_deref().unwrap_or_default();
        let story = &mut self.nodes[node];
        story.speaks(event, time);
        if fields.level == "WARN" || fields.level == "ERROR" {
            story.warnings = story.warnings.saturating_add(1);
        }
        if self.event(event, node, time, fields).is_none() {
            // An event of ours that lacks what it always has.
            self.broken = self.broken.saturating_add(1);
        }
    }

    /// A line that could not be read.
    pub(super) const fn count_broken(&mut self) {
        self.broken = self.broken.saturating_add(1);
    }

    /// A line that had been read already: of a copy of a log.
    pub(super) const fn count_repeated(&mut self) {
        self.repeated = self.repeated.saturating_add(1);
    }

    /// The node that wrote a line. Two of one name in different logs are told apart once their peer
    /// ids differ.
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
                // Rotated files of one node: the name alone, as long as no peer id says otherwise.
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

    /// Takes up an event; `None` when a field is missing that it always has.
    fn event(
        &mut self,
        event: &str,
        node: NodeId,
        time: Micros,
        fields: &Fields<'_>,
    ) -> Option<()> {
        let mut tell = |what| self.moments.push(Moment { time, node, what });
        let owned =
            |text: &Option<std::borrow::Cow<'_, str>>| shown(text.as_deref().unwrap_or_default());
        match event {
            "node_started" => {
                tell(What::Started);
                // A node listens, and peers may come, a little before it says that it is up.
                let story = &mut self.nodes[node];
                let since =
                    story.listening.map_or(time, |listening| listening.since.saturating_sub(START));
                let connected = self.connected.entry(node).or_default();
                connected.retain(|_, at| *at >= since);
                let count = u32::try_from(connected.len()).unwrap_or(u32::MAX);
                story.version = fields.version.as_deref().map(shown);
                story.peers.push((time, count));
            }
            "log_suppressed" => self.suppressed = self.suppressed.saturating_add(fields.count?),
            "node_stopped" => {
                tell(What::Stopped);
                let story = &mut self.nodes[node];
                story.peers.push((time, 0));
                if let Some(session) = story.sessions.last_mut() {
                    session.stopped = true;
                }
            }
            "peer_connected" => self.peers(node, time, fields.peer.as_deref()?, true),
            "peer_disconnected" => self.peers(node, time, fields.peer.as_deref()?, false),
            "friend_joined" => tell(What::Joined(owned(&fields.name))),
            "friend_left" => tell(What::Left(owned(&fields.name), owned(&fields.how))),
            "block_mined" => {
                let block = self.block(fields)?;
                if self.blocks[block].journey.origin.is_none() {
                    self.blocks[block].journey.origin = Some((node, time));
                    self.moments.push(Moment { time, node, what: What::Mined(block) });
                }
            }
            "block_connected" => {
                let block = self.block(fields)?;
                self.nodes[node].height = fields.height;
                let story = &mut self.blocks[block];
                story.journey.saw(node, time);
                if !story.holders.contains(&node) {
                    story.holders.push(node);
                }
            }
            "block_disconnected" => {
                let block = self.block(fields)?;
                self.blocks[block].holders.retain(|holder| *holder != node);
            }
            "reorganised" => {
                let reorganisation = Reorganisation {
                    node,
                    time,
                    old_tip: owned(&fields.old_tip),
                    new_tip: owned(&fields.new_tip),
                    height: fields.height?,
                    disconnected: fields.disconnected?,
                    connected: fields.connected?,
                };
                tell(What::Reorganised(self.reorganisations.len()));
                self.reorganisations.push(reorganisation);
            }
            "trade_accepted" => {
                let txid = hash(fields.txid.as_deref()?)?;
                let trade = *self.by_txid.entry(txid).or_insert_with(|| {
                    self.trades.push(Journey::default());
                    self.trade_ids.push(txid);
                    self.trades.len() - 1
                });
                if fields.local? && self.trades[trade].origin.is_none() {
                    self.trades[trade].origin = Some((node, time));
                    tell(What::Traded(trade));
                }
                self.trades[trade].saw(node, time);
            }
            "trade_refused" => self.refused = self.refused.saturating_add(1),
            "chat_sent" => {
                let chat = self.chat(fields.id.as_deref()?);
                if self.chats[chat].journey.origin.is_none() {
                    self.chats[chat].journey.origin = Some((node, time));
                    self.chats[chat].to = fields.to.as_deref().map(shown);
                    self.moments.push(Moment { time, node, what: What::Chatted(chat) });
                }
            }
            "chat_received" => {
                let chat = self.chat(fields.id.as_deref()?);
                self.chats[chat].journey.saw(node, time);
            }
            "chat_delivered" => {
                let chat = self.chat(fields.id.as_deref()?);
                self.chats[chat].delivered.get_or_insert((node, time));
            }
            "sync_stalled" => tell(What::Stalled(fields.height?)),
            "peer_penalised" => {
                tell(What::Penalised {
                    peer: owned(&fields.peer),
                    offence: owned(&fields.offence),
                });
                self.nodes[node].penalties = self.nodes[node].penalties.saturating_add(1);
            }
            "gossip_deaf" => tell(What::Deaf(owned(&fields.peer))),
            _ => {}
        }
        Some(())
    }

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

    fn chat(&mut self, id: &str) -> usize {
        if let Some(chat) = self.by_id.get(id) {
            return *chat;
        }
        self.chats.push(ChatStory::default());
        self.chat_ids.push(shown(id));
        self.by_id.insert(id.to_owned(), self.chats.len() - 1);
        self.chats.len() - 1
    }

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

    /// The id of a trade, in hex.
    pub(super) fn trade_id(&self, trade: usize) -> String {
        self.trade_ids.get(trade).map(|id| data_encoding::HEXLOWER.encode(id)).unwrap_or_default()
    }

    /// The id of a chat line.
    pub(super) fn chat_id(&self, chat: usize) -> String {
        self.chat_ids.get(chat).cloned().unwrap_or_default()
    }

    /// What a peer is called: its node's name if it wrote a log, or the end of its id.
    pub(super) fn peer_name(&self, peer: &str) -> String {
        let known = self.by_peer_id.get(peer);
        known.map_or_else(|| format!("…{}", tail(peer, 8)), |node| self.nodes[*node].name.clone())
    }
}

/// What a log calls something, as it may be shown.
fn shown(text: &str) -> String {
    let end = text.char_indices().nth(MAX_TEXT_CHARS).map_or(text.len(), |(at, _)| at);
    printable(&text[..end])
}

/// The last characters of a text.
pub(super) fn tail(text: &str, count: usize) -> &str {
    let start = text.char_indices().rev().nth(count.saturating_sub(1)).map_or(0, |(at, _)| at);
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::{super::line::parse, *};

    fn told(events: &[(&str, &str)]) -> Story {
        let mut story = Story::default();
        for (time, event) in events {
            let text = format!(
                r#"{{"timestamp":"2026-01-01T00:00:{time}Z","level":"INFO","node":"yzw","event":{event}}}"#
            );
            story.take(0, &parse(text.as_bytes()).expect("a line"));
        }
        story
    }

    #[test]
    fn who_connects_before_a_node_says_that_it_is_up_counts_and_who_was_there_before_its_death_does_not()
     {
        let peer = |event: &str, peer: &str| format!(r#""{event}","peer":"{peer}""#);
        let (one, two) = (peer("peer_connected", "one"), peer("peer_connected", "two"));
        let story = told(&[
            ("01", r#""listening""#),
            ("01.1", &one),
            ("01.2", r#""node_started""#),
            ("02", &two),
            // Killed, and back.
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
        let story = told(&[
            ("01", r#""log_suppressed","of":"trade_accepted","count":7"#),
            ("02", r#""log_suppressed","of":"peer_connected","count":5"#),
            ("03", r#""friend_joined","peer":"p","name":"\u001b[31mred""#),
        ]);
        assert_eq!((story.suppressed, story.broken), (12, 0));
        let names = story.moments.iter().filter_map(|moment| match &moment.what {
            What::Joined(name) => Some(name.as_str()),
            _ => None,
        });
        assert_eq!(names.collect::<Vec<_>>(), ["\u{fffd}[31mred"]);
    }

    #[test]
    fn a_killed_node_was_not_up_until_it_listened_again() {
        let story = told(&[
            ("01", r#""listening""#),
            ("01.2", r#""node_started""#),
            ("05", r#""synced""#),
            // Killed, and back.
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
        let story = told(&[("01", &mined), ("01", sent), ("02", &mined), ("02", sent)]);
        assert_eq!((story.moments.len(), story.blocks.len(), story.chats.len()), (2, 1, 1));
    }

    #[test]
    fn no_text_of_a_log_can_move_the_cursor_or_is_long() {
        let long = "x".repeat(1_000);
        let story = told(&[
            ("01", r#""node_started","peer_id":"\u001b[2J""#),
            ("02", r#""node_started","peer_id":"\u001b[2J""#),
            ("03", r#""chat_sent","id":"\u001b","to":"\u001b[31m""#),
            ("04", &format!(r#""friend_joined","name":"{long}""#)),
        ]);
        assert_eq!(story.nodes.len(), 1);
        assert_eq!(story.nodes[0].peer_id.as_deref(), Some("\u{fffd}[2J"));
        assert_eq!(story.chats[0].to.as_deref(), Some("\u{fffd}[31m"));
        assert_eq!(story.chat_id(0), "\u{fffd}");
        let Some(What::Joined(name)) = story.moments.last().map(|moment| &moment.what) else {
            panic!("a friend")
        };
        assert_eq!(name.len(), MAX_TEXT_CHARS);
    }
}
