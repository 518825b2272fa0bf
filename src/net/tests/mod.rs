//! Tests of the network on real sockets of the loopback interface. Tests await events, with a
//! deadline that only a failure meets.

mod connections;
mod gossip;
mod hints;
mod liar;
mod places;
mod relay;
mod relay_bounds;
mod requests;
mod stranger;

use std::time::Duration;

use prometheus_client::registry::Registry;
use serde_bytes::ByteBuf;
use tokio::sync::mpsc;

use super::{Identity, NetConfig, NetEvent, NetHandle, address_book::BackOff, spawn};
use crate::{
    peers::Trust,
    primitives::{BlockHash, NetworkId, PeerId, SHORT_ID_BYTES, Signature},
    wire::{ChatGossip, CompactBlock, Gossip, HelloRequest, HelloResponse, SignedLine, Status},
};

const DEADLINE: Duration = Duration::from_mins(1);
const NETWORK: NetworkId = BlockHash([7; 32]);

/// A node under test: its handle, its events, and the address at which it listens.
struct Node {
    handle: NetHandle,
    events: mpsc::Receiver<NetEvent>,
    address: String,
}

/// Returns settings on loopback, with short times. All peers are friends. No node sends a hello, so
/// none is required.
fn config() -> NetConfig {
    let mut config = NetConfig::new(Identity::generate(), NETWORK);
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    config.mdns = false;
    config.trust = Trust::new([], true);
    config.tuning.hello_time = Duration::from_hours(1);
    config.tuning.back_off =
        BackOff { first: Duration::from_millis(50), longest: Duration::from_millis(400) };
    config
}

impl Node {
    async fn start() -> Self {
        Self::with(config()).await
    }

    async fn with(config: NetConfig) -> Self {
        let (handle, events) = spawn(config, &mut Registry::default()).unwrap();
        let mut node = Self { handle, events, address: String::new() };
        node.address = node
            .until(|event| match event {
                NetEvent::Listening { address } => Some(address),
                _ => None,
            })
            .await;
        node
    }

    fn id(&self) -> PeerId {
        self.handle.peer_id()
    }

    /// Returns the address with `/p2p/`.
    fn full_address(&self) -> String {
        format!("{}/p2p/{}", self.address, self.id())
    }

    /// Reads events until `wanted` returns a value, and drops the others.
    async fn until<T>(&mut self, wanted: impl Fn(NetEvent) -> Option<T>) -> T {
        let search = async {
            loop {
                let event = self.events.recv().await.expect("the network runs");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(DEADLINE, search).await.expect("the event comes before the deadline")
    }

    async fn connected_to(&mut self, peer: PeerId) {
        self.until(|event| match event {
            NetEvent::PeerConnected { peer: who, .. } if who == peer => Some(()),
            _ => None,
        })
        .await;
    }

    async fn disconnected_from(&mut self, peer: PeerId) -> String {
        self.until(|event| match event {
            NetEvent::PeerDisconnected { peer: who, reason } if who == peer => Some(reason),
            _ => None,
        })
        .await
    }

    async fn subscribed(&mut self, peer: PeerId, topic: crate::wire::Topic) {
        self.until(|event| match event {
            NetEvent::Subscribed { peer: who, topic: what } if who == peer && what == topic => {
                Some(())
            }
            _ => None,
        })
        .await;
    }

    /// Returns the next gossip, its id and the peer that forwarded it.
    async fn gossip(&mut self) -> (PeerId, super::GossipId, Gossip) {
        self.until(|event| match event {
            NetEvent::GossipReceived { peer, message, gossip } => Some((peer, message, gossip)),
            _ => None,
        })
        .await
    }
}

/// Starts two nodes that are connected.
async fn pair() -> (Node, Node) {
    let (mut a, mut b) = (Node::start().await, Node::start().await);
    a.handle.dial(&b.full_address()).await.unwrap();
    a.connected_to(b.id()).await;
    b.connected_to(a.id()).await;
    (a, b)
}

fn status(height: u32) -> Status {
    Status {
        version: 1,
        features: 0,
        network: NETWORK,
        tip: BlockHash([1; 32]),
        height,
        work: ByteBuf::from(vec![0; 32]),
        time: 1,
        mempool: 0,
    }
}

fn hello(height: u32) -> HelloRequest {
    HelloRequest::Status(status(height))
}

fn hello_back(height: u32) -> HelloResponse {
    HelloResponse::Status(status(height))
}

fn line(author: PeerId, text: &str) -> SignedLine {
    SignedLine {
        author,
        to: None,
        time: 1,
        counter: 1,
        text: text.to_owned(),
        signature: Signature([3; 64]),
    }
}

fn chat(author: PeerId, text: &str) -> Gossip {
    Gossip::Chat(ChatGossip::Line(line(author, text)))
}

/// Returns a block announcement of the maximum size.
fn big_block(number: u8) -> Gossip {
    Gossip::Block(crate::wire::BlockGossip::Compact(CompactBlock {
        header: ByteBuf::from(vec![number; crate::primitives::HEADER_BYTES]),
        coinbase: ByteBuf::from(vec![number; 99_000]),
        short_ids: ByteBuf::from(vec![number; SHORT_ID_BYTES * crate::wire::limits::MAX_SHORT_IDS]),
    }))
}
