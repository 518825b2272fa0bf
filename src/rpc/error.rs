//! The error type of the RPC and the command line: a stable code for scripts and a sentence for
//! users.

use std::borrow::Cow;

use jsonrpsee::{core::client::Error as ClientError, types::ErrorObjectOwned};
use serde::{Deserialize, Serialize};

use crate::primitives::{is_printable, printable};

/// The JSON-RPC number of all friendchain errors. The field `data.code` has the specific code.
const APPLICATION_ERROR: i32 = -32_000;

/// The reason why a command was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    /// A stable name in snake case, for scripts.
    pub code: Cow<'static, str>,
    /// A sentence with the fault, the offending value, and the user's next step.
    pub message: String,
}

/// The field `data` of the JSON-RPC error object.
#[derive(Debug, Serialize, Deserialize)]
struct ErrorData {
    code: String,
}

impl RpcError {
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let message = message.into();
        // A sentence may repeat text of a user or a peer.
        let is_harmless = message.chars().all(is_printable);
        let message = if is_harmless { message } else { printable(&message) };
        Self { code: code.into(), message }
    }

    /// Returns the error for a data folder without a chain.
    #[must_use]
    pub fn no_chain() -> Self {
        Self::new("no_chain", "no chain here: create-blockchain, join, or start-node")
    }

    /// Returns the error for a command that needs a running node.
    #[must_use]
    pub fn not_running() -> Self {
        Self::new(
            "not_running",
            "no node runs on this data folder: start one with start-node or people",
        )
    }

    /// Returns the error for a thread that the system did not start.
    pub fn no_threads(cause: impl std::fmt::Display) -> Self {
        Self::new(
            "no_threads",
            format!(
                "the system starts no further thread ({cause}): raise the limit of processes \
                 (ulimit -u, or the container's pids limit), or end other programs"
            ),
        )
    }

    /// Returns the error for a fault inside friendchain.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::new("internal", message.to_string())
    }
}

impl From<RpcError> for ErrorObjectOwned {
    fn from(error: RpcError) -> Self {
        let data = ErrorData { code: error.code.into_owned() };
        Self::owned(APPLICATION_ERROR, error.message, Some(data))
    }
}

impl From<ErrorObjectOwned> for RpcError {
    fn from(object: ErrorObjectOwned) -> Self {
        let named =
            object.data().and_then(|data| serde_json::from_str::<ErrorData>(data.get()).ok());
        if let Some(data) = named {
            return Self::new(data.code, object.message());
        }
        // jsonrpsee puts the details of its own errors into `data`, as a string.
        let detail = object.data().and_then(|data| serde_json::from_str::<String>(data.get()).ok());
        let message = match detail {
            Some(detail) => format!("{}: {detail}", object.message()),
            None => object.message().to_owned(),
        };
        let code = match object.code() {
            -32_602 => "invalid_params",
            -32_601 => "unknown_method",
            -32_700 | -32_600 => "invalid_request",
            _ => "rpc",
        };
        Self::new(code, message)
    }
}

impl From<ClientError> for RpcError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Call(object) => object.into(),
            ClientError::Transport(cause) => Self::new(
                "unreachable",
                format!(
                    "the node does not answer ({cause}): if it has stopped, try again; else see \
                     its log"
                ),
            ),
            ClientError::RequestTimeout => {
                Self::new("timeout", "the node did not answer in time: try again")
            }
            ClientError::ParseError(cause) => Self::new(
                "bad_answer",
                format!(
                    "the node's answer does not read ({cause}): is it another version of \
                     friendchain?"
                ),
            ),
            other => Self::new("rpc", other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_code_and_sentence_over_the_wire() {
        let error = RpcError::new("not_enough", "fc1… has 3 coins, 10 are needed");
        let object: ErrorObjectOwned = error.clone().into();
        assert_eq!(RpcError::from(object), error);
    }

    #[test]
    fn the_librarys_own_errors_get_codes_too() {
        let object =
            ErrorObjectOwned::owned(-32_602, "Invalid params", Some("'x' is not an amount"));
        let error = RpcError::from(object);
        assert_eq!(error.code, "invalid_params");
        assert!(error.message.contains("'x' is not an amount"));
    }
}
