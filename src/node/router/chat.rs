//! Chat lines to one friend and to all, the outbox, and goodbyes.
//!
//! A line is stored before it is sent, and its command gets the reply once it is stored. A separate
//! task stores lines one after the other, so that they are sent in the order of the commands.

use std::{collections::HashSet, pin::Pin};

use futures::FutureExt as _;
use tokio::{
    sync::{mpsc, oneshot},
    task::unconstrained,
    time::Instant,
};

use super::{
    BroadcastLine, DirectLine, Done, LineEnd, LineError, Purpose, Router, couriers::Step,
    network::log_unsent,
};
use crate::{
    friends::{FriendsHandle, ReceiveError, SentLine},
    net::{GossipId, NetHandle, ReplyId, Verdict},
    node::clock::now,
    peers::Level,
    primitives::{PeerId, UnixMillis},
    wire::{ChatGossip, ChatRequest, ChatResponse, Gossip, MessageId, Refusal, Request, Response},
};

/// Lines of the outbox that are read at once.
const OUTBOX_BATCH: usize = 16;
/// Lines of commands that wait to be stored.
const LINE_QUEUE: usize = 256;
/// Time since a friend was last seen after which `broadcast` no longer counts it as one who gets
/// the line later. Lines to all are kept for 30 days.
const LATER_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

/// A line of a command that is to be stored and sent.
#[derive(Debug)]
pub(super) enum NewLine {
    Direct {
        friend: String,
        text: String,
        reply: oneshot::Sender<Result<DirectLine, LineError>>,
    },
    ToAll {
        text: String,
        /// The friends who are connected and get the line at once.
        here: HashSet<PeerId>,
        reply: oneshot::Sender<Result<BroadcastLine, LineError>>,
    },
}

/// A direct line that is stored, and whose command waits for the answer.
#[derive(Debug)]
pub(super) struct Written {
    to: PeerId,
    id: MessageId,
    reply: oneshot::Sender<Result<DirectLine, LineError>>,
}

/// Starts the task that stores new lines. It ends with the router.
pub(super) fn spawn_writer(
    friends: FriendsHandle,
    net: NetHandle,
    done: mpsc::Sender<Done>,
) -> mpsc::Sender<NewLine> {
    let (lines, mut queue) = mpsc::channel(LINE_QUEUE);
    tokio::spawn(async move {
        while let Some(line) = queue.recv().await {
            // An error of a reply means that the caller no longer waits.
            match line {
                NewLine::Direct { friend, text, reply } => {
                    match write_direct(&friends, friend, text).await {
                        Ok((to, sent)) => {
                            let written = Written { to, id: sent.id, reply };
                            if done.send(Done::Written(written)).await.is_err() {
                                return;
                            }
                        }
                        Err(error) => drop(reply.send(Err(error))),
                    }
                }
                NewLine::ToAll { text, here, reply } => {
                    let _ = reply.send(write_to_all(&friends, &net, text, &here).await);
                }
            }
        }
    });
    lines
}

async fn write_direct(
    friends: &FriendsHandle,
    friend: String,
    text: String,
) -> Result<(PeerId, SentLine), LineError> {
    let to = friends.resolve(friend).await?;
    Ok((to, friends.direct(to, text, now()).await?))
}

async fn write_to_all(
    friends: &FriendsHandle,
    net: &NetHandle,
    text: String,
    here: &HashSet<PeerId>,
) -> Result<BroadcastLine, LineError> {
    let sent = friends.broadcast(text, now()).await?;
    net.publish(&Gossip::Chat(ChatGossip::Line(sent.line)))?;
    let known = friends.list(now()).await.unwrap_or_default();
    let mut line = BroadcastLine { id: sent.id, peers: 0, later: 0 };
    line.peers = u32::try_from(here.len()).unwrap_or(u32::MAX);
    let comes_back =
        |seen: Option<UnixMillis>| seen.is_some_and(|seen| seen.saturating_add(LATER_MS) > now());
    let later = known.iter().filter(|friend| {
        friend.level == Level::Friend
            && !here.contains(&friend.peer_id)
            && comes_back(friend.last_seen)
    });
    line.later = u32::try_from(later.count()).unwrap_or(u32::MAX);
    Ok(line)
}

/// Starts a call of the friends thread now, so that the calls run there in the order in which the
/// router makes them.
pub(super) fn begun<T: Send + 'static>(
    call: impl Future<Output = T> + Send + 'static,
) -> Pin<Box<dyn Future<Output = T> + Send>> {
    let mut call = Box::pin(unconstrained(call));
    match call.as_mut().now_or_never() {
        Some(result) => Box::pin(std::future::ready(result)),
        None => call,
    }
}

impl Router {
    /// Stores a line to one friend, and sends it in its turn. Replies once the line is stored.
    pub(super) fn chat(
        &self,
        friend: String,
        text: String,
        reply: oneshot::Sender<Result<DirectLine, LineError>>,
    ) {
        self.write_line(NewLine::Direct { friend, text, reply });
    }

    /// Stores a line to all friends and publishes it.
    pub(super) fn broadcast(
        &self,
        text: String,
        reply: oneshot::Sender<Result<BroadcastLine, LineError>>,
    ) {
        let here = self.connected.iter().filter(|(_, state)| state.status.is_some());
        let here = here.map(|(peer, _)| *peer).filter(|peer| self.trust.is_friend(peer)).collect();
        self.write_line(NewLine::ToAll { text, here, reply });
    }

    fn write_line(&self, line: NewLine) {
        if let Err(mpsc::error::TrySendError::Full(line)) = self.new_lines.try_send(line) {
            let lines = self.new_lines.clone();
            self.spawn_work(async move {
                // An error means that the node is stopping. The caller learns this from its reply.
                let _ = lines.send(line).await;
                None
            });
        }
    }

    /// Replies to the command of a line that is stored, and sends the line if its receiver is here.
    pub(super) fn on_written(&mut self, written: Written) {
        let Written { to, id, reply } = written;
        let is_here = self.connected.get(&to).is_some_and(|state| state.status.is_some());
        let is_prompt = is_here && self.couriers.is_prompt(&to, Instant::now());
        let (waiter, end) = oneshot::channel();
        self.awaited.insert(id, waiter);
        let _ = reply.send(Ok(DirectLine { id, is_prompt, end }));
        self.send_outbox(to);
        self.leave_lines(to);
    }

    /// Sends queued lines to a friend, one after the other, if it is connected.
    pub(super) fn send_outbox(&mut self, peer: PeerId) {
        if self.connected.get(&peer).is_some_and(|state| state.status.is_some()) {
            let step = self.couriers.call(peer, Instant::now());
            self.courier_step(peer, step);
        }
    }

    /// Sends the lines that are queued for these peers, or leaves them with mutual friends.
    pub(super) fn send_waiting(&mut self, peers: Vec<PeerId>) {
        for peer in peers {
            self.send_outbox(peer);
            self.leave_lines(peer);
        }
    }

    /// Sends queued lines again to friends who did not answer a while ago.
    pub(super) fn send_due(&mut self) {
        for peer in self.couriers.due(Instant::now()) {
            self.send_outbox(peer);
        }
        self.bring_due();
        self.awaited.retain(|_, waiter| !waiter.is_closed());
    }

    fn courier_step(&mut self, peer: PeerId, step: Step<SentLine>) {
        match step {
            Step::Send(sent) => {
                let SentLine { id, line } = *sent;
                let request = Request::Chat(ChatRequest::Direct(line));
                self.request(peer, Purpose::Line { id }, &request);
            }
            Step::Read => {
                let friends = self.friends.clone();
                let read = begun(async move { friends.outbox_for(peer, OUTBOX_BATCH).await });
                self.spawn_work(async move {
                    Some(Done::Outbox { peer, lines: read.await.unwrap_or_default() })
                });
            }
            Step::Rest => {}
        }
    }

    pub(super) fn outbox_read(&mut self, peer: PeerId, lines: Vec<SentLine>) {
        let step = self.couriers.read(peer, lines, Instant::now());
        self.courier_step(peer, step);
    }

    /// Stores the new state of a line, and sends the next queued one.
    pub(super) fn on_line_response(
        &mut self,
        peer: PeerId,
        id: MessageId,
        response: &ChatResponse,
    ) {
        let end = match response {
            ChatResponse::Delivered => LineEnd::Delivered,
            ChatResponse::Refused(why) if *why != Refusal::RateLimited => LineEnd::Refused(*why),
            _ => return self.couriers.failed(peer, id, Instant::now()),
        };
        let friends = self.friends.clone();
        let kept = begun(async move {
            match end {
                LineEnd::Delivered => friends.delivered(peer, id).await,
                LineEnd::Refused(why) => friends.refused(peer, id, why).await,
            }
        });
        self.spawn_work(async move {
            if let Err(error) = kept.await {
                tracing::warn!(%error, "the state of a line could not be stored");
            }
            Some(Done::Settled { id, end })
        });
        let step = self.couriers.answered(peer, id, Instant::now());
        self.courier_step(peer, step);
    }

    /// Replies to the command that waits for a line's delivery or refusal.
    pub(super) fn settled(&mut self, id: MessageId, end: LineEnd) {
        if let Some(waiter) = self.awaited.remove(&id) {
            let _ = waiter.send(end);
        }
    }

    /// Answers a request on `chat`.
    pub(super) fn chat_request(&self, peer: PeerId, reply: ReplyId, request: ChatRequest) {
        if self.friends.is_busy_for(self.trust.is_friend(&peer)) {
            return self.respond(reply, &Response::Chat(ChatResponse::Busy));
        }
        let line = match request {
            ChatRequest::Direct(line) => line,
            ChatRequest::GetLineIds(place) => return self.tell_line_ids(peer, reply, place),
            ChatRequest::GetLines(ids) => return self.tell_lines(peer, reply, &ids),
            ChatRequest::Sealed(line) => return self.sealed_request(peer, reply, line),
        };
        let (friends, net) = (self.friends.clone(), self.net.clone());
        let received = begun(async move { friends.receive_direct(peer, line, now()).await });
        self.spawn_work(async move {
            let (response, done) = match received.await {
                // A line in the box of requests counts as delivered, so that its author learns no
                // more.
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

    /// Handles a gossiped line or goodbye. It is held while older lines may still arrive.
    pub(super) fn chat_gossip(&mut self, peer: PeerId, message: GossipId, gossip: ChatGossip) {
        if let Some((peer, message, gossip)) = self.hold(peer, message, gossip) {
            self.receive_gossip(peer, message, gossip);
        }
    }

    /// Stores a gossiped line or goodbye, and sends the network the verdict.
    pub(super) fn receive_gossip(&self, peer: PeerId, message: GossipId, gossip: ChatGossip) {
        let (friends, net) = (self.friends.clone(), self.net.clone());
        if friends.is_busy_for(self.trust.is_friend(&peer)) {
            return log_unsent(net.verdict(message, Verdict::Ignore));
        }
        let received = begun(async move {
            match gossip {
                ChatGossip::Line(line) => friends.hear_line(peer, line, now()).await,
                ChatGossip::Quit(quit) => friends.hear_quit(peer, quit, now()).await,
            }
        });
        self.spawn_work(async move {
            let (verdict, done) = match received.await {
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

/// Returns the penalty for the peer that sent a rejected line, if it deserves one.
fn offence(peer: PeerId, error: &ReceiveError) -> Option<Done> {
    error.offence().map(|offence| Done::Offence { peer, offence, reason: error.to_string() })
}
