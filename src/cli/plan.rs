//! The plan of a start: the configuration from flags, environment and the folder's settings, and
//! the settings that the first start stores.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
};

use clap::{ArgMatches, ValueEnum as _, parser::ValueSource};
use futures::future::join_all;

use super::{
    args::{Global, NodeFlags, People, StartNode, Switch},
    find::listening,
    folders::{Use, folder_of, home_of},
};
use crate::{
    commands::{
        args::PassphraseFlag,
        outcome::CommandError::{self, Usage},
        parse::parsed_address,
        secrets,
    },
    datadir::{DataDir, NodeId},
    node::{
        config::{
            MEETING_PLACE, NodeConfig, checked_name, default_name, only_this_machine, peer_at,
        },
        settings::{Key, Layers, Settings, Value, port_of, read_settings, write_settings},
    },
    primitives::{Address, MiningMode},
    rpc::{RpcError, check_rpc, types::Origin},
};

/// The first port that a node picks if nobody chose one: the Go seed's chat room used it.
const FIRST_PORT: u16 = 8_891;

/// The number of ports that are tried: more than a machine has nodes.
const PORTS_TRIED: u16 = 200;

/// The most nodes of this machine that are asked whether they have a port.
const MOST_ASKED: usize = 32;

/// A node to start.
pub(crate) struct Plan {
    pub(crate) folder: DataDir,
    pub(crate) config: NodeConfig,
    pub(crate) layers: Layers,
    pub(crate) log_dir: Option<PathBuf>,
    /// Lines that a console shows first.
    pub(crate) notes: Vec<String>,
    base: Option<PathBuf>,
    /// True if this start picked the port.
    picked: bool,
}

/// Returns the plan for the flags of `start-node`.
pub(crate) fn plan_start_node(
    global: &Global,
    id: Option<&NodeId>,
    flags: &StartNode,
    matches: &ArgMatches,
) -> Result<Plan, CommandError> {
    let base = global.data_dir.as_deref();
    let folder = folder_of(base, id, Use::Start)?;
    let layers = start_node_layers(&folder, flags, matches)?;
    let config = NodeConfig::new(default_name(id.cloned().or_else(|| id_of(&folder)).as_ref()));
    Plan::new(base, folder, layers, config, &flags.node)
}

/// Returns the settings of a `start-node` with these flags on the folder.
pub(crate) fn start_node_layers(
    folder: &DataDir,
    flags: &StartNode,
    matches: &ArgMatches,
) -> Result<Layers, CommandError> {
    let mut layers = Layers::of_file(read_settings(folder)?);
    layers.typed = typed(&flags.node, matches);
    if let Some(name) = &flags.name {
        layers.typed.insert(Key::Name, (Value::text(name), origin(matches, "name")));
    }
    if !flags.listen.is_empty() {
        let listen = Value::List(flags.listen.clone());
        layers.typed.insert(Key::Listen, (listen, origin(matches, "listen")));
    }
    if let Some(port) = id_of(folder).as_ref().and_then(NodeId::port) {
        layers.defaults.insert(Key::Port, Value::Number(port.into()));
    }
    Ok(layers)
}

/// Returns the plan for the arguments of `people`: mining on demand, a wallet, and the first node
/// of the chat room as a peer.
pub(crate) fn plan_people(
    global: &Global,
    id: Option<NodeId>,
    flags: &People,
    matches: &ArgMatches,
) -> Result<Plan, CommandError> {
    let (place, name) = flags.place()?;
    checked_name(name).map_err(Usage)?;
    let base = global.data_dir.as_deref();
    let (folder, notes) = if let Some(id) = id {
        (DataDir::resolve(base, Some(&id)).map_err(RpcError::from)?, Vec::new())
    } else {
        // By default the name selects one of several nodes on one machine.
        let home = home_of(base, name)?;
        (home.folder, home.notes)
    };
    let mut layers = Layers::of_file(read_settings(&folder)?);
    layers.typed = typed(&flags.node, matches);
    layers.typed.insert(Key::Name, (Value::text(name), Origin::Flag));
    let on_demand = Value::text(MiningMode::OnDemand.to_string());
    layers.defaults.insert(Key::Mine, on_demand);
    if let Some((ip, port)) = place {
        let listen = Value::List(vec![SocketAddr::new(ip, port).to_string()]);
        layers.typed.insert(Key::Listen, (listen, Origin::Flag));
    }
    let mut config = NodeConfig::new(name.to_owned());
    config.make_wallet = true;
    let mut plan = Plan::new(base, folder, layers, config, &flags.node)?;
    plan.notes = notes;
    if plan.layers.get(Key::Peers).0.is_none() {
        plan.meet(place.map(|(ip, port)| SocketAddr::new(ip, port)));
    }
    plan.say_who_can_reach(name);
    Ok(plan)
}

impl Plan {
    fn new(
        base: Option<&Path>,
        folder: DataDir,
        layers: Layers,
        mut config: NodeConfig,
        flags: &NodeFlags,
    ) -> Result<Self, CommandError> {
        let path = |typed: &Option<PathBuf>, key| {
            typed.clone().or_else(|| layers.text(key).map(PathBuf::from))
        };
        let passphrase_file = path(&flags.passphrase.passphrase_file, Key::PassphraseFile);
        let log_dir = path(&flags.log_dir, Key::LogDir);
        // A mistyped address gets an error of its own, different from that of an unknown name.
        let address = flags.miner.as_deref().filter(|miner| Address::looks_like(miner.trim()));
        address.map(parsed_address).transpose()?;
        config.passphrase = secrets::passphrase(&PassphraseFlag { passphrase_file })?;
        let base = base.map(Path::to_owned);
        let mut plan =
            Self { folder, config, layers, log_dir, notes: Vec::new(), base, picked: false };
        if plan.layers.get(Key::Listen).0.is_none() && plan.layers.port().is_none() {
            plan.picked = true;
            plan.pick_port();
        }
        plan.layers.configure(&mut plan.config).map_err(Usage)?;
        check_rpc(plan.config.rpc)?;
        Ok(plan)
    }

    /// Dials the chat room's first node, unless this node is that one.
    fn meet(&mut self, place: Option<SocketAddr>) {
        let is_here = match place {
            // Both stand for this machine, even if it lacks one of the two address families.
            Some(place) if place.ip().is_unspecified() || place.ip() == Ipv6Addr::LOCALHOST => {
                place.port() == MEETING_PLACE.port()
            }
            Some(place) => place == MEETING_PLACE,
            None => self.layers.port() == Some(MEETING_PLACE.port()),
        };
        // The five of a chat room on `::1` meet at `::1`.
        let meeting_place = match place {
            Some(place) if place.ip() == Ipv6Addr::LOCALHOST => {
                SocketAddr::new(place.ip(), MEETING_PLACE.port())
            }
            _ => MEETING_PLACE,
        };
        self.config.meeting_place = (!is_here).then(|| peer_at(meeting_place));
    }

    fn say_who_can_reach(&mut self, name: &str) {
        if only_this_machine(&self.config.listen) {
            self.notes.extend([
                "* only this machine can reach this node, since its address is a loopback one"
                    .to_owned(),
                format!("* for friends on other machines: friendchain people {name}"),
            ]);
        }
    }

    fn pick_port(&mut self) {
        if let Some(port) = self.free_port() {
            self.layers.defaults.insert(Key::Port, Value::Number(port.into()));
        }
    }

    /// Returns the first port that is free now and that no other folder has in its settings.
    fn free_port(&self) -> Option<u16> {
        let others = self.other_folders();
        let kept: Vec<_> = others.filter_map(|(_, folder)| kept_port(&folder)).collect();
        let last = FIRST_PORT.saturating_add(PORTS_TRIED);
        (FIRST_PORT..last).find(|port| !kept.contains(port) && is_free(*port))
    }

    fn other_folders(&self) -> impl Iterator<Item = (NodeId, DataDir)> {
        let all = DataDir::all(self.base.as_deref()).unwrap_or_default();
        all.into_iter().filter(|(_, folder)| *folder != self.folder)
    }

    /// Picks another port after a failed start, if another program has taken the picked one.
    /// Otherwise returns false.
    pub(crate) fn pick_again(&mut self) -> bool {
        if !self.picked || self.layers.port().is_none_or(is_free) {
            return false;
        }
        let before = self.layers.port();
        self.pick_port();
        let picked = self.layers.configure(&mut self.config).is_ok();
        picked && self.layers.port() != before
    }

    /// Adds to a failed start's error which node has the port, if another program has it, and how
    /// to take another port. The stored port stays as it is.
    pub(crate) async fn explain(&self, mut failure: RpcError) -> RpcError {
        let mut ports = self.config.listen.iter().filter_map(|address| port_of(address));
        let Some(port) = ports.find(|port| !is_free(*port)) else { return failure };
        let mut parts = vec![failure.message];
        if let Some((id, folder)) = self.holder_of(port).await {
            let stop = format!("friendchain {}stop", id_flag(&folder));
            parts.push(format!("the node of the folder {id} has it: {stop} ends it"));
        }
        let is_kept = self.layers.get(Key::Listen).0.is_none() && !self.picked;
        if let Some(free) = self.free_port() {
            let command = format!("friendchain {}config set port {free}", id_flag(&self.folder));
            parts.push(if is_kept {
                format!("{command} changes the kept one")
            } else {
                format!("{free} is free")
            });
        }
        failure.message = parts.join("; ");
        failure
    }

    /// Returns the folder whose node listens on the port. A node that does not answer counts if the
    /// port is the one in its settings.
    async fn holder_of(&self, port: u16) -> Option<(NodeId, DataDir)> {
        let running = self.other_folders().filter(|(_, folder)| folder.is_held());
        let asked = running.take(MOST_ASKED).map(async |(id, folder)| {
            let listens = match listening(&folder).await {
                Some(addresses) => addresses.iter().any(|address| port_of(address) == Some(port)),
                None => kept_port(&folder) == Some(port),
            };
            listens.then_some((id, folder))
        });
        join_all(asked).await.into_iter().flatten().next()
    }

    /// Stores the name, the port and the mining mode of the first start. Stored values stay
    /// unchanged. `name` is the running node's.
    pub(crate) fn keep(&self, name: &str) {
        let mine = self.layers.get(Key::Mine);
        let mine =
            mine.0.filter(|value| mine.1 != Origin::Default || value.as_text() != Some("off"));
        let mut ports = self.config.listen.iter().filter_map(|address| port_of(address));
        let wanted = [
            (Key::Name, Some(Value::text(name))),
            (Key::Port, ports.next().map(|port| Value::Number(port.into()))),
            (Key::Mine, mine.cloned()),
        ];
        // Read again, since a command may have changed the file meanwhile.
        let kept = read_settings(&self.folder);
        let file: &Settings = kept.as_ref().unwrap_or(&self.layers.file);
        let new: Vec<_> = wanted
            .into_iter()
            .filter(|(key, value)| value.is_some() && !file.contains_key(key))
            .filter(|(key, _)| *key != Key::Port || !file.contains_key(&Key::Listen))
            .collect();
        if new.is_empty() {
            return;
        }
        if let Err(error) = write_settings(&self.folder, &new) {
            tracing::warn!(%error, "name, port and mining mode of this start are not kept");
        }
    }
}

/// True if no program has the port, over IPv4 or IPv6. A machine may have no IPv6.
fn is_free(port: u16) -> bool {
    let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    let is_taken =
        |bound: io::Result<()>| bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
    TcpListener::bind(v4).is_ok()
        && UdpSocket::bind(v4).is_ok()
        && !is_taken(TcpListener::bind(v6).map(drop))
        && !is_taken(UdpSocket::bind(v6).map(drop))
}

fn kept_port(folder: &DataDir) -> Option<u16> {
    read_settings(folder).ok().and_then(|kept| Layers::of_file(kept).port())
}

/// Returns the flag that chooses a folder, with a space after it. `default` needs none.
fn id_flag(folder: &DataDir) -> String {
    id_of(folder).map_or_else(String::new, |id| format!("--node-id {id} "))
}

/// Returns the id of a folder that was chosen without an id, unless it is `default`.
fn id_of(folder: &DataDir) -> Option<NodeId> {
    let name = folder.path().file_name()?.to_str()?;
    (name != "default").then(|| name.parse().ok()).flatten()
}

/// Returns the settings from the command line and the environment.
fn typed(flags: &NodeFlags, matches: &ArgMatches) -> BTreeMap<Key, (Value, Origin)> {
    let path =
        |path: &Option<PathBuf>| path.as_ref().map(|path| Value::text(path.to_string_lossy()));
    let text = |text: &Option<String>| text.as_ref().map(Value::text);
    let number = |number: usize| Value::Number(u32::try_from(number).unwrap_or(u32::MAX));
    let peers = (!flags.peers.is_empty()).then(|| Value::List(flags.peers.clone()));
    let external = (!flags.external.is_empty()).then(|| Value::List(flags.external.clone()));
    let relay = flags.relay.and_then(|mode| mode.to_possible_value());
    let port_mapping = flags.no_port_mapping.then_some(Value::Switch(false));
    let lan_friends = flags.lan_friends.map(|when| Value::Switch(when == Switch::On));
    let all = [
        (Key::External, "external", external),
        (Key::Peers, "peers", peers),
        (Key::Mine, "mine", flags.mine.map(|mode| Value::text(mode.to_string()))),
        (Key::Miner, "miner", text(&flags.miner)),
        (Key::Threads, "threads", flags.threads.map(|threads| number(threads.get()))),
        (Key::Rpc, "rpc", text(&flags.rpc)),
        (Key::Metrics, "metrics", text(&flags.metrics)),
        (Key::LogDir, "log_dir", path(&flags.log_dir)),
        (Key::Mdns, "no_mdns", flags.no_mdns.then_some(Value::Switch(false))),
        (Key::CacheMib, "cache_mib", flags.cache_mib.map(Value::Number)),
        (Key::PrivateOnly, "private_only", flags.private_only.map(Value::Switch)),
        (Key::LanFriends, "lan_friends", lan_friends),
        (Key::PortMapping, "no_port_mapping", port_mapping),
        (Key::Relay, "relay", relay.map(|mode| Value::text(mode.get_name()))),
        (Key::PassphraseFile, "passphrase_file", path(&flags.passphrase.passphrase_file)),
    ];
    all.into_iter()
        .filter_map(|(key, id, value)| Some((key, (value?, origin(matches, id)))))
        .collect()
}

fn origin(matches: &ArgMatches, id: &str) -> Origin {
    match matches.value_source(id) {
        Some(ValueSource::EnvVariable) => Origin::Environment,
        _ => Origin::Flag,
    }
}

/// Returns an IPv6 address without the brackets that separate it from a port.
fn bare_ip(text: &str) -> &str {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text)
}

/// The address at which `people` listens, if one was given, and the name.
type Place<'a> = (Option<(IpAddr, u16)>, &'a str);

impl People {
    /// Returns the address, if one was given, and the name.
    ///
    /// # Errors
    /// The words are not `NAME` or `IP PORT NAME`.
    pub(crate) fn place(&self) -> Result<Place<'_>, CommandError> {
        let wrong =
            |code: &'static str, sentence: String| Err(Usage(RpcError::new(code, sentence)));
        match self.words.as_slice() {
            [name] if bare_ip(name).parse::<IpAddr>().is_ok() || name == "localhost" => wrong(
                "usage",
                format!("'{name}' is no name: write people NAME, or people {name} 8891 NAME"),
            ),
            [name] => Ok((None, name)),
            [ip, port, name] => {
                let ip = match ip.as_str() {
                    "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
                    text => match bare_ip(text).parse() {
                        Ok(ip) => ip,
                        Err(_) => {
                            return wrong(
                                "bad_listen_address",
                                format!(
                                    "'{text}' is not an IP address: write one of this machine, \
                                     like 127.0.0.1"
                                ),
                            );
                        }
                    },
                };
                match port.parse() {
                    Ok(port) => Ok((Some((ip, port)), name)),
                    Err(_) => wrong(
                        "bad_listen_address",
                        format!("'{port}' is not a port: write a number from 1 to 65535"),
                    ),
                }
            }
            _ => wrong("usage", "write people NAME, or people IP PORT NAME".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn plan_in(base: &Path, line: &str) -> Result<Plan, CommandError> {
        let words = ["friendchain"].into_iter().chain(line.split_whitespace());
        let matches = Cli::command().try_get_matches_from(words).expect("parsed");
        let mut cli = Cli::from_arg_matches(&matches).expect("parsed");
        cli.global.data_dir = Some(base.to_owned());
        let id = cli.global.node_id.as_deref().map(|id| id.parse().expect("an id"));
        let (_, matches) = matches.subcommand().expect("a command");
        match cli.command {
            Command::StartNode(flags) => plan_start_node(&cli.global, id.as_ref(), &flags, matches),
            Command::People(flags) => plan_people(&cli.global, id, &flags, matches),
            other => panic!("{other:?} starts no node"),
        }
    }

    fn plan(line: &str) -> Result<Plan, CommandError> {
        plan_in(tempfile::tempdir().expect("a folder").path(), line)
    }

    fn config(line: &str) -> NodeConfig {
        plan(line).expect("a plan").config
    }

    #[test]
    fn the_first_of_the_chat_room_waits_and_the_others_go_to_it() {
        let first = config("people 127.0.0.1 8891 yzw");
        assert_eq!((first.peers.len(), first.meeting_place), (0, None));
        assert_eq!(first.listen, ["/ip4/127.0.0.1/tcp/8891", "/ip4/127.0.0.1/udp/8891/quic-v1"]);
        assert_eq!((first.mining, first.make_wallet), (MiningMode::OnDemand, true));
        let second = config("people 127.0.0.1 8892 yjf");
        assert!(second.peers.is_empty(), "the user named nobody");
        assert_eq!(second.meeting_place.as_deref(), Some("/ip4/127.0.0.1/tcp/8891"));
        let elsewhere = config("people 127.0.0.1 8892 yjf --peer 10.0.0.1:3000");
        assert_eq!(elsewhere.peers, ["/ip4/10.0.0.1/tcp/3000"]);
        assert_eq!(elsewhere.meeting_place, None);
        assert_eq!(config("people 0.0.0.0 8891 yzw").meeting_place, None);
    }

    #[test]
    fn people_with_a_loopback_address_says_that_only_this_machine_can_reach_it() {
        for ip in ["127.0.0.1", "localhost", "::1"] {
            let notes = plan(&format!("people {ip} 8891 yzw")).expect("a plan").notes.join("\n");
            assert!(notes.contains("only this machine"), "{notes}");
            assert!(notes.contains("friendchain people yzw"), "{notes}");
        }
        for line in ["people 0.0.0.0 8891 yzw", "people 192.168.1.5 8891 yzw", "people yzw"] {
            assert!(plan(line).expect("a plan").notes.is_empty(), "{line}");
        }
    }

    #[test]
    fn people_with_a_name_alone_listens_everywhere_on_the_kept_port() {
        let temporary = tempfile::tempdir().expect("a folder");
        let plan = |line: &str| plan_in(temporary.path(), line).expect("a plan");
        let first = plan("people 127.0.0.1 9301 yzw");
        drop(first.folder.try_lock().expect("the lock"));
        first.keep("yzw");
        let again = plan("people yzw");
        assert_eq!(again.config.listen[0], "/ip4/0.0.0.0/tcp/9301");
        assert_eq!(again.config.name.as_deref(), Some("yzw"));
        // A port typed at a later start applies to that start only.
        let once = plan("people 127.0.0.1 9302 yzw");
        once.keep("yzw");
        assert_eq!(once.config.listen[0], "/ip4/127.0.0.1/tcp/9302");
        assert_eq!(plan("start-node").layers.port(), Some(9_301));
        assert_eq!(plan("start-node").config.mining, MiningMode::OnDemand);
    }

    #[test]
    fn the_first_start_picks_a_port_that_no_other_folder_keeps() {
        let temporary = tempfile::tempdir().expect("a folder");
        let plan = |line: &str| plan_in(temporary.path(), line).expect("a plan");
        let first = plan("people yzw");
        drop(first.folder.try_lock().expect("the lock"));
        first.keep("yzw");
        let second = plan("people yjf");
        let (one, other) = (first.layers.port(), second.layers.port());
        assert!(one >= Some(FIRST_PORT) && other >= Some(FIRST_PORT), "{one:?} {other:?}");
        assert_ne!(one, other);
        assert_eq!(plan("people yzw").layers.port(), one);
    }

    #[test]
    fn what_people_cannot_be_is_a_sentence() {
        for (line, code) in [
            ("people nowhere 8891 yzw", "bad_listen_address"),
            ("people 127.0.0.1 port yzw", "bad_listen_address"),
            ("people 127.0.0.1 99999 yzw", "bad_listen_address"),
            ("people 127.0.0.1", "usage"),
            ("people 127.0.0.1 8891", "usage"),
            ("people 127.0.0.1 8891 a#b", "bad_name"),
            ("people 127.0.0.1 8891 yzw --peer nobody", "bad_peer_address"),
            ("people 127.0.0.1 8891 yzw --rpc 8545", "bad_rpc_address"),
            ("people 127.0.0.1 8891 yzw --metrics 9101", "bad_metrics_address"),
        ] {
            let Err(error) = plan(line) else { panic!("{line}") };
            assert!(matches!(&error, Usage(error) if error.code == code), "{line}: {error:?}");
        }
        let Err(error) = plan("people 127.0.0.1 8891 yzw --rpc 0.0.0.0:8545") else {
            panic!("refused")
        };
        assert!(
            matches!(&error, CommandError::Failed(error) if error.code == "rpc_not_loopback"),
            "{error:?}"
        );
    }

    #[test]
    fn a_number_as_node_id_is_the_port_unless_told() {
        let of_id = config("start-node --node-id 3000");
        assert_eq!(
            of_id.listen,
            [
                "/ip4/0.0.0.0/tcp/3000",
                "/ip4/0.0.0.0/udp/3000/quic-v1",
                "/ip6/::/tcp/3000",
                "/ip6/::/udp/3000/quic-v1",
            ]
        );
        assert_eq!(
            (of_id.default_name.as_str(), of_id.name, of_id.mining),
            ("3000", None, MiningMode::Off)
        );
        let told = config("start-node --node-id 3000 --listen /ip4/1.2.3.4/tcp/5 --mine always");
        assert_eq!(
            (told.listen, told.mining),
            (vec!["/ip4/1.2.3.4/tcp/5".to_owned()], MiningMode::Always)
        );
    }
}
