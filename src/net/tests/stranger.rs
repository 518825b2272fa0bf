//! A stranger: a peer of bare libp2p that sends any bytes a test chooses.

use std::{io, sync::Arc, time::Duration};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, StreamProtocol, Swarm, SwarmBuilder, gossipsub, noise, request_response,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use tokio::{sync::Semaphore, time::timeout};

use super::{DEADLINE, NETWORK};
use crate::wire::{Protocol, Topic};

#[derive(Debug, Clone, Default)]
pub(super) struct RawCodec {
    /// If given, requests end only once it is closed. They fail if the far end drops them before.
    open: Option<Arc<Semaphore>>,
}

impl request_response::Codec for RawCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await.map(|_| bytes)
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        protocol: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        self.read_request(protocol, io).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&bytes).await?;
        let Some(open) = &self.open else { return Ok(()) };
        // A stream that the far end has dropped fails when more is written to it.
        while timeout(Duration::from_millis(10), open.acquire()).await.is_err() {
            io.write_all(&[0]).await?;
            io.flush().await?;
        }
        Ok(())
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&bytes).await
    }
}

#[derive(NetworkBehaviour)]
pub(super) struct StrangerBehaviour {
    pub(super) requests: request_response::Behaviour<RawCodec>,
    pub(super) gossip: gossipsub::Behaviour,
}

pub(super) type StrangerEvent = SwarmEvent<StrangerBehaviourEvent>;

/// A swarm with one request protocol of ours and gossip, signed and with settings of its own.
pub(super) struct Stranger {
    pub(super) swarm: Swarm<StrangerBehaviour>,
}

impl Stranger {
    pub(super) fn new(protocol: Protocol, gossip: gossipsub::Config, subscribes: bool) -> Self {
        Self::asking_on(protocol.id(&NETWORK), gossip, subscribes)
    }

    /// Makes a stranger whose requests do not end until the semaphore is closed.
    pub(super) fn holding(protocol: Protocol, open: Arc<Semaphore>) -> Self {
        let codec = RawCodec { open: Some(open) };
        Self::with(protocol.id(&NETWORK), codec, gossipsub::Config::default(), false)
    }

    /// Makes a stranger that sends its requests on any protocol.
    pub(super) fn asking_on(name: String, gossip: gossipsub::Config, subscribes: bool) -> Self {
        Self::with(name, RawCodec::default(), gossip, subscribes)
    }

    fn with(name: String, codec: RawCodec, gossip: gossipsub::Config, subscribes: bool) -> Self {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|keypair| StrangerBehaviour {
                requests: request_response::Behaviour::with_codec(
                    codec,
                    [(
                        StreamProtocol::try_from_owned(name).unwrap(),
                        request_response::ProtocolSupport::Full,
                    )],
                    request_response::Config::default().with_request_timeout(DEADLINE),
                ),
                gossip: gossipsub::Behaviour::new(
                    gossipsub::MessageAuthenticity::Signed(keypair.clone()),
                    gossip,
                )
                .unwrap(),
            })
            .unwrap()
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(Duration::from_mins(10))
            })
            .build();
        if subscribes {
            for topic in Topic::ALL {
                swarm.behaviour_mut().gossip.subscribe(&Self::topic(topic)).unwrap();
            }
        }
        Self { swarm }
    }

    pub(super) fn topic(topic: Topic) -> gossipsub::IdentTopic {
        gossipsub::IdentTopic::new(topic.name(&NETWORK))
    }

    pub(super) fn id(&self) -> crate::primitives::PeerId {
        crate::net::peer::from_libp2p(self.swarm.local_peer_id()).unwrap()
    }

    /// Runs until `wanted` returns a value for an event.
    pub(super) async fn until<T>(&mut self, wanted: impl Fn(StrangerEvent) -> Option<T>) -> T {
        let search = async {
            loop {
                if let Some(found) = wanted(self.swarm.select_next_some().await) {
                    return found;
                }
            }
        };
        tokio::time::timeout(DEADLINE, search).await.expect("the event comes before the deadline")
    }

    pub(super) async fn listen(&mut self) -> Multiaddr {
        self.swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        self.until(|event| match event {
            SwarmEvent::NewListenAddr { address, .. } => Some(address),
            _ => None,
        })
        .await
    }

    /// Runs until the node under test subscribes to a topic.
    pub(super) async fn hears_subscription(&mut self, topic: Topic) {
        let hash = Self::topic(topic).hash();
        self.until(|event| match event {
            SwarmEvent::Behaviour(StrangerBehaviourEvent::Gossip(
                gossipsub::Event::Subscribed { topic, .. },
            )) if topic == hash => Some(()),
            _ => None,
        })
        .await;
    }

    pub(super) async fn connect(&mut self, address: &str) -> libp2p::PeerId {
        self.swarm.dial(address.parse::<Multiaddr>().unwrap()).unwrap();
        self.until(|event| match event {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => Some(peer_id),
            _ => None,
        })
        .await
    }

    /// Sends bytes as a request. Returns the bytes of the response; `None` if the request failed.
    pub(super) async fn ask(&mut self, peer: &libp2p::PeerId, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let id = self.swarm.behaviour_mut().requests.send_request(peer, bytes);
        self.until(|event| match event {
            SwarmEvent::Behaviour(StrangerBehaviourEvent::Requests(
                request_response::Event::Message {
                    message: request_response::Message::Response { request_id, response },
                    ..
                },
            )) if request_id == id => Some(Some(response)),
            SwarmEvent::Behaviour(StrangerBehaviourEvent::Requests(
                request_response::Event::OutboundFailure { request_id, .. },
            )) if request_id == id => Some(None),
            _ => None,
        })
        .await
    }

    /// Sends so many requests with these bytes, and waits for none.
    pub(super) fn ask_many(&mut self, peer: &libp2p::PeerId, bytes: &[u8], count: usize) {
        for _ in 0..count {
            self.swarm.behaviour_mut().requests.send_request(peer, bytes.to_vec());
        }
    }

    /// Runs until so many of its requests have ended, with or without a response.
    pub(super) async fn have_ended(&mut self, count: usize) {
        for _ in 0..count {
            self.until(|event| match event {
                SwarmEvent::Behaviour(StrangerBehaviourEvent::Requests(
                    request_response::Event::OutboundFailure { .. }
                    | request_response::Event::Message {
                        message: request_response::Message::Response { .. },
                        ..
                    },
                )) => Some(()),
                _ => None,
            })
            .await;
        }
    }

    /// Answers every request with these bytes, for as long as it is polled.
    pub(super) async fn answer_all(mut self, bytes: Vec<u8>) {
        loop {
            if let SwarmEvent::Behaviour(StrangerBehaviourEvent::Requests(
                request_response::Event::Message {
                    message: request_response::Message::Request { channel, .. },
                    ..
                },
            )) = self.swarm.select_next_some().await
            {
                let _ = self.swarm.behaviour_mut().requests.send_response(channel, bytes.clone());
            }
        }
    }

    /// Runs for as long as it is polled, whatever happens.
    pub(super) async fn live(mut self) {
        loop {
            self.swarm.select_next_some().await;
        }
    }
}
