//! Parses typed lines: the chat room's ten words, and all commands by their own names.

use clap::{Parser, error::ErrorKind};

use crate::{
    commands::{
        args::ClientCommand,
        environment,
        help::{of_command, overview},
        prepare::prepare,
        suggest::nearest,
    },
    primitives::printable,
};

/// The help on a word of the chat room.
struct Tip {
    word: &'static str,
    does: &'static str,
    /// The form of the word's arguments, and an example.
    usage: Option<(&'static str, &'static str)>,
}

const TIPS: [Tip; 10] = [
    Tip { word: "b", does: "launch mining.", usage: Some(("b <data>", "b GoodMorning!")) },
    Tip {
        word: "c",
        does: "chat to one.",
        usage: Some(("c <friend> <data>", "c yzw GoodMorning!")),
    },
    Tip { word: "ca", does: "chat to all.", usage: Some(("ca <data>", "ca GoodMorning!")) },
    Tip { word: "h", does: "show helps.", usage: None },
    Tip { word: "la", does: "list account.", usage: None },
    Tip { word: "lb", does: "list block chain.", usage: None },
    Tip { word: "lf", does: "list friends.", usage: None },
    Tip { word: "ln", does: "list node.", usage: None },
    Tip { word: "sync", does: "sync block chain.", usage: Some(("sync [friend]", "sync yzw")) },
    Tip { word: "q", does: "quit.", usage: None },
];

/// A parsed line.
#[derive(Debug)]
pub(crate) enum Line {
    Empty,
    /// `b`: write a note on the chain, and mine.
    Note(String),
    /// `c`: chat to one friend.
    Chat {
        friend: String,
        text: String,
    },
    /// `ca`: chat to all friends.
    ChatAll(String),
    Help,
    /// `la`: addresses and balances.
    Account,
    /// `lb`: the latest blocks.
    Blocks,
    /// `lf`: the list of friends.
    Friends,
    /// `ln`: the state of the node.
    Node,
    Quit,
    /// A command by its own name. `json` asks for an answer in JSON.
    Command {
        command: Box<ClientCommand>,
        json: bool,
        /// True to show ids and columns in full.
        full: bool,
    },
    /// A text to show: help on a command, or the reason why a line could not be parsed.
    Show(String),
}

/// The clap parser of a console line. It has no program name and no command that starts a node.
#[derive(Debug, Parser)]
#[command(name = "", no_binary_name = true, disable_version_flag = true)]
struct TypedCommand {
    /// Answer with one JSON document
    #[arg(long, global = true)]
    json: bool,
    /// Show ids and columns in full
    #[arg(long, global = true)]
    full: bool,
    #[command(subcommand)]
    command: ClientCommand,
}

/// Parses a typed line. The data of `b`, `c` and `ca` is the rest of the line, unchanged.
pub(crate) fn parse(line: &str) -> Line {
    let line = line.trim_end_matches(['\n', '\r']).trim_start();
    let (word, rest) = split_word(line);
    let alone = |parsed: Line| if rest.trim().is_empty() { parsed } else { wrong_usage(word) };
    match word {
        "" => Line::Empty,
        "b" => with_data(word, rest, Line::Note),
        "ca" => with_data(word, rest, Line::ChatAll),
        "c" => {
            let (friend, text) = split_word(rest.trim_start());
            if friend.is_empty() {
                return wrong_usage(word);
            }
            with_data(word, text, |text| Line::Chat { friend: friend.to_owned(), text })
        }
        "h" | "?" => alone(Line::Help),
        "la" => alone(Line::Account),
        "lb" => alone(Line::Blocks),
        "lf" => alone(Line::Friends),
        "ln" => alone(Line::Node),
        "q" | "quit" | "exit" => alone(Line::Quit),
        _ => parse_command(line),
    }
}

/// Splits a line at its first white-space character.
fn split_word(line: &str) -> (&str, &str) {
    line.split_once(char::is_whitespace).unwrap_or((line, ""))
}

fn with_data(word: &str, data: &str, line: impl FnOnce(String) -> Line) -> Line {
    if data.trim().is_empty() { wrong_usage(word) } else { line(data.to_owned()) }
}

fn wrong_usage(word: &str) -> Line {
    let usage = TIPS.iter().find(|tip| tip.word == word).and_then(|tip| tip.usage);
    Line::Show(match usage {
        Some((usage, example)) => format!("usage: {usage}  eg: {example}"),
        None => format!("usage: {word}"),
    })
}

fn parse_command(line: &str) -> Line {
    let words = match split_shell_words(line) {
        Ok(words) => words,
        Err(open) => {
            return Line::Show(format!(
                "a quote {open} is open: close it, or double it away with \\{open}"
            ));
        }
    };
    let known = words
        .first()
        .is_some_and(|word| is_command(word) || word == "help" || word.starts_with('-'));
    if !known {
        let word = words.first().cloned().unwrap_or_default();
        let names = command_names();
        let meant = nearest(&word, names.iter().map(String::as_str));
        let meant = meant.map(|name| format!("did you mean {name}? ")).unwrap_or_default();
        return Line::Show(format!(
            "'{}' is no command here: {meant}h shows the chat room's words, help all commands",
            printable(&word)
        ));
    }
    let named = words.iter().find(|word| *word != "help" && !word.starts_with('-')).cloned();
    let words = prepare(words.into_iter().map(Into::into).collect());
    match environment::parse::<TypedCommand>(words).map(|(typed, _)| typed) {
        Ok(TypedCommand { json, full, command }) => {
            Line::Command { command: Box::new(command), json, full }
        }
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Line::Show(help_on(named)),
        Err(error) => Line::Show(error.to_string().trim_end().to_owned()),
    }
}

/// Returns the help on a command, or the list of all.
fn help_on(named: Option<String>) -> String {
    let root = <TypedCommand as clap::CommandFactory>::command;
    named.and_then(|name| of_command(root(), &name)).unwrap_or_else(|| overview(&root()))
}

/// Returns the names of all commands, for completion.
pub(crate) fn command_names() -> Vec<String> {
    use clap::CommandFactory;
    TypedCommand::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

fn is_command(word: &str) -> bool {
    use clap::CommandFactory;
    TypedCommand::command().get_subcommands().any(|command| {
        command.get_name() == word || command.get_all_aliases().any(|alias| alias == word)
    })
}

/// Returns the chat room's words, for completion.
pub(crate) fn chat_words() -> impl Iterator<Item = &'static str> {
    TIPS.iter().map(|tip| tip.word)
}

/// Returns the text of `h`: the seed's help, corrected.
pub(crate) fn help() -> String {
    let mut lines = String::new();
    for tip in &TIPS {
        let usage = match tip.usage {
            Some((usage, example)) => format!("  usage: {usage}  eg: {example}"),
            None => String::new(),
        };
        let line = format!("{:<5} {:<18}{usage}", tip.word, tip.does);
        lines.push_str(line.trim_end());
        lines.push('\n');
    }
    lines.push_str("Every command works here too, by its own name: help lists them.");
    lines
}

/// Splits a line into words as a shell does. White space separates words, and quotes keep it. A
/// backslash escapes the next character, except in single quotes.
///
/// # Errors
/// The quote that is still open at the end of the line.
fn split_shell_words(line: &str) -> Result<Vec<String>, char> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None | Some('"'), '\\') => {
                word.get_or_insert_default().push(characters.next().unwrap_or('\\'));
            }
            (None, '"' | '\'') => {
                quote = Some(character);
                // An empty pair of quotes is a word too.
                word.get_or_insert_default();
            }
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    match quote {
        Some(open) => Err(open),
        None => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(line: &str) -> String {
        match parse(line) {
            Line::Show(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_data_is_the_rest_of_the_line_as_it_stands() {
        assert!(matches!(parse("b GoodMorning!"), Line::Note(text) if text == "GoodMorning!"));
        assert!(matches!(
            parse("  ca \"two\"  words \n"),
            Line::ChatAll(text) if text == "\"two\"  words "
        ));
        let Line::Chat { friend, text } = parse("c yjf Good morning to you") else {
            panic!("not a chat")
        };
        assert_eq!((friend.as_str(), text.as_str()), ("yjf", "Good morning to you"));
        let Line::Chat { friend, text } = parse("c 李雷#3f2a  it's") else {
            panic!("not a chat")
        };
        assert_eq!((friend.as_str(), text.as_str()), ("李雷#3f2a", " it's"));
    }

    #[test]
    fn words_without_data_are_what_they_are() {
        assert!(matches!(parse(""), Line::Empty));
        assert!(matches!(parse("h"), Line::Help));
        assert!(matches!(parse("la "), Line::Account));
        assert!(matches!(parse("lb"), Line::Blocks));
        assert!(matches!(parse("lf"), Line::Friends));
        assert!(matches!(parse("ln"), Line::Node));
        assert!(matches!(parse("q\n"), Line::Quit));
    }

    #[test]
    fn wrong_usage_is_an_answer() {
        assert_eq!(said("b"), "usage: b <data>  eg: b GoodMorning!");
        assert_eq!(said("c yjf"), "usage: c <friend> <data>  eg: c yzw GoodMorning!");
        assert_eq!(said("c"), said("c yjf "));
        assert_eq!(said("la now"), "usage: la");
        assert!(said("nonsense").contains("'nonsense'"));
        assert!(said("send --from a").contains("AMOUNT"));
        assert!(said("note 'open").contains('\''));
        assert!(said("sync a b").contains("Usage"));
    }

    #[test]
    fn every_command_works_by_its_own_name() {
        let Line::Command { command, json, .. } = parse("send -from a -to 'b c' -amount 10 --json")
        else {
            panic!("not sent")
        };
        assert!(json);
        let ClientCommand::Send(sent) = *command else { panic!("not sent") };
        let (amount, to) = sent.amount_and_recipient().expect("both");
        assert_eq!((amount.as_str(), to.as_str()), ("10", "b c"));
        assert!(matches!(parse("getbalance -address a"), Line::Command { .. }));
        let Line::Command { command, .. } = parse("prove ab -o 'a file'") else {
            panic!("not prove")
        };
        assert!(matches!(
            *command,
            ClientCommand::Prove { output: Some(file), .. } if file.ends_with("a file")
        ));
        assert!(matches!(parse("verify-proof tea.proof --trust ab"), Line::Command { .. }));
        assert!(matches!(parse("accept-branch ab"), Line::Command { .. }));
        let Line::Command { command, .. } = parse("sync") else { panic!("not sync") };
        assert!(matches!(*command, ClientCommand::Sync { friend: None }));
        assert!(said("help").contains("create-wallet"));
        assert!(said("help send").contains("--amount"));
    }

    #[test]
    fn help_shows_all_ten_words() {
        let help = help();
        for word in chat_words() {
            assert!(
                help.lines().any(|line| line.split_whitespace().next() == Some(word)),
                "{word}"
            );
        }
    }

    #[test]
    fn words_split_as_in_a_shell() {
        let split = |line| split_shell_words(line).expect("closed");
        assert_eq!(split(r#"a "b c" 'd "e' f\ g """#), ["a", "b c", "d \"e", "f g", ""]);
        assert_eq!(split_shell_words("it's"), Err('\''));
    }

    proptest! {
        #[test]
        fn no_line_is_fatal(line in any::<String>()) {
            let _ = parse(&line);
        }
    }
}
