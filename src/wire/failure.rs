//! Failed requests, as the state machines see them.

/// Why a request ended without a response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestFailure {
    /// No response in time.
    #[error("no answer in time")]
    TimedOut,
    /// The connection went, or could not be made.
    #[error("the connection is gone")]
    Disconnected,
    /// The peer does not speak the protocol.
    #[error("the peer does not speak this protocol")]
    Unsupported,
    /// Something came that is no response; whoever decodes has penalised it already.
    #[error("the answer is malformed: {0}")]
    Malformed(String),
}
