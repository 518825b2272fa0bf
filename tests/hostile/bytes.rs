//! Encodes the few foreign formats that the attacker implements by hand: varints, the protobuf
//! messages of identify, Kademlia, gossipsub and the circuit relay, and multistream-select.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{Multiaddr, PeerId, identity::Keypair};

const MULTISTREAM: &str = "/multistream/1.0.0";

/// The longest frame that the attacker reads, in bytes.
const MAX_FRAME: usize = 1 << 20;

/// Appends a number with seven bits in a byte, lowest bits first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Returns the bytes after their length as a varint.
pub(crate) fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 5);
    put_varint(&mut out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    out
}

/// A protobuf message under construction.
#[derive(Default)]
pub(crate) struct Proto(pub(crate) Vec<u8>);

impl Proto {
    /// Appends a field of bytes, which may be a text or a message.
    pub(crate) fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        put_varint(&mut self.0, field << 3 | 2);
        self.0.extend(framed(bytes));
        self
    }

    /// Appends a field that holds a number.
    pub(crate) fn number(mut self, field: u64, number: u64) -> Self {
        put_varint(&mut self.0, field << 3);
        put_varint(&mut self.0, number);
        self
    }
}

/// Returns identify's message, framed.
pub(crate) fn identify(keys: &Keypair, protocols: &[String], listen: &[Multiaddr]) -> Vec<u8> {
    let mut proto = Proto::default()
        .bytes(1, &keys.public().encode_protobuf())
        .bytes(5, b"/friendchain/1")
        .bytes(6, b"friendchain/0.1.0");
    for protocol in protocols {
        proto = proto.bytes(3, protocol.as_bytes());
    }
    for address in listen {
        proto = proto.bytes(2, &address.to_vec());
    }
    framed(&proto.0)
}

/// Returns Kademlia's answer to `FIND_NODE`, framed: peers with their addresses.
pub(crate) fn find_node_answer(peers: &[(PeerId, Vec<Multiaddr>)]) -> Vec<u8> {
    let mut answer = Proto::default().number(1, 4);
    for (id, addresses) in peers {
        let mut peer = Proto::default().bytes(1, &id.to_bytes());
        for address in addresses {
            peer = peer.bytes(2, &address.to_vec());
        }
        answer = answer.bytes(8, &peer.0);
    }
    framed(&answer.0)
}

/// Returns gossipsub's frame that subscribes to topics.
pub(crate) fn subscriptions(topics: &[String]) -> Vec<u8> {
    let subscribe = |topic: &String| Proto::default().number(1, 1).bytes(2, topic.as_bytes());
    let rpc = topics.iter().fold(Proto::default(), |rpc, topic| rpc.bytes(1, &subscribe(topic).0));
    framed(&rpc.0)
}

/// Returns gossipsub's frame that publishes payloads without an author.
pub(crate) fn publications(topic: &str, payloads: &[&[u8]]) -> Vec<u8> {
    let message = |data: &[u8]| Proto::default().bytes(2, data).bytes(4, topic.as_bytes());
    let rpc = payloads.iter().fold(Proto::default(), |rpc, data| rpc.bytes(2, &message(data).0));
    framed(&rpc.0)
}

/// Protocols of the circuit relay: from a peer to the relay, and from the relay to a peer.
pub(crate) const HOP: &str = "/libp2p/circuit/relay/0.2.0/hop";
pub(crate) const STOP: &str = "/libp2p/circuit/relay/0.2.0/stop";
/// The status of a relay that grants a request.
pub(crate) const GRANTED: u64 = 100;

/// Returns the relay's message RESERVE, framed.
pub(crate) fn reserve() -> Vec<u8> {
    framed(&Proto::default().number(1, 0).0)
}

/// Returns the relay's message CONNECT to a peer of any bytes, framed.
pub(crate) fn connect(peer: &[u8]) -> Vec<u8> {
    let peer = Proto::default().bytes(1, peer);
    framed(&Proto::default().number(1, 1).bytes(2, &peer.0).0)
}

/// Returns the message of `stop` that offers a circuit from a peer, framed.
pub(crate) fn offer(peer: &[u8]) -> Vec<u8> {
    let peer = Proto::default().bytes(1, peer);
    framed(&Proto::default().number(1, 0).bytes(2, &peer.0).0)
}

/// Returns the message of `stop` that accepts a circuit, framed.
pub(crate) fn accept() -> Vec<u8> {
    framed(&Proto::default().number(1, 1).number(4, GRANTED).0)
}

/// Returns a field of a protobuf message that holds a number; `None` if it is not there.
pub(crate) fn number_of(mut message: &[u8], wanted: u64) -> Option<u64> {
    let next = |message: &mut &[u8]| {
        let (mut number, mut shift) = (0, 0);
        loop {
            let (byte, rest) = message.split_first()?;
            *message = rest;
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 || shift > 56 {
                return Some(number);
            }
        }
    };
    loop {
        let key = next(&mut message)?;
        let number = next(&mut message)?;
        if key & 7 == 2 {
            message = message.get(usize::try_from(number).ok()?..)?;
        } else if key >> 3 == wanted {
            return Some(number);
        }
    }
}

/// Reads a varint.
pub(crate) async fn read_varint(io: &mut (impl AsyncRead + Unpin)) -> io::Result<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let mut byte = [0];
        io.read_exact(&mut byte).await?;
        number |= u64::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            return Ok(number);
        }
        if shift > 35 {
            return Err(io::Error::other("a varint is too long"));
        }
    }
}

/// Reads a frame: a varint, and as many bytes.
pub(crate) async fn read_frame(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = usize::try_from(read_varint(io).await?).map_err(io::Error::other)?;
    if length > MAX_FRAME {
        return Err(io::Error::other("a frame is too long"));
    }
    let mut bytes = vec![0; length];
    io.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Returns a line of multistream-select, framed.
fn line(text: &str) -> Vec<u8> {
    framed(format!("{text}\n").as_bytes())
}

async fn read_line(io: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let text = String::from_utf8(read_frame(io).await?).map_err(io::Error::other)?;
    Ok(text.trim_end().to_owned())
}

/// Negotiates a protocol as the side that proposes it.
pub(crate) async fn select(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    protocol: &str,
) -> io::Result<()> {
    io.write_all(&[line(MULTISTREAM), line(protocol)].concat()).await?;
    io.flush().await?;
    for expected in [MULTISTREAM, protocol] {
        let heard = read_line(io).await?;
        if heard != expected {
            return Err(io::Error::other(format!("{protocol}: {heard:?}")));
        }
    }
    Ok(())
}

/// Negotiates a protocol as the side that answers. Returns the first proposed one that it supports.
pub(crate) async fn agree(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    spoken: impl Fn(&str) -> bool,
) -> io::Result<String> {
    loop {
        let wanted = read_line(io).await?;
        let known = wanted == MULTISTREAM || spoken(&wanted);
        io.write_all(&line(if known { &wanted } else { "na" })).await?;
        io.flush().await?;
        if known && wanted != MULTISTREAM {
            return Ok(wanted);
        }
    }
}
