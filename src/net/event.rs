//! What the network tells the node, and the errors of what the node asks of it.

use std::{fmt, time::Duration};

use data_encoding::HEXLOWER;

use super::{AddressError, limits::MAX_WAITING_PER_PEER};
use crate::{
    consensus::Blame,
    primitives::PeerId,
    wire::{CodecError, Gossip, Request, Response, Topic},
};

/// What the network tells the node. The last word on a peer is [`NetEvent::PeerDisconnected`].
#[derive(Debug)]
pub(crate) enum NetEvent {
    /// The node accepts connections at this address (a multiaddr, of one interface).
    Listening {
        /// A multiaddr.
        address: String,
    },
    /// The first connection to a peer is up.
    PeerConnected {
        /// Who; its key is proven.
        peer: PeerId,
        /// Its address as this node sees it.
        address: String,
        /// Whether the peer dialed.
        inbound: bool,
    },
    /// The last connection to a peer is down. Its requests have ended or are about to.
    PeerDisconnected {
        /// Who.
        peer: PeerId,
        /// Why, as far as is known.
        reason: String,
    },
    /// A peer asks. Answer through [`NetHandle::respond`](super::NetHandle::respond) within the
    /// protocol's time-out.
    RequestReceived {
        /// Who.
        peer: PeerId,
        /// Where the answer goes.
        reply: ReplyId,
        /// What.
        request: Request,
    },
    /// A request of this node has ended: exactly one of these for each that was taken.
    ResponseReceived {
        /// Whom it was asked.
        peer: PeerId,
        /// The number that the node gave it.
        id: u64,
        /// The answer, on the request's protocol, or why there is none.
        result: Result<Response, RequestError>,
    },
    /// Gossip came. It is forwarded to others only after
    /// [`NetHandle::verdict`](super::NetHandle::verdict).
    GossipReceived {
        /// Who handed it on: not its author.
        peer: PeerId,
        /// What the verdict names.
        message: GossipId,
        /// The payload.
        gossip: Gossip,
    },
    /// A peer listens to a topic: gossip on it reaches that peer from now on.
    Subscribed {
        /// Who.
        peer: PeerId,
        /// To what.
        topic: Topic,
    },
    /// An address of a peer was found, on this LAN or through other peers; it is dialed without
    /// asking.
    Discovered {
        /// Who, so they say.
        peer: PeerId,
        /// A multiaddr.
        address: String,
    },
    /// A peer broke a rule of the wire.
    Misbehaved {
        /// Who.
        peer: PeerId,
        /// Which rule.
        offence: NetOffence,
        /// What was wrong.
        reason: String,
    },
    /// An address that the user named could not be dialed; it will be tried again.
    DialFailed {
        /// As the user gave it.
        address: String,
        /// Why.
        reason: String,
    },
}

/// Which rule of the wire a peer broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum NetOffence {
    /// A request that is no message, over its limit, or not canonical.
    MalformedRequest,
    /// A response of that kind.
    MalformedResponse,
    /// A gossip payload of that kind.
    MalformedGossip,
    /// Any of them over its limit of bytes, or with more parts than allowed.
    Oversized,
}

impl NetOffence {
    /// Its stable name, for logs.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::MalformedRequest => "malformed_request",
            Self::MalformedResponse => "malformed_response",
            Self::MalformedGossip => "malformed_gossip",
            Self::Oversized => "oversized",
        }
    }
}

/// Where the answer to a peer's request goes. Can be used once.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ReplyId(pub(super) u64);

/// Names one gossip message until its verdict: the first 20 bytes of its payload's SHA-256, and who
/// handed it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct GossipId {
    pub(super) id: [u8; 20],
    pub(super) source: PeerId,
}

impl fmt::Display for GossipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.id))
    }
}

/// What becomes of a gossip message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Valid: hand it on.
    Accept,
    /// Not handed on, and nobody's fault.
    Ignore,
    /// Not handed on, and the sender's fault.
    Reject,
}

impl Verdict {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Accept, Self::Ignore, Self::Reject];

    /// Its short name, for metrics.
    #[must_use]
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Ignore => "ignore",
            Self::Reject => "reject",
        }
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    /// There is no connection to the peer.
    #[error("not connected to {0}")]
    NotConnected(PeerId),
    /// The connection went down before the answer.
    #[error("the connection to {0} went down before the answer")]
    Disconnected(PeerId),
    /// No answer in time, or not sent in time because too many went before it.
    #[error("no answer from {peer} within {limit:?}")]
    TimedOut {
        /// Whom it was asked.
        peer: PeerId,
        /// How long it waited.
        limit: Duration,
    },
    /// The peer does not speak the protocol: another network's, or another program.
    #[error("{0} does not speak this protocol")]
    Unsupported(PeerId),
    /// The peer closed the stream without an answer, or the stream broke.
    #[error("{peer} gave no answer: {reason}")]
    NoAnswer {
        /// Whom it was asked.
        peer: PeerId,
        /// What happened.
        reason: String,
    },
    /// The answer is no message of the protocol.
    #[error("the answer of {peer} is refused: {source}")]
    Malformed {
        /// Who sent it.
        peer: PeerId,
        /// What is wrong with it.
        source: CodecError,
    },
    /// More requests wait for this peer than may.
    #[error("{MAX_WAITING_PER_PEER} requests wait for {0} already")]
    TooMany(PeerId),
    /// The network is shutting down.
    #[error("the network is shut down")]
    ShutDown,
}

impl RequestError {
    /// Whose fault it is: a peer may be slow, or go away, but not send what is no message.
    #[must_use]
    pub(crate) const fn blame(&self) -> Blame {
        match self {
            Self::Malformed { .. } => Blame::Peer,
            Self::TooMany(_) => Blame::Ours,
            Self::NotConnected(_)
            | Self::Disconnected(_)
            | Self::TimedOut { .. }
            | Self::Unsupported(_)
            | Self::NoAnswer { .. }
            | Self::ShutDown => Blame::Nobody,
        }
    }

    /// All the names that [`RequestError::code`] gives.
    pub(crate) const CODES: [&'static str; 8] = [
        "not_connected",
        "disconnected",
        "timed_out",
        "unsupported",
        "no_answer",
        "malformed_response",
        "too_many_requests",
        "shut_down",
    ];

    /// Its stable name, for logs and metrics.
    #[must_use]
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::NotConnected(_) => "not_connected",
            Self::Disconnected(_) => "disconnected",
            Self::TimedOut { .. } => "timed_out",
            Self::Unsupported(_) => "unsupported",
            Self::NoAnswer { .. } => "no_answer",
            Self::Malformed { .. } => "malformed_response",
            Self::TooMany(_) => "too_many_requests",
            Self::ShutDown => "shut_down",
        }
    }
}

/// Why the network did not take what the node gave it. Nothing of it was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// A queue to or from the network is full: later.
    #[error("the network is busy: a queue is full; try again")]
    Busy,
    /// The network is shut down.
    #[error("the network is shut down")]
    ShutDown,
    /// The message is over a limit of its type.
    #[error("the message cannot be sent: {0}")]
    Unsendable(#[from] CodecError),
}

/// Why an address that the user named did not become a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DialError {
    /// Not an address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Somebody else answers there.
    #[error("{address} is not {expected} but {obtained}: ask your friend for a new address")]
    WrongPeer {
        /// What was dialed.
        address: String,
        /// Whom the address named.
        expected: String,
        /// Who answered.
        obtained: String,
    },
    /// The node itself answers there.
    #[error("{0} is this node itself")]
    Oneself(String),
    /// The peer is banned here, or its key is of another kind.
    #[error("{address} is not dialed: {reason}")]
    Refused {
        /// What was dialed.
        address: String,
        /// Why not.
        reason: String,
    },
    /// Nobody answers, or not in the node's language.
    #[error("no connection to {address}: {reason}")]
    Unreachable {
        /// What was dialed.
        address: String,
        /// What the transport said.
        reason: String,
    },
    /// The network did not take the command.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// Why the network did not start.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// An address of the configuration is not one.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Another program listens there.
    #[error(
        "port {port} is already in use on this machine ({address}): stop the program that uses \
         it, perhaps another \
         node, or choose another port"
    )]
    AddressInUse {
        /// A multiaddr.
        address: String,
        /// Its port.
        port: u16,
    },
    /// The system does not let the node listen there.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// A multiaddr.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// There is no address to listen on.
    #[error("there is no address to listen on: give at least one")]
    NowhereToListen,
    /// A part of the network could not be made.
    #[error("the network cannot start: {part}: {reason}")]
    Setup {
        /// Which.
        part: &'static str,
        /// Why.
        reason: String,
    },
}

/// A connected peer as the network sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PeerSnapshot {
    /// Who.
    pub peer: PeerId,
    /// Its connections: one, or two when both ends dialed at once.
    pub connections: Vec<ConnectionSnapshot>,
    /// The program that it says it is, cleaned for display; empty until it has said so.
    pub agent: String,
    /// Whether it has said that it speaks this network's protocols.
    pub same_network: bool,
    /// The topics that it listens to.
    pub topics: Vec<Topic>,
    /// Since the first of its connections.
    pub connected_for: Duration,
}

/// A connection as the network sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectionSnapshot {
    /// Its far end, a multiaddr.
    pub address: String,
    /// Whether the peer dialed.
    pub inbound: bool,
    /// The last ping's round trip.
    pub round_trip: Option<Duration>,
}

impl ConnectionSnapshot {
    /// Whether it is over QUIC, else TCP.
    #[must_use]
    pub(crate) fn is_quic(&self) -> bool {
        self.address.contains("/quic-v1")
    }
}
