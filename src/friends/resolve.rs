//! Names of friends: from a user's text to one friend, and from a friend to a label that names only
//! it.
//!
//! A name is free to take, so the level decides first: a name means a friend who bears it before an
//! introduced peer, and never a stranger. Strangers need a suffix.

use data_encoding::HEXLOWER;

use super::{Friends, ResolveError};
use crate::{
    peers::Level,
    primitives::{Owner, PeerId, printable},
};

/// The fewest hex digits in a suffix.
pub(crate) const MIN_SUFFIX_DIGITS: usize = 4;
/// The fewest hex digits in a suffix to pay a friend whose name another friend has or had. A thief
/// finds a key with the same first 4 digits in seconds; for the same first 8 it takes hours.
pub(crate) const MIN_SUFFIX_DIGITS_TO_PAY: usize = 8;
/// The number of hex digits in a key.
const KEY_DIGITS: usize = 64;
/// The most candidates that an error names.
const MAX_CANDIDATES: usize = 8;

/// Returns the length of the shortest suffix that tells `peer` from `namesakes`, at least
/// [`MIN_SUFFIX_DIGITS`]. `namesakes` must be sorted, and may hold `peer`.
pub(super) fn unique_digits(peer: &PeerId, namesakes: &[PeerId]) -> usize {
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
enum Asked<'a> {
    Peer(PeerId),
    Name { name: &'a str, suffix: Option<String> },
}

impl Friends {
    /// Returns the peers of a name that have at least this level, sorted by key.
    pub(super) fn namesakes(&self, name: &str, least: Level) -> Vec<PeerId> {
        let known = self.known.iter().map(|(peer, known)| (*peer, &known.profile.name));
        let strangers = self.strangers.iter().map(|profile| (profile.peer, &profile.name));
        let strangers = strangers.filter(|_| least == Level::Stranger);
        let bears = |(peer, borne): (PeerId, &String)| {
            (borne == name && self.level(&peer) >= least).then_some(peer)
        };
        let mut all: Vec<_> = known.chain(strangers).filter_map(bears).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Returns the name in a peer's profile, if one is held.
    fn name_of(&self, peer: &PeerId) -> Option<&str> {
        let known = self.known.get(peer).map(|known| &known.profile);
        known.or_else(|| self.strangers.get(peer)).map(|profile| profile.name.as_str())
    }

    /// Returns the text that people call a peer by. It is a friend's name if no other friend has
    /// that name, else the name with a suffix. A peer that is no friend never has a friend's plain
    /// name, and a stranger always has a suffix. Without a profile it is the end of the peer id.
    #[must_use]
    pub(crate) fn label(&self, peer: &PeerId) -> String {
        if let Some(own) = self.own.as_ref().filter(|own| own.peer == *peer) {
            return own.name.clone();
        }
        let Some(name) = self.name_of(peer) else {
            let id = peer.to_string();
            return format!("…{}", id.get(id.len().saturating_sub(8)..).unwrap_or_default());
        };
        let level = self.level(peer);
        let namesakes = self.namesakes(name, level);
        let is_ours = self.own.as_ref().is_some_and(|own| own.name == *name);
        if namesakes.len() < 2 && !is_ours && level > Level::Stranger {
            return name.to_owned();
        }
        format!("{name}#{}", peer.suffix(unique_digits(peer, &namesakes)))
    }

    /// Returns the friend named by a text: a name, a name with a suffix (`yzw#3f2a`), or a peer id.
    /// An introduced peer is found by its name where no friend bears it, a stranger only with a
    /// suffix.
    pub(crate) fn resolve(&self, text: &str) -> Result<PeerId, ResolveError> {
        self.find(text, false)
    }

    /// Returns the peer that a text names for `accept-friend`: also a stranger by its plain name,
    /// and a peer id that is not known.
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
    }

    fn find(&self, text: &str, plain_strangers: bool) -> Result<PeerId, ResolveError> {
        let (name, suffix) = match ask(text)? {
            Asked::Peer(peer) if peer == self.me => {
                return Err(ResolveError::NoteToSelf(shown(text)));
            }
            Asked::Peer(peer) if self.is_heard_of(&peer) => return Ok(peer),
            Asked::Peer(_) => return Err(ResolveError::Unknown(shown(text))),
            Asked::Name { name, suffix } => (name, suffix),
        };
        let fits = |peer: &PeerId| {
            suffix
                .as_ref()
                .is_none_or(|suffix| peer.suffix(KEY_DIGITS).starts_with(suffix.as_str()))
        };
        for least in [Level::Friend, Level::Introduced, Level::Stranger] {
            let mut namesakes = self.namesakes(name, least);
            namesakes.retain(fits);
            match namesakes[..] {
                [] => {}
                [_] if least == Level::Stranger && suffix.is_none() && !plain_strangers => {
                    return Err(ResolveError::Stranger(self.candidates(name, least, 0)));
                }
                [peer] => return Ok(peer),
                _ => {
                    return Err(ResolveError::Ambiguous {
                        name: shown(text),
                        candidates: self.candidates(name, least, 0),
                    });
                }
            }
        }
        let is_own = self.own.as_ref().is_some_and(|own| own.name == name) && fits(&self.me);
        let text = shown(text);
        Err(if is_own { ResolveError::NoteToSelf(text) } else { ResolveError::Unknown(text) })
    }

    /// Returns the friend named by a text, and the owner to pay.
    ///
    /// # Security
    /// A thief could take over the name that a friend had before. If another friend or introduced
    /// peer has or ever had the name, or the name is a stranger's, this refuses a suffix of fewer
    /// than [`MIN_SUFFIX_DIGITS_TO_PAY`] digits.
    pub(crate) fn resolve_to_pay(&self, text: &str) -> Result<(PeerId, Owner), ResolveError> {
        let peer = self.resolve(text)?;
        if let Asked::Name { name, suffix } = ask(text)? {
            let level = self.level(&peer);
            let shared = self.known.iter().any(|(other, known)| {
                *other != peer
                    && known.names.iter().any(|(borne, _)| borne == name)
                    && self.level(other) > Level::Stranger
            });
            let is_long = suffix.is_some_and(|suffix| suffix.len() >= MIN_SUFFIX_DIGITS_TO_PAY);
            if (shared || level == Level::Stranger) && !is_long {
                let least = level.min(Level::Introduced);
                return Err(ResolveError::TooShortToPay {
                    name: shown(text),
                    candidates: self.candidates(name, least, MIN_SUFFIX_DIGITS_TO_PAY),
                });
            }
        }
        let profile = self.known.get(&peer).map(|known| &known.profile);
        let payment = profile.or_else(|| self.strangers.get(&peer)).and_then(|held| held.payment);
        payment.map(|owner| (peer, owner)).ok_or_else(|| ResolveError::NoWallet(self.label(&peer)))
    }

    /// Lists the peers of a name as `name#suffix`, at most [`MAX_CANDIDATES`] of them, each with at
    /// least so many digits.
    fn candidates(&self, name: &str, least: Level, digits: usize) -> Vec<String> {
        let namesakes = self.namesakes(name, least);
        let longer = |peer: &PeerId| unique_digits(peer, &namesakes).max(digits);
        let named = |peer: &PeerId| format!("{name}#{}", peer.suffix(longer(peer)));
        namesakes.iter().take(MAX_CANDIDATES).map(named).collect()
    }
}

fn ask(text: &str) -> Result<Asked<'_>, ResolveError> {
    if PeerId::looks_like(text) {
        return Ok(Asked::Peer(text.parse()?));
    }
    let Some((name, suffix)) = text.split_once('#') else {
        return Ok(Asked::Name { name: text, suffix: None });
    };
    let suffix = suffix.to_ascii_lowercase();
    let is_suffix = (MIN_SUFFIX_DIGITS..=KEY_DIGITS).contains(&suffix.len())
        && suffix.bytes().all(|b| b.is_ascii_hexdigit());
    if is_suffix {
        Ok(Asked::Name { name, suffix: Some(suffix) })
    } else {
        Err(ResolveError::Unknown(shown(text)))
    }
}

fn shown(text: &str) -> String {
    printable(&text.chars().take(100).collect::<String>())
}
