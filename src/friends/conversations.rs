//! Conversations group the lines of the chat and bound how many of each are kept.
//!
//! The lines of one conversation never push out those of another while both are within their
//! limits. Only when the whole history is full, the longest conversation loses its oldest line.

use std::collections::HashMap;

use redb::ReadableTable as _;

use super::{
    StoreFault,
    store::{Key32, Store, Tables},
};
use crate::{
    primitives::{NetworkId, PeerId, PublicKey, UnixMillis},
    wire::{MessageId, SignedLine, codec, limits::MAX_CHAT_REQUEST_BYTES},
};

/// The most lines in the history: at most 400 MB, usually 20 MB. Above this, the longest
/// conversation loses its oldest line. Conversations with peers whom the user did not choose come
/// first.
pub(crate) const MAX_LINES: u64 = 100_000;
/// The most direct lines with one peer. The oldest is dropped.
pub(crate) const MAX_DIRECT_LINES: u64 = 20_000;
/// The most lines to all of one author. The oldest is dropped.
pub(crate) const MAX_LINES_TO_ALL: u64 = 5_000;

/// The time for which lines to all are kept for peers that missed them, in ms: 30 days.
pub(crate) const KEPT_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// The most rows that are removed from the list when one is added.
const MAX_PRUNED: usize = 16;

/// The direct lines with one peer, or the lines to all of one author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Conversation {
    /// The other end of direct lines, or the author of lines to all.
    pub(super) with: PeerId,
    pub(super) is_direct: bool,
}

impl Conversation {
    const fn limit(self) -> u64 {
        if self.is_direct { MAX_DIRECT_LINES } else { MAX_LINES_TO_ALL }
    }
}

/// Returns the conversation of a line that `me` wrote or received.
pub(super) fn of(me: PeerId, line: &SignedLine) -> Conversation {
    let with = line.to.filter(|_| line.author == me).unwrap_or(line.author);
    Conversation { with, is_direct: line.to.is_some() }
}

/// Decodes a stored line.
pub(super) fn read_line(bytes: &[u8]) -> Result<SignedLine, StoreFault> {
    codec::decode(bytes, MAX_CHAT_REQUEST_BYTES)
        .map_err(|error| StoreFault::Damaged { table: "chat", error })
}

/// Returns the range of one conversation's keys in the index.
pub(super) fn rows_of(
    peer: &Key32,
    is_direct: bool,
) -> std::ops::RangeInclusive<(&Key32, bool, u64)> {
    (peer, is_direct, 0)..=(peer, is_direct, u64::MAX)
}

/// Adds a stored line to the list if it is to all. Drops rows that are too old from the list's
/// front.
pub(super) fn keep_to_all(
    tables: &mut Tables<'_>,
    network: &NetworkId,
    order: u64,
    id: MessageId,
    line: &SignedLine,
    now: UnixMillis,
) -> Result<(), StoreFault> {
    if line.to.is_some() {
        return Ok(());
    }
    let row = (&id.0, line.time, &line.author.0.0, &network.0);
    tables.chat_to_all.insert(order, row)?;
    for _ in 0..MAX_PRUNED {
        let first = tables.chat_to_all.first()?.map(|(order, row)| (order.value(), row.value().1));
        match first {
            Some((order, time)) if time.saturating_add(KEPT_MS) < now => {
                tables.chat_to_all.remove(order)?;
            }
            _ => break,
        }
    }
    Ok(())
}

/// The number of lines in each conversation.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    counts: HashMap<Conversation, u64>,
    total: u64,
}

impl Conversations {
    pub(super) fn load(store: &Store) -> Result<Self, StoreFault> {
        store.view(|tables| {
            let mut all = Self::default();
            for row in tables.chat_friends.iter()? {
                let key = row?.0;
                let (peer, is_direct, _) = key.value();
                all.count(Conversation { with: PeerId(PublicKey(*peer)), is_direct });
            }
            Ok(all)
        })
    }

    /// True if the history has direct lines with the peer, or lines of the peer to all.
    pub(super) fn has(&self, peer: &PeerId) -> bool {
        let lines = |is_direct| Conversation { with: *peer, is_direct };
        [true, false].into_iter().any(|direct| self.counts.contains_key(&lines(direct)))
    }

    /// Counts the conversation as full.
    #[cfg(test)]
    pub(super) fn fill(&mut self, conversation: Conversation) {
        self.counts.insert(conversation, conversation.limit());
    }

    /// True if one more line of the conversation pushes no other line out.
    pub(super) fn have_room(&self, conversation: Conversation) -> bool {
        let held = self.counts.get(&conversation).copied().unwrap_or_default();
        held < conversation.limit() && self.total < MAX_LINES
    }

    fn count(&mut self, conversation: Conversation) {
        let count = self.counts.entry(conversation).or_default();
        *count = count.saturating_add(1);
        self.total = self.total.saturating_add(1);
    }

    /// Adds a stored line to the index, and drops a line beyond a limit. `is_chosen` is true for
    /// peers whom the user chose.
    pub(super) fn add(
        &mut self,
        tables: &mut Tables<'_>,
        conversation: Conversation,
        order: u64,
        is_chosen: impl Fn(&PeerId) -> bool,
    ) -> Result<(), StoreFault> {
        let Conversation { with, is_direct } = conversation;
        tables.chat_friends.insert((&with.0.0, is_direct, order), ())?;
        self.count(conversation);
        let held = self.counts.get(&conversation).copied().unwrap_or_default();
        if held > conversation.limit() {
            return self.drop_oldest(tables, conversation);
        }
        if self.total > MAX_LINES {
            let longest =
                self.counts.iter().max_by_key(|(of, count)| (!is_chosen(&of.with), **count, **of));
            if let Some(longest) = longest.map(|(of, _)| *of) {
                return self.drop_oldest(tables, longest);
            }
        }
        Ok(())
    }

    /// Drops the oldest line of a conversation.
    pub(super) fn drop_oldest(
        &mut self,
        tables: &mut Tables<'_>,
        conversation: Conversation,
    ) -> Result<(), StoreFault> {
        let Conversation { with, is_direct } = conversation;
        let first = tables.chat_friends.range(rows_of(&with.0.0, is_direct))?.next();
        let Some(order) = first.transpose()?.map(|(key, _)| key.value().2) else { return Ok(()) };
        let id = tables.chat.get(order)?.map(|row| *row.value().0);
        tables.chat_friends.remove((&with.0.0, is_direct, order))?;
        tables.chat.remove(order)?;
        tables.chat_to_all.remove(order)?;
        if let Some(id) = id {
            tables.chat_ids.remove(&id)?;
        }
        self.total = self.total.saturating_sub(1);
        if let Some(count) = self.counts.get_mut(&conversation) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&conversation);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(number: u8, is_direct: bool) -> Conversation {
        Conversation { with: PeerId(PublicKey([number; 32])), is_direct }
    }

    /// Returns the number of lines left in each conversation after these were added in this order.
    fn left(all: &mut Conversations, added: &[(Conversation, u64)], chosen: u8) -> Vec<u64> {
        let store = Store::in_memory().unwrap();
        store
            .write(|tables| {
                for (conversation, order) in added {
                    let is_chosen = |peer: &PeerId| peer.0.0 == [chosen; 32];
                    all.add(tables, *conversation, *order, is_chosen)?;
                }
                Ok::<_, StoreFault>(())
            })
            .unwrap();
        added.iter().map(|(of, _)| all.counts.get(of).copied().unwrap_or_default()).collect()
    }

    #[test]
    fn a_conversation_beyond_its_limit_loses_its_own_oldest_line() {
        let mut all = Conversations { counts: HashMap::new(), total: 0 };
        all.counts.insert(with(1, false), MAX_LINES_TO_ALL - 1);
        all.total = MAX_LINES_TO_ALL - 1;
        let added = [(with(2, true), 0), (with(1, false), 1), (with(1, false), 2)];
        assert_eq!(left(&mut all, &added, 0), [1, MAX_LINES_TO_ALL, MAX_LINES_TO_ALL]);
    }

    #[test]
    fn direct_lines_with_one_peer_are_bounded() {
        let mut all = Conversations::default();
        all.counts.insert(with(1, true), MAX_DIRECT_LINES - 1);
        all.total = MAX_DIRECT_LINES - 1;
        let added = [(with(1, true), 0), (with(1, true), 1)];
        assert_eq!(left(&mut all, &added, 1), [MAX_DIRECT_LINES; 2]);
    }

    #[test]
    fn a_full_history_takes_from_the_longest_that_the_user_did_not_choose() {
        let mut all = Conversations::default();
        all.counts.extend([(with(1, true), 19_000), (with(2, false), 30), (with(3, true), 20)]);
        all.total = MAX_LINES;
        // The row to drop exists, since it is added first.
        let added = [(with(2, false), 0), (with(1, true), 1)];
        assert_eq!(left(&mut all, &added, 1)[1], 19_001, "it was chosen");
        assert!(all.counts[&with(2, false)] < 31);
        assert_eq!(all.counts[&with(3, true)], 20);
    }
}
