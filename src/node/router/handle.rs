//! Commands for the running node, and the handle that sends them to the router.
//!
//! The replies are the router's own types. The RPC's service turns them into its JSON.

use std::collections::HashMap;

use tokio::sync::{mpsc, oneshot};

use super::{Attempt, copies::Copy};
use crate::{
    friends::{ChatError, FindError},
    net::{CommandError, ReachSnapshot},
    primitives::{Height, PeerId, UnixMillis},
    sync::{Progress, SyncReport},
    wire::{MessageId, Refusal},
};

/// Commands that may queue for the router. A caller that finds the queue full waits for a place.
const QUEUE: usize = 256;

#[derive(Debug)]
pub(super) enum NodeCommand {
    Status {
        reply: oneshot::Sender<LiveStatus>,
    },
    Peers {
        reply: oneshot::Sender<PeerTable>,
    },
    InviteAddresses {
        reply: oneshot::Sender<Vec<String>>,
    },
    Chat {
        friend: String,
        text: String,
        reply: oneshot::Sender<Result<DirectLine, LineError>>,
    },
    Broadcast {
        text: String,
        reply: oneshot::Sender<Result<BroadcastLine, LineError>>,
    },
    /// Fetches what is new. The router replies once nothing is left to fetch.
    Sync {
        /// The one peer to ask; `None`: every connected peer.
        peer: Option<PeerId>,
        reply: oneshot::Sender<SyncReport>,
    },
    /// Bans a peer, or lifts its ban.
    Ban {
        peer: PeerId,
        banned: bool,
        reply: oneshot::Sender<()>,
    },
    /// The node has a new name. It is stored already.
    Rename {
        name: String,
        reply: oneshot::Sender<()>,
    },
    /// The user blocked a peer, or lifted the block. The change is stored already.
    Block {
        peer: PeerId,
        blocked: bool,
        reply: oneshot::Sender<()>,
    },
    /// The user made a peer a friend. The change is stored already.
    Befriended {
        peer: PeerId,
    },
    Stop,
}

/// The state of a running node that only the router knows.
#[derive(Debug, Clone)]
pub(crate) struct LiveStatus {
    pub(crate) progress: Progress,
    /// Number of connected peers.
    pub(crate) peers: u32,
    /// Number of sealed lines that are kept for friends who are away.
    pub(crate) kept_lines: u64,
    /// Multiaddrs on which the node accepts connections.
    pub(crate) listen: Vec<String>,
    /// The way in which others reach the node; `None` until the network has reported it.
    pub(crate) reach: Option<ReachSnapshot>,
    /// The peers behind relays, and the relay of each if it is known.
    pub(crate) paths: HashMap<PeerId, Option<PeerId>>,
    /// Our clock less the median of the connected peers' clocks, in ms. `None` before the first
    /// hello.
    pub(crate) clock_offset_ms: Option<i64>,
    /// The addresses that the node tries, and why they fail.
    pub(crate) attempts: Vec<Attempt>,
    /// Number of connected peers that claim to mine.
    pub(crate) miners: u32,
    /// Another node with our identity, if one was seen recently.
    pub(crate) copy: Option<Copy>,
}

/// The connected peers, and the banned ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct PeerTable {
    /// Oldest connection first.
    pub(crate) connected: Vec<PeerRow>,
    pub(crate) banned: Vec<PeerId>,
}

/// A connected peer.
#[derive(Debug, Clone)]
pub(crate) struct PeerRow {
    pub(crate) peer: PeerId,
    /// The name in its profile, printable. None while no profile is stored.
    pub(crate) name: Option<String>,
    /// Multiaddr of its end of the connection.
    pub(crate) address: String,
    /// True if the peer dialed.
    pub(crate) inbound: bool,
    /// The score; penalties subtract from 0.
    pub(crate) score: i64,
    /// Height of its tip in its last Status. None before its hello.
    pub(crate) height: Option<Height>,
    pub(crate) connected_at: UnixMillis,
    /// The peer that relays, if there is one and it is known.
    pub(crate) relay: Option<PeerId>,
}

/// The outcome for a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineEnd {
    /// The friend has the line on its disk.
    Delivered,
    /// The friend refuses the line for good.
    Refused(Refusal),
}

/// A direct chat line that is stored here and waits for its turn to be sent.
#[derive(Debug)]
pub(crate) struct DirectLine {
    pub(crate) id: MessageId,
    /// True if the friend is connected and is expected to answer at once.
    pub(crate) is_prompt: bool,
    /// Resolves once the line is delivered or refused, which may be days later.
    pub(crate) end: oneshot::Receiver<LineEnd>,
}

/// A chat line that was published to all friends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BroadcastLine {
    pub(crate) id: MessageId,
    /// Number of friends who are connected.
    pub(crate) peers: u32,
    /// Number of other friends who were here in the last 30 days. They get the line when they
    /// return.
    pub(crate) later: u32,
}

/// The router has ended, or drops its commands because it is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping: start it again, then try again")]
pub(crate) struct NodeStopping;

/// The reason why a chat line was not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error(transparent)]
    Stopping(#[from] NodeStopping),
    /// No friend, or more than one, has that name.
    #[error(transparent)]
    Friend(#[from] FindError),
    /// The friends store refused the line.
    #[error(transparent)]
    Line(#[from] ChatError),
    #[error(transparent)]
    Network(#[from] CommandError),
}

/// Sends commands to the router. Clones send to the same one.
#[derive(Debug, Clone)]
pub(crate) struct RouterHandle {
    commands: mpsc::Sender<NodeCommand>,
}

impl RouterHandle {
    pub(super) fn new() -> (Self, mpsc::Receiver<NodeCommand>) {
        let (commands, receiver) = mpsc::channel(QUEUE);
        (Self { commands }, receiver)
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> NodeCommand,
    ) -> Result<T, NodeStopping> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| NodeStopping)?;
        answer.await.map_err(|_| NodeStopping)
    }

    pub(crate) async fn status(&self) -> Result<LiveStatus, NodeStopping> {
        self.ask(|reply| NodeCommand::Status { reply }).await
    }

    pub(crate) async fn peers(&self) -> Result<PeerTable, NodeStopping> {
        self.ask(|reply| NodeCommand::Peers { reply }).await
    }

    /// Returns the multiaddrs at which others can reach this node, at most 8, each with `/p2p/`.
    pub(crate) async fn invite_addresses(&self) -> Result<Vec<String>, NodeStopping> {
        self.ask(|reply| NodeCommand::InviteAddresses { reply }).await
    }

    /// Sends a line to one friend. Returns once the line is stored here.
    pub(crate) async fn chat(&self, friend: String, text: String) -> Result<DirectLine, LineError> {
        self.ask(|reply| NodeCommand::Chat { friend, text, reply }).await?
    }

    /// Publishes a line to all friends.
    pub(crate) async fn broadcast(&self, text: String) -> Result<BroadcastLine, LineError> {
        self.ask(|reply| NodeCommand::Broadcast { text, reply }).await?
    }

    /// Fetches what is new from one peer or from all. Returns once nothing is left to fetch.
    pub(crate) async fn sync(&self, peer: Option<PeerId>) -> Result<SyncReport, NodeStopping> {
        self.ask(|reply| NodeCommand::Sync { peer, reply }).await
    }

    /// Bans a peer, or lifts its ban.
    pub(crate) async fn ban(&self, peer: PeerId, banned: bool) -> Result<(), NodeStopping> {
        self.ask(|reply| NodeCommand::Ban { peer, banned, reply }).await
    }

    /// Announces a new name of this node to the connected friends.
    pub(crate) async fn rename(&self, name: String) -> Result<(), NodeStopping> {
        self.ask(|reply| NodeCommand::Rename { name, reply }).await
    }

    /// Refuses the connections of a peer that the user blocked, or admits them again.
    pub(crate) async fn block(&self, peer: PeerId, blocked: bool) -> Result<(), NodeStopping> {
        self.ask(|reply| NodeCommand::Block { peer, blocked, reply }).await
    }

    /// Notifies the router that the user made a peer a friend.
    pub(crate) async fn befriended(&self, peer: PeerId) -> Result<(), NodeStopping> {
        let command = NodeCommand::Befriended { peer };
        self.commands.send(command).await.map_err(|_| NodeStopping)
    }

    /// Asks the router to stop. Returns at once, even if the command queue is full.
    pub(crate) fn stop(&self) {
        let commands = self.commands.clone();
        // An error means that the router has ended already.
        tokio::spawn(async move { commands.send(NodeCommand::Stop).await });
    }
}
