//! `transactions` admits trades to the mempool and removes them, for [`Chain`].
//!
//! A trade made on this node is never deleted from the table of own trades. It becomes void once it
//! leaves the mempool without being mined. Void is final, since the user was notified and may have
//! paid again. The node never readmits or announces a void trade by itself: not after a block, a
//! reorg or a peer's message. Only the user can, by sending it again on this node. Somebody else
//! may still mine it. Then it is mined, and the user is notified.

use std::{cmp::Reverse, sync::Arc};

use super::{
    announcements::LogEntry,
    api::{ChainEvent, DropReason, MempoolEntry, Origin},
    coins::{Body, Coins},
    errors::{AcceptTradeError, ChainFault},
    mempool::{Candidate, Entry, FeeRate, Payer, Rules},
    state::Chain,
    store::tables::{MempoolRecord, OwnRecord, TxLocation},
};
use crate::{
    consensus::{CoinKey, TransactionError as TxError, verify_signatures},
    primitives::{Amount, Height, LeafHash, Transaction, TxId, UnixMillis, leaf_hash},
    telemetry::events,
};

impl Chain {
    /// Checks a trade or note and adds it to the mempool. A local trade that is already in the
    /// mempool is no error. A void trade of our own is admitted only from a local origin.
    ///
    /// # Errors
    /// See [`AcceptTradeError`].
    pub fn accept_trade(
        &mut self,
        transaction: Transaction,
        origin: Origin,
        now: UnixMillis,
    ) -> Result<TxId, AcceptTradeError> {
        let txid = transaction.txid();
        let result = self.take_trade(transaction, txid, origin, now);
        match &result {
            Ok(()) | Err(AcceptTradeError::Known { .. } | AcceptTradeError::Fault(_)) => {}
            Err(error) => {
                let (peer, code, reason) = (origin.peer(), error.code(), error.to_string());
                events::TradeRefused { txid, peer, code, reason }.emit();
            }
        }
        result.map(|()| txid)
    }

    fn take_trade(
        &mut self,
        transaction: Transaction,
        txid: TxId,
        origin: Origin,
        now: UnixMillis,
    ) -> Result<(), AcceptTradeError> {
        self.expire_trades(now)?;
        // A trade of our own stays local even if a peer sends it back.
        let local = origin == Origin::Local || self.own.contains(&txid);
        if self.mempool.get(&txid).is_some() {
            if origin != Origin::Local {
                return Err(AcceptTradeError::Known { txid });
            }
            if self.mempool.adopt(&txid) {
                self.keep(txid, now);
                self.tell_again(txid);
            }
            return Ok(());
        }
        self.check_not_void(txid, origin)?;
        let candidate = match self.check_trade(&transaction, txid, &Rules::for_new(local)) {
            // A mined trade has spent its coins or used its stamp, so only these two errors justify
            // a lookup on disk.
            Err(AcceptTradeError::Transaction {
                error: error @ (TxError::MissingCoin { .. } | TxError::StampUsed { .. }),
                ..
            }) => {
                return Err(match self.overlay.location(&txid)? {
                    Some(TxLocation { height, .. }) => AcceptTradeError::Mined { txid, height },
                    None => AcceptTradeError::Transaction { txid, error },
                });
            }
            checked => checked?,
        };
        if let Some(payer) = Payer::of(origin)
            && !local
        {
            self.check_dues(&transaction, txid, &candidate, payer, now)?;
        }
        verify_signatures(&self.network.id, &[(&transaction, txid)], 1)
            .map_err(|(_, error)| AcceptTradeError::Transaction { txid, error })?;

        let rate = candidate.rate(transaction.encoded_len());
        self.replace(txid, &candidate.conflicts)?;
        let transaction = Arc::new(transaction);
        let leaf = leaf_hash(&transaction);
        let is_free = FeeRate::of(candidate.fee, transaction.encoded_len()).is_free();
        self.admit(transaction, txid, leaf, candidate, local, now);
        if let Some(payer) = Payer::of(origin)
            && is_free
        {
            self.mempool.charge(&txid, payer);
        }
        self.keep(txid, now);
        self.evict(now)?;
        let Some(waiting) = self.mempool.get(&txid) else {
            return Err(AcceptTradeError::BelowFloor {
                txid,
                rate,
                floor: self.mempool.floor().at(now),
            });
        };
        let event = ChainEvent::TradeAccepted { entry: waiting.entry.clone(), origin };
        self.announcements.stage(event);
        self.announcements.log(LogEntry::Trade(events::TradeAccepted { txid, local }));
        Ok(())
    }

    /// Rejects a void trade of our own that a peer sends.
    fn check_not_void(&mut self, txid: TxId, origin: Origin) -> Result<(), AcceptTradeError> {
        if origin == Origin::Local || !self.own.is_void(&txid) {
            return Ok(());
        }
        Err(match self.overlay.location(&txid)? {
            Some(TxLocation { height, .. }) => AcceptTradeError::Mined { txid, height },
            None => AcceptTradeError::Void { txid },
        })
    }

    /// Checks a trade against mempool and best chain.
    fn check_trade(
        &mut self,
        transaction: &Transaction,
        txid: TxId,
        rules: &Rules,
    ) -> Result<Candidate, AcceptTradeError> {
        let next_height = self.tip().height.saturating_add(1);
        let Self { mempool, overlay, .. } = self;
        mempool.check(transaction, txid, next_height, rules, |key: &CoinKey| overlay.coin(key))
    }

    /// Checks that a peer's trade pays the fee rate for its place, or that the peer may still send
    /// free trades.
    fn check_dues(
        &mut self,
        transaction: &Transaction,
        txid: TxId,
        candidate: &Candidate,
        payer: Payer,
        now: UnixMillis,
    ) -> Result<(), AcceptTradeError> {
        let bytes = transaction.encoded_len();
        let rate = candidate.rate(bytes);
        if let Some(price) = self.mempool.price_of_room(transaction, candidate)
            && rate <= price
        {
            let floor = self.mempool.refuse_room(price, now);
            return Err(AcceptTradeError::BelowFloor { txid, rate, floor });
        }
        let floor = self.mempool.floor().at(now);
        if rate < floor {
            return Err(AcceptTradeError::BelowFloor { txid, rate, floor });
        }
        if FeeRate::of(candidate.fee, bytes).is_free()
            && !self.mempool.allow_free(payer, transaction, bytes, now)
        {
            return Err(AcceptTradeError::TooManyFree { txid });
        }
        Ok(())
    }

    /// Removes the trades that a checked trade replaces, with their descendants.
    fn replace(&mut self, by: TxId, conflicts: &[TxId]) -> Result<(), ChainFault> {
        for waiting in self.mempool.remove_with_descendants(conflicts.iter().copied()) {
            let reason = if conflicts.contains(&waiting.entry.txid) {
                format!("it was replaced by {by}, which spends the same and pays more")
            } else {
                format!(
                    "it rests on a trade that was replaced by {by}, which spends the same and \
                     pays more"
                )
            };
            self.give_up(&waiting, DropReason::Replaced, reason)?;
        }
        Ok(())
    }

    /// Evicts trades while the mempool is over its limit.
    fn evict(&mut self, now: UnixMillis) -> Result<(), ChainFault> {
        for waiting in self.mempool.evict(now) {
            self.give_up(&waiting, DropReason::Evicted, "there was no room for it".into())?;
        }
        Ok(())
    }

    /// Adjusts the mempool's times to a jump of the wall clock by `by` ms.
    pub(crate) fn clock_moved(&mut self, by: i64) {
        self.mempool.clock_moved(by);
    }

    /// Removes the trades whose expiry time has passed.
    pub(super) fn expire_trades(&mut self, now: UnixMillis) -> Result<(), ChainFault> {
        for waiting in self.mempool.expire(now) {
            self.give_up(&waiting, DropReason::Expired, "it waited too long".into())?;
        }
        Ok(())
    }

    /// Expires and evicts trades, after the best chain has changed.
    pub(super) fn settle_mempool(&mut self, now: UnixMillis) -> Result<(), ChainFault> {
        self.expire_trades(now)?;
        self.evict(now)
    }

    /// Inserts a checked trade with verified signatures into the mempool.
    fn admit(
        &mut self,
        transaction: Arc<Transaction>,
        txid: TxId,
        leaf: LeafHash,
        candidate: Candidate,
        local: bool,
        added: UnixMillis,
    ) {
        let bytes = transaction.encoded_len();
        let entry = MempoolEntry {
            transaction,
            txid,
            fee: Amount::ZERO,
            bytes,
            added,
            local,
            expires: None,
        };
        self.mempool.insert(entry, leaf, candidate);
        self.verified.insert(leaf);
    }

    /// Writes a mempool entry to the mempool table and, if it is local, to the table of own trades.
    pub(super) fn keep(&mut self, txid: TxId, now: UnixMillis) {
        let Some(waiting) = self.mempool.get(&txid) else { return };
        let MempoolEntry { transaction, added, local, .. } = &waiting.entry;
        let transaction = Arc::clone(transaction);
        let record =
            MempoolRecord { sequence: waiting.sequence, added: *added, local: *local, transaction };
        self.overlay.put_waiting(txid, &record);
        if record.local && !self.own.is_alive(&txid) {
            self.own.set_alive(txid);
            let transaction = Transaction::clone(&record.transaction);
            let record = OwnRecord { added: now, void: String::new(), transaction };
            self.overlay.put_own(txid, &record);
        }
    }

    /// Admits a trade that was in mempool or chain before, so its signatures are known to be valid.
    fn readmit(
        &mut self,
        transaction: &Arc<Transaction>,
        txid: TxId,
        leaf: LeafHash,
        added: UnixMillis,
    ) -> Result<(), AcceptTradeError> {
        self.readmit_stored(transaction, txid, leaf, added)?;
        self.keep(txid, added);
        Ok(())
    }

    /// Does the same as [`Chain::readmit`] for a trade that is already in the tables.
    fn readmit_stored(
        &mut self,
        transaction: &Arc<Transaction>,
        txid: TxId,
        leaf: LeafHash,
        added: UnixMillis,
    ) -> Result<(), AcceptTradeError> {
        let local = self.own.contains(&txid);
        let candidate = self.check_trade(transaction, txid, &Rules::for_known(local))?;
        self.admit(Arc::clone(transaction), txid, leaf, candidate, local, added);
        Ok(())
    }

    /// Removes the trades that the joined blocks have mined or made invalid.
    pub(super) fn mempool_after_connect(&mut self, joined: &[Body]) -> Result<(), ChainFault> {
        if self.mempool.len() == 0 {
            return Ok(());
        }
        for body in joined {
            for (_, transaction, txid, _) in body.trades() {
                if self.mempool.remove(&txid).is_some() {
                    self.overlay.remove_waiting(txid);
                    // No other mempool entry spends the same coins.
                    continue;
                }
                for key in transaction.inputs.iter().map(CoinKey::of_input) {
                    if let Some(loser) = self.mempool.spender(&key) {
                        self.drop_conflict(loser, &key, txid, body.height())?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes a trade whose coin a block spent, with its descendants.
    fn drop_conflict(
        &mut self,
        loser: TxId,
        key: &CoinKey,
        by: TxId,
        height: Height,
    ) -> Result<(), ChainFault> {
        let what = place_of(key);
        for waiting in self.mempool.remove_with_descendants([loser]) {
            let reason = if waiting.entry.txid == loser {
                format!("{what} was spent by {by} in block {height}")
            } else {
                format!(
                    "it rests on {loser}, which can no longer be mined: {what} was spent by {by} \
                     in block {height}"
                )
            };
            self.give_up(&waiting, DropReason::Conflict, reason)?;
        }
        Ok(())
    }

    /// Handles a trade that left the mempool without being mined. Our own trade becomes void, any
    /// other is deleted.
    fn give_up(
        &mut self,
        waiting: &Entry,
        why: DropReason,
        reason: String,
    ) -> Result<(), ChainFault> {
        let txid = waiting.entry.txid;
        self.overlay.remove_waiting(txid);
        if self.own.contains(&txid) {
            let transaction = Transaction::clone(&waiting.entry.transaction);
            self.make_void(txid, transaction, waiting.entry.added, reason)?;
        } else {
            self.announcements.stage(ChainEvent::TradeDropped { txid, reason: why });
            self.announcements
                .log(LogEntry::Dropped(events::TradeDropped { txid, reason: why.code() }));
        }
        Ok(())
    }

    pub(super) fn make_void(
        &mut self,
        txid: TxId,
        transaction: Transaction,
        added: UnixMillis,
        reason: String,
    ) -> Result<(), ChainFault> {
        let added = self.overlay.own(&txid)?.map_or(added, |record| record.added);
        self.overlay.put_own(txid, &OwnRecord { added, void: reason.clone(), transaction });
        self.own.set_void(txid);
        self.announcements.stage(ChainEvent::TradeVoid { txid, reason });
        Ok(())
    }

    /// Announces void trades of our own that these blocks contain: somebody else has mined them.
    pub(super) fn tell_void_mined(&mut self, joined: &[Body]) {
        for body in joined {
            let (block, height) = (body.block.hash(), body.height());
            for txid in body.txids.iter().filter(|txid| self.own.is_void(txid)).copied() {
                self.announcements.stage(ChainEvent::VoidMined { txid, block, height });
            }
        }
    }

    /// Rebuilds the mempool after a reorg. Trades of the disconnected blocks (`left`, oldest first)
    /// return if they are still valid, and all mempool entries are checked again.
    pub(super) fn mempool_after_reorganisation(
        &mut self,
        left: &[Body],
        now: UnixMillis,
    ) -> Result<(), ChainFault> {
        let waited = self.mempool.take_all();
        for body in left {
            for (_, transaction, txid, leaf) in body.trades() {
                if self.overlay.location(&txid)?.is_some() {
                    continue;
                }
                if let Some(record) = self.void_record(&txid)? {
                    // A peer had mined it. It is void again.
                    self.announcements.stage(ChainEvent::TradeVoid { txid, reason: record.void });
                    continue;
                }
                match self.readmit(&Arc::new(transaction.clone()), txid, leaf, now) {
                    Ok(()) => self.tell_again(txid),
                    Err(AcceptTradeError::Fault(fault)) => return Err(fault),
                    Err(error) if self.own.contains(&txid) => {
                        self.make_void(txid, transaction.clone(), now, why_void(&error))?;
                    }
                    Err(error) => {
                        tracing::debug!(%txid, %error, "a trade did not survive a reorganisation");
                    }
                }
            }
        }
        self.readmit_all(waited)
    }

    /// Emits `TradeAccepted` again for a local trade that returned to the mempool, so that it is
    /// relayed.
    fn tell_again(&mut self, txid: TxId) {
        if let Some(waiting) = self.mempool.get(&txid).filter(|waiting| waiting.entry.local) {
            let event =
                ChainEvent::TradeAccepted { entry: waiting.entry.clone(), origin: Origin::Local };
            self.announcements.stage(event);
            self.announcements.log(LogEntry::Trade(events::TradeAccepted { txid, local: true }));
        }
    }

    fn readmit_all(&mut self, waited: Vec<Entry>) -> Result<(), ChainFault> {
        for waiting in waited {
            let MempoolEntry { transaction, txid, added, .. } = &waiting.entry;
            if self.overlay.location(txid)?.is_some() {
                self.overlay.remove_waiting(*txid);
                continue;
            }
            match self.readmit(transaction, *txid, waiting.leaf, *added) {
                Ok(()) => {
                    if let Some(payer) = waiting.charged {
                        self.mempool.charge(txid, payer);
                    }
                }
                Err(AcceptTradeError::Known { .. }) => {}
                Err(AcceptTradeError::Fault(fault)) => return Err(fault),
                Err(error) => self.give_up(&waiting, DropReason::Reorganised, why_void(&error))?,
            }
        }
        Ok(())
    }

    /// Checks all mempool entries again, after the chain was rebuilt.
    pub(super) fn recheck_mempool(&mut self) -> Result<(), ChainFault> {
        let waited = self.mempool.take_all();
        self.readmit_all(waited)
    }

    /// Restores the mempool of the last run, in the order of admission.
    pub(super) fn restore_mempool(
        &mut self,
        records: Vec<(TxId, MempoolRecord)>,
    ) -> Result<(), ChainFault> {
        for (txid, record) in records {
            let MempoolRecord { sequence, added, local, transaction } = record;
            self.mempool.continue_from(sequence);
            if self.overlay.location(&txid)?.is_some() || self.own.is_void(&txid) {
                self.overlay.remove_waiting(txid);
                continue;
            }
            if local {
                // It counts as our own even if its record in the own table is lost. A reindex
                // writes that record again.
                self.own.add(txid);
            }
            let leaf = leaf_hash(&transaction);
            match self.readmit_stored(&transaction, txid, leaf, added) {
                Ok(()) => {
                    let as_stored = |waiting: &Entry| {
                        waiting.sequence == sequence && waiting.entry.local == local
                    };
                    // Skips the write if the stored record is already correct.
                    if !self.mempool.get(&txid).is_some_and(as_stored) {
                        self.keep(txid, added);
                    }
                }
                Err(AcceptTradeError::Fault(fault)) => return Err(fault),
                Err(error) => {
                    self.overlay.remove_waiting(txid);
                    if self.own.contains(&txid) {
                        self.make_void(
                            txid,
                            Transaction::clone(&transaction),
                            added,
                            why_void(&error),
                        )?;
                    }
                }
            }
        }
        // The stored mempool may exceed the limit if another version wrote it. Time 0 makes the
        // fee floor start afresh.
        self.evict(0)
    }

    /// Returns the record of an own trade that is void.
    fn void_record(&mut self, txid: &TxId) -> Result<Option<OwnRecord>, ChainFault> {
        if self.own.is_void(txid) { self.overlay.own(txid) } else { Ok(None) }
    }

    /// Admits own trades that a repair found in neither a block nor the mempool. Those that are no
    /// longer valid become void for the reason `why`.
    pub(super) fn readmit_own(
        &mut self,
        mut records: Vec<(TxId, OwnRecord)>,
        why: &str,
        now: UnixMillis,
    ) -> Result<(), ChainFault> {
        // Newest first: of two conflicting trades, the later one is what the user wants.
        records.sort_by_key(|(txid, record)| (Reverse(record.added), *txid));
        // One trade may depend on another, so repeat while any is admitted.
        loop {
            let before = records.len();
            let mut left = Vec::new();
            for (txid, record) in records {
                let transaction = Arc::new(record.transaction.clone());
                let leaf = leaf_hash(&transaction);
                match self.readmit(&transaction, txid, leaf, now) {
                    Ok(()) => self.tell_again(txid),
                    Err(AcceptTradeError::Known { .. }) => {}
                    Err(AcceptTradeError::Fault(fault)) => return Err(fault),
                    Err(_) => left.push((txid, record)),
                }
            }
            records = left;
            if records.is_empty() || records.len() == before {
                break;
            }
        }
        for (txid, OwnRecord { added, transaction, .. }) in records {
            self.make_void(txid, transaction, added, why.to_owned())?;
        }
        Ok(())
    }
}

/// Formats a coin or stamp for a reason sentence.
fn place_of(key: &CoinKey) -> String {
    if key.outpoint.is_stamp() {
        format!("its stamp {}", key.outpoint.index)
    } else {
        format!("its coin {}:{}", key.outpoint.txid, key.outpoint.index)
    }
}

/// Returns a sentence that explains why a formerly valid trade became invalid.
fn why_void(error: &AcceptTradeError) -> String {
    match error {
        AcceptTradeError::Transaction { error: TxError::MissingCoin { outpoint, .. }, .. } => {
            format!(
                "its coin {}:{} is not on the best chain any more",
                outpoint.txid, outpoint.index
            )
        }
        AcceptTradeError::Transaction { error: TxError::StampUsed { index }, .. } => {
            format!("its stamp {index} was used by another note")
        }
        AcceptTradeError::Conflict { outpoint, by, .. } => {
            format!("its coin {}:{} is spent by {by}", outpoint.txid, outpoint.index)
        }
        other => other.to_string(),
    }
}
