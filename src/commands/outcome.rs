//! How a command ends: its exit code, and the one sentence or JSON document that says why.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use serde::Serialize;

use crate::{datadir::DataDirError, rpc::RpcError};

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It was refused, or failed.
    #[error(transparent)]
    Failed(#[from] RpcError),
    /// A value on the command line does not read.
    #[error(transparent)]
    Usage(RpcError),
    /// The answer is written, and it is bad news.
    #[error("the answer says it")]
    BadNews,
    /// Nobody reads the answer any more, or the disk is full.
    #[error("the answer cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl From<jsonrpsee::core::client::Error> for CommandError {
    fn from(error: jsonrpsee::core::client::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<DataDirError> for CommandError {
    fn from(error: DataDirError) -> Self {
        Self::Failed(error.into())
    }
}

/// `{"error":{"code","message"}}`.
#[derive(Serialize)]
struct ErrorDocument<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'a str,
    message: &'a str,
}

/// The JSON document of an error.
#[must_use]
pub fn error_json(code: &str, message: &str) -> String {
    let document = ErrorDocument { error: ErrorBody { code, message } };
    serde_json::to_string(&document)
        .unwrap_or_else(|_| r#"{"error":{"code":"internal","message":""}}"#.to_owned())
}

/// The exit code of wrong usage.
pub(crate) const USAGE: u8 = 2;

/// Says how a command ended, and gives the exit code: 0 done, 1 refused or failed, 2 a value that
/// does not read.
pub fn report(result: Result<(), CommandError>, json: bool) -> ExitCode {
    let (error, code) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        // A reader that has seen enough is no failure: `print-chain | head`.
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
    say(&error.code, &error.message, json);
    code
}

/// Writes an error: its document to stdout, or its sentence to stderr, as it is also when stdout
/// takes nothing.
pub(crate) fn say(code: &str, message: &str, json: bool) {
    if json && writeln!(io::stdout(), "{}", error_json(code, message)).is_ok() {
        return;
    }
    // Nothing is left to try when even this cannot be written.
    let _ = writeln!(io::stderr(), "error: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_as_json_has_code_and_message() {
        let text = error_json("no_chain", "no \"chain\" here");
        assert_eq!(text, r#"{"error":{"code":"no_chain","message":"no \"chain\" here"}}"#);
    }
}
