//! The command line as users type it: flags, help and examples. Values that a person may get wrong
//! in an interesting way (addresses, amounts, hashes) stay text here, and are refused with a
//! sentence where they are used.

use std::{num::NonZeroUsize, path::PathBuf, sync::LazyLock};

use clap::{Args, Parser, Subcommand};

use crate::{
    cli::logging::{ColorChoice, LogFormat},
    rpc::types::MineMode,
};

/// What `--version` says (`-V` says the number alone): which of the things that only building can
/// give are there.
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
                  Exit codes: 0 done, 1 refused or failed, 2 wrong usage, as a value that does \
                  not read is."
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes, before or after its name.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// Where data is kept [default: the platform's data folder]
    #[arg(long, global = true, env = "FRIENDCHAIN_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Which of several nodes on this machine: its data is in DIR/ID; a number from 1024 to 65535
    /// is its port too
    #[arg(long, global = true, env = "NODE_ID", value_name = "ID")]
    pub node_id: Option<String>,
    /// Answer with one JSON document
    #[arg(long, global = true)]
    pub json: bool,
    /// How log lines look
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// What to log, as in `RUST_LOG`: info, or friendchain=debug,warn
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// Whether to colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: ColorChoice,
}

/// All commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon until SIGINT or SIGTERM
    #[command(
        visible_alias = "startnode",
        after_help = "Example:\n  friendchain start-node --name yzw --listen 0.0.0.0:3000 --peer \
             192.168.1.7:3000 --mine on-demand"
    )]
    StartNode(StartNode),
    /// Start a node with its console, as the chat room does
    #[command(after_help = "Example:\n  friendchain people 127.0.0.1 8891 yzw")]
    People(People),
    /// A console on the running node
    #[command(after_help = "Example:\n  friendchain console\n  yzw> h")]
    Console,
    /// Read the logs of several nodes together: a time line, and how fast things spread
    #[command(
        after_help = "Example:\n  friendchain start-node --name yzw --log-dir logs\n  friendchain \
             observe logs --html report.html"
    )]
    Observe(Observe),
    /// Print the shell's completion script
    #[command(after_help = "Example:\n  friendchain completions bash > \
             ~/.local/share/bash-completion/completions/friendchain")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// The commands that a node answers.
    #[command(flatten)]
    Client(ClientCommand),
}

/// How a node is run.
#[derive(Debug, Clone, Args)]
pub struct NodeFlags {
    /// Whom to dial: IP:PORT, HOST:PORT or a multiaddr, with or without its /p2p/…; may be repeated
    #[arg(long = "peer", env = "FRIENDCHAIN_PEERS", value_delimiter = ',', value_name = "ADDR")]
    pub peers: Vec<String>,
    /// When to mine by itself
    #[arg(
        long,
        visible_alias = "mining",
        value_enum,
        env = "FRIENDCHAIN_MINE",
        value_name = "WHEN"
    )]
    pub mine: Option<MineMode>,
    /// Who is paid for mined blocks [default: the wallet's first address]
    #[arg(long, env = "FRIENDCHAIN_MINER", value_name = "ADDRESS")]
    pub miner: Option<String>,
    /// Miner threads [default: one fewer than there are processors]
    #[arg(long, env = "FRIENDCHAIN_THREADS", value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Where the RPC listens, loopback only [default: a port of the system's choosing]
    #[arg(long, env = "FRIENDCHAIN_RPC", value_name = "IP:PORT")]
    pub rpc: Option<String>,
    /// Show health and metrics there over HTTP, to whoever can reach it: /livez, /readyz, /metrics
    #[arg(long, env = "FRIENDCHAIN_METRICS", value_name = "IP:PORT")]
    pub metrics: Option<String>,
    /// Keep logs there too: JSON lines, a file a day, those of 14 days
    #[arg(long, env = "FRIENDCHAIN_LOG_DIR", value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// Do not look for friends on the LAN
    #[arg(long)]
    pub no_mdns: bool,
    /// Memory for caches, in MiB
    #[arg(long, env = "FRIENDCHAIN_CACHE_MIB", value_name = "N",
          value_parser = clap::value_parser!(u32).range(i64::from(crate::node::config::MIN_CACHE_MIB)..=i64::from(crate::node::config::MAX_CACHE_MIB)))]
    pub cache_mib: Option<u32>,
    /// Whether to dial private addresses only [default: only on the built-in network]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub private_only: Option<bool>,
    /// What opens the wallet.
    #[command(flatten)]
    pub passphrase: PassphraseFlag,
}

/// `start-node`.
#[derive(Debug, Clone, Args)]
pub struct StartNode {
    /// What friends see [default: the name it had, or the node id]
    #[arg(long, env = "FRIENDCHAIN_NAME")]
    pub name: Option<String>,
    /// Where to accept connections: IP:PORT, PORT or a multiaddr; may be repeated [default: the
    /// port of the node id, or any]
    #[arg(long, env = "FRIENDCHAIN_LISTEN", value_delimiter = ',', value_name = "ADDR")]
    pub listen: Vec<String>,
    /// How to run.
    #[command(flatten)]
    pub node: NodeFlags,
}

/// `observe`.
#[derive(Debug, Clone, Args)]
pub struct Observe {
    /// Log files, folders of them, or - for standard input: of each node what it wrote to stderr or
    /// to --log-dir, not both, or events count twice
    #[arg(required = true, num_args = 1.., value_name = "LOG")]
    pub logs: Vec<PathBuf>,
    /// Write a page with plots, which needs nothing else
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Keep it live, as the logs grow
    #[arg(long)]
    pub follow: bool,
    /// How many entries of the time line, and rows of a table, at most: the last ones
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

/// `people`.
#[derive(Debug, Clone, Args)]
pub struct People {
    /// Where to accept connections: an address of this machine
    pub ip: String,
    /// The port
    pub port: u16,
    /// What friends see; also which of several nodes on this machine it is
    pub name: String,
    /// How to run.
    #[command(flatten)]
    pub node: NodeFlags,
}

/// What opens the wallet.
#[derive(Debug, Clone, Default, Args)]
pub struct PassphraseFlag {
    /// A file that holds the wallet's passphrase
    #[arg(long, env = "FRIENDCHAIN_PASSPHRASE_FILE", hide_env_values = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// The commands that a node answers: on the shell's command line, and in the console.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Make a wallet, or one more address of it
    #[command(
        visible_alias = "createwallet",
        after_help = "Example:\n  friendchain create-wallet\n  friendchain create-wallet \
             --recover < words.txt"
    )]
    CreateWallet {
        /// Restore a wallet from its recovery phrase (typed, or from standard input), looking
        /// through 1,000 addresses
        #[arg(long)]
        recover: bool,
        /// What encrypts, or opens, the wallet.
        #[command(flatten)]
        passphrase: PassphraseFlag,
    },
    /// Show the wallet's recovery phrase, on a terminal only
    #[command(after_help = "Example:\n  friendchain recovery-phrase")]
    RecoveryPhrase {
        /// What opens the wallet.
        #[command(flatten)]
        passphrase: PassphraseFlag,
    },
    /// Open the running node's wallet
    #[command(after_help = "Example:\n  friendchain unlock --for 600 --passphrase-file secret.txt")]
    Unlock {
        /// Lock it again after so many seconds
        #[arg(long = "for", value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
        seconds: Option<u64>,
        /// What opens the wallet.
        #[command(flatten)]
        passphrase: PassphraseFlag,
    },
    /// Lock the running node's wallet
    #[command(after_help = "Example:\n  friendchain lock")]
    Lock,
    /// The wallet's addresses, one a line, in the order made
    #[command(
        visible_alias = "listaddresses",
        after_help = "Example:\n  friendchain list-addresses"
    )]
    ListAddresses,
    /// Begin a chain of one's own
    #[command(
        visible_alias = "createblockchain",
        after_help = "Example:\n  friendchain create-blockchain --address fc1… --name club \
             --spacing 10 --bits 22"
    )]
    CreateBlockchain {
        /// Whom its first block pays
        #[arg(long)]
        address: String,
        /// What it is called, at most 32 bytes
        #[arg(long)]
        name: Option<String>,
        /// Seconds between blocks; 0: as fast as they are found [default: 10]
        #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(0..=31_536_000))]
        spacing: Option<u64>,
        /// How hard a block is at least, in leading zero bits, 8 to 40 [default: 22]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(8..=40))]
        bits: Option<u8>,
    },
    /// Text that lets a friend join this chain
    #[command(after_help = "Example:\n  friendchain invite")]
    Invite,
    /// Take up the chain of an invite
    #[command(after_help = "Example:\n  friendchain join friendchain:…")]
    Join {
        /// What `invite` printed
        invite: String,
    },
    /// Back to no chain: wallet and friends stay, a backup is kept
    #[command(after_help = "Example:\n  friendchain leave-chain")]
    LeaveChain,
    /// What an address has
    #[command(
        visible_alias = "getbalance",
        after_help = "Example:\n  friendchain get-balance --address fc1…"
    )]
    GetBalance {
        /// Whose
        #[arg(long)]
        address: String,
    },
    /// Pay somebody
    #[command(
        after_help = "Example:\n  friendchain send --from fc1… --to yjf --amount 10 --memo 'for \
             the tea' --mine"
    )]
    Send {
        /// An address of this wallet
        #[arg(long)]
        from: String,
        /// An address, or a friend's name
        #[arg(long)]
        to: String,
        /// Coins: 10, or 0.25
        #[arg(long, allow_hyphen_values = true)]
        amount: String,
        /// Coins for the miner [default: 0]
        #[arg(long, allow_hyphen_values = true)]
        fee: Option<String>,
        /// A text to write down with it
        #[arg(long, value_name = "TEXT")]
        memo: Option<String>,
        /// Mine too, reward to --from, and wait until it is mined by anyone
        #[arg(long)]
        mine: bool,
        /// What opens the wallet.
        #[command(flatten)]
        passphrase: PassphraseFlag,
    },
    /// Replace an own trade that waits by the same one with a higher fee
    #[command(after_help = "Example:\n  friendchain raise-fee 5f0c… --fee 0.00002")]
    RaiseFee {
        /// The trade's id, as `send` and `mempool` show it
        txid: String,
        /// Coins for the miner, instead of what it pays now
        #[arg(long, allow_hyphen_values = true)]
        fee: String,
        /// Mine too, reward to the sender, and wait until it is mined by anyone
        #[arg(long)]
        mine: bool,
        /// What opens the wallet.
        #[command(flatten)]
        passphrase: PassphraseFlag,
    },
    /// Write a text on the chain
    #[command(after_help = "Example:\n  friendchain note Good morning! --wait")]
    Note {
        /// The text
        #[arg(required = true, num_args = 1..)]
        text: Vec<String>,
        /// Wait until it is mined by anyone
        #[arg(long)]
        wait: bool,
        /// What opens the wallet.
        #[command(flatten)]
        passphrase: PassphraseFlag,
    },
    /// Mine blocks now, whatever is pending
    #[command(after_help = "Example:\n  friendchain mine 3")]
    Mine {
        /// How many
        #[arg(default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
        /// Who is paid [default: the wallet's first address]
        #[arg(long, value_name = "ADDRESS")]
        to: Option<String>,
    },
    /// The chain's blocks, newest first
    #[command(
        visible_alias = "printchain",
        after_help = "Example:\n  friendchain print-chain --limit 5"
    )]
    PrintChain {
        /// How many at most
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
        /// From this height downward [default: the newest]
        #[arg(long, value_name = "HEIGHT")]
        from: Option<u32>,
    },
    /// One block
    #[command(after_help = "Example:\n  friendchain block 0")]
    Block {
        /// Its hash, or its height
        #[arg(value_name = "HASH|HEIGHT")]
        block: String,
    },
    /// Waiting trades and notes
    #[command(after_help = "Example:\n  friendchain mempool")]
    Mempool,
    /// One trade or note and its state
    #[command(after_help = "Example:\n  friendchain tx 5f0c…")]
    Tx {
        /// Its id
        txid: String,
    },
    /// Check everything from genesis
    #[command(after_help = "Example:\n  friendchain verify-chain")]
    VerifyChain,
    /// Rebuild coins and indexes from the blocks, and say whether they agree
    #[command(visible_alias = "reindexutxo", after_help = "Example:\n  friendchain reindex")]
    Reindex,
    /// Take the other branch of a diverged chain
    #[command(after_help = "Example:\n  friendchain accept-branch 00a1…")]
    AcceptBranch {
        /// Any of its blocks: status names the last
        #[arg(value_name = "HASH")]
        block: String,
    },
    /// Make a proof that a trade or note is in a block
    #[command(after_help = "Example:\n  friendchain prove 5f0c… -o tea.proof")]
    Prove {
        /// Its id
        txid: String,
        /// Where to write it [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Check a proof, by the chain here or by a block that you trust
    #[command(
        after_help = "Example:\n  friendchain verify-proof tea.proof\n  friendchain verify-proof \
             tea.proof --trust 00a1…"
    )]
    VerifyProof {
        /// What `prove` wrote; - is standard input
        file: PathBuf,
        /// The hash of a block that somebody you trust has confirmed: needed where the chain here
        /// does not have the proof's
        #[arg(long, value_name = "BLOCK")]
        trust: Option<String>,
    },
    /// The state of the node
    #[command(after_help = "Example:\n  friendchain status --json")]
    Status,
    /// Connections, with scores
    #[command(after_help = "Example:\n  friendchain peers")]
    Peers,
    /// Friends, here or not
    #[command(after_help = "Example:\n  friendchain friends")]
    Friends,
    /// Chat to one
    #[command(after_help = "Example:\n  friendchain chat yjf Good morning to you")]
    Chat {
        /// A name, a name with an id suffix (yzw#3f2a), or a peer id
        friend: String,
        /// The line
        #[arg(required = true, num_args = 1..)]
        text: Vec<String>,
    },
    /// Chat to all
    #[command(after_help = "Example:\n  friendchain broadcast Good morning!")]
    Broadcast {
        /// The line
        #[arg(required = true, num_args = 1..)]
        text: Vec<String>,
    },
    /// Chat that is kept
    #[command(after_help = "Example:\n  friendchain history yjf --limit 20")]
    History {
        /// With whom [default: all]
        friend: Option<String>,
        /// How many lines at most [default: 50]
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
    },
    /// Ask for news now, and wait until there is none
    #[command(after_help = "Example:\n  friendchain sync yzw")]
    Sync {
        /// Whom [default: all]
        friend: Option<String>,
    },
    /// Refuse a peer from now on
    #[command(after_help = "Example:\n  friendchain ban 12D3KooW…")]
    Ban {
        /// Its peer id, as `peers` shows it
        peer: String,
    },
    /// Take a ban back
    #[command(after_help = "Example:\n  friendchain unban 12D3KooW…")]
    Unban {
        /// Its peer id
        peer: String,
    },
    /// End the running node cleanly
    #[command(after_help = "Example:\n  friendchain stop")]
    Stop,
}

impl ClientCommand {
    /// Whether it makes the data folder when there is none.
    #[must_use]
    pub const fn makes_folder(&self) -> bool {
        matches!(
            self,
            Self::CreateWallet { .. } | Self::CreateBlockchain { .. } | Self::Join { .. }
        )
    }

    /// Whether only a running node can do it.
    #[must_use]
    pub const fn needs_running_node(&self) -> bool {
        matches!(
            self,
            Self::Unlock { .. }
                | Self::Lock
                | Self::Peers
                | Self::Chat { .. }
                | Self::Broadcast { .. }
                | Self::Sync { .. }
                | Self::Ban { .. }
                | Self::Unban { .. }
                | Self::Stop
        )
    }
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
        let Command::Client(ClientCommand::Send { from, to, amount, mine, .. }) = cli.command
        else {
            panic!("not a send")
        };
        assert_eq!(
            (from.as_str(), to.as_str(), amount.as_str(), mine),
            ("fc1abc", "fc1def", "10", true)
        );
    }

    #[test]
    fn the_chat_rooms_command_line_parses() {
        let cli = parse("people 127.0.0.1 8891 yzw").expect("parsed");
        let Command::People(people) = cli.command else { panic!("not people") };
        assert_eq!(
            (people.ip.as_str(), people.port, people.name.as_str()),
            ("127.0.0.1", 8891, "yzw")
        );
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
            "people 127.0.0.1",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
