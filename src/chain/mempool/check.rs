//! What may come in.
//!
//! From cheap to dear, so that a trade that is refused has cost little: form, conflicts, coins, the
//! fee, what it would replace, what it would rest on. Signatures come last, in
//! [`Chain::accept_trade`](crate::chain::Chain::accept_trade).
//!
//! # Replacement
//! A trade that spends what waiting ones spend replaces them, and all that rests on them, when
//! 1. it pays more than all of these together, by [`PAYING_RATE`] for its own length: what spreads
//!    a trade is paid for each time;
//! 2. its fee rate is higher than that of each it conflicts with, alone and with all it rests on:
//!    miners want it more;
//! 3. no more than [`MAX_REPLACED`] leave;
//! 4. it rests on none of those.
//!
//! A note is replaced by nothing: it pays nothing, and its only rivals are other notes with its
//! stamp.

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

/// How much a trade may rest on, and how much may rest on each of these, itself included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    count: usize,
    bytes: usize,
}

/// Of a peer's trade.
const PEER_LIMITS: Limits = Limits { count: MAX_CHAIN, bytes: MAX_PACKAGE_BYTES };
/// Of one made here.
const LOCAL_LIMITS: Limits = Limits { count: MAX_LOCAL_CHAIN, bytes: MAX_LOCAL_PACKAGE_BYTES };
/// Of a peer's that comes back from a block that left the best chain, where longer chains may have
/// been mined; but the time that a chain takes grows with the square of its length.
const RETURNING_LIMITS: Limits = Limits { count: 1_000, bytes: usize::MAX };
/// Of one made here that was accepted before.
const UNLIMITED: Limits = Limits { count: usize::MAX, bytes: usize::MAX };

/// By what a trade is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    limits: Limits,
    /// Whether it may replace others.
    may_replace: bool,
}

impl Rules {
    /// For a trade that comes for the first time.
    pub(crate) const fn for_new(local: bool) -> Self {
        Self { limits: if local { LOCAL_LIMITS } else { PEER_LIMITS }, may_replace: true }
    }

    /// For one that was in mempool or chain before.
    pub(crate) const fn for_known(local: bool) -> Self {
        Self { limits: if local { UNLIMITED } else { RETURNING_LIMITS }, may_replace: false }
    }
}

/// What the checks against chain and mempool found; the signatures are still to be verified.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) fee: Amount,
    pub(super) parents: Vec<TxId>,
    /// The places that it spends, with the coins that are there on the chain.
    pub(super) spends: Vec<(CoinKey, Option<Coin>)>,
    /// It and all that it rests on.
    pub(super) package: Package,
    /// What has to leave for it: what it conflicts with.
    pub(crate) conflicts: Vec<TxId>,
    /// These and all that rests on them.
    pub(super) replaced: HashSet<TxId>,
}

impl Candidate {
    /// By which it would be ranked.
    pub(crate) fn rate(&self, bytes: usize) -> FeeRate {
        FeeRate::of(self.fee, bytes).min(self.package.rate())
    }
}

impl Mempool {
    /// Checks everything but signatures, room and how often its sender comes. `coin` looks a place
    /// up on the chain.
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

    /// What would leave for it: not too much, and nothing that it spends itself.
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
        // Who rests on one of them indirectly has a parent among what rests on it.
        match candidate.parents.iter().find(|parent| candidate.replaced.contains(parent)) {
            Some(parent) => Err(AcceptTradeError::ReplacesParent { txid, parent: *parent }),
            None => Ok(()),
        }
    }

    /// What it would rest on, within the limits upward and downward.
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
        // What was taken before is not measured again by what rests on what it rests on.
        if limits.bytes == usize::MAX {
            return Ok(());
        }
        for ancestor in found {
            let stays = |txid: &TxId| !candidate.replaced.contains(txid);
            // So many more that what is to be replaced cannot hide one too many.
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

    /// Whether it pays enough for what it would replace.
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
