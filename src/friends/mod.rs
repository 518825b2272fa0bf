//! Friends keeps the friends' signed profiles and names, who is online, chat with its outbox, and
//! the addresses to dial.
//!
//! [`Friends`] owns `friends.redb`. It is a plain struct without sockets or timers: each call gets
//! the time as an argument and returns a result. Every change waits for the disk, so the node runs
//! it on a thread of its own ([`spawn`]) and sends calls through a [`FriendsHandle`].
//!
//! # Invariants
//! - A change is durable before the call that made it returns.
//! - The key is the identity; a name is a label that its key signed. Two friends may have one name.
//!   The first hex digits of their keys then tell them apart: `yzw#3f2a`.
//! - A chat line is stored once and unchanged, whatever bytes it holds. The program replaces
//!   unprintable characters when it shows a line, not here.
//! - Each table is bounded: see the constants `MAX_…`.

mod chat;
mod errors;
mod handle;
mod known_addresses;
mod profiles;
mod rates;
mod resolve;
mod store;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::Path,
};

use redb::ReadableTable;
use tokio::sync::broadcast;

#[cfg(any(test, fuzzing))]
pub(crate) use known_addresses::check_address;

pub(crate) use chat::{
    ChatRecord, LineState, MAX_OUTBOX_PER_FRIEND, QuitReceipt, Receipt, SentLine,
};
pub(crate) use errors::{
    ChatError, FindError, OwnProfileError, ProfileError, ReceiveError, ResolveError,
};
pub(crate) use handle::{FriendsHandle, spawn};
pub(crate) use known_addresses::{AddressSource, KnownPeer, split_address};
pub(crate) use profiles::{FriendInfo, MAX_PROFILES_KEPT, ProfileReceipt};
pub(crate) use store::StoreFault;
#[cfg(test)]
pub(crate) use {chat::MAX_TIME_APART_MS, profiles::MAX_AHEAD_MS};

use self::{
    profiles::{Known, Presence},
    rates::Rates,
    store::Store,
};
use crate::{
    peers::{Ban, BanTerm},
    primitives::{NetworkId, PeerId, PublicKey, Signature, UnixMillis},
    storage::contain,
    telemetry::events::{FriendJoined, FriendLeft},
    wire::{MessageId, Refusal, SignedProfile},
};

/// Length of the event queue. A subscriber that lags further behind misses the oldest events.
const EVENTS: usize = 256;

/// A function that signs bytes with the node's identity key.
pub(crate) type Signer = Box<dyn Fn(&[u8]) -> Signature + Send>;

/// This node's identity, and the chain that it signs for.
pub(crate) struct FriendsConfig {
    pub(crate) me: PeerId,
    /// The chain whose id is part of each signature of a profile or line.
    pub(crate) network: NetworkId,
    /// Signs with the key of `me`.
    pub(crate) signer: Signer,
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

/// News for consoles. A `name` is the friend's label ([`Friends::label`]) or the name in its
/// profile; texts may hold unprintable characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FriendsEvent {
    /// A friend is online and we hold its profile.
    Joined { peer: PeerId, name: String },
    /// A friend that had joined is no longer online.
    Left { peer: PeerId, name: String, how: Departure },
    /// A friend's new profile has another name.
    Renamed { peer: PeerId, old: String, new: String },
    /// A chat line from another node was stored.
    Received(ChatRecord),
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
    store: Store,
    /// The table `profiles_1` in memory, without our own profile.
    known: BTreeMap<PeerId, Known>,
    own: Option<SignedProfile>,
    /// The connected peers.
    presence: HashMap<PeerId, Presence>,
    rates: Rates,
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
        let known = contain(|| profiles::load(&store))
            .unwrap_or_else(|reason| Err(StoreFault::Broken(reason)))?;
        let FriendsConfig { me, network, signer } = config;
        Ok(Self {
            me,
            network,
            signer,
            store,
            known,
            own: None,
            presence: HashMap::new(),
            rates: Rates::default(),
            events: broadcast::Sender::new(EVENTS),
        })
    }

    fn emit(&self, event: FriendsEvent) {
        // This fails while no console listens, and then the log alone has the event.
        let _ = self.events.send(event);
    }

    /// Records that there is a connection to the peer.
    pub(crate) fn online(&mut self, peer: PeerId, now: UnixMillis) -> Result<(), StoreFault> {
        if peer == self.me || self.presence.contains_key(&peer) {
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

    /// Emits `Joined` once for each time that a peer whose profile we hold is online.
    fn join(&mut self, peer: &PeerId) {
        let Some(known) = self.known.get(peer) else { return };
        let name = known.profile.name.clone();
        let Some(presence @ Presence::Connected) = self.presence.get_mut(peer) else { return };
        *presence = Presence::Joined;
        FriendJoined { peer: *peer, name: name.clone() }.emit();
        self.emit(FriendsEvent::Joined { peer: *peer, name });
    }

    fn leave(&self, peer: &PeerId, how: Departure) {
        let name = self.known.get(peer).map(|known| known.profile.name.clone()).unwrap_or_default();
        FriendLeft { peer: *peer, name: name.clone(), how: how.code() }.emit();
        self.emit(FriendsEvent::Left { peer: *peer, name, how });
    }

    fn seen(&mut self, peer: &PeerId, now: UnixMillis) -> Result<(), StoreFault> {
        let Some(known) = self.known.get(peer) else { return Ok(()) };
        let known = Known { last_seen: known.last_seen.max(now), ..known.clone() };
        self.store.write(|tables| profiles::put(tables, &known))?;
        self.known.insert(*peer, known);
        Ok(())
    }

    /// Stores a ban, so that it survives restarts.
    pub(crate) fn keep_ban(&mut self, ban: Ban) -> Result<(), StoreFault> {
        let end = match ban.term {
            BanTerm::Until(end) => end,
            BanTerm::Forever => u64::MAX,
        };
        self.store.write(|tables| Ok(tables.bans.insert(&ban.peer.0.0, end).map(drop)?))
    }

    /// Deletes a ban that a user lifted or that has ended.
    pub(crate) fn forget_ban(&mut self, peer: PeerId) -> Result<(), StoreFault> {
        self.store.write(|tables| Ok(tables.bans.remove(&peer.0.0).map(drop)?))
    }

    /// Returns the bans in force, and deletes those that have ended.
    pub(crate) fn bans(&mut self, now: UnixMillis) -> Result<Vec<Ban>, StoreFault> {
        self.store.write(|tables| {
            tables.bans.retain(|_, end| now < end)?;
            let mut bans = Vec::new();
            for row in tables.bans.iter()? {
                let (peer, end) = row?;
                let term = match end.value() {
                    u64::MAX => BanTerm::Forever,
                    end => BanTerm::Until(end),
                };
                bans.push(Ban { peer: PeerId(PublicKey(*peer.value())), term });
            }
            Ok(bans)
        })
    }
}
