//! Names of friends: from a user's text to one friend, and from a friend to a label that names only
//! it.

use data_encoding::HEXLOWER;

use super::{Friends, ResolveError};
use crate::primitives::{Owner, PeerId, printable};

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
    /// Returns the friends of a name, sorted by key.
    pub(super) fn namesakes(&self, name: &str) -> impl Iterator<Item = PeerId> {
        self.known
            .iter()
            .filter(move |(_, known)| known.profile.name == name)
            .map(|(peer, _)| *peer)
    }

    /// Returns the text that people call a peer by. It is the peer's name if no other friend has
    /// that name, else the name with a suffix. Without a profile it is the end of the peer id.
    #[must_use]
    pub(crate) fn label(&self, peer: &PeerId) -> String {
        if let Some(own) = self.own.as_ref().filter(|own| own.peer == *peer) {
            return own.name.clone();
        }
        let Some(known) = self.known.get(peer) else {
            let id = peer.to_string();
            return format!("…{}", id.get(id.len().saturating_sub(8)..).unwrap_or_default());
        };
        let name = &known.profile.name;
        let namesakes: Vec<_> = self.namesakes(name).collect();
        let is_ours = self.own.as_ref().is_some_and(|own| own.name == *name);
        if namesakes.len() < 2 && !is_ours {
            return name.clone();
        }
        format!("{name}#{}", peer.suffix(unique_digits(peer, &namesakes)))
    }

    /// Returns the friend named by a text: a name, a name with a suffix (`yzw#3f2a`), or a peer id.
    pub(crate) fn resolve(&self, text: &str) -> Result<PeerId, ResolveError> {
        let unknown = || ResolveError::Unknown(shown(text));
        let (name, suffix) = match ask(text)? {
            Asked::Peer(peer) if peer == self.me => {
                return Err(ResolveError::NoteToSelf(shown(text)));
            }
            Asked::Peer(peer)
                if self.known.contains_key(&peer) || self.presence.contains_key(&peer) =>
            {
                return Ok(peer);
            }
            Asked::Peer(_) => return Err(unknown()),
            Asked::Name { name, suffix } => (name, suffix),
        };
        let fits = |peer: &PeerId| {
            suffix
                .as_ref()
                .is_none_or(|suffix| peer.suffix(KEY_DIGITS).starts_with(suffix.as_str()))
        };
        let mut fitting = self.namesakes(name).filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(peer), None) => Ok(peer),
            (Some(_), Some(_)) => Err(ResolveError::Ambiguous {
                name: shown(text),
                candidates: self.candidates(name, MIN_SUFFIX_DIGITS),
            }),
            (None, _)
                if self.own.as_ref().is_some_and(|own| own.name == name) && fits(&self.me) =>
            {
                Err(ResolveError::NoteToSelf(shown(text)))
            }
            (None, _) => Err(unknown()),
        }
    }

    /// Returns the friend named by a text, and the owner to pay.
    ///
    /// # Security
    /// A thief could take over the name that a friend had before. If another friend has or ever had
    /// the name, this refuses a suffix of fewer than [`MIN_SUFFIX_DIGITS_TO_PAY`] digits.
    pub(crate) fn resolve_to_pay(&self, text: &str) -> Result<(PeerId, Owner), ResolveError> {
        let peer = self.resolve(text)?;
        if let Asked::Name { name, suffix } = ask(text)? {
            let shared = self.known.iter().any(|(other, known)| {
                *other != peer && known.names.iter().any(|(borne, _)| borne == name)
            });
            if shared && suffix.map_or(0, |suffix| suffix.len()) < MIN_SUFFIX_DIGITS_TO_PAY {
                return Err(ResolveError::TooShortToPay {
                    name: shown(text),
                    candidates: self.candidates(name, MIN_SUFFIX_DIGITS_TO_PAY),
                });
            }
        }
        let payment = self.known.get(&peer).and_then(|known| known.profile.payment);
        payment.map(|owner| (peer, owner)).ok_or_else(|| ResolveError::NoWallet(self.label(&peer)))
    }

    /// Lists the friends of a name as `name#suffix`, at most [`MAX_CANDIDATES`] of them.
    fn candidates(&self, name: &str, digits: usize) -> Vec<String> {
        let namesakes: Vec<_> = self.namesakes(name).collect();
        namesakes
            .iter()
            .take(MAX_CANDIDATES)
            .map(|peer| {
                format!("{name}#{}", peer.suffix(unique_digits(peer, &namesakes).max(digits)))
            })
            .collect()
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
