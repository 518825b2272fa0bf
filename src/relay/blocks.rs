//! The state of announced blocks.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{MAX_RECENT_BLOCKS, bounded::Recent};
use crate::primitives::{BlockHash, Header, PeerId, SHORT_ID_BYTES, Transaction, UnixMillis};

/// A solved header whose check is under way.
#[derive(Debug)]
pub(super) struct Check<M> {
    pub(super) peer: PeerId,
    pub(super) message: Option<M>,
    pub(super) header: Header,
    pub(super) since: UnixMillis,
}

/// What a block is put together from.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    /// Each transaction that is here, in its place, the coinbase first.
    pub(super) places: Vec<Option<Arc<Transaction>>>,
    /// The places to be filled, ascending.
    pub(super) missing: Vec<u32>,
}

/// Where an announced block stands.
#[derive(Debug)]
pub(super) enum Stage {
    /// The chain checks its header.
    Checking,
    /// The chain looks for its transactions in the mempool.
    Rebuilding,
    /// A peer is asked for parts or for the whole.
    Asking { id: u64, peer: PeerId, since: UnixMillis },
    /// The next peer is asked at this time.
    Waiting { until: UnixMillis },
    /// The chain checks the whole. The peer, if any, has handed over a part of it.
    Accepting { from: Option<PeerId> },
}

/// A block that was announced and is not here yet.
#[derive(Debug)]
pub(super) struct Pending<M> {
    pub(super) header: Header,
    pub(super) coinbase: Box<Transaction>,
    pub(super) short_ids: Vec<[u8; SHORT_ID_BYTES]>,
    /// Who announced it, in the order in which they are asked. Never empty but when all have gone.
    pub(super) sources: Vec<PeerId>,
    /// Until its verdict is given.
    pub(super) message: Option<M>,
    pub(super) since: UnixMillis,
    pub(super) stage: Stage,
    /// What the mempool had. None once the whole block is asked for.
    pub(super) parts: Option<Parts>,
    pub(super) tries: u32,
}

/// What the relay knows of blocks.
#[derive(Debug)]
pub(super) struct Blocks<M> {
    pub(super) checks: HashMap<BlockHash, Check<M>>,
    pub(super) pending: BTreeMap<BlockHash, Pending<M>>,
    /// Solved headers that were let through: who told of them, and when.
    pub(super) awaited: BTreeMap<BlockHash, (PeerId, UnixMillis)>,
    /// Solved by this node.
    pub(super) own: Recent<BlockHash>,
    /// Announced by gossip, with a good header.
    pub(super) announced: Recent<BlockHash>,
    pub(super) connected: Recent<BlockHash>,
    /// The tip for whose child the miners were paused.
    pub(super) paused: Option<BlockHash>,
}

impl<M> Blocks<M> {
    pub(super) fn new() -> Self {
        Self {
            checks: HashMap::new(),
            pending: BTreeMap::new(),
            awaited: BTreeMap::new(),
            own: Recent::new(MAX_RECENT_BLOCKS),
            announced: Recent::new(MAX_RECENT_BLOCKS),
            connected: Recent::new(MAX_RECENT_BLOCKS),
            paused: None,
        }
    }

    pub(super) fn asked(&self, id: u64) -> Option<BlockHash> {
        let asks = |pending: &Pending<M>| matches!(pending.stage, Stage::Asking { id: asked, .. } if asked == id);
        self.pending.iter().find(|(_, pending)| asks(pending)).map(|(hash, _)| *hash)
    }
}
