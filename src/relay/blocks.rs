//! The state of announced blocks.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{MAX_RECENT_BLOCKS, bounded::Recent};
use crate::primitives::{
    Block, BlockHash, Header, Moment, PeerId, SHORT_ID_BYTES, Transaction, leaf_hash, short_id,
};

/// A solved header that the chain is checking.
#[derive(Debug)]
pub(super) struct Check<M> {
    pub(super) peer: PeerId,
    pub(super) message: Option<M>,
    pub(super) header: Header,
    pub(super) since: Moment,
}

/// The transactions of a block that is being assembled.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    /// The known transactions at their positions, the coinbase first.
    pub(super) found: Vec<Option<Arc<Transaction>>>,
    /// The positions of the missing transactions, ascending.
    pub(super) missing: Vec<u32>,
}

/// A request for parts of a block, or for the whole of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) id: u64,
    pub(super) peer: PeerId,
    pub(super) since: Moment,
}

/// The stage of an announced block.
#[derive(Debug)]
pub(super) enum Stage {
    /// The chain is checking the header.
    Checking,
    /// The chain is rebuilding the block by another claim. This one is next.
    Queued,
    /// The chain is rebuilding the block from the mempool.
    Rebuilding,
    /// Requests are in flight, for parts or the whole block: at least one, and at most one to a
    /// peer.
    Asking { asked: Vec<Asked> },
    /// The next announcer is asked at this time.
    Waiting { until: Moment },
    /// The chain is checking the whole block. `from` is the peer that sent a part of it, if any.
    Accepting { from: Option<PeerId> },
}

/// A claim about the body of an announced block: its hash, and a number among its claims.
///
/// A header does not prove what a compact block says about the body. Claims that differ are
/// completed side by side, so that a wrong one does not hold up the true one.
pub(super) type ClaimKey = (BlockHash, u32);

/// A claim about an announced block that is not complete yet.
#[derive(Debug)]
pub(super) struct Pending<M> {
    pub(super) header: Header,
    pub(super) coinbase: Box<Transaction>,
    pub(super) short_ids: Vec<[u8; SHORT_ID_BYTES]>,
    /// The announcers, in the order in which they are asked. Empty only if all of them were
    /// dropped or have disconnected.
    pub(super) sources: Vec<PeerId>,
    /// The gossip message; `None` once it has its verdict.
    pub(super) message: Option<M>,
    /// True if the message was forwarded before the block was complete.
    pub(super) is_forwarded: bool,
    pub(super) since: Moment,
    pub(super) stage: Stage,
    /// The result of the rebuild. `None` if the whole block has to be requested.
    pub(super) parts: Option<Parts>,
    /// The peers that were asked so far, one for each request: at most `MAX_TRIES`.
    pub(super) tried: Vec<PeerId>,
    /// True if the header became the best one: accepting its body then pauses mining.
    pub(super) leads: bool,
}

impl<M> Pending<M> {
    /// True if the compact form of this block has the claim's coinbase and short ids.
    pub(super) fn describes(&self, block: &Block) -> bool {
        let Some((coinbase, rest)) = block.transactions.split_first() else { return false };
        let hash = block.hash();
        let mut claimed = rest.iter().zip(&self.short_ids);
        *coinbase == *self.coinbase
            && rest.len() == self.short_ids.len()
            && claimed.all(|(one, claimed)| short_id(&hash, &leaf_hash(one)) == *claimed)
    }

    /// Returns the requests in flight.
    pub(super) fn asked(&self) -> &[Asked] {
        match &self.stage {
            Stage::Asking { asked } => asked,
            _ => &[],
        }
    }

    /// Returns the peer that sent the last part of a complete block. If the mempool had all of its
    /// trades, this is the first announcer.
    pub(super) fn sender(&self) -> Option<PeerId> {
        let from = match &self.stage {
            Stage::Accepting { from } => *from,
            _ => None,
        };
        from.or_else(|| self.sources.first().copied())
    }

    /// Returns the first announcer that was not asked yet.
    pub(super) fn untried(&self) -> Option<PeerId> {
        self.sources.iter().find(|source| !self.tried.contains(source)).copied()
    }
}

/// The relay's state of blocks.
#[derive(Debug)]
pub(super) struct Blocks<M> {
    pub(super) checks: HashMap<BlockHash, Check<M>>,
    pub(super) pending: BTreeMap<ClaimKey, Pending<M>>,
    /// Solved headers that were forwarded and whose blocks are missing, each with the peer that
    /// sent it and the time.
    pub(super) awaited: BTreeMap<BlockHash, (PeerId, Moment)>,
    /// Blocks solved by this node.
    pub(super) own: Recent<BlockHash>,
    /// Blocks that this node announced, or completed from gossip that it forwarded.
    pub(super) announced: Recent<BlockHash>,
    pub(super) connected: Recent<BlockHash>,
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
        }
    }

    /// Returns the claims about a block, the earliest first.
    pub(super) fn claims(&self, hash: &BlockHash) -> impl Iterator<Item = (ClaimKey, &Pending<M>)> {
        self.pending.range((*hash, 0)..=(*hash, u32::MAX)).map(|(key, pending)| (*key, pending))
    }

    /// Returns the first claim about a block in a stage.
    pub(super) fn claim_at(
        &self,
        hash: &BlockHash,
        is_there: impl Fn(&Stage) -> bool,
    ) -> Option<ClaimKey> {
        self.claims(hash).find(|(_, pending)| is_there(&pending.stage)).map(|(key, _)| key)
    }

    /// Returns the claim that the request with this id is for, and the request.
    pub(super) fn asked(&self, id: u64) -> Option<(ClaimKey, Asked)> {
        self.pending.iter().find_map(|(key, pending)| {
            let asked = pending.asked().iter().find(|asked| asked.id == id)?;
            Some((*key, *asked))
        })
    }
}
