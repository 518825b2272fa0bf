//! Lines for friends who are away: left with mutual friends, kept for friends, and delivered.
//!
//! A friend is offered a line only if it has sent us the receiver's profile, so that nobody else
//! learns to whom we write. Kept lines are delivered once their receiver has said hello.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Done, Purpose, Router,
    chat::begun,
    couriers::{Couriers, Step},
    leaving::{Leaving, Next, Offered},
    network::log_unsent,
};
use crate::{
    friends::{KeptLine, ToLeave},
    net::ReplyId,
    node::clock::now,
    primitives::PeerId,
    wire::{
        ChatRequest, ChatResponse, MessageId, Refusal, Request, Response, SealedLine,
        SignedProfile, limits::MAX_PROFILES,
    },
};

/// Lines that are read at once, to leave or to deliver.
const BATCH: usize = 16;
/// Least time between two Explores to a friend because of a line for a peer whose profile the
/// friend has not sent.
const ASK_PAUSE: Duration = Duration::from_mins(5);

/// The sealed lines in transit, our own and those of friends.
#[derive(Debug, Default)]
pub(super) struct Carrying {
    /// Our lines, which are being left with friends of their receivers.
    leaving: Leaving,
    /// Couriers of the lines that we keep for friends.
    bringing: Couriers<KeptLine>,
    /// The peers whose profiles each connected friend sent last.
    known: HashMap<PeerId, HashSet<PeerId>>,
}

impl Carrying {
    /// Drops the state of a peer who has disconnected.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        self.bringing.gone(peer);
        self.known.remove(peer);
    }
}

/// The purpose of a request with a sealed line.
#[derive(Debug, Clone, Copy)]
pub(super) enum Errand {
    /// A line of ours, to be kept for a peer who is away.
    Leave { to: PeerId, id: MessageId },
    /// A line that we kept for the peer.
    Bring { order: u64 },
}

/// The result of a spawned task.
#[derive(Debug)]
pub(super) enum Carried {
    /// Lines for a peer who is away, to be left with friends.
    ToLeave { to: PeerId, lines: Vec<ToLeave> },
    /// A line for this peer was left with us.
    KeptFor(PeerId),
    /// The first lines that we keep for a friend.
    Kept { to: PeerId, lines: Vec<KeptLine> },
    /// A kept line is with its receiver, and dropped here.
    Brought { to: PeerId, order: u64 },
}

impl Router {
    /// Remembers which peers a friend knows, by its answer to Explore.
    pub(super) fn knows(&mut self, peer: PeerId, profiles: &[SignedProfile]) {
        if !self.connected.contains_key(&peer) || !self.trust.is_friend(&peer) {
            return;
        }
        let others = profiles.iter().map(|profile| profile.peer).filter(|other| *other != peer);
        self.carrying.known.insert(peer, others.take(MAX_PROFILES).collect());
        let friends = self.friends.clone();
        self.spawn_work(async move { Some(Done::Waiting(friends.outbox_peers().await.ok()?)) });
    }

    /// Leaves the queued lines for a peer with mutual friends, unless the peer is here.
    pub(super) fn leave_lines(&mut self, to: PeerId) {
        if self.connected.get(&to).is_some_and(|state| state.status.is_some()) {
            return self.carrying.leaving.here(&to);
        }
        let mut candidates = Vec::new();
        for (peer, state) in &mut self.connected {
            if state.status.is_none() || !self.trust.is_friend(peer) {
                continue;
            }
            if self.carrying.known.get(peer).is_some_and(|known| known.contains(&to)) {
                candidates.push(*peer);
            } else if state.explored.is_some_and(|at| at.elapsed() >= ASK_PAUSE) {
                // The friend may have met the receiver since.
                state.ask_again = Some(ASK_PAUSE);
            }
        }
        let next = self.carrying.leaving.call(to, candidates, Instant::now());
        self.leaving_step(to, next);
    }

    fn leaving_step(&mut self, to: PeerId, next: impl IntoIterator<Item = Next>) {
        for next in next {
            match next {
                Next::Read(candidates) => {
                    let friends = self.friends.clone();
                    let read =
                        begun(async move { friends.to_leave(to, candidates, BATCH, now()).await });
                    self.spawn_work(async move {
                        let lines = read.await.unwrap_or_default();
                        Some(Done::Carried(Carried::ToLeave { to, lines }))
                    });
                }
                Next::Offer { id, line, with } => {
                    let request = Request::Chat(ChatRequest::Sealed(*line));
                    for peer in with {
                        self.request(peer, Purpose::Carry(Errand::Leave { to, id }), &request);
                    }
                }
                Next::Left { id, with } => {
                    let friends = self.friends.clone();
                    // Begins before the next read of the outbox, which needs the result.
                    let kept = begun(async move { friends.left_with(to, id, with, now()).await });
                    self.spawn_work(async move {
                        if let Err(error) = kept.await {
                            tracing::warn!(%error, "the carriers of a line could not be stored");
                        }
                        None
                    });
                }
            }
        }
    }

    pub(super) fn on_carried(&mut self, carried: Carried) {
        match carried {
            Carried::ToLeave { to, lines } => {
                let next = self.carrying.leaving.read(to, lines);
                self.leaving_step(to, next);
            }
            Carried::KeptFor(to) => self.bring_kept(to),
            Carried::Kept { to, lines } => {
                let step = self.carrying.bringing.read(to, lines, Instant::now());
                self.bringing_step(to, step);
            }
            Carried::Brought { to, order } => {
                let step = self.carrying.bringing.answered(to, order, Instant::now());
                self.bringing_step(to, step);
            }
        }
    }

    /// Handles the answer to a request with a sealed line. Busy counts as no answer.
    pub(super) fn on_errand_response(
        &mut self,
        peer: PeerId,
        errand: Errand,
        response: &ChatResponse,
    ) {
        match errand {
            Errand::Leave { to, id } => self.on_offer_response(peer, to, id, response),
            Errand::Bring { order } => self.on_bring_response(peer, order, response),
        }
    }

    /// Handles the answer of a friend to an offered line.
    fn on_offer_response(
        &mut self,
        carrier: PeerId,
        to: PeerId,
        id: MessageId,
        response: &ChatResponse,
    ) {
        let offered = match response {
            ChatResponse::Delivered => Offered::Taken,
            ChatResponse::Refused(Refusal::RateLimited) => Offered::Full,
            ChatResponse::Refused(_) => Offered::NotFriends,
            _ => Offered::Failed,
        };
        let steps = self.carrying.leaving.answered(to, id, carrier, offered, Instant::now());
        self.leaving_step(to, steps);
    }

    /// Answers a request with a sealed line: stores the line if it is to us, otherwise keeps it.
    pub(super) fn sealed_request(&self, peer: PeerId, reply: ReplyId, line: SealedLine) {
        let (friends, net, me) = (self.friends.clone(), self.net.clone(), self.me);
        self.spawn_work(async move {
            let to = line.to;
            let refused = if to == me {
                let received = friends.receive_sealed(peer, line, now()).await;
                received.err().map(|error| (error.to_string(), error.refusal()))
            } else {
                let kept = friends.keep_sealed(peer, line, now()).await;
                kept.err().map(|error| (error.to_string(), error.refusal()))
            };
            let response = match &refused {
                None => ChatResponse::Delivered,
                Some((reason, refusal)) => {
                    tracing::debug!(%peer, reason, "a sealed line was refused");
                    refusal.map_or(ChatResponse::Busy, ChatResponse::Refused)
                }
            };
            log_unsent(net.respond(reply, &Response::Chat(response)));
            (refused.is_none() && to != me).then_some(Done::Carried(Carried::KeptFor(to)))
        });
    }

    /// Delivers the lines that we keep for a friend, one after the other, if it is connected.
    pub(super) fn bring_kept(&mut self, to: PeerId) {
        let is_here = self.connected.get(&to).is_some_and(|state| state.status.is_some());
        if is_here && self.trust.is_friend(&to) {
            let step = self.carrying.bringing.call(to, Instant::now());
            self.bringing_step(to, step);
        }
    }

    fn bringing_step(&mut self, to: PeerId, step: Step<KeptLine>) {
        match step {
            Step::Send(kept) => {
                let KeptLine { order, line } = *kept;
                let request = Request::Chat(ChatRequest::Sealed(line));
                self.request(to, Purpose::Carry(Errand::Bring { order }), &request);
            }
            Step::Read => {
                let friends = self.friends.clone();
                self.spawn_work(async move {
                    let lines = friends.kept_for(to, BATCH).await.unwrap_or_default();
                    Some(Done::Carried(Carried::Kept { to, lines }))
                });
            }
            Step::Rest => {}
        }
    }

    /// Handles the answer of a friend to a line that we kept for it.
    fn on_bring_response(&mut self, to: PeerId, order: u64, response: &ChatResponse) {
        let is_final = match response {
            ChatResponse::Delivered => true,
            // The receiver may accept the author later, or have room later.
            ChatResponse::Refused(why) => !matches!(why, Refusal::NotMine | Refusal::RateLimited),
            _ => false,
        };
        if !is_final {
            return self.carrying.bringing.failed(to, order, Instant::now());
        }
        let friends = self.friends.clone();
        self.spawn_work(async move {
            if let Err(error) = friends.drop_kept(to, order).await {
                tracing::warn!(%error, "a delivered line could not be dropped");
            }
            Some(Done::Carried(Carried::Brought { to, order }))
        });
    }

    /// Delivers kept lines again to friends who did not accept them a while ago.
    pub(super) fn bring_due(&mut self) {
        for to in self.carrying.bringing.due(Instant::now()) {
            self.bring_kept(to);
        }
    }

    /// Drops the lines that were kept for 7 days.
    pub(super) fn drop_old_kept(&self) {
        if self.friends.kept() == 0 {
            return;
        }
        let friends = self.friends.clone();
        self.spawn_work(async move {
            if let Err(error) = friends.drop_old_kept(now()).await {
                tracing::warn!(%error, "old sealed lines could not be dropped");
            }
            None
        });
    }
}
