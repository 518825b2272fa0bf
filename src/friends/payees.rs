//! Payments to a friend by a name that others bear or bore: the user confirms such a name once.
//!
//! # Security
//! A thief could take a name that a friend had before, or be the first of two friends with one
//! name. A shared name therefore pays nobody until the user names the payee by its id or by a
//! suffix of [`MIN_SUFFIX_DIGITS_TO_PAY`] digits. From then on, the name pays this peer. The
//! confirmation belongs to the key, and ends when the peer takes another name.

use std::collections::BTreeMap;

use redb::ReadableTable as _;

use super::{
    Friends, ResolveError, StoreFault,
    errors::FindError,
    resolve::{Asked, ask, shown},
    store::Store,
};
use crate::{
    peers::Level,
    primitives::{FriendName, Owner, PeerId, PublicKey},
};

/// The fewest hex digits in a suffix to pay a friend whose name another friend has or had. A thief
/// finds a key with the same first 4 digits in seconds; for the same first 8 it takes hours.
pub(crate) const MIN_SUFFIX_DIGITS_TO_PAY: usize = 8;

/// A friend to pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PayeeInfo {
    pub(crate) peer: PeerId,
    pub(crate) owner: Owner,
    /// The payee's label, see [`Friends::label`].
    pub(crate) label: String,
    /// Everybody whom the text could mean, the payee first, as `name#suffix` with enough digits to
    /// pay. Empty if no confirmation is needed.
    pub(crate) candidates: Vec<String>,
}

/// Reads the confirmed names from the disk.
pub(super) fn load(store: &Store) -> Result<BTreeMap<PeerId, FriendName>, StoreFault> {
    store.view(|tables| {
        let mut payees = BTreeMap::new();
        for row in tables.payees.iter()? {
            let (peer, name) = row?;
            payees.insert(PeerId(PublicKey(*peer.value())), FriendName::of_any(name.value()));
        }
        Ok(payees)
    })
}

impl Friends {
    /// Returns the friend to pay, and whether the user must confirm the choice first.
    pub(crate) fn payee(&self, text: &str) -> Result<PayeeInfo, ResolveError> {
        let peer = self.resolve(text)?;
        let label = self.label(&peer);
        let profile = self.known.get(&peer).map(|known| &known.profile);
        let owner = profile.or_else(|| self.strangers.get(&peer)).and_then(|held| held.payment);
        let Some(owner) = owner else { return Err(ResolveError::NoWallet(label)) };
        let candidates = match ask(text)? {
            Asked::Peer(_) => Vec::new(),
            Asked::Name { suffix, .. } if is_long(suffix.as_ref()) => Vec::new(),
            Asked::Name { name, .. } => self.to_confirm(peer, &name),
        };
        Ok(PayeeInfo { peer, owner, label, candidates })
    }

    /// Returns the friend named by a text, and the owner to pay. A long suffix or a peer id
    /// confirms the payee of a shared name. An unconfirmed shared name is refused.
    pub(crate) fn resolve_to_pay(&mut self, text: &str) -> Result<(PeerId, Owner), FindError> {
        let PayeeInfo { peer, owner, candidates, .. } = self.payee(text)?;
        if !candidates.is_empty() {
            return Err(ResolveError::TooShortToPay { name: shown(text), candidates }.into());
        }
        self.confirm(peer)?;
        Ok((peer, owner))
    }

    /// Returns everybody whom a name could mean in a payment; empty if there is nothing to confirm.
    fn to_confirm(&self, peer: PeerId, name: &FriendName) -> Vec<String> {
        let others = self.sharers(&peer, name);
        let is_stranger = self.level(&peer) == Level::Stranger;
        if !is_stranger && (others.is_empty() || self.is_confirmed(&peer)) {
            return Vec::new();
        }
        self.candidates(&[vec![peer], others].concat(), MIN_SUFFIX_DIGITS_TO_PAY)
    }

    /// Returns the others that are no strangers and bear or bore a name like this one.
    fn sharers(&self, peer: &PeerId, name: &FriendName) -> Vec<PeerId> {
        let bore = |(other, known): (&PeerId, &super::profiles::Known)| {
            let is_other = other != peer && self.level(other) > Level::Stranger;
            (is_other && known.bears_or_bore(name)).then_some(*other)
        };
        self.known.iter().filter_map(bore).collect()
    }

    fn is_confirmed(&self, peer: &PeerId) -> bool {
        let confirmed = self.payees.get(peer);
        confirmed.is_some_and(|name| self.name_of(peer).is_some_and(|held| held.is_like(name)))
    }

    /// Confirms that the present name of this peer pays it, if others share the name.
    fn confirm(&mut self, peer: PeerId) -> Result<(), StoreFault> {
        let Some(known) = self.known.get(&peer) else { return Ok(()) };
        if self.is_confirmed(&peer) || self.sharers(&peer, &known.name).is_empty() {
            return Ok(());
        }
        let name = known.name.clone();
        self.store.write(|tables| {
            Ok::<_, StoreFault>(tables.payees.insert(&peer.0.0, name.as_str()).map(drop)?)
        })?;
        self.payees.insert(peer, name);
        Ok(())
    }
}

fn is_long(suffix: Option<&String>) -> bool {
    suffix.is_some_and(|suffix| suffix.len() >= MIN_SUFFIX_DIGITS_TO_PAY)
}
