//! Discovery on the local network by mDNS, on a thread of its own and within bounds.
//!
//! libp2p's mDNS keeps every record for the time that its packet states, searches all of them for
//! each new one, and starts a task for each interface that outlives it. Any machine of the local
//! network can fill it. Discovery therefore runs on a small runtime here. When it holds too many
//! records, or has run for some minutes, the runtime is dropped with all its tasks, and another one
//! starts.
//!
//! | bound | value |
//! |---|---|
//! | records | `MAX_NEARBY_RECORDS`; beyond it discovery starts anew after a pause |
//! | time to live | `NEARBY_AGE`, whatever a packet states |
//! | events that wait for the swarm task | `WAITING`; further ones are dropped |
//! | addresses that one machine announces | the budgets of the address book |
//!
//! One queue of the library has no bound: the records that one interface has read and not passed on
//! yet. The thread does nothing but empty it, and the queue ends with the runtime.

use std::{
    future::poll_fn,
    io,
    net::IpAddr,
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId,
    core::transport::ListenerId,
    mdns,
    swarm::{
        ExpiredListenAddr, FromSwarm, ListenAddresses, NetworkBehaviour, NewListenAddr,
        THandlerInEvent, ToSwarm, dummy,
    },
};
use tokio::{
    runtime::Builder,
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

use super::{
    address::ip,
    limits::{MAX_NEARBY_RECORDS, NEARBY_AGE},
    pass_on::no_handlers,
};

/// Events that wait for the swarm task.
const WAITING: usize = 64;
/// Records of one event that are passed on.
const MAX_RECORDS_PER_EVENT: usize = 64;
/// Pause after too many records. A flood thus costs its work at most six times a minute.
const PAUSE: Duration = Duration::from_secs(10);

/// Discovery on the local network.
#[derive(Debug)]
pub(super) struct Nearby {
    listening: ListenAddresses,
    /// The addresses to announce. The thread ends when this sender is dropped.
    announced: watch::Sender<Vec<Multiaddr>>,
    events: mpsc::Receiver<mdns::Event>,
}

impl Nearby {
    /// Starts the thread.
    pub(super) fn start(me: PeerId) -> io::Result<Self> {
        let (announced, to_announce) = watch::channel(Vec::new());
        let (out, events) = mpsc::channel(WAITING);
        std::thread::Builder::new()
            .name("mdns".to_owned())
            .spawn(move || discover(me, to_announce, &out))?;
        Ok(Self { listening: ListenAddresses::default(), announced, events })
    }
}

/// The reason why discovery starts anew or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The network has ended, or the machine has no multicast.
    Over,
    /// There are too many records.
    Full,
    /// The records have reached the maximum age.
    Aged,
}

/// Runs discovery until the network ends.
fn discover(
    me: PeerId,
    mut addresses: watch::Receiver<Vec<Multiaddr>>,
    out: &mpsc::Sender<mdns::Event>,
) {
    loop {
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        let end = runtime.block_on(live(me, &mut addresses, out));
        // Dropping the runtime ends the library's tasks and closes their sockets.
        drop(runtime);
        if end == End::Over {
            return;
        }
        tracing::debug!(?end, "discovery on the local network starts anew");
    }
}

/// Runs discovery until a bound is reached, and pauses after too many records. Returns the bound.
async fn live(
    me: PeerId,
    addresses: &mut watch::Receiver<Vec<Multiaddr>>,
    out: &mpsc::Sender<mdns::Event>,
) -> End {
    let mut instances = match Instance::all(me) {
        Ok(instances) => instances,
        Err(error) => {
            tracing::debug!(%error, "no discovery on the local network");
            return End::Over;
        }
    };
    match run(&mut instances, me, addresses, out).await {
        End::Full if !paused(addresses).await => End::Over,
        end => end,
    }
}

/// Passes on what the instances find until a bound is reached. Returns the bound.
async fn run<F: Finder>(
    instances: &mut [Instance<F>],
    me: PeerId,
    addresses: &mut watch::Receiver<Vec<Multiaddr>>,
    out: &mpsc::Sender<mdns::Event>,
) -> End {
    let end = Instant::now() + NEARBY_AGE;
    let mut held = Vec::new();
    announce(instances, &mut held, addresses.borrow_and_update().clone());
    loop {
        tokio::select! {
            event = poll_fn(|context| next_event(instances, me, context)) => {
                if let Some(event) = event {
                    // An event that finds no room is lost. The next query finds its peers again.
                    let _ = out.try_send(shortened(event));
                }
                if instances.iter().any(|one| one.behaviour.records() > MAX_NEARBY_RECORDS) {
                    return End::Full;
                }
            }
            changed = addresses.changed() => {
                if changed.is_err() {
                    return End::Over;
                }
                announce(instances, &mut held, addresses.borrow_and_update().clone());
            }
            () = sleep_until(end) => return End::Aged,
        }
    }
}

/// The purpose of an instance of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Discovery over IPv4.
    V4,
    /// Discovery over IPv6. The library serves one of the two families in each instance.
    V6,
    /// The search for copies of this node. The library omits records of its own identity, so this
    /// instance has another one, announces nothing, and sees those of a copy.
    Copies,
}

/// The library's behaviour, or a test's in its place.
trait Finder:
    NetworkBehaviour<ConnectionHandler = dummy::ConnectionHandler, ToSwarm = mdns::Event>
{
    /// Returns the number of records that it holds.
    fn records(&self) -> usize;
}

impl Finder for mdns::tokio::Behaviour {
    fn records(&self) -> usize {
        self.discovered_nodes().len()
    }
}

/// One instance of the library.
struct Instance<F = mdns::tokio::Behaviour> {
    purpose: Purpose,
    behaviour: F,
}

impl Instance {
    fn all(me: PeerId) -> io::Result<[Self; 3]> {
        let settings = mdns::Config {
            // The library's default of minutes is too long for friends who start their nodes within
            // seconds of one another.
            ttl: Duration::from_mins(1),
            query_interval: Duration::from_secs(10),
            enable_ipv6: false,
        };
        // Interfaces have several IPv6 addresses, and the library queries and answers for each.
        // The first queries come within seconds here too.
        let v6 = mdns::Config {
            ttl: Duration::from_mins(2),
            query_interval: Duration::from_secs(30),
            enable_ipv6: true,
        };
        let quiet = mdns::Config { query_interval: NEARBY_AGE, ..settings.clone() };
        let new = |purpose, settings, id| {
            Ok::<_, io::Error>(Self {
                purpose,
                behaviour: mdns::tokio::Behaviour::new(settings, id)?,
            })
        };
        Ok([
            new(Purpose::V4, settings, me)?,
            new(Purpose::V6, v6, me)?,
            new(Purpose::Copies, quiet, PeerId::random())?,
        ])
    }
}

/// Returns an instance's next event, or `None` in place of one that is not for the swarm.
fn next_event<F: Finder>(
    instances: &mut [Instance<F>],
    me: PeerId,
    context: &mut Context<'_>,
) -> Poll<Option<mdns::Event>> {
    for Instance { purpose, behaviour } in instances {
        if let Poll::Ready(event) = behaviour.poll(context) {
            let ToSwarm::GenerateEvent(event) = event else { return Poll::Ready(None) };
            return Poll::Ready(wanted(*purpose, me, event));
        }
    }
    Poll::Pending
}

/// Returns the records of an event that suit the purpose of their instance.
fn wanted(purpose: Purpose, me: PeerId, event: mdns::Event) -> Option<mdns::Event> {
    let suits = |(peer, address): &(PeerId, Multiaddr)| match purpose {
        Purpose::V4 => true,
        // The socket of IPv6 hears packets of IPv4 too.
        Purpose::V6 => matches!(ip(address), Some(IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_none()),
        Purpose::Copies => *peer == me,
    };
    let (event, is_empty) = match event {
        mdns::Event::Discovered(mut records) => {
            records.retain(suits);
            let is_empty = records.is_empty();
            (mdns::Event::Discovered(records), is_empty)
        }
        mdns::Event::Expired(_) if purpose == Purpose::Copies => return None,
        mdns::Event::Expired(mut records) => {
            records.retain(suits);
            let is_empty = records.is_empty();
            (mdns::Event::Expired(records), is_empty)
        }
    };
    (!is_empty).then_some(event)
}

/// Waits after a flood. Returns false if the network has ended.
async fn paused(addresses: &mut watch::Receiver<Vec<Multiaddr>>) -> bool {
    let pause = sleep(PAUSE);
    tokio::pin!(pause);
    loop {
        tokio::select! {
            () = &mut pause => return true,
            changed = addresses.changed() => if changed.is_err() {
                return false;
            }
        }
    }
}

fn shortened(event: mdns::Event) -> mdns::Event {
    let first = |records: Vec<_>| records.into_iter().take(MAX_RECORDS_PER_EVENT).collect();
    match event {
        mdns::Event::Discovered(records) => mdns::Event::Discovered(first(records)),
        mdns::Event::Expired(records) => mdns::Event::Expired(first(records)),
    }
}

/// Passes the addresses to announce to the library, as a swarm would.
fn announce<F: Finder>(
    instances: &mut [Instance<F>],
    held: &mut Vec<Multiaddr>,
    wanted: Vec<Multiaddr>,
) {
    let listener_id = ListenerId::next();
    for Instance { behaviour, .. } in
        instances.iter_mut().filter(|one| one.purpose != Purpose::Copies)
    {
        for addr in held.iter().filter(|address| !wanted.contains(address)) {
            let event = ExpiredListenAddr { listener_id, addr };
            behaviour.on_swarm_event(FromSwarm::ExpiredListenAddr(event));
        }
        for addr in wanted.iter().filter(|address| !held.contains(address)) {
            let event = NewListenAddr { listener_id, addr };
            behaviour.on_swarm_event(FromSwarm::NewListenAddr(event));
        }
    }
    *held = wanted;
}

impl NetworkBehaviour for Nearby {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = mdns::Event;

    no_handlers!();

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if self.listening.on_swarm_event(&event) {
            self.announced.send_replace(self.listening.iter().cloned().collect());
        }
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // `None` means that the thread has ended, and discovery with it.
        match self.events.poll_recv(context) {
            Poll::Ready(Some(event)) => Poll::Ready(ToSwarm::GenerateEvent(event)),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A library that finds one record after another, up to a number, and keeps all.
    struct Flood {
        left: usize,
        found: usize,
    }

    impl Finder for Flood {
        fn records(&self) -> usize {
            self.found
        }
    }

    impl NetworkBehaviour for Flood {
        type ConnectionHandler = dummy::ConnectionHandler;
        type ToSwarm = mdns::Event;

        no_handlers!();

        fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

        fn poll(
            &mut self,
            _: &mut Context<'_>,
        ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
            let Some(left) = self.left.checked_sub(1) else { return Poll::Pending };
            (self.left, self.found) = (left, self.found + 1);
            let address = format!("/ip4/10.0.0.2/tcp/{}", self.found).parse().unwrap();
            let record = (PeerId::random(), address);
            Poll::Ready(ToSwarm::GenerateEvent(mdns::Event::Discovered(vec![record])))
        }
    }

    /// Runs discovery with a flood of so many records. Returns its end, `None` if it goes on, and
    /// the number of records that were passed on.
    async fn flooded_with(records: usize) -> (Option<End>, usize) {
        let (_announced, mut addresses) = watch::channel(Vec::new());
        let (out, mut events) = mpsc::channel(2 * MAX_NEARBY_RECORDS);
        let purposes = [Purpose::V6, Purpose::V4];
        let instance = |purpose| Instance { purpose, behaviour: Flood { left: 0, found: 0 } };
        let mut instances = purposes.map(instance);
        instances[1].behaviour.left = records;
        let run = run(&mut instances, PeerId::random(), &mut addresses, &out);
        tokio::pin!(run);
        let mut end = None;
        // Tokio may stop a poll early, for the sake of other tasks.
        for _ in 0..records {
            if let Poll::Ready(why) = futures::poll!(&mut run) {
                end = Some(why);
                break;
            }
            tokio::task::yield_now().await;
        }
        let mut passed = 0;
        while events.try_recv().is_ok() {
            passed += 1;
        }
        (end, passed)
    }

    #[tokio::test]
    async fn discovery_ends_and_begins_anew_when_one_instance_holds_too_many_records() {
        assert_eq!(flooded_with(MAX_NEARBY_RECORDS).await, (None, MAX_NEARBY_RECORDS));
        let all = MAX_NEARBY_RECORDS + 1;
        assert_eq!(flooded_with(2 * all).await, (Some(End::Full), all));
    }

    #[test]
    fn each_instance_passes_on_the_records_of_its_purpose() {
        let (me, friend) = (PeerId::random(), PeerId::random());
        let record = |peer, text: &str| (peer, text.parse::<Multiaddr>().unwrap());
        let of_friend = record(friend, "/ip4/10.0.0.2/tcp/1");
        let (v6, mapped) =
            (record(friend, "/ip6/fd00::2/tcp/1"), record(friend, "/ip6/::ffff:10.0.0.2/tcp/1"));
        let all = vec![of_friend, mapped, v6.clone(), record(me, "/ip4/10.0.0.3/tcp/1")];
        for (purpose, passed) in [
            (Purpose::V4, all.clone()),
            (Purpose::V6, vec![v6]),
            (Purpose::Copies, vec![all[3].clone()]),
        ] {
            let found = wanted(purpose, me, mdns::Event::Discovered(all.clone()));
            let Some(mdns::Event::Discovered(found)) = found else { panic!("{found:?}") };
            assert_eq!(found, passed, "{purpose:?}");
        }
        let none = vec![all[0].clone()];
        assert!(wanted(Purpose::V6, me, mdns::Event::Expired(none)).is_none());
        assert!(wanted(Purpose::Copies, me, mdns::Event::Expired(all)).is_none());
    }
}
