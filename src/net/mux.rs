//! The multiplexer of TCP connections: yamux, with every buffered byte accounted.
//!
//! Yamux lets each of a peer's streams hold a window of 256 KiB, and each tiny frame in it costs an
//! allocation of its own. [`Metered`] reads the frames' headers on their way into yamux and counts
//! what each stream holds; the streams count what their protocols read. At the bound, the socket is
//! not read until a protocol has read something. A connection that stays at its bound is closed.
//!
//! # Security
//! The bounds depend on the peer's level at the time of the check. So a peer that the user accepts
//! while it is connected gets a friend's bounds at once.

use std::{
    collections::{HashMap, VecDeque},
    hash::{Hash, Hasher},
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    limits::{
        FRIEND_HELD_BYTES, FRIEND_STREAMS, HELD_FRAME_BYTES, STRANGER_HELD_BYTES, STRANGER_STREAMS,
        STREAM_WINDOW, STUCK_TIME,
    },
    pool::{Pool, Share},
};
use crate::primitives::PeerId;

/// Bytes of a frame's header in yamux.
const HEADER: usize = 12;
/// The frame type that carries data.
const DATA: u8 = 0;
/// The frame type that gives credit. It may open a stream, as data may.
const WINDOW_UPDATE: u8 = 1;
/// The flag that opens a stream.
const SYN: u16 = 1;
/// The flag that resets a stream. Yamux drops the data of such a frame.
const RST: u16 = 8;

/// The bytes that one stream holds, frame by frame.
#[derive(Debug, Default)]
struct Held {
    frames: VecDeque<u32>,
    /// Bytes of the first frame that its protocol has read.
    read: usize,
}

/// A frame whose data is arriving.
#[derive(Debug, Clone, Copy)]
struct Arriving {
    stream: u64,
    left: usize,
    size: u32,
    reset: bool,
}

/// The account of one connection.
#[derive(Debug)]
struct Meter {
    share: Share,
    streams: HashMap<u64, Held>,
    held: usize,
    header: Vec<u8>,
    arriving: Option<Arriving>,
    /// The time since which the connection is at its bound.
    full_since: Option<Instant>,
    /// The task that waits for room.
    waker: Option<Waker>,
}

/// Returns what a frame of this size costs: its bytes, and the memory around them.
fn cost(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX).saturating_add(HELD_FRAME_BYTES)
}

fn broken(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

impl Meter {
    fn bounds(&self) -> (usize, usize) {
        if self.share.is_friend() {
            (FRIEND_STREAMS, FRIEND_HELD_BYTES)
        } else {
            (STRANGER_STREAMS, STRANGER_HELD_BYTES)
        }
    }

    /// Returns true if nothing more may be read now. Each frame that has begun may end.
    fn is_full(&mut self, now: Instant) -> bool {
        let full = self.arriving.is_none()
            && self.held >= STRANGER_HELD_BYTES
            && self.held >= self.bounds().1;
        if full {
            self.full_since.get_or_insert(now);
        } else {
            self.full_since = None;
        }
        full
    }

    /// Counts bytes on their way from the socket into yamux.
    fn arrived(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if let Some(arriving) = &mut self.arriving {
                let part = arriving.left.min(bytes.len());
                arriving.left = arriving.left.saturating_sub(part);
                bytes = bytes.get(part..).unwrap_or_default();
                if arriving.left == 0 {
                    let arrived = *arriving;
                    self.arriving = None;
                    self.keep(arrived);
                }
            } else {
                let part = HEADER.saturating_sub(self.header.len()).min(bytes.len());
                let (head, rest) = bytes.split_at_checked(part).unwrap_or((bytes, &[]));
                self.header.extend_from_slice(head);
                bytes = rest;
                if self.header.len() == HEADER {
                    self.begin()?;
                }
            }
        }
        self.share.hold(self.held);
        Ok(())
    }

    /// Handles a whole header.
    fn begin(&mut self) -> io::Result<()> {
        let header = std::mem::take(&mut self.header);
        let [_, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = *header.as_slice() else {
            return Err(broken("a header of another length"));
        };
        let flags = u16::from_be_bytes([f0, f1]);
        let stream = u64::from(u32::from_be_bytes([s0, s1, s2, s3]));
        let size = u32::from_be_bytes([l0, l1, l2, l3]);
        if flags & SYN != 0 && (kind == DATA || kind == WINDOW_UPDATE) {
            let open = self.streams.len();
            if open >= STRANGER_STREAMS && open >= self.bounds().0 {
                return Err(broken("the peer has too many streams open"));
            }
            self.streams.entry(stream).or_default();
        }
        if kind == DATA && size > 0 {
            if size > STREAM_WINDOW {
                return Err(broken("a frame is larger than its stream's window"));
            }
            self.held = self.held.saturating_add(cost(size));
            let left = usize::try_from(size).unwrap_or(usize::MAX);
            self.arriving = Some(Arriving { stream, left, size, reset: flags & RST != 0 });
        }
        Ok(())
    }

    /// Counts a whole frame for its stream. Yamux drops the data of streams that are gone.
    fn keep(&mut self, arrived: Arriving) {
        match self.streams.get_mut(&arrived.stream) {
            Some(held) if !arrived.reset => held.frames.push_back(arrived.size),
            _ => self.held = self.held.saturating_sub(cost(arrived.size)),
        }
    }

    /// Counts bytes that a stream's protocol has read.
    fn read(&mut self, stream: u64, count: usize) {
        if let Some(held) = self.streams.get_mut(&stream) {
            held.read = held.read.saturating_add(count);
            while let Some(first) = held.frames.front().copied()
                && let size = usize::try_from(first).unwrap_or(usize::MAX)
                && held.read >= size
            {
                held.read = held.read.saturating_sub(size);
                held.frames.pop_front();
                self.held = self.held.saturating_sub(cost(first));
            }
        }
        self.share.hold(self.held);
        self.wake();
    }

    /// Forgets a stream that nobody reads any more.
    fn gone(&mut self, stream: u64) {
        if let Some(held) = self.streams.remove(&stream) {
            for size in held.frames {
                self.held = self.held.saturating_sub(cost(size));
            }
        }
        self.share.hold(self.held);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

type Account = Arc<Mutex<Meter>>;

fn lock(account: &Account) -> MutexGuard<'_, Meter> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}

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

/// A stream that counts what its protocol reads.
#[derive(Debug)]
pub(super) struct Counted {
    stream: yamux::Stream,
    number: u64,
    account: Account,
}

impl Counted {
    fn new(stream: yamux::Stream, account: &Account) -> Self {
        let number = number_of(&stream);
        lock(account).streams.entry(number).or_default();
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
    /// The end of the time for which the connection may stay at its bound.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn new(socket: C, share: Share, mode: yamux::Mode) -> Self {
        let account = Arc::new(Mutex::new(Meter {
            share,
            streams: HashMap::new(),
            held: 0,
            header: Vec::new(),
            arriving: None,
            full_since: None,
            waker: None,
        }));
        let mut settings = yamux::Config::default();
        // With this sum, no window can grow beyond its first size.
        let windows =
            usize::try_from(STREAM_WINDOW).unwrap_or(usize::MAX).saturating_mul(FRIEND_STREAMS);
        settings
            .set_max_num_streams(FRIEND_STREAMS)
            .set_max_connection_receive_window(Some(windows));
        let socket = Metered { socket, account: Arc::clone(&account) };
        let connection = yamux::Connection::new(socket, settings, mode);
        Self { connection, account, opened: VecDeque::new(), waker: None, timer: None }
    }

    /// Drives the connection until the peer opens a stream.
    fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Counted>> {
        match ready!(self.connection.poll_next_inbound(cx)) {
            Some(Ok(stream)) => Poll::Ready(Ok(Counted::new(stream, &self.account))),
            Some(Err(error)) => Poll::Ready(Err(into_io(error))),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        }
    }

    /// Returns an error if the connection must not go on.
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
            let open = meter.streams.len();
            if open >= STRANGER_STREAMS && open >= meter.bounds().0 {
                meter.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        let stream = ready!(this.connection.poll_new_outbound(cx)).map_err(into_io)?;
        Poll::Ready(Ok(Counted::new(stream, &this.account)))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().connection.poll_close(cx).map_err(into_io)
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
        // The rest of the connection's task runs before the next stream is taken.
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
