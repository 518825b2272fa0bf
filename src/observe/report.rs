//! Figures from a [`Story`]: how fast things spread, what the chain became, and a time line, all by
//! corrected clocks.

use serde::Serialize;

use super::{
    clocks,
    line::Micros,
    story::{BlockStory, Journey, NodeId, Sighting, Story, What, tail},
};

/// Percentiles of a number of delays, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Spread {
    /// How many delays.
    pub(super) count: usize,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

impl Spread {
    /// Of delays in µs; `None` of none.
    fn of(mut delays: Vec<Micros>) -> Option<Self> {
        delays.sort_unstable();
        let last = delays.len().checked_sub(1)?;
        // The nearest rank: a delay that really was.
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
    /// The node that mined it, if its log is here.
    pub(super) miner: Option<String>,
    /// When it was mined, or first seen, unix ms.
    pub(super) time: i64,
    pub(super) transactions: u64,
    /// How many nodes have it on their best chain at the end.
    pub(super) holders: usize,
    /// It was on a best chain, or was mined, and no longer counts.
    pub(super) stale: bool,
    /// Over the nodes that were up when it was mined, but its miner.
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

/// A chat line and how long it took.
#[derive(Debug, Serialize)]
pub(super) struct ChatRow {
    pub(super) id: String,
    pub(super) from: Option<String>,
    /// None when to all.
    pub(super) to: Option<String>,
    pub(super) time: i64,
    pub(super) received: usize,
    /// Until its sender knew that it was kept, in ms.
    pub(super) delivered_ms: Option<f64>,
    pub(super) spread_ms: Option<Spread>,
}

/// Another branch became a node's best chain.
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

/// A node.
#[derive(Debug, Serialize)]
pub(super) struct NodeRow {
    pub(super) name: String,
    pub(super) peer_id: Option<String>,
    pub(super) version: Option<String>,
    pub(super) height: Option<u32>,
    pub(super) mined: usize,
    /// Of the mined ones, those that no longer count.
    pub(super) stale: usize,
    pub(super) starts: usize,
    pub(super) reorganisations: usize,
    pub(super) penalties: u64,
    pub(super) warnings: u64,
    /// Its share of all mined blocks.
    pub(super) mined_share: f64,
    /// What was added to its clock, in ms.
    pub(super) clock_correction_ms: f64,
    /// From start to last word, unix ms.
    pub(super) sessions: Vec<(i64, i64)>,
    /// When the number of its peers changed: unix ms and number.
    pub(super) peers: Vec<(i64, u32)>,
}

/// One line of the time line.
#[derive(Debug, Clone, Serialize)]
pub(super) struct MomentRow {
    /// Its position among all that was read: the same however much follows.
    #[serde(skip)]
    pub(super) id: usize,
    pub(super) time: i64,
    pub(super) node: String,
    /// `started`, `mined`, `trade` …: the kind, for colours and filters.
    pub(super) kind: &'static str,
    /// As a sentence.
    pub(super) text: String,
}

/// What `observe` found. Times are unix milliseconds by corrected clocks.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) lines: u64,
    /// Lines that could not be read.
    pub(super) broken_lines: u64,
    /// Lines that had been read already: of copies of logs.
    pub(super) repeated_lines: u64,
    /// Events that nodes did not log, since peers brought them about too often: then spreads are of
    /// some arrivals alone.
    pub(super) suppressed_events: u64,
    pub(super) from: Option<i64>,
    pub(super) until: Option<i64>,
    pub(super) nodes: Vec<NodeRow>,
    /// In order of height.
    pub(super) blocks: Vec<BlockRow>,
    pub(super) trades: Vec<TradeRow>,
    pub(super) chat: Vec<ChatRow>,
    pub(super) reorganisations: Vec<ReorganisationRow>,
    pub(super) stale_blocks: usize,
    pub(super) trades_refused: u64,
    /// Over all blocks, trades and chat lines.
    pub(super) block_spread_ms: Option<Spread>,
    pub(super) trade_spread_ms: Option<Spread>,
    pub(super) chat_spread_ms: Option<Spread>,
    /// In order of time.
    pub(super) timeline: Vec<MomentRow>,
    #[serde(skip)]
    pub(super) curves: Curves,
}

/// All delays in ms, sorted: what the spread curves are drawn from.
#[derive(Debug, Default)]
pub(super) struct Curves {
    pub(super) blocks: Vec<f64>,
    pub(super) trades: Vec<f64>,
    pub(super) chat: Vec<f64>,
}

/// A story with its clocks set right.
struct Told<'a> {
    story: &'a Story,
    corrections: Vec<Micros>,
    names: Vec<String>,
    /// When each node's runs began, in order.
    starts: Vec<Vec<Micros>>,
}

impl<'a> Told<'a> {
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

    fn corrected(&self, node: NodeId, time: Micros) -> Micros {
        time.saturating_add(self.corrections[node])
    }

    fn millis(&self, node: NodeId, time: Micros) -> i64 {
        self.corrected(node, time).div_euclid(1_000)
    }

    fn name(&self, node: NodeId) -> String {
        self.names[node].clone()
    }

    /// How long it took to each node that was up when it set out; one that came later fetched it,
    /// it did not spread.
    fn delays(&self, journey: &Journey) -> Vec<Micros> {
        let Some((origin, sent)) = journey.departure() else { return Vec::new() };
        let sent = self.corrected(origin, sent);
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

    /// Where it set out, or was seen first.
    fn first(&self, journey: &Journey) -> i64 {
        let seen = journey.departure().into_iter().chain(journey.sightings.iter().copied());
        seen.map(|(node, time)| self.millis(node, time)).min().unwrap_or(0)
    }

    /// Which block of each height most nodes hold.
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

    fn sentence(&self, what: &What) -> (&'static str, String) {
        let story = self.story;
        let took = |journey: &Journey| match Spread::of(self.delays(journey)) {
            Some(spread) => format!("{} others in {} ms", spread.count, spread.max),
            None => "nobody else".to_owned(),
        };
        match what {
            What::Started => ("started", "started".to_owned()),
            What::Stopped => ("stopped", "stopped".to_owned()),
            What::Joined(name) => ("friend", format!("sees {name}")),
            What::Left(name, how) if how == "quit" => ("friend", format!("{name} said goodbye")),
            What::Left(name, _) => ("friend", format!("lost {name}")),
            What::Mined(block) => {
                let block = &story.blocks[*block];
                let name = data_encoding::HEXLOWER.encode(&block.hash);
                (
                    "mined",
                    format!(
                        "mined block {} …{}: reached {}",
                        block.height,
                        tail(&name, 8),
                        took(&block.journey)
                    ),
                )
            }
            What::Traded(trade) => {
                let (id, journey) = (story.trade_id(*trade), &story.trades[*trade]);
                (
                    "trade",
                    format!(
                        "made trade {}…: reached {}",
                        id.get(..8).unwrap_or_default(),
                        took(journey)
                    ),
                )
            }
            What::Chatted(chat) => {
                let chat = &story.chats[*chat];
                let to = chat.to.as_ref().map_or("all".to_owned(), |peer| story.peer_name(peer));
                ("chat", format!("wrote to {to}: reached {}", took(&chat.journey)))
            }
            What::Reorganised(at) => {
                let change = &story.reorganisations[*at];
                let (left, joined, height) = (change.disconnected, change.connected, change.height);
                (
                    "reorganised",
                    format!("left {left} blocks for {joined} others, now at height {height}"),
                )
            }
            What::Stalled(height) => ("trouble", format!("makes no progress at height {height}")),
            What::Penalised { peer, offence } => {
                ("trouble", format!("penalised {} for {offence}", story.peer_name(peer)))
            }
            What::Deaf(peer) => {
                ("trouble", format!("gossip of {} went deaf", story.peer_name(peer)))
            }
        }
    }
}

/// Names, with the end of the peer id where two nodes share one.
fn names(story: &Story) -> Vec<String> {
    let shared = |name: &str| story.nodes.iter().filter(|node| node.name == name).count() > 1;
    let named = story.nodes.iter().map(|node| match &node.peer_id {
        Some(peer_id) if shared(&node.name) => format!("{}#{}", node.name, tail(peer_id, 4)),
        _ => node.name.clone(),
    });
    named.collect()
}

fn curve(mut delays: Vec<Micros>) -> Vec<f64> {
    delays.sort_unstable();
    delays.into_iter().map(|delay| delay as f64 / 1_000.0).collect()
}

impl Report {
    /// Everything that can be said of a story.
    pub(super) fn of(story: &Story) -> Self {
        let told = Told::of(story);
        let stale = told.stale();
        let (mut block_delays, mut trade_delays, mut chat_delays) =
            (Vec::new(), Vec::new(), Vec::new());

        let mut blocks: Vec<_> = story
            .blocks
            .iter()
            .zip(&stale)
            .map(|(block, stale)| {
                let delays = told.delays(&block.journey);
                block_delays.extend_from_slice(&delays);
                BlockRow {
                    hash: data_encoding::HEXLOWER.encode(&block.hash),
                    height: block.height,
                    previous: block.previous.map(|hash| data_encoding::HEXLOWER.encode(&hash)),
                    miner: block.journey.origin.map(|(node, _)| told.name(node)),
                    time: told.first(&block.journey),
                    transactions: block.transactions,
                    holders: block.holders.len(),
                    stale: *stale,
                    spread_ms: Spread::of(delays),
                }
            })
            .collect();
        blocks.sort_by_key(|block| (block.height, block.stale, block.time));

        let trades = story.trades.iter().enumerate().map(|(trade, journey)| {
            let delays = told.delays(journey);
            trade_delays.extend_from_slice(&delays);
            TradeRow {
                txid: story.trade_id(trade),
                from: journey.origin.map(|(node, _)| told.name(node)),
                time: told.first(journey),
                spread_ms: Spread::of(delays),
            }
        });
        let mut trades: Vec<_> = trades.collect();
        trades.sort_by_key(|trade| trade.time);

        let chat = story.chats.iter().enumerate().map(|(at, chat)| {
            let delays = told.delays(&chat.journey);
            chat_delays.extend_from_slice(&delays);
            let delivered = chat.journey.origin.zip(chat.delivered);
            ChatRow {
                id: story.chat_id(at),
                from: chat.journey.origin.map(|(node, _)| told.name(node)),
                to: chat.to.as_ref().map(|peer| story.peer_name(peer)),
                time: told.first(&chat.journey),
                received: chat.journey.sightings.len(),
                delivered_ms: delivered
                    .map(|((_, sent), (_, known))| known.saturating_sub(sent) as f64 / 1_000.0),
                spread_ms: Spread::of(delays),
            }
        });
        let mut chat: Vec<_> = chat.collect();
        chat.sort_by_key(|line| line.time);

        let mut moments: Vec<_> = story.moments.iter().enumerate().collect();
        moments.sort_by_key(|(_, moment)| told.corrected(moment.node, moment.time));
        let timeline = moments.into_iter().map(|(id, moment)| {
            let (kind, text) = told.sentence(&moment.what);
            MomentRow {
                id,
                time: told.millis(moment.node, moment.time),
                node: told.name(moment.node),
                kind,
                text,
            }
        });

        let mut reorganisations: Vec<_> = story
            .reorganisations
            .iter()
            .map(|change| ReorganisationRow {
                node: told.name(change.node),
                time: told.millis(change.node, change.time),
                old_tip: change.old_tip.clone(),
                new_tip: change.new_tip.clone(),
                height: change.height,
                disconnected: change.disconnected,
                connected: change.connected,
            })
            .collect();
        reorganisations.sort_by_key(|change| change.time);

        let nodes: Vec<_> = told.nodes(&stale);
        let sessions = || nodes.iter().flat_map(|node| &node.sessions);
        Self {
            lines: story.lines,
            broken_lines: story.broken,
            repeated_lines: story.repeated,
            suppressed_events: story.suppressed,
            from: sessions().map(|(first, _)| *first).min(),
            until: sessions().map(|(_, last)| *last).max(),
            timeline: timeline.collect(),
            blocks,
            trades,
            chat,
            reorganisations,
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

impl Told<'_> {
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
