//! Dispatches the network's events, and the responses to our requests by their purpose.

use std::time::Duration;

use super::{Asked, Connected, Purpose, Router, attempts::Failure};
use crate::{
    friends::Departure,
    net::{CommandError, NetEvent, NetOffence, ReplyId, RequestError, Verdict},
    node::clock::now,
    peers::Offence,
    primitives::PeerId,
    relay::{self, RelayEvent},
    sync::{self, SyncEvent},
    telemetry::events,
    wire::{
        ChatResponse, FriendsResponse, Gossip, HelloResponse, Request, RequestFailure, Response,
        SyncResponse,
    },
};

/// Mask of the router's own request ids: below the ranges of sync and relay.
const OWN_REQUESTS: u64 = (1 << 56) - 1;

impl Router {
    pub(super) fn on_net(&mut self, event: NetEvent) {
        match event {
            NetEvent::Listening { address } => events::Listening { address }.emit(),
            NetEvent::Reach(reach) => self.on_reach(*reach),
            NetEvent::PathChanged { peer, relay, address } => {
                self.path_changed(peer, relay, address);
            }
            NetEvent::Relaying { peer, what } => self.on_relaying(peer, what),
            NetEvent::Punched { peer, direct } => self.on_punched(peer, direct),
            NetEvent::PeerConnected { peer, address, inbound } => {
                self.peer_connected(peer, address, inbound);
            }
            NetEvent::PeerDisconnected { peer, reason } => self.peer_disconnected(peer, reason),
            NetEvent::RequestReceived { peer, reply, request } => {
                self.on_request(peer, reply, request);
            }
            NetEvent::ResponseGrows { id, bytes } => {
                if sync::owns_request(id) {
                    self.sync(SyncEvent::Grows { id, bytes });
                }
            }
            NetEvent::ResponseReceived { peer, id, result } => self.on_response(peer, id, result),
            // Trades wait for a busy chain, blocks do not: the relay bounds them.
            NetEvent::GossipReceived { message, gossip: Gossip::Trade(_), .. }
                if self.chain.busy() =>
            {
                log_unsent(self.net.verdict(message, Verdict::Ignore));
            }
            NetEvent::GossipReceived { peer, message, gossip } => match gossip {
                Gossip::Chat(gossip) => self.chat_gossip(peer, message, gossip),
                Gossip::Trade(gossip) => {
                    self.relay(RelayEvent::TradeGossip { peer, message, gossip });
                }
                Gossip::Block(gossip) => {
                    self.relay(RelayEvent::BlockGossip { peer, message, gossip });
                }
            },
            NetEvent::Subscribed { peer, topic } => {
                tracing::debug!(%peer, ?topic, "a peer has subscribed");
            }
            NetEvent::Discovered { peer, address } => {
                tracing::debug!(%peer, address, "a peer was discovered");
            }
            NetEvent::Woke { away } => self.woke(away),
            NetEvent::CopySeen { address } => self.copy_seen(Some(address)),
            NetEvent::CopyEnded { address } => self.copy_ended(Some(address)),
            NetEvent::Misbehaved { peer, offence, reason } => {
                let offence = match offence {
                    NetOffence::MalformedRequest
                    | NetOffence::MalformedResponse
                    | NetOffence::MalformedGossip => Offence::Malformed,
                    NetOffence::ForeignTopic => Offence::ForeignTopic,
                    NetOffence::Oversized => Offence::Oversized,
                    NetOffence::Flooding => Offence::Flooding,
                };
                self.penalise(peer, offence, &reason);
            }
            NetEvent::DialFailed { address, peer, cause, reason } => {
                tracing::info!(
                    address,
                    reason,
                    "no answer from this address yet; the node tries again"
                );
                self.no_way(&address, peer, Failure::Dial(cause), reason);
            }
        }
    }

    fn peer_connected(&mut self, peer: PeerId, address: String, inbound: bool) {
        events::PeerConnected { peer, address: address.clone(), inbound }.emit();
        self.attempts.answered(&address, &peer);
        if !inbound {
            let (friends, address) = (self.friends.clone(), address.clone());
            self.spawn_work(async move {
                if let Err(error) = friends.touch_address(peer, address, now()).await {
                    tracing::warn!(%error, "an address could not be stored");
                }
                None
            });
        }
        let state = Connected {
            address,
            inbound,
            since: now(),
            status: None,
            clock: None,
            greeted: false,
            before_hello: Vec::new(),
            explored: None,
            ask_again: None,
            foreign: false,
            lines: Asked::new(),
        };
        if !self.connected.keys().any(|other| self.is_asked(other)) {
            self.in_company = tokio::time::Instant::now();
        }
        self.connected.insert(peer, state);
        if self.trust.is_friend(&peer) {
            self.keep_friends();
        }
        self.send_hello(peer);
    }

    fn peer_disconnected(&mut self, peer: PeerId, reason: String) {
        events::PeerDisconnected { peer, reason }.emit();
        self.connected.remove(&peer);
        self.reach.gone(&peer);
        self.turns.gone(&peer);
        self.couriers.gone(&peer);
        self.carrying.gone(&peer);
        self.sync(SyncEvent::PeerGone { peer });
        self.relay(RelayEvent::PeerGone { peer });
        if self.online.remove(&peer) {
            self.set_offline(peer);
        }
        if self.trust.is_friend(&peer) {
            self.leave_lines(peer);
        }
    }

    /// Records that a peer is no longer connected.
    pub(super) fn set_offline(&self, peer: PeerId) {
        let friends = self.friends.clone();
        self.spawn_work(async move {
            if let Err(error) = friends.offline(peer, Departure::Lost, now()).await {
                tracing::warn!(%error, "a departure could not be stored");
            }
            None
        });
    }

    /// Sends a request of the router's own.
    pub(super) fn request(&mut self, peer: PeerId, purpose: Purpose, request: &Request) {
        self.next_request = self.next_request.wrapping_add(1) & OWN_REQUESTS;
        let id = self.next_request;
        self.requests.insert(id, (peer, purpose));
        if let Err(error) = self.net.request(peer, id, request) {
            tracing::debug!(%peer, %error, "a request was not sent");
            self.request_failed(id);
        }
    }

    pub(super) fn disconnect(&self, peer: PeerId, no_redial_for: Duration) {
        if let Err(error) = self.net.disconnect(peer, no_redial_for) {
            tracing::debug!(%peer, %error, "a peer could not be disconnected");
        }
    }

    pub(super) fn respond(&self, reply: ReplyId, response: &Response) {
        log_unsent(self.net.respond(reply, response));
    }

    fn on_response(&mut self, peer: PeerId, id: u64, result: Result<Response, RequestError>) {
        if sync::owns_request(id) {
            return self.sync(SyncEvent::Response { id, result: sync_result(result) });
        }
        if relay::owns_request(id) {
            return self.relay(RelayEvent::Response { id, result: sync_result(result) });
        }
        if result.is_err() {
            return self.request_failed(id);
        }
        let Some((_, purpose)) = self.requests.remove(&id) else { return };
        match (purpose, result) {
            (Purpose::Hello, Ok(Response::Hello(HelloResponse::Status(status)))) => {
                self.on_status(peer, status);
            }
            (Purpose::Hello, Ok(Response::Hello(HelloResponse::WrongNetwork(network)))) => {
                self.wrong_network(peer, network);
            }
            (Purpose::Hello, _) => self.sync(SyncEvent::StatusFailed { peer }),
            (Purpose::Explore, Ok(Response::Friends(FriendsResponse::Profiles(profiles)))) => {
                self.on_profiles(peer, profiles);
            }
            (Purpose::Line { id }, Ok(Response::Chat(response))) => {
                self.on_line_response(peer, id, &response);
            }
            (Purpose::Carry(errand), Ok(Response::Chat(response))) => {
                self.on_errand_response(peer, errand, &response);
            }
            (Purpose::LineIds { place }, Ok(Response::Chat(ChatResponse::LineIds(page)))) => {
                self.on_line_ids(peer, place, page);
            }
            (Purpose::Lines { asked }, Ok(Response::Chat(ChatResponse::Lines(lines)))) => {
                self.on_lines(peer, asked, lines);
            }
            (Purpose::LineIds { .. } | Purpose::Lines { .. }, _) => self.end_asking(peer, false),
            (Purpose::Introduce, Ok(Response::Friends(FriendsResponse::Refused(refusal)))) => {
                tracing::debug!(%peer, ?refusal, "our profile was refused");
            }
            (purpose, _) => tracing::debug!(%peer, ?purpose, "no useful response"),
        }
    }

    /// Handles the failure of a request of the router's own.
    fn request_failed(&mut self, id: u64) {
        match self.requests.remove(&id) {
            Some((peer, Purpose::Hello)) => self.sync(SyncEvent::StatusFailed { peer }),
            // The line stays in the outbox, which sends it again when its receiver is back.
            Some((peer, Purpose::Line { id })) => {
                self.on_line_response(peer, id, &ChatResponse::Busy);
            }
            Some((peer, Purpose::Carry(errand))) => {
                self.on_errand_response(peer, errand, &ChatResponse::Busy);
            }
            Some((peer, Purpose::LineIds { .. } | Purpose::Lines { .. })) => {
                self.end_asking(peer, false);
            }
            _ => {}
        }
    }
}

/// Logs a command that the network did not accept. Peers repeat their requests, and
/// [`Router::keep_house`] repeats bans.
pub(super) fn log_unsent(result: Result<(), CommandError>) {
    if let Err(error) = result {
        tracing::debug!(%error, "the network did not take a command");
    }
}

/// Converts the network's result of a request of sync or relay.
fn sync_result(result: Result<Response, RequestError>) -> Result<SyncResponse, RequestFailure> {
    match result {
        Ok(Response::Sync(response)) => Ok(response),
        Ok(_) => Err(RequestFailure::Malformed("an answer of another protocol".to_owned())),
        Err(error @ RequestError::Malformed { .. }) => {
            Err(RequestFailure::Malformed(error.to_string()))
        }
        Err(RequestError::Unsupported(_)) => Err(RequestFailure::Unsupported),
        Err(RequestError::TimedOut { .. }) => Err(RequestFailure::TimedOut),
        Err(_) => Err(RequestFailure::Disconnected),
    }
}
