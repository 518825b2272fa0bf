//! Direct lines for friends who are away: leaving them with mutual friends, and receiving them.
//! The author's outbox is authoritative: a line leaves it only when its receiver confirms it.
//! Mutual friends keep sealed copies. The receiver shows a line once, however many copies arrive,
//! since it knows the line's id.
//!
//! # Security
//! A carrier can withhold a copy or deliver it again, but can neither read nor change it. A line
//! much older than carriers keep it is refused. Otherwise a copy could show again after the history
//! has dropped the line.

use redb::ReadableTable as _;

use super::{
    Friends, FriendsEvent, Receipt, ReceiveError, StoreFault,
    conversations::{self, read_line},
    kept::KEPT_SEALED_MS,
    outbox,
};
use crate::{
    peers::Level,
    primitives::{PeerId, UnixMillis},
    telemetry::events::LineLeft,
    wire::{MessageId, OpenError, Refusal, SealedLine, Secret, SignedLine},
};

/// The most friends with whom a line is left.
pub(crate) const MAX_CARRIERS: usize = 3;
/// The most that the time of a sealed line may differ from our clock, in ms: 8 days. That is the
/// time for which carriers keep lines, and one day for wrong clocks.
pub(crate) const MAX_SEALED_APART_MS: u64 = KEPT_SEALED_MS + 24 * 60 * 60 * 1_000;

/// A function that computes a shared secret with the node's identity key.
pub(crate) type Agree = Box<dyn Fn(&[u8; 32]) -> Secret + Send>;

/// A line of the outbox that is to be left with friends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToLeave {
    pub(crate) id: MessageId,
    pub(crate) sealed: SealedLine,
    /// The friends who keep the line already.
    pub(crate) with: Vec<PeerId>,
}

/// The reason why a sealed line for us is not stored.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum SealedError {
    /// The carrier is not a friend.
    #[error("a sealed line is taken from a friend alone")]
    NotFriends,
    #[error("a sealed line is refused: {0}")]
    Open(#[from] OpenError),
    /// The line is older than carriers keep it, or one of the two clocks is wrong.
    #[error("a sealed line is refused: its time is {apart_ms} ms away from this node's clock")]
    Stale { apart_ms: u64 },
    #[error(transparent)]
    Line(#[from] ReceiveError),
}

impl From<StoreFault> for SealedError {
    fn from(fault: StoreFault) -> Self {
        Self::Line(fault.into())
    }
}

impl SealedError {
    /// Returns the reason to send to the carrier. `None` means the reply Busy.
    ///
    /// A carrier cannot see the content, so it gets no penalty for it.
    #[must_use]
    pub(crate) const fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::NotFriends => Some(Refusal::NotMine),
            Self::Open(_) => Some(Refusal::Invalid),
            Self::Stale { .. } => Some(Refusal::Stale),
            Self::Line(error) => error.refusal(),
        }
    }
}

impl Friends {
    /// Returns lines of the outbox for a friend who is away, sealed and in the order written. These
    /// are the first `limit` lines that at least one of the candidates does not keep yet.
    pub(crate) fn to_leave(
        &self,
        to: &PeerId,
        candidates: &[PeerId],
        limit: usize,
        now: UnixMillis,
    ) -> Result<Vec<ToLeave>, StoreFault> {
        self.store.view(|tables| {
            let mut lines = Vec::new();
            for row in tables.outbox.range(outbox::rows_of(&to.0.0))? {
                if lines.len() >= limit {
                    break;
                }
                let (key, row) = row?;
                let (network, bytes) = row.value();
                let with = outbox::carriers_of(tables, to, key.value().1)?;
                let is_enough = with.len() >= MAX_CARRIERS
                    || candidates.iter().all(|candidate| with.contains(candidate));
                if is_enough || *network != self.network.0 {
                    continue;
                }
                let line = read_line(bytes)?;
                if line.time.abs_diff(now) > KEPT_SEALED_MS {
                    continue;
                }
                let secret = Secret::new(rand::random());
                // If the receiver's identity is not a valid key, the receiver cannot connect
                // either.
                if let Ok(sealed) = SealedLine::seal(&self.network, &line, &secret) {
                    lines.push(ToLeave { id: line.id(&self.network), sealed, with });
                }
            }
            Ok(lines)
        })
    }

    /// Records that friends keep our line for its receiver.
    pub(crate) fn left_with(
        &mut self,
        to: PeerId,
        id: MessageId,
        carriers: &[PeerId],
        now: UnixMillis,
    ) -> Result<(), StoreFault> {
        let network = self.network;
        let count = self.store.write(|tables| {
            let Some(order) = outbox::order_of(tables, &network, &to, id)? else { return Ok(0) };
            if tables.outbox.get((&to.0.0, order))?.is_none() {
                return Ok::<_, StoreFault>(0);
            }
            for carrier in carriers {
                tables.left.insert((&to.0.0, order, &carrier.0.0), now)?;
            }
            outbox::count_left(tables, &to, order)
        })?;
        if count > 0 {
            self.announce(move || LineLeft { id: id.to_string(), to, friends: count }.emit());
            let name = self.label(&to);
            self.emit(FriendsEvent::LeftWith { id, to, name, friends: count });
        }
        Ok(())
    }

    /// Stores a line to us that a friend kept or passes on. The caller replies Delivered for any
    /// receipt, so that the carrier learns no more.
    pub(crate) fn receive_sealed(
        &mut self,
        by: PeerId,
        sealed: &SealedLine,
        now: UnixMillis,
    ) -> Result<Receipt, SealedError> {
        if self.level(&by) != Level::Friend || sealed.to != self.me {
            return Err(SealedError::NotFriends);
        }
        let line = sealed.open(&self.network, &self.agree)?;
        let apart_ms = line.time.abs_diff(now);
        if apart_ms > MAX_SEALED_APART_MS {
            return Err(SealedError::Stale { apart_ms });
        }
        let author = line.author;
        let is_silent = author == self.me || self.is_banned(&author, now);
        if is_silent || self.was_dropped(&line)? {
            return Ok(Receipt::Known);
        }
        match self.receive(line, now) {
            // The author keeps the line in its own outbox until we accept the author.
            Err(ReceiveError::TooMany { .. }) if self.is_shut_out(&author) => Ok(Receipt::Known),
            received => Ok(received?),
        }
    }

    /// True if the box of requests has no room for a line of the author.
    fn is_shut_out(&self, author: &PeerId) -> bool {
        !self.may_chat(author) && self.is_box_full_for(author)
    }

    /// True if the conversation is full, and the line is older than all stored lines of its author.
    fn was_dropped(&self, line: &SignedLine) -> Result<bool, StoreFault> {
        let conversation = conversations::of(self.me, line);
        if self.lines.have_room(conversation) {
            return Ok(false);
        }
        self.store.view(|tables| {
            let with = &conversation.with.0.0;
            for row in tables.chat_friends.range(conversations::rows_of(with, true))? {
                let Some(row) = tables.chat.get(row?.0.value().2)? else { continue };
                let held = read_line(row.value().3)?;
                if held.author == line.author {
                    return Ok(line.counter < held.counter);
                }
            }
            Ok(false)
        })
    }
}
