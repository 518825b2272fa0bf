//! Ports that the router maps to this node.
//!
//! The node asks in rounds. A round first asks the default gateway, by PCP and then by NAT-PMP
//! (`gateway.rs`). If the gateway answers neither, or refuses, libp2p's `UPnP` searches for a
//! router. Only one protocol maps ports at a time, so no address is offered twice.
//!
//! | outcome of a round | next |
//! |---|---|
//! | mapped by PCP or NAT-PMP | a round renews before the mapping ends |
//! | mapped by `UPnP` | libp2p renews; a round begins when it fails to |
//! | the gateway is silent at a renewal | a round after `MAPPING_PAUSE`, until the mapping ends |
//! | nothing mapped | a round after a pause, which doubles up to `LONGEST_MAPPING_PAUSE` |
//!
//! A change of the machine's addresses, or a wake, begins a round at once. The addresses of another
//! gateway are dropped first.
//!
//! # Security
//! A gateway can name any address as its own, and peers then dial that address. The address must at
//! least be public. `UPnP` takes the first router that answers on the local network; its protocol
//! has no better. PCP and NAT-PMP ask only the default gateway, and only at a private address.

mod gateway;
#[cfg(test)]
mod router;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
    future::Future,
    mem,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures::future::{BoxFuture, join_all};
use gateway::{Lease, Place, Port, Refusal, ask};
use libp2p::{
    Multiaddr,
    core::transport::ListenerId,
    identity::Keypair,
    swarm::{
        ExpiredListenAddr, FromSwarm, NetworkBehaviour, NewListenAddr, THandlerInEvent, ToSwarm,
        behaviour::toggle::Toggle, dummy,
    },
    upnp,
};
use tokio::time::{Sleep, sleep, timeout};

use super::{
    address::{Scope, is_relayed, scope, socket},
    event::{MappedBy, RouterState},
    limits::{LINGER, LONGEST_MAPPING_PAUSE, MAPPING_PAUSE, MAX_MAPPED_PORTS},
    pass_on::no_handlers,
};
use crate::primitives::doubled;

/// Wait after a new address of the machine. Several come at once, and the route to the gateway
/// comes last.
const SETTLING: Duration = Duration::from_millis(500);
/// Time in which `UPnP` has to map a port. The search takes 10 s, and a second try comes after
/// 30 s.
const UPNP_PATIENCE: Duration = Duration::from_mins(1);

/// The ports that the router maps now, after each change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) router: RouterState,
    /// The addresses at which the router accepts connections for this node.
    pub(super) addresses: BTreeSet<Multiaddr>,
}

/// libp2p's `UPnP`, which searches from its creation on.
type Upnp = Toggle<upnp::tokio::Behaviour>;

/// The step of a round.
enum Stage {
    /// Waits for the next round. True if it only renews.
    Waiting(Pin<Box<Sleep>>, bool),
    /// Asks the gateway. True for a renewal.
    Asking(BoxFuture<'static, Result<Vec<Lease>, Refusal>>, bool),
    /// Runs `UPnP`. The timer ends a round without any outcome.
    Upnp(Box<Upnp>, Option<Pin<Box<Sleep>>>),
    /// Maps nothing more.
    Ended,
}

/// Keeps ports mapped.
pub(super) struct Mapping {
    find: fn() -> Option<Place>,
    /// Starts `UPnP`; tests do not.
    search: fn() -> Upnp,
    /// The owner's mark on its mappings for PCP. A gateway refuses to change those of another mark.
    nonce: [u32; 3],
    /// The gateway of the last round.
    place: Option<Place>,
    listening: BTreeMap<Multiaddr, ListenerId>,
    stage: Stage,
    /// Rounds in a row without a mapped port.
    failures: u32,
    /// The gateway's answer in this round.
    refusal: Refusal,
    leases: Vec<Lease>,
    /// The addresses that `UPnP` has mapped, by the address that this node listens on.
    by_upnp: BTreeMap<Multiaddr, Multiaddr>,
    router: RouterState,
    told: Event,
    waiting: VecDeque<ToSwarm<Event, Infallible>>,
}

impl Mapping {
    /// Starts without any listener. The nonce is always the same for one identity: after a crash,
    /// the gateway otherwise refuses the port until the old mapping ends.
    pub(super) fn new(keypair: &Keypair) -> Self {
        let secret = keypair.derive_secret(b"friendchain port mapping").unwrap_or_default();
        let mut parts = secret.chunks_exact(4).map(|part| part.try_into().unwrap_or_default());
        let nonce = std::array::from_fn(|_| parts.next().map_or(0, u32::from_be_bytes));
        Self::with(Place::find, || Toggle::from(Some(upnp::tokio::Behaviour::default())), nonce)
    }

    fn with(find: fn() -> Option<Place>, search: fn() -> Upnp, nonce: [u32; 3]) -> Self {
        let router = RouterState::Asking;
        Self {
            find,
            search,
            nonce,
            place: None,
            listening: BTreeMap::new(),
            stage: Stage::Waiting(Box::pin(sleep(SETTLING)), false),
            failures: 0,
            refusal: Refusal::Silent,
            leases: Vec::new(),
            by_upnp: BTreeMap::new(),
            router,
            told: Event { router, addresses: BTreeSet::new() },
            waiting: VecDeque::new(),
        }
    }

    /// Begins a round at once, since the machine may be in another network, or slept so long that
    /// mappings have ended.
    pub(super) fn look_again(&mut self) {
        if !matches!(self.stage, Stage::Ended) {
            self.failures = 0;
            self.begin(false);
        }
    }

    /// Ends all mappings. The future lasts at most [`LINGER`]; the swarm must be polled meanwhile.
    pub(super) fn release(&mut self) -> impl Future<Output = ()> + use<> {
        let leases = mem::take(&mut self.leases);
        // UPnP does not show when it is done.
        let rest = if self.by_upnp.is_empty() { Duration::ZERO } else { LINGER };
        if let Stage::Upnp(inner, _) = &mut self.stage {
            for (addr, listener) in &self.listening {
                let event = ExpiredListenAddr { listener_id: *listener, addr };
                inner.on_swarm_event(FromSwarm::ExpiredListenAddr(event));
            }
            self.listening.clear();
        } else {
            self.stage = Stage::Ended;
        }
        async move {
            let _ = timeout(LINGER, join_all(leases.into_iter().map(Lease::delete))).await;
            sleep(rest).await;
        }
    }

    fn begin(&mut self, renews: bool) {
        let place = (self.find)();
        if place != self.place {
            self.place = place;
            self.leases.clear();
            self.by_upnp.clear();
            self.router = RouterState::Asking;
            self.report();
        }
        self.refusal = Refusal::Silent;
        let Some(place) = place else { return self.ask_upnp() };
        self.stage = Stage::Asking(Box::pin(ask(place, self.nonce, self.ports(place))), renews);
    }

    /// Returns the ports to map: those of listeners at the address that the gateway knows.
    fn ports(&self, place: Place) -> Vec<Port> {
        let port = |local: &Multiaddr| {
            let held = self.leases.iter().find(|lease| lease.local() == local);
            Port::new(local, held.map(Lease::external_port))
        };
        let there = self.listening.keys().filter(|local| is_at(local, place));
        there.filter_map(port).take(MAX_MAPPED_PORTS).collect()
    }

    /// Handles the end of a round with the gateway.
    fn answered(&mut self, answer: Result<Vec<Lease>, Refusal>, renews: bool, now: Instant) {
        match answer {
            Ok(leases) => {
                let wait = leases.iter().map(Lease::renewal).min().unwrap_or(MAPPING_PAUSE);
                if let Some(lease) = leases.first() {
                    self.router = RouterState::Mapped(lease.by());
                }
                self.failures = 0;
                self.leases = leases;
                self.by_upnp.clear();
                self.wait(wait, true);
            }
            Err(Refusal::NotPublic) => self.fail(Refusal::NotPublic),
            Err(refusal) => {
                self.leases.retain(|it| renews && refusal == Refusal::Silent && it.is_valid(now));
                self.refusal = refusal;
                if self.leases.is_empty() {
                    self.ask_upnp();
                } else {
                    self.wait(MAPPING_PAUSE, true);
                }
            }
        }
        self.report();
    }

    fn ask_upnp(&mut self) {
        let mut inner = Box::new((self.search)());
        for (addr, listener) in &self.listening {
            if self.may_upnp(addr) {
                let event = NewListenAddr { listener_id: *listener, addr };
                inner.on_swarm_event(FromSwarm::NewListenAddr(event));
            }
        }
        self.stage = Stage::Upnp(inner, Some(Box::pin(sleep(UPNP_PATIENCE))));
    }

    /// True if `UPnP` may map the port of the address. A router has one mapping for a port, so only
    /// the address that the gateway knows may have it.
    fn may_upnp(&self, local: &Multiaddr) -> bool {
        self.place.is_none_or(|place| is_at(local, place))
    }

    fn on_upnp(&mut self, event: upnp::Event) {
        match event {
            upnp::Event::NewExternalAddr { local_addr, external_addr } => {
                if scope(&external_addr) != Scope::Public {
                    return;
                }
                if let Stage::Upnp(_, patience) = &mut self.stage
                    && patience.take().is_some()
                {
                    // Those of the last search.
                    self.by_upnp.clear();
                }
                self.by_upnp.insert(local_addr, external_addr);
                self.failures = 0;
                self.router = RouterState::Mapped(MappedBy::Upnp);
            }
            upnp::Event::ExpiredExternalAddr { local_addr, .. } => {
                self.by_upnp.remove(&local_addr);
                if self.by_upnp.is_empty() {
                    self.router = RouterState::Asking;
                    self.begin(false);
                }
            }
            upnp::Event::GatewayNotFound => self.fail(self.refusal),
            upnp::Event::NonRoutableGateway => self.fail(Refusal::NotPublic),
        }
        self.report();
    }

    /// Ends a round without a mapped port.
    fn fail(&mut self, refusal: Refusal) {
        self.leases.clear();
        self.by_upnp.clear();
        self.router = match refusal {
            Refusal::Silent => RouterState::Silent,
            Refusal::Refused => RouterState::Refused,
            Refusal::NotPublic => RouterState::NotPublic,
        };
        self.wait(doubled(MAPPING_PAUSE, self.failures, LONGEST_MAPPING_PAUSE), false);
        self.failures = self.failures.saturating_add(1);
    }

    fn wait(&mut self, time: Duration, renews: bool) {
        self.stage = Stage::Waiting(Box::pin(sleep(time)), renews);
    }

    /// Reports changes to the swarm. The event comes first: it says why an address is confirmed.
    fn report(&mut self) {
        let by_gateway = self.leases.iter().map(Lease::external);
        let addresses = by_gateway.chain(self.by_upnp.values()).cloned().collect();
        let event = Event { router: self.router, addresses };
        if event == self.told {
            return;
        }
        let before = mem::replace(&mut self.told, event.clone());
        let new = event.addresses.difference(&before.addresses).cloned().collect::<Vec<_>>();
        let gone = before.addresses.difference(&event.addresses).cloned().collect::<Vec<_>>();
        self.waiting.push_back(ToSwarm::GenerateEvent(event));
        self.waiting.extend(gone.into_iter().map(ToSwarm::ExternalAddrExpired));
        self.waiting.extend(new.into_iter().map(ToSwarm::ExternalAddrConfirmed));
    }

    fn listens(&mut self, listener: ListenerId, addr: &Multiaddr) {
        let is_v4 = socket(addr).is_some_and(|(socket, _)| socket.is_ipv4());
        if !is_v4 || is_relayed(addr) {
            return;
        }
        self.listening.insert(addr.clone(), listener);
        let may_upnp = self.may_upnp(addr);
        match &mut self.stage {
            Stage::Waiting(..) | Stage::Asking(..) => self.wait(SETTLING, false),
            Stage::Upnp(inner, _) if may_upnp => {
                let event = NewListenAddr { listener_id: listener, addr };
                inner.on_swarm_event(FromSwarm::NewListenAddr(event));
            }
            Stage::Upnp(..) | Stage::Ended => {}
        }
    }

    fn listens_no_more(&mut self, listener_id: ListenerId, addr: &Multiaddr) {
        if self.listening.remove(addr).is_none() {
            return;
        }
        self.leases.retain(|lease| lease.local() != addr);
        self.by_upnp.remove(addr);
        if let Stage::Upnp(inner, _) = &mut self.stage {
            let event = ExpiredListenAddr { listener_id, addr };
            inner.on_swarm_event(FromSwarm::ExpiredListenAddr(event));
        }
        self.report();
    }

    /// Makes one step. Returns `Pending` if there is none to make.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.stage {
            Stage::Waiting(timer, renews) => {
                ready!(timer.as_mut().poll(cx));
                let renews = *renews;
                self.begin(renews);
            }
            Stage::Asking(answer, renews) => {
                let answer = ready!(answer.as_mut().poll(cx));
                let renews = *renews;
                self.answered(answer, renews, Instant::now());
            }
            Stage::Upnp(inner, patience) => match inner.poll(cx) {
                Poll::Ready(ToSwarm::GenerateEvent(event)) => self.on_upnp(event),
                // The event says the same.
                Poll::Ready(_) => {}
                Poll::Pending => {
                    let Some(patience) = patience else { return Poll::Pending };
                    ready!(patience.as_mut().poll(cx));
                    self.fail(Refusal::Refused);
                    self.report();
                }
            },
            Stage::Ended => return Poll::Pending,
        }
        Poll::Ready(())
    }
}

fn is_at(local: &Multiaddr, place: Place) -> bool {
    socket(local).is_some_and(|(socket, _)| socket.ip() == IpAddr::V4(place.client))
}

impl NetworkBehaviour for Mapping {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Event;

    no_handlers!();

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::NewListenAddr(it) => self.listens(it.listener_id, it.addr),
            FromSwarm::ExpiredListenAddr(it) => self.listens_no_more(it.listener_id, it.addr),
            _ => {}
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Poll::Ready(event);
            }
            ready!(self.step(cx));
        }
    }
}
