//! What a service manager is told (systemd's `Type=notify`): that the node serves, how it does,
//! that it stops.
//!
//! One datagram each, to the socket that the environment names; without one, nothing is said. The
//! telling never fails: a manager that does not listen is not the node's fault.

use std::time::Duration;

use tokio::time::sleep;

use crate::rpc::{Client, FriendchainApiClient};

/// How often the status line is told anew.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// The way to the service manager, if there is one.
pub(super) struct ServiceManager {
    #[cfg(unix)]
    socket: Option<std::os::unix::net::UnixDatagram>,
}

impl ServiceManager {
    /// The one that `NOTIFY_SOCKET` names.
    #[cfg(unix)]
    pub(super) fn of_environment() -> Self {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let socket = name.and_then(|name| match connect(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, socket = %name.display(), "the service manager cannot be \
                     told anything");
                None
            }
        });
        Self { socket }
    }

    #[cfg(not(unix))]
    pub(super) fn of_environment() -> Self {
        Self {}
    }

    fn tell(&self, state: &str) {
        #[cfg(unix)]
        if let Some(Err(error)) = self.socket.as_ref().map(|socket| socket.send(state.as_bytes())) {
            tracing::debug!(%error, "the service manager was not told");
        }
        #[cfg(not(unix))]
        let _ = state;
    }

    /// The node accepts connections and commands. Then how it does, now and again, for as long as
    /// this is polled.
    pub(super) async fn serving(&self, client: &Client) {
        self.tell("READY=1");
        loop {
            if let Ok(status) = client.status().await {
                let (phase, height, peers) = (status.phase, status.height, status.peers);
                self.tell(&format!("STATUS={phase}, height {height}, {peers} peers"));
            }
            sleep(STATUS_EVERY).await;
        }
    }

    /// The node ends.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }
}

/// A path, or a name in the abstract namespace when it begins with `@`.
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
