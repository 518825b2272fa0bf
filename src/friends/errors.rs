//! Errors of profiles, chat lines and friends' names: one enum for each operation.
//!
//! Errors that reach a user have a stable name (`code`). Errors about data from a peer have the
//! penalty for the peer (`offence`) and the reply to it (`refusal`).

use super::{known_addresses::BadAddress, store::StoreFault};
use crate::{
    peers::Offence,
    primitives::{NameError, PeerId, PeerIdError},
    wire::{CodecError, Refusal, VerifyError, limits::MAX_LINE_BYTES},
};

/// Reasons to refuse a profile that a peer sent.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ProfileError {
    #[error("a profile is refused: {0}")]
    Forged(#[from] VerifyError),
    #[error("a profile is refused: {0}")]
    Name(#[from] NameError),
    #[error("a profile is refused: {0}")]
    Address(#[from] BadAddress),
    /// The profile is signed more than [`MAX_AHEAD_MS`](super::profiles::MAX_AHEAD_MS) ahead of our
    /// clock.
    #[error(
        "a profile is signed {ahead_ms} ms ahead of this node's clock: one of the two clocks is \
         wrong"
    )]
    TooFarAhead { ahead_ms: u64 },
    /// The table is full, and every profile in it belongs to a peer that is connected, chosen or
    /// blocked.
    #[error("{limit} profiles are held, and none of them may be forgotten for another")]
    Full { limit: usize },
    /// The strangers' shared budget is used up.
    #[error("the profile of {peer}, a stranger, is not kept: too many strangers are here")]
    TooMany { peer: PeerId },
    /// The profile is of a banned peer, even if another peer sent it.
    #[error("the profile of {peer} is not kept: the peer is banned")]
    Banned { peer: PeerId },
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl ProfileError {
    /// Returns the penalty for the peer that sent it, if it deserves one.
    #[must_use]
    pub(crate) fn offence(&self) -> Option<Offence> {
        match self {
            Self::Forged(error) => Some(error.into()),
            // The sender may use a newer version of Unicode, which is no fault.
            Self::Name(error) if !error.is_certain() => None,
            Self::Name(_) | Self::Address(_) => Some(Offence::InvalidText),
            Self::TooFarAhead { .. }
            | Self::Full { .. }
            | Self::TooMany { .. }
            | Self::Banned { .. }
            | Self::Store(_) => None,
        }
    }

    /// Returns the reason to send back. `None` means the reply Busy: the fault is ours.
    #[must_use]
    pub(crate) const fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Forged(error) => Some(verify_refusal(error)),
            Self::Name(_) | Self::Address(_) | Self::TooFarAhead { .. } => Some(Refusal::Invalid),
            Self::TooMany { .. } => Some(Refusal::RateLimited),
            Self::Full { .. } | Self::Banned { .. } | Self::Store(_) => None,
        }
    }
}

/// Reasons why this node cannot sign a profile of itself.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum OwnProfileError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Address(#[from] BadAddress),
    /// The encoded profile exceeds a limit of the wire format.
    #[error(transparent)]
    Bounds(#[from] CodecError),
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl OwnProfileError {
    #[must_use]
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Name(_) => "bad_name",
            Self::Address(_) => "bad_address",
            Self::Bounds(error) => error.code(),
            Self::Store(fault) => fault.code(),
        }
    }
}

/// Reasons why a line of ours is not sent.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ChatError {
    #[error("the line is empty: write something after the name")]
    Empty,
    #[error("the line has {bytes} bytes, {MAX_LINE_BYTES} are the limit: send it in parts")]
    TooLong { bytes: usize },
    #[error("that is you: a line goes to a friend")]
    ToSelf,
    /// The user blocked the receiver.
    #[error("{friend} is blocked: unblock-friend comes first")]
    Blocked {
        /// The receiver's label.
        friend: String,
    },
    /// The outbox holds [`MAX_OUTBOX_PER_FRIEND`](super::MAX_OUTBOX_PER_FRIEND) lines for this
    /// friend.
    #[error("{limit} lines wait for {friend} already: no more until some are delivered")]
    OutboxFull {
        /// The friend's label, see [`Friends::label`](super::Friends::label).
        friend: String,
        limit: u64,
    },
    /// The outbox holds [`MAX_OUTBOX`](super::chat::MAX_OUTBOX) lines.
    #[error("{limit} lines wait for friends who are away: no more until some are delivered")]
    OutboxFullForAll { limit: u64 },
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl ChatError {
    #[must_use]
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty_line",
            Self::TooLong { .. } => "line_too_long",
            Self::ToSelf => "note_to_self",
            Self::Blocked { .. } => "blocked",
            Self::OutboxFull { .. } => "outbox_full",
            Self::OutboxFullForAll { .. } => "outbox_full_for_all",
            Self::Store(fault) => fault.code(),
        }
    }
}

/// Reasons to refuse a line or a goodbye that a peer sent.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error("a line is refused: {0}")]
    Forged(#[from] VerifyError),
    /// A direct line came over another peer's connection than its author's.
    #[error("a line of {author} is refused: {sender} sent it")]
    NotTheAuthor { author: PeerId, sender: PeerId },
    /// A direct line is for another peer, a line to all arrived as a direct message, or a direct
    /// line arrived by gossip.
    #[error("a line of {author} is refused: it is not addressed so")]
    WrongAddressee { author: PeerId },
    #[error("an empty line of {author} is refused")]
    Empty { author: PeerId },
    /// The time of a line or goodbye to all is more than
    /// [`MAX_TIME_APART_MS`](super::chat::MAX_TIME_APART_MS) away from our clock: the line is old,
    /// or one of the two clocks is wrong.
    #[error(
        "a line of {author} is not shown: its time is {apart_ms} ms away from this node's clock"
    )]
    Stale {
        author: PeerId,
        /// The distance, before or after our clock.
        apart_ms: u64,
    },
    /// The author's token bucket is empty.
    #[error("{author} sends lines too fast")]
    TooMany { author: PeerId },
    /// A missed line was not asked for, or came twice or out of order.
    #[error("a line of {author} is refused: it is none of those asked for")]
    NotAsked { author: PeerId },
    /// The time of a missed line is out of range, by the sender's clock and by ours.
    #[error("a line of {author} is refused: its sender keeps no line of that time")]
    OutOfTime { author: PeerId },
    /// The author is banned, and is ignored even if another peer forwards its line.
    #[error("a line of {author} is not shown: its author is banned")]
    Banned { author: PeerId },
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl ReceiveError {
    /// Returns the penalty for the peer that sent it, if it deserves one.
    #[must_use]
    pub(crate) fn offence(&self) -> Option<Offence> {
        match self {
            Self::Forged(error) => Some(error.into()),
            Self::NotTheAuthor { .. } | Self::WrongAddressee { .. } => Some(Offence::NotTheAuthor),
            Self::Empty { .. } => Some(Offence::InvalidText),
            Self::NotAsked { .. } | Self::OutOfTime { .. } => Some(Offence::WrongAnswer),
            Self::Stale { .. } | Self::TooMany { .. } | Self::Banned { .. } | Self::Store(_) => {
                None
            }
        }
    }

    /// Returns the reason to reply to the sender of a direct line. `None` means the reply Busy: the
    /// fault is ours, and may pass.
    #[must_use]
    pub(crate) const fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Forged(error) => Some(verify_refusal(error)),
            Self::NotTheAuthor { .. } => Some(Refusal::NotYours),
            Self::WrongAddressee { .. } => Some(Refusal::NotMine),
            Self::Empty { .. } => Some(Refusal::Invalid),
            Self::Stale { .. } => Some(Refusal::Stale),
            Self::TooMany { .. } => Some(Refusal::RateLimited),
            Self::NotAsked { .. }
            | Self::OutOfTime { .. }
            | Self::Banned { .. }
            | Self::Store(_) => None,
        }
    }
}

/// Reasons why a text does not name exactly one friend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("no friend is called '{0}': `friends` lists them")]
    Unknown(String),
    #[error("'{name}' could be any of {}: say which", candidates.join(", "))]
    Ambiguous {
        name: String,
        /// Each friend of that name as `name#suffix`, with a suffix that no other of them shares.
        candidates: Vec<String>,
    },
    /// Only a stranger bears the name.
    #[error(
        "a stranger bears that name: accept-friend {}, or write the name with those digits",
        .0.join(" or accept-friend ")
    )]
    Stranger(Vec<String>),
    /// The peer is banned, and so cannot become a friend.
    #[error("{0} is banned: unban comes first")]
    Banned(String),
    /// The user blocked the peer.
    #[error("{0} is blocked: unblock-friend comes first")]
    Blocked(String),
    /// The text names no blocked peer.
    #[error("nobody is blocked by the name '{0}': `friends` lists who is")]
    NotBlocked(String),
    /// The table of blocked peers is full.
    #[error("{0} peers are blocked already: unblock some of them first")]
    TooManyBlocked(usize),
    /// The text is enough to chat, but not to pay.
    #[error(
        "'{name}' is not enough to pay, since others bear or bore that name: write {} (once is \
         enough)",
        candidates.join(" or ")
    )]
    TooShortToPay {
        name: String,
        /// Everybody who bears or bore the name as `name#suffix`, with a suffix of 8 digits or
        /// more.
        candidates: Vec<String>,
    },
    /// The friend's profile holds no payment address.
    #[error("{0} has no payment address: ask for one, and send to that")]
    NoWallet(String),
    /// The text names this node itself.
    #[error("'{name}' is you{}", or_namesakes(namesakes))]
    NoteToSelf {
        name: String,
        /// The others of that name, as `name#suffix`.
        namesakes: Vec<String>,
    },
    /// The text begins like a peer id but is none.
    #[error(transparent)]
    PeerId(#[from] PeerIdError),
}

impl ResolveError {
    #[must_use]
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "unknown_friend",
            Self::Ambiguous { .. } => "ambiguous_friend",
            Self::Stranger(_) => "stranger",
            Self::Banned(_) => "banned",
            Self::Blocked(_) => "blocked",
            Self::NotBlocked(_) => "not_blocked",
            Self::TooManyBlocked(_) => "too_many_blocked",
            Self::TooShortToPay { .. } => "suffix_too_short",
            Self::NoWallet(_) => "no_payment_address",
            Self::NoteToSelf { .. } => "note_to_self",
            Self::PeerId(_) => "bad_peer_id",
        }
    }
}

/// Reasons why [`FriendsHandle`](super::FriendsHandle) finds no friend for a text.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum FindError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The friends thread has ended.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl FindError {
    #[must_use]
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Resolve(error) => error.code(),
            Self::Store(fault) => fault.code(),
        }
    }
}

fn or_namesakes(namesakes: &[String]) -> String {
    if namesakes.is_empty() {
        return String::new();
    }
    let others = if namesakes.len() == 1 { "the other one is" } else { "the others are" };
    format!("; {others} {}", namesakes.join(", "))
}

const fn verify_refusal(error: &VerifyError) -> Refusal {
    match error {
        VerifyError::Bounds(_) => Refusal::OverLimit,
        VerifyError::Signature { .. } => Refusal::BadSignature,
    }
}
