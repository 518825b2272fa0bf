//! Finds the reasons why a node is not alive or not ready, as sentences for its operator.

use std::time::Duration;

use tokio::time::timeout;

use super::line;
use crate::{
    chain::{ChainHandle, ChainSummary},
    net::NetHandle,
    node::router::RouterHandle,
    primitives::count_of_blocks,
    sync::{Obstacle, Phase, Progress},
};

/// The longest wait for a task's answer. The answer costs a task no work, so one that takes longer
/// is stuck.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Free space on the disk below which the node is not ready, in bytes. A sync writes up to 64 MiB
/// of block bodies at once.
const LEAST_DISK: u64 = 64 << 20;

/// Checks that a running node is alive: for `/livez`, and for the watchdog of a service manager.
#[derive(Clone)]
pub(crate) struct Liveness {
    pub(crate) chain: ChainHandle,
    pub(crate) net: NetHandle,
    pub(crate) router: RouterHandle,
}

impl Liveness {
    /// Checks that the chain thread has not ended, and that the router and the network answer. The
    /// chain thread itself is not asked, since one command may take it minutes.
    ///
    /// # Errors
    /// The reason, as a line.
    pub(crate) async fn check(&self) -> Result<(), String> {
        if self.chain.is_closed() {
            return Err("the chain thread has ended: the log says why\n".to_owned());
        }
        timeout(PATIENCE, self.router.status())
            .await
            .map_err(|_| stuck("node"))?
            .map_err(|error| line(&error))?;
        timeout(PATIENCE, self.net.peers())
            .await
            .map_err(|_| stuck("network"))?
            .map_err(|error| line(&error))?;
        Ok(())
    }
}

/// Returns the reasons why the node is not ready; none if it is ready.
///
/// A node without peers is ready: it serves its user, and the first node of a group has no peers
/// until the second one starts. If the user named peers, a friend or proven peer has to confirm the
/// chain: strangers alone may all belong to one liar.
pub(super) fn reasons(
    phase: Phase,
    progress: &Progress,
    summary: &ChainSummary,
    busy: bool,
    disk_free: Option<u64>,
) -> Vec<String> {
    let (height, best) = (summary.tip.height, summary.best_header.height);
    let phase = match phase {
        Phase::Synced if progress.confirmed == 0 && progress.has_friends => Some(
            "unconfirmed: no friend or proven peer is connected that confirms the chain".to_owned(),
        ),
        Phase::Synced | Phase::Alone => None,
        Phase::Starting => Some("starting: no friend has said yet how far the chain is".to_owned()),
        Phase::Syncing => Some(format!(
            "syncing: at height {height} of {best}, {} behind",
            count_of_blocks(best.saturating_sub(height).into())
        )),
        Phase::Stalled => Some(format!(
            "stalled: {}; at height {height} of {best}",
            progress.obstacle.unwrap_or(Obstacle::Headers).text()
        )),
        Phase::Diverged => Some(format!(
            "diverged: at height {height}, and another branch has more work; status names both, \
             accept-branch decides"
        )),
    };
    let busy = busy.then(|| "busy: the chain's queue is more than half full".to_owned());
    let disk = disk_free.filter(|free| *free < LEAST_DISK).map(|free| {
        format!(
            "disk: {} MiB are free where the data is, {} are needed",
            free >> 20,
            LEAST_DISK >> 20
        )
    });
    phase.into_iter().chain(busy).chain(disk).collect()
}

/// Returns the line for a task that does not answer in time.
pub(super) fn stuck(task: &str) -> String {
    format!("the {task} task has not answered for {} s\n", PATIENCE.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chain::{Floor, Tip},
        consensus::{Network, Work},
        primitives::BlockHash,
    };

    fn summary(height: u32, best: u32) -> ChainSummary {
        let tip = Tip { hash: BlockHash([1; 32]), height, work: Work::ZERO, time: 0 };
        ChainSummary {
            network: Network::lan().into(),
            tip,
            best_header: Tip { height: best, ..tip },
            diverged: None,
            mempool: 0,
            mempool_changes: 0,
            mempool_bytes: 0,
            floor: Floor::default(),
        }
    }

    fn progress(confirmed: usize, has_friends: bool) -> Progress {
        Progress {
            phase: Phase::Synced,
            height: 120,
            best_header_height: 500,
            target_height: 500,
            blocks_per_second: 0,
            seconds_left: None,
            confirmed,
            has_friends,
            obstacle: None,
        }
    }

    #[test]
    fn strangers_alone_do_not_make_a_node_ready_that_has_friends() {
        let of = |confirmed, has_friends| {
            let progress = progress(confirmed, has_friends);
            reasons(Phase::Synced, &progress, &summary(5, 5), false, None)
        };
        assert!(of(1, true).is_empty() && of(0, false).is_empty());
        assert!(of(0, true)[0].starts_with("unconfirmed"));
    }

    #[test]
    fn who_keeps_up_or_is_alone_is_ready_and_others_say_why() {
        let of =
            |phase| reasons(phase, &progress(1, true), &summary(120, 500), false, Some(LEAST_DISK));
        assert!(of(Phase::Synced).is_empty() && of(Phase::Alone).is_empty());
        assert_eq!(of(Phase::Syncing), ["syncing: at height 120 of 500, 380 blocks behind"]);
        for phase in [Phase::Starting, Phase::Stalled, Phase::Diverged] {
            assert!(of(phase)[0].starts_with(phase.name()), "{phase}");
        }
    }

    #[test]
    fn every_reason_is_a_line_of_its_own() {
        let reasons =
            reasons(Phase::Stalled, &progress(0, true), &summary(1, 2), true, Some(3 << 20));
        assert_eq!(reasons.len(), 3);
        assert_eq!(reasons[2], "disk: 3 MiB are free where the data is, 64 are needed");
        assert!(reasons.iter().all(|reason| !reason.contains('\n')));
    }
}
