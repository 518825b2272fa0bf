//! `start-node` and `people` turn flags into a configuration, and run a node until it stops.

use std::{
    io::{self, IsTerminal, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::time::timeout;

use super::{
    args::{NodeFlags, People, StartNode, Switch},
    find::take_for_node,
    service_manager::{EXTEND_EVERY, ServiceManager},
};
use crate::{
    commands::{
        outcome::CommandError::{self, Usage},
        parse::parsed_address,
        progress::show_sync,
        secrets,
    },
    console::{self, ConsoleOptions, signals::Signals},
    datadir::{DataDir, NodeId},
    node::{
        self, RunningNode,
        config::{
            MEETING_PLACE, NodeConfig, checked_name, default_name, listen_anywhere, listen_at,
            parse_listen, parse_metrics, parse_peer, parse_rpc, peer_at,
        },
    },
    primitives::MiningMode,
    rpc::{FriendchainApiClient, RpcError, check_rpc, feed::FIRST_PLACE},
};

/// The time to wait for a node to stop cleanly before the process ends anyway. A stop takes the
/// commit of one block, and the node's goodbyes to its peers.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// Returns the configuration for the flags of `start-node`.
pub(crate) fn start_node_config(
    flags: &StartNode,
    id: Option<&NodeId>,
) -> Result<NodeConfig, CommandError> {
    let mut config = NodeConfig::new(default_name(id));
    config.name = flags.name.as_deref().map(checked_name).transpose().map_err(Usage)?;
    if flags.listen.is_empty() {
        config.listen = listen_anywhere(id.and_then(NodeId::port).unwrap_or(0));
    } else {
        let addresses: Result<Vec<_>, _> =
            flags.listen.iter().map(|text| parse_listen(text)).collect();
        config.listen = addresses.map_err(Usage)?.concat();
    }
    apply(&mut config, &flags.node)?;
    Ok(config)
}

/// Returns the configuration for the arguments of `people`: its address, mining on demand, a
/// wallet, and the first node of the chat room as a peer.
pub(crate) fn people_config(flags: &People) -> Result<NodeConfig, CommandError> {
    let ip = match flags.ip.as_str() {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        text => text.parse().map_err(|_| {
            let sentence =
                format!("'{text}' is not an IP address: write one of this machine, like 127.0.0.1");
            Usage(RpcError::new("bad_listen_address", sentence))
        })?,
    };
    let mut config = NodeConfig::new(flags.name.clone());
    config.name = Some(checked_name(&flags.name).map_err(Usage)?);
    config.listen = listen_at(ip, flags.port);
    config.mining = MiningMode::OnDemand;
    config.make_wallet = true;
    if flags.node.peers.is_empty() && SocketAddr::new(ip, flags.port) != MEETING_PLACE {
        config.peers = vec![peer_at(MEETING_PLACE)];
    }
    apply(&mut config, &flags.node)?;
    Ok(config)
}

fn apply(config: &mut NodeConfig, flags: &NodeFlags) -> Result<(), CommandError> {
    // An empty environment variable gives one empty text, which is no peer.
    let peers = flags.peers.iter().filter(|text| !text.is_empty());
    if !flags.peers.is_empty() {
        config.peers =
            peers.map(|text| parse_peer(text)).collect::<Result<_, _>>().map_err(Usage)?;
    }
    config.mining = flags.mine.unwrap_or(config.mining);
    config.miner = flags.miner.as_deref().map(parsed_address).transpose()?;
    config.threads = flags.threads.or(config.threads);
    config.rpc = flags.rpc.as_deref().map_or(Ok(config.rpc), parse_rpc).map_err(Usage)?;
    check_rpc(config.rpc)?;
    config.metrics = flags.metrics.as_deref().map(parse_metrics).transpose().map_err(Usage)?;
    config.mdns &= !flags.no_mdns;
    config.cache_mib = flags.cache_mib.unwrap_or(config.cache_mib);
    config.private_only = flags.private_only.or(config.private_only);
    config.lan_friends = flags.lan_friends.map_or(config.lan_friends, |when| when == Switch::On);
    config.passphrase = secrets::passphrase(&flags.passphrase)?;
    Ok(())
}

/// Runs the daemon until a signal or the command `stop`.
pub(crate) async fn start_node(
    folder: &DataDir,
    config: NodeConfig,
    json: bool,
) -> Result<(), CommandError> {
    let mut signals = Signals::listen()?;
    let name = config.name.clone().unwrap_or_else(|| config.default_name.clone());
    let lock = take_for_node(folder).await?;
    if !json {
        writeln!(io::stdout(), "Starting node {name}")?;
    }
    let manager = ServiceManager::of_environment();
    let mut node = tokio::select! {
        started = manager.extend_start(EXTEND_EVERY, node::start(lock, config)) => started?,
        () = signals.any() => return Ok(()),
    };
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
pub(crate) async fn people(
    folder: &DataDir,
    config: NodeConfig,
    color: bool,
) -> Result<(), CommandError> {
    let mut signals = Signals::listen()?;
    let lock = take_for_node(folder).await?;
    console::logs_aside(folder);
    let mut node = tokio::select! {
        started = node::start(lock, config) => started?,
        () = signals.any() => return Ok(()),
    };
    let options =
        ConsoleOptions { folder: folder.clone(), color, first_event: FIRST_PLACE, owns_node: true };
    let mut talk = std::pin::pin!(console::run(node.client.clone(), options, &mut signals));
    let talked = tokio::select! {
        talked = &mut talk => talked,
        // The console gives the terminal back when it is dropped.
        ended = &mut node.finished => return Ok(ended?),
    };
    stop(node).await?;
    talked
}

async fn stop(node: RunningNode) -> Result<(), CommandError> {
    // Fails if the node is ending already, which is no error.
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn people_of(line: &str) -> Result<NodeConfig, CommandError> {
        let cli = Cli::try_parse_from(["friendchain"].into_iter().chain(line.split_whitespace()))
            .expect("parsed");
        let Command::People(people) = cli.command else { panic!("not people") };
        people_config(&people)
    }

    #[test]
    fn the_first_of_the_chat_room_waits_and_the_others_go_to_it() {
        let first = people_of("people 127.0.0.1 8891 yzw").expect("a config");
        assert!(first.peers.is_empty());
        assert_eq!(first.listen, ["/ip4/127.0.0.1/tcp/8891", "/ip4/127.0.0.1/udp/8891/quic-v1"]);
        assert_eq!((first.mining, first.make_wallet), (MiningMode::OnDemand, true));
        let second = people_of("people 127.0.0.1 8892 yjf").expect("a config");
        assert_eq!(second.peers, ["/ip4/127.0.0.1/tcp/8891"]);
        let elsewhere =
            people_of("people 127.0.0.1 8892 yjf --peer 10.0.0.1:3000").expect("a config");
        assert_eq!(elsewhere.peers, ["/ip4/10.0.0.1/tcp/3000"]);
    }

    #[test]
    fn what_people_cannot_be_is_a_sentence() {
        for (line, code) in [
            ("people nowhere 8891 yzw", "bad_listen_address"),
            ("people 127.0.0.1 8891 a#b", "bad_name"),
            ("people 127.0.0.1 8891 yzw --peer nobody", "bad_peer_address"),
            ("people 127.0.0.1 8891 yzw --rpc 8545", "bad_rpc_address"),
            ("people 127.0.0.1 8891 yzw --metrics 9101", "bad_metrics_address"),
        ] {
            let error = people_of(line).expect_err("wrong usage");
            assert!(matches!(&error, Usage(error) if error.code == code), "{line}: {error:?}");
        }
        let error = people_of("people 127.0.0.1 8891 yzw --rpc 0.0.0.0:8545").expect_err("refused");
        assert!(
            matches!(&error, CommandError::Failed(error) if error.code == "rpc_not_loopback"),
            "{error:?}"
        );
    }

    #[test]
    fn a_number_as_node_id_is_the_port_unless_told() {
        let id: NodeId = "3000".parse().expect("an id");
        let flags = |line: &str| {
            let cli =
                Cli::try_parse_from(["friendchain"].into_iter().chain(line.split_whitespace()))
                    .expect("parsed");
            let Command::StartNode(flags) = cli.command else { panic!("not start-node") };
            flags
        };
        let config = start_node_config(&flags("start-node"), Some(&id)).expect("a config");
        assert_eq!(config.listen, ["/ip4/0.0.0.0/tcp/3000", "/ip4/0.0.0.0/udp/3000/quic-v1"]);
        assert_eq!(
            (config.default_name.as_str(), config.name, config.mining),
            ("3000", None, MiningMode::Off)
        );
        let config = start_node_config(
            &flags("start-node --listen /ip4/1.2.3.4/tcp/5 --mine always"),
            Some(&id),
        );
        let config = config.expect("a config");
        assert_eq!(config.listen, ["/ip4/1.2.3.4/tcp/5"]);
        assert_eq!(config.mining, MiningMode::Always);
    }
}
