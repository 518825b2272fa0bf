//! A slow line between two nodes, so that what is over in a moment on loopback takes long enough to
//! be looked at.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use super::Node;

/// How often a slow line passes bytes on, in a second.
const SLICES: usize = 50;

/// A loopback address that leads to a node, slowly.
pub(crate) struct SlowLine {
    /// What to dial instead of the node.
    pub(crate) address: String,
}

impl SlowLine {
    /// A line to the node that passes so many bytes a second, each way and for each connection.
    pub(crate) fn to(node: &Node, bytes_per_second: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let target: u16 =
            node.address.rsplit('/').next().and_then(|port| port.parse().ok()).expect("a TCP port");
        thread::spawn(move || {
            // Ends with the process of the tests.
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

/// Carries bytes one way until either end closes.
fn carry(mut from: TcpStream, mut to: TcpStream, bytes_per_second: usize) {
    let mut slice = vec![0; bytes_per_second / SLICES];
    while let Ok(read) = from.read(&mut slice) {
        if read == 0 || to.write_all(&slice[..read]).is_err() {
            break;
        }
        // This is the slowness itself, not a wait for something.
        thread::sleep(Duration::from_secs(1) / u32::try_from(SLICES).expect("few"));
    }
    for end in [from, to] {
        // Closed already, if it fails.
        let _ = end.shutdown(std::net::Shutdown::Both);
    }
}
