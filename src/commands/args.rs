//! The commands that a node answers, with their flags, help and examples.
//!
//! Values with a format of their own (addresses, amounts, hashes) stay text here. The command that
//! uses a value parses it, and rejects a wrong one with a sentence.

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub(crate) use super::payment_args::{ChangePassphraseArgs, PaymentsArgs, SendArgs};

/// The flag that names the wallet's passphrase.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PassphraseFlag {
    /// A file that holds the wallet's passphrase
    #[arg(long, env = "FRIENDCHAIN_PASSPHRASE_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// The commands that a node answers: on the shell's command line, and in the console.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Create a wallet, or add an address to it
    #[command(
        visible_alias = "createwallet",
        after_help = "Example:\n  friendchain create-wallet\n  friendchain create-wallet \
             --recover < words.txt"
    )]
    CreateWallet {
        /// Restore a wallet from its recovery phrase (typed, or from standard input), with every
        /// address that ever had coins
        #[arg(long)]
        recover: bool,
        #[command(flatten)]
        passphrase: PassphraseFlag,
    },
    /// Show the wallet's recovery phrase, on a terminal only
    #[command(after_help = "Example:\n  friendchain recovery-phrase")]
    RecoveryPhrase {
        #[command(flatten)]
        passphrase: PassphraseFlag,
    },
    /// Unlock the running node's wallet
    #[command(after_help = "Example:\n  friendchain unlock --for 600 --passphrase-file secret.txt")]
    Unlock {
        /// Lock the wallet again after this many seconds
        #[arg(
            long = "for",
            value_name = "SECS",
            value_parser = clap::value_parser!(u64).range(1..=MAX_SECONDS)
        )]
        seconds: Option<u64>,
        #[command(flatten)]
        passphrase: PassphraseFlag,
    },
    /// Set, change or remove the wallet's passphrase, typed on a terminal
    #[command(after_help = "Example:\n  friendchain change-passphrase\n  friendchain \
             change-passphrase --old-file old.txt --new-file new.txt")]
    ChangePassphrase(ChangePassphraseArgs),
    /// Lock the running node's wallet
    #[command(after_help = "Example:\n  friendchain lock")]
    Lock,
    /// List the wallet's addresses, oldest first
    #[command(
        visible_alias = "listaddresses",
        after_help = "Example:\n  friendchain list-addresses"
    )]
    ListAddresses,
    /// Create a new chain
    #[command(
        visible_alias = "createblockchain",
        after_help = "Example:\n  friendchain create-blockchain --address fc1… --name club \
             --spacing 10 --bits 22"
    )]
    CreateBlockchain(CreateBlockchainArgs),
    /// Print an invite, a text that lets a friend join this chain
    #[command(after_help = "Example:\n  friendchain invite")]
    Invite,
    /// Join an invite's chain, and on a terminal open a console
    #[command(after_help = "Example:\n  friendchain join friendchain:…")]
    Join {
        /// The text that `invite` printed, in one or several rows
        #[arg(required = true)]
        invite: Vec<String>,
    },
    /// Leave the chain; wallet and friends stay, and a backup of the chain is kept
    #[command(after_help = "Example:\n  friendchain leave-chain")]
    LeaveChain,
    /// Show the balance of the whole wallet
    #[command(after_help = "Example:\n  friendchain balance")]
    Balance,
    /// List the wallet's payments, newest first
    #[command(
        after_help = "Example:\n  friendchain payments --with yjf\n  friendchain payments --csv \
             > payments.csv"
    )]
    Payments(PaymentsArgs),
    /// Show the balance of an address
    #[command(
        visible_alias = "getbalance",
        after_help = "Example:\n  friendchain get-balance --address fc1…"
    )]
    GetBalance {
        /// The address to look up, or a friend's name
        #[arg(long)]
        address: String,
    },
    /// Send coins to a friend or an address
    #[command(
        after_help = "Example:\n  friendchain send 10 yjf --memo 'for the tea'\n  friendchain \
             send --from fc1… --to yjf --amount 10 --fee auto --mine"
    )]
    Send(SendArgs),
    /// Replace a waiting trade of yours by the same trade with a higher fee
    #[command(after_help = "Example:\n  friendchain raise-fee 5f0c… --fee 0.00002")]
    RaiseFee(RaiseFeeArgs),
    /// Take a waiting trade of yours back: its coins return to your wallet
    #[command(after_help = "Example:\n  friendchain cancel 5f0c…")]
    Cancel(CancelArgs),
    /// Send a void trade of yours again, without paying twice
    #[command(after_help = "Example:\n  friendchain resend 5f0c…")]
    Resend(ResendArgs),
    /// Write a text on the chain
    #[command(after_help = "Example:\n  friendchain note Good morning! --wait")]
    Note {
        /// The text to write
        #[arg(required = true, num_args = 1..)]
        text: Vec<String>,
        /// Wait until the note is mined, by any node
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        passphrase: PassphraseFlag,
    },
    /// Mine blocks now, even if nothing waits to be mined
    #[command(after_help = "Example:\n  friendchain mine 3")]
    Mine {
        /// Number of blocks
        #[arg(default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
        /// The receiver of the rewards: an address or a friend [default: the wallet's first
        /// address]
        #[arg(long, value_name = "ADDRESS")]
        to: Option<String>,
    },
    /// Print the chain's blocks, newest first
    #[command(
        visible_alias = "printchain",
        after_help = "Example:\n  friendchain print-chain --limit 5"
    )]
    PrintChain {
        /// Maximum number of blocks; 0: all
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
        /// Height of the first block printed [default: the newest]
        #[arg(long, value_name = "HEIGHT")]
        from: Option<u32>,
    },
    /// Show one block
    #[command(after_help = "Example:\n  friendchain block 0")]
    Block {
        /// The block's height, its hash, or at least 4 digits that the hash begins with
        #[arg(value_name = "HASH|HEIGHT")]
        block: String,
    },
    /// List the trades and notes that wait to be mined
    #[command(after_help = "Example:\n  friendchain mempool")]
    Mempool,
    /// Show a trade or note and its state
    #[command(after_help = "Example:\n  friendchain tx 5f0c…")]
    Tx {
        /// The id of the trade or note
        txid: String,
    },
    /// Check all blocks, from the first one on
    #[command(after_help = "Example:\n  friendchain verify-chain")]
    VerifyChain,
    /// Rebuild coins and indexes from the blocks, and report whether they agree
    #[command(visible_alias = "reindexutxo", after_help = "Example:\n  friendchain reindex")]
    Reindex,
    /// Switch to the other branch of a diverged chain
    #[command(after_help = "Example:\n  friendchain accept-branch 00a1…")]
    AcceptBranch {
        /// A block of that branch: `status` shows the last one
        #[arg(value_name = "HASH")]
        block: String,
    },
    /// Create a proof that a trade or note is in a block
    #[command(after_help = "Example:\n  friendchain prove 5f0c… -o tea.proof")]
    Prove {
        /// The id of the trade or note
        txid: String,
        /// The file to write the proof to [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Check a proof, by the chain here or by a block that you trust
    #[command(
        after_help = "Example:\n  friendchain verify-proof tea.proof\n  friendchain verify-proof \
             tea.proof --trust 00a1…"
    )]
    VerifyProof {
        /// The file that `prove` wrote; - is standard input
        file: PathBuf,
        /// The hash of a block that somebody you trust has confirmed; needed if the chain here
        /// lacks the proof's block
        #[arg(long, value_name = "BLOCK")]
        trust: Option<String>,
    },
    /// Show the state of the node
    #[command(after_help = "Example:\n  friendchain status --json")]
    Status,
    /// List connections, with scores
    #[command(after_help = "Example:\n  friendchain peers")]
    Peers,
    /// List friends, online or not
    #[command(after_help = "Example:\n  friendchain friends")]
    Friends,
    /// Make people friends, who are then trusted; `ban` reverses it
    #[command(after_help = "Example:\n  friendchain accept-friend yjf#3f2a sr xzq")]
    AcceptFriend {
        /// Names, names with an id suffix (yzw#3f2a), or peer ids
        #[arg(required = true, value_name = "FRIEND")]
        friends: Vec<String>,
    },
    /// Forget a friend; the chat stays, and the peer may come back as a stranger
    #[command(after_help = "Example:\n  friendchain forget yzw#d278")]
    Forget {
        /// A name, a name with an id suffix (yzw#3f2a), or a peer id
        friend: String,
    },
    /// Shut somebody out: no lines, no profile, no connection
    #[command(after_help = "Example:\n  friendchain block-friend yzw#d278")]
    BlockFriend {
        /// A name, a name with an id suffix (yzw#3f2a), or a peer id
        friend: String,
    },
    /// Lift a block; a former friend is a friend again
    #[command(after_help = "Example:\n  friendchain unblock-friend yzw#d278")]
    UnblockFriend {
        /// A name, a name with an id suffix (yzw#3f2a), or a peer id
        friend: String,
    },
    /// Change your own name; connected friends see it at once
    #[command(after_help = "Example:\n  friendchain rename Zoë")]
    Rename {
        /// The new name, at most 32 characters
        name: String,
    },
    /// Send a chat line to one friend
    #[command(after_help = "Example:\n  friendchain chat yjf Good morning to you")]
    Chat {
        /// A name, a name with an id suffix (yzw#3f2a), or a peer id
        friend: String,
        /// The line to send
        #[arg(required = true, num_args = 1..)]
        text: Vec<String>,
        /// Wait up to a minute until the friend has the line; exit code 1 if it still waits then
        #[arg(long)]
        wait: bool,
    },
    /// Send a chat line to all friends
    #[command(after_help = "Example:\n  friendchain broadcast Good morning!")]
    Broadcast {
        /// The line to send
        #[arg(required = true, num_args = 1..)]
        text: Vec<String>,
    },
    /// Show past chat
    #[command(after_help = "Example:\n  friendchain history yjf --search tea --limit 20")]
    History {
        /// Only the chat with this friend [default: all chat]
        friend: Option<String>,
        /// Maximum number of lines [default: 100]
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
        /// Only lines that hold this text, in capital or small letters
        #[arg(long, value_name = "WORD")]
        search: Option<String>,
        /// Lines of people who are no friends, instead of the chat
        #[arg(long, conflicts_with = "friend")]
        requests: bool,
    },
    /// Fetch what is new from friends now, and wait until all of it is here
    #[command(after_help = "Example:\n  friendchain sync yzw")]
    Sync {
        /// The friend to ask [default: all friends]
        friend: Option<String>,
    },
    /// Shut a peer out from now on
    #[command(after_help = "Example:\n  friendchain ban 12D3KooW…")]
    Ban {
        /// A name, a peer id, or at least 4 characters that the id begins with
        peer: String,
    },
    /// Lift a ban
    #[command(after_help = "Example:\n  friendchain unban 12D3KooW…")]
    Unban {
        /// A name, a peer id, or at least 4 characters that the id begins with
        peer: String,
    },
    /// Save wallet, identity, chat and settings to one file, even while a node runs
    #[command(after_help = "Example:\n  friendchain backup friendchain-2026-11.backup")]
    Backup {
        /// The file to make; an existing file is not replaced
        file: PathBuf,
    },
    /// Restore a backup into an empty folder
    #[command(
        after_help = "Example:\n  friendchain --node-id new restore friendchain-2026-11.backup"
    )]
    Restore {
        /// The file that `backup` made
        file: PathBuf,
    },
    /// Show the settings and their origin, or set one for the next start
    #[command(
        arg_required_else_help = true,
        after_help = "Example:\n  friendchain config show\n  friendchain config set mine on-demand"
    )]
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Stop the running node cleanly
    #[command(after_help = "Example:\n  friendchain stop")]
    Stop,
}

/// The subcommands of `config`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ConfigAction {
    /// List all settings, with the origin of each
    #[command(after_help = "Example:\n  friendchain config show --json")]
    Show,
    /// Set a value in friendchain.toml, for the next start
    #[command(
        after_help = "Example:\n  friendchain config set port 9000\n  friendchain config set \
             peers 192.168.1.7:8891,192.168.1.8:8891"
    )]
    Set {
        /// The setting, as `config show` calls it
        key: String,
        /// The value; an empty one ('') removes the setting from the file
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
}

/// Seconds in a year: the longest spacing, and the longest time that a wallet stays unlocked.
const MAX_SECONDS: u64 = 31_536_000;

/// Arguments of `create-blockchain`.
#[derive(Debug, Args)]
pub(crate) struct CreateBlockchainArgs {
    /// The address that gets the first block's reward
    #[arg(long)]
    pub(crate) address: String,
    /// The chain's name, at most 32 bytes
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Seconds between blocks; 0: as fast as they are found [default: 10]
    #[arg(
        long,
        value_name = "SECS",
        value_parser = clap::value_parser!(u64).range(0..=MAX_SECONDS)
    )]
    pub(crate) spacing: Option<u64>,
    /// Minimum difficulty of a block, in leading zero bits, 8 to 40 [default: 22]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(8..=40))]
    pub(crate) bits: Option<u8>,
}

/// Arguments of `raise-fee`.
#[derive(Debug, Args)]
pub(crate) struct RaiseFeeArgs {
    /// The trade's id, as `send` and `mempool` show it
    pub(crate) txid: String,
    /// Coins for the miner, instead of the current fee; auto: enough for the next block
    #[arg(long, allow_hyphen_values = true, value_name = "COINS|auto")]
    pub(crate) fee: String,
    /// Pay a fee that is much too large for the amount, and void later payments that spend the
    /// change
    #[arg(long)]
    pub(crate) force: bool,
    /// Mine here too, with the reward to the sender, and wait until any node has mined the trade
    #[arg(long)]
    pub(crate) mine: bool,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseFlag,
}

/// Arguments of `cancel`.
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// The trade's id, as `send` and `mempool` show it
    pub(crate) txid: String,
    /// Coins for the miner [default: the least fee that replaces the trade]
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) fee: Option<String>,
    /// Void later payments that spend the change
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseFlag,
}

/// Arguments of `resend`.
#[derive(Debug, Args)]
pub(crate) struct ResendArgs {
    /// The id of the void trade
    pub(crate) txid: String,
    /// Coins for the miner, if a new trade is made; auto: enough for the next block [default: 0]
    #[arg(long, allow_hyphen_values = true, value_name = "COINS|auto")]
    pub(crate) fee: Option<String>,
    /// Send even if the old trade and the new one could both be mined
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseFlag,
}

impl ClientCommand {
    /// True if the command creates the data folder if there is none.
    pub(crate) const fn makes_folder(&self) -> bool {
        matches!(self, Self::CreateWallet { .. } | Self::CreateBlockchain(_) | Self::Join { .. })
    }

    /// True if only a running node can answer.
    pub(crate) const fn needs_running_node(&self) -> bool {
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
