//! The end of a command: its exit code, and one sentence or JSON document with the reason.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use serde::Serialize;

use super::look::sentence_for_stderr;
use crate::rpc::RpcError;

/// The reason why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The node refused the command, or it failed.
    #[error(transparent)]
    Failed(#[from] RpcError),
    /// A value on the command line could not be parsed.
    #[error(transparent)]
    Usage(RpcError),
    /// The answer was written and reports a failure, such as an invalid proof.
    #[error("the answer says it")]
    BadNews,
    /// The answer could not be written: its reader has closed the pipe, or the disk is full.
    #[error("the answer cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl From<jsonrpsee::core::client::Error> for CommandError {
    fn from(error: jsonrpsee::core::client::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// The document `{"error":{"code","message"}}`.
#[derive(Serialize)]
struct ErrorDocument<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'a str,
    message: &'a str,
}

/// Returns the JSON document of an error.
pub(crate) fn error_json(code: &str, message: &str) -> String {
    let document = ErrorDocument { error: ErrorBody { code, message } };
    serde_json::to_string(&document)
        .unwrap_or_else(|_| r#"{"error":{"code":"internal","message":""}}"#.to_owned())
}

/// The exit code for wrong usage.
pub(crate) const USAGE: u8 = 2;

/// Prints the reason if a command did not succeed, and returns the exit code: 0 done, 1 refused or
/// failed, 2 wrong usage.
pub(crate) fn report(result: Result<(), CommandError>, json: bool) -> ExitCode {
    let (error, code) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        // If a reader stops early, that is no failure: `print-chain | head`.
        Err(CommandError::Output(cause)) if cause.kind() == io::ErrorKind::BrokenPipe => {
            return ExitCode::SUCCESS;
        }
        Err(CommandError::BadNews) => return ExitCode::FAILURE,
        Err(CommandError::Failed(error)) => (error, ExitCode::FAILURE),
        Err(CommandError::Usage(error)) => (error, ExitCode::from(USAGE)),
        Err(CommandError::Output(cause)) => (
            RpcError::new("output", format!("the answer cannot be written: {cause}")),
            ExitCode::FAILURE,
        ),
    };
    print_error(&error.code, &error.message, json);
    code
}

/// The longest word that an error repeats, in characters: longer than most paths. A text that was
/// typed or pasted by mistake may have any size.
const MOST_WORD: usize = 400;

/// The longest error, in characters: a screen or two.
const MOST_CHARS: usize = 4_000;

/// Shortens an error: overlong words lose their middle, and a text that is too long loses its end.
pub(crate) fn bounded(message: &str) -> String {
    let mut out = String::new();
    let mut left = MOST_CHARS;
    for word in message.split_inclusive(char::is_whitespace) {
        let length = word.chars().count();
        let end: Vec<char> = word.chars().rev().take(MOST_WORD / 4).collect();
        if length > MOST_WORD {
            out.extend(word.chars().take(MOST_WORD / 2).chain(['…']).chain(end.into_iter().rev()));
        } else {
            out.push_str(word);
        }
        left = left.saturating_sub(length.min(MOST_WORD));
        if left == 0 {
            out.push('…');
            break;
        }
    }
    out
}

/// Prints an error: as JSON to stdout, or as a sentence to stderr. The sentence is also the
/// fallback if stdout cannot be written.
pub(crate) fn print_error(code: &str, message: &str, json: bool) {
    let message = &bounded(message);
    if json && writeln!(io::stdout(), "{}", error_json(code, message)).is_ok() {
        return;
    }
    // A failure here cannot be reported anywhere.
    let _ = writeln!(io::stderr(), "{}", sentence_for_stderr(&format!("error: {message}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_repeats_no_more_than_a_screen_of_what_was_pasted() {
        let said = bounded(&format!("'{}' is no file: give another", "x".repeat(100_000)));
        assert!(said.chars().count() < 600 && said.starts_with("'xxx"), "{said}");
        assert!(said.contains("…xxx") && said.ends_with("x' is no file: give another"), "{said}");
        let many = bounded(&"早 ".repeat(100_000));
        assert!(many.chars().count() <= MOST_CHARS + 1 && many.ends_with('…'));
        assert_eq!(bounded("an error, as it is\n"), "an error, as it is\n");
    }

    #[test]
    fn an_error_as_json_has_code_and_message() {
        let text = error_json("no_chain", "no \"chain\" here");
        assert_eq!(text, r#"{"error":{"code":"no_chain","message":"no \"chain\" here"}}"#);
    }
}
