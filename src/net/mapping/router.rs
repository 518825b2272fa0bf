//! A router that maps ports by PCP or NAT-PMP, for tests.

use std::{
    net::{Ipv4Addr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// The port of both protocols.
pub(crate) const PORT: u16 = 5351;

/// A router on a thread. It ends when it is dropped.
pub(crate) struct Router {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    ended: AtomicBool,
    silent: AtomicBool,
    asked: Mutex<Vec<Vec<u8>>>,
}

impl Router {
    /// Answers the requests at a socket. `answer` returns no bytes to be silent.
    pub(crate) fn at(
        socket: UdpSocket,
        answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        let state = Arc::new(State::default());
        let own = Arc::clone(&state);
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a time-out");
        let thread = thread::spawn(move || {
            let mut buffer = [0; 2_048];
            while !own.ended.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                let request = &buffer[..length];
                own.asked.lock().unwrap_or_else(PoisonError::into_inner).push(request.to_vec());
                if let Some(reply) = answer(request).filter(|_| !own.silent.load(Ordering::Relaxed))
                {
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
        Self { state, thread: Some(thread) }
    }

    /// Ends or begins silence.
    #[allow(dead_code, reason = "not all tests that include this file use it")]
    pub(crate) fn be_silent(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::Relaxed);
    }

    /// Returns the requests so far.
    pub(crate) fn asked(&self) -> Vec<Vec<u8>> {
        self.state.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the number of requests so far to end a mapping.
    pub(crate) fn deletions(&self) -> usize {
        let ends = |request: &Vec<u8>| match request.first() {
            Some(2) => request.get(4..8) == Some(&[0; 4]),
            Some(0) => request.get(8..12) == Some(&[0; 4]),
            _ => false,
        };
        self.asked().iter().filter(|request| ends(request)).count()
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Returns the external port: the next one, so that a test sees whose port is offered.
fn external_port(internal: &[u8]) -> Option<[u8; 2]> {
    Some((u16::from_be_bytes(internal.try_into().ok()?) + 1).to_be_bytes())
}

/// Answers by PCP. `lifetime` is the longest time of a mapping, in seconds.
pub(crate) fn pcp(
    external: Ipv4Addr,
    lifetime: u32,
) -> impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static {
    move |request| {
        // The header has 24 bytes, the body the nonce (12), the protocol and padding (4), and the
        // ports.
        if request.first_chunk::<2>() != Some(&[2, 1]) {
            return None;
        }
        let wished = u32::from_be_bytes(request.get(4..8)?.try_into().ok()?);
        let mut reply = vec![2, 0x81, 0, 0];
        reply.extend(wished.min(lifetime).to_be_bytes());
        reply.extend([0, 0, 0, 9]);
        reply.extend([0; 12]);
        reply.extend(request.get(24..42)?);
        reply.extend(external_port(request.get(40..42)?)?);
        reply.extend(external.to_ipv6_mapped().octets());
        Some(reply)
    }
}

/// Answers by NAT-PMP, and tells clients of PCP so.
pub(crate) fn nat_pmp(
    external: Ipv4Addr,
    lifetime: u32,
) -> impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static {
    move |request| match request.first_chunk::<2>()? {
        [2, _] => Some(vec![0, 0x81, 0, 1, 0, 0, 0, 9]),
        [0, 0] => Some([&[0, 0x80, 0, 0, 0, 0, 0, 9], &external.octets()[..]].concat()),
        [0, code] => {
            let wished = u32::from_be_bytes(request.get(8..12)?.try_into().ok()?);
            let port = if wished == 0 { [0; 2] } else { external_port(request.get(4..6)?)? };
            let mut reply = vec![0, 0x80 | code, 0, 0, 0, 0, 0, 9];
            reply.extend(request.get(4..6)?);
            reply.extend(port);
            reply.extend(wished.min(lifetime).to_be_bytes());
            Some(reply)
        }
        _ => None,
    }
}
