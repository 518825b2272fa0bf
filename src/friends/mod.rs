//! `friends` keeps the people whom the user chose, their profiles and names, presence, the chat
//! with its outbox, and the addresses to dial.
//!
//! [`Friends`] owns `friends.redb`. It is a plain struct without sockets or timers: each call gets
//! the time as an argument and returns a result. Every change waits for the disk, so the node runs
//! it on a thread of its own ([`spawn`]) and sends calls through a [`FriendsHandle`].
//!
//! # Invariants
//! - A change is durable before the call that made it returns. In a batch of calls
//!   ([`Friends::begin_batch`]), all changes become durable when the batch is committed, and
//!   nothing is announced before.
//! - Identities are free, so a stranger gets little. Its data never replaces a friend's data and
//!   never takes a friend's plain name. On disk it gets no more than the small box of requests.
//! - The key is the identity; a name is a label that its key signed. Two friends may have one name.
//!   The one known first keeps it plain; the other gets the first hex digits of its key as a
//!   suffix: `yzw#3f2a`. Presence belongs to a key, too.
//! - A chat line is stored once and unchanged, with all its bytes. The program replaces unprintable
//!   characters when it shows a line, not here.
//! - Each table is bounded: see the constants `MAX_…`.

mod bans;
mod blocks;
mod chat;
mod conversations;
mod copies;
mod errors;
mod former;
mod handle;
mod history;
mod kept;
mod known_addresses;
mod list;
mod missed;
mod notices;
mod outbox;
mod payees;
mod people;
mod profiles;
mod rates;
mod requests;
mod resolve;
mod sealed;
mod standing;
mod store;
mod strangers;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::Path,
};

use tokio::sync::broadcast;

#[cfg(any(test, fuzzing))]
pub(crate) use known_addresses::check_address;

pub(crate) use chat::{ChatRecord, LineState, MAX_OUTBOX_PER_FRIEND, Receipt, SentLine};
pub(crate) use errors::{
    ChatError, FindError, OwnProfileError, ProfileError, ReceiveError, ResolveError,
};
pub(crate) use handle::{FriendsHandle, spawn};
pub(crate) use history::{Found, in_sent_order};
pub(crate) use kept::{KeepError, KeptLine};
pub(crate) use known_addresses::{AddressSource, KnownPeer, split_address};
pub(crate) use list::FriendInfo;
pub(crate) use missed::{Answer, Missed};
pub(crate) use payees::PayeeInfo;
pub(crate) use profiles::{JudgedProfile, MAX_PROFILES_KEPT, ProfileReceipt};
pub(crate) use sealed::{Agree, MAX_CARRIERS, SealedError, ToLeave};
pub(crate) use store::StoreFault;
#[cfg(test)]
pub(crate) use {
    chat::{MAX_TIME_APART_MS, QuitReceipt},
    profiles::MAX_AHEAD_MS,
    sealed::MAX_SEALED_APART_MS,
};

use self::{
    conversations::Conversations,
    former::Former,
    kept::Kept,
    notices::Notices,
    profiles::{Known, Presence},
    rates::Rates,
    requests::Request,
    standing::Standing,
    store::Store,
    strangers::Strangers,
};
use crate::{
    peers::{Level, Trust},
    primitives::{FriendName, Moment, NetworkId, PeerId, Signature, UnixMillis},
    storage::contain,
    telemetry::events::{FriendJoined, FriendLeft},
    wire::{MessageId, Refusal, SignedProfile},
};

/// Least time between two writes of the time when an introduced peer was last seen, in ms: a
/// minute. It saves a commit for each of its reconnects.
const SEEN_INTERVAL_MS: u64 = 60_000;

/// Length of the event queue. A subscriber that lags further behind misses the oldest events.
const EVENTS: usize = 256;

/// A function that signs bytes with the node's identity key.
pub(crate) type Signer = Box<dyn Fn(&[u8]) -> Signature + Send>;

/// A monotonic clock, for rates.
pub(crate) type Momentary = Box<dyn Fn() -> Moment + Send>;

/// An event or reply that waits for the commit of its cause.
type Announcement = Box<dyn FnOnce() + Send>;

/// This node's identity, and the chain that it signs for.
pub(crate) struct FriendsConfig {
    pub(crate) me: PeerId,
    /// The chain whose id is part of each signature of a profile or line.
    pub(crate) network: NetworkId,
    /// Signs with the key of `me`.
    pub(crate) signer: Signer,
    /// Computes the shared secrets of `me`, to open sealed lines.
    pub(crate) agree: Agree,
    /// The levels of trust, to which the peers chosen in earlier runs are added.
    pub(crate) trust: Trust,
    pub(crate) clock: Momentary,
}

/// The way in which a friend went offline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// The friend published a goodbye.
    Quit,
    /// The last connection to the friend broke.
    Lost,
}

impl Departure {
    /// Returns the value of the log event's field.
    #[must_use]
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Quit => "quit",
            Self::Lost => "lost",
        }
    }
}

/// An event for consoles. Each name is a label ([`Friends::label`]), which identifies the key.
/// Texts may hold unprintable characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FriendsEvent {
    /// A friend is online and we hold its profile.
    Joined { peer: PeerId, name: String },
    /// A friend that had joined is no longer online.
    Left { peer: PeerId, name: String, how: Departure },
    /// A friend's new profile has another name.
    Renamed { peer: PeerId, old: String, new: String },
    /// A stranger has introduced itself.
    Asks { peer: PeerId, name: String },
    /// A peer that a friend introduced is here, and the user has not accepted it.
    Introduced { peer: PeerId, name: String, by: Option<String> },
    /// A line went into the box of requests: the user neither accepted its author nor wrote to it.
    Requested { peer: PeerId, name: String },
    /// A line of our own was stored, and waits to be sent or published.
    Sent(ChatRecord),
    /// A chat line from another node was stored.
    Received(ChatRecord),
    /// Friends keep our direct line for its receiver, who is away.
    LeftWith { id: MessageId, to: PeerId, name: String, friends: u32 },
    /// Our direct line is on its receiver's disk.
    Delivered { id: MessageId, to: PeerId, name: String },
    /// The receiver refused our direct line for good.
    Refused { id: MessageId, by: PeerId, name: String, why: Refusal },
}

/// The state of this module, and the owner of `friends.redb`.
pub(crate) struct Friends {
    me: PeerId,
    network: NetworkId,
    signer: Signer,
    agree: Agree,
    store: Store,
    trust: Trust,
    clock: Momentary,
    /// The table `profiles_2` in memory: peers that were not strangers when they were stored.
    known: BTreeMap<PeerId, Known>,
    /// Profiles of strangers, which are in memory only.
    strangers: Strangers,
    /// The table `people_1` in memory.
    people: BTreeMap<PeerId, Standing>,
    /// The table `bans_1` in memory: the end of each ban.
    banned: BTreeMap<PeerId, UnixMillis>,
    /// The table `blocked_1` in memory.
    blocked: BTreeMap<PeerId, Former>,
    /// The table `former_1` in memory.
    former: BTreeMap<PeerId, Former>,
    /// The table `payees_1` in memory.
    payees: BTreeMap<PeerId, FriendName>,
    /// The number of lines in each conversation.
    lines: Conversations,
    /// Sealed lines for friends who are away.
    kept: Kept,
    /// The table `requests_1` in memory.
    requests: BTreeMap<u64, Request>,
    own: Option<SignedProfile>,
    /// This node's name; `None` until it has one.
    own_name: Option<FriendName>,
    /// The connected peers.
    presence: HashMap<PeerId, Presence>,
    rates: Rates,
    notices: Notices,
    /// Announcements that wait for the batch's commit; `None` outside of a batch.
    waiting: Option<Vec<Announcement>>,
    events: broadcast::Sender<FriendsEvent>,
}

impl fmt::Debug for Friends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Friends")
            .field("me", &self.me)
            .field("known", &self.known.len())
            .finish_non_exhaustive()
    }
}

impl Friends {
    /// Opens `friends.redb` at `path`, or creates it. Blocks on the disk.
    pub(crate) fn open(path: &Path, config: FriendsConfig) -> Result<Self, StoreFault> {
        Self::with(Store::open(path)?, config)
    }

    /// Opens `friends.redb` at `path` read-only. Changes stay in memory and are lost at the end.
    pub(crate) fn open_frozen(path: &Path, config: FriendsConfig) -> Result<Self, StoreFault> {
        Self::with(Store::open_frozen(path)?, config)
    }

    /// True if a write failed: the file must be opened again before the next one.
    pub(crate) fn has_failed(&self) -> bool {
        self.store.has_failed()
    }

    /// Opens a database on any redb backend.
    #[cfg(test)]
    pub(crate) fn on_backend(
        backend: impl redb::StorageBackend,
        config: FriendsConfig,
    ) -> Result<Self, StoreFault> {
        Self::with(Store::on_backend(backend)?, config)
    }

    /// Opens an empty database in memory.
    #[cfg(test)]
    pub(crate) fn in_memory(config: FriendsConfig) -> Result<Self, StoreFault> {
        Self::with(Store::in_memory()?, config)
    }

    fn with(store: Store, config: FriendsConfig) -> Result<Self, StoreFault> {
        contain(|| Self::load(store, config))
            .unwrap_or_else(|reason| Err(StoreFault::Broken(reason)))
    }

    fn load(store: Store, config: FriendsConfig) -> Result<Self, StoreFault> {
        let FriendsConfig { me, network, signer, agree, trust, clock } = config;
        history::begin_unread(&store)?;
        let friends = Self {
            me,
            network,
            signer,
            agree,
            trust,
            known: profiles::load(&store)?,
            people: standing::load(&store)?,
            banned: bans::load(&store)?,
            blocked: blocks::load(&store)?,
            former: former::load(&store)?,
            payees: payees::load(&store)?,
            own_name: profiles::load_own_name(&store)?,
            lines: Conversations::load(&store)?,
            kept: Kept::load(&store)?,
            requests: requests::load(&store)?,
            store,
            strangers: Strangers::default(),
            own: None,
            presence: HashMap::new(),
            rates: Rates::new(clock()),
            notices: Notices::default(),
            clock,
            waiting: None,
            events: broadcast::Sender::new(EVENTS),
        };
        friends.restore_trust();
        Ok(friends)
    }

    /// Begins a batch of calls, whose changes share one commit.
    fn begin_batch(&mut self) {
        self.store.begin_batch();
        self.waiting = Some(Vec::new());
    }

    /// Commits the batch, then announces its events. If the commit fails, nothing is announced, and
    /// the file must be opened again.
    fn commit_batch(&mut self) {
        let waiting = self.waiting.take().unwrap_or_default();
        match self.store.commit_batch() {
            Ok(()) => waiting.into_iter().for_each(|announce| announce()),
            Err(error) => tracing::error!(%error, "changes to friends.redb are lost"),
        }
    }

    /// Runs `news` once the present changes are durable.
    fn announce(&mut self, news: impl FnOnce() + Send + 'static) {
        match &mut self.waiting {
            Some(waiting) => waiting.push(Box::new(news)),
            None => news(),
        }
    }

    fn emit(&mut self, event: FriendsEvent) {
        let events = self.events.clone();
        // The send fails while no console listens. The log has the event in any case.
        self.announce(move || drop(events.send(event)));
    }

    /// Records that there is a connection to the peer.
    pub(crate) fn online(&mut self, peer: PeerId, now: UnixMillis) -> Result<(), StoreFault> {
        let is_silent = peer == self.me || self.is_banned(&peer, now);
        if is_silent || self.presence.contains_key(&peer) {
            return Ok(());
        }
        self.presence.insert(peer, Presence::Connected);
        self.seen(&peer, now)?;
        self.join(&peer);
        Ok(())
    }

    /// Records that the last connection to the peer is closed.
    pub(crate) fn offline(
        &mut self,
        peer: PeerId,
        how: Departure,
        now: UnixMillis,
    ) -> Result<(), StoreFault> {
        match self.presence.remove(&peer) {
            None => return Ok(()),
            Some(Presence::Joined) => self.leave(&peer, how),
            Some(Presence::Connected | Presence::SaidGoodbye) => {}
        }
        self.seen(&peer, now)
    }

    /// True if the peer is connected and has not published a goodbye.
    #[must_use]
    pub(crate) fn is_online(&self, peer: &PeerId) -> bool {
        matches!(self.presence.get(peer), Some(Presence::Connected | Presence::Joined))
    }

    /// Emits `Joined` once per presence, if the peer's profile is here and the peer is no stranger.
    /// An introduced peer's arrivals count as lines, so that it cannot fill the chat with them.
    fn join(&mut self, peer: &PeerId) {
        let level = self.level(peer);
        let is_here = matches!(self.presence.get(peer), Some(Presence::Connected));
        if !is_here || !self.known.contains_key(peer) || level == Level::Stranger {
            return;
        }
        if level == Level::Introduced && !self.rates.take(*peer, level, (self.clock)()) {
            return;
        }
        let name = self.label(peer);
        let Some(presence @ Presence::Connected) = self.presence.get_mut(peer) else { return };
        *presence = Presence::Joined;
        let event = FriendJoined { peer: *peer, name: name.clone() };
        self.announce(move || event.emit());
        self.emit(FriendsEvent::Joined { peer: *peer, name });
        self.tell_of_introduced(*peer);
    }

    fn leave(&mut self, peer: &PeerId, how: Departure) {
        let name = self.label(peer);
        let event = FriendLeft { peer: *peer, name: name.clone(), how: how.code() };
        self.announce(move || event.emit());
        self.emit(FriendsEvent::Left { peer: *peer, name, how });
    }

    fn seen(&mut self, peer: &PeerId, now: UnixMillis) -> Result<(), StoreFault> {
        let Some(known) = self.known.get(peer) else { return Ok(()) };
        let is_recent = known.last_seen > 0 && now.abs_diff(known.last_seen) < SEEN_INTERVAL_MS;
        match self.level(peer) {
            Level::Stranger => return Ok(()),
            Level::Introduced if is_recent => return Ok(()),
            Level::Introduced | Level::Friend => {}
        }
        let known = Known { last_seen: known.last_seen.max(now), ..known.clone() };
        self.store.write(|tables| profiles::put(tables, &known))?;
        self.known.insert(*peer, known);
        Ok(())
    }
}
