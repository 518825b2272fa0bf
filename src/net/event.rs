//! Events that the network emits for the node, and the errors of the node's commands.

use std::{fmt, time::Duration};

use data_encoding::HEXLOWER;

use super::{AddressError, DialCause, limits::MAX_WAITING_PER_PEER};
use crate::{
    primitives::PeerId,
    wire::{CodecError, Gossip, Request, Response, Topic},
};

/// An event for the node. The last event about a peer is [`NetEvent::PeerDisconnected`].
#[derive(Debug)]
pub(crate) enum NetEvent {
    /// The node accepts connections at this multiaddr of one interface.
    Listening { address: String },
    /// The first connection to a peer is up. The peer has proven that it holds the key of its id.
    PeerConnected {
        peer: PeerId,
        /// The peer's multiaddr as this node sees it.
        address: String,
        /// True if the peer dialed.
        inbound: bool,
    },
    /// The last connection to a peer is down. The peer's requests have ended or end soon.
    PeerDisconnected { peer: PeerId, reason: String },
    /// A peer sent a request. Answer with [`NetHandle::respond`](super::NetHandle::respond) within
    /// the protocol's time-out.
    RequestReceived { peer: PeerId, reply: ReplyId, request: Request },
    /// A request of this node has ended. Each accepted request ends with exactly one such event.
    ResponseReceived {
        peer: PeerId,
        /// The number that the node chose for the request.
        id: u64,
        /// The response, on the protocol of the request.
        result: Result<Response, RequestError>,
    },
    /// More bytes of an incomplete answer have arrived.
    ResponseGrows {
        /// The number that the node chose for the request.
        id: u64,
        /// The bytes so far.
        bytes: usize,
    },
    /// A gossip message arrived. It is forwarded only after an accepting
    /// [`NetHandle::verdict`](super::NetHandle::verdict).
    GossipReceived {
        /// The peer that forwarded the message, which need not be its author.
        peer: PeerId,
        message: GossipId,
        gossip: Gossip,
    },
    /// A peer subscribed to a topic. Gossip on that topic reaches the peer from now on.
    Subscribed { peer: PeerId, topic: Topic },
    /// An address of a peer was found by mDNS or through other peers. The network dials it without
    /// a command. No handshake has yet proven that the peer is there.
    Discovered { peer: PeerId, address: String },
    /// A peer broke a rule of the protocol.
    Misbehaved { peer: PeerId, offence: NetOffence, reason: String },
    /// A dial of an address from the user, or of a friend's, failed. The network tries again.
    DialFailed {
        address: String,
        /// The peer that should be there, if it is known.
        peer: Option<PeerId>,
        cause: DialCause,
        /// The failure in the words of the operating system.
        reason: String,
    },
    /// The ways in which others reach this node have changed.
    Reach(Box<ReachSnapshot>),
    /// The path to a connected peer has changed.
    PathChanged {
        peer: PeerId,
        /// The peer that relays; `None` if the connection is direct.
        relay: Option<PeerId>,
        /// The multiaddr of the far end, or of the relay.
        address: String,
    },
    /// A friend's reservation or circuit on this node began or was refused.
    Relaying {
        peer: PeerId,
        /// One of `reserved`, `refused`, `circuit`, `circuit_refused`, `circuit_closed`.
        what: &'static str,
    },
    /// An attempt to reach a peer without its relay ended.
    Punched { peer: PeerId, direct: bool },
    /// Another node with this node's identity runs.
    CopySeen { address: String },
    /// The copy that a dial met at this address has ended.
    CopyEnded { address: String },
    /// The machine slept, or its network has changed. The network dials all known peers anew. No
    /// peer is to blame for messages that it did not send meanwhile.
    Woke {
        /// The time for which the machine slept; zero if only its network has changed.
        away: Duration,
    },
}

/// The widest way in which others reach this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ReachWay {
    /// No peer outside of this network reaches it.
    Nowhere,
    /// Nodes of the local network reach it; it wants no others.
    Lan,
    /// Friends relay for it.
    Relayed,
    /// The router maps a port to it.
    Mapped,
    /// Others reach it directly: a friend has dialed it, or the user gave an address that friends
    /// cannot test.
    Public,
}

/// The router's answer to a request for a mapped port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouterState {
    /// No answer yet.
    Asking,
    /// The router maps at least one port.
    Mapped(MappedBy),
    /// No router answers.
    Silent,
    /// The router answers, and maps no port.
    Refused,
    /// The router has no public address itself, so a port that it maps reaches nobody.
    NotPublic,
}

/// The protocol by which a router maps a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MappedBy {
    Pcp,
    NatPmp,
    Upnp,
}

/// The ways in which others reach this node, and its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReachSnapshot {
    pub(crate) way: ReachWay,
    /// The addresses for others, the best first.
    pub(crate) addresses: Vec<String>,
    /// Addresses from the user at which no friend has reached this node yet.
    pub(crate) unproven: Vec<String>,
    /// The addresses at which the node accepts connections now.
    pub(crate) listening: Vec<String>,
    /// The friends that relay for this node.
    pub(crate) relays: Vec<PeerId>,
    /// True if this node relays for friends.
    pub(crate) relaying: bool,
    /// The router's answer to the request for a mapped port. `None` if this node does not ask.
    pub(crate) router: Option<RouterState>,
}

/// A rule of the protocol that a peer broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum NetOffence {
    /// The bytes of a request do not decode, or are not canonical.
    MalformedRequest,
    /// The bytes of a response do not decode, or are not canonical.
    MalformedResponse,
    /// The payload of a gossip message does not decode, or is not canonical.
    MalformedGossip,
    /// A gossip message is on a topic that this network does not have.
    ForeignTopic,
    /// A message has more bytes or more items than its type allows.
    Oversized,
    /// The peer kept sending long after its budget was used up.
    Flooding,
}

impl NetOffence {
    /// Returns a stable name for logs.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::MalformedRequest => "malformed_request",
            Self::MalformedResponse => "malformed_response",
            Self::MalformedGossip => "malformed_gossip",
            Self::ForeignTopic => "foreign_topic",
            Self::Oversized => "oversized",
            Self::Flooding => "flooding",
        }
    }
}

/// The handle with which the node answers one request. It is used once.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ReplyId(pub(super) u64);

/// The name of a gossip message, valid until its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct GossipId {
    /// The id by topic and payload.
    pub(super) id: [u8; 20],
    /// The peer that forwarded the message first.
    pub(super) source: PeerId,
}

impl fmt::Display for GossipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.id))
    }
}

/// The reason why a request has no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("not connected to {0}")]
    NotConnected(PeerId),
    #[error("the connection to {0} went down before the answer")]
    Disconnected(PeerId),
    /// No response arrived in time, or the request waited too long behind others.
    #[error("no answer from {peer} within {limit:?}")]
    TimedOut { peer: PeerId, limit: Duration },
    /// The peer does not support the protocol: it is on another network, or another program.
    #[error("{0} does not speak this protocol")]
    Unsupported(PeerId),
    /// The peer closed the stream without a response, or the stream broke.
    #[error("{peer} gave no answer: {reason}")]
    NoAnswer { peer: PeerId, reason: String },
    /// The response does not decode.
    #[error("the answer of {peer} is refused: {source}")]
    Malformed { peer: PeerId, source: CodecError },
    /// The queue of requests to this peer is full.
    #[error("{MAX_WAITING_PER_PEER} requests wait for {0} already")]
    TooMany(PeerId),
    #[error("the network is shut down")]
    ShutDown,
}

impl RequestError {
    /// All names that [`RequestError::code`] returns.
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

    /// Returns a stable name for logs and metrics.
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

/// The reason why the network did not accept a command. The command had no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    /// A queue to or from the network is full. The caller may retry later.
    #[error("the network is busy: a queue is full; try again")]
    Busy,
    #[error("the network is shut down")]
    ShutDown,
    /// The message exceeds a limit of its type.
    #[error("the message cannot be sent: {0}")]
    Unsendable(#[from] CodecError),
}

/// The reason why an address from the user did not become a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DialError {
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A peer with another id answered at the address.
    #[error("{address} is not {expected} but {obtained}: ask your friend for a new address")]
    WrongPeer { address: String, expected: String, obtained: String },
    /// The address is one of this node.
    #[error("{0} is this node itself")]
    Oneself(String),
    /// The peer is banned here, or its key is not ed25519.
    #[error("{address} is not dialed: {reason}")]
    Refused { address: String, reason: String },
    /// No peer answers at the address, or it shares no transport or protocol with this node.
    #[error("no connection to {address}: {reason}")]
    Unreachable { address: String, reason: String },
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// The reason why the network did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetError {
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Another program listens at the address.
    #[error(
        "port {port} is already in use on this machine ({address}): stop the program that uses \
         it, perhaps another \
         node, or choose another port"
    )]
    AddressInUse { address: String, port: u16 },
    /// The system does not let the node listen at the address.
    #[error("cannot listen on {address}: {reason}")]
    Listen { address: String, reason: String },
    #[error("there is no address to listen on: give at least one")]
    NowhereToListen,
    /// A part of the network could not be set up.
    #[error("the network cannot start: {part}: {reason}")]
    Setup { part: &'static str, reason: String },
}

/// The state of a connected peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PeerSnapshot {
    pub(crate) peer: PeerId,
    /// One connection, or two when both ends dialed at once.
    pub(crate) connections: Vec<ConnectionSnapshot>,
    /// The program that the peer claims to be, cleaned for display. Empty until the peer has
    /// identified itself.
    pub(crate) agent: String,
    /// True once the peer has announced the protocols of this network.
    pub(crate) same_network: bool,
    /// The topics to which the peer is subscribed.
    pub(crate) topics: Vec<Topic>,
    /// The time since the first connection came up.
    pub(crate) connected_for: Duration,
}

/// The state of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectionSnapshot {
    /// The multiaddr of the far end.
    pub(crate) address: String,
    /// True if the peer dialed.
    pub(crate) inbound: bool,
    /// The round trip of the last ping.
    pub(crate) round_trip: Option<Duration>,
}

impl ConnectionSnapshot {
    /// True if the connection uses QUIC, false if it uses TCP.
    #[must_use]
    pub(crate) fn is_quic(&self) -> bool {
        self.address.contains("/quic-v1")
    }
}
