//! Tests of a relay's bounds, with plain clients of libp2p.

use std::time::Duration;

use futures::StreamExt;
use libp2p::{
    Multiaddr, Swarm, SwarmBuilder,
    multiaddr::Protocol,
    noise, ping, relay,
    swarm::{
        NetworkBehaviour, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
    tcp, yamux,
};
use tokio::{sync::mpsc, task::JoinSet};

use super::DEADLINE;
use crate::{
    net::{
        Identity,
        behaviour::relay_settings,
        limits::{MAX_CIRCUITS_PER_PEER, MAX_RESERVATIONS_PER_PEER},
        relaying::Relaying,
    },
    peers::Trust,
};

#[derive(NetworkBehaviour)]
struct Client {
    circuits: relay::client::Behaviour,
    /// Sends bytes through the circuits without end.
    ping: ping::Behaviour,
}

/// A relay with its clients; stopped when dropped.
struct Bench {
    trust: Trust,
    /// The relay's address, with its id.
    address: Multiaddr,
    events: mpsc::UnboundedReceiver<relay::Event>,
    tasks: JoinSet<()>,
}

/// Drives a swarm for ever.
async fn live<B: NetworkBehaviour>(mut swarm: Swarm<B>) {
    loop {
        swarm.select_next_some().await;
    }
}

impl Bench {
    /// Starts a relay with the node's settings, and some of them changed.
    async fn start(change: impl FnOnce(relay::Config) -> relay::Config) -> Self {
        let trust = Trust::default();
        let settings = change(relay_settings(&trust));
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|keypair| Relaying::new(keypair.public().to_peer_id(), settings))
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(DEADLINE))
            .build();
        swarm.behaviour_mut().turn(true);
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let at = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        swarm.add_external_address(at.clone());
        let address = at.with(Protocol::P2p(*swarm.local_peer_id()));
        let (out, events) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                if let SwarmEvent::Behaviour(event) = swarm.select_next_some().await {
                    let _ = out.send(event);
                }
            }
        });
        Self { trust, address, events, tasks }
    }

    /// Connects a friend to the relay.
    async fn friend(&self, identity: &Identity) -> Swarm<Client> {
        self.trust.accept(identity.peer_id());
        let often = ping::Config::new().with_interval(Duration::from_millis(1));
        let mut swarm = SwarmBuilder::with_existing_identity(identity.keypair())
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_relay_client(noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_, circuits| Client { circuits, ping: ping::Behaviour::new(often) })
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(DEADLINE))
            .build();
        swarm.dial(self.address.clone()).unwrap();
        let connected = async {
            while !matches!(
                swarm.select_next_some().await,
                SwarmEvent::ConnectionEstablished { .. }
            ) {}
        };
        tokio::time::timeout(DEADLINE, connected).await.expect("it connects");
        swarm
    }

    /// Waits for an event of the relay.
    async fn until<T>(&mut self, wanted: impl Fn(&relay::Event) -> Option<T>) -> T {
        let search = async {
            loop {
                if let Some(found) = wanted(&self.events.recv().await.expect("the relay runs")) {
                    return found;
                }
            }
        };
        tokio::time::timeout(DEADLINE, search).await.expect("the event comes before the deadline")
    }

    fn relayed(&self) -> Multiaddr {
        self.address.clone().with(Protocol::P2pCircuit)
    }

    /// Asks for a reservation. Returns true if it is granted.
    async fn reserve(&mut self, identity: &Identity) -> bool {
        let mut swarm = self.friend(identity).await;
        swarm.listen_on(self.relayed()).unwrap();
        self.tasks.spawn(live(swarm));
        self.until(answered).await
    }

    /// Asks for so many circuits to a friend at once. Returns the number of those granted.
    async fn open(&mut self, from: &Identity, to: &Identity, count: usize) -> usize {
        let mut swarm = self.friend(from).await;
        let to = to.keypair().public().to_peer_id();
        for _ in 0..count {
            let dial = DialOpts::peer_id(to)
                .condition(PeerCondition::Always)
                .addresses(vec![self.relayed().with(Protocol::P2p(to))]);
            swarm.dial(dial.build()).unwrap();
        }
        self.tasks.spawn(live(swarm));
        let mut opened = 0;
        for _ in 0..count {
            let is_open = |event: &relay::Event| match event {
                relay::Event::CircuitReqAccepted { .. } => Some(1),
                relay::Event::CircuitReqDenied { .. } => Some(0),
                _ => None,
            };
            opened += self.until(is_open).await;
        }
        opened
    }

    /// Waits until a circuit ends. Returns the reason.
    async fn closed(&mut self) -> String {
        self.until(|event| match event {
            relay::Event::CircuitClosed { error, .. } => {
                Some(error.as_ref().map(ToString::to_string).unwrap_or_default())
            }
            _ => None,
        })
        .await
    }
}

/// Returns true if a reservation was granted, and false if it was refused.
fn answered(event: &relay::Event) -> Option<bool> {
    match event {
        relay::Event::ReservationReqAccepted { .. } => Some(true),
        relay::Event::ReservationReqDenied { .. } => Some(false),
        _ => None,
    }
}

fn identities<const COUNT: usize>() -> [Identity; COUNT] {
    std::array::from_fn(|_| Identity::generate())
}

#[tokio::test]
async fn reservations_are_refused_beyond_the_bounds_of_all_and_of_one_friend() {
    let mut bench = Bench::start(|settings| settings).await;
    let friend = Identity::generate();
    for _ in 0..MAX_RESERVATIONS_PER_PEER {
        assert!(bench.reserve(&friend).await);
    }
    assert!(!bench.reserve(&friend).await);
    let mut bench = Bench::start(|all| relay::Config { max_reservations: 3, ..all }).await;
    let [one, two, three, four] = identities();
    assert!(bench.reserve(&one).await && bench.reserve(&two).await && bench.reserve(&three).await);
    assert!(!bench.reserve(&four).await);
}

#[tokio::test]
async fn a_reservation_is_renewed_by_its_owner_but_not_where_all_are_taken() {
    // libp2p's client renews after three quarters of the time, in whole seconds.
    let brief = |all| relay::Config { reservation_duration: Duration::from_secs(5), ..all };
    let mut bench = Bench::start(brief).await;
    let mut full = Bench::start(|all| relay::Config { max_reservations: 1, ..brief(all) }).await;
    let [one, two] = identities();
    assert!(bench.reserve(&one).await && full.reserve(&two).await);
    let renewed = |event: &relay::Event| match event {
        relay::Event::ReservationReqAccepted { renewed, .. } => renewed.then_some(()),
        _ => None,
    };
    bench.until(renewed).await;
    let refused = |event: &relay::Event| answered(event).filter(|is_granted| !is_granted);
    full.until(refused).await;
}

#[tokio::test]
async fn a_reservation_that_is_not_renewed_ends() {
    let brief = |all| relay::Config { reservation_duration: Duration::from_secs(1), ..all };
    let mut bench = Bench::start(brief).await;
    let mut silent = bench.friend(&Identity::generate()).await;
    let id = *silent.local_peer_id();
    silent.listen_on(bench.relayed()).unwrap();
    let granted = async {
        while !matches!(
            silent.select_next_some().await,
            SwarmEvent::Behaviour(ClientEvent::Circuits(
                relay::client::Event::ReservationReqAccepted { .. }
            ))
        ) {}
    };
    tokio::time::timeout(DEADLINE, granted).await.expect("a reservation");
    let ended = |event: &relay::Event| match event {
        relay::Event::ReservationTimedOut { src_peer_id } => Some(*src_peer_id),
        _ => None,
    };
    assert_eq!(bench.until(ended).await, id);
}

#[tokio::test]
async fn circuits_are_refused_beyond_the_bounds_of_all_and_of_one_friend() {
    let mut bench = Bench::start(|settings| settings).await;
    let [one, two, three] = identities();
    assert!(bench.reserve(&one).await && bench.reserve(&three).await);
    assert_eq!(bench.open(&two, &one, MAX_CIRCUITS_PER_PEER + 2).await, MAX_CIRCUITS_PER_PEER);
    // Those to a friend count too when it opens one itself.
    assert_eq!(bench.open(&one, &three, 1).await, 0);
    let mut bench = Bench::start(|all| relay::Config { max_circuits: 3, ..all }).await;
    assert!(bench.reserve(&one).await);
    assert_eq!(bench.open(&two, &one, 2).await, 2);
    assert_eq!(bench.open(&three, &one, 2).await, 1);
}

#[tokio::test]
async fn a_circuit_ends_after_its_bytes_and_after_its_time() {
    let [one, two] = identities();
    let few = |settings| relay::Config { max_circuit_bytes: 64 << 10, ..settings };
    let mut bench = Bench::start(few).await;
    assert!(bench.reserve(&one).await);
    assert_eq!(bench.open(&two, &one, 1).await, 1);
    assert!(bench.closed().await.contains("bytes"));
    let second = Duration::from_secs(1);
    let brief = |settings| relay::Config { max_circuit_duration: second, ..settings };
    let mut bench = Bench::start(brief).await;
    assert!(bench.reserve(&one).await);
    assert_eq!(bench.open(&two, &one, 1).await, 1);
    assert!(bench.closed().await.contains("timed out"));
}
