//! QUIC streams that stay open until the peer has agreed to their protocol.
//!
//! With `V1Lazy` the name of a protocol travels with the first message. A protocol that only sends,
//! such as identify's push, then closes and drops its stream before the peer has answered the name.
//! QUIC stops the answer of a dropped stream, so that the peer's negotiation fails and the message
//! is lost. [`Lingering`] keeps such a stream until the answer arrives.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures::{AsyncRead, AsyncWrite, ready};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};

/// The maximum number of lingering streams of one connection. The oldest is dropped first.
const MAX_LINGERING: usize = 16;

/// The streams of one connection that wait for an answer.
#[derive(Debug)]
struct Waiting<S> {
    streams: VecDeque<S>,
    waker: Option<Waker>,
}

type Shared<S> = Arc<Mutex<Waiting<S>>>;

fn lock<S>(waiting: &Shared<S>) -> MutexGuard<'_, Waiting<S>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection whose streams linger.
pub(super) struct Lingering<M: StreamMuxer> {
    inner: M,
    waiting: Shared<M::Substream>,
}

impl<M: StreamMuxer> Lingering<M> {
    pub(super) fn new(inner: M) -> Self {
        let waiting = Waiting { streams: VecDeque::new(), waker: None };
        Self { inner, waiting: Arc::new(Mutex::new(waiting)) }
    }
}

impl<M> StreamMuxer for Lingering<M>
where
    M: StreamMuxer + Unpin,
    M::Substream: Unpin,
{
    type Substream = Told<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let this = self.get_mut();
        let stream = ready!(Pin::new(&mut this.inner).poll_inbound(cx))?;
        // The peer has named the protocol, and reads only this end's answer.
        Poll::Ready(Ok(Told::new(stream, true, &this.waiting)))
    }

    fn poll_outbound(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let this = self.get_mut();
        let stream = ready!(Pin::new(&mut this.inner).poll_outbound(cx))?;
        Poll::Ready(Ok(Told::new(stream, false, &this.waiting)))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.get_mut().inner).poll_close(cx)
    }

    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        let this = self.get_mut();
        {
            let mut waiting = lock(&this.waiting);
            waiting.waker = Some(cx.waker().clone());
            // The first bytes are the answer. No protocol reads the rest.
            waiting
                .streams
                .retain_mut(|stream| Pin::new(stream).poll_read(cx, &mut [0; 1]).is_pending());
        }
        Pin::new(&mut this.inner).poll(cx)
    }
}

/// A stream that lingers if it was closed before the peer's first byte came.
pub(super) struct Told<S> {
    /// `None` only while it is dropped.
    inner: Option<S>,
    heard: bool,
    closed: bool,
    waiting: Shared<S>,
}

impl<S> Told<S> {
    fn new(inner: S, heard: bool, waiting: &Shared<S>) -> Self {
        Self { inner: Some(inner), heard, closed: false, waiting: Arc::clone(waiting) }
    }

    fn inner(&mut self) -> io::Result<Pin<&mut S>>
    where
        S: Unpin,
    {
        self.inner.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S> Drop for Told<S> {
    fn drop(&mut self) {
        let Some(stream) = self.inner.take().filter(|_| self.closed && !self.heard) else { return };
        let mut waiting = lock(&self.waiting);
        let oldest =
            if waiting.streams.len() >= MAX_LINGERING { waiting.streams.pop_front() } else { None };
        waiting.streams.push_back(stream);
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
        drop(waiting);
        drop(oldest);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Told<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = ready!(this.inner()?.poll_read(cx, buffer));
        this.heard = true;
        Poll::Ready(result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Told<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().inner()?.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().inner()?.poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = ready!(this.inner()?.poll_close(cx));
        this.closed = result.is_ok();
        Poll::Ready(result)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A stream on which the peer answers when the test sets the flag.
    #[derive(Clone, Default)]
    struct Stream(Arc<AtomicBool>);

    impl AsyncRead for Stream {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            if self.0.load(Ordering::Relaxed) { Poll::Ready(Ok(1)) } else { Poll::Pending }
        }
    }

    impl AsyncWrite for Stream {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A connection that can open any number of streams.
    struct Endless;

    impl StreamMuxer for Endless {
        type Substream = Stream;
        type Error = io::Error;

        fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Stream>> {
            Poll::Ready(Ok(Stream::default()))
        }

        fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Stream>> {
            Poll::Ready(Ok(Stream::default()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
            Poll::Pending
        }
    }

    fn drive(connection: &mut Lingering<Endless>) -> usize {
        let polled = Pin::new(&mut *connection).poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        lock(&connection.waiting).streams.len()
    }

    /// Opens a stream, closes it for writing if `closes`, and drops it. Returns the flag of the
    /// peer's answer.
    fn told(connection: &mut Lingering<Endless>, inbound: bool, closes: bool) -> Arc<AtomicBool> {
        let cx = &mut Context::from_waker(Waker::noop());
        let connection = Pin::new(connection);
        let opened =
            if inbound { connection.poll_inbound(cx) } else { connection.poll_outbound(cx) };
        let Poll::Ready(Ok(mut stream)) = opened else { panic!("a stream") };
        if closes {
            assert!(Pin::new(&mut stream).poll_close(cx).is_ready());
        }
        Arc::clone(&stream.inner.as_ref().unwrap().0)
    }

    #[test]
    fn a_stream_that_only_told_lingers_until_the_peer_answers() {
        let mut connection = Lingering::new(Endless);
        let answer = told(&mut connection, false, true);
        assert_eq!(drive(&mut connection), 1, "it waits for the answer");
        answer.store(true, Ordering::Relaxed);
        assert_eq!(drive(&mut connection), 0, "the answer is there");
    }

    #[test]
    fn other_streams_do_not_linger_and_those_that_do_are_few() {
        let mut connection = Lingering::new(Endless);
        told(&mut connection, false, false);
        told(&mut connection, true, true);
        assert_eq!(drive(&mut connection), 0, "not closed, or opened by the peer");
        for _ in 0..2 * MAX_LINGERING {
            told(&mut connection, false, true);
        }
        assert_eq!(drive(&mut connection), MAX_LINGERING);
    }
}
