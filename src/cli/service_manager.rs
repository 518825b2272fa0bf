//! Notifies a service manager (systemd's `Type=notify`) when the node is ready, of its status, and
//! when it stops.
//!
//! Each notification is one datagram to the socket that `NOTIFY_SOCKET` names. Without that
//! variable none is sent. A failure to send never affects the node.

use std::time::Duration;

use tokio::time::sleep;

use crate::rpc::{Client, FriendchainApiClient};

/// The interval between two status lines.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// The connection to the service manager, if there is one.
pub(super) struct ServiceManager {
    #[cfg(unix)]
    socket: Option<std::os::unix::net::UnixDatagram>,
}

impl ServiceManager {
    /// Connects to the socket that `NOTIFY_SOCKET` names.
    #[cfg(unix)]
    pub(super) fn of_environment() -> Self {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let socket = name.and_then(|name| match connect(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(
                    %error,
                    socket = %name.display(),
                    "the service manager cannot be notified"
                );
                None
            }
        });
        Self { socket }
    }

    #[cfg(not(unix))]
    pub(super) fn of_environment() -> Self {
        Self {}
    }

    fn notify(&self, state: &str) {
        #[cfg(unix)]
        if let Some(Err(error)) = self.socket.as_ref().map(|socket| socket.send(state.as_bytes())) {
            tracing::debug!(%error, "the service manager was not notified");
        }
        #[cfg(not(unix))]
        let _ = state;
    }

    /// Reports that the node is ready, then its status every [`STATUS_EVERY`]. Never returns.
    pub(super) async fn serving(&self, client: &Client) {
        self.notify("READY=1");
        loop {
            if let Ok(status) = client.status().await {
                let (phase, height, peers) = (status.phase, status.height, status.peers);
                self.notify(&format!("STATUS={phase}, height {height}, {peers} peers"));
            }
            sleep(STATUS_EVERY).await;
        }
    }

    /// Reports that the node is stopping.
    pub(super) fn stopping(&self) {
        self.notify("STOPPING=1");
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
