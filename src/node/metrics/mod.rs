//! Serves health checks and metrics over HTTP: read only, on a listener of its own.
//!
//! - `/livez`: every thread and task of the node runs, and its tasks answer in time. The chain
//!   thread itself is not asked, since one command may take it minutes.
//! - `/readyz`: the node keeps up with its friends, or the reasons why it does not.
//! - `/metrics`: all measurements, as OpenMetrics.
//!
//! No page costs the chain thread any work: the numbers come from its published summary.

mod health;
mod server;

use std::{path::PathBuf, sync::Arc};

use prometheus_client::{encoding::text, registry::Registry};
use tokio::{sync::Mutex, task::spawn_blocking, time::timeout};

use self::health::PATIENCE;
pub(crate) use health::Liveness;
pub(crate) use server::{ListenError, Listener};

use super::{clock::now, router::LiveStatus};
use crate::{
    chain::ChainSummary,
    datadir::{CHAIN_FILE, DataDir, FRIENDS_FILE},
    miner::MinerHandle,
    net::{ConnectionSnapshot, PeerSnapshot},
    sync::Phase,
    telemetry::{
        metrics::{NodeMetrics, ProcessMetrics, gauge, raise},
        process,
    },
};

/// The parts of a running node that the pages read.
pub(crate) struct Watched {
    pub(crate) liveness: Liveness,
    pub(crate) miner: MinerHandle,
    pub(crate) datadir: DataDir,
    /// The node's name, printable.
    pub(crate) name: String,
}

/// Measures a running node. Clones share everything.
#[derive(Clone)]
pub(crate) struct Monitor(Arc<Inner>);

struct Inner {
    watched: Watched,
    registry: Registry,
    node: NodeMetrics,
    process: ProcessMetrics,
    /// Held from setting the gauges until they are encoded, so that all are from the same moment.
    turn: Mutex<()>,
}

/// The state of the node's tasks at one moment.
struct Snapshot {
    live: LiveStatus,
    peers: Vec<PeerSnapshot>,
    summary: ChainSummary,
    phase: Phase,
    busy: bool,
    machine: Machine,
}

/// The resource use of the process. `None` where the system reports no number.
struct Machine {
    chain_bytes: u64,
    friends_bytes: u64,
    disk_free: Option<u64>,
    resident: Option<u64>,
    cpu_seconds: Option<f64>,
    open_files: Option<usize>,
}

impl Machine {
    /// Reads the disk and the process's numbers; blocks.
    fn read(datadir: &DataDir) -> Self {
        let length = |path: PathBuf| path.metadata().map_or(0, |metadata| metadata.len());
        Self {
            chain_bytes: length(datadir.file(CHAIN_FILE)),
            friends_bytes: length(datadir.file(FRIENDS_FILE)),
            disk_free: process::disk_free(datadir.path()),
            resident: process::resident_bytes(),
            cpu_seconds: process::cpu_seconds(),
            open_files: process::open_files(),
        }
    }
}

impl Monitor {
    /// Adds the node's metrics to those that `registry` has already.
    pub(crate) fn new(watched: Watched, mut registry: Registry) -> Self {
        let (node, process) = (NodeMetrics::default(), ProcessMetrics::default());
        let network = watched.liveness.chain.summary().network;
        let (peer_id, network_id) =
            (watched.liveness.net.peer_id().to_string(), network.id.to_string());
        node.describe(env!("CARGO_PKG_VERSION"), &watched.name, peer_id, network_id);
        node.spacing.set(network.params.spacing_ms as f64 / 1_000.0);
        node.register(&mut registry);
        if process::resident_bytes().is_some() {
            process.process_start_time.set(process::start_time().unwrap_or(now() as f64 / 1_000.0));
            process.process_memory_limit.set(process::memory_limit().map_or(0, gauge));
            process.register(&mut registry);
        }
        Self(Arc::new(Inner { watched, registry, node, process, turn: Mutex::new(()) }))
    }

    fn liveness(&self) -> &Liveness {
        &self.0.watched.liveness
    }

    /// Checks that the node keeps up with its friends.
    ///
    /// # Errors
    /// The reasons, a line each.
    async fn check_ready(&self) -> Result<(), String> {
        self.liveness().check().await?;
        let reasons = self.snapshot().await?.reasons();
        if reasons.is_empty() { Ok(()) } else { Err(reasons.iter().map(line).collect()) }
    }

    /// Returns all measurements as OpenMetrics text.
    async fn text(&self) -> Result<String, String> {
        let _turn = self.0.turn.lock().await;
        self.update(&self.snapshot().await?);
        let mut page = String::new();
        text::encode(&mut page, &self.0.registry).map_err(|error| line(&error))?;
        Ok(page)
    }

    async fn snapshot(&self) -> Result<Snapshot, String> {
        let Watched { liveness, datadir, .. } = &self.0.watched;
        let Liveness { chain, net, router } = liveness;
        let live = timeout(PATIENCE, router.status()).await.map_err(|_| health::stuck("node"))?;
        let peers = timeout(PATIENCE, net.peers()).await.map_err(|_| health::stuck("network"))?;
        let (live, peers) =
            (live.map_err(|error| line(&error))?, peers.map_err(|error| line(&error))?);
        let datadir = datadir.clone();
        let machine =
            spawn_blocking(move || Machine::read(&datadir)).await.map_err(|error| line(&error))?;
        let summary = chain.summary();
        let phase = if summary.diverged.is_some() { Phase::Diverged } else { live.progress.phase };
        Ok(Snapshot { live, peers, summary, phase, busy: chain.busy(), machine })
    }

    /// Sets the gauges.
    fn update(&self, snapshot: &Snapshot) {
        let Snapshot { live, peers, summary, phase, machine, .. } = snapshot;
        let (node, now) = (&self.0.node, now());
        node.ready.set(i64::from(snapshot.reasons().is_empty()));
        node.height.set(gauge(summary.tip.height));
        node.best_header_height.set(gauge(summary.best_header.height));
        node.work.set(summary.tip.work.to_f64());
        node.tip_age.set(now.saturating_sub(summary.tip.time) as f64 / 1_000.0);
        node.set_phase(Phase::ALL.map(Phase::name), phase.name());
        node.sync_blocks_behind
            .set(gauge(summary.best_header.height.saturating_sub(summary.tip.height)));
        node.sync_blocks_per_second.set(gauge(live.progress.blocks_per_second));
        node.mempool_trades.set(gauge(summary.mempool));
        node.mempool.set(gauge(summary.mempool_bytes));
        node.mempool_fee_floor_units.set(gauge(summary.floor.at(now).units()));
        node.peers.set(gauge(live.peers));
        node.kept_lines.set(gauge(live.kept_lines));
        for (inbound, quic) in [(false, false), (false, true), (true, false), (true, true)] {
            let alike = |end: &&ConnectionSnapshot| end.inbound == inbound && end.is_quic() == quic;
            node.set_connections(
                inbound,
                quic,
                peers.iter().flat_map(|peer| &peer.connections).filter(alike).count(),
            );
        }
        node.clock_offset.set(live.clock_offset_ms.unwrap_or(0) as f64 / 1_000.0);
        let miner = &self.0.watched.miner;
        node.mining.set(i64::from(miner.status().mining));
        raise(&node.hashes, miner.hashes());
        raise(&node.blocks_mined, miner.status().blocks);
        node.set_database(CHAIN_FILE, machine.chain_bytes);
        node.set_database(FRIENDS_FILE, machine.friends_bytes);
        node.disk_free.set(machine.disk_free.map_or(f64::NAN, |bytes| bytes as f64));
        let process = &self.0.process;
        process.process_resident_memory.set(machine.resident.map_or(0, gauge));
        let used = machine.cpu_seconds.unwrap_or(0.0);
        process.process_cpu.inc_by((used - process.process_cpu.get()).max(0.0));
        process.process_open_fds.set(machine.open_files.map_or(0, gauge));
    }
}

impl Snapshot {
    fn reasons(&self) -> Vec<String> {
        let progress = &self.live.progress;
        health::reasons(self.phase, progress, &self.summary, self.busy, self.machine.disk_free)
    }
}

fn line(text: &impl std::fmt::Display) -> String {
    format!("{text}\n")
}
