//! Picks free ports, and locks the few that some tests need.

use std::{
    fs::File,
    net::{TcpListener, UdpSocket},
    sync::atomic::{AtomicU16, Ordering},
};

/// The first port of the range. It ends below the ephemeral ports, so that no outgoing connection
/// takes a port between this check and the node's bind.
const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

/// Returns a loopback port that is free for TCP and UDP, each only once per process.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Other test processes start elsewhere in the range.
    let start = u16::try_from(std::process::id() % u32::from(COUNT))
        .expect("less than COUNT")
        .wrapping_mul(37);
    for _ in 0..COUNT {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(start) % COUNT;
        let port = FIRST + offset;
        if TcpListener::bind(("127.0.0.1", port)).is_ok()
            && UdpSocket::bind(("127.0.0.1", port)).is_ok()
        {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// Locks the ports that the seeds' stories fix (3000, 3001, 8891 to 8895) against other runs of
/// these tests on the machine, until dropped.
pub(crate) fn lock_story_ports() -> File {
    let path = std::env::temp_dir().join("friendchain-story-ports.lock");
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).expect("a lock file");
    file.lock().expect("the lock");
    file
}
