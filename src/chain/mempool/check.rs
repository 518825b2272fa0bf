//! Mempool admission checks every rule for a new transaction except signatures.
//!
//! The checks run from cheap to expensive, so that a rejected trade has cost little: form,
//! conflicts, coins, fee, replaced entries, ancestors. Signatures come last, in
//! [`Chain::accept_trade`](crate::chain::Chain::accept_trade).
//!
//! # Replacement
//! A trade that spends the coins of mempool entries replaces them and all their descendants if
//! 1. it pays more than all of these together, by [`PAYING_RATE`] for its own length, so that every
//!    relay of a trade is paid for;
//! 2. its fee rate is higher than that of each conflicting entry, both alone and with its
//!    ancestors, so that miners prefer it;
//! 3. at most [`MAX_REPLACED`] entries leave;
//! 4. none of the leaving entries is its ancestor.
//!
//! Notes are never replaced: a note pays nothing, and only another note with the same stamp can
//! conflict with it.

use std::collections::{BTreeSet, HashSet};

use super::{
    MAX_CHAIN, MAX_LOCAL_CHAIN, MAX_LOCAL_PACKAGE_BYTES, MAX_PACKAGE_BYTES, MAX_REPLACED, Mempool,
    PAYING_RATE,
    fees::{FeeRate, Package},
    is_note,
};
use crate::{
    chain::errors::{AcceptTradeError, ChainFault},
    consensus::{self, Coin, CoinKey, TransactionError},
    primitives::{Amount, Height, OutPoint, Transaction, TxId},
};

/// Bounds on a package: the ancestors of a trade, or the descendants of an ancestor, the trade
/// itself included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    count: usize,
    bytes: usize,
}

/// Limits for a peer's trade.
const PEER_LIMITS: Limits = Limits { count: MAX_CHAIN, bytes: MAX_PACKAGE_BYTES };
/// Limits for a trade made on this node.
const LOCAL_LIMITS: Limits = Limits { count: MAX_LOCAL_CHAIN, bytes: MAX_LOCAL_PACKAGE_BYTES };
/// Limits for a peer's trade that returns from a block that left the best chain. Longer chains may
/// have been mined there, but the check's time grows with the square of the length.
const RETURNING_LIMITS: Limits = Limits { count: 1_000, bytes: usize::MAX };
/// Limits for a trade made on this node that was accepted before.
const UNLIMITED: Limits = Limits { count: usize::MAX, bytes: usize::MAX };

/// The admission rules for one trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    limits: Limits,
    /// True if the trade may replace others.
    may_replace: bool,
}

impl Rules {
    /// Rules for a trade that arrives for the first time.
    pub(crate) const fn for_new(local: bool) -> Self {
        Self { limits: if local { LOCAL_LIMITS } else { PEER_LIMITS }, may_replace: true }
    }

    /// Rules for a trade that was in the mempool or the chain before.
    pub(crate) const fn for_known(local: bool) -> Self {
        Self { limits: if local { UNLIMITED } else { RETURNING_LIMITS }, may_replace: false }
    }
}

/// A transaction that passed the checks against chain and mempool. Its signatures are not yet
/// verified.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) fee: Amount,
    pub(super) parents: Vec<TxId>,
    /// The keys that it spends, each with its coin if that is on the chain.
    pub(super) spends: Vec<(CoinKey, Option<Coin>)>,
    /// Sum over the transaction and all its ancestors in the mempool.
    pub(super) package: Package,
    /// Entries that spend the same coins, and leave on admission.
    pub(crate) conflicts: Vec<TxId>,
    /// The conflicts and all their descendants.
    pub(super) replaced: HashSet<TxId>,
}

impl Candidate {
    /// Returns the fee rate that would rank it: the lower of its own and its package's.
    pub(crate) fn rate(&self, bytes: usize) -> FeeRate {
        FeeRate::of(self.fee, bytes).min(self.package.rate())
    }
}

impl Mempool {
    /// Checks everything except signatures, free memory and the peer's rate limit. `coin` looks up
    /// a key on the chain.
    pub(crate) fn check(
        &self,
        transaction: &Transaction,
        txid: TxId,
        next_height: Height,
        rules: &Rules,
        mut coin: impl FnMut(&CoinKey) -> Result<Option<Coin>, ChainFault>,
    ) -> Result<Candidate, AcceptTradeError> {
        let broken = |error| AcceptTradeError::Transaction { txid, error };
        consensus::check_transaction(transaction).map_err(broken)?;
        if self.entries.contains_key(&txid) {
            return Err(AcceptTradeError::Known { txid });
        }
        let keys: Vec<_> = transaction.inputs.iter().map(CoinKey::of_input).collect();
        let is_note = is_note(transaction);
        let rivals: Vec<_> =
            keys.iter().filter_map(|key| Some((key.outpoint, self.spender(key)?))).collect();
        if let Some((outpoint, by)) = rivals.first().copied()
            && (is_note || !rules.may_replace)
        {
            return Err(AcceptTradeError::Conflict { txid, outpoint, by, needs: None });
        }
        let (mut spent, mut parents, mut spends) = (Vec::new(), Vec::new(), Vec::new());
        for (input, key) in keys.into_iter().enumerate() {
            let outpoint = key.outpoint;
            if is_note {
                if coin(&key)?.is_some() {
                    return Err(broken(TransactionError::StampUsed { index: outpoint.index }));
                }
                spends.push((key, None));
                continue;
            }
            if let Some(pending) = self.output(&key, next_height) {
                spent.push(pending);
                parents.push(outpoint.txid);
                spends.push((key, None));
                continue;
            }
            let found = coin(&key)?
                .ok_or_else(|| broken(TransactionError::MissingCoin { input, outpoint }))?;
            spent.push(found);
            spends.push((key, Some(found)));
        }
        let fee = consensus::check_coins(transaction, &spent, next_height).map_err(broken)?;
        parents.sort_unstable();
        parents.dedup();
        let alone = Package::one(fee, transaction.encoded_len());
        let mut candidate = Candidate {
            fee,
            parents,
            spends,
            package: alone,
            conflicts: Vec::new(),
            replaced: HashSet::new(),
        };
        self.find_replaced(txid, &rivals, &mut candidate)?;
        self.find_package(txid, &rules.limits, &mut candidate)?;
        self.check_replacement(txid, &rivals, alone, &candidate)?;
        Ok(candidate)
    }

    /// Finds the entries that the candidate would replace. Their number is bounded, and none may be
    /// its parent.
    fn find_replaced(
        &self,
        txid: TxId,
        rivals: &[(OutPoint, TxId)],
        candidate: &mut Candidate,
    ) -> Result<(), AcceptTradeError> {
        if rivals.is_empty() {
            return Ok(());
        }
        let conflicts: BTreeSet<TxId> = rivals.iter().map(|(_, by)| *by).collect();
        candidate.replaced = self.descendants(conflicts.iter().copied(), MAX_REPLACED);
        candidate.conflicts = conflicts.into_iter().collect();
        let replaced = candidate.replaced.len();
        if replaced > MAX_REPLACED {
            return Err(AcceptTradeError::TooManyReplaced { txid, replaced, limit: MAX_REPLACED });
        }
        // Checking parents is enough: an indirect descendant of a conflict has a parent in
        // `replaced`.
        match candidate.parents.iter().find(|parent| candidate.replaced.contains(parent)) {
            Some(parent) => Err(AcceptTradeError::ReplacesParent { txid, parent: *parent }),
            None => Ok(()),
        }
    }

    /// Adds up the candidate's ancestors, and checks the limits on ancestors and descendants.
    fn find_package(
        &self,
        txid: TxId,
        limits: &Limits,
        candidate: &mut Candidate,
    ) -> Result<(), AcceptTradeError> {
        if candidate.parents.is_empty() {
            return Ok(());
        }
        let alone = candidate.package;
        let found = self.ancestors(&candidate.parents, limits.count);
        let ancestors = found.len().saturating_add(1);
        if ancestors > limits.count {
            return Err(AcceptTradeError::TooLongChain { txid, ancestors, limit: limits.count });
        }
        for waiting in found.iter().filter_map(|ancestor| self.get(ancestor)) {
            candidate.package.add(waiting.alone());
        }
        let bytes = candidate.package.bytes;
        if bytes > limits.bytes {
            return Err(AcceptTradeError::TooLargePackage { txid, bytes, limit: limits.bytes });
        }
        // Trades that were accepted before skip the check of their ancestors' descendants.
        if limits.bytes == usize::MAX {
            return Ok(());
        }
        for ancestor in found {
            let stays = |txid: &TxId| !candidate.replaced.contains(txid);
            // Entries about to be replaced count here, so the search limit grows by their number.
            let most = limits.count.saturating_add(candidate.replaced.len());
            let resting = self.descendants([ancestor], most);
            let mut below = alone;
            for waiting in
                resting.iter().filter(|txid| stays(txid)).filter_map(|txid| self.get(txid))
            {
                below.add(waiting.alone());
            }
            if below.count > limits.count {
                let (descendants, limit) = (below.count, limits.count);
                return Err(AcceptTradeError::TooManyDescendants {
                    txid,
                    ancestor,
                    descendants,
                    limit,
                });
            }
            if below.bytes > limits.bytes {
                return Err(AcceptTradeError::TooLargePackage {
                    txid,
                    bytes: below.bytes,
                    limit: limits.bytes,
                });
            }
        }
        Ok(())
    }

    /// Checks that the candidate pays enough for the entries that it would replace.
    fn check_replacement(
        &self,
        txid: TxId,
        rivals: &[(OutPoint, TxId)],
        alone: Package,
        candidate: &Candidate,
    ) -> Result<(), AcceptTradeError> {
        let Some((outpoint, by)) = rivals.first().copied() else { return Ok(()) };
        let mut leaving = Package::default();
        for waiting in candidate.replaced.iter().filter_map(|txid| self.get(txid)) {
            leaving.add(waiting.alone());
        }
        let for_its_bytes = FeeRate::from_units(PAYING_RATE).fee(alone.bytes);
        let mut needs = leaving.fee.saturating_add(for_its_bytes.units().into());
        let one_more = FeeRate::from_units(1);
        for rival in candidate.conflicts.iter().filter_map(|txid| self.get(txid)) {
            let (rate, rank) = (rival.alone().rate().plus(one_more), rival.rank.0.plus(one_more));
            let by_others = candidate.package.fee.saturating_sub(alone.fee);
            let in_package =
                u128::from(rank.fee(candidate.package.bytes).units()).saturating_sub(by_others);
            needs = needs.max(rate.fee(alone.bytes).units().into()).max(in_package);
        }
        if alone.fee < needs {
            let needs = Amount::from_units(u64::try_from(needs).unwrap_or(u64::MAX));
            return Err(AcceptTradeError::Conflict { txid, outpoint, by, needs: Some(needs) });
        }
        Ok(())
    }
}
