//! Health and metrics, for whoever watches the node from outside: read only, on a listener of its
//! own.
//!
//! `/livez`: no thread or task of the node has ended, and its tasks answer; a chain thread may be
//! at one piece of work for minutes, and is not asked. `/readyz`: it keeps up with its friends, or
//! why it does not. `/metrics`: what is measured, as OpenMetrics. What is asked here costs the
//! chain thread nothing: the numbers are those that flow anyway.

mod health;
mod server;

use std::{path::PathBuf, sync::Arc, time::Duration};

use prometheus_client::{encoding::text, registry::Registry};
use tokio::{sync::Mutex, time::timeout};

pub(super) use server::Listener;

use super::{
    clock::now,
    keyring::blocking,
    process,
    router::{LiveStatus, RouterHandle},
    service::Ledger,
};
use crate::{
    chain::{ChainSummary, DropReason},
    datadir::{CHAIN_FILE, DataDir, FRIENDS_FILE},
    net::{ConnectionSnapshot, NetHandle, PeerSnapshot},
    peers::Offence,
    sync::Phase,
    telemetry::metrics::{EventMetrics, NodeMetrics, ProcessMetrics, gauge, raise},
};

/// How long the node's tasks have for an answer that costs them nothing: a task that takes longer
/// is stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the router counts, each series at zero, so that the first of a kind shows as a rise.
pub(super) fn counted() -> EventMetrics {
    let metrics = EventMetrics::default();
    for origin in ["local", "peer"] {
        drop(metrics.trades_accepted.get_or_create(&[("origin", origin)]));
    }
    for reason in DropReason::ALL.map(DropReason::code).into_iter().chain(["void"]) {
        drop(metrics.trades_dropped.get_or_create(&[("reason", reason)]));
    }
    for offence in Offence::ALL.map(Offence::code) {
        drop(metrics.peer_penalties.get_or_create(&[("offence", offence)]));
    }
    metrics
}

/// The parts of a running node that are looked at.
pub(super) struct Watched {
    /// Chain and miner.
    pub(super) ledger: Ledger,
    /// The network.
    pub(super) net: NetHandle,
    /// The node task.
    pub(super) router: RouterHandle,
    /// The folder.
    pub(super) datadir: DataDir,
    /// What the node calls itself.
    pub(super) name: String,
}

/// Looks at a running node. Clones share everything.
#[derive(Clone)]
pub(super) struct Monitor(Arc<Inner>);

struct Inner {
    watched: Watched,
    registry: Registry,
    node: NodeMetrics,
    process: ProcessMetrics,
    /// One look at a time: the gauges in it are of one moment.
    turn: Mutex<()>,
}

/// What the node's tasks say of themselves.
struct Look {
    live: LiveStatus,
    peers: Vec<PeerSnapshot>,
    summary: ChainSummary,
    phase: Phase,
    busy: bool,
    machine: Machine,
}

/// What the system says.
struct Machine {
    chain_bytes: u64,
    friends_bytes: u64,
    disk_free: Option<u64>,
    resident: Option<u64>,
    cpu_seconds: Option<f64>,
    open_files: Option<usize>,
}

impl Machine {
    /// Touches the disk.
    fn look(datadir: &DataDir) -> Self {
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
    /// Adds what the node measures to what `registry` has already.
    pub(super) fn new(watched: Watched, mut registry: Registry) -> Self {
        let (node, process) = (NodeMetrics::default(), ProcessMetrics::default());
        let network = watched.ledger.chain.summary().network;
        let (peer_id, network_id) = (watched.net.peer_id().to_string(), network.id.to_string());
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

    /// Whether the process does its work: else why not, a line each.
    async fn live(&self) -> Result<(), String> {
        let Watched { ledger, net, router, .. } = &self.0.watched;
        if ledger.chain.is_closed() {
            return Err("the chain thread has ended: the log says why\n".to_owned());
        }
        timeout(PATIENCE, router.status())
            .await
            .map_err(|_| health::stuck("node"))?
            .map_err(|error| line(&error))?;
        timeout(PATIENCE, net.peers())
            .await
            .map_err(|_| health::stuck("network"))?
            .map_err(|error| line(&error))?;
        Ok(())
    }

    /// Whether the node can be relied on: else why not, a line each.
    async fn ready(&self) -> Result<(), String> {
        self.live().await?;
        let reasons = self.look().await?.reasons();
        if reasons.is_empty() { Ok(()) } else { Err(reasons.iter().map(line).collect()) }
    }

    /// Everything measured, as text.
    async fn text(&self) -> Result<String, String> {
        let _turn = self.0.turn.lock().await;
        self.update(&self.look().await?);
        let mut page = String::new();
        text::encode(&mut page, &self.0.registry).map_err(|error| line(&error))?;
        Ok(page)
    }

    async fn look(&self) -> Result<Look, String> {
        let Watched { ledger, net, router, datadir, .. } = &self.0.watched;
        let live = timeout(PATIENCE, router.status()).await.map_err(|_| health::stuck("node"))?;
        let peers = timeout(PATIENCE, net.peers()).await.map_err(|_| health::stuck("network"))?;
        let (live, peers) =
            (live.map_err(|error| line(&error))?, peers.map_err(|error| line(&error))?);
        let datadir = datadir.clone();
        let machine =
            blocking(move || Machine::look(&datadir)).await.map_err(|error| line(&error))?;
        let summary = ledger.chain.summary();
        let phase = if summary.diverged.is_some() { Phase::Diverged } else { live.progress.phase };
        Ok(Look { live, peers, summary, phase, busy: ledger.chain.busy(), machine })
    }

    /// Sets the gauges.
    fn update(&self, look: &Look) {
        let Look { live, peers, summary, phase, machine, .. } = look;
        let (node, now) = (&self.0.node, now());
        node.ready.set(i64::from(look.reasons().is_empty()));
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
        for (inbound, quic) in [(false, false), (false, true), (true, false), (true, true)] {
            let alike = |end: &&ConnectionSnapshot| end.inbound == inbound && end.is_quic() == quic;
            node.set_connections(
                inbound,
                quic,
                peers.iter().flat_map(|peer| &peer.connections).filter(alike).count(),
            );
        }
        node.clock_offset.set(live.clock_offset_ms.unwrap_or(0) as f64 / 1_000.0);
        let miner = &self.0.watched.ledger.miner;
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

impl Look {
    fn reasons(&self) -> Vec<String> {
        health::reasons(self.phase, &self.summary, self.busy, self.machine.disk_free)
    }
}

/// One line of an answer.
fn line(said: &impl std::fmt::Display) -> String {
    format!("{said}\n")
}
