//! Replies of the commands about people: whom the user forgets, blocks and pays.

use serde::{Deserialize, Serialize};

use crate::primitives::{Address, PeerId};

/// The reply of `forget`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FriendForgotten {
    /// The name by which the friend was called here.
    pub name: String,
    pub peer_id: PeerId,
    pub forgotten: bool,
}

/// The reply of `block-friend` and `unblock-friend`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FriendBlocked {
    /// The name by which the friend is called here.
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
    /// The text that pays exactly this receiver: the given one, or with a long enough suffix.
    pub to: String,
    /// The name by which the friend is called here; `None` for an address.
    pub name: Option<String>,
    pub address: Address,
    /// Everybody whom the given name could mean, the receiver first. Empty if the name is clear, or
    /// if it was confirmed before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
}
