//! Mining in virtual time: the policy and the templates of the real miner, with a lottery instead
//! of its threads.

use super::{
    history::{difficulty, solve},
    node::{Node, instant, peer},
    queue::Event,
    world::World,
};
use crate::{
    chain::{
        api::{BlockAccepted, Origin},
        errors::AcceptBlockError,
    },
    miner::policy::{Decision, Policy},
    primitives::Block,
    relay::RelayEvent,
    sync::Phase,
};

impl World {
    /// Gives a node a share of the network's hash power.
    pub(crate) fn set_power(&mut self, node: usize, share: f64) {
        self.nodes[node].miner.power = share * self.history.power;
        if let Some(run) = self.run(node) {
            run.mining.policy.mode = crate::primitives::MiningMode::Always;
        }
        self.steer(node);
    }

    /// Stops all miners.
    pub(super) fn stop_mining(&mut self) {
        for node in 0..self.nodes.len() {
            self.count(node);
            self.nodes[node].miner.power = 0.0;
        }
    }

    pub(super) fn suspend_mining(&mut self, node: usize) {
        let now = instant(self.base, self.now);
        if let Some(run) = self.run(node)
            && !run.mining.caught_up
        {
            run.mining.policy.suspend(now);
            self.figures.rests += 1;
            self.steer(node);
        }
    }

    /// Applies a new snapshot of the chain.
    pub(super) fn chain_changed(&mut self, node: usize) {
        let Some(run) = self.run(node) else { return };
        let (tip, best) = (run.summary.tip.hash, run.summary.best_header.hash);
        let mining = &mut run.mining;
        let was_caught_up = std::mem::replace(&mut mining.caught_up, tip == best);
        if mining.caught_up {
            mining.policy.caught_up();
        }
        let is_new = tip != mining.tip;
        if is_new {
            mining.tip = tip;
            mining.policy.tip_changed();
        }
        if is_new || was_caught_up != (tip == best) {
            self.steer(node);
        }
    }

    /// Counts the hashes since the last call.
    fn count(&mut self, node: usize) {
        let now = self.now;
        let Node { run: Some(run), miner, .. } = &mut self.nodes[node] else { return };
        let Some(since) = run.mining.counted.take() else { return };
        let Some(template) = &run.mining.current else { return };
        let hashes = miner.power * (now - since) as f64 / 1_000.0;
        miner.lottery.work(hashes, difficulty(template.block.header.bits));
        self.figures.hashes += hashes;
    }

    /// Lets the miner's policy decide again.
    pub(super) fn steer(&mut self, node: usize) {
        self.count(node);
        if self.nodes[node].miner.power <= 0.0 {
            return;
        }
        let (now, wall, base) = (self.now, self.wall(node), self.base);
        let Node { run: Some(run), miner, owner, epoch, .. } = &mut self.nodes[node] else {
            return;
        };
        run.mining.turn += 1;
        if run.sync.progress().phase == Phase::Starting {
            return;
        }
        let template = match run.chain.template(*owner, wall) {
            Ok(template) => template,
            Err(fault) => return self.fault(node, &fault),
        };
        let is_durable = template.block.header.previous == run.summary.tip.hash;
        let at = instant(base, now);
        let mining = &mut run.mining;
        let decision = if let Some(until) = mining.policy.suspended(at) {
            Decision::Wait(until)
        } else if !is_durable {
            Decision::Rest
        } else if let Some(hindered) = Policy::hindered(&template, at) {
            hindered
        } else {
            mining.policy.decide(&template, at, &mut miner.rng)
        };
        let wait = match decision {
            // The end of the commit calls this function again.
            Decision::Rest => return,
            Decision::Wait(until) => {
                u64::try_from((until - at).as_micros()).unwrap_or(u64::MAX).max(1_000)
            }
            Decision::Mine => {
                let left = miner.lottery.left(difficulty(template.block.header.bits));
                mining.counted = Some(now);
                mining.current = Some(template);
                let found = (left / miner.power * 1_000.0).ceil() as u64;
                found.min(self.delays.template_us)
            }
        };
        let event = Event::Mine { node, epoch: *epoch, turn: mining.turn };
        self.push(wait, event);
    }

    pub(super) fn mine_event(&mut self, node: usize, turn: u64) {
        if self.run(node).is_none_or(|run| run.mining.turn != turn) {
            return;
        }
        let is_mining = self.run(node).is_some_and(|run| run.mining.counted.is_some());
        self.count(node);
        let has_found = self.nodes[node].miner.lottery.left(1.0) <= 1e-9;
        let template = self.run(node).and_then(|run| run.mining.current.take());
        if let Some(template) = template.filter(|_| is_mining && has_found) {
            self.nodes[node].miner.lottery.draw();
            self.solved(node, template.block);
        }
        self.steer(node);
    }

    /// Submits a solved block, as the miner and the router do.
    fn solved(&mut self, node: usize, mut block: Block) {
        solve(&mut block);
        let (hash, wall) = (block.hash(), self.wall(node));
        let is_honest = self.nodes[node].is_honest();
        self.figures.created(hash, is_honest, self.now);
        self.nodes[node].mined.push(hash);
        self.relay(node, RelayEvent::Solved { header: Box::new(block.header) });
        let Some(run) = self.run(node) else { return };
        match run.chain.accept_block(block, Origin::Local, wall) {
            Ok(BlockAccepted::Connected | BlockAccepted::SideBranch) => self.settle_soon(node),
            Ok(other) => self.violation(format!("a mined block of node {node} is {other:?}")),
            Err(AcceptBlockError::Fault(fault)) => self.fault(node, &fault),
            Err(error) => {
                let name = peer(node);
                self.violation(format!(
                    "a mined block of node {node} ({name}) is refused: {error}"
                ));
            }
        }
    }
}
