//! The node's handle to the swarm task. It is cloneable and hides the channels.
//!
//! Only the async functions wait. Each doc says for what.

use std::{sync::Arc, time::Duration};

use libp2p::Multiaddr;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    address,
    event::{CommandError, DialError, GossipId, NetEvent, PeerSnapshot, ReplyId},
    metrics::Meter,
    requests::Ticket,
};
use crate::{
    primitives::PeerId,
    telemetry::metrics::NetMetrics,
    wire::{Gossip, Protocol, Request, Response, Topic, Verdict},
};

/// A command from the node to the swarm task.
#[derive(Debug)]
pub(super) enum NetCommand {
    Dial { address: Multiaddr, reply: oneshot::Sender<Result<PeerId, DialError>> },
    Request { ticket: Ticket, protocol: Protocol, bytes: Vec<u8> },
    Publish { topic: Topic, payload: Vec<u8> },
    Disconnect { peer: PeerId, no_redial_for: Duration },
    Ban(PeerId),
    Unban(PeerId),
    Greeted(PeerId),
    Useful(PeerId),
    Mute { peer: PeerId, topic: Topic, time: Duration },
    AddKnown { peer: PeerId, addresses: Vec<Multiaddr>, told: Told },
    Peers(oneshot::Sender<Vec<PeerSnapshot>>),
    Addresses(oneshot::Sender<Vec<String>>),
}

/// The origin of addresses that the node names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// The user gave them, with a command or with an invite. They are kept for ever.
    ByUser,
    /// A connection to each succeeded in an earlier run, or they are a friend's own addresses.
    Before,
    /// The peer signed them, and this peer passed them on. It may be the same peer.
    By(PeerId),
}

/// A response or verdict that the node owes to the swarm task. The queue has a slot for each one
/// that the node can owe.
#[derive(Debug)]
pub(super) enum NetAnswer {
    Respond {
        reply: ReplyId,
        protocol: Protocol,
        bytes: Vec<u8>,
    },
    /// The node has no response that can be sent. The stream ends without one.
    Drop(ReplyId),
    Verdict {
        message: GossipId,
        verdict: Verdict,
    },
}

/// A handle to the network. The network shuts down when the last handle is dropped.
#[derive(Debug, Clone)]
pub(crate) struct NetHandle {
    pub(super) me: PeerId,
    pub(super) commands: mpsc::Sender<NetCommand>,
    pub(super) answers: mpsc::Sender<NetAnswer>,
    pub(super) events: mpsc::WeakSender<NetEvent>,
    pub(super) cancel: Arc<watch::Sender<bool>>,
    pub(super) ended: watch::Receiver<bool>,
    pub(super) metrics: NetMetrics,
}

impl NetHandle {
    /// Returns the id of this node.
    #[must_use]
    pub(crate) const fn peer_id(&self) -> PeerId {
        self.me
    }

    /// Sends a request to a connected peer. On `Ok`, exactly one [`NetEvent::ResponseReceived`]
    /// with this `id` always follows: this function reserves its slot in the queue of events.
    ///
    /// # Errors
    /// [`CommandError::Busy`] if the node is far behind with its events.
    /// [`CommandError::Unsendable`] if the request exceeds a limit.
    pub(crate) fn request(
        &self,
        peer: PeerId,
        id: u64,
        request: &Request,
    ) -> Result<(), CommandError> {
        let bytes = request.encode()?;
        let events = self.events.upgrade().ok_or(CommandError::ShutDown)?;
        // The last quarter is for peers that connect or disconnect, and for the ends of requests
        // that were accepted before.
        if events.capacity() < events.max_capacity() / 4 {
            return Err(CommandError::Busy);
        }
        let command = self.commands.try_reserve().map_err(|error| command_error(&error))?;
        let slot = events.try_reserve_owned().map_err(|error| command_error(&error))?;
        let protocol = request.protocol();
        let ticket = Ticket::new(peer, id, slot, Meter::new(self.metrics.clone(), protocol));
        command.send(NetCommand::Request { ticket, protocol, bytes });
        Ok(())
    }

    /// Answers a peer's request. Drops a response that is too late, or that is on another protocol
    /// than the request.
    ///
    /// # Errors
    /// [`CommandError::Unsendable`] if the response exceeds a limit. The peer then gets none.
    pub(crate) fn respond(&self, reply: ReplyId, response: &Response) -> Result<(), CommandError> {
        match response.encode() {
            Ok(bytes) => {
                self.answer(NetAnswer::Respond { reply, protocol: response.protocol(), bytes })
            }
            Err(error) => {
                self.answer(NetAnswer::Drop(reply))?;
                Err(error.into())
            }
        }
    }

    /// Gives the verdict on a gossip message. A message without a verdict counts as ignored after
    /// 28 s.
    pub(crate) fn verdict(&self, message: GossipId, verdict: Verdict) -> Result<(), CommandError> {
        self.answer(NetAnswer::Verdict { message, verdict })
    }

    /// Publishes a message to all subscribed peers. Without any, the message is stored for some
    /// minutes and sent to the first peer that subscribes.
    ///
    /// # Errors
    /// [`CommandError::Unsendable`] if the payload exceeds a limit.
    pub(crate) fn publish(&self, gossip: &Gossip) -> Result<(), CommandError> {
        let payload = gossip.encode()?;
        self.command(NetCommand::Publish { topic: gossip.topic(), payload })
    }

    /// Closes all connections to a peer once its unsent responses are out. The node does not dial
    /// the peer for `no_redial_for`, but the peer may dial the node.
    pub(crate) fn disconnect(
        &self,
        peer: PeerId,
        no_redial_for: Duration,
    ) -> Result<(), CommandError> {
        self.command(NetCommand::Disconnect { peer, no_redial_for })
    }

    /// Closes all connections to a peer and refuses new ones until [`NetHandle::unban`].
    pub(crate) fn ban(&self, peer: PeerId) -> Result<(), CommandError> {
        self.command(NetCommand::Ban(peer))
    }

    /// Allows connections of a banned peer again.
    pub(crate) fn unban(&self, peer: PeerId) -> Result<(), CommandError> {
        self.command(NetCommand::Unban(peer))
    }

    /// Reports that a peer sent a valid hello. A peer that does not within 20 s of its connection
    /// is disconnected.
    pub(crate) fn greeted(&self, peer: PeerId) -> Result<(), CommandError> {
        self.command(NetCommand::Greeted(peer))
    }

    /// Reports that a peer delivered something that this node lacked. Such a peer keeps its place
    /// longer, and does not share the budgets of its address.
    pub(crate) fn useful(&self, peer: PeerId) -> Result<(), CommandError> {
        self.command(NetCommand::Useful(peer))
    }

    /// Refuses a peer's gossip on a topic for `ms` ms, because it has used up its share here. The
    /// same messages are accepted from others. After a verdict of ignore, they would not be.
    pub(crate) fn mute(&self, peer: PeerId, topic: Topic, ms: u64) -> Result<(), CommandError> {
        self.command(NetCommand::Mute { peer, topic, time: Duration::from_millis(ms) })
    }

    /// Adds addresses of a peer. The user's and earlier ones are dialed until the peer is
    /// connected; others are hints, within the budget of their teller. Malformed addresses are
    /// skipped.
    pub(crate) fn add_known(
        &self,
        peer: PeerId,
        addresses: &[String],
        told: Told,
    ) -> Result<(), CommandError> {
        let addresses = addresses.iter().filter_map(|text| address::parse(text).ok()).collect();
        self.command(NetCommand::AddKnown { peer, addresses, told })
    }

    /// Dials an address from the user, and waits for the outcome. The address is remembered if a
    /// peer answers.
    #[cfg_attr(not(test), expect(dead_code, reason = "the node dials through the address book"))]
    pub(crate) async fn dial(&self, address: &str) -> Result<PeerId, DialError> {
        let address = address::parse(address)?;
        let (reply, outcome) = oneshot::channel();
        self.command(NetCommand::Dial { address, reply })?;
        outcome.await.unwrap_or(Err(DialError::Command(CommandError::ShutDown)))
    }

    /// Returns the connected peers. Waits for the swarm task's next turn.
    pub(crate) async fn peers(&self) -> Result<Vec<PeerSnapshot>, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.command(NetCommand::Peers(reply))?;
        answer.await.map_err(|_| CommandError::ShutDown)
    }

    /// Returns the node's own addresses for profiles and invites: multiaddrs without `/p2p`, best
    /// first. Waits for the swarm task's next turn.
    pub(crate) async fn addresses(&self) -> Result<Vec<String>, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.command(NetCommand::Addresses(reply))?;
        answer.await.map_err(|_| CommandError::ShutDown)
    }

    /// Sends all published messages, closes all connections, and ends the swarm task. Waits for its
    /// end.
    pub(crate) async fn shutdown(&self) {
        self.cancel.send_replace(true);
        let mut ended = self.ended.clone();
        // An error means that the task has ended without a signal, after a panic.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    fn command(&self, command: NetCommand) -> Result<(), CommandError> {
        self.commands.try_send(command).map_err(|error| command_error(&error))
    }

    fn answer(&self, answer: NetAnswer) -> Result<(), CommandError> {
        self.answers.try_send(answer).map_err(|error| command_error(&error))
    }
}

const fn command_error<T>(error: &mpsc::error::TrySendError<T>) -> CommandError {
    match error {
        mpsc::error::TrySendError::Full(_) => CommandError::Busy,
        mpsc::error::TrySendError::Closed(_) => CommandError::ShutDown,
    }
}
