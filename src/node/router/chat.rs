//! Chat lines to one friend and to all, the outbox, and goodbyes.

use tokio::sync::oneshot;

use super::{BroadcastLine, DirectLine, Done, LineError, Purpose, Router, network::log_unsent};
use crate::{
    friends::{QuitReceipt, Receipt, ReceiveError},
    net::{GossipId, ReplyId, Verdict},
    node::clock::now,
    primitives::PeerId,
    wire::{
        ChatGossip, ChatRequest, ChatResponse, Gossip, MessageId, Request, Response, SignedLine,
    },
};

/// Lines of the outbox that are in flight to one friend at once.
const OUTBOX_BATCH: usize = 16;

impl Router {
    /// Stores a line to one friend, then sends it if the friend is connected. Replies once the line
    /// is delivered or queued.
    pub(super) fn chat(
        &self,
        friend: String,
        text: String,
        reply: oneshot::Sender<Result<DirectLine, LineError>>,
    ) {
        let (friends, done) = (self.friends.clone(), self.done.clone());
        let here: Vec<PeerId> = self.connected.keys().copied().collect();
        self.spawn_work(async move {
            let sent = async {
                let peer = friends.resolve(friend).await?;
                let sent = friends.direct(peer, text, now()).await?;
                let mut is_delivered = false;
                if here.contains(&peer) {
                    let (waiter, delivered) = oneshot::channel();
                    let line =
                        Done::Line { line: Box::new(sent.line), id: sent.id, waiter: Some(waiter) };
                    // If the router has ended, the line stays queued.
                    is_delivered =
                        done.send(line).await.is_ok() && delivered.await.unwrap_or(false);
                }
                Ok(DirectLine { id: sent.id, delivered: is_delivered })
            };
            // An error means that the caller no longer waits.
            let _ = reply.send(sent.await);
            None
        });
    }

    /// Stores a line to all friends and publishes it.
    pub(super) fn broadcast(
        &self,
        text: String,
        reply: oneshot::Sender<Result<BroadcastLine, LineError>>,
    ) {
        let (friends, net) = (self.friends.clone(), self.net.clone());
        let peers =
            u32::try_from(self.connected.values().filter(|state| state.status.is_some()).count());
        let peers = peers.unwrap_or(u32::MAX);
        self.spawn_work(async move {
            let sent = async {
                let sent = friends.broadcast(text, now()).await?;
                net.publish(&Gossip::Chat(ChatGossip::Line(sent.line)))?;
                Ok(BroadcastLine { id: sent.id, peers })
            };
            // An error means that the caller no longer waits.
            let _ = reply.send(sent.await);
            None
        });
    }

    /// Sends a stored line to its receiver, who is connected.
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
            self.request(
                to,
                Purpose::Line { id, waiter },
                &Request::Chat(ChatRequest::Direct(line)),
            );
        }
    }

    /// Sends queued lines to a friend who is connected.
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

    /// Stores the new state of a line, and sends the next queued ones.
    pub(super) fn on_line_response(
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
                tracing::warn!(%error, "the state of a line could not be stored");
            }
            if let Some(waiter) = waiter {
                // An error means that the caller no longer waits.
                let _ = waiter.send(response == ChatResponse::Delivered);
            }
            (from_outbox && matches!(kept, Ok(true))).then_some(Done::Outbox(peer))
        });
    }

    /// Stores a direct line from a peer, and responds.
    pub(super) fn chat_request(&self, peer: PeerId, reply: ReplyId, request: ChatRequest) {
        if self.friends.is_busy() {
            return self.respond(reply, &Response::Chat(ChatResponse::Busy));
        }
        let ChatRequest::Direct(line) = request;
        let (friends, net) = (self.friends.clone(), self.net.clone());
        self.spawn_work(async move {
            let (response, done) = match friends.receive_direct(peer, line, now()).await {
                // A line in the box of requests is delivered, too: its author learns no more.
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

    /// Stores a gossiped line or goodbye, and gives the network the verdict on it.
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
                    .map(|receipt| matches!(receipt, Receipt::New(_) | Receipt::Request)),
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

    /// Publishes our goodbye.
    pub(super) async fn publish_quit(&self) {
        match self.friends.goodbye(now()).await {
            Ok(quit) => log_unsent(self.net.publish(&Gossip::Chat(ChatGossip::Quit(quit)))),
            Err(error) => tracing::warn!(%error, "no goodbye could be signed"),
        }
    }
}

/// Returns the offence of a peer that sent a line which was refused, if it is one.
fn offence(peer: PeerId, error: &ReceiveError) -> Option<Done> {
    error.offence().map(|offence| Done::Offence { peer, offence, reason: error.to_string() })
}
