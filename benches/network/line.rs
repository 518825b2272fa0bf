//! A line between two nodes: a TCP proxy on loopback with a delay and a rate.
//!
//! Each direction of a line delays every byte, and passes on at most its rate over all connections.
//! TCP ends at the proxy, so a line loses nothing, and TCP's window never limits a fast line. A
//! line with a rate buffers little: it fills up like a router's queue.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::Runtime,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// The size of a read from a line without a rate, in bytes.
const FAST_PIECE: usize = 16 * 1_024;
/// Pieces in flight on a line without a rate: 16 MiB.
const FAST_PIECES: usize = 1_024;
/// The size of a read from a line with a rate, in bytes: 25 ms at 40 kB/s.
const SLOW_PIECE: usize = 1_000;
/// Pieces in flight on a line with a rate. With 20 ms of delay this is a queue of some 30 kB.
const SLOW_PIECES: usize = 32;
/// The kernel's buffer at each end of a line with a rate, in bytes.
const SLOW_BUFFER: u32 = 8 * 1_024;

/// The properties of a line, which is the same both ways.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Quality {
    /// The delay of one way.
    pub(crate) delay: Duration,
    /// The rate of each direction over all connections, in bytes a second; `None` for no limit.
    pub(crate) rate: Option<u64>,
}

impl Quality {
    /// Returns a line with a delay one way and without a bound on its rate.
    pub(crate) const fn far(delay: Duration) -> Self {
        Self { delay, rate: None }
    }
}

/// One direction of a line.
#[derive(Debug, Default)]
struct Way {
    carried: AtomicU64,
    /// The time at which the last byte so far has left, if there is a rate.
    free: Mutex<Option<Instant>>,
}

/// The state that a line's tasks share.
#[derive(Debug)]
struct Shared {
    quality: Quality,
    to: SocketAddr,
    /// Towards the node behind the line, and back.
    ways: [Way; 2],
    open: AtomicUsize,
    cut: AtomicBool,
}

/// A line to a node, at a port of its own. It ends when it is dropped.
pub(crate) struct Line {
    /// The multiaddr that reaches the node over this line.
    pub(crate) address: String,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

impl Line {
    /// Starts a line to the node at a multiaddr on loopback.
    #[track_caller]
    pub(crate) fn to(address: &str, quality: Quality) -> Self {
        let port = address.rsplit('/').next().and_then(|port| port.parse().ok()).expect("a port");
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        let ways = [Way::default(), Way::default()];
        let (open, cut) = (AtomicUsize::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { quality, to, ways, open, cut });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(async {
            let socket = socket(&quality)?;
            socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
            socket.listen(64)
        });
        let listener = listener.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        runtime.spawn(accept(listener, Arc::clone(&shared)));
        Self { address: format!("/ip4/127.0.0.1/tcp/{port}"), shared, _runtime: runtime }
    }

    /// Returns the bytes that the line has carried: towards the node behind it, and back.
    pub(crate) fn carried(&self) -> [u64; 2] {
        [0, 1].map(|way| self.shared.ways[way].carried.load(Ordering::Relaxed))
    }

    /// Returns the number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Cuts the line, or restores it. A cut line carries nothing and reports no error.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.shared.cut.store(is_cut, Ordering::Relaxed);
    }
}

fn socket(quality: &Quality) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    if quality.rate.is_some() {
        socket.set_recv_buffer_size(SLOW_BUFFER)?;
        socket.set_send_buffer_size(SLOW_BUFFER)?;
    }
    Ok(socket)
}

async fn accept(listener: TcpListener, line: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        connections.spawn(connect(near, Arc::clone(&line)));
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(near: TcpStream, line: Arc<Shared>) -> io::Result<()> {
    // The node sees each connection at an address in a network of its own, since peers at one
    // address share budgets.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let [_, _, high, low] = number.to_be_bytes();
    let socket = socket(&line.quality)?;
    socket.bind(SocketAddr::from(([127, 100 + high % 100, low, 1], 0)))?;
    let far = socket.connect(line.to).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    line.open.fetch_add(1, Ordering::Relaxed);
    let (near_reader, near_writer) = near.into_split();
    let (far_reader, far_writer) = far.into_split();
    let there = carry(near_reader, far_writer, &line, 0);
    let back = carry(far_reader, near_writer, &line, 1);
    // A connection that ends in one direction also ends in the other, after the bytes in flight.
    let ended = tokio::try_join!(there, back);
    line.open.fetch_sub(1, Ordering::Relaxed);
    ended.map(|_| ())
}

/// Carries bytes one way until the sender closes.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    line: &Shared,
    way: usize,
) -> io::Result<()> {
    let (piece, pieces) = match line.quality.rate {
        None => (FAST_PIECE, FAST_PIECES),
        Some(_) => (SLOW_PIECE, SLOW_PIECES),
    };
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(pieces);
    let take = async move {
        loop {
            let mut bytes = vec![0; piece];
            let count = from.read(&mut bytes).await?;
            if count == 0 {
                return io::Result::Ok(());
            }
            bytes.truncate(count);
            let due = line.leaves(way, count) + line.quality.delay;
            if sender.send((due, bytes)).await.is_err() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
    };
    let give = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            sleep_until(due).await;
            while line.cut.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            to.write_all(&bytes).await?;
            line.ways[way].carried.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        // Dropping the half closes it.
        io::Result::Ok(())
    };
    tokio::try_join!(take, give).map(|_| ())
}

impl Shared {
    /// Returns the time at which the line has taken further bytes of one way.
    fn leaves(&self, way: usize, bytes: usize) -> Instant {
        let now = Instant::now();
        let Some(rate) = self.quality.rate else { return now };
        let mut free = self.ways[way].free.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = free.map_or(now, |free| free.max(now));
        let leaves = begins + Duration::from_secs_f64(bytes as f64 / rate as f64);
        *free = Some(leaves);
        leaves
    }
}
