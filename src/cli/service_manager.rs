//! Notifies a service manager (systemd's `Type=notify`) when the node is ready, of its status, and
//! when it stops. Feeds the manager's watchdog while the node is alive.
//!
//! Each notification is one datagram to the socket that `NOTIFY_SOCKET` names. Without that
//! variable, none is sent. A failure to send never affects the node.

use std::{env, pin::pin, process, time::Duration};

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::{
    node::Liveness,
    primitives::counted,
    rpc::{Client, FriendchainApiClient},
};

/// The interval between two status lines.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// The interval between two requests for more time to start.
pub(super) const EXTEND_EVERY: Duration = Duration::from_secs(10);

/// The time that each request asks for: 3 intervals, so that a busy machine may delay two of them.
const EXTEND_BY: Duration = Duration::from_secs(30);

/// The connection to the service manager, if there is one.
pub(super) struct ServiceManager {
    #[cfg(unix)]
    socket: Option<std::os::unix::net::UnixDatagram>,
    /// The time after which the manager restarts a node that does not feed its watchdog.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Connects to the socket that `NOTIFY_SOCKET` names.
    pub(super) fn of_environment() -> Self {
        let variable = |name: &str| env::var(name).ok();
        Self {
            #[cfg(unix)]
            socket: socket_of_environment(),
            watchdog: watchdog(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), process::id()),
        }
    }

    fn notify(&self, state: &str) {
        #[cfg(unix)]
        if let Some(Err(error)) = self.socket.as_ref().map(|socket| socket.send(state.as_bytes())) {
            tracing::debug!(%error, "the service manager was not notified");
        }
        #[cfg(not(unix))]
        let _ = state;
    }

    /// Waits for `start`, and asks the manager for more time at intervals of `every`: opening a
    /// long chain after a crash may take minutes.
    pub(super) async fn extend_start<T>(
        &self,
        every: Duration,
        start: impl Future<Output = T>,
    ) -> T {
        let mut start = pin!(start);
        loop {
            if let Ok(started) = timeout(every, &mut start).await {
                return started;
            }
            self.notify(&format!("EXTEND_TIMEOUT_USEC={}", EXTEND_BY.as_micros()));
        }
    }

    /// Reports that the node is ready, then its status every [`STATUS_EVERY`], and feeds the
    /// watchdog. Never returns.
    pub(super) async fn serving(&self, client: &Client, liveness: &Liveness) {
        self.notify("READY=1");
        tokio::join!(self.report_status(client), self.feed_watchdog(|| liveness.check()));
    }

    async fn report_status(&self, client: &Client) {
        loop {
            if let Ok(status) = client.status().await {
                let (phase, height) = (status.phase, status.height);
                let peers = counted(status.peers.into(), "peer", "peers");
                self.notify(&format!("STATUS={phase}, height {height}, {peers}"));
            }
            sleep(STATUS_EVERY).await;
        }
    }

    /// Notifies the manager's watchdog at half its interval, each time that `check` finds the node
    /// alive. Returns at once if the manager has no watchdog.
    async fn feed_watchdog<F: Future<Output = Result<(), String>>>(&self, check: impl Fn() -> F) {
        let Some(watchdog) = self.watchdog else { return };
        let mut ticks = interval(watchdog / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match check().await {
                Ok(()) => self.notify("WATCHDOG=1"),
                Err(reason) => {
                    tracing::error!(
                        reason = reason.trim_end(),
                        "the node is stuck: the service manager's watchdog is not notified"
                    );
                }
            }
        }
    }

    /// Reports that the node is stopping.
    pub(super) fn stopping(&self) {
        self.notify("STOPPING=1");
    }
}

/// Returns the interval of the manager's watchdog, if `WATCHDOG_USEC` sets one for this process.
/// `WATCHDOG_PID` differs from our id if the variables are those of a parent process.
fn watchdog(usec: Option<String>, pid: Option<String>, own_pid: u32) -> Option<Duration> {
    let is_ours = pid.is_none_or(|pid| pid.parse::<u32>() == Ok(own_pid));
    let usec = usec.filter(|_| is_ours)?.parse::<u64>().ok().filter(|usec| *usec >= 2)?;
    Some(Duration::from_micros(usec))
}

#[cfg(unix)]
fn socket_of_environment() -> Option<std::os::unix::net::UnixDatagram> {
    let name = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
    match connect(&name) {
        Ok(socket) => Some(socket),
        Err(error) => {
            tracing::warn!(
                %error,
                socket = %name.display(),
                "the service manager cannot be notified"
            );
            None
        }
    }
}

/// Connects to a socket by its path, or by a name in the abstract namespace that begins with `@`.
#[cfg(unix)]
fn connect(name: &std::ffi::OsStr) -> std::io::Result<std::os::unix::net::UnixDatagram> {
    use std::os::unix::{
        ffi::OsStrExt as _,
        net::{SocketAddr, UnixDatagram},
    };

    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.as_bytes().strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt as _;
            socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?;
        }
        _ => socket.connect_addr(&SocketAddr::from_pathname(name)?)?,
    }
    Ok(socket)
}

#[cfg(all(test, unix))]
mod tests {
    use std::{cell::Cell, os::unix::net::UnixDatagram};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    /// Returns a service manager, and the end of the socket that receives its notifications.
    fn manager(watchdog: Option<Duration>) -> (ServiceManager, tokio::net::UnixDatagram) {
        let (ours, theirs) = UnixDatagram::pair().expect("a pair");
        ours.set_nonblocking(true).expect("set");
        theirs.set_nonblocking(true).expect("set");
        let theirs = tokio::net::UnixDatagram::from_std(theirs).expect("a socket");
        (ServiceManager { socket: Some(ours), watchdog }, theirs)
    }

    async fn received(socket: &tokio::net::UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let length = timeout(DEADLINE, socket.recv(&mut bytes)).await.expect("in time");
        String::from_utf8(bytes[..length.expect("a message")].to_vec()).expect("text")
    }

    #[tokio::test]
    async fn a_long_start_asks_for_more_time_until_it_is_done() {
        let (manager, socket) = manager(None);
        let start = async { [received(&socket).await, received(&socket).await] };
        let messages = manager.extend_start(Duration::from_millis(1), start).await;
        assert_eq!(messages, ["EXTEND_TIMEOUT_USEC=30000000"; 2]);
    }

    #[tokio::test]
    async fn the_watchdog_is_notified_only_while_the_node_is_alive() {
        let (manager, socket) = manager(Some(Duration::from_millis(2)));
        let checks = Cell::new(0);
        let check = || {
            checks.set(checks.get() + 1);
            let stuck = checks.get() <= 3;
            async move { if stuck { Err("the node task is stuck\n".to_owned()) } else { Ok(()) } }
        };
        tokio::select! {
            () = manager.feed_watchdog(check) => panic!("a watchdog has no end"),
            message = received(&socket) => assert_eq!(message, "WATCHDOG=1"),
        }
        assert!(checks.get() > 3, "a stuck node notified the watchdog");
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_ours() {
        let of = |usec: &str, pid: Option<&str>| {
            watchdog(Some(usec.to_owned()), pid.map(str::to_owned), 7)
        };
        assert_eq!(of("60000000", None), Some(Duration::from_mins(1)));
        assert_eq!(of("60000000", Some("7")), Some(Duration::from_mins(1)));
        assert_eq!(of("60000000", Some("8")), None);
        assert_eq!((of("0", None), of("soon", None)), (None, None));
        assert_eq!(watchdog(None, None, 7), None);
    }
}
