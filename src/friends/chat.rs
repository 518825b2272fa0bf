//! Chat: lines to one friend and to all, the outbox, goodbyes, and the history.
//!
//! A direct line is durable in the history and in the outbox before the call that writes it
//! returns. It leaves the outbox once its receiver confirms that the line is on the receiver's
//! disk.
//!
//! A received line is stored once: its id covers author, network, time, counter and text. The
//! author's clock decides only whether a line to all is too old, see [`MAX_TIME_APART_MS`]. The
//! counter of a line orders it among the lines of its author. Lines of authors whom the user
//! neither accepted nor wrote to go into the box of [`requests`](super::requests).

use redb::{ReadableTable as _, ReadableTableMetadata as _};

use super::{
    ChatError, Friends, FriendsEvent, ReceiveError, Signer, StoreFault,
    conversations::{self, Conversations, read_line},
    outbox,
    profiles::Presence,
    standing::{Standing, is_chosen_in},
    store::{META_COUNTER, META_ORDER, Tables},
};
use crate::{
    peers::Level,
    primitives::{NetworkId, PeerId, PublicKey, UnixMillis},
    telemetry::events::{ChatDelivered, ChatReceived, ChatSent},
    wire::{CodecError, MessageId, Refusal, SignedLine, SignedQuit, codec, limits::MAX_LINE_BYTES},
};

/// The most lines in the outbox for one friend.
pub(crate) const MAX_OUTBOX_PER_FRIEND: u64 = 1_000;
/// The most lines in the outbox for all friends together.
pub(crate) const MAX_OUTBOX: u64 = 10_000;
/// The most that the time of a line or goodbye to all may differ from our clock, in ms: 10 minutes.
///
/// Ids stop copies of recent gossip. This limit stops replays of older gossip, whose lines the
/// history may have dropped. If a friend's clock differs by more, others ignore its lines to all
/// but accept its direct lines. The friend's node warns about its clock when it compares it with
/// the clocks in Status.
pub(crate) const MAX_TIME_APART_MS: u64 = 10 * 60 * 1_000;

/// The state of a chat line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineState {
    /// Our line to a friend, in the outbox.
    Queued,
    /// Our line to a friend, on the friend's disk.
    Delivered,
    /// Our line to a friend, refused by the friend for good.
    Refused,
    /// Our line to all.
    Sent,
    /// A line from another node.
    Received,
}

impl LineState {
    /// Returns the number in the file. Numbers never change.
    const fn number(self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::Delivered => 1,
            Self::Refused => 2,
            Self::Sent => 3,
            Self::Received => 4,
        }
    }

    pub(super) const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Queued,
            1 => Self::Delivered,
            2 => Self::Refused,
            3 => Self::Sent,
            _ => Self::Received,
        }
    }
}

/// A line of the history. The text is unchanged and may hold unprintable characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChatRecord {
    pub(crate) id: MessageId,
    pub(crate) from: PeerId,
    /// The author's label, see [`Friends::label`].
    pub(crate) from_name: String,
    /// The receiver of a direct line; `None` for a line to all.
    pub(crate) to: Option<PeerId>,
    /// The receiver's label.
    pub(crate) to_name: Option<String>,
    pub(crate) text: String,
    /// The author's counter, which orders its lines.
    pub(crate) counter: u64,
    /// Time of writing by the author's clock.
    pub(crate) time: UnixMillis,
    /// Time of arrival by our clock.
    pub(crate) received: UnixMillis,
    pub(crate) state: LineState,
    /// The number of friends who keep the line for its receiver, while it is queued.
    pub(crate) left_with: u32,
}

/// A stored line of our own, to send to its receiver or to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SentLine {
    pub(crate) id: MessageId,
    pub(crate) line: SignedLine,
}

/// The result of receiving a line without fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// Stored in the history.
    New(Box<ChatRecord>),
    /// Stored in the box of requests, since the user neither accepted the author nor wrote to it.
    Request,
    /// Stored before, or our own line back from a peer.
    Known,
}

/// The result of receiving a goodbye without fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QuitReceipt {
    /// A goodbye that we did not know, even if its author was offline.
    New,
    /// A goodbye that we knew, or one older than the friend's last goodbye or last start.
    Known,
}

/// A line to add to the history.
pub(super) struct NewLine<'a> {
    pub(super) me: PeerId,
    pub(super) network: NetworkId,
    pub(super) id: MessageId,
    pub(super) line: &'a SignedLine,
    pub(super) state: LineState,
    pub(super) now: UnixMillis,
}

impl NewLine<'_> {
    /// Appends the line to the history, drops what is then beyond a limit, and returns the new
    /// line's order of arrival.
    pub(super) fn insert(
        &self,
        tables: &mut Tables<'_>,
        lines: &mut Conversations,
        is_chosen: impl Fn(&PeerId) -> bool,
    ) -> Result<u64, StoreFault> {
        let order = tables.next(META_ORDER)?;
        let bytes = codec::encode(self.line);
        tables.chat.insert(order, (&self.id.0, self.now, self.state.number(), &bytes[..]))?;
        tables.chat_ids.insert(&self.id.0, order)?;
        conversations::keep_to_all(tables, &self.network, order, self.id, self.line, self.now)?;
        let conversation = conversations::of(self.me, self.line);
        lines.add(tables, conversation, order, |peer| *peer == self.me || is_chosen(peer))?;
        Ok(order)
    }
}

/// Puts a line from the box of requests into the history, at its place in the order of arrival.
pub(super) fn insert_request(
    tables: &mut Tables<'_>,
    network: &NetworkId,
    order: u64,
    id: MessageId,
    received: UnixMillis,
    line: &SignedLine,
) -> Result<(), StoreFault> {
    let bytes = codec::encode(line);
    let row = (&id.0, received, LineState::Received.number(), &bytes[..]);
    tables.chat.insert(order, row)?;
    tables.chat_ids.insert(&id.0, order)?;
    conversations::keep_to_all(tables, network, order, id, line, received)
}

pub(super) fn check_text(text: &str) -> Result<(), ChatError> {
    if text.trim().is_empty() {
        return Err(ChatError::Empty);
    }
    if text.len() > MAX_LINE_BYTES { Err(ChatError::TooLong { bytes: text.len() }) } else { Ok(()) }
}

impl Friends {
    /// Writes a line to one friend. It is durable in history and outbox when this returns.
    pub(crate) fn direct(
        &mut self,
        to: PeerId,
        text: &str,
        now: UnixMillis,
    ) -> Result<SentLine, ChatError> {
        check_text(text)?;
        if to == self.me {
            return Err(ChatError::ToSelf);
        }
        let friend = self.label(&to);
        if self.is_blocked(&to) {
            return Err(ChatError::Blocked { friend });
        }
        let Self { me, network, signer, store, lines, people, .. } = self;
        let sent = store.write(|tables| {
            let waiting = tables.outbox.len().map_err(StoreFault::from)?;
            if waiting >= MAX_OUTBOX {
                return Err(ChatError::OutboxFullForAll { limit: MAX_OUTBOX });
            }
            let limit = usize::try_from(MAX_OUTBOX_PER_FRIEND).unwrap_or(usize::MAX);
            if tables
                .outbox
                .range(outbox::rows_of(&to.0.0))
                .map_err(StoreFault::from)?
                .take(limit)
                .count()
                == limit
            {
                return Err(ChatError::OutboxFull { friend, limit: MAX_OUTBOX_PER_FRIEND });
            }
            let counter = tables.next_from(META_COUNTER, now)?;
            let sent = sign_line(network, *me, Some(to), now, counter, text, signer)?;
            let (id, line, state) = (sent.id, &sent.line, LineState::Queued);
            let new = NewLine { me: *me, network: *network, id, line, state, now };
            let is_chosen = |peer: &PeerId| *peer == to || is_chosen_in(people, peer);
            let order = new.insert(tables, lines, is_chosen)?;
            let bytes = codec::encode(&sent.line);
            tables
                .outbox
                .insert((&to.0.0, order), (&network.0, &bytes[..]))
                .map_err(StoreFault::from)?;
            Ok(sent)
        })?;
        self.promote(to, Standing::WRITTEN, now)?;
        self.announce_sent(&sent, LineState::Queued, now);
        Ok(sent)
    }

    /// Writes a line to all. It is durable in the history when this returns; the caller publishes
    /// it.
    pub(crate) fn broadcast(&mut self, text: &str, now: UnixMillis) -> Result<SentLine, ChatError> {
        check_text(text)?;
        let Self { me, network, signer, store, lines, people, .. } = self;
        let sent = store.write(|tables| {
            let counter = tables.next_from(META_COUNTER, now)?;
            let sent = sign_line(network, *me, None, now, counter, text, signer)?;
            let (id, line, state) = (sent.id, &sent.line, LineState::Sent);
            NewLine { me: *me, network: *network, id, line, state, now }.insert(
                tables,
                lines,
                |peer| is_chosen_in(people, peer),
            )?;
            Ok::<_, ChatError>(sent)
        })?;
        self.announce_sent(&sent, LineState::Sent, now);
        Ok(sent)
    }

    fn announce_sent(&mut self, sent: &SentLine, state: LineState, now: UnixMillis) {
        let SentLine { id, line } = sent.clone();
        let (text, to) = (id.to_string(), line.to);
        self.announce(move || ChatSent { id: text, to }.emit());
        let record = self.record(id, line, now, state);
        self.emit(FriendsEvent::Sent(record));
    }

    /// Signs our goodbye, which the caller publishes.
    pub(crate) fn goodbye(&mut self, now: UnixMillis) -> Result<SignedQuit, StoreFault> {
        let counter = self.store.write(|tables| tables.next_from(META_COUNTER, now))?;
        Ok(SignedQuit::sign(&self.network, self.me, now, counter, &self.signer))
    }

    /// Returns the first `limit` lines in the outbox for a friend, in the order written.
    pub(crate) fn outbox_for(
        &self,
        peer: &PeerId,
        limit: usize,
    ) -> Result<Vec<SentLine>, StoreFault> {
        self.store.view(|tables| {
            let mut lines = Vec::new();
            for row in tables.outbox.range(outbox::rows_of(&peer.0.0))? {
                if lines.len() >= limit {
                    break;
                }
                let (_, row) = row?;
                let (network, bytes) = row.value();
                // A line signed for another chain stays until this node is on that chain again.
                if *network == self.network.0 {
                    let line = read_line(bytes)?;
                    lines.push(SentLine { id: line.id(&self.network), line });
                }
            }
            Ok(lines)
        })
    }

    /// Returns the friends for whom the outbox holds lines.
    pub(crate) fn outbox_peers(&self) -> Result<Vec<PeerId>, StoreFault> {
        self.store.view(|tables| {
            let mut peers = Vec::new();
            for row in tables.outbox.iter()? {
                let (key, _) = row?;
                let peer = PeerId(PublicKey(*key.value().0));
                if peers.last() != Some(&peer) {
                    peers.push(peer);
                }
            }
            Ok(peers)
        })
    }

    /// Records that a friend has our line on its disk. Returns true if the outbox held the line.
    pub(crate) fn delivered(&mut self, to: PeerId, id: MessageId) -> Result<bool, StoreFault> {
        let waited = self.settle(to, id, LineState::Delivered)?;
        if waited {
            self.announce(move || ChatDelivered { id: id.to_string(), to }.emit());
            let name = self.label(&to);
            self.emit(FriendsEvent::Delivered { id, to, name });
        }
        Ok(waited)
    }

    /// Records that a friend refuses our line. Returns true if this took the line out of the
    /// outbox. A line refused as `RateLimited` stays there.
    pub(crate) fn refused(
        &mut self,
        by: PeerId,
        id: MessageId,
        why: Refusal,
    ) -> Result<bool, StoreFault> {
        let is_final = why != Refusal::RateLimited && self.settle(by, id, LineState::Refused)?;
        if is_final {
            let name = self.label(&by);
            self.emit(FriendsEvent::Refused { id, by, name, why });
        }
        Ok(is_final)
    }

    /// Takes a line out of the outbox, and writes its final state into the history. Returns true if
    /// the outbox held the line.
    pub(super) fn settle(
        &mut self,
        to: PeerId,
        id: MessageId,
        state: LineState,
    ) -> Result<bool, StoreFault> {
        let network = self.network;
        self.store.write(|tables| {
            let Some(order) = outbox::order_of(tables, &network, &to, id)? else {
                return Ok(false);
            };
            if tables.outbox.remove((&to.0.0, order))?.is_none() {
                return Ok(false);
            }
            outbox::forget_left(tables, &to, order)?;
            let row = tables.chat.get(order)?.map(|row| {
                let (id, received, _, bytes) = row.value();
                (*id, received, bytes.to_vec())
            });
            if let Some((id, received, bytes)) = row {
                tables.chat.insert(order, (&id, received, state.number(), &bytes[..]))?;
            }
            Ok(true)
        })
    }

    /// Stores a direct line from `sender` to us. The caller replies Delivered, whichever receipt it
    /// gets.
    pub(crate) fn receive_direct(
        &mut self,
        sender: PeerId,
        line: SignedLine,
        now: UnixMillis,
    ) -> Result<Receipt, ReceiveError> {
        let author = line.author;
        if author != sender {
            return Err(ReceiveError::NotTheAuthor { author, sender });
        }
        if line.to != Some(self.me) {
            return Err(ReceiveError::WrongAddressee { author });
        }
        self.receive(line, now)
    }

    /// Stores a line to all that arrived by gossip.
    pub(crate) fn receive_broadcast(
        &mut self,
        line: SignedLine,
        now: UnixMillis,
    ) -> Result<Receipt, ReceiveError> {
        let author = line.author;
        if line.to.is_some() {
            return Err(ReceiveError::WrongAddressee { author });
        }
        if author == self.me {
            return Ok(Receipt::Known);
        }
        check_age(author, line.time, now)?;
        self.receive(line, now)
    }

    /// Handles a line to all that a peer forwarded. Returns true if it is to be forwarded further.
    pub(crate) fn hear_line(
        &mut self,
        by: PeerId,
        line: SignedLine,
        now: UnixMillis,
    ) -> Result<bool, ReceiveError> {
        match self.receive_broadcast(line, now) {
            Err(error) => self.forwards_unkept(by, error),
            Ok(receipt) => Ok(matches!(receipt, Receipt::New(_) | Receipt::Request)),
        }
    }

    /// Handles a goodbye that a peer forwarded. Returns true if it is to be forwarded further.
    pub(crate) fn hear_quit(
        &mut self,
        by: PeerId,
        quit: &SignedQuit,
        now: UnixMillis,
    ) -> Result<bool, ReceiveError> {
        match self.receive_quit(quit, now) {
            Err(error) => self.forwards_unkept(by, error),
            Ok(receipt) => Ok(receipt == QuitReceipt::New),
        }
    }

    /// Returns true if a valid line or goodbye of a stranger is to be forwarded although it is
    /// beyond the strangers' rate: the peer that forwarded it is within its own rate.
    fn forwards_unkept(&mut self, by: PeerId, error: ReceiveError) -> Result<bool, ReceiveError> {
        match error {
            ReceiveError::TooMany { author }
                if self.level(&author) == Level::Stranger && !self.is_chosen(&author) =>
            {
                let level = self.level(&by);
                Ok(self.rates.take_forwarded(by, level, (self.clock)()))
            }
            error => Err(error),
        }
    }

    pub(super) fn receive(
        &mut self,
        line: SignedLine,
        now: UnixMillis,
    ) -> Result<Receipt, ReceiveError> {
        let author = line.author;
        if self.is_banned(&author, now) {
            return Err(ReceiveError::Banned { author });
        }
        if check_text(&line.text).is_err_and(|error| matches!(error, ChatError::Empty)) {
            return Err(ReceiveError::Empty { author });
        }
        line.verify(&self.network)?;
        let id = line.id(&self.network);
        let is_kept =
            self.store.view(|tables| Ok::<_, StoreFault>(tables.chat_ids.get(&id.0)?.is_some()))?;
        if is_kept || self.has_request(id) {
            return Ok(Receipt::Known);
        }
        self.take_budget(author)?;
        if !self.may_chat(&author) {
            if self.is_box_full_for(&author) {
                return Err(ReceiveError::TooMany { author });
            }
            self.keep_request(id, line, now)?;
            return Ok(Receipt::Request);
        }
        Ok(Receipt::New(Box::new(self.keep_received(id, line, now)?)))
    }

    /// Stores a checked line of another author in the history, and announces it.
    pub(super) fn keep_received(
        &mut self,
        id: MessageId,
        line: SignedLine,
        now: UnixMillis,
    ) -> Result<ChatRecord, StoreFault> {
        let Self { me, network, store, lines, people, .. } = self;
        let state = LineState::Received;
        let new = NewLine { me: *me, network: *network, id, line: &line, state, now };
        store.write(|tables| new.insert(tables, lines, |peer| is_chosen_in(people, peer)))?;
        Ok(self.announce_received(id, line, now))
    }

    /// Announces a line of another author that has joined the chat.
    pub(super) fn announce_received(
        &mut self,
        id: MessageId,
        line: SignedLine,
        received: UnixMillis,
    ) -> ChatRecord {
        let (from, direct) = (line.author, line.to.is_some());
        self.announce(move || ChatReceived { id: id.to_string(), from, direct }.emit());
        let record = self.record(id, line, received, LineState::Received);
        self.emit(FriendsEvent::Received(record.clone()));
        record
    }

    /// Takes one line from the author's token bucket. A stranger that the user wrote to has the
    /// bucket of an introduced peer.
    fn take_budget(&mut self, author: PeerId) -> Result<(), ReceiveError> {
        let least = if self.is_chosen(&author) { Level::Introduced } else { Level::Stranger };
        let level = self.level(&author).max(least);
        if self.rates.take(author, level, (self.clock)()) {
            Ok(())
        } else {
            Err(ReceiveError::TooMany { author })
        }
    }

    /// Handles a goodbye that arrived by gossip. Its author counts as offline from now on, even if
    /// its connection stays open for a while.
    pub(crate) fn receive_quit(
        &mut self,
        quit: &SignedQuit,
        now: UnixMillis,
    ) -> Result<QuitReceipt, ReceiveError> {
        let author = quit.author;
        if author == self.me {
            return Ok(QuitReceipt::Known);
        }
        if self.is_banned(&author, now) {
            return Err(ReceiveError::Banned { author });
        }
        check_age(author, quit.time, now)?;
        quit.verify(&self.network)?;
        let known = self.known.get(&author).filter(|_| self.level(&author) > Level::Stranger);
        let Some(known) = known else {
            self.take_budget(author)?;
            return Ok(QuitReceipt::New);
        };
        // Both times are from the author's clock. Each run signs a profile at its start, so a
        // goodbye before the last profile belongs to an earlier run.
        if quit.time <= known.profile.sequence {
            return Ok(QuitReceipt::Known);
        }
        self.take_budget(author)?;
        let is_new = self.store.write(|tables| {
            let last = tables.quits.get(&author.0.0)?.map(|last| last.value());
            let is_new = last.is_none_or(|last| last < (quit.time, quit.counter));
            if is_new {
                tables.quits.insert(&author.0.0, (quit.time, quit.counter))?;
            }
            Ok::<_, StoreFault>(is_new)
        })?;
        if !is_new {
            return Ok(QuitReceipt::Known);
        }
        if let Some(presence @ Presence::Joined) = self.presence.get_mut(&author) {
            *presence = Presence::SaidGoodbye;
            self.leave(&author, super::Departure::Quit);
        }
        Ok(QuitReceipt::New)
    }

    pub(super) fn record(
        &self,
        id: MessageId,
        line: SignedLine,
        received: UnixMillis,
        state: LineState,
    ) -> ChatRecord {
        let SignedLine { author, to, time, counter, text, signature: _ } = line;
        ChatRecord {
            id,
            from: author,
            from_name: self.label(&author),
            to,
            to_name: to.map(|to| self.label(&to)),
            text,
            counter,
            time,
            received,
            state,
            left_with: 0,
        }
    }
}

fn sign_line(
    network: &NetworkId,
    me: PeerId,
    to: Option<PeerId>,
    now: UnixMillis,
    counter: u64,
    text: &str,
    signer: &Signer,
) -> Result<SentLine, ChatError> {
    let line = SignedLine::sign(network, me, to, now, counter, text, signer)
        .map_err(|_: CodecError| ChatError::TooLong { bytes: text.len() })?;
    Ok(SentLine { id: line.id(network), line })
}

fn check_age(author: PeerId, time: UnixMillis, now: UnixMillis) -> Result<(), ReceiveError> {
    let apart_ms = time.abs_diff(now);
    if apart_ms > MAX_TIME_APART_MS {
        Err(ReceiveError::Stale { author, apart_ms })
    } else {
        Ok(())
    }
}
