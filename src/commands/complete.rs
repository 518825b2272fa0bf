//! Completion of a word: the kind of value that fits there, and its present values.

use clap::{Arg, Command};

use crate::{
    commands::look::{is_whole_id, short_text},
    primitives::TransactionKind,
    rpc::{Client, FriendchainApiClient},
};

/// The number of newest blocks that completion offers, with their transactions.
const RECENT_BLOCKS: u32 = 20;

/// The kind of value that fits in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// One of these words.
    Words(Vec<String>),
    Friend,
    /// An address of the wallet.
    Address,
    /// A friend, or an address of the wallet.
    Payee,
    Transaction,
    Block,
    /// A peer, by name or by id.
    Peer,
    /// Anything: a number, a text, or a file.
    Anything,
}

/// Returns the kind of value for the last word. `words` do not include the program's name.
pub(crate) fn wanted(mut root: Command, words: &[String]) -> Wanted {
    root.build();
    let Some((last, before)) = words.split_last() else { return Wanted::Anything };
    let mut command = &root;
    let mut flag: Option<&Arg> = None;
    let mut positionals: usize = 0;
    for word in before {
        if flag.take().is_some() {
            continue;
        }
        if word.starts_with('-') && word.len() > 1 {
            flag = flag_of(command, word).filter(|_| !word.contains('='));
            continue;
        }
        match command.find_subcommand(word) {
            Some(found) => command = found,
            None => positionals = positionals.saturating_add(1),
        }
    }
    if let Some(flag) = flag {
        return of_argument(flag);
    }
    if last.starts_with('-') {
        let long = command.get_arguments().filter(|arg| !arg.is_hide_set());
        return Wanted::Words(
            long.filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect(),
        );
    }
    let visible = |command: &&Command| !command.is_hide_set();
    if command.has_subcommands() {
        let names = command.get_subcommands().filter(visible);
        return Wanted::Words(names.map(|command| command.get_name().to_owned()).collect());
    }
    let at = command.get_positionals().nth(positionals);
    match at.or_else(|| command.get_positionals().last()) {
        // The amount comes before the payee.
        Some(arg) if arg.get_id() == "payment" && positionals > 0 => Wanted::Payee,
        Some(arg) => of_argument(arg),
        None => Wanted::Anything,
    }
}

/// Returns the argument that a flag names, if it takes a value.
fn flag_of<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let name = word.trim_start_matches('-').split('=').next().unwrap_or_default();
    command.get_arguments().find(|arg| {
        let is_named = arg.get_long() == Some(name)
            || arg.get_visible_aliases().is_some_and(|aliases| aliases.contains(&name))
            || arg.get_short().is_some_and(|short| name == short.to_string());
        is_named && arg.get_action().takes_values()
    })
}

fn of_argument(arg: &Arg) -> Wanted {
    let values = arg.get_possible_values();
    if !values.is_empty() {
        return Wanted::Words(values.iter().map(|value| value.get_name().to_owned()).collect());
    }
    match arg.get_id().as_str() {
        "friend" | "friends" | "with" => Wanted::Friend,
        "address" | "miner" => Wanted::Address,
        "from" if arg.get_value_names().is_none_or(|names| names != ["HEIGHT"]) => Wanted::Address,
        "to" => Wanted::Payee,
        "txid" => Wanted::Transaction,
        "block" | "trust" => Wanted::Block,
        "peer" => Wanted::Peer,
        _ => Wanted::Anything,
    }
}

/// Returns the values of a kind that begin with `start`; none if the node does not answer.
pub(crate) async fn candidates(
    client: Option<&Client>,
    wanted: Wanted,
    start: &str,
) -> Vec<String> {
    let mut found = match (wanted, client) {
        (Wanted::Words(words), _) => words,
        (Wanted::Anything, _) | (_, None) => Vec::new(),
        (Wanted::Friend, Some(client)) => friends(client).await,
        (Wanted::Address, Some(client)) => addresses(client).await,
        (Wanted::Payee, Some(client)) => {
            let mut found = friends(client).await;
            found.extend(addresses(client).await);
            found
        }
        (Wanted::Transaction, Some(client)) => transactions(client).await,
        (Wanted::Block, Some(client)) => blocks(client).await,
        (Wanted::Peer, Some(client)) => peers(client).await,
    };
    // A start that is longer than a short id continues with the whole id.
    let is_beyond_short = start.len() > short_text(start).len();
    for id in &mut found {
        if !is_beyond_short && is_whole_id(id) {
            *id = short_text(id);
        }
    }
    found.retain(|candidate| candidate.starts_with(start));
    found.sort_unstable();
    found.dedup();
    found
}

async fn friends(client: &Client) -> Vec<String> {
    let list = client.friends().await.unwrap_or_default();
    list.friends.into_iter().map(|friend| friend.name).collect()
}

async fn addresses(client: &Client) -> Vec<String> {
    let list = client.list_addresses().await.unwrap_or_default();
    list.addresses.iter().map(|entry| entry.address.to_string()).collect()
}

async fn transactions(client: &Client) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(waiting) = client.mempool().await {
        found.extend(waiting.transactions.iter().map(|tx| tx.txid.to_string()));
    }
    if let Ok(page) = client.print_chain(None, Some(RECENT_BLOCKS)).await {
        let mined = page.blocks.iter().flat_map(|block| &block.transactions);
        let made = mined.filter(|tx| tx.kind != TransactionKind::Coinbase);
        found.extend(made.map(|tx| tx.txid.to_string()));
    }
    found
}

async fn blocks(client: &Client) -> Vec<String> {
    let page = client.print_chain(None, Some(RECENT_BLOCKS)).await;
    page.map(|page| page.blocks.iter().map(|block| block.hash.to_string()).collect())
        .unwrap_or_default()
}

async fn peers(client: &Client) -> Vec<String> {
    let mut found = friends(client).await;
    if let Ok(list) = client.peers().await {
        let connected = list.peers.iter().map(|peer| peer.peer_id);
        found.extend(connected.chain(list.banned).map(|peer| peer.to_string()));
    }
    found
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::commands::args::ClientCommand;

    #[derive(Debug, Parser)]
    struct Typed {
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        command: ClientCommand,
    }

    fn kind(line: &str) -> Wanted {
        use clap::CommandFactory;
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        wanted(Typed::command(), &words)
    }

    #[test]
    fn each_place_wants_its_own_kind_of_value() {
        assert_eq!(kind("chat "), Wanted::Friend);
        assert_eq!(kind("history y"), Wanted::Friend);
        assert_eq!(kind("chat yjf "), Wanted::Anything);
        assert_eq!(kind("tx 5f"), Wanted::Transaction);
        assert_eq!(kind("raise-fee --mine "), Wanted::Transaction);
        assert_eq!(kind("block "), Wanted::Block);
        assert_eq!(kind("ban "), Wanted::Peer);
        assert_eq!(kind("send --from "), Wanted::Address);
        assert_eq!(kind("send --from fc1 --to "), Wanted::Payee);
        assert_eq!(kind("get-balance --address "), Wanted::Address);
        assert_eq!(kind("print-chain --from "), Wanted::Anything);
        assert_eq!((kind("send "), kind("send 10 y")), (Wanted::Anything, Wanted::Payee));
        assert_eq!(kind("prove 5f0c -o "), Wanted::Anything);
    }

    #[test]
    fn commands_and_flags_are_words() {
        let Wanted::Words(commands) = kind("pri") else { panic!("words") };
        assert!(commands.contains(&"print-chain".to_owned()), "{commands:?}");
        let Wanted::Words(flags) = kind("print-chain --") else { panic!("words") };
        for flag in ["--limit", "--from", "--json"] {
            assert!(flags.contains(&flag.to_owned()), "{flag} in {flags:?}");
        }
    }

    #[tokio::test]
    async fn without_a_node_only_words_are_offered_and_nothing_fails() {
        let words = Wanted::Words(vec!["status".to_owned(), "stop".to_owned()]);
        assert_eq!(candidates(None, words, "sta").await, ["status"]);
        assert_eq!(candidates(None, Wanted::Friend, "").await, Vec::<String>::new());
        let deaf = Client::local(jsonrpsee::RpcModule::new(()));
        assert_eq!(candidates(Some(&deaf), Wanted::Peer, "").await, Vec::<String>::new());
    }
}
