//! Tests of requests and responses, and of peers that break their rules.

use std::{sync::Arc, time::Instant};

use libp2p::gossipsub;
use proptest::strategy::{Strategy, ValueTree};
use serde_bytes::ByteBuf;
use tokio::sync::{Semaphore, mpsc};

use super::{Node, config, hello, hello_back, line, pair, stranger::Stranger};
use crate::{
    net::{
        CommandError, Identity, NetEvent, NetOffence, RequestError,
        limits::{MAX_IN_FLIGHT_PER_PEER, MAX_STREAMS, MAX_SYNC_IN_FLIGHT},
        metrics::Meter,
        requests::{Job, Outbound, Ticket},
    },
    primitives::{BlockHash, HEADER_BYTES, PeerId, TxId},
    telemetry::metrics::NetMetrics,
    wire::{
        ChatRequest, ChatResponse, FriendsRequest, FriendsResponse, GetBlocks, HelloResponse, Item,
        ItemId, Protocol, Request, Response, SyncRequest, SyncResponse,
        limits::MAX_SYNC_RESPONSE_BYTES,
    },
};

/// Answers requests with `answer` until the other side has its answers.
async fn serve(mut node: Node, answer: impl Fn(Request) -> Response) {
    loop {
        let (reply, request) = node
            .until(|event| match event {
                NetEvent::RequestReceived { reply, request, .. } => Some((reply, request)),
                _ => None,
            })
            .await;
        node.handle.respond(reply, &answer(request)).unwrap();
    }
}

async fn answered(node: &mut Node) -> (u64, Result<Response, RequestError>) {
    node.until(|event| match event {
        NetEvent::ResponseReceived { id, result, .. } => Some((id, result)),
        _ => None,
    })
    .await
}

async fn misbehaved(node: &mut Node) -> (PeerId, NetOffence, String) {
    node.until(|event| match event {
        NetEvent::Misbehaved { peer, offence, reason } => Some((peer, offence, reason)),
        _ => None,
    })
    .await
}

/// Returns one request of each protocol, with a response to each.
fn each_protocol(me: PeerId) -> Vec<(Request, Response)> {
    vec![
        (Request::Hello(hello(1)), Response::Hello(hello_back(2))),
        (
            Request::Friends(FriendsRequest::Explore),
            Response::Friends(FriendsResponse::Profiles(Vec::new())),
        ),
        (
            Request::Chat(ChatRequest::Direct(line(me, "Good morning to you"))),
            Response::Chat(ChatResponse::Delivered),
        ),
        (
            Request::Sync(SyncRequest::GetBlocks(GetBlocks {
                locator: vec![BlockHash([1; 32])],
                limit: 10,
                skip: 0,
            })),
            Response::Sync(SyncResponse::Inv(ByteBuf::from(vec![5; 10 * HEADER_BYTES]))),
        ),
        (
            Request::Sync(SyncRequest::GetData(vec![ItemId::Trade(TxId([1; 32]))])),
            Response::Sync(SyncResponse::Data(vec![
                Item::Block(ByteBuf::from(vec![9; 2_000_000])),
                Item::NotFound,
            ])),
        ),
    ]
}

async fn exchange_each_protocol(mut a: Node, b: Node) {
    let (me, other) = (a.id(), b.id());
    let server = tokio::spawn(serve(b, move |request| {
        let known = each_protocol(me).into_iter().find(|(asked, _)| *asked == request);
        known.expect("the request as it was asked").1
    }));
    for (id, (request, response)) in (0..).zip(each_protocol(me)) {
        a.handle.request(other, id, &request).unwrap();
        assert_eq!(answered(&mut a).await, (id, Ok(response)));
    }
    server.abort();
}

#[tokio::test]
async fn two_nodes_exchange_each_protocol_over_tcp() {
    let (a, b) = pair().await;
    exchange_each_protocol(a, b).await;
}

#[tokio::test]
async fn two_nodes_exchange_each_protocol_over_quic() {
    let quic = || {
        let mut config = config();
        config.listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".to_owned()];
        config
    };
    let (mut a, b) = (Node::with(quic()).await, Node::with(quic()).await);
    a.handle.dial(&b.full_address()).await.unwrap();
    a.connected_to(b.id()).await;
    exchange_each_protocol(a, b).await;
}

#[tokio::test]
async fn two_hundred_parallel_requests_all_end() {
    let (mut a, b) = pair().await;
    let other = b.id();
    let server = tokio::spawn(serve(b, |_| Response::Hello(hello_back(2))));
    for id in 0..200 {
        a.handle.request(other, id, &Request::Hello(hello(1))).unwrap();
    }
    let mut ended = Vec::new();
    while ended.len() < 200 {
        let (id, result) = answered(&mut a).await;
        assert_eq!(result, Ok(Response::Hello(hello_back(2))));
        ended.push(id);
    }
    ended.sort_unstable();
    assert_eq!(ended, (0..200).collect::<Vec<_>>());
    server.abort();
}

#[tokio::test]
async fn a_thousand_requests_at_once_end_by_answer_or_by_name() {
    let (mut a, b) = pair().await;
    let other = b.id();
    let server = tokio::spawn(serve(b, |_| Response::Hello(hello_back(2))));
    let mut taken = 0;
    for id in 0..1_000 {
        match a.handle.request(other, id, &Request::Hello(hello(1))) {
            Ok(()) => taken += 1,
            Err(error) => assert_eq!(error, CommandError::Busy),
        }
    }
    for _ in 0..taken {
        let (_, result) = answered(&mut a).await;
        assert!(matches!(result, Ok(_) | Err(RequestError::TooMany(_))), "{result:?}");
    }
    a.handle.request(other, 1_000, &Request::Hello(hello(1))).unwrap();
    assert!(answered(&mut a).await.1.is_ok(), "the connection lives");
    server.abort();
}

#[tokio::test]
async fn requests_end_when_the_peer_goes_away() {
    let (mut a, mut b) = pair().await;
    for id in 0..100 {
        a.handle.request(b.id(), id, &Request::Hello(hello(1))).unwrap();
    }
    let _unanswered = b
        .until(|event| match event {
            NetEvent::RequestReceived { reply, .. } => Some(reply),
            _ => None,
        })
        .await;
    b.handle.shutdown().await;
    for _ in 0..100 {
        let (_, result) = answered(&mut a).await;
        assert!(
            matches!(result, Err(RequestError::Disconnected(_) | RequestError::NoAnswer { .. })),
            "{result:?}"
        );
    }
    a.handle.request(b.id(), 100, &Request::Hello(hello(1))).unwrap();
    let id = loop {
        let (id, result) = answered(&mut a).await;
        assert_eq!(result, Err(RequestError::NotConnected(b.id())));
        if id == 100 {
            break id;
        }
    };
    assert_eq!(id, 100);
}

#[tokio::test]
async fn a_shut_down_network_ends_its_requests_and_takes_no_more() {
    let (mut a, b) = pair().await;
    a.handle.request(b.id(), 1, &Request::Hello(hello(1))).unwrap();
    a.handle.shutdown().await;
    assert!(answered(&mut a).await.1.is_err());
    assert_eq!(a.handle.request(b.id(), 2, &Request::Hello(hello(1))), Err(CommandError::ShutDown));
}

#[tokio::test]
async fn another_networks_peer_hears_hello_and_nothing_else() {
    let mut other_network = config();
    other_network.network = BlockHash([8; 32]);
    let (mut a, mut b) = (Node::start().await, Node::with(other_network).await);
    a.handle.dial(&b.full_address()).await.unwrap();
    a.handle.request(b.id(), 1, &Request::Sync(SyncRequest::GetMempool)).unwrap();
    assert_eq!(answered(&mut a).await, (1, Err(RequestError::Unsupported(b.id()))));
    // The answer is out before the connection is closed, though both were asked for at once.
    a.handle.request(b.id(), 2, &Request::Hello(hello(1))).unwrap();
    let reply = b
        .until(|event| match event {
            NetEvent::RequestReceived { reply, .. } => Some(reply),
            _ => None,
        })
        .await;
    b.handle
        .respond(reply, &Response::Hello(HelloResponse::WrongNetwork(BlockHash([8; 32]))))
        .unwrap();
    b.handle.disconnect(a.id(), std::time::Duration::from_mins(10)).unwrap();
    let wrong = Response::Hello(HelloResponse::WrongNetwork(BlockHash([8; 32])));
    assert_eq!(answered(&mut a).await, (2, Ok(wrong)));
    a.disconnected_from(b.id()).await;
}

#[tokio::test]
async fn what_is_over_a_limit_is_not_sent() {
    let (a, b) = pair().await;
    let long = Request::Chat(ChatRequest::Direct(line(a.id(), &"x".repeat(5_000))));
    assert!(matches!(a.handle.request(b.id(), 1, &long), Err(CommandError::Unsendable(_))));
}

#[tokio::test]
async fn garbage_on_every_protocol_is_refused_by_name_and_the_node_lives() {
    for protocol in Protocol::ALL {
        let mut node = Node::start().await;
        let mut stranger = Stranger::new(protocol, gossipsub::Config::default(), false);
        let peer = stranger.connect(&node.address).await;
        let me = stranger.id();
        let good = each_protocol(me)
            .into_iter()
            .find(|(request, _)| request.protocol() == protocol)
            .map(|(request, response)| (request.encode().unwrap(), response))
            .unwrap();
        // An empty request, which a timed-out one leaves, is no offence: the first offence is that
        // of the next request.
        assert_eq!(stranger.ask(&peer, Vec::new()).await.unwrap_or_default(), Vec::<u8>::new());
        let mut bad = vec![
            (good.0[..1].to_vec(), "malformed"),
            (vec![0; protocol.max_request_bytes() + 1], "too_large"),
            ([&good.0[..], &[0]].concat(), "malformed"),
        ];
        // The first item is an array of a few: its head in two bytes is CBOR, but not canonical.
        bad.push(([&[0x98, good.0[0] & 0x1f], &good.0[1..]].concat(), "not_canonical"));
        for (bytes, code) in bad {
            assert_eq!(stranger.ask(&peer, bytes).await.unwrap_or_default(), Vec::<u8>::new());
            let (who, offence, reason) = misbehaved(&mut node).await;
            let expected = if code == "too_large" {
                NetOffence::Oversized
            } else {
                NetOffence::MalformedRequest
            };
            assert_eq!((who, offence), (me, expected));
            assert!(reason.starts_with(code), "{protocol:?}: {reason} is not {code}");
        }
        let mut random = proptest::test_runner::TestRunner::deterministic();
        for _ in 0..20 {
            let bytes = proptest::collection::vec(proptest::num::u8::ANY, 1..500)
                .new_tree(&mut random)
                .unwrap();
            assert_eq!(
                stranger.ask(&peer, bytes.current()).await.unwrap_or_default(),
                Vec::<u8>::new()
            );
            let offence = misbehaved(&mut node).await.1;
            assert!(
                matches!(offence, NetOffence::MalformedRequest | NetOffence::Oversized),
                "{offence:?}"
            );
        }
        let (request, response) = good;
        let expected = response.encode().unwrap();
        let server = tokio::spawn(serve(node, move |_| response.clone()));
        assert_eq!(stranger.ask(&peer, request).await, Some(expected));
        server.abort();
    }
}

#[tokio::test]
async fn answers_that_are_no_messages_are_refused_by_name() {
    for (bytes, code) in [
        (vec![0xff; 100], "malformed_response"),
        (vec![0; MAX_SYNC_RESPONSE_BYTES + 1], "malformed_response"),
        (Vec::new(), "no_answer"),
    ] {
        let mut node = Node::start().await;
        let mut stranger = Stranger::new(Protocol::Sync, gossipsub::Config::default(), false);
        let peer = stranger.id();
        stranger.connect(&node.address).await;
        node.connected_to(peer).await;
        let server = tokio::spawn(stranger.answer_all(bytes));
        node.handle.request(peer, 1, &Request::Sync(SyncRequest::GetMempool)).unwrap();
        let (id, result) = answered(&mut node).await;
        assert_eq!((id, result.unwrap_err().code()), (1, code));
        server.abort();
    }
}

#[tokio::test]
async fn a_node_that_falls_behind_answers_busy() {
    let mut slow = config();
    slow.tuning.event_queue = 8;
    let (mut a, b) = (Node::start().await, Node::with(slow).await);
    a.handle.dial(&b.full_address()).await.unwrap();
    // The test reads no events of b: requests that find no room are answered all the same.
    for id in 0..20 {
        a.handle.request(b.id(), id, &Request::Hello(hello(1))).unwrap();
    }
    let (_, result) = answered(&mut a).await;
    assert_eq!(result, Ok(Response::Hello(HelloResponse::Busy)));
}

#[tokio::test]
async fn streams_of_one_protocol_beyond_the_bound_are_dropped_in_both_directions() {
    let mut node = Node::start().await;
    let open = Arc::new(Semaphore::new(0));
    let mut stranger = Stranger::holding(Protocol::Sync, Arc::clone(&open));
    let (peer, id) = (stranger.connect(&node.address).await, stranger.id());
    node.connected_to(id).await;
    // The first byte of a message, which does not end.
    let beyond = 4;
    stranger.ask_many(&peer, &[0x82], MAX_STREAMS + beyond);
    stranger.have_ended(beyond).await;
    node.handle.request(id, 1, &Request::Sync(SyncRequest::GetMempool)).unwrap();
    let (_, result) = answered(&mut node).await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("max sub-streams"), "{error}");
    open.close();
    stranger.have_ended(MAX_STREAMS).await;
    for _ in 0..MAX_STREAMS {
        assert_eq!(misbehaved(&mut node).await.1, NetOffence::MalformedRequest);
    }
    while let Ok(event) = node.events.try_recv() {
        assert!(!matches!(event, NetEvent::Misbehaved { .. }), "the others were not read");
    }
}

#[test]
fn requests_beyond_those_in_flight_to_one_peer_wait_until_one_ends() {
    let (events, mut ended) = mpsc::channel(100);
    let (now, one, two) =
        (Instant::now(), Identity::generate().peer_id(), Identity::generate().peer_id());
    let job = |peer, protocol| {
        let slot = events.clone().try_reserve_owned().unwrap();
        let meter = Meter::new(NetMetrics::default(), protocol);
        Job::new(Ticket::new(peer, 1, slot, meter), protocol, Vec::new(), now)
    };
    let mut outbound = Outbound::<usize>::new();
    for _ in 0..MAX_IN_FLIGHT_PER_PEER {
        outbound.push(job(one, Protocol::Sync));
        outbound.push(job(one, Protocol::Chat));
    }
    let mut sent = Vec::new();
    let mut send_all = |outbound: &mut Outbound<usize>, may_sync| {
        let before = sent.len();
        while let Some(job) = outbound.next(&one, may_sync) {
            outbound.sent(sent.len(), job.ticket, now);
            sent.push(job.protocol);
        }
        sent[before..].to_vec()
    };
    let first = send_all(&mut outbound, true);
    assert_eq!(first.len(), MAX_IN_FLIGHT_PER_PEER);
    let on_sync = first.iter().filter(|protocol| **protocol == Protocol::Sync).count();
    assert!(on_sync <= MAX_SYNC_IN_FLIGHT, "the rest is for other protocols");
    outbound.push(job(two, Protocol::Sync));
    let other = outbound.next(&two, true);
    assert!(other.is_some(), "those to another peer do not wait");
    for key in [0, 1] {
        outbound.landed(key).unwrap().end(Err(RequestError::Unsupported(one)));
    }
    assert_eq!(send_all(&mut outbound, false), [Protocol::Chat; 2], "those on sync may wait");
    let ended = std::iter::from_fn(|| ended.try_recv().ok()).count();
    assert_eq!(ended, 2, "none ends because it has to wait");
}
