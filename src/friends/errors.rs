//! What can be wrong with a profile, a line or the name of a friend, and whose fault it is.

use super::{known_addresses::BadAddress, store::StoreFault};
use crate::{
    consensus::Blame,
    peers::Offence,
    primitives::{NameError, PeerId, PeerIdError, UnixMillis},
    wire::{CodecError, Refusal, VerifyError, limits::MAX_LINE_BYTES},
};

/// Why a profile is not kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProfileError {
    /// Its peer did not sign it.
    #[error("a profile is refused: {0}")]
    Forged(#[from] VerifyError),
    /// Its name may not be one.
    #[error("a profile is refused: {0}")]
    Name(#[from] NameError),
    /// One of its addresses cannot be one.
    #[error("a profile is refused: {0}")]
    Address(#[from] BadAddress),
    /// It is signed more than a day ahead of our clock: one of the two clocks is wrong.
    #[error(
        "a profile is signed {ahead_ms} ms ahead of this node's clock: one of the two clocks is \
         wrong"
    )]
    TooFarAhead {
        /// By how much.
        ahead_ms: u64,
    },
    /// No profile held may be given up for it.
    #[error("{limit} profiles are held, and none of them may be forgotten for another")]
    Full {
        /// How many are held.
        limit: usize,
    },
    /// Our disk.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl ProfileError {
    /// Whose fault it is.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Forged(_) | Self::Name(_) | Self::Address(_) => Blame::Peer,
            Self::TooFarAhead { .. } | Self::Full { .. } => Blame::Nobody,
            Self::Store(_) => Blame::Ours,
        }
    }

    /// The stable name of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Forged(error) => verify_code(error),
            Self::Name(_) => "bad_name",
            Self::Address(_) => "bad_address",
            Self::TooFarAhead { .. } => "too_far_ahead",
            Self::Full { .. } => "profiles_full",
            Self::Store(fault) => fault.code(),
        }
    }

    /// What its sender is charged with, if anything.
    #[must_use]
    pub fn offence(&self) -> Option<Offence> {
        match self {
            Self::Forged(error) => Some(error.into()),
            Self::Name(_) | Self::Address(_) => Some(Offence::InvalidText),
            Self::TooFarAhead { .. } | Self::Full { .. } | Self::Store(_) => None,
        }
    }

    /// What the sender is told; `None`: Busy, since it is our trouble.
    #[must_use]
    pub const fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Forged(error) => Some(verify_refusal(error)),
            Self::Name(_) | Self::Address(_) | Self::TooFarAhead { .. } => Some(Refusal::Invalid),
            Self::Full { .. } | Self::Store(_) => None,
        }
    }
}

/// Why this node cannot describe itself so.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OwnProfileError {
    /// The name may not be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An address cannot be one.
    #[error(transparent)]
    Address(#[from] BadAddress),
    /// The whole is over a limit.
    #[error(transparent)]
    Bounds(#[from] CodecError),
    /// Our disk.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl OwnProfileError {
    /// Ours.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        Blame::Ours
    }

    /// The stable name of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Name(_) => "bad_name",
            Self::Address(_) => "bad_address",
            Self::Bounds(error) => error.code(),
            Self::Store(fault) => fault.code(),
        }
    }
}

/// Why a line is not sent.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChatError {
    /// There is nothing in it.
    #[error("the line is empty: write something after the name")]
    Empty,
    /// It is too long.
    #[error("the line has {bytes} bytes, {MAX_LINE_BYTES} are the limit: send it in parts")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Nobody writes to themselves.
    #[error("that is you: a line goes to a friend")]
    ToSelf,
    /// Too much waits for that friend.
    #[error("{limit} lines wait for {friend} already: no more until some are delivered")]
    OutboxFull {
        /// As people name it.
        friend: String,
        /// How many may wait for one friend.
        limit: u64,
    },
    /// Too much waits for all friends together.
    #[error("{limit} lines wait for friends who are away: no more until some are delivered")]
    OutboxFullForAll {
        /// How many may wait in all.
        limit: u64,
    },
    /// Our disk.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl ChatError {
    /// Ours.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        Blame::Ours
    }

    /// The stable name of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty_line",
            Self::TooLong { .. } => "line_too_long",
            Self::ToSelf => "note_to_self",
            Self::OutboxFull { .. } => "outbox_full",
            Self::OutboxFullForAll { .. } => "outbox_full_for_all",
            Self::Store(fault) => fault.code(),
        }
    }
}

/// Why a line or goodbye that came is not kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReceiveError {
    /// Its author did not sign it.
    #[error("a line is refused: {0}")]
    Forged(#[from] VerifyError),
    /// A direct line comes over the author's own connection alone.
    #[error("a line of {author} is refused: {sender} sent it")]
    NotTheAuthor {
        /// Who signed it.
        author: PeerId,
        /// Who sent it.
        sender: PeerId,
    },
    /// A direct line to somebody else, or a line to all by way of a direct message, or the other
    /// way round.
    #[error("a line of {author} is refused: it is not addressed so")]
    WrongAddressee {
        /// Who signed it.
        author: PeerId,
    },
    /// There is nothing in it.
    #[error("an empty line of {author} is refused")]
    Empty {
        /// Who signed it.
        author: PeerId,
    },
    /// A line or goodbye to all whose time is too far from ours: old, or one of the clocks is
    /// wrong.
    #[error(
        "a line of {author} is not shown: its time is {apart_ms} ms away from this node's clock"
    )]
    Stale {
        /// Who signed it.
        author: PeerId,
        /// How far it is away, before or after.
        apart_ms: u64,
    },
    /// More lines than one author may send in that time.
    #[error("{author} sends lines too fast")]
    TooMany {
        /// Who.
        author: PeerId,
    },
    /// Our disk.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl ReceiveError {
    /// Whose fault it is: of who sent a direct line, or passed on gossip.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Forged(_)
            | Self::NotTheAuthor { .. }
            | Self::WrongAddressee { .. }
            | Self::Empty { .. } => Blame::Peer,
            Self::Stale { .. } | Self::TooMany { .. } => Blame::Nobody,
            Self::Store(_) => Blame::Ours,
        }
    }

    /// The stable name of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Forged(error) => verify_code(error),
            Self::NotTheAuthor { .. } => "not_the_author",
            Self::WrongAddressee { .. } => "wrong_addressee",
            Self::Empty { .. } => "empty_line",
            Self::Stale { .. } => "stale_line",
            Self::TooMany { .. } => "too_many_lines",
            Self::Store(fault) => fault.code(),
        }
    }

    /// What its sender is charged with, if anything.
    #[must_use]
    pub fn offence(&self) -> Option<Offence> {
        match self {
            Self::Forged(error) => Some(error.into()),
            Self::NotTheAuthor { .. } | Self::WrongAddressee { .. } => Some(Offence::NotTheAuthor),
            Self::Empty { .. } => Some(Offence::InvalidText),
            Self::Stale { .. } | Self::TooMany { .. } | Self::Store(_) => None,
        }
    }

    /// What the sender of a direct line is told; `None`: Busy, since it is our trouble and may
    /// pass.
    #[must_use]
    pub const fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Forged(error) => Some(verify_refusal(error)),
            Self::NotTheAuthor { .. } => Some(Refusal::NotYours),
            Self::WrongAddressee { .. } => Some(Refusal::NotMine),
            Self::Empty { .. } => Some(Refusal::Invalid),
            Self::Stale { .. } => Some(Refusal::Stale),
            Self::TooMany { .. } => Some(Refusal::RateLimited),
            Self::Store(_) => None,
        }
    }
}

/// Why a text names no one friend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// No friend is called so.
    #[error("no friend is called '{0}': `friends` lists them")]
    Unknown(String),
    /// Several are.
    #[error("'{name}' could be any of {}: say which", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// Each as name and suffix, long enough to be told apart.
        candidates: Vec<String>,
    },
    /// It would do to chat, but not to pay.
    #[error("'{name}' is not enough to pay, since another friend bears or bore that name: write {}", candidates.join(" or "))]
    TooShortToPay {
        /// What was asked for.
        name: String,
        /// Each as name and a suffix of at least 8 digits.
        candidates: Vec<String>,
    },
    /// The friend has no payment address.
    #[error("{0} has no payment address: ask for one, and send to that")]
    NoWallet(String),
    /// That is this node.
    #[error("'{0}' is you")]
    NoteToSelf(String),
    /// It begins like a peer id but is none.
    #[error(transparent)]
    PeerId(#[from] PeerIdError),
}

impl ResolveError {
    /// Ours: a user typed it.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        Blame::Ours
    }

    /// The stable name of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "unknown_friend",
            Self::Ambiguous { .. } => "ambiguous_friend",
            Self::TooShortToPay { .. } => "suffix_too_short",
            Self::NoWallet(_) => "no_payment_address",
            Self::NoteToSelf(_) => "note_to_self",
            Self::PeerId(_) => "bad_peer_id",
        }
    }
}

/// Why a friend is not found, or the disk failed while looking. For the handle, whose thread may
/// have ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FindError {
    /// The text names no one friend.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The owner of the data is gone.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl FindError {
    /// Ours.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        Blame::Ours
    }

    /// The stable name of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Resolve(error) => error.code(),
            Self::Store(fault) => fault.code(),
        }
    }
}

/// How far a time lies from another.
pub(super) const fn apart(one: UnixMillis, other: UnixMillis) -> u64 {
    one.abs_diff(other)
}

const fn verify_code(error: &VerifyError) -> &'static str {
    match error {
        VerifyError::Bounds(error) => error.code(),
        VerifyError::Signature { .. } => "bad_signature",
    }
}

const fn verify_refusal(error: &VerifyError) -> Refusal {
    match error {
        VerifyError::Bounds(_) => Refusal::OverLimit,
        VerifyError::Signature { .. } => Refusal::BadSignature,
    }
}
