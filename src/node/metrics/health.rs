//! Finds the reasons why a node is not ready, as sentences for its operator.

use crate::{chain::ChainSummary, sync::Phase};

/// Free space on the disk below which the node is not ready, in bytes. A sync writes up to 64 MiB
/// of block bodies at once.
const LEAST_DISK: u64 = 64 << 20;

/// Returns why the node is not ready; nothing if it is.
///
/// A node without peers is ready: it serves its user, and the first node of a group has no peers
/// until the second one starts.
pub(super) fn reasons(
    phase: Phase,
    summary: &ChainSummary,
    busy: bool,
    disk_free: Option<u64>,
) -> Vec<String> {
    let (height, best) = (summary.tip.height, summary.best_header.height);
    let phase = match phase {
        Phase::Synced | Phase::Alone => None,
        Phase::Starting => Some("starting: no friend has said yet how far the chain is".to_owned()),
        Phase::Syncing => Some(format!(
            "syncing: at height {height} of {best}, {} blocks behind",
            best.saturating_sub(height)
        )),
        Phase::Stalled => Some(format!(
            "stalled: a friend claims a better chain, but nothing comes; at height {height} of \
             {best}"
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
    format!("the {task} task has not answered for {} s\n", super::PATIENCE.as_secs())
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

    #[test]
    fn who_keeps_up_or_is_alone_is_ready_and_others_say_why() {
        let of = |phase| reasons(phase, &summary(120, 500), false, Some(LEAST_DISK));
        assert!(of(Phase::Synced).is_empty() && of(Phase::Alone).is_empty());
        assert_eq!(of(Phase::Syncing), ["syncing: at height 120 of 500, 380 blocks behind"]);
        for phase in [Phase::Starting, Phase::Stalled, Phase::Diverged] {
            assert!(of(phase)[0].starts_with(phase.name()), "{phase}");
        }
    }

    #[test]
    fn every_reason_is_a_line_of_its_own() {
        let reasons = reasons(Phase::Stalled, &summary(1, 2), true, Some(3 << 20));
        assert_eq!(reasons.len(), 3);
        assert_eq!(reasons[2], "disk: 3 MiB are free where the data is, 64 are needed");
        assert!(reasons.iter().all(|reason| !reason.contains('\n')));
    }
}
