//! Names of addresses, from the payment addresses in friends' profiles.
//!
//! # Security
//! A payment address in a profile is only a claim. Anybody may claim another's address, to be taken
//! for the payer or to hide who paid. Therefore a friend's claim wins over that of an introduced
//! peer, an address that several peers of one level claim has no name, and an own address never has
//! a friend's name.

use std::collections::{HashMap, HashSet};

use super::Service;
use crate::{
    friends::{FindError, FriendInfo, FriendsHandle, ResolveError},
    node::clock::now,
    primitives::{Address, Owner, printable},
    rpc::{RpcError, types::KnownNames},
};

/// The names of addresses.
#[derive(Debug, Default)]
pub(super) struct AddressBook {
    own: Vec<Owner>,
    /// The name of each address that exactly one peer claims at the highest claiming level.
    names: HashMap<Owner, String>,
}

impl AddressBook {
    /// Reads the friends' addresses. `own` are the wallet's.
    pub(super) fn new(friends: &[FriendInfo], own: Vec<Owner>) -> Self {
        let mut claims: HashMap<Owner, Vec<&FriendInfo>> = HashMap::new();
        for friend in friends.iter().filter(|friend| !friend.blocked) {
            if let Some(address) = friend.address {
                claims.entry(address.0).or_default().push(friend);
            }
        }
        let ours: HashSet<&Owner> = own.iter().collect();
        let names = claims.iter().filter(|(owner, _)| !ours.contains(owner));
        let names = names.filter_map(|(owner, claims)| {
            let best = claims.iter().map(|friend| friend.level).max()?;
            let mut claims = claims.iter().filter(|friend| friend.level == best);
            match (claims.next(), claims.next()) {
                (Some(friend), None) => Some((*owner, printable(&friend.name))),
                _ => None,
            }
        });
        Self { names: names.collect(), own }
    }

    /// Returns the name of the friend that an address belongs to.
    pub(super) fn name(&self, owner: &Owner) -> Option<&str> {
        self.names.get(owner).map(String::as_str)
    }

    /// Returns the one friend behind these owners. `None` if none of them has a name, or if they
    /// belong to several friends.
    pub(super) fn one_of(&self, owners: &[Owner]) -> Option<&str> {
        let mut names = owners.iter().filter_map(|owner| self.name(owner));
        let first = names.next()?;
        names.all(|name| name == first).then_some(first)
    }
}

/// Returns the names from the friends' file; empty if there is no such file.
pub(super) async fn address_book(friends: Option<&FriendsHandle>, own: Vec<Owner>) -> AddressBook {
    match friends {
        Some(friends) => match friends.list(now()).await {
            Ok(list) => AddressBook::new(&list, own),
            Err(error) => {
                tracing::debug!(%error, "no names for addresses");
                AddressBook { own, ..AddressBook::default() }
            }
        },
        None => AddressBook { own, ..AddressBook::default() },
    }
}

impl Service {
    /// Returns the wallet's owners; none without a wallet.
    pub(super) async fn own_owners(&self) -> Result<Vec<Owner>, RpcError> {
        let wallet = self.keyring.open_if_there().await?;
        let addresses = wallet.map(|wallet| wallet.addresses()).unwrap_or_default();
        Ok(addresses.into_iter().map(|address| address.0).collect())
    }

    /// Returns the address that a text contains or names; `None` if it does neither.
    pub(super) async fn find_address(&self, text: &str) -> Result<Option<Address>, RpcError> {
        let text = text.trim();
        if let Ok(address) = text.parse() {
            return Ok(Some(address));
        }
        match self.friends_handle()?.payee(text.to_owned()).await {
            Ok(payee) => Ok(Some(Address(payee.owner))),
            Err(FindError::Resolve(ResolveError::Unknown(_) | ResolveError::NoteToSelf { .. })) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn known_names(&self) -> Result<KnownNames, RpcError> {
        let book = address_book(self.friends.as_ref(), self.own_owners().await?).await;
        let mut friends: Vec<_> =
            book.names.into_iter().map(|(owner, name)| (Address(owner), name)).collect();
        friends.sort_unstable();
        Ok(KnownNames { own: book.own.into_iter().map(Address).collect(), friends })
    }
}

/// Lengths of the Go seed's addresses, in characters: 25 bytes in base 58.
const SEED_ADDRESS_CHARS: std::ops::RangeInclusive<usize> = 26..=35;

/// Returns the error for a text that names nobody to pay. If the text looks like an address of the
/// Go seed, the error is about addresses.
pub(super) fn not_a_payee(text: &str, error: FindError) -> RpcError {
    let is_unknown = matches!(error, FindError::Resolve(ResolveError::Unknown(_)));
    let is_seeds = text.starts_with('1')
        && SEED_ADDRESS_CHARS.contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match text.parse::<Address>() {
        Err(no_address) if is_unknown && is_seeds => no_address.into(),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        peers::Level,
        primitives::{PeerId, PublicKey},
    };

    fn friend(name: &str, key: u8, level: Level, owner: u8) -> FriendInfo {
        FriendInfo {
            name: name.to_owned(),
            suffix: format!("{key:04x}"),
            peer_id: PeerId(PublicKey([key; 32])),
            level,
            blocked: false,
            online: true,
            address: Some(Address(Owner([owner; 20]))),
            last_seen: None,
            addresses: Vec::new(),
        }
    }

    #[test]
    fn a_name_may_begin_with_a_digit_and_an_old_address_is_said_to_be_none() {
        let unknown = |text: &str| {
            not_a_payee(text, FindError::Resolve(ResolveError::Unknown(text.to_owned()))).code
        };
        assert_eq!(unknown("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"), "bad_address");
        for name in ["1st mate", "1", "1yzw", "007"] {
            assert_eq!(unknown(name), "unknown_friend", "{name}");
        }
    }

    #[test]
    fn an_address_that_two_friends_claim_names_neither() {
        let all = [
            friend("yzw", 1, Level::Friend, 1),
            friend("mallory", 2, Level::Introduced, 1),
            friend("ann", 3, Level::Friend, 2),
            friend("bob", 4, Level::Friend, 2),
            friend("zoe", 5, Level::Friend, 3),
            friend("zoe#0006", 6, Level::Friend, 4),
            friend("thief", 7, Level::Friend, 9),
        ];
        let book = AddressBook::new(&all, vec![Owner([9; 20])]);
        let name = |owner| book.name(&Owner([owner; 20]));
        assert_eq!(name(1), Some("yzw"), "an introduced peer takes nothing from a friend");
        assert_eq!(name(2), None);
        assert_eq!((name(3), name(4)), (Some("zoe"), Some("zoe#0006")));
        assert_eq!(name(9), None, "our own address is not a friend's");
        let owners = |owners: &[u8]| owners.iter().map(|owner| Owner([*owner; 20])).collect();
        let one_of = |all: Vec<Owner>| book.one_of(&all).map(str::to_owned);
        assert_eq!(one_of(owners(&[7, 1, 1])), Some("yzw".to_owned()));
        assert_eq!(one_of(owners(&[1, 3])), None);
        assert_eq!(one_of(owners(&[7])), None);
    }
}
