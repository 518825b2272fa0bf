//! What commands on the running node answer.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::branch::DivergenceView;
use super::values::{Coins, Units};
use crate::primitives::{Address, BlockHash, Height, MiningMode, NetworkId, PeerId, UnixMillis};
use crate::sync::Phase;

/// The state of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StatusReport {
    /// What the node calls itself.
    pub name: String,
    pub peer_id: PeerId,
    pub network_id: NetworkId,
    /// The name of the chain.
    pub network_name: String,
    /// How far it is.
    pub phase: Phase,
    pub height: Height,
    pub tip: BlockHash,
    /// Of the best header known.
    pub best_header_height: Height,
    /// Expected hashes behind the tip, hex.
    pub work: String,
    /// How many peers are connected.
    pub peers: u32,
    /// How many trades wait.
    pub mempool: u32,
    /// Memory that they take.
    pub mempool_bytes: usize,
    /// The fee for each 1,000 bytes that a trade has to pay to be taken from a peer; nothing,
    /// unless the mempool is full or was a moment ago.
    pub fee_floor: Coins,
    /// The same in units.
    pub fee_floor_units: Units,
    /// Where it accepts connections, as multiaddrs.
    pub listen: Vec<String>,
    pub version: String,
    /// Whether a node runs on the folder; else the folder was opened for this answer.
    pub running: bool,
    /// When it mines by itself.
    pub mining: MiningMode,
    /// Who is paid for blocks mined here; none when there is no wallet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miner: Option<Address>,
    /// Blocks a second, while it syncs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks_per_second: Option<u64>,
    /// Seconds until synced at that rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// Of the data folder's files.
    pub disk_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Our clock less our friends', in ms, where it is far enough off to matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_ms: Option<i64>,
    /// Where health and metrics are shown, if anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
    /// The branches, when the phase is `diverged`: a person has to choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged: Option<DivergenceView>,
    /// The data folder.
    pub data_dir: String,
}

impl StatusReport {
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
    /// Its address as this node sees it.
    pub address: String,
    /// Whether the peer dialed.
    pub inbound: bool,
    /// 0 is good; penalties take from it.
    pub score: i64,
    /// Of its tip, when it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<Height>,
    /// Since when, in unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_at: Option<UnixMillis>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerList {
    pub peers: Vec<PeerView>,
    /// Banned, not connected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub banned: Vec<PeerId>,
}

/// Where the chain stands after a sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Synced {
    pub height: Height,
    pub tip: BlockHash,
}

/// Whether a peer may connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BanState {
    pub peer_id: PeerId,
    pub banned: bool,
}

/// The node is about to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stopping {
    pub stopping: bool,
}

/// How far the long work is that the node does for a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// What: `verify`, `reindex`, `mine`, `sync`, `create`.
    pub task: String,
    /// How much is done: blocks, or hashes in `create`.
    pub done: u64,
    /// Of how much; none where nobody can know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    pub started: UnixMillis,
}
