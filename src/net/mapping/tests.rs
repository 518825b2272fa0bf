//! Tests with routers on loopback addresses.

use std::{
    future::poll_fn,
    net::{Ipv4Addr, UdpSocket},
};

use libp2p::swarm::FromSwarm;

use super::{
    router::{PORT, Router, nat_pmp, pcp},
    *,
};
use crate::net::limits::MAPPING_TIME;

const PUBLIC: Ipv4Addr = Ipv4Addr::new(5, 6, 7, 8);
const HOUR: u32 = 3_600;
const TCP: &str = "/ip4/127.0.0.1/tcp/8891";
const QUIC: &str = "/ip4/127.0.0.1/udp/8891/quic-v1";
const NONCE: [u32; 3] = [1, 2, 3];

/// Returns the place of a test's router. Each test has its own number.
const fn place(number: u8) -> Place {
    Place { gateway: Ipv4Addr::new(127, 53, 51, number), client: Ipv4Addr::LOCALHOST }
}

fn socket_of(place: Place) -> UdpSocket {
    UdpSocket::bind((place.gateway, PORT)).expect("a loopback address")
}

fn address(text: &str) -> Multiaddr {
    text.parse().expect("an address")
}

fn ports() -> Vec<Port> {
    [TCP, QUIC].iter().filter_map(|local| Port::new(&address(local), None)).collect()
}

/// Asks a router with these answers.
async fn asked(
    number: u8,
    answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
) -> (Result<Vec<Lease>, Refusal>, Router) {
    let router = Router::at(socket_of(place(number)), answer);
    (ask(place(number), NONCE, ports()).await, router)
}

fn externals(leases: &[Lease]) -> Vec<String> {
    leases.iter().map(|lease| lease.external().to_string()).collect()
}

/// Returns the next event of a behaviour.
async fn next(mapping: &mut Mapping) -> Event {
    loop {
        if let ToSwarm::GenerateEvent(event) = poll_fn(|cx| mapping.poll(cx)).await {
            return event;
        }
    }
}

/// Returns a behaviour that starts no `UPnP`, since that would search the network.
fn mapping_at(find: fn() -> Option<Place>) -> Mapping {
    Mapping::with(find, || Toggle::from(None), NONCE)
}

fn listen(mapping: &mut Mapping) {
    let listener_id = ListenerId::next();
    for addr in [&address(TCP), &address(QUIC)] {
        let event = NewListenAddr { listener_id, addr };
        mapping.on_swarm_event(FromSwarm::NewListenAddr(event));
    }
}

#[tokio::test]
async fn both_ports_are_mapped_by_pcp_or_by_nat_pmp_for_a_bounded_time() {
    let expected = ["/ip4/5.6.7.8/tcp/8892", "/ip4/5.6.7.8/udp/8892/quic-v1"];
    let (by_pcp, _router) = asked(1, pcp(PUBLIC, HOUR)).await;
    let by_pcp = by_pcp.expect("mapped");
    assert_eq!(
        (externals(&by_pcp).as_slice(), by_pcp[0].by()),
        (&expected.map(Into::into)[..], MappedBy::Pcp)
    );
    let (by_pmp, _router) = asked(2, nat_pmp(PUBLIC, 600)).await;
    let by_pmp = by_pmp.expect("mapped");
    assert_eq!(
        (externals(&by_pmp).as_slice(), by_pmp[0].by()),
        (&expected.map(Into::into)[..], MappedBy::NatPmp)
    );
    assert_eq!(by_pcp[0].renewal(), Duration::from_mins(15));
    assert_eq!(by_pmp[0].renewal(), Duration::from_mins(5));
}

#[tokio::test]
async fn four_ports_at_most_are_mapped_each_for_an_hour() {
    let router = Router::at(socket_of(place(25)), pcp(PUBLIC, u32::MAX));
    let mut mapping = mapping_at(|| Some(place(25)));
    for port in 0..MAX_MAPPED_PORTS + 3 {
        let (listener_id, addr) =
            (ListenerId::next(), &address(&format!("/ip4/127.0.0.1/tcp/{}", 8_000 + port)));
        mapping.on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr { listener_id, addr }));
    }
    assert_eq!(next(&mut mapping).await.addresses.len(), MAX_MAPPED_PORTS);
    let asked = router.asked();
    let ports: BTreeSet<_> = asked.iter().map(|request| request[40..42].to_vec()).collect();
    assert_eq!(ports.len(), MAX_MAPPED_PORTS);
    let hour = u32::try_from(MAPPING_TIME.as_secs()).expect("small").to_be_bytes();
    assert!(asked.iter().all(|request| request[4..8] == hour), "{asked:?}");
}

#[tokio::test]
async fn a_router_without_a_public_address_maps_nothing() {
    for (number, ip) in [(3, [10, 0, 0, 1]), (4, [100, 64, 0, 1]), (5, [203, 0, 113, 1])] {
        let (by_pcp, router) = asked(number, pcp(ip.into(), HOUR)).await;
        assert_eq!(by_pcp.unwrap_err(), Refusal::NotPublic);
        assert_eq!(router.deletions(), 2, "nothing stays behind");
    }
    let (by_pmp, router) = asked(6, nat_pmp(Ipv4Addr::UNSPECIFIED, HOUR)).await;
    assert_eq!(by_pmp.unwrap_err(), Refusal::NotPublic);
    assert_eq!(router.asked().len(), 3, "no port is asked for");
}

#[tokio::test]
async fn hostile_and_useless_answers_map_nothing() {
    let short = asked(7, |_| Some(vec![2])).await.0;
    assert_eq!(short.unwrap_err(), Refusal::Silent);
    let long = asked(8, |_| Some(vec![0xff; 2_000])).await.0;
    assert_eq!(long.unwrap_err(), Refusal::Silent);
    let changed = |place: usize, byte: u8| {
        move |request: &[u8]| {
            let mut reply = pcp(PUBLIC, HOUR)(request)?;
            reply[place] = byte;
            Some(reply)
        }
    };
    let other_nonce = asked(9, changed(24, 0xee)).await.0;
    assert_eq!(other_nonce.unwrap_err(), Refusal::Silent);
    let not_authorised = asked(10, changed(3, 2)).await.0;
    assert_eq!(not_authorised.unwrap_err(), Refusal::Refused);
    let (brief, router) = asked(11, pcp(PUBLIC, 10)).await;
    assert_eq!(brief.unwrap_err(), Refusal::Refused);
    assert_eq!(router.deletions(), 2);
    let closed = ask(place(12), NONCE, ports()).await;
    assert_eq!(closed.unwrap_err(), Refusal::Silent);
}

#[tokio::test]
async fn a_mapped_port_is_reported_once_and_ends_with_its_listener_or_its_node() {
    let router = Router::at(socket_of(place(20)), pcp(PUBLIC, HOUR));
    let mut mapping = mapping_at(|| Some(place(20)));
    listen(&mut mapping);
    let event = next(&mut mapping).await;
    assert_eq!(event.router, RouterState::Mapped(MappedBy::Pcp));
    assert_eq!(event.addresses.len(), 2);
    let confirmed = poll_fn(|cx| mapping.poll(cx)).await;
    assert!(matches!(confirmed, ToSwarm::ExternalAddrConfirmed(_)), "{confirmed:?}");

    // A round that changes nothing reports nothing.
    mapping.waiting.clear();
    mapping.look_again();
    while matches!(mapping.stage, Stage::Asking(..)) {
        poll_fn(|cx| mapping.step(cx)).await;
    }
    assert!(mapping.waiting.is_empty());
    assert_eq!(router.asked().len(), 4);

    let (listener_id, addr) = (ListenerId::next(), &address(QUIC));
    let event = ExpiredListenAddr { listener_id, addr };
    mapping.on_swarm_event(FromSwarm::ExpiredListenAddr(event));
    assert_eq!(next(&mut mapping).await.addresses.len(), 1);
    mapping.release().await;
    assert_eq!(router.deletions(), 1);
    mapping.look_again();
    assert!(matches!(mapping.stage, Stage::Ended), "an ended node maps nothing more");
}

#[tokio::test]
async fn a_renewal_without_an_answer_is_repeated_until_the_mapping_ends() {
    let router = Router::at(socket_of(place(21)), pcp(PUBLIC, HOUR));
    let mut mapping = mapping_at(|| Some(place(21)));
    listen(&mut mapping);
    let mapped = next(&mut mapping).await;
    router.be_silent(true);
    mapping.begin(true);
    while matches!(mapping.stage, Stage::Asking(..)) {
        poll_fn(|cx| mapping.step(cx)).await;
    }
    assert_eq!((mapping.told.clone(), mapping.leases.len()), (mapped, 2));
    assert!(matches!(mapping.stage, Stage::Waiting(_, true)));
    let later = Instant::now() + Duration::from_secs(HOUR.into());
    mapping.answered(Err(Refusal::Silent), true, later);
    assert!(mapping.told.addresses.is_empty() && matches!(mapping.stage, Stage::Upnp(..)));
}

#[tokio::test]
async fn a_refusal_or_another_gateway_ends_the_old_addresses_at_once() {
    let _router = Router::at(socket_of(place(22)), pcp(PUBLIC, HOUR));
    let mut mapping = mapping_at(|| Some(place(22)));
    listen(&mut mapping);
    assert_eq!(next(&mut mapping).await.addresses.len(), 2);
    let held = mapping.leases.clone();
    mapping.answered(Err(Refusal::NotPublic), true, Instant::now());
    assert_eq!((mapping.told.router, mapping.told.addresses.len()), (RouterState::NotPublic, 0));
    assert!(matches!(mapping.stage, Stage::Waiting(_, false)));

    mapping.answered(Ok(held), false, Instant::now());
    assert_eq!(mapping.told.addresses.len(), 2);
    mapping.find = || Some(place(23));
    mapping.look_again();
    assert_eq!((mapping.told.router, mapping.told.addresses.len()), (RouterState::Asking, 0));
}

#[tokio::test]
async fn upnp_is_asked_only_after_the_gateway_and_its_addresses_are_reported_alike() {
    let mut mapping = mapping_at(|| Some(place(24)));
    listen(&mut mapping);
    mapping.begin(false);
    assert!(matches!(mapping.stage, Stage::Asking(..)));
    mapping.answered(Err(Refusal::Refused), false, Instant::now());
    assert!(matches!(mapping.stage, Stage::Upnp(..)));
    let (local_addr, private) = (address(TCP), address("/ip4/10.0.0.1/tcp/8891"));
    let external_addr = address("/ip4/5.6.7.8/tcp/8891");
    let new = |external_addr: &Multiaddr| upnp::Event::NewExternalAddr {
        local_addr: local_addr.clone(),
        external_addr: external_addr.clone(),
    };
    mapping.on_upnp(new(&private));
    assert!(mapping.told.addresses.is_empty());
    mapping.on_upnp(new(&external_addr));
    assert_eq!(mapping.told.router, RouterState::Mapped(MappedBy::Upnp));
    assert_eq!(mapping.told.addresses, BTreeSet::from([external_addr.clone()]));
    mapping.on_upnp(upnp::Event::ExpiredExternalAddr { local_addr, external_addr });
    assert_eq!((mapping.told.router, mapping.told.addresses.len()), (RouterState::Asking, 0));
    assert!(matches!(mapping.stage, Stage::Asking(..)), "a new round");

    mapping.answered(Err(Refusal::Refused), false, Instant::now());
    mapping.on_upnp(upnp::Event::GatewayNotFound);
    assert_eq!(mapping.told.router, RouterState::Refused, "the gateway's answer says more");
    mapping.on_upnp(upnp::Event::NonRoutableGateway);
    assert_eq!((mapping.told.router, mapping.failures), (RouterState::NotPublic, 2));
}

#[test]
fn rounds_without_a_router_become_rare() {
    let pause = |failures| doubled(MAPPING_PAUSE, failures, LONGEST_MAPPING_PAUSE);
    assert_eq!(pause(0), MAPPING_PAUSE);
    assert_eq!(pause(1), 2 * MAPPING_PAUSE);
    assert_eq!(pause(u32::MAX), LONGEST_MAPPING_PAUSE);
}
