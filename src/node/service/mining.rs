//! Mines for a command, with progress that tells when the miner waits for the clock.

use std::{pin::pin, time::Duration};

use tokio::time::interval;

use crate::{miner::MinerHandle, rpc::ProgressGuard};

/// Interval at which the miner's wait is read: short enough for a person.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Waits for the miner. Meanwhile `task` shows until when the miner waits for the clock.
pub(super) async fn watched<T>(
    miner: &MinerHandle,
    task: &ProgressGuard,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    let mut ticks = interval(LOOK_EVERY);
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                task.wait_until(None);
                return done;
            }
            _ = ticks.tick() => task.wait_until(miner.status().waits_until),
        }
    }
}
