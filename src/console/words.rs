//! Parses typed lines: the chat room's ten words, all commands by their own names, and text.

use clap::{Parser, error::ErrorKind};

use crate::{
    commands::{
        args::ClientCommand,
        environment,
        help::{of_command, overview},
        prepare::prepare,
    },
    primitives::{PeerId, misspelt, printable},
};

/// The help on a word of the chat room.
struct Tip {
    word: &'static str,
    does: &'static str,
    /// The form of the word's arguments, and an example.
    usage: Option<(&'static str, &'static str)>,
}

const TIPS: [Tip; 10] = [
    Tip { word: "b", does: "note and mining.", usage: Some(("b <data>", "b GoodMorning!")) },
    Tip {
        word: "c",
        does: "chat to one.",
        usage: Some(("c <friend> <data>", "c yzw GoodMorning!")),
    },
    Tip { word: "ca", does: "chat to all.", usage: Some(("ca <data>", "ca GoodMorning!")) },
    Tip { word: "h", does: "show help.", usage: None },
    Tip { word: "la", does: "list account.", usage: None },
    Tip { word: "lb", does: "list block chain.", usage: None },
    Tip { word: "lf", does: "list friends.", usage: None },
    Tip { word: "ln", does: "list node.", usage: None },
    Tip { word: "sync", does: "sync block chain.", usage: Some(("sync [friend]", "sync yzw")) },
    Tip { word: "q", does: "quit.", usage: None },
];

/// The program's name, which a line from a shell begins with.
const PROGRAM: &str = "friendchain";

/// The current conversation, which receives the lines that are no commands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Talk {
    /// No conversation is chosen yet.
    #[default]
    Nobody,
    Everybody,
    Friend {
        /// The name as typed.
        name: String,
        peer: PeerId,
    },
}

impl Talk {
    /// Returns the line that sends `text` to this conversation.
    fn say(&self, text: &str) -> Line {
        match self {
            Self::Nobody => Line::Show(format!(
                "nobody is chosen to talk to: {CHOOSE}; then a line that is no command goes there"
            )),
            Self::Everybody => Line::ChatAll(text.to_owned()),
            Self::Friend { name, peer } => {
                Line::Chat { friend: name.clone(), peer: Some(*peer), text: text.to_owned() }
            }
        }
    }

    /// Returns the conversation's name in the prompt.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Nobody => None,
            Self::Everybody => Some("everybody"),
            Self::Friend { name, .. } => Some(name),
        }
    }
}

/// The help on choosing a conversation.
const CHOOSE: &str = "c NAME chooses a friend, ca everybody";

/// A parsed line.
#[derive(Debug)]
pub(crate) enum Line {
    Empty,
    /// `b`: write a note on the chain, and mine.
    Note(String),
    /// `c`, or a text in the conversation with one friend.
    Chat {
        friend: String,
        /// `None` if only the name is known.
        peer: Option<PeerId>,
        text: String,
    },
    /// `ca`, or a text in the conversation with everybody.
    ChatAll(String),
    /// `c` without data: choose the conversation with a friend.
    ChooseFriend(String),
    /// `ca` without data: choose the conversation with everybody.
    ChooseAll,
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
///
/// A line that begins with a space is text for the conversation `talk`, and one that begins with a
/// slash is a command. Otherwise its first word decides.
pub(crate) fn parse(line: &str, talk: &Talk) -> Line {
    let line = line.trim_end_matches(['\n', '\r']);
    if line.trim().is_empty() {
        return Line::Empty;
    }
    if let Some(command) = line.strip_prefix('/') {
        return parse_command(command.trim_start(), talk)
            .unwrap_or_else(|| no_command(command, &Talk::Nobody));
    }
    if let Some(text) = line.strip_prefix(char::is_whitespace) {
        return talk.say(text);
    }
    if let Some(parsed) = parse_command(line, talk) {
        return parsed;
    }
    let is_word = !line.trim().contains(char::is_whitespace);
    if is_word && *talk != Talk::Nobody && is_unsent_part(line.trim()) {
        return Line::Show(
            "that looks like a part of an invite, and was not sent: join with the whole invite, \
             or type a space first to send it"
                .to_owned(),
        );
    }
    match nearest_word(line.trim()).filter(|_| is_word) {
        Some(near) => ask(line.trim(), &near, talk),
        None if *talk == Talk::Nobody => no_command(line, talk),
        None => talk.say(line),
    }
}

/// The shortest text that is taken for a part of an invite, in characters: longer than most words,
/// and shorter than a row of a narrow terminal.
const INVITE_PART: usize = 32;

/// True if a word may be a part of an invite's letters.
pub(super) fn is_invite_part(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
}

/// True for a long word in which capital and small letters and digits are mixed, as in an invite.
fn is_unsent_part(word: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| word.bytes().any(|c| kind(&c));
    word.len() >= INVITE_PART
        && is_invite_part(word)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
}

/// True for a word of the chat room and for a command.
pub(super) fn is_known_word(word: &str) -> bool {
    let others = ["?", "quit", "exit", "help", "y", "n", "yes", "no"];
    TIPS.iter().any(|tip| tip.word == word) || others.contains(&word) || is_command(word)
}

/// Returns the word or command that is nearest to a mistyped one.
fn nearest_word(typed: &str) -> Option<String> {
    misspelt(typed, all_words().iter().map(String::as_str)).map(str::to_owned)
}

/// Returns the question about a word that is nearly a command.
fn ask(word: &str, near: &str, talk: &Talk) -> Line {
    let word = printable(word);
    Line::Show(match talk.name() {
        None => format!("'{word}' is no command: did you mean {near}?"),
        Some(name) => format!(
            "'{word}' is no command, and was not sent: did you mean {near}? To say it to {name}, \
             type a space first"
        ),
    })
}

/// Returns the answer to a line that is neither a command nor text for anybody.
fn no_command(line: &str, talk: &Talk) -> Line {
    let word = printable(split_word(line).0);
    let (first, rest) = split_word(line);
    if first == PROGRAM && is_known_word(split_word(rest.trim_start()).0) {
        return Line::Show(format!("type it without {PROGRAM}: {}", printable(rest.trim())));
    }
    let near = nearest_word(first).map(|near| format!("did you mean {near}? "));
    let near = near.unwrap_or_default();
    let choose = if *talk == Talk::Nobody { format!("; to talk, {CHOOSE}") } else { String::new() };
    Line::Show(format!(
        "'{word}' is no command here: {near}h shows the chat room's words, help all \
         commands{choose}"
    ))
}

/// Parses a line whose first word is a command. Returns `None` for another line.
fn parse_command(line: &str, talk: &Talk) -> Option<Line> {
    let (word, rest) = split_word(line);
    let alone = |parsed: Line| if rest.trim().is_empty() { parsed } else { wrong_usage(word) };
    Some(match word {
        "b" => with_data(word, rest, Line::Note),
        "ca" if rest.trim().is_empty() => Line::ChooseAll,
        "ca" => Line::ChatAll(rest.to_owned()),
        "c" => {
            let (friend, text) = split_word(rest.trim_start());
            match (friend, text.trim()) {
                ("", _) => wrong_usage(word),
                (friend, "") => Line::ChooseFriend(friend.to_owned()),
                _ => Line::Chat { friend: friend.to_owned(), peer: None, text: text.to_owned() },
            }
        }
        "h" | "?" => alone(Line::Help),
        // With flags, the word stands for the command that has them.
        _ if rest.trim_start().starts_with("--") && of_word(word).is_some() => {
            parse_long(&format!("{} {rest}", of_word(word).unwrap_or_default()))
        }
        "la" => alone(Line::Account),
        "lb" => alone(Line::Blocks),
        "lf" => alone(Line::Friends),
        "ln" => alone(Line::Node),
        "q" | "quit" | "exit" => alone(Line::Quit),
        _ if is_command(word) || word == "help" || word.starts_with("--") => {
            match parse_long(line) {
                Line::Show(refusal) if talk.name().is_some() && word != "help" => {
                    Line::Show(format!("{refusal}\nTo say it instead, type a space first."))
                }
                parsed => parsed,
            }
        }
        _ => return None,
    })
}

/// Returns the command that answers like a word of the chat room.
fn of_word(word: &str) -> Option<&'static str> {
    Some(match word {
        "la" => "list-addresses",
        "lb" => "print-chain",
        "lf" => "friends",
        "ln" => "status",
        _ => return None,
    })
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

/// Parses a command by its own name, like the shell's command line.
fn parse_long(line: &str) -> Line {
    let words = match split_shell_words(line) {
        Ok(words) => words,
        Err(open) => {
            return Line::Show(format!(
                "a quote {open} is open: close it, or write \\{open} for the sign itself"
            ));
        }
    };
    let named = words.iter().find(|word| *word != "help" && !word.starts_with('-')).cloned();
    let words = prepare(words.into_iter().map(Into::into).collect());
    match environment::parse::<TypedCommand>(words).map(|(typed, _)| typed) {
        Ok(TypedCommand { json, full, command }) => match command {
            // The chat room's words mean the same.
            ClientCommand::Chat { friend, text, wait: false } if !json => {
                Line::Chat { friend, peer: None, text: text.join(" ") }
            }
            ClientCommand::Broadcast { text } if !json => Line::ChatAll(text.join(" ")),
            command => match wrong_words(&command) {
                Some(refusal) => Line::Show(refusal),
                None => Line::Command { command: Box::new(command), json, full },
            },
        },
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Line::Show(help_on(named)),
        Err(error) => Line::Show(usage_of(&error, named.as_deref())),
    }
}

/// Returns the refusal of a `send` with too many words, which may be a text.
fn wrong_words(command: &ClientCommand) -> Option<String> {
    let ClientCommand::Send(send) = command else { return None };
    send.amount_and_recipient().err().map(|error| error.to_string())
}

/// Returns the sentence on wrong usage, with the command that shows more in a console.
fn usage_of(error: &clap::Error, named: Option<&str>) -> String {
    let text = error.to_string();
    let text = text.trim_end().trim_end_matches("For more information, try '--help'.").trim_end();
    match named.filter(|name| is_command(name)) {
        Some(name) => format!("{text}\n\nhelp {name} shows more."),
        None => text.to_owned(),
    }
}

/// Returns the help on a command, or the list of all, without the program's name.
fn help_on(named: Option<String>) -> String {
    let help = named.and_then(|name| of_command(commands(), &name));
    help.map_or_else(
        || overview(&commands()),
        |help| help.replace("  friendchain ", "  ").replace("Usage:  ", "Usage: "),
    )
}

/// Returns the names of all commands and words.
pub(crate) fn all_words() -> Vec<String> {
    let commands = commands();
    let mut words: Vec<_> =
        commands.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    words.extend(TIPS.iter().map(|tip| tip.word.to_owned()));
    words.push("help".to_owned());
    words.sort_unstable();
    words.dedup();
    words
}

/// Returns the commands as a console accepts them.
pub(super) fn commands() -> clap::Command {
    <TypedCommand as clap::CommandFactory>::command()
}

/// True if a line changes this node's name.
pub(super) fn renames(line: &Line) -> bool {
    let Line::Command { command, .. } = line else { return false };
    matches!(**command, ClientCommand::Rename { .. })
}

/// True for the name or an alias of a command.
pub(super) fn is_command(word: &str) -> bool {
    commands().get_subcommands().any(|command| {
        command.get_name() == word || command.get_all_aliases().any(|alias| alias == word)
    })
}

/// Returns the text of `h`: the Go seed's help, corrected.
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
    lines.push_str(
        "c <friend> or ca without data choose a conversation: then text goes there.\n\
         A leading space is always text, a leading / always a command.\n\
         Every command works here too, by its own name: help lists them.",
    );
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
    use crate::primitives::PublicKey;

    fn alone(line: &str) -> Line {
        parse(line, &Talk::Nobody)
    }

    fn yjf() -> Talk {
        Talk::Friend { name: "yjf".to_owned(), peer: PeerId(PublicKey([7; 32])) }
    }

    fn said(line: &str) -> String {
        match alone(line) {
            Line::Show(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_data_is_the_rest_of_the_line_as_it_stands() {
        assert!(matches!(alone("b GoodMorning!"), Line::Note(text) if text == "GoodMorning!"));
        assert!(matches!(
            alone("ca \"two\"  words \n"),
            Line::ChatAll(text) if text == "\"two\"  words "
        ));
        let Line::Chat { friend, text, .. } = alone("c yjf Good morning to you") else {
            panic!("not a chat")
        };
        assert_eq!((friend.as_str(), text.as_str()), ("yjf", "Good morning to you"));
        let Line::Chat { friend, text, .. } = alone("c 李雷#3f2a  it's") else {
            panic!("not a chat")
        };
        assert_eq!((friend.as_str(), text.as_str()), ("李雷#3f2a", " it's"));
    }

    #[test]
    fn words_without_data_are_what_they_are() {
        assert!(matches!(alone(""), Line::Empty));
        assert!(matches!(alone("h"), Line::Help));
        assert!(matches!(alone("la "), Line::Account));
        assert!(matches!(alone("lb"), Line::Blocks));
        assert!(matches!(alone("lf"), Line::Friends));
        assert!(matches!(alone("ln"), Line::Node));
        assert!(matches!(alone("q\n"), Line::Quit));
    }

    #[test]
    fn wrong_usage_is_an_answer() {
        assert_eq!(said("b"), "usage: b <data>  eg: b GoodMorning!");
        assert_eq!(said("c"), "usage: c <friend> <data>  eg: c yzw GoodMorning!");
        assert_eq!(said("c"), said("c  "));
        assert_eq!(said("la now"), "usage: la");
        assert!(matches!(alone("lf --json"), Line::Command { json: true, .. }));
        assert!(said("nonsense").contains("'nonsense'"));
        assert!(said("send --from a").contains("AMOUNT"));
        assert!(said("note 'open").contains("write \\' for the sign"));
        assert!(said("sync a b").contains("Usage"));
        assert!(said("friendchain send 10 yzw").ends_with("without friendchain: send 10 yzw"));
        assert!(said("friendchain is fun").contains("no command here"));
    }

    #[test]
    fn every_command_works_by_its_own_name() {
        let Line::Command { command, json, .. } = alone("send -from a -to 'b c' -amount 10 --json")
        else {
            panic!("not sent")
        };
        assert!(json);
        let ClientCommand::Send(sent) = *command else { panic!("not sent") };
        let (amount, to) = sent.amount_and_recipient().expect("both");
        assert_eq!((amount.as_str(), to.as_str()), ("10", "b c"));
        assert!(matches!(alone("getbalance -address a"), Line::Command { .. }));
        let Line::Command { command, .. } = alone("prove ab -o 'a file'") else {
            panic!("not prove")
        };
        assert!(matches!(
            *command,
            ClientCommand::Prove { output: Some(file), .. } if file.ends_with("a file")
        ));
        assert!(matches!(alone("verify-proof tea.proof --trust ab"), Line::Command { .. }));
        assert!(matches!(alone("accept-branch ab"), Line::Command { .. }));
        let Line::Command { command, .. } = alone("sync") else { panic!("not sync") };
        assert!(matches!(*command, ClientCommand::Sync { friend: None }));
        assert!(said("help").contains("create-wallet"));
        let help = said("help send");
        assert!(help.contains("--amount") && !help.contains("friendchain send"), "{help}");
        assert!(!help.contains("Usage:  "), "{help}");
        let refused = said("invite g3");
        assert!(refused.ends_with("help invite shows more."), "{refused}");
        assert!(!refused.contains("--help"), "{refused}");
    }

    #[test]
    fn a_line_that_is_no_command_goes_to_the_current_conversation() {
        let to_yjf = |line| match parse(line, &yjf()) {
            Line::Chat { friend, peer: Some(_), text } if friend == "yjf" => text,
            other => panic!("{line:?}: {other:?}"),
        };
        assert_eq!(to_yjf("Good morning to you"), "Good morning to you");
        assert_eq!(to_yjf("don't ask me"), "don't ask me");
        assert_eq!(to_yjf("hi"), "hi");
        assert_eq!(to_yjf(" la"), "la");
        assert_eq!(to_yjf("  status of  things "), " status of  things ");
        assert!(matches!(parse("hello all", &Talk::Everybody), Line::ChatAll(_)));
        assert!(matches!(parse("la", &yjf()), Line::Account));
        assert!(matches!(parse("c yzw hello", &yjf()), Line::Chat { peer: None, .. }));
        assert!(said(" hello").contains("ca everybody"));
    }

    #[test]
    fn a_part_of_an_invite_is_not_sent() {
        let row = "AQEAAAAAAAAx9Zk3_bq-7yTAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for talk in [yjf(), Talk::Everybody] {
            let Line::Show(text) = parse(row, &talk) else { panic!("sent") };
            assert!(text.contains("not sent"), "{text}");
            assert!(matches!(
                parse(&format!(" {row}"), &talk),
                Line::Chat { .. } | Line::ChatAll(_)
            ));
        }
        for text in
            ["https://example.org/AAAAAAAAAAAAAAAAAAAAAAAAA0a", "hmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm"]
        {
            assert!(matches!(parse(text, &Talk::Everybody), Line::ChatAll(_)), "{text}");
        }
    }

    #[test]
    fn a_slash_is_always_a_command() {
        assert!(matches!(parse("/la", &yjf()), Line::Account));
        assert!(matches!(parse("/status --json", &yjf()), Line::Command { json: true, .. }));
        let Line::Show(text) = parse("/hello there", &yjf()) else { panic!("sent") };
        assert!(text.contains("'hello' is no command"), "{text}");
        assert!(matches!(parse("/", &yjf()), Line::Show(_)));
    }

    #[test]
    fn a_word_that_nearly_is_a_command_is_asked_about() {
        for (word, near) in
            [("stauts", "status"), ("hlep", "help"), ("mempol", "mempool"), ("LF", "lf")]
        {
            let Line::Show(text) = parse(word, &yjf()) else { panic!("{word} is sent") };
            assert!(text.contains("not sent") && text.contains(near), "{text}");
        }
        let Line::Show(text) = parse("sned it --to", &Talk::Nobody) else { panic!("sent") };
        assert!(text.contains("did you mean send?"), "{text}");
        assert!(matches!(parse("stauts of things", &yjf()), Line::Chat { .. }));
        let Line::Show(text) = parse("send me the file", &yjf()) else { panic!("a payment") };
        assert!(text.ends_with("type a space first."), "{text}");
    }

    #[test]
    fn a_friend_or_everybody_is_chosen_without_data() {
        assert!(matches!(alone("c yjf"), Line::ChooseFriend(friend) if friend == "yjf"));
        assert!(matches!(alone("c yjf "), Line::ChooseFriend(friend) if friend == "yjf"));
        assert!(matches!(alone("ca "), Line::ChooseAll));
    }

    #[test]
    fn help_shows_all_ten_words() {
        let help = help();
        for word in TIPS.iter().map(|tip| tip.word) {
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
            let _ = alone(&line);
            let _ = parse(&line, &yjf());
        }
    }
}
