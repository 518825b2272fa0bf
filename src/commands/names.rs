//! Names of addresses in text output: the wallet's own, and those of friends.

use std::collections::{HashMap, HashSet};

use crate::{
    primitives::Address,
    rpc::{Client, FriendchainApiClient},
};

/// The names that the node knows.
#[derive(Debug, Default)]
pub(crate) struct Names {
    own: HashSet<Address>,
    friends: HashMap<Address, String>,
}

impl Names {
    /// Asks the node for them. If the node cannot answer, there are none.
    pub(crate) async fn ask(client: &Client) -> Self {
        let known = client.names().await.unwrap_or_default();
        Self { own: known.own.into_iter().collect(), friends: known.friends.into_iter().collect() }
    }

    /// Returns names for a test.
    #[cfg(test)]
    pub(super) fn known(own: Address, friend: Address, name: &str) -> Self {
        Self { own: [own].into(), friends: [(friend, name.to_owned())].into() }
    }

    /// Returns the name of an address; `None` if it is not known.
    pub(crate) fn of(&self, address: &Address) -> Option<&str> {
        if self.own.contains(address) {
            return Some("you");
        }
        self.friends.get(address).map(String::as_str)
    }

    /// Returns the address, with the name where it is known.
    pub(crate) fn show(&self, address: &Address) -> String {
        match self.of(address) {
            Some(name) => format!("{address} ({name})"),
            None => address.to_string(),
        }
    }
}
