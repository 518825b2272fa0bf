//! What the commands ask of a running node, and the handle that they ask through.

use tokio::sync::{mpsc, oneshot};

use crate::{
    primitives::PeerId,
    rpc::{
        RpcError,
        types::{BanState, BroadcastSent, ChatSent, PeerList, Synced},
    },
    sync::{Progress, SyncOutcome, SyncReport},
};

/// Commands that wait for the router; more come only from a script gone wild, and wait their turn.
pub(super) const QUEUE: usize = 256;

/// What the router is asked.
#[derive(Debug)]
pub(in crate::node) enum NodeCommand {
    /// How it stands.
    Status { reply: oneshot::Sender<LiveStatus> },
    /// Who is connected.
    Peers { reply: oneshot::Sender<PeerList> },
    /// Where others can reach this node, as multiaddrs with its peer id.
    InviteAddresses { reply: oneshot::Sender<Vec<String>> },
    /// A line to one friend.
    Chat { friend: String, text: String, reply: oneshot::Sender<Result<ChatSent, RpcError>> },
    /// A line to all.
    Broadcast { text: String, reply: oneshot::Sender<Result<BroadcastSent, RpcError>> },
    /// Fetch what is new; answered when nothing is left.
    Sync { peer: Option<PeerId>, reply: oneshot::Sender<SyncReport> },
    /// Refuse a peer, or no longer.
    Ban { peer: PeerId, banned: bool, reply: oneshot::Sender<BanState> },
    /// End.
    Stop,
}

/// How a running node stands.
#[derive(Debug, Clone)]
pub(in crate::node) struct LiveStatus {
    /// Phase, rate and time left.
    pub(in crate::node) progress: Progress,
    /// How many peers are connected.
    pub(in crate::node) peers: u32,
    /// Where it accepts connections.
    pub(in crate::node) listen: Vec<String>,
    /// Our clock less the median of our friends', in ms, when any has said hello.
    pub(in crate::node) clock_offset_ms: Option<i64>,
}

/// Speaks to the router. Clones speak to the same one.
#[derive(Debug, Clone)]
pub(in crate::node) struct RouterHandle {
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
    ) -> Result<T, RpcError> {
        let (reply, answer) = oneshot::channel();
        let stopping =
            || RpcError::new("stopping", "the node is stopping: start it again, then try again");
        self.commands.send(command(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    /// How the node stands.
    pub(in crate::node) async fn status(&self) -> Result<LiveStatus, RpcError> {
        self.ask(|reply| NodeCommand::Status { reply }).await
    }

    /// Who is connected.
    pub(in crate::node) async fn peers(&self) -> Result<PeerList, RpcError> {
        self.ask(|reply| NodeCommand::Peers { reply }).await
    }

    /// Where others can reach this node, at most 8 multiaddrs with `/p2p/`.
    pub(in crate::node) async fn invite_addresses(&self) -> Result<Vec<String>, RpcError> {
        self.ask(|reply| NodeCommand::InviteAddresses { reply }).await
    }

    /// Sends a line to one friend.
    pub(in crate::node) async fn chat(
        &self,
        friend: String,
        text: String,
    ) -> Result<ChatSent, RpcError> {
        self.ask(|reply| NodeCommand::Chat { friend, text, reply }).await?
    }

    /// Sends a line to all.
    pub(in crate::node) async fn broadcast(&self, text: String) -> Result<BroadcastSent, RpcError> {
        self.ask(|reply| NodeCommand::Broadcast { text, reply }).await?
    }

    /// Fetches what is new from one peer or all, and waits until nothing is left.
    pub(in crate::node) async fn sync(&self, peer: Option<PeerId>) -> Result<Synced, RpcError> {
        let report = self.ask(|reply| NodeCommand::Sync { peer, reply }).await?;
        let refused = |code: &'static str, message: String| Err(RpcError::new(code, message));
        match report.outcome {
            SyncOutcome::UpToDate => Ok(Synced { height: report.height, tip: report.tip }),
            SyncOutcome::NoPeers if peer.is_some() => {
                refused("friend_offline", "that friend is not connected now: see peers".to_owned())
            }
            SyncOutcome::NoPeers => refused(
                "alone",
                "no friend is connected, so there is nobody to ask: see peers, or give start-node \
                 a --peer"
                    .to_owned(),
            ),
            SyncOutcome::NoAnswer => refused(
                "no_answer",
                format!("none of the {} friends that were asked answered: try again", report.asked),
            ),
            SyncOutcome::Stalled => refused(
                "stalled",
                format!(
                    "a friend claims a better chain, but nothing comes; the chain is at \
                     height {}",
                    report.height
                ),
            ),
            SyncOutcome::Diverged => refused(
                "diverged",
                format!(
                    "all news are here, but a branch with more work parts from ours at {} too \
                     deep to be taken by itself: \
                     status names both, accept-branch takes the other",
                    report.height
                ),
            ),
            SyncOutcome::Busy => refused(
                "busy",
                "many sync commands are under way: try again in a moment".to_owned(),
            ),
        }
    }

    /// Refuses a peer from now on, or no longer.
    pub(in crate::node) async fn ban(
        &self,
        peer: PeerId,
        banned: bool,
    ) -> Result<BanState, RpcError> {
        self.ask(|reply| NodeCommand::Ban { peer, banned, reply }).await
    }

    /// Ends the node.
    pub(in crate::node) fn stop(&self) {
        // A full queue of commands that wait must not keep a node from ending; a closed one has
        // ended.
        let commands = self.commands.clone();
        tokio::spawn(async move { commands.send(NodeCommand::Stop).await });
    }
}
