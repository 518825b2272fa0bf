//! What consoles show above their prompts.

use serde::{Deserialize, Serialize};

use crate::primitives::{BlockHash, Height, PeerId, TxId, UnixMillis};

/// Something that a console shows above its prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum ConsoleEvent {
    /// A chat line came.
    Chat {
        /// Its author's name; with a suffix where two friends share it.
        from: String,
        /// The whole line, made printable.
        text: String,
        /// Whether it is to this node alone.
        direct: bool,
        /// When, by its author's clock.
        time: UnixMillis,
    },
    /// A queued line of ours was kept by its receiver.
    ChatDelivered {
        /// To whom, by name.
        to: String,
        id: String,
    },
    /// A friend is here.
    FriendJoined { name: String, peer_id: PeerId },
    /// A friend is gone.
    FriendLeft {
        name: String,
        peer_id: PeerId,
        /// Whether it said goodbye.
        quit: bool,
    },
    /// Blocks joined the best chain; one event for many while the node syncs.
    BlockConnected {
        hash: BlockHash,
        height: Height,
        count: u32,
        /// The texts of the notes in it, made printable; left out when there were many blocks.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
    },
    /// This node found a block.
    BlockMined { hash: BlockHash, height: Height },
    /// Another branch became the best chain.
    Reorganised {
        /// The new tip.
        tip: BlockHash,
        height: Height,
        /// How many blocks left.
        disconnected: u32,
    },
    /// Another branch has more work, and is not taken without a person's word.
    Diverged {
        tip: BlockHash,
        height: Height,
        /// The end of the other.
        branch: BlockHash,
        branch_height: Height,
        /// Of the last block that both have.
        fork_height: Height,
    },
    /// There is nothing to choose any more.
    Reunited {
        /// Of the one branch.
        tip: BlockHash,
        height: Height,
    },
    /// A trade or note of this wallet was mined.
    TradeMined { txid: TxId, block: BlockHash, height: Height },
    /// A trade or note of this wallet can never be mined any more.
    TradeVoid {
        txid: TxId,
        /// Why, as a sentence.
        reason: String,
    },
    /// A sentence that the node wants a person to read.
    Notice { text: String },
    /// The node ends: nothing follows.
    Stopping,
}

/// The next events of the feed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventPage {
    /// What to give as `after` next.
    pub next: u64,
    /// How many were dropped because nobody fetched them in time.
    #[serde(default)]
    pub missed: u64,
    /// Oldest first; empty when none came in time.
    pub events: Vec<ConsoleEvent>,
}
