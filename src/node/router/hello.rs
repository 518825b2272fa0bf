//! Peers come, say who they are, and go: hello, profiles, requests of theirs.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Connected, Done, Purpose, Router, serve};
use crate::{
    friends::{AddressSource, Departure, ProfileError, ProfileReceipt},
    net::{NetEvent, NetOffence, ReplyId, RequestError, Verdict},
    node::{clock::now, keyring::blocking},
    peers::Offence,
    primitives::{NetworkId, PeerId, Transaction},
    relay::{self, RelayEvent},
    sync::{self, SyncEvent},
    telemetry::events,
    wire::{
        ChatResponse, FriendsRequest, FriendsResponse, Gossip, HelloRequest, HelloResponse, ItemId,
        PROTOCOL_VERSION, Refusal, Request, RequestFailure, Response, SignedProfile, Status,
        SyncRequest, SyncResponse,
    },
};

/// Hellos that a peer may say in a minute: news once a second and questions every two seconds are a
/// third of it.
const MAX_HELLOS: u32 = 240;

/// Requests on `friends` that a peer may make in a minute: a hello's two, and a new profile now and
/// then.
const MAX_FRIENDS_REQUESTS: u32 = 30;

/// A peer of another network is not dialed again for this long.
const WRONG_NETWORK_PAUSE: Duration = Duration::from_mins(10);

impl Router {
    pub(super) fn on_net(&mut self, event: NetEvent) {
        match event {
            NetEvent::Listening { address } => self.on_address(address),
            NetEvent::PeerConnected { peer, address, inbound } => {
                self.peer_connected(peer, address, inbound)
            }
            NetEvent::PeerDisconnected { peer, reason } => self.peer_disconnected(peer, reason),
            NetEvent::RequestReceived { peer, reply, request } => {
                self.on_request(peer, reply, request)
            }
            NetEvent::ResponseReceived { peer, id, result } => self.on_response(peer, id, result),
            NetEvent::GossipReceived {
                message,
                gossip: Gossip::Trade(_) | Gossip::Block(_),
                ..
            } if self.ledger.chain.busy() => {
                log_unsent(self.net.verdict(message, Verdict::Ignore));
            }
            NetEvent::GossipReceived { peer, message, gossip } => match gossip {
                Gossip::Chat(gossip) => self.chat_gossip(peer, message, gossip),
                Gossip::Trade(gossip) => {
                    self.relay(RelayEvent::TradeGossip { peer, message, gossip })
                }
                Gossip::Block(gossip) => {
                    self.relay(RelayEvent::BlockGossip { peer, message, gossip })
                }
            },
            NetEvent::Subscribed { peer, topic } => {
                tracing::debug!(%peer, ?topic, "a peer listens")
            }
            NetEvent::Discovered { peer, address } => {
                tracing::debug!(%peer, address, "a peer was found")
            }
            NetEvent::Misbehaved { peer, offence, reason } => {
                let offence = match offence {
                    NetOffence::MalformedRequest
                    | NetOffence::MalformedResponse
                    | NetOffence::MalformedGossip => Offence::Malformed,
                    NetOffence::Oversized => Offence::Oversized,
                };
                self.penalise(peer, offence, &reason);
            }
            NetEvent::DialFailed { address, reason } => {
                tracing::info!(address, reason, "nobody answers there yet; it is tried again");
            }
        }
    }

    fn peer_connected(&mut self, peer: PeerId, address: String, inbound: bool) {
        events::PeerConnected { peer, address: address.clone(), inbound }.emit();
        if !inbound {
            let (friends, address) = (self.friends.clone(), address.clone());
            self.spawn_work(async move {
                if let Err(error) = friends.touch_address(peer, address, now()).await {
                    tracing::warn!(%error, "an address could not be kept");
                }
                None
            });
        }
        let state = Connected {
            address,
            inbound,
            since: now(),
            status: None,
            clock_offset_ms: None,
            minute: Instant::now(),
            hellos: 0,
            friends_requests: 0,
            foreign: false,
        };
        self.connected.insert(peer, state);
        self.say_hello(peer);
    }

    fn peer_disconnected(&mut self, peer: PeerId, reason: String) {
        events::PeerDisconnected { peer, reason }.emit();
        self.connected.remove(&peer);
        self.sync(SyncEvent::PeerGone { peer });
        self.relay(RelayEvent::PeerGone { peer });
        self.gone(peer);
    }

    /// A friend that is not connected is not here.
    fn gone(&self, peer: PeerId) {
        let friends = self.friends.clone();
        self.spawn_work(async move {
            if let Err(error) = friends.offline(peer, Departure::Lost, now()).await {
                tracing::warn!(%error, "a departure could not be kept");
            }
            None
        });
    }

    /// Asks a peer something of our own making.
    pub(super) fn ask(&mut self, peer: PeerId, purpose: Purpose, request: &Request) {
        self.next_request = self.next_request.wrapping_add(1) & OWN_REQUESTS;
        let id = self.next_request;
        self.requests.insert(id, (peer, purpose));
        if let Err(error) = self.net.request(peer, id, request) {
            tracing::debug!(%peer, %error, "a request was not sent");
            self.request_failed(id);
        }
    }

    fn our_status(&self) -> Status {
        let summary = self.ledger.chain.summary();
        Status {
            version: PROTOCOL_VERSION,
            features: 0,
            network: self.network.id,
            tip: summary.tip.hash,
            height: summary.tip.height,
            work: summary.tip.work.to_be_bytes().to_vec().into(),
            time: now(),
            mempool: u32::try_from(summary.mempool).unwrap_or(u32::MAX),
        }
    }

    pub(super) fn say_hello(&mut self, peer: PeerId) {
        let request = Request::Hello(HelloRequest::Status(self.our_status()));
        self.ask(peer, Purpose::Hello, &request);
    }

    /// A peer's Status, asked for or not; false when it is of another network, and leaves.
    fn on_status(&mut self, peer: PeerId, status: Status) -> bool {
        if status.network != self.network.id {
            self.wrong_network(peer, status.network);
            return false;
        }
        let offset = i128::from(status.time).saturating_sub(i128::from(now()));
        let clock_offset_ms = i64::try_from(offset).unwrap_or(i64::MAX);
        let Some(state) = self.connected.get_mut(&peer) else { return true };
        let first = state.status.is_none();
        let news = state.status.as_ref().is_none_or(|before| before.tip != status.tip);
        state.clock_offset_ms = Some(clock_offset_ms);
        state.status = Some(status.clone());
        if news {
            events::StatusExchanged {
                peer,
                message: "version",
                height: status.height,
                tip: status.tip,
                clock_offset_ms,
            }
            .emit();
        }
        if first {
            self.introduce(peer);
        }
        self.sync(SyncEvent::PeerStatus { peer, status: Box::new(status) });
        true
    }

    fn wrong_network(&mut self, peer: PeerId, network: NetworkId) {
        // Once is enough, whatever else it sends until it is gone.
        let Some(state) = self.connected.get_mut(&peer).filter(|state| !state.foreign) else {
            return;
        };
        state.foreign = true;
        events::WrongNetwork { peer, network }.emit();
        self.leave(peer, WRONG_NETWORK_PAUSE);
    }

    pub(super) fn leave(&self, peer: PeerId, no_redial_for: Duration) {
        if let Err(error) = self.net.disconnect(peer, no_redial_for) {
            tracing::debug!(%peer, %error, "a peer could not be left");
        }
    }

    /// After the first hello: who we are, and whom the other knows.
    fn introduce(&mut self, peer: PeerId) {
        if let Some(profile) = self.profile.clone() {
            self.ask(
                peer,
                Purpose::Introduce,
                &Request::Friends(FriendsRequest::Introduce(profile)),
            );
        }
        self.ask(peer, Purpose::Explore, &Request::Friends(FriendsRequest::Explore));
        self.send_outbox(peer);
    }

    /// Our profile is signed anew: everybody who is here gets it.
    pub(super) fn own_profile_signed(&mut self, profile: &SignedProfile) {
        self.profile = Some(profile.clone());
        let met = self.connected.iter().filter(|(_, state)| state.status.is_some());
        let peers: Vec<PeerId> = met.map(|(peer, _)| *peer).collect();
        for peer in peers {
            self.ask(
                peer,
                Purpose::Introduce,
                &Request::Friends(FriendsRequest::Introduce(profile.clone())),
            );
        }
    }

    fn on_request(&mut self, peer: PeerId, reply: ReplyId, request: Request) {
        if self.asks_too_often(&peer, &request) {
            self.respond(
                reply,
                &match request {
                    Request::Friends(_) => {
                        Response::Friends(FriendsResponse::Refused(Refusal::RateLimited))
                    }
                    _ => Response::Hello(HelloResponse::Busy),
                },
            );
            return self.penalise(
                peer,
                Offence::Flooding,
                "it says hello, introduces itself or explores too often",
            );
        }
        match request {
            Request::Hello(HelloRequest::Status(status)) => {
                let ours = if status.network == self.network.id {
                    HelloResponse::Status(self.our_status())
                } else {
                    HelloResponse::WrongNetwork(self.network.id)
                };
                self.respond(reply, &Response::Hello(ours));
                self.on_status(peer, status);
            }
            Request::Friends(FriendsRequest::Explore) => self.explore(reply),
            Request::Friends(FriendsRequest::Introduce(profile)) => {
                self.introduced(peer, reply, profile)
            }
            Request::Chat(request) => self.chat_request(peer, reply, request),
            Request::Sync(request) => self.serve(peer, reply, request),
        }
    }

    /// Whether a peer has used up its requests of this minute: each costs a turn, and may cost a
    /// write to the disk.
    fn asks_too_often(&mut self, peer: &PeerId, request: &Request) -> bool {
        let Some(state) = self.connected.get_mut(peer) else { return true };
        if state.minute.elapsed() >= Duration::from_mins(1) {
            (state.minute, state.hellos, state.friends_requests) = (Instant::now(), 0, 0);
        }
        let (count, most) = match request {
            Request::Hello(_) => (&mut state.hellos, MAX_HELLOS),
            Request::Friends(_) => (&mut state.friends_requests, MAX_FRIENDS_REQUESTS),
            Request::Chat(_) | Request::Sync(_) => return false,
        };
        *count = count.saturating_add(1);
        *count > most
    }

    pub(super) fn respond(&self, reply: ReplyId, response: &Response) {
        if let Err(error) = self.net.respond(reply, response) {
            tracing::debug!(%error, "an answer was not sent");
        }
    }

    fn explore(&self, reply: ReplyId) {
        if self.friends.is_busy() {
            return self.respond(reply, &Response::Friends(FriendsResponse::Busy));
        }
        let (friends, net) = (self.friends.clone(), self.net.clone());
        self.spawn_work(async move {
            let response = friends
                .explore_answer()
                .await
                .map_or(FriendsResponse::Busy, FriendsResponse::Profiles);
            log_unsent(net.respond(reply, &Response::Friends(response)));
            None
        });
    }

    /// A peer introduces somebody: only itself may it be.
    fn introduced(&mut self, peer: PeerId, reply: ReplyId, profile: SignedProfile) {
        if profile.peer != peer {
            self.respond(reply, &Response::Friends(FriendsResponse::Refused(Refusal::NotYours)));
            return self.penalise(
                peer,
                Offence::NotTheAuthor,
                "it introduced somebody else as itself",
            );
        }
        if self.friends.is_busy() {
            return self.respond(reply, &Response::Friends(FriendsResponse::Busy));
        }
        let (friends, net) = (self.friends.clone(), self.net.clone());
        self.spawn_work(async move {
            let (response, done) = match friends.keep_profile(profile.clone(), now()).await {
                Ok(_) => {
                    if let Err(error) = friends.online(peer, now()).await {
                        tracing::warn!(%error, "an arrival could not be kept");
                    }
                    (FriendsResponse::Welcome, Some(Done::Profile(Box::new(profile))))
                }
                Err(error) => {
                    let done = profile_offence(peer, &error);
                    (error.refusal().map_or(FriendsResponse::Busy, FriendsResponse::Refused), done)
                }
            };
            log_unsent(net.respond(reply, &Response::Friends(response)));
            done
        });
    }

    /// Profiles that a peer knows: each is kept if its owner signed it.
    fn explored(&mut self, peer: PeerId, profiles: Vec<SignedProfile>) {
        let (friends, me) = (self.friends.clone(), self.identity.peer_id());
        let done = self.done.clone();
        self.spawn_work(async move {
            for profile in profiles.into_iter().filter(|profile| profile.peer != me) {
                let introduces_itself = profile.peer == peer;
                let brought = match friends.keep_profile(profile.clone(), now()).await {
                    Ok(kept) => {
                        if introduces_itself && let Err(error) = friends.online(peer, now()).await {
                            tracing::warn!(%error, "an arrival could not be kept");
                        }
                        let news = introduces_itself
                            || matches!(kept, ProfileReceipt::New | ProfileReceipt::Updated);
                        news.then(|| Done::Profile(Box::new(profile)))
                    }
                    Err(error) => profile_offence(peer, &error),
                };
                let stop = matches!(brought, Some(Done::Offence { .. }));
                if let Some(brought) = brought {
                    // The router has ended, and nobody needs it.
                    let _ = done.send(brought).await;
                }
                if stop {
                    break;
                }
            }
            None
        });
    }

    /// A friend's profile is held: it can be dialed.
    pub(super) fn profile_kept(&mut self, profile: &SignedProfile) {
        let peer = profile.peer;
        if !self.connected.contains_key(&peer) {
            // It may have left between its introduction and the disk.
            self.gone(peer);
        }
        if let Err(error) = self.net.add_known(peer, &profile.addresses) {
            tracing::debug!(%peer, %error, "addresses were not taken");
        }
        let (friends, addresses) = (self.friends.clone(), profile.addresses.clone());
        self.spawn_work(async move {
            if let Err(error) =
                friends.add_addresses(peer, addresses, AddressSource::Profile, now()).await
            {
                tracing::warn!(%error, "addresses could not be kept");
            }
            None
        });
    }

    fn serve(&self, peer: PeerId, reply: ReplyId, request: SyncRequest) {
        let chain = self.ledger.chain.clone();
        let net = self.net.clone();
        let admitted = Arc::clone(&self.admitted).try_acquire_owned();
        let (false, Ok(admitted)) = (chain.busy(), admitted) else {
            return self.respond(reply, &Response::Sync(SyncResponse::Busy));
        };
        let (reader, serving) = (self.ledger.reader.clone(), self.serving.clone());
        self.spawn_work(async move {
            let _admitted = admitted;
            let busy = SyncResponse::Busy;
            // Held over the disk alone: what waits for the chain keeps nobody from it.
            let disk = async || serving.acquire().await.ok();
            let response = match request {
                SyncRequest::GetBlocks(request) => {
                    let _permit = disk().await?;
                    let (response, count) =
                        blocking(move || serve::inv(&reader, &request)).await.unwrap_or((busy, 0));
                    if count > 0 {
                        events::HeadersServed { peer, message: "getblocks", count }.emit();
                    }
                    response
                }
                SyncRequest::GetMempool => match chain.mempool().await {
                    Ok(entries) => serve::mempool_ids(&entries),
                    Err(_) => busy,
                },
                SyncRequest::GetData(items) => {
                    let trades = waiting_trades(&chain, &items).await;
                    let _permit = disk().await?;
                    let read = blocking(move || serve::data(&reader, &items, &trades)).await;
                    let (response, count) = read.unwrap_or((busy, 0));
                    if count > 0 {
                        events::BlocksServed { peer, message: "getdata", count }.emit();
                    }
                    response
                }
                SyncRequest::GetBlockTrades(request) => {
                    let _permit = disk().await?;
                    blocking(move || serve::block_trades(&reader, &request)).await.unwrap_or(busy)
                }
            };
            log_unsent(net.respond(reply, &Response::Sync(response)));
            None
        });
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
                self.explored(peer, profiles);
            }
            (Purpose::Line { id, waiter }, Ok(Response::Chat(response))) => {
                self.line_answered(peer, id, response, waiter);
            }
            (Purpose::Introduce, Ok(Response::Friends(FriendsResponse::Refused(refusal)))) => {
                tracing::debug!(%peer, ?refusal, "our profile was refused");
            }
            (purpose, _) => tracing::debug!(%peer, ?purpose, "no useful answer"),
        }
    }

    /// A request of our own ended without an answer.
    fn request_failed(&mut self, id: u64) {
        match self.requests.remove(&id) {
            Some((peer, Purpose::Hello)) => self.sync(SyncEvent::StatusFailed { peer }),
            // The line stays in the outbox, and goes out again when its receiver is back.
            Some((peer, Purpose::Line { id, waiter })) => {
                self.line_answered(peer, id, ChatResponse::Busy, waiter);
            }
            _ => {}
        }
    }
}

/// What a profile that was not taken costs whoever sent it.
fn profile_offence(peer: PeerId, error: &ProfileError) -> Option<Done> {
    error.offence().map(|offence| Done::Offence { peer, offence, reason: error.to_string() })
}

/// Our own request ids: below the ranges of sync and relay.
const OWN_REQUESTS: u64 = (1 << 56) - 1;

pub(super) fn log_unsent(result: Result<(), crate::net::CommandError>) {
    if let Err(error) = result {
        tracing::debug!(%error, "an answer was not sent");
    }
}

/// The trades among `items` that wait in the mempool, in their order.
async fn waiting_trades(
    chain: &crate::chain::ChainHandle,
    items: &[ItemId],
) -> Vec<Option<Arc<Transaction>>> {
    let id_of = |item: &ItemId| match item {
        ItemId::Trade(txid) => Some(*txid),
        ItemId::Block(_) => None,
    };
    let ids: Vec<_> = items.iter().filter_map(id_of).collect();
    if ids.is_empty() { Vec::new() } else { chain.waiting_trades(ids).await.unwrap_or_default() }
}

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
