//! Replies of the commands about the running node.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::branch::DivergenceView;
use super::reach::{ReachView, TryView};
use super::values::{Coins, Units};
use crate::primitives::{Address, BlockHash, Height, MiningMode, NetworkId, PeerId, UnixMillis};
use crate::sync::{Obstacle, Phase};

/// The reply of `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StatusReport {
    /// The name that this node shows to its friends.
    pub name: String,
    pub peer_id: PeerId,
    pub network_id: NetworkId,
    pub network_name: String,
    pub phase: Phase,
    pub height: Height,
    pub tip: BlockHash,
    pub best_header_height: Height,
    /// The height at which a sync is complete: of the best header, or of a higher claim that
    /// counts.
    #[serde(default)]
    pub target_height: Height,
    /// The expected number of hashes behind the tip, in hex.
    pub work: String,
    /// The number of connected peers.
    pub peers: u32,
    /// The number of connected friends and proven peers that claim no better chain.
    #[serde(default)]
    pub proven_peers: u32,
    /// The age of the tip by its own time and this node's clock, in ms.
    #[serde(default)]
    pub tip_age_ms: u64,
    /// The reason why a better chain does not arrive; present in phase `stalled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<Obstacle>,
    /// The number of sealed chat lines that this node keeps for friends who are away.
    #[serde(default)]
    pub kept_lines: u64,
    /// The number of mempool entries.
    pub mempool: u32,
    /// The memory that mempool entries take.
    pub mempool_bytes: usize,
    /// The lowest fee for each 1,000 bytes at which this node accepts a trade from a peer. It is 0
    /// unless the mempool is full or was full recently.
    pub fee_floor: Coins,
    pub fee_floor_units: Units,
    /// The multiaddrs at which this node accepts connections.
    pub listen: Vec<String>,
    pub version: String,
    /// True if a node runs on the data folder. Otherwise the command itself opened the folder.
    pub running: bool,
    pub mining: MiningMode,
    /// The payee of blocks that this node mines; `None` without a wallet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miner: Option<Address>,
    /// Set while the miner waits for the clock: the time at which its next block is allowed, in
    /// unix ms. The newest blocks are ahead of this node's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mining_waits_until: Option<UnixMillis>,
    /// The rate of connected blocks; present only during a sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks_per_second: Option<u64>,
    /// The estimated seconds until the sync is complete, at `blocks_per_second`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// The total size of the files in the data folder.
    pub disk_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// This node's clock less the median of its peers' clocks, in ms. Present only if large
    /// enough to matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_ms: Option<i64>,
    /// The address of the HTTP server for health and metrics, if it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
    /// The two branches between which the user has to choose; present in phase `diverged`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged: Option<DivergenceView>,
    pub data_dir: String,
    /// The addresses that the node tries, of the user and of friends, and why they fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tries: Vec<TryView>,
    /// The way in which others reach the running node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<ReachView>,
    /// True if no other machine can reach the running node: it listens at loopback addresses only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_this_machine: bool,
    /// Another node with this identity, if one was seen recently. It runs on a copy of the data
    /// folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<CopyView>,
}

/// Another node with this node's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CopyView {
    /// The time at which it was seen last, in unix ms.
    pub seen: UnixMillis,
    /// The copy's multiaddr; left out if friends reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl StatusReport {
    /// True if the node knows no better chain than its own.
    pub(crate) fn is_synced(&self) -> bool {
        self.phase == Phase::Synced
    }

    /// True if no connected peer's claim about the chain counts.
    pub(crate) fn is_alone(&self) -> bool {
        self.phase == Phase::Alone
    }

    /// True while the node fetches a better chain from its peers.
    pub(crate) fn is_syncing(&self) -> bool {
        self.phase == Phase::Syncing
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerView {
    pub peer_id: PeerId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The remote multiaddr of the connection.
    pub address: String,
    /// True if the peer dialed this node.
    pub inbound: bool,
    /// The peer that relays the connection, if there is one and it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<PeerId>,
    /// Penalties lower the score; the best score is 0.
    pub score: i64,
    /// The height of the peer's tip, if the peer has reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<Height>,
    /// The start of the connection, in unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_at: Option<UnixMillis>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerList {
    pub peers: Vec<PeerView>,
    /// Banned peers. None of them is connected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub banned: Vec<PeerId>,
}

/// The reply of `sync`: the tip after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Synced {
    pub height: Height,
    pub tip: BlockHash,
}

/// The reply of `ban` and `unban`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BanState {
    pub peer_id: PeerId,
    pub banned: bool,
}

/// The reply of `stop`, sent before the node shuts down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stopping {
    pub stopping: bool,
}

/// The progress of a long task that the node runs for a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// One of `verify`, `reindex`, `mine`, `wait`, `ask`, `sync`, `create`.
    pub task: String,
    /// The number of blocks done; in `create`, of hashes.
    pub done: u64,
    /// The number at which the task is complete; `None` if it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// The time since the task began, in ms.
    pub elapsed_ms: u64,
    /// Set while the task waits for the clock: the time at which it continues, in unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_until: Option<UnixMillis>,
}
