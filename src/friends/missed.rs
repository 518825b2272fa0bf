//! Lines to all that a peer missed: sending them to it, and fetching them from others.
//!
//! Everybody keeps lines to all for [`KEPT_MS`]. A node that was away asks its peers for the ids of
//! such lines, page by page, and then for the lines that it lacks.
//!
//! # Security
//! A line carries its author's signature, so a peer can leave lines out but cannot make any. A
//! missed line pushes no other line out. Strangers get no lines, and lines of banned authors are
//! not sent.

use redb::ReadableTable as _;
use serde_bytes::ByteBuf;

use super::{
    ChatError, Friends, ReceiveError, StoreFault,
    chat::{MAX_TIME_APART_MS, check_text},
    conversations::{self, KEPT_MS, read_line},
};
use crate::{
    peers::Level,
    primitives::{BlockHash, PeerId, PublicKey, UnixMillis},
    wire::{
        LineIds, MessageId, SignedLine,
        limits::{LINE_ID_BYTES, MAX_GET_LINES, MAX_LINE_IDS},
    },
};

/// The greatest age of a line by the clock of the peer that sends it, in ms. It is one day more
/// than [`KEPT_MS`], since the clock in the peer's Status may be a little wrong.
const TOLD_MS: u64 = 31 * 24 * 60 * 60 * 1_000;
/// The most rows of the list that one page reads.
const MAX_VISITED: usize = 4_096;

/// A peer's answer to our request for lines.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The ids that the peer was asked for, in order.
    pub(crate) asked: Vec<MessageId>,
    pub(crate) lines: Vec<SignedLine>,
    /// The peer's clock, by its last Status.
    pub(crate) their_clock: UnixMillis,
}

/// The result of an answer without fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Missed {
    /// Number of lines that were added to the history.
    pub(crate) stored: u32,
    /// True if an author's share was used up, so that the rest must be requested later.
    pub(crate) is_cut: bool,
}

/// True if a line of this time is neither too old nor from the future.
const fn is_kept(time: UnixMillis, now: UnixMillis) -> bool {
    time.saturating_add(KEPT_MS) >= now && time <= now.saturating_add(MAX_TIME_APART_MS)
}

/// True if a peer with this clock may send a line of this time.
const fn may_be_told(time: UnixMillis, their_clock: UnixMillis) -> bool {
    time.saturating_add(TOLD_MS) >= their_clock
        && time <= their_clock.saturating_add(2 * MAX_TIME_APART_MS)
}

impl Friends {
    /// Returns a page of the ids of lines to all for a peer, starting at a place.
    pub(crate) fn line_ids(
        &self,
        to: &PeerId,
        place: u64,
        now: UnixMillis,
    ) -> Result<LineIds, StoreFault> {
        let mut page = LineIds { ids: ByteBuf::new(), next: place };
        if self.level(to) == Level::Stranger {
            return Ok(page);
        }
        self.store.view(|tables| {
            for row in tables.chat_to_all.range(place..)?.take(MAX_VISITED) {
                if page.ids.len() >= MAX_LINE_IDS * LINE_ID_BYTES {
                    break;
                }
                let (order, row) = row?;
                let (id, time, author, network) = row.value();
                page.next = order.value().saturating_add(1);
                let author = PeerId(PublicKey(*author));
                let is_told = BlockHash(*network) == self.network
                    && is_kept(time, now)
                    && !self.is_banned(&author, now);
                if is_told {
                    page.ids.extend_from_slice(id);
                }
            }
            Ok(page)
        })
    }

    /// Returns the requested lines that we keep and may send to this peer.
    pub(crate) fn lines(
        &self,
        to: &PeerId,
        ids: &[MessageId],
        now: UnixMillis,
    ) -> Result<Vec<SignedLine>, StoreFault> {
        if self.level(to) == Level::Stranger {
            return Ok(Vec::new());
        }
        self.store.view(|tables| {
            let mut lines = Vec::new();
            for id in ids.iter().take(MAX_GET_LINES) {
                let Some(order) = tables.chat_ids.get(&id.0)?.map(|order| order.value()) else {
                    continue;
                };
                let Some(row) = tables.chat.get(order)? else { continue };
                let line = read_line(row.value().3)?;
                // The id covers the network, so a line of another network has another id here.
                let is_told = line.to.is_none()
                    && line.id(&self.network) == *id
                    && is_kept(line.time, now)
                    && !self.is_banned(&line.author, now);
                if is_told {
                    lines.push(line);
                }
            }
            Ok(lines)
        })
    }

    /// Returns those of the ids whose lines are neither in the history nor in the box of requests.
    pub(crate) fn unknown_lines(&self, ids: Vec<MessageId>) -> Result<Vec<MessageId>, StoreFault> {
        self.store.view(|tables| {
            let mut unknown = Vec::new();
            for id in ids {
                if tables.chat_ids.get(&id.0)?.is_none() && !self.has_request(id) {
                    unknown.push(id);
                }
            }
            Ok(unknown)
        })
    }

    /// Stores the lines of a peer's answer, up to the first one that an honest peer would not send.
    pub(crate) fn receive_missed(
        &mut self,
        answer: Answer,
        now: UnixMillis,
    ) -> Result<Missed, ReceiveError> {
        let Answer { asked, lines, their_clock } = answer;
        let mut asked = asked.into_iter();
        let mut missed = Missed::default();
        for line in lines {
            let (author, id) = (line.author, line.id(&self.network));
            // Consumes the ids up to this one, so that no line comes twice or out of order.
            if !asked.any(|wanted| wanted == id) {
                return Err(ReceiveError::NotAsked { author });
            }
            if line.to.is_some() {
                return Err(ReceiveError::WrongAddressee { author });
            }
            // The peer's clock may have been changed since its Status.
            if !may_be_told(line.time, their_clock) && !is_kept(line.time, now) {
                return Err(ReceiveError::OutOfTime { author });
            }
            line.verify(&self.network)?;
            if check_text(&line.text).is_err_and(|error| matches!(error, ChatError::Empty)) {
                return Err(ReceiveError::Empty { author });
            }
            let is_ours = author == self.me || self.is_banned(&author, now);
            if is_ours || !is_kept(line.time, now) || self.unknown_lines(vec![id])?.is_empty() {
                continue;
            }
            if !self.may_chat(&author) {
                self.keep_missed_request(id, line, now)?;
            } else if self.lines.have_room(conversations::of(self.me, &line)) {
                if !self.rates.take_missed(author, (self.clock)()) {
                    missed.is_cut = true;
                    return Ok(missed);
                }
                self.keep_received(id, line, now)?;
                missed.stored = missed.stored.saturating_add(1);
            }
        }
        Ok(missed)
    }

    /// Puts a missed line into the box of requests, if there is room. Its author is no friend.
    fn keep_missed_request(
        &mut self,
        id: MessageId,
        line: SignedLine,
        now: UnixMillis,
    ) -> Result<(), StoreFault> {
        let author = line.author;
        let level = self.level(&author);
        if self.has_room_for_request(&author) && self.rates.take(author, level, (self.clock)()) {
            self.keep_request(id, line, now)?;
        }
        Ok(())
    }
}
