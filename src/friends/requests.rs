//! The box of requests: lines of authors whom the user neither accepted nor wrote to.
//!
//! The box is small and on the disk. When it is full, lines of strangers are dropped before those
//! of introduced peers. A line moves to the chat once the user accepts its author or writes to it.

use std::collections::BTreeMap;

use redb::ReadableTable as _;

use super::{
    ChatRecord, Friends, LineState, StoreFault,
    conversations::read_line,
    store::{META_ORDER, Store},
};
use crate::{
    primitives::{PeerId, UnixMillis},
    wire::{MessageId, SignedLine, codec},
};

/// The most lines in the box of requests: at most 400 kB.
pub(crate) const MAX_REQUEST_LINES: usize = 100;
/// The most lines of one author in the box. A further line replaces the author's oldest line to
/// all. Behind five direct lines it is refused for now, so that its sender keeps it.
pub(crate) const MAX_REQUEST_LINES_OF_ONE: usize = 5;

/// A line in the box.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) id: MessageId,
    pub(super) received: UnixMillis,
    pub(super) line: SignedLine,
}

/// Reads the box from the disk, by order of arrival.
pub(super) fn load(store: &Store) -> Result<BTreeMap<u64, Request>, StoreFault> {
    store.view(|tables| {
        let mut requests = BTreeMap::new();
        for row in tables.requests.iter()? {
            let (order, row) = row?;
            let (id, received, bytes) = row.value();
            let request = Request { id: MessageId(*id), received, line: read_line(bytes)? };
            requests.insert(order.value(), request);
        }
        Ok(requests)
    })
}

impl Friends {
    pub(super) fn has_request(&self, id: MessageId) -> bool {
        self.requests.values().any(|request| request.id == id)
    }

    /// Puts a line into the box, which is not full for its author.
    pub(super) fn keep_request(
        &mut self,
        id: MessageId,
        line: SignedLine,
        now: UnixMillis,
    ) -> Result<(), StoreFault> {
        let author = line.author;
        let evicted = self.request_to_evict(&author);
        let bytes = codec::encode(&line);
        let order = self.store.write(|tables| {
            let order = tables.next(META_ORDER)?;
            if let Some(evicted) = evicted {
                tables.requests.remove(evicted)?;
            }
            tables.requests.insert(order, (&id.0, now, &bytes[..]))?;
            Ok::<_, StoreFault>(order)
        })?;
        if let Some(evicted) = evicted {
            self.requests.remove(&evicted);
        }
        self.requests.insert(order, Request { id, received: now, line });
        self.tell_of_request(author);
        Ok(())
    }

    /// True if one more line to all of this author pushes no other line out of the box.
    pub(super) fn has_room_for_request(&self, author: &PeerId) -> bool {
        let own = self.requests.values().filter(|held| held.line.author == *author);
        self.requests.len() < MAX_REQUEST_LINES && own.count() < MAX_REQUEST_LINES_OF_ONE
    }

    /// Returns the line that makes room for one more of this author.
    fn request_to_evict(&self, author: &PeerId) -> Option<u64> {
        let own = || self.requests.iter().filter(|(_, held)| held.line.author == *author);
        if own().count() >= MAX_REQUEST_LINES_OF_ONE {
            return own().find(|(_, held)| held.line.to.is_none()).map(|(order, _)| *order);
        }
        if self.requests.len() < MAX_REQUEST_LINES {
            return None;
        }
        let rows = self.requests.iter();
        rows.min_by_key(|(order, held)| (self.level(&held.line.author), **order))
            .map(|(order, _)| *order)
    }

    /// True if the box accepts no further line of this author: it has as many direct lines there as
    /// it may have, or all lines there are of authors of a higher level.
    pub(super) fn is_box_full_for(&self, author: &PeerId) -> bool {
        let own = || self.requests.values().filter(|held| held.line.author == *author);
        if own().count() >= MAX_REQUEST_LINES_OF_ONE {
            return own().all(|held| held.line.to.is_some());
        }
        let level = self.level(author);
        self.requests.len() >= MAX_REQUEST_LINES
            && self.requests.values().all(|held| self.level(&held.line.author) > level)
    }

    /// Takes an author's lines out of the box in memory. The caller removes them from the disk.
    pub(super) fn take_requests(&mut self, author: &PeerId) -> BTreeMap<u64, Request> {
        let is_theirs = |_: &u64, held: &mut Request| held.line.author == *author;
        self.requests.extract_if(.., is_theirs).collect()
    }

    /// Returns the newest `limit` lines in the box, the oldest first. `accept-friend` accepts the
    /// author names in them.
    pub(crate) fn requests(&self, limit: usize) -> Vec<ChatRecord> {
        let newest = self.requests.values().rev().take(limit).map(|held| {
            let Request { id, received, line } = held.clone();
            let from_name = self.full_label(&line.author);
            ChatRecord { from_name, ..self.record(id, line, received, LineState::Received) }
        });
        let mut records: Vec<_> = newest.collect();
        records.reverse();
        records
    }
}
