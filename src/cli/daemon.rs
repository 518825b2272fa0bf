//! `start-node` and `people` run a node until it stops.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use tokio::time::timeout;

use super::{
    find::take_for_node,
    joining::move_folder,
    minute,
    plan::Plan,
    service_manager::{EXTEND_EVERY, ServiceManager},
};
use crate::{
    commands::{outcome::CommandError, progress::show_sync},
    console::{self, ConsoleOptions, Ended, Keyboard, signals::Signals},
    node::{self, RunningNode, config::only_this_machine},
    rpc::{FriendchainApiClient, RpcError, feed::FIRST_PLACE},
};

/// The time to wait for a node to stop cleanly before the process ends anyway. A stop takes the
/// commit of one block, and the node's goodbyes to its peers.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// The number of attempts to start while other programs take ports that were found free.
const STARTS: u32 = 5;

/// Starts the node of a plan.
async fn start(plan: &mut Plan) -> Result<RunningNode, CommandError> {
    let mut left = STARTS;
    loop {
        let lock = take_for_node(&plan.folder).await?;
        match node::start(lock, plan.config.clone(), plan.layers.clone()).await {
            Ok(node) => return Ok(node),
            Err(error) => {
                left = left.saturating_sub(1);
                if left == 0 || !plan.pick_again() {
                    return Err(plan.explain(error).await.into());
                }
            }
        }
    }
}

/// Stores the settings that the first start keeps.
async fn keep(plan: &Plan, node: &RunningNode) -> Result<(), CommandError> {
    plan.keep(&node.client.status().await?.name);
    Ok(())
}

/// Runs the daemon until a signal or the command `stop`.
pub(crate) async fn start_node(mut plan: Plan, json: bool) -> Result<(), CommandError> {
    let mut signals = Signals::listen()?;
    let config = &plan.config;
    let name = config.name.clone().unwrap_or_else(|| config.default_name.clone());
    if !json {
        writeln!(io::stdout(), "Starting node {name}")?;
    }
    let manager = ServiceManager::of_environment();
    let mut node = tokio::select! {
        started = manager.extend_start(EXTEND_EVERY, start(&mut plan)) => started?,
        () = signals.any() => return Ok(()),
    };
    keep(&plan, &node).await?;
    if only_this_machine(&plan.config.listen) {
        tracing::info!("only this machine can reach this node: its address is a loopback one");
    }
    let bar = async {
        if !json && io::stderr().is_terminal() {
            show_sync(&node.client).await;
        }
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = &mut node.finished => Some(ended),
        () = signals.any() => None,
        () = bar => None,
        () = minute::report(&node.client) => None,
        () = manager.serving(&node.client, &node.liveness) => None,
    };
    manager.stopping();
    if let Some(ended) = ended {
        return Ok(ended?);
    }
    tokio::select! {
        ended = stop(node) => ended,
        () = signals.any() => {
            let sentence = "ended before the node could stop cleanly";
            Err(RpcError::new("interrupted", sentence).into())
        }
    }
}

/// Runs a node with a console. The node stops when the console ends.
pub(crate) async fn people(mut plan: Plan, color: bool) -> Result<(), CommandError> {
    let mut signals = Signals::listen()?;
    let mut keyboard = Keyboard::default();
    loop {
        match people_once(&mut plan, color, &mut signals, &mut keyboard).await? {
            Ended::Left => return Ok(()),
            Ended::Move(invite) => move_folder(&plan.folder, &invite).await?,
        }
        plan.notes.clear();
    }
}

/// Runs a node with a console, until the user leaves or wants to move to another chain.
async fn people_once(
    plan: &mut Plan,
    color: bool,
    signals: &mut Signals,
    keyboard: &mut Keyboard,
) -> Result<Ended, CommandError> {
    console::logs_aside(&plan.folder);
    let mut node = tokio::select! {
        started = start(plan) => started?,
        () = signals.any() => return Ok(Ended::Left),
    };
    keep(plan, &node).await?;
    for note in &plan.notes {
        writeln!(io::stdout(), "{note}")?;
    }
    let options = ConsoleOptions {
        folder: plan.folder.clone(),
        color,
        first_event: FIRST_PLACE,
        owns_node: true,
    };
    let mut talk = std::pin::pin!(console::run(node.client.clone(), options, signals, keyboard));
    let talked = tokio::select! {
        talked = &mut talk => talked,
        // The console restores the terminal when it is dropped.
        ended = &mut node.finished => {
            ended?;
            return Ok(Ended::Left);
        }
    };
    stop(node).await?;
    talked
}

async fn stop(node: RunningNode) -> Result<(), CommandError> {
    // Fails if the node is already stopping, which is no error.
    if let Err(error) = node.client.stop().await {
        tracing::debug!(%error, "the node did not confirm the stop");
    }
    let Ok(ended) = timeout(STOP_PATIENCE, node.finished).await else {
        let sentence =
            format!("the node did not stop within {} s, and was cut off", STOP_PATIENCE.as_secs());
        return Err(RpcError::new("slow_stop", sentence).into());
    };
    Ok(ended?)
}
