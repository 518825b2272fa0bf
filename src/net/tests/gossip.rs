//! Tests of gossip: verdicts, messages without subscribers yet, and gossip that is lost.

use std::time::Duration;

use libp2p::{gossipsub, swarm::SwarmEvent};

use super::{
    Node, big_block, chat, config, pair,
    stranger::{Stranger, StrangerBehaviourEvent},
};
use crate::{
    net::{NetEvent, NetOffence, Told, Verdict, gossip::LivenessTimes},
    wire::{Protocol, Topic},
};

/// Starts three nodes in a line: a – b – c, where each neighbour has subscribed to the topic.
async fn line_of_three() -> (Node, Node, Node) {
    let (a, mut b, c) = (Node::start().await, Node::start().await, Node::start().await);
    a.handle.dial(&b.full_address()).await.unwrap();
    b.subscribed(a.id(), Topic::Chat).await;
    c.handle.dial(&b.full_address()).await.unwrap();
    b.subscribed(c.id(), Topic::Chat).await;
    (a, b, c)
}

#[tokio::test]
async fn gossip_is_handed_on_after_accept_and_only_then() {
    let (mut a, mut b, mut c) = line_of_three().await;
    a.subscribed(b.id(), Topic::Chat).await;
    for (text, verdict) in
        [("ignored", Verdict::Ignore), ("rejected", Verdict::Reject), ("good", Verdict::Accept)]
    {
        a.handle.publish(&chat(a.id(), text)).unwrap();
        let (source, message, gossip) = b.gossip().await;
        assert_eq!((source, &gossip), (a.id(), &chat(a.id(), text)));
        b.handle.verdict(message, verdict).unwrap();
    }
    let (source, _, gossip) = c.gossip().await;
    assert_eq!(
        (source, gossip),
        (b.id(), chat(a.id(), "good")),
        "the first message to arrive is the accepted one"
    );
}

#[tokio::test]
async fn what_is_published_before_anybody_listens_arrives() {
    let (a, mut b) = (Node::start().await, Node::start().await);
    a.handle.publish(&chat(a.id(), "early")).unwrap();
    a.handle.publish(&chat(a.id(), "bird")).unwrap();
    a.handle.dial(&b.full_address()).await.unwrap();
    let mut texts = vec![b.gossip().await.2, b.gossip().await.2];
    texts.sort_by_key(|gossip| format!("{gossip:?}"));
    assert_eq!(texts, [chat(a.id(), "bird"), chat(a.id(), "early")]);
}

#[tokio::test]
async fn a_burst_of_the_largest_payloads_arrives_whole() {
    let (mut a, mut b) = pair().await;
    a.subscribed(b.id(), Topic::Blocks).await;
    for number in 0..40 {
        a.handle.publish(&big_block(number)).unwrap();
    }
    for number in 0..40 {
        let (_, message, gossip) = b.gossip().await;
        b.handle.verdict(message, Verdict::Accept).unwrap();
        assert_eq!(gossip, big_block(number));
    }
    a.handle.publish(&chat(a.id(), "still there")).unwrap();
    assert_eq!(b.gossip().await.2, chat(a.id(), "still there"));
}

#[tokio::test]
async fn garbage_is_rejected_and_told() {
    let mut node = Node::start().await;
    let mut stranger = Stranger::new(Protocol::Hello, gossipsub::Config::default(), true);
    let me = stranger.id();
    stranger.connect(&node.address).await;
    stranger.hears_subscription(Topic::Blocks).await;
    stranger
        .swarm
        .behaviour_mut()
        .gossip
        .publish(Stranger::topic(Topic::Blocks), vec![0xff; 50])
        .unwrap();
    let server = tokio::spawn(stranger.live());
    let (peer, offence) = node
        .until(|event| match event {
            NetEvent::Misbehaved { peer, offence, .. } => Some((peer, offence)),
            _ => None,
        })
        .await;
    assert_eq!((peer, offence), (me, NetOffence::MalformedGossip));
    server.abort();
}

/// Starts a stranger and an honest node, both connected to a node under test. Returns the node, the
/// honest node and the stranger.
async fn node_between_honest_and_stranger() -> (Node, Node, Stranger) {
    let (node, mut honest) = (Node::start().await, Node::start().await);
    honest.handle.add_known(node.id(), std::slice::from_ref(&node.address), Told::ByUser).unwrap();
    honest.subscribed(node.id(), Topic::Chat).await;
    let mut stranger = Stranger::new(Protocol::Hello, gossipsub::Config::default(), true);
    stranger.connect(&node.address).await;
    stranger.hears_subscription(Topic::Chat).await;
    (node, honest, stranger)
}

#[tokio::test]
async fn what_a_muted_peer_forwards_first_still_comes_from_another() {
    let (mut node, honest, mut stranger) = node_between_honest_and_stranger().await;
    node.handle.mute(stranger.id(), Topic::Chat, 3_600_000).unwrap();
    // The network carries out commands in their order.
    node.handle.peers().await.unwrap();
    let line = chat(honest.id(), "first");
    let payloads = vec![line.encode().unwrap(), chat(honest.id(), "second").encode().unwrap()];
    publish_strange(&mut stranger, Topic::Chat, payloads).await;
    honest.handle.publish(&line).unwrap();
    let (source, _, gossip) = node.gossip().await;
    assert_eq!((source, gossip), (honest.id(), line));
}

/// Publishes a stranger's payloads on a topic, and runs the stranger for a moment.
async fn publish_strange(stranger: &mut Stranger, topic: Topic, payloads: Vec<Vec<u8>>) {
    for payload in payloads {
        stranger.swarm.behaviour_mut().gossip.publish(Stranger::topic(topic), payload).unwrap();
    }
    let run = stranger.until(|_| None::<()>);
    let _ = tokio::time::timeout(Duration::from_secs(1), run).await;
}

/// Waits until a peer has broken rules of the wire this many times.
async fn misbehaved(node: &mut Node, count: usize) {
    for _ in 0..count {
        node.until(|event| match event {
            NetEvent::Misbehaved { .. } => Some(()),
            _ => None,
        })
        .await;
    }
}

#[tokio::test]
async fn gossip_of_a_peer_with_rejected_messages_is_dropped_and_of_others_is_not() {
    let (mut node, honest, mut stranger) = node_between_honest_and_stranger().await;
    let encoded = |text: &str, author| vec![chat(author, text).encode().unwrap()];
    let author = stranger.id();
    publish_strange(&mut stranger, Topic::Chat, encoded("before", author)).await;
    assert_eq!(node.gossip().await.2, chat(author, "before"));
    let garbage = (0..3).map(|number| vec![0xff; 50 + number]).collect();
    publish_strange(&mut stranger, Topic::Blocks, garbage).await;
    misbehaved(&mut node, 3).await;
    publish_strange(&mut stranger, Topic::Chat, encoded("after", author)).await;
    let server = tokio::spawn(stranger.live());
    // Both peers have the same IP address.
    honest.handle.publish(&chat(honest.id(), "honest")).unwrap();
    let (source, _, gossip) = node.gossip().await;
    assert_eq!((source, gossip), (honest.id(), chat(honest.id(), "honest")));
    server.abort();
}

#[tokio::test]
async fn bytes_that_come_first_on_another_topic_silence_nothing() {
    let (mut node, honest, mut stranger) = node_between_honest_and_stranger().await;
    let lines: Vec<_> = (0..2).map(|number| chat(honest.id(), &format!("line {number}"))).collect();
    let stolen = lines.iter().map(|line| line.encode().unwrap()).collect();
    publish_strange(&mut stranger, Topic::Blocks, stolen).await;
    misbehaved(&mut node, 2).await;
    let server = tokio::spawn(stranger.live());
    for line in &lines {
        honest.handle.publish(line).unwrap();
    }
    let heard = [node.gossip().await, node.gossip().await];
    assert!(heard.iter().all(|(source, ..)| *source == honest.id()));
    assert!(lines.iter().all(|line| heard.iter().any(|(.., gossip)| gossip == line)));
    server.abort();
}

/// Returns a gossipsub frame with one message.
fn frame(topic: &str, data: &[u8]) -> Vec<u8> {
    let field =
        |tag: u8, bytes: &[u8]| [&[tag, u8::try_from(bytes.len()).unwrap()][..], bytes].concat();
    let message = [field(0x12, data), field(0x22, topic.as_bytes())].concat();
    let publish = field(0x12, &message);
    [&[u8::try_from(publish.len()).unwrap()][..], &publish].concat()
}

/// Connects a stranger that writes its own gossip frames to the node.
async fn raw_gossiper(node: &Node) -> (Stranger, libp2p::PeerId) {
    let gossip = gossipsub::Config::default();
    let mut stranger = Stranger::asking_on("/meshsub/1.1.0".to_owned(), gossip, false);
    let peer = stranger.connect(&node.address).await;
    (stranger, peer)
}

#[tokio::test]
async fn gossip_on_a_foreign_topic_is_charged() {
    let mut node = Node::start().await;
    let (mut stranger, peer) = raw_gossiper(&node).await;
    let me = stranger.id();
    let bytes = frame("elsewhere", b"bytes");
    stranger.swarm.behaviour_mut().requests.send_request(&peer, bytes);
    let server = tokio::spawn(stranger.live());
    let (peer, offence) = node
        .until(|event| match event {
            NetEvent::Misbehaved { peer, offence, .. } => Some((peer, offence)),
            _ => None,
        })
        .await;
    assert_eq!((peer, offence), (me, NetOffence::ForeignTopic));
    server.abort();
}

#[tokio::test]
async fn signed_gossip_of_others_is_taken_and_ours_names_nobody() {
    let mut node = Node::start().await;
    let settings = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Permissive)
        .build()
        .unwrap();
    let mut stranger = Stranger::new(Protocol::Hello, settings, true);
    let author = stranger.id();
    stranger.connect(&node.address).await;
    stranger.hears_subscription(Topic::Chat).await;
    let payload = chat(author, "from abroad").encode().unwrap();
    stranger.swarm.behaviour_mut().gossip.publish(Stranger::topic(Topic::Chat), payload).unwrap();
    let handle = node.handle.clone();
    handle.publish(&chat(node.id(), "to abroad")).unwrap();
    let (heard, source, number) = stranger
        .until(|event| match event {
            SwarmEvent::Behaviour(StrangerBehaviourEvent::Gossip(gossipsub::Event::Message {
                message,
                ..
            })) => Some((message.data, message.source, message.sequence_number)),
            _ => None,
        })
        .await;
    assert_eq!(heard, chat(node.id(), "to abroad").encode().unwrap());
    assert_eq!((source, number), (None, None));
    let server = tokio::spawn(stranger.live());
    assert_eq!(node.gossip().await.2, chat(author, "from abroad"));
    server.abort();
}

#[tokio::test]
async fn a_list_of_thousands_of_messages_does_not_deafen() {
    // A peer without a mesh lists its messages to all peers in each heartbeat: here 2,000 ids in
    // one frame.
    let settings = gossipsub::ConfigBuilder::default()
        .message_id_fn(|message| {
            crate::net::behaviour::message_id(&message.topic, &message.data).to_vec().into()
        })
        .mesh_n(0)
        .mesh_n_low(0)
        .mesh_n_high(0)
        .mesh_outbound_min(0)
        .gossip_lazy(10)
        .heartbeat_interval(Duration::from_secs(3))
        .build()
        .unwrap();
    let mut stranger = Stranger::new(Protocol::Hello, settings, true);
    let author = stranger.id();
    let address = stranger.listen().await;
    let mut wants = config();
    wants.peers = vec![address.to_string()];
    let mut node = Node::with(wants).await;
    stranger.hears_subscription(Topic::Chat).await;
    for number in 0..2_000 {
        let payload = chat(author, &format!("line {number}")).encode().unwrap();
        stranger
            .swarm
            .behaviour_mut()
            .gossip
            .publish(Stranger::topic(Topic::Chat), payload)
            .unwrap();
    }
    // To wait for two heartbeats would take long. Messages that still arrive after the lists show
    // the same.
    let server = tokio::spawn(async move {
        let mut number = 0;
        loop {
            let _ =
                tokio::time::timeout(Duration::from_secs(1), stranger.until(|_| None::<()>)).await;
            let payload = chat(author, &format!("later {number}")).encode().unwrap();
            let _ = stranger
                .swarm
                .behaviour_mut()
                .gossip
                .publish(Stranger::topic(Topic::Chat), payload);
            number += 1;
        }
    });
    loop {
        let (_, message, gossip) = node.gossip().await;
        node.handle.verdict(message, Verdict::Accept).unwrap();
        if gossip == chat(author, "later 8") {
            break;
        }
    }
    server.abort();
}

#[tokio::test]
async fn a_peer_whose_gossip_went_deaf_is_connected_anew() {
    let quick = |frame: Option<usize>| {
        let mut config = config();
        config.tuning.probe_interval = Duration::from_millis(200);
        config.tuning.liveness = LivenessTimes {
            silence: Duration::from_millis(1_500),
            subscribe: Duration::from_secs(30),
            between_reconnections: Duration::from_secs(1),
        };
        if let Some(frame) = frame {
            config.tuning.max_gossip_frame = frame;
        }
        config
    };
    let mut a = Node::with(quick(None)).await;
    // B accepts smaller frames than any real node: a large one closes its inbound stream for good.
    let mut b = Node::with(quick(Some(64 * 1024))).await;
    a.handle.dial(&b.full_address()).await.unwrap();
    a.subscribed(b.id(), Topic::Blocks).await;
    a.handle.publish(&big_block(1)).unwrap();
    assert!(b.disconnected_from(a.id()).await.contains("deaf"));
    b.subscribed(a.id(), Topic::Chat).await;
    a.subscribed(b.id(), Topic::Chat).await;
    a.handle.publish(&chat(a.id(), "do you hear me?")).unwrap();
    assert_eq!(b.gossip().await.2, chat(a.id(), "do you hear me?"));
}

#[tokio::test]
async fn peers_that_probe_each_other_stay_connected() {
    let quick = || {
        let mut config = config();
        config.tuning.probe_interval = Duration::from_millis(100);
        config.tuning.liveness = LivenessTimes {
            silence: Duration::from_secs(3),
            subscribe: Duration::from_secs(3),
            between_reconnections: Duration::from_secs(1),
        };
        config
    };
    let (a, mut b) = (Node::with(quick()).await, Node::with(quick()).await);
    a.handle.dial(&b.full_address()).await.unwrap();
    b.connected_to(a.id()).await;
    let lost = tokio::time::timeout(Duration::from_secs(4), b.disconnected_from(a.id())).await;
    assert!(lost.is_err(), "still connected after more than the time that silence may take");
}
