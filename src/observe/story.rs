//! What the logs of several nodes tell together, gathered line by line. Times are still each node's own.

use std::collections::HashMap;

use super::line::{Fields, Line, Micros, hash};
use crate::primitives::printable;

/// Position of a node in [`Story::nodes`].
pub(super) type NodeId = usize;

/// More nodes than this are not told apart: a log with so many names is none of ours.
const MAX_NODES: usize = 10_000;

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

    /// The node that wrote a line. Two of one name in different logs are told apart once their peer ids differ.
    fn node_of(&mut self, log: usize, fields: &Fields<'_>) -> Option<NodeId> {
        let name = fields.node.as_ref();
        if let Some(peer_id) = &fields.peer_id
            && let Some(known) = self.nodes.iter().position(|node| node.peer_id.as_deref() == Some(peer_id))
        {
            self.by_name.insert((name.to_owned(), log), known);
            return Some(known);
        }
        let known = self.by_name.get(&(name.to_owned(), log)).copied();
        let is_other = |node: NodeId| fields.peer_id.is_some() && self.nodes[node].peer_id.is_some();
        if let Some(node) = known.filter(|node| !is_other(*node)) {
            if let Some(peer_id) = &fields.peer_id {
                self.nodes[node].peer_id = Some(peer_id.to_string());
            }
            return Some(node);
        }
        // Rotated files of one node: the name alone, as long as no peer id says otherwise.
        let same = self.nodes.iter().position(|node| node.name == name && fields.peer_id.is_none());
        let node = match same {
            Some(node) => node,
            None if self.nodes.len() >= MAX_NODES => return None,
            None => {
                let peer_id = fields.peer_id.as_ref().map(ToString::to_string);
                self.nodes.push(NodeStory { name: printable(name), peer_id, ..NodeStory::default() });
                self.nodes.len() - 1
            }
        };
        self.by_name.insert((name.to_owned(), log), node);
        Some(node)
    }

    /// Takes up an event; `None` when a field is missing that it always has.
    fn event(&mut self, event: &str, node: NodeId, time: Micros, fields: &Fields<'_>) -> Option<()> {
        let mut tell = |what| self.moments.push(Moment { time, node, what });
        let owned = |text: &Option<std::borrow::Cow<'_, str>>| printable(text.as_deref().unwrap_or_default());
        match event {
            "node_started" => {
                tell(What::Started);
                // A node listens, and peers may come, a little before it says that it is up.
                let story = &mut self.nodes[node];
                let since = story.listening.map_or(time, |listening| listening.since.saturating_sub(START));
                let connected = self.connected.entry(node).or_default();
                connected.retain(|_, at| *at >= since);
                let count = u32::try_from(connected.len()).unwrap_or(u32::MAX);
                story.version = fields.version.as_deref().map(printable);
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
                    self.chats[chat].to = fields.to.as_ref().map(ToString::to_string);
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
                tell(What::Penalised { peer: owned(&fields.peer), offence: owned(&fields.offence) });
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
        self.chat_ids.push(id.to_owned());
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
        let known = self.nodes.iter().find(|node| node.peer_id.as_deref() == Some(peer));
        known.map_or_else(|| format!("…{}", tail(peer, 8)), |node| node.name.clone())
    }
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
            let text =
                format!(r#"{{"timestamp":"2026-01-01T00:00:{time}Z","level":"INFO","node":"yzw","event":{event}}}"#);
            story.take(0, &parse(text.as_bytes()).expect("a line"));
        }
        story
    }

    #[test]
    fn who_connects_before_a_node_says_that_it_is_up_counts_and_who_was_there_before_its_death_does_not() {
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
        let runs: Vec<_> =
            story.nodes[0].sessions.iter().map(|session| (tenth(session.first), tenth(session.last))).collect();
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
}
