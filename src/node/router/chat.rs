//! Lines to one and to all, goodbyes, and the outbox.

use tokio::sync::oneshot;

use super::{Done, Purpose, Router, hello::log_unsent};
use crate::{
    friends::{QuitReceipt, Receipt, ReceiveError},
    net::{GossipId, ReplyId, Verdict},
    node::clock::now,
    primitives::PeerId,
    rpc::{
        RpcError,
        types::{BroadcastSent, ChatSent, ChatState},
    },
    wire::{
        ChatGossip, ChatRequest, ChatResponse, Gossip, MessageId, Request, Response, SignedLine,
    },
};

/// Lines of the outbox that are under way to one friend at once.
const OUTBOX_BATCH: usize = 16;

impl Router {
    /// A line to one friend: kept first, then sent if the friend is here; answered once it is
    /// delivered, or queued.
    pub(super) fn chat(
        &self,
        friend: String,
        text: String,
        reply: oneshot::Sender<Result<ChatSent, RpcError>>,
    ) {
        let (friends, done) = (self.friends.clone(), self.done.clone());
        let here: Vec<PeerId> = self.connected.keys().copied().collect();
        self.spawn_work(async move {
            let sent = async {
                let peer = friends.resolve(friend).await?;
                let sent = friends.direct(peer, text, now()).await?;
                let mut state = ChatState::Queued;
                if here.contains(&peer) {
                    let (waiter, delivered) = oneshot::channel();
                    let line =
                        Done::Line { line: Box::new(sent.line), id: sent.id, waiter: Some(waiter) };
                    // The router has ended: the line stays queued.
                    if done.send(line).await.is_ok() && delivered.await.unwrap_or(false) {
                        state = ChatState::Delivered;
                    }
                }
                Ok(ChatSent { id: sent.id.to_string(), state })
            };
            // Whoever asked may have gone.
            let _ = reply.send(sent.await);
            None
        });
    }

    /// A line to all.
    pub(super) fn broadcast(
        &self,
        text: String,
        reply: oneshot::Sender<Result<BroadcastSent, RpcError>>,
    ) {
        let (friends, net) = (self.friends.clone(), self.net.clone());
        let peers =
            u32::try_from(self.connected.values().filter(|state| state.status.is_some()).count());
        let peers = peers.unwrap_or(u32::MAX);
        self.spawn_work(async move {
            let sent = async {
                let sent = friends.broadcast(text, now()).await?;
                net.publish(&Gossip::Chat(ChatGossip::Line(sent.line)))?;
                Ok(BroadcastSent { id: sent.id.to_string(), peers })
            };
            // Whoever asked may have gone.
            let _ = reply.send(sent.await);
            None
        });
    }

    /// Sends a line that is kept to its receiver, who is here.
    pub(super) fn send_line(
        &mut self,
        line: SignedLine,
        id: MessageId,
        waiter: Option<oneshot::Sender<bool>>,
    ) {
        if let Some(to) = line.to {
            if waiter.is_some() {
                self.awaited.insert(id);
            }
            self.ask(to, Purpose::Line { id, waiter }, &Request::Chat(ChatRequest::Direct(line)));
        }
    }

    /// Sends a friend who is here what waits for it.
    pub(super) fn send_outbox(&self, peer: PeerId) {
        let (friends, done) = (self.friends.clone(), self.done.clone());
        self.spawn_work(async move {
            let lines = friends.outbox_for(peer, OUTBOX_BATCH).await.unwrap_or_default();
            for sent in lines {
                let line = Done::Line { line: Box::new(sent.line), id: sent.id, waiter: None };
                done.send(line).await.ok()?;
            }
            None
        });
    }

    pub(super) fn line_answered(
        &mut self,
        peer: PeerId,
        id: MessageId,
        response: ChatResponse,
        waiter: Option<oneshot::Sender<bool>>,
    ) {
        let friends = self.friends.clone();
        if response != ChatResponse::Delivered {
            self.awaited.remove(&id);
        }
        let from_outbox = waiter.is_none();
        self.spawn_work(async move {
            let kept = match response {
                ChatResponse::Delivered => friends.delivered(peer, id).await,
                ChatResponse::Refused(why) => friends.refused(peer, id, why).await,
                ChatResponse::Busy => Ok(false),
            };
            if let Err(error) = &kept {
                tracing::warn!(%error, "a line's state could not be kept");
            }
            if let Some(waiter) = waiter {
                // Whoever asked may have gone.
                let _ = waiter.send(response == ChatResponse::Delivered);
            }
            // What else waits for this friend follows.
            (from_outbox && matches!(kept, Ok(true))).then_some(Done::Outbox(peer))
        });
    }

    pub(super) fn chat_request(&self, peer: PeerId, reply: ReplyId, request: ChatRequest) {
        if self.friends.is_busy() {
            return self.respond(reply, &Response::Chat(ChatResponse::Busy));
        }
        let ChatRequest::Direct(line) = request;
        let (friends, net) = (self.friends.clone(), self.net.clone());
        self.spawn_work(async move {
            let (response, done) = match friends.receive_direct(peer, line, now()).await {
                Ok(_) => (ChatResponse::Delivered, None),
                Err(error) => {
                    let response =
                        error.refusal().map_or(ChatResponse::Busy, ChatResponse::Refused);
                    (response, offence(peer, &error))
                }
            };
            log_unsent(net.respond(reply, &Response::Chat(response)));
            done
        });
    }

    pub(super) fn chat_gossip(&self, peer: PeerId, message: GossipId, gossip: ChatGossip) {
        let (friends, net) = (self.friends.clone(), self.net.clone());
        if friends.is_busy() {
            return log_unsent(net.verdict(message, Verdict::Ignore));
        }
        self.spawn_work(async move {
            let received = match gossip {
                ChatGossip::Line(line) => friends
                    .receive_broadcast(line, now())
                    .await
                    .map(|receipt| matches!(receipt, Receipt::New(_))),
                ChatGossip::Quit(quit) => friends
                    .receive_quit(quit, now())
                    .await
                    .map(|receipt| receipt == QuitReceipt::New),
            };
            let (verdict, done) = match received {
                Ok(true) => (Verdict::Accept, None),
                Ok(false) => (Verdict::Ignore, None),
                Err(error) => {
                    let done = offence(peer, &error);
                    (if done.is_some() { Verdict::Reject } else { Verdict::Ignore }, done)
                }
            };
            log_unsent(net.verdict(message, verdict));
            done
        });
    }

    /// Tells all that we leave.
    pub(super) async fn publish_quit(&self) {
        match self.friends.goodbye(now()).await {
            Ok(quit) => log_unsent(self.net.publish(&Gossip::Chat(ChatGossip::Quit(quit)))),
            Err(error) => tracing::warn!(%error, "no goodbye could be signed"),
        }
    }
}

/// What a line that was not taken costs its sender.
fn offence(peer: PeerId, error: &ReceiveError) -> Option<Done> {
    error.offence().map(|offence| Done::Offence { peer, offence, reason: error.to_string() })
}
