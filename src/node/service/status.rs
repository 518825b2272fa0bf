//! Answers about the running node: status, peers, and the outcome of a sync.

use super::{Service, reach::try_view};
use crate::{
    friends::FriendsHandle,
    node::{
        blocking::blocking,
        clock::{is_far_off, now},
        config::only_this_machine,
        router::PeerTable,
    },
    primitives::{Amount, counted, printable},
    rpc::{
        RpcError,
        types::{Coins, CopyView, PeerList, PeerView, Phase, StatusReport, Synced, Units},
    },
    sync::{SyncOutcome, SyncReport},
    telemetry::process,
};

impl Service {
    pub(super) async fn status_report(&self) -> Result<StatusReport, RpcError> {
        let summary = self.chain()?.handle.summary();
        let live = match &self.router {
            Some(router) => Some(router.status().await?),
            None => None,
        };
        let datadir = self.datadir.clone();
        let disk_bytes = blocking(move || datadir.disk_bytes()).await?;
        let miner = match self.miner_address {
            Some(address) => Some(address),
            None => self.keyring.first_address().await,
        };
        let progress = live.as_ref().map(|live| live.progress);
        let floor = Amount::from_units(summary.floor.at(now()).units());
        Ok(StatusReport {
            name: printable(&self.name.get()),
            peer_id: self.peer_id,
            network_id: summary.network.id,
            network_name: printable(&summary.network.params.name),
            phase: match (&summary.diverged, progress) {
                (Some(_), _) => Phase::Diverged,
                (None, Some(progress)) => progress.phase,
                (None, None) => Phase::Alone,
            },
            height: summary.tip.height,
            tip: summary.tip.hash,
            best_header_height: summary.best_header.height,
            target_height: progress
                .map_or(0, |progress| progress.target_height)
                .max(summary.best_header.height),
            work: summary.tip.work.to_string(),
            peers: live.as_ref().map_or(0, |live| live.peers),
            proven_peers: progress
                .map_or(0, |progress| u32::try_from(progress.confirmed).unwrap_or(u32::MAX)),
            tip_age_ms: now().saturating_sub(summary.tip.time),
            obstacle: progress.and_then(|progress| progress.obstacle),
            kept_lines: self.friends.as_ref().map_or(0, FriendsHandle::kept),
            mempool: u32::try_from(summary.mempool).unwrap_or(u32::MAX),
            mempool_bytes: summary.mempool_bytes,
            fee_floor: Coins(floor),
            fee_floor_units: Units(floor),
            listen: live.as_ref().map(|live| live.listen.clone()).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            running: live.is_some(),
            mining: self.mining,
            miner,
            mining_waits_until: self.chain()?.miner.status().waits_until,
            blocks_per_second: progress.map(|it| it.blocks_per_second).filter(|rate| *rate > 0),
            seconds_left: progress.and_then(|progress| progress.seconds_left),
            disk_bytes,
            memory_bytes: process::resident_bytes(),
            clock_offset_ms: live
                .as_ref()
                .and_then(|live| live.clock_offset_ms)
                .filter(|offset| is_far_off(*offset)),
            metrics: self.metrics,
            diverged: summary.diverged.map(Into::into),
            data_dir: self.datadir.path().display().to_string(),
            reach: self.reach_of(live.as_ref()).await,
            only_this_machine: live.as_ref().is_some_and(|live| only_this_machine(&live.listen)),
            copy: live
                .as_ref()
                .and_then(|live| live.copy.clone())
                .map(|copy| CopyView { seen: copy.seen, address: copy.address }),
            tries: live
                .map(|live| live.attempts.into_iter().map(try_view).collect())
                .unwrap_or_default(),
        })
    }
}

pub(super) fn peer_list(table: PeerTable) -> PeerList {
    let peers = table.connected.into_iter().map(|row| PeerView {
        peer_id: row.peer,
        name: row.name,
        address: row.address,
        inbound: row.inbound,
        relay: row.relay,
        score: row.score,
        height: row.height,
        connected_at: Some(row.connected_at),
    });
    PeerList { peers: peers.collect(), banned: table.banned }
}

/// Turns the report of a sync into an answer or an error. `of_one_friend` is true if the command
/// named a friend.
pub(super) fn synced(report: &SyncReport, of_one_friend: bool) -> Result<Synced, RpcError> {
    let refused = |code: &'static str, message: String| Err(RpcError::new(code, message));
    match report.outcome {
        SyncOutcome::UpToDate => Ok(Synced { height: report.height, tip: report.tip }),
        SyncOutcome::NoPeers if of_one_friend => {
            refused("friend_offline", "that friend is not connected now: see peers".to_owned())
        }
        SyncOutcome::NoPeers => refused(
            "alone",
            "no friend is connected, so there is nobody to ask: see peers, or give start-node a \
             --peer"
                .to_owned(),
        ),
        SyncOutcome::NoAnswer => refused(
            "no_answer",
            format!(
                "no answer from the {} asked: try again",
                counted(u64::try_from(report.asked).unwrap_or(u64::MAX), "friend", "friends")
            ),
        ),
        SyncOutcome::Stalled => refused(
            "stalled",
            format!(
                "a friend claims a better chain, but nothing comes; the chain is at height {}",
                report.height
            ),
        ),
        SyncOutcome::Diverged => refused(
            "diverged",
            format!(
                "all news are here, but a branch with more work parts from ours at {} too deep to \
                 be taken by itself: status names both, accept-branch takes the other",
                report.height
            ),
        ),
        SyncOutcome::Busy => {
            refused("busy", "many sync commands are under way: try again in a moment".to_owned())
        }
    }
}
