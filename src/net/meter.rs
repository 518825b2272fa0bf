//! The count of unread bytes on one TCP connection.
//!
//! A [`Meter`] reads the headers of yamux's frames on their way from the socket. It counts the
//! bytes that each stream holds, and those that the streams' protocols read.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Instant,
};

use super::{
    limits::{
        FRIEND_HELD_BYTES, FRIEND_STREAMS, HELD_FRAME_BYTES, STRANGER_HELD_BYTES, STRANGER_STREAMS,
        STREAM_WINDOW,
    },
    pool::Share,
};

/// Bytes of a frame's header in yamux.
const HEADER: usize = 12;
/// The frame type that carries data.
pub(super) const DATA: u8 = 0;
/// The frame type that gives credit. It may open a stream, as data may.
const WINDOW_UPDATE: u8 = 1;
/// The flag that opens a stream.
pub(super) const SYN: u16 = 1;
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
pub(super) struct Meter {
    pub(super) share: Share,
    streams: HashMap<u64, Held>,
    held: usize,
    header: Vec<u8>,
    arriving: Option<Arriving>,
    /// The time since which the connection is at its bound.
    pub(super) full_since: Option<Instant>,
    /// The task that waits for room.
    pub(super) waker: Option<Waker>,
}

/// Returns the cost of a frame of this size: its bytes, and the memory around them.
pub(super) fn cost(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX).saturating_add(HELD_FRAME_BYTES)
}

fn broken(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

impl Meter {
    /// Opens the account of a connection.
    pub(super) fn open(share: Share) -> Account {
        Arc::new(Mutex::new(Self {
            share,
            streams: HashMap::new(),
            held: 0,
            header: Vec::new(),
            arriving: None,
            full_since: None,
            waker: None,
        }))
    }

    /// Returns true if no further stream may be opened, by either end.
    pub(super) fn is_crowded(&self) -> bool {
        let open = self.streams.len();
        open >= STRANGER_STREAMS && open >= self.bounds().0
    }

    /// Records that a stream is open.
    pub(super) fn opened(&mut self, stream: u64) {
        self.streams.entry(stream).or_default();
    }

    fn bounds(&self) -> (usize, usize) {
        if self.share.is_friend() {
            (FRIEND_STREAMS, FRIEND_HELD_BYTES)
        } else {
            (STRANGER_STREAMS, STRANGER_HELD_BYTES)
        }
    }

    /// Returns true if no further byte may be read now. A frame that has begun is read to its end.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
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
    pub(super) fn arrived(&mut self, mut bytes: &[u8]) -> io::Result<()> {
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
            if self.is_crowded() {
                return Err(broken("the peer has too many streams open"));
            }
            self.opened(stream);
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
    pub(super) fn read(&mut self, stream: u64, count: usize) {
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

    /// Forgets a stream that no protocol reads any more.
    pub(super) fn gone(&mut self, stream: u64) {
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

pub(super) type Account = Arc<Mutex<Meter>>;

pub(super) fn lock(account: &Account) -> MutexGuard<'_, Meter> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}
