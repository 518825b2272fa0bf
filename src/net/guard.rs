//! Deadlines for gossip frames that a peer begins and does not finish.
//!
//! Gossipsub holds an incomplete frame for as long as the connection lasts: up to 1 MiB for each
//! peer. [`Guarded`] wraps a connection's multiplexer, and [`Watched`] each of its streams. On the
//! streams that the peer opened, they follow the negotiation. If it agrees on gossipsub, they
//! follow the frames. A frame that stalls, or that is slower than [`FRAME_RATE`], closes the
//! connection. The bytes of unfinished frames count in the [`Pool`](super::pool::Pool).

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{AsyncRead, AsyncWrite, ready};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use tokio::time::{Sleep, sleep};

use super::{
    limits::{FRAME_RATE, FRAME_TIME},
    pool::Share,
};

/// The beginning of gossipsub's protocol names.
const GOSSIPSUB: &[u8] = b"/meshsub/";
/// The number of a message's first bytes that are inspected.
const HEAD: usize = GOSSIPSUB.len();
/// The highest shift in a length of 64 bits, seven bits in each byte.
const LAST_SHIFT: u32 = 63;

/// True if an answer agrees to a protocol: it repeats the name. A refusal is `na`. A list of
/// protocols, which a peer may request first, has the length of a name before each.
fn is_protocol(answer: &[u8]) -> bool {
    matches!(answer, [b'/', second, ..] if *second != b'/')
}

/// The boundaries of length-prefixed messages in a stream of bytes. Both the negotiation of a
/// protocol and gossipsub use the same prefix: the length, seven bits in a byte, lowest bits first.
#[derive(Debug, Default)]
struct Messages {
    length: u64,
    shift: u32,
    in_body: bool,
    /// Bytes of the body that are still to come.
    left: u64,
    /// Bytes of the message so far, with its prefix. Zero between messages.
    begun: usize,
    head: Vec<u8>,
}

impl Messages {
    /// Follows these bytes. Calls `ended` with the first bytes of each message that ends in them.
    fn follow(&mut self, mut bytes: &[u8], mut ended: impl FnMut(&[u8])) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.in_body {
                let left = usize::try_from(self.left).unwrap_or(usize::MAX);
                let (body, after) = bytes.split_at_checked(left).unwrap_or((bytes, &[]));
                let room = HEAD.saturating_sub(self.head.len());
                self.head.extend(body.iter().take(room));
                self.begun = self.begun.saturating_add(body.len());
                self.left = self.left.saturating_sub(u64::try_from(body.len()).unwrap_or(u64::MAX));
                bytes = after;
            } else {
                self.begun = self.begun.saturating_add(1);
                let bits = u64::from(first & 0x7f);
                self.length |= bits.checked_shl(self.shift).unwrap_or(0);
                // Gossipsub refuses a length that is too long.
                self.shift = self.shift.saturating_add(7).min(LAST_SHIFT);
                if first & 0x80 == 0 {
                    self.in_body = true;
                    self.left = self.length;
                }
                bytes = rest;
            }
            if self.in_body && self.left == 0 {
                ended(&self.head);
                *self = Self::default();
            }
        }
    }
}

/// The state of a stream that the peer opened.
#[derive(Debug)]
enum Stage {
    /// The protocol is being negotiated.
    Negotiating {
        /// This end's messages. The first one names the negotiation protocol itself.
        ours: Messages,
        answers: usize,
    },
    /// Gossipsub's frames arrive.
    Gossip,
    /// Another protocol, which is not followed.
    Other,
}

/// A frame that has begun.
#[derive(Debug)]
struct Frame {
    since: Instant,
    latest: Instant,
    bytes: usize,
}

impl Frame {
    /// Returns the time by which the next byte or the end of the frame has to come.
    fn deadline(&self) -> Instant {
        let bytes = u64::try_from(self.bytes).unwrap_or(u64::MAX);
        let whole = Duration::from_secs(bytes.checked_div(FRAME_RATE).unwrap_or(0));
        let (still, slow) = (self.latest + FRAME_TIME, self.since + FRAME_TIME + whole);
        still.min(slow)
    }
}

/// The unfinished frames of one connection.
#[derive(Debug)]
struct Watch {
    share: Share,
    next: u64,
    frames: HashMap<u64, Frame>,
}

impl Watch {
    /// Records the bytes of a stream's unfinished frame; zero once the frame has ended.
    fn unfinished(&mut self, stream: u64, bytes: usize) {
        let now = Instant::now();
        if bytes == 0 {
            if self.frames.remove(&stream).is_none() {
                return;
            }
        } else {
            let frame =
                self.frames.entry(stream).or_insert(Frame { since: now, latest: now, bytes });
            if bytes < frame.bytes {
                // Another frame has begun in the same read.
                frame.since = now;
            }
            frame.latest = now;
            frame.bytes = bytes;
        }
        let held =
            self.frames.values().fold(0, |sum: usize, frame| sum.saturating_add(frame.bytes));
        self.share.hold(held);
    }
}

type Shared = Arc<Mutex<Watch>>;

fn lock(watch: &Shared) -> MutexGuard<'_, Watch> {
    watch.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection whose gossip frames have deadlines.
pub(super) struct Guarded<M> {
    inner: M,
    watch: Shared,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<M> Guarded<M> {
    pub(super) fn new(inner: M, share: Share) -> Self {
        let watch = Watch { share, next: 0, frames: HashMap::new() };
        Self { inner, watch: Arc::new(Mutex::new(watch)), timer: None }
    }

    /// Returns an error if a frame is overdue, or if this connection was chosen to make room in the
    /// pool. Otherwise the task is woken when that may be so.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            let watch = lock(&self.watch);
            if watch.share.is_evicted(cx) {
                return Err(io::Error::new(io::ErrorKind::OutOfMemory, "strangers hold too much"));
            }
            let Some(by) = watch.frames.values().map(Frame::deadline).min() else {
                self.timer = None;
                return Ok(());
            };
            drop(watch);
            let left = by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a gossip frame never ended"));
            }
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(left)));
            if timer.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            // The deadline has moved while the timer ran.
            self.timer = None;
        }
    }
}

fn into_io<E: std::error::Error + Send + Sync + 'static>(error: E) -> io::Error {
    io::Error::other(error)
}

impl<M> StreamMuxer for Guarded<M>
where
    M: StreamMuxer + Unpin,
    M::Substream: Unpin,
    M::Error: Send + Sync + 'static,
{
    type Substream = Watched<M::Substream>;
    type Error = io::Error;

    fn poll_inbound(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Self::Substream>> {
        let this = self.get_mut();
        let stream = ready!(Pin::new(&mut this.inner).poll_inbound(cx)).map_err(into_io)?;
        let stage = Stage::Negotiating { ours: Messages::default(), answers: 0 };
        Poll::Ready(Ok(Watched::new(stream, stage, &this.watch)))
    }

    fn poll_outbound(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Self::Substream>> {
        let this = self.get_mut();
        let stream = ready!(Pin::new(&mut this.inner).poll_outbound(cx)).map_err(into_io)?;
        Poll::Ready(Ok(Watched::new(stream, Stage::Other, &this.watch)))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_close(cx).map_err(into_io)
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let this = self.get_mut();
        this.check(cx)?;
        Pin::new(&mut this.inner).poll(cx).map_err(into_io)
    }
}

/// A stream whose gossip frames have deadlines.
pub(super) struct Watched<S> {
    inner: S,
    stage: Stage,
    theirs: Messages,
    watch: Shared,
    id: u64,
}

impl<S> Watched<S> {
    fn new(inner: S, stage: Stage, watch: &Shared) -> Self {
        let id = {
            let mut watch = lock(watch);
            let id = watch.next;
            watch.next = id.wrapping_add(1);
            id
        };
        Self { inner, stage, theirs: Messages::default(), watch: Arc::clone(watch), id }
    }

    fn received(&mut self, bytes: &[u8]) {
        if matches!(self.stage, Stage::Other) {
            return;
        }
        self.theirs.follow(bytes, |_| {});
        if matches!(self.stage, Stage::Gossip) {
            lock(&self.watch).unfinished(self.id, self.theirs.begun);
        }
    }

    fn sent(&mut self, bytes: &[u8]) {
        let Stage::Negotiating { ours, answers } = &mut self.stage else { return };
        let mut agreed = None;
        ours.follow(bytes, |head| {
            *answers = answers.saturating_add(1);
            if *answers > 1 && is_protocol(head) && agreed.is_none() {
                agreed = Some(head == GOSSIPSUB);
            }
        });
        match agreed {
            Some(true) => {
                self.stage = Stage::Gossip;
                lock(&self.watch).unfinished(self.id, self.theirs.begun);
            }
            Some(false) => self.stage = Stage::Other,
            None => {}
        }
    }
}

impl<S> Drop for Watched<S> {
    fn drop(&mut self) {
        lock(&self.watch).unfinished(self.id, 0);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
        this.received(buffer.get(..count).unwrap_or_default());
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.inner).poll_write(cx, bytes))?;
        this.sent(bytes.get(..count).unwrap_or_default());
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use futures::io::Cursor;

    use super::*;
    use crate::{net::pool::Pool, peers::Trust};

    /// Returns a message with its length in front.
    fn framed(body: &[u8]) -> Vec<u8> {
        let mut length = body.len();
        let mut bytes = Vec::new();
        while length > 0x7f {
            bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        bytes.push(u8::try_from(length).unwrap());
        bytes.extend_from_slice(body);
        bytes
    }

    fn watch() -> (Shared, Pool) {
        let pool = Pool::bounded(Trust::default(), usize::MAX);
        let watch = Watch { share: pool.share(None), next: 0, frames: HashMap::new() };
        (Arc::new(Mutex::new(watch)), pool)
    }

    fn negotiating(watch: &Shared) -> Watched<Cursor<Vec<u8>>> {
        let stage = Stage::Negotiating { ours: Messages::default(), answers: 0 };
        Watched::new(Cursor::new(Vec::new()), stage, watch)
    }

    #[test]
    fn messages_are_told_apart_wherever_they_are_cut() {
        let stream = [framed(b"/meshsub/1.1.0\n"), framed(b""), framed(&[7; 300])].concat();
        for step in 1..stream.len() {
            let mut messages = Messages::default();
            let mut heads = Vec::new();
            for part in stream.chunks(step) {
                messages.follow(part, |head| heads.push(head.to_vec()));
            }
            assert_eq!(heads, [GOSSIPSUB.to_vec(), vec![], vec![7; HEAD]], "in steps of {step}");
            assert_eq!(messages.begun, 0);
        }
    }

    #[test]
    fn only_what_gossip_has_not_finished_is_counted() {
        let (watch, pool) = watch();
        let mut stream = negotiating(&watch);
        let proposals =
            [framed(b"/multistream/1.0.0\n"), framed(b"/none/1\n"), framed(b"/meshsub/1.1.0\n")];
        // A dialer sends its first frame together with its proposal.
        stream.received(&[proposals.concat(), framed(&[1; 1_000])[..500].to_vec()].concat());
        assert_eq!(pool.total(), 0, "nothing is agreed yet");
        stream.sent(&[framed(b"/multistream/1.0.0\n"), framed(b"na\n")].concat());
        stream.sent(&framed(&framed(&[&b"/list/1\n"[..], &[b'x'; 39]].concat())));
        assert!(matches!(stream.stage, Stage::Negotiating { .. }), "a list is no agreement");
        stream.sent(&framed(b"/meshsub/1.1.0\n"));
        assert_eq!(pool.total(), 500);
        stream.received(&framed(&[1; 1_000])[500..]);
        assert_eq!(pool.total(), 0, "the frame is whole");
        stream.received(&[0xff; 10]);
        assert_eq!(pool.total(), 10);
        drop(stream);
        assert_eq!(pool.total(), 0);
    }

    #[test]
    fn another_protocol_is_left_alone() {
        let (watch, pool) = watch();
        let mut stream = negotiating(&watch);
        stream.received(&[framed(b"/multistream/1.0.0\n"), framed(b"/sync/1\n")].concat());
        stream.sent(&[framed(b"/multistream/1.0.0\n"), framed(b"/sync/1\n")].concat());
        stream.received(&[0xff; 1_000]);
        assert_eq!(pool.total(), 0);
        assert!(lock(&watch).frames.is_empty());
    }

    #[test]
    fn a_frame_may_be_slow_but_not_stand_still() {
        let now = Instant::now();
        let bytes = usize::try_from(FRAME_RATE * 30).unwrap();
        let frame = Frame { since: now, latest: now + Duration::from_secs(45), bytes };
        assert_eq!(frame.deadline(), now + FRAME_TIME + Duration::from_secs(30), "too slow");
        let frame = Frame { since: now, latest: now + Duration::from_secs(1), bytes };
        assert_eq!(frame.deadline(), now + FRAME_TIME + Duration::from_secs(1), "stands still");
    }

    /// A connection that never does anything.
    struct Silent;

    impl StreamMuxer for Silent {
        type Substream = Cursor<Vec<u8>>;
        type Error = io::Error;

        fn poll_inbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<io::Result<Self::Substream>> {
            Poll::Pending
        }

        fn poll_outbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<io::Result<Self::Substream>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_frame_that_never_ends_closes_the_connection() {
        let pool = Pool::bounded(Trust::default(), 10_000);
        let mut connection = Guarded::new(Silent, pool.share(None));
        let mut cx = Context::from_waker(Waker::noop());
        let mut stream = negotiating(&connection.watch);
        stream.stage = Stage::Gossip;
        stream.received(&framed(&[1; 1_000])[..500]);
        assert!(Pin::new(&mut connection).poll(&mut cx).is_pending());
        let long_ago = Instant::now().checked_sub(FRAME_TIME).unwrap();
        lock(&connection.watch).frames.values_mut().for_each(|frame| frame.latest = long_ago);
        let Poll::Ready(Err(error)) = Pin::new(&mut connection).poll(&mut cx) else {
            panic!("the connection goes on");
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
