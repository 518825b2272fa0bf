//! Events that consoles show above their prompts.

use serde::{Deserialize, Serialize};

use super::values::Coins;
use crate::primitives::{BlockHash, Height, PeerId, TransactionKind, TxId, UnixMillis};

/// An event that a console shows above its prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum ConsoleEvent {
    /// A chat line has arrived.
    Chat {
        id: String,
        peer_id: PeerId,
        /// The author's name, with an id suffix if two friends share the name.
        from: String,
        /// The whole line as it was written. It may hold control characters.
        text: String,
        /// True if the line is addressed to this node only.
        direct: bool,
        /// The author's timestamp, in unix ms.
        time: UnixMillis,
    },
    /// A line of this node was stored, and waits to be sent.
    ChatSent {
        id: String,
        /// The name of the receiver; `None` for a line to all.
        to: Option<String>,
        /// The whole line as it was written. It may hold control characters.
        text: String,
        /// The time of writing, in unix ms.
        time: UnixMillis,
    },
    /// The receiver has stored a line that was queued on this node.
    ChatDelivered {
        /// The name of the receiver.
        to: String,
        id: String,
    },
    /// Mutual friends keep a line of this node until its receiver is back.
    ChatLeft {
        /// The name of the receiver.
        to: String,
        id: String,
        /// The number of friends who keep it.
        friends: u32,
    },
    /// A friend is online.
    FriendJoined { name: String, peer_id: PeerId },
    /// A friend is offline.
    FriendLeft {
        name: String,
        peer_id: PeerId,
        /// True if the friend's node announced its shutdown.
        quit: bool,
    },
    /// A block joined the best chain.
    BlockConnected {
        hash: BlockHash,
        height: Height,
        count: u32,
        /// The texts of the notes in the block, as they were written. Empty if the event covers
        /// many blocks.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
    },
    /// The node has caught up with its peers. During a sync there are no events of single blocks.
    Synced {
        height: Height,
        /// The number of blocks that joined the best chain.
        blocks: u32,
    },
    /// Another branch became the best chain.
    Reorganised {
        /// The new tip.
        tip: BlockHash,
        height: Height,
        /// The number of blocks that left the best chain.
        disconnected: u32,
    },
    /// Another branch has more work, but the reorg to it needs the user's consent.
    Diverged {
        tip: BlockHash,
        height: Height,
        /// The tip of the other branch.
        branch: BlockHash,
        branch_height: Height,
        /// The height of the last common block.
        fork_height: Height,
    },
    /// The divergence is over; the user has no choice to make any more.
    Reunited { tip: BlockHash, height: Height },
    /// A trade or note of this wallet was mined.
    TradeMined {
        txid: TxId,
        kind: TransactionKind,
        block: BlockHash,
        height: Height,
        /// True if the user was notified before that it is void: somebody else has sent it.
        #[serde(default)]
        was_void: bool,
    },
    /// A trade or note of this wallet can no longer be mined.
    TradeVoid {
        txid: TxId,
        kind: TransactionKind,
        /// The cause, as a sentence.
        reason: String,
    },
    /// Many payments to this wallet are in new blocks.
    PaidMany {
        payments: u32,
        /// All of them together.
        amount: Coins,
    },
    /// A payment that was announced does not come, or not yet.
    PaymentLost {
        txid: TxId,
        /// As in `paid`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        amount: Coins,
        loss: PaymentLoss,
    },
    /// Somebody pays this wallet. Emitted when the payment waits, and again when it is mined.
    Paid {
        txid: TxId,
        /// The friend whose payment address pays; `None` if no friend, or more than one, claims it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        amount: Coins,
        /// The text as its author wrote it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        memo: Option<String>,
        /// The height of its block; `None` while it waits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        height: Option<Height>,
        /// The amount of the announced payment whose place it takes: both spend the same coins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<Coins>,
    },
    /// This machine has slept, and friends are here again.
    Back {
        /// The time for which it slept.
        away_ms: u64,
        /// The number of friends who are connected.
        friends: u32,
        /// The number of chat lines that have arrived since it woke.
        lines: u32,
    },
    /// A sentence for the user.
    Notice { text: String },
    /// The node shuts down. No further event follows.
    Stopping,
}

/// The reason why an announced payment does not come, or not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PaymentLoss {
    /// The payer spends the same coins in another transaction.
    Replaced,
    /// A block holds another transaction that spends the same coins.
    Spent,
    /// The mempool was full. The payment may still be mined.
    Evicted,
    /// It waited too long. The payment may still be mined.
    Expired,
    /// A reorg removed the coins that it spends.
    NoCoins,
    /// A reorg removed its block, and it waits again.
    Unmined,
    /// A reorg removed its block, and it can no longer be mined.
    Undone,
}

/// The reply of `events`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventPage {
    /// The value of `after` for the next request.
    pub next: u64,
    /// The number of events dropped before this console fetched them.
    #[serde(default)]
    pub missed: u64,
    /// Events, oldest first; empty if none came within the wait.
    pub events: Vec<ConsoleEvent>,
}
