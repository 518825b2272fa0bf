//! The help: all commands under headings, and one command with its example and its own flags.

use std::fmt::Write as _;

use clap::Command;

use super::look::{Look, lines};

/// The headings of the list of commands, with the commands below each, in order. Commands that are
/// missing here are listed at the end.
const GROUPS: [(&str, &[&str]); 4] = [
    (
        "Wallet and payments",
        &[
            "create-wallet",
            "change-passphrase",
            "recovery-phrase",
            "unlock",
            "lock",
            "list-addresses",
            "balance",
            "get-balance",
            "send",
            "payments",
            "raise-fee",
            "cancel",
            "resend",
            "note",
            "mine",
        ],
    ),
    (
        "Chain",
        &[
            "create-blockchain",
            "invite",
            "join",
            "leave-chain",
            "print-chain",
            "block",
            "mempool",
            "tx",
            "prove",
            "verify-proof",
            "verify-chain",
            "reindex",
            "accept-branch",
        ],
    ),
    (
        "Friends and chat",
        &[
            "friends",
            "accept-friend",
            "forget",
            "block-friend",
            "unblock-friend",
            "rename",
            "chat",
            "broadcast",
            "history",
        ],
    ),
    (
        "Node",
        &[
            "people",
            "start-node",
            "console",
            "status",
            "peers",
            "sync",
            "ban",
            "unban",
            "stop",
            "config",
            "backup",
            "restore",
            "observe",
        ],
    ),
];

/// The heading of commands that are in no group.
const OTHERS: &str = "Other";

/// Columns of the names in the list.
const NAME_COLUMNS: usize = 20;

/// Returns the list of all commands under headings.
pub(crate) fn overview(root: &Command) -> String {
    let width = Look::current().width;
    let mut out = String::new();
    let grouped = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    for (heading, names) in GROUPS {
        let found = names.iter().filter_map(|name| root.find_subcommand(name));
        write_group(&mut out, heading, found.collect(), width);
    }
    let shown = root.get_subcommands().filter(|command| !command.is_hide_set());
    let others = shown.filter(|command| !grouped(command.get_name()));
    write_group(&mut out, OTHERS, others.collect(), width);
    out.trim_end().to_owned()
}

fn write_group(out: &mut String, heading: &str, commands: Vec<&Command>, width: usize) {
    if commands.is_empty() {
        return;
    }
    // Writing into memory does not fail.
    let _ = writeln!(out, "{heading}:");
    for command in commands {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let mut head = format!("  {:<1$}", command.get_name(), NAME_COLUMNS.saturating_sub(2));
        for line in lines(&about, width.saturating_sub(NAME_COLUMNS)) {
            let _ = writeln!(out, "{}", format!("{head}{line}").trim_end());
            head = " ".repeat(NAME_COLUMNS);
        }
    }
    out.push('\n');
}

/// Returns the help on one command, by its name or an alias: an example first, then its own flags.
/// One line names the flags that every command has.
pub(crate) fn of_command(mut root: Command, name: &str) -> Option<String> {
    root.build();
    let command = root.find_subcommand(name)?.clone();
    let mut out = String::new();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(out, "{about}\n");
    if let Some(example) = command.get_after_help() {
        let _ = writeln!(out, "{}\n", example.to_string().trim_end());
    }
    let aliases: Vec<_> = command.get_visible_aliases().map(str::to_owned).collect();
    let mut own = command
        .mut_args(|arg| if is_everywhere(&arg) { arg.hide(true) } else { arg })
        .term_width(Look::current().width)
        .help_template("{usage-heading} {usage}\n\n{all-args}");
    let _ = writeln!(out, "{}", own.render_help().to_string().trim_end());
    if !aliases.is_empty() {
        let _ = writeln!(out, "\nAlso called: {}", aliases.join(", "));
    }
    let _ = write!(out, "\n{}", everywhere(&root));
    Some(out)
}

fn is_everywhere(arg: &clap::Arg) -> bool {
    arg.is_global_set() || arg.get_id() == "help"
}

/// Returns the line with the flags that every command has.
pub(crate) fn everywhere(root: &Command) -> String {
    let global = root.get_arguments().filter(|arg| arg.is_global_set());
    let flags: Vec<_> =
        global.filter_map(|arg| arg.get_long()).map(|flag| format!("--{flag}")).collect();
    let sentence = format!("Everywhere: {} (friendchain --help explains them)", flags.join(", "));
    lines(&sentence, Look::current().width).join("\n")
}

/// Returns the flags that every command has, each with its effect.
pub(crate) fn global_flags(mut root: Command) -> String {
    root = root.disable_help_subcommand(true).term_width(Look::current().width);
    let names: Vec<_> = root.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in names {
        root = root.mut_subcommand(name, |command| command.hide(true));
    }
    root = root.help_template("{options}");
    root.render_help().to_string().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Arg;
    use unicode_width::UnicodeWidthStr;

    use super::*;

    fn root() -> Command {
        let send = Command::new("send")
            .about("Send coins to a friend or an address, from any address of the wallet here")
            .visible_alias("pay")
            .after_help("Example:\n  friendchain send 10 yjf")
            .arg(Arg::new("amount").help("Coins"));
        Command::new("friendchain")
            .arg(Arg::new("json").long("json").global(true).help("Answer with one JSON document"))
            .subcommand(send)
            .subcommand(Command::new("status").about("Show the state of the node"))
            .subcommand(Command::new("quite-new").about("Do something"))
            .subcommand(Command::new("secret").hide(true))
    }

    #[test]
    fn commands_are_under_headings_and_fit_80_columns() {
        let look = Look { width: 80, full: false, breaks_sentences: false };
        let shown = look.with(|| overview(&root()));
        assert!(shown.starts_with("Wallet and payments:\n  send "), "{shown}");
        assert!(shown.contains("Node:\n  status ") && shown.contains("Other:\n  quite-new"));
        assert!(shown.lines().all(|line| line.width() <= 80), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn help_of_a_command_begins_with_an_example_and_ends_with_one_line_of_globals() {
        for name in ["send", "pay"] {
            let shown = of_command(root(), name).expect("known");
            let at = |text: &str| shown.find(text).unwrap_or_else(|| panic!("{text}: {shown}"));
            assert!(at("Example:") < at("Usage: friendchain send"), "{shown}");
            assert!(at("Coins") < at("Everywhere: --json"), "{shown}");
            assert!(!shown.contains("Answer with one JSON"), "{shown}");
            assert!(shown.contains("Also called: pay"), "{shown}");
        }
        assert_eq!(of_command(root(), "nonsense"), None);
    }

    #[test]
    fn the_flags_of_all_commands_are_explained_once() {
        let shown = global_flags(root());
        assert!(shown.contains("--json") && shown.contains("one JSON document"), "{shown}");
        assert!(!shown.contains("status"), "{shown}");
    }
}
