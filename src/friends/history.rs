//! The history of the chat: the newest lines, a search, and the lines that are unread.
//!
//! Lines have places in the order of their arrival. A line to all may arrive after later ones of
//! its author, direct ones among them. Readers therefore get each author's lines in the order sent,
//! in the places that these lines occupy.

use std::{collections::HashMap, vec};

use redb::ReadableTable as _;

use super::{
    ChatRecord, Friends, LineState, StoreFault,
    conversations::{self, read_line},
    outbox,
    store::{META_ORDER, META_UNREAD, Store, Tables},
};
use crate::{primitives::PeerId, wire::MessageId};

/// The most lines that one call of [`Friends::history`] returns.
pub(crate) const MAX_HISTORY: usize = 10_000;
/// Lines before the requested ones that are read too, since an author's late line may be among
/// them.
const READ_BEFORE: usize = 256;
/// The most lines that one call of [`Friends::search`] reads: some milliseconds.
const MAX_SEARCHED: usize = 2_000;
/// The most lines that [`Friends::unread`] counts.
const MAX_UNREAD: usize = 10_000;

/// One part of a search's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The lines that match, newest first.
    pub(crate) records: Vec<ChatRecord>,
    /// The place before which to search next. `None` once all lines were searched.
    pub(crate) before: Option<u64>,
}

/// Sorts each author's lines, direct ones and those to all, by the order sent. Together they keep
/// the places that they occupy.
#[must_use]
pub(crate) fn in_sent_order(records: Vec<ChatRecord>) -> Vec<ChatRecord> {
    let mut authors = Vec::with_capacity(records.len());
    let mut lines: HashMap<_, Vec<ChatRecord>> = HashMap::new();
    for record in records {
        authors.push(record.from);
        lines.entry(record.from).or_default().push(record);
    }
    let mut lines: HashMap<_, vec::IntoIter<ChatRecord>> = lines
        .into_iter()
        .map(|(author, mut lines)| {
            lines.sort_by_key(|line| line.counter);
            (author, lines.into_iter())
        })
        .collect();
    authors.iter().filter_map(|author| lines.get_mut(author)?.next()).collect()
}

/// Marks all lines as read in a file that has no mark yet.
pub(super) fn begin_unread(store: &Store) -> Result<(), StoreFault> {
    let is_marked =
        |tables: &Tables<'_>| Ok::<_, StoreFault>(tables.meta.get(META_UNREAD)?.is_some());
    if store.view(is_marked)? {
        return Ok(());
    }
    store.write(|tables| {
        let next = tables.meta.get(META_ORDER)?.map_or(0, |next| next.value());
        tables.meta.insert(META_UNREAD, next)?;
        Ok(())
    })
}

impl Friends {
    /// Returns the last `limit` lines, the oldest first. With a `friend` these are the direct lines
    /// between us, and the friend's lines to all.
    pub(crate) fn history(
        &self,
        friend: Option<&PeerId>,
        limit: usize,
    ) -> Result<Vec<ChatRecord>, StoreFault> {
        let limit = limit.min(MAX_HISTORY);
        self.store.view(|tables| {
            let places = newest(tables, friend, u64::MAX, limit.saturating_add(READ_BEFORE))?;
            let mut records = Vec::with_capacity(places.len());
            for place in places.into_iter().rev() {
                records.extend(self.record_at(tables, place)?);
            }
            let mut records = in_sent_order(records);
            records.drain(..records.len().saturating_sub(limit));
            Ok(records)
        })
    }

    /// Returns lines before a place whose text holds `word` in capital or small letters. Reads a
    /// bounded number of lines.
    pub(crate) fn search(
        &self,
        friend: Option<&PeerId>,
        word: &str,
        before: u64,
        limit: usize,
    ) -> Result<Found, StoreFault> {
        let word = word.to_lowercase();
        self.store.view(|tables| {
            let places = newest(tables, friend, before, MAX_SEARCHED)?;
            let is_all = places.len() < MAX_SEARCHED;
            let (mut records, mut last) = (Vec::new(), before);
            for place in places {
                last = place;
                let record = self.record_at(tables, place)?;
                records.extend(record.filter(|record| record.text.to_lowercase().contains(&word)));
                if records.len() >= limit.min(MAX_HISTORY) {
                    return Ok(Found { records, before: Some(last) });
                }
            }
            Ok(Found { records, before: (!is_all).then_some(last) })
        })
    }

    /// Returns the number of unread received lines, either with a friend or all.
    pub(crate) fn unread(&self, friend: Option<&PeerId>) -> Result<u32, StoreFault> {
        self.store.view(|tables| {
            let first = tables.meta.get(META_UNREAD)?.map_or(0, |first| first.value());
            let mut unread = 0_u32;
            let mut count = |state: u8| {
                if LineState::from_number(state) == LineState::Received {
                    unread = unread.saturating_add(1);
                }
            };
            let Some(friend) = friend else {
                for row in tables.chat.range(first..)?.take(MAX_UNREAD) {
                    count(row?.1.value().2);
                }
                return Ok(unread);
            };
            for is_direct in [true, false] {
                let key = &friend.0.0;
                let rows = (key, is_direct, first)..=(key, is_direct, u64::MAX);
                for row in tables.chat_friends.range(rows)?.take(MAX_UNREAD) {
                    if let Some(line) = tables.chat.get(row?.0.value().2)? {
                        count(line.value().2);
                    }
                }
            }
            Ok(unread)
        })
    }

    /// Marks all lines as read. Returns how many were unread.
    pub(crate) fn mark_read(&mut self) -> Result<u32, StoreFault> {
        let unread = self.unread(None)?;
        self.store.write(|tables| {
            let next = tables.meta.get(META_ORDER)?.map_or(0, |next| next.value());
            let marked = tables.meta.get(META_UNREAD)?.map(|marked| marked.value());
            if marked != Some(next) {
                tables.meta.insert(META_UNREAD, next)?;
            }
            Ok::<_, StoreFault>(())
        })?;
        Ok(unread)
    }

    fn record_at(&self, tables: &Tables<'_>, place: u64) -> Result<Option<ChatRecord>, StoreFault> {
        let Some(row) = tables.chat.get(place)? else { return Ok(None) };
        let (id, received, state, bytes) = row.value();
        let state = LineState::from_number(state);
        let record = self.record(MessageId(*id), read_line(bytes)?, received, state);
        let left_with = match record.to {
            Some(to) if state == LineState::Queued => outbox::count_left(tables, &to, place)?,
            _ => 0,
        };
        Ok(Some(ChatRecord { left_with, ..record }))
    }
}

/// Returns the places of the newest `count` lines before a place, newest first. With a friend: only
/// those with the friend, direct and to all.
fn newest(
    tables: &Tables<'_>,
    friend: Option<&PeerId>,
    before: u64,
    count: usize,
) -> Result<Vec<u64>, StoreFault> {
    let mut places = Vec::new();
    let Some(friend) = friend else {
        for row in tables.chat.range(..before)?.rev().take(count) {
            places.push(row?.0.value());
        }
        return Ok(places);
    };
    for is_direct in [true, false] {
        let all = conversations::rows_of(&friend.0.0, is_direct);
        let rows = tables.chat_friends.range(*all.start()..(&friend.0.0, is_direct, before))?;
        for row in rows.rev().take(count) {
            places.push(row?.0.value().2);
        }
    }
    places.sort_unstable_by_key(|place| std::cmp::Reverse(*place));
    places.truncate(count);
    Ok(places)
}
