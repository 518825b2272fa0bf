//! The multiplexer of TCP connections: yamux, with a count of all buffered bytes.
//!
//! Yamux lets each of a peer's streams hold a window of 256 KiB, and each tiny frame in it costs an
//! allocation of its own. [`Metered`] reads the frames' headers on their way into yamux and counts
//! the bytes of each stream; the streams count the bytes that their protocols read. At the bound,
//! the socket is not read until a protocol has read something. A connection that stays at its bound
//! is closed. Closing waits a bounded time for unsent bytes.
//!
//! # Security
//! The bounds depend on the peer's level at the time of the check. A peer that the user accepts
//! while it is connected thus gets a friend's bounds at once.

use std::{
    collections::VecDeque,
    hash::{Hash, Hasher},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use futures::{AsyncRead, AsyncWrite, ready};
use libp2p::core::{
    muxing::{StreamMuxer, StreamMuxerEvent},
    upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
};
use tokio::time::{Sleep, sleep};

use super::{
    limits::{CLOSE_TIME, FRIEND_STREAMS, STREAM_WINDOW, STUCK_TIME},
    meter::{Account, Meter, lock},
    pool::{Pool, Share},
};
use crate::primitives::PeerId;

/// The number of a stream. Yamux does not show it, but hashes it as one integer.
#[derive(Default)]
struct Number(u64);

impl Hasher for Number {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = u64::from(number);
    }
}

fn number_of(stream: &yamux::Stream) -> u64 {
    let mut number = Number::default();
    stream.id().hash(&mut number);
    number.finish()
}

/// A connection whose incoming bytes are counted.
#[derive(Debug)]
pub(super) struct Metered<C> {
    socket: C,
    account: Account,
}

impl<C: AsyncRead + Unpin> AsyncRead for Metered<C> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        {
            let mut meter = lock(&this.account);
            if meter.is_full(Instant::now()) {
                meter.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        let count = ready!(Pin::new(&mut this.socket).poll_read(cx, buffer))?;
        lock(&this.account).arrived(buffer.get(..count).unwrap_or_default())?;
        Poll::Ready(Ok(count))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Metered<C> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_close(cx)
    }
}

/// A stream that counts the bytes that its protocol reads.
#[derive(Debug)]
pub(super) struct Counted {
    stream: yamux::Stream,
    number: u64,
    account: Account,
}

impl Counted {
    fn new(stream: yamux::Stream, account: &Account) -> Self {
        let number = number_of(&stream);
        lock(account).opened(number);
        Self { stream, number, account: Arc::clone(account) }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        if count > 0 {
            lock(&this.account).read(this.number, count);
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(cx)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        lock(&self.account).gone(self.number);
    }
}

/// Yamux over a counted connection.
#[derive(Debug)]
pub(super) struct Muxer<C> {
    connection: yamux::Connection<Metered<C>>,
    account: Account,
    /// Streams that the peer opened and that the swarm has not taken yet.
    opened: VecDeque<Counted>,
    waker: Option<Waker>,
    /// The end of the time for which the connection may stay at its bound, if it is there.
    timer: Option<Pin<Box<Sleep>>>,
    /// The end of the time for closing, once that has begun.
    closing: Option<Pin<Box<Sleep>>>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn new(socket: C, share: Share, mode: yamux::Mode) -> Self {
        let account = Meter::open(share);
        let mut settings = yamux::Config::default();
        // With this sum, no window can grow beyond its initial size.
        let windows =
            usize::try_from(STREAM_WINDOW).unwrap_or(usize::MAX).saturating_mul(FRIEND_STREAMS);
        settings
            .set_max_num_streams(FRIEND_STREAMS)
            .set_max_connection_receive_window(Some(windows));
        let socket = Metered { socket, account: Arc::clone(&account) };
        let connection = yamux::Connection::new(socket, settings, mode);
        Self {
            connection,
            account,
            opened: VecDeque::new(),
            waker: None,
            timer: None,
            closing: None,
        }
    }

    /// Drives the connection until the peer opens a stream.
    fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Counted>> {
        match ready!(self.connection.poll_next_inbound(cx)) {
            Some(Ok(stream)) => Poll::Ready(Ok(Counted::new(stream, &self.account))),
            Some(Err(error)) => Poll::Ready(Err(into_io(error))),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        }
    }

    /// Returns an error if the connection must be closed.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let meter = lock(&self.account);
        if meter.share.is_evicted(cx) {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "strangers hold too much"));
        }
        let Some(since) = meter.full_since else {
            self.timer = None;
            return Ok(());
        };
        let left = STUCK_TIME.saturating_sub(since.elapsed());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "too much waits unread"));
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(left)));
        if timer.as_mut().poll(cx).is_ready() {
            self.timer = None;
            cx.waker().wake_by_ref();
        }
        Ok(())
    }
}

fn into_io(error: yamux::ConnectionError) -> io::Error {
    match error {
        yamux::ConnectionError::Io(error) => error,
        error => io::Error::other(error),
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Counted;
    type Error = io::Error;

    fn poll_inbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Counted>> {
        let this = self.get_mut();
        if let Some(stream) = this.opened.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        if let Poll::Ready(result) = this.poll_opened(cx) {
            return Poll::Ready(result);
        }
        this.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_outbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Counted>> {
        let this = self.get_mut();
        {
            let mut meter = lock(&this.account);
            if meter.is_crowded() {
                meter.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        let stream = ready!(this.connection.poll_new_outbound(cx)).map_err(into_io)?;
        Poll::Ready(Ok(Counted::new(stream, &this.account)))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Poll::Ready(closed) = this.connection.poll_close(cx) {
            return Poll::Ready(closed.map_err(into_io));
        }
        let end = this.closing.get_or_insert_with(|| Box::pin(sleep(CLOSE_TIME)));
        end.as_mut().poll(cx).map(Ok)
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let this = self.get_mut();
        let opened = this.poll_opened(cx)?;
        this.check(cx)?;
        let stream = ready!(opened);
        // The bound on streams bounds the queue too.
        this.opened.push_back(stream);
        if let Some(waker) = this.waker.take() {
            waker.wake();
        }
        // The rest of the connection's task runs before the next stream is accepted.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The upgrade of a peer's connection to [`Muxer`].
#[derive(Debug, Clone)]
pub(super) struct Yamux {
    pub(super) pool: Pool,
    pub(super) peer: Option<PeerId>,
}

impl UpgradeInfo for Yamux {
    type Info = &'static str;
    type InfoIter = std::iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/yamux/1.0.0")
    }
}

impl<C> InboundConnectionUpgrade<C> for Yamux
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Muxer<C>>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        let share = self.pool.share(self.peer);
        std::future::ready(Ok(Muxer::new(socket, share, yamux::Mode::Server)))
    }
}

impl<C> OutboundConnectionUpgrade<C> for Yamux
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        let share = self.pool.share(self.peer);
        std::future::ready(Ok(Muxer::new(socket, share, yamux::Mode::Client)))
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt, io::Cursor};

    use super::*;
    use crate::{
        net::{
            limits::{FRIEND_HELD_BYTES, FRIEND_STREAMS, STRANGER_HELD_BYTES, STRANGER_STREAMS},
            meter::{DATA, SYN, cost},
        },
        peers::Trust,
        primitives::PublicKey,
    };

    const FIN: u16 = 4;

    /// A peer that sends these bytes.
    struct Script {
        sent: Cursor<Vec<u8>>,
        /// True if the peer takes whatever it is sent, false if it takes nothing.
        reads: bool,
    }

    impl AsyncRead for Script {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            match Pin::new(&mut self.sent).poll_read(cx, buffer) {
                Poll::Ready(Ok(0)) => Poll::Pending,
                read => read,
            }
        }
    }

    impl AsyncWrite for Script {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.reads { Poll::Ready(Ok(bytes.len())) } else { Poll::Pending }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn frame(stream: u32, flags: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap();
        [&[0, DATA][..], &flags.to_be_bytes(), &stream.to_be_bytes(), &length.to_be_bytes(), body]
            .concat()
    }

    /// Returns a peer's first streams, each filled to its window with frames of this size.
    fn full_streams(count: u32, size: usize) -> Vec<u8> {
        let window = usize::try_from(STREAM_WINDOW).unwrap();
        let body = vec![7; size];
        let stream = |number: u32| {
            let id = 2 * number + 1;
            let frames = (0..window / size).map(move |at| (id, u16::from(at == 0)));
            frames.flat_map(|(id, flags)| frame(id, flags, &body)).collect::<Vec<_>>()
        };
        (0..count).flat_map(stream).collect()
    }

    fn connection(sent: Vec<u8>, trust: Trust) -> (Muxer<Script>, Pool) {
        let pool = Pool::bounded(trust, usize::MAX);
        let share = pool.share(Some(PeerId(PublicKey([1; 32]))));
        let script = Script { sent: Cursor::new(sent), reads: true };
        (Muxer::new(script, share, yamux::Mode::Server), pool)
    }

    /// Drives the connection for a while.
    fn run(connection: &mut Muxer<Script>) -> io::Result<()> {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..200 {
            if let Poll::Ready(Err(error)) = Pin::new(&mut *connection).poll(&mut cx) {
                return Err(error);
            }
        }
        Ok(())
    }

    #[tokio::test]
    async fn streams_that_nobody_reads_hold_a_bounded_memory() {
        for (streams, size) in [(1, 1), (20, 1_000), (20, 64 * 1024)] {
            let most = STRANGER_HELD_BYTES + cost(u32::try_from(size).unwrap());
            let (mut connection, pool) = connection(full_streams(streams, size), Trust::default());
            run(&mut connection).unwrap();
            assert!(pool.total() >= STRANGER_HELD_BYTES && pool.total() <= most, "of {size}");
            let long_ago = Instant::now().checked_sub(STUCK_TIME).unwrap();
            lock(&connection.account).full_since = Some(long_ago);
            assert_eq!(run(&mut connection).unwrap_err().kind(), io::ErrorKind::TimedOut);
            drop(connection);
            assert_eq!(pool.total(), 0);
        }
    }

    #[tokio::test]
    async fn a_friend_may_have_more_waiting() {
        let trust = Trust::new([PeerId(PublicKey([1; 32]))], false);
        let (mut connection, pool) = connection(full_streams(20, 64 * 1024), trust);
        run(&mut connection).unwrap();
        assert!(pool.total() >= 20 * 256 * 1024);
        let trust = Trust::new([PeerId(PublicKey([1; 32]))], false);
        let (mut connection, pool) = self::connection(full_streams(40, 64 * 1024), trust);
        run(&mut connection).unwrap();
        run(&mut connection).unwrap();
        let most = FRIEND_HELD_BYTES + cost(64 * 1024);
        assert!(pool.total() >= FRIEND_HELD_BYTES && pool.total() <= most, "and not all of it");
    }

    #[tokio::test]
    async fn reading_makes_room_for_what_comes_next() {
        let mut sent = full_streams(12, 4_096);
        for number in 0..12 {
            sent.extend(frame(2 * number + 1, FIN, b""));
        }
        let (mut connection, pool) = connection(sent, Trust::default());
        let mut received = 0;
        for _ in 0..12 {
            run(&mut connection).unwrap();
            while let Some(mut stream) = connection.opened.pop_front() {
                let mut part = vec![0; 256 * 1024];
                let mut cx = Context::from_waker(Waker::noop());
                while let Poll::Ready(Ok(count)) =
                    Pin::new(&mut stream).poll_read(&mut cx, &mut part)
                    && count > 0
                {
                    received += count;
                    run(&mut connection).unwrap();
                }
            }
        }
        assert_eq!(received, 12 * 256 * 1024);
        assert_eq!(pool.total(), 0);
    }

    #[tokio::test]
    async fn a_stream_that_is_dropped_gives_its_bytes_back() {
        let (mut connection, pool) = connection(full_streams(1, 1_000), Trust::default());
        run(&mut connection).unwrap();
        assert!(pool.total() > 0);
        let mut stream = connection.opened.pop_front().unwrap();
        let mut part = vec![0; 1_500];
        stream.read_exact(&mut part).await.unwrap();
        drop(stream);
        assert_eq!(pool.total(), 0);
    }

    #[tokio::test]
    async fn closing_does_not_wait_for_a_peer_that_takes_nothing() {
        let pool = Pool::bounded(Trust::default(), usize::MAX);
        let share = pool.share(Some(PeerId(PublicKey([1; 32]))));
        let script = Script { sent: Cursor::default(), reads: false };
        let mut muxer = Muxer::new(script, share, yamux::Mode::Client);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut muxer).poll_close(&mut cx).is_pending());
        assert!(muxer.closing.is_some(), "waits for a bounded time");
        muxer.closing = Some(Box::pin(sleep(std::time::Duration::ZERO)));
        std::future::poll_fn(|cx| Pin::new(&mut muxer).poll_close(cx)).await.unwrap();
    }

    #[tokio::test]
    async fn too_many_streams_and_too_large_frames_end_the_connection() {
        let open = |count: usize| {
            let ids = (0..u32::try_from(count).unwrap()).map(|number| 2 * number + 1);
            ids.flat_map(|id| frame(id, SYN, b"")).collect::<Vec<_>>()
        };
        let (mut allowed, _) = connection(open(STRANGER_STREAMS), Trust::default());
        run(&mut allowed).unwrap();
        let (mut refused, _) = connection(open(STRANGER_STREAMS + 1), Trust::default());
        assert!(run(&mut refused).is_err());
        let friends = || Trust::new([PeerId(PublicKey([1; 32]))], false);
        let (mut allowed, _) = connection(open(FRIEND_STREAMS), friends());
        run(&mut allowed).unwrap();
        let (mut refused, _) = connection(open(FRIEND_STREAMS + 1), friends());
        assert!(run(&mut refused).is_err());
        let large = vec![0; usize::try_from(STREAM_WINDOW).unwrap() + 1];
        let (mut refused, _) = connection(frame(1, SYN, &large), Trust::default());
        assert!(run(&mut refused).is_err());
    }
}
