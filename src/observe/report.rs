//! Computes the figures of a [`Story`] by corrected clocks: the spread of blocks, trades and chat,
//! the nodes' shares, reorgs, and the time line.

use serde::{Serialize, Serializer};

use super::{
    clocks,
    line::Micros,
    story::{BlockStory, Happening, Journey, NodeId, Sighting, Story, tail},
};
use crate::primitives::{count_of_blocks, counted};

/// The percentiles of delays, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Spread {
    /// The number of delays.
    pub(super) count: usize,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

impl Spread {
    /// Computes the percentiles of delays in µs; `None` if there are no delays.
    fn of(mut delays: Vec<Micros>) -> Option<Self> {
        delays.sort_unstable();
        let last = delays.len().checked_sub(1)?;
        // The nearest rank, so that each figure is a delay that was measured.
        let rank = |percent: usize| {
            delays[(delays.len() * percent).div_ceil(100).saturating_sub(1).min(last)]
        };
        let millis = |delay: Micros| (delay as f64 / 100.0).round() / 10.0;
        Some(Self {
            count: delays.len(),
            p50: millis(rank(50)),
            p99: millis(rank(99)),
            max: millis(delays[last]),
        })
    }
}

/// A block and how it spread.
#[derive(Debug, Serialize)]
pub(super) struct BlockRow {
    pub(super) hash: String,
    pub(super) height: u32,
    pub(super) previous: Option<String>,
    /// The node that mined the block, if its log is among the inputs.
    pub(super) miner: Option<String>,
    /// The time of mining, or of the first sighting, in unix ms.
    pub(super) time: i64,
    pub(super) transactions: u64,
    /// The number of nodes that have the block on their best chain at the end.
    pub(super) holders: usize,
    /// True if another block of this height is on more best chains, or no best chain has this one.
    pub(super) stale: bool,
    /// The delays to the nodes that ran when the block was mined, without its miner.
    pub(super) spread_ms: Option<Spread>,
}

/// A trade or note and how it spread.
#[derive(Debug, Serialize)]
pub(super) struct TradeRow {
    pub(super) txid: String,
    pub(super) from: Option<String>,
    pub(super) time: i64,
    pub(super) spread_ms: Option<Spread>,
}

/// A chat line and how it spread.
#[derive(Debug, Serialize)]
pub(super) struct ChatRow {
    pub(super) id: String,
    pub(super) from: Option<String>,
    /// The receiver's name; `None` for a line to all.
    pub(super) to: Option<String>,
    pub(super) time: i64,
    pub(super) received: usize,
    /// The time until the sender knew that the receiver stored the line, in ms.
    pub(super) delivered_ms: Option<f64>,
    pub(super) spread_ms: Option<Spread>,
}

/// A reorg of one node: another branch became its best chain.
#[derive(Debug, Serialize)]
pub(super) struct ReorganisationRow {
    pub(super) node: String,
    pub(super) time: i64,
    pub(super) old_tip: String,
    pub(super) new_tip: String,
    pub(super) height: u32,
    pub(super) disconnected: u64,
    pub(super) connected: u64,
}

/// A node and its part in the story.
#[derive(Debug, Serialize)]
pub(super) struct NodeRow {
    pub(super) name: String,
    pub(super) peer_id: Option<String>,
    pub(super) version: Option<String>,
    pub(super) height: Option<u32>,
    pub(super) mined: usize,
    /// The number of its mined blocks that are stale.
    pub(super) stale: usize,
    pub(super) starts: usize,
    pub(super) reorganisations: usize,
    pub(super) penalties: u64,
    pub(super) warnings: u64,
    /// The node's share of all mined blocks, from 0 to 1.
    pub(super) mined_share: f64,
    /// The correction that was added to the node's clock, in ms.
    pub(super) clock_correction_ms: f64,
    /// The first and last line of each run, in unix ms.
    pub(super) sessions: Vec<(i64, i64)>,
    /// The number of connected peers after each change, with the unix ms of the change.
    pub(super) peers: Vec<(i64, u32)>,
}

/// The kind of a time line entry, for colours and filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Started,
    Stopped,
    Friend,
    Mined,
    Trade,
    Chat,
    Reorganised,
    Trouble,
}

impl Kind {
    /// Returns the name in JSON, which is also a CSS class of the page.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Friend => "friend",
            Self::Mined => "mined",
            Self::Trade => "trade",
            Self::Chat => "chat",
            Self::Reorganised => "reorganised",
            Self::Trouble => "trouble",
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One entry of the time line.
#[derive(Debug, Clone, Serialize)]
pub(super) struct MomentRow {
    /// The position in order of reading, which stays the same as more lines are read.
    #[serde(skip)]
    pub(super) id: usize,
    pub(super) time: i64,
    pub(super) node: String,
    pub(super) kind: Kind,
    /// A sentence without its subject, which is the node.
    pub(super) text: String,
}

/// The result of `observe`. Times are unix milliseconds by corrected clocks.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) lines: u64,
    /// Lines that could not be parsed.
    pub(super) broken_lines: u64,
    /// Lines that had been read before, from copies of logs.
    pub(super) repeated_lines: u64,
    /// Events that nodes did not log, since peers caused too many of them. The spreads then lack
    /// some arrivals.
    pub(super) suppressed_events: u64,
    pub(super) from: Option<i64>,
    pub(super) until: Option<i64>,
    pub(super) nodes: Vec<NodeRow>,
    /// All blocks in order of height.
    pub(super) blocks: Vec<BlockRow>,
    pub(super) trades: Vec<TradeRow>,
    pub(super) chat: Vec<ChatRow>,
    pub(super) reorganisations: Vec<ReorganisationRow>,
    pub(super) stale_blocks: usize,
    pub(super) trades_refused: u64,
    /// The delays of all blocks to all nodes; likewise of trades and chat lines below.
    pub(super) block_spread_ms: Option<Spread>,
    pub(super) trade_spread_ms: Option<Spread>,
    pub(super) chat_spread_ms: Option<Spread>,
    /// All entries in order of time.
    pub(super) timeline: Vec<MomentRow>,
    #[serde(skip)]
    pub(super) curves: Curves,
}

/// All delays in ms, sorted, for the spread curves.
#[derive(Debug, Default)]
pub(super) struct Curves {
    pub(super) blocks: Vec<f64>,
    pub(super) trades: Vec<f64>,
    pub(super) chat: Vec<f64>,
}

/// A story with corrected clocks.
struct CorrectedStory<'a> {
    story: &'a Story,
    corrections: Vec<Micros>,
    names: Vec<String>,
    /// The start of each node's runs, in order of time.
    starts: Vec<Vec<Micros>>,
}

impl<'a> CorrectedStory<'a> {
    fn of(story: &'a Story) -> Self {
        let starts = story.nodes.iter().map(|node| {
            let mut starts: Vec<_> = node.sessions.iter().map(|session| session.first).collect();
            starts.sort_unstable();
            starts
        });
        Self {
            story,
            corrections: clocks::corrections(story),
            names: names(story),
            starts: starts.collect(),
        }
    }

    /// Corrects a time of a node's own clock, in µs.
    fn corrected(&self, node: NodeId, time: Micros) -> Micros {
        time.saturating_add(self.corrections[node])
    }

    /// Corrects a time of a node's own clock, and returns it in ms.
    fn millis(&self, node: NodeId, time: Micros) -> i64 {
        self.corrected(node, time).div_euclid(1_000)
    }

    fn name(&self, node: NodeId) -> String {
        self.names[node].clone()
    }

    /// Returns the delay to each node that was running at departure. A node that started later
    /// fetched the data itself, so it does not count.
    fn delays(&self, journey: &Journey) -> Vec<Micros> {
        let Some((origin, sent)) = journey.departure() else { return Vec::new() };
        let sent = self.corrected(origin, sent);
        // True if the run in which the node saw it had begun by the departure.
        let was_up = |(node, came): &&Sighting| {
            let starts = &self.starts[*node];
            let before = starts.partition_point(|first| first <= came);
            let first = before.checked_sub(1).map(|last| starts[last]);
            *node != origin && first.is_some_and(|first| self.corrected(*node, first) <= sent)
        };
        let sightings = journey.sightings.iter().filter(was_up);
        sightings
            .map(|(node, came)| self.corrected(*node, *came).saturating_sub(sent).max(0))
            .collect()
    }

    /// Returns the time of departure or of the first sighting, whichever is earlier.
    fn first(&self, journey: &Journey) -> i64 {
        let seen = journey.departure().into_iter().chain(journey.sightings.iter().copied());
        seen.map(|(node, time)| self.millis(node, time)).min().unwrap_or(0)
    }

    /// Returns, for each block, whether another block of its height is on more best chains, or no
    /// best chain has it.
    fn stale(&self) -> Vec<bool> {
        let mut most = std::collections::HashMap::new();
        for block in &self.story.blocks {
            let best: &mut usize = most.entry(block.height).or_default();
            *best = block.holders.len().max(*best);
        }
        let blocks = self.story.blocks.iter();
        blocks
            .map(|block| block.holders.len() < most.get(&block.height).copied().unwrap_or(0).max(1))
            .collect()
    }

    /// Describes an entry of the time line.
    fn sentence(&self, happening: &Happening) -> (Kind, String) {
        let story = self.story;
        match happening {
            Happening::Started => (Kind::Started, "started".to_owned()),
            Happening::Stopped => (Kind::Stopped, "stopped".to_owned()),
            Happening::Joined(name) => (Kind::Friend, format!("sees {name}")),
            Happening::Left { name, said_goodbye: true } => {
                (Kind::Friend, format!("{name} said goodbye"))
            }
            Happening::Left { name, said_goodbye: false } => (Kind::Friend, format!("lost {name}")),
            Happening::Mined(block) => (Kind::Mined, self.mined(&story.blocks[*block])),
            Happening::Traded(trade) => {
                let (id, reached) = (story.trade_id(*trade), self.reached(&story.trades[*trade]));
                let id = id.get(..8).unwrap_or_default();
                (Kind::Trade, format!("made trade {id}…: reached {reached}"))
            }
            Happening::Chatted(chat) => {
                let chat = &story.chats[*chat];
                let to = chat.to.as_ref().map_or("all".to_owned(), |peer| story.peer_name(peer));
                (Kind::Chat, format!("wrote to {to}: reached {}", self.reached(&chat.journey)))
            }
            Happening::Reorganised(at) => {
                let change = &story.reorganisations[*at];
                let (left, joined, height) = (change.disconnected, change.connected, change.height);
                let (left, others) = (count_of_blocks(left), counted(joined, "other", "others"));
                let text = format!("left {left} for {others}, now at height {height}");
                (Kind::Reorganised, text)
            }
            Happening::Stalled(height) => {
                (Kind::Trouble, format!("makes no progress at height {height}"))
            }
            Happening::Penalised { peer, offence } => {
                (Kind::Trouble, format!("penalised {} for {offence}", story.peer_name(peer)))
            }
            Happening::Deaf(peer) => {
                (Kind::Trouble, format!("gossip of {} went deaf", story.peer_name(peer)))
            }
        }
    }

    fn mined(&self, block: &BlockStory) -> String {
        let hash = data_encoding::HEXLOWER.encode(&block.hash);
        let (end, reached) = (tail(&hash, 8), self.reached(&block.journey));
        format!("mined block {} …{end}: reached {reached}", block.height)
    }

    /// Describes how many other nodes a journey reached, and the delay of the last one.
    fn reached(&self, journey: &Journey) -> String {
        match Spread::of(self.delays(journey)) {
            Some(spread) => {
                let count = u64::try_from(spread.count).unwrap_or(u64::MAX);
                format!("{} in {} ms", counted(count, "other", "others"), spread.max)
            }
            None => "nobody else".to_owned(),
        }
    }

    /// Returns the rows of all blocks in order of height, and all their delays.
    fn blocks(&self, stale: &[bool]) -> (Vec<BlockRow>, Vec<Micros>) {
        let mut all_delays = Vec::new();
        let blocks = self.story.blocks.iter().zip(stale).map(|(block, stale)| {
            let delays = self.delays(&block.journey);
            all_delays.extend_from_slice(&delays);
            BlockRow {
                hash: data_encoding::HEXLOWER.encode(&block.hash),
                height: block.height,
                previous: block.previous.map(|hash| data_encoding::HEXLOWER.encode(&hash)),
                miner: block.journey.origin.map(|(node, _)| self.name(node)),
                time: self.first(&block.journey),
                transactions: block.transactions,
                holders: block.holders.len(),
                stale: *stale,
                spread_ms: Spread::of(delays),
            }
        });
        let mut blocks: Vec<_> = blocks.collect();
        blocks.sort_by_key(|block| (block.height, block.stale, block.time));
        (blocks, all_delays)
    }

    /// Returns the rows of all trades and notes in order of time, and all their delays.
    fn trades(&self) -> (Vec<TradeRow>, Vec<Micros>) {
        let mut all_delays = Vec::new();
        let trades = self.story.trades.iter().enumerate().map(|(trade, journey)| {
            let delays = self.delays(journey);
            all_delays.extend_from_slice(&delays);
            TradeRow {
                txid: self.story.trade_id(trade),
                from: journey.origin.map(|(node, _)| self.name(node)),
                time: self.first(journey),
                spread_ms: Spread::of(delays),
            }
        });
        let mut trades: Vec<_> = trades.collect();
        trades.sort_by_key(|trade| trade.time);
        (trades, all_delays)
    }

    /// Returns the rows of all chat lines in order of time, and all their delays.
    fn chat(&self) -> (Vec<ChatRow>, Vec<Micros>) {
        let mut all_delays = Vec::new();
        let chat = self.story.chats.iter().enumerate().map(|(at, chat)| {
            let delays = self.delays(&chat.journey);
            all_delays.extend_from_slice(&delays);
            let delivered = chat.journey.origin.zip(chat.delivered);
            ChatRow {
                id: self.story.chat_id(at),
                from: chat.journey.origin.map(|(node, _)| self.name(node)),
                to: chat.to.as_ref().map(|peer| self.story.peer_name(peer)),
                time: self.first(&chat.journey),
                received: chat.journey.sightings.len(),
                delivered_ms: delivered
                    .map(|((_, sent), (_, known))| known.saturating_sub(sent) as f64 / 1_000.0),
                spread_ms: Spread::of(delays),
            }
        });
        let mut chat: Vec<_> = chat.collect();
        chat.sort_by_key(|line| line.time);
        (chat, all_delays)
    }

    /// Returns the time line in order of corrected time.
    fn timeline(&self) -> Vec<MomentRow> {
        let mut moments: Vec<_> = self.story.moments.iter().enumerate().collect();
        moments.sort_by_key(|(_, moment)| self.corrected(moment.node, moment.time));
        let rows = moments.into_iter().map(|(id, moment)| {
            let (kind, text) = self.sentence(&moment.happening);
            MomentRow {
                id,
                time: self.millis(moment.node, moment.time),
                node: self.name(moment.node),
                kind,
                text,
            }
        });
        rows.collect()
    }

    /// Returns the reorgs of all nodes in order of time.
    fn reorganisations(&self) -> Vec<ReorganisationRow> {
        let rows = self.story.reorganisations.iter().map(|change| ReorganisationRow {
            node: self.name(change.node),
            time: self.millis(change.node, change.time),
            old_tip: change.old_tip.clone(),
            new_tip: change.new_tip.clone(),
            height: change.height,
            disconnected: change.disconnected,
            connected: change.connected,
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by_key(|change| change.time);
        rows
    }

    /// Returns a row for each node.
    fn nodes(&self, stale: &[bool]) -> Vec<NodeRow> {
        let story = self.story;
        let count = |by: &mut dyn Iterator<Item = NodeId>| {
            let mut counts = vec![0_usize; story.nodes.len()];
            by.for_each(|node| counts[node] += 1);
            counts
        };
        let miner = |block: &BlockStory| block.journey.origin.map(|(node, _)| node);
        let mined = count(&mut story.blocks.iter().filter_map(miner));
        let stale_blocks = story.blocks.iter().zip(stale).filter(|(_, stale)| **stale);
        let own_stale = count(&mut stale_blocks.filter_map(|(block, _)| miner(block)));
        let changes = count(&mut story.reorganisations.iter().map(|change| change.node));
        let all = mined.iter().sum::<usize>().max(1) as f64;
        let rows = story.nodes.iter().enumerate().map(|(id, node)| NodeRow {
            name: self.name(id),
            peer_id: node.peer_id.clone(),
            version: node.version.clone(),
            height: node.height,
            mined: mined[id],
            stale: own_stale[id],
            starts: node.sessions.len(),
            reorganisations: changes[id],
            penalties: node.penalties,
            warnings: node.warnings,
            mined_share: mined[id] as f64 / all,
            clock_correction_ms: self.corrections[id] as f64 / 1_000.0,
            sessions: node
                .sessions
                .iter()
                .map(|session| (self.millis(id, session.first), self.millis(id, session.last)))
                .collect(),
            peers: node
                .peers
                .iter()
                .map(|(time, count)| (self.millis(id, *time), *count))
                .collect(),
        });
        rows.collect()
    }
}

/// Returns the nodes' names. Nodes that share a name also get the end of their peer id.
fn names(story: &Story) -> Vec<String> {
    let shared = |name: &str| story.nodes.iter().filter(|node| node.name == name).count() > 1;
    let named = story.nodes.iter().map(|node| match &node.peer_id {
        Some(peer_id) if shared(&node.name) => format!("{}#{}", node.name, tail(peer_id, 4)),
        _ => node.name.clone(),
    });
    named.collect()
}

/// Returns delays in ms, sorted.
fn curve(mut delays: Vec<Micros>) -> Vec<f64> {
    delays.sort_unstable();
    delays.into_iter().map(|delay| delay as f64 / 1_000.0).collect()
}

impl Report {
    /// Computes all figures of a story.
    pub(super) fn of(story: &Story) -> Self {
        let corrected = CorrectedStory::of(story);
        let stale = corrected.stale();
        let (blocks, block_delays) = corrected.blocks(&stale);
        let (trades, trade_delays) = corrected.trades();
        let (chat, chat_delays) = corrected.chat();
        let nodes = corrected.nodes(&stale);
        let sessions = || nodes.iter().flat_map(|node| &node.sessions);
        Self {
            lines: story.lines,
            broken_lines: story.broken,
            repeated_lines: story.repeated,
            suppressed_events: story.suppressed,
            from: sessions().map(|(first, _)| *first).min(),
            until: sessions().map(|(_, last)| *last).max(),
            timeline: corrected.timeline(),
            blocks,
            trades,
            chat,
            reorganisations: corrected.reorganisations(),
            stale_blocks: stale.iter().filter(|stale| **stale).count(),
            trades_refused: story.refused,
            block_spread_ms: Spread::of(block_delays.clone()),
            trade_spread_ms: Spread::of(trade_delays.clone()),
            chat_spread_ms: Spread::of(chat_delays.clone()),
            nodes,
            curves: Curves {
                blocks: curve(block_delays),
                trades: curve(trade_delays),
                chat: curve(chat_delays),
            },
        }
    }
}
