//! Asks a relay for a circuit to this node itself, to test whether the relay opens circuits.
//!
//! The request is CONNECT with this node's own id, and the first line of multistream-select, with
//! which every connection of libp2p begins. The relay works if that line comes back through the
//! circuit: then this node's listener has received and answered it. The circuit ends there, before
//! Noise.
//!
//! # Security
//! The relay sees that the circuit leads back. A relay that serves only such circuits is not
//! noticed.

use std::{io, time::Duration};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{PeerId, StreamProtocol, relay, request_response};

/// CONNECT to an ed25519 peer, with its length, up to the 38 bytes of the peer's id.
const CONNECT: [u8; 7] = [0x2c, 0x08, 0x01, 0x12, 0x28, 0x0a, 0x26];
const ID_BYTES: usize = 38;
/// The first line of multistream-select, with its length.
const LINE: &[u8] = b"\x13/multistream/1.0.0\n";
/// The maximum size of a relay's answer, in bytes: the longest message of the protocol, and the
/// line.
const MAX_ANSWER: usize = 4_096 + 2 + LINE.len();

/// The codec of such a request. The request is this node's id.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnCircuitCodec;

pub(super) type OwnCircuits = request_response::Behaviour<OwnCircuitCodec>;

/// Returns the behaviour, whose requests fail after a time.
pub(super) fn own_circuits(time: Duration) -> OwnCircuits {
    let protocol = [(relay::HOP_PROTOCOL_NAME, request_response::ProtocolSupport::Outbound)];
    let settings = request_response::Config::default().with_request_timeout(time);
    OwnCircuits::with_codec(OwnCircuitCodec, protocol, settings)
}

impl request_response::Codec for OwnCircuitCodec {
    type Protocol = StreamProtocol;
    type Request = PeerId;
    type Response = ();

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        me: PeerId,
    ) -> io::Result<()> {
        let id = me.to_bytes();
        if id.len() != ID_BYTES {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        io.write_all(&[&CONNECT[..], &id, LINE].concat()).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<()> {
        let mut answer = Vec::new();
        let mut chunk = [0; 256];
        // A relay that refuses the circuit closes the stream after its message.
        while !answer.ends_with(LINE) && answer.len() <= MAX_ANSWER {
            let read = io.read(&mut chunk).await?;
            match chunk.get(..read) {
                None | Some([]) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(bytes) => answer.extend_from_slice(bytes),
            }
        }
        if answer.ends_with(LINE) { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
    ) -> io::Result<PeerId> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
        (): (),
    ) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, io::Cursor};
    use request_response::Codec as _;

    use super::*;
    use crate::net::{Identity, peer::to_libp2p};

    fn read(answer: &[u8]) -> io::Result<()> {
        let mut io = Cursor::new(answer);
        block_on(OwnCircuitCodec.read_response(&relay::HOP_PROTOCOL_NAME, &mut io))
    }

    #[test]
    fn the_request_is_connect_and_the_first_line_of_a_connection() {
        let me = to_libp2p(&Identity::generate().peer_id()).unwrap();
        let mut io = Cursor::new(Vec::new());
        block_on(OwnCircuitCodec.write_request(&relay::HOP_PROTOCOL_NAME, &mut io, me)).unwrap();
        let bytes = io.into_inner();
        let length = CONNECT.len() + ID_BYTES;
        assert_eq!(usize::from(bytes[0]), length - 1);
        assert_eq!(usize::from(bytes[4]), length - 5);
        assert_eq!(usize::from(bytes[6]), length - 7);
        assert_eq!(bytes[7..length], me.to_bytes());
        assert_eq!(usize::from(LINE[0]), LINE.len() - 1);
        assert_eq!(&bytes[length..], LINE);
    }

    #[test]
    fn only_an_answer_through_the_circuit_passes() {
        let granted = [5, 0x08, 0x02, 0x28, 0x64, 0];
        assert!(read(&[&granted[..], LINE].concat()).is_ok());
        assert!(read(&granted).is_err(), "nothing came through");
        assert!(read(&[0x08; 2 * MAX_ANSWER]).is_err(), "too long");
        assert!(read(&[]).is_err());
    }
}
