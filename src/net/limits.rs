//! Limits on everything that the network holds, each with the reason for its value.

use std::time::Duration;

use crate::peers::MAX_CONNECTED;

/// Capacity of the queue of events for the node. A stalled node sheds gossip and requests once the
/// queue is half full. The other half is for the ends of requests and for peers that connect or
/// disconnect, which must not be lost.
pub(super) const EVENT_QUEUE: usize = 2_048;
/// Capacity of the queue of commands from the node.
pub(super) const COMMAND_QUEUE: usize = 1_024;
/// Capacity of the queue of responses and verdicts from the node. There is one slot for each
/// response and verdict that the node can owe, so that none is lost.
pub(super) const ANSWER_QUEUE: usize = MAX_INBOUND + MAX_PENDING_VERDICTS;

/// Requests in flight to one peer. yamux closes a connection with more than 512 open substreams,
/// and both ends send requests.
pub(super) const MAX_IN_FLIGHT_PER_PEER: usize = 64;
/// Requests to one peer that wait until fewer are in flight. A request to a peer with more fails.
pub(super) const MAX_WAITING_PER_PEER: usize = 256;
/// Streams of one protocol on one connection, both ways: 64 of each end, and 32 to spare.
pub(super) const MAX_STREAMS: usize = 2 * MAX_IN_FLIGHT_PER_PEER + 32;
/// Time that a request waits to be sent before it ends as timed out.
pub(super) const MAX_WAITING_TIME: Duration = Duration::from_secs(30);

/// Requests of all peers that wait for the node's response. Any further request is answered Busy.
pub(super) const MAX_INBOUND: usize = 512;
/// Requests of one peer that wait for the node's response: the 64 that an honest peer keeps in
/// flight, and half as many again.
pub(super) const MAX_INBOUND_PER_PEER: usize = 96;
/// Requests of all peers that are no friends, of those that wait for the node's response. The rest
/// of [`MAX_INBOUND`] is for friends.
pub(super) const MAX_INBOUND_STRANGERS: usize = 384;
/// Bytes of all requests that wait for the node's response, as received: 16 MiB.
pub(super) const MAX_INBOUND_BYTES: usize = 16 << 20;
/// Bytes of those that are of no friends: 12 MiB.
pub(super) const MAX_INBOUND_BYTES_STRANGERS: usize = 12 << 20;

/// Bytes of unsent responses to one peer: 16 MiB. A friend with no unsent response may always get
/// one. Beyond the limit, a peer that does not read is answered Busy.
pub(super) const MAX_SENDING_PER_PEER: usize = 16 << 20;
/// Bytes of unsent responses to all peers: 64 MiB.
pub(super) const MAX_SENDING: usize = 64 << 20;
/// Bytes of unsent responses to one peer that is no friend: 9 MiB, the answers to two of
/// the largest requests.
pub(super) const MAX_SENDING_STRANGER: usize = 9 << 20;
/// Bytes of unsent responses to all peers that are no friends: 32 MiB. The rest of [`MAX_SENDING`]
/// is for friends.
pub(super) const MAX_SENDING_STRANGERS: usize = 32 << 20;
/// Size of a response, in bytes, that any peer without an unsent one may get: hello, profiles of
/// a few, headers of a short walk, and Busy.
pub(super) const SMALL_RESPONSE: usize = 64 * 1024;
/// Size of a request, in bytes, that is read without a permit. Only the longest lists of positions
/// are larger.
pub(super) const SMALL_REQUEST: usize = 8 * 1024;
/// Permits for reading larger requests, over all peers: 64 × 256 KiB = 16 MiB while they are read.
pub(super) const MAX_LARGE_REQUESTS: usize = 64;

/// Gossip messages that wait for the node's verdict. Any further message is ignored.
pub(super) const MAX_PENDING_VERDICTS: usize = 512;
/// Bytes of all gossip messages that wait for a verdict: 32 MiB.
pub(super) const MAX_PENDING_BYTES: usize = 32 << 20;
/// Divisor of both limits for one peer: a quarter each.
pub(super) const PENDING_SHARE: usize = 4;
/// Heartbeats (of 1 s) for which gossipsub remembers a message. The node must give its verdict in
/// that time.
pub(super) const GOSSIP_HISTORY: usize = 30;
/// Age at which a message without a verdict counts as ignored: 2 s before gossipsub forgets it.
pub(super) const VERDICT_TIME: Duration = Duration::from_secs(GOSSIP_HISTORY as u64 - 2);

/// Published messages that wait until a peer subscribes to their topic. The oldest are dropped
/// first.
pub(super) const MAX_UNHEARD: usize = 64;
/// Bytes of all published messages that wait for a subscriber: 4 MiB.
pub(super) const MAX_UNHEARD_BYTES: usize = 4 << 20;
/// Age at which a message that waits for a subscriber is dropped as old news.
pub(super) const UNHEARD_TIME: Duration = Duration::from_mins(10);
/// Messages in gossipsub's send queue to one peer. The queue counts messages and not bytes, so the
/// limit is far below gossipsub's default of 5,000.
pub(super) const GOSSIP_SEND_QUEUE: usize = 1_000;
/// Bytes of a gossip frame beyond its payload: the frame and the envelope, and the data behind
/// them in the receiver's read buffer, which gossipsub counts too.
pub(super) const GOSSIP_OVERHEAD: usize = 16 * 1024;
/// Bytes of control messages in one frame. An IHAVE of 5,000 ids of 20 bytes has 110 kB. Above the
/// limit, gossipsub closes its inbound stream for good.
pub(super) const MAX_GOSSIP_CONTROL: usize = 1 << 20;

/// Connections to one peer. Both ends may dial at once.
pub(super) const MAX_CONNECTIONS_PER_PEER: u32 = 2;
/// Connections that are the second one to their peer. Further ones are refused.
pub(super) const MAX_SECOND_CONNECTIONS: usize = 64;
/// Connections to all peers: one for each of [`MAX_CONNECTED`], the second ones, and as many again
/// that are about to close. The bound covers memory and file descriptors.
pub(super) const MAX_CONNECTIONS: u32 = 512;
/// Dials of this node during their handshakes.
pub(super) const MAX_PENDING_CONNECTIONS: u32 = 96;
/// Handshakes in progress with peers that dialed. Beyond it, the oldest one of the IP address with
/// the most is given up.
pub(super) const MAX_HANDSHAKES: usize = 256;
/// Handshakes in progress from one IP address. It is large, since a friend may share its address
/// with somebody who opens sockets and says nothing.
pub(super) const MAX_HANDSHAKES_PER_IP: usize = 128;
/// Time in which a connection that the node closes may tell its far end, in ms. Then it is dropped.
pub(super) const CLOSE_MS: u64 = 1_000;
/// Time from a connection to the peer's hello, in ms. A peer that said none then is disconnected.
pub(super) const HELLO_MS: u64 = 20_000;
/// Time for which a peer that lost its place is not dialed again: it would take another's.
pub(super) const EVICTED_PAUSE: Duration = Duration::from_mins(2);
/// Time for which a peer that said no hello is not dialed again.
pub(super) const NO_HELLO_PAUSE: Duration = Duration::from_mins(1);
/// Failed pings in a row after which a connection is closed.
pub(super) const MAX_PING_FAILURES: u32 = 3;
/// Idle time after which libp2p closes a connection: never, in effect. Pings detect dead ones.
pub(super) const IDLE_TIME: Duration = Duration::from_hours(365 * 24);

/// Peers in the address book.
pub(super) const MAX_KNOWN_PEERS: usize = 1_024;
/// Addresses of one peer in the address book, and addresses taken from one message of libp2p.
pub(super) const MAX_KNOWN_ADDRESSES: usize = 8;
/// Addresses from the user in the address book.
pub(super) const MAX_SEEDS: usize = 64;
/// Failures in a row after which a discovered peer that never connected is forgotten. With the
/// back-off these take some minutes.
pub(super) const MAX_FAILURES_FOUND: u32 = 8;
/// Failures in a row after which a formerly connected peer is forgotten, unless the node vouches
/// for it. With the back-off these take about an hour.
pub(super) const MAX_FAILURES_MET: u32 = 64;
/// Dials that begin in one tick, so that a full address book causes no burst.
pub(super) const DIALS_PER_TICK: usize = 8;
/// Characters of a peer's agent text.
pub(super) const MAX_AGENT_CHARS: usize = 64;

/// Peers at one IP address before gossipsub's score counts them against each other. A household,
/// an office or a test set-up behind one address has fewer.
pub(super) const MAX_PEERS_PER_IP: u32 = 32;

/// Time that the network stays up at its end, so that a goodbye can leave.
pub(super) const LINGER: Duration = Duration::from_millis(250);

const _: () = {
    // The requests of both ends, and 64 streams of other protocols, stay under yamux's 512.
    assert!(2 * MAX_IN_FLIGHT_PER_PEER + 64 < 512);
    assert!(MAX_INBOUND + MAX_PENDING_VERDICTS <= EVENT_QUEUE / 2);
    // Each connected peer has its connection, and room to close another.
    assert!(MAX_CONNECTIONS as usize >= 2 * (MAX_CONNECTED + MAX_SECOND_CONNECTIONS));
    assert!(MAX_INBOUND_STRANGERS < MAX_INBOUND && MAX_SENDING_STRANGERS < MAX_SENDING);
};
