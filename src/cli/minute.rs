//! One line a minute in the text log, which shows that an idle node is alive.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    commands::text::phase_text,
    primitives::counted,
    rpc::{Client, FriendchainApiClient, types::StatusReport},
};

/// The target of the line. JSON logs leave it out, since they have every event that it summarises.
pub(super) const TARGET: &str = "friendchain::minute";

/// The delay of the first line: after 10 s a node knows whether it is alone.
const FIRST_AFTER: Duration = Duration::from_secs(15);

/// The interval between two lines.
const EVERY: Duration = Duration::from_mins(1);

/// Logs a line about the node each minute. Never returns.
pub(super) async fn report(client: &Client) {
    sleep(FIRST_AFTER).await;
    loop {
        // If the node is too busy to answer, other lines report that.
        if let Ok(status) = client.status().await {
            tracing::info!(target: TARGET, "{}", line(&status));
        }
        sleep(EVERY).await;
    }
}

/// Returns the line: `minute   height 12   peers 0   alone: …; 1 transaction waits`.
fn line(status: &StatusReport) -> String {
    let (height, peers, mempool) = (status.height, status.peers, status.mempool);
    let why = match peers {
        _ if !status.is_alone() => "",
        0 => ": nobody is connected; invite a friend, or give a --peer",
        _ => ": no friend and no proven peer is connected",
    };
    let phase = format!("{}{why}", phase_text(status));
    let waits = counted(mempool.into(), "transaction waits", "transactions wait");
    let mempool = if mempool > 0 { format!("; {waits}") } else { String::new() };
    format!("{:<18} height {height:<8} peers {peers:<4} {phase}{mempool}", "minute")
}
