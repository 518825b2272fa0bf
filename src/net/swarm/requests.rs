//! Requests and responses on the wire, in both directions.

use std::{io, net::IpAddr, time::Instant};

use libp2p::core::upgrade::NegotiationError;
use libp2p::request_response::{
    self, InboundRequestId, Message, OutboundFailure, OutboundRequestId, ResponseChannel,
};

use super::Network;
use crate::{
    net::{
        behaviour::request_timeout,
        codec::Frame,
        event::{NetEvent, NetOffence, ReplyId, RequestError},
        gossip_score::MUTED_SCORE,
        inbound::{Asker, Standing},
        limits::{ANSWER_TIME, SMALL_RESPONSE},
        peer::{from_libp2p, to_libp2p},
        requests::Job,
    },
    peers::{Spent, Traffic, host_group},
    primitives::PeerId,
    wire::{
        ChatResponse, CodecError, FriendsResponse, HelloResponse, Protocol, Refusal, Request,
        Response, SyncResponse,
    },
};

/// libp2p's name of a request in flight.
pub(super) type FlightKey = (Protocol, OutboundRequestId);
/// libp2p's name of a peer's request, and the channel that takes its response.
pub(super) type ReplyChannel = (InboundRequestId, ResponseChannel<Frame<Response>>);

type RequestEvent = request_response::Event<Frame<Request>, Frame<Response>>;

/// True if the far end does not support the protocol. The protocol's name is sent with the request,
/// so the refusal shows only when the answer is read.
fn is_refusal(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(NegotiationError::Failed))
}

impl Network {
    /// Sends the queued requests to a peer that may be sent now.
    pub(super) fn pump(&mut self, peer: &PeerId) {
        let Some(id) = to_libp2p(peer) else { return };
        let may_sync = self.may_sync(peer, Instant::now());
        while let Some(Job { ticket, protocol, bytes, .. }) = self.outbound.next(peer, may_sync) {
            let request = self
                .swarm
                .behaviour_mut()
                .requests(protocol)
                .send_request(&id, Frame::Asking(bytes, ticket.arrival.clone()));
            self.outbound.sent((protocol, request), ticket, Instant::now());
        }
    }

    /// Sends the node's response, or Busy if too many bytes wait for the peer.
    pub(super) fn respond(&mut self, reply: &ReplyId, protocol: Protocol, bytes: Vec<u8>) {
        let Some((asked_on, channel, peer)) = self.inbound.take(reply) else { return };
        if asked_on == protocol {
            if self.sending.has_room(&peer, bytes.len(), self.trust.is_friend(&peer)) {
                self.metrics.request_served(protocol.code(), "answered");
                self.send_response(peer, protocol, channel, bytes);
            } else {
                self.respond_busy(peer, protocol, channel);
            }
        } else {
            tracing::error!(
                ?asked_on,
                ?protocol,
                "dropped a response whose protocol is not its request's"
            );
        }
    }

    fn send_response(
        &mut self,
        peer: PeerId,
        protocol: Protocol,
        channel: ReplyChannel,
        bytes: Vec<u8>,
    ) {
        let (request, channel) = channel;
        let size = bytes.len();
        let sent = self
            .swarm
            .behaviour_mut()
            .requests(protocol)
            .send_response(channel, Frame::Outgoing(bytes));
        // An error means that the peer no longer waits.
        if sent.is_ok() {
            let is_friend = self.trust.is_friend(&peer);
            self.sending.begun((protocol, request), peer, size, is_friend);
            let (ip, traffic) = (self.ip_of_peer(&peer), Traffic::Requests(protocol));
            self.budgets.answered(peer, ip, traffic, size, Instant::now());
        }
    }

    fn respond_busy(&mut self, peer: PeerId, protocol: Protocol, channel: ReplyChannel) {
        let busy = match protocol {
            Protocol::Hello => Response::Hello(HelloResponse::Busy),
            Protocol::Friends => Response::Friends(FriendsResponse::Busy),
            Protocol::Chat => Response::Chat(ChatResponse::Busy),
            Protocol::Sync => Response::Sync(SyncResponse::Busy),
        };
        self.refuse_with(peer, &busy, "busy", channel);
    }

    /// Answers a request that is beyond its peer's budget.
    fn respond_over_budget(&mut self, peer: PeerId, protocol: Protocol, channel: ReplyChannel) {
        let later = match protocol {
            Protocol::Friends => Response::Friends(FriendsResponse::Refused(Refusal::RateLimited)),
            Protocol::Chat => Response::Chat(ChatResponse::Refused(Refusal::RateLimited)),
            Protocol::Hello | Protocol::Sync => return self.respond_busy(peer, protocol, channel),
        };
        self.refuse_with(peer, &later, "rate_limited", channel);
    }

    fn refuse_with(
        &mut self,
        peer: PeerId,
        response: &Response,
        code: &'static str,
        channel: ReplyChannel,
    ) {
        if let Ok(bytes) = response.encode() {
            let protocol = response.protocol();
            self.metrics.request_served(protocol.code(), code);
            self.send_response(peer, protocol, channel, bytes);
        }
    }

    pub(super) fn on_request_response(
        &mut self,
        protocol: Protocol,
        event: RequestEvent,
    ) -> Option<NetEvent> {
        match event {
            RequestEvent::Message { peer, message, .. } => {
                let peer = from_libp2p(&peer)?;
                match message {
                    Message::Request { request_id, request, channel } => {
                        self.on_request(peer, protocol, request, (request_id, channel))
                    }
                    Message::Response { request_id, response } => {
                        self.on_response((protocol, request_id), response);
                        None
                    }
                }
            }
            RequestEvent::OutboundFailure { request_id, error, .. } => {
                self.on_request_failed((protocol, request_id), &error);
                None
            }
            RequestEvent::InboundFailure { request_id, .. }
            | RequestEvent::ResponseSent { request_id, .. } => {
                self.sent(protocol, request_id);
                None
            }
        }
    }

    fn on_request(
        &mut self,
        peer: PeerId,
        protocol: Protocol,
        request: Frame<Request>,
        channel: ReplyChannel,
    ) -> Option<NetEvent> {
        let Frame::Incoming { size, message } = request else { return None };
        if !self.peers.contains_key(&peer) {
            // The peer has lost its place, and its connection is about to close.
            return None;
        }
        let request = match message {
            Ok(request) => request,
            Err(error) => {
                // The drop of the channel ends the stream without a response.
                self.metrics.request_served(protocol.code(), "malformed");
                self.misbehaved(peer, NetOffence::MalformedRequest, &error);
                return None;
            }
        };
        let (ip, traffic) = (self.ip_of_peer(&peer), Traffic::Requests(protocol));
        let spent = self.budgets.message(peer, ip, traffic, size, Instant::now());
        if spent != Spent::Within {
            self.respond_over_budget(peer, protocol, channel);
            if spent == Spent::Flooding {
                self.flooded(peer, protocol.code());
            }
            return None;
        }
        // A peer that does not read its answers is not served further ones.
        let reads = self.sending.has_room(&peer, SMALL_RESPONSE, self.trust.is_friend(&peer));
        if !reads || !self.has_room_for(&peer) {
            self.respond_busy(peer, protocol, channel);
            return None;
        }
        let asker = self.asker(peer, ip);
        match self.inbound.admit(asker, protocol, size, channel) {
            Ok(reply) => Some(NetEvent::RequestReceived { peer, reply, request }),
            Err(channel) => {
                self.respond_busy(peer, protocol, channel);
                None
            }
        }
    }

    fn asker(&self, peer: PeerId, ip: Option<IpAddr>) -> Asker {
        let standing = if self.trust.is_friend(&peer) {
            Standing::Friend
        } else if self.budgets.is_proven(&peer, Instant::now()) {
            Standing::Proven
        } else {
            Standing::Unproven
        };
        let has_greeted = self.peers.get(&peer).is_some_and(|entry| entry.greeted);
        Asker { peer, standing, has_greeted, host: ip.map(host_group) }
    }

    fn on_response(&mut self, key: FlightKey, response: Frame<Response>) {
        let Some(ticket) = self.outbound.landed(key) else { return };
        let peer = ticket.peer;
        if let (Protocol::Sync, Frame::Incoming { size, .. }) = (key.0, &response) {
            self.slow_down(&peer, *size, Instant::now());
        }
        match response {
            Frame::Incoming { message: Ok(response), .. } => ticket.end(Ok(response)),
            Frame::Incoming { message: Err(error), .. } => {
                self.misbehaved(peer, NetOffence::MalformedResponse, &error);
                ticket.end(Err(RequestError::Malformed { peer, source: error }));
            }
            Frame::Outgoing(_) | Frame::Asking(..) => {
                ticket.end(Err(RequestError::NoAnswer { peer, reason: "none came".to_owned() }));
            }
        }
        self.pump(&peer);
    }

    fn on_request_failed(&mut self, key: FlightKey, error: &OutboundFailure) {
        let Some(ticket) = self.outbound.landed(key) else { return };
        let peer = ticket.peer;
        if let Some(response) = key.0.decode_part(&ticket.arrival.take()) {
            tracing::debug!(%peer, %error, "an answer ended early; its whole blocks are kept");
            ticket.end(Ok(response));
            return self.pump(&peer);
        }
        let error = match error {
            OutboundFailure::DialFailure => RequestError::NotConnected(peer),
            OutboundFailure::Timeout => {
                RequestError::TimedOut { peer, limit: request_timeout(key.0) }
            }
            OutboundFailure::ConnectionClosed => RequestError::Disconnected(peer),
            OutboundFailure::UnsupportedProtocols => RequestError::Unsupported(peer),
            OutboundFailure::Io(error) if is_refusal(error) => RequestError::Unsupported(peer),
            OutboundFailure::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                RequestError::TimedOut { peer, limit: ANSWER_TIME }
            }
            OutboundFailure::Io(error) => {
                RequestError::NoAnswer { peer, reason: error.to_string() }
            }
        };
        ticket.end(Err(error));
        self.pump(&peer);
    }

    /// Reports a peer that keeps sending after its budget was used up.
    fn flooded(&mut self, peer: PeerId, what: &'static str) {
        let reason = format!("it goes on after its budget of {what} was used up");
        let offence = NetOffence::Flooding;
        self.emit_if_room_for(&peer, NetEvent::Misbehaved { peer, offence, reason });
    }

    /// Counts a gossip message. Returns true if it must be ignored.
    ///
    /// # Security
    /// An ignored message is lost: gossipsub accepts no copy of it from others. A hostile peer
    /// could use up its budget and then be the first to forward others' messages. The message that
    /// uses the budget up therefore still counts, and then the peer is muted: gossipsub drops a
    /// muted peer's messages before it remembers their ids.
    pub(super) fn is_gossip_over_budget(
        &mut self,
        peer: &PeerId,
        bytes: usize,
        now: Instant,
    ) -> bool {
        if !self.peers.contains_key(peer) {
            return true;
        }
        let ip = self.ip_of_peer(peer);
        let spent = self.budgets.message(*peer, ip, Traffic::Gossip, bytes, now);
        let recovered = self.budgets.has_recovered(*peer, Traffic::Gossip, now);
        if (spent != Spent::Within || !recovered) && self.muted.insert(*peer) {
            self.set_gossip_score(peer, MUTED_SCORE);
        }
        if spent == Spent::Flooding {
            self.flooded(*peer, "gossip");
        }
        spent == Spent::Flooding
    }

    /// Unmutes peers whose budget has recovered.
    pub(super) fn unmute(&mut self, now: Instant) {
        let Self { muted, budgets, .. } = self;
        let recovered = |peer: &PeerId| budgets.has_recovered(*peer, Traffic::Gossip, now);
        let recovered: Vec<_> = muted.iter().copied().filter(recovered).collect();
        for peer in recovered {
            self.muted.remove(&peer);
            self.set_gossip_score(&peer, 0.0);
        }
    }

    pub(super) fn set_gossip_score(&mut self, peer: &PeerId, score: f64) {
        if let Some(id) = to_libp2p(peer) {
            self.swarm.behaviour_mut().gossip.set_application_score(&id, score);
        }
    }

    /// Reports bytes that do not decode. Messages with too many bytes or items count as oversized.
    pub(super) fn misbehaved(&mut self, peer: PeerId, offence: NetOffence, error: &CodecError) {
        let offence = match error {
            CodecError::TooLarge { .. } | CodecError::OverLimit { .. } => NetOffence::Oversized,
            _ => offence,
        };
        tracing::debug!(%peer, offence = offence.name(), code = error.code(), %error, "refused");
        let reason = format!("{}: {error}", error.code());
        self.emit_if_room_for(&peer, NetEvent::Misbehaved { peer, offence, reason });
    }
}
