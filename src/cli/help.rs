//! Prints the help, and errors of the command line.

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::{
    CommandFactory,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::args::Cli;
use crate::{
    commands::{
        help::{everywhere, global_flags, of_command, overview},
        look::{Look, lines},
        outcome::{CommandError, USAGE, bounded, print_error, report},
        prepare::command_position,
    },
    primitives::{nearest, printable},
};

/// The most characters of a mistyped command that the error repeats.
const SHOWN_CHARS: usize = 48;

/// Prints the requested help, or the error of the command line. Returns the exit code.
pub(super) fn answer(error: &clap::Error, words: &[OsString], json: bool) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp => show(&asked(words)),
        ErrorKind::DisplayVersion => report(error.print().map_err(CommandError::Output), false),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if words.is_empty() && !json => {
            // A failure here cannot be reported anywhere.
            let _ = writeln!(io::stderr(), "{}", of_all(false));
            ExitCode::from(USAGE)
        }
        _ => {
            refuse(error, json);
            ExitCode::from(USAGE)
        }
    }
}

fn show(text: &str) -> ExitCode {
    let mut out = io::stdout();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    report(written.map_err(CommandError::Output), false)
}

/// Returns the help on the command that the words name, or on all.
fn asked(words: &[OsString]) -> String {
    let word = |at: usize| words.get(at).and_then(|word| word.to_str());
    let mut at = command_position(words);
    if at.and_then(word) == Some("help") {
        at = at.and_then(|at| at.checked_add(1));
    }
    let name = at.and_then(word).filter(|name| !name.starts_with('-'));
    let explains = words.iter().any(|word| word == "--help");
    name.and_then(|name| of_command(Cli::command(), name)).unwrap_or_else(|| of_all(explains))
}

/// Returns the help on all commands. With `explains`, also the effect of each global flag.
fn of_all(explains: bool) -> String {
    let root = Cli::command();
    let about = root.get_about().map(ToString::to_string).unwrap_or_default();
    let after = root.get_after_help().map(ToString::to_string).unwrap_or_default();
    let flags = if explains { global_flags(Cli::command()) } else { everywhere(&root) };
    let about = lines(&about, Look::current().width).join("\n");
    format!(
        "{about}\n\nUsage: friendchain [FLAGS] COMMAND\n\n{}\n\n{flags}\n\n{}",
        overview(&root),
        after.trim_end()
    )
}

fn refuse(error: &clap::Error, json: bool) {
    if let Some(sentence) = unknown_command(error) {
        print_error("usage", &sentence, json);
    } else if json {
        print_error("usage", &usage_sentence(error), json);
    } else {
        let text = error.to_string();
        let bounded = bounded(&text);
        let shown: Vec<_> = bounded.lines().map(printable).collect();
        // A failure here cannot be reported anywhere.
        let _ = if text.lines().eq(shown.iter().map(String::as_str)) {
            error.print()
        } else {
            writeln!(io::stderr(), "{}", shown.join("\n"))
        };
    }
}

/// Returns the sentence on an unknown command, with the nearest known one.
fn unknown_command(error: &clap::Error) -> Option<String> {
    let (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) =
        (error.kind(), error.get(ContextKind::InvalidSubcommand))
    else {
        return None;
    };
    let root = Cli::command();
    let shown = printable(&word.chars().take(SHOWN_CHARS).collect::<String>());
    let names = root.get_subcommands().filter(|command| !command.is_hide_set());
    let names: Vec<_> = names.map(clap::Command::get_name).collect();
    let meant = nearest(word, names.iter().copied());
    let meant = meant.map(|name| format!(" did you mean {name}?")).unwrap_or_default();
    Some(format!("'{shown}' is no command:{meant} friendchain help lists them"))
}

/// Returns the first paragraph of clap's message, on one line.
pub(super) fn usage_sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph =
        text.trim_start_matches("error: ").lines().take_while(|line| !line.trim().is_empty());
    let sentence = paragraph.map(str::trim).collect::<Vec<_>>().join(" ");
    printable(&format!("{sentence}; see friendchain help"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use unicode_width::UnicodeWidthStr;

    use super::*;

    fn refusal(word: &str) -> String {
        let error = Cli::try_parse_from(["friendchain", word]).expect_err("no command");
        unknown_command(&error).expect("a sentence")
    }

    #[test]
    fn a_mistyped_command_is_met_with_the_one_that_was_meant() {
        assert!(refusal("staus").contains("did you mean status?"), "{}", refusal("staus"));
        assert!(refusal("blance").contains("did you mean balance?"), "{}", refusal("blance"));
        assert!(!refusal("qwertz").contains("did you mean"), "{}", refusal("qwertz"));
        assert!(!refusal("a\u{1b}[31m").contains('\u{1b}'));
    }

    #[test]
    fn help_of_each_command_has_its_example_first_and_fits_80_columns() {
        let root = Cli::command();
        for name in root.get_subcommands().map(clap::Command::get_name) {
            let text = of_command(Cli::command(), name).expect("known");
            let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
            assert!(at("Example:") < at("Usage:"), "{text}");
            assert!(!text.contains("Log filter, as in"), "global flags are one line: {text}");
            for line in text.lines().filter(|line| !line.starts_with("  friendchain")) {
                assert!(line.width() <= 80, "{name}: {line}");
            }
        }
        assert!(of_all(true).lines().all(|line| line.width() <= 80), "{}", of_all(true));
    }
}
