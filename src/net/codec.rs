//! Frames requests and responses: one CBOR message, then the end of the stream.
//!
//! A message that does not decode is returned as a value, not as an I/O error: libp2p does not
//! report requests that it could not read, and the node must learn which peer sent garbage. The
//! codec runs in the connection's task, so that the swarm task does not decode megabytes.

use std::{io, sync::Arc, time::Duration};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    arrival::Arrival,
    limits::{ANSWER_TIME, MAX_LARGE_REQUESTS, SLOWEST_RATE, SMALL_REQUEST},
};
use crate::{
    telemetry::metrics::NetMetrics,
    wire::{CodecError, Protocol, Request, Response},
};

/// A message as it passes through libp2p.
#[derive(Debug)]
pub(super) enum Frame<T> {
    /// A message to send, encoded and within its limits.
    Outgoing(Vec<u8>),
    /// A request to send, with the buffer for its answer.
    Asking(Vec<u8>, Arrival),
    /// A received message, decoded if that was possible.
    Incoming { size: usize, message: Result<T, CodecError> },
}

impl<T> Frame<T> {
    fn incoming(
        bytes: Result<Vec<u8>, CodecError>,
        decode: impl FnOnce(&[u8]) -> Result<T, CodecError>,
    ) -> Self {
        let size = bytes.as_ref().map_or(0, Vec::len);
        Self::Incoming { size, message: bytes.and_then(|bytes| decode(&bytes)) }
    }
}

/// Returns the permits for reading large requests.
pub(super) fn large_requests() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_LARGE_REQUESTS))
}

/// The codec of one protocol.
#[derive(Debug, Clone)]
pub(super) struct WireCodec {
    pub(super) protocol: Protocol,
    /// Permits for reading large requests, shared by all connections and protocols.
    pub(super) large: Arc<Semaphore>,
    pub(super) metrics: NetMetrics,
    /// The buffer for the answer to this node's request. libp2p clones the codec for each stream.
    pub(super) arrival: Arrival,
}

impl WireCodec {
    /// Counts a received message, whole or not, and decodes it.
    fn incoming<T>(
        &self,
        read: Result<Vec<u8>, (Vec<u8>, CodecError)>,
        decode: impl FnOnce(&[u8]) -> Result<T, CodecError>,
    ) -> Frame<T> {
        let size = match &read {
            Ok(bytes) | Err((bytes, _)) => bytes.len(),
        };
        self.metrics.message(self.protocol.code(), "inbound", size);
        Frame::incoming(read.map_err(|(_, error)| error), decode)
    }

    async fn write<T, M>(&self, io: &mut T, frame: Frame<M>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let (Frame::Outgoing(bytes) | Frame::Asking(bytes, _)) = frame else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a received message cannot be sent",
            ));
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the peer does not read");
        timeout(time_for(bytes.len()), io.write_all(&bytes)).await.map_err(late)??;
        self.metrics.message(self.protocol.code(), "outbound", bytes.len());
        Ok(())
    }

    /// Reads a request to its end.
    async fn read_whole_request<T>(&self, io: &mut T, limit: usize) -> io::Result<Frame<Request>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let read = match read_message(&mut *io, limit.min(SMALL_REQUEST), Vec::new()).await? {
            Err((head, _)) if limit > SMALL_REQUEST => {
                // The permit is held while the request is read. Peers that begin many requests and
                // finish none thus cannot fill the memory.
                let _permit = self.large.try_acquire().map_err(io::Error::other)?;
                read_message(&mut *io, limit, head).await?
            }
            read => read,
        };
        if read.as_ref().is_ok_and(Vec::is_empty) {
            // A request that timed out before it was sent ends like this. Honest peers cause it
            // at the end of a network partition.
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without a request"));
        }
        Ok(self.incoming(read, |bytes| self.protocol.decode_request(bytes)))
    }
}

/// Returns the maximum time in which a message of this size must pass.
fn time_for(size: usize) -> Duration {
    let size = u64::try_from(size).unwrap_or(u64::MAX);
    ANSWER_TIME.saturating_add(Duration::from_secs(size / SLOWEST_RATE))
}

impl request_response::Codec for WireCodec {
    type Protocol = StreamProtocol;
    type Request = Frame<Request>;
    type Response = Frame<Response>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Self::Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        let limit = self.protocol.max_request_bytes();
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the request does not end");
        timeout(time_for(limit), self.read_whole_request(io, limit)).await.map_err(late)?
    }

    async fn read_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Self::Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        let read = self.arrival.read(io, self.protocol.max_response_bytes()).await?;
        if read.as_ref().is_ok_and(Vec::is_empty) {
            // The far end dropped the request, or its own time-out ended first.
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer"));
        }
        Ok(self.incoming(read, |bytes| self.protocol.decode_response(bytes)))
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Self::Request,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        if let Frame::Asking(_, arrival) = &request {
            self.arrival = arrival.clone();
        }
        self.write(io, request).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Self::Response,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write(io, response).await
    }
}

/// Reads to the end of the stream, after the bytes in `head` that were read before.
///
/// Returns an error with the bytes so far if the message exceeds the limit. At most one byte over
/// the limit is held in memory.
async fn read_message<T>(
    io: &mut T,
    limit: usize,
    head: Vec<u8>,
) -> io::Result<Result<Vec<u8>, (Vec<u8>, CodecError)>>
where
    T: AsyncRead + Unpin + Send,
{
    let mut bytes = head;
    let most = limit.saturating_add(1).saturating_sub(bytes.len());
    io.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_end(&mut bytes).await?;
    if bytes.len() > limit {
        let size = bytes.len();
        return Ok(Err((bytes, CodecError::TooLarge { size, limit })));
    }
    Ok(Ok(bytes))
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use futures::{TryStreamExt as _, io::Cursor, stream};

    use libp2p::request_response::Codec as _;

    use super::*;
    use crate::{
        primitives::BlockHash,
        wire::{GetBlockTrades, SyncRequest},
    };

    #[tokio::test]
    async fn a_message_at_the_limit_is_read_and_one_byte_more_is_named() {
        let read = |size: usize| async move {
            let read =
                read_message(&mut Cursor::new(vec![7; size]), 100, Vec::new()).await.unwrap();
            read.map(|bytes| bytes.len()).map_err(|(_, error)| error)
        };
        assert_eq!(read(100).await, Ok(100));
        assert_eq!(read(101).await, Err(CodecError::TooLarge { size: 101, limit: 100 }));
        assert_eq!(read(1_000_000).await, Err(CodecError::TooLarge { size: 101, limit: 100 }));
    }

    fn codec(protocol: Protocol) -> WireCodec {
        let (metrics, arrival) = (NetMetrics::default(), Arrival::default());
        WireCodec { protocol, large: large_requests(), metrics, arrival }
    }

    /// Returns a request for so many transactions of a block.
    fn request_of(positions: u32) -> Request {
        Request::Sync(SyncRequest::GetBlockTrades(GetBlockTrades {
            block: BlockHash([1; 32]),
            positions: (0..positions).collect(),
        }))
    }

    #[tokio::test]
    async fn a_large_request_is_read_whole_while_there_is_room() {
        let (small, large) = (request_of(2), request_of(10_000));
        let bytes = large.encode().unwrap();
        assert!(bytes.len() > SMALL_REQUEST);
        let shared = codec(Protocol::Sync);
        let name = StreamProtocol::new("/sync");
        let read = async |request: &Request| {
            let mut bytes = Cursor::new(request.encode().unwrap());
            shared.clone().read_request(&name, &mut bytes).await
        };
        let is = |read: io::Result<Frame<Request>>, request: &Request| {
            let Ok(Frame::Incoming { message: Ok(read), .. }) = read else { return false };
            read == *request
        };
        // Peers send one byte too many for a small request, and then nothing.
        let begin = || {
            let head = Cursor::new(bytes[..=SMALL_REQUEST].to_vec());
            let mut stream = head.chain(stream::pending::<io::Result<Vec<u8>>>().into_async_read());
            let (mut codec, name) = (shared.clone(), name.clone());
            Box::pin(async move { codec.read_request(&name, &mut stream).await })
        };
        let mut unfinished: Vec<_> = (0..MAX_LARGE_REQUESTS).map(|_| begin()).collect();
        let mut cx = Context::from_waker(Waker::noop());
        for one in &mut unfinished {
            assert!(one.as_mut().poll(&mut cx).is_pending());
        }
        assert!(read(&large).await.is_err(), "a further one gets no answer");
        assert!(is(read(&small).await, &small), "a small one does");
        unfinished.pop();
        assert!(is(read(&large).await, &large), "one of the others has ended");
        assert!(is(read(&large).await, &large), "a read request leaves its room");
    }

    #[tokio::test]
    async fn a_stream_without_a_byte_is_no_message_and_no_offence() {
        let mut codec = codec(Protocol::Friends);
        let name = StreamProtocol::new("/friends");
        // A frame would be charged as malformed. An I/O error is not charged.
        let mut empty = Cursor::new(Vec::new());
        let error = codec.read_request(&name, &mut empty).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let error = codec.read_response(&name, &mut empty).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
