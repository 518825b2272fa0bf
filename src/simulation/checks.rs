//! Checks during a run and at its end. A violation is a fault of the program.

use std::collections::BTreeSet;

use super::world::World;
use crate::{
    chain::api::TxState,
    consensus::SUBSIDY,
    primitives::{Amount, BlockHash, TxId},
    sync::Phase,
};

/// The time for which a node may be syncing without any progress, in µs. It is stalled after 30 s.
const STUCK_US: u64 = 300_000_000;
/// The error of a clock at which the rules for times keep a node from mining or syncing, in ms.
const WRONG_MS: u64 = 60_000;
/// The virtual time in which the network must come to rest, in ms.
const REST_MS: u64 = 900_000;
/// The time without miners, payments and faults in which nodes exchange their last data, in ms.
const QUIET_MS: u64 = 90_000;
/// The number of spacings in which the last payments are mined.
const LAST_SPACINGS: u64 = 16;
/// The number of nodes whose chain is checked from genesis.
const AUDITED: usize = 3;

impl World {
    /// Checks that a node is not in the phase `syncing` for ever without progress.
    pub(super) fn watch_progress(&mut self, node: usize) {
        let (now, is_honest) = (self.now, self.nodes[node].is_honest());
        // With a wrong clock, others' blocks are ahead of the node's time, or its own of theirs.
        let is_wrong = self.nodes[node].skew_ms.unsigned_abs() > WRONG_MS;
        let Some(run) = self.run(node) else { return };
        let progress = run.sync.progress();
        let heights = (progress.height, progress.best_header_height);
        if progress.phase != Phase::Syncing || heights != run.progress.0 {
            run.progress = (heights, now);
        } else if now.saturating_sub(run.progress.1) > STUCK_US {
            run.progress = (heights, now);
            if is_honest && !is_wrong {
                self.violation(format!("node {node} is syncing without progress: {progress:?}"));
            }
        }
    }

    /// Returns the honest nodes.
    pub(crate) fn honest(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].is_honest()).collect()
    }

    /// Ends payments and then mining, waits until the network is at rest, and checks everything.
    pub(crate) fn finish(&mut self) {
        self.pay_every_us = 0;
        for node in &mut self.nodes {
            node.crashes = false;
        }
        let spacing_ms = self.history.network.params.spacing_ms;
        self.run_for(LAST_SPACINGS * spacing_ms.max(1_000));
        self.stop_mining();
        let agrees = |world: &Self| {
            let mut tips = world.honest().into_iter().map(|node| world.tip(node));
            let first = tips.next().flatten();
            first.is_some() && tips.all(|tip| tip == first)
        };
        self.run_until_slowly(REST_MS, agrees);
        self.run_for(QUIET_MS);
        self.check_agreement();
        self.check_rest();
        let chain = self.check_blocks();
        self.check_payments(&chain);
        self.check_audits();
    }

    /// Runs until a condition holds, which is checked once a second.
    fn run_until_slowly(&mut self, limit_ms: u64, holds: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..limit_ms / 1_000 {
            if holds(self) {
                return true;
            }
            self.run_for(1_000);
        }
        false
    }

    /// Checks that the honest nodes have one tip, or are in the phase `diverged`.
    fn check_agreement(&mut self) {
        let honest = self.honest();
        let tips: Vec<_> = honest.iter().map(|node| self.tip(*node)).collect();
        let best = tips.iter().flatten().max_by_key(|tip| (tip.work, tip.height)).copied();
        for (node, tip) in honest.into_iter().zip(tips) {
            let phase = self.phase(node);
            if phase == Some(Phase::Diverged) {
                self.figures.diverged += 1;
            } else if tip.map(|tip| tip.hash) != best.map(|tip| tip.hash) {
                let (height, most) = (tip.map(|tip| tip.height), best.map(|tip| tip.height));
                self.violation(format!(
                    "node {node} is at {height:?}, others at {most:?}; its phase is {phase:?}"
                ));
            }
        }
    }

    /// Checks that nothing is stuck: no phase that should have ended, and no request without an
    /// end.
    fn check_rest(&mut self) {
        let limit = self.delays.request_us + 5_000_000;
        for node in self.honest() {
            let now = self.now;
            let is_lonely = self.links.neighbours(node).is_empty();
            let Some(run) = self.run(node) else {
                self.violation(format!("node {node} is down"));
                continue;
            };
            let progress = run.sync.progress();
            let old = run.asked.values().filter(|(_, at)| now.saturating_sub(*at) > limit).count();
            let mempool = run.summary.mempool;
            let is_at_rest = match progress.phase {
                Phase::Synced | Phase::Diverged => true,
                Phase::Alone => is_lonely,
                // A claim of much work that no peer proves, while no trusted peer is connected.
                Phase::Stalled => self.has_liars(),
                Phase::Starting | Phase::Syncing => false,
            };
            if !is_at_rest {
                self.violation(format!("node {node} is not at rest: {progress:?}"));
            }
            if old > 0 {
                self.violation(format!("node {node} has {old} requests that never end"));
            }
            if mempool > 0 {
                self.violation(format!("{mempool} payments still wait at node {node}"));
            }
        }
    }

    fn has_liars(&self) -> bool {
        self.nodes.iter().any(|node| !node.is_honest())
    }

    /// Returns the transactions of the agreed chain since the start. Checks its hashes and heights,
    /// and that no transaction is in it twice.
    fn check_blocks(&mut self) -> BTreeSet<TxId> {
        let Some(first) = self.honest().first().copied() else { return BTreeSet::new() };
        let Some(run) = self.run(first) else { return BTreeSet::new() };
        let (mut hashes, mut seen, mut twice) = (Vec::new(), BTreeSet::new(), Vec::new());
        let mut stands = None;
        for height in 1..=run.summary.tip.height {
            let Some(hash) = run.chain.hash_at(height) else {
                stands = Some(height);
                break;
            };
            let Some(block) = run.reader.stored_block(&hash) else {
                stands = Some(height);
                break;
            };
            for transaction in block.transactions.iter().skip(1) {
                let txid = transaction.txid();
                if !seen.insert(txid) {
                    twice.push(txid);
                }
            }
            hashes.push(hash);
        }
        if let Some(height) = stands {
            self.violation(format!("node {first} has no block at height {height}"));
        }
        for txid in twice {
            self.violation(format!("payment {txid} was mined twice"));
        }
        self.figures.chain = hashes;
        seen
    }

    /// Checks that each acknowledged payment is mined once, or void with its reason.
    fn check_payments(&mut self, chain: &BTreeSet<TxId>) {
        let agreed = self.honest().first().and_then(|node| self.tip(*node)).map(|tip| tip.hash);
        for node in self.honest() {
            let acknowledged = self.nodes[node].acknowledged.clone();
            self.figures.payments += acknowledged.len() as u64;
            let is_agreed = self.tip(node).map(|tip| tip.hash) == agreed;
            for txid in acknowledged {
                let Some(run) = self.run(node) else { continue };
                let state = match run.chain.transaction(txid) {
                    Ok(found) => found.map(|info| info.state),
                    Err(fault) => return self.fault(node, &fault),
                };
                let is_mined = chain.contains(&txid) || !is_agreed;
                let fault = match state {
                    Some(TxState::Mined { .. }) if is_mined => continue,
                    Some(TxState::Void { reason })
                        if !reason.is_empty() && !chain.contains(&txid) =>
                    {
                        self.figures.void += 1;
                        continue;
                    }
                    Some(state) => format!("is {state:?}"),
                    None => "is lost".to_owned(),
                };
                self.violation(format!("the acknowledged payment {txid} of node {node} {fault}"));
            }
        }
    }

    /// Checks that the supply is right, and that all nodes have the same coins.
    fn check_audits(&mut self) {
        let mut coins: Option<(BlockHash, [u8; 32])> = None;
        for (number, node) in self.honest().into_iter().enumerate() {
            let Some(run) = self.run(node) else { continue };
            let Ok(hash) = run.chain.coins_hash() else { continue };
            let tip = run.chain.tip().hash;
            let (first_tip, first) = *coins.get_or_insert((tip, hash));
            let mut faults = Vec::new();
            if tip == first_tip && hash != first {
                faults.push(format!("node {node} has other coins than the first at the same tip"));
            }
            if number < AUDITED {
                match run.chain.verify(&mut |_, _| true) {
                    Ok(audit) => {
                        let minted = SUBSIDY.units() * (u64::from(audit.height) + 1);
                        if audit.supply != Amount::from_units(minted) {
                            let supply = audit.supply;
                            faults.push(format!("node {node} has a supply of {supply}"));
                        }
                        if let Some(problem) = audit.problem {
                            faults.push(format!("the chain of node {node}: {problem}"));
                        }
                    }
                    Err(fault) => faults.push(format!("node {node}: {fault}")),
                }
            }
            for fault in faults {
                self.violation(fault);
            }
        }
    }
}
