//! Names of friends: finds the friend that a text names, and a label that names only one friend.
//!
//! Anybody can take any name, so the level decides first. A name means a friend who bears it before
//! an introduced peer, and never a stranger: strangers need a suffix. Within one level, the first
//! known peer of the name keeps it plain, and all later ones need a suffix. This node itself comes
//! before them all. Names that look alike are one name, see [`FriendName`].

use std::{cmp::Reverse, collections::HashMap};

use data_encoding::HEXLOWER;

use super::{Friends, ResolveError};
use crate::{
    peers::Level,
    primitives::{FriendName, PeerId, UnixMillis, printable},
};

/// The fewest hex digits in a suffix.
pub(crate) const MIN_SUFFIX_DIGITS: usize = 4;
/// The number of hex digits in a key.
pub(super) const KEY_DIGITS: usize = 64;
/// The most candidates that an error names.
const MAX_CANDIDATES: usize = 8;

/// Returns the length of the shortest suffix that distinguishes `peer` from `namesakes`, at least
/// [`MIN_SUFFIX_DIGITS`]. `namesakes` must be sorted, and may hold `peer`.
fn unique_digits(peer: &PeerId, namesakes: &[PeerId]) -> usize {
    let at = namesakes.partition_point(|other| other < peer);
    let before = at.checked_sub(1).and_then(|at| namesakes.get(at));
    let after = namesakes.get(at..).unwrap_or_default().iter().find(|other| *other != peer);
    // Since keys are sorted, the longest shared prefix is with one of the two neighbours.
    let shared = before.into_iter().chain(after).map(|other| shared_digits(peer, other)).max();
    shared
        .map_or(MIN_SUFFIX_DIGITS, |shared| shared.saturating_add(1))
        .clamp(MIN_SUFFIX_DIGITS, KEY_DIGITS)
}

fn shared_digits(one: &PeerId, other: &PeerId) -> usize {
    let (one, other) = (HEXLOWER.encode(&one.0.0), HEXLOWER.encode(&other.0.0));
    one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count()
}

/// A parsed text from a user.
pub(super) enum Asked {
    Peer(PeerId),
    Name { name: FriendName, suffix: Option<String> },
}

impl Asked {
    /// True if the text's suffix, if it has one, is the beginning of the peer's key.
    pub(super) fn fits(suffix: Option<&String>, peer: &PeerId) -> bool {
        suffix.is_none_or(|suffix| peer.suffix(KEY_DIGITS).starts_with(suffix.as_str()))
    }
}

/// A peer's label, and the digits that distinguish it from its namesakes.
pub(super) struct Called {
    pub(super) label: String,
    pub(super) digits: usize,
}

/// The peers by the skeletons of their names, to find the namesakes of many at once.
pub(super) struct Index<'a>(HashMap<&'a str, Vec<PeerId>>);

impl Friends {
    /// Returns the peers whose names are like this one and that have at least this level, sorted by
    /// key.
    pub(super) fn namesakes(&self, name: &FriendName, least: Level) -> Vec<PeerId> {
        let bears = |(peer, borne): (PeerId, &FriendName)| {
            (borne.is_like(name) && self.level(&peer) >= least).then_some(peer)
        };
        let known = self.known.iter().map(|(peer, known)| (*peer, &known.name));
        let mut all: Vec<_> = known.filter_map(bears).collect();
        if least == Level::Stranger {
            let former = self.former.iter().map(|(peer, former)| (*peer, &former.name));
            let blocked = self.blocked.iter().map(|(peer, blocked)| (*peer, &blocked.name));
            let others = self.strangers.names().chain(former).chain(blocked);
            all.extend(others.filter_map(bears));
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Returns all peers that are no strangers, by the skeletons of their names.
    pub(super) fn index(&self) -> Index<'_> {
        let mut index: HashMap<&str, Vec<PeerId>> = HashMap::new();
        for (peer, known) in &self.known {
            if self.level(peer) > Level::Stranger {
                for skeleton in known.name.skeletons() {
                    index.entry(skeleton).or_default().push(*peer);
                }
            }
        }
        Index(index)
    }

    /// Returns the label of a peer that is no stranger, as [`Friends::label`] does.
    pub(super) fn called(&self, peer: &PeerId, name: &FriendName, index: &Index<'_>) -> Called {
        let level = self.level(peer);
        let mut namesakes: Vec<PeerId> = Vec::new();
        for skeleton in name.skeletons() {
            let of_one = index.0.get(skeleton).map_or(&[][..], Vec::as_slice);
            let is_like = |other: &&PeerId| {
                self.level(other) >= level
                    && self.known.get(*other).is_some_and(|known| known.name.is_like(name))
            };
            namesakes.extend(of_one.iter().filter(is_like));
        }
        namesakes.sort_unstable();
        namesakes.dedup();
        self.called_among(peer, name, &namesakes)
    }

    fn called_among(&self, peer: &PeerId, name: &FriendName, namesakes: &[PeerId]) -> Called {
        let digits = unique_digits(peer, namesakes);
        let is_plain = self.level(peer) > Level::Stranger
            && !self.is_own_name(name)
            && namesakes.iter().min_by_key(|peer| self.rank(peer)) == Some(peer);
        let label = if is_plain {
            name.as_str().to_owned()
        } else {
            format!("{}#{}", name.as_str(), peer.suffix(digits))
        };
        Called { label, digits }
    }

    /// Returns the place of a peer among those of its name: the first one keeps the plain name.
    fn rank(&self, peer: &PeerId) -> (Reverse<Level>, UnixMillis, PeerId) {
        let level = self.level(peer);
        let named = self.known.get(peer).map_or(UnixMillis::MAX, super::profiles::Known::named);
        let befriended = self.people.get(peer).filter(|_| level == Level::Friend);
        let since = named.max(befriended.map_or(0, |standing| standing.since));
        (Reverse(level), since, *peer)
    }

    /// True if a name is like this node's own.
    pub(super) fn is_own_name(&self, name: &FriendName) -> bool {
        self.own_name.as_ref().is_some_and(|own| own.is_like(name))
    }

    /// Returns the name in a peer's profile, or its last name.
    pub(super) fn name_of(&self, peer: &PeerId) -> Option<&FriendName> {
        let known = self.known.get(peer).map(|known| &known.name);
        known
            .or_else(|| self.strangers.name(peer))
            .or_else(|| self.blocked.get(peer).map(|blocked| &blocked.name))
            .or_else(|| self.former.get(peer).map(|former| &former.name))
            .filter(|name| !name.as_str().is_empty())
    }

    /// Returns a text that names only this peer: the name, or the name with a suffix. A peer that
    /// is no friend never has a friend's plain name, and a stranger always has a suffix. Without a
    /// profile, the text is the end of the peer id.
    #[must_use]
    pub(crate) fn label(&self, peer: &PeerId) -> String {
        if *peer == self.me
            && let Some(own) = &self.own_name
        {
            return own.as_str().to_owned();
        }
        let Some(name) = self.name_of(peer) else {
            let id = peer.to_string();
            return format!("…{}", id.get(id.len().saturating_sub(8)..).unwrap_or_default());
        };
        self.called_among(peer, name, &self.namesakes(name, self.level(peer))).label
    }

    /// Returns the digits that distinguish a peer from others of its name and level.
    pub(super) fn digits(&self, peer: &PeerId, name: &FriendName) -> usize {
        unique_digits(peer, &self.namesakes(name, self.level(peer)))
    }

    /// Returns the friend named by a text: a name, a name with a suffix (`yzw#3f2a`), or a peer id.
    /// An introduced peer is found by its name where no friend bears it, a stranger only with a
    /// suffix.
    pub(crate) fn resolve(&self, text: &str) -> Result<PeerId, ResolveError> {
        self.find(text, false)
    }

    /// Returns the peer that a text names for `accept-friend` or `ban`. The text may also be the
    /// plain name of a stranger, or an unknown peer id.
    pub(super) fn resolve_anybody(&self, text: &str) -> Result<PeerId, ResolveError> {
        match ask(text)? {
            Asked::Peer(peer) if peer != self.me => Ok(peer),
            _ => self.find(text, true),
        }
    }

    /// Returns a text by which `accept-friend` finds the peer: its label, or its id without a
    /// profile.
    pub(super) fn full_label(&self, peer: &PeerId) -> String {
        if self.name_of(peer).is_some() { self.label(peer) } else { peer.to_string() }
    }

    fn is_heard_of(&self, peer: &PeerId) -> bool {
        self.name_of(peer).is_some()
            || self.presence.contains_key(peer)
            || self.people.contains_key(peer)
            || self.blocked.contains_key(peer)
    }

    pub(super) fn find(&self, text: &str, plain_strangers: bool) -> Result<PeerId, ResolveError> {
        let (name, suffix) = match ask(text)? {
            Asked::Peer(peer) if peer == self.me => return Err(self.note_to_self(text, None)),
            Asked::Peer(peer) if self.is_heard_of(&peer) => return Ok(peer),
            Asked::Peer(_) => return Err(ResolveError::Unknown(shown(text))),
            Asked::Name { name, suffix } => (name, suffix),
        };
        let is_plain = suffix.is_none();
        if is_plain && self.is_own_name(&name) {
            return Err(self.note_to_self(text, Some(&name)));
        }
        for least in [Level::Friend, Level::Introduced, Level::Stranger] {
            let mut namesakes = self.namesakes(&name, least);
            namesakes.retain(|peer| Asked::fits(suffix.as_ref(), peer));
            match namesakes[..] {
                [] => {}
                [peer]
                    if least == Level::Stranger
                        && is_plain
                        && !plain_strangers
                        && !self.is_blocked(&peer) =>
                {
                    return Err(ResolveError::Stranger(self.candidates(&namesakes, 0)));
                }
                [peer] => return Ok(peer),
                _ if is_plain && least > Level::Stranger => {
                    return self.first_of(text, &name, &namesakes);
                }
                _ => return Err(self.ambiguous(text, &namesakes)),
            }
        }
        if self.is_own_name(&name) && Asked::fits(suffix.as_ref(), &self.me) {
            return Err(self.note_to_self(text, None));
        }
        Err(ResolveError::Unknown(shown(text)))
    }

    /// Returns the peer that keeps a plain name. Fails if the text is exactly the name of a later
    /// peer, and only similar to the name of the first one.
    fn first_of(
        &self,
        text: &str,
        name: &FriendName,
        namesakes: &[PeerId],
    ) -> Result<PeerId, ResolveError> {
        let bears = |peer: &&PeerId| {
            self.known.get(*peer).is_some_and(|known| known.name.as_str() == name.as_str())
        };
        let first = namesakes.iter().min_by_key(|peer| self.rank(peer));
        match first {
            Some(first) if bears(&first) || !namesakes.iter().any(|peer| bears(&peer)) => {
                Ok(*first)
            }
            _ => Err(self.ambiguous(text, namesakes)),
        }
    }

    fn ambiguous(&self, text: &str, namesakes: &[PeerId]) -> ResolveError {
        ResolveError::Ambiguous { name: shown(text), candidates: self.candidates(namesakes, 0) }
    }

    fn note_to_self(&self, text: &str, name: Option<&FriendName>) -> ResolveError {
        let namesakes = name.map(|name| self.namesakes(name, Level::Introduced));
        let namesakes = self.candidates(&namesakes.unwrap_or_default(), 0);
        ResolveError::NoteToSelf { name: shown(text), namesakes }
    }

    /// Lists peers as `name#suffix`, at most [`MAX_CANDIDATES`] of them, each with at least
    /// `digits` digits.
    pub(super) fn candidates(&self, peers: &[PeerId], digits: usize) -> Vec<String> {
        let mut sorted = peers.to_vec();
        sorted.sort_unstable();
        let named = |peer: &PeerId| {
            let name = self.name_of(peer).map_or("", FriendName::as_str);
            format!("{name}#{}", peer.suffix(unique_digits(peer, &sorted).max(digits)))
        };
        peers.iter().take(MAX_CANDIDATES).map(named).collect()
    }
}

pub(super) fn ask(text: &str) -> Result<Asked, ResolveError> {
    let text = text.trim();
    if PeerId::looks_like(text) {
        return Ok(Asked::Peer(text.parse()?));
    }
    let Some((name, suffix)) = text.split_once('#') else {
        return Ok(Asked::Name { name: FriendName::of_any(text), suffix: None });
    };
    let suffix = suffix.to_ascii_lowercase();
    let is_suffix = (MIN_SUFFIX_DIGITS..=KEY_DIGITS).contains(&suffix.len())
        && suffix.bytes().all(|b| b.is_ascii_hexdigit());
    if is_suffix {
        Ok(Asked::Name { name: FriendName::of_any(name), suffix: Some(suffix) })
    } else {
        Err(ResolveError::Unknown(shown(text)))
    }
}

pub(super) fn shown(text: &str) -> String {
    printable(&text.trim().chars().take(100).collect::<String>())
}
