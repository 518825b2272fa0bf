//! Friends: their signed profiles and names, who is here, chat with its outbox, and where to find
//! whom again.
//!
//! [`Friends`] owns `friends.redb` and is a plain struct: a call and the time in, an answer out.
//! The node runs it on a thread of its own ([`spawn`]) and speaks to it through a
//! [`FriendsHandle`], since every change waits for the disk. Invariants:
//! - What an answer says was kept is durable.
//! - The key is the identity; a name is a label that its key signed. Two friends may bear one name,
//!   and are then told apart by the first hex digits of their keys: `yzw#3f2a`.
//! - A line is kept once, whole, whatever is in it; what is not printable is replaced where it is
//!   shown, not here.
//! - Everything kept is bounded: see the constants `MAX_…`.

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

pub use chat::{
    ChatRecord, LineState, MAX_HISTORY, MAX_LINES, MAX_OUTBOX, MAX_OUTBOX_PER_FRIEND,
    MAX_TIME_APART_MS, QuitReceipt, Receipt, SentLine,
};
pub use errors::{ChatError, FindError, OwnProfileError, ProfileError, ReceiveError, ResolveError};
pub use handle::{FriendsHandle, spawn};
pub use known_addresses::{
    AddressSource, BadAddress, KnownPeer, MAX_ADDRESSES_PER_PEER, MAX_BOOK_ADDRESSES,
    TOUCH_INTERVAL_MS, check_address, split_address,
};
pub use profiles::{FriendInfo, Kept, MAX_AHEAD_MS, MAX_NAMES, MAX_PROFILES_KEPT};
pub use resolve::{MIN_SUFFIX_DIGITS, MIN_SUFFIX_DIGITS_TO_PAY};
pub use store::StoreFault;

use self::{
    profiles::{Known, Presence},
    rates::Rates,
    store::Store,
};
use crate::{
    peers::{Ban, BanTerm},
    primitives::{
        NetworkId, PeerId, PublicKey, Signature, UnixMillis, contain,
        events::{FriendJoined, FriendLeft},
    },
    wire::{MessageId, Refusal, SignedProfile},
};

/// Events that a slow subscriber may lag behind before it misses some.
const EVENTS: usize = 256;

/// Signs with the node's identity key.
pub type Signer = Box<dyn Fn(&[u8]) -> Signature + Send>;

/// Who we are.
pub struct FriendsConfig {
    /// The node's identity.
    pub me: PeerId,
    /// The chain that profiles and lines are signed for.
    pub network: NetworkId,
    /// Signs with the key of `me`.
    pub signer: Signer,
}

/// How a friend went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// It said goodbye.
    Quit,
    /// Its connection broke.
    Lost,
}

impl Departure {
    /// As events name it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Quit => "quit",
            Self::Lost => "lost",
        }
    }
}

/// What consoles show as it happens. Names are as people tell friends apart; texts are whole and
/// not yet made printable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FriendsEvent {
    /// A friend's profile is held and the friend is here.
    Joined {
        /// Who.
        peer: PeerId,
        /// By its profile.
        name: String,
    },
    /// A friend that was here is not any more.
    Left {
        /// Who.
        peer: PeerId,
        /// By its profile.
        name: String,
        /// How.
        how: Departure,
    },
    /// A friend calls itself otherwise.
    Renamed {
        /// Who.
        peer: PeerId,
        /// Until now.
        old: String,
        /// From now on.
        new: String,
    },
    /// A line came.
    Received(ChatRecord),
    /// A direct line of ours is on its receiver's disk.
    Delivered {
        /// Which.
        id: MessageId,
        /// To whom.
        to: PeerId,
        /// Its name.
        name: String,
    },
    /// A direct line of ours will never be taken.
    Refused {
        /// Which.
        id: MessageId,
        /// By whom.
        by: PeerId,
        /// Its name.
        name: String,
        /// Why.
        why: Refusal,
    },
}

/// All that a node knows of its friends: see the module.
pub struct Friends {
    me: PeerId,
    network: NetworkId,
    signer: Signer,
    store: Store,
    /// Profiles held, own not among them: what the table `profiles_1` holds.
    known: BTreeMap<PeerId, Known>,
    own: Option<SignedProfile>,
    /// Peers that are connected.
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
    /// Opens `friends.redb` at `path`, or makes it. Blocks on the disk.
    pub fn open(path: &Path, config: FriendsConfig) -> Result<Self, StoreFault> {
        Self::with(Store::open(path)?, config)
    }

    /// Opens `friends.redb` at `path` to be read: what changes is kept in memory, and lost at the
    /// end.
    pub fn open_frozen(path: &Path, config: FriendsConfig) -> Result<Self, StoreFault> {
        Self::with(Store::open_frozen(path)?, config)
    }

    /// Whether the file failed: it must be opened again before anything can be kept.
    pub(crate) fn has_failed(&self) -> bool {
        self.store.has_failed()
    }

    /// On any backend, for tests.
    #[cfg(test)]
    pub(crate) fn on_backend(
        backend: impl redb::StorageBackend,
        config: FriendsConfig,
    ) -> Result<Self, StoreFault> {
        Self::with(Store::on_backend(backend)?, config)
    }

    /// In memory, for tests.
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

    /// What happens from now on. Who lags more than 256 events behind misses some.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<FriendsEvent> {
        self.events.subscribe()
    }

    /// The node's identity.
    #[must_use]
    pub const fn me(&self) -> PeerId {
        self.me
    }

    fn tell(&self, event: FriendsEvent) {
        // Nobody may be listening: the log has it too.
        let _ = self.events.send(event);
    }

    /// A connection to the peer stands.
    pub fn online(&mut self, peer: PeerId, now: UnixMillis) -> Result<(), StoreFault> {
        if peer == self.me || self.presence.contains_key(&peer) {
            return Ok(());
        }
        self.presence.insert(peer, Presence::Connected);
        self.seen(&peer, now)?;
        self.join(&peer);
        Ok(())
    }

    /// The last connection to the peer is gone.
    pub fn offline(
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

    /// Whether the peer is connected and has not said goodbye.
    #[must_use]
    pub fn is_online(&self, peer: &PeerId) -> bool {
        matches!(self.presence.get(peer), Some(Presence::Connected | Presence::Joined))
    }

    /// Tells that a connected peer whose profile is held has come, once.
    fn join(&mut self, peer: &PeerId) {
        let Some(known) = self.known.get(peer) else { return };
        let name = known.profile.name.clone();
        let Some(presence @ Presence::Connected) = self.presence.get_mut(peer) else { return };
        *presence = Presence::Joined;
        FriendJoined { peer: *peer, name: name.clone() }.emit();
        self.tell(FriendsEvent::Joined { peer: *peer, name });
    }

    fn leave(&self, peer: &PeerId, how: Departure) {
        let name = self.known.get(peer).map(|known| known.profile.name.clone()).unwrap_or_default();
        FriendLeft { peer: *peer, name: name.clone(), how: how.code() }.emit();
        self.tell(FriendsEvent::Left { peer: *peer, name, how });
    }

    fn seen(&mut self, peer: &PeerId, now: UnixMillis) -> Result<(), StoreFault> {
        let Some(known) = self.known.get(peer) else { return Ok(()) };
        let known = Known { last_seen: known.last_seen.max(now), ..known.clone() };
        self.store.write(|tables| profiles::put(tables, &known))?;
        self.known.insert(*peer, known);
        Ok(())
    }

    /// Keeps a ban across restarts.
    pub fn keep_ban(&mut self, ban: Ban) -> Result<(), StoreFault> {
        let end = match ban.term {
            BanTerm::Until(end) => end,
            BanTerm::Forever => u64::MAX,
        };
        self.store.write(|tables| Ok(tables.bans.insert(&ban.peer.0.0, end).map(drop)?))
    }

    /// Forgets a ban, lifted or ended.
    pub fn forget_ban(&mut self, peer: PeerId) -> Result<(), StoreFault> {
        self.store.write(|tables| Ok(tables.bans.remove(&peer.0.0).map(drop)?))
    }

    /// The bans that were kept and hold; the others are forgotten.
    pub fn bans(&mut self, now: UnixMillis) -> Result<Vec<Ban>, StoreFault> {
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
