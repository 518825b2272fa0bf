//! How the node speaks to the swarm task: a cloneable handle that hides the channels. Nothing here
//! waits, but what returns a future says what for.

use std::{sync::Arc, time::Duration};

use libp2p::Multiaddr;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    address,
    event::{CommandError, DialError, GossipId, NetEvent, PeerSnapshot, ReplyId, Verdict},
    metrics::Meter,
    requests::Ticket,
};
use crate::{
    primitives::PeerId,
    telemetry::metrics::NetMetrics,
    wire::{Gossip, Protocol, Request, Response, Topic},
};

/// What the node asks of the swarm task.
#[derive(Debug)]
pub(super) enum NetCommand {
    Dial { address: Multiaddr, reply: oneshot::Sender<Result<PeerId, DialError>> },
    Request { ticket: Ticket, protocol: Protocol, bytes: Vec<u8> },
    Publish { topic: Topic, payload: Vec<u8> },
    Disconnect { peer: PeerId, no_redial_for: Duration },
    Ban(PeerId),
    Unban(PeerId),
    AddKnown { peer: PeerId, addresses: Vec<Multiaddr> },
    Peers(oneshot::Sender<Vec<PeerSnapshot>>),
    Addresses(oneshot::Sender<Vec<String>>),
}

/// What the node owes to the swarm task: there is a slot for each that it can owe.
#[derive(Debug)]
pub(super) enum NetAnswer {
    Respond {
        reply: ReplyId,
        protocol: Protocol,
        bytes: Vec<u8>,
    },
    /// There is no answer that could be sent: the asker is told so by the end of the stream.
    Drop(ReplyId),
    Verdict {
        message: GossipId,
        verdict: Verdict,
    },
}

/// The network, for the node. When the last handle is dropped, the network shuts down.
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
    /// Who this node is.
    #[must_use]
    pub(crate) const fn peer_id(&self) -> PeerId {
        self.me
    }

    /// Asks a connected peer. On `Ok`, exactly one [`NetEvent::ResponseReceived`] with this `id`
    /// follows, whatever happens: its slot in the queue of events is taken here.
    ///
    /// # Errors
    /// [`CommandError::Busy`] when the node is far behind with its events,
    /// [`CommandError::Unsendable`] when the request is over a limit.
    pub(crate) fn request(
        &self,
        peer: PeerId,
        id: u64,
        request: &Request,
    ) -> Result<(), CommandError> {
        let bytes = request.encode()?;
        let events = self.events.upgrade().ok_or(CommandError::ShutDown)?;
        // The last quarter is for who comes and goes, and for the ends of requests that were taken
        // before.
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

    /// Answers a peer's request. An answer of another protocol than the request's, or one that
    /// comes too late, is dropped.
    ///
    /// # Errors
    /// [`CommandError::Unsendable`] when the response is over a limit; the peer then gets none.
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

    /// Says what becomes of a gossip message. One that gets no verdict within 28 s counts as
    /// ignored.
    pub(crate) fn verdict(&self, message: GossipId, verdict: Verdict) -> Result<(), CommandError> {
        self.answer(NetAnswer::Verdict { message, verdict })
    }

    /// Publishes to all peers that listen. While none does, the message is kept for some minutes,
    /// and sent to the first that comes.
    ///
    /// # Errors
    /// [`CommandError::Unsendable`] when the payload is over a limit.
    pub(crate) fn publish(&self, gossip: &Gossip) -> Result<(), CommandError> {
        let payload = gossip.encode()?;
        self.command(NetCommand::Publish { topic: gossip.topic(), payload })
    }

    /// Closes all connections to a peer, once the answers that are on their way to it are out, and
    /// does not dial it for a while (it may still dial).
    pub(crate) fn disconnect(
        &self,
        peer: PeerId,
        no_redial_for: Duration,
    ) -> Result<(), CommandError> {
        self.command(NetCommand::Disconnect { peer, no_redial_for })
    }

    /// Closes all connections to a peer and takes no more, until [`NetHandle::unban`].
    pub(crate) fn ban(&self, peer: PeerId) -> Result<(), CommandError> {
        self.command(NetCommand::Ban(peer))
    }

    /// Lets a banned peer connect again.
    pub(crate) fn unban(&self, peer: PeerId) -> Result<(), CommandError> {
        self.command(NetCommand::Unban(peer))
    }

    /// Adds addresses of a friend (from a profile, an invite, the disk) to those that are dialed
    /// until connected. Texts that are no addresses, and those that the network's kind forbids, are
    /// left out.
    pub(crate) fn add_known(&self, peer: PeerId, addresses: &[String]) -> Result<(), CommandError> {
        let addresses = addresses.iter().filter_map(|text| address::parse(text).ok()).collect();
        self.command(NetCommand::AddKnown { peer, addresses })
    }

    /// Dials an address that the user wrote, and remembers it if somebody answers. Waits for the
    /// outcome.
    pub(crate) async fn dial(&self, address: &str) -> Result<PeerId, DialError> {
        let address = address::parse(address)?;
        let (reply, outcome) = oneshot::channel();
        self.command(NetCommand::Dial { address, reply })?;
        outcome.await.unwrap_or(Err(DialError::Command(CommandError::ShutDown)))
    }

    /// Who is connected. Waits for the swarm task's next turn.
    pub(crate) async fn peers(&self) -> Result<Vec<PeerSnapshot>, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.command(NetCommand::Peers(reply))?;
        answer.await.map_err(|_| CommandError::ShutDown)
    }

    /// The node's own addresses, multiaddrs without `/p2p`, best first: what to write into profiles
    /// and invites. Waits for the swarm task's next turn.
    pub(crate) async fn addresses(&self) -> Result<Vec<String>, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.command(NetCommand::Addresses(reply))?;
        answer.await.map_err(|_| CommandError::ShutDown)
    }

    /// Lets what was published get out, closes all connections, ends the task. Waits until it has
    /// ended.
    pub(crate) async fn shutdown(&self) {
        self.cancel.send_replace(true);
        let mut ended = self.ended.clone();
        // An error means that the task is gone: that is the end too.
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
