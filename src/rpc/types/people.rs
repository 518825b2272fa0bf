//! Replies of the commands about people: forgetting, blocking, renaming and paying them.

use serde::{Deserialize, Serialize};

use crate::primitives::{Address, PeerId};

/// The reply of `forget`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FriendForgotten {
    /// The friend's label before.
    pub name: String,
    pub peer_id: PeerId,
    pub forgotten: bool,
}

/// The reply of `block-friend` and `unblock-friend`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FriendBlocked {
    /// The friend's label.
    pub name: String,
    pub peer_id: PeerId,
    pub blocked: bool,
}

/// The reply of `rename`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Renamed {
    /// This node's name from now on.
    pub name: String,
}

/// The receiver of a payment, before it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Payee {
    /// A text that pays exactly this receiver: the given text, or one with a long enough suffix.
    pub to: String,
    /// The friend's label; `None` for an address.
    pub name: Option<String>,
    pub address: Address,
    /// Everybody whom the given name could mean, the receiver first. Empty if the name is unique or
    /// was confirmed before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::primitives::{Owner, PublicKey};

    #[test]
    fn replies_about_people_keep_the_contract() {
        let (name, peer_id) = ("yzw".to_owned(), PeerId(PublicKey([5; 32])));
        let forgotten = FriendForgotten { name: name.clone(), peer_id, forgotten: true };
        let expected = json!({ "name": "yzw", "peer_id": peer_id, "forgotten": true });
        assert_eq!(serde_json::to_value(forgotten).expect("JSON"), expected);
        let blocked = FriendBlocked { name: name.clone(), peer_id, blocked: false };
        let expected = json!({ "name": "yzw", "peer_id": peer_id, "blocked": false });
        assert_eq!(serde_json::to_value(blocked).expect("JSON"), expected);
        let renamed = serde_json::to_value(Renamed { name: name.clone() }).expect("JSON");
        assert_eq!(renamed, json!({ "name": "yzw" }));
        let address = Address(Owner::ZERO);
        let payee = Payee { to: name, name: None, address, candidates: Vec::new() };
        let expected = json!({ "to": "yzw", "name": null, "address": address });
        assert_eq!(serde_json::to_value(payee).expect("JSON"), expected);
    }
}
