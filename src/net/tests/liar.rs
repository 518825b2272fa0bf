//! A friend that offers to relay, grants reservations, and then lies or stalls.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, StreamProtocol, Swarm, SwarmBuilder, identify, identity, noise, relay,
    request_response::{self, ProtocolSupport, ResponseChannel},
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{DEADLINE, NETWORK, stranger::RawCodec};
use crate::{
    net::{Identity, peer::from_libp2p},
    primitives::PeerId,
    wire::Protocol,
};

/// The conduct of a relay.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lie {
    /// It refuses each circuit.
    Refuses,
    /// It accepts each circuit, and forwards nothing.
    Swallows,
    /// It grants a reservation only after this time.
    Late(Duration),
    /// Its reservations end at once, so that they must be renewed without end.
    Hurries,
    /// It names many addresses.
    Rambles,
}

/// The first byte of CONNECT's type in a message on `hop`.
const CONNECT: u8 = 1;
const OK: u8 = 100;
const RESOURCE_LIMIT_EXCEEDED: u8 = 201;

/// An answer on `hop`, and true if the stream then stays open.
type Answer = (Vec<u8>, bool);

/// The codec of `hop`: a request is one message, after its length in one byte.
#[derive(Debug, Clone, Default)]
struct HopCodec;

impl request_response::Codec for HopCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Answer;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        let mut length = [0];
        io.read_exact(&mut length).await?;
        let mut message = vec![0; usize::from(length[0])];
        io.read_exact(&mut message).await.map(|()| message)
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
    ) -> io::Result<Answer> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
        _: Vec<u8>,
    ) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        (bytes, stays): Answer,
    ) -> io::Result<()> {
        io.write_all(&bytes).await?;
        io.flush().await?;
        if stays {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

#[derive(NetworkBehaviour)]
struct LiarBehaviour {
    identify: identify::Behaviour,
    /// Shows that the liar is in the network. It answers nothing.
    sync: request_response::Behaviour<RawCodec>,
    hop: request_response::Behaviour<HopCodec>,
}

/// A running liar; stopped when dropped.
pub(super) struct Liar {
    pub(super) id: PeerId,
    /// Its address, with its id.
    pub(super) address: String,
    circuits: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Liar {
    pub(super) async fn start(identity: &Identity, lie: Lie) -> Self {
        let mut swarm = swarm(identity.keypair());
        let id = from_libp2p(swarm.local_peer_id()).unwrap();
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let listening = async {
            loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    return address;
                }
            }
        };
        let at = tokio::time::timeout(DEADLINE, listening).await.expect("it listens");
        swarm.add_external_address(at.clone());
        let circuits = Arc::new(AtomicUsize::new(0));
        let address = format!("{at}/p2p/{id}");
        let named: Multiaddr = address.parse().unwrap();
        let task = tokio::spawn(relay(swarm, named, lie, Arc::clone(&circuits)));
        Self { id, address, circuits, task }
    }

    /// Returns the number of circuits that it was asked for.
    pub(super) fn circuits(&self) -> usize {
        self.circuits.load(Ordering::Relaxed)
    }

    /// Returns the address at which the liar pretends to relay.
    pub(super) fn relayed(&self) -> String {
        format!("{}/p2p-circuit", self.address)
    }
}

fn swarm(keypair: identity::Keypair) -> Swarm<LiarBehaviour> {
    let sync = StreamProtocol::try_from_owned(Protocol::Sync.id(&NETWORK)).unwrap();
    let settings =
        request_response::Config::default().with_request_timeout(Duration::from_hours(1));
    SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|keypair| LiarBehaviour {
            identify: identify::Behaviour::new(identify::Config::new(
                "/friendchain/1".to_owned(),
                keypair.public(),
            )),
            sync: request_response::Behaviour::new(
                [(sync, ProtocolSupport::Inbound)],
                request_response::Config::default(),
            ),
            hop: request_response::Behaviour::new(
                [(relay::HOP_PROTOCOL_NAME, ProtocolSupport::Inbound)],
                settings,
            ),
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_hours(1)))
        .build()
}

/// Answers on `hop` for ever.
async fn relay(
    mut swarm: Swarm<LiarBehaviour>,
    named: Multiaddr,
    lie: Lie,
    circuits: Arc<AtomicUsize>,
) {
    let (later, mut due) = mpsc::unbounded_channel::<ResponseChannel<Answer>>();
    loop {
        let event = tokio::select! {
            Some(channel) = due.recv() => {
                let granted = (grant(&named, lie), false);
                let _ = swarm.behaviour_mut().hop.send_response(channel, granted);
                continue;
            }
            event = swarm.select_next_some() => event,
        };
        let SwarmEvent::Behaviour(LiarBehaviourEvent::Hop(request_response::Event::Message {
            message: request_response::Message::Request { request, channel, .. },
            ..
        })) = event
        else {
            continue;
        };
        let answer = if request.get(1) == Some(&CONNECT) {
            circuits.fetch_add(1, Ordering::Relaxed);
            match lie {
                Lie::Swallows => (status(OK), true),
                _ => (status(RESOURCE_LIMIT_EXCEEDED), false),
            }
        } else if let Lie::Late(time) = lie {
            let later = later.clone();
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                let _ = later.send(channel);
            });
            continue;
        } else {
            (grant(&named, lie), false)
        };
        let _ = swarm.behaviour_mut().hop.send_response(channel, answer);
    }
}

/// Returns a number below 2^14 as a varint.
fn short(number: usize) -> Vec<u8> {
    let low = u8::try_from(number & 0x7f).unwrap();
    if number < 0x80 { vec![low] } else { vec![low | 0x80, u8::try_from(number >> 7).unwrap()] }
}

/// Returns a field of bytes of a protobuf message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2], &short(bytes.len())[..], bytes].concat()
}

/// Returns STATUS with a code, after its length.
fn status(code: u8) -> Vec<u8> {
    let message = [&[0x08, 2, 0x28][..], &short(code.into())].concat();
    [short(message.len()), message].concat()
}

/// Returns STATUS with a grant, after its length.
fn grant(named: &Multiaddr, lie: Lie) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut expire = if matches!(lie, Lie::Hurries) { now + 1 } else { now + 3_600 };
    let mut reservation = vec![0x08];
    while expire > 0x7f {
        reservation.push(u8::try_from(expire & 0x7f).unwrap() | 0x80);
        expire >>= 7;
    }
    reservation.push(u8::try_from(expire).unwrap());
    reservation.extend(field(2, &named.to_vec()));
    if matches!(lie, Lie::Rambles) {
        for port in 1..=40 {
            let other: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
            reservation.extend(field(2, &other.to_vec()));
        }
    }
    let message =
        [vec![0x08, 2], field(3, &reservation), [&[0x28][..], &short(OK.into())].concat()].concat();
    [short(message.len()), message].concat()
}
