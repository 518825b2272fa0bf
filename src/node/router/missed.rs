//! Asks peers for lines to all that this node missed, and serves lines that they missed.
//!
//! The router asks each friend and introduced peer after its hello, after this machine has slept,
//! and again after a while. Each round continues at the place in the peer's list where the last one
//! ended. While the node catches up after it was alone or asleep, gossiped lines are held, so that
//! an author's older lines come before newer ones.
//!
//! # Security
//! Lines are held for [`HOLD`] at most, and then not again while another such peer is connected. A
//! peer that comes back again and again, and never answers, thus delays nobody's lines.

use std::{collections::VecDeque, time::Duration};

use serde_bytes::ByteBuf;
use tokio::time::Instant;

use super::{Done, Purpose, Router, network::log_unsent};
use crate::{
    friends::{Answer, Missed, ReceiveError},
    net::{GossipId, ReplyId},
    node::clock::{moment, now},
    peers::{Level, Offence},
    primitives::{PeerId, doubled},
    wire::{
        ChatGossip, ChatRequest, ChatResponse, LineIds, MessageId, Request, Response, SignedLine,
        Topic,
        limits::{LINE_ID_BYTES, MAX_GET_LINES},
    },
};

/// Time from the end of one round of requests to the next. It doubles with each round that finds
/// nothing new, up to [`MAX_REPEAT`].
const REPEAT: Duration = Duration::from_mins(1);
/// The longest time from one round to the next.
const MAX_REPEAT: Duration = Duration::from_mins(5);
/// The first pause after a failed round. It doubles up to [`MAX_RETRY`].
const RETRY: Duration = Duration::from_secs(15);
/// The longest pause after a failed round.
const MAX_RETRY: Duration = Duration::from_mins(10);
/// The most pages in one round: all ids that a node can list.
const MAX_PAGES: u32 = 128;
/// The longest time for which gossiped lines are held.
const HOLD: Duration = Duration::from_secs(5);
/// The most gossiped lines that are held. Further ones are stored at once.
const MAX_HELD: usize = 256;
/// Time for which a peer's gossip is refused because the friends thread has no room for it, in ms.
const MUTE_MS: u64 = 1_000;

/// The state of the requests to one peer for missed lines.
#[derive(Debug)]
pub(super) struct Asked {
    /// The place in the peer's list where the next page begins.
    place: u64,
    /// The place after the page that is being fetched.
    next: u64,
    /// Lines of the page that are not fetched yet.
    wanted: VecDeque<MessageId>,
    pages: u32,
    is_running: bool,
    /// Start of the first round. `None` once that round is complete.
    awaited: Option<Instant>,
    /// Time of the next round.
    due: Option<Instant>,
    failures: u32,
    /// The number of rounds in a row that found nothing new.
    quiet: u32,
}

impl Asked {
    pub(super) fn new() -> Self {
        Self {
            place: 0,
            next: 0,
            wanted: VecDeque::new(),
            pages: 0,
            is_running: false,
            awaited: Some(Instant::now()),
            due: None,
            failures: 0,
            quiet: 0,
        }
    }

    /// True if lines are held for this peer's first round. The node has had company since a time.
    fn is_awaited(&self, in_company: Instant, now: Instant) -> bool {
        let is_recent = |since: Instant| now.saturating_duration_since(since) < HOLD;
        self.awaited.is_some_and(is_recent) && is_recent(in_company)
    }
}

/// A gossiped line or goodbye that is held: until older ones are here, or until the friends thread
/// has room for it.
#[derive(Debug)]
pub(super) struct Held {
    peer: PeerId,
    message: GossipId,
    gossip: ChatGossip,
}

impl Held {
    const fn counter(&self) -> u64 {
        match &self.gossip {
            ChatGossip::Line(line) => line.counter,
            ChatGossip::Quit(quit) => quit.counter,
        }
    }
}

impl Router {
    /// True if a request to this peer may be sent now.
    pub(super) fn is_asked(&self, peer: &PeerId) -> bool {
        self.trust.level(peer) > Level::Stranger
    }

    /// Starts a round for this peer, unless one is running.
    pub(super) fn ask_missed(&mut self, peer: PeerId) {
        if !self.is_asked(&peer) {
            return;
        }
        let Some(state) = self.connected.get_mut(&peer) else { return };
        if state.status.is_none() || state.lines.is_running {
            return;
        }
        state.lines.is_running = true;
        state.lines.due = None;
        state.lines.pages = 0;
        self.ask_page(peer);
    }

    /// Starts a round for every peer, since this machine slept.
    pub(super) fn ask_all_missed(&mut self) {
        self.in_company = Instant::now();
        let here: Vec<PeerId> = self.connected.keys().copied().collect();
        for peer in here {
            if let Some(state) = self.connected.get_mut(&peer) {
                // Requests in flight have failed.
                state.lines = Asked { place: state.lines.place, ..Asked::new() };
            }
            self.ask_missed(peer);
        }
    }

    fn ask_page(&mut self, peer: PeerId) {
        let Some(state) = self.connected.get(&peer) else { return };
        let place = state.lines.place;
        let request = Request::Chat(ChatRequest::GetLineIds(place));
        self.request(peer, Purpose::LineIds { place }, &request);
    }

    /// Looks up which lines of a page we lack.
    pub(super) fn on_line_ids(&mut self, peer: PeerId, place: u64, page: LineIds) {
        let LineIds { ids, next } = page;
        if next < place || (next == place && !ids.is_empty()) {
            self.penalise(peer, Offence::WrongAnswer, "its list of lines does not go on");
            return self.end_asking(peer, false);
        }
        let ids = ids.as_chunks::<LINE_ID_BYTES>().0.iter().map(|id| MessageId(*id)).collect();
        let friends = self.friends.clone();
        self.spawn_work(async move {
            let wanted = friends.unknown_lines(ids).await.unwrap_or_default();
            Some(Done::MissedIds { peer, next, wanted })
        });
    }

    pub(super) fn on_missed_ids(&mut self, peer: PeerId, next: u64, wanted: Vec<MessageId>) {
        let Some(state) = self.connected.get_mut(&peer) else { return };
        if state.lines.is_running {
            state.lines.next = next;
            state.lines.wanted = wanted.into();
            self.ask_on(peer);
        }
    }

    /// Asks for the next lines or the next page, or ends the round.
    fn ask_on(&mut self, peer: PeerId) {
        let Some(state) = self.connected.get_mut(&peer) else { return };
        let lines = &mut state.lines;
        let count = lines.wanted.len().min(MAX_GET_LINES);
        let asked: Vec<MessageId> = lines.wanted.drain(..count).collect();
        if !asked.is_empty() {
            let ids: Vec<u8> = asked.iter().flat_map(|id| id.0).collect();
            let request = Request::Chat(ChatRequest::GetLines(ByteBuf::from(ids)));
            lines.quiet = 0;
            return self.request(peer, Purpose::Lines { asked }, &request);
        }
        let goes_on = lines.next > lines.place && lines.pages < MAX_PAGES;
        lines.place = lines.next;
        lines.pages = lines.pages.saturating_add(1);
        if goes_on { self.ask_page(peer) } else { self.end_asking(peer, true) }
    }

    /// Stores the lines of an answer.
    pub(super) fn on_lines(&self, peer: PeerId, asked: Vec<MessageId>, lines: Vec<SignedLine>) {
        let Some(clock) = self.connected.get(&peer).and_then(|state| state.clock) else { return };
        let their_clock = i128::from(clock).saturating_add(i128::from(moment()));
        let their_clock = u64::try_from(their_clock).unwrap_or(0);
        let friends = self.friends.clone();
        self.spawn_work(async move {
            let is_empty = lines.is_empty();
            let result = friends.receive_missed(Answer { asked, lines, their_clock }, now()).await;
            Some(Done::Missed { peer, is_empty, result })
        });
    }

    pub(super) fn on_missed(
        &mut self,
        peer: PeerId,
        is_empty: bool,
        result: Result<Missed, ReceiveError>,
    ) {
        match result {
            Ok(_) if is_empty => {
                self.penalise(peer, Offence::EmptyPromise, "it has none of the lines of its list");
                self.end_asking(peer, false);
            }
            Ok(Missed { is_cut: false, .. }) => self.ask_on(peer),
            Ok(Missed { is_cut: true, .. }) => self.end_asking(peer, false),
            Err(error) => {
                if let Some(offence) = error.offence() {
                    self.penalise(peer, offence, &error.to_string());
                }
                self.end_asking(peer, false);
            }
        }
    }

    /// Ends a round, and sets the time of the next one.
    pub(super) fn end_asking(&mut self, peer: PeerId, is_complete: bool) {
        if let Some(state) = self.connected.get_mut(&peer) {
            let lines = &mut state.lines;
            lines.is_running = false;
            lines.awaited = None;
            lines.wanted.clear();
            let pause = if is_complete {
                lines.failures = 0;
                let pause = doubled(REPEAT, lines.quiet, MAX_REPEAT);
                lines.quiet = lines.quiet.saturating_add(1);
                pause
            } else {
                let pause = doubled(RETRY, lines.failures, MAX_RETRY);
                lines.failures = lines.failures.saturating_add(1);
                pause
            };
            lines.due = Instant::now().checked_add(pause);
        }
        self.release_held();
    }

    /// Starts the rounds that are due, and stores lines that were held for too long.
    pub(super) fn ask_due(&mut self) {
        let now = Instant::now();
        let is_due = |asked: &Asked| asked.due.is_some_and(|due| due <= now);
        let due = self.connected.iter().filter(|(_, state)| is_due(&state.lines));
        for peer in due.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            self.ask_missed(peer);
        }
        self.release_held();
    }

    /// True while the node catches up, when older lines may still arrive.
    pub(super) fn is_catching_up(&self) -> bool {
        let now = Instant::now();
        let awaited = |(peer, state): (&PeerId, &super::Connected)| {
            state.lines.is_awaited(self.in_company, now) && self.is_asked(peer)
        };
        self.connected.iter().any(awaited)
    }

    /// Holds a gossiped line while older ones may still arrive, and any gossip while the friends
    /// thread has no room for it. Otherwise returns it.
    pub(super) fn hold(
        &mut self,
        peer: PeerId,
        message: GossipId,
        gossip: ChatGossip,
    ) -> Option<(PeerId, GossipId, ChatGossip)> {
        let waits = matches!(gossip, ChatGossip::Line(_)) && self.is_catching_up();
        let is_busy = self.friends.is_busy_for(self.trust.is_friend(&peer));
        if is_busy {
            log_unsent(self.net.mute(peer, Topic::Chat, MUTE_MS));
        }
        if self.held.len() >= MAX_HELD || !(waits || is_busy) {
            return Some((peer, message, gossip));
        }
        self.held.push(Held { peer, message, gossip });
        None
    }

    fn release_held(&mut self) {
        if self.held.is_empty() || self.is_catching_up() {
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        held.sort_by_key(Held::counter);
        for Held { peer, message, gossip } in held {
            self.chat_gossip(peer, message, gossip);
        }
    }

    /// Answers with a page of our list.
    pub(super) fn tell_line_ids(&self, peer: PeerId, reply: ReplyId, place: u64) {
        let (friends, net) = (self.friends.clone(), self.net.clone());
        self.spawn_work(async move {
            let page = friends.line_ids(peer, place, now()).await;
            let response = page.map_or(ChatResponse::Busy, ChatResponse::LineIds);
            log_unsent(net.respond(reply, &Response::Chat(response)));
            None
        });
    }

    /// Answers with lines of our list.
    pub(super) fn tell_lines(&self, peer: PeerId, reply: ReplyId, ids: &[u8]) {
        let ids = ids.as_chunks::<LINE_ID_BYTES>().0.iter().map(|id| MessageId(*id)).collect();
        let (friends, net) = (self.friends.clone(), self.net.clone());
        self.spawn_work(async move {
            let lines = friends.lines(peer, ids, now()).await;
            let response = lines.map_or(ChatResponse::Busy, ChatResponse::Lines);
            log_unsent(net.respond(reply, &Response::Chat(response)));
            None
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_held_once_and_not_for_each_peer_that_comes_back() {
        let start = Instant::now();
        let connected = |after| Asked { awaited: Some(start + after), ..Asked::new() };
        let first = connected(Duration::ZERO);
        assert!(first.is_awaited(start, start + HOLD / 2));
        assert!(!first.is_awaited(start, start + HOLD));
        let second = connected(HOLD / 2);
        assert!(second.is_awaited(start, start + HOLD * 3 / 4));
        for comes_back in 1..100 {
            let after = HOLD * comes_back;
            assert!(!connected(after).is_awaited(start, start + after));
        }
        let alone_until = start + HOLD * 200;
        assert!(connected(HOLD * 200).is_awaited(alone_until, alone_until), "it was alone");
    }
}
