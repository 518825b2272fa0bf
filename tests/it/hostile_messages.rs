//! Tests a peer that sends garbage, too many messages, or other peers' messages. The node logs the
//! offence and stays up.

use std::{sync::mpsc, thread};

use friendchain::{
    primitives::{BlockHash, Encode, NetworkId},
    wire::{
        ChatGossip, ChatRequest, FriendsRequest, GetBlocks, GetRange, Gossip, HelloRequest,
        HelloResponse, Protocol, Request, Response, SignedLine, SignedProfile, SignedQuit, Status,
        SyncRequest, SyncResponse, Topic,
    },
};
use libp2p::identity::Keypair;
use serde_bytes::ByteBuf;
use serde_json::Value;

use crate::support::{
    forge::{Scene, now},
    peer::{Branch, TestPeer},
};

/// Returns pseudo-random bytes, the same in every run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Connects a peer that serves only the genesis block.
#[track_caller]
fn newcomer(scene: &Scene) -> TestPeer {
    let branch = Branch::new(&scene.forge.genesis, &[]);
    TestPeer::serving(&scene.node, scene.forge.network, &branch)
}

/// Checks that the peer is penalised for the offence with a reason that holds the text, and that
/// the node still answers `status`.
#[track_caller]
fn assert_penalised(scene: &Scene, peer: &TestPeer, offence: &str, text: &str) -> Value {
    let penalty =
        scene.node.await_event("peer_penalised", |event| event["peer"] == peer.id.to_string());
    assert_eq!(penalty["offence"], offence, "{penalty}");
    assert!(
        penalty["reason"].as_str().is_some_and(|reason| reason.contains(text)),
        "{text:?} in {penalty}"
    );
    assert!(penalty["score"].as_i64().is_some_and(|score| score < 0), "{penalty}");
    scene.assert_unmoved(0, &scene.forge.genesis.header);
    penalty
}

#[test]
fn another_networks_status_is_told_so_and_the_peer_is_left() {
    let scene = Scene::new();
    let elsewhere = NetworkId::default();
    let branch = Branch::new(&scene.forge.genesis, &[]);
    let status = Status { network: elsewhere, ..branch.status() };
    let answer = Response::Hello(HelloResponse::WrongNetwork(elsewhere)).encode().expect("fits");
    let responder = branch
        .responder_but(move |request| matches!(request, Request::Hello(_)).then(|| answer.clone()));
    let peer = TestPeer::connect(&scene.node, scene.forge.network, responder);
    // The node may disconnect before this request arrives, since it has our answer to its own
    // hello.
    if let Ok(bytes) = peer.ask(&Request::Hello(HelloRequest::Status(status))) {
        let response = Protocol::Hello.decode_response(&bytes).expect("a message");
        assert_eq!(response, Response::Hello(HelloResponse::WrongNetwork(scene.forge.network)));
    }
    let event =
        scene.node.await_event("wrong_network", |event| event["peer"] == peer.id.to_string());
    assert_eq!(event["network"], elsewhere.to_string());
    peer.await_dropped();
    scene.assert_unmoved(0, &scene.forge.genesis.header);
}

/// The limit of `src/node/router/serve.rs`.
const MAX_BEFORE_HELLO: usize = 8;

#[test]
fn a_few_requests_wait_for_their_senders_hello_and_further_ones_get_busy() {
    let scene = Scene::new();
    let network = scene.forge.network;
    let branch = Branch::new(&scene.forge.genesis, &[]);
    // The peer does not answer the node's hello, so that its own is the first.
    let silent =
        branch.responder_but(|request| matches!(request, Request::Hello(_)).then(Vec::new));
    let peer = TestPeer::connect(&scene.node, network, silent);
    let request = Request::Sync(SyncRequest::GetBlocks(GetBlocks {
        locator: vec![network],
        limit: 5,
        skip: 0,
    }));
    let (answers, answered) = mpsc::channel();
    let is_busy = || {
        let answer: Result<Vec<u8>, String> = answered.recv().expect("an answer");
        let response = Protocol::Sync.decode_response(&answer.expect("bytes")).expect("a message");
        response == Response::Sync(SyncResponse::Busy)
    };
    let beyond = 4;
    thread::scope(|scope| {
        for _ in 0..MAX_BEFORE_HELLO + beyond {
            scope.spawn(|| answers.send(peer.ask(&request)).expect("the test listens"));
        }
        for _ in 0..beyond {
            assert!(is_busy(), "there is no room for it");
        }
        peer.ask(&Request::Hello(HelloRequest::Status(branch.status()))).expect("a hello");
        for _ in 0..MAX_BEFORE_HELLO {
            assert!(!is_busy(), "it has waited for the hello");
        }
    });
}

#[test]
fn random_bytes_on_every_protocol_are_malformed() {
    let scene = Scene::new();
    for protocol in Protocol::ALL {
        for bytes in [noise(300), vec![0x82, 0x00], b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
            let peer = newcomer(&scene);
            // The node need not answer at all.
            let _ = peer.ask_bytes(protocol, bytes);
            assert_penalised(&scene, &peer, "malformed", "");
        }
    }
}

#[test]
fn random_bytes_on_every_topic_are_malformed() {
    let scene = Scene::new();
    for topic in Topic::ALL {
        let peer = newcomer(&scene);
        peer.publish(
            topic,
            &[&noise(200)[..], topic.name(&scene.forge.network).as_bytes()].concat(),
        );
        assert_penalised(&scene, &peer, "malformed", "");
    }
}

#[test]
fn cbor_that_is_not_canonical_is_refused() {
    let scene = Scene::new();
    let locator = vec![scene.forge.network];
    let canonical = Request::Sync(SyncRequest::GetBlocks(GetBlocks { locator, limit: 5, skip: 5 }))
        .encode()
        .expect("within its limits");
    // First the number 5 in two bytes instead of one, then the outer array with indefinite length.
    let (last, head) = canonical.split_last().expect("bytes");
    assert_eq!(*last, 5);
    let long_number = [head, &[0x18, 0x05]].concat();
    let indefinite = [&[0x9f], &canonical[1..], &[0xff]].concat();
    for bytes in [long_number, indefinite] {
        let peer = newcomer(&scene);
        let _ = peer.ask_bytes(Protocol::Sync, bytes);
        assert_penalised(&scene, &peer, "malformed", "canonical");
    }
    let peer = newcomer(&scene);
    assert!(peer.ask_bytes(Protocol::Sync, canonical).is_ok(), "the canonical form is answered");
}

#[test]
fn an_oversized_frame_is_refused_on_every_protocol() {
    let scene = Scene::new();
    for protocol in Protocol::ALL {
        let peer = newcomer(&scene);
        let _ = peer.ask_bytes(protocol, vec![0; protocol.max_request_bytes() + 1]);
        assert_penalised(&scene, &peer, "oversized", "limit");
    }
}

#[test]
fn oversized_gossip_is_refused() {
    let scene = Scene::new();
    for topic in [Topic::Chat, Topic::Trades] {
        let peer = newcomer(&scene);
        peer.publish(topic, &vec![7; topic.max_bytes() + 1]);
        assert_penalised(&scene, &peer, "oversized", "limit");
    }
    // Beyond gossipsub's own limit it closes the stream without an event, but the node continues.
    let peer = newcomer(&scene);
    peer.publish(Topic::Blocks, &vec![7; 3 * 1024 * 1024]);
    scene.assert_unmoved(0, &scene.forge.genesis.header);
    let other = newcomer(&scene);
    assert!(other.ask(&Request::Sync(SyncRequest::GetMempool)).is_ok());
}

/// Serves a branch of two good blocks, with the answers that `lie` returns in place of honest ones.
#[track_caller]
fn assert_lie_penalised(
    lie: impl Fn(&Scene, &Request) -> Option<Response> + Send + 'static,
    offence: &str,
) {
    let scene = Scene::new();
    let blocks = scene.forge.chain(&scene.forge.genesis.header, 2);
    let branch = Branch::new(&scene.forge.genesis, &blocks);
    // The responder must be `'static`, so compute its lies beforehand.
    let lies = [
        Request::Sync(SyncRequest::GetBlocks(GetBlocks { locator: Vec::new(), limit: 1, skip: 0 })),
        Request::Sync(SyncRequest::GetData(Vec::new())),
        Request::Sync(SyncRequest::GetMempool),
        Request::Sync(SyncRequest::GetRange(GetRange {
            first: BlockHash([0; 32]),
            count: 1,
            bytes: 1,
        })),
    ]
    .map(|request| lie(&scene, &request).map(|response| response.encode().expect("fits")));
    let responder = branch.responder_but(move |request| match request {
        Request::Sync(SyncRequest::GetBlocks(_)) => lies[0].clone(),
        Request::Sync(SyncRequest::GetData(_)) => lies[1].clone(),
        Request::Sync(SyncRequest::GetMempool) => lies[2].clone(),
        Request::Sync(SyncRequest::GetRange(_)) => lies[3].clone(),
        _ => None,
    });
    let peer = TestPeer::connect(&scene.node, scene.forge.network, responder);
    let _ = peer.ask(&Request::Hello(HelloRequest::Status(branch.status())));
    let penalty =
        scene.node.await_event("peer_penalised", |event| event["peer"] == peer.id.to_string());
    assert_eq!(penalty["offence"], offence, "{penalty}");
    scene.assert_unmoved(0, &scene.forge.genesis.header);
}

#[test]
fn a_block_that_was_not_asked_for_is_a_wrong_answer() {
    assert_lie_penalised(
        |scene, request| {
            let Request::Sync(SyncRequest::GetRange(_)) = request else { return None };
            let other = scene
                .forge
                .block(&scene.forge.genesis.header, vec![scene.forge.note(1, "unasked")]);
            Some(Response::Sync(SyncResponse::Blocks(ByteBuf::from(other.to_bytes()))))
        },
        "wrong_answer",
    );
}

#[test]
fn headers_that_do_not_follow_from_the_locator_are_refused() {
    assert_lie_penalised(
        |scene, request| {
            let Request::Sync(SyncRequest::GetBlocks(_)) = request else { return None };
            let stray = scene.forge.chain(&scene.forge.genesis.header, 3);
            Some(Response::Sync(SyncResponse::Inv(ByteBuf::from(stray[2].header.to_bytes()))))
        },
        "wrong_answer",
    );
}

#[test]
fn an_answer_to_another_question_is_a_wrong_answer() {
    assert_lie_penalised(
        |_, request| {
            let Request::Sync(SyncRequest::GetBlocks(_)) = request else { return None };
            Some(Response::Sync(SyncResponse::MempoolIds(Vec::new())))
        },
        "wrong_answer",
    );
}

#[test]
fn an_answer_of_random_bytes_is_malformed() {
    let scene = Scene::new();
    let branch =
        Branch::new(&scene.forge.genesis, &scene.forge.chain(&scene.forge.genesis.header, 1));
    let responder =
        branch.responder_but(|request| matches!(request, Request::Sync(_)).then(|| noise(500)));
    let peer = TestPeer::connect(&scene.node, scene.forge.network, responder);
    let _ = peer.ask(&Request::Hello(HelloRequest::Status(branch.status())));
    assert_penalised(&scene, &peer, "malformed", "");
}

/// Checks lines and goodbyes in another peer's name, which the seed accepted.
#[test]
fn forged_lines_and_goodbyes_are_refused() {
    let scene = Scene::new();
    let network = scene.forge.network;
    let victim = newcomer(&scene);
    let mark = scene.node.log_mark();

    let liar = newcomer(&scene);
    let sign = |message: &[u8]| liar.sign(message);
    let line = SignedLine::sign(&network, victim.id, None, now(), 1, "I am the victim", &sign)
        .expect("a line");
    liar.publish(Topic::Chat, &Gossip::Chat(ChatGossip::Line(line)).encode().expect("fits"));
    assert_penalised(&scene, &liar, "bad_signature", "");

    let liar = newcomer(&scene);
    let sign = |message: &[u8]| liar.sign(message);
    let quit = SignedQuit::sign(&network, victim.id, now(), 1, &sign);
    liar.publish(Topic::Chat, &Gossip::Chat(ChatGossip::Quit(quit)).encode().expect("fits"));
    assert_penalised(&scene, &liar, "bad_signature", "");

    let gone = scene.node.events_since(mark, |event| {
        matches!(event["event"].as_str(), Some("friend_left" | "chat_received"))
            && [&event["peer"], &event["from"]].iter().any(|peer| **peer == victim.id.to_string())
    });
    assert!(gone.is_empty(), "{gone:?}");
}

#[test]
fn direct_lines_of_others_or_to_others_are_refused() {
    let scene = Scene::new();
    let network = scene.forge.network;
    let node = scene.node.status()["peer_id"].as_str().expect("an id").parse().expect("a peer id");
    let friend = newcomer(&scene);

    // A line with a friend's valid signature, but sent by another peer.
    let courier = newcomer(&scene);
    let sign = |message: &[u8]| friend.sign(message);
    let line = SignedLine::sign(&network, friend.id, Some(node), now(), 1, "carried", &sign)
        .expect("a line");
    let _ = courier.ask(&Request::Chat(ChatRequest::Direct(line)));
    assert_penalised(&scene, &courier, "not_the_author", "");

    // A line to another friend.
    let sign = |message: &[u8]| friend.sign(message);
    let line = SignedLine::sign(&network, friend.id, Some(courier.id), now(), 2, "lost", &sign)
        .expect("a line");
    let _ = friend.ask(&Request::Chat(ChatRequest::Direct(line)));
    assert_penalised(&scene, &friend, "not_the_author", "");
}

#[test]
fn a_profile_that_its_friend_did_not_sign_is_refused() {
    let scene = Scene::new();
    let peer = newcomer(&scene);
    let other = Keypair::generate_ed25519();
    let sign = |message: &[u8]| {
        let bytes = other.sign(message).expect("ed25519 signs");
        friendchain::primitives::Signature(bytes.try_into().expect("64 bytes"))
    };
    let profile =
        SignedProfile::sign(&scene.forge.network, peer.id, "yjf", Vec::new(), None, now(), &sign);
    let _ = peer.ask(&Request::Friends(FriendsRequest::Introduce(profile.expect("a profile"))));
    assert_penalised(&scene, &peer, "bad_signature", "");
    assert_eq!(scene.node.folder.json(["friends"])["friends"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_nuisance_is_banned_at_last() {
    let scene = Scene::new();
    let peer = newcomer(&scene);
    for _ in 0..5 {
        let _ = peer.ask_bytes(Protocol::Chat, noise(64));
    }
    scene.node.await_event("peer_penalised", |event| {
        event["peer"] == peer.id.to_string() && event["banned"] == true
    });
    peer.await_dropped();
    scene.assert_unmoved(0, &scene.forge.genesis.header);
}
