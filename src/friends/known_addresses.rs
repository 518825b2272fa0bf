//! Addresses of peers from earlier runs, so that the node can dial them after a restart.

use redb::{ReadableTable as _, ReadableTableMetadata as _};

use super::{
    Friends,
    standing::Standing,
    store::{Key32, StoreFault, Tables},
};
use crate::{
    peers::{Level, Trust},
    primitives::{PeerId, PublicKey, UnixMillis, printable},
    wire::{
        address::{has_multiaddr_form, split_peer},
        limits::MAX_ADDRESS_BYTES,
    },
};

/// The most addresses stored for one peer.
pub(crate) const MAX_ADDRESSES_PER_PEER: usize = 16;
/// The most addresses stored for all peers together: 4,096 × 256 bytes = 1 MB.
pub(crate) const MAX_BOOK_ADDRESSES: u64 = 4_096;
/// Least time between two writes of an address's last connection, in ms: 10 minutes. It saves a
/// commit for each reconnect.
pub(crate) const TOUCH_INTERVAL_MS: u64 = 10 * 60 * 1_000;

/// The origin of an address, the most trusted last. A full table drops less trusted addresses
/// first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum AddressSource {
    /// The peer's signed profile.
    Profile,
    /// Found by mDNS or Kademlia.
    Discovered,
    /// Dialed successfully before.
    Connected,
    /// Part of an invite.
    Invite,
    /// Entered by a user.
    Command,
}

impl AddressSource {
    const ALL: [Self; 5] =
        [Self::Profile, Self::Discovered, Self::Connected, Self::Invite, Self::Command];

    /// Returns the number in the file. Numbers never change.
    const fn number(self) -> u8 {
        match self {
            Self::Profile => 0,
            Self::Discovered => 1,
            Self::Connected => 2,
            Self::Invite => 3,
            Self::Command => 4,
        }
    }

    /// True if the user gave the address. The user thereby accepts the peer that answers there.
    const fn is_users(self) -> bool {
        matches!(self, Self::Invite | Self::Command)
    }

    fn from_number(number: u8) -> Self {
        Self::ALL.into_iter().find(|source| source.number() == number).unwrap_or(Self::Profile)
    }
}

/// The error for a text that cannot be an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not an address: write /ip4/192.168.1.5/tcp/8891, {MAX_ADDRESS_BYTES} characters at \
     most"
)]
pub(crate) struct BadAddress(pub String);

/// Checks that a text can be a multiaddr without a peer id. This is a check of its form: `net`
/// parses it when it dials.
pub(crate) fn check_address(text: &str) -> Result<(), BadAddress> {
    if has_multiaddr_form(text) { Ok(()) } else { Err(bad_address(text)) }
}

/// Splits an address from an invite or a user into the address to dial and the peer id after
/// `/p2p/`, if there is one.
pub(crate) fn split_address(text: &str) -> Result<(&str, Option<PeerId>), BadAddress> {
    let (address, peer) = split_peer(text);
    let peer = peer.map(str::parse::<PeerId>).transpose().map_err(|_| bad_address(text))?;
    check_address(address)?;
    Ok((address, peer))
}

fn bad_address(text: &str) -> BadAddress {
    BadAddress(printable(&text.chars().take(100).collect::<String>()))
}

/// Removes the peer id from the end of an address.
pub(super) fn strip_peer(address: &str) -> &str {
    split_peer(address).0
}

/// A peer with addresses to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownPeer {
    pub(crate) peer: PeerId,
    /// Addresses without `/p2p/`, the one most likely to answer first.
    pub(crate) addresses: Vec<String>,
    /// The number of leading addresses that are proven: the user gave them, or a connection
    /// succeeded there. The others are hints.
    pub(crate) proven: usize,
    /// Time of the last connection to the peer; `None` if there was none.
    pub(crate) last_seen: Option<UnixMillis>,
    /// The most trusted source of the addresses.
    pub(crate) source: AddressSource,
}

/// A row of the table `peers_1`.
struct Entry {
    peer: Key32,
    address: String,
    added: UnixMillis,
    last_seen: UnixMillis,
    source: AddressSource,
}

impl Entry {
    /// Returns the key by which a full table evicts, the least first. Addresses from the user are
    /// evicted last. Among the others, strangers' addresses and those that worked longest ago go
    /// first.
    fn worth(&self, trust: &Trust) -> (bool, Level, UnixMillis, AddressSource, UnixMillis) {
        (
            self.source.is_users(),
            trust.level(&PeerId(PublicKey(self.peer))),
            self.last_seen,
            self.source,
            self.added,
        )
    }
}

fn entry(key: (&Key32, &str), row: (u64, u64, u8)) -> Entry {
    let ((peer, address), (added, last_seen, source)) = (key, row);
    Entry {
        peer: *peer,
        address: address.to_owned(),
        added,
        last_seen,
        source: AddressSource::from_number(source),
    }
}

impl Friends {
    /// Stores addresses of a peer. Skips texts that cannot be addresses, and removes `/p2p/` from
    /// the end of the others. A user's addresses make the peer a friend.
    pub(crate) fn add_addresses(
        &mut self,
        peer: PeerId,
        addresses: &[String],
        source: AddressSource,
        now: UnixMillis,
    ) -> Result<(), StoreFault> {
        let held = self.entries_of(&peer)?;
        let is_new = |address: &&str| {
            check_address(address).is_ok()
                && !held.iter().any(|entry| entry.address == **address && entry.source >= source)
        };
        let fresh: Vec<_> = addresses
            .iter()
            .map(|address| strip_peer(address))
            .filter(is_new)
            .take(MAX_ADDRESSES_PER_PEER)
            .collect();
        if peer == self.me || fresh.is_empty() {
            return Ok(());
        }
        let Self { store, trust, .. } = self;
        store.write(|tables| {
            let row = |address| insert(tables, trust, peer, address, source, now, 0);
            fresh.into_iter().try_for_each(row)
        })?;
        if !source.is_users() || self.is_blocked(&peer) {
            return Ok(());
        }
        self.trust.accept(peer);
        self.promote_met(peer, Standing::ACCEPTED, now)
    }

    /// Records a connection to a peer at an address that we dialed. Addresses of strangers share
    /// one budget.
    pub(crate) fn touch_address(
        &mut self,
        peer: PeerId,
        address: &str,
        now: UnixMillis,
    ) -> Result<(), StoreFault> {
        let address = strip_peer(address);
        let is_recent = |entry: &Entry| {
            entry.address == address
                && now.saturating_sub(entry.last_seen) < TOUCH_INTERVAL_MS
                && entry.last_seen <= now
        };
        if check_address(address).is_err() || self.entries_of(&peer)?.iter().any(is_recent) {
            return Ok(());
        }
        let is_stranger = self.level(&peer) == Level::Stranger;
        if is_stranger && !self.rates.take(peer, Level::Stranger, (self.clock)()) {
            return Ok(());
        }
        let Self { store, trust, .. } = self;
        store.write(|tables| {
            insert(tables, trust, peer, address, AddressSource::Connected, now, now)
        })
    }

    /// Returns at most `limit` peers to dial, the most likely to answer first.
    pub(crate) fn known_peers(&self, limit: usize) -> Result<Vec<KnownPeer>, StoreFault> {
        let entries = self.store.view(all)?;
        let mut peers: Vec<_> =
            entries.chunk_by(|one, other| one.peer == other.peer).filter_map(gather).collect();
        peers.sort_by_key(|(worth, _)| std::cmp::Reverse(*worth));
        Ok(peers.into_iter().map(|(_, peer)| peer).take(limit).collect())
    }

    fn entries_of(&self, peer: &PeerId) -> Result<Vec<Entry>, StoreFault> {
        self.store.view(|tables| rows_of(tables, &peer.0.0))
    }

    /// Returns the addresses stored of a peer.
    pub(super) fn addresses_of(&self, peer: &PeerId) -> Result<Vec<String>, StoreFault> {
        Ok(self.entries_of(peer)?.into_iter().map(|entry| entry.address).collect())
    }
}

fn rows_of(tables: &Tables<'_>, peer: &Key32) -> Result<Vec<Entry>, StoreFault> {
    let mut rows = Vec::new();
    for row in tables.addresses.range(of(peer))? {
        let (key, row) = row?;
        rows.push(entry(key.value(), row.value()));
    }
    Ok(rows)
}

/// Returns the range of one peer's keys: each address begins with '/', the byte before '0'.
fn of(peer: &Key32) -> std::ops::Range<(&Key32, &str)> {
    (peer, "")..(peer, "0")
}

/// Joins the rows of one peer, and returns it with its sort key among the peers.
fn gather(entries: &[Entry]) -> Option<((UnixMillis, AddressSource), KnownPeer)> {
    let mut best: Vec<_> = entries.iter().collect();
    best.sort_by_key(|entry| std::cmp::Reverse((entry.last_seen, entry.source, entry.added)));
    let source = best.iter().map(|entry| entry.source).max()?;
    let last_seen = best.first()?.last_seen;
    let peer = KnownPeer {
        peer: PeerId(PublicKey(best.first()?.peer)),
        addresses: best.iter().map(|entry| entry.address.clone()).collect(),
        // The sort order puts proven ones first.
        proven: best
            .iter()
            .take_while(|entry| entry.last_seen > 0 || entry.source >= AddressSource::Connected)
            .count(),
        last_seen: (last_seen > 0).then_some(last_seen),
        source,
    };
    Some(((last_seen, source), peer))
}

/// Writes one address, and evicts another if the peer's share or the table is full.
fn insert(
    tables: &mut Tables<'_>,
    trust: &Trust,
    peer: PeerId,
    address: &str,
    source: AddressSource,
    now: UnixMillis,
    last_seen: UnixMillis,
) -> Result<(), StoreFault> {
    let peer = &peer.0.0;
    let held = tables.addresses.get((peer, address))?.map(|row| row.value());
    let row = match held {
        Some((added, seen, number)) => {
            (added, last_seen.max(seen), source.max(AddressSource::from_number(number)).number())
        }
        None => (now, last_seen, source.number()),
    };
    if held.is_none() {
        let mut rows = rows_of(tables, peer)?;
        if rows.len() < MAX_ADDRESSES_PER_PEER {
            rows = if tables.addresses.len()? < MAX_BOOK_ADDRESSES {
                Vec::new()
            } else {
                all(tables)?
            };
        }
        if let Some(least) = rows.iter().min_by_key(|entry| entry.worth(trust)) {
            tables.addresses.remove((&least.peer, least.address.as_str()))?;
        }
    }
    tables.addresses.insert((peer, address), row)?;
    Ok(())
}

fn all(tables: &Tables<'_>) -> Result<Vec<Entry>, StoreFault> {
    let mut entries = Vec::new();
    for row in tables.addresses.iter()? {
        let (key, row) = row?;
        entries.push(entry(key.value(), row.value()));
    }
    Ok(entries)
}
