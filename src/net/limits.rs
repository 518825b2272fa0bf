//! How much of everything the network holds, and for how long. Each says why it is what it is.

use std::time::Duration;

/// Events that wait for the node. A stalled node sheds gossip and requests at half of it; the rest
/// is for what must not be lost: the ends of requests, and who comes and goes.
pub(super) const EVENT_QUEUE: usize = 2_048;
/// Commands that wait for the network.
pub(super) const COMMAND_QUEUE: usize = 1_024;
/// Answers and verdicts that wait for the network: one slot for each that the node can owe, so that
/// none is lost.
pub(super) const ANSWER_QUEUE: usize = MAX_INBOUND + MAX_UNDECIDED;

/// Requests to one peer on their way. yamux kills a connection with more than 512 open substreams,
/// and both ends ask.
pub(super) const MAX_IN_FLIGHT_PER_PEER: usize = 64;
/// Requests to one peer that wait for their turn.
pub(super) const MAX_WAITING_PER_PEER: usize = 256;
/// Streams of one protocol in one connection, in and out: the far end's 64 beside ours, and some
/// room.
pub(super) const MAX_STREAMS: usize = 2 * MAX_IN_FLIGHT_PER_PEER + 32;
/// How long a request waits for its turn before it ends as timed out.
pub(super) const MAX_WAITING_TIME: Duration = Duration::from_secs(30);

/// Requests of all peers that the node owes an answer; beyond it they get Busy.
pub(super) const MAX_INBOUND: usize = 512;
/// Requests of one peer that the node owes an answer.
pub(super) const MAX_INBOUND_PER_PEER: usize = 96;
/// Bytes of all of them, as they came.
pub(super) const MAX_INBOUND_BYTES: usize = 16 << 20;

/// Bytes of answers to one peer on their way; one more is always allowed. A peer that does not read
/// gets Busy.
pub(super) const MAX_SENDING_PER_PEER: usize = 16 << 20;
/// Bytes of answers to all peers on their way.
pub(super) const MAX_SENDING: usize = 64 << 20;
/// A request of no more than this is read without further ado: all but the longest lists of
/// positions.
pub(super) const SMALL_REQUEST: usize = 8 * 1024;
/// Larger requests that are read at once, of all peers: each holds up to 256 KiB until it is read.
pub(super) const MAX_LARGE_REQUESTS: usize = 64;

/// Gossip messages that wait for the node's verdict; beyond it they are ignored.
pub(super) const MAX_UNDECIDED: usize = 512;
/// Bytes of all of them.
pub(super) const MAX_UNDECIDED_BYTES: usize = 32 << 20;
/// Of both, what one peer may take: a quarter.
pub(super) const UNDECIDED_SHARE: usize = 4;
/// How many heartbeats (seconds) gossipsub remembers a message: the time that the node has for its
/// verdict.
pub(super) const GOSSIP_HISTORY: usize = 30;
/// After this a verdict is late, and the message counts as ignored.
pub(super) const VERDICT_TIME: Duration = Duration::from_secs(GOSSIP_HISTORY as u64 - 2);

/// Published messages that wait for the first peer that listens.
pub(super) const MAX_KEPT: usize = 64;
/// Bytes of all of them.
pub(super) const MAX_KEPT_BYTES: usize = 4 << 20;
/// After this they are old news.
pub(super) const KEPT_TIME: Duration = Duration::from_mins(10);
/// Messages in gossipsub's queue to one peer. It counts messages, not bytes, so it is far below its
/// default of 5,000.
pub(super) const GOSSIP_SEND_QUEUE: usize = 1_000;
/// The frame and the envelope around a payload, and what stands behind it in the receiver's read
/// buffer, which gossipsub counts too.
pub(super) const GOSSIP_OVERHEAD: usize = 16 * 1024;
/// Control messages of one frame: an IHAVE of 5,000 ids of 20 bytes has 110 kB, and over the limit
/// gossipsub goes deaf.
pub(super) const MAX_GOSSIP_CONTROL: usize = 1 << 20;

/// Connections to one peer: both ends may dial at once.
pub(super) const MAX_CONNECTIONS_PER_PEER: u32 = 2;
/// Connections in all.
pub(super) const MAX_CONNECTIONS: u32 = 512;
/// Connections that peers made.
pub(super) const MAX_INBOUND_CONNECTIONS: u32 = 384;
/// Connections that are being made, each way.
pub(super) const MAX_PENDING_CONNECTIONS: u32 = 96;
/// Failed pings in a row after which a connection is closed.
pub(super) const MAX_PING_FAILURES: u32 = 3;
/// Connections that do nothing are kept: pings decide which are dead.
pub(super) const IDLE_TIME: Duration = Duration::from_hours(365 * 24);

/// Peers in the address book that are not connected.
pub(super) const MAX_KNOWN_PEERS: usize = 1_024;
/// Addresses of one of them.
pub(super) const MAX_KNOWN_ADDRESSES: usize = 8;
/// Addresses that users named.
pub(super) const MAX_SEEDS: usize = 64;
/// Failures in a row after which a peer that was found but never met is forgotten: some minutes.
pub(super) const MAX_FAILURES_FOUND: u32 = 8;
/// Failures in a row after which a peer that was met is forgotten, unless the node knows it as a
/// friend: about an hour.
pub(super) const MAX_FAILURES_MET: u32 = 64;
/// Dials that begin in one go, so that a full address book is no burst.
pub(super) const DIALS_PER_TICK: usize = 8;
/// A peer's agent text, in characters.
pub(super) const MAX_AGENT_CHARS: usize = 64;

/// How long the network lingers at its end, so that a goodbye gets out.
pub(super) const LINGER: Duration = Duration::from_millis(250);

const _: () = {
    // Both ends' requests, and the long-lived and short streams of the other protocols, stay under
    // yamux's 512.
    assert!(2 * MAX_IN_FLIGHT_PER_PEER + 64 < 512);
    assert!(MAX_INBOUND + MAX_UNDECIDED <= EVENT_QUEUE / 2);
};
