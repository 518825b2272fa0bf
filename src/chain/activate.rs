//! `activate` performs reorgs for [`Chain`]: all blocks of a reorg are switched, or none.

use super::{
    announcements::LogEntry,
    api::ChainEvent,
    coins::{self, Body, Coins, Refusal},
    errors::ChainFault,
    header_tree::NodeId,
    mempool::Mempool,
    state::Chain,
    store::{overlay::Overlay, tables::TxLocation},
};
use crate::{
    consensus::{BlockError, Coin, CoinKey},
    primitives::{BlockHash, Height, UnixMillis},
    telemetry::events,
};

/// The result of an attempt to make a block the tip.
#[derive(Debug)]
pub(super) enum Activation {
    /// The block is the tip now.
    Done,
    /// Unchanged, since settled blocks would have to be disconnected.
    TooDeep,
    /// Unchanged, since the branch leaves out the checkpoint of the invite.
    NoCheckpoint,
    /// Unchanged, since the reorg would exceed the memory limit.
    TooLarge { needs_mib: usize },
    /// A block of the branch breaks a rule. It and its descendants are now marked invalid; the best
    /// chain is unchanged.
    Invalid { block: NodeId, error: BlockError },
    /// A stored block of the branch is damaged. Its body and those of its descendants were deleted
    /// and must be downloaded again; the best chain is unchanged.
    Damaged,
}

/// A coins view that takes coins from mempool entries instead of the disk where possible.
///
/// The mempool stores the coins that its entries spend. The child layer takes precedence, since it
/// has the changes of this block and of earlier blocks that the mempool has not processed yet.
struct RememberedCoins<'a> {
    overlay: &'a mut Overlay,
    mempool: Option<&'a Mempool>,
}

impl Coins for RememberedCoins<'_> {
    fn coin(&mut self, key: &CoinKey) -> Result<Option<Coin>, ChainFault> {
        self.overlay.coin_or(key, || self.mempool?.spent_coin(key))
    }

    fn set_coin(&mut self, key: CoinKey, coin: Option<Coin>) {
        self.overlay.set_coin(key, coin);
    }
}

impl Chain {
    /// Makes a stored block that is better than the tip the new tip, unless the switch needs a
    /// person's consent.
    ///
    /// `body` is the block's body if the caller has it.
    pub(super) fn activate(
        &mut self,
        id: NodeId,
        body: Option<Body>,
        now: UnixMillis,
    ) -> Result<Activation, ChainFault> {
        match self.forbids(id)? {
            Some(refused) => Ok(refused),
            None => self.reorganise(id, body, now),
        }
    }

    /// Makes a stored block that is better than the tip the new tip, without asking for consent.
    ///
    /// All changes are made in a child layer. It is merged if every block connects, and dropped
    /// otherwise.
    pub(super) fn reorganise(
        &mut self,
        id: NodeId,
        body: Option<Body>,
        now: UnixMillis,
    ) -> Result<Activation, ChainFault> {
        let old_tip = self.tip();
        let (disconnect, connect) = self.tree.path_to(id);
        self.overlay.begin_child();
        let mut left = Vec::with_capacity(disconnect.len());
        for id in &disconnect {
            left.push(self.disconnect_block(*id)?);
        }
        let mut joined = Vec::with_capacity(connect.len());
        let mut given = body;
        for block in connect.iter().copied() {
            let body = if let Some(body) = given.take_if(|_| block == id) {
                body
            } else {
                let Some(body) = self.stored_body(block)? else {
                    self.overlay.drop_child();
                    self.forget_bodies(block)?;
                    return Ok(Activation::Damaged);
                };
                body
            };
            match self.connect_block(block, &body) {
                Ok(()) => joined.push(body),
                Err(Refusal::Fault(fault)) => return Err(fault),
                Err(Refusal::Rule(error)) => {
                    self.overlay.drop_child();
                    self.invalidate(block)?;
                    return Ok(Activation::Invalid { block, error });
                }
            }
        }
        self.overlay.set_tip(self.tree.node(id).key());
        self.overlay.merge_child();

        for id in &disconnect {
            self.tree.pop_connected();
            self.save(*id)?;
        }
        if !disconnect.is_empty() {
            self.leave_attended(self.tree.tip());
        }
        for id in &connect {
            let before = self.tree.node(*id).connected_at;
            self.tree.push_connected(*id, if self.rebuilding && before > 0 { before } else { now });
            self.save(*id)?;
        }
        if self.rebuilding {
            return Ok(Activation::Done);
        }
        self.tell(old_tip.hash, &disconnect, &left, &connect, &joined);
        self.tell_void_mined(&joined);
        if left.is_empty() {
            self.mempool_after_connect(&joined)?;
        } else {
            left.reverse();
            self.mempool_after_reorganisation(&left, now)?;
        }
        self.settle_mempool(now)?;
        Ok(Activation::Done)
    }

    /// Stages the events and log lines of a change of the best chain.
    fn tell(
        &mut self,
        old_tip: BlockHash,
        disconnect: &[NodeId],
        left: &[Body],
        connect: &[NodeId],
        joined: &[Body],
    ) {
        for (id, body) in disconnect.iter().zip(left) {
            let hash = self.tree.node(*id).hash;
            let event = events::BlockDisconnected { hash, height: body.height() };
            self.announcements.log(LogEntry::Disconnected(event));
        }
        for (id, body) in connect.iter().zip(joined) {
            let event = events::BlockConnected {
                hash: self.tree.node(*id).hash,
                previous: body.block.header.previous,
                height: body.height(),
                transactions: body.txids.len(),
                time: body.block.header.time,
            };
            self.announcements.log(LogEntry::Connected(event));
        }
        let tip = self.tip();
        if !left.is_empty() {
            self.announcements.log(LogEntry::Reorganised(events::Reorganised {
                old_tip,
                new_tip: tip.hash,
                height: tip.height,
                disconnected: left.len(),
                connected: joined.len(),
            }));
        }
        let name = |id: &NodeId| (self.tree.node(*id).hash, self.tree.node(*id).height);
        let event = ChainEvent::TipChanged {
            tip,
            disconnected: disconnect.iter().map(|id| name(id).0).collect(),
            connected: connect.iter().map(name).collect(),
            mined: joined.iter().flat_map(|body| body.txids.iter().copied()).collect(),
        };
        self.announcements.stage(event);
    }

    /// Returns the stored body of a block; `None` if the stored data is damaged.
    fn stored_body(&mut self, id: NodeId) -> Result<Option<Body>, ChainFault> {
        let node = *self.tree.node(id);
        let body = match self.overlay.block(&node.key()) {
            Ok(block) => Some(Body::from_store(block)).filter(|body| body.is_of(&node.hash)),
            Err(ChainFault::Corrupt(_)) => None,
            Err(fault) => return Err(fault),
        };
        if body.is_none() {
            tracing::warn!(hash = %node.hash, height = node.height, "a stored block is damaged");
        }
        Ok(body)
    }

    /// Disconnects a block in the open layer.
    fn disconnect_block(&mut self, id: NodeId) -> Result<Body, ChainFault> {
        let node = *self.tree.node(id);
        let key = node.key();
        let damaged = || {
            ChainFault::Corrupt(format!("block {} at height {} is damaged", node.hash, node.height))
        };
        let body = self.stored_body(id)?.ok_or_else(damaged)?;
        let undo = self.overlay.undo(&key)?;
        coins::disconnect(&mut self.overlay, &body, &undo)?;
        self.overlay.remove_undo(key);
        for txid in &body.txids {
            self.overlay.put_location(*txid, None);
        }
        Ok(body)
    }

    /// Connects a block in the open layer.
    fn connect_block(&mut self, id: NodeId, body: &Body) -> Result<(), Refusal> {
        let Self { overlay, network, verified, options, tree, mempool, rebuilding, .. } = self;
        overlay.reserve(
            body.block
                .transactions
                .iter()
                .map(|tx| tx.inputs.len().saturating_add(tx.outputs.len()))
                .sum(),
        );
        // A rebuild must depend only on stored data, so it does not use the mempool's coins.
        let mut coins = RememberedCoins { overlay, mempool: (!*rebuilding).then_some(mempool) };
        let undo = coins::connect(&mut coins, network, body, options.threads, |leaf| {
            verified.knows(leaf)
        })?;
        let node = tree.node(id);
        overlay.put_undo(node.key(), &undo);
        for (position, txid) in (0u32..).zip(&body.txids) {
            let location = TxLocation { height: node.height, position };
            overlay.put_location(*txid, Some(location));
        }
        Ok(())
    }

    /// Marks a block that breaks a rule and its descendants invalid, and selects the best header
    /// again.
    pub(super) fn invalidate(&mut self, id: NodeId) -> Result<(), ChainFault> {
        for id in self.tree.invalidate(id) {
            self.save(id)?;
            let node = self.tree.node(id);
            self.overlay.remove_block(node.key());
            self.orphans.remove(&node.hash);
        }
        self.choose_best_header()
    }

    /// Deletes the stored bodies of a block and its descendants. Their headers stay valid.
    pub(super) fn forget_bodies(&mut self, id: NodeId) -> Result<(), ChainFault> {
        for id in self.tree.forget_bodies(id) {
            self.save(id)?;
            let key = self.tree.node(id).key();
            self.overlay.remove_block(key);
        }
        Ok(())
    }

    /// Connects stored blocks up to the best one, after a reindex or a crash during one. Commits
    /// whenever enough changes have accumulated.
    ///
    /// No events are emitted, and the mempool is not touched. `progress` receives the heights done
    /// and in total; the call is cancelled if it returns false.
    pub(super) fn catch_up(
        &mut self,
        now: UnixMillis,
        progress: &mut dyn FnMut(Height, Height) -> bool,
    ) -> Result<(), ChainFault> {
        // Blocks that were connected before come first, so that a rebuild never switches to a
        // branch that needs a person's consent.
        let goals = [self.tree.find_best_once_connected(), self.tree.find_best_stored()];
        self.rebuilding = true;
        for goal in goals {
            let (disconnect, connect) = self.tree.path_to(goal);
            if disconnect.is_empty() && !self.connect_again(connect, now, progress)? {
                break;
            }
        }
        self.rebuilding = false;
        Ok(())
    }

    /// Connects stored blocks above the tip. Returns false if one of them does not connect.
    fn connect_again(
        &mut self,
        connect: Vec<NodeId>,
        now: UnixMillis,
        progress: &mut dyn FnMut(Height, Height) -> bool,
    ) -> Result<bool, ChainFault> {
        let goal = connect.last().map_or(0, |id| self.tree.node(*id).height);
        for id in connect {
            match self.activate(id, None, now)? {
                Activation::Invalid { block, error } => {
                    let hash = self.tree.node(block).hash;
                    tracing::warn!(%hash, %error, "a stored block does not connect");
                    return Ok(false);
                }
                Activation::Damaged => return Ok(false),
                Activation::Done
                | Activation::TooDeep
                | Activation::NoCheckpoint
                | Activation::TooLarge { .. } => {}
            }
            if self.is_full() {
                self.commit()?;
            }
            if !progress(self.tip().height, goal) {
                return Err(ChainFault::Cancelled);
            }
        }
        Ok(true)
    }
}
