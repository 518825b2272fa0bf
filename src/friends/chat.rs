//! Chat: lines to one and to all, the outbox of those that wait, goodbyes, and the history.
//!
//! A direct line is in the history and in the outbox, durable, before its author is answered; it
//! leaves the outbox when its receiver says that it is on the receiver's disk. A line that comes is
//! kept once: its id covers author, network, time, counter and text. Authors' clocks are trusted
//! for nothing but the age of what is meant for all, see [`MAX_TIME_APART_MS`]; the history is in
//! the order in which lines came.

use redb::{ReadableTable as _, ReadableTableMetadata as _};

use super::{
    ChatError, Friends, FriendsEvent, ReceiveError, StoreFault,
    errors::apart,
    profiles::{self, Known, Presence},
    store::{CHAT, CHAT_FRIENDS, CHAT_IDS, Key32, META_COUNTER, META_ORDER, OUTBOX, Tables},
};
use crate::{
    primitives::{PeerId, PublicKey, UnixMillis},
    telemetry::events::{ChatDelivered, ChatReceived, ChatSent},
    wire::{
        CodecError, MessageId, Refusal, SignedLine, SignedQuit, codec,
        limits::{MAX_CHAT_REQUEST_BYTES, MAX_LINE_BYTES},
    },
};

/// Lines that the history holds: at most 400 MB, usually 20. The oldest are dropped.
pub const MAX_LINES: u64 = 100_000;
/// Lines that wait for one friend.
pub const MAX_OUTBOX_PER_FRIEND: u64 = 1_000;
/// Lines that wait for all friends together.
pub const MAX_OUTBOX: u64 = 10_000;
/// Lines that one answer of the history holds.
pub const MAX_HISTORY: usize = 10_000;
/// How far the author's time of a line or goodbye to all may lie from our clock, before or after:
/// 10 minutes. Within it, ids keep copies out; beyond it nothing is taken, so that old gossip
/// cannot be played again. A friend whose clock is further off is not heard by the others (direct
/// lines are), and its node says so from the clocks in Status.
pub const MAX_TIME_APART_MS: u64 = 10 * 60 * 1_000;

/// How far a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineState {
    /// Ours to a friend, not there yet.
    Queued,
    /// Ours to a friend, on the friend's disk.
    Delivered,
    /// Ours to a friend who will not have it.
    Refused,
    /// Ours to all.
    Sent,
    /// From a friend.
    Received,
}

impl LineState {
    /// As answers name it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }

    /// How the file holds it; fixed for ever.
    const fn number(self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::Delivered => 1,
            Self::Refused => 2,
            Self::Sent => 3,
            Self::Received => 4,
        }
    }

    const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Queued,
            1 => Self::Delivered,
            2 => Self::Refused,
            3 => Self::Sent,
            _ => Self::Received,
        }
    }
}

/// A line of the history. The text is whole, and not made printable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatRecord {
    /// Its name.
    pub id: MessageId,
    /// Its author.
    pub from: PeerId,
    /// As people name the author.
    pub from_name: String,
    /// For whom alone; none when for all.
    pub to: Option<PeerId>,
    /// As people name the receiver.
    pub to_name: Option<String>,
    /// It.
    pub text: String,
    /// When it was written, by the author's clock.
    pub time: UnixMillis,
    /// When it came, by our clock.
    pub received: UnixMillis,
    /// How far it is.
    pub state: LineState,
}

/// A line of our own, to be sent or published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentLine {
    /// Its name.
    pub id: MessageId,
    /// It.
    pub line: SignedLine,
}

/// What became of a line that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// It is kept.
    New(Box<ChatRecord>),
    /// It was kept before.
    Known,
}

/// What became of a goodbye that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuitReceipt {
    /// It is news, whether or not its author was here.
    New,
    /// It, or a later one, or the friend's return, was known before.
    Known,
}

/// A line about to be written.
struct NewLine<'a> {
    me: PeerId,
    id: MessageId,
    line: &'a SignedLine,
    state: LineState,
    now: UnixMillis,
}

impl NewLine<'_> {
    /// Puts it at the end of the history and drops what the history has no room for; gives its
    /// order.
    fn insert(&self, tables: &mut Tables<'_>) -> Result<u64, StoreFault> {
        let order = tables.next(META_ORDER)?;
        let bytes = codec::encode(self.line);
        tables.chat.insert(order, (&self.id.0, self.now, self.state.number(), &bytes[..]))?;
        tables.chat_ids.insert(&self.id.0, order)?;
        if let Some(friend) = friend_of(self.me, self.line) {
            tables.chat_friends.insert((&friend.0.0, order), ())?;
        }
        if tables.chat.len()? > MAX_LINES {
            drop_oldest(tables, self.me)?;
        }
        Ok(order)
    }
}

/// In whose conversation with us a line stands: the other end's of a direct line, the author's of a
/// line to all.
fn friend_of(me: PeerId, line: &SignedLine) -> Option<PeerId> {
    if line.author == me { line.to } else { Some(line.author) }
}

pub(super) fn drop_oldest(tables: &mut Tables<'_>, me: PeerId) -> Result<(), StoreFault> {
    let Some((order, row)) = tables.chat.pop_first()? else { return Ok(()) };
    let order = order.value();
    let (id, _, _, bytes) = row.value();
    tables.chat_ids.remove(id)?;
    if let Some(friend) = friend_of(me, &read_line(bytes)?) {
        tables.chat_friends.remove((&friend.0.0, order))?;
    }
    Ok(())
}

fn read_line(bytes: &[u8]) -> Result<SignedLine, StoreFault> {
    codec::decode(bytes, MAX_CHAT_REQUEST_BYTES)
        .map_err(|error| StoreFault::Damaged { table: "chat", error })
}

/// The keys of one friend's rows.
fn rows_of(friend: &Key32) -> std::ops::RangeInclusive<(&Key32, u64)> {
    (friend, 0)..=(friend, u64::MAX)
}

fn check_text(text: &str) -> Result<(), ChatError> {
    if text.trim().is_empty() {
        return Err(ChatError::Empty);
    }
    if text.len() > MAX_LINE_BYTES { Err(ChatError::TooLong { bytes: text.len() }) } else { Ok(()) }
}

impl Friends {
    /// Writes a line to one friend: in the history and in the outbox, durable, when this returns.
    pub fn direct(
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
        let talked = self
            .known
            .get(&to)
            .filter(|known| !known.talked)
            .map(|known| Known { talked: true, ..known.clone() });
        let sent = self.store.write(|tables| {
            let waiting = tables.outbox.len().map_err(StoreFault::from)?;
            if waiting >= MAX_OUTBOX {
                return Err(ChatError::OutboxFullForAll { limit: MAX_OUTBOX });
            }
            let limit = usize::try_from(MAX_OUTBOX_PER_FRIEND).unwrap_or(usize::MAX);
            if tables.outbox.range(rows_of(&to.0.0)).map_err(StoreFault::from)?.take(limit).count()
                == limit
            {
                return Err(ChatError::OutboxFull { friend, limit: MAX_OUTBOX_PER_FRIEND });
            }
            let sent = self.sign_line(tables, Some(to), text, now)?;
            let new = NewLine {
                me: self.me,
                id: sent.id,
                line: &sent.line,
                state: LineState::Queued,
                now,
            };
            let order = new.insert(tables)?;
            let bytes = codec::encode(&sent.line);
            tables
                .outbox
                .insert((&to.0.0, order), (&self.network.0, &bytes[..]))
                .map_err(StoreFault::from)?;
            if let Some(talked) = &talked {
                profiles::put(tables, talked)?;
            }
            Ok(sent)
        })?;
        if let Some(talked) = talked {
            self.known.insert(to, talked);
        }
        ChatSent { id: sent.id.to_string(), to: Some(to) }.emit();
        Ok(sent)
    }

    /// Writes a line to all: in the history, durable, when this returns. The caller publishes it.
    pub fn broadcast(&mut self, text: &str, now: UnixMillis) -> Result<SentLine, ChatError> {
        check_text(text)?;
        let sent = self.store.write(|tables| {
            let sent = self.sign_line(tables, None, text, now)?;
            NewLine { me: self.me, id: sent.id, line: &sent.line, state: LineState::Sent, now }
                .insert(tables)?;
            Ok::<_, ChatError>(sent)
        })?;
        ChatSent { id: sent.id.to_string(), to: None }.emit();
        Ok(sent)
    }

    fn sign_line(
        &self,
        tables: &mut Tables<'_>,
        to: Option<PeerId>,
        text: &str,
        now: UnixMillis,
    ) -> Result<SentLine, ChatError> {
        let counter = tables.next(META_COUNTER)?;
        let line = SignedLine::sign(&self.network, self.me, to, now, counter, text, &self.signer)
            .map_err(|_: CodecError| ChatError::TooLong { bytes: text.len() })?;
        Ok(SentLine { id: line.id(&self.network), line })
    }

    /// Our goodbye, to be published.
    pub fn goodbye(&mut self, now: UnixMillis) -> Result<SignedQuit, StoreFault> {
        let counter = self.store.write(|tables| tables.next(META_COUNTER))?;
        Ok(SignedQuit::sign(&self.network, self.me, now, counter, &self.signer))
    }

    /// Lines that wait for a friend, in the order written.
    pub fn outbox_for(&self, peer: &PeerId, limit: usize) -> Result<Vec<SentLine>, StoreFault> {
        let table = self.store.read()?.open_table(OUTBOX)?;
        let mut lines = Vec::new();
        for row in table.range(rows_of(&peer.0.0))? {
            if lines.len() >= limit {
                break;
            }
            let (_, row) = row?;
            let (network, bytes) = row.value();
            // A line signed for another chain waits until this node is back on that.
            if *network == self.network.0 {
                let line = read_line(bytes)?;
                lines.push(SentLine { id: line.id(&self.network), line });
            }
        }
        Ok(lines)
    }

    /// Friends for whom lines wait.
    pub fn outbox_peers(&self) -> Result<Vec<PeerId>, StoreFault> {
        let table = self.store.read()?.open_table(OUTBOX)?;
        let mut peers = Vec::new();
        for row in table.iter()? {
            let (key, _) = row?;
            let peer = PeerId(PublicKey(*key.value().0));
            if peers.last() != Some(&peer) {
                peers.push(peer);
            }
        }
        Ok(peers)
    }

    /// A friend has our line on its disk; whether it still waited.
    pub fn delivered(&mut self, to: PeerId, id: MessageId) -> Result<bool, StoreFault> {
        let waited = self.settle(to, id, LineState::Delivered)?;
        if waited {
            ChatDelivered { id: id.to_string(), to }.emit();
            self.tell(FriendsEvent::Delivered { id, to, name: self.label(&to) });
        }
        Ok(waited)
    }

    /// A friend refuses our line; whether that is final. A line refused for the rate of lines goes
    /// on waiting.
    pub fn refused(&mut self, by: PeerId, id: MessageId, why: Refusal) -> Result<bool, StoreFault> {
        let is_final = why != Refusal::RateLimited && self.settle(by, id, LineState::Refused)?;
        if is_final {
            self.tell(FriendsEvent::Refused { id, by, name: self.label(&by), why });
        }
        Ok(is_final)
    }

    /// Takes a line out of the outbox and writes down how it ended; whether it was there.
    fn settle(&mut self, to: PeerId, id: MessageId, state: LineState) -> Result<bool, StoreFault> {
        let order = self.store.read()?.open_table(CHAT_IDS)?.get(&id.0)?.map(|order| order.value());
        let waiting = match order {
            Some(order) => Some(order),
            // The history dropped it while it waited.
            None => self.order_in_outbox(&to, id)?,
        };
        let Some(order) = waiting else { return Ok(false) };
        self.store.write(|tables| {
            if tables.outbox.remove((&to.0.0, order))?.is_none() {
                return Ok(false);
            }
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

    fn order_in_outbox(&self, to: &PeerId, id: MessageId) -> Result<Option<u64>, StoreFault> {
        for row in self.store.read()?.open_table(OUTBOX)?.range(rows_of(&to.0.0))? {
            let (key, row) = row?;
            if read_line(row.value().1)?.id(&self.network) == id {
                return Ok(Some(key.value().1));
            }
        }
        Ok(None)
    }

    /// Keeps a line that `sender` sent for us alone. When this gives a receipt, new or not, the
    /// answer is Delivered.
    pub fn receive_direct(
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

    /// Keeps a line to all that came by gossip.
    pub fn receive_broadcast(
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

    fn receive(&mut self, line: SignedLine, now: UnixMillis) -> Result<Receipt, ReceiveError> {
        let author = line.author;
        if check_text(&line.text).is_err_and(|error| matches!(error, ChatError::Empty)) {
            return Err(ReceiveError::Empty { author });
        }
        line.verify(&self.network)?;
        let id = line.id(&self.network);
        if self.has_line(id)? {
            return Ok(Receipt::Known);
        }
        self.take_budget(author, now)?;
        let new = NewLine { me: self.me, id, line: &line, state: LineState::Received, now };
        self.store.write(|tables| new.insert(tables))?;
        ChatReceived { id: id.to_string(), from: author, direct: line.to.is_some() }.emit();
        let record = self.record(id, line, now, LineState::Received);
        self.tell(FriendsEvent::Received(record.clone()));
        Ok(Receipt::New(Box::new(record)))
    }

    fn has_line(&self, id: MessageId) -> Result<bool, StoreFault> {
        Ok(self.store.read()?.open_table(CHAT_IDS)?.get(&id.0)?.is_some())
    }

    fn take_budget(&mut self, author: PeerId, now: UnixMillis) -> Result<(), ReceiveError> {
        let friend = Some(author).filter(|author| self.known.contains_key(author));
        if self.rates.take(friend, now) { Ok(()) } else { Err(ReceiveError::TooMany { author }) }
    }

    /// Takes a goodbye that came by gossip: its author is shown as gone, although its connection
    /// may stand a while.
    pub fn receive_quit(
        &mut self,
        quit: &SignedQuit,
        now: UnixMillis,
    ) -> Result<QuitReceipt, ReceiveError> {
        let author = quit.author;
        if author == self.me {
            return Ok(QuitReceipt::Known);
        }
        check_age(author, quit.time, now)?;
        quit.verify(&self.network)?;
        let Some(known) = self.known.get(&author) else {
            self.take_budget(author, now)?;
            return Ok(QuitReceipt::New);
        };
        // Both by the author's clock: it signs a profile when it starts, so an earlier goodbye is
        // of an earlier run.
        if quit.time <= known.profile.sequence {
            return Ok(QuitReceipt::Known);
        }
        self.take_budget(author, now)?;
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

    /// The last lines, at most `limit` of them, oldest first: all, or those with one friend (direct
    /// ones both ways, and the friend's to all).
    pub fn history(
        &self,
        friend: Option<&PeerId>,
        limit: usize,
    ) -> Result<Vec<ChatRecord>, StoreFault> {
        let limit = limit.min(MAX_HISTORY);
        let transaction = self.store.read()?;
        let chat = transaction.open_table(CHAT)?;
        let mut records = Vec::new();
        let mut push = |row: (&[u8; 16], u64, u8, &[u8])| {
            let (id, received, state, bytes) = row;
            records.push(self.record(
                MessageId(*id),
                read_line(bytes)?,
                received,
                LineState::from_number(state),
            ));
            Ok::<_, StoreFault>(())
        };
        if let Some(friend) = friend {
            for key in
                transaction.open_table(CHAT_FRIENDS)?.range(rows_of(&friend.0.0))?.rev().take(limit)
            {
                if let Some(row) = chat.get(key?.0.value().1)? {
                    push(row.value())?;
                }
            }
        } else {
            for row in chat.iter()?.rev().take(limit) {
                push(row?.1.value())?;
            }
        }
        records.reverse();
        Ok(records)
    }

    fn record(
        &self,
        id: MessageId,
        line: SignedLine,
        received: UnixMillis,
        state: LineState,
    ) -> ChatRecord {
        let SignedLine { author, to, time, counter: _, text, signature: _ } = line;
        ChatRecord {
            id,
            from: author,
            from_name: self.label(&author),
            to,
            to_name: to.map(|to| self.label(&to)),
            text,
            time,
            received,
            state,
        }
    }
}

fn check_age(author: PeerId, time: UnixMillis, now: UnixMillis) -> Result<(), ReceiveError> {
    let apart_ms = apart(time, now);
    if apart_ms > MAX_TIME_APART_MS {
        Err(ReceiveError::Stale { author, apart_ms })
    } else {
        Ok(())
    }
}
