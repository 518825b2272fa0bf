//! Slows the line between two nodes, so that a test can observe steps that take a moment on
//! loopback.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use super::Node;

/// The number of times per second that a slow line passes bytes on.
const SLICES: usize = 50;

/// A slow proxy to a node on a loopback address.
pub(crate) struct SlowLine {
    /// The address to dial instead of the node's.
    pub(crate) address: String,
}

impl SlowLine {
    /// Opens a line that passes this many bytes per second, in each direction of each connection.
    pub(crate) fn to(node: &Node, bytes_per_second: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let target: u16 =
            node.address.rsplit('/').next().and_then(|port| port.parse().ok()).expect("a TCP port");
        thread::spawn(move || {
            // The thread ends with the test process.
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let ends = [near.try_clone(), far.try_clone()].map(|end| end.expect("a socket"));
                let [near_too, far_too] = ends;
                thread::spawn(move || carry(near, far, bytes_per_second));
                thread::spawn(move || carry(far_too, near_too, bytes_per_second));
            }
        });
        Self { address: format!("/ip4/127.0.0.1/tcp/{port}") }
    }
}

/// Carries bytes in one direction until either end closes.
fn carry(mut from: TcpStream, mut to: TcpStream, bytes_per_second: usize) {
    let mut slice = vec![0; bytes_per_second / SLICES];
    while let Ok(read) = from.read(&mut slice) {
        if read == 0 || to.write_all(&slice[..read]).is_err() {
            break;
        }
        // The sleep sets the speed of the line. It does not wait for a condition.
        thread::sleep(Duration::from_secs(1) / u32::try_from(SLICES).expect("few"));
    }
    for end in [from, to] {
        // An error means that the socket is closed already.
        let _ = end.shutdown(std::net::Shutdown::Both);
    }
}
