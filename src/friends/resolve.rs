//! From what a user types to one friend, and from a friend to what a user may type.

use data_encoding::HEXLOWER;

use super::{Friends, ResolveError};
use crate::primitives::{Owner, PeerId, printable};

/// Digits of a suffix at least.
pub const MIN_SUFFIX_DIGITS: usize = 4;
/// Digits of a suffix at least to pay a friend whose name another bears or bore: a key whose first
/// 4 digits fit is made in seconds, one whose first 8 fit takes hours.
pub const MIN_SUFFIX_DIGITS_TO_PAY: usize = 8;
/// Digits that a key has.
const KEY_DIGITS: usize = 64;
/// Candidates that an error names at most.
const MAX_CANDIDATES: usize = 8;

/// How many digits tell `peer` from the others of its name; `namesakes` ascend, and may hold it.
pub(super) fn unique_digits(peer: &PeerId, namesakes: &[PeerId]) -> usize {
    let at = namesakes.partition_point(|other| other < peer);
    let before = at.checked_sub(1).and_then(|at| namesakes.get(at));
    let after = namesakes.get(at..).unwrap_or_default().iter().find(|other| *other != peer);
    // In order, nobody shares more digits with it than a neighbour does.
    let shared = before.into_iter().chain(after).map(|other| shared_digits(peer, other)).max();
    shared
        .map_or(MIN_SUFFIX_DIGITS, |shared| shared.saturating_add(1))
        .clamp(MIN_SUFFIX_DIGITS, KEY_DIGITS)
}

fn shared_digits(one: &PeerId, other: &PeerId) -> usize {
    let (one, other) = (HEXLOWER.encode(&one.0.0), HEXLOWER.encode(&other.0.0));
    one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count()
}

/// What a user typed, taken apart.
enum Asked<'a> {
    Peer(PeerId),
    Name { name: &'a str, suffix: Option<String> },
}

impl Friends {
    /// Friends that bear a name, by key.
    pub(super) fn namesakes(&self, name: &str) -> impl Iterator<Item = PeerId> {
        self.known
            .iter()
            .filter(move |(_, known)| known.profile.name == name)
            .map(|(peer, _)| *peer)
    }

    /// How people name a peer: its name when nobody else bears it, else with the suffix that tells
    /// it apart; the end of its peer id when no profile is held.
    #[must_use]
    pub fn label(&self, peer: &PeerId) -> String {
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

    /// The friend that a text names: a name, a name with a suffix (`yzw#3f2a`), or a peer id.
    pub fn resolve(&self, text: &str) -> Result<PeerId, ResolveError> {
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

    /// The friend that a text names, and where coins for it go. Where another friend bears or ever
    /// bore the name, a bare name or a short suffix will not do.
    pub fn resolve_to_pay(&self, text: &str) -> Result<(PeerId, Owner), ResolveError> {
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

    /// Who bears a name, as a user may type it.
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
