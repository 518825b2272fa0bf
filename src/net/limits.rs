//! Limits on everything that the network holds, each with the reason for its value.

use std::time::Duration;

use crate::{peers::MAX_CONNECTED, wire::limits::MAX_GOSSIP_BYTES};

/// Capacity of the queue of events for the node. A stalled node sheds gossip and requests once the
/// queue is half full. The other half is for the ends of requests and for peers that connect or
/// disconnect, which must not be lost.
pub(super) const EVENT_QUEUE: usize = 2_048;
/// Capacity of the queue of commands from the node.
pub(super) const COMMAND_QUEUE: usize = 1_024;
/// Capacity of the queue of responses and verdicts from the node. It has one slot for each response
/// and verdict that the node can owe, so that none is lost.
pub(super) const ANSWER_QUEUE: usize = MAX_INBOUND + MAX_PENDING_VERDICTS;

/// Requests in flight to one peer, on all protocols. A peer allows a stranger
/// [`STRANGER_STREAMS`] streams, and both ends send requests.
pub(super) const MAX_IN_FLIGHT_PER_PEER: usize = 10;
/// Requests of these on `sync`: four for bodies and four for headers. The rest is for the other
/// protocols, so that a line or a hello does not wait behind blocks.
pub(super) const MAX_SYNC_IN_FLIGHT: usize = 8;
/// Requests to one peer that wait until fewer are in flight. A further request fails.
pub(super) const MAX_WAITING_PER_PEER: usize = 256;
/// Streams of one protocol on one connection, both ways: 10 of each end, and 8 to spare.
pub(super) const MAX_STREAMS: usize = 2 * MAX_IN_FLIGHT_PER_PEER + 8;
/// Time that a request waits to be sent before it ends as timed out.
pub(super) const MAX_WAITING_TIME: Duration = Duration::from_secs(30);

/// Requests of all peers that wait for the node's response. Any further request is answered Busy.
pub(super) const MAX_INBOUND: usize = 512;
/// Requests of one peer that wait for the node's response: the 10 that an honest peer keeps in
/// flight, and as many again.
pub(super) const MAX_INBOUND_PER_PEER: usize = 2 * MAX_IN_FLIGHT_PER_PEER;
/// Requests that wait for the node's response, of all peers that are no friends. The rest of
/// [`MAX_INBOUND`] is for friends.
pub(super) const MAX_INBOUND_STRANGERS: usize = 384;
/// The most of [`MAX_INBOUND_STRANGERS`] for peers that are not proven either. The rest is for
/// proven peers.
pub(super) const MAX_INBOUND_UNPROVEN: usize = MAX_INBOUND_STRANGERS / 4 * 3;
/// Requests that wait for the node's response, of all peers of one host (an IP address or a /64)
/// that are neither friends nor proven: an eighth of [`MAX_INBOUND_STRANGERS`], and of its bytes.
pub(super) const MAX_INBOUND_PER_HOST: usize = MAX_INBOUND_STRANGERS / 8;
/// Requests of peers that are no friends and have not said hello, hellos excepted. The router keeps
/// each for 5 s.
pub(super) const MAX_EARLY: usize = 64;
/// The most of [`MAX_EARLY`] of one host: all early requests of two of its peers.
pub(super) const MAX_EARLY_PER_HOST: usize = 16;
/// Bytes of all requests that wait for the node's response, as received: 16 MiB.
pub(super) const MAX_INBOUND_BYTES: usize = 16 << 20;
/// Bytes of such requests of peers that are no friends: 12 MiB.
pub(super) const MAX_INBOUND_BYTES_STRANGERS: usize = 12 << 20;
/// Bytes of such requests of peers that are not proven either: 9 MiB.
pub(super) const MAX_INBOUND_BYTES_UNPROVEN: usize = MAX_INBOUND_BYTES_STRANGERS / 4 * 3;
/// Bytes of such requests of one host: 1.5 MiB.
pub(super) const MAX_INBOUND_BYTES_PER_HOST: usize = MAX_INBOUND_BYTES_STRANGERS / 8;

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
/// Size of a response, in bytes, that any peer without an unsent response may get: a hello, a few
/// profiles, headers of a short walk, or Busy.
pub(super) const SMALL_RESPONSE: usize = 64 * 1024;
/// Time without a byte after which an answer counts as lost. Every message may take at least this
/// long.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(20);
/// Bytes a second that a message needs beyond [`ANSWER_TIME`]. It bounds the time for which a slow
/// reader holds memory.
pub(super) const SLOWEST_RATE: u64 = 16 * 1024;
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
/// Divisor of both limits for all peers together that are no friends: a half.
pub(super) const STRANGERS_SHARE: usize = 2;
/// Peers whose reconnections are remembered, so that each wait is longer than the last. The oldest
/// is forgotten first.
pub(super) const MAX_RECONNECTIONS: usize = 1_024;
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
/// Bytes of a gossip frame beyond its payload: the frame and the envelope, and the following data
/// in the receiver's read buffer, which gossipsub counts too.
pub(super) const GOSSIP_OVERHEAD: usize = 16 * 1024;
/// Bytes of a gossipsub frame, outside of tests: the largest payload, and [`GOSSIP_OVERHEAD`].
pub(super) const MAX_GOSSIP_FRAME: usize = MAX_GOSSIP_BYTES + GOSSIP_OVERHEAD;
/// Bytes of control messages in one frame. An IHAVE of 5,000 ids of 20 bytes has 110 kB, and a
/// frame may have one for each of two topics. The smallest ids take twenty times their bytes once
/// decoded. Above the limit, gossipsub closes its inbound stream for good.
pub(super) const MAX_GOSSIP_CONTROL: usize = 256 * 1024;
/// Events of one connection that wait for the swarm task. Each may be a decoded gossip frame, so
/// they are few.
pub(super) const EVENTS_PER_CONNECTION: usize = 2;

/// Bytes that the far end may send on a stream before they are read: the window of yamux.
pub(super) const STREAM_WINDOW: u32 = 256 * 1024;
/// Streams on a stranger's connection, of both ends together. If the peer opens more, the
/// connection is closed. Honest nodes need 32: [`MAX_IN_FLIGHT_PER_PEER`] requests of each end and
/// [`OTHER_STREAMS`].
pub(super) const STRANGER_STREAMS: usize = 48;
/// Streams on a friend's connection, of both ends together.
pub(super) const FRIEND_STREAMS: usize = 128;
/// Streams of both ends for gossip, pings, identify and Kademlia.
const OTHER_STREAMS: usize = 12;
/// Unread bytes of a stranger's connection: 1 MiB. At the bound, the socket is not read.
pub(super) const STRANGER_HELD_BYTES: usize = 1 << 20;
/// Unread bytes of a friend's connection: 8 MiB.
pub(super) const FRIEND_HELD_BYTES: usize = 8 << 20;
/// Memory that a buffered frame of yamux takes beside its data, in bytes: the allocation and its
/// place in the queue. Even a frame of one byte takes it.
pub(super) const HELD_FRAME_BYTES: usize = 64;
/// Time for which a connection may stay at its bound. Only a stalled node needs longer.
pub(super) const STUCK_TIME: Duration = Duration::from_secs(20);
/// Time that a connection has to send what waits when it closes. A peer that reads nothing, or is
/// no longer there, must not keep it.
pub(super) const CLOSE_TIME: Duration = Duration::from_secs(2);
/// Time between two pings on one connection.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Time in which a ping must be answered.
pub(super) const PING_TIME: Duration = Duration::from_secs(10);
/// Time for which several connections of one kind to a peer stand beside each other. A dead one has
/// failed to answer a ping by then.
pub(super) const SPARE_TIME: Duration = Duration::from_secs(30);
/// Streams that a peer may open on one connection over QUIC. Further ones wait until an eighth of
/// these have ended, since QUIC announces new room only then.
pub(super) const QUIC_STREAMS: u32 = 48;
/// Unread bytes of one QUIC connection: 512 KiB, for any level. QUIC fixes this window before it
/// knows the peer.
pub(super) const QUIC_WINDOW: u32 = 512 * 1024;
/// Time after which a frame of gossip without a new byte closes its connection.
pub(super) const FRAME_TIME: Duration = Duration::from_secs(20);
/// Bytes a second that a frame of gossip needs to go on beyond [`FRAME_TIME`]. The largest frame
/// may take 85 s.
pub(super) const FRAME_RATE: u64 = 16 * 1024;
/// Bytes that one stranger's connection may hold here: 4 MiB. These are unread bytes, one more
/// frame of yamux, and a gossip frame in a buffer of up to twice its size.
pub(super) const STRANGER_CONNECTION_BYTES: usize = 4 << 20;
/// Connections of peers that are no friends. At the figure above they could hold 512 MiB.
const STRANGER_CONNECTIONS: usize = 128;
/// Bytes that all strangers' connections hold here together: 48 MiB. Beyond it, the connection that
/// holds most is closed.
pub(super) const MAX_HELD_BY_STRANGERS: usize = 48 << 20;
/// Memory of the whole process at which no further connection is accepted or dialed: 1 GiB. The
/// other bounds keep a node far below it.
pub(super) const MAX_PROCESS_BYTES: usize = 1 << 30;

/// Connections to one peer: one through a relay, one for each end that dials at once, and one that
/// tests an address of a friend.
pub(super) const MAX_CONNECTIONS_PER_PEER: u32 = 4;
/// Friends who relay for this node at once. If one stops relaying, the other still does. Each costs
/// a stream an hour, and a test every [`TEST_INTERVAL`].
pub(super) const MAX_RELAYS: usize = 2;
/// Addresses of one relay that this node offers as its own.
pub(super) const MAX_RELAY_ADDRESSES: usize = 2;
/// Time in which a friend has to grant a reservation.
pub(super) const RESERVE_TIME: Duration = Duration::from_secs(10);
/// Time for which a friend that granted no reservation, or ended one, is not asked again. It
/// doubles with each failure, up to [`LONGEST_RELAY_PAUSE`].
pub(super) const RELAY_PAUSE: Duration = Duration::from_secs(5);
/// The maximum of [`RELAY_PAUSE`] after doubling.
pub(super) const LONGEST_RELAY_PAUSE: Duration = Duration::from_hours(1);
/// Friends whose pauses are remembered. The one that ends first is forgotten first.
pub(super) const MAX_RELAY_PAUSES: usize = 64;
/// Distinct addresses that a relay may name on one reservation. An honest one has a few.
pub(super) const MAX_NAMED_ADDRESSES: usize = 32;
/// Least time between two grants of one reservation. A node renews after three quarters of the
/// granted time: 45 minutes, or less if the relay's clock is behind.
pub(super) const LEAST_RENEWAL: Duration = Duration::from_secs(30);
/// Time between two tests of a relay that opens circuits. A test costs about 1 kB.
pub(super) const TEST_INTERVAL: Duration = Duration::from_mins(10);
/// Time from a failed test of a relay to the next.
pub(super) const RETEST_TIME: Duration = Duration::from_secs(20);
/// Failed tests in a row after which another friend is asked to relay. One may fail because the
/// relay is busy.
pub(super) const MAX_FAILED_TESTS: u32 = 2;
/// Time for which a relayed connection stays beside a direct one, so that its answers arrive.
pub(super) const RELAYED_GRACE: Duration = Duration::from_secs(2);
/// First wait before a friend behind a relay is dialed directly again. It doubles up to
/// [`LONGEST_DIRECT_WAIT`]. Hole punching takes about a second. Over TCP it fails between a router
/// that lets everybody in and one that maps each destination anew, and there a plain dial succeeds.
pub(super) const DIRECT_WAIT: Duration = Duration::from_secs(3);
/// The maximum of [`DIRECT_WAIT`] after doubling.
pub(super) const LONGEST_DIRECT_WAIT: Duration = Duration::from_mins(15);
/// Bytes a second of answers on `sync` that this node takes through a relay: 256 KiB. Chat lines
/// and gossip pass beside them.
pub(super) const RELAYED_SYNC_RATE: u64 = 256 * 1024;

/// Reservations that this node grants, all to friends. At the bound, libp2p refuses renewals too.
pub(super) const MAX_RESERVATIONS: usize = 64;
/// Reservations of one friend: one, and one on a connection that is about to end.
pub(super) const MAX_RESERVATIONS_PER_PEER: usize = 2;
/// Time for which a reservation is valid. Its owner renews it.
pub(super) const RESERVATION_TIME: Duration = Duration::from_hours(1);
/// Circuits that this node relays at once.
pub(super) const MAX_CIRCUITS: usize = 64;
/// Circuits of one friend, from it and to it, beyond which it opens no other.
pub(super) const MAX_CIRCUITS_PER_PEER: usize = 8;
/// Bytes of one circuit, of both directions together: 32 MiB. Then it ends, and its ends open
/// another.
pub(super) const MAX_CIRCUIT_BYTES: u64 = 32 << 20;
/// Time for which one circuit lasts.
pub(super) const MAX_CIRCUIT_TIME: Duration = Duration::from_hours(2);
/// Reservations that one friend asks for at once; one more comes every [`RELAY_REFILL`].
pub(super) const RESERVATIONS_AT_ONCE: u32 = 16;
/// Circuits that one friend opens in a row; one more comes every [`RELAY_REFILL`]. With
/// [`MAX_CIRCUIT_BYTES`] this bounds one friend to 3.4 MB/s in the long run.
pub(super) const CIRCUITS_AT_ONCE: u32 = 32;
/// Time after which one more reservation and one more circuit may be requested.
pub(super) const RELAY_REFILL: Duration = Duration::from_secs(10);

/// Ports that the router is asked to map: TCP and QUIC of two addresses to listen on.
pub(super) const MAX_MAPPED_PORTS: usize = 4;
/// Time for which the router maps a port. A node that dies leaves the mapping behind for so long.
pub(super) const MAPPING_TIME: Duration = Duration::from_hours(1);
/// Shortest time of a mapped port that is of use. A router that grants less counts as refusing.
pub(super) const SHORTEST_MAPPING: Duration = Duration::from_mins(2);
/// Longest time between two renewals. A renewal also shows a new address of the router.
pub(super) const MAPPING_RENEWAL: Duration = Duration::from_mins(15);
/// Wait after a renewal without an answer, and first wait after a round in which no router mapped a
/// port. The latter doubles with each further one, up to [`LONGEST_MAPPING_PAUSE`].
pub(super) const MAPPING_PAUSE: Duration = Duration::from_mins(1);
/// The maximum of [`MAPPING_PAUSE`] after doubling.
pub(super) const LONGEST_MAPPING_PAUSE: Duration = Duration::from_hours(1);

/// Simultaneous dials that a peer causes: to relays, for hole punching, and back.
pub(super) const MAX_GUEST_DIALS: usize = 32;
/// Addresses that a peer may name for one hole punching. libp2p keeps 20 candidates.
pub(super) const MAX_GUEST_ADDRESSES: usize = 20;
/// Addresses at which friends see this node, and whose tests are remembered. A friend shows three
/// on a connection.
pub(super) const MAX_CANDIDATES: usize = 16;
/// Time from a question about an address to its departure. It keeps two questions to one friend
/// further apart than [`DIAL_BACK_PAUSE`].
pub(super) const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Time after which a question about an address counts as failed. libp2p waits for 10 s.
pub(super) const QUESTION_TIME: Duration = Duration::from_secs(15);
/// Wait after the first failed test of an address. It doubles up to [`LONGEST_RETEST_WAIT`]: a test
/// costs up to 100 kB, and an address behind a closed router fails for ever.
pub(super) const RETEST_WAIT: Duration = Duration::from_mins(10);
/// The maximum of [`RETEST_WAIT`] after doubling. A port that the user opens counts by then.
pub(super) const LONGEST_RETEST_WAIT: Duration = Duration::from_hours(1);
/// Least time between two dials back to one friend.
pub(super) const DIAL_BACK_PAUSE: Duration = Duration::from_millis(500);
/// Time for which a confirmed address is kept after the last friend has seen it.
pub(super) const UNSEEN_TIME: Duration = Duration::from_mins(5);

/// Second connections to a peer, over all peers. Further ones are refused.
pub(super) const MAX_SECOND_CONNECTIONS: usize = 64;
/// Connections to all peers: one for each of [`MAX_CONNECTED`], the second ones, and as many again
/// that are about to close. The bound covers memory and file descriptors.
pub(super) const MAX_CONNECTIONS: u32 = 512;
/// Dials of this node that are in their handshakes.
pub(super) const MAX_PENDING_CONNECTIONS: u32 = 96;
/// Peers that are no friends and are dialed at once at proven addresses. Each may be mute for
/// [`CONNECT_TIME`]; half of [`MAX_PENDING_CONNECTIONS`] is for the user's peers and for hints.
pub(super) const MAX_MET_DIALING: usize = 48;
/// Handshakes in progress with peers that dialed. Beyond it, the oldest one of the /24 or /48
/// with the most is dropped.
pub(super) const MAX_HANDSHAKES: usize = 256;
/// Handshakes in progress from one IP address. It is large, since a friend may share its address
/// with an attacker who opens mute sockets.
pub(super) const MAX_HANDSHAKES_PER_IP: usize = 128;
/// Time in which a closing connection may notify its far end, in ms. Then it is dropped.
pub(super) const CLOSE_MS: u64 = 1_000;
/// Time from a connection to the peer's hello, in ms. A peer without one is then disconnected.
pub(super) const HELLO_MS: u64 = 20_000;
/// Time for which a peer that lost its place is not dialed again, since it would evict another.
pub(super) const EVICTED_PAUSE: Duration = Duration::from_mins(2);
/// Time for which a peer that sent no hello is not dialed again.
pub(super) const NO_HELLO_PAUSE: Duration = Duration::from_mins(1);
/// Failed pings in a row after which a connection is closed.
pub(super) const MAX_PING_FAILURES: u32 = 3;
/// Time for a dial and its handshake: 8 s. A friend who asks for a dial back waits for 10 s, and
/// asks again for ever if no answer comes by then.
pub(super) const CONNECT_TIME: Duration = Duration::from_secs(8);
/// Idle time after which libp2p closes a connection: never, in effect. Pings detect dead ones.
pub(super) const IDLE_TIME: Duration = Duration::from_hours(365 * 24);

/// Peers with proven addresses in the address book. A proven address is one from the user, or one
/// at which a connection has shown the key of the peer.
pub(super) const MAX_KNOWN_PEERS: usize = 1_024;
/// Peers with proven addresses in one network (/24 or /48) that are no friends. One machine can
/// prove any number of keys.
pub(super) const MAX_KNOWN_PER_NETWORK: usize = 32;
/// Proven addresses of one peer, and addresses taken from one message of libp2p.
pub(super) const MAX_KNOWN_ADDRESSES: usize = 8;
/// Addresses from the user in the address book.
pub(super) const MAX_SEEDS: usize = 64;
/// Failures in a row after which a formerly connected peer is forgotten, unless it is a friend.
/// With the back-off these take about a week.
pub(super) const MAX_FAILURES_MET: u32 = 22;
/// Failures in a row after which the back-off of a friend grows beyond a minute. They take an hour.
pub(super) const PATIENT_FAILURES: u32 = 64;
/// Longest back-off of a proven address.
pub(super) const LONGEST_BACK_OFF: Duration = Duration::from_hours(24);
/// Time for which a connection must last before its end counts as no failure. Otherwise a peer that
/// hangs up would be dialed once a second.
pub(super) const LASTING_CONNECTION: Duration = Duration::from_mins(1);

/// Hints of each class: those of strangers, of introduced peers and friends about others, of mDNS,
/// and of friends about themselves. 512 × 300 bytes = 150 kB.
pub(super) const MAX_HINTS: usize = 512;
/// Tellers and machines with budgets in use, in each class. Beyond it, hints of new ones wait.
pub(super) const MAX_HINT_ACCOUNTS: usize = 1_024;
/// Hints of each class that are dialed at once.
pub(super) const MAX_HINTS_DIALING: usize = 8;
/// Hints at one machine that are dialed at once.
pub(super) const MAX_TARGET_DIALING: usize = 2;
/// Untried hints by strangers of one network (/24 or /48).
pub(super) const STRANGER_HINTS: usize = 8;
/// Untried hints by one introduced peer or friend, or by one machine over mDNS.
pub(super) const INTRODUCED_HINTS: usize = 32;
/// Untried hints by one friend about itself.
pub(super) const FRIEND_HINTS: usize = 64;
/// Hints by strangers of one network in an hour; all may come at once.
pub(super) const STRANGER_HINTS_PER_HOUR: u64 = 16;
/// Hints by one introduced peer or friend in an hour; all may come at once.
pub(super) const INTRODUCED_HINTS_PER_HOUR: u64 = 64;
/// Hints by one friend about itself in an hour; all may come at once.
pub(super) const FRIEND_HINTS_PER_HOUR: u64 = 128;
/// Failed dials of hints at one machine in an hour; all may happen at once. Each class has its own
/// count.
pub(super) const STRANGER_TARGET_DIALS: u64 = 4;
/// Like [`STRANGER_TARGET_DIALS`], for friends' own addresses.
pub(super) const FRIEND_TARGET_DIALS: u64 = 8;
/// Like [`STRANGER_TARGET_DIALS`], for addresses that the machine announced by mDNS.
pub(super) const NEARBY_TARGET_DIALS: u64 = 30;
/// Failed dials of hints in an hour, for each class; all may happen at once.
pub(super) const STRANGER_DIALS_PER_HOUR: u64 = 120;
/// Like [`STRANGER_DIALS_PER_HOUR`], for addresses announced by mDNS.
pub(super) const NEARBY_DIALS_PER_HOUR: u64 = 600;
/// Like [`STRANGER_DIALS_PER_HOUR`], for friends' own addresses.
pub(super) const FRIEND_DIALS_PER_HOUR: u64 = 1_200;
/// Peers found by walks that wait for the swarm task: three answers of 20.
pub(super) const MAX_FOUND_WAITING: usize = 64;
/// Records that mDNS holds before it starts anew: 32 machines with 4 addresses each.
pub(super) const MAX_NEARBY_RECORDS: usize = 128;
/// Age at which mDNS starts anew, whatever the time to live of its records.
pub(super) const NEARBY_AGE: Duration = Duration::from_mins(10);

/// Dials that begin in one tick, so that a full address book causes no burst.
pub(super) const DIALS_PER_TICK: usize = 8;
/// Characters of a peer's agent text.
pub(super) const MAX_AGENT_CHARS: usize = 64;

/// Time that the network stays up at its end, so that a goodbye is sent.
pub(super) const LINGER: Duration = Duration::from_millis(250);

const _: () = {
    // The requests of both ends and all other streams fit into what a stranger may open, with half
    // as many to spare for streams that one end has closed and the other has not.
    assert!((2 * MAX_IN_FLIGHT_PER_PEER + OTHER_STREAMS) * 3 / 2 <= STRANGER_STREAMS);
    assert!(MAX_SYNC_IN_FLIGHT < MAX_IN_FLIGHT_PER_PEER);
    assert!(QUIC_STREAMS as usize == STRANGER_STREAMS && STRANGER_STREAMS < FRIEND_STREAMS);
    // The bound of one stranger's connection, and the sum over all of them: 512 MiB if each held
    // its maximum, and never more than the common bound.
    assert!(
        STRANGER_HELD_BYTES + STREAM_WINDOW as usize + HELD_FRAME_BYTES + 2 * MAX_GOSSIP_FRAME
            <= STRANGER_CONNECTION_BYTES
    );
    assert!(QUIC_WINDOW as usize <= STRANGER_HELD_BYTES);
    assert!(STRANGER_CONNECTIONS * STRANGER_CONNECTION_BYTES == 512 << 20);
    assert!(16 * STRANGER_CONNECTION_BYTES <= 64 << 20);
    assert!(MAX_HELD_BY_STRANGERS < STRANGER_CONNECTIONS * STRANGER_CONNECTION_BYTES);
    assert!(MAX_INBOUND + MAX_PENDING_VERDICTS <= EVENT_QUEUE / 2);
    // Each connected peer has its connection, and room to close another.
    assert!(MAX_CONNECTIONS as usize >= 2 * (MAX_CONNECTED + MAX_SECOND_CONNECTIONS));
    assert!(2 * MAX_MET_DIALING <= MAX_PENDING_CONNECTIONS as usize);
    assert!(MAX_INBOUND_STRANGERS < MAX_INBOUND && MAX_SENDING_STRANGERS < MAX_SENDING);
    assert!(PROBE_INTERVAL.as_millis() > DIAL_BACK_PAUSE.as_millis());
    assert!(QUESTION_TIME.as_secs() > PROBE_INTERVAL.as_secs() + 10);
    assert!(MAX_INBOUND_PER_PEER <= MAX_INBOUND_PER_HOST && MAX_EARLY < MAX_INBOUND_UNPROVEN / 4);
    // A mapped port outlives a few renewals without an answer.
    assert!(SPARE_TIME.as_secs() >= PING_INTERVAL.as_secs() + PING_TIME.as_secs());
    assert!(MAPPING_RENEWAL.as_secs() * 2 <= MAPPING_TIME.as_secs());
    assert!(SHORTEST_MAPPING.as_secs() >= 2 * MAPPING_PAUSE.as_secs());
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_rows_on_relays_are_these() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/proto/README.md");
        let document = std::fs::read_to_string(path).expect("proto/README.md").replace(',', "");
        let count = |count: usize| count as u64;
        for (name, value) in [
            ("MAX_CONNECTIONS_PER_PEER", u64::from(MAX_CONNECTIONS_PER_PEER)),
            ("MAX_RESERVATIONS", count(MAX_RESERVATIONS)),
            ("MAX_RESERVATIONS_PER_PEER", count(MAX_RESERVATIONS_PER_PEER)),
            ("RESERVATION_TIME", RESERVATION_TIME.as_secs()),
            ("MAX_CIRCUITS", count(MAX_CIRCUITS)),
            ("MAX_CIRCUITS_PER_PEER", count(MAX_CIRCUITS_PER_PEER)),
            ("MAX_CIRCUIT_BYTES", MAX_CIRCUIT_BYTES),
            ("MAX_CIRCUIT_TIME", MAX_CIRCUIT_TIME.as_secs()),
            ("MAX_RELAYS", count(MAX_RELAYS)),
            ("MAX_NAMED_ADDRESSES", count(MAX_NAMED_ADDRESSES)),
            ("LEAST_RENEWAL", LEAST_RENEWAL.as_secs()),
            ("TEST_INTERVAL", TEST_INTERVAL.as_secs()),
            ("MAX_FAILED_TESTS", u64::from(MAX_FAILED_TESTS)),
            ("RESERVATIONS_AT_ONCE", u64::from(RESERVATIONS_AT_ONCE)),
            ("CIRCUITS_AT_ONCE", u64::from(CIRCUITS_AT_ONCE)),
            ("RELAY_REFILL", RELAY_REFILL.as_secs()),
            ("RELAYED_SYNC_RATE", RELAYED_SYNC_RATE),
            ("MAX_GUEST_DIALS", count(MAX_GUEST_DIALS)),
            ("MAX_MAPPED_PORTS", count(MAX_MAPPED_PORTS)),
            ("MAPPING_TIME", MAPPING_TIME.as_secs()),
        ] {
            assert!(document.contains(&format!("| `{name}` | {value} |")), "{name} is {value}");
        }
    }
}
