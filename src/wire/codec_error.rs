//! Errors of encoding and decoding messages.

/// The reason why bytes are not a message, or why a message may not be encoded. In bytes from a
/// peer, it is always the peer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The message has more bytes than its kind may have.
    #[error("a message of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// The number of bytes that were read. There may be more.
        size: usize,
        limit: usize,
    },
    /// The bytes are not CBOR, or do not have the form of the message.
    #[error("malformed message: {reason}")]
    Malformed { reason: String },
    /// The bytes are not the canonical encoding of their value.
    #[error("the message is not in canonical CBOR")]
    NotCanonical,
    /// A count or length is over its limit.
    #[error("{what}: {count} is over the limit of {limit}")]
    OverLimit {
        /// The name of the field.
        what: &'static str,
        count: usize,
        limit: usize,
    },
    /// A field of fixed size, or of equal parts, has another length.
    #[error("{what}: {length} bytes cannot be right, it goes by {unit}")]
    WrongLength {
        /// The name of the field.
        what: &'static str,
        length: usize,
        /// The correct length of the field, or of each of its parts.
        unit: usize,
    },
    /// A list that must not be empty is empty.
    #[error("{what}: none is asked for")]
    Empty {
        /// The name of the field.
        what: &'static str,
    },
    /// Positions that must ascend do not.
    #[error("{what} do not ascend")]
    NotAscending {
        /// The name of the field.
        what: &'static str,
    },
}

impl CodecError {
    /// Returns the stable name of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Malformed { .. } => "malformed",
            Self::NotCanonical => "not_canonical",
            Self::OverLimit { .. } => "over_limit",
            Self::WrongLength { .. } => "wrong_length",
            Self::Empty { .. } => "empty",
            Self::NotAscending { .. } => "not_ascending",
        }
    }
}
