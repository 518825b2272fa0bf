//! Failures of requests, as sync and relay distinguish them.

/// The reason why a request ended without a response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestFailure {
    /// The peer sent no response before the timeout.
    #[error("no answer in time")]
    TimedOut,
    /// The connection went down or could not be opened.
    #[error("the connection is gone")]
    Disconnected,
    /// The peer does not support the protocol.
    #[error("the peer does not speak this protocol")]
    Unsupported,
    /// The response could not be decoded. The network has already reported the offence.
    #[error("the answer is malformed: {0}")]
    Malformed(String),
}
