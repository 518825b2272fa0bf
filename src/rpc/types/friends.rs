//! What commands on friends and chat answer.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::primitives::{Address, PeerId, UnixMillis};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FriendView {
    /// By its signed profile, made printable.
    pub name: String,
    /// Hex digits of its identity that tell it from others of the name.
    pub suffix: String,
    pub peer_id: PeerId,
    /// Whether it is here.
    pub online: bool,
    /// Where coins for it go; none when it has no wallet.
    pub address: Option<Address>,
    /// When it was last here; none when it was only heard of.
    pub last_seen: Option<UnixMillis>,
}

/// Friends, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FriendList {
    pub friends: Vec<FriendView>,
}

/// How a direct line fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChatState {
    /// The friend's node has it on disk.
    Delivered,
    /// It waits here until the friend is back.
    Queued,
    /// The friend's node will not have it.
    Refused,
    /// It came from a friend.
    Received,
    /// It was told to all.
    Sent,
}

impl fmt::Display for ChatState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Delivered => "delivered",
            Self::Queued => "queued",
            Self::Refused => "refused",
            Self::Received => "received",
            Self::Sent => "sent",
        })
    }
}

/// A direct line was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChatSent {
    pub id: String,
    /// `delivered` or `queued`.
    pub state: ChatState,
}

/// A line to all was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BroadcastSent {
    pub id: String,
    /// How many friends are here to hear it.
    pub peers: u32,
}

/// A chat line that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChatMessage {
    pub id: String,
    /// Who wrote it, by name.
    pub from: String,
    /// To whom, by name; none when to all.
    pub to: Option<String>,
    /// The whole line, made printable.
    pub text: String,
    /// When, by its author's clock.
    pub time: UnixMillis,
    pub state: ChatState,
}

/// Chat lines, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChatHistory {
    pub messages: Vec<ChatMessage>,
}
