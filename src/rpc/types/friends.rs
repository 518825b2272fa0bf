//! Replies of the commands about friends and chat.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::reach::PathName;
use crate::primitives::{Address, PeerId, UnixMillis};

/// The level of trust in a peer of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FriendLevel {
    /// A friend vouched for it.
    Introduced,
    /// The user accepted it. On the network `lan`, a peer at a private address is a friend too.
    Friend,
    /// The user blocked it, at any level.
    Blocked,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FriendView {
    /// The name to type: with a suffix where the plain name means another peer.
    pub name: String,
    /// Hex digits of the identity that distinguish friends of the same name.
    pub suffix: String,
    pub peer_id: PeerId,
    pub level: FriendLevel,
    pub online: bool,
    /// The address for payments to the friend; `None` if it has no wallet.
    pub address: Option<Address>,
    /// The time at which it was last online; `None` if this node has never been connected to it.
    pub last_seen: Option<UnixMillis>,
    /// The way to a friend that is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathName>,
    /// The name of the friend that relays; left out if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
    /// The last reason why a dial to an absent friend failed, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A list of friends, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FriendList {
    pub friends: Vec<FriendView>,
    /// True if no other machine can reach the running node.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_this_machine: bool,
}

/// The reply of `accept-friend`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FriendAccepted {
    /// The friend's label.
    pub name: String,
    pub peer_id: PeerId,
}

/// The delivery state of a chat line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChatState {
    /// The friend's node has stored the direct line on disk.
    Delivered,
    /// This node keeps the direct line until the friend is online.
    Queued,
    /// The friend's node has refused the direct line.
    Refused,
    /// A line from a friend.
    Received,
    /// A line that this node has published to all.
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

/// The reply of `chat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChatSent {
    pub id: String,
    /// Either `Delivered` or `Queued`. A queued line may be on its way.
    pub state: ChatState,
}

/// The reply of `broadcast`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BroadcastSent {
    pub id: String,
    /// The number of friends who were connected when the line was published.
    pub peers: u32,
    /// The number of other friends who were here in the last 30 days. They get the line when they
    /// are back.
    pub later: u32,
}

/// A line of the chat history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChatMessage {
    pub id: String,
    /// The name of the author.
    pub from: String,
    /// The name of the receiver; `None` for a line to all.
    pub to: Option<String>,
    /// The whole line as it was written. It may hold control characters.
    pub text: String,
    /// The author's timestamp, in unix ms.
    pub time: UnixMillis,
    pub state: ChatState,
    /// The number of mutual friends who keep a queued line for its receiver, sealed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_with: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The reply of `history`, oldest line first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChatHistory {
    pub messages: Vec<ChatMessage>,
    /// The number of received lines that are not marked as read: those with the friend, or all.
    pub unread: u32,
}

/// The reply of `mark_read`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MarkedRead {
    /// The number of lines that were unread before.
    pub read: u32,
}
