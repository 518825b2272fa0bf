//! The command line: global flags, and the commands that start a node, open a console or read logs.
//!
//! Addresses stay text here. The command that uses one parses it, and rejects a wrong one with a
//! sentence.

use std::{num::NonZeroUsize, path::PathBuf, sync::LazyLock};

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::logging::{ColorChoice, LogFormat};
use crate::{
    commands::args::{ClientCommand, PassphraseFlag},
    node::config::{MAX_CACHE_MIB, MIN_CACHE_MIB, RelayMode},
    primitives::MiningMode,
};

/// The text of `--version`: the version, and the features chosen at build time. `-V` prints only
/// the version.
static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    let features = [
        (cfg!(curve25519_dalek_backend = "avx512"), "avx512"),
        (cfg!(target_feature = "crt-static"), "static"),
    ];
    let built_in: Vec<_> =
        features.into_iter().filter_map(|(there, name)| there.then_some(name)).collect();
    format!("{}\nfeatures: {}", env!("CARGO_PKG_VERSION"), built_in.join(" "))
});

/// A node for a group of friends: chat, coins and notes on a chain of their own, with no server.
#[derive(Debug, Parser)]
#[command(
    name = "friendchain",
    version,
    long_version = LONG_VERSION.as_str(),
    about,
    after_help = "Begin with:\n  friendchain people 127.0.0.1 8891 yzw\n\n`friendchain help \
     COMMAND` shows an example of each.\n\n\
             Exit codes: 0 done, 1 refused or failed, 2 wrong usage, such as a \
             value\nthat cannot be parsed."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The flags of every command, before or after its name.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// The folder for data [default: the platform's data folder]
    #[arg(long, global = true, env = "FRIENDCHAIN_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Selects one of several nodes on this machine: its data is in DIR/ID; a number from 1024 to
    /// 65535 is also its port [default: default, the only one, or the only one that runs]
    #[arg(long, global = true, env = "NODE_ID", value_name = "ID")]
    pub(crate) node_id: Option<String>,
    /// Answer with one JSON document
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Show ids and columns in full
    #[arg(long, global = true)]
    pub(crate) full: bool,
    /// Format of log lines
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// Log filter, as in `RUST_LOG`: info, or friendchain=debug,warn
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// Colour the output
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: ColorChoice,
}

/// All commands of the binary.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon until SIGINT, SIGTERM or SIGHUP
    #[command(
        visible_alias = "startnode",
        after_help = "Example:\n  friendchain start-node --name yzw --listen 0.0.0.0:3000 \
             --mine on-demand"
    )]
    StartNode(StartNode),
    /// Run a node with its console, as in the chat room
    #[command(
        after_help = "Example:\n  friendchain people yzw\n  friendchain people 127.0.0.1 8891 yzw"
    )]
    People(People),
    /// Open a console on the running node
    #[command(after_help = "Example:\n  friendchain console\n  yzw> h")]
    Console,
    /// Read the logs of several nodes: a time line, and the spread of blocks and lines
    #[command(
        after_help = "Example:\n  friendchain start-node --name yzw --log-dir logs\n  friendchain \
             observe logs --html report.html"
    )]
    Observe(Observe),
    /// Print the completion script of a shell
    #[command(after_help = "Example:\n  friendchain completions bash > \
             ~/.bash_completion")]
    Completions {
        /// The shell to complete in
        shell: clap_complete::Shell,
    },
    /// Print the completions of the last word, for completion scripts
    #[command(hide = true, after_help = "Example:\n  friendchain complete -- chat y")]
    Complete {
        /// The words typed so far, without the program's name
        #[arg(last = true)]
        words: Vec<String>,
    },
    /// Write the man pages, one for each command
    #[command(after_help = "Example:\n  friendchain man-pages ~/.local/share/man/man1")]
    ManPages {
        /// The folder to write them into; it must exist
        folder: PathBuf,
    },
    #[command(flatten)]
    Client(ClientCommand),
}

/// The flags of `start-node` and `people`.
#[derive(Debug, Clone, Args)]
pub(crate) struct NodeFlags {
    /// A peer to dial: IP:PORT, HOST:PORT or a multiaddr, with or without /p2p/…; may be repeated
    #[arg(long = "peer", env = "FRIENDCHAIN_PEERS", value_delimiter = ',', value_name = "ADDR")]
    pub(crate) peers: Vec<String>,
    /// Mine without a command
    #[arg(
        long,
        visible_alias = "mining",
        value_enum,
        env = "FRIENDCHAIN_MINE",
        value_name = "WHEN"
    )]
    pub(crate) mine: Option<MiningMode>,
    /// The receiver of mining rewards: an address or a friend [default: the wallet's first address]
    #[arg(long, env = "FRIENDCHAIN_MINER", value_name = "ADDRESS")]
    pub(crate) miner: Option<String>,
    /// Number of mining threads [default: the number of processors]
    #[arg(long, env = "FRIENDCHAIN_THREADS", value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Address of the RPC, loopback only [default: a port chosen by the system]
    #[arg(long, env = "FRIENDCHAIN_RPC", value_name = "IP:PORT")]
    pub(crate) rpc: Option<String>,
    /// Serve health and metrics over HTTP, without a password: /livez, /readyz, /metrics
    #[arg(long, env = "FRIENDCHAIN_METRICS", value_name = "IP:PORT")]
    pub(crate) metrics: Option<String>,
    /// Also write logs to this folder: JSON lines, one file a day, the last 14 kept
    #[arg(long, env = "FRIENDCHAIN_LOG_DIR", value_name = "DIR")]
    pub(crate) log_dir: Option<PathBuf>,
    /// Do not look for friends on the LAN
    #[arg(long)]
    pub(crate) no_mdns: bool,
    /// Memory for caches, in MiB
    #[arg(
        long,
        env = "FRIENDCHAIN_CACHE_MIB",
        value_name = "N",
        value_parser = clap::value_parser!(u32)
            .range(i64::from(MIN_CACHE_MIB)..=i64::from(MAX_CACHE_MIB))
    )]
    pub(crate) cache_mib: Option<u32>,
    /// Dial private addresses only [default: true on the built-in network]
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true
    )]
    pub(crate) private_only: Option<bool>,
    /// An address at which others reach this node, such as a forwarded port: HOST:PORT or a
    /// multiaddr; may be repeated
    #[arg(long, env = "FRIENDCHAIN_EXTERNAL", value_delimiter = ',', value_name = "ADDR")]
    pub(crate) external: Vec<String>,
    /// Do not ask the router for a mapped port
    #[arg(long)]
    pub(crate) no_port_mapping: bool,
    /// Relay for friends who cannot reach each other, if others can reach this node [default:
    /// friends, and off on the built-in network]
    #[arg(long, env = "FRIENDCHAIN_RELAY", value_enum, value_name = "WHOM")]
    pub(crate) relay: Option<RelayMode>,
    /// On the built-in network, treat everybody at a private address as a friend [default: on]
    #[arg(long, env = "FRIENDCHAIN_LAN_FRIENDS", value_enum, value_name = "WHEN")]
    pub(crate) lan_friends: Option<Switch>,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseFlag,
}

/// A setting that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// Switched on
    On,
    /// Switched off
    Off,
}

/// Arguments of `start-node`.
#[derive(Debug, Clone, Args)]
pub(crate) struct StartNode {
    /// The name that friends see [default: the kept name, or the node id]
    #[arg(long, env = "FRIENDCHAIN_NAME")]
    pub(crate) name: Option<String>,
    /// An address for incoming connections: IP:PORT, PORT or a multiaddr; may be repeated [default:
    /// all addresses, and the kept port: 8891 or the next free one]
    #[arg(long, env = "FRIENDCHAIN_LISTEN", value_delimiter = ',', value_name = "ADDR")]
    pub(crate) listen: Vec<String>,
    #[command(flatten)]
    pub(crate) node: NodeFlags,
}

/// Arguments of `observe`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Observe {
    /// Log files, folders of them, or - for standard input; give each node's stderr or its
    /// --log-dir, not both, since events would count twice
    #[arg(required = true, num_args = 1.., value_name = "LOG")]
    pub(crate) logs: Vec<PathBuf>,
    /// Write a page with plots, in one self-contained file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Update the report as the logs grow
    #[arg(long)]
    pub(crate) follow: bool,
    /// Maximum number of entries of the time line and rows of a table: the last ones
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: usize,
}

/// Arguments of `people`.
#[derive(Debug, Clone, Args)]
#[command(override_usage = "friendchain people [IP PORT] NAME [OPTIONS]")]
pub(crate) struct People {
    /// NAME is what friends see, and also selects one of several nodes on this machine; IP and PORT
    /// are for incoming connections [default: all addresses, and the kept port]
    #[arg(required = true, num_args = 1..=3, value_name = "NAME")]
    pub(crate) words: Vec<String>,
    #[command(flatten)]
    pub(crate) node: NodeFlags,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::commands::prepare::prepare;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        let words = prepare(line.split_whitespace().map(Into::into).collect());
        Cli::try_parse_from(["friendchain".into()].into_iter().chain(words))
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_with_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Example:\n  friendchain "), "{}", command.get_name());
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }

    #[test]
    fn the_go_seeds_command_lines_parse() {
        for line in [
            "createwallet",
            "listaddresses",
            "createblockchain -address fc1abc",
            "getbalance -address fc1abc",
            "send -from fc1abc  -to fc1def -amount 10 -mine",
            "send -from=fc1abc -to=fc1def -amount=10",
            "printchain",
            "reindexutxo",
            "startnode",
            "startnode -mine always",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
        let cli = parse("send -from fc1abc -to fc1def -amount 10 -mine").expect("parsed");
        let Command::Client(ClientCommand::Send(sent)) = cli.command else { panic!("not a send") };
        let (amount, to) = sent.amount_and_recipient().expect("both");
        assert_eq!(
            (sent.from.as_deref(), to.as_str(), amount.as_str(), sent.mine),
            (Some("fc1abc"), "fc1def", "10", true)
        );
    }

    #[test]
    fn the_chat_rooms_command_line_parses() {
        let cli = parse("people 127.0.0.1 8891 yzw").expect("parsed");
        let Command::People(people) = cli.command else { panic!("not people") };
        assert_eq!(people.words, ["127.0.0.1", "8891", "yzw"]);
        assert!(parse("people yzw").is_ok());
    }

    #[test]
    fn global_flags_stand_anywhere() {
        for line in ["--json status", "status --json", "chat yjf hello there --json"] {
            assert!(parse(line).expect("parsed").global.json, "{line}");
        }
    }

    #[test]
    fn free_text_may_look_like_a_flag() {
        let cli = parse("chat yjf -mine is -1 - yes --no").expect("parsed");
        let Command::Client(ClientCommand::Chat { text, .. }) = cli.command else {
            panic!("not a chat")
        };
        assert_eq!(text.join(" "), "-mine is -1 - yes --no");
        let cli = parse("note hello --wait").expect("parsed");
        let Command::Client(ClientCommand::Note { text, wait, .. }) = cli.command else {
            panic!("not a note")
        };
        assert_eq!((text.join(" ").as_str(), wait), ("hello", true));
    }

    #[test]
    fn wrong_usage_is_an_error() {
        for line in [
            "",
            "nonsense",
            "send",
            "create-blockchain --address a --bits 41",
            "mine 0",
            "people",
            "people 127.0.0.1 8891 yzw yjf",
            "config",
            "config set port",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
